"""Facts of a photo from its XMP packet or from a sidecar: which property means what.

Regions are stored in the space of the stored pixels, before EXIF orientation (Metadata Working Group,
Guidelines for Handling Image Metadata 2.0, 5.9); facts have them on the upright frame. Never raises.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator

from catalogd.metadata import marks
from catalogd.metadata.exif import (
    BOILERPLATE,
    METERINGS,
    STARS_OF_PERCENT,
    WHITE_BALANCES,
    join_maker,
)
from catalogd.metadata.values import (
    MAX_NUMBER_CHARS,
    MAX_WORDS,
    clean_text,
    clean_word,
    clean_words,
    number,
    time,
    within,
    zone_of,
)
from catalogd.metadata.xmp import Value, parse
from catalogd.records import Box, Facts, Place, Region

MAX_PATH_CHARS = 1000  # of a keyword with the levels above it
MAX_REGIONS = 1000  # faces of a school photo: some hundred
MAX_REGION_EDGE = 1.01  # of the frame's, for what programs round: larger ones are in another unit

_CAPTIONS = ("dc:description", "tiff:ImageDescription", "exif:UserComment")
_TIMES = ("exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate")
# Where programs keep keywords in a hierarchy, and how they part its levels.
_PATHS = (
    ("lr:hierarchicalSubject", "|"),
    ("digiKam:TagsList", "/"),
    ("MicrosoftPhoto:LastKeywordXMP", "/"),
    ("mediapro:CatalogSets", "|"),
)
# Bookkeeping of programs that stands among the keywords.
INTERNAL_KEYWORD = re.compile(r"darktable\||_Digikam_")
_PLACE = ("photoshop:Country", "photoshop:State", "photoshop:City", "Iptc4xmpCore:Location")
_COLOUR_SPACES = {1: "srgb", 2: "adobe-rgb"}
_REGION_KINDS = {kind.lower(): kind for kind in ("Face", "Pet", "Focus", "BarCode")}
# ISO 16684-2, GPSCoordinate: "53,7,57N", "53,7.95354N"; some programs write signed degrees.
_COORDINATE = re.compile(r"(\d+(?:\.\d*)?)(?:,(\d+(?:\.\d*)?))?(?:,(\d+(?:\.\d*)?))?\s*([NSEW])\Z", re.ASCII)


def read_xmp(packet: bytes, extended: bytes = b"", orientation: int = 1) -> Facts:
    """The facts of one packet and of the one that extends it.

    `orientation` (EXIF 1 to 8) is the photo's. `format`, `width` and `height` are left empty.
    """
    return facts_of(parse(packet, extended), orientation)


def facts_of(root: Value, orientation: int) -> Facts:
    """The facts of a packet's properties."""
    latitude, longitude = _position(root)
    paths = _keyword_paths(root)
    regions = _regions(root, orientation)
    taken_at = _taken_at(root)
    return Facts(
        format="",
        width=0,
        height=0,
        camera=join_maker(_word(root, "tiff:Make"), _word(root, "tiff:Model")),
        lens=_word(root, "exifEX:LensModel", "aux:Lens"),
        iso=_iso(root),
        exposure_s=_exposure(root),
        aperture=_aperture(root),
        focal_mm=within(_number(root, "exif:FocalLength"), 0.1, 10_000),
        taken_at=taken_at,
        latitude=latitude,
        longitude=longitude,
        zone=zone_of(taken_at),
        camera_serial=_word(root, "exifEX:BodySerialNumber", "aux:SerialNumber"),
        focal_35mm=within(_number(root, "exif:FocalLengthIn35mmFilm"), 1, 10_000),
        exposure_bias_ev=within(_number(root, "exif:ExposureBiasValue"), -20, 20),
        flash=_truth(root.get("exif:Flash", "exif:Fired").text),
        metering=METERINGS.get(_code(root, "exif:MeteringMode")),
        white_balance=WHITE_BALANCES.get(_code(root, "exif:WhiteBalance")),
        colour_space=_COLOUR_SPACES.get(_code(root, "exif:ColorSpace")),
        altitude_m=_altitude(root) if latitude is not None else None,
        direction_deg=_direction(root),
        place=_place(root),
        software=_word(root, "xmp:CreatorTool", "tiff:Software"),
        title=_text(root, "dc:title", "photoshop:Headline"),
        caption=_caption(root),
        creator="; ".join(clean_words(root.get("dc:creator").all())) or _text(root, "tiff:Artist"),
        copyright=_text(root, "dc:rights", "tiff:Copyright"),
        keywords=tuple(_keywords(root, paths)),
        keyword_paths=tuple(path for path in paths if "|" in path),
        rating=_rating(root),
        label=_word(root, "xmp:Label"),
        people=tuple(_people(root, regions)),
        regions=regions,
        burst_id=_word(root, "GCamera:BurstID"),
        marks=marks.of_xmp(root),
    )


