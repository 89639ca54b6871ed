"""A Lightroom catalog becomes user data: exactly, once, again when it changes, and back."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from catalogd import query
from catalogd.catalog import Catalog
from catalogd.catalog.user_data import UserData
from catalogd.errors import LightroomError
from catalogd.records import Facts, Record, Region
from catalogd.settings import Settings
from catalogd.sync.fields import changes_for
from catalogd.sync.lightroom import PathMap, Report, forget_catalog, import_catalog, tables, taking
from catalogd.sync.policy import Policy
from catalogd.sync.telling import own_words
from tests.catalog.photos import PROFILE, photo
from tests.sync.lightroom.family import family_catalog
from tests.sync.lightroom.lrcat import LrCatalog
from tests.sync.lightroom.test_opening import picture_of

SETTINGS = Settings(text_heap_bytes=15 << 20)


class Library(NamedTuple):
    """Photos, a catalog of catalogd that knows two of them, and one of Lightroom that knows all."""

    photos: Path
    file: Path
    catalog: Catalog

    def take(self, *mappings: str, file: Path | None = None, dry_run: bool = False) -> Report:
        report = import_catalog(
            file or self.file,
            self.catalog.folder,
            PathMap.read(mappings),
            dry_run=dry_run,
            libraries=[str(self.photos)],
        )
        self.catalog.follow(force=True)
        return report

    def edit(self, sql: str, *values: object) -> None:
        with sqlite3.connect(self.file) as db:
            db.execute(sql, values)
        db.close()

    def at(self, name: str) -> Record:
        record = self.catalog.record(self.catalog.photo_id_of(f"{self.photos}/{name}".encode()) or 0)
        assert record is not None
        return record

    def found(self, text: str) -> list[str]:
        hits = query.search(self.catalog, query.parse(text, 100), None).hits
        return sorted(hit.path.decode().rpartition("/")[2] for hit in hits)

    def changes(self) -> int:
        with UserData(self.catalog.folder) as user:
            return len(list(user.given_heads("lightroom")))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    photos = tmp_path / "photos"
    (photos / "2023" / "Norway").mkdir(parents=True)
    names = ("2023/Norway/a.jpg", "2023/Norway/b.NEF", "c d.tif")
    for name in names:
        (photos / name).touch()
    (tmp_path / "lr").mkdir()
    file = family_catalog(tmp_path / "lr" / "Family.lrcat", f"{photos}/").close()
    with Catalog.open(tmp_path / "catalog", SETTINGS, write=True) as catalog:
        facts = Facts("jpeg", 60, 40, rating=1, keywords=("old",), caption="from the file")
        catalog.commit([photo(f"{photos}/{name}", facts=facts) for name in names[:2]], PROFILE)
        catalog.follow(force=True)
        yield Library(photos, file, catalog)


def test_what_was_set_in_lightroom_counts_and_is_found(library: Library) -> None:
    before = picture_of(library.file.parent)
    report = library.take()
    assert (report.photos, report.copies, report.videos) == (3, 1, 1)
    assert (report.taken, report.unchanged, report.refused) == (4, 0, [])
    assert (report.in_catalog, report.waiting, report.not_found) == (2, 1, 0)
    said = library.at("2023/Norway/a.jpg").said
    assert (said.rating, said.label, said.title, said.caption) == (
        4,
        "Red",
        "On the beach & away",
        "Anna and the dog",
    )
    assert "Dog" in said.keywords
    assert set(said.people) == {"Anna Núñez", "Ben Holm"}
    assert said.place is not None
    assert said.place.city == "Bergen"
    for text, names in {
        "rating:>=4": ["a.jpg", "b.NEF"],  # b has a virtual copy with five stars
        "label:red": ["a.jpg"],
        "keyword:animals/dog": ["a.jpg"],
        "keyword:animals": ["a.jpg", "b.NEF"],
        "place:bergen": ["a.jpg"],
        "title:beach": ["a.jpg"],
        "is:rejected": ["b.NEF"],
        'album:"Travel/Norway-West"': ["a.jpg"],
        'album:"Travel/Four stars"': ["a.jpg", "b.NEF"],
        'person:"Anna Núñez"': ["a.jpg"],
    }.items():
        assert library.found(text) == names, text
    assert picture_of(library.file.parent) == before


def test_faces_come_with_their_boxes(library: Library) -> None:
    library.take()
    user = library.at("2023/Norway/a.jpg").user
    assert user is not None
    assert user.regions == (Region((0.25, 0.125, 0.5, 0.25), "Anna Núñez"),)
    with library.catalog._store.snapshot() as reading:
        from catalogd.catalog.seeds import Seed, read_seeds

        (seeds,) = read_seeds(reading).values()
    assert Seed("Anna Núñez", (0.25, 0.125, 0.5, 0.25)) in seeds
    assert Seed("Ben Holm") in seeds


def test_what_a_newer_lightroom_keeps_elsewhere_was_not_taken_out(library: Library) -> None:
    library.take()
    library.edit("ALTER TABLE Adobe_images RENAME COLUMN rating TO stars")
    library.edit("ALTER TABLE AgLibraryKeywordImage RENAME TO AgLibraryTags")
    library.edit("UPDATE Adobe_images SET colorLabels = ''")
    library.take()
    said = library.at("2023/Norway/a.jpg").said
    assert (said.rating, said.label) == (4, None)
    assert "Dog" in said.keywords


def test_what_is_not_to_be_exported_does_not_get_into_sidecars(library: Library) -> None:
    """People do, keywords of Lightroom's do not: a person who is not to be exported stays a keyword."""
    library.edit("UPDATE AgLibraryKeyword SET includeOnExport = 0 WHERE name IN ('Anna Núñez', 'Dog')")
    library.take()
    record = library.at("2023/Norway/a.jpg")
    own = own_words(library.catalog.people, record, None)
    changes = changes_for(record, None, Policy(), own=own)
    written = " ".join(text for value in changes.values() if value for text in value.all())
    assert "Ben Holm" in written
    assert not any(word in written for word in ("Anna", "Dog"))
    assert library.found("keyword:dog") == library.found('keyword:"Anna Núñez"') == ["a.jpg"]


