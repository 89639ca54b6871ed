"""Engine and stages with stub decoders and models: whatever dies, the others' photos come out whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogd.errors import ModelError, ResourceError
from catalogd.models.devices import Device
from catalogd.pipeline import Engine, index, index_inline
from catalogd.pipeline.ring import slot_bytes
from catalogd.records import Failure, Outcome, Record, Task
from catalogd.settings import Settings
from tests import stubs

EDGE_PX = 64
GOOD = {f"good-{number}.jpg": (number, 100, 50) for number in range(20, 32)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        catalog=tmp_path / "catalog",
        frame_edge_px=EDGE_PX,
        ring_bytes=12 * slot_bytes(EDGE_PX),
        readers=2,
        batch=4,
        read_deadline_s=1.5,
        infer_deadline_s=1.5,
        inference_threads=1,
    )


def library(folder: Path, photos: dict[str, tuple[int, int, int]]) -> list[Task]:
    return [Task(stubs.write_photo(folder, name, colour)) for name, colour in photos.items()]


def by_name(outcomes: Iterator[Outcome]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        name = os.path.basename(os.fsdecode(outcome.path))
        assert name not in found, "a photo came out twice"
        found[name] = outcome
    return found


def run(tasks: list[Task], settings: Settings, *versions: int) -> dict[str, Outcome]:
    return by_name(index(tasks, settings, stubs.models(*versions), stubs.read))


def test_every_photo_comes_out_once_with_what_every_model_said(tmp_path: Path, settings: Settings) -> None:
    outcomes = run(library(tmp_path, GOOD), settings, 1, 1)
    assert set(outcomes) == set(GOOD)
    for outcome in outcomes.values():
        assert isinstance(outcome, Record)
        assert set(outcome.outputs) == {"mean", "count"}
        assert outcome.outputs["mean"].tags is not None
        assert outcome.outputs["mean"].tags[0].name == "green"


def test_one_process_gives_the_same_records_as_many(tmp_path: Path, settings: Settings) -> None:
    tasks = library(tmp_path, GOOD)
    many = run(tasks, settings)
    assert by_name(index_inline(tasks, settings, stubs.models(), stubs.read)) == many


def test_a_task_that_names_models_gets_just_those(tmp_path: Path, settings: Settings) -> None:
    [task] = library(tmp_path, {"good.jpg": (1, 2, 3)})
    outcomes = run([Task(task.path, models=("count",), photo_id=9)], settings, 1, 1)
    record = outcomes["good.jpg"]
    assert isinstance(record, Record)
    assert (set(record.outputs), record.photo_id) == ({"count"}, 9)


@pytest.mark.parametrize(
    ("misdeed", "reason", "tries"),
    [
        ("segfault", "crashed", 2),
        ("abort", "crashed", 2),
        ("bus", "crashed", 2),
        ("exit", "crashed", 2),
        ("memory", "too_large", 1),
        ("stderr", "unreadable", 1),
        ("garbage", "crashed", 2),
    ],
)
def test_a_decoder_that_misbehaves_costs_its_own_photo_alone(
    tmp_path: Path, settings: Settings, misdeed: str, reason: str, tries: int
) -> None:
    photos = dict(list(GOOD.items())[:6]) | {f"{misdeed}-1.jpg": (1, 2, 3)} | dict(list(GOOD.items())[6:])
    outcomes = run(library(tmp_path, photos), settings)
    bad = outcomes.pop(f"{misdeed}-1.jpg")
    assert isinstance(bad, Failure)
    assert (bad.reason, bad.tries) == (reason, tries)
    assert bad.stat.size > 0
    assert all(isinstance(outcome, Record) for outcome in outcomes.values())
    assert set(outcomes) == set(GOOD)


@pytest.mark.parametrize("misdeed", ["hang", "stopped"])
def test_a_reader_that_hangs_or_is_stopped_is_replaced_at_its_deadline(
    tmp_path: Path, settings: Settings, misdeed: str
) -> None:
    start = time.monotonic()
    outcomes = run(library(tmp_path, GOOD | {f"{misdeed}.jpg": (1, 2, 3)}), settings)
    bad = outcomes[f"{misdeed}.jpg"]
    assert isinstance(bad, Failure)
    assert (bad.stage, bad.reason, bad.tries) == ("read", "timeout", 2)
    assert "read_deadline_s" in bad.message
    assert sum(isinstance(outcome, Record) for outcome in outcomes.values()) == len(GOOD)
    assert time.monotonic() - start < 40


def test_a_photo_whose_reader_was_killed_once_is_read_the_second_time(
    tmp_path: Path, settings: Settings
) -> None:
    outcomes = run(library(tmp_path, {"crashonce.jpg": (1, 2, 3)}), settings)
    assert isinstance(outcomes["crashonce.jpg"], Record)


@pytest.mark.parametrize(("colour", "reason"), [(stubs.DEADLY, "crashed"), (stubs.HANGING, "timeout")])
def test_a_frame_that_kills_inference_is_found_by_halving_and_the_rest_is_kept(
    tmp_path: Path, settings: Settings, colour: tuple[int, int, int], reason: str
) -> None:
    outcomes = run(library(tmp_path, dict(list(GOOD.items())[:5]) | {"poison.jpg": colour}), settings)
    bad = outcomes.pop("poison.jpg")
    assert isinstance(bad, Failure)
    assert (bad.stage, bad.reason) == ("infer", reason)
    assert "mean@1" in bad.profile
    assert all(isinstance(outcome, Record) for outcome in outcomes.values())


def test_a_model_that_raises_on_one_frame_fails_that_output_alone(tmp_path: Path, settings: Settings) -> None:
    outcomes = run(library(tmp_path, GOOD | {"refused.jpg": stubs.RAISING}), settings, 1, 1)
    refused = outcomes["refused.jpg"]
    assert isinstance(refused, Record)
    assert refused.outputs["mean"].error == "RuntimeError: this colour is refused"
    assert refused.outputs["count"].error is None
    assert all(outcome.outputs["mean"].error is None for name, outcome in outcomes.items() if name in GOOD)


def _no_weights(device: Device) -> list[object]:
    raise ModelError("weights of mean are missing")


def test_models_that_can_not_load_end_the_run_with_their_error(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ModelError, match="weights of mean are missing"):
        list(index(library(tmp_path, GOOD), settings, _no_weights, stubs.read))


def _die_at_once(device: Device) -> list[object]:
    os._exit(7)


def test_inference_that_always_dies_before_it_is_ready_ends_the_run(
    tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(ResourceError, match="inference process died"):
        list(index(library(tmp_path, GOOD), settings, _die_at_once, stubs.read))


def test_killed_processes_are_replaced_and_every_slot_comes_back(tmp_path: Path, settings: Settings) -> None:
    tasks = library(tmp_path, {f"slow-{number}.jpg": (number, 9, 9) for number in range(60)})
    outcomes: list[Outcome] = []
    with Engine(settings, stubs.models(), stubs.read) as engine:
        kills = 0
        while tasks or engine.busy:
            while tasks and engine.wants_task:
                engine.offer(tasks.pop())
            outcomes += engine.step(0.1)
            if kills < 6 and len(outcomes) >= 8 * (kills + 1):
                children = engine._children()
                children[kills % len(children)].process.kill()
                kills += 1
        assert engine.state.slots_used == 0
        assert kills == 6
    assert len({outcome.path for outcome in outcomes}) == len(outcomes) == 60
    assert all(isinstance(outcome, Record) for outcome in outcomes)
