"""Where the raster formats keep their metadata and colours: chunks, tags, extensions and boxes.

What Pillow has read of them is in `image.info`; the rest is looked up in the bytes. Nothing raises
on damaged content: what cannot be read is just absent.
"""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from catalogd.images import colour
from catalogd.metadata import Blocks, Tiff, iptc
from catalogd.metadata.bmff import Box, boxes

MAX_TEXT = 64 << 10  # characters of one comment
MAX_BLOCK_BYTES = 16 << 20  # of XMP, IPTC or resources in a TIFF; panoramas have up to a few
# What gAMA and cHRM say of sRGB, whose curve is no plain gamma (PNG, third edition, 11.3.2.5): white, red,
# green, blue.
SRGB_GAMMA = 0.45455
SRGB_POINTS = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG = 700, 33723, 34377
_RAW_PROFILE = "Raw profile type "
_XMP_KEYWORD = "XML:com.adobe.xmp"
_XMP_NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"
_GIF_XMP_START, _GIF_XMP_END = b"\x0bXMP DataXMP", b"\x01\xff\xfe"  # Adobe's XMP specification 3, 1.1.2
_UUID_EXIF = b"uuidJpgTiffExif->JP2"
_UUID_IPTC = b"uuid" + bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_UUID_XMP = b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_ENUMERATED_ROMM = 21  # JPX: reference output medium metric, ProPhoto


def read_blocks(image: Image.Image, content: bytes, name: str) -> Blocks:
    """The metadata of a decoded image whose file is `content`."""
    if name == "png":
        return _blocks_of_png(image)
    if name == "tiff":
        return _blocks_of_tiff(content)
    if name == "gif":
        return _blocks_of_gif(image, content)
    if name == "jp2":
        return _blocks_of_jp2(content)
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    return Blocks((exif,) if exif else (), xmp=xmp if isinstance(xmp, bytes) else b"")


def read_profile(image: Image.Image, content: bytes, name: str) -> bytes | None:
    """The ICC profile of the pixels: the file's own, or that of the space it names; None for neither."""
    if name == "png":
        return _profile_of_png(image, content)
    if name == "jp2":
        return _profile_of_jp2(content)
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and profile else None


def _blocks_of_png(image: Image.Image) -> Blocks:
    """Chunks eXIf, tEXt, zTXt and iTXt; "Raw profile type …" is how ImageMagick wrote what had no chunk."""
    texts = {key: str(text) for key, text in getattr(image, "text", {}).items()}
    raw = {
        key.removeprefix(_RAW_PROFILE).lower(): _raw_profile(text)
        for key, text in texts.items()
        if key.startswith(_RAW_PROFILE)
    }
    exif = image.info.get("exif") or raw.get("exif") or raw.get("app1", b"")
    xmp = image.info.get("xmp") or raw.get("xmp") or raw.get("app1", b"")
    return Blocks(
        exif=() if not exif or exif.startswith(_XMP_NAMESPACE) else (exif,),
        xmp=b"" if xmp.startswith(b"Exif\0") else xmp.removeprefix(_XMP_NAMESPACE),
        iptc=_datasets(raw.get("iptc") or raw.get("8bim", b"")),
        text=tuple(
            (key, text[:MAX_TEXT])
            for key, text in texts.items()
            if not key.startswith((_RAW_PROFILE, _XMP_KEYWORD))
        ),
    )


def _raw_profile(text: str) -> bytes:
    """Its lines are a name, a length and hexadecimal digits."""
    try:
        _, length, digits = text.split(None, 2)
        return bytes.fromhex("".join(digits.split())[: 2 * int(length)])  # some write rubbish behind
    except ValueError:
        return b""


def _datasets(data: bytes) -> bytes:
    """IPTC datasets, bare or as a resource of Photoshop's."""
    return data if data.startswith(b"\x1c") else iptc.resource(data, iptc.IPTC_RESOURCE)


def _blocks_of_tiff(content: bytes) -> Blocks:
    """Raw, because some programs declare bytes as 32-bit numbers."""
    main = Tiff(content).main()
    xmp, datasets, resources = (
        main.raw(tag, MAX_BLOCK_BYTES) for tag in (_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG)
    )
    return Blocks((content,), xmp=xmp, iptc=datasets or iptc.resource(resources, iptc.IPTC_RESOURCE))


def _blocks_of_gif(image: Image.Image, content: bytes) -> Blocks:
    comment = image.info.get("comment", b"")
    start = content.find(_GIF_XMP_START)
    end = content.find(_GIF_XMP_END, start)
    return Blocks(
        xmp=content[start + len(_GIF_XMP_START) : end] if 0 <= start < end else b"",
        text=(("Comment", comment[:MAX_TEXT].decode("utf-8", "replace")),) if comment else (),
    )


def _blocks_of_jp2(content: bytes) -> Blocks:
    found = {box.kind: content[box.start : box.end] for box in _jp2_boxes(content)}
    exif = found.get(_UUID_EXIF)
    return Blocks((exif,) if exif else (), found.get(_UUID_XMP, b""), iptc=found.get(_UUID_IPTC, b""))


def _profile_of_jp2(content: bytes) -> bytes | None:
    """The first colour specification that is a profile or names one (ITU-T T.800 I.5.3.3, T.801 M.11.7.3)."""
    for header in _jp2_boxes(content):
        for box in boxes(content, header.start, header.end) if header.kind == b"jp2h" else ():
            method = content[box.start] if box.kind == b"colr" and box.end > box.start else 0
            if method in (2, 3):
                return content[box.start + 3 : box.end]
            if (
                method == 1
                and int.from_bytes(content[box.start + 3 : box.start + 7], "big") == _ENUMERATED_ROMM
            ):
                return colour.profile_named("prophoto-rgb")
    return None


def _jp2_boxes(content: bytes) -> Iterator[Box]:
    return boxes(content) if content[4:8] == b"jP  " else iter(())


def _profile_of_png(image: Image.Image, content: bytes) -> bytes | None:
    """In the order of PNG (third edition) 4.3: cICP, iCCP, sRGB, then gAMA with cHRM."""
    info = image.info
    at = content.find(b"\0\0\0\x04cICP", 0, content.find(b"IDAT"))
    if at > 0:
        named = colour.profile_of_codes(content[at + 8], content[at + 9])
        if named is not None:
            return named
    if info.get("icc_profile"):
        return bytes(info["icc_profile"])
    if "srgb" in info:
        return colour.profile_named("srgb")
    gamma, points = info.get("gamma"), info.get("chromaticity") or SRGB_POINTS
    if not gamma:
        return None
    if abs(gamma - SRGB_GAMMA) < 1e-3 and all(
        abs(a - b) < 1e-3 for a, b in zip(points, SRGB_POINTS, strict=True)
    ):
        return colour.profile_named("srgb")
    white, red, green, blue = zip(points[::2], points[1::2], strict=True)
    return colour.profile_of_primaries((red, green, blue, white), 1 / gamma)
