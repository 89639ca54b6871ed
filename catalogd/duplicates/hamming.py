"""Pairs of signatures that differ in few of their 256 bits, without comparing all with all.

Multi-index hashing (Norouzi, Punjani and Fleet 2012, arXiv:1307.2982): the bits are dealt out to 16 bands of
16, and only signatures that agree in a whole band are compared. A pair that differs in up to 15 bits
agrees in one for certain; of those that differ in 24 bits 98 % do, in 32 bits 91 %, in 40 bits 74 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogd.models.signature import SIGNATURE_BYTES, Signatures

BANDS = 16  # of 16 bits: 500,000 signatures are 8 a value, and 16 sorts cost a second
CERTAIN_BITS = BANDS - 1
MOST_IN_BUCKET = 256  # neighbours a signature is compared with in one band: what is alike by the thousand
_BLOCK = 1 << 18  # signatures, or pairs, worked on at once: some 30 MB

Indices = NDArray[np.intp]


class Pairs(NamedTuple):
    """Pairs as three columns."""

    left: Indices
    right: Indices
    bits: NDArray[np.int64]  # that differ


def pairs_within(left: Signatures, most_bits: int, right: Signatures | None = None) -> Pairs:
    """The pairs of `left: uint8[n, 32]` and `right: uint8[m, 32]` that differ in up to `most_bits`.

    Without `right` those of `left` with itself, each once, the smaller index first. Of more than
    MOST_IN_BUCKET signatures that agree in a band each is compared with so many of those most like it
    in the other bits.
    """
    found = [Pairs(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.int64))]
    for band in range(BANDS):
        found += _of_band(left, right, band, most_bits)
    return _distinct(found, len(left if right is None else right), ordered=right is None)


def band_keys(signatures: Signatures, band: int) -> NDArray[np.uint16]:
    """uint16[n]: every sixteenth bit from `band`, so that each band has coarse and fine ones."""
    keys = np.empty(len(signatures), np.uint16)
    for start in range(0, len(signatures), _BLOCK):
        bits = np.unpackbits(signatures[start : start + _BLOCK], axis=1)[:, band::BANDS]
        packed = np.packbits(np.ascontiguousarray(bits), axis=1)
        keys[start : start + _BLOCK] = packed.view(">u2").ravel()
    return keys


def distances(a: Signatures, b: Signatures) -> NDArray[np.int64]:
    """int64[n]: in how many bits each row of `a` differs from that of `b`."""
    differing = np.bitwise_count(_words(a) ^ _words(b))
    total: NDArray[np.int64] = differing.sum(axis=1, dtype=np.int64)
    return total


def _words(signatures: Signatures) -> NDArray[np.uint64]:
    return np.ascontiguousarray(signatures).view(np.uint64).reshape(-1, SIGNATURE_BYTES // 8)


def _of_band(left: Signatures, right: Signatures | None, band: int, most_bits: int) -> Iterator[Pairs]:
    order, starts, ends, asking = _buckets(left, right, band)
    first, second = _words(left), _words(left if right is None else right)
    active = np.arange(len(asking))
    for step in range(MOST_IN_BUCKET):
        active = active[starts[active] + step < ends[active]]
        if not len(active):
            return
        for start in range(0, len(active), _BLOCK):
            part = active[start : start + _BLOCK]
            i, j = order[starts[part] + step], asking[part]
            bits = np.bitwise_count(first[i] ^ second[j]).sum(axis=1, dtype=np.int64)
            near = bits <= most_bits
            yield Pairs(i[near], j[near], bits[near])


def _buckets(
    left: Signatures, right: Signatures | None, band: int
) -> tuple[Indices, Indices, Indices, Indices]:
    """`left` in the order of its keys, and for each that asks from where to where it looks there."""
    keys = band_keys(left, band)
    order = np.lexsort((_words(left)[:, 0], keys))
    in_order = keys[order]
    if right is None:
        return order, np.arange(1, len(order) + 1), np.searchsorted(in_order, in_order, "right"), order
    asked = band_keys(right, band)
    starts, ends = (np.searchsorted(in_order, asked, side) for side in ("left", "right"))
    return order, starts, ends, np.arange(len(asked))


def _distinct(found: list[Pairs], columns: int, ordered: bool) -> Pairs:
    left, right, bits = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if ordered:
        left, right = np.minimum(left, right), np.maximum(left, right)
    _, once = np.unique(left * columns + right, return_index=True)
    return Pairs(left[once], right[once], bits[once])
