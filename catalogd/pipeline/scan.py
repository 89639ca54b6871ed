"""One walk over a library, folder by folder, that names what is new, changed or gone.

Runs in the daemon (a thread of it), streams, and keeps nothing. An unchanged photo costs its
`stat` and its step in the catalog's folder listing, and nothing else; so does a sidecar. Paths are
bytes, as the file system spells them: names with newlines or invalid UTF-8 are names like any other.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from catalogd.records import Stat

# Folders that other programs fill with previews, indexes or rubbish.
_SKIPPED_NAMES = frozenset(
    (
        b"@eadir",
        b"#recycle",
        b"#snapshot",
        b"$recycle.bin",
        b"system volume information",
        b"lost+found",
        b"trash",
    )
)
_SKIPPED_SUFFIXES = (b".lrdata", b".lrcat-data", b".cocatalogdb", b".aplibrary", b".migratedphotolibrary")

# Known(folder) → {name: entry}; an entry is size, mtime_ns, photo_id, profile key (docs/formats.md).
Known = Callable[[bytes], dict[bytes, bytes]]
# Of sidecars: {name: entry}; an entry is size, mtime_ns.
_ENTRY = struct.Struct(">qqq8s")
_KEY = struct.Struct(">qq")
_KEY_BYTES = _KEY.size
_NO_PHOTO = bytes(8)


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a scan looks at. Patterns match a name anywhere, or, with a `/` in it, the path below the root."""

    extensions: frozenset[bytes]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    skipped: bytes | None = None  # a folder that holds none: the catalog, with a thumbnail of every photo


@dataclasses.dataclass(frozen=True)
class FolderScan:
    """One folder as the scan found it."""

    path: bytes
    work: list[bytes]  # names of photos that are new, changed, or whose outputs are stale
    gone: list[bytes]  # names that the catalog knows and the folder has no more
    unchanged: int
    error: str | None = None  # it could not be listed: nothing in it or below it counts as gone
    # Sidecars that are new, changed or (None) gone, where the folder has photos.
    sidecars: dict[bytes, Stat | None] = dataclasses.field(default_factory=dict)
    # Photos that the catalog knows, with those of `sidecars` that are theirs by name; they may be work, too.
    beside: dict[bytes, dict[bytes, Stat | None]] = dataclasses.field(default_factory=dict)


class _Found(NamedTuple):
    """What one listing of a folder gave."""

    scanned: FolderScan
    subfolders: list[bytes]
    sidecars: list[os.DirEntry[bytes]]


def scan(
    root: bytes,
    known: Known,
    profile_key: bytes,
    rules: Rules,
    recurse: bool = True,
    start: bytes | None = None,
    known_sidecars: Known | None = None,
) -> Iterator[FolderScan]:
    """Walk `root` and yield every folder once; folders that can't be read are yielded with their error.

    `start` is the folder at or below `root` to begin at; nothing is yielded when a walk from `root`
    would not enter it. Without `known_sidecars` nothing is told of sidecars.
    """
    wanted = _Filter(root, rules)
    start = root if start is None else start
    if not wanted.reaches(start):
        return
    pending = [(start, _ancestry(start) if rules.follow_symlinks else frozenset())]
    while pending:
        folder, above = pending.pop()
        try:
            entries = os.scandir(folder)
        except OSError as error:
            yield FolderScan(folder, [], [], 0, f"{type(error).__name__}: {error.strerror}")
            continue
        with entries:
            found = _scan_folder(folder, entries, known(folder), profile_key, wanted)
        scanned = found.scanned
        if known_sidecars is not None and not scanned.error:
            changed = _changed_sidecars(found.sidecars, known_sidecars(folder))
            if changed:
                scanned = _with_sidecars(scanned, changed, known(folder), wanted)
        yield scanned
        if recurse:
            pending += _descend(found.subfolders, above, rules.follow_symlinks)


def is_wanted(path: bytes, root: bytes, rules: Rules) -> bool:
    """Whether a scan of `root` would look at this photo, if it is there."""
    wanted = _Filter(root, rules)
    folder, name = os.path.split(path)
    is_photo = name[name.rfind(b".") + 1 :].lower() in rules.extensions and not name.startswith(b".")
    return is_photo and wanted.reaches(folder) and wanted.file(path)


def _scan_folder(
    folder: bytes,
    entries: Iterator[os.DirEntry[bytes]],
    known: dict[bytes, bytes],
    profile_key: bytes,
    wanted: _Filter,
) -> _Found:
    """The inner loop: one `stat` and one dictionary step a photo."""
    work: list[bytes] = []
    subfolders: list[bytes] = []
    sidecars: list[os.DirEntry[bytes]] = []
    unchanged = 0
    error = None
    follow, extensions, pack = wanted.follow_symlinks, wanted.extensions, _KEY.pack
    try:
        for entry in entries:
            name = entry.name
            if name[name.rfind(b".") + 1 :].lower() in extensions and name[0] != 46:
                if not entry.is_file(follow_symlinks=follow):
                    if not entry.is_dir(follow_symlinks=follow):
                        continue
                else:
                    try:
                        stat = entry.stat(follow_symlinks=follow)
                    except FileNotFoundError:  # removed a moment ago
                        continue
                    if wanted.patterns and not wanted.file(entry.path):
                        continue
                    entry_bytes = known.pop(name, None)
                    if (
                        entry_bytes is not None
                        and entry_bytes[:_KEY_BYTES] == pack(stat.st_size, stat.st_mtime_ns)
                        and (entry_bytes[24:] == profile_key or entry_bytes[16:24] == _NO_PHOTO)
                    ):
                        unchanged += 1
                    else:
                        work.append(name)
                    continue
            if name[-4:].lower() == b".xmp":
                sidecars.append(entry)
            if entry.is_dir(follow_symlinks=follow) and wanted.folder(entry.path):
                subfolders.append(entry.path)
    except OSError as failed:  # the folder's disk went away in the middle
        error = f"{type(failed).__name__}: {failed.strerror}"
    work.sort()
    gone = (
        []
        if error
        else [name for name in known if not wanted.patterns or wanted.file(os.path.join(folder, name))]
    )
    return _Found(FolderScan(folder, work, gone, unchanged, error), subfolders, sidecars)


