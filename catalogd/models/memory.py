"""When memory runs out, and how much of a GPU's is taken. torch is asked only where it is loaded."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalogd.models.devices import Device

# As torch's allocators, CUDA's libraries and onnxruntime put it; they raise errors of all kinds.
_SIGNS = ("out of memory", "allocate memory", "failed to allocate", "bad_alloc", "_status_alloc_failed")


@contextlib.contextmanager
def as_memory_error() -> Iterator[None]:
    """What says in any library's words that memory is out is raised as MemoryError.

    What the failed call had in its variables, on the GPU perhaps, is let go of, though the error be kept.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        lines = str(error).splitlines()
        raise MemoryError(lines[0] if lines else type(error).__name__) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, CUDA or onnxruntime is about memory that there is not."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return any(sign in words for sign in _SIGNS)


def memory_used(device: Device) -> int:
    """Bytes of a GPU's memory that are taken by everybody, onnxruntime and other programs included.

    0 on a CPU, and where torch is not loaded.
    """
    torch = sys.modules.get("torch")
    if torch is None or not device.is_gpu:
        return 0
    if device.kind == "mps":
        return int(torch.mps.driver_allocated_memory())
    free, total = torch.cuda.mem_get_info(device.index)
    return int(total - free)


def memory_peak(device: Device) -> int:
    """The most bytes that torch's tensors took on a CUDA device since `forget_peak`; else 0."""
    torch = sys.modules.get("torch")
    return int(torch.cuda.max_memory_allocated(device.index)) if torch and device.kind == "cuda" else 0


def forget_peak(device: Device) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats(device.index)
