"""The words of a catalog: one Tantivy index, derived from the store.

The writer process replaces documents and commits; any process searches, each against the commit it
last refreshed to. A photo is one document: its id and the words of each field. What a person types is
cut into words and phrases and never read as a query language.

    tags, text, objects      of models, stemmed: `cats` finds `tabby cat`
    kinds                    what tags and objects are, stemmed: `animal` finds `tabby cat`
    described                captions and answers of models, stemmed
    keywords, caption        of people, stemmed; caption with the title
    people, place, creator   as they are, and so are
    marks, camera, path      marks with the colour label, camera with the lens; path words also split at
                             digits and capitals
    title                    stemmed, for conditions alone: free words find it in caption
    captioned                for conditions alone: a model's caption, of a photo without a person's
    answers, asked           for conditions alone: each answer of a model; each behind its question
    keyword, name            exact, whatever the case: each keyword as a whole, the file's name
    id, digest               whose document it is, and what it was made from

What is no word (numbers, dates, which camera) is asked of `catalogd.catalog.columns`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import tantivy
import xxhash
from tantivy import FieldType, Occur, Query

from catalogd.catalog import kinds
from catalogd.catalog.environment import Ids
from catalogd.catalog.postings import READ_AT_ONCE, KeptPostings, Postings, rank
from catalogd.catalog.selection import Selection
from catalogd.catalog.store import LARGEST_ID, ChangesTrimmedError, Store
from catalogd.catalog.words import (
    MOST_QUERY_WORDS,
    Item,
    analyzers,
    composed,
    folded,
    folded_word,
    items_of,
    pattern_of,
    plain_words,
    spaced,
    valid,
)
from catalogd.errors import (
    CatalogDamagedError,
    CatalogError,
    CatalogFullError,
    CatalogLockedError,
    QueryError,
)
from catalogd.records import Condition, said_over, tagged_by
from catalogd.settings import Settings

log = logging.getLogger(__name__)

FORMAT_VERSION = 5  # of the fields below; another one on disk means: build again
VERSION_FILE = "version"
MARK = "text"  # in the store: the commit that the index has reached
PAGE_RECORDS = 2000  # read from the store at a time: 8 MB

STEMMED_FIELDS = ("tags", "text", "objects", "kinds", "described", "keywords", "caption")
PLAIN_FIELDS = ("path", "camera", "people", "place", "creator", "marks")
WORD_FIELDS = STEMMED_FIELDS + PLAIN_FIELDS  # that free words are looked for in
# In one score of 24 bits a search tells which fields hold a part, each field that may do so a bit, and below
# them how well: a term scores up to 57, in several fields a tenth more for each, so few terms less than this.
_ONE_FIELD = 512
_FEW_TERMS = 6
_SHRUNK = 1 / 16  # of the score of a longer phrase, up to `MOST_QUERY_WORDS`
FILTER_FIELDS = ("title", "captioned", "answers", "asked")  # stemmed words too, but only for conditions
EXACT_FIELDS = ("keyword", "name")
# What people call a field → its names here.
CONDITION_FIELDS = {
    "text": ("text",),
    "caption": ("caption", "captioned"),  # the one that counts: a person's before a model's
    "title": ("title",),
    "answer": ("answers", "asked"),
    "tag": ("tags",),
    "object": ("objects",),
    "person": ("people",),
    "keyword": ("keyword",),
    "name": ("name",),
    "any": WORD_FIELDS,
}
# Whose words every photo has that was asked: they count only where they lead to an answer, as a phrase.
_FOR_PHRASES = frozenset(("asked",))
# Where a phrase is its words in a row; elsewhere it is all of its words. Of names and sentences, not of tags.
_POSITIONED = frozenset(
    (
        *("text", "keywords", "caption", "title", "path", "camera", "people", "place", "creator"),
        *("described", "captioned", "answers", "asked"),
    )
)
# A word in a tag says more of a photo than the same word in its path. By BM25 the rarest word of 500,000
# photos scores 13 times this.
_BOOSTS = {"tags": 2.0, "objects": 2.0, "kinds": 1.0, "text": 1.0, "path": 1.0, "camera": 1.0}
# What is written in few photos scores by itself: BM25 would compare its length with the mean of all photos,
# next to nothing, and find it far too long. What a person said counts before what a model saw. Captions of
# models may be of few photos, too: of an album, of those with many stars.
_SCORES = {
    "keywords": 30.0,
    "people": 30.0,
    "caption": 20.0,
    "place": 20.0,
    "creator": 10.0,
    "marks": 10.0,
    "described": 12.0,
}

_DEEPEST_KEYWORD = 16  # levels of a keyword's path that count; nobody files deeper
_LONGEST_WILD = 32  # letters of a word with wildcards: an automaton is made of it
# Of parts that are not kept, a selection so small is asked for photo by photo (6 us each); of a larger one
# the best hits of all are looked through, 0.5 us each: bench/bench_select.py.
_FEW_PHOTOS = 1000
# Hits of a part that are read instead of asking for photos one by one: so many, and more for each photo. Also
# told of the next photos then: 0.6 us a hit, 6 to 15 us a photo.
_READ_INSTEAD = 1000
_READ_INSTEAD_OF_ONE = 15
KEPT_QUERIES = 256  # parts of queries: a search asks for the same ones several times
_FIRST_HITS = 512
_MARGIN = 1.3  # on how many hits that takes on average
_MORE_HITS = 8  # times as many, when too few of them are selected

Expand = Callable[[str], Sequence[tuple[str, float]]]  # word → synonyms, each with a weight in 0…1

_versions = itertools.count(1)
_WORD = re.compile(r"[^\W_]+")
_BREAK = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])")


class TextHit(NamedTuple):
    """One photo that words were found in; `fields` are those they were found in."""

    photo_id: int
    score: float
    fields: tuple[str, ...]
    share: float = 1.0  # of the query's words and phrases


class TextRanking(NamedTuple):
    """Photos that words were found in, best first; the first `whole` have all the words."""

    ids: Ids
    scores: npt.NDArray[np.float64]
    whole: int
    is_cut: bool = False  # there may be more
    is_whole_cut: bool = False  # there may be more with all the words
    # Of a cut ranking, where it is known: the scores of all there are, ascending.
    of_whole: npt.NDArray[np.float64] = np.empty(0)  # photos with all the words
    of_rest: npt.NDArray[np.float64] = np.empty(0)
    equals: Ids = np.empty(0, np.int64)  # ascending: the photos with all the words that score as the last one


class _Part(NamedTuple):
    """A part of a query: a word or a phrase, and what may stand for it."""

    item: Item
    synonyms: tuple[tuple[str, float], ...] = ()

    @property
    def ways(self) -> list[Item]:
        return [self.item, *[Item(word) for word, _ in self.synonyms]]


class _NamedObject(msgspec.Struct, gc=False):
    name: str


class _Tag(msgspec.Struct, array_like=True, gc=False):
    name: str


class _Line(msgspec.Struct, gc=False):
    text: str


class _Answer(msgspec.Struct, array_like=True, gc=False):
    question: str
    answer: str


class _Words(msgspec.Struct, gc=False):
    """Of an Output, what the text index reads."""

    tags: list[_Tag] | None = None
    text_lines: list[_Line] = []
    objects: list[_NamedObject] = []
    caption: str | None = None
    answers: list[_Answer] = []


class _Place(msgspec.Struct, gc=False):
    country: str = ""
    region: str = ""
    city: str = ""
    nearest: str = ""


class _Region(msgspec.Struct, gc=False):
    name: str = ""


class _Facts(msgspec.Struct, gc=False):
    camera: str | None = None
    lens: str | None = None
    place: _Place | None = None
    latitude: float | None = None
    longitude: float | None = None
    title: str | None = None
    caption: str | None = None
    creator: str | None = None
    keywords: tuple[str, ...] = ()
    keyword_paths: tuple[str, ...] = ()
    label: str | None = None
    people: list[str] = []
    regions: list[_Region] = []
    marks: list[str] = []


class _User(msgspec.Struct, gc=False):
    title: str | None = None
    caption: str | None = None
    keywords: tuple[str, ...] = ()
    keyword_paths: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    label: str | None = None
    people: tuple[str, ...] = ()
    latitude: float | None = None
    longitude: float | None = None
    place: _Place | None = None
    copies: tuple[_User, ...] = ()
    copy_name: str | None = None
    emptied: tuple[str, ...] = ()


class Indexed(msgspec.Struct, gc=False):
    """Of a Record, what the text index reads: half the time of decoding all of it."""

    path: bytes
    facts: _Facts
    outputs: dict[str, _Words]
    photo_id: int
    missing_since: float | None = None
    user: _User | None = None


_to_json = msgspec.json.Encoder().encode
decode_indexed = msgspec.msgpack.Decoder(Indexed).decode


def document_of(photo: Indexed) -> dict[str, Any]:
    """The document of one photo: field → value, with `digest` over all the others."""
    outputs = photo.outputs.values()
    tags = [tag.name for output in tagged_by(photo.outputs).values() for tag in output.tags or ()]
    document: dict[str, Any] = {
        "id": photo.photo_id,
        "tags": " ".join(tags),
        "text": spaced(" ".join([line.text for output in outputs for line in output.text_lines])),
        "objects": " ".join(sorted({found.name for output in outputs for found in output.objects})),
        "kinds": _kinds(tags, outputs),
        "path": _path_words(photo.path),
        "name": folded(photo.path.rpartition(b"/")[2].decode("utf-8", "replace")),
    }
    facts, user = _said(photo)
    for field, value in itertools.chain(
        _words_of(facts, user), _described(outputs, _is_captioned(facts, user))
    ):
        if value:
            document[field] = value
    document["digest"] = xxhash.xxh3_64_intdigest(msgspec.msgpack.encode(document)) >> 1
    return document


def _kinds(tags: Iterable[str], outputs: Iterable[_Words]) -> str:
    """What the tags and objects of a photo stand for."""
    objects = {found.name for output in outputs for found in output.objects}
    return kinds.words_of(tuple(sorted({*tags} | objects)))


def _described(outputs: Iterable[_Words], has_caption: bool) -> Iterator[tuple[str, str | list[str]]]:
    """Field and words of what models wrote; `has_caption`: a person's, which counts before theirs."""
    captions = [spaced(output.caption) for output in outputs if output.caption]
    answers = [one for output in outputs for one in output.answers]
    said = [spaced(one.answer) for one in answers]
    yield "described", [*captions, *said]
    yield "captioned", [] if has_caption else captions
    yield "answers", said
    yield "asked", [spaced(f"{one.question} {one.answer}") for one in answers]


