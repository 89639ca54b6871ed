"""Foreign weights → plain float32 ONNX that onnxruntime runs. Used once a machine; needs `onnx`.

Two converters: the EfficientNet-Lite0 checkpoint (a torch pickle, read without torch by an
unpickler that allows six names) and OpenCV Zoo's block-quantised graphs (which onnxruntime refuses;
their dequantisation is a constant and is computed here).
"""

from __future__ import annotations

import collections
import dataclasses
import json
import pickle
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from catalogd.errors import ModelError

Array = NDArray[Any]

# ---------------------------------------------------------------- the torch checkpoint

_STORAGE_TYPES = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
    "HalfStorage": np.dtype("<f2"),
}


@dataclasses.dataclass
class _Storage:
    dtype: np.dtype[Any]
    values: Array | None = None


@dataclasses.dataclass
class _TensorView:
    """A tensor as the pickle describes it: a strided window into a storage that comes later in the file."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements; checkpoints do hold permuted tensors

    def array(self) -> Array:
        if self.storage.values is None:
            raise ValueError("a tensor's storage is not in the file")
        values = self.storage.values[self.offset :]
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if min((*self.shape, *self.strides, 1)) < 0 or last >= max(values.size, 1):
            raise ValueError("a tensor reaches outside its storage")
        steps = [stride * values.itemsize for stride in self.strides]
        return np.array(np.lib.stride_tricks.as_strided(values, self.shape, steps))


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _TensorView:
    return _TensorView(storage, offset, shape, strides)


class _CheckpointUnpickler(pickle.Unpickler):
    """Builds dictionaries and tensor views; any other class is refused."""

    def __init__(self, stream: IO[bytes], storages: dict[str, _Storage]) -> None:
        super().__init__(stream)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in weights")

    def persistent_load(self, reference: Any) -> _Storage:
        _, dtype, key, *_ = reference
        return self._storages.setdefault(key, _Storage(dtype))


def read_checkpoint(path: Path) -> dict[str, Array]:
    """The named tensors of a torch checkpoint, legacy or zipped. Raises ModelError when it is not one."""
    try:
        views = _read_zipped(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        return {name: view.array() for name, view in views.items()}
    except (
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise ModelError(f"{path}: not a checkpoint catalogd can read ({error})") from error


def _read_legacy(path: Path) -> dict[str, _TensorView]:
    storages: dict[str, _Storage] = {}
    with path.open("rb") as stream:
        for _ in range(3):  # magic number, protocol version, system information
            _CheckpointUnpickler(stream, storages).load()
        views: dict[str, _TensorView] = _CheckpointUnpickler(stream, storages).load()
        for key in _CheckpointUnpickler(stream, storages).load():
            (count,) = struct.unpack("<q", stream.read(8))
            storage = storages[key]
            data = stream.read(count * storage.dtype.itemsize)
            storage.values = np.frombuffer(data, storage.dtype, count)
    return views


def _read_zipped(path: Path) -> dict[str, _TensorView]:
    """What torch has written since 1.6: a pickle, and beside it a file a storage."""
    storages: dict[str, _Storage] = {}
    with zipfile.ZipFile(path) as archive:
        head = next((name for name in archive.namelist() if name.endswith("/data.pkl")), "")
        views: dict[str, _TensorView] = _CheckpointUnpickler(archive.open(head), storages).load()
        folder = head.removesuffix(".pkl")
        for key, storage in storages.items():
            storage.values = np.frombuffer(archive.read(f"{folder}/{key}"), storage.dtype)
    return views


# ---------------------------------------------------------------- safetensors

_SAFE_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}
_MOST_HEADER_BYTES = 100_000_000  # as the format's own library has it


def read_safetensors(path: Path, names: Collection[str] | None = None) -> dict[str, Array]:
    """The named tensors of a safetensors file, those of `names` only; bfloat16 as float32.

    The file is mapped: what is not asked for is not read. Raises ModelError when it is not one.
    """
    try:
        data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
        (length,) = struct.unpack_from("<Q", data[:8].tobytes())
        if length > _MOST_HEADER_BYTES:
            raise ValueError("its header is too long")
        header = json.loads(data[8 : 8 + length].tobytes())
        wanted = header.keys() - {"__metadata__"} if names is None else header.keys() & set(names)
        return {name: _safe_tensor(data[8 + length :], **header[name]) for name in header if name in wanted}
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(f"{path}: not a safetensors file catalogd can read ({error})") from error


def _safe_tensor(body: Array, dtype: str, shape: list[int], data_offsets: list[int]) -> Array:
    first, last = data_offsets
    values: Array = np.frombuffer(body[first:last], _SAFE_TYPES[dtype])
    if dtype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)


# ---------------------------------------------------------------- EfficientNet-Lite0

# (repeats, kernel, first stride, expansion, channels): Tan and Le 2019, the Lite0 variant without
# squeeze-and-excitation and with ReLU6.
_LITE0_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_BATCH_NORM_EPSILON = 1e-3  # as the weights were trained


class _GraphBuilder:
    """Collects nodes and constants; each method returns the name of its result."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        self.tensors = tensors
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._low = self.constant("relu6.low", np.float32(0))
        self._high = self.constant("relu6.high", np.float32(6))

    def constant(self, name: str, value: Any) -> str:
        array = np.ascontiguousarray(value, np.float32).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(
        self,
        x: str,
        weight: str,
        norm: str,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        relu6: bool = True,
    ) -> str:
        """A convolution with its batch normalisation folded in."""
        gain, bias, mean, variance = (
            self.tensors[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(variance + _BATCH_NORM_EPSILON)
        kernels = self.constant(f"{weight}.w", self.tensors[f"{weight}.weight"] * scale[:, None, None, None])
        offsets = self.constant(f"{weight}.b", bias - mean * scale)
        y = self.node(
            "Conv",
            [x, kernels, offsets],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            group=groups,
            auto_pad="SAME_UPPER",
        )
        return self.node("Clip", [y, self._low, self._high]) if relu6 else y

    def block(self, x: str, prefix: str, kernel: int, stride: int, channels: tuple[int, int, int]) -> str:
        """One inverted bottleneck; `channels` are those that come in, are expanded to, and go out."""
        incoming, expanded, outgoing = channels
        y = x
        if expanded != incoming:
            y = self.convolution(y, f"{prefix}_expand_conv", f"{prefix}_bn0", 1)
        y = self.convolution(
            y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", kernel, stride=stride, groups=expanded
        )
        y = self.convolution(y, f"{prefix}_project_conv", f"{prefix}_bn2", 1, relu6=False)
        return self.node("Add", [y, x]) if stride == 1 and incoming == outgoing else y


def write_lite0(checkpoint: Path, target: Path) -> None:
    """EfficientNet-Lite0 as ONNX: `pixels[n, 3, 224, 224]` → `features[n, 1280]`, `logits[n, 1000]`."""
    try:
        model = _lite0(read_checkpoint(checkpoint))
        onnx.checker.check_model(model)
    except (KeyError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{checkpoint}: not the tensors of EfficientNet-Lite0 ({error})") from error
    onnx.save(model, str(target))


def _lite0(tensors: dict[str, Array]) -> Any:
    graph = _GraphBuilder(tensors)
    x = graph.convolution("pixels", "_conv_stem", "_bn0", 3, stride=2)
    incoming, index = 32, 0
    for repeats, kernel, first_stride, expansion, outgoing in _LITE0_STAGES:
        for stride in [first_stride, *[1] * (repeats - 1)]:
            channels = (incoming, incoming * expansion, outgoing)
            x = graph.block(x, f"_blocks.{index}.", kernel, stride, channels)
            incoming, index = outgoing, index + 1
    x = graph.convolution(x, "_conv_head", "_bn1", 1)
    x = graph.node("GlobalAveragePool", [x])
    features = graph.node("Flatten", [x], "features", axis=1)
    head = [graph.constant(f"fc.{part}", tensors[f"_fc.{part}"]) for part in ("weight", "bias")]
    graph.node("Gemm", [features, *head], "logits", transB=1)
    float32 = onnx.TensorProto.FLOAT
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet-lite0",
            [helper.make_tensor_value_info("pixels", float32, ["n", 3, 224, 224])],
            [
                helper.make_tensor_value_info("features", float32, ["n", 1280]),
                helper.make_tensor_value_info("logits", float32, ["n", 1000]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )


# ---------------------------------------------------------------- block-quantised graphs


def write_dequantised(source: Path, target: Path) -> None:
    """An OpenCV Zoo `int8bq` graph as float32, with free batch, height and width."""
    try:
        model = onnx.load(str(source))
        _fold_constants(model.graph)
        _free_sizes(model.graph)
    except Exception as error:  # onnx raises whatever protobuf raises
        raise ModelError(f"{source}: not an ONNX graph catalogd can convert ({error})") from error
    onnx.save(model, str(target))


def _fold_constants(graph: Any) -> None:
    """Replace every DequantizeLinear (and Reshape) of constants by its result."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    given = set(known)
    kept = []
    for node in graph.node:
        inputs = [known.get(name) for name in node.input if name]
        if node.op_type == "DequantizeLinear" and all(value is not None for value in inputs):
            known[node.output[0]] = _dequantise(node, inputs)
        elif node.op_type == "Reshape" and node.input[0] in known.keys() - given:
            known[node.output[0]] = known[node.input[0]].reshape(known[node.input[1]])
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    constants += [
        numpy_helper.from_array(known[name], name) for name in sorted((known.keys() - given) & used)
    ]
    names = {tensor.name for tensor in constants}
    inputs_left = [value for value in graph.input if value.name in used - names]
    for field, values in ((graph.node, kept), (graph.initializer, constants), (graph.input, inputs_left)):
        del field[:]
        field.extend(values)


def _dequantise(node: Any, inputs: list[Any]) -> Array:
    """`(x - zero) * scale` as ONNX defines DequantizeLinear: per tensor, per axis or in blocks."""
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    values = inputs[0].astype(np.float32)
    scale = inputs[1].astype(np.float32)
    zero = inputs[2].astype(np.float32) if len(inputs) > 2 else np.zeros_like(scale)
    axis = attributes.get("axis", 1)
    if scale.ndim and scale.ndim == values.ndim:
        axis %= values.ndim
        block = attributes.get("block_size", 0) or -(-values.shape[axis] // scale.shape[axis])
        index = np.arange(values.shape[axis]) // block
        scale, zero = scale.take(index, axis), zero.take(index, axis)
    elif scale.size > 1:
        shape = [1] * values.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    result: Array = ((values - zero) * scale).astype(np.float32)
    return result


def _free_sizes(graph: Any) -> None:
    """Let batch, height and width vary: the graphs are convolutional, only their declarations are fixed.

    A Reshape to `[1, -1, k]` becomes `[0, -1, k]`: 0 keeps the batch that comes in.
    """
    for tensor in graph.initializer:
        shape = numpy_helper.to_array(tensor)
        if shape.dtype == np.int64 and shape.size == 3 and tuple(shape[:2]) == (1, -1):
            tensor.CopyFrom(numpy_helper.from_array(np.array([0, *shape[1:]]), tensor.name))
    del graph.value_info[:]
    names = {0: "batch", 2: "height", 3: "width"}
    dense = any(node.op_type == "Gemm" for node in graph.node)  # then height and width stay what they are
    for value in graph.input:
        for position, dimension in enumerate(value.type.tensor_type.shape.dim):
            if position in names and not (dense and position):
                dimension.dim_param = names[position]
    for value in graph.output:
        for position, dimension in enumerate(value.type.tensor_type.shape.dim):
            if position == 0 or (position == 1 and not dense):
                dimension.dim_param = "batch" if position == 0 else f"{value.name}_cells"
