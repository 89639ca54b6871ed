"""The embedding index against brute force over the same store, and against damage."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from catalogd.catalog import annoy_engine, embedding_index, faiss_engine, generations, manifest
from catalogd.catalog.embedding_index import Allowed, EmbeddingIndex, seal_generation, space_folder
from catalogd.catalog.generations import ENGINES, build_generation, choose_engine, live_generation
from catalogd.catalog.store import Store
from catalogd.errors import CatalogFullError
from catalogd.records import Change, Facts, Missing, Output, Record, Stat
from catalogd.settings import Settings

Floats = npt.NDArray[np.float32]
SPACE = "model@1"
DIMENSION = 48
PHOTOS = 12_000  # Annoy inspects 10,000
PROFILE = b"profile!"
FILES = (manifest.IDS_FILE, manifest.VECTORS_FILE, manifest.MANIFEST)
ENGINE_FILES = {annoy_engine.NAME: annoy_engine.TREES_FILE, faiss_engine.NAME: faiss_engine.LISTS_FILE}


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _clustered(count: int, seed: int, dimension: int = DIMENSION) -> Floats:
    """Clusters that overlap, all around one direction, as image embeddings lie."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((40, dimension)) + 0.5
    draws = np.random.default_rng(seed)
    spread = 0.7 * draws.standard_normal((count, dimension))
    return _unit((centres[draws.integers(40, size=count)] + spread).astype(np.float32))


def _record(number: int, vector: npt.ArrayLike) -> Record:
    output = Output(SPACE, embedding=np.asarray(vector, np.float16).tobytes())
    content = number.to_bytes(16, "big")
    return Record(b"/photos/%d.jpg" % number, Stat(number, 1), content, Facts("jpeg", 8, 8), {"m": output})


def _fill(store: Store, vectors: Floats, first: int = 0) -> None:
    for start in range(0, len(vectors), 2000):
        rows = enumerate(vectors[start : start + 2000], first + start)
        store.commit([_record(number, vector) for number, vector in rows], PROFILE)


def _id(store: Store, number: int) -> int:
    photo_id = store.photo_id_of(b"/photos/%d.jpg" % number)
    assert photo_id is not None
    return photo_id


def _brute_force(
    store: Store, query: Floats, k: int, allowed: npt.NDArray[np.int64] | None = None
) -> list[tuple[int, float]]:
    """The true k best by plain float32 arithmetic over everything in the store."""
    return _nearest(*_everything(store, allowed), query, k)


def _everything(
    store: Store, allowed: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.int64], Floats]:
    ids, vectors = store.iter_embeddings(SPACE, -1, 1_000_000)
    kept = store.has_photos(ids)
    if allowed is not None:
        kept &= np.isin(ids, allowed)
    return ids[kept], vectors[kept].astype(np.float32)


def _nearest(ids: npt.NDArray[np.int64], vectors: Floats, query: Floats, k: int) -> list[tuple[int, float]]:
    scores = vectors @ query
    best = np.lexsort((ids, -scores))[:k]  # of equal scores the older photo first
    return list(zip(ids[best].tolist(), scores[best].tolist(), strict=True))


def _recall(
    store: Store, index: EmbeddingIndex, queries: Floats, allowed: npt.NDArray[np.int64] | None = None
) -> float:
    ids, vectors = _everything(store, allowed)
    hits = total = 0
    for query in queries:
        truth = dict(_nearest(ids, vectors, query, 10))
        found = dict(index.search(query, 10, allowed))
        for photo_id in truth.keys() & found.keys():
            assert found[photo_id] == pytest.approx(truth[photo_id], abs=1e-5)
        hits += len(truth.keys() & found.keys())
        total += len(truth)
    return hits / total


@pytest.fixture(autouse=True)
def _engines_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are where there are many photos: of 12,000 of 48 numbers a plain scan costs less."""
    monkeypatch.setattr(annoy_engine, "INSPECTION_VALUES", 1)
    monkeypatch.setattr(faiss_engine, "FIRST_ROWS", 500)
    monkeypatch.setattr(faiss_engine, "EXACT_ROWS", 500)


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    name: str = request.param
    return name


@pytest.fixture
def settings(engine: str) -> Settings:
    return Settings(exact_below=200, vector_engine=engine)


@pytest.fixture(scope="module")
def filled_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of enough photos for an engine to be asked, before anything was sealed of them."""
    catalog = tmp_path_factory.mktemp("filled")
    with Store(catalog, write=True) as store:
        _fill(store, _clustered(PHOTOS, seed=1))
    return catalog


