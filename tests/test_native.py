"""The kernels against slow twins in numpy, written from the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from catalogd import _native
from catalogd.records import Quality
from tests.factory import scene, stored

edges = st.integers(1, 70)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def weight_matrix(start: float, length: float, source: int, target: int) -> np.ndarray:
    """Row i holds the share of each source pixel in target pixel i, by fine sampling of the definition."""
    scale = length / target
    matrix = np.zeros((target, source))
    for i in range(target):
        centre = start + (i + 0.5) * scale
        for j in range(source):
            if scale > 1:
                covered = min(centre + scale / 2, j + 1) - max(centre - scale / 2, j)
                matrix[i, j] = max(covered, 0.0)
            else:
                matrix[i, j] = max(1 - abs(j + 0.5 - centre), 0.0)
    return matrix / matrix.sum(axis=1, keepdims=True)


def cubic_matrix(start, length, source, target):
    """`float[target, source]`: Keys' cubic with a = -1/2, as wide as an output pixel when shrinking."""
    scale = length / target
    centres = start + (np.arange(target)[:, None] + 0.5) * scale
    x = np.abs(np.arange(source) + 0.5 - centres) / max(scale, 1)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    matrix = np.where(x < 1, near, np.where(x < 2, far, 0))
    return matrix / matrix.sum(axis=1, keepdims=True)


def linear_matrix(start, length, source, target):
    """`float[target, source]`: linear between pixel centres, as wide as an output pixel when shrinking."""
    scale = length / target
    centres = start + (np.arange(target)[:, None] + 0.5) * scale
    matrix = np.maximum(1 - np.abs(np.arange(source) + 0.5 - centres) / max(scale, 1), 0)
    return matrix / matrix.sum(axis=1, keepdims=True)


MATRICES = {"area": weight_matrix, "bilinear": linear_matrix, "bicubic": cubic_matrix}


def slow_resize(source, height, width, crop=None, matrix=weight_matrix):
    """`float[h, w, 3]`: two matrix products."""
    x, y, crop_width, crop_height = crop or (0, 0, source.shape[1], source.shape[0])
    rows = matrix(y, crop_height, source.shape[0], height)
    columns = matrix(x, crop_width, source.shape[1], width)
    return np.einsum("ij,jkc,lk->ilc", rows, source.astype(float), columns)


def upright_by_pillow(pixels, orientation):
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@settings(max_examples=80, deadline=None)
@given(edges, edges, edges, edges, st.integers(0, 9))
def test_resizing_is_antialiased_bicubic(height, width, new_height, new_width, seed):
    source = noise(height, width, seed)
    target = np.full((new_height, new_width, 3), 7, np.uint8)
    _native.resize(source, target)
    expected = slow_resize(source, new_height, new_width, matrix=cubic_matrix)
    assert np.abs(target - np.clip(expected, 0, 255)).max() <= 0.51


@settings(max_examples=40, deadline=None)
@given(edges, edges, edges, edges, st.floats(0.1, 1), st.floats(0.1, 1))
def test_a_picture_may_take_a_part_of_its_last_row_and_column(
    height, width, new_height, new_width, down, right
):
    source, extent = noise(height, width), (height * down, width * right)
    target = np.empty((new_height, new_width, 3), np.uint8)
    _native.resize(source, target, extent=extent)
    expected = slow_resize(source, new_height, new_width, (0, 0, extent[1], extent[0]), cubic_matrix)
    assert np.abs(target - np.clip(expected, 0, 255)).max() <= 0.51


def test_an_extent_lies_inside_its_picture():
    for extent in ((0, 4), (5, 4), (4, 4.1), (float("nan"), 4)):
        with pytest.raises(ValueError, match="inside the source"):
            _native.resize(noise(4, 4), np.empty((2, 2, 3), np.uint8), extent=extent)


