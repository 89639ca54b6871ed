"""The time line of a catalog: stacks, bursts, sessions and trips, derived from the records.

Only the writer process keeps it up, when it has nothing else to do; any process reads it. All of it
lies in the store:

    photos ──▶ moments ──arrange──▶ members, groups, sessions
       what changed since the mark     all of them; only rows that differ are written

    moments     photo_id                    → MOMENT: what arranging needs to know of a photo
    members     photo_id                    → MEMBER: what the photo belongs to
    groups      kind + group id + photo_id  → (nothing)
    sessions    session_id                  → Session

`moments` and the mark change in one transaction, and so do the three other tables and the number
`arranged`, so that a crash leaves one or the other, complete, to go on from. Arranging all anew is
cheaper than knowing what a photo from between others may change: docs/timeline.md has the cost.
"""

from __future__ import annotations

import collections
import datetime
import functools
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from catalogd.catalog.arrangement import (
    BURST_COVER,
    DEVELOPED,
    EDITED,
    MEMBER,
    MOMENT,
    RAW,
    SKETCH_NUMBERS,
    STACK_COVER,
    Arrangement,
    Rows,
    Session,
    arrange,
    rules_key,
)
from catalogd.catalog.environment import Ids, id_bytes
from catalogd.catalog.stems import stem_of
from catalogd.catalog.store import ChangesTrimmedError, Halves, Reading, Store, folder_hash, space_key
from catalogd.errors import CatalogDamagedError
from catalogd.records import said_over
from catalogd.settings import Settings

MARK = "timeline"  # in the store: the commit that `moments` has reached
ARRANGED, ARRANGED_BY = "arranged", "arranged_by"  # numbers: of which commit the groups are, by which rules
MOMENTS_BY = "moments_by"  # number: the version of what makes moments
MOMENTS_VERSION = 1
PAGE_PHOTOS = 1000  # taken in by one transaction: 4 MB of records
LOOK_EVERY_S = 2.0
# Arranging 500,000 photos takes about 2 s of CPU (bench/bench_timeline.py): with such rests, 3 % of a core.
REST = 30.0

GROUP_TABLES = ("members", "groups", "sessions")
KINDS = {"stack": b"s", "burst": b"b", "session": b"t"}  # field of MEMBER → first byte of a key in `groups`
MOST_PLACES = 3  # towns, and countries, that name an outing
FILM_EXTENSIONS = (b"MOV", b"mov", b"MP4", b"mp4")

_EPOCH = datetime.datetime(1970, 1, 1)


class Stack(NamedTuple):
    """Files of one picture."""

    stack_id: int
    cover: int  # the photo to show for all of them
    photo_ids: list[int]  # ascending


class Burst(NamedTuple):
    """Pictures taken one after the other, with the files of each."""

    burst_id: int
    cover: int
    photo_ids: list[int]


class Outing(msgspec.Struct, frozen=True):
    """A trip with all its sessions, or a session that belongs to no trip. Times are the camera's own."""

    kind: str  # "trip", "session"
    outing_id: int  # of the trip or the session
    start: str  # ISO 8601
    end: str
    photos: int
    stacks: int
    bursts: int
    places: tuple[str, ...]  # towns, most photos first, then countries
    cover: int  # photo_id
    cover_path: bytes
    session_ids: tuple[int, ...]


class _Place(msgspec.Struct, gc=False):
    country_code: str
    city: str = ""


class _Facts(msgspec.Struct, gc=False):
    format: str
    width: int
    height: int
    camera: str | None = None
    taken_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera_serial: str | None = None
    place: _Place | None = None
    rating: int | None = None
    burst_id: str | None = None
    live_photo_id: str | None = None


class _Quality(msgspec.Struct, gc=False):
    sharpness: float


class _Output(msgspec.Struct, gc=False):
    fingerprint: str
    embedding: bytes | None = None
    quality: _Quality | None = None


class _User(msgspec.Struct, gc=False):
    rating: int | None = None
    pick: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    place: _Place | None = None
    emptied: tuple[str, ...] = ()