def _first(root: Value, *names: str) -> str:
    """The text of the first of some properties that has one that is not catalogd's. See Note [generated]."""
    texts = ((name, root.get(name).one()) for name in names)
    return next((text for name, text in texts if text.strip() and not _is_generated(root, name, [text])), "")


def _text(root: Value, *names: str) -> str | None:
    return clean_text(_first(root, *names))


def _word(root: Value, *names: str) -> str | None:
    return clean_word(_first(root, *names))


def _number(root: Value, name: str) -> float | None:
    return number(root.get(name).one())


def _code(root: Value, name: str) -> int:
    text = root.get(name).text.strip()
    return int(text) if re.fullmatch(r"\d{1,5}", text, re.ASCII) else -1


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False, "1": True, "0": False}.get(text.strip().lower())


# ── what a person says of a photo ─────────────────────────────────────────────────────────────


def _caption(root: Value) -> str | None:
    texts = (_text(root, name) for name in _CAPTIONS)
    return next((text for text in texts if text and not BOILERPLATE.fullmatch(text)), None)


def _keyword_paths(root: Value) -> list[str]:
    """The keywords of all hierarchies, levels parted by "|", each once; those of one level included."""
    written = (path for name, separator in _PATHS for path in _paths_of_person(root, name, separator))
    return [path for path in dict.fromkeys(written) if path and not INTERNAL_KEYWORD.match(path)]


def _paths_of_person(root: Value, name: str, separator: str) -> list[str]:
    """The keywords of one list that are not catalogd's. See Note [generated]."""
    generated = _generated(root, "catalogd:GeneratedKeywords")
    spelled = {
        text: _join_levels(text[:MAX_PATH_CHARS], separator) for text in root.get(name).all()[:MAX_WORDS]
    }
    theirs = {text: path for text, path in spelled.items() if path.casefold() not in generated}
    return [] if _is_generated(root, name, sorted(theirs)) else list(theirs.values())


def _join_levels(text: str, separator: str) -> str:
    """Where "/" parts the levels, digiKam writes one within a level as a backslash."""
    levels = text.split(separator)
    if separator == "/":
        levels = [level.replace("|", " ").replace("\\", "/") for level in levels]
    return "|".join(word for level in levels if (word := clean_word(level)))


def _keywords(root: Value, paths: list[str]) -> list[str]:
    """The flat keywords, and the last level of each path that is not among them."""
    generated = {path.rpartition("|")[2] for path in _generated(root, "catalogd:GeneratedKeywords")}
    theirs = [word for word in root.get("dc:subject").all() if word.casefold() not in generated]
    flat = [] if _is_generated(root, "dc:subject", sorted(theirs)) else theirs
    shown = (word for word in flat if not INTERNAL_KEYWORD.match(word))
    return clean_words(itertools.chain(shown, (path.rpartition("|")[2] for path in paths)))


def _rating(root: Value) -> int | None:
    """Stars, -1 for rejected; MicrosoftPhoto:Rating is in percent, by steps."""
    stars = number(root.get("xmp:Rating").text)
    if stars is not None and -1 <= stars <= 5:
        return round(stars)
    percent = within(number(root.get("MicrosoftPhoto:Rating").text), 0, 100)
    if percent is None:
        return None
    return next((stars for least, stars in STARS_OF_PERCENT if percent >= least), 0)


def _people(root: Value, regions: Iterable[Region]) -> list[str]:
    named = (region.name for region in regions if region.kind == "Face")
    generated = _generated(root, "catalogd:GeneratedPeople")
    written = root.get("Iptc4xmpExt:PersonInImage").all()
    theirs = [name for name in written if name.casefold() not in generated]
    shown = [] if _is_generated(root, "Iptc4xmpExt:PersonInImage", sorted(theirs)) else theirs
    return clean_words(itertools.chain(shown, named))


