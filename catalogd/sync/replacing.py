"""How a file is replaced: by another one that is whole, in one step, with nothing left behind.

::

    temporary(path) ─▶ .catalogd-….xmp.tmp in the same folder ─▶ finish: mode, owner, attributes, fsync
                                                                    │
    back_up(path) ─▶ path.catalogd-backup, where one is wanted      ▼
    path ◀───────────────────────────────────────── replace, or create where there was none

What a killed process leaves is swept when the next temporary file is made in that folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import time
from collections.abc import Iterator

from catalogd.errors import SidecarRefusedError

STALE_S = 60.0  # a temporary file lives for milliseconds; 10 s while exiftool hangs
BACKUP_SUFFIX = b".catalogd-backup"
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = b".catalogd-", b".xmp.tmp"
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of linux/fcntl.h and linux/fs.h
_ENDS = (TEMPORARY_SUFFIX, TEMPORARY_SUFFIX + b"_exiftool_tmp")  # what exiftool makes of one in place


def require_writable(path: bytes) -> None:
    """What a person protected stays as it is, also where this process could replace it."""
    if os.path.exists(path) and not _is_writable(path):
        raise SidecarRefusedError("it is write-protected")
    if not _is_writable(os.path.dirname(path)):
        raise SidecarRefusedError("its folder can't be written into")


def _is_writable(path: bytes) -> bool:
    """Whether this process may write a file or into a folder; the mode counts for the superuser too."""
    return bool(os.stat(path).st_mode & 0o222) and os.access(path, os.W_OK)


@contextlib.contextmanager
def temporary(path: bytes) -> Iterator[bytes]:
    """A path that is free, in the folder of `path`; whatever is there in the end is removed."""
    folder = os.path.dirname(path)
    sweep(folder, int(time.time() / STALE_S))
    name = TEMPORARY_PREFIX + os.urandom(8).hex().encode() + TEMPORARY_SUFFIX
    try:
        yield os.path.join(folder, name)
    finally:
        remove(os.path.join(folder, name))


@functools.lru_cache(maxsize=256)
def sweep(folder: bytes, period: int) -> None:
    """Remove what killed runs left in a folder, looking once in each `period` of STALE_S."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(_ENDS):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_S:
                        os.unlink(entry.path)


def remove(path: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def finish(made: bytes, like: bytes | None) -> None:
    """Owner, mode and extended attributes of the file `like`, the time of now, all on the disk."""
    if like is not None:
        _keep_owner(made, like)
        shutil.copystat(like, made)
        os.utime(made)
    sync(made)


def _keep_owner(made: bytes, like: bytes) -> None:
    old, new = os.stat(like), os.stat(made)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.chown(made, old.st_uid, old.st_gid)
        except PermissionError:
            raise SidecarRefusedError("its owner could not be kept") from None


def sync(path: bytes) -> None:
    """A file to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: bytes) -> None:
    """The names in a folder to the disk, where that can be asked for: not on every network's file system.

    Called when a file has its new name already: what fails here is no reason to say that it has not.
    """
    with contextlib.suppress(OSError):
        sync(folder)


def exchange(one: bytes, other: bytes) -> bool:
    """Let two files swap their names in one step (renameat2 of Linux); False where that can't be done."""
    rename = getattr(_libc(), "renameat2", None)
    return rename is not None and rename(_HERE, one, _HERE, other, _EXCHANGE) == 0


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def back_up(path: bytes) -> None:
    """Keep what is at `path`, which is about to be replaced, under a second name.

    A backup that is there is older, and stays. Where files have no second names it is copied.
    """
    backup = path + BACKUP_SUFFIX
    if os.path.lexists(backup):
        return
    try:
        os.link(path, backup)
    except OSError:
        with temporary(backup) as copy:
            shutil.copy2(path, copy)
            sync(copy)
            os.rename(copy, backup)


def create(made: bytes, path: bytes) -> None:
    """Give a file its name. Raises FileExistsError when that was taken meanwhile.

    Where files have no second names that is looked at a moment before.
    """
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(made, path)
