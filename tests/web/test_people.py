"""People over HTTP: lists, one, their photos, and what is said of them and taken back."""

from __future__ import annotations

from typing import Any

import pytest

from catalogd.web import schemas
from tests.web.library import Library

TOGETHER, ALONE = "/lib/family/0.jpg", "/lib/family/alone.jpg"


def listed(library: Library, **asked: Any) -> list[dict[str, Any]]:
    answer = library.get("/people", params=asked)
    schemas.PeoplePage.model_validate(answer, strict=True)
    return list(answer["people"])


def act(library: Library, action: str, who: int | str, status: int = 200, **said: Any) -> Any:
    answer = library.post("/people/actions", {"action": action, "who": who, **said}, status)
    if status == 200:
        schemas.EntryAnswer.model_validate(answer, strict=True)
        return answer["entry"]
    return answer["error"]


def test_people_are_listed_by_how_often_they_are_seen(library: Library) -> None:
    anna, ben, named = listed(library)
    assert (anna["faces"], anna["photos"], ben["faces"]) == (5, 5, 4)
    assert named["name"] == "Anna Núñez"  # in a photo's file, beside no face
    assert (anna["cover"]["face"], named["cover"]) == (1, None)
    assert library.backend.record(anna["cover"]["photo_id"]).name == anna["cover"]["path"]


def test_pages_hold_everybody_once(library: Library) -> None:
    everybody = listed(library, all=True)
    assert [one["faces"] for one in everybody] == [5, 4, 0]
    first = library.get("/people", params={"all": True, "limit": 2})
    second = library.get("/people", params={"all": True, "limit": 2, "cursor": first["next"]})
    assert first["people"] + second["people"] == everybody
    assert second["next"] is None


def test_one_person_comes_with_the_best_faces_and_what_was_said(own_library: Library) -> None:
    number = listed(own_library)[1]["number"]
    act(own_library, "name", number, name="Ben")
    answer = own_library.get(f"/people/{number}", params={"limit": 2})
    schemas.PersonInFull.model_validate(answer, strict=True)
    assert answer["name"] == "Ben"
    assert [face["face"] for face in answer["shown"]] == [2, 2]
    assert [entry["text"] for entry in answer["journal"]] == [f"person {number} is called Ben"]


def test_the_photos_of_somebody_come_in_pages(library: Library) -> None:
    number = listed(library)[0]["number"]
    first = library.get(f"/people/{number}/photos", params={"limit": 3})
    second = library.get(f"/people/{number}/photos", params={"limit": 3, "cursor": first["next"]})
    schemas.PhotosPage.model_validate(first, strict=True)
    paths = {row["path"] for row in first["photos"] + second["photos"]}
    assert paths == {f"/lib/family/{n}.jpg" for n in range(4)} | {ALONE}


def test_a_number_that_nobody_has_is_not_found(library: Library) -> None:
    assert library.get("/people/77", 404)["error"]["kind"] == "not_found"
    assert library.get("/people/77/photos", 404)["error"]["kind"] == "not_found"
    assert act(library, "hide", 77, 404)["kind"] == "not_found"
    assert "nobody is called Zoe" in act(library, "hide", "Zoe", 404)["message"]


def test_names_are_given_taken_back_and_given_again(own_library: Library) -> None:
    anna, ben, *_ = [one["number"] for one in listed(own_library)]
    assert act(own_library, "name", anna, name="Anna")["kind"] == "name"
    assert act(own_library, "name", anna, name="Anna") is None
    assert act(own_library, "name", ben, 409, name="Anna")["kind"] == "conflict"
    assert act(own_library, "alias", "Anna", name="Annie")["text"] == "Anna is also called Annie"
    undone = own_library.post("/people/undo", {"count": 2})["entries"]
    assert [entry["kind"] for entry in undone] == ["alias", "name"]
    assert "Anna" not in [one["name"] for one in listed(own_library)]
    redone = own_library.post("/people/redo", {"count": 2})
    schemas.EntriesAnswer.model_validate(redone, strict=True)
    assert "Anna" in [one["name"] for one in listed(own_library)]
    assert own_library.post("/people/redo", {})["entries"] == []


