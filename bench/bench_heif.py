"""How much CPU does a HEIC or AVIF photo cost until its frame is in a slot?

One JSON line a question. Baseline of each: pillow-heif's (AVIF: Pillow's) full decode and LANCZOS to
the same edge, in the same run. `libraries` is catalogd without the extra heif-fast. CPU of this
process, median of the rounds, the candidates taking turns so that a busy machine disturbs all alike.
`decibels`: the frame by FFmpeg against the frame by the libraries.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pillow_heif
from bench_decode import LIMITS, SLOT, camera_pixels, cpu_ms
from PIL import Image

from catalogd.images import planes, read_frame

pillow_heif.register_heif_opener()


def by_pillow(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        image.thumbnail((LIMITS.frame_edge_px,) * 2, Image.Resampling.LANCZOS, reducing_gap=None)
        return image.convert("RGB")


def by_catalogd(path: Path) -> np.ndarray:
    reading = read_frame(bytes(path), SLOT, LIMITS)
    return SLOT[: reading.height * reading.width * 3].copy()


def by_libraries(path: Path) -> np.ndarray:
    ffmpeg, planes.ffmpeg = planes.ffmpeg, lambda: None
    try:
        return by_catalogd(path)
    finally:
        planes.ffmpeg = ffmpeg


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    return round(float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))), 1)


def measure(question: str, path: Path) -> None:
    content = path.read_bytes()
    times = cpu_ms(
        {
            "catalogd": lambda: by_catalogd(path),
            "libraries": lambda: by_libraries(path),
            "pillow": lambda: by_pillow(content),
        }
    )
    line: dict[str, object] = {"question": question, "file_mb": round(len(content) / 1e6, 1)}
    line |= {f"{name}_cpu_ms": value for name, value in times.items()}
    line["times_less_than_pillow"] = round(times["pillow"] / times["catalogd"], 2)
    line["libraries_times_less"] = round(times["pillow"] / times["libraries"], 2)
    line["decibels"] = decibels(by_catalogd(path), by_libraries(path))
    print(json.dumps(line), flush=True)


def write_heic(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """As phones write it: deblocking and sample-adaptive offset on, about 1.5 bits a pixel."""
    mode = "RGB;16" if pixels.dtype == np.uint16 else "RGB"
    picture = pillow_heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())
    picture[0].info["thumbnails"] = options.pop("thumbnails", [])
    picture.save(path, quality=48, enc_params={"preset": "fast"}, **options)
    return path


def main() -> None:
    pixels = camera_pixels(4032, 3024)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "photo.heic"
        measure("HEIC 12 MP, tiles of 512 px", write_heic(path, pixels, tile_size=512))
        measure("HEIC 12 MP, one picture", write_heic(path, pixels))
        deep = write_heic(path, pixels.astype(np.uint16) * 257, tile_size=512)
        measure("HEIC 12 MP, 10 bits, tiles of 512 px", deep)
        preview = write_heic(path, pixels, thumbnails=[1620])
        measure("HEIC 12 MP with a thumbnail of 1620 px", preview)
        Image.fromarray(pixels).save(path.with_suffix(".avif"), quality=70, speed=8)
        measure("AVIF 12 MP", path.with_suffix(".avif"))


if __name__ == "__main__":
    main()
