"""onnxruntime, in its one place: how a session is opened and how its failures read.

onnxruntime is imported when the first session opens, so that asking a model for its fingerprint is cheap.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError

PROVIDERS = (  # in order of preference, those that this build of onnxruntime has
    "CUDAExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
    "CPUExecutionProvider",
)
_LOG_ERRORS = 3


class Session:
    """One ONNX graph, ready to run."""

    def __init__(self, path: Path, threads: int, *, optimised: bool = False) -> None:
        """Open `path` with `threads` threads (0: onnxruntime chooses).

        `optimised`: the file was written by `write_optimised`; it opens several times faster.
        Raises ModelError when onnxruntime refuses the file.
        """
        import onnxruntime as ort

        options = _options(threads)
        if optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = _open(path, options)
        self.inputs = [node.name for node in self._session.get_inputs()]
        self.outputs = [node.name for node in self._session.get_outputs()]

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, *tensors: NDArray[Any]) -> list[NDArray[Any]]:
        """All outputs for the inputs in the graph's order. An allocation that fails is a MemoryError."""
        try:
            outputs: list[NDArray[Any]] = self._session.run(
                None, dict(zip(self.inputs, tensors, strict=True))
            )
        except Exception as error:
            if "allocate" in str(error).lower() or "out of memory" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise
        return outputs


def write_optimised(source: Path, target: Path) -> None:
    """Write the graph with its hardware-independent optimisations done, as plain ONNX."""
    import onnxruntime as ort

    options = _options(threads=1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    _open(source, options, providers=["CPUExecutionProvider"])


def _options(threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS
    # Threads that spin while they wait take 1.4 times the CPU beside busy readers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(path: Path, options: Any, providers: list[str] | None = None) -> Any:
    import onnxruntime as ort

    available = ort.get_available_providers()
    try:
        return ort.InferenceSession(
            str(path), options, providers=providers or [name for name in PROVIDERS if name in available]
        )
    except Exception as error:
        raise ModelError(
            f"{path}: onnxruntime cannot open it ({error}); delete it if it is in the cache"
        ) from error


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Each row of `vectors: [n, D]` at unit length; a zero row stays zero."""
    rows: NDArray[np.float32] = vectors.astype(np.float32, copy=False)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: NDArray[np.float32] = rows / np.maximum(lengths, np.float32(1e-12))
    return units


def half_bytes(vector: NDArray[Any]) -> bytes:
    """A vector as records keep it: little-endian float16."""
    return vector.astype("<f2").tobytes()
