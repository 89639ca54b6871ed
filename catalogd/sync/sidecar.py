"""The one way a sidecar is written: old or new at any moment, and nothing of anyone's lost.

::

    IMG.xmp ──read──▶ Packet ──change──▶ what must differ; nothing: done, no byte was written
                        │                       │
                        ▼                       ▼
        exiftool, or where it would lose something our own writer ─▶ .catalogd-….xmp.tmp
                                                                            │
        read again, by us: is every other property what it was?  ◀──────────┤
        is IMG.xmp still what was read? else from the start      ◀──────────┤
                                                                            ▼
    IMG.xmp ◀──os.replace── same mode, owner and attributes, on the disk (fsync)

Runs in any process; two may write into one folder. A sidecar that cannot be understood, that nobody
may write, or that keeps changing is refused and stays byte for byte what it was. A run that is killed
leaves at most a temporary file, which the next write into its folder sweeps away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from catalogd.errors import ExiftoolError, SidecarRefusedError
from catalogd.metadata.sidecars import MAX_SIDECAR_BYTES
from catalogd.metadata.xmp import Value
from catalogd.sync import replacing
from catalogd.sync.exiftool_writer import ExiftoolWriter, keeps
from catalogd.sync.packet import Difference, Packet, new_packet, same, usual_name

ATTEMPTS = 3  # while another program keeps changing the sidecar

State = Literal["written", "created", "removed", "unchanged", "refused"]  # removed: by taking a run back
Changes = Mapping[str, Value | None]
Change = Callable[[Packet | None], Changes]


class Written(NamedTuple):
    """What became of one sidecar; with a dry run, what would become of it.

    Digests are SHA-256 of its bytes in hexadecimal, "" where there was no sidecar.
    """

    path: bytes
    state: State
    differences: Sequence[Difference] = ()
    reason: str = ""
    digest_before: str = ""
    digest_after: str = ""


class _Source(NamedTuple):
    """A sidecar as it was read; `content` and `packet` are None where there is none."""

    path: bytes
    content: bytes | None = None
    packet: Packet | None = None


class _ChangedError(Exception):
    """Another program wrote the sidecar after it was read."""


def write_sidecar(
    path: bytes,
    change: Change,
    writer: ExiftoolWriter | None,
    *,
    backup: bool = False,
    dry_run: bool = False,
    before_replace: Callable[[Written], None] | None = None,
) -> Written:
    """Change properties of the sidecar at `path`, or make it.

    `change` gets the packet, None where there is no sidecar, and returns the new values of what must
    differ, None for what must go; it is called again when another program was faster. The sidecar may
    be a symbolic link: what it points to is written. With `backup`, what stood there before catalogd's
    first write is kept beside it. `before_replace` is told what is about to become visible, to note it
    down; what it raises stops the write. Never raises for the sidecar's sake: "refused" has the reason.
    """
    target = os.path.realpath(path)
    try:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(_ChangedError):
                written = _write_once(_read(target), change, writer, backup, dry_run, before_replace)
                return written._replace(path=path)
        raise SidecarRefusedError("another program keeps changing it")
    except SidecarRefusedError as error:
        return Written(path, "refused", reason=str(error))
    except OSError as error:
        return Written(path, "refused", reason=error.strerror or str(error))


def _write_once(
    source: _Source,
    change: Change,
    writer: ExiftoolWriter | None,
    backup: bool,
    dry_run: bool,
    before_replace: Callable[[Written], None] | None,
) -> Written:
    """One attempt; raises _ChangedError when another program was faster."""
    changes = _needed(source.packet, change(source.packet))
    if not changes:
        digest = _digest(source.content)
        return Written(source.path, "unchanged", digest_before=digest, digest_after=digest)
    replacing.require_writable(source.path)
    if dry_run:
        return _told(source, changes, _by_ourselves(source, changes))
    with replacing.temporary(source.path) as temporary:
        made = _by_exiftool(writer, temporary, source, changes) if writer else None
        if made is None:
            made = _by_ourselves(source, changes)
            _write_file(temporary, made.content)
        replacing.finish(temporary, source.path if source.packet else None)
        written = _told(source, changes, made)
        if backup and source.packet:
            replacing.back_up(source.path)
        if before_replace:
            before_replace(written)
        _replace(temporary, source)
    return written


def _needed(packet: Packet | None, changes: Changes) -> dict[str, Value | None]:
    """The changes that are not so already."""
    old = packet.properties if packet else {}
    return {name: value for name, value in changes.items() if not same(value, old.get(name))}


def _told(source: _Source, changes: Changes, made: Packet) -> Written:
    """What is to be told of a packet that was checked: nothing but the changes differs."""
    old = source.packet.properties if source.packet else {}
    found = tuple(Difference(name, old.get(name), value) for name, value in changes.items())
    state: State = "written" if source.packet else "created"
    return Written(source.path, state, found, "", _digest(source.content), _digest(made.content))


def _digest(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


# ── the new packet ────────────────────────────────────────────────────────────────────────────


def _by_exiftool(
    writer: ExiftoolWriter, temporary: bytes, source: _Source, changes: Changes
) -> Packet | None:
    """The packet that exiftool wrote to `temporary`; None, and no file, when it lost something or failed."""
    if source.packet is None or not keeps(source.packet):
        return None
    with contextlib.suppress(SidecarRefusedError, ExiftoolError, OSError):
        writer.write(source.path, temporary, changes)
        with open(temporary, "rb") as file:
            return _checked(source, changes, file.read())
    replacing.remove(temporary)
    return None


def _by_ourselves(source: _Source, changes: Changes) -> Packet:
    new = source.packet.edited(changes) if source.packet else new_packet(changes)
    return _checked(source, changes, new)


def _checked(source: _Source, changes: Changes, new: bytes) -> Packet:
    """What was written, read again; SidecarRefusedError unless all but the changes is as it was."""
    packet = Packet.read(new)
    old = source.packet.properties if source.packet else {}
    for name in {**old, **changes, **packet.properties}:
        wanted = changes[name] if name in changes else old.get(name)
        if not same(wanted, packet.properties.get(name)):
            raise SidecarRefusedError(f"{usual_name(name)} would not be what it should")
    if source.packet and source.packet.remarks != packet.remarks:
        raise SidecarRefusedError("its comments would be lost")
    return packet


# ── files ─────────────────────────────────────────────────────────────────────────────────────


def _read(path: bytes) -> _Source:
    content = _content(path)
    return _Source(path) if content is None else _Source(path, content, Packet.read(content))


def _content(path: bytes) -> bytes | None:
    """The bytes of a sidecar, None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SidecarRefusedError("it is no regular file")
        return file.read(MAX_SIDECAR_BYTES + 1)


def _write_file(path: bytes, content: bytes) -> None:
    """A new file with the permissions that new files get."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o666), "wb") as file:
        file.write(content)


def _replace(temporary: bytes, source: _Source) -> None:
    """Put the new sidecar where the old one is, unless that is no longer what was read."""
    if _content(source.path) != source.content:
        raise _ChangedError
    if source.content is not None:
        _swap(temporary, source)
    else:
        try:
            replacing.create(temporary, source.path)
        except FileExistsError:
            raise _ChangedError from None
    replacing.sync_folder(os.path.dirname(source.path))


def _swap(temporary: bytes, source: _Source) -> None:
    """Replace the old sidecar. Who wrote it a moment ago, after it was compared, gets their file back."""
    made = _content(temporary)
    if not replacing.exchange(temporary, source.path):
        os.replace(temporary, source.path)
    elif _content(temporary) != source.content:
        replacing.exchange(temporary, source.path)
        if _content(temporary) != made:  # and somebody wrote over ours: that is the newest
            replacing.exchange(temporary, source.path)
        raise _ChangedError
