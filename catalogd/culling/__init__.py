"""Culling: a shoot in moments, the shots of each ranked, with what must be kept together kept together.

::

    photos ─▶ shots ─┬──────────────────────▶ moments ─▶ ranking ─▶ Moment
            files of │                        alike and   sharp,     picks, alternates,
            a stack  └─▶ series ────────────▶ soon        light      protected, reasons
                         bracket, panorama,
                         focus stack

Nothing is deleted, and no photo is written. docs/culling.md has the rules, the weights and their limits.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from catalogd.culling.alignment import Outline
from catalogd.culling.likeness import Embeddings
from catalogd.culling.moments import moments
from catalogd.culling.ranking import WEIGHTS, Ranked, rank
from catalogd.culling.series import BRACKET, FOCUS_STACK, PANORAMA, TURN_PAUSE_S, Series, find_series
from catalogd.culling.shots import Shot, shots_of
from catalogd.duplicates.judging import Looks

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.settings import Settings

__all__ = [
    "ALTERNATE",
    "BRACKET",
    "FOCUS_STACK",
    "PANORAMA",
    "PICK",
    "PROTECTED",
    "ROLES",
    "WEIGHTS",
    "Moment",
    "Series",
    "Shot",
    "Verdict",
    "cull",
    "protected_series",
]

log = logging.getLogger(__name__)

PICK, ALTERNATE, PROTECTED = "pick", "alternate", "protected"
ROLES = (PICK, ALTERNATE, PROTECTED)
_PART_PHOTOS = 2000  # shots with their facts: 10 MB
_KEPT_OUTLINES = 512  # of 300 KB: neighbours are asked for one after the other


class Verdict(NamedTuple):
    """What is proposed for one shot."""

    shot: Shot
    role: str  # of ROLES
    rank: int  # in its moment, from 1; 0 for what is protected and not ranked
    score: float  # 0…1, of what was measured; compares shots of one moment
    signals: dict[str, float]
    reasons: tuple[str, ...]


class Moment(NamedTuple):
    """The shots of one moment: picks, then alternates, each the best first, then what is protected."""

    verdicts: tuple[Verdict, ...]
    series: tuple[Series, ...]  # in it

    @property
    def taken_at(self) -> str | None:
        """When its first shot was taken, on the camera's clock."""
        times = [verdict.shot.photo.facts.taken_at for verdict in self.verdicts]
        return min((time for time in times if time), default=None)


def cull(catalog: Catalog, settings: Settings, photo_ids: Iterable[int], keep: int = 1) -> list[Moment]:
    """The moments of these photos by time, with `keep` picks in each; every photo is in exactly one.

    The same photos give the same answer in whatever order they come.
    """
    shots = shots_of(catalog, photo_ids)
    series = find_series(shots, _Outlines(settings))
    log.info("%d shots, %d series", len(shots), len(series))
    groups = moments(shots, series, Embeddings.of(catalog, shots))
    groups.sort(key=_by_time)
    return _judged(groups, series, keep)


def protected_series(
    catalog: Catalog, settings: Settings, photo_ids: Iterable[int] | None = None
) -> Iterator[tuple[Series, frozenset[int]]]:
    """The brackets, panoramas and focus stacks among these photos (None: all), each with all its files.

    A part of the time line is in memory at a time, whatever the size of the library.
    """
    outlines = _Outlines(settings)
    for part in _parts(catalog, photo_ids):
        shots = shots_of(catalog, part)
        files = {shot.photo.photo_id: shot.photo_ids for shot in shots}
        for one in find_series(shots, outlines):
            yield one, frozenset(file for member in one.members for file in files[member])


def _parts(catalog: Catalog, photo_ids: Iterable[int] | None) -> Iterator[list[int]]:
    """The photos by camera and time, cut at pauses that no series has, `_PART_PHOTOS` and more at a time."""
    columns = catalog.columns()
    rows = np.flatnonzero(columns.alive)
    if photo_ids is not None:
        rows = rows[np.isin(columns.ids[rows], np.fromiter(photo_ids, np.int64))]
    camera, taken, exposure = (getattr(columns, name)[rows] for name in ("camera", "taken", "exposure"))
    order = np.lexsort((taken, camera))
    pauses = np.diff(taken[order]) - np.nan_to_num(exposure[order][:-1])
    whole = np.flatnonzero((np.diff(camera[order]) != 0) | ~(pauses <= TURN_PAUSE_S + 1)) + 1
    ids, start = columns.ids[rows[order]], 0
    for end in (*whole.tolist(), len(ids)):
        if end - start >= _PART_PHOTOS or (end == len(ids) and end > start):
            yield ids[start:end].tolist()
            start = end


def _judged(groups: Sequence[Sequence[Shot]], series: Sequence[Series], keep: int) -> list[Moment]:
    of = {member: one for one in series for member in one.members}
    return [_moment(shots, of, keep) for shots in groups]


def _moment(shots: Sequence[Shot], of: dict[int, Series], keep: int) -> Moment:
    protected = [shot for shot in shots if shot.photo.photo_id in of]
    free = [shot for shot in shots if shot.photo.photo_id not in of]
    ranked = rank(free) if free else []
    last = min(keep, len(ranked)) - 1
    verdicts = [
        Verdict(one.shot, _role(one, place, ranked[last], last), place + 1, *one[2:])
        for place, one in enumerate(ranked)
    ]
    verdicts.sort(key=lambda verdict: ROLES.index(verdict.role))
    kept = [Verdict(shot, PROTECTED, 0, 0.0, {}, (of[shot.photo.photo_id].words,)) for shot in protected]
    own = dict.fromkeys(of[shot.photo.photo_id] for shot in protected)
    return Moment((*verdicts, *kept), tuple(own))


def _role(one: Ranked, place: int, last: Ranked, last_place: int) -> str:
    """A rejected shot is never a pick; one with as many stars of a person as a pick is a pick too."""
    if one.stars < 0:
        return ALTERNATE
    is_tied_by_stars = one.stars >= 1 and one.stars == last.stars
    return PICK if place <= last_place or is_tied_by_stars else ALTERNATE


def _by_time(shots: Sequence[Shot]) -> tuple[bool, float, bytes]:
    first = shots[0]
    unknown = first.taken_s != first.taken_s
    return unknown, 0.0 if unknown else first.taken_s, first.photo.path


class _Outlines:
    """The small pictures of shots, ready to be compared; the last ones are kept."""

    def __init__(self, settings: Settings) -> None:
        self._looks = Looks(settings)
        self._kept: collections.OrderedDict[int, Outline | None] = collections.OrderedDict()

    def __call__(self, shot: Shot) -> Outline | None:
        photo_id = shot.photo.photo_id
        if photo_id not in self._kept:
            pixels = self._looks.of(shot.photo)
            self._kept[photo_id] = None if pixels is None else Outline(pixels)
            if len(self._kept) > _KEPT_OUTLINES:
                self._kept.popitem(last=False)
        return self._kept[photo_id]
