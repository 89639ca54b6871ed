"""Which photos satisfy the filters of a query: a tree of clauses becomes a mask over the columns.

    numbers, dates, positions   compared as arrays
    camera, place, folder …     each distinct string is asked once, then its code stands for it
    has:, is:                   bits of the row; stacks and bursts by the time line
    keyword, text, person …     the text index is asked, and the answer remembered

The same filters of the same commit give the same mask, whatever came before.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.arrangement import BURST_COVER, EARTH_RADIUS_KM, STACK_COVER, Rows
from catalogd.catalog.columns import Columns, Flags, find
from catalogd.catalog.environment import Ids
from catalogd.catalog.photo_row import COPY_RATINGS, FLAG_BITS, NO_ISO, NO_RATING
from catalogd.catalog.words import (
    MOST_QUERY_WORDS,
    Item,
    folded,
    folded_word,
    items_of,
    pattern_of,
    plain_words,
    valid,
)
from catalogd.errors import QueryError
from catalogd.records import Clause, Condition, Group, Step

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint32]

# Field → column, and what stands there for "not known" (of floats NaN, which is in no range).
NUMBER_FIELDS: dict[str, tuple[str, int | None]] = {
    "date": ("taken", None),
    "added": ("added", None),
    "size": ("size", None),
    "iso": ("iso", NO_ISO),
    "f": ("aperture", None),
    "focal": ("focal", None),
    "focal35": ("focal35", None),
    "exposure": ("exposure", None),
    "rating": ("rating", NO_RATING),
    "faces": ("faces", None),
    "sharp": ("sharpness", None),
    "noise": ("noise", None),
    "brightness": ("brightness", None),
    "aesthetics": ("aesthetics", None),
    "width": ("width", 0),
    "height": ("height", 0),
    "altitude": ("altitude", None),
    "mp": ("", None),  # megapixels, from width and height
}
# Field → kinds of strings whose words are asked for.
TERM_FIELDS = {
    "camera": "camera",
    "lens": "lens",
    "place": "place",
    "creator": "creator",
    "software": "software",
}
TEXT_FIELDS = frozenset(
    ("text", "caption", "title", "answer", "tag", "object", "keyword", "name", "any")
)  # of the index
FIELDS = frozenset(
    (
        *NUMBER_FIELDS,
        *TERM_FIELDS,
        *TEXT_FIELDS,
        "type",
        "label",
        "in",
        "near",
        "has",
        "is",
        "person",
        "album",
    )
)

# Word of `has:` → flags of which one is set.
HAS_FLAGS = {
    **{
        name: (name,)
        for name in (
            *("gps", "faces", "text", "caption", "title", "keywords", "people", "place", "rating", "label"),
            *("date", "lens", "camera", "tags", "objects", "sidecar", "creator", "copyright", "software"),
            *("described", "answers"),
        )
    },
    "location": ("gps", "place"),
    "collection": ("collected",),
}
# Word of `is:` → flags of which one is set.
IS_FLAGS = {
    **{
        name: (name,)
        for name in (
            "raw",
            "edited",
            "flash",
            "truncated",
            "failed",
            "drone",
            "hdr",
            "360",
            "screenshot",
            "scan",
            "picked",
            "virtual",
            "developed",
        )
    },
    "panorama": ("panorama", "360"),
    "live": ("live_photo", "motion_photo"),
    "motion": ("motion_photo",),
}
# Word of `is:` → what is compared.
_IS_COMPARED: dict[str, Callable[[Columns], Flags]] = {
    "portrait": lambda columns: columns.height > columns.width,
    "landscape": lambda columns: columns.width > columns.height,
    "square": lambda columns: (columns.width == columns.height) & (columns.width > 0),
    "rejected": lambda columns: columns.rating == -1,
    "rated": lambda columns: (columns.rating >= 1) | _with_copies_rated(columns, 1, None),
}
_IS_GROUPED = ("stack", "burst", "cover", "best")  # by the time line
IS_WORDS = frozenset((*IS_FLAGS, *_IS_COMPARED, *_IS_GROUPED, "named"))
HAS_WORDS = frozenset(HAS_FLAGS)

_SAME_TYPE = {"jpg": "jpeg", "tif": "tiff", "heic": "heif", "hif": "heif"}
_REMEMBERED = 256  # answers of the text index, each a bit a photo: 16 MB of 500,000 photos
_FEW_IDS = 20_000  # so many stay in a core's cache, and are looked through sooner than all photos
_FEW_CODES = 3  # so many comparisons cost less than a look-up of every code
_KM_PER_DEGREE = EARTH_RADIUS_KM * math.pi / 180
_PARTS = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


@dataclass(frozen=True, eq=False)
class Selection:
    """Some of the photos of a `Columns`; combine those of one catalog with `&`, `|` and `~`."""

    columns: Columns
    mask: Flags  # bool[n], in the order of the columns' rows; False where a row is of no photo
    steps: tuple[Step, ...] = ()  # one a filter: how many photos were left after it, and what it took

    @functools.cached_property
    def _count(self) -> int:
        return int(np.count_nonzero(self.mask))

    @functools.cached_property
    def ids(self) -> Ids:
        """The photos, ascending: int64[m]."""
        return self.columns.sorted_ids(self.mask)

    @property
    def is_all(self) -> bool:
        """Whether no photo is left out."""
        return self._count == self.columns.count

    def __len__(self) -> int:
        return self._count

    def contains(self, ids: Ids) -> Flags:
        """bool[m]: which of these photos are selected."""
        if self._count <= _FEW_IDS:
            return find(self.ids, ids) >= 0
        rows = self.columns.rows_of(ids)
        return (rows >= 0) & self.mask[rows] if len(self.mask) else rows >= 0

    def __and__(self, other: Selection) -> Selection:
        return Selection(self.columns, self.mask & other.mask_for(self.columns), self.steps + other.steps)

    def __or__(self, other: Selection) -> Selection:
        return Selection(self.columns, self.mask | other.mask_for(self.columns), self.steps + other.steps)

    def __invert__(self) -> Selection:
        return Selection(self.columns, self.columns.alive & ~self.mask, self.steps)

    def mask_for(self, columns: Columns) -> Flags:
        """The same photos as a mask over the rows of another `Columns` of the catalog."""
        if columns is self.columns:
            return self.mask
        return mask_of(columns, self.ids)


class Sources(NamedTuple):
    """Where answers come from that no column holds. Each `version` is another one when answers change."""

    text: Callable[[Condition], Ids]  # the photos that the text index finds for a condition
    text_version: int
    members: Callable[[], tuple[Ids, Rows]]  # as Timeline.members
    members_version: int
    person: Callable[[str], Ids | None] = lambda name: None  # the photos of a person; "*": of any
    album: Callable[[str], Ids | None] = lambda name: None  # the photos of an album; None: there is none


def everything(columns: Columns) -> Selection:
    """All photos."""
    return Selection(columns, columns.alive)


def selection_of(columns: Columns, ids: Ids) -> Selection:
    """Those of these photos that are there."""
    return Selection(columns, mask_of(columns, ids))


def mask_of(columns: Columns, ids: Ids) -> Flags:
    """bool[n]: the rows of these photos."""
    mask = np.zeros(len(columns), np.bool_)
    rows = columns.rows_of(ids)
    mask[rows[rows >= 0]] = True
    return mask


class Selector:
    """Turns filters into selections, and remembers what took time. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[Condition, int, int], npt.NDArray[np.uint8]] = OrderedDict()
        self._matchers: OrderedDict[tuple[str, str, str], _Matcher] = OrderedDict()
        self._groups: tuple[tuple[int, int], dict[str, Flags]] | None = None

    def select(self, columns: Columns, clauses: Sequence[Clause], sources: Sources) -> Selection:
        """The photos that satisfy all clauses. Raises QueryError, which names the key and its place."""
        for clause in clauses:
            _check(clause)
        evaluation = _Evaluation(self, columns, sources)
        mask, steps = columns.alive, []
        for clause in sorted(clauses, key=_cost):
            started = time.perf_counter()
            mask = mask & evaluation.mask(clause) if mask.any() else mask
            took_ms = (time.perf_counter() - started) * 1000
            steps.append(Step(spelled(clause), int(np.count_nonzero(mask)), took_ms))
        return Selection(columns, mask, tuple(steps))

    def matching(self, columns: Columns, kind: str, rule: str, words: str) -> npt.NDArray[np.bool_]:
        """bool[codes]: which strings of a kind satisfy a rule of `_RULES`."""
        with self._lock:
            matcher = self._matchers.pop((kind, rule, words), None) or _Matcher(_RULES[rule](words))
            self._matchers[kind, rule, words] = matcher
            while len(self._matchers) > _REMEMBERED:
                self._matchers.popitem(last=False)
            return matcher.matching(columns, kind)

    def answer(self, columns: Columns, condition: Condition, sources: Sources) -> Flags:
        """bool[n]: the photos that the text index finds."""
        key = (_bare(condition), sources.text_version, columns.layout)
        with self._lock:
            bits = self._answers.pop(key, None)
        if bits is None:
            bits = np.packbits(mask_of(columns, sources.text(condition)))
        with self._lock:
            self._answers[key] = bits
            while len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        mask = np.zeros(len(columns), np.bool_)
        known = np.unpackbits(bits, count=min(len(columns), 8 * len(bits)))
        mask[: len(known)] = known
        return mask

    def grouped(self, columns: Columns, sources: Sources) -> dict[str, Flags]:
        """`stack`, `burst`, `stack_cover`, `burst_cover`, each bool[n]: what photos are in, and head."""
        key = (sources.members_version, columns.layout)
        with self._lock:
            if self._groups is None or self._groups[0] != key:
                self._groups = key, _groups_of(columns, *sources.members())
            known = self._groups[1]
        return {name: _padded(mask, len(columns)) for name, mask in known.items()}


