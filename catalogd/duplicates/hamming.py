"""Pairs of signatures that differ in few of their 256 bits, without comparing all with all.

Multi-index hashing (Norouzi, Punjani and Fleet 2012, arXiv:1307.2982): the bits are dealt out to 16 bands of
16, and only signatures that agree in a whole band are compared. A pair that differs in up to 15 bits
agrees in one for certain; of those that differ in 24 bits 98 % do, in 32 bits 91 %, in 40 bits 74 %.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.models.signature import SIGNATURE_BYTES, Signatures

BANDS = 16  # of 16 bits: 500,000 signatures are 8 a value
CERTAIN_BITS = BANDS - 1
MOST_IN_BUCKET = 256  # neighbours a signature is compared with in one band: what is alike by the thousand
MOST_PAIRS = 1_000_000  # that are kept, of 24 bytes each: those that differ in the fewest bits
_VALUES = 1 << 16  # of a band
_BLOCK = 1 << 18  # signatures, or comparisons, worked on at once: some 10 MB
_THREADS = 2  # bands at a time, each with its own order: more would be more memory

Indices = NDArray[np.intp]
Kept = Callable[[Indices, Indices], NDArray[np.bool_]]  # which pairs of rows, of left and right, are wanted


class Pairs(NamedTuple):
    """Pairs as three columns."""

    left: Indices
    right: Indices
    bits: NDArray[np.int64]  # that differ


_NO_PAIRS = Pairs(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.int64))


def pairs_within(
    left: Signatures, most_bits: int, right: Signatures | None = None, kept: Kept | None = None
) -> Pairs:
    """The pairs of `left: uint8[n, 32]` and `right: uint8[m, 32]` that differ in up to `most_bits`.

    Without `right` those of `left` with itself, each once, the smaller index first. Of more than
    MOST_IN_BUCKET signatures that agree in a band each is compared with so many of those most like it
    in the other bits, and of more than MOST_PAIRS pairs the most alike are given. `kept` leaves out
    pairs as they are found; it is called from several threads.
    """
    ordered = right is None
    columns = len(left if right is None else right)
    every = _NO_PAIRS
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        bands = threads.map(lambda band: _of_band(left, right, band, most_bits, kept), range(BANDS))
        for found in bands:
            every = _distinct([every, found], columns, ordered)
    return every


def band_keys(signatures: Signatures, band: int) -> NDArray[np.uint16]:
    """uint16[n]: every sixteenth bit from `band`, so that each band has coarse and fine ones."""
    keys = np.empty(len(signatures), np.uint16)
    every_other = signatures[:, band // 8 :: BANDS // 8]  # bytes; each has one bit of the band
    for start in range(0, len(signatures), _BLOCK):
        bits = every_other[start : start + _BLOCK] >> np.uint8(7 - band % 8) & np.uint8(1)
        keys[start : start + _BLOCK] = np.packbits(bits, axis=1).view(">u2").ravel()
    return keys


def distances(a: Signatures, b: Signatures) -> NDArray[np.int64]:
    """int64[n]: in how many bits each row of `a` differs from that of `b`."""
    differing = np.bitwise_count(_words(a) ^ _words(b))
    total: NDArray[np.int64] = differing.sum(axis=1, dtype=np.int64)
    return total


def _words(signatures: Signatures) -> NDArray[np.uint64]:
    return np.ascontiguousarray(signatures).view(np.uint64).reshape(-1, SIGNATURE_BYTES // 8)


class _Asked(NamedTuple):
    """Who is compared with whom in one band: signatures held in an order, and a run of it for each."""

    order: Indices  # rows of left, those of one key side by side
    asking: Indices  # rows of right
    runs: NDArray[np.int64]  # int64[m, 2], from where to where in `order`

    def blocks(self) -> Iterator[slice]:
        """Parts of `asking` with some _BLOCK comparisons each."""
        done = np.cumsum(self.runs[:, 1] - self.runs[:, 0])
        ends = np.searchsorted(done, np.arange(_BLOCK, done[-1] + _BLOCK, _BLOCK) if len(done) else [])
        for start, end in zip([0, *ends], [*ends, len(done)], strict=True):
            if end > start:
                yield slice(int(start), int(end))


def _of_band(
    left: Signatures, right: Signatures | None, band: int, most_bits: int, kept: Kept | None
) -> Pairs:
    asked = _within_itself(left, band) if right is None else _of_another(left, right, band)
    held, words = _words(left)[asked.order], _words(left if right is None else right)
    room = np.empty((_BLOCK + MOST_IN_BUCKET, 3), np.int64)
    found, count, columns = [_NO_PAIRS], 0, len(words)
    for part in asked.blocks():
        asking = asked.asking[part]
        end = _native.alike_in_runs(held, words[asking], asked.runs[part], most_bits, room)
        pairs = Pairs(asked.order[room[:end, 0]], asking[room[:end, 1]], room[:end, 2].copy())
        found.append(pairs if kept is None else _only(pairs, kept(pairs.left, pairs.right)))
        count += len(found[-1].left)
        if count > MOST_PAIRS:
            found = [_distinct(found, columns, ordered=right is None)]
            count = 0
    return _distinct(found, columns, ordered=right is None)


def _places(signatures: Signatures, band: int) -> tuple[NDArray[np.uint16], NDArray[np.uint64]]:
    """The key of each in the band, and where it stands: by the key, then by its first bits."""
    keys = band_keys(signatures, band)
    first = _words(signatures)[:, 0]
    return keys, keys.astype(np.uint64) << np.uint64(48) | first >> np.uint64(16)


def _bounds(keys: NDArray[np.uint16]) -> Indices:
    """intp[_VALUES + 1]: where in their order the keys of each value begin."""
    bounds = np.zeros(_VALUES + 1, np.intp)
    np.cumsum(np.bincount(keys, minlength=_VALUES), out=bounds[1:])
    return bounds


def _within_itself(signatures: Signatures, band: int) -> _Asked:
    """Each with those that follow it."""
    keys, places = _places(signatures, band)
    order = np.argsort(places)
    starts = np.arange(1, len(order) + 1)
    ends = np.minimum(_bounds(keys)[keys[order].astype(np.intp) + 1], starts + MOST_IN_BUCKET)
    return _Asked(order, order, np.stack([starts, np.maximum(starts, ends)], axis=1))


def _of_another(left: Signatures, right: Signatures, band: int) -> _Asked:
    """Each of `right` with those of `left` around the place where it would stand."""
    keys, places = _places(left, band)
    asked, asked_places = _places(right, band)
    order, bounds = np.argsort(places), _bounds(keys)
    starts, ends = bounds[asked], bounds[asked.astype(np.intp) + 1]
    crowded = np.flatnonzero(ends - starts > MOST_IN_BUCKET)
    if len(crowded):
        middle = np.searchsorted(places[order], asked_places[crowded]) - MOST_IN_BUCKET // 2
        starts[crowded] = np.clip(middle, starts[crowded], ends[crowded] - MOST_IN_BUCKET)
        ends[crowded] = starts[crowded] + MOST_IN_BUCKET
    return _Asked(order, np.arange(len(asked)), np.stack([starts, ends], axis=1))


def _only(pairs: Pairs, wanted: NDArray[np.bool_] | Indices) -> Pairs:
    return Pairs(*(column[wanted] for column in pairs))


def _distinct(found: list[Pairs], columns: int, ordered: bool) -> Pairs:
    """Each pair once, in order; of too many those that differ in the fewest bits."""
    left, right, bits = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if ordered:
        left, right = np.minimum(left, right), np.maximum(left, right)
    _, once = np.unique(left * columns + right, return_index=True)
    pairs = _only(Pairs(left, right, bits), once)
    if len(once) <= MOST_PAIRS:
        return pairs
    return _only(pairs, np.sort(np.argsort(pairs.bits, kind="stable")[:MOST_PAIRS]))
