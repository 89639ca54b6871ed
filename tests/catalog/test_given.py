"""What a person set in another program is found by path, follows its photo and outranks the file."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from catalogd.catalog import Catalog, given_following
from catalogd.catalog.environment import id_bytes
from catalogd.catalog.given import (
    LONGEST_UUID,
    Collection,
    Given,
    GivenCounts,
    decode_row,
    given_digest,
    given_key,
)
from catalogd.catalog.store import Store
from catalogd.catalog.user_data import UserData
from catalogd.duplicates.judging import Photo
from catalogd.duplicates.keeping import by_worth
from catalogd.duplicates.keeping import reasons as keeping_reasons
from catalogd.errors import UsageError
from catalogd.query import reasons
from catalogd.query.albums import Albums
from catalogd.query.language import parse
from catalogd.records import Album, Facts, Missing, Moved, Place, Record, Stat, UserFacts
from catalogd.settings import Settings
from catalogd.sync import fields
from catalogd.sync.policy import Policy
from tests.catalog.photos import OTHER_PROFILE, PROFILE, photo, tagger

SETTINGS = Settings(text_heap_bytes=15 << 20)
LIGHTROOM = "lightroom"
IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # nothing waits for a disk


class Library(NamedTuple):
    """A catalog, and what was set in Lightroom on its photos."""

    catalog: Catalog
    user: UserData

    def commit(self, *changes: Any) -> None:
        self.catalog.commit(list(changes), PROFILE)
        self.catalog.follow_given()

    def give(self, *photos: Given) -> Any:
        taken = self.user.give(LIGHTROOM, photos)
        self.catalog.follow_given()
        return taken

    def take_away(self, *uuids: str) -> int:
        count = self.user.take_away(LIGHTROOM, uuids or None)
        self.catalog.follow_given()
        return count

    def at(self, path: str) -> Record:
        record = self.catalog.record(self.catalog.photo_id_of(path.encode()) or 0)
        assert record is not None, path
        return record

    def rating(self, path: str) -> int | None:
        return self.at(path).said.rating


@pytest.fixture
def library() -> Iterator[Library]:
    with (
        tempfile.TemporaryDirectory(dir=IN_MEMORY) as made,
        Catalog.open(Path(made), SETTINGS, write=True) as catalog,
        UserData(Path(made)) as user,
    ):
        yield Library(catalog, user)


def given(uuid: str, path: str | bytes, *, master: str | None = None, **facts: Any) -> Given:
    return Given(uuid, path if isinstance(path, bytes) else path.encode(), UserFacts(**facts), master)


# -- giving ----------------------------------------------------------------------------------------


def test_what_is_given_outranks_the_file(library: Library) -> None:
    library.commit(photo("/a/1.jpg", facts=Facts("jpeg", 40, 30, rating=2, title="IMG", keywords=("x",))))
    library.give(given("u1", "/a/1.jpg", rating=4, title="Harvest", keywords=("y",), people=("Anna",)))
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.title, said.keywords, said.people) == (4, "Harvest", ("y",), ("Anna",))
    assert library.at("/a/1.jpg").facts.rating == 2, "the file's word is kept beside it"


def test_what_was_not_set_leaves_the_file_s_word(library: Library) -> None:
    library.commit(photo("/a/1.jpg", facts=Facts("jpeg", 40, 30, rating=2, label="Red", caption="c")))
    library.give(given("u1", "/a/1.jpg", pick=0))
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.label, said.caption) == (2, "Red", "c")


def test_the_same_given_again_is_unchanged(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    photos = given("u1", "/a/1.jpg", rating=4)
    assert library.give(photos)[:3] == (1, 0, 0)
    commit = library.catalog.counts().commit
    assert library.give(photos)[:3] == (0, 1, 0)
    assert library.catalog.counts().commit == commit
    assert library.user.given_digests(LIGHTROOM) == {"u1": given_digest(photos)}
    assert library.user.given_digests(LIGHTROOM, ["u1", "u2"]) == {"u1": given_digest(photos)}


def test_an_edit_replaces_what_was_given(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4, label="Red"))
    assert library.give(given("u1", "/a/1.jpg", rating=1)).taken == 1
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.label) == (1, None)


def test_a_giver_leaves_what_it_cannot_know(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(msgspec.structs.replace(given("u1", "/a/1.jpg", stack=("s", 1), rating=3), origin="cat"))
    plugin = msgspec.structs.replace(given("u1", "/a/1.jpg", rating=4), unsaid=("stack",))
    library.give(plugin)
    user = library.at("/a/1.jpg").user
    assert user is not None
    assert (user.rating, user.stack) == (4, ("s", 1))
    assert library.user.take_away(LIGHTROOM, origin="other") == 0
    assert library.user.take_away(LIGHTROOM, origin="cat") == 1, "the origin stays known"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (given("", "/a/1.jpg"), "uuid"),
        (given("u" * (LONGEST_UUID + 1), "/a/1.jpg"), "uuid"),
        (given("u", "a/1.jpg"), "path"),
        (given("u", "C:\\Photos\\1.jpg"), "path"),
        (given("u", b"/a/\0.jpg"), "path"),
        (given("u", "/a/1.jpg", rating=6), "rating"),
        (given("u", "/a/1.jpg", pick=2), "flag"),
        (given("u", "/a/1.jpg", latitude=91.0, longitude=0.0), "position"),
        (given("u", "/a/1.jpg", latitude=float("nan"), longitude=0.0), "position"),
        (given("u", "/a/1.jpg", keywords=("k",) * 2001), "keywords"),
        (given("u", "/a/1.jpg", caption="c" * 100_001), "text"),
        (msgspec.structs.replace(given("u", "/a/1.jpg"), unsaid=("nonsense",)), "fields"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_the_rest_is_taken(
    library: Library, wrong: Given, reason: str
) -> None:
    taken = library.give(wrong, given("ok", "/a/1.jpg"))
    assert taken.taken == 1
    assert [refused.uuid for refused in taken.refused] == [wrong.uuid]
    assert reason in taken.refused[0].reason


def test_a_source_is_a_short_name(library: Library) -> None:
    for source in ("", "a\0b", "s" * 41):
        with pytest.raises(UsageError, match="source"):
            library.user.give(source, [])


# -- which photo is meant --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD"])
def test_accents_may_be_spelled_in_either_way(library: Library, form: Any, other: Any) -> None:
    library.commit(photo(unicodedata.normalize(form, "/Åre/Núñez.jpg")))
    library.give(given("u1", unicodedata.normalize(other, "/Åre/Núñez.jpg"), rating=4))
    assert library.rating(unicodedata.normalize(form, "/Åre/Núñez.jpg")) == 4


def test_the_case_of_a_name_does_not_count_but_that_of_its_folder(library: Library) -> None:
    library.commit(photo("/a/IMG_1.JPG"))
    assert library.give(given("u1", "/a/img_1.jpg", rating=4)).waiting == 0
    assert library.rating("/a/IMG_1.JPG") == 4
    assert library.give(given("u2", "/A/IMG_1.JPG", rating=5)).waiting == 1
    assert library.rating("/a/IMG_1.JPG") == 4


def test_the_very_name_goes_before_one_of_another_case(library: Library) -> None:
    library.commit(photo("/a/img_1.jpg"))
    library.give(given("u1", "/a/IMG_1.jpg", rating=4))
    library.commit(photo("/a/IMG_1.jpg"))
    assert library.rating("/a/IMG_1.jpg") == 4
    assert library.rating("/a/img_1.jpg") is None


@pytest.mark.parametrize("at", ["/a/1.jpg", "/a/1.JPG", b"/a/\xff.jpg"])
def test_what_waits_is_copied_when_its_photo_comes(library: Library, at: str | bytes) -> None:
    path = at if isinstance(at, bytes) else b"/a/1.jpg"
    assert library.give(given("u1", at, rating=4)).waiting == 1
    library.commit(photo(path))
    record = library.catalog.record(library.catalog.photo_id_of(path) or 0)
    assert record is not None
    assert record.said.rating == 4
    assert library.user.given_counts(LIGHTROOM).waiting == 0


def test_a_photo_that_is_read_again_keeps_it(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.commit(photo("/a/1.jpg", of="edited", stat=Stat(2000, 2)))
    assert library.rating("/a/1.jpg") == 4


def test_a_photo_that_moves_keeps_it_and_who_comes_to_its_place_has_none(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    moved = library.at("/a/1.jpg").photo_id
    library.commit(Moved(moved, b"/b/1.jpg", Stat(1000, 1)))
    library.commit(photo("/a/1.jpg", of="another"))
    assert library.rating("/b/1.jpg") == 4
    assert library.rating("/a/1.jpg") is None


def test_a_photo_that_was_moved_in_lightroom_is_followed(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.give(given("u1", "/b/1.jpg", rating=5))
    assert library.rating("/a/1.jpg") == 5, "until the next scan it is known where it was"
    library.commit(Moved(library.at("/a/1.jpg").photo_id, b"/b/1.jpg", Stat(1000, 1)))
    assert library.rating("/b/1.jpg") == 5
    library.commit(photo("/a/1.jpg", of="another"))
    assert library.rating("/a/1.jpg") is None


def test_another_photo_at_the_new_path_takes_it_over(library: Library) -> None:
    library.commit(photo("/a/1.jpg"), photo("/b/1.jpg", of="other"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.give(given("u1", "/b/1.jpg", rating=4))
    assert (library.rating("/a/1.jpg"), library.rating("/b/1.jpg")) == (None, 4)


def test_a_photo_that_is_gone_has_it_again_when_it_returns(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.commit(Missing(b"/a/1.jpg", 100.0))
    library.commit(photo("/a/1.jpg"))
    assert library.rating("/a/1.jpg") == 4


@pytest.mark.parametrize("back_at", ["/a/1.jpg", "/b/1.jpg"])
def test_also_when_it_was_forgotten_meanwhile(
    library: Library, back_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.commit(Moved(library.at("/a/1.jpg").photo_id, back_at.encode(), Stat(1000, 1)))
    library.commit(Missing(back_at.encode(), 100.0))
    library.catalog.maintain()
    library.catalog.follow_given()
    assert library.catalog.counts().missing == 0
    assert library.user.given_counts(LIGHTROOM).waiting == 1
    library.commit(photo(back_at, of="new content"))
    assert library.rating(back_at) == 4


# -- virtual copies, several givers ----------------------------------------------------------------


def test_the_master_counts_and_its_copies_are_kept(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(
        given("c2", "/a/1.jpg", master="u1", rating=5, copy_name="Print"),
        given("c1", "/a/1.jpg", master="u1", rating=1, copy_name="BW", keywords=("mono",)),
        given("u1", "/a/1.jpg", rating=3),
    )
    record = library.at("/a/1.jpg")
    assert record.said.rating == 3
    assert record.user is not None
    assert [(copy.copy_name, copy.rating) for copy in record.user.copies] == [("BW", 1), ("Print", 5)]
    library.take_away("c1", "u1")
    record = library.at("/a/1.jpg")
    assert record.said.rating is None
    assert record.user is not None
    assert len(record.user.copies) == 1


def test_of_two_masters_the_newer_word_counts(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    old = given("old", "/a/1.jpg", rating=2, label="Red", keywords=("a",), changed_at=1.0)
    library.give(old, given("new", "/a/1.jpg", rating=4, keywords=("b",), changed_at=2.0))
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.label, said.keywords) == (4, "Red", ("b", "a"))


def test_of_two_catalogs_that_share_a_photo_s_uuid_the_newer_word_counts(library: Library) -> None:
    """One was exported from the other, and both go on."""

    def of(origin: str, changed_at: float, **facts: Any) -> Given:
        return msgspec.structs.replace(given("u1", "/a/1.jpg", changed_at=changed_at, **facts), origin=origin)

    library.commit(photo("/a/1.jpg", facts=Facts("jpeg", 40, 30, title="in the file")))
    library.give(of("main", 5.0, rating=4, title="t"))
    assert library.give(of("exported", 3.0, rating=1))[:2] == (0, 1)
    assert library.rating("/a/1.jpg") == 4
    assert library.give(of("exported", 6.0, rating=2))[:2] == (1, 0)
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.title) == (2, "in the file"), "nobody took the title out"
    assert library.user.take_away(LIGHTROOM, origin="main") == 0


def test_two_sources_do_not_know_of_each_other(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.user.give("other", [given("u1", "/a/1.jpg", caption="words")])
    library.catalog.follow_given()
    assert library.at("/a/1.jpg").said.caption == "words"
    library.take_away()
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.caption) == (None, "words")


# -- taking away -----------------------------------------------------------------------------------


def test_taking_away_restores_what_the_file_says(library: Library) -> None:
    library.commit(photo("/a/1.jpg", facts=Facts("jpeg", 40, 30, rating=2)), photo("/a/2.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4), given("u2", "/a/2.jpg", rating=4))
    assert library.take_away("u1", "nobody") == 1
    assert (library.rating("/a/1.jpg"), library.rating("/a/2.jpg")) == (2, 4)
    assert library.at("/a/1.jpg").user is None
    library.user.put_collections(LIGHTROOM, [Collection("Best", uuids=("u2",))])
    assert library.take_away() == 1
    assert library.rating("/a/2.jpg") is None
    assert library.user.given_counts(LIGHTROOM) == GivenCounts(0, 0, 0, 0)


def test_many_are_taken_away_in_pages(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalogd.catalog.user_data.AWAY_PAGE", 2)
    library.give(*[given(f"u{n}", f"/a/{n}.jpg") for n in range(5)])
    library.user.give("lightroom2", [given("x", "/a/1.jpg")])
    assert library.take_away() == 5
    assert library.user.given_counts("lightroom2").photos == 1


# -- following -------------------------------------------------------------------------------------


def test_pages_are_followed_one_after_the_other(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_following, "PAGE", 3)
    library.give(*[given(f"u{n}", f"/a/{n}.jpg", rating=n % 5) for n in range(5)])
    library.commit(*[photo(f"/a/{n}.jpg") for n in range(10)])
    library.give(*[given(f"u{n}", f"/a/{n}.jpg", rating=n % 5) for n in range(5, 10)])
    assert [library.rating(f"/a/{n}.jpg") for n in range(10)] == [n % 5 for n in range(10)]
    library.catalog.follow(force=True)
    assert library.catalog.check(deep=True) == []


@pytest.mark.parametrize("step", ["set_user_facts", "_drop_news"])
@pytest.mark.parametrize("what", ["given", "moved there", "taken"])
def test_a_crash_between_two_commits_is_made_up_for(
    library: Library, monkeypatch: pytest.MonkeyPatch, step: str, what: str
) -> None:
    """The user data's commit and the store's are two; after either one the work may end."""
    library.commit(photo("/a/1.jpg"), photo("/b/1.jpg", of="b"))
    library.give(given("u1", "/a/1.jpg", rating=1))
    if what == "taken":
        library.user.take_away(LIGHTROOM)
    else:
        at = "/a/1.jpg" if what == "given" else "/b/1.jpg"
        library.user.give(LIGHTROOM, [given("u1", at, rating=4)])
    with monkeypatch.context() as patch:
        patch.setattr(Store if step == "set_user_facts" else given_following, step, _crash)
        with pytest.raises(KeyboardInterrupt):
            library.catalog.follow_given()
    library.catalog.follow_given()
    expected = {"given": (4, None), "moved there": (None, 4), "taken": (None, None)}[what]
    assert (library.rating("/a/1.jpg"), library.rating("/b/1.jpg")) == expected
    assert not library.user.has_given_news()


def _crash(*_: Any) -> None:
    raise KeyboardInterrupt


def test_check_tells_of_records_that_say_something_else_and_repair_mends_them(library: Library) -> None:
    library.commit(photo("/a/1.jpg"), photo("/a/2.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.catalog.follow(force=True)
    assert library.catalog.check(deep=True) == []
    lost, wrong = library.at("/a/1.jpg").photo_id, library.at("/a/2.jpg").photo_id
    library.catalog._store.set_user_facts({lost: None, wrong: UserFacts("x", rating=1)}, "given", None)
    library.catalog._store.set_mark("given", library.catalog.counts().commit)
    library.catalog.follow(force=True)
    found = [found for found in library.catalog.check(deep=True) if found.store == "given"]
    assert sorted(found_in.photo_id for found_in in found) == sorted([lost, wrong])
    library.catalog.repair()
    library.catalog.follow(force=True)
    assert library.catalog.check(deep=True) == []
    assert (library.rating("/a/1.jpg"), library.rating("/a/2.jpg")) == (4, None)


def test_a_repair_that_lost_records_lets_their_rows_wait(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    photo_id = library.at("/a/1.jpg").photo_id
    library.catalog._store.write(lambda reading: reading.put("photos", id_bytes(photo_id), b"\xc1"))
    library.catalog.repair()
    assert library.user.given_counts(LIGHTROOM).waiting == 1
    library.commit(photo("/a/1.jpg"))
    assert library.rating("/a/1.jpg") == 4


def test_a_change_log_that_ends_earlier_is_no_loss(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.catalog.commit([photo("/a/1.jpg")], PROFILE)
    library.catalog._store.write(lambda reading: reading.set_number("trimmed", 1))
    library.catalog.follow_given()
    assert library.rating("/a/1.jpg") == 4


def test_a_catalog_without_user_data_has_nothing_to_follow(tmp_path: Path) -> None:
    with Catalog.open(tmp_path, SETTINGS, write=True) as catalog:
        catalog.commit([photo("/a/1.jpg")], PROFILE)
        catalog.follow(force=True)
        assert not (tmp_path / "user").exists()
        assert catalog.check(deep=True) == []


# -- collections -----------------------------------------------------------------------------------


def album(library: Library, name: str) -> Album:
    found = library.user.album(name)
    assert found is not None, name
    return found


def test_collections_are_albums_of_the_photos_that_are_there(library: Library) -> None:
    library.commit(photo("/a/1.jpg"), photo("/a/2.jpg"))
    library.give(given("u2", "/a/2.jpg"), given("u1", "/a/1.jpg"), given("u3", "/a/3.jpg"))
    collection = Collection("Norway/2023", uuids=("u3", "u2", "u1", "nobody"))
    assert library.user.put_collections(LIGHTROOM, [collection]) == 1
    ids = [library.at(f"/a/{n}.jpg").photo_id for n in (2, 1)]
    assert list(album(library, "norway/2023").photo_ids) == ids
    library.commit(photo("/a/3.jpg"))
    assert list(album(library, "Norway/2023").photo_ids) == [library.at("/a/3.jpg").photo_id, *ids]
    assert [(found.name, found.made_by) for found in library.user.albums()] == [("Norway/2023", LIGHTROOM)]


def test_a_set_holds_the_photos_of_its_collections(library: Library) -> None:
    library.commit(photo("/a/1.jpg"), photo("/a/2.jpg"))
    library.give(given("u2", "/a/2.jpg"), given("u1", "/a/1.jpg"))
    library.user.put_collections(
        LIGHTROOM,
        [
            Collection("Trips", "set"),
            Collection("Trips/Norway", uuids=("u1", "u2")),
            Collection("Trips/Alps", uuids=("u2",)),
            Collection("Trips2", uuids=("u1",)),
        ],
    )
    assert len(album(library, "Trips").photo_ids) == 2


def test_smart_collections_are_smart_albums_where_they_can_be_said(library: Library) -> None:
    library.user.put_collections(
        LIGHTROOM,
        [
            Collection("Five", "smart", uuids=("u1",), query="rating:5"),
            Collection("Odd", "smart"),
            Collection("Found", "smart", uuids=("u1",)),
        ],
    )
    assert album(library, "Five").query == "rating:5"
    assert album(library, "Found").query is None
    assert library.user.album("Odd") is None
    assert [found.name for found in library.user.albums()] == ["Five", "Found"]


def test_complete_collections_replace_those_of_their_origin(library: Library) -> None:
    put = library.user.put_collections
    put(LIGHTROOM, [Collection("A"), Collection("B")], complete=True, origin="one")
    put(LIGHTROOM, [Collection("C")], complete=True, origin="two")
    assert put(LIGHTROOM, [Collection("A")], complete=True, origin="one") == 1
    assert put(LIGHTROOM, [Collection("A")], complete=True, origin="one") == 0
    assert [found.name for found in library.user.albums()] == ["A", "C"]
    assert library.user.given_counts(LIGHTROOM).collections == 2


def test_a_giver_that_knows_no_origin_goes_on_with_the_catalog_s_collections(library: Library) -> None:
    put = library.user.put_collections
    put(
        LIGHTROOM, [Collection("A"), Collection("B"), Collection("S", "smart", query="rating:5")], True, "one"
    )
    put(LIGHTROOM, [Collection("Z")], True, "two")
    put(LIGHTROOM, [Collection("A", uuids=("u1",)), Collection("S", "smart")], complete=True)
    assert [found.name for found in library.user.albums()] == ["A", "S", "Z"]
    assert album(library, "S").query == "rating:5"
    assert put(LIGHTROOM, [], complete=True, origin="one") == 2


def test_an_album_that_was_made_here_goes_before_a_collection_of_its_name(library: Library) -> None:
    library.user.put_collections("another", [Collection("Z")])
    library.user.put_collections(LIGHTROOM, [Collection("Best")])
    library.user.put_album(Album("best", "rating:5", made_by="query"))
    assert album(library, "Best").made_by == "query"
    assert library.user.delete_album("BEST")
    assert album(library, "Best").made_by == LIGHTROOM
    assert library.user.delete_album("Best")
    assert library.user.album("Best") is None
    assert not library.user.delete_album("Best")
    assert [found.name for found in library.user.albums()] == ["Z"]


def test_very_long_names_of_collections_are_told_apart(library: Library) -> None:
    names = ["N" * 600 + "1", "N" * 600 + "2"]
    library.user.put_collections(LIGHTROOM, [Collection(name) for name in names])
    assert album(library, names[1]).name == names[1]


# -- what follows the records ----------------------------------------------------------------------


def found(library: Library, query: str) -> list[str]:
    """The photos of a query, by path."""
    plan = parse(query)
    clauses = [clause for branch in plan.branches for clause in branch.filters]
    ids = library.catalog.select(clauses, album_ids=_album_ids(library)).ids.tolist()
    return sorted(record.name for record in library.catalog.records(ids) if record)


def _album_ids(library: Library) -> Any:
    return Albums(library.user.album, lambda query: np.empty(0, np.int64)).ids


@pytest.fixture
def rated(library: Library) -> Library:
    """1: picked, 5 stars, Norway; 2: rejected, 4 stars; 3: its copy has 4 stars; 4: only its file says 4."""
    library.commit(
        *[photo(f"/a/{n}.jpg", facts=Facts("jpeg", 40, 30, rating=None if n < 4 else 4)) for n in range(1, 5)]
    )
    library.give(
        given(
            "u1",
            "/a/1.jpg",
            rating=5,
            pick=1,
            label="Red",
            title="Harvest",
            caption="in the evening light",
            keywords=("fjord",),
            keyword_paths=("Travel|Norway",),
            synonyms=("Norge",),
            people=("Anna Núñez",),
            latitude=60.39,
            longitude=5.32,
            collections=("Trips/Norway",),
            develop=("cropped",),
        ),
        given("u2", "/a/2.jpg", rating=4, pick=-1),
        given("u3", "/a/3.jpg", rating=2),
        given("c3", "/a/3.jpg", master="u3", rating=4, copy_name="Sepia", keywords=("toned",), title="Old"),
    )
    library.user.put_collections(LIGHTROOM, [Collection("Trips/Norway", uuids=("u1", "u3"))])
    library.catalog.follow(force=True)
    return library


FILTERS = {
    "rating:5": "1",
    "rating:>=4": "134",
    "rating:2": "3",
    "rating:<=3": "23",
    "rating:-1": "2",
    "rating:3": "",
    "is:rated": "134",
    "has:rating": "1234",
    "is:picked": "1",
    "is:flagged": "1",
    "is:rejected": "2",
    "is:virtual": "3",
    "is:developed": "1",
    "has:collection": "1",
    "label:red": "1",
    "title:harvest": "1",
    "caption:evening": "1",
    "caption:sepia": "3",
    "title:old": "",
    "keyword:fjord": "1",
    "keyword:travel/norway": "1",
    "keyword:norge": "1",
    "keyword:toned": "3",
    'person:"anna nunez"': "1",
    "is:named": "1",
    "has:people": "1",
    "has:gps": "1",
    "place:bergen": "1",
    "near:60.39,5.32,1km": "1",
    'album:"trips/norway"': "13",
}


def test_filters_see_what_was_set(rated: Library) -> None:
    photos = {query: [f"/a/{n}.jpg" for n in numbers] for query, numbers in FILTERS.items()}
    assert {query: found(rated, query) for query in FILTERS} == photos


def test_all_that_is_derived_agrees(rated: Library) -> None:
    assert rated.catalog.check(deep=True) == []
    rated.take_away()
    rated.catalog.follow(force=True)
    assert rated.catalog.check(deep=True) == []
    assert found(rated, "rating:>=1") == ["/a/4.jpg"]
    assert found(rated, "keyword:fjord") == []
    assert found(rated, 'person:"anna nunez"') == []


def test_free_words_find_and_reasons_name_what_was_set(rated: Library) -> None:
    assert [hit.photo_id for hit in rated.catalog.search_text("norge")] == [rated.at("/a/1.jpg").photo_id]
    said = {(said.field, said.text) for said in reasons._all_said(rated.at("/a/1.jpg"), lambda _: [])}
    assert {("keywords", "Norge"), ("title", "Harvest"), ("person", "Anna Núñez"), ("label", "Red")} <= said
    of_copy = {(said.field, said.text) for said in reasons._all_said(rated.at("/a/3.jpg"), lambda _: [])}
    assert {("keywords", "toned"), ("caption", "Sepia")} <= of_copy
    assert reasons._VALUES["rating"](rated.at("/a/3.jpg")) == "2, 4 (copy Sepia)"


def test_a_rebuild_of_everything_keeps_it(rated: Library) -> None:
    rated.catalog.rebuild_text()
    rated.catalog.rebuild_columns()
    rated.catalog.rebuild_timeline()
    assert found(rated, "rating:5") == found(rated, "keyword:norge") == ["/a/1.jpg"]


def test_other_models_leave_it(rated: Library) -> None:
    record = rated.at("/a/1.jpg")
    again = msgspec.structs.replace(record, user=None, outputs={"tagger": tagger("dog")})
    rated.catalog.commit([again], OTHER_PROFILE)
    assert rated.rating("/a/1.jpg") == 5
    assert found(rated, "is:picked") == ["/a/1.jpg"]


# -- whose word counts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "user", "said"),
    [
        ({"rating": 3}, {"rating": 0}, 0),
        ({"rating": 3}, {"pick": 1}, 3),
        ({"rating": 3}, {"pick": -1}, -1),
        ({"rating": -1}, {"pick": 1}, None),
        ({"rating": -1}, {"pick": 0}, -1),
        ({"rating": -1}, {"rating": 2}, 2),
        ({}, {"rating": 5, "pick": -1}, -1),
    ],
)
def test_stars_and_flags(facts: dict[str, Any], user: dict[str, Any], said: int | None) -> None:
    record = photo("/a/1.jpg", facts=Facts("jpeg", 4, 3, **facts), user=UserFacts(**user))
    assert record.said.rating == said


BERGEN = Place("NO", "Norway", "Vestland", "Bergen")
OSLO = Place("NO", "Norway", "Oslo", "Oslo")


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (UserFacts(latitude=60.3901, longitude=5.3201), BERGEN),  # it was read out of the file
        (UserFacts(latitude=59.91, longitude=10.75), None),
        (UserFacts(latitude=59.91, longitude=10.75, place=OSLO), OSLO),
        (UserFacts(place=OSLO), OSLO),
        (UserFacts(latitude=59.91), BERGEN),
        (UserFacts(), BERGEN),
    ],
)
def test_a_place_goes_with_its_position(user: UserFacts, said: Place | None) -> None:
    facts = Facts("jpeg", 4, 3, latitude=60.39, longitude=5.32, place=BERGEN)
    assert photo("/a/1.jpg", facts=facts, user=user).said.place == said


def test_positions_meet_at_the_dateline() -> None:
    facts = Facts("jpeg", 4, 3, latitude=0.0, longitude=179.999, place=BERGEN)
    assert photo("/a", facts=facts, user=UserFacts(latitude=0.0, longitude=-179.999)).said.place == BERGEN


def written(user: UserFacts | None, only_missing: bool = False) -> set[str]:
    """The properties of a new sidecar with the stars and the label that a person had catalogd propose."""
    own = fields.Own(rating=5, label="Green")
    record = photo("/a/1.jpg", user=user)
    changes = fields.changes_for(record, None, Policy(), ("rating",), only_missing=only_missing, own=own)
    return set(changes) & {fields.key("xmp:Rating"), fields.key("xmp:Label")}


def test_a_sidecar_is_given_nothing_over_what_was_set() -> None:
    rating, label = fields.key("xmp:Rating"), fields.key("xmp:Label")
    assert written(None) == {rating, label}
    assert written(UserFacts(rating=3)) == written(UserFacts(pick=-1)) == {label}
    assert written(UserFacts(label="Red")) == {rating}
    assert written(UserFacts(rating=3), only_missing=True) == set()


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (UserFacts(), (("a", "b"), ("A|a",))),
        (UserFacts(keywords=("b",)), (("b",), ())),
        (UserFacts(keyword_paths=("B|b",)), ((), ("B|b",))),
    ],
)
def test_a_keyword_that_was_taken_out_does_not_come_back_from_the_file(user: UserFacts, said: Any) -> None:
    facts = Facts("jpeg", 4, 3, keywords=("a", "b"), keyword_paths=("A|a",))
    record = photo("/a/1.jpg", facts=facts, user=user)
    assert (record.said.keywords, record.said.keyword_paths) == said


IN_FILE = Facts(
    *("jpeg", 4, 3),
    rating=4,
    label="Red",
    title="Old",
    caption="old",
    keywords=("a", "b"),
    keyword_paths=("A|a",),
    latitude=60.39,
    longitude=5.32,
    place=BERGEN,
)
ALL_SET: dict[str, Any] = {
    "rating": 4,
    "pick": 1,
    "label": "Red",
    "title": "Old",
    "caption": "old",
    "keywords": ("a",),
    "latitude": 60.39,
    "longitude": 5.32,
}


def test_what_was_taken_out_there_does_not_come_back_from_the_file(library: Library) -> None:
    """The file's word did: stars that were taken off in Lightroom stood in the file, which it had written."""
    library.commit(photo("/a/1.jpg", facts=IN_FILE))
    library.give(given("u1", "/a/1.jpg", **ALL_SET))
    for pick in (0, None):
        library.give(given("u1", "/a/1.jpg", pick=pick))
        said = library.at("/a/1.jpg").said
        assert (said.rating, said.label, said.title, said.caption, said.keywords) == (
            None,
            None,
            None,
            None,
            (),
        )
        assert (said.keyword_paths, said.latitude, said.longitude, said.place) == ((), None, None, None)
    library.give(given("u1", "/a/1.jpg", rating=3, caption="new"))
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.caption, said.title) == (3, "new", None)
    library.catalog.follow(force=True)
    assert found(library, "keyword:a") == found(library, "title:old") == found(library, "has:gps") == []
    assert found(library, "caption:new") == found(library, "rating:3") == ["/a/1.jpg"]
    assert library.catalog.check(deep=True) == []
    library.take_away("u1")
    assert library.at("/a/1.jpg").said == IN_FILE


