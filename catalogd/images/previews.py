"""Where photos keep smaller pictures of themselves: previews in RAW files of all makers and in JPEGs.

Only places are told, found by need: a directory here, a box there. Nothing is believed beyond the
two bytes that every JPEG begins with; whether a picture is whole, large enough and of the photo's
shape is for its decoder to see (`images.jpeg.decode_preview`). Never raises for what a file holds.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from catalogd.images.source import Part
from catalogd.metadata import Content, Directory, Tiff
from catalogd.metadata.bmff import boxes, find
from catalogd.metadata.exif import EXIF_DIRECTORY
from catalogd.metadata.tiff import read_directory

MAX_PREVIEWS = 64  # looked at; a RAW file holds up to about five
MAX_PREVIEW_BYTES = 64 << 20  # the finest of a 200-MP photo has some 40 MB
MAX_CIFF_ENTRIES = 1024  # of a heap; real ones have up to about 30
MAX_X3F_SECTIONS = 64
MAX_MP_ENTRIES = 64  # pictures of a multi-picture file: panoramas have up to about 15

# uuid boxes of a CR3.
CANON_METADATA = b"uuid" + bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_CANON_PREVIEW = b"uuid" + bytes.fromhex("eaf42b5e1c984b88b9fbb7dc406e4d16")

_JPEG_START, _JPEG_BYTES, _JPEG_FROM_RAW = 0x0201, 0x0202, 0x002E
_STRIP_START, _STRIP_BYTES, _COMPRESSION, _PHOTOMETRIC = 0x0111, 0x0117, 0x0103, 0x0106
_JPEG_COMPRESSIONS = {6, 7}
_PICTURE_PHOTOMETRICS = {None, 1, 2, 6}  # gray, RGB, YCbCr: no sensor data, no depth map, no mask

_MAKER_NOTE = 0x927C
_NOTE_PAIRS = ((0x0088, 0x0089), (0x0004, 0x0003))  # start and bytes: Minolta, Pentax
_NOTE_DATA = (0x2001, 0x0081)  # the picture as the value: Sony, Minolta
_CANON_PREVIEW_INFO = 0x00B6  # its third number is the bytes, its sixth the start
_NOTE_DIRECTORIES = (0x0011, 0x0035, 0x2020)  # Nikon, Samsung, Olympus
_NOTE_DIRECTORY_PAIRS = ((_JPEG_START, _JPEG_BYTES), (0x0101, 0x0102))

_MP_ENTRY = 0xB002
_LARGE_THUMBNAILS = {0x010001, 0x010002}  # CIPA DC-007, 5.2.3.3.1: of VGA and of full-HD size
_MP_TYPE, _MP_FORMAT = 0x00FFFFFF, 0x07000000  # 0 in the latter: JPEG


class Preview(NamedTuple):
    """Where a JPEG picture lies in a file."""

    start: int
    size: int


class _Note(NamedTuple):
    """How a maker's note begins, and where in it the parts of its directory are."""

    start: bytes
    order: int | None  # offset of "II" or "MM"; None: as in the file's own directories
    directory: int
    base: bool  # whether its offsets count from the note, not from the TIFF header


_NOTES = (
    _Note(b"OLYMPUS\0", 8, 12, True),
    _Note(b"OM SYSTEM\0", 12, 16, True),
    _Note(b"OLYMP\0", None, 8, False),
    _Note(b"PENTAX \0", 8, 10, True),
    _Note(b"AOC\0", 4, 6, False),
    _Note(b"SONY", None, 12, False),
    _Note(b"", None, 0, False),  # Canon, Minolta, Samsung
)
_NIKON_START, _NIKON_TIFF = b"Nikon\0\2", 10  # a TIFF structure of its own


def raw_previews(content: Content) -> Iterator[Preview]:
    """The JPEG pictures that the structure of a RAW file names, each once."""
    head = content[:14]
    if head[4:8] == b"ftyp":
        found = _in_cr3(content)
    elif head.startswith(b"FUJIFILM"):
        found = _in_raf(content)
    elif head.startswith(b"\0MRM"):
        start, _ = minolta_tiff(content)
        found = _moved(_in_tiff(Part(content, start, len(content))), start)
    elif head.startswith(b"FOVb"):
        found = _in_x3f(content)
    elif head[6:] == b"HEAPCCDR":
        found = _in_ciff(content)
    else:
        found = _in_tiff(content)
    return _there(content, found)


