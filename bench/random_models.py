"""Models in their true architecture with random weights, as folders that the product itself opens.

    model path/vit-l-14-openai/open_clip_config.json, open_clip_model.safetensors
    model path/blip-2-flan-t5-xl/config.json, model.safetensors, tokenizer.json, …

`true` has the published sizes: what it costs is what the published weights cost. `small` has a quarter of
every width and the same depths, for machines without a GPU: widths shrink alike in all parts of a model, so
that ratios between its parts stay near the true ones.

Random weights hardly ever end a sentence. The row of the token that ends one is made `_ENDING` times as long,
so that sentences end by chance after some ten tokens, as captions do.

Sizes are those of the repositories' config.json; of SCRFD-10G and ArcFace R50 those of insightface's
configurations (scrfd_10g_bnkps, iresnet50); of RAM++ its image encoder (Swin-L at 384 px) and a decoder of
two layers with 4585 tags as queries. RT-DETR has its true size always.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ENDING = 3.3  # a tenth of the steps end: the largest of 30,000 normal numbers is 4.2, of ending 1.28 x 3.3
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


@dataclasses.dataclass(frozen=True)
class Size:
    """`true`, or `small`: widths through `narrow`, pictures as large as they are."""

    is_true: bool

    def narrow(self, width: int) -> int:
        return width if self.is_true else width // 4


TRUE, SMALL = Size(True), Size(False)


def make(model_id: str, model_path: Path, size: Size) -> Path:
    """The folder of a model below `model_path`; what is there from before is kept."""
    folder = model_path / model_id
    done = folder / ".made"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            MAKERS[model_id](folder, size)
        done.touch()
    return folder


# ── what makers share ─────────────────────────────────────────────────────────────────────────


def _save(model: Any, folder: Path, size: Size, end: int | None = None) -> None:
    """bf16 where sizes are true, as published: half the disk."""
    import torch

    if end is not None:
        row = model.get_output_embeddings().weight.data[end]
        row *= _ENDING
    model.eval().to(torch.bfloat16 if size.is_true else torch.float32).save_pretrained(folder)


def _build(make_model: Callable[[], Any]) -> Any:
    import torch

    torch.manual_seed(1)
    return make_model()


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), "utf-8")


def _processor(folder: Path, means: dict[str, Any], height: int, width: int, **more: Any) -> None:
    usual = {"size": {"height": height, "width": width}, "resample": 3, "do_resize": True}
    _write(folder / "preprocessor_config.json", {**usual, **means, **more})


def _tokenizer(
    folder: Path, count: int, specials: dict[int, str], roles: dict[str, str], **more: Any
) -> None:
    """`count` words, w0, w1 …; `specials`: ids that are other tokens; `roles`: "eos_token" → which."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {specials.get(index, f"w{index}"): index for index in range(count)}
    inner = Tokenizer(models.WordLevel(ids, unk_token="w9"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="w9", **roles)
    made.add_special_tokens({"additional_special_tokens": [*specials.values()]})
    for name, value in more.items():
        setattr(made, name, value)
    made.save_pretrained(folder)


def _export(network: Any, path: Path, px: int, given: str, outputs: list[str]) -> None:
    """ONNX with any number of pictures."""
    import torch

    torch.onnx.export(
        network.eval(),
        (torch.zeros(1, 3, px, px),),
        str(path),
        input_names=[given],
        output_names=outputs,
        dynamic_axes={name: {0: "batch"} for name in (given, *outputs)},
        opset_version=17,
        dynamo=False,
    )


# ── embedding ─────────────────────────────────────────────────────────────────────────────────


def _open_clip(name: str) -> Callable[[Path, Size], None]:
    def make_folder(folder: Path, size: Size) -> None:
        import open_clip
        from safetensors.torch import save_file

        config = open_clip.get_model_config(name)
        for part in ("vision_cfg", "text_cfg"):
            if "width" in config[part]:
                config[part]["width"] = size.narrow(config[part]["width"])
        config["text_cfg"]["heads"] = max(1, config["text_cfg"]["width"] // 64)
        model = _build(lambda: open_clip.CLIP(**config))
        save_file(
            {key: value.contiguous() for key, value in model.state_dict().items()},
            folder / "open_clip_model.safetensors",
        )
        means = {"mean": _CLIP["image_mean"], "std": _CLIP["image_std"]}
        preprocess = {**means, "interpolation": "bicubic", "resize_mode": "shortest"}
        _write(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocess})

    return make_folder


# ── captions ──────────────────────────────────────────────────────────────────────────────────

_BLIP2_VISION = {"hidden_size": 1408, "intermediate_size": 6144}  # EVA-CLIP g: 39 layers of 16 heads, 224 px
_BLIP2_QFORMER = {"hidden_size": 768, "intermediate_size": 3072}  # 12 layers of 12 heads


def _blip2(text_config: Callable[[Size], Any], image: int, end: int, specials: dict[int, str]) -> Any:
    def make_folder(folder: Path, size: Size) -> None:
        from transformers import Blip2Config, Blip2ForConditionalGeneration

        narrow = size.narrow
        vision = {name: narrow(width) for name, width in _BLIP2_VISION.items()}
        qformer = {name: narrow(width) for name, width in _BLIP2_QFORMER.items()}
        config = Blip2Config(
            vision_config={**vision, "num_attention_heads": narrow(16)},
            qformer_config={
                **qformer,
                "num_attention_heads": narrow(12),
                "encoder_hidden_size": vision["hidden_size"],
            },
            text_config=text_config(size).to_dict(),
            image_token_id=image,
        )
        model = _build(lambda: Blip2ForConditionalGeneration(config))
        model.language_model.get_output_embeddings().weight.data[end] *= _ENDING
        _save(model, folder, size)
        roles = {"eos_token": specials[end], "pad_token": specials[min(specials)]}
        _tokenizer(folder, config.text_config.vocab_size, {**specials, image: "<image>"}, roles)
        _processor(folder, _CLIP, 224, 224)

    return make_folder


def _opt(size: Size) -> Any:
    from transformers import OPTConfig

    narrow = size.narrow
    return OPTConfig(
        vocab_size=50304,
        hidden_size=narrow(2560),
        word_embed_proj_dim=narrow(2560),
        ffn_dim=narrow(10240),
        num_hidden_layers=32,
        num_attention_heads=narrow(32),
        eos_token_id=50118,
        pad_token_id=1,
        bos_token_id=2,
    )


def _t5(size: Size) -> Any:
    from transformers import T5Config

    narrow = size.narrow
    return T5Config(
        vocab_size=32128,
        d_model=narrow(2048),
        d_kv=64,
        d_ff=narrow(5120),
        num_layers=24,
        num_heads=narrow(32),
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        bos_token_id=1,
    )


def _florence(is_large: bool) -> Callable[[Path, Size], None]:
    def make_folder(folder: Path, size: Size) -> None:
        from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration

        width = size.narrow(1024 if is_large else 768)
        layers = 12 if is_large else 6
        ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
        text = BartConfig(
            vocab_size=51328,
            d_model=width,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=width // 64,
            decoder_attention_heads=width // 64,
            encoder_ffn_dim=4 * width,
            decoder_ffn_dim=4 * width,
            max_position_embeddings=4096,
            forced_eos_token_id=2,
            **ids,
        )
        first = size.narrow(256 if is_large else 128)
        edges = [first << stage for stage in range(4)]
        heads = [max(1, edge // 32) for edge in edges]
        vision = {"embed_dim": edges, "num_heads": heads, "num_groups": heads, "projection_dim": width}
        config = Florence2Config(text_config=text.to_dict(), vision_config=vision, image_token_id=51289)
        model = _build(lambda: Florence2ForConditionalGeneration(config))
        model.generation_config.update(
            num_beams=3,
            early_stopping=True,
            no_repeat_ngram_size=3,
            forced_bos_token_id=0,
            min_new_tokens=5,
            **ids,
        )
        _save(model, folder, size, end=2)
        specials = {0: "<s>", 1: "<pad>", 2: "</s>", 51289: "<image>"}
        roles = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
        _tokenizer(folder, 51328, specials, roles)
        _processor(folder, _IMAGENET, 768, 768, image_seq_length=577)

    return make_folder


_QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|> <|image_pad|> <|vision_end|> "
    "{% else %}{{ part['text'] }} {% endif %}{% endfor %}<|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


def _qwen2_vl(folder: Path, size: Size) -> None:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    width = size.narrow(1536)
    text = {
        "hidden_size": width,
        "intermediate_size": size.narrow(8960),
        "num_hidden_layers": 28,
        "num_attention_heads": size.narrow(12),
        "num_key_value_heads": 2 if size.is_true else 1,
        "vocab_size": 151936,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "pad_token_id": 151643,
    }
    vision = {"depth": 32, "embed_dim": size.narrow(1280), "num_heads": size.narrow(16), "hidden_size": width}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
    model = _build(lambda: Qwen2VLForConditionalGeneration(config))
    model.generation_config.update(eos_token_id=151645, pad_token_id=151643, min_new_tokens=5)
    _save(model, folder, size, end=151645)
    specials = {
        151643: "<|endoftext|>",
        151644: "<|im_start|>",
        151645: "<|im_end|>",
        151652: "<|vision_start|>",
        151653: "<|vision_end|>",
        151655: "<|image_pad|>",
        151656: "<|video_pad|>",
    }
    roles = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    _tokenizer(folder, 151936, specials, roles, chat_template=_QWEN_TEMPLATE)
    more = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2}
    _processor(folder, _CLIP, 560, 840, **more)


# ── objects, text ─────────────────────────────────────────────────────────────────────────────


def _swin(width: int, size: Size, px: int, **more: Any) -> Any:
    """Swin-B (128) or Swin-L (192) with windows of 12."""
    from transformers import SwinConfig

    heads = [size.narrow(width) // 32 << stage for stage in range(4)]
    return SwinConfig(
        image_size=px,
        embed_dim=size.narrow(width),
        depths=[2, 2, 18, 2],
        num_heads=[max(1, head) for head in heads],
        window_size=12,
        **more,
    )


def _grounding_dino(folder: Path, size: Size) -> None:
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection

    narrow = size.narrow
    text = BertConfig(hidden_size=narrow(768), intermediate_size=narrow(3072), num_attention_heads=narrow(12))
    config = GroundingDinoConfig(
        backbone_config=_swin(128, size, 384, out_indices=[2, 3, 4]).to_dict(),
        text_config=text.to_dict(),
        d_model=narrow(256),
        encoder_ffn_dim=narrow(2048),
        decoder_ffn_dim=narrow(2048),
    )
    _save(_build(lambda: GroundingDinoForObjectDetection(config)), folder, size)
    _bert_words(folder)
    edges = {"size": {"shortest_edge": 800, "longest_edge": 1333}}
    _processor(folder, _IMAGENET, 800, 1333, resample=2, image_processor_type="GroundingDinoImageProcessor")
    written = json.loads((folder / "preprocessor_config.json").read_text())
    _write(folder / "preprocessor_config.json", {**written, **edges})


def _bert_words(folder: Path) -> None:
    """BERT's tokenizer, which cuts words into the letters that it has."""
    from transformers import BertTokenizerFast

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.?-'"]
    words = ["[PAD]", *(f"[unused{index}]" for index in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"[unused{index}]" for index in range(99, 99 + 895)] + letters
    words += [f"##{letter}" for letter in letters]
    words[1012], words[1029] = ".", "?"  # ids that the code of GroundingDINO knows
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(words)), "utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def _trocr(folder: Path, size: Size) -> None:
    from transformers import (
        TrOCRConfig,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
    )

    narrow = size.narrow
    encoder = ViTConfig(
        image_size=384,
        hidden_size=narrow(768),
        intermediate_size=narrow(3072),
        num_attention_heads=narrow(12),
        qkv_bias=False,
    )
    decoder = TrOCRConfig(
        vocab_size=50265,
        d_model=narrow(1024),
        decoder_layers=12,
        decoder_attention_heads=narrow(16),
        decoder_ffn_dim=narrow(4096),
        cross_attention_hidden_size=narrow(768),
        decoder_start_token_id=2,
        eos_token_id=2,
        pad_token_id=1,
        bos_token_id=0,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 2, 2, 1
    model = _build(lambda: VisionEncoderDecoderModel(config))
    model.generation_config.update(decoder_start_token_id=2, eos_token_id=2, pad_token_id=1)
    model.decoder.get_output_embeddings().weight.data[2] *= _ENDING
    _save(model, folder, size)
    roles = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
    _tokenizer(folder, 50265, {0: "<s>", 1: "<pad>", 2: "</s>"}, roles)
    _processor(folder, _HALF, 384, 384, resample=2)


def _rt_detr(folder: Path, size: Size) -> None:
    import torch
    from transformers import RTDetrConfig, RTDetrForObjectDetection

    class Named(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: Any) -> Any:
            found = self.model(pixels)
            return found.logits, found.pred_boxes

    labels = {index: f"thing {index}" for index in range(80)}
    config = RTDetrConfig(num_labels=80, id2label=labels, label2id={name: i for i, name in labels.items()})
    model = _build(lambda: RTDetrForObjectDetection(config))
    (folder / "onnx").mkdir(exist_ok=True)
    _export(Named(model), folder / "onnx" / "model.onnx", 640, "pixel_values", ["logits", "pred_boxes"])
    config.save_pretrained(folder)


# ── tags ──────────────────────────────────────────────────────────────────────────────────────

_RAM_TAGS = 4585


def _ram(folder: Path, size: Size) -> None:
    import torch
    from transformers import SwinModel

    width, inner = size.narrow(512), size.narrow(768)

    class Tagger(torch.nn.Module):
        """Swin-L sees, and each tag looks at what it saw."""

        def __init__(self) -> None:
            super().__init__()
            self.sees = SwinModel(_swin(192, size, 384), add_pooling_layer=False)
            self.project = torch.nn.Linear(self.sees.num_features, width)
            self.tags = torch.nn.Parameter(torch.randn(_RAM_TAGS, inner) / 10)
            layer = {"d_model": inner, "nhead": 4, "dim_feedforward": 4 * inner, "batch_first": True}
            self.into = torch.nn.Linear(width, inner)
            self.layers = torch.nn.ModuleList(_CrossLayer(**layer) for _ in range(2))
            self.score = torch.nn.Linear(inner, 1)

        def forward(self, pixels: Any) -> Any:
            seen = self.into(self.project(self.sees(pixels).last_hidden_state))
            tags = self.tags.unsqueeze(0).expand(seen.shape[0], -1, -1)
            for layer in self.layers:
                tags = layer(tags, seen)
            return self.score(tags).squeeze(-1) - 2

    class _CrossLayer(torch.nn.Module):
        """Attention to the picture alone, as in query2label's decoder of RAM."""

        def __init__(self, d_model: int, nhead: int, dim_feedforward: int, batch_first: bool) -> None:
            super().__init__()
            self.heads = nhead
            self.ask, self.key, self.value, self.out = (torch.nn.Linear(d_model, d_model) for _ in range(4))
            self.up, self.down = (
                torch.nn.Linear(d_model, dim_feedforward),
                torch.nn.Linear(dim_feedforward, d_model),
            )
            self.first, self.second = torch.nn.LayerNorm(d_model), torch.nn.LayerNorm(d_model)

        def forward(self, tags: Any, seen: Any) -> Any:
            def split(rows: Any) -> Any:
                return rows.reshape(rows.shape[0], rows.shape[1], self.heads, -1).transpose(1, 2)

            told = torch.nn.functional.scaled_dot_product_attention(
                split(self.ask(tags)), split(self.key(seen)), split(self.value(seen))
            )
            tags = self.first(tags + self.out(told.transpose(1, 2).flatten(2)))
            return self.second(tags + self.down(torch.nn.functional.gelu(self.up(tags))))

    _export(_build(Tagger), folder / "model.onnx", 384, "image", ["logits"])
    (folder / "tags.txt").write_text("\n".join(f"tag {index}" for index in range(_RAM_TAGS)), "utf-8")


# ── faces ─────────────────────────────────────────────────────────────────────────────────────


def _face_pack(folder: Path, size: Size) -> None:
    for job, network in (("detection", _scrfd(size)), ("recognition", _iresnet(size))):
        (folder / job).mkdir(exist_ok=True)
        px, names = (
            (640, [f"{kind}{stride}" for kind in ("s", "b", "l") for stride in (8, 16, 32)])
            if job == "detection"
            else (112, ["embedding"])
        )
        _export(network, folder / job / "model.onnx", px, "input.1", names)


def _block(into: int, out: int, stride: int, activation: Callable[[], Any]) -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):
        """Two convolutions and what goes round them."""

        def __init__(self) -> None:
            super().__init__()
            self.way = nn.Sequential(
                nn.Conv2d(into, out, 3, 1 if stride == 1 else stride, 1, bias=False),
                nn.BatchNorm2d(out),
                activation(),
                nn.Conv2d(out, out, 3, 1, 1, bias=False),
                nn.BatchNorm2d(out),
            )
            is_same = stride == 1 and into == out
            self.around = (
                nn.Identity()
                if is_same
                else nn.Sequential(nn.Conv2d(into, out, 1, stride), nn.BatchNorm2d(out))
            )

        def forward(self, pixels: Any) -> Any:
            return torch.relu(self.way(pixels) + self.around(pixels))

    return Block()


def _stages(widths: list[int], blocks: tuple[int, ...], strides: list[int], activation: Any) -> list[Any]:
    from torch import nn

    stages, into = [], widths[0]
    for width, count, stride in zip(widths, blocks, strides, strict=True):
        rows = [
            _block(into if i == 0 else width, width, stride if i == 0 else 1, activation)
            for i in range(count)
        ]
        stages.append(nn.Sequential(*rows))
        into = width
    return stages


def _iresnet(size: Size) -> Any:
    """ArcFace R50: stages of 3, 4, 14 and 3 blocks, each halving the crop of 112 px."""
    import torch
    from torch import nn

    torch.manual_seed(1)
    widths = [size.narrow(width) for width in (64, 128, 256, 512)]
    stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0]))
    stages = _stages(widths, (3, 4, 14, 3), [2, 2, 2, 2], nn.ReLU)
    return nn.Sequential(stem, *stages, nn.Flatten(), nn.Linear(widths[-1] * 49, 512))


