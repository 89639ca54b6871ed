"""What goes on, as it happens: server-sent events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from catalogd.jobs import Job
from catalogd.json_forms import encode_json, job_json
from catalogd.web.pulse import Moment, Pulse, get_pulse

router = APIRouter(tags=["status"])
HEARTBEAT_S = 15.0  # of silence: proxies cut connections that say nothing for a minute
HEARTBEAT = b": still here\n\n"
_ALWAYS_NEW = ("updated_at", "elapsed_s")  # of run.json: no news by themselves


class _Stream(StreamingResponse):
    media_type = "text/event-stream"


@router.get(
    "/events",
    response_class=_Stream,
    summary="What goes on, as server-sent events",
    responses={200: {"description": "a stream", "content": {"text/event-stream": {}}}},
)
async def events(pulse: Annotated[Pulse, Depends(get_pulse)]) -> _Stream:
    """`progress` (how the run is, or null), `commit` (its number, and the photos) and `job`.

    First each as it is, then what changes, at most once a second; a comment after 15 s of silence.
    """
    return _Stream(_news(pulse))


async def _news(pulse: Pulse) -> AsyncIterator[bytes]:
    told = Told()
    said_at = time.monotonic()
    async for moment in pulse.moments():
        news = b"".join(told.news(moment))
        if news or time.monotonic() - said_at >= HEARTBEAT_S:
            said_at = time.monotonic()
            yield news or HEARTBEAT


class Told:
    """What one listener knows."""

    def __init__(self) -> None:
        self._run: Any = "nothing"
        self._commit = -1
        self._jobs: dict[str, Job] = {}

    def news(self, moment: Moment) -> Iterator[bytes]:
        """The events that bring the listener from what it knows to `moment`."""
        run = moment.run and {name: value for name, value in moment.run.items() if name not in _ALWAYS_NEW}
        if run != self._run:
            self._run = run
            yield _event("progress", moment.run)
        if moment.counts.commit != self._commit:
            self._commit = moment.counts.commit
            yield _event("commit", {"commit": moment.counts.commit, "indexed": moment.counts.indexed})
        for job in reversed(moment.jobs):
            if self._jobs.get(job.job_id) != job:
                yield _event("job", job_json(job))
        self._jobs = {job.job_id: job for job in moment.jobs}


def _event(name: str, value: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode_json(value))
