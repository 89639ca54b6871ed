"""What a HEIF or AVIF file is made of (ISO/IEC 23008-12 and 14496-12): items and their properties.

::

    meta ─┬─ pitm   the primary item
          ├─ iinf   kind of each item: hvc1, av01, grid, Exif, mime …
          ├─ iloc   where its bytes are: in the file, or in idat
          ├─ iref   what it is to others: tile of (dimg), thumbnail of (thmb), auxiliary of (auxl) …
          └─ iprp   its properties: size (ispe), colour (colr), turning (irot, imir) …

Only `meta` is read; pictures stay where they are until they are asked for. Promises never to raise
and never to take long, whatever the bytes are: what is damaged is absent.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import NamedTuple

from catalogd.metadata.bmff import Box, boxes, find
from catalogd.metadata.tiff import Content

MAX_META_BYTES = 16 << 20  # that of a 200-MP photo with 1,000 tiles has about 40 kB
MAX_ITEMS = 10_000  # a 200-MP photo in tiles of 256 px has about 3,100
MAX_PIECES = 64  # of one item; encoders write it in one
MAX_METADATA_BYTES = 64 << 20  # of an EXIF or XMP item; a maker note with a preview has a few MB

# Orientation 1 to 8 of EXIF after one more quarter turn to the left, or a mirroring: of the picture's
# upside and downside (axis 0), or of its left and right (axis 1).
_TURNED_LEFT = {1: 8, 2: 5, 3: 6, 4: 7, 5: 4, 6: 1, 7: 2, 8: 3}
_MIRRORED = (
    {1: 4, 2: 3, 3: 2, 4: 1, 5: 8, 6: 7, 7: 6, 8: 5},
    {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7},
)


class Property(NamedTuple):
    """One item property: its four-letter kind and its content."""

    kind: bytes
    content: bytes


class Nclx(NamedTuple):
    """Colours by number (Rec. ITU-T H.273): 2 is "not said"."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool


class Crop(NamedTuple):
    """A part of a picture, in px."""

    top: int
    left: int
    height: int
    width: int

    def fits(self, height: int, width: int) -> bool:
        """Whether it lies in a picture of that size and has an area."""
        down, right = self.top + self.height, self.left + self.width
        return 0 <= self.top < down <= height and 0 <= self.left < right <= width


@dataclasses.dataclass(slots=True)
class Item:
    """One item. `pieces` are the places of its bytes in the file, start and length."""

    number: int
    kind: bytes  # b"hvc1", b"grid", b"Exif", b"mime", … b"" when nothing says
    mime: bytes = b""  # of a b"mime" item
    pieces: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    properties: list[Property] = dataclasses.field(default_factory=list)
    references: dict[bytes, list[int]] = dataclasses.field(default_factory=dict)  # by kind, from this item

    def find(self, kind: bytes) -> bytes | None:
        """The content of its first property of that kind."""
        return next((content for name, content in self.properties if name == kind), None)

    @property
    def size(self) -> tuple[int, int] | None:
        """Declared height and width (ispe), before turning and cropping."""
        content = self.find(b"ispe") or b""
        if len(content) < 12:
            return None
        width, height = struct.unpack(">II", content[4:12])
        return height, width

    @property
    def orientation(self) -> int:
        """Its turning and mirroring (irot, imir, in their order) as an EXIF orientation."""
        orientation = 1
        for kind, content in self.properties:
            if kind == b"irot" and content:
                for _ in range(content[0] & 3):
                    orientation = _TURNED_LEFT[orientation]
            elif kind == b"imir" and content:
                orientation = _MIRRORED[content[0] & 1][orientation]
        return orientation

    @property
    def crop(self) -> Crop | None:
        """The part of the picture that is shown (clap), when it makes sense; before turning."""
        content = self.find(b"clap") or b""
        if self.size is None or len(content) < 32:
            return None
        numbers = struct.unpack(">IIIIiIiI", content[:32])
        if not all(numbers[1::2]):
            return None
        width, height, right, down = [numbers[i] / numbers[i + 1] for i in range(0, 8, 2)]
        top = round((self.size[0] - height) / 2 + down)
        left = round((self.size[1] - width) / 2 + right)
        crop = Crop(top, left, round(height), round(width))
        return crop if crop.fits(*self.size) else None

    @property
    def profile(self) -> bytes | None:
        """Its ICC profile."""
        for kind, content in self.properties:
            if kind == b"colr" and content[:4] in (b"prof", b"rICC"):
                return content[4:]
        return None

    @property
    def nclx(self) -> Nclx | None:
        """Its colours by number."""
        for kind, content in self.properties:
            if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11:
                primaries, transfer, matrix, flags = struct.unpack(">HHHB", content[4:11])
                return Nclx(primaries, transfer, matrix, bool(flags & 0x80))
        return None

    @property
    def described(self) -> list[int]:
        """The items that this one, EXIF or XMP, is about."""
        return self.references.get(b"cdsc", [])

    @property
    def auxiliary_kind(self) -> bytes:
        """What an auxiliary picture is, by its URN (auxC); empty for others."""
        return (self.find(b"auxC") or b"")[4:].split(b"\0")[0]