@settings(max_examples=60, deadline=None)
@given(edges, edges, edges, edges, st.integers(1, 8))
def test_a_picture_is_turned_as_its_exif_orientation_says(height, width, new_height, new_width, orientation):
    source = noise(height, width)
    plain = np.empty((new_height, new_width, 3), np.uint8)
    _native.resize(source, plain)
    shape = (new_width, new_height, 3) if orientation >= 5 else (new_height, new_width, 3)
    turned = np.empty(shape, np.uint8)
    _native.resize(source, turned, orientation)
    np.testing.assert_array_equal(turned, upright_by_pillow(plain, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_of_the_same_size_is_only_turned(orientation):
    upright = scene(37, 53)
    target = np.empty_like(upright)
    _native.resize(stored(upright, orientation), target, orientation)
    np.testing.assert_array_equal(target, upright)


def test_resizing_writes_nothing_beside_its_target():
    memory = np.full(100 * 3 + 64, 9, np.uint8)
    _native.resize(noise(40, 40), memory[32:332].reshape(10, 10, 3), 6)
    assert (memory[:32] == 9).all()
    assert (memory[332:] == 9).all()


def test_a_flat_picture_stays_exactly_flat():
    for level in (0, 1, 127, 254, 255):
        target = np.empty((33, 47, 3), np.uint8)
        _native.resize(np.full((101, 203, 3), level, np.uint8), target)
        assert (target == level).all()


@pytest.mark.parametrize("filter", MATRICES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_tensor_is_the_cropped_resized_normalised_picture(filter, data):
    height, width = data.draw(edges), data.draw(edges)
    source = noise(height, width)
    x, y = data.draw(st.floats(0, width - 0.5)), data.draw(st.floats(0, height - 0.5))
    crop = (x, y, data.draw(st.floats(0.25, width - x)), data.draw(st.floats(0.25, height - y)))
    tall, wide = data.draw(edges), data.draw(edges)
    placed = (data.draw(st.integers(1, tall)), data.draw(st.integers(1, wide)))
    bgr = data.draw(st.booleans())
    mean, scale = (10.0, 20.0, 30.0), (0.5, 1.0, 2.0)
    target = np.full((3, tall, wide), np.nan, np.float32)
    _native.resize_to_tensor(source, target, mean, scale, crop, bgr, placed, 114.0, filter)
    expected = np.full((tall, wide, 3), 114.0)
    expected[: placed[0], : placed[1]] = slow_resize(source, *placed, crop, MATRICES[filter]).clip(0, 255)
    expected = ((expected - mean) * scale).transpose(2, 0, 1)
    np.testing.assert_allclose(target, expected[::-1] if bgr else expected, atol=2e-3, rtol=1e-5)


@pytest.mark.parametrize(
    ("filter", "resampling"),
    [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)],
)
@pytest.mark.parametrize("size", [(224, 224), (61, 90), (853, 1280)])
def test_a_tensor_may_be_resized_as_pillow_does(filter, resampling, size):
    source = scene(427, 640)
    target = np.empty((3, *size), np.float32)
    _native.resize_to_tensor(source, target, (0,) * 3, (1,) * 3, filter=filter)
    expected = Image.fromarray(source).resize(size[::-1], resampling)
    difference = np.abs(target.transpose(1, 2, 0) - np.asarray(expected, np.float32))
    # Pillow rounds to whole levels and clips after each of its two passes.
    assert difference.mean() < 0.35
    assert np.mean(difference > 1.6) < (0.0005 if filter == "bicubic" else 1e-9)


def test_a_filter_that_is_none_is_refused():
    with pytest.raises(ValueError, match="filter"):
        _native.resize_to_tensor(noise(4, 4), np.empty((3, 2, 2), np.float32), (0,) * 3, (1,) * 3, filter="x")


def test_a_tensor_without_options_is_the_whole_picture():
    source = noise(12, 20)
    target = np.empty((3, 12, 20), np.float32)
    _native.resize_to_tensor(source, target, (0, 0, 0), (1, 1, 1))
    np.testing.assert_array_equal(target, source.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((2, 2, 3), np.uint8), TypeError),
        (np.zeros((4, 4, 4), np.uint8), np.zeros((2, 2, 3), np.uint8), TypeError),
        (np.zeros((4, 4, 3), np.int8), np.zeros((2, 2, 3), np.uint8), TypeError),
        (np.zeros((4, 8, 3), np.uint8)[:, ::2], np.zeros((2, 2, 3), np.uint8), TypeError),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 3), np.uint8)[:, ::2], TypeError),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((2, 2, 3), np.uint8), ValueError),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((2, 0, 3), np.uint8), ValueError),
    ],
)
def test_arrays_of_another_kind_are_refused(source, target, error):
    with pytest.raises(error):
        _native.resize(source, target)


