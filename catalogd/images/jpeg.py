"""JPEG: header, limits, and decoding of the smallest picture that covers the frame.

Cameras put a smaller picture of a photo into its file. Where that covers the frame it is decoded in
the photo's place: a tenth of the bytes and of the work, and the rest of the file is not even read.

Else the photo is decoded scaled. The inverse DCT can make pictures of M/8 of the size for the work
of that size; Huffman decoding, which has to read every bit, is then most of what is left
(bench/bench_decode.py). Where the scaled picture is the frame itself, libjpeg-turbo writes it
straight into the slot.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
import struct
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg

from catalogd.errors import TooLargeError, UnreadableError, UnsupportedError
from catalogd.images import previews
from catalogd.images.frames import NO_PIXELS, Decoded, Pixels, check_size, fit
from catalogd.images.previews import Preview
from catalogd.images.source import Part
from catalogd.metadata import Blocks, Content, Tiff, iptc, read_orientation
from catalogd.metadata.exif import ORIENTATION
from catalogd.metadata.tiff import decode_text
from catalogd.settings import Settings

MAX_SCANS = 100  # encoders write about ten; each one walks over all coefficients again
SMALLEST_SCALE = 8  # 1/8: one pixel of a block of 8 x 8
# Scales of 5/8 to 7/8 have no SIMD code and take longer than decoding all of a photo of up to this
# size and shrinking it (6 MP: 51 to 54 ms against 40).
FULL_DECODE_PIXELS = 16_000_000
# Scaling by the DCT blurs what is finest. Of 86 sharp photos scaled to just the frame's size one in ten
# was less than 35 dB like the full decode reduced; to 1.5 times its size, the worst had 34.7 dB.
SCALED_MARGIN = 1.5
MIN_ROWS_SHARE = 0.9  # of a file that ends early: less is no picture to search by
# By SOFn, for Huffman coding: a sequential block has at least a DC code and an end-of-block code, a
# progressive one a DC code.
MIN_BITS_A_BLOCK = {0xC0: 2, 0xC1: 2, 0xC2: 1}
SHAPE_TOLERANCE = 0.04  # previews lack some rows or columns; the nearest two camera shapes differ by 6.6 %
TAIL_BYTES = 32 << 10  # the end of a whole picture is in it: cameras write little after it

MAX_SEGMENTS = 10_000  # before the picture; extended XMP and profiles of some MB have hundreds
MAX_GAP_BYTES = 64 << 10  # of rubbish between two segments
MAX_COMMENT_BYTES = 64 << 10
MAX_XMP_NAME_BYTES = 32  # how an XMP segment begins: "http://" is lost in some
MAX_EXTENDED_XMP_BYTES = 4 << 20  # what is larger are depth maps and films, not words
MAX_TRAILER_BYTES = 4 << 10  # of Samsung's directory; it has up to about 20 rows of 12 bytes

_PROGRESSIVE, _ARITHMETIC = {0xC2, 0xCA}, {0xC9, 0xCA}
_LOSSLESS = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_KEPT = {0xE1, 0xE2, 0xED, 0xFE}  # APP1, APP2, APP13, COM
_MARKER = re.compile(rb"\xff+[\x01-\xfe]")
_EXIF, _ICC, _MPF, _PHOTOSHOP = b"Exif\0", b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0"
_XMP, _EXTENDED_XMP = b"ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_SAMSUNG_FILM = 0x0A30
# Warnings of libjpeg after which it goes on. After its errors, and where the data ends, it does not.
_PASSED_OVER = re.compile(
    r"extraneous bytes|bad (Huffman|arithmetic) code|bad ICC marker|instead of RST|Inconsistent progression"
    r"|Adobe color transform|JFIF revision|Invalid SOS parameters"
)
_MARKER_IN_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart


@dataclasses.dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the segments before the first scan say. Sizes as stored, in px."""

    height: int
    width: int
    components: int
    precision: int  # bits a sample
    frame_marker: int  # SOFn: 0xC0 to 0xCF
    scan_start: int  # offset of the first scan's marker
    blocks: Blocks
    profile: bytes | None  # ICC
    exif_start: int  # offset of the EXIF's TIFF header; 0 without
    mpf_start: int  # offset of the MP header (CIPA DC-007); 0 without

    @property
    def progressive(self) -> bool:
        return self.frame_marker in _PROGRESSIVE

    @property
    def orientation(self) -> int:
        return read_orientation(self.blocks.exif[0] if self.blocks.exif else None)


