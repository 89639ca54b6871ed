"""The words of a catalog: one Tantivy index, derived from the store.

The writer process replaces documents and commits; any process searches, each against the commit it
last refreshed to. A photo is one document: its id, the words of each field, and the numbers that
conditions ask for. What a person types is cut into words and never read as a query language.

    tags, text, objects      of models, stemmed: `cats` finds `tabby cat`
    keywords, caption        of people, stemmed; caption with the title
    people, place, creator   as they are, and so are
    marks, camera, path      marks with the colour label; path words also split at digits and capitals
    lens                     as it is, for conditions alone: free words find it in camera
    type, keyword, label     exact, whatever the case: format and extension; each keyword as a whole
    iso, taken, faces, rating  numbers
    id, digest               whose document it is, and what it was made from
"""

from __future__ import annotations

import calendar
import contextlib
import datetime
import errno
import functools
import logging
import math
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import tantivy
import xxhash
from tantivy import FieldType, Filter, Occur, Query, TextAnalyzerBuilder, Tokenizer

from catalogd.catalog.environment import Ids
from catalogd.catalog.store import ChangesTrimmedError, Store
from catalogd.errors import (
    CatalogDamagedError,
    CatalogError,
    CatalogFullError,
    CatalogLockedError,
    QueryError,
)
from catalogd.records import Clause, Condition, Group
from catalogd.settings import Settings

log = logging.getLogger(__name__)

FORMAT_VERSION = 2  # of the fields below; another one on disk means: build again
VERSION_FILE = "version"
MARK = "text"  # in the store: the commit that the index has reached
PAGE_RECORDS = 2000  # read from the store at a time: 8 MB

STEMMED_FIELDS = ("tags", "text", "objects", "keywords", "caption")
PLAIN_FIELDS = ("path", "camera", "people", "place", "creator", "marks")
WORD_FIELDS = STEMMED_FIELDS + PLAIN_FIELDS  # that free words are looked for in
FILTER_FIELDS = ("lens",)  # words too, but only for conditions
EXACT_FIELDS = ("type", "keyword", "label")
NUMBER_FIELDS = ("iso", "taken", "faces", "rating")
# A word in a tag says more of a photo than the same word in its path. By BM25 the rarest word of 500,000
# photos scores 13 times this.
_BOOSTS = {"tags": 2.0, "objects": 2.0, "text": 1.0, "path": 1.0, "camera": 1.0}
# What is written in few photos scores by itself: BM25 would compare its length with the mean of all photos,
# next to nothing, and find it far too long. What a person said counts before what a model saw.
_SCORES = {"keywords": 30.0, "people": 30.0, "caption": 20.0, "place": 20.0, "creator": 10.0, "marks": 10.0}
_WORDED_FIELDS = (*WORD_FIELDS, *FILTER_FIELDS, *EXACT_FIELDS)
# What people call a field → its name here.
_CONDITION_FIELDS = {"date": "taken", "person": "people"}
_SAME_TYPE = {"jpg": "jpeg", "tif": "tiff"}

_LONGEST_WORD_BYTES = 64  # longer ones are not words: base64, hashes
_DEEPEST_KEYWORD = 16  # levels of a keyword's path that count; nobody files deeper
_MOST_QUERY_WORDS = 32  # of a query; one pasted page must not hold up the server
_I64 = (-(1 << 63), (1 << 63) - 1)
_NONE = _I64[0] + 1  # before all dates; may be negated

_WORD = re.compile(r"[^\W_]+")
_BREAK = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])")
# Scripts written without spaces: every character is a word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class TextHit(NamedTuple):
    """One photo that words were found in; `fields` are those they were found in."""

    photo_id: int
    score: float
    fields: tuple[str, ...]


class _NamedObject(msgspec.Struct, gc=False):
    name: str


class _Tag(msgspec.Struct, array_like=True, gc=False):
    name: str


class _Line(msgspec.Struct, gc=False):
    text: str


class _Words(msgspec.Struct, gc=False):
    """Of an Output, what the text index reads."""

    tags: list[_Tag] = []
    faces: list[msgspec.Raw] = []
    text_lines: list[_Line] = []
    objects: list[_NamedObject] = []


