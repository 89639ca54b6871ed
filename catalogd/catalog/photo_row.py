"""The row of a photo in `columns`: what filters, orders and facets ask for, in a fixed place.

The writer makes it in the transaction that writes the record (`catalogd.catalog.store`); readers hold
the rows of all photos as arrays (`catalogd.catalog.columns`). A string is a code: a number that
`terms` turns back, given out once and never again for another string.

docs/formats.md has the bytes. Whoever changes what a row says raises `ROW_VERSION`.
"""

from __future__ import annotations

import calendar
import datetime
import functools
import math
import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from catalogd.catalog.stems import stem_of
from catalogd.records import Facts, Output, Place, Record, UserFacts, tagged_by

ROW_VERSION = 2  # another one in the store: all rows are made again

# kind → first byte of its keys in `terms`
TERM_KINDS = {
    "camera": 1,
    "lens": 2,
    "label": 3,
    "format": 4,  # by content, as Facts.format
    "extension": 5,  # of the file's name, lower case
    "place": 6,  # nearest, city, region, country, country code: joined by tabs
    "folder": 7,  # the path's bytes, the only ones that need not be UTF-8
    "creator": 8,
    "software": 9,
}

# Bits of what virtual copies are rated, one star to five: `rating:` finds their photo by them.
COPY_RATINGS = ("copy_rated_1", "copy_rated_2", "copy_rated_3", "copy_rated_4", "copy_rated_5")

# Bits of `flags`, the first is 1: `has:` and `is:` ask for them. Only ever added to.
FLAGS = (
    "gps",
    "place",
    "date",
    "camera",
    "lens",
    "title",
    "caption",
    "creator",
    "copyright",
    "software",
    "keywords",
    "people",  # named by a file or its sidecar
    "rating",
    "label",
    "sidecar",
    "tags",
    "faces",
    "text",
    "objects",
    "raw",
    "edited",  # an edited copy, by its name
    "flash",  # it fired
    "truncated",
    "failed",  # one of its models failed on it
    "drone",
    "panorama",
    "360",
    "hdr",
    "motion_photo",
    "live_photo",
    "camera_burst",
    "portrait_mode",
    "screenshot",
    "scan",
    "picked",  # flagged in another program; a rejected photo is rated -1
    "virtual",  # has virtual copies there
    "developed",  # its picture was changed there
    "collected",  # in a collection there
    *COPY_RATINGS,
    "described",  # a model wrote a caption
    "answers",  # of a model, to questions
)
FLAG_BITS = {name: 1 << bit for bit, name in enumerate(FLAGS)}
_MARK_FLAGS = {"burst": "camera_burst", "portrait": "portrait_mode"}  # marks whose words mean something else

NO_RATING = -128
NO_ISO = -1

# Times, sizes and numbers of the camera are of 8 bytes: a filter compares them with what a person typed.
ROW = np.dtype(
    [
        ("photo_id", "<i8"),
        ("taken", "<f8"),  # whole seconds since 1970 on the camera's own clock; NaN: not known, as below
        ("added", "<f8"),  # whole seconds since the epoch
        ("size", "<i8"),  # bytes
        ("latitude", "<f8"),  # degrees, WGS 84
        ("longitude", "<f8"),
        ("altitude", "<f8"),  # m
        ("aperture", "<f8"),  # f-number
        ("focal", "<f8"),  # mm
        ("focal35", "<f8"),
        ("exposure", "<f8"),  # s
        ("sharpness", "<f8"),  # 0…100
        ("noise", "<f8"),
        ("brightness", "<f8"),  # 0…1
        ("aesthetics", "<f8"),  # 1…10, as people rate pictures
        ("flags", "<u8"),
        ("width", "<u4"),  # px, upright
        ("height", "<u4"),
        ("iso", "<i4"),  # NO_ISO: not known
        ("camera", "<u4"),  # codes of terms; 0: not known
        ("lens", "<u4"),
        ("label", "<u4"),
        ("format", "<u4"),
        ("extension", "<u4"),
        ("place", "<u4"),
        ("folder", "<u4"),
        ("creator", "<u4"),
        ("software", "<u4"),
        ("faces", "<u2"),
        ("rating", "i1"),  # NO_RATING: none
        ("signature", "u1", 32),  # Output.signature; zeros: none
    ]
)
_PACK = struct.Struct("<qddq11dQIIi9IHb32s").pack
_NOT_A_NUMBER = math.nan
_NO_SIGNATURE = bytes(32)

