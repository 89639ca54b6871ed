"""The daemon, in a process of its own with stub decoder and models: what it does and what it leaves alone."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from catalogd.catalog import Catalog
from catalogd.catalog.given import Given
from catalogd.catalog.user_data import UserData
from catalogd.daemon import is_running, request_retry
from catalogd.records import Record, UserFacts
from catalogd.run_state import read_server
from catalogd.service import Remote
from catalogd.settings import Settings
from tests import stubs
from tests.torture.library import REPOSITORY, Library, Run
from tests.torture.runner import Spec


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path, inline=True)


def output_versions(record: Record) -> dict[str, str]:
    return {name: output.fingerprint for name, output in record.outputs.items()}


# ── once ──────────────────────────────────────────────────────────────────────────────────────


def test_a_run_indexes_every_photo_and_the_next_one_reads_none(library: Library) -> None:
    library.add("a.jpg", "sub/b.jpg", "sub/deeper/c.jpg")
    before = library.hashes()
    assert library.run(inline=False) == 0
    library.assert_whole()
    assert (library.status()["state"], library.status()["running"]) == ("done", False)
    assert (library.status()["total"], library.status()["done"]) == (3, 3)
    assert library.run() == 0
    assert library.reads() == {"a.jpg": 1, "sub/b.jpg": 1, "sub/deeper/c.jpg": 1}
    assert library.status()["unchanged"] == 3
    assert library.hashes() == before


def test_a_failed_photo_makes_exit_code_3_and_is_left_alone_until_its_file_changes(library: Library) -> None:
    library.add("good.jpg")
    path = stubs.write_photo(library.photos, "segfault.jpg", (1, 2, 3))
    bad = stubs.write_photo(library.photos, "bad.jpg", (1, 2, 3))
    Path(os.fsdecode(bad)).write_text("no photo")
    assert library.run(inline=False) == 3
    with library.open() as catalog:
        assert [(f.path, f.stage, f.tries) for f in catalog.failures()] == [
            (bad, "read", 1),
            (path, "read", 2),
        ]
    assert library.run() == 0
    assert library.reads() == {"good.jpg": 1, "segfault.jpg": 2, "bad.jpg": 1}
    stubs.write_photo(library.photos, "bad.jpg", (100, 100, 100))
    assert library.run() == 0
    assert set(library.records()) == {"good.jpg", "bad.jpg"}
    with library.open() as catalog:
        assert [failure.path for failure in catalog.failures()] == [path]


def test_a_photo_that_keeps_changing_fails_a_single_run_and_is_tried_by_the_next(library: Library) -> None:
    [path] = library.add("changing.jpg")
    assert library.run() == 3
    with library.open() as catalog:
        assert [(failure.path, failure.reason) for failure in catalog.failures()] == [(path, "changed")]
    assert library.run() == 3
    Path(os.fsdecode(path) + ".whole").touch()
    assert library.run() == 0
    assert library.reads() == {"changing.jpg": 3}
    with library.open() as catalog:
        assert not list(catalog.failures())


def test_a_changed_photo_is_read_again_and_stays_the_same_photo(library: Library) -> None:
    library.add("a.jpg", "b.jpg")
    library.run()
    before = library.ids()
    stubs.write_photo(library.photos, "a.jpg", (9, 210, 9))
    assert library.run() == 0
    assert library.ids() == before
    assert library.reads() == {"a.jpg": 2, "b.jpg": 1}
    tags = library.records()["a.jpg"].outputs["mean"].tags
    assert tags is not None
    assert tags[0].name == "green"


def test_moved_and_renamed_photos_and_folders_keep_their_work(library: Library) -> None:
    library.add("a.jpg", "old/b.jpg", "old/deep/c.jpg", "stays.jpg")
    library.run()
    before = library.ids()
    (library.photos / "old").rename(library.photos / "new")
    (library.photos / "new/b.jpg").rename(library.photos / "b.jpg")
    (library.photos / "a.jpg").rename(library.photos / "new/renamed.jpg")
    library.forget_notes()
    assert library.run() == 0
    assert not library.reads()
    names = {"a.jpg": "new/renamed.jpg", "old/b.jpg": "b.jpg", "old/deep/c.jpg": "new/deep/c.jpg"}
    assert library.ids() == {names.get(name, name): photo_id for name, photo_id in before.items()}
    assert library.status()["moved"] == 3
    with library.open() as catalog:
        assert catalog.check(deep=True) == []


def test_of_two_copies_of_a_photo_that_is_gone_one_is_the_photo_and_one_is_new(
    library: Library,
) -> None:
    """Both copies used to be taken for the moved photo, and one of them was not found any more."""
    [path] = library.add("a.jpg")
    library.run()
    before = library.ids()
    for name in ("b.jpg", "c.jpg"):
        shutil.copy(path, library.photos / name)
    os.unlink(path)
    assert library.run() == 0
    after = library.ids()
    assert set(after) == {"b.jpg", "c.jpg"}
    assert before["a.jpg"] in after.values()


def test_a_photo_that_moved_under_another_profile_is_run_with_what_is_new(library: Library) -> None:
    library.add("a.jpg")
    library.run(versions=(1, 1))
    (library.photos / "a.jpg").rename(library.photos / "b.jpg")
    library.forget_notes()
    assert library.run(versions=(1, 2)) == 0
    assert library.noted("inferred") == ["count"]
    assert output_versions(library.records()["b.jpg"]) == {"mean": "mean@1", "count": "count@2"}


def test_a_deleted_photo_is_missing_and_comes_back_without_being_read(
    library: Library, tmp_path: Path
) -> None:
    library.add("a.jpg", "b.jpg")
    library.run()
    before = library.ids()
    (library.photos / "a.jpg").rename(tmp_path / "aside.jpg")
    assert library.run() == 0
    assert set(library.records()) == {"b.jpg"}
    with library.open() as catalog:
        assert catalog.counts()[:2] == (1, 1)
    (tmp_path / "aside.jpg").rename(library.photos / "a.jpg")
    assert library.run() == 0
    assert library.ids() == before
    assert library.reads() == {"a.jpg": 1, "b.jpg": 1}


def test_a_model_of_another_version_runs_alone(library: Library) -> None:
    library.add("a.jpg", "b.jpg")
    library.run(versions=(1, 1))
    before = library.ids()
    library.forget_notes()
    assert library.run(versions=(1, 2)) == 0
    assert library.noted("inferred") == ["count", "count"]
    for record in library.records().values():
        assert output_versions(record) == {"mean": "mean@1", "count": "count@2"}
    assert library.ids() == before


@pytest.mark.parametrize("inline", [True, False])
def test_facts_of_an_older_version_are_read_again_and_no_model_runs(library: Library, inline: bool) -> None:
    library.add("a.jpg")
    library.run()
    [record] = library.records().values()
    with Catalog.open(library.catalog, Settings(), write=True) as catalog:
        [whole] = catalog.records([record.photo_id], with_embeddings=True)
        assert whole is not None
        older = msgspec.structs.replace(whole.facts, version=0)
        catalog.commit([msgspec.structs.replace(whole, facts=older)], b"an older")
    library.forget_notes()
    assert library.run(inline=inline) == 0
    assert library.reads() == {"a.jpg": 1}
    assert not library.noted("inferred")
    assert library.records() == {"a.jpg": record}
    library.run()
    assert library.reads() == {"a.jpg": 1}


def test_a_profile_with_fewer_models_reads_nothing(library: Library) -> None:
    library.add("a.jpg")
    library.run(versions=(1, 1))
    library.forget_notes()
    assert library.run(versions=(1,)) == 0
    assert library.run(versions=(1,)) == 0
    assert not library.reads()
    assert library.status()["unchanged"] == 1


def test_one_process_makes_the_same_catalog_as_many(tmp_path: Path) -> None:
    found = []
    for inline in (True, False):
        library = Library(tmp_path / str(inline))
        library.add("a.jpg", "sub/b.jpg")
        stubs.write_photo(library.photos, "bad.jpg")
        (library.photos / "bad.jpg").write_text("no photo")
        assert library.run(inline=inline) == 3
        with library.open() as catalog:
            assert catalog.check(deep=True) == []
            failures = [(os.path.basename(f.path), f.stage, f.reason, f.tries) for f in catalog.failures()]
        outputs = {name: record.outputs for name, record in library.records().items()}
        found.append((outputs, failures))
    assert found[0] == found[1]


def test_a_map_that_is_too_small_grows(library: Library) -> None:
    library.add(*[f"good-{number}.jpg" for number in range(60)])
    library.settings["commit_records"] = 8
    assert library.run(inline=False) == 0
    assert (library.journal / "the map grew").exists()
    library.assert_whole()


# ── what is not there ─────────────────────────────────────────────────────────────────────────


def test_an_emptied_root_deletes_nothing_and_is_offline(library: Library, tmp_path: Path) -> None:
    library.add("a.jpg", "sub/b.jpg")
    library.run()
    before = library.ids()
    library.photos.rename(tmp_path / "unplugged")
    library.photos.mkdir()
    assert library.run() == 0
    assert library.ids() == before
    assert library.status()["offline"] == [str(library.photos)]
    library.photos.rmdir()
    assert library.run() == 2
    (tmp_path / "unplugged").rename(library.photos)
    assert library.run() == 0
    assert library.ids() == before
    assert set(library.reads().values()) == {1}


def test_a_disk_below_the_root_that_is_away_deletes_nothing(library: Library, tmp_path: Path) -> None:
    library.add("a.jpg")
    disk = library.photos / "disk"
    disk.mkdir()
    inside = f'mount -t tmpfs none {disk} && echo 9 9 9 > {disk}/b.jpg && exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh")
    require_namespaces()
    with Run(Spec(library.settings, [str(library.photos)], str(library.journal)), prefix) as run:
        assert run.wait() == 0, run.errors
    assert set(library.ids()) == {"a.jpg", "disk/b.jpg"}
    assert library.run() == 0
    assert set(library.ids()) == {"a.jpg", "disk/b.jpg"}
    assert library.status()["offline"] == [str(disk)]


def require_namespaces() -> None:
    tried = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True)
    if tried.returncode:
        pytest.skip("this machine lets no user mount anything (unshare)")


def test_a_folder_that_can_not_be_read_is_reported_and_its_photos_are_kept(library: Library) -> None:
    library.add("a.jpg", "locked/b.jpg", "locked/deep/c.jpg")
    library.run()
    before = library.ids()
    locked = library.photos / "locked"
    locked.chmod(0)
    powers = "-dac_override,-dac_read_search"  # root reads everything else
    prefix = ("setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}") if os.geteuid() == 0 else ()
    try:
        with Run(Spec(library.settings, [str(library.photos)], str(library.journal)), prefix) as run:
            assert run.wait() == 0, run.errors
    finally:
        locked.chmod(0o700)
    assert library.ids() == before
    assert any("locked" in note for note in library.status()["notes"])


# ── watching ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def watched(library: Library) -> Iterator[tuple[Library, Run]]:
    """A library of two photos, watched by a run that is done with them."""
    library.add("a.jpg", "sub/b.jpg")
    with library.start(once=False, exclude=("not/*",)) as run:
        run.until(lambda: library.status().get("state") == "watching", "watching")
        run.until(lambda: len(library.records()) == 2, "the first photos")
        yield library, run


def test_new_changed_moved_and_removed_photos_are_seen(watched: tuple[Library, Run]) -> None:
    library, run = watched
    before = library.ids()
    [new] = library.add("new/deeper/d.jpg")
    run.until(lambda: "new/deeper/d.jpg" in library.records(), "the new photo")
    stubs.write_photo(library.photos, "a.jpg", (9, 210, 9))
    run.until(lambda: library.reads()["a.jpg"] == 2, "the changed photo")
    (library.photos / "sub").rename(library.photos / "renamed")
    run.until(lambda: "renamed/b.jpg" in library.records(), "the renamed folder")
    os.unlink(new)
    run.until(lambda: set(library.records()) == {"a.jpg", "renamed/b.jpg"}, "the removed photo")
    assert library.ids() == {"a.jpg": before["a.jpg"], "renamed/b.jpg": before["sub/b.jpg"]}
    assert library.reads()["renamed/b.jpg"] == 0
    run.interrupt()
    assert run.wait() == 0, run.errors
    with library.open() as catalog:
        assert catalog.check(deep=True) == []


def test_a_photo_that_keeps_changing_is_read_once_it_stands_still_and_is_no_failure(
    watched: tuple[Library, Run],
) -> None:
    library, run = watched
    path = Path(os.fsdecode(library.add("changing.jpg")[0]))
    run.until(lambda: library.reads()["changing.jpg"] == 1, "the first try")
    for number in range(15):  # longer than a file that stands still is waited for
        path.write_text(f"{number} 0 0")
        time.sleep(0.2)
    assert library.reads()["changing.jpg"] == 1
    path.with_name("changing.jpg.whole").touch()
    run.until(lambda: "changing.jpg" in library.records(), "the photo that stands still")
    assert library.reads()["changing.jpg"] == 2
    with library.open() as catalog:
        assert not list(catalog.failures())
    assert library.status()["failed"] == 0


def test_what_a_scan_skips_is_also_skipped_while_watching(watched: tuple[Library, Run]) -> None:
    """Events below hidden and excluded folders used to be scanned as if they were roots."""
    library, run = watched
    library.add(".thumbnails/x.jpg", "@eaDir/y.jpg", "not/z.jpg")
    library.add("last.jpg")
    run.until(lambda: "last.jpg" in library.records(), "the last photo")
    library.add("later.jpg")
    run.until(lambda: "later.jpg" in library.records(), "the later photo")
    assert set(library.records()) == {"a.jpg", "sub/b.jpg", "last.jpg", "later.jpg"}


def test_a_root_that_goes_and_comes_back_while_watching_is_offline_meanwhile(
    watched: tuple[Library, Run], tmp_path: Path
) -> None:
    library, run = watched
    before = library.ids()
    library.photos.rename(tmp_path / "unplugged")
    run.until(lambda: library.status()["offline"] == [str(library.photos)], "offline")
    (tmp_path / "unplugged").rename(library.photos)
    run.until(lambda: library.status()["offline"] == [], "online")
    library.add("c.jpg")
    run.until(lambda: "c.jpg" in library.records(), "the photo that came after")
    assert {name: library.ids()[name] for name in before} == before
    assert library.reads()["a.jpg"] == 1


def test_a_retry_is_honoured_by_the_run_that_is_alive(watched: tuple[Library, Run]) -> None:
    library, run = watched
    path = stubs.write_photo(library.photos, "bad.jpg", (1, 2, 3))
    Path(os.fsdecode(path)).write_text("no photo")
    run.until(lambda: library.reads()["bad.jpg"] == 1, "the failure")
    run.until(lambda: library.status()["failed"] == 1, "the report of the failure")
    request_retry(library.catalog, [path])
    run.until(lambda: library.reads()["bad.jpg"] >= 2, "the second try")
    assert list((library.catalog / "requests").glob("*")) == []


def test_what_is_set_in_lightroom_is_in_the_records_within_seconds(watched: tuple[Library, Run]) -> None:
    library, run = watched
    folder = os.fsencode(library.photos)
    with UserData(library.catalog) as user:
        photos = [
            Given(name, folder + b"/" + name.encode(), UserFacts(rating=4)) for name in ("a.jpg", "late.jpg")
        ]
        assert user.give("lightroom", photos).waiting == 1
        run.until(lambda: library.records()["a.jpg"].said.rating == 4, "the stars of a known photo")
        library.add("late.jpg")
        run.until(lambda: "late.jpg" in library.records(), "the photo that comes later")
        run.until(lambda: library.records()["late.jpg"].said.rating == 4, "its stars")
        stubs.write_photo(library.photos, "a.jpg", (9, 210, 9))
        run.until(lambda: library.reads()["a.jpg"] == 2, "the photo that changed")
        assert user.take_away("lightroom", ["late.jpg"]) == 1
        run.until(lambda: library.records()["late.jpg"].user is None, "what was taken back")
    assert library.records()["a.jpg"].said.rating == 4


# ── stopping ──────────────────────────────────────────────────────────────────────────────────


def test_ctrl_c_commits_what_is_in_flight_and_the_next_run_does_the_rest(library: Library) -> None:
    library.add(*[f"slow-{number}.jpg" for number in range(60)])
    with library.start() as run:
        run.until(lambda: len(library.noted("reads")) > 10, "the start")
        run.interrupt()
        assert run.wait() == 130, run.errors
    read = library.reads()
    assert set(library.records()) == set(read)
    assert len(read) < 60
    assert library.run() == 0
    library.assert_whole()
    assert set(library.reads().values()) == {1}


def test_a_second_ctrl_c_stops_even_while_the_writer_hangs(library: Library) -> None:
    library.add(*[f"slow-{number}.jpg" for number in range(40)])
    with library.start() as run:
        run.until(lambda: library.noted("committed"), "the first commit")
        [writer] = run.children("writer")
        os.kill(writer, signal.SIGSTOP)
        run.interrupt()
        run.until(lambda: library.status().get("state") == "draining", "draining")
        assert run.process.poll() is None
        run.interrupt()
        assert run.wait(10) == 130, run.errors
    library.assert_nothing_lost()
    assert library.run() == 0
    library.assert_whole()


def test_a_writer_that_hangs_is_replaced_at_its_deadline(library: Library) -> None:
    """An order was sent to a stopped writer for ever, and with it the whole run waited."""
    library.settings["write_deadline_s"] = 2.0
    library.add(*[f"slow-{number}.jpg" for number in range(40)])
    with library.start() as run:
        run.until(lambda: library.noted("committed"), "the first commit")
        [writer] = run.children("writer")
        os.kill(writer, signal.SIGSTOP)
        assert run.wait() == 0, run.errors
    library.assert_whole()


def test_a_photo_copied_off_a_disk_that_is_away_is_a_photo_of_its_own(library: Library) -> None:
    """The copy was taken for the moved original, and the original dropped out of the catalog."""
    away, copies = library.photos / "away", library.photos / "copies"
    library.add("away/good-1.jpg")
    copies.mkdir()
    (copies / "good-9.jpg").write_text("1 2 3")
    assert library.run(roots=[str(away), str(copies)]) == 0
    places = library.catalog / "places.json"
    devices = json.loads(places.read_text())
    places.write_text(json.dumps({place: device + (place == str(away)) for place, device in devices.items()}))
    shutil.copyfile(away / "good-1.jpg", copies / "good-1.jpg")
    away.rename(library.photos.parent / "unplugged")
    assert library.run(roots=[str(copies)]) == 0
    assert len(library.records()) == 3


def test_a_second_run_says_who_holds_the_catalog(library: Library) -> None:
    library.add(*[f"slow-{number}.jpg" for number in range(40)])
    with library.start() as run:
        run.until(lambda: library.status().get("running"), "the start")
        assert is_running(library.catalog)
        with library.start() as second:
            assert second.wait() == 5
        assert second.errors.startswith("CatalogLockedError")
        assert f"process {run.process.pid} " in second.errors
        assert run.wait() == 0
    assert not is_running(library.catalog)


def test_the_status_tells_of_a_run_while_it_goes_on(library: Library) -> None:
    library.add(*[f"slow-{number}.jpg" for number in range(60)])
    with library.start() as run:
        status = run.until(lambda: (s := library.status()).get("done") and s, "progress")
        assert run.wait() == 0
    assert (status["pid"], status["running"], status["state"]) == (run.process.pid, True, "indexing")
    assert status["total"] == 60
    assert status["pending"] == 60 - status["done"]
    assert status["ring_slots"] == 12
    assert json.loads(json.dumps(status)) == status


# ── a full disk ───────────────────────────────────────────────────────────────────────────────


def search(library: Library, words: str) -> list[int]:
    with library.open() as catalog:
        return [hit.photo_id for hit in catalog.search_text(words)]


def limit_files(pid: int, size: int) -> None:
    """Let a process write no file beyond `size`: for LMDB the same as a full disk."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_writer_without_space_waits_for_it_and_nothing_is_lost(library: Library) -> None:
    library.add("first.jpg")
    assert library.run() == 0
    library.add(*[f"good-{number}.jpg" for number in range(200)])
    with library.start() as run:
        writer = run.until(lambda: run.children("writer"), "the writer")[0]
        limit_files(writer, 4096)
        run.until(lambda: library.status().get("state") == "disk_full", "the report")
        library.assert_nothing_lost()
        assert search(library, "first")
        limit_files(writer, resource.RLIM_INFINITY)
        assert run.wait() == 0, run.errors
    library.assert_nothing_lost()
    library.assert_whole()