def _is_captioned(facts: _Facts, user: _User | None) -> bool:
    """Whether a person wrote a caption, of the photo or of a virtual copy."""
    return bool(facts.caption) or (user is not None and any(copy.caption for copy in user.copies))


def _said(photo: Indexed) -> tuple[_Facts, _User | None]:
    """What the file says, with the word of a person over it; and what else is found of that."""
    facts, user = photo.facts, photo.user
    if user is None:
        return facts, None
    said = said_over(facts, user)
    copies = user.copies
    keywords = [*said.keywords, *user.synonyms, *_all_of(copies, "keywords"), *_all_of(copies, "synonyms")]
    paths = [*said.keyword_paths, *_all_of(copies, "keyword_paths")]
    return msgspec.structs.replace(said, keywords=tuple(keywords), keyword_paths=tuple(paths)), user


def _all_of(copies: tuple[_User, ...], name: str) -> Iterator[str]:
    return itertools.chain.from_iterable(getattr(copy, name) for copy in copies)


def _words_of(facts: _Facts, user: _User | None) -> Iterator[tuple[str, str | list[str]]]:
    """Field and words of what the file, its sidecars and a person say."""
    yield "camera", _joined((facts.camera, facts.lens))
    if facts.title:
        yield "title", spaced(facts.title)
    copies = () if user is None else user.copies
    more = [text for copy in copies for text in (copy.title, copy.caption, copy.copy_name) if text]
    if facts.title or facts.caption or more:
        yield "caption", spaced(" ".join((facts.title or "", facts.caption or "", *more)))
    if facts.people or facts.regions:
        yield "people", _joined((*facts.people, *[region.name for region in facts.regions]))
    if place := facts.place:
        yield "place", _joined((place.nearest, place.city, place.region, place.country))
    if facts.creator:
        yield "creator", _joined((facts.creator,))
    labels = (facts.label, *[copy.label for copy in copies])
    if facts.marks or any(labels):
        yield "marks", _joined((*labels, *facts.marks))
    if facts.keywords or facts.keyword_paths:
        names, terms = _keywords(facts.keywords, facts.keyword_paths)
        yield "keywords", names
        yield "keyword", terms