def test_a_second_import_takes_nothing(library: Library) -> None:
    library.take()
    with library.catalog._store.snapshot() as reading:
        commit = reading.number("commit")
    report = library.take()
    assert (report.taken, report.unchanged, report.removed, report.collections_changed) == (0, 4, 0, 0)
    with library.catalog._store.snapshot() as reading:
        assert reading.number("commit") == commit


def test_only_what_was_edited_is_taken_again(library: Library) -> None:
    library.take()
    library.edit("UPDATE Adobe_images SET rating = 2 WHERE id_local = 1")
    report = library.take()
    assert (report.taken, report.unchanged) == (1, 3)
    assert library.at("2023/Norway/a.jpg").said.rating == 2
    library.edit("UPDATE AgLibraryKeyword SET name = 'Hound' WHERE name = 'Dog'")
    assert library.take().taken == 1
    assert library.found("keyword:hound") == ["a.jpg"]
    assert library.found("keyword:dog") == []


def test_what_is_gone_from_lightroom_is_taken_back(library: Library) -> None:
    library.take()
    library.edit("DELETE FROM Adobe_images WHERE id_local IN (1, 3)")
    library.edit("DELETE FROM AgLibraryCollection WHERE name = 'Best'")
    report = library.take()
    assert (report.removed, report.taken, report.collections_changed > 0) == (2, 0, True)
    said = library.at("2023/Norway/a.jpg").said
    assert (said.rating, said.caption, said.title, said.keywords) == (1, "from the file", None, ("old",))
    with UserData(library.catalog.folder) as user:
        assert {album.name for album in user.albums()} == {
            "Travel",
            "Travel/Four stars",
            "Travel/Norway-West",
        }


def test_a_second_catalog_takes_nothing_away_from_the_first(library: Library, tmp_path: Path) -> None:
    library.take()
    other = LrCatalog(tmp_path / "other.lrcat", name="STORE-2")
    folder = other.folder(other.root(f"{library.photos}/"))
    other.db.execute("INSERT INTO Adobe_images(id_local, id_global) VALUES (900, 'gone')")
    other.photo(folder, "c d.tif", rating=3.0)
    other.collection("Other")
    report = library.take(file=other.close())
    assert (report.taken, report.removed) == (1, 0)
    assert library.take().unchanged == 4
    assert library.at("2023/Norway/a.jpg").said.rating == 4
    with UserData(library.catalog.folder) as user:
        assert {"Other", "Best"} <= {album.name for album in user.albums()}


def test_a_copy_of_the_catalog_elsewhere_is_the_same_catalog(library: Library, tmp_path: Path) -> None:
    library.take()
    moved = shutil.copy(library.file, tmp_path / "moved.lrcat")
    report = library.take(file=Path(moved))
    assert (report.taken, report.unchanged) == (0, 4)


