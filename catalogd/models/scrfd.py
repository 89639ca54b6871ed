"""SCRFD: faces with five landmarks, from a grid of anchors at three strides.

Guo et al. 2021 (arXiv:2105.04714). The graphs of insightface: pixels `(level - 127.5) / 128` in RGB, nine
outputs: scores, distances of the four edges and of the landmarks from the anchor, in strides, per stride.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import batches, faces, graphs

if TYPE_CHECKING:
    from catalogd.models.batches import Batch

_EDGES_PX = (128, 640)  # squares; the small one is for faces that fill the frame, as insightface 2 does it
_MIN_SCORE = 0.5  # insightface's own, as the overlap
_MAX_OVERLAP = 0.4
_EDGE_PX = 1.0  # its boxes count the pixels on both edges
_FIRST_STRIDE_PX = 8
_SCORES, _BOXES, _LANDMARKS = 1, 4, 10  # values a row of the three kinds of outputs

Floats = NDArray[np.float32]
_Level = tuple[Floats, Floats, Floats]  # scores, boxes and landmarks at one stride


@dataclasses.dataclass(frozen=True)
class Found:
    """Faces of one frame in its px, strongest first."""

    boxes: Floats  # [n, 4]: x, y, width, height
    landmarks: Floats  # [n, 5, 2]
    scores: Floats  # [n]


class Scrfd:
    """A detector on an open graph."""

    def __init__(self, graph: graphs.BatchGraph) -> None:
        self._graph = graph
        self._looks = (
            [_look(edge, edge) for edge in _EDGES_PX] if graph.size is None else [_look(*graph.size)]
        )

    def detect(self, batch: Batch) -> list[Found | Exception]:
        """The faces of each frame. The whole batch goes through the network together, once a size of look."""
        seen = [self._candidates(batch, look) for look in self._looks]
        return [_merged(parts) for parts in zip(*seen, strict=True)]

    def _candidates(self, batch: Batch, look: batches.Look) -> list[Found]:
        """Whatever scores enough, of each frame, overlapping."""
        levels = _levels(self._graph.run(graphs.pixels_of(batch, look)))
        return [
            _decoded(
                [(scores[i], boxes[i], points[i]) for scores, boxes, points in levels], look, frame.shape
            )
            for i, frame in enumerate(batch)
        ]


def _look(height: int, width: int) -> batches.Look:
    return batches.Look((height, width), (127.5,) * 3, (1 / 128,) * 3, fit="letterbox", filter="bilinear")


def _levels(outputs: list[NDArray[Any]]) -> list[_Level]:
    """Scores, boxes and landmarks `[n, rows, …]` of each stride, the finest first, in any order given."""
    kinds = [
        sorted((o for o in outputs if o.shape[-1] == values), key=lambda o: -o.shape[1])
        for values in (_SCORES, _BOXES, _LANDMARKS)
    ]
    if not kinds[0] or len({len(kind) for kind in kinds}) != 1:
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise ModelError(f"a face detector with other outputs than scores, boxes and landmarks: {shapes}")
    return list(zip(*kinds, strict=True))


def _decoded(levels: list[_Level], look: batches.Look, shape: tuple[int, ...]) -> Found:
    """The faces of one picture in px of the frame, from the rows of each stride."""
    parts = [
        _decoded_level(*level, _FIRST_STRIDE_PX << power, look.size) for power, level in enumerate(levels)
    ]
    boxes, landmarks, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    _, (height, width) = batches.placed(look, *shape[:2])
    scale = np.array([shape[1] / width, shape[0] / height], np.float32)
    corners = boxes.reshape(-1, 2, 2) * scale
    return Found(
        np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], axis=1), landmarks * scale, scores
    )


def _decoded_level(
    scores: Floats, distances: Floats, landmarks: Floats, stride: int, size: tuple[int, int]
) -> tuple[Floats, Floats, Floats]:
    """Boxes `[n, 4]` (edges), landmarks `[n, 5, 2]` and scores `[n]` that are enough, in px of the input."""
    rows, columns = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
    anchors = len(scores) // (rows * columns)
    # What is not a number is kept, to be told apart from a frame without faces.
    sure = np.flatnonzero(~(scores[:, 0] < _MIN_SCORE))
    y, x = np.divmod(sure // anchors, columns)
    anchor = np.stack([x, y], axis=1).astype(np.float32) * stride
    around = distances[sure] * np.float32(stride)
    points = landmarks[sure].reshape(-1, 5, 2) * np.float32(stride) + anchor[:, None]
    return np.concatenate([anchor - around[:, :2], anchor + around[:, 2:]], axis=1), points, scores[sure, 0]


def _merged(parts: tuple[Found, ...]) -> Found | Exception:
    """One of each face that several looks or anchors found."""
    boxes, landmarks, scores = (
        np.concatenate(values)
        for values in zip(*((p.boxes, p.landmarks, p.scores) for p in parts), strict=True)
    )
    if not all(np.isfinite(values).all() for values in (boxes, landmarks, scores)):
        return ModelError("the face detector gave what is not a number")
    kept = faces.suppressed(boxes, scores, _MAX_OVERLAP, _EDGE_PX)
    return Found(boxes[kept], landmarks[kept], scores[kept])
