"""The daemon's end of the writer process."""

from __future__ import annotations

import collections
import logging
import time
from typing import Any

from catalogd.errors import CatalogError
from catalogd.pipeline.workers import (
    Broken,
    Child,
    CloseOrder,
    CommitFailed,
    CommitOrder,
    Committed,
    Ready,
    Reply,
    Writing,
    writer_main,
)
from catalogd.records import Change
from catalogd.settings import Settings

log = logging.getLogger(__name__)

_FULL_RETRY_S = 5.0
_WRITER_DEATHS = 5
_WRITER_START_S = 60.0
_CLOSE_S = 300.0  # the writer's last text commit and catch-up


class Writer:
    """The daemon's end of the writer: one order at a time, kept until it is committed.

    ::

        add ─▶ unsent ─▶ order ─send─▶ committed
                           ▲             │ disk full: once more in a few seconds
                           └─────────────┘ writer died or hung: to a new one

    An order goes only to a writer that waits for one, so that the daemon never waits for it. A
    commit is idempotent: an order that was committed before its answer was heard does no harm.
    """

    def __init__(self, settings: Settings, key: bytes, inline: bool) -> None:
        self._settings = settings
        self._key = key
        self._unsent: collections.deque[Change] = collections.deque()
        self._oldest = 0.0  # when the first of the unsent came (monotonic)
        self._order: CommitOrder | None = None
        self._number = 0
        self._asked_at: float | None = None  # since when an answer is awaited; None: it waits for us
        self._again_at = 0.0
        self._deaths = 0
        self._ended = False
        self.committed: list[Change] = []  # until the daemon has taken note
        self.full = False  # the disk is
        self._writing = Writing(settings, key) if inline else None
        self._child = None if inline else self._spawn()
        if self._child is not None:
            self._wait_ready(self._child)

    @property
    def connections(self) -> list[Any]:
        return [self._child.connection] if self._child is not None else []

    @property
    def behind(self) -> bool:
        """Whether reading should wait, so that uncommitted records stay bounded."""
        return self.full or len(self._unsent) >= 2 * self._settings.commit_records

    @property
    def quiet(self) -> bool:
        return not self._unsent and self._order is None

    def add(self, change: Change) -> None:
        if not self._unsent:
            self._oldest = time.monotonic()
        self._unsent.append(change)

    def turn(self, wait_s: float, flush: bool) -> None:
        """Hear what was committed, send what is due."""
        if self._child is not None:
            self._hear(self._child)
        if self._asked_at is not None:
            self._enforce_deadline(self._asked_at)
        elif self._order is not None:
            if time.monotonic() >= self._again_at:
                self._send(self._order)
        elif self._is_due(wait_s, flush):
            count = min(self._settings.commit_records, len(self._unsent))
            self._number += 1
            self._order = CommitOrder(self._number, [self._unsent.popleft() for _ in range(count)])
            self._send(self._order)
        elif self._writing is not None:
            self._writing.follow(idle=False)

    def _is_due(self, wait_s: float, flush: bool) -> bool:
        waited = time.monotonic() - self._oldest
        enough = len(self._unsent) >= self._settings.commit_records
        return bool(self._unsent) and (enough or waited >= wait_s or flush)

    def _send(self, order: CommitOrder) -> None:
        if self._child is not None:
            self._asked_at = time.monotonic()
            self._child.send(order)
        elif self._writing is not None:
            self._heard(self._writing.commit(order))

    def _hear(self, child: Child) -> None:
        while self._child is child and child.connection.poll(0):
            reply = child.receive()
            if reply is None:
                self._replace(child)
            else:
                self._asked_at = None
                self._heard(reply)

    def _heard(self, reply: Reply) -> None:
        match reply:
            case Committed():
                assert self._order is not None
                self.committed.extend(self._order.changes)
                self._order, self.full, self._deaths = None, False, 0
            case CommitFailed(full=True, message=message):
                if not self.full:
                    log.warning("%s", message)
                self.full = True
                self._again_at = time.monotonic() + _FULL_RETRY_S
            case CommitFailed(message=message) | Broken(message=message):
                raise CatalogError(f"{message}; `catalogd check` looks for the cause")

    def _enforce_deadline(self, asked_at: float) -> None:
        """A writer that hangs is replaced; the store stays at its last commit."""
        limit = self._settings.write_deadline_s
        if self._child is not None and time.monotonic() - asked_at > limit:
            log.warning("the writer took longer than %g s (setting write_deadline_s)", limit)
            self._replace(self._child)

    def _replace(self, child: Child) -> None:
        death = child.kill()
        self._deaths += 1
        log.warning("the writer %s; a new one takes over", death)
        if self._deaths >= _WRITER_DEATHS:
            raise CatalogError(
                f"the writer {death}, {self._deaths} times in a row; `catalogd check` looks for the cause"
            )
        self._child = self._spawn()
        self._again_at = 0.0

    def _spawn(self) -> Child:
        self._asked_at = time.monotonic()  # until it says that it is ready
        return Child("catalogd-writer", writer_main, self._settings, self._key)

    def _wait_ready(self, child: Child) -> None:
        """Until the catalog exists and is open; its error is ours."""
        if not child.connection.poll(_WRITER_START_S):
            raise CatalogError(
                f"the catalog did not open within {_WRITER_START_S:g} s; is its disk asleep or broken?"
            )
        reply = child.receive()
        if reply is None:
            raise CatalogError(f"the writer {child.kill()} while it opened the catalog")
        self._asked_at = None
        if not isinstance(reply, Ready):
            self._heard(reply)

    def close(self) -> None:
        """Let the derived indexes catch up, and end. Raises CatalogError when they could not."""
        if self._writing is not None:
            self._writing.close()
        while self._child is not None and not self._is_closed(self._child) and not self._ended:
            self._replace(self._child)
            self._wait_ready(self._child)
        self.abandon()

    def _is_closed(self, child: Child) -> bool:
        """Have it catch up; false when it dies of that."""
        child.send(CloseOrder())
        while child.connection.poll(_CLOSE_S):
            reply = child.receive()
            if reply is None or isinstance(reply, Ready):
                return reply is not None
            self._heard(reply)
        raise CatalogError(f"the indexes did not catch up within {_CLOSE_S:g} s; the next run goes on")

    def end(self) -> None:
        """Kill the writer, whatever it is at; from a signal handler. The store stays at its last commit."""
        self._ended = True
        if self._child is not None:
            self._child.process.kill()

    def abandon(self) -> None:
        """End it now; what is not committed is found by the next run."""
        if self._child is not None:
            self._child.kill()
            self._child = None
