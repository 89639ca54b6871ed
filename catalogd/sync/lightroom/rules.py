"""The rules of smart collections, and what they are in catalogd's query language.

::

    Lua text ─▶ Table ─▶ Rule tree ─▶ query text
              lua_table   read_rules   translate, checked by the language's own parser

A rule has a counterpart when the query finds what Lightroom finds; one without makes the whole collection
untranslated, since leaving it out would find other photos. Names of criteria and operations are those of
`LrCatalog:findPhotos` in Lightroom's SDK.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from catalogd.catalog.words import plain_words
from catalogd.errors import QueryError
from catalogd.query.language import parse
from catalogd.sync.lightroom.labels import COLOUR_NAMES, COLOURS, standard_label
from catalogd.sync.lightroom.lua_table import LuaError, Table, Value, read_table

MOST_ALTERNATIVES = 60  # collections that one rule may name
LONGEST_WILD = 28  # letters of a word with wildcards; the search refuses those above 32
_TYPES = {
    "DNG": "type:dng",
    "RAW": "(type:raw -type:dng)",
    "JPG": "type:jpeg",
    "TIFF": "type:tiff",
    "PNG": "type:png",
    "PSD": "type:psd",
    "PSB": "type:psb",
    "AVIF": "type:avif",
    "JXL": "type:jxl",
}
_UNITS = {"days": "d", "weeks": "w", "months": "mo", "years": "y"}
_SPANS = {
    "today": "today",
    "yesterday": "yesterday",
    "thisWeek": "this-week",
    "thisMonth": "this-month",
    "thisYear": "this-year",
}
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]00:00(?::00)?)?", re.ASCII)
_SPECIAL = re.compile(r"[\s\"“”()|*]")  # what ends a word of the query language, or is no letter in it
_NEEDS_QUOTES = re.compile(r"[^\w.-]|^-|^(?:OR|AND|NOT)$")

_NAMES = ("person", "camera", "lens")  # whose words stand in a row: "Jean-Luc", "70-200mm"
_WHOLE = ("keyword", "name", "in", "label")  # keys whose values are compared as a whole, not by words

# Fields that are looked through by "any searchable text" and "searchable metadata". Of what IPTC and EXIF
# hold catalogd looks through too little.
_TEXTS = {
    "all": (
        "keyword",
        "title",
        "caption",
        "name",
        "in",
        "person",
        "camera",
        "lens",
        "place",
        "creator",
        "label",
    ),
    "metadata": ("keyword", "title", "caption", "person", "camera", "lens", "place", "creator", "label"),
}


class Rule(NamedTuple):
    """One criterion."""

    criterion: str
    operation: str
    value: Value
    value2: Value = None
    units: str = ""

    def __str__(self) -> str:
        """As a person may know it again."""
        value = "" if isinstance(self.value, Table) or self.value is None else f" {_shown(self.value)}"
        return f"{self.criterion} {self.operation}{value}"


class Rules(NamedTuple):
    """Several, of which all ("intersect"), any ("union") or none ("exclude") hold."""

    combine: str
    parts: tuple[Rule | Rules, ...]


class Translation(NamedTuple):
    """What became of the rules of a smart collection."""

    query: str | None  # None: they have no counterpart
    untranslated: tuple[str, ...] = ()  # the rules that have none, or why they can't be read


class UntranslatedError(Exception):
    """A rule has no counterpart."""


Found = TypeVar("Found")
Names = Callable[[str], Sequence[str]]  # words in a collection's name → the albums that have them


def translate(text: str, albums_with: Names) -> Translation:
    """The query of a smart collection, from its rules as they are stored. Never raises."""
    try:
        rules = read_rules(text)
    except LuaError as error:
        return Translation(None, (f"rules that can't be read: {error}",))
    missing: list[str] = []
    query = _translated(rules, albums_with, missing)
    if missing or not query:
        return Translation(None, tuple(dict.fromkeys(missing)) or ("no rules",))
    query = _without_parentheses(query)
    try:
        parse(query)
    except QueryError as error:
        return Translation(None, (f"{query[:200]}: {error}",))
    return Translation(query)


def read_rules(text: str) -> Rules:
    """The tree of rules. Raises LuaError."""
    rules = _rules(read_table(text))
    return rules if isinstance(rules, Rules) else Rules("intersect", (rules,))


def _rules(table: Table) -> Rule | Rules:
    criterion = table.fields.get("criteria")
    if isinstance(criterion, Table):  # the rules stand in a table of their own, beside how they are combined
        inner = _rules(criterion)
        parts = inner.parts if isinstance(inner, Rules) else (inner,)
        return Rules(str(table.fields.get("combine", "intersect")), parts)
    if criterion is None:
        parts = tuple(_rules(item) for item in table.items if isinstance(item, Table))
        return Rules(str(table.fields.get("combine", "intersect")), parts)
    fields = table.fields
    return Rule(
        str(criterion),
        str(fields.get("operation", "")),
        fields.get("value"),
        fields.get("value2", fields.get("_value2")),
        str(fields.get("value_units", fields.get("valueUnits", ""))),
    )


# -- trees -----------------------------------------------------------------------------------------


def _translated(rules: Rule | Rules, albums_with: Names, missing: list[str]) -> str:
    """The query of a part; what can't be said in it is added to `missing`."""
    if isinstance(rules, Rule):
        try:
            return _rule(rules, albums_with)
        except (UntranslatedError, ValueError, OverflowError):
            missing.append(str(rules))
            return ""
    parts = [_translated(part, albums_with, missing) for part in rules.parts]
    parts = [part for part in parts if part]
    match rules.combine:
        case "intersect":
            return _all(parts)
        case "union":
            return _any(parts)
        case "exclude":
            return _not(_any(parts)) if parts else ""
    missing.append(f"combined by {rules.combine[:40]}")
    return ""


