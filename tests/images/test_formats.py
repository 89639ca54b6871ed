"""Reading real files of each format: what comes into the slot, and what is refused with which words."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from catalogd.errors import (
    TooLargeError,
    UnreadableError,
    UnsupportedError,
)
from catalogd.images import PHOTO_EXTENSIONS
from tests import factory
from tests.images.reading import UPRIGHT, decibels, read, reduced

WRITERS = {
    "jpeg": factory.write_jpeg,
    "png": factory.write_png,
    "webp": factory.write_webp,
    "tiff": factory.write_tiff,
    "heif": factory.write_heic,
    "avif": factory.write_avif,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_read_upright_once(tmp_path, name, orientation):
    path = WRITERS[name](tmp_path / "photo", factory.stored(UPRIGHT, orientation), orientation)
    reading, frame = read(path)
    assert frame.shape == (240, 320, 3)
    assert decibels(frame, reduced(UPRIGHT, 320, 240)) > 35
    assert (reading.facts.format, reading.facts.width, reading.facts.height) == (name, 640, 480)
    assert reading.facts.camera == "NIKON Z 6_2"
    assert reading.stat.size == os.stat(path).st_size
    assert reading.stat.mtime_ns == os.stat(path).st_mtime_ns


@pytest.mark.parametrize("name", WRITERS)
def test_a_small_photo_is_not_enlarged(tmp_path, name):
    path = WRITERS[name](tmp_path / "photo", factory.scene(48, 64))
    assert read(path)[1].shape == (48, 64, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 700)])
@pytest.mark.parametrize("name", ["jpeg", "png"])
def test_extreme_shapes_keep_at_least_one_pixel(tmp_path, name, shape):
    frame = read(WRITERS[name](tmp_path / "photo", factory.scene(*shape)))[1]
    assert min(frame.shape) >= 1
    assert max(frame.shape[:2]) == min(320, max(shape))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pngs_of_every_mode_are_read_in_8_bits(tmp_path, mode):
    gray = Image.fromarray(UPRIGHT).convert("L")
    deep = np.asarray(gray, np.uint16) * 257
    image = Image.fromarray(deep) if mode == "I;16" else Image.fromarray(UPRIGHT).convert(mode)
    path = tmp_path / "photo.png"
    image.save(path)
    frame = read(bytes(path))[1]
    expected = (
        reduced(np.stack([np.asarray(gray)] * 3, -1), 320, 240) if "I" in mode or mode[0] == "L" else None
    )
    if expected is not None:
        assert decibels(frame, expected) > 40
    assert frame.mean() == pytest.approx(UPRIGHT.mean(), abs=12)


def test_cmyk_and_float_tiffs_are_read(tmp_path):
    for image in (
        Image.fromarray(UPRIGHT).convert("CMYK"),
        Image.fromarray(np.asarray(Image.fromarray(UPRIGHT).convert("L"), np.float32) / 255),
    ):
        path = tmp_path / "photo.tif"
        image.save(path)
        assert read(bytes(path))[1].mean() == pytest.approx(UPRIGHT.mean(), abs=12)


def test_transparent_pixels_show_white(tmp_path):
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:20, :, 3] = 255
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    frame = read(bytes(path))[1]
    assert (frame[:20] == 0).all()
    assert (frame[20:] == 255).all()


def test_the_first_picture_of_a_gif_and_of_a_tiff_is_read(tmp_path):
    first, second = Image.fromarray(UPRIGHT), Image.fromarray(255 - UPRIGHT)
    for name in ("gif", "tiff"):
        path = tmp_path / name
        first.save(path, name.upper(), save_all=True, append_images=[second])
        assert decibels(read(bytes(path))[1], reduced(UPRIGHT, 320, 240)) > 15


def test_an_embedded_profile_is_applied_once(tmp_path):
    swapped = factory.rgb_profile(swap_red_and_green=True, gamma=2.2)
    for name, path in {
        "jpeg": factory.write_jpeg(tmp_path / "a", UPRIGHT[:, :, [1, 0, 2]], profile=swapped, subsampling=0),
        "png": bytes(tmp_path / "b"),
    }.items():
        if name == "png":
            Image.fromarray(UPRIGHT[:, :, [1, 0, 2]]).save(os.fsdecode(path), "PNG", icc_profile=swapped)
        frame = read(path)[1].astype(float)
        assert np.abs(frame - reduced(UPRIGHT, 320, 240)).mean() < 4, name


@pytest.mark.parametrize("profile", [b"", b"no profile", factory.rgb_profile()[:200], b"\xff" * 4000])
def test_a_broken_profile_is_ignored(tmp_path, profile):
    path = factory.write_jpeg(tmp_path / "photo", UPRIGHT, profile=profile)
    assert decibels(read(path)[1], reduced(UPRIGHT, 320, 240)) > 35


def test_the_content_decides_the_format_not_the_extension(tmp_path):
    assert read(factory.write_png(tmp_path / "photo.jpg", UPRIGHT))[0].facts.format == "png"
    assert read(factory.write_heic(tmp_path / "photo.nef", UPRIGHT))[0].facts.format == "heif"
    assert read(factory.write_jpeg(tmp_path / "photo.cr3", UPRIGHT))[0].facts.format == "jpeg"
    assert read(factory.write_dng(tmp_path / "photo.tif", UPRIGHT))[0].facts.format == "raw"


def test_extensions_are_lower_case_and_cover_what_is_read():
    assert {b"jpg", b"heic", b"avif", b"cr3", b"dng", b"tiff", b"webp"} <= PHOTO_EXTENSIONS
    assert all(extension == extension.lower() and b"." not in extension for extension in PHOTO_EXTENSIONS)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", UnreadableError, "the file is empty"),
        (b"\xff", UnreadableError, "begins like no known format"),
        (b"\xff\xd8", UnreadableError, "ends before its picture begins"),
        (b"\xff\xd8\xff\xd9\0\0\0\0", UnreadableError, "holds no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UnsupportedError, "PostScript"),
        (b"%PDF-1.7\n", UnsupportedError, "PDF"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedError, "SVG"),
        (b"PK\x03\x04rest", UnsupportedError, "ZIP"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", UnsupportedError, "brand 'mp42'"),
        (b"\x89PNG\r\n\x1a\n", UnreadableError, "damaged PNG"),
        (b"II*\0\x08\0\0\0\0\0", UnreadableError, "damaged TIFF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", UnreadableError, "damaged WEBP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", UnreadableError, "damaged HEIF"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", UnreadableError, "damaged AVIF"),
    ],
)
def test_what_is_no_photo_is_refused_by_name(tmp_path, content, error, words):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(error, match=words):
        read(bytes(path))


def png_header(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def png_of(width, height):
    data = zlib.compress(bytes(1000))
    chunk = b"IDAT" + data
    return (
        png_header(width, height)
        + struct.pack(">I", len(data))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
    )


def test_a_png_that_would_decode_to_too_many_pixels_is_refused_before_decoding(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(png_of(30_000, 30_000))
    with pytest.raises(TooLargeError, match=r"900,000,000 pixels; max_decoded_pixels is 250,000,000"):
        read(bytes(path))
    path.write_bytes(png_of(1, 100_000_000))
    with pytest.raises(TooLargeError, match="edge above 1,000,000 px"):
        read(bytes(path))
