"""What a photo's header says: camera, exposure, time and place, read from EXIF/TIFF bytes.

A small reader of the TIFF structure (TIFF 6.0; EXIF 2.32; the variants in RAW headers) that the
readers run on every photo. It promises never to raise and never to take long, whatever the bytes
are: every offset is checked, a directory is visited once, and counts are bounded. A fact that is
missing, wrong or out of range is just absent.
"""

from __future__ import annotations

import datetime
import math
import re
import struct
from collections.abc import Iterator

from catalogd.records import Facts

MAX_DIRECTORIES = 64  # a RAW file has up to about ten
MAX_ENTRIES = 1024  # a directory; real ones have up to about 120
MAX_VALUES = 256  # numbers in one value: longer ones are tables that nobody reads here
MAX_TEXT_BYTES = 256

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

MAKE, MODEL, ORIENTATION, DATE_TIME = 0x010F, 0x0110, 0x0112, 0x0132
SUB_DIRECTORIES, EXIF_DIRECTORY, GPS_DIRECTORY = 0x014A, 0x8769, 0x8825
EXPOSURE_TIME, F_NUMBER, ISO, RECOMMENDED_INDEX = 0x829A, 0x829D, 0x8827, 0x8832
ORIGINAL_TIME, DIGITIZED_TIME, OFFSET_ORIGINAL, OFFSET_DIGITIZED = 0x9003, 0x9004, 0x9011, 0x9012
OFFSET_TIME, FRACTION, FRACTION_ORIGINAL, FRACTION_DIGITIZED = 0x9010, 0x9290, 0x9291, 0x9292
SHUTTER_SPEED, APERTURE_VALUE, FOCAL_LENGTH = 0x9201, 0x9202, 0x920A
LENS_MAKE, LENS_MODEL = 0xA433, 0xA434
LATITUDE_SIDE, LATITUDE, LONGITUDE_SIDE, LONGITUDE = 1, 2, 3, 4

# A time tag with the tags that hold its fraction of a second and its offset from UTC, best first.
_TIMES = (
    (EXIF_DIRECTORY, ORIGINAL_TIME, FRACTION_ORIGINAL, OFFSET_ORIGINAL),
    (EXIF_DIRECTORY, DIGITIZED_TIME, FRACTION_DIGITIZED, OFFSET_DIGITIZED),
    (0, DATE_TIME, FRACTION, OFFSET_TIME),
)


class Directory:
    """One image file directory: tag to value, decoded when asked for."""

    def __init__(self, content: bytes, order: str, entries: dict[int, tuple[int, int, int]]) -> None:
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
        values = struct.unpack_from(f"{self._order}{count * len(code)}{code[0]}", self._content, offset)
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

    def __init__(self, content: bytes) -> None:
        self._content = content.removeprefix(b"Exif\0\0")
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
            (count,) = struct.unpack_from(self._order + "H", self._content, offset)
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
                (after,) = struct.unpack_from(self._order + "I", self._content, end)
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


def read_facts(exif: bytes | None) -> Facts:
    """Read the facts of an EXIF block or a TIFF-based file.

    `exif` starts with a TIFF header, or with `Exif\\0\\0` before one; None gives no facts. `format`,
    `width` and `height` are left empty: only whoever decodes the picture knows them. Never raises.
    """
    tiff = Tiff(exif or b"")
    main = tiff.main()
    detail = tiff.linked(main, EXIF_DIRECTORY)
    return _facts_of(main, detail, tiff.linked(main, GPS_DIRECTORY))


def read_split_facts(main: bytes, detail: bytes, place: bytes) -> Facts:
    """Read the facts of a file that keeps its three directories in TIFF blocks of their own (CR3)."""
    return _facts_of(Tiff(main).main(), Tiff(detail).main(), Tiff(place).main())


