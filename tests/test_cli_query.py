"""What `catalogd query`, `similar` and `albums` print, on a small library and with a real run beside them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from catalogd.cli import cli
from catalogd.demo import demo_photos

PROGRAM = Path(sys.executable).with_name("catalogd")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A few real photos, indexed by the starter models, and a run that watches them: folder and catalog."""
    base = tmp_path_factory.mktemp("query")
    photos = demo_photos(base / "photos")
    with running(photos, base / "catalog"):
        wait_until(lambda: status(base / "catalog") == "watching")
        wait_until(lambda: catalogd(base / "catalog", "query", "tag:cat", "--count").stdout != "0\n")
        yield photos, base / "catalog"


@contextlib.contextmanager
def running(photos: Path, catalog: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [str(PROGRAM), "--catalog", str(catalog), "run", str(photos), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until(lambda: process.poll() is not None or (catalog / "search.sock").exists())
        assert process.poll() is None
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert not (catalog / "search.sock").exists()


def status(catalog: Path) -> str:
    state: str = (
        json.loads((catalog / "run.json").read_text())["state"] if (catalog / "run.json").exists() else ""
    )
    return state


def wait_until(true: Callable[[], bool], seconds: float = 50.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def catalogd(catalog: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(PROGRAM), "--catalog", str(catalog), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "120", "LC_ALL": "C.UTF-8"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    if check:
        assert done.returncode == 0, done.stderr
    return done


def names(output: str) -> list[str]:
    return [Path(line).name for line in output.splitlines()]


def test_a_hit_has_the_documented_fields(library: tuple[Path, Path]) -> None:
    photos, catalog = library
    first = json.loads(catalogd(catalog, "query", "cat", "--json").stdout.splitlines()[0])
    assert first["path"] == str(photos / "chelsea.png")
    assert set(first) == {"path", "photo_id", "score", "found", "signals"}
    assert first["found"] is True
    assert 0 < first["score"] <= 1
    for reason in first["signals"]:
        assert set(reason) == {"name", "rank", "score", "matched", "boxes"}


def test_a_table_for_spreadsheets_has_a_row_a_photo(library: tuple[Path, Path]) -> None:
    rows = list(csv.DictReader(io.StringIO(catalogd(library[1], "query", "cat", "--csv").stdout)))
    assert rows[0]["path"].endswith("chelsea.png")
    assert rows[0]["width"] == "451"
    assert "cat" in rows[0]["tags"]


def test_paths_for_xargs_are_the_bytes_of_the_file_system(library: tuple[Path, Path]) -> None:
    found = catalogd(library[1], "query", "cat", "-0").stdout.split("\0")
    assert found[-1] == ""
    assert Path(found[0]).name == "chelsea.png"


@pytest.mark.parametrize(("suffix", "start"), [("html", b"<!doctype html>"), ("jpg", b"\xff\xd8")])
def test_a_contact_sheet_is_one_file(
    library: tuple[Path, Path], tmp_path: Path, suffix: str, start: bytes
) -> None:
    sheet = tmp_path / f"sheet.{suffix}"
    done = catalogd(library[1], "query", "cat", "--contact-sheet", str(sheet))
    assert sheet.read_bytes().startswith(start)
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [sheet]


def test_a_sheet_of_another_kind_is_refused_before_the_search(library: tuple[Path, Path]) -> None:
    done = catalogd(library[1], "query", "cat", "--contact-sheet", "sheet.pdf", check=False)
    assert done.returncode == 2
    assert ".html or .jpg" in done.stderr


def test_pictures_are_drawn_in_the_terminal(library: tuple[Path, Path]) -> None:
    assert "\x1b_Ga=T" in catalogd(library[1], "query", "cat", "--images", "kitty", "-n", "1").stdout
    done = catalogd(library[1], "query", "cat", "--images", "auto", check=False)
    assert done.returncode == 2  # a pipe shows none
    assert "--contact-sheet" in done.stderr


def test_two_forms_at_once_are_refused(library: tuple[Path, Path]) -> None:
    done = catalogd(library[1], "query", "cat", "--json", "--csv", check=False)
    assert (done.returncode, done.stderr) == (2, "catalogd: --json and --csv: choose one of them\n")


def test_a_query_without_words_shows_every_photo(library: tuple[Path, Path]) -> None:
    photos, catalog = library
    every = {path.name for path in photos.iterdir()}
    assert set(names(catalogd(catalog, "query", "--paths").stdout)) == every
    assert catalogd(catalog, "query", "--count").stdout == f"{len(every)}\n"


def test_what_is_not_there_is_not_found_and_the_nearest_are_told_apart(library: tuple[Path, Path]) -> None:
    done = catalogd(library[1], "query", "submarine volcano eruption", check=False)
    assert done.returncode == 1
    assert "nothing matches well" in done.stdout + done.stderr
    machine = catalogd(library[1], "query", "submarine volcano eruption", "--json", check=False)
    assert machine.returncode == 1
    assert not any(json.loads(line)["found"] for line in machine.stdout.splitlines())
    assert catalogd(library[1], "query", "submarine volcano eruption", "--paths", check=False).stdout == ""


def test_an_explanation_says_how_the_query_was_read_and_what_it_cost(library: tuple[Path, Path]) -> None:
    done = catalogd(library[1], "query", "cat", "type:png", "--explain")
    assert "read as" in done.stdout
    assert " ms  in all" in done.stdout
    first = json.loads(catalogd(library[1], "query", "cat", "--explain", "--json").stdout.splitlines()[0])
    assert first["explanation"]["read_as"]
    assert first["took_ms"] > 0


def test_facets_divide_the_photos(library: tuple[Path, Path]) -> None:
    photos, catalog = library
    lines = catalogd(catalog, "query", "--facets", "type", "--json").stdout.splitlines()
    (facet,) = [json.loads(line) for line in lines]
    assert facet["facet"] == "type"
    assert sum(row["photos"] for row in facet["values"]) >= len(list(photos.iterdir()))
    assert "png" in catalogd(catalog, "query", "--facets", "type").stdout
    done = catalogd(catalog, "query", "--facets", "colour", check=False)
    assert done.returncode == 2
    assert "there is no 'colour'" in done.stderr


def test_every_facet_may_be_asked_for() -> None:
    from catalogd.cli.query import FACETS
    from catalogd.query.facets import NAMES

    assert set(FACETS) == set(NAMES)


def test_a_number_and_another_form_at_once_are_refused(library: tuple[Path, Path]) -> None:
    for flags in (("--count", "--facets", "type"), ("--count", "--paths"), ("--facets", "type", "--csv")):
        done = catalogd(library[1], "query", "cat", *flags, check=False)
        assert done.returncode == 2
        assert "choose one of them" in done.stderr


def test_a_sheet_in_a_folder_that_is_not_there_is_named_as_it_was_asked_for(
    library: tuple[Path, Path], tmp_path: Path
) -> None:
    """The error named the file that the sheet is written to at first."""
    sheet = tmp_path / "none" / "sheet.jpg"
    done = catalogd(library[1], "query", "cat", "--contact-sheet", str(sheet), check=False)
    assert done.returncode == 2
    assert f"--contact-sheet {sheet}: No such file or directory" in done.stderr


def test_a_query_of_bytes_that_are_no_text_is_read(library: tuple[Path, Path], tmp_path: Path) -> None:
    """It ended in a UnicodeEncodeError while a run was alive."""
    photos, catalog = library
    assert catalogd(catalog, "query", "caf\udce9", check=False).returncode in (0, 1)
    outside = tmp_path / "caf\udce9.png"
    shutil.copy(photos / "chelsea.png", outside)
    assert names(catalogd(catalog, "similar", str(outside), "--paths").stdout)[0] == "chelsea.png"


def test_dashes_between_spaces_are_a_query_and_no_option(library: tuple[Path, Path]) -> None:
    done = catalogd(library[1], "query", "- cat", check=False)
    assert "No such option" not in done.stderr


def test_a_file_in_a_query_is_looked_for_where_the_person_stands(
    library: tuple[Path, Path], tmp_path: Path
) -> None:
    """A run that answered looked for it in its own folder."""
    shutil.copy(library[0] / "chelsea.png", tmp_path / "here.png")
    done = subprocess.run(
        [str(PROGRAM), "--catalog", str(library[1]), "query", "similar:here.png", "--paths"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert names(done.stdout)[:1] == ["chelsea.png"], done.stderr
    done = catalogd(library[1], "similar", str(tmp_path), check=False)
    assert (done.returncode, done.stderr) == (2, f"catalogd: {tmp_path} is a folder: name a photo\n")


def test_an_interrupted_query_is_no_query_without_hits(
    library: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ended a command with exit code 1, which says that nothing was found."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("catalogd.cli.query.answered", interrupted)
    assert CliRunner().invoke(cli, ["--catalog", str(library[1]), "query", "cat"]).exit_code == 130


def test_photos_like_one_of_the_library_leave_itself_out(library: tuple[Path, Path]) -> None:
    photos, catalog = library
    found = catalogd(catalog, "similar", str(photos / "chelsea.png"), "--min-score", "0", "--paths").stdout
    assert names(found)
    assert "chelsea.png" not in names(found)


def test_a_file_outside_the_library_may_be_the_example(library: tuple[Path, Path], tmp_path: Path) -> None:
    photos, catalog = library
    outside = tmp_path / "mirrored.jpg"
    with Image.open(photos / "chelsea.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("RGB").save(outside, quality=80)
    before = catalogd(catalog, "query", "--count").stdout
    found = catalogd(catalog, "similar", str(outside), "--paths").stdout
    assert names(found)[0] == "chelsea.png"
    assert catalogd(catalog, "query", "--count").stdout == before


def test_words_and_filters_follow_the_plus(library: tuple[Path, Path]) -> None:
    photos, catalog = library
    arguments = ("similar", str(photos / "chelsea.png"), "+", "a cup of coffee", "type:png")
    found = names(catalogd(catalog, *arguments, "--min-score", "0", "--paths").stdout)
    assert found[0] == "coffee.png"
    assert all(name.endswith(".png") for name in found)
    done = catalogd(catalog, "similar", "+", "coffee", check=False)
    assert done.returncode == 2


def test_an_example_that_is_no_photo_is_named(library: tuple[Path, Path], tmp_path: Path) -> None:
    done = catalogd(library[1], "similar", str(tmp_path / "none.jpg"), check=False)
    assert done.returncode == 2
    assert "none.jpg" in done.stderr


def test_a_saved_query_is_an_album_until_it_is_deleted(library: tuple[Path, Path]) -> None:
    catalog = library[1]
    catalogd(catalog, "query", "cat", "--save", "Cats & co", "--paths")
    (album,) = [
        json.loads(line) for line in catalogd(catalog, "albums", "list", "--json").stdout.splitlines()
    ]
    assert (album["name"], album["query"], album["made_by"]) == ("Cats & co", "cat", "query")
    assert names(catalogd(catalog, "albums", "show", "cats & CO", "--paths").stdout)[0] == "chelsea.png"
    assert "chelsea.png" in names(catalogd(catalog, "query", 'album:"cats & co"', "--paths").stdout)
    catalogd(catalog, "albums", "delete", "Cats & co")
    done = catalogd(catalog, "albums", "show", "Cats & co", check=False)
    assert done.returncode == 2
    assert "albums list" in done.stderr


def test_an_album_that_would_hold_itself_is_not_saved(library: tuple[Path, Path]) -> None:
    """It took the place of the good album of that name, and then could not be looked at."""
    catalog = library[1]
    catalogd(catalog, "query", "cat", "--save", "Round", "--paths")
    catalogd(catalog, "query", "type:png (cat OR album:round)", "--save", "About", "--paths")
    for query in ("album:ROUND", "-album:about type:png"):
        done = catalogd(catalog, "query", query, "--save", "Round", check=False)
        assert done.returncode == 2
        assert "would hold itself" in done.stderr
    assert names(catalogd(catalog, "albums", "show", "Round", "--paths").stdout)[0] == "chelsea.png"
    catalogd(catalog, "albums", "delete", "Round")
    catalogd(catalog, "albums", "delete", "About")


def test_a_query_that_can_not_be_read_is_not_saved(library: tuple[Path, Path]) -> None:
    done = catalogd(library[1], "query", "cat foo:1", "--save", "broken", check=False)
    assert done.returncode == 2
    assert "foo:" in done.stderr
    assert "broken" not in catalogd(library[1], "albums", "list").stdout


# -- with and without a run ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resting(library: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same catalog, of which no run is alive."""
    catalog = tmp_path_factory.mktemp("resting") / "catalog"
    shutil.copytree(library[1], catalog, ignore=shutil.ignore_patterns("search.sock", "run.*"))
    return catalog


@pytest.mark.parametrize("arguments", [("cat",), ("type:png",), ("--facets", "type")])
def test_a_command_finds_alone_what_a_run_answers(
    library: tuple[Path, Path], resting: Path, arguments: tuple[str, ...]
) -> None:
    alone = catalogd(resting, "query", *arguments, "--json").stdout
    assert catalogd(library[1], "query", *arguments, "--json").stdout == alone


def test_an_error_in_a_query_is_the_same_with_and_without_a_run(
    library: tuple[Path, Path], resting: Path
) -> None:
    told = [catalogd(catalog, "query", "cat foo:1", check=False) for catalog in (library[1], resting)]
    assert [done.returncode for done in told] == [2, 2]
    assert told[0].stderr == told[1].stderr
    assert "foo:" in told[0].stderr


def test_a_query_of_a_warm_run_loads_no_model(library: tuple[Path, Path]) -> None:
    script = (
        "import sys; from click.testing import CliRunner; from catalogd.cli import cli\n"
        f"done = CliRunner().invoke(cli, ['--catalog', {str(library[1])!r}, 'query', 'cat', '--paths'])\n"
        "assert done.exit_code == 0, done.output\n"
        "heavy = {'numpy', 'onnxruntime', 'lmdb', 'tantivy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_queries_go_on_when_the_searcher_was_killed(library: tuple[Path, Path], resting: Path) -> None:
    with running(library[0], resting):
        os.kill(_searcher_of(resting), signal.SIGKILL)
        assert names(catalogd(resting, "query", "cat", "--paths").stdout)[0] == "chelsea.png"


def _searcher_of(catalog: Path) -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(catalog / "search.sock"))
        process, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    assert process != os.getpid()
    return int(process)
