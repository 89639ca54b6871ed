from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.catalog.words import (
    MOST_QUERY_WORDS,
    Item,
    folded,
    folded_word,
    items_of,
    pattern_of,
    plain_words,
)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("dog on beach", [Item("dog"), Item("on"), Item("beach")]),
        ('dog "the beach" dog', [Item("dog"), Item("the beach", True)]),
        ('say"this one"now', [Item("say"), Item("this one", True), Item("now")]),
        ('never "closed at all', [Item("never"), Item("closed at all", True)]),
        ('"" " "', []),
    ],
)
def test_a_text_is_words_and_phrases(text: str, items: list[Item]) -> None:
    assert items_of(text) == items


def test_only_words_outside_quotes_have_wildcards() -> None:
    assert [item.is_wild for item in items_of('bea* "bea*" b?a beach')] == [True, False, True, False]


def test_a_pasted_page_is_cut() -> None:
    assert len(items_of(" ".join(map(str, range(1000))))) == MOST_QUERY_WORDS


def test_words_are_folded_whatever_their_case_accents_and_script() -> None:
    assert plain_words("Été à ORLÉANS") == plain_words(unicodedata.normalize("NFD", "été A orleans"))
    assert plain_words("東京 cafe") == ["東", "京", "cafe"]
    assert folded(" Été ") == folded(unicodedata.normalize("NFD", "ÉTÉ"))
    assert folded_word("ÉT?-x*") == "et?x*"


@given(st.text(st.characters(codec="utf-8")))
def test_a_pattern_without_wildcards_stands_for_itself_alone(text: str) -> None:
    plain = text.replace("*", "").replace("?", "")
    pattern = re.compile(pattern_of(plain), re.DOTALL)
    assert pattern.fullmatch(plain)
    assert not pattern.fullmatch(plain + "x")


def test_wildcards_stand_for_any_letters_and_for_one() -> None:
    assert re.fullmatch(pattern_of("a*c?"), "a.b.cd")
    assert not re.fullmatch(pattern_of("a*c?"), "abc")
    assert not re.fullmatch(pattern_of("a*", "[^/]"), "a/b")
    assert pattern_of("a****b") == "a.*b"
