"""Orders: photos that somebody wants analysed now, taken by a real run with stub decoder and models."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalogd.cli import cli
from catalogd.daemon.orders import Orders
from catalogd.errors import CatalogError, NotFoundError
from catalogd.jobs import KEPT_S, Job, JobBook, Order, new_job
from catalogd.pipeline.scan import Rules
from catalogd.run_state import Lock
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


# ── without a run: the files, and the daemon's side of them ───────────────────────────────────


@pytest.fixture
def book(tmp_path: Path) -> JobBook:
    (tmp_path / "catalog").mkdir()
    return JobBook(tmp_path / "catalog")


def orders_of(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "catalog", [os.fsencode(tmp_path)], Rules(frozenset((b"jpg",))))


def photos_of(tmp_path: Path, count: int) -> list[bytes]:
    return [os.fsencode(tmp_path / f"{number}.jpg") for number in range(count)]


def full_disk(self: JobBook, name: str, content: bytes) -> None:
    raise CatalogError("no space left on device")


def test_what_is_done_on_a_full_disk_is_told_later_and_not_done_again(
    tmp_path: Path, book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order whose end could not be told was begun anew every second."""
    job, other = (book.order(photos_of(tmp_path, 2)) for _ in range(2))
    book.cancel(other.job_id)
    with monkeypatch.context() as disk:
        disk.setattr(JobBook, "_write", full_disk)
        orders = orders_of(tmp_path)
        orders.turn()
        while (ordered := orders.take()) is not None:
            orders.settled(ordered.path)
        orders.look()
        orders.look()
        assert (orders.take(), orders.waiting) == (None, 0)
        assert len(book.orders()) == 1
    orders.look()
    assert (book.job(job.job_id).state, book.job(job.job_id).done) == ("done", 2)
    assert book.orders() == []


def test_an_end_that_was_told_before_the_run_was_killed_is_one(tmp_path: Path, book: JobBook) -> None:
    job = book.order(photos_of(tmp_path, 3), force=True)
    order = (tmp_path / "catalog/jobs" / f"{job.job_id}.order").read_bytes()
    book.tell(Job(job.job_id, "analyze", "cancelled", 3, finished_at=time.time()))
    (tmp_path / "catalog/jobs" / f"{job.job_id}.order").write_bytes(order)
    orders = orders_of(tmp_path)
    orders.turn()
    assert (orders.take(), book.orders()) == (None, [])


def test_a_run_reads_an_order_once_however_long_it_is(
    tmp_path: Path, book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    order = JobBook._order

    def noting(self: JobBook, job_id: str) -> Order | None:
        reads.append(job_id)
        return order(self, job_id)

    monkeypatch.setattr(JobBook, "_order", noting)
    job = book.order(photos_of(tmp_path, 100))
    orders = orders_of(tmp_path)
    for _ in range(3):
        orders.look()
        assert book.jobs()[0].job_id == job.job_id
    assert reads == [job.job_id]


def test_a_job_that_ends_while_it_is_looked_for_is_found(
    book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told after the jobs were read, and its order was gone when the orders were."""
    job = book.order([b"/lib/a.jpg"])

    def ends(self: JobBook, job_id: str) -> None:
        book.tell(Job(job.job_id, "analyze", "done", 1, 1, finished_at=time.time()))

    monkeypatch.setattr(JobBook, "_order", ends)
    assert [found.state for found in book.jobs()] == ["done"]


def test_only_the_lock_of_a_run_keeps_an_order_that_is_cancelled(tmp_path: Path, book: JobBook) -> None:
    job = book.order([b"/lib/a.jpg"])
    lock = Lock(tmp_path / "catalog")
    assert book.cancel(job.job_id).state == "waiting"
    assert (book.cancelled(), len(book.orders())) == ({job.job_id}, 1)
    lock.release()
    assert book.cancel(job.job_id).state == "cancelled"
    assert (book.cancelled(), book.orders()) == (set(), [])


def test_what_processes_that_were_killed_left_is_forgotten(tmp_path: Path, book: JobBook) -> None:
    long_ago = time.time() - KEPT_S - 60
    book.tell(Job("1" * 32, "sync", "running", created_at=long_ago, pid=2**22 + 1))
    book.tell(Job("2" * 32, "sync", "running", created_at=time.time(), pid=2**22 + 1))
    half, fresh = (tmp_path / "catalog/jobs" / f".{name}.order.x" for name in ("old", "new"))
    half.touch()
    os.utime(half, (long_ago, long_ago))
    fresh.touch()
    book.prune()
    assert [job.job_id for job in book.jobs()] == ["2" * 32]
    assert (half.exists(), fresh.exists()) == (False, True)


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
    code, output = command(library, "--cancel", job.job_id)
    assert (code, "cancelled" in output) == (0, True)
    assert JobBook(library.catalog).orders() == []  # at once: nobody works on it
    library.forget_notes()
    assert library.run() == 0
    assert not library.reads()
    assert "cancelled" in command(library, "--list")[1]


def test_the_command_wants_one_thing_at_a_time(library: Library) -> None:
    library.add("a.jpg")
    assert library.run() == 0
    for arguments in ([], [str(library.photos), "--list"], ["--cancel", "nobody"]):
        assert command(library, *arguments)[0] == 2
