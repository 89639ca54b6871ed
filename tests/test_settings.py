"""Settings: file, variables, flags, in that order; every mistake is named with its place."""

from __future__ import annotations

import dataclasses
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
        ("readers = -1", "at least 0"),
        ("batch = 1.5", "batch"),
        ("readers = ", "Invalid value"),
        ("thumbnail_quality = 101", "at most 100"),
        ('thumbnail_format = "gif"', "one of jpeg, webp"),
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


NUMBERS = [field for field in dataclasses.fields(Settings) if field.type in ("int", "float")]


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_every_number_has_a_least_value_that_an_error_names_with_the_place(
    field: dataclasses.Field[object],
) -> None:
    """CATALOGD_COMMIT_RECORDS=0 was taken, and the run then hung."""
    least = field.metadata["least"]
    variable = f"CATALOGD_{field.name.upper()}"
    below = str(least - (1 if field.type == "int" else 0.01))
    with pytest.raises(SettingsError, match=f"{variable}: must be a number that is at least {least:,} "):
        load_settings(None, {variable: below})
    assert getattr(load_settings(None, {variable: str(least)}), field.name) == least
    assert field.default >= least


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_deadline_is_a_finite_number(value: str) -> None:
    with pytest.raises(SettingsError, match="CATALOGD_READ_DEADLINE_S"):
        load_settings(None, {"CATALOGD_READ_DEADLINE_S": value})


def test_a_flag_below_the_least_value_is_named() -> None:
    with pytest.raises(SettingsError, match="--batch: must be a number that is at least 0"):
        load_settings(None, {}, {"batch": -1})
