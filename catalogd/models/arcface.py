"""ArcFace: a face, turned upright, as an embedding.

Deng et al. 2019 (arXiv:1801.07698). The graphs of insightface: crops of 112 px in RGB, `(level - 127.5) /
127.5`; graphs converted from MXNet do that themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogd.models import batches, graphs, sessions

if TYPE_CHECKING:
    from catalogd.models.devices import Device

CROP_PX = 112
_HALF_LEVEL = 127.5
_FACES_A_RUN_CPU = 16  # bounds the memory of a batch of crowds
_FACES_A_RUN_GPU = 128  # 128 crops of a ResNet-50 take 2 GB of a GPU in fp32; more are not quicker
_FIRST_NODES = 8  # among which a graph from MXNet subtracts and multiplies

Floats = NDArray[np.float32]


class ArcFace:
    """A recogniser on an open graph."""

    def __init__(self, graph: graphs.BatchGraph, device: Device, *, takes_levels: bool) -> None:
        """`takes_levels`: the graph normalises levels of 0…255 itself."""
        mean, scale = (0.0, 1.0) if takes_levels else (_HALF_LEVEL, 1 / _HALF_LEVEL)
        self._look = batches.Look((CROP_PX, CROP_PX), (mean,) * 3, (scale,) * 3, fit="squash")
        self._graph = graph
        self._device = device
        self._most = _FACES_A_RUN_GPU if device.is_gpu else _FACES_A_RUN_CPU

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> list[Floats]:
        """A unit embedding each, `float32[D]`, of `crops: uint8[112, 112, 3]`."""
        embeddings: list[Floats] = []
        for start in range(0, len(crops), self._most):
            batch = batches.Batch(crops[start : start + self._most], self._device)
            embeddings += list(sessions.unit_rows(self._graph.run(graphs.pixels_of(batch, self._look))[0]))
        return embeddings


def takes_levels(path: Path) -> bool:
    """Whether the graph begins with the normalisation that MXNet's converter put into it."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    return {"Sub", "Mul"} <= {node.op_type for node in graph.node[:_FIRST_NODES]}
