"""Names of people in the words of a query."""

from __future__ import annotations

import pytest

from catalogd.query.language import MOST_BRANCHES, parse
from catalogd.query.names import MOST_NAMES, known_names, understand
from catalogd.records import Branch, Condition

NAMES = known_names(
    {
        "Anna Núñez": ["Mum"],
        "Ben Berg": [],
        "Eva Holm": ["the boss"],
        "Eva Lind": [],
        "Jean de la Tour": [],
        "Søren Ødegård": [],
    }
)


def person(name: str) -> Condition:
    return Condition("person", words=name)


@pytest.mark.parametrize(
    ("text", "words", "people"),
    [
        ("anna at the beach", "at the beach", ["Anna Núñez"]),
        ("anna nunez at the beach", "at the beach", ["Anna Núñez"]),
        ("ANNA NÚÑEZ", "", ["Anna Núñez"]),
        ("dog with mum", "dog", ["Anna Núñez"]),
        ("dinner with the boss", "dinner", ["Eva Holm"]),
        ("eva holm", "", ["Eva Holm"]),
        ("photos of anna and ben", "", ["Anna Núñez", "Ben Berg"]),
        ("anna, ben & cake", "& cake", ["Anna Núñez", "Ben Berg"]),
        ("anna's birthday cake", "birthday cake", ["Anna Núñez"]),
        ("jean de la tour at home", "at home", ["Jean de la Tour"]),
        ("soren odegard skiing", "skiing", ["Søren Ødegård"]),
        ("mum anna", "", ["Anna Núñez"]),
    ],
)
def test_a_name_becomes_a_filter_before_the_words_as_they_stand(
    text: str, words: str, people: list[str]
) -> None:
    plan, lines = understand(parse(text), NAMES)
    found, as_typed = plan.branches
    assert set(found.filters) == {person(name) for name in people}
    assert as_typed == Branch(text)
    assert found.words == words
    assert all("→ the person " in line for line in lines)
    assert lines[0].endswith(people[0])


@pytest.mark.parametrize(
    "text", ["annabel", '"anna" cake', "eva", "anna-lena", "-anna", "person:anna dog", "iso:100"]
)
def test_what_is_no_name_of_one_person_is_left_as_it_is(text: str) -> None:
    plan = parse(text)
    assert understand(plan, NAMES) == (plan, ())
    assert understand(plan, {}) == (plan, ())


def test_each_branch_is_understood_and_keeps_its_filters_and_examples() -> None:
    plan, lines = understand(parse("((anna iso:100) OR dog) similar:a.jpg order:date"), NAMES)
    assert [branch.words for branch in plan.branches] == ["", "anna", "dog"]
    assert [len(branch.filters) for branch in plan.branches] == [2, 1, 0]
    assert all(branch.examples for branch in plan.branches)
    assert plan.order == "date"
    assert lines == ("anna → the person Anna Núñez",)


def test_names_never_make_more_searches_than_a_query_may_have() -> None:
    text = " OR ".join(f"anna{' x' * number}" for number in range(1, 13))
    plan, _ = understand(parse(text), NAMES)
    assert len(plan.branches) == MOST_BRANCHES
    assert [branch for branch in plan.branches if not branch.filters] == list(parse(text).branches)


def test_a_query_has_a_few_names_at_most() -> None:
    names = known_names({f"Person{number}": [] for number in range(9)})
    plan, lines = understand(parse(" ".join(f"person{number}" for number in range(9))), names)
    assert len(plan.branches[0].filters) == len(lines) == MOST_NAMES


def test_an_alias_does_not_take_a_name_from_its_bearer() -> None:
    assert known_names({"Ben": [], "Benjamin Roe": ["ben"]})["ben"] == "Ben"
    assert known_names({"Benjamin Roe": ["ben"], "Ben": []})["ben"] == "Ben"
