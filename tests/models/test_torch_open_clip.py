"""Dual encoders of open_clip, beside open_clip's own way: one picture, one text at a time, in torch."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catalogd.errors import ModelError
from catalogd.models import convert, open_clip_model, pairs
from catalogd.models.aesthetics import Head
from catalogd.models.bundles import FoundBundle
from catalogd.models.devices import Hardware
from catalogd.models.open_clip_model import OpenClipModel, clip_tokenizer, text_encoder
from catalogd.records import Output
from catalogd.settings import Settings
from tests.models import pair_factory as factory
from tests.models.conftest import photo

pytestmark = [
    pytest.mark.torch,
    # Of libraries that import or call what they themselves deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
NAMES = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
TEXTS = ("a red car", "A photo of a CAT!", "it's the dog's beach, 1987", "", "straße 北京 ñ", "dog " * 100)
CLIP = {
    "embed_dim": 48,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 96, "layers": 3, "width": 64, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
}
SIGLIP = {
    "embed_dim": 64,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 64,
        "hf_tokenizer_name": "of the folder",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 64,
        "heads": 4,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
    },
}
PREPROCESS = {
    "clip": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "resize_mode": "shortest"},
    "siglip": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"},
}


def made(folder: Path, kind: str) -> FoundBundle:
    """A folder as hubs have it, of a true architecture with few and random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    config = json.loads(json.dumps(CLIP if kind == "clip" else SIGLIP))
    folder.mkdir()
    whole = {"model_cfg": config, "preprocess_cfg": PREPROCESS[kind]}
    (folder / open_clip_model.CONFIG).write_text(json.dumps(whole))
    if kind == "siglip":
        factory.tokenizer(folder)
        special = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "<eos>"}
        kind_of_tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 16}
        (folder / "tokenizer_config.json").write_text(json.dumps(special | kind_of_tokenizer))
    config.pop("custom_text", None)
    cls = open_clip.CLIP if kind == "clip" else open_clip.CustomTextCLIP
    state = {name: tensor.contiguous() for name, tensor in cls(**config).state_dict().items()}
    state["logit_scale"] = torch.tensor(4.5)
    save_file(state, folder / open_clip_model.WEIGHTS)
    found = factory.bundle(f"tiny-{kind}", (open_clip_model.WEIGHTS,))
    return FoundBundle(found, folder, "path")


