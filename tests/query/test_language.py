"""The query language: what is read, and what is refused with its place."""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.catalog import selection
from catalogd.errors import QueryError
from catalogd.query import language
from catalogd.query.keys import HAS_WORDS, IS_WORDS, TABLE, Kind
from catalogd.query.language import KEYS, MOST_BRANCHES, MOST_CHARACTERS, MOST_NESTED, parse
from catalogd.records import Branch, Clause, Condition, Group, Plan

TODAY = datetime.date(2026, 11, 21)
DOC = (Path(__file__).parents[2] / "docs" / "query.md").read_text("utf-8")
ISSUE_LINE = (
    'dog on the beach person:"Anna Núñez" -person:Ben camera:sony lens:"85mm" iso:>=1600 f:<2.8 focal:24..70 '
    "date:2023-06..2023-08 place:Bergen near:60.39,5.32,10km rating:>=4 label:red keyword:travel/norway "
    'type:raw text:"total" faces:2.. sharp:>60 similar:IMG_1.jpg is:best is:stack '
    'has:gps in:"2023/Norway" added:7d '
    "order:date|score|quality"
)


def epoch(*date: int) -> float:
    return datetime.datetime(*date, tzinfo=datetime.UTC).timestamp()


def bare(clause: Clause) -> Clause:
    """Without the places in the text."""
    if isinstance(clause, Condition):
        return msgspec.structs.replace(clause, position=0)
    return msgspec.structs.replace(clause, parts=tuple(map(bare, clause.parts)))


def read(text: str) -> list[Branch]:
    return [
        msgspec.structs.replace(branch, filters=tuple(map(bare, branch.filters)))
        for branch in parse(text, today=TODAY).branches
    ]


def only(text: str) -> Branch:
    (branch,) = read(text)
    return branch


def words(*found: str) -> list[Branch]:
    return [Branch(one) for one in found]


def refusal(text: str) -> QueryError:
    with pytest.raises(QueryError) as raised:
        parse(text, today=TODAY)
    return raised.value


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'dog on "the beach"',
        "it's 5:30",
        "http://example.org/a",
        r"C:\photos",
        "AC/DC",
        "cats & dogs",
        "note: see below",
        "IMG_1(2).jpg",
        "a>b",
        "t-shirt --x",
        "or and not",
        '"OR"',
        'say "the ""old"" man"',
    ],
)
def test_what_people_type_stays_as_words(text: str) -> None:
    assert read(text) == words(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rock - roll", "rock roll"),
        ("a -- b", "a b"),
        ("beach AND sunset", "beach sunset"),
        ("(beach) (at night)", "beach at night"),
        ("“the beach”", '"the beach"'),
        ('dog ""', "dog"),
        ("NOT NOT beach", "beach"),
    ],
)
def test_words_are_joined_in_order(text: str, found: str) -> None:
    assert read(text) == words(found)


# -- filters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("iso:400", Condition("iso", low=400, high=400)),
        ("iso:>=1600", Condition("iso", low=1600)),
        ("iso>=1600", Condition("iso", low=1600)),
        ("iso:>1600", Condition("iso", low=1601)),
        ("iso:≤100", Condition("iso", high=100)),
        ("iso:<100", Condition("iso", high=99)),
        ("iso:=100", Condition("iso", low=100, high=100)),
        ("iso:100..400", Condition("iso", low=100, high=400)),
        ("faces:2..", Condition("faces", low=2)),
        ("faces:..2", Condition("faces", high=2)),
        ("rating:-1", Condition("rating", low=-1, high=-1)),
        ("f:<2.8", Condition("f", high=math.nextafter(2.8, 0))),
        ("focal:24..70mm", Condition("focal", low=24, high=70)),
        ("size:1..20MB", Condition("size", low=1e6, high=20e6)),
        ("-camera:sony", Condition("camera", words="sony", negated=True)),
        ("NOT camera:sony", Condition("camera", words="sony", negated=True)),
        ("- camera:sony", None),
        ('text:"grand total"', Condition("text", words='"grand total"')),
        ('text:"total"', Condition("text", words="total")),
        ('place:"new york"', Condition("place", words="new york")),
        ("TYPE:raw", Condition("type", words="raw")),
        ("format:raw", Condition("type", words="raw")),
        ("keyword:Animals|Dog", Condition("keyword", words="Animals|Dog")),
        ('person:"Dwayne ""The Rock"" Johnson"', Condition("person", words='Dwayne "The Rock" Johnson')),
        ("lens:50*", Condition("lens", words="50*")),
        ("has:faces", Condition("has", words="faces")),
        ("has:Face", Condition("has", words="faces")),
        ("is:best", Condition("is", words="best")),
        ("near:60.39,5.32", Condition("near", numbers=(60.39, 5.32, 1.0))),
        ("near:60.39,5.32,500m", Condition("near", numbers=(60.39, 5.32, 0.5))),
        ('near:"33.9 S, 18.4 E, 5 km"', Condition("near", numbers=(-33.9, 18.4, 5.0))),
        ("date:2023", Condition("date", low=epoch(2023, 1, 1), high=epoch(2024, 1, 1) - 1)),
        ("date:2023-12", Condition("date", low=epoch(2023, 12, 1), high=epoch(2024, 1, 1) - 1)),
        ("date:>2023", Condition("date", low=epoch(2024, 1, 1))),
        ("date<2023", Condition("date", high=epoch(2023, 1, 1) - 1)),
        ("date:2023-06..2023-08", Condition("date", low=epoch(2023, 6, 1), high=epoch(2023, 9, 1) - 1)),
        ("date:last summer", Condition("date", low=epoch(2026, 6, 1), high=epoch(2026, 9, 1) - 1)),
        ("date:june..august 2023", Condition("date", low=epoch(2023, 6, 1), high=epoch(2023, 9, 1) - 1)),
        ("date:..7d", Condition("date", high=epoch(2026, 11, 15) - 1)),
    ],
)
def test_a_condition_is_read(text: str, condition: Condition | None) -> None:
    if condition is None:
        text, condition = text.removeprefix("- "), Condition("camera", words="sony")
    branch = only(f"cat {text} dog")
    assert branch == Branch("cat dog", (condition,))


