"""Torch models: opened from a folder, and text generated in groups as it is one prompt at a time."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalogd.errors import ModelError
from catalogd.models import torch_models
from catalogd.models.devices import CPU, Hardware
from catalogd.models.torch_models import buckets, generate_bucketed, inference, open_model

pytestmark = pytest.mark.torch
LENGTHS = (3, 9, 5, 20, 4, 7, 30, 3, 21)
WORDS = 120
PADS = {"decoder": 1, "encoder-decoder": 0}


def tiny_decoder() -> Any:
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        vocab_size=WORDS,
        hidden_size=32,
        word_embed_proj_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=128,
        init_std=0.5,
    )
    return OPTForCausalLM(config)


def tiny_encoder_decoder() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=WORDS,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        initializer_factor=4.0,
    )
    return T5ForConditionalGeneration(config)


@pytest.fixture(params=["decoder", "encoder-decoder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A folder of weights as a hub has it, and what kind of model it is."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    made = tiny_decoder() if request.param == "decoder" else tiny_encoder_decoder()
    made.save_pretrained(tmp_path)
    return request.param, tmp_path


@pytest.fixture
def model(folder: tuple[str, Path]) -> Any:
    return opened(*folder)


def opened(kind: str, folder: Path, hardware: Hardware = Hardware()) -> Any:  # noqa: B008
    from transformers import OPTForCausalLM, T5ForConditionalGeneration

    return open_model(folder, OPTForCausalLM if kind == "decoder" else T5ForConditionalGeneration, hardware)


@pytest.fixture
def prompts() -> list[Any]:
    import torch

    generator = torch.Generator().manual_seed(7)
    return [torch.randint(3, WORDS, (length,), generator=generator) for length in LENGTHS]


# ── opening ───────────────────────────────────────────────────────────────────────────────────


def test_a_model_is_opened_ready_to_compute(folder: tuple[str, Path]) -> None:
    import torch

    model = opened(*folder)
    assert (model.training, model.dtype, model.device.type) == (False, torch.float32, "cpu")
    assert model.config._attn_implementation == "sdpa"
    assert not any(weights.requires_grad for weights in model.parameters())
    assert opened(*folder, Hardware(CPU, 1, "bf16")).dtype == torch.bfloat16


def test_nothing_is_drawn_while_a_model_opens(folder: tuple[str, Path], capfd: Any) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    opened(*folder)
    assert capfd.readouterr().err == ""
    assert logging.is_progress_bar_enabled()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere is not there"):
        opened("decoder", tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_folder_is_an_error_that_names_it(folder: tuple[str, Path], file: str, damage: str) -> None:
    path = folder[1] / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=str(folder[1])):
        opened(*folder)


def test_weights_that_are_not_in_the_folder_are_never_random(folder: tuple[str, Path]) -> None:
    """transformers makes up what is missing and only warns: captions would be noise."""
    from safetensors.torch import load_file, save_file

    path = folder[1] / "model.safetensors"
    weights = load_file(path)
    left_out = next(name for name in weights if "layer_norm" in name)
    del weights[left_out]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match="no weights for 1 part"):
        opened(*folder)


def test_pickled_weights_are_refused(folder: tuple[str, Path]) -> None:
    """Opening a pickle may run what is in it."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(folder[1] / "model.safetensors")
    torch.save(weights, folder[1] / "pytorch_model.bin")
    (folder[1] / "model.safetensors").unlink()
    with pytest.raises(ModelError):
        opened(*folder)


# ── computing ─────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_kept_for_gradients(model: Any) -> None:
    import torch

    with inference():
        assert torch.is_inference_mode_enabled()
        assert torch.ones(1).is_inference()


class Large:
    """Something that lies in memory."""


def test_an_allocation_that_fails_is_a_memory_error_that_holds_nothing() -> None:
    import torch

    seen: list[weakref.ref[Large]] = []

    def compute() -> None:
        large = Large()
        seen.append(weakref.ref(large))
        torch.empty(1 << 60)

    with pytest.raises(MemoryError) as caught, inference():
        compute()
    assert "allocate" in str(caught.value)
    assert seen[0]() is None


# ── generating ────────────────────────────────────────────────────────────────────────────────


