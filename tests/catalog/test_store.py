from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.catalog.store import (
    FILE_ENTRY,
    HELD_APART,
    KEPT_COMMITS,
    STALE_PROFILE,
    TABLES,
    ChangesTrimmedError,
    Store,
    embeddings_mark,
    file_key,
    id_bytes,
)
from catalogd.errors import CatalogError, CatalogMissingError, CatalogVersionError
from catalogd.records import (
    Face,
    Facts,
    Failure,
    Missing,
    Moved,
    ObjectBox,
    Output,
    Quality,
    Record,
    Retry,
    Stat,
    TextLine,
)
from tests.catalog.photos import (
    OTHER_PROFILE,
    PROFILE,
    SPACE,
    content,
    failure,
    photo,
    tagger,
    vector,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path, write=True, map_bytes=1 << 20) as opened:
        yield opened


def id_of(store: Store, path: bytes) -> int:
    photo_id = store.photo_id_of(path)
    assert photo_id is not None
    return photo_id


def record_of(store: Store, photo_id: int) -> Record:
    record = store.record(photo_id)
    assert record is not None
    return record


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# -- records and embeddings ------------------------------------------------------------------------


def test_a_committed_photo_is_read_back_with_and_without_its_embeddings(store: Store) -> None:
    assert store.commit([photo("/a/x.jpg")], PROFILE) == 1
    photo_id = id_of(store, b"/a/x.jpg")
    apart = record_of(store, photo_id).outputs["embedder"]
    whole = store.records([photo_id], with_embeddings=True)[0]
    assert apart.embedding == HELD_APART
    assert whole is not None
    assert whole.outputs == photo("/a/x.jpg").outputs
    assert store.spaces() == {SPACE: 8}


def test_embeddings_come_as_a_matrix_in_the_order_asked_for_without_the_absent(store: Store) -> None:
    store.commit([photo(f"/a/{n * 'x'}.jpg") for n in range(1, 6)], PROFILE)
    ids = store.photo_ids()
    asked = np.array([ids[3], 12345, ids[0]])
    found, matrix = store.embeddings(SPACE, asked)
    assert found.tolist() == [ids[3], ids[0]]
    assert matrix.dtype == np.float16
    stored = store.records([int(ids[3])], with_embeddings=True)[0]
    assert stored is not None
    assert matrix[0].tobytes() == stored.outputs["embedder"].embedding


def test_embeddings_are_walked_page_by_page_in_id_order(store: Store) -> None:
    store.commit([photo(f"/a/{n}.jpg") for n in range(10)], PROFILE)
    walked: list[int] = []
    while True:
        ids, matrix = store.iter_embeddings(SPACE, walked[-1] if walked else 0, 4)
        assert len(ids) == len(matrix)
        if not len(ids):
            break
        walked += ids.tolist()
    assert walked == store.photo_ids().tolist()


def test_joint_embeddings_live_in_a_space_of_their_own(store: Store) -> None:
    output = Output(SPACE, embedding=vector(1), joint_embedding=vector(2, 4))
    store.commit([photo("/a/x.jpg", outputs={"embedder": output})], PROFILE)
    assert store.spaces() == {SPACE: 8, SPACE + "#joint": 4}
    _, matrix = store.embeddings(SPACE + "#joint", store.photo_ids())
    assert matrix.tobytes() == vector(2, 4)


def test_an_embedding_of_another_dimension_is_refused_and_nothing_is_committed(store: Store) -> None:
    store.commit([photo("/a/x.jpg")], PROFILE)
    odd = photo("/a/y.jpg", outputs={"embedder": Output(SPACE, embedding=vector(1, 4))})
    with pytest.raises(CatalogError, match="fingerprint"):
        store.commit([photo("/a/z.jpg"), odd], PROFILE)
    assert store.commit_number() == 1
    assert store.photo_id_of(b"/a/z.jpg") is None


def test_an_unknown_space_is_empty(store: Store) -> None:
    ids, matrix = store.embeddings("nothing", np.array([1, 2]))
    assert (len(ids), matrix.shape[0]) == (0, 0)


# -- the life of a photo ---------------------------------------------------------------------------


def test_more_outputs_of_the_same_content_join_those_there_were(store: Store) -> None:
    store.commit([photo("/a/x.jpg")], PROFILE)
    store.commit([photo("/a/x.jpg", outputs={"faces": Output("faces 1", faces=())})], OTHER_PROFILE)
    record = record_of(store, id_of(store, b"/a/x.jpg"))
    assert record.outputs.keys() == {"embedder", "tagger", "faces"}
    assert store.embeddings(SPACE, store.photo_ids())[0].size == 1
    entry = store.file_entry(b"/a/x.jpg")
    assert entry is not None
    assert entry.profile_key == OTHER_PROFILE


