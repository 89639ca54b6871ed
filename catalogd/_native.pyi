"""Frame kernels in C++ (native/src). Stateless; the GIL is released while they run.

Every array is C-contiguous and on the CPU. A wrong dtype or number of dimensions is a TypeError, a
wrong value a ValueError; nothing is written then.
"""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

class QualityFields(TypedDict):
    """The fields of `records.Quality` that are measured on pixels."""

    sharpness: float
    sharpness_mean: float
    brightness: float
    contrast: float
    clipped_low: float
    clipped_high: float
    noise: float
    colourfulness: float
    dominant_colours: tuple[tuple[int, int, int, float], ...]

def resize(
    source: NDArray[np.uint8],
    target: NDArray[np.uint8],
    orientation: int = 1,
    extent: tuple[float, float] | None = None,
) -> None:
    """Resize `source: uint8[H, W, 3]` into `target: uint8[h, w, 3]`, turned upright.

    Antialiased bicubic (Keys 1981, a = -1/2). `orientation` is the source's EXIF orientation, 1 to 8;
    `target` has the upright shape (for 5 to 8 its height comes from the source's width). `extent` is
    how many rows and columns of the source, from its top left, are the picture; the last ones may
    count in part. All do when None. The two must not overlap.
    """

def resize_to_tensor(
    source: NDArray[np.uint8],
    target: NDArray[np.float32],
    mean: tuple[float, float, float],
    scale: tuple[float, float, float],
    crop: tuple[float, float, float, float] | None = None,
    bgr: bool = False,
    placed: tuple[int, int] | None = None,
    fill: float = 0.0,
    filter: str = "area",
) -> None:
    """Crop, resize and normalise `source: uint8[H, W, 3]` into `target: float32[3, h, w]`.

    Written values are `(level - mean) * scale` of the pixel's own channel, level in 0…255; `mean`
    and `scale` are in RGB order even when `bgr` stores the planes as blue, green, red. `crop` is
    `(x, y, width, height)` in source px, not necessarily whole, inside the source. `placed` is the
    `(height, width)` that the picture takes at the top left of the target; the rest is the level
    `fill`, normalised like a pixel. `filter` is "area" (exact coverage), or "bilinear" or "bicubic" as
    PIL has them, antialiased; levels that bicubic interpolation carries beyond 0…255 are clipped.
    """

def convert_to_srgb(
    frame: NDArray[np.uint8], curves: NDArray[np.float32], matrix: NDArray[np.float32]
) -> None:
    """Convert `frame: uint8[H, W, 3]` to sRGB, in place.

    `curves: float32[3, 256]` are the light, 0…1, of the levels of its channels; `matrix:
    float32[3, 3]` mixes them to the light of sRGB's. What lies outside sRGB is clipped.
    """

def shrink_planes(
    luma: NDArray[np.uint8] | NDArray[np.uint16],
    cb: NDArray[np.uint8] | NDArray[np.uint16],
    cr: NDArray[np.uint8] | NDArray[np.uint16],
    target: NDArray[np.uint8],
    levels: tuple[float, float, float],
    chroma: tuple[float, float, float, float],
) -> None:
    """Reduce the planes of a video picture into `target: uint8[h, w, 3]`, as RGB.

    `luma: uint8[H, W]` and `cb, cr: uint8[H / n, W / m]`, rounded up (or all uint16), whose rows need
    not follow each other without gaps; the resizing is that of `resize`. `levels` are the black and
    the gain of luma and the neutral of chroma: red is
    `(luma - black) * gain + chroma[0] * (cr - neutral)`, green adds `chroma[1]` of cb and `chroma[2]`
    of cr, blue `chroma[3]` of cb.
    """

def quality(frame: NDArray[np.uint8]) -> QualityFields:
    """Measure the technical quality of `frame: uint8[H, W, 3]` in one read of it."""

def dot_rows(
    vectors: NDArray[np.int16],
    rows: NDArray[np.int64] | None,
    query: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Dot products of `query: float32[D]` with rows of `vectors: int16[N, D]`, the bits of float16.

    `out: float32[n]` gets that of `rows[i]` at i, `rows: int64[n]`, or of all N rows without. The
    product of a row is the same number wherever it stands, on one machine. Raises IndexError when a
    row is none of `vectors`, ValueError when lengths differ.
    """

def dot_rows_portable(
    vectors: NDArray[np.int16],
    rows: NDArray[np.int64] | None,
    query: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """`dot_rows` without the instructions that only newer CPUs have; differs in the last bits."""

def alike_in_runs(
    held: NDArray[np.uint64],
    asking: NDArray[np.uint64],
    runs: NDArray[np.int64],
    most_bits: int,
    out: NDArray[np.int64],
) -> int:
    """Compare each of `asking: uint64[n, 4]`, signatures of 256 bits, with a run of `held: uint64[m, 4]`.

    `runs: int64[n, 2]` say from where to where. Pairs that differ in at most `most_bits` go to the first
    rows of `out: int64[k, 3]`: row of `held`, row of `asking`, bits; their number is returned. Raises
    IndexError for a run that is not within `held`, ValueError when `out` has fewer rows than the runs.
    """

def subtract_mean(luma: NDArray[np.float32], reach: int, out: NDArray[np.float32]) -> None:
    """Write `luma: float32[h, w]` without its mean over `2 * reach + 1` squared to `out`, edges repeated."""

def best_correlations(
    whole: NDArray[np.uint8],
    part: NDArray[np.uint8],
    size: tuple[int, int],
    reach: int,
    flat_share: float,
    least_spread: float,
    sizes: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Look for `part: uint8[h, w, 3]`, made as large as each of `sizes: int64[n, 2]`, in `whole`.

    `whole` is uint8[H, W, 3]; `out: float64[n]` gets the highest correlation, 0…1, of a window of it,
    which is made `size` (height, width), with the part; of both the luma without its mean over
    `2 * reach + 1` squared is compared. Left out are windows with less than `flat_share` of the variance
    of the whole, and those whose sum of squares about their mean is at most `least_spread`; 0 is said when
    none is left. Raises ValueError for sizes that do not fit in.
    """
