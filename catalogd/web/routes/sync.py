"""Sidecars: how they stand, written by order, taken back."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from catalogd.json_forms import job_json
from catalogd.query.language import MOST_CHARACTERS
from catalogd.records import Record
from catalogd.sync import Ledger, Options, sync_records
from catalogd.sync import report as reports
from catalogd.sync.fields import DEFAULT_FIELDS
from catalogd.sync.ledger import runs
from catalogd.sync.telling import OwnWords
from catalogd.web import schemas
from catalogd.web.answers import Json
from catalogd.web.backend import Backend, UsedBackend
from catalogd.web.routes.analysis import BUSY, JobAnswer

router = APIRouter(tags=["sidecars"])

MOST_LOOKED_AT = 1000  # photos of one answer: each costs a few ms of reading sidecars
Field_ = Literal["keywords", "caption", "title", "rating", "faces", "place", "scores", "ocr"]


class Difference(BaseModel):
    name: str = Field(description="of the property, as XMP calls it")
    before: Any
    after: Any


class SidecarFacts(BaseModel):
    photo: str
    path: str
    state: str = Field(
        description="in_sync, to_write, changed (by somebody since, the next scan reads it) or refused"
    )
    reason: str | None
    differences: list[Difference] = Field(description="what a write would change")


class SyncStatus(BaseModel):
    counts: dict[str, int] = Field(description="sidecars by state, of the photos that were looked at")
    photos: int = Field(description="that were looked at")
    sidecars: list[SidecarFacts] = Field(description="those that are not in sync")
    next: int | None = Field(description="`after` of the next answer; null: these were all")


class SyncAsked(schemas.Asked):
    q: str | None = Field(None, max_length=MOST_CHARACTERS, description="which photos; null: all")
    fields: list[Field_] | None = Field(
        None, description="what is written; all but rating when left out, which nothing but its name asks for"
    )
    layout: Literal["auto", "adobe", "extended", "both"] = "auto"
    only_missing: bool = Field(False, description="leave properties alone that have a value already")
    backup: bool = Field(False, description="keep each sidecar as it was before catalogd's first write")


class UndoAsked(schemas.Asked):
    run: str | None = Field(None, max_length=64, description="one of GET /sync/runs; null: the last one")


class RunsAnswer(BaseModel):
    runs: list[str] = Field(description="that wrote sidecars and were not taken back, the last one last")


@router.get("/sync/status", response_model=SyncStatus, summary="How sidecars stand")
async def status(
    backend: UsedBackend,
    q: Annotated[
        str | None, Query(max_length=MOST_CHARACTERS, description="which photos; all without it")
    ] = None,
    after: Annotated[int, Query(ge=0, le=schemas.LARGEST_ID, description="`next` of the answer before")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_LOOKED_AT, description="photos to look at")] = 100,
) -> Json:
    """What writing would change, property by property: a dry run that writes nothing."""
    return Json(await backend.slowly(lambda: _standing(backend, q, after, limit)))


def _standing(backend: Backend, q: str | None, after: int, limit: int) -> dict[str, Any]:
    page = list(itertools.islice(_records(backend, q, after)[0], limit + 1))
    options = Options(dry_run=True, jobs=1)
    own_of = OwnWords(backend.settings, backend.catalog, options.fields)
    run = sync_records(page[:limit], options, backend.settings, None, own_of)
    tally, rows = reports.Tally(), []
    with contextlib.closing(run) as done:
        for synced in done:
            state = reports.standing_of(synced, backend.catalog.sidecar_stat(synced.written.path))
            tally.add(synced, state)
            if state != "in_sync":
                rows.append(reports.as_json(synced, state))
    following = page[limit - 1].photo_id if len(page) > limit else None
    return {"counts": dict(tally.counts), "photos": len(page[:limit]), "sidecars": rows, "next": following}


@router.post(
    "/sync/apply", response_model=JobAnswer, status_code=202, summary="Write sidecars", responses=BUSY
)
def apply(backend: UsedBackend, asked: SyncAsked) -> Json:
    """Of all photos or those of a query, as `catalogd sync xmp` does; what others wrote stays.

    One such job at a time. GET /jobs/{job_id} says how far it is; its message then names the run, by which
    POST /sync/undo takes it back.
    """
    options = Options(
        fields=DEFAULT_FIELDS if asked.fields is None else tuple(asked.fields),
        layout=asked.layout,
        only_missing=asked.only_missing,
        backup=asked.backup,
        jobs=1,
    )
    records, total = _records(backend, asked.q)
    return Json({"job": job_json(backend.sidecar_jobs.apply(records, total, options))}, status_code=202)


@router.post(
    "/sync/undo", response_model=JobAnswer, status_code=202, summary="Take sidecars back", responses=BUSY
)
def undo(backend: UsedBackend, asked: UndoAsked) -> Json:
    """What a run wrote, and nothing else: what somebody changed since stays."""
    ledger = Ledger.of_run(backend.settings.catalog, asked.run)
    return Json({"job": job_json(backend.sidecar_jobs.undo(ledger))}, status_code=202)


@router.get("/sync/runs", response_model=RunsAnswer, summary="Runs that can be taken back")
def sync_runs(backend: UsedBackend) -> Json:
    """Of `catalogd sync xmp`, `catalogd run --sidecars` and POST /sync/apply."""
    return Json({"runs": runs(backend.settings.catalog)})


def _records(backend: Backend, q: str | None, after: int = 0) -> tuple[Iterator[Record], int]:
    """The photos behind `after`, and how many there are about."""
    if q is None:
        counts = backend.catalog.counts()
        return backend.catalog.iter_records(after), counts.indexed + counts.missing
    found, _ = backend.searcher.found(q, with_files=False)
    ids = found[found > after].tolist()
    return backend.catalog.iter_records_of(ids), len(ids)