class _Place(msgspec.Struct, gc=False):
    country: str = ""
    region: str = ""
    city: str = ""
    nearest: str = ""


class _Region(msgspec.Struct, gc=False):
    name: str = ""


class _Facts(msgspec.Struct, gc=False):
    format: str
    camera: str | None = None
    lens: str | None = None
    iso: int | None = None
    taken_at: str | None = None
    place: _Place | None = None
    title: str | None = None
    caption: str | None = None
    creator: str | None = None
    keywords: tuple[str, ...] = ()
    keyword_paths: tuple[str, ...] = ()
    rating: int | None = None
    label: str | None = None
    people: list[str] = []
    regions: list[_Region] = []
    marks: list[str] = []


class Indexed(msgspec.Struct, gc=False):
    """Of a Record, what the text index reads: half the time of decoding all of it."""

    path: bytes
    facts: _Facts
    outputs: dict[str, _Words]
    photo_id: int
    missing_since: float | None = None


_to_json = msgspec.json.Encoder().encode
decode_indexed = msgspec.msgpack.Decoder(Indexed).decode


def document_of(photo: Indexed) -> dict[str, Any]:
    """The document of one photo: field → value, with `digest` over all the others."""
    facts, outputs = photo.facts, photo.outputs.values()
    document: dict[str, Any] = {
        "id": photo.photo_id,
        "tags": " ".join([tag.name for output in outputs for tag in output.tags]),
        "text": _spaced(" ".join([line.text for output in outputs for line in output.text_lines])),
        "objects": " ".join(sorted({found.name for output in outputs for found in output.objects})),
        "path": _path_words(photo.path),
        "type": _types(facts.format, photo.path),
        "faces": sum([len(output.faces) for output in outputs]),
    }
    for field, value in (*_words_of(facts), *_numbers_of(facts)):
        if value or value == 0:
            document[field] = value
    document["digest"] = xxhash.xxh3_64_intdigest(msgspec.msgpack.encode(document)) >> 1
    return document


def _words_of(facts: _Facts) -> Iterator[tuple[str, str | list[str]]]:
    """Field and words of what the file and its sidecars say."""
    yield "camera", _joined((facts.camera, facts.lens))
    yield "lens", _joined((facts.lens,))
    if facts.title or facts.caption:
        yield "caption", _spaced(f"{facts.title or ''} {facts.caption or ''}")
    if facts.people or facts.regions:
        yield "people", _joined((*facts.people, *[region.name for region in facts.regions]))
    if place := facts.place:
        yield "place", _joined((place.nearest, place.city, place.region, place.country))
    if facts.creator:
        yield "creator", _joined((facts.creator,))
    if facts.marks or facts.label:
        yield "marks", _joined((facts.label, *facts.marks))
    if facts.label:
        yield "label", _folded(facts.label)
    if facts.keywords or facts.keyword_paths:
        names, terms = _keywords(facts.keywords, facts.keyword_paths)
        yield "keywords", names
        yield "keyword", terms


