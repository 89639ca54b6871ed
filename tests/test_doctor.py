"""What the doctor calls missing, and what it only mentions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from catalogd.doctor import examine
from catalogd.models import choices, devices
from catalogd.settings import GiB, Settings
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


@pytest.mark.parametrize(
    ("program", "verdict", "says"),
    [
        (None, True, "exiftool (system): sidecars"),
        (Path("/nowhere/exiftool"), False, "/nowhere/exiftool is not there"),
        (Path("/bin/false"), False, "does not run"),
    ],
)
def test_exiftool_is_named_with_its_version_and_a_set_one_that_does_not_run_is_a_fault(
    tmp_path, program: Path | None, verdict: bool | None, says: str
) -> None:
    settings = Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "models", exiftool=program)
    [finding] = [finding for finding in examine(settings) if finding.name == "exiftool"]
    assert finding.ok is verdict
    assert says in finding.text
    assert bool(finding.fix) is not verdict


@pytest.mark.parametrize(("engine", "verdict"), [("auto", None), ("annoy", None), ("faiss", False)])
def test_without_faiss_the_doctor_says_what_it_would_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, verdict: bool | None
) -> None:
    settings = Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "models", vector_engine=engine)
    assert [finding.ok for finding in examine(settings) if finding.name == "vector engine"] == [True]
    monkeypatch.setitem(sys.modules, "faiss", None)
    [finding] = [finding for finding in examine(settings) if finding.name == "vector engine"]
    assert finding.ok is verdict
    assert finding.fix == "pip install 'catalogd[faiss]'"


@pytest.mark.parametrize(
    ("usable", "setting", "verdict", "says"),
    [
        (True, "auto", True, "models run on GPU 0 (NVIDIA Test, 24 GiB) in bf16"),
        (False, "auto", None, "nothing is installed that uses GPU 0 (NVIDIA Test, 24 GiB)"),
        (True, "cpu", True, "models run on the CPU"),
        (True, "3", False, "--devices 3: there is no GPU 3; there are: 0 (NVIDIA Test, 24 GiB)"),
    ],
)
def test_the_doctor_says_where_models_run_and_which_gpu_lies_idle(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    usable: bool,
    setting: str,
    verdict: bool | None,
    says: str,
) -> None:
    gpu = devices.Device("cuda", 0, "NVIDIA Test", 24 * GiB, (8, 6))
    monkeypatch.setattr(devices, "present", lambda: [gpu])
    monkeypatch.setattr(devices, "torch_has_cuda", lambda: usable)
    settings = Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "models", devices=setting)
    findings = [finding for finding in examine(settings) if finding.name in ("devices", "onnxruntime")]
    assert (findings[0].ok, says in findings[0].text) == (verdict, True)
    assert bool(findings[0].fix) is (verdict is not True)
    on_gpu = usable and setting == "auto"
    assert [finding.ok for finding in findings[1:]] == ([False] if on_gpu else []), "it has no CUDA here"


def test_the_models_of_the_chosen_profile_are_looked_at_and_what_stands_in_is_a_note(tmp_path: Path) -> None:
    settings = Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "models")
    choices.use_profile(settings, "standard")
    findings = {finding.name: finding for finding in examine(settings)}
    assert findings["profile"].text == "standard"
    missing = findings["model embedding:siglip2-base"]
    assert (missing.ok, missing.fix) == (False, "catalogd models get siglip2-base")
    assert findings["model caption"].ok is None, "captions are made on request"
    assert findings["licence"].ok is None
    assert findings["licence"].fix == "catalogd models accept buffalo_l"


def test_weights_that_were_named_without_an_accepted_licence_are_a_fault(tmp_path: Path) -> None:
    settings = Settings(
        catalog=tmp_path / "catalog", model_cache=tmp_path / "models", model_path=tmp_path / "own"
    )
    for name in ("detection", "recognition"):
        (tmp_path / "own" / "buffalo_l" / name).mkdir(parents=True)
        (tmp_path / "own" / "buffalo_l" / name / "model.onnx").write_text("x")
    choices.use_model(settings, "faces", "buffalo_l")
    [finding] = [finding for finding in examine(settings) if finding.name == "model faces"]
    assert finding.ok is False
    assert "buffalo_l is not for everyone (InsightFace-research)" in finding.text
    assert finding.fix == "catalogd models accept buffalo_l"


def test_two_packages_of_onnxruntime_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "models")
    monkeypatch.setattr("catalogd.doctor._is_installed", lambda name: name == "onnxruntime")
    assert not [finding for finding in examine(settings) if finding.name == "onnxruntime packages"]
    monkeypatch.setattr("catalogd.doctor._is_installed", lambda name: True)
    [finding] = [finding for finding in examine(settings) if finding.name == "onnxruntime packages"]
    assert finding.ok is None
    assert finding.fix.endswith("pip install onnxruntime-gpu")