def test_a_target_that_is_read_only_is_refused():
    target = np.zeros((2, 2, 3), np.uint8)
    target.flags.writeable = False
    with pytest.raises(TypeError):
        _native.resize(noise(4, 4), target)


@pytest.mark.parametrize("orientation", [0, 9, -1])
def test_an_orientation_outside_1_to_8_is_refused(orientation):
    with pytest.raises(ValueError, match="orientation"):
        _native.resize(noise(4, 4), np.zeros((4, 4, 3), np.uint8), orientation)


@pytest.mark.parametrize(
    "crop",
    [
        (-1, 0, 2, 2),
        (0, 0, 0, 2),
        (0, 0, 5, 4),
        (3, 3, 2, 2),
        (0, 0, float("nan"), 2),
        (float("inf"), 0, 1, 1),
    ],
)
def test_a_crop_outside_the_picture_is_refused(crop):
    with pytest.raises(ValueError, match="crop"):
        _native.resize_to_tensor(noise(4, 4), np.zeros((3, 4, 4), np.float32), (0,) * 3, (1,) * 3, crop)


@pytest.mark.parametrize("placed", [(0, 1), (5, 4), (4, 5)])
def test_a_placement_outside_the_tensor_is_refused(placed):
    target = np.zeros((3, 4, 4), np.float32)
    with pytest.raises(ValueError, match="placed"):
        _native.resize_to_tensor(noise(4, 4), target, (0,) * 3, (1,) * 3, placed=placed)


# Quality. The twin follows docs/models.md: luma of BT.601, tiles of 32 px, inner pixels only.


def slow_luma(frame):
    return (frame.astype(int) @ np.array([77, 150, 29]) + 128) >> 8


def slow_tiles(frame):
    """Per tile with inner pixels: the Laplacians, the noise mask's absolute response, the luma."""
    luma = slow_luma(frame)
    middle = luma[1:-1, 1:-1]
    cross = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    corners = luma[:-2, :-2] + luma[:-2, 2:] + luma[2:, :-2] + luma[2:, 2:]
    measures = (cross - 4 * middle, np.abs(corners - 2 * cross + 4 * middle), middle)
    rows, columns = np.mgrid[1 : luma.shape[0] - 1, 1 : luma.shape[1] - 1] // 32
    for row in np.unique(rows):
        for column in np.unique(columns):
            chosen = (rows == row) & (columns == column)
            yield tuple(measure[chosen] for measure in measures)


