"""What the API's JSON holds: the models by which requests are read and answers are documented.

Answers are plain dictionaries (catalogd/json_forms.py) that never pass through these models when they
are sent; the tests do that. Keys are only ever added, so a client must bear keys that it does not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from catalogd.query.language import MOST_CHARACTERS

LARGEST_ID = 2**53 - 1  # a whole number that every JSON reader keeps
Box = Annotated[list[float], Field(min_length=4, max_length=4)]  # x, y, width, height of the upright frame
PhotoId = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class Asked(BaseModel):
    """A request's body: a key that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid")


class ErrorFacts(BaseModel):
    kind: str = Field(description="a stable word: query, usage, validation, not_found, conflict, outside, …")
    message: str = Field(description="what is wrong and what to do next, for people")
    position: int | None = Field(None, description="of a query that can't be read: where in its text")


class ErrorAnswer(BaseModel):
    """Every answer that is not a success."""

    error: ErrorFacts


# ── photos ────────────────────────────────────────────────────────────────────────────────────

MOST_PHOTOS_A_PAGE = 1000
MOST_PATHS = 1000  # of one lookup


class PhotoSummary(BaseModel):
    """What a list shows of a photo; what a person set elsewhere counts before what its file says."""

    photo_id: int
    path: str = Field(description="for people; bytes that are no UTF-8 stand in it as `\\xNN`")
    taken_at: str | None
    camera: str | None
    lens: str | None
    width: int
    height: int
    format: str
    rating: int | None = Field(description="-1 rejected, 0 to 5")
    label: str | None
    title: str | None
    caption: str | None = Field(description="of a person")
    model_caption: str | None
    aesthetics: float | None = Field(description="1 to 10: how people would like it, as a model guesses")
    keywords: list[str]
    people: list[str] = Field(description="whom it shows, by name")
    place: str | None
    latitude: float | None
    longitude: float | None
    has_thumbnail: bool


class PhotosPage(BaseModel):
    photos: list[PhotoSummary]
    next: str | None = Field(description="`cursor` of the next page; null: that was the last")


class FaceOnPhoto(BaseModel):
    face: int = Field(description="counts from 1 in its photo")
    name: str | None
    box: Box


class Photo(BaseModel):
    """All that the catalog keeps of a photo, as `catalogd show --json` prints it: docs/formats.md."""

    model_config = ConfigDict(extra="allow")

    photo_id: int
    path: str
    content: str = Field(description="16 bytes in hex; copies share them")
    facts: dict[str, Any] = Field(description="what the file and its sidecars say")
    outputs: dict[str, Any] = Field(description="by model: what it said")
    people: list[str]
    faces: list[FaceOnPhoto]
    stack: dict[str, Any] | None
    burst: dict[str, Any] | None
    session: dict[str, Any] | None
    film: str | None = Field(description="of a live photo")


LookupField = Literal["summary", "results"]


class LookupAsked(Asked):
    paths: list[str] = Field(max_length=MOST_PATHS)
    fields: list[LookupField] = ["summary"]


class KeywordGiven(BaseModel):
    name: str
    path: str = Field(description='from the top: "Animals|Dog"')
    score: float | None
    kind: Literal["tag", "object", "person", "place"]


class CaptionGiven(BaseModel):
    text: str
    model: str


class RatingProposal(BaseModel):
    """What a person had `cull` or `dupes` propose."""

    rating: int | None = Field(description="0 to 5")
    label: str | None
    pick: int | None = Field(description="-1: rejected")
    reasons: list[str]


class PlaceNames(BaseModel):
    country_code: str
    country: str
    region: str
    city: str


class ResultsGiven(BaseModel):
    """What catalogd has to say of a photo, by the same rules as in sidecars: docs/keywords.md."""

    caption: CaptionGiven | None
    title: str | None
    keywords: list[KeywordGiven]
    people: list[str]
    text: list[str] = Field(description="the lines of text in the picture")
    sharpness: float | None = Field(description="0 to 100")
    quality_band: Literal["blurred", "dark", "bright", "soft", "sharp"] | None
    faces: int
    rating_proposal: RatingProposal | None
    place: PlaceNames | None
    latitude: float | None
    longitude: float | None
    alt_text: str | None


