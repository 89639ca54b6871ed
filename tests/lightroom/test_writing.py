"""Write results to Lightroom…, and Take back what catalogd wrote…, against the real API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lightroom.daemon import Daemon
from tests.lightroom.results import analyzed, library, words
from tests.lightroom.sdk import Dialog, Lightroom

NFD = "/lib/ü/Sommer am Fjord é.jpg".encode().replace("é".encode(), b"e\xcc\x81").decode()
FIELDS = ["keywords", "people", "caption", "title", "alt_text", "details"]
FIELDS += ["rating", "label", "pick", "gps", "place"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    records = [*library(450), analyzed("/lib/ü/Sommer am Fjord é.jpg", seed=9000)]
    with Daemon(tmp_path_factory.mktemp("results"), records) as served:
        yield served


@pytest.fixture
def lightroom(results: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lightroom]:
    words(monkeypatch, "A dog runs along a beach", "Dog")
    with results.lightroom() as opened:
        yield opened


def agree(dialog: Dialog) -> str:
    return "ok"


def leave(dialog: Dialog) -> str:
    return "cancel"


def everything(dialog: Dialog) -> str:
    for field in FIELDS:
        dialog.set(f"write_{field}", True)
    return "ok"


def add(lightroom: Lightroom, count: int, **values: Any) -> list[Any]:
    photos = [lightroom.add_photo(f"/lib/p/{number:05d}.jpg", **values) for number in range(1, count + 1)]
    lightroom.select(*photos)
    return photos


def write(lightroom: Lightroom, *answers: Any) -> str:
    """Gives the last message."""
    lightroom.menu("Write.lua", *(answers or (agree, agree)))
    return lightroom.messages[-1]


def state(lightroom: Lightroom, photos: list[Any]) -> list[Any]:
    """What people and files see of photos: an empty value is none."""
    empty = {"colorNameForLabel": "none", "pickStatus": 0}
    told = []
    for photo in photos:
        data = lightroom.photo(photo)
        values = {key: value for key, value in data["values"].items() if value != empty.get(key)}
        told.append((values, data["keywords"], data["properties"]))
    return told


# ── writing ───────────────────────────────────────────────────────────────────────────────────


def test_results_are_written_after_they_were_shown(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)
    seen: list[str] = []
    message = write(lightroom, agree, lambda dialog: seen.append(dialog.all_text))
    assert "1 photos were written" in message
    assert "Caption: 1 photos" in seen[0]
    assert "Caption: – → “A dog runs along a beach”" in seen[0]
    data = lightroom.photo(photo)
    assert data["keywords"] == [
        "catalogd|Labrador black",
        "catalogd|People|Anna Núñez",
        "catalogd|Places|Norway|Vestland|Bergen",
        "catalogd|dog",
        "catalogd|seashore",
    ]
    assert data["values"]["caption"] == "A dog runs along a beach"
    assert data["values"]["title"] == "Dog"
    assert data["values"]["personShown"] == "Anna Núñez"
    shown = {key: data["properties"][key] for key in ("quality", "sharpness", "faces", "captionSource")}
    assert shown == {"quality": "sharp", "sharpness": "080", "faces": "1", "captionSource": "florence 2"}
    assert "rating" not in data["values"]
    assert "gps" not in data["values"]
    assert "city" not in data["values"]


def test_nothing_is_written_before_the_person_agrees(lightroom: Lightroom) -> None:
    photos = add(lightroom, 3)
    before = lightroom.snapshot(photos)
    lightroom.menu("Write.lua", agree, leave)
    lightroom.menu("Write.lua", leave)
    assert lightroom.snapshot(photos) == before
    assert "gates" not in lightroom.counts


def test_written_again_there_is_nothing_left(lightroom: Lightroom) -> None:
    photos = add(lightroom, 3)
    write(lightroom)
    before = lightroom.snapshot(photos)
    message = write(lightroom, agree)
    assert "nothing to write" in message
    assert "3 photos have all of it already" in message
    assert lightroom.snapshot(photos) == before


def test_only_the_chosen_fields_are_written_and_they_are_remembered(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)

    def only_titles(dialog: Dialog) -> str:
        for field in FIELDS:
            dialog.set(f"write_{field}", field == "title")
        return "ok"

    write(lightroom, only_titles, agree)
    data = lightroom.photo(photo)
    assert data["keywords"] == []
    assert data["values"]["title"] == "Dog"
    assert "caption" not in data["values"]

    def check(dialog: Dialog) -> str:
        assert [field for field in FIELDS if dialog.get(f"write_{field}")] == ["title"]
        return "cancel"

    lightroom.menu("Write.lua", check)


def test_position_and_place_are_written_when_asked_for(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)
    write(lightroom, everything, agree)
    values = lightroom.photo(photo)["values"]
    assert values["gps"] == pytest.approx({"latitude": 60.3972, "longitude": 5.3243})
    place = [values[key] for key in ("city", "stateProvince", "country", "isoCountryCode")]
    assert place == ["Bergen", "Vestland", "Norway", "NO"]


def test_proposed_stars_labels_and_flags_are_written_on_request(
    lightroom: Lightroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = {"rating": 3, "label": "Green", "pick": 1, "reasons": []}
    monkeypatch.setattr("catalogd.sync.results._proposal_json", lambda *_: proposal)
    (photo,) = add(lightroom, 1)
    write(lightroom)
    assert "rating" not in lightroom.photo(photo)["values"]
    write(lightroom, everything, agree)
    values = lightroom.photo(photo)["values"]
    assert (values["rating"], values["colorNameForLabel"], values["pickStatus"]) == (3, "green", 1)


def test_what_a_person_wrote_is_kept_and_said(lightroom: Lightroom) -> None:
    first, second = add(lightroom, 2, caption="My words")
    lightroom.tag(first, "Family", "anna núñez")
    message = write(lightroom)
    assert "Caption: 2 photos have your own and keep it." in message
    assert lightroom.photo(first)["values"]["caption"] == "My words"
    assert "catalogd|People|Anna Núñez" not in lightroom.photo(first)["keywords"]
    assert "catalogd|People|Anna Núñez" in lightroom.photo(second)["keywords"]


def test_a_keyword_in_other_letters_is_the_same_keyword(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)
    lightroom.add_keyword("Catalogd", "DOG")
    write(lightroom)
    assert "Catalogd|DOG" in lightroom.photo(photo)["keywords"]
    assert set(lightroom.keywords) == {"Catalogd"}


def test_the_parent_of_keywords_can_be_chosen_or_none(results: Daemon, lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)
    lightroom.evaluate("local P = require 'Preferences' P.set('keyword_parent', 'Machine|Seen')")
    write(lightroom)
    keywords = lightroom.photo(photo)["keywords"]
    assert "Machine|Seen|People|Anna Núñez" in keywords
    assert "Machine|Seen|catalogd|dog" in keywords
    lightroom.evaluate(
        "local P = require 'Preferences' P.set('keyword_parent', '') P.set('people_parent', '')"
    )
    other = lightroom.add_photo("/lib/p/00002.jpg")
    lightroom.select(other)
    write(lightroom)
    assert {"catalogd|dog", "Anna Núñez"} <= set(lightroom.photo(other)["keywords"])


def test_videos_copies_and_strangers_are_left_out_and_said(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)
    copy = lightroom.add_photo("/lib/p/00001.jpg", master=photo)
    video = lightroom.add_photo("/lib/p/clip.mov", fileFormat="VIDEO")
    stranger = lightroom.add_photo("/elsewhere/x.jpg")
    new = lightroom.add_photo("/lib/p/new.jpg")
    lightroom.select(photo, copy, video, stranger, new)
    message = write(lightroom)
    for text in (
        "1 videos",
        "1 virtual copies",
        "1 photos are in no folder",
        "1 photos are not analyzed yet",
    ):
        assert text in message
    assert all(lightroom.photo(other)["properties"] == {} for other in (copy, video, stranger, new))


def test_virtual_copies_get_results_when_asked_for(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)
    copy = lightroom.add_photo("/lib/p/00001.jpg", master=photo)
    lightroom.select(photo, copy)

    def copies_too(dialog: Dialog) -> str:
        dialog.set("copies", True)
        return "ok"

    write(lightroom, copies_too, agree)
    assert lightroom.photo(copy)["values"]["title"] == "Dog"


def test_a_path_with_accents_taken_apart_is_the_same_photo(lightroom: Lightroom) -> None:
    photo = lightroom.add_photo(NFD)
    lightroom.select(photo)
    write(lightroom)
    assert lightroom.photo(photo)["values"]["title"] == "Dog"


def test_the_path_map_leads_from_windows_to_the_daemon(results: Daemon, lightroom: Lightroom) -> None:
    lightroom.evaluate("local P = require 'Preferences' P.set('path_map', 'P:\\\\Pictures = /lib')")
    photo = lightroom.add_photo("P:\\Pictures\\p\\00007.jpg")
    lightroom.select(photo)
    write(lightroom)
    assert lightroom.photo(photo)["values"]["title"] == "Dog"


def test_without_a_selection_the_whole_filmstrip_is_asked_about(lightroom: Lightroom) -> None:
    add(lightroom, 3)
    lightroom.select()
    asked: list[str] = []

    def no(dialog: Dialog) -> str:
        asked.append(dialog.all_text)
        return "cancel"

    lightroom.menu("Write.lua", no)
    assert "3 photos" in asked[0]
    assert lightroom.requests == []


def test_an_older_lightroom_has_no_alternative_text(results: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    words(monkeypatch, "A dog", "Dog")
    with results.lightroom(version=(13, 1)) as old:
        (photo,) = add(old, 1)

        def check(dialog: Dialog) -> str:
            assert "Alternative text" not in dialog.texts()
            return "ok"

        write(old, check, agree)
        values = old.photo(photo)["values"]
        assert values["caption"] == "A dog"
        assert "altTextAccessibility" not in values


# ── parts, gates, cancelling ──────────────────────────────────────────────────────────────────


def test_calls_are_few_and_a_part_is_one_step_of_undo(lightroom: Lightroom) -> None:
    photos = add(lightroom, 450)
    before = state(lightroom, photos)
    lightroom.reset_counts()
    write(lightroom)
    counts = lightroom.counts
    assert counts["requests"] == 3
    assert counts["gates"] == 3
    assert counts.get("single_reads", 0) == 0
    assert lightroom.undo_steps == ["Write catalogd results"] * 3
    while lightroom.undo_steps:
        lightroom.undo()
    assert state(lightroom, photos) == before


def test_ten_thousand_photos_take_fifty_requests_and_a_gate_for_each_part_with_changes(
    lightroom: Lightroom,
) -> None:
    """Most of them are not analyzed, which keeps the test quick; bench_lightroom_plugin.py has all."""
    photos = add(lightroom, 10_000)
    lightroom.reset_counts()
    message = write(lightroom)
    assert "450 photos were written" in message
    assert "9,550 photos are not analyzed yet" in message
    assert lightroom.counts["requests"] == 50
    assert lightroom.counts["gates"] == 3
    assert lightroom.counts.get("single_reads", 0) == 0
    assert lightroom.photo(photos[449])["properties"]


def test_cancelled_in_the_middle_whole_parts_are_written(lightroom: Lightroom) -> None:
    photos = add(lightroom, 450)

    def later(dialog: Dialog) -> str:
        lightroom.cancel_at(200)
        return "ok"

    message = write(lightroom, agree, later)
    assert "Cancelled. 400 photos were written before." in message
    assert [bool(lightroom.photo(photo)["properties"]) for photo in photos] == [True] * 400 + [False] * 50


def test_cancelled_while_looking_up_nothing_is_written(lightroom: Lightroom) -> None:
    photos = add(lightroom, 450)
    lightroom.cancel_at(200)
    assert "Nothing was written" in write(lightroom, agree)
    assert not any(lightroom.photo(photo)["properties"] for photo in photos)


def test_a_contended_gate_is_waited_for(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)
    lightroom.contend(2)
    assert "1 photos were written" in write(lightroom)
    assert lightroom.photo(photo)["properties"]


def test_a_gate_that_stays_closed_is_said_and_what_was_done_stays(lightroom: Lightroom) -> None:
    photos = add(lightroom, 450)

    def later(dialog: Dialog) -> str:
        lightroom.contend(99)
        return "ok"

    write(lightroom, agree, later)
    (text,) = lightroom.messages
    assert "catalog is busy" in text
    assert "0 photos were written before" in text
    assert not any(lightroom.photo(photo)["properties"] for photo in photos)


def test_what_is_edited_between_the_preview_and_the_gate_is_kept(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)

    def edit(dialog: Dialog) -> str:
        lightroom.edit(photo, "caption", "Just typed")
        return "ok"

    write(lightroom, agree, edit)
    assert lightroom.photo(photo)["values"]["caption"] == "Just typed"
    assert lightroom.photo(photo)["values"]["title"] == "Dog"


@pytest.mark.parametrize(
    "note", ["no JSON", "7", '{"keywords": "dog", "caption": 7, "gps": {"latitude": "x"}}']
)
def test_a_note_of_another_version_is_nobodys(lightroom: Lightroom, note: str) -> None:
    """What `written` holds and is not understood: the texts there count as the person's."""
    (photo,) = add(lightroom, 1, caption="There already")
    gate = """
    local catalog = import('LrApplication').activeCatalog()
    local photo, note = catalog:getTargetPhoto(), ...
    catalog:withWriteAccessDo('x', function() photo:setPropertyForPlugin(_PLUGIN, 'written', note) end)
    """
    lightroom.evaluate(gate, note)
    assert "1 photos were written" in write(lightroom)
    assert lightroom.photo(photo)["values"]["caption"] == "There already"
    lightroom.menu("TakeBack.lua", selected, agree)
    assert lightroom.photo(photo)["values"]["caption"] == "There already"
    assert lightroom.photo(photo)["properties"] == {}


