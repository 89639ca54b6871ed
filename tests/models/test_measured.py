"""What was measured of models is there for the next run, and no damage to it stops one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from catalogd.models import measured
from catalogd.models.measured import Measured, Measurements

PLACE = ("H200", "bf16")


def test_another_process_finds_what_was_measured_by_model_device_and_precision(tmp_path: Path) -> None:
    kept = Measurements(tmp_path, *PLACE)
    kept.note("clip@1", Measured(weights_bytes=7, load_s=1.5))
    kept.write()
    other = Measurements(tmp_path, "H200", "fp32")
    other.note("clip@1", Measured(weights_bytes=14))
    other.write()
    assert Measurements(tmp_path, *PLACE)["clip@1"] == Measured(weights_bytes=7, load_s=1.5)
    assert Measurements(tmp_path, "H200", "fp32")["clip@1"].weights_bytes == 14
    assert Measurements(tmp_path, *PLACE)["clip@2"] == Measured()


def test_two_processes_of_one_device_keep_what_each_measured(tmp_path: Path) -> None:
    old = Measurements(tmp_path, *PLACE)
    old.note("a@1", Measured(load_s=9))
    old.write()
    one, other = Measurements(tmp_path, *PLACE), Measurements(tmp_path, *PLACE)
    one.note("a@1", Measured(load_s=1, batch=4, batch_at=time.time()))
    other.note("b@1", Measured(load_s=2))
    one.write()
    other.write()
    again = Measurements(tmp_path, *PLACE)
    assert (again["a@1"].load_s, again["a@1"].batch, again["b@1"].load_s) == (1, 4, 2)


def test_a_smaller_batch_is_forgotten_after_a_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Measurements(tmp_path, *PLACE)
    kept.note("a@1", Measured(batch=4, batch_at=1000.0, frame_bytes=9))
    kept.write()
    monkeypatch.setattr(measured.time, "time", lambda: 1000.0 + 6 * 86400)
    assert Measurements(tmp_path, *PLACE)["a@1"].batch == 4
    monkeypatch.setattr(measured.time, "time", lambda: 1000.0 + 8 * 86400)
    assert Measurements(tmp_path, *PLACE)["a@1"] == Measured(frame_bytes=9)


@pytest.mark.parametrize("content", [b"", b"{", b'{"H200, bf16": 3}', b"\xff\x00", b'{"\xff": {}}', b"[1]"])
def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plans.json").write_bytes(content)
    kept = Measurements(tmp_path, *PLACE)
    kept.note("a@1", Measured(load_s=1))
    kept.write()
    assert Measurements(tmp_path, *PLACE)["a@1"].load_s == 1


def test_a_folder_that_can_not_be_written_costs_only_the_measurements(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("in the way")
    kept = Measurements(tmp_path / "models", *PLACE)
    kept.note("a@1", Measured(load_s=1))
    kept.write()
    assert kept["a@1"].load_s == 1


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    Measurements(tmp_path, *PLACE).write()
    assert not (tmp_path / "plans.json").exists()
