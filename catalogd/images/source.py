"""The bytes of one photo's file, read by need, and their fingerprint.

Only regular files are read, never written, and never opened in a way that can block (a FIFO that
is named like a photo). A file that another program is writing is noticed by its size, time and
inode before and after.
"""

from __future__ import annotations

import errno
import os
import stat

import xxhash

from catalogd.errors import (
    DeniedError,
    PhotoError,
    TooLargeError,
    UnavailableError,
    UnreadableError,
)
from catalogd.metadata import Content
from catalogd.records import Stat

BLOCK_BYTES = 64 << 10  # read at a time: a header and a directory are seldom larger
KEPT_BLOCKS = 1024  # 64 MiB: no structure but a hostile one lies in more
FINGERPRINT_BLOCK_BYTES = 64 << 10  # head, middle and tail; a smaller file is hashed whole
# Errors that the path is the reason of; any other is the disk's, the network's or this process's, and passes.
_LASTING = frozenset((errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG, errno.EINVAL, errno.EOVERFLOW))
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Source:
    """One photo's file, open for reading: bytes by need, its stat key, its 16-byte fingerprint.

    `source[a:b]` reads small stretches in blocks that it keeps, and large ones as they are, once;
    `content()` reads all. Use it as a context manager.
    """

    def __init__(self, path: bytes, max_bytes: int) -> None:
        """Raises OSError, UnreadableError (no regular file, empty) and TooLargeError above `max_bytes`."""
        self.path = path
        self._descriptor = _open_regular(path)
        self._opened = os.fstat(self._descriptor)
        self._blocks: dict[int, bytes] = {}
        self._content: bytes | None = None
        size = self._opened.st_size
        if size == 0 or size > max_bytes:
            os.close(self._descriptor)
            if size == 0:
                raise UnreadableError("the file is empty")
            raise TooLargeError(f"the file has {size:,} bytes; max_file_bytes is {max_bytes:,}")
        self.stat = Stat(size, self._opened.st_mtime_ns)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)

    def __len__(self) -> int:
        return self.stat.size

    def __getitem__(self, place: slice) -> bytes:
        """The bytes of `place`, fewer where the file ends; raises UnavailableError and its kin."""
        start, stop, step = place.indices(self.stat.size)
        assert step == 1
        if self._content is not None:
            return self._content[start:stop]
        numbers = range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES))
        if stop - start >= BLOCK_BYTES and not all(number in self._blocks for number in numbers):
            return self._read(start, stop - start)
        found = b"".join([self._block(number) for number in numbers])
        first = numbers.start * BLOCK_BYTES
        return found[start - first : stop - first]

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= KEPT_BLOCKS:
                self._blocks.clear()
            block = self._blocks[number] = self._read(number * BLOCK_BYTES, BLOCK_BYTES)
        return block

    def _read(self, start: int, size: int) -> bytes:
        try:
            return _read_range(self._descriptor, start, size)
        except OSError as error:
            raise explained(error) from error

    def content(self) -> bytes:
        """The whole file, read once; raises UnavailableError and its kin."""
        if self._content is None:
            self._content = self._read(0, self.stat.size)
        return self._content

    @property
    def open_path(self) -> str:
        """A path by which a library opens this very file, even when another has taken its place.

        The file's own path where the platform names no open files.
        """
        for folder in ("/proc/self/fd", "/dev/fd"):
            path = f"{folder}/{self._descriptor}"
            if os.path.exists(path):
                return path
        return os.fsdecode(self.path)

    @property
    def fingerprint(self) -> bytes:
        return _fingerprint(len(self), [self[at : at + length] for at, length in _blocks(len(self))])

    @property
    def changed(self) -> bool:
        """Whether the file at the path is another one by now, or of another size or time."""
        try:
            return _identity(os.stat(self.path)) != _identity(self._opened)
        except OSError:
            return True


def explained(error: OSError) -> PhotoError:
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


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


def _read_range(descriptor: int, start: int, size: int) -> bytes:
    """Read `size` bytes from `start`, fewer where the file ends; one read returns 2 GiB at most."""
    content = os.pread(descriptor, size, start)
    while 0 < len(content) < size:
        more = os.pread(descriptor, size - len(content), start + len(content))
        if not more:
            break
        content += more
    return content


class Part:
    """A stretch of a file as content of its own: an embedded picture, a TIFF structure inside."""

    def __init__(self, content: Content, start: int, size: int) -> None:
        self._content = content
        self._start = min(max(start, 0), len(content))
        self._size = max(0, min(size, len(content) - self._start))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        start, stop, step = place.indices(self._size)
        assert step == 1
        return self._content[self._start + start : self._start + stop] if start < stop else b""
