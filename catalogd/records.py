"""What crosses a process border or reaches the disk, and its codec.

Everything here is a frozen msgspec Struct: plain values, no pixels, no handles. `encode` and
`decode_*` are the only codec (msgpack); docs/formats.md describes the bytes. Reading ignores
fields it does not know, so that a newer minor version stays readable.

A box is `(x, y, width, height)` and a point `(x, y)`, as fractions of the upright frame, so that
they hold at any size. Embeddings travel as little-endian float16 bytes of unit length.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

Box = tuple[float, float, float, float]
Point = tuple[float, float]


class Stat(msgspec.Struct, frozen=True, array_like=True):
    """What `os.stat` says of a photo's file: the key by which a scan knows it as unchanged."""

    size: int  # bytes
    mtime_ns: int


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a photo was taken, in names, from its position and the gazetteer."""

    country_code: str  # ISO 3166-1 alpha-2
    country: str
    region: str = ""  # first-order division: state, province, county
    city: str = ""  # the town that the position belongs to
    nearest: str = ""  # the nearest named place, of any size
    distance_km: float = 0.0  # to `nearest`


class Region(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the picture that a person or another program marked (MWG or Microsoft regions)."""

    box: Box
    name: str = ""
    kind: str = "Face"  # "Face", "Pet", "Focus", "BarCode" (MWG)


