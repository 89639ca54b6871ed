"""A library of broken and hostile files around good ones: the run ends, and loses nothing of the good."""

from __future__ import annotations

import collections
import os
from pathlib import Path

import pytest

from catalogd.errors import PhotoError
from catalogd.images import PHOTO_EXTENSIONS
from tests import hostile
from tests.torture.library import Library

MiB = 1 << 20
LIMITS = {"frame_edge_px": 128, "ring_bytes": 4 * MiB, "read_deadline_s": 10.0}
REASONS = {kind.reason for kind in PhotoError.__subclasses__()}
MUTANTS_A_FOLDER = 500


def write_library(library: Library, mutants: int, seed: int) -> set[str]:
    """Good photos beside mutants and monsters; returns the names of the good ones."""
    good = hostile.write_good(library.photos / "good")
    hostile.write_monsters(library.photos / "monsters")
    for number, (name, content) in enumerate(hostile.mutants(good, seed, mutants)):
        folder = library.photos / f"mutants-{number // MUTANTS_A_FOLDER}"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return {str(path.relative_to(library.photos)) for path in good}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file; the sparse ones are too large to be hashed."""
    found = (path.lstat() for path in sorted(folder.rglob("*")))
    return {str(number): (stat.st_size, stat.st_mtime_ns) for number, stat in enumerate(found)}


def photos_of(folder: Path) -> set[str]:
    """What a scan offers: regular files with a photo's extension."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.suffix[1:].encode().lower() in PHOTO_EXTENSIONS
    }


def assert_survived(library: Library, good: set[str], before: dict[str, tuple[int, int]]) -> None:
    with library.open() as catalog:
        failures = {
            os.path.relpath(os.fsdecode(failure.path), library.photos): failure
            for failure in catalog.failures()
        }
        assert catalog.check(deep=True) == []
    records = library.records()
    assert good <= set(records)
    assert set(records) | set(failures) == photos_of(library.photos)
    for name, failure in failures.items():
        assert failure.stage == "read", name
        assert failure.reason in REASONS - {"crashed", "timeout", "unavailable"}, f"{name}: {failure}"
        assert failure.message
    assert max(collections.Counter(library.reads()).values()) == 1, "a reader died, or hung"
    assert stamps(library.photos) == before
    assert len(library.noted("children")) == 4, "two readers, inference and writer, and none twice"


@pytest.mark.parametrize(
    ("mutants", "seed"),
    [
        (300, 1),
        pytest.param(6000, 2, marks=[pytest.mark.torture, pytest.mark.timeout(1200)]),
        pytest.param(6000, 3, marks=[pytest.mark.torture, pytest.mark.timeout(1200)]),
    ],
)
def test_a_run_over_hostile_files_indexes_all_good_ones_and_explains_the_rest(
    tmp_path: Path, mutants: int, seed: int
) -> None:
    library = Library(tmp_path, **LIMITS)
    good = write_library(library, mutants, seed)
    before = stamps(library.photos)
    with library.start(real=True) as run:
        assert run.wait(1000) == 3, run.errors
    assert_survived(library, good, before)
