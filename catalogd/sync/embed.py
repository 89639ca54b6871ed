"""XMP inside photos: JPEG, TIFF and DNG, for those who ask for it.

::

    IMG.JPG ──▶ contents: its packet ─▶ Packet.edited ─▶ the new packet
       │                  and digests of the rest              │
       ├──copy──▶ .catalogd-….tmp ◀──exiftool puts it in───────┘
       │               │ its packet is the new one, byte by byte? the rest is the same? on the disk?
       ├──link──▶ IMG.JPG.catalogd-backup, unless there is one: the photo before catalogd wrote into it
       ▼               ▼
    IMG.JPG ◀──── os.replace

The photo itself is only read. Until the last step nothing has happened to it, and that step happens
whole or not at all. `contents` says what the copy must have in common with the photo, by our own
reading; where exiftool moved maker notes, their tags must say what they said. Whatever else differs,
and every photo that is not understood whole, is refused and stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from catalogd.errors import CatalogdError, SidecarRefusedError
from catalogd.images.source import Source
from catalogd.sync import replacing
from catalogd.sync.contents import Contents, compare, read_contents
from catalogd.sync.exiftool_writer import ExiftoolWriter
from catalogd.sync.packet import Packet, differences, new_packet, same, usual_name
from catalogd.sync.sidecar import ATTEMPTS, Change, Written

EXTENSIONS = frozenset(b"jpg jpeg jpe jfif tif tiff dng".split())

_WRAPPER = b"<?xpacket begin="  # without it exiftool takes no packet as a whole
# Every tag of the maker's, known or not, but for where in the file something lies.
_MAKER_NOTES = (b"-json", b"-a", b"-G4", b"-n", b"-U", b"-b", b"-MakerNotes:all")
_PLACES = (b"--PreviewImageStart", b"--OtherImageStart", b"--ThumbnailOffset", b"--JpgFromRawStart")


class _Plan(NamedTuple):
    """What is to be done with a photo that holds `contents`. `packet` is empty when nothing has to change."""

    contents: Contents
    packet: bytes
    written: Written


def write_embedded(
    path: bytes,
    change: Change,
    writer: ExiftoolWriter,
    max_bytes: int,
    *,
    dry_run: bool = False,
    before_replace: Callable[[Written], None] | None = None,
) -> Written:
    """Change the properties of the packet in the photo at `path`, which may be a symbolic link.

    `change` gets the packet, None without one, and says what must differ; nothing is written when that
    is nothing, or with `dry_run`. `max_bytes`: a larger photo is refused. Never raises for the photo's
    sake: "refused" has the reason, and the photo is then what it was. `before_replace` is told what is
    about to become visible; what it raises stops the write.
    """
    photo = os.path.realpath(path)
    try:
        for _ in range(ATTEMPTS):
            plan = _make_plan(photo, change, max_bytes)
            idle = dry_run or not plan.packet
            written = plan.written if idle else _carry_out(plan, writer, max_bytes, before_replace)
            if written is not None:
                return written._replace(path=path)
        raise SidecarRefusedError("another program keeps changing it")
    except OSError as error:
        return Written(path, "refused", reason=error.strerror or str(error))
    except CatalogdError as error:
        return Written(path, "refused", reason=str(error))


def _make_plan(photo: bytes, change: Change, max_bytes: int) -> _Plan:
    """Read a photo and work out its new packet, in which nothing but the changes differs."""
    _require_format(photo)
    replacing.require_writable(photo)
    digest, contents = _digest(photo), _contents(photo, max_bytes)
    old = Packet.read(contents.packet) if contents.packet is not None else None
    changes = change(old)
    if not changes:
        return _Plan(contents, b"", Written(photo, "unchanged", (), "", digest, digest))
    packet = _wrapped(old.edited(changes) if old else new_packet(changes))
    found = tuple(differences(old, Packet.read(packet)))
    for name, before, after in found:
        if not same(after, changes.get(name, before)):
            raise SidecarRefusedError(f"{usual_name(name)} would not be what it should")
    return _Plan(contents, packet, Written(photo, "written", found, "", digest))


def _carry_out(
    plan: _Plan, writer: ExiftoolWriter, max_bytes: int, before_replace: Callable[[Written], None] | None
) -> Written | None:
    """Replace the photo; None when it is no longer what was read."""
    photo, digest = plan.written.path, plan.written.digest_before
    with replacing.temporary(photo) as copy:
        shutil.copyfile(photo, copy)
        if _digest(copy) != digest:
            return None
        answer = _put_packet(copy, plan.packet, writer)
        made = _contents(copy, max_bytes)
        if made.packet != plan.packet:
            raise SidecarRefusedError(f"exiftool did not put the packet in as it is: {answer}")
        _refuse_losses((photo, plan.contents), (copy, made), writer)
        replacing.finish(copy, photo)
        written = plan.written._replace(digest_after=_digest(copy))
        if before_replace:
            before_replace(written)
        last = _identity(photo)
        if _digest(photo) != digest or _identity(photo) != last:
            return None
        replacing.back_up(photo)
        os.replace(copy, photo)
        replacing.sync_folder(os.path.dirname(photo))
    return written


def _require_format(photo: bytes) -> None:
    if photo.rpartition(b".")[2].lower() not in EXTENSIONS:
        raise SidecarRefusedError("only JPEG, TIFF and DNG are written into")


def _contents(path: bytes, max_bytes: int) -> Contents:
    with Source(path, max_bytes) as source:
        return read_contents(source)


def _digest(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identity(path: bytes) -> tuple[int, int, int]:
    """It differs when somebody wrote the file, also where the digest had been taken already."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _wrapped(packet: bytes) -> bytes:
    """The packet as it stands in files (ISO 16684-1, 7.3.2): wrapped, in UTF-8, without a declaration."""
    start = packet.find(b"<")
    if packet[start : start + len(_WRAPPER)] == _WRAPPER:
        return packet
    raise SidecarRefusedError("its packet has no wrapper, or is not in UTF-8")


def _put_packet(copy: bytes, packet: bytes, writer: ExiftoolWriter) -> str:
    """Have exiftool put a packet into the file at `copy`, as it is, in place of the one that is there.

    Returns what it says, without the path. Into another file it would not do: in the path of what it
    makes exiftool takes a "%" for a code of its own.
    """
    with tempfile.NamedTemporaryFile(prefix="catalogd-", suffix=".xmp") as file:
        file.write(packet)
        file.flush()
        answer = writer.run([b"-overwrite_original", b"-XMP<=" + os.fsencode(file.name), copy])
    return answer.strip().partition(" - ")[0]


def _maker_notes(path: bytes, writer: ExiftoolWriter) -> dict[str, Any]:
    """What maker notes say, by exiftool's tables."""
    said = writer.run([*_MAKER_NOTES, *_PLACES, path])
    try:
        rows = json.loads(said[said.find("[") : said.rfind("]") + 1])
    except ValueError:
        raise SidecarRefusedError("exiftool can't read its maker notes") from None
    return {name: value for name, value in rows[0].items() if name != "SourceFile"}


def _refuse_losses(
    photo: tuple[bytes, Contents], copy: tuple[bytes, Contents], writer: ExiftoolWriter
) -> None:
    """Each of the two is a path and what is there."""
    comparison = compare(photo[1], copy[1])
    if comparison.lost:
        raise SidecarRefusedError(f"exiftool would change more than the packet: {comparison.lost}")
    if comparison.notes_moved and _maker_notes(photo[0], writer) != _maker_notes(copy[0], writer):
        raise SidecarRefusedError("exiftool would change the maker notes")
