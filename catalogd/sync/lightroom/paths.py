"""Where the photos of a Lightroom catalog are on this machine.

Lightroom names folders as its own system does: `D:/Photos/`, `/Volumes/Card/`, `//server/share/`. A map
from the beginnings of such paths to folders here tells where they are; the longest beginning counts.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from catalogd.errors import UsageError
from catalogd.sync.lightroom.reading import Root

PROBES = 3  # photos that have to lie below a folder before it is suggested
_WINDOWS = re.compile(r"[A-Za-z]:|//[^/]")


class Mapping(NamedTuple):
    """A beginning of paths in Lightroom, and the folder here that it is."""

    start: str  # "D:/Photos", without "/" at its end
    to: str


class PathMap:
    """Beginnings of paths in Lightroom → folders here."""

    def __init__(self, mappings: Iterable[Mapping] = ()) -> None:
        self._mappings = sorted(mappings, key=lambda mapping: -len(mapping.start))

    @classmethod
    def read(cls, texts: Iterable[str]) -> PathMap:
        """From `FROM=TO` as a person types it. Raises UsageError."""
        return cls([_read_mapping(text) for text in texts])

    def mapped(self, path: str) -> str | None:
        """The path here; None where no mapping says."""
        for mapping in self._mappings:
            rest = _rest_behind(mapping.start, path)
            if rest is not None:
                return f"{mapping.to}/{rest}".rstrip("/") or "/"
        return None


def _read_mapping(text: str) -> Mapping:
    start, equals, to = text.partition("=")
    start = _with_slashes(start.strip())
    if not equals or not start or not to.strip():
        raise UsageError(f"--map takes FROM=TO, such as D:/Photos=/mnt/photos, not {text}")
    target = os.path.expanduser(to.strip())
    if not os.path.isabs(target):
        raise UsageError(
            f"--map {text}: {to.strip()} is no absolute path; write where the folder is on this machine"
        )
    return Mapping(start.rstrip("/") or "/", os.path.normpath(target).rstrip("/"))


def _with_slashes(path: str) -> str:
    """Windows spells paths with backslashes; elsewhere one is a part of a name."""
    is_windows = re.match(r"[A-Za-z]:|\\\\", path) is not None
    return path.replace("\\", "/") if is_windows else path


def is_windows_path(path: str) -> bool:
    """Of a drive, or of a server's share."""
    return _WINDOWS.match(_with_slashes(path)) is not None


def _rest_behind(start: str, path: str) -> str | None:
    """What of a path follows a beginning that ends at a "/"; None: it does not begin so.

    However accents are composed, and on Windows whatever the case. The rest stays as it is spelled.
    """
    names, wanted = _with_slashes(path).split("/"), start.rstrip("/").split("/")
    fold = str.casefold if is_windows_path(start) else str
    begins = len(names) >= len(wanted) and all(
        fold(unicodedata.normalize("NFC", name)) == fold(unicodedata.normalize("NFC", want))
        for name, want in zip(names, wanted, strict=False)
    )
    return "/".join(names[len(wanted) :]) if begins else None


class Place(NamedTuple):
    """Where a root folder of Lightroom is here."""

    root: Root
    folder: str | None  # absolute, without "/" at its end; None: nowhere that this machine could have
    how: str  # "map", "as_it_is", "beside_the_catalog"

    def path_of(self, rest: str) -> bytes | None:
        """The path of a file below the root; None where there can be none."""
        if self.folder is None:
            return None
        path = f"{self.folder}/{rest}"
        return None if "\0" in path or ".." in rest.split("/") else os.fsencode(path)

    @property
    def exists(self) -> bool:
        return self.folder is not None and os.path.isdir(self.folder)


def place_of(root: Root, paths: PathMap, catalog_file: Path) -> Place:
    """By the map; else where Lightroom says; else as the folder lies to the catalog, when both were moved."""
    mapped = paths.mapped(root.path)
    if mapped is not None:
        return Place(root, mapped, "map")
    as_it_is = None if is_windows_path(root.path) or not root.path.startswith("/") else root.path.rstrip("/")
    if as_it_is is not None and os.path.isdir(as_it_is):
        return Place(root, as_it_is, "as_it_is")
    if root.relative is not None:
        beside = os.path.normpath(catalog_file.parent / root.relative.replace("\\", "/"))
        if os.path.isdir(beside):
            return Place(root, beside, "beside_the_catalog")
    return Place(root, as_it_is, "as_it_is")


def suggested(root: Root, missing: Sequence[str], libraries: Iterable[str]) -> Mapping | None:
    """The mapping by which photos that were not found are below one of catalogd's libraries.

    `missing`: some paths from the root on. The more of the path they share with the library the better.
    """
    found = (
        mapping for library in libraries for mapping in _ways(root, library.rstrip("/"), missing[:PROBES])
    )
    return next(found, None)


def _ways(root: Root, library: str, probes: Sequence[str]) -> Iterator[Mapping]:
    """Ways to lay the root over a library under which all probes are there."""
    names = [
        name for name in _with_slashes(root.path).split("/") if name and not re.fullmatch("[A-Za-z]:", name)
    ]
    for cut in range(len(names) + 1):
        kept = names[cut:]
        folder = PurePosixPath(library, *kept)
        if probes and all(os.path.lexists(folder / probe) for probe in probes):
            whole = _with_slashes(root.path).rstrip("/")
            start = whole[: len(whole) - len("/".join(kept)) - bool(kept)] if kept else whole
            yield Mapping(start or "/", library)
    yield from _deeper(root, library, probes)


def _deeper(root: Root, library: str, probes: Sequence[str]) -> Iterator[Mapping]:
    """The library may be a folder in the root."""
    shared = os.path.commonpath([os.path.dirname(probe) for probe in probes]) if probes else ""
    names = [name for name in shared.split("/") if name]
    for cut in range(1, len(names) + 1):
        start = "/".join(names[:cut])
        if all(os.path.lexists(f"{library}/{probe[len(start) + 1 :]}") for probe in probes):
            yield Mapping(f"{_with_slashes(root.path).rstrip('/')}/{start}", library)
