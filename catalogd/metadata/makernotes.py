"""Maker notes: what each camera maker writes into EXIF in a way of its own.

A note is a TIFF directory behind a header that names the maker. Makers differ in where the directory
starts, in the byte order, and in what its offsets count from: the TIFF structure around the note, or
the note itself, so that it survives being moved. Nobody documents them; places and tags are those that
the ExifTool tag tables list. A fact that is missing, wrong or out of range is just absent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from catalogd.metadata.tiff import Content, Directory, read_directory

MAKER_NOTE = 0x927C


@dataclasses.dataclass(frozen=True, slots=True)
class Noted:
    """What a maker note adds to EXIF."""

    lens: str | None = None
    lens_coded: bool = False  # it names the lens, but by a number that only exiftool's tables explain
    serial: str | None = None
    iso: int | None = None
    burst_id: str | None = None
    live_photo_id: str | None = None
    hdr: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class MakerNote:
    """A maker note that was recognised: whose it is, and its directory."""

    vendor: str
    directory: Directory

    def read(self) -> Noted:
        reader = _READERS.get(self.vendor)
        return reader(self.directory) if reader else Noted()

    @property
    def names(self) -> dict[int, str]:
        """Tags that have a name for people."""
        return TAG_NAMES.get(self.vendor, {})


class _Layout(NamedTuple):
    """How one kind of note is laid out; all places count from its start."""

    start: bytes  # what it begins with; for notes without a header, the maker's name in EXIF, lower-case
    vendor: str
    directory: int  # where the directory starts
    order: int | str = ""  # where "II" or "MM" stands, or the byte order itself; "": that of EXIF
    base: int | None = None  # what its offsets count from; None: from the TIFF structure around it


_HEADERS = (
    _Layout(b"Nikon\0\x02", "Nikon", 18, order=10, base=10),
    _Layout(b"Nikon\0\x01", "Nikon (first)", 8),
    _Layout(b"OLYMPUS\0", "Olympus", 12, order=8, base=0),
    _Layout(b"OM SYSTEM\0", "Olympus", 16, order=12, base=0),
    _Layout(b"OLYMP\0", "Olympus", 8),
    _Layout(b"Apple iOS\0", "Apple", 14, order=12, base=0),
    _Layout(b"FUJIFILM", "Fujifilm", 12, order="<", base=0),
    _Layout(b"Panasonic\0", "Panasonic", 12),
    _Layout(b"AOC\0", "Pentax", 6),
    _Layout(b"PENTAX \0", "Pentax", 10, order=8, base=0),
    _Layout(b"SONY DSC", "Sony", 12),
    _Layout(b"SONY CAM", "Sony", 12),
    _Layout(b"SIGMA\0", "Sigma", 10),
    _Layout(b"FOVEON\0", "Sigma", 10),
)
_HEADLESS = (
    _Layout(b"canon", "Canon", 0),
    _Layout(b"sony", "Sony", 0),
    _Layout(b"minolta", "Minolta", 0),
    _Layout(b"konica", "Minolta", 0),
    _Layout(b"samsung", "Samsung", 0, base=0),
)
_ORDERS = {b"II": "<", b"MM": ">"}

TAG_NAMES: dict[str, dict[int, str]] = {
    "Apple": {
        0x0003: "RunTime",
        0x000A: "HDRImageType",
        0x000B: "BurstUUID",
        0x0011: "ContentIdentifier",
        0x0014: "ImageCaptureType",
        0x0015: "ImageUniqueID",
    },
    "Canon": {
        0x0001: "CameraSettings",
        0x0002: "FocalLength",
        0x0004: "ShotInfo",
        0x0006: "ImageType",
        0x0007: "FirmwareVersion",
        0x0008: "FileNumber",
        0x0009: "OwnerName",
        0x000C: "SerialNumber",
        0x0010: "ModelID",
        0x0026: "AFInfo",
        0x0095: "LensModel",
        0x0096: "InternalSerialNumber",
    },
    "Fujifilm": {
        0x0010: "InternalSerialNumber",
        0x1000: "Quality",
        0x1001: "Sharpness",
        0x1002: "WhiteBalance",
        0x1031: "PictureMode",
        0x1401: "FilmMode",
        0x1404: "MinFocalLength",
        0x1405: "MaxFocalLength",
        0x1406: "MaxApertureAtMinFocal",
        0x1407: "MaxApertureAtMaxFocal",
    },
    "Minolta": {0x0001: "CameraSettings", 0x0003: "CameraSettings", 0x010C: "LensType"},
    "Nikon": {
        0x0001: "Version",
        0x0002: "ISO",
        0x0004: "Quality",
        0x0005: "WhiteBalance",
        0x0007: "FocusMode",
        0x001D: "SerialNumber",
        0x0083: "LensType",
        0x0084: "Lens",
        0x0098: "LensData",
        0x00A0: "SerialNumber",
        0x00A7: "ShutterCount",
    },
    "Olympus": {
        0x0207: "CameraType",
        0x0404: "SerialNumber",
        0x2010: "Equipment",
        0x2020: "CameraSettings",
        0x2040: "ImageProcessing",
        0x2050: "FocusInfo",
    },
    "Panasonic": {
        0x0001: "Quality",
        0x0002: "FirmwareVersion",
        0x0003: "WhiteBalance",
        0x0007: "FocusMode",
        0x0025: "InternalSerialNumber",
        0x0051: "LensType",
        0x0052: "LensSerialNumber",
    },
    "Pentax": {0x0005: "ModelID", 0x0006: "Date", 0x0007: "Time", 0x003F: "LensRec", 0x0229: "SerialNumber"},
    "Samsung": {0xA001: "FirmwareName", 0xA002: "SerialNumber", 0xA003: "LensType"},
    "Sigma": {0x0002: "SerialNumber", 0x0003: "DriveMode", 0x0009: "WhiteBalance", 0x000A: "LensRange"},
    "Sony": {0x0102: "Quality", 0x0115: "WhiteBalance", 0xB020: "CreativeStyle", 0xB027: "LensType"},
}


class _Window:
    """A part of some content, of which only what is asked for is read: notes may hold a preview."""

    def __init__(self, content: Content, start: int, size: int) -> None:
        self._content, self._start, self._size = content, start, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._size)
        return self._content[self._start + start : self._start + stop]


def find_note(detail: Directory, maker: str) -> MakerNote | None:
    """The maker note that the EXIF directory `detail` holds; None when there is none that is known.

    `maker` is what EXIF says (Make): some notes have no header of their own.
    """
    start, size = detail.span(MAKER_NOTE)
    if size < 12:
        return None
    head = detail.content[start : start + 18]
    layout = next((one for one in _HEADERS if head.startswith(one.start)), None)
    layout = layout or next((one for one in _HEADLESS if maker.lower().encode().startswith(one.start)), None)
    if layout is None:
        return None
    order = layout.order or detail.order
    if isinstance(order, int):
        order = _ORDERS.get(head[order : order + 2], detail.order)
    content, place = detail.content, start + layout.directory
    if layout.base is not None:
        content = _Window(content, start + layout.base, size - layout.base)
        place = layout.directory - layout.base
    return MakerNote(layout.vendor, read_directory(content, order, place)[0])


def lens_range(numbers: Sequence[float | None]) -> str | None:
    """A lens in numbers, "24-70mm f/2.8".

    `numbers` are four: the shortest and the longest focal length in mm, and the smallest f-number at
    each, None where it is unknown.
    """
    if len(numbers) != 4 or not numbers[0] or not 0.5 <= numbers[0] <= 10_000:
        return None
    focal, apertures = _range(numbers[:2]), _range(numbers[2:])
    return f"{focal}mm f/{apertures}" if apertures else f"{focal}mm"


def _range(numbers: Sequence[float | None]) -> str:
    ends = [f"{round(end, 1):g}" for end in numbers if end and 0.1 <= end <= 10_000]
    return "-".join(dict.fromkeys(ends))


def _apple(note: Directory) -> Noted:
    return Noted(
        burst_id=note.text(0x000B),
        live_photo_id=note.text(0x0011),
        hdr=note.number(0x000A) == 3,
    )


def _canon(note: Directory) -> Noted:
    settings = note.numbers(0x0001)
    lens = note.text(0x0095)
    serial = note.number(0x000C)
    return Noted(
        lens=lens,
        lens_coded=lens is None and len(settings) > 22 and 0 < settings[22] < 0xFFFF,
        serial=str(int(serial)) if serial else None,
        iso=_canon_iso(int(settings[16])) if len(settings) > 16 else None,
    )


def _canon_iso(code: int) -> int | None:
    """The ISO of Canon's camera settings: a number with a flag, or one of four steps."""
    if code & 0x4000 and code < 0x8000:
        return code & 0x3FFF or None
    return {16: 50, 17: 100, 18: 200, 19: 400}.get(code)


