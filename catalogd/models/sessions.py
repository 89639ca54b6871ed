"""onnxruntime, in its one place: how a session is opened and how its failures read.

onnxruntime is imported when the first session opens, so that asking a model for its fingerprint is cheap.
On a GPU, inputs that are torch tensors there are read where they lie; outputs stay there until asked for.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models.devices import CPU, Device
from catalogd.models.memory import as_memory_error

PROVIDERS = (  # in order of preference, those that this build of onnxruntime has
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
    "CPUExecutionProvider",
)
_LOG_ERRORS, _LOG_FATAL = 3, 4
_LEAST_MAPPED_BYTES = 1024  # smaller constants stay in the graph, where optimisations see them
_CUDA = "CUDAExecutionProvider"
_DTYPES = {  # of ONNX, as numpy has them
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class Session:
    """One ONNX graph, ready to run."""

    def __init__(self, path: Path, threads: int, *, optimised: bool = False, device: Device = CPU) -> None:
        """Open `path` with `threads` threads (0: onnxruntime chooses).

        `optimised`: the file was written by `write_optimised`; it opens several times faster.
        Raises ModelError when onnxruntime refuses the file, or has no provider for the GPU.
        """
        import onnxruntime as ort

        options = _options(threads)
        if optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.device = device
        _load_cuda(device)
        self._stream = _stream(device)
        self._session = _open(path, options, _providers(device, self._stream))
        self._run_options = ort.RunOptions()
        self._run_options.log_severity_level = _LOG_FATAL  # a run that fails raises what it would log
        if device.kind == "cuda" and _CUDA not in self._session.get_providers():
            raise ModelError(
                f"{path}: onnxruntime cannot compute on GPU {device}: are the CUDA and cuDNN that it "
                "was built for installed? https://onnxruntime.ai/docs/execution-providers"
            )
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.inputs = [node.name for node in inputs]
        self.outputs = [node.name for node in outputs]
        self.dtypes = [_DTYPES.get(node.type) for node in inputs]  # None: as it is given
        self.input_shapes = [list(node.shape) for node in inputs]  # a name or None where any size is taken
        self.output_shapes = [list(node.shape) for node in outputs]

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, *tensors: Any) -> list[NDArray[Any]]:
        """All outputs for the inputs in the graph's order: numpy arrays or torch tensors, each where it lies.

        Floats of another width than the graph's are converted. An allocation that fails is a MemoryError.
        """
        if self.device.kind == "cuda":
            return [value.numpy() for value in self.run_there(*tensors)]
        arrays = [_as_array(tensor, dtype) for tensor, dtype in zip(tensors, self.dtypes, strict=True)]
        with as_memory_error():
            given = dict(zip(self.inputs, arrays, strict=True))
            outputs: list[NDArray[Any]] = self._session.run(None, given, self._run_options)
        return outputs

    def run_there(self, *tensors: Any) -> list[Any]:
        """As `run`, with outputs as onnxruntime's values where they were computed; `.numpy()` fetches one.

        The caller is not held up by what torch still computes for the inputs: onnxruntime's stream waits
        for that. It returns when the graph is done.
        """
        binding = self._session.io_binding()
        bound = [
            _bind(binding, name, tensor, dtype)
            for name, tensor, dtype in zip(self.inputs, tensors, self.dtypes, strict=True)
        ]
        place = "cuda" if self.device.kind == "cuda" else "cpu"
        for name in self.outputs:
            binding.bind_output(name, place, self.device.index)
        _follow_torch(self._stream)
        with as_memory_error():
            self._session.run_with_iobinding(binding, self._run_options)
        del bound  # what was bound must live until here
        return list(binding.get_outputs())


def write_optimised(source: Path, target: Path, weights_file: str = "") -> None:
    """Write the graph with its hardware-independent optimisations done, as plain ONNX.

    `weights_file`: the name of a file beside the target that takes the weights; it is mapped, not read.
    """
    import onnxruntime as ort

    options = _options(threads=1)
    if weights_file:
        entry = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(f"{entry}file_name", weights_file)
        options.add_session_config_entry(f"{entry}min_size_in_bytes", str(_LEAST_MAPPED_BYTES))
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    _open(source, options, ["CPUExecutionProvider"])


def _options(threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS
    # Threads that spin while they wait take 1.4 times the CPU beside busy readers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(device: Device, stream: Any) -> list[Any]:
    """Which of onnxruntime's providers may run nodes, the preferred first."""
    import onnxruntime as ort

    available = ort.get_available_providers()
    if device.kind != "cuda":
        return [name for name in PROVIDERS if name in available]
    if _CUDA not in available:
        raise ModelError(
            f"this onnxruntime has no CUDA for GPU {device}: "
            "pip uninstall onnxruntime, then pip install 'catalogd[gpu]'"
        )
    return [(_CUDA, _cuda_options(device, stream)), "CPUExecutionProvider"]


