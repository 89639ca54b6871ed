"""Numbers for monitoring."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse, Response

from catalogd.web.backend import UsedBackend
from catalogd.web.metrics import CONTENT_TYPE, Metrics, get_metrics
from catalogd.web.pulse import Pulse, get_pulse, look

router = APIRouter(tags=["status"])


@router.get("/metrics", response_class=PlainTextResponse, summary="Numbers for Prometheus")
def metrics(
    backend: UsedBackend,
    pulse: Annotated[Pulse, Depends(get_pulse)],
    numbers: Annotated[Metrics, Depends(get_metrics)],
) -> Response:
    """Photos, failures, the run and its rate, answers by route and status, seconds of searches."""
    text = numbers.render(look(backend), pulse.uptime_s)
    return Response(text, headers={"Content-Type": CONTENT_TYPE})
