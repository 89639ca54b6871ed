from __future__ import annotations

import dataclasses
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogd.catalog import postings
from catalogd.catalog.columns import ColumnsReader
from catalogd.catalog.postings import Postings
from catalogd.catalog.selection import Selection, Selector, Sources
from catalogd.catalog.store import Store
from catalogd.catalog.text_index import (
    MARK,
    PAGE_RECORDS,
    VERSION_FILE,
    TextFollower,
    TextIndex,
    _parts_of,
    decode_indexed,
    document_of,
)
from catalogd.errors import CatalogLockedError, QueryError
from catalogd.records import (
    Answer,
    Condition,
    Facts,
    Missing,
    Output,
    Place,
    Record,
    Region,
    UserFacts,
    encode,
)
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, failure, photo, reader, tagger

SETTINGS = Settings(text_heap_bytes=15 << 20)  # the least that Tantivy takes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path, write=True) as opened:
        yield opened


@pytest.fixture
def follower(store: Store, tmp_path: Path) -> Iterator[TextFollower]:
    following = TextFollower(store, tmp_path / "text", SETTINGS)
    yield following
    following.close()


class Library:
    """A store and the text index that follows it; photos are known by their file names."""

    def __init__(self, store: Store, follower: TextFollower) -> None:
        self.store = store
        self.follower = follower

    def add(self, *records: Record) -> None:
        self.store.commit(records, PROFILE)
        self.follower.follow(force=True)

    def find(self, words: str, *conditions: Condition, limit: int = 10) -> list[str]:
        selection = self.select(*conditions) if conditions else None
        return self._names(hit.photo_id for hit in self.follower.index.search(words, selection, limit))

    def select(self, *conditions: Condition) -> Selection:
        index = self.follower.index
        sources = Sources(index.photos_with, index.version, lambda: (np.empty(0, np.int64), np.empty(0)), 0)
        return Selector().select(ColumnsReader(self.store).columns(), conditions, sources)

    def matching(self, *conditions: Condition) -> set[str]:
        return set(self._names(self.select(*conditions).ids.tolist()))

    def _names(self, ids: Any) -> list[str]:
        records = self.store.records(ids)
        return [record.path.rpartition(b"/")[2].decode() for record in records if record is not None]


@pytest.fixture
def library(store: Store, follower: TextFollower) -> Library:
    return Library(store, follower)


def tagged(path: str, *names: str) -> Record:
    return photo(path, outputs={"tagger": tagger(*names)})


def taken(path: str, **facts: Any) -> Record:
    return photo(path, facts=Facts(**{"format": "jpeg", "width": 4, "height": 3, **facts}))


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["cat", "cats", "CAT", "Tabby", "a cat", "tabby-cat", "cát"])
def test_a_tag_is_found_by_its_words_in_any_form(library: Library, words: str) -> None:
    library.add(tagged("/a/1.jpg", "tabby cat"), tagged("/a/2.jpg", "dog"))
    assert library.find(words) == ["1.jpg"]


def test_photos_with_all_words_come_first_and_those_with_some_after(library: Library) -> None:
    library.add(
        tagged("/a/some.jpg", "sofa", "sofa bed", "studio couch sofa"),
        tagged("/a/all.jpg", "cat", "sofa", "lamp", "table", "window", "carpet"),
        tagged("/a/none.jpg", "dog"),
    )
    assert library.find("cat sofa") == ["all.jpg", "some.jpg"]


def test_little_words_do_not_count_unless_there_are_no_others(library: Library) -> None:
    library.add(
        tagged("/a/1.jpg", "cat"), photo("/a/2.jpg", outputs={"reader": reader("a room on the lake")})
    )
    assert library.find("a cat on the") == ["1.jpg"]
    assert library.find("on the") == ["2.jpg"]


