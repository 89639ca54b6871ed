"""Boxes of ISO base media files (ISO/IEC 14496-12): HEIF, AVIF, CR3, JPEG XL, JPEG 2000.

Only box headers are read; every size is checked against what encloses the box, and a file that
nests or repeats boxes without end yields `MAX_BOXES` of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from catalogd.metadata.tiff import Content

MAX_BOXES = 10_000  # in one enclosing box; a grid of a 200-MP photo has about 1,000 items


class Box(NamedTuple):
    """One box: its four-letter kind, and the places where its content starts and ends."""

    kind: bytes  # b"uuid" boxes: b"uuid" + the 16 bytes that name them
    start: int
    end: int


def boxes(content: Content, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that lie one after another between `start` and `end`. Never raises."""
    end = len(content) if end is None else min(end, len(content))
    for _ in range(MAX_BOXES):
        header = content[start : min(start + 32, end)]
        if len(header) < 8:
            return
        size, kind, inside = int.from_bytes(header[:4], "big"), header[4:8], 8
        if size == 1 and len(header) >= 16:
            size, inside = int.from_bytes(header[8:16], "big"), 16
        elif size == 0:  # to the end of the file
            size = end - start
        if kind == b"uuid" and len(header) >= inside + 16:
            kind += header[inside : inside + 16]
            inside += 16
        if size < inside or start + size > end:
            return
        yield Box(kind, start + inside, start + size)
        start += size


def find(content: Content, *kinds: bytes, start: int = 0, end: int | None = None) -> Box | None:
    """The first box of `kinds[0]`, in it the first of `kinds[1]`, and so on; None when one is absent.

    A full box's version and flags (`meta`) are skipped where a box follows them.
    """
    found: Box | None = None
    for kind in kinds:
        if found is not None:
            start, end = found.start, found.end
            if found.kind == b"meta" and content[start : start + 4] == bytes(4):
                start += 4
        found = next((box for box in boxes(content, start, end) if box.kind == kind), None)
        if found is None:
            return None
    return found
