"""Photos in, records out: readers → ring → inference, on one page.

`index()` drives child processes, `index_inline()` runs the same stages in this process. Both take
tasks and yield a `Record` or a `Failure` for each, in the order of completion; neither knows the
catalog, but thumbnails go into its folder unless the settings say no. The daemon drives an `Engine`
itself, to wait for its writer in the same place.
"""

from __future__ import annotations

import collections
import dataclasses
import multiprocessing.connection
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from catalogd.errors import CatalogdError, CrashedError, DeadlineError, ModelError, PhotoError, ResourceError
from catalogd.images import Reading, read_frame
from catalogd.pipeline.ring import Ring, Slots, affordable_slots, slot_bytes
from catalogd.pipeline.stages import Read, failure_of, infer_batch, read_photo, record_of
from catalogd.pipeline.workers import (
    BatchFrame,
    Broken,
    Child,
    InferDone,
    InferOrder,
    ReadDone,
    ReadFailed,
    ReadOrder,
    Ready,
    inference_main,
    reader_main,
)
from catalogd.records import Failure, Outcome, Output, Stat, Task

if TYPE_CHECKING:
    from catalogd.models import Model
    from catalogd.settings import Settings

LoadModels = Callable[[], Sequence["Model"]]

_TRIES = 2  # a photo whose process died or hung is tried once more, then it is a failure
_ALONE_AT = 16  # photos to be tried alone that make the engine drain for them; fewer wait for a quiet moment
_IN_FLIGHT = 2  # batches an inference process has: one it works on, one so that it never waits
_START_DEADLINE_S = 300.0  # the first start converts weights
_CRASH_LOOP = 5  # deaths in a row before a child was ever ready: its start is broken, not a photo
_LIMIT_WINDOW_S = 30.0


def index(
    tasks: Iterable[Task], settings: Settings, load_models: LoadModels, read: Read = read_frame
) -> Iterator[Outcome]:
    """Read and infer every task on this machine's processes."""
    with Engine(settings, load_models, read) as engine:
        yield from _drive(engine, tasks)


def index_inline(
    tasks: Iterable[Task], settings: Settings, load_models: LoadModels, read: Read = read_frame
) -> Iterator[Outcome]:
    """The same stages in this process, one photo at a time; a crash of a decoder is a crash of ours."""
    with InlineEngine(settings, load_models, read) as engine:
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
    child: Child
    batches: collections.deque[_Batch] = dataclasses.field(default_factory=collections.deque)
    since: float = 0.0  # when it began with its first batch (monotonic)


@dataclasses.dataclass(frozen=True)
class EngineState:
    """A look at the engine for progress: what is where, and what it waits for."""

    slots: int
    slots_used: int
    readers: int
    limit: str  # "reading", "inference"
    model_seconds: dict[str, float]


