"""Tiny pairs of ONNX graphs with random weights, in the layouts that hubs use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from catalogd.models.bundles import Bundle, FoundBundle

WORDS = (
    "a",
    "photo",
    "of",
    "this",
    "is",
    "cat",
    "dog",
    "car",
    "red",
    "blue",
    "beach",
    "hund",
    "of_",
    "picture",
)
SIZE_PX, DIMENSIONS, WIDTH, PATCH_PX = 64, 24, 32, 8
SIGLIP_PREPROCESS = {
    "size": [SIZE_PX, SIZE_PX],
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
    "fill_color": 0,
}
CLIP_PREPROCESS = {
    "size": SIZE_PX,
    "mode": "RGB",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
SIGLIP_CONFIG = {
    "embed_dim": DIMENSIONS,
    "init_logit_bias": -10,
    "vision_cfg": {"image_size": SIZE_PX},
    "text_cfg": {
        "context_length": 12,
        "vocab_size": 256_000,
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
        "tokenizer_kwargs": {"clean": "canonicalize"},
    },
}
CLIP_CONFIG = {
    "embed_dim": DIMENSIONS,
    "vision_cfg": {"image_size": SIZE_PX},
    "text_cfg": {"context_length": 10, "vocab_size": 49408},
}


def open_clip_pair(
    folder: Path,
    config: dict[str, Any] = SIGLIP_CONFIG,
    preprocess: dict[str, Any] = SIGLIP_PREPROCESS,
    *,
    batch: int | str = 1,
    model_id: str = "tiny-pair",
) -> FoundBundle:
    """As Immich exports them: batches of one, int32 tokens."""
    length = config["text_cfg"]["context_length"]
    write(folder / "config.json", config)
    write(folder / "visual/preprocess_cfg.json", preprocess)
    save(visual_graph(batch=batch), folder / "visual/model.onnx")
    save(textual_graph(batch=batch, length=length), folder / "textual/model.onnx")
    tokenizer(folder / "textual")
    patterns = ("visual/model.onnx", "textual/model.onnx")
    return FoundBundle(bundle(model_id, patterns), folder, "path")


def transformers_pair(folder: Path, model_type: str = "siglip", **preprocess: Any) -> FoundBundle:
    """As transformers.js wants them: any batch, int64 tokens, several outputs."""
    write(folder / "config.json", {"model_type": model_type, "text_config": {"max_position_embeddings": 12}})
    size = {"height": SIZE_PX, "width": SIZE_PX}
    usual = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "size": size}
    write(folder / "preprocessor_config.json", usual | preprocess)
    more = ("last_hidden_state",)
    save(visual_graph("n", "pixel_values", "pooler_output", more), folder / "onnx/vision_model.onnx")
    graph = textual_graph("n", "length", TensorProto.INT64, "input_ids", "pooler_output", more)
    save(graph, folder / "onnx/text_model.onnx")
    tokenizer(folder)
    return FoundBundle(bundle("tiny-js", ("onnx/*.onnx",)), folder, "path")


def bundle(model_id: str, patterns: tuple[str, ...]) -> Bundle:
    return Bundle(model_id, "nobody/nothing", ("*",), patterns, "Apache-2.0", True)


def write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))


def save(model: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def tokenizer(folder: Path) -> None:
    """One token a word; texts end with <eos>, <pad> is 3."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("<zero>", "<unk>", "<eos>", "<pad>", *WORDS)
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 2)])
    made.save(str(folder / "tokenizer.json"))
    write(folder / "tokenizer_config.json", {"pad_token": {"content": "<pad>"}, "model_max_length": 10**30})


def visual_graph(
    batch: int | str = 1,
    given: str = "image",
    output: str = "embedding",
    more: tuple[str, ...] = (),
    *,
    merges: bool = False,
) -> Any:
    """Patches ─▶ their features, which attend to nothing ─▶ their mean ─▶ a vector.

    With `batch` 1 its reshapes have a 1 for it, as in traced exports; with `merges` what one picture
    gives depends on the others.
    """
    random, places = np.random.default_rng(1), (SIZE_PX // PATCH_PX) ** 2
    head = 1 if batch == 1 else 0
    constants = {
        "patch": random.normal(size=(WIDTH, 3, PATCH_PX, PATCH_PX)) / PATCH_PX,
        "gain": random.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5,
        "project": random.normal(size=(WIDTH, DIMENSIONS)),
    }
    shapes = {"flat": [head, WIDTH, places], "vector": [head, DIMENSIONS]}
    nodes = [
        helper.make_node("Conv", [given, "patch"], ["grid"], strides=[PATCH_PX, PATCH_PX]),
        helper.make_node("Reshape", ["grid", "flat"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["rows", "gain"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["last_hidden_state"]),
        helper.make_node("ReduceMean", ["last_hidden_state", "axis"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "project"], ["projected"]),
        helper.make_node("Reshape", ["projected", "vector"], [output]),
    ]
    if merges:
        nodes += [
            helper.make_node("ReduceMean", [output, "first"], ["all"], keepdims=1),
            helper.make_node("Add", [output, "all"], ["sum"]),
        ]
        output = "sum"
    pixels = helper.make_tensor_value_info(given, TensorProto.FLOAT, [batch, 3, SIZE_PX, SIZE_PX])
    return _model(nodes, pixels, (*more, output), constants, shapes | {"axis": [1], "first": [0]}, batch)


def textual_graph(
    batch: int | str = 1,
    length: int | str = 12,
    kind: int = TensorProto.INT32,
    given: str = "text",
    output: str = "embedding",
    more: tuple[str, ...] = (),
) -> Any:
    """The mean of all tokens' vectors, padding among them: it tells how a text was filled up."""
    random = np.random.default_rng(2)
    constants = {"table": random.normal(size=(64, WIDTH)), "project": random.normal(size=(WIDTH, DIMENSIONS))}
    nodes = [
        helper.make_node("Gather", ["table", given], ["last_hidden_state"]),
        helper.make_node("ReduceMean", ["last_hidden_state", "axis"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "project"], [output]),
    ]
    tokens = helper.make_tensor_value_info(given, kind, [batch, length])
    return _model(nodes, tokens, (*more, output), constants, {"axis": [1]}, batch)


def _model(
    nodes: list[Any],
    given: Any,
    outputs: tuple[str, ...],
    constants: dict[str, Any],
    shapes: dict[str, list[int]],
    batch: int | str,
) -> Any:
    tensors = [
        numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()
    ]
    tensors += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in shapes.items()]
    sizes = {"last_hidden_state": [batch, None, WIDTH]}
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes.get(name, [batch, DIMENSIONS]))
        for name in outputs
    ]
    graph = helper.make_graph(nodes, "tiny", [given], infos, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
