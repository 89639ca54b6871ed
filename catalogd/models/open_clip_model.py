"""Dual encoders of open_clip: any `model/pretrained` whose config and weights are in a folder.

::

    frames ─▶ Look ─▶ torch: the picture tower alone ─▶ unit vectors ┐
    texts ─▶ tokens ─▶ ONNX: the text tower, exported once ─▶ unit vectors ┴▶ cosine

A query must not wait for torch. So the text tower is exported to ONNX when it is first asked for, with a
`tokenizer.json` that cuts texts as open_clip does, and opened from the cache from then on.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import dual_encoder, memory, pairs, sessions, weights
from catalogd.models.batches import Batch, as_batch
from catalogd.records import Output

if TYPE_CHECKING:
    from catalogd.models import Frame
    from catalogd.models.bundles import FoundBundle
    from catalogd.models.devices import Hardware
    from catalogd.settings import Settings

    Vectors = NDArray[np.float32]

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"  # as hubs name them
_STEP = 1  # of what this module makes of the weights
_OPSET = 17  # of the exported text tower: the first with LayerNormalization
_SAME = 1e-3  # largest difference in a unit vector between torch's text tower and the exported one
_TRIAL = ("a photo of a cat", "Zwei Hunde am Strand, 1987!")
_CLIP_ENDS = ("<start_of_text>", "<end_of_text>")


class OpenClipModel:
    """`joint_embedding` of a picture, by torch."""

    def __init__(self, settings: Settings, found: FoundBundle, hardware: Hardware) -> None:
        """Reads the config. Raises ModelError for what is missing."""
        self._settings = settings
        self._found = found
        self._hardware = hardware
        self.device = hardware.device
        self._config = _read_config(found)
        self._look = pairs.open_clip_look(self._config.get("preprocess_cfg", {}), self._config["model_cfg"])
        self.name = f"embedding:{found.bundle.id}"
        self.fingerprint = _fingerprint(found)
        self.wording = pairs.open_clip_wording(self._config["model_cfg"])
        self.logits = _logits(found, self._config["model_cfg"])
        self._tower: Any = None

    def load(self) -> None:
        from catalogd.models import replaying, torch_models

        tower = torch_models.ready(_opened(self._found).visual, self._hardware)
        self._tower = replaying.Replayed(lambda pixels: _features(tower(pixels)), self._hardware, self.name)

    def unload(self) -> None:
        self._tower = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        batch = as_batch(frames, self._hardware.device)
        return dual_encoder.outputs_of(self.fingerprint, batch, self._embed)

    def text_encoder(self) -> dual_encoder.TextEncoder:
        """Opens the text tower alone, on the CPU: all of it, since whole vocabularies go through it."""
        return text_encoder(self._settings, self._found, threads=0)

    def _embed(self, batch: Batch) -> Vectors:
        from catalogd.models import torch_models

        assert self._tower is not None, "load() first"
        with torch_models.inference():
            features = self._tower(batch.tensor(self._look, self._hardware.precision))
            return sessions.unit_rows(features.float().cpu().numpy())


def _features(seen: Any) -> Any:
    """The picture's; some towers give those of its patches, too."""
    return seen[0] if isinstance(seen, tuple) else seen


def text_encoder(settings: Settings, found: FoundBundle, threads: int = 1) -> dual_encoder.TextEncoder:
    """The text tower; exported first, once a machine, which takes torch. Raises ModelError."""
    config = _read_config(found)["model_cfg"]
    target = dual_encoder.tower_folder(settings, found)
    weights.made_folder(target, lambda folder: _export(found, config, folder))
    return _text_encoder(found, config, target, threads)


def repository_of(model_id: str) -> str:
    """Where open_clip's own list has the weights of `open_clip:MODEL/PRETRAINED`; "" when it has none."""
    import open_clip

    model, _, pretrained = model_id.removeprefix("open_clip:").partition("/")
    entry: dict[str, Any] = open_clip.get_pretrained_cfg(model, pretrained) or {}
    return str(entry.get("hf_hub") or "").rstrip("/")


def _text_encoder(
    found: FoundBundle, config: dict[str, Any], tower: Path, threads: int
) -> dual_encoder.TextEncoder:
    text = config["text_cfg"]
    pad = pairs.pad_token(tower) if text.get("hf_tokenizer_name") else ""
    tokens = pairs.Tokens(tower / "tokenizer.json", int(text.get("context_length", 77)), pad)
    wording, logits = pairs.open_clip_wording(config), _logits(found, config)
    return dual_encoder.TextEncoder(_fingerprint(found), wording, logits, tower, tokens, threads)


