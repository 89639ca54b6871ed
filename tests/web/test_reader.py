"""Photos read for the API: whatever a decoder does, that photo is refused and the server goes on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from catalogd.catalog import Catalog
from catalogd.errors import CrashedError, DeadlineError, PhotoError, ResourceError, TooLargeError, UsageError
from catalogd.images import fingerprint_file, read_frame
from catalogd.query.pictures import PictureEncoder
from catalogd.records import Stat
from catalogd.settings import Settings
from catalogd.web import reader
from catalogd.web.reader import Reader
from tests import stubs
from tests.catalog.photos import PROFILE, photo
from tests.factory import scene, write_plain_jpeg
from tests.web.library import API, Library, opened

SETTINGS = Settings(catalog=Path("/nonexistent"), frame_edge_px=64, read_deadline_s=3.0)
PATIENCE_S = 20.0
KINDS = ("segfault", "hang", "memory", "good")


@pytest.fixture(scope="module")
def stubbed() -> Iterator[Reader]:
    """One for all tests, so that each begins with what the one before has left."""
    with Reader(SETTINGS, stubs.read) as found:
        yield found


def read(read: Reader, path: bytes) -> np.ndarray:
    """The frame of a stub photo."""
    pixels = np.zeros(SETTINGS.frame_edge_px**2 * 3, np.uint8)
    reading = read(path, pixels, SETTINGS)
    assert (reading.height, reading.width) == stubs.SIZE
    return pixels[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("segfault.jpg", CrashedError, "its reader died of SIGSEGV"),
        ("abort.jpg", CrashedError, "its reader died of SIGABRT"),
        ("exit.jpg", CrashedError, "its reader ended with exit code 0"),
        ("hang.jpg", DeadlineError, "longer than 3 s (setting read_deadline_s)"),
        ("stopped.jpg", DeadlineError, "longer than 3 s"),
        ("memory.jpg", TooLargeError, "more than a reader's"),
        ("stderr.jpg", PhotoError, "much was said"),
        ("garbage.jpg", CrashedError, "does not hold the frame"),
    ],
)
def test_what_a_decoder_does_costs_its_photo_alone(
    stubbed: Reader, tmp_path: Path, name: str, error: type[Exception], says: str
) -> None:
    bad, good = stubs.write_photo(tmp_path, name), stubs.write_photo(tmp_path, "good.jpg", (1, 2, 3))
    with pytest.raises(error, match=says.replace("(", r"\(").replace(")", r"\)")):
        read(stubbed, bad)
    assert (read(stubbed, good) == (1, 2, 3)).all()


def test_a_photo_is_read_as_in_this_process(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "a.jpg")
    write_plain_jpeg(tmp_path / "a.jpg", scene(90, 120))
    settings = replace(SETTINGS, catalog=tmp_path / "catalog")
    here, there = (np.zeros(64 * 64 * 3, np.uint8) for _ in range(2))
    with Reader(settings) as ours:
        assert ours(path, there, settings) == read_frame(path, here, settings)
    assert (here == there).all()
    assert not (tmp_path / "catalog").exists(), "a look keeps no thumbnail"


def test_the_process_ends_when_nobody_asks_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "IDLE_S", 0.1)
    path = stubs.write_photo(tmp_path, "a.jpg")
    with Reader(SETTINGS, stubs.read) as ours:
        assert ours._thread is None, "nothing was asked yet"
        for _ in range(2):
            read(ours, path)
            thread = ours._thread
            assert thread is not None
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_a_process_that_was_killed_while_idle_costs_no_photo(tmp_path: Path) -> None:
    """The system's out-of-memory killer takes what it likes."""
    path = stubs.write_photo(tmp_path, "pid.jpg")
    with Reader(SETTINGS, _killed_after_its_answer) as ours:
        for _ in range(2):
            read(ours, path)
            time.sleep(0.5)


def _killed_after_its_answer(path: bytes, pixels: np.ndarray, settings: object) -> Any:
    threading.Timer(0.2, os._exit, (1,)).start()
    return stubs.read(path, pixels, settings)


def test_closing_waits_for_no_photo_and_refuses_the_next(tmp_path: Path) -> None:
    path = stubs.write_photo(tmp_path, "hang.jpg")
    ours = Reader(replace(SETTINGS, read_deadline_s=3600.0), stubs.read)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(read, ours, path) for _ in range(3)]
        while ours._queue.qsize() < 2:
            time.sleep(0.01)
        ours.close()
        for one in asked:
            with pytest.raises(ResourceError, match="the server ends"):
                one.result(PATIENCE_S)
    with pytest.raises(ResourceError):
        read(ours, path)


def test_no_more_wait_than_are_soon_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_WAITING", 0)
    with Reader(SETTINGS, stubs.read) as ours, pytest.raises(ResourceError, match="ask again"):
        read(ours, stubs.write_photo(tmp_path, "a.jpg"))


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Photos of which decoders die, in the catalog."""
    folder = tmp_path_factory.mktemp("deadly")
    with opened(folder, stubs.read, read_deadline_s=2.0) as found:
        with Catalog.open(found.settings.catalog, found.settings, write=True) as catalog:
            catalog.commit([_record(folder, name) for name in KINDS], PROFILE)
        yield found


def _record(folder: Path, name: str) -> Any:
    path = stubs.write_photo(folder, f"{name}.jpg", tuple(name[:3].encode()))
    stat = os.stat(path)
    made = photo(os.fsdecode(path))
    return msgspec.structs.replace(
        made, stat=Stat(stat.st_size, stat.st_mtime_ns), content=fingerprint_file(path)
    )


def preview(library: Library, name: str) -> Any:
    return library.client.get(f"{API}/photos/{library.id_of(library.folder / f'{name}.jpg')}/preview")


@pytest.mark.parametrize(
    ("name", "says"), [("segfault", "SIGSEGV"), ("hang", "longer than 2 s"), ("memory", "more than a reader")]
)
def test_a_preview_of_a_photo_that_kills_its_decoder_is_an_error(
    library: Library, name: str, says: str
) -> None:
    refused = preview(library, name)
    assert refused.status_code == 422
    assert refused.json()["error"]["kind"] == "photo"
    assert says in refused.json()["error"]["message"]
    library.backend.pictures._kept.clear()
    assert preview(library, "good").status_code == 200


def test_an_upload_that_kills_its_decoder_is_an_error(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalogd.web.routes.search.UPLOAD_PREFIX", "segfault-")
    answer = library.client.post(f"{API}/similar/upload", content=b"1 2 3")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the picture: its reader died of SIGSEGV"
    assert preview(library, "good").status_code == 200


def test_a_file_that_a_command_names_is_read_apart_too(stubbed: Reader, tmp_path: Path) -> None:
    """The socket of the commands is served by the same process."""
    encode = PictureEncoder(SETTINGS, stubbed)
    with pytest.raises(UsageError, match="SIGSEGV"):
        encode(stubs.write_photo(tmp_path, "segfault.jpg"))
