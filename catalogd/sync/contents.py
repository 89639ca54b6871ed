"""What the file of a photo holds: its XMP packet, and a digest of each part of everything else.

::

    JPEG    segments but the packet's ─▶ "segment 0 (FFE0)" …   "picture": all from the first scan on
    TIFF    directories ───────────────▶ "IFD0 tag 010F" …      "IFD0 picture 0111": the bytes of its strips

Two files with the same `rest` are the same photo with the same metadata. In a TIFF or DNG, and in the
EXIF of a JPEG when it was written anew, things may lie elsewhere: offsets are followed, not compared.
Reading is strict: what is damaged, ends early or is unusual raises SidecarRefusedError, for a file
that is to be written must be understood whole.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from catalogd.errors import SidecarRefusedError
from catalogd.metadata.tiff import MAX_DIRECTORIES, SUB_DIRECTORIES, Content, Directory, Tiff

_START, _END = b"\xff\xd8", b"\xff\xd9"
_APP1, _FIRST_SCAN = 0xE1, 0xDA
_EXIF_NAME, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"

_XMP_TAG, _MAKER_NOTE, _DNG_PRIVATE, _PADDING = 0x02BC, 0x927C, 0xC634, 0xEA1C
_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_DNG_VERSION, _PHOTOMETRIC = 0xC612, 0x0106
_SENSOR = {32803, 34892}  # a mosaic, and one that was developed to linear colours: TIFF/EP and DNG
# Where the bytes of a picture are, and how many: strips, tiles, one JPEG.
_PICTURES = {0x0111: 0x0117, 0x0144: 0x0145, 0x0201: 0x0202}
_NOT_COMPARED = {
    *(_XMP_TAG, _EXIF, _GPS, _INTEROPERABILITY, SUB_DIRECTORIES, *_PICTURES),
    *(_MAKER_NOTE, _DNG_PRIVATE),  # the offsets in them may count from elsewhere
    _PADDING,  # Microsoft's: room without content
}
_INTEGERS = {3: "H", 4: "I", 13: "I"}  # TIFF 6.0 p. 15: SHORT, LONG; IFD of its supplement 1
_PIECE_BYTES = 16 << 20  # hashed at a time


class Contents(NamedTuple):
    """`packet` is None where there is none; `exif` is a JPEG's, empty for others.

    `notes` are the maker notes of a TIFF or DNG, where they lie and their digest.
    """

    packet: bytes | None
    rest: dict[str, bytes]
    exif: bytes = b""
    notes: tuple[tuple[int, bytes], ...] = ()


class Comparison(NamedTuple):
    """`lost`: the first part that is not in both files alike; None when only the packets differ.

    `notes_moved`: maker notes lie elsewhere, or hold other bytes; whether they still say the same is
    for their maker's tables to tell.
    """

    lost: str | None
    notes_moved: bool


def compare(before: Contents, after: Contents) -> Comparison:
    """What else than the packet differs. Raises SidecarRefusedError when a changed EXIF is not understood."""
    if before.exif != after.exif:
        before, after = (
            contents._replace(rest=contents.rest | exif.rest, notes=exif.notes, exif=b"")
            for contents in (before, after)
            for exif in (_read_tiff(contents.exif),)
        )
    names = (*before.rest, *after.rest)
    lost = next((name for name in names if before.rest.get(name) != after.rest.get(name)), None)
    return Comparison(lost, before.notes != after.notes)


def read_contents(content: Content) -> Contents:
    """The contents of a JPEG, TIFF or DNG; raises SidecarRefusedError for anything else."""
    head = content[0:4]
    if head[:2] == _START:
        return _read_jpeg(content[0 : len(content)])
    if head in (b"II*\0", b"MM\0*"):
        return _read_tiff(content)
    raise SidecarRefusedError("only JPEG, TIFF and DNG are written into")


# ── JPEG ──────────────────────────────────────────────────────────────────────────────────────


def _read_jpeg(content: bytes) -> Contents:
    packets: list[bytes] = []
    rest: dict[str, bytes] = {}
    exif = b""
    at = len(_START)
    for marker, start, end in _segments(content):
        body = content[start:end]
        if marker == _APP1 and body.startswith(_EXTENDED_XMP):
            raise SidecarRefusedError("its XMP is too long for one segment")
        if marker == _APP1 and body.startswith(_XMP):
            packets.append(body.removeprefix(_XMP))
        elif marker == _APP1 and body.startswith(_EXIF_NAME) and not exif:
            exif = body.removeprefix(_EXIF_NAME)
        else:
            rest[f"segment {len(rest)} (FF{marker:02X})"] = hashlib.sha256(body).digest()
        at = end
    if len(packets) > 1:
        raise SidecarRefusedError("it has more than one XMP packet")
    if content.rfind(_END, at) < 0:
        raise SidecarRefusedError("it ends before its picture does")
    rest["picture"] = hashlib.sha256(memoryview(content)[at:]).digest()
    return Contents(packets[0] if packets else None, rest, exif)


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the body of each segment before the first scan (ITU-T T.81, B.1.1)."""
    at = len(_START)
    while True:
        while content[at : at + 2] == b"\xff\xff":  # filling
            at += 1
        if len(content) < at + 4 or content[at] != 0xFF:
            raise SidecarRefusedError("its segments are damaged")
        marker, size = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == _FIRST_SCAN:
            return
        if marker < 0xC0 or 0xD0 <= marker < _FIRST_SCAN or size < 2:
            raise SidecarRefusedError("its segments are damaged")
        yield marker, at + 4, at + 2 + size
        at += 2 + size


