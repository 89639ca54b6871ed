"""kill -9 of everything, anywhere: what was acknowledged stays, what was not is done by the next run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.torture.library import Library
from tests.torture.points import SEALING_POINTS, WRITER_POINTS

CHILDREN = ("reader", "inference", "writer")
PHOTOS = 120
OF_ALL = " of all"  # ends a point at which the whole process group dies


def slow_library(folder: Path, count: int = PHOTOS) -> Library:
    library = Library(folder)
    library.add(*[f"folder-{number % 3}/slow-{number}.jpg" for number in range(count)])
    return library


def kill_children(library: Library, dice: random.Random, kills: int) -> None:
    """One run in which children die one after the other, at points that the dice choose."""
    kinds = list(CHILDREN) * (kills // 3)
    dice.shuffle(kinds)
    each = PHOTOS // (len(kinds) + 1)
    with library.start() as run:
        for number, kind in enumerate(kinds):
            target = number * each + dice.randrange(each)
            run.until(lambda target=target: len(library.noted("reads")) >= target, f"photo {target}")
            run.kill(kind, dice)
        assert run.wait() == 0, run.errors


def kill_runs(library: Library, dice: random.Random, kills: int) -> None:
    """Runs of which the daemon alone, or everything at once, is killed; then one that may end."""
    kinds = ["daemon", "all"] * (kills // 2)
    dice.shuffle(kinds)
    each = PHOTOS // (len(kinds) + 1)
    for kind in kinds:
        with library.start() as run:
            target = len(library.noted("committed")) + dice.randrange(each)
            run.until(lambda target=target: len(library.noted("committed")) >= target, f"photo {target}")
            run.kill(kind, dice)
            run.wait()
        library.assert_nothing_lost()
    assert library.run() == 0


def assert_unharmed(library: Library, before: dict[str, str]) -> None:
    library.assert_nothing_lost()
    library.assert_whole()
    assert library.hashes() == before


def assert_settled(library: Library) -> None:
    """Another run finds nothing to do."""
    library.forget_notes()
    assert library.run() == 0
    assert not library.reads()
    assert library.status()["unchanged"] == len(library.hashes())


def die_at(library: Library, point: str) -> None:
    """A run that meets its death at the point, and where that ended it the next one."""
    library.settings["commit_records"] = 8
    code = library.run(point=point)
    assert (library.journal / point).exists(), "the point was never reached"
    assert (code == 0) == (not point.endswith(OF_ALL))
    library.assert_nothing_lost()
    if code:
        assert library.run(point=point) == 0


def test_a_run_goes_on_when_its_children_are_killed(tmp_path: Path) -> None:
    library = slow_library(tmp_path)
    before = library.hashes()
    kill_children(library, random.Random(1), kills=12)
    assert_unharmed(library, before)


def test_the_next_run_goes_on_when_the_daemon_or_everything_is_killed(tmp_path: Path) -> None:
    library = slow_library(tmp_path)
    before = library.hashes()
    kill_runs(library, random.Random(3), kills=4)
    assert_unharmed(library, before)
    assert_settled(library)


@pytest.mark.parametrize("point", WRITER_POINTS)
def test_a_writer_that_dies_at_a_named_point_is_replaced(tmp_path: Path, point: str) -> None:
    library = Library(tmp_path, readers=1)
    library.add(*[f"good-{number}.jpg" for number in range(60)])
    before = library.hashes()
    die_at(library, point)
    assert_unharmed(library, before)


@pytest.mark.parametrize(("point", "engine"), [*zip(SEALING_POINTS, ("faiss", "annoy") * 2, strict=True)])
def test_a_sealing_that_dies_at_a_named_point_is_made_good_by_a_later_one(
    tmp_path: Path, point: str, engine: str
) -> None:
    library = Library(tmp_path, readers=1, vector_engine=engine)
    library.add(*[f"good-{number}.jpg" for number in range(40)])
    die_at(library, point)
    library.add(*[f"good-more-{number}.jpg" for number in range(30)])
    before = library.hashes()
    assert library.run(point=point) == 0
    assert_unharmed(library, before)
    assert list(library.catalog.glob("embeddings/*/gen-*"))


def test_everything_may_die_between_a_commit_and_its_answer(tmp_path: Path) -> None:
    library = Library(tmp_path, readers=1)
    library.add(*[f"good-{number}.jpg" for number in range(60)])
    before = library.hashes()
    die_at(library, WRITER_POINTS[0] + OF_ALL)
    assert_unharmed(library, before)


@pytest.mark.torture
@pytest.mark.parametrize("round_number", range(5))
@pytest.mark.parametrize("point", [*WRITER_POINTS, *SEALING_POINTS])
def test_everything_may_die_at_a_named_point(tmp_path: Path, point: str, round_number: int) -> None:
    library = Library(tmp_path, vector_engine=("annoy", "faiss")[round_number % 2])
    library.add(*[f"good-{number}.jpg" for number in range(60 + round_number)])
    before = library.hashes()
    die_at(library, point + OF_ALL)
    assert_unharmed(library, before)
    assert_settled(library)


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 120))
def test_hundreds_of_kills(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    for name, kill in (("children", kill_children), ("runs", kill_runs)):
        library = slow_library(tmp_path / name)
        before = library.hashes()
        kill(library, dice, kills=12)
        assert_unharmed(library, before)
        assert_settled(library)
