"""The walk over a library: what is new, what is unchanged, what is gone, and names of every kind."""

from __future__ import annotations

import dataclasses
import os
import struct
from pathlib import Path

import pytest

from catalogd.pipeline.scan import FolderScan, Rules, scan

KEY = b"profile1"
RULES = Rules(frozenset({b"jpg", b"nef"}))


def entry(path: Path | bytes, photo_id: int = 7, key: bytes = KEY) -> bytes:
    status = os.stat(path)
    return struct.pack(">qqq8s", status.st_size, status.st_mtime_ns, photo_id, key)


def walk(
    root: Path, known: dict[bytes, dict[bytes, bytes]] | None = None, rules: Rules = RULES
) -> list[FolderScan]:
    found = known or {}
    return list(scan(os.fsencode(root), lambda folder: dict(found.get(folder, {})), KEY, rules))


def names(folders: list[FolderScan]) -> set[bytes]:
    return {name for folder in folders for name in folder.work}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"photo")


def test_photos_are_found_by_extension_in_any_case_and_others_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.JPG", "c.txt", "sub/d.Nef", "noextension", ".hidden.jpg", "._a.jpg")
    assert names(walk(tmp_path)) == {b"a.jpg", b"b.JPG", b"d.Nef"}


def test_folders_of_other_programs_are_skipped(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "@eaDir/a.jpg",
        ".hid/b.jpg",
        "x Previews.lrdata/c.jpg",
        "#recycle/d.jpg",
        "$RECYCLE.BIN/e.jpg",
    )
    touch(tmp_path, "Trash/g.jpg", "kept/f.jpg")
    assert names(walk(tmp_path)) == {b"f.jpg"}


@pytest.mark.parametrize("follow", [False, True])
def test_the_catalog_in_a_library_is_skipped(tmp_path: Path, follow: bool) -> None:
    """Its thumbnails used to be indexed, and theirs, without end."""
    touch(tmp_path, "a.jpg", "catalog/thumbs/ab/abcd.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "catalog")
    rules = dataclasses.replace(
        RULES, follow_symlinks=follow, skipped=os.fsencode(tmp_path.resolve() / "catalog")
    )
    assert names(walk(tmp_path, rules=rules)) == {b"a.jpg"}


def test_an_unchanged_photo_is_counted_and_not_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    [folder] = walk(tmp_path, {os.fsencode(tmp_path): {b"a.jpg": entry(tmp_path / "a.jpg")}})
    assert (folder.work, folder.gone, folder.unchanged) == ([], [], 1)


def test_another_size_time_or_profile_makes_a_photo_work_again(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    known = {name: entry(tmp_path / os.fsdecode(name)) for name in (b"a.jpg", b"b.jpg")}
    known[b"c.jpg"] = entry(tmp_path / "c.jpg", key=b"profile0")
    (tmp_path / "a.jpg").write_bytes(b"longer photo")
    os.utime(tmp_path / "b.jpg", ns=(1, 1))
    [folder] = walk(tmp_path, {os.fsencode(tmp_path): known})
    assert folder.work == [b"a.jpg", b"b.jpg", b"c.jpg"]


def test_a_failed_photo_is_left_alone_whatever_the_profile(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    known = {b"a.jpg": entry(tmp_path / "a.jpg", photo_id=0, key=b"profile0")}
    assert names(walk(tmp_path, {os.fsencode(tmp_path): known})) == set()


def test_a_photo_that_the_catalog_knows_and_the_folder_has_not_is_gone(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    known = {b"a.jpg": entry(tmp_path / "a.jpg"), b"b.jpg": bytes(32)}
    [folder] = walk(tmp_path, {os.fsencode(tmp_path): known})
    assert folder.gone == [b"b.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline.jpg",
        b"tab\tand\rreturn.jpg",
        b"invalid-\xff\xfe.jpg",
        b"x" * 251 + b".jpg",
        "Ünïcode 🏔.jpg".encode(),
        b"-rf.jpg",
    ],
)
def test_names_come_back_byte_for_byte(tmp_path: Path, name: bytes) -> None:
    with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
        pass
    assert names(walk(tmp_path)) == {name}


def test_symbolic_links_are_not_followed_unless_asked_and_loops_end(tmp_path: Path) -> None:
    outside, library = tmp_path / "outside", tmp_path / "library"
    touch(outside, "far.jpg")
    touch(library, "sub/near.jpg")
    (library / "link").symlink_to(outside)
    (library / "sub" / "loop").symlink_to(library)
    (library / "link.jpg").symlink_to(outside / "far.jpg")
    assert names(walk(library)) == {b"near.jpg"}
    followed = walk(library, rules=Rules(RULES.extensions, follow_symlinks=True))
    assert names(followed) == {b"near.jpg", b"far.jpg", b"link.jpg"}
    assert len(followed) == 3


def test_what_is_no_file_is_not_a_photo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    touch(tmp_path, "folder.jpg/inside.jpg")
    assert names(walk(tmp_path)) == {b"inside.jpg"}


def test_a_folder_that_can_not_be_listed_is_named_and_nothing_in_it_is_gone(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path / "away")
    [folder] = list(scan(root, lambda _: {b"a.jpg": bytes(32)}, KEY, RULES))
    assert folder.error is not None
    assert "No such file" in folder.error
    assert folder.gone == []


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        ((), ("b*",), {b"a.jpg", b"c.jpg"}),
        (("2023/*",), (), {b"c.jpg"}),
        (("*.jpg",), ("2023",), {b"a.jpg", b"b.jpg"}),
        (("a.*", "b.*"), ("*/b.jpg", "b.jpg"), {b"a.jpg"}),
    ],
)
def test_globs_match_names_or_paths_below_the_root(
    tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], found: set[bytes]
) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "2023/c.jpg")
    assert names(walk(tmp_path, rules=Rules(RULES.extensions, include, exclude))) == found


