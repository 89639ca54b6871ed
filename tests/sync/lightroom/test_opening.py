"""Opening a Lightroom catalog: the whole of what was written is read, and nothing at its place changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalogd.errors import LightroomError, UsageError
from catalogd.sync.lightroom import opening
from catalogd.sync.lightroom.opening import ChangedMeanwhileError, opened
from catalogd.sync.lightroom.tables import Tables
from tests.sync.lightroom.family import family_catalog

# A live process as Lightroom is: it holds the catalog in a mode, has written into it, and waits.
HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode=" + sys.argv[2])
db.execute("PRAGMA locking_mode=" + sys.argv[3])
db.execute("PRAGMA wal_autocheckpoint=0")
db.execute("UPDATE Adobe_images SET rating = 2 WHERE id_local = 1")
if sys.argv[4] == "open":
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE Adobe_images SET rating = 1 WHERE id_local = 1")
    db.execute("PRAGMA cache_spill=1")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files: empty again after each test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    (tmp_path / "lr").mkdir()
    return family_catalog(tmp_path / "lr" / "Family.lrcat", "/photos/").close()


@pytest.fixture
def hold() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Have a process hold a catalog."""
    holders = []

    def start(
        file: Path, journal: str = "WAL", locking: str = "NORMAL", write: str = ""
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(file), journal, locking, write or "none"]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


