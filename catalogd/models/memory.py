"""When memory runs out, and how much of a GPU's is taken. torch is asked only where it is loaded."""

from __future__ import annotations

import contextlib
import gc
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

    What torch only keeps for its next tensors is not: models that are loaded take it first. 0 on a CPU,
    and where torch is not loaded.
    """
    torch = sys.modules.get("torch")
    if torch is None or not device.is_gpu:
        return 0
    if device.kind == "mps":
        return int(torch.mps.driver_allocated_memory())
    free, total = torch.cuda.mem_get_info(device.index)
    kept = torch.cuda.memory_reserved(device.index) - torch.cuda.memory_allocated(device.index)
    return int(total - free - kept)


def memory_peak(device: Device) -> int:
    """The most bytes that torch's tensors took on a CUDA device since `forget_peak`; else 0."""
    torch = sys.modules.get("torch")
    return int(torch.cuda.max_memory_allocated(device.index)) if torch and device.kind == "cuda" else 0


def forget_peak(device: Device) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats(device.index)


def give_back(device: Device) -> None:
    """Let other libraries have what unloaded models took of a GPU, which torch keeps otherwise.

    It waits for the GPU: for the change from one phase to the next, never between batches.
    """
    torch = sys.modules.get("torch")
    if torch is None or device.kind != "cuda":
        return
    gc.collect()  # networks refer to themselves here and there
    with torch.cuda.device(device.index):
        torch.cuda.empty_cache()
