"""Dates as people write them: `2023-06`, `june 2023`, `last summer`, `yesterday`, `7d`, `3 months ago`.

Each stands for all of a stretch of days on the calendar. A week begins on Monday. The seasons are those of
the north, by whole months: summer is June to August, and a winter belongs to the year in which it begins.
What can be read in two ways (06/07/2023) is refused.

    an instant   2023-06-18T14:30[:05]                         that minute, that second
    a day        2023-06-18  18.6.2023  18 june 2023  june 18  today  yesterday  monday
    a stretch    2023  2023-06  june 2023  june  1990s  summer 2023  winter 2023/24
    relative     last|this week|month|year|weekend|summer|june|monday, 3 months ago: that month
    up to today  7d  2w  3mo  1y  last 7 days: from so long ago on
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

TAKES = "2023, 2023-06, 2023-06-18, june 2023, last summer, yesterday, 7d or a range of them"

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}  # first month, in the north
_SEASON_MONTHS = 3
_UNITS = {"d": "day", "w": "week", "mo": "month", "y": "year"}
_MOST_UNITS = 4  # digits: of a number of days, weeks …

_NUMERIC = re.compile(r"(\d{4})(?:[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?")
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)t(\d\d):(\d\d)(?::(\d\d))?")
_WINTER = re.compile(r"winter (\d{4})/(\d{2}|\d{4})")
_DECADE = re.compile(r"(\d{3}0)s")
_AGO = re.compile(rf"(\d{{1,{_MOST_UNITS}}}) ?(day|week|month|year)s? ago")
_ROLLING = re.compile(
    rf"(?:(?:the )?(?:last|past) )?(\d{{1,{_MOST_UNITS}}}) ?(d|w|mo|y|day|week|month|year)s?"
)
_RELATIVE = re.compile(r"(last|this) (\w+)")
_SPACE = re.compile(r"[\s_,]+|(?<=[a-z])-|-(?=[a-z])")  # "last-summer", "june 18, 2023"
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b")

_DAY = datetime.timedelta(days=1)
_FIRST_YEAR = 1


class Span(NamedTuple):
    """A stretch of time on a calendar without a zone."""

    start: datetime.datetime
    end: datetime.datetime  # not included
    until_today: bool = False  # "7d": as an end of a range its start is meant


def read(text: str, today: datetime.date) -> Span:
    """What a date covers. Raises ValueError, whose text says what is wrong where it looks like a date."""
    wanted = _ORDINAL.sub("", _SPACE.sub(" ", text.casefold())).strip()
    for reader in (_numeric, _instant, _rolling, _ago, _season, _named, _relative, _decade):
        try:
            found = reader(wanted, today)
        except OverflowError as error:
            raise ValueError("the calendar ends there") from error
        if found is not None:
            return found
    raise ValueError("")


def read_range(start: str, end: str, today: datetime.date) -> tuple[Span | None, Span | None]:
    """Both ends of a range; an open one is None. `june..august 2023` is June of that year. As `read`."""
    last = read(end, today) if end else None
    year = re.search(r"\s\d{4}$", end.strip())
    if start and year and not re.search(r"\d{4}", start):
        start += year[0]
    first = read(start, today) if start else None
    return first, last._replace(end=last.start + _DAY) if last and last.until_today else last


# -- what is written -------------------------------------------------------------------------------


def _numeric(text: str, today: datetime.date) -> Span | None:
    if match := _NUMERIC.fullmatch(text):
        year, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None
        return _calendar(year, month, day)
    if match := _DAY_FIRST.fullmatch(text):
        return _calendar(int(match[3]), int(match[2]), int(match[1]))
    return None


def _instant(text: str, today: datetime.date) -> Span | None:
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    day = datetime.date.fromisoformat(match[1])
    start = datetime.datetime.combine(day, datetime.time(int(match[2]), int(match[3]), int(match[4] or 0)))
    return Span(start, start + datetime.timedelta(seconds=1 if match[4] else 60))


def _rolling(text: str, today: datetime.date) -> Span | None:
    match = _ROLLING.fullmatch(text)
    if match is None:
        return None
    start = _back(today, int(match[1]), _UNITS.get(match[2], match[2]))
    return Span(_midnight(start), _midnight(today) + _DAY, until_today=True)


def _ago(text: str, today: datetime.date) -> Span | None:
    match = _AGO.fullmatch(text)
    return _around(_back(today, int(match[1]), match[2]), match[2]) if match else None


def _season(text: str, today: datetime.date) -> Span | None:
    if match := _WINTER.fullmatch(text):
        if (int(match[1]) + 1 - int(match[2])) % 100:
            raise ValueError("a winter ends in the year after")
        return _months(int(match[1]), _SEASONS["winter"], _SEASON_MONTHS)
    name, _, year = text.partition(" ")
    if name not in _SEASONS or (year and not re.fullmatch(r"\d{4}", year)):
        return None
    if year:
        return _months(int(year), _SEASONS[name], _SEASON_MONTHS)
    return _newest(today, lambda year: _months(year, _SEASONS[name], _SEASON_MONTHS))


def _named(text: str, today: datetime.date) -> Span | None:
    """A month or a day by name: `june`, `june 2023`, `18 june 2023`, `june 18 2023`, `monday`, `today`."""
    if text in ("today", "yesterday"):
        return _around(today if text == "today" else today - _DAY, "day")
    if text in _WEEKDAYS:
        return _around(today - _DAY * ((today.weekday() - _WEEKDAYS.index(text)) % 7), "day")
    words = text.split(" ")
    months = [word for word in words if _month(word)]
    numbers = [word for word in words if word.isdecimal()]
    if len(months) != 1 or len(numbers) != len(words) - 1 or len(numbers) > 2:
        return None
    month = _month(months[0])
    years = [int(number) for number in numbers if len(number) == 4]
    days = [int(number) for number in numbers if len(number) <= 2]
    if len(years) > 1 or len(days) > 1 or len(years) + len(days) != len(numbers):
        return None
    if years and words[-1] != str(years[0]):
        return None
    day = days[0] if days else None
    if years:
        return _calendar(years[0], month, day)
    return _newest(today, lambda year: _calendar(year, month, day))


def _relative(text: str, today: datetime.date) -> Span | None:
    match = _RELATIVE.fullmatch(text)
    if match is None:
        return None
    last, what = match[1] == "last", match[2]
    if what in ("week", "month", "year"):
        return _around(_back(today, int(last), what), what)
    if what == "weekend":
        saturday = today - _DAY * today.weekday() + _DAY * (5 - 7 * last)
        return Span(_midnight(saturday), _midnight(saturday) + 2 * _DAY)
    if what in _WEEKDAYS:
        return _weekday(_WEEKDAYS.index(what), today, last)
    first, count = _month(what) or _SEASONS.get(what, 0), 1 if _month(what) else _SEASON_MONTHS
    if not first:
        return None
    if last:
        return _newest(today, lambda year: _months(year, first, count), ended=True)
    begun = _months(today.year - 1, first, count)  # the winter of January
    return begun if begun.end > _midnight(today) else _months(today.year, first, count)


def _weekday(weekday: int, today: datetime.date, last: bool) -> Span:
    """`last monday` is the newest before today, `this monday` that of this week."""
    if last:
        return _around(today - _DAY * ((today.weekday() - weekday - 1) % 7 + 1), "day")
    return _around(today + _DAY * (weekday - today.weekday()), "day")


def _decade(text: str, today: datetime.date) -> Span | None:
    match = _DECADE.fullmatch(text)
    return _months(int(match[1]), 1, 120) if match else None


# -- the calendar ----------------------------------------------------------------------------------


def _calendar(year: int, month: int | None, day: int | None) -> Span:
    if month is None:
        return _months(year, 1, 12)
    if day is None:
        return _months(year, month, 1)
    return _around(datetime.date(year, month, day), "day")


def _months(year: int, month: int, count: int) -> Span:
    months = year * 12 + month - 1 + count
    start, after = datetime.datetime(year, month, 1), (months // 12, months % 12 + 1)
    if after[0] > datetime.MAXYEAR:
        raise OverflowError
    return Span(start, datetime.datetime(*after, 1))


def _around(day: datetime.date, unit: str) -> Span:
    """The day, or the week, month or year that it is in."""
    if unit in ("month", "year"):
        return _calendar(day.year, day.month if unit == "month" else None, None)
    start = day - _DAY * day.weekday() if unit == "week" else day
    return Span(_midnight(start), _midnight(start) + _DAY * (7 if unit == "week" else 1))


def _back(day: datetime.date, count: int, unit: str) -> datetime.date:
    """So many days, weeks, months or years earlier; the last of a month where that has no such day."""
    if unit in ("day", "week"):
        return day - _DAY * (count * (7 if unit == "week" else 1))
    year, month = divmod(day.year * 12 + day.month - 1 - count * (12 if unit == "year" else 1), 12)
    if year < _FIRST_YEAR:
        raise OverflowError
    return datetime.date(year, month + 1, min(day.day, _days_of(year, month + 1)))


def _days_of(year: int, month: int) -> int:
    span = _months(year, month, 1)
    return (span.end - span.start).days


def _newest(today: datetime.date, of_year: Callable[[int], Span], ended: bool = False) -> Span:
    """The newest of those of each year that has begun, or has `ended`."""
    for span in _downwards(today.year, of_year):
        if (span.end if ended else span.start) <= _midnight(today):
            return span
    raise OverflowError


def _downwards(year: int, of_year: Callable[[int], Span]) -> Iterator[Span]:
    """29 February is in one year of four, at times of eight."""
    wrong = ValueError("")
    for candidate in itertools.takewhile(
        lambda candidate: candidate >= _FIRST_YEAR, range(year, year - 9, -1)
    ):
        try:
            yield of_year(candidate)
        except ValueError as error:
            wrong = error
    raise wrong


def _month(word: str) -> int:
    """1 to 12 for a month's name or its first three letters or more; 0 for another word."""
    if len(word) < 3:
        return 0
    found = [number for number, name in enumerate(_MONTHS, 1) if name.startswith(word)]
    return found[0] if len(found) == 1 else 0


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime(day.year, day.month, day.day)
