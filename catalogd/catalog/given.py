"""What a person set in another program, as the user data keep it, and how photos' records follow it.

A *giver* (the import of a Lightroom catalog, the Lightroom plugin) says what was set on a photo of its
program, by the program's uuid and the photo's path:

    given        source + "\\0" + uuid        → Row: where it is, what was set, which photo it is
    given_of     photo_id + source "\\0" uuid → (nothing): what was given for a photo
    given_seek   path hash + source "\\0" uuid → (nothing): rows that look for a photo at this path
    given_news   number                       → News: rows that the records do not follow yet
    collections  source + "\\0" + folded name → Collection

These functions work inside one transaction of the user data; `GivenFollower` (given_following.py)
copies into the records what they keep, as the one process that writes records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import xxhash

from catalogd.catalog.environment import Tables, id_bytes
from catalogd.catalog.journal import folded
from catalogd.catalog.path_lookup import Found, folded_name
from catalogd.errors import UsageError
from catalogd.records import Album, UserFacts, encode

TABLES = ("given", "given_of", "given_seek", "given_news", "collections")
LONGEST_SOURCE = 40  # bytes; with the longest uuid and a photo_id a key stays under LMDB's 511
LONGEST_UUID = 200  # bytes; Lightroom's have 36
LONGEST_PATH = 8192  # bytes: twice what systems open
MOST_WORDS = 2000  # keywords, people or collections of one photo
LONGEST_TEXT = 100_000  # characters of a title or caption
_FIELDS = frozenset(UserFacts.__struct_fields__) - {"source", "uuid", "copies", "emptied"}
_EMPTIED = ("rating", "pick", "label", "title", "caption", "keywords", "latitude")
_LONGEST_KEY = 500  # bytes; LMDB takes 511
_LISTS = ("keywords", "keyword_paths", "synonyms", "people", "collections", "develop")
_TEXTS = ("label", "title", "caption", "copy_name")


class Given(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was set on one photo, or on one virtual copy of a photo, in another program."""

    uuid: str  # of the photo in that program
    path: bytes  # absolute, where its file is on this machine
    facts: UserFacts
    master: str | None = None  # uuid of the photo that this is a virtual copy of
    origin: str = ""  # which of that program's catalogs it is from; "" where the giver can't know it
    unsaid: tuple[str, ...] = ()  # fields of `facts` that the giver can't know: they stay as they were


class Collection(msgspec.Struct, frozen=True, omit_defaults=True):
    """A collection of another program: an album here."""

    name: str  # "Set/Collection"
    kind: str = "collection"  # "smart", "set": of collections
    uuids: tuple[str, ...] = ()  # of its photos, in their order; of a smart one, those that it found then
    query: str | None = None  # a smart one, in our query language; None: it can't be said in it
    origin: str = ""  # as of Given
    made_at: float = 0.0  # seconds since the epoch


class Refused(NamedTuple):
    """Something that was given and can't be kept."""

    uuid: str
    reason: str


class Taken(NamedTuple):
    """What became of what was given."""

    taken: int = 0  # new or changed
    unchanged: int = 0
    waiting: int = 0  # of these two: kept until their photos are in the catalog
    refused: tuple[Refused, ...] = ()


class GivenCounts(NamedTuple):
    """How much a source has given."""

    photos: int
    copies: int  # of these: virtual copies
    waiting: int  # of these: their photo is not in the catalog
    collections: int


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of one Given."""

    digest: bytes  # 16: of the Given as it was given
    photo_id: int  # 0: not found yet
    path: bytes  # as it was given
    seen_at: bytes  # where its photo was when it was last looked at; b"": it was not found yet
    master: str | None
    origin: str
    facts: UserFacts


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of a Row."""

    digest: bytes
    photo_id: int


class News(msgspec.Struct, frozen=True, array_like=True):
    """A row was given, changed or taken away."""

    key: bytes  # of the row
    photo_id: int  # that it was of before; 0: of none


