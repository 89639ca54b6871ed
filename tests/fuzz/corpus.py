"""What a fuzzer begins with: good photos of every format, and the metadata blocks alone."""

from __future__ import annotations

from pathlib import Path

from tests import factory, hostile


def seeds(folder: Path) -> list[bytes]:
    """The contents of all good photos, written into `folder`, and of single blocks."""
    photos = [path.read_bytes() for path in hostile.write_good(folder)]
    blocks = [
        factory.exif_block(),
        factory.exif_block(order=">"),
        hostile.PACKET.encode(),
        hostile.PACKET.encode("utf-16"),
        hostile.iptc_block(),
        factory.rgb_profile(gamma=2.2),
    ]
    return photos + blocks
