"""Names are compared whatever their case, accents and spaces."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.folding import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Anna   NÚÑEZ ", "anna nunez"),
        ("Straße", "strasse"),
        ("Tromsø", "tromso"),
        ("Łódź", "lodz"),
        ("Ærø", "aero"),
        ("東京", "東京"),
        ("Ångström", "angstrom"),
    ],
)
def test_a_name_is_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text())
def test_a_folded_name_stays_as_it_is_and_spellings_of_accents_are_one(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))
