"""What does a rescan of an unchanged library cost, against a walk that only stats?

Makes empty .jpg files in many folders and a catalog that knows them all, in a temporary folder that is
deleted afterwards. Ours: `scan` with the catalog's folder entries, as the daemon's scan thread calls it.
Baseline: `os.scandir` of every folder and `stat` of every file. CPU time, least of the rounds, in turns.

    python bench/bench_rescan.py [--files 500000] [--folders 2000] [--sidecars]

With `--sidecars` every photo has one, and the baseline stats them too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from measure import report, timed
from synthetic import PROFILE, fill_to_rescan

from catalogd.catalog import Catalog
from catalogd.images import PHOTO_EXTENSIONS
from catalogd.pipeline.scan import Rules, scan
from catalogd.records import SidecarsKnown, Stat
from catalogd.settings import Settings

ROUNDS = 5
REACH = 2.0


def make_library(root: Path, files: int, folders: int, sidecars: bool) -> None:
    for folder in range(folders):
        path = root / f"{2000 + folder % 20}" / f"Trip {folder:04}"
        path.mkdir(parents=True)
        for number in range(folder, files, folders):
            os.close(os.open(path / f"IMG_{number:06}.jpg", os.O_CREAT | os.O_WRONLY))
            if sidecars:
                os.close(os.open(path / f"IMG_{number:06}.jpg.xmp", os.O_CREAT | os.O_WRONLY))


def walk(root: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every file with its stat: the least that any scan must do."""
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    yield entry.path, entry.stat(follow_symlinks=False)


def plain_walk(root: bytes) -> int:
    """The same, without a generator's step a file: the honest baseline."""
    pending, count = [root], 0
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    count += 1
    return count


def rescan(root: bytes, catalog: Catalog) -> int:
    """The number of unchanged photos; anything else is an error of the bench."""
    unchanged = 0
    rules = Rules(PHOTO_EXTENSIONS)
    for folder in scan(root, catalog.folder_entries, PROFILE, rules, known_sidecars=catalog.folder_sidecars):
        if folder.work or folder.gone or folder.error or folder.sidecars:
            raise SystemExit(f"{folder.path!r} is not unchanged")
        unchanged += folder.unchanged
    return unchanged


def know_sidecars(catalog: Catalog, files: Iterable[tuple[bytes, Stat]]) -> None:
    """Make the sidecars among these files known, as a run does that has read them."""
    by_folder: dict[bytes, dict[bytes, Stat | None]] = {}
    for path, stat in files:
        if path.endswith(b".xmp"):
            by_folder.setdefault(os.path.dirname(path), {})[os.path.basename(path)] = stat
    catalog.commit([SidecarsKnown(*known) for known in by_folder.items()], PROFILE)


def measure(root: bytes, catalog: Catalog, files: int, sidecars: bool) -> None:
    ours: list[float] = []
    baseline: list[float] = []
    lookups: list[float] = []
    folders = catalog.folders_under(root)
    for round_number in range(ROUNDS + 1):
        times = (
            timed(lambda: rescan(root, catalog), time.process_time),
            timed(lambda: plain_walk(root), time.process_time),
            timed(lambda: [catalog.folder_entries(folder) for folder in folders], time.process_time),
        )
        if round_number:  # the first fills the caches
            for results, took in zip((ours, baseline, lookups), times, strict=True):
                results.append(took)
    if rescan(root, catalog) != files:
        raise SystemExit("not every file is known")
    report(
        f"unchanged rescan of {files} files in {len(folders)} folders{', each with a sidecar' * sidecars}",
        ours={"cpu_s": round(min(ours), 2)},
        baseline={"cpu_s": round(min(baseline), 2)},
        ratio=min(ours) / min(baseline),
        reach=REACH,
        of_which_catalog_cpu_s=min(lookups),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500_000)
    parser.add_argument("--folders", type=int, default=2_000)
    parser.add_argument("--sidecars", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        library, folder = Path(name) / "library", Path(name) / "catalog"
        make_library(library, arguments.files, arguments.folders, arguments.sidecars)
        root = os.fsencode(library)
        found = [(path, Stat(stat.st_size, stat.st_mtime_ns)) for path, stat in walk(root)]
        fill_to_rescan(folder, (file for file in found if not file[0].endswith(b".xmp")))
        with Catalog.open(folder, Settings(catalog=folder), write=True) as catalog:
            know_sidecars(catalog, found)
        with Catalog.open(folder, Settings(catalog=folder)) as catalog:
            measure(root, catalog, arguments.files, arguments.sidecars)


if __name__ == "__main__":
    main()
