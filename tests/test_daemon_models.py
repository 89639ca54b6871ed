"""Runs whose models fail: the rest goes on, the run says so, and the next one makes what is missing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from catalogd import terminal
from catalogd.catalog import Catalog
from catalogd.daemon import Daemon, Progress
from catalogd.errors import ModelError
from catalogd.images import Reading
from catalogd.models.devices import Device
from catalogd.records import Output
from catalogd.settings import Settings
from tests import stubs
from tests.pipeline import noting

PHOTOS = 30


class Runs:
    """Runs of one library in one process, with two models, one of which may fail."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            catalog=folder / "catalog",
            model_cache=folder / "models",
            frame_edge_px=64,
            ring_bytes=1 << 20,
            thumbnails=False,
        )
        self.root = folder / "library"
        for number in range(PHOTOS):
            stubs.write_photo(self.root, f"{number}.jpg", (number, 9, 9))
        self.reads = 0
        self.told: Progress | None = None
        self.states: set[str] = set()

    def run(self, load: Callable[[], None] = lambda: None, error: Exception | None = None) -> int:
        """Exit code of a run in which "count" loads by `load` and raises `error` on each frame."""
        daemon = Daemon(
            self.settings,
            [os.fsencode(self.root)],
            lambda device: self._models(load, error, device),
            once=True,
            inline=True,
            read=self._read,
            report=self._note,
        )
        self.reads = 0
        return daemon.run()

    def _models(
        self, load: Callable[[], None], error: Exception | None, device: Device
    ) -> list[stubs.MeanModel]:
        bad = stubs.CountModel()
        bad.load = load  # type: ignore[method-assign]
        if error is not None:
            bad.run = _raising(error)  # type: ignore[method-assign]
        return [stubs.MeanModel(), bad]

    def _read(self, path: bytes, pixels: np.ndarray, settings: object) -> Reading:
        self.reads += 1
        return stubs.read(path, pixels, settings)

    def _note(self, progress: Progress) -> None:
        self.told = progress
        self.states.add(progress.state)

    def outputs(self) -> list[set[str]]:
        with Catalog.open(self.settings.catalog, self.settings) as catalog:
            return [set(record.outputs) for record in catalog.records_under(os.fsencode(self.root))]


def _raising(error: Exception) -> Callable[[Sequence[np.ndarray]], list[Output]]:
    def run(frames: Sequence[np.ndarray]) -> list[Output]:
        raise error

    return run


def _corrupt() -> None:
    raise ModelError("count.onnx: SHA-256 is not what it should be")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_a_model_that_does_not_load_costs_its_own_outputs_until_it_does(runs: Runs) -> None:
    assert runs.run(load=_corrupt) == 4
    assert runs.told is not None
    assert any("count is switched off" in note and "SHA-256" in note for note in runs.told.notes)
    assert runs.told.devices[0].switched_off == ("count",)
    assert runs.outputs() == [{"mean"}] * PHOTOS
    assert runs.run() == 0
    assert runs.reads == PHOTOS
    assert runs.outputs() == [{"mean", "count"}] * PHOTOS
    assert runs.run() == 0
    assert runs.reads == 0


def test_photos_that_lack_only_a_switched_off_model_are_not_read_for_it_again_in_that_run(
    runs: Runs,
) -> None:
    assert runs.run(load=_corrupt) == 4
    stubs.write_photo(runs.root, "new.jpg", (99, 9, 9))
    assert runs.run(load=_corrupt) == 4
    assert runs.reads == 1
    assert runs.run() == 0
    assert runs.reads == PHOTOS + 1, "and are not taken for finished"


def test_a_model_that_fails_on_every_photo_is_switched_off_in_the_middle(runs: Runs) -> None:
    assert runs.run(error=RuntimeError("the device is lost")) == 4
    assert runs.told is not None
    assert any("count is switched off" in note for note in runs.told.notes)
    assert 0 < runs.told.model_errors["count"] < PHOTOS
    assert sum("count" not in names for names in runs.outputs()) == PHOTOS - runs.told.model_errors["count"]
    assert runs.run() == 0
    assert all("count" in names for names in runs.outputs())


def test_a_model_that_can_not_work_at_all_leaves_no_errors_behind(runs: Runs) -> None:
    assert runs.run(error=ModelError("the server does not answer")) == 4
    assert runs.told is not None
    assert runs.told.model_errors == {}
    assert runs.outputs() == [{"mean"}] * PHOTOS


def test_when_no_model_loads_the_run_ends_with_the_error(tmp_path: Path) -> None:
    class Lone(Runs):
        def _models(self, load: Callable[[], None], error: Exception | None, device: Device) -> list:
            return super()._models(load, error, device)[1:]

    runs = Lone(tmp_path)
    with pytest.raises(ModelError, match="SHA-256"):
        runs.run(load=_corrupt)


def test_photos_that_a_model_leaves_for_the_next_run_are_told_and_are_not_all_is_well(runs: Runs) -> None:
    class Thrifty(Runs):
        budget = 10

        def _models(self, load: Callable[[], None], error: Exception | None, device: Device) -> list:
            mean, count = stubs.MeanModel(), stubs.CountModel()
            whole = count.run

            def run(frames: Sequence[np.ndarray]) -> list[Output]:
                self.budget -= len(frames)
                return whole(frames) if self.budget >= 0 else [Output("")] * len(frames)

            count.run = run  # type: ignore[method-assign]
            return [mean, count]

    thrifty = Thrifty(runs.root.parent)
    assert thrifty.run() == 3
    assert thrifty.told is not None
    assert thrifty.told.left == {"count": PHOTOS - 10}
    assert "count is missing on 20 photos: the next run makes it" in terminal.summary(thrifty.told)
    thrifty.budget = 100
    assert thrifty.run() == 0
    assert thrifty.reads == PHOTOS - 10
    assert thrifty.told.left == {}


def test_a_run_that_ends_when_it_is_done_is_never_said_to_watch(runs: Runs) -> None:
    assert runs.run() == runs.run() == 0
    assert "watching" not in runs.states


def test_a_run_that_is_stopped_while_models_load_ends_at_once(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    (tmp_path / "journal").touch()

    def stop(progress: Progress) -> None:
        runs.told = progress
        if progress.state == "loading" and progress.loading:
            signal.raise_signal(signal.SIGINT)

    load = noting.models(tmp_path / "journal", CPU=noting.Behaviour(load_s=120.0))
    daemon = Daemon(runs.settings, [os.fsencode(runs.root)], load, once=True, read=stubs.read, report=stop)
    start = time.monotonic()
    assert daemon.run() == 130
    assert time.monotonic() - start < 60
    assert runs.told is not None
    assert (runs.told.state, runs.told.loading) == ("done", ("noting",))
