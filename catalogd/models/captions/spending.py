"""What a run has spent on a caption server, shared by all processes of the run.

One small file a run, in the model cache: the inference processes of several GPUs share one budget, and a
process that is started anew goes on where the one before it died. Money is set aside before a request
is sent, so that requests in flight can't spend more than there is.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from pathlib import Path

import filelock

_KEPT_S = 30 * 86_400.0  # what a run spent is of no use after it; a run that watches writes more often
_LOOK_AGAIN_S = 0.005  # whether another process is done with the file, which takes it less than a millisecond


class Spending:
    """USD of one run; `most` is its budget."""

    def __init__(self, folder: Path, most: float) -> None:
        self._file = folder / f"{_run()}.usd"
        self._most = most
        self._mine = threading.Lock()
        self._lock = filelock.FileLock(f"{self._file}.lock", thread_local=False)

    @property
    def usd(self) -> float:
        """Spent and set aside, by all processes of the run."""
        try:
            return float(self._file.read_text("ascii"))
        except (OSError, ValueError):
            return 0.0

    def set_aside(self, usd: float) -> bool:
        """Whether the budget still has `usd`, which then count as spent. What is free is always there."""
        return usd == 0 or self._add(usd, self._most)

    def settle(self, set_aside: float, spent: float) -> None:
        """What was set aside for a request has become what it cost."""
        if spent != set_aside:
            self._add(spent - set_aside, float("inf"))

    def _add(self, usd: float, most: float) -> bool:
        with self._mine:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._lock.acquire(poll_interval=_LOOK_AGAIN_S):
                total = self.usd + usd
                if total > most:
                    return False
                aside = self._file.with_suffix(".new")
                aside.write_text(f"{max(0.0, total):.9f}", "ascii")
                aside.replace(self._file)
                return True

    def forget_others(self) -> None:
        """Delete what runs of long ago left."""
        for file in self._file.parent.glob("*.usd*"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > _KEPT_S:
                    file.unlink()


def _run() -> str:
    """The run this process belongs to: the process that started it, by number and time of its start."""
    parent = multiprocessing.parent_process()
    number = parent.pid if parent else os.getpid()
    try:
        fields = Path(f"/proc/{number}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return f"{number}-{fields[19]}"  # `starttime`, field 22 of proc_pid_stat(5)
    except (OSError, IndexError):  # not on Linux
        return f"{number}"
