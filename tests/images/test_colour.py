"""Colours to sRGB: the native way against LittleCMS, the spaces that files only name, their names."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from catalogd import _native
from catalogd.images import colour, icc
from tests import factory

LEVELS = np.linspace(0, 255, 16).astype(np.uint8)
CUBE = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(64, 64, 3)
RAMP = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
NAMES = ("srgb", "display-p3", "adobe-rgb", "prophoto-rgb", "rec2020")
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.329))
SRGB_OF_XYZ = np.linalg.inv(icc.primaries_to_xyz(*SRGB))
ADOBE = icc.read_matrix_profile(colour.profile_named("adobe-rgb"))


def by_littlecms(pixels, profile, mode="RGB"):
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    image = Image.fromarray(pixels if mode == "RGB" else np.ascontiguousarray(pixels[:, :, 0]))
    return np.asarray(ImageCms.applyTransform(image, transform))


def converted(pixels, profile):
    frame = pixels.copy()
    colour.convert_to_srgb(frame, profile)
    return frame


def levels_apart(one, other):
    return int(np.abs(one.astype(float) - other).max())


def curve_of(kind, *numbers):
    """A `curv` or `para` tag as a profile holds it."""
    if kind == "gamma":
        return struct.pack(">4sIIHH", b"curv", 0, 1, round(numbers[0] * 256), 0)
    if kind == "identity":
        return struct.pack(">4sII", b"curv", 0, 0)
    if kind == "table":
        return icc.sampled_curve(np.linspace(0, 1, int(numbers[0])) ** numbers[1])
    return icc.parametric_curve(*numbers)


@pytest.mark.parametrize("name", NAMES)
def test_the_known_spaces_become_what_littlecms_makes_of_them(name):
    profile = colour.profile_named(name)
    for pixels in (CUBE, RAMP):
        assert levels_apart(converted(pixels, profile), by_littlecms(pixels, profile)) <= 1
    changed = levels_apart(converted(CUBE, profile), CUBE)
    assert changed == 0 if name == "srgb" else changed > 20


@pytest.mark.parametrize(
    "curve",
    [
        ("identity",),
        ("gamma", 2.2),
        ("gamma", 1.8),
        ("table", 2, 1.0),
        ("table", 1024, 2.4),
        ("table", 26, 1.8),
        ("para", 2.2),
        ("para", 2.4, 0.9, 0.1),
        ("para", 2.0, 0.9, -0.1, 0.0),
        ("para", 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
        ("para", 2.4, 0.95, 0.05, 1 / 12.92, 0.04045, 0.0, 0.0),
    ],
)
def test_every_kind_of_curve_is_read_as_littlecms_reads_it(curve):
    profile = icc.make_matrix_profile("test", ADOBE.matrix, curve_of(*curve))
    assert icc.read_matrix_profile(profile) is not None
    assert levels_apart(converted(CUBE, profile), by_littlecms(CUBE, profile)) <= 1
    assert levels_apart(converted(RAMP, profile), by_littlecms(RAMP, profile)) <= 1


def test_what_is_far_brighter_than_white_is_white():
    """Primaries outside of all colours, of which red and blue together are 8.2 times as red as sRGB's red."""
    matrix = icc.primaries_to_xyz((0.75, 0.5), (0.75, 0.3125), (0.4375, 0.203125), (0.3125, 0.296875))
    profile = icc.make_matrix_profile("test", matrix, icc.parametric_curve(1.0))
    both = np.array([[[255, 0, 255]]], np.uint8)
    assert converted(both, profile)[0, 0, 0] == 255


chromaticities = st.tuples(st.floats(0.05, 0.75), st.floats(0.05, 0.75))


@settings(max_examples=60, deadline=None)
@given(
    red=chromaticities,
    green=chromaticities,
    blue=chromaticities,
    gamma=st.floats(1, 3),
    white=st.tuples(st.floats(0.28, 0.36), st.floats(0.28, 0.37)),
)
def test_any_matrix_profile_becomes_what_littlecms_makes_of_it(red, green, blue, gamma, white):
    matrix = icc.primaries_to_xyz(red, green, blue, white)
    if matrix is None or np.abs(matrix).max() > 3:
        return  # primaries on a line: the sums are so large that rounding is all that is left
    if np.maximum(SRGB_OF_XYZ @ matrix, 0).sum(axis=1).max() >= 7.5:
        return  # LittleCMS counts in fixed point, and from 8 times white on it begins again at black
    profile = icc.make_matrix_profile("test", matrix, icc.parametric_curve(gamma))
    assert levels_apart(converted(CUBE, profile), by_littlecms(CUBE, profile)) <= 1


