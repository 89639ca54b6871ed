"""The command line as a person uses it: a real subprocess, a fresh folder, the real starter models."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CATALOGD = Path(sys.executable).parent / "catalogd"
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "page.png", "rocket.jpg")
RECORD_KEYS = {"path", "stat", "content", "facts", "outputs", "photo_id", "added_at"}


def catalogd(
    *arguments: str, catalog: Path, code: int | None = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CATALOGD_")}
    done = subprocess.run(
        [str(CATALOGD), "--catalog", str(catalog), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=cwd,
        check=False,
        env={**environment, "COLUMNS": "100"},
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
    assert set(found[0]) == {"path", "photo_id", "score", "signals"}
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