class Sidecar(msgspec.Struct, frozen=True, array_like=True):
    """A file beside the photo whose facts were taken in."""

    name: bytes  # of the file, in the photo's folder
    stat: Stat


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the file and the sidecars beside it say, read while its bytes were at hand.

    Of what a person may set (title to regions) the sidecar's word counts before the file's, and
    XMP before IPTC before EXIF.
    """

    format: str  # "jpeg", "heif", "raw", …: by content, not by extension
    width: int  # px, upright, of the full image (sensor size for RAW)
    height: int
    path_taken: str = "full"  # "full", "dct/4", "preview", "half_size": how the frame was decoded
    orientation: int = 1  # EXIF 1–8, already applied to the frame
    camera: str | None = None  # maker and model, without the maker twice
    lens: str | None = None
    iso: int | None = None
    exposure_s: float | None = None
    aperture: float | None = None  # f-number
    focal_mm: float | None = None
    taken_at: str | None = None  # ISO 8601, local time of the camera, with offset where it is known
    latitude: float | None = None  # degrees, WGS 84
    longitude: float | None = None
    truncated: bool = False  # the file ends early; the rows that exist were used
    zone: str | None = (
        None  # where the offset of `taken_at` is from: "offset" (EXIF), "gps", or "local": unknown
    )
    camera_serial: str | None = None
    focal_35mm: float | None = None  # equivalent focal length on 36 x 24 mm
    exposure_bias_ev: float | None = None
    flash: bool | None = None  # it fired
    metering: str | None = None  # "average", "center-weighted", "spot", "multi-spot", "pattern", "partial"
    white_balance: str | None = None  # "auto", "manual"
    colour_space: str | None = None  # "srgb", "display-p3", "adobe-rgb", "prophoto-rgb" or a profile's name
    altitude_m: float | None = None  # above sea level
    direction_deg: float | None = None  # where the camera looked, clockwise from north
    place: Place | None = None
    software: str | None = None
    title: str | None = None
    caption: str | None = None
    creator: str | None = None
    copyright: str | None = None
    keywords: tuple[str, ...] = ()
    keyword_paths: tuple[str, ...] = ()  # hierarchical keywords, "Animals|Dog"
    rating: int | None = None  # -1 rejected, 0 to 5
    label: str | None = None
    people: tuple[str, ...] = ()  # shown in the picture, by name
    regions: tuple[Region, ...] = ()
    burst_id: str | None = None  # shared by the photos of one burst, as the camera says
    live_photo_id: str | None = None  # shared with the film of a live photo
    marks: tuple[
        str, ...
    ] = ()  # "drone", "panorama", "360", "screenshot", "hdr", "motion_photo", …: docs/facts.md
    sidecars: tuple[Sidecar, ...] = ()
    version: int = 0  # of the step that read them: `images.READ_VERSION`


class Tag(msgspec.Struct, frozen=True, array_like=True):
    """A word that a model gave a photo. `score` is a probability in 0…1."""

    name: str
    score: float


class Face(msgspec.Struct, frozen=True, omit_defaults=True):
    """One detected face."""

    box: Box
    landmarks: tuple[Point, ...]  # eyes, nose, mouth corners: left to right as seen in the frame
    score: float
    quality: float  # 0…1: how well it can be recognised (size, sharpness, pose)
    embedding: bytes | None = None  # float16[D]


class TextLine(msgspec.Struct, frozen=True):
    """One line of text in the picture. `corners` start at its top left, clockwise."""

    text: str
    corners: tuple[Point, ...]
    score: float


class ObjectBox(msgspec.Struct, frozen=True):
    """One detected object."""

    name: str
    box: Box
    score: float


class Quality(msgspec.Struct, frozen=True, omit_defaults=True):
    """Technical quality, measured on the frame; each field in docs/models.md."""

    sharpness: float  # 0…100, of the sharpest tiles
    sharpness_mean: float  # 0…100, over all tiles
    brightness: float  # 0…1, mean luma
    contrast: float  # 0…1, standard deviation of luma, times two
    clipped_low: float  # share of pixels
    clipped_high: float
    noise: float  # standard deviation of flat areas, 8-bit levels
    colourfulness: float  # Hasler and Süsstrunk 2003
    dominant_colours: tuple[tuple[int, int, int, float], ...] = ()  # r, g, b, share
    brisque: float | None = None  # 0 good … 100 bad
    sharpness_tiles: bytes | None = None  # uint8[8, 8] row by row: sharpness 0…255 of each tile of the frame


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What a model answered to a question that the owner asks of every photo."""

    question: str
    answer: str


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one model said of one photo, with the model that said it.

    Only the fields of the model's kind are set. `error` is set instead when it failed on this
    frame alone.
    """

    fingerprint: str  # model id, weights hash and step version
    embedding: bytes | None = None  # float16[D], unit length, in the space `fingerprint`
    joint_embedding: bytes | None = None  # float16[D], comparable with text embeddings
    tags: tuple[Tag, ...] | None = None
    faces: tuple[Face, ...] | None = None
    text_lines: tuple[TextLine, ...] | None = None
    objects: tuple[ObjectBox, ...] | None = None
    quality: Quality | None = None
    signature: bytes | None = None  # 32 bytes: a perceptual hash, whose bits differ little between copies
    error: str | None = None
    caption: str | None = None  # one or two sentences
    answers: tuple[Answer, ...] | None = None
    aesthetics: float | None = None  # 1…10, as people rate pictures
    gate: str | None = None  # why the model was not run on this photo: nothing was likely to be found


class Task(msgspec.Struct, frozen=True):
    """One photo to read, and the models to run on it. What a run hands to the pipeline."""

    path: bytes  # absolute, as the file system spells it
    models: tuple[str, ...] | None = None  # None: all of the profile
    photo_id: int = 0  # 0: not in the catalog yet


class UserFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person set in another program, which outranks what the photo's file says.

    None and () mean that nothing was set there.
    """

    source: str = ""  # "lightroom"
    uuid: str = ""  # of the photo in that program
    rating: int | None = None  # 0 to 5
    pick: int | None = None  # 1 flagged, -1 rejected, 0 neither
    label: str | None = None
    title: str | None = None
    caption: str | None = None
    keywords: tuple[str, ...] = ()
    keyword_paths: tuple[str, ...] = ()  # hierarchical keywords, "Animals|Dog"
    synonyms: tuple[str, ...] = ()  # of its keywords
    people: tuple[str, ...] = ()
    latitude: float | None = None  # degrees, WGS 84
    longitude: float | None = None
    place: Place | None = None
    collections: tuple[str, ...] = ()  # "Set/Collection"
    stack: tuple[str, int] | None = None  # stacked by hand: the stack, and the place in it from 1
    develop: tuple[str, ...] = ()  # what was done there: "adjusted", "cropped", "black_and_white", …
    regions: tuple[Region, ...] = ()  # faces, and whose they are, that a person confirmed there
    copies: tuple[UserFacts, ...] = ()  # of its virtual copies, which are the same file
    copy_name: str | None = None  # of a virtual copy
    changed_at: float | None = None  # seconds since the epoch
    emptied: tuple[str, ...] = ()  # fields that were set there once and are not now: the file's word is out


