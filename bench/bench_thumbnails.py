"""What does a thumbnail cost beside the reading of its photo, and which format should it have?

    python bench/bench_thumbnails.py formats             on photos that scikit-image carries
    python bench/bench_thumbnails.py formats FOLDER      on your own
    python bench/bench_thumbnails.py share [FOLDER]      24-MP camera JPEGs, kept in FOLDER

`formats`: one JSON line an encoder, at the quality where its SSIM is that of the default one: CPU,
bytes, and what 500,000 of them take. `share`: what a thumbnail adds to the reading of a camera JPEG,
both in turn, so that a busy machine disturbs them alike. CPU of this process.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import skimage
from measure import report, timed
from photos import SUBJECTS, Pixels, camera_folder
from PIL import Image
from skimage.metrics import structural_similarity

from catalogd.errors import PhotoError
from catalogd.images import read_frame
from catalogd.settings import GiB, Settings
from catalogd.thumbnails import ThumbnailStore, encode_thumbnail

PHOTOS = 500_000
QUALITIES = range(65, 95, 5)
SETTINGS = Settings()
ROUNDS = 5
CAMERA_PHOTOS = 6

Encode = Callable[[Pixels, int], bytes]


def ours(pixels: Pixels, quality: int) -> bytes:
    settings = dataclasses.replace(SETTINGS, thumbnail_format="jpeg", thumbnail_quality=quality)
    return encode_thumbnail(pixels, settings)


def pillow(format: str, **options: object) -> Encode:
    def encode(pixels: Pixels, quality: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format, quality=quality, **options)
        return file.getvalue()

    return encode


ENCODERS: dict[str, Encode] = {
    "jpeg (simplejpeg)": ours,
    "jpeg optimised (Pillow)": pillow("JPEG", optimize=True),
    "jpeg progressive (Pillow)": pillow("JPEG", progressive=True),
    **{f"webp method {method} (Pillow)": pillow("WEBP", method=method) for method in (0, 1, 2, 4, 6)},
}


def thumbnails(files: Sequence[Path]) -> list[Pixels]:
    """What the encoders get: each photo at the thumbnail's edge; smaller photos are left out."""
    limits = dataclasses.replace(SETTINGS, frame_edge_px=SETTINGS.thumbnail_edge_px)
    slot = np.zeros(limits.frame_edge_px**2 * 3, np.uint8)
    found = []
    for file in files:
        try:
            reading = read_frame(bytes(file), slot, limits)
        except PhotoError:
            continue
        if max(reading.height, reading.width) == limits.frame_edge_px:
            size = reading.height * reading.width * 3
            found.append(slot[:size].reshape(reading.height, reading.width, 3).copy())
    return found


def similarity(pixels: Pixels, encoded: bytes) -> float:
    """SSIM of the luma."""
    decoded = Image.open(io.BytesIO(encoded)).convert("L")
    luma = np.asarray(Image.fromarray(pixels).convert("L"))
    return float(structural_similarity(luma, np.asarray(decoded)))


def at_equal_similarity(encode: Encode, pictures: list[Pixels], wanted: float) -> tuple[float, float]:
    """Quality and mean bytes at which the mean SSIM is `wanted`, between the measured qualities."""
    found, sizes = [], []
    for quality in QUALITIES:
        files = [encode(pixels, quality) for pixels in pictures]
        found.append(statistics.mean(map(similarity, pictures, files)))
        sizes.append(statistics.mean(map(len, files)))
    return float(np.interp(wanted, found, QUALITIES)), float(np.interp(wanted, found, sizes))


def cpu_ms(work: Callable[[], object]) -> float:
    return 1000 * statistics.median(timed(work, time.process_time) for _ in range(ROUNDS))


def measure_formats(folder: Path | None) -> None:
    carried = Path(skimage.__file__).parent / "data"
    files = sorted(folder.rglob("*")) if folder else [carried / name for name in SUBJECTS]
    pictures = thumbnails([file for file in files if file.is_file()])
    default = [encode_thumbnail(pixels, SETTINGS) for pixels in pictures]
    wanted = statistics.mean(map(similarity, pictures, default))
    for name, encode in ENCODERS.items():
        quality, size = at_equal_similarity(encode, pictures, wanted)
        cost = statistics.mean(
            cpu_ms(functools.partial(encode, pixels, round(quality))) for pixels in pictures
        )
        report(
            f"thumbnail, {name}",
            photos=len(pictures),
            ssim=wanted,
            quality=quality,
            cpu_ms=cost,
            kib=size / 1024,
            gib_of_500000=size * PHOTOS / GiB,
        )


def measure_share(folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        files = camera_folder(folder or Path(scratch) / "camera", CAMERA_PHOTOS)
        for format in ("jpeg", "webp"):
            catalog = Path(scratch) / format
            _measure_share(files, dataclasses.replace(SETTINGS, catalog=catalog, thumbnail_format=format))


def _measure_share(files: Sequence[Path], settings: Settings) -> None:
    """The whole of `put`, and the reading that it comes with; a new content each time."""
    slot = np.zeros(settings.frame_edge_px**2 * 3, np.uint8)
    store = ThumbnailStore(settings)
    reads, puts = [], []
    for number, file in enumerate([*files, *files * ROUNDS]):
        started = time.process_time()
        reading = read_frame(bytes(file), slot, settings)
        read = time.process_time()
        frame = slot[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)
        store.put(np.random.default_rng(number).bytes(16), frame)
        if number >= len(files):  # the first round warms caches and imports
            reads.append(read - started)
            puts.append(time.process_time() - read)
    read_ms, put_ms = 1000 * statistics.median(reads), 1000 * statistics.median(puts)
    report(
        f"thumbnail of a 24 MP JPEG, {settings.thumbnail_format}",
        read_cpu_ms=read_ms,
        thumbnail_cpu_ms=put_ms,
        share=put_ms / read_ms,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("question", choices=("formats", "share"))
    parser.add_argument("folder", type=Path, nargs="?")
    arguments = parser.parse_args()
    {"formats": measure_formats, "share": measure_share}[arguments.question](arguments.folder)


if __name__ == "__main__":
    main()