def _all(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({' '.join(parts)})" if parts else ""


def _any(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})" if parts else ""


def _not(part: str) -> str:
    return part[1:] if part.startswith("-") else f"-{part}"


def _without_parentheses(query: str) -> str:
    """Without those around the whole of it."""
    depth = 0
    for found in re.finditer(r'"[^"]*"|[()]', query):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0 and found[0] == ")":
            is_whole = query.startswith("(") and found.end() == len(query)
            return query[1:-1] if is_whole else query
    return query


# -- rules -----------------------------------------------------------------------------------------


def _rule(rule: Rule, albums_with: Names) -> str:
    """Raises UntranslatedError."""
    special: dict[str, Callable[[], str]] = {
        "rating": lambda: _rating(rule),
        "pick": lambda: _pick(rule),
        "labelColor": lambda: _label_colour(rule),
        "labelText": lambda: _label_text(rule),
        "keywords": lambda: _keywords(rule),
        "title": lambda: _text(rule, ("title",), "title"),
        "caption": lambda: _text(rule, ("caption",), "caption"),
        "filename": lambda: _file_name(rule),
        "folder": lambda: _text(rule, ("in",), None, has_words=False),
        "collection": lambda: _collection(rule, albums_with),
        "fileFormat": lambda: _equal(rule, _looked_up(_TYPES, rule.value)),
        "captureTime": lambda: _date(rule),
        "isoSpeedRating": lambda: _number(rule, "iso"),
        "focalLength": lambda: _number(rule, "focal"),
        "hasGPSData": lambda: _truth(rule, "has:gps"),
        "flashFired": lambda: _only_true(rule, "is:flash"),
        "hasAdjustments": lambda: _truth(rule, "is:developed"),
        "aspectRatio": lambda: _equal(
            rule, _looked_up({name: f"is:{name}" for name in ("portrait", "landscape", "square")}, rule.value)
        ),
        "camera": lambda: _text(rule, ("camera",), "camera"),
        "lens": lambda: _text(rule, ("lens",), "lens"),
        "creator": lambda: _text(rule, ("creator",), "creator"),
        "all": lambda: _any_text(rule, _TEXTS["all"]),
        "metadata": lambda: _any_text(rule, _TEXTS["metadata"]),
    }
    if rule.criterion not in special:
        raise UntranslatedError
    return special[rule.criterion]()


def _rating(rule: Rule) -> str:
    """In Lightroom, no stars are 0 stars."""
    stars = _as_number(rule.value)
    match rule.operation:
        case "==":
            return "-rating:>=1" if stars <= 0 else f"rating:{stars:g}"
        case "!=":
            return "rating:>=1" if stars <= 0 else f"-rating:{stars:g}"
        case ">=" if stars >= 1:
            return f"rating:>={stars:g}"
        case ">" if stars >= 0:
            return f"rating:>={stars + 1:g}" if stars < 5 else _never()
        case "<=" if stars < 5:
            return f"-rating:>={stars + 1:g}"
        case "<" if stars >= 1:
            return f"-rating:>={stars:g}"
        case "in":
            low, high = sorted((stars, _as_number(rule.value2)))
            if low <= 0:  # as far as 5 that is every photo
                return f"-rating:>={high + 1:g}" if high < 5 else _never()
            return f"rating:{low:g}..{high:g}"
    raise UntranslatedError


def _never() -> str:
    """Raises UntranslatedError."""
    raise UntranslatedError


