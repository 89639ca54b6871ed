"""Stand-ins handed to child processes by tests: decoders that misbehave, models that are exact.

A stub photo is a file whose name says what its decoder does; its content is one line, `r g b`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from catalogd.errors import ChangedError, UnreadableError
from catalogd.images import READ_VERSION, Reading, fingerprint_file
from catalogd.models.devices import CPU, Device
from catalogd.records import Facts, Output, Stat, Tag

SIZE = (24, 32)
DEADLY = (13, 13, 13)  # the colour that kills the inference process
HANGING = (14, 14, 14)
RAISING = (15, 15, 15)


def write_photo(folder: Path, name: str, colour: tuple[int, int, int] = (200, 100, 50)) -> bytes:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join(str(level) for level in colour))
    return os.fsencode(path)


def _segfault() -> None:
    ctypes.string_at(0)


def _eat_memory() -> None:
    np.ones(64 << 30, np.uint8)


def _flood_stderr() -> None:
    line = "x" * (1 << 20)
    for _ in range(64):
        sys.stderr.write(line)
    raise UnreadableError("much was said")


_MISDEEDS: dict[str, Callable[[], object]] = {
    "segfault": _segfault,
    "abort": os.abort,
    "bus": lambda: os.kill(os.getpid(), signal.SIGBUS),
    "exit": lambda: os._exit(0),
    "hang": lambda: time.sleep(3600),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "memory": _eat_memory,
    "stderr": _flood_stderr,
}


def read(path: bytes, pixels: np.ndarray, settings: object) -> Reading:
    """A decoder that does what the file's name says before it decodes."""
    name = os.path.basename(os.fsdecode(path))
    word = name.partition("-")[0].partition(".")[0]
    if word in _MISDEEDS:
        _MISDEEDS[word]()
    if word == "slow":
        time.sleep(0.05)
    if word == "crashonce":
        marker = os.fsdecode(path) + ".tried"
        if not os.path.exists(marker):
            Path(marker).touch()
            _segfault()
    if word == "changing" and not os.path.exists(os.fsdecode(path) + ".whole"):
        raise ChangedError("the file changed each of the 3 times it was read")
    status = os.stat(path)
    levels = [int(level) for level in Path(os.fsdecode(path)).read_text().split()]
    if len(levels) != 3:
        raise UnreadableError("not three levels")
    height, width = SIZE
    pixels[: height * width * 3].reshape(height, width, 3)[:] = levels
    if word == "garbage":  # it also writes over every other slot's header and claims an absurd size
        pixels.base[:] = 0xAB
        height = 70_000
    content = fingerprint_file(path)
    facts = Facts("stub", width, height, version=READ_VERSION)
    return Reading(height, width, facts, Stat(status.st_size, status.st_mtime_ns), content)


class MeanModel:
    """Exact and small: the mean colour as an embedding, its strongest channel as a tag."""

    name = "mean"

    def __init__(self, version: int = 1) -> None:
        self.fingerprint = f"mean@{version}"

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
        return [self._one(frame) for frame in frames]

    def _one(self, frame: np.ndarray) -> Output:
        colour = tuple(int(level) for level in frame[0, 0])
        if colour == DEADLY:
            _segfault()
        if colour == HANGING:
            time.sleep(3600)
        if colour == RAISING:
            raise RuntimeError("this colour is refused")
        vector = frame.reshape(-1, 3).mean(0).astype(np.float32) + 1
        embedding = (vector / np.linalg.norm(vector)).astype(np.float16).tobytes()
        name = ("red", "green", "blue")[int(vector.argmax())]
        return Output(self.fingerprint, joint_embedding=embedding, tags=(Tag(name, 0.9),))


class CountModel(MeanModel):
    """A second model, so that staleness of just one can be seen."""

    name = "count"

    def __init__(self, version: int = 1) -> None:
        self.fingerprint = f"count@{version}"

    def _one(self, frame: np.ndarray) -> Output:
        return Output(self.fingerprint, tags=(Tag("counted", 1.0),))


def load_models(versions: tuple[int, ...] = (1,), device: Device = CPU) -> list[MeanModel]:
    return [kind(version) for kind, version in zip((MeanModel, CountModel), versions, strict=False)]


def no_models(device: Device) -> list[MeanModel]:
    return []


def models(*versions: int) -> Callable[[Device], list[MeanModel]]:
    """Something picklable that makes the stub models of these versions."""
    return functools.partial(load_models, versions or (1,))
