"""JPEG: what is decoded, by which way, and what is refused with which words."""

from __future__ import annotations

import base64
import io
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
    UnsupportedError,
)
from catalogd.images import jpeg
from catalogd.settings import Settings
from tests import factory
from tests.images.reading import UPRIGHT, bytes_read, decibels, read, reduced


def test_a_large_jpeg_looks_like_the_full_decode_resized(tmp_path):
    path = factory.write_jpeg(tmp_path / "photo.jpg", factory.scene(1066, 1600), quality=95)
    reading, frame = read(path)
    with Image.open(os.fsdecode(path)) as full:
        expected = full.resize((320, 213), Image.Resampling.BICUBIC)
    assert reading.facts.path_taken == "dct/2.67"
    assert decibels(frame, expected) > 38


@pytest.mark.parametrize("size", [(479, 641), (1201, 1603), (1603, 1201)])
def test_a_scaled_jpeg_of_odd_edges_is_not_stretched(tmp_path, size):
    """The last row and column of a scaled picture hold a part of a pixel; all of it used to count."""
    path = factory.write_plain_jpeg(tmp_path / "photo.jpg", factory.scene(*size), quality=95)
    limits = Settings(frame_edge_px=128)
    reading, frame = read(path, limits)
    with Image.open(os.fsdecode(path)) as full:
        expected = full.resize((reading.width, reading.height), Image.Resampling.BICUBIC)
    assert reading.facts.path_taken.startswith("dct/")
    assert decibels(frame, expected) > 38


def test_a_jpeg_of_the_frame_size_is_decoded_into_the_slot(tmp_path, monkeypatch):
    path = factory.write_jpeg(tmp_path / "photo.jpg", factory.scene(240, 320))
    monkeypatch.setattr("catalogd.images.frames._native.resize", None)  # a call would fail
    reading, frame = read(path)
    assert reading.facts.path_taken == "full"
    assert decibels(frame, factory.scene(240, 320)) > 30


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


