"""Smart collections: each rule has its counterpart in the query language, or is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.query.language import parse
from catalogd.records import Condition, Group
from catalogd.sync.lightroom.rules import Rule, Rules, Translation, read_rules, translate

KEYWORD_DOG = "(keyword:*dog* OR person:*dog*)"
ALBUMS = ("Norway/West", "Norway/East", "Best")


def albums_with(word: str) -> list[str]:
    return [name for name in ALBUMS if word.casefold() in name.casefold()]


def rule(criteria: str, operation: str, **values: object) -> str:
    parts = [f'criteria = "{criteria}"', f'operation = "{operation}"']
    for name, value in values.items():
        parts.append(f"{name} = " + (f'"{value}"' if isinstance(value, str) else str(value).lower()))
    return "{ " + ", ".join(parts) + " }"


def rules(*parts: str, combine: str = "intersect") -> str:
    return "s = {\n" + ",\n".join(parts) + f',\ncombine = "{combine}",\n}}\n'


def query_of(text: str) -> str | None:
    return translate(rules(text), albums_with).query


@pytest.mark.parametrize(
    ("criterion", "operation", "values", "query"),
    [
        ("rating", "==", {"value": 3}, "rating:3"),
        ("rating", "==", {"value": 0}, "-rating:>=1"),
        ("rating", "!=", {"value": 0}, "rating:>=1"),
        ("rating", "!=", {"value": 3}, "-rating:3"),
        ("rating", ">", {"value": 3}, "rating:>=4"),
        ("rating", ">=", {"value": 3}, "rating:>=3"),
        ("rating", "<", {"value": 3}, "-rating:>=3"),
        ("rating", "<=", {"value": 3}, "-rating:>=4"),
        ("rating", "in", {"value": 2, "value2": 4}, "rating:2..4"),
        ("rating", "in", {"value": 0, "value2": 2}, "-rating:>=3"),
        ("pick", "==", {"value": 1}, "is:picked"),
        ("pick", "==", {"value": -1}, "is:rejected"),
        ("pick", "==", {"value": 0}, "-is:picked -is:rejected"),
        ("labelText", "==", {"value": "To print"}, 'label:"To print"'),
        ("labelText", "==", {"value": "Rot"}, "label:Red"),
        ("labelText", "empty", {}, "-has:label"),
        ("labelColor", "==", {"value": "none"}, "-has:label"),
        ("keywords", "any", {"value": "dog, cat"}, f"{KEYWORD_DOG} OR {KEYWORD_DOG.replace('dog', 'cat')}"),
        ("keywords", "all", {"value": "dog cat"}, f"{KEYWORD_DOG} {KEYWORD_DOG.replace('dog', 'cat')}"),
        ("keywords", "noneOf", {"value": "dog"}, f"-{KEYWORD_DOG}"),
        ("keywords", "any", {"value": "Jean-Luc"}, 'keyword:*Jean-Luc* OR person:"Jean-Luc"'),
        ("lens", "any", {"value": "70-200"}, 'lens:"70-200"'),
        ("title", "any", {"value": "東京"}, 'title:"東京"'),
        ("keywords", "beginsWith", {"value": "old g"}, 'keyword:"old g*" OR (person:old person:"g*")'),
        ("keywords", "endsWith", {"value": "gate"}, 'keyword:"*gate" OR person:"*gate"'),
        ("keywords", "empty", {}, "-has:keywords -has:people"),
        ("keywords", "notEmpty", {}, "has:keywords OR has:people"),
        ("title", "any", {"value": "sun"}, "title:*sun*"),
        ("title", "words", {"value": "sun set"}, "title:sun title:set"),
        ("title", "empty", {}, "-has:title"),
        ("caption", "notEmpty", {}, "has:caption"),
        ("caption", "any", {"value": "sun"}, "caption:*sun* has:caption"),
        ("caption", "noneOf", {"value": "sun"}, "-(caption:*sun* has:caption)"),
        ("caption", "words", {"value": "sun"}, "caption:sun has:caption"),
        ("filename", "beginsWith", {"value": "IMG_"}, 'name:"IMG_*"'),
        ("filename", "any", {"value": "(2)"}, "name:*?2?*"),
        ("folder", "any", {"value": "Norway"}, "in:*Norway*"),
        ("folder", "all", {"value": "2023 Norway"}, "in:*2023* in:*Norway*"),
        ("collection", "any", {"value": "norway"}, "album:\"Norway/West\" OR album:\"Norway/East\""),
        ("collection", "noneOf", {"value": "best"}, "-album:Best"),
        ("fileFormat", "==", {"value": "RAW"}, "type:raw -type:dng"),
        ("fileFormat", "!=", {"value": "JPG"}, "-type:jpeg"),
        ("captureTime", "==", {"value": "2023-06-18"}, "date:2023-06-18"),
        ("captureTime", ">", {"value": "2023-06-18"}, "date:>2023-06-18"),
        ("captureTime", "<", {"value": "2023-06-18"}, "date:<2023-06-18"),
        ("captureTime", "in", {"value": "2023-02-01", "value2": "2023-02-31"}, "date:2023-02-01..2023-02-28"),
        ("captureTime", "inLast", {"value": 7, "value_units": "days"}, "date:7d"),
        ("captureTime", "notInLast", {"value": 2, "value_units": "weeks"}, "-date:2w"),
        ("captureTime", "inLast", {"value": 3, "value_units": "months"}, "date:3mo"),
        ("captureTime", "today", {}, "date:today"),
        ("captureTime", "thisYear", {}, "date:this-year"),
        ("lens", "any", {"value": "85mm"}, "lens:*85mm*"),
        ("isoSpeedRating", ">=", {"value": 1600}, "iso:>=1600"),
        ("isoSpeedRating", "in", {"value": 400, "value2": 100}, "iso:100..400"),
        ("focalLength", "==", {"value": 85}, "focal:85"),
        ("hasGPSData", "isTrue", {"value": True}, "has:gps"),
        ("hasGPSData", "isFalse", {}, "-has:gps"),
        ("flashFired", "isTrue", {}, "is:flash"),
        ("creator", "words", {"value": "Anna"}, "creator:Anna"),
        ("captureTime", ">", {"value": "2023-06-18 00:00:00"}, "date:>2023-06-18"),
        ("hasAdjustments", "isTrue", {"value": True}, "is:developed"),
        ("aspectRatio", "==", {"value": "portrait"}, "is:portrait"),
    ],
)  # fmt: skip
def test_a_rule_is_this_query(criterion: str, operation: str, values: dict[str, object], query: str) -> None:
    assert query_of(rule(criterion, operation, **values)) == query
    parse(query)


def test_any_text_is_looked_for_in_all_fields_of_texts() -> None:
    query = query_of(rule("all", "any", value="dog"))
    assert query is not None
    assert {condition.field for condition in parse(query).conditions} == {
        "keyword", "title", "caption", "name", "in", "person", "camera", "lens", "place", "creator", "label",
        "has",  # a caption of a person
    }  # fmt: skip
    assert "in" not in str(query_of(rule("metadata", "all", value="dog"))).replace(":", " ").split()


def test_a_colour_is_the_label_in_the_languages_that_lightroom_has() -> None:
    for value in (1, "red"):
        query = query_of(rule("labelColor", "==", value=value))
        assert query is not None
        assert query.startswith("label:red OR label:rot OR label:rouge")
    assert str(query_of(rule("labelColor", "!=", value=1))).startswith("-(label:red OR label:rot")
    assert str(query_of(rule("labelColor", "==", value="custom"))).startswith("has:label -(label:red")


def test_rules_are_combined_as_in_lightroom() -> None:
    stars, dog, red = (
        rule("rating", ">=", value=4),
        rule("title", "any", value="dog"),
        rule("pick", "==", value=-1),
    )
    assert translate(rules(stars, dog), albums_with).query == "rating:>=4 title:*dog*"
    assert translate(rules(stars, dog, combine="union"), albums_with).query == "rating:>=4 OR title:*dog*"
    assert (
        translate(rules(stars, dog, combine="exclude"), albums_with).query == "-(rating:>=4 OR title:*dog*)"
    )
    nested = rules(stars, f'{{ {dog}, {red}, combine = "union" }}')
    assert translate(nested, albums_with).query == "rating:>=4 (title:*dog* OR is:rejected)"
    (clause,) = parse("-(rating:>=4 OR title:*dog*)").branches[0].filters
    assert isinstance(clause, Group)
    assert clause.negated
    assert all(isinstance(part, Condition) for part in clause.parts)


def test_rules_in_a_table_of_their_own_are_the_same() -> None:
    stars = rule("rating", ">=", value=4)
    text = f's = {{ criteria = {{ {stars}, {stars} }}, combine = "union" }}'
    assert translate(text, albums_with).query == "rating:>=4 OR rating:>=4"
    assert read_rules("s = " + stars) == Rules("intersect", (Rule("rating", ">=", 4.0),))


def test_what_has_no_counterpart_is_named_and_nothing_is_left_out_silently() -> None:
    done = translate(
        rules(
            rule("rating", ">=", value=4),
            rule("touchTime", "inLast", value=7, value_units="days"),
            rule("sdktext:org.example.score", "==", value="high"),
            rule("captureTime", "inLast", value=5, value_units="hours"),
            rule("title", "beginsWith", value="A"),
            rule("fileFormat", "==", value="VIDEO"),
            rule("collection", "any", value="nowhere"),
        ),
        albums_with,
    )
    assert done == Translation(
        None,
        (
            "touchTime inLast 7",
            "sdktext:org.example.score == high",
            "captureTime inLast 5",
            "title beginsWith A",
            "fileFormat == VIDEO",
            "collection any nowhere",
        ),
    )


@pytest.mark.parametrize(
    ("criterion", "operation", "values"),
    [
        ("camera", "==", {"value": "Canon EOS 5D"}),  # camera: would find the Mark II, too
        ("country", "==", {"value": "Georgia"}),  # place: is a town, a region or a country
        ("city", "any", {"value": "York"}),
        ("aperture", "<", {"value": 4}),  # f-number or APEX?
        ("all", "noneOf", {"value": "dog"}),  # Lightroom has texts that catalogd has not
        ("iptc", "any", {"value": "dog"}),
        ("flashFired", "isFalse", {}),  # not known of every photo
        ("rating", "in", {"value": 0, "value2": 5}),
        ("captureTime", ">", {"value": "2023-06-18 14:30:00"}),
        ("title", "any", {"value": "o'clock"}),  # texts are kept by words
        ("title", "any", {"value": "x" * 40}),  # longer than is looked for with wildcards
        ("filename", "words", {"value": "IMG"}),
        ("labelText", "words", {"value": "print"}),
        ("keywords", "==", {"value": "dog"}),
    ],
)
def test_what_would_find_other_photos_has_no_counterpart(
    criterion: str, operation: str, values: dict[str, object]
) -> None:
    assert query_of(rule(criterion, operation, **values)) is None


@pytest.mark.parametrize("text", ["", "s = {}", "os.exit()", "s = { 1, 2 }", 's = { combine = "union" }'])
def test_no_rules_are_no_query(text: str) -> None:
    done = translate(text, albums_with)
    assert done.query is None
    assert done.untranslated


def test_an_unknown_way_to_combine_is_named() -> None:
    done = translate(rules(rule("rating", ">=", value=4), combine="xor"), albums_with)
    assert done == Translation(None, ("combined by xor",))


CRITERIA = st.sampled_from(
    [
        "rating",
        "pick",
        "labelColor",
        "labelText",
        "keywords",
        "title",
        "caption",
        "filename",
        "folder",
        "collection",
        "fileFormat",
        "captureTime",
        "isoSpeedRating",
        "aperture",
        "focalLength",
        "hasGPSData",
        "aspectRatio",
        "camera",
        "lens",
        "creator",
        "country",
        "all",
        "exif",
    ]
)
OPERATIONS = st.sampled_from(
    [
        "==",
        "!=",
        ">",
        "<",
        ">=",
        "<=",
        "in",
        "any",
        "all",
        "words",
        "noneOf",
        "beginsWith",
        "endsWith",
        "empty",
        "notEmpty",
        "isTrue",
        "isFalse",
        "inLast",
        "today",
    ]
)
VALUES = (
    st.text(st.characters(codec="ascii", exclude_characters='"\\\n\r'), max_size=15)
    | st.text("abc é()|*?:-ORNT ", max_size=12)
    | st.floats()
    | st.integers()
    | st.booleans()
)


@given(
    st.lists(st.tuples(CRITERIA, OPERATIONS, VALUES), min_size=1, max_size=4),
    st.sampled_from(["intersect", "union", "exclude"]),
)
def test_any_rules_are_a_query_that_can_be_read_or_are_named(
    given_rules: list[tuple[str, str, object]], combine: str
) -> None:
    text = rules(
        *(rule(name, operation, value=value) for name, operation, value in given_rules), combine=combine
    )
    done = translate(text, albums_with)
    if done.query is None:
        assert done.untranslated
    else:
        plan = parse(done.query)
        assert not plan.wants_meaning  # nothing of it is taken for words
        assert plan.conditions