class FailureKnown(BaseModel):
    stage: str
    reason: str
    message: str


class PhotoAtPath(BaseModel):
    path: str = Field(description="as asked")
    state: Literal["indexed", "failed", "missing", "unknown", "outside"] = Field(
        description="missing: its file is gone; unknown: not indexed yet; outside: in none of the libraries"
    )
    photo_id: int | None
    summary: PhotoSummary | None
    results: ResultsGiven | None
    failure: FailureKnown | None


class LookupAnswer(BaseModel):
    photos: list[PhotoAtPath] = Field(description="in the order asked")


# ── searches ──────────────────────────────────────────────────────────────────────────────────

MOST_HITS = 10_000
MOST_EXAMPLES = 100
QueryText = Annotated[str, Field(max_length=MOST_CHARACTERS, description="the query language: docs/query.md")]
Limit = Annotated[int, Field(ge=1, le=MOST_HITS, description="so many hits at most")]
MinScore = Annotated[
    float | None, Field(ge=0, le=1, description="leave out what scores less; 0: the nearest, however far")
]
HitField = Literal["photo"]


class SearchAsked(Asked):
    q: QueryText = ""
    limit: Limit = 20
    min_score: MinScore = None
    explain: bool = False
    fields: list[HitField] = Field([], description="photo: each hit with its PhotoSummary")


class SimilarAsked(Asked):
    photo_ids: list[PhotoId] = Field([], max_length=MOST_EXAMPLES)
    paths: list[str] = Field([], max_length=MOST_EXAMPLES, description="of photos in the catalog")
    not_photo_ids: list[PhotoId] = Field([], max_length=MOST_EXAMPLES)
    q: QueryText = Field("", description="what shall be different, and filters: `but at night date:2023`")
    limit: Limit = 20
    min_score: MinScore = None
    explain: bool = False
    fields: list[HitField] = []


class SignalOfHit(BaseModel):
    name: str = Field(description="meaning, words, similar, person, filter")
    rank: int
    score: float
    matched: list[str]
    boxes: list[Box]


class Hit(BaseModel):
    """docs/output.md says what each field means."""

    path: str
    photo_id: int
    score: float
    found: bool
    signals: list[SignalOfHit]
    photo: PhotoSummary | None = Field(None, description="when `fields` asks for it")


class StepOfSearch(BaseModel):
    name: str
    photos: int | None = None
    took_ms: float = 0.0
    note: str = ""


class Explanation(BaseModel):
    read_as: list[str]
    steps: list[StepOfSearch] = []


class SearchAnswer(BaseModel):
    hits: list[Hit]
    nearest: list[Hit] = Field(description="only when there are no hits: what does not match well")
    total: int | None = Field(description="of a query without free words; else null")
    took_ms: float
    notes: list[str] = Field(description="what a person should know of this search")
    explanation: Explanation | None


class CountAnswer(BaseModel):
    count: int
    capped: bool = Field(description="there may be more: of free words only the best are counted")


class FacetValue(BaseModel):
    value: str = Field(description='"": the photos without one')
    photos: int


class FacetsAnswer(BaseModel):
    facets: dict[str, list[FacetValue]]
    photos: int = Field(description="that were divided")
    notes: list[str]


# ── people ────────────────────────────────────────────────────────────────────────────────────


class Cover(BaseModel):
    photo_id: int
    path: str
    face: int


class Person(BaseModel):
    """A person, or a cluster of faces that nobody named: docs/people.md."""

    number: int
    person_id: int | None
    name: str | None
    aliases: list[str]
    origin: str | None
    hidden: bool
    ignored: bool
    faces: int
    photos: int
    clusters: list[int]
    since: str | None
    until: str | None
    cover: Cover | None


class FaceOfPerson(BaseModel):
    path: str
    photo_id: int
    face: int
    box: Box
    cluster: int
    quality: float