@pytest.mark.parametrize(
    "words", ["summer", "trip", "2019", "SummerTrip2019", "trip2019", "img_1234", "1234", "ete"]
)
def test_a_path_is_found_by_its_words_and_their_parts(library: Library, words: str) -> None:
    library.add(photo("/p/SummerTrip2019/été/IMG_1234.jpg", outputs={}), photo("/p/other/x.jpg", outputs={}))
    assert library.find(words) == ["IMG_1234.jpg"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_count_alike_however_they_are_written(library: Library, form: Any) -> None:
    """macOS writes file names with accents apart from their letters: "été" was three words."""
    spelled = unicodedata.normalize(form, "Été à Orléans")
    library.add(taken(f"/p/{spelled}/1.jpg", keywords=(spelled,)), taken("/p/e/o/2.jpg"))
    for words in ("orléans", "ORLEANS", unicodedata.normalize("NFD", "été")):
        assert library.find(words) == ["1.jpg"]
    for typed in ("NFC", "NFD"):
        keyword = unicodedata.normalize(typed, "été à orléans")  # type: ignore[arg-type]
        assert library.matching(Condition("keyword", keyword)) == {"1.jpg"}


def test_text_without_spaces_is_found_by_any_part_of_it(library: Library) -> None:
    library.add(
        photo("/a/1.jpg", outputs={"reader": reader("東京駅前の猫カフェ")}), tagged("/a/2.jpg", "cat")
    )
    assert library.find("猫") == library.find("東京駅") == ["1.jpg"]


def test_a_hit_names_the_fields_that_matched(library: Library) -> None:
    outputs = {"tagger": tagger("cat"), "reader": reader("no cats here")}
    library.add(photo("/cat/1.jpg", outputs=outputs), photo("/a/2.jpg", outputs={"reader": reader("cat")}))
    hits = library.follower.index.search("cat", None, 10)
    assert [hit.fields for hit in hits] == [("tags", "text", "path"), ("text",)]
    assert hits[0].score > hits[1].score > 0


def test_no_more_hits_than_asked_for(library: Library) -> None:
    library.add(*[tagged(f"/a/{n}.jpg", "cat") for n in range(5)])
    assert len(library.find("cat sofa", limit=3)) == 3
    assert library.find("cat", limit=0) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.one_of(
        st.text(), st.text('+-:*?~^"()[]{}\\/ aANDORNT<>=!&|0'), st.text(st.characters(categories=["Cs"]))
    )
)
def test_whatever_a_person_types_is_words_and_never_an_error(library: Library, words: str) -> None:
    index = library.follower.index
    index.search(words, None, 5)
    for field in (
        ("camera", "text", "type", "keyword", "place", "in", "label", "any", "name") if words.strip() else ()
    ):
        library.matching(Condition(field, words))


def test_a_pasted_page_is_cut_to_its_first_words(library: Library) -> None:
    library.add(tagged("/a/1.jpg", "cat"))
    assert library.find("cat " + " ".join(f"word{n}" for n in range(20_000))) == ["1.jpg"]


# -- facts -----------------------------------------------------------------------------------------

