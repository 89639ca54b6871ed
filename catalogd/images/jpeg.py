"""JPEG: header, limits, and decoding at the smallest scale that covers the frame.

The inverse DCT can make pictures of M/8 of the size for the work of that size; Huffman decoding,
which has to read every bit, is then most of what is left (bench/bench_decode.py). Where the scaled
picture is the frame itself, libjpeg-turbo writes it straight into the slot.
"""

from __future__ import annotations

import dataclasses
import io
import re
import warnings

import numpy as np
import simplejpeg

from catalogd.errors import TooLargeError, UnreadableError, UnsupportedError
from catalogd.images.frames import Decoded, Pixels, check_size, fit
from catalogd.metadata import Blocks, read_orientation
from catalogd.settings import Settings

MAX_SCANS = 100  # encoders write about ten; each one walks over all coefficients again
SMALLEST_SCALE = 8  # 1/8: one pixel of a block of 8 x 8
# Scales of 5/8 to 7/8 have no SIMD code and take longer than decoding all of a photo of up to this
# size and shrinking it (6 MP: 51 to 54 ms against 40).
FULL_DECODE_PIXELS = 16_000_000
MIN_ROWS_SHARE = 0.9  # of a file that ends early: less is no picture to search by
MIN_BITS_A_BLOCK = 2  # a sequential Huffman block has at least a DC code and an end-of-block code

_SEQUENTIAL, _PROGRESSIVE, _ARITHMETIC = {0xC0, 0xC1}, {0xC2, 0xCA}, {0xC9, 0xCA}
_LOSSLESS = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_MARKER_IN_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart


@dataclasses.dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the segments before the first scan say. Sizes as stored, in px."""

    height: int
    width: int
    components: int
    frame_marker: int  # SOFn: 0xC0 to 0xCF
    scan_start: int  # offset of the first scan's marker
    exif: bytes | None
    profile: bytes | None

    @property
    def progressive(self) -> bool:
        return self.frame_marker in _PROGRESSIVE


def read_header(content: bytes) -> JpegHeader:
    """Walk the segments up to the first scan (ITU-T T.81, annex B).

    Raises UnreadableError when no picture is declared before the data ends.
    """
    frame: tuple[int, int, int, int] | None = None
    exif: bytes | None = None
    chunks: dict[int, bytes] = {}
    at = 2
    while True:
        at = content.find(b"\xff", at)
        if at < 0 or at + 4 > len(content):
            raise UnreadableError("the JPEG ends before its picture begins")
        marker = content[at + 1]
        if marker in (0x00, 0xFF) or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            raise UnreadableError("the JPEG holds no picture")
        if marker == 0xDA and frame is not None:
            break
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        body = content[at + 4 : at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 6:
            frame = (marker, int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5])
        elif marker == 0xE1 and exif is None and body.startswith(b"Exif\0"):
            exif = body[6:]
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            chunks.setdefault(body[12], body[14:])
        at += 2 + max(length, 2)
    marker, height, width, components = frame
    profile = b"".join(chunks[number] for number in sorted(chunks)) or None
    return JpegHeader(height, width, components, marker, at, exif, profile)


def decode_jpeg(content: bytes, slot: Pixels | None, limits: Settings) -> Decoded:
    """Decode a JPEG file, into `slot` when the scaled size is the frame's and no turning is needed.

    Without a slot the pixels are always in memory of their own.

    Raises UnreadableError (damaged, or less than nine tenths of the rows there), UnsupportedError
    (a coding that libjpeg-turbo does not read) and TooLargeError.
    """
    header = read_header(content)
    orientation = read_orientation(header.exif)
    check_header(content, header, limits)
    target = fit(header.height, header.width, limits.frame_edge_px)
    profile = header.profile if header.components == 3 else None
    if header.components == 4:
        pixels, truncated = _decode_by_pillow(content, target), False
    else:
        buffer = slot if orientation == 1 else None
        pixels, truncated = _decode_colour(content, header, target, buffer)
    return Decoded(
        pixels=pixels,
        height=header.height,
        width=header.width,
        orientation=orientation,
        blocks=Blocks((header.exif,) if header.exif else ()),
        path_taken=_name_scale(header, pixels),
        profile=profile,
        truncated=truncated,
    )


def check_header(content: bytes, header: JpegHeader, limits: Settings) -> None:
    """Refuse what cannot be decoded, by what decoding would produce; decodes nothing."""
    if header.frame_marker in _LOSSLESS:
        raise UnsupportedError("a lossless or hierarchical JPEG, which libjpeg-turbo does not read")
    if header.height == 0 or header.width == 0:
        raise UnreadableError(f"the JPEG declares a size of {header.width}x{header.height}")
    if header.progressive:  # all coefficients are held in memory, whatever the scale
        check_size(header.height, header.width, limits, "a progressive JPEG")
        scans = count_scans(content, header.scan_start)
        if scans > MAX_SCANS:
            raise TooLargeError(f"the progressive JPEG has more than {MAX_SCANS} scans")
        return
    scale = SMALLEST_SCALE
    check_size(-(-header.height // scale), -(-header.width // scale), limits, "a JPEG, at 1/8 of its size,")
    blocks = -(-header.height // 8) * -(-header.width // 8)
    least = blocks * MIN_BITS_A_BLOCK * MIN_ROWS_SHARE / 8
    if header.frame_marker in _SEQUENTIAL and len(content) - header.scan_start < least:
        raise UnreadableError(
            f"the file ends early: {header.width:,}x{header.height:,} px need at least {int(least):,} bytes, "
            f"{len(content) - header.scan_start:,} are there"
        )


def count_scans(content: bytes, at: int) -> int:
    """Count the scans of the picture whose first scan's marker is at `at`; stops above MAX_SCANS."""
    scans = 0
    while scans <= MAX_SCANS:
        marker = content[at + 1 : at + 2]
        if marker in (b"", b"\xd9"):
            break
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == b"\xda":
            scans += 1
            found = _MARKER_IN_SCAN.search(content, at + 2 + length)
        else:
            found = _MARKER_IN_SCAN.search(content, at + 2 + max(length, 2))
        if found is None:
            break
        at = found.start()
    return scans