def slow_sharpness_and_noise(frame):
    tiles = list(slow_tiles(frame)) if min(frame.shape[:2]) >= 3 else []
    sigmas = sorted(
        np.sqrt(np.pi / 2) / 6 * rough.mean() for _, rough, luma in tiles if 8 <= luma.mean() <= 247
    )
    noise_level = sigmas[int(0.1 * (len(sigmas) - 1))] if sigmas else 0.0
    deviations = [
        np.sqrt(max(laplacian.var() - 20 * (1.1 * noise_level) ** 2, 0)) for laplacian, _, _ in tiles
    ]
    scores = sorted((100 * d / (d + 25) for d in deviations), reverse=True)
    if not scores:
        return 0.0, 0.0, noise_level
    return np.mean(scores[: max(1, len(scores) // 10)]), np.mean(scores), noise_level


def slow_sharpness_tiles(frame, noise_level):
    """The 8 x 8 map from its definition: the sharpest 32-px tile that reaches into each part."""
    down, across = (-(-edge // 32) for edge in frame.shape[:2])
    scores = np.zeros((down, across))
    if min(frame.shape[:2]) >= 3:
        inner = [range((edge - 2) // 32 + 1) for edge in frame.shape[:2]]
        places = [(row, column) for row in inner[0] for column in inner[1]]
        for place, (laplacian, _, _) in zip(places, slow_tiles(frame), strict=True):
            deviation = np.sqrt(max(laplacian.var() - 20 * (1.1 * noise_level) ** 2, 0))
            scores[place] = 100 * deviation / (deviation + 25)
    found = np.zeros((8, 8))
    for row, column in np.ndindex(8, 8):
        rows = slice(row * down // 8, -(-(row + 1) * down // 8))
        columns = slice(column * across // 8, -(-(column + 1) * across // 8))
        found[row, column] = scores[rows, columns].max() * 2.55
    return found


def slow_quality(frame):
    luma = slow_luma(frame)
    red, green, blue = frame.astype(float).transpose(2, 0, 1)
    rg, yb = red - green, (red + green) / 2 - blue
    sharpness, sharpness_mean, noise_level = slow_sharpness_and_noise(frame)
    return {
        "sharpness": sharpness,
        "sharpness_mean": sharpness_mean,
        "noise": noise_level,
        "brightness": luma.mean() / 255,
        "contrast": luma.std() / 255 * 2,
        "clipped_low": (luma <= 2).mean(),
        "clipped_high": (luma >= 253).mean(),
        "colourfulness": np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()),
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 140), st.integers(1, 140), st.integers(0, 99))
def test_quality_measures_what_its_definitions_say(height, width, seed):
    frame = scene(height, width, seed)
    measured = _native.quality(frame)
    for field, expected in slow_quality(frame).items():
        assert measured[field] == pytest.approx(expected, rel=1e-4, abs=2e-3), field
    tiles = np.frombuffer(measured["sharpness_tiles"], np.uint8).reshape(8, 8)
    assert np.abs(tiles - slow_sharpness_tiles(frame, measured["noise"])).max() <= 0.51


def test_quality_has_the_fields_of_its_record():
    assert Quality(**_native.quality(scene())).sharpness > 0


def test_a_blurred_picture_is_less_sharp_and_noise_is_not_sharpness():
    flat = np.full((256, 256, 3), 128.0)
    grain = np.random.default_rng(0).normal(0, 8, flat.shape[:2])[:, :, None]
    noisy = _native.quality(np.clip(flat + grain, 0, 255).astype(np.uint8))
    sharp = scene(256, 256)
    blurred = np.asarray(Image.fromarray(sharp).resize((64, 64)).resize((256, 256)))
    assert noisy["noise"] == pytest.approx(8, rel=0.1)
    assert noisy["sharpness_mean"] < _native.quality(sharp)["sharpness_mean"]
    assert _native.quality(blurred)["sharpness"] < 0.6 * _native.quality(sharp)["sharpness"]


def test_dominant_colours_are_shares_of_the_picture():
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[:50] = (200, 40, 40)
    frame[50:80] = (30, 60, 220)
    colours = _native.quality(frame)["dominant_colours"]
    assert [colour[:3] for colour in colours] == [(200, 40, 40), (30, 60, 220), (0, 0, 0)]
    assert [colour[3] for colour in colours] == pytest.approx([0.5, 0.3, 0.2])


def test_a_very_wide_row_does_not_overflow():
    frame = np.zeros((4, 60_000, 3), np.uint8)
    frame[:] = (0, 0, 255)
    assert _native.quality(frame)["colourfulness"] == pytest.approx(0.3 * 255, rel=1e-6)


KERNELS = [_native.dot_rows, _native.dot_rows_portable]


def halves(count, dimension, seed=0):
    """`int16[count, dimension]`: the bits of finite float16, subnormal ones and both zeros among them."""
    bits = np.random.default_rng(seed).integers(0, 1 << 16, (count, dimension)).astype(np.uint16)
    bits[(bits & 0x7C00) == 0x7C00] &= 0x83FF
    return bits.view(np.int16)


@pytest.mark.parametrize("dot_rows", KERNELS)
@given(count=st.integers(0, 40), dimension=st.integers(1, 80), seed=st.integers(0, 99))
def test_dot_products_of_stored_vectors_are_those_of_numpy(dot_rows, count, dimension, seed):
    vectors = halves(count, dimension, seed)
    rng = np.random.default_rng(seed)
    query = rng.standard_normal(dimension).astype(np.float32)
    wide = vectors.view(np.float16).astype(np.float64)
    found = np.full(count, np.nan, np.float32)
    dot_rows(vectors, None, query, found)
    bound = 1e-6 * (np.abs(wide) @ np.abs(query)) + 1e-30
    assert (np.abs(found - wide @ query) <= bound).all()
    rows = rng.integers(0, max(count, 1), 30 if count else 0)
    chosen = np.empty(len(rows), np.float32)
    dot_rows(vectors, rows, query, chosen)
    assert np.array_equal(chosen, found[rows])


@pytest.mark.parametrize("dot_rows", KERNELS)
def test_every_float16_is_the_same_number_in_a_product(dot_rows):
    bits = np.arange(65_536, dtype=np.uint16)
    vectors = np.zeros((65_536, 9), np.uint16)
    vectors[:, 0] = vectors[:, 8] = bits  # in the wide part of a row, and in its rest
    found = np.empty(65_536, np.float32)
    value = bits.view(np.float16).astype(np.float32)
    for place in (0, 8):
        query = np.zeros(9, np.float32)
        query[place] = 1
        finite = np.isfinite(value)
        dot_rows(vectors.view(np.int16), None, query, found)
        assert np.array_equal(found[finite], value[finite])
        assert not np.isfinite(found[~finite]).any()


def test_dot_products_refuse_rows_that_are_not_there_and_lengths_that_differ():
    vectors, query, out = halves(4, 8), np.ones(8, np.float32), np.empty(2, np.float32)
    for rows in ([0, 4], [-1, 0], [0, 1 << 62]):
        with pytest.raises(IndexError, match="rows of vectors"):
            _native.dot_rows(vectors, np.array(rows, np.int64), query, out)
    with pytest.raises(ValueError, match="as long as a row"):
        _native.dot_rows(vectors, np.array([0, 1]), query[:7], out)
    with pytest.raises(ValueError, match="one number a row"):
        _native.dot_rows(vectors, None, query, out)
    with pytest.raises(TypeError):
        _native.dot_rows(vectors.astype(np.float32), None, query, out)


# -- signatures and small pictures -----------------------------------------------------------------


def test_signatures_are_compared_with_their_run_only() -> None:
    random = np.random.default_rng(4)
    held = random.integers(0, 4, (40, 4)).astype(np.uint64)
    asking = random.integers(0, 4, (10, 4)).astype(np.uint64)
    runs = np.sort(random.integers(0, 41, (10, 2)), axis=1)
    bits = np.bitwise_count(asking[:, None] ^ held[None]).sum(axis=2)
    wanted = [
        (j, i, bits[i, j])
        for i, (begin, end) in enumerate(runs)
        for j in range(begin, end)
        if bits[i, j] <= 3
    ]
    out = np.empty((int((runs[:, 1] - runs[:, 0]).sum()), 3), np.int64)
    count = _native.alike_in_runs(held, asking, runs, 3, out)
    assert wanted
    assert [tuple(row) for row in out[:count].tolist()] == wanted


@pytest.mark.parametrize("run", [(-1, 2), (2, 1), (0, 41)])
def test_a_run_outside_of_what_is_held_is_refused(run: tuple[int, int]) -> None:
    held, out = np.zeros((40, 4), np.uint64), np.empty((100, 3), np.int64)
    with pytest.raises(IndexError):
        _native.alike_in_runs(held, held[:1].copy(), np.array([run]), 3, out)
    with pytest.raises(ValueError, match="room"):
        _native.alike_in_runs(held, held[:1].copy(), np.array([(0, 40)]), 3, out[:39].copy())


@given(edges, edges, st.integers(0, 80), st.integers(0, 9))
def test_the_mean_of_a_square_is_taken_away(height: int, width: int, reach: int, seed: int) -> None:
    luma = np.random.default_rng(seed).random((height, width), np.float32)
    found = np.empty_like(luma)
    _native.subtract_mean(luma, reach, found)
    padded = np.pad(luma, reach, "edge").astype(float)
    size = 2 * reach + 1
    means = np.lib.stride_tricks.sliding_window_view(padded, (size, size)).mean(axis=(2, 3))
    np.testing.assert_allclose(found, luma - means, atol=1e-5)


def edges_of(picture: np.ndarray, height: int, width: int, reach: int) -> np.ndarray:
    resized, out = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.float32)
    _native.resize(picture, resized)
    luma = resized.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / np.float32(255)
    _native.subtract_mean(luma, reach, out)
    return out.astype(float)


def highest_correlation(whole: np.ndarray, part: np.ndarray, least_spread: float) -> float:
    """Window by window."""
    part = part - part.mean()
    length = np.sqrt(np.square(part).sum())
    best = 0.0
    for window in np.lib.stride_tricks.sliding_window_view(whole, part.shape).reshape(-1, *part.shape):
        spread = np.square(window - window.mean()).sum()
        if spread > least_spread and length > 1e-4:
            best = max(best, (window * part).sum() / np.sqrt(spread) / length)
    return float(best)


def test_a_flat_part_is_found_nowhere() -> None:
    """What rounding left of one pair of pixels was found with a correlation of 1."""
    random = np.random.default_rng(1)
    whole, part = (random.integers(0, 256, (*random.integers(8, 40, 2), 3), np.uint8) for _ in range(2))
    out = np.empty(1)
    _native.best_correlations(whole, part, (1, 6), 1, 0.05, 1e-3, np.array([[1, 2]]), out)
    assert out[0] == 0


@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 3), st.integers(0, 9), st.data())
def test_of_each_size_the_best_place_is_that_of_the_highest_correlation(
    height: int, width: int, reach: int, seed: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(seed)
    whole, part = (random.integers(0, 256, (*random.integers(8, 40, 2), 3), np.uint8) for _ in range(2))
    size = st.tuples(st.integers(1, height), st.integers(1, width))
    sizes = np.array(data.draw(st.lists(size, min_size=1, max_size=3)), np.int64)
    out = np.empty(len(sizes))
    _native.best_correlations(whole, part, (height, width), reach, 0.05, 1e-3, sizes, out)
    outer = edges_of(whole, height, width, reach)
    wanted = [
        highest_correlation(outer, edges_of(part, *at, reach), max(0.05 * outer.var() * at[0] * at[1], 1e-3))
        for at in sizes.tolist()
    ]
    np.testing.assert_allclose(out, wanted, atol=1e-3)


@pytest.mark.parametrize("size", [(0, 5), (9, 5), (5, 9), (-1, 5)])
def test_a_part_that_does_not_fit_in_is_not_looked_for(size: tuple[int, int]) -> None:
    picture, out = np.zeros((20, 20, 3), np.uint8), np.empty(1)
    with pytest.raises(ValueError, match="no larger than size"):
        _native.best_correlations(picture, picture, (8, 8), 1, 0.05, 0.0, np.array([size]), out)
    with pytest.raises(ValueError, match="one number a size"):
        _native.best_correlations(picture, picture, (8, 8), 1, 0.05, 0.0, np.array([(5, 5)]), out[:0])