HARBOUR = {
    "camera": "NIKON Z 8",
    "lens": "NIKKOR Z 35mm f/1.8 S",
    "title": "Old wharves",
    "caption": "The rain has just stopped",
    "keywords": ("harbour", "Hot Dog"),
    "keyword_paths": ("Travel|Norway|Fjords",),
    "people": ("Anna Nygård",),
    "regions": (Region((0.1, 0.1, 0.1, 0.1), "Ola Nordmann"), Region((0.4, 0.1, 0.1, 0.1))),
    "creator": "Kari Berg",
    "place": Place("NO", "Norway", "Vestland", "Bergen", "Sandviken", 1.2),
    "label": "To Print",
    "rating": 4,
    "marks": ("panorama", "motion_photo"),
}


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library of one photo that says much and one that says nothing."""
    folder = tmp_path_factory.mktemp("harbour")
    with Store(folder, write=True) as store:
        library = Library(store, TextFollower(store, folder / "text", SETTINGS))
        library.add(taken("/a/1.jpg", **HARBOUR), taken("/a/2.jpg"))
        yield library
        library.follower.close()


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("wharf", None),
        ("wharves", "caption"),
        ("raining stops", "caption"),
        ("harbours", "keywords"),
        ("fjord", "keywords"),
        ("travel", "keywords"),
        ("anna", "people"),
        ("nygard", "people"),
        ("nordmann", "people"),
        ("bergen", "place"),
        ("sandviken", "place"),
        ("vestland norway", "place"),
        ("kari", "creator"),
        ("panorama", "marks"),
        ("motion photo", "marks"),
        ("print", "marks"),
        ("nikkor", "camera"),
    ],
)
def test_what_the_file_says_is_found_by_words(harbour: Library, words: str, field: str | None) -> None:
    hits = harbour.follower.index.search(words)
    assert len(hits) == (field is not None)
    assert all(field in hit.fields for hit in hits)


def test_what_a_person_said_counts_before_what_a_model_saw_also_where_few_said_anything(
    library: Library,
) -> None:
    """By BM25 a keyword counted for nothing: too long against the mean of photos of which most have none."""
    library.add(
        *[tagged(f"/a/{n}.jpg", "cat", "sofa") for n in range(50)],
        photo("/harbour/path.jpg", outputs={}),
        tagged("/a/tag.jpg", "harbour"),
        taken("/a/place.jpg", place=Place("GB", "United Kingdom", nearest="Harbour Heights")),
        taken("/a/keyword.jpg", keywords=("harbour", "boats", "night", "rain", "a long walk")),
    )
    assert library.find("harbour") == ["keyword.jpg", "place.jpg", "tag.jpg", "path.jpg"]


# -- what models wrote -----------------------------------------------------------------------------


def described(path: str, caption: str, /, *answers: tuple[str, str], **facts: Any) -> Record:
    """A photo that a model captioned, and of which it answered questions."""
    said = tuple(Answer(question, answer) for question, answer in answers)
    output = Output("florence 1", caption=caption, answers=said or None)
    return photo(path, facts=Facts("jpeg", 4, 3, **facts), outputs={"caption": output})


@pytest.mark.parametrize(
    ("words", "found"),
    [("lighthouse", True), ("lighthouses waves", True), ('"tall lighthouse"', True), ("foggy", True)],
)
def test_captions_and_answers_of_models_are_found_by_words(library: Library, words: str, found: bool) -> None:
    library.add(described("/a/1.jpg", "a tall lighthouse above the waves", ("What is the weather?", "foggy")))
    assert (library.find(words) == ["1.jpg"]) is found
    assert {hit.fields for hit in library.follower.index.search(words)} == {("described",)}


def test_words_of_questions_find_nothing_since_all_photos_have_them(library: Library) -> None:
    library.add(described("/a/1.jpg", "a beach", ("Is there a dog?", "no")))
    assert library.find("dog") == []
    assert library.matching(Condition("answer", "dog")) == set()


def test_a_person_s_caption_counts_before_a_model_s(library: Library) -> None:
    library.add(described("/a/model.jpg", "a harbour"), taken("/a/person.jpg", caption="harbour"))
    assert library.find("harbour") == ["person.jpg", "model.jpg"]


def test_caption_asks_a_person_s_and_a_model_s_only_where_no_person_wrote_one(library: Library) -> None:
    library.add(
        described("/a/model.jpg", "a harbour"),
        described("/a/both.jpg", "a harbour", caption="our holiday"),
    )
    assert library.matching(Condition("caption", "harbours")) == {"model.jpg"}
    assert library.matching(Condition("caption", "holiday")) == {"both.jpg"}
    assert set(library.find("harbour")) == {"model.jpg", "both.jpg"}
    copies = UserFacts(copies=(UserFacts(caption="as a print"),))
    copied = msgspec.structs.replace(described("/a/1.jpg", "a harbour"), photo_id=1, user=copies)
    assert "captioned" not in document_of(decode_indexed(encode(copied)))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("yes", {"dog.jpg", "none.jpg"}),
        ('"dog yes"', {"dog.jpg"}),
        ('"dog no"', {"none.jpg"}),
        ('"indoors yes"', {"none.jpg"}),
        ('"yes is it"', set()),  # across two of them
    ],
)
def test_an_answer_is_asked_for_alone_or_behind_its_question(
    library: Library, words: str, found: set[str]
) -> None:
    library.add(
        described("/a/dog.jpg", "", ("Is there a dog?", "Yes."), ("Is it indoors?", "no")),
        described("/a/none.jpg", "", ("Is there a dog?", "no"), ("Is it indoors?", "yes")),
    )
    assert library.matching(Condition("answer", words)) == found


@pytest.mark.parametrize(
    ("field", "words", "found"),
    [
        ("keyword", "hot dog", True),
        ("keyword", "HARBOUR", True),
        ("keyword", "dog", False),
        ("keyword", "norway", True),
        ("keyword", "travel|norway", True),
        ("keyword", "Travel|Norway|Fjords", True),
        ("keyword", "norway|fjords", False),
        ("label", "to print", True),
        ("label", "print", False),
        ("lens", "35mm", True),
        ("lens", "nikon", False),
        ("lens", "z 35 mm", True),
        ("camera", "nikon z8", True),
        ("camera", "nikon 35mm", False),
        ("title", "wharves", True),
        ("title", "rain", False),
        ("caption", "old wharves", True),
        ("keyword", "travel/norway", True),
        ("keyword", "trav*/norw*", True),
        ("keyword", "har?our", True),
        ("keyword", "har?", False),
        ("any", "sandviken", True),
        ("any", '"anna nygard"', True),
        ("any", '"nygard anna"', False),
        ("any", "wharv*", True),
        ("any", "harbours*", True),
        ("name", "1.jpg", True),
        ("name", "1", True),
        ("name", "1.?PG", True),
        ("name", "*1.png", False),
        ("place", "bergen norway", True),
        ("place", "anna", False),
        ("person", "ola", True),
        ("person", "anna nordmann", True),
        ("person", "bergen", False),
    ],
)
def test_facts_are_asked_for_by_field(harbour: Library, field: str, words: str, found: bool) -> None:
    assert harbour.matching(Condition(field, words)) == ({"1.jpg"} if found else set())


def test_a_photo_without_a_rating_has_none(library: Library) -> None:
    library.add(*[taken(f"/a/{rating}.jpg", rating=rating) for rating in (-1, 0, 5)], taken("/a/none.jpg"))
    assert library.matching(Condition("rating", low=4)) == {"5.jpg"}
    assert library.matching(Condition("rating", high=0)) == {"-1.jpg", "0.jpg"}


@pytest.mark.parametrize("keyword", ["|" * 60_000, "a|" * 30_000, "x" * 70_000, " ", "|a||b|"])
def test_keywords_that_are_none_do_no_harm(library: Library, keyword: str) -> None:
    """Each level of a path is a term with all above it: a path of 30,000 levels would fill the memory."""
    hostile = taken("/a/1.jpg", keywords=(keyword,), keyword_paths=(keyword,), label=keyword)
    library.add(hostile, taken("/a/2.jpg", keywords=("harbour",)))
    assert library.matching(Condition("keyword", "harbour")) == {"2.jpg"}
    assert library.matching(Condition("keyword", f'"{keyword}"')) <= {"1.jpg"}


# -- conditions ------------------------------------------------------------------------------------


def test_words_are_found_inside_the_selection_however_much_of_the_library_it_is(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter after the search left nothing where the best hits were all filtered away."""
    monkeypatch.setattr("catalogd.catalog.postings.READ_AT_ONCE", 0)
    monkeypatch.setattr("catalogd.catalog.text_index._FEW_PHOTOS", 5)
    monkeypatch.setattr("catalogd.catalog.text_index._FIRST_HITS", 2)
    library.add(*[taken(f"/cat/{n}.jpg", iso=n, keywords=("cat",) * (n < 60)) for n in range(80)])
    for low, found in ((0, 80), (40, 40), (70, 10), (77, 3), (80, 0)):
        hits = library.find("cat", Condition("iso", low=low), limit=100)
        assert sorted(int(name.partition(".")[0]) for name in hits) == list(range(low, low + found))
    assert library.find("cat", Condition("iso", low=59), limit=1) == ["59.jpg"]