def test_a_text_is_written_as_lightroom_keeps_it(
    lightroom: Lightroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would look like an edit of the person's the next time."""
    words(monkeypatch, " A dog\r\non a beach \n", "Dog\nbeach ")
    (photo,) = add(lightroom, 1)
    write(lightroom)
    values = lightroom.photo(photo)["values"]
    assert (values["caption"], values["title"]) == ("A dog\non a beach", "Dog beach")
    assert "have all of it already" in write(lightroom, agree)
    lightroom.menu("TakeBack.lua", selected, agree)
    assert "caption" not in lightroom.photo(photo)["values"]


def test_a_label_is_ours_in_every_language_and_is_taken_back(
    results: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = {"rating": None, "label": "Green", "pick": None, "reasons": []}
    monkeypatch.setattr("catalogd.sync.results._proposal_json", lambda *_: proposal)
    with results.lightroom(language="de") as german:
        (photo,) = add(german, 1)
        write(german, everything, agree)
        assert german.photo(photo)["values"]["label"] == "Grün"
        german.menu("Write.lua", everything)
        assert "schon alles" in german.messages[-1]
        german.menu("TakeBack.lua", selected, agree)
        assert "label" not in german.photo(photo)["values"]


def test_what_a_gate_in_the_middle_left_over_is_written_the_next_time(lightroom: Lightroom) -> None:
    photos = add(lightroom, 450)

    def later(dialog: Dialog) -> str:
        lightroom.control[b"contended_after"] = lightroom.counts.get("gates", 0) + 1
        return "ok"

    write(lightroom, agree, later)
    (text,) = lightroom.messages
    assert "200 photos were written before" in text
    lightroom.control[b"contended_after"] = None
    assert "250 photos were written" in write(lightroom)
    assert all(lightroom.photo(photo)["properties"] for photo in photos)
    lightroom.menu("TakeBack.lua", selected, agree)
    assert not any(lightroom.photo(photo)["properties"] for photo in photos)


# ── the daemon ────────────────────────────────────────────────────────────────────────────────


def test_a_daemon_that_is_down_is_one_clear_dialog() -> None:
    with Lightroom(preferences={"address": "http://127.0.0.1:9"}) as lightroom:
        (photo,) = add(lightroom, 1)
        lightroom.menu("Write.lua", agree)
        assert len(lightroom.messages) == 1
        assert "catalogd run" in lightroom.messages[0]
        assert lightroom.photo(photo)["properties"] == {}


def test_a_wrong_token_is_said(results: Daemon) -> None:
    with results.lightroom(passwords={"catalogd api token": "wrong"}) as lightroom:
        add(lightroom, 1)
        lightroom.menu("Write.lua", agree)
        assert len(lightroom.messages) == 1
        assert "token" in lightroom.messages[0]


# ── taking back ───────────────────────────────────────────────────────────────────────────────


def selected(dialog: Dialog) -> str:
    return "ok"


def test_taking_back_restores_the_catalog(lightroom: Lightroom, monkeypatch: pytest.MonkeyPatch) -> None:
    proposal = {"rating": 3, "label": "Green", "pick": 1, "reasons": []}
    monkeypatch.setattr("catalogd.sync.results._proposal_json", lambda *_: proposal)
    photos = add(lightroom, 450)
    lightroom.tag(photos[0], "catalogd", "mine")
    lightroom.edit(photos[1], "caption", "Mine")
    lightroom.edit(photos[2], "rating", 5)
    lightroom.edit(photos[3], "city", "Voss")
    before = state(lightroom, photos)
    write(lightroom, everything, agree)
    assert state(lightroom, photos) != before
    lightroom.reset_counts()
    lightroom.menu("TakeBack.lua", selected, agree)
    assert state(lightroom, photos) == before
    assert lightroom.counts["gates"] == 3
    assert lightroom.requests == []
    assert "taken back from 450 photos" in lightroom.messages[-1]
    assert "5 keywords are on no photo now" in lightroom.messages[-1]


def test_taking_back_leaves_what_was_changed_since(lightroom: Lightroom) -> None:
    first, second = add(lightroom, 2)
    write(lightroom)
    lightroom.edit(first, "caption", "Rex at the beach")
    lightroom.menu("TakeBack.lua", selected, agree)
    assert lightroom.photo(first)["values"]["caption"] == "Rex at the beach"
    assert "you changed what catalogd wrote in 1 photos" in lightroom.messages[-1]
    assert "caption" not in lightroom.photo(second)["values"]
    assert lightroom.photo(first)["keywords"] == []
    assert lightroom.photo(first)["properties"] == {}


def test_taking_back_is_for_the_selected_or_for_all(lightroom: Lightroom) -> None:
    photos = add(lightroom, 4)
    write(lightroom)
    lightroom.select(photos[0])
    lightroom.menu("TakeBack.lua", selected, agree)
    assert [bool(lightroom.photo(photo)["keywords"]) for photo in photos] == [False, True, True, True]
    lightroom.select(photos[1])
    lightroom.menu("TakeBack.lua", lambda dialog: "other", agree)
    assert not any(lightroom.photo(photo)["keywords"] for photo in photos)
    lightroom.menu("TakeBack.lua")
    assert "has written nothing" in lightroom.messages[-1]


def test_what_was_taken_back_can_be_written_again(lightroom: Lightroom) -> None:
    (photo,) = add(lightroom, 1)
    write(lightroom)
    once = state(lightroom, [photo])
    lightroom.menu("TakeBack.lua", selected, agree)
    write(lightroom)
    assert state(lightroom, [photo]) == once


def test_taking_back_needs_no_daemon(results: Daemon, lightroom: Lightroom, tmp_path: Path) -> None:
    (photo,) = add(lightroom, 1)
    write(lightroom)
    lightroom.evaluate("local P = require 'Preferences' P.set('address', 'http://127.0.0.1:9')")
    lightroom.menu("TakeBack.lua", selected, agree)
    assert lightroom.photo(photo)["keywords"] == []
