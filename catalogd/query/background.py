"""How near a query lies to photos picked blindly: what its best cosines are measured against."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.vectors import dot
from catalogd.query.calibration import SAMPLE

if TYPE_CHECKING:
    from catalogd.catalog import Catalog

GROWTH = 1.1  # a library that is larger by so much is sampled anew
SEED = 11  # the same photos each time: a query's scores don't flicker

Floats = npt.NDArray[np.float32]


class _Sample(NamedTuple):
    vectors: npt.NDArray[np.int16]  # [m, D], bits of float16
    photos: int  # in the library when it was drawn


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
            if known is None or not known.photos / GROWTH <= photos <= known.photos * GROWTH:
                known = self._samples[space] = self._drawn(space, photos)
            return known

    def _drawn(self, space: str, photos: int) -> _Sample:
        ids = self._catalog.select(()).ids
        if len(ids) > SAMPLE:
            ids = np.sort(np.random.default_rng(SEED).choice(ids, SAMPLE, replace=False))
        _, vectors = self._catalog.embeddings(space, ids)
        return _Sample(np.ascontiguousarray(vectors).view(np.int16), photos)
