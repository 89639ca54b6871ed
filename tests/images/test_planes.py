from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd import _native
from catalogd.images.planes import decode_shrunk, read_grid
from catalogd.metadata.items import Items
from tests import factory
from tests.factory import coded_item, grid_item, heif_bytes

FULL = ((0.0, 1.0, 128.0), (1.402, -0.344136, -0.714136, 1.772))  # BT.601, full range
EVERY = st.integers(1, 40)


def noise(height: int, width: int, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width), dtype=dtype)


def weights(length: float, source: int, target: int) -> np.ndarray:
    """float[target, source]: Catmull-Rom, as wide as an output pixel when shrinking."""
    scale = length / target
    centres = (np.arange(target) + 0.5) * scale
    x = np.abs(np.arange(source) + 0.5 - centres[:, None]) / max(scale, 1)
    cubic = np.where(
        x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0.0)
    )
    return cubic / cubic.sum(axis=1, keepdims=True)


def slow_plane(plane: np.ndarray, luma: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    steps = [-(-full // part) for full, part in zip(luma.shape, plane.shape, strict=True)]
    rows, columns = (weights(luma.shape[i] / steps[i], plane.shape[i], shape[i]) for i in range(2))
    return rows @ plane.astype(float) @ columns.T


def slow_shrink(luma, cb, cr, shape, levels, chroma):
    black, gain, neutral = levels
    y = (slow_plane(luma, luma, shape) - black) * gain
    u, v = slow_plane(cb, luma, shape) - neutral, slow_plane(cr, luma, shape) - neutral
    rgb = [y + chroma[0] * v, y + chroma[1] * u + chroma[2] * v, y + chroma[3] * u]
    return np.clip(np.stack(rgb, -1) + 0.5, 0, 255).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    height=EVERY,
    width=EVERY,
    target=st.tuples(EVERY, EVERY),
    down=st.sampled_from([1, 2]),
    right=st.sampled_from([1, 2, 4]),
    deep=st.booleans(),
)
def test_planes_are_reduced_and_converted_as_the_slow_twin_does(height, width, target, down, right, deep):
    dtype = np.uint16 if deep else np.uint8
    luma = noise(height, width, dtype)
    shape = (-(-height // down), -(-width // right))
    cb, cr = noise(*shape, dtype, 1), noise(*shape, dtype, 2)
    scale = 65535 / 255 if deep else 1
    levels = (16 * scale, 1.164 / scale, 128 * scale)
    chroma = tuple(weight / scale for weight in FULL[1])
    frame = np.empty((*target, 3), np.uint8)
    _native.shrink_planes(luma, cb, cr, frame, levels, chroma)
    assert np.abs(frame.astype(int) - slow_shrink(luma, cb, cr, target, levels, chroma)).max() <= 1


def test_rows_may_have_gaps_between_them():
    wide = noise(40, 64)
    part, neutral = wide[:, 3:50], np.full((1, 1), 128, np.uint8)
    one, other = np.empty((20, 24, 3), np.uint8), np.empty((20, 24, 3), np.uint8)
    _native.shrink_planes(part, neutral, neutral, one, *FULL)
    _native.shrink_planes(np.ascontiguousarray(part), neutral, neutral, other, *FULL)
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("luma", "cb", "cr"),
    [
        (noise(8, 16)[:, ::2], noise(4, 4), noise(4, 4)),
        (noise(8, 8), noise(9, 8), noise(9, 8)),
        (noise(8, 8), noise(4, 4), noise(4, 5)),
        (noise(8, 8), noise(0, 4), noise(0, 4)),
    ],
    ids=["columns apart", "chroma larger", "chroma of two shapes", "no chroma"],
)
def test_planes_that_do_not_fit_are_refused(luma, cb, cr):
    with pytest.raises(ValueError, match=r"side by side|one shape|must have"):
        _native.shrink_planes(luma, cb, cr, np.empty((4, 4, 3), np.uint8), *FULL)


def test_planes_of_two_depths_are_refused():
    with pytest.raises(TypeError):
        _native.shrink_planes(
            noise(8, 8, np.uint16), noise(4, 4), noise(4, 4), np.empty((4, 4, 3), np.uint8), *FULL
        )


def items_of(*parts) -> Items:
    return Items(heif_bytes(*parts))


def test_a_grid_of_a_200_megapixel_photo_is_read():
    tile = coded_item(np.zeros((512, 512, 3), np.uint8))
    items = items_of(grid_item(24, 32, 12240, 16320, [2] * 768), tile)
    assert items.primary is not None
    grid = read_grid(items, items.primary)
    assert grid is not None
    assert (grid.height, grid.width, grid.columns, len(grid.tiles)) == (12240, 16320, 32, 768)


@pytest.mark.parametrize(("rows", "columns", "tiles"), [(2, 2, 3), (3, 1, 3), (1, 3, 3), (1, 1, 1)])
def test_a_grid_whose_tiles_do_not_make_the_picture_is_none(rows, columns, tiles):
    """The picture is of two rows and two columns of its tiles."""
    tile = coded_item(np.zeros((64, 64, 3), np.uint8))
    items = items_of(grid_item(rows, columns, 100, 100, [2] * tiles), tile)
    assert items.primary is not None
    assert read_grid(items, items.primary) is None


def test_a_grid_that_declares_two_sizes_is_none():
    grid = grid_item(1, 2, 64, 128, [2, 2])
    grid.properties = [factory.size_property(64, 126)]
    items = items_of(grid, coded_item(np.zeros((64, 64, 3), np.uint8)))
    assert items.primary is not None
    assert read_grid(items, items.primary) is None


@pytest.mark.parametrize("lost", [b"hvcC", b"ispe"])
def test_a_picture_without_its_properties_is_left_to_the_libraries(lost):
    item = coded_item(factory.scene(64, 96))
    item.properties = [entry for entry in item.properties if entry[0] != lost]
    items = items_of(item)
    assert items.primary is not None
    assert decode_shrunk(items, items.primary, (64, 96)) is None


def test_tiles_of_two_streams_are_left_to_the_libraries():
    """One decoder is configured for all tiles."""
    plain, other = (
        coded_item(np.zeros((64, 64, 3), np.uint8)),
        coded_item(np.zeros((64, 64, 3), np.uint8), chroma=444),
    )
    items = items_of(grid_item(1, 2, 64, 128, [2, 3]), plain, other)
    assert items.primary is not None
    assert decode_shrunk(items, items.primary, (64, 96)) is None
