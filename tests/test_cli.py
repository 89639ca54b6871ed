"""The command line as a person uses it: a real subprocess, a fresh folder, the real starter models."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from click.testing import CliRunner

from catalogd.cli import cli
from catalogd.cli.base import query_text
from catalogd.records import Facts, Record, Stat
from tests import factory

CATALOGD = Path(sys.executable).parent / "catalogd"
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "page.png", "rocket.jpg")
RECORD_KEYS = {"path", "stat", "content", "facts", "outputs", "photo_id", "added_at"}


def catalogd(
    *arguments: str,
    catalog: Path,
    code: int | None = 0,
    cwd: Path | None = None,
    variables: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CATALOGD_")}
    done = subprocess.run(
        [str(CATALOGD), "--catalog", str(catalog), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=cwd,
        check=False,
        env={**environment, "COLUMNS": "100", **(variables or {})},
    )
    assert "Traceback" not in done.stderr, done.stderr
    if code is not None:
        assert done.returncode == code, done.stderr + done.stdout
    return done


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of real photos, one of them broken, and its catalog, indexed once for all tests."""
    folder = tmp_path_factory.mktemp("pictures")
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations
    for name in PHOTOS:
        shutil.copy(Path(spec.submodule_search_locations[0]) / "data" / name, folder / name)
    (folder / "empty.jpg").touch()
    (folder / "text.txt").write_text("not a photo")
    catalog = tmp_path_factory.mktemp("state") / "catalog"
    done = catalogd("run", str(folder), "--once", catalog=catalog, code=3)
    assert f"{len(PHOTOS)} photos indexed" in done.stdout
    assert "1 failed" in done.stdout
    return folder, catalog


def test_a_query_finds_the_photo_and_says_why(library: tuple[Path, Path]) -> None:
    folder, catalog = library
    found = rows(catalogd("query", "a", "cat", "--json", catalog=catalog))
    assert found[0]["path"] == str(folder / "chelsea.png")
    assert set(found[0]) == {"path", "photo_id", "score", "found", "signals"}
    names = {signal["name"] for signal in found[0]["signals"]}  # type: ignore[attr-defined]
    assert names == {"meaning", "words"}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("hot drink", "coffee.png"),
        ('text:"segmentation"', "page.png"),
        ("faces:1 type:png", "astronaut.png"),
        ("missile", "rocket.jpg"),
    ],
)
def test_meaning_text_and_filters_find_what_is_expected(
    library: tuple[Path, Path], query: str, name: str
) -> None:
    folder, catalog = library
    done = catalogd("query", query, "-n", "1", "--paths", catalog=catalog)
    assert done.stdout == f"{folder / name}\n"


def test_print0_ends_each_path_with_nul_and_nothing_found_is_exit_code_1(library: tuple[Path, Path]) -> None:
    _, catalog = library
    assert catalogd("query", "type:png", "-0", catalog=catalog).stdout.count("\0") == 4
    nothing = catalogd("query", "iso:>=100000", catalog=catalog, code=1)
    assert (nothing.stdout, nothing.stderr) == ("", "nothing found\n")


def test_a_min_score_leaves_out_the_rest(library: tuple[Path, Path]) -> None:
    _, catalog = library
    scores = [
        row["score"]
        for row in rows(catalogd("query", "cat", "--json", "--min-score", "0.9", catalog=catalog))
    ]
    assert scores
    assert min(scores) >= 0.9  # type: ignore[type-var]


def test_status_counts_and_says_that_no_run_is_alive(library: tuple[Path, Path]) -> None:
    _, catalog = library
    [status] = rows(catalogd("status", "--json", catalog=catalog))
    wanted = {
        "indexed": len(PHOTOS),
        "failed": 1,
        "pending": 0,
        "running": False,
        "rate": 0.0,
        "eta_s": None,
        "limit": "-",
    }
    assert {key: status[key] for key in wanted} == wanted