def document_of_encoded(record: bytes | None) -> dict[str, Any] | None:
    """The document of a record as it is stored; None when the photo is gone, missing or unreadable."""
    if record is None:
        return None
    try:
        photo = decode_indexed(record)
    except msgspec.DecodeError as error:
        log.warning("a record can't be read, run `catalogd check`: %s", error)
        return None
    return document_of(photo) if photo.missing_since is None else None


class TextIndex:
    """The index of one catalog, for searching or (in the writer process) for writing.

    `is_usable` says first whether there is one in `folder` that this version reads; `create` starts
    an empty one.
    """

    def __init__(self, folder: Path, heap_bytes: int, write: bool = False) -> None:
        self._folder = folder
        self._heap_bytes = heap_bytes
        self._writer: Any = None
        if write:
            _sweep(folder)
        try:
            self._index = tantivy.Index.open(str(folder))
        except ValueError as error:
            raise _explained(error, folder) from error
        self._schema = self._index.schema
        self._index.config_reader(reload_policy="manual")
        self._postings = KeptPostings[_Part](self._most_photos, self._read_slice)
        self.version = 0  # of what is searched: another one after every refresh, of all indexes of a process
        for name, analyzer in analyzers().items():
            self._index.register_tokenizer(name, analyzer)
        self.refresh()

    @staticmethod
    def is_usable(folder: Path) -> bool:
        """Whether there is an index in `folder` that this version of catalogd can go on with."""
        try:
            if (folder / VERSION_FILE).read_text("ascii") != f"{FORMAT_VERSION}\n":
                return False
            tantivy.Index.open(str(folder))
        except (OSError, ValueError):
            return False
        return True

    @staticmethod
    def create(folder: Path) -> None:
        """Start an empty index in `folder`, in place of whatever is there."""
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True)
            tantivy.Index(_schema(), path=str(folder))
            _write_durably(folder / VERSION_FILE, f"{FORMAT_VERSION}\n")
        except (OSError, ValueError) as error:
            raise _explained(error, folder) from error

    def close(self) -> None:
        """Drop what was not committed and let go of the write lock; no thread reads or writes afterwards."""
        self._postings.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(ValueError):  # a full disk; what was committed is whole
                writer.wait_merging_threads()

    def refresh(self) -> None:
        """Search the newest commit from now on."""
        try:
            self._index.reload()
            self._searcher = self._index.searcher()
            self.version = next(_versions)
        except ValueError as error:
            raise _explained(error, self._folder) from error
        self._query_of = functools.lru_cache(KEPT_QUERIES)(self._part_query)
        self._telling_of = functools.lru_cache(KEPT_QUERIES)(self._telling_query)
        count = functools.lru_cache(KEPT_QUERIES)(self._most_photos)
        former, self._postings = self._postings, KeptPostings[_Part](count, self._read_slice)
        former.close()

    # -- writing ---------------------------------------------------------------------------------

    def replace(self, photo_id: int, document: dict[str, Any] | None) -> None:
        """The photo's document from the next commit on; None removes it.

        Raises CatalogFullError or CatalogLockedError; what was not committed is dropped then.
        """
        try:
            writer = self._open_writer()
            writer.delete_documents_by_term("id", photo_id)
            if document is not None:
                writer.add_json(_to_json(document).decode())  # half the time of a Document
        except ValueError as error:
            self.close()
            raise _explained(error, self._folder) from error

    def clear(self) -> None:
        """Remove all documents with the next commit."""
        self._open_writer().delete_all_documents()

    def commit(self) -> None:
        """Make all replacements durable and searchable. Errors as `replace`."""
        try:
            self._open_writer().commit()
        except ValueError as error:
            self.close()
            raise _explained(error, self._folder) from error
        self.refresh()

    def _open_writer(self) -> Any:
        if self._writer is None:
            try:
                self._writer = self._index.writer(heap_size=self._heap_bytes, num_threads=1)
            except ValueError as error:
                raise _explained(error, self._folder) from error
        return self._writer

    # -- searching -------------------------------------------------------------------------------

    def search(
        self, words: str, selection: Selection | None = None, limit: int = 100, expand: Expand | None = None
    ) -> list[TextHit]:
        """The photos of `selection` (None: all) with these words, best first.

        Photos with all the words come before those with some of them. Words in double quotes count as
        one; `*` and `?` stand for other letters. `expand` tells what else may stand for a word. Any
        text is a valid `words`.
        """
        found = self.ranked(words, selection, limit, expand)
        ids = found.ids.tolist()
        matched = self.matched(words, ids, expand)
        return [TextHit(*hit, *matched[hit[0]]) for hit in zip(ids, found.scores.tolist(), strict=True)]

    def ranked(
        self,
        words: str,
        selection: Selection | None = None,
        limit: int = 100,
        expand: Expand | None = None,
        most_hits: int | None = None,
    ) -> TextRanking:
        """As `search`, the photos and their scores alone: a tenth of the cost of a hit.

        `most_hits` bounds the hits that are looked through for selected ones, of a large selection.
        """
        parts = _parts_of(words, expand)
        if not parts or limit < 1 or (selection is not None and not len(selection)):
            return TextRanking(np.empty(0, np.int64), np.empty(0), 0)
        postings = self._within(parts, selection)
        if len(postings) == len(parts):
            return TextRanking(*rank(postings, limit))
        queries = [self._query_of(part) for part in parts]
        every = Query.boolean_query([(Occur.Must, query) for query in queries])
        if len(queries) == 1:
            found, is_cut = self._best(every, selection, limit, most_hits)
            return _ranking(found, len(found), limit, is_cut, is_cut)
        any_of_them = Query.boolean_query([(Occur.Should, query) for query in queries])
        found, is_whole_cut = self._best(every, selection, limit, most_hits)
        whole, is_cut = len(found), is_whole_cut
        if whole < limit:
            some, is_cut = self._best(any_of_them, selection, limit, most_hits)
            found = {**found, **{photo_id: some[photo_id] for photo_id in some if photo_id not in found}}
        return _ranking(found, whole, limit, is_cut, is_whole_cut)

    def _within(self, parts: Sequence[_Part], selection: Selection | None) -> list[Postings]:
        """The selected photos of each part, where they are kept or soon read."""
        few = selection.ids if selection is not None and len(selection) <= _FEW_PHOTOS else None
        most = READ_AT_ONCE if few is None else _worth_reading(len(few))
        found = []
        for part in parts:
            if (known := self._postings.get(part, most)) is not None:
                found.append(known.within(selection))
                continue
            self._postings.want(part)
            if few is not None:
                found.append(self._read_of(part, few))
        return found

    def matched(
        self, words: str, photo_ids: Sequence[int], expand: Expand | None = None
    ) -> dict[int, tuple[tuple[str, ...], float]]:
        """For each photo, the fields that hold some of the words, and what share of the words it has."""
        parts, ids = _parts_of(words, expand), np.array(photo_ids, np.int64)
        if not len(ids) or not parts:
            return dict.fromkeys(photo_ids, ((), 0.0))
        told = [self._told(part, ids) for part in parts]
        shares = np.mean([~np.isnan(scores) for scores, _ in told], 0)
        fields = np.bitwise_or.reduce([fields for _, fields in told])
        matched = zip(map(_fields_of_bits, fields.tolist()), shares.tolist(), strict=True)
        return dict(zip(photo_ids, matched, strict=True))

    def _told(self, part: _Part, ids: Ids) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Of each of these photos the score of a part, NaN where it does not hold it, and its fields."""
        known = self._postings.get(part, _worth_reading(len(ids)))
        return (known if known is not None else self._read_of(part, ids)).told(ids)

    def _most_photos(self, part: _Part) -> int | None:
        """How many photos hold a part at most; None when that is not known."""
        if part.item.is_wild:
            return None
        return sum(
            min(self._searcher.doc_freq(field, term) for term in terms)
            for way in part.ways
            for field in WORD_FIELDS
            for terms in (
                [self._terms(field, spaced(way.text))]
                if way.is_phrase
                else self._ways(field, spaced(way.text))
            )
            if terms
        )

    def _read_of(self, part: _Part, ids: Ids) -> Postings:
        """Those of these photos that hold a part."""
        return self._read(part, self._photos(ids.tolist()))

    def _read_slice(self, part: _Part, number: int, of: int) -> Postings:
        """The photos that hold a part, of one of as many equal ranges of ids; these are hashes."""
        if of == 1:
            return self._read(part)
        first, end = ((LARGEST_ID + 1) * edge // of for edge in (number, number + 1))
        return self._read(part, Query.range_query(self._schema, "id", FieldType.Integer, first, end - 1))

    def _read(self, part: _Part, some: Query | None = None) -> Postings:
        """The photos that hold a part, of all or of some."""
        query, fields = self._telling_of(part)
        if some is not None:
            query = Query.boolean_query(
                [(Occur.Must, query), (Occur.Must, Query.const_score_query(some, 0.0))]
            )
        found, told = self._hits(query, max(len(self), 1))
        held, scores = np.divmod(np.array(told, np.float32), np.float32(_ONE_FIELD))
        order = np.argsort(-scores, kind="stable")
        if _is_long(part):
            scores /= np.float32(_SHRUNK)
        return Postings.of(np.array(found, np.int64)[order], scores[order], _bits_of(held[order], fields))

    def _telling_query(self, part: _Part) -> tuple[Query, tuple[str, ...]]:
        """Finds what `_part_query` does; the score also tells which of the fields, in this order, hold it."""
        score = self._query_of(part)
        clauses = [(Occur.Should, Query.boost_query(score, _SHRUNK) if _is_long(part) else score)]
        fields: list[str] = []
        for field in WORD_FIELDS:
            if holds := [query for way in part.ways for query in self._item_queries(field, way)]:
                any_way = Query.boolean_query([(Occur.Should, query) for query in holds])
                clauses.append(
                    (Occur.Should, Query.const_score_query(any_way, float(_ONE_FIELD << len(fields))))
                )
                fields.append(field)
        return Query.boolean_query(clauses), tuple(fields)

    def photos_with(self, condition: Condition) -> Ids:
        """The photos whose words satisfy a condition, sorted: int64[n]. Raises QueryError."""
        query = Query.const_score_query(self._condition_query(condition), 1.0)
        return np.sort(self._columns(query, "id")[0])

    def ids(self) -> Ids:
        """The ids of all documents, sorted: int64[n]."""
        return np.sort(self._columns(Query.all_query(), "id")[0])

    def digests(self) -> dict[int, int]:
        """photo_id → digest of the document it has."""
        ids, digests = self._columns(Query.all_query(), "id", "digest")
        return dict(zip(ids.tolist(), digests.tolist(), strict=True))

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def _run(self, query: Query, limit: int) -> dict[int, float]:
        """photo_id → score, best first."""
        ids, scores = self._hits(query, limit)
        return dict(zip(ids, scores, strict=True))

    def _hits(self, query: Query, limit: int) -> tuple[list[int], list[float]]:
        """Photos and their scores, best first."""
        searcher = self._searcher  # another thread may refresh meanwhile
        hits = searcher.search(query, min(limit, max(searcher.num_docs, 1)), count=False).hits
        ids: Any = searcher.fast_field_values("id", [address for _, address in hits])
        return ids, [score for score, _ in hits]

    def _best(
        self, query: Query, selection: Selection | None, limit: int, most_hits: int | None = None
    ) -> tuple[dict[int, float], bool]:
        """photo_id → score of the best that are selected, best first; and whether there may be more."""
        if selection is None or selection.is_all:
            found = self._run(query, limit)
        elif len(selection) <= _FEW_PHOTOS:
            among = Query.const_score_query(self._photos(selection.ids.tolist()), 0.0)
            found = self._run(Query.boolean_query([(Occur.Must, query), (Occur.Must, among)]), limit)
        else:
            return self._best_of_many(query, selection, limit, most_hits)
        return found, len(found) >= limit

    def _best_of_many(
        self, query: Query, selection: Selection, limit: int, most_hits: int | None
    ) -> tuple[dict[int, float], bool]:
        """The same, by looking through ever more hits until enough of them are selected."""
        share = len(selection) / max(selection.columns.count, 1)
        wanted = max(_FIRST_HITS, int(2 * limit / share))
        while True:
            wanted = min(wanted, most_hits or wanted)
            ids, scores = self._hits(query, wanted)
            selected = np.flatnonzero(selection.contains(np.array(ids, np.int64)))
            is_cut = len(ids) >= wanted
            if len(selected) >= limit or not is_cut or wanted == most_hits:
                found = {ids[place]: scores[place] for place in selected[:limit].tolist()}
                return found, is_cut or len(found) >= limit
            wanted *= _MORE_HITS

    def _photos(self, ids: Iterable[int]) -> Query:
        """These photos. A term query an id, because a term set walks every segment's dictionary."""
        return Query.boolean_query(
            [(Occur.Should, Query.term_query(self._schema, "id", photo_id)) for photo_id in ids]
        )

    def _columns(self, query: Query, *fields: str) -> list[Ids]:
        """The numbers of all documents that match: int64[n] a field."""
        searcher = self._searcher
        if searcher.num_docs == 0:
            return [np.empty(0, np.int64) for _ in fields]
        hits = searcher.search(query, searcher.num_docs, count=False).hits
        addresses = [address for _, address in hits]
        columns = (searcher.fast_field_values(field, addresses) for field in fields)
        return [np.array(column, np.int64) for column in columns]

    def _terms(self, field: str, text: str) -> list[str]:
        """The terms that `text` has in the index of `field`."""
        name = "stemmed" if field in STEMMED_FIELDS + FILTER_FIELDS else "plain"
        terms: list[str] = analyzers()[name].analyze(text)
        return terms

    def _ways(self, field: str, word: str) -> list[list[str]]:
        """The terms of one word; in a path also those of its parts: `trip2019` is in `MyTrip2019`."""
        whole = self._terms(field, word)
        parts = self._terms(field, _BREAK.sub(" ", word)) if field == "path" else whole
        return [terms for terms in ([whole] if parts == whole else [whole, parts]) if terms]

    def _part_query(self, part: _Part) -> Query:
        """A part in any field; a synonym of it counts less."""
        own = self._anywhere(part.item)
        if not part.synonyms:
            return own
        others = [
            Query.boost_query(self._anywhere(Item(word, " " in word)), weight)
            for word, weight in part.synonyms
        ]
        return Query.disjunction_max_query([own, *others], 0.0)

    def _anywhere(self, item: Item) -> Query:
        """One word or phrase in any field; the best field counts, the others a little."""
        fields = [
            _weighted(field, query) for field in WORD_FIELDS for query in self._item_queries(field, item)
        ]
        return fields[0] if len(fields) == 1 else Query.disjunction_max_query(fields, 0.1)

    def _item_queries(self, field: str, item: Item) -> list[Query]:
        """The ways in which a field may hold a word, a phrase, or a word with wildcards."""
        if item.is_wild:
            return self._wild_queries(field, item.text)
        if item.is_phrase:
            terms = self._terms(field, spaced(item.text))[:MOST_QUERY_WORDS]
            return [self._row_of_terms(field, terms)] if terms and self._occur(field, terms) else []
        ways = self._ways(field, spaced(item.text))
        return [self._all_terms(field, terms) for terms in ways if self._occur(field, terms)]

    def _occur(self, field: str, terms: list[str]) -> bool:
        """Whether all terms occur in a field at all: one that can't match costs as much as one that does."""
        return all(self._searcher.doc_freq(field, term) for term in terms)

    def _row_of_terms(self, field: str, terms: list[str]) -> Query:
        if field in _POSITIONED and len(terms) > 1:
            return Query.phrase_query(self._schema, field, list(terms))
        return self._all_terms(field, terms)

    def _all_terms(self, field: str, terms: list[str]) -> Query:
        queries = [Query.term_query(self._schema, field, term, "freq") for term in terms[:MOST_QUERY_WORDS]]
        if len(queries) == 1:
            return queries[0]
        return Query.boolean_query([(Occur.Must, query) for query in queries])

    def _wild_queries(self, field: str, text: str) -> list[Query]:
        """Terms with any letters for `*` and any one for `?`: of a stemmed field also the stem itself."""
        wild = folded_word(text)
        if not wild.strip("*?"):
            return []
        queries = [self._pattern(field, pattern_of(wild))]
        if field in STEMMED_FIELDS + FILTER_FIELDS and not re.search(r"[*?]", wild.rstrip("*")):
            queries += [self._all_terms(field, way) for way in self._ways(field, wild.rstrip("*"))]
        return queries

    def _pattern(self, field: str, pattern: str) -> Query:
        """The terms that a regular expression describes as a whole."""
        try:
            if len(pattern) > 4 * _LONGEST_WILD:
                raise ValueError("too long")
            return Query.regex_query(self._schema, field, pattern)
        except ValueError as error:
            raise QueryError(
                f"a word with wildcards can't be looked for ({error}): make it simpler"
            ) from error

    def _condition_query(self, condition: Condition) -> Query:
        fields = CONDITION_FIELDS.get(condition.field)
        if fields is None:
            known = ", ".join(sorted(CONDITION_FIELDS))
            raise QueryError(
                f"no words are kept of {condition.field!r}; there are: {known}", condition.position
            )
        words = valid(condition.words or "")
        if condition.field == "keyword":
            return self._keyword_query(folded(words.replace('"', "")))
        if condition.field == "name":
            return self._name_query(folded(words.replace('"', "")))
        wholes = [self._any_field(fields, item) for item in items_of(words)]
        if not wholes:
            return Query.empty_query()
        return Query.boolean_query([(Occur.Must, whole) for whole in wholes])

    def _any_field(self, fields: tuple[str, ...], item: Item) -> Query:
        looked_in = [field for field in fields if item.is_phrase or field not in _FOR_PHRASES]
        queries = [query for field in looked_in for query in self._item_queries(field, item)]
        if not queries:
            return Query.empty_query()
        return Query.boolean_query([(Occur.Should, query) for query in queries])

    def _keyword_query(self, keyword: str) -> Query:
        """A keyword as a whole, or a level of a hierarchy: `travel/norway` is `travel|norway`, too."""
        levels = "|".join(level.strip() for level in re.split(r"[/|]", keyword))
        ways = dict.fromkeys((keyword, levels))
        return Query.boolean_query([(Occur.Should, self._exact("keyword", way)) for way in ways])

    def _exact(self, field: str, value: str) -> Query:
        if Item(value).is_wild:
            return self._pattern(field, pattern_of(value))
        return Query.term_query(self._schema, field, value)

    def _name_query(self, name: str) -> Query:
        """A file's name, with or without its extension; without wildcards also a part of it."""
        pattern = pattern_of(name if Item(name).is_wild else f"*{name}*")
        return self._pattern("name", pattern + r"(\.[^.]*)?")


