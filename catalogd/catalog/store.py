"""The truth of a catalog: one LMDB environment that holds every record, embedding and failure.

Only the writer process writes, one durable transaction a commit; any number of processes read
meanwhile. Text and embedding indexes are derived from here: they follow the change log from their
own mark and can be built again from the tables.

    photos      photo_id                    → Record, without its embeddings
    embeddings  space key + photo_id        → float16[D]
    files       folder hash + file name     → size, mtime_ns, photo_id, profile key
    folders     folder hash                 → path
    contents    size + content + photo_id   → (nothing)
    failures    as in files                 → Failure
    missing     photo_id                    → since, profile key
    commits     commit + photo_id           → (nothing): the change log
    spaces      space key                   → name, dimension
    meta        name                        → u64: format, commit, trimmed, marks
    sidecars    folder hash + file name     → size, mtime_ns
    seeds       photo_id                    → [Seed]: whom the file names (catalogd.catalog.seeds)
    columns     photo_id                    → ROW: what filters ask for (catalogd.catalog.photo_row)
    terms       kind + code, kind + hash    → string, code (catalogd.catalog.terms)
    moments, members, groups, sessions      the time line: catalogd.catalog.timeline
    faces, face_vectors, clusters, face_log who may be who: catalogd.catalog.faces

docs/formats.md has every byte. No transaction outlives the call that opened it, and an environment
is never opened twice by one process nor used across a fork.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from catalogd.catalog.coverage import Counting, forget_count
from catalogd.catalog.environment import (
    FIRST_MAP_BYTES,
    Ids,
    Result,
    TableNames,
    Tables,
    acquire,
    id_bytes,
    no_catalog,
    release,
)
from catalogd.catalog.photo_row import ROW_VERSION, row_of
from catalogd.catalog.terms import TermCodes
from catalogd.errors import (
    CatalogDamagedError,
    CatalogError,
    CatalogVersionError,
    ChangedError,
    DeniedError,
    UnavailableError,
)
from catalogd.records import (
    Change,
    Failure,
    Missing,
    Moved,
    Output,
    Record,
    Retry,
    SidecarsKnown,
    Stat,
    UserFacts,
    decode_failure,
    decode_record,
    display_path,
    encode,
)

log = logging.getLogger(__name__)

Halves = npt.NDArray[np.float16]

FORMAT_VERSION = 1
TABLES = (
    "photos",
    "embeddings",
    "files",
    "folders",
    "contents",
    "failures",
    "missing",
    "commits",
    "spaces",
    "meta",
)
LATER_TABLES = (
    "moments",
    "members",
    "groups",
    "sessions",
    "sidecars",
    "faces",
    "face_vectors",
    "clusters",
    "face_log",
    "seeds",
    "columns",
    "terms",
)  # made by the first writer that knows them

# A file entry: size, mtime_ns, photo_id (0: the photo failed at this size and time), profile key.
FILE_ENTRY = struct.Struct(">qqq8s")
FILE_ENTRY_STAT = slice(0, 16)
FILE_ENTRY_PHOTO = slice(16, 24)
FILE_ENTRY_PROFILE = slice(24, 32)
SIDECAR_ENTRY = struct.Struct(">qq")  # size, mtime_ns
MISSING_ENTRY = struct.Struct(">d8s")  # since (seconds since the epoch), profile key
STALE_PROFILE = bytes(8)  # the profile key of a photo whose outputs must be made again
KEPT_PROFILE = b"\xff" * 8  # of a commit of some outputs alone: photos keep the profile key that they have
HELD_APART = b""  # stands in a stored Output for an embedding that lies in `embeddings`

NO_STAT = Stat(-1, -1)  # no file has it: a scan takes up the file whose entry says so
PASSING_REASONS = frozenset(  # what a file is not at fault for, or what does not last
    (ChangedError.reason, DeniedError.reason, UnavailableError.reason)
)

LARGEST_ID = (1 << 53) - 1  # the largest that readers of JSON (JavaScript, jq, Lua) do not round
LONGEST_NAME_BYTES = 503  # an LMDB key holds 511 bytes, the folder hash takes 8
DROP_PAGE = 200  # photos an output is dropped of in one transaction: 20 ms
COLUMNS_PAGE = 1000  # photos whose rows are made in one transaction: 50 ms
KEPT_COMMITS = 64  # of the change log behind the slowest mark: readers that follow lag by seconds
JOINT = "#joint"  # ends the name of the space that text embeddings share

# Numbers of `meta`: by which version the rows of `columns` are, the photo up to which those of an older
# catalog have theirs, and the last commit of a writer that makes them.
COLUMNS_BY, COLUMNS_TO, COLUMNS_COMMIT = "columns_by", "columns_to", "columns_commit"
_ALL_PHOTOS = (1 << 63) - 1

_U64 = struct.Struct(">Q")


class _Path(msgspec.Struct, gc=False):
    """Of a Record, where the photo is."""

    path: bytes


_decode_path = msgspec.msgpack.Decoder(_Path).decode


class _User(msgspec.Struct, gc=False):
    """Of a Record, what a person set in another program."""

    user: UserFacts | None = None


_decode_user = msgspec.msgpack.Decoder(_User).decode


class ChangesTrimmedError(LookupError):
    """The change log no longer reaches back that far: read everything instead."""


def space_key(space: str) -> bytes:
    """The 8 bytes that stand for an embedding space in keys and folder names."""
    return xxhash.xxh3_64_digest(space.encode())


def embeddings_mark(space: str) -> str:
    """The name of the mark of a space's index."""
    return f"embeddings:{space_key(space).hex()}"


def file_key(path: bytes) -> bytes:
    """The key of a photo's path in `files` and `failures`: folder hash + file name."""
    folder, _, name = path.rpartition(b"/")
    return folder_hash(folder) + name


