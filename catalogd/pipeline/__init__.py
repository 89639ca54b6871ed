"""Photos in, records out: readers → ring → inference, on one page.

`index()` drives child processes, `index_inline()` runs the same stages in this process. Both take
tasks and yield a `Record` or a `Failure` for each, in the order of completion; neither knows the
catalog, but thumbnails go into its folder unless the settings say no. The daemon drives an `Engine`
itself, to wait for its writer in the same place.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import multiprocessing.connection
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from catalogd.errors import CatalogdError, CrashedError, DeadlineError, ModelError, PhotoError, ResourceError
from catalogd.images import Reading, read_frame
from catalogd.models.devices import CPU, Device
from catalogd.pipeline.conduct import is_on_gpu
from catalogd.pipeline.inference import Inference, LoadModels, batch_frames
from catalogd.pipeline.ring import Ring, Slots, affordable_slots, slot_bytes
from catalogd.pipeline.stages import Read, failure_of, read_photo, record_of
from catalogd.pipeline.workers import (
    BatchFrame,
    Broken,
    Child,
    InferDone,
    InferOrder,
    Loading,
    ReadDone,
    ReadFailed,
    ReadOrder,
    Ready,
    inference_main,
    reader_main,
)
from catalogd.records import Failure, Outcome, Output, Stat, Task

if TYPE_CHECKING:
    from catalogd.pipeline.ring import Frame
    from catalogd.settings import Settings

__all__ = [
    "DeviceState",
    "Engine",
    "EngineState",
    "InlineEngine",
    "LoadModels",
    "index",
    "index_inline",
    "usable_cores",
    "used_devices",
]

_TRIES = 2  # a photo whose process died or hung is tried once more, then it is a failure
_ALONE_AT = 16  # photos to be tried alone that make the engine drain for them; fewer wait for a quiet moment
_IN_FLIGHT = 2  # batches an inference process has: one it works on, one so that it never waits
_START_DEADLINE_S = 300.0  # of a process, before it says anything: libraries from a disk that was asleep
# Of each model: the first load converts weights, or describes a vocabulary, ten minutes on two busy cores.
_LOAD_DEADLINE_S = 3600.0
_WARM_UP_S = 300.0  # more for the first batch of a GPU: kernels are chosen and compiled
_GROUP_WAIT_S = 1.0  # models that take turns wait for a full group while frames come more often than that
_CRASH_LOOP = 5  # deaths in a row before a child was ever ready: its start is broken, not a photo
_DEVICE_DEATHS = 15  # in a row while others work: more than it takes to find one deadly photo by halving
_LIMIT_WINDOW_S = 30.0


def index(
    tasks: Iterable[Task],
    settings: Settings,
    load_models: LoadModels,
    read: Read = read_frame,
    devices: Sequence[Device] = (CPU,),
) -> Iterator[Outcome]:
    """Read and infer every task on this machine's processes."""
    with Engine(settings, load_models, read, devices) as engine:
        yield from _drive(engine, tasks)


def index_inline(
    tasks: Iterable[Task],
    settings: Settings,
    load_models: LoadModels,
    read: Read = read_frame,
    devices: Sequence[Device] = (CPU,),
) -> Iterator[Outcome]:
    """The same stages in this process, one photo at a time; a crash of a decoder is a crash of ours.

    Of several devices the first one is used.
    """
    with InlineEngine(settings, load_models, read, devices) as engine:
        yield from _drive(engine, tasks)


def _drive(engine: Engine | InlineEngine, tasks: Iterable[Task]) -> Iterator[Outcome]:
    source = iter(tasks)
    exhausted = False
    while not exhausted or engine.busy:
        while not exhausted and engine.wants_task:
            task = next(source, None)
            if task is None:
                exhausted = True
            else:
                engine.offer(task)
        yield from engine.step(0.25)


@dataclasses.dataclass
class _Item:
    """One photo on its way."""

    task: Task
    ticket: int
    slot: int = -1
    tries: int = 1
    stat: Stat | None = None  # of its file before it was read: what a failure is about
    reading: Reading | None = None
    since: float = 0.0  # when its reader got it, or its frame was ready (monotonic)


@dataclasses.dataclass
class _Batch:
    items: list[_Item]
    deaths: int = 0


