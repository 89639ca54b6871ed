"""Search by meaning follows a swapped model from one query to the next, and never mixes spaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from catalogd.catalog import Catalog, spaces
from catalogd.catalog.store import JOINT
from catalogd.models import registry
from catalogd.models.pairs import SIGLIP2_LOGITS
from catalogd.query import background, parse
from catalogd.query.background import Backgrounds
from catalogd.query.searcher import Searcher
from catalogd.records import Example, Output, Record, Results
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE
from tests.query.library import filled, halves, meaning, others, picture, shot

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


def test_a_known_model_without_weights_is_named_with_the_command_that_helps(
    searcher: Searcher, catalog: Catalog
) -> None:
    spaces.begin_switch(catalog, "siglip2-base@000000000000.1", at_once=True)
    told = "searching by words only: siglip2-base: weights are missing → catalogd models get siglip2-base"
    assert searcher.search("dog").notes == (told,)


def test_a_catalog_of_one_space_is_searched_by_it_whatever_profile_is_set(
    searcher: Searcher, encoders: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody chose another profile, and no run has been since."""

    def by_profile(profile: str, settings: Settings, threads: int = 1, space: str | None = None) -> object:
        return encoders.get(NEW if space is None else space)

    monkeypatch.setattr(registry, "text_encoder", by_profile)
    assert names(searcher.search("dog")) == ["a.jpg", "b.jpg"]


def test_a_file_from_outside_meets_words_in_the_space_that_is_searched(
    searcher: Searcher, catalog: Catalog, tmp_path: Path
) -> None:
    """It used to be seen by the starter's model alone, so that the words were searched for without it."""
    spaces.begin_switch(catalog, NEW)
    learn(catalog, photos(), SHOWN)
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"stands for a photo")
    old = Output(OLD, embedding=picture(0), joint_embedding=halves(meaning("dog")))
    new = Output(NEW, joint_embedding=halves(new_meaning("harbour")))
    asked: list[str] = []

    def look(path: bytes, space: str) -> tuple[Output, ...]:
        asked.append(space)
        return (old, new) if space == NEW else (old,)

    searcher._pictures = look  # type: ignore[assignment]
    results = searcher.similar([Example(str(outside))], "dog", min_score=0, limit=100)
    cosines = {
        hit.path: signal.score for hit in results.hits for signal in hit.signals if signal.name == "meaning"
    }
    direction = new_meaning("harbour") + new_meaning("dog")
    dog = new_meaning("dog", 1, 0.1)
    expected = float(dog @ direction / np.linalg.norm(direction))
    assert cosines[b"/lib/b.jpg"] == pytest.approx(expected, abs=2e-3)
    assert results.notes == ("outside.jpg: outside the library",)
    searcher.similar([Example(str(outside))])
    assert asked == [NEW, ""], "without words nobody needs the other model"


def test_an_example_that_the_searched_model_has_not_seen_is_said(
    searcher: Searcher, catalog: Catalog, tmp_path: Path
) -> None:
    spaces.begin_switch(catalog, NEW)
    learn(catalog, photos(), SHOWN)
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"stands for a photo")
    old = Output(OLD, embedding=picture(0), joint_embedding=halves(meaning("dog")))
    searcher._pictures = lambda path, space: (old,)  # type: ignore[assignment]
    told = "outside.jpg: compared by its looks alone; newer, which compares with words, has not seen it"
    assert told in searcher.similar([Example(str(outside))], "dog").notes
    assert told not in searcher.similar([Example(str(outside))]).notes


def test_a_space_is_sampled_anew_while_a_model_fills_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries of a server that runs for days used to be measured against what was there at the first."""
    backgrounds = Backgrounds(catalog)
    query = new_meaning("dog")
    learn(catalog, photos()[:10], SHOWN)
    assert len(backgrounds.cosines(NEW + JOINT, query)) == 10
    learn(catalog, photos()[10:], {})
    assert len(backgrounds.cosines(NEW + JOINT, query)) == 10, "for a while"
    monkeypatch.setattr(background, "PART_S", 0.0)
    assert len(backgrounds.cosines(NEW + JOINT, query)) == 63
    monkeypatch.setattr(backgrounds, "_drawn", None)
    assert len(backgrounds.cosines(NEW + JOINT, query)) == 63, "it is whole: nothing is drawn any more"


def test_odds_are_those_that_the_text_model_says_of_itself(
    searcher: Searcher, encoders: dict[str, object]
) -> None:
    """A pair of one's own has a name that tells nothing."""
    encoders[OLD].logits = SIGLIP2_LOGITS  # type: ignore[attr-defined]
    assert searcher._tools(parse("dog")).logits == SIGLIP2_LOGITS
    assert searcher._tools(parse("camera:sony")).logits is None
