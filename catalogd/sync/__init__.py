"""What catalogd writes beside photos, for other programs: XMP sidecars.

::

    records ─▶ dealt to workers ─▶ sidecars_for ─▶ changes_for ─▶ write_sidecar ─▶ Synced
                                                                       │
                                                                   Ledger: the way back (undo)

A worker is a process with an exiftool of its own. Photos whose sidecars may be one file, those of one
stem, always go to the same worker, so that no two write into one sidecar. Originals are only read,
unless `Options.embed` says otherwise.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from catalogd.errors import CatalogdError, ResourceError
from catalogd.metadata.exiftool import Program, find_exiftool
from catalogd.metadata.xmp import Value
from catalogd.records import Record, Stat, decode_record, encode
from catalogd.settings import Settings
from catalogd.sync import embed, replacing
from catalogd.sync.exiftool_writer import ExiftoolWriter
from catalogd.sync.fields import DEFAULT_FIELDS, DEFAULT_OWN, FIELDS, Own, changes_for
from catalogd.sync.ledger import Entry, Ledger, values_before
from catalogd.sync.naming import LAYOUTS, first_properties, sidecars_for
from catalogd.sync.ownership import is_recorded, properties_of
from catalogd.sync.packet import Packet
from catalogd.sync.policy import Policy, load_policy
from catalogd.sync.sidecar import Written, write_sidecar

__all__ = ["FIELDS", "LAYOUTS", "Ledger", "Options", "Own", "Synced", "sync_records", "undo"]

BATCH_RECORDS = 16  # what a worker gets at a time: 50 ms of work, so that what crosses a pipe is no cost
QUEUED_BATCHES = 4  # most that wait for one worker while another has nothing: memory stays flat
LEAST_RECORDS = 64  # fewer are done before the first worker has started
MOST_JOBS = 16  # the disk's answers, not the cores, are what more would wait for
NICENESS = 10  # of workers in the background: whatever else runs goes first

_decode_own = msgspec.msgpack.Decoder(Own).decode
_context = multiprocessing.get_context("spawn")  # fork copies locks, threads and LMDB handles


@dataclasses.dataclass(frozen=True)
class Options:
    """What a run writes, and how."""

    fields: tuple[str, ...] = DEFAULT_FIELDS
    layout: str = "auto"  # of new sidecars, one of LAYOUTS
    only_missing: bool = False  # properties that have a value already are left as they are
    backup: bool = False  # keep what stood in a sidecar before catalogd's first write
    dry_run: bool = False  # say what would be written
    embed: bool = False  # write into JPEG, TIFF and DNG files themselves
    jobs: int = 0  # worker processes; 0: one a core
    background: bool = False  # give way to whatever else runs


class Synced(NamedTuple):
    """What became of one sidecar of a photo, and its stat: as it was read, and (None: not) as it was written.

    `after` is only there when the sidecar still is what was written.
    """

    photo: bytes
    written: Written
    before: Stat | None = None
    after: Stat | None = None


def sync_records(
    records: Iterable[Record],
    options: Options,
    settings: Settings,
    ledger: Ledger | None = None,
    own_of: Callable[[Record], Own] = lambda record: DEFAULT_OWN,
) -> Generator[Synced, None, None]:
    """Bring the sidecars of photos up to date; yields each of them, in any order.

    `own_of`: what catalogd was told of a photo; asked in this process, before the photo's turn.
    Without a `ledger` the run can't be taken back. Closing the generator ends the workers after what they
    have in hand. Raises SettingsError for the vocabulary file, ExiftoolError when there is no exiftool (but
    not in a dry run), ResourceError when a worker dies.
    """
    program = None if options.dry_run and not options.embed else find_exiftool(settings.exiftool)
    make = functools.partial(_Syncer, settings, options, load_policy(settings), program, ledger)
    rest = iter(records)
    first = list(itertools.islice(rest, LEAST_RECORDS))
    jobs = options.jobs or min(os.cpu_count() or 1, MOST_JOBS)
    if len(first) < LEAST_RECORDS or (jobs == 1 and not options.background):
        with make() as syncer:
            for record in itertools.chain(first, rest):
                yield from syncer.sync(record, own_of(record))
        return
    with _Workers(jobs, make, NICENESS if options.background else 0) as workers:
        yield from workers.run((record, own_of(record)) for record in itertools.chain(first, rest))


def undo(ledger: Ledger, settings: Settings) -> Generator[Synced, None, None]:
    """Take back what a run wrote, and nothing else; yields each of its sidecars.

    A sidecar that the run created and nobody added to is deleted: its state is "removed". One in which
    nothing of catalogd's is recorded is another one, under the same name, and stays. When all are taken
    back the run is closed. Raises ExiftoolError when there is no exiftool.
    """
    with ExiftoolWriter(find_exiftool(settings.exiftool)) as writer:
        for path, entries in ledger.entries():
            written = _take_back(path, entries, writer, settings)
            if written.state != "refused":
                with contextlib.suppress(OSError):  # the next undo finds nothing left to do in it
                    ledger.drop(path)
            yield Synced(path, written)
    with contextlib.suppress(FileNotFoundError):  # another process has taken it back too
        if not any(ledger.entries()):  # the run may still be writing
            ledger.close()


def _take_back(path: bytes, entries: Sequence[Entry], writer: ExiftoolWriter, settings: Settings) -> Written:
    def change(packet: Packet | None) -> dict[str, Value | None]:
        properties = properties_of(packet)
        return values_before(entries, properties) if is_recorded(properties) else {}

    if not os.path.lexists(path):
        there = os.path.isdir(os.path.dirname(path))
        return Written(path, "unchanged") if there else Written(path, "refused", reason="its folder is away")
    if not path.lower().endswith(b".xmp"):
        return embed.write_embedded(path, change, writer, settings.max_file_bytes)
    if entries[0].created and (removed := remove_sidecar(path, change)):
        return removed
    return write_sidecar(path, change, writer)


# ── one worker's part ─────────────────────────────────────────────────────────────────────────


class _Syncer:
    """Writes the sidecars of one photo after the other. A context manager: it ends its exiftool."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        policy: Policy,
        program: Program | None,
        ledger: Ledger | None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._policy = policy
        self._ledger = ledger
        self._writer = ExiftoolWriter(program) if program is not None else None

    def __enter__(self) -> _Syncer:
        return self

    def __exit__(self, *failed: Any) -> None:
        if self._writer is not None:
            self._writer.__exit__(*failed)

    def sync(self, record: Record, own: Own) -> list[Synced]:
        """Each sidecar of the photo; one that is not where its record says is left to the next scan."""
        if record.missing_since is not None or not os.path.lexists(record.path):
            return []
        sidecars = sidecars_for(record.path, self._options.layout)
        if self._options.embed and record.path.rpartition(b".")[2].lower() in embed.EXTENSIONS:
            sidecars = [path for path in sidecars if os.path.lexists(path)]
            return [self._embed(record, own), *(self._sync(record, own, path) for path in sidecars)]
        return [self._sync(record, own, path) for path in sidecars]

    def _sync(self, record: Record, own: Own, path: bytes) -> Synced:
        before = _stat_of(path)

        def change(packet: Packet | None) -> Mapping[str, Value | None]:
            nonlocal before
            changes = self._changes(record, own, packet)
            before = _stat_of(path)  # after it was read: when this is known, so is what was read
            if packet is None and any(changes.values()):
                return {**first_properties(record.path, path), **changes}
            return changes if packet is not None else {}

        written = write_sidecar(
            path,
            change,
            self._writer,
            backup=self._options.backup,
            dry_run=self._options.dry_run,
            before_replace=self._note(path),
        )
        if written.state not in ("written", "created") or self._options.dry_run:
            return Synced(record.path, written, before)
        self._confirm(written)
        return Synced(record.path, written, before, _stat_if(path, written.digest_after))

    def _embed(self, record: Record, own: Own) -> Synced:
        assert self._writer is not None
        change = functools.partial(self._changes, record, own)
        written = embed.write_embedded(
            record.path,
            change,
            self._writer,
            self._settings.max_file_bytes,
            dry_run=self._options.dry_run,
            before_replace=self._note(record.path),
        )
        if written.state in ("written", "created") and not self._options.dry_run:
            self._confirm(written)
        return Synced(record.path, written)

    def _changes(self, record: Record, own: Own, packet: Packet | None) -> dict[str, Value | None]:
        fields, only_missing = self._options.fields, self._options.only_missing
        return changes_for(record, packet, self._policy, fields, only_missing=only_missing, own=own)

    def _note(self, path: bytes) -> Callable[[Written], None]:
        def note(written: Written) -> None:
            if self._ledger is not None:
                before = {difference.key: difference.before for difference in written.differences}
                after = {difference.key: difference.after for difference in written.differences}
                self._ledger.note(Entry(path, written.state == "created", before, after))

        return note

    def _confirm(self, written: Written) -> None:
        if self._ledger is not None:
            with contextlib.suppress(OSError):  # it is noted, and was written: undo is more careful then
                self._ledger.confirm(written.path, written.digest_before, written.digest_after)


