"""YOLOX in ONNX: objects of the 80 COCO classes.

Ge et al. 2021 (arXiv:2107.08430), as its authors export it: a letterboxed picture in BGR, levels 0…255,
grey below and right of it; one output `[n, cells, 5 + classes]` with offsets from the cells of three grids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import batches, faces, graphs
from catalogd.models.detectors import MAX_OBJECTS, Detector, Rows

if TYPE_CHECKING:
    from catalogd.models.batches import Batch

_INPUT_PX = 640  # of graphs that take any size
_STRIDES_PX = (8, 16, 32)
_GREY = 114.0  # level around the picture in training
_MIN_SCORE = 0.3  # of the authors' demonstration, as the overlap
_MAX_OVERLAP = 0.45
_NOT_CLASSES = 5  # x, y, width, height, objectness

Floats = NDArray[np.float32]


class YoloxModel(Detector):
    """`objects`; of boxes that overlap the surest stays, whatever their classes."""

    def _prepare(self, graph: graphs.BatchGraph) -> None:
        if len(graph.outputs) != 1 or len(graph.inputs) != 1:
            raise ModelError(f"no export of YOLOX that is known: it gives {', '.join(graph.outputs)}")
        size = graph.size or (_INPUT_PX, _INPUT_PX)
        self._look = batches.Look(
            size, scale=(1.0,) * 3, fit="letterbox", fill=_GREY, bgr=True, filter="bilinear"
        )
        (rows,) = graph.run(np.full((1, 3, *size), _GREY, np.float32))
        self._grid = grid(size)
        if rows.shape[1] != len(self._grid[0]) or rows.shape[2] != _NOT_CLASSES + len(self._names):
            raise ModelError(f"its output is {rows.shape}, not a row of 5 + classes numbers a cell")
        # Offsets are about a cell; centres that the graph has already made of them lie all over.
        self._is_decoded = float(np.median(rows[0, :, :2])) > size[0] / 8

    def _find(self, graph: graphs.BatchGraph, batch: Batch) -> list[Rows]:
        (outputs,) = graph.run(graphs.pixels_of(batch, self._look))
        return [self._rows(values, frame.shape) for values, frame in zip(outputs, batch, strict=True)]

    def _rows(self, values: Floats, shape: tuple[int, ...]) -> Rows:
        boxes, classes, scores = decoded(values, None if self._is_decoded else self._grid)
        if not np.isfinite(scores).all():
            return Rows(classes, boxes, scores)  # told apart from a frame without objects further on
        kept = faces.suppressed(boxes, scores, _MAX_OVERLAP, most=MAX_OBJECTS)
        _, (height, width) = batches.placed(self._look, *shape[:2])
        corners = np.concatenate([boxes[kept, :2], boxes[kept, :2] + boxes[kept, 2:]], axis=1)
        edges = (corners / np.array([width, height] * 2)).astype(np.float32)
        return Rows(classes[kept], edges, scores[kept])


def grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """`[cells, 2]` places and `[cells, 1]` strides of all cells, in px of the input, row by row."""
    places, strides = [], []
    for stride in _STRIDES_PX:
        rows, columns = size[0] // stride, size[1] // stride
        y, x = np.divmod(np.arange(rows * columns), columns)
        places.append(np.stack([x, y], axis=1) * stride)
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decoded(values: Floats, cells: tuple[Floats, Floats] | None) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Boxes (x, y, width, height in px of the input), classes and scores of the rows that are sure enough.

    `cells`: None where centres and sizes are in px already. What is not a number comes out.
    """
    probabilities = values[:, _NOT_CLASSES:] * values[:, 4:5]
    classes = probabilities.argmax(axis=1)
    scores = probabilities[np.arange(len(values)), classes]
    sure = np.flatnonzero(~(scores <= _MIN_SCORE))
    centres, sizes = values[sure, :2], values[sure, 2:4]
    if cells is not None:
        places, strides = (part[sure] for part in cells)
        centres, sizes = centres * strides + places, np.exp(sizes) * strides
    return np.concatenate([centres - sizes / 2, sizes], axis=1), classes[sure], scores[sure]