@pytest.mark.parametrize("few", [0, 1000])
def test_among_the_selected_those_with_all_words_come_first_however_many_of_the_library_have_them(
    library: Library, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Of few photos it is looked up who has all of the words, and that list may be cut."""
    monkeypatch.setattr("catalogd.catalog.postings.READ_AT_ONCE", 0)
    monkeypatch.setattr("catalogd.catalog.text_index._FEW_PHOTOS", few)
    monkeypatch.setattr("catalogd.catalog.text_index._FIRST_HITS", 3)
    library.add(*[taken(f"/cat/{n}.jpg", iso=n, keywords=("cat", "dog")[: 1 + n % 2]) for n in range(20)])
    selection = library.select(Condition("iso", low=14))
    found = library.follower.index.ranked("cat dog", selection, limit=5)
    assert sorted(library._names(found.ids[: found.whole].tolist())) == ["15.jpg", "17.jpg", "19.jpg"]
    assert len(found.ids) == 5
    assert found.is_cut
    assert not found.is_whole_cut


def test_a_phrase_is_words_in_a_row_and_counts_as_one(library: Library) -> None:
    library.add(
        photo("/a/row.jpg", outputs={"reader": reader("grand total due", "sum")}),
        photo("/a/apart.jpg", outputs={"reader": reader("total of the grand prix")}),
    )
    assert library.find('"grand total"') == ["row.jpg"]
    assert set(library.find("grand total")) == {"row.jpg", "apart.jpg"}
    assert library.matching(Condition("text", '"grand total" sum')) == {"row.jpg"}
    assert library.find('"grand total') == ["row.jpg"]


def test_wildcards_stand_for_letters_in_free_words_too(library: Library) -> None:
    library.add(tagged("/a/1.jpg", "beaches"), tagged("/a/2.jpg", "bench"))
    assert library.find("beach*") == library.find("beaches*") == ["1.jpg"]
    assert library.find("ben?h") == ["2.jpg"]
    assert set(library.find("be*ch")) == {"1.jpg", "2.jpg"}
    assert library.find("*") == []


def test_a_synonym_finds_what_the_word_does_not_and_counts_less(library: Library) -> None:
    library.add(
        tagged("/a/1.jpg", "quix", "road"),
        tagged("/a/2.jpg", "zorp", "road"),
        tagged("/a/3.jpg", "cat"),
    )
    synonyms = {"zorp": [("quix", 0.5)]}

    def expand(word: str) -> list[tuple[str, float]]:
        return synonyms.get(word, [])

    hits = library.follower.index.search("zorp", None, 10, expand)
    assert library._names([hit.photo_id for hit in hits]) == ["2.jpg", "1.jpg"]
    assert [hit.fields for hit in hits] == [("tags",), ("tags",)]
    assert library.find("zorp") == ["2.jpg"]


@pytest.mark.parametrize("condition", [Condition("colour", "red"), Condition("text", "a*" * 100)])
def test_a_condition_that_no_index_answers_is_an_error_with_its_place(
    library: Library, condition: Condition
) -> None:
    with pytest.raises(QueryError):
        library.follower.index.photos_with(condition)


# -- following the store ---------------------------------------------------------------------------


def test_an_updated_photo_replaces_its_document(library: Library) -> None:
    """With an unsigned id field Tantivy deletes nothing by term, and every update left a double."""
    library.add(tagged("/a/1.jpg", "cat"))
    photo_id = int(library.store.photo_ids()[0])
    assert photo_id > 2**32
    library.add(tagged("/a/1.jpg", "dog"))
    assert len(library.follower.index) == 1
    assert (library.find("cat"), library.find("dog")) == ([], ["1.jpg"])


def test_missing_and_forgotten_photos_are_not_found(library: Library) -> None:
    library.add(tagged("/a/1.jpg", "cat"), tagged("/a/2.jpg", "cat"))
    library.store.commit([Missing(b"/a/1.jpg", 1.0)], PROFILE)
    library.follower.follow(force=True)
    assert library.find("cat") == ["2.jpg"]
    library.store.purge_missing(2.0)
    library.follower.follow(force=True)
    assert len(library.follower.index) == 1


def test_the_index_is_committed_on_its_own_clock(store: Store, tmp_path: Path) -> None:
    slow = dataclasses.replace(SETTINGS, text_commit_records=3, text_commit_wait_s=1e9)
    follower = TextFollower(store, tmp_path / "text", slow)
    found = []
    for n in range(4):
        store.commit([tagged(f"/a/{n}.jpg", "cat")], PROFILE)
        follower.follow()
        found.append((len(follower.index), store.mark(MARK)))
    assert found == [(0, 0), (0, 0), (3, 3), (3, 3)]
    follower.follow(force=True)
    assert (len(follower.index), store.mark(MARK)) == (4, 4)
    follower.close()


def test_what_was_added_but_not_committed_is_added_again_after_a_crash(store: Store, tmp_path: Path) -> None:
    slow = dataclasses.replace(SETTINGS, text_commit_wait_s=1e9)
    first = TextFollower(store, tmp_path / "text", slow)
    store.commit([tagged("/a/1.jpg", "cat")], PROFILE)
    first.follow()
    first.close()
    second = TextFollower(store, tmp_path / "text", slow)
    second.follow(force=True)
    assert len(second.index) == 1
    second.close()


def test_a_mark_lost_after_the_index_was_committed_makes_no_doubles(library: Library) -> None:
    library.add(tagged("/a/1.jpg", "cat"), tagged("/a/2.jpg", "cat"))
    library.follower.close()
    library.store.set_mark(MARK, 0)
    again = TextFollower(library.store, library.store.folder.parent / "text", SETTINGS)
    again.follow(force=True)
    assert again.index.ids().tolist() == library.store.photo_ids().tolist()
    again.close()


@pytest.mark.parametrize("spoiled", ["older version", "no version", "no index", "nothing"])
def test_an_index_that_can_not_be_used_is_built_again(library: Library, tmp_path: Path, spoiled: str) -> None:
    library.add(tagged("/a/1.jpg", "cat"))
    library.follower.close()
    folder = tmp_path / "text"
    if spoiled == "older version":
        (folder / VERSION_FILE).write_text("0\n")
    elif spoiled == "no version":
        (folder / VERSION_FILE).unlink()
    elif spoiled == "no index":
        (folder / "meta.json").write_text("{")
    again = TextFollower(library.store, folder, SETTINGS)
    assert len(again.index) == (1 if spoiled == "nothing" else 0)
    again.follow()
    assert again.index.ids().tolist() == library.store.photo_ids().tolist()
    assert library.store.mark(MARK) == library.store.commit_number()
    again.close()


def test_a_rebuild_is_searched_only_when_all_of_it_is_there(library: Library, tmp_path: Path) -> None:
    many = PAGE_RECORDS + 10
    library.add(*[photo(f"/a/{n}.jpg", outputs={}) for n in range(many)])
    reading = TextIndex(tmp_path / "text", 0)
    library.follower.index.clear()
    reading.refresh()
    assert len(reading) == many
    library.follower.rebuild()
    reading.refresh()
    assert len(reading) == many
    assert np.array_equal(reading.ids(), library.store.photo_ids())


def test_temporary_files_of_a_killed_writer_are_swept(library: Library, tmp_path: Path) -> None:
    library.follower.close()
    leftover = tmp_path / "text" / ".tmpAbc"
    leftover.write_text("x")
    TextFollower(library.store, tmp_path / "text", SETTINGS).close()
    assert not leftover.exists()


def test_a_second_writer_is_told_that_there_is_one(library: Library, tmp_path: Path) -> None:
    library.add(tagged("/a/1.jpg", "cat"))
    second = TextIndex(tmp_path / "text", SETTINGS.text_heap_bytes, write=True)
    with pytest.raises(CatalogLockedError):
        second.commit()


def test_failures_are_not_indexed(library: Library) -> None:
    library.store.commit([failure("/cat/1.jpg")], PROFILE)
    library.follower.follow(force=True)
    assert len(library.follower.index) == 0


def test_a_document_depends_on_nothing_but_its_record() -> None:
    def document(record: Record) -> dict[str, Any]:
        return document_of(decode_indexed(encode(record)))

    one = photo("/a/1.jpg", outputs={"tagger": tagger("cat")}, photo_id=7)
    other = photo("/a/1.jpg", outputs={"tagger": tagger("cat", "dog")}, photo_id=7)
    assert document(one) == document(one)
    assert document(one)["digest"] != document(other)["digest"]


def test_words_that_are_kept_find_what_came_and_went_since(library: Library) -> None:
    library.add(tagged("/a/1.jpg", "cat"), tagged("/a/2.jpg", "cat"))
    assert set(library.find("cat")) == {"1.jpg", "2.jpg"}
    library.add(tagged("/a/1.jpg", "dog"), tagged("/a/3.jpg", "cat"))
    assert set(library.find("cat")) == {"2.jpg", "3.jpg"}
    assert library.find("dog") == ["1.jpg"]


def test_few_selected_photos_score_to_the_last_bit_what_they_score_among_all(library: Library) -> None:
    """What was asked about a few photos came as float32: they ranked beside those that score as well."""
    library.add(*[tagged(f"/a/{n}.jpg", *("cat", "dog")[: 1 + n % 2]) for n in range(20)])
    index = library.follower.index
    for words in ("cat", "cat dog"):
        some = index.ranked(words, library.select(Condition("tag", "dog")), limit=10)
        assert len(some.ids) == 10
        everyone = index.ranked(words, None, limit=100)
        scores = dict(zip(everyone.ids.tolist(), (everyone.scores + 10_000).tolist(), strict=True))
        assert (some.scores + 10_000).tolist() == [scores[photo_id] for photo_id in some.ids.tolist()]


def test_slices_of_a_word_are_together_all_its_photos(library: Library) -> None:
    library.add(*[tagged(f"/a/{number}.jpg", "cat", "tabby") for number in range(40)])
    index = library.follower.index
    (part,) = _parts_of("cat", None)
    slices = [index._read_slice(part, number, 7) for number in range(7)]
    whole, joined = index._read_slice(part, 0, 1), Postings.joined(slices)
    assert joined.ids.tolist() == whole.ids.tolist() == index.ids().tolist()
    assert joined.scores.tolist() == whole.scores.tolist()
    assert joined.fields.tolist() == whole.fields.tolist()
    assert sum(len(some.ids) > 0 for some in slices) > 1


def test_a_common_word_is_read_while_others_search_and_closing_ends_that(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postings, "READ_AT_ONCE", 0)
    monkeypatch.setattr(postings, "SLICE_HITS", 1)
    monkeypatch.setattr(postings, "REST", 1e6)  # until it is closed
    library.add(*[tagged(f"/a/{number}.jpg", "cat") for number in range(5)])
    for _ in range(3):
        assert len(library.find("cat")) == 5
    library.add(tagged("/a/9.jpg", "cat"))  # another commit: what is read of the former one is given up
    _join_readers()
    assert len(library.find("cat")) == 6
    library.find("cat")
    library.follower.close()
    _join_readers()


def _join_readers() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("postings"):
            thread.join(5)
            assert not thread.is_alive()
