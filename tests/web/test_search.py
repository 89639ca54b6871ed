"""Searches over HTTP: what they find, what they refuse, and that no file is read that a query names."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalogd.json_forms import results_json
from catalogd.records import Album, Output
from catalogd.web import schemas
from tests.factory import scene, write_plain_jpeg
from tests.query.library import SPACE, halves, meaning, picture
from tests.web.library import API, BEACH, DOG, Library


def paths(answer: dict[str, Any]) -> list[str]:
    return [hit["path"] for hit in answer["hits"]]


def test_a_search_answers_what_the_searcher_finds(library: Library) -> None:
    answer = library.get("/search", params={"q": "dog", "explain": True})
    expected = results_json(library.searcher.search("dog", explain=True))
    assert answer["hits"] == expected["hits"]
    assert paths(answer)[0] == DOG
    assert answer["explanation"]["read_as"] == list(expected["explanation"]["read_as"])
    schemas.SearchAnswer.model_validate(answer, strict=True)


def test_without_a_query_the_newest_photos_are_found(library: Library) -> None:
    answer = library.get("/search", params={"limit": 2})
    assert paths(answer) == ["/lib/2024/night.jpg", BEACH]
    assert answer["total"] == library.get("/count")["count"]


def test_a_query_that_cannot_be_read_is_refused_with_its_place(library: Library) -> None:
    answer = library.get("/search", 400, params={"q": "dog camera:"})
    assert answer["error"]["kind"] == "query"
    assert answer["error"]["position"] == 4
    assert "camera" in answer["error"]["message"]


@pytest.mark.parametrize(
    "asked", [{"limit": 0}, {"limit": 10_001}, {"min_score": 2}, {"q": "x" * (schemas.MOST_CHARACTERS + 1)}]
)
def test_values_out_of_bounds_are_refused_by_name(library: Library, asked: dict[str, Any]) -> None:
    answer = library.get("/search", 422, params=asked)
    assert answer["error"]["kind"] == "validation"
    assert next(iter(asked)) in answer["error"]["message"]


def test_a_long_query_may_come_in_the_body_and_ask_for_the_photos(library: Library) -> None:
    answer = library.post("/search", {"q": "dog", "limit": 1, "fields": ["photo"]})
    assert answer["hits"][0]["photo"]["camera"] == "Nikon Z 6"
    assert answer["hits"][0]["photo"]["rating"] == 5
    schemas.SearchAnswer.model_validate(answer, strict=True)


def test_a_body_with_a_key_that_is_not_known_is_refused(library: Library) -> None:
    assert "qq" in library.post("/search", {"qq": "dog"}, 422)["error"]["message"]


def test_count_says_whether_there_may_be_more(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library.get("/count", params={"q": "camera:nikon"}) == {"count": 7, "capped": False}
    monkeypatch.setattr("catalogd.query.execution.MOST_CANDIDATES", 2)
    assert library.get("/count", params={"q": "dog"})["capped"] is True


def test_facets_divide_the_photos_of_a_query(library: Library) -> None:
    answer = library.get("/facets", params={"q": "rating:5", "names": "camera, year"})
    assert answer["facets"]["year"] == [{"value": "2023", "photos": 1}, {"value": "2020", "photos": 2}]
    assert answer["photos"] == 3
    schemas.FacetsAnswer.model_validate(answer, strict=True)
    assert "no facet 'colour'" in library.get("/facets", 400, params={"names": "colour"})["error"]["message"]


def test_explain_tells_how_a_query_is_read(library: Library) -> None:
    answer = library.get("/explain", params={"q": "dog camera:nikon"})
    assert answer["read_as"] == ["words: dog · camera: nikon"]
    assert answer["steps"][0] | {"took_ms": 0} == {"name": "camera:nikon", "photos": 7, "took_ms": 0}


# ── like others ───────────────────────────────────────────────────────────────────────────────


def test_photos_like_others_are_found_by_id_and_by_path(library: Library) -> None:
    by_id = library.post("/similar", {"photo_ids": [library.id_of(BEACH)], "limit": 1, "min_score": 0})
    by_path = library.post("/similar", {"paths": [BEACH], "limit": 1, "min_score": 0})
    assert paths(by_id) == paths(by_path) == ["/lib/2024/night.jpg"]
    assert by_id["hits"][0]["signals"][0]["matched"] == ["like: beach.jpg"]


def test_a_query_narrows_what_is_like_a_photo(library: Library) -> None:
    asked = {"photo_ids": [library.id_of(BEACH)], "q": "date:2023", "min_score": 0}
    assert set(paths(library.post("/similar", asked))) <= {DOG, "/lib/2023/Norway/dog_2.jpg"}


def test_what_others_shall_be_like_must_be_named_and_known(library: Library) -> None:
    assert library.post("/similar", {"not_photo_ids": [library.id_of(DOG)]}, 400)["error"]["kind"] == "usage"
    assert library.post("/similar", {"photo_ids": [7]}, 404)["error"]["message"] == "there is no photo 7"
    assert library.post("/similar", {"paths": ["/etc/passwd"]}, 404)["error"]["kind"] == "not_found"


def test_an_upload_is_looked_at_and_forgotten(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []

    def look(path: bytes, space: str) -> tuple[Output, ...]:
        looked.append(path)
        assert Path(os.fsdecode(path)).read_bytes() == b"a picture"
        assert os.stat(path).st_mode & 0o777 == 0o600
        return (Output(SPACE, embedding=picture(3), joint_embedding=halves(meaning("beach"))),)

    monkeypatch.setattr(library.searcher, "_pictures", look)
    answer = library.client.post(f"{API}/similar/upload?limit=1", content=b"a picture")
    assert answer.status_code == 200, answer.text
    assert paths(answer.json()) == [BEACH]
    assert answer.json()["hits"][0]["signals"][0]["matched"] == ["like: the picture"]
    assert not os.path.exists(looked[0])


def test_a_large_upload_arrives_whole(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RAW file has tens of megabytes; chunks are written as they come."""
    sizes: list[int] = []

    def look(path: bytes, space: str) -> tuple[Output, ...]:
        sizes.append(os.path.getsize(path))
        return (Output(SPACE, embedding=picture(3)),)

    monkeypatch.setattr(library.searcher, "_pictures", look)
    chunks = (bytes(1 << 20) for _ in range(24))
    assert library.client.post(f"{API}/similar/upload", content=chunks).status_code == 200
    assert sizes == [24 << 20]


