"""Albums over HTTP: made of a query or of photos, looked at in pages, forgotten."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from catalogd.records import Album
from catalogd.web import schemas
from tests.web.library import ALBUM, API, BEACH, DOG, GONE, Library


def put(library: Library, name: str, body: dict[str, Any], status: int = 200) -> Any:
    answer = library.client.put(f"{API}/albums/{quote(name, safe='')}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]


def paths(library: Library, name: str, **asked: Any) -> list[str]:
    answer = library.get(f"/albums/{quote(name, safe='')}/photos", params=asked)
    schemas.PhotosPage.model_validate(answer, strict=True)
    return [row["path"] for row in answer["photos"]]


def test_an_album_of_photos_keeps_their_order_and_each_once(own_library: Library) -> None:
    ids = [own_library.id_of(path) for path in (BEACH, DOG, BEACH)]
    made = put(own_library, ALBUM, {"photo_ids": ids})
    schemas.AlbumFacts.model_validate(made, strict=True)
    assert (made["name"], made["photos"], made["query"], made["made_by"]) == (ALBUM, 2, None, "api")
    assert paths(own_library, ALBUM) == [BEACH, DOG]
    assert paths(own_library, ALBUM.upper()) == [BEACH, DOG]


def test_a_smart_album_holds_what_its_query_finds_now(own_library: Library) -> None:
    made = put(own_library, "Bergen", {"query": "place:Bergen"})
    assert (made["query"], made["photos"]) == ("place:Bergen", None)
    assert paths(own_library, "Bergen") == [DOG]
    assert own_library.get("/albums")["albums"] == [made]
    assert own_library.get("/count", params={"q": "album:Bergen"})["count"] == 1


def test_the_photos_of_an_album_come_in_pages_without_those_that_are_gone(own_library: Library) -> None:
    gone = own_library.post("/photos/lookup", {"paths": [GONE]})["photos"][0]["photo_id"]
    ids = [own_library.id_of(BEACH), gone, 12345, own_library.id_of(DOG)]
    put(own_library, "A", {"photo_ids": ids})
    first = own_library.get("/albums/A/photos", params={"limit": 1})
    second = own_library.get("/albums/A/photos", params={"limit": 1, "cursor": first["next"]})
    assert [row["path"] for row in first["photos"] + second["photos"]] == [BEACH, DOG]
    assert second["next"] is None


def test_an_album_is_forgotten_and_its_photos_stay(own_library: Library) -> None:
    put(own_library, ALBUM, {"photo_ids": [own_library.id_of(DOG)]})
    answer = own_library.client.delete(f"{API}/albums/{quote(ALBUM, safe='')}")
    assert answer.json() == {"forgotten": ALBUM}
    assert own_library.get("/albums")["albums"] == []
    assert own_library.get(f"/photos/{own_library.id_of(DOG)}")["path"] == DOG
    assert own_library.client.delete(f"{API}/albums/{quote(ALBUM, safe='')}").status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "either a query or photo_ids"),
        ({"query": "dog", "photo_ids": [1]}, "either a query or photo_ids"),
        ({"query": " "}, "give a query"),
        ({"query": "album:Self"}, "would hold itself"),
        ({"query": "camera:"}, "camera"),
    ],
)
def test_an_album_of_nothing_or_of_itself_is_refused(
    library: Library, body: dict[str, Any], words: str
) -> None:
    assert words in put(library, "Self", body, 400)["message"]


@pytest.mark.parametrize("name", [" ", "\n", "a\0b", "ß" * 200])
def test_a_name_that_cannot_be_kept_is_refused(library: Library, name: str) -> None:
    assert put(library, name, {"photo_ids": []}, 400)["kind"] == "usage"


def test_the_longest_name_of_letters_that_grow_when_they_are_folded_is_kept(own_library: Library) -> None:
    name = "ΐ" * 150
    assert put(own_library, name, {"photo_ids": []})["name"] == name
    assert paths(own_library, name) == []


def test_an_album_of_another_program_is_not_replaced(own_library: Library) -> None:
    own_library.backend.user.put_album(Album("Norway", photo_ids=(1,), made_by="lightroom"))
    error = put(own_library, "norway", {"photo_ids": []}, 409)
    assert error["kind"] == "conflict"
    assert "lightroom" in error["message"]


def test_an_album_that_is_not_there_is_not_found(library: Library) -> None:
    assert library.get("/albums/none/photos", 404)["error"]["kind"] == "not_found"