Coded = Callable[[str, bytes], int]  # kind and term → its code


class _Measures(NamedTuple):
    """What models said of a photo."""

    sharpness: float
    noise: float
    brightness: float
    aesthetics: float
    faces: int
    signature: bytes
    flags: int


def row_of(record: Record, code: Coded) -> bytes:
    """The row of one photo that is not missing. `code` gives a term that has none a new code."""
    facts = record.said
    measures = _measures(record.outputs)
    folder, _, name = record.path.rpartition(b"/")
    return _PACK(
        record.photo_id,
        seconds(facts.taken_at),
        float(math.floor(record.added_at)),
        record.stat.size,
        *_position(facts),
        _number(facts.altitude_m),
        _number(facts.aperture),
        _number(facts.focal_mm),
        _number(facts.focal_35mm),
        _number(facts.exposure_s),
        measures.sharpness,
        measures.noise,
        measures.brightness,
        measures.aesthetics,
        _flags_of(facts)
        | measures.flags
        | (FLAG_BITS["edited"] if stem_of(name)[1] else 0)
        | (0 if record.user is None else _flags_of_user(record.user)),
        min(max(facts.width, 0), 0xFFFFFFFF),
        min(max(facts.height, 0), 0xFFFFFFFF),
        NO_ISO if facts.iso is None else min(max(facts.iso, 0), 0x7FFFFFFF),
        code("camera", _bytes(facts.camera)),
        code("lens", _bytes(facts.lens)),
        code("label", _bytes(facts.label)),
        code("format", _bytes(facts.format)),
        code("extension", _extension(name)),
        code("place", _place(facts.place)),
        code("folder", folder or b"/"),
        code("creator", _bytes(facts.creator)),
        code("software", _bytes(facts.software)),
        min(measures.faces, 0xFFFF),
        NO_RATING if facts.rating is None else min(max(facts.rating, -1), 5),
        measures.signature,
    )


@functools.lru_cache(maxsize=1024)  # photos are taken in bursts, and read in the order of their names
def seconds(taken_at: str | None) -> float:
    """Whole seconds since 1970 of the camera's own clock, whatever its zone; NaN where it is not known."""
    try:
        return float(calendar.timegm(datetime.datetime.fromisoformat(taken_at or "").timetuple()))
    except ValueError:
        return _NOT_A_NUMBER


def _number(value: float | None) -> float:
    return _NOT_A_NUMBER if value is None else value


def _position(facts: Facts) -> tuple[float, float]:
    if facts.latitude is None or facts.longitude is None:
        return _NOT_A_NUMBER, _NOT_A_NUMBER
    return facts.latitude, facts.longitude


def _bytes(text: str | None) -> bytes:
    return text.encode("utf-8", "replace") if text else b""


def _extension(name: bytes) -> bytes:
    dot = name.rfind(b".")
    return name[dot + 1 :].lower().decode("utf-8", "replace").encode() if dot > 0 else b""


@functools.lru_cache(maxsize=1024)
def _place_term(nearest: str, city: str, region: str, country: str, country_code: str) -> bytes:
    names = (nearest, city, region, country, country_code)
    return _bytes("\t".join(" ".join(name.split()) for name in names))


def _place(place: Place | None) -> bytes:
    if place is None:
        return b""
    return _place_term(place.nearest, place.city, place.region, place.country, place.country_code)


