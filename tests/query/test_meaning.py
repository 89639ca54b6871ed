"""Search by meaning follows a swapped model from one query to the next, and never mixes spaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from catalogd.catalog import Catalog, spaces
from catalogd.models import registry
from catalogd.query.searcher import Searcher
from catalogd.records import Example, Output, Record, Results
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE
from tests.query.library import filled, halves, others, shot

OLD, NEW = "looks 1", "newer@1.1"
NEW_AXES = {"car": 0, "dog": 1, "harbour": 2}  # other numbers, another dimension, another order
NEW_DIMENSION = 24
Floats = npt.NDArray[np.float32]


class NewEncoder:
    space = NEW

    def encode(self, texts: list[str]) -> Floats:
        return np.stack([new_meaning(text) for text in texts])


class OldEncoder:
    space = OLD

    def encode(self, texts: list[str]) -> Floats:
        from tests.query.library import meaning

        return np.stack([meaning(text) for text in texts])


def new_meaning(text: str, seed: int = 0, noise: float = 0.0) -> Floats:
    vector = np.zeros(NEW_DIMENSION, np.float32)
    for word in text.split():
        vector[NEW_AXES.get(word, 20)] += 1
    vector[4:18] += noise * np.random.default_rng(seed).standard_normal(14).astype(np.float32)
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def seen_by_new(record: Record, shows: str, seed: int) -> Record:
    """What the new model adds to a record."""
    joint = halves(new_meaning(shows, seed, 0.1))
    return Record(
        record.path,
        record.stat,
        record.content,
        record.facts,
        {"embedding:newer": Output(NEW, joint_embedding=joint)},
    )


SHOWN = {"/lib/a.jpg": "dog", "/lib/b.jpg": "dog", "/lib/c.jpg": "car"}


def photos() -> list[Record]:
    return [shot(path, shows, seed=seed) for seed, (path, shows) in enumerate(SHOWN.items())] + others(60)


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The text models that are on the machine, by space."""
    here: dict[str, object] = {OLD: OldEncoder(), NEW: NewEncoder()}

    def text_encoder(profile: str, settings: Settings, threads: int = 1, space: str | None = None) -> object:
        return here.get(OLD if space is None else space)

    monkeypatch.setattr(registry, "text_encoder", text_encoder)
    return here


@pytest.fixture
def settings(tmp_path: Path, encoders: dict[str, object]) -> Settings:
    return filled(tmp_path, photos())


@pytest.fixture
def searcher(settings: Settings) -> Iterator[Searcher]:
    with Searcher(settings) as searcher:
        yield searcher


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        yield catalog


def names(results: Results) -> list[str]:
    return sorted(Path(hit.path.decode()).name for hit in results.hits)


def learn(catalog: Catalog, records: list[Record], shows: dict[str, str]) -> None:
    news = [
        seen_by_new(record, shows.get(record.path.decode(), "nothing"), seed)
        for seed, record in enumerate(records)
    ]
    catalog.commit(news, PROFILE)
    catalog.follow(force=True)


def test_a_searcher_that_stays_open_follows_the_switch_with_the_next_query(
    searcher: Searcher, catalog: Catalog
) -> None:
    spaces.begin_switch(catalog, NEW)
    learn(catalog, photos()[:40], {**SHOWN, "/lib/a.jpg": "harbour"})
    assert names(searcher.search("dog")) == ["a.jpg", "b.jpg"], "the old space, whatever the new one says"
    assert names(searcher.search("harbour")) == []
    learn(catalog, photos()[40:], {})
    assert spaces.state(catalog).active == NEW
    assert names(searcher.search("harbour")) == ["a.jpg"]
    assert names(searcher.search("dog")) == ["b.jpg"]
    spaces.back_out(catalog)
    assert names(searcher.search("dog")) == ["a.jpg", "b.jpg"]


def test_examples_and_words_meet_in_the_space_that_is_searched(searcher: Searcher, catalog: Catalog) -> None:
    spaces.begin_switch(catalog, NEW)
    learn(catalog, photos(), SHOWN)
    results = searcher.similar([Example("/lib/a.jpg")], "dog", min_score=0)
    meaning = [
        next(signal for signal in hit.signals if signal.name == "meaning").score
        for hit in results.hits
        if hit.path == b"/lib/b.jpg"
    ]
    a, b = (new_meaning(SHOWN[path], seed, 0.1) for seed, path in enumerate(("/lib/a.jpg", "/lib/b.jpg")))
    direction = a + new_meaning("dog")
    assert meaning == [pytest.approx(float(b @ direction / np.linalg.norm(direction)), abs=2e-3)]


def test_without_the_old_weights_a_note_says_how_search_by_meaning_comes_back(
    searcher: Searcher, catalog: Catalog, encoders: dict[str, object]
) -> None:
    spaces.begin_switch(catalog, NEW)
    learn(catalog, photos()[:21], {})
    del encoders[OLD]
    (note,) = searcher.search("dog").notes
    assert "the weights of looks 1 are gone" in note
    assert "newer has seen every photo (33% so far)" in note


def test_a_catalog_of_one_space_is_searched_by_it_whatever_profile_is_set(
    searcher: Searcher, encoders: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody chose another profile, and no run has been since."""

    def by_profile(profile: str, settings: Settings, threads: int = 1, space: str | None = None) -> object:
        return encoders.get(NEW if space is None else space)

    monkeypatch.setattr(registry, "text_encoder", by_profile)
    assert names(searcher.search("dog")) == ["a.jpg", "b.jpg"]
