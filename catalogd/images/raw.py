"""RAW files: the camera's own preview where it covers the frame, else a half-size development.

::

    LibRaw opens it ─▶ preview covers the frame ─▶ decode it
                    └▶ it does not              ─▶ half size, or full size of a small sensor
    LibRaw refuses  ─▶ largest JPEG that the TIFF directories or the bytes hold ─▶ decode it
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import rawpy

from catalogd.errors import PhotoError, UnsupportedError
from catalogd.images.frames import Decoded, Pixels, check_size, fit
from catalogd.images.jpeg import JpegHeader, check_header, decode_jpeg, read_header
from catalogd.metadata import Blocks, Tiff, read_facts, read_orientation
from catalogd.settings import Settings

MAX_PREVIEWS = 64  # looked at; a RAW file holds up to about five
MIN_PREVIEW_EDGE_PX = 160  # a smaller one shows nothing that a model could use

# LibRaw's flip: 1 mirrors the columns, then 2 the rows, 4 swaps the axes.
_EXIF_OF_FLIP = {0: 1, 1: 2, 3: 3, 2: 4, 4: 5, 6: 6, 7: 7, 5: 8}
_PREVIEW_START, _PREVIEW_BYTES = 0x0201, 0x0202
_STRIP_START, _STRIP_BYTES, _COMPRESSION = 0x0111, 0x0117, 0x0103
_JPEG_COMPRESSIONS = {6, 7, 34892}
_CR3_DIRECTORIES = (b"CMT1", b"CMT2", b"CMT4")


def decode_raw(content: bytes, limits: Settings) -> Decoded:
    """Decode a RAW file by the cheapest way that covers the frame.

    Raises UnsupportedError when LibRaw refuses it and it holds no usable preview, and the errors of
    `decode_jpeg` for the preview.
    """
    blocks = read_raw_blocks(content)
    try:
        with rawpy.imread(io.BytesIO(content)) as raw:
            return _decode_opened(raw, blocks, limits)
    except rawpy.LibRawError as error:
        reason = error.args[0] if error.args else error
        message = reason.decode() if isinstance(reason, bytes) else str(reason)
    decoded = _decode_largest_preview(content, blocks, limits)
    if decoded is None:
        raise UnsupportedError(f"LibRaw cannot read it ({message}) and it holds no preview")
    return decoded


def _decode_opened(raw: rawpy.RawPy, blocks: Blocks, limits: Settings) -> Decoded:
    sizes = raw.sizes
    orientation = _EXIF_OF_FLIP.get(sizes.flip, 1)
    base = Decoded(np.empty((0, 0, 3), np.uint8), sizes.height, sizes.width, orientation, blocks)
    preview = _preview_of(raw, base, limits)
    return preview if preview is not None else _develop(raw, base, limits)


def _preview_of(raw: rawpy.RawPy, base: Decoded, limits: Settings) -> Decoded | None:
    """The camera's preview, when it is as large as the frame will be."""
    try:
        thumb = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError, rawpy.LibRawIOError):
        return None
    needed = max(fit(base.height, base.width, limits.frame_edge_px))
    if thumb.format == rawpy.ThumbFormat.BITMAP:
        pixels = np.ascontiguousarray(thumb.data)
        return _as_preview(base, pixels, None) if max(pixels.shape[:2]) >= needed else None
    data = bytes(thumb.data)
    try:
        header = read_header(data)
        if max(header.height, header.width) < needed:
            return None
        preview = decode_jpeg(data, None, limits)
    except PhotoError:
        return None  # a damaged preview; the sensor's data may be whole
    return _as_preview(base, preview.pixels, preview.profile)


def _as_preview(base: Decoded, pixels: Pixels, profile: bytes | None) -> Decoded:
    """`pixels` in place of the sensor's. A preview that stands upright already is not turned again."""
    height, width = pixels.shape[:2]
    upright = base.orientation >= 5 and (height > width) != (base.height > base.width)
    if upright:
        base = dataclasses.replace(base, height=base.width, width=base.height, orientation=1)
    return dataclasses.replace(base, pixels=pixels, profile=profile, path_taken="preview")


def _develop(raw: rawpy.RawPy, base: Decoded, limits: Settings) -> Decoded:
    check_size(base.height, base.width, limits, "a RAW")
    half = max(base.height, base.width) // 2 >= limits.frame_edge_px
    pixels = raw.postprocess(half_size=half, use_camera_wb=True, user_flip=0, output_bps=8)
    return dataclasses.replace(base, pixels=pixels, path_taken="half_size" if half else "full")


def _decode_largest_preview(content: bytes, blocks: Blocks, limits: Settings) -> Decoded | None:
    found: list[tuple[int, bytes]] = []
    for preview in _embedded_jpegs(content):
        header = _usable_header(preview, limits)
        if header is not None:
            found.append((header.height * header.width, preview))
    for _, preview in sorted(found, key=lambda item: item[0], reverse=True):
        try:
            decoded = decode_jpeg(preview, None, limits)
        except PhotoError:
            continue
        facts = read_facts(blocks)
        blocks = blocks if facts.camera or facts.taken_at else decoded.blocks
        orientation = read_orientation(blocks.exif[0] if blocks.exif else None)
        return dataclasses.replace(decoded, blocks=blocks, orientation=orientation, path_taken="preview")
    return None


def _usable_header(preview: bytes, limits: Settings) -> JpegHeader | None:
    try:
        header = read_header(preview)
        check_header(preview, header, limits)
    except PhotoError:
        return None
    return header if max(header.height, header.width) >= MIN_PREVIEW_EDGE_PX else None


def _embedded_jpegs(content: bytes) -> Iterator[bytes]:
    """The JPEG pictures that the directories name, then those that the bytes show."""
    for directory in Tiff(content).directories():
        for start_tag, bytes_tag in ((_PREVIEW_START, _PREVIEW_BYTES), (_STRIP_START, _STRIP_BYTES)):
            starts, lengths = directory.offsets(start_tag), directory.numbers(bytes_tag)
            if start_tag == _STRIP_START and directory.number(_COMPRESSION) not in _JPEG_COMPRESSIONS:
                continue
            if len(starts) == len(lengths) == 1 and content.startswith(b"\xff\xd8", starts[0]):
                yield content[starts[0] : starts[0] + int(lengths[0])]
    at = -1
    for _ in range(MAX_PREVIEWS):
        at = content.find(b"\xff\xd8\xff", at + 1)
        if at < 0:
            return
        yield content[at:]


def read_raw_blocks(content: bytes) -> Blocks:
    """The metadata of a RAW file: its TIFF directories, boxes (CR3), or its preview's (RAF, RW2)."""
    blocks = Blocks((content,))
    if content[4:8] == b"ftyp":
        blocks = Blocks(tuple(_box(content, name) for name in _CR3_DIRECTORIES))
    elif read_facts(blocks).taken_at is None:
        preview = next(_embedded_jpegs(content), None)
        try:
            exif = read_header(preview).exif if preview else None
        except PhotoError:
            return blocks
        blocks = Blocks((exif,)) if exif and read_facts(Blocks((exif,))).camera else blocks
    return blocks


def _box(content: bytes, name: bytes) -> bytes:
    """The content of the first box of that name (ISO/IEC 14496-12: size, name, content)."""
    at = content.find(name)
    size = int.from_bytes(content[at - 4 : at], "big") if at >= 4 else 0
    return content[at + 4 : at - 4 + size] if size > 8 else b""