def _scrfd(size: Size) -> Any:
    """SCRFD-10G: a ResNet of 3, 4, 2, 3 blocks, a feature pyramid, one head for three strides."""
    import torch
    from torch import nn

    torch.manual_seed(1)
    widths, level = [size.narrow(width) for width in (56, 88, 88, 224)], size.narrow(56)
    inner, anchors = size.narrow(80), 2

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(3, widths[0], 3, 2, 1), nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.MaxPool2d(2)
            )
            self.stages = nn.ModuleList(_stages(widths, (3, 4, 2, 3), [1, 2, 2, 2], nn.ReLU))
            self.sides = nn.ModuleList(nn.Conv2d(width, level, 1) for width in widths[1:])
            self.smooth = nn.ModuleList(nn.Conv2d(level, level, 3, 1, 1) for _ in range(3))
            self.downs = nn.ModuleList(nn.Conv2d(level, level, 3, 2, 1) for _ in range(2))
            into = [level, inner, inner]
            rows = [
                nn.Sequential(nn.Conv2d(n, inner, 3, 1, 1), nn.BatchNorm2d(inner), nn.ReLU()) for n in into
            ]
            self.head = nn.Sequential(*rows)
            self.kinds = nn.ModuleList(nn.Conv2d(inner, anchors * values, 3, 1, 1) for values in (1, 4, 10))
            nn.init.constant_(self.kinds[0].bias, -4.6)  # as trained from: one place in a hundred fires

        def forward(self, pixels: Any) -> Any:
            seen, levels = self.stem(pixels), []
            for stage in self.stages:
                seen = stage(seen)
                levels.append(seen)
            levels = [side(one) for side, one in zip(self.sides, levels[1:], strict=True)]
            for i in (1, 0):
                levels[i] = levels[i] + nn.functional.interpolate(levels[i + 1], scale_factor=2.0)
            levels = [smooth(one) for smooth, one in zip(self.smooth, levels, strict=True)]
            for i in (1, 2):
                levels[i] = levels[i] + self.downs[i - 1](levels[i - 1])
            told = [self.head(one) for one in levels]
            rows = [
                [_rows(kind(one), values) for one in told]
                for kind, values in zip(self.kinds, (1, 4, 10), strict=True)
            ]
            return (*[torch.sigmoid(one) for one in rows[0]], *rows[1], *rows[2])

    def _rows(grid: Any, values: int) -> Any:
        return grid.permute(0, 2, 3, 1).reshape(grid.shape[0], -1, values)

    return Network()


MAKERS: dict[str, Callable[[Path, Size], None]] = {
    "vit-l-14-openai": _open_clip("ViT-L-14"),
    "florence-2-base": _florence(is_large=False),
    "florence-2-large": _florence(is_large=True),
    "blip-2-opt-2.7b": _blip2(_opt, 50265, 50118, {1: "<pad>", 2: "</s>", 50118: "<end>"}),
    "blip-2-flan-t5-xl": _blip2(_t5, 32100, 1, {0: "<pad>", 1: "</s>"}),
    "qwen2-vl-2b": _qwen2_vl,
    "grounding-dino-base": _grounding_dino,
    "pp-ocrv6-trocr": _trocr,
    "rtdetr-r50": _rt_detr,
    "ram-plus-plus": _ram,
    "buffalo_l": _face_pack,
}
