"""Every tag of a photo's metadata, named and spelled for people: what `catalogd show --exif` prints.

Not for the readers: they take facts, by need.
"""

from __future__ import annotations

from collections.abc import Iterator

from PIL import ExifTags

from catalogd.metadata import Blocks, iptc, xmp
from catalogd.metadata.exif import (
    MAX_CAPTION_BYTES,
    USER_COMMENT,
    XP_TAGS,
    Exif,
    open_exif,
    user_comment,
    wide_text,
)
from catalogd.metadata.tiff import ASCII, BYTE, UNDEFINED, Directory, Tiff, decode_text
from catalogd.metadata.values import clean_text

MAX_SHOWN_CHARS = 500  # of a text; whole captions are among the facts
MAX_SHOWN_VALUES = 16  # of a table of numbers
MAX_SHOWN_BYTES = 32  # of bytes that may be text
MAX_CODE_BYTES = 4  # of bytes that may be a few small numbers

Tag = tuple[str, str, str]  # group, name, value

_NAMES = {int(tag): name for tag, name in ExifTags.TAGS.items()}
_GPS_NAMES = {int(tag): name for tag, name in ExifTags.GPSTAGS.items()}
_INTEROP_NAMES = {int(tag): tag.name for tag in ExifTags.Interop}


def list_tags(blocks: Blocks) -> Iterator[Tag]:
    """All tags in the order of the file: EXIF, maker note, IPTC, XMP, text. Never raises.

    What is long is cut, what is no text and no number is told by its size. A tag without a known name
    is called by its number.
    """
    yield from _exif_tags(blocks)
    yield from (("IPTC", name, _cut(value)) for name, value in iptc.datasets(blocks.iptc))
    for packet in (blocks.xmp, blocks.xmp_extended):
        yield from (("XMP", name, _cut(value)) for name, value in xmp.properties(packet))
    yield from (("Text", keyword, _cut(value)) for keyword, value in blocks.text)


def _exif_tags(blocks: Blocks) -> Iterator[Tag]:
    exif = open_exif(blocks.exif)
    for number, directory in enumerate(_directories(blocks, exif), 1):
        yield from _tags_of("EXIF main" if number == 1 else f"EXIF directory {number}", directory, _NAMES)
    yield from _tags_of("EXIF", exif.detail, _NAMES)
    yield from _tags_of("GPS", exif.place, _GPS_NAMES)
    yield from _tags_of("Interoperability", exif.interop, _INTEROP_NAMES)
    if exif.note is not None:
        yield from _tags_of(f"{exif.note.vendor} maker note", exif.note.directory, exif.note.names)


def _directories(blocks: Blocks, exif: Exif) -> Iterator[Directory]:
    """The main directory and those that follow it or lie below it: thumbnails, previews, the sensor's."""
    if len(blocks.exif) == 1:
        return Tiff(blocks.exif[0]).directories()
    return iter([exif.main])


def _tags_of(group: str, directory: Directory, names: dict[int, str]) -> Iterator[Tag]:
    for tag in directory:
        yield group, names.get(tag, f"0x{tag:04X}"), _shown(directory, tag)


def _shown(directory: Directory, tag: int) -> str:
    kind, count = directory.shape(tag)
    if tag == USER_COMMENT and kind == UNDEFINED:
        return _cut(user_comment(directory) or "")
    if tag in XP_TAGS and kind == BYTE:
        return _cut(wide_text(directory, tag) or "")
    if kind == ASCII:
        raw = directory.raw(tag, MAX_CAPTION_BYTES).rstrip(b"\0")
        return _cut(clean_text(decode_text(raw)) or "")
    if kind == UNDEFINED or (kind == BYTE and count > MAX_SHOWN_VALUES):
        return _shown_bytes(directory.raw(tag, MAX_SHOWN_BYTES), count)
    numbers = [_spelled(number) for number in directory.fractions(tag)[:MAX_SHOWN_VALUES]]
    more = f", … ({count:,} values)" if count > MAX_SHOWN_VALUES else ""
    return ", ".join(numbers) + more if numbers or not count else "(damaged)"


def _shown_bytes(raw: bytes, count: int) -> str:
    """Codes of a few bytes as numbers, versions ("0232") as text."""
    text = raw.rstrip(b"\0")
    if count <= MAX_SHOWN_BYTES and text and text.isascii() and text.decode().isprintable():
        return text.decode()
    return ", ".join(map(str, raw)) if count <= MAX_CODE_BYTES else f"(binary, {count:,} bytes)"


def _spelled(number: float | None) -> str:
    if number is None:
        return "unknown"
    return str(number) if isinstance(number, int) else f"{number:.10g}"


def _cut(text: str) -> str:
    if len(text) <= MAX_SHOWN_CHARS:
        return text
    return f"{text[:MAX_SHOWN_CHARS]}… ({len(text):,} characters)"
