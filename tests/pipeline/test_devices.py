"""Several devices: a process each, batches for whoever is free, and what happens when one fails."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from catalogd import pipeline
from catalogd.errors import ModelError
from catalogd.models.batches import Batch
from catalogd.models.devices import CPU
from catalogd.pipeline import Engine, index, index_inline, used_devices, workers
from catalogd.pipeline.ring import slot_bytes
from catalogd.records import Outcome, Record, Task
from catalogd.settings import Settings
from tests import stubs
from tests.pipeline import noting
from tests.pipeline.cards import Card, CardModel
from tests.pipeline.noting import LEFT, RIGHT, Behaviour, noted

EDGE_PX = 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        catalog=tmp_path / "catalog",
        model_cache=tmp_path / "models",
        frame_edge_px=EDGE_PX,
        ring_bytes=32 * slot_bytes(EDGE_PX),
        readers=1,
        batch=4,
        inference_threads=1,
        thumbnails=False,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    (tmp_path / "journal").touch()
    return tmp_path / "journal"


class ThreadChild(workers.Child):
    """A child that is a thread: it starts at once, and can be ended only by closing its pipe."""

    def __init__(self, name: str, main: Callable[..., None], *arguments: object) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        threading.Thread(target=self._run, args=(main, theirs, arguments), daemon=True).start()
        self.started = time.monotonic()
        self.ready = False

    @staticmethod
    def _run(main: Callable[..., None], theirs: Connection, arguments: tuple[object, ...]) -> None:
        with contextlib.suppress(EOFError, OSError):
            main(theirs, *arguments)
        theirs.close()

    def kill(self) -> str:
        self.connection.close()
        return "was stopped"


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that kill nothing: no time goes to the start of processes."""
    monkeypatch.setattr(pipeline, "Child", ThreadChild)
    monkeypatch.setattr(workers, "_silence", lambda: None)
    monkeypatch.setattr(workers.resource, "setrlimit", lambda which, limits: None)


def library(folder: Path, count: int) -> list[Task]:
    return [Task(stubs.write_photo(folder, f"{number}.jpg", (number % 256, 9, 9))) for number in range(count)]


def drive(
    engine: Engine, tasks: Iterable[Task], each: Callable[[list[Outcome]], object] = len
) -> list[Outcome]:
    """All tasks through the engine; `each` sees the outcomes so far at every step."""
    source, outcomes = iter(tasks), []
    task = next(source, None)
    while task is not None or engine.busy:
        while task is not None and engine.wants_task:
            engine.offer(task)
            task = next(source, None)
        outcomes += engine.step(0.1)
        each(outcomes)
    return outcomes


def is_whole(outcomes: list[Outcome], count: int, *names: str) -> bool:
    """Whether every photo came out once, with what each of these models says of it."""
    records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
    said = {record.path: record.outputs.keys() for record in records}
    return len(records) == len(said) == count and all(keys == set(names) for keys in said.values())


def test_the_faster_device_gets_more(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None
) -> None:
    load = noting.models(journal, left=Behaviour(frame_s=0.001), right=Behaviour(frame_s=0.02))
    with Engine(settings, load, stubs.read, (LEFT, RIGHT)) as engine:
        assert is_whole(drive(engine, library(tmp_path, 100)), 100, "noting")
        left, right = engine.state.devices
    assert (left.name, right.name) == ("left", "right")
    assert left.photos + right.photos == 100
    assert left.photos > 1.5 * right.photos > 0
    assert right.busy_s >= right.photos * 0.02


def test_a_process_that_dies_is_replaced_and_the_other_device_goes_on_as_it_was(
    tmp_path: Path, settings: Settings, journal: Path
) -> None:
    killed: list[int | None] = []

    def loads() -> collections.Counter[str]:
        return collections.Counter(place for place, *_ in noted(journal, "load"))

    def kill(outcomes: list[Outcome]) -> None:
        if loads() == {"left": 1, "right": 1} and not killed:
            process = engine._inference[1].child.process
            killed.append(process.pid)
            process.kill()

    with Engine(settings, noting.models(journal), stubs.read, (LEFT, RIGHT)) as engine:
        tasks = itertools.takewhile(lambda _: loads()["right"] < 2, library(tmp_path, 3000))
        outcomes = drive(engine, tasks, kill)
        assert not engine.notes
    assert is_whole(outcomes, len(outcomes), "noting")
    assert loads() == {"left": 1, "right": 2}
    assert len({pid for _, pid, *_ in noted(journal, "load")}) == 3


