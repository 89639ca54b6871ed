"""How pleasing pictures are, by heads on the vectors of the embedder they were trained on."""

from __future__ import annotations

import itertools
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from catalogd.errors import ModelError
from catalogd.models import convert, sessions
from catalogd.models.aesthetics import AestheticsModel, Head
from catalogd.models.bundles import FoundBundle
from catalogd.models.devices import Hardware
from catalogd.records import Output
from catalogd.settings import Settings
from tests.models import pair_factory as factory

SIZES = (24, 40, 16, 1)
Tensors = dict[str, np.ndarray]


class Embedder:
    name = "embedding:clip-large"
    fingerprint = "clip-large@0123456789ab.1"


def layers(sizes: tuple[int, ...] = SIZES, prefix: str = "layers.") -> Tensors:
    """As the state of an MLP with dropout between its layers: every other number is a layer."""
    random, tensors = np.random.default_rng(3), {}
    for place, (given, made) in enumerate(itertools.pairwise(sizes)):
        tensors[f"{prefix}{2 * place}.weight"] = random.normal(size=(made, given)).astype(np.float32)
        tensors[f"{prefix}{2 * place}.bias"] = random.normal(size=made).astype(np.float32)
    return tensors


def write_safetensors(tensors: Tensors, path: Path) -> None:
    header, body = {}, b""
    for name, tensor in tensors.items():
        data = tensor.astype("<f4").tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        body += data
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def head(folder: Path, tensors: Tensors, model_id: str = "my-head") -> FoundBundle:
    write_safetensors(tensors, folder / "model.safetensors")
    return FoundBundle(factory.bundle(model_id, ("*.safetensors",)), folder, "path")


def model(found: FoundBundle) -> AestheticsModel:
    made = AestheticsModel(Settings(), found, Hardware(), Embedder())
    made.load()
    return made


def picture(vector: np.ndarray) -> Output:
    return Output(Embedder.fingerprint, joint_embedding=sessions.half_bytes(vector))


def layer_by_layer(tensors: Tensors, vector: np.ndarray) -> float:
    for weight, bias in zip(*[iter(tensors.values())] * 2, strict=True):
        vector = weight @ vector + bias
    return float(vector[0])


def within_range(tensors: Tensors) -> Tensors:
    """The last layer made so that no score is cut off."""
    last = [name for name in tensors if name.endswith("weight")][-1]
    tensors[last] = tensors[last] * 0.01
    tensors[last.replace("weight", "bias")] = np.array([5.0], np.float32)
    return tensors


def test_a_head_scores_as_its_layers_do_one_after_the_other(tmp_path: Path) -> None:
    tensors = within_range(layers())
    vectors = sessions.unit_rows(np.random.default_rng(0).normal(size=(20, SIZES[0])))
    outputs = model(head(tmp_path, tensors)).derive([picture(vector) for vector in vectors])
    expected = [layer_by_layer(tensors, vector) for vector in vectors]
    assert [output.aesthetics for output in outputs] == pytest.approx(expected, abs=0.01)
    assert np.ptp(expected) > 0.1


def test_layers_count_in_the_order_of_their_numbers_not_of_their_names(tmp_path: Path) -> None:
    sizes = (8, 7, 6, 5, 4, 3, 1)
    tensors = within_range(layers(sizes))
    names = [name for name in tensors if name.endswith("weight")]
    assert sorted(names) != names
    vector = sessions.unit_rows(np.ones((1, 8), np.float32))[0]
    (output,) = model(head(tmp_path, dict(sorted(tensors.items())))).derive([picture(vector)])
    assert output.aesthetics == pytest.approx(layer_by_layer(tensors, vector), abs=0.01)


def test_one_linear_layer_is_a_head(tmp_path: Path) -> None:
    tensors = {"weight": np.full((1, 4), 2.0), "bias": np.array([1.0])}
    (output,) = model(head(tmp_path, tensors)).derive([picture(np.array([0.5] * 4))])
    assert output.aesthetics == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize(("bias", "score"), [(-3.0, 1.0), (40.0, 10.0)])
def test_scores_stay_within_one_to_ten(bias: float, score: float, tmp_path: Path) -> None:
    tensors = {"weight": np.zeros((1, 4)), "bias": np.array([bias])}
    (output,) = model(head(tmp_path, tensors)).derive([picture(np.array([0.5] * 4))])
    assert output.aesthetics == score


def test_a_picture_without_a_vector_fails_alone(tmp_path: Path) -> None:
    made = model(head(tmp_path, layers()))
    failed, scored = made.derive([Output("x", error="no"), picture(np.ones(SIZES[0]) / SIZES[0] ** 0.5)])
    assert failed.error == "ModelError: there is no vector of embedding:clip-large"
    assert scored.aesthetics is not None
    assert scored.fingerprint == made.fingerprint


