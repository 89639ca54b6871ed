"""What only the XMP packet of an image says in a Lightroom catalog: its title, and who is shown.

Old catalogs keep the packet as text; newer ones as a BLOB of its length in 4 bytes, big endian, and a
zlib stream. Never raises, and never inflates beyond a limit.
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

from catalogd.metadata.exif import BOILERPLATE
from catalogd.metadata.values import clean_text, clean_words
from catalogd.metadata.xmp import Value, parse
from catalogd.metadata.xmp_facts import facts_of

MOST_PACKET_BYTES = 16 << 20  # inflated; a packet with many masks has some MB
# A packet is only parsed where one of these stands in it: most say nothing but how the photo was developed.
_OWN = b"catalogd"
_WANTED = (b":title", b"PersonInImage", _OWN)
_CAPTION = b":description"
# Simple settings of Develop, as Lightroom writes them: most of what would be parsed, a third of a second for
# each thousand photos.
_SETTINGS = re.compile(rb'<(crs:\w+)>[^<]*</\1>|\scrs:\w+="[^"<]*"')


class Words(NamedTuple):
    """What a person wrote, and what catalogd did, as far as the packet tells."""

    title: str | None = None
    caption: str | None = None
    people: tuple[str, ...] = ()
    left_out: str | None = None  # a description that is catalogd's, or a camera's boilerplate
    own_keywords: frozenset[str] = frozenset()  # paths "a|b", folded: that catalogd wrote


NOTHING = Words()


def words_of(stored: object, has_caption: bool = False) -> Words:
    """The words of a packet as it is stored; `has_caption`: the catalog says elsewhere what it is."""
    packet = packet_of(stored)
    if not any(wanted in packet for wanted in _WANTED) and (has_caption or _CAPTION not in packet):
        return NOTHING
    root = parse(_SETTINGS.sub(b"", packet))
    if _OWN not in packet:
        caption = clean_text(root.get("dc:description").one())
        return Words(
            clean_text(root.get("dc:title").one()),
            None if caption is None or BOILERPLATE.fullmatch(caption) else caption,
            tuple(clean_words(root.get("Iptc4xmpExt:PersonInImage").all())),
        )
    return _words_beside_ours(root)


def _words_beside_ours(root: Value) -> Words:
    """Of a packet into which catalogd wrote: what of it a person said."""
    facts = facts_of(root, 1)
    title, description = (clean_text(root.get(name).one()) for name in ("dc:title", "dc:description"))
    generated = root.get("catalogd:GeneratedKeywords").all()
    return Words(
        title if title == facts.title else None,
        facts.caption,
        facts.people,
        description if description != facts.caption else None,
        frozenset(path.casefold() for path in generated if path),
    )


def packet_of(stored: object) -> bytes:
    """The packet itself; b"" where there is none that can be read."""
    if isinstance(stored, str):
        return stored.encode("utf-8", "replace")[:MOST_PACKET_BYTES]
    if not isinstance(stored, bytes):
        return b""
    if stored.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return stored[:MOST_PACKET_BYTES]
    return _inflated(stored)


def _inflated(stored: bytes) -> bytes:
    """Of what was cut off, as much as there is."""
    for start in (4, 0):  # with its length before it, as Lightroom writes it, and without
        try:
            return zlib.decompressobj().decompress(stored[start:], MOST_PACKET_BYTES)
        except zlib.error:
            continue
    return b""
