from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.query.ranking import RRF_K, Ranking, by_place, fuse


def ranking(name: str, scores: dict[int, float]) -> Ranking:
    return Ranking(name, np.array(list(scores), np.int64), np.array(list(scores.values()), float))


def test_a_photo_that_both_searches_put_first_has_the_value_1() -> None:
    fused = fuse([ranking("words", {7: 9.0, 8: 1.0}), ranking("meaning", {7: 0.9})], {})
    assert fused.ids.tolist() == [7, 8]
    assert fused.values[0] == pytest.approx(1.0)


def test_a_weight_says_whose_first_comes_first() -> None:
    both = [ranking("words", {1: 5.0}), ranking("meaning", {2: 0.9})]
    assert fuse(both, {"words": 1.5}).ids.tolist() == [1, 2]
    assert fuse(both, {"meaning": 1.5}).ids.tolist() == [2, 1]


def test_photos_that_one_search_cannot_tell_apart_are_ordered_by_the_other() -> None:
    words = ranking("words", dict.fromkeys(range(50), 3.0))
    meaning = ranking("meaning", {photo_id: photo_id / 50 for photo_id in range(50)})
    assert fuse([words, meaning], {}).ids.tolist() == list(range(49, -1, -1))


def test_nothing_found_is_nothing_fused() -> None:
    assert len(fuse([ranking("words", {})], {}).ids) == 0
    assert len(fuse([], {}).ids) == 0


SCORES = st.dictionaries(st.integers(1, 60), st.integers(0, 12).map(float))


@given(SCORES, SCORES)
def test_fusing_is_the_sum_of_reciprocal_ranks(one: dict[int, float], other: dict[int, float]) -> None:
    def part(scores: dict[int, float], photo_id: int, weight: float) -> float:
        if photo_id not in scores:
            return 0.0
        return weight / (RRF_K + 1 + sum(score > scores[photo_id] for score in scores.values()))

    fused = fuse([ranking("a", one), ranking("b", other)], {"b": 2.0})
    best = (bool(one) + 2 * bool(other)) / (RRF_K + 1)
    assert set(fused.ids.tolist()) == one.keys() | other.keys()
    assert fused.values.tolist() == sorted(fused.values.tolist(), reverse=True)
    for photo_id, value in zip(fused.ids.tolist(), fused.values.tolist(), strict=True):
        assert value == pytest.approx((part(one, photo_id, 1) + part(other, photo_id, 2)) / best)


def test_a_rank_below_what_a_search_told_is_guessed_from_a_sample() -> None:
    everything = np.sort(np.random.default_rng(1).random(100_000))[::-1]
    sample = np.random.default_rng(2).choice(everything, 2000)
    told = Ranking("meaning", np.arange(400), everything[:400], sample, 100_000, float(everything[399]))
    assert told.ranks_of(everything[[0, 17, 399]]).tolist() == [1, 18, 400]
    for true_rank in (600, 2_000, 20_000, 90_000):
        guessed = told.ranks_of(everything[[true_rank - 1]])[0]
        assert guessed == pytest.approx(true_rank, rel=0.35)


def test_photos_in_another_order_are_worth_what_first_fused_ones_are() -> None:
    values = by_place(3)
    assert values[0] == 1.0
    assert values.tolist() == sorted(values.tolist(), reverse=True)
