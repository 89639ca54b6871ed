"""Published weights on public photos, which scikit-image carries: what each model must see there.

    CATALOGD_MODEL_PATH=/models pytest -m hub     every model whose folder is there
    CATALOGD_REQUIRE=hub …                        a model that is not there fails instead of being skipped
    CATALOGD_ACCEPT=buffalo_l,antelopev2 …        the licences that you accept for this

Folders are named by ids, as `catalogd models get` names them; what it fetched is looked for in
CATALOGD_MODEL_CACHE. Expected is what anybody sees in these photos and nothing finer: a tabby cat, a cup of
coffee, a woman in a space suit, a page of English.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalogd.models import choices, registry
from catalogd.models.batches import Batch
from catalogd.models.devices import CPU
from catalogd.models.known import MODELS, Entry
from catalogd.records import Output
from catalogd.settings import Settings
from tests.models.conftest import Frame, photo

pytestmark = [pytest.mark.hub, pytest.mark.timeout(1800)]

CAT, COFFEE, WOMAN, PAGE = "chelsea.png", "coffee.png", "astronaut.png", "page.png"
ROCKET, MOTORCYCLE, STONES = "rocket.jpg", "motorcycle_left.png", "gravel.png"
PHOTOS = (CAT, COFFEE, WOMAN, PAGE, ROCKET, MOTORCYCLE, STONES)

# What a query says → the photo that must come first for it, by cosine.
QUERIES = {
    "a cat": CAT,
    "a cup of coffee": COFFEE,
    "an astronaut": WOMAN,
    "a printed page": PAGE,
    "a rocket at night": ROCKET,
    "a motorcycle": MOTORCYCLE,
    "gravel": STONES,
}
# Photo → words of which a caption must hold one.
CAPTIONS = {
    CAT: ("cat", "kitten"),
    COFFEE: ("coffee", "cup", "espresso"),
    WOMAN: ("woman", "astronaut", "person", "lady"),
    ROCKET: ("rocket", "launch", "missile"),
    MOTORCYCLE: ("motorcycle", "motorbike", "bike"),
}
ANSWERS = {
    "Is there a cat?": {CAT: "yes", COFFEE: "no", MOTORCYCLE: "no"},
    "Is there a motorcycle?": {CAT: "no", MOTORCYCLE: "yes"},
}
OBJECTS = {CAT: {"cat"}, COFFEE: {"cup"}, WOMAN: {"person"}, MOTORCYCLE: {"motorcycle"}}
# Photo → words of which one must be among its tags.
TAGS = {
    CAT: {"cat", "tabby", "pet", "whisker"},
    COFFEE: {"coffee", "coffee cup", "cup", "espresso", "drink"},
    MOTORCYCLE: {"motorcycle", "motorbike", "vehicle"},
}
PAGE_LINES = ("region-based segmentation", "markers of the coins", "histogram of grey values")
LIKED, DULL = ROCKET, PAGE  # anybody's order


def ids_of(job: str, *without: str) -> list[str]:
    """Models of a job whose weights are folders."""
    ways = ("bundle", "derived")
    return [e.id for e in MODELS.values() if e.job == job and e.way in ways and e.id not in without]


@pytest.fixture(scope="module")
def hub_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("hub")
    asked = folder / "questions.txt"
    asked.write_text("\n".join(ANSWERS), "utf-8")
    path, cache = (os.environ.get(f"CATALOGD_MODEL_{name}") for name in ("PATH", "CACHE"))
    settings = Settings(
        catalog=folder / "catalog",
        model_cache=Path(cache) if cache else Settings().model_cache,
        model_path=Path(path) if path else None,
        questions=asked,
    )
    settings.catalog.mkdir()
    for model_id in filter(None, os.environ.get("CATALOGD_ACCEPT", "").split(",")):
        choices.accept(settings, model_id, registry.entry_of(model_id).licence)
    return settings


def present(model_id: str, settings: Settings) -> Entry:
    """The model's entry; the test is skipped, or fails if weights are required, where it can't run."""
    entry = registry.entry_of(model_id)
    obstacle = registry.obstacle(entry, settings)
    if obstacle is None:
        return entry
    reason = f"{model_id}: {obstacle.text}: {obstacle.fix}"
    if "hub" in os.environ.get("CATALOGD_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def opened(hub_settings: Settings, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Loads a model by its id; it is unloaded when the test is over."""

    def load(model_id: str) -> Any:
        present(model_id, hub_settings)
        (model,) = registry.profile_models("starter", hub_settings, 0, CPU, (), [model_id])
        model.load()
        request.addfinalizer(model.unload)
        return model

    return load