def test_pillows_own_limit_of_pixels_does_not_count(tmp_path, monkeypatch):
    """A CMYK photo of 180 MP and more was damaged, unless a PNG had been read before it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    file = io.BytesIO()
    Image.fromarray(UPRIGHT).convert("CMYK").save(file, "JPEG")
    path = write(tmp_path, file.getvalue())
    assert read(path)[0].facts.width == 640


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
    content = with_frame_size(factory.jpeg_bytes(UPRIGHT), 0xC0, 65_500)
    with pytest.raises(UnreadableError, match="65,500x65,500 px need at least"):
        read(write(tmp_path, content))


def test_a_progressive_jpeg_that_declares_more_than_its_bytes_can_hold_is_refused_at_once(tmp_path):
    """A file of 1.5 KB took a second: each of its scans walked over 250 million pixels."""
    content = with_frame_size(factory.jpeg_bytes(UPRIGHT, progressive=True), 0xC2, 15_800)
    with pytest.raises(UnreadableError, match="15,800x15,800 px need at least"):
        read(write(tmp_path, content))


def test_segments_without_end_between_scans_count_as_too_many():
    content = factory.jpeg_bytes(UPRIGHT, progressive=True)
    at = jpeg.read_header(content).scan_start
    assert jpeg.count_scans(content[:at] + b"\xff\xfe\0\2" * 20_000 + content[at:], at) > jpeg.MAX_SCANS


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


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "behind",
    [b"\xff\xd8\xff", b"\xff\xc4\0\5\1\2\3", b"\xff\xb7\0\3\1", b"\xff\xda\0\3\1"],
    ids=["second start", "tables", "unknown marker", "scan"],
)
def test_a_damage_that_ends_the_decoding_is_not_passed_over(tmp_path, progressive, behind):
    """The frame was whatever the slot had held before: the photo that was read before this one."""
    for size in (UPRIGHT.shape[1], 320):
        pixels = np.asarray(Image.fromarray(UPRIGHT).resize((size, size * 3 // 4)))
        content = factory.jpeg_bytes(pixels, progressive=progressive)
        with pytest.raises(UnreadableError, match="rows are there"):
            read(write(tmp_path, content[: len(content) // 2] + behind + content[2:]))


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


# ── codings ───────────────────────────────────────────────────────────────────────────────────

ARITHMETIC = base64.b64decode(  # 64x48, (4x, 5y, 255 - 3x); no encoder at hand writes it
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYn"
    "KSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo"
    "KCgoKCgoKCj/yQARCAAwAEADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AMp78QmQNmgGHI10+ThpRFMunAuX"
    "NZDptM4Emn8inOdRCcFkdY3XA+x31fwhfiELVhYYd5+Dy43C5+W+xCyyV/U/lQQLlMkaHp63AwsD1cCA+xJIlQrSblkm6Um3k2hI"
    "m3z4kLs5iUX2ZoStBz9vgHtkma5ioCCmGgzq3V4/7qNw7+8XshHRYn9qIHUPfdAOnJHMqNKpM60m8VsdLy5+x57A/9k="
)


def write(tmp_path, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    return bytes(path)


def with_frame_size(content, marker, edge):
    at = content.index(bytes((0xFF, marker)))
    return content[: at + 5] + struct.pack(">HH", edge, edge) + content[at + 9 :]


def with_frame(content, at, value):
    """A baseline JPEG with one byte of its frame header changed."""
    changed = bytearray(content)
    changed[changed.index(b"\xff\xc0") + at] = value
    return bytes(changed)


def test_arithmetic_coding_is_read(tmp_path):
    _, frame = read(write(tmp_path, ARITHMETIC))
    y, x = np.mgrid[0:48, 0:64]
    assert decibels(frame, np.stack([4 * x, 5 * y, 255 - 3 * x], -1)) > 35


@pytest.mark.parametrize("height", [479, 481])
@pytest.mark.parametrize("sampling", ["444", "440", "422", "420", "411"])
def test_every_usual_subsampling_is_read_at_odd_sizes(tmp_path, sampling, height):
    pixels = factory.scene(height, 643)
    content = simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling=sampling)
    reading, frame = read(write(tmp_path, content))
    assert (reading.facts.height, reading.facts.width) == (height, 643)
    assert decibels(frame, Image.fromarray(pixels).resize((320, frame.shape[0]), 4)) > 28


def test_restart_markers_and_trailing_rubbish_are_passed_over(tmp_path):
    content = factory.jpeg_bytes(UPRIGHT, restart_marker_blocks=7) + np.random.default_rng(0).bytes(50_000)
    reading, frame = read(write(tmp_path, content))
    assert not reading.facts.truncated
    assert decibels(frame, reduced(UPRIGHT, 320, 240)) > 35


def test_rubbish_between_segments_is_passed_over(tmp_path):
    content = factory.jpeg_bytes(UPRIGHT, exif=factory.exif_block(1))
    at = content.index(b"\xff\xdb")
    assert read(write(tmp_path, content[:at] + b"rubbish\xff\xff" + content[at:]))[0].facts.width == 640


@pytest.mark.parametrize(
    ("at", "value", "words"), [(1, 0xC3, "a lossless or hierarchical JPEG"), (4, 12, "12 bits a sample")]
)
def test_a_coding_that_no_decoder_here_reads_is_named(tmp_path, at, value, words):
    with pytest.raises(UnsupportedError, match=words):
        read(write(tmp_path, with_frame(factory.jpeg_bytes(UPRIGHT), at, value)))


def test_a_sampling_that_cannot_be_is_damage_in_words(tmp_path):
    """The message was "-1" once."""
    with pytest.raises(UnreadableError, match=r"damaged JPEG: [A-Za-z ]{10}"):
        read(write(tmp_path, with_frame(factory.jpeg_bytes(UPRIGHT), 11, 0x44)))


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_a_cmyk_jpeg_that_lacks_its_last_rows_is_used_and_marked_too(tmp_path, mode):
    file = io.BytesIO()
    Image.fromarray(UPRIGHT).convert(mode).save(file, "JPEG", quality=95)
    content = file.getvalue()
    reading, frame = read(write(tmp_path, content[: int(len(content) * 0.96)]))
    assert reading.facts.truncated
    assert decibels(frame[:200], reduced(UPRIGHT, 320, 240)[:200]) > 30
    with pytest.raises(UnreadableError, match="the file ends early"):
        read(write(tmp_path, content[: len(content) // 2]))


# ── metadata ──────────────────────────────────────────────────────────────────────────────────

XMP, EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
GUID, OTHER_GUID = b"0123456789ABCDEF" * 2, b"F" * 32


def extended(guid, whole, offset):
    return EXTENDED + guid + struct.pack(">II", len(whole), offset) + whole[offset : offset + 60]


def blocks_of(*segments, exif=None, profile=None):
    content = factory.jpeg_bytes(factory.scene(16, 16), exif=exif, profile=profile)
    return jpeg.read_header(factory.jpeg_with(content, *segments)).blocks


def test_the_metadata_of_a_jpeg_is_found_undecoded():
    exif = factory.exif_block(6)
    resources = b"8BIM\x04\x04\0\0\0\0\0\x05\x1c\x02\x05ab\0" + b"8BIM\x04\x0c\3abc\0\0\0\0"
    blocks = blocks_of(
        (0xE1, XMP + b"<packet/>"),
        (0xED, b"Photoshop 3.0\0" + resources[:9]),  # a long resource block is spread over segments
        (0xED, b"Photoshop 3.0\0" + resources[9:]),
        (0xFE, "Grüße".encode() + b"\0"),
        exif=exif,
    )
    assert blocks.exif == (exif,)
    assert (blocks.xmp, blocks.iptc) == (b"<packet/>", b"\x1c\x02\x05ab")
    assert blocks.text == (("Comment", "Grüße"),)


@pytest.mark.parametrize("name", [XMP, b"ns.adobe.com/xap/1.0/\0", b"XMP\0://ns.adobe.com/xap/1.0/\0"])
def test_xmp_is_found_by_the_end_of_its_name(name):
    assert blocks_of((0xE1, name + b"<packet/>"), (0xE1, XMP + b"<second/>")).xmp == b"<packet/>"


def test_what_only_speaks_of_xmp_is_no_packet():
    assert blocks_of((0xE1, b"a long way before the name: " + XMP + b"<packet/>")).xmp == b""


def samsung_trailer(*kinds):
    film, rows = b"\0\0\0\x18ftypmp42" + bytes(80), b""
    for kind in kinds:
        rows += struct.pack("<HHII", 0, kind, len(film), len(film))
    directory = b"SEFH" + struct.pack("<II", 107, len(kinds)) + rows
    return film + directory + struct.pack("<I", len(directory)) + b"SEFT"


@pytest.mark.parametrize(
    ("trailer", "marks"),
    [
        (samsung_trailer(0x0A01, 0x0A30), ("motion_photo",)),
        (samsung_trailer(0x0A01), ()),
        (samsung_trailer(0x0A30).replace(b"SEFH", b"none"), ()),
        (b"\xff\xff\xff\xffSEFT", ()),
        (b"", ()),
    ],
)
def test_a_film_that_a_samsung_phone_put_behind_the_picture_is_a_mark(tmp_path, trailer, marks):
    path = write(tmp_path, factory.jpeg_bytes(UPRIGHT) + trailer)
    assert read(path)[0].facts.marks == marks


def test_extended_xmp_is_put_together_from_its_portions_in_any_order():
    whole = bytes(range(150))
    main = (0xE1, XMP + b"<x HasExtendedXMP='" + GUID + b"'/>")
    portions = [(0xE1, extended(GUID, whole, offset)) for offset in (120, 0, 60)]
    stray = (0xE1, extended(OTHER_GUID, b"of another photo", 0))
    assert blocks_of(stray, *portions, main).xmp_extended == whole
    assert blocks_of(stray, *portions[1:2], *portions[:1], main).xmp_extended == b""  # the middle is missing
    assert blocks_of(*portions).xmp_extended == b""  # nothing names it


def test_a_profile_in_several_segments_is_put_together():
    profile = factory.rgb_profile() + bytes(70_000)
    content = factory.jpeg_bytes(factory.scene(16, 16), profile=profile)
    assert jpeg.read_header(content).profile == profile


# ── previews ──────────────────────────────────────────────────────────────────────────────────

SHOWN = factory.scene(360, 480, seed=9)  # tells the preview from the photo


def shows_preview(tmp_path, content):
    reading, frame = read(write(tmp_path, content))
    assert (reading.facts.width, reading.facts.height) == (640, 480)
    shown = decibels(frame, reduced(SHOWN, 320, 240)) > 30
    assert shown == (reading.facts.path_taken == "preview")
    assert shown or decibels(frame, reduced(UPRIGHT, 320, 240)) > 30
    return shown


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_large_thumbnail_of_a_multi_picture_jpeg_is_read_upright(tmp_path, orientation):
    path = factory.write_mpf_jpeg(
        tmp_path / "photo.jpg",
        factory.stored(UPRIGHT, orientation),
        factory.stored(SHOWN, orientation),
        orientation,
    )
    reading, frame = read(path)
    assert (reading.facts.path_taken, reading.facts.width, reading.facts.height) == ("preview", 640, 480)
    assert decibels(frame, reduced(SHOWN, 320, 240)) > 30
    assert reading.facts.camera == "NIKON Z 6_2"


def test_of_a_jpeg_with_a_preview_only_the_header_and_the_preview_are_read(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), np.uint8)
    path = factory.write_mpf_jpeg(tmp_path / "photo.jpg", pixels, SHOWN)
    count, reading = bytes_read(monkeypatch, path)
    assert reading.facts.path_taken == "preview"
    assert count < 0.3 * reading.stat.size


def test_the_preview_goes_straight_into_the_slot_where_it_is_as_large_as_the_frame(tmp_path, monkeypatch):
    content = factory.mpf_jpeg(factory.jpeg_bytes(UPRIGHT), factory.jpeg_bytes(factory.scene(240, 320)))
    monkeypatch.setattr("catalogd.images.frames._native.resize", None)  # a call would fail
    assert read(write(tmp_path, content))[0].facts.path_taken == "preview"


@pytest.mark.parametrize(
    ("preview", "kind"),
    [
        (SHOWN, 0x000000),  # undefined: gain maps among others
        (SHOWN, 0x020002),  # one of a stereo pair
        (SHOWN, 0x01010002),  # no JPEG
        (factory.scene(150, 200), 0x010001),  # smaller than the frame
        (factory.scene(270, 480), 0x010002),  # of another shape
    ],
)
def test_another_picture_in_the_file_is_never_taken_for_the_photo(tmp_path, preview, kind):
    content = factory.mpf_jpeg(factory.jpeg_bytes(UPRIGHT), factory.jpeg_bytes(preview), kinds=(kind,))
    assert not shows_preview(tmp_path, content)


def test_the_preview_of_a_photo_that_was_edited_since_is_not_believed(tmp_path):
    content = factory.mpf_jpeg(factory.jpeg_bytes(UPRIGHT), factory.jpeg_bytes(SHOWN))
    assert shows_preview(tmp_path, content)
    comment = factory.jpeg_with(content, (0xFE, b"a segment that moves what follows"))
    assert not shows_preview(tmp_path, comment)
    body = content.index(b"\xff\xe2") + 4
    index = content[body : body - 2 + int.from_bytes(content[body - 2 : body])]
    saved = factory.jpeg_with(factory.jpeg_bytes(UPRIGHT, quality=95), (0xE2, index))
    assert not shows_preview(tmp_path, saved + content[-len(factory.jpeg_bytes(SHOWN)) :])


@pytest.mark.parametrize("damage", [slice(0, 2), slice(200, 800)])
def test_a_preview_that_is_damaged_is_passed_over(tmp_path, damage):
    shown = bytearray(factory.jpeg_bytes(SHOWN))
    shown[damage] = bytes(damage.stop - damage.start)
    content = factory.mpf_jpeg(factory.jpeg_bytes(UPRIGHT), bytes(shown))
    assert not shows_preview(tmp_path, content)


def test_a_file_that_ends_within_its_preview_is_decoded_itself(tmp_path):
    content = factory.mpf_jpeg(factory.jpeg_bytes(UPRIGHT), factory.jpeg_bytes(SHOWN))
    assert not shows_preview(tmp_path, content[:-500])


def test_a_preview_without_a_profile_has_the_photos(tmp_path):
    swapped = factory.rgb_profile(swap_red_and_green=True, gamma=2.2)
    other = SHOWN[:, :, [1, 0, 2]]
    main = factory.jpeg_bytes(UPRIGHT, profile=swapped)
    preview = factory.jpeg_bytes(other, subsampling=0)
    frame = read(write(tmp_path, factory.mpf_jpeg(main, preview)))[1].astype(float)
    assert np.abs(frame - reduced(SHOWN, 320, 240)).mean() < 4
    preview = factory.jpeg_bytes(other, subsampling=0, profile=swapped)
    frame = read(write(tmp_path, factory.mpf_jpeg(factory.jpeg_bytes(UPRIGHT), preview)))[1].astype(float)
    assert np.abs(frame - reduced(SHOWN, 320, 240)).mean() < 4


def test_the_smallest_preview_that_covers_the_frame_is_taken(tmp_path):
    larger = factory.scene(420, 560, seed=5)
    pictures = [factory.jpeg_bytes(picture) for picture in (larger, SHOWN, factory.scene(150, 200))]
    content = factory.mpf_jpeg(factory.jpeg_bytes(UPRIGHT), *pictures, kinds=(0x010002, 0x010002, 0x010001))
    assert shows_preview(tmp_path, content)


def test_a_cmyk_jpeg_is_never_shown_by_another_picture(tmp_path):
    file = io.BytesIO()
    Image.fromarray(UPRIGHT).convert("CMYK").save(file, "JPEG", quality=95)
    assert not shows_preview(tmp_path, factory.mpf_jpeg(file.getvalue(), factory.jpeg_bytes(SHOWN)))