class Engine:
    """The processes of one machine: N readers, one inference process, and the ring between them.

    Not thread-safe: the daemon's main thread owns it. A photo's way::

        offer ─▶ reader ─▶ ready ─▶ batch ─▶ inference ─▶ step() returns its record
                   └─ dies, hangs ─▶ once more in a fresh process, alone if it died ─▶ failure
                                        └─ dies ─▶ the batch once more, then in halves ─▶ failure
    """

    def __init__(self, settings: Settings, load_models: LoadModels, read: Read = read_frame) -> None:
        self._settings = settings
        self._load_models = load_models
        self._read = read
        self._threads = settings.inference_threads or usable_cores()
        self.asked_slots = max(2, settings.ring_bytes // slot_bytes(settings.frame_edge_px))
        slot_count = affordable_slots(settings.ring_bytes, settings.frame_edge_px)
        self._ring = Ring(slot_count, settings.frame_edge_px)
        self._slots = Slots(slot_count)
        self._batch_size = max(1, min(settings.batch or 1, slot_count // 2))
        self._tickets = 0
        self._again: collections.deque[_Item] = collections.deque()
        self._alone: collections.deque[_Item] = collections.deque()
        self._running_alone = False
        self._ready: collections.deque[_Item] = collections.deque()
        self._redo: collections.deque[_Batch] = collections.deque()
        self._outcomes: list[Outcome] = []
        self._deaths_at_start = 0
        self.fingerprints: dict[str, str] = {}
        self._waits = _Waits()
        self.model_seconds: dict[str, float] = {}
        self.thumbnail_errors: collections.Counter[str] = collections.Counter()  # reason → photos
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
            self._slots.count, used, len(self._readers), self._waits.limit(), dict(self.model_seconds)
        )

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
        self._waits.note(len(self._ready) >= self._batch_size, not any(i.batches for i in self._inference))
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
            self._note_death_at_start("reader")
            return
        self._slots.free(item.slot)
        if not reader.child.ready:  # it never began: not the photo's doing
            self._note_death_at_start("reader")
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
        for inference in self._inference:
            while len(inference.batches) < _IN_FLIGHT:
                batch = self._next_batch(idle=not inference.batches)
                if batch is None:
                    break
                self._send_batch(inference, batch)

    def _next_batch(self, idle: bool) -> _Batch | None:
        """A batch to redo, a full one, or, for an idle process, what has waited long enough."""
        if self._redo:
            return self._redo.popleft() if idle else None
        if not self._ready:
            return None
        waited = time.monotonic() - self._ready[0].since
        if len(self._ready) < self._batch_size and not (idle and waited >= self._settings.batch_wait_s):
            return None
        count = min(self._batch_size, len(self._ready))
        items = [self._ready.popleft() for _ in range(count)]
        for item in items:
            self._slots.batch(item.slot)
        return _Batch(items)

    def _send_batch(self, inference: _Inference, batch: _Batch) -> None:
        if not inference.batches:
            inference.since = time.monotonic()
        inference.batches.append(batch)
        frames = [BatchFrame(item.ticket, item.slot, item.task.models) for item in batch.items]
        inference.child.send(InferOrder(frames))

    def _hear_inference(self, inference: _Inference) -> None:
        reply = inference.child.receive()
        if isinstance(reply, Broken):
            raise ModelError(reply.message)
        if isinstance(reply, Ready):
            self._deaths_at_start = 0
            inference.child.ready = True
            inference.since = time.monotonic()
            self.fingerprints = reply.models
            return
        if reply is None or not inference.batches:
            self._inference_died(inference, CrashedError(f"inference {inference.child.kill()}"))
            return
        assert isinstance(reply, InferDone)
        batch = inference.batches.popleft()
        inference.since = time.monotonic()
        for name, seconds in reply.seconds.items():
            self.model_seconds[name] = self.model_seconds.get(name, 0.0) + seconds
        for item, outputs in zip(batch.items, reply.outputs, strict=True):
            self._slots.free(item.slot)
            self._finish(item, outputs)

    def _finish(self, item: _Item, outputs: dict[str, Output] | str) -> None:
        assert item.reading is not None
        if not isinstance(outputs, str):
            self._outcomes.append(record_of(item.task, item.reading, outputs))
        else:  # its slot was scribbled over, by its own decoder or another's
            self._try_again(item, "infer", CrashedError(outputs))

    def _inference_died(self, inference: _Inference, error: PhotoError) -> None:
        """The batch it was on goes out again, in halves after its second death; the others as they are."""
        inference.child.kill()
        batches = list(inference.batches)
        if batches and inference.child.ready:
            batches[:1] = self._blame(batches[0], error)
        elif not inference.child.ready:
            self._note_death_at_start("inference")
        self._redo.extendleft(reversed(batches))
        index = self._inference.index(inference)
        self._inference[index] = _Inference(self._spawn_inference())

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
        self._inference.append(_Inference(self._spawn_inference()))
        count = self._settings.readers or usable_cores()
        self._readers.extend(_Reader(self._spawn_reader()) for _ in range(count))

    def _spawn_reader(self) -> Child:
        return Child("catalogd-reader", reader_main, self._ring, self._settings, self._read)

    def _spawn_inference(self) -> Child:
        return Child("catalogd-inference", inference_main, self._ring, self._load_models, self._threads)

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
        limit = self._settings.infer_deadline_s
        for inference in list(self._inference):
            child = inference.child
            if child.ready and inference.batches and now - inference.since > limit:
                self._inference_died(
                    inference,
                    DeadlineError(f"inference took longer than {limit:g} s (setting infer_deadline_s)"),
                )
            elif not child.ready and now - child.started > _START_DEADLINE_S:
                raise ModelError(f"the models did not load within {_START_DEADLINE_S:g} s")

    def _patience(self, timeout_s: float) -> float:
        """Wake in time for the oldest frame of a batch that is not full."""
        if self._ready and any(not inference.batches for inference in self._inference):
            left = self._ready[0].since + self._settings.batch_wait_s - time.monotonic()
            return max(0.0, min(timeout_s, left))
        return timeout_s

    def _note_death_at_start(self, kind: str) -> None:
        self._deaths_at_start += 1
        if self._deaths_at_start >= _CRASH_LOOP:
            raise ResourceError(
                f"the {kind} process died {_CRASH_LOOP} times before it was ready; "
                "`catalogd doctor` looks for the cause"
            )

    def _fail(self, item: _Item, stage: str, error: PhotoError, exception: str = "") -> None:
        profile = " ".join(self.fingerprints.values())
        stat = item.reading.stat if item.reading else item.stat
        failure = failure_of(item.task, stage, error, stat, profile)
        self._outcomes.append(_named(failure, exception, item.tries))


class InlineEngine:
    """An `Engine` without processes: `offer` reads, `step` infers. For debugging and small machines."""

    def __init__(self, settings: Settings, load_models: LoadModels, read: Read = read_frame) -> None:
        import numpy as np

        self._settings = settings
        self._read = read
        self._models = list(load_models())
        for model in self._models:
            model.load()
        self.fingerprints = {model.name: model.fingerprint for model in self._models}
        self.model_seconds: dict[str, float] = {}
        self.thumbnail_errors: collections.Counter[str] = collections.Counter()  # reason → photos
        self.asked_slots = 1
        self._pixels = np.empty(settings.frame_edge_px**2 * 3, np.uint8)
        self._outcome: Outcome | None = None
        self.connections: list[multiprocessing.connection.Connection] = []

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for model in self._models:
            model.unload()

    @property
    def wants_task(self) -> bool:
        return self._outcome is None

    @property
    def busy(self) -> bool:
        return self._outcome is not None

    @property
    def state(self) -> EngineState:
        return EngineState(1, int(self.busy), 1, "inference", dict(self.model_seconds))

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
        outputs, seconds = infer_batch(self._models, [frame], [task.models])
        for name, took in seconds.items():
            self.model_seconds[name] = self.model_seconds.get(name, 0.0) + took
        self._outcome = record_of(task, reading, outputs[0])

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

    def note(self, batches_wait: bool, inference_idle: bool) -> None:
        now = time.monotonic()
        passed, self._last = now - self._last, now
        fade = max(0.0, 1.0 - passed / _LIMIT_WINDOW_S)
        self._queue_s = self._queue_s * fade + passed * batches_wait
        self._empty_s = self._empty_s * fade + passed * inference_idle

    def limit(self) -> str:
        return "reading" if self._empty_s > self._queue_s else "inference"


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
