"""How fast are outputs made anew out of the records, without reading photos?

A library whose embeddings are known and whose head of aesthetics is another one now: one run with its scan,
its deriving process and its writer. Baseline: what the starter's models alone need to see a photo again.

    python bench/bench_derived.py [--photos 20000] [--dimensions 768]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measure import report

from catalogd.catalog import Catalog
from catalogd.daemon import Daemon
from catalogd.images import READ_VERSION
from catalogd.models.devices import Device
from catalogd.records import Facts, Output, Record, Stat
from catalogd.settings import Settings

STARTER_CPU_S = 0.232  # of all models for one photo without text (bench_models.py cpu)
DIMENSIONS = 768
FOLDER_PHOTOS = 1000


class Embedder:
    """Has seen every photo already."""

    name = "embedding:bench"
    fingerprint = "bench@1"

    def load(self) -> None: ...

    def unload(self) -> None: ...

    def run(self, frames: Sequence[object]) -> list[Output]:
        raise AssertionError("no photo is read")


class Head:
    """A linear head; another `version` makes what it said stale."""

    name, after = "aesthetics", Embedder.name

    def __init__(self, version: int) -> None:
        self.fingerprint = f"head@{version}"

    def load(self) -> None: ...

    def unload(self) -> None: ...

    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        rows = np.stack([np.frombuffer(output.joint_embedding or b"", "<f2") for output in outputs])
        return [
            Output(self.fingerprint, aesthetics=float(mean)) for mean in rows.mean(axis=1, dtype=np.float32)
        ]


def models(device: Device) -> list[object]:
    return [Embedder(), Head(2)]


def fill(settings: Settings, folder: Path, photos: int, dimensions: int) -> None:
    rng = np.random.default_rng(0)
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        for start in range(0, photos, FOLDER_PHOTOS):
            below = folder / str(start)
            below.mkdir(parents=True)
            numbers = range(start, min(start + FOLDER_PHOTOS, photos))
            catalog.commit([known(below / f"{n}.jpg", n, rng, dimensions) for n in numbers], b"before")
        catalog.follow(force=True)


def known(path: Path, number: int, rng: np.random.Generator, dimensions: int) -> Record:
    path.write_bytes(b"%d" % number)
    stat = path.stat()
    vector = rng.normal(size=dimensions)
    seen = Output(
        Embedder.fingerprint, joint_embedding=(vector / np.linalg.norm(vector)).astype("<f2").tobytes()
    )
    outputs = {Embedder.name: seen, Head.name: Output("head@1", aesthetics=5.0)}
    facts = Facts("jpeg", 40, 30, version=READ_VERSION)
    return Record(os.fsencode(path), Stat(stat.st_size, stat.st_mtime_ns), b"%016d" % number, facts, outputs)


def cpu_of_all() -> float:
    """Seconds of this process and of all its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=DIMENSIONS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="catalogd-bench-") as name:
        folder = Path(name)
        settings = Settings(catalog=folder / "catalog", http=False, thumbnails=False)
        fill(settings, folder / "photos", asked.photos, asked.dimensions)
        wall, cpu = time.perf_counter(), cpu_of_all()
        code = Daemon(settings, [os.fsencode(folder / "photos")], models, once=True).run()  # type: ignore[arg-type]
        wall, cpu = time.perf_counter() - wall, cpu_of_all() - cpu
        with Catalog.open(settings.catalog, settings) as catalog:
            made = sum(record.outputs[Head.name].fingerprint == "head@2" for record in catalog.iter_records())
        report(
            "derived from records",
            photos=asked.photos,
            made=made,
            exit_code=code,
            ours={"per_s": asked.photos / wall, "per_cpu_s": asked.photos / cpu},
            baseline={"per_cpu_s": 1 / STARTER_CPU_S},
            ratio=asked.photos / cpu * STARTER_CPU_S,
        )


if __name__ == "__main__":
    main()
