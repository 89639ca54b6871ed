"""The photos of each part of a query: ranked as a plain sum over dicts says, and read once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.catalog import postings
from catalogd.catalog.postings import KeptPostings, Postings, rank

PARTS = st.lists(st.dictionaries(st.integers(1, 30), st.integers(1, 9), max_size=20), min_size=1, max_size=4)


def made(scores: dict[int, int]) -> Postings:
    best = sorted(scores, key=lambda photo_id: -scores[photo_id])
    ids = np.array(best, np.int64)
    numbers = np.array([scores[photo_id] for photo_id in best], np.float32)
    return Postings.of(ids, numbers, np.ones(len(best), np.int32))


@given(PARTS, st.integers(1, 25))
def test_photos_with_all_parts_come_first_and_each_kind_by_its_sum(
    parts: list[dict[int, int]], limit: int
) -> None:
    found = rank([made(part) for part in parts], limit)
    sums = {i: sum(part.get(i, 0) for part in parts) for part in parts for i in part}
    whole = {i for i in sums if all(i in part for part in parts)}
    expected = sorted((i not in whole, -total) for i, total in sums.items())[:limit]
    assert [(i not in whole, -sums[i]) for i in found.ids.tolist()] == expected
    assert found.scores.tolist() == [sums[i] for i in found.ids.tolist()]
    assert found.whole == min(len(whole), limit)
    assert found.is_cut == (len(sums) > limit)
    assert found.is_whole_cut == (len(whole) > limit)


@given(PARTS, st.integers(1, 25))
def test_a_cut_ranking_tells_the_scores_of_all_and_who_is_as_good_as_the_last(
    parts: list[dict[int, int]], limit: int
) -> None:
    found = rank([made(part) for part in parts], limit)
    sums = {i: sum(part.get(i, 0) for part in parts) for part in parts for i in part}
    whole = {i for i in sums if all(i in part for part in parts)}
    if found.is_cut:
        assert found.of_whole.tolist() == sorted(sums[i] for i in whole)
        assert found.of_rest.tolist() == sorted(sums[i] for i in sums.keys() - whole)
    if found.is_whole_cut:
        last = found.scores[limit - 1]
        assert found.equals.tolist() == sorted(i for i in whole if sums[i] >= last)


def test_a_part_tells_the_score_and_the_fields_of_those_who_hold_it() -> None:
    scores, fields = made({3: 5, 7: 2}).told(np.array([7, 1, 3], np.int64))
    np.testing.assert_array_equal(scores, [2.0, np.nan, 5.0])
    assert fields.tolist() == [1, 0, 1]


class Reader:
    """Counts how often each part is read; `size` photos hold it."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.sizes = {"rare": 2, "common": postings.READ_AT_ONCE + 1, "all": postings.MOST_HITS + 1}
        self.kept = KeptPostings[str](self.sizes.get, self._read)

    def _read(self, part: str) -> Postings:
        self.read.append(part)
        return made({1: 1, 2: 2})

    def wait(self) -> None:
        for thread in threading.enumerate():
            if thread.name == "postings":
                thread.join()


def test_a_rare_part_is_read_once() -> None:
    reader = Reader()
    assert reader.kept.get("rare") is reader.kept.get("rare")
    assert reader.read == ["rare"]


def test_a_common_part_is_read_beside_when_it_is_asked_for_again() -> None:
    reader = Reader()
    assert reader.kept.get("common") is None
    reader.wait()
    assert reader.read == []
    assert reader.kept.get("common") is None
    reader.wait()
    assert reader.kept.get("common") is not None
    assert reader.read == ["common"]


@pytest.mark.parametrize("part", ["all", "unknown"])
def test_what_nearly_all_photos_hold_is_never_read(part: str) -> None:
    reader = Reader()
    for _ in range(4):
        assert reader.kept.get(part) is None
    time.sleep(0.01)
    assert reader.read == []


def test_what_was_not_asked_for_lately_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "KEPT_HITS", 3)
    reader = Reader()
    reader.sizes["other"] = 2
    for part in ("rare", "other", "rare"):
        reader.kept.get(part)
    assert reader.read == ["rare", "other", "rare"]