def test_forgetting_gives_the_files_their_word_back(library: Library) -> None:
    library.take()
    assert forget_catalog(library.file, library.catalog.folder, dry_run=True) == 4
    assert library.changes() == 4
    assert forget_catalog(library.file, library.catalog.folder) == 4
    library.catalog.follow(force=True)
    assert library.at("2023/Norway/a.jpg").said.rating == 1
    assert library.at("2023/Norway/a.jpg").user is None
    with UserData(library.catalog.folder) as user:
        assert user.albums() == []


def test_a_dry_run_says_the_same_and_changes_nothing(library: Library) -> None:
    dry, wet = library.take(dry_run=True), None
    assert not (library.catalog.folder / "user").exists() or library.changes() == 0
    wet = library.take()
    for name in Report.__struct_fields__:
        if name not in ("dry_run", "took_s", "collections_changed"):
            assert getattr(dry, name) == getattr(wet, name), name
    library.edit("DELETE FROM Adobe_images WHERE id_local = 1")
    assert library.take(dry_run=True).removed == 1
    assert library.changes() == 4


def test_a_dry_run_needs_no_catalog(tmp_path: Path) -> None:
    file = family_catalog(tmp_path / "x.lrcat", "/nowhere/").close()
    report = import_catalog(file, tmp_path / "catalog", PathMap(), dry_run=True)
    assert (report.taken, report.not_found) == (4, 3)
    assert not (tmp_path / "catalog").exists()


def test_photos_wait_until_they_are_indexed(library: Library) -> None:
    library.take()
    library.catalog.commit([photo(f"{library.photos}/c d.tif")], PROFILE)
    library.catalog.follow(force=True)
    user = library.at("c d.tif").user
    assert user is not None
    assert user.stack == ("STACK2", 2)
    assert library.found('album:"Travel/Norway-West"') == ["a.jpg", "c d.tif"]


def test_windows_paths_are_mapped_and_a_map_is_suggested(library: Library, tmp_path: Path) -> None:
    file = family_catalog(tmp_path / "windows.lrcat", "D:/Fotos/").close()
    report = library.take(file=file)
    (root,) = report.roots
    assert (root.folder, root.not_found) == (None, 3)
    assert root.suggestion == f"D:/Fotos={library.photos}"
    assert (report.taken, report.not_found) == (0, 3)
    report = library.take(root.suggestion, file=file)
    assert (report.taken, report.in_catalog, report.waiting, report.not_found) == (4, 2, 1, 0)
    assert library.at("2023/Norway/a.jpg").said.rating == 4


def test_photos_that_moved_in_lightroom_are_followed(library: Library) -> None:
    library.take()
    library.edit("UPDATE AgLibraryFile SET idx_filename = 'b.NEF', baseName = 'b' WHERE baseName = 'a'")
    library.edit(
        "UPDATE AgLibraryFile SET idx_filename = 'a.jpg' WHERE idx_filename = 'b.NEF' AND id_local = 2"
    )
    report = library.take()
    assert report.taken == 3
    assert library.at("2023/Norway/b.NEF").said.rating == 4


