"""Thumbnails: small, upright, whole or not there, within their bound, and never a reason to fail."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from catalogd.catalog import Catalog
from catalogd.cli import cli
from catalogd.daemon import filling
from catalogd.images import fingerprint_file
from catalogd.pipeline import Engine, index, index_inline
from catalogd.pipeline.stages import read_photo
from catalogd.records import Missing, Record, Task
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore, encode_thumbnail
from tests import factory, stubs
from tests.torture.library import REPOSITORY, Library

EDGE_PX = 64
SCENE = factory.scene(96, 128)
ALIKE = 15  # levels: what so small a JPEG blurs of the colours; mirrored or turned it is above 30
LEFTMOST, RIGHTMOST = bytes(16), b"\xff" * 16


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        catalog=tmp_path / "catalog",
        frame_edge_px=128,
        ring_bytes=1 << 20,
        readers=2,
        thumbnail_edge_px=EDGE_PX,
    )


@pytest.fixture
def store(settings: Settings) -> ThumbnailStore:
    return ThumbnailStore(settings)


@pytest.fixture
def photos(tmp_path: Path) -> list[bytes]:
    """Three photos, the last one a copy of the first."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [
        factory.write_plain_jpeg(folder / f"{seed}.jpg", factory.scene(96, 128, seed)) for seed in range(2)
    ]
    shutil.copy(folder / "0.jpg", folder / "copy.jpg")
    return [*paths, bytes(folder / "copy.jpg")]


@pytest.fixture
def catalog(settings: Settings, photos: list[bytes]) -> Iterator[Catalog]:
    """A catalog of the photos, made without thumbnails."""
    off = dataclasses.replace(settings, thumbnails=False)
    records = [
        outcome
        for outcome in index_inline(map(Task, photos), off, stubs.no_models)
        if isinstance(outcome, Record)
    ]
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.commit(records, bytes(8))
        yield catalog


def content(number: int, folder: int = 0, last: int = 99) -> bytes:
    """Contents of one folder; `last` below 4 makes a put look at the folder's size."""
    return bytes([folder]) + number.to_bytes(14, "big") + bytes([last])


def decoded(thumbnail: bytes | None) -> np.ndarray:
    assert thumbnail is not None
    with Image.open(io.BytesIO(thumbnail)) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def difference(thumbnail: bytes | None, pixels: np.ndarray) -> float:
    """Mean difference, in levels, to `pixels` reduced to the thumbnail's size."""
    found = decoded(thumbnail)
    wanted = Image.fromarray(pixels).resize((found.shape[1], found.shape[0]), Image.Resampling.BOX)
    return float(np.abs(found.astype(int) - np.asarray(wanted)).mean())


def files(store: ThumbnailStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}


# ── what a thumbnail is ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_of_any_orientation_has_an_upright_thumbnail(
    tmp_path: Path, settings: Settings, store: ThumbnailStore, orientation: int
) -> None:
    path = factory.write_jpeg(tmp_path / "photo.jpg", factory.stored(SCENE, orientation), orientation)
    [record] = index_inline([Task(path)], settings, stubs.no_models)
    assert isinstance(record, Record)
    thumbnail = store.get(record.content)
    assert decoded(thumbnail).shape == (48, 64, 3)
    assert difference(thumbnail, SCENE) < ALIKE


@pytest.mark.parametrize(("format", "suffix"), [("jpeg", ".jpg"), ("webp", ".webp")])
def test_both_formats_look_like_the_frame_and_are_what_their_name_says(
    settings: Settings, format: str, suffix: str
) -> None:
    store = ThumbnailStore(dataclasses.replace(settings, thumbnail_format=format))
    store.put(LEFTMOST, SCENE)
    path = store.path_of(LEFTMOST)
    assert path is not None
    assert path == store.folder / "00" / ("00" * 16 + suffix)
    with Image.open(path) as image:
        assert (image.format, image.size) == (format.upper(), (64, 48))
    assert difference(store.get(LEFTMOST), SCENE) < ALIKE


def test_a_frame_that_is_small_already_is_not_enlarged(settings: Settings) -> None:
    assert decoded(encode_thumbnail(factory.scene(20, 31), settings)).shape == (20, 31, 3)


def test_a_picture_of_one_pixel_width_keeps_that_width(settings: Settings) -> None:
    assert decoded(encode_thumbnail(factory.scene(128, 1), settings)).shape == (64, 1, 3)


