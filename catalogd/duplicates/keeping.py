"""Which of several files of one picture to keep, and why: proposals, never acts.

What can't be had back comes first: the RAW, the pixels, then what a person did, what the camera knew,
how little the encoding took away. The first point in which two files differ decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from catalogd.duplicates.judging import Photo

_LIKE_SHARPNESS = 10.0  # of 100: copies differ by less, and it is measured on frames of one size
_LOSSLESS = frozenset(("raw", "png", "tiff", "psd", "bmp"))
_SMALL_FOR_ITS_PIXELS = frozenset(("heif", "avif", "jxl", "webp"))  # half the bytes say as much there
# IMG_1 (2), IMG_1-copy, "IMG_1 Kopie", "Copy of IMG_1", IMG_1~2
_COPY_NAME = re.compile(
    r"(\(\d+\)|~\d+|[-_ ](copy|copie|copia|kopie|kopia|kopi|edited)( ?\d+)?)$|^(copy of|kopie von|copie de) ",
    re.IGNORECASE,
)

_LOST_FACTS = {
    "rating": "rating",
    "label": "label",
    "keywords": "keywords",
    "people": "people",
    "title": "title",
    "caption": "caption",
    "position": "latitude",
    "date": "taken_at",
}


class Point(NamedTuple):
    """One thing that speaks for a file."""

    worth: Callable[[Photo], float]  # more is better
    words: Callable[[Photo], str]  # what is said of the file that has more


def _settled(photo: Photo) -> int:
    """How much a person told about it: keywords, names, title, caption, label."""
    facts = photo.facts
    told = (facts.title, facts.caption, facts.label, facts.people, facts.keywords or facts.keyword_paths)
    return sum(map(bool, told))


def _known(photo: Photo) -> int:
    """How much its camera told: date, place, camera, lens."""
    facts = photo.facts
    return sum(fact is not None for fact in (facts.taken_at, facts.latitude, facts.camera, facts.lens))


def _has_copy_name(photo: Photo) -> bool:
    name = photo.path.rpartition(b"/")[2].decode("utf-8", "replace")
    return _COPY_NAME.search(name.rpartition(".")[0] or name) is not None


def _fidelity(photo: Photo) -> float:
    """Lossless before lossy, then bits a pixel, to a quarter of a bit: less says nothing."""
    if photo.facts.format in _LOSSLESS:
        return math.inf
    bits = 8 * photo.stat.size / max(1, photo.pixel_count)
    return round(4 * bits * (2 if photo.facts.format in _SMALL_FOR_ITS_PIXELS else 1))


def _fidelity_words(photo: Photo) -> str:
    return "encoded without loss" if photo.facts.format in _LOSSLESS else "more bytes for its pixels"


def _sharpness(photo: Photo) -> float:
    return 0.0 if math.isnan(photo.sharpness) else photo.sharpness // _LIKE_SHARPNESS


def _known_words(photo: Photo) -> str:
    facts = photo.facts
    known = {"date": facts.taken_at, "place": facts.latitude, "camera": facts.camera, "lens": facts.lens}
    return "knows its " + ", ".join(name for name, fact in known.items() if fact is not None)


POINTS = (
    Point(lambda photo: photo.facts.rating != -1, lambda photo: "not rejected"),
    Point(lambda photo: not photo.facts.truncated, lambda photo: "whole, the other ends early"),
    Point(lambda photo: photo.is_raw, lambda photo: "RAW"),
    Point(
        lambda photo: photo.pixel_count,
        lambda photo: f"more pixels: {photo.facts.width} x {photo.facts.height}",
    ),
    Point(lambda photo: photo.facts.rating or 0, lambda photo: f"rated {photo.facts.rating}"),
    Point(_settled, lambda photo: "has more of a person's words"),
    Point(_known, _known_words),
    Point(lambda photo: not _has_copy_name(photo), lambda photo: "its name is not that of a copy"),
    Point(_fidelity, _fidelity_words),
    Point(_sharpness, lambda photo: "sharper"),
    Point(lambda photo: -photo.path.count(b"/"), lambda photo: "in a folder further up"),
)


def by_worth(photos: Sequence[Photo]) -> list[Photo]:
    """The photos, the one to keep first."""
    return sorted(photos, key=lambda photo: ([-point.worth(photo) for point in POINTS], photo.path))


def reasons(keeper: Photo, others: Sequence[Photo]) -> tuple[str, ...]:
    """What speaks for the keeper against some of the others; the points that decided."""
    return tuple(dict.fromkeys(_deciding(keeper, other) for other in others))


def _deciding(keeper: Photo, other: Photo) -> str:
    points = (point for point in POINTS if point.worth(keeper) != point.worth(other))
    return next((point.words(keeper) for point in points), "first by its path, all else is alike")


def lacking(keeper: Photo, others: Sequence[Photo]) -> tuple[str, ...]:
    """What only the others say: it would be lost with them."""
    return tuple(
        word
        for word, name in _LOST_FACTS.items()
        if _is_unsaid(getattr(keeper.facts, name))
        and not all(_is_unsaid(getattr(other.facts, name)) for other in others)
    )


def _is_unsaid(fact: Any) -> bool:
    return fact is None or fact in ("", ())
