"""What does a photo's own preview save: CPU until its frame is in a slot, and bytes read of its file?

    python bench/bench_reading.py            photos made here, 12 and 24 MP
    python bench/bench_reading.py FILE...    photos of yours instead

One JSON line a photo. CPU of this process, median of the rounds, the ways of reading it taking turns
so that a busy machine disturbs all alike: as catalogd reads it, and for a RAW also half-size and full
development. Bytes are what this process asked the kernel for (/proc/self/io), the fingerprint's three
blocks included.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rawpy
from measure import report

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench_decode import camera_pixels, cpu_ms

from catalogd.images import read_frame
from catalogd.settings import Settings
from tests import factory

LIMITS = Settings()
SLOT = np.zeros(LIMITS.frame_edge_px**2 * 3, np.uint8)
PREVIEW_EDGE_PX = 1620


def developed(path: Path, half: bool) -> object:
    with rawpy.imread(str(path)) as raw:
        return raw.postprocess(half_size=half, use_camera_wb=True, user_flip=0, output_bps=8)


def is_developed(path: Path) -> bool:
    """Whether LibRaw can; of a file that is damaged the preview may be all there is."""
    try:
        developed(path, half=True)
    except rawpy.LibRawError:
        return False
    return True


def bytes_read(run: Callable[[], object]) -> int:
    before = _characters_read()
    run()
    return _characters_read() - before - _own_bytes()


def _characters_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def _own_bytes() -> int:
    """What reading the counter itself adds to it."""
    first = _characters_read()
    return _characters_read() - first


def measure(name: str, path: Path) -> None:
    def read() -> object:
        return read_frame(bytes(path), SLOT, LIMITS)

    reading = read_frame(bytes(path), SLOT, LIMITS)
    ways: dict[str, Callable[[], object]] = {"catalogd": read}
    if reading.facts.format == "raw" and is_developed(path):
        ways |= {"half_size": lambda: developed(path, True), "full": lambda: developed(path, False)}
    times = {f"{name}_cpu_ms": taken for name, taken in cpu_ms(ways).items()}
    size = path.stat().st_size
    row: dict[str, object] = {"file_mb": round(size / 1e6, 1), "path_taken": reading.facts.path_taken}
    row |= times
    if "half_size_cpu_ms" in times:
        row["times_less_than_half_size"] = times["half_size_cpu_ms"] / times["catalogd_cpu_ms"]
    report(name, **row, share_of_file_read=bytes_read(read) / size)


def made(folder: Path) -> Iterator[tuple[str, Path]]:
    """RAW files with previews of two sizes, of one, and of none; a JPEG with a preview, and without."""
    for megapixels, (width, height) in {12: (4000, 3000), 24: (6000, 4000)}.items():
        pixels = camera_pixels(width, height)
        small = camera_pixels(PREVIEW_EDGE_PX, PREVIEW_EDGE_PX * height // width)
        path = folder / "photo"
        factory.write_dng(path, pixels, preview=pixels, small_preview=small)
        yield f"{megapixels} MP RAW, previews of full size and of {PREVIEW_EDGE_PX} px", path
        factory.write_dng(path, pixels, preview=pixels)
        yield f"{megapixels} MP RAW, preview of full size", path
        factory.write_dng(path, pixels)
        yield f"{megapixels} MP RAW without preview", path
        factory.write_mpf_jpeg(path, pixels, small, quality=92)
        yield f"{megapixels} MP JPEG, preview of {PREVIEW_EDGE_PX} px", path
        factory.write_jpeg(path, pixels, quality=92)
        yield f"{megapixels} MP JPEG without preview", path


def main() -> None:
    given = [Path(name) for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        for name, path in ((path.name, path) for path in given) if given else made(Path(folder)):
            measure(name, path)


if __name__ == "__main__":
    main()