def picture_of(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file of a folder: size, time and hash, and the folder's own time."""
    files = {
        path.name: (
            path.stat().st_size,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in folder.iterdir()
    }
    return {**files, ".": (0, folder.stat().st_mtime_ns, "")}


def rating_of_first(file: Path) -> float:
    with opened(file) as source:
        value: float = source.connection.execute(
            "SELECT rating FROM Adobe_images WHERE id_local = 1"
        ).fetchone()[0]
        return value


def test_a_closed_catalog_is_read_where_it_lies_and_nothing_changes(catalog: Path, temporary: Path) -> None:
    before = picture_of(catalog.parent)
    with opened(catalog) as source:
        assert not source.is_copy
        assert not source.is_in_use
        assert source.connection.execute("SELECT count(*) FROM Adobe_images").fetchone() == (5,)
        assert picture_of(catalog.parent) == before
        assert list(temporary.iterdir()) == []
        source.check()
    assert picture_of(catalog.parent) == before


def test_a_closed_catalog_in_wal_mode_gets_no_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "lr").mkdir()
    file = family_catalog(tmp_path / "lr" / "Wal.lrcat", "/photos/", wal=True).close()
    before = picture_of(file.parent)
    assert list(before) == ["Wal.lrcat", "."]
    assert rating_of_first(file) == 4
    assert picture_of(file.parent) == before


def test_a_folder_that_nobody_may_write_to_is_no_obstacle(catalog: Path) -> None:
    catalog.chmod(0o400)
    catalog.parent.chmod(0o500)
    try:
        assert rating_of_first(catalog) == 4
    finally:
        catalog.parent.chmod(0o700)


@pytest.mark.parametrize("locking", ["NORMAL", "EXCLUSIVE"])
def test_what_a_live_program_has_written_into_the_log_is_read(
    catalog: Path, temporary: Path, hold: Callable[..., subprocess.Popen[str]], locking: str
) -> None:
    hold(catalog, "WAL", locking)
    (catalog.parent / "Family.lrcat.lock").write_text("Lightroom 4711")
    before = picture_of(catalog.parent)
    assert "Family.lrcat-wal" in before
    with opened(catalog) as source:
        assert source.is_copy
        assert source.is_in_use
        assert source.connection.execute("SELECT rating FROM Adobe_images WHERE id_local = 1").fetchone() == (
            2,
        )
        assert len(list(temporary.iterdir())) == 1
        assert picture_of(catalog.parent) == before
    assert picture_of(catalog.parent) == before
    assert list(temporary.iterdir()) == []


def test_a_program_that_locks_the_catalog_with_a_journal_does_not_keep_us_out(
    catalog: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    hold(catalog, "DELETE", "EXCLUSIVE", "open")
    before = picture_of(catalog.parent)
    assert rating_of_first(catalog) == 2  # what is committed
    assert picture_of(catalog.parent) == before


def test_a_journal_that_a_crash_left_is_rolled_back_in_the_copy_alone(
    catalog: Path, tmp_path: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    crashed = tmp_path / "crashed"
    db = sqlite3.connect(catalog, isolation_level=None)
    db.execute("PRAGMA cache_size=2")
    db.execute("BEGIN")
    db.execute("UPDATE Adobe_images SET rating = 5, copyName = ?", ("x" * 3000,))
    db.execute("UPDATE AgLibraryKeyword SET lc_name = ?", ("y" * 3000,))  # more pages than are held
    shutil.copytree(catalog.parent, crashed)
    db.execute("ROLLBACK")
    db.close()
    assert (crashed / "Family.lrcat-journal").stat().st_size > 0
    before = picture_of(crashed)
    assert rating_of_first(crashed / "Family.lrcat") == 4
    assert picture_of(crashed) == before


def test_a_catalog_that_is_written_while_it_is_copied_is_copied_again(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (catalog.parent / "Family.lrcat.lock").touch()
    copies = []
    copy_all = opening._copy_all

    def copy_and_disturb(file: Path, copy: Path) -> None:
        copy_all(file, copy)
        copies.append(copy)
        if len(copies) == 1:
            with sqlite3.connect(file) as db:
                db.execute("UPDATE Adobe_images SET rating = 3 WHERE id_local = 1")

    monkeypatch.setattr(opening, "_copy_all", copy_and_disturb)
    monkeypatch.setattr(opening, "FIRST_WAIT_S", 0.01)
    assert rating_of_first(catalog) == 3
    assert len(copies) == 2


def test_a_catalog_that_never_rests_is_an_error(
    catalog: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (catalog.parent / "Family.lrcat.lock").touch()
    copy_all = opening._copy_all

    def copy_and_disturb(file: Path, copy: Path) -> None:
        copy_all(file, copy)
        os.utime(file)

    monkeypatch.setattr(opening, "_copy_all", copy_and_disturb)
    monkeypatch.setattr(opening, "FIRST_WAIT_S", 0.001)
    with pytest.raises(LightroomError, match="being written all the time"):
        rating_of_first(catalog)
    assert list(temporary.iterdir()) == []


def test_a_catalog_that_is_opened_while_it_is_read_is_noticed(catalog: Path) -> None:
    with opened(catalog) as source:
        source.check()
        (catalog.parent / "Family.lrcat.lock").touch()
        with pytest.raises(ChangedMeanwhileError):
            source.check()


def test_a_catalog_that_is_written_while_it_is_read_is_noticed(catalog: Path) -> None:
    with opened(catalog) as source:
        with sqlite3.connect(catalog) as db:
            db.execute("UPDATE Adobe_images SET rating = 3 WHERE id_local = 1")
        with pytest.raises(ChangedMeanwhileError):
            source.check()


def test_a_log_that_came_just_before_the_file_was_opened_is_noticed(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.with_name(catalog.name + "-wal").write_bytes(b"pages")
    monkeypatch.setattr(opening, "is_in_use", lambda file: False)
    with opened(catalog) as source, pytest.raises(ChangedMeanwhileError):
        source.check()


def test_a_copy_does_not_mind_what_happens_to_the_original(catalog: Path) -> None:
    with opened(catalog, as_copy=True) as source:
        catalog.unlink()
        source.check()
        assert source.connection.execute("SELECT count(*) FROM Adobe_images").fetchone() == (5,)


def test_nothing_can_be_written_through_the_connection(catalog: Path) -> None:
    for as_copy in (False, True):
        with opened(catalog, as_copy) as source, pytest.raises(sqlite3.OperationalError, match="readonly"):
            source.connection.execute("DELETE FROM Adobe_images")


def test_a_killed_import_leaves_the_folder_as_it_was_and_its_copy_goes_with_the_next(
    catalog: Path, temporary: Path
) -> None:
    (catalog.parent / "Family.lrcat.lock").touch()
    before = picture_of(catalog.parent)
    script = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[2]\n"
        "from pathlib import Path; from catalogd.sync.lightroom.opening import opened\n"
        "with opened(Path(sys.argv[1])) as source:\n"
        "    source.connection.execute('SELECT count(*) FROM Adobe_images').fetchone()\n"
        "    print('open', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(catalog), str(temporary)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert rating_of_first(catalog) == 4  # a copy that is in use is left alone
        assert len(list(temporary.iterdir())) == 1
        process.send_signal(signal.SIGKILL)
    assert picture_of(catalog.parent) == before
    assert len(list(temporary.iterdir())) == 1
    assert rating_of_first(catalog) == 4
    assert list(temporary.iterdir()) == []
    assert picture_of(catalog.parent) == before


def test_a_link_leads_to_the_catalog_and_its_log(
    catalog: Path, tmp_path: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    hold(catalog)
    link = tmp_path / "link.lrcat"
    link.symlink_to(catalog)
    assert rating_of_first(link) == 2


@pytest.mark.parametrize("name", ["Füße #1?&mode=rwc.lrcat", "100% 'a'.lrcat", "two\nlines.lrcat"])
def test_any_file_name_is_fine(catalog: Path, name: str) -> None:
    other = catalog.rename(catalog.with_name(name))
    before = picture_of(other.parent)
    assert rating_of_first(other) == 4
    with opened(other, as_copy=True) as source:
        assert source.connection.execute("SELECT count(*) FROM Adobe_images").fetchone() == (5,)
    assert picture_of(other.parent) == before


def test_a_full_disk_is_told_before_anything_is_copied(
    catalog: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "SPARE_BYTES", 1 << 60)
    with (
        pytest.raises(LightroomError, match="set TMPDIR to a folder with room"),
        opened(catalog, as_copy=True),
    ):
        pass
    assert list(temporary.iterdir()) == []


# ── files that can't be read ──────────────────────────────────────────────────────────────────


def refusal(file: Path) -> str:
    with pytest.raises((LightroomError, UsageError)) as error, opened(file):
        pass
    return str(error.value)


def test_what_is_no_catalog_is_said_with_what_to_do(catalog: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.lrcat"
    with zipfile.ZipFile(backup, "w") as archive:
        archive.write(catalog, "Family.lrcat")
    assert "ZIP file" in refusal(backup)
    assert "unpack it" in refusal(backup)
    empty, text, noise = (tmp_path / name for name in ("empty.lrcat", "text.lrcat", "noise.lrcat"))
    empty.touch()
    text.write_text("hello " * 2000)
    noise.write_bytes(os.urandom(65536))
    assert "is empty" in refusal(empty)
    assert "does not begin as a SQLite database" in refusal(text)
    assert "is encrypted" in refusal(noise)
    assert "does not exist" in refusal(tmp_path / "nothing.lrcat")
    assert "name the .lrcat file; there is Family.lrcat in it" in refusal(catalog.parent)


def test_a_pipe_is_no_catalog(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.lrcat")
    assert "no ordinary file" in refusal(tmp_path / "pipe.lrcat")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_half_written_catalog_is_refused(catalog: Path, share: float) -> None:
    content = catalog.read_bytes()
    catalog.write_bytes(content[: int(len(content) * share)])
    assert "half-written" in refusal(catalog)


def test_a_copy_with_a_log_of_another_time_or_damaged_pages_is_refused(catalog: Path) -> None:
    content = bytearray(catalog.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 2048] = b"\xff" * 2048
    catalog.write_bytes(content)
    assert "damaged" in refusal(catalog)


def test_ctrl_c_reaches_a_long_query(catalog: Path) -> None:
    with opened(catalog) as source:
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                Tables(source.connection).one(
                    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
                )
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert time.monotonic() - started < 10
