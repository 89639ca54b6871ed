"""Does the memory of every process stay flat over a run?

Runs `catalogd run --once` on many small photos (a few hundred different ones, linked under more names)
and samples each process of it: anonymous and shared memory, not mapped files. After the warm-up, the
first half, a straight line is fitted: growth is what it gains until the end, noise the deviation from
it. A process is flat when its growth is within twice the noise, or within a hundredth of its size.
One JSON line a process; the samples are drawn as a PNG.

    python bench/bench_memory.py [--photos 2000] [--folder FOLDER] [--plot memory.png]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measure import CATALOGD, report
from photos import small_folder
from PIL import Image, ImageDraw

DIFFERENT = 200
SAMPLE_EVERY_S = 0.5
WARM_UP = 1 / 2  # of the run: inference meets its largest batch late
LEAST_SAMPLES = 30  # a process that lived shorter is not judged
PLOT_PX = (1200, 600)
COLOURS = ("#c0392b", "#2471a3", "#1e8449", "#b7950b", "#7d3c98", "#566573")


class Sample(NamedTuple):
    at_s: float
    anonymous_mib: float
    shared_mib: float


def link_library(library: Path, different: list[Path], count: int) -> None:
    for number in range(count):
        folder = library / f"{number // 500:03}"
        folder.mkdir(parents=True, exist_ok=True)
        source = different[number % len(different)]
        os.link(source, folder / f"IMG_{number:05}{source.suffix}")


def sample_run(library: Path, catalog: Path) -> dict[str, list[Sample]]:
    """The samples of each process, by `role pid`."""
    samples: dict[int, list[Sample]] = {}
    roles: dict[int, str | None] = {}
    command = [CATALOGD, "--catalog", str(catalog), "run", str(library), "--once"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        started = time.monotonic()
        while process.poll() is None:
            for pid, memory in _tree(process.pid):
                samples.setdefault(pid, []).append(Sample(time.monotonic() - started, *memory))
                roles[pid] = _role(pid, process.pid) or roles.get(pid)  # the last look knows best
            time.sleep(SAMPLE_EVERY_S)
    if process.returncode:
        raise SystemExit(f"catalogd run ended with exit code {process.returncode}")
    return {f"{roles[pid]} {pid}": series for pid, series in samples.items() if roles[pid]}


def _tree(daemon: int) -> Iterator[tuple[int, tuple[float, float]]]:
    """The daemon and its children with their memory in MiB: anonymous, shared."""
    for entry in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(re.findall(r"^(\w+):\s+(\d+)", entry.read_text(), re.MULTILINE))
        except OSError:  # it ended meanwhile
            continue
        pid = int(entry.parent.name)
        if daemon in (pid, int(fields["PPid"])) and "RssAnon" in fields:
            yield pid, (int(fields["RssAnon"]) / 1024, int(fields["RssShmem"]) / 1024)


def _role(pid: int, daemon: int) -> str | None:
    """What a process is, by what it has mapped; None for what is no process of the pipeline."""
    if pid == daemon:
        return "daemon"
    try:
        if b"spawn_main" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return None
        maps = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return None
    libraries = (("onnxruntime", "inference"), ("data.mdb", "writer"))
    return next((role for library, role in libraries if library in maps), "reader")


def judge(name: str, samples: list[Sample], photos: int) -> None:
    times = np.array([sample.at_s for sample in samples])
    total = np.array([sample.anonymous_mib + sample.shared_mib for sample in samples])
    # Shared pages count in a process when it first touches them: only anonymous memory can leak here.
    anonymous = np.array([sample.anonymous_mib for sample in samples])
    steady = times >= times[0] + WARM_UP * (times[-1] - times[0])
    slope, start = np.polyfit(times[steady], anonymous[steady], 1)
    noise = float(np.std(anonymous[steady] - (slope * times[steady] + start)))
    growth = float(slope * (times[steady][-1] - times[steady][0]))
    report(
        f"memory of {name.split()[0]} over {photos} photos",
        ours={
            "anonymous_mib": round(float(np.median(anonymous[steady])), 1),
            "most_mib": round(total.max(), 1),
        },
        shared_mib=round(samples[-1].shared_mib, 1),
        growth_after_warm_up_mib=growth,
        noise_mib=noise,
        flat=growth <= max(2 * noise, 0.01 * float(anonymous[steady].mean())),
        samples=len(samples),
    )


def draw(samples: dict[str, list[Sample]], path: Path) -> None:
    """Anonymous memory of each process over time."""
    width, height = PLOT_PX
    left, top, right, bottom = 70, 30, width - 190, height - 40
    image = Image.new("RGB", PLOT_PX, "white")
    pen = ImageDraw.Draw(image)
    end_s = max(series[-1].at_s for series in samples.values())
    most = max(sample.anonymous_mib for series in samples.values() for sample in series) * 1.05
    for step in range(6):
        y = bottom - (bottom - top) * step / 5
        pen.line([(left, y), (right, y)], fill="#dddddd")
        pen.text((10, y - 6), f"{most * step / 5:.0f} MiB", fill="black")
        pen.text(
            (left + (right - left) * step / 5 - 10, bottom + 10), f"{end_s * step / 5:.0f} s", fill="black"
        )
    for index, (name, series) in enumerate(samples.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = [
            (left + (right - left) * s.at_s / end_s, bottom - (bottom - top) * s.anonymous_mib / most)
            for s in series
        ]
        pen.line(points, fill=colour, width=2)
        pen.text((right + 10, top + 18 * index), name, fill=colour)
    image.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="keeps the different photos for the next time")
    parser.add_argument("--plot", type=Path, default=Path("memory.png"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder and arguments.folder.parent) as name:
        scratch = Path(name)
        different = small_folder(arguments.folder or scratch / "different", DIFFERENT)
        link_library(scratch / "library", different, arguments.photos)
        everything = sample_run(scratch / "library", scratch / "catalog")
    samples = {name: series for name, series in everything.items() if len(series) >= LEAST_SAMPLES}
    for process, series in samples.items():
        judge(process, series, arguments.photos)
    draw(samples, arguments.plot)


if __name__ == "__main__":
    main()
