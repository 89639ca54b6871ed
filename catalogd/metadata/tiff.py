"""The TIFF structure (TIFF 6.0, BigTIFF, EXIF 2.32, and the variants in RAW headers), read by need.

Promises never to raise and never to take long, whatever the bytes are: every offset is checked, a
directory is visited once, and counts are bounded. Nothing but the directories that are asked for is
looked at, so that `content` may be a file of which little has been read.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from collections.abc import Iterator
from typing import Protocol

from catalogd.metadata.values import KANA, clean_word

MAX_DIRECTORIES = 64  # a RAW file has up to about ten
MAX_ENTRIES = 1024  # a directory; real ones have up to about 120
MAX_VALUES = 256  # numbers in one value: longer ones are tables that nobody reads here
MAX_TEXT_BYTES = 256  # of a name; captions are read `raw`

SUB_DIRECTORIES = 0x014A

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
# 42: TIFF. 0x55: Panasonic RW2. "OR", "SR": Olympus ORF.
_MAGIC_NUMBERS = {42, 0x55, 0x4F52, 0x5352}
_BIG_MAGIC = 43  # BigTIFF: all offsets and counts have 64 bits
# TIFF 6.0 p. 15, 13 (IFD) of its supplement 1, 16 to 18 of BigTIFF: struct code and bytes of one value.
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
    16: ("Q", 8),
    17: ("q", 8),
    18: ("Q", 8),
}
BYTE, ASCII, UNDEFINED = 1, 2, 7
_TEXT_TYPES = {BYTE, ASCII, UNDEFINED}  # some programs write text in all of them
# Two kanji in a row in Shift-JIS, one of which starts with a byte that is no letter in Windows-1252 or 1250.
# Those that start with an accented letter are left out: two of them are "élève".
_TWO_KANJI = re.compile(
    rb"[\x88\x89\x8b\x90-\x99\x9b][\x40-\x7e\x80-\xfc][\x88-\x9f][\x40-\x7e\x80-\xfc]"
    rb"|[\x88-\x9f][\x40-\x7e\x80-\xfc][\x88\x89\x8b\x90-\x99\x9b][\x40-\x7e\x80-\xfc]"
)


class Content(Protocol):
    """Bytes, or a file of which only what is asked for is read."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> bytes: ...


class Directory:
    """One image file directory: tag to value, decoded when asked for."""

    __slots__ = ("_entries", "content", "order")

    def __init__(self, content: Content, order: str, entries: dict[int, tuple[int, int, int]]) -> None:
        self.content = content  # that the offsets of its values are places in
        self.order = order  # "<" or ">"
        self._entries = entries  # tag: type, count, offset of the value

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def __iter__(self) -> Iterator[int]:
        """The tags, in the order of the file."""
        return iter(self._entries)

    def shape(self, tag: int) -> tuple[int, int]:
        """The TIFF type of `tag` and how many values it declares; 0, 0 when it is absent."""
        return self._entries.get(tag, (0, 0, 0))[:2]

    def span(self, tag: int) -> tuple[int, int]:
        """Where the value of `tag` starts and how many bytes it has; 0, 0 unless all of it is there."""
        kind, count, offset = self._entries.get(tag, (0, 0, 0))
        size = count * _TYPES.get(kind, ("", 1))[1]
        return (offset, size) if size and offset + size <= len(self.content) else (0, 0)

    def raw(self, tag: int, most: int) -> bytes:
        """The first `most` bytes of the value of `tag`, as they are; fewer where the file ends."""
        kind, count, offset = self._entries.get(tag, (0, 0, 0))
        size = count * _TYPES.get(kind, ("", 1))[1]
        return self.content[offset : offset + min(size, most)]

    def fractions(self, tag: int) -> tuple[float | None, ...]:
        """The numbers of `tag`, None for each that is not finite: a zero denominator means "unknown".

        Empty when it is absent, text, or does not fit the file. Whole numbers are ints, also in type.
        """
        entry = self._entries.get(tag)
        if entry is None:
            return ()
        kind, count, offset = entry
        code, size = _TYPES.get(kind, ("s", 1))
        count = min(count, MAX_VALUES)
        if code == "s" or offset + count * size > len(self.content):
            return ()
        raw = self.content[offset : offset + count * size]
        values = struct.unpack(f"{self.order}{count * len(code)}{code[0]}", raw)
        if len(code) == 2:
            pairs = zip(values[::2], values[1::2], strict=True)
            return tuple(top / bottom if bottom else None for top, bottom in pairs)
        return values if code not in "fd" else tuple(n if math.isfinite(n) else None for n in values)

    def numbers(self, tag: int) -> tuple[float, ...]:
        """The numbers of `tag`; empty when one of them is unknown, and as `fractions` says."""
        values = self.fractions(tag)
        return () if None in values else values  # type: ignore[return-value]

    def number(self, tag: int) -> float | None:
        """The first number of `tag`."""
        if tag not in self._entries:
            return None
        values = self.numbers(tag)
        return values[0] if values else None

    def text(self, tag: int) -> str | None:
        """The text of `tag` up to its first NUL, on one line; None when nothing is left."""
        entry = self._entries.get(tag)
        if entry is None or entry[0] not in _TEXT_TYPES:
            return None
        return clean_word(decode_text(self.raw(tag, MAX_TEXT_BYTES).partition(b"\0")[0]))

    def offsets(self, tag: int) -> tuple[int, ...]:
        """The numbers of `tag` that can be places in the file."""
        return tuple(int(n) for n in self.numbers(tag) if 0 < n < len(self.content))


