"""How things are: the catalog and its run, and what could not be read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from catalogd import __version__
from catalogd.errors import NotFoundError
from catalogd.models import registry
from catalogd.records import Failure, display_path
from catalogd.run_state import is_running, request_retry
from catalogd.web.answers import Json, cursor_of, lines, position_of, wants_lines
from catalogd.web.backend import UsedBackend
from catalogd.web.pulse import Pulse, get_pulse, look
from catalogd.web.schemas import Asked, ErrorAnswer

router = APIRouter(tags=["status"])
PAGE = 200
MOST_PATHS = 10_000


class CatalogFacts(BaseModel):
    indexed: int
    missing: int = Field(description="photos whose files are gone, kept for a while")
    failed: int
    commit: int = Field(description="grows with every commit")


class StatusAnswer(BaseModel):
    version: str
    catalog: CatalogFacts
    run: dict[str, Any] | None = Field(
        description="of the run that is alive: what `catalogd run --json` prints, with pid, host, roots"
    )
    profile: str
    uptime_s: float = Field(description="of this server")


class FailureFacts(BaseModel):
    path: str
    stage: str
    reason: str = Field(description="a stable word: unreadable, unsupported, too_large, timeout, …")
    message: str
    tries: int
    failed_at: float


class FailuresPage(BaseModel):
    failures: list[FailureFacts]
    next: str | None = Field(description="the cursor of the page behind this one")


class RetryAsked(Asked):
    paths: list[str] | None = Field(
        None, max_length=MOST_PATHS, description="as in the list of failures; all of it when left out"
    )


class RetryAnswer(BaseModel):
    retried: int
    run: bool = Field(description="whether a run is alive that tries them now; else the next one does")


@router.get("/status", response_model=StatusAnswer, summary="How the catalog and its run are")
def status(backend: UsedBackend, pulse: Annotated[Pulse, Depends(get_pulse)]) -> Json:
    """Counts of the catalog, the progress of the run that is alive, and for how long this server is."""
    moment = look(backend)
    return Json(
        {
            "version": __version__,
            "catalog": {
                "indexed": moment.counts.indexed,
                "missing": moment.counts.missing,
                "failed": moment.counts.failed,
                "commit": moment.counts.commit,
            },
            "run": moment.run,
            "profile": registry.chosen(backend.settings).profile,
            "uptime_s": round(pulse.uptime_s, 3),
        }
    )


@router.get("/failures", response_model=FailuresPage, summary="Photos that could not be read")
def failures(
    request: Request,
    backend: UsedBackend,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
) -> Response:
    """Ordered by path, in pages; all of them, one a line, for `Accept: application/x-ndjson`."""
    after = position_of(cursor, bytes, b"")
    found = sorted(
        (failure for failure in backend.catalog.failures() if failure.path > after),
        key=lambda failure: failure.path,
    )
    if wants_lines(request):
        return lines(map(_failure_json, found))
    page, rest = found[:limit], found[limit:]
    return Json(
        {
            "failures": [_failure_json(failure) for failure in page],
            "next": cursor_of(page[-1].path) if rest else None,
        }
    )


def _failure_json(failure: Failure) -> dict[str, Any]:
    return {
        "path": display_path(failure.path),
        "stage": failure.stage,
        "reason": failure.reason,
        "message": failure.message,
        "tries": failure.tries,
        "failed_at": failure.failed_at,
    }


@router.post(
    "/failures/retry",
    response_model=RetryAnswer,
    summary="Try failed photos again",
    responses={404: {"model": ErrorAnswer, "description": "One of them has not failed"}},
)
def retry(backend: UsedBackend, asked: RetryAsked) -> Json:
    """Those that are named, or all. The run that is alive does it, else the next one."""
    failed = {display_path(failure.path): failure.path for failure in backend.catalog.failures()}
    wanted = failed if asked.paths is None else dict.fromkeys(asked.paths)
    if strangers := sorted(wanted.keys() - failed.keys()):
        raise NotFoundError(f"{strangers[0]!r} has not failed; GET /api/v1/failures lists what has")
    paths = sorted(failed[path] for path in wanted)
    if paths:
        request_retry(backend.settings.catalog, paths)
    return Json({"retried": len(paths), "run": is_running(backend.settings.catalog)})
