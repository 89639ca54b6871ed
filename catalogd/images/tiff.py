"""TIFF: Pillow's libtiff for what it reads rightly, tifffile for the rest.

::

    tags ─▶ 8 and 16 bits, gray floats, fax, JPEG … ─▶ `raster` (Pillow)
         └▶ colours of 32 bits and floats, deep planes, Lab of 16 bits, codings of scanners and
            microscopes ─▶ tifffile and imagecodecs, which the extra `tiff` installs

Pillow reads some of the second kind without an error, as noise: they never reach it.
"""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
from PIL import Image

from catalogd.errors import UnsupportedError
from catalogd.images.blocks import read_blocks
from catalogd.images.colour import encode_srgb
from catalogd.images.frames import Decoded, Pixels, check_size
from catalogd.images.raster import decode_raster, extent_of, shrink_factor, to_rgb
from catalogd.metadata import Directory, Tiff, read_orientation
from catalogd.settings import Settings

_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES, _FORMAT = 0x0102, 0x0103, 0x0106, 0x011C, 0x0153
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK, _LAB = 0, 1, 2, 5, 8  # photometric interpretations
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4, _LAB: 3}
_BIG_ENDIAN_BIG = b"MM\0+"  # Pillow takes a BigTIFF of this byte order for a plain one
_WEBP = 50001  # a coding that the libtiff of Pillow's wheels is built without
_TRANSPARENCY = (1, 2)  # extra samples that are alpha


def decode_tiff(content: bytes, limits: Settings) -> Decoded:
    """Decode the first picture of a TIFF, to pixels that cover the frame.

    Raises UnsupportedError (also for what tifffile would read, when it is not installed),
    UnreadableError and TooLargeError, and whatever else the libraries raise on a damaged file.
    """
    main = Tiff(content).main()
    refusal = "its samples are of a kind that Pillow misreads"
    if not (content.startswith(_BIG_ENDIAN_BIG) or _is_misread(main)):
        try:
            decoded = decode_raster(content, "tiff", limits)
        except UnsupportedError as error:
            refusal = str(error)
        else:
            inverted = (main.number(_BITS) or 1) > 8 and main.number(_PHOTOMETRIC) == _WHITE_IS_ZERO
            return dataclasses.replace(decoded, pixels=~decoded.pixels) if inverted else decoded
    try:
        import tifffile
    except ImportError:
        raise UnsupportedError(f"install catalogd[tiff] to read this TIFF: {refusal}") from None
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return _decode_page(file.pages.first, content, limits)


def _is_misread(main: Directory) -> bool:
    """Whether Pillow would make something of the samples, and it would be wrong."""
    bits = main.number(_BITS) or 1
    whole = main.number(_FORMAT) in (None, 1)
    return (
        (bits > 8 and main.number(_PLANES) == 2)
        or (bits == 32 and whole)
        or main.number(_COMPRESSION) == _WEBP
    )


def _decode_page(page: Any, content: bytes, limits: Settings) -> Decoded:
    height, width = page.imagelength, page.imagewidth
    check_size(height, width, limits, "a TIFF")
    photometric = int(page.photometric)
    if photometric not in _COLOURS or page.imagedepth != 1:
        raise UnsupportedError(f"a TIFF of colours that are not read here: {page.photometric!r}")
    samples = page.asarray().reshape(-1, height, width) if _is_planar(page) else page.asarray()
    planes = (
        list(samples) if _is_planar(page) else list(np.moveaxis(samples.reshape(height, width, -1), -1, 0))
    )
    image = _image(planes, photometric, page)
    linear = samples.dtype.kind == "f"
    profile = page.tags.valueof(34675)
    image.info["icc_profile"] = profile
    shrink = shrink_factor(height, width, limits.frame_edge_px)
    pixels = to_rgb(image, shrink)
    return Decoded(
        pixels=pixels,
        height=height,
        width=width,
        orientation=read_orientation(content),
        blocks=read_blocks(image, content, "tiff"),
        profile=profile if photometric <= _RGB and not linear else None,
        extent=extent_of(pixels, height, width, shrink),
    )


def _is_planar(page: Any) -> bool:
    return bool(page.planarconfig == 2 and page.samplesperpixel > 1)


def _image(planes: list[Any], photometric: int, page: Any) -> Image.Image:
    """The colours of `planes[H, W]` of any type in 8 bits, with the alpha that belongs to them."""
    count = _COLOURS[photometric]
    if count == 1 and planes[0].dtype.kind == "f":
        return Image.fromarray(planes[0].astype(np.float32))  # `to_rgb` finds its white
    alpha = photometric in (_BLACK_IS_ZERO, _RGB) and next(iter(page.extrasamples), 0) in _TRANSPARENCY
    levels = [_to_8_bits(plane, page.bitspersample) for plane in planes[: count + alpha]]
    if photometric == _WHITE_IS_ZERO:
        levels[0] = ~levels[0]
    if photometric == _LAB:  # a and b are signed: Pillow's are from 0 for -128
        levels[1:] = [level ^ np.uint8(128) for level in levels[1:]]
    mode = {_CMYK: "CMYK", _LAB: "LAB", _RGB: "RGB"}.get(photometric, "L") + "A" * alpha
    bands = [Image.fromarray(np.ascontiguousarray(level)) for level in levels]
    return Image.merge(mode, bands) if len(bands) > 1 else bands[0]


def _to_8_bits(plane: Any, bits: int) -> Pixels:
    """Whole numbers lose their lower bits; floats are linear light."""
    if plane.dtype.kind == "u":
        return np.asarray(plane >> (bits - 8) if bits > 8 else plane, np.uint8)
    if plane.dtype.kind == "i":
        return np.asarray(
            np.maximum(plane, 0) >> (bits - 9) if bits > 8 else np.maximum(plane, 0) * 2, np.uint8
        )
    return encode_srgb(plane)
