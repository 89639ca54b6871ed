"""The query language: what is read, and what is refused with its place."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.errors import QueryError
from catalogd.query.language import KEYS, parse
from catalogd.records import Condition


def epoch(*date: int) -> float:
    return datetime.datetime(*date, tzinfo=datetime.UTC).timestamp()


def test_words_stay_in_order_and_quotes_are_taken_off() -> None:
    assert parse('dog on "the beach"').branches[0].words == "dog on the beach"


def test_a_time_of_day_is_a_word() -> None:
    assert parse("it's 5:30").branches[0].words == "it's 5:30"


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("iso:400", Condition("iso", low=400, high=400)),
        ("iso:>=1600", Condition("iso", low=1600)),
        ("iso:>1600", Condition("iso", low=1601)),
        ("iso:<=100", Condition("iso", high=100)),
        ("iso:<100", Condition("iso", high=99)),
        ("iso:100..400", Condition("iso", low=100, high=400)),
        ("faces:2..", Condition("faces", low=2)),
        ("faces:..2", Condition("faces", high=2)),
        ("-camera:sony", Condition("camera", words="sony", negated=True)),
        ('text:"grand total"', Condition("text", words="grand total")),
        ("TYPE:raw", Condition("type", words="raw")),
        ('place:"new york"', Condition("place", words="new york")),
        ("keyword:Animals|Dog", Condition("keyword", words="Animals|Dog")),
        ("-person:anna", Condition("person", words="anna", negated=True)),
        ("rating:4..", Condition("rating", low=4)),
        ("date:2023", Condition("date", low=epoch(2023, 1, 1), high=epoch(2024, 1, 1) - 1)),
        ("date:2023-12", Condition("date", low=epoch(2023, 12, 1), high=epoch(2024, 1, 1) - 1)),
        ("date:2024-02-29", Condition("date", low=epoch(2024, 2, 29), high=epoch(2024, 3, 1) - 1)),
        ("date:>2023", Condition("date", low=epoch(2024, 1, 1))),
        ("date:2023-06..2023-08", Condition("date", low=epoch(2023, 6, 1), high=epoch(2023, 9, 1) - 1)),
    ],
)
def test_a_condition_is_read(text: str, condition: Condition) -> None:
    plan = parse(f"cat {text} dog")
    (branch,) = plan.branches
    assert branch.words == "cat dog"
    assert branch.filters == (condition,)


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("cat foo:1", 4, "there is no key foo:"),
        ("cat iso:many", 4, "takes a number"),
        ("iso:400..100", 0, "empty range"),
        ("iso:..", 0, "no ends"),
        ('cat text:"total', 9, "never closed"),
        ("cat camera:", 4, "needs a value"),
        ('camera:" "', 0, "needs a value"),
        ("date:june", 0, "takes 2023"),
        ("date:2023-13", 0, "month must be in 1..12"),
        ("date:2023-02-30", 0, "day"),
    ],
)
def test_what_can_not_be_read_is_named_with_its_place(text: str, position: int, says: str) -> None:
    with pytest.raises(QueryError, match=says) as raised:
        parse(text)
    assert raised.value.position == position


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_position_inside_it(text: str) -> None:
    position, fields = _reading(text)
    assert position is None or 0 <= position < len(text)
    assert fields <= set(KEYS)


def _reading(text: str) -> tuple[int | None, set[str]]:
    try:
        return None, {condition.field for condition in parse(text).branches[0].filters}
    except QueryError as error:
        return error.position, set()
