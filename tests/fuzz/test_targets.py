"""No parser of ours raises or hangs on any bytes: mutants in every run, a coverage-guided fuzzer by name."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import hostile
from tests.fuzz.corpus import seeds
from tests.fuzz.targets import TARGETS

REPOSITORY = Path(__file__).parents[2]
MUTANTS = 150
SLOWEST_S = 1.0  # on a busy machine; most take microseconds
FUZZER_RUNS = 20_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return seeds(tmp_path_factory.mktemp("seeds"))


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_takes_any_bytes(name: str, corpus: list[bytes]) -> None:
    dice = random.Random(name)
    contents = [b"", b"\0", *corpus, *(hostile.mutate(dice, corpus) for _ in range(MUTANTS))]
    for content in contents:
        started = time.process_time()
        TARGETS[name](content)
        assert time.process_time() - started < SLOWEST_S, content[:64]


@pytest.mark.torture
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_finds_nothing(name: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        name,
        f"-runs={FUZZER_RUNS}",
        "-timeout=10",
        "-rss_limit_mb=2048",
    ]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
