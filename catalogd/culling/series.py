"""Shots that belong together as one work and are all kept: brackets, panoramas and focus stacks.

Each is told by what the photographer did, not by looks alone: a bracket by its steps of exposure, a focus
stack by where the sharp part wanders while nothing else changes, a panorama by the camera's steady turn.
docs/culling.md has the rules.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.culling.alignment import Outline, Shift
from catalogd.culling.shots import Shot
from catalogd.models.signature import FLAT

BRACKET, FOCUS_STACK, PANORAMA = "bracket", "focus stack", "panorama"

BRACKET_FRAMES = (9, 7, 5, 3)  # what cameras offer
BRACKET_PAUSE_S = 2.0  # besides the exposure itself: a tripod and a finger
BRACKET_STEP_EV = 0.6  # 2/3 EV, as times are rounded
EVEN_EV = 0.35  # by which the steps of a bracket differ: 1/40 s is written for 1/32
LIKE_EV = 0.05  # of one exposure: what rounding leaves
LEAST_FRAMES = 3  # of panoramas and focus stacks
STACK_FRAMES = 200  # at most, what cameras take in one go
STACK_PAUSE_S = 10.0
# Of the tiles with some detail, so many lose half of their sharpness over a focus stack, and rise and fall
# once; a burst with something that moves changes a few, one that shakes changes all at the same time.
STACK_TILES = 0.6
STACK_SWING = 0.5
STACK_DETAIL = 38  # of 255: 15 of 100
STACK_SLACK = 0.12  # of a tile's best, by which noise bends its rise and fall
STACK_SHIFT = 0.06  # of the frame: focusing breathes
STACK_SCORE = 0.15
TURN_PAUSE_S = 20.0
TURN_EV = 0.5  # a camera that meters each frame of a panorama still changes little
TURN_BITS = 30  # of 256 of the signatures: frames of one burst differ by fewer
TURN_LEAST, TURN_MOST = 0.1, 0.85  # of the frame: each adds something, and overlaps
# Overlapping frames correlate by 0.7 and more, 95 of 100 pairs of other pictures by less than 0.38
# (bench/bench_culling.py).
TURN_SCORE = 0.45
TURN_ACROSS = 0.15  # of the frame: the steps of a turn leave its line by less
TURN_EVEN = 2.5  # times the smallest step is the largest
TURN_LEAST_DEG, TURN_MOST_DEG = 4.0, 60.0  # where the camera knows its direction

Outlines = Callable[[Shot], Outline | None]  # None: the picture can't be seen now


class Series(NamedTuple):
    """Shots that are kept together."""

    kind: str  # BRACKET, FOCUS_STACK, PANORAMA
    members: tuple[int, ...]  # the photo_ids of their covers, by time

    @property
    def words(self) -> str:
        return f"{self.kind} of {len(self.members)}: keep all"


def find_series(shots: Sequence[Shot], outlines: Outlines) -> list[Series]:
    """The series among `shots`, which are by camera and time; no shot is in two."""
    found: list[Series] = []
    for run in _runs(shots, _may_be_series):
        if len(run) >= LEAST_FRAMES:
            found += _of_run(run, outlines)
    return found


def _of_run(run: Sequence[Shot], outlines: Outlines) -> Iterator[Series]:
    rest = list(run)
    for kind, find in ((BRACKET, _brackets), (FOCUS_STACK, _focus_stacks), (PANORAMA, _panoramas)):
        for members in find(rest, outlines):
            yield Series(kind, tuple(shot.photo.photo_id for shot in members))
            taken = {id(shot) for shot in members}
            rest = [shot for shot in rest if id(shot) not in taken]


def _runs(shots: Sequence[Shot], follows: Callable[[Shot, Shot], bool]) -> Iterator[list[Shot]]:
    """`shots` cut wherever the next one does not follow."""
    run: list[Shot] = []
    for shot in shots:
        if run and not follows(run[-1], shot):
            yield run
            run = []
        run.append(shot)
    if run:
        yield run


def _may_be_series(a: Shot, b: Shot) -> bool:
    return a.camera == b.camera and a.framing == b.framing and _pause(a, b) <= TURN_PAUSE_S


def _pause(a: Shot, b: Shot) -> float:
    """Seconds from the end of one exposure to the other, roughly; infinite where that is not known."""
    pause = b.taken_s - a.taken_s - (a.photo.facts.exposure_s or 0.0)
    return math.inf if math.isnan(pause) else pause


# -- brackets --------------------------------------------------------------------------------------


def _brackets(shots: Sequence[Shot], outlines: Outlines) -> Iterator[list[Shot]]:
    at = 0
    while at < len(shots):
        lengths = (count for count in BRACKET_FRAMES if _is_bracket(shots[at : at + count], count))
        length = next(lengths, 0)
        if length:
            yield list(shots[at : at + length])
        at += length or 1


def _is_bracket(shots: Sequence[Shot], count: int) -> bool:
    """Whether these shots are one frame at exposures of even steps."""
    if len(shots) != count or any(_pause(a, b) > BRACKET_PAUSE_S for a, b in itertools.pairwise(shots)):
        return False
    levels = sorted(_levels(shots))
    steps = np.diff(levels)
    return bool(levels) and bool(steps.min() >= BRACKET_STEP_EV) and bool(np.ptp(steps) <= EVEN_EV)


def _levels(shots: Sequence[Shot]) -> list[float]:
    """The exposures in EV: what was dialled in where the camera tells it, else what came of it."""
    dialled = [shot.photo.facts.exposure_bias_ev for shot in shots]
    told = [level for level in dialled if level is not None]
    if len(told) == len(shots) and len(set(told)) > 1:
        return told
    measured = [shot.exposure_ev for shot in shots]
    return [] if any(map(math.isnan, measured)) else measured


# -- focus stacks ----------------------------------------------------------------------------------


def _focus_stacks(shots: Sequence[Shot], outlines: Outlines) -> Iterator[list[Shot]]:
    """Runs of one exposure, whole or in the parts to either side of their longest pause, and so on."""
    waiting = [run for run in _runs(shots, _may_be_stack) if len(run) >= LEAST_FRAMES]
    while waiting:
        run = waiting.pop()
        if len(run) <= STACK_FRAMES and _is_focus_stack(run, outlines):
            yield run
        else:
            waiting += [part for part in _halves(run) if len(part) >= LEAST_FRAMES]


def _halves(run: Sequence[Shot]) -> list[list[Shot]]:
    """The shots before and after the longest pause; nothing when all pauses are the same."""
    pauses = np.diff([shot.taken_s for shot in run])
    cut = int(np.argmax(pauses)) + 1
    return [list(run[:cut]), list(run[cut:])] if np.ptp(pauses) > 0 else []


def _may_be_stack(a: Shot, b: Shot) -> bool:
    same_light = abs(a.exposure_ev - b.exposure_ev) <= LIKE_EV
    same_settings = a.photo.facts.aperture == b.photo.facts.aperture
    return same_light and same_settings and _pause(a, b) <= STACK_PAUSE_S and a.tiles is not None


def _is_focus_stack(run: Sequence[Shot], outlines: Outlines) -> bool:
    tiles = [shot.tiles for shot in run]
    if any(tile is None for tile in tiles):
        return False
    if not _focus_wanders(np.stack([tile for tile in tiles if tile is not None])):
        return False
    shifts = [_shift(a, b, outlines) for a, b in itertools.pairwise(run)]
    return all(
        shift is not None and shift.length <= STACK_SHIFT and shift.score >= STACK_SCORE for shift in shifts
    )


def _focus_wanders(tiles: npt.NDArray[np.uint8]) -> bool:
    """Whether each part of the frame has its turn to be sharp. `tiles: uint8[n, 8, 8]`, by time."""
    curves = tiles.reshape(len(tiles), -1).astype(np.float64)
    best = curves.max(axis=0)
    detailed = best >= STACK_DETAIL
    if np.count_nonzero(detailed) < LEAST_FRAMES:
        return False
    curves = curves[:, detailed] / best[detailed]
    peaks = curves.argmax(axis=0)
    wandering = (curves.min(axis=0) <= 1 - STACK_SWING) & _rise_and_fall(curves, peaks)
    some = np.bincount(peaks[wandering], minlength=len(tiles)) > 0
    is_most = np.mean(wandering) >= STACK_TILES
    return bool(is_most and np.count_nonzero(some) >= LEAST_FRAMES)


def _rise_and_fall(curves: npt.NDArray[np.float64], peaks: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """bool[m]: which columns of float64[n, m] rise to their peak and fall after it."""
    steps = np.diff(curves, axis=0)
    before = np.arange(len(steps))[:, None] < peaks
    against = np.where(before, -steps, steps).max(axis=0)
    right: npt.NDArray[np.bool_] = np.less_equal(against, STACK_SLACK)
    return right


# -- panoramas -------------------------------------------------------------------------------------


def _panoramas(shots: Sequence[Shot], outlines: Outlines) -> Iterator[list[Shot]]:
    for run in _runs(shots, _may_turn):
        if len(run) >= LEAST_FRAMES:
            yield from _turns_in(run, [_step(a, b, outlines) for a, b in itertools.pairwise(run)])


def _may_turn(a: Shot, b: Shot) -> bool:
    apart = abs(a.exposure_ev - b.exposure_ev)
    return not apart > TURN_EV and _pause(a, b) <= TURN_PAUSE_S and _differ(a, b)


def _differ(a: Shot, b: Shot) -> bool:
    """Whether the frames show two things: most shots of a burst don't, and need no look."""
    if FLAT in (a.photo.signature, b.photo.signature):
        return True
    bits = int.from_bytes(a.photo.signature, "big") ^ int.from_bytes(b.photo.signature, "big")
    return bits.bit_count() >= TURN_BITS


