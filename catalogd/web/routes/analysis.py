"""Photos analysed now, and how far ordered work is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from catalogd.errors import ConflictError
from catalogd.json_forms import job_json
from catalogd.run_state import is_running, read_status, roots_of
from catalogd.web.answers import Json
from catalogd.web.backend import UsedBackend
from catalogd.web.inside import inside
from catalogd.web.schemas import Asked, ErrorAnswer

router = APIRouter(tags=["jobs"])

MOST_PATHS = 10_000
_NO_RUN = "no run is indexing: start one with `catalogd run FOLDER`, and ask again"
JobId = Annotated[str, Path(max_length=64)]


class JobFacts(BaseModel):
    """How far a piece of ordered work is."""

    job_id: str
    kind: str = Field(description="analyze, sync or undo")
    state: str = Field(description="waiting, running, done, cancelled or failed")
    total: int = Field(description="photos; grows while folders are listed")
    done: int = Field(description="photos that are finished, those that failed among them")
    failed: int
    message: str
    created_at: float
    finished_at: float | None


class JobAnswer(BaseModel):
    job: JobFacts


class JobsAnswer(BaseModel):
    jobs: list[JobFacts] = Field(description="the newest one first; those that ended are kept for a day")


class AnalyzeAsked(Asked):
    paths: list[str] = Field(
        min_length=1, max_length=MOST_PATHS, description="photos, and folders of them, in the run's libraries"
    )
    force: bool = Field(False, description="run all models again, also where nothing changed")


MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "There is no such job"}
}
BUSY: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorAnswer, "description": "It can't be done now: the message says why"}
}


@router.post(
    "/analyze",
    response_model=JobAnswer,
    status_code=202,
    summary="Analyse photos now",
    responses=BUSY,
)
def analyze(backend: UsedBackend, asked: AnalyzeAsked) -> Json:
    """The run takes them before what its own scan found. Follow the job with GET /jobs/{job_id}, or events.

    Without a run there is nobody to do it (409). A path that is in none of its libraries is refused (400).
    """
    settings = backend.settings
    if not is_running(settings.catalog):
        raise ConflictError(_NO_RUN)
    roots = roots_of(read_status(settings.catalog))
    paths = [inside(path, roots, settings.follow_symlinks) for path in asked.paths]
    job = backend.jobs.order(list(dict.fromkeys(paths)), asked.force)
    return Json({"job": job_json(job)}, status_code=202)


@router.get("/jobs", response_model=JobsAnswer, summary="Ordered work")
def jobs(backend: UsedBackend) -> Json:
    """Photos that are analysed, sidecars that are written or taken back."""
    return Json({"jobs": [job_json(job) for job in backend.jobs.jobs()]})


@router.get("/jobs/{job_id}", response_model=JobAnswer, summary="How far a job is", responses=MISSING)
def job(backend: UsedBackend, job_id: JobId) -> Json:
    """Told anew once a second."""
    return Json({"job": job_json(backend.jobs.job(job_id))})


@router.delete(
    "/jobs/{job_id}", response_model=JobAnswer, status_code=202, summary="Cancel a job", responses=MISSING
)
def cancel(backend: UsedBackend, job_id: JobId) -> Json:
    """What is begun is finished, the rest is left; without a run all of it is, at once.

    The answer is the job as it is then.
    """
    return Json({"job": job_json(backend.jobs.cancel(job_id))}, status_code=202)
