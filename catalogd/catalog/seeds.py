"""Names that files give faces: who else knew them, before anybody named them here.

The writer keeps them beside the records (SeedFollower), so that nobody reads 500,000 records to learn
that three of them name somebody:

    seeds   photo_id → [Seed, …]     photos that name nobody have no row

The rows of a page of photos and the mark change in one transaction.
"""

from __future__ import annotations

import functools

import msgspec

from catalogd.catalog.environment import Ids, id_bytes
from catalogd.catalog.store import ChangesTrimmedError, Reading, Store
from catalogd.errors import CatalogDamagedError
from catalogd.records import Box, encode

MARK = "seeds"  # in the store: the commit that they have reached
VERSION = "seeds_version"  # number: another one whenever a row changed
PAGE_PHOTOS = 5000  # taken in by one transaction: 20 MB of records are looked at
MOST_NAMES = 1000  # of one photo, as the reading of facts has it


class Seed(msgspec.Struct, frozen=True, array_like=True):
    """A name in a photo's file or sidecar, or given by another program; `box` where it says which face."""

    name: str
    box: Box | None = None


class _Region(msgspec.Struct, gc=False):
    box: Box
    name: str = ""
    kind: str = "Face"


class _Facts(msgspec.Struct, gc=False):
    people: tuple[str, ...] = ()
    regions: tuple[_Region, ...] = ()


class _Photo(msgspec.Struct, gc=False):
    """Of a Record, whom its file names, and whom a person named in another program."""

    facts: _Facts
    user: _Facts | None = None


_decode_photo = msgspec.msgpack.Decoder(_Photo).decode
_decode_seeds = msgspec.msgpack.Decoder(tuple[Seed, ...]).decode


class SeedFollower:
    """Keeps the seeds of a catalog up with its store. Only the writer process has one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def follow(self) -> None:
        """Take in what was committed since. Raises CatalogFullError with the seeds as they were."""
        with self._store.snapshot() as reading:
            mark = reading.mark(MARK)
            is_behind = (mark or 0) < reading.number("commit")
        try:
            if mark is None and is_behind:
                self.rebuild()
            while is_behind:
                is_behind = self._store.write(_take_in_changes)
        except ChangesTrimmedError:
            self.rebuild()

    def rebuild(self) -> None:
        """Make all of it again from the records."""
        reached = self._store.write(_clear)
        last: int | None = 0
        while last is not None:
            last = self._store.write(functools.partial(_take_in_page, last))
        self._store.write(lambda reading: reading.set_mark(MARK, reached))


def read_seeds(reading: Reading) -> dict[int, tuple[Seed, ...]]:
    """All seeds, by photo_id; of missing photos too."""
    if not reading.has("seeds"):
        return {}
    return {int.from_bytes(key, "big"): decode_seeds(value) for key, value in reading.rows("seeds")}


def decode_seeds(value: bytes) -> tuple[Seed, ...]:
    """One row."""
    try:
        return _decode_seeds(value)
    except msgspec.DecodeError as error:
        raise CatalogDamagedError(f"seeds can't be read ({error}): run `catalogd check --repair`") from error


def differing_seeds(reading: Reading) -> list[int]:
    """The photos whose row is not what their record says; [] where none were made yet."""
    if not reading.has("seeds") or reading.mark(MARK) != reading.number("commit"):
        return []
    wanted = {key: seeds_of(value) for key, value in reading.rows("photos")}
    found = dict(reading.rows("seeds"))
    keys = wanted.keys() | found.keys()
    return [int.from_bytes(key, "big") for key in sorted(keys) if wanted.get(key) != found.get(key)]


def seeds_of(encoded: bytes) -> bytes | None:
    """The row of a photo from its record as it is stored: named regions of faces, then names alone.

    A record that can't be read says nothing; the check of the tables tells of it.
    """
    try:
        photo = _decode_photo(encoded)
    except msgspec.DecodeError:
        return None
    people, regions = photo.facts.people, photo.facts.regions
    if photo.user is not None:
        people = tuple(dict.fromkeys((*people, *photo.user.people)))
        regions += photo.user.regions
    if not people and not regions:
        return None
    boxed = [Seed(region.name, region.box) for region in regions if region.name and _is_face(region)]
    named = {seed.name for seed in boxed}
    seeds = boxed + [Seed(name) for name in people if name not in named]
    return encode(seeds[:MOST_NAMES]) if seeds else None


def _is_face(region: _Region) -> bool:
    return region.kind == "Face"


def _clear(reading: Reading) -> int:
    """Returns the commit up to which they are made again; without a mark until then."""
    reading.set_mark(MARK, None)
    reading.clear("seeds")
    reading.set_number(VERSION, reading.number(VERSION) + 1)
    return reading.number("commit")


def _take_in_page(after_id: int, reading: Reading) -> int | None:
    ids = reading.ids_after("photos", after_id, PAGE_PHOTOS)
    _put(reading, ids)
    return int(ids[-1]) if len(ids) else None


def _take_in_changes(reading: Reading) -> bool:
    """Of one page of changes; False when there are none."""
    commits, ids = reading.changes_since(reading.mark(MARK) or 0, PAGE_PHOTOS)
    if not len(ids):
        return False
    _put(reading, ids)
    reading.set_mark(MARK, int(commits[-1]))
    return True


def _put(reading: Reading, ids: Ids) -> None:
    """Write the rows that differ, and say so in the version."""
    changed = False
    for photo_id in ids.tolist():
        key = id_bytes(photo_id)
        record, before = reading.get("photos", key), reading.get("seeds", key)
        after = None if record is None else seeds_of(record)
        if after is None and before is not None:
            reading.delete("seeds", key)
        elif after is not None and after != before:
            reading.put("seeds", key, after)
        changed = changed or after != before
    if changed:
        reading.set_number(VERSION, reading.number(VERSION) + 1)
