"""Sidecars are found, belong to the right photo, and never fail one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from catalogd.images.formats import RAW_EXTENSIONS
from catalogd.metadata import sidecars
from catalogd.metadata.sidecars import MAX_SIDECAR_BYTES, PROPRIETARY_EXTENSIONS, read_sidecars
from catalogd.records import Stat
from tests.packets import xmp_packet


@pytest.fixture(autouse=True)
def _no_kept_listings():
    sidecars._kept_listing.cache_clear()


def labels(photo: Path) -> list[str]:
    return [root.get("xmp:Label").text for _, root in read_sidecars(bytes(photo))]


def write(folder: Path, *names: str, attributes: str = "") -> None:
    """Files of these names; each sidecar has its own name as its label."""
    for name in names:
        content = xmp_packet("", f'xmp:Label="{name}" {attributes}') if name[-4:].lower() == ".xmp" else b""
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("files", "photo", "found"),
    [
        (["a.nef", "a.xmp"], "a.nef", ["a.xmp"]),
        (["a.nef", "a.nef.xmp"], "a.nef", ["a.nef.xmp"]),
        (["a.nef", "a.nef.xmp", "a.xmp"], "a.nef", ["a.nef.xmp", "a.xmp"]),
        (["a.jpg", "a.xmp"], "a.jpg", ["a.xmp"]),
        (["a.jpg", "a.jpg.xmp"], "a.jpg", ["a.jpg.xmp"]),
        # A pair: the sidecar with the stem alone is the RAW photo's.
        (["a.jpg", "a.nef", "a.xmp"], "a.jpg", []),
        (["a.jpg", "a.nef", "a.xmp"], "a.nef", ["a.xmp"]),
        (["a.jpg", "a.nef", "a.xmp", "a.jpg.xmp"], "a.jpg", ["a.jpg.xmp"]),
        (["a.jpg", "a.nef", "a.xmp", "a.jpg.xmp"], "a.nef", ["a.xmp"]),
        # A DNG holds its own XMP; it is as any other photo.
        (["a.dng", "a.nef", "a.xmp"], "a.dng", []),
        (["a.dng", "a.jpg", "a.xmp"], "a.jpg", ["a.xmp"]),
        # Any case.
        (["A.NEF", "A.XMP"], "A.NEF", ["A.XMP"]),
        (["A.NEF", "a.xmp"], "A.NEF", ["a.xmp"]),
        (["A.JPG", "a.nef", "A.xmp"], "A.JPG", []),
        (["A.NEF", "A.nef.Xmp"], "A.NEF", ["A.nef.Xmp"]),
        (["A.NEF", "A.xmp", "a.xmp"], "A.NEF", ["A.xmp"]),
        # Other photos' sidecars, and names without an extension.
        (["a.jpg", "ab.xmp", "b.xmp", "a_01.jpg.xmp"], "a.jpg", []),
        (["a.b.jpg", "a.xmp", "a.b.xmp"], "a.b.jpg", ["a.b.xmp"]),
        (["photo", "photo.xmp"], "photo", ["photo.xmp"]),
    ],
)
def test_each_sidecar_belongs_to_its_photo(tmp_path, files, photo, found):
    write(tmp_path, *files)
    assert labels(tmp_path / photo) == found


@pytest.mark.parametrize(("photo", "found"), [("a.jpg", ["a.xmp"]), ("a.nef", []), ("a.dng", [])])
def test_a_sidecar_that_names_its_extension_belongs_to_that(tmp_path, photo, found):
    write(tmp_path, "a.jpg", "a.nef", "a.dng")
    write(tmp_path, "a.xmp", attributes='photoshop:SidecarForExtension="JPG"')
    assert labels(tmp_path / photo) == found


def test_a_sidecar_is_recorded_with_its_size_and_time(tmp_path):
    write(tmp_path, "a.jpg", "a.xmp")
    found = os.stat(tmp_path / "a.xmp")
    ((sidecar, _),) = read_sidecars(bytes(tmp_path / "a.jpg"))
    assert (sidecar.name, sidecar.stat) == (b"a.xmp", Stat(found.st_size, found.st_mtime_ns))


def test_a_damaged_sidecar_is_recorded_as_an_empty_one(tmp_path):
    """Else nobody would notice that it is whole later."""
    write(tmp_path, "a.jpg")
    (tmp_path / "a.xmp").write_bytes(b"<!DOCTYPE x><x/>")
    ((sidecar, root),) = read_sidecars(bytes(tmp_path / "a.jpg"))
    assert (sidecar.name, dict(root.fields)) == (b"a.xmp", {})


def test_what_is_no_readable_file_is_passed_over(tmp_path):
    write(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    os.mkfifo(tmp_path / "a.xmp")
    (tmp_path / "b.xmp").mkdir()
    (tmp_path / "c.xmp").symlink_to("nowhere")
    with (tmp_path / "d.xmp").open("wb") as file:
        file.truncate(MAX_SIDECAR_BYTES + 1)
    (tmp_path / "e.xmp").symlink_to("e.xmp")
    for name in "abcde":
        assert read_sidecars(bytes(tmp_path / f"{name}.jpg")) == []


def test_a_folder_that_is_gone_has_no_sidecars(tmp_path):
    assert read_sidecars(bytes(tmp_path / "gone" / "a.jpg")) == []


def test_a_photo_in_the_current_folder_has_sidecars(tmp_path, monkeypatch):
    write(tmp_path, "a.jpg", "a.xmp")
    monkeypatch.chdir(tmp_path)
    assert [sidecar.name for sidecar, _ in read_sidecars(b"a.jpg")] == [b"a.xmp"]


def test_names_that_are_no_text_are_found(tmp_path):
    folder = bytes(tmp_path)
    for name in (b"\xff\n.jpg", b"\xff\n.xmp"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(xmp_packet("", 'xmp:Label="x"'))
    assert [sidecar.name for sidecar, _ in read_sidecars(folder + b"/\xff\n.jpg")] == [b"\xff\n.xmp"]


def listings(monkeypatch) -> list[bytes]:
    """The folders that are listed from now on."""
    seen: list[bytes] = []
    real = os.listdir
    monkeypatch.setattr(sidecars.os, "listdir", lambda folder: seen.append(folder) or real(folder))
    return seen


def test_a_folder_that_rests_is_listed_once(tmp_path, monkeypatch):
    write(tmp_path, *(f"{i}.jpg" for i in range(20)), "7.xmp")
    os.utime(tmp_path, (1e9, 1e9))
    seen = listings(monkeypatch)
    found = [labels(tmp_path / f"{i}.jpg") for i in range(20)]
    assert found == [["7.xmp"] if i == 7 else [] for i in range(20)]
    assert seen == [bytes(tmp_path)]


def test_a_sidecar_that_appears_in_the_same_tick_is_seen(tmp_path):
    """A listing taken in the tick of the folder's clock in which a sidecar was added missed it for good."""
    write(tmp_path, "a.jpg")
    tick_ns = time.time_ns()
    os.utime(tmp_path, ns=(tick_ns, tick_ns))
    assert labels(tmp_path / "a.jpg") == []
    write(tmp_path, "a.xmp")
    os.utime(tmp_path, ns=(tick_ns, tick_ns))
    assert labels(tmp_path / "a.jpg") == ["a.xmp"]


def test_a_sidecar_that_appears_in_a_folder_at_rest_is_seen(tmp_path):
    write(tmp_path, "a.jpg")
    os.utime(tmp_path, (1e9, 1e9))
    assert labels(tmp_path / "a.jpg") == []
    write(tmp_path, "a.xmp")
    os.utime(tmp_path, (1.1e9, 1.1e9))
    assert labels(tmp_path / "a.jpg") == ["a.xmp"]


def test_a_photo_of_a_large_folder_costs_microseconds(tmp_path):
    for i in range(1000):
        (tmp_path / f"{i}.jpg").touch()
    write(tmp_path, "7.xmp")
    os.utime(tmp_path, (1e9, 1e9))
    read_sidecars(bytes(tmp_path / "0.jpg"))
    started = time.process_time()
    for i in range(500):
        read_sidecars(bytes(tmp_path / f"{i}.jpg"))
    assert (time.process_time() - started) / 500 < 200e-6


def test_every_raw_format_but_dng_is_a_makers():
    assert PROPRIETARY_EXTENSIONS | {b"dng"} == RAW_EXTENSIONS
