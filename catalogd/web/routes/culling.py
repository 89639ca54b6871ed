"""Culling: the best shots of each moment, and why. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter

from catalogd.catalog.environment import Ids
from catalogd.culling import Moment, cull
from catalogd.errors import UsageError
from catalogd.json_forms import moment_json
from catalogd.web import schemas
from catalogd.web.answers import Json
from catalogd.web.backend import Backend, UsedBackend, plan_of

router = APIRouter(tags=["culling"])


@router.post("/cull", response_model=schemas.CullAnswer, summary="The best of each moment")
async def cull_photos(backend: UsedBackend, asked: schemas.CullAsked) -> Json:
    """Photos divided into moments, the shots of each ranked, with reasons: docs/culling.md has the rules."""
    if (asked.q is None) == (asked.photo_ids is None):
        raise UsageError("give either q or photo_ids")
    return await backend.slowly(lambda: Json(_culled(backend, asked)))


def _culled(backend: Backend, asked: schemas.CullAsked) -> dict[str, Any]:
    photo_ids, notes = _asked_photos(backend, asked)
    moments = cull(backend.catalog, backend.settings, photo_ids, asked.keep)
    return {
        "moments": [_moment_json(number, moment) for number, moment in enumerate(moments, start=1)],
        "photos": sum(len(verdict.shot.photos) for moment in moments for verdict in moment.verdicts),
        "notes": notes,
    }


def _asked_photos(backend: Backend, asked: schemas.CullAsked) -> tuple[Sequence[int], list[str]]:
    """The photos to look at, and what to say of them."""
    if asked.photo_ids is not None:
        return asked.photo_ids, []
    ids, _ = backend.searcher.found(plan_of(asked.q or ""), with_files=False)
    most = schemas.MOST_CULLED
    if len(ids) <= most:
        return ids.tolist(), []
    note = f"only the newest {most:,} of {len(ids):,} photos were looked at; date: or in: narrows the query"
    return _newest(backend, ids, most).tolist(), [note]


def _newest(backend: Backend, ids: Ids, most: int) -> Ids:
    """Those taken last; photos without a date count as the oldest."""
    columns = backend.catalog.columns()
    rows = np.flatnonzero(np.isin(columns.ids, ids))
    taken = np.nan_to_num(columns.taken[rows], nan=-np.inf)
    newest: Ids = columns.ids[rows[np.argsort(taken, kind="stable")[-most:]]]
    return newest


def _moment_json(number: int, moment: Moment) -> dict[str, Any]:
    row = moment_json(number, moment)
    shots = [
        {"state": shot.pop("role"), "photo_ids": list(verdict.shot.photo_ids), **shot}
        for shot, verdict in zip(row["shots"], moment.verdicts, strict=True)
    ]
    return {"kind": _kind(moment), "start": row["taken_at"], "shots": shots, "series": row["series"]}


def _kind(moment: Moment) -> str:
    """The series that a moment is, where all its shots are of one."""
    if len(moment.series) == 1 and len(moment.series[0].members) == len(moment.verdicts):
        return moment.series[0].kind.replace(" ", "_")
    return "moment"