def test_what_was_never_set_there_is_not_taken_out(library: Library) -> None:
    library.commit(photo("/a/1.jpg", facts=IN_FILE))
    library.give(given("u1", "/a/1.jpg", pick=0))
    library.give(given("u1", "/a/1.jpg", people=("Bo",)))
    assert library.at("/a/1.jpg").said == msgspec.structs.replace(IN_FILE, people=("Bo",))


def test_a_giver_takes_nothing_out_of_what_it_cannot_know(library: Library) -> None:
    library.commit(photo("/a/1.jpg", facts=IN_FILE))
    library.give(given("u1", "/a/1.jpg", rating=2, caption="c"))
    library.give(msgspec.structs.replace(given("u1", "/a/1.jpg"), unsaid=("rating",)))
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.caption) == (2, None)
    library.give(msgspec.structs.replace(given("u1", "/a/1.jpg"), unsaid=("caption",)))
    said = library.at("/a/1.jpg").said
    assert (said.rating, said.caption) == (None, None), "it stays taken out"


def test_a_rejected_photo_may_be_taken_back(library: Library) -> None:
    library.commit(photo("/a/1.jpg", facts=Facts("jpeg", 4, 3, rating=-1)))
    ratings = []
    for pick in (0, -1, 0, 1, -1):
        library.give(given("u1", "/a/1.jpg", pick=pick))
        ratings.append(library.rating("/a/1.jpg"))
    assert ratings == [-1, -1, None, None, -1]


