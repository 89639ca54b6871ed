"""Every raster format and variant: its pixels, its metadata, its colours, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalogd.errors import PhotoError, TooLargeError, UnreadableError, UnsupportedError
from catalogd.images import colour, raster, read_frame
from catalogd.images.jxl import decode_jxl
from catalogd.images.psd import decode_psd
from catalogd.images.raster import decode_raster, shrink_factor, to_rgb
from catalogd.settings import Settings
from tests import factory

LIMITS = Settings(frame_edge_px=320)
SCENE = factory.scene(120, 160)
GRAY = SCENE[:, :, 1]
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
DATASETS = b"\x1c\x02\x05\x00\x05Title"


def decibels(pixels, reference):
    error = np.mean((np.asarray(pixels, float) - np.asarray(reference, float)) ** 2)
    return 10 * np.log10(255**2 / error) if error else np.inf


def as_gray(plane):
    return np.repeat(plane[:, :, None], 3, axis=2)


def saved(image, known_as, **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, known_as, **options)
    return file.getvalue()


def frame_of(tmp_path, content, limits=LIMITS):
    path = tmp_path / "photo"
    path.write_bytes(content)
    slot = np.empty(limits.frame_edge_px**2 * 3, np.uint8)
    reading = read_frame(bytes(path), slot, limits)
    return reading, slot[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)


# ── pixels ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_of_any_lossless_coding_keeps_its_levels(compression, big):
    content = saved(SCENE, "TIFF", compression=compression, big_tiff=big)
    assert (decode_raster(content, "tiff", LIMITS).pixels == SCENE).all()


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_is_read_as_black_on_white(compression):
    page = np.where(GRAY > 128, 255, 0).astype(np.uint8)
    content = saved(
        Image.fromarray(page).convert("1", dither=Image.Dither.NONE), "TIFF", compression=compression
    )
    assert (decode_raster(content, "tiff", LIMITS).pixels == as_gray(page)).all()


def tiff_of(samples, order, photometric, **more):
    """An uncompressed TIFF of `samples[H, W, C]`; `more` are tags by their number after a "t"."""
    height, width, bands = samples.shape
    kinds = {"u": 1, "i": 2, "f": 3}
    raw = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    entries = {
        0x0100: (factory.LONG, width),
        0x0101: (factory.LONG, height),
        0x0102: (factory.SHORT, [samples.dtype.itemsize * 8] * bands),
        0x0103: (factory.SHORT, 1),
        0x0106: (factory.SHORT, photometric),
        0x0111: (factory.LONG, -1),
        0x0115: (factory.SHORT, bands),
        0x0116: (factory.LONG, height),
        0x0117: (factory.LONG, len(raw)),
        0x0153: (factory.SHORT, [kinds[samples.dtype.kind]] * bands),
    }
    entries |= {int(name[1:]): entry for name, entry in more.items()}
    return factory.tiff_block(entries, order=order, tail=raw)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bands", [1, 3])
def test_sixteen_bits_of_either_byte_order_become_eight(order, bands):
    deep = SCENE[:, :, :bands].astype(np.uint16) * 257
    content = tiff_of(deep, order, 1 if bands == 1 else 2)
    expected = as_gray(SCENE[:, :, 0]) if bands == 1 else SCENE
    assert np.abs(decode_raster(content, "tiff", LIMITS).pixels.astype(int) - expected).max() <= 1


def test_a_float_tiff_is_shown_from_black_to_its_white():
    content = tiff_of((GRAY / 255).astype(np.float32)[:, :, None], "<", 1)
    assert np.abs(decode_raster(content, "tiff", LIMITS).pixels.astype(int) - as_gray(GRAY)).max() <= 1


def test_values_that_are_no_numbers_are_black():
    values = (GRAY / 255).astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, -np.inf
    pixels = decode_raster(tiff_of(values[:, :, None], "<", 1), "tiff", LIMITS).pixels
    assert (pixels[0, :2] == 0).all()


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "P", "1", "YCbCr"])
def test_a_tiff_of_other_colours_becomes_rgb(mode):
    image = Image.fromarray(SCENE)
    if mode == "LAB":
        shown = image.resize((160, 120))
        image = Image.merge("LAB", (Image.fromarray(GRAY), *[Image.new("L", image.size, 128)] * 2))
        shown = Image.fromarray(decode_raster(saved(image, "TIFF"), "tiff", LIMITS).pixels)
        levels = np.asarray(shown).astype(int)
        assert np.abs(levels - levels[:, :, :1]).max() <= 3  # a = b = 0 is gray
        assert np.corrcoef(levels[:, :, 0].ravel(), GRAY.ravel())[0, 1] > 0.99
        return
    converted = image.convert(mode)
    assert (
        decibels(decode_raster(saved(converted, "TIFF"), "tiff", LIMITS).pixels, converted.convert("RGB"))
        > 40
    )


@pytest.mark.parametrize(
    ("known_as", "name"), [("TIFF", "tiff"), ("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png")]
)
def test_of_many_pictures_the_first_is_shown(known_as, name):
    others = [Image.fromarray(255 - SCENE)] * 2
    content = saved(SCENE, known_as, save_all=True, append_images=others)
    assert decibels(decode_raster(content, name, LIMITS).pixels, SCENE) > 20


def test_a_deep_png_is_shown_in_eight_bits():
    deep = Image.fromarray(GRAY.astype(np.uint16) * 257)
    assert (decode_raster(saved(deep, "PNG"), "png", LIMITS).pixels == as_gray(GRAY)).all()


@pytest.mark.parametrize(
    ("known_as", "name"), [("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tiff"), ("TGA", "tga")]
)
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_shows_white_paper(known_as, name, mode):
    if mode == "LA" and known_as == "WEBP":
        mode = "RGBA"
    cover = np.zeros((120, 160), np.uint8)
    cover[:, 80:] = 255
    image = Image.fromarray(SCENE).convert(mode)
    image.putalpha(Image.fromarray(cover))
    options = {"lossless": True} if known_as == "WEBP" else {}
    pixels = decode_raster(saved(image, known_as, **options), name, LIMITS).pixels
    assert (pixels[:, :80] == 255).all()
    assert (pixels[:, 80:] == np.asarray(image.convert("RGB"))[:, 80:]).all()


def test_half_transparent_pixels_are_half_paper():
    image = Image.new("RGBA", (20, 20), (0, 100, 200, 128))
    assert decode_raster(saved(image, "PNG"), "png", LIMITS).pixels[0, 0].tolist() == [127, 177, 227]


def test_a_palette_with_a_transparent_entry_and_a_transparent_colour_show_paper():
    palette = Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 50).reshape(10, 10)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert (
        decode_raster(saved(palette, "PNG", transparency=0), "png", LIMITS).pixels[0, 0].tolist() == [255] * 3
    )
    coloured = np.full((10, 10, 3), (10, 20, 30), np.uint8)
    shown = decode_raster(saved(coloured, "PNG", transparency=(10, 20, 30)), "png", LIMITS).pixels
    assert (shown == 255).all()


@pytest.mark.parametrize("shrink", [1, 2, 3, 7, 300])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "I;16", "1"])
def test_shrinking_in_bands_is_shrinking_at_once(shrink, mode, monkeypatch):
    monkeypatch.setattr(raster, "BAND_ROWS", 32)
    image = Image.fromarray(SCENE if mode != "I;16" else GRAY.astype(np.uint16) * 257)
    image = image if mode == "I;16" else image.convert(mode)
    whole = to_rgb(image)
    assert whole.shape == (120, 160, 3)
    shrunk = to_rgb(image, shrink)
    assert shrunk.shape == (-(-120 // shrink), -(-160 // shrink), 3)
    expected = np.asarray(Image.fromarray(whole).reduce(shrink)).astype(int)
    assert np.abs(shrunk - expected).max() <= (2 if mode == "CMYK" else 1)


def test_twice_the_frame_is_left_for_its_own_filter():
    assert shrink_factor(3000, 4000, 1280) == 1
    assert shrink_factor(4000, 6000, 1280) == 2
    assert shrink_factor(100, 100, 1280) == 1


@pytest.mark.parametrize("size", [(960, 1280), (959, 1277), (1281, 961)])
def test_a_large_picture_is_shrunk_to_the_same_frame(tmp_path, size):
    large = factory.scene(*size)
    _, frame = frame_of(tmp_path, saved(large, "PNG", compress_level=1), Settings(frame_edge_px=160))
    expected = Image.fromarray(large).resize(frame.shape[1::-1], Image.Resampling.BICUBIC)
    assert decibels(frame, expected) > 38


@pytest.mark.parametrize("boxed", [True, False])
def test_resolutions_of_a_jpeg_2000_that_nobody_needs_are_not_decoded(tmp_path, boxed):
    large = factory.scene(479, 641)
    content = saved(large, "JPEG2000", no_jp2=not boxed)
    reading, frame = frame_of(tmp_path, content, Settings(frame_edge_px=100))
    assert (reading.facts.format, reading.facts.path_taken) == ("jp2", "wavelet/4")
    assert (reading.facts.width, reading.facts.height) == (641, 479)
    assert decibels(frame, Image.fromarray(large).resize((100, 75), Image.Resampling.BICUBIC)) > 30


def test_a_jpeg_2000_with_few_resolutions_is_decoded_at_the_smallest_it_has():
    content = saved(factory.scene(480, 640), "JPEG2000", num_resolutions=2)
    decoded = decode_raster(content, "jp2", Settings(frame_edge_px=100))
    assert (decoded.path_taken, decoded.height, decoded.width) == ("wavelet/2", 480, 640)
    assert decode_raster(saved(SCENE, "JPEG2000"), "jp2", LIMITS).path_taken == "full"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
def test_the_composite_of_a_photoshop_document_is_shown(large, packed, depth):
    content = factory.psd_bytes(SCENE, depth=depth, large=large, packed=packed)
    decoded = decode_psd(content, LIMITS)
    assert (decoded.pixels == SCENE).all()
    assert (decoded.height, decoded.width) == (120, 160)


def test_photoshop_documents_of_other_colours_become_rgb():
    page = np.where(GRAY > 128, 255, 0).astype(np.uint8)
    assert (decode_psd(factory.psd_bytes(GRAY, "L"), LIMITS).pixels == as_gray(GRAY)).all()
    assert (decode_psd(factory.psd_bytes(page, "1", depth=1), LIMITS).pixels == as_gray(page)).all()
    ink = np.asarray(Image.fromarray(SCENE).convert("CMYK"))
    assert (decode_psd(factory.psd_bytes(~ink, "CMYK"), LIMITS).pixels == SCENE).all()
    palette = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)]).astype(np.uint8)
    shown = decode_psd(factory.psd_bytes(GRAY, "P", palette=palette.tobytes()), LIMITS).pixels
    assert (shown == palette.T[GRAY]).all()
    lab = np.dstack([GRAY, np.full_like(GRAY, 128), np.full_like(GRAY, 128)])
    levels = decode_psd(factory.psd_bytes(lab, "LAB"), LIMITS).pixels.astype(int)
    assert np.abs(levels - levels[:, :, :1]).max() <= 3


def test_the_light_of_a_32_bit_photoshop_document_is_encoded():
    decoded = decode_psd(factory.psd_bytes(np.full((4, 4, 3), 55, np.uint8), depth=32), LIMITS)
    assert decoded.pixels[0, 0].tolist() == [128] * 3  # 21.6 % of the light
    assert decoded.profile is None


def test_a_large_photoshop_document_is_shrunk_plane_by_plane():
    content = factory.psd_bytes(factory.scene(960, 1280), packed=False)
    assert decode_psd(content, Settings(frame_edge_px=160)).pixels.shape == (240, 320, 3)


def test_masks_beside_the_colours_of_a_photoshop_document_are_not_shown():
    content = factory.psd_bytes(np.dstack([SCENE, np.zeros_like(GRAY)]))
    assert (decode_psd(content, LIMITS).pixels == SCENE).all()


def test_a_jpeg_xl_is_read_with_its_metadata():
    pylibjxl = pytest.importorskip("pylibjxl")
    exif = b"Exif\0\0" + factory.exif_block()
    content = pylibjxl.encode(SCENE, lossless=True, exif=exif, xmp=XMP, icc=factory.rgb_profile(True))
    decoded = decode_jxl(content, LIMITS)
    assert (decoded.pixels == SCENE).all()
    assert decoded.blocks.exif[0].endswith(factory.exif_block())
    assert decoded.blocks.xmp == XMP
    assert colour.name_of(decoded.profile) == "test"
    with pytest.raises(TooLargeError, match="max_decoded_pixels"):
        decode_jxl(content, Settings(max_decoded_pixels=100))
    with pytest.raises(UnreadableError, match="damaged JPEG XL"):
        decode_jxl(content[: len(content) // 2], LIMITS)


def test_without_its_library_a_jpeg_xl_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pylibjxl", None)
    with pytest.raises(UnsupportedError, match=r"install catalogd\[jxl\]"):
        decode_jxl(b"\xff\x0a", LIMITS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_2000_is_turned_as_its_exif_says(tmp_path, orientation):
    turned = factory.stored(SCENE, orientation)
    exif = factory.box(b"uuidJpgTiffExif->JP2", factory.exif_block(orientation))
    reading, frame = frame_of(tmp_path, saved(turned, "JPEG2000") + exif)
    assert reading.facts.orientation == orientation
    assert reading.facts.camera == "NIKON Z 6_2"
    assert decibels(frame, SCENE) > 35


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_big_endian_tiff_is_turned_once(tmp_path, orientation):
    turned = factory.stored(SCENE, orientation)
    reading, frame = frame_of(tmp_path, tiff_of(turned, ">", 2, t274=(factory.SHORT, orientation)))
    assert (frame == SCENE).all()
    assert (reading.facts.width, reading.facts.height) == (160, 120)


# ── metadata ──────────────────────────────────────────────────────────────────────────────────


def raw_profile(name, data):
    return f"\n{name}\n{len(data):8d}\n{data.hex()}\n".encode()


def resource(number, data):
    return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)


def test_the_chunks_of_a_png_are_found():
    content = factory.png_with(
        SCENE,
        (b"eXIf", factory.exif_block()),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        (b"tEXt", b"Comment\0by hand"),
        (
            b"zTXt",
            b"Raw profile type iptc\0\0" + zlib.compress(raw_profile("iptc", resource(0x0404, DATASETS))),
        ),
    )
    blocks = decode_raster(content, "png", LIMITS).blocks
    assert blocks.exif[0].endswith(factory.exif_block())
    assert (blocks.xmp, blocks.iptc, blocks.text) == (XMP, DATASETS, (("Comment", "by hand"),))


@pytest.mark.parametrize("key", [b"exif", b"APP1"])
def test_the_exif_that_imagemagick_writes_as_text_is_found(key):
    exif = b"Exif\0\0" + factory.exif_block(6)
    content = factory.png_with(
        SCENE, (b"tEXt", b"Raw profile type " + key + b"\0" + raw_profile("exif", exif))
    )
    decoded = decode_raster(content, "png", LIMITS)
    assert (decoded.blocks.exif, decoded.orientation) == ((exif,), 6)


@pytest.mark.parametrize("text", [b"", b"\nexif\n", b"\nexif\n 4\nzz", b"\nexif\n 4\nabc"])
def test_a_damaged_text_profile_is_absent(text):
    content = factory.png_with(SCENE, (b"tEXt", b"Raw profile type exif\0" + text))
    assert decode_raster(content, "png", LIMITS).blocks.exif == ()


def test_the_tags_of_a_tiff_are_found():
    tags = {700: XMP, 34377: resource(0x0404, DATASETS)}
    blocks = decode_raster(saved(SCENE, "TIFF", tiffinfo=tags), "tiff", LIMITS).blocks
    assert (blocks.xmp, blocks.iptc) == (XMP, DATASETS)


@pytest.mark.parametrize("order", ["<", ">"])
def test_iptc_that_a_tiff_declares_as_numbers_is_found(order):
    padded = DATASETS + bytes(-len(DATASETS) % 4)
    numbers = list(struct.unpack(f"{order}{len(padded) // 4}I", padded))
    content = tiff_of(SCENE, order, 2, t33723=(factory.LONG, numbers))
    assert decode_raster(content, "tiff", LIMITS).blocks.iptc == padded


def test_the_extensions_of_a_gif_are_found():
    content = saved(SCENE, "GIF", comment="by hand")
    extension = b"\x21\xff\x0bXMP DataXMP" + XMP + b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    at = content.index(b"\x21\xfe")
    blocks = decode_raster(content[:at] + extension + content[at:], "gif", LIMITS).blocks
    assert (blocks.xmp, blocks.text) == (XMP, (("Comment", "by hand"),))


def test_the_chunks_of_a_webp_are_found():
    profile = factory.rgb_profile(True)
    content = saved(SCENE, "WEBP", exif=factory.exif_block(3), xmp=XMP, icc_profile=profile)
    decoded = decode_raster(content, "webp", LIMITS)
    assert decoded.blocks.exif[0].endswith(factory.exif_block(3))
    assert (decoded.blocks.xmp, decoded.profile, decoded.orientation) == (XMP, profile, 3)


def test_the_boxes_of_a_jpeg_2000_are_found():
    profile = factory.rgb_profile(True)
    content = saved(SCENE, "JPEG2000")
    plain = content[content.index(b"colr") - 4 :][:15]
    named = factory.box(b"colr", b"\2\0\0" + profile)
    header = content.index(b"jp2h") - 4
    size = int.from_bytes(content[header : header + 4], "big") + len(named) - len(plain)
    content = content[:header] + size.to_bytes(4, "big") + content[header + 4 :].replace(plain, named)
    content += factory.box(b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), XMP)
    content += factory.box(b"uuid" + bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"), DATASETS)
    decoded = decode_raster(content, "jp2", LIMITS)
    assert (decoded.blocks.xmp, decoded.blocks.iptc, decoded.profile) == (XMP, DATASETS, profile)


def test_the_resources_of_a_photoshop_document_are_found():
    profile = factory.rgb_profile(True)
    resources = {0x0404: DATASETS, 0x0422: factory.exif_block(6), 0x0424: XMP, 0x040F: profile}
    decoded = decode_psd(factory.psd_bytes(SCENE, resources=resources), LIMITS)
    assert decoded.blocks.exif == (factory.exif_block(6),)
    assert (decoded.blocks.xmp, decoded.blocks.iptc, decoded.profile) == (XMP, DATASETS, profile)
    assert decoded.orientation == 1  # Photoshop has turned the picture


# ── colours ───────────────────────────────────────────────────────────────────────────────────

CHRM = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)  # Adobe RGB's
SRGB_CHRM = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


@pytest.mark.parametrize(
    ("chunks", "name"),
    [
        ([(b"cICP", bytes((12, 13, 0, 1)))], "display-p3"),
        ([(b"cICP", bytes((12, 13, 0, 1))), (b"sRGB", b"\0")], "display-p3"),
        ([(b"cICP", bytes((77, 13, 0, 1))), (b"sRGB", b"\0")], "srgb"),
        ([(b"sRGB", b"\0"), (b"cHRM", CHRM), (b"gAMA", struct.pack(">I", 45455))], "srgb"),
        ([(b"cHRM", CHRM), (b"gAMA", struct.pack(">I", 45455))], "adobe-rgb"),
        ([(b"gAMA", struct.pack(">I", 100000))], "gamma 1"),
        ([(b"gAMA", struct.pack(">I", 45455))], "srgb"),
        ([(b"cHRM", SRGB_CHRM), (b"gAMA", struct.pack(">I", 45455))], "srgb"),
        ([(b"cHRM", CHRM)], None),
        ([(b"gAMA", struct.pack(">I", 0))], None),
        ([], None),
    ],
)
def test_a_png_names_its_colours_in_four_ways(chunks, name):
    profile = decode_raster(factory.png_with(SCENE, *chunks), "png", LIMITS).profile
    assert (profile and colour.name_of(profile)) == name


def test_the_frame_is_in_srgb_and_the_facts_say_what_the_file_was(tmp_path):
    content = factory.png_with(SCENE, (b"cICP", bytes((12, 13, 0, 1))))
    reading, frame = frame_of(tmp_path, content)
    expected = SCENE.copy()
    colour.convert_to_srgb(expected, colour.profile_named("display-p3"))
    assert (frame == expected).all()
    assert not (frame == SCENE).all()
    assert reading.facts.colour_space == "display-p3"


def test_adobe_rgb_that_only_the_exif_names_is_converted(tmp_path):
    exif = factory.colour_exif(0xFFFF, "R03")
    reading, frame = frame_of(tmp_path, saved(SCENE, "PNG", exif=b"Exif\0\0" + exif))
    expected = SCENE.copy()
    colour.convert_to_srgb(expected, colour.profile_named("adobe-rgb"))
    assert (frame == expected).all()
    assert reading.facts.colour_space == "adobe-rgb"


def test_a_gray_profile_is_applied(tmp_path):
    profile = factory.gray_profile(1.0)
    reading, frame = frame_of(tmp_path, saved(np.full((8, 8), 55, np.uint8), "PNG", icc_profile=profile))
    assert frame[0, 0].tolist() == [128] * 3
    assert reading.facts.colour_space == "gray"


# ── refusals ──────────────────────────────────────────────────────────────────────────────────


def test_a_declared_size_is_refused_before_anything_is_decoded():
    limits = Settings(max_decoded_pixels=10_000)
    for name, content in {
        "png": saved(SCENE, "PNG"),
        "jp2": saved(SCENE, "JPEG2000"),
        "tiff": saved(SCENE, "TIFF"),
        "ppm": b"P6 999999999 999999999 255\n",
    }.items():
        with pytest.raises(TooLargeError, match="max_decoded_pixels is 10,000"):
            decode_raster(content, name, limits)
    with pytest.raises(TooLargeError, match="max_decoded_pixels is 10,000"):
        decode_psd(factory.psd_bytes(SCENE)[:26], limits)


def test_a_bomb_in_a_text_chunk_is_refused():
    text = b"Comment\0\0" + zlib.compress(bytes(64 << 20))
    with pytest.raises(TooLargeError, match="more text than any photo"):
        decode_raster(factory.png_with(SCENE, (b"zTXt", text)), "png", LIMITS)


def test_a_coding_that_no_library_here_reads_is_unsupported_and_not_damaged():
    content = tiff_of(SCENE, "<", 2, t259=(factory.SHORT, 34661))  # JBIG
    with pytest.raises(UnsupportedError, match="34661"):
        decode_raster(content, "tiff", LIMITS)
    with pytest.raises(UnreadableError, match="damaged TIFF"):
        decode_raster(tiff_of(SCENE, "<", 2)[:400], "tiff", LIMITS)
    bmp = bytearray(saved(SCENE, "BMP"))
    bmp[28:30] = b"\x03\0"  # bits a pixel
    with pytest.raises(UnsupportedError, match="BMP"):
        decode_raster(bytes(bmp), "bmp", LIMITS)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (factory.psd_bytes(SCENE, composite=False), UnsupportedError, "compatibility"),
        (factory.psd_bytes(SCENE)[:5000], UnreadableError, "damaged PSD|not enough"),
        (factory.psd_bytes(SCENE, packed=False)[:5000], UnreadableError, "damaged PSD"),
        (factory.psd_bytes(SCENE)[:30], UnreadableError, "damaged PSD"),
        (factory.psd_bytes(SCENE)[:10], UnreadableError, "damaged PSD"),
        (
            factory.psd_bytes(SCENE, packed=False).replace(b"8BPS\0\1", b"8BPS\0\7"),
            UnsupportedError,
            "version 7",
        ),
        (factory.psd_bytes(np.empty((0, 5), np.uint8), "L"), UnreadableError, "5x0"),
    ],
)
def test_a_photoshop_document_that_cannot_be_shown_says_why(tmp_path, content, error, words):
    with pytest.raises(error, match=words):
        frame_of(tmp_path, content)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_documents_end_in_a_photo_error(data, tmp_path_factory):
    whole = bytearray(
        factory.psd_bytes(SCENE[:8, :8], large=data.draw(st.booleans()), packed=data.draw(st.booleans()))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PhotoError):
        frame_of(tmp_path_factory.mktemp("psd"), bytes(whole[: data.draw(st.integers(20, len(whole)))]))


def test_a_large_picture_is_never_in_memory_twice():
    """36 MP: Pillow's own copy takes 144 MB, one more of three bytes a pixel 108 MB."""
    script = (
        "import io, resource, numpy as np\n"
        "from PIL import Image\n"
        "from catalogd.images.raster import decode_raster\n"
        "from catalogd.settings import Settings\n"
        "file = io.BytesIO()\n"
        "Image.new('RGB', (7200, 5000), (1, 2, 3)).save(file, 'PNG', compress_level=1)\n"
        "small = io.BytesIO()\n"
        "Image.new('RGB', (72, 50)).save(small, 'PNG')\n"
        "decode_raster(small.getvalue(), 'png', Settings())\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "decode_raster(file.getvalue(), 'png', Settings())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60 << 10  # KiB above the peak of making the picture, which held it once
