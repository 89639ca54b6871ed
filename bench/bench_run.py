"""How much faster is a whole run than the naive tool? Starter profile, fresh catalog, warm model cache.

    python bench/bench_run.py [--photos 100] [--small 200] [--folder FOLDER] [--start]

Baseline: bench/naive.py on the same photos. `--folder` keeps the photos for the next time. `--start`
only asks what a run costs beside its photos: four small ones, and none.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import CATALOGD, Cost, cost_of, report
from photos import camera_folder, small_folder

NAIVE = str(Path(__file__).with_name("naive.py"))


def ours(folder: Path, scratch: Path) -> Cost:
    catalog = scratch / "catalog"
    cost = cost_of([CATALOGD, "--catalog", str(catalog), "run", str(folder), "--once"])
    if cost.exit_code:
        raise SystemExit(f"catalogd run ended with exit code {cost.exit_code}")
    return cost


def naive(folder: Path, scratch: Path) -> tuple[Cost, list[dict[str, float]]]:
    output = scratch / "modules.jsonl"
    cost = cost_of([sys.executable, NAIVE, str(folder), str(scratch / "naive.sqlite")], output)
    if cost.exit_code:
        raise SystemExit(f"the naive tool ended with exit code {cost.exit_code}")
    return cost, [json.loads(line) for line in output.read_text().splitlines()]


def indexed(catalog: Path) -> int:
    command = [CATALOGD, "--catalog", str(catalog), "status", "--json"]
    status = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return int(status["indexed"])


def compare(question: str, folder: Path, count: int, reach: float | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = Path(name)
        us = ours(folder, scratch)
        found = indexed(scratch / "catalog")
        if found != count:
            raise SystemExit(f"catalogd indexed {found} photos of {count}")
        them, modules = naive(folder, scratch)
    report(
        question,
        photos=count,
        ours={"wall_s": round(us.wall_s, 1), "cpu_s": round(us.cpu_s, 1)},
        baseline={"wall_s": round(them.wall_s, 1), "cpu_s": round(them.cpu_s, 1)},
        ratio=them.wall_s / us.wall_s,
        ratio_cpu=them.cpu_s / us.cpu_s,
        reach=reach,
        our_photos_per_s=count / us.wall_s,
        naive_modules_cpu_s={row["module"]: round(row["cpu_s"], 1) for row in modules},
    )


def measure_start(small: Path) -> None:
    """A run over four photos, then the same again with nothing to do."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        library = scratch / "library"
        library.mkdir()
        for path in sorted(small.iterdir())[:4]:
            (library / path.name).write_bytes(path.read_bytes())
        first, again = ours(library, scratch), ours(library, scratch)
    report("a run of four small photos", wall_s=first.wall_s, cpu_s=first.cpu_s)
    report("the same run with nothing to do", wall_s=again.wall_s, cpu_s=again.cpu_s)


@contextlib.contextmanager
def place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--start", action="store_true")
    arguments = parser.parse_args()
    with place(arguments.folder) as folder:
        if arguments.start:
            small_folder(folder / "small", 4)
            measure_start(folder / "small")
            return
        for kind, make, count, reach in (
            ("camera", camera_folder, arguments.photos, 3.5),
            ("small", small_folder, arguments.small, None),
        ):
            if count:
                photos = folder / f"{kind}-{count}"
                make(photos, count)
                compare(f"whole run, {kind} photos, starter profile", photos, count, reach)


if __name__ == "__main__":
    main()
