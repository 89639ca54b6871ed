"""How much CPU does a photo cost until its frame is in a slot, and how far is that from the floor?

One JSON line a question. Baseline of each: Pillow's full decode and LANCZOS to the same edge, in the
same run. Floor: libjpeg-turbo at 1/8, which is nearly all Huffman decoding. CPU of this process,
median of the rounds, the candidates taking turns so that a busy machine disturbs all alike.
"""

from __future__ import annotations

import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import simplejpeg
import skimage.data
from PIL import Image

from catalogd.images import read_frame
from catalogd.settings import Settings

ROUNDS = 7
LIMITS = Settings()
SLOT = np.zeros(LIMITS.frame_edge_px**2 * 3, np.uint8)


def camera_pixels(width: int, height: int) -> np.ndarray:
    """A real photo enlarged, with the grain that makes a camera's file as large as it is."""
    photo = Image.fromarray(skimage.data.coffee()).resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 4.5, (height, width, 1)).astype(np.float32)
    return np.clip(np.asarray(photo, np.float32) + grain, 0, 255).astype(np.uint8)


def by_pillow(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        image.thumbnail((LIMITS.frame_edge_px,) * 2, Image.Resampling.LANCZOS, reducing_gap=None)
        return image.convert("RGB")


def cpu_ms(candidates: dict[str, Callable[[], object]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(ROUNDS + 1):
        for name, run in candidates.items():
            started = time.process_time()
            run()
            if round_number:  # the first round warms caches and imports
                taken[name].append(1000 * (time.process_time() - started))
    return {name: round(statistics.median(times), 1) for name, times in taken.items()}


def decibels(path: Path) -> float:
    """Our frame against a full decode and Pillow's LANCZOS."""
    reading = read_frame(bytes(path), SLOT, LIMITS)
    frame = SLOT[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)
    expected = np.asarray(by_pillow(path.read_bytes()).resize((reading.width, reading.height)), float)
    return round(float(10 * np.log10(255**2 / np.mean((frame - expected) ** 2))), 1)


def measure(question: str, path: Path, floor: Callable[[bytes], object] | None) -> None:
    content = path.read_bytes()
    candidates: dict[str, Callable[[], object]] = {
        "catalogd": lambda: read_frame(bytes(path), SLOT, LIMITS),
        "pillow": lambda: by_pillow(content),
    }
    if floor is not None:
        candidates["floor"] = lambda: floor(content)
    times = cpu_ms(candidates)
    line: dict[str, object] = {"question": question, "file_mb": round(len(content) / 1e6, 1)}
    line |= {f"{name}_cpu_ms": value for name, value in times.items()}
    line["times_less_than_pillow"] = round(times["pillow"] / times["catalogd"], 2)
    if floor is not None:
        line["above_floor"] = round(times["catalogd"] / times["floor"], 2)
    line["decibels"] = decibels(path)
    print(json.dumps(line), flush=True)


def eighth(content: bytes) -> object:
    return simplejpeg.decode_jpeg(content, min_height=1, min_width=1)


def main() -> None:
    pillow_heif.register_heif_opener()  # for the baseline
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo"
        large = camera_pixels(6000, 4000)
        path.write_bytes(simplejpeg.encode_jpeg(large, quality=92, colorsubsampling="422"))
        measure("24 MP camera JPEG 4:2:2", path, eighth)
        small = camera_pixels(4000, 3000)
        path.write_bytes(simplejpeg.encode_jpeg(small, quality=92, colorsubsampling="420"))
        measure("12 MP camera JPEG 4:2:0", path, eighth)
        Image.fromarray(small).save(path, "JPEG", quality=92, progressive=True)
        measure("12 MP progressive JPEG", path, eighth)
        pillow_heif.from_pillow(Image.fromarray(small)).save(path, quality=60)
        measure("12 MP HEIC", path, None)


if __name__ == "__main__":
    main()
