"""Analyze selected: the job of a real run over stub photos, from the menu to its end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalogd.settings import Settings
from tests import stubs
from tests.lightroom.daemon import Daemon
from tests.lightroom.sdk import Dialog, Lightroom
from tests.torture.library import Library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Watched by a run that is done with its first photos; shared, as a run takes seconds to start."""
    made = Library(tmp_path_factory.mktemp("watched"), inline=True)
    made.add("a.jpg", "sub/b.jpg")
    with made.start(once=False) as running:
        running.until(lambda: made.status().get("state") == "watching", "watching")
        running.until(lambda: len(made.records()) == 2, "the first photos")
        yield made


def served(library: Library) -> Daemon:
    return Daemon(library.catalog, settings=Settings(**{**library.settings, "catalog": library.catalog}))


def add(lightroom: Lightroom, library: Library, *names: str, **values: Any) -> list[Any]:
    return [lightroom.add_photo(str(library.photos / name), **values) for name in names]


def jobs(lightroom: Lightroom) -> list[str]:
    return [path for method, path, _ in lightroom.requests if method == "POST" and path.endswith("/analyze")]


def test_selected_photos_are_analyzed_once_each_and_videos_are_left_out(library: Library) -> None:
    bad = stubs.write_photo(library.photos, "bad.jpg", (1, 2, 3))
    Path(os.fsdecode(bad)).write_text("no photo")
    with served(library) as daemon, daemon.lightroom() as lightroom:
        photos = add(lightroom, library, "a.jpg", "sub/b.jpg", "bad.jpg")
        photos.append(lightroom.add_photo(str(library.photos / "a.jpg"), master=photos[0]))
        photos += add(lightroom, library, "film.mp4", fileFormat="VIDEO")
        lightroom.select(*photos)
        lightroom.menu("Analyze.lua")
        assert "The analysis is done." in lightroom.messages[-1]
        assert "Analyzed, or known already: 2. Could not be read: 1." in lightroom.messages[-1]
        assert "Videos left out: 1" in lightroom.messages[-1]
        assert "catalogd failures" in lightroom.messages[-1]
        assert len(jobs(lightroom)) == 1
        names = ("a.jpg", "sub/b.jpg", "bad.jpg")
        assert json.loads(lightroom.bodies[0] or b"") == {
            "paths": [str(library.photos / name) for name in names]
        }
        assert lightroom.scopes[-1]["finished"]
        assert "single_reads" not in lightroom.counts


def test_without_a_selection_the_number_is_confirmed_first(library: Library) -> None:
    with served(library) as daemon, daemon.lightroom() as lightroom:
        add(lightroom, library, "a.jpg", "sub/b.jpg")

        def refuse(dialog: Dialog) -> str:
            assert dialog.kind == "confirm"
            assert "Analyze all of these photos (2)?" in dialog.all_text
            assert "every photo in the filmstrip" in dialog.all_text
            return "cancel"

        lightroom.menu("Analyze.lua", refuse)
        assert jobs(lightroom) == []
        lightroom.menu("Analyze.lua", lambda dialog: "ok")
        assert "known already: 2." in lightroom.messages[-1]


def test_cancelling_drops_what_is_not_begun(library: Library) -> None:
    names = [f"later/slow-{number:03}.jpg" for number in range(150)]
    with served(library) as daemon, daemon.lightroom() as lightroom:
        lightroom.select(*add(lightroom, library, *names))
        library.add(*names)
        lightroom.cancel_at(0)
        lightroom.menu("Analyze.lua")
        assert "The analysis was cancelled." in lightroom.messages[-1]
        deleted = [path for method, path, _ in lightroom.requests if method == "DELETE"]
        assert len(deleted) == 1
        assert "/jobs/" in deleted[0]


def test_without_a_run_it_says_what_to_start(lightroom: Lightroom) -> None:
    lightroom.select(lightroom.add_photo("/lib/2024/beach.jpg"))
    lightroom.menu("Analyze.lua")
    assert "no run is indexing" in lightroom.messages[-1]
    assert "catalogd run" in lightroom.messages[-1]


def test_photos_outside_the_libraries_are_refused_with_their_place(library: Library) -> None:
    with served(library) as daemon, daemon.lightroom() as lightroom:
        lightroom.select(lightroom.add_photo("/elsewhere/a.jpg"))
        lightroom.menu("Analyze.lua")
        assert "/elsewhere/a.jpg" in lightroom.messages[-1]


def test_an_empty_filmstrip_is_said(lightroom: Lightroom) -> None:
    lightroom.menu("Analyze.lua")
    assert "There are no photos here." in lightroom.messages[-1]
    assert lightroom.requests == []


def test_a_daemon_that_goes_away_in_the_middle_is_said_once(library: Library) -> None:
    with served(library) as daemon, daemon.lightroom() as lightroom:
        lightroom.select(*add(lightroom, library, "a.jpg", "sub/b.jpg"))
        lightroom.before_request = lambda method, path: daemon.server.close() if "/jobs/" in path else None
        lightroom.menu("Analyze.lua")
        assert len(lightroom.messages) == 1
        assert "does not answer" in lightroom.messages[0]
