"""The frames of one batch, and what models make of them before they look.

A model says by a `Look` how it wants its frames; frames that several models want alike are made once.
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
    """How a model wants a frame: cut, resized (antialiased) and normalised.

    Values are `(level - mean) * scale`, level in 0…255, by channel in RGB order.
    """

    size: tuple[int, int]  # height, width
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255)
    fit: str = (
        "crop"  # "crop": the middle; "squash": all of it; "letterbox": all of it, filled up below and right
    )
    share: float = 1.0  # of the short side that "crop" keeps
    fill: float = 0.0  # level of what is filled up
    bgr: bool = False  # planes as blue, green, red
    filter: str = "area"  # "bilinear", "bicubic": as PIL and torchvision resize; "area": exact coverage


class Batch(Sequence["Frame"]):
    """Frames `uint8[H, W, 3]` that go through the models together; a sequence of them.

    The frames lie in the ring: they are not changed, and are valid until the batch is done.
    """

    def __init__(self, frames: Sequence[Frame], device: Device = CPU) -> None:
        self.device = device
        self._frames = list(frames)
        self._made: list[dict[Look, Floats]] = [{} for _ in self._frames]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: Any) -> Any:
        return self._frames[index]

    def part(self, indexes: Sequence[int]) -> Batch:
        """Some of its frames; what was made of them is shared."""
        part = Batch([self._frames[index] for index in indexes], self.device)
        part._made = [self._made[index] for index in indexes]
        return part

    def pixels(self, look: Look) -> Floats:
        """`float32[n, 3, height, width]` on the CPU."""
        return np.stack([self._pixels_of(index, look) for index in range(len(self))])

    def _pixels_of(self, index: int, look: Look) -> Floats:
        made = self._made[index]
        if look not in made:  # two threads may both make it; they make the same
            made[look] = looked_at(self._frames[index], look)
        return made[look]


def as_batch(frames: Sequence[Frame], device: Device = CPU) -> Batch:
    return frames if isinstance(frames, Batch) else Batch(frames, device)


def placed(look: Look, height: int, width: int) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """What is cut out of a frame, (x, y, width, height) in its px, and the (height, width) it becomes."""
    if look.fit == "squash":
        return (0.0, 0.0, float(width), float(height)), look.size
    if look.fit == "letterbox":
        scale = min(look.size[0] / height, look.size[1] / width)
        inside = (max(1, round(height * scale)), max(1, round(width * scale)))
        return (0.0, 0.0, float(width), float(height)), inside
    if look.share == 1.0:
        return _middle(look.size, height, width), look.size
    scale = look.share * min(height / look.size[0], width / look.size[1])
    cut_height, cut_width = look.size[0] * scale, look.size[1] * scale
    return ((width - cut_width) / 2, (height - cut_height) / 2, cut_width, cut_height), look.size


def _middle(size: tuple[int, int], height: int, width: int) -> tuple[float, float, float, float]:
    """What torchvision keeps that resizes the short side and then cuts the middle out, in whole px each time."""
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
