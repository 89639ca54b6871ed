"""Which shot of a moment is best, and why.

A person's word comes first: a rejected shot is last, more stars go before fewer. Then a weighted mean of
signals of 0…1 each, `SIGNALS`. A signal counts only where every shot of the moment has it, and most of
them are measured against the best of the moment: how sharp a foggy morning can be is told by its own shots.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from catalogd.culling.shots import TILES, Shot
from catalogd.records import Box, Face, Facts

# Weights of the mean. Sharpness and exposure: bench/bench_culling.py; those of faces are a judgement.
SUBJECT, WHOLE, EXPOSURE, FACES, EYES, DAMAGE, AESTHETICS = (
    "sharpness on the subject",
    "sharpness",
    "exposure",
    "faces",
    "open eyes",
    "damage",
    "aesthetics",
)
WEIGHTS = {SUBJECT: 4.0, WHOLE: 1.0, EXPOSURE: 2.0, FACES: 2.0, EYES: 3.0, DAMAGE: 1.0, AESTHETICS: 2.0}

LABELLED_STARS = 0.5  # who labelled a shot has looked at it, and gave it no star
REJECTED = -1
LARGE_FACE = 0.25  # of the area of the largest: the others are passers-by
SHARP_TILES = 0.5  # of a subject's tiles, the sharpest ones: boxes hold background too
CENTRE = slice(TILES // 4, TILES - TILES // 4)
TILE_SCALE = 2.55
LIKELY_OBJECT = 0.4  # score of a detection; below, half of them are wrong
# Light lost in a share of the picture e-folds what an exposure is worth. Highlights are gone for good,
# shadows may be meant; the mean luma of a well exposed picture is in between.
HIGHLIGHTS_LOST, SHADOWS_LOST = 0.05, 0.15
LIGHT_SLACK = 0.2  # of that: blur alone takes small lights away
DARK, BRIGHT, LUMA_REACH = 0.2, 0.75, 0.15
AS_SHARP = 0.95  # of the best's sharpness: more light and noise add as much
CLIPPED_TOLD = 0.01  # share of pixels that is worth a reason
SOFT = 0.75  # of the best's sharpness, below which a shot is called soft
CLEAR = 1.05  # times the next one's sharpness is a lead worth telling
CLOSE = 0.02  # of the score, below which two shots are as good


class Ranked(NamedTuple):
    """A shot in the order of its moment."""

    shot: Shot
    stars: float  # a person's: REJECTED, 0 … 5
    score: float  # 0…1
    signals: dict[str, float]
    reasons: tuple[str, ...]


class _Look(NamedTuple):
    """What was measured of one shot."""

    shot: Shot
    subject: float  # 0…100, NaN: not measured
    whole: float


Measure = Callable[[Sequence[_Look]], list[float]]  # 0…1 of each shot; NaN where it is not known


def rank(shots: Sequence[Shot]) -> list[Ranked]:
    """The shots of one moment, the best first; of equals the first taken."""
    subject, sharpness = subject_sharpness(shots)
    looks = [
        _Look(shot, value, shot.quality.sharpness if shot.quality else math.nan)
        for shot, value in zip(shots, sharpness, strict=True)
    ]
    signals = _signals(looks)
    scores = [_score(one) for one in signals]
    order = sorted(range(len(shots)), key=lambda i: (-stars(shots[i].photo.facts), -scores[i], i))
    said = _Reasons(subject, [looks[i] for i in order], [scores[i] for i in order])
    return [
        Ranked(shots[i], stars(shots[i].photo.facts), scores[i], signals[i], tuple(said.of(place)))
        for place, i in enumerate(order)
    ]


def stars(facts: Facts) -> float:
    """What a person said of it: REJECTED, 0 for nothing, LABELLED_STARS for a label, 1 to 5."""
    if facts.rating:
        return float(facts.rating)
    return LABELLED_STARS if facts.label else 0.0


# -- signals ---------------------------------------------------------------------------------------


def _signals(looks: Sequence[_Look]) -> list[dict[str, float]]:
    """Of each shot the signals that all of them have."""
    found: list[dict[str, float]] = [{} for _ in looks]
    for name, measure in SIGNALS.items():
        values = measure(looks)
        if not any(map(math.isnan, values)):
            for signals, value in zip(found, values, strict=True):
                signals[name] = round(value, 4)
    return found


def _score(signals: dict[str, float]) -> float:
    weight = sum(WEIGHTS[name] for name in signals)
    return round(sum(WEIGHTS[name] * value for name, value in signals.items()) / weight, 4) if weight else 0.0


def _of_best(values: Sequence[float]) -> list[float]:
    """Each against the best; who comes near it is as good."""
    enough = AS_SHARP * max(values)
    return [value if math.isnan(value) else 1.0 if value >= enough else value / enough for value in values]


def _exposure(looks: Sequence[_Look]) -> list[float]:
    """Against the shot of the moment that lost least: a lamp in the picture is clipped in all of them."""
    lost = [_light_lost(look.shot) for look in looks]
    if any(map(math.isnan, lost)):
        return lost
    least = min(lost) + LIGHT_SLACK
    return [math.exp(min(0.0, least - one)) for one in lost]


def _light_lost(shot: Shot) -> float:
    """0 for a good exposure, 1 for what makes it worth e times less; NaN where nobody measured."""
    quality = shot.quality
    if quality is None:
        return math.nan
    clipped = quality.clipped_high / HIGHLIGHTS_LOST + quality.clipped_low / SHADOWS_LOST
    return clipped + max(DARK - quality.brightness, quality.brightness - BRIGHT, 0.0) / LUMA_REACH


def _faces(looks: Sequence[_Look]) -> list[float]:
    """How many faces are seen, and how well: turned away or covered ones are not found, or of low quality."""
    sums = [sum(face.quality for face in look.shot.faces) for look in looks]
    return [max(0.0, 1 - (max(sums) - one)) if any(sums) else math.nan for one in sums]


def _eyes(looks: Sequence[_Look]) -> list[float]:
    return [_mean([_eyes_open(face) for face in look.shot.faces]) for look in looks]


def _eyes_open(face: Face) -> float:
    """0…1 where the profile's model of faces tells it. The starter profile's five points don't."""
    value = getattr(face, "eyes_open", None)
    return math.nan if value is None else float(value)


