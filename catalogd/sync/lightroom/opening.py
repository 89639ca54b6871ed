"""A Lightroom catalog opened for reading, with nothing ever written at its place.

::

    closed, nothing beside it ──▶ read where it is, immutable: SQLite takes no lock and makes no file
    Lightroom is open, or a -wal
    or a -journal lies there  ──▶ a private copy of it and of its log; SQLite recovers the copy

Even a read-only connection makes a -wal and a -shm beside a catalog in WAL mode, and an immutable one
is blind to the -wal: so the first way is for a catalog that nobody has open, and `Source.check` notices
when that ends. A copy is taken again when what was copied changed meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from catalogd.errors import LightroomError, UsageError

HEAD_BYTES = 4096
_MAGIC = b"SQLite format 3\0"
_ZIP = b"PK\x03\x04"
LOGS = ("-wal", "-journal")  # what SQLite needs to recover a copy; the -shm is made anew from the -wal
FOLDER_PREFIX = "catalogd-lrcat-"  # of copies, in the folder for temporary files
_OWNER = "owner"  # file in such a folder: locked as long as its process lives
SPARE_BYTES = 256 << 20  # that a copy leaves free on its disk
TRIES = 6  # of a copy that stays as it was from beginning to end
FIRST_WAIT_S = (
    0.25  # before the second try, doubled by each: 8 s in all, longer than Lightroom writes at once
)
LONGEST_VALUE_BYTES = 64 << 20  # of one text or blob; XMP with masks reaches some MB
_RANDOM_VALUES = 240  # different byte values in 4 KiB of encrypted data: 256 less chance; text has 100
_PROGRESS_STEPS = 100_000  # of SQLite's machine, some ms: how often Ctrl-C is listened to

Stats = tuple[tuple[int, int, int] | None, ...]  # of the file and its logs: inode, bytes, mtime in ns


class ChangedMeanwhileError(Exception):
    """Somebody wrote the catalog while it was read where it is: read a copy."""


class Source:
    """An open Lightroom catalog: `connection` reads it and refuses to write."""

    def __init__(self, file: Path, connection: sqlite3.Connection, is_copy: bool, stats: Stats) -> None:
        self.file = file
        self.connection = connection
        self.is_copy = is_copy
        self.is_in_use = lock_file(file).exists()  # Lightroom has it open
        self.stats = stats  # of what is read

    def check(self) -> None:
        """Raises ChangedMeanwhileError when what was read since it was opened can't be trusted."""
        has_log = any(self.stats[1:])  # it came just before the file was opened
        if not self.is_copy and (has_log or _stats(self.file) != self.stats or lock_file(self.file).exists()):
            raise ChangedMeanwhileError


@contextlib.contextmanager
def opened(file: Path, as_copy: bool = False) -> Iterator[Source]:
    """The catalog of Lightroom in `file`; `as_copy`: even if nobody has it open.

    Raises UsageError for what is no such file, LightroomError for one that can't be read now.
    """
    real = real_file(file)
    with contextlib.ExitStack() as stack:
        is_copy = as_copy or is_in_use(real)
        place = stack.enter_context(_copied(real)) if is_copy else None
        stats = place[1] if place else _stats(real)
        _check_head(real if place is None else place[0], has_log=is_copy and any(stats[1:]))
        source = place[0] if place else real
        connection = stack.enter_context(contextlib.closing(_connect(source, "rw" if place else None)))
        yield Source(real, connection, is_copy, stats)


def real_file(file: Path) -> Path:
    """Where the file itself lies. Raises UsageError."""
    try:
        real = file.resolve(strict=True)
        mode = real.stat().st_mode
    except FileNotFoundError:
        raise UsageError(f"{file} does not exist; Lightroom shows its place in Catalog Settings") from None
    except (OSError, RuntimeError) as error:
        raise LightroomError(f"{file} can't be opened: {getattr(error, 'strerror', error)}") from None
    if stat.S_ISDIR(mode):
        inside = sorted(path.name for path in real.glob("*.lrcat"))[:3]
        named = f"; there is {', '.join(inside)} in it" if inside else ""
        raise UsageError(f"{file} is a folder: name the .lrcat file{named}")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{file} is no ordinary file")
    return real


def lock_file(file: Path) -> Path:
    """What Lightroom keeps beside a catalog while it has it open."""
    return file.with_name(file.name + ".lock")


def is_in_use(file: Path) -> bool:
    """Whether a program has it open, or left it without tidying up."""
    return lock_file(file).exists() or any(_size(_log(file, suffix)) for suffix in LOGS)


def state_of(file: Path) -> Stats:
    """Another value whenever somebody wrote to the catalog."""
    return _stats(file)