class _Matcher:
    """Which strings satisfy a rule; those that are new are asked when they come."""

    def __init__(self, rule: Callable[[str], bool]) -> None:
        self._rule = rule
        self._layout = 0
        self._known: npt.NDArray[np.bool_] = np.empty(0, np.bool_)

    def matching(self, columns: Columns, kind: str) -> npt.NDArray[np.bool_]:
        terms = columns.terms(kind)
        if self._layout != columns.layout:
            self._layout, self._known = columns.layout, np.zeros(1, np.bool_)
        if len(self._known) < len(terms):
            newer = [self._rule(term) for term in terms[len(self._known) :]]
            self._known = np.append(self._known, np.array(newer, np.bool_))
        return self._known


class _Evaluation:
    """One selecting: the masks of its clauses, with rows that are of no photo left as they come."""

    def __init__(self, selector: Selector, columns: Columns, sources: Sources) -> None:
        self._selector = selector
        self._columns = columns
        self._sources = sources

    def mask(self, clause: Clause) -> Flags:
        found = self._group(clause) if isinstance(clause, Group) else self._condition(clause)
        return ~found if clause.negated else found

    def _group(self, group: Group) -> Flags:
        found = np.full(len(self._columns), not group.any)
        for part in sorted(group.parts, key=_cost):
            if group.any:
                found |= self.mask(part)
            elif found.any():
                found &= self.mask(part)
        return found

    def _condition(self, condition: Condition) -> Flags:
        field, words = condition.field, condition.words or ""
        if field in NUMBER_FIELDS:
            return self._in_range(condition)
        if field in TERM_FIELDS:
            return self._with_term(TERM_FIELDS[field], "words", words)
        if field in TEXT_FIELDS:
            return self._selector.answer(self._columns, condition, self._sources)
        special: dict[str, Callable[[], Flags]] = {
            "type": lambda: (
                self._with_term("format", "type", words) | self._with_term("extension", "type", words)
            ),
            "label": lambda: self._with_term("label", "whole", words),
            "in": lambda: self._with_term("folder", "folder", words),
            "near": lambda: near(self._columns, *condition.numbers),
            "has": lambda: self._has(folded(words)),
            "is": lambda: self._is(folded(words)),
            "person": lambda: self._person(condition),
            "album": lambda: self._album(condition),
        }
        return special[field]()

    def _in_range(self, condition: Condition) -> Flags:
        name, unknown = NUMBER_FIELDS[condition.field]
        columns = self._columns
        values = getattr(columns, name) if name else columns.width.astype(np.float64) * columns.height / 1e6
        found = in_range(values, condition.low, condition.high, unknown)
        if name == "rating":
            found |= _with_copies_rated(columns, condition.low, condition.high)
        return found

    def _with_term(self, kind: str, rule: str, words: str) -> Flags:
        codes: Codes = self._columns.arrays[kind]
        return with_codes(codes, self._selector.matching(self._columns, kind, rule, words))

    def _has(self, word: str) -> Flags:
        found = _any_flag(self._columns, HAS_FLAGS[word])
        return found | self._named() if word == "people" else found

    def _is(self, word: str) -> Flags:
        if word in IS_FLAGS:
            return _any_flag(self._columns, IS_FLAGS[word])
        if word in _IS_COMPARED:
            return _IS_COMPARED[word](self._columns)
        if word == "named":
            return _any_flag(self._columns, ("people",)) | self._named()
        groups = self._selector.grouped(self._columns, self._sources)
        if word in ("stack", "burst"):
            return groups[word]
        if word == "cover":
            return groups["stack_cover"] | groups["burst_cover"]
        return (~groups["stack"] | groups["stack_cover"]) & (~groups["burst"] | groups["burst_cover"])

    def _named(self) -> Flags:
        return self._those(self._sources.person("*"))

    def _person(self, condition: Condition) -> Flags:
        """Whom faces are known as, and whom files name."""
        found = self._selector.answer(self._columns, condition, self._sources)
        return found | self._those(self._sources.person((condition.words or "").strip().strip('"')))

    def _album(self, condition: Condition) -> Flags:
        name = (condition.words or "").strip().strip('"')
        ids = self._sources.album(name)
        if ids is None:
            raise QueryError(
                f"there is no album {name!r} (at position {condition.position + 1}): "
                "`catalogd albums` lists those there are",
                condition.position,
            )
        return self._those(ids)

    def _those(self, ids: Ids | None) -> Flags:
        return np.zeros(len(self._columns), np.bool_) if ids is None else mask_of(self._columns, ids)


