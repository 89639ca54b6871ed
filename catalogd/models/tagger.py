"""Tags by a network that knows thousands of them, as RAM++ does.

Huang et al. 2023 (arXiv:2310.15200). A folder with `model.onnx` (pixels → one logit a tag), `tags.txt` (one
tag a line, in the graph's order) and, where the weights have them, `thresholds.txt` (the probability from
which each tag counts). RAM++ is published as a checkpoint of torch: docs/models.md says how it is exported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import as_outputs, batches, graphs, together
from catalogd.models.bundles import FoundBundle
from catalogd.models.devices import Hardware
from catalogd.records import Output, Tag
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame
    from catalogd.models.batches import Batch

_INPUT_PX = 384  # of graphs that take any size; RAM++ was trained with it
_MEAN = (255 * 0.485, 255 * 0.456, 255 * 0.406)  # of ImageNet
_SCALE = (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225))
_THRESHOLD = 0.68  # of a tag without its own, as RAM++ has it
_MAX_TAGS = 30  # the surest: photos have 5 to 20 in RAM++'s paper
_HASH_DIGITS = 8  # of each list in the fingerprint
_STEP = 1  # of what this module makes of the weights

Floats = NDArray[np.float32]


class TaggerModel:
    """`tags`: the surest first."""

    name = "tags"

    def __init__(self, settings: Settings, bundle: FoundBundle, hardware: Hardware) -> None:
        hashes = "-".join((bundle.short_hash, *_digests(bundle.folder)))
        self.fingerprint = f"{bundle.bundle.id}@{hashes}.{_STEP}"
        self.device = hardware.device
        self._settings = settings
        self._bundle = bundle
        self._hardware = hardware
        self._graph: graphs.BatchGraph | None = None
        self._tags: list[str] = []
        self._thresholds: Floats = np.zeros(0, np.float32)

    def load(self) -> None:
        folder = self._bundle.folder
        self._tags = _lines(self._bundle.path("tags.txt"))
        self._thresholds = _thresholds(folder / "thresholds.txt", len(self._tags))
        path = graphs.only_graph(folder)
        graph = graphs.BatchGraph(path, self._bundle.short_hash, self._settings, self._hardware)
        size = graph.size or (_INPUT_PX, _INPUT_PX)
        self._look = batches.Look(size, _MEAN, _SCALE, fit="squash", filter="bilinear")
        shape = graph.run(np.zeros((1, 3, *size), np.float32))[0].shape
        if shape != (1, len(self._tags)):
            raise ModelError(f"{path} gives {shape} numbers for {len(self._tags)} tags of tags.txt")
        self._graph = graph

    def unload(self) -> None:
        self._graph = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        batch = batches.as_batch(frames, self._hardware.device)
        results = together(batch, self._tag)
        return as_outputs(self.fingerprint, results, lambda found: Output(self.fingerprint, tags=found))

    def _tag(self, batch: Batch) -> list[tuple[Tag, ...] | Exception]:
        assert self._graph is not None, "load() first"
        logits = self._graph.run(graphs.pixels_of(batch, self._look))[0]
        return [self._tags_of(row) for row in logits.astype(np.float32)]

    def _tags_of(self, logits: Floats) -> tuple[Tag, ...] | Exception:
        if not np.isfinite(logits).all():
            return ModelError("the tagger gave what is not a number")
        probabilities = 1 / (1 + np.exp(-logits))
        sure = np.flatnonzero(probabilities > self._thresholds)
        best = sure[np.argsort(-probabilities[sure], kind="stable")][:_MAX_TAGS]
        return tuple(Tag(self._tags[i], float(probabilities[i])) for i in best)


def _digests(folder: Path) -> list[str]:
    """Of the files that say what the graph's numbers mean."""
    paths = (folder / "tags.txt", folder / "thresholds.txt")
    return [hashlib.sha256(p.read_bytes()).hexdigest()[:_HASH_DIGITS] for p in paths if p.is_file()]


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]


def _thresholds(path: Path, tags: int) -> Floats:
    """One a tag. Raises ModelError when the file has others than one number a tag."""
    if not path.is_file():
        return np.full(tags, _THRESHOLD, np.float32)
    try:
        values = np.array([float(line) for line in _lines(path)], np.float32)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None
    if len(values) != tags:
        raise ModelError(f"{path} has {len(values)} thresholds for {tags} tags")
    return values
