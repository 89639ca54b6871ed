"""The bytes of one photo's file, read once, and their fingerprint.

Only regular files are read, never written, and never opened in a way that can block (a FIFO that
is named like a photo). A file that another program is writing is noticed by its size, time and
inode before and after.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat

import xxhash

from catalogd.errors import (
    ChangedError,
    DeniedError,
    PhotoError,
    TooLargeError,
    UnavailableError,
    UnreadableError,
)
from catalogd.records import Stat

FINGERPRINT_BLOCK_BYTES = 64 << 10  # head, middle and tail; a smaller file is hashed whole
TRIES = 2  # a file that changes during both is being written: the watcher brings it back
# Errors that the path is the reason of; any other is the disk's, the network's or this process's, and passes.
_LASTING = frozenset((errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG, errno.EINVAL, errno.EOVERFLOW))
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A whole file: its bytes, its stat key, and its 16-byte fingerprint."""

    content: bytes
    stat: Stat
    fingerprint: bytes


def read_source(path: bytes, max_bytes: int) -> Source:
    """Read the file at `path`.

    Raises UnreadableError (no regular file, empty), DeniedError, UnavailableError (an input/output
    error, a server that does not answer, no file handle left), TooLargeError above `max_bytes`,
    ChangedError when it is gone or changed while it was read.
    """
    try:
        for _ in range(TRIES):
            source = _read_unchanged(path, max_bytes)
            if source is not None:
                return source
    except (FileNotFoundError, NotADirectoryError):
        raise ChangedError("the file is gone; it is indexed when it comes back") from None
    except OSError as error:
        raise _explained(error) from error
    raise ChangedError(f"the file changed each of the {TRIES} times it was read")


def _explained(error: OSError) -> PhotoError:
    message = f"the file cannot be read: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return DeniedError(message)
    return UnreadableError(message) if error.errno in _LASTING else UnavailableError(message)


def fingerprint_file(path: bytes) -> bytes:
    """The fingerprint of the file at `path`, from three blocks of it; raises OSError."""
    descriptor = _open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        return _fingerprint(size, [os.pread(descriptor, length, at) for at, length in _blocks(size)])
    finally:
        os.close(descriptor)


def fingerprint_content(content: bytes) -> bytes:
    """The fingerprint of a file whose bytes are at hand; the same as `fingerprint_file`'s."""
    view = memoryview(content)
    return _fingerprint(len(content), [view[at : at + length] for at, length in _blocks(len(content))])


def _blocks(size: int) -> list[tuple[int, int]]:
    block = FINGERPRINT_BLOCK_BYTES
    if size <= 3 * block:
        return [(0, size)]
    return [(0, block), ((size - block) // 2, block), (size - block, block)]


def _fingerprint(size: int, blocks: list[bytes] | list[memoryview]) -> bytes:
    digest = xxhash.xxh3_128(size.to_bytes(8, "little"))
    for block in blocks:
        digest.update(block)
    return bytes(digest.digest())


def _open_regular(path: bytes) -> int:
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableError("not a regular file")
    return descriptor


def _read_unchanged(path: bytes, max_bytes: int) -> Source | None:
    descriptor = _open_regular(path)
    try:
        before = os.fstat(descriptor)
        if before.st_size == 0:
            raise UnreadableError("the file is empty")
        if before.st_size > max_bytes:
            raise TooLargeError(f"the file has {before.st_size:,} bytes; max_file_bytes is {max_bytes:,}")
        content = _read_all(descriptor, before.st_size)
    finally:
        os.close(descriptor)
    if len(content) != before.st_size or _identity(os.stat(path)) != _identity(before):
        return None
    return Source(content, Stat(before.st_size, before.st_mtime_ns), fingerprint_content(content))


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


def _read_all(descriptor: int, size: int) -> bytes:
    """Read `size` bytes, fewer when the file ends early; one read returns 2 GiB at most."""
    content = os.read(descriptor, size)
    while 0 < len(content) < size:
        more = os.read(descriptor, size - len(content))
        if not more:
            break
        content += more
    return content
