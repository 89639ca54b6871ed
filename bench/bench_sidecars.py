"""What do sidecars cost, with all safety on, and how near is that to the floor, exiftool alone?

    python bench/bench_sidecars.py [--sidecars N] [--many N]

One JSON line a question. `catalogd`: `write_sidecar` with the changes that a photo's record asks for: read,
compared, written by exiftool or by our own writer, read and compared again, synced, renamed. Floor, in the
same run: one `exiftool -stay_open` that is given the same tags and writes into the sidecar, with no look at
what was there before or comes out. They take turns on the same sidecars, some at a time. CPU is that of this
process and of exiftool's; a rate is per core, one by the CPU time that it took.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_metadata import TICK_S, XMP
from measure import report

from catalogd.metadata.exiftool import find_exiftool
from catalogd.metadata.xmp import Value
from catalogd.records import Face, Facts, Output, Place, Quality, Record, Stat, Tag, TextLine
from catalogd.settings import Settings
from catalogd.sync import FIELDS, Options, sync_records
from catalogd.sync.exiftool_writer import ExiftoolWriter, _assignments
from catalogd.sync.fields import changes_for
from catalogd.sync.packet import Packet
from catalogd.sync.policy import load_policy
from catalogd.sync.sidecar import Written, write_sidecar

TURN = 25  # sidecars that one of the two does before the other has its turn
REACH = 0.6  # of the floor's rate
# As darktable writes it: exiftool loses the empty values, so our own writer has to do it.
WITH_EMPTY_VALUES = XMP.replace(b' xmp:Rating="4"', b' xmp:Rating="4" xmp:Nickname=""')

SETTINGS = Settings()
POLICY = load_policy(SETTINGS)


def record_of(path: Path, number: int) -> Record:
    """A photo of a town with two faces and a sign, as the starter profile sees it."""
    tags = tuple(Tag(name, 0.9) for name in ("dog", "lake", "boat", f"thing {number % 100}"))
    faces = tuple(Face((x, 0.3, 0.1, 0.15), (), 0.9, 0.8) for x in (0.2, 0.6))
    corners = ((0.1, 0.1), (0.4, 0.1), (0.4, 0.2), (0.1, 0.2))
    quality = Quality(61.2, 40.1, 0.45, 0.3, 0.01, 0.0, 2.1, 33.0)
    outputs = {
        "tags": Output("tags-1", tags=tags),
        "faces": Output("faces-1", faces=faces),
        "text": Output("text-1", text_lines=(TextLine(f"PIER {number}", corners, 0.9),)),
        "quality": Output("quality-1", quality=quality),
    }
    facts = Facts("raw", 6000, 4000, place=Place("NO", "Norway", "Vestland", "Bergen", "Bryggen", 0.2))
    return Record(bytes(path), Stat(1, 1), bytes(16), facts, outputs)


class Library:
    """RAW photos by name, with or without sidecars, in folders of a hundred."""

    def __init__(self, folder: Path, count: int, packet: bytes | None) -> None:
        self._packet = packet
        photos = [folder / f"{number // 100:04}" / f"IMG_{number:05}.NEF" for number in range(count)]
        for photo in photos:
            photo.parent.mkdir(parents=True, exist_ok=True)
            photo.touch()
        self.records = [record_of(photo, number) for number, photo in enumerate(photos)]
        self.restore()

    def restore(self) -> None:
        for record in self.records:
            sidecar = Path(os.fsdecode(sidecar_of(record)))
            if self._packet is None:
                sidecar.unlink(missing_ok=True)
            else:
                sidecar.write_bytes(self._packet)


def sidecar_of(record: Record) -> bytes:
    return record.path[:-4] + b".xmp"


def changes_of(record: Record, packet: Packet | None) -> Mapping[str, Value | None]:
    return changes_for(record, packet, POLICY, FIELDS, only_missing=False)


def write_one(record: Record, writer: ExiftoolWriter | None) -> Written:
    return write_sidecar(sidecar_of(record), lambda packet: changes_of(record, packet), writer)


class Floor:
    """The same tags by exiftool alone. What is to be written is made ready before the clock runs."""

    def __init__(self, writer: ExiftoolWriter, records: Iterable[Record], packet: bytes | None) -> None:
        self._writer = writer
        before = None if packet is None else Packet.read(packet)
        self._arguments = {
            record.path: [
                b"-E",
                *words(changes_of(record, before)),
                b"-overwrite_original",
                sidecar_of(record),
            ]
            for record in records
        }

    def write_one(self, record: Record) -> None:
        answer = self._writer.run(self._arguments[record.path])
        assert "1 image files" in answer, answer


def words(changes: Mapping[str, Value | None]) -> list[bytes]:
    return [word for change in changes.items() for word in _assignments(*change)]


def cpu_of(writer: ExiftoolWriter) -> float:
    """Seconds of this process and of exiftool's so far."""
    process = writer._exiftool._process
    own = time.process_time()
    if process is None:
        return own
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return own + (int(fields[11]) + int(fields[12])) * TICK_S


