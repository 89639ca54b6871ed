"""Orders: photos that somebody wants analysed now, taken by a real run with stub decoder and models."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalogd.cli import cli
from catalogd.errors import NotFoundError
from catalogd.jobs import Job, JobBook, new_job
from tests import stubs
from tests.torture.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path, inline=True)


def finished(book: JobBook, job_id: str) -> Job | None:
    job = book.job(job_id)
    return job if job.has_ended else None


def test_an_order_that_waits_is_done_by_the_next_run(library: Library) -> None:
    paths = library.add("a.jpg", "sub/b.jpg", "sub/c.jpg")
    assert library.run() == 0
    book = JobBook(library.catalog)
    job = book.order([paths[0], os.path.dirname(paths[1])], force=True)
    assert (book.job(job.job_id).state, book.job(job.job_id).total) == ("waiting", 2)
    assert "catalogd run" in book.job(job.job_id).message
    library.forget_notes()
    assert library.run() == 0
    ended = book.job(job.job_id)
    assert (ended.state, ended.total, ended.done, ended.failed) == ("done", 3, 3, 0)
    assert library.reads() == {"a.jpg": 1, "sub/b.jpg": 1, "sub/c.jpg": 1}
    assert book.orders() == []
    library.assert_whole()


def test_without_force_what_is_current_counts_as_done_and_is_not_read(library: Library) -> None:
    paths = library.add("a.jpg", "b.jpg")
    assert library.run() == 0
    book = JobBook(library.catalog)
    job = book.order(paths)
    library.forget_notes()
    assert library.run() == 0
    assert (book.job(job.job_id).state, book.job(job.job_id).done) == ("done", 2)
    assert not library.reads()


def test_a_photo_that_failed_is_tried_again_and_one_that_is_gone_has_failed(library: Library) -> None:
    library.add("good.jpg")
    bad = stubs.write_photo(library.photos, "bad.jpg", (1, 2, 3))
    Path(os.fsdecode(bad)).write_text("no photo")
    assert library.run() == 3
    book = JobBook(library.catalog)
    job = book.order([bad, os.path.join(os.path.dirname(bad), b"gone.jpg")])
    library.forget_notes()
    assert library.run() == 3
    ended = book.job(job.job_id)
    assert (ended.state, ended.total, ended.done, ended.failed) == ("done", 2, 2, 2)
    assert library.reads() == {"bad.jpg": 1}


def test_what_is_outside_the_libraries_or_no_photo_is_not_read(library: Library, tmp_path: Path) -> None:
    library.add("a.jpg", "left_out/b.jpg")
    outside = stubs.write_photo(tmp_path / "elsewhere", "c.jpg", (50, 60, 70))
    assert library.run(exclude=("left_out",)) == 0
    book = JobBook(library.catalog)
    names = ("left_out/b.jpg", "left_out", "notes.txt", ".hidden.jpg")
    job = book.order([outside, *(os.fsencode(library.photos / name) for name in names)], force=True)
    library.forget_notes()
    assert library.run(exclude=("left_out",)) == 0
    assert (book.job(job.job_id).state, book.job(job.job_id).total) == ("done", 0)
    assert "no photo" in book.job(job.job_id).message
    assert not library.reads()


def test_two_orders_of_one_photo_are_both_done(library: Library) -> None:
    [path] = library.add("a.jpg")
    assert library.run() == 0
    book = JobBook(library.catalog)
    jobs = [book.order([path], force=force) for force in (False, True, True)]
    library.forget_notes()
    assert library.run() == 0
    ended = [book.job(job.job_id) for job in jobs]
    assert [(job.state, job.done, job.total) for job in ended] == [("done", 1, 1)] * 3
    assert library.reads() == {"a.jpg": 1}


def test_a_watching_run_takes_orders_and_is_cancelled_in_the_middle(library: Library) -> None:
    paths = library.add(*(f"slow-{number:03}.jpg" for number in range(40)))
    book = JobBook(library.catalog)
    with library.start(once=False) as run:
        run.until(lambda: library.status().get("state") == "watching", "the first scan")
        library.forget_notes()
        job = book.order(paths, force=True)
        run.until(lambda: library.reads(), "the first photo of the order")
        book.cancel(job.job_id)
        ended = run.until(lambda: finished(book, job.job_id), "the end of the order")
        assert ended.state == "cancelled"
        assert ended.total == 40
        assert ended.done < 40
        assert book.orders() == []
        again = book.order(paths[:3], force=True)
        done = run.until(lambda: finished(book, again.job_id), "the end of the second order")
        assert (done.state, done.done) == ("done", 3)
        os.killpg(run.process.pid, signal.SIGTERM)
        assert run.wait() == 0
    library.assert_whole()


def test_an_order_survives_a_run_that_is_killed_in_the_middle(library: Library) -> None:
    """The next run goes on where it was: what was settled first is not read again."""
    paths = library.add(*(f"slow-{number:03}.jpg" for number in range(60)))
    assert library.run(inline=False) == 0
    book = JobBook(library.catalog)
    job = book.order(paths, force=True)
    library.forget_notes()
    with library.start(once=False) as run:
        run.until(lambda: (book.told(job.job_id) or job).reached > 3, "some photos of the order")
        os.killpg(run.process.pid, signal.SIGKILL)
    reached = (book.told(job.job_id) or job).reached
    assert book.job(job.job_id).state == "waiting"
    library.forget_notes()
    assert library.run(inline=False) == 0
    ended = book.job(job.job_id)
    assert (ended.state, ended.done, ended.total) == ("done", 60, 60)
    assert sum(library.reads().values()) == 60 - reached
    library.assert_whole()


def test_jobs_of_a_process_that_is_gone_have_failed(library: Library) -> None:
    library.catalog.mkdir(parents=True)
    book = JobBook(library.catalog)
    job = new_job("sync", 5)
    book.tell(job)
    assert book.job(job.job_id).state == "running"
    book.tell(Job(job.job_id, "sync", "running", 5, pid=2**22 + 1, created_at=job.created_at))
    assert book.job(job.job_id).state == "failed"
    with pytest.raises(NotFoundError, match="kept for a day"):
        book.job("../../etc/passwd")


def test_jobs_that_ended_are_forgotten_after_a_day(library: Library) -> None:
    library.catalog.mkdir(parents=True)
    book = JobBook(library.catalog)
    book.tell(Job("0" * 32, "sync", "done", finished_at=1.0))
    book.tell(Job("1" * 32, "sync", "running", pid=os.getpid()))
    book.prune()
    assert [job.job_id for job in book.jobs()] == ["1" * 32]


def test_an_order_that_can_not_be_read_is_left_alone(library: Library) -> None:
    library.add("a.jpg")
    (library.catalog / "jobs").mkdir(parents=True)
    broken = library.catalog / "jobs" / ("a" * 32 + ".order")
    broken.write_bytes(b"\xff\xff")
    assert library.run() == 0
    assert JobBook(library.catalog).orders() == []
    assert broken.exists()


# ── the command ───────────────────────────────────────────────────────────────────────────────


def command(library: Library, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["--catalog", str(library.catalog), "analyze", *arguments])
    return done.exit_code, done.output


def test_the_command_waits_for_the_run_and_says_what_became_of_it(library: Library) -> None:
    library.add("a.jpg", "b.jpg")
    with library.start(once=False) as run:
        run.until(lambda: library.status().get("state") == "watching", "the first scan")
        library.forget_notes()
        code, output = command(library, str(library.photos), "--force")
        assert (code, "done: 2 of 2 photos" in output) == (0, True)
        assert library.reads() == {"a.jpg": 1, "b.jpg": 1}
        code, output = command(library, str(library.photos.parent))
        assert (code, "in none of the folders of the run" in output) == (2, True)


def test_without_a_run_the_order_waits_and_is_listed_and_cancelled(library: Library) -> None:
    library.add("a.jpg")
    assert library.run() == 0
    code, output = command(library, str(library.photos))
    assert (code, "the next `catalogd run` does it" in output) == (0, True)
    [job] = JobBook(library.catalog).jobs()
    assert job.job_id in command(library, "--list")[1]
    assert command(library, "--cancel", job.job_id)[0] == 0
    library.forget_notes()
    assert library.run() == 0
    assert not library.reads()
    assert "cancelled" in command(library, "--list")[1]


def test_the_command_wants_one_thing_at_a_time(library: Library) -> None:
    library.add("a.jpg")
    assert library.run() == 0
    for arguments in ([], [str(library.photos), "--list"], ["--cancel", "nobody"]):
        assert command(library, *arguments)[0] == 2
