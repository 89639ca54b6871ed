"""What Pillow decodes: PNG, WebP, TIFF, GIF, BMP, JPEG 2000 and some thirty old formats.

::

    bytes ─▶ the one plugin of `PLUGINS` that the content asks for ─▶ header: size checked, metadata
                                                                        │
                 pixels ◀── bands of rows: over white, 8 bits, shrunk ◀── decoded

No other plugin of Pillow is ever imported by this module: some run programs (EPS), open whatever a
file embeds (IPTC), or only know a header (MPEG, WMF). docs/photo-formats.md has the list and the reasons.
"""

from __future__ import annotations

import importlib
import io
import re
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffTags

from catalogd.errors import PhotoError, TooLargeError, UnreadableError, UnsupportedError
from catalogd.images import colour
from catalogd.images.blocks import read_blocks, read_profile
from catalogd.images.frames import Decoded, Pixels, check_size
from catalogd.images.jpeg import SCALED_MARGIN
from catalogd.metadata import Content, read_orientation
from catalogd.settings import Settings

BAND_ROWS = 256  # rows converted at a time: a band of a 20,000-px photo takes 15 MB
BACKGROUND = 255  # what shows through transparent pixels: white, as paper and most viewers
SPARE_SCALE = 2  # shrunk by averaging while this many times the frame is left for the better filter

# Ours is `max_decoded_pixels`, checked in `decode_raster`; Pillow's own is below a 200-MP phone.
Image.MAX_IMAGE_PIXELS = None

# Format: Pillow's name of it and the module of its plugin.
PLUGINS = {
    "bmp": ("BMP", "BmpImagePlugin"),
    "gif": ("GIF", "GifImagePlugin"),
    "jp2": ("JPEG2000", "Jpeg2KImagePlugin"),
    "png": ("PNG", "PngImagePlugin"),
    "tiff": ("TIFF", "TiffImagePlugin"),
    "webp": ("WEBP", "WebPImagePlugin"),
}
# Formats that few libraries hold. Their plugins know them by their content; the surest come first.
RARE_PLUGINS = {
    "ppm": ("PPM", "PpmImagePlugin"),
    "qoi": ("QOI", "QoiImagePlugin"),
    "dds": ("DDS", "DdsImagePlugin"),
    "ico": ("ICO", "IcoImagePlugin"),
    "cur": ("CUR", "CurImagePlugin"),
    "icns": ("ICNS", "IcnsImagePlugin"),
    "blp": ("BLP", "BlpImagePlugin"),
    "ftex": ("FTEX", "FtexImagePlugin"),
    "fits": ("FITS", "FitsImagePlugin"),
    "sgi": ("SGI", "SgiImagePlugin"),
    "sun": ("SUN", "SunImagePlugin"),
    "dcx": ("DCX", "DcxImagePlugin"),
    "fli": ("FLI", "FliImagePlugin"),
    "gbr": ("GBR", "GbrImagePlugin"),
    "msp": ("MSP", "MspImagePlugin"),
    "pcd": ("PCD", "PcdImagePlugin"),
    "pixar": ("PIXAR", "PixarImagePlugin"),
    "xbm": ("XBM", "XbmImagePlugin"),
    "xpm": ("XPM", "XpmImagePlugin"),
    "xvthumb": ("XVThumb", "XVThumbImagePlugin"),
    "mcidas": ("MCIDAS", "McIdasImagePlugin"),
    "im": ("IM", "ImImagePlugin"),
    "imt": ("IMT", "ImtImagePlugin"),
    "dib": ("DIB", "BmpImagePlugin"),
    "pcx": ("PCX", "PcxImagePlugin"),
    "spider": ("SPIDER", "SpiderImagePlugin"),
    "tga": ("TGA", "TgaImagePlugin"),
}
_REDUCIBLE = {"L", "RGB", "CMYK", "LAB", "YCbCr"}  # modes whose mean is the mean of the colours
# Words of Pillow's and libtiff's errors for what is whole, but not for them.
_UNSUPPORTED = re.compile(
    r"(un|not (yet )?)(supported|implemented)|unknown (pixel|raw|data|compression|image)? ?(mode|type|file)"
    r"|cannot handle|not available|cannot decode",
    re.IGNORECASE,
)


