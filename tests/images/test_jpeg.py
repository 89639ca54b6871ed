"""JPEG: what is decoded, by which way, and what is refused with which words."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from catalogd.errors import (
    PhotoError,
    TooLargeError,
    UnreadableError,
)
from catalogd.images import jpeg
from catalogd.settings import Settings
from tests import factory
from tests.images.reading import UPRIGHT, decibels, read, reduced


def test_a_large_jpeg_looks_like_the_full_decode_resized(tmp_path):
    pixels = factory.scene(1732, 2600)
    path = factory.write_jpeg(tmp_path / "photo.jpg", pixels, quality=95)
    reading, frame = read(path, Settings())
    with Image.open(os.fsdecode(path)) as full:
        expected = full.resize((1280, 853), Image.Resampling.BOX)
    assert reading.facts.path_taken == "dct/2"
    assert decibels(frame, expected) > 35


def test_a_scaled_jpeg_of_the_frame_size_is_decoded_into_the_slot(tmp_path, monkeypatch):
    path = factory.write_jpeg(tmp_path / "photo.jpg", UPRIGHT)
    monkeypatch.setattr("catalogd.images.frames._native.resize", None)  # a call would fail
    reading, frame = read(path)
    assert reading.facts.path_taken == "dct/2"
    assert decibels(frame, reduced(UPRIGHT, 320, 240)) > 35


def test_gray_cmyk_progressive_and_odd_subsampling_jpegs_are_read(tmp_path):
    image = Image.fromarray(UPRIGHT)
    expected = reduced(UPRIGHT, 320, 240)
    variants = {
        "cmyk": (image.convert("CMYK"), {}),
        "progressive": (image, {"progressive": True}),
        "422": (image, {"subsampling": 1}),
        "420": (image, {"subsampling": 2}),
    }
    for name, (variant, options) in variants.items():
        path = tmp_path / name
        variant.save(path, "JPEG", quality=95, **options)
        assert decibels(read(bytes(path))[1], expected) > 30, name
    path = tmp_path / "gray"
    image.convert("L").save(path, "JPEG", quality=95)
    assert decibels(read(bytes(path))[1][:, :, 0], np.asarray(image.convert("L").resize((320, 240), 4))) > 35


def test_a_jpeg_is_limited_by_its_scaled_size(tmp_path):
    path = factory.write_plain_jpeg(tmp_path / "photo.jpg", np.full((8000, 8000, 3), 90, np.uint8))
    small = Settings(frame_edge_px=320, max_decoded_pixels=2_000_000)
    reading, frame = read(path, small)
    assert (reading.facts.path_taken, reading.facts.width) == ("dct/8", 8000)
    assert (frame == 90).all()
    with pytest.raises(TooLargeError, match="at 1/8 of its size"):
        read(path, Settings(frame_edge_px=320, max_decoded_pixels=900_000))


def test_a_progressive_jpeg_is_limited_by_its_full_size(tmp_path):
    path = factory.write_jpeg(tmp_path / "photo.jpg", UPRIGHT, progressive=True)
    with pytest.raises(TooLargeError, match="a progressive JPEG of 640x480"):
        read(path, Settings(frame_edge_px=320, max_decoded_pixels=300_000))


def test_a_progressive_jpeg_of_many_scans_is_refused(tmp_path):
    content = factory.jpeg_bytes(UPRIGHT, progressive=True)
    header = jpeg.read_header(content)
    scans = jpeg.count_scans(content, header.scan_start)
    assert 5 <= scans <= 20
    end = content.rindex(b"\xff\xd9")
    last = content.rindex(b"\xff\xda")
    path = tmp_path / "photo.jpg"
    path.write_bytes(content[:end] + content[last:end] * 100 + b"\xff\xd9")
    with pytest.raises(TooLargeError, match="more than 100 scans"):
        read(bytes(path))


def test_a_jpeg_that_declares_more_than_its_bytes_can_hold_is_refused_at_once(tmp_path):
    content = bytearray(factory.jpeg_bytes(UPRIGHT))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match="65,500x65,500 px need at least"):
        read(bytes(path))


@pytest.mark.parametrize("share", [0.97, 0.95])
def test_a_jpeg_that_lacks_its_last_rows_is_used_and_marked(tmp_path, share):
    path = tmp_path / "photo.jpg"
    content = factory.jpeg_bytes(UPRIGHT)
    path.write_bytes(content[: int(len(content) * share)])
    reading, frame = read(bytes(path))
    assert reading.facts.truncated
    assert decibels(frame[:200], reduced(UPRIGHT, 320, 240)[:200]) > 35


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_a_jpeg_that_lacks_more_is_unreadable(tmp_path, share):
    path = tmp_path / "photo.jpg"
    content = factory.jpeg_bytes(UPRIGHT)
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnreadableError, match="the file ends early"):
        read(bytes(path))


def test_a_whole_jpeg_is_not_marked_as_truncated(tmp_path):
    assert not read(factory.write_jpeg(tmp_path / "photo", UPRIGHT))[0].facts.truncated


SEEDS = [
    factory.jpeg_bytes(factory.scene(32, 40), exif=factory.exif_block(6)),
    factory.jpeg_bytes(factory.scene(32, 40), progressive=True, profile=factory.rgb_profile()),
]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_jpeg_ends_in_a_frame_or_a_photo_error(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(2, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "photo.jpg"
    path.write_bytes(content[: data.draw(st.integers(3, len(content)))])
    try:
        reading, frame = read(bytes(path), Settings(frame_edge_px=64, max_decoded_pixels=1_000_000))
    except PhotoError:
        return
    assert frame.shape == (reading.height, reading.width, 3)


def test_reading_a_jpeg_imports_no_other_decoder(tmp_path):
    path = factory.write_jpeg(tmp_path / "photo.jpg", UPRIGHT)
    script = (
        "import sys, numpy as np\n"
        "from catalogd.images import read_frame\n"
        "from catalogd.settings import Settings\n"
        "limits = Settings(frame_edge_px=320)\n"
        f"read_frame({path!r}, np.zeros(320 * 320 * 3, np.uint8), limits)\n"
        "assert not {'PIL', 'rawpy', 'pillow_heif'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_simplejpeg_scales_with_a_minimum_size():
    """The smallest of the M/8 scales that covers both edges: the reading of JPEGs counts on it."""
    content = simplejpeg.encode_jpeg(np.zeros((800, 1200, 3), np.uint8))
    assert simplejpeg.decode_jpeg_header(content, min_height=213, min_width=320)[:2] == (300, 450)
    assert simplejpeg.decode_jpeg_header(content, min_height=200, min_width=300)[:2] == (200, 300)