class _Photo(msgspec.Struct, gc=False):
    """Of a Record, what its moment is made of."""

    path: bytes
    content: bytes
    facts: _Facts
    outputs: dict[str, _Output]
    missing_since: float | None = None
    user: _User | None = None


_decode_photo = msgspec.msgpack.Decoder(_Photo).decode
_encode = msgspec.msgpack.Encoder().encode
_decode_session = msgspec.msgpack.Decoder(Session).decode


# -- moments ---------------------------------------------------------------------------------------


def moments_of(reading: Reading, photo_ids: Ids) -> tuple[Ids, Rows]:
    """The moments of those photos that are in the catalog and not missing: ids int64[m], MOMENT[m]."""
    ids: list[int] = []
    photos: list[_Photo] = []
    for photo_id in photo_ids.tolist():
        photo = _photo(reading.get("photos", id_bytes(photo_id)))
        if photo is not None and photo.missing_since is None:
            ids.append(photo_id)
            photos.append(photo)
    rows = np.array([_row(photo) for photo in photos], MOMENT)
    _add_sketches(reading, rows, ids, photos)
    return np.array(ids, np.int64), rows


def _photo(record: bytes | None) -> _Photo | None:
    """None for one that can't be read: `check` finds it where records are walked."""
    try:
        return None if record is None else _decode_photo(record)
    except msgspec.DecodeError:
        return None


def _row(photo: _Photo) -> tuple[object, ...]:
    facts = photo.facts if photo.user is None else said_over(photo.facts, photo.user)
    place = facts.place
    folder, _, name = photo.path.rpartition(b"/")
    stem, is_edited = stem_of(name)
    return (
        clock_s(facts.taken_at),
        _hash(facts.camera, facts.camera_serial) if facts.camera else 0,
        _folder(folder),
        xxhash.xxh3_64_intdigest(stem),
        xxhash.xxh3_64_intdigest(photo.content),
        _hash(facts.burst_id),
        _hash(facts.live_photo_id),
        _hash(place.country_code, place.city) if place else 0,
        np.nan if facts.latitude is None else facts.latitude,
        np.nan if facts.longitude is None else facts.longitude,
        next((out.quality.sharpness for out in photo.outputs.values() if out.quality), np.nan),
        min(facts.width * facts.height, 0xFFFFFFFF),
        max(-1, min(facts.rating or 0, 5)),
        RAW if facts.format == "raw" else EDITED if is_edited else DEVELOPED,
        0,
    )


def clock_s(taken_at: str | None) -> float:
    """Seconds since 1970 of the camera's own clock; NaN when it is not known."""
    try:
        moment = datetime.datetime.fromisoformat(taken_at or "")
    except ValueError:
        return float("nan")
    return ((moment if moment.tzinfo is None else moment.replace(tzinfo=None)) - _EPOCH).total_seconds()


@functools.lru_cache(maxsize=4096)  # cameras and places come again and again
def _hash(*words: str | None) -> int:
    return xxhash.xxh3_64_intdigest("\0".join(word or "" for word in words).encode()) if any(words) else 0


@functools.lru_cache(maxsize=4096)
def _folder(folder: bytes) -> int:
    return int.from_bytes(folder_hash(folder), "big")


def _add_sketches(reading: Reading, rows: Rows, ids: list[int], photos: list[_Photo]) -> None:
    """Fill in `sketch` of all rows whose photo has an embedding."""
    by_space: dict[str, list[int]] = {}
    for index, photo in enumerate(photos):
        space = next((out.fingerprint for out in photo.outputs.values() if out.embedding is not None), None)
        if space is not None:
            by_space.setdefault(space, []).append(index)
    for space, indices in by_space.items():
        prefix = space_key(space)
        keys = {prefix + id_bytes(ids[index]): index for index in indices}
        stored = dict(reading.many("embeddings", list(keys)))
        for dimension in {len(value) for value in stored.values()}:
            some = {key: value for key, value in stored.items() if len(value) == dimension}
            matrix = np.frombuffer(b"".join(some.values()), "<f2").reshape(len(some), -1)
            rows["sketch"][[keys[key] for key in some]] = sketches(matrix, prefix)


