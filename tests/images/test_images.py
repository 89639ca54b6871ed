"""Reading real files of each format: what comes into the slot, and what is refused with which words."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from catalogd.errors import (
    ChangedError,
    DeniedError,
    PhotoError,
    TooLargeError,
    UnavailableError,
    UnreadableError,
    UnsupportedError,
)
from catalogd.images import PHOTO_EXTENSIONS, fingerprint_file, jpeg, read_frame, source
from catalogd.images.source import Source
from catalogd.settings import Settings
from tests import factory

LIMITS = Settings(frame_edge_px=320)
UPRIGHT = factory.scene(480, 640)


def read(path, limits=LIMITS):
    slot = np.full(limits.frame_edge_px**2 * 3, 7, np.uint8)
    reading = read_frame(path, slot, limits)
    size = reading.height * reading.width * 3
    assert (slot[size:] == 7).all()
    return reading, slot[:size].reshape(reading.height, reading.width, 3)


def decibels(frame, reference):
    error = np.mean((frame.astype(float) - np.asarray(reference, float)) ** 2)
    return 10 * np.log10(255**2 / error) if error else np.inf


def reduced(pixels, width, height):
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


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


def test_a_file_above_the_byte_limit_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "photo.jpg"
    with path.open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(TooLargeError, match="max_file_bytes"):
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


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    fifo, folder, link = tmp_path / "fifo.jpg", tmp_path / "folder.jpg", tmp_path / "link.jpg"
    os.mkfifo(fifo)
    folder.mkdir()
    link.symlink_to(factory.write_png(tmp_path / "target.png", UPRIGHT).decode())
    for path in (fifo, folder):
        with pytest.raises(UnreadableError, match="not a regular file"):
            read(bytes(path))
    monkeypatch.chdir(tmp_path)  # a socket's path has 108 bytes at most
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        with pytest.raises(UnreadableError, match="cannot be read"):
            read(bytes(tmp_path / "socket.jpg"))
    assert read(bytes(link))[0].facts.format == "png"


def test_a_file_that_is_gone_has_changed(tmp_path):
    with pytest.raises(ChangedError, match="gone"):
        read(bytes(tmp_path / "photo.jpg"))


def test_a_file_whose_folder_became_a_file_is_gone(tmp_path):
    (tmp_path / "folder").write_bytes(b"no folder any more")
    with pytest.raises(ChangedError, match="gone"):
        read(bytes(tmp_path / "folder" / "photo.jpg"))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EACCES, DeniedError),
        (errno.EPERM, DeniedError),
        (errno.EIO, UnavailableError),
        (errno.ESTALE, UnavailableError),
        (errno.ETIMEDOUT, UnavailableError),
        (errno.EHOSTDOWN, UnavailableError),
        (errno.EMFILE, UnavailableError),
        (errno.ENAMETOOLONG, UnreadableError),
        (errno.ELOOP, UnreadableError),
    ],
)
def test_an_error_that_passes_is_told_from_one_that_lasts(tmp_path, monkeypatch, code, kind):
    """All were UnreadableError once: a disk that was away for a moment was a damaged photo for ever."""
    path = factory.write_jpeg(tmp_path / "photo.jpg", UPRIGHT)

    def fail(descriptor, size):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(source, "_read_all", fail)
    with pytest.raises(kind, match=re.escape(os.strerror(code))):
        read(path)


def test_a_file_that_keeps_changing_is_given_up(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    factory.write_jpeg(path, UPRIGHT)
    read_all, reads = source._read_all, []

    def read_while_written(descriptor, size):
        reads.append(size)
        with path.open("ab") as file:
            file.write(b"more")
        return read_all(descriptor, size)

    monkeypatch.setattr(source, "_read_all", read_while_written)
    with pytest.raises(ChangedError, match="changed each of the 3 times"):
        read(bytes(path))
    assert len(reads) == 3


def test_a_file_that_changed_once_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    factory.write_jpeg(path, factory.scene(48, 64))
    read_all, reads = source._read_all, []

    def replaced_once(descriptor, size):
        reads.append(size)
        content = read_all(descriptor, size)
        if len(reads) == 1:
            factory.write_jpeg(path, UPRIGHT)
        return content

    monkeypatch.setattr(source, "_read_all", replaced_once)
    reading, _ = read(bytes(path))
    assert reading.facts.width == 640
    assert reading.stat.size == path.stat().st_size


@pytest.mark.parametrize("size", [1, 1000, 196_608, 196_609, 1_000_000])
def test_the_fingerprint_is_the_same_of_a_file_that_is_read_and_of_one_that_is_not(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    with Source(bytes(path), size) as opened:
        assert opened.fingerprint == fingerprint_file(bytes(path))
        assert len(opened.fingerprint) == 16


@pytest.mark.parametrize("at", [0, 500_000, 999_999])
def test_the_fingerprint_sees_head_middle_and_tail(tmp_path, at):
    content, path = bytearray(1_000_000), tmp_path / "file"
    path.write_bytes(content)
    before = fingerprint_file(bytes(path))
    content[at] = 1
    path.write_bytes(content)
    assert fingerprint_file(bytes(path)) != before


def test_a_slot_that_is_too_small_is_the_callers_mistake(tmp_path):
    path = factory.write_plain_jpeg(tmp_path / "photo.jpg", factory.scene(48, 64))
    with pytest.raises(ValueError, match="a slot must be"):
        read_frame(path, np.zeros(1000, np.uint8), LIMITS)


def test_running_out_of_memory_is_a_limit_not_a_crash(tmp_path, monkeypatch):
    def exhausted(*args):
        raise MemoryError

    monkeypatch.setattr("catalogd.images.decode_jpeg", exhausted)
    with pytest.raises(TooLargeError, match="more memory than a reader may use"):
        read(factory.write_jpeg(tmp_path / "photo.jpg", UPRIGHT))


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
