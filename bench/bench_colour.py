"""What does it cost to bring a frame to sRGB, natively and by LittleCMS, and how far apart are they?

One JSON line a profile: CPU of this process for a frame of 1280 x 960, median of the rounds, the two
taking turns; the largest difference of a level over all pixels and the share of pixels that differ.
"""

from __future__ import annotations

import io
import statistics
import time

import numpy as np
import skimage.data
from measure import report
from PIL import Image, ImageCms

from catalogd.images import colour

ROUNDS = 9
HEIGHT, WIDTH = 960, 1280
NAMES = ("srgb", "display-p3", "adobe-rgb", "prophoto-rgb", "rec2020")


def photo() -> np.ndarray:
    """A real photo beside all kinds of colours: half of each."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    left = Image.fromarray(skimage.data.coffee()).resize((WIDTH // 2, HEIGHT))
    pixels[:, : WIDTH // 2] = np.asarray(left)
    return pixels


def by_littlecms(profile: bytes) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def measure(name: str, pixels: np.ndarray) -> None:
    profile = colour.profile_named(name)
    transform = by_littlecms(profile)
    ours, theirs, expected = [], [], pixels
    for _ in range(ROUNDS):
        frame = pixels.copy()
        started = time.process_time()
        colour.convert_to_srgb(frame, profile)
        ours.append(time.process_time() - started)
        started = time.process_time()
        expected = np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform))
        theirs.append(time.process_time() - started)
    apart = np.abs(frame.astype(int) - expected)
    native_s, littlecms_s = statistics.median(ours), statistics.median(theirs)
    report(
        f"{name} to sRGB, {WIDTH}x{HEIGHT}",
        native_cpu_ms=1000 * native_s,
        littlecms_cpu_ms=1000 * littlecms_s,
        times_less=littlecms_s / max(native_s, 1e-6),
        levels_apart=int(apart.max()),
        pixels_apart=float((apart > 0).any(axis=2).mean()),
    )


def main() -> None:
    pixels = photo()
    for name in NAMES:
        measure(name, pixels)


if __name__ == "__main__":
    main()