def test_quality_is_what_the_setting_says(settings: Settings) -> None:
    sizes = [
        len(encode_thumbnail(SCENE, dataclasses.replace(settings, thumbnail_quality=quality)))
        for quality in (30, 60, 90)
    ]
    assert sizes == sorted(sizes)
    assert sizes[2] > 1.5 * sizes[0]


# ── one thumbnail in the store ────────────────────────────────────────────────────────────────


def test_a_content_without_a_thumbnail_has_none(store: ThumbnailStore) -> None:
    assert (store.get(LEFTMOST), store.path_of(LEFTMOST), store.sizes()) == (None, None, {})
    assert (store.usage().count, store.usage().size_bytes) == (0, 0)
    store.drop(LEFTMOST)


def test_the_first_thumbnail_of_a_content_stays_whatever_the_settings_are_later(
    settings: Settings, store: ThumbnailStore
) -> None:
    store.put(RIGHTMOST, SCENE)
    before = files(store)
    later = dataclasses.replace(settings, thumbnail_format="webp", thumbnail_quality=20)
    ThumbnailStore(later).put(RIGHTMOST, SCENE)
    assert files(store) == before
    assert ThumbnailStore(later).get(RIGHTMOST) == store.get(RIGHTMOST)
    store.drop(RIGHTMOST)
    ThumbnailStore(later).put(RIGHTMOST, SCENE)
    assert list(files(store)) == ["ff" * 16 + ".webp"]


@pytest.mark.parametrize("format", ["jpeg", "webp"])
@pytest.mark.parametrize("kept", [0, 1, 200])
def test_a_torn_file_is_no_thumbnail_and_is_made_again(settings: Settings, format: str, kept: int) -> None:
    store = ThumbnailStore(dataclasses.replace(settings, thumbnail_format=format))
    store.put(LEFTMOST, SCENE)
    path, whole = store.path_of(LEFTMOST), store.get(LEFTMOST)
    assert path is not None
    assert whole is not None
    path.write_bytes(whole[:kept])
    assert store.get(LEFTMOST) is None
    store.put(LEFTMOST, SCENE)
    assert store.get(LEFTMOST) == whole


def test_blocks_that_a_power_loss_left_zero_are_noticed(store: ThumbnailStore) -> None:
    store.put(LEFTMOST, SCENE)
    path = store.path_of(LEFTMOST)
    assert path is not None
    path.write_bytes(path.read_bytes()[:100].ljust(path.stat().st_size, b"\0"))
    assert store.get(LEFTMOST) is None


def test_an_empty_file_counts_as_missing(store: ThumbnailStore) -> None:
    store.put(LEFTMOST, SCENE)
    store.put(RIGHTMOST, SCENE)
    path = store.path_of(LEFTMOST)
    assert path is not None
    path.write_bytes(b"")
    assert store.sizes().keys() == {RIGHTMOST}


def test_a_file_of_another_name_is_no_thumbnail(store: ThumbnailStore) -> None:
    store.put(LEFTMOST, SCENE)
    folder = store.folder / "00"
    strangers = [folder / name for name in (".DS_Store", "00.jpg", "x" * 32 + ".jpg", "00" * 16 + ".txt")]
    for stranger in strangers:
        stranger.write_bytes(b"mine")
    assert store.usage().count == 1
    store.prune(set())
    assert all(stranger.exists() for stranger in strangers)
    assert store.usage().count == 0


# ── all of them ───────────────────────────────────────────────────────────────────────────────


def test_prune_keeps_what_is_asked_for_and_says_what_it_freed(store: ThumbnailStore) -> None:
    for number in range(6):
        store.put(content(number, folder=40 * number), SCENE)
    kept = {content(number, folder=40 * number) for number in range(4)}
    before = store.usage()
    freed = store.prune(kept)
    assert store.sizes().keys() == kept
    assert freed.count == 2
    assert freed.size_bytes + store.usage().size_bytes == before.size_bytes


def test_the_bound_holds_while_thumbnails_are_put(settings: Settings) -> None:
    size = len(encode_thumbnail(SCENE, settings))
    bound = 256 * 8 * size
    store = ThumbnailStore(dataclasses.replace(settings, thumbnail_store_bytes=bound))
    for number in range(24):
        store.put(content(number, last=0), SCENE)
        assert sum(map(len, files(store).values())) <= bound / 256
    assert store.usage().count >= 6