def _cuda_options(device: Device, stream: Any) -> dict[str, str]:
    """torch has the same card: memory is taken as needed, and no time is spent on trying kernels."""
    options = {
        "device_id": str(device.index),
        "arena_extend_strategy": "kSameAsRequested",  # else every growth doubles what is taken
        "cudnn_conv_algo_search": "HEURISTIC",  # an exhaustive search starts anew at every new shape
    }
    return options if stream is None else {**options, "user_compute_stream": str(stream.cuda_stream)}


def _stream(device: Device) -> Any:
    """The CUDA stream of a session, which torch can make wait for its own; None elsewhere."""
    if device.kind != "cuda":
        return None
    import torch

    return torch.cuda.Stream(device.label)


def _load_cuda(device: Device) -> None:
    """Load CUDA from the packages that pip installs, where no loader looks; torch loads a part of it only.

    onnxruntime prints what it does not find; opening the session says so, too.
    """
    if device.kind == "cuda":
        import onnxruntime as ort

        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _follow_torch(stream: Any) -> None:
    """Let a session begin when what torch was told so far is done."""
    if stream is not None:
        import torch

        stream.wait_stream(torch.cuda.current_stream(stream.device))


def _open(path: Path, options: Any, providers: Sequence[Any]) -> Any:
    import onnxruntime as ort

    try:
        return ort.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:
        raise ModelError(
            f"{path}: onnxruntime cannot open it ({error}); delete it if it is in the cache"
        ) from error


def _is_torch(tensor: Any) -> bool:
    return hasattr(tensor, "data_ptr")


def _as_array(tensor: Any, dtype: Any) -> NDArray[Any]:
    """A numpy array in the width of floats that the graph has."""
    array: NDArray[Any] = (
        tensor.float().cpu().numpy() if _is_torch(tensor) and _is_float(tensor) else np.asarray(tensor)
    )
    if dtype is not None and array.dtype != dtype and array.dtype.kind == "f":
        return array.astype(dtype)
    return array


def _is_float(tensor: Any) -> bool:
    return bool(tensor.is_floating_point())


def _bind(binding: Any, name: str, tensor: Any, dtype: Any) -> Any:
    """Bind one input; returns what must live as long as the run."""
    if not _is_torch(tensor) or tensor.device.type == "cpu":
        array = np.ascontiguousarray(_as_array(tensor, dtype))
        binding.bind_cpu_input(name, array)
        return array
    there = _in_dtype(tensor, dtype).contiguous()
    kind = dtype or np.dtype(str(there.dtype).removeprefix("torch."))
    binding.bind_input(name, "cuda", there.device.index, kind, tuple(there.shape), there.data_ptr())
    return there


def _in_dtype(tensor: Any, dtype: Any) -> Any:
    import torch

    if dtype is None or not _is_float(tensor):
        return tensor
    return tensor.to(getattr(torch, np.dtype(dtype).name))


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Each row of `vectors: [n, D]` at unit length; a zero row stays zero."""
    rows: NDArray[np.float32] = vectors.astype(np.float32, copy=False)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: NDArray[np.float32] = rows / np.maximum(lengths, np.float32(1e-12))
    return units


def half_bytes(vector: NDArray[Any]) -> bytes:
    """A vector as records keep it: little-endian float16."""
    return vector.astype("<f2").tobytes()
