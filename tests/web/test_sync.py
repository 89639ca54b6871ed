"""Sidecars by order of the API: written, looked at, taken back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from catalogd.records import Record
from catalogd.sync import Options
from tests.web.library import Library

PATIENCE_S = 30.0


@pytest.fixture
def library(own_library: Library) -> Library:
    return own_library


def ended(library: Library, job: dict[str, Any]) -> dict[str, Any]:
    """The job at its end."""
    end = time.monotonic() + PATIENCE_S
    while (now := library.get(f"/jobs/{job['job_id']}")["job"])["state"] in ("waiting", "running"):
        assert time.monotonic() < end
        time.sleep(0.02)
    return dict(now)


def applied(library: Library, **asked: Any) -> dict[str, Any]:
    return ended(library, library.post("/sync/apply", asked, 202)["job"])


def sidecars(library: Library) -> list[str]:
    return sorted(path.name for path in library.real.parent.glob("*.xmp"))


def test_sidecars_are_written_for_photos_that_are_there_and_the_run_is_named(library: Library) -> None:
    assert library.get("/sync/runs") == {"runs": []}
    job = applied(library)
    assert (job["kind"], job["state"], job["failed"]) == ("sync", "done", 0)
    assert job["done"] == job["total"]
    assert sidecars(library) == ["other.jpg.xmp", "real.jpg.xmp"]
    [run] = library.get("/sync/runs")["runs"]
    assert job["message"] == f"run {run}"


def test_a_query_chooses_the_photos_and_fields_what_is_written(library: Library) -> None:
    job = applied(library, q="name:other", fields=["scores"])
    assert (job["total"], job["done"]) == (1, 1)
    assert sidecars(library) == ["other.jpg.xmp"]
    written = (library.real.parent / "other.jpg.xmp").read_bytes()
    assert b"catalogd:" in written
    assert b"dc:subject" not in written
    assert library.post("/sync/apply", {"fields": ["shoe_size"]}, 422)["error"]["kind"] == "validation"
    assert library.post("/sync/apply", {"q": "camera:("}, 400)["error"]["kind"] == "query"


def test_the_status_says_what_is_to_write_and_then_that_all_is_in_sync(library: Library) -> None:
    before = library.get("/sync/status", params={"limit": 1000})
    assert before["counts"] == {"to_write": 2}
    rows = {os.path.basename(row["photo"]): row for row in before["sidecars"]}
    assert set(rows) == {"real.jpg", "other.jpg"}
    assert all(row["differences"] for row in rows.values())
    assert sidecars(library) == []
    applied(library)
    after = library.get("/sync/status", params={"limit": 1000})
    assert (after["counts"], after["sidecars"], after["next"]) == ({"in_sync": 2}, [], None)


def test_the_status_comes_in_pages(library: Library) -> None:
    photos, after, pages = 0, 0, 0
    while after is not None:
        page = library.get("/sync/status", params={"limit": 7, "after": after})
        photos, after, pages = photos + page["photos"], page["next"], pages + 1
    counts = library.backend.catalog.counts()
    assert photos == counts.indexed + counts.missing
    assert pages > 1


def test_what_was_written_is_taken_back(library: Library) -> None:
    applied(library)
    job = ended(library, library.post("/sync/undo", {}, 202)["job"])
    assert (job["kind"], job["state"], job["done"], job["total"]) == ("undo", "done", 2, 2)
    assert sidecars(library) == []
    assert library.get("/sync/runs") == {"runs": []}
    assert library.post("/sync/undo", {}, 400)["error"]["kind"] == "usage"
    assert library.post("/sync/undo", {"run": "../../x"}, 400)["error"]["kind"] == "usage"


def test_a_sidecar_that_can_not_be_understood_is_counted_and_stays(library: Library) -> None:
    broken = library.real.parent / "real.jpg.xmp"
    broken.write_bytes(b"<not xmp")
    job = applied(library)
    assert (job["state"], job["failed"]) == ("done", 1)
    assert "1 refused" in job["message"]
    assert broken.read_bytes() == b"<not xmp"


def test_one_job_at_a_time_and_a_cancelled_one_ends(library: Library) -> None:
    jobs = library.backend.sidecar_jobs
    started = time.monotonic()

    def endless() -> Iterator[Record]:
        """Photos of which none is there, as slow as a sleeping disk, for as long as the test is patient."""
        gone = library.backend.record(library.id_of(b"/lib/2023/Norway/dog_1.jpg"))
        while time.monotonic() - started < PATIENCE_S:
            time.sleep(0.05)
            yield gone

    job = jobs.apply(endless(), 1_000_000, Options(jobs=1))
    assert library.post("/sync/apply", {}, 409)["error"]["kind"] == "conflict"
    assert library.client.delete(f"/api/v1/jobs/{job.job_id}").status_code == 202
    assert ended(library, {"job_id": job.job_id})["state"] == "cancelled"
    assert applied(library)["state"] == "done"
