"""The searches of one branch of a query: by meaning, by words, by likeness.

Each is asked for its best photos within the selection, then for its opinion of those that the others found.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalogd.catalog.selection import Selection, selection_of
from catalogd.catalog.store import JOINT
from catalogd.catalog.text_index import Expand, TextRanking
from catalogd.catalog.user_data import UserData
from catalogd.catalog.vectors import among, dot, union
from catalogd.catalog.words import plain_words
from catalogd.errors import CatalogMissingError
from catalogd.models.pairs import Logits
from catalogd.query import WEIGHTS, calibration
from catalogd.query.background import Backgrounds
from catalogd.query.examples import Embed, Look, joint_direction, picture_direction
from catalogd.query.ranking import Floats, Ids, Ranking
from catalogd.records import Album, Box, Branch, Output

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.query import TextEncoder

ASKED_ABOUT = (
    200  # of what one search found, the text index is asked about so many: further down nothing comes up
)
# Hits of common words that are looked through for selected photos, when meaning finds photos too: 3 ms. What
# is good by both is asked about anyway. Of photos that are too unlikely to be hits, and have one of several
# words, some are missed (bench/bench_search.py: recall of hits beside recall of all).
LOOKED_THROUGH = 4096
# Photos that words find equally well, when more than the depth: the nearest of them are asked for. Of
# yet more there are enough among the nearest of all.
MOST_EQUALS = 40_000
NEAREST_EQUALS = 100  # of them: twice what is scored at first
ALL_WORDS = 10_000.0  # added to the score of a photo with all the words: above what words score

_MARKS = str.maketrans('"*?', "   ")

Vector = npt.NDArray[np.float32]
Encode = Callable[[str], Vector]
Named = Callable[[int], Sequence[tuple[int, Box, str | None]]]
Note = Callable[[str, int | None, float, str], None]  # of a step: its name, photos, start, what else


def _no_album(name: str) -> Album | None:
    return None


def no_faces(photo_id: int) -> Sequence[tuple[int, Box, str | None]]:
    return ()


@dataclasses.dataclass(frozen=True)
class Tools:
    """What a search works with; `catalogd.query.searcher.Searcher` keeps it warm."""

    catalog: Catalog
    backgrounds: Backgrounds
    weights: Mapping[str, float]  # of each ranking in the fusion
    space: str = ""  # of the vectors that `encode` makes
    encode: Encode | None = None  # words → unit vector; None: words alone count
    logits: Logits | None = None  # of the model of `space`, where it says so
    embed: Embed | None = None  # a file → its embeddings; None: no file is read
    given: Mapping[str, tuple[Output, ...]] = dataclasses.field(
        default_factory=dict
    )  # examples that are no files
    album: Callable[[str], Album | None] = _no_album
    expand: Expand | None = None  # a word → what else may stand for it
    faces_of: Named = no_faces  # photo_id → its faces: index, box, name


def tools_for(catalog: Catalog, encoder: TextEncoder | None, weights: Mapping[str, float]) -> Tools:
    """What a search needs at least. Without an encoder it goes by words alone."""
    return Tools(
        catalog=catalog,
        backgrounds=Backgrounds(catalog),
        weights=weights,
        space=encoder.space if encoder is not None else "",
        encode=None if encoder is None else lambda words: np.asarray(encoder.encode([words])[0], np.float32),
        album=functools.partial(album_of, catalog.folder),
        faces_of=catalog.people.faces_of,
    )


def album_of(catalog_folder: Path, name: str) -> Album | None:
    """The album of this name, as the user data has it now."""
    try:
        with UserData(catalog_folder, write=False) as user_data:
            return user_data.album(name)
    except CatalogMissingError:  # nobody told catalogd anything yet
        return None


class Searches:
    """The searches of one branch, carried out once."""

    def __init__(
        self,
        tools: Tools,
        branch: Branch,
        selection: Selection,
        depth: int,
        looks: Sequence[Look],
        note: Note,
    ) -> None:
        self._tools = tools
        self._catalog = tools.catalog
        self._words = branch.words
        self._selection = selection
        self._depth = depth
        self._looks = looks
        self._note = note
        self._with_words = TextRanking(np.empty(0, np.int64), np.empty(0), 0)
        self._has_all_words = False  # the text index has told of every photo with some of the words
        self._asked_about = np.empty(0, np.int64)  # photos that it was asked about one by one
        self._of_asked = TextRanking(np.empty(0, np.int64), np.empty(0), 0)  # and what it said of them

    def rankings(self) -> tuple[Ranking, ...]:
        """What the searches found that there are for this branch."""
        best_by_words = _beside().submit(self._best_by_words)  # the text index waits for no vector
        try:
            nearest = [ranking for ranking in (self._similar(), self._meaning()) if ranking is not None]
        finally:
            self._with_words = best_by_words.result()
        if not self._words:
            return tuple(ranking for ranking, _ in nearest)
        nearest = [(self._with_equals(ranking, asked), asked) for ranking, asked in nearest]
        depth = self._depth
        words = self._by_words(
            [some for one, _ in nearest for some in (one.ids[:ASKED_ABOUT], one.ids[depth:])]
        )
        everyone = union(np.concatenate([words.ids, *(ranking.ids for ranking, _ in nearest)]))
        return (*[self._with_all(ranking, asked, everyone) for ranking, asked in nearest], words)

    def scores(self, rankings: Sequence[Ranking], ids: Ids, least: float = 0.0) -> Floats:
        """float64[n] in 0…1: how likely each photo is what was meant, by all searches together.

        With examples: the mean of its cosine with them, of that with them and the words, which tells twice as
        much, and of its chance by words.

        A photo that can't reach `least`, whatever its words, is not looked up: its score may be too low then.
        """
        if self._looks:
            near = {ranking.name: np.nan_to_num(ranking.scores_of(ids)) for ranking in rankings}
            near.pop("words", None)
            if len(self._with_words.ids):  # else no photo has any of them
                near["words"] = self._chances_of_words(ids)
            shares = [2.0 if name == "meaning" else 1.0 for name in near]
            return np.clip(np.average([*near.values()], 0, shares), 0, 1) if near else np.zeros(len(ids))
        missed = np.ones(len(ids))
        for ranking in rankings:
            if ranking.name == "meaning":
                chances = np.nan_to_num(self._chances_of_cosines(ranking, ids))
                missed *= (1 - chances) ** self._emphasis("meaning")
        most, by_words = self._most_by_words(ids), self._emphasis("words")
        asked = (most > 0) & (1 - missed * (1 - most) ** by_words >= least)
        missed[asked] *= (1 - self._chances_of_words(ids[asked])) ** by_words
        return 1 - missed

    def _emphasis(self, name: str) -> float:
        """How many times a search counts beside what its score is calibrated for."""
        return self._tools.weights.get(name, WEIGHTS[name]) / WEIGHTS[name]

    def _chances_of_words(self, ids: Ids) -> Floats:
        if not len(ids):
            return np.zeros(0)
        matched = self._catalog.match_text(self._words, ids.tolist(), self._tools.expand)
        return np.array([_word_chance(*matched[photo_id]) for photo_id in ids.tolist()], float)

    def _most_by_words(self, ids: Ids) -> Floats:
        """float64[n]: the chances by words at most: by all of them, by all but one, by none."""
        words, found = max(len(plain_words(self._words)), 1), self._with_words
        some = calibration.share_worth((words - 1) / words)
        unknown = 0.0 if self._has_all_words else 1.0 if found.is_whole_cut else some
        most = np.full(len(ids), unknown)
        most[_are_among(ids, self._asked_about)] = 0.0
        for ranking in (found, self._of_asked):
            most[_are_among(ids, ranking.ids)] = some
            most[_are_among(ids, ranking.ids[: ranking.whole])] = 1.0
        return most

    def _chances_of_cosines(self, ranking: Ranking, ids: Ids) -> Floats:
        background = calibration.Background.of(ranking.sample.astype(np.float32), ranking.photos)
        known = calibration.for_space(self._tools.space, self._tools.logits)
        chances: Floats = np.empty(len(ids))
        chances[:] = known.probability(ranking.scores_of(ids).astype(np.float32), background)
        return chances

    # -- by vectors ------------------------------------------------------------------------------

    def _similar(self) -> tuple[Ranking, _Asked] | None:
        """By likeness to the examples."""
        direction = picture_direction(self._looks, self._tools.space)
        return None if direction is None else self._nearest("similar", *direction)

    def _meaning(self) -> tuple[Ranking, _Asked] | None:
        """By the words' vector, turned towards the examples."""
        if not self._words or self._tools.encode is None or not self._has_meaning:
            return None
        started, space = time.perf_counter(), self._tools.space + JOINT
        vector = joint_direction(self._looks, space, self._tools.encode(_spoken(self._words)))
        self._note("words to a vector", None, started, "")
        return None if vector is None else self._nearest("meaning", space, vector)

    def _nearest(self, name: str, space: str, vector: Vector) -> tuple[Ranking, _Asked]:
        started = time.perf_counter()
        k = min(self._depth, len(self._selection))
        found = self._catalog.search_embeddings(space, vector, k, self._selection)
        sample = self._tools.backgrounds.cosines(space, vector).astype(float)
        ids = np.array([photo_id for photo_id, _ in found], np.int64)
        cosines = np.array([cosine for _, cosine in found], float)
        self._note(name, len(ids), started, f"the nearest of {len(self._selection):,}")
        told = float(cosines.min()) if len(cosines) else -np.inf
        return Ranking(name, ids, cosines, sample, len(self._selection), told), _Asked(space, vector)

    def _with_equals(self, ranking: Ranking, asked: _Asked) -> Ranking:
        """With the nearest of those among which words can't choose: thousands may hold the same tag."""
        equals = self._with_words.equals
        if ranking.name != "meaning" or not 0 < len(equals) <= MOST_EQUALS:
            return ranking
        found = self._catalog.search_embeddings(asked.space, asked.vector, NEAREST_EQUALS, equals)
        new = [hit for hit in found if hit[1] < ranking.told]
        ids = np.array([photo_id for photo_id, _ in new], np.int64)
        cosines = np.array([cosine for _, cosine in new], float)
        return ranking._replace(
            ids=np.concatenate([ranking.ids, ids]), scores=np.concatenate([ranking.scores, cosines])
        )

    def _with_all(self, ranking: Ranking, asked: _Asked, everyone: Ids) -> Ranking:
        """The ranking with the cosines of those, too, that only other searches found."""
        missing = everyone[~_are_among(everyone, ranking.ids)]
        ids, halves = self._catalog.embeddings(asked.space, missing)
        if not len(ids):
            return ranking
        cosines = dot(np.ascontiguousarray(halves).view(np.int16), asked.vector)
        return ranking._replace(
            ids=np.concatenate([ranking.ids, ids]), scores=np.concatenate([ranking.scores, cosines])
        )

    # -- by words --------------------------------------------------------------------------------

    def _by_words(self, others: Sequence[Ids]) -> Ranking:
        """By the text index. Beside examples, words only choose among what is like them."""
        started = time.perf_counter()
        found = [self._with_words]
        self._has_all_words = not self._looks and not self._with_words.is_cut
        if not self._has_all_words:
            asked = np.concatenate([np.empty(0, np.int64), *others])
            rest = union(asked[~_are_among(asked, self._with_words.ids)])
            if len(rest):
                selection = selection_of(self._selection.columns, rest)
                self._asked_about, self._of_asked = rest, self._ranked_by_words(selection, len(rest))
                found.append(self._of_asked)
        ids = np.concatenate([some.ids for some in found])
        scores = np.concatenate([*map(_word_scores, found)])
        self._note("words of the others", len(ids), started, "")
        best = self._with_words
        known = np.concatenate([best.of_rest, best.of_whole + ALL_WORDS]) if best.is_cut else np.empty(0)
        return Ranking("words", ids, scores, known=known)

    def _best_by_words(self) -> TextRanking:
        """What the text index finds by itself; nothing beside examples."""
        if not self._words or self._looks:
            return self._with_words
        started = time.perf_counter()
        most_hits = max(LOOKED_THROUGH, 4 * self._depth) if self._has_meaning else None
        found = self._ranked_by_words(self._selection, self._depth, most_hits)
        self._note("words", len(found.ids), started, "the best of more" if found.is_cut else "")
        return found

    @property
    def _has_meaning(self) -> bool:
        return self._tools.encode is not None and self._tools.space + JOINT in self._catalog.spaces()

    def _ranked_by_words(self, selection: Selection, limit: int, most_hits: int | None = None) -> TextRanking:
        some = None if selection.is_all else selection
        return self._catalog.rank_text(self._words, some, limit, self._tools.expand, most_hits)


@functools.cache
def _beside() -> ThreadPoolExecutor:
    """Threads that look for words; kept, since starting one takes 0.2 ms. They start nothing themselves."""
    return ThreadPoolExecutor(4, thread_name_prefix="words")


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What an embedding space was asked for."""

    space: str
    vector: Vector


def _are_among(ids: Ids, some: Ids) -> npt.NDArray[np.bool_]:
    return among(ids, np.sort(some))


def _spoken(words: str) -> str:
    """The words without the marks of a phrase or a wildcard."""
    return " ".join(words.translate(_MARKS).split())


def _word_scores(ranking: TextRanking) -> Floats:
    """With all the words before those with some."""
    scores = ranking.scores.copy()
    scores[: ranking.whole] += ALL_WORDS
    return scores


@functools.lru_cache(maxsize=1024)  # a page holds the same few
def _word_chance(fields: tuple[str, ...], share: float) -> float:
    return calibration.word_probability(fields, share)
