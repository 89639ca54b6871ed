"""Health, status, failures, settings, models, numbers and events."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import Any

import msgspec
import pytest

from catalogd import __version__
from catalogd.catalog import Counts
from catalogd.jobs import Job
from catalogd.run_state import Lock, take_requests
from catalogd.settings import Settings
from catalogd.web import pulse as pulses
from catalogd.web.metrics import Counted, Metrics
from catalogd.web.pulse import Moment, Pulse
from catalogd.web.routes import events
from catalogd.web.routes.events import Told
from tests.web.asgi import ask
from tests.web.library import API, BROKEN, Library

RUN = {"pid": 1, "state": "indexing", "rate": 2.5, "pending": 7, "updated_at": 1.0, "elapsed_s": 1.0}
COUNTS = Counts(indexed=5, missing=1, failed=2, commit=3)
JOB = Job("a" * 32, "analyze", "running", total=2, created_at=1.0, pid=7)


def test_health_says_that_catalogd_answers_and_no_more(library: Library) -> None:
    assert library.get("/health") == {"status": "ok", "version": __version__}


def test_status_counts_the_catalog_and_has_no_run_where_none_is_alive(library: Library) -> None:
    found = library.get("/status")
    counts = library.backend.catalog.counts()
    assert found["catalog"] == {"indexed": counts.indexed, "missing": 1, "failed": 1, "commit": counts.commit}
    assert (found["run"], found["profile"], found["version"]) == (None, "starter", __version__)
    assert found["uptime_s"] >= 0


def test_status_has_the_run_that_is_alive(own_library: Library) -> None:
    catalog = own_library.settings.catalog
    status = {"pid": 1, "host": "here", "running": True, "state": "watching", "roots": ["/lib"]}
    (catalog / "run.json").write_text(json.dumps(status))
    assert own_library.get("/status")["run"] is None  # it left run.json behind, and no lock
    lock = Lock(catalog)
    try:
        assert own_library.get("/status")["run"] == status
        assert own_library.post("/failures/retry", {}) == {"retried": 1, "run": True}
    finally:
        lock.release()


# ── failures ──────────────────────────────────────────────────────────────────────────────────


def test_failures_come_in_pages_or_lines(library: Library) -> None:
    page = library.get("/failures", params={"limit": 1})
    [failure] = page["failures"]
    assert (failure["path"], page["next"]) == (BROKEN, None)
    assert failure.keys() == {"path", "stage", "reason", "message", "tries", "failed_at"}
    lines = library.client.get(f"{API}/failures", headers={"Accept": "application/x-ndjson"})
    assert [json.loads(line) for line in lines.text.splitlines()] == [failure]


def test_pages_of_failures_hold_each_once(own_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = own_library.backend.catalog.failures()
    paths = [b"/lib/%03d.jpg" % number for number in range(25)]
    many = [msgspec.structs.replace(first, path=path) for path in reversed(paths)]
    monkeypatch.setattr(own_library.backend.catalog, "failures", lambda: many)
    found: list[str] = []
    asked: dict[str, Any] = {"limit": 10}
    while True:
        page = own_library.get("/failures", params=asked)
        found += [failure["path"] for failure in page["failures"]]
        if page["next"] is None:
            break
        asked["cursor"] = page["next"]
    assert found == [path.decode() for path in paths]
    assert own_library.get("/failures", 400, params={"cursor": "made up"})["error"]["kind"] == "usage"


def test_failed_photos_are_tried_again_by_the_run(own_library: Library) -> None:
    assert own_library.post("/failures/retry", {"paths": [BROKEN, BROKEN]}) == {"retried": 1, "run": False}
    assert list(take_requests(own_library.settings.catalog)) == [[BROKEN.encode()]]
    assert own_library.post("/failures/retry", {})["retried"] == 1
    assert list(take_requests(own_library.settings.catalog)) == [[BROKEN.encode()]]
    assert own_library.post("/failures/retry", {"paths": []})["retried"] == 0
    assert not list(take_requests(own_library.settings.catalog))


def test_a_photo_that_did_not_fail_is_not_tried_again(library: Library) -> None:
    assert (
        library.post("/failures/retry", {"paths": [BROKEN, "/etc/passwd"]}, 404)["error"]["kind"]
        == "not_found"
    )
    assert library.post("/failures/retry", {"path": [BROKEN]}, 422)["error"]["kind"] == "validation"
    assert not list(take_requests(library.settings.catalog))


# ── settings and models ───────────────────────────────────────────────────────────────────────


def test_settings_are_told_without_the_token(library: Library) -> None:
    found = library.get("/settings")
    assert found.keys() == {field.name for field in dataclasses.fields(Settings)}
    assert found["catalog"] == str(library.settings.catalog)
    assert (found["http_token_file"], found["http_port"], found["thumbnails"]) == (None, 8766, True)


def test_models_say_what_they_are_for_and_whether_they_are_here(library: Library) -> None:
    found = {model["name"]: model for model in library.get("/models")}
    assert found["signature"]["state"] == "ready"
    assert found["faces"]["fingerprint"].startswith("yunet+sface@")
    assert (found["faces"]["id"], found["faces"]["licence"]) == ("yunet-sface", "MIT, Apache-2.0")
    assert found.keys() == {"embedding", "faces", "text", "objects", "quality", "signature"}


# ── numbers ───────────────────────────────────────────────────────────────────────────────────


def test_numbers_are_in_the_format_of_prometheus(library: Library) -> None:
    answer = library.client.get(f"{API}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert f'catalogd_photos{{state="indexed"}} {library.backend.catalog.counts().indexed}.0' in lines
    assert "catalogd_failures 1.0" in lines
    assert 'catalogd_run_state{state="none"} 1.0' in lines


def test_the_run_and_its_jobs_are_numbers_too() -> None:
    text = Metrics().render(Moment(RUN, COUNTS, (JOB,)), 12.5).decode().splitlines()
    assert 'catalogd_run_state{state="indexing"} 1.0' in text
    assert 'catalogd_run_state{state="none"} 0.0' in text
    assert "catalogd_run_photos_per_second 2.5" in text
    assert "catalogd_run_pending 7.0" in text
    assert 'catalogd_jobs{state="running"} 1.0' in text
    assert "catalogd_uptime_seconds 12.5" in text


def test_answers_are_counted_by_route_and_not_by_what_was_asked(library: Library) -> None:
    metrics = Metrics()
    app = Counted(library.client.app, metrics)
    photo_id = library.id_of(library.real)
    for path in ("/photos/1", f"/photos/{photo_id}", "/nothing/here", "/nothing/there"):
        ask(app, API + path)
    ask(app, API + "/search", query=b"q=dog")
    ask(app, API + "/status", method="BREW")
    text = metrics.render(Moment(None, COUNTS, ()), 1.0).decode().splitlines()
    assert 'catalogd_requests_total{method="GET",route="/photos/{photo_id}",status="200"} 1.0' in text
    assert 'catalogd_requests_total{method="GET",route="/photos/{photo_id}",status="404"} 1.0' in text
    assert 'catalogd_requests_total{method="GET",route="none",status="404"} 2.0' in text
    assert any('method="other"' in line and 'status="405"' in line for line in text)
    assert "catalogd_search_seconds_count 1.0" in text


# ── events ────────────────────────────────────────────────────────────────────────────────────


def heard(said: list[bytes]) -> list[tuple[str, Any]]:
    """Events as (name, value)."""
    blocks = b"".join(said).decode().split("\n\n")[:-1]
    found = []
    for block in blocks:
        name, value = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(value.removeprefix("data: "))))
    return found


def test_a_listener_is_told_how_things_are_and_then_what_changes() -> None:
    told = Told()
    first = heard(list(told.news(Moment(RUN, COUNTS, (JOB,)))))
    assert [name for name, _ in first] == ["progress", "commit", "job"]
    assert first[1][1] == {"commit": 3, "indexed": 5}
    assert first[2][1]["job_id"] == JOB.job_id
    later = {**RUN, "updated_at": 2.0, "elapsed_s": 2.0}
    assert not list(told.news(Moment(later, COUNTS, (JOB,))))
    done = msgspec.structs.replace(JOB, state="done", done=2, finished_at=5.0)
    [(name, job)] = heard(list(told.news(Moment(later, COUNTS, (done,)))))
    assert (name, job["state"], job["done"]) == ("job", "done", 2)
    more = COUNTS._replace(commit=4)
    assert heard(list(told.news(Moment(later, more, (done,))))) == [("commit", {"commit": 4, "indexed": 5})]
    assert heard(list(told.news(Moment(None, more, (done,))))) == [("progress", None)]


async def listen(pulse: Pulse, most: int) -> list[bytes]:
    said = []
    async for part in events._news(pulse):
        said.append(part)
        if len(said) == most:
            break
    return said


def test_a_silent_stream_shows_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulses, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.03)
    said = asyncio.run(listen(Pulse(lambda: Moment(None, COUNTS, ())), 3))
    assert said[1:] == [events.HEARTBEAT] * 2


def test_many_listeners_cost_one_look_and_end_together_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def look() -> Moment:
        looks.append(time.monotonic())
        return Moment(None, Counts(len(looks), 0, 0, len(looks)), ())

    async def many() -> float:
        pulse = Pulse(look)
        listeners = [asyncio.create_task(listen(pulse, 1000)) for _ in range(200)]
        await asyncio.sleep(0.3)
        pulse.stop()
        start = time.monotonic()
        said = await asyncio.gather(*listeners)
        assert all(len(parts) >= 1 for parts in said)
        return time.monotonic() - start

    assert asyncio.run(many()) < 0.5
    assert len(looks) == 1