# ── TIFF and DNG ──────────────────────────────────────────────────────────────────────────────


def _read_tiff(content: Content) -> Contents:
    tiff = Tiff(content)
    main = tiff.main()
    if not any(main):
        raise SidecarRefusedError("it ends before its first directory does")
    if main.number(_PHOTOMETRIC) in _SENSOR and _DNG_VERSION not in main:
        raise SidecarRefusedError("it is a RAW format of its maker")
    rest: dict[str, bytes] = {}
    notes: list[tuple[int, bytes]] = []
    for name, directory in _directories(tiff):
        for tag in directory:
            if tag in (_MAKER_NOTE, _DNG_PRIVATE):
                notes.append((directory.span(tag)[0], _digest_of_value(directory, tag)))
            elif tag not in _NOT_COMPARED:
                rest[f"{name} tag {tag:04X}"] = _digest_of_value(directory, tag)
        for starts, sizes in _PICTURES.items():
            if starts in directory:
                rest[f"{name} picture {starts:04X}"] = _digest_of_picture(directory, starts, sizes)
    packet = _value(main, _XMP_TAG).rstrip(b"\0") if _XMP_TAG in main else None
    return Contents(packet, rest, notes=tuple(notes))


def _directories(tiff: Tiff) -> Iterator[tuple[str, Directory]]:
    """Every directory with a name, in an order that does not depend on where they lie."""
    number = 0
    for number, directory in enumerate(tiff.directories()):
        if not any(directory):
            raise SidecarRefusedError("it ends before its directories do")
        yield f"IFD{number}", directory
        if _EXIF in directory:
            exif = tiff.linked(directory, _EXIF)
            yield f"IFD{number} EXIF", exif
            if _INTEROPERABILITY in exif:
                yield f"IFD{number} interoperability", tiff.linked(exif, _INTEROPERABILITY)
        if _GPS in directory:
            yield f"IFD{number} GPS", tiff.linked(directory, _GPS)
    if number >= MAX_DIRECTORIES - 1:
        raise SidecarRefusedError(f"it has more than {MAX_DIRECTORIES - 1} pictures")


def _value(directory: Directory, tag: int) -> bytes:
    start, size = directory.span(tag)
    if not size and directory.shape(tag)[1]:
        raise SidecarRefusedError("it ends early, or has a tag of an unknown type")
    return directory.content[start : start + size]


def _digest_of_value(directory: Directory, tag: int) -> bytes:
    shape = struct.pack("<HQ", *directory.shape(tag))
    return hashlib.sha256(shape + _value(directory, tag)).digest()


def _digest_of_picture(directory: Directory, starts: int, sizes: int) -> bytes:
    """Of the bytes of all strips or tiles, in their order."""
    digest = hashlib.sha256()
    places = list(zip(_integers(directory, starts), _integers(directory, sizes), strict=False))
    if len(places) != directory.shape(starts)[1] or len(places) != directory.shape(sizes)[1]:
        raise SidecarRefusedError("it does not say how large its picture is")
    for start, size in places:
        if start + size > len(directory.content):
            raise SidecarRefusedError("it ends before its picture does")
        digest.update(struct.pack("<Q", size))
        for at in range(start, start + size, _PIECE_BYTES):
            digest.update(directory.content[at : min(at + _PIECE_BYTES, start + size)])
    return digest.digest()


def _integers(directory: Directory, tag: int) -> tuple[int, ...]:
    """All numbers of a tag: a large picture has thousands of strips."""
    kind, count = directory.shape(tag)
    if kind not in _INTEGERS:
        return ()
    return struct.unpack(f"{directory.order}{count}{_INTEGERS[kind]}", _value(directory, tag))
