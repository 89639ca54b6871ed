"""RAW files: which of their pictures is read, and how upright it stands."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from PIL import Image

from catalogd.errors import TooLargeError, UnavailableError, UnsupportedError
from catalogd.images import raw, source
from catalogd.images.raw import decode_raw
from catalogd.images.source import Source
from catalogd.settings import Settings
from tests import factory
from tests.images.reading import LIMITS, UPRIGHT, bytes_read, decibels, read, reduced


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


def test_a_linear_raw_file_is_developed_at_full_size(tmp_path):
    """LibRaw halves a mosaic alone; the record said "half_size" of a full development."""
    reading, frame = read(factory.write_linear_dng(tmp_path / "photo.dng", UPRIGHT))
    assert (reading.facts.path_taken, reading.facts.width) == ("full", 640)
    assert np.corrcoef(frame.ravel(), reduced(UPRIGHT, 320, 240).ravel())[0, 1] > 0.9


def test_a_raw_file_of_too_many_pixels_is_refused_before_developing(tmp_path):
    path = factory.write_dng(tmp_path / "photo.dng", UPRIGHT)
    with pytest.raises(
        TooLargeError, match="a RAW of 640x480 makes 307,200 pixels; max_decoded_pixels is 9,999"
    ):
        read(path, Settings(frame_edge_px=320, max_decoded_pixels=9999))


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


def test_a_large_file_without_structure_is_searched_in_its_beginning_alone(tmp_path, monkeypatch):
    """A sparse file of 1 GiB was read and searched to its end: 6 s of CPU."""
    path = tmp_path / "photo.dng"
    with path.open("wb") as file:
        file.write(b"II*\0\x08\0\0\0\0\0\0\0\0\0")
        file.truncate(1 << 30)
    sizes = []
    read_range = source._read_range
    monkeypatch.setattr(source, "_read_range", lambda *place: sizes.append(place[2]) or read_range(*place))
    with pytest.raises(UnsupportedError, match="LibRaw cannot read it"):
        read(bytes(path))
    assert sum(sizes) < 80 << 20


def test_of_damaged_previews_without_structure_each_is_tried_once(tmp_path, monkeypatch):
    """Every one was tried in place of every other: sixteen were decoded 256 times."""
    tried = []
    decode = raw.decode_preview
    monkeypatch.setattr(raw, "decode_preview", lambda *given: tried.append(given[1]) or decode(*given))
    shown = factory.jpeg_bytes(UPRIGHT)
    path = tmp_path / "photo.cr3"
    path.write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + shown[: len(shown) // 2] * 20)
    with pytest.raises(UnsupportedError, match="holds no preview"):
        read(bytes(path))
    assert [len(previews) for previews in tried] == [1] * 16


# ── which preview, and what is read ───────────────────────────────────────────────────────────

SENSOR = factory.scene(480, 640, seed=1)


def test_the_smallest_preview_that_covers_the_frame_is_decoded(tmp_path):
    shown = factory.scene(360, 480, seed=9)
    path = factory.write_dng(tmp_path / "photo.dng", SENSOR, preview=UPRIGHT, small_preview=shown)
    reading, frame = read(path)
    assert (reading.facts.path_taken, reading.facts.width) == ("preview", 640)
    assert decibels(frame, reduced(shown, 320, 240)) > 30


def test_only_the_directories_and_the_preview_are_read(tmp_path, monkeypatch):
    preview = factory.scene(360, 480)
    path = factory.write_dng(tmp_path / "photo.dng", factory.scene(1200, 1600), preview=preview)
    count, reading = bytes_read(monkeypatch, path)
    assert reading.facts.path_taken == "preview"
    assert count < 0.4 * reading.stat.size


def test_libraw_reads_the_very_file_that_was_opened(tmp_path, monkeypatch):
    path = tmp_path / "photo.dng"
    factory.write_dng(path, UPRIGHT)
    with Source(bytes(path), 1 << 30) as opened:
        path.unlink()
        factory.write_dng(path, factory.scene(48, 64))
        decoded = decode_raw(opened, None, LIMITS)
    assert (decoded.width, decoded.height) == (640, 480)


def test_a_preview_of_another_shape_is_not_the_photo(tmp_path):
    path = factory.write_dng(tmp_path / "photo.dng", UPRIGHT, preview=factory.scene(360, 640))
    assert read(path)[0].facts.path_taken == "half_size"


def test_a_damaged_preview_gives_way_to_a_larger_one_and_then_to_the_sensor(tmp_path):
    whole = factory.jpeg_bytes(factory.scene(360, 480))
    damaged = whole[: len(whole) // 2]
    path = tmp_path / "photo.dng"
    assert read(factory.write_dng(path, SENSOR, 1, UPRIGHT, damaged))[0].facts.path_taken == "preview"
    assert read(factory.write_dng(path, UPRIGHT, 1, damaged))[0].facts.path_taken == "half_size"


@pytest.mark.parametrize("own", [1, 3, 6, 8])
def test_a_preview_says_itself_how_it_is_turned_where_that_makes_the_photos_shape(tmp_path, own):
    preview = factory.jpeg_bytes(factory.stored(UPRIGHT, own), exif=factory.exif_block(own))
    reading, frame = read(factory.write_dng(tmp_path / "photo.dng", SENSOR, 1, preview))
    assert reading.facts.path_taken == "preview"
    assert (reading.facts.width, reading.facts.height) == (640, 480)
    assert decibels(frame, reduced(UPRIGHT, 320, 240)) > 30


def test_a_preview_whose_exif_says_upright_though_it_lies_is_turned_as_the_photo(tmp_path):
    lying = factory.stored(UPRIGHT, 6)
    preview = factory.jpeg_bytes(lying, exif=factory.exif_block(1))
    _, frame = read(factory.write_dng(tmp_path / "photo.dng", factory.stored(SENSOR, 6), 6, preview))
    assert decibels(frame, reduced(UPRIGHT, 320, 240)) > 30


def colours_of(tmp_path, preview, **tags):
    frame = read(factory.write_dng(tmp_path / "photo.dng", SENSOR, 1, preview, **tags))[1]
    return frame.reshape(-1, 3).mean(0)


def test_the_colours_of_a_preview_are_those_of_its_profile_or_of_the_tag_for_them(tmp_path):
    picture = np.full((480, 640, 3), (90, 200, 90), np.uint8)
    plain = colours_of(tmp_path, picture)
    adobe = colours_of(tmp_path, picture, tC71A=(factory.LONG, 3))
    swapped = factory.jpeg_bytes(picture[:, :, [1, 0, 2]], profile=factory.rgb_profile(True, 2.2), quality=95)
    assert np.abs(plain - (90, 200, 90)).max() < 3
    assert adobe[0] < plain[0] - 20  # a green that sRGB has not: less red
    assert np.abs(colours_of(tmp_path, swapped, tC71A=(factory.LONG, 3)) - plain).max() < 6


def test_a_developed_raw_file_is_srgb_whatever_its_preview_is_in(tmp_path):
    path = tmp_path / "photo.dng"
    plain = read(factory.write_dng(path, UPRIGHT))[1]
    assert (read(factory.write_dng(path, UPRIGHT, tC71A=(factory.LONG, 3)))[1] == plain).all()


def test_a_disk_that_goes_away_is_no_damaged_raw_file(tmp_path, monkeypatch):
    def gone(descriptor, start, size):
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "photo.cr3"
    path.write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200_000))
    with Source(bytes(path), 1 << 30) as opened:
        opened[0:1]
        monkeypatch.setattr(source, "_read_range", gone)
        with pytest.raises(UnavailableError, match="Input/output error"):
            decode_raw(opened, None, LIMITS)


def test_a_raw_file_without_a_sensor_or_a_preview_shows_its_thumbnail(tmp_path):
    path = tmp_path / "photo.kdc"
    Image.fromarray(factory.scene(64, 96)).save(path, "TIFF")
    reading, frame = read(bytes(path))
    assert (reading.facts.format, reading.facts.path_taken) == ("raw", "preview")
    np.testing.assert_array_equal(frame, factory.scene(64, 96))
