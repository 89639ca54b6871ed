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
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from catalogd.catalog import Catalog
from catalogd.catalog.spaces import SearchSpaces, SwitchState
from catalogd.catalog.store import Store
from catalogd.daemon.chosen import ChosenPhotos
from catalogd.daemon.deriving import Deriver
from catalogd.daemon.models import KEEP_SPACE, RunModels, SearchModels, profile_key
from catalogd.daemon.orders import Ordered, Orders
from catalogd.daemon.serving import ServerKeeper
from catalogd.daemon.sidecars import Keeper
from catalogd.daemon.watch import Places, Scanner, Unsettled, Watcher, is_within, real_roots
from catalogd.daemon.writing import Writer
from catalogd.errors import CatalogError, CatalogMissingError, ChangedError, ModelError, PhotoError
from catalogd.images import PHOTO_EXTENSIONS, READ_VERSION, fingerprint_file, read_frame
from catalogd.models.devices import CPU, Device
from catalogd.pipeline import Engine, InlineEngine, LoadModels
from catalogd.pipeline.scan import Rules
from catalogd.pipeline.stages import Read
from catalogd.records import (
    Change,
    Failure,
    Missing,
    Moved,
    Record,
    Retry,
    SidecarsKnown,
    Stat,
    Task,
    display_path,
)
from catalogd.run_state import (
    DeviceProgress,
    Lock,
    Progress,
    is_running,
    read_status,
    request_retry,
    take_requests,
    take_sidecars,
    write_status,
)
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore

__all__ = ["Daemon", "Lock", "Progress", "is_running", "profile_key", "read_status", "request_retry"]

log = logging.getLogger(__name__)

_STEP_S = 0.2  # the longest wait: signals, requests and progress are looked at this often
_STATUS_EVERY_S = 1.0
_LOOK_AWAY_S = 5.0
_QUIET_STATUS_EVERY_S = 15.0  # nothing happens: a disk may sleep
_RATE_WINDOW_S = 30.0