class TextFollower:
    """Keeps the text index of a catalog up with its store. Only the writer process has one.

    The index's mark in the store is set after its own commit, so that what a crash interrupts is
    replaced once more.
    """

    def __init__(self, store: Store, folder: Path, settings: Settings) -> None:
        self._store = store
        self._folder = folder
        self._settings = settings
        if not TextIndex.is_usable(folder):
            store.set_mark(MARK, None)
            TextIndex.create(folder)
        self.index = TextIndex(folder, settings.text_heap_bytes, write=True)
        if store.commit_number() == 0 and len(self.index) == 0:
            store.set_mark(MARK, 0)
        self._added = 0  # the commit up to which documents were handed to Tantivy
        self._waiting = 0  # documents among them that are not committed
        self._waiting_since_s = 0.0

    def close(self) -> None:
        self.index.close()

    def follow(self, force: bool = False) -> None:
        """Hand over what was committed to the store, and commit it when it is much, old or `force`.

        Raises CatalogFullError; the next call starts again from the mark.
        """
        mark = self._store.mark(MARK)
        try:
            if mark is None:
                self.rebuild()
                return
            self._added = max(self._added, mark)
            while self._add_changes():
                if self._waiting >= self._settings.text_commit_records:
                    self._commit()
            age_s = time.monotonic() - self._waiting_since_s
            if self._waiting and (force or age_s >= self._settings.text_commit_wait_s):
                self._commit()
        except ChangesTrimmedError:
            self.rebuild()
        except CatalogError:
            self._start_over()
            raise

    def rebuild(self) -> None:
        """Make every document again. The former index is searched until all of it is there."""
        self._start_over()
        if not TextIndex.is_usable(self._folder):
            self._store.set_mark(MARK, None)
            TextIndex.create(self._folder)
            self.index = TextIndex(self._folder, self._settings.text_heap_bytes, write=True)
        self._added = self._store.commit_number()
        self.index.clear()
        last = 0
        while page := self._store.encoded_after(last, PAGE_RECORDS):
            self._add(page)
            last = page[-1][0]
        self._commit()

    def _add_changes(self) -> bool:
        """Hand over one page of changes; False when there are none."""
        commits, ids = self._store.changes_since(self._added, PAGE_RECORDS)
        if not len(ids):
            return False
        if not self._waiting:
            self._waiting_since_s = time.monotonic()
        self._add(self._store.encoded_photos(np.unique(ids)))
        self._added = int(commits[-1])
        return True

    def _add(self, photos: Iterable[tuple[int, bytes | None]]) -> None:
        for photo_id, record in photos:
            self.index.replace(photo_id, document_of_encoded(record))
            self._waiting += 1

    def _commit(self) -> None:
        self.index.commit()
        self._store.set_mark(MARK, self._added)
        self._waiting = 0

    def _start_over(self) -> None:
        """Drop what Tantivy has not committed."""
        self.index.close()
        self._added = self._waiting = 0


