"""Work that somebody ordered of catalogd, and how far it is: `jobs/` in the catalog's folder.

::

    API, command ── ID.order, ID.cancel ──▶ the run ── ID.job, once a second ──▶ whoever asks

An order stays on the disk until it is done or cancelled, so that a run that ends in the middle leaves
it to the next one. Files appear whole or not at all. What the API's own process does (sidecars) has a
`.job` alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from catalogd.errors import CatalogError, CatalogLockedError, NotFoundError
from catalogd.records import encode
from catalogd.run_state import Lock, is_alive, is_running

KEPT_S = 86_400.0  # that a job is shown after its end
KEPT_JOBS = 200  # at most, of those that have ended
ENDED = ("done", "cancelled", "failed")
_JOB_ID = re.compile(r"[0-9a-f]{32}")


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """Photos, and folders of them, that shall be analysed now."""

    job_id: str
    paths: tuple[bytes, ...]  # absolute, inside the libraries
    force: bool = False  # with all models, also where nothing changed
    created_at: float = 0.0  # seconds since the epoch


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a piece of ordered work is."""

    job_id: str
    kind: str  # "analyze", "sync", "undo"
    state: str  # "waiting", "running", "done", "cancelled", "failed"
    total: int = 0  # photos; grows while folders are listed
    done: int = 0  # with those that failed
    failed: int = 0
    message: str = ""
    created_at: float = 0.0  # seconds since the epoch
    finished_at: float | None = None
    pid: int = 0  # of the process that works on it
    reached: int = 0  # of an order's photos, so many of the first are done: a later run begins behind them

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


_decode_order = msgspec.msgpack.Decoder(Order).decode
_decode_job = msgspec.msgpack.Decoder(Job).decode


_Stamp = tuple[int, int, int]  # a file's inode, time and size: files are replaced, never written again


def _stamp(file: Path) -> _Stamp:
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


