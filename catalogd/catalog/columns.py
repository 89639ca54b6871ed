"""The rows of all photos as arrays: what filters, orders and facets are computed on.

    store: columns, terms ──load──▶ Columns ──refresh by the change log──▶ Columns …

A `Columns` never changes: a search works on one from its beginning to its end. The next one shares
with it every array in which nothing changed, and its rows are the same photos as long as `layout` is
the same; new photos are rows behind the others, and one that is gone is a row that is not `alive`.

A catalog that no writer of this version has had yet has no rows; they are made from its records then.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from catalogd.catalog.environment import Ids, id_bytes
from catalogd.catalog.photo_row import FLAG_BITS, ROW, TERM_KINDS, row_of
from catalogd.catalog.store import ChangesTrimmedError, Reading, Store, columns_are_complete
from catalogd.catalog.terms import NewCodes, terms_from
from catalogd.errors import CatalogDamagedError
from catalogd.records import decode_record, display_path

Array = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.void]

_BLOCK_ROWS = 2048  # turned from rows into columns at a time: 400 KB, so that it stays in a core's cache
_SPARE_ROWS = 4096  # for new photos, and an eighth more: then all is loaded again, in order
_layouts = itertools.count(1)
_versions = itertools.count(1)


class Columns:
    """All photos that are not missing, as of one commit. Columns are attributes: `columns.iso`.

    The columns are those of `photo_row.ROW`, each an array of n. A row that is not `alive` is of no photo.
    """

    def __init__(
        self, arrays: dict[str, Array], alive: Flags, sorted_rows: int, layout: int, commit: int, terms: Terms
    ) -> None:
        self.arrays = arrays
        self.alive = alive  # bool[n]
        self.layout = layout  # rows of two Columns of one layout are the same photos
        self.version = next(_versions)  # another one for each
        self.commit = commit
        self._sorted_rows = sorted_rows  # so many first rows are by photo_id, the others as they came
        self._terms = terms
        self.count = int(np.count_nonzero(alive))  # photos

    @property
    def ids(self) -> Ids:
        """The photo of each row: int64[n], ascending but for photos that came since."""
        return self.arrays["photo_id"]

    @property
    def is_sorted(self) -> bool:
        """Whether all rows are by photo_id."""
        return self._sorted_rows == len(self)

    def __len__(self) -> int:
        """Rows, also those of no photo."""
        return len(self.alive)

    def __getattr__(self, name: str) -> Array:
        try:
            return self.__dict__["arrays"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None

    def has_flag(self, name: str) -> Flags:
        """bool[n]: whose flag of this name (photo_row.FLAGS) is set."""
        found: Flags = (self.arrays["flags"] & np.uint64(FLAG_BITS[name])) != 0
        return found

    def terms(self, kind: str) -> Sequence[str]:
        """The strings of a kind (photo_row.TERM_KINDS) by code; the first, of code 0, is "".

        There may be more than these rows have. A place is "nearest, city, region, country, country code",
        joined by tabs.
        """
        return self._terms.lists[kind]

    def rows_of(self, ids: Ids) -> npt.NDArray[np.int64]:
        """int64[m]: the row of each photo, -1 where there is none."""
        rows = self.former_rows_of(ids)
        rows[~self.alive[rows] & (rows >= 0)] = -1
        return rows

    def former_rows_of(self, ids: Ids) -> npt.NDArray[np.int64]:
        """The same, of photos that are gone too."""
        if not len(self):
            return np.full(len(ids), -1, np.int64)
        rows = find(self.ids[: self._sorted_rows], ids)
        if self._sorted_rows < len(self):
            order, newer = self._newer
            place = find(newer, ids)
            rows = np.where(place >= 0, order[place], rows)
        return rows

    @functools.cached_property
    def _newer(self) -> tuple[npt.NDArray[np.int64], Ids]:
        """The rows behind the sorted ones by photo_id, and their photos."""
        order = np.argsort(self.ids[self._sorted_rows :]) + self._sorted_rows
        return order, self.ids[order]

    @functools.cached_property
    def ascending(self) -> Ids:
        """The photos of all rows, ascending; the same array as long as there are the same."""
        return self.ids if self.is_sorted else self.ids[self._order]

    def in_order(self, mask: Flags) -> Flags:
        """A mask over the rows as one over `ascending`."""
        return mask if self.is_sorted else mask[self._order]

    @functools.cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        return np.argsort(self.ids, kind="stable")  # of runs in order: merged, not sorted

    def sorted_ids(self, mask: Flags) -> Ids:
        """The photos of these rows, ascending: int64[m]."""
        ids = self.ids[np.flatnonzero(mask)]  # sooner than by the mask itself
        return ids if self._sorted_rows == len(self) else np.sort(ids)


class Terms:
    """The strings behind codes; lists only ever grow."""

    def __init__(self) -> None:
        self.lists: dict[str, list[str]] = {kind: [""] for kind in TERM_KINDS}

    def read(self, reading: Reading) -> None:
        """Take in those that were given out since."""
        for kind, known in self.lists.items():
            known.extend(map(display_path, terms_from(reading, kind, len(known))))

    def take(self, codes: NewCodes) -> None:
        for kind, known in self.lists.items():
            known.extend(map(display_path, codes.terms[kind][len(known) :]))


class ColumnsReader:
    """The newest `Columns` of one store, kept while nothing changes. Safe from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._current: Columns | None = None
        self._buffers: dict[str, Array] = {}  # longer than the columns that lie in them
        self._terms = Terms()
        self._own_codes: NewCodes | None = None  # of rows made from records

    def columns(self) -> Columns:
        """All photos as of the last commit. Raises CatalogDamagedError."""
        with self._lock, self._store.snapshot() as reading:
            if self._current is None or (self._own_codes is not None and columns_are_complete(reading)):
                self._current = self._loaded(reading)
            elif reading.number("commit") != self._current.commit:
                self._current = self._refreshed(self._current, reading)
            return self._current

    def _loaded(self, reading: Reading) -> Columns:
        self._terms = Terms()
        if columns_are_complete(reading):
            self._own_codes = None
            rows = _as_rows(reading.joined("columns"))
            self._terms.read(reading)
        else:
            self._own_codes = NewCodes()
            rows = self._made(reading, reading.ids("photos"))
        self._buffers = _columns_of(rows, len(rows) + len(rows) // 8 + _SPARE_ROWS)
        return self._columns(np.ones(len(rows), bool), len(rows), next(_layouts), reading)

    def _refreshed(self, former: Columns, reading: Reading) -> Columns:
        try:
            ids = np.unique(reading.changes_since(former.commit)[1])
        except ChangesTrimmedError:
            return self._loaded(reading)
        rows = self._rows(reading, ids)
        places = former.former_rows_of(rows["photo_id"])
        fresh = rows[places < 0]
        if len(former) + len(fresh) > len(self._buffers["photo_id"]):
            return self._loaded(reading)
        self._replace(places[places >= 0], rows[places >= 0])
        for name, buffer in self._buffers.items():
            buffer[len(former) : len(former) + len(fresh)] = fresh[name]
        gone = former.former_rows_of(np.setdiff1d(ids, rows["photo_id"]))
        alive = np.append(former.alive, np.ones(len(fresh), bool))
        alive[places[places >= 0]] = True
        alive[gone[gone >= 0]] = False
        return self._columns(alive, former._sorted_rows, former.layout, reading)

    def _replace(self, places: npt.NDArray[np.int64], rows: Rows) -> None:
        """Write rows over former ones, in copies: somebody may be looking at those."""
        for name, buffer in self._buffers.items():
            if buffer[places].tobytes() != rows[name].tobytes():
                self._buffers[name] = buffer.copy()
                self._buffers[name][places] = rows[name]

    def _columns(self, alive: Flags, sorted_rows: int, layout: int, reading: Reading) -> Columns:
        arrays = {name: self._array(name, buffer, len(alive)) for name, buffer in self._buffers.items()}
        return Columns(arrays, alive, sorted_rows, layout, reading.number("commit"), self._terms)

    def _array(self, name: str, buffer: Array, length: int) -> Array:
        """The column in a buffer: the very one of the former columns where nothing changed."""
        former = None if self._current is None else self._current.arrays[name]
        if former is not None and former.base is buffer and len(former) == length:
            return former
        array = buffer[:length]
        array.flags.writeable = False
        return array

    def _rows(self, reading: Reading, ids: Ids) -> Rows:
        """The rows of those of these photos that are there."""
        if self._own_codes is not None:
            return self._made(reading, ids)
        stored = (reading.get("columns", id_bytes(photo_id)) for photo_id in ids.tolist())
        rows = _as_rows(b"".join(filter(None, stored)))
        self._terms.read(reading)
        return rows

    def _made(self, reading: Reading, ids: Ids) -> Rows:
        """The same, made from their records."""
        assert self._own_codes is not None
        rows = _as_rows(b"".join(_made_rows(reading, ids, self._own_codes)))
        self._terms.take(self._own_codes)
        return rows


def _made_rows(reading: Reading, ids: Ids, codes: NewCodes) -> Iterator[bytes]:
    for photo_id in ids.tolist():
        try:
            record = decode_record(reading.get("photos", id_bytes(photo_id)) or b"")
        except msgspec.DecodeError:  # gone, or `check` tells of it
            continue
        if record.missing_since is None:
            yield row_of(record, codes.code)


def _as_rows(joined: bytes) -> Rows:
    if len(joined) % ROW.itemsize:
        raise CatalogDamagedError("a row of `columns` has a wrong length: run `catalogd check --repair`")
    return np.frombuffer(joined, ROW)


def _columns_of(rows: Rows, capacity: int) -> dict[str, Array]:
    """Each column of `rows` at the beginning of an array of `capacity`."""
    columns: dict[str, Array] = {
        name: np.empty((capacity, *ROW[name].shape), ROW[name].base) for name in ROW.names or ()
    }
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        for name, column in columns.items():
            column[start : start + len(block)] = block[name]
    return columns


def find(ascending: Ids, ids: Ids) -> npt.NDArray[np.int64]:
    """int64[m]: where each id stands in ids that ascend, -1 where it does not."""
    if not len(ascending):
        return np.full(len(ids), -1, np.int64)
    places = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return np.where(ascending[places] == ids, places, -1)
