"""What does the ring's hand-off cost: slots, orders, answers, shared memory?

With: the reader processes of a run, orders down their pipes, frames into the ring, each frame looked at
by its header and its slot freed, as the engine does. Alone: as many processes read the same photos into
a buffer of their own and send nothing. CPU of all processes, of the scheduler's account. Many short rounds
in turns, each way first in every other one, so that a busy machine disturbs both alike; the ratio is that
of the medians, and its error the standard error of the rounds' ratios.

    python bench/bench_handoff.py [--photos 8] [--rounds 40] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measure import report
from photos import camera_folder

from catalogd.images import read_frame
from catalogd.pipeline import usable_cores
from catalogd.pipeline.ring import Ring, Slots
from catalogd.pipeline.workers import Child, ReadDone, ReadOrder, reader_main
from catalogd.settings import Settings

REACH = 1.02
SLOTS = 16
_context = multiprocessing.get_context("spawn")


def process_cpu_s(pid: int) -> float:
    """CPU of all threads of a process, to the nanosecond (the tick counters are 10 ms coarse)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


class WithHandoff:
    """The driver's end of readers and ring, reduced to what moves a frame."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._ring = Ring(SLOTS, settings.frame_edge_px)
        self._slots = Slots(SLOTS)
        self._children = [
            Child("reader", reader_main, self._ring, settings, read_frame) for _ in range(count)
        ]
        for child in self._children:
            child.receive()

    def cpu_s(self) -> float:
        children = sum(process_cpu_s(child.process.pid or 0) for child in self._children)
        return children + time.process_time()

    def read_all(self, paths: Sequence[bytes]) -> None:
        waiting = list(enumerate(paths))
        by_connection = {child.connection: child for child in self._children}
        held: dict[int, int] = {}
        for child in self._children:
            self._order(child, waiting, held)
        while held:
            for connection in multiprocessing.connection.wait(by_connection):
                child = by_connection[connection]  # type: ignore[index]
                reply = child.receive()
                if not isinstance(reply, ReadDone):
                    raise SystemExit(f"a photo was not read: {reply}")
                slot = held.pop(reply.ticket)
                self._order(child, waiting, held)
                self._slots.fill(slot)
                self._ring.frame(slot, reply.ticket)
                self._slots.batch(slot)
                self._slots.free(slot)

    def _order(self, child: Child, waiting: list[tuple[int, bytes]], held: dict[int, int]) -> None:
        slot = self._slots.take() if waiting else None
        if slot is not None:
            ticket, path = waiting.pop()
            held[ticket] = slot
            child.send(ReadOrder(ticket, slot, path))

    def close(self) -> None:
        for child in self._children:
            child.kill()
        self._ring.close()


class Alone:
    """The same reading in as many processes, each into one buffer of its own."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._ends = []
        for _ in range(count):
            ours, theirs = _context.Pipe()
            process = _context.Process(target=_read_alone, args=(theirs, settings), daemon=True)
            process.start()
            ours.recv()
            self._ends.append((ours, process))

    def cpu_s(self) -> float:
        return sum(process_cpu_s(process.pid or 0) for _, process in self._ends) + time.process_time()

    def read_all(self, paths: Sequence[bytes]) -> None:
        for index, (connection, _) in enumerate(self._ends):
            connection.send(paths[index :: len(self._ends)])
        for connection, _ in self._ends:
            connection.recv()

    def close(self) -> None:
        for connection, process in self._ends:
            connection.close()
            process.join()


def _read_alone(connection: multiprocessing.connection.Connection, settings: Settings) -> None:
    pixels = np.zeros(settings.frame_edge_px**2 * 3, np.uint8)
    connection.send(None)
    while True:
        try:
            paths = connection.recv()
        except EOFError:
            return
        for path in paths:
            read_frame(path, pixels, settings)
        connection.send(None)


def cpu_of(way: WithHandoff | Alone, paths: Sequence[bytes]) -> float:
    before = way.cpu_s()
    way.read_all(paths)
    return way.cpu_s() - before


def one_round(ways: tuple[WithHandoff, Alone], paths: Sequence[bytes], number: int) -> tuple[float, float]:
    """CPU seconds with and without, the one that comes first taking turns."""
    if number % 2:
        alone = cpu_of(ways[1], paths)
        return cpu_of(ways[0], paths), alone
    return cpu_of(ways[0], paths), cpu_of(ways[1], paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        paths = [bytes(path) for path in camera_folder(folder, arguments.photos)]
        settings = Settings(thumbnails=False)
        ways = (WithHandoff(settings, usable_cores()), Alone(settings, usable_cores()))
        for way in ways:  # every slot and cache touched once
            way.read_all((paths * SLOTS)[:SLOTS])
        costs = [one_round(ways, paths, number) for number in range(arguments.rounds)]
        for way in ways:
            way.close()
    ours, alone = (statistics.median(column) * 1000 / len(paths) for column in zip(*costs, strict=True))
    ratios = [one / other for one, other in costs]
    report(
        "decode of a 24-MP photo with hand-off through the ring",
        ours={"cpu_ms": round(ours, 2)},
        baseline={"cpu_ms": round(alone, 2)},
        ratio=ours / alone,
        reach=REACH,
        error_of_ratio=statistics.stdev(ratios) / len(ratios) ** 0.5,
        processes=usable_cores(),
    )


if __name__ == "__main__":
    main()
