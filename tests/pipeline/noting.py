"""Models that write down where they ran, for tests whose models are in other processes."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from catalogd.errors import ModelError
from catalogd.models.devices import CPU, Device
from catalogd.records import Output

LEFT, RIGHT = Device("stub", 0, "left"), Device("stub", 1, "right")


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What the model of a device does."""

    frame_s: float = 0.002
    loads: str = "well"  # "badly": it says so; "deadly": its process ends
    fails: bool = False
    load_s: float = 0.0


class NotingModel:
    name = "noting"
    fingerprint = "noting@1"

    def __init__(self, journal: str, device: Device, behaviour: Behaviour) -> None:
        self.journal, self.device, self.behaviour = journal, device, behaviour

    def note(self, what: str, frames: int = 0, first: int = 0) -> None:
        line = f"{what} {self.device.name} {os.getpid()} {frames} {first}\n"
        with open(self.journal, "a") as stream:
            stream.write(line)

    def load(self) -> None:
        if self.behaviour.loads == "badly":
            raise ModelError(f"no memory on {self.device.name}")
        if self.behaviour.loads == "deadly":
            os._exit(7)
        time.sleep(self.behaviour.load_s)
        self.note("load")

    def unload(self) -> None: ...

    def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
        self.note("run", len(frames), int(frames[0][0, 0, 0]))
        time.sleep(self.behaviour.frame_s * len(frames))
        if self.behaviour.fails:
            raise RuntimeError("the device is lost")
        self.note("done", len(frames), int(frames[0][0, 0, 0]))
        return [Output(self.fingerprint, caption=str(frame[0, 0, 0])) for frame in frames]


class Steady(NotingModel):
    """Another one, that always works, on the CPU."""

    name = "steady"
    fingerprint = "steady@1"

    def __init__(self, journal: str) -> None:
        super().__init__(journal, CPU, Behaviour())


def _load(journal: str, behaviours: dict[str, Behaviour], beside: bool, device: Device) -> list[NotingModel]:
    models = [NotingModel(journal, device, behaviours.get(device.name, Behaviour()))]
    return [*models, Steady(journal)] if beside else models


def models(journal: Path, beside: bool = False, **behaviours: Behaviour) -> Callable[[Device], list[object]]:
    """Something picklable that makes the model of a device; `behaviours` by the device's name."""
    return functools.partial(_load, str(journal), behaviours, beside)  # type: ignore[return-value]


def noted(journal: Path, what: str) -> list[tuple[str, str, int, int]]:
    """device or model, pid or so, frames, and which was the first, of each line."""
    lines = [line.split() for line in journal.read_text().splitlines()]
    return [(line[1], line[2], int(line[3]), int(line[4])) for line in lines if line[0] == what]
