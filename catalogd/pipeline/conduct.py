"""How models behave while they run: how many frames they take at once, and which of them are given up.

::

    run(model, frames) ─▶ all at once ─┬─▶ outputs
                                       ├─ out of memory ─▶ halves, and never so many again
                                       ├─ another error ─▶ halves: a frame that fails, fails alone
                                       └─ ModelError ────▶ nothing: it is about the model, not the frames

A model that fails on every frame for a while is given up: the run goes on without it, and the next run tries
it again. In the inference process, whose threads may call at once.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from catalogd.errors import ModelError
from catalogd.models.batches import Batch
from catalogd.models.devices import CPU, Device
from catalogd.models.memory import forget_peak, is_out_of_memory, memory_peak, memory_used
from catalogd.records import Output

if TYPE_CHECKING:
    from catalogd.models import DerivedModel, Model

    AnyModel = Model | DerivedModel

GIVE_UP_FRAMES = 24  # failed in a row: more than bad photos lie together
_GIVE_UP_RUNS = 3  # failed in a row: a batch of a GPU has more frames, and a server may be away for a moment
_MEASURED_CALLS = 3  # calls of a model whose memory is measured: buffers grow in the first ones
_MOST_ERROR_CHARS = 500


class Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclasses.dataclass
class Behaviour:
    """What is known of one model."""

    batch: int = 0  # most frames at once; 0: no limit was met
    error: str = ""  # the last one
    fruitless: int = 0  # frames in a row on which it failed
    fruitless_runs: int = 0
    frames: int = 0
    seconds: float = 0.0
    calls: int = 0
    frame_bytes: int = 0  # of the device's memory, for each frame of a call
    starved: bool = False  # a single frame was out of memory


class Conduct:
    """The behaviour of all models of a process."""

    def __init__(self, device: Device = CPU) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._known: dict[str, Behaviour] = {}
        self.given_up: dict[str, str] = {}  # name → why
        self.smaller: set[str] = set()  # names whose batch was halved, until somebody has taken note

    def __getitem__(self, name: str) -> Behaviour:
        with self._lock:
            return self._known.setdefault(name, Behaviour())

    def give_up(self, model: Named, why: str) -> None:
        self.given_up.setdefault(model.name, why)

    def run(self, model: AnyModel, items: Sequence[Any]) -> tuple[list[Output | None], float]:
        """The model on frames (a `Batch`), or on the outputs that it derives from; and the seconds it took.

        None stands where the model itself could not work: nothing is kept of it.
        """
        start = time.perf_counter()
        results: list[Output | None] = []
        while len(results) < len(items):
            size = self[model.name].batch or len(items)
            results += self._attempt(model, _part(items, len(results), len(results) + size))
        took = time.perf_counter() - start
        self._judge(model, results, took)
        return results, took

    def _attempt(self, model: AnyModel, items: Sequence[Any]) -> list[Output | None]:
        try:
            return self._call(model, items)
        except ModelError as error:
            self[model.name].error = str(error)
            return [None] * len(items)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:_MOST_ERROR_CHARS]
            is_memory = is_out_of_memory(error)
        # Outside of the `except`, where the error no longer holds what lies in the device's memory.
        self[model.name].error = said
        if is_memory:
            self._was_too_many(model, len(items))
        if len(items) == 1:
            return [Output(model.fingerprint, error=said)]
        middle = len(items) // 2
        return [
            *self._attempt(model, _part(items, 0, middle)),
            *self._attempt(model, _part(items, middle, len(items))),
        ]

    def _call(self, model: AnyModel, items: Sequence[Any]) -> list[Output | None]:
        call: Callable[[Sequence[Any]], list[Output]]
        call = getattr(model, "derive", None) or model.run  # type: ignore[union-attr]
        behaviour = self[model.name]
        behaviour.calls += 1
        if not is_on_gpu(model) or behaviour.calls > _MEASURED_CALLS:
            outputs = call(items)
        else:
            forget_peak(self._device)
            peak, used = memory_peak(self._device), memory_used(self._device)
            outputs = call(items)
            grown = max(memory_peak(self._device) - peak, memory_used(self._device) - used)
            behaviour.frame_bytes = max(behaviour.frame_bytes, grown // len(items))
        if len(outputs) != len(items):
            raise ValueError(f"{len(outputs)} outputs for {len(items)} frames")
        return list(outputs)

    def _was_too_many(self, model: AnyModel, frames: int) -> None:
        behaviour = self[model.name]
        with self._lock:
            behaviour.starved = behaviour.starved or frames == 1
            if frames > 1:
                behaviour.batch = min(behaviour.batch or frames, frames // 2)
                self.smaller.add(model.name)

    def _judge(self, model: AnyModel, results: list[Output | None], took: float) -> None:
        """Frames that it left for the next run, an output without a fingerprint each, say nothing of it."""
        behaviour = self[model.name]
        tried = [output for output in results if output is None or output.fingerprint]
        is_fruitless = all(output is None or output.error is not None for output in tried)
        with self._lock:
            behaviour.frames += len(results)
            behaviour.seconds += took
            if tried:
                behaviour.fruitless = behaviour.fruitless + len(tried) if is_fruitless else 0
                behaviour.fruitless_runs = behaviour.fruitless_runs + 1 if is_fruitless else 0
            if behaviour.fruitless >= GIVE_UP_FRAMES and behaviour.fruitless_runs >= _GIVE_UP_RUNS:
                self.give_up(model, behaviour.error)


def is_on_gpu(model: Any) -> bool:
    """Whether the model says that it computes on a GPU."""
    return bool(getattr(model, "device", CPU).is_gpu)


def _part(items: Sequence[Any], start: int, stop: int) -> Sequence[Any]:
    if isinstance(items, Batch):
        return items.part(range(start, min(stop, len(items))))
    return items[start:stop]
