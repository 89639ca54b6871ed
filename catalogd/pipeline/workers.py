"""Both ends of the protocol between the daemon and its children.

One pipe a child, messages msgpack-encoded, slot numbers travel and pixels stay::

    daemon                         reader × N
      ReadOrder(ticket, slot) ───▶   read_photo → ring slot, header last
      ◀─── Ready once, then ReadDone | ReadFailed

    daemon                         inference × devices
      InferOrder(frames) ────────▶   a thread listens, so that frames go up early; infer_batch on the slots
      ◀─── Loading for each model, Ready once, then InferDone; Broken when it can't start

    daemon                         writer
      CommitOrder(changes) ──────▶   Catalog.commit, then text and embeddings follow
      ◀─── Ready once, then Committed | CommitFailed; Broken when it can't go on
      CloseOrder ────────────────▶   they catch up
      ◀─── Ready

A child dies with the daemon (its pipe ends, and PR_SET_PDEATHSIG on Linux), ignores Ctrl-C (the
daemon drains it) and holds no lock that another process needs. Sending to a dead child is
tolerated: death is noticed on the read side alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from catalogd.errors import CatalogdError, CatalogFullError, PhotoError, TooLargeError, UnreadableError
from catalogd.images import Reading
from catalogd.models.batches import Batch
from catalogd.models.devices import Device
from catalogd.pipeline.inference import Inference, LoadModels
from catalogd.pipeline.stages import Read, read_photo
from catalogd.records import Change, Output

if TYPE_CHECKING:
    from catalogd.pipeline.ring import Ring
    from catalogd.settings import Settings

_context = multiprocessing.get_context("spawn")  # fork copies locks, threads and LMDB handles
_PR_SET_PDEATHSIG = 1


class ReadOrder(msgspec.Struct, frozen=True, tag=True):
    ticket: int
    slot: int
    path: bytes


class ReadDone(msgspec.Struct, frozen=True, tag=True):
    ticket: int
    reading: Reading
    thumbnail_error: str = ""  # why it has no thumbnail


class ReadFailed(msgspec.Struct, frozen=True, tag=True):
    ticket: int
    reason: str
    message: str
    exception: str


class BatchFrame(msgspec.Struct, frozen=True, array_like=True):
    ticket: int
    slot: int
    models: tuple[str, ...] | None


class InferOrder(msgspec.Struct, frozen=True, tag=True):
    frames: list[BatchFrame]


class InferDone(msgspec.Struct, frozen=True, tag=True):
    outputs: list[dict[str, Output] | str]  # per frame; a text is the reason why its slot was refused
    seconds: dict[str, float]
    group: int  # frames that the next orders should have
    given_up: list[str]  # names of models that are switched off on this device
    notes: list[str]  # what the owner should read
    lost: str = ""  # why no model of the device's GPU works any more
    said: dict[str, list[str]] = {}  # by model: news that replace what it said before


class CommitOrder(msgspec.Struct, frozen=True, tag=True):
    number: int
    changes: list[Change]


class CloseOrder(msgspec.Struct, frozen=True, tag=True):
    """Let the derived indexes catch up and close the catalog; answered by Ready or Broken."""


class Committed(msgspec.Struct, frozen=True, tag=True):
    number: int
    commit: int


class CommitFailed(msgspec.Struct, frozen=True, tag=True):
    number: int
    full: bool  # no space left: try again later; else the order itself failed
    message: str


class Loading(msgspec.Struct, frozen=True, tag=True):
    """Inference begins to load a model."""

    model: str  # its name


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child has loaded what it needs; what inference also says is as in `InferDone`."""

    models: dict[str, str] = {}  # name → fingerprint, of all that were asked for
    group: int = 0
    given_up: list[str] = []
    notes: list[str] = []
    lost: str = ""


class Broken(msgspec.Struct, frozen=True, tag=True):
    """The child can't do its work at all, and why."""

    message: str


Reply = ReadDone | ReadFailed | Loading | InferDone | Committed | CommitFailed | Ready | Broken
Order = ReadOrder | InferOrder | CommitOrder | CloseOrder
_encode = msgspec.msgpack.Encoder().encode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode
_decode_order = msgspec.msgpack.Decoder(Order).decode


