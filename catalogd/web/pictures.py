"""The pictures of photos: thumbnails, previews, faces, originals. Nothing but what the catalog knows.

A photo's file may have become another one since it was indexed, or a link to one: what is read is shown
only when its content is what the catalog recorded.
"""

from __future__ import annotations

import collections
import math
import threading
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from catalogd.errors import ChangedError, ConflictError, NotFoundError
from catalogd.images.source import Source, explained
from catalogd.pipeline.stages import Read
from catalogd.records import Box, Record
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore, cut_out, encode_jpeg

KEPT_PREVIEW_BYTES = 64 << 20  # 300 previews: what somebody pages to and fro in
CHUNK_BYTES = 1 << 20
_TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "tiff": "image/tiff",
    "heif": "image/heic",
    "avif": "image/avif",
    "jxl": "image/jxl",
}


class Original(NamedTuple):
    """A photo's own file, open."""

    size: int
    media_type: str
    chunks: Iterator[bytes]  # closes the file at its end, and when it is closed


class Pictures:
    """See above. Safe from any thread."""

    def __init__(self, settings: Settings, thumbnails: ThumbnailStore, read: Read) -> None:
        self._settings = settings
        self._read_frame = read
        self._thumbnails = thumbnails
        self._kept: collections.OrderedDict[bytes, bytes] = collections.OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    # -- what a client may have already ----------------------------------------------------------

    def thumbnail_tag(self, record: Record) -> str:
        """Changes with the photo's content and with how thumbnails are made."""
        made = self._settings
        how = f"{made.thumbnail_edge_px}{made.thumbnail_format}{made.thumbnail_quality}"
        return f'"{record.content.hex()}-t{how}"'

    def preview_tag(self, record: Record) -> str:
        return f'"{record.content.hex()}-p{self._settings.frame_edge_px}"'

    def face_tag(self, record: Record, box: Box) -> str:
        return f'"{record.content.hex()}-f{zlib.crc32(repr(box).encode()):08x}"'

    def original_tag(self, record: Record) -> str:
        return f'"{record.content.hex()}-o"'

    # -- the pictures ----------------------------------------------------------------------------

    def thumbnail(self, record: Record) -> bytes:
        """A JPEG or WebP file. Raises NotFoundError when there is none in the store."""
        found = self._thumbnails.get(record.content)
        if found is None:
            raise NotFoundError("this photo has no thumbnail; `catalogd thumbs --fill` makes those missing")
        return found

    def has_thumbnail(self, record: Record) -> bool:
        return self._thumbnails.path_of(record.content) is not None

    def preview(self, record: Record) -> bytes:
        """The photo's frame, read now, as a JPEG file.

        Raises PhotoError when its file can't be read, ConflictError when it is another one by now.
        """
        with self._lock:
            if record.content in self._kept:
                self._kept.move_to_end(record.content)
                return self._kept[record.content]
        made = self._read(record)
        self._keep(record.content, made)
        return made

    def face(self, record: Record, box: Box) -> bytes:
        """One face with what is around it, of the thumbnail, of the preview where there is none."""
        picture = self._thumbnails.get(record.content) or self.preview(record)
        found = cut_out(picture, box)
        if found is None:
            raise NotFoundError("there is no picture of this face; its thumbnail is damaged")
        return found

    def original(self, record: Record) -> Original:
        """The photo's file itself; errors as of `preview`."""
        try:
            source = Source(record.path, self._settings.max_file_bytes)
        except (FileNotFoundError, NotADirectoryError):
            raise ChangedError("the file is gone; it is indexed when it comes back") from None
        except OSError as error:
            raise explained(error) from error
        if source.stat != record.stat or source.fingerprint != record.content:
            source.__exit__()
            raise _another()
        media_type = _TYPES.get(record.facts.format, "application/octet-stream")
        return Original(len(source), media_type, _chunks(source))

    def _read(self, record: Record) -> bytes:
        slot = np.empty(self._settings.frame_edge_px**2 * 3, np.uint8)
        reading = self._read_frame(record.path, slot, self._settings)
        if reading.content != record.content:
            raise _another()
        shape = (reading.height, reading.width, 3)
        return encode_jpeg(slot[: math.prod(shape)].reshape(shape))

    def _keep(self, content: bytes, made: bytes) -> None:
        with self._lock:
            if content not in self._kept:
                self._kept[content] = made
                self._kept_bytes += len(made)
            while self._kept_bytes > KEPT_PREVIEW_BYTES:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= len(oldest)


def media_type_of(picture: bytes) -> str:
    """Of a thumbnail."""
    return "image/webp" if picture.startswith(b"RIFF") else "image/jpeg"


def _another() -> ConflictError:
    return ConflictError("the file is another one than was indexed; a run reads it again")


def _chunks(source: Source) -> Iterator[bytes]:
    with source:
        for start in range(0, len(source), CHUNK_BYTES):
            yield source[start : start + CHUNK_BYTES]