def looked_at(model: Any, names: Sequence[str]) -> dict[str, Output]:
    """What the model says of these photos, in one batch; no photo fails."""
    frames: list[Frame] = [photo(name) for name in names]
    outputs = model.run(Batch(frames))
    assert [output.error for output in outputs] == [None] * len(names)
    return dict(zip(names, outputs, strict=True))


def joint(output: Output) -> Any:
    assert output.joint_embedding is not None
    return np.frombuffer(output.joint_embedding, "<f2").astype(np.float32)


@pytest.mark.parametrize("model_id", ids_of("embedding"))
def test_each_query_finds_its_photo_first(
    model_id: str, opened: Callable[[str], Any], hub_settings: Settings
) -> None:
    model = opened(model_id)
    seen = looked_at(model, PHOTOS)
    encoder = registry.text_encoder("", hub_settings, 0, model.fingerprint)
    assert encoder is not None
    cosines = encoder.encode(list(QUERIES)) @ np.stack([joint(seen[name]) for name in PHOTOS]).T
    first = {query: PHOTOS[int(row.argmax())] for query, row in zip(QUERIES, cosines, strict=True)}
    assert first == QUERIES


@pytest.mark.parametrize("model_id", ids_of("embedding"))
def test_a_photo_alone_has_the_embedding_that_it_has_in_a_batch(
    model_id: str, opened: Callable[[str], Any]
) -> None:
    model = opened(model_id)
    together = looked_at(model, PHOTOS)
    alone = looked_at(model, [COFFEE])
    assert float(joint(together[COFFEE]) @ joint(alone[COFFEE])) > 0.999


@pytest.mark.parametrize("model_id", ids_of("caption"))
def test_captions_name_what_is_there(model_id: str, opened: Callable[[str], Any]) -> None:
    seen = looked_at(opened(model_id), list(CAPTIONS))
    captions = {name: (output.caption or "").lower() for name, output in seen.items()}
    wrong = {
        name: text for name, text in captions.items() if not any(word in text for word in CAPTIONS[name])
    }
    assert wrong == {}


@pytest.mark.parametrize("model_id", ids_of("caption", "florence-2-base", "florence-2-large"))
def test_questions_are_answered(model_id: str, opened: Callable[[str], Any]) -> None:
    seen = looked_at(opened(model_id), [CAT, COFFEE, MOTORCYCLE])
    for name, output in seen.items():
        answers = {one.question: one.answer.lower() for one in output.answers or ()}
        expected = {question: by[name] for question, by in ANSWERS.items() if name in by}
        assert {question: answers[question][: len(word)] for question, word in expected.items()} == expected


@pytest.mark.parametrize("model_id", ids_of("objects"))
def test_objects_are_found_and_their_boxes_lie_on_them(model_id: str, opened: Callable[[str], Any]) -> None:
    seen = looked_at(opened(model_id), [*OBJECTS, STONES])
    names = {name: {found.name for found in output.objects or ()} for name, output in seen.items()}
    assert {name: found for name, found in names.items() if not OBJECTS.get(name, set()) <= found} == {}
    assert "cat" not in names[STONES]
    assert "person" not in names[STONES]
    (x, y, width, height) = max(seen[CAT].objects or (), key=lambda found: found.score).box
    assert x < 0.5 < x + width, "the cat looks at us from the middle"
    assert width * height > 0.3, "it fills the picture"
    assert y + height > 0.8


