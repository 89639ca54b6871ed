"""A Lightroom catalog becomes user data: what is new or changed is given, what is gone is taken back.

::

    images ─▶ a page ─▶ their paths here ─▶ digests differ? ─▶ UserData.give
    given before, of this catalog, not in it any more ───────▶ UserData.take_away
    collections, smart collections as queries ───────────────▶ UserData.put_collections

A second import of the same catalog gives nothing. An import that is interrupted keeps what was given; the
next one goes on from there. Memory holds a page of images, whatever their number, and the members of
collections.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import xxhash

from catalogd.catalog.given import Collection, Given, Head, given_digest
from catalogd.catalog.path_lookup import PathLookup
from catalogd.catalog.store import Store
from catalogd.catalog.user_data import UserData
from catalogd.errors import CatalogMissingError, LightroomError, UsageError
from catalogd.records import UserFacts
from catalogd.sync.lightroom.opening import ChangedMeanwhileError, Source, opened
from catalogd.sync.lightroom.paths import PROBES, PathMap, place_of, suggested
from catalogd.sync.lightroom.reading import SOURCE, CollectionEntry, Image, Reader
from catalogd.sync.lightroom.rules import Translation, translate
from catalogd.sync.lightroom.tables import Tables

PAGE_IMAGES = 1000  # given in one transaction: 0.1 s, some MB
MOST_REASONS = 20  # of refused photos that are told one by one

# Where alone Lightroom keeps what a person set; without it nothing is known of that.
_ONLY_IN = {
    "rating": {"Adobe_images.rating"},
    "pick": {"Adobe_images.pick"},
    "label": {"Adobe_images.colorLabels"},
    "title": {"Adobe_AdditionalMetadata", "Adobe_AdditionalMetadata.xmp", "Adobe_AdditionalMetadata.image"},
    "latitude": {"AgHarvestedExifMetadata", "AgHarvestedExifMetadata.gpsLatitude"},
    "longitude": {"AgHarvestedExifMetadata", "AgHarvestedExifMetadata.gpsLongitude"},
    "keywords": {"AgLibraryKeyword", "AgLibraryKeywordImage", "AgLibraryKeywordImage.tag"},
    "keyword_paths": {"AgLibraryKeyword", "AgLibraryKeywordImage", "AgLibraryKeywordImage.tag"},
}

Tell = Callable[[int, int], None]  # images done, of how many
Read = TypeVar("Read")


class RootReport(msgspec.Struct):
    """How the photos of one root folder of Lightroom were found."""

    path: str  # in Lightroom
    folder: str | None = None  # here
    how: str = ""  # "map", "as_it_is", "beside_the_catalog"
    exists: bool = False
    photos: int = 0
    in_catalog: int = 0
    waiting: int = 0
    not_found: int = 0
    suggestion: str | None = None  # of --map


class SmartReport(msgspec.Struct):
    """What became of one smart collection."""

    name: str
    query: str | None = None
    untranslated: tuple[str, ...] = ()  # rules without a counterpart


class Report(msgspec.Struct):
    """What an import read and did. In a dry run: would have done."""

    file: str
    origin: str = ""  # by which the catalog is known again
    version: str = ""
    dry_run: bool = False
    in_use: bool = False  # Lightroom has it open
    photos: int = 0
    copies: int = 0  # virtual copies, beside the photos
    videos: int = 0  # left out
    taken: int = 0  # photos and copies that are new or changed
    unchanged: int = 0
    removed: int = 0  # that are not in the catalog of Lightroom any more
    in_catalog: int = 0  # photos that catalogd has indexed
    waiting: int = 0  # whose file is there, and not indexed yet
    not_found: int = 0  # whose file is not there
    refused: list[tuple[str, str]] = []
    ratings: int = 0
    flags: int = 0
    labels: int = 0
    titles: int = 0
    captions: int = 0
    keyworded: int = 0  # photos with keywords
    keywords: int = 0  # different ones
    positions: int = 0
    places: int = 0
    stacked: int = 0
    developed: int = 0
    people: int = 0  # different names
    faces: int = 0
    collections: int = 0
    collections_changed: int = 0
    smart: list[SmartReport] = []
    roots: list[RootReport] = []
    notes: list[str] = []
    took_s: float = 0.0


def import_catalog(
    file: Path,
    catalog_folder: Path,
    paths: PathMap,
    *,
    dry_run: bool = False,
    libraries: Sequence[str] = (),
    tell: Tell = lambda done, total: None,
) -> Report:
    """Take in what a person set in Lightroom. Raises UsageError and LightroomError.

    `libraries`: folders in which moved photos are looked for, for suggestions.
    """
    start = time.monotonic()
    with _user_data(catalog_folder, dry_run) as user:

        def work(source: Source) -> Report:
            return _Import(source, catalog_folder, user, paths, dry_run, tell).run(libraries)

        report = _read_safely(file, work)
    report.took_s = time.monotonic() - start
    return report


def forget_catalog(file: Path, catalog_folder: Path, dry_run: bool = False) -> int:
    """Take back all that a catalog of Lightroom gave; returns of how many photos and copies."""
    origin = _read_safely(file, _origin)
    with _user_data(catalog_folder, dry_run) as user:
        if user is None:
            return 0
        if dry_run:
            return sum(len(page) for page in _given_before(user, origin))
        return user.take_away(SOURCE, origin=origin)


def _read_safely(file: Path, work: Callable[[Source], Read]) -> Read:
    """Read where it lies when nobody has it open; from a copy once somebody does."""
    try:
        with opened(file) as source:
            try:
                found = work(source)
            except (LightroomError, UsageError):
                source.check()  # damaged, or only written just now?
                raise
            source.check()
            return found
    except ChangedMeanwhileError:
        with opened(file, as_copy=True) as source:
            return work(source)


def _origin(source: Source) -> str:
    found = Tables(source.connection).catalog_id()
    return found or f"file {xxhash.xxh3_64_hexdigest(os.fsencode(source.file))}"


@contextlib.contextmanager
def _user_data(folder: Path, dry_run: bool) -> Iterator[UserData | None]:
    """None in a dry run where there are none yet."""
    try:
        user = UserData(folder, write=not dry_run)
    except CatalogMissingError:
        yield None
        return
    with user:
        yield user


def _given_before(user: UserData, origin: str) -> Iterator[list[str]]:
    """Pages of the uuids that a catalog gave."""
    after = ""
    while page := user.given_uuids(SOURCE, origin, after):
        yield page
        after = page[-1]


class _Import:
    """One import of one catalog."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        user: UserData | None,
        paths: PathMap,
        dry_run: bool,
        tell: Tell,
    ) -> None:
        self._source, self._folder, self._user, self._tell = source, folder, user, tell
        self._tables = Tables(source.connection)
        self._reader = Reader(self._tables)
        self._origin = _origin(source)
        self._report = Report(
            str(source.file),
            self._origin,
            self._tables.version().text,
            dry_run,
            source.is_in_use,
        )
        self._places = {
            root.root_id: place_of(root, paths, source.file) for root in self._reader.roots.values()
        }
        self._roots = {
            number: RootReport(place.root.path, place.folder, place.how, place.exists)
            for number, place in self._places.items()
        }
        self._missing: dict[int, list[str]] = {}  # root → some paths that were not found
        self._people: set[str] = set()
        self._keywords: set[str] = set()

    def run(self, libraries: Sequence[str]) -> Report:
        total, done = self._reader.count(), 0
        images = self._reader.images()
        while page := list(itertools.islice(images, PAGE_IMAGES)):
            self._source.check()
            self._take_page(page)
            done += len(page)
            self._tell(done, total)
        self._take_back_gone()
        self._take_collections()
        self._finish(libraries)
        return self._report

    # -- photos ------------------------------------------------------------------------------------

    def _take_page(self, page: Sequence[Image]) -> None:
        images = [image for image in page if not image.is_video]
        self._report.videos += len(page) - len(images)
        givens = [given for image in images if (given := self._given(image)) is not None]
        heads = dict(self._heads([given.uuid for given in givens]))
        news = [given for given in givens if not _is_known(heads.get(given.uuid), given)]
        self._report.unchanged += len(givens) - len(news)
        self._give(news)
        self._count_found(images, givens, heads)
        for image in images:
            self._count(image.facts, image.master is not None)

    def _given(self, image: Image) -> Given | None:
        """None where its folder can't be on this machine."""
        place = self._places.get(image.root_id) if image.root_id is not None else None
        path = place.path_of(image.path) if place is not None else None
        if path is None:
            return None
        return Given(image.uuid, path, image.facts, image.master, self._origin, self._unsaid())

    def _unsaid(self) -> tuple[str, ...]:
        """What can't be read in this version of Lightroom: nobody took it out."""
        return tuple(field for field, places in _ONLY_IN.items() if places & self._tables.missing.keys())

    def _heads(self, uuids: Sequence[str]) -> Iterable[tuple[str, Head]]:
        return self._user.given_heads(SOURCE, uuids) if self._user is not None else ()

    def _give(self, news: Sequence[Given]) -> None:
        if self._report.dry_run or self._user is None or not news:
            self._report.taken += len(news)
            return
        taken = self._user.give(SOURCE, news)
        self._report.taken += taken.taken
        self._report.unchanged += taken.unchanged
        room = MOST_REASONS - len(self._report.refused)
        self._report.refused += [(uuid, reason) for uuid, reason in taken.refused[: max(room, 0)]]

    def _count_found(self, images: Sequence[Image], givens: Sequence[Given], heads: dict[str, Head]) -> None:
        """Which photos catalogd has, could have, and which are not there. A copy is its master's file."""
        paths = {given.uuid: given.path for given in givens}
        with self._finding() as find:
            for image in images:
                if image.master is None:
                    path, head = paths.get(image.uuid), heads.get(image.uuid)
                    has = head is not None and head.photo_id != 0
                    self._count_place(image, path, has or (path is not None and find(path)))

    def _count_place(self, image: Image, path: bytes | None, is_indexed: bool) -> None:
        root = self._root_of(image)
        is_there = is_indexed or (path is not None and root.exists and os.path.lexists(path))
        kind = "in_catalog" if is_indexed else "waiting" if is_there else "not_found"
        for counted in (root, self._report):
            setattr(counted, kind, getattr(counted, kind) + 1)
        root.photos += 1
        if not is_there and image.root_id in self._places:
            missing = self._missing.setdefault(image.root_id, [])
            if len(missing) < PROBES:
                missing.append(image.path)

    def _root_of(self, image: Image) -> RootReport:
        known = self._roots.get(image.root_id) if image.root_id is not None else None
        return known if known is not None else self._roots.setdefault(-1, RootReport("(no folder)"))

    @contextlib.contextmanager
    def _finding(self) -> Iterator[Callable[[bytes], bool]]:
        """Whether catalogd has the photo at a path."""
        try:
            store = Store(self._folder)
        except CatalogMissingError:
            yield lambda path: False
            return
        with store, store.snapshot() as reading:
            lookup = PathLookup(reading)
            yield lambda path: lookup.find(path) is not None

    def _count(self, facts: UserFacts, is_copy: bool) -> None:
        report = self._report
        report.copies += is_copy
        report.photos += not is_copy
        report.ratings += bool(facts.rating)
        report.flags += bool(facts.pick)
        report.labels += facts.label is not None
        report.titles += facts.title is not None
        report.captions += facts.caption is not None
        report.keyworded += bool(facts.keywords)
        report.positions += facts.latitude is not None
        report.places += facts.place is not None
        report.stacked += facts.stack is not None
        report.developed += bool(facts.develop)
        report.faces += len(facts.regions)
        self._people.update(facts.people)
        self._keywords.update(facts.keywords)

    def _take_back_gone(self) -> None:
        """What is not in the catalog any more. A video that was taken for a photo is not told apart."""
        if self._user is None:
            return
        for page in _given_before(self._user, self._origin):
            gone = sorted(set(page) - self._reader.has_uuid(page))
            self._source.check()
            self._report.removed += len(gone)
            if gone and not self._report.dry_run:
                self._user.take_away(SOURCE, gone)

    # -- collections -------------------------------------------------------------------------------

    def _take_collections(self) -> None:
        entries = self._reader.collections
        members = {number: tuple(uuids) for number, uuids in self._reader.members()}
        queries = {number: self._translated(text) for number, text in self._reader.smart_rules()}
        found = [self._collection(entry, members, queries) for entry in entries.values()]
        self._source.check()
        self._report.collections = sum(entry.kind == "collection" for entry in entries.values())
        if self._user is not None and not self._report.dry_run:
            self._report.collections_changed = self._user.put_collections(
                SOURCE, found, complete=True, origin=self._origin
            )

    def _collection(
        self,
        entry: CollectionEntry,
        members: dict[int, tuple[str, ...]],
        queries: dict[int, Translation],
    ) -> Collection:
        query = None
        if entry.kind == "smart":
            found = queries.get(entry.collection_id, Translation(None, ("no rules",)))
            self._report.smart.append(SmartReport(entry.name, found.query, found.untranslated))
            query = found.query
        uuids = members.get(entry.collection_id, ()) if entry.kind == "collection" else ()
        return Collection(entry.name, entry.kind, uuids, query, self._origin, time.time())

    def _translated(self, text: str) -> Translation:
        return translate(text, self._albums_with)

    def _albums_with(self, word: str) -> list[str]:
        """The collections in whose own name a word is."""
        ordinary = (entry.name for entry in self._reader.collections.values() if entry.kind == "collection")
        return [name for name in ordinary if word.casefold() in name.rpartition("/")[2].casefold()]

    # -- the end -----------------------------------------------------------------------------------

    def _finish(self, libraries: Sequence[str]) -> None:
        report = self._report
        report.people, report.keywords = len(self._people), len(self._keywords)
        for number, missing in self._missing.items():
            mapping = suggested(self._places[number].root, missing, libraries)
            self._roots[number].suggestion = f"{mapping.start}={mapping.to}" if mapping else None
        report.roots = [root for root in self._roots.values() if root.photos]
        report.notes = list(self._notes())

    def _notes(self) -> Iterator[str]:
        version = self._tables.version()
        if version.is_newer:
            yield (
                f"this catalog was written by Lightroom {version.major}, which is newer than what catalogd "
                "was made with: what it still names as before was taken in"
            )
        if self._report.in_use:
            yield (
                "Lightroom has this catalog open, or left its .lrcat.lock behind: what it has not saved yet "
                "comes with the next import"
            )
        if self._tables.missing:
            yield f"not in this version of the catalog: {', '.join(self._tables.missing)}"


def _is_known(head: Head | None, given: Given) -> bool:
    return head is not None and head.digest == given_digest(given)
