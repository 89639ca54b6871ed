"""Pairs of ONNX graphs that put pictures and texts into one space: how a folder of them is read.

Two layouts are known, those in which public hubs keep such pairs::

    open_clip exports (Immich's)                transformers.js exports (onnx-community's, Xenova's)
    visual/model.onnx                           onnx/vision_model.onnx
    visual/preprocess_cfg.json                  preprocessor_config.json
    textual/model.onnx                          onnx/text_model.onnx
    textual/tokenizer.json, tokenizer_config…   tokenizer.json, tokenizer_config.json
    config.json   open_clip's model config      config.json   transformers' model config

What the graphs take and give is read from the graphs themselves; this module reads what stands beside
them, and opens none.
"""

from __future__ import annotations

import dataclasses
import json
import math
import string
import unicodedata
from pathlib import Path
from typing import Any

from catalogd.errors import ModelError
from catalogd.models.batches import Look

# open_clip's defaults, for configs that leave them out (open_clip/constants.py, transform.py).
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_CLIP_CONTEXT, _SIGLIP_CONTEXT = 77, 64  # tokens
_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # PIL's numbers, as preprocessor_config.json has them
_VARIANTS = ("", "_fp16", "_quantized", "_int8", "_uint8")  # of a transformers.js graph, the exact one first
_MAX_CONTEXT = 4096  # tokens: tokenizers without a limit say 1e30


@dataclasses.dataclass(frozen=True)
class Logits:
    """By what a model multiplies its cosines, and what it adds: the log-odds that it was trained with.

    Without a bias it was trained by softmax (CLIP): the odds of one text against others.
    """

    scale: float
    bias: float | None = None


# Where the graphs say nothing. CLIP's scale is clipped to 100 in training (Radford et al. 2021, section 2.5).
# SigLIP's are those in the checkpoints google/siglip-base-patch16-224 and google/siglip2-base-patch16-224, as
# others have written them down; larger models of a generation are taken to be alike.
CLIP_LOGITS = Logits(100.0)
SIGLIP_LOGITS = Logits(117.33, -12.93)
SIGLIP2_LOGITS = Logits(112.67, -16.77)


TRAINING_BATCH = (
    32_768  # texts beside each picture's own; SigLIP (Zhai et al. 2023, section 4), SigLIP 2 alike
)


def logits_of_family(model_id: str) -> Logits | None:
    """The published ones of the family that a dual encoder's id names; None where no family is known."""
    name = model_id.lower()
    if "siglip" in name:
        return SIGLIP2_LOGITS if "siglip2" in name else SIGLIP_LOGITS
    return CLIP_LOGITS if "clip" in name or "vit-" in name else None


@dataclasses.dataclass(frozen=True)
class Wording:
    """How a text is written for a text tower."""

    clean: str = "lower"  # "canonicalize": lower case without punctuation; "lower"; "whitespace": as it is
    query: str = "{}"  # what a query becomes
    tag: str = "a photo of {}"  # what the word of a tag becomes

    def cleaned(self, text: str) -> str:
        return cleaned(text, self.clean)

    def as_query(self, text: str) -> str:
        """A query as the captions that the model was trained with; one that names its kind stays as it is."""
        is_caption = "photo" in text.lower() or "picture" in text.lower()
        return text if is_caption else self.query.format(text)


CLIP_WORDING = Wording(query="a photo of {}")
SIGLIP_WORDING = Wording(clean="canonicalize", tag="this is a photo of {}")


@dataclasses.dataclass(frozen=True)
class Tokens:
    """How a text becomes the numbers that a text tower takes."""

    file: Path  # tokenizer.json
    length: int  # all texts are padded or cut to it
    pad: str  # the token that fills up; "" fills with 0


@dataclasses.dataclass(frozen=True)
class Pair:
    """The two graphs of a folder, and how they are fed."""

    visual: Path
    textual: Path
    look: Look
    tokens: Tokens
    wording: Wording
    logits: Logits


