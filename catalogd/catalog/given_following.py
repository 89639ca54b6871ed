"""The records follow what a person set in other programs (catalogd.catalog.given).

Only the writer process has a `GivenFollower`. It looks at what was given since, and at photos that
were committed since, a page at a time::

    given_news, change log ─▶ which row is which photo ─▶ Record.user ─▶ change log ─▶ columns, text, …
                              user data, one commit       store, one commit

The news are dropped after the store's commit, so that a page that a crash broke off is done again;
doing it twice changes nothing. The mark `given` in the store is the commit that was looked at.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from catalogd.catalog import given
from catalogd.catalog.environment import Tables, id_bytes
from catalogd.catalog.given import Row, decode_news, decode_row, rows_of_photo, seek_key
from catalogd.catalog.path_lookup import PathLookup, spellings
from catalogd.catalog.store import ChangesTrimmedError, Reading, Store
from catalogd.catalog.user_data import UserData
from catalogd.records import Place, UserFacts, encode, is_elsewhere

MARK = "given"  # in the store: the commit that was looked at
PAGE = 2000  # rows and photos of one commit: 0.2 s (bench_given.py)

_MERGED = ("keywords", "keyword_paths", "synonyms", "people", "collections", "develop", "regions")
_FILLED = ("rating", "pick", "label", "title", "caption", "latitude", "longitude", "place", "stack")


class _Where(msgspec.Struct, gc=False):
    """The position that a file has."""

    latitude: float | None = None
    longitude: float | None = None


class _Photo(msgspec.Struct, gc=False):
    """Of a Record, where it is and what it holds of the user data."""

    path: bytes
    facts: _Where
    user: UserFacts | None = None
    missing_since: float | None = None


_decode_photo = msgspec.msgpack.Decoder(_Photo).decode


class GivenFollower:
    """Keeps the records of a catalog up with what was given."""

    def __init__(self, store: Store, catalog_folder: Path) -> None:
        self._store = store
        self._folder = catalog_folder
        self._user: UserData | None = None

    def close(self) -> None:
        """Let go of the user data. Twice is fine."""
        if self._user is not None:
            self._user.close()
            self._user = None

    def follow(self, within_s: float = math.inf) -> None:
        """Take in what was given, and what photos came, since: all of it, or pages for so long.

        Raises CatalogFullError with the rest still to do.
        """
        user = self._opened()
        if user is None:
            return
        until_s = time.monotonic() + within_s
        try:
            while self._take_in_page(user) and time.monotonic() < until_s:
                pass
        except ChangesTrimmedError:
            self.rebuild()

    def rebuild(self) -> None:
        """Compare every record, and every row, with each other again."""
        user = self._opened()
        if user is None:
            return
        reached = self._store.commit_number()
        last: bytes | None = b""
        while last is not None:
            last = self._again(user, last)
        photo_id = 0
        while page := self._ids_after(photo_id):
            self._set(user, _Page((), tuple(page)), None)
            photo_id = page[-1]
        self._store.set_mark(MARK, reached)
        while self._take_in_page(user):
            pass

    def _again(self, user: UserData, after: bytes) -> bytes | None:
        """A page of rows is news; returns its last key, None where there are no more."""

        def work(tables: Tables) -> bytes | None:
            rows = tables.rows("given", after + b"\0" if after else b"")
            page = [(key, decode_row(value).photo_id) for key, value in itertools.islice(rows, PAGE)]
            for key, photo_id in page:
                given.note_news(tables, key, photo_id)
            return page[-1][0] if page else None

        return user.write_given(work)

    def _ids_after(self, photo_id: int) -> list[int]:
        with self._store.snapshot() as reading:
            ids: list[int] = reading.ids_after("photos", photo_id, PAGE).tolist()
            return ids

    def _opened(self) -> UserData | None:
        """The user data; None while nobody has said anything."""
        if self._user is None and (self._folder / "user" / "data.mdb").is_file():
            if not os.access(self._folder / "user", os.W_OK):
                return None
            self._user = UserData(self._folder)
        return self._user

    def _take_in_page(self, user: UserData) -> bool:
        """Whether there was anything to do."""
        with self._store.snapshot() as reading:
            commit, mark = reading.number("commit"), reading.mark(MARK)
            if mark is None:  # news tell all that was given
                mark = commit if user.has_given_news() else None
            if mark is None or (mark == commit and not user.has_given_news()):
                return False
            commits, ids = reading.changes_since(mark, PAGE)
        reached = int(commits[-1]) if len(commits) else commit
        numbers = user.read_given(lambda tables: _news_numbers(tables))
        self._set(user, _Page(tuple(numbers), tuple(dict.fromkeys(ids.tolist()))), reached)
        return True

    def _set(self, user: UserData, page: _Page, reached: int | None) -> None:
        """Bind the rows of a page to photos, and copy what is said of these into their records."""
        with self._store.snapshot() as reading:
            facts = user.write_given(functools.partial(_bind, reading=reading, page=page))
        self._store.set_user_facts(facts, MARK, reached)
        if page.numbers:
            user.write_given(lambda tables: _drop_news(tables, page.numbers))


class _Page(msgspec.Struct, frozen=True):
    """What one turn looks at."""

    numbers: tuple[bytes, ...]  # keys of news
    photo_ids: tuple[int, ...]  # that were committed


def differing_users(reading: Reading, tables: Tables) -> list[int]:
    """The photos whose record is not what the user data say; [] while there are news to follow."""
    if not tables.has("given_news") or tables.last("given_news") is not None:
        return []
    if reading.mark(MARK) != reading.number("commit"):
        return []
    found = []
    for key, value in reading.rows("photos"):
        photo_id = int.from_bytes(key, "big")
        try:
            photo = _decode_photo(value)
        except msgspec.DecodeError:  # the check of the tables tells of it
            continue
        if photo.user != _placed(facts_of(tables, photo_id), photo):
            found.append(photo_id)
    return found


# -- which row is which photo ----------------------------------------------------------------------


def _news_numbers(tables: Tables) -> list[bytes]:
    return [key for key, _ in itertools.islice(tables.rows("given_news"), PAGE)]


def _drop_news(tables: Tables, numbers: Iterable[bytes]) -> None:
    for number in numbers:
        tables.delete("given_news", number)


def _bind(tables: Tables, reading: Reading, page: _Page) -> dict[int, UserFacts | None]:
    """Find the photos of rows; returns what is said of every photo that this may change."""
    binder = _Binder(tables, reading)
    for photo_id in page.photo_ids:
        binder.look_at_photo(photo_id)
    for number in page.numbers:
        value = tables.get("given_news", number)
        if value is not None:
            news = decode_news(value)
            binder.look_at_row(news.key, news.photo_id)
    return {photo_id: binder.facts_of(photo_id) for photo_id in sorted(binder.photo_ids)}


class _Binder:
    """Decides which rows are of which photos, in one transaction of the user data."""

    def __init__(self, tables: Tables, reading: Reading) -> None:
        self._tables = tables
        self._reading = reading
        self._lookup = PathLookup(reading)
        self._photos: dict[int, _Photo | None] = {}  # of this page; each is asked about three times
        self.photo_ids: set[int] = set()  # of which something else may be said now

    def look_at_photo(self, photo_id: int) -> None:
        """A photo was committed: rows that look for one at its path, and those that are of it."""
        self.photo_ids.add(photo_id)
        photo = self._photo(photo_id)
        for key in [key[8:] for key, _ in self._tables.rows_with("given_of", id_bytes(photo_id))]:
            self.look_at_row(key, photo_id)
        if photo is None or photo.missing_since is not None:
            return
        for key in [key[8:] for key, _ in self._tables.rows_with("given_seek", seek_key(photo.path))]:
            self.look_at_row(key, 0)

    def look_at_row(self, key: bytes, former: int) -> None:
        """Let a row be of the photo at its path where it looks for one. `former`: it may have been of it."""
        self.photo_ids |= {former} - {0}
        value = self._tables.get("given", key)
        if value is None:
            return
        row = decode_row(value)
        found = self._sought(key, row)
        photo = self._photo(found)
        if photo is None:
            found = self._returned(row)
            photo = self._photo(found)
        is_settled = photo is not None and _is_same(photo.path, row.path)
        at = row.seen_at if photo is None or photo.missing_since is not None else photo.path
        self._put(key, row, found, at, is_settled)

    def facts_of(self, photo_id: int) -> UserFacts | None:
        """What its record is to say."""
        return _placed(facts_of(self._tables, photo_id), self._photo(photo_id))

    def _sought(self, key: bytes, row: Row) -> int:
        """The photo at the row's path, while it looks for one; else the one that it is of."""
        if not self._is_sought(seek_key(row.path), key):
            return row.photo_id
        found = self._lookup.find(row.path)
        if found is None or (row.photo_id and not found.exact and self._photo(row.photo_id) is not None):
            return row.photo_id
        return found.photo_id

    def _returned(self, row: Row) -> int:
        """The photo at a path where the row's was, when that one is forgotten; 0: none is there."""
        for path in filter(None, (row.path, row.seen_at)):
            found = self._lookup.find(path)
            if found is not None:
                return found.photo_id
        return 0

    def _put(self, key: bytes, row: Row, photo_id: int, seen_at: bytes, is_settled: bool) -> None:
        self.photo_ids |= {row.photo_id, photo_id} - {0}
        if photo_id != row.photo_id:
            self._tables.delete("given_of", id_bytes(row.photo_id) + key)
            if row.photo_id:  # its record follows too, also when this page is done again
                given.note_news(self._tables, key, row.photo_id)
        if photo_id and self._tables.get("given_of", id_bytes(photo_id) + key) is None:
            self._tables.put("given_of", id_bytes(photo_id) + key, b"")
        if (photo_id, seen_at) != (row.photo_id, row.seen_at):
            moved = msgspec.structs.replace(row, photo_id=photo_id, seen_at=seen_at)
            self._tables.put("given", key, encode(moved))
        self._seek(key, row, photo_id, seen_at, is_settled)

    def _seek(self, key: bytes, row: Row, photo_id: int, seen_at: bytes, is_settled: bool) -> None:
        """Look for the photo at its path until it was there; of a forgotten one, also where it was last."""
        before = {seek_key(path) for path in (row.path, row.seen_at, seen_at) if path}
        before = {place for place in before if self._is_sought(place, key)}
        wanted = set() if is_settled else before & {seek_key(row.path)}
        if not photo_id:
            wanted = {seek_key(path) for path in (row.path, seen_at) if path}
        for place in before - wanted:
            self._tables.delete("given_seek", place + key)
        for place in wanted - before:
            self._tables.put("given_seek", place + key, b"")

    def _is_sought(self, place: bytes, key: bytes) -> bool:
        return self._tables.get("given_seek", place + key) is not None

    def _photo(self, photo_id: int) -> _Photo | None:
        if photo_id not in self._photos:
            self._photos[photo_id] = self._read_photo(photo_id)
        return self._photos[photo_id]

    def _read_photo(self, photo_id: int) -> _Photo | None:
        value = self._reading.get("photos", id_bytes(photo_id)) if photo_id else None
        try:
            return None if value is None else _decode_photo(value)
        except msgspec.DecodeError:
            return None


