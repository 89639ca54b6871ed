"""Which files are the same byte for byte. Photos are opened for reading only.

The catalog knows a fingerprint of each file (size, and blocks at its head, middle and tail); files that
share one are read whole before anybody is told that they are copies.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from catalogd.records import Stat

if TYPE_CHECKING:
    from catalogd.catalog import Catalog

_BLOCK_BYTES = 1 << 20  # read at once: what disks and networks like, and nothing to memory


class Whole(NamedTuple):
    """What a file is as a whole; `problem` says why that is not known."""

    digest: bytes = b""  # xxh3_128 of all its bytes
    inode: tuple[int, int] = (0, 0)  # device and number: two names of one file share it
    problem: str = ""


def copies(catalog: Catalog, within: Collection[int] | None) -> Iterator[list[int]]:
    """The photos that share a fingerprint, two and more at a time; of `within` alone unless it is None."""
    known = catalog.contents(with_missing=False)
    for _, group in itertools.groupby(known, key=lambda pair: pair[0]):
        photo_ids = [photo_id for _, photo_id in group if within is None or photo_id in within]
        if len(photo_ids) > 1:
            yield photo_ids


def read_whole(path: bytes, known: Stat) -> Whole:
    """Read the file at `path` to its end, unless it is not the one that the catalog knows."""
    try:
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if Stat(status.st_size, status.st_mtime_ns) != known:
                return Whole(problem="changed since it was indexed; `catalogd run` looks at it again")
            return Whole(_digest(file), (status.st_dev, status.st_ino))
    except FileNotFoundError:
        return Whole(problem="not there any more; `catalogd run` takes note of it")
    except OSError as error:
        return Whole(problem=f"can't be read: {error.strerror or error}")


def _digest(file: io.FileIO) -> bytes:
    digest = xxhash.xxh3_128()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.digest()


def inode_of(path: bytes) -> tuple[int, int]:
    """Device and number of the file at `path`, whatever links lead there; (0, 0) when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino
