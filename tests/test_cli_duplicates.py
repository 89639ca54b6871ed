"""`catalogd dupes` as a person uses it: what it prints, and what it writes only when asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalogd.catalog.user_data import UserData
from catalogd.cli import cli
from catalogd.records import Album, Proposal
from catalogd.settings import Settings
from tests.duplicates.library import index
from tests.duplicates.test_duplicates import textured, write_library
from tests.factory import write_plain_jpeg


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, int], Path]:
    folder = tmp_path_factory.mktemp("photos")
    settings = Settings(catalog=tmp_path_factory.mktemp("catalog") / "c")
    return settings, index(settings, write_library(folder)), folder


def dupes(settings: Settings, *arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, ["--catalog", str(settings.catalog), "dupes", *arguments])
    assert done.exit_code == code, done.output
    return done


def test_the_table_names_the_keeper_why_and_what_the_others_take(library) -> None:
    settings, _, folder = library
    done = dupes(settings)
    first, keeper, *_ = done.stdout.splitlines()
    assert first.startswith("same: 5 files, ")
    assert keeper.split()[0] == "keep"
    assert f"{folder}/a-.jpg" in keeper
    assert "resized to 50%" in done.stdout
    assert "1 group; besides the keepers 4 files of" in done.stderr
    assert "nothing was deleted" in done.stderr


def test_json_is_one_object_a_group(library) -> None:
    settings, ids, _ = library
    [group] = [json.loads(line) for line in dupes(settings, "--near", "--json").stdout.splitlines()]
    assert set(group) == {"kind", "keeper", "others", "lacking", "saves_bytes"}
    assert group["kind"] == "near"
    assert set(group["keeper"]) == {"photo_id", "path", "bytes", "format", "width", "height", "reasons"}
    assert group["keeper"]["photo_id"] == ids["a-.jpg"]
    assert len(group["others"]) == 9
    assert {"kind", "how", "saves_bytes"} <= set(group["others"][0])
    assert group["saves_bytes"] == sum(other["bytes"] for other in group["others"])


def test_paths_are_those_of_all_but_the_keepers(library) -> None:
    settings, _, folder = library
    assert dupes(settings, "--exact", "--paths").stdout == f"{folder}/a-copy.jpg\n"
    assert dupes(settings, "--exact", "-0").stdout_bytes == bytes(folder / "a-copy.jpg") + b"\0"
    assert dupes(settings, "--count").stdout == "4\n"
    assert json.loads(dupes(settings, "--count", "--json").stdout)["groups"] == 1


def test_within_takes_an_album_or_a_query_and_none_is_exit_code_1(library) -> None:
    settings, ids, _ = library
    with UserData(settings.catalog) as user:
        user.put_album(Album("Two", photo_ids=(ids["a-half.jpg"], ids["a-again.jpg"])))
    assert dupes(settings, "--within", "two", "--count").stdout == "1\n"
    assert dupes(settings, "--within", "type:png", "--count", code=1).stdout == "0\n"
    assert "no duplicates" in dupes(settings, "--within", "type:png", code=1).stderr
    dupes(settings, "--within", "iso:x", code=2)


def test_a_list_is_a_new_file_of_keepers_and_others(library, tmp_path: Path) -> None:
    settings, _, folder = library
    listed = tmp_path / "list"
    dupes(settings, "--exact", "--list", str(listed))
    rows = [line.split("\t") for line in listed.read_text().splitlines()]
    assert rows == [
        ["1", "keep", "exact", f"{folder}/a-.jpg"],
        ["1", "other", "exact", f"{folder}/a-copy.jpg"],
    ]
    assert "exists" in dupes(settings, "--exact", "--list", str(listed), code=2).stderr
    dupes(settings, "--exact", "-0", "--list", str(tmp_path / "nul"))
    assert (tmp_path / "nul").read_bytes().count(b"\0") == 2


def test_labels_and_albums_are_written_when_asked_for_and_only_then(library) -> None:
    settings, ids, _ = library
    dupes(settings, "--exact")
    with UserData(settings.catalog) as user:
        assert user.proposals() == {}
        user.put_proposals({ids["a-copy.jpg"]: Proposal(rating=3, made_by="cull")})
    dupes(settings, "--exact", "--label", "others=Red", "--album", "Twins")
    with UserData(settings.catalog) as user:
        [(photo_id, proposal)] = user.proposals().items()
        assert photo_id == ids["a-copy.jpg"]
        assert (proposal.label, proposal.rating, proposal.made_by) == ("Red", 3, "dupes")
        assert proposal.reasons == ("the same bytes",)
        album = user.album("twins")
        assert album is not None
        assert album.photo_ids == (ids["a-.jpg"], ids["a-copy.jpg"])
        user.put_album(Album("Mine", query="iso:100", made_by="query"))
    assert "already" in dupes(settings, "--exact", "--album", "mine", code=2).stderr
    dupes(settings, "--exact", "--label", "everything=Red", code=2)


def test_photos_that_can_not_be_compared_are_told(tmp_path: Path) -> None:
    settings = Settings(catalog=tmp_path / "c")
    paths = [tmp_path / f"{name}.jpg" for name in "ab"]
    for path in paths:
        write_plain_jpeg(path, textured(1)[:1].repeat(480, axis=0) // 255 + 100)
    index(settings, paths)
    paths[1].unlink()
    done = dupes(settings, "--exact", code=1)
    assert "not there any more" in done.stderr
    assert "2 photos are blank or have no signature yet" in done.stderr


def test_a_file_is_never_listed_as_its_own_copy(tmp_path: Path) -> None:
    """The link was kept, and the only file there is stood among the paths to delete."""
    settings = Settings(catalog=tmp_path / "c")
    photo, link = tmp_path / "b.jpg", tmp_path / "a.jpg"
    write_plain_jpeg(photo, textured(1))
    link.symlink_to(photo)
    index(settings, [photo, link])
    assert dupes(settings, "--paths").stdout == ""
    assert dupes(settings, "--no-read", "--paths").stdout == ""
    assert "another name" in dupes(settings).stdout
