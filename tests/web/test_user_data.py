"""What is given over HTTP is user data: taken, waiting or refused, and taken back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from catalogd.catalog.given import Given
from catalogd.catalog.user_data import UserData
from catalogd.errors import CatalogMissingError
from catalogd.records import Place, Record, UserFacts
from catalogd.run_state import Lock
from catalogd.settings import Settings
from catalogd.sync.following import follow_user_data
from catalogd.web import records_following
from catalogd.web.records_following import RecordsFollow
from catalogd.web.routes.user_data import MOST_PHOTOS
from tests.web.library import API, BEACH, DOG, Library

PHOTOS, COLLECTIONS = "/user-data/lightroom/photos", "/user-data/lightroom/collections"


def put(library: Library, path: str, status: int = 200, **body: Any) -> Any:
    answer = library.client.put(API + path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def delete(library: Library, *uuids: str) -> Any:
    return library.client.request("DELETE", API + PHOTOS, json={"uuids": uuids}).json()


def record_at(library: Library, path: str) -> Record:
    return library.backend.record(library.id_of(path))


def test_photos_are_taken_found_and_taken_back(own_library: Library) -> None:
    library = own_library
    dog = {
        "uuid": "D",
        "path": DOG,
        "rating": 1,
        "pick": 1,
        "title": "Our dog",
        "keywords": ["pet"],
        "keyword_paths": ["Animals|Dog"],
        "people": ["Ida"],
        "latitude": 60.39,
        "longitude": 5.32,
        "city": "Bergen",
        "country": "Norway",
        "collections": ["Best"],
    }
    copy = {"uuid": "D2", "path": DOG, "master_uuid": "D", "copy_name": "Sepia", "rating": 2}
    later = {"uuid": "L", "path": "/lib/later.jpg"}
    taken = put(library, PHOTOS, photos=[dog, copy, later])
    assert taken == {"taken": 3, "unchanged": 0, "waiting": 1, "refused": []}
    assert put(library, PHOTOS, photos=[dog])["unchanged"] == 1
    assert follow_user_data(library.settings)
    said = record_at(library, DOG).said
    assert (said.rating, said.title, said.place) == (1, "Our dog", Place("", "Norway", city="Bergen"))
    assert [hit["path"] for hit in library.get("/search", params={"q": "is:picked"})["hits"]] == [DOG]
    assert library.get("/user-data/lightroom") == {
        "source": "lightroom",
        "photos": 3,
        "copies": 1,
        "waiting": 1,
        "collections": 0,
    }
    assert delete(library, "D", "nobody") == {"taken_away": 1}
    follow_user_data(library.settings)
    assert record_at(library, DOG).said.rating == record_at(library, DOG).facts.rating == 5


def test_collections_are_albums(own_library: Library) -> None:
    library = own_library
    put(library, PHOTOS, photos=[{"uuid": "D", "path": DOG}, {"uuid": "B", "path": BEACH}])
    follow_user_data(library.settings)
    collections = [
        {"name": "Sets", "kind": "set"},
        {"name": "Sets/Two", "uuids": ["B", "D"]},
        {"name": "Good", "kind": "smart", "rules": "rating:>=3"},
    ]
    assert put(library, COLLECTIONS, collections=collections) == {"changed": 3}
    albums = {album["name"]: album for album in library.get("/albums")["albums"]}
    assert albums["Sets/Two"]["photos"] == 2
    assert albums["Good"]["query"] == "rating:>=3"
    assert put(library, COLLECTIONS, collections=collections[:2], complete=True) == {"changed": 1}
    assert "Good" not in {album["name"] for album in library.get("/albums")["albums"]}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"rating": 6}, 422),
        ({"pick": 2}, 422),
        ({"latitude": 91, "longitude": 0}, 422),
        ({"uuid": ""}, 422),
        ({"keywords": "one"}, 422),
        ({"nonsense": 1}, 422),
    ],
)
def test_what_is_not_of_the_form_is_refused(library: Library, change: Any, status: int) -> None:
    answer = put(library, PHOTOS, status, photos=[{"uuid": "x", "path": "/a.jpg", **change}])
    assert answer["error"]["kind"] == "validation"


def test_more_photos_than_one_request_may_hold_are_refused(library: Library) -> None:
    photos = [{"uuid": str(n), "path": "/a.jpg"} for n in range(MOST_PHOTOS + 1)]
    put(library, PHOTOS, 422, photos=photos)


def test_one_bad_photo_leaves_the_others(library: Library) -> None:
    photos = [{"uuid": "bad", "path": "C:\\a.jpg"}, {"uuid": "good", "path": "/never/there.jpg"}]
    taken = put(library, PHOTOS, photos=photos)
    assert (taken["taken"], [one["uuid"] for one in taken["refused"]]) == (1, ["bad"])
    assert "map it" in taken["refused"][0]["reason"]


def test_text_that_is_none_is_refused(library: Library) -> None:
    body = b'{"photos": [{"uuid": "bad", "path": "/a\\ud800.jpg"}, {"uuid": "ok2", "path": "/b.jpg"}]}'
    answer = library.client.put(API + PHOTOS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 422)
    assert answer.status_code == 422 or [one["uuid"] for one in answer.json()["refused"]] == ["bad"]


@pytest.mark.parametrize("rules", ["rating:many", "nonsense:("])
def test_rules_that_are_no_query_are_refused(library: Library, rules: str) -> None:
    answer = put(library, COLLECTIONS, 400, collections=[{"name": "A", "kind": "smart", "rules": rules}])
    assert answer["error"]["kind"] == "query"


def test_rules_are_for_smart_collections(library: Library) -> None:
    put(library, COLLECTIONS, 400, collections=[{"name": "A", "rules": "rating:5"}])


@pytest.mark.parametrize("source", ["a%00b", "s" * 41, "a%2Fb"])
def test_a_source_is_a_short_plain_name(library: Library, source: str) -> None:
    assert library.client.get(f"{API}/user-data/{source}").status_code in (404, 422)


def test_a_source_that_gave_nothing_has_none(library: Library) -> None:
    assert library.get("/user-data/another")["photos"] == 0


# -- following -------------------------------------------------------------------------------------


def test_records_follow_soon_without_a_run(own_library: Library) -> None:
    library = own_library
    put(library, PHOTOS, photos=[{"uuid": "D", "path": DOG, "rating": 1}])
    until = time.monotonic() + 30
    while record_at(library, DOG).said.rating != 1:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_whoever_holds_the_catalog_sees_to_it(own_library: Library) -> None:
    put(own_library, PHOTOS, photos=[{"uuid": "D", "path": DOG, "rating": 1}])
    lock = Lock(own_library.settings.catalog)
    try:
        assert not follow_user_data(own_library.settings)
        assert record_at(own_library, DOG).said.rating != 1
    finally:
        lock.release()


def test_records_follow_once_another_command_lets_go_of_the_catalog(own_library: Library) -> None:
    follows = RecordsFollow(own_library.settings, quiet_s=0.01, held_s=0.01)
    lock = Lock(own_library.settings.catalog)
    try:
        with UserData(own_library.settings.catalog) as user:
            user.give("lightroom", [Given("D", DOG.encode(), UserFacts(rating=1))])
        assert not follows._once()
    finally:
        lock.release()
    follows.soon()
    until = time.monotonic() + 30
    while record_at(own_library, DOG).said.rating != 1:
        assert time.monotonic() < until
        time.sleep(0.1)
    follows.close()


def test_nothing_is_started_beside_a_run_or_after_closing(
    own_library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_following, "is_running", lambda catalog: True)
    monkeypatch.setattr(records_following, "_context", None)
    follows = RecordsFollow(own_library.settings, quiet_s=0.01)
    follows.soon()
    time.sleep(0.1)
    follows.close()
    follows.soon()
    follows.close()
    assert follows._thread is None


def test_there_must_be_a_catalog(tmp_path: Path) -> None:
    with pytest.raises(CatalogMissingError):
        follow_user_data(Settings(catalog=tmp_path / "none"))
    assert not (tmp_path / "none").exists()
