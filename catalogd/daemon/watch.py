"""What the daemon knows of folders: which are there, what a scan finds in them, what changes in them."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import threading
import time
from pathlib import Path

import watchfiles

from catalogd.catalog import Catalog
from catalogd.errors import UsageError
from catalogd.images import PHOTO_EXTENSIONS
from catalogd.pipeline.scan import FolderScan, Rules, scan
from catalogd.records import display_path
from catalogd.sync.replacing import TEMPORARY_PREFIX

_RESCAN_S = 3600.0  # changes that no event told (network shares): a rescan of 500,000 photos costs seconds
_WATCH_AGAIN_S = 2.0
_SETTLED_S = 2.0  # a file that is being copied is written to more often, also over a slow network
_WATCHED_EXTENSIONS = PHOTO_EXTENSIONS | {b"xmp"}
_STOP_S = 2.0  # a thread in a folder listing that hangs is left behind


class Places:
    """Roots and mounts that held photos, each with its device, kept in the catalog's folder.

    They tell a disk that is away from photos that are gone. A place is away when what lies at its path
    now is on another device than when it held photos: an unmounted disk leaves a folder of the disk
    below, or nothing. A root of this run that is empty or not there is away in any case: better than to
    take a disk for deleted. Safe to use from any thread.
    """

    def __init__(self, catalog: Path, roots: list[bytes]) -> None:
        self._file = catalog / "places.json"
        self._roots = roots
        self._devices = self._load()

    def remember(self, place: bytes) -> None:
        """The place is there, with photos in it."""
        device = _device_at(place)
        if self._devices.get(place) != device:
            self._devices[place] = device
            self._save()

    def away(self) -> list[bytes]:
        """Roots of this run and remembered places that are not there now."""
        away = [root for root in self._roots if not has_entries(root)]
        others = (place for place in self._devices.copy() if place not in self._roots)
        return away + [place for place in others if _device_at(place) != self._devices[place]]

    def mounted(self) -> set[bytes]:
        """Remembered mounts that are there now."""
        return {place for place in self._devices.copy() if os.path.ismount(place)}

    def _load(self) -> dict[bytes, int]:
        try:
            stored = json.loads(self._file.read_text("ascii"))
            return {os.fsencode(place): int(device) for place, device in stored.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _save(self) -> None:
        aside = self._file.with_suffix(".tmp")
        stored = {os.fsdecode(place): device for place, device in sorted(self._devices.copy().items())}
        with contextlib.suppress(OSError):  # a full disk: remembered by the next scan
            aside.write_text(json.dumps(stored), "ascii")
            aside.replace(self._file)


def _device_at(path: bytes) -> int:
    """The device that holds `path`, or would: that of the nearest folder above it that is there."""
    while True:
        try:
            return os.stat(path).st_dev
        except OSError:
            above = os.path.dirname(path)
            if above == path:
                return -1
            path = above


class Scanner(threading.Thread):
    """Scans what it is asked to; found work waits, a folder an entry.

    Names of one folder share its path, so that a photo that waits costs little more than its name,
    and a folder that is scanned again while it waits is not there twice.
    """

    def __init__(
        self, roots: list[bytes], catalog: Catalog, key: bytes, rules: Rules, places: Places
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
        self._found: dict[bytes, FolderScan] = {}
        self._found_lock = threading.Lock()
        self.gone: collections.deque[bytes] = collections.deque()
        self.errors: collections.deque[str] = collections.deque()
        self._places = places
        self._unchanged: dict[bytes, int] = {}  # by root, at its last whole scan
        self.broken: Exception | None = None  # the catalog can't be read: what ended this thread
        self.start()

    def take(self) -> FolderScan | None:
        """The folder that has waited longest, and is the taker's now."""
        with self._found_lock:
            first = next(iter(self._found), None)
            return self._found.pop(first) if first is not None else None

    @property
    def waiting(self) -> int:
        """Photos that were found and not taken."""
        with self._found_lock:
            return sum(len({*folder.work, *folder.beside}) for folder in self._found.values())

    @property
    def found_any(self) -> bool:
        """Whether a folder waits to be taken."""
        return bool(self._found)

    @property
    def unchanged(self) -> int:
        return sum(self._unchanged.copy().values())

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
        self.join(_STOP_S)

    def run(self) -> None:
        try:
            while not self._stopped:
                self._turn()
        except Exception as error:  # handed to the main thread, which ends the run with it
            self.broken = error

    def _turn(self) -> None:
        """Scan the next folder that was asked for, or wait for one."""
        self._wake.clear()
        if time.monotonic() >= self._rescan_at and not self._found:
            self._asked.extend((root, True) for root in self._roots)
            self._rescan_at = time.monotonic() + _RESCAN_S
        if not self._asked:
            self._wake.wait(min(_RESCAN_S, max(1.0, self._rescan_at - time.monotonic())))
            return
        self._scanning = True  # before the request is taken: `busy` has no gap
        self._scan(*self._asked.popleft())
        self._scanning = False

    def _scan(self, start: bytes, recurse: bool) -> None:
        seen: set[bytes] = set()
        blind: list[bytes] = []
        root = next((root for root in self._roots if is_within(start, root)), None)
        if root is None:
            return
        if has_entries(root):
            self._places.remember(root)
        unchanged = 0
        known, known_sidecars = self._catalog.folder_entries, self._catalog.folder_sidecars
        for folder in scan(root, known, self._key, self._rules, recurse, start, known_sidecars):
            if self._stopped:
                return
            if folder.error:
                self._note_error(folder, blind)
                continue
            if os.path.ismount(folder.path):
                self._places.remember(folder.path)
            seen.add(folder.path)
            unchanged += folder.unchanged
            self.gone.extend(os.path.join(folder.path, name) for name in folder.gone)
            self._put(folder)
        if recurse:
            self._note_gone_folders(start, seen, blind)
        if recurse and start == root:
            self._unchanged[root] = unchanged

    def _put(self, folder: FolderScan) -> None:
        with self._found_lock:
            if folder.work or folder.sidecars:
                self._found[folder.path] = folder
            else:
                self._found.pop(folder.path, None)

    def _note_error(self, folder: FolderScan, blind: list[bytes]) -> None:
        blind.append(folder.path)
        if os.path.lexists(folder.path):
            self.errors.append(f"can't read {display_path(folder.path)}: {folder.error}")
        else:
            blind.pop()

    def _note_gone_folders(self, start: bytes, seen: set[bytes], blind: list[bytes]) -> None:
        """Photos of folders that the catalog knows and the walk did not meet; not where it could not look."""
        for known in self._catalog.folders_under(start):
            if known in seen or any(is_within(known, folder) for folder in blind):
                continue
            for name in self._catalog.folder_entries(known):
                self.gone.append(os.path.join(known, name))


