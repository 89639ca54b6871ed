"""RT-DETR and its kin (RT-DETRv2, D-FINE) in ONNX: objects of the classes they were trained on.

Zhao et al. 2023 (arXiv:2304.08069). Two exports are known: that of transformers (`logits`, `pred_boxes`)
and that of the authors (`labels`, `boxes`, `scores`, and the picture's size as second input). The
picture is squashed to a square, levels are 0…1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import batches, graphs
from catalogd.models.detectors import Detector, Rows

if TYPE_CHECKING:
    from catalogd.models.batches import Batch

_INPUT_PX = 640  # of graphs that take any size; the weights were trained with it
_MIN_SCORE = 0.5  # as transformers' post-processing has it
_SIZE_INPUT = "orig_target_sizes"

Floats = NDArray[np.float32]


class DetrModel(Detector):
    """`objects`; no two boxes of one object come out of the network, so none are dropped."""

    def _prepare(self, graph: graphs.BatchGraph) -> None:
        self._is_raw = {"logits", "pred_boxes"} <= set(graph.outputs)
        is_decoded = {"labels", "boxes", "scores"} <= set(graph.outputs) and _SIZE_INPUT in graph.inputs
        if not self._is_raw and not is_decoded:
            raise ModelError(f"no export of RT-DETR that is known: it gives {', '.join(graph.outputs)}")
        size = graph.size or (_INPUT_PX, _INPUT_PX)
        self._look = batches.Look(size, fit="squash", filter="bilinear")

    def _find(self, graph: graphs.BatchGraph, batch: Batch) -> list[Rows]:
        sizes = np.ones((len(batch), 2), np.int64)
        outputs = graph.run(graphs.pixels_of(batch, self._look), sizes)
        named = dict(zip(graph.outputs, outputs, strict=True))
        if self._is_raw:
            return [best(*pair) for pair in zip(named["logits"], named["pred_boxes"], strict=True)]
        return [_sure(*parts) for parts in zip(named["labels"], named["boxes"], named["scores"], strict=True)]


def best(logits: Floats, boxes: Floats) -> Rows:
    """The surest pairs of box and class, at most as many as boxes, of `[q, classes]` and `[q, 4]`.

    Boxes are given by centre and size. What is not a number comes out, to be noticed.
    """
    scores = (1 / (1 + np.exp(-logits.astype(np.float32)))).ravel().astype(np.float32)
    sure = np.flatnonzero(~(scores <= _MIN_SCORE))
    kept = sure[np.argsort(-scores[sure], kind="stable")][: len(logits)]
    queries, classes = np.divmod(kept, logits.shape[1])
    centres, halves = boxes[queries, :2], boxes[queries, 2:] / 2
    return Rows(classes, np.concatenate([centres - halves, centres + halves], axis=1), scores[kept])


def _sure(labels: NDArray[np.int64], boxes: Floats, scores: Floats) -> Rows:
    kept = np.flatnonzero(~(scores <= _MIN_SCORE))
    return Rows(labels[kept], boxes[kept], scores[kept])
