"""Scores are probabilities: they grow with the evidence, and an odd library makes none of them absurd."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.models.embedding import joint_space_name
from catalogd.models.pairs import SIGLIP2_LOGITS
from catalogd.query.calibration import (
    FOUND,
    Background,
    Calibration,
    Contrastive,
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


def chance(
    cosine: float, background: Background = USUAL, calibration: Calibration | Contrastive = MEASURED
) -> float:
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
    unknown = for_space("nobody@0123456789ab.1#joint")
    assert not unknown.is_measured
    assert chance(0.3, Background(0.05, 0.06, 2000, 148), unknown) < FOUND


SIGLIP2 = ("siglip2-base@0123456789ab.1", "open_clip:ViT-B-16-SigLIP2/webli@0123456789ab.1#joint")
CLIP = ("clip-vit-b-32@0123456789ab.1", "open_clip:ViT-L-14/openai@0123456789ab.1#joint", "dfn-vit-l-14@0.1")


@pytest.mark.parametrize("space", SIGLIP2)
def test_siglips_cosines_are_worth_what_its_training_says(space: str) -> None:
    known = for_space(space)
    assert not known.is_measured
    for library in (Background(0.03, 0.02, 2000, 10_000), Background(0.05, 0.04, 100, 100)):
        assert chance(0.13, library, known) > 0.9, "a caption of the photo"
        assert chance(0.05, library, known) < 0.05, "of another one"
    even = (16.77 - math.log(32_768) + math.log(99)) / 112.67
    assert chance(even, USUAL, known) == pytest.approx(0.5, abs=0.01)


def test_a_model_of_any_name_is_worth_what_its_text_model_says() -> None:
    known = for_space("pair:mine@0123456789ab.1#joint", SIGLIP2_LOGITS)
    assert chance(0.13, USUAL, known) == chance(0.13, USUAL, for_space(SIGLIP2[0])) > 0.9
    assert for_space(joint_space_name(), SIGLIP2_LOGITS) == MEASURED, "what was measured counts before"


@pytest.mark.parametrize("space", CLIP)
def test_clips_cosines_are_worth_what_they_stand_above_the_library(space: str) -> None:
    known = for_space(space)
    low, high = Background(0.17, 0.025, 2000, 10_000), Background(0.22, 0.025, 2000, 10_000)
    assert not known.is_measured
    assert chance(0.28, low, known) > 0.9
    assert chance(0.18, low, known) < 0.01
    assert chance(0.28, high, known) < 0.5
    assert chance(0.33, high, known) == pytest.approx(chance(0.28, low, known), abs=0.01)
    assert chance(0.30, Background.of(np.empty(0, np.float32), 0), known) > FOUND


@pytest.mark.parametrize("space", [*SIGLIP2, *CLIP])
def test_chances_by_training_grow_with_the_cosine_and_stay_chances(space: str) -> None:
    cosines = np.linspace(-1, 1, 41, dtype=np.float32)
    chances = for_space(space).probability(cosines, Background(0.19, 0.03, 2000, 10_000))
    assert np.all(np.diff(chances) >= 0)
    assert 0 <= chances[0] < 0.01 < 0.99 < chances[-1] <= 1
    assert math.isnan(for_space(space).probability(np.array([np.nan], np.float32), USUAL)[0])


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