@pytest.mark.parametrize("swapped", [False, True])
def test_a_version_2_profile_is_read_like_one_of_version_4(swapped):
    profile = factory.rgb_profile(swapped, gamma=2.2)
    assert levels_apart(converted(CUBE, profile), by_littlecms(CUBE, profile)) <= 1


@pytest.mark.parametrize("connection", [b"XYZ ", b"Lab "])
def test_a_gray_profile_is_applied_to_a_gray_frame_alone(connection):
    profile = factory.gray_profile(gamma=1.4, connection=connection)
    near = 2  # LittleCMS samples a gray curve, and is up to two levels off at black
    assert levels_apart(converted(RAMP, profile), by_littlecms(RAMP, profile, "L")) <= near
    assert levels_apart(converted(RAMP, profile), RAMP) > 20
    assert (converted(CUBE, profile) == CUBE).all()


def test_a_gray_profile_is_exact():
    light = (RAMP / 255) ** 1.5
    shades = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert levels_apart(converted(RAMP, factory.gray_profile(gamma=1.5)), np.rint(255 * shades)) <= 1


def test_a_black_that_is_not_dark_is_compensated_as_littlecms_does():
    curve = icc.sampled_curve(0.05 + 0.95 * np.linspace(0, 1, 256) ** 2.2)
    profile = icc.make_matrix_profile("test", ADOBE.matrix, curve)
    assert levels_apart(converted(CUBE, profile), by_littlecms(CUBE, profile)) <= 1
    assert converted(RAMP, profile)[0, 0].max() <= 1


def test_a_profile_of_tables_is_left_to_littlecms():
    """Its matrix, which is of other colours, says nothing where there are tables."""
    profile = factory.table_profile()
    assert icc.read_matrix_profile(profile) is None
    assert levels_apart(converted(CUBE, profile), by_littlecms(CUBE, profile)) <= 1
    assert levels_apart(converted(CUBE, profile), CUBE) > 20


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"no profile",
        factory.rgb_profile(True)[:200],
        factory.rgb_profile(True).replace(b"acsp", b"none"),
        factory.rgb_profile(True).replace(b"RGB ", b"CMYK"),
        icc.make_matrix_profile("absurd", ADOBE.matrix * 9000, icc.parametric_curve(2.2)),
    ],
)
def test_a_profile_that_is_broken_or_of_other_inks_changes_nothing(profile):
    assert (converted(CUBE, profile) == CUBE).all()