Report = Callable[[Progress], None]


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
        sidecars: bool = False,
        include: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
        report: Report | None = None,
        read: Read = read_frame,
        devices: Sequence[Device] = (CPU,),
        search: SearchModels = KEEP_SPACE,
        only: Sequence[int] | None = None,
        is_part: bool = False,
    ) -> None:
        """`only`: these photos instead of what a scan finds, of all folders when there are no `roots`.

        `is_part`: `load_models` leaves models of the profile out on purpose, so that photos are not done
        with by this run.
        """
        self._settings = settings
        self._roots = real_roots(roots)
        self._load_models = load_models
        self._read = read
        self._devices = devices
        self._once = once
        self._inline = inline
        self._search = search
        self._only = only
        self._is_part = is_part
        self._switch: SwitchState | None = None
        self._write_sidecars = sidecars
        self._keeper: Keeper | None = None
        self._server: ServerKeeper | None = None
        catalog = os.path.realpath(os.fsencode(settings.catalog))
        self._rules = Rules(PHOTO_EXTENSIONS, include, exclude, settings.follow_symlinks, catalog)
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
        self._logged: set[str] = set()
        self._model_errors: collections.Counter[str] = collections.Counter()
        self._in_hand = 0  # photos of the folder that is being handed out
        self._under_way: set[bytes] = set()  # paths that a commit will settle
        self._moving: set[int] = set()  # photos that a commit will move
        self._look_later: set[bytes] = set()  # paths to look at again once they are settled
        self._unsettled = Unsettled()
        self._sidecars: dict[bytes, dict[bytes, Stat | None]] = {}  # by folder: known once it is settled

    def _close_writer(self, failed: type[BaseException] | None, *_: object) -> None:
        """An error of the run is not covered by one of its end."""
        try:
            self._writer.close()
        except CatalogError:
            if failed is None and self._stops < 2:
                raise

    def _close_server(self) -> None:
        if self._server is not None:
            self._server.close(at_once=self._stops > 1)

    def run(self) -> int:
        """Work until done (`once`) or told to stop.

        Returns the exit code: 0, 3 (photos failed, or models left some for the next run), 4 (a model was
        switched off), 130.
        """
        lock = Lock(self._settings.catalog)
        self._places = Places(self._settings.catalog, self._roots)
        try:
            with self._signals():
                return self._run()
        except KeyboardInterrupt:  # twice, before anything was begun
            return 130
        finally:
            self._write_status(self._progress("done"), running=False)
            lock.release()

    def _run(self) -> int:
        models = self._load_models(self._devices[0])
        self._models = RunModels(models, self._search.beside, self._is_part)
        key = self._models.key
        self._begin_switch()
        with contextlib.ExitStack() as stack:
            self._writer = Writer(self._settings, key, self._inline)
            stack.push(self._close_writer)
            self._catalog = stack.enter_context(Catalog.open(self._settings.catalog, self._settings))
            self._scanner = self._source(key)
            stack.callback(self._scanner.stop)
            if isinstance(self._scanner, Scanner) and not self._once:
                stack.callback(Watcher(self._roots, self._scanner, self._places).stop)
            engine_class: type[Engine] | type[InlineEngine] = InlineEngine if self._inline else Engine
            self._engine: Engine | InlineEngine = engine_class(
                self._settings, self._load_models, self._read, self._devices
            )
            stack.callback(self._engine.close)
            self._deriver = Deriver(self._settings, self._load_models, self._inline)
            stack.callback(self._deriver.close)
            self._tell_about_ring()
            ThumbnailStore(self._settings).sweep()
            self._look_at_switch()
            self._tasks = self._find_tasks()
            self._orders = Orders(self._settings.catalog, self._roots, self._rules)
            stack.callback(self._orders.close)
            if self._write_sidecars:
                self._keeper = Keeper(self._settings, self._catalog)
                stack.callback(self._keeper.stop)
            if not self._once and not self._inline:
                self._server = ServerKeeper(self._settings)
                stack.callback(self._close_server)
            self._loop()
            if self._stops > 1:
                self._writer.abandon()
                return 130
        self._tell("done", force=True)
        if self._stops:
            return 130 if self._once or self._stops > 1 else 0
        if self._engine.given_up or self._deriver.given_up or self._deriver.broken is not None:
            return ModelError.exit_code
        return 3 if self._counts["failed"] or self._left else 0

    def _source(self, key: bytes) -> Scanner | ChosenPhotos:
        """Where the photos come from."""
        if self._only is not None:
            return ChosenPhotos(self._catalog, self._only, self._roots)
        return Scanner(self._roots, self._catalog, key, self._rules, self._places)

    def _begin_switch(self) -> None:
        """Search by meaning goes over to the run's model, once that has seen every photo.

        At once where nobody can put a query into the space that is searched now.
        """
        space = self._models.fingerprint(self._search.name)
        try:
            with Store(self._settings.catalog) as store:
                spaces = SearchSpaces(store)
                former, is_under_way = spaces.searched_beside(space), bool(spaces.state().wanted)
        except CatalogMissingError:
            return
        if space and (former or is_under_way) and self._search.has_text_model(space):
            with Store(self._settings.catalog, write=True) as store:
                SearchSpaces(store).begin(space, at_once=not self._search.has_text_model(former))

    def _loop(self) -> None:
        """The whole run: feed, step, collect, commit, tell; until there is nothing left to do."""
        while self._stops < 2:
            scanning = self._scanner.busy  # asked first: what it finds from now on is not idle
            self._orders.turn()
            self._feed()
            others = [*self._writer.connections, *self._deriver.connections]
            self._collect(self._engine.step(self._patience(), others))
            self._derive()
            self._notice_scans()
            self._notice_engine()
            self._notice_thumbnails()
            self._notice_sidecars()
            self._take_requests()
            self._writer.turn(self._settings.commit_wait_s, flush=self._idle)
            self._notice_commits()
            self._settle_sidecars()
            self._notice_server()
            self._look_at_quiet()
            self._tell(self._state())
            if self._stops and self._writer.full:  # what can't be committed is found by the next run
                return
            over = self._stops or (self._once and not scanning and not self._scanner.busy)
            if over and self._idle and self._writer.quiet and (not self._keeper or self._keeper.is_done):
                return

    @property
    def _idle(self) -> bool:
        if self._stops:  # nobody waits for models that are being loaded: the next run finds those photos
            return not self._engine.busy or self._engine.is_loading
        return not (self._engine.busy or self._deriver.count or self._has_work)

    @property
    def _has_work(self) -> bool:
        return bool(self._in_hand or self._scanner.found_any or self._scanner.gone or self._orders.busy)

    def _patience(self) -> float:
        return 0.0 if self._inline and not self._idle else _STEP_S

    # ── work ──────────────────────────────────────────────────────────────────────────────────

    def _feed(self) -> None:
        while not self._stops and not self._writer.behind and self._can_take:
            try:
                task = self._ordered_task() if self._orders.waiting else next(self._tasks)
            except StopIteration:
                self._tasks = self._find_tasks()
                return
            if task is not None:
                self._under_way.add(task.path)
                self._counts["offered"] += 1
                self._engine.offer(task)

    @property
    def _can_take(self) -> bool:
        return self._engine.wants_task and self._deriver.wants_photo

    def _ordered_task(self) -> Task | None:
        """The next photo that was ordered; None when it is settled, or waits for what is under way."""
        ordered = self._orders.take()
        if ordered is None:
            return None
        path = ordered.path
        if path in self._under_way or path in self._unsettled:
            self._orders.block(path)
            return None
        task = self._task_for(ordered)
        if task is None and path not in self._under_way:
            self._orders.settled(path, failed=not os.path.lexists(path))
        return task

    def _task_for(self, ordered: Ordered) -> Task | None:
        """All models when that is wanted, or when the photo failed; else what is stale."""
        entry = self._catalog.file_entry(ordered.path)
        is_failed = entry is not None and not entry.photo_id
        if (ordered.force or is_failed) and os.path.lexists(ordered.path):
            return Task(ordered.path, photo_id=self._catalog.photo_id_of(ordered.path) or 0)
        return self._task(ordered.path)

    def _find_tasks(self) -> Iterator[Task | None]:
        """Tasks for what the scanner has found; None for a photo that was settled on the way."""
        while (folder := self._scanner.take()) is not None:
            paths = {name: os.path.join(folder.path, name) for name in (*folder.work, *folder.beside)}
            if folder.sidecars and self._under_way.isdisjoint(paths.values()):
                self._sidecars[folder.path] = folder.sidecars  # what is under way may have read older ones
            known = self._catalog.known_sidecars(folder.path) if folder.beside else {}
            work = set(folder.work)
            self._in_hand = len(paths)
            for name, path in paths.items():
                self._in_hand -= 1
                changed = folder.beside.get(name, {})
                news = {name: stat for name, stat in changed.items() if stat != known.get(name)}
                yield self._task(path, news) if name in work else self._beside_task(path, news)

    def _beside_task(self, path: bytes, changed: dict[bytes, Stat | None]) -> Task | None:
        """Read a photo again, without models, unless its record has these of its sidecars as they are now."""
        if path in self._under_way:
            self._look_later.add(path)
        elif path not in self._unsettled:
            photo_id = self._catalog.photo_id_of(path)
            record = self._catalog.record(photo_id) if photo_id else None
            if record and _has_news(record, changed):
                return Task(path, models=(), photo_id=record.photo_id)
        self._count_done("current")
        return None

    def _settle_sidecars(self) -> None:
        """The sidecars of a folder are known once none of its photos is under way."""
        if not self._sidecars or self._in_hand:
            return
        busy = {os.path.dirname(path) for path in self._under_way}
        for folder in self._sidecars.keys() - busy:
            self._writer.add(SidecarsKnown(folder, self._sidecars.pop(folder)))

    def _task(self, path: bytes, news: dict[bytes, Stat | None] | None = None) -> Task | None:
        """What is to be done for one photo that the scan named; None when it is done already.

        `news`: its sidecars that have changed.
        """
        try:
            status = os.stat(path)
        except OSError:  # gone again: the next event or scan knows
            self._count_done("vanished")
            return None
        stat = Stat(status.st_size, status.st_mtime_ns)
        if path in self._unsettled:
            self._count_done("current")
            return None
        if path in self._under_way:  # changed again while it is worked on
            self._look_later.add(path)
            self._count_done("current")
            return None
        entry = self._catalog.file_entry(path)
        if entry is None:
            return self._new_task(path, stat)
        if entry.stat != stat:
            return self._whole_task(path, entry.photo_id)
        if not entry.photo_id or entry.profile_key == self._models.key:  # failed, or done since the scan
            if news:
                return self._beside_task(path, news)
            self._count_done("current")
            return None
        return self._stale_task(path, stat, entry.photo_id, news or {})

    def _new_task(self, path: bytes, stat: Stat) -> Task | None:
        known = self._moved_from(path, stat)
        if known is None:
            return self._whole_task(path)
        self._settle(Moved(known.photo_id, path, stat))
        self._moving.add(known.photo_id)
        beside = self._sidecars.pop(os.path.dirname(path), None)  # compared once it is known here
        if beside or any(self._models.lack(known)) or known.facts.version != READ_VERSION:
            self._look_later.add(path)
        self._count_done("moved")
        return None

    def _whole_task(self, path: bytes, photo_id: int = 0) -> Task:
        """Of a photo that is new, or another picture than before."""
        switched = self._switch is not None and not self._switch.wanted
        return Task(path, self._models.of_new(switched), photo_id)

    def _stale_task(
        self, path: bytes, stat: Stat, photo_id: int, news: dict[bytes, Stat | None]
    ) -> Task | None:
        """Run just the models whose output is missing or was made by another version.

        None of them when only the facts are of another version, or its sidecars have news. What can be made
        from the record is, and the photo is not read for it.
        """
        record = self._catalog.record(photo_id)
        if record is None:
            return self._whole_task(path)
        is_read = _has_news(record, news) or record.facts.version != READ_VERSION
        lack = self._models.lack(record, is_read)
        lost = self._models.lost_with(self._engine.given_up)
        if lack.frames and not is_read and lost.issuperset(lack.frames):
            self._count_done("current")  # the next run tries these models again
            return None
        if lack.frames or is_read:
            return Task(path, lack.frames, photo_id)
        derived = tuple(name for name in lack.derived if name not in self._deriver.given_up)
        if derived:
            self._under_way.add(path)
            self._counts["offered"] += 1
            self._deriver.offer(photo_id, derived, path)
            return None
        if not self._models.is_part and not lack.derived:
            self._settle(Moved(photo_id, path, stat, current=True))  # its entry gets the profile's key
        self._count_done("current")
        return None

    def _derive(self) -> None:
        """Take what was made from records, and let go of what could not be."""
        self._collect(self._deriver.turn(flush=not self._has_work))
        for path in self._deriver.left:
            self._under_way.discard(path)
            self._counts["finished"] += 1
            self._count_done("current")
        self._deriver.left.clear()
        if self._deriver.broken is not None:
            self._note(f"nothing is made from what models said before: {self._deriver.broken}")
        for name, why in self._deriver.given_up.items():
            self._note(f"{name} is switched off, the other models go on: {why}")

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
        """Not there, and its disk is: nothing on a disk that is away is gone."""
        return not os.path.lexists(path) and not any(is_within(path, place) for place in self._places.away())

    def _settle(self, change: Change) -> None:
        self._under_way.add(change.path)
        self._writer.add(change)

    def _collect(self, outcomes: Sequence[Record | Failure]) -> None:
        self._counts["finished"] += len(outcomes)
        for outcome in outcomes:
            if isinstance(outcome, Failure) and not os.path.lexists(outcome.path):  # gone before it was read
                self._under_way.discard(outcome.path)
                self._look_later.discard(outcome.path)
                self._scanner.look_again({os.path.dirname(outcome.path)})
                self._orders.settled(outcome.path, failed=True)
                self._orders.unblock((outcome.path,))
                self._count_done("vanished")
                continue
            if isinstance(outcome, Record) and self._engine.given_up:
                outcome = msgspec.structs.replace(outcome, is_partial=True)
            if isinstance(outcome, Failure) and outcome.reason == ChangedError.reason and not self._once:
                self._defer(outcome.path)
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
                    display_path(outcome.path),
                )

    def _defer(self, path: bytes) -> None:
        """It changed each time it was read: it is read again once it stands still, and is no failure."""
        self._under_way.discard(path)
        self._look_later.discard(path)
        self._unsettled.add(path)
        self._orders.block(path)
        self._count_done("current")

    def _look_at_quiet(self) -> None:
        """Files that were written to stand still."""
        quiet = self._unsettled.take_quiet()
        self._scanner.look_again({os.path.dirname(path) for path in quiet})
        self._orders.unblock(quiet)

    def _notice_commits(self) -> None:
        for change in self._writer.committed:
            self._under_way.discard(change.path)
            self._orders.settled(change.path, failed=isinstance(change, Failure))
            self._orders.unblock((change.path,))
            if isinstance(change, Moved):
                self._moving.discard(change.photo_id)
            if change.path in self._look_later:
                self._look_later.discard(change.path)
                self._scanner.look_again({os.path.dirname(change.path)})
        self._writer.committed.clear()

    def _count_done(self, kind: str) -> None:
        """Work that turns out to be none (`current`, `vanished`) does not count as a photo of the run."""
        self._counts[kind] += 1
        if kind not in ("current", "vanished"):
            self._counts["done"] += 1

    # ── what the scanner says ─────────────────────────────────────────────────────────────────

    def _notice_scans(self) -> None:
        away = self._places.away() if self._scanner.gone else []
        while self._scanner.gone and not self._writer.behind:
            path = self._scanner.gone.popleft()
            if os.path.lexists(path) or any(is_within(path, place) for place in away):
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

    def _recently_offline(self) -> list[bytes]:
        """For people: looked at now and then, so that a disk may sleep."""
        if time.monotonic() >= self._look_away_at:
            self._away = [place for place in self._places.away() if self._concerns(place)]
            self._look_away_at = time.monotonic() + _LOOK_AWAY_S
        return self._away

    def _concerns(self, place: bytes) -> bool:
        """Whether this run scans the place, or what would be in it."""
        return any(is_within(place, root) for root in self._roots)

    def _take_requests(self) -> None:
        for paths in take_requests(self._settings.catalog):
            for path in paths:
                self._settle(Retry(path))
            self._look_later.update(paths)
        for known in take_sidecars(self._settings.catalog):
            self._writer.add(known)

    # ── telling ───────────────────────────────────────────────────────────────────────────────

    def _state(self) -> str:
        if self._stops:
            return "draining"
        if self._writer.full:
            return "disk_full"
        if self._engine.busy and self._engine.is_loading:
            return "loading"
        is_busy = self._scanner.busy or not self._idle
        return "indexing" if self._once or is_busy else "watching"

    def _tell(self, state: str, force: bool = False) -> None:
        now = time.monotonic()
        if now < self._next_report and not force:
            return
        self._next_report = now + _STATUS_EVERY_S
        self._look_at_switch()
        self._finished_at.append((now, self._counts["done"]))
        while len(self._finished_at) > 2 and now - self._finished_at[0][0] > _RATE_WINDOW_S:
            self._finished_at.popleft()
        progress = self._progress(state)
        self._report(progress)
        quiet = dataclasses.replace(progress, elapsed_s=0.0)
        if quiet != self._told or now >= self._next_quiet_status:
            self._told, self._next_quiet_status = quiet, now + _QUIET_STATUS_EVERY_S
            self._write_status(progress, running=True)

    def _look_at_switch(self) -> None:
        with Store(self._settings.catalog) as store:  # at the end the catalog is closed already
            self._switch = SearchSpaces(store).state()

    def _progress(self, state: str) -> Progress:
        engine = self._engine.state if hasattr(self, "_engine") else None
        rate = self._rate()
        pending = self._pending()
        return Progress(
            state=state,
            scanning=hasattr(self, "_scanner") and self._scanner.busy,
            total=self._counts["done"] + pending,
            done=self._counts["done"],
            failed=self._counts["failed"],
            moved=self._counts["moved"],
            missing=self._counts["missing"],
            unchanged=self._scanner.unchanged if hasattr(self, "_scanner") else 0,
            rate=rate,
            eta_s=pending / rate if rate and pending else (0.0 if not pending else None),
            limit=self._limit(state, engine.limit if engine else "-"),
            ring_used=engine.slots_used if engine else 0,
            ring_slots=engine.slots if engine else 0,
            elapsed_s=time.monotonic() - self._started,
            offline=tuple(display_path(path) for path in self._recently_offline()),
            notes=tuple(self._notes),
            model_errors=dict(self._model_errors),
            thumbnails_failed=self._counts["thumbnails_failed"],
            sidecars=self._keeper.written if self._keeper else 0,
            sidecars_refused=self._keeper.refused if self._keeper else 0,
            api=self._server.url if self._server else "",
            search_model=self._switch.share if self._switch and self._switch.wanted else None,
            devices=tuple(
                DeviceProgress(one.label, one.name, one.photos, round(one.busy_s, 1), one.given_up)
                for one in (engine.devices if engine else ())
            ),
            said=engine.said if engine else (),
            loading=engine.loading if engine else (),
            left=self._left,
        )

    def _pending(self) -> int:
        """Photos found and not finished: waiting, in hand, or in the engine."""
        waiting = self._scanner.waiting if hasattr(self, "_scanner") else 0
        ordered = self._orders.waiting if hasattr(self, "_orders") else 0
        return waiting + ordered + self._in_hand + self._counts["offered"] - self._counts["finished"]

    @property
    def _left(self) -> dict[str, int]:
        """Model → photos that it left for the next run."""
        if not hasattr(self, "_deriver"):
            return {}
        return dict(self._engine.left + self._deriver.unmade)

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
        write_status(
            self._settings.catalog, self._roots, self._settings.profile, self._started_at, progress, running
        )

    def _tell_about_ring(self) -> None:
        slots, asked = self._engine.state.slots, self._engine.asked_slots
        if slots < asked:
            self._note(
                f"shared memory is small: {slots} frames in flight instead of {asked} "
                "(docker: --shm-size=256m)"
            )

    def _notice_engine(self) -> None:
        """What models say of themselves: who is switched off, what a server cost."""
        while self._engine.notes:
            self._note_anew(self._engine.notes.popleft())

    def _notice_thumbnails(self) -> None:
        """What they fail of is told once, the photos are counted; they are indexed all the same."""
        errors = self._engine.thumbnail_errors
        if errors and not self._counts["thumbnails_failed"]:
            self._note(
                f"no thumbnail could be kept: {next(iter(errors))}; "
                "`catalogd thumbs --fill` makes those that are missing"
            )
        self._counts["thumbnails_failed"] = errors.total()

    def _notice_sidecars(self) -> None:
        """What was written the catalog shall know; that none can be written is told once."""
        if self._keeper is None:
            return
        while self._keeper.known:
            self._writer.add(self._keeper.known.popleft())
        if self._keeper.broken is not None:
            self._note(f"no sidecars are written: {self._keeper.broken}")

    def _notice_server(self) -> None:
        """What keeps the HTTP API from being served is told once."""
        if self._server is None:
            return
        self._server.turn()
        while self._server.troubles:
            self._note(self._server.troubles.popleft())

    def _note_anew(self, text: str) -> None:
        """A note "subject: what is so now" takes the place of the last one on its subject."""
        subject = text.partition(": ")[0] + ": "
        self._notes = [note for note in self._notes if not note.startswith(subject)]
        self._note(text)

    def _note(self, text: str) -> None:
        if text not in self._notes and len(self._notes) < 20:
            self._notes.append(text)
        if text not in self._logged:
            self._logged.add(text)
            log.warning("%s", text)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """First Ctrl-C or SIGTERM: drain. Second: stop at once, even while we wait for the writer."""

        def stop(*_: object) -> None:
            self._stops += 1
            if self._stops > 1 and hasattr(self, "_writer"):
                self._writer.end()
            elif self._stops > 1:
                raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _has_news(record: Record, changed: dict[bytes, Stat | None]) -> bool:
    """Whether the record was made from other sidecars than these, which are None where they are gone."""
    taken = {sidecar.name: sidecar.stat for sidecar in record.facts.sidecars}
    return any(taken.get(name) != stat for name, stat in changed.items())