def test_a_put_that_does_not_look_is_made_good_by_one_that_does(settings: Settings) -> None:
    size = len(encode_thumbnail(SCENE, settings))
    store = ThumbnailStore(dataclasses.replace(settings, thumbnail_store_bytes=256 * 8 * size))
    for number in range(12):
        store.put(content(number, last=4), SCENE)
    assert store.usage().count == 12
    store.put(content(12, last=3), SCENE)
    assert 6 <= store.usage().count <= 8


def test_what_was_used_longest_ago_goes_first(settings: Settings) -> None:
    size = len(encode_thumbnail(SCENE, settings))
    store = ThumbnailStore(dataclasses.replace(settings, thumbnail_store_bytes=256 * 8 * size))
    for number in range(8):
        store.put(content(number), SCENE)
        path = store.path_of(content(number))
        assert path is not None
        os.utime(path, (0, 1_000_000_000 + number))
    assert store.get(content(0)) is not None  # used, and so the youngest
    store.put(content(8, last=0), SCENE)
    left = store.sizes().keys()
    assert {content(0), content(8, last=0), content(7)} <= left
    assert content(1) not in left


def test_a_use_is_noted_once_a_day(store: ThumbnailStore) -> None:
    store.put(LEFTMOST, SCENE)
    path = store.path_of(LEFTMOST)
    assert path is not None
    for age_s, noted in ((3600, False), (2 * 86_400, True)):
        then = time.time() - age_s
        os.utime(path, (then, then))
        store.get(LEFTMOST)
        assert (path.stat().st_mtime > then + 1) is noted


def test_prune_enforces_a_bound_that_was_lowered(settings: Settings, store: ThumbnailStore) -> None:
    for number in range(20):
        store.put(content(number), SCENE)
    size = store.usage().size_bytes / 20
    smaller = dataclasses.replace(settings, thumbnail_store_bytes=int(256 * 5.5 * size))
    freed = ThumbnailStore(smaller).prune({content(number) for number in range(20)})
    assert freed.count == 15
    assert store.usage().count == 5


def test_the_size_of_a_large_store_is_estimated_from_some_of_its_folders(store: ThumbnailStore) -> None:
    for number in range(256):
        (store.folder / f"{number:02x}").mkdir(parents=True)
        (store.folder / f"{number:02x}" / f"{content(1, folder=number).hex()}.jpg").write_bytes(b"x" * 100)
    estimate = store.usage(sample_files=16)
    assert (estimate.count, estimate.size_bytes, estimate.estimated) == (256, 25_600, True)
    exact = store.usage(sample_files=4096)
    assert (exact.count, exact.size_bytes, exact.estimated) == (256, 25_600, False)


# ── what can go wrong ─────────────────────────────────────────────────────────────────────────

PUT_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore
store = ThumbnailStore(Settings(catalog=Path(sys.argv[1]), thumbnail_quality=100))
pictures = [np.random.default_rng(seed).integers(0, 256, (480, 512, 3), np.uint8) for seed in range(2)]
print("begun", flush=True)
for number in range(1_000_000):
    content = bytes([number % 4]) * 16
    store.put(content, pictures[number % 2])
    store.drop(content)
    store.put(content, pictures[number % 2])
