"""Photos: lists, one of them, many by their paths, and their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from catalogd.catalog.environment import Ids
from catalogd.catalog.path_lookup import spellings
from catalogd.errors import NotFoundError, UsageError
from catalogd.json_forms import groups_json, record_json
from catalogd.records import Box, Failure, Record
from catalogd.run_state import read_status, roots_of
from catalogd.sync.policy import Policy, load_policy
from catalogd.sync.results import results_of
from catalogd.sync.telling import own_words
from catalogd.web import schemas
from catalogd.web.answers import NDJSON, Json, cursor_of, lines, position_of, wants_lines
from catalogd.web.backend import Backend, UsedBackend, plan_of
from catalogd.web.pictures import media_type_of

router = APIRouter(tags=["photos"])

PAGE_RECORDS = 200  # read from the catalog at a time
PICTURE_AGE_S = 300  # a client asks again after that, and mostly learns that it has the picture already
Position = Annotated[int, msgspec.Meta(ge=0, le=schemas.LARGEST_ID)]
PhotoId = Annotated[schemas.PhotoId, Path()]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}, "image/webp": {}}, "description": "The picture"},
    304: {"description": "The client has it already (If-None-Match)"},
    404: {"model": schemas.ErrorAnswer, "description": "No such photo, or no such picture of it"},
    409: {"model": schemas.ErrorAnswer, "description": "The photo's file is another one by now"},
}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": schemas.ErrorAnswer, "description": "There is no such photo"}
}


@router.get(
    "/photos",
    response_model=schemas.PhotosPage,
    summary="List photos",
    responses={200: {"content": {NDJSON: {}}}},
)
def list_photos(
    request: Request,
    backend: UsedBackend,
    q: Annotated[schemas.QueryText, Query()] = "",
    cursor: Cursor = None,
    limit: Annotated[int | None, Query(ge=1, le=schemas.MOST_PHOTOS_A_PAGE)] = None,
) -> Response:
    """The photos of a query by photo_id, each once, whatever is indexed meanwhile; /search ranks them.

    Pages of 200, or with `Accept: application/x-ndjson` all of them, one a line.
    """
    ids, _ = backend.searcher.found(plan_of(q), with_files=False)
    rest = ids[np.searchsorted(ids, position_of(cursor, Position, 0), side="right") :]
    if wants_lines(request):
        return lines(_summaries(backend, rest[:limit]))
    page = rest[: limit or PAGE_RECORDS]
    following = cursor_of(int(page[-1])) if len(page) < len(rest) else None
    return Json({"photos": list(_summaries(backend, page)), "next": following})


def _summaries(backend: Backend, ids: Ids) -> Iterator[dict[str, Any]]:
    """Those that are still there."""
    for record in backend.catalog.iter_records_of(ids.tolist()):
        yield backend.summary(record)


@router.get(
    "/photos/{photo_id}", response_model=schemas.Photo, summary="All about one photo", responses=_NOT_FOUND
)
def photo(backend: UsedBackend, photo_id: PhotoId) -> Json:
    """What `catalogd show --json` prints: facts, what each model said, people, stack, burst and session."""
    record = backend.record(photo_id, with_embeddings=True)
    return Json({**record_json(record), **groups_json(backend.catalog, record)})


# ── by paths ──────────────────────────────────────────────────────────────────────────────────


@router.post("/photos/lookup", response_model=schemas.LookupAnswer, summary="Photos by their paths")
def look_up(backend: UsedBackend, asked: schemas.LookupAsked) -> Json:
    """What is known of the photo at each path, however its accents are composed or its name's case is.

    With `fields: ["results"]` what catalogd has to say of it to another program.
    """
    paths = [path.encode("utf-8", "replace") for path in asked.paths]
    found = backend.catalog.find_paths(paths)
    ids = [one.photo_id if one else backend.missing_at(path) for path, one in zip(paths, found, strict=True)]
    records = backend.catalog.records(ids)
    tell = _Teller(backend, asked.fields)
    rows = zip(asked.paths, paths, records, strict=True)
    return Json({"photos": [tell(*row) for row in rows]})


class _Teller:
    """Tells what is known of photos at paths."""

    def __init__(self, backend: Backend, fields: Sequence[str]) -> None:
        self._backend = backend
        self._with_summary = "summary" in fields
        self._policy: Policy | None = load_policy(backend.settings) if "results" in fields else None
        self._roots: list[bytes] | None = None

    def __call__(self, asked: str, path: bytes, record: Record | None) -> dict[str, Any]:
        failure = self._failure(record.path if record else path)
        state = self._state(path, record, failure)
        return {
            "path": asked,
            "state": state,
            "photo_id": record.photo_id if record else None,
            "summary": self._backend.summary(record) if record and self._with_summary else None,
            "results": self._results(record) if record else None,
            "failure": _failure_json(failure) if failure else None,
        }

    def _state(self, path: bytes, record: Record | None, failure: Failure | None) -> str:
        if record is not None:
            return "missing" if record.missing_since is not None else "indexed"
        if failure is not None:
            return "failed"
        return "unknown" if self._is_inside(path) else "outside"

    def _failure(self, path: bytes) -> Failure | None:
        tries = (self._backend.catalog.failure(spelled) for spelled in spellings(path))
        return next(filter(None, tries), None)

    def _results(self, record: Record) -> dict[str, Any] | None:
        if self._policy is None:
            return None
        user = self._backend.user_so_far
        proposal = user.proposal(record.photo_id) if user else None
        own = own_words(self._backend.catalog.people, record, proposal)
        return results_of(record, own, proposal, self._policy)

    def _is_inside(self, path: bytes) -> bool:
        """Whether the path lies in a folder of the last run, or in one with photos; no disk is asked."""
        if self._roots is None:
            self._roots = _roots(self._backend)
        folders = path.split(b"/")[:-1]
        if b".." in folders:
            return False
        return any(path.startswith(root.rstrip(b"/") + b"/") for root in self._roots)


def _roots(backend: Backend) -> list[bytes]:
    """The folders of the last run; without one, those that hold photos."""
    return roots_of(read_status(backend.settings.catalog)) or backend.catalog.folders_under(b"/")


def _failure_json(failure: Failure) -> dict[str, str]:
    return {"stage": failure.stage, "reason": failure.reason, "message": failure.message}


# ── pictures ──────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/photos/{photo_id}/thumbnail", summary="A small picture", responses=_PICTURE, response_model=None
)
def thumbnail(request: Request, backend: UsedBackend, photo_id: PhotoId) -> Response:
    """JPEG or WebP, as the thumbnail settings say; 404 when there is none in the store."""
    record = backend.record(photo_id)
    tag = backend.pictures.thumbnail_tag(record)
    if _has(request, tag) and backend.pictures.has_thumbnail(record):
        return _unchanged(tag)
    picture = backend.pictures.thumbnail(record)
    return _picture(picture, tag)


@router.get(
    "/photos/{photo_id}/preview", summary="A picture to look at", responses=_PICTURE, response_model=None
)
async def preview(request: Request, backend: UsedBackend, photo_id: PhotoId) -> Response:
    """A JPEG of `frame_edge_px` (1280), upright, read from the photo itself."""

    def work() -> Response:
        record = backend.record(photo_id)
        tag = backend.pictures.preview_tag(record)
        return _unchanged(tag) if _has(request, tag) else _picture(backend.pictures.preview(record), tag)

    return await backend.slowly(work)


@router.get(
    "/photos/{photo_id}/faces/{face}/image",
    summary="One face of a photo",
    responses=_PICTURE,
    response_model=None,
)
def face_image(
    request: Request,
    backend: UsedBackend,
    photo_id: PhotoId,
    face: Annotated[int, Path(ge=1, le=10_000, description="counts from 1 in its photo")],
) -> Response:
    """A JPEG with the face and what is around it, cut out of the thumbnail."""
    record = backend.record(photo_id)
    box = _box_of(backend, photo_id, face)
    tag = backend.pictures.face_tag(record, box)
    return _unchanged(tag) if _has(request, tag) else _picture(backend.pictures.face(record, box), tag)


def _box_of(backend: Backend, photo_id: int, face: int) -> Box:
    found = [one.box for one in backend.catalog.people.faces_of(photo_id) if one.face + 1 == face]
    if not found:
        raise NotFoundError(f"there is no face {face} in the photo {photo_id}")
    return found[0]


@router.get(
    "/photos/{photo_id}/original",
    summary="The photo's own file",
    response_model=None,
    responses={
        **_PICTURE,
        200: {
            "content": {"image/*": {}, "application/octet-stream": {}},
            "description": "The file, byte for byte",
        },
        403: {"model": schemas.ErrorAnswer, "description": "The setting http_originals is off"},
    },
)
def original(request: Request, backend: UsedBackend, photo_id: PhotoId) -> Response:
    """Only with the setting `http_originals`, and only when it is the file that was indexed."""
    if not backend.settings.http_originals:
        raise OriginalsOffError("originals are not given away here; the setting http_originals allows it")
    record = backend.record(photo_id)
    tag = backend.pictures.original_tag(record)
    if _has(request, tag):
        return _unchanged(tag)
    found = backend.pictures.original(record)
    headers = {**_caching(tag), "Content-Length": str(found.size), "Content-Disposition": "attachment"}
    return StreamingResponse(found.chunks, media_type=found.media_type, headers=headers)


class OriginalsOffError(UsageError):
    """The owner has not allowed that originals are sent."""

    http_status = 403
    kind = "forbidden"


def _has(request: Request, tag: str) -> bool:
    """Whether the client has the picture of this ETag."""
    asked = request.headers.get("if-none-match", "")
    return asked.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in asked.split(","))


def _caching(tag: str) -> dict[str, str]:
    return {"ETag": tag, "Cache-Control": f"private, max-age={PICTURE_AGE_S}"}


def _unchanged(tag: str) -> Response:
    return Response(status_code=304, headers=_caching(tag))


def _picture(picture: bytes, tag: str) -> Response:
    return Response(picture, media_type=media_type_of(picture), headers=_caching(tag))
