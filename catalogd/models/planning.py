"""Which models stay in a device's memory, and which take turns there.

Numbers in, a plan out. All models stay when they fit together. Else some stay and the others come in
phases, each over all frames of a group, which is larger than a batch::

    group of frames ─▶ phase 1: those that stay, and A ─▶ phase 2: B and C ─▶ … ─▶ outputs
                       load A, every batch, unload A      load B and C, …

A model that does not stay is loaded once a group, in whichever phase it comes. So those stay that save most
loading, and a group is as long as it takes for loading to be a small share of the time.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Sequence

LOAD_SHARE = 0.05  # most of the time that goes to loading models again, where enough frames can wait
# What a plan leaves free: the allocator's fragments, and the libraries' own buffers that come and go.
RESERVE_SHARE = 0.06
RESERVE_BYTES = 300 << 20  # about what a CUDA context takes
_MOST_COMPARED = 12  # models of which every set is compared: 4096 of them, in milliseconds


@dataclasses.dataclass(frozen=True)
class Need:
    """What one model takes, as measured; 0 where nothing is known yet."""

    name: str
    weights_bytes: int = 0
    frame_bytes: int = 0  # working memory for each frame of a batch
    batch: int = 0  # most frames at once; 0: as many as the plan's batch
    load_s: float = 0.0
    frame_s: float = 0.0

    def working_bytes(self, batch: int) -> int:
        return self.frame_bytes * min(self.batch or batch, batch)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Who stays, who comes when, and how many frames go through the phases together."""

    phases: tuple[tuple[str, ...], ...]  # names that come in each, beside those that stay; () when all stay
    resident: frozenset[str]
    group: int  # frames
    load_share: float = 0.0  # of the time, that this group leaves to loading
    enough: int = 0  # frames of a group in which loading would take no more than `LOAD_SHARE`

    @property
    def all_stay(self) -> bool:
        return not self.phases


def usable_bytes(memory_bytes: int, taken_bytes: int) -> int:
    """What models may take of a device where others took `taken_bytes` before any was loaded."""
    reserve = max(RESERVE_BYTES, int(memory_bytes * RESERVE_SHARE))
    return max(0, memory_bytes - taken_bytes - reserve)


def plan(needs: Sequence[Need], usable: int, batch: int, most_group: int) -> Plan:
    """The plan for models in the order in which they run.

    `usable`: bytes of the device for models; 0 knows no limit. `most_group`: frames that may wait together.
    A model that alone needs more is planned alone: only trying tells whether it really does.
    """
    capped = [_capped(need, usable, batch) for need in needs]
    names = frozenset(need.name for need in needs)
    if not usable or _bytes_of(capped, batch) <= usable:
        return Plan((), names, batch)
    resident = _best_resident(capped, usable, batch)
    coming = [need for need in capped if need.name not in resident]
    staying = [need for need in capped if need.name in resident]
    load_s, frame_s = sum(need.load_s for need in coming), sum(need.frame_s for need in needs)
    enough = enough_frames(load_s, frame_s, batch)
    group = max(batch, min(enough or most_group, most_group // batch * batch))
    took = load_s + group * frame_s
    share = load_s / took if took else 0.0
    return Plan(_phases(coming, staying, usable, batch), resident, group, share, enough)


def enough_frames(load_s: float, frame_s: float, batch: int) -> int:
    """Whole batches, so many that loading is `LOAD_SHARE` of the time; 0 while the times are unknown."""
    if not frame_s:
        return 0
    batches = math.ceil(load_s * (1 - LOAD_SHARE) / LOAD_SHARE / frame_s / batch)
    return max(1, batches) * batch


def _capped(need: Need, usable: int, batch: int) -> Need:
    working = min(need.working_bytes(batch), usable)
    weights = min(need.weights_bytes, usable - working)
    frames = min(need.batch or batch, batch)
    return dataclasses.replace(need, weights_bytes=weights, frame_bytes=working // frames)


def _bytes_of(needs: Iterable[Need], batch: int) -> int:
    """Weights lie side by side; working memory is used by one model after the other."""
    needs = list(needs)
    working = max((need.working_bytes(batch) for need in needs), default=0)
    return sum(need.weights_bytes for need in needs) + working


def _best_resident(needs: Sequence[Need], usable: int, batch: int) -> frozenset[str]:
    """The set that leaves least to load and still has room for each of the others, one at a time."""
    candidates = sorted(needs, key=lambda need: -need.load_s)[:_MOST_COMPARED]
    best: frozenset[str] = frozenset()
    saved = (0.0, 0)
    for size in range(1, len(candidates) + 1):
        for some in itertools.combinations(candidates, size):
            gain = (sum(need.load_s for need in some), size)
            if gain > saved and _has_room(some, needs, usable, batch):
                best, saved = frozenset(need.name for need in some), gain
    return best


def _has_room(some: Collection[Need], needs: Sequence[Need], usable: int, batch: int) -> bool:
    names = {need.name for need in some}
    fullest = [[*some, other] for other in needs if other.name not in names] or [list(some)]
    return all(_bytes_of(loaded, batch) <= usable for loaded in fullest)


def _phases(
    coming: Sequence[Need], staying: Sequence[Need], usable: int, batch: int
) -> tuple[tuple[str, ...], ...]:
    """As few as keep the order: a model may depend on what an earlier one found."""
    phases: list[list[Need]] = []
    for need in coming:
        if phases and _bytes_of([*staying, *phases[-1], need], batch) <= usable:
            phases[-1].append(need)
        else:
            phases.append([need])
    return tuple(tuple(need.name for need in phase) for phase in phases)
