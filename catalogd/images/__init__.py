"""Photo file → upright sRGB frame in a given buffer. Runs in the reader processes.

::

    path ─▶ source: bytes, stat, fingerprint ─▶ formats: what is it?
                                                   │
              jpeg ── raster (Pillow, HEIF) ── raw ┘─▶ Decoded: pixels that cover the frame
                                                          │
                       slot ◀── colour to sRGB ◀── resized and turned, once, into the slot

What is promised for any bytes at all: a frame, or a `PhotoError` that says what is wrong; nothing
is written to disk, no other program is run but exiftool (see `metadata.exiftool`), no limit of the
settings is passed.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import msgspec
import numpy as np

from catalogd.errors import ChangedError, PhotoError, TooLargeError, UnreadableError
from catalogd.images import colour
from catalogd.images.formats import PHOTO_EXTENSIONS, sniff
from catalogd.images.frames import Decoded, Pixels, write_upright
from catalogd.images.jpeg import decode_jpeg, read_header
from catalogd.images.source import Source, explained, fingerprint_file
from catalogd.metadata import Blocks, read_facts
from catalogd.metadata.exif import needs_exiftool
from catalogd.records import Facts, Stat
from catalogd.settings import Settings

__all__ = ["PHOTO_EXTENSIONS", "READ_VERSION", "Reading", "fingerprint_file", "open_blocks", "read_frame"]


READ_VERSION = 1  # of the frames and facts; a run reads photos of an older one again, without their models
TRIES = 3  # a file that changes during each is being written: the watcher brings it back


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """One photo that was read: the size of its frame in the slot, and what is known of the file."""

    height: int
    width: int
    facts: Facts
    stat: Stat
    content: bytes  # 16 bytes, see `records.Record`


def read_frame(path: bytes, slot: Pixels, limits: Settings) -> Reading:
    """Read the photo at `path` into `slot` and tell what it is.

    `slot: uint8[n]`, n >= frame_edge_px² * 3, C-contiguous. Its first `height * width * 3` bytes
    become the frame, `uint8[height, width, 3]`, upright, sRGB, long edge at most `frame_edge_px`
    and never enlarged; the rest is left as it was. After an error the slot holds anything.

    Raises UnreadableError, UnsupportedError, TooLargeError, ChangedError, DeniedError or
    UnavailableError, and nothing else that the file could be the reason of; a slot that is too
    small is a ValueError.
    """
    least = limits.frame_edge_px**2 * 3
    if slot.ndim != 1 or slot.dtype != np.uint8 or slot.size < least:
        raise ValueError(f"a slot must be uint8[n] with n >= {least}, not {slot.dtype}{list(slot.shape)}")
    try:
        for _ in range(TRIES):
            with Source(path, limits.max_file_bytes) as source:
                reading = _read_unchanged(source, slot, limits)
            if reading is not None:
                return reading
    except (FileNotFoundError, NotADirectoryError):
        raise ChangedError("the file is gone; it is indexed when it comes back") from None
    except OSError as error:
        raise explained(error) from error
    raise ChangedError(f"the file changed each of the {TRIES} times it was read")


@contextlib.contextmanager
def open_blocks(path: bytes, limits: Settings) -> Iterator[Blocks]:
    """The metadata of the photo at `path`, undecoded; its file is open until the context ends.

    Pixels are decoded only where a format does not keep its metadata apart. Raises as `read_frame`.
    """
    try:
        source = Source(path, limits.max_file_bytes)
    except (FileNotFoundError, NotADirectoryError):
        raise ChangedError("the file is gone; it is indexed when it comes back") from None
    except OSError as error:
        raise explained(error) from error
    with source:
        name = sniff(source, source.path.rpartition(b".")[2].lower())
        with _explaining(name, limits):
            blocks = _read_blocks(source, name, limits)
        yield blocks


def _read_blocks(source: Source, name: str, limits: Settings) -> Blocks:
    if name == "jpeg":
        return read_header(source).blocks
    if name == "raw":
        from catalogd.images.raw import read_raw_blocks

        return read_raw_blocks(source)
    if name in ("heif", "avif"):
        from catalogd.metadata.items import Items

        items = Items(source)
        return Blocks((items.exif,) if items.exif else (), items.xmp)
    return _decode(source, name, np.empty(0, np.uint8), limits).blocks


def _read_unchanged(source: Source, slot: Pixels, limits: Settings) -> Reading | None:
    """Read the photo; None when its file is not the same afterwards, whatever came of it."""
    try:
        reading = _read(source, slot, limits)
    except PhotoError:
        if source.changed:
            return None
        raise
    return None if source.changed else reading


def _read(source: Source, slot: Pixels, limits: Settings) -> Reading:
    name = sniff(source, source.path.rpartition(b".")[2].lower())
    with _explaining(name, limits):
        decoded = _with_profile(_decode(source, name, slot, limits), name)
        frame = write_upright(decoded, slot, limits.frame_edge_px)
        if decoded.profile is not None:
            colour.convert_to_srgb(frame, decoded.profile)
    height, width = frame.shape[:2]
    return Reading(
        height, width, _complete(decoded, name, source.path, limits), source.stat, source.fingerprint
    )


@contextlib.contextmanager
def _explaining(name: str, limits: Settings) -> Iterator[None]:
    """Decoders raise all kinds of errors on damaged files: make a PhotoError of each."""
    try:
        yield
    except PhotoError:
        raise
    except MemoryError:
        raise TooLargeError(
            f"decoding this {name.upper()} takes more memory than a reader may use; "
            f"reader_memory_bytes is {limits.reader_memory_bytes:,}"
        ) from None
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(f"damaged {name.upper()}: {detail}") from error


def _decode(source: Source, name: str, slot: Pixels, limits: Settings) -> Decoded:
    if name == "jpeg":
        return decode_jpeg(source, slot, limits)
    if name == "raw":
        from catalogd.images.raw import decode_raw

        return decode_raw(source, slot, limits)
    if name in ("heif", "avif"):
        from catalogd.images.heif import decode_heif

        return decode_heif(source, name, limits)
    if name == "tiff":
        from catalogd.images.tiff import decode_tiff

        return decode_tiff(source.content(), limits)
    if name == "psd":
        from catalogd.images.psd import decode_psd

        return decode_psd(source.content(), limits)
    if name == "jxl":
        from catalogd.images.jxl import decode_jxl

        return decode_jxl(source.content(), limits)
    from catalogd.images.raster import decode_raster

    return decode_raster(source.content(), name, limits)


def _with_profile(decoded: Decoded, name: str) -> Decoded:
    """The profile that EXIF names where the picture has none; of a RAW file its decoder has said it."""
    if colour.is_usable(decoded.profile):
        return decoded
    profile = None if name == "raw" else colour.profile_of_exif(decoded.blocks.exif)
    return dataclasses.replace(decoded, profile=profile)


def _complete(decoded: Decoded, name: str, path: bytes, limits: Settings) -> Facts:
    height, width = decoded.height, decoded.width
    if decoded.orientation >= 5:
        height, width = width, height
    facts = read_facts(decoded.blocks, path)
    if needs_exiftool(name, facts, decoded.blocks.exif):
        from catalogd.metadata import exiftool

        facts = exiftool.ask(facts, path, limits)
    named = colour.name_of(decoded.profile) if decoded.profile is not None else None
    return msgspec.structs.replace(
        facts,
        colour_space=named or facts.colour_space,
        format=name,
        width=width,
        height=height,
        orientation=decoded.orientation,
        path_taken=decoded.path_taken,
        truncated=decoded.truncated,
        version=READ_VERSION,
    )
