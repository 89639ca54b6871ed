"""How likely a photo is what was meant: cosines and matched words as probabilities.

A cosine says nothing by itself. Models spread theirs differently, and so do queries: "animal" is somewhat
near every picture of a dog, "invoice" near none. So a cosine is seen beside those that the same query
has with photos picked blindly (`Background`), and what standing out by so much was worth on labelled
photos is measured once a model (bench/bench_quality.py, docs/search-quality.md). In a large library some
photos stand out by chance; how many is known from its size.

Of hits with a score of 0.7, about 70 % show what was asked for. `FOUND` is the score from which a
photo counts as found at all.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Cosines = NDArray[np.float32]

# A library's photos that the background of a query is measured on: its mean is then known to 0.02 of its
# spread, and the product with a query takes 0.3 ms.
SAMPLE = 2000
FOUND = 0.5  # more likely than not
_LEAST_SPREAD = 0.02  # cosine: a library of copies of one picture has none
_FEW = 30  # photos: fewer tell little of a query's spread, the model's own is mixed in


@dataclasses.dataclass(frozen=True, slots=True)
class Background:
    """The cosines of one query with photos picked blindly, and how many photos are searched."""

    mean: float
    spread: float  # standard deviation
    sample: int  # photos it was measured on; 0: none, the model's own is taken
    photos: int

    @classmethod
    def of(cls, cosines: Cosines, photos: int) -> Background:
        """Of the query's `cosines: float32[m]` with up to `SAMPLE` photos of the library's `photos`."""
        if not len(cosines):
            return cls(0.0, 0.0, 0, photos)
        return cls(float(cosines.mean()), float(cosines.std()), len(cosines), photos)


@dataclasses.dataclass(frozen=True, slots=True)
class Calibration:
    """What cosines of one model are worth. `is_measured` is False for a model that nobody measured."""

    bias: float
    per_cosine: float
    per_deviation: float  # of the background's spreads that a cosine is above its mean
    usual: Background  # of a typical query
    is_measured: bool = True

    def probability(self, cosines: Cosines, background: Background) -> Cosines:
        """`float32[n]` in 0…1 for `cosines: float32[n]` of one query with photos of one space."""
        mean, spread = self._blended(background)
        deviations = (np.asarray(cosines, np.float32) - mean) / spread
        by_chance = math.log(max(background.photos, 1) / self.usual.photos)
        logits = (
            self.bias + self.per_cosine * cosines + self.per_deviation * deviations - 0.5 * max(by_chance, 0)
        )
        return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)

    def _blended(self, background: Background) -> tuple[float, float]:
        """Mean and spread: the fewer photos were looked at, the more it is the model's usual one."""
        share = background.sample / (background.sample + _FEW)
        mean = share * background.mean + (1 - share) * self.usual.mean
        spread = share * background.spread + (1 - share) * self.usual.spread
        return mean, max(spread, _LEAST_SPREAD)


def for_space(space: str) -> Calibration:
    """The calibration of an embedding space, whose name starts with its model's and an "@"."""
    return _MEASURED.get(space.partition("@")[0], _UNKNOWN)


_MEASURED = {
    "efficientnet-lite0+conse-minilm": Calibration(-5.5, 6.0, 1.2, Background(0.06, 0.13, 1, 130)),
}
# Dual encoders trained by contrast: cosines are small, and only what stands out counts.
_UNKNOWN = Calibration(-6.0, 0.0, 1.7, Background(0.0, 0.1, 1, 130), is_measured=False)

# A word in such a field was right this often.
_FIELD_WORTH = {
    "keywords": 0.97,
    "people": 0.97,
    "caption": 0.9,
    "place": 0.95,
    "creator": 0.9,
    "marks": 0.9,
    "camera": 0.9,
    "objects": 0.85,
    "tags": 0.75,
    "text": 0.8,
    "path": 0.8,
}
_USUAL_WORTH = 0.7  # of a field that was not measured


def word_probability(fields: Collection[str], share: float = 1.0) -> float:
    """How likely a photo is meant in whose `fields` the words were found.

    `share` is how many of the query's words were found in it, in 0…1.
    """
    if not fields or share <= 0:
        return 0.0
    worth = max(_FIELD_WORTH.get(field, _USUAL_WORTH) for field in fields)
    return worth * share**2


def combined(*probabilities: float) -> float:
    """Of signals that err for different reasons: it is none of them by chance."""
    return 1.0 - math.prod(1.0 - probability for probability in probabilities)