decode_row = msgspec.msgpack.Decoder(Row).decode
decode_head = msgspec.msgpack.Decoder(Head).decode
decode_news = msgspec.msgpack.Decoder(News).decode
decode_collection = msgspec.msgpack.Decoder(Collection).decode
Find = Callable[[bytes], Found | None]  # a path → the photo there


def given_digest(given: Given) -> bytes:
    """16 bytes, the same for whoever gives the same again."""
    return xxhash.xxh3_128_digest(encode(given))


def given_key(source: str, uuid: str) -> bytes:
    """The key of a row."""
    return source.encode() + b"\0" + uuid.encode()


def seek_key(path: bytes) -> bytes:
    """8 bytes, the same for all spellings of a path by which its photo is found."""
    return xxhash.xxh3_64_digest(folded_name(path))


def checked_source(source: str) -> str:
    """The name of a program. Raises UsageError for one that can't be a key."""
    if not source or "\0" in source or len(source.encode()) > LONGEST_SOURCE:
        raise UsageError(f"a source is a short name such as `lightroom`, not {source[:60]!r}")
    return source


# -- giving ----------------------------------------------------------------------------------------


def give(tables: Tables, source: str, photos: Sequence[Given], find: Find) -> Taken:
    """Keep what was given, and note what of it is new."""
    taken = unchanged = waiting = 0
    refused = []
    for given in photos:
        reason = _refusal(given)
        if reason is not None:
            refused.append(Refused(given.uuid, reason))
            continue
        key = given_key(source, given.uuid)
        value = tables.get("given", key)
        before = None if value is None else decode_row(value)
        row = _row_of(source, given, before)
        if row == before or (before is not None and _is_older(row, before)):
            unchanged += 1
        elif before is not None and msgspec.structs.replace(row, digest=before.digest) == before:
            tables.put("given", key, encode(row))
            unchanged += 1
        else:
            _put(tables, key, row, before)
            taken += 1
        waiting += row.photo_id == 0 and find(row.path) is None
    return Taken(taken, unchanged, waiting, tuple(refused))


def _row_of(source: str, given: Given, before: Row | None) -> Row:
    kept = {name: getattr(before.facts, name) for name in given.unsaid} if before is not None else {}
    facts = msgspec.structs.replace(
        given.facts, source=source, uuid=given.uuid, copies=(), emptied=(), **kept
    )
    if before is not None and not _is_of_another(given.origin, before):
        facts = msgspec.structs.replace(facts, emptied=_emptied(facts, before.facts))
    origin = given.origin or (before.origin if before is not None else "")
    photo_id, seen_at = (0, b"") if before is None else (before.photo_id, before.seen_at)
    return Row(given_digest(given), photo_id, given.path, seen_at, given.master, origin, facts)


def _is_of_another(origin: str, before: Row) -> bool:
    """Whether another catalog gave it before: one that was exported from another has the same uuids."""
    return bool(origin and before.origin and origin != before.origin)


def _is_older(row: Row, before: Row) -> bool:
    changed_at, changed_before = row.facts.changed_at or 0.0, before.facts.changed_at or 0.0
    return _is_of_another(row.origin, before) and changed_at < changed_before


def _emptied(facts: UserFacts, before: UserFacts) -> tuple[str, ...]:
    """What was set before, or was emptied before, and is not set now."""
    return tuple(
        name
        for name in _EMPTIED
        if not is_set(facts, name) and (name in before.emptied or is_set(before, name))
    )


def is_set(facts: UserFacts, name: str) -> bool:
    """Whether a field says something: no stars do, no flag and no words don't."""
    if name == "keywords":
        return bool(facts.keywords or facts.keyword_paths)
    value = getattr(facts, name)
    return bool(value) or (value == 0 and name != "pick")


def _put(tables: Tables, key: bytes, row: Row, before: Row | None) -> None:
    if before is None or before.path != row.path:
        if before is not None:
            tables.delete("given_seek", seek_key(before.path) + key)
        tables.put("given_seek", seek_key(row.path) + key, b"")
    tables.put("given", key, encode(row))
    note_news(tables, key, row.photo_id)


