"""Which shots are of one moment: those of one camera that follow each other soon and look alike.

How soon is told by the pace of the moment itself, and how much alike by the pause: what follows within a
second may be blurred or half turned away and still is the same, a minute later it must look the same.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from catalogd.culling.likeness import Embeddings, Vector, cosine
from catalogd.culling.series import Series
from catalogd.culling.shots import Shot
from catalogd.duplicates.grouping import components

LONGEST_PAUSE_S = 60.0  # to wait for a smile; after more, a person has looked elsewhere
LEAST_PAUSE_S = 10.0  # that never ends a moment by its pace alone
PACE = 6.0  # times the moment's usual pause is a pause that ends it
UNSEEN_PAUSE_S = 2.0  # without embeddings: what a burst of the time line allows
# Cosines of the starter profile (bench/bench_culling.py): 95 of 100 next shots have 0.76 and more, those
# blurred by 3 px of 640 0.46; 99 of 100 unrelated photos have less than 0.44.
ALIKE_AT_ONCE = 0.5
ALIKE_LATER = 0.7  # after LONGEST_PAUSE_S
ALIKE_ALL = 0.5  # to the mean of the moment, so that a slow turn does not make a chain
_RECENT = 3  # shots that the next one may be like: one of them may be blurred


class _Moment:
    """A moment that may go on."""

    def __init__(self) -> None:
        self.shots: list[Shot] = []
        self._pauses: list[float] = []
        self._recent: collections.deque[Vector] = collections.deque(maxlen=_RECENT)
        self._sum: Vector | None = None

    def add(self, shot: Shot, vector: Vector | None) -> None:
        if self.shots:
            self._pauses.append(shot.taken_s - self.shots[-1].taken_s)
        self.shots.append(shot)
        if vector is not None:
            self._recent.append(vector)
            self._sum = vector if self._sum is None else self._sum + vector

    def goes_on_with(self, shot: Shot, vector: Vector | None) -> bool:
        """Whether `shot`, the next one by time, is of this moment too."""
        last = self.shots[-1]
        if shot.camera != last.camera:
            return False
        if shot.burst and shot.burst == last.burst:
            return True
        pause = shot.taken_s - last.taken_s
        if math.isnan(pause) or pause > self._longest_pause():
            return False
        return self._is_like(vector, pause)

    def _longest_pause(self) -> float:
        if not self._pauses:
            return LONGEST_PAUSE_S
        return min(LONGEST_PAUSE_S, max(LEAST_PAUSE_S, PACE * float(np.median(self._pauses))))

    def _is_like(self, vector: Vector | None, pause: float) -> bool:
        if vector is None or self._sum is None:
            return pause <= UNSEEN_PAUSE_S
        least = ALIKE_AT_ONCE + (ALIKE_LATER - ALIKE_AT_ONCE) * pause / LONGEST_PAUSE_S
        mean = self._sum / np.float32(max(float(np.linalg.norm(self._sum)), 1e-9))
        return max(cosine(former, vector) for former in self._recent) >= least and (
            cosine(mean, vector) >= ALIKE_ALL
        )


def moments(shots: Sequence[Shot], series: Sequence[Series], embeddings: Embeddings) -> list[list[Shot]]:
    """Every shot in exactly one moment, by its first shot. `shots` are by camera and time (`shots_of`).

    Whatever they look like, the shots of one burst of the time line, and of one series, are of one moment.
    """
    by_id = {shot.photo.photo_id: number for number, shot in enumerate(shots)}
    pairs = itertools.chain(
        _following(shots, embeddings),
        _of_bursts(shots),
        (pair for one in series for pair in itertools.pairwise(by_id[i] for i in one.members)),
    )
    return [[shots[number] for number in group] for group in components(pairs)]


def _following(shots: Sequence[Shot], embeddings: Embeddings) -> Iterator[tuple[int, int]]:
    """Each shot with the one before it when their moment goes on, else with itself."""
    current = _Moment()
    for number, shot in enumerate(shots):
        vector = embeddings.vector(shot)
        goes_on = number > 0 and current.goes_on_with(shot, vector)
        if not goes_on:
            current = _Moment()
        current.add(shot, vector)
        yield (number - 1 if goes_on else number), number


def _of_bursts(shots: Sequence[Shot]) -> Iterator[tuple[int, int]]:
    last: dict[int, int] = {}
    for number, shot in enumerate(shots):
        if shot.burst:
            yield last.get(shot.burst, number), number
            last[shot.burst] = number