# -- numbers ---------------------------------------------------------------------------------------


def in_range(values: npt.NDArray[Any], low: float | None, high: float | None, unknown: int | None) -> Flags:
    """bool[n]: low ≤ value ≤ high, where None is open; never where the value is `unknown` or NaN."""
    if values.dtype.kind in "iu":  # whole ends are compared without turning the numbers into floats
        low = math.ceil(low) if low is not None and math.isfinite(low) else low
        high = math.floor(high) if high is not None and math.isfinite(high) else high
    found: Flags | None = None
    if low is not None:
        found = values >= low
    if high is not None:
        below = values <= high
        found = below if found is None else np.logical_and(found, below, out=found)
    assert found is not None  # `_check` saw to it
    if unknown is not None and (low is None or low <= unknown):
        found &= values != unknown
    return found


def _with_copies_rated(columns: Columns, low: float | None, high: float | None) -> Flags:
    """bool[n]: the photos of which a virtual copy is rated from `low` to `high`."""
    stars = (star for star in range(1, 6) if (low is None or low <= star) and (high is None or star <= high))
    bits = sum(FLAG_BITS[COPY_RATINGS[star - 1]] for star in stars)
    found: Flags = (columns.flags & np.uint64(bits)) != 0
    return found


def near(columns: Columns, latitude: float, longitude: float, radius_km: float) -> Flags:
    """bool[n]: the photos taken within so many km of a position, along the great circle.

    A band of latitudes is looked at first, since most photos are elsewhere; longitudes meet at ±180°.
    """
    band = radius_km / _KM_PER_DEGREE
    found = in_range(columns.latitude, latitude - band, latitude + band, None)
    rows = np.flatnonzero(found)
    angle = min(radius_km / EARTH_RADIUS_KM, math.pi)
    apart = haversines(columns.latitude[rows], columns.longitude[rows], latitude, longitude)
    found[rows] = apart <= math.sin(angle / 2) ** 2
    return found


