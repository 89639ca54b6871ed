"""`catalogd timeline` and what `show` says of groups, as a person uses them: a real subprocess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalogd.catalog import Catalog
from catalogd.cli import cli
from catalogd.records import Facts, Place, Record
from catalogd.settings import Settings
from tests import factory
from tests.catalog.photos import PROFILE, photo
from tests.test_cli import catalogd, rows

ROME = {"latitude": 41.9, "longitude": 12.5, "place": Place("IT", "Italy", "Lazio", "Rome")}
BERLIN = {"latitude": 52.5, "longitude": 13.4, "place": Place("DE", "Germany", "Berlin", "Berlin")}


def shot(path: str, taken_at: str | None, **facts: object) -> Record:
    kind = "raw" if path.endswith(".CR3") else "jpeg"
    return photo(path, facts=Facts(kind, 40, 30, camera="Canon R6", taken_at=taken_at, **facts), outputs={})  # type: ignore[arg-type]


def filled(folder: Path, *records: Record, follow: bool = True) -> Path:
    settings = Settings(catalog=folder / "catalog")
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.commit(records, PROFILE)
        if follow:
            catalog.follow(force=True)
    return settings.catalog


def in_process(catalog: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--catalog", str(catalog), "timeline", *arguments])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days in Berlin, two in Rome: a RAW + JPEG, a burst, and a picture without a date."""
    return filled(
        tmp_path_factory.mktemp("timeline"),
        *(shot(f"/p/berlin{day}.jpg", f"2023-05-0{day}T09:00:00", **BERLIN) for day in (1, 2, 3)),
        shot("/p/IMG_1.CR3", "2023-06-01T10:00:00", **ROME),
        shot("/p/IMG_1.JPG", "2023-06-01T10:00:00", **ROME),
        shot("/p/IMG_2.JPG", "2023-06-02T11:30:00", **ROME),
        shot("/p/IMG_3 [best].JPG", "2023-06-02T11:30:01", rating=5, **ROME),
        shot("/p/scan.jpg", None),
    )


def test_trips_and_sessions_come_by_time_with_places_counts_and_a_cover(library: Path) -> None:
    found = rows(catalogd("timeline", "--json", catalog=library))
    assert [(row["kind"], row["photos"]) for row in found] == [("session", 1)] * 3 + [("trip", 4)]
    trip = found[3]
    assert (trip["start"], trip["end"]) == ("2023-06-01T10:00:00", "2023-06-02T11:30:01")
    assert trip["places"] == ["Rome", "Italy"]
    assert (trip["stacks"], trip["bursts"], len(trip["session_ids"])) == (1, 1, 2)  # type: ignore[arg-type]
    assert trip["cover_path"] in ("/p/IMG_1.JPG", "/p/IMG_3 [best].JPG")


def test_the_table_is_for_people(library: Path) -> None:
    lines = catalogd("timeline", catalog=library).stdout.splitlines()
    assert lines[0].split() == ["when", "what", "photos", "where", "in", "it", "cover"]
    assert lines[1].split()[:4] == ["2023-05-01", "09:00", "session", "1"]
    assert "Berlin, Germany" in lines[1]
    assert lines[4].startswith("2023-06-01 – 2023-06-02")
    assert "Rome, Italy" in lines[4]
    assert "1 stack, 1 burst" in lines[4]


def test_bursts_are_listed_with_the_picture_to_keep(library: Path) -> None:
    [burst] = rows(catalogd("timeline", "--bursts", "--json", catalog=library))
    assert (burst["photos"], burst["cover_path"]) == (2, "/p/IMG_3 [best].JPG")
    assert "/p/IMG_3 [best].JPG" in catalogd("timeline", "--bursts", catalog=library).stdout