@dataclasses.dataclass
class _Reader:
    child: Child
    item: _Item | None = None


@dataclasses.dataclass
class _Inference:
    """One device: its process, which is another one after a death, and what it did."""

    device: Device
    child: Child
    group: int  # frames that it should get at once
    batch: int  # frames that it works on at once
    batches: collections.deque[_Batch] = dataclasses.field(default_factory=collections.deque)
    since: float = 0.0  # when it began with its first batch (monotonic)
    loading: str = ""  # the model that it loads before it is ready
    is_second: bool = False  # its process was replaced because no model of its GPU worked any more
    deaths: int = 0  # in a row, without a finished batch between
    deaths_at_start: int = 0  # in a row, before it was ready
    given_up: tuple[str, ...] = ()  # names of models that are switched off there
    photos: int = 0
    busy_s: float = 0.0  # that it had a batch
    model_seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def takes_turns(self) -> bool:
        """Whether its models come in phases, so that a group that is not full costs as much as a full one."""
        return self.group > self.batch


@dataclasses.dataclass(frozen=True)
class DeviceState:
    """What one device did so far."""

    label: str
    name: str
    photos: int
    busy_s: float  # that it had work
    model_seconds: dict[str, float]
    given_up: tuple[str, ...]  # names of models that are switched off there


@dataclasses.dataclass(frozen=True)
class EngineState:
    """A look at the engine for progress: what is where, and what it waits for."""

    slots: int
    slots_used: int
    readers: int
    limit: str  # "reading", "inference"
    model_seconds: dict[str, float]  # of all devices
    devices: tuple[DeviceState, ...]
    said: tuple[str, ...]  # what models say of themselves now: what a server cost
    loading: tuple[str, ...] = ()  # models that are being loaded before a device is ready


