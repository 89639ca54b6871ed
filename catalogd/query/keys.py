"""The keys of the query language, each with what it takes: one table, and values of each kind.

docs/query.md shows the table; a test compares them.
"""

from __future__ import annotations

import datetime
import difflib
import enum
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from catalogd.errors import QueryError
from catalogd.query import dates, units
from catalogd.query.units import Unit
from catalogd.records import Condition

_ALIKE = 0.7  # of difflib's ratio: one wrong letter in four; "car" is not "ocr"
NEAR_KM = 1.0  # radius of near: without one: what a walk of a quarter of an hour reaches
ORDERS = ("score", "date", "added", "quality", "aesthetics", "name")

# Words of has: → what a photo has then; IS_WORDS the same for is:.
HAS_WORDS = {
    "gps": "a position",
    "place": "a place name",
    "date": "a date",
    "camera": "a camera's name",
    "lens": "a lens's name",
    "title": "a title",
    "caption": "a caption of a person",
    "described": "a caption that a model wrote",
    "answers": "answers of a model to your questions",
    "keywords": "keywords of a person",
    "people": "people that a file or a person named",
    "rating": "a rating",
    "label": "a colour label",
    "sidecar": "an XMP sidecar",
    "faces": "faces",
    "text": "text in the picture",
    "tags": "tags of a model",
    "objects": "objects that a model found",
    "creator": "an author",
    "copyright": "a copyright notice",
    "software": "the name of the program that wrote it",
    "location": "a position or a place name",
    "collection": "a collection that it is in, in Lightroom",
}
IS_WORDS = {
    "best": "the one to keep of its stack or burst; every photo that is in none",
    "cover": "the cover of a stack or burst",
    "stack": "one of several files of one picture",
    "burst": "one of a burst",
    "raw": "a RAW file",
    "edited": "an edited copy, by its name",
    "portrait": "higher than wide",
    "landscape": "wider than high",
    "square": "as wide as high",
    "panorama": "a panorama",
    "360": "a full sphere",
    "hdr": "an HDR picture",
    "drone": "taken by a drone",
    "screenshot": "a screenshot",
    "scan": "a scan",
    "live": "a live or motion photo",
    "motion": "a motion photo: its film is in the same file",
    "flash": "taken with flash",
    "rated": "rated one star or more",
    "picked": "flagged as a pick in Lightroom",
    "rejected": "rated -1, or flagged as rejected in Lightroom",
    "virtual": "with virtual copies in Lightroom",
    "developed": "changed in Lightroom's Develop",
    "named": "with a named person",
    "truncated": "a file that ends early",
    "failed": "a photo that a model failed on",
}
_SAME_WORDS = {
    "position": "gps",
    "face": "faces",
    "person": "people",
    "keyword": "keywords",
    "tag": "tags",
    "object": "objects",
    "stars": "rating",
    "sphere": "360",
    "flagged": "picked",
    "answer": "answers",
    "collections": "collection",
}


class Kind(enum.Enum):
    """What the value of a key is."""

    WORDS = "words"
    NUMBER = "a number, a range or a comparison"
    DATE = "a date, a range or a comparison"
    NEAR = "a position and a radius"
    CHOICE = "one of some words"
    EXAMPLE = "a photo"
    ORDER = "an order"


class Key(NamedTuple):
    """One key of the query language."""

    name: str
    kind: Kind
    example: str  # a query
    finds: str  # photos …
    aliases: tuple[str, ...] = ()
    unit: Unit | None = None
    choices: Mapping[str, str] = MappingProxyType({})  # word → what it means
    has_bars: bool = False  # a "|" is a part of its value, not OR


def _number(name: str, unit: Unit, example: str, finds: str, aliases: tuple[str, ...] = ()) -> Key:
    return Key(name, Kind.NUMBER, example, finds, aliases, unit)


