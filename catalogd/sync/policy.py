"""Which tags become keywords, and how they are called: the settings and the vocabulary file.

::

    tag ─▶ sure enough? ─▶ blocked? ─▶ the path of the vocabulary, or itself ─▶ in each language
        ─▶ below the parent keyword             (of `keywords_most` tags at most)

    people ─▶ People|Ana          places ─▶ Places|Norway|Vestland|Bergen

docs/keywords.md describes the file. Words are looked up without regard to case.
"""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from catalogd.errors import SettingsError
from catalogd.metadata.values import clean_word
from catalogd.records import Place, Record, tagged_by
from catalogd.settings import Settings

KeywordPath = tuple[str, ...]  # from the top: ("Animals", "Dog")
SEPARATOR = "|"  # of the levels of a path, in the file and in settings

_CASES: dict[str, Callable[[str], str]] = {
    "keep": str,
    "lower": str.lower,
    "capital": lambda word: word[:1].upper() + word[1:],
}
_TABLES = ("block", "languages", "scores", "keywords", "names")


@dataclasses.dataclass(frozen=True)
class Policy:
    """How tags become keywords. `load_policy` makes one; the defaults let every tag be itself."""

    min_score: float = 0.5
    min_scores: Mapping[str, float] = dataclasses.field(default_factory=dict)  # of single models, by name
    paths: Mapping[str, tuple[KeywordPath, ...]] = dataclasses.field(default_factory=dict)  # by tag
    blocked: frozenset[str] = frozenset()
    languages: tuple[Mapping[str, str], ...] = ({},)  # for each to write: the names of keywords in it
    parent: KeywordPath = ()
    people: KeywordPath | None = ("People",)  # above the people; None: they are no keywords
    places: KeywordPath | None = ("Places",)
    case: str = "keep"
    most: int = 10


def load_policy(settings: Settings) -> Policy:
    """The policy of the settings and their vocabulary file.

    Raises SettingsError, which names the file with the line or the key.
    """
    file = settings.keyword_vocabulary
    table = _read_file(file) if file else {}
    vocabulary = _Vocabulary(str(file), table)
    return Policy(
        min_score=settings.keyword_min_score,
        min_scores=vocabulary.scores(),
        paths=vocabulary.paths(),
        blocked=vocabulary.blocked(),
        languages=vocabulary.languages(),
        parent=_levels(settings.keyword_parent),
        people=_levels(settings.keyword_people) or None,
        places=_levels(settings.keyword_places) or None,
        case=settings.keyword_case,
        most=settings.keywords_most,
    )


class Keyword(NamedTuple):
    """A keyword that catalogd gives a photo, and why."""

    path: KeywordPath
    kind: str  # "tag", "object", "person", "place"
    score: float | None = None  # of a tag or an object: a probability in 0…1


def keywords_of(
    record: Record, policy: Policy, people: Sequence[str] | None = None
) -> tuple[KeywordPath, ...]:
    """The keywords that catalogd gives a photo: of its tags, the surest first, then people and places.

    `people`: who is shown, as the owner says; None: as the file says.
    """
    return tuple(keyword.path for keyword in explained_keywords(record, policy, people))


def explained_keywords(
    record: Record, policy: Policy, people: Sequence[str] | None = None
) -> tuple[Keyword, ...]:
    """The same, each with its reason."""
    named = ((tag, list(_paths_of(tag.path[-1], policy))) for tag in _sure_tags(record, policy))
    chosen = itertools.islice(((tag, paths) for tag, paths in named if paths), policy.most)
    tags = (tag._replace(path=_below(policy.parent, path)) for tag, paths in chosen for path in paths)
    names = record.said.people if people is None else people
    return _each_once(
        [
            *tags,
            *(Keyword(path, "person") for path in _people(names, policy)),
            *(Keyword(path, "place") for path in _places(record.said.place, policy)),
        ]
    )


# ── of a photo ────────────────────────────────────────────────────────────────────────────────


def _sure_tags(record: Record, policy: Policy) -> list[Keyword]:
    """What the models are sure of, by score; a word that two of them say counts with its better one."""
    surest: dict[str, Keyword] = {}
    for model, kind, name, score in _tags(record):
        known = surest.get(name)
        is_surer = known is None or score > (known.score or 0.0)
        if is_surer and score >= policy.min_scores.get(model, policy.min_score):
            surest[name] = Keyword((name,), kind, score)
    return sorted(surest.values(), key=lambda tag: (-(tag.score or 0.0), tag.path))


def _tags(record: Record) -> Iterator[tuple[str, str, str, float]]:
    """Model, kind, word and score of all that the models named, and that counts."""
    for model, output in tagged_by(record.outputs).items():
        yield from ((model, "tag", tag.name, tag.score) for tag in output.tags or ())
    for model, output in record.outputs.items():
        yield from ((model, "object", found.name, found.score) for found in output.objects or ())


