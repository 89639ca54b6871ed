"""RAW files: which of their pictures is read, and how upright it stands."""

from __future__ import annotations

import numpy as np
import pytest

from catalogd.errors import (
    UnsupportedError,
)
from tests import factory
from tests.images.reading import UPRIGHT, decibels, read, reduced


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_file_is_read_through_its_preview_upright(tmp_path, orientation):
    raw = factory.stored(factory.scene(480, 640, seed=1), orientation)
    preview = factory.stored(UPRIGHT, orientation)
    reading, frame = read(factory.write_dng(tmp_path / "photo.dng", raw, orientation, preview))
    assert reading.facts.path_taken == "preview"
    assert decibels(frame, reduced(UPRIGHT, 320, 240)) > 35


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_raw_file_without_a_preview_is_developed_at_half_size(tmp_path, orientation):
    path = factory.write_dng(tmp_path / "photo.dng", factory.stored(UPRIGHT, orientation), orientation)
    reading, frame = read(path)
    assert (reading.facts.format, reading.facts.path_taken) == ("raw", "half_size")
    assert (reading.facts.width, reading.facts.height) == (640, 480)
    expected = reduced(UPRIGHT, 320, 240)
    assert np.corrcoef(frame.ravel(), expected.ravel())[0, 1] > 0.9


def test_a_small_raw_preview_is_not_enough(tmp_path):
    path = factory.write_dng(tmp_path / "photo.dng", UPRIGHT, preview=factory.scene(120, 160))
    assert read(path)[0].facts.path_taken == "half_size"


def test_a_preview_that_stands_upright_already_is_not_turned_again(tmp_path):
    upright = factory.scene(640, 480)
    path = factory.write_dng(tmp_path / "photo.dng", factory.stored(upright, 6), 6, preview=upright)
    reading, frame = read(path)
    assert (reading.facts.width, reading.facts.height) == (480, 640)
    assert decibels(frame, reduced(upright, 240, 320)) > 35


def test_a_raw_file_that_libraw_refuses_shows_the_preview_it_holds(tmp_path):
    shown = factory.jpeg_bytes(factory.stored(UPRIGHT, 6), exif=factory.exif_block(6))
    path = tmp_path / "photo.cr3"
    path.write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(500) + shown)
    reading, frame = read(bytes(path))
    assert (reading.facts.format, reading.facts.path_taken) == ("raw", "preview")
    assert decibels(frame, reduced(UPRIGHT, 320, 240)) > 35


def test_a_raw_file_without_anything_usable_is_unsupported(tmp_path):
    path = tmp_path / "photo.cr3"
    path.write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(500))
    with pytest.raises(UnsupportedError, match="LibRaw cannot read it"):
        read(bytes(path))