def test_added_is_counted_by_the_clock_of_this_machine() -> None:
    (condition,) = only("added:2023-06-18").filters
    assert isinstance(condition, Condition)
    assert condition.low == datetime.datetime(2023, 6, 18).timestamp()
    assert condition.high == datetime.datetime(2023, 6, 19).timestamp() - 1


def test_a_number_alone_is_meant_as_exactly_as_it_is_written() -> None:
    for text, low, high in [
        ("focal:85", 84.5, 85.5),
        ("f:2.8", 2.75, 2.85),
        ("f:4", 3.95, 4.05),
        ("mp:24.2", 24.15, 24.25),
        ("size:5MB", 4.5e6, 5.5e6),
        ("exposure:1/200", 0.0047, 0.0053),
        ("brightness:100%", 0.995, 1),
    ]:
        (condition,) = only(text).filters
        assert isinstance(condition, Condition)
        assert (condition.low, condition.high) == (pytest.approx(low), pytest.approx(high)), text


def test_a_condition_knows_its_place() -> None:
    (condition,) = parse("cat -iso:400").branches[0].filters
    assert isinstance(condition, Condition)
    assert condition.position == 5


def test_the_place_of_a_town_is_found_by_its_name() -> None:
    (condition,) = only("near:bergen,10km").filters
    assert isinstance(condition, Condition)
    assert condition.numbers == (pytest.approx(60.39, abs=0.05), pytest.approx(5.32, abs=0.05), 10.0)


# -- and, or, not ----------------------------------------------------------------------------------

SONY, RAW = Condition("camera", words="sony"), Condition("type", words="raw")


def negated(clause: Clause) -> Clause:
    return msgspec.structs.replace(clause, negated=True)


def any_word(text: str) -> Condition:
    return Condition("any", words=text)


@pytest.mark.parametrize(
    ("text", "branches"),
    [
        ("beach OR lake", words("beach", "lake")),
        ("beach|lake", words("beach", "lake")),
        ("(beach OR lake) dog", words("beach dog", "lake dog")),
        ("a OR b c", words("a", "b c")),
        ("camera:sony OR type:raw", [Branch(filters=(Group((SONY, RAW), any=True),))]),
        ("camera:sony|type:raw", [Branch(filters=(Group((SONY, RAW), any=True),))]),
        ("dog (camera:sony OR type:raw)", [Branch("dog", (Group((SONY, RAW), any=True),))]),
        ("dog OR camera:sony", [Branch("dog"), Branch(filters=(SONY,))]),
        ("dog OR (cat camera:sony)", [Branch("dog"), Branch("cat", (SONY,))]),
        ("(camera:sony type:raw) dog", [Branch("dog", (SONY, RAW))]),
        ("-(camera:sony type:raw)", [Branch(filters=(Group((SONY, RAW), negated=True),))]),
        ("beach -blurry", [Branch("beach", (negated(any_word("blurry")),))]),
        ('beach -"old car"', [Branch("beach", (negated(any_word('"old car"')),))]),
        ("-(a OR b)", [Branch(filters=(Group((any_word("a"), any_word("b")), any=True, negated=True),))]),
        (
            "camera:(sony OR -raw)",
            [Branch(filters=(Group((SONY, Condition("camera", words="raw", negated=True)), any=True),))],
        ),
    ],
)
def test_alternatives_of_words_are_branches_and_those_of_filters_are_groups(
    text: str, branches: list[Branch]
) -> None:
    assert read(text) == branches


