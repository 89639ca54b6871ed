"""How near a query lies to photos picked blindly: what its best cosines are measured against."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.vectors import dot
from catalogd.query.calibration import SAMPLE

if TYPE_CHECKING:
    from catalogd.catalog import Catalog

GROWTH = 1.1  # a library that is larger by so much is sampled anew
PART_S = 60.0  # so is a space that a model is still filling; drawing takes 10 ms
SEED = 11  # the same photos each time: a query's scores don't flicker

Floats = npt.NDArray[np.float32]


class _Sample(NamedTuple):
    vectors: npt.NDArray[np.int16]  # [m, D], bits of float16
    photos: int  # in the library when it was drawn
    is_whole: bool  # all photos that were drawn are in the space
    drawn_s: float  # monotonic

    def holds(self, photos: int) -> bool:
        """Whether it still stands for a library of so many photos."""
        is_grown = not self.photos / GROWTH <= photos <= self.photos * GROWTH
        return not is_grown and (self.is_whole or time.monotonic() < self.drawn_s + PART_S)


class Backgrounds:
    """Samples of the embeddings of one catalog, drawn once a space. Safe from any thread."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._samples: dict[str, _Sample] = {}
        self._drawing = threading.Lock()

    def cosines(self, space: str, vector: Floats) -> Floats:
        """float32[m] of a unit vector with up to `SAMPLE` photos that are in the space."""
        vectors = self._sample(space).vectors
        return dot(vectors, vector) if len(vectors) else np.empty(0, np.float32)

    def _sample(self, space: str) -> _Sample:
        photos = self._catalog.columns().count
        with self._drawing:
            known = self._samples.get(space)
            if known is None or not known.holds(photos):
                known = self._samples[space] = self._drawn(space, photos)
            return known

    def _drawn(self, space: str, photos: int) -> _Sample:
        ids = self._catalog.select(()).ids
        if len(ids) > SAMPLE:
            ids = np.sort(np.random.default_rng(SEED).choice(ids, SAMPLE, replace=False))
        _, vectors = self._catalog.embeddings(space, ids)
        bits = np.ascontiguousarray(vectors).view(np.int16)
        return _Sample(bits, photos, len(bits) == len(ids), time.monotonic())
