"""What it costs to give what was set in Lightroom, and to let the records follow.

    python bench/bench_given.py [--photos 20000] [--page 500]

The catalog is made here, of records without models' outputs but tags, like those of bench_select.py. Three
questions: giving photos that are in the catalog (a page a transaction), the records' following (with their
rows of columns), and giving them again unchanged. Baseline: writing the same records once more, in commits
of a page.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import measure

from catalogd.catalog import Catalog
from catalogd.catalog.given import Given
from catalogd.catalog.user_data import UserData
from catalogd.records import Facts, Output, Record, Stat, Tag, UserFacts
from catalogd.settings import Settings

PROFILE = b"profile1"
FOLDER_PHOTOS = 500
SETTINGS = Settings()


def path_of(number: int) -> bytes:
    return f"/library/photos/{number // FOLDER_PHOTOS:05d}/IMG_{number}.jpg".encode()


def record(number: int) -> Record:
    tags = tuple(Tag(f"tag {(number * 7 + n) % 900}", 0.5) for n in range(12))
    facts = Facts(
        "jpeg", 6000, 4000, camera="NIKON Z 8", taken_at="2024-05-01T17:30:15", iso=640, aperture=2.8
    )
    return Record(
        path_of(number),
        Stat(1000 + number, 1),
        number.to_bytes(16, "big"),
        facts,
        {"tagger": Output("t", tags=tags)},
    )


def given(number: int) -> Given:
    facts = UserFacts(
        rating=number % 6,
        pick=number % 2,
        title=f"title {number}",
        keywords=(f"keyword {number % 500}", f"keyword {number % 77}", "holiday"),
        keyword_paths=(f"Travel|keyword {number % 500}",),
        collections=(f"Set/{number % 50}",),
        changed_at=7e8 + number,
    )
    return Given(f"{number:08X}-1111-2222-3333-444444444444", path_of(number), facts)


def own_mb() -> int:
    """Memory of this process without the pages of its mapped files."""
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) >> 10 for line in stream if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--page", type=int, default=500)
    asked = parser.parse_args()
    pages = [
        range(start, min(start + asked.page, asked.photos)) for start in range(0, asked.photos, asked.page)
    ]
    with tempfile.TemporaryDirectory() as folder, Catalog.open(Path(folder), SETTINGS, write=True) as catalog:

        def commit() -> None:
            for page in pages:
                catalog.commit([record(number) for number in page], PROFILE)

        commit()
        again_s = cost(commit)
        catalog.follow_given()
        with UserData(Path(folder)) as user:

            def give() -> int:
                return sum(user.give("lightroom", [given(number) for number in page]).taken for page in pages)

            before = own_mb()
            give_s = cost(give)
            follow_s = cost(catalog.follow_given)
            unchanged_s = cost(give)
            for name, (wall, cpu) in {"give": give_s, "follow": follow_s, "give again": unchanged_s}.items():
                measure.report(
                    f"given: {name}",
                    photos=asked.photos,
                    wall_s=round(wall, 2),
                    cpu_s=round(cpu, 2),
                    us_a_photo=round(cpu / asked.photos * 1e6, 1),
                    ratio_to_commit=round(cpu / again_s[1], 2),
                    grown_mb=own_mb() - before,
                )


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