def test_order_and_examples_are_of_the_whole_query() -> None:
    plan = parse("(cat OR dog) similar:a.jpg -similar:'b' order:-date,quality")
    assert plan.order == "-date,quality"
    assert len(plan.branches) == 2
    for branch in plan.branches:
        assert [(example.photo, example.negated) for example in branch.examples] == [
            ("a.jpg", False),
            ("'b'", True),
        ]
    assert parse("cat OR dog order:date").order == "date"


def test_an_order_or_an_example_alone_is_a_query() -> None:
    assert parse("order:added").branches == (Branch(),)
    assert parse("similar:a.jpg").branches[0].examples[0].photo == "a.jpg"


def test_the_line_of_all_keys_is_read() -> None:
    plan = parse(ISSUE_LINE, today=TODAY)
    (branch,) = plan.branches
    assert branch.words == "dog on the beach"
    assert len(branch.filters) == 22
    assert plan.order == "date,score,quality"
    assert branch.examples[0].photo == "IMG_1.jpg"


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("", 0, "say what to look for"),
        ('""', 0, "say what to look for"),
        ("cat foo:1", 4, "there is no key foo:"),
        ("cat cmera:sony", 4, "did you mean camera:?"),
        ("cat iso:many", 4, "takes a number"),
        ("iso:400..100", 0, "empty range"),
        ("iso:..", 0, "no ends"),
        ('cat text:"total', 9, "never closed"),
        ('cat "total', 4, "never closed"),
        ("cat camera:", 4, "needs a value"),
        ("camera: sony", 0, "needs a value"),
        ('camera:" "', 0, "needs a value"),
        ("date:juno", 0, "takes 2023"),
        ("date:06/07/2023", 0, "takes 2023"),
        ("date:2023-13", 0, "month must be in 1..12"),
        ("date:2023-02-30", 0, "day"),
        ("added:>7d", 0, "two ways"),
        ("rating:7", 0, "stars from 0 to 5"),
        ("size:5parsecs", 0, "takes a size"),
        ("exposure:1/0", 0, "takes a time"),
        ("near:91,0", 0, "latitude"),
        ("near:60,5,0km", 0, "radius"),
        ("near:60,5,6,7", 0, "radius"),
        ("near:Nowhereville", 0, "no place"),
        ("is:bst", 0, "did you mean is:best?"),
        ("has:wings", 0, "there are gps"),
        ("order:size", 0, "takes score, date"),
        ("cat -order:date", 5, "order:-date"),
        ("order:date cat order:name", 15, "once"),
        ("cat (order:date)", 5, "the whole query"),
        ("cat OR order:date", 7, "behind the last"),
        ("cat OR dog similar:x", 11, "in parentheses"),
        ("cat NOT (similar:x)", 9, "the whole query"),
        ("Portland OR", 9, "nothing follows OR"),
        ("OR cat", 0, "nothing stands before OR"),
        ("cat OR OR dog", 4, "nothing follows OR"),
        ("f:<0", 0, "takes an f-number"),
        ("cat | ", 4, "nothing follows"),
        ("cat AND", 4, "nothing follows AND"),
        ("cat NOT", 4, "nothing follows NOT"),
        ("cat -", 4, "nothing follows -"),
        ("- cat", 0, "nothing stands before -"),
        ("(cat", 0, "never closed"),
        ("cat)", 3, "closes nothing"),
        (")", 0, "closes nothing"),
        ("cat ()", 5, "nothing in the parentheses"),
        ("camera:(sony iso:100)", 13, "only values"),
    ],
)
def test_what_can_not_be_read_is_named_with_its_place(text: str, position: int, says: str) -> None:
    error = refusal(text)
    assert says in str(error)
    assert error.position == position


