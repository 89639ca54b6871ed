"""`catalogd run`: scan, index, then watch, until it is told to stop.

One thread scans (and another watches the disk); the main thread owns the engine, the writer and
all state, and waits in one place for whatever comes first::

    roots ─▶ scanner thread ─▶ folders with work ─▶ tasks ─▶ engine ─▶ outcomes ─▶ orders ─▶ writer
                 ▲                                                                    ▲
            watch thread (changed folders)                    moved, missing, retried ┘

The daemon keeps nothing that it could not find again: what is done is in the catalog, what is not
is found by the next scan.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import watchfiles
import xxhash

from catalogd.catalog import Catalog
from catalogd.errors import CatalogError, CatalogLockedError, PhotoError, UsageError
from catalogd.images import PHOTO_EXTENSIONS, fingerprint_file, read_frame
from catalogd.pipeline import Engine, InlineEngine, LoadModels
from catalogd.pipeline.scan import FolderScan, Rules, scan
from catalogd.pipeline.stages import Read
from catalogd.pipeline.workers import (
    Broken,
    Child,
    CommitFailed,
    CommitOrder,
    Committed,
    Ready,
    Reply,
    Writing,
    writer_main,
)
from catalogd.records import Change, Failure, Missing, Moved, Record, Retry, Stat, Task
from catalogd.settings import Settings

log = logging.getLogger(__name__)

_STEP_S = 0.2  # the longest wait: signals, requests and progress are looked at this often
_STATUS_EVERY_S = 1.0
_LOOK_AWAY_S = 5.0
_QUIET_STATUS_EVERY_S = 15.0  # nothing happens: a disk may sleep
_RATE_WINDOW_S = 30.0
_FULL_RETRY_S = 5.0
_RESCAN_S = 3600.0  # changes that no event told (network shares): a rescan of 500,000 photos costs seconds
_ORDERS_AHEAD = 2
_WRITER_DEATHS = 5
_WRITER_START_S = 60.0
_WATCH_AGAIN_S = 2.0
_CLOSE_S = 300.0  # the writer's last text commit and catch-up
_LOCK_PATIENCE_S = 1.0  # who only asks whether a run is alive holds the lock for a moment
_STATUS_BLOCK_BYTES = 4096  # run.json is padded to these, so that a full disk can still be reported


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run is; what the terminal shows, `--json` prints and `catalogd status` reads."""

    state: str  # "loading", "indexing", "watching", "disk_full", "draining", "done"
    scanning: bool
    total: int  # photos that this run found to do so far
    done: int
    failed: int
    moved: int
    missing: int
    unchanged: int
    model_errors: dict[str, int]  # model → photos on which it alone failed; see `catalogd show`
    rate: float  # photos a second over the last 30 s
    eta_s: float | None
    limit: str  # "reading", "inference", "writing", "loading", "-"
    ring_used: int
    ring_slots: int
    elapsed_s: float
    offline: tuple[str, ...]  # roots and mounts that are not there now
    notes: tuple[str, ...]  # what the owner should know: a smaller ring, a folder that can't be read

    @property
    def pending(self) -> int:
        return self.total - self.done


Report = Callable[[Progress], None]


class Lock:
    """One run a catalog. Others read who holds it."""

    def __init__(self, catalog: Path, patience_s: float = _LOCK_PATIENCE_S) -> None:
        catalog.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(catalog / "run.lock")
        try:
            self._lock.acquire(timeout=patience_s)
        except filelock.Timeout:
            raise CatalogLockedError(_held(catalog)) from None

    def release(self) -> None:
        self._lock.release()


def _held(catalog: Path) -> str:
    status = read_status(catalog)
    who = f"process {status['pid']} on {status['host']}" if status else "another process"
    return f"{catalog} is in use by {who}; stop it first (Ctrl-C there), or use another --catalog"