class Child:
    """The daemon's end: one process, its pipe, and since when it has been at work."""

    def __init__(self, name: str, main: Callable[..., None], *arguments: Any) -> None:
        self.connection, theirs = _context.Pipe()
        self.process = _context.Process(
            target=_run_child, args=(theirs, os.getpid(), main, arguments), name=name, daemon=True
        )
        self.process.start()
        theirs.close()
        self.started = time.monotonic()
        self.ready = False

    def send(self, order: Order) -> None:
        """Tolerates a dead child; its death is noticed by `receive`."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(_encode(order))

    def receive(self) -> Reply | None:
        """The next reply; None when the child is dead or talks nonsense (it is then killed)."""
        try:
            reply: Reply = _decode_reply(self.connection.recv_bytes())
            return reply
        except (EOFError, OSError, msgspec.DecodeError):
            self.kill()
            return None

    def kill(self) -> str:
        """End it for certain (SIGKILL also ends a stopped process), reap it, say how it died."""
        if self.process.is_alive():
            self.process.join(0.05)  # its pipe may close a moment before it is gone
        died_of = self.process.exitcode
        self.process.kill()
        self.process.join()
        self.connection.close()
        return _death(died_of)


def _death(code: int | None) -> str:
    if code is None:
        return "was stopped"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _run_child(
    connection: multiprocessing.connection.Connection,
    parent: int,
    main: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    """The child's end: set up, run `main(connection, …)`, leave quietly when the daemon is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        main(connection, *arguments)


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)


# ── reader ────────────────────────────────────────────────────────────────────────────────────


def reader_main(
    connection: multiprocessing.connection.Connection, ring: Ring, settings: Settings, read: Read
) -> None:
    """A reader: one photo at a time into the slot that the order names."""
    _silence()  # decoders print into the middle of the daemon's progress
    limit = settings.reader_memory_bytes + ring.nbytes
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    connection.send_bytes(_encode(Ready()))
    while True:
        order = _decode_order(connection.recv_bytes())
        assert isinstance(order, ReadOrder)
        connection.send_bytes(_encode(_read_one(order, ring, settings, read)))


def _read_one(order: ReadOrder, ring: Ring, settings: Settings, read: Read) -> ReadDone | ReadFailed:
    try:
        reading, thumbnail_error = read_photo(order.path, ring.pixels(order.slot), settings, read)
        ring.stamp(order.slot, order.ticket, reading.height, reading.width)
        return ReadDone(order.ticket, reading, thumbnail_error)
    except PhotoError as error:
        return _read_failed(order, error, error.reason)
    except MemoryError:
        limit = f"{settings.reader_memory_bytes / 2**30:.1f} GiB"
        message = f"decoding needs more than a reader's {limit} (setting reader_memory_bytes)"
        return _read_failed(order, TooLargeError(message), TooLargeError.reason)
    except Exception as error:  # a decoder's own exception: the photo fails, the run goes on
        return _read_failed(order, error, UnreadableError.reason)


def _read_failed(order: ReadOrder, error: Exception, reason: str) -> ReadFailed:
    return ReadFailed(order.ticket, reason, str(error)[:1000], type(error).__name__)


def _silence() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


# ── inference ─────────────────────────────────────────────────────────────────────────────────


def inference_main(
    connection: multiprocessing.connection.Connection,
    ring: Ring,
    settings: Settings,
    load_models: LoadModels,
    device: Device,
    threads: int,
    most_frames: int,
) -> None:
    """The inference process of one device: every model on every batch, while its frames are in the ring."""
    try:
        inference = Inference(settings, load_models, device, threads, most_frames)
        inference.start(lambda model: connection.send_bytes(_encode(Loading(model))))
        notes = [*inference.take_notes(), *_pin(ring, device)]
    except CatalogdError as error:
        connection.send_bytes(_encode(Broken(str(error))))
        return
    ready = Ready(inference.fingerprints, inference.group, inference.given_up, notes, inference.lost)
    connection.send_bytes(_encode(ready))
    orders: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, ring, inference, orders), daemon=True).start()
    while (work := orders.get()) is not None:
        connection.send_bytes(_encode(_infer_one(work, inference)))


