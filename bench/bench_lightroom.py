"""What the import of a Lightroom catalog costs: time, memory, and a second and an edited import.

    python bench/bench_lightroom.py [--images 200000] [--keep FOLDER]

The catalog is made here: photos with 3 of 5,000 keywords, XMP packets of 6 kB of which one in ten has a
title (`--titles 1`: all), positions, places, faces, develop settings, 50 collections and 20 smart ones.
catalogd has indexed none of the photos: what is measured is reading and giving. Baseline: reading the same
tables with SQLite alone, row by row.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import measure

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.sync.lightroom.lrcat import LrCatalog, compressed, packet, uuid_of

KEYWORDS = 5_000
COLLECTIONS = 50
FOLDER_PHOTOS = 500
PACKETS = 200  # different ones; each is 6 kB, as after some editing
RULES = 's = { { criteria = "rating", operation = ">=", value = 3 }, combine = "intersect" }'
SCRIPT = """
import json, resource, sys, time
from pathlib import Path
from catalogd.sync.lightroom import PathMap, import_catalog
peaks = []
def tell(done, total):
    with open("/proc/self/status") as stream:  # its own memory, not mapped files
        peaks.append(next(int(line.split()[1]) << 10 for line in stream if line.startswith("RssAnon")))
started, cpu = time.monotonic(), time.process_time()
file, catalog, dry = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "dry"
report = import_catalog(file, catalog, PathMap(), dry_run=dry, tell=tell)
tenth = max(1, len(peaks) // 10)
wall_s, cpu_s = time.monotonic() - started, time.process_time() - cpu
print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "taken": report.taken, "unchanged": report.unchanged,
    "own_after_tenth_mb": peaks[tenth - 1] >> 20, "own_end_mb": peaks[-1] >> 20,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}))
