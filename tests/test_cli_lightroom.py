"""`catalogd import lightroom`: what it prints, what it changes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from catalogd.catalog import Catalog
from catalogd.catalog.user_data import UserData
from catalogd.cli import cli, lightroom
from catalogd.records import Facts
from catalogd.run_state import is_running
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo
from tests.sync.lightroom.family import family_catalog

PROGRAM = Path(sys.executable).with_name("catalogd")


class Place(NamedTuple):
    """A catalog of catalogd with two photos, and one of Lightroom with these and more."""

    catalog: Path
    file: Path
    photos: Path

    def __call__(self, *arguments: str, exit_code: int = 0) -> Result:
        command = ["--catalog", str(self.catalog), "import", "lightroom", *arguments]
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == exit_code, done.output
        return done

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self(str(self.file), "--json", *arguments)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def rating(self) -> int | None:
        with Catalog.open(self.catalog, Settings()) as catalog:
            record = catalog.record(catalog.photo_id_of(f"{self.photos}/2023/Norway/a.jpg".encode()) or 0)
        assert record is not None
        return record.said.rating


@pytest.fixture
def place(tmp_path: Path) -> Place:
    photos = tmp_path / "photos"
    (photos / "2023" / "Norway").mkdir(parents=True)
    (tmp_path / "lr").mkdir()
    file = family_catalog(tmp_path / "lr" / "Family.lrcat", f"{photos}/").close()
    with Catalog.open(tmp_path / "catalog", Settings(), write=True) as catalog:
        facts = Facts("jpeg", 60, 40, rating=1)
        names = ("2023/Norway/a.jpg", "2023/Norway/b.NEF")
        catalog.commit([photo(f"{photos}/{name}", facts=facts) for name in names], PROFILE)
        catalog.follow(force=True)
    return Place(tmp_path / "catalog", file, photos)


def test_an_import_says_what_it_took_and_photos_follow_without_a_run(place: Place) -> None:
    done = place(str(place.file))
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    told = {line[0]: line[1] for line in lines if len(line) == 2}
    assert told["photos"] == "3, and 1 virtual copy; 1 video left out"
    assert "4 new or changed, 0 as before" in done.stdout
    assert "2 indexed, 0 to be indexed, 1 not found" in done.stdout
    assert "2 rated, 2 flagged, 1 labelled" in done.stdout
    assert "not translated: Edited lately (touchTime inLast 7)" in done.stdout
    assert place.rating() == 4
    assert "0 new or changed, 4 as before" in place(str(place.file)).stdout


def test_a_dry_run_changes_nothing(place: Place) -> None:
    done = place(str(place.file), "--dry-run")
    assert "dry run: nothing was changed" in done.stdout
    assert "4 new or changed" in done.stdout
    assert place.rating() == 1
    assert not (place.catalog / "user").exists()


def test_json_is_one_object(place: Place) -> None:
    found = place.json()
    assert (found["photos"], found["taken"], found["version"]) == (3, 4, "1300014")
    assert found["smart"][0] == {"name": "Travel/Four stars", "query": "rating:>=4", "untranslated": []}
    assert found["roots"][0]["in_catalog"] == 2


def test_forgetting_takes_it_back(place: Place) -> None:
    place(str(place.file))
    assert "would be taken back" in place(str(place.file), "--forget", "--dry-run").stdout
    assert place.rating() == 4
    assert "of 4 photos" in place(str(place.file), "--forget").stdout
    assert place.rating() == 1


def test_a_map_leads_to_moved_photos_and_is_suggested(place: Place, tmp_path: Path) -> None:
    windows = family_catalog(tmp_path / "windows.lrcat", "D:/Fotos/").close()
    (place.photos / "2023" / "Norway" / "a.jpg").touch()
    (place.photos / "2023" / "Norway" / "b.NEF").touch()
    (place.photos / "c d.tif").touch()
    (place.catalog / "run.json").write_text(
        json.dumps({"roots": [str(place.photos)], "running": False, "pid": 1})
    )
    done = place(str(windows))
    assert "3 not found" in done.stdout
    assert f"they seem to be in your library: --map 'D:/Fotos={place.photos}'" in done.stdout
    assert (
        "2 indexed, 1 to be indexed, 0 not found"
        in place(str(windows), "--map", f"D:/Fotos={place.photos}").stdout
    )
    assert place.rating() == 4


def test_photos_wait_where_there_is_no_catalog_yet(place: Place, tmp_path: Path) -> None:
    fresh = place._replace(catalog=tmp_path / "fresh")
    done = fresh(str(place.file))
    assert "waits for `catalogd run`" in done.stderr
    with UserData(fresh.catalog) as user:
        assert len(user.given_digests("lightroom")) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}.zip"], "does not exist"),
        (["{folder}"], "name the .lrcat file"),
        (["{file}", "--map", "D:/Photos"], "--map takes FROM=TO"),
        (["{file}", "--watch", "--dry-run"], "--watch imports"),
        (["{file}", "--forget", "--watch"], "--forget takes neither"),
    ],
)
def test_what_can_not_be_done_is_said_with_what_to_do(
    place: Place, arguments: list[str], message: str
) -> None:
    texts = [text.format(file=place.file, folder=place.file.parent) for text in arguments]
    assert message in place(*texts, exit_code=2).stderr


def test_a_damaged_catalog_ends_with_its_own_code(place: Place) -> None:
    place.file.write_bytes(place.file.read_bytes()[:5000])
    assert "half-written" in place(str(place.file), exit_code=5).stderr


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_watching_imports_again_when_lightroom_has_written(place: Place) -> None:
    quick = (
        "import catalogd.cli.lightroom as it; it.WATCH_EVERY_S = 0.1; it.QUIET_S = 0.3\n"
        "from catalogd.cli import main; main()"
    )
    command = [sys.executable, "-c", quick, "--catalog", str(place.catalog)]
    command += ["import", "lightroom", str(place.file), "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["taken"] == 4
            wait_until(lambda: place.rating() == 4)
            with sqlite3.connect(place.file) as db:
                db.execute("UPDATE Adobe_images SET rating = 2 WHERE id_local = 1")
            db.close()
            again = json.loads(process.stdout.readline())
            assert (again["taken"], again["unchanged"]) == (1, 3)
            wait_until(lambda: place.rating() == 2)
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_run_that_is_alive_follows_by_itself(place: Place) -> None:
    (place.file.parent / "empty").mkdir()
    run = [str(PROGRAM), "--catalog", str(place.catalog), "run", str(place.file.parent / "empty")]
    environment = {**os.environ, "CATALOGD_HTTP": "false"}
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        wait_until(lambda: is_running(place.catalog))
        done = place(str(place.file))
        assert "the run that is alive takes it into its records now" in done.stderr
        wait_until(lambda: place.rating() == 4)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_progress_tells_how_many_how_fast_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    progress = lightroom._Progress()
    progress.show(10, 1000)  # too early to be told
    progress._start, progress._next = time.monotonic() - 10, 0.0
    progress.show(500, 1000)
    progress.end()
    assert capsys.readouterr().err == "500/1,000 images, 50/s, 10 s left\n"
