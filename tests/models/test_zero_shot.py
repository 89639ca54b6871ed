"""Tags from vectors that are there already, over a vocabulary that people edit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from catalogd.catalog.kinds import kinds_of
from catalogd.errors import ModelError, SettingsError
from catalogd.models import pairs, sessions
from catalogd.models.devices import Hardware
from catalogd.models.dual_encoder import DualEncoder
from catalogd.models.embedding import EmbeddingModel
from catalogd.models.vocabulary import parse_vocabulary, read_vocabulary
from catalogd.models.zero_shot import ZeroShotTags, chances_of
from catalogd.records import Output
from catalogd.settings import Settings
from tests.models import pair_factory as factory

HARDWARE = Hardware(threads=1)
DIMENSIONS = 4096  # then random vectors are as far from each other as unlike texts and pictures


class Words:
    """A text tower whose vectors are random, but the same for the same text; it counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def vectors(self, prompts: Sequence[str]) -> np.ndarray:
        self.asked += prompts
        seeds = [sum(prompt.encode()) * 1000 + len(prompt) for prompt in prompts]
        return sessions.unit_rows(
            np.array([np.random.default_rng(seed).normal(size=DIMENSIONS) for seed in seeds])
        )


class Embedder:
    name = "embedding:fake"
    fingerprint = "fake@000000000000.1"
    wording = pairs.SIGLIP_WORDING

    def __init__(self, logits: pairs.Logits) -> None:
        self.logits = logits
        self.words = Words()
        self.opened = 0

    def text_encoder(self) -> Words:
        self.opened += 1
        return self.words


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "words.txt"
    file.write_text("# mine\nbeach\nred car = a red car; a car that is red\n\ndog\ncat\n" + "x\ny\nz\n")
    return Settings(model_cache=tmp_path / "cache", tag_vocabulary=file)


def tagger(settings: Settings, embedder: Embedder) -> ZeroShotTags:
    model = ZeroShotTags(settings, None, HARDWARE, embedder)
    model.load()
    return model


def picture_of(embedder: Embedder, *texts: str, likeness: float = 0.3) -> Output:
    """A picture whose cosine with what shows it is as small as such cosines are."""
    clear = sessions.unit_rows(embedder.words.vectors(texts).sum(axis=0, keepdims=True))
    noise = sessions.unit_rows(np.random.default_rng(5).normal(size=(1, DIMENSIONS)))
    vector = sessions.unit_rows(likeness * clear + (1 - likeness**2) ** 0.5 * noise)[0]
    return Output(embedder.fingerprint, joint_embedding=sessions.half_bytes(vector))


LOGITS = {"sigmoid": pairs.SIGLIP2_LOGITS, "softmax": pairs.CLIP_LOGITS}


@pytest.mark.parametrize("way", LOGITS)
def test_a_picture_gets_the_words_that_describe_it_and_no_others(way: str, settings: Settings) -> None:
    embedder = Embedder(LOGITS[way])
    model = tagger(settings, embedder)
    pictures = [
        picture_of(embedder, "this is a photo of beach", "this is a photo of dog"),
        picture_of(embedder, "something else"),
    ]
    both, neither = model.derive(pictures)
    assert {tag.name for tag in both.tags or ()} == {"beach", "dog"}
    assert neither.tags == ()
    assert all(0.5 <= tag.score <= 1 for tag in both.tags or ())
    assert [tag.score for tag in both.tags or ()] == sorted((t.score for t in both.tags or ()), reverse=True)


def test_a_word_is_looked_for_by_the_mean_of_its_descriptions(settings: Settings) -> None:
    embedder = Embedder(pairs.SIGLIP2_LOGITS)
    model = tagger(settings, embedder)
    assert {"a red car", "a car that is red", "this is a photo of dog"} <= set(embedder.words.asked)
    for text in ("a red car", "a car that is red"):
        (output,) = model.derive([picture_of(embedder, text)])
        assert [tag.name for tag in output.tags or ()] == ["red car"]


def test_tags_are_those_of_the_picture_whatever_batch_it_is_in(settings: Settings) -> None:
    embedder = Embedder(pairs.CLIP_LOGITS)
    model = tagger(settings, embedder)
    pictures = [picture_of(embedder, f"this is a photo of {word}") for word in ("dog", "cat", "beach")]
    assert model.derive(pictures) == [model.derive([picture])[0] for picture in pictures]
    assert model.derive([]) == []


def test_a_picture_without_a_vector_fails_alone(settings: Settings) -> None:
    embedder = Embedder(pairs.SIGLIP2_LOGITS)
    broken = Output(embedder.fingerprint, error="OSError: no")
    good = picture_of(embedder, "this is a photo of cat")
    model = tagger(settings, embedder)
    first, second = model.derive([broken, good])
    assert first.error == "ModelError: there is no vector of embedding:fake"
    assert first.tags is None
    assert [tag.name for tag in second.tags or ()] == ["cat"]
    assert model.derive([broken])[0].error


def test_words_go_through_the_text_tower_once(settings: Settings) -> None:
    embedder = Embedder(pairs.SIGLIP2_LOGITS)
    first = tagger(settings, embedder)
    asked = len(embedder.words.asked)
    picture = picture_of(embedder, "this is a photo of cat")
    again = tagger(settings, embedder)
    assert asked == 8
    assert embedder.opened == 1
    assert again.derive([picture]) == first.derive([picture])


