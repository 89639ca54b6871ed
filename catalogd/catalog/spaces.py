"""Search by meaning goes from one embedding space to another without a gap.

::

    begin_switch ─▶ wanted: photos get its embedding, the active space is searched
                      │ every photo that can be found has one, or its model failed on it
                      ▼
                   active: searched from the next query on, by every process
                      │ back_out: the space before is active again, at once
                      ▼
    drop           the output is taken out of the records, page by page, and its space goes

A photo whose newest version can't be read counts as covered: no run can do more for it. One on a disk
that is away does not: it would be lost to search. What is asked or told here is one read or one
durable write of one value (`catalogd.catalog.coverage`), so that a process that dies leaves either state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from catalogd.catalog.coverage import (
    NOT_COUNTED,
    Standing,
    counted,
    fingerprints_of,
    put_standing,
    standing,
    uncovered,
)
from catalogd.catalog.store import JOINT, Reading, Store, space_key
from catalogd.errors import UsageError
from catalogd.records import decode_failure

if TYPE_CHECKING:
    from catalogd.catalog import Catalog

DROP_S = 0.1  # of taking an output out of records, at a time: a run waits no longer


class SwitchState(NamedTuple):
    """How far search by meaning has come on its way to another space."""

    active: str  # is searched; "": the one that the profile's text model speaks of
    wanted: str  # takes over once it covers the catalog; "": none does
    before: str  # can be gone back to; "": none can
    covered: int  # photos that `wanted` covers; all of them without one
    photos: int  # that can be found
    dropping: str  # the output that is being taken out of the records

    @property
    def share(self) -> float:
        """Of the photos that are covered, 0…1."""
        return min(self.covered / self.photos, 1.0) if self.photos else 1.0


def state(catalog: Catalog) -> SwitchState:
    """How the spaces stand now: one read, whatever the size of the catalog."""
    return catalog.search_spaces.state()


def begin_switch(catalog: Catalog, space: str, at_once: bool = False) -> SwitchState:
    """Let `space`, a model's fingerprint, take over once it covers the catalog, or `at_once`.

    Where nothing can be searched by meaning yet there is nothing to wait for. Only who may write.
    """
    return catalog.search_spaces.begin(space, at_once)


def back_out(catalog: Catalog) -> SwitchState:
    """Give up the switch that is under way, or undo the last one at once. Raises UsageError if neither is.

    Photos that were added after the switch have no embedding in the space before: the next run that
    wants it makes them.
    """
    return catalog.search_spaces.back_out()


def drop(catalog: Catalog, name: str, report: Callable[[int], None] = lambda done: None, by: str = "") -> int:
    """Take the output `name` out of all records, with its embeddings; returns how many had it.

    `by`: only where its fingerprint begins so. In small commits; `report` hears after each how many
    photos are done. What an interruption leaves the next run does. Raises UsageError for an output whose
    space is searched, or shall be.
    """
    spaces = catalog.search_spaces
    spaces.begin_drop(name, by)
    dropped = 0
    while (done := spaces.drop_page()) is not None:
        dropped += done
        report(dropped)
    catalog.maintain()
    return dropped


class SearchSpaces:
    """The spaces of one catalog. Whoever writes it follows them; everyone may ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked: tuple[int, ...] = ()  # at these numbers there was no switch

    def active(self) -> str:
        """The space that is searched; "" where nobody ever chose: a read of one value."""
        with self._store.snapshot() as reading:
            return standing(reading).active

    def state(self) -> SwitchState:
        """See the module's function."""
        with self._store.snapshot() as reading:
            return _state(reading)

    def searched_beside(self, space: str) -> str:
        """The space that is searched or, where nobody ever chose, was made so far; "" if it is `space`."""
        with self._store.snapshot() as reading:
            active = standing(reading).active or _searched_so_far(reading, space)
        return "" if active == space else active

    def coverage(self, space: str) -> int:
        """Photos that can be found and that `space` covers, counted: 1.5 s of 500,000 photos."""
        with self._store.snapshot() as reading:
            return counted(reading, space)

    def begin(self, space: str, at_once: bool) -> SwitchState:
        """See `begin_switch`."""

        def work(reading: Reading) -> SwitchState:
            put_standing(reading, _begun(reading, space, at_once))
            return _state(reading)

        self._store.write(work)
        self.follow()
        return self.state()

    def back_out(self) -> SwitchState:
        """See the module's function."""

        def work(reading: Reading) -> SwitchState:
            put_standing(reading, _backed_out(reading))
            return _state(reading)

        return self._store.write(work)

    def follow(self) -> None:
        """Switch if the wanted space covers the catalog by now."""
        with self._store.snapshot() as reading:
            now = standing(reading)
            numbers = _numbers(reading, now)
            if not now.wanted or numbers == self._looked:
                return
            stale = now.commit != reading.number("commit")
            whole = not stale and _is_whole(reading, now)
        if stale or whole:
            self._store.write(_follow)
        self._looked = () if stale else numbers

    def follow_drop(self, within_s: float = DROP_S) -> None:
        """Go on with what is being dropped, for so long."""
        until_s = time.monotonic() + within_s
        while self.drop_page() is not None and time.monotonic() < until_s:
            pass

    def begin_drop(self, name: str, by: str = "") -> None:
        """Let the output be dropped from now on, where its fingerprint begins with `by`."""

        def work(reading: Reading) -> None:
            now = standing(reading)
            used = {now.active: "is searched by", now.wanted: "is being made for"}
            for fingerprint in fingerprints_of(reading, name) & used.keys():
                raise UsageError(f"{name} {used[fingerprint]} search by meaning: choose another model first")
            put_standing(reading, msgspec.structs.replace(now, dropping=name, dropped_to=0, dropping_by=by))

        self._store.write(work)

    def drop_page(self) -> int | None:
        """Drop the output from one page of records; how many had it, None when all is done."""
        with self._store.snapshot() as reading:
            now = standing(reading)
        if not now.dropping:
            return None
        return self._store.drop_output(now.dropping, now.dropping_by, now.dropped_to, _noted)


