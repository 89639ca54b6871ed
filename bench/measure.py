"""How the benches of the whole measure: a command's wall and CPU time, and one JSON line a question."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CATALOGD = str(Path(sys.executable).with_name("catalogd"))


class Cost(NamedTuple):
    """What a command took; `cpu_s` is user and system time of it and of all its children."""

    wall_s: float
    cpu_s: float
    exit_code: int


def cost_of(command: Sequence[str], output: Path | None = None) -> Cost:
    """Run a command to its end. Its stdout goes to `output`, or nowhere.

    Compiled modules are cached, as an installed catalogd has them, also where the environment says no.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with open(output or os.devnull, "wb") as stream:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=stream, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.monotonic() - started, usage.ru_utime + usage.ru_stime, process.returncode)


def median_cost(command: Sequence[str], rounds: int) -> Cost:
    """The medians of several runs, each field for itself."""
    costs = [cost_of(command) for _ in range(rounds)]
    return Cost(
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.cpu_s for cost in costs),
        max(cost.exit_code for cost in costs),
    )


def percentiles(times_s: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 in ms."""
    ordered = sorted(times_s)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return round(statistics.median(ordered) * 1000, 2), round(p99 * 1000, 2)


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    work()
    return clock() - started


def report(question: str, **row: Any) -> None:
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
    sys.stdout.write(json.dumps({"question": question, **rounded}) + "\n")
    sys.stdout.flush()