def _numbers_of(facts: _Facts) -> Iterator[tuple[str, int | None]]:
    yield "iso", None if facts.iso is None else max(_I64[0], min(_I64[1], facts.iso))
    yield "taken", _local_seconds(facts.taken_at)
    yield "rating", facts.rating


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
        self._analyzers = _analyzers()
        for name, analyzer in self._analyzers.items():
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
        """Drop what was not committed and let go of the write lock; no thread writes afterwards."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(ValueError):  # a full disk; what was committed is whole
                writer.wait_merging_threads()

    def refresh(self) -> None:
        """Search the newest commit from now on."""
        try:
            self._index.reload()
            self._searcher = self._index.searcher()
        except ValueError as error:
            raise _explained(error, self._folder) from error

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

    def search(self, words: str, conditions: Sequence[Clause] = (), limit: int = 100) -> list[TextHit]:
        """The photos with these words that satisfy all conditions, best first.

        Photos with all the words come before those with some of them. Any text is a valid `words`;
        raises QueryError for a condition on a field that there is not.
        """
        every_word = [self._word_query(word) for word in _query_words(words)]
        if not every_word or limit < 1:
            return []
        filters = self._filters(conditions)
        found = self._run(Query.boolean_query([(Occur.Must, word) for word in every_word] + filters), limit)
        if len(found) < limit and len(every_word) > 1:
            any_word = Query.boolean_query([(Occur.Should, word) for word in every_word])
            some = self._run(Query.boolean_query([(Occur.Must, any_word), *filters]), limit)
            found = {**found, **{photo_id: some[photo_id] for photo_id in some if photo_id not in found}}
        ids = list(found)[:limit]
        fields = self._fields_matched(_query_words(words), ids)
        return [TextHit(photo_id, found[photo_id], fields[photo_id]) for photo_id in ids]

    def matching(self, conditions: Sequence[Clause]) -> Ids:
        """The photos that satisfy all conditions, sorted: int64[n]. Raises QueryError as `search`."""
        return np.sort(self._columns(self._conditions_query(conditions), "id")[0])

    def newest(self, conditions: Sequence[Clause], limit: int) -> list[int]:
        """Up to `limit` photos that satisfy all conditions, taken last first; those without a date last."""
        query = self._conditions_query(conditions)
        ids, taken = self._columns(query, "id", "taken")
        order = np.lexsort((ids, -taken))
        return [int(photo_id) for photo_id in ids[order[:limit]]]

    def ids(self) -> Ids:
        """The ids of all documents, sorted: int64[n]."""
        return self.matching(())

    def digests(self) -> dict[int, int]:
        """photo_id → digest of the document it has."""
        ids, digests = self._columns(Query.all_query(), "id", "digest")
        return dict(zip(ids.tolist(), digests.tolist(), strict=True))

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def _run(self, query: Query, limit: int) -> dict[int, float]:
        """photo_id → score, best first."""
        searcher = self._searcher  # another thread may refresh meanwhile
        hits = searcher.search(query, min(limit, max(searcher.num_docs, 1)), count=False).hits
        ids = searcher.fast_field_values("id", [address for _, address in hits])
        return {int(photo_id or 0): score for photo_id, (score, _) in zip(ids, hits, strict=True)}

    def _conditions_query(self, conditions: Sequence[Clause]) -> Query:
        everything: list[tuple[Occur, Query]] = [(Occur.Must, Query.all_query())]
        return Query.const_score_query(Query.boolean_query(everything + self._filters(conditions)), 1.0)

    def _columns(self, query: Query, *fields: str) -> list[Ids]:
        """The numbers of all documents that match, `_NONE` where there is none: int64[n] a field."""
        searcher = self._searcher
        if searcher.num_docs == 0:
            return [np.empty(0, np.int64) for _ in fields]
        hits = searcher.search(query, searcher.num_docs, count=False).hits
        addresses = [address for _, address in hits]
        columns = (searcher.fast_field_values(field, addresses) for field in fields)
        return [
            np.array([_NONE if value is None else value for value in column], np.int64) for column in columns
        ]

    def _fields_matched(self, words: list[str], ids: list[int]) -> dict[int, tuple[str, ...]]:
        """For each photo, the fields that hold at least one of the words.

        One search tells all: each field that matches adds its own power of two to a photo's score. A
        term query an id, because a term set walks every segment's dictionary: 50 times the CPU.
        """
        if not ids:
            return {}
        photos = Query.boolean_query(
            [(Occur.Should, Query.term_query(self._schema, "id", photo_id)) for photo_id in ids]
        )
        clauses = [(Occur.Must, Query.const_score_query(photos, 0.0))]
        for bit, field in enumerate(WORD_FIELDS):
            terms = {term for word in words for way in self._ways(field, word) for term in way}
            if terms:
                holds = Query.boolean_query(
                    [(Occur.Should, Query.term_query(self._schema, field, term)) for term in sorted(terms)]
                )
                clauses.append((Occur.Should, Query.const_score_query(holds, float(1 << bit))))
        scores = self._run(Query.boolean_query(clauses), len(ids))
        return {
            photo_id: tuple(
                field for bit, field in enumerate(WORD_FIELDS) if int(scores.get(photo_id, 0)) >> bit & 1
            )
            for photo_id in ids
        }

    def _terms(self, field: str, text: str) -> list[str]:
        """The terms that `text` has in the index of `field`."""
        name = "stemmed" if field in STEMMED_FIELDS else "plain"
        terms: list[str] = self._analyzers[name].analyze(text)
        return terms

    def _ways(self, field: str, word: str) -> list[list[str]]:
        """The terms of one word; in a path also those of its parts: `trip2019` is in `MyTrip2019`."""
        whole = self._terms(field, word)
        parts = self._terms(field, _BREAK.sub(" ", word)) if field == "path" else whole
        return [terms for terms in ([whole] if parts == whole else [whole, parts]) if terms]

    def _word_query(self, word: str) -> Query:
        """One word in any field; the best field counts, the others a little."""
        fields = [
            _weighted(field, self._all_terms(field, terms))
            for field in WORD_FIELDS
            for terms in self._ways(field, word)
        ]
        return Query.disjunction_max_query(fields, 0.1)

    def _all_terms(self, field: str, terms: list[str]) -> Query:
        queries = [Query.term_query(self._schema, field, term, "freq") for term in terms]
        if len(queries) == 1:
            return queries[0]
        return Query.boolean_query([(Occur.Must, query) for query in queries])

    def _filters(self, conditions: Iterable[Clause]) -> list[tuple[Occur, Query]]:
        """The conditions as clauses that add nothing to a score."""
        return [
            (
                Occur.MustNot if condition.negated else Occur.Must,
                Query.const_score_query(self._condition_query(condition), 0.0),
            )
            for condition in conditions
        ]

    def _condition_query(self, condition: Clause) -> Query:
        if isinstance(condition, Group):
            return self._group_query(condition)
        field = _CONDITION_FIELDS.get(condition.field, condition.field)
        if field in NUMBER_FIELDS:
            return self._range_query(field, condition)
        if field not in _WORDED_FIELDS:
            known = ", ".join(sorted((*_WORDED_FIELDS, *NUMBER_FIELDS, *_CONDITION_FIELDS)))
            raise QueryError(f"there is no field {condition.field!r}; there are: {known}")
        if condition.words is None:
            raise QueryError(f"{condition.field}: takes words, not a range of numbers")
        if field == "type":
            return self._type_query(condition.words)
        if field in EXACT_FIELDS:
            return Query.term_query(self._schema, field, _folded(_valid(condition.words)))
        terms = self._terms(field, _spaced(_valid(condition.words)))
        return self._all_terms(field, terms[:_MOST_QUERY_WORDS]) if terms else Query.empty_query()

    def _group_query(self, group: Group) -> Query:
        parts = self._filters(group.parts)
        if not group.any:
            return Query.boolean_query([(Occur.Must, Query.all_query()), *parts])
        wholes = [Query.boolean_query([(Occur.Must, Query.all_query()), part]) for part in parts]
        return Query.boolean_query([(Occur.Should, whole) for whole in wholes])

    def _type_query(self, words: str) -> Query:
        types = [_type(word) for word in _valid(words).split()][:_MOST_QUERY_WORDS]
        return Query.term_set_query(self._schema, "type", types) if types else Query.empty_query()

    def _range_query(self, field: str, condition: Condition) -> Query:
        low, high = _whole(condition.low, math.ceil), _whole(condition.high, math.floor)
        if low is None and high is None:
            raise QueryError(f"{condition.field}: takes a number or a range of numbers")
        return Query.range_query(self._schema, field, FieldType.Integer, low, high)


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
    for field in STEMMED_FIELDS:
        builder.add_text_field(field, tokenizer_name="stemmed", index_option="freq")
    for field in PLAIN_FIELDS + FILTER_FIELDS:
        builder.add_text_field(field, tokenizer_name="plain", index_option="freq")
    for field in EXACT_FIELDS:
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    for field in NUMBER_FIELDS:
        builder.add_integer_field(field, stored=False, indexed=True, fast=True)
    return builder.build()


def _weighted(field: str, query: Query) -> Query:
    if field in _SCORES:
        return Query.const_score_query(query, _SCORES[field])
    return Query.boost_query(query, _BOOSTS[field])


@functools.cache
def _analyzers() -> dict[str, Any]:
    """Tokenizer name → analyzer, and `query`, which only cuts what a person typed."""

    def words() -> TextAnalyzerBuilder:
        cut = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(_LONGEST_WORD_BYTES))
        return cut.filter(Filter.lowercase()).filter(Filter.ascii_fold())

    return {
        "plain": words().build(),
        "stemmed": words().filter(Filter.stemmer("english")).build(),
        "query": words().filter(Filter.stopword("english")).build(),
    }


def terms_of(field: str, text: str) -> list[str]:
    """The terms that `text` has in the index of `field`; in a path those of its parts too."""
    name = "stemmed" if field in STEMMED_FIELDS else "plain"
    terms: list[str] = _analyzers()[name].analyze(_split_words(text) if field == "path" else _spaced(text))
    return terms


def query_words(text: str) -> list[str]:
    """The distinct words that free words are looked for by, in order."""
    return _query_words(text)


def _query_words(text: str) -> list[str]:
    """The distinct words of a query, in order; `a`, `on`, `the` only when there are no others."""
    cut = _spaced(_valid(text))
    words = _analyzers()["query"].analyze(cut) or _analyzers()["plain"].analyze(cut)
    return list(dict.fromkeys(words))[:_MOST_QUERY_WORDS]


def _valid(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()


def _spaced(text: str) -> str:
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", _composed(text))


def _composed(text: str) -> str:
    """Accents as part of their letters: macOS parts them in file names, and words would end there."""
    return unicodedata.normalize("NFC", text)


@functools.lru_cache(maxsize=256)  # the photos of a day share them
def _joined(texts: tuple[str | None, ...]) -> str:
    """The texts as words of one field, each text once."""
    return _spaced(" ".join(dict.fromkeys(filter(None, texts))))


@functools.lru_cache(maxsize=256)
def _keywords(keywords: tuple[str, ...], paths: tuple[str, ...]) -> tuple[str, list[str]]:
    """Their words, and the exact terms: each name alone, and each path down to each of its levels."""
    levels = [path.split("|")[:_DEEPEST_KEYWORD] for path in paths]
    names = (*keywords, *[name for parts in levels for name in parts])
    down_to = ["|".join(parts[:depth]) for parts in levels for depth in range(2, len(parts) + 1)]
    return _joined(names), sorted({_folded(term) for term in (*names, *down_to)} - {""})


def _folded(text: str) -> str:
    return _composed(text.strip().casefold())


def _path_words(path: bytes) -> str:
    folder, _, name = _composed(path.decode("utf-8", "replace")).rpartition("/")
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
    return _spaced(" ".join(words))


def _types(file_format: str, path: bytes) -> tuple[str, ...]:
    name = path[path.rfind(b"/") + 1 :]
    return _types_of(file_format, name[name.rfind(b".") + 1 :] if b"." in name else b"")


@functools.lru_cache(maxsize=1024)
def _types_of(file_format: str, extension: bytes) -> tuple[str, ...]:
    words = {_type(word) for word in (file_format, extension.decode("utf-8", "replace")) if word}
    return tuple(sorted(words))


def _type(word: str) -> str:
    word = word.lower().lstrip(".")
    return _SAME_TYPE.get(word, word)


def _local_seconds(taken_at: str | None) -> int | None:
    """Seconds since 1970 of the camera's own clock, whatever its zone."""
    try:
        return calendar.timegm(datetime.datetime.fromisoformat(taken_at or "").timetuple())
    except ValueError:
        return None


def _whole(number: float | None, rounded: Any) -> int | None:
    if number is None or math.isinf(number):
        return None
    if math.isnan(number):
        raise QueryError("not a number")
    return max(_I64[0], min(_I64[1], int(rounded(number))))


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
