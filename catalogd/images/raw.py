"""RAW files: the camera's own preview where one covers the frame, else a half-size development.

::

    LibRaw opens it ─▶ a preview covers the frame ─▶ decode the smallest that does
                    └▶ none does                  ─▶ half size, or full size of a small sensor
    LibRaw refuses  ─▶ the preview that the structure, or else the bytes, of the file show

LibRaw opens the file itself and reads its directories; the bytes of the sensor are read only when
they are developed.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator

import numpy as np
import rawpy

from catalogd.errors import PhotoError, UnreadableError, UnsupportedError
from catalogd.images import colour
from catalogd.images.frames import NO_PIXELS, Decoded, Pixels, check_size
from catalogd.images.jpeg import JpegHeader, covers, decode_preview, read_header
from catalogd.images.previews import CANON_METADATA, Preview, minolta_tiff, raw_previews
from catalogd.images.source import Part, Source
from catalogd.metadata import Blocks, Content, Tiff, iptc, read_orientation
from catalogd.metadata.bmff import find
from catalogd.metadata.exif import read_exif
from catalogd.settings import Settings

MIN_PREVIEW_EDGE_PX = 160  # a smaller one shows nothing that a model could use
MAX_SEARCHED_BYTES = 64 << 20  # of a file without structure: cameras write previews before the sensor's data
MAX_SHOWN = 16  # beginnings of pictures in it; a preview has one more in its EXIF
MAX_BLOCK_BYTES = 16 << 20  # of XMP, IPTC or a CR3's directories; real ones have some 100 KB

# LibRaw's flip: 1 mirrors the columns, then 2 the rows, 4 swaps the axes.
_EXIF_OF_FLIP = {0: 1, 1: 2, 3: 3, 2: 4, 4: 5, 6: 6, 7: 7, 5: 8}
_CANON_DIRECTORIES = (b"CMT1", b"CMT2", b"CMT4", b"CMT3")  # main, detail, place, maker note
_XMP_BOX = b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_WIDTH, _XMP, _IPTC, _PHOTOSHOP = 0x0100, 0x02BC, 0x83BB, 0x8649
_PREVIEW_COLOUR_SPACE = 0xC71A  # DNG 1.4, PreviewColorSpace
_JPEG_BEGINNING = re.compile(rb"\xff\xd8\xff")
_PREVIEW_SPACES = {2: "srgb", 3: "adobe-rgb", 4: "prophoto-rgb"}


def decode_raw(source: Source, slot: Pixels | None, limits: Settings) -> Decoded:
    """Decode a RAW file by the cheapest way that covers the frame, into `slot` where that fits.

    Raises UnsupportedError when LibRaw refuses it and it holds no usable preview, TooLargeError,
    MemoryError, and UnavailableError and its kin.
    """
    blocks = read_raw_blocks(source)
    try:
        with rawpy.imread(source.open_path) as raw:
            return _decode_opened(raw, source, blocks, slot, limits)
    except (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawMemPoolOverflowError):
        raise MemoryError from None
    except rawpy.LibRawError as error:
        reason = error.args[0] if error.args else error
        message = reason.decode() if isinstance(reason, bytes) else str(reason)
    decoded = _decode_without_libraw(source, blocks, slot, limits) or _decode_as_tiff(source, limits)
    if decoded is None:
        raise UnsupportedError(f"LibRaw cannot read it ({message}) and it holds no preview")
    return decoded


def _decode_opened(
    raw: rawpy.RawPy, source: Source, blocks: Blocks, slot: Pixels | None, limits: Settings
) -> Decoded:
    sizes = raw.sizes
    orientation = _EXIF_OF_FLIP.get(sizes.flip, 1)
    photo = Decoded(NO_PIXELS, sizes.height, sizes.width, orientation, blocks)
    shown = dataclasses.replace(photo, profile=_preview_profile(source, blocks))
    return (
        decode_preview(source, raw_previews(source), shown, slot, limits)
        or _decode_thumbnail(raw, shown, slot, limits)
        or _develop(raw, photo, limits)
    )


def _preview_profile(content: Content, blocks: Blocks) -> bytes | None:
    """The colours of previews without a profile: by DNG's tag, else those the camera was set to."""
    for directory in Tiff(content).directories():
        named = _PREVIEW_SPACES.get(int(directory.number(_PREVIEW_COLOUR_SPACE) or 0))
        if named is not None:
            return colour.profile_named(named)
    return colour.profile_of_exif(blocks.exif)


def _decode_thumbnail(
    raw: rawpy.RawPy, photo: Decoded, slot: Pixels | None, limits: Settings
) -> Decoded | None:
    """The largest preview that LibRaw knows, as for makers whose structure is not walked here."""
    try:
        thumbnail = raw.extract_thumb()
    except (rawpy.LibRawNonFatalError, rawpy.LibRawIOError, rawpy.LibRawDataError):
        return None
    if thumbnail.format == rawpy.ThumbFormat.JPEG:
        data = bytes(thumbnail.data)
        return decode_preview(data, [Preview(0, len(data))], photo, slot, limits)
    pixels = np.ascontiguousarray(thumbnail.data)
    height, width = pixels.shape[:2]
    if pixels.shape[2:] != (3,) or not covers(height, width, photo, limits.frame_edge_px):
        return None
    return dataclasses.replace(photo, pixels=pixels, path_taken="preview")


