"""Camera, exposure, time and position, from the directories of EXIF.

A fact that is missing, wrong or out of range is just absent.
"""

from __future__ import annotations

import datetime
import re

from catalogd.metadata.tiff import Content, Directory, Tiff
from catalogd.records import Facts

MAKE, MODEL, ORIENTATION, DATE_TIME = 0x010F, 0x0110, 0x0112, 0x0132
EXIF_DIRECTORY, GPS_DIRECTORY = 0x8769, 0x8825
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


def read_exif(blocks: tuple[Content, ...]) -> Facts:
    """The facts of one TIFF structure, or of the three that a CR3 keeps apart: main, detail, place.

    A structure starts with a TIFF header, or with `Exif\\0\\0` before one; () gives no facts.
    `format`, `width` and `height` are left empty: only whoever decodes the picture knows them.
    Never raises.
    """
    if len(blocks) > 1:
        main, detail, place = [Tiff(block).main() for block in blocks[:3]]
    else:
        tiff = Tiff(blocks[0] if blocks else b"")
        main = tiff.main()
        detail, place = tiff.linked(main, EXIF_DIRECTORY), tiff.linked(main, GPS_DIRECTORY)
    return _facts_of(main, detail, place)


def read_orientation(block: Content | None) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none."""
    return _orientation(Tiff(block or b"").main())


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
