"""Aesthetics by words: leaning to the better of opposites is a higher score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import sessions
from catalogd.models.devices import Hardware
from catalogd.models.pairs import CLIP_LOGITS
from catalogd.models.word_aesthetics import OPPOSITES, WordAesthetics
from catalogd.records import Output
from catalogd.settings import Settings


class Embedder:
    """In its space the better word of each pair lies up, the other down, among other things."""

    name, fingerprint, logits = "embedding:fake", "fake@1.1", CLIP_LOGITS
    wording: Any = None

    def text_encoder(self) -> Embedder:
        return self

    def vectors(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        better = {good for good, _ in OPPOSITES}
        rows = [
            [0.1 if prompt in better else -0.1, 1.0, number / 10] for number, prompt in enumerate(prompts)
        ]
        return sessions.unit_rows(np.array(rows, np.float32))


def model(embedder: Any = None) -> WordAesthetics:
    made = WordAesthetics(Settings(), None, Hardware(), embedder or Embedder())
    made.load()
    return made


def seen(*vector: float) -> Output:
    rows = sessions.unit_rows(np.array([vector], np.float32))
    return Output("fake@1.1", joint_embedding=sessions.half_bytes(rows[0]))


def test_pictures_near_the_better_words_score_higher() -> None:
    scores = [output.aesthetics for output in model().derive([seen(1, 1, 0), seen(0, 1, 0), seen(-1, 1, 0)])]
    assert all(score is not None and 1 <= score <= 10 for score in scores)
    assert scores == sorted(scores, key=lambda score: -(score or 0))
    assert (scores[0] or 0) > 9
    assert (scores[2] or 0) < 2


def test_a_photo_without_a_vector_fails_alone() -> None:
    without, with_one = model().derive([Output("fake@1.1"), seen(1, 0, 0)])
    assert without.error == "ModelError: there is no vector of embedding:fake"
    assert with_one.error is None


def test_another_embedder_makes_old_scores_stale() -> None:
    other = Embedder()
    other.fingerprint = "fake@2.1"
    assert model().fingerprint != model(other).fingerprint
    assert model().after == "embedding:fake"


def test_an_embedder_without_words_is_refused() -> None:
    with pytest.raises(ModelError, match="need a dual encoder"):
        model(type("Starter", (), {"name": "embedding", "fingerprint": "x"})())