def _schema() -> tantivy.Schema:
    """The fields. `id` is a signed integer: with an unsigned one, deleting by term deletes nothing."""
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("id", stored=False, indexed=True, fast=True)
    builder.add_integer_field("digest", stored=False, indexed=False, fast=True)
    for field in STEMMED_FIELDS + FILTER_FIELDS:
        builder.add_text_field(field, tokenizer_name="stemmed", index_option=_indexed(field))
    for field in PLAIN_FIELDS:
        builder.add_text_field(field, tokenizer_name="plain", index_option=_indexed(field))
    for field in EXACT_FIELDS:
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    return builder.build()


def _ranking(
    found: dict[int, float], whole: int, limit: int, is_cut: bool, is_whole_cut: bool
) -> TextRanking:
    ids = np.fromiter(found, np.int64, len(found))[:limit]
    scores = np.fromiter(found.values(), np.float64, len(found))[:limit]
    return TextRanking(ids, scores, min(whole, limit), is_cut, is_whole_cut)


def _worth_reading(photos: int) -> int:
    """Hits of a part that are sooner read than so many photos are asked for."""
    return _READ_INSTEAD + _READ_INSTEAD_OF_ONE * photos


def _is_long(part: _Part) -> bool:
    return any(
        len(way.text) > 2 * _FEW_TERMS and len(plain_words(way.text)) > _FEW_TERMS for way in part.ways
    )


