"""What detectors in ONNX have in common: a graph, classes with names, boxes in 0…1."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import as_outputs, batches, graphs, objects, together
from catalogd.models.bundles import FoundBundle
from catalogd.models.devices import Hardware
from catalogd.records import ObjectBox, Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame
    from catalogd.models.batches import Batch

MAX_OBJECTS = 100  # of a frame, the surest
# Of the 80 classes, what older label files call otherwise; queries know COCO's own names.
_COCO_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
_STEP = 1  # of what these modules make of the weights

Floats = NDArray[np.float32]


class Rows(NamedTuple):
    """What a network found in one picture."""

    classes: NDArray[np.int64]  # [n]
    boxes: Floats  # [n, 4]: left, top, right, bottom in 0…1 of the frame
    scores: Floats  # [n]


class Detector(abc.ABC):
    """`objects`: name, box and score each, from a folder with one ONNX graph."""

    name = "objects"

    def __init__(self, settings: Settings, bundle: FoundBundle, hardware: Hardware) -> None:
        self.fingerprint = f"{bundle.bundle.id}@{bundle.short_hash}.{_STEP}"
        self.device = hardware.device
        self._settings = settings
        self._bundle = bundle
        self._hardware = hardware
        self._graph: graphs.BatchGraph | None = None
        self._names: tuple[str, ...] = ()

    @abc.abstractmethod
    def _prepare(self, graph: graphs.BatchGraph) -> None:
        """Note what this graph wants. Raises ModelError when it is another kind of graph."""

    @abc.abstractmethod
    def _find(self, graph: graphs.BatchGraph, batch: Batch) -> list[Rows]:
        """What is in each frame, from one run of the network."""

    def load(self) -> None:
        folder = self._bundle.folder
        self._names = class_names(folder)
        path = graphs.only_graph(folder)
        # The second input of detectors that scale boxes themselves; pictures of 1 px give 0…1.
        size = np.ones(2, np.int64)
        graph = graphs.BatchGraph(path, self._bundle.short_hash, self._settings, self._hardware, (size,))
        try:
            self._prepare(graph)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        self._graph = graph

    def unload(self) -> None:
        self._graph = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        batch = batches.as_batch(frames, self._hardware.device)
        results = together(batch, self._detect)
        return as_outputs(self.fingerprint, results, lambda found: Output(self.fingerprint, objects=found))

    def _detect(self, batch: Batch) -> list[tuple[ObjectBox, ...] | Exception]:
        assert self._graph is not None, "load() first"
        return [as_objects(rows, self._names) for rows in self._find(self._graph, batch)]


def as_objects(rows: Rows, names: Sequence[str]) -> tuple[ObjectBox, ...] | Exception:
    """The surest rows, in order, with boxes cut off at the edges of the frame."""
    if not (np.isfinite(rows.boxes).all() and np.isfinite(rows.scores).all()):
        return ModelError("the detector gave what is not a number")
    order = np.argsort(-rows.scores, kind="stable")[:MAX_OBJECTS]
    boxes = np.clip(rows.boxes[order], 0, 1)
    return tuple(
        ObjectBox(names[int(c)], (float(x), float(y), float(right - x), float(bottom - y)), float(score))
        for c, (x, y, right, bottom), score in zip(
            rows.classes[order], boxes, rows.scores[order], strict=True
        )
        if right > x and bottom > y and 0 <= c < len(names) and names[int(c)]
    )


def class_names(folder: Path) -> tuple[str, ...]:
    """Of the classes, in order: from `config.json` as transformers writes it, or COCO's 80."""
    path = folder / "config.json"
    try:
        labels = msgspec.json.decode(path.read_bytes(), type=_Labels).id2label
    except FileNotFoundError:
        labels = {}
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: {error}") from None
    if not labels:
        return objects.COCO_NAMES
    ordered = [labels.get(number, "") for number in range(max(labels) + 1)]  # "": no class has the number
    return tuple(_COCO_NAMES.get(name, name) for name in ordered)


class _Labels(msgspec.Struct):
    """The part of a configuration that names classes."""

    id2label: dict[int, str] = {}