def _is_same(path: bytes, given_path: bytes) -> bool:
    return path == given_path or path in spellings(given_path)


# -- what is said of a photo -----------------------------------------------------------------------


def facts_of(tables: Tables, photo_id: int) -> UserFacts | None:
    """What was set on a photo, with its virtual copies; None: nothing was."""
    rows = [row for _, row in rows_of_photo(tables, photo_id)]
    masters = sorted((row.facts for row in rows if row.master is None), key=_newest_first)
    copies = sorted((row.facts for row in rows if row.master is not None), key=_by_name)
    if not rows:
        return None
    first = functools.reduce(_filled, masters) if masters else UserFacts(copies[0].source)
    return msgspec.structs.replace(first, copies=tuple(copies))


def _placed(user: UserFacts | None, photo: _Photo | None) -> UserFacts | None:
    """With the names of a position that was set without any, where the file has another one."""
    if user is None or photo is None or user.place is not None:
        return user
    if user.latitude is None or user.longitude is None or not is_elsewhere(photo.facts, user):
        return user
    return msgspec.structs.replace(user, place=_named(user.latitude, user.longitude))


@functools.lru_cache(maxsize=4096)  # photos of one stop have one position: 0.1 ms a name
def _named(latitude: float, longitude: float) -> Place | None:
    from catalogd.metadata.places import name_place  # maps the gazetteer

    return name_place(latitude, longitude)


def _newest_first(facts: UserFacts) -> tuple[float, str, str]:
    return -(facts.changed_at or 0.0), facts.source, facts.uuid


def _by_name(facts: UserFacts) -> tuple[str, str, str]:
    return facts.copy_name or "", facts.source, facts.uuid


def _filled(newer: UserFacts, older: UserFacts) -> UserFacts:
    """What both say; where only one counts, the newer one's word, also that there is nothing any more."""
    filled: dict[str, object] = {
        name: getattr(older, name)
        for name in _FILLED
        if getattr(newer, name) is None and name not in newer.emptied
    }
    for name in _MERGED:
        filled[name] = tuple(dict.fromkeys((*getattr(newer, name), *getattr(older, name))))
    both = msgspec.structs.replace(newer, **filled)
    emptied = dict.fromkeys((*newer.emptied, *older.emptied))
    return msgspec.structs.replace(
        both, emptied=tuple(name for name in emptied if not given.is_set(both, name))
    )
