"""`catalogd sync`: which photos it takes, what it prints, and its exit codes. In this process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from catalogd.catalog import Catalog
from catalogd.cli import cli
from catalogd.daemon import Lock
from catalogd.records import Facts, Output, Record, Stat, Tag
from catalogd.run_state import take_sidecars
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE
from tests.packets import xmp_array, xmp_packet


class Pictures:
    """A folder of files that stand for photos, and a catalog that knows them with a tag each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "photos"
        self.settings = Settings(catalog=folder / "catalog")
        self.records = [self._add(name, tag) for name, tag in NAMES.items()]
        with Catalog.open(self.settings.catalog, self.settings, write=True) as catalog:
            catalog.commit(self.records, PROFILE)
            catalog.follow(force=True)

    def _add(self, name: str, tag: str) -> Record:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        camera = "Nikon Z6" if tag == "dog" else None
        outputs = {"tagger": Output("tagger 1", tags=(Tag(tag, 0.9),))}
        facts = Facts("jpeg", 4, 3, camera=camera)
        return Record(os.fsencode(path), Stat(1, 1), name.encode().ljust(16, b".")[:16], facts, outputs)

    def sync(self, *arguments: str, code: int | None = 0) -> Result:
        result = CliRunner().invoke(
            cli, ["--catalog", str(self.settings.catalog), "sync", *arguments], catch_exceptions=False
        )
        assert code is None or result.exit_code == code, result.output
        return result

    def sidecars(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*.xmp"))

    def known(self) -> dict[bytes, Stat]:
        with Catalog.open(self.settings.catalog, self.settings) as catalog:
            return catalog.known_sidecars(os.fsencode(self.folder))


NAMES = {"a.jpg": "dog", "b.jpg": "cat", "sub/c.jpg": "dog"}


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path)


def rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_all_photos_get_sidecars_and_the_second_time_nothing_is_written(pictures: Pictures) -> None:
    first = pictures.sync("xmp")
    assert "3 created" in first.output
    assert "catalogd sync xmp --undo" in first.output
    assert pictures.sidecars() == ["a.jpg.xmp", "b.jpg.xmp", "c.jpg.xmp"]
    second = pictures.sync("xmp")
    assert "3 unchanged" in second.output
    assert "--undo" not in second.output


@pytest.mark.parametrize(
    ("what", "written"),
    [
        (["sub"], ["c.jpg.xmp"]),
        (["a.jpg", "sub/c.jpg"], ["a.jpg.xmp", "c.jpg.xmp"]),
        (["camera:nikon"], ["a.jpg.xmp", "c.jpg.xmp"]),
        (["-camera:nikon"], ["b.jpg.xmp"]),
        (["cat"], ["b.jpg.xmp"]),
        (["camera:leica"], []),
    ],
)
def test_photos_are_chosen_by_path_or_query(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch, what: list[str], written: list[str]
) -> None:
    monkeypatch.chdir(pictures.folder)
    monkeypatch.setattr("catalogd.cli.base.text_encoder", lambda *_: None)
    pictures.sync("xmp", *what)
    assert pictures.sidecars() == written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere/x.jpg"], "/nowhere/x.jpg does not exist"),
        (["--fields", "keywords,nonsense"], "there is no 'nonsense'"),
        (["--undo"], "no run has written sidecars"),
        (["--undo", "a", "b"], "takes one RUN"),
    ],
)
def test_mistakes_are_answered_with_exit_code_2(
    pictures: Pictures, arguments: list[str], message: str
) -> None:
    assert message in pictures.sync("xmp", *arguments, code=2).output
    assert pictures.sidecars() == []


def test_a_photo_that_is_not_in_the_catalog_is_named(pictures: Pictures) -> None:
    stranger = pictures.folder / "stranger.jpg"
    stranger.touch()
    assert "stranger.jpg is not in the catalog" in pictures.sync("xmp", str(stranger), code=2).output


def test_a_dry_run_shows_each_property_and_writes_nothing(pictures: Pictures) -> None:
    result = pictures.sync("xmp", "--dry-run")
    assert '  + dc:subject: ["dog"]' in result.output
    assert "3 to create" in result.output
    assert pictures.sidecars() == []
    assert not (pictures.settings.catalog / "sync").exists()


def test_only_the_fields_that_are_named_are_written(pictures: Pictures) -> None:
    pictures.sync("xmp", "--fields", "keywords", str(pictures.folder / "a.jpg"))
    content = (pictures.folder / "a.jpg.xmp").read_text()
    assert "dog" in content
    assert "catalogd:Models" not in content