def _develop(raw: rawpy.RawPy, photo: Decoded, limits: Settings) -> Decoded:
    check_size(raw.sizes.raw_height, raw.sizes.raw_width, limits, "a RAW")
    mosaic = raw.raw_type == rawpy.RawType.Flat  # else it has all colours of each pixel: nothing to halve
    half = mosaic and max(photo.height, photo.width) // 2 >= limits.frame_edge_px
    pixels = raw.postprocess(half_size=half, use_camera_wb=True, user_flip=0, output_bps=8)
    return dataclasses.replace(photo, pixels=pixels, path_taken="half_size" if half else "full")


def _decode_as_tiff(source: Source, limits: Settings) -> Decoded | None:
    """What a reader of TIFF sees: of most RAW formats a thumbnail, which is better than nothing."""
    if len(source) > MAX_SEARCHED_BYTES or _WIDTH not in Tiff(source).main():
        return None
    from catalogd.images.tiff import decode_tiff

    try:
        return dataclasses.replace(decode_tiff(source.content(), limits), path_taken="preview")
    except (PhotoError, OSError, ValueError, SyntaxError):  # the last is Pillow's of damaged headers
        return None


def _decode_without_libraw(
    source: Source, blocks: Blocks, slot: Pixels | None, limits: Settings
) -> Decoded | None:
    """By a preview alone, the largest one that is whole: its size and shape stand for the photo's."""
    found = sorted(_usable(source), key=lambda item: item[1].height * item[1].width, reverse=True)
    facts = read_exif(blocks.exif)
    for preview, header in found:
        known = blocks if facts.camera or facts.taken_at else header.blocks
        orientation = read_orientation(known.exif[0] if known.exif else None)
        photo = Decoded(NO_PIXELS, header.height, header.width, orientation, known)
        decoded = decode_preview(source, [preview], photo, slot, limits)
        if decoded is not None:
            return decoded
    return None


def _usable(source: Source) -> list[tuple[Preview, JpegHeader]]:
    """The JPEG pictures that the structure names; where it names none, those that the bytes show."""
    for found in (raw_previews(source), _shown(source)):
        usable = [item for item in _with_headers(source, found) if _is_picture(item[1])]
        if usable:
            return usable
    return []


def _is_picture(header: JpegHeader) -> bool:
    return max(header.height, header.width) >= MIN_PREVIEW_EDGE_PX


def _with_headers(content: Content, found: Iterator[Preview]) -> Iterator[tuple[Preview, JpegHeader]]:
    for preview in found:
        try:
            yield preview, read_header(Part(content, *preview))
        except (UnreadableError, UnsupportedError):
            continue


def _shown(source: Source) -> Iterator[Preview]:
    """What begins like a JPEG in the first `MAX_SEARCHED_BYTES`; where each ends its decoder sees."""
    content = source[:MAX_SEARCHED_BYTES]
    for found in itertools.islice(_JPEG_BEGINNING.finditer(content), MAX_SHOWN):
        yield Preview(found.start(), len(content) - found.start())


# ── metadata ──────────────────────────────────────────────────────────────────────────────────


def read_raw_blocks(content: Content) -> Blocks:
    """The metadata of a RAW file: of its own structure, or of its preview where that has none."""
    head = content[:8]
    if head[4:] == b"ftyp":
        return _canon_blocks(content)
    if head.startswith(b"\0MRM"):
        return Blocks((Part(content, *minolta_tiff(content)),))
    blocks = _tiff_blocks(content)
    return blocks if read_exif(blocks.exif).taken_at else _preview_blocks(content, blocks)


def _tiff_blocks(content: Content) -> Blocks:
    main = Tiff(content).main()
    resources = main.raw(_PHOTOSHOP, MAX_BLOCK_BYTES)
    return Blocks(
        exif=(content,),
        xmp=main.raw(_XMP, MAX_BLOCK_BYTES),
        iptc=main.raw(_IPTC, MAX_BLOCK_BYTES) or iptc.resource(resources, iptc.IPTC_RESOURCE),
    )


def _canon_blocks(content: Content) -> Blocks:
    """CR3: four TIFF structures in boxes of the film's header, and a box with XMP."""
    home = find(content, b"moov", CANON_METADATA)
    directories = []
    for kind in _CANON_DIRECTORIES:
        box = find(content, kind, start=home.start, end=home.end) if home else None
        directories.append(content[box.start : min(box.end, box.start + MAX_BLOCK_BYTES)] if box else b"")
    packet = find(content, _XMP_BOX)
    xmp = content[packet.start : min(packet.end, packet.start + MAX_BLOCK_BYTES)] if packet else b""
    return Blocks(tuple(directories), xmp)


def _preview_blocks(content: Content, blocks: Blocks) -> Blocks:
    """The metadata of the first preview that knows its camera (RAF, RW2, X3F), else `blocks`."""
    for _, header in _with_headers(content, raw_previews(content)):
        if read_exif(header.blocks.exif).camera:
            return header.blocks
    return blocks
