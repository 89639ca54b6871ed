"""Frames as torch tensors: their one copy to the device, and resizing there. Imports torch.

Resizing is linear and goes by rows and columns, so on a device it is two matrix products: with the
weights of the rows and with those of the columns, which are the native kernel's (native/src/axis.h).
They are computed on the device and kept, because photos of a library have few different sizes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from catalogd.models.batches import Look, placed
from catalogd.models.memory import as_memory_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from catalogd.models import Frame
    from catalogd.models.devices import Device

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_KEPT_AXES = 64  # looks × sizes of frames × 2; 1 MB each for 224 px of 1,280, 7 MB for 1,312


def dtype_of(precision: Any) -> torch.dtype:
    """Torch's dtype of "fp32", "bf16" or "fp16"; one that is torch's already stays."""
    return precision if isinstance(precision, torch.dtype) else _DTYPES[precision]


def wrapped(pixels: NDArray[np.float32], dtype: Any) -> torch.Tensor:
    """A CPU tensor on the memory of `pixels`, which is copied only for another dtype."""
    with as_memory_error():
        return torch.from_numpy(pixels).to(dtype_of(dtype))


def stacked(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    with as_memory_error():
        return torch.stack(list(tensors))


# ── the one copy ──────────────────────────────────────────────────────────────────────────────


@functools.cache
def _copy_stream(label: str) -> Any:
    """The stream of a GPU on which frames go up, beside the one that computes."""
    return torch.cuda.Stream(label)


class Upload:
    """One frame on its way to a device, and then there.

    ::

        copy stream     ──[frame k]──[frame k+1]──▶          recorded: `_arrived`
        compute stream        └ wait_event ──[looks, models of batch k]──▶
        this thread     goes on at once; `finish()` waits for `_arrived`, so that the slot may be filled
    """

    def __init__(self, frame: Frame, device: Device) -> None:
        """Start the copy; it runs beside the caller when the frame lies in pinned memory."""
        source = torch.from_numpy(frame if frame.flags.writeable else frame.copy())
        self._arrived: Any = None
        with as_memory_error():
            if device.kind != "cuda":
                self._pixels: torch.Tensor | None = source.to(device.label)
                return
            with torch.cuda.stream(_copy_stream(device.label)):
                there = torch.empty_like(source, device=device.label)
                self._pixels = there.copy_(source, non_blocking=True)
                self._arrived = torch.cuda.Event()
                self._arrived.record()

    def pixels(self) -> torch.Tensor:
        """uint8[H, W, 3] on the device; the stream that computes waits for it, the caller does not."""
        assert self._pixels is not None, "the batch is closed"
        if self._arrived is not None:
            stream = torch.cuda.current_stream(self._pixels.device)
            stream.wait_event(self._arrived)
            self._pixels.record_stream(stream)  # its memory is the copy stream's, and is in use beyond it
        return self._pixels

    def finish(self) -> None:
        """Wait until the frame has been read, and give the copy back."""
        if self._arrived is not None:
            self._arrived.synchronize()
        self._pixels = None


def choose(device: Device) -> None:
    """Make a CUDA device the one of this process: libraries that name none take it. Before models load."""
    if device.kind == "cuda":
        torch.cuda.set_device(device.index)


def pin(memory: NDArray[np.uint8]) -> None:
    """Let the GPUs of this process copy from `memory` by themselves. It must outlive them.

    Raises MemoryError when the system refuses (`ulimit -l`): copies then pass through a buffer of the
    driver, and the caller waits for each.
    """
    runtime: Any = torch.cuda.cudart()
    portable = 1  # cudaHostRegisterPortable: for every GPU
    code = runtime.cudaHostRegister(memory.ctypes.data, memory.nbytes, portable)
    if int(code) != 0:
        raise MemoryError(f"{memory.nbytes >> 20} MiB can't be pinned: CUDA error {int(code)}")


def unpin(memory: NDArray[np.uint8]) -> None:
    runtime: Any = torch.cuda.cudart()
    runtime.cudaHostUnregister(memory.ctypes.data)


# ── looking ───────────────────────────────────────────────────────────────────────────────────


def looked_at(pixels: torch.Tensor, look: Look, dtype: Any) -> torch.Tensor:
    """[3, height, width] of `pixels: uint8[H, W, 3]`, where they are. The twin of batches.looked_at."""
    crop, inside = placed(look, *pixels.shape[:2])
    with torch.inference_mode(), as_memory_error():
        levels = resized(pixels, crop, inside, look.filter, _working(pixels, dtype_of(dtype)))
        if inside != look.size:
            below, right = look.size[0] - inside[0], look.size[1] - inside[1]
            levels = torch.nn.functional.pad(levels, (0, right, 0, below), value=look.fill)
        mean, scale = _normalisation(look, pixels.device)
        values = levels.sub_(mean).mul_(scale)
        return (values.flip(0) if look.bgr else values).to(dtype_of(dtype))


def resized(
    pixels: torch.Tensor,
    crop: tuple[float, float, float, float],
    size: tuple[int, int],
    filter: str = "area",
    working: torch.dtype = torch.float32,
) -> torch.Tensor:
    """float32[3, height, width] in levels 0…255 of a part of `pixels: uint8[H, W, 3]`.

    `crop` is (x, y, width, height) in px, not necessarily whole; `size` is (height, width); `filter` as
    a Look has it. `working` is what is multiplied: float16 is off by less than half a level.
    """
    height, width = pixels.shape[:2]
    top, rows = _axis(crop[1], crop[3], height, size[0], filter, pixels.device)
    left, columns = _axis(crop[0], crop[2], width, size[1], filter, pixels.device)
    with torch.inference_mode(), as_memory_error():
        part = pixels[top : top + rows.shape[1], left : left + columns.shape[1]].to(working)
        mixed = (rows.to(working) @ part.reshape(part.shape[0], -1)).view(size[0], -1, 3)
        levels = (mixed.permute(2, 0, 1) @ columns.T.to(working)).to(torch.float32)
        return levels.clamp_(0, 255) if filter == "bicubic" else levels


def _working(pixels: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    """float16 on a GPU for models that compute in no more: its tensor cores multiply it fastest.

    Levels are exact in it; what the model's own precision takes from them is more than what it does.
    """
    return torch.float16 if pixels.device.type == "cuda" and dtype != torch.float32 else torch.float32


@functools.lru_cache(_KEPT_AXES)
def _axis(
    start: float, length: float, source: int, target: int, filter: str, device: torch.device
) -> tuple[int, torch.Tensor]:
    """The first source pixel that counts, and float32[target, n]: weights of n pixels from it on.

    As make_axis in native/src/axis.h.
    """
    scale = length / target
    reach = _WIDTHS[filter] * max(scale, 1.0) if filter != "area" else max(scale / 2, 1.0)
    first = max(0, math.floor(start + scale / 2 - reach))
    last = min(source, math.ceil(start + length - scale / 2 + reach) + 1)
    exact = torch.float32 if device.type == "mps" else torch.float64
    positions = torch.arange(first, last, dtype=exact, device=device)
    centres = (torch.arange(target, dtype=exact, device=device).add_(0.5) * scale + start)[:, None]
    weights = _WEIGHTS[filter](positions, centres, scale)
    return first, (weights / weights.sum(1, keepdim=True)).to(torch.float32)


def _coverage(positions: torch.Tensor, centres: torch.Tensor, scale: float) -> torch.Tensor:
    """The share of each source pixel that an output pixel covers; enlarging is linear."""
    if scale <= 1:
        return _triangle(positions, centres, scale)
    low = torch.maximum(centres - scale / 2, positions)
    return (torch.minimum(centres + scale / 2, positions + 1) - low).clamp_(min=0)


def _triangle(positions: torch.Tensor, centres: torch.Tensor, scale: float) -> torch.Tensor:
    return (1 - (positions + 0.5 - centres).abs() / max(scale, 1.0)).clamp_(min=0)


def _cubic(positions: torch.Tensor, centres: torch.Tensor, scale: float) -> torch.Tensor:
    """Keys 1981 with a = -1/2."""
    x = (positions + 0.5 - centres).abs() / max(scale, 1.0)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


_WEIGHTS = {"area": _coverage, "bilinear": _triangle, "bicubic": _cubic}
_WIDTHS = {"bilinear": 1.0, "bicubic": 2.0}  # half of what an output pixel sees, in output pixels


@functools.lru_cache(_KEPT_AXES)
def _normalisation(look: Look, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and scale of a look as float32[3, 1, 1] on the device."""
    mean = torch.tensor(look.mean, dtype=torch.float32, device=device)
    scale = torch.tensor(look.scale, dtype=torch.float32, device=device)
    return mean[:, None, None], scale[:, None, None]