def test_two_are_one_person_by_merge_or_by_the_same_name(own_library: Library) -> None:
    anna, ben, *_ = [one["number"] for one in listed(own_library)]
    act(own_library, "name", anna, name="Anna")
    assert act(own_library, "name", ben, name="Anna", merge=True)["kind"] == "merge"
    assert listed(own_library)[0]["faces"] == 9
    own_library.post("/people/undo", {})
    assert act(own_library, "merge", "Anna", others=[ben])["kind"] == "merge"
    assert act(own_library, "merge", "Anna", 400)["message"] == "merge: `others` says who is the same person"


def test_faces_are_said_to_be_somebody_else(own_library: Library) -> None:
    anna, *_ = [one["number"] for one in listed(own_library)]
    act(own_library, "name", anna, name="Anna")
    face = {"photo_id": own_library.id_of(ALONE), "face": 1}
    assert act(own_library, "split", "Anna", faces=[face], name="Eva")["faces"] == 1
    assert act(own_library, "not", "Anna", faces=[{**face, "photo_id": own_library.id_of(TOGETHER)}])
    assert act(own_library, "is", "Anna", faces=[face])["text"] == "1 face is Anna"
    assert own_library.get(f"/photos/{face['photo_id']}")["faces"][0]["name"] == "Anna"


@pytest.mark.parametrize("action", ["split", "not", "is"])
def test_which_faces_must_be_said(library: Library, action: str) -> None:
    number = listed(library)[0]["number"]
    assert "`faces`" in act(library, action, number, 400)["message"]
    absent = [{"photo_id": library.id_of(ALONE), "face": 9}]
    assert act(library, action, number, 404, faces=absent)["message"].startswith("there is no face 9")


def test_people_are_hidden_ignored_and_forgotten(own_library: Library) -> None:
    anna, ben, *_ = [one["number"] for one in listed(own_library)]
    act(own_library, "hide", anna)
    act(own_library, "ignore", ben)
    assert [one["number"] for one in listed(own_library)][:1] != [anna]
    flags = {one["number"]: (one["hidden"], one["ignored"]) for one in listed(own_library, all=True)}
    assert (flags[anna], flags[ben]) == ((True, False), (False, True))
    act(own_library, "unhide", anna)
    act(own_library, "unignore", ben)
    act(own_library, "name", anna, name="Anna")
    assert act(own_library, "forget", "Anna")["text"] == "the name Anna is forgotten"
    assert listed(own_library)[0]["name"] is None


@pytest.mark.parametrize(
    "said",
    [
        {"action": "erase", "who": 1},
        {"action": "name"},
        {"action": "name", "who": 0, "name": "A"},
        {"action": "name", "who": "", "name": "A"},
        {"action": "is", "who": 1, "faces": [{"photo_id": 1}]},
    ],
)
def test_what_is_no_action_is_invalid(library: Library, said: dict[str, Any]) -> None:
    assert library.post("/people/actions", said, 422)["error"]["kind"] == "validation"


def test_a_name_without_a_letter_is_refused(library: Library) -> None:
    number = listed(library)[0]["number"]
    assert act(library, "name", number, 400, name="  ")["message"] == "a name has at least one letter"


def test_suggestions_come_with_the_numbers_that_merge_takes(own_library: Library) -> None:
    anna, ben, *_ = [one["number"] for one in listed(own_library)]
    act(own_library, "name", anna, name="Renée")
    act(own_library, "name", ben, name="Renee")
    answer = own_library.get("/people/suggestions")
    schemas.SuggestionsAnswer.model_validate(answer, strict=True)
    (pair,) = answer["suggestions"]
    assert sorted(pair["numbers"]) == sorted([anna, ben])
    who, other = pair["numbers"]
    assert act(own_library, "merge", who, others=[other])["kind"] == "merge"


def test_a_name_given_here_is_found_by_the_search_at_once(own_library: Library) -> None:
    number = listed(own_library)[1]["number"]
    act(own_library, "name", number, name="Ben")
    assert own_library.get("/count", params={"q": "person:Ben"})["count"] == 4