def _pick(rule: Rule) -> str:
    flags = {1: "is:picked", 0: "(-is:picked -is:rejected)", -1: "is:rejected"}
    return _equal(rule, _looked_up(flags, _as_number(rule.value)))


def _label_colour(rule: Rule) -> str:
    every = [f"label:{_quoted(name)}" for names in COLOUR_NAMES.values() for name in names]
    value = rule.value
    if isinstance(value, float) and value in (1, 2, 3, 4, 5):
        value = COLOURS[int(value) - 1]
    if value == "none":
        return _equal(rule, "-has:label")
    if value == "custom":
        return _equal(rule, f"(has:label -{_any(every)})")
    names = _looked_up(COLOUR_NAMES, value)
    return _equal(rule, _any([f"label:{_quoted(name)}" for name in names]))


def _label_text(rule: Rule) -> str:
    """Names of colours were taken in by their English ones."""
    if rule.operation == "words":
        raise UntranslatedError
    value = standard_label(rule.value) if isinstance(rule.value, str) else rule.value
    return _whole_text(rule._replace(value=value), "label", "label")


def _keywords(rule: Rule) -> str:
    """In Lightroom people are keywords; here they are people."""
    match rule.operation:
        case "empty":
            return "(-has:keywords -has:people)"
        case "notEmpty":
            return "(has:keywords OR has:people)"
        case "any" | "all" | "noneOf":
            return _text(rule, ("keyword", "person"), None)
        case "words":
            return _all([_keyword_with(word) for word in _words(rule)])
        case "beginsWith" | "endsWith":
            return _any([_whole_text(rule, "keyword", None), _name_part(rule)])
    raise UntranslatedError


def _name_part(rule: Rule) -> str:
    """People whose name begins or ends so: by its words."""
    words = _words(rule)
    cut = -1 if rule.operation == "beginsWith" else 0
    words[cut] = f"{_plain(words[cut])}*" if cut else f"*{_plain(words[cut])}"
    return _all([f"person:{_quoted(word)}" for word in words])


def _keyword_with(word: str) -> str:
    forms = [f'keyword:"{form}"' for form in _word_forms(word)]
    return _any([*forms, f"person:{_quoted(word)}"])


def _word_forms(word: str) -> tuple[str, ...]:
    """A keyword that has a word, alone or among others."""
    plain = _plain(word)
    return plain, f"{plain} *", f"* {plain}", f"* {plain} *"


def _file_name(rule: Rule) -> str:
    return _whole_text(rule, "name", None) if rule.operation not in ("==", "!=", "words") else _never()


def _any_text(rule: Rule, fields: Sequence[str]) -> str:
    """Lightroom has texts that catalogd does not look through: without a word in ours is not without it."""
    return _text(rule, fields, None) if rule.operation in ("any", "all") else _never()


def _text(rule: Rule, fields: Sequence[str], has: str | None, has_words: bool = True) -> str:
    """Words in texts: each is in one of the fields; as a part of a word, or ("words") as a whole one."""
    if rule.operation in ("empty", "notEmpty") and has is not None:
        return f"has:{has}" if rule.operation == "notEmpty" else f"-has:{has}"
    wild = [_any([_by_person(field, _part_of(field, word)) for field in fields]) for word in _words(rule)]
    match rule.operation:
        case "any":
            return _any(wild)
        case "all":
            return _all(wild)
        case "noneOf":
            return _not(_any(wild))
        case "words" if has_words:
            whole = [
                _any([_by_person(field, f"{field}:{_quoted(word)}") for field in fields])
                for word in _words(rule)
            ]
            return _all(whole)
    raise UntranslatedError


def _by_person(field: str, clause: str) -> str:
    """The clause of what a person wrote: where nobody did, `caption:` finds a model's, which is not there."""
    return f"({clause} has:caption)" if field == "caption" else clause


def _whole_text(rule: Rule, field: str, has: str | None) -> str:
    """Values that are compared as a whole, where a beginning and an end can be told."""
    value = rule.value if isinstance(rule.value, str) else ""
    match rule.operation:
        case "==" | "!=" if value.strip():
            return _equal(rule, f"{field}:{_quoted(value.strip())}")
        case "beginsWith" | "endsWith" if field in ("keyword", "name", "label") and value.strip():
            plain = re.sub(r"[\"“”*]", "?", value.strip())
            if len(plain) > LONGEST_WILD:
                raise UntranslatedError
            return f'{field}:"{plain}*"' if rule.operation == "beginsWith" else f'{field}:"*{plain}"'
    return _text(rule, (field,), has)


