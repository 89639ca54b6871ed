"""Captioners that run here, with random weights in their true architecture, against transformers' own way.

The reference takes one picture and one prompt at a time, through the library's own processors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from catalogd.errors import ModelError
from catalogd.models.batches import Batch
from catalogd.models.bundles import Bundle, FoundBundle
from catalogd.models.captions import florence as florence_module
from catalogd.models.captions import local
from catalogd.models.captions import qwen as qwen_module
from catalogd.models.captions.blip2 import Blip2Captions
from catalogd.models.captions.florence import FlorenceCaptions
from catalogd.models.captions.qwen import Patches, QwenCaptions
from catalogd.models.devices import CPU, Hardware
from catalogd.settings import Settings

pytestmark = pytest.mark.torch

QUESTIONS = ("Is it indoors?", "How many animals are there in this picture, and of which kind?", "Colour?")
MOST = 24  # tokens to write: enough to differ, and quick
SOFT = (50, 206)  # levels: what bicubic filters shoot over at hard edges is cut off at 0 and 255 by PIL alone
Frame = NDArray[np.uint8]
Tokens = list[list[list[int]]]  # for each frame those of its caption and answers


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(florence_module, "_MOST_TOKENS", MOST)
    monkeypatch.setattr(qwen_module, "_MOST_TOKENS", MOST)


def frames(sizes: Sequence[tuple[int, int]], levels: tuple[int, int] = (0, 256)) -> list[Frame]:
    """Frames of noise in blocks, each unlike the others."""
    rng = np.random.default_rng(7)
    made = []
    for height, width in sizes:
        blocks = rng.integers(*levels, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        made.append(np.ascontiguousarray(np.kron(blocks, np.ones((8, 8, 1), np.uint8))[:height, :width]))
    return made


def tokenizer(folder: Path, specials: dict[str, str], first: str = "", template: str = "") -> Any:
    """Bytes as tokens, and special ones; `first` is put before each text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {token: index for index, token in enumerate([*specials.values(), *alphabet])}
    inner = Tokenizer(models.BPE(ids, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if first:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, ids[first])]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        extra_special_tokens={"image_token": "<image>"} if not first else {},
        **{name: specials[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")},
    )
    made.add_special_tokens({"additional_special_tokens": [*specials.values()][4:]})
    if template:
        made.chat_template = template
    made.save_pretrained(folder)
    return made


def saved(model: Any, folder: Path, seed: int = 3, spread: float = 0.15) -> None:
    """The model with weights so unlike each other that every picture and prompt gets words of its own."""
    import torch

    torch.manual_seed(seed)
    for name, part in model.named_parameters():
        if part.ndim > 1:
            torch.nn.init.normal_(part, std=spread)
        elif "bias" in name:
            torch.nn.init.normal_(part, std=0.02)
    model.eval().save_pretrained(folder)


def processor_file(folder: Path, **changes: Any) -> None:
    settings = {"image_mean": [0.48, 0.45, 0.40], "image_std": [0.26, 0.27, 0.28], "resample": 3, **changes}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")


def found(folder: Path, model: str) -> FoundBundle:
    bundle = Bundle(model, "", ("*",), ("*.safetensors",), "MIT", True)
    return FoundBundle(bundle, folder, "path")


def asking(folder: Path) -> Settings:
    file = folder / "questions.txt"
    file.write_text("\n".join(QUESTIONS), "utf-8")
    return Settings(questions=file)


def written(model: local.LocalCaptioner, pictures: Sequence[Frame]) -> Tokens:
    """What a model writes for some pictures, as tokens that are words; its outputs have no error."""
    rows: list[list[int]] = []
    decode = model._decoded

    def recorded(tokens: Sequence[Sequence[int]]) -> list[str]:
        rows.extend(words(row) for row in tokens)
        return decode(tokens)

    model._decoded = recorded  # type: ignore[method-assign]
    outputs = model.run(pictures)
    assert [output.error for output in outputs] == [None] * len(pictures)
    each = len(rows) // len(pictures)
    return [rows[start : start + each] for start in range(0, len(rows), each)]


def words(tokens: Sequence[int]) -> list[int]:
    """Without the tokens that begin, end and fill."""
    return [token for token in map(int, tokens) if token not in (0, 1, 2, 6)]


def different(rows: Tokens) -> int:
    return len({tuple(row) for photo in rows for row in photo})


# ── Florence-2 ────────────────────────────────────────────────────────────────────────────────

SPECIALS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "image_token": "<image>",
}
WORDS = 261  # bytes and special tokens


