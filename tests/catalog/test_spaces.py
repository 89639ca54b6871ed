"""A model of search by meaning is swapped: counted along, switched in one write, taken back, dropped."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from catalogd.catalog import Catalog, spaces
from catalogd.catalog.store import FILE_ENTRY_PROFILE, JOINT, KEPT_PROFILE, STALE_PROFILE
from catalogd.errors import UsageError
from catalogd.records import Missing, Moved, Output, Record, Retry, Stat
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, failure, photo, tagger, vector

OLD, NEW = "old@1.1", "new@1.1"


def seen(space: str, seed: int, dimension: int = 8) -> Output:
    return Output(space, joint_embedding=vector(seed, dimension))


def both(name: str, seed: int, new: bool = True, **changed: Any) -> Record:
    outputs = {"embedding": seen(OLD, seed), "tags": tagger("cat")}
    if new:
        outputs["embedding:new"] = seen(NEW, seed + 100, 12)
    return photo(f"/p/{name}.jpg", of=name, outputs=outputs, **changed)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path, Settings(), write=True) as catalog:
        yield catalog


def learn(catalog: Catalog, *names: str) -> None:
    """The new model sees photos that the old one has seen."""
    known = [photo(f"/p/{name}.jpg", of=name, outputs={}) for name in names]
    catalog.commit(
        [
            Record(one.path, one.stat, one.content, one.facts, {"embedding:new": seen(NEW, index + 100, 12)})
            for index, one in enumerate(known)
        ],
        PROFILE,
    )
    catalog.follow()


def test_the_old_space_is_searched_until_the_new_one_covers_every_photo(catalog: Catalog) -> None:
    catalog.commit([both(name, seed, new=False) for seed, name in enumerate("abc")], PROFILE)
    began = spaces.begin_switch(catalog, NEW)
    assert (began.active, began.wanted, began.covered, began.photos) == (OLD, NEW, 0, 3)
    learn(catalog, "a", "b")
    half = spaces.state(catalog)
    assert (half.active, half.covered) == (OLD, 2)
    assert half.share == pytest.approx(2 / 3)
    learn(catalog, "c")
    assert spaces.state(catalog) == spaces.SwitchState(NEW, "", OLD, 3, 3, "")


def test_a_catalog_without_any_space_waits_for_nothing(catalog: Catalog) -> None:
    assert spaces.begin_switch(catalog, NEW).active == NEW


def test_what_is_searched_already_is_no_switch(catalog: Catalog) -> None:
    catalog.commit([both("a", 1, new=False)], PROFILE)
    assert spaces.begin_switch(catalog, OLD) == spaces.SwitchState(OLD, "", "", 1, 1, "")


def test_a_model_that_can_not_search_any_more_is_not_waited_for(catalog: Catalog) -> None:
    catalog.commit([both("a", 1, new=False)], PROFILE)
    assert spaces.begin_switch(catalog, NEW, at_once=True).active == NEW


def test_photos_on_which_the_new_model_failed_count_as_covered(catalog: Catalog) -> None:
    catalog.commit([both("a", 1, new=False)], PROFILE)
    spaces.begin_switch(catalog, NEW)
    known = photo("/p/a.jpg", of="a", outputs={"embedding:new": Output(NEW, error="ValueError: odd")})
    catalog.commit([known], PROFILE)
    catalog.follow()
    assert spaces.state(catalog).active == NEW


def test_photos_whose_newest_version_can_not_be_read_hold_up_no_switch(catalog: Catalog) -> None:
    catalog.commit([both("a", 1, new=False), both("b", 2, new=False)], PROFILE)
    spaces.begin_switch(catalog, NEW)
    catalog.commit([failure("/p/b.jpg", stat=Stat(7, 7))], PROFILE)
    catalog.follow()
    assert spaces.state(catalog).active == OLD, "a is still to be seen"
    learn(catalog, "a")
    assert spaces.state(catalog).active == NEW


def test_a_photo_that_goes_missing_is_not_waited_for_and_counts_again_when_it_is_back(
    catalog: Catalog,
) -> None:
    catalog.commit([both("a", 1), both("b", 2, new=False), both("c", 3, new=False)], PROFILE)
    assert spaces.begin_switch(catalog, NEW).covered == 1
    catalog.commit([Missing(b"/p/a.jpg", 1.0)], PROFILE)
    assert spaces.state(catalog).covered == 0
    photo_ids = dict.fromkeys(record.photo_id for record in catalog.iter_records() if record.missing_since)
    catalog.commit([Moved(next(iter(photo_ids)), b"/p/z.jpg", Stat(1000, 1))], PROFILE)
    assert spaces.state(catalog).covered == 1


def test_a_switch_is_given_up_and_a_done_one_is_taken_back(catalog: Catalog) -> None:
    catalog.commit([both("a", 1, new=False)], PROFILE)
    spaces.begin_switch(catalog, NEW)
    assert spaces.back_out(catalog) == spaces.SwitchState(OLD, "", "", 1, 1, "")
    spaces.begin_switch(catalog, NEW)
    learn(catalog, "a")
    assert spaces.state(catalog).active == NEW
    taken_back = spaces.back_out(catalog)
    assert (taken_back.active, taken_back.before) == (OLD, NEW)
    with pytest.raises(UsageError, match="is searched by"):
        spaces.drop(catalog, "embedding")


def test_there_is_nothing_to_go_back_to_before_any_switch(catalog: Catalog) -> None:
    catalog.commit([both("a", 1, new=False)], PROFILE)
    with pytest.raises(UsageError, match="no former model"):
        spaces.back_out(catalog)


def test_what_is_dropped_leaves_records_vectors_and_spaces_and_nothing_else(catalog: Catalog) -> None:
    catalog.commit([both(f"p{seed}", seed) for seed in range(450)], PROFILE)
    spaces.begin_switch(catalog, NEW, at_once=True)
    told: list[int] = []
    assert spaces.drop(catalog, "embedding", told.append) == 450
    assert told[-1] == 450
    assert len(told) > 2, "in several commits"
    assert [*catalog.spaces()] == [NEW + JOINT]
    assert all(set(record.outputs) == {"embedding:new", "tags"} for record in catalog.iter_records())
    catalog.follow(force=True)
    assert catalog.check(deep=True) == []
    with pytest.raises(UsageError, match="no former model"):
        spaces.back_out(catalog)


def test_of_an_output_only_what_one_model_made_is_dropped(catalog: Catalog) -> None:
    """Dropping one tagger's tags took those of every other, and of captions those that were paid for."""
    catalog.commit([both(f"p{seed}", seed) for seed in range(3)], PROFILE)
    [made] = {record.outputs["tags"].fingerprint for record in catalog.iter_records()}
    assert spaces.drop(catalog, "tags", by="another@") == 0
    assert spaces.drop(catalog, "tags", by=made[:4]) == 3
    assert all("tags" not in record.outputs for record in catalog.iter_records())


