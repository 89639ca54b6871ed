"""The photos that `catalogd run --only` names, in the place of a scan."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator

from catalogd.catalog import Catalog
from catalogd.daemon.watch import is_within
from catalogd.pipeline.scan import FolderScan


class ChosenPhotos:
    """Finds what was chosen, and nothing else: no folder is listed, no photo counts as gone.

    Has the attributes of a `Scanner` that the daemon asks for.
    """

    busy = False
    broken: Exception | None = None
    unchanged = 0

    def __init__(self, catalog: Catalog, photo_ids: Iterable[int], roots: list[bytes]) -> None:
        """The photos at or below `roots`, of all folders when there are none."""
        self.gone: collections.deque[bytes] = collections.deque()
        self.errors: collections.deque[str] = collections.deque()
        self._folders = collections.deque(_folders(_paths(catalog, list(photo_ids), roots)))

    def take(self) -> FolderScan | None:
        """The next folder with chosen photos."""
        return self._folders.popleft() if self._folders else None

    @property
    def found_any(self) -> bool:
        return bool(self._folders)

    @property
    def waiting(self) -> int:
        return sum(len(folder.work) for folder in self._folders)

    def look_again(self, folders: set[bytes]) -> None:
        """What changes meanwhile is for a run that scans."""

    def look_below(self, folder: bytes) -> None:
        """The same."""

    def stop(self) -> None:
        """There is nothing to stop."""


def _paths(catalog: Catalog, photo_ids: list[int], roots: list[bytes]) -> Iterator[bytes]:
    for record in catalog.iter_records_of(photo_ids):
        is_inside = not roots or any(is_within(record.path, root) for root in roots)
        if record.missing_since is None and is_inside:
            yield record.path


def _folders(paths: Iterable[bytes]) -> Iterator[FolderScan]:
    names: dict[bytes, list[bytes]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        names.setdefault(folder, []).append(name)
    for folder, work in sorted(names.items()):
        yield FolderScan(folder, work, [], 0)
