"""Runs in one process each, forked off one that has imported everything: `python -m tests.torture.warm`.

Importing is nine tenths of a small run, and many tests need several. A run is still a process of its own,
with its own exit code. Runs that start processes themselves, or get signals, are started by `library.Run`.

Asked by a line of JSON, [Spec as a dict, its environment]; answers with a line, the exit code.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import catalogd.daemon.writing  # noqa: F401 (for the runs: see runner.main)
from tests.torture import points, runner  # noqa: F401

REPOSITORY = Path(__file__).parents[2]
FOR_EVER_S = 60  # an alarm ends a run that hangs, and its test with it


def exit_code(spec: runner.Spec) -> int:
    """That of a whole run in one process; negative where a signal ended it, as subprocess has it."""
    assert spec.once
    assert spec.inline
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    asked = json.dumps([dataclasses.asdict(spec), {**os.environ, "PYTHONPATH": str(REPOSITORY)}])
    try:
        process.stdin.write(asked + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())
    except BaseException:  # a test that ran out of time leaves no answer to the next one
        process.kill()
        _process.cache_clear()
        raise


@functools.cache
def _process() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.torture.warm"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    with process:  # closes its stdin, at which it ends
        pass


def main() -> None:
    for line in sys.stdin:
        spec, environment = json.loads(line)
        child = os.fork()
        if child == 0:
            sys.exit(_run(runner.Spec(**spec), environment))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(spec: runner.Spec, environment: dict[str, str]) -> int:
    signal.alarm(FOR_EVER_S)
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    return runner.main(spec)


if __name__ == "__main__":
    main()
