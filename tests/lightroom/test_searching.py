"""Search and Find similar, from the menu to the collection, against the real API."""

from __future__ import annotations

import socket
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lightroom.daemon import Daemon
from tests.lightroom.sdk import Dialog, Lightroom
from tests.query.library import others, shot, told

DOGS = ["/lib/2023/Norway/dog_1.jpg", "/lib/2023/Norway/dog_2.jpg"]


def paths_in(lightroom: Lightroom, name: str, photos: dict[str, Any]) -> list[str]:
    """The paths of the photos in a collection of ours, in its order."""
    by_uuid = {lightroom.photo(photo)["values"]["uuid"]: path for path, photo in photos.items()}
    found = lightroom.collections["catalogd"]["set"][name]["photos"]
    return [by_uuid[uuid] for uuid in found]


def filled(lightroom: Lightroom) -> dict[str, Any]:
    """Lightroom holds what the daemon's library holds."""
    paths = [record.path.decode() for record in (*told(), *others(60))]
    return {path: lightroom.add_photo(path) for path in paths}


def query(text: str, **choices: Any) -> Any:
    def answer(dialog: Dialog) -> str:
        for key, value in choices.items():
            dialog.set(key, value)
        dialog.set("query", text)
        return "ok"

    return answer


def best(daemon: Daemon, text: str, limit: int = 200) -> list[str]:
    hits = daemon.backend.searcher.search(text, limit).hits
    return [hit.path.decode() for hit in hits]


def test_a_query_becomes_a_collection_in_the_order_of_scores(lightroom: Lightroom, daemon: Daemon) -> None:
    photos = filled(lightroom)
    lightroom.menu("Search.lua", query("dog"))
    assert paths_in(lightroom, "dog", photos) == best(daemon, "dog")
    assert lightroom.sources == ["dog"]
    assert len(lightroom.selected) == len(best(daemon, "dog"))
    assert "photos found: 2" in lightroom.messages[-1]
    assert lightroom.undo_steps == ["Collection set “catalogd”", "Collection “dog”"]


def test_while_typing_the_number_of_photos_is_counted_once_the_typing_pauses(lightroom: Lightroom) -> None:
    def answer(dialog: Dialog) -> str:
        view = dialog._view(lambda view: view[b"bound_value"] == b"query", "query")
        for text in ("cam", "camera:", "camera:nikon"):
            lightroom.control[b"choose"](view, text.encode())
        lightroom.run()
        assert "Photos: 31" in dialog.texts()
        dialog.set("query", "camera:")
        assert not any(text.startswith("Photos: ") for text in dialog.texts())
        dialog.set("query", "(")
        assert any("(" in text for text in dialog.texts()), dialog.texts()
        assert "" not in dialog.texts()
        dialog.set("query", " ")
        assert "" in dialog.texts(), "no query has no count"
        return "cancel"

    lightroom.menu("Search.lua", answer)
    counts = [path for _, path, _ in lightroom.requests if "/count" in path]
    assert len(counts) == 3
    assert lightroom.collections == {}


def test_the_limit_and_the_choice_to_select_are_remembered(lightroom: Lightroom) -> None:
    photos = filled(lightroom)
    lightroom.menu("Search.lua", query("camera:nikon", limit=20, select=False))
    assert len(paths_in(lightroom, "camera:nikon", photos)) == 20
    assert lightroom.selected == []

    def look(dialog: Dialog) -> str:
        assert (dialog.get("limit"), dialog.get("select")) == (20, False)
        assert dialog.get("query") == "camera:nikon"
        assert dialog.items("query") == ["camera:nikon"]
        return "cancel"

    lightroom.menu("Search.lua", look)


