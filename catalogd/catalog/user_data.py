"""What people told catalogd themselves: kept apart from all that models and files say, and outranking it.

One small LMDB environment, `user` in the catalog's folder. No run and no rebuild touches it, and any
process of the owner may write it at any time, one short durable transaction after the other.

    albums      folded name                → Album
    proposals   photo_id                   → Proposal
    journal     number                     → Entry: what was said of people, in order
    effects     number                     → the rows that it changed, as they were and are: for undo
    known       action_id                  → number of its entry; b"" where it was erased
    persons     person_id                  → Person
    names       "=" name, "~" plain name + person_id → person_id, (nothing): whose name it is
    pins        photo_id + box             → Claim: this face is that person
    anchors     photo_id + box + person_id → Claim: this face was in the person's cluster
    refusals    photo_id + box + person_id → Claim: this face is not that person
    seeds       source + "\0" + photo_id   → [Seed]: names that another program gives faces
    forgotten   hash of a name             → (nothing): no person, though files have the name
    numbers     name                       → u64: version
    given, given_of, given_seek, given_news, collections: what was set in other programs (given.py)

An action and all that it changes are one transaction. The rules are in journal.py.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from catalogd.catalog import given as given_rows
from catalogd.catalog.environment import (
    FIRST_MAP_BYTES,
    Result,
    TableNames,
    Tables,
    acquire,
    id_bytes,
    release,
)
from catalogd.catalog.given import (
    Collection,
    Given,
    GivenCounts,
    Head,
    Taken,
    album_of,
    checked_source,
    collection_named,
    decode_head,
    given_key,
    iter_collections,
    iter_heads,
)
from catalogd.catalog.journal import (
    MADE_IDS_END,
    RULES,
    Action,
    Claim,
    Effect,
    Mark,
    NameTakenError,
    Person,
    Rows,
    apply,
    decided,
    decode_claim,
    decode_person,
    folded,
    forgotten_key,
    persons_named,
)
from catalogd.catalog.path_lookup import PathLookup
from catalogd.catalog.seeds import Seed, decode_seeds
from catalogd.catalog.store import Store
from catalogd.errors import CatalogMissingError, UsageError
from catalogd.records import Album, Proposal, encode

TABLES = TableNames(
    ("albums", "proposals"),
    (
        "journal",
        "effects",
        "known",
        "persons",
        "names",
        "pins",
        "anchors",
        "refusals",
        "seeds",
        "forgotten",
        "numbers",
        *given_rows.TABLES,
    ),
)
CLAIMS = ("pins", "anchors", "refusals")
AWAY_PAGE = 2000  # rows that one transaction takes away: some ms
SOONEST_S = 1e-6  # after the action before: which of two was the last word is never open

_decode_album = msgspec.msgpack.Decoder(Album).decode
_decode_proposal = msgspec.msgpack.Decoder(Proposal).decode


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the journal."""

    number: int
    action: Action
    undone_at: float = 0.0  # seconds since the epoch; 0: it holds


class Said(NamedTuple):
    """All that people said, as it holds now."""

    version: int
    persons: dict[int, Person]  # with those that were merged into others
    pins: list[Claim]
    anchors: list[Claim]
    refusals: list[Claim]
    forgotten: frozenset[bytes]


class Imported(NamedTuple):
    """What became of the actions of a file."""

    entry: Entry | None  # None: there was nothing new in it
    known: int  # that were said here already
    left_out: tuple[str, ...]  # why some can't be said here


_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_decode_effects = msgspec.msgpack.Decoder(tuple[Effect, ...]).decode
NOTHING_SAID = Said(0, {}, [], [], [], frozenset())


def new_action_id() -> str:
    """Unique on all machines."""
    return uuid.uuid4().hex


def new_person_id() -> int:
    """Unique on all machines, as far as that goes with a number that JSON holds."""
    return 1 + secrets.randbelow(MADE_IDS_END - 1)


