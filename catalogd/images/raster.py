"""PNG, WebP, TIFF, GIF, BMP and AVIF through Pillow.

Pillow opens a file by its header; what decoding would produce is checked before a pixel is decoded.
Pillow is given the one format that the content has, so that no other of its plugins (one of them
runs Ghostscript) ever sees a file.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from catalogd.errors import UnreadableError
from catalogd.images import colour
from catalogd.images.frames import Decoded, Pixels, check_size
from catalogd.metadata import Blocks, read_orientation
from catalogd.settings import Settings

BAND_ROWS = 256  # rows converted at a time: a band of a 20,000-px photo takes 15 MB
BACKGROUND = 255  # what shows through transparent pixels: white, as paper and most viewers

# Ours is `max_decoded_pixels`, checked in `decode_raster`; Pillow's own is below a 200-MP phone.
Image.MAX_IMAGE_PIXELS = None


def decode_raster(content: bytes, name: str, limits: Settings) -> Decoded:
    """Decode the first picture of a file whose format Pillow reads.

    `name` is one of avif, bmp, gif, png, tiff, webp. Raises UnreadableError and TooLargeError, and
    whatever else Pillow raises on a damaged file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content), formats=[name.upper()])
        except UnidentifiedImageError:
            raise UnreadableError(f"damaged {name.upper()}: its header cannot be read") from None
        with image:
            check_size(image.height, image.width, limits, f"a {name.upper()}")
            image.load()
            return _decoded(content, name, image)


def _decoded(content: bytes, name: str, image: Image.Image) -> Decoded:
    # Pillow has applied the orientation of a TIFF, and gives AVIF's as EXIF.
    exif = content if name == "tiff" else image.info.get("exif")
    profile = image.info.get("icc_profile")
    return Decoded(
        pixels=to_rgb(image),
        height=image.height,
        width=image.width,
        orientation=1 if name == "tiff" else read_orientation(exif),
        blocks=Blocks((exif,) if exif else ()),
        profile=profile if image.mode in ("RGB", "RGBA", "RGBX", "P") else None,
    )


def to_rgb(image: Image.Image) -> Pixels:
    """The pixels of an image of any mode as `uint8[H, W, 3]`, transparent ones over white."""
    if image.mode == "RGB":
        return np.asarray(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    white_level = _white_level(image)
    for top in range(0, image.height, BAND_ROWS):
        bottom = min(top + BAND_ROWS, image.height)
        pixels[top:bottom] = _band_to_rgb(image.crop((0, top, image.width, bottom)), white_level)
    return pixels


def _white_level(image: Image.Image) -> float:
    """What counts as white in the deep modes, which say nothing of it themselves."""
    if image.mode.startswith("I;16"):
        return 65535
    if image.mode == "I":
        return 255 if _highest(image) <= 255 else 65535 if _highest(image) <= 65535 else _highest(image)
    if image.mode == "F":
        highest = _highest(image)
        return 1.0 if highest <= 1 else 255 if highest <= 255 else highest
    return 255


def _highest(image: Image.Image) -> float:
    highest = image.getextrema()[1]
    return float(highest) if isinstance(highest, int | float) and np.isfinite(highest) else 65535.0


def _band_to_rgb(band: Image.Image, white_level: float) -> Any:
    if band.mode.startswith(("I", "F")):
        levels = np.nan_to_num(np.asarray(band, np.float32)) * (255 / white_level)
        return np.clip(levels + 0.5, 0, 255).astype(np.uint8)[:, :, None]
    if band.mode == "CMYK":
        return np.asarray(colour.cmyk_to_srgb(band, band.info.get("icc_profile")))
    if band.mode == "LAB":
        return np.asarray(colour.lab_to_srgb(band))
    if band.has_transparency_data:
        band = band.convert("RGBA")
        paper = Image.new("RGBA", band.size, (BACKGROUND,) * 3 + (255,))
        band = Image.alpha_composite(paper, band)
    return np.asarray(band.convert("RGB"))