def _facts_of(main: Directory, detail: Directory, place: Directory) -> Facts:
    latitude, longitude = _position(place)
    return Facts(
        format="",
        width=0,
        height=0,
        orientation=_orientation(main),
        camera=join_maker(main.text(MAKE), main.text(MODEL)),
        lens=join_maker(detail.text(LENS_MAKE), detail.text(LENS_MODEL)) if LENS_MODEL in detail else None,
        iso=_iso(detail) or _iso(main),
        exposure_s=_exposure(detail) or _exposure(main),
        aperture=_aperture(detail) or _aperture(main),
        focal_mm=_within(detail.number(FOCAL_LENGTH) or main.number(FOCAL_LENGTH), 0.1, 10_000),
        taken_at=_taken_at(main, detail),
        latitude=latitude,
        longitude=longitude,
    )


def join_maker(maker: str | None, model: str | None) -> str | None:
    """Name maker and model, the maker once: "NIKON CORPORATION", "NIKON D850" is "NIKON D850"."""
    if not maker or not model:
        return model or maker
    return model if model.lower().startswith(maker.lower().split()[0]) else f"{maker} {model}"


def _orientation(main: Directory) -> int:
    value = main.number(ORIENTATION)
    return int(value) if value is not None and value in range(1, 9) else 1


def _within(value: float | None, low: float, high: float) -> float | None:
    return round(float(value), 9) if value is not None and low <= value <= high else None


def _iso(directory: Directory) -> int | None:
    value = directory.number(ISO)
    if value in (None, 0, 65535):  # 65535: does not fit 16 bits, EXIF 2.32 puts it elsewhere
        value = directory.number(RECOMMENDED_INDEX)
    value = _within(value, 1, 10_000_000)
    return int(value) if value is not None else None


def _exposure(directory: Directory) -> float | None:
    value = directory.number(EXPOSURE_TIME)
    apex = _within(directory.number(SHUTTER_SPEED), -20, 20)
    if value is None and apex is not None:
        value = 2.0**-apex
    return _within(value, 1e-6, 1e6)


def _aperture(directory: Directory) -> float | None:
    value = directory.number(F_NUMBER)
    apex = _within(directory.number(APERTURE_VALUE), 0, 20)
    if value is None and apex is not None:
        value = round(2.0 ** (apex / 2), 1)
    return _within(value, 0.1, 1000)


def _taken_at(main: Directory, detail: Directory) -> str | None:
    for home, time_tag, fraction_tag, offset_tag in _TIMES:
        written = (detail if home else main).text(time_tag)
        match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", written or "", re.ASCII)
        if match is None:
            continue
        try:
            moment = datetime.datetime(*map(int, match.groups()))  # type: ignore[arg-type]
        except ValueError:
            continue
        fraction = re.match(r"\d{1,6}", detail.text(fraction_tag) or "", re.ASCII)
        offset = re.match(r"[+-][01]\d:[0-5]\d\Z", detail.text(offset_tag) or "", re.ASCII)
        return (
            moment.isoformat()
            + (f".{fraction[0]}" if fraction and int(fraction[0]) else "")
            + (offset[0] if offset else "")
        )
    return None


def _position(place: Directory) -> tuple[float | None, float | None]:
    latitude = _degrees(place, LATITUDE, LATITUDE_SIDE, "NS", 90)
    longitude = _degrees(place, LONGITUDE, LONGITUDE_SIDE, "EW", 180)
    if latitude is None or longitude is None or (latitude, longitude) == (0, 0):  # 0, 0: no fix yet
        return None, None
    return latitude, longitude


def _degrees(place: Directory, tag: int, side_tag: int, sides: str, limit: float) -> float | None:
    parts = place.numbers(tag)
    side = (place.text(side_tag) or "").upper()[:1]
    if not parts or len(parts) > 3 or not side or side not in sides or min(parts) < 0:
        return None
    degrees = sum(part / 60**i for i, part in enumerate(parts))
    return round(degrees if side == sides[0] else -degrees, 7) if degrees <= limit else None
