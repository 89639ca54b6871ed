from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from catalogd.catalog import Catalog
from catalogd.catalog.embedding_index import TAIL_IDLE, space_folder
from catalogd.catalog.store import (
    FILE_ENTRY,
    MISSING_ENTRY,
    Reading,
    Store,
    embeddings_mark,
    file_key,
    id_bytes,
    space_key,
)
from catalogd.errors import CatalogError, CatalogMissingError, CatalogVersionError
from catalogd.records import (
    Change,
    Failure,
    Missing,
    Moved,
    Output,
    Record,
    Retry,
    SidecarsKnown,
    Stat,
    encode,
)
from catalogd.settings import Settings
from tests.catalog.photos import OTHER_PROFILE, PROFILE, SPACE, failure, photo, tagger, vector

SETTINGS = Settings(text_heap_bytes=15 << 20)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog", SETTINGS, write=True) as opened:
        yield opened


def filled(catalog: Catalog, count: int = 6) -> list[int]:
    """Photos 0.jpg … in /a, the last one missing, and a failure; followed. Returns the ids by name."""
    catalog.commit([photo(f"/a/{n}.jpg") for n in range(count)], PROFILE)
    ids = [catalog.photo_id_of(b"/a/%d.jpg" % n) or 0 for n in range(count)]
    catalog.commit([Missing(b"/a/%d.jpg" % (count - 1), 5.0), failure("/b/broken.jpg")], PROFILE)
    catalog.follow(force=True)
    return ids


def raw_store(catalog: Catalog) -> Store:
    """The tables themselves, to spoil them; shares the environment of `catalog`."""
    return Store(catalog.folder, write=True)


# -- the door --------------------------------------------------------------------------------------


def test_a_photo_is_found_by_its_words_and_by_its_embedding_once_the_catalog_followed(
    catalog: Catalog,
) -> None:
    catalog.commit([photo("/a/cat.jpg"), photo("/a/dog.jpg", outputs={"tagger": tagger("dog")})], PROFILE)
    catalog.follow(force=True)
    photo_id = catalog.photo_id_of(b"/a/cat.jpg")
    query = np.frombuffer(vector(len(b"/a/cat.jpg")), "<f2").astype(np.float32)
    assert [hit.photo_id for hit in catalog.search_text("cats sofa")] == [photo_id]
    assert [found for found, _ in catalog.search_embeddings(SPACE, query, 5)] == [photo_id]
    assert catalog.search_embeddings("no such space", query, 5) == []
    assert catalog.counts() == (2, 0, 0, 1)


def test_a_reader_sees_what_the_writer_commits(catalog: Catalog) -> None:
    with Catalog.open(catalog.folder, SETTINGS) as reading:
        assert reading.search_text("cat") == []
        filled(catalog)
        assert len(reading.search_text("cat", limit=50)) == 5
        assert reading.columns().ids.tolist() == catalog.columns().ids.tolist()
        catalog.commit([Missing(b"/a/0.jpg", 1.0)], PROFILE)
        catalog.follow(force=True)
        assert reading.matching(()).tolist() == catalog.matching(()).tolist()
        assert len(reading.matching(())) == 4


