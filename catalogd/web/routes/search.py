"""Searches: what photos show, how a query is read, and photos like others.

No search through here reads a file that a query names: `similar:` takes photos of the catalog. A picture
to look for comes in the request's body.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import IO, Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException

from catalogd.errors import NotFoundError, ResourceError, UsageError
from catalogd.json_forms import results_json
from catalogd.query.facets import NAMES
from catalogd.records import Example, Output, Plan, Results
from catalogd.web import schemas
from catalogd.web.answers import Json
from catalogd.web.backend import Backend, UsedBackend, plan_of

router = APIRouter(tags=["search"])

DEFAULT_FACETS = ("camera", "year")
UPLOAD_PREFIX = "catalogd-"  # of its file, which is there while it is looked at
_PICTURE = "\0picture"  # the example that stands for an upload: no query can spell it
_PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "description": "the bytes of a picture: JPEG, HEIC, RAW, …",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/*", "application/octet-stream")
        },
    }
}

QueryText = Annotated[schemas.QueryText, Query()]
Limit = Annotated[schemas.Limit, Query()]
MinScore = Annotated[schemas.MinScore, Query()]
Explain = Annotated[bool, Query(description="with how the query was read and carried out")]


@router.get("/search", response_model=schemas.SearchAnswer, summary="Search photos")
def search(
    backend: UsedBackend,
    q: QueryText = "",
    limit: Limit = 20,
    min_score: MinScore = None,
    explain: Explain = False,
) -> Json:
    """The photos that a query finds, the best first, each with its reasons. Without a query: the newest."""
    return Json(results_json(_searched(backend, plan_of(q), limit, min_score, explain)))


@router.post("/search", response_model=schemas.SearchAnswer, summary="Search photos, by a long query")
def search_at_length(backend: UsedBackend, asked: schemas.SearchAsked) -> Json:
    """The same; with `fields: ["photo"]` each hit comes with what lists show of its photo."""
    results = _searched(backend, plan_of(asked.q), asked.limit, asked.min_score, asked.explain)
    return Json(_with_fields(backend, results, asked.fields))


@router.get("/count", response_model=schemas.CountAnswer, summary="How many photos a query finds")
def count(backend: UsedBackend, q: QueryText = "") -> Json:
    """Without a query: all photos that are there."""
    ids, is_whole = backend.searcher.found(plan_of(q), with_files=False)
    return Json({"count": len(ids), "capped": not is_whole})


@router.get("/facets", response_model=schemas.FacetsAnswer, summary="How the photos of a query divide")
def facets(
    backend: UsedBackend,
    q: QueryText = "",
    names: Annotated[str, Query(max_length=500, description=f"some of {', '.join(NAMES)}")] = ",".join(
        DEFAULT_FACETS
    ),
) -> Json:
    """By camera, year, place, person …: each value with its number of photos, most first."""
    asked = [name for name in (word.strip() for word in names.split(",")) if name]
    found = backend.searcher.divided(plan_of(q), asked, with_files=False)
    divided = {
        name: [{"value": value, "photos": photos} for value, photos in rows]
        for name, rows in found.counts.items()
    }
    return Json({"facets": divided, "photos": found.photos, "notes": list(found.notes)})


@router.get("/explain", response_model=schemas.Explanation, summary="How a query is read and carried out")
def explain(backend: UsedBackend, q: QueryText = "") -> Json:
    """What was understood, a line each, and the steps of the search with what they cost."""
    return Json(results_json(_searched(backend, plan_of(q), 1, None, True))["explanation"])


# ── photos like others ────────────────────────────────────────────────────────────────────────


@router.post(
    "/similar",
    response_model=schemas.SearchAnswer,
    summary="Find photos like others",
    responses={404: {"model": schemas.ErrorAnswer, "description": "There is no such photo"}},
)
def similar(backend: UsedBackend, asked: schemas.SimilarAsked) -> Json:
    """Photos that look like all of these and unlike the others, among those that `q` finds."""
    likes = [*asked.photo_ids, *_ids_at(backend, asked.paths)]
    if not likes:
        raise UsageError("name a photo that others shall be like, in photo_ids or paths")
    examples = [
        *(_example(backend, photo_id) for photo_id in likes),
        *(_example(backend, photo_id, negated=True) for photo_id in asked.not_photo_ids),
    ]
    plan = _with_examples(plan_of(asked.q), examples)
    results = _searched(backend, plan, asked.limit, asked.min_score, asked.explain)
    return Json(_with_fields(backend, results, asked.fields))


@router.post(
    "/similar/upload",
    response_model=schemas.SearchAnswer,
    summary="Find photos like a picture that is sent along",
    openapi_extra=_PICTURE_BODY,
    responses={413: {"model": schemas.ErrorAnswer, "description": "It has more than http_upload_bytes"}},
)
async def similar_to_upload(
    request: Request,
    backend: UsedBackend,
    q: QueryText = "",
    limit: Limit = 20,
    min_score: MinScore = None,
) -> Json:
    """The body is the picture's bytes. It is looked at and forgotten."""
    with tempfile.NamedTemporaryFile(prefix=UPLOAD_PREFIX) as file:  # mode 600
        await _receive(request, file, backend.settings.http_upload_bytes)

        def work() -> Results:
            plan = _with_examples(plan_of(q), [Example(_PICTURE)])
            given = {_PICTURE: _seen(backend, file.name, plan)}
            return _searched(backend, plan, limit, min_score, given=given)

        return Json(results_json(await backend.slowly(work)))


