"""Query text → `Plan`: free words and `key:value` conditions.

::

    query     = { word | "quoted words" | key ":" value }
    value     = word | "quoted words" | number | low ".." high | (">" | ">=" | "<" | "<=") number | date
    key       = camera | lens | type | text | place | person | keyword | label     words
              | iso | faces | rating | date                     numbers        a "-" before a key negates
    date      = YYYY | YYYY-MM | YYYY-MM-DD                     stands for all of that year, month, day

A keyword and a label are meant as a whole, whatever their case: `keyword:dog` is not "hot dog". A keyword
may be a level of a hierarchy, alone or with those above it: `keyword:animals|dog`. The other words are found
one by one. A word with a colon whose key is none of these is an error that names its place, never silently a
word.
"""

from __future__ import annotations

import datetime
import re

from catalogd.errors import QueryError
from catalogd.records import Branch, Condition, Plan

_TEXT_KEYS = ("camera", "lens", "type", "text", "place", "person", "keyword", "label")
_NUMBER_KEYS = ("iso", "faces", "rating")
KEYS = (*_TEXT_KEYS, *_NUMBER_KEYS, "date")

_TOKEN = re.compile(
    r'(?P<negated>-(?=\w+:))?(?:(?P<key>[^\W\d]\w*):)?(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s"]+))'
)
_COMPARISON = re.compile(r"(?P<operator>>=|<=|>|<)(?P<value>.+)")
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?$")


def parse(text: str, limit: int = 20, min_score: float | None = None) -> Plan:
    """Read a query. Raises QueryError with the position of what it can't read."""
    words: list[str] = []
    conditions: list[Condition] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unclosed(position)
        key, value = match["key"], match["plain"] if match["quoted"] is None else match["quoted"]
        if text[match.end() : match.end() + 1] == '"' and '"' not in text[match.end() + 1 :]:
            raise _unclosed(match.end())
        if key is None and value.lower().lstrip("-").rstrip(":") in KEYS and value.endswith(":"):
            raise QueryError(f"{value} (at position {position + 1}) needs a value", position)
        if key is None:
            words.append(value)
        else:
            conditions.append(_condition(key.lower(), value, match["negated"] is not None, match.start()))
        position = match.end()
    return Plan((Branch(" ".join(words), tuple(conditions)),), text, limit=limit, min_score=min_score)


def _unclosed(position: int) -> QueryError:
    return QueryError(f"the quote at position {position + 1} is never closed", position)


def _condition(key: str, value: str, negated: bool, position: int) -> Condition:
    if key not in KEYS:
        known = ", ".join(f"{name}:" for name in KEYS)
        raise QueryError(f"there is no key {key}: (at position {position + 1}); there are {known}", position)
    if not value.strip():
        raise QueryError(f"{key}: (at position {position + 1}) needs a value", position)
    if key in _TEXT_KEYS:
        return Condition(key, words=value, negated=negated)
    low, high = _range(key, value, position)
    if low is not None and high is not None and low > high:
        raise QueryError(f"{key}:{value} (at position {position + 1}) is an empty range", position)
    return Condition(key, low=low, high=high, negated=negated)


def _range(key: str, value: str, position: int) -> tuple[float | None, float | None]:
    """Both ends, included; None is open."""
    comparison = _COMPARISON.fullmatch(value)
    if comparison:
        low, high = _span(key, comparison["value"], position)
        match comparison["operator"]:
            case ">=":
                return low, None
            case ">":
                return high + 1, None
            case "<=":
                return None, high
            case _:
                return None, low - 1
    if ".." in value:
        start, _, end = value.partition("..")
        if not start and not end:
            raise QueryError(f"{key}:{value} (at position {position + 1}) has no ends", position)
        low_end = _span(key, start, position)[0] if start else None
        return low_end, _span(key, end, position)[1] if end else None
    return _span(key, value, position)


def _span(key: str, value: str, position: int) -> tuple[float, float]:
    """What one value covers: a number itself, a date all its seconds."""
    if key == "date":
        return _date_span(value, position)
    if not value.isdecimal():
        raise QueryError(
            f"{key}: (at position {position + 1}) takes a number, a range 100..400 or >=100", position
        )
    return float(value), float(value)


def _date_span(value: str, position: int) -> tuple[float, float]:
    match = _DATE.match(value)
    if match is None:
        raise QueryError(
            f"date: (at position {position + 1}) takes 2023, 2023-06, 2023-06-18 or a range", position
        )
    year, month, day = (int(part) if part else None for part in match.groups())
    assert year is not None
    try:
        start = datetime.datetime(year, month or 1, day or 1)
        if day:
            end = start + datetime.timedelta(days=1)
        elif month:
            end = datetime.datetime(year + month // 12, month % 12 + 1, 1)
        else:
            end = datetime.datetime(year + 1, 1, 1)
    except (ValueError, OverflowError) as error:
        raise QueryError(f"date:{value} (at position {position + 1}): {error}", position) from None
    # Camera time has no zone: it is counted as if it were UTC, here as in the text index.
    utc = datetime.UTC
    return start.replace(tzinfo=utc).timestamp(), end.replace(tzinfo=utc).timestamp() - 1