def test_a_reader_in_another_process_searches_while_this_one_writes(catalog: Catalog) -> None:
    filled(catalog)
    code = """
import sys; from pathlib import Path
from catalogd.catalog import Catalog; from catalogd.settings import Settings
with Catalog.open(Path(sys.argv[1]), Settings()) as catalog:
    print(catalog.counts().indexed, len(catalog.search_text("cat")), catalog.check(deep=True))
"""
    command = [sys.executable, "-c", code, str(catalog.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "5 5 []\n", done.stderr


def test_only_a_catalog_opened_for_writing_writes(catalog: Catalog) -> None:
    with Catalog.open(catalog.folder, SETTINGS) as reading:
        for write in (lambda: reading.commit([], PROFILE), reading.follow, reading.repair, reading.maintain):
            with pytest.raises(CatalogError, match="for reading"):
                write()


def test_reading_without_a_catalog_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogMissingError, match="catalogd run ~/Pictures"):
        Catalog.open(tmp_path, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_newer_catalog_is_left_as_it_is(catalog: Catalog) -> None:
    catalog.close()
    with Store(catalog.folder, write=True) as store:
        store.write(lambda tables: tables.put("meta", b"format", (9).to_bytes(8, "big")))
    with pytest.raises(CatalogVersionError, match="format 9"):
        Catalog.open(catalog.folder, SETTINGS, write=True)


def test_all_records_are_walked_and_an_unknown_photo_is_none(catalog: Catalog) -> None:
    ids = filled(catalog)
    assert sorted(ids) == [record.photo_id for record in catalog.iter_records()]
    assert [catalog.record(wrong) for wrong in (0, -1, 5)] == [None, None, None]


def test_photos_missing_for_too_long_are_let_go_by_maintenance(catalog: Catalog) -> None:
    ids = filled(catalog)
    catalog.maintain()
    catalog.follow(force=True)
    assert catalog.record(ids[-1]) is None
    assert catalog.counts().missing == 0
    assert catalog.check(deep=True) == []


def test_a_writer_that_follows_maintains_every_minute(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(catalog)
    assert catalog.counts().missing == 1
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    catalog.follow()
    assert catalog.counts().missing == 0


def test_many_threads_search_while_the_catalog_grows_its_map(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    Store(folder, write=True, map_bytes=1 << 20).close()
    big = {"tagger": tagger("cat", "x" * 20_000)}
    errors: list[BaseException] = []
    with Store(folder, write=True, map_bytes=1 << 20), Catalog.open(folder, SETTINGS, write=True) as catalog:
        stop = threading.Event()

        def search() -> None:
            try:
                while not stop.wait(0.002):  # a thread that never pauses takes the interpreter's lock
                    assert len(catalog.folder_entries(b"/a")) % 50 == 0
                    catalog.search_text("cat")
            except BaseException as error:  # shown by the test
                errors.append(error)

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for start in range(0, 200, 50):
            catalog.commit([photo(f"/a/{n}.jpg", outputs=big) for n in range(start, start + 50)], PROFILE)
            catalog.follow(force=True)
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []
        assert catalog.check() == []


# -- sealing ---------------------------------------------------------------------------------------


def test_generations_are_sealed_in_the_background_and_nothing_is_lost_meanwhile(tmp_path: Path) -> None:
    small = dataclasses.replace(SETTINGS, exact_below=100)
    with Catalog.open(tmp_path / "catalog", small, write=True) as catalog:
        # More photos than make an idle catalog seal.
        records = [
            photo(f"/a/{n}.jpg", outputs={"embedder": Output(SPACE, embedding=vector(n))})
            for n in range(TAIL_IDLE + 100)
        ]
        catalog.commit(records, PROFILE)
        catalog.rebuild_embeddings()
        sealed = list((tmp_path / "catalog" / "embeddings").glob("*/gen-*"))
        assert len(sealed) == 1
        catalog.commit([Missing(b"/a/7.jpg", 1.0), photo("/a/new.jpg")], PROFILE)
        catalog.follow(force=True)
        query = np.frombuffer(vector(8), "<f2").astype(np.float32)
        assert catalog.search_embeddings(SPACE, query, 1)[0][0] == catalog.photo_id_of(b"/a/8.jpg")
        assert catalog.check(deep=True) == []


class FailingSealing:
    """Stands for a process that dies at once, as one does that finds no memory or a full disk."""

    started: ClassVar[list[str]] = []

    def __init__(self, folder: Path, space: str, settings: Settings) -> None:
        self.space = space
        self.started.append(space)

    def is_done(self) -> bool:
        return True

    def wait(self) -> bool:
        return False


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """A catalog of two spaces that both want a generation, each of whose sealings fails."""
    monkeypatch.setattr("catalogd.catalog.Sealing", FailingSealing)
    monkeypatch.setattr("catalogd.catalog.embedding_index.TAIL_IDLE", 5)
    FailingSealing.started.clear()
    small = dataclasses.replace(SETTINGS, exact_below=5)
    with Catalog.open(tmp_path / "catalog", small, write=True) as catalog:
        outputs = {name: Output(name, embedding=vector(len(name))) for name in ("one", "other")}
        catalog.commit([photo(f"/a/{n}.jpg", outputs=outputs) for n in range(9)], PROFILE)
        yield catalog


def test_a_sealing_that_fails_waits_ever_longer_and_starves_no_other_space(
    failing: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started again every two seconds for ever, and no other space ever had its turn."""
    clock = time.monotonic()
    start = clock
    began: dict[str, list[float]] = {"one": [], "other": []}
    while clock < start + 4 * 3600:
        clock += 2.5
        monkeypatch.setattr(time, "monotonic", lambda now=clock: now)
        failing.follow(idle=True)
        for space in FailingSealing.started:
            began[space].append(clock)
        FailingSealing.started.clear()
    for times in began.values():
        pauses = np.diff(times)
        assert pauses.tolist() == pytest.approx([60, 120, 240, 480, 960, 1920, 3600, 3600], abs=10)


def test_a_rebuild_whose_sealing_fails_tries_all_spaces_and_says_so(failing: Catalog) -> None:
    """It used to look like success."""
    for _ in range(2):
        with pytest.raises(CatalogError, match=r"not sealed.*one, other"):
            failing.rebuild_embeddings()
    assert sorted(FailingSealing.started) == ["one", "one", "other", "other"]
    assert failing.check(deep=True) == []


def test_a_sealing_that_failed_without_a_generation_holds_no_changes(failing: Catalog) -> None:
    with pytest.raises(CatalogError):
        failing.rebuild_embeddings()
    with raw_store(failing) as store:
        assert store.mark(embeddings_mark("one")) is None


def test_the_space_of_a_model_that_was_replaced_is_let_go(tmp_path: Path) -> None:
    """Its mark used to stay, and the change log grew for ever behind it."""
    small = dataclasses.replace(SETTINGS, exact_below=100)
    with Catalog.open(tmp_path / "catalog", small, write=True) as catalog:
        folder = space_folder(catalog.folder, SPACE)

        def commit(space: str) -> None:
            outputs = [{"embedder": Output(space, embedding=vector(n))} for n in range(TAIL_IDLE + 100)]
            catalog.commit([photo(f"/a/{n}.jpg", outputs=o) for n, o in enumerate(outputs)], PROFILE)

        commit(SPACE)
        catalog.rebuild_embeddings()
        catalog.maintain()
        assert any(folder.glob("gen-*"))
        query = np.frombuffer(vector(8), "<f2").astype(np.float32)
        assert catalog.search_embeddings(SPACE, query, 1)
        commit("embedder 2")
        catalog.maintain()
        assert catalog.spaces() == {"embedder 2": 8}
        assert not folder.exists()
        with raw_store(catalog) as store:
            assert store.mark(embeddings_mark(SPACE)) is None
        assert catalog.search_embeddings(SPACE, query, 1) == []
        commit(SPACE)
        assert catalog.search_embeddings(SPACE, query, 1)[0][0] == catalog.photo_id_of(b"/a/8.jpg")
        assert catalog.check() == []


# -- check and repair ------------------------------------------------------------------------------


FIRST, MISSING = file_key(b"/a/0.jpg"), file_key(b"/a/5.jpg")
SPACE_KEY = space_key(SPACE)


def _copy(tables: Reading, table: str, key: bytes, to: bytes) -> None:
    value = tables.get(table, key)
    assert value is not None
    tables.put(table, to, value)


def _entry(photo_id: int) -> bytes:
    return FILE_ENTRY.pack(0, 0, photo_id, PROFILE)


# What is spoiled → how, given the tables and the ids of the photos by name.
DAMAGES: dict[str, Callable[[Reading, list[int]], object]] = {
    "photo gone": lambda t, ids: t.delete("photos", id_bytes(ids[0])),
    "photo undecodable": lambda t, ids: t.put("photos", id_bytes(ids[0]), b"\xc1"),
    "photo under another id": lambda t, ids: _copy(t, "photos", id_bytes(ids[0]), id_bytes(77)),
    "embedding gone": lambda t, ids: t.delete("embeddings", SPACE_KEY + id_bytes(ids[0])),
    "embedding short": lambda t, ids: t.put("embeddings", SPACE_KEY + id_bytes(ids[0]), b"1234"),
    "embedding of nobody": lambda t, ids: t.put("embeddings", SPACE_KEY + id_bytes(77), vector(1)),
    "file entry gone": lambda t, ids: t.delete("files", FIRST),
    "file entry short": lambda t, ids: t.put("files", FIRST, b"short"),
    "file entry of another": lambda t, ids: _copy(t, "files", file_key(b"/a/1.jpg"), FIRST),
    "file entry of nobody": lambda t, ids: t.put("files", file_key(b"/a/z.jpg"), _entry(77)),
    "file entry of another version": lambda t, ids: t.put("files", FIRST, _entry(ids[0])),
    "file of a missing photo": lambda t, ids: t.put("files", MISSING, _entry(ids[5])),
    "folder gone": lambda t, ids: t.delete("folders", FIRST[:8]),
    "folder of nobody": lambda t, ids: t.put("folders", b"12345678", b"/zzz"),
    "folder of another name": lambda t, ids: t.put("folders", FIRST[:8], b"/zzz"),
    "contents gone": lambda t, ids: t.clear("contents"),
    "content of nobody": lambda t, ids: t.put("contents", bytes(24) + id_bytes(77), b""),
    "failures gone": lambda t, ids: t.clear("failures"),
    "failure undecodable": lambda t, ids: t.put("failures", file_key(b"/b/broken.jpg"), b"\xc1"),
    "failure without its file": lambda t, ids: t.put(
        "failures", file_key(b"/a/z.jpg"), encode(failure("/a/z.jpg"))
    ),
    "missing rows gone": lambda t, ids: t.clear("missing"),
    "missing row of a photo that is here": lambda t, ids: t.put(
        "missing", id_bytes(ids[0]), MISSING_ENTRY.pack(1.0, PROFILE)
    ),
    "change of the future": lambda t, ids: t.put("commits", id_bytes(999) + id_bytes(ids[0]), b""),
    "mark of the future": lambda t, ids: t.put("meta", b"mark:text", id_bytes(999)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_of_a_table_is_seen_and_repaired(catalog: Catalog, damage: str) -> None:
    ids = filled(catalog)
    assert catalog.check(deep=True) == []
    with raw_store(catalog) as store:
        store.write(lambda tables: DAMAGES[damage](tables, ids))
    assert catalog.check()
    catalog.repair()
    assert catalog.check(deep=True) == []
    assert catalog.counts().indexed >= 4


def test_an_undamaged_catalog_is_left_as_it_is_by_repair(catalog: Catalog) -> None:
    filled(catalog)
    before = catalog.counts()
    catalog.repair()
    assert catalog.counts() == before


def test_repair_keeps_what_can_be_kept_so_that_a_rescan_has_little_to_do(catalog: Catalog) -> None:
    ids = filled(catalog)
    before = catalog.folder_entries(b"/a")
    with raw_store(catalog) as store:
        store.write(lambda tables: tables.delete("embeddings", space_key(SPACE) + id_bytes(ids[0])))
    catalog.repair()
    after = catalog.folder_entries(b"/a")
    assert {name for name in before if before[name] != after[name]} == {b"0.jpg"}
    record = catalog.record(ids[0])
    assert record is not None
    assert record.outputs.keys() == {"tagger"}
    assert [found.path for found in catalog.failures()] == [b"/b/broken.jpg"]


def test_sidecars_are_known_until_they_are_gone_or_their_folder_is(catalog: Catalog) -> None:
    filled(catalog)
    stat = Stat(10, 20)
    catalog.commit([SidecarsKnown(b"/a", {b"0.jpg.xmp": stat, b"1.xmp": stat})], PROFILE)
    assert catalog.known_sidecars(b"/a") == {b"0.jpg.xmp": stat, b"1.xmp": stat}
    assert catalog.sidecar_stat(b"/a/1.xmp") == stat
    catalog.commit([SidecarsKnown(b"/a", {b"1.xmp": None})], PROFILE)
    assert list(catalog.known_sidecars(b"/a/")) == [b"0.jpg.xmp"]
    catalog.commit([SidecarsKnown(b"/nowhere", {b"x.xmp": stat})], PROFILE)
    assert catalog.known_sidecars(b"/nowhere") == {}
    assert catalog.check(deep=True) == []
    catalog.commit([Missing(b"/a/%d.jpg" % number, 5.0) for number in range(6)], PROFILE)
    assert catalog.known_sidecars(b"/a") == {}


def test_photos_that_were_touched_since_a_commit_are_told_up_to_the_last(catalog: Catalog) -> None:
    ids = filled(catalog)
    last, touched = catalog.changes_since(0) or (0, [])
    assert (last, sorted(touched)) == (catalog.counts().commit, sorted(ids))
    assert catalog.changes_since(last) == (last, [])
    catalog.commit([SidecarsKnown(b"/a", {b"x.xmp": Stat(1, 1)})], PROFILE)
    assert catalog.changes_since(last) == (last + 1, [])


def test_the_photos_below_a_folder_are_told_without_failures(catalog: Catalog) -> None:
    filled(catalog)
    catalog.commit([photo("/a/b/deep.jpg"), photo("/ab/other.jpg")], PROFILE)
    found = sorted(record.path for record in catalog.records_under(b"/a"))
    assert found == [*(b"/a/%d.jpg" % number for number in range(5)), b"/a/b/deep.jpg"]
    assert list(catalog.records_under(b"/b")) == []


@pytest.mark.parametrize("deep", [False, True])
def test_a_text_index_that_lags_is_not_a_difference_but_one_that_is_wrong_is(
    catalog: Catalog, deep: bool
) -> None:
    ids = filled(catalog)
    catalog.commit([photo("/a/new.jpg"), Missing(b"/a/0.jpg", 3.0)], PROFILE)
    assert catalog.check(deep) == []
    with raw_store(catalog) as store:
        store.set_mark("text", store.commit_number())
        found = {(difference.store, difference.photo_id) for difference in catalog.check(deep)}
    assert found == {("text", ids[0]), ("text", catalog.photo_id_of(b"/a/new.jpg"))}
    catalog.repair()
    assert catalog.check(deep) == []


def test_a_deep_check_sees_a_text_document_of_an_older_version(catalog: Catalog) -> None:
    ids = filled(catalog)
    catalog.commit([photo("/a/0.jpg", outputs={"tagger": tagger("horse")})], PROFILE)
    with raw_store(catalog) as store:
        store.set_mark("text", store.commit_number())
    assert catalog.check() == []
    assert [difference.photo_id for difference in catalog.check(deep=True)] == [ids[0]]
    catalog.rebuild_text()
    assert catalog.check(deep=True) == []


def test_a_text_index_that_was_deleted_is_a_difference(catalog: Catalog) -> None:
    filled(catalog)
    shutil.rmtree(catalog.folder / "text")
    assert [difference.text for difference in catalog.check()] == ["there is no text index"]
    catalog.repair()
    assert catalog.check(deep=True) == []
    assert len(catalog.search_text("cat")) == 5


# -- a full disk -----------------------------------------------------------------------------------

_FULL_DISK = """
import resource, sys
from pathlib import Path
from catalogd.catalog import Catalog
from catalogd.errors import CatalogFullError
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo, tagger

folder, how = Path(sys.argv[1]), sys.argv[2]
filler = folder / "filler"
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
else:
    filler.write_bytes(bytes(int(sys.argv[3])))

def records(start):
    words = [f"w{start * 7919 % 9973 + k}" for k in range(200)]
    outputs = {"t": tagger("cat", "y" * 3000, *words)}
    return [photo(f"/a/{n}.jpg", outputs=outputs) for n in range(start, start + 50)]

catalog = Catalog.open(folder / "catalog", Settings(text_heap_bytes=15 << 20), write=True)
acked = 0
full = set()
for _ in range(400):
    try:
        catalog.commit(records(acked), PROFILE)
        acked += 50
    except CatalogFullError:
        full.add("store")
    try:
        catalog.follow(force=True)
    except CatalogFullError:
        full.add("text")
    if "store" in full:
        break
assert "store" in full, full
assert acked > 0
assert catalog.counts().indexed == acked
assert catalog.check() == [], catalog.check()
catalog.search_text("cat")
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    filler.unlink()
catalog.commit(records(acked), PROFILE)
catalog.follow(force=True)
assert catalog.counts().indexed == acked + 50
assert len(catalog.matching(())) == acked + 50
assert catalog.check(deep=True) == []
catalog.close()
print("acknowledged", acked, sorted(full))
"""


def test_files_that_may_not_grow_are_a_full_disk_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FULL_DISK, str(tmp_path), "limit", str(6 << 20)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.startswith("acknowledged"), done.stderr


def _can_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


def test_a_full_disk_is_told_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    if not _can_mount():
        pytest.skip("a small file system can't be mounted here; the variant with limited files has run")
    mount = 'mount -t tmpfs -o size=24m tmpfs "$1" && exec "$2" -c "$3" "$1" disk 12582912'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, _FULL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.startswith("acknowledged"), done.stderr


# -- against a dictionary --------------------------------------------------------------------------

PATHS = [b"/a/1.jpg", b"/a/2.jpg", b"/b/1.jpg", b"/b/\xff\n.jpg"]
paths = st.sampled_from(PATHS)
contents = st.sampled_from(["red", "green", "blue"])
stats = st.builds(Stat, st.just(1000), st.integers(1, 3))
profiles = st.sampled_from([PROFILE, OTHER_PROFILE])
reasons = st.sampled_from(["unreadable", "denied"])
models = st.sets(st.sampled_from(["embedder", "tagger"]), min_size=1)


@dataclasses.dataclass
class Known:
    """What the model of the machine knows of one photo."""

    photo_id: int
    path: bytes
    stat: Stat
    content: bytes
    outputs: dict[str, Output]
    missing: bool = False
    lately: bool = False  # missing since now, by the real clock: another photo took its place


class CatalogMachine(RuleBasedStateMachine):
    """The catalog does what a dictionary of photos and one of failures would do."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="catalog-"))
        self.photos: dict[int, Known] = {}
        self.failed: dict[bytes, tuple[Failure, int]] = {}  # with the photo that is kept at that path
        self.last: tuple[list[Change], bytes] = ([], PROFILE)
        self.clock = 0.0

    @initialize()
    def open(self) -> None:
        self.catalog = Catalog.open(self.folder, SETTINGS, write=True)

    def teardown(self) -> None:
        if hasattr(self, "catalog"):
            self.catalog.close()
        shutil.rmtree(self.folder)

    def at(self, path: bytes) -> Known | None:
        here = [known for known in self.photos.values() if known.path == path and not known.missing]
        assert len(here) <= 1
        return here[0] if here else None

    def send(self, change: Change, profile: bytes) -> None:
        self.catalog.commit([change], profile)
        self.last = ([change], profile)

    @rule(path=paths, of=contents, stat=stats, names=models, profile=profiles, seed=st.integers(0, 3))
    def add(self, path: bytes, of: str, stat: Stat, names: set[str], profile: bytes, seed: int) -> None:
        made = {"embedder": Output(f"e{seed % 2}", embedding=vector(seed)), "tagger": tagger(f"tag{seed}")}
        record = photo(path, of=of, stat=stat, outputs={name: made[name] for name in sorted(names)})
        known = self.at(path) or self._come_back(record)
        self.send(record, profile)
        photo_id = self.catalog.photo_id_of(path)
        assert photo_id is not None
        assert known is None or known.photo_id == photo_id
        assert known is not None or photo_id not in self.photos
        kept = known.outputs if known is not None and known.content == record.content else {}
        self.photos[photo_id] = Known(photo_id, path, stat, record.content, {**kept, **record.outputs})
        self.failed.pop(path, None)

    def _come_back(self, record: Record) -> Known | None:
        """The missing photo with this path and content that the catalog takes: the smallest id."""
        same = [
            known
            for known in self.photos.values()
            if known.missing and (known.path, known.content) == (record.path, record.content)
        ]
        return min(same, key=lambda known: known.photo_id, default=None)

    @rule(path=paths, stat=stats, profile=profiles, reason=reasons)
    def fail(self, path: bytes, stat: Stat, profile: bytes, reason: str) -> None:
        self.clock += 1
        before = self.failed.get(path)
        tries = before[0].tries + 1 if before and before[0].stat == stat else 1
        change = failure(path, stat=stat, failed_at=self.clock, reason=reason)
        known = self.at(path)
        self.send(change, profile)
        kept = known.photo_id if known else 0
        stored = msgspec.structs.replace(change, tries=tries, photo_id=kept)
        self.failed[path] = (stored, kept)

    @rule(path=paths, to=paths, stat=stats, profile=profiles)
    def move(self, path: bytes, to: bytes, stat: Stat, profile: bytes) -> None:
        of_path = sorted(i for i, known in self.photos.items() if known.path == path)
        if not of_path:
            return
        known = self.photos[of_path[-1]]
        displaced = self.at(to)
        was_here = not known.missing
        self.send(Moved(known.photo_id, to, stat), profile)
        if displaced is not None and displaced is not known:
            displaced.missing = displaced.lately = True
        if was_here:
            self.failed.pop(known.path, None)
        self.failed.pop(to, None)
        known.path, known.stat, known.missing, known.lately = to, stat, False, False

    @rule(path=paths)
    def lose(self, path: bytes) -> None:
        self.clock += 1
        known = self.at(path)
        self.send(Missing(path, self.clock), PROFILE)
        if known is not None:
            known.missing = True
        self.failed.pop(path, None)

    @rule(path=paths)
    def retry(self, path: bytes) -> None:
        self.send(Retry(path), PROFILE)
        self.failed.pop(path, None)

    @rule()
    def replay(self) -> None:
        """What a writer does that died between its commit and the acknowledgement."""
        if self.last[0]:
            self.catalog.commit(*self.last)

    @rule()
    def purge(self) -> None:
        self.catalog.maintain()
        self.photos = {i: known for i, known in self.photos.items() if not known.missing or known.lately}
        self.last = ([], PROFILE)

    @rule(force=st.booleans())
    def follow(self, force: bool) -> None:
        self.catalog.follow(force=force)

    @rule()
    def reopen(self) -> None:
        self.catalog.close()
        self.open()

    @rule()
    def rebuild(self) -> None:
        self.catalog.rebuild_text()
        self.catalog.rebuild_embeddings()

    @rule()
    def repair(self) -> None:
        self.catalog.repair()

    @invariant()
    def it_says_what_the_dictionaries_say(self) -> None:
        if not hasattr(self, "catalog"):
            return
        records = self.catalog.records(self.photos, with_embeddings=True)
        for known, record in zip(self.photos.values(), records, strict=True):
            assert record is not None
            assert (record.path, record.stat, record.content) == (known.path, known.stat, known.content)
            assert record.outputs == known.outputs
            assert (record.missing_since is not None) == known.missing
        assert sorted(self.photos) == [record.photo_id for record in self.catalog.iter_records()]
        assert {found.path: found for found in self.catalog.failures()} == {
            path: stored for path, (stored, _) in self.failed.items()
        }
        here = {known.path for known in self.photos.values() if not known.missing}
        known_files = {
            folder + b"/" + name
            for folder in self.catalog.folders_under(b"/")
            for name in self.catalog.folder_entries(folder)
        }
        assert known_files == here | self.failed.keys()
        assert self.catalog.check(deep=True) == []


TestCatalogMachine = CatalogMachine.TestCase
TestCatalogMachine.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
