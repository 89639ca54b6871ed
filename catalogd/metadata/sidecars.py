"""Sidecars: the XMP files beside a photo, and which photo one of them belongs to.

Programs name them in two ways. `IMG.NEF.xmp` (darktable, digiKam, Immich) can only be meant for
`IMG.NEF`. `IMG.xmp` (Lightroom, Bridge, Capture One) is written for RAW formats of a maker, whose
files nobody writes into; it belongs, in this order, to

1. the photo with the extension that it names itself (photoshop:SidecarForExtension),
2. the RAW photos of a maker with its stem: with `IMG.NEF` there, it says nothing of `IMG.JPG`,
3. all photos with its stem.

Names are compared without regard to the case of ASCII letters. A sidecar that cannot be read, that
is too large or no regular file is passed over: it never fails a photo. Nothing here raises.
"""

from __future__ import annotations

import functools
import os
import stat
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from catalogd.metadata.xmp import Value, parse
from catalogd.records import Sidecar, Stat

MAX_SIDECAR_BYTES = 16 << 20  # a photo with hundreds of painted masks has about 5 MiB
LISTINGS = 4  # folders whose listing is kept: a reader goes through one after another
# A folder that changed this recently may change again without its time telling so: FAT counts in 2 s.
SETTLED_NS = 2_000_000_000

# RAW formats that belong to a maker; a DNG holds its own XMP as a JPEG does.
PROPRIETARY_EXTENSIONS = frozenset(
    b"3fr arw cr2 cr3 crw dcr erf fff iiq k25 kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw"
    b" x3f".split()
)
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class _Listing(NamedTuple):
    """What a folder holds of sidecars. Keys are in lower case."""

    spellings: dict[
        bytes, list[bytes]
    ]  # name of a sidecar: how it is spelled, more than once where case counts
    raw_stems: set[bytes]  # stems of RAW photos of a maker that are also stems of sidecars


def read_sidecars(path: bytes) -> list[tuple[Sidecar, Value]]:
    """The sidecars of the photo at `path` with their properties: the one that names it whole is first.

    A damaged one counts as empty, and so is known when it changes.
    """
    folder, name = os.path.split(path)
    stem, extension = split_name(name)
    listing = _list(folder)
    found = []
    if own := read_sidecar(folder, choose_spelling(listing.spellings, name)):
        found.append(own)
    if stem != name and (shared := read_sidecar(folder, choose_spelling(listing.spellings, stem))):
        meant = meant_extension(shared[1])
        theirs = extension in PROPRIETARY_EXTENSIONS or stem.lower() not in listing.raw_stems
        if meant == extension if meant else theirs:
            found.append(shared)
    return found


def meant_extension(properties: Value) -> bytes:
    """The extension, in lower case, of the photo that a sidecar says it is for; empty when it says none."""
    return properties.get("photoshop:SidecarForExtension").text.strip().lower().encode()


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """The stem of a name and its extension in lower case, without the dot."""
    stem, dot, extension = name.rpartition(b".")
    return (stem, extension.lower()) if dot else (name, b"")


def _list(folder: bytes) -> _Listing:
    """The listing of a folder, taken again when the folder has changed."""
    try:
        changed_ns = os.stat(folder or b".").st_mtime_ns
        settled = abs(time.time_ns() - changed_ns) > SETTLED_NS  # a server's clock may be ahead of ours
        return (_kept_listing if settled else _kept_listing.__wrapped__)(folder, changed_ns)
    except OSError:
        return _Listing({}, set())


@functools.lru_cache(maxsize=LISTINGS)
def _kept_listing(folder: bytes, changed_ns: int) -> _Listing:
    names = os.listdir(folder or b".")
    spellings: dict[bytes, list[bytes]] = {}
    for name in names:
        if name[-4:].lower() == b".xmp":
            spellings.setdefault(name.lower(), []).append(name)
    raw_stems = set()
    if spellings:
        for name in names:
            stem, extension = split_name(name)
            if extension in PROPRIETARY_EXTENSIONS and (stem := stem.lower()) + b".xmp" in spellings:
                raw_stems.add(stem)
    return _Listing(spellings, raw_stems)


def choose_spelling(spellings: Mapping[bytes, Sequence[bytes]], start: bytes) -> bytes | None:
    """The sidecar named `start` + ".xmp"; of several spellings that with the case of `start`.

    `spellings`: name in lower case → as they are spelled.
    """
    spelled = spellings.get(start.lower() + b".xmp", ())
    return min(spelled, key=lambda name: (not name.startswith(start), name), default=None)


def read_sidecar(folder: bytes, name: bytes | None) -> tuple[Sidecar, Value] | None:
    """One sidecar and its properties; None when there is none that can be read."""
    if name is None:
        return None
    try:
        descriptor = os.open(os.path.join(folder, name), _FLAGS)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_SIDECAR_BYTES:
            return None
        content = os.read(descriptor, MAX_SIDECAR_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return Sidecar(name, Stat(found.st_size, found.st_mtime_ns)), parse(content)