@pytest.fixture
def stopped(library: tuple[Path, Path], tmp_path: Path) -> Path:
    """A catalog whose last run left work behind."""
    catalog = tmp_path / "catalog"
    shutil.copytree(library[1], catalog)
    write_status(catalog, running=False)
    return catalog


def write_status(catalog: Path, running: bool) -> None:
    status = {
        "pid": 1,
        "host": "here",
        "roots": ["/photos"],
        "pending": 1234,
        "running": running,
        "rate": 2.5,
    }
    status |= {"state": "indexing", "eta_s": 60.0, "limit": "reading", "offline": ["/photos"]}
    (catalog / "run.json").write_text(json.dumps(status))


def test_status_tells_what_the_last_run_left_behind(stopped: Path) -> None:
    """Without a run alive `pending` was always 0 and the roots were forgotten."""
    [status] = rows(catalogd("status", "--json", catalog=stopped))
    assert (status["running"], status["pending"], status["roots"]) == (False, 1234, ["/photos"])
    assert (status["state"], status["pid"], status["rate"]) == ("stopped", None, 0.0)
    text = catalogd("status", catalog=stopped).stdout
    assert "pending   1,234 as of the last run" in text
    assert "the last was on /photos" in text


def test_a_command_that_holds_the_lock_is_not_a_run(stopped: Path) -> None:
    """`catalogd status` during `catalogd rebuild` said that a run is alive."""
    with filelock.FileLock(stopped / "run.lock"):
        assert rows(catalogd("status", "--json", catalog=stopped))[0]["running"] is False
        write_status(stopped, running=True)
        [status] = rows(catalogd("status", "--json", catalog=stopped))
    assert (status["running"], status["state"], status["pid"]) == (True, "indexing", 1)
    assert rows(catalogd("status", "--json", catalog=stopped))[0]["running"] is False


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path, str]:
    """A folder and a broken photo with names that are no UTF-8, its catalog, and what the run said."""
    folder = os.fsencode(tmp_path_factory.mktemp("odd")) + b"/caf\xe9 [/b]\x1b"
    os.makedirs(folder)
    with open(folder + b"/\xff [copy].jpg", "wb"):
        pass
    catalog = tmp_path_factory.mktemp("state") / "catalog"
    done = catalogd("run", os.fsdecode(folder), "--once", "--json", catalog=catalog, code=3)
    return folder, catalog, done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_names_that_are_no_utf8_are_json_in_every_encoding(
    odd: tuple[bytes, Path, str], encoding: str
) -> None:
    """`catalogd status --json` ended with a UnicodeEncodeError."""
    folder, catalog, _ = odd
    shown = folder.decode("utf-8", "backslashreplace")
    variables = {"PYTHONIOENCODING": encoding}
    [status] = rows(catalogd("status", "--json", catalog=catalog, variables=variables))
    assert status["roots"] == [shown]
    [failure] = rows(catalogd("failures", "--json", catalog=catalog, variables=variables))
    assert failure["path"] == shown + "/\\xff [copy].jpg"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_are_no_utf8_or_escape_sequences_are_shown_as_escapes(
    odd: tuple[bytes, Path, str], encoding: str
) -> None:
    folder, catalog, progress = odd
    variables = {"PYTHONIOENCODING": encoding}
    assert json.loads(progress.splitlines()[-1])["failed"] == 1
    texts = [catalogd(name, catalog=catalog, variables=variables).stdout for name in ("status", "failures")]
    other = os.fsdecode(folder + b"/other.jpg")
    texts.append(catalogd("retry", other, catalog=catalog, variables=variables, code=2).stderr)
    for text in texts:
        assert "\x1b" not in text
        assert "caf\\xe9 [/b]\\x1b" in text


