"""Camera, exposure, time, position and words, from the directories of EXIF (CIPA DC-008) and its maker note.

A fact that is missing, wrong or out of range is just absent.
"""

from __future__ import annotations

import dataclasses
import datetime
import re

from catalogd.metadata.makernotes import MakerNote, Noted, find_note, lens_range
from catalogd.metadata.tiff import Content, Directory, Tiff, decode_text
from catalogd.metadata.values import clean_text, clean_words
from catalogd.records import Facts

MAKE, MODEL, ORIENTATION, SOFTWARE, DATE_TIME = 0x010F, 0x0110, 0x0112, 0x0131, 0x0132
DESCRIPTION, ARTIST, COPYRIGHT, RATING, RATING_PERCENT = 0x010E, 0x013B, 0x8298, 0x4746, 0x4749
XP_TAGS = XP_TITLE, XP_COMMENT, XP_AUTHOR, XP_KEYWORDS, XP_SUBJECT = 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROP_DIRECTORY = 0x8769, 0x8825, 0xA005
EXPOSURE_TIME, F_NUMBER, ISO = 0x829A, 0x829D, 0x8827
SENSITIVITY_TYPE, OUTPUT_SENSITIVITY, RECOMMENDED_INDEX, ISO_SPEED = 0x8830, 0x8831, 0x8832, 0x8833
ORIGINAL_TIME, DIGITIZED_TIME, OFFSET_ORIGINAL, OFFSET_DIGITIZED = 0x9003, 0x9004, 0x9011, 0x9012
OFFSET_TIME, FRACTION, FRACTION_ORIGINAL, FRACTION_DIGITIZED = 0x9010, 0x9290, 0x9291, 0x9292
SHUTTER_SPEED, APERTURE_VALUE, EXPOSURE_BIAS, METERING, FLASH = 0x9201, 0x9202, 0x9204, 0x9207, 0x9209
FOCAL_LENGTH, USER_COMMENT, COLOUR_SPACE, CUSTOM_RENDERED = 0x920A, 0x9286, 0xA001, 0xA401
WHITE_BALANCE, FOCAL_35MM, BODY_SERIAL = 0xA403, 0xA405, 0xA431
LENS_SPECIFICATION, LENS_MAKE, LENS_MODEL = 0xA432, 0xA433, 0xA434
DNG_SERIAL, DNG_LENS = 0xC62F, 0xC630
PANASONIC_ISO = (0x0017, 0x0037)  # of the first directory of an RW2
LATITUDE_SIDE, LATITUDE, LONGITUDE_SIDE, LONGITUDE, ALTITUDE_SIDE, ALTITUDE = 1, 2, 3, 4, 5, 6
GPS_TIME, DIRECTION, GPS_DATE = 7, 0x11, 0x1D

MAX_CAPTION_BYTES = 64 << 10  # what an APP1 segment can hold
MAX_GPS_LAG_MIN = 4  # between a fix and the picture: longer ones say nothing of the offset
# Minutes from UTC that clocks have had since there is EXIF (tz database): whole hours, and those of the
# Marquesas, Venezuela, Newfoundland, Iran, Afghanistan, India, Nepal, Myanmar, North Korea and Australia,
# with islands near it.
OFFSETS_MIN = (
    *range(-12 * 60, 14 * 60 + 1, 60),
    *(-570, -270, -210, -150, 210, 270, 330, 345, 390, 510, 525, 570, 630, 690, 765, 825),
)

# A time tag with the tags that hold its fraction of a second and its offset from UTC, best first.
_TIMES = (
    (EXIF_DIRECTORY, ORIGINAL_TIME, FRACTION_ORIGINAL, OFFSET_ORIGINAL),
    (EXIF_DIRECTORY, DIGITIZED_TIME, FRACTION_DIGITIZED, OFFSET_DIGITIZED),
    (0, DATE_TIME, FRACTION, OFFSET_TIME),
)
_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_FRACTION = re.compile(r"\d{1,6}", re.ASCII)
_OFFSET = re.compile(r"[+-][01]\d:[0-5]\d\Z", re.ASCII)
METERINGS = {1: "average", 2: "center-weighted", 3: "spot", 4: "multi-spot", 5: "pattern", 6: "partial"}
WHITE_BALANCES = {0: "auto", 1: "manual"}
# SensitivityType: the tags that hold the ISO of each kind, best first.
_SENSITIVITIES = {1: (OUTPUT_SENSITIVITY,), 3: (ISO_SPEED,), 5: (ISO_SPEED,), 6: (ISO_SPEED,)}
_ANY_SENSITIVITY = (RECOMMENDED_INDEX, ISO_SPEED, OUTPUT_SENSITIVITY)
STARS_OF_PERCENT = ((99, 5), (75, 4), (50, 3), (25, 2), (1, 1))
# Interoperability index "R03" is DCF's option file, Adobe RGB; then ColorSpace says "uncalibrated".
_COLOUR_SPACES = {(1, None): "srgb", (2, None): "adobe-rgb", (0xFFFF, "R03"): "adobe-rgb"}
_APPLE_HDR, _APPLE_PANORAMA = (2, 3, 7), 6  # CustomRendered, as Apple extends it
# What cameras and programs write where a person's words belong.
BOILERPLATE = re.compile(
    r"([\w.-]+ ){0,3}digital (still ?)?camera|(minolta|sony|sony corp\.?) dsc|exif[ _]jpeg(_picture)?"
    r"|dcim\S*|default|untitled|jpeg|picture|screenshot|\[?no description\]?|charset=\S*|[\W_]*",
    re.IGNORECASE,
)
_NO_LENS = re.compile(r"[-\s0./fm()n]*|no[- ]?lens|none|unknown.*|manual lens.*", re.IGNORECASE)
_COMMENT_CHARSETS = {b"ASCII\0\0\0": "", b"UNICODE\0": "utf-16", b"JIS\0\0\0\0\0": "iso2022_jp", bytes(8): ""}