def _pin(ring: Ring, device: Device) -> Iterator[str]:
    """Let the GPU copy frames from the ring by itself; says why it may not."""
    if device.kind == "cuda" and "torch" in sys.modules:
        from catalogd.models import tensors

        try:
            tensors.pin(ring.memory())
        except MemoryError as error:
            yield f"frames go to {device.label} by way of a buffer, which is slower: {error}"


@dataclasses.dataclass
class _Work:
    """An order whose frames are at hand."""

    indexes: list[int]  # of the frames in the order, without those refused
    batches: list[Batch]
    wanted: list[tuple[str, ...] | None]
    refused: dict[int, str]  # index → why its slot does not hold the frame


def _listen(
    connection: multiprocessing.connection.Connection,
    ring: Ring,
    inference: Inference,
    orders: queue.SimpleQueue[_Work | None],
) -> None:
    """Take orders in a thread of its own, so that the next one's frames go up while one is computed."""
    try:
        while True:
            order = _decode_order(connection.recv_bytes())
            assert isinstance(order, InferOrder)
            orders.put(_work_of(order, ring, inference))
    except (EOFError, OSError):
        pass  # the daemon is gone
    finally:  # whatever it was: a process that hears nothing more shall end, not hang
        orders.put(None)


def _work_of(order: InferOrder, ring: Ring, inference: Inference) -> _Work:
    frames, refused = {}, {}
    for index, item in enumerate(order.frames):
        try:
            frames[index] = ring.frame(item.slot, item.ticket)
        except PhotoError as error:
            refused[index] = str(error)
    wanted = [order.frames[index].models for index in frames]
    return _Work(list(frames), inference.divided(list(frames.values())), wanted, refused)


def _infer_one(work: _Work, inference: Inference) -> InferDone:
    outputs, seconds = inference.run(work.batches, work.wanted)
    by_index: dict[int, dict[str, Output] | str] = {**work.refused}
    by_index.update(zip(work.indexes, outputs, strict=True))
    answers = [by_index[index] for index in range(len(by_index))]
    notes, said = inference.take_notes(), inference.said()
    return InferDone(answers, seconds, inference.group, inference.given_up, notes, inference.lost, said)


# ── writer ────────────────────────────────────────────────────────────────────────────────────

_WRITER_TICK_S = 0.5  # how often an idle writer looks whether an index should follow


def writer_main(
    connection: multiprocessing.connection.Connection, settings: Settings, profile_key: bytes
) -> None:
    """The writer: the only process that writes the catalog."""
    try:
        writing = Writing(settings, profile_key)
        connection.send_bytes(_encode(Ready()))
        _write(connection, writing)
        writing.close()
    except CatalogdError as error:
        connection.send_bytes(_encode(Broken(str(error))))
    else:
        connection.send_bytes(_encode(Ready()))


def _write(connection: multiprocessing.connection.Connection, writing: Writing) -> None:
    """Commit orders as they come, until one says to close."""
    while True:
        waiting = connection.poll(_WRITER_TICK_S)
        if waiting:
            order = _decode_order(connection.recv_bytes())
            if isinstance(order, CloseOrder):
                return
            assert isinstance(order, CommitOrder)
            connection.send_bytes(_encode(writing.commit(order)))
        writing.follow(idle=not waiting)


class Writing:
    """What a writer does with its orders; also what `--inline` does, in its own process."""

    def __init__(self, settings: Settings, profile_key: bytes) -> None:
        from catalogd.catalog import Catalog  # only a writer opens it for writing

        self._catalog = Catalog.open(settings.catalog, settings, write=True)
        self._profile_key = profile_key

    def commit(self, order: CommitOrder) -> Committed | CommitFailed:
        try:
            return Committed(order.number, self._catalog.commit(order.changes, self._profile_key))
        except CatalogFullError as error:
            return CommitFailed(order.number, True, str(error))
        except CatalogdError as error:
            return CommitFailed(order.number, False, str(error))

    def follow(self, idle: bool, force: bool = False) -> None:
        """The text index and the embedding indexes follow, on their own clock or, when forced, now."""
        with contextlib.suppress(CatalogFullError):  # the next commit says so; they catch up later
            self._catalog.follow(idle=idle, force=force)

    def close(self) -> None:
        """Let the derived indexes catch up, then close."""
        try:
            self.follow(idle=True, force=True)
        finally:
            self._catalog.close()