def test_recent_queries_are_kept_newest_first_without_doubles(lightroom: Lightroom) -> None:
    filled(lightroom)
    for text in ["dog", "beach", "dog", *(f"rating:{stars}" for stars in range(1, 5))]:
        lightroom.menu("Search.lua", query(text))
    source = "return require('Preferences').get('recent_queries')"
    assert lightroom.evaluate(source) == ["rating:4", "rating:3", "rating:2", "rating:1", "dog", "beach"]


def test_the_same_query_again_fills_the_same_collection_anew(lightroom: Lightroom, daemon: Daemon) -> None:
    photos = filled(lightroom)
    stale = photos["/lib/2022/receipt.jpg"]
    lightroom.add_collection("catalogd", "dog", photos=[stale])
    lightroom.menu("Search.lua", query("dog"))
    assert paths_in(lightroom, "dog", photos) == best(daemon, "dog")
    assert lightroom.undo() == "Collection “dog”"
    assert paths_in(lightroom, "dog", photos) == ["/lib/2022/receipt.jpg"]


def test_a_smart_collection_of_that_name_stays_as_it_is(lightroom: Lightroom) -> None:
    photos = filled(lightroom)
    rules = {"combine": "union", "criteria": "rating"}
    lightroom.add_collection("catalogd", "dog", rules=rules)
    lightroom.menu("Search.lua", query("dog"))
    assert lightroom.collections["catalogd"]["set"]["dog"]["smart"] == rules
    assert len(paths_in(lightroom, "dog (catalogd)", photos)) == 2


def test_a_collection_of_the_persons_is_never_taken_for_ours(lightroom: Lightroom) -> None:
    """At the top there is one called catalogd, so that the set can't have that name, and one called dog."""
    photos = filled(lightroom)
    mine = [photos["/lib/2022/receipt.jpg"]]
    lightroom.add_collection("catalogd", photos=mine)
    lightroom.add_collection("dog", photos=mine)
    before = lightroom.collections
    lightroom.menu("Search.lua", query("dog"))
    after = lightroom.collections
    assert {name: after[name] for name in before} == before
    assert len(after["catalogd (catalogd)"]["set"]["dog"]["photos"]) == 2


def test_where_no_set_can_be_made_nothing_is(lightroom: Lightroom) -> None:
    photos = filled(lightroom)
    for name in ("catalogd", "catalogd (catalogd)", "dog"):
        lightroom.add_collection(name, photos=[photos["/lib/2022/receipt.jpg"]])
    before = lightroom.collections
    lightroom.menu("Search.lua", query("dog"))
    assert lightroom.collections == before
    assert "the name “catalogd” is taken" in lightroom.messages[-1]


def test_a_very_long_query_is_a_name_cut_between_characters(lightroom: Lightroom) -> None:
    filled(lightroom)
    lightroom.menu("Search.lua", query("dog " + "-é" * 60 + "\n"))
    assert "catalogd" in lightroom.collections, lightroom.messages
    (name,) = lightroom.collections["catalogd"]["set"]
    assert name.endswith("…")
    assert "\n" not in name
    assert len(name.encode()) <= 83


def test_a_search_in_the_middle_of_which_it_is_cancelled_shows_what_is_there(tmp_path: Path) -> None:
    records = others(450)
    with Daemon(tmp_path, records) as served, served.lightroom() as lightroom:
        for record in records:
            lightroom.add_photo(record.path.decode())
        lightroom.cancel_at(200)
        lightroom.menu("Search.lua", query("camera:nikon OR camera:sony", limit=500))
        [found] = lightroom.collections["catalogd"]["set"].values()
        assert len(found["photos"]) == 400
        assert lightroom.scopes[-1]["finished"] is True


def test_a_count_that_comes_after_the_dialog_was_closed_is_dropped(lightroom: Lightroom) -> None:
    """The properties of the dialog have ended then."""

    def answer(dialog: Dialog) -> str:
        view = dialog._view(lambda view: view[b"bound_value"] == b"query", "query")
        lightroom.control[b"choose"](view, b"dog")
        return "cancel"

    lightroom.menu("Search.lua", answer)
    assert lightroom.messages == []


