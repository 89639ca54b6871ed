"""When a network is recorded and replayed, and that it then says the same."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from catalogd.models import replaying
from catalogd.models.devices import CPU, Device, Hardware
from catalogd.models.replaying import Replayed, bucket_of

pytestmark = pytest.mark.torch
GPU = Hardware(Device("cuda", 0, "not really one"), 1, "fp32")


class Recorder:
    """Stands in for CUDA's recording: a graph computes on its own input, into its own output."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def __call__(self, function: Any, example: Any) -> Any:
        self.recorded.append(len(example))
        output = function(example)

        def replay(values: Any) -> Any:
            self.replayed.append(len(values))
            example[: len(values)].copy_(values)
            return output.copy_(function(example))

        return replay


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def replayed(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Replayed:
    """Of a function that doubles, whose graphs take half the time."""
    monkeypatch.setattr(replaying, "seconds_of", lambda f, values: 1.0 if f is double else 0.5)
    return Replayed(double, GPU, "Double", recorder)


def double(values: Any) -> Any:
    return values * 2


def rows(*values: float) -> Any:
    import torch

    return torch.tensor(values)[:, None]


def test_a_shape_is_recorded_when_it_comes_again_and_then_replayed(
    replayed: Replayed, recorder: Recorder
) -> None:
    for start in range(4):
        assert replayed(rows(start, 2, 3)).flatten().tolist() == [start * 2, 4, 6]
    assert (recorder.recorded, recorder.replayed) == ([4], [3, 3, 3])


def test_rows_are_filled_up_to_few_shapes(replayed: Replayed, recorder: Recorder) -> None:
    assert [bucket_of(n) for n in (1, 2, 3, 4, 5, 33, 64)] == [1, 2, 4, 4, 8, 64, 64]
    for count in (5, 8, 6, 7, 5):
        assert len(replayed(rows(*range(count)))) == count
    assert (recorder.recorded, recorder.replayed) == ([8], [8, 6, 7, 5])


def test_what_was_given_out_is_not_overwritten_by_the_next_replay(replayed: Replayed) -> None:
    replayed(rows(1))
    first = replayed(rows(1))
    replayed(rows(9))
    assert first.tolist() == [[2]]


def test_a_graph_that_is_no_quicker_is_not_kept(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(replaying, "seconds_of", lambda f, values: 1.0 if f is double else 0.97)
    replayed = Replayed(double, GPU, "Double", recorder)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert replayed(rows(4, 5)).flatten().tolist() == [8, 10]
    assert (recorder.recorded, recorder.replayed) == ([2], [])
    assert "970.00 ms instead of 1000.00, not kept; tried in" in caplog.text


@pytest.mark.parametrize(
    "error", [RuntimeError("operation not permitted when stream is capturing"), MemoryError()]
)
def test_what_cannot_be_recorded_is_run_as_it_is(error: Exception) -> None:
    tries: list[int] = []

    def record(function: Any, example: Any) -> Any:
        tries.append(len(example))
        raise error

    replayed = Replayed(double, GPU, "Double", record)
    assert [replayed(rows(n)).item() for n in range(4)] == [0, 2, 4, 6]
    assert tries == [1]


def test_large_batches_and_other_devices_are_run_as_they_are(replayed: Replayed, recorder: Recorder) -> None:
    on_cpu = Replayed(double, Hardware(CPU), "Double", recorder)
    for _ in range(3):
        assert len(replayed(rows(*range(65)))) == 65
        assert len(replayed(rows())) == 0
        assert on_cpu(rows(3)).item() == 6
    assert recorder.recorded == []
