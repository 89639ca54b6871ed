"""How alike shots look to the model of the profile: cosines of their embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalogd.culling.shots import Shot

if TYPE_CHECKING:
    from catalogd.catalog import Catalog

Vector = npt.NDArray[np.float32]


class Embeddings:
    """The embeddings of shots, in the one space in which most of them have one."""

    def __init__(self, ids: npt.NDArray[np.int64], matrix: npt.NDArray[np.float16]) -> None:
        """`ids: int64[n]`, ascending; `matrix: float16[n, D]`."""
        self._rows = {photo_id: row for row, photo_id in enumerate(ids.tolist())}
        self._matrix = matrix

    @classmethod
    def of(cls, catalog: Catalog, shots: Sequence[Shot]) -> Embeddings:
        ids = np.array(sorted(shot.photo.photo_id for shot in shots), np.int64)
        found = [catalog.embeddings(space, ids) for space in sorted(catalog.picture_spaces())]
        nothing = np.empty(0, np.int64), np.empty((0, 1), np.float16)
        return cls(*max(found, key=lambda pair: len(pair[0]), default=nothing))

    def vector(self, shot: Shot) -> Vector | None:
        """float32[D] of unit length; None where the shot has no embedding."""
        row = self._rows.get(shot.photo.photo_id)
        if row is None:
            return None
        vector = self._matrix[row].astype(np.float32)
        length = float(np.linalg.norm(vector))
        return vector / np.float32(length) if length > 0 else None


def cosine(a: Vector | None, b: Vector | None) -> float:
    """NaN where one of them is not known."""
    return math.nan if a is None or b is None else float(a @ b)