class JobBook:
    """The jobs of one catalog. Any number of processes may have one, and any thread may use it.

    Who keeps one reads only files that changed since it looked last.
    """

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._folder = catalog / "jobs"
        self._read: dict[str, tuple[_Stamp, Job]] = {}  # what the files of jobs said

    # -- for who orders --------------------------------------------------------------------------

    def order(self, paths: Sequence[bytes], force: bool = False) -> Job:
        """Leave an order for the run, which looks every second. Raises CatalogError when the disk is full."""
        order = Order(uuid.uuid4().hex, tuple(paths), force, time.time())
        self._write(f"{order.job_id}.order", encode(order))
        return _waiting(order)

    def cancel(self, job_id: str) -> Job:
        """Ask for what is not begun to be left; the job as it is now. Raises NotFoundError.

        An order that no run works on is over at once.
        """
        job = self.job(job_id)
        if not job.has_ended:
            self._write(f"{job_id}.cancel", b"")
        return job if job.has_ended or job.kind != "analyze" else self._dropped(job)

    def _dropped(self, job: Job) -> Job:
        """The order ended, with the catalog's lock in hand, so that no run begins it meanwhile."""
        try:
            lock = Lock(self._catalog, patience_s=0.0)
        except CatalogLockedError:  # a run hears of it, this one or the next
            return job
        try:
            job = self.job(job.job_id)
            return job if job.has_ended or not self.tell(dropped := cancelled(job)) else dropped
        finally:
            lock.release()

    def jobs(self) -> list[Job]:
        """All that are open or ended lately, the newest one first."""
        ordered = self._ids(".order")  # listed before the jobs: what ends meanwhile is among those
        jobs = {job.job_id: job for job in self._told()}
        for job_id in ordered:
            if job_id not in jobs and (job := self._found(job_id)) is not None:
                jobs[job_id] = job
        alive = is_running(self._catalog) if not all(job.has_ended for job in jobs.values()) else False
        found = [_as_it_is(job, alive) for job in jobs.values()]
        return sorted(found, key=lambda job: (job.created_at, job.job_id), reverse=True)

    def job(self, job_id: str) -> Job:
        """One of them. Raises NotFoundError."""
        found = self._found(job_id) if _JOB_ID.fullmatch(job_id) else None
        if found is None:
            raise NotFoundError(f"there is no job {job_id[:40]!r}; those that ended are kept for a day")
        return found if found.has_ended else _as_it_is(found, is_running(self._catalog))

    def _found(self, job_id: str) -> Job | None:
        """As it was told last, or waiting; looked for twice, as an order is gone once its end is told."""
        if (told := self.told(job_id)) is not None:
            return told
        order = self._order(job_id)
        return self.told(job_id) if order is None else _waiting(order)

    # -- for who works ---------------------------------------------------------------------------

    def orders(self, known: Collection[str] = ()) -> list[Order]:
        """What is not done yet, the oldest one first, but for those whose ids are `known`.

        A file that can't be read is none.
        """
        ids = [job_id for job_id in self._ids(".order") if job_id not in known]
        found = [order for job_id in ids if (order := self._order(job_id)) is not None]
        return sorted(found, key=lambda order: (order.created_at, order.job_id))

    def _order(self, job_id: str) -> Order | None:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return _decode_order((self._folder / f"{job_id}.order").read_bytes())
        return None

    def cancelled(self) -> set[str]:
        """The ids of jobs that somebody wants ended."""
        return set(self._ids(".cancel"))

    def told(self, job_id: str) -> Job | None:
        """How far a job was when it was told last."""
        file = self._folder / f"{job_id}.job"
        try:
            stamp = _stamp(file)
            before = self._read.get(job_id)
            if before is None or before[0] != stamp:
                before = self._read[job_id] = stamp, _decode_job(file.read_bytes())
            return before[1]
        except (OSError, msgspec.DecodeError):
            self._read.pop(job_id, None)
            return None

    def tell(self, job: Job) -> bool:
        """Let others know how far it is; the order of one that has ended is gone then.

        False when it could not be told, as on a full disk: to be told later.
        """
        try:
            self._write(f"{job.job_id}.job", encode(job))
        except CatalogError:
            return False
        if job.has_ended:
            for suffix in (".order", ".cancel"):
                (self._folder / f"{job.job_id}{suffix}").unlink(missing_ok=True)
        return True

    def prune(self) -> None:
        """Forget what ended long ago, and what was being written when a process ended."""
        jobs = [_as_it_is(job, run_is_alive=False) for job in self._told()]
        ended = [(job.finished_at or job.created_at, job.job_id) for job in jobs if job.has_ended]
        for place, (ended_at, job_id) in enumerate(sorted(ended, reverse=True)):
            if place >= KEPT_JOBS or time.time() - ended_at > KEPT_S:
                (self._folder / f"{job_id}.job").unlink(missing_ok=True)
        for file in self._folder.glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > KEPT_S:
                    file.unlink()

    # -- files -----------------------------------------------------------------------------------

    def _told(self) -> list[Job]:
        ids = self._ids(".job")
        for gone in self._read.keys() - set(ids):
            self._read.pop(gone, None)
        return [job for job_id in ids if (job := self.told(job_id)) is not None]

    def _ids(self, suffix: str) -> list[str]:
        """The jobs that have such a file."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        ids = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
        return [job_id for job_id in ids if _JOB_ID.fullmatch(job_id)]

    def _write(self, name: str, content: bytes) -> None:
        aside = self._folder / f".{name}.{uuid.uuid4().hex}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            aside.write_bytes(content)
            aside.replace(self._folder / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise CatalogError(f"{self._folder}: {error.strerror}") from None


def new_job(kind: str, total: int = 0) -> Job:
    """One that this process begins itself."""
    return Job(uuid.uuid4().hex, kind, "running", total, created_at=time.time(), pid=os.getpid())


def cancelled(job: Job) -> Job:
    """The job, ended by somebody."""
    return msgspec.structs.replace(job, state="cancelled", finished_at=time.time(), message="cancelled")


def _waiting(order: Order) -> Job:
    return Job(order.job_id, "analyze", "waiting", len(order.paths), created_at=order.created_at)


def _as_it_is(job: Job, run_is_alive: bool) -> Job:
    """What a process that is gone said last is not what is: an order waits then, other work has failed."""
    if job.has_ended:
        return job
    if job.kind == "analyze":
        text = "" if run_is_alive else "no run is indexing now; the next `catalogd run` goes on with it"
        return job if run_is_alive else msgspec.structs.replace(job, state="waiting", message=text)
    if is_alive(job.pid):
        return job
    return msgspec.structs.replace(job, state="failed", message="the process that worked on it ended")