def _place(root: Value) -> Place | None:
    """The place in a person's words; `nearest` is the spot within the city."""
    country, region, city, spot = (_word(root, name) or "" for name in _PLACE)
    if not (country or region or city or spot):
        return None
    code = root.get("Iptc4xmpCore:CountryCode").one().strip().upper()
    return Place(code if len(code) == 2 else "", country, region, city, spot)


# Note [generated]
# What catalogd wrote into a sidecar for other programs is no word of a person, and is not read as one as
# long as it is what was written: catalogd:Generated… say what that was (catalogd.sync.ownership). So a photo
# has the same facts before and after its sidecar is written. That goes for copies too: a list that catalogd
# makes in a sidecar begins with what stands in the photo, and must not hide it when that is changed later.


def _generated(root: Value, name: str) -> set[str]:
    """The entries of a record of what catalogd wrote, whatever their case."""
    return {entry.casefold() for entry in root.get(name).all() if entry}


def _is_generated(root: Value, name: str, texts: Iterable[str]) -> bool:
    """Whether catalogd wrote a property: `texts` is its text, or what of a list is not catalogd's own.

    Such a list is one that catalogd made, in which all else was copied.
    """
    record = root.get("catalogd:GeneratedFields").items
    return bool(record) and f"{name} {text_digest(*texts)}" in (item.text for item in record)


def text_digest(*texts: str) -> str:
    """By which catalogd knows a text again that it wrote into a sidecar: 16 hexadecimal digits."""
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=8).hexdigest()


# ── regions ───────────────────────────────────────────────────────────────────────────────────


def _regions(root: Value, orientation: int) -> tuple[Region, ...]:
    """The regions of the Metadata Working Group; those of Microsoft when there is no face among them."""
    found = _of_person(root, "mwg-rs:Regions", _mwg_marks(root), orientation)
    if not any(region.kind == "Face" for region in found):
        found += _of_person(root, "MP:RegionInfo", _microsoft_marks(root), orientation)
    return tuple(found)


def _mwg_marks(root: Value) -> Iterator[Region]:
    """The regions on the stored picture."""
    regions = root.get("mwg-rs:Regions")
    applied = regions.get("mwg-rs:AppliedToDimensions")
    size_px = number(applied.get("stDim:w").text), number(applied.get("stDim:h").text)
    for item in regions.get("mwg-rs:RegionList").items[:MAX_REGIONS]:
        kind = _REGION_KINDS.get(item.get("mwg-rs:Type").text.strip().lower() or "face")
        area = item.get("mwg-rs:Area")
        x, y, width, height = (number(area.get(f"stArea:{name}").text) for name in "xywh")
        if kind is None or x is None or y is None or width is None or height is None:
            continue
        if area.get("stArea:unit").text == "pixel":
            if not (size_px[0] and size_px[1]):
                continue
            x, width = x / size_px[0], width / size_px[0]
            y, height = y / size_px[1], height / size_px[1]
        box = x - width / 2, y - height / 2, width, height
        yield Region(box, clean_word(item.get("mwg-rs:Name").one()) or "", kind)


def _microsoft_marks(root: Value) -> Iterator[Region]:
    """MPReg:Rectangle is "x, y, width, height" with the top left corner, as fractions."""
    for item in root.get("MP:RegionInfo", "MPRI:Regions").items[:MAX_REGIONS]:
        numbers = [number(part) for part in item.get("MPReg:Rectangle").text.split(",", 4)]
        rectangle = [part for part in numbers if part is not None]
        if len(rectangle) == len(numbers) == 4:
            x, y, width, height = rectangle
            yield Region((x, y, width, height), clean_word(item.get("MPReg:PersonDisplayName").one()) or "")


def _of_person(root: Value, name: str, marks: Iterable[Region], orientation: int) -> list[Region]:
    """The regions of one list on the upright frame that are not catalogd's. See Note [generated]."""
    generated = set(root.get("catalogd:GeneratedRegions").all())
    theirs = {entry: mark for mark in marks if (entry := region_entry(mark)) not in generated}
    if _is_generated(root, name, sorted(theirs)):
        return []
    boxes = ((upright_box(mark.box, orientation), mark) for mark in theirs.values())
    return [Region(box, mark.name, mark.kind) for box, mark in boxes if box is not None]