def test_an_import_that_lightroom_interrupts_begins_again_with_a_copy(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of a catalog that changed under it is not given."""
    monkeypatch.setattr(taking, "PAGE_IMAGES", 2)
    seen = []

    def disturb(done: int, total: int) -> None:
        if not seen:
            library.edit("UPDATE Adobe_images SET rating = 5 WHERE id_local = 5")
        seen.append((done, total))

    import_catalog(library.file, library.catalog.folder, PathMap(), tell=disturb)
    assert seen == [(2, 5), (2, 5), (4, 5), (5, 5)]
    with UserData(library.catalog.folder) as user:
        assert len(user.given_digests("lightroom")) == 4
    library.catalog.commit([photo(f"{library.photos}/c d.tif")], PROFILE)
    library.catalog.follow(force=True)
    assert library.at("c d.tif").said.rating == 5


def test_a_page_that_can_not_be_read_keeps_what_was_given(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "PAGE_IMAGES", 2)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_catalog(library.file, library.catalog.folder, PathMap(), tell=stop)
    report = library.take()
    assert (report.taken, report.unchanged) == (2, 2)


def test_every_smart_collection_that_is_translated_can_be_run(library: Library, tmp_path: Path) -> None:
    made = LrCatalog(tmp_path / "smart.lrcat", name="SMART")
    made.collection("Norway")
    rules = {
        "words": '{ criteria = "all", operation = "any", value = "anna dog" }',
        "keyword": '{ criteria = "keywords", operation = "words", value = "dog" }',
        "person": '{ criteria = "keywords", operation = "words", value = "anna" }',
        "starts": '{ criteria = "keywords", operation = "beginsWith", value = "Anna N" }',
        "ends": '{ criteria = "keywords", operation = "endsWith", value = "og" }',
        "folder": '{ criteria = "folder", operation = "any", value = "orwa" }',
        "name": '{ criteria = "filename", operation = "beginsWith", value = "a" }',
        "colour": '{ criteria = "labelColor", operation = "==", value = 1 }',
        "custom": '{ criteria = "labelColor", operation = "==", value = "custom" }',
        "title": '{ criteria = "title", operation = "any", value = "each" }',
        "collection": '{ criteria = "collection", operation = "any", value = "norway" }',
        "picked": '{ criteria = "pick", operation = "==", value = 1 }',
    }
    for name, rule in rules.items():
        made.smart(name, f's = {{ {rule}, combine = "intersect" }}')
    library.take()
    report = library.take(file=made.close())
    assert [smart.name for smart in report.smart if smart.query is None] == []
    found = {name: library.found(f"album:{name}") for name in rules}
    assert found == {
        "words": ["a.jpg"],
        "keyword": ["a.jpg"],
        "person": ["a.jpg"],
        "starts": ["a.jpg"],
        "ends": ["a.jpg"],
        "folder": ["a.jpg", "b.NEF"],
        "name": ["a.jpg"],
        "colour": ["a.jpg"],
        "custom": [],
        "title": ["a.jpg"],
        "collection": [],
        "picked": ["a.jpg"],
    }


def test_a_folder_whose_root_is_gone_is_counted_as_not_found(library: Library, tmp_path: Path) -> None:
    made = LrCatalog(tmp_path / "orphan.lrcat", name="ORPHAN")
    made.photo(made.folder(12345), "a.jpg", rating=5.0)
    report = library.take(file=made.close())
    assert (report.photos, report.taken, report.not_found) == (1, 0, 1)
    assert [root.path for root in report.roots] == ["(no folder)"]


def test_an_empty_catalog_of_lightroom_is_fine(library: Library, tmp_path: Path) -> None:
    report = library.take(file=LrCatalog(tmp_path / "empty.lrcat", name="EMPTY").close())
    assert (report.photos, report.taken, report.smart, report.roots) == (0, 0, [], [])


def test_a_catalog_that_is_damaged_in_the_middle_gives_no_nonsense(library: Library) -> None:
    library.take()
    content = bytearray(library.file.read_bytes())
    for at in range(len(content) // 2, len(content) - 4096, 4096):
        content[at : at + 512] = b"\xff" * 512
    library.file.write_bytes(content)
    with pytest.raises(LightroomError):
        library.take()
    assert library.changes() == 4


def test_an_import_that_was_killed_is_taken_up_again(library: Library) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from catalogd.sync.lightroom import PathMap, import_catalog, taking\n"
        "taking.PAGE_IMAGES = 2\n"
        "import_catalog(Path(sys.argv[1]), Path(sys.argv[2]), PathMap(),\n"
        "    tell=lambda done, total: done < 4 or os.kill(os.getpid(), 9))\n"
    )
    before = picture_of(library.file.parent)
    command = [sys.executable, "-c", script, str(library.file), str(library.catalog.folder)]
    assert subprocess.run(command, check=False).returncode == -9
    assert picture_of(library.file.parent) == before
    assert library.changes() == 3
    report = library.take()
    assert (report.taken, report.unchanged) == (1, 3)
    assert library.take().taken == 0


def test_memory_does_not_grow_with_the_number_of_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200,000 photos and more, bench/bench_lightroom.py tells."""
    monkeypatch.setattr(taking, "PAGE_IMAGES", 100)
    monkeypatch.setattr(tables, "PAGE_ROWS", 50)
    peaks = []
    for count in (200, 800):
        made = LrCatalog(tmp_path / f"{count}.lrcat")
        folder, dog = made.folder(made.root("/p/")), made.keyword("Dog")
        for number in range(count):
            made.photo(folder, f"{number}.jpg", caption=f"Caption {number} " * 20, keywords=(dog,))
        file = made.close()
        tracemalloc.start()
        report = import_catalog(file, tmp_path / "none", PathMap(), dry_run=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (report.taken, report.captions, report.keywords) == (count, count, 1)
    assert peaks[1] < 1.25 * peaks[0]
