"""What the doctor calls missing, and what it only mentions."""

from __future__ import annotations

import pytest

from catalogd.doctor import examine
from catalogd.settings import Settings
from tests.models.test_registry import remove


@pytest.mark.parametrize(("name", "verdict"), [("faces", False), ("objects", None)])
def test_a_missing_model_is_a_fault_and_a_missing_extra_a_note(
    tmp_path, monkeypatch: pytest.MonkeyPatch, name: str, verdict: bool | None
) -> None:
    """The doctor of a plain starter install called the extra `objects` missing and ended with 1."""
    remove(monkeypatch, name)
    settings = Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "models")
    [finding] = [finding for finding in examine(settings) if finding.name == f"model {name}"]
    assert finding.ok is verdict
    assert finding.fix.startswith("pip install ")


def test_shared_memory_that_is_too_small_for_a_frame_is_a_fault(tmp_path) -> None:
    settings = Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "models", ring_bytes=1 << 20)
    [finding] = [finding for finding in examine(settings) if finding.name == "shared memory"]
    assert finding.ok is False
    assert "--shm-size" in finding.fix