def _bits_of(held: npt.NDArray[np.float32], fields: tuple[str, ...]) -> npt.NDArray[np.int32]:
    """Bits of `fields` as bits of `WORD_FIELDS`."""
    numbers, bits = held.astype(np.int32), np.zeros(len(held), np.int32)
    for place, field in enumerate(fields):
        bits |= (numbers >> place & 1) << WORD_FIELDS.index(field)
    return bits


@functools.cache
def _fields_of_bits(bits: int) -> tuple[str, ...]:
    return tuple(field for bit, field in enumerate(WORD_FIELDS) if bits >> bit & 1)


def _indexed(field: str) -> str:
    return "position" if field in _POSITIONED else "freq"


def _weighted(field: str, query: Query) -> Query:
    if field in _SCORES:
        return Query.const_score_query(query, _SCORES[field])
    return Query.boost_query(query, _BOOSTS[field])


def _parts_of(text: str, expand: Expand | None) -> list[_Part]:
    """What a person typed, in order; `a`, `on`, `the` only when there is nothing else."""
    parts: list[_Part] = []
    little: list[_Part] = []
    for item in items_of(text):
        if item.is_phrase or (item.is_wild and 0 < len(item.text.strip("*?")) <= _LONGEST_WILD):
            parts.append(_Part(item))
            continue
        words = [Item(word) for word in plain_words(item.text)]
        counting = set(analyzers()["query"].analyze(spaced(item.text)))
        for word in words:
            synonyms = tuple(expand(word.text)) if expand else ()
            (parts if word.text in counting else little).append(_Part(word, synonyms))
    return list(dict.fromkeys(parts or little))[:MOST_QUERY_WORDS]