def test_a_photo_that_changed_in_place_keeps_its_id_and_loses_its_outputs(store: Store) -> None:
    store.commit([photo("/a/x.jpg", of="before", added_at=7.0)], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    store.commit([photo("/a/x.jpg", of="after", outputs={"tagger": tagger("dog")})], PROFILE)
    record = record_of(store, photo_id)
    assert (record.content, record.added_at) == (content("after"), 7.0)
    assert record.outputs == {"tagger": tagger("dog")}
    assert store.embeddings(SPACE, np.array([photo_id]))[0].size == 0
    assert store.photos_with_content(1000, content("before")) == []


@pytest.mark.parametrize("names", [("tagger",), ("faces",)])
def test_a_photo_that_changed_before_only_some_of_its_models_ran_is_stale(
    store: Store, names: tuple[str, ...]
) -> None:
    """The outputs that a partial run left out used never to be made for the new content."""
    made = {"tagger": tagger("dog"), "faces": Output("faces 1", faces=())}
    store.commit([photo("/a/x.jpg", of="before")], PROFILE)
    some = {name: made[name] for name in names}
    store.commit([photo("/a/x.jpg", of="after", stat=Stat(7, 7), outputs=some)], OTHER_PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    assert record_of(store, photo_id).outputs == some
    assert store.file_entry(b"/a/x.jpg") == (Stat(7, 7), photo_id, STALE_PROFILE)
    store.commit([photo("/a/x.jpg", of="after", stat=Stat(7, 7))], OTHER_PROFILE)
    assert store.file_entry(b"/a/x.jpg") == (Stat(7, 7), photo_id, OTHER_PROFILE)


def test_a_photo_that_changed_and_was_read_by_all_its_models_is_not_stale(store: Store) -> None:
    store.commit([photo("/a/x.jpg", of="before")], PROFILE)
    store.commit([photo("/a/x.jpg", of="after")], OTHER_PROFILE)
    assert store.file_entry(b"/a/x.jpg") == (Stat(1000, 1), id_of(store, b"/a/x.jpg"), OTHER_PROFILE)


def test_an_output_of_a_newer_model_takes_its_embedding_to_the_new_space(store: Store) -> None:
    store.commit([photo("/a/x.jpg")], PROFILE)
    store.commit(
        [photo("/a/x.jpg", outputs={"embedder": Output("embedder 2", embedding=vector(9))})], PROFILE
    )
    ids = store.photo_ids()
    assert store.embeddings(SPACE, ids)[0].size == 0
    assert store.embeddings("embedder 2", ids)[1].tobytes() == vector(9)


def test_a_record_read_without_embeddings_and_committed_again_loses_none(store: Store) -> None:
    store.commit([photo("/a/x.jpg")], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    before = store.records([photo_id], with_embeddings=True)
    store.commit([record_of(store, photo_id)], PROFILE)
    assert store.records([photo_id], with_embeddings=True) == before


def test_the_id_of_a_photo_is_positive_and_the_same_in_every_catalog(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        with Store(tmp_path / name, write=True) as store:
            store.commit([photo("/a/x.jpg")], PROFILE)
            ids.append(id_of(store, b"/a/x.jpg"))
    assert ids[0] == ids[1] > 0


def test_ids_are_numbers_that_no_reader_of_json_rounds(store: Store) -> None:
    """They had 63 bits: `catalogd search --json | jq` printed ids of no photo."""
    store.commit([photo(f"/a/{n}.jpg") for n in range(50)], PROFILE)
    assert all(0 < photo_id == int(float(photo_id)) < 2**53 for photo_id in store.photo_ids().tolist())


def test_a_copy_at_the_path_that_a_photo_moved_from_gets_another_id(store: Store) -> None:
    store.commit([photo("/a/x.jpg", of="same")], PROFILE)
    first = id_of(store, b"/a/x.jpg")
    store.commit([Moved(first, b"/b/x.jpg", Stat(1000, 2)), photo("/a/x.jpg", of="same")], PROFILE)
    second = id_of(store, b"/a/x.jpg")
    assert second != first
    assert sorted(store.photos_with_content(1000, content("same"))) == sorted([first, second])


def test_a_moved_photo_keeps_everything_but_its_path(store: Store) -> None:
    store.commit([photo("/a/x.jpg")], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    before = record_of(store, photo_id)
    store.commit([Moved(photo_id, b"/b/y.jpg", Stat(1000, 9))], OTHER_PROFILE)
    after = record_of(store, photo_id)
    assert (after.path, after.stat) == (b"/b/y.jpg", Stat(1000, 9))
    assert after.outputs == before.outputs
    assert store.photo_id_of(b"/a/x.jpg") is None
    entry = store.file_entry(b"/b/y.jpg")
    assert entry is not None
    assert entry.profile_key == PROFILE
    assert store.folders_under(b"/") == [b"/b"]


def test_a_move_that_says_current_meets_the_profile_and_any_other_does_not(store: Store) -> None:
    """A move that was sent again after a crash used to look like one that met the profile."""
    store.commit([photo("/a/x.jpg")], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    for _ in range(2):
        store.commit([Moved(photo_id, b"/a/y.jpg", Stat(1000, 1))], OTHER_PROFILE)
        assert store.file_entry(b"/a/y.jpg") == (Stat(1000, 1), photo_id, PROFILE)
    store.commit([Moved(photo_id, b"/a/y.jpg", Stat(1000, 1), current=True)], OTHER_PROFILE)
    assert store.file_entry(b"/a/y.jpg") == (Stat(1000, 1), photo_id, OTHER_PROFILE)


def test_two_photos_that_change_places_are_both_kept(store: Store) -> None:
    store.commit([photo("/a/x.jpg", of="x"), photo("/a/y.jpg", of="y")], PROFILE)
    x, y = id_of(store, b"/a/x.jpg"), id_of(store, b"/a/y.jpg")
    store.commit([Moved(x, b"/a/y.jpg", Stat(1000, 2))], PROFILE)
    assert store.photo_ids().tolist() == [x]
    store.commit([Moved(y, b"/a/x.jpg", Stat(1000, 2))], PROFILE)
    assert store.photo_ids().tolist() == sorted([x, y])
    assert (id_of(store, b"/a/x.jpg"), id_of(store, b"/a/y.jpg")) == (y, x)


def test_a_move_of_a_photo_that_was_forgotten_does_nothing(store: Store) -> None:
    store.commit([Moved(42, b"/a/x.jpg", Stat(1, 1))], PROFILE)
    assert store.folder_entries(b"/a") == {}


def test_a_missing_photo_is_not_found_but_its_record_is_kept(store: Store) -> None:
    store.commit([photo("/a/x.jpg"), photo("/a/y.jpg")], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    store.commit([Missing(b"/a/x.jpg", 50.0)], PROFILE)
    assert record_of(store, photo_id).missing_since == 50.0
    assert store.has_photos(np.array([photo_id, id_of(store, b"/a/y.jpg"), 1])).tolist() == [
        False,
        True,
        False,
    ]
    assert photo_id not in store.photo_ids()
    assert store.folder_entries(b"/a").keys() == {b"y.jpg"}
    assert store.counts()[:3] == (1, 1, 0)
    assert store.photos_with_content(1000, record_of(store, photo_id).content) == [photo_id]


@pytest.mark.parametrize("back", ["as a record", "as a move to its path", "as a move elsewhere"])
def test_a_missing_photo_that_comes_back_is_the_same_photo(store: Store, back: str) -> None:
    store.commit([photo("/a/x.jpg")], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    store.commit([Missing(b"/a/x.jpg", 50.0)], PROFILE)
    path = b"/b/x.jpg" if back == "as a move elsewhere" else b"/a/x.jpg"
    change = photo("/a/x.jpg") if back == "as a record" else Moved(photo_id, path, Stat(1000, 3))
    store.commit([change], OTHER_PROFILE)
    assert id_of(store, path) == photo_id
    assert record_of(store, photo_id).missing_since is None
    entry = store.file_entry(path)
    assert entry is not None
    assert entry.profile_key == (OTHER_PROFILE if back == "as a record" else PROFILE)


def test_another_photo_at_the_path_of_a_missing_one_is_a_new_photo(store: Store) -> None:
    store.commit([photo("/a/x.jpg", of="old")], PROFILE)
    store.commit([Missing(b"/a/x.jpg", 50.0), photo("/a/x.jpg", of="new")], PROFILE)
    assert store.counts()[:2] == (1, 1)


def test_photos_missing_for_too_long_are_forgotten_with_all_that_was_kept(store: Store) -> None:
    store.commit([photo("/a/x.jpg"), photo("/a/y.jpg")], PROFILE)
    gone = np.array([id_of(store, b"/a/x.jpg")])
    store.commit([Missing(b"/a/x.jpg", 50.0), Missing(b"/a/y.jpg", 60.0)], PROFILE)
    commit = store.commit_number()
    assert store.purge_missing(before=55.0) == 1
    assert store.purge_missing(before=55.0) == 0
    assert store.record(int(gone[0])) is None
    assert store.embeddings(SPACE, gone)[0].size == 0
    assert store.changes_since(commit)[1].tolist() == gone.tolist()


# -- failures --------------------------------------------------------------------------------------


def test_a_failed_photo_has_an_entry_so_that_a_rescan_leaves_it_alone(store: Store) -> None:
    store.commit([failure("/a/x.jpg")], PROFILE)
    assert store.folder_entries(b"/a") == {b"x.jpg": FILE_ENTRY.pack(1000, 1, 0, PROFILE)}
    assert store.photo_id_of(b"/a/x.jpg") is None
    assert [found.path for found in store.failures()] == [b"/a/x.jpg"]


def test_what_was_known_of_a_photo_stays_while_its_new_version_fails(store: Store) -> None:
    store.commit([photo("/a/x.jpg")], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    store.commit([failure("/a/x.jpg", stat=Stat(5, 5))], PROFILE)
    assert store.photo_ids().tolist() == [photo_id] == [id_of(store, b"/a/x.jpg")]
    assert store.failures()[0].photo_id == photo_id
    store.commit([photo("/a/x.jpg", of="mended")], PROFILE)
    assert id_of(store, b"/a/x.jpg") == photo_id
    assert store.failures() == []


def test_tries_are_counted_for_one_version_of_a_file_and_not_by_a_replay(store: Store) -> None:
    def tries(**changed: object) -> int:
        store.commit([failure("/a/x.jpg", **changed)], PROFILE)
        return store.failures()[0].tries

    assert tries(failed_at=1.0) == 1
    assert tries(failed_at=1.0) == 1
    assert tries(failed_at=2.0) == 2
    assert tries(failed_at=3.0, stat=Stat(7, 7)) == 1


def test_retry_makes_the_next_scan_take_up_a_failed_photo(store: Store) -> None:
    store.commit([photo("/a/x.jpg"), failure("/a/x.jpg", stat=Stat(9, 9)), failure("/a/y.jpg")], PROFILE)
    store.commit([Retry(b"/a/x.jpg"), Retry(b"/a/y.jpg"), Retry(b"/a/never.jpg")], STALE_PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    assert store.folder_entries(b"/a") == {b"x.jpg": FILE_ENTRY.pack(1000, 1, photo_id, STALE_PROFILE)}
    assert store.failures() == []


def test_retry_of_an_indexed_photo_drops_the_outputs_that_failed_and_makes_it_stale(store: Store) -> None:
    """A model that failed on a photo was never run on it again, whatever a person asked."""
    failed = {"faces": Output("faces 1", error="ValueError: no memory")}
    store.commit([photo("/a/x.jpg", outputs={**photo("/a/x.jpg").outputs, **failed})], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    for _ in range(2):
        store.commit([Retry(b"/a/x.jpg")], PROFILE)
        assert store.file_entry(b"/a/x.jpg") == (Stat(1000, 1), photo_id, STALE_PROFILE)
        whole = store.records([photo_id], with_embeddings=True)[0]
        assert whole is not None
        assert whole.outputs == photo("/a/x.jpg").outputs


def test_retry_of_a_failure_drops_the_failed_outputs_of_its_earlier_version(store: Store) -> None:
    store.commit([photo("/a/x.jpg", outputs={"faces": Output("faces 1", error="no")})], PROFILE)
    store.commit([failure("/a/x.jpg", stat=Stat(9, 9)), Retry(b"/a/x.jpg")], PROFILE)
    photo_id = id_of(store, b"/a/x.jpg")
    assert record_of(store, photo_id).outputs == {}
    assert store.file_entry(b"/a/x.jpg") == (Stat(1000, 1), photo_id, STALE_PROFILE)


@pytest.mark.parametrize("reason", ["changed", "denied", "unavailable"])
def test_a_failure_that_passes_is_shown_and_taken_up_by_the_next_scan(store: Store, reason: str) -> None:
    """A photo on a disk that did not answer once used to be left alone until its file changed."""
    for tries in (1, 2):
        store.commit([failure("/a/x.jpg", reason=reason, failed_at=float(tries))], PROFILE)
        assert store.folder_entries(b"/a") == {b"x.jpg": FILE_ENTRY.pack(-1, -1, 0, PROFILE)}
        assert store.failures() == [failure("/a/x.jpg", reason=reason, failed_at=float(tries), tries=tries)]
    store.repair()
    assert store.folder_entries(b"/a") == {b"x.jpg": FILE_ENTRY.pack(-1, -1, 0, PROFILE)}
    store.commit([photo("/a/x.jpg")], PROFILE)
    assert store.failures() == []


def test_a_missing_file_takes_its_failure_with_it(store: Store) -> None:
    store.commit([failure("/a/x.jpg")], PROFILE)
    store.commit([Missing(b"/a/x.jpg", 1.0)], PROFILE)
    assert store.failures() == []
    assert store.folders_under(b"/") == []


# -- what a scan asks ------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.sets(st.binary(min_size=1, max_size=255).filter(lambda name: not {0, 47} & set(name)), max_size=8))
def test_any_name_that_a_file_system_allows_is_found_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, names: set[bytes]
) -> None:
    with Store(tmp_path_factory.mktemp("catalog"), write=True) as store:
        store.commit([photo(b"/\xff\n/" + name) for name in names], PROFILE)
        assert store.folder_entries(b"/\xff\n").keys() == names
        assert store.folder_entries(b"/\xff\n/").keys() == names
        assert {record.path[3:].lstrip(b"/") for record in store.records_after(0, 10)} == names


def test_a_name_longer_than_a_key_is_left_out_and_the_rest_is_committed(store: Store) -> None:
    store.commit([photo(b"/a/" + b"x" * 600), failure(b"/a/" + b"y" * 600), photo("/a/ok.jpg")], PROFILE)
    assert store.folder_entries(b"/a").keys() == {b"ok.jpg"}


def test_folders_under_a_root_are_those_at_or_below_it(store: Store) -> None:
    paths = ["/x.jpg", "/a/x.jpg", "/a/b/x.jpg", "/ab/x.jpg"]
    store.commit([photo(path) for path in paths], PROFILE)
    assert store.folders_under(b"/a") == store.folders_under(b"/a/") == [b"/a", b"/a/b"]
    assert store.folders_under(b"/") == [b"/", b"/a", b"/a/b", b"/ab"]


def test_photos_are_known_by_size_and_by_content(store: Store) -> None:
    store.commit([photo("/a/x.jpg", of="c")], PROFILE)
    assert store.any_photo_of_size(1000)
    assert not store.any_photo_of_size(999)
    assert store.photos_with_content(1000, content("c")) == store.photo_ids().tolist()
    assert store.photos_with_content(1000, content("d")) == []


# -- the change log --------------------------------------------------------------------------------


def test_changes_are_told_by_commit_and_cut_off_only_between_commits(store: Store) -> None:
    store.commit([photo("/a/1.jpg"), photo("/a/2.jpg")], PROFILE)
    store.commit([failure("/a/broken.jpg")], PROFILE)
    store.commit([photo("/a/3.jpg")], PROFILE)
    commits, ids = store.changes_since(0)
    assert commits.tolist() == [1, 1, 3]
    assert sorted(ids.tolist()) == sorted(store.photo_ids().tolist())
    assert store.changes_since(0, most=1)[0].tolist() == [1, 1]
    assert store.changes_since(1)[1].tolist() == [id_of(store, b"/a/3.jpg")]
    assert store.changes_since(3)[1].size == 0


def test_the_change_log_is_trimmed_behind_the_slowest_mark_only(store: Store) -> None:
    total = KEPT_COMMITS + 20
    for number in range(total):
        store.commit([photo(f"/a/{number}.jpg")], PROFILE)
    store.set_mark("slow", KEPT_COMMITS + 5)
    store.set_mark("fast", total)
    assert store.changes_since(5)[0].tolist() == list(range(6, total + 1))
    with pytest.raises(ChangesTrimmedError):
        store.changes_since(4)
    assert (store.mark("slow"), store.mark("none")) == (KEPT_COMMITS + 5, None)
    store.set_mark("slow", None)
    assert store.mark("slow") is None


def test_a_space_without_embeddings_is_forgotten_with_its_mark(store: Store) -> None:
    store.commit([photo("/a/x.jpg")], PROFILE)
    store.set_mark(embeddings_mark(SPACE), 1)
    assert store.drop_empty_spaces() == []
    store.commit([photo("/a/x.jpg", outputs={"embedder": Output("e 2", embedding=vector(9))})], PROFILE)
    assert store.drop_empty_spaces(but=SPACE) == []
    assert store.drop_empty_spaces() == [SPACE]
    assert store.spaces() == {"e 2": 8}
    assert store.mark(embeddings_mark(SPACE)) is None


# -- the environment -------------------------------------------------------------------------------


def test_the_map_grows_from_one_mebibyte_to_thousands_of_records(tmp_path: Path) -> None:
    with Store(tmp_path, write=True, map_bytes=1 << 20) as store:
        reading = Store(tmp_path)
        for start in range(0, 3000, 500):
            store.commit(
                [photo(f"/a/{n}.jpg", outputs={"t": tagger("x" * 2000)}) for n in range(start, start + 500)],
                PROFILE,
            )
        assert store.counts().indexed == reading.counts().indexed == 3000
        reading.close()
        assert (tmp_path / "store" / "data.mdb").stat().st_size > 6 << 20


def test_a_reader_in_another_process_follows_a_map_that_grew(store: Store, tmp_path: Path) -> None:
    code = """
import sys; from pathlib import Path; from catalogd.catalog.store import Store
store = Store(Path(sys.argv[1]), map_bytes=1 << 20)
print(store.counts().indexed, flush=True)
sys.stdin.readline()
print(store.counts().indexed, len(store.folder_entries(b"/a")), flush=True)
"""
    store.commit([photo("/a/first.jpg")], PROFILE)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "1\n"
        big = tagger("x" * 10_000)
        store.commit([photo(f"/a/{n}.jpg", outputs={"t": big}) for n in range(1500)], PROFILE)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "1501 1501\n"


def test_stores_of_one_process_share_one_environment_whatever_is_opened_first(tmp_path: Path) -> None:
    Store(tmp_path, write=True).close()
    with Store(tmp_path) as reading, Store(tmp_path / "." / "", write=True) as writing:
        writing.commit([photo("/a/x.jpg")], PROFILE)
        assert reading.counts().indexed == 1
    with Store(tmp_path) as reading:
        assert reading.counts().indexed == 1


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    first, second = Store(tmp_path, write=True), Store(tmp_path)
    first.close()
    first.close()
    assert second.counts().indexed == 0
    second.close()


def test_a_store_that_was_opened_before_a_fork_is_refused_in_the_child(tmp_path: Path) -> None:
    code = """
import os, sys; from pathlib import Path
from catalogd.catalog.store import Store; from catalogd.errors import CatalogError
store = Store(Path(sys.argv[1]), write=True)
if os.fork() == 0:
    try: store.counts()
    except CatalogError: os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]), store.counts().indexed)
"""
    assert run_python(code, tmp_path).stdout == "7 0\n"


def test_reading_where_there_is_no_catalog_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogMissingError, match="catalogd run ~/Pictures"):
        Store(tmp_path)


def test_a_catalog_of_a_newer_catalogd_is_not_opened(tmp_path: Path) -> None:
    with Store(tmp_path, write=True) as store:
        store.write(lambda reading: reading.put("meta", b"format", (2).to_bytes(8, "big")))
    for write in (False, True):
        with pytest.raises(CatalogVersionError, match="install"):
            Store(tmp_path, write)


def test_the_slot_of_a_reader_that_was_killed_in_a_transaction_is_freed(store: Store, tmp_path: Path) -> None:
    code = """
import os, signal, sys; from pathlib import Path; from catalogd.catalog.store import Store
with Store(Path(sys.argv[1])).snapshot():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_python(code, tmp_path).returncode == -9
    assert store.reader_check() == 1
    assert store.reader_check() == 0


def test_a_transaction_that_fails_leaves_nothing_behind(store: Store) -> None:
    def work(reading: object) -> None:
        store_reading = reading
        store_reading.put("photos", id_bytes(1), b"half")  # type: ignore[attr-defined]
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        store.write(work)
    assert store.counts().indexed == 0
    assert file_key(b"/a") != file_key(b"/b")


@pytest.mark.parametrize("kind", [Record, Failure, Output, Facts, Face, TextLine, ObjectBox, Quality])
def test_every_stored_field_and_table_is_in_the_document_of_formats(kind: type) -> None:
    document = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
    words = set(re.findall(r"\w+", document))
    assert {field.name for field in msgspec.structs.fields(kind)} | set(TABLES) <= words