@pytest.fixture(scope="module")
def sealed_catalogs(filled_catalog: Path) -> Callable[[str], Path]:
    """Its copies with one generation, by engine, each sealed once. Copy them to write."""

    @functools.cache
    def sealed(engine: str) -> Path:
        catalog = filled_catalog.with_name(f"{filled_catalog.name}-{engine}")
        shutil.copytree(filled_catalog, catalog)
        seal_generation(catalog, SPACE, Settings(vector_engine=engine))
        return catalog

    return sealed


@pytest.fixture
def catalog(sealed_catalogs: Callable[[str], Path], engine: str, tmp_path: Path) -> Path:
    shutil.copytree(sealed_catalogs(engine), tmp_path / "catalog")
    return tmp_path / "catalog"


@pytest.fixture
def store(catalog: Path) -> Iterator[Store]:
    with Store(catalog, write=True) as store:
        yield store


@pytest.fixture
def index(catalog: Path, store: Store, settings: Settings) -> Iterator[EmbeddingIndex]:
    index = EmbeddingIndex(space_folder(catalog, SPACE), store, SPACE, settings)
    yield index
    index.close()


@pytest.fixture
def small(tmp_path: Path, settings: Settings) -> Iterator[tuple[Store, EmbeddingIndex]]:
    """300 photos that nothing was sealed of."""
    with Store(tmp_path, write=True) as store:
        _fill(store, _clustered(300, seed=1))
        index = EmbeddingIndex(space_folder(tmp_path, SPACE), store, SPACE, settings)
        yield store, index
        index.close()


def _live(catalog: Path) -> str | None:
    generation = live_generation(space_folder(catalog, SPACE))
    if generation is None:
        return None
    generation.close()
    return generation.folder.name


# -- what is found


def test_a_small_space_is_searched_exactly_without_a_generation(small: tuple[Store, EmbeddingIndex]) -> None:
    store, index = small
    for query in _clustered(20, seed=2):
        found, truth = index.search(query, 10), _brute_force(store, query, 10)
        assert [photo_id for photo_id, _ in found] == [photo_id for photo_id, _ in truth]
        assert [score for _, score in found] == pytest.approx([score for _, score in truth], abs=1e-5)


def test_the_generation_finds_what_brute_force_finds(store: Store, index: EmbeddingIndex) -> None:
    assert _recall(store, index, _clustered(40, seed=2)) >= 0.98


def test_queries_far_from_all_photos_find_their_nearest_too(store: Store, index: EmbeddingIndex) -> None:
    """Queries that lie off the photos used to fall to the centre of every tree, at random."""
    gap = np.random.default_rng(9).standard_normal(DIMENSION, np.float32)
    queries = _unit((_clustered(40, seed=2) + 1.2 * _unit(gap)).astype(np.float32))
    assert _recall(store, index, queries) >= 0.98


def _proposed(catalog: Path, query: Floats, open_rows: npt.NDArray[np.bool_]) -> int | None:
    """How many rows the engine itself has to offer for 10 hits."""
    generation = live_generation(space_folder(catalog, SPACE))
    assert generation is not None
    assert generation._candidates is not None
    rows = generation._candidates.candidates(query, 10, open_rows, int(open_rows.sum()))
    generation.close()
    return None if rows is None else len(rows)


def test_the_engine_answers_the_common_search(catalog: Path) -> None:
    proposed = _proposed(catalog, _clustered(1, seed=2)[0], np.ones(PHOTOS, np.bool_))
    assert proposed is not None
    assert 10 <= proposed <= annoy_engine.CANDIDATES


def test_the_engine_answers_behind_a_filter_of_half(catalog: Path) -> None:
    half = np.random.default_rng(3).random(PHOTOS) < 0.5
    assert _proposed(catalog, _clustered(1, seed=2)[0], half) is not None