def folder_hash(folder: bytes) -> bytes:
    """8 bytes; a trailing slash does not count."""
    return xxhash.xxh3_64_digest(folder.rstrip(b"/") or b"/")


def content_key(record: Record) -> bytes:
    """The record's row in `contents`."""
    return _U64.pack(record.stat.size) + record.content + id_bytes(record.photo_id)


def entry_stat(failure: Failure) -> Stat:
    """What the file entry of a failed photo holds: `NO_STAT` where the next scan shall try again."""
    return NO_STAT if failure.reason in PASSING_REASONS else failure.stat


def spaces_of(outputs: dict[str, Output]) -> dict[str, bytes]:
    """Space → embedding (or `HELD_APART`) of everything in `outputs`."""
    found = {}
    for output in outputs.values():
        if output.embedding is not None:
            found[output.fingerprint] = output.embedding
        if output.joint_embedding is not None:
            found[output.fingerprint + JOINT] = output.joint_embedding
    return found


class Counts(NamedTuple):
    """How many photos a catalog holds."""

    indexed: int  # can be found
    missing: int  # kept, though their file is gone
    failed: int  # failures that stand
    commit: int  # the last one


class FileEntry(NamedTuple):
    """What the catalog knows of the file at a path."""

    stat: Stat
    photo_id: int  # 0: the photo failed at this size and time
    profile_key: bytes  # which outputs it has


