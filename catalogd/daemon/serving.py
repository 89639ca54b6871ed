"""The run's server process: it answers the queries of commands and the HTTP API while the run watches."""

from __future__ import annotations

import collections
import logging
import time

import msgspec

from catalogd.pipeline.workers import Child
from catalogd.service import SOCKET
from catalogd.settings import Settings
from catalogd.web.server import STOP_S, Said, decode_said, server_main

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
PAUSE_S = 10.0  # before one that died is replaced; doubles each time
LONGEST_PAUSE_S = 3600.0


class ServerKeeper:
    """Starts the server process and replaces it when it dies; what is asked meanwhile fails, no more.

    `url` is where the HTTP API is, "" while it is nowhere; `troubles` are for the owner to read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pause_s = PAUSE_S
        self._look_at = 0.0
        self.url = ""
        self.troubles: collections.deque[str] = collections.deque()
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
            self._bury(self._child)
        else:
            self._listen(self._child)

    def close(self, at_once: bool = False) -> None:
        """Let it end what it has begun, unless `at_once`; then end it for certain."""
        if self._child is not None:
            self._child.connection.close()
            if not at_once:
                self._child.process.join(STOP_S)
            self._child.kill()
        (self._settings.catalog / SOCKET).unlink(missing_ok=True)

    def _spawn(self) -> Child:
        return Child("catalogd-server", server_main, self._settings)

    def _bury(self, child: Child) -> None:
        log.warning("the server process %s; another starts in %g s", child.kill(), self._pause_s)
        self._child, self.url = None, ""
        self._look_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _listen(self, child: Child) -> None:
        try:
            while child.connection.poll():
                self._take(decode_said(child.connection.recv_bytes()))
        except (EOFError, OSError, msgspec.DecodeError):
            self._bury(child)

    def _take(self, said: Said) -> None:
        self.url = said.url
        if said.trouble:
            self.troubles.append(said.trouble)
