"""HEIF (HEIC) through pillow-heif, in its own colours and the orientation of the file itself."""

from __future__ import annotations

import io

import pillow_heif

from catalogd.images.frames import Decoded, check_size
from catalogd.images.raster import to_rgb
from catalogd.metadata import Blocks
from catalogd.settings import Settings


def decode_heif(content: bytes, limits: Settings) -> Decoded:
    """Decode the primary picture of a HEIF file (HEIC); deeper levels become 8 bits.

    libheif applies the file's own rotation; the orientation in its EXIF repeats that and is not
    applied again (ISO/IEC 23008-12, 6.5.10). Raises UnreadableError, TooLargeError, and whatever
    else libheif raises on a damaged file.
    """
    file = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True)
    width, height = file.size
    check_size(height, width, limits, "a HEIF")
    picture = file.to_pillow()
    exif = file.info.get("exif")
    return Decoded(
        pixels=to_rgb(picture),
        height=picture.height,
        width=picture.width,
        orientation=1,
        blocks=Blocks((exif,) if exif else ()),
        profile=file.info.get("icc_profile"),
    )