class Watcher(threading.Thread):
    """Turns file system events into folders to scan again; one thread for all roots."""

    def __init__(self, roots: list[bytes], scanner: Scanner, places: Places) -> None:
        super().__init__(name="watch", daemon=True)
        self._roots = roots
        self._scanner = scanner
        self._places = places
        self._stopping = threading.Event()
        self.start()

    def stop(self) -> None:
        self._stopping.set()
        self.join(_STOP_S)

    def run(self) -> None:
        """Watch the roots that are there; start over when one goes or comes back."""
        while not self._stopping.is_set():
            roots = self._there()
            if roots:
                self._watch(roots)
            else:
                self._stopping.wait(_WATCH_AGAIN_S)

    def _there(self) -> list[bytes]:
        return [root for root in self._roots if has_entries(root)]

    def _watch(self, roots: list[bytes]) -> None:
        mounts = self._places.mounted()  # no event tells of one that comes or goes
        events = watchfiles.watch(
            *(os.fsdecode(root) for root in roots),
            stop_event=self._stopping,
            watch_filter=None,
            debounce=1000,
            rust_timeout=2000,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        try:
            for number, changes in enumerate(events):
                if number == 0:  # what changed before the watch began
                    for root in roots:
                        self._scanner.look_below(root)
                self._tell({os.fsencode(path) for _, path in changes})
                if self._there() != roots or self._places.mounted() != mounts:
                    return
        except (OSError, RuntimeError) as error:
            hours = _RESCAN_S / 3600
            self._scanner.errors.append(f"changes are seen every {hours:g} h only, watching fails: {error}")
            self._stopping.wait(_WATCH_AGAIN_S)

    def _tell(self, paths: set[bytes]) -> None:
        folders = set()
        for path in paths:
            if os.path.basename(path).startswith(TEMPORARY_PREFIX):  # of a sidecar that is being written
                continue
            if os.path.isdir(path):
                self._scanner.look_below(path)
            elif path.rpartition(b".")[2].lower() in _WATCHED_EXTENSIONS:
                folders.add(os.path.dirname(path))
            elif not os.path.lexists(path):  # perhaps a folder that is gone
                self._scanner.look_below(path)
        self._scanner.look_again(folders)


class Unsettled:
    """Files that changed while they were read; each waits here until nothing writes to it any more.

    For the daemon's main thread alone. What waits is not in the catalog: the next run's scan finds it.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, tuple[tuple[int, int] | None, float]] = {}  # stat key, when to look

    def __contains__(self, path: bytes) -> bool:
        return path in self._waiting

    def add(self, path: bytes) -> None:
        self._waiting[path] = _stat_key(path), time.monotonic() + _SETTLED_S

    def take_quiet(self) -> list[bytes]:
        """The files that have stood still for `_SETTLED_S`, or are gone; they wait no longer."""
        quiet = []
        for path, (known, due) in list(self._waiting.items()):
            if time.monotonic() < due:
                continue
            if _stat_key(path) == known:
                del self._waiting[path]
                quiet.append(path)
            else:
                self.add(path)
        return quiet


def _stat_key(path: bytes) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def real_roots(roots: list[bytes]) -> list[bytes]:
    """Absolute, without repetition, without those inside others. Raises UsageError for what is no folder."""
    real: list[bytes] = []
    for root in sorted({os.path.realpath(root) for root in roots}):
        if os.path.exists(root) and not os.path.isdir(root):
            raise UsageError(f"{os.fsdecode(root)} is not a folder; catalogd run takes folders of photos")
        if not os.path.exists(root):
            raise UsageError(f"{os.fsdecode(root)} does not exist; is its disk connected?")
        if not any(is_within(root, outer) for outer in real):
            real.append(root)
    return real


def is_within(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` or below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def has_entries(folder: bytes) -> bool:
    """Whether the folder is there and not empty: an unmounted disk leaves an empty one."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
