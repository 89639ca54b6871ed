"""Whether the stores of a catalog agree: the tables with each other, text index and time line with them.

Only reads, from one snapshot, so that it holds while a writer works. It is the oracle of every
crash test: a row too many, too few or too old is a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from catalogd.catalog import timeline
from catalogd.catalog.arrangement import Rows, arrange
from catalogd.catalog.environment import Ids, id_bytes
from catalogd.catalog.photo_row import row_of
from catalogd.catalog.store import (
    FILE_ENTRY,
    FILE_ENTRY_STAT,
    MISSING_ENTRY,
    ChangesTrimmedError,
    Reading,
    columns_are_complete,
    content_key,
    entry_stat,
    file_key,
    folder_hash,
    space_key,
    spaces_of,
)
from catalogd.catalog.terms import TermCodes, wrong_terms
from catalogd.catalog.text_index import TextIndex, document_of_encoded
from catalogd.errors import CatalogDamagedError
from catalogd.records import Record, decode_failure, decode_record, display_path
from catalogd.settings import Settings

Kind = TypeVar("Kind")


class Difference(NamedTuple):
    """One thing that two stores say differently. `photo_id` is 0 where none is concerned."""

    store: str  # a table of LMDB, "text", "timeline", "names", or "embeddings" with the space
    photo_id: int
    text: str


def check_tables(reading: Reading, deep: bool = False) -> list[Difference]:
    """Compare the tables with each other; `deep` looks at the numbers of the embeddings too."""
    return list(_Tables(reading, deep).differences())


def check_text(reading: Reading, text: TextIndex, mark: int, deep: bool = False) -> list[Difference]:
    """Compare the text index with the photos, apart from those committed after `mark`.

    `mark` was read before `text` was opened, and `text` was opened before `reading`: then all that
    the index may know or not know yet is in the change log. `deep` makes every document again and
    compares what it says.
    """
    try:
        pending = set(reading.changes_since(mark)[1].tolist())
    except ChangesTrimmedError as error:
        return [Difference("text", 0, f"the text index fell too far behind: {error}")]
    expected = set(np.setdiff1d(reading.ids("photos"), reading.ids("missing")).tolist()) - pending
    indexed = text.ids()
    found = set(indexed.tolist()) - pending
    differences = [Difference("text", photo_id, "not in the text index") for photo_id in expected - found]
    differences += [Difference("text", photo_id, "in the text index only") for photo_id in found - expected]
    twice = np.unique(indexed[1:][indexed[1:] == indexed[:-1]])
    differences += [Difference("text", int(photo_id), "in the text index twice") for photo_id in twice]
    if deep:
        digests = text.digests()
        for photo_id in expected & found:
            document = document_of_encoded(reading.get("photos", id_bytes(photo_id)))
            if document is not None and document["digest"] != digests[photo_id]:
                differences.append(Difference("text", photo_id, "the text index has an older version"))
    return sorted(differences, key=lambda difference: difference.photo_id)


def check_columns(reading: Reading, deep: bool = False) -> list[Difference]:
    """Compare what filters ask for with the photos; `deep` makes every row again.

    Rows that are still being made, of a catalog that another version wrote, are not looked at.
    """
    if not columns_are_complete(reading):
        return []
    present = np.setdiff1d(reading.ids("photos"), reading.ids("missing"))
    found = reading.ids("columns")
    differences = [
        Difference("columns", int(photo_id), text)
        for text, ids in (
            ("no row for filters", np.setdiff1d(present, found)),
            ("a row for filters of no photo", np.setdiff1d(found, present)),
        )
        for photo_id in ids
    ]
    differences += [Difference("terms", 0, text) for text in wrong_terms(reading)]
    codes = TermCodes(reading)
    for photo_id in np.intersect1d(present, found).tolist() if deep else ():
        record = _decoded(decode_record, reading.get("photos", id_bytes(photo_id)) or b"")
        if record is not None and row_of(record, codes.known) != reading.get("columns", id_bytes(photo_id)):
            differences.append(Difference("columns", photo_id, "filters have an older version"))
    return differences


def check_timeline(reading: Reading, settings: Settings, deep: bool = False) -> list[Difference]:
    """Compare the time line with the photos, apart from those committed after its mark.

    What is arranged is arranged again; `deep` also makes every moment again.
    """
    if not timeline.is_followed(reading):
        photos = reading.entries("photos")
        return [Difference("timeline", 0, "there is no time line")] if photos else []
    try:
        pending = reading.changes_since(reading.mark(timeline.MARK) or 0)[1]
        ids, moments = timeline.read_moments(reading)
    except (ChangesTrimmedError, CatalogDamagedError) as error:
        return [Difference("timeline", 0, str(error))]
    present = np.setdiff1d(reading.ids("photos"), reading.ids("missing"))
    differences = [
        Difference("timeline", int(photo_id), text)
        for text, found in (
            ("not in the time line", np.setdiff1d(present, ids)),
            ("in the time line only", np.setdiff1d(ids, present)),
            ("the time line has an older version", _old_moments(reading, ids, moments) if deep else ids[:0]),
        )
        for photo_id in np.setdiff1d(found, pending)
    ]
    if timeline.is_arranged(reading, settings):
        arranged = arrange(ids, moments, settings)
        tables = timeline.differing_tables(reading, ids, arranged)
        differences += [Difference("timeline", 0, f"{table} differ from the moments") for table in tables]
    return sorted(differences, key=lambda difference: difference.photo_id)


def _old_moments(reading: Reading, ids: Ids, moments: Rows) -> Ids:
    """The photos whose moment, made again, is another one: int64[n]."""
    old = []
    for start in range(0, len(ids), timeline.PAGE_PHOTOS):
        page = slice(start, start + timeline.PAGE_PHOTOS)
        present, again = timeline.moments_of(reading, ids[page])
        stored = moments[page][np.isin(ids[page], present)]
        differ = [one.tobytes() != other.tobytes() for one, other in zip(again, stored, strict=True)]
        old += present[np.array(differ, bool)].tolist()
    return np.array(old, np.int64)


class _Tables:
    """One walk over each table.

    Every photo is asked for the rows it must have. Rows that no photo asked for show in the counts,
    and only then are looked for one by one.
    """

    def __init__(self, reading: Reading, deep: bool) -> None:
        self._tables = reading
        self._deep = deep
        self._spaces = reading.spaces()
        self._present = self._missing = self._embeddings = 0

    def differences(self) -> Iterator[Difference]:
        yield from self._photos()
        yield from self._files()
        yield from self._failures()
        yield from self._superfluous("missing", self._missing, self._belongs_missing)
        yield from self._superfluous("contents", self._present + self._missing, self._belongs_contents)
        yield from self._superfluous("embeddings", self._embeddings, self._belongs_embedding)
        yield from self._change_log()

    def _photos(self) -> Iterator[Difference]:
        for key, value in self._tables.rows("photos"):
            photo_id = int.from_bytes(key, "big")
            record = _decoded(decode_record, value)
            if record is None or record.photo_id != photo_id:
                yield Difference("photos", photo_id, "the record can't be read")
                continue
            for store, message in (*self._place(record), *self._embeddings_of(record)):
                yield Difference(store, photo_id, f"{message}: {record.name}")

    def _place(self, record: Record) -> Iterator[tuple[str, str]]:
        """What is wrong with how a photo stands in contents, missing and files."""
        if self._tables.get("contents", content_key(record)) is None:
            yield "contents", "not found by its content"
        key = file_key(record.path)
        here = self._photo_at(key) == record.photo_id
        row = self._tables.get("missing", id_bytes(record.photo_id))
        if record.missing_since is None:
            self._present += 1
            entry = self._tables.get("files", key) or b""
            stat = FILE_ENTRY.pack(record.stat.size, record.stat.mtime_ns, record.photo_id, b"")
            failed = entry[16:24] == bytes(8)
            if not here or not (failed or entry[:24] == stat[:24]):
                yield "files", "the file's entry is not of this photo"
            if row is not None:
                yield "missing", "listed as missing, but it is not"
            return
        self._missing += 1
        if here:
            yield "files", "missing, but its file has an entry"
        if row is None or MISSING_ENTRY.unpack(row)[0] != record.missing_since:
            yield "missing", "missing, but not listed as such"

    def _embeddings_of(self, record: Record) -> Iterator[tuple[str, str]]:
        for space, held in spaces_of(record.outputs).items():
            self._embeddings += 1
            value = self._tables.get("embeddings", space_key(space) + id_bytes(record.photo_id))
            if value is None or held:
                yield "embeddings", f"no embedding in {space}"
            elif len(value) != 2 * self._spaces.get(space, 0):
                yield "embeddings", f"an embedding of {len(value)} bytes in {space}"
            elif self._deep and not np.isfinite(np.frombuffer(value, "<f2")).all():
                yield "embeddings", f"an embedding that is not finite in {space}"

    def _files(self) -> Iterator[Difference]:
        folders = dict(self._tables.rows("folders"))
        used = set()
        with_photo = 0
        for key, entry in self._tables.rows("files"):
            used.add(key[:8])
            if len(entry) != FILE_ENTRY.size:
                yield Difference("files", 0, f"an entry of {len(entry)} bytes: {key.hex()}")
            elif entry[16:24] == bytes(8) and not self._failed_at(key, entry):
                yield Difference("files", 0, f"a failed photo without its failure: {key.hex()}")
            with_photo += bool(self._photo_at(key))
        if with_photo != self._present:
            yield from self._foreign_files(folders)
        for prefix in used ^ folders.keys():
            yield Difference("folders", 0, f"folder and files don't belong together: {prefix.hex()}")
        for prefix, path in folders.items():
            if folder_hash(path) != prefix:
                yield Difference("folders", 0, f"a wrong key: {display_path(path)}")

    def _failed_at(self, key: bytes, entry: bytes) -> bool:
        failure = _decoded(decode_failure, self._tables.get("failures", key) or b"")
        if failure is None:
            return False
        stat = entry_stat(failure)
        return entry[FILE_ENTRY_STAT] == FILE_ENTRY.pack(stat.size, stat.mtime_ns, 0, b"")[FILE_ENTRY_STAT]

    def _foreign_files(self, folders: dict[bytes, bytes]) -> Iterator[Difference]:
        """The entries that lead to a photo that is not there."""
        for key, _ in self._tables.rows("files"):
            photo_id = self._photo_at(key)
            value = self._tables.get("photos", id_bytes(photo_id))
            record = _decoded(decode_record, value or b"")
            if photo_id and (record is None or file_key(record.path) != key):
                folder = display_path(folders.get(key[:8], b"?"))
                yield Difference("files", photo_id, f"no such photo: {folder}/{display_path(key[8:])}")

    def _failures(self) -> Iterator[Difference]:
        for key, value in self._tables.rows("failures"):
            failure = _decoded(decode_failure, value)
            if failure is None or file_key(failure.path) != key:
                yield Difference("failures", 0, f"the failure can't be read: {key.hex()}")
                continue
            entry = self._tables.get("files", key)
            if entry is None or entry[16:24] != bytes(8):
                yield Difference("failures", failure.photo_id, f"the file has not failed: {failure.path!r}")

    def _superfluous(
        self, table: str, expected: int, belongs: Callable[[bytes], bool]
    ) -> Iterator[Difference]:
        if self._tables.entries(table) == expected:
            return
        for key, _ in self._tables.rows(table):
            if not belongs(key):
                yield Difference(table, int.from_bytes(key[-8:], "big"), "a row of no photo")

    def _belongs_missing(self, key: bytes) -> bool:
        record = self._photo(key)
        return record is not None and record.missing_since is not None

    def _belongs_contents(self, key: bytes) -> bool:
        record = self._photo(key[-8:])
        return record is not None and content_key(record) == key

    def _belongs_embedding(self, key: bytes) -> bool:
        record = self._photo(key[-8:])
        return record is not None and key[:-8] in {space_key(space) for space in spaces_of(record.outputs)}

    def _photo_at(self, key: bytes) -> int:
        try:
            return self._tables.photo_at(key)
        except CatalogDamagedError:  # told where its table is walked
            return 0

    def _photo(self, key: bytes) -> Record | None:
        return _decoded(decode_record, self._tables.get("photos", key) or b"")

    def _change_log(self) -> Iterator[Difference]:
        first, last = self._tables.number("trimmed"), self._tables.number("commit")
        for key, _ in self._tables.rows("commits"):
            if len(key) != 16 or not first < int.from_bytes(key[:8], "big") <= last:
                yield Difference("commits", 0, f"a change outside commits {first + 1} to {last}: {key.hex()}")
        for name, mark in self._tables.marks().items():
            if mark > last:
                yield Difference("meta", 0, f"{name} has reached commit {mark}, the last one is {last}")


def _decoded(decode: Callable[[bytes], Kind], value: bytes) -> Kind | None:
    try:
        return decode(value)
    except msgspec.DecodeError:
        return None