def test_an_upload_that_is_no_picture_is_refused_without_naming_a_file(library: Library) -> None:
    answer = library.client.post(f"{API}/similar/upload", content=b"not a picture")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("the picture: ")
    assert "/" not in answer.json()["error"]["message"]


def test_an_upload_that_is_empty_or_too_large_is_refused(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = library.client.post(f"{API}/similar/upload", content=b"")
    assert "send the bytes" in empty.json()["error"]["message"]
    monkeypatch.setattr(library.backend, "settings", replace(library.settings, http_upload_bytes=100))
    large = library.client.post(f"{API}/similar/upload", content=b"x" * 101)
    assert large.status_code == 413
    assert large.json()["error"]["kind"] == "too_large"
    assert "http_upload_bytes" in large.json()["error"]["message"]


def test_a_space_that_no_photo_is_in_finds_nothing(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that has not seen the library yet: used to be an error about the length of a vector."""
    unseen = Output("another model", embedding=halves([1.0, 2.0, 3.0]))
    monkeypatch.setattr(library.searcher, "_pictures", lambda path, space: (unseen,))
    answer = library.client.post(f"{API}/similar/upload", content=b"a picture")
    assert answer.status_code == 200
    assert answer.json()["hits"] == []


# ── no file is read ───────────────────────────────────────────────────────────────────────────


def never(path: bytes, space: str) -> tuple[Output, ...]:
    raise AssertionError(f"{path!r} was read")


@pytest.mark.parametrize("route", ["/search", "/count", "/facets", "/explain", "/photos"])
def test_a_query_reads_no_file_that_it_names(
    library: Library, route: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_plain_jpeg(tmp_path / "secret.jpg", scene(64, 64))
    monkeypatch.setattr(library.searcher, "_pictures", never)
    there = library.get(route, 400, params={"q": f'similar:"{tmp_path}/secret.jpg"'})
    absent = library.get(route, 400, params={"q": f'similar:"{tmp_path}/absent.jpg"'})
    assert there["error"]["kind"] == "query"
    assert there["error"]["message"].replace("secret", "absent") == absent["error"]["message"]


def test_a_smart_album_is_no_way_to_read_a_file(
    own_library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_plain_jpeg(tmp_path / "secret.jpg", scene(64, 64))
    monkeypatch.setattr(own_library.searcher, "_pictures", never)
    own_library.backend.user.put_album(Album("Trap", f'similar:"{tmp_path}/secret.jpg"'))
    assert own_library.get("/search", 400, params={"q": "album:Trap"})["error"]["kind"] == "query"
    assert own_library.get("/albums/Trap/photos", 400)["error"]["kind"] == "query"


def test_commands_still_take_files_as_examples(
    library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is forbidden to clients of the API is what `catalogd similar FILE` is for."""
    write_plain_jpeg(tmp_path / "shown.jpg", scene(64, 64))
    seen = Output(SPACE, embedding=picture(3), joint_embedding=halves(meaning("beach")))
    monkeypatch.setattr(library.searcher, "_pictures", lambda path, space: (seen,))
    hits = library.searcher.search(f'similar:"{tmp_path}/shown.jpg"', min_score=0).hits
    assert hits[0].path == BEACH.encode()
