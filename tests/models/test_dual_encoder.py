"""Pictures and texts in one space, from pairs of graphs as hubs keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from catalogd.errors import ModelError
from catalogd.models import pairs
from catalogd.models.bundles import FoundBundle
from catalogd.models.devices import Hardware
from catalogd.models.dual_encoder import DualEncoder, text_encoder
from catalogd.records import Output
from catalogd.settings import Settings
from tests.models import pair_factory as factory
from tests.models.conftest import photo

NAMES = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
HARDWARE = Hardware(threads=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model_cache=tmp_path / "cache")


@pytest.fixture
def siglip(tmp_path: Path) -> FoundBundle:
    return factory.open_clip_pair(tmp_path / "siglip")


@pytest.fixture
def clip(tmp_path: Path) -> FoundBundle:
    return factory.open_clip_pair(tmp_path / "clip", factory.CLIP_CONFIG, factory.CLIP_PREPROCESS)


def loaded(found: FoundBundle, settings: Settings) -> DualEncoder:
    model = DualEncoder(settings, found, HARDWARE)
    model.load()
    return model


def vector(output: Output) -> np.ndarray:
    assert output.joint_embedding is not None
    return np.frombuffer(output.joint_embedding, "<f2").astype(np.float32)


def as_documented(found: FoundBundle, frame: np.ndarray) -> np.ndarray:
    """One picture at a time: PIL resizes it, NumPy normalises it, onnxruntime runs the graph as it is."""
    config = json.loads((found.folder / "visual/preprocess_cfg.json").read_text())
    image, size = Image.fromarray(frame), factory.SIZE_PX
    if config["resize_mode"] == "squash":
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    else:
        ratio = size / min(image.size)
        image = image.resize((int(image.width * ratio), int(image.height * ratio)), Image.Resampling.BICUBIC)
        left, top = round((image.width - size) / 2), round((image.height - size) / 2)
        image = image.crop((left, top, left + size, top + size))
    pixels = (np.asarray(image, np.float32) / 255 - config["mean"]) / config["std"]
    session = onnxruntime.InferenceSession(found.folder / "visual/model.onnx")
    (result,) = session.run(None, {"image": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
    return result[0] / np.linalg.norm(result[0])


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_a_batch_gives_what_the_documented_way_gives_for_each_picture(
    kind: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(kind)
    frames = [photo(name) for name in NAMES]
    for frame, output in zip(frames, loaded(found, settings).run(frames), strict=True):
        assert vector(output) @ as_documented(found, frame) >= 0.999
        assert np.linalg.norm(vector(output)) == pytest.approx(1, abs=2e-3)


def test_pictures_that_differ_have_vectors_that_differ(clip: FoundBundle, settings: Settings) -> None:
    """Else the likeness to the documented way would say little."""
    vectors = np.array([vector(output) for output in loaded(clip, settings).run([photo(n) for n in NAMES])])
    assert (vectors @ vectors.T)[np.triu_indices(len(NAMES), 1)].max() < 0.99


@pytest.mark.parametrize("batch", [1, "n"])
def test_a_batch_gives_what_one_at_a_time_gives(batch: Any, tmp_path: Path, settings: Settings) -> None:
    model = loaded(factory.open_clip_pair(tmp_path / "pair", batch=batch), settings)
    frames = [photo(name) for name in NAMES]
    for frame, together in zip(frames, model.run(frames), strict=True):
        assert vector(model.run([frame])[0]) == pytest.approx(vector(together), abs=1e-3)


def runs(model: DualEncoder, monkeypatch: pytest.MonkeyPatch, frames: list[np.ndarray]) -> list[int]:
    """How many pictures went through the graph at a time."""
    assert model._tower is not None
    counts, run = [], model._tower._session.run
    monkeypatch.setattr(
        model._tower._session, "run", lambda *inputs: counts.append(len(inputs[0])) or run(*inputs)
    )
    assert all(output.error is None for output in model.run(frames))
    return counts


def test_a_graph_exported_for_one_picture_takes_a_batch(
    siglip: FoundBundle, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(siglip, settings)
    assert runs(model, monkeypatch, [photo(name) for name in NAMES]) == [4]
    model.unload()
    model.load()
    assert len(list(settings.model_cache.glob("visual-model-*"))) == 1


def test_a_graph_that_does_not_take_a_batch_is_run_one_picture_at_a_time(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = factory.open_clip_pair(tmp_path / "pair")
    factory.save(factory.visual_graph(merges=True), found.folder / "visual/model.onnx")
    model = loaded(found, settings)
    frames = [photo(name) for name in NAMES]
    assert runs(model, monkeypatch, frames) == [1, 1, 1, 1]
    for frame, output in zip(frames, model.run(frames), strict=True):
        assert vector(output) @ as_documented(found, frame) >= 0.999


def test_a_frame_that_is_no_frame_fails_alone(siglip: FoundBundle, settings: Settings) -> None:
    model = loaded(siglip, settings)
    first, broken, last = model.run([photo(NAMES[0]), np.zeros((9, 9), np.uint8), photo(NAMES[1])])
    assert broken.error
    assert broken.joint_embedding is None
    assert vector(first) == pytest.approx(vector(model.run([photo(NAMES[0])])[0]), abs=1e-3)
    assert last.error is None
    assert model.run([]) == []


def test_no_memory_is_not_taken_for_a_broken_frame(
    siglip: FoundBundle, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(siglip, settings)

    def refuse(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(model._tower, "run", refuse)
    with pytest.raises(MemoryError):
        model.run([photo(NAMES[0]), photo(NAMES[1])])


def test_the_name_tells_the_model_and_the_fingerprint_its_weights(
    siglip: FoundBundle, clip: FoundBundle, settings: Settings
) -> None:
    model = DualEncoder(settings, siglip, HARDWARE)
    assert model.name == "embedding:tiny-pair"
    assert model.fingerprint.startswith(f"tiny-pair@{siglip.short_hash}.")
    factory.save(factory.visual_graph("n"), siglip.folder / "visual/model.onnx")
    changed = FoundBundle(siglip.bundle, siglip.folder, "path")
    assert DualEncoder(settings, changed, HARDWARE).fingerprint != model.fingerprint


# -- texts ----------------------------------------------------------------------------------------


def tokens_as_documented(found: FoundBundle, ids: list[int], name: str = "textual/model.onnx") -> np.ndarray:
    session = onnxruntime.InferenceSession(found.folder / name)
    given = session.get_inputs()[0]
    kind = np.int32 if "int32" in given.type else np.int64
    result = session.run(None, {given.name: np.array([ids], kind)})[-1][0]
    return result / np.linalg.norm(result)


def number(word: str) -> int:
    return 4 + factory.WORDS.index(word)


def test_siglip_reads_a_query_without_case_and_punctuation_filled_up_with_its_own_token(
    siglip: FoundBundle, settings: Settings
) -> None:
    encoder = text_encoder(settings, siglip)
    (found,) = encoder.encode(["  A red, red CAR! "])
    ids = [number("a"), number("red"), number("red"), number("car"), 2]
    assert found @ tokens_as_documented(siglip, ids + [3] * 7) == pytest.approx(1, abs=1e-5)
    assert encoder.space == DualEncoder(settings, siglip, HARDWARE).fingerprint


def test_clip_reads_a_query_as_a_caption_filled_up_with_zeros(clip: FoundBundle, settings: Settings) -> None:
    encoder = text_encoder(settings, clip)
    caption = [number(word) for word in ("a", "photo", "of", "cat")]
    expected = tokens_as_documented(clip, [*caption, 2, 0, 0, 0, 0, 0])
    for text in ("cat", "A photo of Cat"):
        assert encoder.encode([text])[0] @ expected == pytest.approx(1, abs=1e-5)


def test_a_text_that_is_too_long_is_cut_and_still_ends(clip: FoundBundle, settings: Settings) -> None:
    found = text_encoder(settings, clip).vectors(["dog " * 50])[0]
    expected = tokens_as_documented(clip, [number("dog")] * 9 + [2])
    assert found @ expected == pytest.approx(1, abs=1e-5)


def test_texts_do_not_depend_on_their_neighbours(tmp_path: Path, settings: Settings) -> None:
    for found in (factory.open_clip_pair(tmp_path / "one"), factory.transformers_pair(tmp_path / "many")):
        encoder = text_encoder(settings, found)
        texts = ["cat", "a red dog", "", "Ein Hund am Strand"] * 10
        together = encoder.encode(texts)
        assert together.shape == (40, factory.DIMENSIONS)
        alone = np.concatenate([encoder.encode([text]) for text in texts])
        assert together == pytest.approx(alone, abs=1e-6)
        assert encoder.encode([]).shape[0] == 0


def test_the_text_tower_opens_from_the_cache_with_its_weights_beside_it(
    siglip: FoundBundle, settings: Settings
) -> None:
    before = text_encoder(settings, siglip).encode(["cat"])
    (folder,) = settings.model_cache.glob("tiny-pair-textual-*")
    table = 64 * factory.WIDTH * 4
    assert (folder / "weights.bin").stat().st_size > table
    assert (folder / "model.onnx").stat().st_size < table
    (siglip.folder / "textual/model.onnx").write_bytes(b"")
    kept = FoundBundle(siglip.bundle, siglip.folder, "path")
    kept.__dict__["short_hash"] = siglip.short_hash
    assert np.array_equal(text_encoder(settings, kept).encode(["cat"]), before)


# -- layouts --------------------------------------------------------------------------------------


def test_exports_for_transformers_js_are_read_by_the_names_of_their_outputs(
    tmp_path: Path, settings: Settings
) -> None:
    found = factory.transformers_pair(tmp_path / "js")
    (output,) = loaded(found, settings).run([photo("coffee.png")])
    image = Image.fromarray(photo("coffee.png")).resize((factory.SIZE_PX,) * 2, Image.Resampling.BILINEAR)
    pixels = (np.asarray(image, np.float32) / 255 - 0.5) / 0.5
    session = onnxruntime.InferenceSession(found.folder / "onnx/vision_model.onnx")
    given = {"pixel_values": pixels.transpose(2, 0, 1)[None].astype(np.float32)}
    (expected,) = session.run(["pooler_output"], given)
    assert vector(output) @ (expected[0] / np.linalg.norm(expected[0])) >= 0.999
    (words,) = text_encoder(settings, found).vectors(["Red car"])
    ids = [number("red"), number("car"), 2] + [3] * 9
    assert words @ tokens_as_documented(found, ids, "onnx/text_model.onnx") == pytest.approx(1, abs=1e-5)


def test_a_quantised_export_is_taken_where_there_is_no_exact_one(tmp_path: Path) -> None:
    found = factory.transformers_pair(tmp_path / "js")
    exact = found.folder / "onnx/vision_model.onnx"
    exact.rename(exact.with_name("vision_model_quantized.onnx"))
    assert pairs.read_pair(found.folder).visual.name == "vision_model_quantized.onnx"


def test_clip_in_transformers_cuts_the_middle_out(tmp_path: Path) -> None:
    found = factory.transformers_pair(
        tmp_path / "js",
        "clip",
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        do_center_crop=True,
        resample=3,
    )
    pair = pairs.read_pair(found.folder)
    assert (pair.look.fit, pair.look.filter, pair.look.size) == ("crop", "bicubic", (64, 64))
    assert pair.wording == pairs.CLIP_WORDING
    assert pair.logits == pairs.Logits(100.0)


def test_mobileclip_sees_levels_as_they_are(tmp_path: Path) -> None:
    found = factory.transformers_pair(
        tmp_path / "js",
        "clip",
        size={"shortest_edge": 256},
        crop_size={"height": 256, "width": 256},
        do_center_crop=True,
        do_normalize=False,
    )
    look = pairs.read_pair(found.folder).look
    assert (look.size, look.fit, look.filter) == ((256, 256), "crop", "bilinear")
    assert (look.mean, look.scale) == ((0.0,) * 3, pytest.approx((1 / 255,) * 3))


def test_a_cut_that_is_smaller_than_the_resized_picture_is_refused(tmp_path: Path) -> None:
    found = factory.transformers_pair(
        tmp_path / "js", "clip", size={"shortest_edge": 256}, crop_size=224, do_center_crop=True
    )
    with pytest.raises(ModelError, match="centre crop"):
        pairs.read_pair(found.folder)


def test_logits_are_the_exports_own_where_it_has_them(tmp_path: Path) -> None:
    config = factory.SIGLIP_CONFIG | {"logit_scale": float(np.log(80.0)), "logit_bias": -9.5}
    found = factory.open_clip_pair(tmp_path / "pair", config)
    logits = pairs.read_pair(found.folder).logits
    assert (logits.scale, logits.bias) == (pytest.approx(80.0), -9.5)
    assert pairs.open_clip_logits(factory.SIGLIP_CONFIG) == pairs.SIGLIP2_LOGITS
    first = {"init_logit_bias": -10, "text_cfg": {"vocab_size": 32_000}}
    assert pairs.open_clip_logits(first) == pairs.SIGLIP_LOGITS


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("visual", "neither visual/"),
        ("visual/model.onnx", "visual/model.onnx is missing"),
        ("textual/tokenizer.json", "tokenizer.json is missing"),
        ("config.json", "config.json is missing"),
    ],
)
def test_what_is_missing_in_a_folder_is_named(
    missing: str, told: str, siglip: FoundBundle, settings: Settings
) -> None:
    _ = siglip.short_hash
    path = siglip.folder / missing
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(ModelError, match=told):
        DualEncoder(settings, siglip, HARDWARE)


def test_a_config_that_is_none_is_named(siglip: FoundBundle, settings: Settings) -> None:
    (siglip.folder / "visual/preprocess_cfg.json").write_text("{")
    with pytest.raises(ModelError, match=r"preprocess_cfg\.json is no JSON"):
        DualEncoder(settings, siglip, HARDWARE)


def test_a_padding_token_that_the_tokenizer_does_not_know_is_named(
    siglip: FoundBundle, settings: Settings
) -> None:
    factory.write(siglip.folder / "textual/tokenizer_config.json", {"pad_token": "<nothing>"})
    with pytest.raises(ModelError, match="<nothing>"):
        text_encoder(settings, siglip)


def test_a_graph_that_is_none_is_named(siglip: FoundBundle, settings: Settings) -> None:
    (siglip.folder / "visual/model.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"visual/model\.onnx"):
        loaded(siglip, settings)
