"""Pictures of HEIF and AVIF files as FFmpeg decodes them: planes, reduced before they become RGB.

Optional: `catalogd[heif-fast]` brings PyAV, which carries FFmpeg. It decodes HEVC for about two
thirds of the CPU of libde265, of 10 bits for half, and planes are reduced and converted for less than
the conversion alone takes at full size (bench/bench_heif.py). Whatever is unusual is left to libheif
and libavif: the answer is then None.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.images.frames import Pixels
from catalogd.metadata.items import Item, Items, Nclx

Plane = NDArray[Any]  # uint8 or uint16[H, W]

# A still picture is predicted from unfiltered levels: without its loop filters only the steps at block
# edges stay, which a reduction to half the size averages away: 57 dB, for 5 to 10 % of the CPU.
UNFILTERED_REDUCTION = 2.0

_CODECS = {b"hvc1": ("hevc", b"hvcC"), b"av01": ("libdav1d", b"av1C")}  # kind: decoder, configuration
_ALPHA = frozenset((b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"))
_FORMAT = re.compile(r"(gray|yuvj?4(?:20|22|44)p)(?:1[02]le)?")
_UNUSUAL = frozenset((b"clap", b"a1op", b"lsel"))  # cropping and layers
# Rec. ITU-T H.273, table 4: weights of red and blue in luma. 2, unspecified, is read as BT.601.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    2: (0.299, 0.114),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_FULL_RANGE = 2  # of FFmpeg's ranges


class Grid(NamedTuple):
    """A picture in tiles of one size, row by row; the last column and row may reach beyond it."""

    height: int
    width: int
    columns: int
    tiles: list[Item]


class Shrunk(NamedTuple):
    """A reduced picture, `uint8[H, W, 3]`, not yet turned, and the colours that its stream tells."""

    pixels: Pixels
    colours: Nclx


def decode_shrunk(items: Items, item: Item, shape: tuple[int, int]) -> Shrunk | None:
    """Decode a picture and resize it to a height and width of `shape`.

    None when PyAV is not there, when the picture has something that is not handled here (alpha,
    cropping, layers, lossless matrices), or when FFmpeg does not get through it. The declared size
    is the caller's to check.
    """
    av, grid = ffmpeg(), read_grid(items, item)
    if av is None or grid is None or _is_unusual(items, item):
        return None
    try:
        planes, colours = _decode(items, grid, shape)
        colours = items.colours(item)[1] or colours
        levels, chroma = _weights(colours, planes.bits)
    except (av.FFmpegError, _UnusualError):
        return None
    target = np.empty((*shape, 3), np.uint8)
    _native.shrink_planes(planes.luma, planes.cb, planes.cr, target, levels, chroma)
    return Shrunk(target, colours)


@functools.cache
def ffmpeg() -> Any:
    """PyAV, which carries FFmpeg; None when the extra is not installed."""
    try:
        import av
    except ImportError:
        return None
    return av


class _UnusualError(Exception):
    """Something that libheif or libavif has to read."""


class _Planes(NamedTuple):
    luma: Plane
    cb: Plane
    cr: Plane
    bits: int


def read_grid(items: Items, item: Item) -> Grid | None:
    """The tiles of a picture (ISO/IEC 23008-12, 6.6.2.3); one that is coded whole is its only tile.

    None when it is neither, or when its numbers do not fit each other or the size that it declares.
    """
    if item.size is None:
        return None
    if item.kind != b"grid":
        return Grid(*item.size, 1, [item])
    head = items.read(item, most=1024)
    wide = head[1:2] and head[1] & 1
    if len(head) < (12 if wide else 8):
        return None
    rows, columns = head[2] + 1, head[3] + 1
    width, height = struct.unpack(">II" if wide else ">HH", head[4 : 12 if wide else 8])
    tiles = items.referred(b"dimg", item)
    sizes = {tile.size for tile in tiles}
    tile_size = sizes.pop() if sizes else None
    if len(tiles) != rows * columns or sizes or tile_size is None:
        return None
    fits = rows * tile_size[0] >= height > 0 and columns * tile_size[1] >= width > 0
    spare = (rows - 1) * tile_size[0] >= height or (columns - 1) * tile_size[1] >= width
    sane = fits and not spare and (height, width) == item.size
    return Grid(height, width, columns, tiles) if sane else None


def _is_unusual(items: Items, item: Item) -> bool:
    transparent = any(other.auxiliary_kind in _ALPHA for other in items.referring(b"auxl", item))
    return transparent or any(kind in _UNUSUAL for kind, _ in item.properties)


def _decode(items: Items, grid: Grid, shape: tuple[int, int]) -> tuple[_Planes, Nclx]:
    """The planes of the whole picture, and the colours that its stream tells."""
    planes: list[Plane] = []
    first = None
    missing = set(range(len(grid.tiles)))
    for frame in _frames(items, grid, shape):
        first = first or frame
        _check_frame(frame, first, grid)
        levels = _levels(frame)
        if len(grid.tiles) == 1:
            planes = [_cut(level, *_share(level, frame, grid)) for level in levels]
        else:
            planes = planes or [np.empty(_share(level, frame, grid), level.dtype) for level in levels]
            for plane, level in zip(planes, levels, strict=True):
                _place(plane, level, *divmod(frame.pts, grid.columns))
        missing.discard(frame.pts)
    if first is None or missing:
        raise _UnusualError
    bits = first.format.components[0].bits
    if len(planes) == 1:
        planes += [np.full((1, 1), 1 << bits >> 1, planes[0].dtype)] * 2
    stream = Nclx(first.color_primaries, first.color_trc, first.colorspace, first.color_range == _FULL_RANGE)
    return _Planes(planes[0], planes[1], planes[2], bits), stream


def _check_frame(frame: Any, first: Any, grid: Grid) -> None:
    """Whether a frame is whole, a tile of the grid, and of the depth and subsampling of the first."""
    known = frame.pts in range(len(grid.tiles)) and frame.format.name == first.format.name
    if not known or frame.is_corrupt or (frame.height, frame.width) != grid.tiles[0].size:
        raise _UnusualError


def _frames(items: Items, grid: Grid, shape: tuple[int, int]) -> Iterator[Any]:
    """The decoded tiles; the time stamp of each is its place in the grid."""
    first = grid.tiles[0]
    if first.kind not in _CODECS:
        raise _UnusualError
    name, configuration_kind = _CODECS[first.kind]
    configuration = first.find(configuration_kind)
    height, width = first.size or (0, 0)
    av = ffmpeg()
    context = av.CodecContext.create(name, "r")
    context.thread_count = 1  # the readers are what runs side by side
    # A few bytes of a stream may declare any size; coded blocks reach up to 64 px beyond the picture.
    options = {"max_pixels": str((height + 64) * (width + 64))}
    if first.kind == b"hvc1":
        context.extradata = configuration
        if max(grid.height, grid.width) >= UNFILTERED_REDUCTION * max(shape):
            options["skip_loop_filter"] = "all"
    context.options = options
    for number, tile in enumerate(grid.tiles):
        coded = items.read(tile)
        if not coded or tile.kind != first.kind or tile.find(configuration_kind) != configuration:
            raise _UnusualError
        packet = av.Packet(coded)
        packet.pts = number
        yield from context.decode(packet)
    yield from context.decode(None)


def _levels(frame: Any) -> list[Plane]:
    """The planes of a frame, as views of its memory; one plane when it has no colours."""
    if not _FORMAT.fullmatch(frame.format.name):
        raise _UnusualError
    dtype = np.dtype(np.uint8 if frame.format.components[0].bits == 8 else np.uint16)
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
        planes.append(rows[: plane.height, : plane.width])
    return planes


def _share(level: Plane, frame: Any, grid: Grid) -> tuple[int, int]:
    """Height and width of one plane of the picture, of which `level` is that of a tile."""
    return (
        -(-grid.height * level.shape[0] // frame.height),
        -(-grid.width * level.shape[1] // frame.width),
    )


def _cut(level: Plane, height: int, width: int) -> Plane:
    return level[:height, :width]


def _place(plane: Plane, tile: Plane, row: int, column: int) -> None:
    """Copy a tile to its place, as far as the picture reaches."""
    height, width = tile.shape
    room = plane[row * height : (row + 1) * height, column * width : (column + 1) * width]
    room[:] = _cut(tile, *room.shape)


def _weights(
    colours: Nclx, bits: int
) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """`levels` and `chroma` of `_native.shrink_planes` (Rec. ITU-T H.273, 8.3)."""
    weights = _LUMA_WEIGHTS.get(colours.matrix)
    if weights is None:
        raise _UnusualError
    red, blue = weights
    green = 1 - red - blue
    step = 1 << (bits - 8)
    if colours.full_range:
        black, luma_range, chroma_range = 0, (1 << bits) - 1, (1 << bits) - 1
    else:
        black, luma_range, chroma_range = 16 * step, 219 * step, 224 * step
    of_cr, of_cb = 255 * 2 * (1 - red) / chroma_range, 255 * 2 * (1 - blue) / chroma_range
    return (black, 255 / luma_range, 128 * step), (of_cr, -of_cb * blue / green, -of_cr * red / green, of_cb)
