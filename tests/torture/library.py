"""A library of stub photos, runs over it in processes of their own, and what must hold after any of them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalogd.catalog import Catalog
from catalogd.daemon import read_status
from catalogd.pipeline.ring import slot_bytes
from catalogd.records import Record
from catalogd.settings import Settings
from tests import stubs
from tests.torture import warm
from tests.torture.runner import Spec

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60.0  # until something is taken for never happening; what happens is noticed at once
EDGE_PX = 64


def wait_until(condition: Callable[[], Any], what: str = "it", patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition`."""
    end = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {patience_s:g} s"
        time.sleep(0.02)
    return value


def colour(number: int) -> tuple[int, int, int]:
    """A colour of its own for each photo, none of those that stub models choke on."""
    return 20 + number % 200, 20 + number // 200 % 200, 100


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def ring_segments() -> list[str]:
    return [name for name in os.listdir("/dev/shm") if name.startswith("psm_")]


def left_in_memory(before: set[str]) -> set[str]:
    """Rings that no process has any more. Those of tests that run beside these are in use."""
    new = set(ring_segments()) - before
    for maps in Path("/proc").glob("[0-9]*/maps") if new else ():
        with contextlib.suppress(OSError):
            text = maps.read_text("utf-8", "surrogateescape")
            new -= {name for name in new if f"/dev/shm/{name}" in text}
    return new


class Library:
    """Folders `photos`, `catalog` and `journal` below `folder`.

    `inline`: whether whole runs take one process, where the test is about what is done and not by whom.
    """

    def __init__(self, folder: Path, inline: bool = False, **settings: Any) -> None:
        self._inline = inline
        self.photos = folder / "photos"
        self.journal = folder / "journal"
        self.photos.mkdir(parents=True)
        self.journal.mkdir()
        self.settings: dict[str, Any] = {
            "catalog": str(folder / "catalog"),
            "frame_edge_px": EDGE_PX,
            "ring_bytes": 12 * slot_bytes(EDGE_PX),
            "readers": 2,
            "batch": 4,
            "inference_threads": 1,
            "commit_wait_s": 0.1,
            "text_commit_wait_s": 0.2,
            "exact_below": 10,
            "http": False,
            **settings,
        }
        self._shared_memory = set(ring_segments())

    @property
    def catalog(self) -> Path:
        return Path(self.settings["catalog"])

    def add(self, *names: str) -> list[bytes]:
        """Write stub photos, each of a colour that no other has."""
        have = sum(1 for path in self.photos.rglob("*") if path.is_file())
        return [stubs.write_photo(self.photos, name, colour(have + i)) for i, name in enumerate(names)]

    def start(self, **spec: Any) -> Run:
        return Run(self._spec(**spec))

    def _spec(self, roots: list[str] | None = None, **spec: Any) -> Spec:
        return Spec(self.settings, roots or [str(self.photos)], str(self.journal), **spec)

    def run(self, **spec: Any) -> int:
        """A whole run; its exit code."""
        spec = {"inline": self._inline, **spec}
        if spec["inline"]:
            return warm.exit_code(self._spec(**spec))
        with self.start(**spec) as run:
            return run.wait()

    def open(self) -> Catalog:
        return Catalog.open(self.catalog, Settings(**{**self.settings, "catalog": self.catalog}))

    def records(self) -> dict[str, Record]:
        """What the catalog holds, by path below `photos`; of photos that are not missing."""
        with self.open() as catalog:
            records = [record for record in catalog.iter_records() if record.missing_since is None]
        found = {os.path.relpath(os.fsdecode(record.path), self.photos): record for record in records}
        assert len(found) == len(records), "a path has two photos"
        return found

    def ids(self) -> dict[str, int]:
        return {name: record.photo_id for name, record in self.records().items()}

    def status(self) -> dict[str, Any]:
        return read_status(self.catalog) or {}

    def noted(self, name: str) -> list[str]:
        """The whole lines of a file of the journal."""
        try:
            return (self.journal / name).read_text("utf-8", "surrogateescape").splitlines()
        except FileNotFoundError:
            return []

    def reads(self) -> collections.Counter[str]:
        return collections.Counter(os.path.relpath(path, self.photos) for path in self.noted("reads"))

    def forget_notes(self) -> None:
        for file in self.journal.iterdir():
            file.unlink()

    def hashes(self) -> dict[str, str]:
        files = (path for path in self.photos.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def assert_nothing_lost(self) -> None:
        """Every photo that the daemon was told is committed is in the catalog."""
        with self.open() as catalog:
            for path in set(self.noted("committed")):
                raw = os.fsencode(path)
                assert catalog.photo_id_of(raw) or catalog.failure(raw), path

    def assert_whole(self) -> None:
        """Every photo once, all stores agree, nothing is left behind in memory, processes or files."""
        here = {str(path.relative_to(self.photos)) for path in self.photos.rglob("*.jpg")}
        assert set(self.records()) == here
        with self.open() as catalog:
            assert catalog.check(deep=True) == []
            assert catalog.failures() == []
        wait_until(lambda: not left_in_memory(self._shared_memory), "the end of the ring's memory")
        pids = [int(line.split()[1]) for line in self.noted("children")]
        wait_until(lambda: not any(is_alive(pid) for pid in pids), "the end of every child")
        left = [path for path in self.catalog.rglob("*") if ".tmp" in path.name or "building" in path.name]
        assert left == []


@dataclasses.dataclass
class Run:
    """One run in a process group of its own."""

    spec: Spec
    prefix: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        journal = Path(self.spec.journal)
        self._known = len(_lines(journal / "children"))
        self.process = subprocess.Popen(
            [
                *self.prefix,
                sys.executable,
                "-m",
                "tests.torture.runner",
                json.dumps(dataclasses.asdict(self.spec)),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit code; what it wrote to stderr is then in `errors`."""
        _, errors = self.process.communicate(timeout=patience_s)
        self.errors = errors.decode()
        return self.process.returncode

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """As `wait_until`, while the run is alive."""

        def alive_and() -> Any:
            value = condition()
            assert value or self.process.poll() is None, f"the run ended before {what}"
            return value

        return wait_until(alive_and, what)

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def children(self, kind: str) -> list[int]:
        """Living processes of this run: kind is "reader", "inference" or "writer"."""
        lines = _lines(Path(self.spec.journal) / "children")[self._known :]
        pids = [int(line.split()[1]) for line in lines if line.startswith(f"catalogd-{kind} ")]
        return [pid for pid in pids if is_alive(pid)]

    def kill(self, kind: str, dice: random.Random) -> None:
        """kill -9 of a child, the daemon, or the whole process group ("all")."""
        if kind == "all":
            os.killpg(self.process.pid, signal.SIGKILL)
        elif kind == "daemon":
            self.process.kill()
        else:
            pids = self.until(lambda: self.children(kind), f"a {kind}")
            os.kill(dice.choice(pids), signal.SIGKILL)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except FileNotFoundError:
        return []
