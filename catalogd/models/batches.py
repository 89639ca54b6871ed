"""The frames of one batch, and what models make of them before they look.

A model says by a `Look` how it wants its frames; frames that several models want alike are made once::

                       ┌─ pixels(look)   float32[n, 3, h, w], native kernel            on the CPU
    frames in the ring ┤
                       └─ prefetch() ─▶ uint8[H, W, 3] on the GPU ─▶ tensor(look, …)    on a GPU
                           one copy a frame, on a stream of its own

Each look is made from the frame itself. From a half-size copy that is made once, two looks would take 1.1 to
1.7 times the CPU, and differ by up to 30 levels at edges (bench/bench_looks.py).

Both ways have the same weights, so that a photo is seen alike whichever device looks at it
(tests/models/test_torch_batches.py). torch is loaded by the first call that has to do with tensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.models.devices import CPU, Device

if TYPE_CHECKING:
    from catalogd.models import Frame

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Look:
    """How a model wants a frame: cut, resized with antialiasing and normalised.

    Values are `(level - mean) * scale`, level in 0…255, by channel in RGB order.
    """

    size: tuple[int, int]  # height, width
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255)
    # "crop": the middle; "squash": all of it; "letterbox": all of it, filled up below and right
    fit: str = "crop"
    share: float = 1.0  # of the short side that "crop" keeps
    fill: float = 0.0  # level of what is filled up
    bgr: bool = False  # planes as blue, green, red
    filter: str = "area"  # "bilinear", "bicubic": as PIL and torchvision resize; "area": exact coverage


class _Prepared:
    """One frame, its copy on the device, and what was made of it."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.upload: Any = None  # tensors.Upload
        self.made: dict[Any, Any] = {}  # by Look, or by Look and dtype; two threads may make the same twice


class Batch(Sequence["Frame"]):
    """Frames `uint8[H, W, 3]` that go through the models together; a sequence of them.

    The frames lie in the ring: they are not changed, and are read until `close()`. What was made of
    them, here and on the device, goes with the batch.
    """

    def __init__(self, frames: Sequence[Frame], device: Device = CPU) -> None:
        self.device = device
        self._prepared = [_Prepared(frame) for frame in frames]

    def __len__(self) -> int:
        return len(self._prepared)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [prepared.frame for prepared in self._prepared[index]]
        return self._prepared[index].frame

    def part(self, indexes: Sequence[int]) -> Batch:
        """Some of its frames; what was and will be made of them is shared."""
        part = Batch([], self.device)
        part._prepared = [self._prepared[index] for index in indexes]
        return part

    def pixels(self, look: Look) -> Floats:
        """`float32[n, 3, height, width]` on the CPU, by the native kernel. n is at least 1."""
        return np.stack([_pixels(prepared, look) for prepared in self._prepared])

    def prefetch(self) -> None:
        """Start to copy its frames to the GPU, beside what the GPU computes; nothing on a CPU.

        Each frame is copied once, however often this is called. Raises MemoryError.
        """
        if self.device.is_gpu:
            self._upload()

    def uploaded(self) -> list[Any]:
        """Each frame as torch uint8[H, W, 3] on the device, for models that cut it themselves.

        What is computed with them waits for the copies; the caller does not. Not to be changed.
        """
        return [upload.pixels() for upload in self._upload()]

    def tensor(self, look: Look, dtype: Any = "fp32") -> Any:
        """Torch tensor [n, 3, height, width] on the device. n is at least 1.

        `dtype` is torch's, or "fp32", "bf16", "fp16". Raises MemoryError.
        """
        from catalogd.models import tensors

        if not self.device.is_gpu:
            return tensors.wrapped(self.pixels(look), dtype)
        made = [_tensor(prepared, look, dtype) for prepared in self._uploading()]
        return tensors.stacked(made)

    def close(self) -> None:
        """Forget what was made of its frames, and wait until none is being copied.

        Only then may their slots be filled anew. Parts of it are closed with it.
        """
        for prepared in self._prepared:
            if prepared.upload is not None:
                prepared.upload.finish()
            prepared.upload = None
            prepared.made.clear()

    def _upload(self) -> list[Any]:
        return [prepared.upload for prepared in self._uploading()]

    def _uploading(self) -> list[_Prepared]:
        """Its frames, all of them on their way to the device."""
        from catalogd.models import tensors

        for prepared in self._prepared:
            if prepared.upload is None:
                prepared.upload = tensors.Upload(prepared.frame, self.device)
        return self._prepared


def as_batch(frames: Sequence[Frame], device: Device = CPU) -> Batch:
    """What a model was given, as a batch: the pipeline gives one, a test may give a list."""
    return frames if isinstance(frames, Batch) else Batch(frames, device)


def _pixels(prepared: _Prepared, look: Look) -> Floats:
    if look not in prepared.made:
        prepared.made[look] = looked_at(prepared.frame, look)
    pixels: Floats = prepared.made[look]
    return pixels


def _tensor(prepared: _Prepared, look: Look, dtype: Any) -> Any:
    from catalogd.models import tensors

    key = (look, dtype)
    if key not in prepared.made:
        prepared.made[key] = tensors.looked_at(prepared.upload.pixels(), look, dtype)
    return prepared.made[key]


def placed(look: Look, height: int, width: int) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """What is cut out of a frame, (x, y, width, height) in its px, and the (height, width) it becomes."""
    if look.fit == "squash":
        return (0.0, 0.0, float(width), float(height)), look.size
    if look.fit == "letterbox":
        return (0.0, 0.0, float(width), float(height)), _letterboxed(look.size, height, width)
    if look.share == 1.0:
        return _middle(look.size, height, width), look.size
    scale = look.share * min(height / look.size[0], width / look.size[1])
    cut_height, cut_width = look.size[0] * scale, look.size[1] * scale
    return ((width - cut_width) / 2, (height - cut_height) / 2, cut_width, cut_height), look.size


def _letterboxed(size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """One edge as long as it goes, the other rounded down, as the authors of SCRFD and YOLOX do it."""
    if height * size[1] > width * size[0]:
        return size[0], max(1, width * size[0] // height)
    return max(1, height * size[1] // width), size[1]


def _middle(size: tuple[int, int], height: int, width: int) -> tuple[float, float, float, float]:
    """What torchvision keeps: it resizes the short side, then cuts the middle out, in whole px each time."""
    shrunk = max(size[0] / height, size[1] / width)
    tall, wide = max(int(height * shrunk), size[0]), max(int(width * shrunk), size[1])
    top, left = round((tall - size[0]) / 2), round((wide - size[1]) / 2)
    down, right = height / tall, width / wide
    return left * right, top * down, size[1] * right, size[0] * down


def looked_at(frame: Frame, look: Look) -> Floats:
    """`float32[3, height, width]` of one frame, by the native kernel."""
    target = np.empty((3, *look.size), np.float32)
    crop, inside = placed(look, *frame.shape[:2])
    _native.resize_to_tensor(
        frame,
        target,
        look.mean,
        look.scale,
        crop=crop,
        bgr=look.bgr,
        placed=inside,
        fill=look.fill,
        filter=look.filter,
    )
    return target