def test_photos_that_lightroom_does_not_have_are_counted_and_said(lightroom: Lightroom) -> None:
    lightroom.add_photo(DOGS[0])
    lightroom.menu("Search.lua", query("dog"))
    assert "Found, but not in this Lightroom catalog: 1" in lightroom.messages[-1]
    lightroom.menu("Search.lua", query("receipt"))
    assert "none of them is in this Lightroom catalog" in lightroom.messages[-1]
    assert "Path map" in lightroom.messages[-1]
    assert set(lightroom.collections["catalogd"]["set"]) == {"dog"}


def test_nothing_found_and_a_query_that_can_not_be_read_are_said(lightroom: Lightroom) -> None:
    filled(lightroom)
    lightroom.menu("Search.lua", query("rating:5 rating:1"))
    assert "No photo matches" in lightroom.messages[-1]
    lightroom.menu("Search.lua", query("(dog"))
    assert "catalogd could not do this" in lightroom.messages[-1]
    lightroom.menu("Search.lua", query("  "))
    assert lightroom.collections == {}


def test_a_busy_catalog_is_said_and_the_collection_is_not_made(lightroom: Lightroom) -> None:
    filled(lightroom)
    lightroom.contend(3)
    lightroom.menu("Search.lua", query("dog"))
    assert "busy" in lightroom.messages[-1]
    assert lightroom.collections == {}


def test_paths_are_mapped_to_another_machine_and_back(daemon: Daemon) -> None:
    preferences = {"path_map": "P:\\Pictures = /lib"}
    with daemon.lightroom(preferences=preferences, windows=True) as lightroom:
        photo = lightroom.add_photo("p:\\pictures\\2023\\Norway\\DOG_1.jpg")
        lightroom.add_photo("P:\\Pictures\\2023\\Norway\\dog_2.jpg")
        lightroom.menu("Search.lua", query("dog"))
        assert len(lightroom.collections["catalogd"]["set"]["dog"]["photos"]) == 2
        lightroom.select(photo)
        lightroom.menu("Similar.lua", lambda dialog: "ok")
        [name] = [name for name in lightroom.collections["catalogd"]["set"] if name != "dog"]
        assert name == "Like DOG_1.jpg"


@pytest.fixture
def accents(tmp_path: Path) -> Iterator[Daemon]:
    """The daemon spells é as one letter; this is a library of many accents."""
    names = [
        "café_dog.jpg",
        "Ñandú_dog.jpg",
        "사진_dog.jpg",
        "が_dog.jpg",
        "ệ_dog.jpg",
        "à_dog.jpg",
        "á_dog.jpg",
    ]
    paths = [unicodedata.normalize("NFC", f"/lib/Été/{name}") for name in names]
    records = [shot(path, seed=n, tags=("dog",)) for n, path in enumerate(paths)]
    with Daemon(tmp_path, records) as served:
        yield served


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_are_found_however_each_side_spells_them(accents: Daemon, form: Any) -> None:
    with accents.lightroom() as lightroom:
        wanted = best(accents, "dog")
        photos = {path: lightroom.add_photo(unicodedata.normalize(form, path)) for path in wanted}
        lightroom.add_photo("/lib/elsewhere.jpg")
        lightroom.menu("Search.lua", query("dog"))
        assert len(wanted) == 7
        assert paths_in(lightroom, "dog", photos) == wanted, lightroom.messages


def test_many_hits_read_all_paths_at_once(tmp_path: Path) -> None:
    records = others(600)
    with Daemon(tmp_path, records) as served, served.lightroom() as lightroom:
        for record in records:
            lightroom.add_photo(record.path.decode())
        lightroom.menu("Search.lua", query("camera:nikon OR camera:sony", limit=1000))
        [found] = lightroom.collections["catalogd"]["set"].values()
        assert len(found["photos"]) == 600
        assert lightroom.counts["batch_reads"] == 1
        assert "finds" not in lightroom.counts
        assert lightroom.counts["gates"] == 1 + 3
        assert len([path for _, path, _ in lightroom.requests if "/search" in path]) == 1


