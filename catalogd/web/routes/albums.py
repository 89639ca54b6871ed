"""Albums: photos under a name, those that a query finds or those that were put there."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from catalogd.catalog.environment import Ids
from catalogd.errors import ConflictError, NotFoundError, UsageError
from catalogd.json_forms import album_json
from catalogd.query.albums import leads_to
from catalogd.records import Album, Branch, Condition, Plan
from catalogd.web import schemas
from catalogd.web.answers import Json, cursor_of, position_of
from catalogd.web.backend import Backend, UsedBackend
from catalogd.web.routes.people import PAGE_PHOTOS, Cursor, Place

router = APIRouter(tags=["albums"])

MADE_BY = "api"
OWN_MAKERS = ("", MADE_BY, "query", "cull", "dupes")  # whose albums may be replaced here
LONGEST_NAME_BYTES = 300  # a key of the user data has 511 at most, and folding a name makes it longer
Name = Annotated[str, Path(max_length=300, description='whatever its case; a "/" in it as %2F')]
_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": schemas.ErrorAnswer, "description": "There is no album of this name"}
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": schemas.ErrorAnswer, "description": "Another program keeps an album of this name"}
}


@router.get("/albums", response_model=schemas.AlbumsAnswer, summary="List albums")
def list_albums(backend: UsedBackend) -> Json:
    """By name: saved queries, what cull and dupes put together, collections of other programs."""
    user = backend.user_so_far
    return Json({"albums": [_album_json(album) for album in user.albums()] if user else []})


@router.get(
    "/albums/{name:path}/photos",
    response_model=schemas.PhotosPage,
    summary="The photos of an album",
    responses=_NOT_FOUND,
)
def photos_of(
    backend: UsedBackend,
    name: Name,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=schemas.MOST_PHOTOS_A_PAGE)] = PAGE_PHOTOS,
) -> Json:
    """In the order in which they were put there; those of a smart album by photo_id."""
    ids = _ids_of(backend, _album(backend, name))
    start = position_of(cursor, Place, 0)
    page = ids[start : start + limit]
    following = cursor_of(start + limit) if start + limit < len(ids) else None
    records = backend.catalog.iter_records_of(page)
    return Json({"photos": [backend.summary(record) for record in records], "next": following})


def _ids_of(backend: Backend, album: Album) -> list[int]:
    """The photos of an album that are there now."""
    plan = Plan((Branch(filters=(Condition("album", words=album.name),)),))
    there: Ids = backend.searcher.found(plan, with_files=False)[0]
    ids: list[int] = there.tolist()
    if album.query is not None:
        return ids
    alive = set(ids)
    return [photo_id for photo_id in album.photo_ids if photo_id in alive]


@router.put(
    "/albums/{name:path}", response_model=schemas.AlbumFacts, summary="Make an album", responses=_CONFLICT
)
def put_album(backend: UsedBackend, name: Name, asked: schemas.AlbumAsked) -> Json:
    """Of a query (run each time it is looked at) or of photos; in place of one of the same name."""
    tidy = _checked_name(name)
    former = backend.user.album(tidy)
    if former is not None and former.made_by not in OWN_MAKERS:
        raise ConflictError(f"{former.name} is kept by {former.made_by}: choose another name")
    album = _made(backend, tidy, asked)
    backend.user.put_album(album)
    return Json(_album_json(album))


def _made(backend: Backend, name: str, asked: schemas.AlbumAsked) -> Album:
    if (asked.query is None) == (asked.photo_ids is None):
        raise UsageError("give either a query or photo_ids")
    if asked.query is None:
        photo_ids = tuple(dict.fromkeys(asked.photo_ids or ()))
        return Album(name, photo_ids=photo_ids, made_at=time.time(), made_by=MADE_BY)
    if not asked.query.strip():
        raise UsageError("what shall the album hold? give a query")
    if leads_to(asked.query, name, backend.user.album):
        raise UsageError(f"the album {name!r} would hold itself; choose another name")
    return Album(name, asked.query, made_at=time.time(), made_by=MADE_BY)


def _checked_name(name: str) -> str:
    tidy = name.strip()
    if not tidy or not tidy.isprintable() or len(tidy.encode("utf-8", "replace")) > LONGEST_NAME_BYTES:
        raise UsageError(f"the name of an album has letters, and at most {LONGEST_NAME_BYTES} bytes")
    return tidy


@router.delete(
    "/albums/{name:path}", response_model=schemas.Forgotten, summary="Forget an album", responses=_NOT_FOUND
)
def delete_album(backend: UsedBackend, name: Name) -> Json:
    """Its photos stay as they are."""
    album = _album(backend, name)
    backend.user.delete_album(album.name)
    return Json({"forgotten": album.name})


def _album(backend: Backend, name: str) -> Album:
    tidy, user = _checked_name(name), backend.user_so_far
    found = user.album(tidy) if user else None
    if found is None:
        raise NotFoundError(f"there is no album {name!r}; GET /albums lists them")
    return found


def _album_json(album: Album) -> dict[str, Any]:
    """As the commands print it, with null for what does not apply."""
    return {"query": None, "photos": None, **album_json(album)}