TABLE = (
    Key(
        "person",
        Kind.WORDS,
        'person:"Anna Núñez"',
        "that show this person, by name or alias",
        ("people", "who"),
    ),
    Key("place", Kind.WORDS, "place:Bergen", "taken in a town, region or country of this name"),
    Key("camera", Kind.WORDS, "camera:sony", "of a camera with these words in its name"),
    Key("lens", Kind.WORDS, 'lens:"85mm"', "of a lens with these words in its name"),
    Key("type", Kind.WORDS, "type:raw", "of this format or file extension", ("format", "ext")),
    Key("text", Kind.WORDS, 'text:"total"', "with these words in the picture", ("ocr",)),
    Key("title", Kind.WORDS, "title:harvest", "with these words in their title"),
    Key(
        "caption",
        Kind.WORDS,
        'caption:"first day"',
        "with these words in their caption: a person's, or a model's where no person wrote one",
        ("description",),
    ),
    Key(
        "answer", Kind.WORDS, 'answer:"a dog yes"', "with these words in what a model answered", ("answers",)
    ),
    Key("creator", Kind.WORDS, "creator:anna", "by this author", ("author", "by")),
    Key(
        "keyword",
        Kind.WORDS,
        "keyword:travel/norway",
        "with this keyword as a whole, or as a level of a hierarchy; levels are parted by `/` or `|`",
        ("keywords",),
        has_bars=True,
    ),
    Key("label", Kind.WORDS, "label:red", "with this colour label"),
    Key("tag", Kind.WORDS, 'tag:"tabby cat"', "that a model gave this tag", ("tags",)),
    Key("object", Kind.WORDS, "object:bicycle", "in which a model found this object", ("objects",)),
    Key("in", Kind.WORDS, 'in:"2023/Norway"', "in this folder or below it", ("folder",)),
    Key("name", Kind.WORDS, "name:IMG_1*", "whose file name holds this", ("file", "filename")),
    Key("album", Kind.WORDS, 'album:"Best of Norway"', "of this album"),
    Key("software", Kind.WORDS, "software:lightroom", "that this program wrote"),
    Key("date", Kind.DATE, "date:2023-06..2023-08", "taken then, by the camera's clock", ("taken", "when")),
    Key("added", Kind.DATE, "added:7d", "that came into the catalog then, by this machine's clock"),
    Key(
        "near",
        Kind.NEAR,
        "near:60.39,5.32,10km",
        "taken around a position (latitude, longitude) or a place's name; without a radius, within 1 km",
    ),
    _number("iso", units.ISO, "iso:>=1600", "taken at this sensitivity"),
    _number("f", units.APERTURE, "f:<2.8", "taken at this f-number", ("aperture",)),
    _number("exposure", units.EXPOSURE, "exposure:1/200s", "exposed for so long", ("shutter",)),
    _number("focal", units.FOCAL, "focal:24..70", "taken at this focal length, in mm"),
    _number("focal35", units.FOCAL, "focal35:>=200mm", "the same as on 36 x 24 mm"),
    _number(
        "rating",
        units.STARS,
        "rating:>=4",
        "with so many stars, or with a virtual copy that has; -1 is rejected",
        ("stars",),
    ),
    _number("faces", units.COUNT, "faces:2..", "with so many faces"),
    _number("sharp", units.SCORE, "sharp:>60", "so sharp, 0 to 100", ("sharpness",)),
    _number("noise", units.LEVELS, "noise:<5", "with so much noise, in levels of 255"),
    _number("brightness", units.SHARE, "brightness:<20%", "so bright on the whole, 0 to 1"),
    _number(
        "aesthetics",
        units.TASTE,
        "aesthetics:>=6",
        "that people would like so much, 1 to 10, as a model guesses",
        ("beauty",),
    ),
    _number("mp", units.MEGAPIXELS, "mp:>=24MP", "with so many megapixels", ("megapixels",)),
    _number("width", units.PIXELS, "width:>=3840px", "so many pixels wide"),
    _number("height", units.PIXELS, "height:2160", "so many pixels high"),
    _number("size", units.BYTES, "size:>5MB", "whose file is so large"),
    _number("altitude", units.HEIGHT, "altitude:>1000m", "taken so high above the sea"),
    Key("has", Kind.CHOICE, "has:gps", "that have something", choices=HAS_WORDS),
    Key("is", Kind.CHOICE, "is:best", "that are something", choices=IS_WORDS),
    Key("similar", Kind.EXAMPLE, "similar:IMG_1.jpg", "that look like this one", ("like",)),
    Key("order", Kind.ORDER, "order:-date", "in this order", ("sort",), has_bars=True),
)
KEYS = tuple(key.name for key in TABLE)
_BY_NAME = {name: key for key in TABLE for name in (key.name, *key.aliases)}