@pytest.fixture(scope="module", params=["clip", "siglip"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FoundBundle:
    return made(tmp_path_factory.mktemp("open_clip") / request.param, request.param)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(model_cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def model(found: FoundBundle, settings: Settings) -> OpenClipModel:
    made = OpenClipModel(settings, found, Hardware())
    made.load()
    return made


@pytest.fixture(scope="module")
def reference(found: FoundBundle) -> tuple[Any, Any, Any]:
    """open_clip's model, its preprocessing and its tokenizer."""
    import open_clip

    name = f"local-dir:{found.folder}"
    model, preprocess = open_clip.create_model_from_pretrained(name)
    return model.eval(), preprocess, open_clip.get_tokenizer(name)


def vector(output: Output) -> np.ndarray:
    assert output.joint_embedding is not None, output.error
    return np.frombuffer(output.joint_embedding, "<f2").astype(np.float32)


def test_a_batch_gives_what_open_clip_gives_for_each_picture(
    model: OpenClipModel, reference: tuple[Any, Any, Any]
) -> None:
    import torch

    theirs, preprocess, _ = reference
    frames = [photo(name) for name in NAMES]
    outputs = model.run(frames)
    for frame, output in zip(frames, outputs, strict=True):
        with torch.inference_mode():
            pixels = preprocess(Image.fromarray(frame))[None]
            expected = theirs.encode_image(pixels, normalize=True)[0].numpy()
        assert vector(output) @ expected >= 0.999
    vectors = np.array([vector(output) for output in outputs])
    assert (vectors @ vectors.T).min() < 0.99, "pictures are told apart"


def test_a_batch_gives_what_one_at_a_time_gives(model: OpenClipModel) -> None:
    frames = [photo(name) for name in NAMES]
    for frame, together in zip(frames, model.run(frames), strict=True):
        assert vector(model.run([frame])[0]) == pytest.approx(vector(together), abs=1e-3)


def test_a_frame_that_is_no_frame_fails_alone(model: OpenClipModel) -> None:
    first, broken, last = model.run([photo(NAMES[0]), np.zeros((9, 9), np.uint8), photo(NAMES[1])])
    assert (first.error, last.error) == (None, None)
    assert broken.error
    assert model.run([]) == []


def test_texts_are_read_as_open_clip_reads_them(
    found: FoundBundle, settings: Settings, reference: tuple[Any, Any, Any]
) -> None:
    import torch

    theirs, _, tokenizer = reference
    encoder = text_encoder(settings, found)
    with torch.inference_mode():
        expected = theirs.encode_text(tokenizer(list(TEXTS)), normalize=True).numpy()
    assert encoder.vectors(TEXTS) == pytest.approx(expected, abs=1e-4)
    assert encoder.space == OpenClipModel(settings, found, Hardware()).fingerprint


def test_logits_are_those_of_the_checkpoint(model: OpenClipModel) -> None:
    assert model.logits.scale == pytest.approx(np.exp(4.5), rel=1e-4)
    is_siglip = "siglip" in model.name
    assert model.logits.bias == (-10.0 if is_siglip else None)
    assert model.wording.clean == ("canonicalize" if is_siglip else "lower")


def test_a_query_does_not_load_torch_once_the_tower_is_in_the_cache(
    found: FoundBundle, settings: Settings
) -> None:
    text_encoder(settings, found)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from catalogd.models.bundles import Bundle, FoundBundle\n"
        "from catalogd.models.open_clip_model import WEIGHTS, text_encoder\n"
        "from catalogd.settings import Settings\n"
        f"bundle = Bundle({found.bundle.id!r}, '', ('*',), (WEIGHTS,), '', True)\n"
        f"found = FoundBundle(bundle, Path({str(found.folder)!r}), 'path')\n"
        f"encoder = text_encoder(Settings(model_cache=Path({str(settings.model_cache)!r})), found)\n"
        "assert encoder.encode(['a red car']).shape[0] == 1\n"
        "assert not {'torch', 'open_clip', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_exported_tower_that_differs_is_refused_and_not_kept(
    found: FoundBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_clip_model, "_SAME", -1.0)
    with pytest.raises(ModelError, match="gives other vectors than in torch"):
        text_encoder(Settings(model_cache=tmp_path), found)
    assert not list(tmp_path.glob("*textual*"))


def test_what_is_missing_or_does_not_fit_is_named(tmp_path: Path, settings: Settings) -> None:
    whole = made(tmp_path / "clip", "clip")
    _ = whole.short_hash
    config = whole.folder / open_clip_model.CONFIG
    kept = json.loads(config.read_text())
    kept["model_cfg"]["vision_cfg"]["layers"] = 5
    config.write_text(json.dumps(kept))
    with pytest.raises(ModelError, match="open_clip cannot open it"):
        OpenClipModel(settings, whole, Hardware()).load()
    config.write_text("{}")
    with pytest.raises(ModelError, match="has no model_cfg"):
        OpenClipModel(settings, whole, Hardware())
    config.write_text(json.dumps(kept))
    (whole.folder / open_clip_model.WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"open_clip_model\.safetensors is missing"):
        OpenClipModel(settings, whole, Hardware())


def test_clips_tokenizer_cuts_texts_as_open_clip_does() -> None:
    import open_clip

    ours, theirs = clip_tokenizer(), open_clip.tokenizer.SimpleTokenizer(context_length=200)
    more = ("don't we'll I'm", "C3PO & R2-D2 (1977)", "x_y…z", "😀 emoji", "ÅNGSTRÖM Ωmega", "a\tb\n c")
    for text in (*TEXTS, *more):
        expected = [int(token) for token in theirs([text])[0] if token]
        assert ours.encode(pairs.cleaned(text, "lower")).ids == expected, text


def test_open_clips_own_list_says_where_weights_are() -> None:
    assert (
        open_clip_model.repository_of("open_clip:ViT-L-14/openai") == "timm/vit_large_patch14_clip_224.openai"
    )
    assert open_clip_model.repository_of("open_clip:ViT-L-14/nobody") == ""


def test_heads_of_aesthetics_score_as_they_do_in_torch(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    sizes = (768, 1024, 128, 64, 16, 1)
    parts: list[Any] = []
    for given, made in itertools.pairwise(sizes):
        parts += [torch.nn.Linear(given, made), torch.nn.Dropout(0.2)]
    mlp = torch.nn.ModuleDict({"layers": torch.nn.Sequential(*parts[:-1])}).eval()
    with torch.no_grad():
        mlp["layers"][-1].bias.fill_(5.5)
    torch.save(mlp.state_dict(), tmp_path / "head.pth")
    torch.save(mlp.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(mlp.state_dict(), tmp_path / "head.safetensors")
    vectors = torch.nn.functional.normalize(torch.randn(10, 768), dim=1)
    with torch.inference_mode():
        expected = mlp["layers"](vectors)[:, 0].numpy()
    for name in ("head.pth", "old.pth", "head.safetensors"):
        head = Head.read(tmp_path / name)
        assert [head.score(one) for one in vectors.numpy()] == pytest.approx(expected.tolist(), abs=1e-4)
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in mlp.state_dict().items()}
    save_file(halves, tmp_path / "half.safetensors")
    found = convert.read_safetensors(tmp_path / "half.safetensors")
    assert all(np.array_equal(found[name], halves[name].float().numpy()) for name in halves)