def note_news(tables: Tables, key: bytes, photo_id: int) -> None:
    """The records are to follow this row, which was of this photo."""
    last = tables.last("given_news")
    number = 1 if last is None else int.from_bytes(last[0], "big") + 1
    tables.put("given_news", id_bytes(number), encode(News(key, photo_id)))


def take_away(tables: Tables, keys: Iterable[bytes]) -> int:
    """Forget these rows; returns how many there were."""
    count = 0
    for key in keys:
        value = tables.get("given", key)
        if value is None:
            continue
        row = decode_row(value)
        for path in (row.path, row.seen_at):
            tables.delete("given_seek", seek_key(path) + key)
        tables.delete("given_of", id_bytes(row.photo_id) + key)
        tables.delete("given", key)
        note_news(tables, key, row.photo_id)
        count += 1
    return count


def keys_of(tables: Tables, source: str, origin: str | None, after: str, most: int) -> list[bytes]:
    """Up to `most` keys of a source that follow uuid `after`, of one origin or (None) of all."""
    prefix = given_key(source, "")
    start = given_key(source, after) + b"\0" if after else prefix
    found: list[bytes] = []
    for key, value in tables.rows_with("given", prefix, start):
        if origin is None or decode_row(value).origin == origin:
            found.append(key)
            if len(found) >= most:
                break
    return found


def _refusal(given: Given) -> str | None:
    """Why something can't be kept; None: it can."""
    if not given.uuid or "\0" in given.uuid or len(given.uuid.encode()) > LONGEST_UUID:
        return f"a uuid has 1 to {LONGEST_UUID} bytes"
    if not given.path.startswith(b"/") or b"\0" in given.path or len(given.path) > LONGEST_PATH:
        return "its path is not an absolute path of this machine: map it (--map FROM=TO)"
    if set(given.unsaid) - _FIELDS:
        return f"unknown fields: {', '.join(sorted(set(given.unsaid) - _FIELDS))}"
    return _refusal_of_facts(given.facts)


def _refusal_of_facts(facts: UserFacts) -> str | None:
    if facts.rating is not None and not 0 <= facts.rating <= 5:
        return f"a rating is 0 to 5, not {facts.rating}"
    if facts.pick not in (None, -1, 0, 1):
        return f"a flag is -1, 0 or 1, not {facts.pick}"
    if not _is_degrees(facts.latitude, 90) or not _is_degrees(facts.longitude, 180):
        return "its position is not one in degrees"
    if any(len(getattr(facts, name)) > MOST_WORDS for name in _LISTS):
        return f"more than {MOST_WORDS} keywords, people or collections"
    if any(len(getattr(facts, name) or "") > LONGEST_TEXT for name in _TEXTS):
        return f"a text of more than {LONGEST_TEXT} characters"
    return None


def _is_degrees(value: float | None, most: float) -> bool:
    return value is None or -most <= value <= most


# -- reading ---------------------------------------------------------------------------------------


def iter_heads(tables: Tables, source: str) -> Iterator[tuple[str, Head]]:
    """uuid and the beginning of the row of all that a source has given."""
    prefix = given_key(source, "")
    for key, value in tables.rows_with("given", prefix):
        yield key[len(prefix) :].decode(), decode_head(value)


def rows_of_photo(tables: Tables, photo_id: int) -> Iterator[tuple[bytes, Row]]:
    """What was given for a photo."""
    for key, _ in tables.rows_with("given_of", id_bytes(photo_id)):
        value = tables.get("given", key[8:])
        if value is not None:
            yield key[8:], decode_row(value)


def counts(tables: Tables, source: str) -> GivenCounts:
    """How much a source has given."""
    photos = copies = waiting = 0
    for _, value in tables.rows_with("given", given_key(source, "")):
        row = decode_row(value)
        photos, copies, waiting = photos + 1, copies + bool(row.master), waiting + (row.photo_id == 0)
    collections = sum(1 for _ in tables.rows_with("collections", given_key(source, "")))
    return GivenCounts(photos, copies, waiting, collections)