def test_few_allowed_photos_are_looked_at_one_by_one(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert _proposed(catalog, _clustered(1, seed=2)[0], np.arange(PHOTOS) < 100) is None


def test_more_hits_than_candidates_can_be_asked_for(store: Store, index: EmbeddingIndex) -> None:
    query = _clustered(1, seed=2)[0]
    found = dict(index.search(query, 1000))
    truth = dict(_brute_force(store, query, 1000))
    assert len(found) == 1000
    assert len(found.keys() & truth.keys()) >= 980


@pytest.mark.parametrize("share", [0.95, 0.1, 0.01, 0.001])
def test_allowed_photos_alone_are_found_and_the_best_of_them(
    store: Store, index: EmbeddingIndex, share: float
) -> None:
    allowed = store.photo_ids()[np.random.default_rng(3).random(PHOTOS) < share]
    queries = _clustered(20, seed=2)
    assert _recall(store, index, queries, allowed) >= 0.98
    assert {photo_id for photo_id, _ in index.search(queries[0], 10, allowed)} <= set(allowed.tolist())


def test_the_best_are_found_when_a_filter_allows_only_what_lies_far_away(
    store: Store, index: EmbeddingIndex
) -> None:
    for query in _clustered(8, seed=2):
        ranked = [photo_id for photo_id, _ in _brute_force(store, query, PHOTOS)]
        allowed = np.sort(np.array(ranked[1_000:], np.int64))
        found = {photo_id for photo_id, _ in index.search(query, 10, allowed)}
        assert len(found & set(ranked[1_000:1_010])) >= 9
        assert found <= set(ranked[1_000:])


def test_allowed_photos_that_are_unknown_find_nothing(index: EmbeddingIndex) -> None:
    query = _clustered(1, seed=2)[0]
    assert index.search(query, 10, np.empty(0, np.int64)) == []
    assert index.search(query, 10, np.array([0, 1, (1 << 63) - 1], np.int64)) == []


@pytest.mark.parametrize("share", [0.95, 0.5, 0.01, 0.0])
def test_a_mask_allows_what_its_ids_allow_also_beside_the_generation(
    store: Store, index: EmbeddingIndex, share: float
) -> None:
    _fill(store, _clustered(300, seed=3), first=PHOTOS)
    store.commit([Missing(b"/photos/55.jpg", 1.0)], PROFILE)
    index.refresh()
    ids = store.photo_ids()
    mask = np.random.default_rng(3).random(len(ids)) < share
    for query in _clustered(5, seed=2):
        assert index.search(query, 10, Allowed(ids, mask)) == index.search(query, 10, ids[mask])
    few = Allowed(ids[::7], mask[::7])
    assert index.search(query, 10, few) == index.search(query, 10, few.ids[few.mask])


def test_stored_vectors_can_be_had_by_id_and_all_in_turn(store: Store, index: EmbeddingIndex) -> None:
    gone = _id(store, 55)
    store.commit([Missing(b"/photos/55.jpg", 1.0)], PROFILE)
    stored = _clustered(PHOTOS, seed=1).astype(np.float16)
    wanted = np.sort(np.array([_id(store, 7), _id(store, 123), 5], np.int64))
    ids, found = index.vectors_of(wanted)
    assert found.dtype == np.float32
    assert {i: vector.tolist() for i, vector in zip(ids.tolist(), found, strict=True)} == {
        _id(store, number): stored[number].tolist() for number in (7, 123)
    }
    chunks = list(index.iter_all(1000))
    assert max(len(ids) for ids, _ in chunks) <= 1000
    everything = np.concatenate([ids for ids, _ in chunks])
    assert np.array_equal(everything, np.setdiff1d(store.photo_ids(), [gone]))
    assert np.concatenate([vectors for _, vectors in chunks]).shape == (PHOTOS - 1, DIMENSION)


def test_equal_photos_come_by_photo_id(small: tuple[Store, EmbeddingIndex]) -> None:
    store, index = small
    vector = _clustered(1, seed=5)[0]
    _fill(store, np.repeat(vector[None], 8, axis=0), first=1000)
    index.refresh()
    twins = sorted(_id(store, number) for number in range(1000, 1008))
    assert [photo_id for photo_id, _ in index.search(vector, 5)] == twins[:5]


def test_a_space_without_embeddings_finds_nothing(tmp_path: Path, settings: Settings) -> None:
    with Store(tmp_path, write=True) as store:
        index = EmbeddingIndex(space_folder(tmp_path, "none"), store, "none", settings)
        assert index.search(_clustered(1, seed=2)[0], 10) == []
        assert index.check() == []
        assert not index.wants_seal(idle=True)


@pytest.mark.parametrize("query", [np.ones(DIMENSION + 1), np.full(DIMENSION, np.nan)])
def test_a_query_that_does_not_fit_the_space_is_refused(
    index: EmbeddingIndex, query: npt.NDArray[np.float64]
) -> None:
    with pytest.raises(ValueError, match="48 finite numbers"):
        index.search(query.astype(np.float32), 10)


def test_an_embedding_that_overflowed_is_never_found(small: tuple[Store, EmbeddingIndex]) -> None:
    store, index = small
    store.commit([_record(7, np.full(DIMENSION, np.inf)), _record(8, np.full(DIMENSION, np.nan))], PROFILE)
    index.refresh()
    found = {photo_id for photo_id, _ in index.search(_clustered(1, seed=2)[0], 300)}
    assert len(found) == 298
    assert index.check() == []


# -- what changed since the generation


def test_a_changed_photo_is_found_where_it_is_now_and_not_where_it_was(
    store: Store, index: EmbeddingIndex
) -> None:
    old = _clustered(PHOTOS, seed=1)[123]
    store.commit([_record(123, -old)], PROFILE)
    index.refresh()
    photo_id = _id(store, 123)
    ((nearest, cosine),) = index.search(-old, 1)
    assert nearest == photo_id
    assert cosine == pytest.approx(1.0, abs=1e-3)
    assert photo_id not in dict(index.search(old, 50))


def test_a_missing_photo_is_not_found_until_it_returns(store: Store, index: EmbeddingIndex) -> None:
    vector = _clustered(PHOTOS, seed=1)[55]
    photo_id = _id(store, 55)
    store.commit([Missing(b"/photos/55.jpg", 1.0)], PROFILE)
    index.refresh()
    assert photo_id not in dict(index.search(vector, 50))
    store.commit([_record(55, vector)], PROFILE)
    index.refresh()
    assert index.search(vector, 1)[0][0] == _id(store, 55)


def test_new_photos_are_found_beside_the_generation(store: Store, index: EmbeddingIndex) -> None:
    index.search(_clustered(1, seed=2)[0], 1)  # the tail is loaded before it grows
    for batch in range(3):
        _fill(store, _clustered(700, seed=10 + batch), first=PHOTOS + 700 * batch)
        index.refresh()
    assert _recall(store, index, _clustered(20, seed=2)) >= 0.98
    newest = _clustered(700, seed=12)[5]
    assert index.search(newest, 1)[0][0] == _id(store, PHOTOS + 1405)


def test_the_best_are_found_when_most_of_the_generation_is_gone(store: Store, index: EmbeddingIndex) -> None:
    gone: list[Change] = [Missing(b"/photos/%d.jpg" % number, 1.0) for number in range(PHOTOS) if number % 16]
    store.commit(gone, PROFILE)
    index.refresh()
    assert _recall(store, index, _clustered(10, seed=2)) == 1.0


@pytest.mark.parametrize("name", sorted(ENGINES))
@hypothesis_settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 12), st.integers(0, 9)),
            st.tuples(st.just("lose"), st.integers(0, 12), st.just(0)),
            st.tuples(st.just("seal"), st.just(0), st.just(0)),
            st.tuples(st.just("search"), st.just(0), st.integers(0, 9)),
        ),
        max_size=25,
    )
)
def test_the_index_knows_what_a_dict_would(name: str, steps: list[tuple[str, int, int]]) -> None:
    settings = Settings(exact_below=200, vector_engine=name)
    directions = _clustered(10, seed=4, dimension=DIMENSION)
    held: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder), write=True) as store:
        index = EmbeddingIndex(space_folder(Path(folder), SPACE), store, SPACE, settings)
        for step, number, direction in steps:
            if step == "put":
                store.commit([_record(number, directions[direction])], PROFILE)
                held[number] = direction
            elif step == "lose":
                store.commit([Missing(b"/photos/%d.jpg" % number, 1.0)], PROFILE)
                held.pop(number, None)
            elif step == "seal":
                build_generation(space_folder(Path(folder), SPACE), store, SPACE, name)
            index.refresh()
            found = dict(index.search(directions[direction], 100))
            assert found.keys() == {_id(store, number) for number in held}
            same = {photo_id for photo_id, score in found.items() if score > 0.999}
            assert same == {_id(store, number) for number, held_at in held.items() if held_at == direction}
        assert index.check() == []
        index.close()


