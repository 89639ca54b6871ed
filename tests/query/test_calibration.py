"""Scores are probabilities: they grow with the evidence, and an odd library makes none of them absurd."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.models.embedding import joint_space_name
from catalogd.query.calibration import (
    FOUND,
    Background,
    Calibration,
    for_space,
    word_probability,
)

MEASURED = for_space(joint_space_name() + "#joint")
USUAL = Background(0.05, 0.13, 2000, 148)
FIELDS = ("objects", "tags", "kinds", "text", "path", "keywords")

cosine = st.floats(-1, 1, width=32)
backgrounds = st.builds(
    Background, st.floats(-1, 1), st.floats(0, 1), st.integers(0, 2000), st.integers(0, 10**7)
)


def chance(cosine: float, background: Background = USUAL, calibration: Calibration = MEASURED) -> float:
    return float(calibration.probability(np.array([cosine], np.float32), background)[0])


@given(st.lists(cosine, min_size=2), backgrounds)
def test_a_probability_is_in_0_to_1_and_grows_with_the_cosine(
    cosines: list[float], background: Background
) -> None:
    chances = MEASURED.probability(np.sort(np.array(cosines, np.float32)), background)
    assert chances.dtype == np.float32
    assert ((chances >= 0) & (chances <= 1)).all()
    assert (np.diff(chances) >= 0).all()


def test_a_cosine_that_stands_out_is_found_and_the_usual_one_is_not() -> None:
    assert chance(0.7) > FOUND > chance(0.3)
    assert chance(0.05) < 0.05


def test_the_same_cosine_counts_less_where_the_query_is_near_everything() -> None:
    assert chance(0.6, Background(0.35, 0.13, 2000, 148)) < chance(0.6)
    assert chance(0.6, Background(0.05, 0.25, 2000, 148)) < chance(0.6)


def test_the_same_cosine_counts_less_in_a_larger_library_where_more_stand_out_by_chance() -> None:
    chances = [chance(0.6, Background(0.05, 0.13, 2000, photos)) for photos in (100, 148, 5000, 500_000)]
    assert chances[0] == chances[1] > chances[2] > chances[3] > 0.05


def test_a_library_of_one_photo_or_of_copies_of_one_is_judged_as_a_usual_one() -> None:
    one = Background.of(np.array([0.8], np.float32), 1)
    assert one == Background(pytest.approx(0.8), 0.0, 1, 1)
    assert chance(0.8, one) == pytest.approx(chance(0.8), abs=0.15)
    none = Background.of(np.empty(0, np.float32), 0)
    assert chance(0.8, none) == pytest.approx(chance(0.8), abs=0.01)
    copies = Background.of(np.full(2000, 0.8, np.float32), 2000)
    assert 0 <= chance(0.8, copies) <= 1


def test_no_cosine_has_no_probability() -> None:
    assert math.isnan(chance(math.nan))


def test_the_starter_models_are_measured_and_an_unknown_one_says_that_it_is_not() -> None:
    assert MEASURED.is_measured
    unknown = for_space("siglip2@0123456789ab.1#joint")
    assert not unknown.is_measured
    assert chance(0.3, Background(0.05, 0.06, 2000, 148), unknown) < FOUND


@pytest.mark.parametrize("field", FIELDS)
def test_all_words_in_a_field_are_found_and_half_of_them_are_not(field: str) -> None:
    assert word_probability((field,)) > FOUND > word_probability((field,), 0.5) > 0


def test_what_a_person_wrote_is_surer_than_what_a_model_saw() -> None:
    assert word_probability(("keywords",)) > word_probability(("objects",)) > word_probability(("tags",))
    assert word_probability(("tags", "keywords")) == word_probability(("keywords",))


def test_no_field_is_no_evidence_and_an_unknown_one_is_some() -> None:
    assert word_probability(()) == 0
    assert word_probability(("objects",), 0) == 0
    assert FOUND < word_probability(("new",)) < 1