@dataclasses.dataclass(frozen=True, slots=True)
class Exif:
    """The directories of one photo's EXIF; those that it lacks are empty."""

    main: Directory
    detail: Directory
    place: Directory
    interop: Directory
    note: MakerNote | None

    def number(self, tag: int) -> float | None:
        """The first number of `tag` in the EXIF directory, else in the main one (TIFF/EP)."""
        value = self.detail.number(tag)
        return self.main.number(tag) if value is None else value


def open_exif(blocks: tuple[Content, ...]) -> Exif:
    """The directories of one TIFF structure, or of the four that a CR3 keeps apart.

    Those are, in this order: main, detail, place and maker note, each empty or left out when the
    photo has none. A structure starts with a TIFF header, or with `Exif\\0\\0` before one. Never raises.
    """
    if len(blocks) > 1:
        main, detail, place, canon = [Tiff(block).main() for block in (*blocks, b"", b"")[:4]]
        return Exif(main, detail, place, Tiff(b"").main(), MakerNote("Canon", canon))
    tiff = Tiff(blocks[0] if blocks else b"")
    main = tiff.main()
    detail = tiff.linked(main, EXIF_DIRECTORY)
    return Exif(
        main,
        detail,
        place=tiff.linked(main, GPS_DIRECTORY),
        interop=tiff.linked(detail, INTEROP_DIRECTORY),
        note=find_note(detail, main.text(MAKE) or ""),
    )


def read_exif(blocks: tuple[Content, ...]) -> Facts:
    """The facts of the structures that `open_exif` reads; () gives none.

    `format`, `width` and `height` are left empty: only whoever decodes the picture knows them.
    Never raises.
    """
    exif = open_exif(blocks)
    main, detail = exif.main, exif.detail
    noted = exif.note.read() if exif.note else Noted()
    taken_at, zone = _taken_at(exif)
    latitude, longitude = _position(exif.place)
    comment = user_comment(detail)
    return Facts(
        format="",
        width=0,
        height=0,
        orientation=_orientation(main),
        camera=join_maker(main.text(MAKE), main.text(MODEL)),
        camera_serial=detail.text(BODY_SERIAL) or noted.serial or main.text(DNG_SERIAL),
        lens=_lens(exif, noted),
        iso=_iso(exif) or noted.iso,
        exposure_s=_exposure(exif),
        aperture=_aperture(exif),
        focal_mm=_within(exif.number(FOCAL_LENGTH), 0.1, 10_000),
        focal_35mm=_within(detail.number(FOCAL_35MM), 1, 10_000),
        exposure_bias_ev=_within(exif.number(EXPOSURE_BIAS), -20, 20),
        flash=_flash(exif),
        metering=METERINGS.get(_code(exif.number(METERING))),
        white_balance=WHITE_BALANCES.get(_code(detail.number(WHITE_BALANCE))),
        colour_space=_colour_space(exif),
        taken_at=taken_at,
        zone=zone,
        latitude=latitude,
        longitude=longitude,
        altitude_m=_altitude(exif.place) if latitude is not None or LATITUDE not in exif.place else None,
        direction_deg=_direction(exif.place),
        software=main.text(SOFTWARE),
        title=wide_text(main, XP_TITLE),
        caption=_caption(main, comment),
        creator=main.text(ARTIST) or wide_text(main, XP_AUTHOR),
        copyright=_copyright(main),
        keywords=_keywords(main),
        rating=_rating(main),
        burst_id=noted.burst_id,
        live_photo_id=noted.live_photo_id,
        marks=_marks(exif, noted, comment),
    )