def test_tags_that_claim_the_same_bytes_take_no_memory_for_each():
    """A profile of 14 MB with a hundred such tags took 1.4 GB, and was kept."""
    count, size = icc.MAX_TAGS, 1 << 20
    rows = b"".join(struct.pack(">4sII", b"%04d" % i, 1, size) for i in range(count))
    profile = bytearray(factory.rgb_profile()[:128]) + struct.pack(">I", count) + rows
    tracemalloc.start()
    icc.read_matrix_profile(bytes(profile.ljust(size, b"\0")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.3 * count * size


def test_a_profile_above_the_limit_is_as_none():
    assert colour.is_usable(bytes(colour.MAX_PROFILE_BYTES))
    assert not colour.is_usable(bytes(colour.MAX_PROFILE_BYTES + 1))
    assert not colour.is_usable(b"")
    assert not colour.is_usable(None)


def test_linear_light_is_encoded_as_srgb_whatever_floats_hold(monkeypatch):
    monkeypatch.setattr(colour, "BAND_ROWS", 3)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    encoded = levels / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    for kind in ("<f4", ">f4", "f8"):
        assert (colour.encode_srgb(light.astype(kind)) == levels).all()
    wild = np.array([[np.nan, -np.inf, -1, np.inf, 3e38]], np.float32)
    assert colour.encode_srgb(wild).tolist() == [[0, 0, 0, 255, 255]]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_profiles_are_read_without_an_error(data):
    whole = bytearray(data.draw(st.sampled_from([factory.rgb_profile(), colour.profile_named("srgb")])))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    profile = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    icc.read_matrix_profile(profile)
    icc.description(profile)
    colour.name_of(profile)


@pytest.mark.parametrize("name", NAMES)
def test_a_known_space_is_named_by_what_it_is_and_not_by_what_it_calls_itself(name):
    known = icc.read_matrix_profile(colour.profile_named(name))
    curve = icc.sampled_curve(known.curves[0])
    assert colour.name_of(icc.make_matrix_profile("c2", known.matrix, curve)) == name


def test_other_spaces_have_their_own_name():
    assert colour.name_of(factory.rgb_profile(True)) == "test"
    assert colour.name_of(factory.gray_profile()) == "gray"
    assert (
        colour.name_of(icc.make_matrix_profile("Café\n1", ADOBE.matrix, icc.parametric_curve(3.0)))
        == "Café 1"
    )
    assert colour.name_of(b"no profile") is None


def test_codes_of_video_standards_become_profiles():
    assert colour.name_of(colour.profile_of_codes(12, 13)) == "display-p3"
    assert colour.name_of(colour.profile_of_codes(1, 13)) == "srgb"
    assert colour.name_of(colour.profile_of_codes(2, 2)) == "srgb"
    assert colour.name_of(colour.profile_of_codes(9, 1)) == "rec2020"
    assert colour.profile_of_codes(200, 13) is None
    assert colour.profile_of_codes(1, 200) is None


@pytest.mark.parametrize(("transfer", "white_signal"), [(16, 0.5807), (18, 0.75)])
def test_high_range_keeps_its_order_and_shows_diffuse_white_below_the_highlights(transfer, white_signal):
    """ITU-R BT.2408 table 1: diffuse white is 58 % of PQ and 75 % of HLG."""
    shades = converted(RAMP, colour.profile_of_codes(9, transfer))[0, :, 0].astype(int)
    assert (np.diff(shades) >= 0).all()
    assert shades[0] == 0
    assert shades[255] == 255
    assert shades[round(255 * white_signal)] == pytest.approx(190, abs=3)


def test_gamma_and_primaries_of_a_png_become_a_profile():
    linear = colour.profile_of_primaries(SRGB, 1.0)
    assert converted(RAMP, linear)[0, 55, 0] == pytest.approx(128, abs=1)  # 21.4 % of the light
    wide = colour.profile_of_primaries(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.329)), 2.2)
    assert colour.name_of(wide) == "adobe-rgb"
    assert colour.profile_of_primaries(((0.3, 0.3),) * 4, 2.2) is None
    assert colour.profile_of_primaries(((0.3, 0.0),) * 4, 2.2) is None
    assert colour.profile_of_primaries(SRGB, 0.0) is None


@pytest.mark.parametrize(
    ("space", "interoperability", "name"),
    [
        (1, None, "srgb"),
        (2, None, "adobe-rgb"),
        (0xFFFF, "R03", "adobe-rgb"),
        (None, "R03", "adobe-rgb"),
        (0xFFFF, "R98", None),
        (0xFFFF, None, None),
        (None, None, None),
    ],
)
def test_exif_names_srgb_and_adobe_rgb(space, interoperability, name):
    profile = colour.profile_of_exif((factory.colour_exif(space, interoperability),))
    assert (profile and colour.name_of(profile)) == name
    assert colour.profile_of_exif(()) is None


def test_the_native_conversion_refuses_what_is_no_curve_or_matrix():
    frame, curves, matrix = CUBE.copy(), np.zeros((3, 256), np.float32), np.eye(3, dtype=np.float32)
    for wrong in (np.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="curves"):
            _native.convert_to_srgb(frame, curves + np.float32(wrong), matrix)
    for wrong in (np.nan, np.inf, 1e4):
        with pytest.raises(ValueError, match="matrix"):
            _native.convert_to_srgb(frame, curves, matrix + np.float32(wrong))
    with pytest.raises(TypeError):
        _native.convert_to_srgb(frame, curves[:, :255].copy(), matrix)
    assert (frame == CUBE).all()