# -- generations come and go


def test_a_reader_keeps_its_generation_until_it_refreshes(
    catalog: Path, store: Store, index: EmbeddingIndex, settings: Settings
) -> None:
    query = _clustered(1, seed=2)[0]
    before = index.search(query, 10)
    first = _live(catalog)
    _fill(store, _clustered(300, seed=3), first=PHOTOS)
    seal_generation(catalog, SPACE, settings)
    assert _live(catalog) != first
    assert len(list(space_folder(catalog, SPACE).glob("gen-*"))) == 1
    assert index.search(query, 10) == before
    index.refresh()
    assert index.search(_clustered(300, seed=3)[9], 1)[0][0] == _id(store, PHOTOS + 9)
    assert index.check() == []


def test_the_same_photos_give_the_same_generation(catalog: Path, store: Store, engine: str) -> None:
    again = catalog / "again"
    build_generation(again, store, SPACE, engine)
    (first,) = space_folder(catalog, SPACE).glob("gen-*")
    (second,) = again.glob("gen-*")
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()


def test_a_space_whose_photos_are_all_gone_keeps_no_generation(tmp_path: Path, settings: Settings) -> None:
    with Store(tmp_path, write=True) as store:
        _fill(store, _clustered(600, seed=1))
        seal_generation(tmp_path, SPACE, settings)
        store.commit([Missing(b"/photos/%d.jpg" % number, 1.0) for number in range(600)], PROFILE)
        seal_generation(tmp_path, SPACE, settings)
        index = EmbeddingIndex(space_folder(tmp_path, SPACE), store, SPACE, settings)
        assert _live(tmp_path) is None
        assert index.search(_clustered(1, seed=2)[0], 10) == []
        assert not index.wants_seal(idle=True)