def read_pair(folder: Path) -> Pair:
    """What is in a folder. Raises ModelError naming the file that is missing or makes no sense."""
    if (folder / "visual").is_dir():
        return _open_clip_pair(folder)
    if (folder / "onnx").is_dir():
        return _transformers_pair(folder)
    raise ModelError(f"{folder} holds no pair of graphs: neither visual/ and textual/, nor onnx/")


def cleaned(text: str, how: str) -> str:
    """As open_clip cleans texts before it cuts them into tokens (open_clip/tokenizer.py)."""
    text = unicodedata.normalize("NFC", text)
    if how == "canonicalize":
        text = text.replace("_", " ").translate(_NO_PUNCTUATION)
    if how in ("canonicalize", "lower"):
        text = text.lower()
    return " ".join(text.split())


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


# -- open_clip ----------------------------------------------------------------------------------


def _open_clip_pair(folder: Path) -> Pair:
    config = read_json(folder / "config.json")
    config = config.get("model_cfg", config)
    text = config.get("text_cfg", {})
    tokenizer = read_json(folder / "textual" / "tokenizer_config.json")
    tokens = Tokens(
        _there(folder / "textual" / "tokenizer.json"),
        int(text.get("context_length", _CLIP_CONTEXT)),
        # Without a tokenizer of its own a model was trained with CLIP's, which fills up with 0. Towers that
        # see all tokens (MobileCLIP's) tell the difference.
        _token(tokenizer.get("pad_token")) if text.get("hf_tokenizer_name") else "",
    )
    return Pair(
        _there(folder / "visual" / "model.onnx"),
        _there(folder / "textual" / "model.onnx"),
        open_clip_look(read_json(folder / "visual" / "preprocess_cfg.json"), config),
        tokens,
        open_clip_wording(config),
        open_clip_logits(config),
    )


def open_clip_look(preprocess: dict[str, Any], config: dict[str, Any]) -> Look:
    """The Look of a preprocess config; what it leaves out is of the model config or open_clip's default."""
    size = preprocess.get("size") or config.get("vision_cfg", {}).get("image_size", 224)
    height, width = size if isinstance(size, list | tuple) else (size, size)
    mode = preprocess.get("resize_mode") or "shortest"
    if mode not in ("shortest", "squash"):
        raise ModelError(f"resize_mode {mode!r} of open_clip is not known to catalogd")
    return _look(
        (int(height), int(width)),
        preprocess.get("mean") or _CLIP_MEAN,
        preprocess.get("std") or _CLIP_STD,
        "crop" if mode == "shortest" else "squash",
        preprocess.get("interpolation") or "bicubic",
    )


def open_clip_wording(config: dict[str, Any]) -> Wording:
    """SigLIP's are canonicalised; others are as their tokenizer wants them."""
    text = config.get("text_cfg", {})
    clean = (text.get("tokenizer_kwargs") or {}).get("clean")
    if is_siglip(config):
        return dataclasses.replace(SIGLIP_WORDING, clean=clean or "canonicalize")
    return dataclasses.replace(
        CLIP_WORDING, clean=clean or ("whitespace" if "hf_tokenizer_name" in text else "lower")
    )


def open_clip_logits(config: dict[str, Any]) -> Logits:
    """The published ones of its family, unless the config has them."""
    given = _given_logits(config)
    if given or not is_siglip(config):
        return given or CLIP_LOGITS
    return _siglip_logits(int(config.get("text_cfg", {}).get("vocab_size", 0)))


def is_siglip(config: dict[str, Any]) -> bool:
    """Whether an open_clip model was trained by sigmoid: its config then begins with a bias."""
    return config.get("init_logit_bias") is not None


# -- transformers -------------------------------------------------------------------------------


