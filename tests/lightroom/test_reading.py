"""Read from Lightroom…: what a person set there becomes user data, against the real API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lightroom.daemon import Daemon
from tests.lightroom.results import library, words
from tests.lightroom.sdk import Dialog, Lightroom


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Of its own: what is given stays."""
    with Daemon(tmp_path_factory.mktemp("read"), library(3)) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """For tests that look at what is sent, not at what was given before."""
    with Daemon(tmp_path_factory.mktemp("shared"), library(3)) as daemon:
        yield daemon


@pytest.fixture
def lightroom(request: pytest.FixtureRequest) -> Iterator[Lightroom]:
    """Set to `served` where a test takes it, else to `shared`."""
    daemon: Daemon = request.getfixturevalue("served" if "served" in request.fixturenames else "shared")
    with daemon.lightroom() as opened:
        yield opened


def agree(dialog: Dialog) -> str:
    return "ok"


def read_all(dialog: Dialog) -> str:
    dialog.set("scope", "all")
    return "ok"


def sent(lightroom: Lightroom, path: str) -> list[Any]:
    """The bodies of the requests to a route."""
    pairs = zip(lightroom.requests, lightroom.bodies, strict=True)
    return [json.loads(body or b"null") for (_, asked, _), body in pairs if asked.endswith(path)]


def said_rating(served: Daemon, path: str, wanted: int) -> int | None:
    """The rating of a record, which follows within seconds."""
    (found,) = served.backend.catalog.find_paths([path.encode()])
    assert found is not None
    end = time.monotonic() + 20
    while True:
        record = served.backend.catalog.record(found.photo_id)
        rating = record.said.rating if record is not None else None
        if rating == wanted or time.monotonic() > end:
            return rating
        time.sleep(0.05)


def test_what_a_person_set_becomes_user_data(served: Daemon, lightroom: Lightroom) -> None:
    photo = lightroom.add_photo(
        "/lib/p/00001.jpg",
        keywords=[("Animals", "Dog"), ("plain",)],
        rating=4,
        pickStatus=1,
        colorNameForLabel="green",
        label="Grün",
        title="Rex",
        caption="Rex am Strand",
        gps={"latitude": 60.5, "longitude": 5.5},
        city="Bergen",
        personShown="Bo Berg",
        lastEditTime=700_000_000,
    )
    lightroom.control[b"tag"](photo, lightroom.add_keyword("Who", "Ana", person=True))
    lightroom.select(photo)
    lightroom.menu("Read.lua", agree)
    assert "1 photos were read" in lightroom.messages[-1]
    ((given,),) = [body["photos"] for body in sent(lightroom, "/photos")]
    assert (given["rating"], given["pick"], given["label"]) == (4, 1, "Green")
    assert given["keywords"] == ["Dog", "plain"]
    assert given["keyword_paths"] == ["Animals|Dog"]
    assert given["people"] == ["Ana", "Bo Berg"]
    assert given["changed_at"] == 978307200 + 700_000_000
    uuid = lightroom.photo(photo)["values"]["uuid"]
    assert set(served.backend.user.given_digests("lightroom")) == {uuid}
    assert said_rating(served, "/lib/p/00001.jpg", 4) == 4


def test_read_again_nothing_is_new(lightroom: Lightroom) -> None:
    lightroom.select(*[lightroom.add_photo(f"/lib/p/{number:05d}.jpg", rating=3) for number in (1, 2, 3)])
    lightroom.menu("Read.lua", agree)
    assert "3 new or changed, 0 known" in lightroom.messages[-1]
    lightroom.menu("Read.lua", agree)
    assert "0 new or changed, 3 known" in lightroom.messages[-1]


def test_lightrooms_catalog_is_not_changed(lightroom: Lightroom) -> None:
    photos = [lightroom.add_photo("/lib/p/00001.jpg", rating=3, keywords=[("A", "B")])]
    lightroom.add_collection("Trips", "Norway", photos=photos)
    before = lightroom.snapshot(photos)
    lightroom.menu("Read.lua", read_all)
    assert lightroom.snapshot(photos) == before
    assert "gates_asked" not in lightroom.counts


