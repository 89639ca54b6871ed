"""The tables of a Lightroom catalog as they are there: every version has other columns.

Nothing is expected but the images and their files; a query asks for the columns that there are, and what
is missing is kept, to be told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from catalogd.errors import LightroomError, UsageError

NEWEST_KNOWN = 15  # Lightroom Classic's major version whose tables these names are from
NEEDED = ("Adobe_images", "AgLibraryFile", "AgLibraryFolder", "AgLibraryRootFolder")
MOST_ID_CHARS = 120  # of an id; two uuids have 73
PAGE_ROWS = 500  # fetched from SQLite at once

Row = tuple[Any, ...]


class Version(NamedTuple):
    """Of Lightroom, by what it wrote into the catalog."""

    text: str  # "1300014"; "" where it says nothing
    major: int | None  # 13; None where it can't be told

    @property
    def is_newer(self) -> bool:
        """Than what was known when this was written."""
        return self.major is not None and self.major > NEWEST_KNOWN


class Tables:
    """What tables and columns there are, and rows of them.

    A view is not taken for a table: a catalog has none, and what one does is up to who made it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Raises UsageError for a database that is no Lightroom catalog."""
        self._connection = connection
        rows = self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        self._columns = {name.lower(): self._columns_of(name) for (name,) in rows}
        self.missing: dict[str, None] = {}  # "table.column" and "table" that were asked for, in order
        absent = [name for name in NEEDED if name.lower() not in self._columns]
        if absent:
            raise UsageError(f"this database is no Lightroom catalog: it has no table {absent[0]}")

    def _columns_of(self, table: str) -> frozenset[str]:
        quoted = table.replace('"', '""')
        return frozenset(row[1].lower() for row in self.rows(f'PRAGMA table_info("{quoted}")'))

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is a table with all of these columns; what is not is noted as missing."""
        there = self._columns.get(table.lower())
        if there is None:
            self.missing[table] = None
            return False
        absent = [column for column in columns if column.lower() not in there]
        self.missing.update((f"{table}.{column}", None) for column in absent)
        return not absent

    def pick(self, table: str, alias: str, *columns: str) -> str:
        """Columns for a SELECT; NULL in place of those that there are not."""
        return ", ".join(f"{alias}.{column}" if self.has(table, column) else "NULL" for column in columns)

    def rows(self, sql: str, *values: Any) -> Iterator[Row]:
        """The rows of a query, fetched in pages. Raises LightroomError when the catalog is damaged."""
        try:
            cursor = self._connection.execute(sql, values)
            while page := cursor.fetchmany(PAGE_ROWS):
                yield from page
        except sqlite3.DatabaseError as error:
            if str(error) == "interrupted":  # by Ctrl-C: SQLite asks us whether to go on
                raise KeyboardInterrupt from None
            raise LightroomError(
                f"the catalog can't be read to its end ({error}): let Lightroom repair it "
                "(File > Optimize Catalog), or import one of its backups"
            ) from None

    def one(self, sql: str, *values: Any) -> Any:
        """The first value of the first row; None where there is none."""
        return next(self.rows(sql, *values), (None,))[0]

    def variable(self, name: str) -> str:
        """A value of the catalog's own settings; "" where there is none."""
        if not self.has("Adobe_variablesTable", "name", "value"):
            return ""
        found = self.one("SELECT value FROM Adobe_variablesTable WHERE name = ?", name)
        return "" if found is None else str(found)

    def version(self) -> Version:
        """Seven digits, of which the last five are of that major version: 0600008 is Lightroom 6."""
        text = self.variable("Adobe_DBVersion").strip()
        digits = text.partition(".")[0]
        known = digits.isdecimal() and len(digits) in (6, 7)
        return Version(text, int(digits[:-5]) if known else None)

    def catalog_id(self) -> str:
        """Stays with a catalog when it is moved, copied or made newer; "" where it has nothing like that.

        Of several ids that a catalog gets when it is made, so that no two catalogs are taken for one.
        """
        ids = [self.variable("Adobe_storeProviderID")]
        for table, condition in (("AgLibraryKeyword", "parent IS NULL"), ("AgLibraryRootFolder", "1")):
            columns = ("id_local", "id_global", *(("parent",) if "parent" in condition else ()))
            if self.has(table, *columns) and (table == "AgLibraryKeyword" or not any(ids)):
                sql = f"SELECT id_global FROM {table} WHERE {condition} ORDER BY id_local"
                ids.append(str(self.one(sql) or ""))
        return " ".join(part.strip() for part in ids if part.strip())[:MOST_ID_CHARS]