def _changed_sidecars(
    found: Iterable[os.DirEntry[bytes]], known: dict[bytes, bytes]
) -> dict[bytes, Stat | None]:
    """The sidecars that are not as they are known, and None for those that are gone."""
    changed: dict[bytes, Stat | None] = {}
    pack = _KEY.pack
    for entry in found:
        try:
            stat = entry.stat()  # through a link, as it is read
        except OSError:  # removed a moment ago, or a link that leads nowhere
            continue
        if known.pop(entry.name, None) != pack(stat.st_size, stat.st_mtime_ns):
            changed[entry.name] = Stat(stat.st_size, stat.st_mtime_ns)
    return {**changed, **dict.fromkeys(known)}


def _with_sidecars(
    scanned: FolderScan, changed: dict[bytes, Stat | None], known: dict[bytes, bytes], wanted: _Filter
) -> FolderScan:
    """The scan with the changed sidecars and whose they are: `IMG.NEF.xmp`, or `IMG.xmp` for every IMG."""
    names = known.keys() - set(scanned.gone)
    if wanted.patterns:
        names = {name for name in names if wanted.file(os.path.join(scanned.path, name))}
    if not names and not scanned.work:
        return scanned
    by_start: dict[bytes, dict[bytes, Stat | None]] = {}
    for name, stat in changed.items():
        by_start.setdefault(name[:-4].lower(), {})[name] = stat
    beside = {}
    for photo in sorted(names):
        name = photo.lower()
        theirs = {**by_start.get(name, {}), **by_start.get(name.rpartition(b".")[0], {})}
        if theirs:
            beside[photo] = theirs
    return dataclasses.replace(scanned, sidecars=changed, beside=beside)


def _descend(
    subfolders: list[bytes], above: frozenset[tuple[int, int]], follow: bool
) -> list[tuple[bytes, frozenset[tuple[int, int]]]]:
    """The folders to visit next, in name order; through symbolic links, never one that is above itself."""
    subfolders.sort(reverse=True)
    if not follow:
        return [(path, above) for path in subfolders]
    result = []
    for path in subfolders:
        try:
            stat = os.stat(path)
        except OSError:
            continue
        identity = (stat.st_dev, stat.st_ino)
        if identity not in above:
            result.append((path, above | {identity}))
    return result


def _ancestry(root: bytes) -> frozenset[tuple[int, int]]:
    try:
        stat = os.stat(root)
    except OSError:
        return frozenset()
    return frozenset({(stat.st_dev, stat.st_ino)})


class _Filter:
    """The rules, ready to be asked about each entry."""

    def __init__(self, root: bytes, rules: Rules) -> None:
        self.follow_symlinks = rules.follow_symlinks
        self.extensions = rules.extensions
        self.patterns = bool(rules.include or rules.exclude)
        self._skipped = rules.skipped
        self._root = root.rstrip(b"/") + b"/"
        self._include = [_compiled(pattern) for pattern in rules.include]
        self._exclude = [_compiled(pattern) for pattern in rules.exclude]

    def folder(self, path: bytes) -> bool:
        name = path.rpartition(b"/")[2].lower()
        if name.startswith(b".") or name in _SKIPPED_NAMES or name.endswith(_SKIPPED_SUFFIXES):
            return False
        if (os.path.realpath(path) if self.follow_symlinks else path) == self._skipped:
            return False
        return not self._matches(self._exclude, path)

    def reaches(self, folder: bytes) -> bool:
        """Whether a walk from the root enters this folder: nothing on the way is skipped, or a link."""
        path = self._root.rstrip(b"/")
        below = folder.rstrip(b"/").removeprefix(path)
        for part in below.split(b"/")[1:]:
            path += b"/" + part
            if not self.folder(path) or (not self.follow_symlinks and os.path.islink(path)):
                return False
        return path == folder.rstrip(b"/")

    def file(self, path: bytes) -> bool:
        if self._exclude and self._matches(self._exclude, path):
            return False
        return not self._include or self._matches(self._include, path)

    def _matches(self, patterns: list[tuple[bool, re.Pattern[bytes]]], path: bytes) -> bool:
        below = path.removeprefix(self._root)
        name = path.rpartition(b"/")[2]
        return any(pattern.match(below if whole else name) for whole, pattern in patterns)


def _compiled(pattern: str) -> tuple[bool, re.Pattern[bytes]]:
    raw = os.fsencode(pattern).strip(b"/") if "/" in pattern.strip("/") else os.fsencode(pattern.strip("/"))
    return b"/" in raw, re.compile(fnmatch.translate(raw.decode("latin-1")).encode("latin-1"))