def _transformers_pair(folder: Path) -> Pair:
    config = read_json(folder / "config.json")
    siglip = str(config.get("model_type", "")).startswith("siglip")
    tokenizer = read_json(folder / "tokenizer_config.json")
    logits = _given_logits(config)
    if logits is None:
        vocabulary = int(config.get("text_config", {}).get("vocab_size", 0))
        logits = _siglip_logits(vocabulary) if siglip else CLIP_LOGITS
    return Pair(
        _variant(folder / "onnx", "vision_model"),
        _variant(folder / "onnx", "text_model"),
        _transformers_look(read_json(folder / "preprocessor_config.json")),
        Tokens(
            _there(folder / "tokenizer.json"),
            _context(config, tokenizer, siglip),
            _token(tokenizer.get("pad_token")),
        ),
        SIGLIP_WORDING if siglip else CLIP_WORDING,
        logits,
    )


def _transformers_look(config: dict[str, Any]) -> Look:
    size, cut = config.get("size", 224), config.get("crop_size")
    is_cut = bool(config.get("do_center_crop", cut is not None))
    inside = _height_width((cut or size) if is_cut else size)
    if (
        is_cut
        and not isinstance(size, int)
        and "shortest_edge" in size
        and size["shortest_edge"] != inside[0]
    ):
        raise ModelError("a centre crop smaller than the resized picture is not known to catalogd")
    return _look(
        inside,
        config.get("image_mean", _CLIP_MEAN) if config.get("do_normalize", True) else (0.0,) * 3,
        config.get("image_std", _CLIP_STD) if config.get("do_normalize", True) else (1.0,) * 3,
        "crop" if is_cut else "squash",
        _RESAMPLING.get(config.get("resample", 3), "bicubic"),
    )


def _height_width(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    edge = size.get("shortest_edge", 0)
    return int(size.get("height", edge)), int(size.get("width", edge))


def _context(config: dict[str, Any], tokenizer: dict[str, Any], siglip: bool) -> int:
    usual = _SIGLIP_CONTEXT if siglip else _CLIP_CONTEXT
    limit = config.get("text_config", {}).get("max_position_embeddings")
    limit = limit or tokenizer.get("model_max_length", usual)
    return int(limit) if limit <= _MAX_CONTEXT else usual


def _variant(folder: Path, name: str) -> Path:
    paths = [folder / f"{name}{variant}.onnx" for variant in _VARIANTS]
    return next((path for path in paths if path.is_file()), None) or _there(paths[0])


# -- both -----------------------------------------------------------------------------------------


def _look(size: tuple[int, int], mean: Any, std: Any, fit: str, filter: str) -> Look:
    """Means and deviations of levels in 0…1 become those of 0…255."""
    mean, std = ([float(value)] * 3 if isinstance(value, float | int) else value for value in (mean, std))
    red, green, blue = (float(value) * 255 for value in mean)
    scales = tuple(1 / (float(value) * 255) for value in std)
    return Look(size, (red, green, blue), (scales[0], scales[1], scales[2]), fit, filter=filter)


def _given_logits(config: dict[str, Any]) -> Logits | None:
    """`logit_scale` (as trained: its logarithm) and `logit_bias`, where an export has written them down."""
    if config.get("logit_scale") is None:
        return None
    bias = config.get("logit_bias")
    return Logits(math.exp(float(config["logit_scale"])), None if bias is None else float(bias))


def _siglip_logits(vocabulary: int) -> Logits:
    """The second generation has Gemma's vocabulary of 256,000 tokens, the first had 32,000 or 250,000."""
    return SIGLIP2_LOGITS if vocabulary == 256_000 else SIGLIP_LOGITS


def _token(token: Any) -> str:
    """Tokenizer configs write a token as a string or as an object with its content."""
    return str(token["content"]) if isinstance(token, dict) else str(token or "")


def pad_token(folder: Path) -> str:
    """The token with which a tokenizer's config fills texts up; "" when it names none."""
    return _token(read_json(folder / "tokenizer_config.json").get("pad_token"))


def read_json(path: Path) -> dict[str, Any]:
    """A config. Raises ModelError when it is missing or is none."""
    try:
        config = json.loads(_there(path).read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no config: it holds a {type(config).__name__}")
    return config


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ModelError(f"{path} is missing")
    return path
