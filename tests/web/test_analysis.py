"""POST /analyze and /jobs: orders left for a run, and how far they are."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from catalogd.errors import CatalogLockedError
from catalogd.jobs import Job, JobBook
from catalogd.run_state import Lock, Progress, write_status
from tests.web.library import Library

QUIET = Progress("watching", False, 0, 0, 0, 0, 0, 0, {}, 0.0, None, "-", 0, 0, 0.0, (), ())


@pytest.fixture
def library(own_library: Library) -> Library:
    return own_library


@pytest.fixture
def run(library: Library) -> Iterator[JobBook]:
    """A run is alive, as far as other processes can see."""
    lock = Lock(library.settings.catalog)
    root = os.fsencode(os.path.realpath(library.real.parent))
    write_status(library.settings.catalog, [root], "starter", 0.0, QUIET, running=True)
    yield JobBook(library.settings.catalog)
    lock.release()


def test_without_a_run_nothing_is_ordered_and_the_answer_says_what_to_start(library: Library) -> None:
    answer = library.post("/analyze", {"paths": [str(library.real)]}, 409)
    assert answer["error"]["kind"] == "conflict"
    assert "catalogd run" in answer["error"]["message"]
    assert JobBook(library.settings.catalog).orders() == []


def test_an_order_waits_for_the_run_with_the_real_paths(library: Library, run: JobBook) -> None:
    paths = [str(library.real), str(library.real.parent), str(library.real)]
    job = library.post("/analyze", {"paths": paths, "force": True}, 202)["job"]
    assert (job["kind"], job["state"], job["total"], job["done"]) == ("analyze", "waiting", 2, 0)
    [order] = run.orders()
    real = os.fsencode(os.path.realpath(library.real))
    assert (order.job_id, order.force) == (job["job_id"], True)
    assert order.paths == (real, os.path.dirname(real))
    assert library.get("/jobs")["jobs"] == [job]
    assert library.get(f"/jobs/{job['job_id']}")["job"] == job


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.jpg", "relative.jpg", "/lib/../etc/passwd", "a\0b"])
def test_paths_outside_the_libraries_are_refused_and_nothing_is_ordered(
    library: Library, run: JobBook, path: str
) -> None:
    answer = library.post("/analyze", {"paths": [str(library.real), path]}, 400)
    assert answer["error"]["kind"] == "outside"
    assert run.orders() == []


def test_a_link_that_leads_out_of_the_library_is_refused(library: Library, run: JobBook) -> None:
    (library.real.parent / "link.jpg").symlink_to("/etc/passwd")
    library.post("/analyze", {"paths": [str(library.real.parent / "link.jpg")]}, 400)
    assert run.orders() == []


def test_a_job_is_cancelled_once_the_run_hears_of_it(library: Library, run: JobBook) -> None:
    job_id = library.post("/analyze", {"paths": [str(library.real)]}, 202)["job"]["job_id"]
    answer = library.client.delete(f"/api/v1/jobs/{job_id}")
    assert answer.status_code == 202
    assert run.cancelled() == {job_id}
    run.tell(Job(job_id, "analyze", "cancelled", 1, created_at=1.0, finished_at=2.0))
    assert library.get(f"/jobs/{job_id}")["job"]["state"] == "cancelled"
    assert run.orders() == []


def test_a_job_that_nobody_knows_is_a_404(library: Library) -> None:
    assert library.get("/jobs/0123", 404)["error"]["kind"] == "not_found"
    assert library.client.delete("/api/v1/jobs/..%2f..%2fstore").status_code == 404


def test_the_lock_of_the_fixture_is_one_of_a_run(library: Library, run: JobBook) -> None:
    with pytest.raises(CatalogLockedError):
        Lock(library.settings.catalog, patience_s=0.0)
