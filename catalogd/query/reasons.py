"""Why a photo is a hit: what matched in it, in words, and where in the picture.

Reasons are read off the records of the page that is shown, never off all candidates: the indexes say
which photos, the record says what of it. `field: what` is for people, boxes are fractions of the frame.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from catalogd.catalog.kinds import kinds_of
from catalogd.catalog.text_index import STEMMED_FIELDS, Expand
from catalogd.catalog.words import analyzers, items_of, plain_words, spaced, valid
from catalogd.records import (
    Box,
    Branch,
    Clause,
    Condition,
    Facts,
    Point,
    Record,
    Signal,
    UserFacts,
    aesthetics_of,
    tagged_by,
)

_BREAK = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])")
KEPT_TEXTS = 4096  # whose terms are remembered: 2 MB at most, without captions
MOST_MATCHES = 6  # of one signal: more than a person reads
SNIPPET_CHARACTERS = 80  # of a caption around the word that was found

Named = Callable[[int], Sequence[tuple[int, Box, str | None]]]  # photo_id → its faces: index, box, name


class Said(NamedTuple):
    """A piece of what is known of a photo: the field, what it says, where in the picture."""

    field: str
    text: str
    box: Box | None = None
    words: str = ""  # what free words are looked for in, where that is not all of the text

    @property
    def looked_in(self) -> str:
        return self.words or self.text


class Place(NamedTuple):
    """A photo in one ranking."""

    rank: int
    score: float


class Reasons:
    """Of one branch of a query, for each photo that it found."""

    def __init__(self, branch: Branch, terms: frozenset[str], likes: Sequence[str], faces_of: Named) -> None:
        """`terms`: those that the text index was asked for; `likes`: the names of the examples."""
        self._terms = terms
        self._has_words = bool(branch.words)
        self._likes = tuple(likes)
        self._conditions = tuple(_holding(branch.filters))
        self._faces_of = faces_of

    def signals(self, record: Record, places: dict[str, Place]) -> tuple[Signal, ...]:
        """The searches that found the photo, then the filters that can be shown; `places` by search."""
        said = tuple(_all_said(record, self._faces_of))
        found = [_signal(name, place, self._matches(name, said)) for name, place in places.items()]
        return (*found, *self._of_filters(record, said))

    def _matches(self, search: str, said: Sequence[Said]) -> Iterable[Said]:
        """What a search may have found in a photo."""
        if search == "similar":
            return (Said("like", like) for like in self._likes)
        if search == "meaning":
            tags = (piece.text for piece in said if piece.field == "tags")
            return (Said("seen as", tag) for tag in itertools.islice(tags, 1))
        found = filter(None, map(self._found_in, said))
        return (_shortened(piece, self._terms) for piece in found)

    def _found_in(self, said: Said) -> Said | None:
        """The piece, when one of the words is in it or in what it is a kind of."""
        if self._holds(_INDEX_FIELDS.get(said.field, said.field), said.looked_in):
            return said
        if said.field in ("tags", "objects"):
            kind = next((kind for kind in kinds_of(said.text) if self._holds("kinds", kind)), None)
            return None if kind is None else said._replace(text=f"{said.text} ({kind})")
        return None

    def _holds(self, field: str, text: str) -> bool:
        return not self._terms.isdisjoint(terms_of(field, text))

    def _of_filters(self, record: Record, said: Sequence[Said]) -> Iterator[Signal]:
        people = [condition for condition in self._conditions if condition.field == "person"]
        if people:
            seen = [piece for piece in said if piece.field == "person" and _any_fits(piece, people)]
            asked = [Said("person", condition.words or "") for condition in people]
            yield _signal("person", Place(1, 1.0), seen or asked)
        others = [condition for condition in self._conditions if condition.field != "person"]
        shown = [piece for condition in others for piece in _shown(condition, record, said)]
        if shown or not (people or self._has_words or self._likes):
            yield _signal("filter", Place(1, 1.0), shown)


# What a reason calls a field → the field of the text index that holds its words.
_INDEX_FIELDS = {
    "person": "people",
    "title": "caption",
    "label": "marks",
    "folder": "path",
    "name": "path",
    "caption by a model": "described",
    "answer": "described",
}


def _signal(name: str, place: Place, matches: Iterable[Said]) -> Signal:
    some = list(itertools.islice(_each_once(matches), MOST_MATCHES))
    return Signal(
        name,
        place.rank,
        round(place.score, 4),
        tuple(dict.fromkeys(f"{said.field}: {said.text}" for said in some)),
        tuple(said.box for said in some if said.box is not None),
    )


def _each_once(matches: Iterable[Said]) -> Iterator[Said]:
    seen: set[Said] = set()
    for said in matches:
        if said not in seen:
            seen.add(said)
            yield said


# -- what a record says -----------------------------------------------------------------------------


def _all_said(record: Record, faces_of: Named) -> Iterator[Said]:
    """Everything in which words are looked for, what people said first."""
    yield from _people(record, faces_of)
    yield from _said_by_people(record.said)
    yield from _of_copies(record.user)
    yield from _seen_by_models(record)
    yield from _said_by_camera(record.said)
    yield from _in_path(record.path)


def _said_by_people(facts: Facts) -> Iterator[Said]:
    for keyword in dict.fromkeys((*facts.keyword_paths, *facts.keywords)):
        yield Said("keywords", keyword)
    for field, text in (("title", facts.title), ("caption", facts.caption), ("creator", facts.creator)):
        if text:
            yield Said(field, text)
    if facts.label:
        yield Said("label", facts.label)


def _of_copies(user: UserFacts | None) -> Iterator[Said]:
    """What else is looked for of what was set in another program: synonyms, and words of virtual copies."""
    if user is None:
        return
    for name in user.synonyms:
        yield Said("keywords", name)
    for copy in user.copies:
        for keyword in dict.fromkeys((*copy.keyword_paths, *copy.keywords, *copy.synonyms)):
            yield Said("keywords", keyword)
        for text in (copy.title, copy.caption, copy.copy_name):
            if text:
                yield Said("caption", text)
        if copy.label:
            yield Said("label", copy.label)


def _seen_by_models(record: Record) -> Iterator[Said]:
    counting = tagged_by(record.outputs)
    for name, output in record.outputs.items():
        if output.caption:
            yield Said("caption by a model", output.caption)
        for one in output.answers or ():
            yield Said("answer", f"{one.question} {one.answer}", words=one.answer)
        tags = (output.tags if name in counting else None) or ()
        for tag in sorted(tags, key=lambda tag: -tag.score):
            yield Said("tags", tag.name)
        for found in output.objects or ():
            yield Said("objects", found.name, found.box)
        for line in output.text_lines or ():
            yield Said("text", line.text, _around(line.corners))


def _said_by_camera(facts: Facts) -> Iterator[Said]:
    if facts.place is not None:
        place = facts.place
        names = (place.nearest, place.city, place.region, place.country)
        yield Said("place", ", ".join(dict.fromkeys(filter(None, names))))
    for field, text in (("camera", facts.camera), ("lens", facts.lens)):
        if text:
            yield Said(field, text)
    for mark in facts.marks:
        yield Said("marks", mark)


def _in_path(path: bytes) -> Iterator[Said]:
    folder, name = os.path.split(path)
    yield Said("name", name.decode("utf-8", "backslashreplace"))
    yield Said("folder", folder.decode("utf-8", "backslashreplace"))


def _people(record: Record, faces_of: Named) -> Iterator[Said]:
    """Who is in the picture: as people named the faces, then as the file says."""
    for _, box, name in faces_of(record.photo_id):
        if name is not None:
            yield Said("person", name, box)
    for region in record.facts.regions:
        if region.name:
            yield Said("person", region.name, region.box)
    with_box = {region.name for region in record.facts.regions}
    for name in record.said.people:
        if name not in with_box:
            yield Said("person", name)


def _around(corners: tuple[Point, ...]) -> Box | None:
    """The upright box around a quadrilateral."""
    if not corners:
        return None
    across, down = [x for x, _ in corners], [y for _, y in corners]
    return min(across), min(down), max(across) - min(across), max(down) - min(down)


def _shortened(said: Said, terms: frozenset[str]) -> Said:
    """A long text as what stands around the first word that was found."""
    if len(said.text) <= SNIPPET_CHARACTERS:
        return said
    field = _INDEX_FIELDS.get(said.field, said.field)
    words = said.text.split()
    at = next((i for i, word in enumerate(words) if not terms.isdisjoint(terms_of(field, word))), 0)
    first, last, length = at, at, len(words[at])
    while length < SNIPPET_CHARACTERS and (first > 0 or last < len(words) - 1):
        first, last = max(first - 1, 0), min(last + 1, len(words) - 1)
        length = sum(len(word) + 1 for word in words[first : last + 1])
    text = " ".join(words[first : last + 1])[: 2 * SNIPPET_CHARACTERS]
    return said._replace(text=f"{'…' if first else ''}{text}{'…' if last < len(words) - 1 else ''}")


# -- filters ----------------------------------------------------------------------------------------


def _holding(clauses: Iterable[Clause]) -> Iterator[Condition]:
    """The conditions that a hit may owe its place to: none that is negated."""
    for clause in clauses:
        if clause.negated:
            continue
        if isinstance(clause, Condition):
            yield clause
        else:
            yield from _holding(clause.parts)


def _shown(condition: Condition, record: Record, said: Sequence[Said]) -> Iterator[Said]:
    """What the photo says where the filter looked."""
    value = _VALUES.get(condition.field)
    if value is not None:
        text = value(record)
        if text:
            yield Said(condition.field, text)
    elif condition.words is not None:
        fields = _FILTER_FIELDS.get(condition.field, (condition.field,))
        terms = _terms_of_words(condition.words)
        pieces = (piece for piece in said if not fields or piece.field in fields)
        yield from (_shortened(piece, terms) for piece in pieces if _fits(piece, condition))


# A key of the language → the fields of a reason that it looks in; (): all.
_FILTER_FIELDS: dict[str, tuple[str, ...]] = {
    "keyword": ("keywords",),
    "tag": ("tags",),
    "object": ("objects",),
    "caption": ("caption", "title", "caption by a model"),
    "answer": ("answer",),
    "any": (),
}


def _any_fits(said: Said, conditions: Sequence[Condition]) -> bool:
    return any(_fits(said, condition) for condition in conditions)


def _fits(said: Said, condition: Condition) -> bool:
    """Whether a piece holds a word of the filter; the index has decided that all are there."""
    field = _INDEX_FIELDS.get(said.field, said.field)
    if any(wildcard in (condition.words or "") for wildcard in "*?"):
        return True
    text = said.text if '"' in (condition.words or "") else said.looked_in
    return not _terms_of_words(condition.words or "").isdisjoint(terms_of(field, text))


def _terms_of_words(words: str) -> frozenset[str]:
    return frozenset((*terms_of("tags", words), *terms_of("path", words)))


# -- words as the text index has them ---------------------------------------------------------------


@functools.lru_cache(KEPT_TEXTS)  # tags, folders, places and cameras come again and again
def terms_of(field: str, text: str) -> tuple[str, ...]:
    """The terms that `text` has in a field of the index; of a path also those of its words' parts."""
    if field == "path":
        text = f"{text} {_BREAK.sub(' ', text)}"
    name = "stemmed" if field in STEMMED_FIELDS else "plain"
    return tuple(analyzers()[name].analyze(spaced(valid(text).replace("_", " "))))


