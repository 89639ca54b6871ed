"""Which files are the sidecars of a photo, and what a new one is called.

====================  =========================================================================
`IMG.NEF.xmp`         "extended": meant for `IMG.NEF` alone (darktable, digiKam, Immich)
`IMG.xmp`             "adobe": for a RAW file of a maker (Lightroom, Bridge, Capture One); it is
                      read for other photos too, as long as only one photo can be meant
====================  =========================================================================

Every sidecar that a photo has is kept up to date; one is created only where there is none. Where
`IMG.xmp` may be meant for several photos, none of them writes into it: a RAW file and its JPEG never
share a sidecar. Names are compared without regard to the case of ASCII letters.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from catalogd.images.formats import PHOTO_EXTENSIONS, RAW_EXTENSIONS
from catalogd.metadata.sidecars import (
    PROPRIETARY_EXTENSIONS,
    choose_spelling,
    meant_extension,
    read_sidecar,
    split_name,
)
from catalogd.metadata.xmp import Value
from catalogd.sync.packet import key, text

LAYOUTS = ("auto", "adobe", "extended", "both")
LISTINGS = 16  # folders whose listing is kept: each worker goes through one after another
# A folder that changed this recently may change again without its time telling so: FAT counts in 2 s.
SETTLED_NS = 2_000_000_000
# A run changes the folder with every sidecar that it creates. A listing that is out of date still counts
# for this many times as long as it took: so listing large folders takes a thirtieth of a run at most.
REUSED_TIMES = 30


class _Listing(NamedTuple):
    """What a folder holds. Keys are in lower case."""

    sidecars: dict[bytes, list[bytes]]  # name: how it is spelled, more than once where case counts
    photos: dict[bytes, set[bytes]]  # stem: extensions in lower case
    changed_ns: int  # the folder's own time
    settled: bool
    until_s: float  # monotonic: it counts until then, whatever the folder's time says


_listings: dict[bytes, _Listing] = {}


def sidecars_for(path: bytes, layout: str) -> list[bytes]:
    """The sidecars of the photo at `path`, or else those to create in this layout (one of LAYOUTS)."""
    folder, name = os.path.split(path)
    listing = _list(folder)
    names = list(_existing(folder, name, listing)) or list(_to_create(name, listing, layout))
    return [os.path.join(folder, name) for name in names]


def first_properties(path: bytes, sidecar: bytes) -> dict[str, Value]:
    """What a new sidecar must say so that it is known whose it is: `IMG.xmp` names the extension."""
    stem, dot, extension = os.path.basename(path).rpartition(b".")
    if not dot or os.path.basename(sidecar) != stem + b".xmp":
        return {}
    return {key("photoshop:SidecarForExtension"): text(os.fsdecode(extension))}


def _existing(folder: bytes, name: bytes, listing: _Listing) -> Iterator[bytes]:
    if own := choose_spelling(listing.sidecars, name):
        yield own
    stem, extension = split_name(name)
    shared = read_sidecar(folder, choose_spelling(listing.sidecars, stem)) if stem != name else None
    if shared is not None:
        meant = meant_extension(shared[1])
        if meant == extension if meant else _is_only_owner(stem, extension, listing):
            yield shared[0].name


def _to_create(name: bytes, listing: _Listing, layout: str) -> Iterator[bytes]:
    stem, extension = split_name(name)
    is_free = stem != name and choose_spelling(listing.sidecars, stem) is None
    wanted = layout in ("adobe", "both") or (layout == "auto" and extension in PROPRIETARY_EXTENSIONS)
    as_adobe = wanted and is_free and _is_only_owner(stem, extension, listing)
    if as_adobe:
        yield stem + b".xmp"
    if layout == "both" or not as_adobe:
        yield name + b".xmp"


def _is_only_owner(stem: bytes, extension: bytes, listing: _Listing) -> bool:
    """Whether `IMG.xmp` can only be meant for this photo: the one RAW file, or the one photo, of its stem."""
    others = listing.photos.get(stem.lower(), set()) - {extension}
    return not (others & RAW_EXTENSIONS if extension in PROPRIETARY_EXTENSIONS else others)


def _list(folder: bytes) -> _Listing:
    try:
        changed_ns = os.stat(folder or b".").st_mtime_ns
        kept = _listings.get(folder)
        if kept is not None and (
            time.monotonic() < kept.until_s or (kept.settled and kept.changed_ns == changed_ns)
        ):
            return kept
        listing = _listed(folder, changed_ns)
    except OSError:
        return _Listing({}, {}, 0, False, 0.0)
    if len(_listings) >= LISTINGS:
        _listings.clear()
    _listings[folder] = listing
    return listing


def _listed(folder: bytes, changed_ns: int) -> _Listing:
    start_s = time.monotonic()
    settled = abs(time.time_ns() - changed_ns) > SETTLED_NS
    sidecars: dict[bytes, list[bytes]] = {}
    photos: dict[bytes, set[bytes]] = {}
    for name in os.listdir(folder or b"."):
        stem, extension = split_name(name.lower())
        if extension == b"xmp":
            sidecars.setdefault(name.lower(), []).append(name)
        elif extension in PHOTO_EXTENSIONS:
            photos.setdefault(stem, set()).add(extension)
    end_s = time.monotonic()
    return _Listing(sidecars, photos, changed_ns, settled, end_s + REUSED_TIMES * (end_s - start_s))
