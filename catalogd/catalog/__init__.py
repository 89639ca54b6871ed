"""The catalog: the one door to everything catalogd knows of a library.

    Catalog ── Store            LMDB, the truth: records, embeddings, failures, files
            ├─ Columns          what filters ask for, of all photos, as arrays
            ├─ Timeline         stacks, bursts, sessions and trips, in tables of the store
            ├─ FaceIndex        faces and the clusters they are in, in tables of the store
            ├─ TextIndex        Tantivy, follows by commit number
            └─ EmbeddingIndex   Annoy generations and an exact tail, one a space, follow too

The writer process opens it with `write=True`; everyone else reads, while it writes. The indexes and
the time line can be deleted and are built again from the store.
"""

from __future__ import annotations

import functools
import itertools
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.columns import Columns, ColumnsReader
from catalogd.catalog.consistency import Difference, check_columns, check_tables, check_text, check_timeline
from catalogd.catalog.embedding_index import EmbeddingIndex, space_folder
from catalogd.catalog.environment import Ids
from catalogd.catalog.face_following import FaceFollower
from catalogd.catalog.face_following import check as check_faces
from catalogd.catalog.faces import FaceIndex
from catalogd.catalog.given_following import GivenFollower, differing_users
from catalogd.catalog.path_lookup import Found, PathLookup
from catalogd.catalog.people import FaceTables, People
from catalogd.catalog.sealing import Sealing
from catalogd.catalog.seeds import SeedFollower, differing_seeds
from catalogd.catalog.selection import Selection, Selector, Sources, in_order
from catalogd.catalog.spaces import SearchSpaces
from catalogd.catalog.store import (
    FILE_ENTRY_PHOTO,
    JOINT,
    SIDECAR_ENTRY,
    ChangesTrimmedError,
    Counts,
    FileEntry,
    Reading,
    Store,
)
from catalogd.catalog.text_index import MARK, Expand, TextFollower, TextHit, TextIndex, TextRanking
from catalogd.catalog.timeline import ARRANGED, Timeline, TimelineFollower
from catalogd.catalog.user_data import UserData
from catalogd.catalog.vectors import Allowed
from catalogd.errors import CatalogDamagedError, CatalogError, CatalogMissingError
from catalogd.records import Change, Clause, Failure, Record, Stat
from catalogd.settings import Settings

__all__ = ["Catalog", "Columns", "Counts", "Difference", "FileEntry", "Selection", "TextHit", "Timeline"]

PAGE_RECORDS = 1000  # of a walk over all photos; each page is a short read of its own
MAINTAIN_EVERY_S = 60.0  # a reader that died in a transaction keeps every page written meanwhile
SEAL_EVERY_S = 2.0  # looking for what changed since the last generation costs 10 ms after 200,000 photos
GIVEN_S = 0.3  # of following what was given, at a time: an import of 200,000 photos holds up no run
COLUMNS_S = 0.2  # of making rows that are not there yet, at a time: a run waits no longer
PAUSE_S = 60.0  # before a space is sealed again after that failed; doubles each time
LONGEST_PAUSE_S = 3600.0
_DAY_S = 86_400.0


class _Pause(NamedTuple):
    """A space is not sealed for a while, because its last sealing failed."""

    until_s: float  # monotonic
    length_s: float