def test_show_gives_every_output_with_its_model(library: tuple[Path, Path]) -> None:
    folder, catalog = library
    [record] = rows(catalogd("show", "chelsea.png", "--json", catalog=catalog, cwd=folder))
    assert set(record) >= RECORD_KEYS
    outputs = record["outputs"]
    assert {"embedding", "faces", "text", "quality"} <= set(outputs)  # type: ignore[call-overload]
    assert all(output["fingerprint"] for output in outputs.values())  # type: ignore[attr-defined]
    assert outputs["embedding"]["embedding"] == {"dimension": 1280}  # type: ignore[index]
    text = catalogd("show", str(record["photo_id"]), catalog=catalog).stdout
    assert "tabby" in text
    assert "efficientnet-lite0" in text


def test_failures_say_stage_reason_and_what_to_do(library: tuple[Path, Path]) -> None:
    folder, catalog = library
    [failure] = rows(catalogd("failures", "--json", catalog=catalog))
    assert failure["path"] == str(folder / "empty.jpg")
    assert (failure["stage"], failure["reason"], failure["tries"]) == ("read", "unreadable", 1)
    assert "restore it from a backup" in " ".join(catalogd("failures", catalog=catalog).stdout.split())


def test_a_second_run_does_nothing_until_retry_asks_for_it(library: tuple[Path, Path]) -> None:
    folder, catalog = library
    again = catalogd("run", str(folder), "--once", catalog=catalog)
    assert "0 photos indexed in" in again.stdout
    assert "6 unchanged" in again.stdout
    assert "tries 1 photos again" in catalogd("retry", str(folder / "empty.jpg"), catalog=catalog).stdout
    assert catalogd("run", str(folder), "--once", catalog=catalog, code=3).stdout.count("1 failed") >= 1
    [failure] = rows(catalogd("failures", "--json", catalog=catalog))
    assert failure["path"] == str(folder / "empty.jpg")


@pytest.mark.parametrize("form", [("-n20",), ("-n", "20"), ("-n", "2", "-0"), ("--limit=3",)])
def test_a_negated_filter_is_no_option(library: tuple[Path, Path], form: tuple[str, ...]) -> None:
    """`catalogd query cat -camera:nikon` was answered with `No such option '-c'`."""
    folder, catalog = library
    done = catalogd("query", "type:png", "-camera:nikon", "-text:0h", *form, "--paths", catalog=catalog)
    assert str(folder) in done.stdout
    assert catalogd("query", "-type:png", *form, "--paths", catalog=catalog).stdout.count("rocket.jpg") == 1


@pytest.mark.parametrize(
    "arguments",
    [("type:png", "-cat"), ("type:png", "-(cat OR -type:png)"), ("-n20", "--", "type:png", "-cat")],
)
def test_a_negated_word_is_no_option(library: tuple[Path, Path], arguments: tuple[str, ...]) -> None:
    """`catalogd query beach -blurry` was answered with `No such option '-b'`."""
    found = catalogd("query", "--paths", *arguments, catalog=library[1]).stdout
    assert found
    assert "chelsea.png" not in found


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--pahts",), "No such option '--pahts'"),
        (("-c",), "No such option '-c'"),
        (("-colour:red",), "there is no key colour:"),
    ],
)
def test_a_mistyped_option_of_a_query_is_named(
    library: tuple[Path, Path], arguments: tuple[str, ...], says: str
) -> None:
    done = catalogd("query", "cat", *arguments, catalog=library[1], code=2)
    assert says.replace("'", "") in done.stderr.replace("'", "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("camera:nikon z6",), 'camera:"nikon z6"'),
        (("-place:new york",), '-place:"new york"'),
        (("cat", "-Camera:nikon z6", "iso:100"), 'cat -Camera:"nikon z6" iso:100'),
        (("text:at 10:30", "dog"), 'text:"at 10:30" dog'),
        (("camera:nikon iso:100",), "camera:nikon iso:100"),
        (("camera:nikon colour:red",), "camera:nikon colour:red"),
        (('camera:"nikon z6" cat',), 'camera:"nikon z6" cat'),
        (("iso:>=100 cat",), "iso:>=100 cat"),
        (("type:png cat",), "type:png cat"),
        (("a cat", "camera: z6"), "a cat camera: z6"),
        (("album:best of 2023", "-in:2023/new york"), 'album:"best of 2023" -in:"2023/new york"'),
        (("similar:my photo.jpg",), 'similar:"my photo.jpg"'),
        (("near:60.39, 5.32, 10km",), 'near:"60.39, 5.32, 10km"'),
        (("date:last summer",), "date:last summer"),
        (("camera:nikon OR beach",), "camera:nikon OR beach"),
        (("camera:nikon -blurry",), "camera:nikon -blurry"),
        (("camera:(sony nikon)",), "camera:(sony nikon)"),
    ],
)
def test_the_quotes_that_the_shell_took_come_back(words: tuple[str, ...], text: str) -> None:
    """`catalogd query 'camera:nikon z6'` searched for the camera nikon and the word z6."""
    assert query_text(words) == text


