"""Strings as numbers: the `terms` of the store, a code for each string of a kind.

    kind, 1 byte + code, 4 bytes             → the string's bytes
    kind + 0x80 + xxh3_128 of the string     → code, 4 bytes

Codes of a kind count up from 1; 0 stands for no string. A string keeps its code, also when no photo
has it any more, so that an array of codes stays right while others are given out.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import xxhash

from catalogd.catalog.environment import Tables
from catalogd.catalog.photo_row import TERM_KINDS

TABLE = "terms"
_CODE = struct.Struct(">I")
_HASHES = 0x80  # added to a kind: its rows that lead from a string to its code


class TermCodes:
    """The codes of one transaction: looked up once, and in a writing one given out where there is none."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._known: dict[tuple[str, bytes], int] = {}
        self._next: dict[str, int] = {}

    def code(self, kind: str, term: bytes) -> int:
        """The code of a string, a new one where it has none; 0 of the empty one."""
        if not term:
            return 0
        code = self._known.get((kind, term))
        return self._stored(kind, term) or self._new(kind, term) if code is None else code

    def known(self, kind: str, term: bytes) -> int:
        """The same, 0 where it has none: for who only reads."""
        if not term:
            return 0
        code = self._known.get((kind, term))
        return self._stored(kind, term) if code is None else code

    def _stored(self, kind: str, term: bytes) -> int:
        value = self._tables.get(TABLE, _hash_key(kind, term))
        if value is None:
            return 0
        self._known[kind, term] = int(_CODE.unpack(value)[0])
        return self._known[kind, term]

    def _new(self, kind: str, term: bytes) -> int:
        code = self._next.get(kind) or _first_free(self._tables, kind)
        self._next[kind] = code + 1
        packed = _CODE.pack(code)
        self._tables.put(TABLE, bytes([TERM_KINDS[kind]]) + packed, term)
        self._tables.put(TABLE, _hash_key(kind, term), packed)
        self._known[kind, term] = code
        return code


class NewCodes:
    """Codes that no store has, of one who makes rows for itself."""

    def __init__(self) -> None:
        self.terms: dict[str, list[bytes]] = {kind: [b""] for kind in TERM_KINDS}
        self._codes: dict[tuple[str, bytes], int] = {}

    def code(self, kind: str, term: bytes) -> int:
        """As TermCodes.code."""
        if not term:
            return 0
        code = self._codes.setdefault((kind, term), len(self.terms[kind]))
        if code == len(self.terms[kind]):
            self.terms[kind].append(term)
        return code


def terms_from(tables: Tables, kind: str, first: int) -> Iterator[bytes]:
    """The strings of a kind by code, from the one whose code is `first`."""
    prefix = bytes([TERM_KINDS[kind]])
    rows = tables.rows_with(TABLE, prefix, prefix + _CODE.pack(first))
    for expected, (key, term) in zip(itertools.count(first), rows, strict=False):
        if key[1:] != _CODE.pack(expected):  # `check` tells of the gap
            return
        yield term


def wrong_terms(tables: Tables) -> Iterator[str]:
    """What is wrong with the codes: a gap between them, or a string that does not lead back to its code."""
    strings = 0
    for kind, byte in TERM_KINDS.items():
        for code, (key, term) in enumerate(tables.rows_with(TABLE, bytes([byte])), 1):
            strings += 1
            if key[1:] != _CODE.pack(code):
                yield f"a code of {kind} is missing: {code}"
                break
            if tables.get(TABLE, _hash_key(kind, term)) != key[1:]:
                yield f"the code of a {kind} is not found: {code}"
    if tables.entries(TABLE) != 2 * strings:
        yield "strings and their codes don't belong together"


def _first_free(tables: Tables, kind: str) -> int:
    last = tables.last_before(TABLE, bytes([TERM_KINDS[kind] + 1]))
    return int(_CODE.unpack(last[1:])[0]) + 1 if last is not None and last[0] == TERM_KINDS[kind] else 1


def _hash_key(kind: str, term: bytes) -> bytes:
    return bytes([TERM_KINDS[kind] | _HASHES]) + xxhash.xxh3_128_digest(term)
