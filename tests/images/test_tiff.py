"""TIFFs that Pillow refuses, or misreads without a word: read by tifffile, or refused."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import tifffile

from catalogd.errors import PhotoError, TooLargeError, UnsupportedError
from catalogd.images.tiff import decode_tiff
from catalogd.settings import Settings
from tests import factory

LIMITS = Settings(frame_edge_px=320)
SCENE = factory.scene(60, 80)
DEPTHS = {
    "uint8": SCENE,
    "uint16": SCENE.astype(np.uint16) * 257,
    "uint32": SCENE.astype(np.uint32) * 16843009,
    "int16": SCENE.astype(np.int16) * 128,
}


def tiff(samples, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **{"photometric": "rgb", **options})
    return file.getvalue()


def levels_apart(pixels, expected):
    assert pixels.shape == expected.shape
    return int(np.abs(pixels.astype(int) - expected).max())


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_whole_numbers_of_any_depth_become_eight_bits(depth, order, big):
    content = tiff(DEPTHS[depth], byteorder=order, bigtiff=big)
    assert levels_apart(decode_tiff(content, LIMITS).pixels, SCENE) <= 1


@pytest.mark.parametrize("depth", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("coding", [None, "lzw", "zlib"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"rowsperstrip": 7}])
def test_planes_apart_are_put_together(depth, coding, layout):
    planes = np.moveaxis(DEPTHS[depth], -1, 0)
    options = {"predictor": True} if coding else {}
    content = tiff(planes, planarconfig="separate", compression=coding, **layout, **options)
    assert levels_apart(decode_tiff(content, LIMITS).pixels, SCENE) <= 1


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_colours_are_linear_light(kind):
    light = np.full((8, 8, 3), 0.2158605, kind)
    light[0, 0] = (np.nan, -1, 7)
    pixels = decode_tiff(tiff(light), LIMITS).pixels
    assert levels_apart(pixels[1:], np.full((7, 8, 3), 128)) <= 1
    assert pixels[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_gray_floats_of_any_size_are_shown_alike(kind):
    gray = (SCENE[:, :, 1] / 255).astype(kind)
    pixels = decode_tiff(tiff(gray, photometric="minisblack"), LIMITS).pixels
    assert levels_apart(pixels, np.repeat(SCENE[:, :, 1:2], 3, axis=2)) <= 1


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_a_scale_that_starts_at_white_is_turned_round(depth):
    content = tiff(DEPTHS[depth][:, :, 0], photometric="miniswhite")
    assert levels_apart(decode_tiff(content, LIMITS).pixels, np.repeat(255 - SCENE[:, :, :1], 3, axis=2)) <= 1


@pytest.mark.parametrize("depth", ["uint16", "uint32"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_deep_alpha_shows_white_paper(depth, planes):
    samples = DEPTHS[depth]
    cover = np.full(samples.shape[:2], np.iinfo(samples.dtype).max, samples.dtype)
    cover[:, :40] = 0
    samples = np.dstack([samples, cover])
    samples = np.moveaxis(samples, -1, 0) if planes == "separate" else samples
    pixels = decode_tiff(tiff(samples, planarconfig=planes, extrasamples=["unassalpha"]), LIMITS).pixels
    assert (pixels[:, :40] == 255).all()
    assert levels_apart(pixels[:, 40:], SCENE[:, 40:]) <= 1


def test_gray_in_deep_lab_stays_gray():
    lightness = SCENE[:, :, 1].astype(np.uint16) * 257
    lab = np.dstack([lightness, np.zeros_like(lightness), np.zeros_like(lightness)])
    pixels = decode_tiff(tiff(lab, photometric="cielab"), LIMITS).pixels.astype(int)
    assert np.abs(pixels - pixels[:, :, :1]).max() <= 3
    assert np.corrcoef(pixels[:, :, 0].ravel(), lightness.ravel())[0, 1] > 0.99


def test_deep_inks_become_rgb():
    inks = np.zeros((8, 8, 4), np.uint32)
    inks[:, :, 1:3] = 2**32 - 1  # magenta and yellow
    assert decode_tiff(tiff(inks, photometric="separated"), LIMITS).pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("coding", ["jpeg2000", "jpegxl", "lerc", "webp"])
def test_codings_of_scanners_and_microscopes_are_read(coding):
    content = tiff(SCENE, compression=coding)
    error = np.mean((decode_tiff(content, LIMITS).pixels.astype(float) - SCENE) ** 2)
    assert error < 60


def test_a_turning_that_does_not_exist_is_none():
    """The picture was refused as damaged."""
    content = tiff(DEPTHS["uint32"], extratags=[(0x0112, 3, 1, 99, True)])
    assert decode_tiff(content, LIMITS).orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_deep_tiff_says_how_it_is_turned(orientation):
    content = tiff(DEPTHS["uint32"], extratags=[(0x0112, 3, 1, orientation, True)])
    decoded = decode_tiff(content, LIMITS)
    assert (decoded.orientation, decoded.height, decoded.width) == (orientation, 60, 80)
    assert levels_apart(decoded.pixels, SCENE) <= 1


def test_the_profile_and_metadata_of_a_deep_tiff_are_found():
    profile = factory.rgb_profile(True)
    content = tiff(DEPTHS["uint32"], iccprofile=profile, extratags=[(700, 1, 5, b"<xmp>", True)])
    decoded = decode_tiff(content, LIMITS)
    assert (decoded.profile, decoded.blocks.xmp) == (profile, b"<xmp>")
    assert decode_tiff(tiff((SCENE / 255).astype(np.float32), iccprofile=profile), LIMITS).profile is None


def test_a_large_deep_tiff_is_shrunk_and_one_beyond_the_limit_refused():
    content = tiff(np.zeros((500, 700, 3), np.uint32))
    assert decode_tiff(content, Settings(frame_edge_px=100)).pixels.shape == (167, 234, 3)
    with pytest.raises(TooLargeError, match="max_decoded_pixels"):
        decode_tiff(content, Settings(max_decoded_pixels=1000))


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_without_tifffile_what_would_be_noise_is_refused(planes, monkeypatch):
    """Pillow reads planes of 16 bits without an error, as stripes."""
    monkeypatch.setitem(sys.modules, "tifffile", None)
    samples = np.moveaxis(DEPTHS["uint16"], -1, 0) if planes == "separate" else DEPTHS["uint32"]
    with pytest.raises(UnsupportedError, match=r"install catalogd\[tiff\]"):
        decode_tiff(tiff(samples, planarconfig=planes), LIMITS)


def test_a_stack_of_slices_is_no_photo():
    content = tiff(np.zeros((16, 16, 16, 3), np.uint32), volumetric=True, tile=(16, 16, 16))
    with pytest.raises(PhotoError):
        decode_tiff(content, LIMITS)
