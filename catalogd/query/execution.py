"""Carrying out a plan: from a query that was read to the photos of one page, with their reasons.

::

    branch ─▶ filters ─▶ selection ┬─▶ meaning: joint embeddings ┐
                                   ├─▶ words: text index         ├─▶ fused by rank ─▶ scored ─┐
                                   └─▶ similar: picture embedding┘                            │
    every branch alike ──────────────────────────────────────────────▶ best of all, in order ◀┘
                                                        found enough? ─▶ one page ─▶ reasons

Each search is asked for its best photos within the selection (`DEPTH`), so that a filter never empties a
page. What one of them found, the others are asked about too: a photo's rank is then nearly what it would
be if every search told all it knows (bench/bench_search.py: recall against that).

A score is calibrated (`catalogd.query.calibration`), an order is not: hits stand by fused rank, and a photo
counts as found by its score. `docs/search.md` says it for people.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.selection import ORDERS, Selection, everything, selection_of
from catalogd.query import calibration, examples
from catalogd.query.albums import Albums
from catalogd.query.ranking import Floats, Ids, Ranking, by_place, fuse
from catalogd.query.reasons import Place, Reasons, query_terms
from catalogd.query.searches import ALL_WORDS, Searches, Tools
from catalogd.records import Branch, Explanation, Hit, Plan, Results, Step

DEPTH = 4  # photos a search is asked for, as a multiple of the limit: fusion reorders the ends
LEAST_DEPTH = 400  # bench/bench_search.py: recall@10 against unlimited depth
MOST_CANDIDATES = 10_000  # of a branch: what is counted, divided and put in another order than by score
LEAST_SCORED = 50  # photos at a time: a page's worth is mostly enough
NEAREST = 5  # photos that are shown when nothing matches well
# What an order means without a "-": the newest and the best first, names from A.
_DIRECTIONS = {name: f"-{name}" for name in ("date", "added", "quality", "aesthetics")} | {"name": "name"}


class Found(NamedTuple):
    """What one branch found, best first."""

    ids: Ids
    values: Floats  # 0…1, by rank: compares with those of other branches
    rankings: tuple[Ranking, ...]
    scores: Callable[[Ids, float], Floats]  # of some of them, 0…1, calibrated; right from the float up
    reasons: Reasons
    total: int | None  # photos in all, where that is known


class Chosen(NamedTuple):
    """A photo, how likely it is what was meant, and by which branch."""

    photo_id: int
    score: float
    branch: int


class _Page(NamedTuple):
    """Several of them, the best first."""

    ids: Ids
    scores: Floats
    branches: npt.NDArray[np.int64]

    def only(self, kept: npt.NDArray[np.bool_]) -> _Page:
        return _Page(self.ids[kept], self.scores[kept], self.branches[kept])

    def chosen(self) -> Iterator[Chosen]:
        return map(Chosen, self.ids.tolist(), self.scores.tolist(), self.branches.tolist())


def execute(
    tools: Tools,
    plan: Plan,
    *,
    first: frozenset[Branch] = frozenset(),
    read_as: Sequence[str] = (),
    without_stacks: bool = False,
) -> Results:
    """The best `plan.limit` photos with the reasons of each. Raises QueryError.

    What the branches `first` find stands before the rest. `without_stacks` leaves out other files of the
    example photos. The explanation is always made: it costs nothing beside a search.
    """
    started = time.perf_counter()
    run = _Run(tools, plan, first, without_stacks)
    hits, nearest, total = run.page()
    took_ms = (time.perf_counter() - started) * 1000
    explanation = Explanation(tuple(read_as), tuple(run.steps))
    return Results(
        hits,
        nearest,
        total,
        took_ms=round(took_ms, 2),
        notes=tuple(dict.fromkeys(run.notes)),
        explanation=explanation,
    )


def selected(tools: Tools, plan: Plan, first: frozenset[Branch] = frozenset()) -> tuple[Selection, bool]:
    """All photos that a plan finds, and whether they are all: of words, the best `MOST_CANDIDATES`."""
    run = _Run(tools, plan, first, False)
    return run.everything_found()


class _Run:
    """One execution of one plan, all of it on the same commit's columns."""

    def __init__(self, tools: Tools, plan: Plan, first: frozenset[Branch], without_stacks: bool) -> None:
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self._tools = tools
        self._catalog = tools.catalog
        self._plan = plan
        self._first = first
        self._without_stacks = without_stacks
        self._columns = tools.catalog.columns()
        self._albums = Albums(tools.album, self._ids_of_query)

    # -- the page --------------------------------------------------------------------------------

    def page(self) -> tuple[tuple[Hit, ...], tuple[Hit, ...], int | None]:
        """Hits, the nearest when there are none, and how many there are in all where that is known."""
        branches = self._branches(self._depth())
        started = time.perf_counter()
        missed: list[_Page] = []
        found = self._in_order(self._found(branches, missed))
        hits = self._hits(found, branches, self._plan.limit)
        nearest = () if hits else self._nearest(missed, branches)
        self._note("scores, records, reasons", len(hits), started)
        return hits, nearest, branches[0].total if len(branches) == 1 else None

    def everything_found(self) -> tuple[Selection, bool]:
        """As a selection, and whether nothing was cut off."""
        filtered = [self._selected(branch) for branch in self._plan.branches if not _is_ranked(branch)]
        ranked = [
            self._ranked(branch, MOST_CANDIDATES) for branch in self._plan.branches if _is_ranked(branch)
        ]
        threshold = self._threshold()
        ids = [found.ids[found.scores(found.ids, threshold) >= threshold] for found in ranked]
        selections = [*filtered, *(selection_of(self._columns, np.sort(some)) for some in ids)]
        is_whole = all(len(found.ids) < MOST_CANDIDATES for found in ranked)
        return functools.reduce(lambda one, other: one | other, selections), is_whole

    def _ids_of_query(self, text: str) -> Ids:
        """The photos of a smart album: what its query finds, read as the query itself is."""
        from catalogd.query.language import parse

        inner = _Run(self._tools, parse(text), frozenset(), False)
        inner._columns = self._columns
        inner._albums = self._albums
        return inner.everything_found()[0].ids

    def _depth(self) -> int:
        if _orders(self._plan) != ["score"] and any(map(_is_ranked, self._plan.branches)):
            return MOST_CANDIDATES
        return min(max(LEAST_DEPTH, DEPTH * self._plan.limit), MOST_CANDIDATES)

    def _threshold(self) -> float:
        """The score from which a photo is a hit. Whoever gives an example wants the most similar ones."""
        if self._plan.min_score is not None:
            return self._plan.min_score
        return 0.0 if any(branch.examples for branch in self._plan.branches) else calibration.FOUND

    def _branches(self, depth: int) -> list[Found]:
        return [
            self._ranked(branch, depth) if _is_ranked(branch) else self._filtered(branch, depth)
            for branch in self._plan.branches
        ]

    def _nearest(self, missed: Sequence[_Page], branches: Sequence[Found]) -> tuple[Hit, ...]:
        """The likeliest of what is no hit, with whole scores: of the first and the likeliest so far."""
        everyone = [chosen for page in missed for chosen in page.chosen()]
        likely = itertools.islice(_likeliest(everyone), 4 * NEAREST)
        some = list(dict.fromkeys((*likely, *everyone[: 4 * NEAREST])))
        whole: list[Chosen] = []
        for number, branch in enumerate(branches):
            ids = np.array([chosen.photo_id for chosen in some if chosen.branch == number], np.int64)
            scores = branch.scores(ids, 0.0).tolist()
            whole += map(Chosen, ids.tolist(), scores, itertools.repeat(number))
        return self._hits(_likeliest(whole), branches, min(NEAREST, self._plan.limit))

    def _found(self, branches: Sequence[Found], missed: list[_Page]) -> Iterator[Chosen]:
        """Each photo once, best first, whose score is that of a hit; the others go to `missed`.

        A photo may be too unlikely for one branch and likely for another.
        """
        threshold = self._threshold()
        seen: set[int] = set()
        for page in self._scored(branches):
            is_hit = page.scores >= threshold
            missed.append(page.only(~is_hit))
            for chosen in page.only(is_hit).chosen():
                if chosen.photo_id not in seen:
                    seen.add(chosen.photo_id)
                    yield chosen

    def _scored(self, branches: Sequence[Found]) -> Iterator[_Page]:
        """What the branches found, those of `first` before the rest; scored as far as is read.

        Fusion decides which come into view, their scores the order there: MRR 0.83 on the labelled photos, by
        fusion alone 0.81 (bench/bench_quality.py table), and no hit stands below a less likely one.
        """
        numbers = np.repeat(np.arange(len(branches)), [len(found.ids) for found in branches])
        ids = np.concatenate([found.ids for found in branches])
        values = np.concatenate([found.values for found in branches])
        is_first = np.array([branch in self._first for branch in self._plan.branches])[numbers]
        order = np.lexsort((-values, ~is_first))
        threshold = self._threshold()
        start, size = 0, max(LEAST_SCORED, 2 * self._plan.limit)
        while start < len(order):
            some = order[start : start + size]
            scores = np.empty(len(some))
            for number in np.unique(numbers[some]).tolist():
                of_branch = numbers[some] == number
                scores[of_branch] = branches[number].scores(ids[some[of_branch]], threshold)
            some, scores = _by_score(some, scores, is_first[some])
            yield _Page(ids[some], scores, numbers[some])
            start, size = start + size, 4 * size

    def _in_order(self, found: Iterator[Chosen]) -> Iterator[Chosen]:
        """The hits in the order that was asked for; the next order decides where one leaves them equal."""
        orders = _orders(self._plan)
        if orders == ["score"] or not any(map(_is_ranked, self._plan.branches)):
            return found
        everyone = list(found)
        ids = np.array([chosen.photo_id for chosen in everyone], np.int64)
        keys = [self._keys(order, ids) for order in reversed(orders)]
        return (everyone[place] for place in np.lexsort((np.arange(len(ids)), *keys)))

    def _keys(self, order: str, ids: Ids) -> Floats:
        """float64[n]: what sorts ascending into an order; photos that are best first are so by score."""
        if order.lstrip("-") == "score":
            places = np.arange(len(ids), dtype=float)
            return -places if order.startswith("-") else places
        if order.lstrip("-") == "name":
            ordered = self._catalog.ordered(selection_of(self._columns, ids), _directed(order), len(ids))
            rank = {photo_id: place for place, photo_id in enumerate(ordered)}
            return np.array([rank.get(photo_id, math.inf) for photo_id in ids.tolist()])
        rows = self._columns.rows_of(ids)
        known = self._columns.arrays[ORDERS[order.lstrip("-")]][rows].astype(float)
        known[rows < 0] = np.nan
        return np.where(np.isnan(known), np.inf, known if order.startswith("-") else -known)

    def _hits(self, found: Iterator[Chosen], branches: Sequence[Found], limit: int) -> tuple[Hit, ...]:
        """The first `limit` that are there: an index may lag behind photos that went missing."""
        hits: list[Hit] = []
        while page := list(itertools.islice(found, limit - len(hits))):
            records = self._catalog.records([chosen.photo_id for chosen in page])
            places = _places(page, branches)
            for chosen, record, where in zip(page, records, places, strict=True):
                if record is not None and record.missing_since is None:
                    signals = branches[chosen.branch].reasons.signals(record, where)
                    hits.append(Hit(record.photo_id, record.path, round(chosen.score, 4), signals))
        return tuple(hits)

    # -- one branch ------------------------------------------------------------------------------

    def _selected(self, branch: Branch) -> Selection:
        """The photos that its filters leave."""
        started = time.perf_counter()
        if not branch.filters:
            return everything(self._columns)
        selection = self._catalog.select(branch.filters, columns=self._columns, album_ids=self._albums.ids)
        self.steps += selection.steps
        share = len(selection) / max(self._columns.count, 1)
        self._note("filters", len(selection), started, f"{100 * share:.3g} % of the library")
        return selection

    def _filtered(self, branch: Branch, depth: int) -> Found:
        """A branch without words: all that its filters leave, the newest first or as was asked for."""
        selection = self._selected(branch)
        started = time.perf_counter()
        ids = self._first_of(selection, max(depth, self._plan.limit + _SLACK))
        self._note("order", len(ids), started, self._plan.order or "date")
        reasons = Reasons(branch, frozenset(), (), self._tools.faces_of)
        return Found(ids, by_place(len(ids)), (), _certain, reasons, len(selection))

    def _first_of(self, selection: Selection, limit: int) -> Ids:
        orders = [order for order in _orders(self._plan) if order.lstrip("-") != "score"] or ["date"]
        if len(orders) == 1:
            return np.array(self._catalog.ordered(selection, _directed(orders[0]), limit), np.int64)
        keys = [self._keys(order, selection.ids) for order in reversed(orders)]
        first: Ids = selection.ids[np.lexsort((selection.ids, *keys))[:limit]]
        return first

    def _ranked(self, branch: Branch, depth: int) -> Found:
        """A branch with words or examples: its searches, fused and scored."""
        looks = self._looks(branch)
        selection = self._without(self._selected(branch), looks)
        searches = Searches(self._tools, branch, selection, depth, looks, self._note)
        rankings = searches.rankings() if len(selection) else ()
        started = time.perf_counter()
        fused = fuse(rankings, self._tools.weights)
        scores = functools.partial(searches.scores, rankings)
        self._note("fusion", len(fused.ids), started, ", ".join(ranking.name for ranking in rankings))
        terms = query_terms(branch.words, self._tools.expand) if branch.words else frozenset()
        likes = [look.name for look in looks if not look.negated]
        reasons = Reasons(branch, terms, likes, self._tools.faces_of)
        return Found(fused.ids, fused.values, rankings, scores, reasons, None)

    def _looks(self, branch: Branch) -> list[examples.Look]:
        started = time.perf_counter()
        looks = examples.looks_of(self._catalog, branch.examples, self._tools.embed, self._tools.given)
        if looks:
            self._note("examples", len(looks), started, "read, or seen by the model")
        self.notes += [f"{look.name}: {look.note}" for look in looks if look.note]
        if branch.words and self._tools.encode is not None:
            self.notes += self._unseen(looks)
        return looks

    def _unseen(self, looks: Sequence[examples.Look]) -> list[str]:
        """Which examples are compared by their looks alone, not with the words."""
        space = self._tools.space
        return [
            f"{look.name}: compared by its looks alone; {space.partition('@')[0]}, "
            "which compares with words, has not seen it"
            for look in looks
            if not any(output.fingerprint == space and output.joint_embedding for output in look.outputs)
        ]

    def _without(self, selection: Selection, looks: Sequence[examples.Look]) -> Selection:
        """The examples themselves are none of what is like them."""
        ids = {look.photo_id for look in looks} - {0}
        if self._without_stacks:
            stacks = [self._catalog.timeline.stack_of(photo_id) for photo_id in ids]
            ids |= {photo_id for stack in stacks if stack is not None for photo_id in stack.photo_ids}
        if not ids:
            return selection
        return selection & ~selection_of(self._columns, np.array(sorted(ids), np.int64))

    def _note(self, name: str, photos: int | None, started: float, note: str = "") -> None:
        self.steps.append(Step(name, photos, round((time.perf_counter() - started) * 1000, 3), note))