class JournalEntry(BaseModel):
    """Something that was said of people."""

    number: int
    at: str
    undone_at: str | None
    kind: str
    text: str
    person_id: int | None
    name: str | None
    faces: int
    photo_ids: list[int]
    action_id: str


class PersonInFull(Person):
    shown: list[FaceOfPerson] = Field(description="the best faces")
    journal: list[JournalEntry]


class PeoplePage(BaseModel):
    people: list[Person]
    next: str | None


class SuggestedPair(BaseModel):
    score: float | None
    one: str
    other: str
    numbers: list[int] = Field(description="of both, for the action merge")
    faces: list[int]
    reason: str


class SuggestionsAnswer(BaseModel):
    suggestions: list[SuggestedPair]


class FaceNamed(Asked):
    photo_id: PhotoId
    face: int = Field(ge=1, le=10_000, description="counts from 1 in its photo")


PeopleActionName = Literal[
    "name",
    "alias",
    "unalias",
    "merge",
    "split",
    "not",
    "is",
    "hide",
    "unhide",
    "ignore",
    "unignore",
    "forget",
]
Who = Annotated[
    Annotated[int, Field(ge=1, le=LARGEST_ID)] | Annotated[str, Field(min_length=1, max_length=500)],
    Field(description="a number that lists show, a name or an alias"),
]


class PeopleActionAsked(Asked):
    action: PeopleActionName
    who: Who
    name: str = Field("", max_length=500, description="of name, alias, unalias; for split: whose they are")
    others: list[Who] = Field([], max_length=1000, description="of merge: who is the same person")
    faces: list[FaceNamed] = Field([], max_length=10_000, description="of split, not, is")
    merge: bool = Field(False, description="of name: somebody has the name already, and they are one person")


class EntryAnswer(BaseModel):
    entry: JournalEntry | None = Field(description="null: that was so already")


class TurnsAsked(Asked):
    count: int = Field(1, ge=1, le=1000)


class EntriesAnswer(BaseModel):
    entries: list[JournalEntry] = Field(description="none: there was nothing to turn")


# ── albums ────────────────────────────────────────────────────────────────────────────────────

MOST_ALBUM_PHOTOS = 100_000


class AlbumFacts(BaseModel):
    name: str
    query: str | None = Field(description="of a smart album: run each time it is looked at")
    photos: int | None = Field(description="null for a smart album")
    made_by: str = Field(description="query, cull, dupes, api, or the program that it was imported from")
    made_at: float = Field(description="seconds since 1970")


class AlbumsAnswer(BaseModel):
    albums: list[AlbumFacts]


class AlbumAsked(Asked):
    """One of both."""

    query: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)] | None = None
    photo_ids: Annotated[list[PhotoId], Field(max_length=MOST_ALBUM_PHOTOS)] | None = None


class Forgotten(BaseModel):
    forgotten: str = Field(description="the name of the album")


# ── culling ───────────────────────────────────────────────────────────────────────────────────

MOST_CULLED = 10_000


class CullAsked(Asked):
    """`q` or `photo_ids`."""

    q: QueryText | None = None
    photo_ids: Annotated[list[PhotoId], Field(max_length=MOST_CULLED)] | None = None
    keep: int = Field(1, ge=1, le=1000, description="picks in each moment")


class ShotJudged(BaseModel):
    photo_id: int
    photo_ids: list[int] = Field(description="of all files of the shot")
    path: str
    files: list[str]
    state: Literal["pick", "alternate", "protected"]
    rank: int = Field(description="in its moment, from 1; 0: protected, not ranked")
    score: float
    signals: dict[str, float]
    reasons: list[str]


class SeriesKept(BaseModel):
    kind: str
    photo_ids: list[int]


class MomentJudged(BaseModel):
    kind: Literal["moment", "bracket", "panorama", "focus_stack"] = Field(
        description="a series, when all shots of the moment are of it"
    )
    start: str | None
    shots: list[ShotJudged]
    series: list[SeriesKept]


class CullAnswer(BaseModel):
    moments: list[MomentJudged]
    photos: int = Field(description="files that were looked at")
    notes: list[str]
