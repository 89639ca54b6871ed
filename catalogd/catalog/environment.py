"""LMDB as this catalog uses it: environments that the parts of one process share, and their tables.

An environment is never opened twice by one process nor used across a fork; no transaction outlives
the call that opened it; the map grows when it is full. LMDB lets one process at a time write, and any
number read.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import lmdb
import numpy as np
import numpy.typing as npt

from catalogd.errors import CatalogDamagedError, CatalogError, CatalogFullError, CatalogMissingError

Ids = npt.NDArray[np.int64]
Result = TypeVar("Result")

FIRST_MAP_BYTES = 64 << 20  # address space, not disk; doubles when full
LARGEST_MAP_STEP_BYTES = 4 << 30
MAX_READERS = 512  # slots of the lock file: one a reading process

_LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # LMDB reports a full disk as EIO


class TableNames(NamedTuple):
    """The tables of an environment."""

    first: tuple[str, ...]  # without them it is not one
    later: tuple[str, ...] = ()  # made by the first writer that knows them


def id_bytes(photo_id: int) -> bytes:
    """A photo_id as it stands in keys: 8 bytes, big-endian, so that keys sort by number."""
    return photo_id.to_bytes(8, "big")


def no_catalog(folder: Path) -> CatalogMissingError:
    """The error of whoever reads where nothing was written yet."""
    return CatalogMissingError(f"{folder}: there is no catalog yet: start one with `catalogd run ~/Pictures`")


class Tables:
    """The tables as one transaction sees them; writes too inside `Environment.write`."""

    def __init__(self, transaction: Transaction) -> None:
        self._lmdb = transaction.lmdb
        self._tables = transaction.tables

    def get(self, table: str, key: bytes) -> bytes | None:
        value: bytes | None = self._lmdb.get(key, db=self._tables[table])
        return value

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._lmdb.put(key, value, db=self._tables[table])

    def delete(self, table: str, key: bytes) -> bool:
        return bool(self._lmdb.delete(key, db=self._tables[table]))

    def has(self, table: str) -> bool:
        """Whether there is the table: a reader does not make those that an older catalogd did not know."""
        return table in self._tables

    def put_all(self, table: str, rows: list[tuple[bytes, bytes]]) -> None:
        """Put many rows; sorted ones cost the least."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            cursor.putmulti(rows)

    def clear(self, table: str) -> None:
        self._lmdb.drop(self._tables[table], delete=False)

    def entries(self, table: str) -> int:
        return int(self._lmdb.stat(self._tables[table])["entries"])

    def many(self, table: str, keys: list[bytes]) -> list[tuple[bytes, bytes]]:
        """The rows with these keys that exist, in the order of `keys`."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            return list(cursor.getmulti(keys))

    def present(self, table: str, keys: list[bytes]) -> set[bytes]:
        """Those of `keys` that have a row."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            return {key for key in keys if cursor.set_key(key)}

    def rows(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows from `start` on, in key order."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            if cursor.set_range(start):
                yield from cursor.iternext()

    def rows_with(
        self, table: str, prefix: bytes, start: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, from `start` on."""
        for key, value in self.rows(table, prefix if start is None else start):
            if not key.startswith(prefix):
                return
            yield key, value

    def last_before(self, table: str, key: bytes) -> bytes | None:
        """The last key of `table` that comes before `key`."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            found = cursor.prev() if cursor.set_range(key) else cursor.last()
            return cursor.key() if found else None

    def last(self, table: str) -> tuple[bytes, bytes] | None:
        """The row with the largest key."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            return cursor.item() if cursor.last() else None

    def ids(self, table: str) -> Ids:
        """The photo_ids that are the keys of `table`, sorted: int64[n]."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            keys = b"".join(cursor.iternext(keys=True, values=False))
        return np.frombuffer(keys, ">i8").astype(np.int64)

    def ids_after(self, table: str, photo_id: int, limit: int) -> Ids:
        """Up to `limit` of them that are larger than `photo_id`."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            found = cursor.set_range(id_bytes(photo_id + 1))
            rest = cursor.iternext(keys=True, values=False) if found else ()
            keys = b"".join(itertools.islice(rest, limit))
        return np.frombuffer(keys, ">i8").astype(np.int64)

    def joined(self, table: str) -> bytes:
        """All values of `table`, in key order, one behind the other."""
        with self._lmdb.cursor(self._tables[table]) as cursor:
            return b"".join(cursor.iternext(keys=False, values=True))


class Transaction:
    """An open LMDB transaction with the handles of the tables."""

    def __init__(self, transaction: Any, tables: dict[str, Any]) -> None:
        self.lmdb = transaction
        self.tables = tables


class Environment:
    """The one LMDB environment of this process on a folder, shared by its Stores.

    Counts open transactions, because the map may only be resized, and the environment only be
    replaced, while there are none.
    """

    def __init__(self, folder: Path, write: bool, map_bytes: int, tables: TableNames) -> None:
        self.folder = folder
        self._names = tables
        self.users = 0
        self.writable = write
        self.process = os.getpid()
        self._map_bytes = map_bytes
        self._idle = threading.Condition()
        self._open_transactions = 0
        self._wanting_alone = 0
        self._open()

    def _open(self) -> None:
        if self.writable:
            self.folder.mkdir(parents=True, exist_ok=True)
        elif not (self.folder / "data.mdb").is_file():
            raise no_catalog(self.folder.parent)
        try:
            self._lmdb = lmdb.open(
                str(self.folder),
                map_size=max(self._map_bytes, self._used_bytes()),
                readonly=not self.writable,
                max_dbs=len(self._names.first) + len(self._names.later),
                max_readers=MAX_READERS,
            )
            self._lmdb.reader_check()
            self._tables = {
                table: self._lmdb.open_db(table.encode(), create=self.writable) for table in self._names.first
            }
            for table in self._names.later:
                with contextlib.suppress(lmdb.NotFoundError):
                    self._tables[table] = self._lmdb.open_db(table.encode(), create=self.writable)
        except lmdb.NotFoundError:
            self._lmdb.close()
            raise no_catalog(self.folder.parent) from None
        except lmdb.Error as error:
            raise self._explain(error) from error

    def _used_bytes(self) -> int:
        try:
            return (self.folder / "data.mdb").stat().st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        with self._exclusive():
            self._lmdb.close()

    def reader_check(self) -> int:
        with self._using():
            return int(self._lmdb.reader_check())

    def make_writable(self) -> None:
        """Open again for writing what was open for reading only."""
        with self._exclusive():
            self._lmdb.close()
            self.writable = True
            self._open()

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """One transaction: 12 us of CPU; a search needs 21 (measured, bench/bench_search.py's library)."""
        transaction = self._begun()
        try:
            with transaction:
                yield Transaction(transaction, self._tables)
        finally:
            self._stop_using()

    def _begun(self) -> Any:
        """A read transaction of an environment that is in use from now on."""
        while True:
            self._start_using()
            try:
                return self._lmdb.begin(buffers=False)
            except lmdb.MapResizedError:
                self._stop_using()
                self._resize(0)
            except BaseException:
                self._stop_using()
                raise

    def write(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` in a transaction of its own, again when the map had to grow, and commit it durably."""
        while True:
            try:
                with self._using(), self._lmdb.begin(write=True) as transaction:
                    result = work(Transaction(transaction, self._tables))
                return result
            except lmdb.MapFullError:
                self._grow()
            except lmdb.MapResizedError:
                self._resize(0)
            except lmdb.Error as error:
                raise self._recover(error) from error

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        self._start_using()
        try:
            yield
        finally:
            self._stop_using()

    def _start_using(self) -> None:
        if os.getpid() != self.process:
            raise CatalogError(f"{self.folder.parent}: opened before a fork: open it again in the child")
        with self._idle:
            while self._wanting_alone:
                self._idle.wait()
            self._open_transactions += 1

    def _stop_using(self) -> None:
        with self._idle:
            self._open_transactions -= 1
            self._idle.notify_all()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Wait until no transaction is open, and let none open meanwhile."""
        with self._idle:
            self._wanting_alone += 1
            try:
                self._idle.wait_for(lambda: self._open_transactions == 0)
                yield
            finally:
                self._wanting_alone -= 1
                self._idle.notify_all()

    def _grow(self) -> None:
        size = int(self._lmdb.info()["map_size"])
        self._resize(size + min(size, LARGEST_MAP_STEP_BYTES))

    def _resize(self, size: int) -> None:
        """A new map size; 0 takes over the size another process gave it."""
        with self._exclusive():
            self._lmdb.set_mapsize(size)

    def _recover(self, error: lmdb.Error) -> Exception:
        """After a failed write: the environment as good as new, and the error to raise."""
        explained = self._explain(error)
        if isinstance(explained, CatalogFullError):
            with self._exclusive():
                self._lmdb.close()
                self._open()
        return explained

    def _explain(self, error: lmdb.Error) -> Exception:
        text = str(error)
        if isinstance(error, lmdb.DiskError) or any(os.strerror(code) in text for code in _FULL):
            return CatalogFullError(
                f"{self.folder}: the disk is full or does not take writes ({text}); "
                "free some space, nothing that was committed is lost"
            )
        if any(os.strerror(code) in text for code in _LOCKED):
            return CatalogError(
                f"{self.folder} can't be opened for writing, which this command needs: "
                "its disk is read-only, or it belongs to another user"
                if self.writable
                else f"{self.folder} can't be read: it belongs to another user"
            )
        return CatalogDamagedError(f"{self.folder}: {text}; run `catalogd check`")


# Environments open in this process, by real path: LMDB forbids opening one twice.
_open_environments: dict[str, Environment] = {}
_registry_lock = threading.Lock()


def acquire(folder: Path, write: bool, map_bytes: int, tables: TableNames) -> Environment:
    """The environment in `folder`, opened by the first of this process who asks; `release` it."""
    key = os.path.realpath(folder)
    with _registry_lock:
        environment = _open_environments.get(key)
        if environment is None or environment.process != os.getpid():
            environment = _open_environments[key] = Environment(folder, write, map_bytes, tables)
        elif write and not environment.writable:
            environment.make_writable()
        environment.users += 1
        return environment


def release(environment: Environment) -> None:
    """The last user of an environment closes it."""
    with _registry_lock:
        environment.users -= 1
        if environment.users == 0 and environment.process == os.getpid():
            del _open_environments[os.path.realpath(environment.folder)]
            environment.close()
