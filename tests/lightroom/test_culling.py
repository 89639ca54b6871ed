"""Cull… and Smart collections…, against the real API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from catalogd.records import Output, Quality, Record
from tests.lightroom.daemon import Daemon
from tests.lightroom.sdk import Dialog, Lightroom
from tests.query.library import shot


def burst() -> list[Record]:
    """Two moments: of three shots, the second the sharpest, and of one."""
    return [
        shot(
            f"/lib/c/{number}.jpg",
            "dog",
            seed=number,
            like=1,
            taken_at=taken_at,
            camera="Nikon Z 6",
            outputs={"quality": Output("quality 1", quality=Quality(sharpness, 40, 0.5, 0.5, 0, 0, 2, 30))},
        )
        for number, sharpness, taken_at in (
            (1, 40, "2024-05-01T10:00:00"),
            (2, 90, "2024-05-01T10:00:01"),
            (3, 20, "2024-05-01T10:00:02"),
            (4, 70, "2024-05-03T10:00:00"),
        )
    ]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("cull"), burst()) as daemon:
        yield daemon


@pytest.fixture
def lightroom(served: Daemon) -> Iterator[Lightroom]:
    with served.lightroom() as opened:
        yield opened


def agree(dialog: Dialog) -> str:
    return "ok"


def add(lightroom: Lightroom) -> list[Any]:
    photos = [lightroom.add_photo(f"/lib/c/{number}.jpg", uuid=str(number)) for number in (1, 2, 3, 4)]
    lightroom.select(*photos)
    return photos


def test_the_best_of_each_moment_are_collected(lightroom: Lightroom) -> None:
    photos = add(lightroom)
    before = [lightroom.photo(photo) for photo in photos]
    seen: list[str] = []
    lightroom.menu("Cull.lua", agree, lambda dialog: seen.append(dialog.all_text))
    assert "2 moments: 2 picks, 2 alternates" in seen[0]
    (name,) = lightroom.collections["catalogd"]["set"]
    assert name == "Cull 2024-05-01"
    groups = lightroom.collections["catalogd"]["set"][name]["set"]
    assert groups["Picks"]["photos"] == ["2", "4"]
    assert sorted(groups["Alternates"]["photos"]) == ["1", "3"]
    assert "Protected brackets" not in groups
    assert lightroom.sources == ["Picks"]
    assert [lightroom.photo(photo) for photo in photos] == before


def test_flags_and_labels_are_set_when_asked_for_and_can_be_taken_back(lightroom: Lightroom) -> None:
    photos = add(lightroom)
    lightroom.edit(photos[3], "pickStatus", -1)

    def marks(dialog: Dialog) -> str:
        dialog.set("flags", True)
        dialog.set("labels", True)
        return "ok"

    lightroom.menu("Cull.lua", marks, agree)
    values = [lightroom.photo(photo)["values"] for photo in photos]
    assert [one.get("pickStatus", 0) for one in values] == [0, 1, 0, -1]
    assert [one["colorNameForLabel"] for one in values] == ["red", "green", "red", "green"]
    assert "4 photos got a flag or a label" in lightroom.messages[-1]
    lightroom.menu("TakeBack.lua", agree, agree)
    values = [lightroom.photo(photo)["values"] for photo in photos]
    assert [one.get("pickStatus", 0) for one in values] == [0, 0, 0, -1]
    assert {one["colorNameForLabel"] for one in values} == {"none"}


def test_more_picks_are_kept_when_asked_for(lightroom: Lightroom) -> None:
    add(lightroom)

    def two(dialog: Dialog) -> str:
        dialog.set("keep", 2)
        return "ok"

    lightroom.menu("Cull.lua", two, agree)
    groups = lightroom.collections["catalogd"]["set"]["Cull 2024-05-01"]["set"]
    assert groups["Picks"]["photos"] == ["2", "1", "4"]


def test_a_preview_that_is_left_makes_nothing(lightroom: Lightroom) -> None:
    add(lightroom)
    lightroom.menu("Cull.lua", agree, lambda dialog: "cancel")
    assert lightroom.collections == {}


def test_culling_again_fills_the_same_collections(lightroom: Lightroom) -> None:
    photos = add(lightroom)
    lightroom.menu("Cull.lua", agree, agree)
    lightroom.select(*photos[:3])
    lightroom.menu("Cull.lua", agree, agree)
    groups = lightroom.collections["catalogd"]["set"]["Cull 2024-05-01"]["set"]
    assert groups["Picks"]["photos"] == ["2"]


def test_photos_that_catalogd_does_not_know_can_not_be_culled(lightroom: Lightroom) -> None:
    lightroom.select(lightroom.add_photo("/lib/c/new.jpg"))
    lightroom.menu("Cull.lua")
    assert "does not know these photos" in lightroom.messages[-1]


def test_a_daemon_that_is_down_is_one_clear_dialog() -> None:
    with Lightroom(preferences={"address": "http://127.0.0.1:9"}) as lightroom:
        lightroom.select(lightroom.add_photo("/lib/c/1.jpg"))
        lightroom.menu("Cull.lua")
        assert len(lightroom.messages) == 1
        assert "catalogd run" in lightroom.messages[0]


# ── smart collections ─────────────────────────────────────────────────────────────────────────


def test_cancelled_while_photos_are_looked_up_nothing_is_asked(lightroom: Lightroom) -> None:
    add(lightroom)
    lightroom.cancel_at(0)
    lightroom.menu("Cull.lua")  # a dialog that nobody expects is an error
    assert len(lightroom.requests) == 1
    assert [scope["finished"] for scope in lightroom.scopes] == [True]


def test_smart_collections_are_made_once(lightroom: Lightroom) -> None:
    lightroom.menu("SmartCollections.lua", agree)
    made = lightroom.collections["catalogd"]["set"]["Smart collections"]["set"]
    assert len(made) == 8
    rule = made["Sharp and unrated"]["smart"]
    assert "sdktext:org.catalogd.lightroom.quality" in str(rule)
    lightroom.menu("SmartCollections.lua", agree)
    assert lightroom.collections["catalogd"]["set"]["Smart collections"]["set"] == made
    assert lightroom.undo_steps == ["Collection set “Smart collections”", "Smart collections of catalogd"]


def test_only_the_chosen_smart_collections_are_made(lightroom: Lightroom) -> None:
    def one(dialog: Dialog) -> str:
        for view in dialog.views():
            key = (view[b"bound_value"] or b"").decode()
            if key.startswith("make_"):
                dialog.set(key, key == "make_blurred")
        return "ok"

    lightroom.menu("SmartCollections.lua", one)
    made = lightroom.collections["catalogd"]["set"]["Smart collections"]["set"]
    assert list(made) == ["Blurred, without a flag"]


def test_smart_collections_need_no_daemon() -> None:
    with Lightroom(preferences={"address": "http://127.0.0.1:9"}) as lightroom:
        lightroom.menu("SmartCollections.lua", agree)
        assert lightroom.requests == []