def query_terms(text: str, expand: Expand | None = None) -> frozenset[str]:
    """The terms of what a person typed, stemmed and not, with those of synonyms."""
    counting = [word for item in items_of(text) for word in analyzers()["query"].analyze(spaced(item.text))]
    words = counting or plain_words(text)
    synonyms = [synonym for word in words for synonym, _ in (expand(word) if expand else ())]
    return frozenset(term for word in (*words, *synonyms) for term in _terms_of_words(word))


def _date(record: Record) -> str:
    return (record.facts.taken_at or "")[:10]


def _added(record: Record) -> str:
    return datetime.datetime.fromtimestamp(record.added_at).date().isoformat() if record.added_at else ""


def _size(record: Record) -> str:
    return f"{record.stat.size / 1e6:.1f} MB"


def _exposure(record: Record) -> str:
    seconds = record.facts.exposure_s
    if not seconds:
        return ""
    return f"1/{1 / seconds:.0f} s" if seconds < 0.5 else f"{seconds:g} s"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _rating(record: Record) -> str:
    copies = record.user.copies if record.user is not None else ()
    rated = [f"{copy.rating} (copy {copy.copy_name or copy.uuid})" for copy in copies if copy.rating]
    return ", ".join(filter(None, (_number(record.said.rating, "{}"), *rated)))