@pytest.mark.parametrize("model_id", ids_of("faces"))
def test_one_face_is_found_where_there_is_one(model_id: str, opened: Callable[[str], Any]) -> None:
    seen = looked_at(opened(model_id), [WOMAN, COFFEE, STONES, PAGE])
    assert [len(output.faces or ()) for output in seen.values()] == [1, 0, 0, 0]
    (face,) = seen[WOMAN].faces or ()
    x, y, width, height = face.box
    assert x < 0.44 < x + width
    assert y < 0.23 < y + height
    assert face.embedding is not None
    left_eye, right_eye, nose = face.landmarks[:3]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert nose[1] > left_eye[1]


@pytest.mark.parametrize("model_id", ids_of("faces"))
def test_a_face_is_known_again_mirrored_and_darker(model_id: str, opened: Callable[[str], Any]) -> None:
    model = opened(model_id)
    frame = photo(WOMAN)
    changed = np.ascontiguousarray(frame[:, ::-1] * 0.6).astype(np.uint8)
    one, other = (output.faces[0] for output in model.run(Batch([frame, changed])))
    first, second = (np.frombuffer(face.embedding, "<f2").astype(np.float32) for face in (one, other))
    assert float(first @ second) > 0.5


@pytest.mark.parametrize("model_id", ids_of("text"))
def test_a_page_is_read_and_stones_are_not(model_id: str, opened: Callable[[str], Any]) -> None:
    seen = looked_at(opened(model_id), [PAGE, STONES])
    read = " ".join(line.text.lower() for line in seen[PAGE].text_lines or ())
    assert [line for line in PAGE_LINES if line not in read] == []
    assert not seen[STONES].text_lines


@pytest.mark.parametrize("model_id", ids_of("tags", "zero-shot-tags"))
def test_tags_name_what_is_there(model_id: str, opened: Callable[[str], Any]) -> None:
    seen = looked_at(opened(model_id), list(TAGS))
    check_tags({name: {tag.name.lower() for tag in output.tags or ()} for name, output in seen.items()})


def check_tags(tags: dict[str, set[str]]) -> None:
    assert {name: found for name, found in tags.items() if not found & TAGS[name]} == {}
    assert not {"cat", "coffee"} & tags[MOTORCYCLE]


@pytest.mark.parametrize("embedder_id", ids_of("embedding"))
def test_zero_shot_tags_name_what_is_there(
    embedder_id: str, opened: Callable[[str], Any], hub_settings: Settings
) -> None:
    tagger, outputs = derived("zero-shot-tags", embedder_id, opened, hub_settings, list(TAGS))
    found = tagger.derive(list(outputs.values()))
    check_tags({name: {tag.name for tag in one.tags or ()} for name, one in zip(outputs, found, strict=True)})


@pytest.mark.parametrize("model_id", ids_of("aesthetics"))
def test_a_night_launch_pleases_more_than_a_page(
    model_id: str, opened: Callable[[str], Any], hub_settings: Settings
) -> None:
    (embedder_id,) = MODELS[model_id].fits
    judge, outputs = derived(model_id, embedder_id, opened, hub_settings, [LIKED, DULL])
    liked, dull = (output.aesthetics for output in judge.derive(list(outputs.values())))
    assert 1 <= dull < liked <= 10


def derived(
    model_id: str, embedder_id: str, opened: Callable[[str], Any], settings: Settings, names: Sequence[str]
) -> tuple[Any, dict[str, Output]]:
    """A model that reads embeddings, and those of some photos by the embedder that it was made for."""
    from importlib import import_module

    from catalogd.models import bundles
    from catalogd.models.devices import Hardware

    entry, embedder = present(model_id, settings), opened(embedder_id)
    module, _, name = entry.made_by.partition(":")
    found = bundles.find(entry.bundle, settings) if entry.bundle else None
    model = getattr(import_module(module), name)(settings, found, Hardware(), embedder)
    model.load()
    return model, looked_at(embedder, names)
