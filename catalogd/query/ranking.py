"""Rankings of photos, and several of them fused into one.

Fusion is by reciprocal rank (Cormack, Clarke and Büttcher 2009): scores of different searches can't be
compared, ranks can. A photo counts in a ranking with weight / (60 + rank), its rank being one more than the
number of photos that score higher there. So photos that a search can't tell apart share a rank, and the other
searches decide between them: half a library may hold the same tag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.vectors import union

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RRF_K = 60  # the paper's constant: how much the first ranks outweigh the next


class Ranking(NamedTuple):
    """What one search says of photos: their scores, in no order.

    `sample` holds the scores of some of all `photos` that were searched, picked blindly: from them the ranks
    are guessed of photos below the best, which are all that a search tells of itself.
    """

    name: str  # of its Signal
    ids: Ids
    scores: Floats
    sample: Floats = np.empty(0)
    photos: int = 0
    told: float = -np.inf  # the lowest score that the search told by itself: above it ranks are exact
    known: Floats = np.empty(0)  # ascending: the scores of all photos that it found, where it told them

    def scores_of(self, ids: Ids) -> Floats:
        """float64[n], NaN where the search knows nothing of a photo."""
        found = np.full(len(ids), np.nan)
        if len(self.ids):
            order = np.argsort(self.ids)
            at = np.minimum(np.searchsorted(self.ids, ids, sorter=order), len(order) - 1)
            known = self.ids[order[at]] == ids
            found[known] = self.scores[order[at[known]]]
        return found

    def ranks_of(self, scores: Floats) -> Floats:
        """float64[n]: the rank that each score has; NaN stays NaN."""
        if len(self.known):
            ranks = _above(self.known, scores) + 1.0
        else:
            ranks = _above(np.sort(self.scores), scores) + 1.0
        if len(self.sample) and self.photos > len(self.ids):
            ranks = np.where(scores < self.told, self._guessed(scores), ranks)
        ranks[np.isnan(scores)] = np.nan
        return np.asarray(ranks, float)

    def _guessed(self, scores: Floats) -> Floats:
        """Ranks of scores below `told`, on the line between what was told and the ranks in the sample."""
        lower = np.sort(self.sample[self.sample < self.told])[::-1]
        places = len(self.sample) - len(lower) + np.arange(len(lower)) + 0.5
        last = float(np.count_nonzero(self.scores >= self.told))
        known = np.append(self.told, lower)
        ranks = np.maximum.accumulate(np.append(last, places * (self.photos / len(self.sample))))
        guessed: Floats = np.exp(np.interp(-scores, -known, np.log(np.maximum(ranks, 1.0))))
        return guessed


class Fused(NamedTuple):
    """Photos by several rankings, best first."""

    ids: Ids
    values: Floats  # 0…1; 1 is first in every ranking that found anything


def fuse(rankings: Sequence[Ranking], weights: Mapping[str, float]) -> Fused:
    """All photos of all rankings. `weights` by ranking name; one that is not there counts 1."""
    found = [ranking for ranking in rankings if len(ranking.ids)]
    if not found:
        return Fused(np.empty(0, np.int64), np.empty(0))
    ids = union(np.concatenate([ranking.ids for ranking in found]))
    values = np.zeros(len(ids))
    best = 0.0
    for ranking in found:
        weight = weights.get(ranking.name, 1.0)
        ranks = ranking.ranks_of(ranking.scores_of(ids))
        values += np.nan_to_num(weight / (RRF_K + ranks))
        best += weight / (RRF_K + 1)
    order = np.lexsort((ids, -values))
    return Fused(ids[order], values[order] / best if best else values)


def by_place(count: int) -> Floats:
    """float64[n]: what photos that were put in order by something else are worth beside fused ones."""
    value: Floats = (RRF_K + 1) / (RRF_K + np.arange(1.0, count + 1))
    return value


def _above(ordered: Floats, scores: Floats) -> Floats:
    """How many of the ascending scores are higher than each of `scores`."""
    counts: Floats = (len(ordered) - np.searchsorted(ordered, scores, side="right")).astype(float)
    return counts