class UserData:
    """The user data of one catalog. Use it as a context manager, or `close` it; safe from any thread."""

    def __init__(self, catalog_folder: Path, write: bool = True) -> None:
        """Opens it, and makes it where there is none; without `write` raises CatalogMissingError then."""
        self._folder = catalog_folder
        self._environment = acquire(catalog_folder / "user", write, FIRST_MAP_BYTES, TABLES)
        self._closed = False

    def __enter__(self) -> UserData:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it. Twice is fine."""
        if not self._closed:
            self._closed = True
            release(self._environment)

    # -- albums ----------------------------------------------------------------------------------

    def albums(self) -> list[Album]:
        """All albums, by name; a collection of another program is one too."""
        with self._read() as tables:
            found = {key: _decode_album(value) for key, value in tables.rows("albums")}
            for source, collection in iter_collections(tables) if tables.has("collections") else ():
                album = album_of(tables, source, collection)
                if album is not None:
                    found.setdefault(folded(album.name).encode(), album)
        return [found[key] for key in sorted(found)]

    def album(self, name: str) -> Album | None:
        """The album of this name, whatever its case; one that was made here before one of another program."""
        with self._read() as tables:
            value = tables.get("albums", folded(name).encode())
            if value is not None:
                return _decode_album(value)
            found = collection_named(tables, name) if tables.has("collections") else None
            return None if found is None else album_of(tables, *found)

    def put_album(self, album: Album) -> None:
        """Keep `album`, in place of one of the same name."""
        key = folded(album.name).encode()
        self._environment.write(lambda transaction: Tables(transaction).put("albums", key, encode(album)))

    def delete_album(self, name: str) -> bool:
        """Forget an album, never its photos; False when there is none of this name.

        A collection of another program is one again when it is given again.
        """

        def work(tables: Tables) -> bool:
            if tables.delete("albums", folded(name).encode()):
                return True
            found = collection_named(tables, name)
            return found is not None and tables.delete(
                "collections", given_rows.collection_key(found[0], name)
            )

        return self._write(work)

    # -- proposals -------------------------------------------------------------------------------

    def proposals(self) -> dict[int, Proposal]:
        """photo_id → what was proposed for it."""
        with self._environment.read() as transaction:
            rows = Tables(transaction).rows("proposals")
            return {int.from_bytes(key, "big"): _decode_proposal(value) for key, value in rows}

    def proposal(self, photo_id: int) -> Proposal | None:
        """What was proposed for one photo."""
        with self._environment.read() as transaction:
            value = Tables(transaction).get("proposals", id_bytes(photo_id))
        return None if value is None else _decode_proposal(value)

    def put_proposals(self, proposals: Mapping[int, Proposal]) -> None:
        """Keep them, in place of former ones of the same photos."""
        rows = [(id_bytes(photo_id), encode(proposal)) for photo_id, proposal in sorted(proposals.items())]
        self._environment.write(lambda transaction: Tables(transaction).put_all("proposals", rows))

    def drop_proposals(self, photo_ids: Iterable[int]) -> int:
        """Forget those of these photos; returns how many there were."""
        keys = [id_bytes(photo_id) for photo_id in photo_ids]
        return self._environment.write(
            lambda transaction: sum([Tables(transaction).delete("proposals", key) for key in keys])
        )

    # -- people ----------------------------------------------------------------------------------

    def act(self, action: Action) -> Entry | None:
        """Let an action hold, and note it in the journal; None when it changes nothing.

        Raises UsageError (NameTakenError where a name is another person's) with nothing changed.
        """

        def work(tables: Tables) -> Entry | None:
            number, at = _next(tables)
            dated = _dated(action, at)
            rows = Rows(tables)
            apply(rows, dated)
            return _noted(tables, rows, Entry(number, dated), [dated.action_id])

        return self._write(work)

    def undo(self, count: int = 1) -> list[Entry]:
        """Take back the last actions that hold, up to `count`; returns them, the last one first.

        What was said before something was erased can't be taken back.
        """

        def work(tables: Tables) -> list[Entry]:
            entries = [entry for entry in reversed(_entries(tables)) if not entry.undone_at]
            able = _while_undoable(tables, entries)
            return [_turned(tables, entry, time.time()) for entry, _ in zip(able, range(count), strict=False)]

        return self._write(work)

    def redo(self, count: int = 1) -> list[Entry]:
        """Let what was taken back last hold again; nothing when something was said since."""

        def work(tables: Tables) -> list[Entry]:
            waiting: list[Entry] = []
            for entry in reversed(_entries(tables)):
                if not entry.undone_at:
                    break
                if tables.get("effects", id_bytes(entry.number)) is not None:
                    waiting.insert(0, entry)
            return [_turned(tables, entry, 0.0) for entry in waiting[:count]]

        return self._write(work)

    def erase(self, person_id: int, name: str = "") -> None:
        """Take a person out of all that is kept here, the journal too. This can't be taken back.

        `name`: of somebody whom only files name. What hides it there is a hash of it.
        """
        self._write(lambda tables: _erase(tables, person_id, name))

    def journal(self) -> list[Entry]:
        """All actions, the first one first."""
        with self._read() as tables:
            return _entries(tables)

    def said(self) -> Said:
        """All that people said, as it holds now."""
        with self._read() as tables:
            if not tables.has("numbers"):
                return NOTHING_SAID
            persons = [decode_person(value) for _, value in tables.rows("persons")]
            pins, anchors, refusals = (_claims(tables, table) for table in CLAIMS)
            forgotten = frozenset(key for key, _ in tables.rows("forgotten"))
            by_id = {person.person_id: person for person in persons}
            return Said(_version(tables), by_id, pins, anchors, refusals, forgotten)

    def version(self) -> int:
        """Another number whenever anything was said or taken back."""
        with self._read() as tables:
            return _version(tables) if tables.has("numbers") else 0

    def person(self, person_id: int) -> Person | None:
        """The person, or whoever it was merged into."""
        with self._read() as tables:
            return Rows(tables).person(person_id) if tables.has("persons") else None

    def named(self, name: str) -> list[Person]:
        """Who has this name or alias: one, or several that differ from it in accents alone."""
        with self._read() as tables:
            if not tables.has("names"):
                return []
            found = (Rows(tables).person(found) for found in persons_named(tables.get, tables, name))
            return [person for person in found if person is not None]

    def exported(self) -> list[Action]:
        """The actions that hold, in order, for another catalog to import."""
        held = (entry.action for entry in self.journal() if not entry.undone_at)
        said = (part for action in held for part in (action.parts if action.kind == "import" else (action,)))
        return [action for action in said if action.kind in RULES]

    def import_actions(self, actions: Sequence[Action]) -> Imported:
        """Say here what was said in another catalog, as one action; what is known here is left out.

        A person whose name somebody has here is that person. Nothing newer that was said here is overruled.
        """

        def work(tables: Tables) -> Imported:
            number, at = _next(tables)
            new = [action for action in actions if tables.get("known", action.action_id.encode()) is None]
            rows = Rows(tables)
            taken, left_out = _import(rows, new, _decided_at(rows, _entries(tables)))
            action = Action(new_action_id(), max(time.time(), at), "import", parts=tuple(taken))
            entry = _noted(tables, rows, Entry(number, action), [part.action_id for part in taken])
            return Imported(entry, len(actions) - len(new), tuple(left_out))

        return self._write(work)

    def put_seeds(self, source: str, seeds: Mapping[int, Sequence[Seed]]) -> None:
        """Keep what another program, the `source`, calls the people of these photos; no names: forget it.

        Nobody said it here, so that it is in no journal and counts less than what was.
        """

        def work(tables: Tables) -> None:
            for photo_id, given in seeds.items():
                key = source.encode() + b"\0" + id_bytes(photo_id)
                if given:
                    tables.put("seeds", key, encode(tuple(given)))
                else:
                    tables.delete("seeds", key)
            _changed(tables)

        self._write(work)

    def seeds(self) -> list[tuple[int, tuple[Seed, ...]]]:
        """What other programs call the people of photos, by photo_id."""
        with self._read() as tables:
            rows = tables.rows("seeds") if tables.has("seeds") else ()
            return [(int.from_bytes(key[-8:], "big"), decode_seeds(value)) for key, value in rows]

    # -- what was set in other programs ------------------------------------------------------------

    def give(self, source: str, photos: Sequence[Given]) -> Taken:
        """Keep what a person set on photos in another program, the `source`, in one transaction.

        A photo that is given again replaces what was given before. The records follow within seconds
        where a run is alive, else by `catalogd.sync.following.follow_user_data`.
        """
        checked_source(source)
        with self._finding() as find:
            return self._write(lambda tables: given_rows.give(tables, source, photos, find))

    def take_away(self, source: str, uuids: Iterable[str] | None = None, origin: str | None = None) -> int:
        """Forget what a source gave: these uuids, or all (of one origin); returns how many photos it was.

        What the files say counts again. Without `uuids` its collections go too.
        """
        checked_source(source)
        if uuids is not None:
            keys = [given_key(source, uuid) for uuid in uuids]
            return self._write(lambda tables: given_rows.take_away(tables, keys))
        count, after = 0, ""
        while True:
            with self._read() as tables:
                keys = given_rows.keys_of(tables, source, origin, after, AWAY_PAGE)
            if not keys:
                break
            after = keys[-1].partition(b"\0")[2].decode()
            count += self._write(lambda tables, keys=keys: given_rows.take_away(tables, keys))  # type: ignore[misc]
        self._write(lambda tables: given_rows.drop_collections(tables, source, origin))
        return count

    def given_digests(self, source: str, uuids: Iterable[str] | None = None) -> dict[str, bytes]:
        """uuid → `given_digest` of what was given last, of all or of these uuids."""
        return {uuid: head.digest for uuid, head in self.given_heads(source, uuids)}

    def given_heads(self, source: str, uuids: Iterable[str] | None = None) -> Iterator[tuple[str, Head]]:
        """uuid with the digest and the photo_id (0: not found yet), by uuid; one read of all of it."""
        with self._read() as tables:
            if not tables.has("given"):
                return
            if uuids is None:
                yield from iter_heads(tables, source)
                return
            for uuid in uuids:
                value = tables.get("given", given_key(source, uuid))
                if value is not None:
                    yield uuid, decode_head(value)

    def given_uuids(self, source: str, origin: str, after: str = "") -> list[str]:
        """The next page of the uuids of one origin behind `after`, in order; [] at their end."""
        with self._read() as tables:
            keys = given_rows.keys_of(tables, source, origin, after, AWAY_PAGE) if tables.has("given") else []
        return [key.partition(b"\0")[2].decode() for key in keys]

    def given_counts(self, source: str) -> GivenCounts:
        """How much a source has given."""
        with self._read() as tables:
            return given_rows.counts(tables, source) if tables.has("given") else GivenCounts(0, 0, 0, 0)

    def put_collections(
        self, source: str, collections: Sequence[Collection], complete: bool = False, origin: str = ""
    ) -> int:
        """Keep collections of another program, as albums; returns how many are new, changed or gone.

        `complete`: there are no others of this origin; those that were given before are forgotten.
        """
        checked_source(source)
        return self._write(
            lambda tables: given_rows.put_collections(tables, source, collections, complete, origin)
        )

    def has_given_news(self) -> bool:
        """Whether anything was given that the records do not follow yet."""
        with self._read() as tables:
            return tables.has("given_news") and tables.last("given_news") is not None

    def read_given(self, work: Callable[[Tables], Result]) -> Result:
        """Run `work` on the tables of given.py, as of now."""
        with self._read() as tables:
            return work(tables)

    def write_given(self, work: Callable[[Tables], Result]) -> Result:
        """Run `work` on the tables of given.py and commit it durably; for who keeps records up with them."""
        return self._write(work)

    @contextlib.contextmanager
    def _finding(self) -> Iterator[given_rows.Find]:
        """How photos are found by path; nothing is found where there is no catalog yet."""
        try:
            store = Store(self._folder)
        except CatalogMissingError:
            yield lambda path: None
            return
        with store, store.snapshot() as reading:
            yield PathLookup(reading).find

    def put_anchors(self, anchors: Mapping[int, Sequence[Mark]]) -> None:
        """Note more faces by which persons are found again. Says nothing new, so it is in no journal."""

        def work(tables: Tables) -> None:
            rows = Rows(tables)
            for person_id, marks in anchors.items():
                rows.anchor(marks, person_id, time.time())
            if rows.effects():
                _changed(tables)

        self._write(work)

    @contextlib.contextmanager
    def _read(self) -> Iterator[Tables]:
        with self._environment.read() as transaction:
            yield Tables(transaction)

    def _write(self, work: Callable[[Tables], Result]) -> Result:
        return self._environment.write(lambda transaction: work(Tables(transaction)))


def _version(tables: Tables) -> int:
    return int.from_bytes(tables.get("numbers", b"version") or b"", "big")


def _changed(tables: Tables) -> None:
    tables.put("numbers", b"version", id_bytes(_version(tables) + 1))


def _entries(tables: Tables) -> list[Entry]:
    rows = tables.rows("journal") if tables.has("journal") else ()
    return [_decode_entry(value) for _, value in rows]


def _next(tables: Tables) -> tuple[int, float]:
    """The number of the next entry, and when it is said at the earliest."""
    last = tables.last("journal")
    if last is None:
        return 1, time.time()
    entry = _decode_entry(last[1])
    return entry.number + 1, max(time.time(), entry.action.at + SOONEST_S)


def _dated(action: Action, at: float) -> Action:
    """The action with its parts, said at `at`."""
    return msgspec.structs.replace(action, at=at, parts=tuple(_dated(part, at) for part in action.parts))


def _noted(tables: Tables, rows: Rows, entry: Entry, action_ids: Iterable[str]) -> Entry | None:
    """The entry, with what undoes it, where anything changed."""
    if not rows.effects():
        return None
    for action_id in action_ids:
        rows.set("known", action_id.encode(), id_bytes(entry.number))
    _drop_undone(tables, entry.number - 1)
    tables.put("journal", id_bytes(entry.number), encode(entry))
    tables.put("effects", id_bytes(entry.number), encode(rows.effects()))
    _changed(tables)
    return entry


def _drop_undone(tables: Tables, number: int) -> None:
    """What was taken back, up to this entry, holds never again: something else is said in its place."""
    while (value := tables.get("journal", id_bytes(number))) and _decode_entry(value).undone_at:
        tables.delete("effects", id_bytes(number))
        number -= 1


def _while_undoable(tables: Tables, entries: Iterable[Entry]) -> Iterator[Entry]:
    return itertools.takewhile(
        lambda entry: tables.get("effects", id_bytes(entry.number)) is not None, entries
    )


def _turned(tables: Tables, entry: Entry, undone_at: float) -> Entry:
    """The entry taken back, or (0) holding again, with all the rows that it changed."""
    effects = _decode_effects(tables.get("effects", id_bytes(entry.number)) or b"\x90")
    for effect in effects:
        value = effect.before if undone_at else effect.after
        if value is None:
            tables.delete(effect.table, effect.key)
        else:
            tables.put(effect.table, effect.key, value)
    turned = msgspec.structs.replace(entry, undone_at=undone_at)
    tables.put("journal", id_bytes(entry.number), encode(turned))
    _changed(tables)
    return turned


def _decided_at(rows: Rows, entries: Iterable[Entry]) -> dict[tuple[int, str, str] | None, float]:
    """When each thing that holds of a person was decided last."""
    found: dict[tuple[int, str, str] | None, float] = {}
    for entry in entries:
        for action in (entry.action, *entry.action.parts) if not entry.undone_at else ():
            what = decided(rows, action)
            found[what] = max(action.at, found.get(what, 0.0))
    found.pop(None, None)
    return found


def _import(
    rows: Rows, actions: Sequence[Action], decided_at: Mapping[tuple[int, str, str] | None, float]
) -> tuple[list[Action], list[str]]:
    """The actions that could be said, and why the others could not."""
    taken, left_out = [], []
    for action in actions:
        if _is_of_nobody(rows, action):
            continue
        try:
            if decided_at.get(decided(rows, action), 0.0) > action.at:
                raise UsageError("something newer was said of it here")
            _import_one(rows, action)
        except UsageError as error:
            left_out.append(f"{action.kind} {action.name}".strip() + f": {error}")
        else:
            taken.append(action)
    return taken, left_out


def _is_of_nobody(rows: Rows, action: Action) -> bool:
    """Whether these are more anchors of somebody who is not here: who was erased does not come back so."""
    return action.kind == "name" and not action.name and rows.person(action.person) is None


def _import_one(rows: Rows, action: Action) -> None:
    """Say it; who gets a name that somebody has here is that person from now on."""
    while True:
        try:
            return apply(rows, action)
        except NameTakenError as error:
            who = next((part.person for part in (*action.parts, action) if part.name == error.name), 0)
            if not who or rows.person(who) is not None:
                raise
            rows.put_person(Person(who, into=error.person_id, made_at=action.at))


def _erase(tables: Tables, person_id: int, name: str) -> None:
    persons = {found.person_id: found for found in map(decode_person, _values(tables, "persons"))}
    gone = _merged_into(persons, person_id)
    names = {known for found in gone.values() for known in (found.name, *found.aliases)} | {name}
    rows = Rows(tables)
    for found in gone.values():
        rows.put_person(msgspec.structs.replace(found, name="", aliases=()))
        rows.set("persons", id_bytes(found.person_id), None)
    for table in CLAIMS:
        for key, value in list(tables.rows(table)):
            if decode_claim(value).person in gone:
                tables.delete(table, key)
    entries = _entries(tables)
    names |= {entry.action.former for entry in entries if entry.action.person in gone}
    for known in filter(None, names):
        tables.put("forgotten", forgotten_key(known), b"")
    _erase_seeds(tables, {folded(known) for known in names})
    for entry in entries:
        _redact(tables, entry, set(gone), {folded(known) for known in names if known})
    tables.clear("effects")
    _changed(tables)


def _erase_seeds(tables: Tables, names: set[str]) -> None:
    """Take these names out of what other programs gave."""
    for key, value in list(tables.rows("seeds")):
        given = decode_seeds(value)
        kept = tuple(seed for seed in given if folded(seed.name) not in names)
        if not kept:
            tables.delete("seeds", key)
        elif kept != given:
            tables.put("seeds", key, encode(kept))


def _redact(tables: Tables, entry: Entry, gone: set[int], names: set[str]) -> None:
    """Take what speaks of these persons out of an entry; that it was said is known still."""

    def is_of_them(action: Action) -> bool:
        said = {folded(name) for name in (action.name, action.former) if name}
        return bool({action.person, action.other} & gone or said & names)

    def redacted(action: Action) -> Action:
        if not is_of_them(action) and not any(map(is_of_them, action.parts)):
            return action
        if action.kind == "import":
            return msgspec.structs.replace(action, parts=tuple(map(redacted, action.parts)))
        return Action(action.action_id, action.at, "erased")

    action = redacted(entry.action)
    if action != entry.action:
        tables.put("journal", id_bytes(entry.number), encode(msgspec.structs.replace(entry, action=action)))


def _merged_into(persons: Mapping[int, Person], person_id: int) -> dict[int, Person]:
    """The person with all that were merged into it, one after the other."""
    found = {person_id} & persons.keys()
    while more := {other for other, person in persons.items() if person.into in found} - found:
        found |= more
    return {other: persons[other] for other in found}


def _claims(tables: Tables, table: str) -> list[Claim]:
    return [decode_claim(value) for _, value in tables.rows(table)]


def _values(tables: Tables, table: str) -> list[bytes]:
    return [value for _, value in tables.rows(table)]