class Items:
    """The items of one file, by number; `primary` is None when none is named or it is not there."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self._by_number: dict[int, Item] = {}
        self.primary: Item | None = None
        meta = find(content, b"meta")
        if meta is not None and meta.end - meta.start <= MAX_META_BYTES:
            self._read_meta(content[meta.start : meta.end], meta.start)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._by_number.values())

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def __getitem__(self, number: int) -> Item:
        return self._by_number[number]

    def read(self, item: Item, most: int | None = None) -> bytes:
        """The bytes of an item; empty when they are more than `most` or not all in the file."""
        total = sum(length for _, length in item.pieces)
        whole = all(start + length <= len(self.content) for start, length in item.pieces)
        if not whole or total > (len(self.content) if most is None else most):
            return b""
        return b"".join([self.content[start : start + length] for start, length in item.pieces])

    def referring(self, kind: bytes, item: Item) -> list[Item]:
        """The items that refer to `item` as `kind`: b"thmb" its thumbnails, b"auxl" its auxiliaries."""
        return [other for other in self if item.number in other.references.get(kind, ())]

    def referred(self, kind: bytes, item: Item) -> list[Item]:
        """The items that `item` refers to as `kind`, in their order: b"dimg" the tiles of a grid."""
        return [self[number] for number in item.references.get(kind, ()) if number in self]

    def colours(self, item: Item) -> tuple[bytes | None, Nclx | None]:
        """The ICC profile of a picture and its colours by number; those of its first tile without own."""
        for bearer in (item, *self.referred(b"dimg", item)[:1]):
            if bearer.profile or bearer.nclx:
                return bearer.profile, bearer.nclx
        return None, None

    @property
    def exif(self) -> bytes:
        """The TIFF structure of the primary's EXIF (ISO/IEC 23008-12, A.2.1); empty without one."""
        block = self._description(b"Exif", b"")
        before = 4 + int.from_bytes(block[:4], "big")
        return block[before if before + 8 <= len(block) else 4 :]

    @property
    def xmp(self) -> bytes:
        """The XMP packet of the primary; empty without one."""
        return self._description(b"mime", b"application/rdf+xml")

    def _description(self, kind: bytes, mime: bytes) -> bytes:
        """What an item says of the primary; one that names no picture counts where none names it."""
        found = [item for item in self if item.kind == kind and item.mime == mime]
        primary = self.primary.number if self.primary else 0
        found.sort(key=lambda item: (primary not in item.described, bool(item.described)))
        return self.read(found[0], MAX_METADATA_BYTES) if found else b""

    def _read_meta(self, meta: bytes, start: int) -> None:
        inside: dict[bytes, Box] = {}
        for box in boxes(meta, 4):
            inside.setdefault(box.kind, box)
        bodies = {kind: meta[box.start : box.end] for kind, box in inside.items()}
        self._by_number = dict(list(_read_kinds(bodies.get(b"iinf", b"")))[:MAX_ITEMS])
        idat = inside.get(b"idat", Box(b"", 0, 0))
        self._take_places(bodies.get(b"iloc", b""), (start + idat.start, start + idat.end))
        self._take_references(bodies.get(b"iref", b""))
        self._take_properties(bodies.get(b"iprp", b""))
        pitm = bodies.get(b"pitm", b"")
        self.primary = self._by_number.get(int.from_bytes(pitm[4 : 6 if pitm[:1] == b"\0" else 8], "big"))

    def _take_places(self, iloc: bytes, idat: tuple[int, int]) -> None:
        for number, inside, pieces in _read_places(iloc):
            if number not in self:
                continue
            if inside == 1:
                pieces = [(idat[0] + start, length or idat[1] - idat[0] - start) for start, length in pieces]
            elif inside == 0:
                pieces = [(start, length or len(self.content) - start) for start, length in pieces]
            else:  # within another item: nobody writes it
                continue
            self[number].pieces = [(start, length) for start, length in pieces if length > 0]

    def _take_references(self, iref: bytes) -> None:
        wide = iref[:1] == b"\1"
        for box in boxes(iref, 4):
            numbers = _numbers(iref[box.start : box.end], 4 if wide else 2)
            if len(numbers) > 2 and numbers[0] in self:
                self[numbers[0]].references.setdefault(box.kind, []).extend(numbers[2:])

    def _take_properties(self, iprp: bytes) -> None:
        known: list[Property] = []
        for box in boxes(iprp):
            if box.kind == b"ipco":
                known += [Property(kind, iprp[start:end]) for kind, start, end in boxes(iprp, *box[1:])]
            elif box.kind == b"ipma":
                for number, indices in _read_associations(iprp[box.start : box.end]):
                    if number in self:
                        self[number].properties += [known[i - 1] for i in indices if 0 < i <= len(known)]