"""


def make(file: Path, images: int, untitled: int) -> None:
    """A catalog with so many photos, of which one in `untitled` has a title."""
    dice = random.Random(1)
    made = LrCatalog(file)
    root = made.root("/library/photos/")
    folders = [made.folder(root, f"{2000 + n // 40}/{n:05d}/") for n in range(-(-images // FOLDER_PHOTOS))]
    keywords = [made.keyword(f"keyword {n}", synonyms=(f"synonym {n}",)) for n in range(KEYWORDS)]
    people = [made.keyword(f"Person {n}", person=True) for n in range(200)]
    packets = [_packet(dice, n, n % untitled == 0) for n in range(PACKETS)]
    city = made.add("AgInternedIptcCity", value="Bergen")
    collections = [made.collection(f"Collection {n}") for n in range(COLLECTIONS)]
    for n in range(20):
        made.smart(f"Smart {n}", RULES)
    numbers = range(1, images + 1)
    many = made.db.executemany
    many(
        "INSERT INTO AgLibraryFile(id_local, id_global, baseName, extension, idx_filename, folder) "
        "VALUES (?, ?, ?, 'jpg', ?, ?)",
        ((n, f"F{n}", f"IMG_{n}", f"IMG_{n}.jpg", folders[(n - 1) // FOLDER_PHOTOS]) for n in numbers),
    )
    many(
        "INSERT INTO Adobe_images(id_local, id_global, rootFile, rating, pick, colorLabels, fileFormat, "
        "fileWidth, fileHeight, touchTime) VALUES (?, ?, ?, ?, ?, ?, 'JPG', 6000.0, 4000.0, ?)",
        (
            (n, uuid_of(n), n, float(n % 6) or None, float(n % 7 == 0), "Red" if n % 9 == 0 else "", 7e8 + n)
            for n in numbers
        ),
    )
    many(
        "INSERT INTO AgLibraryKeywordImage(image, tag) VALUES (?, ?)",
        ((n, dice.choice(keywords)) for n in numbers for _ in range(3)),
    )
    many(
        "INSERT INTO Adobe_AdditionalMetadata(id_global, image, xmp) VALUES (?, ?, ?)",
        ((f"M{n}", n, packets[n % PACKETS]) for n in numbers),
    )
    many(
        "INSERT INTO AgLibraryIPTC(image, caption) VALUES (?, ?)",
        ((n, f"Caption {n}") for n in numbers if n % 5 == 0),
    )
    many(
        "INSERT INTO AgHarvestedExifMetadata(image, gpsLatitude, gpsLongitude, hasGPS) VALUES (?, ?, ?, 1.0)",
        ((n, 60 + n / images, 5 + n / images) for n in numbers if n % 3 == 0),
    )
    many(
        "INSERT INTO AgHarvestedIptcMetadata(image, cityRef) VALUES (?, ?)",
        ((n, city) for n in numbers if n % 4 == 0),
    )
    many(
        "INSERT INTO Adobe_imageDevelopSettings(image, hasDevelopAdjustments, croppedWidth, croppedHeight) "
        "VALUES (?, ?, 6000.0, 4000.0)",
        ((n, float(n % 2)) for n in numbers),
    )
    many(
        "INSERT INTO AgLibraryCollectionImage(collection, image, positionInCollection) VALUES (?, ?, ?)",
        ((collections[n % COLLECTIONS], n, f"{n:08d}") for n in numbers if n % 2 == 0),
    )
    faces = [n for n in numbers if n % 20 == 0]
    many(
        "INSERT INTO AgLibraryFace(id_local, image, tl_x, tl_y, tr_x, tr_y, bl_x, bl_y, br_x, br_y) "
        "VALUES (?, ?, 0.1, 0.1, 0.3, 0.1, 0.1, 0.4, 0.3, 0.4)",
        ((n, n) for n in faces),
    )
    many(
        "INSERT INTO AgLibraryKeywordFace(face, tag, userPick) VALUES (?, ?, 1)",
        ((n, dice.choice(people)) for n in faces),
    )
    made.close()


def _packet(dice: random.Random, number: int, has_title: bool) -> bytes:
    settings = "".join(f"<crs:Setting{n}>{dice.random():.6f}</crs:Setting{n}>" for n in range(140))
    return compressed(packet(f"Title {number}" if has_title else None, more=settings))


def imported(file: Path, catalog: Path, dry: bool = False) -> dict[str, float]:
    import json

    command = [sys.executable, "-c", SCRIPT, str(file), str(catalog), "dry" if dry else "wet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def plain_rows(file: Path) -> int:
    """The rows that an import reads, with SQLite alone."""
    tables = (
        "Adobe_images", "AgLibraryFile", "AgLibraryKeywordImage", "Adobe_AdditionalMetadata", "AgLibraryIPTC",
        "AgHarvestedExifMetadata", "AgHarvestedIptcMetadata", "Adobe_imageDevelopSettings",
        "AgLibraryCollectionImage", "AgLibraryFace", "AgLibraryKeywordFace",
    )  # fmt: skip
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as db:
        return sum(1 for table in tables for _ in db.execute(f"SELECT * FROM {table}"))


@contextlib.contextmanager
def place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="catalogd-bench-") as folder:
        yield Path(folder)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=200_000)
    arguments.add_argument("--titles", type=int, default=10, help="one photo in so many has a title")
    arguments.add_argument("--keep", type=Path)
    chosen = arguments.parse_args()
    with place(chosen.keep) as folder:
        file, catalog = folder / f"{chosen.images}.lrcat", folder / f"catalog{chosen.images}"
        if not file.exists():
            make(file, chosen.images, chosen.titles)
        shutil.rmtree(catalog, ignore_errors=True)
        baseline = measure.timed(lambda: plain_rows(file))
        size = {"images": chosen.images, "file_mb": file.stat().st_size >> 20, "plain_sqlite_s": baseline}
        for question, dry in (("dry run", True), ("first import", False), ("second import", False)):
            found = imported(file, catalog, dry)
            measure.report(
                f"lightroom: {question}",
                **size,
                **found,
                images_s=chosen.images / found["wall_s"],
                ratio=found["cpu_s"] / baseline,
            )
        with contextlib.closing(sqlite3.connect(file)) as db, db:
            db.execute("UPDATE Adobe_images SET rating = 5 WHERE id_local % 1000 = 1")
        measure.report("lightroom: one in a thousand edited", **size, **imported(file, catalog))
        (folder / f"{file.name}.lock").touch()
        measure.report("lightroom: open in Lightroom (a copy is read)", **size, **imported(file, catalog))
        (folder / f"{file.name}.lock").unlink()
        measure.report("bench itself", peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)


if __name__ == "__main__":
    main()