def test_too_many_searches_are_refused_where_they_become_too_many() -> None:
    assert len(read("(a OR b) (c OR d) (e OR f) (g OR h)")) == MOST_BRANCHES
    error = refusal("(a OR b) (c OR d) (e OR f) (g OR h) (i OR j)")
    assert error.position == 37
    assert str(MOST_BRANCHES) in str(error)
    assert refusal(" OR ".join("abcdefghijklmnopq")).position == 0
    assert len(only(" OR ".join(f"iso:{number}" for number in range(100))).filters) == 1


def test_a_query_has_an_end() -> None:
    assert refusal("a" * (MOST_CHARACTERS + 1)).position == MOST_CHARACTERS
    assert "nested" in str(refusal("(" * 1000 + "a" + ")" * 1000))
    deep = "(" * MOST_NESTED + "a" + ")" * MOST_NESTED
    assert read(deep) == words("a")
    assert len(read("-" + "NOT " * 2000 + "a")) == 1


SCRAPS = st.sampled_from(
    [
        *('"', "(", ")", "|", "-", " ", "OR", "NOT", "AND", ":", "..", ">=", "a", "12", "é", "\n", "\0"),
        *(f"{name}:" for name in KEYS),
        *("date:june", "2023", "near:1,2,", "iso:100", "km", "has:gps", "order:date", "similar:x"),
    ]
)


@settings(deadline=None)  # the first name of a place is looked for in all of them
@given(st.one_of(st.text(max_size=60), st.lists(SCRAPS, max_size=12).map("".join)))
def test_any_text_is_read_or_refused_with_a_position_inside_it(text: str) -> None:
    plan, refused_at = attempt(text)
    if plan is None:
        assert 0 <= refused_at < max(len(text), 1)
        return
    for condition in conditions_of(plan):
        assert condition.field in (*KEYS, "any")
        assert condition.low is None or condition.high is None or condition.low <= condition.high
        assert 0 <= condition.position < len(text)
    assert 1 <= len(plan.branches) <= MOST_BRANCHES


def attempt(text: str) -> tuple[Plan | None, int]:
    """The plan, or where the text was refused."""
    try:
        return parse(text, today=TODAY), -1
    except QueryError as error:
        return None, error.position


def conditions_of(plan: Plan) -> list[Condition]:
    found: list[Condition] = []
    waiting: list[Clause] = [clause for branch in plan.branches for clause in branch.filters]
    while waiting:
        clause = waiting.pop()
        if isinstance(clause, Group):
            waiting += clause.parts
        else:
            found.append(clause)
    return found


# -- the documentation -----------------------------------------------------------------------------


def doc_queries() -> list[str]:
    return [
        line for block in re.findall(r"```query\n(.*?)```", DOC, re.DOTALL) for line in block.splitlines()
    ]


def test_every_example_of_the_documentation_is_read() -> None:
    assert len(doc_queries()) > 50
    for line in doc_queries():
        parse(line, today=TODAY)
    assert ISSUE_LINE in doc_queries()


def test_the_documentation_has_every_key_and_word_with_an_example_that_is_read() -> None:
    for key in TABLE:
        aliases = ", ".join(f"`{alias}:`" for alias in key.aliases)
        finds, example = (text.replace("|", "\\|") for text in (key.finds, key.example))
        assert f"| `{key.name}:` | {aliases} | {finds} | `{example}` |" in DOC
        if key.kind is Kind.ORDER:
            assert parse(key.example).order
        elif key.kind is Kind.EXAMPLE:
            assert parse(key.example).branches[0].examples
        else:
            (condition,) = only(key.example).filters
            assert isinstance(condition, Condition)
            assert condition.field == key.name
    for word, meaning in (*HAS_WORDS.items(), *IS_WORDS.items()):
        assert f"| `{word}` | {meaning} |" in DOC


def test_the_errors_of_the_documentation_are_those_there_are() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", DOC.split("## Errors")[1], re.MULTILINE)
    assert len(rows) >= 8
    for query, message in rows:
        assert str(refusal(query.replace("\\|", "|"))) == message.replace("\\|", "|")


def test_all_that_has_and_is_take_can_be_asked_for() -> None:
    for word in HAS_WORDS:
        assert only(f"has:{word}").filters == (Condition("has", words=word),)
    for word in IS_WORDS:
        assert only(f"is:{word}").filters == (Condition("is", words=word),)
    assert language.IS_WORDS is IS_WORDS


def test_the_catalog_can_answer_all_that_is_read() -> None:
    fields = {key.name for key in TABLE if key.kind not in (Kind.EXAMPLE, Kind.ORDER)}
    assert fields | {"any"} == selection.FIELDS
    assert set(HAS_WORDS) == selection.HAS_WORDS
    assert set(IS_WORDS) == selection.IS_WORDS