def alone(model: Any, kind: str, prompt: Any, **options: Any) -> list[int]:
    """What transformers itself writes after one prompt, up to its end."""
    tokens = model.generate(prompt[None], do_sample=False, **options)[0].tolist()
    written = tokens[len(prompt) :] if kind == "decoder" else tokens[1:]
    end = options.get("eos_token_id", model.generation_config.eos_token_id)
    return written[: written.index(end)] if end in written else written


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("rows", [2, 64])
def test_groups_write_what_each_prompt_gets_alone(
    model: Any, folder: tuple[str, Path], prompts: list[Any], beams: int, rows: int
) -> None:
    kind = folder[0]
    options = {"max_new_tokens": 12, "num_beams": beams}
    with inference():
        together = generate_bucketed(model, prompts, pad=PADS[kind], rows=rows, **options)
        singles = [alone(model, kind, prompt, **options) for prompt in prompts]
    assert together == singles
    assert len({tuple(row) for row in together}) > 3, "the model says the same to everything"


def test_prompts_may_be_embeddings(model: Any, folder: tuple[str, Path], prompts: list[Any]) -> None:
    with inference():
        embedded = [model.get_input_embeddings()(prompt) for prompt in prompts]
        by_ids = generate_bucketed(model, prompts, pad=PADS[folder[0]], max_new_tokens=8)
        by_embeddings = generate_bucketed(model, embedded, pad=PADS[folder[0]], max_new_tokens=8)
    assert by_embeddings == by_ids


def test_a_row_ends_where_it_ended_and_not_where_its_group_did(
    model: Any, folder: tuple[str, Path], prompts: list[Any]
) -> None:
    """The end is made the token that some rows write early and others never."""
    kind = folder[0]
    with inference():
        full = [alone(model, kind, prompt, max_new_tokens=12) for prompt in prompts]
        end = full[0][len(full[0]) // 2]
        options = {"eos_token_id": end, "max_new_tokens": 12}
        ended = generate_bucketed(model, prompts, pad=PADS[kind], **options)
        assert ended == [alone(model, kind, prompt, **options) for prompt in prompts]
    assert len({len(row) for row in ended}) > 1


def test_a_group_stops_when_all_its_rows_have_ended(
    model: Any, folder: tuple[str, Path], monkeypatch: Any
) -> None:
    """Else every group costs `max_new_tokens` steps."""
    import torch

    kind = folder[0]
    prompt = torch.arange(3, 12)
    with inference():
        first = alone(model, kind, prompt, max_new_tokens=1)[0]
        steps = counted(model, monkeypatch)
        assert (
            generate_bucketed(model, [prompt] * 4, pad=PADS[kind], eos_token_id=first, max_new_tokens=50)
            == [[]] * 4
        )
    assert len(steps) == 1


def test_further_inputs_go_with_their_prompts(monkeypatch: Any, folder: tuple[str, Path], model: Any) -> None:
    import torch

    seen: list[tuple[int, list[float]]] = []
    prompts = [torch.full((length,), 5) for length in (30, 3, 30, 3)]

    def generate(input_ids: Any, pictures: Any, **options: Any) -> Any:
        seen.append((input_ids.shape[1], pictures.flatten().tolist()))
        return input_ids

    monkeypatch.setattr(model, "generate", generate)
    pictures = torch.arange(4.0)[:, None]
    generate_bucketed(model, prompts, pad=1, beside={"pictures": pictures})
    generate_bucketed(model, prompts, pad=1, beside=lambda rows: {"pictures": torch.tensor(rows) * 10})
    assert seen == [(3, [1, 3]), (30, [0, 2]), (3, [10, 30]), (30, [0, 20])]


def test_no_prompts_are_no_words(model: Any) -> None:
    assert generate_bucketed(model, [], pad=1) == []


def test_groups_are_of_like_length_and_bounded() -> None:
    groups = buckets([100, 3, 101, 8, 5, 100, 124, 300], rows=3)
    assert groups == [[1, 4], [3], [0, 5, 2], [6], [7]]
    assert buckets([], 8) == []


def counted(model: Any, monkeypatch: Any) -> list[None]:
    """Grows by one at every step of the part that writes."""
    steps: list[None] = []
    inner = getattr(model.model, "decoder", None) if hasattr(model, "model") else model.decoder

    def step(*arguments: Any, **options: Any) -> None:
        steps.append(None)

    inner.register_forward_pre_hook(step)
    return steps


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """`open_model` sets how many threads torch takes."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_torch_takes_the_threads_it_is_given(folder: tuple[str, Path]) -> None:
    import torch

    opened(*folder, Hardware(CPU, 2))
    assert torch.get_num_threads() == 2
    opened(*folder, Hardware(CPU, 0))
    assert torch.get_num_threads() == 2
    assert torch_models.dtype_of("bf16") == torch.bfloat16