class Store:
    """The tables of one catalog, for reading or (in the writer process) for writing.

    Raises CatalogMissingError when there is none to read, CatalogVersionError when a newer catalogd
    wrote it. Every read sees one commit; every write is one durable transaction.
    """

    def __init__(self, catalog_folder: Path, write: bool = False, map_bytes: int = FIRST_MAP_BYTES) -> None:
        self.folder = catalog_folder / "store"
        self._environment = acquire(self.folder, write, map_bytes, TableNames(TABLES, LATER_TABLES))
        self._closed = False
        try:
            if write:
                self.write(_prepare)
            self._check_version()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the environment; the last Store of this process closes it. Twice is fine."""
        if not self._closed:
            self._closed = True
            release(self._environment)

    def reader_check(self) -> int:
        """Free the reader slots of processes that died; returns how many there were."""
        return self._environment.reader_check()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Reading]:
        """Several reads of one and the same commit. Nothing else of the store may be called meanwhile."""
        with self._environment.read() as transaction:
            yield Reading(transaction)

    def repair(self) -> None:
        """Make all tables agree with `photos` and `failures`, in one commit.

        What can't be decoded is dropped; what is left of it looks new or stale to the next scan.
        """
        self.write(lambda reading: _Repair(reading).run())

    def write(self, work: Callable[[Reading], Result]) -> Result:
        """Run `work` in a transaction of its own, again when the map had to grow, and commit it durably.

        Raises CatalogFullError when the disk is full: nothing of `work` is kept then, and the store
        stays usable.
        """
        return self._environment.write(lambda transaction: work(Reading(transaction)))

    def commit(self, changes: Sequence[Change], profile_key: bytes) -> int:
        """Apply `changes` in order in one durable transaction; returns its commit number.

        `profile_key` (8 bytes) says which outputs the photos now have. Changes may be sent again
        after a crash: the tables end up the same. Raises CatalogFullError, with nothing applied.
        """
        if not changes:
            return self.commit_number()
        now = time.time()
        return self.write(lambda reading: _Commit(reading, profile_key, now).apply_all(changes))

    def make_columns(self) -> bool:
        """Make the rows of one page of photos that have none yet; False when all have theirs.

        A catalog that another version wrote is taken in so, page by page, while it is used.
        """
        with self.snapshot() as reading:
            if columns_are_complete(reading):
                return False
        return self.write(_make_columns_page)

    def clear_columns(self) -> None:
        """Let `make_columns` make all rows again."""
        self.write(_clear_columns)

    def set_user_facts(self, facts: Mapping[int, UserFacts | None], mark: str, reached: int | None) -> int:
        """Copy what a person set into the records that say something else; returns how many did.

        `reached`: the commit that the mark has come to; to this one where that was the last.
        """

        def work(reading: Reading) -> int:
            last = reading.number("commit")
            commit = _Commit(reading, STALE_PROFILE, time.time())
            changed = sum([commit.set_user(photo_id, user) for photo_id, user in facts.items()])
            now = commit.finish() if changed else last
            if reached is not None:
                reading.set_mark(mark, now if reached == last else reached)
            return changed

        return self.write(work)

    def purge_missing(self, before: float, most: int = 1000) -> int:
        """Forget up to `most` photos that have been missing since before `before`; returns how many."""

        def work(reading: Reading) -> int:
            commit = _Commit(reading, STALE_PROFILE, time.time())
            rows = reading.rows("missing")
            old = [key for key, value in rows if MISSING_ENTRY.unpack(value)[0] < before]
            for key in old[:most]:
                commit.forget(int.from_bytes(key, "big"))
            if old:
                commit.finish()
            return len(old[:most])

        return self.write(work)

    def drop_output(
        self, name: str, by: str, after_id: int, reached: Callable[[Reading, int | None], None]
    ) -> int:
        """Take the output `name`, where its fingerprint begins with `by`, out of one page of records.

        Returns how many had it.
        `reached` is called in the same transaction with the page's last photo_id, None after the last page.
        """

        def work(reading: Reading) -> int:
            commit = _Commit(reading, STALE_PROFILE, time.time())
            ids = reading.ids_after("photos", after_id, DROP_PAGE).tolist()
            records = [record for photo_id in ids if (record := reading.photo(photo_id)) is not None]
            having = [
                record
                for record in records
                if name in record.outputs and record.outputs[name].fingerprint.startswith(by)
            ]
            for record in having:
                rest = {other: output for other, output in record.outputs.items() if other != name}
                commit.put_outputs(record, rest)
            if having:
                commit.finish()
            reached(reading, ids[-1] if ids else None)
            return len(having)

        return self.write(work)

    def drop_empty_spaces(self, but: str | None = None) -> list[str]:
        """Forget the spaces that hold no embedding any more, with their marks; returns their names."""

        def empty(reading: Reading) -> list[str]:
            return [
                space
                for space in reading.spaces()
                if space != but and next(reading.rows_with("embeddings", space_key(space)), None) is None
            ]

        def work(reading: Reading) -> list[str]:
            found = empty(reading)
            for space in found:
                reading.delete("spaces", space_key(space))
                reading.delete("meta", f"mark:{embeddings_mark(space)}".encode())
            _trim(reading)
            return found

        with self.snapshot() as reading:
            if not empty(reading):
                return []
        return self.write(work)

    # -- numbers ---------------------------------------------------------------------------------

    def commit_number(self) -> int:
        """The last commit; 0 when there is none."""
        with self.snapshot() as reading:
            return reading.number("commit")

    def mark(self, name: str) -> int | None:
        """The commit that the derived index `name` has reached; None when it was never built."""
        with self.snapshot() as reading:
            return reading.mark(name)

    def set_mark(self, name: str, value: int | None) -> None:
        """Say durably how far `name` has come (None: forget it), and trim the change log behind all marks."""

        self.write(lambda reading: reading.set_mark(name, value))

    def changes_since(self, commit: int, most: int | None = None) -> tuple[Ids, Ids]:
        """What was committed after `commit`, oldest first: commits int64[n], photo_ids int64[n].

        A photo stands there once for every commit that touched it; one that is gone now was
        deleted. `most` cuts the answer off after the commit that passes it. Raises
        ChangesTrimmedError when the log no longer reaches back that far.
        """
        with self.snapshot() as reading:
            return reading.changes_since(commit, most)

    # -- photos ----------------------------------------------------------------------------------

    def record(self, photo_id: int, with_embeddings: bool = False) -> Record | None:
        """One photo; without its embeddings an Output says b"" where it has one."""
        return self.records([photo_id], with_embeddings)[0]

    def records(self, photo_ids: Iterable[int], with_embeddings: bool = False) -> list[Record | None]:
        """The photos in the order asked for, None where there is no such photo."""
        with self.snapshot() as reading:
            found = [reading.photo(photo_id) for photo_id in photo_ids]
            if not with_embeddings:
                return found
            return [record and _with_embeddings(reading, record) for record in found]

    def records_after(self, photo_id: int, limit: int) -> list[Record]:
        """Up to `limit` photos with a larger photo_id, in that order: a page of a walk over all."""
        return [_record(value) for _, value in self.encoded_after(photo_id, limit)]

    def paths(self, photo_ids: Iterable[int]) -> dict[int, bytes]:
        """The path of each of these photos that there are: a tenth of the cost of their records."""
        with self.snapshot() as reading:
            values = ((photo_id, reading.get("photos", id_bytes(photo_id))) for photo_id in photo_ids)
            try:
                return {photo_id: _decode_path(value).path for photo_id, value in values if value is not None}
            except msgspec.DecodeError as error:
                raise _damaged("a record", error) from error

    def encoded_photos(self, photo_ids: Ids) -> list[tuple[int, bytes | None]]:
        """Each photo with its record as it is stored, None where there is no such photo."""
        keys = _keys(b"", photo_ids)
        with self.snapshot() as reading:
            return [(int.from_bytes(key, "big"), reading.get("photos", key)) for key in keys]

    def encoded_after(self, photo_id: int, limit: int) -> list[tuple[int, bytes]]:
        """As `records_after`, each photo_id with its record as it is stored."""
        with self.snapshot() as reading:
            rows = itertools.islice(reading.rows("photos", id_bytes(photo_id + 1)), limit)
            return [(int.from_bytes(key, "big"), value) for key, value in rows]

    def has_photos(self, photo_ids: Ids) -> npt.NDArray[np.bool_]:
        """bool[n]: which are in the catalog and not missing."""
        keys = _keys(b"", photo_ids)
        with self.snapshot() as reading:
            present = reading.present("photos", keys) - reading.present("missing", keys)
        return np.fromiter((key in present for key in keys), np.bool_, len(keys))

    def photo_ids(self) -> Ids:
        """All photos that are not missing, sorted."""
        with self.snapshot() as reading:
            missing = reading.ids("missing")
            return np.setdiff1d(reading.ids("photos"), missing, assume_unique=True)

    def photo_id_of(self, path: bytes) -> int | None:
        """The photo at this path, also while its newest version fails to be read."""
        with self.snapshot() as reading:
            return reading.photo_at(file_key(path)) or None

    def file_entry(self, path: bytes) -> FileEntry | None:
        """What is known of the file at this path."""
        with self.snapshot() as reading:
            entry = reading.get("files", file_key(path))
        if entry is None:
            return None
        size, mtime_ns, photo_id, profile_key = _file_entry(entry)
        return FileEntry(Stat(size, mtime_ns), photo_id, profile_key)

    def folder_entries(self, folder: bytes) -> dict[bytes, bytes]:
        """File name → file entry (see FILE_ENTRY) of one folder: what a scan compares with."""
        with self.snapshot() as reading:
            return reading.folder("files", folder_hash(folder))

    def folder_sidecars(self, folder: bytes) -> dict[bytes, bytes]:
        """File name → entry (see SIDECAR_ENTRY) of the sidecars that are known in one folder."""
        with self.snapshot() as reading:
            return reading.folder("sidecars", folder_hash(folder)) if reading.has("sidecars") else {}

    def sidecar_stat(self, path: bytes) -> Stat | None:
        """The stat by which the sidecar at this path is known."""
        with self.snapshot() as reading:
            entry = reading.get("sidecars", file_key(path)) if reading.has("sidecars") else None
        return None if entry is None else Stat(*SIDECAR_ENTRY.unpack(entry))

    def folders_under(self, root: bytes) -> list[bytes]:
        """The folders at or below `root` that hold photos or failures, sorted."""
        top = root.rstrip(b"/")
        with self.snapshot() as reading:
            paths = (path for _, path in reading.rows("folders"))
            return sorted(path for path in paths if path == (top or b"/") or path.startswith(top + b"/"))

    def any_photo_of_size(self, size: int) -> bool:
        """Whether a photo of exactly `size` bytes is known: if not, it can't have moved here."""
        prefix = _U64.pack(size)
        with self.snapshot() as reading:
            return next(reading.rows_with("contents", prefix), None) is not None

    def contents(self, with_missing: bool) -> list[tuple[bytes, int]]:
        """The content and photo_id of every photo, by size."""
        with self.snapshot() as reading:
            left_out = set() if with_missing else set(reading.ids("missing").tolist())
            keys = (key for key, _ in reading.rows("contents"))
            pairs = ((key[8:24], int.from_bytes(key[24:], "big")) for key in keys)
            return [pair for pair in pairs if pair[1] not in left_out]

    def photos_with_content(self, size: int, content: bytes) -> list[int]:
        """The photos, missing ones too, with this size and content, by photo_id."""
        prefix = _U64.pack(size) + content
        with self.snapshot() as reading:
            return [int.from_bytes(key[24:], "big") for key, _ in reading.rows_with("contents", prefix)]

    def failures(self) -> list[Failure]:
        """All failures, by folder and name."""
        with self.snapshot() as reading:
            return [_failure(value) for _, value in reading.rows("failures")]

    def failure(self, path: bytes) -> Failure | None:
        """The failure of the photo at this path."""
        with self.snapshot() as reading:
            return reading.failure(file_key(path))

    def counts(self) -> Counts:
        """How much the catalog holds, all of one commit."""
        with self.snapshot() as reading:
            missing = reading.entries("missing")
            return Counts(
                indexed=reading.entries("photos") - missing,
                missing=missing,
                failed=reading.entries("failures"),
                commit=reading.number("commit"),
            )

    # -- embeddings ------------------------------------------------------------------------------

    def spaces(self) -> dict[str, int]:
        """Embedding space → dimension."""
        with self.snapshot() as reading:
            return reading.spaces()

    def embeddings(self, space: str, photo_ids: Ids) -> tuple[Ids, Halves]:
        """The embeddings of these photos that exist: ids int64[n], float16[n, D], in the order asked for."""
        prefix = space_key(space)
        with self.snapshot() as reading:
            rows = reading.many("embeddings", _keys(prefix, photo_ids))
            return _matrix(rows, reading.spaces().get(space, 0))

    def iter_embeddings(self, space: str, after_id: int, limit: int) -> tuple[Ids, Halves]:
        """Up to `limit` embeddings with a larger photo_id, in that order: ids int64[n], float16[n, D]."""
        prefix = space_key(space)
        with self.snapshot() as reading:
            rows = reading.rows_with("embeddings", prefix, prefix + id_bytes(after_id + 1))
            return _matrix(list(itertools.islice(rows, limit)), reading.spaces().get(space, 0))

    def _check_version(self) -> None:
        with self.snapshot() as reading:
            version = reading.number("format")
        if version == 0:
            raise no_catalog(self.folder.parent)
        if version > FORMAT_VERSION:
            raise CatalogVersionError(
                f"{self.folder.parent}: written by a newer catalogd (format {version}, this one reads "
                f"{FORMAT_VERSION}): install the newer catalogd (pip install -U catalogd)"
            )


