"""Grounding DINO with random weights in its true architecture, against transformers' own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from catalogd.errors import ModelError, SettingsError
from catalogd.models import grounding
from catalogd.models.batches import looked_at
from catalogd.models.bundles import Bundle, FoundBundle
from catalogd.models.devices import Hardware
from catalogd.models.grounding import GroundingModel, chunks, words_of
from catalogd.models.objects import COCO_NAMES
from catalogd.records import ObjectBox
from catalogd.settings import Settings
from tests.models.conftest import Frame

pytestmark = pytest.mark.torch

WORDS = ("cat", "red fire truck", "dog", "old clock tower", "bridge")
PIECES = ["cat", "red", "fire", "truck", "dog", "old", "clock", "tower", "bridge", "##s"]
MOST_TOKENS = 12  # so that the words need two passes
SHORT, LONG = 96, 160


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as hubs have it: safetensors, configurations, BERT's tokenizer with few words."""
    import torch
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        SwinConfig,
    )

    folder = tmp_path_factory.mktemp("grounding")
    names = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    vocabulary = [names.get(i, f"[unused{i}]") for i in range(1030)] + PIECES
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": SHORT, "longest_edge": LONG}).save_pretrained(
        folder
    )
    torch.manual_seed(4)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            initializer_range=0.2,
        ),
        d_model=32,
        num_queries=30,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_text_len=MOST_TOKENS,
    )
    model = GroundingDinoForObjectDetection(config)
    with torch.no_grad():  # heads start at zero, and would put every box in the same place
        for head in model.bbox_embed:
            head.layers[-1].weight.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


def opened(folder: Path, prompts: Path | None, tmp_path: Path, precision: str = "fp32") -> GroundingModel:
    if prompts is None:
        prompts = tmp_path / "words.txt"
        prompts.write_text("\n".join(WORDS))
    found = FoundBundle(Bundle("dino", "", ("*",), ("*.safetensors",), "Apache-2.0", True), folder, "path")
    settings = Settings(object_prompts=prompts)
    model = GroundingModel(settings, found, Hardware(threads=1, precision=precision))
    model.load()
    return model


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> GroundingModel:
    return opened(folder, None, tmp_path_factory.mktemp("words"))


def frames() -> list[Frame]:
    """Two shapes that go through together, and one that is alone with its own."""
    random = np.random.default_rng(8)
    made = []
    for rows, columns in ((12, 16), (16, 12), (12, 16), (12, 20)):
        blocks = random.integers(0, 256, (rows, columns, 3), np.uint8)
        made.append(np.kron(blocks, np.ones((16, 16, 1), np.uint8)))
    return made


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    from transformers import AutoTokenizer, GroundingDinoForObjectDetection, GroundingDinoProcessor
    from transformers import GroundingDinoImageProcessorPil as ImageProcessor

    network = GroundingDinoForObjectDetection.from_pretrained(folder, attn_implementation="eager").eval()
    processor = GroundingDinoProcessor(
        ImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    )
    return network, processor


def one_by_one(reference: Any, pixels: Any, words: tuple[str, ...]) -> Any:
    """The library's documented way: one picture, one text, its own post-processing."""
    import torch

    network, processor = reference
    text = processor.tokenizer(". ".join(words) + ".", return_tensors="pt")
    with torch.no_grad():
        outputs = network(
            pixel_values=pixels, pixel_mask=torch.ones(1, *pixels.shape[-2:], dtype=torch.long), **text
        )
    (result,) = processor.post_process_grounded_object_detection(
        outputs, text.input_ids, threshold=0.35, text_threshold=0.25, target_sizes=[(1, 1)]
    )
    return result


def passes() -> list[tuple[str, ...]]:
    return [WORDS[:3], WORDS[3:]]


def test_boxes_are_those_of_one_picture_and_one_text_at_a_time(
    model: GroundingModel, reference: Any, folder: Path
) -> None:
    import torch

    found = sure(model.run(frames()))
    count = 0
    for frame, objects in zip(frames(), found, strict=True):
        look = model._looks.of(frame)

        pixels = torch.from_numpy(looked_at(frame, look))[None]
        wanted = []
        for words in passes():
            result = one_by_one(reference, pixels, words)
            wanted += list(
                zip(result["scores"].tolist(), result["boxes"].tolist(), result["text_labels"], strict=True)
            )
        wanted = sorted((row for row in wanted if spoken(row[2])), key=lambda row: -row[0])
        assert [item.score for item in objects] == pytest.approx([row[0] for row in wanted], abs=1e-4)
        for item, (_, edges, phrase) in zip(objects, wanted, strict=True):
            left, top, right, bottom = np.clip(edges, 0, 1)
            assert item.box == pytest.approx((left, top, right - left, bottom - top), abs=1e-3)
            # Theirs is put together of all tokens that score enough; ours is among them, and whole.
            assert set(item.name.split()) & spoken(phrase)
            count += 1
    assert count > 20, "random weights should find something"


def spoken(phrase: str) -> set[str]:
    """The words in a label of the library, which may have separators, too, or nothing else."""
    return set(phrase.replace(".", " ").split()) - {"[SEP]", "[CLS]"}


def sure(outputs: Any) -> list[tuple[ObjectBox, ...]]:
    assert not any(output.error for output in outputs), [output.error for output in outputs]
    return [output.objects for output in outputs]