def _paths_of(tag: str, policy: Policy) -> Iterator[KeywordPath]:
    """The keywords of a tag, one a language; a word is blocked as a tag and as a keyword."""
    if tag.casefold() in policy.blocked:
        return
    for path in policy.paths.get(tag.casefold()) or (_cased(tag, policy),):
        if path and path[-1].casefold() not in policy.blocked:
            for names in policy.languages:
                yield tuple(names.get(level.casefold(), level) for level in path)


def _cased(tag: str, policy: Policy) -> KeywordPath:
    """A tag that the vocabulary does not know, as a keyword."""
    return tuple(map(_CASES[policy.case], _levels(tag.replace(SEPARATOR, " "))))


def _people(names: Iterable[str], policy: Policy) -> Iterator[KeywordPath]:
    if policy.people is not None:
        for name in names:
            yield from _entity(policy.people, [name], policy)


def _places(place: Place | None, policy: Policy) -> Iterator[KeywordPath]:
    if policy.places is not None and place is not None:
        yield from _entity(policy.places, [place.country, place.region, place.city], policy)


def _entity(above: KeywordPath, names: Iterable[str], policy: Policy) -> Iterator[KeywordPath]:
    """A person or a place below its parent; of levels alike, and without a name, one and none are left."""
    words = (clean_word(name.replace(SEPARATOR, " ")) for name in names)
    path = tuple(dict.fromkeys(word for word in words if word))
    if path and path[-1].casefold() not in policy.blocked:
        yield _below(above, path)


def _below(above: KeywordPath, path: KeywordPath) -> KeywordPath:
    return path if path[: len(above)] == above else above + path


def _each_once(keywords: Iterable[Keyword]) -> tuple[Keyword, ...]:
    """The keywords without those that differ from an earlier one in case alone."""
    known: dict[str, Keyword] = {}
    for keyword in keywords:
        known.setdefault(SEPARATOR.join(keyword.path).casefold(), keyword)
    return tuple(known.values())


def _levels(text: str) -> KeywordPath:
    return tuple(word for level in text.split(SEPARATOR) if (word := clean_word(level)))


# ── the vocabulary file ───────────────────────────────────────────────────────────────────────


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: {error}") from None


class _Vocabulary:
    """The tables of a vocabulary file, checked as they are asked for. `place` begins every error."""

    def __init__(self, place: str, table: dict[str, Any]) -> None:
        self._place = place
        self._table = table
        for name in table:
            if name not in _TABLES:
                raise self._error(name, f"there is no such table; there are: {', '.join(_TABLES)}")

    def blocked(self) -> frozenset[str]:
        words = self._strings("block", self._table.get("block", []))
        return frozenset(word.casefold() for word in words)

    def scores(self) -> dict[str, float]:
        scores = self._get_table("scores")
        for model, score in scores.items():
            if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
                raise self._error(f"scores.{model}", f"must be a number from 0 to 1 (got {score!r})")
        return scores

    def paths(self) -> dict[str, tuple[KeywordPath, ...]]:
        paths = {}
        for tag, written in self._get_table("keywords").items():
            place = f"keywords.{tag}"
            texts = [written] if isinstance(written, str) else self._strings(place, written)
            paths[tag.casefold()] = tuple(self._path(place, text) for text in texts)
            if not texts:
                raise self._error(place, 'names no keyword; put the word into "block" to leave it out')
        return paths

    def languages(self) -> tuple[dict[str, str], ...]:
        """The names in each language to write; a language without names writes the keywords as they are."""
        names = self._get_table("names")
        tables = {language: self._names(language, names[language]) for language in names}
        chosen = self._strings("languages", self._table.get("languages", []))
        for language in tables:
            if language not in chosen:
                raise self._error(f"names.{language}", 'is not among the "languages" to write')
        return tuple(tables.get(language, {}) for language in chosen) or ({},)

    def _names(self, language: str, table: Any) -> dict[str, str]:
        place = f"names.{language}"
        if not isinstance(table, dict):
            raise self._error(place, f"must be a table (got {table!r})")
        names = {}
        for word, name in table.items():
            levels = _levels(name) if isinstance(name, str) else ()
            if len(levels) != 1:
                raise self._error(f"{place}.{word}", f"must be one word or name (got {name!r})")
            names[word.casefold()] = levels[0]
        return names

    def _path(self, place: str, text: str) -> KeywordPath:
        path = _levels(text)
        if not path or len(path) != text.count(SEPARATOR) + 1:
            raise self._error(place, f'must be a keyword, or levels with "|" between (got {text!r})')
        return path

    def _strings(self, place: str, value: Any) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._error(place, f"must be a list of words (got {value!r})")
        return value

    def _get_table(self, name: str) -> dict[str, Any]:
        table = self._table.get(name, {})
        if not isinstance(table, dict):
            raise self._error(name, f"must be a table (got {table!r})")
        return table

    def _error(self, key: str, reason: str) -> SettingsError:
        return SettingsError(f"{self._place}: {key}: {reason}")