def needs_exiftool(name: str, facts: Facts, blocks: tuple[Content, ...]) -> bool:
    """Whether exiftool would tell of a photo of the format `name` what is not in `facts`.

    That is a RAW file whose structure is not walked here, and a maker note that names the lens by a
    number while nothing else names it: both are rare and old.
    """
    if name == "raw" and not (facts.camera and facts.taken_at):
        return True
    if facts.lens is not None:
        return False
    note = open_exif(blocks).note
    return note is not None and note.read().lens_coded


def read_orientation(block: Content | None) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none."""
    return _orientation(Tiff(block or b"").main())


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


def _code(value: float | None) -> int:
    return -1 if value is None else int(value)


# ── camera and exposure ───────────────────────────────────────────────────────────────────────


def _lens(exif: Exif, noted: Noted) -> str | None:
    """The lens by its name, else by the name or the range in the maker note, else by its range."""
    detail = exif.detail
    named = _lens_name(detail.text(LENS_MODEL)) or _lens_name(exif.main.text(LENS_MODEL))
    if named:
        return join_maker(detail.text(LENS_MAKE), named)
    numbers = detail.fractions(LENS_SPECIFICATION) or exif.main.fractions(DNG_LENS)
    return _lens_name(noted.lens) or lens_range(numbers)


def _lens_name(text: str | None) -> str | None:
    return text if text and not _NO_LENS.fullmatch(text) else None


def _iso(exif: Exif) -> int | None:
    value = exif.number(ISO)
    if value in (None, 0, 65535):  # 65535: does not fit 16 bits; CIPA DC-008 puts it elsewhere
        kind = _code(exif.detail.number(SENSITIVITY_TYPE))
        tags = (*_SENSITIVITIES.get(kind, ()), *_ANY_SENSITIVITY)
        value = next((number for tag in tags if (number := exif.detail.number(tag))), None)
    if value is None:
        value = next((number for tag in PANASONIC_ISO if (number := exif.main.number(tag))), None)
    value = _within(value, 1, 10_000_000)
    return int(value) if value is not None else None


def _exposure(exif: Exif) -> float | None:
    value = exif.number(EXPOSURE_TIME)
    if value is None:
        apex = _within(exif.number(SHUTTER_SPEED), -20, 20)
        value = 2.0**-apex if apex is not None else None
    return _within(value, 1e-6, 1e6)


def _aperture(exif: Exif) -> float | None:
    value = exif.number(F_NUMBER)
    if value is None:
        apex = _within(exif.number(APERTURE_VALUE), 0, 20)
        value = round(2.0 ** (apex / 2), 1) if apex is not None else None
    return _within(value, 0.1, 1000)


def _flash(exif: Exif) -> bool | None:
    value = exif.number(FLASH)
    return bool(int(value) & 1) if value is not None else None


def _colour_space(exif: Exif) -> str | None:
    index = exif.interop.text(1)
    return _COLOUR_SPACES.get((_code(exif.detail.number(COLOUR_SPACE)), index if index == "R03" else None))


def _marks(exif: Exif, noted: Noted, comment: str | None) -> tuple[str, ...]:
    apple = exif.note is not None and exif.note.vendor == "Apple"
    rendered = _code(exif.detail.number(CUSTOM_RENDERED)) if apple else -1
    found = {
        "hdr": noted.hdr or rendered in _APPLE_HDR,
        "panorama": rendered == _APPLE_PANORAMA,
        "screenshot": comment == "Screenshot",
    }
    return tuple(mark for mark, is_so in found.items() if is_so)


# ── time and place ────────────────────────────────────────────────────────────────────────────


def _taken_at(exif: Exif) -> tuple[str | None, str | None]:
    """The moment in ISO 8601 with its fraction and offset, and where the offset is from."""
    for home, time_tag, fraction_tag, offset_tag in _TIMES:
        text = (exif.detail if home else exif.main).text(time_tag) or ""
        moment = _moment(text)
        if moment is None:
            continue
        fraction = _FRACTION.match(exif.detail.text(fraction_tag) or "")
        offset = _OFFSET.match(exif.detail.text(offset_tag) or text[len("2024:05:01 17:30:15") :])
        written = moment.isoformat() + (f".{fraction[0]}" if fraction and int(fraction[0]) else "")
        if offset:
            return written + offset[0], "offset"
        by_gps = _gps_offset(moment, exif.place)
        return (written + by_gps, "gps") if by_gps else (written, "local")
    return None, None


def _moment(written: str) -> datetime.datetime | None:
    match = _TIME.match(written)
    if match is None:
        return None
    try:
        return datetime.datetime(*map(int, match.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None


def _gps_offset(local: datetime.datetime, place: Directory) -> str | None:
    """The offset from UTC that the time of the GPS fix tells, "+02:00"; None when it tells none."""
    clock = place.numbers(GPS_TIME)
    if len(clock) != 3 or not all(0 <= part < 61 for part in clock):
        return None
    day = _moment(f"{place.text(GPS_DATE)} 00:00:00")
    if day is None:
        return None
    ahead_min = (local - day).total_seconds() / 60 - (clock[0] * 60 + clock[1] + clock[2] / 60)
    offset_min = min(OFFSETS_MIN, key=lambda offset: abs(ahead_min - offset))
    if abs(ahead_min - offset_min) > MAX_GPS_LAG_MIN:
        return None
    return f"{'-' if offset_min < 0 else '+'}{abs(offset_min) // 60:02}:{abs(offset_min) % 60:02}"


def _position(place: Directory) -> tuple[float | None, float | None]:
    latitude = _degrees(place, LATITUDE, LATITUDE_SIDE, "NS", 90)
    longitude = _degrees(place, LONGITUDE, LONGITUDE_SIDE, "EW", 180)
    if latitude is None or longitude is None or (latitude, longitude) == (0, 0):  # 0, 0: no fix yet
        return None, None
    return latitude, longitude


def _degrees(place: Directory, tag: int, side_tag: int, sides: str, limit: float) -> float | None:
    parts = place.numbers(tag)
    if not parts or len(parts) > 3 or min(parts) < 0:
        return None
    side = (place.text(side_tag) or "").upper()[:1]
    if not side or side not in sides:
        return None
    degrees = sum(part / 60**i for i, part in enumerate(parts))
    return round(degrees if side == sides[0] else -degrees, 7) if degrees <= limit else None


def _altitude(place: Directory) -> float | None:
    """Metres above sea level, of what is between the deepest trench and the edge of space."""
    value = place.number(ALTITUDE)
    below = place.number(ALTITUDE_SIDE) == 1
    return _within(-value if below and value is not None else value, -12_000, 100_000)


def _direction(place: Directory) -> float | None:
    """Degrees from north, true or magnetic as the camera had it: they differ by less than a view's width."""
    value = _within(place.number(DIRECTION), 0, 360)
    return None if value is None else value % 360


