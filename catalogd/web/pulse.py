"""What goes on, for those who watch: looked at once a second, however many they are.

What a run does stands in run.json and in the catalog's commit number. Nobody looks while nobody listens.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio.to_thread
from fastapi import Request

from catalogd.catalog import Counts
from catalogd.jobs import Job
from catalogd.run_state import is_running, read_status
from catalogd.web.backend import Backend

LOOK_EVERY_S = 1.0


@dataclasses.dataclass(frozen=True)
class Moment:
    """How things are. `run` is what run.json says, None while no run is alive."""

    run: dict[str, Any] | None
    counts: Counts
    jobs: tuple[Job, ...]  # the newest one first


def look(backend: Backend) -> Moment:
    """How things are now."""
    catalog = backend.settings.catalog
    run = read_status(catalog) if is_running(catalog) else None
    return Moment(run, backend.catalog.counts(), tuple(backend.jobs.jobs()))


class Pulse:
    """One a server. Used from its event loop alone, but for `uptime_s`."""

    def __init__(self, look: Callable[[], Moment]) -> None:
        self._look = look
        self._started = time.monotonic()
        self._last: Moment | None = None
        self._looked_at = 0.0
        self._lock = asyncio.Lock()
        self._end = asyncio.Event()

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._started

    def stop(self) -> None:
        """Let all who listen go, at once."""
        self._end.set()

    async def moments(self) -> AsyncIterator[Moment]:
        """How things are, now and every second, until the server stops."""
        while not self._end.is_set():
            yield await self._shared_look()
            try:
                await asyncio.wait_for(self._end.wait(), LOOK_EVERY_S)
            except TimeoutError:
                continue

    async def _shared_look(self) -> Moment:
        async with self._lock:
            if self._last is None or time.monotonic() - self._looked_at >= LOOK_EVERY_S / 2:
                self._last = await anyio.to_thread.run_sync(self._look)
                self._looked_at = time.monotonic()
            return self._last


async def get_pulse(request: Request) -> Pulse:
    """For `Depends`; asynchronous, so that there is one."""
    state = request.app.state
    if not hasattr(state, "pulse"):
        state.pulse = Pulse(lambda: look(state.backend))
    pulse: Pulse = state.pulse
    return pulse