def test_what_one_of_two_masters_took_out_the_other_does_not_bring_back(library: Library) -> None:
    library.commit(photo("/a/1.jpg", facts=IN_FILE))
    library.give(given("new", "/a/1.jpg", caption="n", title="n", changed_at=2.0))
    library.give(
        given("new", "/a/1.jpg", title="n", changed_at=3.0),
        given("old", "/a/1.jpg", caption="o", rating=1, changed_at=1.0),
    )
    said = library.at("/a/1.jpg").said
    assert (said.caption, said.title, said.rating) == (None, "n", 1)
    library.give(given("old", "/a/1.jpg", caption="o", changed_at=4.0))
    said = library.at("/a/1.jpg").said
    assert (said.caption, said.title, said.rating) == ("o", "n", None)


def test_a_position_on_the_equator_is_one(library: Library) -> None:
    library.commit(photo("/a/1.jpg", facts=IN_FILE))
    library.give(given("u1", "/a/1.jpg", latitude=1.0, longitude=5.0))
    library.give(given("u1", "/a/1.jpg", latitude=0.0, longitude=5.0))
    user = library.at("/a/1.jpg").user
    assert user is not None
    assert (user.emptied, library.at("/a/1.jpg").said.latitude) == ((), 0.0)


def test_people_are_those_of_both() -> None:
    record = photo("/a", facts=Facts("jpeg", 4, 3, people=("Ida",)), user=UserFacts(people=("Bo", "Ida")))
    assert record.said.people == ("Ida", "Bo")