def remove_sidecar(
    path: bytes, change: Callable[[Packet | None], Mapping[str, Value | None]]
) -> Written | None:
    """Delete a sidecar that would have no property left after `change`; None when some would be left.

    What is no property (a comment that a person wrote) keeps it too. A symbolic link stays.
    """
    target = os.path.realpath(path)
    try:
        replacing.require_writable(target)
        with open(target, "rb") as file:
            content = file.read()
        packet = Packet.read(content)
        left = {**packet.properties, **change(packet)}
        if packet.remarks or any(value is not None for value in left.values()):
            return None
        with open(target, "rb") as file:
            if file.read() != content:
                return None
        os.unlink(target)
        replacing.sync_folder(os.path.dirname(target))
    except (OSError, CatalogdError):
        return None  # whoever writes it next says why
    return Written(path, "removed", digest_before=hashlib.sha256(content).hexdigest())


def _stat_of(path: bytes) -> Stat | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Stat(status.st_size, status.st_mtime_ns)


def _stat_if(path: bytes, digest: str) -> Stat | None:
    """The stat of a sidecar that still holds what was written; None when somebody was there since."""
    before = _stat_of(path)
    try:
        with open(path, "rb") as file:
            found = hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None
    return before if found == digest and before == _stat_of(path) else None