def _measures(outputs: dict[str, Output]) -> _Measures:
    sharpness = noise = brightness = aesthetics = _NOT_A_NUMBER
    faces = flags = 0
    signature = _NO_SIGNATURE
    for output in outputs.values():
        if output.quality is not None:
            quality = output.quality
            sharpness, noise, brightness = quality.sharpness, quality.noise, quality.brightness
        if output.aesthetics is not None:
            aesthetics = output.aesthetics
        if output.signature is not None:
            signature = output.signature
        faces += len(output.faces or ())
        flags |= _flags_of_output(output)
    if any(output.tags for output in tagged_by(outputs).values()):
        flags |= _TAGS
    return _Measures(sharpness, noise, brightness, aesthetics, faces, signature, flags)


def _flags_of_output(output: Output) -> int:
    return (
        (_FACES if output.faces else 0)
        | (_TEXT if output.text_lines else 0)
        | (_OBJECTS if output.objects else 0)
        | (_FAILED if output.error is not None else 0)
        | (_DESCRIBED if output.caption else 0)
        | (_ANSWERS if output.answers else 0)
    )


def _flags_of(facts: Facts) -> int:
    """The bits of what a photo's file and sidecars say."""
    found = (
        (_GPS if facts.latitude is not None and facts.longitude is not None else 0)
        | (_PLACE if facts.place is not None else 0)
        | (_DATE if facts.taken_at else 0)
        | (_CAMERA if facts.camera else 0)
        | (_LENS if facts.lens else 0)
        | (_RATING if facts.rating is not None else 0)
        | (_RAW if facts.format == "raw" else 0)
        | (_FLASH if facts.flash else 0)
        | (_TRUNCATED if facts.truncated else 0)
    )
    return found | _flags_of_words(facts)


def _flags_of_words(facts: Facts) -> int:
    found = (
        (_TITLE if facts.title else 0)
        | (_CAPTION if facts.caption else 0)
        | (_CREATOR if facts.creator else 0)
        | (_COPYRIGHT if facts.copyright else 0)
        | (_SOFTWARE if facts.software else 0)
        | (_KEYWORDS if facts.keywords or facts.keyword_paths else 0)
        | (_PEOPLE if facts.people or any(region.name for region in facts.regions) else 0)
        | (_LABEL if facts.label else 0)
        | (_SIDECAR if facts.sidecars else 0)
    )
    return found | _flags_of_marks(facts.marks) if facts.marks else found


def _flags_of_user(user: UserFacts) -> int:
    """The bits of what a person did in another program."""
    ratings = {copy.rating for copy in user.copies} & {1, 2, 3, 4, 5}
    return (
        (FLAG_BITS["picked"] if user.pick == 1 else 0)
        | (FLAG_BITS["virtual"] if user.copies else 0)
        | (_CAPTION if any(copy.caption for copy in user.copies) else 0)
        | (FLAG_BITS["developed"] if user.develop else 0)
        | (FLAG_BITS["collected"] if user.collections else 0)
        | sum(FLAG_BITS[COPY_RATINGS[stars - 1]] for stars in ratings if stars)
    )


@functools.lru_cache(maxsize=256)
def _flags_of_marks(marks: tuple[str, ...]) -> int:
    return sum(FLAG_BITS.get(_MARK_FLAGS.get(mark, mark), 0) for mark in set(marks))


_GPS, _PLACE, _DATE, _CAMERA, _LENS = (FLAG_BITS[name] for name in ("gps", "place", "date", "camera", "lens"))
_TITLE, _CAPTION, _CREATOR = (FLAG_BITS[name] for name in ("title", "caption", "creator"))
_COPYRIGHT, _SOFTWARE, _KEYWORDS = (FLAG_BITS[name] for name in ("copyright", "software", "keywords"))
_PEOPLE, _RATING, _LABEL, _SIDECAR = (FLAG_BITS[name] for name in ("people", "rating", "label", "sidecar"))
_TAGS, _FACES, _TEXT, _OBJECTS = (FLAG_BITS[name] for name in ("tags", "faces", "text", "objects"))
_RAW, _FLASH, _TRUNCATED, _FAILED = (FLAG_BITS[name] for name in ("raw", "flash", "truncated", "failed"))
_DESCRIBED, _ANSWERS = FLAG_BITS["described"], FLAG_BITS["answers"]
