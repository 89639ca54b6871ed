"""Whether two small pictures show the same pixels: wholly, but for a retouched part, or one within the other.

Luma is compared after its coarse part is taken away: what is left are edges, which are where they are
in copies and elsewhere in the next shot of the same thing, however much alike the two look. The measure is
the normalised cross-correlation (Lewis 1995), at every place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogd import _native

LOOK_EDGE_PX = 96  # long edge at which pictures are compared: 2 % of it is a pixel or two
KEPT_EDGE_PX = 128  # at which pictures are kept to be compared
_COARSE_EDGE_PX = 48  # at which a crop is looked for first
_REACH_PX = 4  # of the blur that is taken away, at LOOK_EDGE_PX
_LEAST_EDGE_PX = 12  # of a picture that is placed in another: less correlates with anything
_LUMA = np.array([0.299 / 255, 0.587 / 255, 0.114 / 255], np.float32)
_TILES = 16  # a side: a line of text written into a picture fills some
_COLOUR_TILES = 8  # a side: encoding smears colours over less
_LEAST_EDGES = 0.01  # deviation in luma of a tile in which there is something to see
_SHARES = np.arange(1.0, 0.44, -0.06)  # of the whole's edge that a crop may have kept
_FINER = np.array([-0.03, -0.015, 0.0, 0.015, 0.03])
_LEAST_COARSE = 0.5  # found coarsely: 98 of 100 crops have more, 95 of 100 other pairs less
_DARK = 1e-6  # a length below which nothing is to be seen
_FLAT_WINDOW = 0.05  # of the whole's variance: below, a part is sky, where anything fits

Luma = NDArray[np.float32]  # [h, w], 0…1
Pixels = NDArray[np.uint8]  # [h, w, 3]


class Placement(NamedTuple):
    """Where one picture lies in another."""

    score: float  # 0…1, the correlation there
    share: float  # of the edge of the largest part of its shape
    area: float = 1.0  # of the whole that the part takes


class Difference(NamedTuple):
    """How two pictures of one shape differ."""

    score: float  # 0…1, the correlation of their edges
    worst: float  # 0…1, the deviation in luma of the tile that differs most, after a change of light
    light: float  # 0…1, the mean deviation in luma
    colour: float  # 0…1, how far the mean colours of tiles are apart, brightness aside


def small(pixels: Pixels) -> Pixels:
    """`pixels: uint8[h, w, 3]` with a long edge of at most KEPT_EDGE_PX, in memory of its own."""
    height, width = _fitted(pixels, min(KEPT_EDGE_PX, max(pixels.shape[:2])))
    kept = np.empty((height, width, 3), np.uint8)
    _native.resize(np.ascontiguousarray(pixels), kept)
    return kept


def same_shape(a: Pixels, b: Pixels, least: float = 0.0) -> Difference | None:
    """Compare two whole pictures `uint8[h, w, 3]`; the second is stretched to the shape of the first.

    None when their edges correlate by less than `least`: most pictures, of which no more needs to be known.
    """
    height, width = _fitted(a, LOOK_EDGE_PX)
    first, second = _luma(a, height, width), _luma(b, height, width)
    correlation = _correlation(_edges(first, _REACH_PX), _edges(second, _REACH_PX))
    if correlation < least:
        return None
    light = float(np.abs(first - second).mean())
    return Difference(correlation, _worst(first, second), light, _colour_distance(a, b))


def place(whole: Pixels, part: Pixels) -> Placement:
    """The best place of `part` in `whole`, whatever share of its edge was kept from 0.45 up."""
    whole, part = np.ascontiguousarray(whole), np.ascontiguousarray(part)
    found = _best_place(whole, part, _COARSE_EDGE_PX, _SHARES)
    if found.score < _LEAST_COARSE:
        return found
    return _best_place(whole, part, LOOK_EDGE_PX, np.minimum(found.share + _FINER, 1.0))


def _best_place(whole: Pixels, part: Pixels, edge_px: int, shares: NDArray[np.float64]) -> Placement:
    """The best place of `part`, made as large as each share of what fits in."""
    height, width = _fitted(whole, edge_px)
    scales = shares * min(height / part.shape[0], width / part.shape[1])
    sizes = np.rint(scales[:, None] * part.shape[:2]).astype(np.int64)
    seen = sizes.min(axis=1) >= max(2, _LEAST_EDGE_PX * edge_px // LOOK_EDGE_PX)
    scores = np.zeros(len(shares))
    if seen.any():
        reach_px = max(1, _REACH_PX * edge_px // LOOK_EDGE_PX)
        found = np.empty(int(seen.sum()))
        _native.best_correlations(
            whole, part, (height, width), reach_px, _FLAT_WINDOW, _DARK**2, sizes[seen], found
        )
        scores[seen] = found
    areas = np.where(seen, sizes.prod(axis=1) / (height * width), 1.0)
    return max(map(Placement, scores.tolist(), shares.tolist(), areas.tolist()))


def _fitted(pixels: Pixels, edge_px: int) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    scale = edge_px / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _luma(pixels: Pixels, height: int, width: int) -> Luma:
    resized = np.empty((height, width, 3), np.uint8)
    _native.resize(np.ascontiguousarray(pixels), resized)
    luma: Luma = resized.reshape(-1, 3).astype(np.float32) @ _LUMA
    return luma.reshape(height, width)


def _edges(luma: Luma, reach_px: int) -> Luma:
    """Luma without its local mean, a square of `2 * reach_px + 1`."""
    edges = np.empty_like(luma)
    _native.subtract_mean(luma, reach_px, edges)
    return edges


def _correlation(a: Luma, b: Luma) -> float:
    length = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return max(0.0, float((a * b).sum()) / length) if length > _DARK else 0.0


def _worst(a: Luma, b: Luma) -> float:
    """The largest deviation of a tile of `b` from `a`, once `b` has the light and contrast of `a`."""
    spread = float(b.std())
    gain = float(((a - a.mean()) * (b - b.mean())).mean()) / spread**2 if spread > _DARK else 0.0
    return float(_tile_deviations(a - a.mean() - gain * (b - b.mean())).max())


def detail(pixels: Pixels) -> float:
    """The share of the tiles of a picture in which there is something to see; of a diagram there are few."""
    luma = _luma(pixels, *_fitted(pixels, LOOK_EDGE_PX))
    return float((_tile_deviations(_edges(luma, _REACH_PX)) > _LEAST_EDGES).mean())


def _tile_deviations(values: Luma) -> NDArray[np.float32]:
    """The root of the mean square of each tile."""
    residual = np.square(values)
    height, width = (max(1, length // _TILES) for length in residual.shape)
    tiles = residual[: residual.shape[0] // height * height, : residual.shape[1] // width * width]
    means = tiles.reshape(tiles.shape[0] // height, height, -1, width).mean(axis=(1, 3))
    deviations: NDArray[np.float32] = np.sqrt(means)
    return deviations


def _colour_distance(a: Pixels, b: Pixels) -> float:
    first, second = _colours(a), _colours(b)
    return float(np.sqrt(np.square(first - second).sum(axis=2).mean()))


def _colours(pixels: Pixels) -> NDArray[np.float32]:
    """float32[8, 8, 3]: of each of 8 x 8 tiles, how far red, green and blue are from its luma."""
    tiles = np.empty((_COLOUR_TILES, _COLOUR_TILES, 3), np.uint8)
    _native.resize(np.ascontiguousarray(pixels), tiles)
    luma = (tiles @ _LUMA).astype(np.float32)
    colours: NDArray[np.float32] = tiles.astype(np.float32) / np.float32(255) - luma[:, :, None]
    return colours