def spend(writer: ExiftoolWriter, work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = cpu_of(writer), time.perf_counter()
    work()
    return cpu_of(writer) - cpu, time.perf_counter() - wall


def measure_writing(question: str, folder: Path, count: int, packet: bytes | None) -> None:
    """Both write all sidecars, in turns, each from the same state."""
    library = Library(folder, count, packet)
    program = find_exiftool(None)
    with ExiftoolWriter(program) as ours, ExiftoolWriter(program) as alone:
        floor = Floor(alone, library.records, packet)
        write_one(library.records[0], ours)  # both have started
        library.restore()
        floor.write_one(library.records[0])
        library.restore()
        spent = {"catalogd": [0.0, 0.0], "floor": [0.0, 0.0]}
        states: set[str] = set()
        for start in range(0, count, TURN):
            some = library.records[start : start + TURN]
            by_us = spend(ours, lambda some=some: states.update(write_one(it, ours).state for it in some))
            for record in some:
                restore_one(record, packet)
            by_floor = spend(alone, lambda some=some: [floor.write_one(it) for it in some])
            for name, cost in (("catalogd", by_us), ("floor", by_floor)):
                spent[name] = [total + more for total, more in zip(spent[name], cost, strict=True)]
    cpu, wall = zip(spent["catalogd"], spent["floor"], strict=True)
    report(
        question,
        states="/".join(sorted(states)),
        catalogd_per_core_s=count / cpu[0],
        floor_per_core_s=count / cpu[1],
        of_the_floor=cpu[1] / cpu[0],
        reach=REACH,
        of_the_floor_wall=wall[1] / wall[0],
    )


def restore_one(record: Record, packet: bytes | None) -> None:
    sidecar = Path(os.fsdecode(sidecar_of(record)))
    if packet is None:
        sidecar.unlink()
    else:
        sidecar.write_bytes(packet)


class Counting:
    """A writer that is never to be asked."""

    asked = 0

    def write(self, *arguments: object) -> None:
        self.asked += 1
        raise AssertionError("an unchanged sidecar was written")


def measure_unchanged(folder: Path, count: int) -> None:
    library = Library(folder, count, XMP)
    for record in library.records:
        assert write_one(record, None).state == "written"
    counting = Counting()
    started = time.process_time()
    states = {write_one(record, counting).state for record in library.records}  # type: ignore[arg-type]
    spent = time.process_time() - started
    assert states == {"unchanged"}, states
    report("unchanged sidecars", cpu_ms=1000 * spent / count, exiftool_calls=counting.asked)


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure_memory(folder: Path, count: int) -> None:
    """Memory of this process and of exiftool's, after the first tenth and after all."""
    library = Library(folder, count, XMP)
    sizes = []
    with ExiftoolWriter(find_exiftool(None)) as writer:
        for number, record in enumerate(library.records, 1):
            write_one(record, writer)
            if number in (count // 10, count):
                process = writer._exiftool._process
                assert process is not None
                sizes.append([resident_bytes(pid) / 2**20 for pid in (os.getpid(), process.pid)])
    (own, exiftool), (own_end, exiftool_end) = sizes
    report(
        f"memory over {count:,} sidecars",
        own_mib=own_end,
        own_growth=own_end / own,
        exiftool_mib=exiftool_end,
        exiftool_growth=exiftool_end / exiftool,
    )


def measure_workers(folder: Path, count: int) -> None:
    """Whole runs by one worker and by two.

    The wall time that a second one saves depends on the cores that are free. What it costs does not:
    the CPU of a whole run, with the starting of its workers.
    """
    library = Library(folder, count, XMP)
    wall: dict[int, float] = {}
    cpu: dict[int, float] = {}
    for jobs in (1, 2):
        library.restore()
        before, started = cpu_of_all(), time.perf_counter()
        done = list(sync_records(library.records, Options(jobs=jobs), SETTINGS))
        wall[jobs], cpu[jobs] = time.perf_counter() - started, cpu_of_all() - before
        assert {it.written.state for it in done} == {"written"}
    report(
        "workers",
        sidecars=count,
        cores=os.cpu_count(),
        load=os.getloadavg()[0],
        one_wall_s=wall[1],
        two_wall_s=wall[2],
        gain=wall[1] / wall[2],
        cpu_of_two=cpu[2] / cpu[1],
    )


def cpu_of_all() -> float:
    """Seconds of this process and of all children that have ended."""
    return sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sidecars", type=int, default=400, help="for each question but memory")
    parser.add_argument("--many", type=int, default=10_000, help="for memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), arguments.sidecars
        measure_writing("sidecars of Lightroom", folder / "lightroom", count, XMP)
        measure_writing("sidecars with empty values", folder / "empty", count, WITH_EMPTY_VALUES)
        measure_writing("new sidecars", folder / "new", count, None)
        measure_unchanged(folder / "unchanged", count)
        measure_workers(folder / "workers", count)
        measure_memory(folder / "memory", arguments.many)


if __name__ == "__main__":
    main()
