"""What a run has had of a caption server, and what it spent, shared by all processes of the run.

One small file a run, in the model cache: the inference processes of several GPUs share one budget and tell
one sum, and a process that is started anew goes on where the one before it died. Money is set aside before
a request is sent, so that requests in flight can't spend more than there is.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from pathlib import Path

import filelock
import msgspec

_KEPT_S = 30 * 86_400.0  # what a run spent is of no use after it; a run that watches writes more often
_DIGITS = 9  # of USD: sums of many small ones come out even
_LOOK_AGAIN_S = 0.005  # whether another process is done with the file, which takes it less than a millisecond


class Tally(msgspec.Struct, frozen=True):
    """What a run has had so far."""

    usd: float = 0.0  # spent and set aside
    photos: int = 0  # described
    tokens_in: int = 0
    tokens_out: int = 0
    left: int = 0  # photos for which the server was not there
    waiting: int = 0  # photos for which the money was not there

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            max(0.0, round(self.usd + other.usd, _DIGITS)),
            self.photos + other.photos,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.left + other.left,
            self.waiting + other.waiting,
        )


class Spending:
    """The tally of one run; `most` is its budget in USD."""

    def __init__(self, folder: Path, most: float) -> None:
        self._file = folder / f"{_run()}.json"
        self._most = most
        self._mine = threading.Lock()
        self._lock = filelock.FileLock(f"{self._file}.lock", thread_local=False)

    @property
    def tally(self) -> Tally:
        """Of all processes of the run."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Tally)
        except (OSError, msgspec.MsgspecError):
            return Tally()

    def set_aside(self, usd: float) -> bool:
        """Whether the budget still has `usd`, which then count as spent. What is free is always there."""
        return usd == 0 or self._add(Tally(usd), self._most)

    def settle(self, set_aside: float, spent: float) -> None:
        """What was set aside for a request has become what it cost."""
        if spent != set_aside:
            self._add(Tally(spent - set_aside))

    def count(self, more: Tally) -> None:
        """What a batch has brought."""
        if more != Tally():
            self._add(more)

    def _add(self, more: Tally, most: float = float("inf")) -> bool:
        with self._mine:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._lock.acquire(poll_interval=_LOOK_AGAIN_S):
                total = self.tally + more
                if total.usd > most:
                    return False
                aside = self._file.with_suffix(".new")
                aside.write_bytes(msgspec.json.encode(total))
                aside.replace(self._file)
                return True

    def forget_others(self) -> None:
        """Delete what runs of long ago left."""
        for file in self._file.parent.glob("*.json*"):
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