def test_pixels_are_those_of_the_processor(model: GroundingModel, reference: Any) -> None:
    """Where both edges come out alike; it rounds to whole levels between resizing and normalising."""

    for frame in frames()[:2]:
        wanted = (
            reference[1].image_processor(images=Image.fromarray(frame), return_tensors="np").pixel_values[0]
        )
        pixels = looked_at(frame, model._looks.of(frame))
        assert pixels.shape == wanted.shape
        assert np.abs(pixels - wanted).max() < 1.5 / (255 * 0.224)


def test_a_batch_gives_what_one_at_a_time_gives(model: GroundingModel) -> None:
    together = sure(model.run(frames()))
    for frame, objects in zip(frames(), together, strict=True):
        (alone,) = sure(model.run([frame]))
        assert [item.name for item in objects] == [item.name for item in alone]
        assert [item.score for item in objects] == pytest.approx([item.score for item in alone], abs=1e-4)


def test_pictures_are_seen_once_and_words_never_again(
    model: GroundingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = model._network
    assert network is not None
    seen: list[Any] = []
    see = network._see

    def counted(pixels: Any, mask: Any) -> Any:
        seen.append(tuple(pixels.shape))
        return see(pixels, mask)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("words are read at load()")

    monkeypatch.setattr(network, "_see", counted)
    monkeypatch.setattr(network, "_read", refuse)
    model.run(frames())
    assert len(network._chunks) == 2
    assert sorted(seen) == [(1, 3, 96, 160), (1, 3, 128, 96), (2, 3, 96, 128)]


def test_words_are_divided_between_passes_whole(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = chunks(WORDS, tokenizer, MOST_TOKENS)
    assert [chunk.words for chunk in made] == passes()
    for chunk in made:
        assert len(chunk.tokens) <= MOST_TOKENS
        assert list(chunk.tokens) == tokenizer(". ".join(chunk.words) + ".").input_ids
        for number, word in enumerate(chunk.words):
            own = [token for token, owner in zip(chunk.tokens, chunk.owners, strict=True) if owner == number]
            assert tokenizer.decode(own) == word
    assert len(chunks(WORDS, tokenizer, 256)) == 1
    with pytest.raises(ModelError, match="red fire truck"):
        chunks(WORDS, tokenizer, 5)


def test_reduced_precision_runs_and_finds_about_the_same(
    folder: Path, model: GroundingModel, tmp_path: Path
) -> None:
    (whole,) = sure(model.run(frames()[:1]))
    (half,) = sure(opened(folder, None, tmp_path, "bf16").run(frames()[:1]))
    assert len(half) == pytest.approx(len(whole), rel=0.35)
    assert half[0].score == pytest.approx(whole[0].score, abs=0.1)


def test_boxes_stay_inside_the_frame_and_the_surest_come_first(model: GroundingModel) -> None:
    for objects in sure(model.run(frames())):
        scores = [item.score for item in objects]
        assert scores == sorted(scores, reverse=True)
        for item in objects:
            x, y, width, height = item.box
            assert min(x, y) >= 0
            assert max(x + width, y + height) <= 1.00001


def test_a_frame_that_is_no_frame_fails_alone(model: GroundingModel) -> None:
    first, second = model.run([np.zeros((3,), np.uint8), frames()[0]])
    assert first.error
    assert second.objects


def test_what_is_not_a_number_fails_its_frame_alone(
    model: GroundingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = model._network
    assert network is not None
    detector = network._detector

    def spoiled(**inputs: Any) -> Any:
        out = detector(**inputs)
        out.logits[0] = np.nan
        return out

    spoiled.device = detector.device  # type: ignore[attr-defined]
    monkeypatch.setattr(network, "_detector", spoiled)
    first, other, second = model.run([frames()[0], frames()[1], frames()[2]])
    assert first.error
    assert "not a number" in first.error
    assert other.error
    assert second.objects


def test_the_list_of_words_is_read_and_in_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    assert words_of(None) == COCO_NAMES
    path = tmp_path / "words.txt"
    path.write_text("# animals\ncat\n\n  old   dog \ncat\n")
    assert words_of(path) == ("cat", "old dog")
    found = FoundBundle(Bundle("dino", "", ("*",), ("*.safetensors",), "Apache-2.0", True), folder, "path")
    prints = set()
    for words in ("cat\n", "cat\n# a comment\n", "cat\ndog\n"):
        path.write_text(words)
        prints.add(GroundingModel(Settings(object_prompts=path), found, Hardware()).fingerprint)
    assert len(prints) == 2


@pytest.mark.parametrize(("words", "message"), [("", "no words"), ("a. b", "a\\. b"), ("who?", "who")])
def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path, words: str, message: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(words)
    with pytest.raises(SettingsError, match=message):
        words_of(path)
    with pytest.raises(SettingsError, match="can't be read"):
        words_of(tmp_path / "nothing")


def test_shapes_are_few(model: GroundingModel) -> None:
    """Of cameras' formats, give or take the pixels of a crop."""
    real = grounding._Looks({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    for height in (853, 960):
        sizes = {real.of(np.zeros((height + i, 1280, 3), np.uint8)).size for i in range(-5, 6)}
        assert len(sizes) == 1
        ((short, long),) = sizes
        assert short == 800
        assert long / short == pytest.approx(1280 / height, rel=0.021)
    panorama: NDArray[np.uint8] = np.zeros((200, 1280, 3), np.uint8)
    assert model._looks.of(panorama).size == (32, 160)
