"""Faces by a model pack of insightface: SCRFD finds them, ArcFace knows them again.

::

    batch ─▶ one detection run ─▶ faces ─▶ crops of all frames ─▶ recognition runs of many faces

A pack is a folder of ONNX graphs (buffalo_l, buffalo_s, antelopev2, …). Which of them detects and which
recognises is told by what they take and give; the others (age, 3-D landmarks) are not used. The package
insightface is not needed: its licence would do (MIT), but it takes one photo at a time and brings a second
OpenCV. The weights of its packs are for non-commercial research only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import arcface, batches, faces, failed, graphs, scrfd, together
from catalogd.models.bundles import FoundBundle
from catalogd.models.devices import Hardware
from catalogd.records import Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame

_STEP = 1  # of what this module makes of the weights
_DETECTOR_OUTPUTS = (9, 15)  # three kinds of outputs at three or five strides
_MIN_EMBEDDING = 64  # dimensions; what gives fewer numbers of a face tells age or sex

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class _Graph:
    """What an ONNX file takes and gives."""

    path: Path
    input: tuple[int, ...]  # 0: any
    outputs: list[tuple[int, ...]]

    @property
    def detects(self) -> bool:
        return len(self.outputs) in _DETECTOR_OUTPUTS and len(self.input) == 4

    @property
    def recognises(self) -> bool:
        is_crop = len(self.input) == 4 and self.input[2:] == (arcface.CROP_PX,) * 2
        dimensions = self.outputs[0][-1:] if len(self.outputs) == 1 else ()
        return is_crop and bool(dimensions) and (dimensions[0] == 0 or dimensions[0] >= _MIN_EMBEDDING)


class FacePackModel:
    """`faces`: box, landmarks, score, quality and an embedding each."""

    name = "faces"

    def __init__(self, settings: Settings, bundle: FoundBundle, hardware: Hardware) -> None:
        self.fingerprint = f"{bundle.bundle.id}@{bundle.short_hash}.{_STEP}"
        self.device = hardware.device
        self._settings = settings
        self._bundle = bundle
        self._hardware = hardware
        self._detector: scrfd.Scrfd | None = None
        self._recogniser: arcface.ArcFace | None = None

    def load(self) -> None:
        detector, recogniser = pack_graphs(self._bundle.folder)
        self._detector = scrfd.Scrfd(self._open(detector))
        self._recogniser = arcface.ArcFace(
            self._open(recogniser), self._hardware.device, takes_levels=arcface.takes_levels(recogniser)
        )

    def _open(self, path: Path) -> graphs.BatchGraph:
        return graphs.BatchGraph(path, self._bundle.short_hash, self._settings, self._hardware)

    def unload(self) -> None:
        self._detector = self._recogniser = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        assert self._detector is not None, "load() first"
        assert self._recogniser is not None, "load() first"
        batch = batches.as_batch(frames, self._hardware.device)
        found = [
            item if isinstance(item, Exception) else _detections(frame, item)
            for frame, item in zip(batch, together(batch, self._detector.detect), strict=True)
        ]
        crops = [face.crop for item in found if not isinstance(item, Exception) for face in item]
        embeddings = iter(self._recogniser.embed(crops))
        return [
            failed(self.fingerprint, item)
            if isinstance(item, Exception)
            else self._output(item, [next(embeddings) for _ in item], frame.shape)
            for frame, item in zip(batch, found, strict=True)
        ]

    def _output(
        self, found: list[faces.Detection], embeddings: list[Floats], shape: tuple[int, ...]
    ) -> Output:
        if not all(np.isfinite(embedding).all() for embedding in embeddings):
            return failed(self.fingerprint, ModelError("the face recogniser gave what is not a number"))
        return Output(
            self.fingerprint,
            faces=tuple(
                faces.face_of(face, embedding, shape)
                for face, embedding in zip(found, embeddings, strict=True)
            ),
        )


def pack_graphs(folder: Path) -> tuple[Path, Path]:
    """The detector and the recogniser of a pack. Raises ModelError when one is missing.

    Of several that would do, the largest, which is the surest.
    """
    paths = sorted(folder.rglob("*.onnx"), key=lambda path: (-path.stat().st_size, path))
    known = [_described(path) for path in paths]
    detectors = [graph.path for graph in known if graph.detects]
    recognisers = [graph.path for graph in known if graph.recognises]
    if not detectors or not recognisers:
        lacking = "recogniser (112 px in, an embedding out)" if detectors else "detector with landmarks"
        raise ModelError(f"{folder}: no ONNX graph in it is a face {lacking}")
    return detectors[0], recognisers[0]


def _described(path: Path) -> _Graph:
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # protobuf's class of errors is no stable name
        raise ModelError(f"{path}: no ONNX graph ({error})") from error
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [_shape(value) for value in graph.input if value.name not in weights]
    return _Graph(path, inputs[0] if len(inputs) == 1 else (), [_shape(value) for value in graph.output])


def _shape(value: object) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)  # type: ignore[attr-defined]


def _detections(frame: Frame, found: scrfd.Found) -> list[faces.Detection]:
    return [
        faces.Detection(box, points, float(score), faces.aligned(frame, points))
        for box, points, score in zip(found.boxes, found.landmarks, found.scores, strict=True)
    ]