def _decode_colour(
    content: bytes, header: JpegHeader, target: tuple[int, int], slot: Pixels | None
) -> tuple[Pixels, bool]:
    """Decode a gray or colour JPEG; returns the pixels and whether the last rows are missing.

    Pillow's own libjpeg is asked where libjpeg-turbo's interface refuses: odd subsampling, and
    errors between segments that a decoder can pass over.
    """
    try:
        pixels, ends_early = _decode_by_turbo(content, _least_size(header, target), target, slot)
    except ValueError as error:
        try:
            return _decode_by_pillow(content, target), False
        except (OSError, ValueError, SyntaxError):
            raise _refusal(header, error) from error
    if ends_early:
        _check_rows(pixels)
    return pixels, ends_early


def _least_size(header: JpegHeader, target: tuple[int, int]) -> tuple[int, int]:
    """The height and width that the decoder is asked to cover."""
    small = header.height * header.width <= FULL_DECODE_PIXELS
    if small and 2 * max(target) > max(header.height, header.width):
        return header.height, header.width
    return target


def _decode_by_turbo(
    content: bytes, least_size: tuple[int, int], target: tuple[int, int], slot: Pixels | None
) -> tuple[Pixels, bool]:
    """Decode with libjpeg-turbo; returns the pixels and whether the data ends early.

    The pixels are in `slot` when the scaled size that covers `least_size` is `target`.

    A file with an error that the decoder can pass over is decoded again, tolerantly: strictness is
    what tells of it. Raises ValueError.
    """
    least = {"min_height": least_size[0], "min_width": least_size[1]}
    scaled = simplejpeg.decode_jpeg_header(content, strict=False, **least)[:2]
    buffer = None
    if slot is not None and tuple(scaled) == target:
        buffer = slot[: target[0] * target[1] * 3]
    try:
        return simplejpeg.decode_jpeg(content, buffer=buffer, **least), False
    except ValueError as error:
        ends_early = "premature end" in str(error).lower()
    return simplejpeg.decode_jpeg(content, buffer=buffer, strict=False, **least), ends_early


def _refusal(header: JpegHeader, error: ValueError) -> UnreadableError | UnsupportedError:
    message = "its data cannot be decoded" if str(error) == "-1" else str(error)
    if "unsupported" in message.lower() or "not implemented" in message.lower():
        coding = " with arithmetic coding" if header.frame_marker in _ARITHMETIC else ""
        return UnsupportedError(f"a JPEG{coding} that libjpeg-turbo does not read: {message}")
    return UnreadableError(f"damaged JPEG: {message}")


def _check_rows(pixels: Pixels) -> None:
    """Raise UnreadableError when too few rows of a file that ends early are there.

    Past the end the decoder reads zeros, which repeat the last level of each component: the rows
    below are of one colour. (A progressive file has all rows after its first scan, only coarser.)
    """
    flat = (pixels == pixels[-1, -1]).all(axis=(1, 2))
    missing = len(flat) if flat.all() else int(np.argmin(flat[::-1]))
    share = 1 - missing / len(flat)
    if share < MIN_ROWS_SHARE:
        raise UnreadableError(
            f"the file ends early: {share:.0%} of its rows are there, {MIN_ROWS_SHARE:.0%} needed"
        )


def _decode_by_pillow(content: bytes, target: tuple[int, int]) -> Pixels:
    """Decode a CMYK or YCCK JPEG, or an odd one, into sRGB at a scale that covers `target`."""
    from PIL import Image

    from catalogd.images import colour

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image: Image.Image = Image.open(io.BytesIO(content), formats=["JPEG"])
        image.draft(image.mode, (target[1], target[0]))
        image.load()
        if image.mode == "CMYK":
            image = colour.cmyk_to_srgb(image, image.info.get("icc_profile"))
        return np.asarray(image.convert("RGB"))


def _name_scale(header: JpegHeader, pixels: Pixels) -> str:
    """ "full", or "dct/4" for a quarter of each edge."""
    eighths = round(8 * max(pixels.shape) / max(header.height, header.width))
    return "full" if eighths >= 8 else f"dct/{8 / max(eighths, 1):.3g}"