def test_a_generation_from_after_the_stores_last_commit_is_not_used(
    catalog: Path, tmp_path: Path, settings: Settings
) -> None:
    """A store restored from a backup is older than the index beside it."""
    older = tmp_path / "older"
    with Store(older, write=True) as store:
        _fill(store, _clustered(50, seed=3))
        shutil.copytree(space_folder(catalog, SPACE), space_folder(older, SPACE))
        index = EmbeddingIndex(space_folder(older, SPACE), store, SPACE, settings)
        query = _clustered(1, seed=2)[0]
        assert [i for i, _ in index.search(query, 5)] == [i for i, _ in _brute_force(store, query, 5)]
        index.close()


def test_sealing_is_geometric_while_busy_and_early_when_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(embedding_index, "TAIL_BUSY", 100)
    monkeypatch.setattr(embedding_index, "TAIL_IDLE", 20)
    wanted = []
    with Store(tmp_path, write=True) as store:
        index = EmbeddingIndex(
            space_folder(tmp_path, SPACE), store, SPACE, Settings(exact_below=200, vector_engine=engine)
        )
        for start in range(0, 1600, 50):
            _fill(store, _clustered(50, seed=start), first=start)
            index.refresh()
            if index.wants_seal(idle=False):
                wanted.append(start + 50)
                build_generation(space_folder(tmp_path, SPACE), store, SPACE, engine)
                index.refresh()
        assert wanted == [200, 450, 950]
        _fill(store, _clustered(20, seed=5), first=5000)
        index.refresh()
        assert index.wants_seal(idle=True)
        assert not index.wants_seal(idle=False)
        index.close()


def test_the_change_log_is_kept_since_the_generation(
    catalog: Path, store: Store, index: EmbeddingIndex, settings: Settings
) -> None:
    index.hold_changes(sealing=True)
    vectors = -_clustered(PHOTOS, seed=1)
    for number in range(100):
        store.commit([_record(number, vectors[number])], PROFILE)
    store.set_mark("text", store.commit_number())
    index.refresh()
    assert _recall(store, index, -_clustered(5, seed=2)) >= 0.98
    seal_generation(catalog, SPACE, settings)
    index.refresh()
    index.hold_changes(sealing=False)
    assert store.mark(f"embeddings:{space_folder(catalog, SPACE).name}") == store.commit_number()


