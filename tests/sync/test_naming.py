"""Every sidecar of a photo is found, none is shared, and a new one is named as programs look for it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from catalogd.metadata.sidecars import read_sidecars
from catalogd.sync import naming
from catalogd.sync.naming import LAYOUTS, first_properties, sidecars_for
from catalogd.sync.packet import key, new_packet
from tests.packets import xmp_packet


@pytest.fixture(autouse=True)
def _no_kept_listings() -> None:
    naming._listings.clear()


def names(folder: Path, photo: str, layout: str = "auto") -> list[str]:
    paths = sidecars_for(bytes(folder / photo), layout)
    assert all(os.path.dirname(path) == bytes(folder) for path in paths)
    return [os.path.basename(path).decode() for path in paths]


def write(folder: Path, *files: str, attributes: str = "") -> None:
    for file in files:
        (folder / file).write_bytes(xmp_packet("", attributes) if file.lower().endswith(".xmp") else b"")
    naming._listings.clear()


@pytest.mark.parametrize(
    ("files", "photo", "found"),
    [
        # All that a photo has, whoever wrote them, in any case.
        (["a.nef", "a.xmp", "a.nef.xmp"], "a.nef", ["a.nef.xmp", "a.xmp"]),
        (["a.jpg", "a.xmp"], "a.jpg", ["a.xmp"]),
        (["A.NEF", "a.XMP"], "A.NEF", ["a.XMP"]),
        (["A.JPG", "a.jpg.Xmp"], "A.JPG", ["a.jpg.Xmp"]),
        (["A.NEF", "A.xmp", "a.xmp"], "A.NEF", ["A.xmp"]),
        # A RAW file and its JPEG never share.
        (["a.nef", "a.jpg", "a.xmp"], "a.nef", ["a.xmp"]),
        (["a.nef", "a.jpg", "a.xmp"], "a.jpg", ["a.jpg.xmp"]),
        (["a.dng", "a.nef", "a.xmp"], "a.dng", ["a.dng.xmp"]),
        # Nor do others: where it may be meant for several, none of them writes into it.
        (["a.dng", "a.jpg", "a.xmp"], "a.dng", ["a.dng.xmp"]),
        (["a.heic", "a.jpg", "a.xmp"], "a.jpg", ["a.jpg.xmp"]),
        (["a.nef", "a.cr2", "a.xmp"], "a.nef", ["a.nef.xmp"]),
        (["a.nef", "A.dng", "a.xmp"], "a.nef", ["a.nef.xmp"]),
        # A new one: as Lightroom reads it where it reads sidecars, and else with the whole name.
        (["a.nef"], "a.nef", ["a.xmp"]),
        (["A.NEF"], "A.NEF", ["A.xmp"]),
        (["a.nef", "a.jpg"], "a.nef", ["a.xmp"]),
        (["a.nef", "a.jpg"], "a.jpg", ["a.jpg.xmp"]),
        (["a.nef", "a.dng"], "a.nef", ["a.nef.xmp"]),
        (["a.nef", "A.CR2"], "a.nef", ["a.nef.xmp"]),
        (["a.dng"], "a.dng", ["a.dng.xmp"]),
        (["a.tif", "ab.xmp", "b.xmp"], "a.tif", ["a.tif.xmp"]),
        (["photo"], "photo", ["photo.xmp"]),
        ([], "gone.jpg", ["gone.jpg.xmp"]),
    ],
)
def test_a_photo_has_its_sidecars(files: list[str], photo: str, found: list[str], tmp_path: Path) -> None:
    write(tmp_path, *files)
    assert names(tmp_path, photo) == found


@pytest.mark.parametrize(
    ("files", "photo", "adobe", "both"),
    [
        (["a.nef"], "a.nef", ["a.xmp"], ["a.xmp", "a.nef.xmp"]),
        (["a.jpg"], "a.jpg", ["a.xmp"], ["a.xmp", "a.jpg.xmp"]),
        (["a.jpg", "a.nef"], "a.jpg", ["a.jpg.xmp"], ["a.jpg.xmp"]),
        (["a.jpg", "a.heic"], "a.jpg", ["a.jpg.xmp"], ["a.jpg.xmp"]),
        (["a.nef", "a.dng"], "a.nef", ["a.nef.xmp"], ["a.nef.xmp"]),
        (["photo"], "photo", ["photo.xmp"], ["photo.xmp"]),
    ],
)
def test_a_layout_names_new_sidecars(
    files: list[str], photo: str, adobe: list[str], both: list[str], tmp_path: Path
) -> None:
    write(tmp_path, *files)
    assert names(tmp_path, photo, "adobe") == adobe
    assert names(tmp_path, photo, "both") == both
    assert names(tmp_path, photo, "extended") == [f"{photo}.xmp"]
    write(tmp_path, f"{photo}.xmp")
    for layout in LAYOUTS:
        assert names(tmp_path, photo, layout) == [f"{photo}.xmp"], (
            "one that is there is kept up, none is added"
        )


def test_a_sidecar_that_names_an_extension_is_of_that_photo_alone(tmp_path: Path) -> None:
    write(tmp_path, "a.nef", "a.cr2", "a.jpg")
    write(tmp_path, "a.xmp", attributes='photoshop:SidecarForExtension="JPG"')
    found = {photo: names(tmp_path, photo) for photo in ("a.nef", "a.cr2", "a.jpg")}
    assert found == {"a.nef": ["a.nef.xmp"], "a.cr2": ["a.cr2.xmp"], "a.jpg": ["a.xmp"]}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_created_is_read_back_as_the_photos_own_and_no_others(layout: str, tmp_path: Path) -> None:
    photos = ("a.NEF", "a.JPG", "b.JPG", "c.NEF", "c.dng", "d.heic", "d.jpg", "e")
    write(tmp_path, *photos)
    created: dict[str, list[str]] = {}
    for photo in photos:
        created[photo] = names(tmp_path, photo, layout)
        for name in created[photo]:
            assert not (tmp_path / name).exists(), f"{photo} would write into the sidecar of another"
            first = first_properties(bytes(tmp_path / photo), bytes(tmp_path / name))
            (tmp_path / name).write_bytes(new_packet(first))
        naming._listings.clear()
    for photo in photos:
        read = [sidecar.name.decode() for sidecar, _ in read_sidecars(bytes(tmp_path / photo))]
        assert sorted(read) == sorted(created[photo]) == sorted(names(tmp_path, photo))


def test_only_a_sidecar_with_the_stem_alone_says_whose_it_is() -> None:
    assert first_properties(b"/p/a.NEF", b"/p/a.xmp")[key("photoshop:SidecarForExtension")].text == "NEF"
    assert first_properties(b"/p/a.NEF", b"/p/a.NEF.xmp") == {}
    assert first_properties(b"/p/photo", b"/p/photo.xmp") == {}


def test_a_change_of_the_folder_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "REUSED_TIMES", 0)
    write(tmp_path, "a.nef")
    assert names(tmp_path, "a.nef") == ["a.xmp"]
    (tmp_path / "a.nef.xmp").write_bytes(b"")
    assert names(tmp_path, "a.nef") == ["a.nef.xmp"]
    os.utime(tmp_path, ns=(0, 10**18))
    assert names(tmp_path, "a.nef") == ["a.nef.xmp"]
    (tmp_path / "a.nef.xmp").unlink()
    assert names(tmp_path, "a.nef") == ["a.xmp"]


def test_a_large_folder_is_not_listed_for_every_sidecar_that_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    list_folder = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or list_folder(folder))
    monkeypatch.setattr(
        naming.time, "monotonic", itertools.count().__next__
    )  # a listing takes as long as asking
    photos = [f"{number}.jpg" for number in range(50)]
    write(tmp_path, *photos)
    for photo in photos:
        (name,) = names(tmp_path, photo)
        (tmp_path / name).write_bytes(b"")
    assert 1 < len(listed) < 5


def test_what_is_in_the_way_of_a_sidecar_does_not_stop_anything(tmp_path: Path) -> None:
    write(tmp_path, "a.nef", "b.nef")
    os.mkfifo(tmp_path / "a.xmp")
    (tmp_path / "b.xmp").mkdir()
    assert names(tmp_path, "a.nef") == ["a.nef.xmp"]
    assert names(tmp_path, "b.nef") == ["b.nef.xmp"]


def test_names_that_are_no_text_are_names_too(tmp_path: Path) -> None:
    photo = bytes(tmp_path) + b"/\xff\xfe.NEF"
    assert sidecars_for(photo, "auto") == [bytes(tmp_path) + b"/\xff\xfe.xmp"]
    assert sidecars_for(photo, "extended") == [photo + b".xmp"]