@pytest.mark.parametrize(
    ("since", "bursts", "count"),
    [("2023-06", "", 1), ("2023-06-02", "", 1), ("2023-05-02", "", 3), ("2022", "--bursts", 1)],
)
def test_since_leaves_out_what_ended_before(library: Path, since: str, bursts: str, count: int) -> None:
    arguments = ["--json", "--since", since, *([bursts] if bursts else [])]
    assert len(in_process(library, *arguments).stdout.splitlines()) == count


@pytest.mark.parametrize("options", [(), ("--bursts",), ("--json",)])
def test_nothing_since_a_date_is_exit_code_1_and_said(library: Path, options: tuple[str, ...]) -> None:
    done = in_process(library, "--since", "2024", *options)
    assert (done.exit_code, done.stdout, "since 2024-01-01" in done.stderr) == (1, "", True)


def test_a_date_that_is_none_is_a_usage_error(library: Path) -> None:
    done = in_process(library, "--since", "tomorrow")
    assert (done.exit_code, "tomorrow" in done.stderr) == (2, True)


def test_without_photos_without_dates_and_before_it_is_made_it_says_what_to_do(tmp_path: Path) -> None:
    empty = filled(tmp_path / "empty")
    assert "`catalogd run FOLDER`" in catalogd("timeline", catalog=empty, code=1).stderr
    fresh = filled(tmp_path / "fresh", shot("/p/a.jpg", "2023-05-01T10:00:00"), follow=False)
    assert "`catalogd rebuild timeline`" in catalogd("timeline", catalog=fresh, code=1).stderr
    assert "rebuilt in" in catalogd("rebuild", "timeline", catalog=fresh).stdout
    assert len(rows(catalogd("timeline", "--json", catalog=fresh))) == 1
    undated = filled(tmp_path / "undated", shot("/p/a.jpg", None))
    assert "photos with a date" in catalogd("timeline", catalog=undated, code=1).stderr


def test_show_tells_the_groups_of_a_photo(library: Path) -> None:
    [raw] = rows(catalogd("show", "/p/IMG_1.CR3", "--json", catalog=library))
    assert raw["stack"]["cover_path"] == "/p/IMG_1.JPG"  # type: ignore[index]
    assert len(raw["stack"]["photo_ids"]) == 2  # type: ignore[index]
    assert (raw["burst"], raw["film"]) == (None, None)
    assert raw["session"]["photos"] == 2  # type: ignore[index]
    text = catalogd("show", "/p/IMG_2.JPG", catalog=library).stdout
    assert "2 photos, cover /p/IMG_3 [best].JPG" in text
    assert "2023-06-02 11:30, 2 photos, on a trip" in text
    [scan] = rows(catalogd("show", "/p/scan.jpg", "--json", catalog=library))
    assert (scan["stack"], scan["burst"], scan["session"]) == (None, None, None)


def test_a_run_makes_the_time_line_of_real_files(tmp_path: Path) -> None:
    """A picture kept twice under one name, and the film of a live photo beside it."""
    photos = tmp_path / "photos"
    photos.mkdir()
    factory.write_jpeg(photos / "IMG_7.jpg", factory.scene(120, 160))
    factory.write_jpeg(photos / "IMG_7.jpeg", factory.scene(60, 80))
    (photos / "IMG_7.MOV").touch()
    catalog = tmp_path / "catalog"
    catalogd("run", str(photos), "--once", "--readers", "1", catalog=catalog)
    [session] = rows(catalogd("timeline", "--json", catalog=catalog))
    assert (session["photos"], session["stacks"], session["start"]) == (2, 1, "2024-05-01T17:30:15")
    [small] = rows(catalogd("show", str(photos / "IMG_7.jpeg"), "--json", catalog=catalog))
    assert small["stack"]["cover_path"] == str(photos / "IMG_7.jpg")  # type: ignore[index]
    assert small["film"] == str(photos / "IMG_7.MOV")
    assert json.loads(catalogd("check", "--deep", "--json", catalog=catalog).stdout or "null") is None
