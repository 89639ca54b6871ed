"""TrOCR as second reader, with random weights in its true architecture, against transformers' own way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from catalogd.models import batches, text, trocr
from catalogd.models.bundles import Bundle, FoundBundle
from catalogd.models.devices import Hardware
from catalogd.models.trocr import TrocrModel
from catalogd.settings import Settings
from tests.models.conftest import Frame, sign

pytestmark = pytest.mark.torch

VOCABULARY = ["<s>", "<pad>", "</s>", *"abcdefghijklmnopqrstuvwxyz0123456789"]
START, PAD, END = 0, 1, 2
INPUT_PX = 64
TOKENS = 24  # most of a line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as hubs have it: safetensors, configurations, a tokenizer of single letters."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import (
        PreTrainedTokenizerFast,
        TrOCRConfig,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessor,
    )

    folder = tmp_path_factory.mktemp("trocr")
    torch.manual_seed(5)
    encoder = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=INPUT_PX,
        patch_size=16,
        initializer_range=0.3,
    )
    decoder = TrOCRConfig(
        vocab_size=len(VOCABULARY),
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        max_position_embeddings=80,
        cross_attention_hidden_size=32,
        init_std=0.5,
        use_cache=False,  # as published ones have it
        is_decoder=True,
        add_cross_attention=True,
        tie_word_embeddings=False,
    )
    model = VisionEncoderDecoderModel(
        VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    )
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = END, END, PAD
    model.save_pretrained(folder)
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, "<pad>"))
    inner.decoder = decoders.Fuse()
    specials = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **specials).save_pretrained(folder)
    ViTImageProcessor(
        size={"height": INPUT_PX, "width": INPUT_PX}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(settings: Settings, folder: Path) -> TrocrModel:
    bundle = Bundle("trocr", "", ("*",), ("*.safetensors",), "MIT", True)
    model = TrocrModel(settings, FoundBundle(bundle, folder, "path"), Hardware(threads=1))
    model.load()
    return model


def lines(count: int) -> list[NDArray[np.uint8]]:
    """Cuts of many widths, whose blocks survive any way of resizing."""
    random = np.random.default_rng(3)
    cuts = []
    for index in range(count):
        blocks = random.integers(0, 256, (4, 4, 3), np.uint8)
        cuts.append(np.ascontiguousarray(np.kron(blocks, np.ones((8, 10 + 3 * index, 1), np.uint8))))
    return cuts


def test_lines_are_prepared_as_the_processor_prepares_them(model: TrocrModel, folder: Path) -> None:
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    for cut in lines(4):
        wanted = processor(images=Image.fromarray(cut), return_tensors="np").pixel_values[0]
        # It rounds to whole levels between resizing and normalising.
        assert np.abs(batches.looked_at(cut, model._look) - wanted).max() < 1.5 / 127.5


def one_at_a_time(
    folder: Path, look: batches.Look, cuts: Sequence[NDArray[np.uint8]]
) -> list[tuple[str, float]]:
    """TrOCR's documented way: generate, batch_decode; and the tokens' mean probability."""
    import torch
    from transformers import AutoTokenizer, VisionEncoderDecoderModel

    reference = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    readings = []
    for cut in cuts:
        pixels = torch.from_numpy(batches.looked_at(cut, look))[None]
        with torch.no_grad():
            made = reference.generate(
                pixels,
                max_new_tokens=TOKENS,
                output_scores=True,
                return_dict_in_generate=True,
                do_sample=False,
            )
        tokens = made.sequences[0, 1:]
        steps = torch.stack([step[0] for step in made.scores]).log_softmax(-1)
        score = steps.gather(1, tokens[:, None]).mean().exp()
        (words,) = tokenizer.batch_decode(tokens[None], skip_special_tokens=True)
        readings.append((words, float(score)))
    return readings


def test_lines_read_together_are_read_as_each_alone(
    model: TrocrModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three groups of lines, given out of order."""
    monkeypatch.setattr(trocr, "_LINES_A_RUN", 5)
    monkeypatch.setattr(trocr, "_MOST_TOKENS", TOKENS)
    cuts = lines(14)
    expected = one_at_a_time(folder, model._look, cuts)
    lengths = [len(words) for words, _ in expected]
    assert len(set(lengths)) > 3, "lines should end at different places"
    readings = model.read(cuts, lengths)
    assert [words for words, _ in readings] == [words for words, _ in expected]
    assert [score for _, score in readings] == pytest.approx([score for _, score in expected], abs=1e-3)