# -- collections -----------------------------------------------------------------------------------


def collection_key(source: str, name: str) -> bytes:
    """The key of a collection; a very long name ends in its hash."""
    key = given_key(source, folded(name))
    return key if len(key) <= _LONGEST_KEY else key[: _LONGEST_KEY - 8] + xxhash.xxh3_64_digest(key)


def put_collections(
    tables: Tables, source: str, collections: Sequence[Collection], complete: bool, origin: str
) -> int:
    """Keep collections; `complete`: others of the same origin are gone. Returns how many changed.

    Without an origin they are of whichever catalog gave those of the same names before.
    """
    wanted = {collection_key(source, collection.name): collection for collection in collections}
    rows = tables.rows_with("collections", given_key(source, ""))
    before = {key: decode_collection(value) for key, value in rows}
    origins = {origin} | {before[key].origin for key in wanted.keys() & before.keys() if not origin}
    gone = [key for key in before.keys() - wanted.keys() if complete and before[key].origin in origins]
    for key in gone:
        tables.delete("collections", key)
    changed = 0
    for key, collection in wanted.items():
        kept = _kept(collection, before.get(key), origin)
        if kept != before.get(key):
            tables.put("collections", key, encode(kept))
            changed += 1
    return changed + len(gone)


def _kept(collection: Collection, before: Collection | None, origin: str) -> Collection:
    """With what a giver can't know who does not know the catalog either: where it is from, and its rules."""
    if before is None:
        return msgspec.structs.replace(collection, origin=origin)
    query = collection.query
    if not origin and query is None and collection.kind == before.kind:
        query = before.query
    return msgspec.structs.replace(
        collection, query=query, origin=origin or before.origin, made_at=before.made_at
    )


def collection_named(tables: Tables, name: str) -> tuple[str, Collection] | None:
    """The first source that has a collection of this name, and the collection."""
    for source in _sources(tables):
        value = tables.get("collections", collection_key(source, name))
        if value is not None:
            return source, decode_collection(value)
    return None


def iter_collections(tables: Tables) -> Iterator[tuple[str, Collection]]:
    """Every collection, with its source."""
    for key, value in tables.rows("collections"):
        yield key.partition(b"\0")[0].decode(), decode_collection(value)


def _sources(tables: Tables) -> Iterator[str]:
    row = next(tables.rows("collections"), None)
    while row is not None:
        source = row[0].partition(b"\0")[0]
        yield source.decode()
        row = next(tables.rows("collections", source + b"\1"), None)


def drop_collections(tables: Tables, source: str, origin: str | None) -> None:
    """Forget the collections of a source, of one origin or (None) all."""
    rows = list(tables.rows_with("collections", given_key(source, "")))
    for key, value in rows:
        if origin is None or decode_collection(value).origin == origin:
            tables.delete("collections", key)


def album_of(tables: Tables, source: str, collection: Collection) -> Album | None:
    """The album that a collection is; None: it has no photos that can be told from here."""
    if collection.query is not None:
        return Album(collection.name, collection.query, made_at=collection.made_at, made_by=source)
    if collection.kind == "smart" and not collection.uuids:
        return None
    uuids = _of_set(tables, source, collection) if collection.kind == "set" else collection.uuids
    ids = dict.fromkeys(_photo_ids(tables, source, uuids))
    return Album(collection.name, None, tuple(ids), collection.made_at, source)


def _of_set(tables: Tables, source: str, collection: Collection) -> Iterator[str]:
    """The photos of the collections in a set."""
    prefix = given_key(source, folded(collection.name) + "/")
    for _, value in tables.rows_with("collections", prefix):
        yield from decode_collection(value).uuids


def _photo_ids(tables: Tables, source: str, uuids: Iterable[str]) -> Iterator[int]:
    for _, value in tables.many("given", [given_key(source, uuid) for uuid in uuids]):
        if photo_id := decode_head(value).photo_id:
            yield photo_id