def test_what_catalogd_wrote_is_not_taken_for_a_persons_word(
    lightroom: Lightroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    words(monkeypatch, "A dog", "Dog")
    photo = lightroom.add_photo("/lib/p/00001.jpg", rating=2)
    lightroom.select(photo)
    lightroom.menu("Write.lua", agree, agree)
    lightroom.edit(photo, "title", "Rex")
    lightroom.menu("Read.lua", agree)
    ((given,),) = [body["photos"] for body in sent(lightroom, "/user-data/lightroom/photos")]
    assert (given["rating"], given["title"]) == (2, "Rex")
    assert "caption" not in given
    assert given["keywords"] == []
    assert given["people"] == []


def test_virtual_copies_name_their_masters_and_videos_are_left_out(
    served: Daemon, lightroom: Lightroom
) -> None:
    master = lightroom.add_photo("/lib/p/00001.jpg", rating=3)
    copy = lightroom.add_photo("/lib/p/00001.jpg", master=master, rating=5, copyName="Copy 1")
    video = lightroom.add_photo("/lib/p/x.mov", fileFormat="VIDEO")
    lightroom.select(master, copy, video)
    lightroom.menu("Read.lua", agree)
    ((_, given),) = [body["photos"] for body in sent(lightroom, "/photos")]
    assert given["master_uuid"] == lightroom.photo(master)["values"]["uuid"]
    assert given["copy_name"] == "Copy 1"
    assert "1 videos were left out" in lightroom.messages[-1]
    assert served.backend.user.given_counts("lightroom").copies == 1


def test_photos_that_are_not_indexed_wait(served: Daemon, lightroom: Lightroom) -> None:
    lightroom.select(lightroom.add_photo("/lib/p/later.jpg", rating=3))
    lightroom.menu("Read.lua", agree)
    assert "1 wait until" in lightroom.messages[-1]


def test_collections_become_albums_without_those_that_catalogd_made(
    served: Daemon, lightroom: Lightroom
) -> None:
    photos = [lightroom.add_photo(f"/lib/p/{number:05d}.jpg", rating=1) for number in (1, 2, 3)]
    lightroom.add_collection("Trips", "Norway/2023", photos=photos[:2])
    lightroom.add_collection("catalogd", "dog", photos=photos)
    lightroom.add_collection("Best", photos=photos[2:])
    lightroom.menu("Read.lua", read_all)
    (body,) = sent(lightroom, "/collections")
    assert body["complete"] is True
    found = {one["name"]: len(one["uuids"]) for one in body["collections"]}
    assert found == {"Trips": 0, "Trips/Norway-2023": 2, "Best": 1}
    given = [one for asked in sent(lightroom, "/photos") for one in asked["photos"]]
    assert [one["collections"] for one in given] == [["Trips/Norway-2023"], ["Trips/Norway-2023"], ["Best"]]
    assert served.backend.user.given_counts("lightroom").collections >= 2


def test_only_what_was_edited_since_is_read_again(lightroom: Lightroom) -> None:
    photos = [
        lightroom.add_photo(f"/lib/p/{number:05d}.jpg", rating=1, lastEditTime=690_000_000 + number)
        for number in (1, 2, 3)
    ]
    lightroom.menu("Read.lua", read_all)
    lightroom.edit(photos[1], "rating", 5)
    lightroom.reset_counts()

    def edited(dialog: Dialog) -> str:
        dialog.set("changed", True)
        return read_all(dialog)

    lightroom.menu("Read.lua", edited)
    (given,) = [body["photos"] for body in sent(lightroom, "/photos")]
    assert [one["rating"] for one in given] == [5, 1], "at the time of the latest there may be another edit"
    lightroom.menu("Read.lua", edited)
    assert "1 photos were read" in lightroom.messages[-1]

    def everything(dialog: Dialog) -> str:
        assert dialog.get("changed") is True, "the choice is remembered"
        dialog.set("changed", False)
        return read_all(dialog)

    lightroom.menu("Read.lua", everything)
    assert "3 photos were read" in lightroom.messages[-1]


def test_usually_all_is_read_because_lightroom_may_not_tell_of_every_edit(lightroom: Lightroom) -> None:
    photo = lightroom.add_photo("/lib/p/00001.jpg", rating=1)
    lightroom.menu("Read.lua", read_all)
    lightroom.tag(photo, "Animals", "Dog")  # without a new time of edit
    lightroom.menu("Read.lua", read_all)
    assert "1 new or changed" in lightroom.messages[-1]


def test_of_a_second_lightroom_catalog_the_collections_are_added(lightroom: Lightroom) -> None:
    photo = lightroom.add_photo("/lib/p/00001.jpg", rating=1)
    lightroom.add_collection("Best", photos=[photo])
    lightroom.menu("Read.lua", read_all)
    lightroom.control[b"open_catalog"](b"/Users/ana/Pictures/Other.lrcat")
    lightroom.menu("Read.lua", read_all)
    lightroom.control[b"open_catalog"](b"/Users/ana/Pictures/Lightroom/Lightroom Catalog.lrcat")
    lightroom.menu("Read.lua", read_all)
    assert [body["complete"] for body in sent(lightroom, "/collections")] == [True, False, False]


def test_a_daemon_that_goes_away_in_the_middle_is_said_with_what_was_read(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        Daemon(tmp_path_factory.mktemp("gone"), library(3)) as daemon,
        daemon.lightroom() as lightroom,
    ):
        for number in range(450):
            lightroom.add_photo(f"/lib/p/{number:05d}.jpg", rating=1)
        asked: list[str] = []

        def stop(method: str, path: str) -> None:
            asked.append(path)
            if len(asked) == 2:
                daemon.server.close()

        lightroom.before_request = stop
        lightroom.menu("Read.lua", read_all)
        assert len(lightroom.messages) == 1
        assert "does not answer" in lightroom.messages[0]
        assert "200 photos were read before" in lightroom.messages[0]
        assert len(asked) == 2


def test_a_cancelled_reading_begins_again(lightroom: Lightroom) -> None:
    for number in range(450):
        lightroom.add_photo(f"/lib/p/{number:05d}.jpg", rating=1)
    lightroom.cancel_at(200)
    lightroom.menu("Read.lua", read_all)
    assert "Cancelled. 400 photos were read" in lightroom.messages[-1]
    assert sent(lightroom, "/collections") == []
    lightroom.cancel_at(None)
    lightroom.menu("Read.lua", read_all)
    assert "450 photos were read" in lightroom.messages[-1]


def test_calls_are_few(lightroom: Lightroom) -> None:
    for number in range(450):
        lightroom.add_photo(f"/lib/p/{number:05d}.jpg", rating=1, keywords=[("Animals", "Dog")])
    lightroom.menu("Read.lua", read_all)
    assert lightroom.counts["requests"] == 3 + 1
    assert lightroom.counts.get("single_reads", 0) == 0
    assert lightroom.counts["batch_reads"] <= 3 * 3 + 1


def test_ten_thousand_photos_are_read_in_fifty_requests(lightroom: Lightroom) -> None:
    for number in range(10_000):
        lightroom.add_photo(f"/lib/p/{number:05d}.jpg", rating=1, keywords=[("Animals", "Dog")])
    lightroom.menu("Read.lua", read_all)
    assert "10,000 photos were read" in lightroom.messages[-1]
    assert lightroom.counts["requests"] == 50 + 1
    assert lightroom.counts["batch_reads"] <= 50 * 3 + 2


def test_a_daemon_that_is_down_is_one_clear_dialog() -> None:
    with Lightroom(preferences={"address": "http://127.0.0.1:9"}) as lightroom:
        lightroom.select(lightroom.add_photo("/lib/p/00001.jpg"))
        lightroom.menu("Read.lua", agree)
        assert len(lightroom.messages) == 1
        assert "catalogd run" in lightroom.messages[0]
