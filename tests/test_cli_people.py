"""`catalogd people`, as a person uses it: named, told apart, taken back, carried elsewhere."""

from __future__ import annotations

import errno
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from catalogd.catalog.faces import FaceIndex, MergeSuggestion
from catalogd.catalog.user_data import UserData
from catalogd.cli import cli
from catalogd.daemon import sidecars
from catalogd.metadata.xmp_facts import read_xmp
from catalogd.records import Proposal
from catalogd.settings import Settings
from catalogd.sync.packet import Packet, key
from catalogd.thumbnails import ThumbnailStore
from tests.catalog.family import Family, library, shot
from tests.test_cli import catalogd


class Shell:
    """Commands on one catalog that a run holds at the same time."""

    def __init__(self, family: Family) -> None:
        self.family = family

    def __call__(self, *arguments: str, code: int = 0, typed: str | None = None) -> Result:
        done = CliRunner().invoke(
            cli, ["--catalog", str(self.family.settings.catalog), "people", *arguments], input=typed
        )
        assert done.exit_code == code, done.output
        return done

    def json(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*arguments, "--json", code=code).stdout.splitlines()]

    def number(self, path: str) -> str:
        return str(self.family.cluster_at(path))


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    with Family(Settings(catalog=tmp_path / "catalog")) as family:
        family.commit(*library("a", "b"), shot("/p/both.jpg", "a", "b"), *library("c", photos=2))
        yield family


@pytest.fixture
def people(family: Family) -> Shell:
    return Shell(family)


def test_a_list_names_clusters_by_number_until_they_have_a_name(people: Shell) -> None:
    assert [row["faces"] for row in people.json("list")] == [5, 5]
    assert [row["faces"] for row in people.json("list", "--all")] == [5, 5, 2]
    number = people.number("/p/a0.jpg")
    told = people("name", number, "Anna Núñez").stdout
    assert told == f"person {number} is called Anna Núñez; `catalogd people undo` takes it back\n"
    lines = people("list").stdout.splitlines()
    assert lines[0].split() == ["number", "name", "faces", "photos", "since", "until", "cover"]
    assert "Anna Núñez" in lines[1] + lines[2]
    [anna] = [row for row in people.json("list") if row["name"]]
    assert (anna["name"], anna["faces"], anna["photos"], anna["number"]) == ("Anna Núñez", 5, 5, int(number))


