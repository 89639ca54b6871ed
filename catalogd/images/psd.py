"""Photoshop documents, PSD and PSB: the picture of all layers that Photoshop stores beside them.

::

    header │ palette │ resources: EXIF, IPTC, XMP, ICC │ layers, skipped │ the picture, plane by plane

Adobe's "Photoshop File Formats Specification" (2019) is the source of every number here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catalogd.errors import UnreadableError, UnsupportedError
from catalogd.images.colour import encode_srgb
from catalogd.images.frames import Decoded, Pixels, check_size
from catalogd.images.raster import extent_of, shrink_factor, to_rgb
from catalogd.metadata import Blocks, iptc
from catalogd.settings import Settings

Plane = NDArray[np.uint8]

_HEADER = struct.Struct(">4sH6xHIIHH")
_BITMAP, _PALETTE, _CMYK = 0, 2, 4
_BANDS = {_BITMAP: "L", 1: "L", _PALETTE: "P", 3: "RGB", _CMYK: "CMYK", 7: "L", 8: "L", 9: "LAB"}
_RAW, _RUN_LENGTHS = 0, 1
_PROFILE, _VERSION, _EXIF, _XMP = 0x040F, 0x0421, 0x0422, 0x0424


class _Document(NamedTuple):
    """The sections of a document; `picture` is the offset of the last, its composite."""

    version: int  # 1: PSD, 2: PSB
    channels: int
    height: int
    width: int
    depth: int  # bits a sample
    colours: int
    palette: bytes
    resources: bytes
    picture: int

    @property
    def mode(self) -> str:
        return _BANDS[self.colours]

    @property
    def row_bytes(self) -> int:
        return -(-self.width * self.depth // 8)


def decode_psd(content: bytes, limits: Settings) -> Decoded:
    """Decode the composite of a PSD or PSB, to pixels that cover the frame.

    Raises UnreadableError, TooLargeError, and UnsupportedError when Photoshop stored no composite
    ("maximize compatibility" was off) or one of another coding.
    """
    document = _read_document(content)
    check_size(document.height, document.width, limits, "a PSD")
    version = iptc.resource(document.resources, _VERSION)
    if len(version) > 4 and not version[4]:
        raise UnsupportedError("a PSD without a composite: save it with maximized compatibility")
    shrink = shrink_factor(document.height, document.width, limits.frame_edge_px)
    profile = iptc.resource(document.resources, _PROFILE) or None
    deep = document.depth == 32  # its light is linear, whatever the profile: encoded as sRGB below
    pixels = _composite(document, content, shrink, profile)
    return Decoded(
        pixels=pixels,
        height=document.height,
        width=document.width,
        orientation=1,  # Photoshop turns the picture itself, and the EXIF still says how it was
        blocks=_blocks(document.resources),
        profile=profile if document.mode in ("L", "RGB", "P") and not deep else None,
        extent=extent_of(pixels, document.height, document.width, shrink),
    )


def _blocks(resources: bytes) -> Blocks:
    exif = iptc.resource(resources, _EXIF)
    return Blocks(
        exif=(exif,) if exif else (),
        xmp=iptc.resource(resources, _XMP),
        iptc=iptc.resource(resources, iptc.IPTC_RESOURCE),
    )


def _read_document(content: bytes) -> _Document:
    if len(content) < _HEADER.size:
        raise UnreadableError("damaged PSD: it ends in its header")
    _, version, channels, height, width, depth, colours = _HEADER.unpack_from(content)
    if version not in (1, 2) or depth not in (1, 8, 16, 32) or colours not in _BANDS:
        raise UnsupportedError(f"a PSD of version {version}, {depth} bits, colour mode {colours}")
    if not height or not width or channels < len(_BANDS[colours]):
        raise UnreadableError(f"damaged PSD: {width}x{height} px of {channels} channels")
    palette, at = _section(content, _HEADER.size, 4)
    resources, at = _section(content, at, 4)
    layers_bytes = int.from_bytes(content[at : at + 4 * version], "big")
    picture = at + 4 * version + layers_bytes
    return _Document(version, channels, height, width, depth, colours, palette, resources, picture)


def _section(content: bytes, at: int, length_bytes: int) -> tuple[bytes, int]:
    start = at + length_bytes
    end = start + int.from_bytes(content[at:start], "big")
    return content[start:end], end


def _composite(document: _Document, content: bytes, shrink: int, profile: bytes | None) -> Pixels:
    """The composite in RGB, each plane shrunk before the next is decoded."""
    if document.mode == "P":
        image = Image.fromarray(next(_planes(document, content)))
        image.putpalette(np.frombuffer(document.palette[:768], np.uint8).reshape(3, -1).T.tobytes())
        return to_rgb(image, shrink)
    planes = [Image.fromarray(plane).reduce(shrink) for plane in _planes(document, content)]
    image = Image.merge(document.mode, planes)
    image.info["icc_profile"] = profile
    return to_rgb(image)


def _planes(document: _Document, content: bytes) -> Iterator[Plane]:
    """The planes `uint8[H, W]` of the colours; further ones are masks and transparency over white."""
    at = document.picture
    coding = int.from_bytes(content[at : at + 2], "big") if at + 2 <= len(content) else -1
    if coding == _RAW:
        yield from _raw_planes(document, content, at + 2)
    elif coding == _RUN_LENGTHS:
        yield from _packed_planes(document, content, at + 2)
    elif coding < 0:
        raise UnreadableError("damaged PSD: it ends before its composite")
    else:
        raise UnsupportedError(f"a PSD whose composite has coding {coding}")


def _raw_planes(document: _Document, content: bytes, at: int) -> Iterator[Plane]:
    size = document.row_bytes * document.height
    for _ in range(len(document.mode)):
        if at + size > len(content):
            raise UnreadableError("damaged PSD: it ends in its composite")
        yield _to_8_bits(np.frombuffer(content, np.uint8, size, at), document)
        at += size


def _packed_planes(document: _Document, content: bytes, at: int) -> Iterator[Plane]:
    """PackBits, row by row; the lengths of all rows come first, 16 bits each, 32 in a PSB."""
    rows = document.channels * document.height
    if at + 2 * document.version * rows > len(content):
        raise UnreadableError("damaged PSD: it ends in its composite")
    lengths = np.frombuffer(content, f">u{2 * document.version}", rows, at).reshape(document.channels, -1)
    at += 2 * document.version * rows
    for plane_bytes in lengths.sum(axis=1, dtype=np.int64)[: len(document.mode)].tolist():
        size = (document.row_bytes, document.height)
        packed = content[at : at + plane_bytes]
        yield _to_8_bits(np.asarray(Image.frombytes("L", size, packed, "packbits", "L")), document)
        at += plane_bytes


def _to_8_bits(samples: Plane, document: _Document) -> Plane:
    samples = samples.reshape(document.height, document.row_bytes)
    if document.depth == 1:
        samples = np.unpackbits(samples, axis=1)[:, : document.width] * np.uint8(255)
    elif document.depth == 16:
        samples = samples[:, ::2]
    elif document.depth == 32:
        samples = encode_srgb(samples.view(">f4"))
    inverted = document.colours in (_BITMAP, _CMYK)  # the level is of paper, not of ink
    return np.ascontiguousarray(~samples if inverted else samples)
