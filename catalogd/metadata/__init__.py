"""What a photo says of itself: EXIF, IPTC and XMP in the file, and the sidecars beside it.

Runs in the readers, on bytes that are at hand anyway, and never raises: whatever is damaged is
just absent.
"""

from __future__ import annotations

import dataclasses

from catalogd.metadata.exif import join_maker, read_exif, read_orientation
from catalogd.metadata.tiff import Content, Directory, Tiff
from catalogd.records import Facts

__all__ = ["Blocks", "Content", "Directory", "Tiff", "join_maker", "read_facts", "read_orientation"]


@dataclasses.dataclass(frozen=True, slots=True)
class Blocks:
    """The metadata of one photo as its decoder found it, undecoded."""

    exif: tuple[Content, ...] = ()  # one TIFF structure; main, detail, place and maker note of a CR3
    xmp: bytes = b""  # one packet, an extended one already joined to it
    iptc: bytes = b""  # IPTC-IIM datasets (0x1C …)
    text: tuple[tuple[str, str], ...] = ()  # comments: PNG keyword and text, ("Comment", …) of JPEG and GIF
    marks: tuple[str, ...] = ()  # what the decoder saw: "hdr" of a gain map, "motion_photo" of a film behind


def read_facts(blocks: Blocks) -> Facts:
    """All facts of a photo but its format and size. Never raises."""
    return read_exif(blocks.exif)