def decode_raster(content: bytes, name: str, limits: Settings) -> Decoded:
    """Decode the first picture of a file whose format Pillow reads, to pixels that cover the frame.

    `name` is one of `PLUGINS` and `RARE_PLUGINS`. Raises UnreadableError, UnsupportedError and
    TooLargeError, and whatever else Pillow raises on a damaged file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _open(io.BytesIO(content), name) as image:
                return _decode_opened(image, content, name, limits)
        except (SyntaxError, NotImplementedError, KeyError, OSError, ValueError) as error:
            raise _explained(error, name) from error


def rare_format(content: Content) -> str | None:
    """The format of `RARE_PLUGINS` that the header is of; only the header is read."""
    return next((name for name in RARE_PLUGINS if _accepts(name, content)), None)


def _accepts(name: str, content: Content) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            accept = _plugin(name)[1]
            if accept is None or accept(content[:16]):
                _open(io.BufferedReader(_File(content)), name).close()
                return True
    except PhotoError:
        raise  # the file cannot be read at all
    except Exception:  # plugins refuse what is not theirs each in its own way
        pass
    return False


def to_rgb(image: Image.Image, shrink: int = 1) -> Pixels:
    """The pixels of an image of any mode as `uint8[h, w, 3]`, transparent ones over white.

    Each is the mean of `shrink` x `shrink` of the image's, fewer at its right and lower edges. The
    picture is converted in bands of rows, so that it is never in memory twice.
    """
    pixels = np.empty((-(-image.height // shrink), -(-image.width // shrink), 3), np.uint8)
    white_level = _white_level(image)
    rows = max(1, BAND_ROWS // shrink)
    for top in range(0, pixels.shape[0], rows):
        bottom = min((top + rows) * shrink, image.height)
        band = image.crop((0, top * shrink, image.width, bottom))
        pixels[top : top + rows] = _band_to_rgb(band, white_level, shrink)
    return pixels


def shrink_factor(height: int, width: int, edge_px: int) -> int:
    """How many pixels to average along each edge before the frame's own filter takes over."""
    return max(1, max(height, width) // (SPARE_SCALE * edge_px))


def extent_of(pixels: Pixels, height: int, width: int, scale: int) -> tuple[float, float]:
    """How much of `pixels` a picture of that size takes, `scale` times reduced: see `Decoded.extent`."""
    return min(pixels.shape[0], height / scale), min(pixels.shape[1], width / scale)


class _File(io.RawIOBase):
    """A file of which only what a plugin asks for is read."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._content)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._content[self._at : self._at + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _plugin(name: str) -> tuple[Any, Any]:
    """What opens the format, and what tells it by its first 16 bytes."""
    known_as, module = PLUGINS.get(name) or RARE_PLUGINS[name]
    importlib.import_module(f"PIL.{module}")
    return Image.OPEN[known_as.upper()]


def _open(file: Any, name: str) -> ImageFile.ImageFile:
    """Open with the format's own plugin: unlike `Image.open`, its error says what is wrong."""
    image = _plugin(name)[0](file, "")
    assert isinstance(image, ImageFile.ImageFile)
    return image


def _decode_opened(image: ImageFile.ImageFile, content: bytes, name: str, limits: Settings) -> Decoded:
    height, width = image.height, image.width
    check_size(height, width, limits, f"a {name.upper()}")
    power = _skip_resolutions(image, content, limits.frame_edge_px) if name == "jp2" else 0
    image.load()
    blocks = read_blocks(image, content, name)
    shrink = shrink_factor(image.height, image.width, limits.frame_edge_px)
    pixels = to_rgb(image, shrink)
    return Decoded(
        pixels=pixels,
        height=height,
        width=width,
        # Pillow has applied the orientation of a TIFF.
        orientation=1 if name == "tiff" or not blocks.exif else read_orientation(blocks.exif[0]),
        blocks=blocks,
        path_taken=f"wavelet/{1 << power}" if power else "full",
        profile=None if image.mode in ("CMYK", "LAB") else read_profile(image, content, name),
        extent=extent_of(pixels, height, width, shrink << power),
    )


def _skip_resolutions(image: Any, content: bytes, edge_px: int) -> int:
    """Leave out the finest resolutions of a JPEG 2000 that the frame does not need; how many.

    The number of resolutions is in the COD segment (ITU-T T.800, A.6.1) of the main header.
    """
    start = content.find(b"\xff\x4f\xff\x51")
    coding = content.find(b"\xff\x52", start, content.find(b"\xff\x90", start))
    if coding < 0 or coding + 10 > len(content):
        return 0
    power = 0
    while power < content[coding + 9] and max(image.size) >> (power + 1) >= SCALED_MARGIN * edge_px:
        power += 1
    image.reduce = power
    # Pillow halves sizes by rounding, OpenJPEG by rounding up: a multiple is the same to both.
    image._size = tuple((-(-edge >> power)) << power for edge in image.size)
    return power


def _explained(error: Exception, name: str) -> Exception:
    """The error of a plugin in catalogd's terms."""
    message = " ".join(str(error).split()) or type(error).__name__
    if "Decompressed data too large" in message or "Too much memory used in text" in message:
        return TooLargeError(f"the {name.upper()} holds more text than any photo does: {message}")
    cause = error.__cause__
    code = cause.args[0] if isinstance(cause, KeyError) else None
    if isinstance(code, int) and code not in TiffTags.TAGS_V2:  # a code, not a missing tag
        message = f"code {message} is not supported"
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(message):
        return UnsupportedError(f"a variant of {name.upper()} that is not read here: {message}")
    return UnreadableError(f"damaged {name.upper()}: {message}")


def _white_level(image: Image.Image) -> float:
    """What counts as white in the deep modes, which say nothing of it themselves."""
    if image.mode.startswith("I;16"):
        return 65535
    if image.mode == "I":
        return 255 if _highest(image) <= 255 else 65535 if _highest(image) <= 65535 else _highest(image)
    if image.mode == "F":
        highest = _highest(image)
        return 1.0 if highest <= 1 else 255 if highest <= 255 else highest
    return 255


def _highest(image: Image.Image) -> float:
    highest = image.getextrema()[1]
    return float(highest) if isinstance(highest, int | float) and np.isfinite(highest) else 65535.0


def _band_to_rgb(band: Image.Image, white_level: float, shrink: int) -> Any:
    profile = band.info.get("icc_profile")
    if band.mode.startswith(("I", "F")):
        light = np.clip(np.nan_to_num(np.asarray(band, np.float32)), 0, white_level)
        band = Image.fromarray(np.asarray(light * (255 / white_level) + 0.5, np.uint8))
    elif band.has_transparency_data:
        band = band.convert("RGBA")
        paper = Image.new("RGBA", band.size, (BACKGROUND,) * 3 + (255,))
        band = Image.alpha_composite(paper, band).convert("RGB")
    elif band.mode not in _REDUCIBLE:
        band = band.convert("RGB")
    if shrink > 1:
        band = band.reduce(shrink)
    if band.mode == "CMYK":
        band = colour.cmyk_to_srgb(band, profile)
    elif band.mode == "LAB":
        band = colour.lab_to_srgb(band)
    return np.asarray(band.convert("RGB"))