def _noted(reading: Reading, last: int | None) -> None:
    """In the transaction of a page: it reached the photo `last`, or (None) the end."""
    now = standing(reading)
    dropping = now.dropping if last is not None else ""
    before = now.before if last is not None or _has_embedding(reading, now.before) else ""
    put_standing(
        reading, msgspec.structs.replace(now, dropping=dropping, dropped_to=last or 0, before=before)
    )


def _state(reading: Reading) -> SwitchState:
    now = standing(reading)
    photos = reading.entries("photos") - reading.entries("missing")
    covered = now.covered if now.wanted else photos
    return SwitchState(now.active, now.wanted, now.before, covered, photos, now.dropping)


def _begun(reading: Reading, space: str, at_once: bool) -> Standing:
    now = standing(reading)
    active = now.active or _searched_so_far(reading, space)
    if active in ("", space) or at_once:
        return _active(now, space, active)
    if now.wanted == space and now.commit == reading.number("commit"):
        return now
    return msgspec.structs.replace(
        now, active=active, wanted=space, covered=counted(reading, space), commit=reading.number("commit")
    )


def _active(now: Standing, space: str, former: str) -> Standing:
    before = former if former != space else now.before
    return msgspec.structs.replace(now, active=space, wanted="", before=before, covered=0, commit=NOT_COUNTED)


def _searched_so_far(reading: Reading, but: str) -> str:
    """Of a catalog where nobody ever chose: the space of most photos."""
    spaces = [name.removesuffix(JOINT) for name in reading.spaces() if name.endswith(JOINT)]
    others = [space for space in spaces if space != but]
    if len(others) < 2:
        return others[0] if others else ""
    return max(others, key=lambda space: sum(1 for _ in reading.rows_with("embeddings", _key(space))))


def _backed_out(reading: Reading) -> Standing:
    now = standing(reading)
    if now.wanted:
        return msgspec.structs.replace(now, wanted="", covered=0, commit=NOT_COUNTED)
    if not _has_embedding(reading, now.before):
        raise UsageError("there is no former model of search by meaning to go back to")
    return _active(now, now.before, now.active)


def _has_embedding(reading: Reading, space: str) -> bool:
    return bool(space) and next(reading.rows_with("embeddings", _key(space)), None) is not None


def _key(space: str) -> bytes:
    return space_key(space + JOINT)


def _numbers(reading: Reading, now: Standing) -> tuple[int, ...]:
    """What a switch hangs on."""
    tables = ("photos", "missing", "failures")
    return now.covered, now.commit, *[reading.entries(table) for table in tables]


def _is_whole(reading: Reading, now: Standing) -> bool:
    """Whether every photo that can be found is covered, or has a newest version that can't be read."""
    lacking = reading.entries("photos") - reading.entries("missing") - now.covered
    if lacking <= 0 or lacking > reading.entries("failures"):
        return lacking <= 0
    failed = {decode_failure(value).photo_id for _, value in reading.rows("failures")} - {0}
    return lacking <= uncovered(reading, now.wanted, failed)


def _follow(reading: Reading) -> None:
    """Count anew where another catalogd has written, and switch when it is time."""
    now = standing(reading)
    if not now.wanted:
        return
    if now.commit != (commit := reading.number("commit")):
        now = msgspec.structs.replace(now, covered=counted(reading, now.wanted), commit=commit)
    put_standing(reading, _active(now, now.wanted, now.active) if _is_whole(reading, now) else now)
