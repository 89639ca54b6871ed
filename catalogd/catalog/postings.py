"""The photos that hold each part of a query, as arrays: what is asked of the words again and again.

A search asks of its words who holds them within a selection, in which order, and what a photo holds that
something else found. Asked of the text index each of these is a search of its own, a millisecond or more;
read once, a part's photos answer all of them, and they are kept, since people use the same words again.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from catalogd.catalog.columns import Columns, find
from catalogd.catalog.environment import Ids
from catalogd.catalog.selection import Selection
from catalogd.catalog.vectors import among, union

# Hits that are read while somebody waits: 0.6 us each, 12 ms. A word of more is read beside the searches that
# use it (bench/bench_search.py).
READ_AT_ONCE = 20_000
MOST_HITS = 300_000  # of a part that is read at all: what more photos have tells little, and takes 0.2 s
# Hits that are read beside searches at a time, which then wait for the interpreter 3 ms at most; slices of
# half as many take one and a half times the CPU. Then a rest, times the CPU that reading took; not longer,
# since until a word is kept each search that uses it takes longer.
SLICE_HITS = 10_000
REST = 1.0
KEPT_HITS = 2_500_000  # of all parts together: 80 MB, 32 bytes a hit
MOST_WANTED = 1000  # parts whose searches are counted: then counting starts again

Scores = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Postings:
    """The photos that hold a part of a query."""

    ids: Ids  # int64[n], ascending
    scores: npt.NDArray[np.float32]  # [n]
    fields: npt.NDArray[np.int32]  # [n]: a bit for each field that holds it
    best_first: Rows  # int64[n]: places in the other arrays

    @classmethod
    def of(cls, ids: Ids, scores: npt.NDArray[np.float32], fields: npt.NDArray[np.int32]) -> Postings:
        """Of photos that come best first."""
        order = np.argsort(ids, kind="stable")
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return cls(ids[order], scores[order], fields[order], places)

    @classmethod
    def joined(cls, slices: Sequence[Postings]) -> Postings:
        """Of slices by ascending id."""
        scores = np.concatenate([part.scores for part in slices])
        ids = np.concatenate([part.ids for part in slices])
        fields = np.concatenate([part.fields for part in slices])
        return cls(ids, scores, fields, np.argsort(-scores, kind="stable"))

    def within(self, selection: Selection | None) -> Postings:
        """Those that are selected; None: all."""
        if selection is None or selection.is_all:
            return self
        rows = self._rows_in(selection.columns)
        kept = selection.mask[rows] & (rows >= 0) if len(selection.mask) else rows >= 0
        new_places = np.cumsum(kept) - 1
        best_first = self.best_first[kept[self.best_first]]
        return Postings(self.ids[kept], self.scores[kept], self.fields[kept], new_places[best_first])

    def _rows_in(self, columns: Columns) -> Rows:
        """Where the photos are in the columns: worked out once for as long as these have the same rows."""
        known = self.__dict__.get("_rows")
        if known is None or known[0]() is not columns.ids:
            known = weakref.ref(columns.ids), columns.former_rows_of(self.ids)
            self.__dict__["_rows"] = known
        rows: Rows = known[1]
        return rows

    def told(self, ids: Ids) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Of each of these photos its score, NaN where it does not hold the part, and its fields."""
        places = find(self.ids, ids)
        held = places >= 0
        if not len(self.ids):
            return np.full(len(ids), np.nan, np.float32), np.zeros(len(ids), np.int32)
        return np.where(held, self.scores[places], np.nan), np.where(held, self.fields[places], 0)

    def without(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """bool[n]: all but these."""
        places = find(self.ids, ids)
        kept = np.ones(len(self.ids), np.bool_)
        kept[places[places >= 0]] = False
        return kept


class Ranked(NamedTuple):
    """Photos that hold some parts, the best first; the first `whole` hold all."""

    ids: Ids
    scores: Scores
    whole: int
    is_cut: bool  # there are more
    is_whole_cut: bool  # there are more that hold all parts
    # Of a cut ranking the scores of all there are, ascending: who holds all parts, and the rest.
    of_whole: Scores
    of_rest: Scores
    equals: Ids  # ascending: where it is cut among those that hold all, these and all that score as well


def rank(parts: Sequence[Postings], limit: int) -> Ranked:
    """The best `limit` photos by the sum of their scores, those that hold all parts first."""
    whole, scores = _in_all(parts)
    best = parts[0].best_first if len(parts) == 1 else np.argsort(-scores, kind="stable")
    first = best[:limit]
    rest = _Rest.of(parts, whole, limit - len(first))
    is_cut, is_whole_cut = len(whole) + rest.total > limit, len(whole) > limit
    return Ranked(
        np.concatenate([whole[first], rest.ids]),
        np.concatenate([scores[first], rest.scores]),
        len(first),
        is_cut,
        is_whole_cut,
        np.sort(scores) if is_cut else np.empty(0),
        rest.all_scores() if is_cut else np.empty(0),
        whole[scores >= scores[first[-1]]] if is_whole_cut else np.empty(0, np.int64),
    )


def _in_all(parts: Sequence[Postings]) -> tuple[Ids, Scores]:
    """The photos that hold all parts, ascending, and their scores."""
    fewest, *others = sorted(parts, key=lambda part: len(part.ids))
    ids, scores = fewest.ids, fewest.scores.astype(float)
    for other in others:
        more, _ = other.told(ids)
        held = ~np.isnan(more)
        ids, scores = ids[held], scores[held] + more[held]
    return ids, scores


class _Rest(NamedTuple):
    """The best photos that hold some parts, not all."""

    ids: Ids
    scores: Scores
    total: int  # how many there are; when there are more than asked for, some of them
    of_several: Scores  # who holds more than one part
    of_one: list[npt.NDArray[np.float32]]  # who holds no other, a part each

    @classmethod
    def of(cls, parts: Sequence[Postings], whole: Ids, limit: int) -> _Rest:
        if len(parts) == 1:
            return cls(np.empty(0, np.int64), np.empty(0), 0, np.empty(0), [])
        shared = whole if len(parts) == 2 else _in_two(parts)
        alone = [part.without(shared) for part in parts]
        several = shared[~among(shared, whole)]
        of_several = _sums(parts, several)
        best = [
            part.best_first[kept[part.best_first]][: limit + 1]
            for part, kept in zip(parts, alone, strict=True)
        ]
        ids = np.concatenate([several, *(part.ids[some] for part, some in zip(parts, best, strict=True))])
        scores = np.concatenate(
            [of_several, *(part.scores[some] for part, some in zip(parts, best, strict=True))]
        )
        first = np.argsort(-scores, kind="stable")[:limit]
        of_one = [part.scores[kept] for part, kept in zip(parts, alone, strict=True)]
        return cls(ids[first], scores[first], len(ids), of_several, of_one)

    def all_scores(self) -> Scores:
        """Of all who hold some parts but not all, ascending."""
        if not self.of_one:
            return self.of_several
        return np.sort(np.concatenate([*self.of_one, self.of_several.astype(np.float32)])).astype(float)


def _in_two(parts: Sequence[Postings]) -> Ids:
    """The photos that hold two parts or more, ascending."""
    everyone = np.sort(np.concatenate([part.ids for part in parts]))
    return union(everyone[1:][everyone[1:] == everyone[:-1]])


def _sums(parts: Sequence[Postings], ids: Ids) -> Scores:
    total: Scores = np.sum([np.nan_to_num(part.told(ids)[0]) for part in parts], 0)
    return total


class KeptPostings(Generic[Part]):
    """The postings of parts, read when they are asked for, of one commit of the index. Safe from any thread.

    `count` says how many photos hold a part at most, None where nobody knows. `read` reads those photos, or a
    slice of them: `read(part, number, of)`, the slices by ascending id. Common parts are read by a thread of
    their own, slice by slice; `close` stops it, and what is kept can still be asked for.
    """

    def __init__(
        self, count: Callable[[Part], int | None], read: Callable[[Part, int, int], Postings]
    ) -> None:
        self._count = count
        self._read = read
        self._kept: OrderedDict[Part, Postings] = OrderedDict()
        self._wanted: Counter[Part] = Counter()  # parts that are not kept
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="postings")  # starts with its first work

    def close(self) -> None:
        self._is_closed.set()
        self._beside.shutdown(wait=False, cancel_futures=True)

    def get(self, part: Part, most: int = READ_AT_ONCE) -> Postings | None:
        """The photos of a part. None: more than `most` are to be read first."""
        with self._lock:
            if (known := self._kept.get(part)) is not None:
                self._kept.move_to_end(part)
                return known
        count = self._count(part)
        if count is None or count > min(most, READ_AT_ONCE):
            return None
        return self._keep(part, self._read(part, 0, 1))

    def want(self, part: Part) -> None:
        """Read a part for those who ask next, once it was wanted twice: no search waits for that.

        A search that also asks about what others found wants its words twice by itself.
        """
        count = self._count(part)
        if count is None or count > MOST_HITS:
            return
        with self._lock:
            if len(self._wanted) >= MOST_WANTED:
                self._wanted.clear()
            self._wanted[part] += 1
            if self._wanted[part] == 2 and part not in self._kept and not self._is_closed.is_set():
                self._beside.submit(self._read_beside, part, count)

    def _read_beside(self, part: Part, count: int) -> None:
        of = -(-count // SLICE_HITS)
        slices: list[Postings] = []
        for number in range(of):
            started = time.thread_time()
            slices.append(self._read(part, number, of))
            if self._is_closed.wait(REST * (time.thread_time() - started)):
                return
        self._keep(part, Postings.joined(slices))

    def _keep(self, part: Part, found: Postings) -> Postings:
        with self._lock:
            self._kept[part] = found
            del self._wanted[part]
            while len(self._kept) > 1 and sum(len(kept.ids) for kept in self._kept.values()) > KEPT_HITS:
                self._kept.popitem(last=False)
        return found
