"""A real run with stub decoder and models, for tests that kill it: `python -m tests.torture.runner SPEC`.

Writes down, line by line and before it goes on, what it read and inferred, which commits it was told
of, and the pids of its children, so that a test knows what was promised when the run was killed.

Its children import this module too, so what only the daemon needs is imported where it is used.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from catalogd.errors import CatalogdError
from catalogd.images import Reading, read_frame
from catalogd.models.devices import Device
from catalogd.pipeline.workers import Child
from catalogd.records import Output
from catalogd.settings import Settings
from tests import stubs


@dataclasses.dataclass(frozen=True)
class Spec:
    """One run. `point`: where in the writer something is done, see points.py."""

    settings: dict[str, Any]
    roots: list[str]
    journal: str  # the folder of what is written down
    once: bool = True
    inline: bool = False
    versions: tuple[int, ...] = (1,)
    exclude: tuple[str, ...] = ()
    point: str | None = None
    real: bool = False  # photos are read as they are in a real run


def note(journal: str, name: str, line: str) -> None:
    """Append a line to a file of the journal; whole, also when we are killed right after."""
    descriptor = os.open(os.path.join(journal, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (line + "\n").encode("utf-8", "surrogateescape"))
    os.close(descriptor)


def noted_read(journal: str, real: bool, path: bytes, pixels: np.ndarray, settings: Settings) -> Reading:
    note(journal, "reads", os.fsdecode(path))
    return (read_frame if real else stubs.read)(path, pixels, settings)


def noted_models(journal: str, versions: tuple[int, ...], device: Device) -> list[stubs.MeanModel]:
    models = stubs.load_models(versions)
    for model in models:
        model.run = functools.partial(_noted_run, journal, model.name, model.run)  # type: ignore[method-assign]
    return models


def _noted_run(
    journal: str, name: str, run: Callable[[list[np.ndarray]], list[Output]], frames: list[np.ndarray]
) -> list[Output]:
    for _ in frames:
        note(journal, "inferred", name)
    return run(frames)


def _note_children(journal: str) -> None:
    start = Child.__init__

    def noting(self: Child, name: str, *arguments: Any) -> None:
        start(self, name, *arguments)
        note(journal, "children", f"{name} {self.process.pid}")

    Child.__init__ = noting  # type: ignore[method-assign]


def _note_commits(journal: str) -> None:
    from catalogd.daemon import Daemon

    take = Daemon._notice_commits

    def noting(self: Daemon) -> None:
        for change in self._writer.committed:
            note(journal, "committed", os.fsdecode(change.path))
        take(self)

    Daemon._notice_commits = noting  # type: ignore[method-assign]


def main(spec: Spec) -> int:
    import catalogd.daemon.writing
    from catalogd.daemon import Daemon
    from tests.torture.points import writer_at

    settings = Settings(**{**spec.settings, "catalog": Path(spec.settings["catalog"])})
    _note_children(spec.journal)
    _note_commits(spec.journal)
    catalogd.daemon.writing.writer_main = functools.partial(writer_at, spec.point, spec.journal)  # type: ignore[assignment]
    try:
        return Daemon(
            settings,
            [os.fsencode(root) for root in spec.roots],
            functools.partial(noted_models, spec.journal, tuple(spec.versions)),
            once=spec.once,
            inline=spec.inline,
            exclude=tuple(spec.exclude),
            read=functools.partial(noted_read, spec.journal, spec.real),
        ).run()
    except CatalogdError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    from tests.torture import runner  # under its own name, for the children

    sys.exit(runner.main(runner.Spec(**json.loads(sys.argv[1]))))