def haversines(
    latitudes: npt.NDArray[Any], longitudes: npt.NDArray[Any], latitude: float, longitude: float
) -> Numbers:
    """float64[n]: sin² of half the angle between each position and one (Sinnott 1984): it grows with it."""
    north, other = np.radians(latitudes), math.radians(latitude)
    across = np.sin(np.radians(longitudes - longitude) / 2) ** 2 * np.cos(north) * math.cos(other)
    half: Numbers = np.sin((north - other) / 2) ** 2 + across
    return np.minimum(half, 1)


# -- strings ---------------------------------------------------------------------------------------


def with_codes(codes: Codes, wanted: npt.NDArray[np.bool_]) -> Flags:
    """bool[n]: whose code is one of the wanted ones."""
    some = np.flatnonzero(wanted)
    if len(some) > _FEW_CODES:
        return wanted[codes]
    found = np.zeros(len(codes), np.bool_)
    for code in some.tolist():
        found |= codes == code
    return found


def _has_words(words: str) -> Callable[[str], bool]:
    """Whether a string has all words and phrases: also `z6` of `Z 6`, and `85` of `85mm`."""
    patterns = [re.compile(pattern) for item in items_of(words) for pattern in _patterns(item)]

    def rule(text: str) -> bool:
        spellings = _spellings(text)
        return all(pattern.search(spellings) for pattern in patterns)

    return rule if patterns else lambda text: False