# ── words ─────────────────────────────────────────────────────────────────────────────────────


def _caption(main: Directory, comment: str | None) -> str | None:
    described = decode_text(main.raw(DESCRIPTION, MAX_CAPTION_BYTES).partition(b"\0")[0])
    for text in (clean_text(described), wide_text(main, XP_COMMENT), comment):
        if text and not BOILERPLATE.fullmatch(text):
            return text
    return None


def user_comment(detail: Directory) -> str | None:
    """The comment of a person or a program, behind the eight bytes that name its charset."""
    if USER_COMMENT not in detail:
        return None
    raw = detail.raw(USER_COMMENT, MAX_CAPTION_BYTES)
    charset, body = _COMMENT_CHARSETS.get(raw[:8]), raw[8:]
    if charset is None:  # no known name: text from the start, if text it is
        body = raw
    elif charset == "utf-16":
        return clean_text(_utf16(body, detail.order))
    elif charset:
        return clean_text(body.rstrip(b"\0").decode(charset, "ignore"))
    text = body.partition(b"\0")[0]
    return clean_text(decode_text(text)) if _is_text(text) else None


def _utf16(raw: bytes, order: str) -> str:
    """UTF-16 in the order of its mark, else in the one that has more ASCII in it: many programs err."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw[: len(raw) // 2 * 2].decode("utf-16", "ignore").partition("\0")[0]
    low, high = raw[::2].count(0), raw[1::2].count(0)
    little = high > low if high != low else order == "<"
    return raw.decode("utf-16-le" if little else "utf-16-be", "ignore").partition("\0")[0]


def _is_text(raw: bytes) -> bool:
    """Whether bytes of no declared charset are words and no table of numbers."""
    return not any(byte < 9 or 13 < byte < 32 for byte in raw[:256])


def wide_text(main: Directory, tag: int) -> str | None:
    """A tag of Windows' own: UTF-16 in little-endian order, in bytes."""
    if tag not in main:
        return None
    return clean_text(main.raw(tag, MAX_CAPTION_BYTES).decode("utf-16-le", "ignore").partition("\0")[0])


def _copyright(main: Directory) -> str | None:
    """The photographer's copyright, or the editor's when that is blank."""
    parts = main.raw(COPYRIGHT, MAX_CAPTION_BYTES).split(b"\0")
    return next(filter(None, (clean_text(decode_text(part)) for part in parts)), None)


def _keywords(main: Directory) -> tuple[str, ...]:
    return tuple(clean_words((wide_text(main, XP_KEYWORDS) or "").split(";")))


def _rating(main: Directory) -> int | None:
    stars = main.number(RATING)
    if stars is not None:
        return int(stars) if stars in range(6) else None
    percent = main.number(RATING_PERCENT)
    return next((stars for least, stars in STARS_OF_PERCENT if percent and least <= percent <= 100), None)