def test_another_vocabulary_makes_tags_stale_and_a_comment_does_not(settings: Settings) -> None:
    embedder = Embedder(pairs.SIGLIP2_LOGITS)
    before = ZeroShotTags(settings, None, HARDWARE, embedder).fingerprint
    file = settings.tag_vocabulary
    assert file is not None
    file.write_text(file.read_text() + "# more\n")
    assert ZeroShotTags(settings, None, HARDWARE, embedder).fingerprint == before
    file.write_text(file.read_text() + "harbour\n")
    assert ZeroShotTags(settings, None, HARDWARE, embedder).fingerprint != before
    embedder.fingerprint = "fake@111111111111.1"
    assert ZeroShotTags(settings, None, HARDWARE, embedder).fingerprint != before


def test_the_starters_embedder_can_not_be_asked_for_words(settings: Settings) -> None:
    with pytest.raises(ModelError, match="dual encoder"):
        ZeroShotTags(settings, None, HARDWARE, EmbeddingModel(settings, 1))  # type: ignore[arg-type]


def test_tags_of_a_real_pair_follow_its_own_text_tower(tmp_path: Path, settings: Settings) -> None:
    found = factory.open_clip_pair(tmp_path / "pair")
    embedder = DualEncoder(settings, found, HARDWARE)
    model = ZeroShotTags(settings, None, HARDWARE, embedder)
    assert model.after == "embedding:tiny-pair"
    model.load()
    vector = embedder.text_encoder().vectors(["this is a photo of dog"])[0]
    output = Output(embedder.fingerprint, joint_embedding=sessions.half_bytes(vector))
    assert "dog" in {tag.name for tag in model.derive([output])[0].tags or ()}


# -- chances --------------------------------------------------------------------------------------


def test_sigmoid_odds_are_those_of_training_corrected_for_how_many_texts_there_are() -> None:
    logits = pairs.Logits(100.0, -15.0)
    cosine = 0.12
    in_training = 100 * cosine - 15  # one of 32,768 texts belongs to a picture
    expected = 1 / (1 + np.exp(-(in_training + np.log(32_768) + np.log(0.01 / 0.99))))
    cosines = np.full((1, 500), cosine, np.float32)
    assert chances_of(cosines, None, logits)[0, 0] == pytest.approx(expected, rel=1e-4)


def test_softmax_chances_do_not_change_when_a_picture_is_near_all_texts() -> None:
    random = np.random.default_rng(0)
    cosines, others = random.normal(0.2, 0.03, (4, 50)), random.normal(0.2, 0.03, (4, 700))
    near = chances_of(np.float32(cosines + 0.1), np.float32(others + 0.1), pairs.CLIP_LOGITS)
    assert near == pytest.approx(
        chances_of(np.float32(cosines), np.float32(others), pairs.CLIP_LOGITS), rel=1e-2
    )


def test_a_word_as_likely_as_all_others_has_the_usual_chance_of_a_word() -> None:
    cosines = np.full((1, 500), 0.2, np.float32)
    assert chances_of(cosines, cosines, pairs.CLIP_LOGITS) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("logits", LOGITS.values(), ids=LOGITS)
def test_chances_grow_with_the_cosine_and_stay_chances(logits: pairs.Logits) -> None:
    cosines = np.linspace(-1, 1, 41, dtype=np.float32)[None]
    chances = chances_of(cosines, np.full((1, 9), 0.2, np.float32), logits)[0]
    assert np.all(np.diff(chances) >= 0)
    assert chances[0] == pytest.approx(0, abs=1e-6)
    assert chances[-1] == pytest.approx(1, abs=1e-6)


def test_processes_that_want_the_same_words_wait_for_the_first(settings: Settings) -> None:
    """One process a GPU: each used to send the whole vocabulary through the text tower, on all cores."""
    embedder = Embedder(pairs.SIGLIP2_LOGITS)
    started = threading.Barrier(3)

    def load() -> None:
        started.wait()
        tagger(settings, embedder)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert embedder.opened == 1


# -- vocabulary -----------------------------------------------------------------------------------


def test_the_vocabulary_that_comes_along_has_hundreds_of_words() -> None:
    vocabulary = read_vocabulary(None)
    assert len(vocabulary.words) > 600
    assert {"beach", "birthday", "dog", "fog", "football", "breakfast"} <= set(vocabulary.words)
    assert all(word == word.lower() for word in vocabulary.words)


def test_no_word_that_comes_along_has_been_an_insult() -> None:
    """Taggers have called people so, and a wrong word on a face is worse than none on an animal."""
    assert not {"monkey", "ape", "gorilla", "chimpanzee", "orangutan"} & set(read_vocabulary(None).words)


@pytest.mark.parametrize("word", ["kite", "cricket", "mouse", "pot"])
def test_no_word_means_another_thing_than_the_starters_label_of_this_name(word: str) -> None:
    """What a label stands for is written down once: a kite was a bird."""
    assert kinds_of(word)
    assert word not in read_vocabulary(None).words


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dog\n= a dog\n", "line 2: there is no word"),
        ("dog\ncat =\n", "line 2: after cat = there is no description"),
        ("dog\n\nDog\n", "line 3: 'Dog' is in line 1 already"),
        ("# nothing\n", "has no words"),
        ("dog = " + "x" * 300, "line 1: a word or description has at most 200"),
    ],
)
def test_what_is_wrong_in_a_vocabulary_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        parse_vocabulary(text, "words.txt")


def test_a_vocabulary_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9t\xe9")
    for name in ("nothing", "latin"):
        with pytest.raises(SettingsError, match=name):
            read_vocabulary(tmp_path / name)
