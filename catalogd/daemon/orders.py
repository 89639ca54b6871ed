"""The orders of a run: photos that somebody wants analysed now, before what the scan found.

    order ─listed─▶ waiting ─take─▶ begun ─settled─▶ counted
                       ▲              │
                       └── blocked ◀──┘   it is read by somebody else, or still written to

For the daemon's main thread alone. A photo that two orders name is read once for both.
"""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from catalogd.daemon.watch import is_within
from catalogd.jobs import Job, JobBook, Order, cancelled
from catalogd.pipeline.scan import FolderScan, Rules, is_wanted, scan

LOOK_EVERY_S = 1.0
LIST_S = 0.05  # of listing ordered folders at a time, for all orders: the run goes on meanwhile


class Ordered(NamedTuple):
    """A photo that shall be analysed."""

    path: bytes
    force: bool


class _Open:
    """One order under way."""

    def __init__(self, order: Order, job: Job) -> None:
        self.order = order
        self.job = job
        self.waiting: collections.deque[tuple[int, bytes]] = collections.deque()  # number in the order, path
        self.listing: Iterator[bytes] | None = None
        self.listed = 0
        self.ahead: set[int] = set()  # numbers that are settled before an earlier one
        self.changed = True

    def count(self, number: int, failed: bool) -> None:
        job, self.changed = self.job, True
        self.ahead.add(number)
        reached = job.reached
        while reached in self.ahead:
            self.ahead.remove(reached)
            reached += 1
        self.job = msgspec.structs.replace(
            job, done=job.done + 1, failed=job.failed + failed, reached=reached
        )

    @property
    def is_over(self) -> bool:
        return self.listing is None and not self.waiting and self.job.done >= self.job.total


class Orders:
    """What was ordered of this run."""

    def __init__(self, catalog: Path, roots: list[bytes], rules: Rules) -> None:
        self._book = JobBook(catalog)
        self._roots = roots
        self._rules = rules
        self._open: dict[str, _Open] = {}
        self._begun: dict[bytes, list[tuple[_Open, int]]] = {}
        self._blocked: dict[bytes, list[tuple[_Open, int]]] = {}
        self._look_at = 0.0
        self.look()
        self._book.prune()

    # -- the run's turns -------------------------------------------------------------------------

    def turn(self) -> None:
        """Take in what is new, list folders, tell; called often."""
        until = time.monotonic() + LIST_S
        for one in self._open.values():
            self._list(one, until)
        if time.monotonic() >= self._look_at:
            self.look()

    def look(self) -> None:
        """The same, now."""
        self._look_at = time.monotonic() + LOOK_EVERY_S
        for order in self._book.orders(known=self._open.keys()):
            self._take_in(order)
        for job_id in self._book.cancelled() & self._open.keys():
            self._cancel(self._open[job_id])
        for one in list(self._open.values()):
            self._tell(one)

    def close(self) -> None:
        """The run ends: what is not done waits for the next one."""
        for one in list(self._open.values()):
            if not one.is_over and not one.job.has_ended:
                one.job = msgspec.structs.replace(one.job, state="waiting")
                one.changed = True
            self._tell(one)

    @property
    def waiting(self) -> int:
        """Photos that were ordered and not begun."""
        return sum(len(one.waiting) for one in self._open.values())

    @property
    def busy(self) -> bool:
        """Whether anything of an order is not begun: blocked photos wait for others."""
        return any(one.waiting or one.listing for one in self._open.values())

    # -- one photo -------------------------------------------------------------------------------

    def take(self) -> Ordered | None:
        """The next photo, of the oldest order: begun, until the taker says that it is blocked or settled."""
        for one in self._open.values():
            while one.waiting:
                number, path = one.waiting.popleft()
                before = self._begun.get(path)
                if before is None:
                    self._begun[path] = [(one, number)]
                    return Ordered(path, one.order.force)
                if before[0][0].order.force or not one.order.force:  # one reading for both
                    before.append((one, number))
                else:
                    self._blocked.setdefault(path, []).append((one, number))
        return None

    def block(self, path: bytes) -> None:
        """It can't be begun now."""
        self._blocked.setdefault(path, []).extend(self._begun.pop(path, ()))

    def unblock(self, paths: Collection[bytes]) -> None:
        """They may be begun again, before others."""
        for path in self._blocked.keys() & set(paths):
            for one, number in self._blocked.pop(path):
                one.waiting.appendleft((number, path))

    def settled(self, path: bytes, failed: bool = False) -> None:
        """It is done, or can't be done."""
        for one, number in self._begun.pop(path, ()):
            one.count(number, failed)

    # -- orders ----------------------------------------------------------------------------------

    def _take_in(self, order: Order) -> None:
        before = self._book.told(order.job_id)
        if before is not None and before.has_ended:  # told when its run was killed, and still here
            self._book.tell(before)
            return
        job = Job(order.job_id, "analyze", "running", created_at=order.created_at, pid=os.getpid())
        if before is not None:
            failed = min(before.failed, before.reached)
            job = msgspec.structs.replace(job, done=before.reached, failed=failed, reached=before.reached)
        one = _Open(order, job)
        one.listing = self._listed(order)
        self._open[order.job_id] = one

    def _listed(self, order: Order) -> Iterator[bytes]:
        """The photos of an order, in an order that is the same the next time; b"" now and then."""
        for path in order.paths:
            root = next((root for root in self._roots if is_within(path, root)), None)
            if root is None:  # of another run's libraries
                continue
            if os.path.isdir(path):
                for folder in self._folders(root, path):
                    yield b""
                    yield from (os.path.join(folder.path, name) for name in folder.work)
            elif is_wanted(path, root, self._rules):
                yield path

    def _folders(self, root: bytes, start: bytes) -> Iterator[FolderScan]:
        return scan(root, lambda folder: {}, bytes(8), self._rules, True, start)

    def _list(self, one: _Open, until: float) -> None:
        while one.listing is not None and time.monotonic() < until:
            path = next(one.listing, None)
            if path is None:
                one.listing = None
            elif path:
                if one.listed >= one.job.reached:
                    one.waiting.append((one.listed, path))
                one.listed += 1
            one.job = msgspec.structs.replace(one.job, total=max(one.job.total, one.listed))
            one.changed = True
        if one.listing is None and one.listed < one.job.total:  # some are gone since they were counted
            one.job = msgspec.structs.replace(
                one.job, total=one.listed, done=min(one.job.done, one.listed), message=""
            )

    def _cancel(self, one: _Open) -> None:
        """What is begun is finished; nobody waits for the rest."""
        if one.is_over or one.job.has_ended:
            return
        one.waiting.clear()
        one.listing = None
        for path in list(self._blocked):
            self._blocked[path] = [entry for entry in self._blocked[path] if entry[0] is not one]
        one.job, one.changed = cancelled(one.job), True

    def _tell(self, one: _Open) -> None:
        if one.is_over and not one.job.has_ended and one.job.state != "waiting":
            nothing = "no photo of this run's libraries was named" if not one.job.total else ""
            one.job = msgspec.structs.replace(one.job, state="done", finished_at=time.time(), message=nothing)
            one.changed = True
        if one.changed and self._book.tell(one.job):  # on a full disk it is told later, and not done again
            one.changed = False
            if one.job.has_ended:
                del self._open[one.order.job_id]
                self._book.prune()
