"""Real files, made into what people make of photos, and what is found among them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from catalogd import _native
from catalogd.catalog import Catalog
from catalogd.duplicates import Duplicates, Group
from catalogd.records import Moved, Stat
from catalogd.settings import Settings
from tests.duplicates.library import index
from tests.factory import scene, write_dng, write_heic, write_jpeg, write_plain_jpeg, write_png

EDITS = {
    "a-again.jpg": "same",
    "a-half.jpg": "same",
    "a-lossless.png": "same",
    "a-copy.jpg": "exact",
    "a-mirrored.jpg": "near",
    "a-turned.jpg": "near",
    "a-cropped.jpg": "near",
    "a-grey.jpg": "near",
    "a-written.jpg": "near",
}


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    small = np.empty((height, width, 3), np.uint8)
    _native.resize(picture, small)
    return small


def textured(seed: int) -> np.ndarray:
    """A scene with leaves and gravel: detail everywhere, as photos have."""
    picture = scene(seed=seed).astype(np.int16)
    gravel = np.random.default_rng(seed).integers(-40, 40, (48, 64, 1)).repeat(10, 0).repeat(10, 1)
    return np.clip(picture + gravel, 0, 255).astype(np.uint8)


def write_library(folder: Path) -> list[Path]:
    """One picture and what was made of it, and three others: the subject is what stands before the "-"."""
    picture = textured(1)
    written, grey = picture.copy(), np.repeat(picture.mean(axis=2).astype(np.uint8)[:, :, None], 3, 2)
    written[420:450, 350:600] = 255
    original = folder / "a-.jpg"
    write_plain_jpeg(original, picture, 95)
    (folder / "a-copy.jpg").write_bytes(original.read_bytes())
    write_png(folder / "a-lossless.png", resized(picture, 240, 320))
    shots = {
        "a-again": (picture, 60),
        "a-half": (resized(picture, 240, 320), 85),
        "a-mirrored": (picture[:, ::-1], 90),
        "a-turned": (np.rot90(picture), 90),
        "a-cropped": (picture[40:400, 100:580], 90),
        "a-grey": (grey, 90),
        "a-written": (written, 90),
        "b-": (textured(2), 90),
        "c-": (textured(3), 90),
        "c-other": (textured(4), 90),
    }
    for name, (pixels, quality) in shots.items():
        write_plain_jpeg(folder / f"{name}.jpg", pixels, quality)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, int], Path]:
    folder = tmp_path_factory.mktemp("photos")
    settings = Settings(catalog=tmp_path_factory.mktemp("catalog") / "c")
    return settings, index(settings, write_library(folder)), folder


def found(settings: Settings, depth: str = "same", **wishes: object) -> list[Group]:
    with Catalog.open(settings.catalog, settings) as catalog:
        return list(Duplicates(catalog, settings, depth, **wishes).groups())  # type: ignore[arg-type]


def name(path: bytes) -> str:
    return os.fsdecode(path.rpartition(b"/")[2])


def kinds(group: Group) -> dict[str, str]:
    return {name(member.photo.path): member.likeness.kind for member in group.others}


def test_near_finds_all_that_was_made_of_a_picture_and_no_other_picture(library) -> None:
    settings, _, _ = library
    [group] = found(settings, "near")
    assert name(group.keeper.path) == "a-.jpg"
    assert kinds(group) == EDITS
    hows = {name(member.photo.path): member.likeness.how for member in group.others}
    assert hows["a-mirrored.jpg"] == "mirrored"
    assert hows["a-turned.jpg"] == "turned by 90°"
    assert hows["a-cropped.jpg"].startswith("cropped: 5")
    assert hows["a-half.jpg"] == "resized to 50%"


def test_what_was_edited_is_not_the_same_picture(library) -> None:
    [group] = found(library[0])
    assert kinds(group) == {name: kind for name, kind in EDITS.items() if kind != "near"}
    assert group.kind == "same"


def test_exact_is_only_what_has_the_same_bytes(library) -> None:
    [group] = found(library[0], "exact")
    assert kinds(group) == {"a-copy.jpg": "exact"}
    assert group.reasons == ("its name is not that of a copy",)
    assert group.saves_bytes == group.keeper.stat.size


def test_within_some_photos_the_others_do_not_exist(library) -> None:
    settings, ids, _ = library
    inside = [ids[name] for name in ("a-half.jpg", "a-again.jpg", "b-.jpg")]
    [group] = found(settings, "near", within=inside)
    assert name(group.keeper.path) == "a-again.jpg"
    assert set(kinds(group)) == {"a-half.jpg"}
    assert found(settings, "near", within=[]) == []


def test_a_protected_photo_goes_only_where_its_bytes_stay(library) -> None:
    settings, ids, _ = library
    protected = frozenset(ids[name] for name in ("a-again.jpg", "a-copy.jpg"))
    [group] = found(settings, protected=protected)
    assert set(kinds(group)) == {"a-copy.jpg", "a-half.jpg", "a-lossless.png"}


def test_where_the_keeper_is_gone_the_best_of_its_copies_is_kept(tmp_path: Path) -> None:
    settings = Settings(catalog=tmp_path / "c")
    paths = [tmp_path / f"{name}.jpg" for name in "abc"]
    for path in paths:
        write_plain_jpeg(path, textured(1))
    index(settings, paths)
    paths[0].unlink()
    [group] = found(settings)
    assert name(group.keeper.path) == "b.jpg"
    assert kinds(group) == {"c.jpg": "exact"}


@pytest.mark.parametrize("read_files", [True, False])
def test_a_link_to_the_keeper_saves_nothing(tmp_path: Path, read_files: bool) -> None:
    settings = Settings(catalog=tmp_path / "c")
    photo, link = tmp_path / "b.jpg", tmp_path / "a.jpg"
    write_plain_jpeg(photo, textured(1))
    link.symlink_to(photo)
    index(settings, [photo, link])
    [group] = found(settings, read_files=read_files)
    assert group.others[0].likeness.how == "another name of the same file"
    assert group.saves_bytes == 0


def test_nothing_is_written_to_photos_or_catalog(library) -> None:
    settings, _, folder = library

    def state() -> dict[Path, tuple[int, str]]:
        files = [path for top in (folder, settings.catalog / "thumbs") for path in sorted(top.rglob("*.*"))]
        return {path: (path.stat().st_mtime_ns, hashlib.md5(path.read_bytes()).hexdigest()) for path in files}

    before, listing = state(), sorted(os.listdir(settings.catalog))
    found(settings, "near")
    assert state() == before
    assert sorted(os.listdir(settings.catalog)) == listing


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Settings, Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    return Settings(catalog=tmp_path / "catalog"), folder


def test_without_thumbnails_the_photos_themselves_are_looked_at(fresh) -> None:
    settings, folder = fresh
    index(settings, write_library(folder), thumbnails=False)
    [group] = found(settings)
    assert kinds(group) == {name: kind for name, kind in EDITS.items() if kind != "near"}
    for path in folder.iterdir():
        path.unlink()
    with Catalog.open(settings.catalog, settings) as catalog:
        finder = Duplicates(catalog, settings)
        assert list(finder.groups()) == []
        assert finder.unseen() > 1


def test_copies_that_changed_or_went_since_are_told_and_not_shown(fresh) -> None:
    settings, folder = fresh
    picture = textured(1)
    paths = [folder / f"{name}.jpg" for name in "abc"]
    write_plain_jpeg(paths[0], picture)
    for path in paths[1:]:
        path.write_bytes(paths[0].read_bytes())
    index(settings, paths)
    os.utime(paths[1], ns=(1, 1))
    with Catalog.open(settings.catalog, settings) as catalog:
        finder = Duplicates(catalog, settings, "exact")
        [group] = finder.groups()
        assert {name(group.keeper.path), *kinds(group)} == {"a.jpg", "c.jpg"}
        assert [(name(problem.path), problem.text.split(";")[0]) for problem in finder.problems] == [
            ("b.jpg", "changed since it was indexed")
        ]
        assert len(next(iter(Duplicates(catalog, settings, "exact", read_files=False).groups())).others) == 2


def test_files_that_differ_where_no_fingerprint_looks_are_no_copies(fresh) -> None:
    """Two files of one size whose blocks at head, middle and tail agree."""
    settings, folder = fresh
    noise = np.random.default_rng(1).integers(0, 256, (700, 900, 3), np.uint8)
    first, second = folder / "a.jpg", folder / "b.jpg"
    write_plain_jpeg(first, noise, 95)
    data = bytearray(first.read_bytes())
    data[len(data) * 3 // 10] ^= 1
    second.write_bytes(data)
    index(settings, [first, second])
    with Catalog.open(settings.catalog, settings) as catalog:
        assert len({content for content, _ in catalog.contents()}) == 1
        finder = Duplicates(catalog, settings, "exact")
        assert list(finder.groups()) == []
        assert "other bytes" in finder.problems[0].text


def test_two_names_of_one_file_save_nothing(fresh) -> None:
    settings, folder = fresh
    write_plain_jpeg(folder / "a.jpg", textured(1))
    (folder / "b.jpg").hardlink_to(folder / "a.jpg")
    index(settings, sorted(folder.iterdir()))
    [group] = found(settings)
    assert group.others[0].likeness.how == "another name of the same file"
    assert group.saves_bytes == 0


def test_a_raw_is_kept_before_its_jpeg_and_an_edited_export_is_no_copy(fresh) -> None:
    settings, folder = fresh
    for number, seed in enumerate((5, 8), start=1):
        write_dng(folder / f"DSC_{number}.dng", textured(seed), preview=textured(seed))
    developed = np.clip(textured(5) * 1.1 + 5, 0, 255).astype(np.uint8)
    write_plain_jpeg(folder / "DSC_1.jpg", developed, 92)
    write_plain_jpeg(folder / "DSC_2.jpg", textured(8)[:, :, :1].repeat(3, axis=2), 92)
    index(settings, sorted(folder.iterdir()))
    [group] = found(settings)
    assert name(group.keeper.path) == "DSC_1.dng"
    assert group.reasons == ("RAW",)
    assert [member.likeness.how for member in group.others] == ["RAW and developed picture of one shot"]


def test_a_series_from_a_tripod_is_no_duplicate_though_its_pixels_agree(fresh) -> None:
    settings, folder = fresh
    picture = textured(6)
    grain = np.random.default_rng(1)
    for number in range(3):
        shot = np.clip(picture + grain.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
        write_jpeg(folder / f"dsc-000{number}.jpg", shot)
    index(settings, sorted(folder.iterdir()))
    assert found(settings, "same") == []
    [series] = found(settings, "near")
    assert series.kind == "burst"
    assert series.saves_bytes == 0
    assert len(series.others) == 2


def test_a_photo_that_went_away_is_in_no_group(library, fresh) -> None:
    settings, folder = fresh
    ids = index(settings, write_library(folder))
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        moved = folder / "elsewhere.jpg"
        (folder / "a-half.jpg").rename(moved)
        status = moved.stat()
        stat = Stat(status.st_size, status.st_mtime_ns)
        catalog.commit([Moved(ids["a-half.jpg"], bytes(moved), stat)], b"profile1")
    [group] = found(settings)
    assert "elsewhere.jpg" in kinds(group)
    assert "a-half.jpg" not in kinds(group)


def test_a_heic_of_a_jpeg_is_the_same_picture(fresh) -> None:
    settings, folder = fresh
    picture = textured(7)
    write_heic(folder / "a.heic", picture)
    write_jpeg(folder / "b.jpg", picture, quality=90)
    index(settings, sorted(folder.iterdir()))
    [group] = found(settings)
    assert group.kind == "same"


def test_an_empty_catalog_has_none(tmp_path: Path) -> None:
    settings = Settings(catalog=tmp_path / "c")
    index(settings, [])
    assert found(settings, "near") == []