@functools.lru_cache(maxsize=256)  # the photos of a day share them
def _joined(texts: tuple[str | None, ...]) -> str:
    """The texts as words of one field, each text once."""
    return spaced(" ".join(dict.fromkeys(filter(None, texts))))


@functools.lru_cache(maxsize=256)
def _keywords(keywords: tuple[str, ...], paths: tuple[str, ...]) -> tuple[str, list[str]]:
    """Their words, and the exact terms: each name alone, and each path down to each of its levels."""
    levels = [path.split("|")[:_DEEPEST_KEYWORD] for path in paths]
    names = (*keywords, *[name for parts in levels for name in parts])
    down_to = ["|".join(parts[:depth]) for parts in levels for depth in range(2, len(parts) + 1)]
    return _joined(names), sorted({folded(term) for term in (*names, *down_to)} - {""})


def _path_words(path: bytes) -> str:
    folder, _, name = composed(path.decode("utf-8", "replace")).rpartition("/")
    return f"{_folder_words(folder)} {_split_words(name)}"


@functools.lru_cache(maxsize=1024)  # photos come folder by folder
def _folder_words(folder: str) -> str:
    return _split_words(folder)


def _split_words(text: str) -> str:
    """`SummerTrip2019/IMG_1234` → the words as they are, and their parts."""
    words = []
    for word in _WORD.findall(text):
        parts = _BREAK.sub(" ", word)
        words.append(word if parts == word else f"{word} {parts}")
    return spaced(" ".join(words))


def _sweep(folder: Path) -> None:
    """Remove the temporary files that a killed writer left."""
    for leftover in folder.glob(".tmp*"):
        leftover.unlink(missing_ok=True)


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _explained(error: Exception, folder: Path) -> CatalogError:
    text = str(error)
    if "LockBusy" in text:
        return CatalogLockedError(f"{folder}: another process writes here: stop it first (`catalogd status`)")
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    if "StorageFull" in text or any(os.strerror(code) in text for code in full):
        return CatalogFullError(f"{folder}: the disk is full: free some space; nothing committed is lost")
    return CatalogDamagedError(f"{folder}: {text}: run `catalogd rebuild text`")