def _fujifilm(note: Directory) -> Noted:
    return Noted(
        lens=lens_range([note.number(tag) for tag in (0x1404, 0x1405, 0x1406, 0x1407)]),
        serial=note.text(0x0010),
    )


def _minolta(note: Directory) -> Noted:
    return Noted(lens_coded=note.number(0x010C) not in (None, 0, 0xFFFF))


def _nikon(note: Directory) -> Noted:
    isos = note.numbers(0x0002)
    return Noted(
        lens=lens_range(note.fractions(0x0084)),
        serial=note.text(0x001D) or (note.text(0x00A0) or "").removeprefix("NO= ") or None,
        iso=int(isos[1]) if len(isos) == 2 and 0 < isos[1] < 0xFFFF else None,
    )


def _olympus(note: Directory) -> Noted:
    start = note.number(0x2010) or note.span(0x2010)[0]
    equipment, _ = read_directory(note.content, note.order, int(start) if start > 0 else len(note.content))
    lens = equipment.text(0x0203)
    return Noted(
        lens=lens,
        lens_coded=lens is None and any(equipment.raw(0x0201, 6)),
        serial=equipment.text(0x0101) or note.text(0x0404),
    )


def _panasonic(note: Directory) -> Noted:
    return Noted(lens=note.text(0x0051), serial=note.text(0x0025))


def _pentax(note: Directory) -> Noted:
    return Noted(lens_coded=any(note.raw(0x003F, 2)), serial=note.text(0x0229))


def _samsung(note: Directory) -> Noted:
    return Noted(lens_coded=bool(note.number(0xA003)), serial=note.text(0xA002))


def _sigma(note: Directory) -> Noted:
    return Noted(serial=note.text(0x0002))


def _sony(note: Directory) -> Noted:
    return Noted(lens_coded=note.number(0xB027) not in (None, 0xFFFF))


_READERS: dict[str, Callable[[Directory], Noted]] = {
    "Apple": _apple,
    "Canon": _canon,
    "Fujifilm": _fujifilm,
    "Minolta": _minolta,
    "Nikon": _nikon,
    "Olympus": _olympus,
    "Panasonic": _panasonic,
    "Pentax": _pentax,
    "Samsung": _samsung,
    "Sigma": _sigma,
    "Sony": _sony,
}
