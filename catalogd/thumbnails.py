"""Thumbnails: every photo's frame once more, small, in a bounded store beside the catalog's others.

::

    catalog/thumbs/ab/ab12…ef.jpg     by content, so that copies and moved photos share one
    catalog/thumbs/tmp/               being written; what is left there, a killed reader left

Readers put one while the frame is hot, anyone gets; nothing is locked, because a file appears whole
or not at all (written aside, then renamed) and everything here can be made again. For the same
reason nothing is synced: what a power loss tears is noticed when it is got, and is then removed.

The store is bounded without counting: contents are hashes, so each of the 256 folders gets an
equal share of `thumbnail_store_bytes`, and one put in 64 looks whether its own folder has more than that.
What was used longest ago goes first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg

from catalogd import _native
from catalogd.images.frames import Pixels, fit
from catalogd.records import Box
from catalogd.settings import Settings

_FOLDERS = 256  # the first byte of the content: 2,000 files each for 500,000 photos
_TRIM_BELOW = 4  # of 256 values of the content's last byte: one put in 64 pays 10 ms to list its folder
_TRIM_TO = 15 / 16  # of a folder's share: room for the puts until it is looked at again
_TOUCH_AFTER_S = 86_400.0  # a use is noted once a day: reading thumbnails must not write all the time
_WEBP_METHOD = 2  # above it each percent less on the disk costs more CPU (bench_thumbnails.py)
_TYPICAL_BYTES = 33 << 10  # of a thumbnail as the default settings make it (bench_thumbnails.py)
SAMPLE_FILES = 4096  # of an estimate: within 2 % for the count
_WHOLE_PX = 1 << 16  # no thumbnail is larger: it is decoded at its own size
_CUT_OUT_QUALITY = 88  # of parts that are looked at enlarged


@dataclasses.dataclass(frozen=True)
class Usage:
    """How many thumbnails there are and their bytes, counted or, of a large store, `estimated`."""

    count: int
    size_bytes: int
    estimated: bool = False


class _Stored(NamedTuple):
    """One thumbnail on the disk."""

    content: bytes
    path: str
    size_bytes: int
    used_s: float  # about when it was put or got last: its mtime


class ThumbnailStore:
    """The thumbnails of one catalog, in `<catalog>/thumbs`. Cheap to make; safe from any process.

    A `content` is the 16 bytes that `records.Record.content` holds. What it keeps is JPEG or WebP, whatever
    the settings were when it was made; a change of them concerns what is put afterwards.
    """

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.catalog / "thumbs"
        self.max_bytes = settings.thumbnail_store_bytes
        self._settings = settings

    # ── one thumbnail ─────────────────────────────────────────────────────────────────────────

    def put(self, content: bytes, frame: Pixels) -> None:
        """Keep the thumbnail of `frame: uint8[H, W, 3]`, sRGB, upright, unless there is one already.

        Raises OSError when it can't be written; the store is then as it was.
        """
        if self.get(content) is not None:
            return
        self._write(content, encode_thumbnail(frame, self._settings))
        if content[-1] < _TRIM_BELOW:
            self._trim(list(_stored(self._folder_of(content))))

    def get(self, content: bytes) -> bytes | None:
        """The thumbnail as a JPEG or WebP file; None when there is none, or just half of one."""
        path = self.path_of(content)
        if path is None:
            return None
        try:
            thumbnail = path.read_bytes()
        except FileNotFoundError:  # it has been trimmed away meanwhile
            return None
        if not _is_whole(thumbnail):
            with contextlib.suppress(OSError):
                self.drop(content)
            return None
        self._note_use(path)
        return thumbnail

    def path_of(self, content: bytes) -> Path | None:
        """The thumbnail's file; None when there is none."""
        for suffix in _SUFFIXES.values():
            path = self._path(content, suffix)
            if path.exists():
                return path
        return None

    def drop(self, content: bytes) -> None:
        """Remove the thumbnail, if there is one."""
        for suffix in _SUFFIXES.values():
            self._path(content, suffix).unlink(missing_ok=True)

    def _folder_of(self, content: bytes) -> Path:
        return self.folder / f"{content[0]:02x}"

    def _path(self, content: bytes, suffix: str) -> Path:
        return self._folder_of(content) / (content.hex() + suffix)

    def _write(self, content: bytes, thumbnail: bytes) -> None:
        path = self._path(content, _SUFFIXES[self._settings.thumbnail_format])
        aside = self._temporary / f"{os.getpid()}-{content.hex()}"
        for folder in (aside.parent, path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(thumbnail)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    def _note_use(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # a store that can't be written can still be read
            if time.time() - path.stat().st_mtime > _TOUCH_AFTER_S:
                os.utime(path)

    # ── all of them ───────────────────────────────────────────────────────────────────────────

    def sizes(self) -> dict[bytes, int]:
        """The bytes of every thumbnail, by content. Looks at each file: 3 s of CPU for 500,000."""
        every = (stored for folder in self._folders() for stored in _stored(folder))
        return {stored.content: stored.size_bytes for stored in every if stored.size_bytes}

    def usage(self, sample_files: int | None = None) -> Usage:
        """What the store holds. With `sample_files` a larger one is estimated from about as many files."""
        count = total = 0
        for number, folder in enumerate(self._folders(), start=1):
            for stored in _stored(folder):
                count += 1
                total += stored.size_bytes
            if sample_files is not None and count >= sample_files and number < _FOLDERS:
                return Usage(count * _FOLDERS // number, total * _FOLDERS // number, estimated=True)
        return Usage(count, total)

    def room(self) -> int:
        """About how many more thumbnails there is room for before old ones go."""
        usage = self.usage(SAMPLE_FILES)
        mean_bytes = usage.size_bytes / usage.count if usage.count else _TYPICAL_BYTES
        return max(0, int((self.max_bytes * _TRIM_TO - usage.size_bytes) / mean_bytes))

    def prune(self, keep: Container[bytes]) -> Usage:
        """Remove the thumbnails of all contents but `keep`, and what the bound has no room for.

        No run may be alive: what it has read and not committed is not in `keep`. Returns what was
        freed.
        """
        count = freed = 0
        for folder in self._folders():
            kept = []
            for stored in _stored(folder):
                if stored.content in keep:
                    kept.append(stored)
                else:
                    count, freed = count + 1, freed + stored.size_bytes
                    _remove(stored)
            trimmed = self._trim(kept)
            count, freed = count + trimmed.count, freed + trimmed.size_bytes
        return Usage(count, freed)

    def sweep(self) -> None:
        """Remove what killed readers were writing. No reader may be alive."""
        for left in self._temporary.glob("*"):
            with contextlib.suppress(OSError):  # none of them is in anyone's way
                left.unlink()

    def _trim(self, folder: list[_Stored]) -> Usage:
        """Make one folder's thumbnails fit their share; those used last stay. Returns what was freed."""
        share = self.max_bytes // _FOLDERS
        excess = sum(stored.size_bytes for stored in folder)
        if excess <= share:
            return Usage(0, 0)
        excess -= int(share * _TRIM_TO)
        count = freed = 0
        for stored in sorted(folder, key=lambda stored: stored.used_s):
            if freed >= excess:
                break
            _remove(stored)
            count, freed = count + 1, freed + stored.size_bytes
        return Usage(count, freed)

    @property
    def _temporary(self) -> Path:
        return self.folder / "tmp"

    def _folders(self) -> Iterator[Path]:
        return (self.folder / f"{number:02x}" for number in range(_FOLDERS))


def encode_thumbnail(frame: Pixels, settings: Settings) -> bytes:
    """`frame: uint8[H, W, 3]`, sRGB, as a JPEG or WebP file; never enlarged."""
    height, width = fit(frame.shape[0], frame.shape[1], settings.thumbnail_edge_px)
    small = frame
    if (height, width) != frame.shape[:2]:
        small = np.empty((height, width, 3), np.uint8)
        _native.resize(frame, small)
    return _ENCODERS[settings.thumbnail_format](small, settings.thumbnail_quality)


def decode_thumbnail(thumbnail: bytes, least_edge_px: int) -> Pixels:
    """`uint8[H, W, 3]` of a thumbnail, perhaps made smaller, but no edge below `least_edge_px` for that.

    Raises ValueError or OSError where it is damaged.
    """
    if thumbnail.startswith(b"RIFF"):
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(thumbnail)).convert("RGB"))
    pixels: Pixels = simplejpeg.decode_jpeg(thumbnail, min_height=least_edge_px, min_width=least_edge_px)
    return pixels


def cut_out(thumbnail: bytes, box: Box, margin: float = 0.4) -> bytes | None:
    """A part of a thumbnail, with so much of its size around it, as a JPEG file; None where it is damaged."""
    try:
        pixels = decode_thumbnail(thumbnail, _WHOLE_PX)
    except (ValueError, OSError):
        return None
    height, width = pixels.shape[:2]
    x, y, across, down = box
    left, right = int((x - margin * across) * width), int((x + (1 + margin) * across) * width) + 1
    top, bottom = int((y - margin * down) * height), int((y + (1 + margin) * down) * height) + 1
    part = pixels[max(top, 0) : max(bottom, 1), max(left, 0) : max(right, 1)]
    return _jpeg(np.ascontiguousarray(part), _CUT_OUT_QUALITY) if part.size else None


def encode_jpeg(frame: Pixels) -> bytes:
    """`frame: uint8[H, W, 3]`, sRGB, as a JPEG file of its own size."""
    return _jpeg(frame, _CUT_OUT_QUALITY)


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(pixels, quality=quality, colorsubsampling="420")
    return encoded


def _webp(pixels: Pixels, quality: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=_WEBP_METHOD)
    return file.getvalue()


_ENCODERS: dict[str, Callable[[Pixels, int], bytes]] = {"jpeg": _jpeg, "webp": _webp}
_SUFFIXES = {"jpeg": ".jpg", "webp": ".webp"}
_NAME = re.compile(r"[0-9a-f]{32}\.(jpg|webp)")


def _is_whole(thumbnail: bytes) -> bool:
    """Whether a file begins and ends as its format does (JPEG: SOI, EOI; WebP: the RIFF size)."""
    if thumbnail.startswith(b"RIFF"):
        return int.from_bytes(thumbnail[4:8], "little") == len(thumbnail) - 8
    return thumbnail.startswith(b"\xff\xd8") and thumbnail.endswith(b"\xff\xd9")


def _stored(folder: Path) -> Iterator[_Stored]:
    """The thumbnails in one folder; whatever else is there is left alone."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                try:
                    status = entry.stat()
                except FileNotFoundError:  # trimmed meanwhile
                    continue
                yield _Stored(bytes.fromhex(entry.name[:32]), entry.path, status.st_size, status.st_mtime)


def _remove(stored: _Stored) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(stored.path)
