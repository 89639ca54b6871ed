"""Pairs of near signatures against comparing all with all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.duplicates import hamming
from catalogd.duplicates.hamming import CERTAIN_BITS, band_keys, distances, pairs_within


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), np.uint8)


def flipped(signature: np.ndarray, places: list[int]) -> np.ndarray:
    bits = np.unpackbits(signature)
    bits[places] ^= 1
    return np.packbits(bits)


def brute_force(left: np.ndarray, right: np.ndarray | None, most: int) -> set[tuple[int, int, int]]:
    other = left if right is None else right
    return {
        (i, j, int(bits))
        for i, one in enumerate(left)
        for j, bits in enumerate(np.bitwise_count(one ^ other).sum(axis=1))
        if bits <= most and (right is not None or i < j)
    }


def as_set(pairs: hamming.Pairs) -> set[tuple[int, int, int]]:
    return set(zip(pairs.left.tolist(), pairs.right.tolist(), pairs.bits.tolist(), strict=True))


flips = st.lists(st.integers(0, 255), max_size=CERTAIN_BITS, unique=True)
clusters = st.lists(st.lists(flips, min_size=1, max_size=5), min_size=1, max_size=6)


def library(chosen: list[list[list[int]]]) -> np.ndarray:
    """Some pictures, each with copies that differ from it in a few bits."""
    roots = noise(len(chosen), 3)
    return np.array(
        [flipped(root, places) for root, copies in zip(roots, chosen, strict=True) for places in copies]
    )


@settings(max_examples=60, deadline=None)
@given(clusters, st.integers(0, CERTAIN_BITS))
def test_all_pairs_of_up_to_15_bits_are_found_and_no_other(chosen: list[list[list[int]]], most: int) -> None:
    signatures = library(chosen)
    assert as_set(pairs_within(signatures, most)) == brute_force(signatures, None, most)


@settings(max_examples=40, deadline=None)
@given(clusters, clusters, st.integers(0, CERTAIN_BITS))
def test_so_are_those_of_two_sets(a: list[list[list[int]]], b: list[list[list[int]]], most: int) -> None:
    left, right = library(a), library(b)
    assert as_set(pairs_within(left, most, right)) == brute_force(left, right, most)


@pytest.mark.parametrize(("differing", "share"), [(24, 0.95), (32, 0.85)])
def test_most_pairs_that_differ_in_more_bits_are_found_too(differing: int, share: float) -> None:
    random = np.random.default_rng(5)
    roots = noise(400, 6)
    copies = [flipped(root, random.choice(256, differing, replace=False).tolist()) for root in roots]
    found = pairs_within(np.concatenate([roots, np.array(copies)]), 44)
    assert len(found.left) >= share * 400
    assert (found.right - found.left == 400).all()
    assert (found.bits == differing).all()


def test_a_crowd_of_equals_stays_connected_without_being_compared_all_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hamming, "MOST_IN_BUCKET", 4)
    crowd = np.repeat(noise(1), 60, axis=0)
    pairs = pairs_within(crowd, 0)
    assert len(pairs.left) < 60 * 5
    neighbours = set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    assert {(i, i + 1) for i in range(59)} <= neighbours


def test_among_a_crowd_each_meets_those_most_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "MOST_IN_BUCKET", 8)
    crowd = noise(400, 9)
    for band in range(16):  # all bits of the first band alike, so that all meet in one bucket
        crowd[:, 2 * band] &= 0x7F
    found = pairs_within(crowd, 0, crowd)
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == {(i, i) for i in range(400)}


def test_of_too_many_pairs_the_most_alike_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "MOST_PAIRS", 20)
    root = noise(1)[0]
    crowd = np.array([root] * 5 + [flipped(root, [place]) for place in range(20)])
    found = pairs_within(crowd, 2)
    assert len(found.bits) == 20
    assert (found.bits == 0).sum() == 10
    assert found.bits.max() == 1


def test_pairs_that_are_not_wanted_are_left_out() -> None:
    crowd = np.repeat(noise(1), 4, axis=0)
    found = pairs_within(crowd, 0, kept=lambda left, right: left + right == 3)
    assert as_set(found) == {(0, 3, 0), (1, 2, 0)}


def test_each_band_holds_every_sixteenth_bit() -> None:
    signature = flipped(np.zeros(32, np.uint8), [3, 19, 255])[None]
    assert [int(key) for key in (band_keys(signature, band)[0] for band in range(16))] == [
        0, 0, 0, 0b11 << 14, *[0] * 11, 1,
    ]  # fmt: skip


def test_distances_are_counted_row_by_row() -> None:
    signatures = noise(5)
    others = np.array([flipped(row, list(range(count))) for count, row in enumerate(signatures)])
    assert distances(signatures, others).tolist() == [0, 1, 2, 3, 4]


def test_nothing_has_no_pairs() -> None:
    assert len(pairs_within(noise(0), 15).left) == 0
    assert len(pairs_within(noise(1), 15).left) == 0