def _sharpness(record: Record) -> str:
    found = [output.quality.sharpness for output in record.outputs.values() if output.quality is not None]
    return f"{found[0]:.0f}" if found else ""


def _faces(record: Record) -> str:
    return str(sum(len(output.faces or ()) for output in record.outputs.values()))


def _aesthetics(record: Record) -> str:
    return _number(aesthetics_of(record), "{:.1f}")


# Filters on numbers: what is shown of the photo.
_VALUES: dict[str, Callable[[Record], str]] = {
    "date": _date,
    "added": _added,
    "size": _size,
    "exposure": _exposure,
    "sharp": _sharpness,
    "faces": _faces,
    "aesthetics": _aesthetics,
    "iso": lambda record: _number(record.facts.iso, "{}"),
    "f": lambda record: _number(record.facts.aperture, "{:g}"),
    "focal": lambda record: _number(record.facts.focal_mm, "{:g} mm"),
    "focal35": lambda record: _number(record.facts.focal_35mm, "{:g} mm"),
    "rating": _rating,
    "altitude": lambda record: _number(record.facts.altitude_m, "{:.0f} m"),
    "width": lambda record: f"{record.facts.width} px",
    "height": lambda record: f"{record.facts.height} px",
    "mp": lambda record: f"{record.facts.width * record.facts.height / 1e6:.1f} MP",
    "type": lambda record: record.facts.format,
    "near": lambda record: _position(record.said),
}


def _position(facts: Facts) -> str:
    if facts.latitude is None or facts.longitude is None:
        return ""
    return f"{facts.latitude:.4f}, {facts.longitude:.4f}"
