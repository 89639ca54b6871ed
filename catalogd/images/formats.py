"""Which format a file has, by its content; which names a scan looks at.

The extension never decides: a HEIC that is named .jpg is read as HEIC. It is only a hint where a
RAW file and a plain TIFF begin with the same bytes.
"""

from __future__ import annotations

from catalogd.errors import UnreadableError, UnsupportedError
from catalogd.metadata import Content, Tiff

RAW_EXTENSIONS = frozenset(
    b"3fr arw cr2 cr3 crw dcr dng erf fff iiq k25 kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw"
    b" x3f".split()
)
# What libraries of photos hold. Icons, textures and old formats of programs are read when they are
# named otherwise, but a scan does not look for them: they are parts of programs, not photos.
PHOTO_EXTENSIONS = RAW_EXTENSIONS | frozenset(
    b"apng avif avifs bmp dib gif heic heics heif heifs hif insp j2c j2k jfif jp2 jpc jpe jpeg jpf jpg jpx"
    b" jxl mpo pbm pcd pcx pfm pgm png pnm ppm psb psd qoi tga tif tiff webp".split()
)

_RAW_STARTS = (
    b"IIRO",  # Olympus
    b"IIRS",
    b"MMOR",
    b"IIU\0",  # Panasonic
    b"FUJIFILMCCD-RAW",
    b"FOVb",  # Sigma
    b"\0MRM",  # Minolta
    b"II\x1a\0\0\0HEAPCCDR",  # Canon CRW
)
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STARTS = (
    (b"\xff\xd8", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"8BPS", "psd"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
)
_BRANDS = {
    "avif": (b"avif", b"avis"),
    "heif": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"),
    "raw": (b"crx ",),
}
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<html", "an HTML page"),
    (b"<!doctype html", "an HTML page"),
    (b"push graphic-context", "an MVG drawing"),
)

HEAD_BYTES = 512  # more than any signature or file type box
DNG_VERSION, PHOTOMETRIC, COMPRESSION = 0xC612, 0x0106, 0x0103
_RAW_PHOTOMETRICS = {32803, 34892}  # colour filter array, linear RAW (DNG 1.7)
_RAW_COMPRESSIONS = {
    32767,
    32769,
    32770,
    32867,
    34713,
    65000,
    65535,
}  # Sony, Epson, Samsung, Kodak, Nikon, Pentax


def sniff(content: Content, extension: bytes) -> str:
    """Name the format: avif, bmp, gif, heif, jp2, jpeg, jxl, png, psd, raw, tiff, webp or a rare one.

    The rare ones are `raster.RARE_PLUGINS`. `extension` is lower-case, without the dot. Raises
    UnsupportedError, naming what the file is when that is known, or UnreadableError when it is
    nothing at all.
    """
    head = content[:HEAD_BYTES]
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head.startswith(_RAW_STARTS):
        return "raw"
    if head.startswith(_TIFF_STARTS):
        return "raw" if extension in RAW_EXTENSIONS or _is_raw_tiff(content) else "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _sniff_brand(head)
    known = _known_other(head)
    if known is not None:
        raise UnsupportedError(f"not a photo that can be read: {known}")
    return _sniff_rare(content)


def _sniff_brand(content: bytes) -> str:
    """ISO/IEC 14496-12, file type box: the major brand first, then the compatible ones."""
    size = min(int.from_bytes(content[:4], "big"), 256)
    brands = [content[8:12], *(content[at : at + 4] for at in range(16, size, 4))]
    for brand in brands:
        for name, known in _BRANDS.items():
            if brand in known:
                return name
    raise UnsupportedError(f"not a photo: a media file of brand {brands[0].decode('latin-1')!r}")


def _is_raw_tiff(content: Content) -> bool:
    if content[8:10] == b"CR":
        return True
    for directory in Tiff(content).directories():
        if DNG_VERSION in directory or directory.number(PHOTOMETRIC) in _RAW_PHOTOMETRICS:
            return True
        if directory.number(COMPRESSION) in _RAW_COMPRESSIONS:
            return True
    return False


def _known_other(content: bytes) -> str | None:
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((name for known, name in _OTHERS if start.startswith(known.lower())), None)


def _sniff_rare(content: Content) -> str:
    from catalogd.images.raster import rare_format  # Pillow, which most photos do without

    name = rare_format(content)
    if name is None:
        raise UnreadableError("not a photo: it begins like no known format")
    return name