def test_a_trimmed_change_log_costs_speed_but_no_hits(
    store: Store, index: EmbeddingIndex, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = _clustered(100, seed=3)
    for number in range(100):
        store.commit([_record(number, vectors[number])], PROFILE)
    store.set_mark("text", store.commit_number())
    index.refresh()
    assert "does not reach back" in caplog.text
    assert _recall(store, index, vectors[:5]) == 1.0
    assert index.wants_seal(idle=True)
    assert index.check() == []


# -- engines


def test_the_best_engine_that_is_installed_is_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert [choose_engine(wanted).NAME for wanted in ("auto", "annoy", "faiss")] == [
        "faiss",
        "annoy",
        "faiss",
    ]
    monkeypatch.setattr(faiss_engine, "is_installed", lambda: False)
    assert choose_engine("auto").NAME == "annoy"
    assert not caplog.text
    assert choose_engine("faiss").NAME == "annoy"
    assert "pip install 'catalogd[faiss]'" in caplog.text


def test_a_generation_whose_engine_is_gone_is_searched_exactly_until_it_is_sealed_again(
    catalog: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    engine: str,
) -> None:
    other = next(name for name in ENGINES if name != engine)
    monkeypatch.setattr(ENGINES[engine], "is_installed", lambda: False)
    index = EmbeddingIndex(space_folder(catalog, SPACE), store, SPACE, Settings(exact_below=200))
    assert f"{engine} is not installed any more" in caplog.text
    assert _recall(store, index, _clustered(5, seed=2)) == 1.0
    assert not index.wants_seal(idle=False)
    assert index.wants_seal(idle=True)
    before = _live(catalog)
    build_generation(space_folder(catalog, SPACE), store, SPACE, other)
    assert _live(catalog) == before
    index.refresh()
    assert index._generation is not None
    assert index._generation.manifest.engine == other
    assert not index.wants_seal(idle=True)
    assert index.check() == []
    index.close()


def test_a_generation_that_its_engine_cannot_read_is_searched_exactly_and_built_again(
    catalog: Path, store: Store, monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: str
) -> None:
    """As where faiss was replaced by an older release; sealing found it sound and left it there."""
    load = ENGINES[engine].load
    unreadable = space_folder(catalog, SPACE) / (_live(catalog) or "")
    inode = unreadable.stat().st_ino

    def refuse(folder: Path, written: manifest.Manifest) -> object:
        if folder.stat().st_ino == inode:
            raise RuntimeError("a format of later years")
        return load(folder, written)

    monkeypatch.setattr(ENGINES[engine], "load", refuse)
    index = EmbeddingIndex(space_folder(catalog, SPACE), store, SPACE, settings)
    assert _recall(store, index, _clustered(5, seed=2)) == 1.0
    assert index.wants_seal(idle=True)
    build_generation(space_folder(catalog, SPACE), store, SPACE, engine)
    index.refresh()
    assert not index.wants_seal(idle=True)
    assert unreadable.stat().st_ino != inode
    index.close()


def test_a_generation_of_an_engine_that_nobody_knows_is_not_used(
    catalog: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.delitem(ENGINES, engine)
    assert _live(catalog) is None
    assert "is not among this version's" in caplog.text


@pytest.mark.parametrize("engine", ["annoy"], indirect=True)
def test_a_generation_of_annoy_is_what_format_1_always_was(catalog: Path) -> None:
    """Its manifest's hash, made without our own record: a former catalogd reads it, and we its."""
    (path,) = space_folder(catalog, SPACE).glob("gen-*/manifest.json")
    signed = json.loads(path.read_text())
    fields = "format space commit count dimension axes shadow_length metric trees seed files"
    assert list(signed["manifest"]) == fields.split()
    assert signed["manifest"]["format"] == 1
    signed["manifest"]["files"] = dict(sorted(signed["manifest"]["files"].items()))
    content = json.dumps(signed["manifest"], separators=(",", ":"), ensure_ascii=False).encode()
    assert hashlib.sha256(content).hexdigest() == signed["sha256"]


@pytest.mark.parametrize("engine", ["annoy"], indirect=True)
def test_what_the_trees_missed_is_noticed(
    store: Store, index: EmbeddingIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees missed half of what is near some texts, and nothing in their answers showed it."""
    nearest = annoy_engine.Trees._nearest

    def half(self: annoy_engine.Trees, query: Floats, count: int, inspected: int) -> object:
        return nearest(self, query, count, inspected)[::2]

    monkeypatch.setattr(annoy_engine.Trees, "_nearest", half)
    assert _recall(store, index, _clustered(10, seed=2)) == 1.0


# -- damage


def _cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _cut_to_one_node(path: Path) -> None:
    os.truncate(path, 4 * (DIMENSION + 1) + 16)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for position in np.random.default_rng(1).integers(len(content), size=200):
        content[position] ^= 0xFF
    path.write_bytes(content)


def _overwrite_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"<"))


def _remove(path: Path) -> None:
    path.unlink()


DAMAGES = (_cut_in_half, _cut_to_one_node, _empty, _flip, _overwrite_half, _remove)
SEARCH = f"""
import sys
from pathlib import Path
import numpy as np
from catalogd.catalog import annoy_engine, faiss_engine
from catalogd.catalog.embedding_index import EmbeddingIndex, space_folder
from catalogd.catalog.store import Store
from catalogd.settings import Settings
annoy_engine.INSPECTION_VALUES, faiss_engine.EXACT_ROWS = 1, 1000
for catalog in map(Path, sys.argv[1:]):
    with Store(catalog) as store:
        index = EmbeddingIndex(space_folder(catalog, "{SPACE}"), store, "{SPACE}", Settings(exact_below=500))
        for query in np.random.default_rng(1).standard_normal((20, {DIMENSION})).astype(np.float32):
            assert len(index.search(query, 10)) == 10
        print(index.check(), flush=True)
        index.close()
"""


def _in_process(script: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


def _damage_generation(catalog: Path, name: str, damage: Callable[[Path], None]) -> Path:
    (generation,) = space_folder(catalog, SPACE).glob("gen-*")
    damage(generation / name)
    return generation


def test_a_damaged_file_never_reaches_the_engine(
    sealed_catalogs: Callable[[str], Path], tmp_path: Path, engine: str
) -> None:
    """However it is damaged; one process searches the catalogs in turn and would end at the first mapped."""
    catalogs = [tmp_path / damage.__name__ for damage in DAMAGES]
    damaged = []
    for catalog, damage in zip(catalogs, DAMAGES, strict=True):
        shutil.copytree(sealed_catalogs(engine), catalog)
        damaged.append(_damage_generation(catalog, ENGINE_FILES[engine], damage) / ENGINE_FILES[engine])
    done = _in_process(SEARCH, *catalogs)
    assert done.returncode == 0, done.stdout + done.stderr
    for path, told in zip(damaged, done.stdout.splitlines(), strict=True):
        assert "is damaged and is not used" in told
        assert str(path) in told


def test_a_damaged_file_would_end_the_process_if_it_were_mapped(catalog: Path, engine: str) -> None:
    """Shows that the test above can fail: here a stamp vouches for the file."""
    harm = _flip if engine == annoy_engine.NAME else _overwrite_half  # faiss notices a cut itself
    generation = _damage_generation(catalog, ENGINE_FILES[engine], harm)
    manifest._write_stamp(generation, manifest.read_manifest(generation))
    assert _in_process(SEARCH, catalog).returncode != 0


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*FILES, "a file of the engine"])
def test_a_generation_with_a_damaged_file_is_ignored_reported_and_built_again(
    small: tuple[Store, EmbeddingIndex],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    damage: Callable[[Path], None],
    engine: str,
) -> None:
    monkeypatch.setattr(embedding_index, "TAIL_IDLE", 100)
    store, index = small
    build_generation(space_folder(tmp_path, SPACE), store, SPACE, engine)
    own = {annoy_engine.NAME: annoy_engine.PROJECTION_FILE, faiss_engine.NAME: faiss_engine.LISTS_FILE}
    _damage_generation(tmp_path, own[engine] if name not in FILES else name, damage)
    index.refresh()
    query = _clustered(1, seed=2)[0]
    assert [i for i, _ in index.search(query, 10)] == [i for i, _ in _brute_force(store, query, 10)]
    assert len(index.check()) == 1
    assert index.wants_seal(idle=True)
    build_generation(space_folder(tmp_path, SPACE), store, SPACE, engine)
    index.refresh()
    assert not index.wants_seal(idle=True)
    assert index.check() == []


def test_check_finds_decay_that_left_size_and_time_alone(
    catalog: Path, store: Store, index: EmbeddingIndex, settings: Settings
) -> None:
    (generation,) = space_folder(catalog, SPACE).glob("gen-*")
    index.close()
    path = generation / manifest.VECTORS_FILE
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(5000)
        file.write(b"\x01\x02")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    reopened = EmbeddingIndex(space_folder(catalog, SPACE), store, SPACE, settings)
    assert ["not what was written" in text for text in reopened.check()] == [True]
    assert _live(catalog) is None
    query = _clustered(1, seed=2)[0]
    assert [i for i, _ in reopened.search(query, 10)] == [i for i, _ in _brute_force(store, query, 10)]
    reopened.close()


def test_check_says_which_photos_differ(
    small: tuple[Store, EmbeddingIndex], tmp_path: Path, settings: Settings, engine: str
) -> None:
    """A generation of another catalog with the same commit number is sound, but not of these photos."""
    store, _ = small
    with Store(tmp_path / "other", write=True) as other:
        _fill(other, _clustered(300, seed=1)[:298])
        other.commit([_record(5, _clustered(1, seed=9)[0]), _record(299, _clustered(1, seed=9)[0])], PROFILE)
        store.commit([_record(400, _clustered(1, seed=8)[0])], PROFILE)
        build_generation(space_folder(tmp_path, SPACE), other, SPACE, engine)
        foreign = {_id(other, 5), _id(other, 299)}
    index = EmbeddingIndex(space_folder(tmp_path, SPACE), store, SPACE, settings)
    told = index.check()
    assert f"photo {_id(store, 298)} is not in the embedding index" in told
    assert f"photo {_id(store, 400)} is not in the embedding index" in told
    assert {f"photo {photo_id} has another embedding in the index" for photo_id in foreign} <= set(told)
    assert len(told) == 4
    index.close()


def test_the_hash_is_not_computed_again_for_files_that_are_the_same(
    catalog: Path, index: EmbeddingIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hashed(path: Path) -> object:
        raise AssertionError(f"hashed again: {path}")

    monkeypatch.setattr(manifest, "_proof", hashed)
    assert _live(catalog) is not None


# -- sealing that does not end well

SEAL = f"""
import os, signal, sys
from pathlib import Path
from catalogd.catalog import embedding_index, generations, manifest
from catalogd.settings import Settings
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
rename = os.rename
def half(folder, **_):
    if (file := Path(folder) / "manifest.json").exists():
        file.unlink()
        die()
match sys.argv[2]:
    case "before the rename": os.rename = die
    case "after the rename": os.rename = lambda *names: (rename(*names), die())
    case "after the vectors": generations._write_index = die
    case "before the manifest": manifest._manifest_hash = die
    case "while the former one is removed": generations.shutil.rmtree = half
embedding_index.seal_generation(Path(sys.argv[1]), "{SPACE}", Settings(vector_engine=sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("point", "new_is_live"),
    [
        ("after the vectors", False),
        ("before the manifest", False),
        ("before the rename", False),
        ("after the rename", True),
        ("while the former one is removed", True),
    ],
)
def test_a_kill_while_sealing_leaves_one_sound_generation(
    catalog: Path,
    store: Store,
    index: EmbeddingIndex,
    point: str,
    new_is_live: bool,
    settings: Settings,
    engine: str,
) -> None:
    first = _live(catalog)
    _fill(store, _clustered(200, seed=3), first=PHOTOS)
    assert _in_process(SEAL, catalog, point, engine).returncode == -signal.SIGKILL
    assert (_live(catalog) != first) == new_is_live
    index.refresh()
    assert index.search(_clustered(200, seed=3)[9], 1)[0][0] == _id(store, PHOTOS + 9)
    assert index.check() == []
    seal_generation(catalog, SPACE, settings)
    names = sorted(path.name for path in space_folder(catalog, SPACE).iterdir())
    assert names in ([_live(catalog)], [_live(catalog), generations.LOCK])


def test_kills_at_any_moment_of_sealing_lose_nothing(
    catalog: Path, store: Store, index: EmbeddingIndex, engine: str
) -> None:
    _fill(store, _clustered(200, seed=3), first=PHOTOS)
    rng = np.random.default_rng()
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", SEAL, str(catalog), "never", engine])
        time.sleep(float(rng.uniform(0.1, 0.9)))
        process.kill()
        process.wait()
        index.refresh()
        assert _live(catalog) is not None
        assert index.search(_clustered(200, seed=3)[9], 1)[0][0] == _id(store, PHOTOS + 9)
    assert index.check() == []


@pytest.mark.parametrize("limit_bytes", [100_000, 1_200_000], ids=["vectors", "index"])
def test_a_file_that_cannot_grow_leaves_the_former_generation_live(
    catalog: Path, store: Store, index: EmbeddingIndex, limit_bytes: int, engine: str
) -> None:
    first = _live(catalog)
    _fill(store, _clustered(200, seed=3), first=PHOTOS)
    done = _in_process(
        SEAL,
        catalog,
        "never",
        engine,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
    )
    assert done.returncode != 0
    assert _live(catalog) == first
    index.refresh()
    assert index.check() == []


def test_a_full_disk_is_told_before_the_engine_writes(
    catalog: Path, store: Store, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    first = _live(catalog)
    _fill(store, _clustered(200, seed=3), first=PHOTOS)
    usage = shutil.disk_usage(catalog)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CatalogFullError, match=r"needs \d+ MiB, 1 MiB are free"):
        seal_generation(catalog, SPACE, settings)
    assert _live(catalog) == first
    assert not list(space_folder(catalog, SPACE).glob(".building-*"))


def test_a_small_real_disk_is_told_and_nothing_is_left_on_it(
    catalog: Path, store: Store, engine: str
) -> None:
    """On a tmpfs of a few MB, in a mount namespace of its own, at several fill points."""
    script = """
        import os, subprocess, sys
        from pathlib import Path
        from catalogd.catalog.generations import build_generation, live_generation
        from catalogd.catalog.store import Store
        from catalogd.errors import CatalogFullError
        disk = Path(sys.argv[2])
        for megabytes in map(int, sys.argv[5:]):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", disk], check=True)
            try:
                with Store(Path(sys.argv[1])) as store:
                    build_generation(disk, store, sys.argv[3], sys.argv[4])
            except CatalogFullError as error:
                print("full", live_generation(disk) is None, [p.name for p in disk.iterdir()])
            subprocess.run(["umount", disk], check=True)
    """
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("needs root and mount namespaces")
    sizes = ["1", "2"] if engine == faiss_engine.NAME else ["1", "2", "4", "6"]
    disk = catalog / "disk"
    disk.mkdir()
    command = ["unshare", "-m", sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(
        [*command, catalog, disk, SPACE, engine, *sizes],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["full True ['seal.lock']"] * len(sizes)


def test_only_one_process_seals_at_a_time(catalog: Path, store: Store, settings: Settings) -> None:
    import filelock

    first = _live(catalog)
    _fill(store, _clustered(200, seed=3), first=PHOTOS)
    with filelock.FileLock(space_folder(catalog, SPACE) / generations.LOCK):
        seal_generation(catalog, SPACE, settings)
        assert _live(catalog) == first
    seal_generation(catalog, SPACE, settings)
    assert _live(catalog) != first


def test_searches_go_on_while_another_process_seals(
    catalog: Path, store: Store, index: EmbeddingIndex, engine: str
) -> None:
    queries = _clustered(20, seed=2)
    ids, vectors = _everything(store)
    truth = [set(dict(_nearest(ids, vectors, query, 10))) for query in queries]
    nudge = _clustered(1, seed=3)[0]
    for round_number in range(2):
        store.commit([_record(30_000 + round_number, -nudge)], PROFILE)
        process = subprocess.Popen([sys.executable, "-c", SEAL, str(catalog), "never", engine])
        while process.poll() is None:
            index.refresh()
            found = [set(dict(index.search(query, 10))) for query in queries]
            assert sum(len(a & b) for a, b in zip(found, truth, strict=True)) >= 0.98 * 200
        assert process.returncode == 0
    index.refresh()
    assert index.check() == []