def _collection(rule: Rule, albums_with: Names) -> str:
    """The collections that have such a name now."""
    found = {word: list(albums_with(word)) for word in _words(rule)}
    if any(not 0 < len(names) <= MOST_ALTERNATIVES for names in found.values()):
        raise UntranslatedError
    parts = [_any([f"album:{_quoted(name)}" for name in names]) for names in found.values()]
    match rule.operation:
        case "any":
            return _any(parts)
        case "all":
            return _all(parts)
        case "noneOf":
            return _not(_any(parts))
    raise UntranslatedError


def _number(rule: Rule, field: str) -> str:
    low = f"{_as_number(rule.value):g}"
    match rule.operation:
        case "==" | "!=":
            return _equal(rule, f"{field}:{low}")
        case ">" | ">=" | "<" | "<=":
            return f"{field}:{rule.operation}{low}"
        case "in":
            ends = sorted((_as_number(rule.value), _as_number(rule.value2)))
            return f"{field}:{ends[0]:g}..{ends[1]:g}"
    raise UntranslatedError


def _date(rule: Rule) -> str:
    if rule.operation in _SPANS:
        return f"date:{_SPANS[rule.operation]}"
    match rule.operation:
        case "inLast" | "notInLast":
            span = f"date:{round(_as_number(rule.value))}{_looked_up(_UNITS, rule.units)}"
            return span if rule.operation == "inLast" else _not(span)
        case "==" | "!=":
            return _equal(rule, f"date:{_day(rule.value)}")
        case ">" | "<" | ">=" | "<=":
            return f"date:{rule.operation}{_day(rule.value)}"
        case "in":
            first, last = sorted((_day(rule.value), _day(rule.value2)))
            return f"date:{first}..{last}"
    raise UntranslatedError


def _day(value: Value) -> str:
    """A day; the 31st of a shorter month is its last, as Lightroom has it."""
    found = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise UntranslatedError
    year, month, day = (int(part) for part in found.groups())
    if not (year >= 1 and 1 <= month <= 12 and 1 <= day <= 31):
        raise UntranslatedError
    return f"{year:04d}-{month:02d}-{min(day, calendar.monthrange(year, month)[1]):02d}"


def _truth(rule: Rule, query: str) -> str:
    is_true = {"isTrue": True, "isFalse": False}.get(rule.operation)
    if is_true is None and rule.operation in ("==", "!=") and isinstance(rule.value, bool):
        is_true = rule.value == (rule.operation == "==")
    if is_true is None:
        raise UntranslatedError
    return query if is_true else _not(query)


def _only_true(rule: Rule, query: str) -> str:
    """Of what is not known of every photo, whose opposite is not all the others."""
    found = _truth(rule, query)
    return found if found == query else _never()


def _equal(rule: Rule, query: str) -> str:
    if rule.operation not in ("==", "!="):
        raise UntranslatedError
    return query if rule.operation == "==" else _not(query)


# -- values ----------------------------------------------------------------------------------------


def _looked_up(table: Mapping[Any, Found], value: object) -> Found:
    try:
        return table[value]
    except (KeyError, TypeError):
        raise UntranslatedError from None


def _as_number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, float | str):
        raise UntranslatedError
    number = float(value)
    if not abs(number) < 1e9:
        raise UntranslatedError
    return number


def _words(rule: Rule) -> list[str]:
    """Words of a value; Lightroom parts them at blanks and commas."""
    if not isinstance(rule.value, str):
        raise UntranslatedError
    found = [word for word in re.split(r"[\s,;]+", rule.value) if word.strip("*?\"'“”")]
    if not found:
        raise UntranslatedError
    return found


def _part_of(field: str, word: str) -> str:
    """A word with anything before and behind it; of what is kept as several words, these in a row."""
    if field in _WHOLE:
        return f"{field}:*{_plain(word)}*"
    parts = plain_words(word)
    if len(parts) == 1 and word.isalnum():
        return f"{field}:*{_plain(word)}*"
    is_row = word.isalnum() and all(len(part) == 1 for part in parts)  # Chinese, Japanese, Thai
    if parts and (is_row or field in _NAMES):
        return f'{field}:"{_plain(word)}"'
    raise UntranslatedError


def _plain(word: str) -> str:
    """What the language would cut at, or take for a wildcard, may be any one character."""
    if len(word) > LONGEST_WILD:
        raise UntranslatedError
    return _SPECIAL.sub("?", word)


def _quoted(value: str) -> str:
    plain = value.replace('"', '""')
    return f'"{plain}"' if _NEEDS_QUOTES.search(value) else value


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) and not isinstance(value, bool) else str(value)[:60]