def _turns_in(run: Sequence[Shot], steps: Sequence[Shift | None]) -> Iterator[list[Shot]]:
    """Cut into parts whose steps go one way."""
    start = 0
    for end in range(1, len(steps) + 1):
        if end == len(steps) or not _goes_on(steps[start:end], steps[end]):
            if end - start + 1 >= LEAST_FRAMES and all(steps[start:end]):
                yield list(run[start : end + 1])
            start = end


def _goes_on(former: Sequence[Shift | None], step: Shift | None) -> bool:
    """Whether `step` goes the way of the former ones, as far."""
    known = [one for one in former if one is not None]
    if step is None or not known:
        return False
    across, down = (float(np.mean([one[axis] for one in known])) for axis in (0, 1))
    length = math.hypot(across, down)
    along = (step.across * across + step.down * down) / length
    aside = abs(step.across * down - step.down * across) / length
    lengths = [one.length for one in (*known, step)]
    return along > 0 and aside <= TURN_ACROSS and max(lengths) <= TURN_EVEN * min(lengths)


def _step(a: Shot, b: Shot, outlines: Outlines) -> Shift | None:
    """By how much of a frame the camera turned: as the pictures show it, else as its compass says."""
    shift = _shift(a, b, outlines)
    if shift is not None and shift.score >= TURN_SCORE and TURN_LEAST <= shift.length <= TURN_MOST:
        return shift
    return _turn(a.photo.facts.direction_deg, b.photo.facts.direction_deg)


def _turn(a: float | None, b: float | None) -> Shift | None:
    if a is None or b is None:
        return None
    turned = (b - a + 180) % 360 - 180
    is_turn = TURN_LEAST_DEG <= abs(turned) <= TURN_MOST_DEG
    return Shift(-turned / TURN_MOST_DEG, 0.0, 1.0) if is_turn else None


def _shift(a: Shot, b: Shot, outlines: Outlines) -> Shift | None:
    first, second = outlines(a), outlines(b)
    return None if first is None or second is None else first.shift_to(second)