class Engine:
    """The processes of one machine: N readers, an inference process a device, and the ring between them.

    Not thread-safe: the daemon's main thread owns it. A photo's way::

        offer ─▶ reader ─▶ ready ─▶ batch ─▶ inference ─▶ step() returns its record
                   └─ dies, hangs ─▶ once more in a fresh process, alone if it died ─▶ failure
                                        └─ dies ─▶ the batch once more, then in halves ─▶ failure
    """

    def __init__(
        self,
        settings: Settings,
        load_models: LoadModels,
        read: Read = read_frame,
        devices: Sequence[Device] = (CPU,),
    ) -> None:
        self._settings = settings
        self._load_models = load_models
        self._read = read
        self._devices = tuple(devices)
        self._threads = settings.inference_threads or max(1, usable_cores() // len(devices))
        self.asked_slots = max(2, settings.ring_bytes // slot_bytes(settings.frame_edge_px))
        slot_count = affordable_slots(settings.ring_bytes, settings.frame_edge_px)
        self._ring = Ring(slot_count, settings.frame_edge_px)
        self._slots = Slots(slot_count)
        self._most_frames = max(1, slot_count // (_IN_FLIGHT * len(devices)))  # of a batch
        self._tickets = 0
        self._again: collections.deque[_Item] = collections.deque()
        self._alone: collections.deque[_Item] = collections.deque()
        self._running_alone = False
        self._ready: collections.deque[_Item] = collections.deque()
        self._redo: collections.deque[_Batch] = collections.deque()
        self._outcomes: list[Outcome] = []
        self._deaths_at_start = 0  # of readers
        self.fingerprints: dict[str, str] = {}
        self.notes: collections.deque[str] = collections.deque()  # for the owner, until somebody takes them
        self._waits = _Waits()
        self.thumbnail_errors: collections.Counter[str] = collections.Counter()  # reason → photos
        self.left: collections.Counter[str] = collections.Counter()  # model → photos left for the next run
        self._said: dict[str, list[str]] = {}  # model → its latest news, which are of all devices
        self._inference: list[_Inference] = []
        self._readers: list[_Reader] = []

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop every process and give the memory back. What was in flight is dropped."""
        for child in self._children():
            child.kill()
        self._ring.close()

    # ── what the driver asks ──────────────────────────────────────────────────────────────────

    @property
    def wants_task(self) -> bool:
        """Whether `offer` would start reading at once."""
        draining = self._running_alone or len(self._alone) >= _ALONE_AT
        return not draining and not self._again and self._can_read

    @property
    def busy(self) -> bool:
        """Whether any photo is still on its way."""
        return self._in_flight or bool(self._again or self._alone or self._outcomes)

    @property
    def is_loading(self) -> bool:
        """Whether photos can't come out before models are loaded, which may take minutes."""
        return bool(self._inference) and not any(one.child.ready for one in self._inference)

    @property
    def _in_flight(self) -> bool:
        return self._slots.free_count < self._slots.count

    @property
    def _can_read(self) -> bool:
        any_idle = not self._readers or any(reader.item is None for reader in self._readers)
        return self._slots.free_count > 0 and any_idle

    @property
    def connections(self) -> list[multiprocessing.connection.Connection]:
        return [child.connection for child in self._children()]

    @property
    def state(self) -> EngineState:
        used = self._slots.count - self._slots.free_count
        return EngineState(
            self._slots.count,
            used,
            len(self._readers),
            self._waits.limit(),
            _sum(one.model_seconds for one in self._inference),
            tuple(_device_state(one) for one in self._inference),
            tuple(itertools.chain(*self._said.values())),
            tuple(dict.fromkeys(one.loading for one in self._inference if one.loading)),
        )

    @property
    def given_up(self) -> frozenset[str]:
        """Models that are switched off on every device."""
        each = [frozenset(one.given_up) for one in self._inference]
        return frozenset.intersection(*each) if each else frozenset()

    def offer(self, task: Task) -> None:
        """Hand a photo to an idle reader. Only when `wants_task`. The first one starts the processes."""
        if not self._readers:
            self._start()
        self._tickets += 1
        self._start_reading(_Item(task, self._tickets))

    def step(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Outcome]:
        """Move everything that can move, waiting at most `timeout_s` for something to happen.

        `others` are further connections that end the wait. Raises ModelError when inference can't
        start and ResourceError when children keep dying before they are ready.
        """
        self._send_batches()
        self._note_waits()
        by_connection = {reader.child.connection: reader for reader in self._readers}
        infer_by_connection = {inference.child.connection: inference for inference in self._inference}
        waiting = [*by_connection, *infer_by_connection, *others]
        for connection in multiprocessing.connection.wait(waiting, self._patience(timeout_s)):
            if connection in by_connection:
                self._hear_reader(by_connection[connection])
            elif connection in infer_by_connection:
                self._hear_inference(infer_by_connection[connection])
        self._enforce_deadlines()
        self._restart_reading()
        self._send_batches()
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def _start_reading(self, item: _Item) -> None:
        slot = self._slots.take()
        reader = next((r for r in self._readers if r.item is None), None)
        if slot is None or reader is None:
            raise ValueError("no reader is idle, or no slot is free")
        item.slot, item.since, item.stat = slot, time.monotonic(), _stat_of(item.task.path)
        reader.item = item
        reader.child.send(ReadOrder(item.ticket, slot, item.task.path))

    def _restart_reading(self) -> None:
        self._running_alone = self._running_alone and self._in_flight
        while self._again and self._can_read and not self._running_alone:
            self._start_reading(self._again.popleft())
        if self._alone and self._can_read and not self._in_flight:
            self._running_alone = True
            self._start_reading(self._alone.popleft())

    def _hear_reader(self, reader: _Reader) -> None:
        reply = reader.child.receive()
        item = reader.item
        if isinstance(reply, Ready):
            reader.child.ready = True
            self._deaths_at_start = 0
            if item is not None:  # its deadline does not count the start
                item.since = time.monotonic()
            return
        if reply is None or item is None:
            self._reader_died(reader, CrashedError(f"its reader {reader.child.kill()}"))
            return
        assert isinstance(reply, ReadDone | ReadFailed)
        reader.item = None
        if reply.ticket != item.ticket:
            self._reader_died(
                _Reader(reader.child, item), CrashedError("its reader answered for another photo")
            )
        elif isinstance(reply, ReadFailed):
            self._slots.free(item.slot)
            self._fail(item, "read", reason_error(reply.reason, reply.message), reply.exception)
        else:
            item.reading, item.since = reply.reading, time.monotonic()
            if reply.thumbnail_error:
                self.thumbnail_errors[reply.thumbnail_error] += 1
            if item.task.models == ():  # only its facts were wanted
                self._slots.free(item.slot)
                self._finish(item, {})
                return
            self._slots.fill(item.slot)
            self._ready.append(item)

    def _reader_died(self, reader: _Reader, error: PhotoError) -> None:
        """Its slot comes back once the process is certainly gone; its photo gets another try, or fails."""
        reader.child.kill()
        item, reader.item = reader.item, None
        for index, known in enumerate(self._readers):
            if known.child is reader.child:
                self._readers[index] = _Reader(self._spawn_reader())
        if item is None:
            self._note_death_at_start()
            return
        self._slots.free(item.slot)
        if not reader.child.ready:  # it never began: not the photo's doing
            self._note_death_at_start()
            self._again.append(item)
        else:
            self._try_again(item, "read", error)

    def _try_again(self, item: _Item, stage: str, error: PhotoError) -> None:
        if item.tries >= _TRIES:
            self._fail(item, stage, error)
            return
        item.tries += 1
        item.reading = None
        # A process that dies may have scribbled over others' frames: nobody else's are risked again.
        (self._alone if isinstance(error, CrashedError) else self._again).append(item)

    # ── inference ─────────────────────────────────────────────────────────────────────────────

    def _send_batches(self) -> None:
        """Batches go to whoever has least to do."""
        while True:
            for inference in sorted(self._inference, key=lambda one: len(one.batches)):
                batch = self._next_batch(inference)
                if batch is not None:
                    self._send_batch(inference, batch)
                    break
            else:
                return

    def _next_batch(self, inference: _Inference) -> _Batch | None:
        """A batch to redo, a full one, or, for an idle process, what has waited long enough."""
        idle = not inference.batches
        if len(inference.batches) >= _IN_FLIGHT or not inference.child.ready:
            return None
        if self._redo:
            return self._redo.popleft() if idle else None
        if len(self._ready) < inference.group and not (idle and self._waited_enough(inference)):
            return None
        count = min(inference.group, len(self._ready))
        items = [self._ready.popleft() for _ in range(count)]
        for item in items:
            self._slots.batch(item.slot)
        return _Batch(items)

    def _waited_enough(self, inference: _Inference) -> bool:
        """Whether to begin with less than a full batch."""
        return bool(self._ready) and self._wait_s(inference) <= 0

    def _wait_s(self, inference: _Inference) -> float:
        """How long the frames that are ready shall wait for others; there is at least one."""
        now = time.monotonic()
        if not inference.takes_turns:
            return self._ready[0].since + self._settings.batch_wait_s - now
        if any(reader.item is not None for reader in self._readers):
            return _GROUP_WAIT_S
        return self._ready[-1].since + _GROUP_WAIT_S - now

    def _send_batch(self, inference: _Inference, batch: _Batch) -> None:
        if not inference.batches:
            inference.since = time.monotonic()
        inference.batches.append(batch)
        frames = [BatchFrame(item.ticket, item.slot, item.task.models) for item in batch.items]
        inference.child.send(InferOrder(frames))

    def _hear_inference(self, inference: _Inference) -> None:
        reply = inference.child.receive()
        if isinstance(reply, Broken):
            self._lose_device(inference, ModelError(reply.message))
        elif isinstance(reply, Loading):
            inference.loading = reply.model
            inference.child.started = time.monotonic()
        elif isinstance(reply, Ready):
            inference.child.ready = True
            inference.loading = ""
            inference.deaths_at_start = 0
            inference.since = time.monotonic()
            self.fingerprints |= reply.models
            self._hear_news(inference, reply)
            if reply.lost:
                inference.is_second = True  # it failed from the start: another one would, too
                if len(self._inference) > 1:
                    self._lose_device(inference, ModelError(reply.lost))
        elif isinstance(reply, InferDone) and inference.batches:
            if not (reply.lost and self._is_replaced(inference, reply.lost)):
                self._infer_done(inference, reply)
        else:
            self._inference_died(inference, CrashedError(f"inference {inference.child.kill()}"))

    def _hear_news(self, inference: _Inference, reply: Ready | InferDone) -> None:
        inference.group = max(1, min(reply.group, self._most_frames))
        inference.given_up = tuple(reply.given_up)
        self.notes.extend(reply.notes)

    def _is_replaced(self, inference: _Inference, why: str) -> bool:
        """What is done with a device whose GPU works no more: after some errors a fresh process helps.

        False when it has had one and there is no other device: models of the CPU go on there.
        """
        if inference.is_second and len(self._inference) == 1:
            return False
        if inference.is_second:
            self._lose_device(inference, ModelError(why))
            return True
        inference.is_second = True
        self.notes.append(
            f"{inference.device.label}: its process is started anew, no model works there: {why}"
        )
        inference.child.kill()
        self._redo.extendleft(reversed(inference.batches))
        inference.batches.clear()
        inference.child = self._spawn_inference(inference.device)
        return True

    def _infer_done(self, inference: _Inference, reply: InferDone) -> None:
        batch = inference.batches.popleft()
        now = time.monotonic()
        inference.busy_s += now - inference.since
        inference.since = now
        inference.deaths = 0
        inference.photos += len(batch.items)
        inference.model_seconds = _sum((inference.model_seconds, reply.seconds))
        self._said |= reply.said
        self._hear_news(inference, reply)
        for item, outputs in zip(batch.items, reply.outputs, strict=True):
            self._slots.free(item.slot)
            self._finish(item, outputs)

    def _finish(self, item: _Item, outputs: dict[str, Output] | str) -> None:
        assert item.reading is not None
        if not isinstance(outputs, str):
            names = self.fingerprints if item.task.models is None else item.task.models
            self.left.update(set(names) - outputs.keys())
            self._outcomes.append(record_of(item.task, item.reading, outputs, names))
        else:  # its slot was scribbled over, by its own decoder or another's
            self._try_again(item, "infer", CrashedError(outputs))

    def _inference_died(self, inference: _Inference, error: PhotoError) -> None:
        """The batch it was on goes out again, in halves after its second death; the others as they are."""
        inference.child.kill()
        inference.loading = ""
        batches = list(inference.batches)
        if batches:
            batches[:1] = self._blame(batches[0], error)
        inference.batches.clear()
        self._redo.extendleft(reversed(batches))
        inference.deaths += 1
        inference.deaths_at_start += not inference.child.ready
        is_hopeless = len(self._inference) > 1 and inference.deaths >= _DEVICE_DEATHS
        if is_hopeless or inference.deaths_at_start >= _CRASH_LOOP:
            self._lose_device(inference, _crash_loop("inference"))
        else:
            inference.child = self._spawn_inference(inference.device)

    def _lose_device(self, inference: _Inference, error: CatalogdError) -> None:
        """The run goes on with the other devices. Raises `error` when it was the last one."""
        inference.child.kill()
        if len(self._inference) == 1:
            raise error
        self._inference.remove(inference)
        self._redo.extendleft(reversed(inference.batches))
        self.notes.append(f"the run goes on without {inference.device.label}: {error}")

    def _blame(self, batch: _Batch, error: PhotoError) -> list[_Batch]:
        batch.deaths += 1
        if batch.deaths < _TRIES:
            return [batch]
        if len(batch.items) == 1:
            self._slots.free(batch.items[0].slot)
            self._fail(batch.items[0], "infer", error)
            return []
        middle = len(batch.items) // 2
        # A half that dies once is divided at once: the whole has had its second try.
        return [_Batch(batch.items[:middle], _TRIES - 1), _Batch(batch.items[middle:], _TRIES - 1)]

    # ── processes and deadlines ───────────────────────────────────────────────────────────────

    def _start(self) -> None:
        """Only now: a run with nothing to do saves a second of CPU, a quiet one the models' memory."""
        for device in self._devices:
            batch = min(batch_frames(self._settings, device), self._most_frames)
            self._inference.append(_Inference(device, self._spawn_inference(device), batch, batch))
        count = self._settings.readers or usable_cores()
        self._readers.extend(_Reader(self._spawn_reader()) for _ in range(count))

    def _spawn_reader(self) -> Child:
        return Child("catalogd-reader", reader_main, self._ring, self._settings, self._read)

    def _spawn_inference(self, device: Device) -> Child:
        return Child(
            "catalogd-inference",
            inference_main,
            self._ring,
            self._settings,
            self._load_models,
            device,
            self._threads,
            self._most_frames,
        )

    def _children(self) -> list[Child]:
        return [reader.child for reader in self._readers] + [inference.child for inference in self._inference]

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        limit = self._settings.read_deadline_s
        for reader in list(self._readers):
            child = reader.child
            if child.ready and reader.item is not None and now - reader.item.since > limit:
                self._reader_died(
                    reader, DeadlineError(f"reading took longer than {limit:g} s (setting read_deadline_s)")
                )
            elif not child.ready and now - child.started > _START_DEADLINE_S:
                self._reader_died(reader, DeadlineError("the reader did not start"))
        for inference in list(self._inference):
            child = inference.child
            limit = self._infer_limit_s(inference)
            if child.ready and inference.batches and now - inference.since > limit:
                self._inference_died(
                    inference,
                    DeadlineError(f"inference took longer than {limit:g} s (setting infer_deadline_s)"),
                )
                continue
            limit = _LOAD_DEADLINE_S if inference.loading else _START_DEADLINE_S
            if not child.ready and now - child.started > limit:
                name = inference.loading or "the inference process"
                self._lose_device(inference, ModelError(f"{name} did not load within {limit:g} s"))

    def _infer_limit_s(self, inference: _Inference) -> float:
        """For the order that it is on, which may be a group of several batches."""
        frames = len(inference.batches[0].items) if inference.batches else 0
        warm_up = _WARM_UP_S if inference.device.is_gpu and not inference.photos else 0.0
        return self._settings.infer_deadline_s * max(1, -(-frames // inference.batch)) + warm_up

    def _patience(self, timeout_s: float) -> float:
        """Wake in time for frames that have waited long enough for a batch that is not full."""
        idle = [one for one in self._inference if one.child.ready and not one.batches]
        if self._ready:
            timeout_s = min([timeout_s, *map(self._wait_s, idle)])
        return max(0.0, timeout_s)

    def _note_death_at_start(self) -> None:
        self._deaths_at_start += 1
        if self._deaths_at_start >= _CRASH_LOOP:
            raise _crash_loop("reader")

    def _note_waits(self) -> None:
        idle = sum(not one.batches for one in self._inference)
        waiting = any(len(self._ready) >= one.group for one in self._inference)
        self._waits.note(waiting, idle / len(self._inference) if self._inference else 1.0)

    def _fail(self, item: _Item, stage: str, error: PhotoError, exception: str = "") -> None:
        profile = " ".join(self.fingerprints.values())
        stat = item.reading.stat if item.reading else item.stat
        failure = failure_of(item.task, stage, error, stat, profile)
        self._outcomes.append(_named(failure, exception, item.tries))


class InlineEngine:
    """An `Engine` without processes: `offer` reads, `step` infers. For debugging and small machines."""

    def __init__(
        self,
        settings: Settings,
        load_models: LoadModels,
        read: Read = read_frame,
        devices: Sequence[Device] = (CPU,),
    ) -> None:
        import numpy as np

        self._settings = settings
        self._read = read
        self._device = devices[0]
        self._inference = Inference(settings, load_models, self._device, threads=1, most_frames=1)
        self._inference.start()
        self._busy_s = 0.0
        self._photos = 0
        self._model_seconds: dict[str, float] = {}
        self._said: dict[str, list[str]] = {}
        self.fingerprints = self._inference.fingerprints
        self.notes = collections.deque(self._inference.take_notes())
        self.thumbnail_errors: collections.Counter[str] = collections.Counter()  # reason → photos
        self.left: collections.Counter[str] = collections.Counter()  # model → photos left for the next run
        self.is_loading = False  # `__init__` did it
        self.asked_slots = 1
        self._pixels = np.empty(settings.frame_edge_px**2 * 3, np.uint8)
        self._outcome: Outcome | None = None
        self.connections: list[multiprocessing.connection.Connection] = []

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._inference.close()

    @property
    def wants_task(self) -> bool:
        return self._outcome is None

    @property
    def busy(self) -> bool:
        return self._outcome is not None

    @property
    def state(self) -> EngineState:
        device, seconds = self._device, dict(self._model_seconds)
        given_up = tuple(self._inference.given_up)
        one = DeviceState(device.label, device.name, self._photos, self._busy_s, seconds, given_up)
        said = tuple(itertools.chain(*self._said.values()))
        return EngineState(1, int(self.busy), 1, "inference", seconds, (one,), said)

    @property
    def given_up(self) -> frozenset[str]:
        return frozenset(self._inference.given_up)

    def offer(self, task: Task) -> None:
        stat = _stat_of(task.path)
        try:
            reading, thumbnail_error = read_photo(task.path, self._pixels, self._settings, self._read)
        except Exception as error:
            failure = failure_of(task, "read", _as_photo_error(error), stat)
            self._outcome = _named(failure, type(error).__name__, 1)
            return
        if thumbnail_error:
            self.thumbnail_errors[thumbnail_error] += 1
        shape = (reading.height, reading.width, 3)
        frame = self._pixels[: reading.height * reading.width * 3].reshape(shape)
        self._outcome = record_of(task, reading, *self._infer(task, frame))

    def _infer(self, task: Task, frame: Frame) -> tuple[dict[str, Output], Iterable[str]]:
        """What its models say of a frame, and the names of all that should say something."""
        start = time.monotonic()
        [outputs], seconds = self._inference.run(self._inference.divided([frame]), [task.models])
        self._busy_s += time.monotonic() - start
        self._photos += 1
        self._model_seconds = _sum((self._model_seconds, seconds))
        self.notes.extend(self._inference.take_notes())
        self._said |= self._inference.said()
        names = self.fingerprints if task.models is None else task.models
        self.left.update(set(names) - outputs.keys())
        return outputs, names

    def step(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Outcome]:
        if self._outcome is None:
            time.sleep(timeout_s)
            return []
        outcome, self._outcome = self._outcome, None
        return [outcome]


class _Waits:
    """Which side waits for the other, over the last half minute."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._queue_s = 0.0  # whole batches wait for inference: it is the limit
        self._empty_s = 0.0  # inference waits for frames: reading is the limit

    def note(self, batches_wait: bool, idle_share: float) -> None:
        """`idle_share`: of the devices, those that have nothing to do."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        fade = max(0.0, 1.0 - passed / _LIMIT_WINDOW_S)
        self._queue_s = self._queue_s * fade + passed * batches_wait
        self._empty_s = self._empty_s * fade + passed * idle_share

    def limit(self) -> str:
        return "reading" if self._empty_s > self._queue_s else "inference"


def _device_state(one: _Inference) -> DeviceState:
    working = time.monotonic() - one.since if one.batches and one.child.ready else 0.0
    device, seconds = one.device, dict(one.model_seconds)
    return DeviceState(device.label, device.name, one.photos, one.busy_s + working, seconds, one.given_up)


def _sum(each: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for seconds in each:
        for name, spent in seconds.items():
            total[name] = total.get(name, 0.0) + spent
    return total


def _crash_loop(kind: str) -> ResourceError:
    return ResourceError(
        f"the {kind} process died {_CRASH_LOOP} times in a row; `catalogd doctor` looks for the cause"
    )


def used_devices(devices: Sequence[Device], load_models: LoadModels) -> Sequence[Device]:
    """Of the devices that may be used, those that are: GPUs only where a model runs there."""
    if devices[0].is_gpu and not any(map(is_on_gpu, load_models(devices[0]))):
        return (CPU,)
    return devices


def usable_cores() -> int:
    """Cores that this process may use: containers and taskset count."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _named(failure: Failure, exception: str, tries: int) -> Failure:
    return msgspec.structs.replace(failure, exception=exception or failure.exception, tries=tries)


def reason_error(reason: str, message: str) -> PhotoError:
    """The PhotoError of a stable reason word, as a reader reported it."""
    for kind in PhotoError.__subclasses__():
        if kind.reason == reason:
            return kind(message)
    return PhotoError(message)


def _as_photo_error(error: Exception) -> Exception:
    return error if isinstance(error, CatalogdError) else reason_error("unreadable", str(error))


def _stat_of(path: bytes) -> Stat | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stat(found.st_size, found.st_mtime_ns)
