"""Where decoded pixels go: the fit into a slot, and what every decoder returns."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.errors import TooLargeError
from catalogd.metadata import Blocks
from catalogd.settings import Settings

Pixels = NDArray[np.uint8]

# A decoder keeps something for each row (Pillow: an address and an allocation), whatever the width.
MAX_EDGE_PX = 1_000_000
NO_PIXELS: Pixels = np.empty((0, 0, 3), np.uint8)  # of a photo that is not decoded yet


@dataclasses.dataclass(frozen=True, slots=True)
class Decoded:
    """One photo's pixels as a decoder gives them.

    `pixels: uint8[h, w, 3]` are at least as large as the frame where the photo is; `orientation`
    (EXIF 1 to 8) is still to be applied to them; `profile` is the ICC profile they are in, None
    for sRGB. `height` and `width` are the full photo's, before `orientation`; `blocks` is its
    metadata, still undecoded. `extent` is how much of `pixels` the photo takes from the top left, in
    rows and columns: a scaled decode may end with a part of each; None for all.
    """

    pixels: Pixels
    height: int
    width: int
    orientation: int
    blocks: Blocks
    path_taken: str = "full"
    profile: bytes | None = None
    truncated: bool = False
    extent: tuple[float, float] | None = None


def fit(height: float, width: float, edge_px: int) -> tuple[int, int]:
    """The height and width of a frame: long edge at most `edge_px`, never larger than the photo."""
    longest = max(height, width)
    if longest <= edge_px:
        return round(height), round(width)
    return max(1, round(height * edge_px / longest)), max(1, round(width * edge_px / longest))


def check_size(height: int, width: int, limits: Settings, what: str) -> None:
    """Refuse to decode more than the limits allow; raises TooLargeError with the numbers."""
    if height * width > limits.max_decoded_pixels:
        raise TooLargeError(
            f"decoding {what} of {width:,}x{height:,} makes {height * width:,} pixels; "
            f"max_decoded_pixels is {limits.max_decoded_pixels:,}"
        )
    if max(height, width) > MAX_EDGE_PX:
        raise TooLargeError(f"{what} of {width:,}x{height:,} has an edge above {MAX_EDGE_PX:,} px")


def write_upright(decoded: Decoded, slot: Pixels, edge_px: int) -> Pixels:
    """Resize and turn the pixels into the start of `slot`; returns the frame, a view of it.

    Nothing is done when the decoder has already written the frame there.
    """
    rows, columns = decoded.extent or decoded.pixels.shape[:2]
    height, width = fit(rows, columns, edge_px)
    if decoded.orientation >= 5:
        height, width = width, height
    frame = slot[: height * width * 3].reshape(height, width, 3)
    if decoded.pixels.ctypes.data != frame.ctypes.data:
        _native.resize(decoded.pixels, frame, decoded.orientation, decoded.extent)
    return frame