def _patterns(item: Item) -> list[str]:
    if item.is_wild:
        return [f" {pattern_of(folded_word(item.text), '[^ ]')} "]
    words = [re.escape(word) for word in plain_words(item.text)]
    if not item.is_phrase:
        return [f" {word} " for word in words]
    split = [part for word in words for part in _PARTS.split(word)]
    return [f" (?:{' '.join(words)}|{' '.join(split)}) "] if words else []


@functools.lru_cache(maxsize=65_536)  # the strings of a large library, some MB
def _spellings(text: str) -> str:
    """The words of a string, each between spaces; then parted at digits; then neighbours as one."""
    words = plain_words(text)
    split = [part for word in words for part in _PARTS.split(word)]
    pairs = [first + second for first, second in itertools.pairwise(split)]
    return "\n".join(f" {' '.join(row)} " for row in (words, split, pairs))


def _is_whole(words: str) -> Callable[[str], bool]:
    """Whether a string is this one, whatever its case; `*` and `?` stand for others."""
    pattern = re.compile(pattern_of(folded(valid(words).replace('"', ""))), re.DOTALL)
    return lambda text: pattern.fullmatch(folded(text)) is not None


def _is_type(words: str) -> Callable[[str], bool]:
    """Whether a format or an extension is one of these."""
    names = [_type(word) for word in valid(words).replace('"', " ").replace(",", " ").split()]
    pattern = re.compile("|".join(pattern_of(name) for name in names[:MOST_QUERY_WORDS]) or "(?!)")
    return lambda text: pattern.fullmatch(_type(text)) is not None


def _type(word: str) -> str:
    word = word.lower().lstrip(".")
    return _SAME_TYPE.get(word, word)


def _is_below(words: str) -> Callable[[str], bool]:
    """Whether a folder is, or is below, one of these names in a row; `/a/b` begins at the root."""
    wanted = folded(valid(words).replace('"', ""))
    names = [pattern_of(name, "[^/]") for name in wanted.split("/") if name]
    pattern = re.compile(
        ("^" if wanted.startswith("/") else "") + "".join(f"/{name}" for name in names) + "/"
    )
    return lambda text: pattern.search(folded(text).rstrip("/") + "/") is not None


_RULES: dict[str, Callable[[str], Callable[[str], bool]]] = {
    "words": _has_words,
    "whole": _is_whole,
    "type": _is_type,
    "folder": _is_below,
}


# -- flags and groups ------------------------------------------------------------------------------


def _any_flag(columns: Columns, names: tuple[str, ...]) -> Flags:
    return functools.reduce(np.logical_or, map(columns.has_flag, names))


def _groups_of(columns: Columns, ids: Ids, members: Rows) -> dict[str, Flags]:
    rows = columns.rows_of(ids)
    there = rows >= 0
    rows, members = rows[there], members[there]
    found = {
        name: np.zeros(len(columns), np.bool_) for name in ("stack", "burst", "stack_cover", "burst_cover")
    }
    found["stack"][rows] = members["stack"] != 0
    found["burst"][rows] = members["burst"] != 0
    found["stack_cover"][rows] = members["covers"] & STACK_COVER != 0
    found["burst_cover"][rows] = members["covers"] & BURST_COVER != 0
    return found


def _padded(mask: Flags, length: int) -> Flags:
    """The mask with False for photos that came since."""
    return mask if len(mask) == length else np.append(mask, np.zeros(length - len(mask), np.bool_))


