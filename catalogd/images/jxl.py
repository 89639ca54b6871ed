"""JPEG XL through libjxl, which the extra `jxl` installs.

libjxl gives 8 bits, upright: what the EXIF says of the orientation repeats what was applied
(ISO/IEC 18181-1, 3.4: the codestream's own orientation counts).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from catalogd.errors import UnreadableError, UnsupportedError
from catalogd.images.frames import Decoded, check_size
from catalogd.images.raster import extent_of, shrink_factor, to_rgb
from catalogd.metadata import Blocks
from catalogd.settings import Settings


def decode_jxl(content: bytes, limits: Settings) -> Decoded:
    """Decode the first picture of a JPEG XL file.

    Raises UnsupportedError without the library, UnreadableError and TooLargeError.
    """
    try:
        import pylibjxl
    except ImportError:
        raise UnsupportedError("a JPEG XL picture: install catalogd[jxl] to read it") from None
    try:
        header = pylibjxl.probe(content)
        check_size(header["height"], header["width"], limits, "a JPEG XL")
        decoded, metadata = pylibjxl.decode(content, metadata=True)
    except RuntimeError as error:
        raise UnreadableError(f"damaged JPEG XL: {error}") from error
    height, width = decoded.shape[:2]  # upright, as the header's are not
    shrink = shrink_factor(height, width, limits.frame_edge_px)
    pixels = to_rgb(_image(decoded), shrink)
    return Decoded(
        pixels=pixels,
        height=height,
        width=width,
        orientation=1,
        blocks=_blocks(metadata),
        profile=metadata.get("icc_profile") or metadata.get("icc"),
        extent=extent_of(pixels, height, width, shrink),
    )


def _image(pixels: Any) -> Image.Image:
    """`pixels: uint8[H, W]` or `uint8[H, W, C]` of one to four channels."""
    gray = pixels.ndim == 3 and pixels.shape[2] == 1
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if gray else pixels))


def _blocks(metadata: dict[str, bytes]) -> Blocks:
    exif = metadata.get("exif")
    return Blocks((exif,) if exif else (), xmp=metadata.get("xmp", b""))
