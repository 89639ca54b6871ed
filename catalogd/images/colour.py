"""Colours to sRGB with LittleCMS, on reduced pixels; imported only when a photo needs it."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from catalogd.images.frames import Pixels

TRANSFORMS_KEPT = 16  # a library has few profiles; building a transform takes about 10 ms
MAX_PROFILE_BYTES = 16 << 20  # CMYK press profiles have up to about 3 MB
SAME_LEVELS = 3  # of 255: profiles that are sRGB under another name differ by rounding only


def convert_to_srgb(frame: Pixels, profile: bytes) -> None:
    """Convert `frame: uint8[H, W, 3]` from `profile` to sRGB, in place.

    A profile that is broken, or not of RGB, is ignored: the levels are then taken as sRGB.
    """
    transform = _transform(profile, "RGB")
    if transform is not None:
        frame[:] = np.asarray(ImageCms.applyTransform(Image.fromarray(frame), transform))


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A CMYK image as sRGB: by its profile, or by the plain formula where that is absent or broken."""
    transform = _transform(profile, "CMYK") if profile else None
    converted = ImageCms.applyTransform(image, transform) if transform is not None else None
    return converted if converted is not None else image.convert("RGB")


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """A CIELAB image (D50) as sRGB."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # only an in-place conversion returns nothing
    return converted


@functools.lru_cache(TRANSFORMS_KEPT)
def _transform(profile: bytes, mode: str) -> Any | None:
    if len(profile) > MAX_PROFILE_BYTES:
        return None
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: Any) -> bool:
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    converted = np.asarray(ImageCms.applyTransform(Image.fromarray(cube), transform))
    return int(np.abs(converted.astype(int) - cube).max()) <= SAME_LEVELS