# ── workers ───────────────────────────────────────────────────────────────────────────────────


class _Worker:
    """The parent's end of one worker process: one batch at a time goes in, what became of it comes out."""

    def __init__(self, make: Callable[[], _Syncer], niceness: int) -> None:
        self.connection, theirs = _context.Pipe()
        self.waiting: collections.deque[tuple[bytes, bytes]] = collections.deque()  # encoded Record and Own
        self.busy = False
        self._process = _context.Process(
            target=_work, args=(theirs, make, niceness), name="catalogd-sync", daemon=True
        )
        self._process.start()
        theirs.close()

    def feed(self, least: int = BATCH_RECORDS) -> None:
        """Give it the next batch when it has none and there are at least so many records."""
        if not self.busy and len(self.waiting) >= least:
            count = min(BATCH_RECORDS, len(self.waiting))
            batch = [self.waiting.popleft() for _ in range(count)]
            with contextlib.suppress(OSError):  # it died: `take` says so
                self.connection.send(batch)
            self.busy = True

    def take(self) -> list[Synced]:
        """What became of its batch. Raises what it raised, ResourceError when it died."""
        try:
            result = self.connection.recv()
        except (EOFError, OSError):
            raise ResourceError(
                "a worker that writes sidecars died; run it again, what was written is noted"
            ) from None
        self.busy = False
        if isinstance(result, CatalogdError):
            raise result
        assert isinstance(result, list)
        return result

    def close(self) -> None:
        """Let it finish the batch in hand, and end."""
        self.connection.close()
        self._process.join()


class _Workers:
    """N workers, and which records wait for which of them."""

    def __init__(self, jobs: int, make: Callable[[], _Syncer], niceness: int) -> None:
        self._workers = [_Worker(make, niceness) for _ in range(jobs)]

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()

    def run(self, records: Iterable[tuple[Record, Own]]) -> Iterator[Synced]:
        for record, own in records:
            worker = self._workers[_shard(record.path) % len(self._workers)]
            worker.waiting.append((encode(record), encode(own)))
            worker.feed()
            while len(worker.waiting) >= QUEUED_BATCHES * BATCH_RECORDS:
                yield from self._next()
        while any(worker.busy or worker.waiting for worker in self._workers):
            for worker in self._workers:
                worker.feed(least=1)
            yield from self._next()

    def _next(self) -> Iterator[Synced]:
        """The results of the workers that are done first."""
        busy = {worker.connection: worker for worker in self._workers if worker.busy}
        for connection in multiprocessing.connection.wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]
            synced = worker.take()
            worker.feed()
            yield from synced


def _shard(path: bytes) -> int:
    """The same for all photos that may have a sidecar in common: those of one folder and stem."""
    folder, name = os.path.split(path)
    return zlib.crc32(os.path.join(folder, name.partition(b".")[0].lower()))


def _work(
    connection: multiprocessing.connection.Connection, make: Callable[[], _Syncer], niceness: int
) -> None:
    """A worker: batches of records in, what became of their sidecars out, until the parent closes or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent drains it
    if niceness:
        os.nice(niceness)
    with make() as syncer:
        for batch in _received(connection):
            try:
                result: Any = [
                    synced
                    for record, own in batch
                    for synced in syncer.sync(decode_record(record), _decode_own(own))
                ]
            except CatalogdError as error:
                result = error
            with contextlib.suppress(OSError):  # the parent is gone: the next batch says so
                connection.send(result)


def _received(connection: multiprocessing.connection.Connection) -> Iterator[list[tuple[bytes, bytes]]]:
    with contextlib.suppress(EOFError, OSError):
        while True:
            yield connection.recv()