# -- orders ----------------------------------------------------------------------------------------

ORDERS = {
    "date": "taken",
    "added": "added",
    "size": "size",
    "quality": "sharpness",
    "aesthetics": "aesthetics",
}


def in_order(selection: Selection, order: str, limit: int) -> list[int]:
    """The first `limit` selected photos by one of `ORDERS`; a "-" before it reverses.

    Those of which nothing is known come last either way; of equal ones the smaller photo_id first.
    """
    columns, rows = selection.columns, np.flatnonzero(selection.mask)
    keys = columns.arrays[ORDERS[order.lstrip("-")]][rows].astype(np.float64)
    keys = np.where(np.isnan(keys), np.inf, -keys if order.startswith("-") else keys)
    if limit < len(rows):
        last = np.partition(keys, max(limit - 1, 0))[max(limit - 1, 0)]
        rows, keys = rows[keys <= last], keys[keys <= last]
    ids = columns.ids[rows]
    first: list[int] = ids[np.lexsort((ids, keys))[: max(limit, 0)]].tolist()
    return first


# -- clauses ---------------------------------------------------------------------------------------


def _check(clause: Clause) -> None:
    """Raises QueryError for what can't be evaluated, so that no order of evaluation hides it."""
    if isinstance(clause, Group):
        for part in clause.parts:
            _check(part)
    elif problem := _problem(clause):
        raise QueryError(
            problem.format(key=f"{clause.field}: (at position {clause.position + 1})"), clause.position
        )


def _problem(condition: Condition) -> str | None:
    field, words = condition.field, condition.words
    if field not in FIELDS:
        return "there is no key {key}; there are " + ", ".join(f"{name}:" for name in sorted(FIELDS))
    if field in NUMBER_FIELDS:
        ends = [end for end in (condition.low, condition.high) if end is not None]
        if not ends or any(math.isnan(end) for end in ends):
            return "{key} takes a number or a range of numbers"
    elif field == "near":
        if len(condition.numbers) != 3 or not all(map(math.isfinite, condition.numbers)):
            return "{key} takes a latitude, a longitude and a distance: near:60.39,5.32,10km"
    elif words is None or not words.strip():
        return "{key} takes words"
    elif field == "has" and folded(words) not in HAS_WORDS:
        return "{key} takes one of " + ", ".join(sorted(HAS_WORDS))
    elif field == "is" and folded(words) not in IS_WORDS:
        return "{key} takes one of " + ", ".join(sorted(IS_WORDS))
    return None


def _cost(clause: Clause) -> int:
    """What comes first: comparisons, then strings, then what another store has to be asked."""
    if isinstance(clause, Group):
        return max(map(_cost, clause.parts), default=0)
    if clause.field in NUMBER_FIELDS or clause.field in ("has", "is"):
        return 0
    return 2 if clause.field in TEXT_FIELDS or clause.field in ("person", "album") else 1


def _bare(condition: Condition) -> Condition:
    """What is asked for, wherever it was typed."""
    return Condition(condition.field, words=condition.words)


def spelled(clause: Clause) -> str:
    """A clause for people, as it may be typed."""
    sign = "-" if clause.negated else ""
    if isinstance(clause, Group):
        return f"{sign}({(' OR ' if clause.any else ' ').join(map(spelled, clause.parts))})"
    if clause.words is not None:
        quoted = any(letter.isspace() for letter in clause.words) and '"' not in clause.words
        return f'{sign}{clause.field}:"{clause.words}"' if quoted else f"{sign}{clause.field}:{clause.words}"
    if clause.numbers:
        return f"{sign}{clause.field}:{','.join(f'{number:g}' for number in clause.numbers)}"
    low, high = ("" if end is None else _spelled_end(clause.field, end) for end in (clause.low, clause.high))
    return f"{sign}{clause.field}:{low}" if low == high else f"{sign}{clause.field}:{low}..{high}"


def _spelled_end(field: str, end: float) -> str:
    if field not in ("date", "added"):
        return f"{end:.10g}"
    try:
        moment = datetime.datetime.fromtimestamp(end, datetime.UTC if field == "date" else None)
    except (ValueError, OverflowError, OSError):  # outside the years that there are
        return f"{end:.10g}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}"