class Record(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """What the catalog keeps of a photo."""

    path: bytes
    stat: Stat
    content: bytes  # 16 bytes: xxh3_128 of size, head, middle and tail blocks
    facts: Facts
    outputs: dict[str, Output]  # by model name
    photo_id: int = 0  # 0 until the catalog gives it one
    added_at: float = 0.0  # seconds since the epoch, of the first commit
    missing_since: float | None = None  # the file was not there at the last scan
    user: UserFacts | None = None  # a copy of the user data's, so that all that is derived follows it
    is_partial: bool = False  # a model could not work: the next run makes its output; never in the catalog

    @property
    def said(self) -> Facts:
        """The facts, with what a person set over what the file says."""
        return self.facts if self.user is None else said_over(self.facts, self.user)

    @property
    def name(self) -> str:
        """The path for people: undecodable bytes are shown, never lost in `path`."""
        return os.fsdecode(self.path).encode("utf-8", "backslashreplace").decode()


_Words = TypeVar("_Words", bound=msgspec.Struct)
_OUTRANKED = ("rating", "label", "title", "caption", "place")
_KEYWORDS = ("keywords", "keyword_paths")  # one statement: both are of one source
_WITH = {"keywords": _KEYWORDS, "latitude": ("longitude", "place")}
_SAME_PLACE_DEGREES = 0.01  # 1 km: a position that was only copied out of the file has its place's names


def said_over(facts: _Words, user: Any) -> _Words:
    """The facts with what a person set over them: the user's word where there is one.

    What a person emptied is empty, whatever the file says: often that is what was written into it before.
    Keywords are the user's where there are any, so that one that was taken out does not come back from
    the file; people are those of both. A photo that is flagged as rejected is rated -1. Both may be
    structs with some of the fields of Facts and UserFacts.
    """
    fields = facts.__struct_fields__
    said: dict[str, Any] = {
        name: value
        for name in _OUTRANKED
        if name in fields and (value := getattr(user, name, None)) is not None
    }
    if user.emptied:
        said = _emptied(fields, user.emptied) | said
    if "keywords" in fields and any(getattr(user, name) for name in _KEYWORDS):
        said |= {name: tuple(getattr(user, name)) for name in _KEYWORDS}
    if "people" in fields and user.people:
        said["people"] = tuple(dict.fromkeys((*facts.people, *user.people)))  # type: ignore[attr-defined]
    if "rating" in fields:
        said |= _flagged(facts, user)
    if "latitude" in fields and user.latitude is not None and user.longitude is not None:
        said |= {"latitude": user.latitude, "longitude": user.longitude}
        if "place" in fields and is_elsewhere(facts, user):
            said["place"] = user.place
    return msgspec.structs.replace(facts, **said) if said else facts


def _emptied(fields: Sequence[str], emptied: Sequence[str]) -> dict[str, Any]:
    """Nothing in what a person emptied, and in what is one statement with it."""
    names = {*emptied}.union(*[_WITH[name] for name in emptied if name in _WITH])
    return {name: () if name in _KEYWORDS else None for name in fields if name in names}


def is_elsewhere(facts: Any, user: Any) -> bool:
    """Whether a person set another position than the file has."""
    if facts.latitude is None or facts.longitude is None:
        return True
    north, east = abs(facts.latitude - user.latitude), abs(facts.longitude - user.longitude)
    return bool(max(north, min(east, 360 - east)) > _SAME_PLACE_DEGREES)


def _flagged(facts: Any, user: Any) -> dict[str, int | None]:
    """What a flag makes of the rating: picked, or rejected no more, it is not, whatever its file says."""
    if user.pick == -1:
        return {"rating": -1}
    is_not = user.pick == 1 or "pick" in user.emptied
    return {"rating": None} if is_not and user.rating is None and facts.rating == -1 else {}


def captioned_by(record: Record) -> Output | None:
    """The output of the model that wrote the photo's caption; None where none did."""
    return next((output for output in record.outputs.values() if output.caption), None)


class _Tagged(Protocol):
    """An Output, or what was decoded of one."""

    @property
    def tags(self) -> Sequence[Any] | None: ...


_AnyOutput = TypeVar("_AnyOutput", bound=_Tagged)
TAGGER = "tags"  # the output of a model that was made for tagging


def tagged_by(outputs: Mapping[str, _AnyOutput]) -> Mapping[str, _AnyOutput]:
    """Of a photo's outputs by name, those whose tags count.

    A model that was made for tagging outranks all others, also where it found nothing: beside it, what the
    picture model knows of its 1000 things is wrong more often than it helps. Where it failed, those count.
    """
    tagger = outputs.get(TAGGER)
    return outputs if tagger is None or tagger.tags is None else {TAGGER: tagger}


def aesthetics_of(record: Record) -> float | None:
    """How people would rate the picture, 1…10, as a model guesses; None where none did."""
    guesses = [output.aesthetics for output in record.outputs.values() if output.aesthetics is not None]
    return guesses[-1] if guesses else None


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """A photo that could not be read or inferred."""

    path: bytes
    stat: Stat
    stage: str  # "read", "infer", "commit"
    reason: str  # PhotoError.reason
    message: str
    exception: str = ""  # class name
    tries: int = 1
    failed_at: float = 0.0  # seconds since the epoch
    profile: str = ""  # fingerprints of the models that would have run
    photo_id: int = 0


class Moved(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """A photo known at another path is here now; its work is kept."""

    photo_id: int
    path: bytes
    stat: Stat
    current: bool = False  # its outputs are those of the commit's profile: nothing is stale


class Missing(msgspec.Struct, frozen=True, tag=True):
    """A photo's file is gone; its record is kept for `missing_days` and not found meanwhile."""

    path: bytes
    since: float  # seconds since the epoch


class SidecarsKnown(msgspec.Struct, frozen=True, tag=True):
    """Sidecars of one folder have been taken in as they were then, or were written by catalogd itself."""

    path: bytes  # of the folder
    sidecars: dict[bytes, Stat | None]  # by name; None: it is gone


class Retry(msgspec.Struct, frozen=True, tag=True):
    """A person wants a photo tried again: its failure is dropped, and what its models failed at."""

    path: bytes


class Condition(msgspec.Struct, frozen=True, omit_defaults=True, tag="is"):
    """One filter of a query, with the values that its field takes."""

    field: str  # a key of the query language: docs/query.md
    words: str | None = None
    low: float | None = None  # ends are included; dates are seconds since 1970 on the camera's clock
    high: float | None = None
    numbers: tuple[float, ...] = ()  # of near: latitude and longitude in degrees, radius in km
    negated: bool = False
    position: int = 0  # of its key in the query text, for errors and for who marks it there


class Group(msgspec.Struct, frozen=True, omit_defaults=True, tag="of"):
    """Filters of which all hold, or `any`."""

    parts: tuple[Condition | Group, ...]
    any: bool = False
    negated: bool = False


Clause = Condition | Group  # a filter of a query


class Example(msgspec.Struct, frozen=True, omit_defaults=True):
    """A photo to look for others like it, or unlike it."""

    photo: str  # a path, a file name or a photo_id
    negated: bool = False
    position: int = 0


class Branch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to satisfy a query: everything in it counts."""

    words: str = ""  # free words, for meaning and for the text index
    filters: tuple[Clause, ...] = ()  # all hold
    examples: tuple[Example, ...] = ()


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A query as it was read: what any kind of catalog can execute."""

    branches: tuple[Branch, ...]  # a photo is found by any of them
    text: str = ""  # as it was typed
    order: str = ""  # of docs/query.md, a "-" before it reverses; "": score, without words date
    limit: int = 20
    min_score: float | None = None  # None: what counts as found; 0 finds the nearest, whatever they are

    @property
    def wants_meaning(self) -> bool:
        """Whether a text encoder has something to do."""
        return any(branch.words for branch in self.branches)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every filter, in groups and negated too."""
        return tuple(_conditions(clause for branch in self.branches for clause in branch.filters))


def _conditions(clauses: Iterable[Clause]) -> Iterator[Condition]:
    for clause in clauses:
        if isinstance(clause, Condition):
            yield clause
        else:
            yield from _conditions(clause.parts)


class Signal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reason for a hit: which search said so, at which rank, and what matched."""

    name: str  # "meaning", "words", "similar", "person", "filter"
    rank: int
    score: float  # of that search: a cosine, a BM25 score, 1
    matched: tuple[str, ...] = ()  # "tags: dog", "text: TOTAL 17.50": field and what matched in it
    boxes: tuple[Box, ...] = ()  # where in the picture: lines of text, objects, faces


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One search result."""

    photo_id: int
    path: bytes
    score: float  # 0…1: how likely it is what was meant (calibrated, docs/query.md)
    signals: tuple[Signal, ...]


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a search as it was carried out."""

    name: str
    photos: int | None = None  # that it left or found
    took_ms: float = 0.0
    note: str = ""


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a query was read and carried out."""

    read_as: tuple[str, ...]  # a line a branch, and what was understood in plain words
    steps: tuple[Step, ...] = ()


class Results(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a search found, best first."""

    hits: tuple[Hit, ...] = ()
    nearest: tuple[Hit, ...] = ()  # only when there are no hits: the best of what does not match well
    total: int | None = None  # photos that satisfy a query without free words or examples; else None
    took_ms: float = 0.0
    explanation: Explanation | None = None
    notes: tuple[str, ...] = ()  # what a person should know: words alone were searched, a name is not unique


class Facets(NamedTuple):
    """The photos of a query, divided."""

    counts: dict[str, list[tuple[str, int]]]  # facet → value and photos; "" stands for photos without one
    photos: int  # that were divided
    notes: tuple[str, ...] = ()  # what was counted on some of them only


class Album(msgspec.Struct, frozen=True, omit_defaults=True):
    """Photos under a name: those a query finds now (smart), or those that were put there."""

    name: str
    query: str | None = None  # smart: run each time it is looked at
    photo_ids: tuple[int, ...] = ()  # else, in their order
    made_at: float = 0.0  # seconds since the epoch
    made_by: str = ""  # "query", "cull", "dupes"


class Proposal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rating or a label that a person asked catalogd to give a photo; a sync writes it on request."""

    rating: int | None = None  # -1 rejected, 0 to 5
    label: str | None = None
    reasons: tuple[str, ...] = ()
    made_by: str = ""  # "cull", "dupes"
    made_at: float = 0.0


Outcome = Record | Failure
Change = Record | Failure | Moved | Missing | SidecarsKnown | Retry  # what one commit may hold

encode = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(Record).decode
decode_failure = msgspec.msgpack.Decoder(Failure).decode


def display_path(path: bytes) -> str:
    """The path as valid text for people and JSON; undecodable bytes become `\\xNN`."""
    return path.decode("utf-8", "backslashreplace")