# -- any order of events ---------------------------------------------------------------------------

PATHS = (b"/a/1.jpg", b"/a/1.JPG", b"/a/2.jpg", b"/b/1.jpg")
UUIDS = ("u1", "u2", "c1")


class Events(RuleBasedStateMachine):
    """Photos come, move and go while words are given and taken back, and the records follow now and then."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        root = Path(self.folder.name)
        self.store, self.user = Store(root, write=True), UserData(root)
        self.follower = given_following.GivenFollower(self.store, root)

    @rule(path=st.sampled_from(PATHS), content=st.sampled_from("xy"), follow=st.booleans())
    def add(self, path: bytes, content: str, follow: bool) -> None:
        self.store.commit([photo(path, of=content + path.decode(), outputs={})], PROFILE)
        self.then(follow)

    @rule(path=st.sampled_from(PATHS), to=st.sampled_from(PATHS), follow=st.booleans())
    def move(self, path: bytes, to: bytes, follow: bool) -> None:
        photo_id = self.store.photo_id_of(path)
        if photo_id and path != to:
            self.store.commit([Moved(photo_id, to, Stat(1000, 1))], PROFILE)
        self.then(follow)

    @rule(path=st.sampled_from(PATHS), is_forgotten=st.booleans(), follow=st.booleans())
    def lose(self, path: bytes, is_forgotten: bool, follow: bool) -> None:
        self.store.commit([Missing(path, 5.0)], PROFILE)
        if is_forgotten:
            self.store.purge_missing(10.0)
        self.then(follow)

    @rule(
        uuid=st.sampled_from(UUIDS),
        path=st.sampled_from(PATHS),
        rating=st.integers(1, 5),
        follow=st.booleans(),
    )
    def give(self, uuid: str, path: bytes, rating: int, follow: bool) -> None:
        master = "u1" if uuid == "c1" else None
        self.user.give(LIGHTROOM, [given(uuid, path, master=master, rating=rating, changed_at=rating)])
        self.then(follow)

    @rule(uuid=st.sampled_from(UUIDS), follow=st.booleans())
    def take_away(self, uuid: str, follow: bool) -> None:
        self.user.take_away(LIGHTROOM, [uuid])
        self.then(follow)

    def then(self, follow: bool) -> None:
        if not follow:
            return
        self.follower.follow()
        assert not self.user.has_given_news()
        records = self.store.records_after(0, 100)
        with self.store.snapshot() as reading:
            assert self.user.read_given(lambda tables: given_following.differing_users(reading, tables)) == []
        there = {record.path for record in records if not record.missing_since}
        for path, head in self.rows():
            assert head.photo_id in {0, *[record.photo_id for record in records]}
            assert head.photo_id or path not in there, "what is there does not wait"

    def rows(self) -> list[tuple[bytes, Any]]:
        """The path and the head of each row."""
        heads = self.user.given_heads(LIGHTROOM)
        keys = [(given_key(LIGHTROOM, uuid), head) for uuid, head in heads]
        return self.user.read_given(
            lambda tables: [(decode_row(tables.get("given", key) or b"").path, head) for key, head in keys]
        )

    def teardown(self) -> None:
        """Looking at everything again changes nothing."""
        self.then(True)
        before = self.store.records_after(0, 100), self.rows()
        self.follower.rebuild()
        assert (self.store.records_after(0, 100), self.rows()) == before
        self.follower.close()
        self.user.close()
        self.store.close()
        self.folder.cleanup()


class TestEvents(Events.TestCase):
    settings = hypothesis_settings(max_examples=150, stateful_step_count=12, deadline=None)


def test_a_rebuild_finds_lost_rows_again(library: Library) -> None:
    library.commit(photo("/a/1.jpg"))
    library.give(given("u1", "/a/1.jpg", rating=4))
    library.user.write_given(lambda tables: tables.clear("given_of"))
    library.catalog._given_writer().rebuild()
    assert library.rating("/a/1.jpg") == 4


def test_the_keeper_of_duplicates_is_the_one_that_was_rated_in_lightroom(rated: Library) -> None:
    photos = [Photo.of(rated.at(f"/a/{n}.jpg")) for n in (3, 2, 1)]
    best, *_, worst = by_worth(photos)
    assert (best.path, worst.path) == (b"/a/1.jpg", b"/a/2.jpg")
    assert "rated 5" in keeping_reasons(best, [photos[0]])
