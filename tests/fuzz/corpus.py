"""What a fuzzer begins with: good photos of every format, and the metadata blocks alone."""

from __future__ import annotations

from pathlib import Path

from tests import factory, hostile

SMART_RULES = b"""s = {
    { criteria = "rating", operation = ">=", value = 4, value2 = 0 },
    { { criteria = "keywords", operation = "words", value = "dog \\"cat\\"" }, combine = "union" },
    { criteria = "captureTime", operation = "in", value = "2023-02-01", value2 = "2023-02-31" }, -- days
    combine = "intersect",
}"""


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
        SMART_RULES,
    ]
    return photos + blocks
