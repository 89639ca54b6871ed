"""The photos of each part of a query: ranked as a plain sum over dicts says, and read once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.catalog import postings
from catalogd.catalog.columns import Columns, Terms
from catalogd.catalog.postings import KeptPostings, Postings, rank
from catalogd.catalog.selection import Selection

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


@given(PARTS, st.integers(1, 25))
def test_slices_joined_rank_as_the_whole(parts: list[dict[int, int]], limit: int) -> None:
    sliced = [
        Postings.joined(
            [made({i: score for i, score in part.items() if low <= i < low + 10}) for low in (1, 11, 21)]
        )
        for part in parts
    ]
    found, expected = rank(sliced, limit), rank([made(part) for part in parts], limit)
    assert found.scores.tolist() == expected.scores.tolist()
    assert found.of_whole.tolist() == expected.of_whole.tolist()
    assert found.equals.tolist() == expected.equals.tolist()


class Reader:
    """Counts how often each part is read, and of which slices; `sizes`: how many photos hold it."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.slices: list[tuple[int, int]] = []
        self.may_read = threading.Event()
        self.may_read.set()
        self.has_begun = threading.Event()
        self.sizes = {
            "rare": 2,
            "common": postings.READ_AT_ONCE + 1,
            "too": postings.READ_AT_ONCE + 1,
            "all": postings.MOST_HITS + 1,
        }
        self.kept = KeptPostings[str](self.sizes.get, self._read)

    def _read(self, part: str, number: int, of: int) -> Postings:
        self.has_begun.set()
        assert self.may_read.wait(5)
        self.slices.append((number, of))
        if number == 0:
            self.read.append(part)
        return made({2 * number + 1: 1, 2 * number + 2: 2})

    def wait_for(self, part: str) -> Postings:
        for _ in range(2000):
            if (found := self.kept.get(part)) is not None:
                return found
            time.sleep(0.001)
        raise AssertionError(f"{part} was never read")


def test_a_rare_part_is_read_once() -> None:
    reader = Reader()
    assert reader.kept.get("rare") is reader.kept.get("rare")
    assert reader.read == ["rare"]


def test_a_part_is_read_only_where_that_is_worth_it() -> None:
    reader = Reader()
    assert reader.kept.get("rare", 1) is None
    assert reader.kept.get("rare", 2) is not None
    assert reader.kept.get("rare", 1) is not None


def test_a_common_part_is_read_beside_slice_by_slice_once_two_searches_wanted_it() -> None:
    reader = Reader()
    reader.kept.want("common")
    time.sleep(0.01)
    assert reader.kept.get("common") is None
    assert reader.read == []
    for _ in range(3):
        reader.kept.want("common")
    assert reader.wait_for("common").ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert reader.slices == [(0, 3), (1, 3), (2, 3)]


def test_common_parts_are_read_one_after_the_other() -> None:
    reader = Reader()
    for part in ("common", "too", "common", "too"):
        reader.kept.want(part)
    reader.wait_for("too")
    assert reader.slices == [(0, 3), (1, 3), (2, 3)] * 2


def test_nobody_waits_for_a_part_that_is_read_beside() -> None:
    reader = Reader()
    reader.may_read.clear()
    for _ in range(2):
        reader.kept.want("common")
    assert reader.has_begun.wait(5)
    assert reader.kept.get("common") is None
    reader.may_read.set()
    reader.wait_for("common")


def test_closing_ends_a_read_after_its_slice_and_what_is_kept_stays() -> None:
    """A process that searched for a common word waited for its end before it could exit."""
    reader = Reader()
    reader.kept.get("rare")
    reader.slices.clear()
    reader.may_read.clear()
    for part in ("common", "too", "common", "too"):
        reader.kept.want(part)
    assert reader.has_begun.wait(5)
    reader.kept.close()
    reader.may_read.set()
    for thread in threading.enumerate():
        if thread.name.startswith("postings"):
            thread.join(5)
    assert len(reader.slices) <= 1
    assert reader.kept.get("common") is None
    assert reader.kept.get("rare") is not None
    for _ in range(2):
        reader.kept.want("all")
        reader.kept.want("too")


def test_searches_at_once_find_the_same_photos() -> None:
    reader = Reader()
    found: list[Postings | None] = []

    def search() -> None:
        for part in ("rare", "common") * 20:
            found.append(reader.kept.get(part))
            reader.kept.want(part)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {tuple(some.ids.tolist()) for some in found[::2] if some is not None} <= {
        (1, 2),
        (1, 2, 3, 4, 5, 6),
    }
    assert reader.wait_for("common").ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert reader.read.count("common") == 1


@pytest.mark.parametrize("part", ["all", "unknown"])
def test_what_nearly_all_photos_hold_is_never_read(part: str) -> None:
    reader = Reader()
    for _ in range(4):
        assert reader.kept.get(part) is None
        reader.kept.want(part)
    time.sleep(0.01)
    assert reader.read == []


def test_what_was_not_asked_for_lately_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "KEPT_HITS", 3)
    reader = Reader()
    reader.sizes["other"] = 2
    for part in ("rare", "other", "rare"):
        reader.kept.get(part)
    assert reader.read == ["rare", "other", "rare"]


def test_a_hit_takes_32_bytes() -> None:
    """What `KEPT_HITS` bounds: with the rows that a selection asks for."""
    ids = np.arange(1, 1001)
    part = Postings.of(ids, np.ones(1000, np.float32), np.ones(1000, np.int32))
    columns = Columns({"photo_id": ids}, np.ones(1000, np.bool_), 1000, 1, 1, Terms())
    part.within(Selection(columns, ids > 500))
    arrays = [part.ids, part.scores, part.fields, part.best_first, part.__dict__["_rows"][1]]
    assert sum(array.nbytes for array in arrays) == 32 * 1000
