"""Whatever the bytes are: a frame or a PhotoError, soon; and of good files the right pixels."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalogd.errors import PhotoError
from catalogd.images import read_frame
from catalogd.settings import Settings
from tests import factory, hostile

LIMITS = Settings(frame_edge_px=128)
SLOT = np.zeros(LIMITS.frame_edge_px**2 * 3, np.uint8)
PATIENCE_S = 5.0  # for files of some kilobytes, on a machine that is busy
NEVER_A_PHOTO = ("claims", "noise", "drawing", "page", "program", "script", "commands", "archive", "sparse")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return hostile.write_good(tmp_path_factory.mktemp("good"))


def read(path: Path) -> str:
    """ "" when a frame came of it, else the reason."""
    started = time.monotonic()
    try:
        reading = read_frame(bytes(path), SLOT, LIMITS)
    except PhotoError as error:
        return error.reason
    finally:
        assert time.monotonic() - started < PATIENCE_S, path.name
    assert 1 <= max(reading.height, reading.width) <= LIMITS.frame_edge_px
    return ""


@pytest.mark.parametrize("seed", range(3))
def test_a_mutant_gives_a_frame_or_a_reason(tmp_path: Path, good: list[Path], seed: int) -> None:
    reasons = set()
    for name, content in hostile.mutants(good, 100 + seed, 700):
        path = tmp_path / name
        path.write_bytes(content)
        reasons.add(read(path))
        path.unlink()
    assert {"", "unreadable", "unsupported"} <= reasons


def test_monsters_are_refused_or_harmless(tmp_path: Path) -> None:
    hostile.write_monsters(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        reason = read(path)
        assert reason or not path.name.startswith(NEVER_A_PHOTO), path.name


@pytest.mark.parametrize("size", [(480, 640), (479, 641), (1201, 1603), (640, 480)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_scaled_decode_is_the_full_decode_reduced(
    tmp_path: Path, size: tuple[int, int], subsampling: int
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(factory.jpeg_bytes(factory.scene(*size), subsampling=subsampling))
    reading = read_frame(bytes(path), SLOT, LIMITS)
    frame = SLOT[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)
    with Image.open(path) as image:
        expected = np.asarray(image.resize((reading.width, reading.height), Image.Resampling.BICUBIC), float)
    assert 10 * np.log10(255**2 / np.mean((frame - expected) ** 2)) >= 35


def test_a_good_file_of_each_format_has_the_pixels_that_pillow_sees(good: list[Path]) -> None:
    for path in good:
        if path.suffix in (".dng", ".heic", ".avif") or path.stem in ("float", "deep", "profile", "cmyk"):
            continue  # compared with another reference by the tests of their decoders
        reading = read_frame(bytes(path), SLOT, LIMITS)
        frame = SLOT[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)
        expected = upright(path).resize((reading.width, reading.height), Image.Resampling.BICUBIC)
        error = np.mean((frame - np.asarray(expected, float)) ** 2)
        assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 35, path.name


def upright(path: Path) -> Image.Image:
    """Pillow's full decode, turned by the orientation that the file names, over white."""
    with Image.open(path) as image:
        orientation = 1 if image.format == "TIFF" else image.getexif().get(0x0112, 1)
        picture = image.convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(paper, picture).convert("RGB")
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Image.Transpose: flips, turns, transposes
    return picture.transpose(Image.Transpose(turns[orientation])) if orientation > 1 else picture
