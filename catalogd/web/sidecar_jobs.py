"""Sidecars written, or taken back, by order of the API: one job at a time, in a thread of the server.

    begin ─▶ thread ─▶ sync_records | undo ─▶ told once a second ─▶ done | failed | cancelled

What a job has written is in its ledger, so that a server that ends in the middle loses nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator

import msgspec

from catalogd.catalog import Catalog
from catalogd.errors import CatalogdError, ConflictError
from catalogd.jobs import Job, JobBook, new_job
from catalogd.records import Record
from catalogd.settings import Settings
from catalogd.sync import Ledger, Options, Synced, sync_records, undo
from catalogd.sync.telling import OwnWords, Told

log = logging.getLogger(__name__)

TELL_EVERY_S = 1.0
STOP_S = 10.0  # for the sidecar in hand when the server ends

Work = Callable[["_Progress"], Generator[Synced, None, None]]


class SidecarJobs:
    """Of one server. Safe from any thread."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._book = JobBook(settings.catalog)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def apply(self, records: Iterator[Record], total: int, options: Options) -> Job:
        """Begin to write the sidecars of these photos. Raises ConflictError while another job works."""
        ledger = Ledger.start(self._settings.catalog)

        def work(progress: _Progress) -> Generator[Synced, None, None]:
            own_of = OwnWords(self._settings, self._catalog, options.fields)
            return sync_records(progress.counting(records), options, self._settings, ledger, own_of)

        return self._begin(new_job("sync", total), work, ledger)

    def undo(self, ledger: Ledger) -> Job:
        """Begin to take back what a run wrote."""
        job = new_job("undo", sum(1 for _ in ledger.entries()))
        return self._begin(job, lambda progress: undo(ledger, self._settings), ledger)

    def close(self) -> None:
        """End after the sidecar in hand."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _begin(self, job: Job, work: Work, ledger: Ledger) -> Job:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise ConflictError("sidecars are being written by another job: wait for it, or cancel it")
            self._book.tell(job)
            self._thread = threading.Thread(
                target=self._run, args=(job, work, ledger), name=job.kind, daemon=True
            )
            self._thread.start()
            return job

    def _run(self, job: Job, work: Work, ledger: Ledger) -> None:
        progress = _Progress(job, self._book, self._stopping)
        try:
            with Told(self._settings, self._catalog) as told, contextlib.closing(work(progress)) as done:
                for synced in done:
                    told.add(synced)
                    progress.note(synced)
                    if progress.is_over:  # a run that is taken back stays one that can be taken back
                        break
            progress.end("cancelled" if progress.is_over else "done", f"run {ledger.run}")
        except (CatalogdError, OSError) as error:
            progress.end("failed", str(error))
        except Exception as error:  # a bug: the job says so, the server goes on
            log.exception("a job failed")
            progress.end("failed", f"{type(error).__name__}: {error}")


class _Progress:
    """How far a job is, told once a second."""

    def __init__(self, job: Job, book: JobBook, stopping: threading.Event) -> None:
        self._job = job
        self._book = book
        self._stopping = stopping
        self._next = time.monotonic() + TELL_EVERY_S
        self._reasons: list[str] = []
        self._is_cancelled = False

    @property
    def is_over(self) -> bool:
        """Whether somebody wants it ended."""
        return self._is_cancelled or self._stopping.is_set()

    def counting(self, records: Iterator[Record]) -> Iterator[Record]:
        """The records until it is over, each counted when the next one is asked for."""
        for record in records:
            if self.is_over:
                return
            yield record
            self._count()

    def note(self, synced: Synced) -> None:
        """What became of a sidecar."""
        if synced.written.state == "refused":
            self._job = msgspec.structs.replace(self._job, failed=self._job.failed + 1)
            self._reasons.append(synced.written.reason)
        if self._job.kind == "undo":
            self._count()

    def end(self, state: str, what: str) -> None:
        """The last word."""
        refused = f"{self._job.failed} refused: {self._reasons[0]}" if self._reasons else ""
        message = "; ".join(filter(None, (what, refused)))
        self._book.tell(
            msgspec.structs.replace(self._job, state=state, message=message, finished_at=time.time())
        )

    def _count(self) -> None:
        self._job = msgspec.structs.replace(self._job, done=self._job.done + 1)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TELL_EVERY_S
            self._book.tell(self._job)
            self._is_cancelled = self._job.job_id in self._book.cancelled()