def region_entry(mark: Region) -> str:
    """How catalogd records a region of the stored picture: centre, width, height, and the name.

    The kind comes first where it is no face.
    """
    x, y, width, height = mark.box
    numbers = (x + width / 2, y + height / 2, width, height)
    kind = () if mark.kind == "Face" else (mark.kind,)
    return " ".join([*kind, *(f"{part:.5f}" for part in numbers), mark.name]).rstrip()


def upright_box(stored: Box, orientation: int) -> Box | None:
    """A box of the stored picture on the upright one, cut at its edges; None when its centre is outside.

    EXIF orientations 2 to 4 mirror or turn by half, 5 to 8 swap the axes before.
    """
    x, y, width, height = stored
    if not (0 < width <= MAX_REGION_EDGE and 0 < height <= MAX_REGION_EDGE):
        return None
    left, top, right, bottom = x, y, x + width, y + height
    if orientation in (5, 6, 7, 8):
        left, top, right, bottom = top, left, bottom, right
    if orientation in (2, 3, 6, 7):
        left, right = 1 - right, 1 - left
    if orientation in (3, 4, 7, 8):
        top, bottom = 1 - bottom, 1 - top
    if not (0 <= (left + right) / 2 <= 1 and 0 <= (top + bottom) / 2 <= 1):
        return None
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
    return round(left, 6), round(top, 6), round(right - left, 6), round(bottom - top, 6)


# ── time, place and camera ────────────────────────────────────────────────────────────────────


def _taken_at(root: Value) -> str | None:
    offset = root.get("exif:OffsetTimeOriginal").text
    return next((moment for name in _TIMES if (moment := time(root.get(name).one(), offset))), None)


def _position(root: Value) -> tuple[float | None, float | None]:
    latitude = _degrees(root.get("exif:GPSLatitude").text, "NS", 90)
    longitude = _degrees(root.get("exif:GPSLongitude").text, "EW", 180)
    if latitude is None or longitude is None or (latitude, longitude) == (0, 0):  # 0, 0: no fix yet
        return None, None
    return latitude, longitude


def _degrees(text: str, sides: str, limit: float) -> float | None:
    match = _COORDINATE.match(text[:MAX_NUMBER_CHARS].strip().upper())
    if match is None:
        degrees = number(text)
    elif match[4] not in sides:
        return None
    else:
        whole = sum(float(part or 0) / 60**i for i, part in enumerate(match.groups()[:3]))
        degrees = whole if match[4] == sides[0] else -whole
    return round(degrees, 7) if degrees is not None and -limit <= degrees <= limit else None


def _altitude(root: Value) -> float | None:
    value = _number(root, "exif:GPSAltitude")
    if value is None:
        return within(_number(root, "drone-dji:AbsoluteAltitude"), -12_000, 100_000)
    below = root.get("exif:GPSAltitudeRef").text.strip() == "1"
    return within(-value if below else value, -12_000, 100_000)


def _direction(root: Value) -> float | None:
    """Where the camera looked; a drone's gimbal has -180 to 180 degrees."""
    value = within(_number(root, "exif:GPSImgDirection"), 0, 360)
    if value is None:
        value = within(_number(root, "drone-dji:GimbalYawDegree"), -180, 180)
    return None if value is None else value % 360


def _iso(root: Value) -> int | None:
    written = _first(root, "exifEX:PhotographicSensitivity", "exif:ISOSpeedRatings")
    value = within(number(written), 1, 10_000_000)
    return int(value) if value is not None else None


def _exposure(root: Value) -> float | None:
    value = _number(root, "exif:ExposureTime")
    apex = within(_number(root, "exif:ShutterSpeedValue"), -20, 20)
    if value is None and apex is not None:
        value = 2.0**-apex
    return within(value, 1e-6, 1e6)


def _aperture(root: Value) -> float | None:
    value = _number(root, "exif:FNumber")
    apex = within(_number(root, "exif:ApertureValue"), 0, 20)
    if value is None and apex is not None:
        value = round(2.0 ** (apex / 2), 1)
    return within(value, 0.1, 1000)