class Reading(Tables):
    """The tables as one transaction sees them; writes too inside `Store.write`."""

    def folder(self, table: str, prefix: bytes) -> dict[bytes, bytes]:
        """File name → entry of the folder with this hash."""
        entries: dict[bytes, bytes] = {}
        end = prefix + b"\xff" * (LONGEST_NAME_BYTES + 1)  # compared without a slice: a scan's inner loop
        with self._lmdb.cursor(self._tables[table]) as cursor:
            if cursor.set_range(prefix):
                for key, value in cursor.iternext():
                    if key > end:
                        break
                    entries[key[8:]] = value
        return entries

    def number(self, name: str) -> int:
        """A number of `meta`; 0 when it was never set."""
        value = self.get("meta", name.encode())
        return _U64.unpack(value)[0] if value else 0

    def set_number(self, name: str, value: int) -> None:
        self.put("meta", name.encode(), _U64.pack(value))

    def mark(self, name: str) -> int | None:
        value = self.get("meta", f"mark:{name}".encode())
        return None if value is None else int(_U64.unpack(value)[0])

    def set_mark(self, name: str, value: int | None) -> None:
        """See Store.set_mark."""
        key = f"mark:{name}".encode()
        if value is None:
            self.delete("meta", key)
        else:
            self.put("meta", key, _U64.pack(value))
        _trim(self)

    def marks(self) -> dict[str, int]:
        """All marks by name."""
        rows = self.rows_with("meta", b"mark:")
        return {key[5:].decode(): _U64.unpack(value)[0] for key, value in rows}

    def photo(self, photo_id: int) -> Record | None:
        value = self.get("photos", id_bytes(photo_id))
        return None if value is None else _record(value)

    def failure(self, key: bytes) -> Failure | None:
        value = self.get("failures", key)
        return None if value is None else _failure(value)

    def photo_at(self, key: bytes) -> int:
        """The photo_id of the record at a file key, 0 when there is none."""
        entry = self.get("files", key)
        if entry is None:
            return 0
        photo_id = _file_entry(entry)[2]
        if photo_id == 0:
            failure = self.failure(key)
            return failure.photo_id if failure else 0
        return photo_id

    def spaces(self) -> dict[str, int]:
        return dict(msgspec.msgpack.decode(value, type=tuple[str, int]) for _, value in self.rows("spaces"))

    def changes_since(self, commit: int, most: int | None = None) -> tuple[Ids, Ids]:
        """See Store.changes_since."""
        if commit < self.number("trimmed"):
            raise ChangesTrimmedError(
                f"the change log starts after commit {self.number('trimmed')}, not {commit}"
            )
        keys: list[bytes] = []
        last = b""
        with self._lmdb.cursor(self._tables["commits"]) as cursor:
            if cursor.set_range(_U64.pack(commit + 1)):
                for key in cursor.iternext(keys=True, values=False):
                    if most is not None and len(keys) >= most and key[:8] != last:
                        break
                    last = key[:8]
                    keys.append(key)
        pairs = np.frombuffer(b"".join(keys), ">i8").astype(np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


class _Commit:
    """Applies changes to the tables inside one write transaction, and logs which photos they touched."""

    def __init__(self, reading: Reading, profile_key: bytes, now: float) -> None:
        self._tables = reading
        self._profile_key = profile_key
        self._now = now
        self._spaces = reading.spaces()
        self._touched: set[int] = set()
        self._known_folders: set[bytes] = set()
        self._left_folders: set[bytes] = set()
        self._codes = TermCodes(reading)
        self._counting = Counting(reading)

    def apply_all(self, changes: Sequence[Change]) -> int:
        for change in changes:
            if isinstance(change, Record):
                self.add(change)
            elif isinstance(change, Failure):
                self.fail(change)
            elif isinstance(change, Moved):
                self.move(change)
            elif isinstance(change, Missing):
                self.lose(change)
            elif isinstance(change, SidecarsKnown):
                self.know_sidecars(change)
            else:
                self.retry(change)
        return self.finish()

    def finish(self) -> int:
        """Write the change log and the commit number; returns the number."""
        for folder in self._left_folders:
            if next(self._tables.rows_with("files", folder), None) is None:
                self._tables.delete("folders", folder)
                for key in [key for key, _ in self._tables.rows_with("sidecars", folder)]:
                    self._tables.delete("sidecars", key)
        former = self._tables.number("commit")
        commit = former + 1
        number = _U64.pack(commit)
        self._counting.finish(former, commit)
        for photo_id in sorted(self._touched):
            self._tables.put("commits", number + id_bytes(photo_id), b"")
        self._tables.put("meta", b"commit", number)
        self._tables.put("meta", COLUMNS_COMMIT.encode(), number)
        return commit

    # -- the six changes -------------------------------------------------------------------------

    def add(self, new: Record) -> None:
        """A photo was read: new, changed in place, back again, or with more outputs than before."""
        if not _fits(new.path):
            return
        key = file_key(new.path)
        old = self._record_for(key, new)
        same = old is not None and (old.content, old.stat.size) == (new.content, new.stat.size)
        before = old.outputs if old is not None else {}
        record = msgspec.structs.replace(
            new,
            outputs={**before, **new.outputs} if same else new.outputs,
            photo_id=old.photo_id if old is not None else self._new_id(new),
            added_at=(old.added_at if old is not None else new.added_at) or self._now,
            missing_since=None,
            user=old.user if old is not None else None,
            is_partial=False,
        )
        if old is not None and not same:
            self._tables.delete("contents", content_key(old))
        record = self._place_embeddings(record, spaces_of(before))
        self._counting.note(old, record)
        self.put_photo(record)
        # Of a photo that changed since only some of its models were asked for, the others must run too.
        partial = new.is_partial or not before.keys() <= record.outputs.keys()
        profile_key = STALE_PROFILE if partial else self._key_of(key, kept=same)
        self.put_file(new.path, new.stat, record.photo_id, profile_key)
        self._tables.delete("failures", key)
        self._tables.delete("missing", id_bytes(record.photo_id))

    def fail(self, failure: Failure) -> None:
        """A photo could not be read or inferred: what is known of it stays, the failure is shown."""
        if not _fits(failure.path):
            return
        key = file_key(failure.path)
        stored = self._tables.failure(key)
        tries = failure.tries
        if stored is not None and stored.stat == failure.stat:
            again = failure.failed_at != 0.0 and stored.failed_at == failure.failed_at
            tries = stored.tries if again else stored.tries + failure.tries
        kept = msgspec.structs.replace(
            failure,
            tries=tries,
            failed_at=failure.failed_at or self._now,
            photo_id=self._tables.photo_at(key),
        )
        self._tables.put("failures", key, encode(kept))
        self.put_file(failure.path, entry_stat(failure), 0, self._key_of(key, kept=False))

    def _key_of(self, key: bytes, kept: bool) -> bytes:
        """The profile key of a file that this commit touches; `kept`: its picture is as it was."""
        if self._profile_key != KEPT_PROFILE:
            return self._profile_key
        entry = self._tables.get("files", key) if kept else None
        failed = entry is None or entry[FILE_ENTRY_PHOTO] == bytes(8)
        return STALE_PROFILE if entry is None or failed else entry[FILE_ENTRY_PROFILE]

    def move(self, moved: Moved) -> None:
        """A known photo is at another path now, or back at its own after it was missing.

        Its outputs stay those that they were, and so does its profile key, unless the move says
        that they are those of this commit's profile.
        """
        record = self._tables.photo(moved.photo_id)
        if record is None or not _fits(moved.path):
            log.warning("not moved, because it is not in the catalog: %s", display_path(moved.path))
            return
        profile_key = self._leave(record)
        if moved.current:
            profile_key = self._profile_key
        displaced = self._tables.photo_at(file_key(moved.path))
        if displaced:
            self._set_missing(displaced, self._now)
        self._tables.delete("failures", file_key(moved.path))
        self._tables.delete("contents", content_key(record))
        here = msgspec.structs.replace(record, path=moved.path, stat=moved.stat, missing_since=None)
        self._counting.note(record, here)
        self.put_photo(here)
        self.put_file(moved.path, moved.stat, record.photo_id, profile_key)

    def lose(self, missing: Missing) -> None:
        """The file at a path is gone: its photo is kept but not found, its failure is dropped."""
        key = file_key(missing.path)
        photo_id = self._tables.photo_at(key)
        if photo_id:
            self._set_missing(photo_id, missing.since)
        self._drop_file(key)

    def know_sidecars(self, known: SidecarsKnown) -> None:
        """The sidecars of a folder that holds photos are known as they are now."""
        folder = folder_hash(known.path)
        if self._tables.get("folders", folder) is None:
            return
        for name, stat in known.sidecars.items():
            if stat is None:
                self._tables.delete("sidecars", folder + name)
            else:
                self._tables.put("sidecars", folder + name, SIDECAR_ENTRY.pack(stat.size, stat.mtime_ns))

    def retry(self, retry: Retry) -> None:
        """Drop a failure, or the outputs that failed, so that the next scan takes the photo up again."""
        key = file_key(retry.path)
        record = self._tables.photo(self._tables.photo_at(key))
        if self._tables.failure(key) is not None:
            self._drop_file(key)
        if record is None:
            return
        sound = {name: output for name, output in record.outputs.items() if output.error is None}
        if len(sound) < len(record.outputs):
            self.put_outputs(record, sound)
        self.put_file(retry.path, record.stat, record.photo_id, STALE_PROFILE)

    def put_outputs(self, record: Record, outputs: dict[str, Output]) -> None:
        """The photo with these of its outputs alone."""
        kept = msgspec.structs.replace(record, outputs=outputs)
        self._counting.note(record, kept)
        self.put_photo(self._place_embeddings(kept, spaces_of(record.outputs)))

    def forget(self, photo_id: int) -> None:
        """Remove a missing photo with all that is kept of it."""
        record = self._tables.photo(photo_id)
        if record is not None:
            self._tables.delete("contents", content_key(record))
            for space in spaces_of(record.outputs):
                self._tables.delete("embeddings", space_key(space) + id_bytes(photo_id))
        self._tables.delete("photos", id_bytes(photo_id))
        self._tables.delete("missing", id_bytes(photo_id))
        self._tables.delete("columns", id_bytes(photo_id))
        self._touched.add(photo_id)

    def set_user(self, photo_id: int, user: UserFacts | None) -> bool:
        """Let a record say this of what a person set; False where it does, or there is none."""
        value = self._tables.get("photos", id_bytes(photo_id))
        if value is None or _decode_user(value).user == user:
            return False
        record = msgspec.structs.replace(_record(value), user=user)
        self._tables.put("photos", id_bytes(photo_id), encode(record))
        self.put_row(record)
        self._touched.add(photo_id)
        return True

    def touch(self, photo_id: int) -> None:
        """Put a photo into the change log of this commit."""
        self._touched.add(photo_id)

    # -- their parts -----------------------------------------------------------------------------

    def _record_for(self, key: bytes, new: Record) -> Record | None:
        """The photo that `new` is a version of: the one at its path, or a missing one come back there."""
        photo_id = self._tables.photo_at(key)
        if photo_id:
            return self._tables.photo(photo_id)
        prefix = _U64.pack(new.stat.size) + new.content
        for row, _ in self._tables.rows_with("contents", prefix):
            record = self._tables.photo(int.from_bytes(row[24:], "big"))
            if record is not None and record.missing_since is not None and record.path == new.path:
                return record
        return None

    def _new_id(self, record: Record) -> int:
        """A positive number that no photo has: a hash of path and content, counted up while taken."""
        photo_id = xxhash.xxh3_64_intdigest(record.path + b"\0" + record.content) & LARGEST_ID
        while photo_id == 0 or self._tables.get("photos", id_bytes(photo_id)) is not None:
            photo_id = (photo_id + 1) & LARGEST_ID
        return photo_id

    def put_photo(self, record: Record) -> None:
        self._tables.put("photos", id_bytes(record.photo_id), encode(record))
        self._tables.put("contents", content_key(record), b"")
        self.put_row(record)
        self._touched.add(record.photo_id)

    def put_row(self, record: Record) -> None:
        """What filters ask for; a missing photo is not found, and so has none."""
        if record.missing_since is None:
            self._tables.put("columns", id_bytes(record.photo_id), row_of(record, self._codes.code))
        else:
            self._tables.delete("columns", id_bytes(record.photo_id))

    def put_file(self, path: bytes, stat: Stat, photo_id: int, profile_key: bytes) -> None:
        key = file_key(path)
        self._tables.put("files", key, FILE_ENTRY.pack(stat.size, stat.mtime_ns, photo_id, profile_key))
        folder = key[:8]
        if folder not in self._known_folders:
            self._known_folders.add(folder)
            self._tables.put("folders", folder, path.rpartition(b"/")[0] or b"/")

    def _drop_file(self, key: bytes) -> None:
        self._tables.delete("failures", key)
        if self._tables.delete("files", key):
            self._known_folders.discard(key[:8])
            self._left_folders.add(key[:8])

    def _leave(self, record: Record) -> bytes:
        """Take a photo from its path, if it is there; returns the profile key it had."""
        row = self._tables.get("missing", id_bytes(record.photo_id))
        if row is not None:
            self._tables.delete("missing", id_bytes(record.photo_id))
            return row[8:]
        key = file_key(record.path)
        entry = self._tables.get("files", key)
        if entry is None or self._tables.photo_at(key) != record.photo_id:
            return STALE_PROFILE
        self._drop_file(key)
        failed = entry[FILE_ENTRY_PHOTO] == bytes(8)
        return STALE_PROFILE if failed else entry[FILE_ENTRY_PROFILE]

    def _set_missing(self, photo_id: int, since: float) -> None:
        record = self._tables.photo(photo_id)
        if record is None:
            return
        profile_key = self._leave(record)
        self._tables.put("missing", id_bytes(photo_id), MISSING_ENTRY.pack(since, profile_key))
        self._counting.note(record, None)
        self.put_photo(msgspec.structs.replace(record, missing_since=since))

    def _place_embeddings(self, record: Record, before: dict[str, bytes]) -> Record:
        """Put the record's embeddings into their table and take those of replaced outputs out of it."""
        key = id_bytes(record.photo_id)
        spaces = spaces_of(record.outputs)
        for space in before.keys() - spaces.keys():
            self._tables.delete("embeddings", space_key(space) + key)
        lost = set()
        for space, embedding in spaces.items():
            if embedding != HELD_APART:
                self._check_space(space, len(embedding) // 2)
                self._tables.put("embeddings", space_key(space) + key, embedding)
            elif space not in before:
                lost.add(space)
        outputs = {name: _held_apart(output, lost) for name, output in record.outputs.items()}
        return msgspec.structs.replace(record, outputs=outputs)

    def _check_space(self, space: str, dimension: int) -> None:
        """All embeddings of a space have its dimension; the first one sets it."""
        known = self._spaces.setdefault(space, dimension)
        if known != dimension:
            raise CatalogError(
                f"{space}: an embedding of {dimension} numbers in a space of {known}: "
                "the model changed without a new fingerprint"
            )
        if self._tables.get("spaces", space_key(space)) is None:
            self._tables.put("spaces", space_key(space), msgspec.msgpack.encode((space, dimension)))


class _Repair:
    """Rebuilds every table that follows from `photos` and `failures`, keeping what they agree on."""

    def __init__(self, reading: Reading) -> None:
        self._tables = reading
        self._commit = _Commit(reading, STALE_PROFILE, time.time())
        self._old_files = dict(reading.rows("files"))
        self._old_missing = dict(reading.rows("missing"))
        self._spaces = reading.spaces()
        self._held: set[bytes] = set()  # keys of `embeddings` that a record speaks of
        self._at: dict[bytes, int] = {}  # file key → photo_id

    def run(self) -> None:
        failures = list(self._tables.rows("failures"))
        for table in ("files", "folders", "contents", "missing", "failures", "columns", "terms"):
            self._tables.clear(table)
        for key in [key for key, _ in self._tables.rows("photos")]:
            self._photo(key)
        _set_columns(self._tables, _ALL_PHOTOS)
        for key, value in failures:
            self._failure(key, value)
        for key in [key for key, _ in self._tables.rows("embeddings")]:
            if key not in self._held:
                self._tables.delete("embeddings", key)
        self._change_log()
        self._commit.finish()
        forget_count(self._tables)

    def _photo(self, key: bytes) -> None:
        photo_id = int.from_bytes(key, "big")
        try:
            record = decode_record(self._tables.get("photos", key) or b"")
        except msgspec.DecodeError:
            record = None
        if record is None or record.photo_id != photo_id or len(record.content) != 16:
            self._tables.delete("photos", key)
            self._commit.touch(photo_id)
            return
        whole = {name: out for name, out in record.outputs.items() if self._embeddings_of(key, out)}
        lossless = len(whole) == len(record.outputs)
        file = file_key(record.path)
        if record.missing_since is None and file in self._at:  # another photo is there
            record = msgspec.structs.replace(record, missing_since=time.time())
        self._commit.put_photo(msgspec.structs.replace(record, outputs=whole))
        if record.missing_since is not None:
            profile_key = self._old_missing.get(key, STALE_PROFILE)[-8:] if lossless else STALE_PROFILE
            self._tables.put("missing", key, MISSING_ENTRY.pack(record.missing_since, profile_key))
            return
        self._at[file] = photo_id
        old = self._old_files.get(file, b"")
        agreed = (
            lossless
            and old[:24] == FILE_ENTRY.pack(record.stat.size, record.stat.mtime_ns, photo_id, b"")[:24]
        )
        self._commit.put_file(record.path, record.stat, photo_id, old[24:32] if agreed else STALE_PROFILE)

    def _embeddings_of(self, key: bytes, output: Output) -> bool:
        """Whether all embeddings that the output speaks of are there, in full length."""
        wanted = spaces_of({"": output})
        rows = {space_key(space) + key: 2 * self._spaces.get(space, 0) for space in wanted}
        whole = all(len(self._tables.get("embeddings", row) or b"") == size > 0 for row, size in rows.items())
        if whole:
            self._held |= rows.keys()
        return whole

    def _failure(self, key: bytes, value: bytes) -> None:
        try:
            failure = decode_failure(value)
        except msgspec.DecodeError:
            return
        if file_key(failure.path) == key:
            failure = msgspec.structs.replace(failure, photo_id=self._at.get(key, 0))
            self._tables.put("failures", key, encode(failure))
            old = self._old_files.get(key, b"")
            profile_key = old[FILE_ENTRY_PROFILE] if len(old) == FILE_ENTRY.size else STALE_PROFILE
            self._commit.put_file(failure.path, entry_stat(failure), 0, profile_key)

    def _change_log(self) -> None:
        """Drop rows and marks that lie outside the commits there were."""
        last, trimmed = self._tables.number("commit"), self._tables.number("trimmed")
        for key in [key for key, _ in self._tables.rows("commits")]:
            if len(key) != 16 or not trimmed < _U64.unpack(key[:8])[0] <= last:
                self._tables.delete("commits", key)
        for name, mark in self._tables.marks().items():
            if mark > last:
                self._tables.delete("meta", f"mark:{name}".encode())


def _held_apart(output: Output, lost: set[str]) -> Output:
    """The output as `photos` keeps it: b"" where an embedding lies in its own table."""
    if output.embedding is None and output.joint_embedding is None:
        return output
    embedding, joint = output.embedding, output.joint_embedding
    return msgspec.structs.replace(
        output,
        embedding=None if embedding is None or output.fingerprint in lost else HELD_APART,
        joint_embedding=None if joint is None or output.fingerprint + JOINT in lost else HELD_APART,
    )


def _with_embeddings(reading: Reading, record: Record) -> Record:
    def stored(space: str, held: bytes | None) -> bytes | None:
        return (
            None if held is None else reading.get("embeddings", space_key(space) + id_bytes(record.photo_id))
        )

    outputs = {
        name: msgspec.structs.replace(
            output,
            embedding=stored(output.fingerprint, output.embedding),
            joint_embedding=stored(output.fingerprint + JOINT, output.joint_embedding),
        )
        for name, output in record.outputs.items()
    }
    return msgspec.structs.replace(record, outputs=outputs)


def _record(value: bytes) -> Record:
    try:
        return decode_record(value)
    except msgspec.DecodeError as error:
        raise _damaged("a record", error) from error


def _failure(value: bytes) -> Failure:
    try:
        return decode_failure(value)
    except msgspec.DecodeError as error:
        raise _damaged("a failure", error) from error


def _file_entry(value: bytes) -> tuple[int, int, int, bytes]:
    try:
        size, mtime_ns, photo_id, profile_key = FILE_ENTRY.unpack(value)
    except struct.error as error:
        raise _damaged("a file entry", error) from error
    return size, mtime_ns, photo_id, profile_key


def _damaged(what: str, error: Exception) -> CatalogDamagedError:
    return CatalogDamagedError(f"{what} can't be read ({error}): run `catalogd check --repair`")


def _fits(path: bytes) -> bool:
    if len(path) - path.rfind(b"/") - 1 <= LONGEST_NAME_BYTES:
        return True
    log.warning(
        "left out, because its name is longer than %d bytes: %s", LONGEST_NAME_BYTES, display_path(path)
    )
    return False


def _keys(prefix: bytes, photo_ids: Ids) -> list[bytes]:
    packed = np.asarray(photo_ids, ">i8").tobytes()
    return [prefix + packed[start : start + 8] for start in range(0, len(packed), 8)]


def _matrix(rows: list[tuple[bytes, bytes]], dimension: int) -> tuple[Ids, Halves]:
    """Rows of `embeddings` as ids int64[n] and float16[n, D]."""
    ids = np.frombuffer(b"".join(key[8:] for key, _ in rows), ">i8").astype(np.int64)
    try:
        matrix = np.frombuffer(b"".join(value for _, value in rows), "<f2").reshape(len(rows), dimension)
    except ValueError:
        raise CatalogDamagedError(
            "an embedding has the wrong length: run `catalogd check --repair`"
        ) from None
    return ids, matrix


def _prepare(reading: Reading) -> None:
    """Give a new store its format version, and begin the rows that this version makes."""
    if reading.number("format") == 0:
        reading.set_number("format", FORMAT_VERSION)
    made_by = reading.number(COLUMNS_BY), reading.number(COLUMNS_COMMIT)
    if reading.number("format") <= FORMAT_VERSION and made_by != (ROW_VERSION, reading.number("commit")):
        _clear_columns(reading)


def _clear_columns(reading: Reading) -> None:
    reading.clear("columns")
    reading.clear("terms")
    _set_columns(reading, 0 if reading.entries("photos") else _ALL_PHOTOS)


def _set_columns(reading: Reading, made_to: int) -> None:
    """The rows are by this version and of the last commit, for photos up to `made_to`."""
    reading.set_number(COLUMNS_BY, ROW_VERSION)
    reading.set_number(COLUMNS_TO, made_to)
    reading.set_number(COLUMNS_COMMIT, reading.number("commit"))


def columns_are_complete(reading: Reading) -> bool:
    """Whether every photo has a row that this version reads."""
    return (
        reading.has("columns")
        and reading.number(COLUMNS_BY) == ROW_VERSION
        and reading.number(COLUMNS_TO) == _ALL_PHOTOS
        and reading.number(COLUMNS_COMMIT) == reading.number("commit")
    )


def _make_columns_page(reading: Reading) -> bool:
    """The rows of the photos that follow the last one that has its; False when there are no more."""
    ids = reading.ids_after("photos", reading.number(COLUMNS_TO), COLUMNS_PAGE)
    commit = _Commit(reading, STALE_PROFILE, time.time())
    for photo_id in ids.tolist():
        try:
            record = decode_record(reading.get("photos", id_bytes(photo_id)) or b"")
        except msgspec.DecodeError:  # `check` tells of it
            continue
        commit.put_row(record)
    reading.set_number(COLUMNS_TO, int(ids[-1]) if len(ids) else _ALL_PHOTOS)
    return len(ids) > 0


def _trim(reading: Reading) -> None:
    """Drop the change log that every mark, and any reader not far behind them, has passed."""
    marks = reading.marks()
    reached = min(marks.values(), default=0) - KEPT_COMMITS
    trimmed = reading.number("trimmed")
    if reached <= trimmed:
        return
    end = _U64.pack(reached + 1)
    old = list(itertools.takewhile(lambda key: key < end, (key for key, _ in reading.rows("commits"))))
    for key in old:
        reading.delete("commits", key)
    reading.put("meta", b"trimmed", _U64.pack(reached))
