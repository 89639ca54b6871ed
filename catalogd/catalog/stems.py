"""Names of photo files, as far as they say which files are of one picture."""

from __future__ import annotations

import re

# What programs do to the name of an edited copy: Apple's IMG_E1234, Lightroom's -Edit, Google's
# -edited and ~2. The two files of a Pixel's RAW + JPEG end in .RAW-01.COVER and .RAW-02.ORIGINAL.
_PIXEL = b".raw-0"
_MARKS = re.compile(
    rb"(?<=^img_)e(?=\d)|-edit(?:ed)?(?:-\d+)?$|~\d+$|\.raw-0\d(?:\.mp)?\.(?:cover|original)$"
)


def stem_of(name: bytes) -> tuple[bytes, bool]:
    """The name that the files of one picture share, and whether this one is an edited copy."""
    whole = name.lower()
    dot = whole.rfind(b".")
    stem = whole[:dot] if dot > 0 else whole
    original = _MARKS.sub(b"", stem) or stem
    return original, original != stem and _PIXEL not in stem
