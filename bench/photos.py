"""Makes the photos that the benches of the whole read: different from each other, sized like a camera's.

    python bench/photos.py camera FOLDER 100     24-MP JPEGs, 4:2:2, 7-10 MB, with EXIF
    python bench/photos.py small FOLDER 200      0.3-2 MP: JPEG, PNG, WebP, HEIC in turn

Each is a real photo that scikit-image carries: a window of it, enlarged, perhaps mirrored and lit
otherwise, with fine texture and sensor noise, without which an enlarged file is a tenth of a camera's
size and decodes in half the time. What is there already is kept, so a folder is made once.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pillow_heif
import simplejpeg
import skimage
from PIL import Image

Pixels = npt.NDArray[np.uint8]

CAMERA_SIZE_PX = (6000, 4000)
SUBJECTS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)
QUALITY = 92
NOISE_LEVELS = 7.5  # standard deviation of the grain at 24 MP: with QUALITY it gives 7-10 MB
SMALL_NOISE_LEVELS = 2.0
SMALL_FORMATS = ("jpg", "png", "webp", "heic")


def camera_folder(folder: Path, count: int) -> list[Path]:
    """`count` camera JPEGs in `folder`; those that are there already stay."""
    return _made(folder, [f"IMG_{number:04}.jpg" for number in range(count)], _write_camera)


def small_folder(folder: Path, count: int) -> list[Path]:
    """`count` small photos of mixed formats in `folder`; those that are there already stay."""
    names = [f"small_{number:04}.{SMALL_FORMATS[number % len(SMALL_FORMATS)]}" for number in range(count)]
    return _made(folder, names, _write_small)


def _made(folder: Path, names: list[str], write: Callable[[int, Path], None]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    todo = [(number, path) for number, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        list(pool.map(write, *zip(*todo, strict=True)) if todo else ())
    return paths


def _write_camera(number: int, path: Path) -> None:
    random = np.random.default_rng(number)
    pixels = _grainy(_window(number, random, CAMERA_SIZE_PX), random, NOISE_LEVELS)
    jpeg = simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorsubsampling="422")
    _write_whole(path, jpeg[:2] + _exif_segment(number) + jpeg[2:])


def _write_small(number: int, path: Path) -> None:
    random = np.random.default_rng(100_000 + number)
    width = int(random.integers(660, 1700))
    pixels = _grainy(_window(number, random, (width, width * 2 // 3)), random, SMALL_NOISE_LEVELS)
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    match path.suffix:
        case ".heic":
            pillow_heif.from_pillow(image).save(stream, quality=60)
        case ".png":
            image.save(stream, "PNG", compress_level=3)
        case ".webp":
            image.save(stream, "WEBP", quality=85, method=2)
        case _:
            image.save(stream, "JPEG", quality=88)
    _write_whole(path, stream.getvalue())


def _write_whole(path: Path, content: bytes) -> None:
    aside = path.with_suffix(path.suffix + ".tmp")
    aside.write_bytes(content)
    aside.rename(path)


@functools.cache
def _subject(number: int) -> Image.Image:
    path = Path(skimage.__file__).parent / "data" / SUBJECTS[number % len(SUBJECTS)]
    with Image.open(path) as image:
        return image.convert("RGB")


def _window(number: int, random: np.random.Generator, size_px: tuple[int, int]) -> Image.Image:
    """A part of a real photo, 3:2, at `size_px`."""
    subject = _subject(number)
    share = random.uniform(0.75, 1.0)
    width = share * min(subject.width, subject.height * 1.5)
    left = random.uniform(0, subject.width - width)
    top = random.uniform(0, subject.height - width / 1.5)
    window = subject.resize(size_px, Image.Resampling.BICUBIC, (left, top, left + width, top + width / 1.5))
    return window.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else window


@functools.cache
def _grain() -> npt.NDArray[np.float32]:
    """One tile of unit noise: half of it a pixel fine, half of it texture of a few pixels."""
    random = np.random.default_rng(0)
    edge = 1024
    fine = random.standard_normal((edge, edge)).astype(np.float32)
    coarse = random.standard_normal((edge // 4, edge // 4)).astype(np.float32)
    texture = np.asarray(Image.fromarray(coarse).resize((edge, edge), Image.Resampling.BICUBIC))
    tile: npt.NDArray[np.float32] = fine + texture / texture.std()
    tile /= tile.std()
    return tile


def _grainy(image: Image.Image, random: np.random.Generator, levels: float) -> Pixels:
    """The picture lit otherwise and with noise in its brightness, another part of the tile each time."""
    pixels = np.asarray(image)
    tile = np.roll(_grain(), tuple(random.integers(0, 1024, 2)), (0, 1))
    light = random.uniform(-12, 12)
    grain = np.round(tile * levels + light).astype(np.int16)
    result = np.empty_like(pixels)
    edge = len(grain)
    for top in range(0, pixels.shape[0], edge):
        for left in range(0, pixels.shape[1], edge):
            part = pixels[top : top + edge, left : left + edge]
            noise = grain[: part.shape[0], : part.shape[1], None]
            result[top : top + edge, left : left + edge] = np.clip(part + noise, 0, 255)
    return result


def _exif_segment(number: int) -> bytes:
    """An APP1 segment as a camera writes it."""
    exif = Image.Exif()
    exif[271], exif[272], exif[274] = "Canon", "Canon EOS R6", 1
    exif[306] = f"2023:{1 + number % 12:02}:{1 + number % 28:02} 10:20:30"
    shot = exif.get_ifd(34665)
    shot[36867] = exif[306]
    shot[34855], shot[33434], shot[33437], shot[37386] = 100 * (1 + number % 16), 0.005, 4.0, 50.0
    block = exif.tobytes()
    return b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("camera", "small"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    make = {"camera": camera_folder, "small": small_folder}[arguments.kind]
    paths = make(arguments.folder, arguments.count)
    megabytes = sorted(path.stat().st_size / 1e6 for path in paths)
    sys.stdout.write(f"{len(paths)} photos, {megabytes[0]:.1f} to {megabytes[-1]:.1f} MB\n")


if __name__ == "__main__":
    main()