def test_json_has_a_row_for_each_sidecar_that_was_not_up_to_date(pictures: Pictures) -> None:
    pictures.sync("xmp", str(pictures.folder / "sub"))
    (pictures.folder / "b.jpg.xmp").write_bytes(b"<damaged")
    result = pictures.sync("xmp", "--json", code=3)
    found = {row["path"]: row for row in rows(result)}
    assert {os.path.basename(path): row["state"] for path, row in found.items()} == {
        "a.jpg.xmp": "created",
        "b.jpg.xmp": "refused",
    }
    row = found[str(pictures.folder / "a.jpg.xmp")]
    assert set(row) == {"photo", "path", "state", "reason", "differences"}
    assert {"name": "dc:subject", "before": None, "after": ["dog"]} in row["differences"]
    assert "damaged" in found[str(pictures.folder / "b.jpg.xmp")]["reason"]


def test_refused_sidecars_are_named_with_their_reason_and_exit_code_3(pictures: Pictures) -> None:
    (pictures.folder / "b.jpg.xmp").write_bytes(b"<damaged")
    result = pictures.sync("xmp", code=3)
    assert "b.jpg.xmp: it is damaged" in result.output


def test_undo_takes_back_the_last_run_and_then_the_one_before(pictures: Pictures) -> None:
    pictures.sync("xmp", str(pictures.folder / "sub"))
    pictures.sync("xmp")
    assert "2 removed" in pictures.sync("xmp", "--undo").output
    assert pictures.sidecars() == ["c.jpg.xmp"]
    [row] = rows(pictures.sync("xmp", "--undo", "--json"))
    assert row["state"] == "removed"
    assert pictures.sidecars() == []


def test_ctrl_c_keeps_what_was_written_and_says_how_to_take_it_back(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> str:
        signal.raise_signal(signal.SIGINT)
        return "created"

    monkeypatch.setattr("catalogd.cli.sync._tell_synced", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert "Aborted" in pictures.sync("xmp", code=130).output  # the second photo's is the second one
    assert signal.getsignal(signal.SIGINT) == before
    assert pictures.sidecars() != []
    pictures.sync("xmp", "--undo")
    assert pictures.sidecars() == []
    result = pictures.sync("xmp", str(pictures.folder / "a.jpg"), code=130)
    assert "1 created" in result.output
    assert "--undo" in result.output


# ── status ────────────────────────────────────────────────────────────────────────────────────


def test_status_tells_drift_by_its_exit_code(pictures: Pictures) -> None:
    assert "3 to write" in pictures.sync("status", code=1).output
    pictures.sync("xmp")
    assert "3 in sync" in pictures.sync("status").output


def test_status_tells_what_others_changed_and_what_is_refused(pictures: Pictures) -> None:
    pictures.sync("xmp")
    (pictures.folder / "a.jpg.xmp").write_bytes(xmp_packet(xmp_array("dc:subject", "theirs")))
    (pictures.folder / "b.jpg.xmp").write_bytes(b"<damaged")
    found = rows(pictures.sync("status", "--json", code=1))
    assert sorted((os.path.basename(row["path"]), row["state"]) for row in found) == [
        ("a.jpg.xmp", "changed"),
        ("b.jpg.xmp", "refused"),
    ]


# ── what the catalog knows of it ──────────────────────────────────────────────────────────────


def test_what_was_written_is_known_to_the_next_scan(pictures: Pictures) -> None:
    pictures.sync("xmp")
    status = (pictures.folder / "a.jpg.xmp").stat()
    assert pictures.known()[b"a.jpg.xmp"] == Stat(status.st_size, status.st_mtime_ns)


def test_what_others_wrote_before_is_not_known_with_it(pictures: Pictures) -> None:
    """Its photo must be read again: nobody has read those keywords yet."""
    (pictures.folder / "a.jpg.xmp").write_bytes(xmp_packet(xmp_array("dc:subject", "theirs")))
    pictures.sync("xmp")
    assert list(pictures.known()) == [b"b.jpg.xmp"]


def test_a_run_that_holds_the_catalog_is_told(pictures: Pictures) -> None:
    lock = Lock(pictures.settings.catalog)
    try:
        pictures.sync("xmp", str(pictures.folder / "a.jpg"))
    finally:
        lock.release()
    assert pictures.known() == {}
    [told] = take_sidecars(pictures.settings.catalog)
    assert (told.path, list(told.sidecars)) == (os.fsencode(pictures.folder), [b"a.jpg.xmp"])
    assert list(take_sidecars(pictures.settings.catalog)) == []
