"""What does a rescan of a library cost in which nothing changed?

Makes a tree of empty files that the catalog knows, then walks it in turns: `os.scandir` and `stat`
alone (the least that any scan must do), the same and the catalog's folder listings, and the scan
itself. CPU seconds, the least of the rounds. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from catalogd.catalog import Catalog
from catalogd.pipeline.scan import Rules, scan
from catalogd.records import Change, Facts, Record, Stat
from catalogd.settings import Settings

PROFILE = b"bench---"
FILES_A_FOLDER = 250
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=500_000)
    parser.add_argument("--folder", help="where to write (default: the folder for temporary files)")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-rescan-", dir=arguments.folder))
    try:
        root = os.fsencode(folder / "photos")
        _make_tree(root, arguments.photos)
        with Catalog.open(folder / "catalog", Settings(), write=True) as catalog:
            _make_known(catalog, root)
            print(json.dumps(_measure(catalog, root, arguments.photos)))
    finally:
        shutil.rmtree(folder)


def _make_tree(root: bytes, photos: int) -> None:
    for first in range(0, photos, FILES_A_FOLDER):
        folder = b"%s/%04d/%06d" % (root, first // 25_000, first // FILES_A_FOLDER)
        os.makedirs(folder)
        for number in range(first, min(photos, first + FILES_A_FOLDER)):
            os.close(os.open(b"%s/IMG_%07d.jpg" % (folder, number), os.O_CREAT | os.O_WRONLY))


def _make_known(catalog: Catalog, root: bytes) -> None:
    changes: list[Change] = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            status = os.stat(path)
            stat = Stat(status.st_size, status.st_mtime_ns)
            changes.append(Record(path, stat, len(changes).to_bytes(16, "big"), Facts("jpeg", 1, 1), {}))
        if len(changes) >= 20_000:
            catalog.commit(changes, PROFILE)
            changes = []
    catalog.commit(changes, PROFILE)


def _measure(catalog: Catalog, root: bytes, photos: int) -> dict[str, object]:
    def scanned() -> int:
        rules = Rules(frozenset({b"jpg"}))
        return sum(folder.unchanged for folder in scan(root, catalog.folder_entries, PROFILE, rules))

    ways: dict[str, Callable[[], int]] = {
        "scandir and stat": lambda: _walk(root, None),
        "and folder listings": lambda: _walk(root, catalog.folder_entries),
        "scan": scanned,
    }
    cpu_s = {name: min(_cpu_s(way, photos) for _ in range(ROUNDS)) for name, way in ways.items()}
    least = cpu_s["scandir and stat"]
    return {
        "bench": "rescan",
        "photos": photos,
        "cpu_s": {name: round(seconds, 2) for name, seconds in cpu_s.items()},
        "listing_us_a_photo": round((cpu_s["and folder listings"] - least) / photos * 1e6, 2),
        "ratio": round(cpu_s["scan"] / least, 2),
    }


def _cpu_s(way: Callable[[], int], photos: int) -> float:
    start = time.process_time()
    found = way()
    seconds = time.process_time() - start
    assert found == photos, f"{found} of {photos} photos"
    return seconds


def _walk(root: bytes, known: Callable[[bytes], dict[bytes, bytes]] | None) -> int:
    """Every file's `stat`, and the folder's listing where `known` is given; returns how many files."""
    pending, files = [root], 0
    while pending:
        folder = pending.pop()
        if known is not None:
            known(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    files += 1
    return files


if __name__ == "__main__":
    main()
