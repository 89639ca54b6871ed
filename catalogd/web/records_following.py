"""Records follow what was given over HTTP, where no run is alive that would see to it."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import threading

from catalogd.run_state import is_running
from catalogd.settings import Settings
from catalogd.sync.following import follow_user_data

QUIET_S = 1.0  # after what was given last: a plugin gives page after page
HELD_S = 10.0  # until it is tried again, while another command holds the catalog
HELD = 3  # exit code of a process that found it held

log = logging.getLogger(__name__)
_context = multiprocessing.get_context("spawn")  # a writer's environments are not those of this process


class RecordsFollow:
    """Starts one process at a time that writes the catalog, soon after something was given."""

    def __init__(self, settings: Settings, quiet_s: float = QUIET_S, held_s: float = HELD_S) -> None:
        self._settings = settings
        self._quiet_s = quiet_s
        self._held_s = held_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = threading.Event()
        self._closed = threading.Event()

    def soon(self) -> None:
        """Something was given. Returns at once."""
        with self._lock:
            self._wanted.set()
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._follow, name="records follow", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Start nothing more; what is not followed yet waits for the next run. Twice is fine."""
        self._closed.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _follow(self) -> None:
        while not self._closed.wait(self._quiet_s):
            with self._lock:
                if not self._wanted.is_set():
                    self._thread = None
                    return
                self._wanted.clear()
            if not self._once():
                self._wanted.set()
                self._closed.wait(self._held_s)

    def _once(self) -> bool:
        """Whether nothing is left: a run follows by itself, also where this process is one of its own."""
        if multiprocessing.parent_process() is not None or is_running(self._settings.catalog):
            return True
        process = _context.Process(target=_follow_once, args=(self._settings,), daemon=True)
        process.start()
        while process.is_alive() and not self._closed.is_set():
            process.join(0.1)
        if process.is_alive():
            process.terminate()
        process.join()
        if process.exitcode not in (0, HELD):
            log.warning("what was given is not in the records yet; the next run goes on with it")
        return process.exitcode != HELD


def _follow_once(settings: Settings) -> None:
    """A process of its own."""
    if not follow_user_data(settings):
        sys.exit(HELD)