def test_the_run_goes_on_without_a_device_whose_process_can_not_start(
    tmp_path: Path, settings: Settings, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_CRASH_LOOP", 2)
    load = noting.models(journal, right=Behaviour(loads="deadly"))
    with Engine(settings, load, stubs.read, (LEFT, RIGHT)) as engine:
        tasks = itertools.takewhile(lambda _: not engine.notes, library(tmp_path, 3000))
        outcomes = drive(engine, tasks)
        assert [one.name for one in engine.state.devices] == ["left"]
        assert "died 2 times" in engine.notes[0]
    assert is_whole(outcomes, len(outcomes), "noting")


def test_the_run_goes_on_without_a_device_whose_models_can_not_be_loaded(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None
) -> None:
    load = noting.models(journal, right=Behaviour(loads="badly"))
    with Engine(settings, load, stubs.read, (LEFT, RIGHT)) as engine:
        outcomes = drive(engine, library(tmp_path, 60))
        assert [one.name for one in engine.state.devices] == ["left"]
        assert "no memory on right" in engine.notes[0]
    assert is_whole(outcomes, 60, "noting")


def test_what_a_model_says_of_all_devices_is_shown_once_and_as_it_was_said_last(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None
) -> None:
    """Each device had a line of its own about the same server, and one of them was an old one."""
    asked = itertools.count(1)

    class Server(noting.NotingModel):
        def notes(self) -> list[str]:
            return [f"asked {next(asked)} times"]

    with Engine(
        settings, lambda device: [Server(str(journal), device, Behaviour())], stubs.read, (LEFT, RIGHT)
    ) as engine:
        drive(engine, library(tmp_path, 80))
        assert all(one.photos for one in engine.state.devices)
        (line,) = engine.state.said
    assert int(line.split()[1]) >= next(asked) - 3  # of two devices at once, either may speak last


def test_when_no_device_can_start_the_run_ends_with_the_error(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None
) -> None:
    badly = Behaviour(loads="badly")
    load = noting.models(journal, left=badly, right=badly)
    with pytest.raises(ModelError, match="no memory on"):
        list(index(library(tmp_path, 9), settings, load, stubs.read, (LEFT, RIGHT)))


def test_frames_of_the_next_batch_go_up_while_one_is_computed(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = noting.NotingModel(str(journal), LEFT, Behaviour(frame_s=0.02))
    Card(8).plug_in(monkeypatch)
    monkeypatch.setattr(
        Batch, "prefetch", lambda batch: model.note("prefetch", len(batch), int(batch[0][0, 0, 0]))
    )
    outcomes = list(index(library(tmp_path, 24), settings, lambda device: [model], stubs.read, (LEFT,)))
    assert is_whole(outcomes, 24, "noting")
    events = [line.split() for line in journal.read_text().splitlines()]
    place = {(event[0], event[4]): number for number, event in enumerate(events)}
    batches = [event[4] for event in events if event[0] == "run"]
    overlapped = [
        place["run", before] < place["prefetch", batch] < place["done", before]
        or place["prefetch", batch] < place["run", before]
        for before, batch in itertools.pairwise(batches)
    ]
    assert len(overlapped) >= 5
    assert sum(overlapped) >= len(overlapped) - 1, "the last batch may have waited for its frames"


def test_models_that_take_turns_get_groups_of_frames(
    tmp_path: Path, settings: Settings, in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    models = [CardModel(name, card, weights_gib=5) for name in "ab"]
    big = dataclasses.replace(settings, ring_bytes=64 * slot_bytes(EDGE_PX))
    outcomes = list(index(library(tmp_path, 96), big, lambda device: models, stubs.read, (card.device,)))
    assert is_whole(outcomes, 96, "a", "b")
    assert set(models[0].runs) == {4}, "a group is worked on in batches"
    assert card.times("load", "a") <= 96 / 32 + 2, "32 frames, half of the ring, for one loading"


def test_a_model_that_keeps_failing_leaves_records_that_are_not_finished(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None
) -> None:
    load = noting.models(journal, beside=True, left=Behaviour(fails=True, frame_s=0.0))
    with Engine(settings, load, stubs.read, (LEFT,)) as engine:
        outcomes = drive(engine, library(tmp_path, 60))
        assert engine.given_up == {"noting"}
        assert any("noting is switched off" in note and "the device is lost" in note for note in engine.notes)
    assert is_whole(outcomes, 60, "steady")
    assert all(isinstance(outcome, Record) and outcome.is_partial for outcome in outcomes)
    tried = sum(frames == 1 for _, _, frames, _ in noted(journal, "run"))
    assert tried < 60, "it was not tried on all of them"


def test_a_device_whose_models_all_fail_gets_a_fresh_process_and_then_no_more_photos(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None
) -> None:
    """It would take nearly all of them: nobody is faster than who does nothing."""
    load = noting.models(journal, beside=True, left=Behaviour(fails=True, frame_s=0.0))
    with Engine(settings, load, stubs.read, (LEFT, RIGHT)) as engine:
        tasks = itertools.takewhile(lambda _: len(engine.state.devices) != 1, library(tmp_path, 3000))
        outcomes = drive(engine, tasks)
        assert [one.name for one in engine.state.devices] == ["right"]
        anew, lost = (note for note in engine.notes if "anew" in note or "goes on" in note)
        assert "started anew" in anew
        assert "the device is lost" in anew
        assert "goes on without stub" in lost
        assert not engine.given_up
        left = engine.left
    records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
    lacking = [record for record in records if "noting" not in record.outputs]
    assert len({record.path for record in records}) == len(records) == len(outcomes)
    assert all("steady" in record.outputs for record in records)
    assert all(record.is_partial for record in lacking)
    assert len(lacking) == left["noting"] <= 2 * 24, "what it failed on before it was known"


def test_no_time_is_spent_on_looking_while_a_second_device_loads(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = noting.models(journal, left=Behaviour(frame_s=0.05), right=Behaviour(load_s=1.0))
    hasty: list[float] = []
    wait = multiprocessing.connection.wait

    def noted_wait(connections: list, timeout: float) -> list:
        heard = wait(connections, timeout)
        if timeout < 0.001 and not heard:
            hasty.append(timeout)
        return heard

    monkeypatch.setattr(multiprocessing.connection, "wait", noted_wait)
    with Engine(settings, load, stubs.read, (LEFT, RIGHT)) as engine:
        assert is_whole(drive(engine, library(tmp_path, 40)), 40, "noting")
    assert len(hasty) < 100


def test_loading_may_take_longer_than_a_process_to_start_and_is_told(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_START_DEADLINE_S", 0.5)
    told: set[tuple[str, ...]] = set()
    with Engine(settings, noting.models(journal, left=Behaviour(load_s=1.2)), stubs.read, (LEFT,)) as engine:
        outcomes = drive(engine, library(tmp_path, 3), lambda _: told.add(engine.state.loading))
        assert not engine.is_loading
    assert is_whole(outcomes, 3, "noting")
    assert told == {(), ("noting",)}


def test_a_model_that_never_loads_is_named(
    tmp_path: Path, settings: Settings, journal: Path, in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_LOAD_DEADLINE_S", 0.2)
    load = noting.models(journal, left=Behaviour(load_s=3.0))
    with pytest.raises(ModelError, match="noting did not load within"):
        list(index(library(tmp_path, 3), settings, load, stubs.read, (LEFT,)))


def test_one_process_uses_the_first_device(tmp_path: Path, settings: Settings, journal: Path) -> None:
    load = noting.models(journal)
    outcomes = list(index_inline(library(tmp_path, 3), settings, load, stubs.read, (RIGHT, LEFT)))
    assert is_whole(outcomes, 3, "noting")
    assert {place for place, *_ in noted(journal, "run")} == {"right"}


def test_gpus_get_a_process_only_where_a_model_runs_there(journal: Path) -> None:
    assert used_devices((LEFT, RIGHT), noting.models(journal)) == (LEFT, RIGHT)
    assert used_devices((LEFT, RIGHT), stubs.models()) == (CPU,)
    assert used_devices((CPU,), stubs.models()) == (CPU,)
