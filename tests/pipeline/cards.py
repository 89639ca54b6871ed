"""A GPU that is none: it counts bytes and has a clock of its own, so that what models do there is exact.

`Card` stands in for torch where the memory of a device is asked for; its models take memory and time of it.
"""

from __future__ import annotations

import dataclasses
import sys
import time
import types
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from catalogd.models.devices import Device
from catalogd.records import Output

GIB = 1 << 30


class Card:
    """Memory that runs out, and what happened."""

    def __init__(self, memory_gib: float) -> None:
        self.total = int(memory_gib * GIB)
        self.used = 0
        self.most_used = 0
        self.now = 0.0
        self.loaded: set[str] = set()
        self.log: list[tuple[str, str]] = []  # what, model
        self.cuda = types.SimpleNamespace(
            mem_get_info=lambda index: (self.total - self.used, self.total),
            memory_reserved=lambda index: 0,
            memory_allocated=lambda index: 0,
        )

    @property
    def device(self) -> Device:
        return Device("stub", 0, "stub card", self.total)

    def take(self, nbytes: int) -> None:
        if self.used + nbytes > self.total:
            raise MemoryError(f"{nbytes} bytes of {self.total - self.used}")
        self.used += nbytes
        self.most_used = max(self.most_used, self.used)

    def plug_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the pipeline ask this card for its memory, and its clock for the time."""
        monkeypatch.setitem(sys.modules, "torch", self)  # type: ignore[arg-type]
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr("catalogd.models.batches.Batch.prefetch", lambda batch: None)

    def times(self, what: str, name: str) -> int:
        return self.log.count((what, name))


@dataclasses.dataclass
class CardModel:
    """A model of a card."""

    name: str
    card: Card
    weights_gib: float = 1.0
    frame_gib: float = 0.0
    load_s: float = 2.0
    frame_s: float = 0.01
    broken: str = ""  # what `load` says
    runs: list[int] = dataclasses.field(default_factory=list)  # frames of each call that worked

    @property
    def fingerprint(self) -> str:
        return f"{self.name}@1"

    @property
    def device(self) -> Device:
        return self.card.device

    def load(self) -> None:
        if self.broken:
            raise RuntimeError(self.broken)
        self.card.take(int(self.weights_gib * GIB))
        self.card.now += self.load_s
        self.card.log.append(("load", self.name))
        self.card.loaded.add(self.name)

    def unload(self) -> None:
        self.card.used -= int(self.weights_gib * GIB)
        self.card.log.append(("unload", self.name))
        self.card.loaded.remove(self.name)

    def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
        assert self.name in self.card.loaded, "it is not loaded"
        working = int(self.frame_gib * GIB) * len(frames)
        self.card.take(working)
        self.card.used -= working
        self.card.now += self.frame_s * len(frames)
        self.card.log.append(("run", self.name))
        self.runs.append(len(frames))
        return [self.said_of(frame) for frame in frames]

    def said_of(self, frame: np.ndarray) -> Output:
        return Output(self.fingerprint, caption=f"{self.name} saw {int(frame[0, 0, 0])}")


def loader(*models: object) -> Callable[[Device], list[object]]:
    return lambda device: list(models)


def frames(count: int) -> list[np.ndarray]:
    """Small frames that can be told apart."""
    return [np.full((4, 6, 3), number % 256, np.uint8) for number in range(count)]
