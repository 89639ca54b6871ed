"""What two small pictures have in common, on pictures made for it."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from catalogd import _native
from catalogd.duplicates import pixels
from tests.factory import scene


def look(picture: np.ndarray) -> np.ndarray:
    return pixels.small(np.ascontiguousarray(picture))


def encoded(picture: np.ndarray, quality: int = 40) -> np.ndarray:
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=quality))


def test_a_look_is_small_keeps_its_shape_and_is_never_enlarged() -> None:
    assert look(scene(480, 640)).shape == (96, 128, 3)
    assert look(scene(30, 20)).shape == (30, 20, 3)


def test_a_copy_that_was_encoded_again_and_halved_is_the_same_in_every_part() -> None:
    picture = scene(seed=1)
    half = np.empty((240, 320, 3), np.uint8)
    _native.resize(picture, half)
    for copy in (encoded(picture), encoded(half)):
        difference = pixels.same_shape(look(picture), look(copy))
        assert difference.score > 0.95
        assert difference.worst < 0.025
        assert difference.light < 0.02
        assert difference.colour < 0.03


def test_of_two_pictures_that_are_not_alike_enough_no_more_is_found_out() -> None:
    one, other = look(scene(seed=1)), look(scene(seed=11))
    score = pixels.same_shape(one, other).score
    assert pixels.same_shape(one, other, score + 0.01) is None
    assert pixels.same_shape(one, other, score - 0.01) == pixels.same_shape(one, other)


@pytest.mark.parametrize("seed", range(3))
def test_other_pictures_have_no_edges_in_common(seed: int) -> None:
    assert pixels.same_shape(look(scene(seed=seed)), look(scene(seed=seed + 10))).score < 0.6


def test_a_line_of_text_shows_in_its_tile_only() -> None:
    picture = scene(seed=2)
    written = picture.copy()
    written[400:430, 300:600] = 255 - written[400:430, 300:600]
    difference = pixels.same_shape(look(picture), look(written))
    assert difference.worst > 0.05
    assert difference.colour < 0.1


def test_another_light_and_other_colours_are_told_apart() -> None:
    picture = scene(seed=3)
    darker = (picture * 0.7).astype(np.uint8)
    grey = np.repeat((picture @ [0.299, 0.587, 0.114]).astype(np.uint8)[:, :, None], 3, axis=2)
    assert pixels.same_shape(look(picture), look(darker)).light > 0.05
    assert pixels.same_shape(look(picture), look(grey)).colour > 0.05
    assert pixels.same_shape(look(picture), look(grey)).light < 0.01


@pytest.mark.parametrize(("kept", "down", "right"), [(0.9, 0, 0), (0.7, 1, 0.5), (0.5, 0.3, 1)])
def test_a_crop_is_found_where_it_was_cut_out(kept: float, down: float, right: float) -> None:
    picture = scene(seed=4)
    height, width = int(480 * kept), int(640 * kept)
    top, left = int((480 - height) * down), int((640 - width) * right)
    crop = encoded(picture[top : top + height, left : left + width])
    placement = pixels.place(look(picture), look(crop))
    assert placement.score > 0.78
    assert placement.share == pytest.approx(kept, abs=0.03)
    assert placement.area == pytest.approx(kept**2, abs=0.05)


def test_no_place_is_found_for_another_picture_nor_for_a_blank_one() -> None:
    assert pixels.place(look(scene(seed=5)), look(scene(seed=6)[100:400, 100:500])).score < 0.7
    assert pixels.place(look(scene(seed=5)), look(np.full((300, 400, 3), 9, np.uint8))).score == 0
    assert pixels.place(look(np.full((300, 400, 3), 9, np.uint8)), look(scene(seed=5))).score == 0


def test_a_strip_too_thin_to_be_seen_has_no_place() -> None:
    assert pixels.place(look(scene(seed=5)), look(scene(40, 640, seed=5))).score == 0


def test_a_photo_has_detail_everywhere_and_a_diagram_hardly_any() -> None:
    diagram = np.full((480, 640, 3), 255, np.uint8)
    diagram[200:210, 100:500] = 0
    photo = np.random.default_rng(1).integers(60, 200, (60, 80, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    assert pixels.detail(look(photo)) > 0.9
    assert pixels.detail(look(diagram)) < 0.3