def test_a_drop_that_was_interrupted_goes_on_with_the_next_writer(tmp_path: Path) -> None:
    with Catalog.open(tmp_path, Settings(), write=True) as catalog:
        catalog.commit([both(f"p{seed}", seed) for seed in range(450)], PROFILE)
        spaces.begin_switch(catalog, NEW, at_once=True)
        catalog.search_spaces.begin_drop("embedding")
        catalog.search_spaces.drop_page()
        left = [record for record in catalog.iter_records() if "embedding" in record.outputs]
        assert 0 < len(left) < 450
    with Catalog.open(tmp_path, Settings(), write=True) as catalog:
        while spaces.state(catalog).dropping:
            catalog.follow(idle=True)
        assert not [record for record in catalog.iter_records() if "embedding" in record.outputs]


def test_the_two_spaces_are_searched_apart(catalog: Catalog) -> None:
    catalog.commit([both(name, seed) for seed, name in enumerate("abc")], PROFILE)
    for space, dimension in ((OLD, 8), (NEW, 12)):
        query = np.ones(dimension, np.float32) / np.sqrt(np.float32(dimension))
        found = catalog.search_embeddings(space + JOINT, query, 3)
        stored = catalog.embeddings(space + JOINT, np.array(sorted(photo_id for photo_id, _ in found)))[1]
        assert sorted(score for _, score in found) == pytest.approx(sorted(stored @ query), abs=1e-3)
    with pytest.raises(ValueError, match="12 finite numbers"):
        catalog.search_embeddings(NEW + JOINT, np.ones(8, np.float32) / np.sqrt(np.float32(8)), 3)


