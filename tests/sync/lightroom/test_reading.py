"""What is read of a Lightroom catalog: exactly what was set, in every version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from catalogd.errors import LightroomError, UsageError
from catalogd.records import Place, Region, UserFacts
from catalogd.sync.lightroom.opening import opened
from catalogd.sync.lightroom.reading import EPOCH_S, Image, Reader
from catalogd.sync.lightroom.tables import Tables
from tests.sync.lightroom.family import RULES, family_catalog
from tests.sync.lightroom.lrcat import LrCatalog, packet, uuid_of


@contextmanager
def reader_of(made: LrCatalog) -> Iterator[Reader]:
    with opened(made.close()) as source:
        yield Reader(Tables(source.connection))


def images_of(made: LrCatalog) -> list[Image]:
    with reader_of(made) as reader:
        return list(reader.images())


@pytest.fixture
def made(tmp_path: Path) -> LrCatalog:
    return LrCatalog(tmp_path / "x.lrcat")


@pytest.mark.parametrize("version", [6, 13])
def test_everything_that_was_set_is_read(tmp_path: Path, version: int) -> None:
    one, two, copy, film, last = images_of(family_catalog(tmp_path / "x.lrcat", "/photos/", version))
    collections = ("Best", "Travel/Norway-West")
    assert one == Image(
        uuid_of(1),
        1,
        "2023/Norway/a.jpg",
        False,
        None,
        UserFacts(
            source="lightroom",
            uuid=uuid_of(1),
            rating=4,
            pick=1,
            label="Red",
            title="On the beach & away",
            caption="Anna and the dog",
            keywords=("Dog",),
            keyword_paths=("Animals|Dog",),
            synonyms=("canine", "hound", "fauna"),
            people=("Anna Núñez", "Ben Holm"),
            latitude=60.3972,
            longitude=5.3243,
            place=Place("NO" if version > 6 else "", "Norge", "Vestland", "Bergen", "Bryggen"),
            collections=collections,
            develop=("adjusted", "cropped", "black_and_white")
            + (("masked", "retouched") if version > 6 else ()),
            regions=(Region((0.25, 0.125, 0.5, 0.25), "Anna Núñez"),),
            changed_at=700_000_000.5 + EPOCH_S,
        ),
    )
    stack = "STACK2"
    assert two.facts == UserFacts(
        source="lightroom", uuid=uuid_of(2), pick=-1, keywords=("Animals",), synonyms=("fauna",),
        stack=(stack, 1), changed_at=float(EPOCH_S),
    )  # fmt: skip
    assert copy == Image(
        uuid_of(3), 1, "2023/Norway/b.NEF", False, uuid_of(2),
        UserFacts(
            source="lightroom", uuid=uuid_of(3), rating=5, pick=0, copy_name="Copy 1",
            changed_at=float(EPOCH_S),
        ),
    )  # fmt: skip
    assert (film.is_video, film.path, film.facts.rating) == (True, "film.mov", 3)
    assert (last.path, last.facts.stack, last.facts.collections) == (
        "c d.tif",
        (stack, 2),
        ("Travel/Norway-West",),
    )


def test_a_very_old_catalog_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    with reader_of(family_catalog(tmp_path / "x.lrcat", "/photos/", 3)) as reader:
        one, *_ = reader.images()
        missing = list(reader.tables.missing)
        assert reader.tables.version().major == 3
    assert one.facts.people == ("Ben Holm",)
    assert one.facts.regions == ()
    assert one.facts.changed_at is None
    assert one.facts.keywords == ("Dog", "Anna Núñez")
    assert "AgLibraryKeywordFace" in missing
    assert "Adobe_images.touchTime" in missing


def test_collections_have_their_sets_and_their_photos_in_order(tmp_path: Path) -> None:
    with reader_of(family_catalog(tmp_path / "x.lrcat", "/photos/")) as reader:
        names = {entry.collection_id: (entry.name, entry.kind) for entry in reader.collections.values()}
        members = {names[number][0]: list(uuids) for number, uuids in reader.members()}
        rules = {names[number][0]: text for number, text in reader.smart_rules()}
    assert sorted(names.values()) == [
        ("Best", "collection"),
        ("Edited lately", "smart"),
        ("Travel", "set"),
        ("Travel/Four stars", "smart"),
        ("Travel/Norway-West", "collection"),
    ]
    assert members == {"Travel/Norway-West": [uuid_of(5), uuid_of(1)], "Best": [uuid_of(1)]}
    assert rules["Travel/Four stars"] == RULES


def test_collections_whose_names_differ_in_case_alone_are_told_apart(made: LrCatalog) -> None:
    for name in ("Best", "best", "a/b", "a-b"):
        made.collection(name)
    with reader_of(made) as reader:
        assert [entry.name for entry in reader.collections.values()] == ["Best", "best (2)", "a-b", "a-b (2)"]


def test_keywords_in_a_circle_or_without_a_parent_end(made: LrCatalog) -> None:
    folder = made.folder(made.root("/p/"))
    first = made.keyword("first")
    second = made.keyword("second", first)
    made.db.execute("UPDATE AgLibraryKeyword SET parent = ? WHERE id_local = ?", (second, first))
    orphan = made.keyword("orphan", 4711)
    made.photo(folder, "a.jpg", keywords=(first, orphan, 999, made.root_keyword, made.keyword("a|b, c")))
    (image,) = images_of(made)
    assert set(image.facts.keywords) == {"first", "orphan", "a/b, c"}


def test_numbers_kept_as_text_or_nonsense_do_no_harm(made: LrCatalog) -> None:
    folder = made.folder(made.root("/p/"))
    made.photo(folder, "a.jpg", rating="3.0", pick="-1.0", touchTime="x", gps=("60.5", "5.25"))
    made.photo(folder, "b.jpg", rating=99, pick="", colorLabels=None or "", gps=(100.0, 5.0), touchTime=1e300)
    made.photo(folder, "c.jpg", rating=b"\0", pick=0.0, gps=(None, 5.0), fileWidth="x")
    one, two, three = (image.facts for image in images_of(made))
    assert (one.rating, one.pick, one.latitude, one.changed_at) == (3, -1, 60.5, None)
    assert (two.rating, two.pick, two.latitude, two.label) == (None, None, None, None)
    assert (three.rating, three.pick, three.latitude) == (None, 0, None)


def test_a_position_that_lightroom_denies_is_none(made: LrCatalog) -> None:
    number = made.photo(made.folder(made.root("/p/")), "a.jpg")
    made.add("AgHarvestedExifMetadata", image=number, gpsLatitude=1.0, gpsLongitude=2.0, hasGPS=0.0)
    assert images_of(made)[0].facts.latitude is None


def test_a_face_is_taken_from_its_corners_in_any_order(made: LrCatalog) -> None:
    anna = made.keyword("Anna", person=True)
    number = made.photo(made.folder(made.root("/p/")), "a.jpg")
    face = made.face(number, anna, (0.1, 0.2, 0.3, 0.4))
    made.db.execute(
        "UPDATE AgLibraryFace SET tl_x = 0.5, tl_y = 0.75, tr_x = 0.5, tr_y = 0.25, bl_x = 0.25, "
        "bl_y = 0.75, br_x = 0.25, br_y = 0.25 WHERE id_local = ?",
        (face,),
    )
    made.face(number, anna, (0.1, 0.2, 0.0, 0.0))  # no size
    made.face(number, anna, (9.0, 9.0, 9.0, 9.0))  # in another unit
    ignored = made.face(number, anna, (0.5, 0.5, 0.1, 0.1))
    made.db.execute("UPDATE AgLibraryFace SET ignored = 1 WHERE id_local = ?", (ignored,))
    assert images_of(made)[0].facts.regions == (Region((0.25, 0.25, 0.25, 0.5), "Anna"),)


def test_a_crop_that_only_turns_the_frame_is_none(made: LrCatalog) -> None:
    folder = made.folder(made.root("/p/"))
    for name, width, height in (
        ("a", 4000, 6000),
        ("b", 6000, 4000),
        ("c", 5999, 4000),
        ("d", "uncropped", None),
    ):
        number = made.photo(folder, f"{name}.jpg")
        made.add("Adobe_imageDevelopSettings", image=number, croppedWidth=width, croppedHeight=height)
    assert [image.facts.develop for image in images_of(made)] == [(), (), ("cropped",), ()]


def test_of_several_develop_settings_the_current_ones_count(made: LrCatalog) -> None:
    folder = made.folder(made.root("/p/"))
    number = made.photo(folder, "a.jpg")
    current = made.add("Adobe_imageDevelopSettings", image=number, hasDevelopAdjustments=1.0)
    made.add("Adobe_imageDevelopSettings", image=number, hasDevelopAdjustments=0.0)
    made.db.execute("UPDATE Adobe_images SET developSettingsIDCache = ?", (float(current),))
    assert images_of(made)[0].facts.develop == ("adjusted",)


def test_rows_of_images_that_are_gone_are_passed_over(made: LrCatalog) -> None:
    folder = made.folder(made.root("/p/"))
    dog = made.keyword("Dog")
    first = made.photo(folder, "a.jpg", keywords=(dog,), caption="A")
    made.photo(folder, "b.jpg", caption="B")
    made.photo(folder, "c.jpg", keywords=(dog,), caption="C")
    made.db.execute("DELETE FROM Adobe_images WHERE id_local = ?", (first,))
    made.photo(4711, "no folder.jpg")
    found = images_of(made)
    assert [(image.path, image.facts.caption, image.facts.keywords) for image in found] == [
        ("b.jpg", "B", ()),
        ("c.jpg", "C", ("Dog",)),
        ("no folder.jpg", None, ()),
    ]
    assert found[-1].root_id is None


def test_the_catalog_is_known_again_by_its_own_id(tmp_path: Path) -> None:
    names = []
    for number, store in enumerate(("A", "A", "B")):
        with reader_of(LrCatalog(tmp_path / f"{number}.lrcat", name=store)) as reader:
            names.append(reader.tables.catalog_id())
    assert names == ["A K-ROOT", "A K-ROOT", "B K-ROOT"]
    old = LrCatalog(tmp_path / "old.lrcat")
    old.db.execute("DROP TABLE Adobe_variablesTable")
    with reader_of(old) as reader:
        assert reader.tables.catalog_id() == "K-ROOT"
        assert reader.tables.version() == ("", None)


def test_a_newer_catalog_is_known_as_newer(tmp_path: Path) -> None:
    made = LrCatalog(tmp_path / "x.lrcat")
    made.db.execute("UPDATE Adobe_variablesTable SET value = '2100003' WHERE name = 'Adobe_DBVersion'")
    with reader_of(made) as reader:
        assert reader.tables.version().is_newer
        assert reader.tables.version().major == 21


def test_a_database_of_something_else_is_no_catalog(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.lrcat") as db:
        db.execute("CREATE TABLE notes(text)")
    db.close()
    with opened(tmp_path / "x.lrcat") as source, pytest.raises(UsageError, match="no Lightroom catalog"):
        Tables(source.connection)


def test_a_view_in_place_of_a_table_is_not_asked(made: LrCatalog) -> None:
    made.db.execute("DROP TABLE AgLibraryKeywordImage")
    made.db.execute(
        "CREATE VIEW AgLibraryKeywordImage AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) "
        "SELECT x AS image, x AS tag FROM n"
    )
    made.photo(made.folder(made.root("/p/")), "a.jpg")
    assert images_of(made)[0].facts.keywords == ()


def test_a_page_that_can_not_be_read_ends_with_what_to_do(made: LrCatalog, tmp_path: Path) -> None:
    made.photo(made.folder(made.root("/p/")), "a.jpg")
    with reader_of(made) as reader, pytest.raises(LightroomError, match="Optimize Catalog"):
        list(reader.tables.rows("SELECT nothing FROM Adobe_images"))


def test_whoever_is_not_to_be_exported_is_a_keyword_and_names_nobody(made: LrCatalog) -> None:
    """Names of people get into sidecars; keywords of other programs do not."""
    anna, ben = made.keyword("Anna", person=True, exported=False), made.keyword("Ben", person=True)
    number = made.photo(made.folder(made.root("/p/")), "a.jpg", keywords=(anna, ben))
    made.face(number, anna, (0.1, 0.1, 0.2, 0.2))
    made.face(number, ben, (0.5, 0.5, 0.2, 0.2))
    (image,) = images_of(made)
    assert (image.facts.people, image.facts.keywords) == (("Ben",), ("Anna",))
    assert [region.name for region in image.facts.regions] == ["Ben"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("AgLibraryFolder.rootFolder", "x"),
        ("AgLibraryKeyword.parent", "x"),
        ("AgLibraryKeywordImage.image", "x"),
        ("AgLibraryKeywordSynonym.keyword", "x"),
        ("AgLibraryCollection.parent", "x"),
        ("AgLibraryCollectionContent.content", 1e300),
        ("AgLibraryFace.image", b"x"),
    ],
)
def test_words_where_a_row_is_to_be_named_do_no_harm(tmp_path: Path, column: str, value: object) -> None:
    made = family_catalog(tmp_path / "x.lrcat", "/photos/")
    table, _, name = column.partition(".")
    made.db.execute(f"UPDATE {table} SET {name} = ?", (value,))
    with reader_of(made) as reader:
        assert len(list(reader.images())) == reader.count() == 5
        assert isinstance(dict(reader.smart_rules()), dict)


def test_labels_are_in_english_whatever_lightroom_speaks(made: LrCatalog) -> None:
    folder = made.folder(made.root("/p/"))
    for number, label in enumerate(("Rot", "GELB", "Lila", "To print", " ", "Rouge")):
        made.photo(folder, f"{number}.jpg", colorLabels=label)
    labels = [image.facts.label for image in images_of(made)]
    assert labels == ["Red", "Yellow", "Purple", "To print", None, "Red"]


NOTE = (
    '{"rating": 4, "pickStatus": 1, "colorNameForLabel": "red", "title": "Ours", "caption": "A dog.", '
    '"gps": {"latitude": 60.000005, "longitude": 5}, "city": "Bergen", "country": "Norge", '
    '"keywords": ["AI|Dog", "cat"], "people": ["People|Anna"], "personShown": "Anna, Ben"}'
)


def photo_with_note(made: LrCatalog, **changed: object) -> UserFacts:
    folder = made.folder(made.root("/p/"))
    keywords = (made.keyword("dog", made.keyword("AI")), made.keyword("cat"), made.keyword("mine"))
    anna = made.keyword("Anna", made.keyword("People"), person=True)
    values: dict[str, object] = {
        "rating": 4.0, "pick": 1.0, "colorLabels": "Rot", "caption": "A dog.", "gps": (60.0, 5.0),
        "place": {"city": "Bergen", "country": "Norge"}, "keywords": (*keywords, anna),
        "xmp": packet("Ours", ("Anna", "Ben")),
    }  # fmt: skip
    number = made.photo(folder, "a.jpg", **{**values, **changed})
    made.note(number, NOTE)
    return images_of(made)[0].facts


def test_what_the_plugin_wrote_and_nobody_changed_is_left_out(made: LrCatalog) -> None:
    facts = photo_with_note(made)
    assert facts == UserFacts(
        source="lightroom", uuid=uuid_of(1), keywords=("mine",), changed_at=float(EPOCH_S)
    )


def test_what_somebody_changed_since_is_theirs(made: LrCatalog) -> None:
    facts = photo_with_note(
        made,
        rating=3.0,
        pick=-1.0,
        colorLabels="Blau",
        caption="My dog.",
        gps=(61.0, 5.0),
        place={"city": "Oslo", "country": "Norge"},
        xmp=packet("Mine", ("Anna",)),
    )
    assert (facts.rating, facts.pick, facts.label, facts.title, facts.caption) == (
        3,
        -1,
        "Blue",
        "Mine",
        "My dog.",
    )
    assert (facts.latitude, facts.people) == (61.0, ("Anna",))
    assert facts.place == Place("", "", "", "Oslo")


@pytest.mark.parametrize(
    "note", ["", "[]", "{", "null", "[" * 100_000, '{"gps": 5, "keywords": 7, "rating": [1]}']
)
def test_a_note_that_is_none_says_nothing(made: LrCatalog, note: str) -> None:
    number = made.photo(made.folder(made.root("/p/")), "a.jpg", rating=4.0, gps=(60.0, 5.0))
    made.note(number, note)
    made.note(number, '{"rating": 4}', plugin="org.example.other")
    facts = images_of(made)[0].facts
    assert (facts.rating, facts.latitude) == (4, 60.0)
