"""How likely a photo is what was meant: cosines and matched words as probabilities.

A cosine says nothing by itself. Models spread theirs differently, and so do queries: "animal" is somewhat
near every picture of a dog, "invoice" near none. So a cosine is seen beside those that the same query
has with photos picked blindly (`Background`). What counts is the cosine times the number of the background's
spreads that it stands above its mean; what that product was worth on labelled photos is measured once a model
(bench/bench_quality.py fit, docs/search-quality.md). In a large library more photos stand out by chance, and
there it has to be larger.

Of hits with a score of 0.7, about 70 % show what was asked for. `FOUND` is the score from which a
photo counts as found at all.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from catalogd.models.pairs import TRAINING_BATCH, Logits, logits_of_family

Cosines = NDArray[np.float32]

# Photos of a library that the background of a query is measured on: its mean is then known to 0.02 of its
# spread, and their product with a query takes 0.3 ms.
SAMPLE = 2000
# From here on a photo counts as found: of what is there more is found than at 0.5, and no less of it is right
# (docs/search-quality.md).
FOUND = 0.45
_LEAST_SPREAD = 0.02  # cosine: a library of copies of one picture has none
_USUAL_SHARE = 0.01  # of a library's photos that a query means
_CERTAIN = 80.0  # log-odds: beyond them a float32 exponential overflows
_FEW = 30  # photos: of fewer, the model's own spread counts more than what was measured


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
    """What cosines of one model are worth.

    The log-odds of a photo are `bias` + `slope` · cosine · deviations, less `per_size` for each factor of e
    that the library is larger than the one it was measured on. `is_measured` is False for a model
    that nobody measured: it promises little.
    """

    bias: float
    slope: float
    per_size: float
    usual: Background  # of a typical query, in the library of the measurement
    is_measured: bool = True

    def probability(self, cosines: Cosines, background: Background) -> Cosines:
        """`float32[n]` in 0…1 for `cosines: float32[n]` of one query with photos of one space.

        Grows with the cosine; NaN stays NaN.
        """
        mean, spread = _blended(background, self.usual)
        cosines = np.asarray(cosines, np.float32)
        standing_out = np.maximum(cosines, 0) * np.maximum((cosines - mean) / spread, 0)
        larger = math.log(max(background.photos / self.usual.photos, 1.0))
        log_odds = self.bias + self.slope * standing_out - self.per_size * larger
        return _chances(log_odds)


@dataclasses.dataclass(frozen=True, slots=True)
class Contrastive:
    """What cosines are worth by what a dual encoder was trained with, where nobody measured it.

    By sigmoid (SigLIP): the log-odds that a text is the one of a training batch that belongs to a picture,
    corrected for there being more photos that fit. By softmax (CLIP): how much likelier the query is for a
    photo than for the library's photos in the mean, whose cosines are taken as normally distributed.
    """

    logits: Logits
    usual: Background  # of a typical query
    is_measured: bool = False

    def probability(self, cosines: Cosines, background: Background) -> Cosines:
        """As that of `Calibration`."""
        log_odds = self.logits.scale * np.asarray(cosines, np.float32) + _log_odds(_USUAL_SHARE)
        if self.logits.bias is not None:
            return _chances(log_odds + self.logits.bias + math.log(TRAINING_BATCH))
        mean, spread = _blended(background, self.usual)
        of_all = self.logits.scale * mean + (self.logits.scale * spread) ** 2 / 2
        return _chances(log_odds - of_all)


def _blended(background: Background, usual: Background) -> tuple[float, float]:
    """Mean and spread: the fewer photos were looked at, the more they are the usual ones."""
    share = background.sample / (background.sample + _FEW)
    mean = share * background.mean + (1 - share) * usual.mean
    spread = share * background.spread + (1 - share) * usual.spread
    return mean, max(spread, _LEAST_SPREAD)


def _chances(log_odds: Cosines) -> Cosines:
    certain = np.clip(log_odds, -_CERTAIN, _CERTAIN)
    chances: Cosines = (1.0 / (1.0 + np.exp(-certain))).astype(np.float32)
    return chances


def _log_odds(chance: float) -> float:
    return math.log(chance / (1 - chance))


def for_space(space: str, logits: Logits | None = None) -> Calibration | Contrastive:
    """The calibration of an embedding space, whose name starts with its model's and an "@".

    `logits`: what its text model says of itself, where it does.
    """
    model_id = space.partition("@")[0]
    if model_id in _MEASURED:
        return _MEASURED[model_id]
    logits = logits or logits_of_family(model_id)
    return Contrastive(logits, _USUAL_OF_CLIP) if logits else _UNKNOWN


# bench/bench_quality.py fit: 148 photos, 268 queries, a third of them for what no photo shows. Fitted on
# photos that no word finds, since what words find has its chance from them.
_MEASURED = {
    "efficientnet-lite0+conse-minilm": Calibration(-4.2, 1.65, 0.3, Background(0.05, 0.13, 1, 148)),
}
# A typical query of CLIP, until photos of the library are seen; after thirty of them it counts for half.
_USUAL_OF_CLIP = Background(0.19, 0.025, 1, 148)
_UNKNOWN = Calibration(-4.2, 1.65, 0.3, Background(0.05, 0.13, 1, 148), is_measured=False)

# How often a photo shows what was asked for when all words of the query are in the field. Of what models say
# it was measured (bench/bench_quality.py words); what people and cameras say is taken as read, a little short
# of certain for words of two meanings.
_FIELD_WORTH = {
    "keywords": 0.95,
    "people": 0.95,
    "place": 0.95,
    "caption": 0.9,
    "marks": 0.9,
    "camera": 0.9,
    "creator": 0.9,
    "objects": 0.9,
    "path": 0.85,
    "described": 0.75,  # an estimate: captions say what is in a picture, and now and then what is not
    "kinds": 0.75,
    "tags": 0.7,
    "text": 0.65,
}
_USUAL_WORTH = 0.7  # of a field that is not among them
# Half of the words: an eighth as likely, unless meaning says so, too (bench/bench_quality.py words).
_SHARE_EXPONENT = 3


def word_probability(fields: Collection[str], share: float = 1.0) -> float:
    """How likely a photo is meant in whose `fields` words of the query were found.

    `share` is how many of them were found, in 0…1. Several fields are as good as the best.
    """
    if not fields:
        return 0.0
    return max(_FIELD_WORTH.get(field, _USUAL_WORTH) for field in fields) * share_worth(share)


def share_worth(share: float) -> float:
    """Of all words together, what a share of them in 0…1 is worth."""
    return min(max(share, 0.0), 1.0) ** _SHARE_EXPONENT