class Tiff:
    """A TIFF structure: a whole TIFF or TIFF-based RAW file, or the EXIF block of another format."""

    def __init__(self, content: Content) -> None:
        self._content = content[6 : len(content)] if content[:6] == b"Exif\0\0" else content
        self._order, self._big, self._first = _read_start(self._content[:16])

    def main(self) -> Directory:
        """The first directory; empty when there is none."""
        return self.directory(self._first)[0]

    def directory(self, offset: int | None) -> tuple[Directory, int]:
        """The directory at `offset` and the offset of the next one, 0 when there is none."""
        if offset is None or offset < 8:
            return Directory(self._content, self._order, {}), 0
        return read_directory(self._content, self._order, offset, self._big)

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


def _read_start(head: bytes) -> tuple[str, bool, int]:
    """Byte order, whether it is BigTIFF, and the offset of the first directory, 0 when there is none."""
    order = _BYTE_ORDERS.get(head[:2], "")
    if not order or len(head) < 8:
        return "", False, 0
    magic, first = struct.unpack(order + "HI", head[2:8])
    if magic == _BIG_MAGIC and len(head) == 16:
        return order, True, struct.unpack(order + "Q", head[8:])[0]
    return order, False, first if magic in _MAGIC_NUMBERS else 0


def read_directory(content: Content, order: str, offset: int, big: bool = False) -> tuple[Directory, int]:
    """The directory at `offset` of `content` and the offset of the next one, 0 when there is none.

    Where no directory can be it is empty. `big`: laid out as in BigTIFF.
    """
    count_code, row_code, word = ("Q", "HHQQ", 8) if big else ("H", "HHII", 4)
    count_bytes, row_bytes = struct.calcsize("<" + count_code), struct.calcsize("<" + row_code)
    entries: dict[int, tuple[int, int, int]] = {}
    start = offset + count_bytes
    if not order or start > len(content):
        return Directory(content, order, entries), 0
    (count,) = struct.unpack(order + count_code, content[offset:start])
    end = start + row_bytes * count
    body = content[start : min(end, start + row_bytes * MAX_ENTRIES)]
    rows = struct.iter_unpack(order + row_code, body[: len(body) // row_bytes * row_bytes])
    place = start + row_bytes - word
    for tag, kind, number, outside in rows:
        inside = number * _TYPES.get(kind, ("", 1))[1] <= word
        entries.setdefault(tag, (kind, number, place if inside else outside))
        place += row_bytes
    if end + word > len(content):
        return Directory(content, order, entries), 0
    return Directory(content, order, entries), struct.unpack(order + row_code[-1], content[end : end + word])[
        0
    ]


def decode_text(raw: bytes) -> str:
    """Text of unknown charset: UTF-8, Shift-JIS where that can be told, else Windows-1252.

    A last character of UTF-8 that is cut in two is left out.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        if error.reason == "unexpected end of data" and not before.isascii():
            return before.decode("utf-8")
    japanese = ("cp932",) if KANA.search(raw) or _TWO_KANJI.search(raw) else ()
    for charset in (*japanese, "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            return raw.decode(charset)
    return raw.decode("latin-1")
