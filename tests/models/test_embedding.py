"""What a frame looks like, and words that find it."""

from __future__ import annotations

import numpy as np
import pytest

from catalogd.models.embedding import EmbeddingModel
from catalogd.models.joint import TextEncoder, labels
from catalogd.records import Output
from catalogd.settings import Settings
from tests.models.conftest import photo

NAMES = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg", "motorcycle_left.png")


@pytest.fixture(scope="module")
def outputs(embedding_model: EmbeddingModel) -> dict[str, Output]:
    return dict(zip(NAMES, embedding_model.run([photo(name) for name in NAMES]), strict=True))


@pytest.fixture(scope="module")
def encoder(settings: Settings, embedding_model: EmbeddingModel) -> TextEncoder:
    return TextEncoder(embedding_model.fingerprint, settings)


def vector(data: bytes | None) -> np.ndarray:
    assert data is not None
    return np.frombuffer(data, "<f2").astype(np.float32)


def test_a_cat_is_tagged_as_a_cat_and_coffee_as_coffee(outputs: dict[str, Output]) -> None:
    assert "tabby" in {tag.name for tag in outputs["chelsea.png"].tags or ()}
    best = (outputs["coffee.png"].tags or ())[0]
    assert best.name == "espresso"
    assert best.score > 0.8


def test_embeddings_have_unit_length_and_the_documented_sizes(outputs: dict[str, Output]) -> None:
    for output in outputs.values():
        for data, size in ((output.embedding, 1280), (output.joint_embedding, 384)):
            assert vector(data).shape == (size,)
            assert np.linalg.norm(vector(data)) == pytest.approx(1, abs=2e-3)


def test_a_flipped_photo_is_near_and_another_photo_is_far(
    embedding_model: EmbeddingModel, outputs: dict[str, Output]
) -> None:
    (flipped,) = embedding_model.run([np.ascontiguousarray(photo("coffee.png")[:, ::-1])])
    coffee = vector(outputs["coffee.png"].embedding)
    assert coffee @ vector(flipped.embedding) > 0.9
    assert coffee @ vector(outputs["chelsea.png"].embedding) < 0.5


def test_a_batch_gives_what_one_at_a_time_gives(
    embedding_model: EmbeddingModel, outputs: dict[str, Output]
) -> None:
    for name, together in outputs.items():
        (alone,) = embedding_model.run([photo(name)])
        assert vector(alone.embedding) == pytest.approx(vector(together.embedding), abs=1e-3)
        assert vector(alone.joint_embedding) == pytest.approx(vector(together.joint_embedding), abs=1e-3)
        assert [tag.name for tag in alone.tags or ()] == [tag.name for tag in together.tags or ()]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("a photo of a cat", "chelsea.png"),
        ("kitten", "chelsea.png"),
        ("a cup of coffee", "coffee.png"),
        ("hot drink", "coffee.png"),
        ("rocket launch", "rocket.jpg"),
        ("motorbike", "motorcycle_left.png"),
    ],
)
def test_words_find_their_photo_first(
    encoder: TextEncoder, outputs: dict[str, Output], words: str, name: str
) -> None:
    query = encoder.encode([words])[0]
    scores = {key: float(query @ vector(output.joint_embedding)) for key, output in outputs.items()}
    assert max(scores, key=scores.__getitem__) == name


def test_text_vectors_have_unit_length_and_do_not_depend_on_their_neighbours(encoder: TextEncoder) -> None:
    texts = ["a cat", "Überraschung im Café!", "", "word " * 500]
    together = encoder.encode(texts)
    assert together.shape == (4, 384)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(together, np.concatenate([encoder.encode([text]) for text in texts]))
    assert encoder.encode([]).shape == (0, 384)


def test_a_frame_that_is_no_frame_fails_alone(
    embedding_model: EmbeddingModel, outputs: dict[str, Output]
) -> None:
    broken = np.zeros((20, 20), np.uint8)
    first, second, third = embedding_model.run([photo("coffee.png"), broken, photo("chelsea.png")])
    assert second.error
    assert second.fingerprint == embedding_model.fingerprint
    assert second.embedding is None
    assert first.error is None
    assert vector(third.embedding) == pytest.approx(vector(outputs["chelsea.png"].embedding), abs=1e-3)


def test_a_frame_of_one_pixel_is_still_a_frame(embedding_model: EmbeddingModel) -> None:
    (output,) = embedding_model.run([np.full((1, 1, 3), 128, np.uint8)])
    assert output.error is None


def test_an_empty_batch_gives_nothing(embedding_model: EmbeddingModel) -> None:
    assert embedding_model.run([]) == []


def test_there_are_a_thousand_labels_and_each_has_a_name() -> None:
    assert len(labels()) == 1000
    assert all(names[0] for names in labels())
    assert labels()[281][0] == "tabby"
    assert labels()[967][0] == "espresso"


def test_without_the_sentence_encoder_there_is_no_joint_embedding_and_another_fingerprint(
    settings: Settings, embedding_model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from catalogd.models import sources

    gone = dataclasses.replace(sources.MINILM, module="no_such_package", file="no_such_file")
    monkeypatch.setattr(sources, "MINILM", gone)
    model = EmbeddingModel(settings, 1)
    assert model.fingerprint != embedding_model.fingerprint
    model.load()
    (output,) = model.run([photo("coffee.png")])
    assert output.joint_embedding is None
    assert output.embedding