async def _receive(request: Request, file: IO[bytes], most: int) -> None:
    """Write the body to the file."""
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:  # else said by the gate already
                raise HTTPException(413, f"a picture has at most {most:,} bytes here (http_upload_bytes)")
            file.write(chunk)
        file.flush()
    except OSError as error:
        raise ResourceError(f"no room for the picture in {tempfile.gettempdir()}: {error.strerror}") from None
    if size == 0:
        raise UsageError("send the bytes of a picture as the body")


def _seen(backend: Backend, file: str, plan: Plan) -> tuple[Output, ...]:
    """How an upload looks; an error does not tell where it lay."""
    try:
        return backend.searcher.look_at(os.fsencode(file), plan)
    except UsageError as error:
        raise UsageError(str(error).replace(file, "the picture")) from None


def _ids_at(backend: Backend, paths: Sequence[str]) -> list[int]:
    """The photos at these paths. Raises NotFoundError."""
    found = backend.catalog.find_paths(path.encode("utf-8", "replace") for path in paths)
    missing = next((path for path, one in zip(paths, found, strict=True) if one is None), None)
    if missing is not None:
        raise NotFoundError(f"{missing} is not in the catalog; POST its bytes to /similar/upload")
    return [one.photo_id for one in found if one is not None]


def _example(backend: Backend, photo_id: int, negated: bool = False) -> Example:
    """By its path, which can't be taken for the name of another photo."""
    return Example(os.fsdecode(backend.record(photo_id).path), negated)


def _with_examples(plan: Plan, examples: Sequence[Example]) -> Plan:
    branches = tuple(
        msgspec.structs.replace(branch, examples=(*branch.examples, *examples)) for branch in plan.branches
    )
    return msgspec.structs.replace(plan, branches=branches)


# ── what they share ───────────────────────────────────────────────────────────────────────────


def _searched(
    backend: Backend,
    plan: Plan,
    limit: int,
    min_score: float | None,
    explain: bool = False,
    given: dict[str, tuple[Output, ...]] | None = None,
) -> Results:
    return backend.searcher.search(plan, limit, min_score, explain, with_files=False, given=given)


def _with_fields(backend: Backend, results: Results, fields: Sequence[str]) -> dict[str, Any]:
    """The answer, with a summary of each hit's photo if that is asked for."""
    answer = results_json(results)
    if "photo" in fields:
        hits = [*answer["hits"], *answer["nearest"]]
        records = backend.catalog.records([hit["photo_id"] for hit in hits])
        for hit, record in zip(hits, records, strict=True):
            hit["photo"] = None if record is None else backend.summary(record)
    return answer