def sketches(embeddings: Halves, space: bytes) -> npt.NDArray[np.int8]:
    """`int8[n, 64]` whose cosines are near those of `embeddings: float16[n, D]`.

    The numbers are added up with signs that are random but for each space (8 bytes) the same: the
    feature hashing of Weinberger et al. 2009, arXiv:0902.2206. Sketches of two spaces are not alike.
    """
    count, dimension = embeddings.shape
    width = -(-dimension // SKETCH_NUMBERS) * SKETCH_NUMBERS
    padded = np.zeros((count, width), np.float32)
    padded[:, :dimension] = embeddings
    folds = padded.reshape(count, -1, SKETCH_NUMBERS)
    folded = np.einsum("nij,ij->nj", folds, _signs(space, width).reshape(-1, SKETCH_NUMBERS))
    largest = np.abs(folded).max(axis=1, keepdims=True)
    found: npt.NDArray[np.int8] = np.rint(folded * (127 / np.maximum(largest, 1e-9))).astype(np.int8)
    return found


@functools.lru_cache(maxsize=8)
def _signs(space: bytes, count: int) -> npt.NDArray[np.float32]:
    seed = int.from_bytes(space, "big")
    bits = np.random.Generator(np.random.PCG64(seed)).integers(0, 2, count)
    return (2 * bits - 1).astype(np.float32)


# -- following -------------------------------------------------------------------------------------


class TimelineFollower:
    """Keeps the time line of a catalog up with its store. Only the writer process has one."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._rest_until_s = 0.0  # monotonic
        if store.commit_number() == 0 and store.mark(MARK) is None:
            store.write(functools.partial(_begin, 0))

    def follow(self, idle: bool = False, force: bool = False) -> None:
        """Take in what was committed and arrange it: when there is nothing else to do, or `force`.

        Raises CatalogFullError with the time line as it was.
        """
        if not force and (not idle or time.monotonic() < self._rest_until_s):
            return
        started = time.monotonic()
        self._take_in()
        self._arrange()
        now = time.monotonic()
        self._rest_until_s = now + max(LOOK_EVERY_S, REST * (now - started))

    def rebuild(self) -> None:
        """Make all of it again from the records."""
        self._make_moments()
        self._arrange(afresh=True)

    def _take_in(self) -> None:
        with self._store.snapshot() as reading:
            usable = is_followed(reading)
            is_behind = (reading.mark(MARK) or 0) < reading.number("commit")
        try:
            while usable and is_behind:
                is_behind = self._store.write(_take_in_changes)
        except ChangesTrimmedError:
            usable = False
        if not usable:
            self._make_moments()

    def _make_moments(self) -> None:
        """Without a mark until all are there, so that what a crash interrupts begins again."""
        reached = self._store.write(_clear_moments)
        last = 0
        while (page := self._store.write(functools.partial(_take_in_page, last))) is not None:
            last = page
        self._store.write(functools.partial(_begin, reached))

    def _arrange(self, afresh: bool = False) -> None:
        """Arrange all, unless the groups are those of the present moments and not wanted `afresh`."""
        with self._store.snapshot() as reading:
            if is_arranged(reading, self._settings) and not afresh:
                return
            reached = reading.mark(MARK) or 0
            ids, moments = read_moments(reading)
        arranged = arrange(ids, moments, self._settings)

        def work(reading: Reading) -> None:
            if afresh:
                for table in GROUP_TABLES:
                    reading.clear(table)
            _write_groups(reading, ids, arranged)
            reading.set_number(ARRANGED, reached)
            reading.set_number(ARRANGED_BY, rules_key(self._settings))

        self._store.write(work)


def _clear_moments(reading: Reading) -> int:
    """Returns the commit up to which they are made again."""
    reading.set_mark(MARK, None)
    reading.clear("moments")
    return reading.number("commit")


def _begin(reached: int, reading: Reading) -> None:
    """Follow from this commit on; the moments are those of its photos."""
    reading.set_number(MOMENTS_BY, MOMENTS_VERSION)
    reading.set_mark(MARK, reached)


def _take_in_changes(reading: Reading) -> bool:
    """The moments of one page of changes, and the mark; False when there are none."""
    commits, ids = reading.changes_since(reading.mark(MARK) or 0, PAGE_PHOTOS)
    if not len(ids):
        return False
    touched = np.unique(ids)
    present, rows = moments_of(reading, touched)
    for photo_id in np.setdiff1d(touched, present).tolist():
        reading.delete("moments", id_bytes(photo_id))
    reading.put_all("moments", _packed(present, rows))
    reading.set_mark(MARK, int(commits[-1]))
    return True


def _take_in_page(after_id: int, reading: Reading) -> int | None:
    """The moments of the photos that follow `after_id`; returns the last of them, None when there is none."""
    ids = reading.ids_after("photos", after_id, PAGE_PHOTOS)
    reading.put_all("moments", _packed(*moments_of(reading, ids)))
    return int(ids[-1]) if len(ids) else None


def _write_groups(reading: Reading, ids: Ids, arranged: Arrangement) -> None:
    """Put the rows that differ from those that are there."""
    old_ids, old = read_members(reading)
    every = np.union1d(old_ids, ids)
    before, after = np.zeros(len(every), MEMBER), np.zeros(len(every), MEMBER)
    before[np.searchsorted(every, old_ids)] = old
    after[np.searchsorted(every, ids)] = arranged.members
    changed = np.flatnonzero(before != after)
    _write_members(reading, every[changed], after[changed])
    for field, kind in KINDS.items():
        moved = changed[before[field][changed] != after[field][changed]]
        for key in _group_keys(kind, before[field][moved], every[moved]):
            reading.delete("groups", key)
        reading.put_all(
            "groups", [(key, b"") for key in _group_keys(kind, after[field][moved], every[moved])]
        )
    _write_sessions(reading, arranged.sessions)


def differing_tables(reading: Reading, ids: Ids, arranged: Arrangement) -> list[str]:
    """Which tables do not hold this arrangement of the photos `ids: int64[n]`."""
    members = arranged.members
    in_some = members != np.zeros((), MEMBER)
    wanted: dict[str, list[tuple[bytes, bytes]]] = {
        "members": _packed(ids[in_some], members[in_some]),
        "groups": [
            (key, b"") for field, kind in KINDS.items() for key in _group_keys(kind, members[field], ids)
        ],
        "sessions": [(id_bytes(session.session_id), _encode(session)) for session in arranged.sessions],
    }
    return [table for table in GROUP_TABLES if list(reading.rows(table)) != sorted(wanted[table])]


def _write_members(reading: Reading, ids: Ids, rows: Rows) -> None:
    in_some = rows != np.zeros((), MEMBER)
    for photo_id in ids[~in_some].tolist():
        reading.delete("members", id_bytes(photo_id))
    reading.put_all("members", _packed(ids[in_some], rows[in_some]))


def _write_sessions(reading: Reading, sessions: Iterable[Session]) -> None:
    before = dict(reading.rows("sessions"))
    after = {id_bytes(session.session_id): _encode(session) for session in sessions}
    for key in before.keys() - after.keys():
        reading.delete("sessions", key)
    reading.put_all("sessions", [row for row in after.items() if before.get(row[0]) != row[1]])


def _packed(ids: Ids, rows: Rows) -> list[tuple[bytes, bytes]]:
    """Rows of a table whose keys are photo_ids."""
    return list(
        zip(_split(ids.astype(">i8").tobytes(), 8), _split(rows.tobytes(), rows.itemsize), strict=True)
    )


def _group_keys(kind: bytes, groups: Ids, ids: Ids) -> list[bytes]:
    """The keys of these memberships, sorted; those of no group are left out."""
    pairs = np.stack([groups, ids], axis=1)[groups != 0]
    return sorted(kind + key for key in _split(pairs.astype(">i8").tobytes(), 16))


def _split(packed: bytes, size: int) -> list[bytes]:
    return [packed[start : start + size] for start in range(0, len(packed), size)]


# -- reading ---------------------------------------------------------------------------------------


def is_followed(reading: Reading) -> bool:
    """Whether the moments are there, and of this version, up to the mark."""
    return reading.mark(MARK) is not None and reading.number(MOMENTS_BY) == MOMENTS_VERSION


def is_arranged(reading: Reading, settings: Settings) -> bool:
    """Whether the groups are those of the moments as they are, by the rules as they are set."""
    stands = (reading.number(ARRANGED), reading.number(ARRANGED_BY))
    return stands == (reading.mark(MARK) or 0, rules_key(settings))


def is_built(reading: Reading) -> bool:
    """Whether there is a time line to read; there is none before a writer of this version was idle."""
    return reading.has("members") and reading.number(ARRANGED_BY) != 0


def read_moments(reading: Reading) -> tuple[Ids, Rows]:
    """All moments: ids int64[n], ascending, and MOMENT[n]."""
    return _read("moments", MOMENT, reading)


def read_members(reading: Reading) -> tuple[Ids, Rows]:
    """The photos that belong to any group: ids int64[n], ascending, and MEMBER[n]."""
    return _read("members", MEMBER, reading)


def read_sessions(reading: Reading) -> list[Session]:
    """All sessions, by time."""
    found = [_decode_session(value) for _, value in reading.rows("sessions")]
    return sorted(found, key=lambda session: (session.start_s, session.session_id))


def _read(table: str, kind: np.dtype[np.void], reading: Reading) -> tuple[Ids, Rows]:
    ids, packed = reading.ids(table), reading.joined(table)
    if len(packed) != len(ids) * kind.itemsize:
        raise CatalogDamagedError(f"{table} has a row of another length: run `catalogd rebuild timeline`")
    return ids, np.frombuffer(packed, kind)


class Timeline:
    """The time line as anyone reads it. Everything is empty where it was not made yet."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def stack_of(self, photo_id: int) -> Stack | None:
        """The stack that the photo is in."""
        with self._store.snapshot() as reading:
            found = _group_of(reading, "stack", photo_id, STACK_COVER)
        return Stack(*found) if found else None

    def burst_of(self, photo_id: int) -> Burst | None:
        """The burst that the photo is in."""
        with self._store.snapshot() as reading:
            found = _group_of(reading, "burst", photo_id, BURST_COVER)
        return Burst(*found) if found else None

    def session_of(self, photo_id: int) -> Session | None:
        """The session that the photo is in."""
        with self._store.snapshot() as reading:
            member = _member(reading, photo_id)
            value = reading.get("sessions", id_bytes(int(member["session"]))) if member is not None else None
        return None if value is None else _decode_session(value)

    def sessions(self, since_s: float | None = None) -> list[Session]:
        """The sessions that end at or after `since_s` (seconds since 1970 on the camera's clock), by time."""
        with self._store.snapshot() as reading:
            found = read_sessions(reading) if is_built(reading) else []
        return [session for session in found if since_s is None or session.end_s >= since_s]

    def outings(self, since_s: float | None = None) -> list[Outing]:
        """The trips, and the sessions of no trip, that end at or after `since_s`, by time."""
        parts = [list(part) for _, part in itertools.groupby(self.sessions(), _outing_id)]
        with self._store.snapshot() as reading:
            return [_outing(reading, part) for part in parts if since_s is None or part[-1].end_s >= since_s]

    def is_made(self) -> bool:
        """Whether there is a time line: the first one is made when a writer is idle."""
        with self._store.snapshot() as reading:
            return is_built(reading)

    def photos_of(self, kind: str, group_id: int) -> list[int]:
        """The photos of one "stack", "burst" or "session", ascending."""
        with self._store.snapshot() as reading:
            return _photos_of(reading, kind, group_id) if is_built(reading) else []

    def stacks(self) -> Iterator[Stack]:
        """All stacks, by their ids."""
        return (Stack(*found) for found in self._groups("stack", STACK_COVER))

    def bursts(self) -> Iterator[Burst]:
        """All bursts, by their ids."""
        return (Burst(*found) for found in self._groups("burst", BURST_COVER))

    def members(self) -> tuple[Ids, Rows]:
        """The photos that belong to any group and what to: ids int64[n], ascending, and MEMBER[n]."""
        with self._store.snapshot() as reading:
            if not is_built(reading):
                return np.empty(0, np.int64), np.empty(0, MEMBER)
            return read_members(reading)

    def _groups(self, kind: str, cover_bit: int) -> Iterator[tuple[int, int, list[int]]]:
        ids, members = self.members()
        some = np.flatnonzero(members[kind])
        order = some[np.argsort(members[kind][some], kind="stable")]
        for group in np.split(order, np.flatnonzero(np.diff(members[kind][order])) + 1) if len(order) else ():
            cover = ids[group[members["covers"][group] & cover_bit > 0]]
            yield int(members[kind][group[0]]), int(cover[0]), ids[group].tolist()


def _group_of(
    reading: Reading, kind: str, photo_id: int, cover_bit: int
) -> tuple[int, int, list[int]] | None:
    member = _member(reading, photo_id)
    if member is None or not member[kind]:
        return None
    photo_ids = _photos_of(reading, kind, int(member[kind]))
    rows = {other: _member(reading, other) for other in photo_ids}
    cover = next(other for other, row in rows.items() if row is not None and row["covers"] & cover_bit)
    return int(member[kind]), cover, photo_ids


def _member(reading: Reading, photo_id: int) -> np.void | None:
    value = reading.get("members", id_bytes(photo_id)) if is_built(reading) else None
    return None if value is None else np.frombuffer(value, MEMBER)[0]


def _photos_of(reading: Reading, kind: str, group_id: int) -> list[int]:
    rows = reading.rows_with("groups", KINDS[kind] + id_bytes(group_id))
    return [int.from_bytes(key[-8:], "big") for key, _ in rows]


def _outing_id(session: Session) -> int:
    return session.trip_id or session.session_id


def _outing(reading: Reading, sessions: list[Session]) -> Outing:
    largest = max(sessions, key=lambda session: session.photos)
    cover = reading.photo(largest.cover)
    return Outing(
        kind="trip" if largest.trip_id else "session",
        outing_id=_outing_id(largest),
        start=clock_text(sessions[0].start_s),
        end=clock_text(max(session.end_s for session in sessions)),
        photos=sum(session.photos for session in sessions),
        stacks=sum(session.stacks for session in sessions),
        bursts=sum(session.bursts for session in sessions),
        places=_places(reading, sessions),
        cover=largest.cover,
        cover_path=cover.path if cover else b"",
        session_ids=tuple(session.session_id for session in sessions),
    )


def _places(reading: Reading, sessions: list[Session]) -> tuple[str, ...]:
    """The towns that most photos are of, then the countries."""
    towns, countries = collections.Counter[str](), collections.Counter[str]()
    for session in sessions:
        photo = reading.photo(session.place_photo)
        if photo is not None and (place := photo.said.place) is not None:
            towns[place.city or place.region] += session.photos
            countries[place.country] += session.photos
    names = [name for names in (towns, countries) for name, _ in names.most_common(MOST_PLACES)]
    return tuple(dict.fromkeys(filter(None, names)))


def clock_text(seconds: float) -> str:
    """ISO 8601, to the second, of a time on the camera's own clock."""
    return (_EPOCH + datetime.timedelta(seconds=int(seconds // 1))).isoformat()


def film_beside(path: bytes) -> bytes | None:
    """The film of a live photo: of the photo's name, beside it. None when there is none.

    Looked for when it is asked for: a film is no photo, and the catalog keeps nothing of it.
    """
    stem = path[: path.rfind(b".")] if b"." in path[path.rfind(b"/") + 2 :] else path
    films = (stem + b"." + extension for extension in FILM_EXTENSIONS)
    return next((film for film in films if os.path.lexists(film)), None)