def _numbers(content: bytes, width: int) -> list[int]:
    """The numbers of one reference: the item it is from, how many follow, the items it is to."""
    if len(content) < width + 2:
        return []
    code = "I" if width == 4 else "H"
    first, count = struct.unpack(f">{code}H", content[: width + 2])
    room = (len(content) - width - 2) // width
    count = min(count, room)
    return [first, count, *struct.unpack(f">{count}{code}", content[width + 2 : width + 2 + count * width])]


def _read_kinds(iinf: bytes) -> Iterator[tuple[int, Item]]:
    for box in boxes(iinf, 6 if iinf[:1] == b"\0" else 8):
        body = iinf[box.start : box.end]
        if box.kind != b"infe" or len(body) < 12 or body[0] not in (2, 3):
            continue
        at = 6 if body[0] == 2 else 8
        number = int.from_bytes(body[4:at], "big")
        kind = body[at + 2 : at + 6]
        words = body[at + 6 :].split(b"\0")
        mime = words[1] if kind == b"mime" and len(words) > 1 else b""
        yield number, Item(number, kind, mime)


class _Reader:
    """Big-endian numbers one after another; 0 past the end."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content, self._at = content, at

    def number(self, width: int) -> int:
        self._at += width
        return int.from_bytes(self._content[self._at - width : self._at], "big")

    @property
    def ended(self) -> bool:
        return self._at > len(self._content)


def _read_places(iloc: bytes) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Number, construction method (0 the file, 1 idat) and pieces of each item: 14496-12, 8.11.3."""
    if len(iloc) < 8:
        return
    version = iloc[0]
    offset_width, length_width, base_width = iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4
    index_width = iloc[5] & 15 if version else 0
    reader = _Reader(iloc, 6)
    number_width = 2 if version < 2 else 4
    for _ in range(min(reader.number(number_width), MAX_ITEMS)):
        number = reader.number(number_width)
        inside = reader.number(2) & 15 if version else 0
        reader.number(2)  # which file: always this one
        base, count = reader.number(base_width), reader.number(2)
        if count > MAX_PIECES:
            return
        pieces = []
        for _ in range(count):
            reader.number(index_width)
            start = base + reader.number(offset_width)
            pieces.append((start, reader.number(length_width)))
        if reader.ended:
            return
        yield number, inside, pieces


def _read_associations(ipma: bytes) -> Iterator[tuple[int, list[int]]]:
    """Item number and the 1-based places of its properties in `ipco`: 23008-12, 9.3.1."""
    if len(ipma) < 8:
        return
    reader = _Reader(ipma, 4)
    number_width = 2 if ipma[0] == 0 else 4
    wide = ipma[3] & 1
    for _ in range(min(reader.number(4), MAX_ITEMS)):
        number, count = reader.number(number_width), reader.number(1)
        indices = [reader.number(2) & 0x7FFF if wide else reader.number(1) & 0x7F for _ in range(count)]
        if reader.ended:
            return
        yield number, indices
