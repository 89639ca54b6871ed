"""Exact arithmetic on stored vectors, and masks over shared ids."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catalogd.catalog.vectors import Allowed, AllowedRows, Scored, best, float32_of

some_ids = st.sets(st.integers(0, 60), max_size=40).map(lambda ids: np.array(sorted(ids), np.int64))


def test_every_finite_float16_widens_to_the_same_float32() -> None:
    halves = np.arange(65_536, dtype=np.uint16)
    halves = halves[(halves & 0x7C00) != 0x7C00]
    widened = float32_of(halves.view(np.int16))
    assert np.array_equal(widened, halves.view(np.float16).astype(np.float32))


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=30), st.integers(1, 12))
def test_the_best_come_first_and_equals_by_photo_id(scores: list[float], k: int) -> None:
    ids = np.random.default_rng(1).permutation(len(scores)).astype(np.int64)
    found = best(Scored(ids, np.array(scores, np.float32)), k)
    expected = sorted(zip(np.negative(scores).tolist(), ids.tolist(), strict=True))[:k]
    assert found.ids.tolist() == [photo_id for _, photo_id in expected]
    assert found.scores.tolist() == [-score for score, _ in expected]


@given(some_ids, some_ids, st.integers(0, 1 << 60))
def test_a_mask_and_the_ids_that_it_allows_say_the_same(
    held: np.ndarray[tuple[int], np.dtype[np.int64]],
    known: np.ndarray[tuple[int], np.dtype[np.int64]],
    bits: int,
) -> None:
    mask = np.array([bits >> place & 1 for place in range(len(known))], np.bool_)
    expected = np.isin(held, known[mask])
    assert np.array_equal(AllowedRows(held, in_order=True).of(Allowed(known, mask)), expected)
    assert np.array_equal(AllowedRows(held, in_order=True).of(known[mask]), expected)
    shuffled = np.random.default_rng(1).permutation(np.append(held, -1))
    rows = AllowedRows(shuffled, in_order=False)
    for allowed in (Allowed(known, mask), known[mask]):
        assert np.array_equal(rows.of(allowed), np.isin(shuffled, known[mask]))


def test_other_ids_of_the_same_length_are_another_filter() -> None:
    rows = AllowedRows(np.array([1, 2, 3]), in_order=True)
    mask = np.array([True, False, True])
    assert rows.of(Allowed(np.array([1, 2, 3]), mask)).tolist() == [True, False, True]
    assert rows.of(Allowed(np.array([2, 3, 4]), mask)).tolist() == [False, True, False]
    assert rows.of(Allowed(np.array([1, 2, 3]), ~mask)).tolist() == [False, True, False]


def test_a_callers_mask_is_not_written_to() -> None:
    ids, mask = np.array([1, 2, 3]), np.ones(3, np.bool_)
    AllowedRows(ids, in_order=True).of(Allowed(ids, mask))[:] = False
    assert mask.all()
