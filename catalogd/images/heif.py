"""HEIF, HEIC and AVIF: the primary picture, or its thumbnail where that covers the frame.

::

    items ─▶ a thumbnail covers the frame ─┐
          └▶ the primary picture ──────────┴▶ FFmpeg, where it is installed: reduced planes
                                           └▶ libheif (HEVC), libavif (AV1), libjpeg-turbo (JPEG)

Auxiliary pictures (depth, gain maps, mattes) and the other pictures of a burst are never shown. How
a picture is turned is said by its own properties (irot, imir); the orientation in EXIF repeats that
and is not applied (ISO/IEC 23008-12, 6.5.10 and A.2.1).
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
import pillow_heif
from PIL import AvifImagePlugin, Image

from catalogd import _native
from catalogd.errors import PhotoError, TooLargeError, UnreadableError, UnsupportedError
from catalogd.images.colour import profile_of_codes
from catalogd.images.frames import Decoded, Pixels, check_size, fit
from catalogd.images.jpeg import decode_jpeg
from catalogd.images.planes import decode_shrunk
from catalogd.images.raster import to_rgb
from catalogd.images.source import Source
from catalogd.metadata import Blocks
from catalogd.metadata.bmff import find
from catalogd.metadata.items import Item, Items, Nclx
from catalogd.settings import Settings

# The readers are what runs side by side; more threads in each would only wait for each other.
pillow_heif.options.DECODE_THREADS = 1
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

_PQ, _HLG, _SRGB = 16, 18, 13  # transfer characteristics of Rec. ITU-T H.273
# Curves of cameras (BT.709, 601, 2020): what is made with them is looked at as sRGB is.
_CAMERA_CURVES = frozenset((1, 6, 14, 15))
_LIBRARY_ERRORS = (ValueError, EOFError, SyntaxError, RuntimeError, OSError)
_TOO_LARGE = ("security limit", "memory allocation", "out of memory")
_UNSUPPORTED = ("unsupported", "not supported", "not implemented", "not been built in")
# What libavif says of any structure that it does not accept, such as those of early encoders.
_STRUCTURE_REFUSED = "BMFF parsing failed"


class _Picture(NamedTuple):
    """One upright picture. `height` and `width` are its own, `pixels` may be reduced already."""

    pixels: Pixels
    height: int
    width: int
    colours: Nclx | None = None  # as the stream tells them


def decode_heif(source: Source, name: str, limits: Settings) -> Decoded:
    """Decode the primary picture of a HEIF or AVIF file; deeper levels become 8 bits.

    `name` is heif or avif, what the file says it is. The profile of PQ and HLG brings their range to
    a display's. Raises UnreadableError, UnsupportedError (a coding or feature that no library here
    reads) and TooLargeError.
    """
    items = Items(source)
    if items.primary is not None:
        _check(items, items.primary, limits)
    preview = _read_preview(items, source, limits)
    picture = preview or _read_picture(items, items.primary, source, name, limits)
    profile, colours = items.colours(items.primary) if items.primary else (None, None)
    colours = colours or picture.colours
    photo = _size_of(items.primary) if items.primary and preview else None
    height, width = photo or (picture.height, picture.width)
    return Decoded(
        pixels=picture.pixels,
        height=height,
        width=width,
        orientation=1,
        blocks=_read_blocks(items, colours),
        path_taken="preview" if preview else "full",
        profile=profile or _profile_of(colours),
    )


def _check(items: Items, primary: Item, limits: Settings) -> None:
    """Refuse by what the primary picture and its tiles declare; decodes nothing."""
    tiles = items.referred(b"dimg", primary)
    sizes = [item.size for item in (primary, *tiles) if item.size]
    for height, width in sizes:
        check_size(height, width, limits, "a HEIF")
    coded = sum(height * width for height, width in sizes[1:])
    if coded > 2 * limits.max_decoded_pixels:  # tiles reach beyond the picture by up to one each way
        raise TooLargeError(
            f"decoding {len(tiles):,} tiles makes {coded:,} pixels; "
            f"max_decoded_pixels is {limits.max_decoded_pixels:,}"
        )
    end = max((start + length for item in (primary, *tiles) for start, length in item.pieces), default=0)
    if end > len(items.content):
        raise UnreadableError(
            f"the file ends early: its picture reaches to byte {end:,} of {len(items.content):,}"
        )


def _read_preview(items: Items, source: Source, limits: Settings) -> _Picture | None:
    """The smallest thumbnail that covers the frame; None when there is none, or it is damaged."""
    primary = items.primary
    photo = _size_of(primary) if primary else None
    if primary is None or photo is None:
        return None
    shape = fit(*photo, limits.frame_edge_px)
    found = []
    for item in items.referring(b"thmb", primary):
        size = _size_of(item)
        if size and max(shape) <= max(size) < max(photo) and _same_view(item, primary):
            found.append((max(size), item))
    for _, item in sorted(found, key=lambda entry: entry[0]):
        try:
            picture = _read_picture(items, item, source, "heif", limits, shape)
        except PhotoError:
            continue
        return picture._replace(pixels=_resized(picture.pixels, shape))
    return None


def _resized(pixels: Pixels, shape: tuple[int, int], orientation: int = 1) -> Pixels:
    """Turned upright, to a height and width of `shape`."""
    if pixels.shape[:2] == shape and orientation == 1:
        return pixels
    target = np.empty((*shape, 3), np.uint8)
    _native.resize(pixels, target, orientation)
    return target


def _same_view(thumbnail: Item, photo: Item) -> bool:
    """Whether both are turned alike and of one shape, as far as whole pixels allow."""
    (height, width), (photo_height, photo_width) = thumbnail.size or (1, 1), photo.size or (1, 1)
    skew = abs(height * photo_width - width * photo_height)
    return thumbnail.orientation == photo.orientation and skew <= max(photo_height, photo_width)


def _size_of(item: Item) -> tuple[int, int] | None:
    """Height and width as it is shown: cropped and upright."""
    size = (item.crop.height, item.crop.width) if item.crop else item.size
    return size[::-1] if size and item.orientation >= 5 else size


def _read_picture(
    items: Items,
    item: Item | None,
    source: Source,
    name: str,
    limits: Settings,
    shape: tuple[int, int] | None = None,
) -> _Picture:
    """Decode one item, or what a library takes for the primary picture of a file without items.

    `shape` is the frame's height and width where the item's own size does not make it.
    """
    size = _size_of(item) if item is not None else None
    if item is not None and size is not None:
        shape = shape or fit(*size, limits.frame_edge_px)
        turned = item.orientation >= 5
        shrunk = decode_shrunk(items, item, shape[::-1] if turned else shape)
        if shrunk is not None:
            return _Picture(_resized(shrunk.pixels, shape, item.orientation), *size, shrunk.colours)
        if item.kind == b"jpeg":
            content = (item.find(b"jpgC") or b"") + items.read(item)
            pixels = decode_jpeg(content, None, limits).pixels
            return _Picture(_resized(pixels, shape, item.orientation), *size)
    coding = _coding(items, item) or (b"av01" if name == "avif" else b"hvc1")
    by_library = _by_libavif if coding == b"av01" else _by_libheif
    try:
        return by_library(source.content(), items, item, limits)
    except _LIBRARY_ERRORS as error:
        if item is None and find(source, b"moov"):
            raise UnsupportedError(f"an image sequence without a still picture: {_told(error)}") from error
        raise _refusal(error, coding, found=item is not None) from error


def _coding(items: Items, item: Item | None) -> bytes:
    """The kind of a picture, or of what it is put together from."""
    while item is not None and items.referred(b"dimg", item) and item.kind in (b"grid", b"iden", b"iovl"):
        item = items.referred(b"dimg", item)[0]
    return item.kind if item is not None else b""


def _turned(pixels: Pixels, item: Item, limits: Settings) -> _Picture:
    """`pixels` of an item as they are stored, upright; they are reduced where they are turned."""
    stored = pixels.shape[:2]
    height, width = stored[::-1] if item.orientation >= 5 else stored
    if item.orientation != 1:
        pixels = _resized(pixels, fit(height, width, limits.frame_edge_px), item.orientation)
    return _Picture(pixels, height, width)


def _by_libheif(content: bytes, items: Items, item: Item | None, limits: Settings) -> _Picture:
    """Decode the primary picture, or the thumbnail that `item` is; libheif crops and turns it."""
    file = pillow_heif.open_heif(content)
    if len(file) == 0:
        raise ValueError("no picture in it can be read")
    image: Any = file[file.primary_index]
    if item is not None and item is not items.primary:
        image = _thumbnail(image, _size_of(item))
    elif item is not None and not image.info["primary"]:
        _check_substitute(image.size[::-1], items, item)
    width, height = image.size
    check_size(height, width, limits, "a HEIF")
    pixels = _levels(image)
    height, width = pixels.shape[:2]
    return _Picture(pixels, height, width, _nclx_of(image.info.get("nclx_profile")))


def _check_substitute(size: tuple[int, int], items: Items, primary: Item) -> None:
    """Where the primary is damaged libheif gives another picture: that may not be a tile of it."""
    if any(tile.size == size for tile in items.referred(b"dimg", primary)):
        raise ValueError("its tiles cannot be put together")


def _thumbnail(image: Any, size: tuple[int, int] | None) -> Any:
    for index, _ in enumerate(image.info["thumbnails"]):
        thumbnail = image.get_thumbnail(index)
        if thumbnail.size[::-1] == size:
            return thumbnail
    raise ValueError("the thumbnail is not among those that libheif finds")


def _levels(image: Any) -> Pixels:
    if image.mode == "RGB":
        return np.asarray(image)
    picture = image.to_pillow() if "16" not in image.mode else _shallow(image)
    return to_rgb(picture.convert("LA") if picture.mode == "La" else picture)


def _shallow(image: Any) -> Image.Image:
    """A gray picture of 16 bits, with alpha or without, in 8."""
    levels = (np.asarray(image) >> 8).astype(np.uint8)
    if levels.ndim == 2:
        return Image.fromarray(levels)
    return Image.merge("LA", [Image.fromarray(levels[:, :, i]) for i in range(2)])


def _nclx_of(told: dict[str, Any] | None) -> Nclx | None:
    if not told:
        return None
    return Nclx(
        told["color_primaries"],
        told["transfer_characteristics"],
        told["matrix_coefficients"],
        bool(told["full_range_flag"]),
    )


def _by_libavif(content: bytes, items: Items, item: Item | None, limits: Settings) -> _Picture:
    """Decode the primary picture, or the first of a sequence; libavif neither crops nor turns it."""
    if item is not items.primary:
        raise ValueError("libavif decodes no thumbnails")
    with AvifImagePlugin.AvifImageFile(io.BytesIO(content)) as image:
        check_size(image.height, image.width, limits, "an AVIF")
        image.load()
        pixels = to_rgb(image)
    if item is None:
        return _Picture(pixels, image.height, image.width)
    if item.crop is not None and item.crop.fits(*pixels.shape[:2]):
        top, left, height, width = item.crop
        pixels = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    return _turned(pixels, item, limits)


def _refusal(error: Exception, coding: bytes, found: bool) -> PhotoError:
    """What a library's error means; `found` is whether the picture's place and kind are known."""
    detail = _told(error)
    library = "libavif" if coding == b"av01" else "libheif"
    if any(words in detail.lower() for words in _TOO_LARGE):
        return TooLargeError(f"{library} refuses it: {detail}")
    refused = any(words in detail.lower() for words in _UNSUPPORTED)
    if coding not in (b"hvc1", b"av01") or refused or (found and _STRUCTURE_REFUSED in detail):
        kind = coding.decode("latin-1")
        return UnsupportedError(f"a picture coded as {kind!r} that {library} does not read: {detail}")
    name = "AVIF" if coding == b"av01" else "HEIF"
    return UnreadableError(f"damaged {name}: {library} says: {detail}")


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read_blocks(items: Items, colours: Nclx | None) -> Blocks:
    exif = items.exif
    bright = colours is not None and colours.transfer in (_PQ, _HLG)
    gained = any(item.kind == b"tmap" or b"hdrgainmap" in item.auxiliary_kind for item in items)
    return Blocks(
        exif=(exif,) if exif else (),
        xmp=items.xmp,
        marks=("hdr",) if bright or gained else (),
    )


def _profile_of(colours: Nclx | None) -> bytes | None:
    """The profile of colours by number; None for what nobody said."""
    if colours is None:
        return None
    transfer = _SRGB if colours.transfer in _CAMERA_CURVES else colours.transfer
    return profile_of_codes(colours.primaries, transfer)