class Catalog:
    """One catalog, open for reading, or for writing by the one process that may.

    Reads see the newest commit and are safe from any thread. Use it as a context manager, or `close`
    it.
    """

    def __init__(self, folder: Path, settings: Settings, store: Store, write: bool) -> None:
        self.folder = folder
        self._settings = settings
        self._store = store
        self._text: TextIndex | None = None  # of a reader; a writer searches its follower's
        self._text_mark: int | None = None
        self._follower: TextFollower | None = None
        self._timeline_follower: TimelineFollower | None = None
        self._embedding_indexes: dict[str, EmbeddingIndex] = {}
        self._sealing: Sealing | None = None
        self._pauses: dict[str, _Pause] = {}
        self._maintained_s = time.monotonic()
        self._looked_s = -math.inf  # when it was last asked whether a generation is wanted
        self._searching = threading.RLock()
        self._columns = ColumnsReader(store)
        self._selector = Selector()
        self._seed_follower: SeedFollower | None = None
        self._given_follower: GivenFollower | None = None
        self._search_spaces = SearchSpaces(store)
        self._faces = FaceIndex(store, lambda: self._people.constraints())
        self._people = People(store, folder, FaceTables(self._faces))
        self._face_follower: FaceFollower | None = None
        if write:
            self._face_follower = FaceFollower(store, self._people.constraints)
            self._follower = TextFollower(store, self._text_folder, settings)
            self._timeline_follower = TimelineFollower(store, settings)
            self._seed_follower = SeedFollower(store)
            self._given_follower = GivenFollower(store, folder)

    @classmethod
    def open(cls, folder: Path, settings: Settings, write: bool = False) -> Catalog:
        """Open the catalog in `folder`; for writing it is made when there is none.

        Raises CatalogMissingError, CatalogVersionError when a newer catalogd wrote it, and
        CatalogFullError.
        """
        store = Store(folder, write)
        try:
            return cls(folder, settings, store, write)
        except BaseException:
            store.close()
            raise

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all stores, once a generation that is being sealed is done. Twice is fine."""
        if self._sealing is not None:
            self._finish_sealing(self._sealing)
        if self._follower is not None:
            self._follower.close()
        if self._text is not None:
            self._text.close()
        if self._given_follower is not None:
            self._given_follower.close()
        with self._searching:
            self._close_embedding_indexes()
        self._people.close()
        self._store.close()

    # -- writing ---------------------------------------------------------------------------------

    def commit(self, changes: Sequence[Change], profile_key: bytes) -> int:
        """Apply `changes` in order, durably and all or none; returns the commit's number.

        `profile_key` (8 bytes) says which outputs the photos have now. Changes that are sent again
        after a crash do no harm. Raises CatalogFullError with nothing applied.
        """
        self._writer()
        return self._store.commit(changes, profile_key)

    def follow(self, idle: bool = False, force: bool = False) -> None:
        """Let all that is derived follow what was committed, and maintain; called often by the writer.

        `idle`: nothing else is to be done just now. `force`: make everything searchable by words, and
        arranged, now.
        Raises CatalogFullError; the indexes catch up once there is space.
        """
        if time.monotonic() - self._maintained_s >= MAINTAIN_EVERY_S:
            self.maintain()
            self._maintained_s = time.monotonic()
        self.follow_given(math.inf if force else GIVEN_S)
        self.follow_columns(idle, force)
        self.follow_text(force)
        self.follow_names()
        self.follow_timeline(idle, force)
        self.follow_faces(idle, force)
        self.follow_spaces(idle)
        if force or time.monotonic() - self._looked_s >= SEAL_EVERY_S:
            self._follow_embeddings(idle or force)
            self._looked_s = time.monotonic()

    def follow_given(self, within_s: float = math.inf) -> None:
        """Let the records follow what a person set in other programs, all of it or for so long."""
        self._given_writer().follow(within_s)

    def follow_columns(self, idle: bool = False, force: bool = False) -> None:
        """Make the rows of a page of photos that have none yet: an older catalogd made none.

        Of more pages when the writer is `idle`, of all by `force`.
        """
        self._writer()
        until_s = time.monotonic() + (COLUMNS_S if idle else 0.0)
        while self._store.make_columns() and (force or time.monotonic() < until_s):
            pass

    def follow_text(self, force: bool = False) -> None:
        """Let the text index follow, on its own clock (settings.text_commit_…) or, forced, now."""
        self._writer().follow(force)

    def follow_names(self) -> None:
        """Let the names that files give faces follow."""
        self._writer()
        assert self._seed_follower is not None
        self._seed_follower.follow()

    def follow_timeline(self, idle: bool = False, force: bool = False) -> None:
        """Let the time line follow: when `idle`, with rests, or, forced, now."""
        self._timeline_writer().follow(idle, force)

    def follow_faces(self, idle: bool = False, force: bool = False) -> None:
        """Let faces come into clusters, and what people said of them hold: a page or, forced, all."""
        self._face_writer().follow(idle, force)

    def follow_spaces(self, idle: bool = False) -> None:
        """Search another space by meaning, once it covers all photos; go on with what is being dropped."""
        self._writer()
        self._search_spaces.follow()
        if idle:
            self._search_spaces.follow_drop()

    def maintain(self) -> None:
        """Let go of readers that died, photos missing for too long, and spaces that no photo is in."""
        self._writer()
        self._store.reader_check()
        before = time.time() - self._settings.missing_days * _DAY_S
        while self._store.purge_missing(before):
            pass
        self._let_go_of_spaces()

    def _let_go_of_spaces(self) -> None:
        """A space that a replaced model left behind would hold the change log for ever."""
        sealing = None if self._sealing is None else self._sealing.space
        with self._searching:
            for space in self._store.drop_empty_spaces(but=sealing):
                if (index := self._embedding_indexes.pop(space, None)) is not None:
                    index.close()
                self._pauses.pop(space, None)
            known = {space_folder(self.folder, space) for space in self._store.spaces()}
            for folder in set((self.folder / "embeddings").glob("*")) - known:
                shutil.rmtree(folder, ignore_errors=True)

    def _writer(self) -> TextFollower:
        if self._follower is None:
            raise CatalogError(f"{self.folder}: opened for reading")
        return self._follower

    def _given_writer(self) -> GivenFollower:
        self._writer()
        assert self._given_follower is not None
        return self._given_follower

    def _timeline_writer(self) -> TimelineFollower:
        self._writer()
        assert self._timeline_follower is not None
        return self._timeline_follower

    def _face_writer(self) -> FaceFollower:
        self._writer()
        assert self._face_follower is not None
        return self._face_follower

    def _follow_embeddings(self, idle: bool) -> None:
        """Start at most one sealing; take up the generation of one that is done."""
        if self._sealing is not None:
            if not self._sealing.is_done():
                return
            self._finish_sealing(self._sealing)
        for space in self._store.spaces():
            if space in self._pauses and time.monotonic() < self._pauses[space].until_s:
                continue
            with self._searching:
                index = self._embedding_index(space)
                index.refresh()
                if index.wants_seal(idle):
                    index.hold_changes(sealing=True)
                    self._sealing = Sealing(self.folder, space, self._settings)
                    return

    def _finish_sealing(self, sealing: Sealing) -> None:
        self._sealing = None
        if sealing.wait():
            self._pauses.pop(sealing.space, None)
        else:
            self._pause(sealing.space)
        with self._searching:
            index = self._embedding_index(sealing.space)
            index.refresh()
            index.hold_changes(sealing=False)

    def _pause(self, space: str) -> None:
        former = self._pauses.get(space)
        length = PAUSE_S if former is None else min(2 * former.length_s, LONGEST_PAUSE_S)
        self._pauses[space] = _Pause(time.monotonic() + length, length)

    # -- photos ----------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """How many photos there are: indexed, missing, failed."""
        return self._store.counts()

    def record(self, photo_id: int, with_embeddings: bool = False) -> Record | None:
        """One photo. Without its embeddings, an Output says b"" where it has one."""
        return self._store.record(photo_id, with_embeddings) if photo_id > 0 else None

    def records(self, photo_ids: Iterable[int], with_embeddings: bool = False) -> list[Record | None]:
        """The photos in the order asked for, None where there is no such photo."""
        return self._store.records(photo_ids, with_embeddings)

    def iter_records(self, after_id: int = 0) -> Iterator[Record]:
        """All photos by photo_id, missing ones too; page by page, so that each page is one commit's."""
        last = after_id
        while page := self._store.records_after(last, PAGE_RECORDS):
            yield from page
            last = page[-1].photo_id

    def records_under(self, folder: bytes) -> Iterator[Record]:
        """The photos at or below `folder`, folder by folder."""
        for path in self.folders_under(folder):
            entries = self._store.folder_entries(path).values()
            yield from self.iter_records_of(
                [int.from_bytes(entry[FILE_ENTRY_PHOTO], "big") for entry in entries]
            )

    def iter_records_of(self, photo_ids: Sequence[int]) -> Iterator[Record]:
        """Those of these photos that there are, page by page."""
        for start in range(0, len(photo_ids), PAGE_RECORDS):
            yield from filter(None, self.records(photo_ids[start : start + PAGE_RECORDS]))

    def changes_since(self, commit: int) -> tuple[int, list[int]] | None:
        """The commit up to which, and the photos that, were touched after `commit`; page by page.

        No photos: all is told. None: the change log no longer reaches back that far.
        """
        with self._store.snapshot() as reading:
            try:
                commits, photo_ids = reading.changes_since(commit, PAGE_RECORDS)
            except ChangesTrimmedError:
                return None
            last = int(commits[-1]) if len(commits) else reading.number("commit")
        return last, list(dict.fromkeys(photo_ids.tolist()))

    def contents(self, with_missing: bool = True) -> list[tuple[bytes, int]]:
        """The content (16 bytes, copies share one) and the photo_id of every photo."""
        return self._store.contents(with_missing)

    def photo_id_of(self, path: bytes) -> int | None:
        """The photo at this path."""
        return self._store.photo_id_of(path)

    def find_paths(self, paths: Iterable[bytes]) -> list[Found | None]:
        """The photo at each of these paths, which another program may spell in its own way."""
        with self._store.snapshot() as reading:
            lookup = PathLookup(reading)
            return [lookup.find(path) for path in paths]

    def missing_paths(self) -> dict[int, bytes]:
        """Where the photos were whose files are gone, by photo_id."""
        with self._store.snapshot() as reading:
            ids = reading.ids("missing").tolist()
        return self._store.paths(ids)

    def failures(self) -> list[Failure]:
        """All failures, by folder and name."""
        return self._store.failures()

    def failure(self, path: bytes) -> Failure | None:
        """The failure of the photo at this path."""
        return self._store.failure(path)

    @property
    def people(self) -> People:
        """Who is who, and who is on which photo."""
        return self._people

    @property
    def faces(self) -> FaceIndex:
        """The faces that photos show, and the clusters they are in."""
        return self._faces

    @property
    def timeline(self) -> Timeline:
        """Stacks, bursts, sessions and trips."""
        return Timeline(self._store)

    # -- what a scan asks ------------------------------------------------------------------------

    def folder_entries(self, folder: bytes) -> dict[bytes, bytes]:
        """File name → file entry of one folder; see docs/formats.md."""
        return self._store.folder_entries(folder)

    def folder_sidecars(self, folder: bytes) -> dict[bytes, bytes]:
        """File name → entry of the sidecars that are known in one folder; see docs/formats.md."""
        return self._store.folder_sidecars(folder)

    def known_sidecars(self, folder: bytes) -> dict[bytes, Stat]:
        """The same, for those who are not in a hurry."""
        entries = self._store.folder_sidecars(folder).items()
        return {name: Stat(*SIDECAR_ENTRY.unpack(entry)) for name, entry in entries}

    def sidecar_stat(self, path: bytes) -> Stat | None:
        """The stat by which the sidecar at this path is known."""
        return self._store.sidecar_stat(path)

    def file_entry(self, path: bytes) -> FileEntry | None:
        """What is known of the file at this path."""
        return self._store.file_entry(path)

    def folders_under(self, root: bytes) -> list[bytes]:
        """The folders at or below `root` that hold photos or failures, sorted."""
        return self._store.folders_under(root)

    def any_photo_of_size(self, size: int) -> bool:
        """Whether a photo of exactly `size` bytes is known."""
        return self._store.any_photo_of_size(size)

    def photos_with_content(self, size: int, content: bytes) -> list[int]:
        """The photos, missing ones too, with this size and content."""
        return self._store.photos_with_content(size, content)

    # -- searching -------------------------------------------------------------------------------

    def columns(self) -> Columns:
        """What filters ask for, of all photos as of the last commit, as arrays."""
        return self._columns.columns()

    def select(
        self,
        clauses: Sequence[Clause],
        *,
        columns: Columns | None = None,
        person_ids: Callable[[str], Ids | None] | None = None,
        album_ids: Callable[[str], Ids | None] | None = None,
    ) -> Selection:
        """The photos that satisfy all clauses. Raises QueryError, which names the key and its place.

        `columns` are those of another selection that this one shall be combined with. `person_ids`
        gives the photos of a person by name, "*" those of any; `album_ids` those of an album: None
        where there is none.
        """
        sources = self._sources()
        if person_ids is not None:
            sources = sources._replace(person=person_ids)
        if album_ids is not None:
            sources = sources._replace(album=album_ids)
        return self._selector.select(columns or self.columns(), clauses, sources)

    def ordered(self, selection: Selection, order: str, limit: int) -> list[int]:
        """The first `limit` photos by date, added, size, quality or name; "-date": the last one first.

        Those whose date is not known come last either way. By name is by folder and then by file name.
        """
        if order.lstrip("-") == "name":
            return list(itertools.islice(self._by_name(selection, order.startswith("-")), max(limit, 0)))
        return in_order(selection, order, limit)

    def _by_name(self, selection: Selection, reverse: bool) -> Iterator[int]:
        """Folder by folder: only those that are looked at cost anything."""
        folders, names = selection.columns.folder, selection.columns.terms("folder")
        codes = np.flatnonzero(np.bincount(folders[selection.mask])).tolist()
        for code in sorted(codes, key=names.__getitem__, reverse=reverse):
            ids = selection.columns.ids[selection.mask & (folders == code)].tolist()
            paths = self._store.paths(ids)
            yield from sorted(paths, key=paths.__getitem__, reverse=reverse)

    def search_text(
        self,
        words: str,
        selection: Selection | None = None,
        limit: int = 100,
        expand: Expand | None = None,
    ) -> list[TextHit]:
        """The photos of `selection` (None: all) with these words, best first.

        Words in double quotes are a phrase. `expand` tells what else may stand for a word.
        """
        text = self._fresh_text()
        return text.search(words, selection, limit, expand) if text else []

    def rank_text(
        self,
        words: str,
        selection: Selection | None,
        limit: int,
        expand: Expand | None = None,
        most_hits: int | None = None,
    ) -> TextRanking:
        """As `search_text`, the photos and their scores alone: a tenth of the cost of a hit.

        `most_hits` bounds the hits that are looked through for selected ones, of a large selection.
        """
        text = self._fresh_text()
        if text is None:
            return TextRanking(np.empty(0, np.int64), np.empty(0), 0)
        return text.ranked(words, selection, limit, expand, most_hits)

    def match_text(
        self, words: str, photo_ids: Sequence[int], expand: Expand | None = None
    ) -> dict[int, tuple[tuple[str, ...], float]]:
        """For each photo, the fields that hold some of the words, and what share of the words it has."""
        text = self._fresh_text()
        return text.matched(words, photo_ids, expand) if text else dict.fromkeys(photo_ids, ((), 0.0))

    def matching(self, clauses: Sequence[Clause]) -> Ids:
        """The photos that satisfy all clauses, sorted: int64[n]. Raises QueryError."""
        return self.select(clauses).ids

    def _sources(self) -> Sources:
        text = self._fresh_text()
        with self._store.snapshot() as reading:
            arranged = reading.number(ARRANGED)
        return Sources(
            text=text.photos_with if text else lambda condition: np.empty(0, np.int64),
            text_version=text.version if text else 0,
            members=self.timeline.members,
            members_version=arranged,
            person=self._photos_of_person,
        )

    def _photos_of_person(self, words: str) -> Ids | None:
        found = [self._people.known_photos_of(person.person_id) for person in self._people.meant(words)]
        if len(found) < 2:  # sorted as they are
            return found[0] if found else None
        return np.unique(np.concatenate(found))

    def search_embeddings(
        self, space: str, query: npt.NDArray[np.float32], k: int, allowed: Selection | Ids | None = None
    ) -> list[tuple[int, float]]:
        """The k photos nearest to `query: float32[D]` in `space` as (photo_id, cosine), best first.

        `allowed`, a selection or `int64[n], sorted`, restricts the search to these photos.
        """
        if space not in self._store.spaces():
            return []
        among = _allowed(allowed) if isinstance(allowed, Selection) else allowed
        with self._searching:
            index = self._embedding_index(space)
            index.refresh()
            found = index.search(query, k, among)
        ids = np.array([photo_id for photo_id, _ in found], np.int64)
        present = allowed.contains(ids) if isinstance(allowed, Selection) else self._store.has_photos(ids)
        return [hit for hit, is_present in zip(found, present, strict=True) if is_present]

    def embeddings(self, space: str, photo_ids: Ids) -> tuple[Ids, npt.NDArray[np.float16]]:
        """The embeddings of those of these photos that have one: ids int64[n], float16[n, D]."""
        return self._store.embeddings(space, photo_ids)

    def spaces(self) -> dict[str, int]:
        """Embedding space → dimension."""
        return self._store.spaces()

    def picture_spaces(self) -> list[str]:
        """The spaces that compare pictures with each other, not with words."""
        return [space for space in self._store.spaces() if not space.endswith(JOINT)]

    @property
    def search_spaces(self) -> SearchSpaces:
        """Which space is searched by meaning; `catalogd.catalog.spaces` changes it."""
        return self._search_spaces

    def embeddings_after(self, space: str, photo_id: int, limit: int) -> tuple[Ids, npt.NDArray[np.float16]]:
        """Up to `limit` embeddings with a larger photo_id, in that order: ids int64[n], float16[n, D]."""
        return self._store.iter_embeddings(space, photo_id, limit)

    @property
    def has_words(self) -> bool:
        """Whether the text index is whole. The next run makes one that is missing or of another version."""
        return self._store.mark(MARK) is not None and self._fresh_text() is not None

    def _fresh_text(self) -> TextIndex | None:
        """The text index at its newest commit; None when it is not there yet."""
        with self._searching:
            if self._follower is not None:
                return self._follower.index
            if self._text is None:
                if not TextIndex.is_usable(self._text_folder):
                    return None
                self._text = TextIndex(self._text_folder, self._settings.text_heap_bytes)
            mark = self._store.mark(MARK)
            if mark != self._text_mark:
                self._text.refresh()
                self._text_mark = mark
            return self._text

    def _embedding_index(self, space: str) -> EmbeddingIndex:
        index = self._embedding_indexes.get(space)
        if index is None:
            folder = space_folder(self.folder, space)
            index = EmbeddingIndex(folder, self._store, space, self._settings)
            self._embedding_indexes[space] = index
        return index

    def _close_embedding_indexes(self) -> None:
        while self._embedding_indexes:
            self._embedding_indexes.popitem()[1].close()

    @property
    def _text_folder(self) -> Path:
        return self.folder / "text"

    # -- consistency -----------------------------------------------------------------------------

    def check(self, deep: bool = False) -> list[Difference]:
        """Compare all stores with each other; [] when they agree. Also right while a writer works.

        `deep` also makes every text document again and looks at every number of the embeddings.
        """
        mark = self._store.mark(MARK)  # before the index is opened, and that before the snapshot
        text = TextIndex(self._text_folder, 0) if TextIndex.is_usable(self._text_folder) else None
        with self._store.snapshot() as reading:
            differences = check_tables(reading, deep) + check_columns(reading, deep)
            if mark is not None and text is not None:
                differences += check_text(reading, text, mark, deep)
            elif mark is not None or reading.entries("photos"):
                differences.append(Difference("text", 0, "there is no text index"))
            differences += check_timeline(reading, self._settings, deep)
            differences += [Difference("faces", *found) for found in check_faces(reading, deep)]
            wrong = differing_seeds(reading) if deep else []
            differences += [Difference("names", photo_id, "not what its file says") for photo_id in wrong]
            wrong = self._differing_users(reading) if deep else []
            differences += [Difference("given", photo_id, "not what the user data say") for photo_id in wrong]
        return differences + self._check_embeddings()

    def _differing_users(self, reading: Reading) -> list[int]:
        try:
            with UserData(self.folder, write=False) as user:
                return user.read_given(functools.partial(differing_users, reading))
        except CatalogMissingError:  # nobody set anything
            return []

    def _check_embeddings(self) -> list[Difference]:
        differences = []
        for space in self._store.spaces():
            index = EmbeddingIndex(space_folder(self.folder, space), self._store, space, self._settings)
            try:
                differences += [Difference(f"embeddings {space}", 0, text) for text in index.check()]
            except CatalogDamagedError as error:
                differences.append(Difference(f"embeddings {space}", 0, str(error)))
            finally:
                index.close()
        return differences

    def repair(self) -> None:
        """Mend what `check` finds: tables from the records, indexes from the tables.

        A photo that can't be mended is dropped or marked stale, so that the next run reads it again.
        """
        self._writer()
        stores = {difference.store.split()[0] for difference in self.check(deep=True)}
        derived = {"text", "timeline", "columns", "terms", "faces", "given"}
        if stores - derived:
            self._store.repair()
        elif stores & {"columns", "terms"}:
            self.rebuild_columns()
        if "given" in stores or stores - derived:
            self._given_writer().rebuild()
        if stores - (derived - {"text"}):
            self.rebuild_text()
        if stores - derived:
            self.rebuild_embeddings()
        if stores:
            self.rebuild_timeline()
            self.rebuild_faces()
            SeedFollower(self._store).rebuild()

    def rebuild_text(self) -> None:
        """Build the text index again from the records; the former one is searched meanwhile."""
        follower = self._writer()
        with self._searching:
            follower.rebuild()
        follower.follow(force=True)

    def rebuild_columns(self) -> None:
        """Make what filters ask for again from the records; readers make it for themselves meanwhile."""
        self._writer()
        self._store.clear_columns()
        self.follow_columns(force=True)

    def rebuild_timeline(self) -> None:
        """Make stacks, bursts, sessions and trips again from the records."""
        self._timeline_writer().rebuild()

    def rebuild_faces(self) -> None:
        """Make the faces again from the records; clusters keep their ids and their faces."""
        self._face_writer().rebuild()

    def recluster_faces(self) -> None:
        """Cluster all faces anew; ids go on by the faces they share, and what people said holds."""
        self._face_writer().recluster()

    def rebuild_embeddings(self) -> None:
        """Delete the generations of all spaces and seal again those that are large enough for one.

        Raises CatalogError when that failed for any; they are searched exactly meanwhile.
        """
        self._writer()
        if self._sealing is not None:
            self._sealing.stop()
            self._sealing = None
        with self._searching:
            self._close_embedding_indexes()
        shutil.rmtree(self.folder / "embeddings", ignore_errors=True)
        self._pauses.clear()
        for _ in self._store.spaces():
            self._follow_embeddings(idle=True)
            if self._sealing is not None:
                self._finish_sealing(self._sealing)
        if self._pauses:
            raise CatalogError(
                f"the embedding index was not sealed, the log says why: {', '.join(sorted(self._pauses))}; "
                "searches are right but slower; run `catalogd rebuild` again"
            )


def _allowed(selection: Selection) -> Allowed | None:
    """A selection as the embedding index takes it."""
    if selection.is_all:
        return None
    columns = selection.columns
    return Allowed(columns.ascending, columns.in_order(selection.mask))