@pytest.fixture(scope="module")
def florence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration

    folder = tmp_path_factory.mktemp("florence")
    tokenizer(folder, SPECIALS)
    text = BartConfig(
        vocab_size=WORDS,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=256,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )
    vision = {
        "depths": (1, 1, 1, 1),
        "embed_dim": (8, 16, 16, 32),
        "num_heads": (1, 2, 2, 2),
        "num_groups": (1, 2, 2, 2),
        "window_size": 4,
        "projection_dim": 32,
    }
    config = Florence2Config(text_config=text.to_dict(), vision_config=vision, image_token_id=4)
    model = Florence2ForConditionalGeneration(config)
    model.generation_config.update(
        num_beams=3, early_stopping=True, no_repeat_ngram_size=3, forced_bos_token_id=0,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    saved(model, folder)
    size = {"height": 128, "width": 128}
    processor_file(folder, size=size, do_center_crop=False)  # image_seq_length is left out of some folders
    return folder


def florence_reference(folder: Path, pictures: Sequence[Frame]) -> Tokens:
    import torch
    from transformers import (
        AutoTokenizer,
        CLIPImageProcessor,
        Florence2ForConditionalGeneration,
        Florence2Processor,
    )

    images = CLIPImageProcessor.from_pretrained(folder)
    images.image_seq_length = 17
    processor = Florence2Processor(images, AutoTokenizer.from_pretrained(folder))
    model = Florence2ForConditionalGeneration.from_pretrained(folder)
    rows = []
    for picture in pictures:
        inputs = processor(text="<DETAILED_CAPTION>", images=Image.fromarray(picture), return_tensors="pt")
        with torch.no_grad():
            tokens = model.generate(**inputs, max_new_tokens=MOST)
        rows.append([words(tokens[0])])
    return rows


def test_florence_writes_what_it_writes_one_by_one(florence: Path) -> None:
    pictures = frames([(128, 128)] * 5)
    model = FlorenceCaptions(Settings(), found(florence, "florence-2-base"), Hardware())
    model.load()
    rows = written(model, pictures)
    model.unload()
    assert rows == florence_reference(florence, pictures)
    assert different(rows) >= 3


def test_florence_answers_nothing_so_questions_do_not_make_it_stale(florence: Path, tmp_path: Path) -> None:
    plain = FlorenceCaptions(Settings(), found(florence, "florence-2-base"), Hardware())
    asked = FlorenceCaptions(asking(tmp_path), found(florence, "florence-2-base"), Hardware())
    assert plain.fingerprint == asked.fingerprint
    assert plain.fingerprint.startswith("florence-2-base@")


# ── BLIP-2 ────────────────────────────────────────────────────────────────────────────────────

SIGHT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def opt() -> Any:
    from transformers import OPTConfig

    return OPTConfig(
        vocab_size=WORDS,
        hidden_size=32,
        ffn_dim=48,
        word_embed_proj_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )


def t5() -> Any:
    from transformers import T5Config

    return T5Config(
        vocab_size=WORDS,
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )


@pytest.fixture(scope="module", params=[opt, t5], ids=["opt", "flan-t5"])
def blip2(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2QFormerConfig, Blip2VisionConfig

    folder = tmp_path_factory.mktemp("blip2")
    tokenizer(folder, SPECIALS, first="<s>")
    queries = Blip2QFormerConfig(vocab_size=WORDS, encoder_hidden_size=32, **SIGHT)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(image_size=56, patch_size=14, **SIGHT).to_dict(),
        qformer_config=queries.to_dict(),
        text_config=request.param().to_dict(),
        num_query_tokens=8,
        image_token_index=4,
    )
    model = Blip2ForConditionalGeneration(config)
    saved(model, folder, spread=0.4)
    processor_file(folder, size={"height": 56, "width": 56})
    (folder / "processor_config.json").write_text('{"num_query_tokens": 8}', "utf-8")
    return folder


def blip2_reference(folder: Path, pictures: Sequence[Frame]) -> Tokens:
    import torch
    from transformers import AutoTokenizer, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor

    images = BlipImageProcessor.from_pretrained(folder)
    processor = Blip2Processor(images, AutoTokenizer.from_pretrained(folder), num_query_tokens=8)
    model = Blip2ForConditionalGeneration.from_pretrained(folder)
    rows = []
    for picture in pictures:
        row = []
        for text in (None, *(f"Question: {question} Answer:" for question in QUESTIONS)):
            image = Image.fromarray(picture)
            inputs = processor(images=image, text=text, return_tensors="pt")
            with torch.no_grad():
                tokens = model.generate(**inputs, max_new_tokens=40, do_sample=False)[0]
            if config_is_decoder(model) and "input_ids" in inputs:
                tokens = tokens[inputs["input_ids"].shape[1] :]
            elif config_is_decoder(model):
                tokens = tokens[9:]  # the places of the picture and the first token
            row.append(words(tokens))
        rows.append(row)
    return rows


def config_is_decoder(model: Any) -> bool:
    return bool(model.config.use_decoder_only_language_model)


@pytest.fixture
def blip2_model(blip2: Path, tmp_path: Path) -> Iterator[Blip2Captions]:
    model = Blip2Captions(asking(tmp_path), found(blip2, "blip2-tiny"), Hardware())
    model.load()
    yield model
    model.unload()


def test_blip2_writes_what_it_writes_one_by_one(blip2: Path, blip2_model: Blip2Captions) -> None:
    pictures = frames([(56, 56)] * 4)
    rows = written(blip2_model, pictures)
    assert rows == blip2_reference(blip2, pictures)
    assert different(rows) > 8  # of 16: pictures and prompts make a difference


def test_blip2_looks_at_each_photo_once_however_many_questions_there_are(
    blip2_model: Blip2Captions, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[int]] = {"vision": [], "queries": [], "language": []}
    count(blip2_model._model.vision_model, seen["vision"], monkeypatch)
    count(blip2_model._model.qformer, seen["queries"], monkeypatch)
    generate = blip2_model._model.language_model.generate

    def generated(**inputs: Any) -> Any:
        seen["language"].append(len(inputs["inputs_embeds"]))
        return generate(**inputs)

    monkeypatch.setattr(blip2_model._model.language_model, "generate", generated)
    blip2_model.run(frames([(80, 60), (56, 90), (56, 56)]))
    assert seen["vision"] == seen["queries"] == [3]
    assert sum(seen["language"]) == 12
    assert len(seen["language"]) <= 3  # groups of prompts of like length, all photos in each


def count(part: Any, calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    forward = part.forward

    def counted(*arguments: Any, **named: Any) -> Any:
        rows = arguments[0] if arguments else named.get("pixel_values", named.get("query_embeds"))
        calls.append(len(rows))
        return forward(*arguments, **named)

    monkeypatch.setattr(part, "forward", counted)


def test_blip2_without_questions_writes_the_same_captions(blip2: Path, blip2_model: Blip2Captions) -> None:
    pictures = frames([(70, 100), (100, 70)])
    plain = Blip2Captions(Settings(), found(blip2, "blip2-tiny"), Hardware())
    plain.load()
    assert [output.caption for output in plain.run(pictures)] == [
        output.caption for output in blip2_model.run(pictures)
    ]
    assert plain.fingerprint != blip2_model.fingerprint


def test_a_flan_t5_is_not_run_in_fp16(blip2: Path, tmp_path: Path) -> None:
    model = Blip2Captions(Settings(), found(blip2, "blip2-tiny"), Hardware(precision="fp16"))
    is_t5 = "t5" in json.loads((blip2 / "config.json").read_text("utf-8"))["text_config"]["model_type"]
    assert model._steady().precision == ("fp32" if is_t5 else "fp16")


# ── Qwen-VL ───────────────────────────────────────────────────────────────────────────────────

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><image><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHAT = {
    **SPECIALS,
    "start": "<|im_start|>",
    "end": "<|im_end|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
    "video": "<|video_pad|>",
}
TEXT = {
    "vocab_size": 266,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 6,
}
IDS = {"image_token_id": 4, "video_token_id": 9, "vision_start_token_id": 7, "vision_end_token_id": 8}


def qwen2(patch: int = 14) -> Any:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    rope = {"type": "mrope", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": patch}
    config = Qwen2VLConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision, **IDS)
    return Qwen2VLForConditionalGeneration(config)


def qwen25() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    rope = {"type": "mrope", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 32,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    config = Qwen2_5_VLConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision, **IDS)
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen3() -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    rope = {
        "rope_type": "default",
        "mrope_section": [3, 3, 2],
        "mrope_interleaved": True,
        "rope_theta": 10000.0,
    }
    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    config = Qwen3VLConfig(
        text_config={**TEXT, "head_dim": 16, "rope_parameters": rope}, vision_config=vision, **IDS
    )
    return Qwen3VLForConditionalGeneration(config)


@pytest.fixture(scope="module", params=[qwen2, qwen25, qwen3], ids=["2", "2.5", "3"])
def qwen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer(folder, CHAT, template=TEMPLATE)
    make: Callable[[], Any] = request.param
    model = make()
    model.generation_config.update(bos_token_id=0, pad_token_id=1, eos_token_id=[6, 1])
    saved(model, folder)
    edge = model.config.vision_config.patch_size
    processor_file(folder, patch_size=edge, merge_size=2, temporal_patch_size=2)
    return folder


def qwen_images(folder: Path) -> Any:
    """The library's processor of pictures, with catalogd's bounds."""
    from transformers import Qwen2VLImageProcessor

    step = 2 * json.loads((folder / "preprocessor_config.json").read_text("utf-8"))["patch_size"]
    bounds = {"shortest_edge": 16 * step**2, "longest_edge": 512 * step**2}
    return Qwen2VLImageProcessor.from_pretrained(folder, size=bounds)


def qwen_reference(folder: Path, pictures: Sequence[Frame]) -> Tokens:
    import torch
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    images, library = qwen_images(folder), AutoTokenizer.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    caption = "Describe this photo in one or two plain sentences."
    rows = []
    for picture in pictures:
        row = []
        for text in (caption, *(f"{question} Answer in a few words." for question in QUESTIONS)):
            seen = images(images=Image.fromarray(picture), return_tensors="pt")
            content = [{"type": "image"}, {"type": "text", "text": text}]
            prompt = library.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
            places = int(seen["image_grid_thw"].prod()) // 4
            asked = library(prompt.replace("<image>", "<image>" * places), return_tensors="pt")
            kinds = (asked["input_ids"] == 4).int()
            with torch.no_grad():
                tokens = model.generate(
                    input_ids=asked["input_ids"],
                    attention_mask=asked["attention_mask"],
                    mm_token_type_ids=kinds,
                    max_new_tokens=MOST,
                    do_sample=False,
                    **seen,
                )
            row.append(words(tokens[0, asked["input_ids"].shape[1] :]))
        rows.append(row)
    return rows


def test_qwen_writes_what_it_writes_one_by_one(qwen: Path, tmp_path: Path) -> None:
    step = 2 * json.loads((qwen / "preprocessor_config.json").read_text("utf-8"))["patch_size"]
    pictures = frames([(5 * step, 4 * step), (4 * step, 6 * step), (5 * step, 4 * step)])
    model = QwenCaptions(asking(tmp_path), found(qwen, "qwen-vl-tiny"), Hardware())
    model.load()
    rows = written(model, pictures)
    model.unload()
    assert rows == qwen_reference(qwen, pictures)
    assert different(rows) >= 6  # of 12: pictures and prompts make a difference


@pytest.mark.parametrize("size", [(400, 300), (1280, 853), (40, 900), (30, 30), (1, 1000), (960, 1280)])
def test_qwens_patches_are_those_of_its_processor(qwen: Path, size: tuple[int, int]) -> None:
    import torch

    (picture,) = frames([size], SOFT)
    settings = local.processor_of(qwen)
    patches = Patches(int(settings["patch_size"]), 2, 2)
    fitted = patches.fitted(*size)
    assert fitted[0] * fitted[1] <= 512 * patches.step**2
    mine = patches.cut(Batch([picture], CPU).tensor(local.look_of(settings, fitted))[0])
    if max(size) > 200 * min(size):
        assert min(fitted) == patches.step  # the library refuses such pictures
        return
    theirs = qwen_images(qwen)(images=Image.fromarray(picture), return_tensors="pt")
    assert theirs["image_grid_thw"].tolist() == [[1, fitted[0] // patches.size, fitted[1] // patches.size]]
    levels = torch.abs(mine - theirs["pixel_values"]) * 0.27 * 255
    assert levels.mean() < 0.4  # they round to whole levels between resizing and normalising
    assert levels.max() < 2.5


def test_a_look_is_the_processors_squash(florence: Path) -> None:
    from transformers import CLIPImageProcessor

    (picture,) = frames([(300, 500)], SOFT)
    mine = Batch([picture], CPU).tensor(local.look_of(local.processor_of(florence)))
    theirs = CLIPImageProcessor.from_pretrained(florence)(
        images=Image.fromarray(picture), return_tensors="pt"
    )
    levels = (mine - theirs["pixel_values"]).abs() * 0.27 * 255
    assert levels.mean() < 0.4
    assert levels.max() < 2.5


def writes_in_half_precision(captioner: Any, folder: Path, chosen: Settings) -> None:
    model = captioner(chosen, found(folder, "tiny"), Hardware(precision="bf16"))
    model.load()
    assert len(model.run(frames([(200, 300), (300, 200)]))) == 2  # random words, some of them none
    assert model._model.dtype.itemsize == 2
    model.unload()
    assert not [part for part in vars(model).values() if hasattr(part, "parameters")]


def test_florence_writes_in_half_precision_too(florence: Path, tmp_path: Path) -> None:
    writes_in_half_precision(FlorenceCaptions, florence, asking(tmp_path))


def test_blip2_writes_in_half_precision_too(blip2: Path, tmp_path: Path) -> None:
    writes_in_half_precision(Blip2Captions, blip2, asking(tmp_path))


def test_qwen_writes_in_half_precision_too(qwen: Path, tmp_path: Path) -> None:
    writes_in_half_precision(QwenCaptions, qwen, asking(tmp_path))


def test_a_folder_without_what_is_needed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"preprocessor_config\.json") as caught:
        local.processor_of(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(ModelError, match="tokenizer"):
        local.tokenizer_of(tmp_path)


def test_a_processor_of_one_edge_is_square_and_one_that_crops_is_not_understood() -> None:
    usual = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert local.look_of({**usual, "size": 384}).size == (384, 384)
    assert local.look_of({**usual, "size": {"height": 3, "width": 4}}).size == (3, 4)
    for size in (None, {"shortest_edge": 224}):
        with pytest.raises(ModelError, match="no height and width"):
            local.look_of({**usual, "size": size})


def test_no_frames_are_no_outputs(florence: Path) -> None:
    model = FlorenceCaptions(Settings(), found(florence, "florence-2-base"), Hardware())
    model.load()
    assert model.run([]) == []