def test_vectors_of_another_length_are_refused_with_both_lengths(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"vectors of 24 numbers; embedding:clip-large gives 8"):
        model(head(tmp_path, layers())).derive([picture(np.ones(8) / 8**0.5)])


def test_vectors_of_another_embedder_are_refused_though_they_are_as_long(tmp_path: Path) -> None:
    found = head(tmp_path, layers(), "aesthetics-laion")
    with pytest.raises(ModelError, match=r"trained on vectors of vit-l-14-openai, not of clip-large"):
        AestheticsModel(Settings(), found, Hardware(), Embedder())


def test_another_head_and_another_embedder_make_scores_stale(tmp_path: Path) -> None:
    first, second = head(tmp_path / "1", layers()), head(tmp_path / "2", layers((24, 1)))
    other = Embedder()
    other.fingerprint = "clip-large@ffffffffffff.1"
    prints = {
        AestheticsModel(Settings(), found, Hardware(), after).fingerprint
        for found, after in ((first, Embedder()), (second, Embedder()), (first, other))
    }
    assert len(prints) == 3


@pytest.mark.parametrize(
    "tensors",
    [
        layers((24, 8)),
        layers((24, 8, 1)) | {"extra": np.zeros(3)},
        {
            "0.weight": np.zeros((8, 24)),
            "0.bias": np.zeros(8),
            "2.weight": np.zeros((1, 9)),
            "2.bias": np.zeros(1),
        },
        {"running_mean": np.zeros(4)},
    ],
    ids=["many numbers", "more than layers", "no chain", "no layers"],
)
def test_what_is_no_head_is_refused_with_its_shapes(tensors: Tensors, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors is no head of linear layers"):
        model(head(tmp_path, tensors))


def test_a_head_with_relu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ReLU"):
        Head.read(tmp_path / "ava+logos-l14-reluMSE.pth")


def test_two_heads_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    found = head(tmp_path, layers())
    write_safetensors(layers(), tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="holds 2 heads"):
        model(found)


# -- files ----------------------------------------------------------------------------------------


def write_zipped(
    tensors: Tensors, path: Path, function: bytes = b"ctorch._utils\n_rebuild_tensor_v2\n"
) -> None:
    """A state as `torch.save` writes it since 1.6, in the pickle protocol's own words."""
    entries = b""
    with zipfile.ZipFile(path, "w") as archive:
        for key, (name, tensor) in enumerate(tensors.items()):
            archive.writestr(f"archive/data/{key}", tensor.astype("<f4").tobytes())
            strides = np.array(tensor.strides) // tensor.itemsize
            reference = b"(Vstorage\nctorch\nFloatStorage\nV%d\nVcpu\nI%d\ntQ" % (key, tensor.size)
            sizes = b"(%s" % b"".join(b"I%d\n" % size for size in tensor.shape) + b"t"
            steps = b"(%s" % b"".join(b"I%d\n" % step for step in strides) + b"t"
            entries += (
                b"V%s\n" % name.encode() + function + b"(" + reference + b"I0\n" + sizes + steps + b"tR"
            )
        archive.writestr("archive/data.pkl", b"(" + entries + b"d.")


def test_checkpoints_of_torch_are_read_without_torch(tmp_path: Path) -> None:
    tensors = {name: tensor.astype(np.float32) for name, tensor in layers().items()}
    write_zipped(tensors, tmp_path / "head.pth")
    found = convert.read_checkpoint(tmp_path / "head.pth")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    assert Head.read(tmp_path / "head.pth").dimensions == SIZES[0]


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path: Path) -> None:
    write_zipped(layers(), tmp_path / "head.pth", b"cos\nsystem\n")
    with pytest.raises(ModelError, match=r"os\.system is not allowed"):
        convert.read_checkpoint(tmp_path / "head.pth")


def test_safetensors_of_half_width_are_read(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0, 0.25]], np.float32)
    brain = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = {
        "a": {"dtype": "BF16", "shape": [1, 3], "data_offsets": [0, 6]},
        "b": {"dtype": "F16", "shape": [3], "data_offsets": [6, 12]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + brain + values.astype("<f2").tobytes())
    found = convert.read_safetensors(path)
    assert np.array_equal(found["a"], values)
    assert np.array_equal(found["b"], values[0])


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 16, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b"{"]
)
def test_what_is_no_safetensors_file_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match=r"x\.safetensors: not a safetensors file"):
        convert.read_safetensors(tmp_path / "x.safetensors")