_COMPARISON = re.compile(r"(>=|<=|>|<|=|≥|≤)\s*(.*)", re.DOTALL)
_SIGNS = {"≥": ">=", "≤": "<="}


def find_key(name: str) -> Key | None:
    """The key of this name or alias, whatever its case."""
    return _BY_NAME.get(name.casefold())


def nearest_key(name: str) -> str | None:
    """The key that somebody who typed `name` most likely meant."""
    near = difflib.get_close_matches(name.casefold(), _BY_NAME, 1, _ALIKE)
    return near[0] if near else None


def condition(key: Key, value: str, position: int, today: datetime.date) -> Condition:
    """The condition that a value means. Raises QueryError for one that the key does not take."""
    match key.kind:
        case Kind.WORDS:
            return Condition(key.name, words=value.strip(), position=position)
        case Kind.CHOICE:
            return Condition(key.name, words=_choice(key, value, position), position=position)
        case Kind.NEAR:
            return Condition(key.name, numbers=_near(key, value, position), position=position)
        case Kind.NUMBER:
            low, high = _numbers(key, value, position)
        case _:
            low, high = _times(key, value, position, today)
    if low is not None and high is not None and low > high:
        raise QueryError(
            f"{key.name}:{value} {_at(position)} is an empty range: its first end comes after its last",
            position,
        )
    return Condition(key.name, low=low, high=high, position=position)


def order_of(value: str, position: int) -> str:
    """The order, or several parted by commas: the next one decides where the former leaves photos equal."""
    orders = [part.strip().casefold() for part in re.split(r"[,|]", value)]
    for order in orders:
        if order.removeprefix("-") not in ORDERS:
            known = ", ".join(ORDERS)
            raise QueryError(
                f'order: {_at(position)} takes {known}, with a "-" before it the other way round', position
            )
    return ",".join(orders)


def _at(position: int) -> str:
    return f"(at position {position + 1})"


# -- words of a list -------------------------------------------------------------------------------


def _choice(key: Key, value: str, position: int) -> str:
    word = value.strip().casefold().replace(" ", "")
    word = word if word in key.choices else _SAME_WORDS.get(word, word)
    if word in key.choices:
        return word
    near = difflib.get_close_matches(word, key.choices, 1, _ALIKE)
    meant = f"did you mean {key.name}:{near[0]}? " if near else ""
    raise QueryError(
        f"there is no {key.name}:{value} {_at(position)}: {meant}there are {', '.join(key.choices)}", position
    )


# -- numbers ---------------------------------------------------------------------------------------


def _numbers(key: Key, value: str, position: int) -> tuple[float | None, float | None]:
    """Both ends, included; None is open."""
    unit = key.unit
    assert unit is not None
    try:
        if found := _COMPARISON.fullmatch(value.strip()):
            sign = _SIGNS.get(found[1], found[1])
            return _compared(unit, sign, *unit.read(found[2]))
        if ".." not in value:
            return _about(unit, *unit.read(value))
        start, end = _ends(key, value, position)
        return unit.read(_with_unit(start, end))[0] if start else None, unit.read(end)[0] if end else None
    except ValueError:
        raise QueryError(f"{key.name}: {_at(position)} takes {unit.takes}", position) from None


def _compared(unit: Unit, sign: str, number: float, slack: float) -> tuple[float | None, float | None]:
    """Raises ValueError where nothing is so low or so high."""
    if (sign, number) in ((">", unit.most), ("<", unit.least)):
        raise ValueError
    match sign:
        case ">=":
            return number, None
        case "<=":
            return None, number
        case ">":
            return number + 1 if unit.whole else math.nextafter(number, math.inf), None
        case "<":
            return None, number - 1 if unit.whole else math.nextafter(number, -math.inf)
    return _about(unit, number, slack)


