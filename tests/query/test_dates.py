"""Dates as people write them, on a Saturday in November."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.query.dates import read, read_range

TODAY = datetime.date(2026, 11, 21)


def days(text: str, today: datetime.date = TODAY) -> str:
    """First and last day."""
    span = read(text, today)
    last = span.end - datetime.timedelta(days=1)
    return f"{span.start:%Y-%m-%d} {last:%Y-%m-%d}"


def whole(*month: int) -> str:
    return days("-".join(f"{part:02}" for part in month))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2023", "2023-01-01 2023-12-31"),
        ("2024-02", "2024-02-01 2024-02-29"),
        ("2024-02-29", "2024-02-29 2024-02-29"),
        ("2024/2/9", "2024-02-09 2024-02-09"),
        ("18.6.2023", "2023-06-18 2023-06-18"),
        ("june 2023", "2023-06-01 2023-06-30"),
        ("Jun 2023", "2023-06-01 2023-06-30"),
        ("18 june 2023", "2023-06-18 2023-06-18"),
        ("june 18th, 2023", "2023-06-18 2023-06-18"),
        ("18-june-2023", "2023-06-18 2023-06-18"),
        ("june", "2026-06-01 2026-06-30"),
        ("november", "2026-11-01 2026-11-30"),
        ("december", "2025-12-01 2025-12-31"),
        ("24 december", "2025-12-24 2025-12-24"),
        ("29 february", "2024-02-29 2024-02-29"),
        ("last june", "2026-06-01 2026-06-30"),
        ("last november", "2025-11-01 2025-11-30"),
        ("summer 2023", "2023-06-01 2023-08-31"),
        ("fall 2023", "2023-09-01 2023-11-30"),
        ("winter 2023", "2023-12-01 2024-02-29"),
        ("winter 2023/24", "2023-12-01 2024-02-29"),
        ("last summer", "2026-06-01 2026-08-31"),
        ("last-summer", "2026-06-01 2026-08-31"),
        ("last autumn", "2025-09-01 2025-11-30"),
        ("last winter", "2025-12-01 2026-02-28"),
        ("this autumn", "2026-09-01 2026-11-30"),
        ("1990s", "1990-01-01 1999-12-31"),
        ("today", "2026-11-21 2026-11-21"),
        ("Yesterday", "2026-11-20 2026-11-20"),
        ("this week", "2026-11-16 2026-11-22"),
        ("last week", "2026-11-09 2026-11-15"),
        ("last month", "2026-10-01 2026-10-31"),
        ("this year", "2026-01-01 2026-12-31"),
        ("last year", "2025-01-01 2025-12-31"),
        ("last weekend", "2026-11-14 2026-11-15"),
        ("this weekend", "2026-11-21 2026-11-22"),
        ("monday", "2026-11-16 2026-11-16"),
        ("saturday", "2026-11-21 2026-11-21"),
        ("last saturday", "2026-11-14 2026-11-14"),
        ("7d", "2026-11-14 2026-11-21"),
        ("2w", "2026-11-07 2026-11-21"),
        ("3mo", "2026-08-21 2026-11-21"),
        ("1 year", "2025-11-21 2026-11-21"),
        ("last 7 days", "2026-11-14 2026-11-21"),
        ("the past 3 months", "2026-08-21 2026-11-21"),
        ("7 days ago", "2026-11-14 2026-11-14"),
        ("2 weeks ago", "2026-11-02 2026-11-08"),
        ("3 months ago", "2026-08-01 2026-08-31"),
        ("2 years ago", "2024-01-01 2024-12-31"),
    ],
)
def test_a_date_covers_all_of_its_days(text: str, found: str) -> None:
    assert days(text) == found


@pytest.mark.parametrize(
    ("today", "text", "found"),
    [
        ((2026, 7, 10), "last summer", "2025-06-01 2025-08-31"),
        ((2026, 9, 1), "last summer", "2026-06-01 2026-08-31"),
        ((2026, 1, 15), "this winter", "2025-12-01 2026-02-28"),
        ((2026, 1, 15), "winter", "2025-12-01 2026-02-28"),
        ((2026, 12, 1), "this winter", "2026-12-01 2027-02-28"),
        ((2026, 3, 31), "1mo", "2026-02-28 2026-03-31"),
        ((2026, 1, 15), "last month", "2025-12-01 2025-12-31"),
        ((2026, 11, 23), "last weekend", "2026-11-21 2026-11-22"),
        ((2026, 11, 22), "this week", "2026-11-16 2026-11-22"),
    ],
)
def test_what_is_relative_is_counted_from_today(today: tuple[int, int, int], text: str, found: str) -> None:
    assert days(text, datetime.date(*today)) == found


def test_a_minute_and_a_second_are_spans_too() -> None:
    assert (read("2023-06-18T14:30", TODAY).end - read("2023-06-18T14:30", TODAY).start).seconds == 60
    assert read("2023-06-18T14:30:05", TODAY).start == datetime.datetime(2023, 6, 18, 14, 30, 5)


@pytest.mark.parametrize(
    "text",
    [
        *("", "juno", "7", "last", "last dog", "ma 2023", "2023 june 1", "june 18 18", "06/07/2023"),
        *("2023-13", "2023-02-30", "31 june", "winter 2023/25", "0000"),
        *("9999y", "9999-12", "9999-12-31", "winter 9999"),
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is what is wrong with the date, or empty
        read(text, TODAY)


def test_a_range_takes_the_year_of_its_end_and_the_start_of_so_many_days() -> None:
    first, last = read_range("june", "august 2023", TODAY)
    assert first is not None
    assert last is not None
    assert (first.start.year, last.end) == (2023, datetime.datetime(2023, 9, 1))
    first, last = read_range("30d", "7d", TODAY)
    assert first is not None
    assert last is not None
    assert first.start == datetime.datetime(2026, 10, 22)
    assert last.end == datetime.datetime(2026, 11, 15)
    assert read_range("", "2023", TODAY)[0] is None


WORDS = [
    *("last", "this", "june", "feb", "summer", "winter", "monday", "weekend", "weeks", "days", "ago"),
    *("18", "2023", "9999", "1", "31", "7", "d", "s", "/", "-", ".", ","),
]


@given(
    st.lists(st.sampled_from(WORDS), max_size=5).flatmap(
        lambda words: st.sampled_from(["".join(words), " ".join(words)])
    ),
    st.dates(datetime.date(1, 1, 1), datetime.date(9998, 1, 1)),
)
def test_a_date_is_never_inverted_and_nothing_else_is_raised(text: str, today: datetime.date) -> None:
    try:
        span = read(text, today)
    except ValueError:
        return
    assert span.start < span.end