def _log(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _stats(file: Path) -> Stats:
    return tuple(_stat(path) for path in (file, *(_log(file, suffix) for suffix in LOGS)))


def _stat(path: Path) -> tuple[int, int, int] | None:
    """None where there is nothing; an empty log is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if found.st_size else None


# -- what the file is ------------------------------------------------------------------------------


def _check_head(file: Path, has_log: bool) -> None:
    """Raises where the beginning of a file says that it is no whole database."""
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise LightroomError(f"{file.name} can't be read: {error.strerror}") from None
    if head.startswith(_ZIP):
        raise UsageError(
            f"{file.name} is a ZIP file, as Lightroom's backups are: unpack it, name the .lrcat in it"
        )
    if not head:
        raise LightroomError(f"{file.name} is empty: it was not written yet, or its copying failed")
    if not head.startswith(_MAGIC):
        raise _not_sqlite(file, head)
    page_bytes = int.from_bytes(head[16:18], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    pages = int.from_bytes(head[28:32], "big")
    counts = head[24:28] == head[92:96]  # the number of pages is kept up to date
    if not has_log and (size < HEAD_BYTES // 8 or (counts and pages * page_bytes > size)):
        raise _half_written(file)


def _not_sqlite(file: Path, head: bytes) -> LightroomError | UsageError:
    if len(head) == HEAD_BYTES and len(set(head)) >= _RANDOM_VALUES:
        return LightroomError(
            f"{file.name} is encrypted or packed: catalogd reads catalogs as Lightroom writes them"
        )
    return UsageError(f"{file.name} is no Lightroom catalog: it does not begin as a SQLite database")


def _half_written(file: Path) -> LightroomError:
    return LightroomError(
        f"{file.name} is damaged or half-written: wait until it is copied, or let Lightroom repair it "
        "(File > Optimize Catalog), or import one of its backups"
    )


# -- a copy of its own -----------------------------------------------------------------------------


@contextlib.contextmanager
def _copied(file: Path) -> Iterator[tuple[Path, Stats]]:
    """A private copy of the catalog and its logs, and their stats; it is gone afterwards."""
    remove_left_copies()
    folder = _roomy_folder(file)
    try:
        with (folder / _OWNER).open("wb") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            yield _take_copy(file, folder / "catalog.lrcat")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_copies() -> None:
    """Take away the copies of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(FOLDER_PREFIX + "*"):
        with contextlib.suppress(OSError), (folder / _OWNER).open("rb+") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _roomy_folder(file: Path) -> Path:
    """A new private folder with room for a copy. Raises LightroomError."""
    needed = sum(_size(path) for path in (file, *(_log(file, suffix) for suffix in LOGS)))
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    if free < needed + SPARE_BYTES:
        raise LightroomError(
            f"{place} has {free >> 20:,} MiB free, a copy of {file.name} takes {needed >> 20:,}: close "
            "Lightroom, so that no copy is needed, or set TMPDIR to a folder with room"
        )
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))


def _take_copy(file: Path, copy: Path) -> tuple[Path, Stats]:
    """Copy until nothing changed while it was copied. Raises LightroomError."""
    wait_s = FIRST_WAIT_S
    for tried in range(TRIES):
        before = _stats(file)
        try:
            _copy_all(file, copy)
        except OSError as error:
            raise LightroomError(f"{file.name} can't be copied to {copy.parent}: {error.strerror}") from None
        if _stats(file) == before:
            return copy, before
        if tried < TRIES - 1:
            time.sleep(wait_s)
            wait_s *= 2
    raise LightroomError(f"{file.name} is being written all the time: try again when Lightroom rests")


def _copy_all(file: Path, copy: Path) -> None:
    shutil.copyfile(file, copy)
    for suffix in LOGS:
        log = _log(copy, suffix)
        log.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(_log(file, suffix), log)


# -- the connection --------------------------------------------------------------------------------


def _connect(file: Path, mode: str | None) -> sqlite3.Connection:
    """`mode` None: where it lies, without a lock. Raises LightroomError when it is not whole."""
    how = f"mode={mode}" if mode else "mode=ro&immutable=1"
    uri = f"file:{quote(os.fsencode(file))}?{how}"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        connection.text_factory = _text
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE_BYTES)
        connection.set_progress_handler(lambda: 0, _PROGRESS_STEPS)
        for pragma in ("trusted_schema=0", "cell_size_check=1", "temp_store=1", "query_only=1"):
            connection.execute(f"PRAGMA {pragma}")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        raise _unreadable(file, error) from None
    if found is None or found[0] != "ok":
        raise _half_written(file)
    return connection


def _unreadable(file: Path, error: sqlite3.DatabaseError) -> BaseException:
    if str(error) == "interrupted":
        return KeyboardInterrupt()
    if "locked" in str(error) or "busy" in str(error):
        return LightroomError(f"{file.name} is locked by another program: close it and try again")
    return _half_written(file)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