def test_a_full_disk_is_reported_on_that_disk_and_search_goes_on(library: Library, tmp_path: Path) -> None:
    require_namespaces()
    disk = tmp_path / "disk"
    disk.mkdir()
    library.settings["catalog"] = str(disk / "catalog")
    library.add(*[f"good-{number}.jpg" for number in range(20)])
    inside = f'mount -t tmpfs -o size=8m none {disk} && exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh")
    spec = Spec(library.settings, [str(library.photos)], str(library.journal), once=False)
    with Run(spec, prefix) as run:
        run.until(lambda: len(library.noted("committed")) == 20, "the first commits")
        seen = Path(f"/proc/{run.process.pid}/root{disk}")  # the disk as the run sees it
        library.settings["catalog"] = str(seen / "catalog")
        run.until(lambda: library.status().get("state") == "watching", "watching")
        run.until(lambda: search_within(run, disk / "catalog", "good"), "the text index")
        ballast = fill(seen / "ballast")
        library.add(*[f"good-more-{number}.jpg" for number in range(200)])
        run.until(lambda: library.status().get("state") == "disk_full", "the report")
        library.assert_nothing_lost()
        assert search_within(run, disk / "catalog", "good")
        ballast.unlink()
        run.until(lambda: len(library.records()) == 220, "the rest")
        library.assert_nothing_lost()