_SLACK = 100  # more ids than a page takes: some may have gone missing since


def _by_score(some: Ids, scores: Floats, is_first: npt.NDArray[np.bool_]) -> tuple[Ids, Floats]:
    """Places in another order, and their scores: the likeliest first, equal ones as they stood."""
    order = np.lexsort((np.arange(len(some)), -scores, ~is_first))
    return some[order], scores[order]


def _likeliest(missed: Sequence[Chosen]) -> Iterator[Chosen]:
    """Each photo once, the best score first."""
    best = {chosen.photo_id: chosen for chosen in sorted(missed, key=lambda chosen: chosen.score)}
    return iter(sorted(best.values(), key=lambda chosen: -chosen.score))


def _certain(ids: Ids, least: float) -> Floats:
    """What satisfies filters is what was meant."""
    return np.ones(len(ids))


def _is_ranked(branch: Branch) -> bool:
    return bool(branch.words or branch.examples)


def _orders(plan: Plan) -> list[str]:
    """The orders that were asked for, the first one first; by score when there are none."""
    return [order for order in plan.order.split(",") if order] or ["score"]


def _directed(order: str) -> str:
    """An order of the query language as the catalog understands it."""
    direction = _DIRECTIONS[order.lstrip("-")]
    if not order.startswith("-"):
        return direction
    return direction[1:] if direction.startswith("-") else f"-{direction}"


def _places(page: Sequence[Chosen], branches: Sequence[Found]) -> list[dict[str, Place]]:
    """For each photo, where it stands in each ranking of its branch that knows it."""
    places: list[dict[str, Place]] = [{} for _ in page]
    for number, branch in enumerate(branches):
        at = [place for place, chosen in enumerate(page) if chosen.branch == number]
        ids = np.array([page[place].photo_id for place in at], np.int64)
        for ranking in branch.rankings if at else ():
            scores = ranking.scores_of(ids)
            shown = np.where(scores >= ALL_WORDS, scores - ALL_WORDS, scores)
            for place, rank, score in zip(at, ranking.ranks_of(scores).tolist(), shown.tolist(), strict=True):
                if not math.isnan(score):
                    places[place][ranking.name] = Place(int(rank), score)
    return places