def test_retry_takes_an_indexed_photo_and_refuses_a_stranger(library: tuple[Path, Path]) -> None:
    folder, catalog = library
    assert "tries 1 photos again" in catalogd("retry", str(folder / "coffee.png"), catalog=catalog).stdout
    assert "is not in the catalog" in catalogd("retry", "/no/such.jpg", catalog=catalog, code=2).stderr
    catalogd("run", str(folder), "--once", catalog=catalog)
    assert "is consistent" in catalogd("check", catalog=catalog).stdout


def test_the_catalog_is_consistent_and_its_indexes_can_be_built_again(library: tuple[Path, Path]) -> None:
    folder, catalog = library
    assert "is consistent" in catalogd("check", "--deep", catalog=catalog).stdout
    for index in ("text", "vectors"):
        assert "rebuilt in" in catalogd("rebuild", index, catalog=catalog).stdout
    assert "is consistent" in catalogd("check", catalog=catalog).stdout
    assert catalogd("query", "cat", "-n1", "--paths", catalog=catalog).stdout == f"{folder / 'chelsea.png'}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("query", "cat"), 5, "catalogd run"),
        (("run", "/no/such/folder"), 2, "does not exist"),
        (("run", "/etc/passwd"), 2, "is not a folder"),
        (("run", ".", "--readers", "many"), 2, "--readers takes a number"),
        (("run", ".", "--profile", "grand"), 2, "there is no profile 'grand'"),
        (("run", ".", "--batch", "0"), 2, "--batch"),
        (("run", ".", "--nonsense"), 2, "No such option"),
        (("check",), 5, "catalogd run"),
        (("show", "x.jpg"), 5, "catalogd run"),
    ],
)
def test_mistakes_are_answered_with_what_to_do_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = catalogd(*arguments, catalog=tmp_path / "catalog", code=code)
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", [("run", ".", "--once"), ("doctor",)])
@pytest.mark.parametrize("below", ["", "below"])
def test_a_catalog_that_can_not_be_a_folder_is_named(
    tmp_path: Path, command: tuple[str, ...], below: str
) -> None:
    """It ended with a FileExistsError's traceback."""
    file = tmp_path / "file"
    file.touch()
    photos = tmp_path / "photos"
    photos.mkdir()
    done = catalogd(*command, catalog=file / below, code=None, cwd=photos)
    assert done.returncode in (1, 5)
    assert str(file) in done.stderr + done.stdout