def test_what_a_pattern_leaves_out_is_not_gone(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    known = {
        os.fsencode(tmp_path): {
            b"b.jpg": entry(tmp_path / "b.jpg"),
            b"bb.jpg": bytes(32),
            b"aa.jpg": bytes(32),
        }
    }
    [folder] = walk(tmp_path, known, Rules(RULES.extensions, exclude=("b*",)))
    assert folder.gone == [b"aa.jpg"]


def test_a_photo_that_is_replaced_by_a_folder_of_its_name_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    folders = walk(tmp_path, {os.fsencode(tmp_path): {b"a.jpg": bytes(32)}})
    assert folders[0].gone == [b"a.jpg"]


@pytest.mark.parametrize(
    ("start", "found"),
    [
        ("", {b"a.jpg", b"b.jpg"}),
        ("kept", {b"b.jpg"}),
        ("kept/.hidden/deep", set()),
        ("@eaDir", set()),
        ("out", set()),
        ("link", set()),
    ],
)
def test_a_walk_that_begins_below_the_root_sees_what_a_walk_from_it_would(
    tmp_path: Path, start: str, found: set[bytes]
) -> None:
    touch(tmp_path, "a.jpg", "kept/b.jpg", "kept/.hidden/deep/c.jpg", "@eaDir/d.jpg", "out/e.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    rules = Rules(frozenset({b"jpg"}), exclude=("out/*", "out"))
    begin = os.fsencode(tmp_path / start)
    folders = list(scan(os.fsencode(tmp_path), lambda folder: {}, KEY, rules, start=begin))
    assert names(folders) == found


def with_sidecars(root: Path, known: dict[str, bytes], photos: tuple[str, ...]) -> FolderScan:
    """The scan of one folder whose `photos` are known and unchanged, and whose sidecars are `known`."""
    entries = {os.fsencode(name): entry(root / name) for name in photos}
    sidecars = {os.fsencode(name): stat for name, stat in known.items()}
    [folder] = scan(
        os.fsencode(root),
        lambda _: dict(entries),
        KEY,
        RULES,
        known_sidecars=lambda _: dict(sidecars),
    )
    return folder


def test_changed_sidecars_are_told_with_the_photos_that_they_may_belong_to(tmp_path: Path) -> None:
    photos = ("a.jpg", "A.nef", "b.jpg", "ab.jpg")
    touch(tmp_path, *photos, "a.xmp", "b.jpg.XMP", "same.xmp", "._b.jpg.xmp")
    same = entry(tmp_path / "same.xmp")[:16]
    folder = with_sidecars(tmp_path, {"same.xmp": same, "ab.jpg.xmp": same}, photos)
    assert {name: stat is None for name, stat in folder.sidecars.items()} == {
        b"a.xmp": False,
        b"b.jpg.XMP": False,
        b"._b.jpg.xmp": False,
        b"ab.jpg.xmp": True,
    }
    assert {name: list(theirs) for name, theirs in folder.beside.items()} == {
        b"a.jpg": [b"a.xmp"],
        b"A.nef": [b"a.xmp"],
        b"b.jpg": [b"b.jpg.XMP"],
        b"ab.jpg": [b"ab.jpg.xmp"],
    }
    assert (folder.work, folder.gone, folder.unchanged) == ([], [], 4)


def test_sidecars_that_are_known_or_lie_in_a_folder_without_photos_are_not_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.xmp")
    known = {"a.xmp": entry(tmp_path / "a.xmp")[:16]}
    assert with_sidecars(tmp_path, known, ("a.jpg",)).sidecars == {}
    (tmp_path / "a.jpg").unlink()
    assert with_sidecars(tmp_path, {}, ()).sidecars == {}