def search_within(run: Run, catalog: Path, words: str) -> list[int]:
    """As `search`, by a process that sees the same disks as the run."""
    code = (
        "import sys; from pathlib import Path; from catalogd.catalog import Catalog\n"
        "from catalogd.settings import Settings\n"
        "with Catalog.open(Path(sys.argv[1]), Settings()) as catalog:\n"
        "    print([hit.photo_id for hit in catalog.search_text(sys.argv[2])])"
    )
    enter = ["nsenter", "--target", str(run.process.pid), "--user", "--mount", "--preserve-credentials"]
    found = subprocess.run(
        [*enter, "--wd=" + str(REPOSITORY), sys.executable, "-c", code, str(catalog), words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=True,
    )
    ids: list[int] = json.loads(found.stdout)
    return ids


def fill(file: Path) -> Path:
    """Take all the space of a disk."""
    with file.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12):
            while True:
                try:
                    stream.write(bytes(size))
                except OSError:
                    break
    return file


# ── the HTTP API ──────────────────────────────────────────────────────────────────────────────


def asked(library: Library, url: str, path: str) -> dict[str, Any]:
    token = (library.catalog / "api.token").read_text().strip()
    request = urllib.request.Request(f"{url}/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_a_run_that_watches_serves_the_api_until_it_ends(tmp_path: Path) -> None:
    library = Library(tmp_path, http=True, http_port=0)
    library.add("a.jpg")
    with library.start(once=False) as run:
        url = run.until(lambda: library.status().get("api"), "the API")
        run.until(lambda: library.status().get("state") == "watching", "watching")
        status = asked(library, url, "status")
        assert (status["catalog"]["indexed"], status["run"]["api"]) == (1, url)
        assert len(run.children("server")) == 1
        library.add("b.jpg")
        run.until(lambda: asked(library, url, "status")["catalog"]["indexed"] == 2, "the second photo")
        run.interrupt()
        assert run.wait() == 0
    assert read_server(library.catalog) is None
    library.assert_whole()


def test_a_run_whose_port_is_taken_says_so_and_goes_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        library = Library(tmp_path, http=True, http_port=other.getsockname()[1])
        with library.start(once=False) as run:
            run.until(lambda: library.status().get("notes"), "the note")
            [note] = library.status()["notes"]
            assert note.startswith("no HTTP API: 127.0.0.1:")
            assert "http_port" in note
            library.add("a.jpg")
            run.until(lambda: Remote(library.catalog).count("type:jpeg") == 1, "the photo")
            run.interrupt()
            assert run.wait() == 0