def _damage(look: _Look) -> float:
    quality = look.shot.quality
    return math.nan if quality is None or quality.brisque is None else 1 - quality.brisque / 100


def _aesthetics(look: _Look) -> float:
    """0…1 where the profile has such a model; the starter profile has none."""
    value = getattr(look.shot.quality, "aesthetics", None)
    return math.nan if value is None else float(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


SIGNALS: dict[str, Measure] = {
    SUBJECT: lambda looks: _of_best([look.subject for look in looks]),
    WHOLE: lambda looks: _of_best([look.whole for look in looks]),
    EXPOSURE: _exposure,
    FACES: _faces,
    EYES: _eyes,
    DAMAGE: lambda looks: list(map(_damage, looks)),
    AESTHETICS: lambda looks: list(map(_aesthetics, looks)),
}


# -- the subject -----------------------------------------------------------------------------------


def subject_sharpness(shots: Sequence[Shot]) -> tuple[str, list[float]]:
    """What the subject of these shots is, and how sharp it is in each, 0…100; NaN where nobody measured.

    The same kind of thing is compared in all of them: faces where all have some, else an object that was
    found in all, else the centre.
    """
    if any(shot.tiles is None for shot in shots):
        return "", [shot.quality.sharpness if shot.quality else math.nan for shot in shots]
    subject, boxes = _subject(shots)
    return subject, [_sharpness_in(shot, own) for shot, own in zip(shots, boxes, strict=True)]


def _subject(shots: Sequence[Shot]) -> tuple[str, list[list[Box]]]:
    if all(shot.faces for shot in shots):
        faces = [_large([face.box for face in shot.faces]) for shot in shots]
        return ("the face" if max(map(len, faces)) == 1 else "the faces"), faces
    common = set.intersection(*(_objects(shot) for shot in shots))
    if common:
        name = max(sorted(common), key=lambda name: sum(_area(_object(shot, name)) for shot in shots))
        return f"the {name}", [[_object(shot, name)] for shot in shots]
    return "the centre", [[] for _ in shots]


def _objects(shot: Shot) -> set[str]:
    return {found.name for found in shot.objects if found.score >= LIKELY_OBJECT}


def _object(shot: Shot, name: str) -> Box:
    """The largest box of this name."""
    return max((found.box for found in shot.objects if found.name == name), key=_area)


def _large(boxes: Sequence[Box]) -> list[Box]:
    least = LARGE_FACE * max(map(_area, boxes))
    return [box for box in boxes if _area(box) >= least]


def _area(box: Box) -> float:
    return box[2] * box[3]


def _sharpness_in(shot: Shot, boxes: Sequence[Box]) -> float:
    """0…100: of each box the sharper half of its tiles; without boxes the sharpest quarter of the centre."""
    tiles = shot.tiles
    assert tiles is not None
    if not boxes:
        return _sharpest(tiles[CENTRE, CENTRE].ravel(), 0.25)
    return _mean([_sharpest(tiles[_tiles_of(box)].ravel(), SHARP_TILES) for box in boxes])


def _tiles_of(box: Box) -> tuple[slice, slice]:
    """The tiles that a box touches with more than a corner; at least the one that its middle is in."""
    return _span(box[1], box[3]), _span(box[0], box[2])


def _span(start: float, length: float) -> slice:
    first, last = math.floor(start * TILES + 0.5), math.ceil((start + length) * TILES - 0.5)
    if last <= first:
        first = min(max(int((start + length / 2) * TILES), 0), TILES - 1)
        last = first + 1
    first = min(max(first, 0), TILES - 1)
    return slice(first, min(max(last, first + 1), TILES))


def _sharpest(values: np.ndarray[tuple[int], np.dtype[np.uint8]], share: float) -> float:
    count = max(1, round(share * len(values)))
    return float(np.sort(values)[-count:].mean()) / TILE_SCALE


# -- reasons ---------------------------------------------------------------------------------------


class _Reasons:
    """What is told of the shots of a moment, each against the best, and the best against the next."""

    def __init__(self, subject: str, looks: Sequence[_Look], scores: Sequence[float]) -> None:
        """All of them in their order."""
        self._where = f" on {subject}" if subject else ""
        self._looks = looks
        self._scores = scores
        self._most_faces = max(len(look.shot.faces) for look in looks)
        self._least_high = min(look.shot.quality.clipped_high if look.shot.quality else 0.0 for look in looks)
        self._least_low = min(look.shot.quality.clipped_low if look.shot.quality else 0.0 for look in looks)

    def of(self, place: int) -> Iterator[str]:
        look = self._looks[place]
        yield from self._owners(look.shot.photo.facts)
        if len(self._looks) == 1:
            yield "the only one of its moment"
            return
        yield from self._sharpness(place, look)
        yield from self._light(look)
        yield from self._seen(look)
        if place > 0 and abs(self._scores[0] - self._scores[place]) < CLOSE:
            yield "as good as the best, as far as can be measured"

    def _owners(self, facts: Facts) -> Iterator[str]:
        if facts.rating == REJECTED:
            yield "rejected by you"
        elif facts.rating:
            yield f"rated {facts.rating}"
        if facts.label:
            yield f"labelled {facts.label}"

    def _sharpness(self, place: int, look: _Look) -> Iterator[str]:
        others = [other.subject for other in self._looks if other is not look]
        if math.isnan(look.subject) or any(map(math.isnan, others)):
            return
        best = max(others)
        if look.subject >= CLEAR * best:
            yield f"sharpest{self._where} ({look.subject:.0f}, next {best:.0f})"
        elif look.subject < SOFT * best:
            yield f"soft{self._where}: {look.subject:.0f} against {best:.0f}"
        elif place == 0:
            yield f"sharp{self._where} ({look.subject:.0f}, sharpest {max(best, look.subject):.0f})"

    def _light(self, look: _Look) -> Iterator[str]:
        quality = look.shot.quality
        if quality is None:
            return
        if quality.clipped_high >= max(CLIPPED_TOLD, 1.5 * self._least_high):
            yield f"highlights clipped {quality.clipped_high:.0%}"
        if quality.clipped_low >= max(CLIPPED_TOLD, 1.5 * self._least_low):
            yield f"shadows clipped {quality.clipped_low:.0%}"
        if not DARK <= quality.brightness <= BRIGHT:
            yield "dark" if quality.brightness < DARK else "bright"

    def _seen(self, look: _Look) -> Iterator[str]:
        count = len(look.shot.faces)
        if count < self._most_faces:
            yield f"{count} of {self._most_faces} faces seen"
