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
from collections.abc import Sequence
from pathlib import Path

import msgspec

from catalogd.errors import CatalogError, NotFoundError
from catalogd.records import encode
from catalogd.run_state import is_alive, is_running

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


class JobBook:
    """The jobs of one catalog. Any number of processes may have one."""

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._folder = catalog / "jobs"

    # -- for who orders --------------------------------------------------------------------------

    def order(self, paths: Sequence[bytes], force: bool = False) -> Job:
        """Leave an order for the run, which looks every second. Raises CatalogError when the disk is full."""
        order = Order(uuid.uuid4().hex, tuple(paths), force, time.time())
        self._write(f"{order.job_id}.order", encode(order))
        return _waiting(order)

    def cancel(self, job_id: str) -> Job:
        """Ask for what is not begun to be left; the job as it is now. Raises NotFoundError."""
        job = self.job(job_id)
        if not job.has_ended:
            self._write(f"{job_id}.cancel", b"")
        return job

    def jobs(self) -> list[Job]:
        """All that are open or ended lately, the newest one first."""
        told = {job.job_id: job for job in self._told()}
        waiting = {order.job_id: _waiting(order) for order in self.orders() if order.job_id not in told}
        alive = is_running(self._catalog) if told or waiting else False
        jobs = [_as_it_is(job, alive) for job in {**waiting, **told}.values()]
        return sorted(jobs, key=lambda job: (job.created_at, job.job_id), reverse=True)

    def job(self, job_id: str) -> Job:
        """One of them. Raises NotFoundError."""
        found = next((job for job in self.jobs() if job.job_id == job_id), None)
        if found is None:
            raise NotFoundError(f"there is no job {job_id[:40]!r}; those that ended are kept for a day")
        return found

    # -- for who works ---------------------------------------------------------------------------

    def orders(self) -> list[Order]:
        """What is not done yet, the oldest one first. A file that can't be read is none."""
        found = []
        for file in self._files(".order"):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                found.append(_decode_order(file.read_bytes()))
        return sorted(found, key=lambda order: (order.created_at, order.job_id))

    def cancelled(self) -> set[str]:
        """The ids of jobs that somebody wants ended."""
        return {file.stem for file in self._files(".cancel")}

    def told(self, job_id: str) -> Job | None:
        """How far a job was when it was told last."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return _decode_job((self._folder / f"{job_id}.job").read_bytes())
        return None

    def tell(self, job: Job) -> None:
        """Let others know how far it is; the order of one that has ended is gone then."""
        with contextlib.suppress(CatalogError):  # a full disk: told later
            self._write(f"{job.job_id}.job", encode(job))
            if job.has_ended:
                for suffix in (".order", ".cancel"):
                    (self._folder / f"{job.job_id}{suffix}").unlink(missing_ok=True)

    def prune(self) -> None:
        """Forget what ended long ago."""
        ended = [job for job in self._told() if job.has_ended]
        ended.sort(key=lambda job: job.finished_at or 0.0, reverse=True)
        for place, job in enumerate(ended):
            if place >= KEPT_JOBS or time.time() - (job.finished_at or 0.0) > KEPT_S:
                (self._folder / f"{job.job_id}.job").unlink(missing_ok=True)

    # -- files -----------------------------------------------------------------------------------

    def _told(self) -> list[Job]:
        return [job for file in self._files(".job") if (job := self.told(file.stem)) is not None]

    def _files(self, suffix: str) -> list[Path]:
        return [file for file in self._folder.glob(f"*{suffix}") if _JOB_ID.fullmatch(file.stem)]

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
