"""People…, against the real API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lightroom.daemon import Daemon
from tests.lightroom.sdk import JPEG, Dialog, Lightroom
from tests.web.library import opened


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Daemon]:
    """Of its own: names stay. Two clusters without names, and Anna Núñez, whom a file names."""
    with opened(tmp_path) as library:
        settings = library.settings
    with Daemon(tmp_path, settings=settings) as daemon:
        yield daemon


@pytest.fixture
def lightroom(served: Daemon) -> Iterator[Lightroom]:
    with served.lightroom() as started:
        yield started


def names(dialog: Dialog) -> list[str]:
    return [item["title"] for item in dialog.items("who")]


def choose(dialog: Dialog, start: str, key: str = "who") -> None:
    found = [item["value"] for item in dialog.items(key) if item["title"].startswith(start)]
    assert found, names(dialog)
    dialog.set(key, found[0])


def test_everybody_is_listed_by_how_often_they_are_seen(lightroom: Lightroom) -> None:
    seen: list[list[str]] = []
    lightroom.menu("People.lua", lambda dialog: seen.append(names(dialog)))
    assert seen[0][0].startswith("Unnamed")
    assert seen[0][0].endswith("(5 photos)")
    assert any(name.startswith("Anna Núñez") for name in seen[0])


def test_a_name_holds_at_once_and_is_taken_back(served: Daemon, lightroom: Lightroom) -> None:
    def use(dialog: Dialog) -> str:
        dialog.set("name", "  Anna ")
        dialog.press("Set name")
        assert "Anna (5 photos)" in names(dialog)
        dialog.press("Undo")
        assert "Anna (5 photos)" not in names(dialog)
        return "ok"

    lightroom.menu("People.lua", use)
    assert served.backend.catalog.people.journal()


def test_two_of_one_name_are_one_person_only_when_the_person_says_so(
    served: Daemon, lightroom: Lightroom
) -> None:
    def use(dialog: Dialog) -> str:
        dialog.set("name", "Anna")
        dialog.press("Set name")
        choose(dialog, "Unnamed")
        dialog.set("name", "Anna")
        dialog.press("Set name")
        return "ok"

    def same(dialog: Dialog) -> str:
        assert "somebody called Anna already" in dialog.text
        return "ok"

    before = len(served.backend.catalog.people.everybody())
    lightroom.menu("People.lua", use, lambda dialog: "cancel")
    assert len(served.backend.catalog.people.everybody()) == before
    lightroom.menu("People.lua", use, same)
    assert len(served.backend.catalog.people.everybody()) == before - 1


def test_two_people_are_merged(served: Daemon, lightroom: Lightroom) -> None:
    def use(dialog: Dialog) -> str:
        first, second = dialog.items("who")[:2]
        dialog.set("who", second["value"])
        dialog.set("into", first["value"])
        before = len(names(dialog))
        dialog.press("Merge")
        assert len(names(dialog)) == before - 1
        return "ok"

    lightroom.menu("People.lua", use)


def test_somebody_is_hidden(lightroom: Lightroom) -> None:
    def use(dialog: Dialog) -> str:
        before = names(dialog)
        dialog.press("Hide")
        assert names(dialog) == before[1:]
        return "ok"

    lightroom.menu("People.lua", use)


def test_photos_of_somebody_become_a_collection(lightroom: Lightroom) -> None:
    for number in range(3):
        lightroom.add_photo(f"/lib/family/{number}.jpg", uuid=str(number))

    def use(dialog: Dialog) -> None:
        dialog.press("Show photos")

    lightroom.menu("People.lua", use)
    people = lightroom.collections["catalogd"]["set"]["People"]["set"]
    ((name, found),) = people.items()
    assert name == "Unnamed 1"
    assert sorted(found["photos"]) == ["0", "1", "2"]
    assert "2 more photos of this person" in lightroom.messages[-1]
    assert lightroom.sources == [name]


def test_faces_are_seen_and_their_files_are_gone_afterwards(
    served: Daemon, lightroom: Lightroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.backend.pictures, "face", lambda record, box: JPEG)
    shown: list[Path] = []

    def picture(dialog: Dialog) -> Path:
        (found,) = [view[b"value"] for view in dialog.views() if view[b"kind"] == b"picture"]
        return Path(found.decode())

    def use(dialog: Dialog) -> str:
        shown.append(picture(dialog))
        assert shown[0].read_bytes() == JPEG
        dialog.press("Another face")
        shown.append(picture(dialog))
        assert [path.exists() for path in shown] == [False, True]
        return "ok"

    lightroom.menu("People.lua", use)
    assert not any(path.exists() for path in shown)


def test_who_may_be_one_person_is_proposed(lightroom: Lightroom, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[Any] = []
    monkeypatch.setattr("catalogd.web.routes.people.suggestion_json", lambda pair: pair)
    monkeypatch.setattr("catalogd.web.routes.people.Suggestions.best", lambda *_: pairs)

    def use(dialog: Dialog) -> str:
        first, second = (item["value"] for item in dialog.items("who")[:2])
        before = len(names(dialog))
        assert "Ann and Anne (alike)" in dialog.texts()
        dialog.press("Next")
        assert "Ben and Bob (alike)" in dialog.texts()
        dialog.press("Next")
        pairs[0]["numbers"] = [first, second]
        dialog.press("Undo")
        dialog.press("Same person")
        assert len(names(dialog)) == before - 1
        return "ok"

    for one, other in (("Ann", "Anne"), ("Ben", "Bob")):
        pairs.append(
            {"score": 0.5, "one": one, "other": other, "numbers": [1, 2], "faces": [1, 1], "reason": "alike"}
        )
    lightroom.menu("People.lua", use)


def test_a_daemon_that_is_down_is_one_clear_dialog() -> None:
    with Lightroom(preferences={"address": "http://127.0.0.1:9"}) as lightroom:
        lightroom.menu("People.lua")
        assert len(lightroom.messages) == 1
        assert "catalogd run" in lightroom.messages[0]


def test_without_faces_it_is_said(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(daemon.backend.catalog.people), "everybody", lambda self: [])
    with daemon.lightroom() as lightroom:
        lightroom.menu("People.lua")
        assert "has seen no faces" in lightroom.messages[-1]
