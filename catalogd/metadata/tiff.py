"""The TIFF structure (TIFF 6.0; EXIF 2.32; the variants in RAW headers), read by need.

Promises never to raise and never to take long, whatever the bytes are: every offset is checked, a
directory is visited once, and counts are bounded. Nothing but the directories that are asked for is
looked at, so that `content` may be a file of which little has been read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Protocol

MAX_DIRECTORIES = 64  # a RAW file has up to about ten
MAX_ENTRIES = 1024  # a directory; real ones have up to about 120
MAX_VALUES = 256  # numbers in one value: longer ones are tables that nobody reads here
MAX_TEXT_BYTES = 256

SUB_DIRECTORIES = 0x014A

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
# 42: TIFF. 0x55: Panasonic RW2. "OR", "SR": Olympus ORF.
_MAGIC_NUMBERS = {42, 0x55, 0x4F52, 0x5352}
# TIFF 6.0 p. 15, and 13 (IFD) of its supplement 1: struct code and bytes of one value.
_TYPES = {
    1: ("B", 1),
    2: ("s", 1),
    3: ("H", 2),
    4: ("I", 4),
    5: ("II", 8),
    6: ("b", 1),
    7: ("s", 1),
    8: ("h", 2),
    9: ("i", 4),
    10: ("ii", 8),
    11: ("f", 4),
    12: ("d", 8),
    13: ("I", 4),
}


class Content(Protocol):
    """Bytes, or a file of which only what is asked for is read."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> bytes: ...


class Directory:
    """One image file directory: tag to value, decoded when asked for."""

    def __init__(self, content: Content, order: str, entries: dict[int, tuple[int, int, int]]) -> None:
        self._content = content
        self._order = order
        self._entries = entries  # tag: type, count, offset of the value

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def numbers(self, tag: int) -> tuple[float, ...]:
        """The finite numbers of `tag`; empty when it is absent, text, or does not fit the file.

        Whole numbers are ints, also in type; a rational with a zero denominator makes all absent.
        """
        kind, count, offset = self._entries.get(tag, (0, 0, 0))
        code, size = _TYPES.get(kind, ("s", 1))
        count = min(count, MAX_VALUES)
        if code == "s" or offset + count * size > len(self._content):
            return ()
        raw = self._content[offset : offset + count * size]
        values = struct.unpack(f"{self._order}{count * len(code)}{code[0]}", raw)
        if len(code) == 2:
            pairs = list(zip(values[::2], values[1::2], strict=True))
            if any(bottom == 0 for _, bottom in pairs):
                return ()
            values = tuple(top / bottom for top, bottom in pairs)
        return values if all(map(math.isfinite, values)) else ()

    def number(self, tag: int) -> float | None:
        """The first number of `tag`."""
        return next(iter(self.numbers(tag)), None)

    def text(self, tag: int) -> str | None:
        """The printable text of `tag` up to its first NUL; None when nothing is left."""
        kind, count, offset = self._entries.get(tag, (0, 0, 0))
        if kind not in (1, 2, 7):
            return None
        raw = self._content[offset : offset + min(count, MAX_TEXT_BYTES)].split(b"\0")[0]
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split()) or None

    def offsets(self, tag: int) -> tuple[int, ...]:
        """The numbers of `tag` that can be places in the file."""
        return tuple(int(n) for n in self.numbers(tag) if 0 < n < len(self._content))


class Tiff:
    """A TIFF structure: a whole TIFF or TIFF-based RAW file, or the EXIF block of another format."""

    def __init__(self, content: Content) -> None:
        self._content = content[6 : len(content)] if content[:6] == b"Exif\0\0" else content
        self._order = _BYTE_ORDERS.get(self._content[:2], "")
        head = self._content[2:8]
        magic, first = struct.unpack(self._order + "HI", head) if self._order and len(head) == 6 else (0, 0)
        self._first = first if magic in _MAGIC_NUMBERS else 0

    def main(self) -> Directory:
        """The first directory; empty when there is none."""
        return self.directory(self._first)[0]

    def directory(self, offset: int | None) -> tuple[Directory, int]:
        """The directory at `offset` and the offset of the next one, 0 when there is none."""
        entries: dict[int, tuple[int, int, int]] = {}
        after = 0
        if offset and 8 <= offset <= len(self._content) - 2:
            (count,) = struct.unpack(self._order + "H", self._content[offset : offset + 2])
            start = offset + 2
            end = start + 12 * count
            body = self._content[start : min(end, start + 12 * MAX_ENTRIES)]
            rows = struct.iter_unpack(self._order + "HHI4s", body[: len(body) // 12 * 12])
            for i, (tag, kind, number, value) in enumerate(rows):
                size = _TYPES.get(kind, ("", 1))[1] * number
                place = start + 12 * i + 8
                if size > 4:
                    (place,) = struct.unpack(self._order + "I", value)
                entries.setdefault(tag, (kind, number, place))
            if end + 4 <= len(self._content):
                (after,) = struct.unpack(self._order + "I", self._content[end : end + 4])
        return Directory(self._content, self._order, entries), after

    def directories(self) -> Iterator[Directory]:
        """The chain of directories and their sub-directories, each once, `MAX_DIRECTORIES` at most."""
        waiting, seen = [self._first], {0}
        while waiting and len(seen) <= MAX_DIRECTORIES:
            offset = waiting.pop(0)
            if offset in seen:
                continue
            seen.add(offset)
            directory, after = self.directory(offset)
            yield directory
            waiting += [*directory.offsets(SUB_DIRECTORIES), after]

    def linked(self, main: Directory, tag: int) -> Directory:
        """The directory that `tag` of `main` points to; empty when there is none."""
        return self.directory(next(iter(main.offsets(tag)), None))[0]