"""


def test_kill_9_leaves_whole_thumbnails_and_two_processes_may_put_the_same_one(
    settings: Settings, store: ThumbnailStore
) -> None:
    for round_number in range(2):
        putting = [
            subprocess.Popen(
                [sys.executable, "-c", PUT_FOR_EVER, str(settings.catalog)],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        for process in putting:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
        time.sleep(0.1 + 0.037 * round_number)
        for process in putting:
            assert process.poll() is None, "it failed before it was killed"
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        left = [path for path in store.folder.glob("??/*") if path.is_file()]
        for path in left:
            assert decoded(path.read_bytes()).shape == (480, 512, 3)
    store.sweep()
    assert list((store.folder / "tmp").iterdir()) == []


def test_a_reader_that_dies_while_it_writes_leaves_nothing_visible(
    settings: Settings, store: ThumbnailStore
) -> None:
    script = (
        "import os, sys; from pathlib import Path; import numpy as np\n"
        "from catalogd.settings import Settings; from catalogd.thumbnails import ThumbnailStore\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), 9)\n"
        "ThumbnailStore(Settings(catalog=Path(sys.argv[1]))).put(bytes(16), np.zeros((9, 9, 3), np.uint8))\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", script, str(settings.catalog)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert len(files(store)) == 1
    assert (store.get(LEFTMOST), store.usage().count) == (None, 0)
    store.sweep()
    assert files(store) == {}


def test_a_full_disk_leaves_the_store_as_it_was(store: ThumbnailStore) -> None:
    store.put(RIGHTMOST, SCENE)
    before = files(store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the write stops in the middle, as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            store.put(LEFTMOST, SCENE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(store) == before


def test_thumbnails_that_can_not_be_written_fail_no_photo_and_are_told_once(tmp_path: Path) -> None:
    library = Library(tmp_path, inline=True)
    library.add(*[f"good-{number}.jpg" for number in range(5)])
    library.catalog.mkdir()
    (library.catalog / "thumbs").write_text("in the way")
    assert library.run() == 0
    assert len(library.records()) == 5
    [note] = library.status()["notes"]
    assert "no thumbnail could be kept" in note
    assert library.status()["thumbnails_failed"] == 5


def test_a_reader_process_tells_that_it_could_not_write(settings: Settings, photos: list[bytes]) -> None:
    settings.catalog.mkdir()
    (settings.catalog / "thumbs").write_text("in the way")
    outcomes, tasks = [], [Task(path) for path in photos]
    with Engine(settings, stubs.no_models) as engine:
        while tasks or engine.busy:
            while tasks and engine.wants_task:
                engine.offer(tasks.pop())
            outcomes += engine.step(0.1)
    assert [type(outcome) for outcome in outcomes] == [Record] * 3
    assert engine.thumbnail_errors == {"Not a directory": 3}


def test_a_reading_that_claims_an_absurd_size_is_not_stopped_by_its_thumbnail(
    tmp_path: Path, settings: Settings
) -> None:
    path = stubs.write_photo(tmp_path, "good.jpg")
    slot = np.zeros(128 * 128 * 3, np.uint8)

    def claims_too_much(*arguments: Any) -> Any:
        return dataclasses.replace(stubs.read(*arguments), height=70_000)

    reading, error = read_photo(path, slot, settings, claims_too_much)
    assert reading.height == 70_000
    assert error


# ── runs ──────────────────────────────────────────────────────────────────────────────────────


def test_one_process_makes_the_same_thumbnails_as_many_and_copies_share_one(
    tmp_path: Path, settings: Settings, photos: list[bytes]
) -> None:
    made = []
    for name, run in (("one", index_inline), ("many", index)):
        there = dataclasses.replace(settings, catalog=tmp_path / name)
        assert all(isinstance(outcome, Record) for outcome in run(map(Task, photos), there, stubs.no_models))
        made.append(files(ThumbnailStore(there)))
    assert made[0] == made[1]
    assert {name.partition(".")[0] for name in made[0]} == {fingerprint_file(path).hex() for path in photos}
    assert len(made[0]) == 2


def test_a_run_without_thumbnails_makes_no_store(settings: Settings, photos: list[bytes]) -> None:
    off = dataclasses.replace(settings, thumbnails=False)
    assert len(list(index_inline(map(Task, photos), off, stubs.no_models))) == 3
    assert not ThumbnailStore(off).folder.exists()


def test_a_run_sweeps_what_a_killed_reader_left(tmp_path: Path) -> None:
    library = Library(tmp_path, inline=True)
    library.add("good.jpg")
    left = library.catalog / "thumbs" / "tmp" / "123-00"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert library.run() == 0
    assert not left.exists()
    assert len(list(library.catalog.glob("thumbs/??/*.jpg"))) == 1


# ── catalogd thumbs ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def command(settings: Settings, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`catalogd thumbs …` on the catalog of the photos, in one process, with the settings of these tests."""
    monkeypatch.setattr(filling, "index", index_inline)
    for name in ("frame_edge_px", "ring_bytes", "readers", "thumbnail_edge_px"):
        monkeypatch.setenv(f"CATALOGD_{name.upper()}", str(getattr(settings, name)))
    catalog.close()

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["--catalog", str(settings.catalog), "thumbs", *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


def row(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_fill_makes_those_that_are_missing_and_says_so(
    command: Any, store: ThumbnailStore, photos: list[bytes]
) -> None:
    assert (row(command("--json"))["missing"], row(command("--json"))["photos"]) == (3, 3)
    assert "3 photos have none" in command().stdout
    filled = row(command("--fill", "--json"))
    assert (filled["made"], filled["not_made"], filled["missing"], filled["count"]) == (2, 0, 0, 2)
    for path in photos:
        expected = Image.open(os.fsdecode(path))
        assert difference(store.get(fingerprint_file(path)), np.asarray(expected)) < ALIKE
        expected.close()
    assert row(command("--fill", "--json"))["made"] == 0


def test_fill_all_makes_them_again_as_the_settings_say_now(
    command: Any, store: ThumbnailStore, monkeypatch: pytest.MonkeyPatch, photos: list[bytes]
) -> None:
    command("--fill")
    before = files(store)
    monkeypatch.setenv("CATALOGD_THUMBNAIL_FORMAT", "webp")
    command("--fill")
    assert files(store) == before
    os.unlink(photos[1])
    again = row(command("--fill", "--all", "--json", code=3))
    assert (again["made"], again["not_made"]) == (1, 1)
    kept = fingerprint_file(photos[0]).hex()
    assert {path.partition(".")[2] for path in files(store) if path.startswith(kept)} == {"webp"}
    assert len(files(store)) == 2, "the thumbnail of a photo that is away was lost"


def test_fill_makes_no_more_than_there_is_room_for(
    settings: Settings, catalog: Catalog, store: ThumbnailStore
) -> None:
    assert len(filling.lacking_contents(catalog, store)) == 2
    store.put(LEFTMOST, SCENE)
    size = store.usage().size_bytes
    small = ThumbnailStore(dataclasses.replace(settings, thumbnail_store_bytes=int(2.5 * size)))
    assert len(filling.lacking_contents(catalog, small)) == 1
    full = ThumbnailStore(dataclasses.replace(settings, thumbnail_store_bytes=size))
    assert filling.lacking_contents(catalog, full) == set()


def test_ctrl_c_keeps_what_was_made(
    command: Any, store: ThumbnailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filling.fill_thumbnails

    def interrupted(*arguments: Any) -> Iterator[bool]:
        yield next(real(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(filling, "fill_thumbnails", interrupted)
    report = row(command("--fill", "--json", code=130))
    assert report["made"] == 1
    assert store.usage().count >= 1
    monkeypatch.undo()


def test_prune_removes_the_thumbnails_of_forgotten_photos_and_keeps_those_of_missing_ones(
    command: Any, settings: Settings, store: ThumbnailStore, photos: list[bytes]
) -> None:
    command("--fill")
    store.put(LEFTMOST, SCENE)
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.commit([Missing(photos[1], time.time())], bytes(8))
    pruned = row(command("--prune", "--json"))
    assert (pruned["freed"], pruned["count"], pruned["missing"]) == (1, 2, 0)
    assert pruned["freed_bytes"] > 0
    assert store.sizes().keys() == {fingerprint_file(path) for path in photos}
    assert "removed 0 thumbnails" in command("--prune").stdout


def test_path_prints_the_file_of_a_photo(command: Any, store: ThumbnailStore, photos: list[bytes]) -> None:
    photo = os.fsdecode(photos[0])
    assert "--fill" in command("--path", photo, code=1).stderr
    command("--fill")
    found = command("--path", photo).stdout
    assert found == f"{store.path_of(fingerprint_file(photos[0]))}\n"
    assert row(command("--path", photo, "--json")) == {"path": photo, "thumbnail": found.rstrip("\n")}
    command("--path", "/no/such/photo.jpg", code=2)


@pytest.mark.parametrize("flags", [("--all",), ("--path", "x", "--fill"), ("--path", "x", "--prune")])
def test_flags_that_make_no_sense_together_are_refused(command: Any, flags: tuple[str, ...]) -> None:
    assert "--" in command(*flags, code=2).stderr


def test_a_nearly_full_store_says_which_setting_bounds_it(
    command: Any, store: ThumbnailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("--fill")
    path = store.folder / "00" / ("00" * 16 + ".jpg")
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(250 << 20)
    monkeypatch.setenv("CATALOGD_THUMBNAIL_STORE_BYTES", str(256 << 20))
    assert "thumbnail_store_bytes" in command().stdout


def test_the_status_tells_the_size(command: Any, settings: Settings) -> None:
    command("--fill")
    result = CliRunner().invoke(cli, ["--catalog", str(settings.catalog), "status", "--json"])
    assert row(result)["thumbnails"] == 2
    assert row(result)["thumbnail_bytes"] > 500
