"""Settings: file, variables, flags, in that order; every mistake is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogd.errors import SettingsError
from catalogd.settings import Settings, load_settings


def write(folder: Path, text: str) -> Path:
    file = folder / "catalogd.toml"
    file.write_text(text)
    return file


def test_the_later_source_wins(tmp_path: Path) -> None:
    file = write(tmp_path, "readers = 2\nbatch = 3\nframe_edge_px = 999\n")
    settings = load_settings(
        file, {"CATALOGD_BATCH": "4", "CATALOGD_READERS": "5"}, {"readers": 6, "profile": None}
    )
    assert (settings.readers, settings.batch, settings.frame_edge_px) == (6, 4, 999)
    assert settings.profile == Settings().profile


def test_paths_know_the_home_folder(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, 'catalog = "~/mine"'), {}).catalog == Path.home() / "mine"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("reders = 2", "reders: there is no such setting"),
        ('readers = "many"', "readers"),
        ("readers = -1", "must not be negative"),
        ("batch = 1.5", "batch"),
        ("readers = ", "Invalid value"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError, match=place) as raised:
        load_settings(file, {})
    assert str(file) in str(raised.value)


def test_a_mistake_in_a_variable_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="CATALOGD_READERS"):
        load_settings(None, {"CATALOGD_READERS": "x"})


def test_a_settings_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings(tmp_path / "none.toml", {})
