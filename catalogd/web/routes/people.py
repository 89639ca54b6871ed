"""People: who is on the photos, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Path, Query

from catalogd.catalog.acting import Suggestions
from catalogd.catalog.environment import Ids
from catalogd.catalog.people import Somebody
from catalogd.catalog.user_data import Entry
from catalogd.errors import NotFoundError, UsageError
from catalogd.json_forms import entry_json, person_in_full, person_json, suggestion_json
from catalogd.web import schemas
from catalogd.web.answers import Json, cursor_of, position_of
from catalogd.web.backend import Backend, UsedBackend
from catalogd.web.schemas import PeopleActionAsked

router = APIRouter(tags=["people"])

PAGE_PEOPLE = 200
PAGE_PHOTOS = 200
Place = Annotated[int, msgspec.Meta(ge=0, le=schemas.LARGEST_ID)]  # in a list, or behind a photo_id
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
Number = Annotated[schemas.PhotoId, Path(description="as lists show it: of a cluster, or the person_id")]
_ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": schemas.ErrorAnswer, "description": "There is nobody of this number or name"},
    409: {
        "model": schemas.ErrorAnswer,
        "description": "Somebody else has this name",
    },
}


@router.get("/people", response_model=schemas.PeoplePage, summary="List people")
def list_people(
    backend: UsedBackend,
    everybody: Annotated[
        bool, Query(alias="all", description="small clusters, hidden people and strangers too")
    ] = False,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE_PEOPLE,
) -> Json:
    """People and unnamed clusters of faces, by how often they are seen."""
    found = [one for one in backend.catalog.people.everybody() if everybody or one.is_listed]
    start = position_of(cursor, Place, 0)
    page = found[start : start + limit]
    following = cursor_of(start + limit) if start + limit < len(found) else None
    return Json({"people": [_person(backend, one) for one in page], "next": following})


@router.get("/people/suggestions", response_model=schemas.SuggestionsAnswer, summary="Who may be one person")
def suggestions(backend: UsedBackend, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> Json:
    """Pairs that look or are called alike, the surest first; the action `merge` says that they are one."""
    found = Suggestions(backend.catalog.people).best(backend.catalog.faces, limit)
    return Json({"suggestions": [suggestion_json(pair) for pair in found]})


@router.get(
    "/people/{number}",
    response_model=schemas.PersonInFull,
    summary="One person",
    responses={404: _ERRORS[404]},
)
def person(
    backend: UsedBackend,
    number: Number,
    limit: Annotated[int, Query(ge=0, le=1000, description="so many faces")] = 20,
) -> Json:
    """Names, the best faces with their photos, and what was said."""
    one = backend.catalog.people.who(str(number))
    return Json(_with_cover(person_in_full(backend.catalog, one, limit)))


@router.get(
    "/people/{number}/photos",
    response_model=schemas.PhotosPage,
    summary="The photos that show somebody",
    responses={404: _ERRORS[404]},
)
def photos_of(
    backend: UsedBackend,
    number: Number,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=schemas.MOST_PHOTOS_A_PAGE)] = PAGE_PHOTOS,
) -> Json:
    """By photo_id, also those whose file names the person beside no face."""
    ids = _photos_of(backend, backend.catalog.people.who(str(number)))
    rest = ids[np.searchsorted(ids, position_of(cursor, Place, 0), side="right") :]
    page = rest[:limit]
    following = cursor_of(int(page[-1])) if len(page) < len(rest) else None
    records = backend.catalog.iter_records_of(page.tolist())
    return Json({"photos": [backend.summary(record) for record in records], "next": following})


def _photos_of(backend: Backend, one: Somebody) -> Ids:
    people = backend.catalog.people
    if one.person is not None:
        return people.photos_of(one.person.person_id)
    return np.unique(people.identities().faces.photo_ids[one.faces])


def _person(backend: Backend, one: Somebody) -> dict[str, Any]:
    return _with_cover(person_json(backend.catalog, one))


def _with_cover(row: dict[str, Any]) -> dict[str, Any]:
    """The photo to show for somebody as one value."""
    path, photo_id, face = row["cover"], row.pop("cover_photo_id"), row.pop("cover_face")
    return {**row, "cover": {"photo_id": photo_id, "path": path, "face": face} if photo_id else None}


# ── saying ────────────────────────────────────────────────────────────────────────────────────


@router.post(
    "/people/actions",
    response_model=schemas.EntryAnswer,
    summary="Say something about people",
    responses=_ERRORS,
)
def act(backend: UsedBackend, asked: PeopleActionAsked) -> Json:
    """Give a name, merge, split, say whose a face is …: holds at once; /people/undo takes it back."""
    entry = _ACTIONS[asked.action](backend, asked, backend.catalog.people.who(str(asked.who)))
    return Json({"entry": entry_json(entry) if entry else None})


@router.post("/people/undo", response_model=schemas.EntriesAnswer, summary="Take back what was said last")
def undo(backend: UsedBackend, asked: schemas.TurnsAsked) -> Json:
    """The last `count` actions; /people/redo is the way back."""
    return Json({"entries": [entry_json(entry) for entry in backend.user.undo(asked.count)]})


@router.post("/people/redo", response_model=schemas.EntriesAnswer, summary="Let it hold again")
def redo(backend: UsedBackend, asked: schemas.TurnsAsked) -> Json:
    """What was taken back last, unless something was said since."""
    return Json({"entries": [entry_json(entry) for entry in backend.user.redo(asked.count)]})


Act = Callable[[Backend, PeopleActionAsked, Somebody], Entry | None]


def _merge(backend: Backend, asked: PeopleActionAsked, one: Somebody) -> Entry | None:
    if not asked.others:
        raise UsageError("merge: `others` says who is the same person")
    others = [backend.catalog.people.who(str(other)) for other in asked.others]
    return backend.actor.merge(one, others)


def _flag(backend: Backend, asked: PeopleActionAsked, one: Somebody) -> Entry | None:
    return backend.actor.flag(asked.action, one)


_ACTIONS: dict[str, Act] = {
    "name": lambda backend, asked, one: backend.actor.name(one, asked.name, asked.merge),
    "alias": lambda backend, asked, one: backend.actor.alias(one, asked.name),
    "unalias": lambda backend, asked, one: backend.actor.unalias(one, asked.name),
    "merge": _merge,
    "split": lambda backend, asked, one: backend.actor.split(one, _rows(backend, asked), asked.name),
    "not": lambda backend, asked, one: backend.actor.refuse(one, _rows(backend, asked)),
    "is": lambda backend, asked, one: backend.actor.pin(one, _rows(backend, asked)),
    "hide": _flag,
    "unhide": _flag,
    "ignore": _flag,
    "unignore": _flag,
    "forget": lambda backend, asked, one: backend.actor.forget(one),
}


def _rows(backend: Backend, asked: PeopleActionAsked) -> Ids:
    """The faces that are meant, as rows of the face table."""
    if not asked.faces:
        raise UsageError(f"{asked.action}: `faces` says which")
    table = backend.catalog.people.identities().faces
    found: list[int] = []
    for face in asked.faces:
        rows = [row for row in table.rows_in(face.photo_id) if int(table.indices[row]) + 1 == face.face]
        if not rows:
            raise NotFoundError(f"there is no face {face.face} in the photo {face.photo_id}")
        found += rows
    return np.array(found, np.int64)