class _Segment(NamedTuple):
    marker: int
    start: int  # offset of the marker
    body: int  # offset of what follows the length
    end: int


def read_header(content: Content) -> JpegHeader:
    """Walk the segments up to the first scan (ITU-T T.81, annex B), reading no more than these.

    Raises UnreadableError when no picture is declared before the data ends.
    """
    frame: tuple[int, int, int, int, int] | None = None
    kept: list[_Segment] = []
    for segment in _segments(content):
        if segment.marker == 0xDA and frame is not None:
            return _header_of(content, frame, segment.start, kept)
        if segment.marker in _FRAMES and segment.end - segment.body >= 6:
            fields = content[segment.body : segment.body + 6]
            frame = (segment.marker, *struct.unpack(">BHHB", fields))
        elif segment.marker in _KEPT:
            kept.append(segment)
    raise UnreadableError("the JPEG ends before its picture begins")


def _segments(content: Content) -> Iterator[_Segment]:
    """The segments from the start, past whatever lies between them; ends where no marker follows."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        head = content[at : at + 4]
        if head[:1] != b"\xff" or head[1:2] in (b"\0", b"\xff"):
            found = _MARKER.search(content[at : at + MAX_GAP_BYTES])
            if found is None:
                return
            at += found.end() - 2
            head = content[at : at + 4]
        if len(head) < 4:
            return
        marker = head[1]
        if marker in _ALONE:
            at += 2
            continue
        if marker == 0xD9:
            raise UnreadableError("the JPEG holds no picture")
        end = at + 2 + max(int.from_bytes(head[2:], "big"), 2)
        yield _Segment(marker, at, at + 4, min(end, len(content)))
        at = end


def _header_of(
    content: Content, frame: tuple[int, int, int, int, int], scan_start: int, kept: list[_Segment]
) -> JpegHeader:
    parts = _Parts()
    for segment in kept:
        parts.add(content, segment)
    marker, precision, height, width, components = frame
    return JpegHeader(
        height=height,
        width=width,
        components=components,
        precision=precision,
        frame_marker=marker,
        scan_start=scan_start,
        blocks=parts.blocks(),
        profile=b"".join(parts.profile[number] for number in sorted(parts.profile)) or None,
        exif_start=parts.exif_start,
        mpf_start=parts.mpf_start,
    )


class _Parts:
    """The metadata of a JPEG, put together from its segments; the first of each kind counts."""

    def __init__(self) -> None:
        self.profile: dict[int, bytes] = {}
        self.exif_start = self.mpf_start = 0
        self._exif: tuple[bytes, ...] = ()
        self._xmp = b""
        self._extended: dict[bytes, dict[int, bytes]] = {}  # by GUID: offset, portion
        self._photoshop: list[bytes] = []
        self._text: list[tuple[str, str]] = []

    def add(self, content: Content, segment: _Segment) -> None:
        marker, _, start, end = segment
        if marker == 0xFE:
            comment = decode_text(content[start : min(end, start + MAX_COMMENT_BYTES)])
            self._text.append(("Comment", comment.strip("\0 ")))
            return
        name = content[start : min(start + 36, end)]
        if marker == 0xE1 and name.startswith(_EXIF) and not self._exif:
            self.exif_start = start + 6
            self._exif = (content[start + 6 : end],)
        elif marker == 0xE1 and not self._xmp and _XMP in name[:MAX_XMP_NAME_BYTES]:
            self._xmp = content[start + name.index(_XMP) + len(_XMP) : end]
        elif marker == 0xE1 and name.startswith(_EXTENDED_XMP):
            self._add_extended(content[start + len(_EXTENDED_XMP) : end])
        elif marker == 0xE2 and name.startswith(_ICC) and end - start > 14:
            self.profile.setdefault(name[12], content[start + 14 : end])
        elif marker == 0xE2 and name.startswith(_MPF) and not self.mpf_start:
            self.mpf_start = start + len(_MPF)
        elif marker == 0xED and name.startswith(_PHOTOSHOP):
            self._photoshop.append(content[start + len(_PHOTOSHOP) : end])

    def _add_extended(self, body: bytes) -> None:
        """XMP specification, part 3, 1.1.3.1: GUID, bytes of the whole, offset of this portion."""
        if len(body) >= 40:
            whole, offset = struct.unpack(">II", body[32:40])
            if offset < whole <= MAX_EXTENDED_XMP_BYTES:
                self._extended.setdefault(body[:32], {}).setdefault(offset, body[40:])

    def blocks(self) -> Blocks:
        return Blocks(
            exif=self._exif,
            xmp=self._xmp,
            xmp_extended=self._whole_extended(),
            iptc=iptc.resource(b"".join(self._photoshop), iptc.IPTC_RESOURCE),
            text=tuple(self._text),
        )

    def _whole_extended(self) -> bytes:
        """The extended packet that the main one names; empty when a portion of it is missing."""
        portions = next((parts for guid, parts in self._extended.items() if guid in self._xmp), {})
        whole = b""
        for offset in sorted(portions):
            if offset != len(whole):
                return b""
            whole += portions[offset]
        return whole


def decode_jpeg(content: Content, slot: Pixels | None, limits: Settings) -> Decoded:
    """Decode a JPEG file by the preview in it, where that covers the frame, else scaled.

    Into `slot` when the decoded size is the frame's and no turning is needed; without a slot the
    pixels are always in memory of their own. With a preview only the header and the preview's bytes
    are read.

    Raises UnreadableError (damaged, or less than nine tenths of the rows there), UnsupportedError
    (a coding that libjpeg-turbo does not read) and TooLargeError.
    """
    header = read_header(content)
    _check_coding(header)
    photo = Decoded(
        pixels=NO_PIXELS,
        height=header.height,
        width=header.width,
        orientation=header.orientation,
        blocks=header.blocks,
        profile=header.profile,
    )
    preview = decode_preview(content, _own_previews(content, header), photo, slot, limits)
    decoded = preview or _decode_whole(content[0 : len(content)], header, header.orientation, slot, limits)
    marks = ("motion_photo",) if _has_film(content) else ()
    return dataclasses.replace(decoded, blocks=dataclasses.replace(header.blocks, marks=marks))


def _has_film(content: Content) -> bool:
    """Whether a Samsung phone has put a film behind the picture.

    Such a file ends with a directory of what it holds: "SEFH", version, count, as many rows of a
    number, a kind, an offset and a size, then the directory's own size and "SEFT" (little-endian).
    """
    end = len(content)
    foot = content[max(end - 8, 0) : end]
    if foot[4:] != b"SEFT":
        return False
    start = end - 8 - int.from_bytes(foot[:4], "little")
    directory = content[max(start, 0) : min(start + MAX_TRAILER_BYTES, end - 8)]
    rows = struct.iter_unpack("<HHII", directory[12 : len(directory) // 12 * 12])
    return directory[:4] == b"SEFH" and any(kind == _SAMSUNG_FILM for _, kind, _, _ in rows)


def _own_previews(content: Content, header: JpegHeader) -> Iterator[Preview]:
    """Those of a photo that is whole; one in CMYK has none whose colours would be its own."""
    if header.components == 4:
        return
    if header.mpf_start:
        yield from previews.mpf_previews(content, header.mpf_start)
    if header.exif_start and b"\xff\xd9" in content[max(0, len(content) - TAIL_BYTES) : len(content)]:
        yield from previews.note_previews(content, header.exif_start)


def decode_preview(
    content: Content, found: Iterable[Preview], photo: Decoded, slot: Pixels | None, limits: Settings
) -> Decoded | None:
    """The photo by the smallest of its previews that covers the frame and has its shape.

    `photo` says all but the pixels; a preview without a profile has the photo's. The smallest costs
    least to decode, and from twice the frame on a larger one shows no more. None when none serves:
    a damaged one is passed over.
    """
    candidates = []
    for preview in found:
        part = Part(content, *preview)
        try:
            header = read_header(part)
            _check_coding(header)
        except (UnreadableError, UnsupportedError):
            continue
        if header.components != 4 and covers(header.height, header.width, photo, limits.frame_edge_px):
            candidates.append((header.height * header.width, part, header))
    for _, part, header in sorted(candidates, key=lambda candidate: candidate[0]):
        try:
            decoded = _decode_whole(part[0 : len(part)], header, _orientation_of(header, photo), slot, limits)
        except (UnreadableError, UnsupportedError, TooLargeError):
            continue
        if not decoded.truncated:
            return _in_place_of(photo, decoded)
    return None


def covers(height: int, width: int, photo: Decoded, edge_px: int) -> bool:
    """Whether a preview of that size is large enough, and not cut to or framed for another shape."""
    shapes = sorted((height, width)), sorted((photo.height, photo.width))
    (short, long), (photo_short, photo_long) = shapes
    alike = abs(long * photo_short / (short * photo_long) - 1) <= SHAPE_TOLERANCE
    return alike and long >= max(fit(photo.height, photo.width, edge_px))


def _orientation_of(header: JpegHeader, photo: Decoded) -> int:
    """What the preview says, what the photo says, or upright already: the first that makes its shape."""
    wide = (photo.width > photo.height) != (photo.orientation >= 5)
    says = Tiff(header.blocks.exif[0]).main().number(ORIENTATION) if header.blocks.exif else None
    for orientation in ([header.orientation] if says else []) + [photo.orientation, 1]:
        if ((header.width > header.height) != (orientation >= 5)) == wide:
            return orientation
    return photo.orientation


def _in_place_of(photo: Decoded, preview: Decoded) -> Decoded:
    turned = (photo.orientation >= 5) != (preview.orientation >= 5)
    return dataclasses.replace(
        photo,
        pixels=preview.pixels,
        height=photo.width if turned else photo.height,
        width=photo.height if turned else photo.width,
        orientation=preview.orientation,
        profile=preview.profile or photo.profile,
        path_taken="preview",
        extent=preview.extent,
    )


def _decode_whole(
    content: bytes, header: JpegHeader, orientation: int, slot: Pixels | None, limits: Settings
) -> Decoded:
    check_header(content, header, limits)
    target = fit(header.height, header.width, limits.frame_edge_px)
    if header.components == 4:
        pixels, truncated = _decode_by_pillow(content, target)
    else:
        buffer = slot if orientation == 1 else None
        pixels, truncated = _decode_colour(content, header, target, buffer)
    eighths = max(1, round(8 * max(pixels.shape[:2]) / max(header.height, header.width)))
    return Decoded(
        pixels=pixels,
        height=header.height,
        width=header.width,
        orientation=orientation,
        blocks=header.blocks,
        path_taken="full" if eighths == 8 else f"dct/{8 / eighths:.3g}",
        profile=header.profile if header.components == 3 else None,
        truncated=truncated,
        extent=None if eighths == 8 else (header.height * eighths / 8, header.width * eighths / 8),
    )


def _check_coding(header: JpegHeader) -> None:
    """Refuse what no decoder here reads; raises UnsupportedError, or UnreadableError for an empty size."""
    if header.frame_marker in _LOSSLESS:
        raise UnsupportedError("a lossless or hierarchical JPEG, which libjpeg-turbo does not read")
    if header.precision != 8:
        raise UnsupportedError(f"a JPEG of {header.precision} bits a sample; only 8 are read")
    if header.height == 0 or header.width == 0:
        raise UnreadableError(f"the JPEG declares a size of {header.width}x{header.height}")


def check_header(content: bytes, header: JpegHeader, limits: Settings) -> None:
    """Refuse what cannot be decoded, by what decoding would produce; decodes nothing."""
    blocks = -(-header.height // 8) * -(-header.width // 8)
    least = blocks * MIN_BITS_A_BLOCK.get(header.frame_marker, 0) * MIN_ROWS_SHARE / 8
    if header.progressive:  # all coefficients are held in memory, whatever the scale
        check_size(header.height, header.width, limits, "a progressive JPEG")
        if count_scans(content, header.scan_start) > MAX_SCANS:
            raise TooLargeError(f"the progressive JPEG has more than {MAX_SCANS} scans")
    else:
        height, width = (-(-edge // SMALLEST_SCALE) for edge in (header.height, header.width))
        check_size(height, width, limits, "a JPEG, at 1/8 of its size,")
    if len(content) - header.scan_start < least:
        raise UnreadableError(
            f"the file ends early: {header.width:,}x{header.height:,} px need at least {int(least):,} bytes, "
            f"{len(content) - header.scan_start:,} are there"
        )


def count_scans(content: bytes, at: int) -> int:
    """Count the scans of the picture whose first scan's marker is at `at`; stops above MAX_SCANS.

    What has not ended after MAX_SEGMENTS counts as too many.
    """
    scans = 0
    for _ in range(MAX_SEGMENTS):
        marker = content[at + 1 : at + 2]
        if scans > MAX_SCANS or marker in (b"", b"\xd9"):
            return scans
        scans += marker == b"\xda"
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        found = _MARKER_IN_SCAN.search(content, at + 2 + max(length, 2))
        if found is None:
            return scans
        at = found.start()
    return MAX_SCANS + 1


def _decode_colour(
    content: bytes, header: JpegHeader, target: tuple[int, int], slot: Pixels | None
) -> tuple[Pixels, bool]:
    """Decode a gray or colour JPEG; returns the pixels and whether the last rows are missing.

    Pillow's own libjpeg is asked where libjpeg-turbo's interface refuses: odd subsampling, and
    errors between segments that a decoder can pass over.
    """
    try:
        pixels, ends_early = _decode_by_turbo(content, _least_size(header, target), target, slot)
    except (ValueError, KeyError) as error:  # KeyError: a subsampling that simplejpeg has no name for
        try:
            return _decode_by_pillow(content, target)
        except (OSError, ValueError, SyntaxError):
            raise _refusal(header, error) from error
    if ends_early:
        _check_rows(pixels)
    return pixels, ends_early


def _least_size(header: JpegHeader, target: tuple[int, int]) -> tuple[int, int]:
    """The height and width that the decoder is asked to cover."""
    height, width = header.height, header.width
    least = math.ceil(SCALED_MARGIN * target[0]), math.ceil(SCALED_MARGIN * target[1])
    if 2 * max(least) > max(height, width) and height * width <= FULL_DECODE_PIXELS:
        return height, width
    return min(least[0], height), min(least[1], width)


def _decode_by_turbo(
    content: bytes, least_size: tuple[int, int], target: tuple[int, int], slot: Pixels | None
) -> tuple[Pixels, bool]:
    """Decode with libjpeg-turbo; returns the pixels and whether the data ends early.

    The pixels are in `slot` when the scaled size that covers `least_size` is `target`.

    A file with an error is decoded again, tolerantly: strictness is what tells of it. Unless it is
    one that the decoder passes over, nothing that follows it has been decoded. Raises ValueError.
    """
    least = {"min_height": least_size[0], "min_width": least_size[1]}
    scaled = simplejpeg.decode_jpeg_header(content, strict=False, **least)[:2]
    buffer = None
    if slot is not None and tuple(scaled) == target:
        buffer = slot[: target[0] * target[1] * 3]
    try:
        return simplejpeg.decode_jpeg(content, buffer=buffer, **least), False
    except ValueError as error:
        ends_early = _PASSED_OVER.search(str(error)) is None
    if buffer is None:
        buffer = np.empty(scaled[0] * scaled[1] * 3, np.uint8)
    buffer[:] = 0  # what the decoder does not reach it leaves as it was: another photo, in a slot
    return simplejpeg.decode_jpeg(content, buffer=buffer, strict=False, **least), ends_early


def _refusal(header: JpegHeader, error: ValueError | KeyError) -> Exception:
    if "insufficient memory" in str(error).lower():
        return MemoryError()
    message = "its components are sampled in no known way" if isinstance(error, KeyError) else str(error)
    message = message.partition("(): ")[2] or message  # without the function's name
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


def _decode_by_pillow(content: bytes, target: tuple[int, int]) -> tuple[Pixels, bool]:
    """Decode a CMYK or YCCK JPEG, or an odd one, into sRGB at a scale that covers `target`.

    Returns the pixels and whether the last rows are missing: with an end of its own the data is
    decoded as far as it goes.
    """
    try:
        return _pillow_pixels(content, target), False
    except OSError as error:
        if "truncated" not in str(error):
            raise
    pixels = _pillow_pixels(content + b"\xff\xd9", target)
    _check_rows(pixels)
    return pixels, True


def _pillow_pixels(content: bytes, target: tuple[int, int]) -> Pixels:
    from PIL import Image, JpegImagePlugin

    from catalogd.images import colour

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Not `Image.open`: it refuses pictures above a size of its own.
        image: Image.Image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
        image.draft(image.mode, (target[1], target[0]))
        image.load()
        if image.mode == "CMYK":
            image = colour.cmyk_to_srgb(image, image.info.get("icc_profile"))
        return np.asarray(image.convert("RGB"))