def _about(unit: Unit, number: float, slack: float) -> tuple[float, float]:
    return max(number - slack, unit.least), min(number + slack, unit.most)


def _ends(key: Key, value: str, position: int) -> tuple[str, str]:
    start, _, end = (part.strip() for part in value.partition(".."))
    if not start and not end:
        raise QueryError(
            f"{key.name}:{value} {_at(position)} has no ends; write one: {key.example}", position
        )
    return start, end


def _with_unit(start: str, end: str) -> str:
    """`1..20MB` is from 1 MB on: the unit of the end goes for a start that has none."""
    unit = re.search(r"[^\W\d]+$|%$", end)
    return start + unit[0] if unit and re.fullmatch(r"[-+.\d]+", start) else start


# -- dates -----------------------------------------------------------------------------------------


def is_date(key: Key, value: str, today: datetime.date) -> bool:
    """Whether the key takes this value."""
    try:
        _times(key, value, 0, today)
    except QueryError:
        return False
    return True


def _times(key: Key, value: str, position: int, today: datetime.date) -> tuple[float | None, float | None]:
    """Both ends in seconds, included; None is open."""
    try:
        first, last = _spans(key, value, position, today)
        low = _seconds(key, first.start) if first else None
        return low, _seconds(key, last.end) - 1 if last else None
    except (ValueError, OverflowError, OSError) as error:
        why = (
            f"{key.name}:{value} {_at(position)}: {error}. It"
            if str(error)
            else f"{key.name}: {_at(position)}"
        )
        raise QueryError(f"{why} takes {dates.TAKES}", position) from None


def _spans(
    key: Key, value: str, position: int, today: datetime.date
) -> tuple[dates.Span | None, dates.Span | None]:
    if found := _COMPARISON.fullmatch(value.strip()):
        return _compared_span(_SIGNS.get(found[1], found[1]), dates.read(found[2], today))
    if ".." in value:
        return dates.read_range(*_ends(key, value, position), today)
    span = dates.read(value, today)
    return span, span


def _compared_span(sign: str, span: dates.Span) -> tuple[dates.Span | None, dates.Span | None]:
    if span.until_today and sign != "=":
        raise ValueError('a comparison with so many days can be read in two ways; write "7d.." or "..7d"')
    match sign:
        case ">=":
            return span, None
        case "<=":
            return None, span
        case ">":
            return span._replace(start=span.end), None
        case "<":
            return None, span._replace(end=span.start)
    return span, span


def _seconds(key: Key, moment: datetime.datetime) -> float:
    """Camera time has no zone, it is counted as if it were UTC; the catalog's own clock is this machine's."""
    return (moment if key.name == "added" else moment.replace(tzinfo=datetime.UTC)).timestamp()


# -- positions -------------------------------------------------------------------------------------


def _near(key: Key, value: str, position: int) -> tuple[float, float, float]:
    """Latitude and longitude in degrees, radius in km."""
    parts = [part.strip() for part in value.split(",")]
    try:
        if not parts[0]:
            raise ValueError
        if _is_number(parts[0]):
            north, east, *rest = parts
            latitude, longitude = units.DEGREES_NORTH.read(north)[0], units.DEGREES_EAST.read(east)[0]
        else:
            (latitude, longitude), rest = _position_of(parts[0], position), parts[1:]
        radius = units.KILOMETRES.read(rest[0])[0] if rest else NEAR_KM
        if len(rest) > 1 or radius == 0:
            raise ValueError
    except ValueError:
        raise QueryError(
            f"near: {_at(position)} takes latitude,longitude,radius such as 60.39,5.32,10km, "
            "or a place's name and a radius such as Bergen,10km",
            position,
        ) from None
    return latitude, longitude, radius


def _is_number(text: str) -> bool:
    return bool(re.match(r"[-+.]?\d", text))


def _position_of(name: str, position: int) -> tuple[float, float]:
    from catalogd.metadata.places import find_place  # numpy and the gazetteer, only where they are asked for

    found = find_place(name)
    if found is None:
        raise QueryError(
            f"near: {_at(position)}: no place of the gazetteer is called {name}; "
            "write its position: near:60.39,5.32,10km",
            position,
        )
    return found