def test_saying_it_twice_changes_nothing_and_says_so(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna")
    assert "nothing to change" in people("name", "Anna", "Anna").stdout
    people("not", "anna", "/p/a1.jpg")
    assert "nothing to change" in people("not", "anna", "/p/a1.jpg:1").stdout
    people("is", "anna", "/p/a1.jpg")
    assert "nothing to change" in people("is", "anna", "/p/a1.jpg").stdout
    people("hide", "anna")
    assert "nothing to change" in people("hide", "anna").stdout
    assert [row["kind"] for row in people.json("journal")] == ["name", "not", "is", "hide"]


def test_a_name_that_somebody_has_asks_to_merge(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna")
    done = people("name", people.number("/p/b0.jpg"), "ANNA", code=2)
    assert "--merge" in done.stderr
    assert "one person" in people("name", people.number("/p/b0.jpg"), "Anna", "--merge").stdout
    assert people.json("show", "Anna")[0]["faces"] == 10
    people("undo")
    assert people.json("show", "Anna")[0]["faces"] == 5


def test_an_unknown_person_tells_the_nearest(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna Schmidt")
    assert "did you mean Anna Schmidt" in people("show", "Anna Smit", code=2).stderr
    assert "no person 99999" in people("show", "99999", code=2).stderr
    assert "a number" in people("name", "Anna Schmidt", "17", code=2).stderr


def test_show_tells_faces_names_and_what_was_said(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna")
    people("alias", "Anna", "Nana")
    [row] = people.json("show", "nana")
    assert (row["name"], row["aliases"], len(row["shown"])) == ("Anna", ["Nana"], 5)
    assert {face["path"] for face in row["shown"]} == {*(f"/p/a{n}.jpg" for n in range(4)), "/p/both.jpg"}
    assert [entry["kind"] for entry in row["journal"]] == ["name", "alias"]
    text = people("show", "Anna", "-n", "2").stdout
    assert text.startswith("Anna, also Nana: 5 faces in 5 photos\n")
    assert "and 3 more faces" in text
    people("alias", "Anna", "nana", "--remove")
    assert people.json("show", "Anna")[0]["aliases"] == []


def test_split_takes_faces_to_another_person(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna")
    people("split", "Anna", "/p/a1.jpg", "/p/both.jpg", "--as", "Berta")
    assert people.json("show", "Berta")[0]["faces"] == 2
    assert people.json("show", "Anna")[0]["faces"] == 3
    people("undo")
    assert people.json("show", "Anna")[0]["faces"] == 5
    people("redo")
    assert people.json("show", "Berta")[0]["photos"] == 2


def test_a_face_that_is_not_clear_is_asked_for(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna")
    assert "which face is meant" in people("is", "Anna", "/p/both.jpg", code=2).stderr
    assert "no such face" in people("is", "Anna", "/p/both.jpg:3", code=2).stderr
    assert "no such face of Anna" in people("not", "Anna", "/p/b0.jpg", code=2).stderr
    assert "is no photo" in people("is", "Anna", "/p/none.jpg", code=2).stderr
    people("is", "Anna", "/p/both.jpg:2")
    assert people.json("show", "Anna")[0]["faces"] == 6


def test_strangers_and_hidden_people_are_not_listed(people: Shell) -> None:
    people("ignore", people.number("/p/a0.jpg"))
    people("name", people.number("/p/b0.jpg"), "Ben")
    people("hide", "Ben")
    people("list", code=1)
    assert [(row["hidden"], row["ignored"]) for row in people.json("list", "--all")[:2]] in (
        [(True, False), (False, True)],
        [(False, True), (True, False)],
    )
    people("unhide", "Ben", people.number("/p/a0.jpg"))
    assert len(people.json("list")) == 2


def test_forgetting_keeps_the_faces_together_and_erasing_asks_first(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna")
    people("forget", "Anna")
    people("show", "Anna", code=2)
    assert people.json("show", people.number("/p/a0.jpg"))[0]["faces"] == 5
    people("undo")
    people("forget", "Anna", "--erase", code=1, typed="n\n")
    people("forget", "Anna", "--erase", "--yes")
    people("show", "Anna", code=2)
    assert "Anna" not in people("journal").stdout
    assert "nothing to take back" in people("undo", code=1).stderr


def test_an_export_says_it_all_in_another_catalog(people: Shell, tmp_path: Path) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna")
    people("merge", "Anna", people.number("/p/c0.jpg"))
    file = tmp_path / "people.jsonl"
    people("export", str(file))
    with Family(Settings(catalog=tmp_path / "other")) as other:
        other.commit(*library("a", "b", "c"))
        there = Shell(other)
        assert there.json("import", str(file))[0]["imported"] == 4
        assert there.json("show", "Anna")[0]["faces"] == 8
        assert "said here already" in there("import", str(file)).stdout
    junk = tmp_path / "junk.json"
    junk.write_text('{"catalogd": "cars"}\n')
    assert "no export of people" in people("import", str(junk), code=2).stderr
    junk.write_text("\x00\n")
    assert "no export of people" in people("import", str(junk), code=2).stderr


def test_a_sheet_shows_the_faces(people: Shell, tmp_path: Path) -> None:
    family = people.family
    store = ThumbnailStore(family.settings)
    for record in family.catalog.iter_records():
        store.put(record.content, np.full((90, 120, 3), 128, np.uint8))
    people("show", people.number("/p/a0.jpg"), "--sheet", str(tmp_path / "faces.html"))
    page = (tmp_path / "faces.html").read_text("utf-8")
    assert page.count("data:image/jpeg") == 5
    people("show", people.number("/p/a0.jpg"), "--sheet", str(tmp_path / "faces.jpg"))
    assert (tmp_path / "faces.jpg").read_bytes().startswith(b"\xff\xd8")


def test_suggestions_say_the_command(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Zoé Ya")
    people("name", people.number("/p/b0.jpg"), "Zoe Ya")
    [row] = people.json("suggest")
    assert row["command"].startswith("catalogd people merge 'Zo")
    people("ignore", "Zoé Ya")
    people("suggest", code=1)


def test_clusters_that_look_like_somebody_are_suggested_until_they_are_merged(
    people: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = people.number("/p/b0.jpg"), people.number("/p/a0.jpg")
    pair = MergeSuggestion(int(one), int(other), 0.45)
    monkeypatch.setattr(FaceIndex, "suggest_merges", lambda index, limit: [pair, pair])
    people("name", other, "Anna")
    [row] = people.json("suggest")
    assert (row["one"], row["score"]) == ("Anna", 0.45)
    assert row["command"] == f"catalogd people merge Anna {one}"
    people("merge", "Anna", one)
    people("suggest", code=1)
    assert people.json("show", "Anna")[0]["faces"] == 10
    people("undo")
    people("ignore", one)
    people("suggest", code=1)


def test_a_cluster_whose_faces_are_all_pinned_to_others_is_no_suggestion(
    people: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a run took them out of it, `people suggest` said that there is no person of its number."""
    number, other = people.number("/p/c0.jpg"), people.number("/p/b0.jpg")
    pair = MergeSuggestion(int(number), int(other), 0.45)
    monkeypatch.setattr(FaceIndex, "suggest_merges", lambda index, limit: [pair])
    for name, at in (("-x", "a"), ("Ben", "b")):
        people("name", people.number(f"/p/{at}0.jpg"), "--", name)
    assert people.json("suggest")[0]["command"] == f"catalogd people merge Ben {number}"
    people("is", "Ben", "/p/c0.jpg")
    people("is", "--", "-x", "/p/c1.jpg")
    people("suggest", code=1)


def test_a_name_like_an_option_is_suggested_behind_the_options(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "--", "-zoé")
    people("name", people.number("/p/b0.jpg"), "--", "-zoe")
    [row] = people.json("suggest")
    _, _, *words = shlex.split(row["command"])
    assert "one person" in people(*words).stdout


def test_a_catalog_that_can_not_be_written_to_is_looked_at_all_the_same(
    people: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists opened the user data for writing, which a read-only disk refuses."""
    people("name", people.number("/p/a0.jpg"), "Anna")

    opened = UserData.__init__

    def refuse(self: UserData, folder: Path, write: bool = True) -> None:
        if write:
            raise OSError(errno.EROFS, "Read-only file system", str(folder))
        opened(self, folder, write)

    monkeypatch.setattr(UserData, "__init__", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert "Anna" in people("list").stdout
    assert [entry["kind"] for entry in people.json("show", "Anna")[0]["journal"]] == ["name"]
    assert "Anna" in people("journal").stdout
    people("suggest", code=1)
    assert "Read-only" in people("name", "Anna", "Ann", code=5).stderr


def test_a_catalog_without_faces_and_a_fresh_process_say_what_to_do(tmp_path: Path) -> None:
    with Family(Settings(catalog=tmp_path / "catalog")) as family:
        family.commit(shot("/p/1.jpg"))
    assert "catalogd run FOLDER" in catalogd("people", "list", catalog=tmp_path / "catalog", code=1).stderr
    assert "there is no catalog yet" in catalogd("people", "list", catalog=tmp_path / "no", code=5).stderr


def test_clusters_are_made_anew_while_no_run_is_alive(tmp_path: Path) -> None:
    with Family(Settings(catalog=tmp_path / "catalog")) as family:
        family.commit(*library("a"))
        Shell(family)("name", str(family.cluster_at("/p/a0.jpg")), "Anna")
    told = catalogd("people", "recluster", catalog=tmp_path / "catalog").stdout
    assert told == "1 people and clusters before, 1 now\n"
    with Family(Settings(catalog=tmp_path / "catalog")) as family:
        assert len(family.photos_of("Anna")) == 4


# ── for other programs ────────────────────────────────────────────────────────────────────────


def test_names_and_ratings_reach_sidecars(tmp_path: Path) -> None:
    """A stranger's region stays as it is; stars are written only when they are asked for."""
    with Family(Settings(catalog=tmp_path / "catalog")) as family:
        folder = tmp_path / "p"
        folder.mkdir()
        paths = [str(folder / f"{name}.jpg") for name in ("1", "2", "3")]
        for path in paths:
            Path(path).write_bytes(b"x")
        family.commit(*(shot(path, "a", "b") for path in paths))
        family.catalog.follow(force=True)
        people = Shell(family)
        people("name", people.number(paths[0]), "Anna")
        family.user.put_proposals({family.id_of(paths[0]): Proposal(rating=4, made_by="cull")})

        def sync(*options: str) -> dict[str, Any]:
            arguments = ["--catalog", str(family.settings.catalog), "sync", "xmp", *options]
            done = CliRunner().invoke(cli, arguments)
            assert done.exit_code == 0, done.output
            return read_facts(Path(paths[0] + ".xmp"))

        facts = sync()
        assert (facts["people"], facts["rating"]) == (("Anna",), None)
        assert {region.name for region in facts["regions"]} == {"Anna", ""}
        assert "People|Anna" in facts["keyword_paths"]
        people("name", "Anna", "Anna Núñez")
        facts = sync()
        assert facts["people"] == ("Anna Núñez",)
        assert [path for path in facts["keyword_paths"] if "Anna" in path] == ["People|Anna Núñez"]
        assert sync("--fields", "rating")["rating"] == 4
        assert sync()["rating"] == 4
        people("not", "Anna Núñez", paths[0])
        facts = sync()
        assert facts["people"] == ()
        assert not any("Anna" in path for path in facts["keyword_paths"])


def read_facts(sidecar: Path) -> dict[str, Any]:
    """What a program reads that knows nothing of catalogd's own records."""
    packet = Packet.read(sidecar.read_bytes())
    own = [name for name in packet.properties if name.startswith(key("catalogd:"))]
    facts = read_xmp(packet.edited(dict.fromkeys(own)))
    return {name: getattr(facts, name) for name in ("people", "rating", "regions", "keyword_paths")}


def test_show_tells_whose_the_faces_of_a_photo_are(people: Shell) -> None:
    people("name", people.number("/p/a0.jpg"), "Anna")
    arguments = ["--catalog", str(people.family.settings.catalog), "show", "/p/both.jpg"]
    shown = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert shown["people"] == ["Anna"]
    assert [(face["face"], face["name"]) for face in shown["faces"]] == [(1, "Anna"), (2, None)]
    assert "Anna :1" in CliRunner().invoke(cli, arguments).stdout


def test_a_run_that_writes_sidecars_follows_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No photo is read again for it; what is taken back leaves the sidecar again."""
    monkeypatch.setattr(sidecars, "NAMES_EVERY_S", 0.2)
    with Family(Settings(catalog=tmp_path / "catalog")) as family:
        folder = tmp_path / "p"
        folder.mkdir()
        paths = [str(folder / f"{number}.jpg") for number in range(3)]
        for path in paths:
            Path(path).write_bytes(b"x")
        family.commit(*(shot(path, "a") for path in paths))
        keeper = sidecars.Keeper(family.settings, family.catalog)
        try:
            wait_for(lambda: all(Path(path + ".xmp").exists() for path in paths))
            assert read_facts(Path(paths[1] + ".xmp"))["people"] == ()
            people = Shell(family)
            people("name", people.number(paths[0]), "Anna")
            wait_for(lambda: read_facts(Path(paths[1] + ".xmp"))["people"] == ("Anna",))
            people("undo")
            wait_for(lambda: read_facts(Path(paths[1] + ".xmp"))["people"] == ())
        finally:
            keeper.stop()
        assert keeper.broken is None


def wait_for(so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not so():
        assert time.monotonic() < until
        time.sleep(0.1)
