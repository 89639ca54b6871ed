"""Paths of Lightroom here: maps, systems, spellings, folders that moved."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from catalogd.errors import UsageError
from catalogd.sync.lightroom.paths import Mapping, PathMap, place_of, suggested
from catalogd.sync.lightroom.reading import Root

NFD = unicodedata.normalize("NFD", "Fotos Münster")
NFC = unicodedata.normalize("NFC", "Fotos Münster")


def root(path: str, relative: str | None = None) -> Root:
    return Root(1, path, relative, "")


@pytest.mark.parametrize(
    ("mapping", "path", "here"),
    [
        ("D:/Photos=/mnt/photos", "D:/Photos/2023/", "/mnt/photos/2023"),
        ("d:\\photos\\=/mnt/photos/", "D:/Photos/2023/", "/mnt/photos/2023"),
        ("D:=/mnt/d", "D:/Photos/", "/mnt/d/Photos"),
        ("D:/=/mnt/d", "D:/Photos/", "/mnt/d/Photos"),
        ("\\\\nas\\Share=/mnt/nas", "//NAS/share/2023/", "/mnt/nas/2023"),
        ("/Volumes/Card=/media/card", "/Volumes/Card/", "/media/card"),
        (f"/Volumes/{NFC}=/m", f"/Volumes/{NFD}/a/", "/m/a"),
        (f"/Volumes/{NFD}=/m", f"/Volumes/{NFC}/a/", "/m/a"),
        ("/=/backup", "/home/anna/", "/backup/home/anna"),
        ("/a=/", "/a/b/", "/b"),
        ("/a\\b=/m", "/a\\b/c/", "/m/c"),
    ],
)
def test_a_mapped_folder_is_where_the_map_says(mapping: str, path: str, here: str) -> None:
    assert PathMap.read([mapping]).mapped(path) == here


@pytest.mark.parametrize(
    ("mapping", "path"),
    [
        ("D:/Photos=/mnt/photos", "D:/Photos2/"),
        ("D:/Photos=/mnt/photos", "E:/Photos/"),
        ("/Volumes/card=/media/card", "/Volumes/Card/"),
        ("D:/Photos/2023=/mnt/photos", "D:/Photos/"),
    ],
)
def test_other_folders_are_not_mapped(mapping: str, path: str) -> None:
    assert PathMap.read([mapping]).mapped(path) is None


def test_the_longest_beginning_counts() -> None:
    paths = PathMap.read(["D:/=/d", "D:/Photos/New=/new", "D:/Photos=/photos"])
    assert paths.mapped("D:/Photos/New/a/") == "/new/a"
    assert paths.mapped("D:/Photos/Old/") == "/photos/Old"
    assert paths.mapped("D:/Other/") == "/d/Other"


@pytest.mark.parametrize("text", ["", "=", "D:/Photos", "D:/Photos=", "=/mnt", "D:/Photos=photos"])
def test_a_map_that_is_none_says_how_one_is_written(text: str) -> None:
    with pytest.raises(UsageError, match="--map"):
        PathMap.read([text])


def test_a_folder_that_is_there_needs_no_map(tmp_path: Path) -> None:
    place = place_of(root(f"{tmp_path}/"), PathMap(), tmp_path / "x.lrcat")
    assert (place.folder, place.how, place.exists) == (str(tmp_path), "as_it_is", True)
    assert place.path_of("2023/a.jpg") == f"{tmp_path}/2023/a.jpg".encode()


def test_a_folder_that_moved_with_its_catalog_is_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "lr").mkdir()
    place = place_of(root("/gone/photos/", "../photos/"), PathMap(), tmp_path / "lr" / "x.lrcat")
    assert (place.folder, place.how) == (str(tmp_path / "photos"), "beside_the_catalog")
    place = place_of(root("D:/photos/", "..\\photos\\"), PathMap(), tmp_path / "lr" / "x.lrcat")
    assert place.folder == str(tmp_path / "photos")


def test_a_drive_of_windows_is_nowhere_here_without_a_map(tmp_path: Path) -> None:
    place = place_of(root("D:/Photos/"), PathMap(), tmp_path / "x.lrcat")
    assert (place.folder, place.exists, place.path_of("a.jpg")) == (None, False, None)


def test_a_disk_that_is_away_keeps_its_paths(tmp_path: Path) -> None:
    place = place_of(root("/Volumes/Card/"), PathMap(), tmp_path / "x.lrcat")
    assert place.path_of("a.jpg") == b"/Volumes/Card/a.jpg"
    assert not place.exists


def test_no_path_leads_out_of_its_root(tmp_path: Path) -> None:
    place = place_of(root(f"{tmp_path}/"), PathMap(), tmp_path / "x.lrcat")
    assert place.path_of("../../etc/passwd") is None
    assert place.path_of("a\0b.jpg") is None
    assert place.path_of("a..b/c.jpg") is not None


@pytest.mark.parametrize(
    ("lightroom", "there", "expected"),
    [
        ("D:/Photos/", "2023/Norway/a.jpg", Mapping("D:/Photos", "{library}")),
        ("D:/Photos/2023/", "2023/Norway/a.jpg", Mapping("D:/Photos", "{library}")),
        ("/Users/anna/Pictures/", "Pictures/Norway/a.jpg", Mapping("/Users/anna", "{library}")),
        ("D:/All/", "Norway/a.jpg", Mapping("D:/All", "{library}")),
    ],
)
def test_a_library_in_which_the_photos_are_is_suggested(
    tmp_path: Path, lightroom: str, there: str, expected: Mapping
) -> None:
    file = tmp_path / there
    file.parent.mkdir(parents=True)
    file.touch()
    name = lightroom.rstrip("/").rpartition("/")[2]
    rest = there.removeprefix(f"{name}/") if there.startswith(f"{name}/") else there
    found = suggested(root(lightroom), [rest], ["/nowhere", str(tmp_path)])
    assert found == expected._replace(to=str(tmp_path))
    assert PathMap([found]).mapped(lightroom + rest) == str(file)


def test_a_library_that_is_a_folder_of_the_root_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "Norway").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "Norway" / name).touch()
    probes = ["Work/2023/Norway/a.jpg", "Work/2023/Norway/b.jpg"]
    found = suggested(root("D:/"), probes, [str(tmp_path)])
    assert found is not None
    assert PathMap([found]).mapped("D:/" + probes[0]) == f"{tmp_path}/Norway/a.jpg"


def test_a_library_that_has_only_some_of_the_photos_is_not_suggested(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert suggested(root("D:/Photos/"), ["a.jpg", "b.jpg"], [str(tmp_path)]) is None
    assert suggested(root("D:/Photos/"), [], [str(tmp_path)]) is None