def test_many_hits_in_any_case_find_the_masters_once_each(tmp_path: Path) -> None:
    """On Windows one file may be known by two spellings; a virtual copy has its master's path."""
    records = [*others(300), shot("/lib/OTHER/P1000.jpg", seed=5000, camera="Nikon Z 6")]
    mapped = {"path_map": "P:\\ = /lib"}
    with (
        Daemon(tmp_path, records) as served,
        served.lightroom(preferences=mapped, windows=True) as lightroom,
    ):
        for record in records[:300]:
            path = record.path.decode().upper().replace("/LIB", "P:").replace("/", "\\")
            master = lightroom.add_photo(path, uuid=f"M{path}")
            lightroom.add_photo(path, uuid=f"C{path}", master=master)
        lightroom.menu("Search.lua", query("camera:nikon OR camera:sony", limit=1000))
        [found] = lightroom.collections["catalogd"]["set"].values()
        assert len(found["photos"]) == 300
        assert all(uuid.startswith("M") for uuid in found["photos"])
        assert lightroom.messages == ["catalogd: photos found: 300\n"]


def test_similar_photos_of_the_selection_with_words(lightroom: Lightroom, daemon: Daemon) -> None:
    photos = filled(lightroom)
    lightroom.select(photos["/lib/2024/beach.jpg"])
    lightroom.menu("Similar.lua", lambda dialog: "ok")
    found = paths_in(lightroom, "Like beach.jpg", photos)
    assert found[0] == "/lib/2024/night.jpg"
    assert "/lib/2024/beach.jpg" not in found

    def words(dialog: Dialog) -> str:
        dialog.set("words", "date:2024-08")
        dialog.set("limit", 20)
        return "ok"

    lightroom.select(photos["/lib/2024/beach.jpg"])
    lightroom.menu("Similar.lua", words)
    assert paths_in(lightroom, "Like beach.jpg, date:2024-08", photos) == ["/lib/2024/night.jpg"]


def test_similar_needs_a_selection_that_catalogd_knows(lightroom: Lightroom) -> None:
    lightroom.menu("Similar.lua")
    assert "Select one photo" in lightroom.messages[-1]
    lightroom.select(lightroom.add_photo("/lib/unknown.jpg"))
    lightroom.menu("Similar.lua")
    assert "does not know the selected photos yet" in lightroom.messages[-1]
    assert "Analyze" in lightroom.messages[-1]


@pytest.mark.parametrize("item", ["Search.lua", "Similar.lua", "Status.lua", "Analyze.lua"])
def test_a_daemon_that_is_down_is_one_dialog_that_says_how_to_start_it(item: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with Lightroom(preferences={"address": address}) as lightroom:
        lightroom.select(lightroom.add_photo("/a.jpg"))
        lightroom.menu(item, *([query("dog")] if item == "Search.lua" else []))
        assert len(lightroom.messages) == 1
        assert "catalogd run ~/Pictures" in lightroom.messages[0]
        assert "catalogd serve" in lightroom.messages[0]


@pytest.mark.parametrize("item", ["Search.lua", "Similar.lua", "Status.lua", "Analyze.lua"])
def test_a_wrong_token_is_one_dialog_that_says_where_the_right_one_is(item: str, tmp_path: Path) -> None:
    with (
        Daemon(tmp_path) as served,
        served.lightroom(passwords={"catalogd api token": "x" * 20}) as lightroom,
    ):
        lightroom.select(lightroom.add_photo("/lib/2024/beach.jpg"))
        lightroom.menu(item, *([query("dog")] if item == "Search.lua" else []))
        assert len(lightroom.messages) == 1
        assert "catalogd token" in lightroom.messages[0]