def is_running(catalog: Path) -> bool:
    """Whether a run holds the catalog now."""
    if not (catalog / "run.lock").exists():
        return False
    try:
        Lock(catalog, patience_s=0.0).release()
    except CatalogLockedError:
        return True
    return False


def read_status(catalog: Path) -> dict[str, Any] | None:
    """What the last run wrote about itself; None when there is nothing."""
    try:
        status = json.loads((catalog / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None


def request_retry(catalog: Path, paths: list[bytes]) -> None:
    """Ask the running daemon to try failed photos again; it looks every second."""
    folder = catalog / "requests"
    folder.mkdir(exist_ok=True)
    aside = folder / f"{uuid.uuid4().hex}.tmp"
    aside.write_text(json.dumps([os.fsdecode(path) for path in paths]), "ascii")
    aside.rename(aside.with_suffix(".json"))


def _overwrite(file: Path, text: str) -> None:
    """Write into the blocks that the file has already; nothing happens when that fails too."""
    with contextlib.suppress(OSError), file.open("r+", encoding="ascii") as stream:
        stream.write(text.ljust(os.fstat(stream.fileno()).st_size))


def profile_key(fingerprints: dict[str, str]) -> bytes:
    """8 bytes that change when any model of the profile does."""
    text = "\n".join(f"{name}={fingerprint}" for name, fingerprint in sorted(fingerprints.items()))
    return xxhash.xxh3_64_digest(text.encode())


class Daemon:
    """One `catalogd run`."""

    def __init__(
        self,
        settings: Settings,
        roots: list[bytes],
        load_models: LoadModels,
        *,
        once: bool = False,
        inline: bool = False,
        include: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
        report: Report | None = None,
        read: Read = read_frame,
    ) -> None:
        self._settings = settings
        self._roots = _real_roots(roots)
        self._load_models = load_models
        self._read = read
        self._once = once
        self._inline = inline
        self._rules = Rules(PHOTO_EXTENSIONS, include, exclude, settings.follow_symlinks)
        self._report = report or (lambda progress: None)
        self._stops = 0
        self._counts: collections.Counter[str] = collections.Counter()
        self._finished_at: collections.deque[tuple[float, int]] = collections.deque()
        self._started = time.monotonic()
        self._started_at = time.time()
        self._next_report = 0.0
        self._told: Progress | None = None
        self._next_quiet_status = 0.0
        self._away: list[bytes] = []  # what was offline at the last look
        self._look_away_at = 0.0
        self._notes: list[str] = []
        self._model_errors: collections.Counter[str] = collections.Counter()
        self._mounts = _load_mounts(settings.catalog)
        self._under_way: set[bytes] = set()  # paths that a commit will settle
        self._moving: set[int] = set()  # photos that a commit will move
        self._look_later: set[bytes] = set()  # paths to look at again once they are settled

    def run(self) -> int:
        """Work until done (`once`) or told to stop. Returns the exit code: 0, 3 (photos failed), 130."""
        lock = Lock(self._settings.catalog)
        try:
            with self._signals():
                return self._run()
        finally:
            self._write_status(self._progress("done"), running=False)
            lock.release()

    def _run(self) -> int:
        self._fingerprints = {model.name: model.fingerprint for model in self._load_models()}
        self._key = key = profile_key(self._fingerprints)
        with contextlib.ExitStack() as stack:
            self._writer = _Writer(self._settings, key, self._inline)
            stack.callback(self._writer.close)
            self._catalog = stack.enter_context(Catalog.open(self._settings.catalog, self._settings))
            self._scanner = _Scanner(self._roots, self._catalog, key, self._rules, self._mounts)
            stack.callback(self._scanner.stop)
            if not self._once:
                stack.callback(_Watcher(self._roots, self._scanner).stop)
            engine_class: type[Engine] | type[InlineEngine] = InlineEngine if self._inline else Engine
            self._engine: Engine | InlineEngine = engine_class(self._settings, self._load_models, self._read)
            stack.callback(self._engine.close)
            self._tell_about_ring()
            self._tasks = self._find_tasks()
            self._loop()
            if self._stops > 1:
                self._writer.abandon()
                return 130
        self._tell("done", force=True)
        if self._stops:
            return 130 if self._once else 0
        return 3 if self._counts["failed"] else 0

    def _loop(self) -> None:
        """The whole run: feed, step, collect, commit, tell; until there is nothing left to do."""
        while self._stops < 2:
            scanning = self._scanner.busy  # asked first: what it finds from now on is not idle
            self._feed()
            self._collect(self._engine.step(self._patience(), self._writer.connections))
            self._notice_scans()
            self._take_requests()
            self._writer.turn(self._settings.commit_wait_s, flush=self._idle)
            self._notice_commits()
            self._tell(self._state())
            if self._stops and self._writer.full:  # what can't be committed is found by the next run
                return
            over = self._stops or (self._once and not scanning and not self._scanner.busy)
            if over and self._idle and self._writer.quiet:
                return

    @property
    def _idle(self) -> bool:
        return not self._engine.busy and (self._stops > 0 or not (self._scanner.found or self._scanner.gone))

    def _patience(self) -> float:
        return 0.0 if self._inline and not self._idle else _STEP_S

    # ── work ──────────────────────────────────────────────────────────────────────────────────

    def _feed(self) -> None:
        while not self._stops and not self._writer.behind and self._engine.wants_task:
            try:
                task = next(self._tasks)
            except StopIteration:
                self._tasks = self._find_tasks()
                return
            if task is not None:
                self._under_way.add(task.path)
                self._engine.offer(task)

    def _find_tasks(self) -> Iterator[Task | None]:
        """Tasks for what the scanner has found; None for a photo that was settled on the way."""
        while self._scanner.found:
            found = self._scanner.found[0]
            for name in found.work:
                yield self._task(os.path.join(found.path, name))
            self._scanner.found.popleft()

    def _task(self, path: bytes) -> Task | None:
        """What is to be done for one photo that the scan named; None when it is done already."""
        try:
            status = os.stat(path)
        except OSError:  # gone again: the next event or scan knows
            self._count_done("vanished")
            return None
        stat = Stat(status.st_size, status.st_mtime_ns)
        if path in self._under_way:  # changed again while it is worked on
            self._look_later.add(path)
            self._count_done("current")
            return None
        entry = self._catalog.file_entry(path)
        if entry is None:
            return self._new_task(path, stat)
        if entry.stat != stat:
            return Task(path, photo_id=entry.photo_id)
        if not entry.photo_id or entry.profile_key == self._key:  # failed, or done since the scan
            self._count_done("current")
            return None
        return self._stale_task(path, stat, entry.photo_id)

    def _new_task(self, path: bytes, stat: Stat) -> Task | None:
        known = self._moved_from(path, stat)
        if known is None:
            return Task(path)
        self._settle(Moved(known.photo_id, path, stat))
        self._moving.add(known.photo_id)
        if self._stale(known):
            self._look_later.add(path)
        self._count_done("moved")
        return None

    def _stale_task(self, path: bytes, stat: Stat, photo_id: int) -> Task | None:
        """Run just the models whose output is missing or was made by another version."""
        record = self._catalog.record(photo_id)
        if record is None:
            return Task(path)
        if stale := self._stale(record):
            return Task(path, stale, photo_id)
        self._settle(Moved(photo_id, path, stat, current=True))  # its entry gets the profile's key
        self._count_done("current")
        return None

    def _stale(self, record: Record) -> tuple[str, ...]:
        return tuple(
            name
            for name, fingerprint in self._fingerprints.items()
            if name not in record.outputs or record.outputs[name].fingerprint != fingerprint
        )

    def _moved_from(self, path: bytes, stat: Stat) -> Record | None:
        """The photo with this content that was known elsewhere and is gone there, or was missing here."""
        if not self._catalog.any_photo_of_size(stat.size):
            return None
        with contextlib.suppress(OSError, PhotoError):
            for photo_id in self._catalog.photos_with_content(stat.size, fingerprint_file(path)):
                record = self._catalog.record(photo_id)
                if record is None or photo_id in self._moving:
                    continue
                if record.path == path or self._is_gone(record.path):
                    return record
        return None

    def _is_gone(self, path: bytes) -> bool:
        return not os.path.lexists(path) and not self._is_offline(path)

    def _settle(self, change: Change) -> None:
        self._under_way.add(change.path)
        self._writer.add(change)

    def _collect(self, outcomes: list[Record | Failure]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Failure) and not os.path.lexists(outcome.path):  # gone before it was read
                self._under_way.discard(outcome.path)
                self._look_later.discard(outcome.path)
                self._scanner.look_again({os.path.dirname(outcome.path)})
                self._count_done("vanished")
                continue
            self._writer.add(outcome)
            self._count_done("failed" if isinstance(outcome, Failure) else "indexed")
            if isinstance(outcome, Record):
                self._model_errors.update(name for name, output in outcome.outputs.items() if output.error)
            else:
                log.warning(
                    "%s: %s: %s: %s",
                    outcome.stage,
                    outcome.reason,
                    outcome.message,
                    os.fsdecode(outcome.path),
                )

    def _notice_commits(self) -> None:
        for change in self._writer.committed:
            self._under_way.discard(change.path)
            if isinstance(change, Moved):
                self._moving.discard(change.photo_id)
            if change.path in self._look_later:
                self._look_later.discard(change.path)
                self._scanner.look_again({os.path.dirname(change.path)})
        self._writer.committed.clear()

    def _count_done(self, kind: str) -> None:
        """Work that turns out to be none (`current`, `vanished`) does not count as a photo of the run."""
        self._counts[kind] += 1
        self._counts["needless" if kind in ("current", "vanished") else "done"] += 1

    # ── what the scanner says ─────────────────────────────────────────────────────────────────

    def _notice_scans(self) -> None:
        mounts = self._scanner.mounts.copy()
        if mounts != self._mounts:
            self._mounts = mounts
            _save_mounts(self._settings.catalog, mounts)
        while self._scanner.gone:
            path = self._scanner.gone.popleft()
            if not self._is_gone(path):
                continue
            if path in self._under_way:  # else its record would come after
                self._look_later.add(path)
            else:
                self._settle(Missing(path, time.time()))
                self._counts["missing"] += 1
        while self._scanner.errors:
            self._note(self._scanner.errors.popleft())
        if self._scanner.broken is not None:
            raise self._scanner.broken

    def _is_offline(self, path: bytes) -> bool:
        """Whether the disk that held this path is away: then its photos are not gone."""
        return any(_is_within(path, place) for place in self._offline())

    def _offline(self) -> list[bytes]:
        roots = [root for root in self._roots if not _has_entries(root)]
        return roots + [mount for mount in self._mounts if not os.path.ismount(mount)]

    def _recently_offline(self) -> list[bytes]:
        """For people: looked at now and then, so that a disk may sleep."""
        if time.monotonic() >= self._look_away_at:
            self._away = self._offline()
            self._look_away_at = time.monotonic() + _LOOK_AWAY_S
        return self._away

    def _take_requests(self) -> None:
        folder = self._settings.catalog / "requests"
        if not folder.is_dir():
            return
        for file in folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                paths = [os.fsencode(str(path)) for path in json.loads(file.read_text("ascii"))]
                for path in paths:
                    self._settle(Retry(path))
                self._look_later.update(paths)
            file.unlink(missing_ok=True)

    # ── telling ───────────────────────────────────────────────────────────────────────────────

    def _state(self) -> str:
        if self._stops:
            return "draining"
        if self._writer.full:
            return "disk_full"
        if not self._engine.fingerprints:
            return "loading"
        return "indexing" if self._engine.busy or self._scanner.busy or self._scanner.found else "watching"

    def _tell(self, state: str, force: bool = False) -> None:
        now = time.monotonic()
        if now < self._next_report and not force:
            return
        self._next_report = now + _STATUS_EVERY_S
        self._finished_at.append((now, self._counts["done"]))
        while len(self._finished_at) > 2 and now - self._finished_at[0][0] > _RATE_WINDOW_S:
            self._finished_at.popleft()
        progress = self._progress(state)
        self._report(progress)
        quiet = dataclasses.replace(progress, elapsed_s=0.0)
        if quiet != self._told or now >= self._next_quiet_status:
            self._told, self._next_quiet_status = quiet, now + _QUIET_STATUS_EVERY_S
            self._write_status(progress, running=True)

    def _progress(self, state: str) -> Progress:
        engine = self._engine.state if hasattr(self, "_engine") else None
        found = self._scanner.work_count if hasattr(self, "_scanner") else 0
        total = found - self._counts["needless"]
        rate = self._rate()
        pending = max(0, total - self._counts["done"])
        return Progress(
            state=state,
            scanning=hasattr(self, "_scanner") and self._scanner.busy,
            total=max(total, self._counts["done"]),
            done=self._counts["done"],
            failed=self._counts["failed"],
            moved=self._counts["moved"],
            missing=self._counts["missing"],
            unchanged=self._scanner.unchanged_count if hasattr(self, "_scanner") else 0,
            rate=rate,
            eta_s=pending / rate if rate and pending else (0.0 if not pending else None),
            limit=self._limit(state, engine.limit if engine else "-"),
            ring_used=engine.slots_used if engine else 0,
            ring_slots=engine.slots if engine else 0,
            elapsed_s=time.monotonic() - self._started,
            offline=tuple(os.fsdecode(path) for path in self._recently_offline()),
            notes=tuple(self._notes),
            model_errors=dict(self._model_errors),
        )

    def _rate(self) -> float:
        if len(self._finished_at) < 2:
            return 0.0
        (then, before), (now, after) = self._finished_at[0], self._finished_at[-1]
        return (after - before) / (now - then) if now > then else 0.0

    def _limit(self, state: str, engine_limit: str) -> str:
        if state in ("loading", "watching", "done"):
            return "-"
        return "writing" if self._writer.full or self._writer.behind else engine_limit

    def _write_status(self, progress: Progress, running: bool) -> None:
        status = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "roots": [os.fsdecode(root) for root in self._roots],
            "running": running,
            "started_at": self._started_at,
            "updated_at": time.time(),
            "profile": self._settings.profile,
            "pending": progress.pending,
            **dataclasses.asdict(progress),
        }
        text = json.dumps(status)
        text += " " * (-len(text) % _STATUS_BLOCK_BYTES)
        aside = self._settings.catalog / "run.json.tmp"
        try:
            aside.write_text(text, "ascii")
            aside.replace(self._settings.catalog / "run.json")
        except OSError:  # a full disk must not stop the run that reports it
            _overwrite(self._settings.catalog / "run.json", text)
            aside.unlink(missing_ok=True)

    def _tell_about_ring(self) -> None:
        slots, asked = self._engine.state.slots, self._engine.asked_slots
        if slots < asked:
            self._note(
                f"shared memory is small: {slots} frames in flight instead of {asked} "
                "(docker: --shm-size=256m)"
            )

    def _note(self, text: str) -> None:
        if text not in self._notes and len(self._notes) < 20:
            self._notes.append(text)
        log.warning("%s", text)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """First Ctrl-C or SIGTERM: drain. Second: stop at once, even while we wait for the writer."""

        def stop(*_: object) -> None:
            self._stops += 1
            if self._stops > 1 and hasattr(self, "_writer"):
                self._writer.end()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Writer:
    """The daemon's end of the writer: orders sent and not yet committed are kept, and sent again.

    A writer that dies is replaced; a commit is idempotent, so an order that was committed before
    its answer was heard does no harm.
    """

    def __init__(self, settings: Settings, key: bytes, inline: bool) -> None:
        self._settings = settings
        self._key = key
        self._unsent: list[Change] = []
        self._oldest = 0.0
        self._sent: collections.deque[CommitOrder] = collections.deque()
        self.committed: list[Change] = []  # until the daemon has taken note
        self._number = 0
        self._deaths = 0
        self._refused: set[int] = set()  # numbers of orders that found the disk full
        self._full_until = 0.0
        self._writing = Writing(settings, key) if inline else None
        self._child = None if inline else self._spawn()
        if self._child is not None:
            self._wait_ready(self._child)

    @property
    def connections(self) -> list[Any]:
        return [self._child.connection] if self._child is not None else []

    @property
    def full(self) -> bool:
        """Whether the disk is full: what was sent is sent again every few seconds."""
        return bool(self._refused)

    @property
    def behind(self) -> bool:
        """Whether reading should wait, so that uncommitted records stay bounded."""
        return self.full or len(self._unsent) >= 2 * self._settings.commit_records

    @property
    def quiet(self) -> bool:
        return not self._unsent and not self._sent

    def add(self, change: Change) -> None:
        if not self._unsent:
            self._oldest = time.monotonic()
        self._unsent.append(change)

    def turn(self, wait_s: float, flush: bool) -> None:
        """Hear what was committed, send what is due."""
        if self._child is not None:
            self._hear(self._child)
        if self.full:
            self._try_again()
            return
        waited = time.monotonic() - self._oldest
        due = len(self._unsent) >= self._settings.commit_records or waited >= wait_s or flush
        if self._unsent and due and len(self._sent) < _ORDERS_AHEAD:
            count = self._settings.commit_records
            self._number += 1
            order = CommitOrder(self._number, self._unsent[:count])
            self._unsent = self._unsent[count:]
            self._sent.append(order)
            self._send(order)
        elif self._writing is not None:
            self._writing.follow(idle=False)

    def _send(self, order: CommitOrder) -> None:
        if self._child is not None:
            self._child.send(order)
        elif self._writing is not None:
            self._heard(self._writing.commit(order))

    def _hear(self, child: Child) -> None:
        while self._child is child and child.connection.poll(0):
            reply = child.receive()
            if reply is None:
                self._replace(child)
                return
            self._heard(reply)

    def _heard(self, reply: Reply) -> None:
        match reply:
            case Committed(number=number):
                self._deaths = 0
                self._refused.discard(number)
                for order in self._sent:
                    if order.number == number:
                        self._sent.remove(order)
                        self.committed.extend(order.changes)
                        break
            case CommitFailed(number=number, full=True, message=message):
                if not self._refused:
                    log.warning("%s", message)
                    self._full_until = time.monotonic() + _FULL_RETRY_S
                self._refused.add(number)
            case CommitFailed(message=message) | Broken(message=message):
                raise CatalogError(f"{message}; `catalogd check` looks for the cause")

    def _try_again(self) -> None:
        if time.monotonic() >= self._full_until:
            self._full_until = time.monotonic() + _FULL_RETRY_S
            for order in [order for order in self._sent if order.number in self._refused]:
                self._send(order)

    def _replace(self, child: Child) -> None:
        death = child.kill()
        self._deaths += 1
        log.warning("the writer %s; a new one takes over", death)
        if self._deaths >= _WRITER_DEATHS:
            raise CatalogError(
                f"the writer {death}, {self._deaths} times in a row; `catalogd check` looks for the cause"
            )
        self._child = self._spawn()
        self._refused.clear()
        for order in self._sent:
            self._child.send(order)

    def _spawn(self) -> Child:
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
        if not isinstance(reply, Ready):
            self._heard(reply)

    def close(self) -> None:
        """Let the derived indexes catch up, and end."""
        if self._writing is not None:
            self._writing.__exit__()
        if self._child is not None:
            self._child.stop(_CLOSE_S)

    def end(self) -> None:
        """Kill the writer, whatever it is at; from a signal handler. The store stays at its last commit."""
        if self._child is not None:
            self._child.process.kill()

    def abandon(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


class _Scanner(threading.Thread):
    """Scans what it is asked to; found work waits in `found`, a folder an entry.

    Names of one folder share its path, so that a photo that waits costs little more than its name.
    """

    def __init__(
        self, roots: list[bytes], catalog: Catalog, key: bytes, rules: Rules, mounts: set[bytes]
    ) -> None:
        super().__init__(name="scan", daemon=True)
        self._catalog = catalog
        self._key = key
        self._rules = rules
        self._roots = roots
        self._wake = threading.Event()
        self._stopped = False
        self._asked: collections.deque[tuple[bytes, bool]] = collections.deque((root, True) for root in roots)
        self._scanning = False
        self._rescan_at = time.monotonic() + _RESCAN_S
        self.found: collections.deque[FolderScan] = collections.deque()
        self.gone: collections.deque[bytes] = collections.deque()
        self.errors: collections.deque[str] = collections.deque()
        self.mounts = mounts.copy()  # every one ever met, also those that are away now
        self.broken: Exception | None = None  # the catalog can't be read: what ended this thread
        self.work_count = 0
        self.unchanged_count = 0
        self.start()

    @property
    def busy(self) -> bool:
        """Whether more may be found; false only once everything found is in `found` and `gone`."""
        return bool(self._asked) or self._scanning

    def look_again(self, folders: set[bytes]) -> None:
        """Scan these folders (not below them) once more; from any thread."""
        for folder in folders:
            self._ask(folder, False)

    def look_below(self, folder: bytes) -> None:
        self._ask(folder, True)

    def _ask(self, folder: bytes, recurse: bool) -> None:
        if (folder, recurse) not in self._asked:
            self._asked.append((folder, recurse))
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._stopped:
                self._turn()
        except Exception as error:  # handed to the main thread, which ends the run with it
            self.broken = error

    def _turn(self) -> None:
        """Scan the next folder that was asked for, or wait for one."""
        self._wake.clear()
        if time.monotonic() >= self._rescan_at:
            self._rescan_at = time.monotonic() + _RESCAN_S
            self._asked.extend((root, True) for root in self._roots)
        if not self._asked:
            self._wake.wait(_RESCAN_S)
            return
        self._scanning = True  # before the request is taken: `busy` has no gap
        self._scan(*self._asked.popleft())
        self._scanning = False

    def _scan(self, start: bytes, recurse: bool) -> None:
        seen: set[bytes] = set()
        blind: list[bytes] = []
        root = next((root for root in self._roots if _is_within(start, root)), None)
        if root is None:
            return
        for folder in scan(root, self._catalog.folder_entries, self._key, self._rules, recurse, start):
            if self._stopped:
                return
            if folder.error:
                self._note_error(folder, blind)
                continue
            if os.path.ismount(folder.path):
                self.mounts.add(folder.path)
            seen.add(folder.path)
            self.unchanged_count += folder.unchanged
            self.gone.extend(os.path.join(folder.path, name) for name in folder.gone)
            if folder.work:
                self.work_count += len(folder.work)
                self.found.append(folder)
        if recurse:
            self._note_gone_folders(start, seen, blind)

    def _note_error(self, folder: FolderScan, blind: list[bytes]) -> None:
        blind.append(folder.path)
        if os.path.lexists(folder.path):
            self.errors.append(f"can't read {os.fsdecode(folder.path)}: {folder.error}")
        else:
            blind.pop()

    def _note_gone_folders(self, start: bytes, seen: set[bytes], blind: list[bytes]) -> None:
        """Photos of folders that the catalog knows and the walk did not meet; not where it could not look."""
        for known in self._catalog.folders_under(start):
            if known in seen or any(_is_within(known, folder) for folder in blind):
                continue
            for name in self._catalog.folder_entries(known):
                self.gone.append(os.path.join(known, name))


class _Watcher(threading.Thread):
    """Turns file system events into folders to scan again; one thread for all roots."""

    def __init__(self, roots: list[bytes], scanner: _Scanner) -> None:
        super().__init__(name="watch", daemon=True)
        self._roots = roots
        self._scanner = scanner
        self._stopping = threading.Event()
        self.start()

    def stop(self) -> None:
        self._stopping.set()
        self.join(5.0)

    def run(self) -> None:
        """Watch the roots that are there; start over when one goes or comes back."""
        while not self._stopping.is_set():
            roots = self._there()
            if roots:
                self._watch(roots)
            else:
                self._stopping.wait(_WATCH_AGAIN_S)

    def _there(self) -> list[bytes]:
        return [root for root in self._roots if _has_entries(root)]

    def _watch(self, roots: list[bytes]) -> None:
        mounts = self._mounted()
        events = watchfiles.watch(
            *(os.fsdecode(root) for root in roots),
            stop_event=self._stopping,
            watch_filter=None,
            debounce=1000,
            rust_timeout=1000,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        try:
            for number, changes in enumerate(events):
                if number == 0:  # what changed before the watch began
                    for root in roots:
                        self._scanner.look_below(root)
                self._tell({os.fsencode(path) for _, path in changes})
                if self._there() != roots or self._mounted() != mounts:
                    return
        except (OSError, RuntimeError) as error:
            hours = _RESCAN_S / 3600
            self._scanner.errors.append(f"changes are seen every {hours:g} h only, watching fails: {error}")
            self._stopping.wait(_WATCH_AGAIN_S)

    def _mounted(self) -> set[bytes]:
        """The mounts below the roots that are there now; no event tells of one that comes or goes."""
        return {mount for mount in self._scanner.mounts.copy() if os.path.ismount(mount)}

    def _tell(self, paths: set[bytes]) -> None:
        folders = set()
        for path in paths:
            if os.path.isdir(path):
                self._scanner.look_below(path)
            elif path.rpartition(b".")[2].lower() in PHOTO_EXTENSIONS:
                folders.add(os.path.dirname(path))
            elif not os.path.lexists(path):  # perhaps a folder that is gone
                self._scanner.look_below(path)
        self._scanner.look_again(folders)


def _real_roots(roots: list[bytes]) -> list[bytes]:
    """Absolute, without repetition, without those inside others. Raises UsageError for what is no folder."""
    real: list[bytes] = []
    for root in sorted({os.path.realpath(root) for root in roots}):
        if os.path.exists(root) and not os.path.isdir(root):
            raise UsageError(f"{os.fsdecode(root)} is not a folder; catalogd run takes folders of photos")
        if not os.path.exists(root):
            raise UsageError(f"{os.fsdecode(root)} does not exist; is its disk connected?")
        if not any(_is_within(root, outer) for outer in real):
            real.append(root)
    return real


def _is_within(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` or below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _has_entries(folder: bytes) -> bool:
    """Whether the folder is there and not empty: an unmounted disk leaves an empty one."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _load_mounts(catalog: Path) -> set[bytes]:
    try:
        return {os.fsencode(path) for path in json.loads((catalog / "mounts.json").read_text("ascii"))}
    except (OSError, ValueError):
        return set()


def _save_mounts(catalog: Path, mounts: set[bytes]) -> None:
    aside = catalog / "mounts.json.tmp"
    with contextlib.suppress(OSError):
        aside.write_text(json.dumps(sorted(os.fsdecode(path) for path in mounts)), "ascii")
        aside.replace(catalog / "mounts.json")