def test_records_of_some_models_alone_leave_profile_keys_as_they_are(catalog: Catalog) -> None:
    catalog.commit([both("a", 1, new=False)], PROFILE)
    caption = photo("/p/a.jpg", of="a", outputs={"caption": Output("florence@1.1", caption="a cat")})
    new = photo("/p/n.jpg", of="n", outputs={"caption": Output("florence@1.1", caption="a dog")})
    catalog.commit([caption, new], KEPT_PROFILE)
    entries = catalog.folder_entries(b"/p")
    assert entries[b"a.jpg"][FILE_ENTRY_PROFILE] == PROFILE
    assert entries[b"n.jpg"][FILE_ENTRY_PROFILE] == STALE_PROFILE
    record = catalog.record(catalog.photo_id_of(b"/p/a.jpg") or 0)
    assert record is not None
    assert {"caption", "embedding", "tags"} == set(record.outputs)


def test_a_repaired_catalog_is_counted_anew(catalog: Catalog) -> None:
    catalog.commit([both("a", 1), both("b", 2, new=False)], PROFILE)
    spaces.begin_switch(catalog, NEW)
    catalog._store.repair()
    catalog.follow()
    assert spaces.state(catalog).covered == 1


def _switch_for_ever(folder: str, began: Any) -> None:
    with Catalog.open(Path(folder), Settings(), write=True) as catalog:
        began.set()
        while True:
            for space in (NEW, OLD):
                spaces.begin_switch(catalog, space)


def test_a_writer_that_is_killed_leaves_one_space_or_the_other(tmp_path: Path) -> None:
    with Catalog.open(tmp_path, Settings(), write=True) as catalog:
        catalog.commit([both(name, seed) for seed, name in enumerate("abc")], PROFILE)
        spaces.begin_switch(catalog, OLD)
    context = multiprocessing.get_context("spawn")
    began = context.Event()
    process = context.Process(target=_switch_for_ever, args=(str(tmp_path), began))
    process.start()
    assert began.wait(30)
    assert process.pid
    process.join(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with Catalog.open(tmp_path, Settings(), write=True) as catalog:
        now = spaces.state(catalog)
        assert {now.active, now.before or now.wanted} == {OLD, NEW}
        catalog.follow(force=True)
        assert catalog.check(deep=True) == []


class Coverage(RuleBasedStateMachine):
    """Whatever is committed, the count that goes along is the one that a walk finds."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self._folder = tempfile.TemporaryDirectory()
        self._catalog = Catalog.open(Path(self._folder.name), Settings(), write=True)
        self._catalog.commit([both("z", 1, new=False)], PROFILE)
        spaces.begin_switch(self._catalog, NEW)
        self._stat = 1

    def teardown(self) -> None:
        self._catalog.close()
        self._folder.cleanup()

    @rule(name=st.sampled_from("abc"), new=st.booleans(), content=st.sampled_from("xy"))
    def add(self, name: str, new: bool, content: str) -> None:
        outputs: dict[str, Output] = {"embedding": seen(OLD, 1)}
        if new:
            outputs["embedding:new"] = seen(NEW, 2, 12)
        self._catalog.commit([photo(f"/p/{name}.jpg", of=name + content, outputs=outputs)], PROFILE)

    @rule(name=st.sampled_from("abc"))
    def break_new(self, name: str) -> None:
        outputs = {"embedding:new": Output(NEW, error="E")}
        self._catalog.commit([photo(f"/p/{name}.jpg", of=name + "x", outputs=outputs)], PROFILE)

    @rule(name=st.sampled_from("abc"))
    def retry(self, name: str) -> None:
        self._catalog.commit([Retry(f"/p/{name}.jpg".encode())], PROFILE)

    @rule(name=st.sampled_from("abc"))
    def lose(self, name: str) -> None:
        self._catalog.commit([Missing(f"/p/{name}.jpg".encode(), 1.0)], PROFILE)

    @precondition(lambda self: any(one.photo_id for one in self._catalog.iter_records()))
    @rule(data=st.data(), place=st.sampled_from("abc"))
    def move(self, data: st.DataObject, place: str) -> None:
        ids = [one.photo_id for one in self._catalog.iter_records()][:4]
        moved = Moved(data.draw(st.sampled_from(ids)), f"/p/{place}.jpg".encode(), Stat(1000, 1))
        self._catalog.commit([moved], PROFILE)

    @rule()
    def drop_missing(self) -> None:
        self._catalog._store.purge_missing(before=2.0)

    @invariant()
    def the_count_is_that_of_a_walk(self) -> None:
        now = self._catalog.search_spaces.state()
        if now.wanted:
            assert now.covered == self._catalog.search_spaces.coverage(NEW)


TestCoverage = Coverage.TestCase
TestCoverage.settings = hypothesis_settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