def test_an_error_of_the_system_is_a_line_that_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/x/\x1b[2J")

    monkeypatch.setattr("catalogd.settings.load_settings", refuse)
    result = CliRunner().invoke(cli, ["status"])
    assert (result.exit_code, result.stderr) == (5, "catalogd: /x/\\x1b[2J: Permission denied\n")


def test_a_query_that_can_not_be_read_names_the_place(library: tuple[Path, Path]) -> None:
    done = catalogd("query", "cat", "colour:red", catalog=library[1], code=2)
    assert "there is no key colour: (at position 5)" in done.stderr


def test_json_progress_is_one_object_a_line_with_the_documented_keys(
    library: tuple[Path, Path], tmp_path: Path
) -> None:
    done = catalogd(
        "run", str(library[0]), "--once", "--json", "--include", "c*.png", catalog=tmp_path / "catalog"
    )
    lines = rows(done)
    assert lines[-1]["state"] == "done"
    assert (lines[-1]["done"], lines[-1]["pending"], lines[-1]["failed"]) == (2, 0, 0)
    assert {"rate", "eta_s", "limit", "ring_used", "ring_slots"} <= set(lines[-1])


def test_models_and_doctor_report_the_starter_profile_as_present(tmp_path: Path) -> None:
    models = rows(catalogd("models", "--json", catalog=tmp_path))
    assert {row["name"] for row in models} >= {"embedding", "faces", "text", "quality"}
    assert all(row["licence"] for row in models)
    findings = rows(catalogd("doctor", "--json", catalog=tmp_path))
    assert not [finding for finding in findings if finding["ok"] is False]


def test_the_demo_indexes_and_finds_without_a_network_or_an_argument(tmp_path: Path) -> None:
    done = catalogd("demo", catalog=tmp_path / "unused")
    assert "photos indexed" in done.stdout
    assert "chelsea.png" in done.stdout
    assert "coffee.png" in done.stdout
    assert "page.png" in done.stdout


def test_completion_scripts_are_printed(tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_CATALOGD_COMPLETE" in catalogd("completion", shell, catalog=tmp_path).stdout


@pytest.fixture
def tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo with tags; the catalog knows it as photo 7."""
    path = tmp_path / "tagged.jpg"
    factory.write_jpeg(path, factory.scene(64, 96), 6)
    facts = Facts("jpeg", 64, 96, camera="NIKON Z 6_2", flash=False, keywords=("lake", "\x1b[2J"))
    record = Record(os.fsencode(path), Stat(1, 1), bytes(16), facts, {}, photo_id=7)
    monkeypatch.setattr("catalogd.cli.photos.record_of", lambda *_: record)
    return path


def test_show_exif_prints_the_facts_then_every_tag_of_the_file(tagged: Path) -> None:
    shown = CliRunner().invoke(cli, ["show", "7", "--exif"]).output.splitlines()
    assert shown[0] == str(tagged)
    for label, value in (
        ("camera", "NIKON Z 6_2"),
        ("flash", "no"),
        ("keywords", "lake, \\x1b[2J"),
        ("Orientation", "6"),
        ("LensModel", "NIKKOR Z 85mm f/1.8 S"),
        ("GPSLatitude", "48, 8, 15"),
    ):
        assert [label, value] in [line.split(None, 1) for line in shown], label
    assert [line for line in shown[1:] if line and not line.startswith(" ")] == ["EXIF main", "EXIF", "GPS"]


def test_show_exif_in_json(tagged: Path) -> None:
    report = json.loads(CliRunner().invoke(cli, ["show", "7", "--exif", "--json"]).output)
    assert (report["photo_id"], report["path"], report["problem"]) == (7, str(tagged), None)
    assert report["facts"]["camera"] == "NIKON Z 6_2"
    assert {"group": "EXIF", "name": "FNumber", "value": "2.8"} in report["tags"]


@pytest.mark.parametrize(("content", "problem"), [(None, "the file is gone"), (b"noise", "not a photo")])
def test_show_exif_of_a_file_that_is_gone_or_broken_keeps_the_facts(
    tagged: Path, content: bytes | None, problem: str
) -> None:
    tagged.unlink() if content is None else tagged.write_bytes(content)
    result = CliRunner().invoke(cli, ["show", "7", "--exif"])
    assert result.exit_code == 0
    assert "NIKON Z 6_2" in result.output
    assert problem in result.output
    report = json.loads(CliRunner().invoke(cli, ["show", "7", "--exif", "--json"]).output)
    assert report["tags"] == []
    assert problem in report["problem"]