def note_previews(content: Content, tiff_start: int) -> Iterator[Preview]:
    """The pictures that the maker note of a JPEG names; its EXIF's TIFF header is at `tiff_start`."""
    tiff = Tiff(Part(content, tiff_start, len(content)))
    return _there(content, _moved(_in_note(tiff, tiff.main()), tiff_start))


def mpf_previews(content: Content, start: int) -> Iterator[Preview]:
    """The large thumbnails of a multi-picture JPEG (CIPA DC-007) whose MP header is at `start`.

    None when the first picture does not end where its entry says: a program that changed the file
    has left the entries as they were.
    """
    index = Tiff(Part(content, start, len(content))).main()
    entries = index.raw(_MP_ENTRY, 16 * MAX_MP_ENTRIES)
    rows = list(struct.iter_unpack(index.order + "III4x", entries[: len(entries) // 16 * 16]))
    end = rows[0][1] if rows else 0
    if content[max(end - 2, 0) : end] != b"\xff\xd9":
        return iter(())
    found = (
        Preview(start + offset, size)
        for kind, size, offset in rows[1:]
        if kind & _MP_TYPE in _LARGE_THUMBNAILS and not kind & _MP_FORMAT and start + offset >= end
    )
    return _there(content, found)


def _there(content: Content, found: Iterable[Preview]) -> Iterator[Preview]:
    """Those that lie in the file, of a size that a JPEG has, begin like one, and have not come before."""
    seen = set()
    for preview in itertools.islice(found, MAX_PREVIEWS):
        start, size = preview
        inside = 0 < start < start + size <= len(content) and size <= MAX_PREVIEW_BYTES
        if inside and preview not in seen and content[start : start + 2] == b"\xff\xd8":
            seen.add(preview)
            yield preview


def _moved(found: Iterable[Preview], by: int) -> Iterator[Preview]:
    return (Preview(start + by, size) for start, size in found)


# ── TIFF: most RAW files, and EXIF ────────────────────────────────────────────────────────────


def _in_tiff(content: Content) -> Iterator[Preview]:
    tiff = Tiff(content)
    directories = list(tiff.directories())
    for directory in directories:
        yield from _in_directory(directory)
    if directories:
        yield from _in_note(tiff, directories[0])


def _in_directory(directory: Directory) -> Iterator[Preview]:
    if directory.number(_PHOTOMETRIC) not in _PICTURE_PHOTOMETRICS:
        return
    yield from _pair(directory, _JPEG_START, _JPEG_BYTES)
    if directory.number(_COMPRESSION) in _JPEG_COMPRESSIONS:
        yield from _pair(directory, _STRIP_START, _STRIP_BYTES)
    yield Preview(*directory.span(_JPEG_FROM_RAW))  # Panasonic


def _pair(directory: Directory, start_tag: int, bytes_tag: int) -> Iterator[Preview]:
    starts, sizes = directory.offsets(start_tag), directory.numbers(bytes_tag)
    if len(starts) == len(sizes) == 1:
        yield Preview(starts[0], int(sizes[0]))


def _in_note(tiff: Tiff, main: Directory) -> Iterator[Preview]:
    """What the maker note names; places in the content of `tiff`."""
    detail = tiff.linked(main, EXIF_DIRECTORY)
    start, size = detail.span(_MAKER_NOTE)
    head = detail.content[start : start + min(size, 16)]
    if head.startswith(_NIKON_START):
        base = start + _NIKON_TIFF
        note = Tiff(Part(detail.content, base, len(detail.content))).main()
    elif head:
        base, note = _read_note(detail, start, head)
    else:
        return
    yield from _moved(_in_note_directory(note), base)


def _read_note(detail: Directory, start: int, head: bytes) -> tuple[int, Directory]:
    """The directory of a note, and what its offsets count from."""
    kind = next(note for note in _NOTES if head.startswith(note.start))
    order = detail.order
    if kind.order is not None:
        order = {b"II": "<", b"MM": ">"}.get(head[kind.order : kind.order + 2], order)
    base = start if kind.base else 0
    content = Part(detail.content, base, len(detail.content))
    return base, read_directory(content, order, start - base + kind.directory)[0]


def _in_note_directory(note: Directory) -> Iterator[Preview]:
    for start_tag, bytes_tag in _NOTE_PAIRS:
        yield from _pair(note, start_tag, bytes_tag)
    for tag in _NOTE_DATA:
        yield Preview(*note.span(tag))
    numbers = note.numbers(_CANON_PREVIEW_INFO)
    if len(numbers) >= 6:
        yield Preview(int(numbers[5]), int(numbers[2]))
    for tag in _NOTE_DIRECTORIES:
        for offset in note.offsets(tag)[:1]:
            directory = read_directory(note.content, note.order, offset)[0]
            for start_tag, bytes_tag in _NOTE_DIRECTORY_PAIRS:
                yield from _pair(directory, start_tag, bytes_tag)


# ── other containers ──────────────────────────────────────────────────────────────────────────


def _in_cr3(content: Content) -> Iterator[Preview]:
    """Canon CR3: a preview box, and the first of its tracks, which is a JPEG."""
    for box in boxes(content):
        if box.kind == _CANON_PREVIEW:
            head = content[box.start : min(box.start + 64, box.end)]
            at = head.find(b"\xff\xd8\xff")
            if at >= 4:
                size = int.from_bytes(head[at - 4 : at], "big")
                yield Preview(box.start + at, min(size, box.end - box.start - at))
        elif box.kind == b"moov":
            for track in boxes(content, box.start, box.end):
                if track.kind == b"trak":
                    yield from _first_sample(content, track.start, track.end)


def _first_sample(content: Content, start: int, end: int) -> Iterator[Preview]:
    """The first sample of a track, by its tables (ISO/IEC 14496-12, 8.7.3 and 8.7.5)."""
    table = find(content, b"mdia", b"minf", b"stbl", start=start, end=end)
    if table is None:
        return
    sizes = find(content, b"stsz", start=table.start, end=table.end)
    for kind, width in ((b"co64", 8), (b"stco", 4)):
        places = find(content, kind, start=table.start, end=table.end)
        if sizes is not None and places is not None:
            offset = int.from_bytes(content[places.start + 8 : places.start + 8 + width], "big")
            alike, _, first = struct.unpack(
                ">III", content[sizes.start + 4 : sizes.start + 16].ljust(12, b"\0")
            )
            yield Preview(offset, alike or first)


def _in_raf(content: Content) -> Iterator[Preview]:
    """Fujifilm RAF: the header says where its JPEG is."""
    place = content[84:92]
    if len(place) == 8:
        yield Preview(*struct.unpack(">II", place))


def minolta_tiff(content: Content) -> tuple[int, int]:
    """Where the TIFF structure of a Minolta MRW is, its block TTW, and its size; 0, 0 without one."""
    at, end = 8, min(8 + int.from_bytes(content[4:8], "big"), len(content))
    while at + 8 <= end:
        head = content[at : at + 8]
        size = int.from_bytes(head[4:], "big")
        if head[:4] == b"\0TTW":
            return at + 8, size
        at += 8 + size
    return 0, 0


def _in_ciff(content: Content) -> Iterator[Preview]:
    """Canon CRW (CIFF 1.0): the JPEG record of the root heap, whose directory is at its end."""
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", content[2:6])
    end = len(content)
    if end < start + 4:
        return
    (table,) = struct.unpack(order + "I", content[end - 4 : end])
    table += start
    (count,) = struct.unpack(order + "H", content[table : table + 2].ljust(2, b"\0"))
    rows = content[table + 2 : table + 2 + 10 * min(count, MAX_CIFF_ENTRIES)]
    for tag, size, offset in struct.iter_unpack(order + "HII", rows[: len(rows) // 10 * 10]):
        if tag == 0x2007:
            yield Preview(start + offset, size)


def _in_x3f(content: Content) -> Iterator[Preview]:
    """Sigma X3F: its directory is at the end; JPEG image sections have format 18, after 28 bytes."""
    end = len(content)
    (table,) = struct.unpack("<I", content[end - 4 : end])
    head = content[table : table + 12]
    if head[:4] != b"SECd" or len(head) < 12:
        return
    count = min(int.from_bytes(head[8:], "little"), MAX_X3F_SECTIONS)
    rows = content[table + 12 : table + 12 + 12 * count]
    for start, size, kind in struct.iter_unpack("<II4s", rows[: len(rows) // 12 * 12]):
        if kind in (b"IMAG", b"IMA2") and content[start + 12 : start + 16] == b"\x12\0\0\0":
            yield Preview(start + 28, size - 28)