def test_of_two_readings_the_surer_is_kept(model: TrocrModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three lines that PP-OCR reads badly, one well, one not at all."""
    frames = [
        sign("HARBOUR 1924"),
        np.full((300, 400, 3), 90, np.uint8),
        page("Oldtown", "Museum", "Library", "Cafe"),
    ]
    first = model._first
    monkeypatch.setattr(first, "read", reader([0.7, 0.85, 0.65, 0.99, 0.1]))
    asked: list[int] = []

    def read(cuts: Sequence[Any], lengths: Sequence[int]) -> list[text.Reading]:
        asked.append(len(cuts))
        return [("second 0", 0.9), ("second 1", 0.5), ("", 0.99)]

    monkeypatch.setattr(model, "read", read)
    outputs = model.run(frames)
    assert asked == [3]
    texts = [[line.text for line in output.text_lines or ()] for output in outputs]
    assert texts == [["second 0"], [], ["line 1", "line 2", "line 3"]]
    assert [line.score for line in outputs[2].text_lines or ()] == [0.85, 0.65, 0.99]


def page(*words: str) -> Frame:
    """One line below the other."""
    return np.concatenate([sign(word, frame=(640, 420)) for word in words])[:, :640]


def reader(scores: list[float]) -> Any:
    def read(found: Sequence[text.Line]) -> list[text.Reading]:
        assert len(found) == len(scores)
        return [(f"line {index}", score) for index, score in enumerate(scores)]

    return read


def refuse(*_: Any) -> Any:
    raise AssertionError("nothing should be read again")


def test_sure_lines_cost_no_second_reading(model: TrocrModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_written", refuse)
    (output,) = model.run([sign("HARBOUR 1924")])
    assert [line.text for line in output.text_lines or ()] == ["HARBOUR 1924"]


def test_lines_in_other_scripts_are_left_to_the_first_reader(
    model: TrocrModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TrOCR would read them as Latin ones, and be sure of it."""
    monkeypatch.setattr(model, "_written", refuse)
    monkeypatch.setattr(model._first, "read", lambda found: [("出口 Exit 12", 0.7)] * len(found))
    (output,) = model.run([sign("HARBOUR 1924")])
    assert [line.text for line in output.text_lines or ()] == ["出口 Exit 12"]


def test_a_line_is_read_again_from_its_own_pixels(model: TrocrModel, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = sign("HARBOUR 1924")
    monkeypatch.setattr(model._first, "read", reader([0.6]))
    seen: list[Any] = []

    def written(cuts: Sequence[Any]) -> list[text.Reading]:
        seen.extend(cuts)
        return [("again", 0.95)]

    monkeypatch.setattr(model, "_written", written)
    (output,) = model.run([frame])
    (line,) = output.text_lines or ()
    assert line.text == "again"
    corners = np.array(line.corners, np.float32) * [frame.shape[1], frame.shape[0]]
    wanted = text.cut_out(frame, corners.astype(np.float32))
    assert np.abs(seen[0].astype(int) - wanted).mean() < 2


def test_a_frame_that_is_no_frame_fails_alone(model: TrocrModel) -> None:
    first, second = model.run([np.zeros((3,), np.uint8), sign("HARBOUR")])
    assert first.error
    assert [line.text for line in second.text_lines or ()] == ["HARBOUR"]


def test_both_readers_are_in_the_fingerprint(model: TrocrModel, settings: Settings) -> None:
    assert text.TextModel(settings, 1).fingerprint in model.fingerprint
    assert model.fingerprint.startswith("trocr@")


def test_no_lines_are_no_readings(model: TrocrModel) -> None:
    assert model.read([], []) == []
    assert model.run([]) == []
    assert isinstance(batches.as_batch([]), batches.Batch)
