"""What a person set in another program, such as Lightroom: it outranks what the files say.

The paths that are given are compared with those of the catalog and never opened, so they may be of any
folder; what names no photo waits until there is one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from catalogd.catalog.given import LONGEST_SOURCE, Collection, Given, GivenCounts, Refused
from catalogd.errors import UsageError
from catalogd.query.language import parse
from catalogd.records import Place, UserFacts
from catalogd.web.answers import Json
from catalogd.web.backend import UsedBackend
from catalogd.web.schemas import Asked

router = APIRouter(tags=["user data"])

MOST_PHOTOS = 500  # of one request: one transaction of some 10 ms
MOST_COLLECTIONS = 2000
MOST_UUIDS = 1_000_000  # of all collections of one request: 40 MB, within what a body may have
# What this route does not take: an import of the catalog knows it.
_UNSAID = ("synonyms", "stack", "develop", "regions")

Source = Annotated[
    str, Path(max_length=LONGEST_SOURCE, pattern=r"^[A-Za-z0-9_.-]+$", description="e.g. lightroom")
]
Uuid = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=100_000)]
Words = Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=2000)]


class UserPhoto(Asked):
    """What was set on one photo, or on one virtual copy; null where nothing is.

    The file's word counts there, unless something was given before: then it was taken out since.
    """

    uuid: Uuid = Field(description="of the photo in that program")
    path: Annotated[str, Field(min_length=1, max_length=8192)] = Field(
        description="absolute, on the machine of the catalog"
    )
    copy_name: Text | None = None
    master_uuid: Uuid | None = Field(None, description="of a virtual copy: the photo that it is a copy of")
    rating: Annotated[int, Field(ge=0, le=5)] | None = Field(
        None, description="0: no stars, whatever the file says"
    )
    pick: Annotated[int, Field(ge=-1, le=1)] | None = Field(None, description="1 picked, -1 rejected")
    label: Text | None = None
    title: Text | None = None
    caption: Text | None = None
    keywords: Words = Field([])
    keyword_paths: Words = Field([], description='"Animals|Dog"')
    people: Words = Field([])
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    city: Text | None = None
    region: Text | None = None
    country: Text | None = None
    location: Text | None = Field(None, description="a name within the city")
    collections: Words = Field([], description='"Set/Name"')
    changed_at: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="seconds since 1970; of two photos at one path the newer word counts"
    )


class UserPhotosAsked(Asked):
    photos: Annotated[list[UserPhoto], Field(max_length=MOST_PHOTOS)]


class RefusedPhoto(BaseModel):
    uuid: str
    reason: str


class TakenAnswer(BaseModel):
    taken: int = Field(description="new or changed")
    unchanged: int
    waiting: int = Field(description="of these two: kept until their photos are in the catalog")
    refused: list[RefusedPhoto]


class UserCollection(Asked):
    name: Annotated[str, Field(min_length=1, max_length=1000)] = Field(description='"Set/Name"')
    kind: Annotated[str, Field(pattern="^(collection|smart|set)$")] = "collection"
    uuids: Annotated[list[Uuid], Field(max_length=MOST_UUIDS)] = Field([], description="in their order")
    rules: Annotated[str, Field(max_length=10_000)] | None = Field(
        None, description="of a smart collection: a query of docs/query.md"
    )


class UserCollectionsAsked(Asked):
    collections: Annotated[list[UserCollection], Field(max_length=MOST_COLLECTIONS)]
    complete: bool = Field(False, description="there are no others: those given before are forgotten")


class CollectionsTaken(BaseModel):
    changed: int = Field(description="new, changed or gone")


class TakeAwayAsked(Asked):
    uuids: Annotated[list[Uuid], Field(max_length=100_000)]


class TakenAway(BaseModel):
    taken_away: int


class GivenAnswer(BaseModel):
    source: str
    photos: int
    copies: int = Field(description="of these: virtual copies")
    waiting: int = Field(description="of these: their photo is not in the catalog, or was not looked for yet")
    collections: int


@router.put("/user-data/{source}/photos", response_model=TakenAnswer, summary="Give what was set on photos")
def put_photos(backend: UsedBackend, source: Source, asked: UserPhotosAsked) -> Json:
    """In place of what was given before under the same uuid. Records follow within seconds."""
    photos, refused = _readable(asked.photos)
    taken = backend.user.give(source, photos)
    backend.records_follow.soon()
    told = [one._asdict() for one in (*refused, *taken.refused)]
    return Json({**taken._asdict(), "refused": told})


@router.put(
    "/user-data/{source}/collections", response_model=CollectionsTaken, summary="Give collections, as albums"
)
def put_collections(backend: UsedBackend, source: Source, asked: UserCollectionsAsked) -> Json:
    """A collection is an album of its name; one that was made here under the same name goes before it."""
    collections = [_collection(one) for one in asked.collections]
    return Json({"changed": backend.user.put_collections(source, collections, asked.complete)})


@router.delete(
    "/user-data/{source}/photos", response_model=TakenAway, summary="Take back what was given of photos"
)
def delete_photos(backend: UsedBackend, source: Source, asked: TakeAwayAsked) -> Json:
    """What their files say counts again."""
    count = backend.user.take_away(source, asked.uuids)
    backend.records_follow.soon()
    return Json({"taken_away": count})


@router.get("/user-data/{source}", response_model=GivenAnswer, summary="How much was given")
def counts(backend: UsedBackend, source: Source) -> Json:
    """Of all that this program gave and that was not taken back."""
    user = backend.user_so_far
    found = user.given_counts(source) if user else GivenCounts(0, 0, 0, 0)
    return Json({"source": source, **found._asdict()})


def _readable(photos: Sequence[UserPhoto]) -> tuple[list[Given], list[Refused]]:
    """What can be kept as bytes and text, and what can't."""
    given, refused = [], []
    for photo in photos:
        try:
            given.append(_given(photo))
        except UnicodeEncodeError:
            refused.append(Refused(photo.uuid, "its path or its words are no text"))
    return given, refused


def _given(photo: UserPhoto) -> Given:
    """Raises UnicodeEncodeError for what is no text."""
    photo.model_dump_json()
    facts = UserFacts(
        rating=photo.rating,
        pick=photo.pick,
        label=photo.label or None,
        title=photo.title or None,
        caption=photo.caption or None,
        keywords=tuple(photo.keywords),
        keyword_paths=tuple(photo.keyword_paths),
        people=tuple(photo.people),
        latitude=photo.latitude,
        longitude=photo.longitude,
        place=_place(photo),
        collections=tuple(photo.collections),
        copy_name=photo.copy_name or None,
        changed_at=photo.changed_at,
    )
    return Given(photo.uuid, photo.path.encode(), facts, photo.master_uuid, unsaid=_UNSAID)


def _place(photo: UserPhoto) -> Place | None:
    names: dict[str, Any] = {
        "country": photo.country or "",
        "region": photo.region or "",
        "city": photo.city or "",
        "nearest": photo.location or "",
    }
    return Place(country_code="", **names) if any(names.values()) else None


def _collection(asked: UserCollection) -> Collection:
    """Raises QueryError for rules that are no query."""
    if asked.rules is not None and asked.kind != "smart":
        raise UsageError(f"{asked.name}: only a smart collection has rules")
    if asked.rules is not None:
        parse(asked.rules)
    return Collection(asked.name, asked.kind, tuple(asked.uuids), asked.rules, made_at=time.time())
