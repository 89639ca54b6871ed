"""Photos whose embeddings are close, without comparing all with all.

Embeddings are thrown down to 128 numbers by a random rotation (Johnson and Lindenstrauss 1984) and put into
cells around centres that k-means finds on a sample. Each photo is compared with those that have one
of its two nearest cells, a cell at a time, so that memory holds one cell, the short vectors being a file.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORT_NUMBERS = 128  # a cosine of 0.7 is then off by 0.045 (one standard deviation), of 0.9 by 0.017
SLACK = 0.06  # by which a short cosine may fall short of the least one
MOST_NEIGHBOURS = 4  # a photo: the best are the copies, a hundred alike are a subject
_CELL_PHOTOS = 500  # on average
_SAMPLE_A_CELL = 64  # photos that a centre is found on
_ROUNDS = 6  # of k-means: after them a hundredth of the sample changes its cell
_ROWS = 4096  # short vectors that are multiplied at once

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Times = Callable[[Ids], NDArray[np.float64]]  # of photos: seconds, NaN where it is not known
Pages = Iterable[tuple[Ids, Halves]]  # ids int64[n], embeddings float16[n, D]


class Neighbours(NamedTuple):
    """Pairs of photo_ids, the smaller first, each once."""

    left: Ids
    right: Ids
    cosines: Floats


def close_pairs(
    pages: Pages, count: int, times: Times, gap_s: float, least: float, folder: Path
) -> Neighbours:
    """The pairs with a cosine of about `least` or more, up to MOST_NEIGHBOURS of each photo.

    `pages` hold up to `count` embeddings. Photos that were taken more than `gap_s` apart are no pairs. A
    file of 256 bytes a photo is in `folder` meanwhile.
    """
    with _short_vectors(pages, count, folder) as (ids, vectors):
        if len(ids) < 2:
            return Neighbours(ids[:0], ids[:0], np.empty(0, np.float32))
        cells = _cells(vectors)
        found = list(_pairs(vectors, times(ids), cells, gap_s, least - SLACK))
    pairs, cosines = (np.concatenate(parts) for parts in zip(*found, strict=True))
    both, once = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    return Neighbours(ids[both[:, 0]], ids[both[:, 1]], cosines[once])


@contextlib.contextmanager
def _short_vectors(pages: Pages, count: int, folder: Path) -> Iterator[tuple[Ids, Halves]]:
    """The photos, and their embeddings made short: float16[n, SHORT_NUMBERS], of unit length."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(max(1, count) * SHORT_NUMBERS * 2)
        short = np.memmap(file, np.float16, "r+", shape=(max(1, count), SHORT_NUMBERS))
        ids, filled = np.empty(count, np.int64), 0
        rotation: Floats | None = None
        for page, embeddings in pages:
            if rotation is None:
                rotation = _rotation(embeddings.shape[1])
            end = filled + len(page)
            ids[filled:end], short[filled:end] = page, _unit(embeddings.astype(np.float32) @ rotation)
            filled = end
        yield ids[:filled], short[:filled]


def _rotation(numbers: int) -> Floats:
    """float32[D, SHORT_NUMBERS]: columns at right angles where there are enough numbers for that."""
    noise = np.random.default_rng(1).normal(size=(max(numbers, SHORT_NUMBERS), SHORT_NUMBERS))
    rotation: Floats = np.linalg.qr(noise)[0][:numbers].astype(np.float32)
    return rotation


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def _cells(vectors: Halves) -> NDArray[np.intp]:
    """intp[n, 2]: the two nearest cells of each photo."""
    centres = _centres(vectors, max(1, len(vectors) // _CELL_PHOTOS))
    cells = np.zeros((len(vectors), 2), np.intp)
    for start in range(0, len(vectors), _ROWS):
        cosines = vectors[start : start + _ROWS].astype(np.float32) @ centres.T
        cells[start : start + _ROWS, 0] = best = cosines.argmax(axis=1)
        cosines[np.arange(len(best)), best] = -2.0
        cells[start : start + _ROWS, 1] = cosines.argmax(axis=1)
    return cells


def _centres(vectors: Halves, count: int) -> Floats:
    """Spherical k-means (Dhillon and Modha 2001) on a sample."""
    random = np.random.default_rng(2)
    some = random.choice(len(vectors), min(len(vectors), count * _SAMPLE_A_CELL), replace=False)
    sample = vectors[np.sort(some)].astype(np.float32)
    centres = sample[random.choice(len(sample), count, replace=False)]
    for _ in range(_ROUNDS):
        nearest = np.concatenate(
            [
                (sample[start : start + _ROWS] @ centres.T).argmax(axis=1)
                for start in range(0, len(sample), _ROWS)
            ]
        )
        order = np.argsort(nearest, kind="stable")
        held, first = np.unique(nearest[order], return_index=True)
        centres[held] = _unit(np.add.reduceat(sample[order], first, axis=0))
    return centres


def _pairs(
    vectors: Halves, taken: NDArray[np.float64], cells: NDArray[np.intp], gap_s: float, least: float
) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """intp[m, 2], float32[m]: pairs of rows, found once or twice, and their cosines."""
    cell, photo = cells.T.ravel(), np.tile(np.arange(len(cells)), 2)
    order = np.argsort(cell, kind="stable")  # of a cell those first to whom it is the nearest
    for group in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        members, home = photo[group], int(np.count_nonzero(group < len(cells)))
        held = vectors[members].astype(np.float32)
        for start in range(0, home, _ROWS):
            asking = members[start : min(home, start + _ROWS)]
            cosines = held[start : start + len(asking)] @ held.T
            cosines[asking[:, None] == members[None]] = -2.0
            cosines[np.abs(taken[asking][:, None] - taken[members][None]) > gap_s] = -2.0
            rows, columns = _best(cosines, least)
            yield np.stack([asking[rows], members[columns]], axis=1), cosines[rows, columns]


def _best(cosines: Floats, least: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the up to MOST_NEIGHBOURS largest of each row that are at least `least`."""
    near = cosines >= least
    crowded = np.flatnonzero(near.sum(axis=1) > MOST_NEIGHBOURS)
    if len(crowded):
        bound = np.partition(cosines[crowded], -MOST_NEIGHBOURS, axis=1)[:, -MOST_NEIGHBOURS]
        near[crowded] &= cosines[crowded] >= bound[:, None]
    rows, columns = np.nonzero(near)
    return rows, columns