def _fingerprint(found: FoundBundle) -> str:
    return f"{found.bundle.id}@{found.short_hash}.{_STEP}"


def _read_config(found: FoundBundle) -> dict[str, Any]:
    config = pairs.read_json(found.folder / CONFIG)
    if not isinstance(config.get("model_cfg"), dict):
        raise ModelError(f"{found.folder / CONFIG} has no model_cfg: it is no config of open_clip")
    return config


def _logits(found: FoundBundle, config: dict[str, Any]) -> pairs.Logits:
    """As they were trained: they are tensors of the checkpoint."""
    from catalogd.models import convert

    path = found.folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{path} is missing")
    tensors = convert.read_safetensors(path, ("logit_scale", "logit_bias"))
    if "logit_scale" not in tensors:
        return pairs.open_clip_logits(config)
    bias = tensors.get("logit_bias")
    scale = math.exp(float(tensors["logit_scale"].ravel()[0]))
    return pairs.Logits(scale, None if bias is None else float(bias.ravel()[0]))


def _opened(found: FoundBundle) -> Any:
    """The whole model on the CPU, in float32, from safetensors. Raises ModelError, MemoryError."""
    import open_clip

    with memory.as_memory_error(), _quiet():
        try:
            return open_clip.create_model(f"local-dir:{found.folder}", require_pretrained=True)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError) as error:
            if memory.is_out_of_memory(error):
                raise
            raise ModelError(f"{found.folder}: open_clip cannot open it: {error}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """open_clip tells every step to the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


# -- the text tower -------------------------------------------------------------------------------


def _export(found: FoundBundle, config: dict[str, Any], folder: Path) -> None:
    """Write `tokenizer.json` and the text tower as ONNX, and prove that they give what torch gives."""
    model = _opened(found).eval()
    _write_tokenizer(found, config, folder)
    raw = folder / "raw" / "model.onnx"
    raw.parent.mkdir()
    _write_tower(model, int(config["text_cfg"].get("context_length", 77)), raw)
    dual_encoder.write_mapped(raw, folder)
    shutil.rmtree(raw.parent)
    _check(found, config, model, folder)


def _write_tower(model: Any, length: int, path: Path) -> None:
    import torch

    class TextTower(torch.nn.Module):  # type: ignore[misc]
        def forward(self, text: Any) -> Any:
            return model.encode_text(text, normalize=True)

    tower = TextTower()
    tower.model = model
    with torch.inference_mode(False), torch.no_grad(), _quiet(), _plain_attention():
        torch.onnx.export(
            tower.eval(),
            (torch.zeros(2, length, dtype=torch.int64),),
            str(path),
            input_names=["text"],
            output_names=["embedding"],
            dynamic_axes={"text": {0: "n"}, "embedding": {0: "n"}},
            opset_version=_OPSET,
            dynamo=False,  # the other exporter needs a package more
        )


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention in operations that ONNX has, too."""
    import torch

    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


def _write_tokenizer(found: FoundBundle, config: dict[str, Any], folder: Path) -> None:
    """The model's own tokenizer, or CLIP's where its config names none."""
    if config["text_cfg"].get("hf_tokenizer_name"):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            if not (found.folder / name).is_file():
                raise ModelError(f"{found.folder / name} is missing: queries can't be read without it")
            shutil.copyfile(found.folder / name, folder / name)
    else:
        clip_tokenizer().save(str(folder / "tokenizer.json"))


def clip_tokenizer() -> Any:
    """CLIP's tokenizer from the list of merges that open_clip carries (Radford et al. 2021, section 2.4)."""
    import open_clip.tokenizer
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    source = open_clip.tokenizer.SimpleTokenizer()
    made = Tokenizer(
        models.BPE(source.encoder, list(source.bpe_ranks), end_of_word_suffix="</w>", unk_token=_CLIP_ENDS[1])
    )
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = _CLIP_ENDS
    ends = [(token, source.encoder[token]) for token in _CLIP_ENDS]
    made.post_processor = processors.TemplateProcessing(f"{start} $A {end}", special_tokens=ends)
    return made


def _check(found: FoundBundle, config: dict[str, Any], model: Any, folder: Path) -> None:
    import open_clip
    import torch

    with torch.no_grad(), _quiet():
        tokens = open_clip.get_tokenizer(f"local-dir:{found.folder}")(list(_TRIAL))
        expected = model.encode_text(tokens, normalize=True).numpy()
    given = _text_encoder(found, config, folder, 1).vectors(_TRIAL)
    if np.abs(given - expected).max() > _SAME:
        raise ModelError(f"{found.folder}: its text tower, exported, gives other vectors than in torch")
