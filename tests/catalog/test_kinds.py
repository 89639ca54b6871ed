"""A photo is found by what its tags and objects are, and by other words for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from catalogd.catalog import Catalog, kinds
from catalogd.models.joint import labels
from catalogd.models.objects import _NAMES as OBJECTS
from catalogd.models.vocabulary import read_vocabulary
from catalogd.records import ObjectBox, Output, Record
from catalogd.settings import Settings
from tests.catalog.photos import photo, tagger

NAMES = {names[0] for names in labels()} | set(OBJECTS) | set(read_vocabulary(None).words)


def test_every_name_in_the_file_is_one_that_a_model_gives() -> None:
    for words, names in kinds.entries():
        assert words
        assert names
        assert set(names) <= NAMES, (words, set(names) - NAMES)


def test_no_line_says_a_word_of_itself_or_one_thing_twice() -> None:
    pairs = [(word, name) for words, names in kinds.entries() for word in words for name in names]
    assert len(set(pairs)) == len(pairs)
    assert all(word != name for word, name in pairs)


def test_words_are_written_as_people_type_them() -> None:
    for words, _ in kinds.entries():
        for word in words:
            assert word == word.lower().strip()
            assert word


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Blenheim spaniel", "dog"),
        ("tabby", "cat"),
        ("bulbul", "bird"),
        ("yawl", "boat"),
        ("convertible", "car"),
        ("Granny Smith", "apple"),
        ("Granny Smith", "food"),
        ("couch", "sofa"),
        ("airliner", "plane"),
        ("cab", "taxi"),
        ("person", "people"),
        ("sparrow", "bird"),
        ("kitten", "animal"),
        ("sailboat", "boat"),
    ],
)
def test_a_name_stands_for_what_it_is(name: str, word: str) -> None:
    assert word in kinds.kinds_of(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [("lion", "cat"), ("hotdog", "dog"), ("wing", "bird"), ("crane", "car"), ("kite flying", "bird")],
)
def test_a_name_does_not_stand_for_what_only_sounds_like_it(name: str, word: str) -> None:
    assert word not in " ".join(kinds.kinds_of(name)).split()


def test_a_name_that_nobody_wrote_down_stands_for_itself_alone() -> None:
    assert kinds.kinds_of("flux capacitor") == ()
    assert kinds.words_of(()) == ""


def test_words_of_several_names_are_each_there_once() -> None:
    words = kinds.words_of(("tabby", "Persian cat", "beagle")).split()
    assert len(set(words)) == len(words)
    assert {"cat", "dog", "animal"} <= set(words)


def test_a_search_finds_a_breed_by_its_kind_after_a_photo_that_says_so_itself(tmp_path: Path) -> None:
    photos = [
        photo("/a.jpg", outputs={"tags": tagger("beagle")}),
        photo("/b.jpg", outputs={"objects": detector("dog")}),
        photo("/c.jpg", outputs={"tags": tagger("hotdog")}),
        *[photo(f"/{number}.jpg", outputs={"objects": detector("vase")}) for number in range(9)],
    ]
    assert found(tmp_path, photos, "dogs") == [(b"/b.jpg", "objects"), (b"/a.jpg", "kinds")]


def detector(name: str) -> Output:
    return Output("objects", objects=(ObjectBox(name, (0, 0, 1, 1), 1.0),))


def found(folder: Path, photos: list[Record], words: str) -> list[tuple[bytes, str]]:
    """Path and field of each hit, best first."""
    settings = dataclasses.replace(Settings(), catalog=folder / "catalog")
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.commit(photos, b"profile")
        catalog.follow(force=True)
        hits = catalog.search_text(words, None, 10)
        records = catalog.records([hit.photo_id for hit in hits])
        pairs = zip(records, hits, strict=True)
        return [(record.path, hit.fields[0]) for record, hit in pairs if record is not None]
