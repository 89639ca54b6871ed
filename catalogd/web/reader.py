"""Photos read for the API in a process of their own: a decoder that dies takes no server with it.

    handler ─▶ queue ─▶ thread ─▶ reader_main, as of a run, on a ring of one slot
                          │          dies, hangs, eats its memory: that photo is refused, the next one
                          │          gets a fresh process
                          └── quiet for a minute: the process ends, and this thread with it

The thread that starts the process stays as long as it: Linux ends a child with the thread that it is of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from catalogd.errors import CrashedError, DeadlineError, ResourceError
from catalogd.images import Reading, read_frame
from catalogd.pipeline import reason_error
from catalogd.pipeline.ring import Frame, Ring
from catalogd.pipeline.stages import Read
from catalogd.pipeline.workers import Child, ReadDone, ReadFailed, ReadOrder, Ready, Reply, reader_main
from catalogd.settings import Settings

if TYPE_CHECKING:
    from typing import Self

IDLE_S = 60.0  # somebody who pages through photos asks again before that; a start takes a second
START_S = 60.0  # a loaded machine needs ten
MOST_WAITING = 16  # each for a file that may take its whole deadline
_LOOK_EVERY_S = 0.2  # whether the server ends
_ENDS = "the server ends: ask the next one"


@dataclasses.dataclass(frozen=True)
class _Asked:
    path: bytes
    pixels: Frame
    reading: Future[Reading] = dataclasses.field(default_factory=Future)


class Reader:
    """Stands in for `read_frame`. Safe from any thread. Use it as a context manager, or `close` it."""

    def __init__(self, settings: Settings, read: Read = read_frame) -> None:
        self._settings = dataclasses.replace(settings, thumbnails=False)  # looked at, not indexed
        self._read = read
        self._queue: queue.Queue[_Asked] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, path: bytes, pixels: Frame, settings: Settings, /) -> Reading:
        """As `read_frame`, one photo after the other; `settings` are those that it was made with.

        Raises PhotoError, also for a file that a decoder dies of, and ResourceError.
        """
        asked = _Asked(path, pixels)
        with self._lock:
            if self._closing.is_set() or self._queue.qsize() >= MOST_WAITING:
                raise ResourceError("too many pictures are asked for at once: ask again in a moment")
            self._queue.put(asked)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="reader", daemon=True)
                self._thread.start()
        return asked.reading.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """What is being read is dropped. Twice is fine."""
        with self._lock:
            self._closing.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        with _Process(self._settings, self._read, self._closing) as process:
            while (asked := self._next()) is not None:
                try:
                    asked.reading.set_result(process.read(asked.path, asked.pixels))
                except Exception as error:  # it is raised where it was asked
                    asked.reading.set_exception(error)

    def _next(self) -> _Asked | None:
        """What was asked; None when this thread has ended its work."""
        end = time.monotonic() + IDLE_S
        while True:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=_LOOK_EVERY_S)
            with self._lock:
                is_over = self._closing.is_set() or time.monotonic() >= end
                if is_over and self._queue.empty():
                    self._thread = None
                    return None


class _Process:
    """The reader's process, there while its thread is. A context manager of that thread."""

    def __init__(self, settings: Settings, read: Read, closing: threading.Event) -> None:
        self._settings = settings
        self._read = read
        self._closing = closing
        self._ring: Ring | None = None
        self._child: Child | None = None
        self._ticket = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self._ring is not None:
            self._ring.close()

    def read(self, path: bytes, pixels: Frame) -> Reading:
        """Read the photo's frame to the start of `pixels`."""
        child, ring = self._started()
        self._ticket += 1
        child.send(ReadOrder(self._ticket, 0, path))
        limit_s = self._settings.read_deadline_s
        late = DeadlineError(f"reading took longer than {limit_s:g} s (setting read_deadline_s)")
        reply = self._reply(child, limit_s, late)
        if isinstance(reply, ReadFailed):
            raise reason_error(reply.reason, reply.message)
        if not isinstance(reply, ReadDone) or reply.ticket != self._ticket:
            raise CrashedError(f"its reader {self._end()}")
        frame = ring.frame(0, self._ticket)
        if frame.shape[:2] != (reply.reading.height, reply.reading.width):
            raise CrashedError("its reader announced another frame than it made")
        pixels[: math.prod(frame.shape)] = frame.reshape(-1)
        return reply.reading

    def _started(self) -> tuple[Child, Ring]:
        """The process, a new one when it is gone, and its ring."""
        if self._closing.is_set():
            raise ResourceError(_ENDS)
        if self._ring is None:
            self._ring = Ring(1, self._settings.frame_edge_px)
        if self._child is not None and not self._child.process.is_alive():
            self._end()
        if self._child is None:
            self._child = Child("catalogd-reader", reader_main, self._ring, self._settings, self._read)
            late = ResourceError(f"no process to read photos with within {START_S:g} s: ask again")
            if not isinstance(self._reply(self._child, START_S, late), Ready):
                raise ResourceError(f"the process to read photos with {self._end()}")
        return self._child, self._ring

    def _reply(self, child: Child, limit_s: float, late: Exception) -> Reply | None:
        """The next reply; None from a dead child. Raises `late`, and ends the child, when there is none."""
        end = time.monotonic() + limit_s
        while not child.connection.poll(_LOOK_EVERY_S):
            if self._closing.is_set():
                late = ResourceError(_ENDS)
            if self._closing.is_set() or time.monotonic() >= end:
                self._end()
                raise late
        return child.receive()

    def _end(self) -> str:
        """End the process; how it died."""
        child, self._child = self._child, None
        return "was stopped" if child is None else child.kill()
