"""What models that run by torch share: opening weights, computing without gradients, generating text.

torch and transformers are loaded by the first call, not by importing this module.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalogd.errors import ModelError
from catalogd.models.devices import Hardware
from catalogd.models.memory import as_memory_error, is_out_of_memory, memory_used

if TYPE_CHECKING:
    import torch

__all__ = ["as_memory_error", "dtype_of", "generate_bucketed", "inference", "memory_used", "open_model"]

_log = logging.getLogger(__name__)
_PADDING = 1.25  # longest prompt of a group per shortest: what is computed for padding is wasted
_SLACK_TOKENS = 4  # for the shortest prompts, for which padding costs less than a group of their own


def dtype_of(precision: Any) -> torch.dtype:
    """Torch's dtype of "fp32", "bf16" or "fp16"; one that is torch's already stays."""
    from catalogd.models import tensors

    return tensors.dtype_of(precision)


def open_model(folder: Path, cls: Any, hardware: Hardware, **options: Any) -> Any:
    """A model of transformers' class `cls` from a folder of safetensors, on its device, ready to compute.

    Nothing is downloaded and no code of the folder is run. Attention is torch's fused one where the class
    has it. `options` go to `from_pretrained`. Raises ModelError naming the folder, also when weights that
    the model needs are not in it; MemoryError when the device is too small.
    """
    import torch

    if not folder.is_dir():
        raise ModelError(f"{folder} is not there: catalogd models")
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    with as_memory_error():
        try:
            model, found = _from_folder(folder, cls, hardware, options)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{folder}: {cls.__name__} cannot be opened: {_first_line(error)}") from error
        if wrong := [*found["missing_keys"], *(str(key) for key in found["mismatched_keys"])]:
            raise ModelError(f"{folder}: no weights for {len(wrong)} parts of {cls.__name__}: {wrong[0]}, …")
        return ready(model, hardware)


def ready(module: Any, hardware: Hardware) -> Any:
    """A torch module as models use it: evaluating, without gradients, on the device, in its precision."""
    with as_memory_error():
        return module.eval().requires_grad_(False).to(hardware.device.label, dtype_of(hardware.precision))


@contextlib.contextmanager
def inference() -> Iterator[None]:
    """Around everything that computes: no gradients are kept; memory that is out is a MemoryError."""
    import torch

    with as_memory_error(), torch.inference_mode():
        yield


def _from_folder(folder: Path, cls: Any, hardware: Hardware, options: Mapping[str, Any]) -> Any:
    attention = "sdpa" if getattr(cls, "_supports_sdpa", True) else "eager"
    settled = {
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "dtype": dtype_of(hardware.precision),
        "attn_implementation": attention,
        "output_loading_info": True,
        **options,
    }
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        return cls.from_pretrained(folder, **settled)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars that transformers draws across the progress of a run."""
    from transformers.utils import logging as words

    was_drawing = words.is_progress_bar_enabled()
    words.disable_progress_bar()
    try:
        yield
    finally:
        if was_drawing:
            words.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# ── generating ────────────────────────────────────────────────────────────────────────────────

Rows = Callable[[list[int]], Mapping[str, Any]]  # what `generate` gets beside the prompts of these rows


def generate_bucketed(
    model: Any,
    prompts: Sequence[Any],
    *,
    pad: int,
    rows: int = 64,
    beside: Rows | Mapping[str, torch.Tensor] | None = None,
    **options: Any,
) -> list[list[int]]:
    """What a model of transformers writes after each prompt: token ids without prompt, padding and end.

    `prompts`: token ids `int64[length]` each, or their embeddings `[length, width]`, all of one kind, on
    any device. They are generated for in groups of at most `rows` of like length, each group until all
    its rows have ended. `beside`: further inputs of `generate`, tensors with a row for each prompt
    (pictures), or a function from indexes of prompts to such. `options` go to `generate`: `max_new_tokens`,
    `num_beams`, `do_sample=False` is set. Padding is masked and, for decoders, on the left: in fp32 a row
    gets the tokens that it gets alone. Call it within `inference()`.
    """
    written: list[list[int]] = [[] for _ in prompts]
    ends = _ends(model, options)
    for group in buckets([len(prompt) for prompt in prompts], rows):
        inputs = _padded(model, [prompts[index] for index in group], pad)
        if beside is not None:
            inputs |= beside(group) if callable(beside) else _chosen(beside, group)
        tokens = model.generate(**inputs, pad_token_id=pad, do_sample=False, **options)
        for index, row in zip(group, _new_tokens(model, inputs, tokens).tolist(), strict=True):
            written[index] = _until_end(row, ends)
    return written


def buckets(lengths: Sequence[int], rows: int) -> list[list[int]]:
    """Indexes in groups of at most `rows`, whose longest is at most `_PADDING` times its shortest."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        group = groups[-1] if groups else []
        fits = group and len(group) < rows and lengths[index] <= lengths[group[0]] * _PADDING + _SLACK_TOKENS
        if fits:
            group.append(index)
        else:
            groups.append([index])
    return groups


def _padded(model: Any, prompts: Sequence[Any], pad: int) -> dict[str, Any]:
    """One tensor of prompts and its mask; decoders go on from the right end, so they are padded left."""
    import torch

    device = model.device
    longest = max(len(prompt) for prompt in prompts)
    first = torch.as_tensor(prompts[0])
    mask = torch.zeros(len(prompts), longest, dtype=torch.int64)
    padded = torch.full((len(prompts), longest, *first.shape[1:]), 0, dtype=first.dtype, device=device)
    if not first.is_floating_point():
        padded.fill_(pad)
    for row, prompt in enumerate(prompts):
        place = slice(0, len(prompt)) if _is_encoder_decoder(model) else slice(longest - len(prompt), None)
        padded[row, place] = torch.as_tensor(prompt).to(device, non_blocking=True)
        mask[row, place] = 1
    name = "inputs_embeds" if first.is_floating_point() else "input_ids"
    return {name: padded, "attention_mask": mask.to(device, non_blocking=True)}


def _chosen(beside: Mapping[str, torch.Tensor], group: list[int]) -> dict[str, Any]:
    return {name: tensor[group] for name, tensor in beside.items()}


def _is_encoder_decoder(model: Any) -> bool:
    return bool(getattr(model.config.get_text_config(), "is_encoder_decoder", False)) or bool(
        getattr(model.config, "is_encoder_decoder", False)
    )


def _new_tokens(model: Any, inputs: Mapping[str, Any], tokens: Any) -> Any:
    """Without the prompt, which decoders repeat when it was given as ids, or a decoder's first token."""
    if _is_encoder_decoder(model):
        return tokens[:, 1:]
    return tokens[:, inputs["input_ids"].shape[1] :] if "input_ids" in inputs else tokens


def _until_end(row: list[int], ends: Collection[int]) -> list[int]:
    """A row up to the token that ends it; what follows fills it up to the longest of its group."""
    end = next((at for at, token in enumerate(row) if token in ends), len(row))
    return row[:end]


def _ends(model: Any, options: Mapping[str, Any]) -> list[int]:
    """The tokens that end what a model writes."""
    ends = options.get("eos_token_id", model.generation_config.eos_token_id)
    return [] if ends is None else ends if isinstance(ends, list) else [ends]
