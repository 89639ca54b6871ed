"""The run's searcher: a process that answers the queries of commands while the run watches."""

from __future__ import annotations

import logging
import time

from catalogd.pipeline.workers import Child
from catalogd.service import SOCKET, searcher_main
from catalogd.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
PAUSE_S = 10.0  # before one that died is replaced; doubles each time
LONGEST_PAUSE_S = 3600.0


class SearcherKeeper:
    """Starts a searcher and replaces it when it dies; a search that is under way then fails, no more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pause_s = PAUSE_S
        self._look_at = 0.0
        self._child: Child | None = self._spawn()

    def turn(self) -> None:
        """Look after it; called often."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        if self._child is None:
            self._child = self._spawn()
        elif not self._child.process.is_alive():
            log.warning("the searcher %s; another starts in %g s", self._child.kill(), self._pause_s)
            self._child = None
            self._look_at = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def close(self) -> None:
        """End it: it holds nothing that could be lost."""
        if self._child is not None:
            self._child.kill()
        (self._settings.catalog / SOCKET).unlink(missing_ok=True)

    def _spawn(self) -> Child:
        return Child("catalogd-searcher", searcher_main, self._settings)
