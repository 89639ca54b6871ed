"""Faces in the store: they follow the records, stay who they are, and what people said of them holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from catalogd.catalog import face_following as following
from catalogd.catalog.clustering import Constraints, FaceKey
from catalogd.catalog.face_following import FaceFollower
from catalogd.catalog.face_rows import KEPT_VERSIONS, MARK, TABLES
from catalogd.catalog.faces import FaceIndex, FaceRow
from catalogd.catalog.store import Store
from catalogd.errors import CatalogFullError
from catalogd.records import Box, Change, Face, Missing, Output, Record
from tests.catalog.photos import PROFILE, photo

D = 32
PEOPLE = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0].astype(np.float32)
LEFT, RIGHT, TOP = (0.1, 0.1, 0.2, 0.3), (0.6, 0.1, 0.2, 0.3), (0.35, 0.6, 0.2, 0.3)
ANNA, BEN, LIKE_ANNA = 0, 1, 9
PEOPLE[LIKE_ANNA] = 0.5 * PEOPLE[ANNA] + np.sqrt(0.75) * PEOPLE[LIKE_ANNA]


def face(person: int, seed: int, box: Box = LEFT, likeness: float = 0.95, quality: float = 0.8) -> Face:
    noise = np.random.default_rng(seed).normal(size=D)
    noise -= noise @ PEOPLE[person] * PEOPLE[person]
    made = likeness * PEOPLE[person] + np.sqrt(1 - likeness**2) * noise / np.linalg.norm(noise)
    return Face(box, (), 0.9, quality, made.astype("<f2").tobytes())


def shot(path: str, *shown: Face, model: str = "faces 1", of: str = "") -> Record:
    return photo(path, of, outputs={"faces": Output(model, faces=shown)})


@dataclasses.dataclass
class Library:
    """A store with its follower and its index, and what people said."""

    store: Store
    follower: FaceFollower
    index: FaceIndex
    said: Constraints = dataclasses.field(default_factory=Constraints)

    def commit(self, *changes: Change) -> None:
        self.store.commit(changes, PROFILE)
        self.follower.follow(force=True)
        self.check()

    def check(self) -> None:
        with self.store.snapshot() as reading:
            assert list(following.check(reading, deep=True)) == []

    def say(self, **said: object) -> None:
        self.said = dataclasses.replace(self.said, version=self.said.version + 1, **said)  # type: ignore[arg-type]

    def obey(self, **said: object) -> None:
        self.say(**said)
        self.follower.follow(force=True)
        self.check()

    def key(self, path: str, index: int = 0) -> FaceKey:
        photo_id = self.store.photo_id_of(path.encode())
        assert photo_id is not None
        return photo_id, index

    def cluster(self, path: str, index: int = 0) -> int:
        return self.index.cluster_of(*self.key(path, index))

    def restarted(self) -> FaceFollower:
        return FaceFollower(self.store, lambda: self.said)


def opened(folder: Path) -> Library:
    store = Store(folder, write=True)
    made: Library
    made = Library(store, FaceFollower(store, lambda: made.said), FaceIndex(store, lambda: made.said))
    return made


@pytest.fixture
def library(tmp_path: Path):
    made = opened(tmp_path)
    with made.store:
        yield made


def album(
    library: Library, person: int, count: int = 3, folder: str = "a", likeness: float = 0.95
) -> list[str]:
    """Commit `count` photos of one person; returns their paths."""
    paths = [f"/{folder}/{person}-{number}.jpg" for number in range(count)]
    library.commit(
        *(shot(path, face(person, 10 * person + n, likeness=likeness)) for n, path in enumerate(paths))
    )
    return paths


# ── following ─────────────────────────────────────────────────────────────────────────────────


def test_faces_come_into_clusters_as_photos_come(library: Library) -> None:
    first, *_ = album(library, ANNA)
    album(library, BEN)
    anna, ben = library.cluster(first), library.cluster("/a/1-0.jpg")
    assert 0 < anna != ben > 0
    library.commit(shot("/b/both.jpg", face(BEN, 90, RIGHT), face(ANNA, 91, LEFT)))
    assert [row.cluster_id for row in library.index.faces_in(library.key("/b/both.jpg")[0])] == [ben, anna]
    clusters = library.index.clusters()
    assert dict(zip(clusters.ids.tolist(), clusters.counts.tolist(), strict=True)) == {anna: 4, ben: 4}
    assert len(library.index.photos_of_clusters([anna, ben])) == 7
    assert len(library.index.faces_of(anna)[0]) == 4
    assert clusters.covers[0] in library.index.faces_of(anna)[0]


def test_a_face_that_waited_comes_in_with_those_that_come_later(library: Library) -> None:
    library.commit(shot("/a/1.jpg", face(ANNA, 1, likeness=0.76)))
    assert library.cluster("/a/1.jpg") == 0
    assert library.index.unassigned()[0].tolist() == [library.key("/a/1.jpg")[0]]
    album(library, ANNA, folder="b")
    assert library.cluster("/a/1.jpg") == library.cluster("/b/0-0.jpg") > 0


def test_a_photo_that_is_committed_again_does_not_agree_with_itself(library: Library) -> None:
    """A face that waits must not wait twice: two alike make a cluster."""
    for _ in range(3):
        library.commit(shot("/a/1.jpg", face(ANNA, 1)))
    library.follower.rebuild()
    library.check()
    assert library.cluster("/a/1.jpg") == 0


def test_faces_of_a_missing_photo_are_hidden_and_come_back_as_they_were(library: Library) -> None:
    first, *_ = album(library, ANNA)
    before = library.index.faces_in(library.key(first)[0])
    photo_id = library.key(first)[0]
    library.commit(Missing(first.encode(), 5.0))
    assert library.index.faces_in(photo_id) == []
    assert photo_id not in library.index.photos_of_clusters([before[0].cluster_id])
    library.commit(shot(first, face(ANNA, 0)))
    assert library.index.faces_in(library.key(first)[0]) == before


def test_faces_of_a_photo_that_is_gone_are_gone(library: Library) -> None:
    paths = album(library, ANNA)
    library.commit(*(Missing(path.encode(), 5.0) for path in paths))
    while library.store.purge_missing(10.0):
        pass
    library.follower.follow(force=True)
    library.check()
    with library.store.snapshot() as reading:
        assert [reading.entries(table) for table in ("faces", "face_vectors", "clusters")] == [0, 0, 0]
    album(library, ANNA)
    assert library.index.clusters().ids.tolist() == [2], "a number is given once"


def test_a_face_that_is_shown_again_keeps_its_cluster_and_its_index(library: Library) -> None:
    album(library, ANNA)
    album(library, BEN)
    library.commit(shot("/b/1.jpg", face(ANNA, 50, LEFT), face(BEN, 51, RIGHT)))
    anna, ben = library.cluster("/b/1.jpg", 0), library.cluster("/b/1.jpg", 1)
    library.commit(shot("/b/1.jpg", face(BEN, 51, RIGHT), of="edited"))
    assert [(row.index, row.cluster_id) for row in library.index.faces_in(library.key("/b/1.jpg")[0])] == [
        (1, ben)
    ]
    library.commit(shot("/b/1.jpg", face(5, 60, TOP), face(ANNA, 50, LEFT), face(BEN, 51, RIGHT)))
    rows = library.index.faces_in(library.key("/b/1.jpg")[0])
    assert [(row.index, row.cluster_id) for row in rows] == [(0, anna), (1, ben), (2, 0)]


def test_another_person_at_the_same_place_is_another_face(library: Library) -> None:
    album(library, ANNA)
    album(library, BEN)
    library.commit(shot("/b/1.jpg", face(ANNA, 50)))
    library.commit(shot("/b/1.jpg", face(BEN, 51), of="other"))
    assert [row.index for row in library.index.faces_in(library.key("/b/1.jpg")[0])] == [1]
    assert library.cluster("/b/1.jpg", 1) == library.cluster("/a/1-0.jpg")


def test_another_model_s_faces_take_the_places_of_the_former_ones(library: Library) -> None:
    """Its embeddings are not comparable: only the boxes tell that a face is the same."""
    paths = album(library, ANNA)
    others = album(library, BEN)
    anna, ben = library.cluster(paths[0]), library.cluster(others[0])
    for person, some in ((3, paths), (2, others)):
        for number, path in enumerate(some[:2]):
            moved = (0.11, 0.1, 0.2, 0.28)
            library.commit(shot(path, face(person, 70 + number, moved), model="faces 2"))
    assert [library.cluster(path) for path in (*paths, *others)] == [anna] * 3 + [ben] * 3
    library.commit(
        shot("/b/new.jpg", face(3, 80), model="faces 2"), shot("/b/ben.jpg", face(2, 80), model="faces 2")
    )
    assert (library.cluster("/b/new.jpg"), library.cluster("/b/ben.jpg")) == (anna, ben)
    library.follower.recluster()
    library.check()
    assert [library.cluster(path) for path in (paths[2], "/b/new.jpg")] == [anna, anna]


def test_a_photo_of_a_former_model_that_is_touched_harms_nothing(library: Library) -> None:
    """Clusters were stored as described by one model's faces and read as described by the other's."""
    paths = album(library, ANNA)
    anna = library.cluster(paths[0])
    library.commit(shot("/b/1.jpg", face(5, 80), model="faces 2"))
    library.commit(shot(paths[0], face(ANNA, 0), of=""))
    library.follower = library.restarted()
    library.commit(*(Missing(path.encode(), 5.0) for path in paths[:2]))
    library.store.purge_missing(10.0)
    library.follower = library.restarted()
    library.follower.follow(force=True)
    library.check()
    assert library.index.clusters().ids.tolist() == [anna]


def test_nothing_new_writes_nothing(library: Library, tmp_path: Path) -> None:
    album(library, ANNA)
    before = (tmp_path / "store" / "data.mdb").read_bytes()
    library.follower.follow(force=True)
    library.follower.follow(idle=True)
    assert (tmp_path / "store" / "data.mdb").read_bytes() == before


def test_an_older_catalog_is_taken_in_page_by_page(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAGE_PHOTOS", 2)
    library.store.set_mark(MARK, None)
    album_of = [shot(f"/a/{number}.jpg", face(ANNA, number)) for number in range(7)]
    library.store.commit(album_of, PROFILE)
    follower = library.restarted()
    seen = []
    for _ in range(6):
        follower.follow(idle=True)
        seen.append(
            sum(len(library.index.faces_in(library.key(f"/a/{number}.jpg")[0])) for number in range(7))
        )
    assert seen == sorted(seen)
    assert (seen[1], seen[-1]) == (2, 7)
    library.check()
    assert library.index.clusters().counts.tolist() == [7]


# ── what may happen in between ────────────────────────────────────────────────────────────────


def test_a_write_that_fails_leaves_all_as_it_was(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    album(library, ANNA)
    library.store.commit([shot("/b/1.jpg", face(ANNA, 40))], PROFILE)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", lambda store, work: (_ for _ in ()).throw(CatalogFullError("full")))
        with pytest.raises(CatalogFullError):
            library.follower.follow(force=True)
    library.follower.follow(force=True)
    library.check()
    assert library.index.clusters().counts.tolist() == [4]


def test_following_after_each_start_is_as_following_without(library: Library, tmp_path: Path) -> None:
    """What a follower holds in memory is what is stored."""
    other = opened(tmp_path / "other")
    chance = np.random.default_rng(5)
    with other.store:
        for batch in range(12):
            some = [
                shot(
                    f"/{batch}/{n}.jpg",
                    face(int(chance.integers(4)), int(chance.integers(1 << 30)), likeness=0.8),
                )
                for n in range(6)
            ]
            library.commit(*some)
            other.store.commit(some, PROFILE)
            other.restarted().follow(force=True)
            other.check()
        assert together(library) == together(other)


def together(library: Library) -> set[frozenset[FaceKey]]:
    """Which faces are in one cluster, whatever its number."""
    clusters = [library.index.faces_of(number) for number in library.index.clusters().ids.tolist()]
    return {frozenset(zip(ids.tolist(), indices.tolist(), strict=True)) for ids, indices in clusters}


def rows_of(store: Store) -> list[list[tuple[bytes, bytes]]]:
    with store.snapshot() as reading:
        return [list(reading.rows(table)) for table in TABLES]


def test_check_finds_what_differs_and_rebuild_mends_it(library: Library) -> None:
    first, *_ = album(library, ANNA)
    album(library, BEN)
    anna = library.cluster(first)
    for table in ("clusters", "face_vectors", "faces"):
        library.store.write(lambda reading, table=table: reading.delete(table, next(reading.rows(table))[0]))
        with library.store.snapshot() as reading:
            assert list(following.check(reading, deep=True)), table
        library.follower.rebuild()
        library.check()
    assert library.cluster(first) in (anna, 3), "the other faces of the cluster hold it"
    assert len(set(library.index.clusters().ids.tolist())) == 2


def test_rebuild_keeps_clusters_and_indices(library: Library) -> None:
    album(library, ANNA)
    album(library, BEN)
    before = rows_of(library.store)[0]
    library.follower.rebuild()
    library.check()
    assert rows_of(library.store)[0] == before


# ── what people said ──────────────────────────────────────────────────────────────────────────


def test_a_pinned_face_is_its_person_s_at_once_and_in_a_cluster_of_theirs_after(library: Library) -> None:
    first, *_ = album(library, ANNA)
    album(library, BEN)
    anna, ben = library.cluster(first), library.cluster("/a/1-0.jpg")
    face_of_ben = library.key("/a/1-1.jpg")
    library.say(owner={anna: 7, ben: 8}, pins={face_of_ben: 7})
    assert library.index.faces_in(face_of_ben[0])[0].person_id == 7
    assert library.cluster("/a/1-1.jpg") == ben, "nobody wrote yet"
    library.follower.follow(force=True)
    library.check()
    made = library.cluster("/a/1-1.jpg")
    assert made not in (anna, ben)
    assert sorted(library.index.clusters_of_person(7)) == sorted([anna, made])
    assert face_of_ben[0] in library.index.photos_of_person(7)
    assert face_of_ben[0] not in library.index.photos_of_person(8)


def test_all_clusters_of_a_person_attract(library: Library) -> None:
    first, *_ = album(library, ANNA)
    anna = library.cluster(first)
    library.commit(shot("/b/1.jpg", face(4, 1)))
    library.obey(owner={anna: 7}, pins={library.key("/b/1.jpg"): 7})
    library.commit(shot("/b/2.jpg", face(4, 2)))
    assert library.cluster("/b/2.jpg") == library.cluster("/b/1.jpg") != anna
    assert library.key("/b/2.jpg")[0] in library.index.photos_of_person(7)


def test_a_face_leaves_whom_it_is_not(library: Library) -> None:
    first, second, *_ = album(library, ANNA, 5)
    anna = library.cluster(first)
    library.say(owner={anna: 7}, cannot=frozenset({(library.key(second), 7)}))
    assert library.index.faces_in(library.key(second)[0])[0].person_id == 0
    library.follower.follow(force=True)
    library.check()
    assert library.cluster(second) == 0
    library.follower.recluster()
    library.check()
    assert library.cluster(second) != anna
    assert library.cluster(first) == anna


def test_merged_persons_are_one(library: Library) -> None:
    anna, ben = library.cluster(album(library, ANNA)[0]), library.cluster(album(library, BEN)[0])
    library.obey(owner={anna: 7, ben: 8}, merged={8: 7})
    assert sorted(library.index.clusters_of_person(7)) == sorted([anna, ben])
    assert len(library.index.photos_of_person(7)) == 6
    assert library.index.clusters_of_person(8) == []


# ── all anew ──────────────────────────────────────────────────────────────────────────────────


def test_what_a_withdrawn_word_kept_apart_comes_together_again(library: Library) -> None:
    first, second, *_ = album(library, ANNA, 4)
    kept = library.cluster(first)
    library.obey(pins={library.key(second): 7})
    assert library.cluster(second) != kept
    library.obey(pins={}, merged={7: 0})
    assert library.cluster(second) != kept, "nothing is reshuffled unasked"
    library.follower.recluster()
    library.check()
    assert library.cluster(first) == library.cluster(second) == kept


def test_a_cluster_keeps_its_number_and_owner_through_reclustering(library: Library) -> None:
    paths = [album(library, person, 4) for person in (ANNA, BEN, 2)]
    before = [library.cluster(path) for some in paths for path in some]
    library.obey(owner={before[0]: 7})
    library.follower.recluster()
    library.check()
    assert [library.cluster(path) for some in paths for path in some] == before


# ── reading ───────────────────────────────────────────────────────────────────────────────────


def test_a_face_is_found_by_its_box(library: Library) -> None:
    library.commit(shot("/a/1.jpg", face(ANNA, 1, LEFT), face(BEN, 2, RIGHT)))
    photo_id = library.key("/a/1.jpg")[0]
    found = library.index.find(photo_id, (0.62, 0.1, 0.2, 0.3))
    assert found is not None
    assert found.index == 1
    assert library.index.find(photo_id, TOP) is None
    assert library.index.find(1, LEFT) is None


def test_two_clusters_of_one_person_are_suggested_and_of_two_persons_not(library: Library) -> None:
    one = library.cluster(album(library, ANNA, likeness=0.98)[0])
    other = library.cluster(album(library, LIKE_ANNA, likeness=0.98)[0])
    album(library, 3)
    assert one != other
    assert [{pair.cluster_id, pair.other_id} for pair in library.index.suggest_merges()] == [{one, other}]
    assert library.index.neighbours(one)[0].other_id == other
    library.say(owner={one: 7, other: 8})
    assert library.index.suggest_merges() == []
    library.say(owner={one: 7})
    assert len(library.index.suggest_merges()) == 1
    library.commit(shot("/b/1.jpg", face(ANNA, 50, LEFT), face(LIKE_ANNA, 51, RIGHT)))
    assert library.index.suggest_merges() == [], "they are together in a photo"


def test_an_index_keeps_up_with_rows_and_when_it_is_far_behind(library: Library) -> None:
    first, *_ = album(library, ANNA)
    assert library.index.clusters().counts.tolist() == [3]
    for number in range(KEPT_VERSIONS + 3):
        library.store.commit([shot(f"/b/{number}.jpg", face(ANNA, 100 + number))], PROFILE)
        library.follower.follow(force=True)
        if number == 1:
            assert library.index.clusters().counts.tolist() == [5]
    fresh = FaceIndex(library.store, lambda: library.said)
    for index in (library.index, fresh):
        assert index.clusters().counts.tolist() == [KEPT_VERSIONS + 6]
        assert (
            index.faces_of(library.cluster(first))[0].tolist()
            == fresh.faces_of(library.cluster(first))[0].tolist()
        )


def test_embeddings_of_faces_can_be_read(library: Library) -> None:
    first, *_ = album(library, ANNA)
    vectors = library.index.vectors([library.key(first), (1, 9)])
    assert vectors.shape == (2, D)
    assert np.isclose(np.linalg.norm(vectors, axis=1), [1, 0], atol=1e-3).all()


# ── anything, in any order ────────────────────────────────────────────────────────────────────


class AnyOrder(RuleBasedStateMachine):
    """What people said holds, and the tables agree, whatever is done in whatever order."""

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.library = opened(Path(self.folder.name))
        self.seed = 0

    def teardown(self) -> None:
        if hasattr(self, "library"):
            self.library.store.close()
            self.folder.cleanup()

    @rule(
        paths=st.lists(st.integers(0, 11), min_size=1, max_size=6),
        people=st.lists(st.integers(0, 3), min_size=6, max_size=6),
        model=st.sampled_from([1, 1, 1, 2]),
        edited=st.booleans(),
    )
    def commit(self, paths: list[int], people: list[int], model: int, edited: bool) -> None:
        changes: list[Change] = []
        for path, person in zip(paths, people, strict=False):
            self.seed += 1
            shown = [
                face((person + n + 2 * model) % 8, self.seed, box)
                for n, box in enumerate((LEFT, RIGHT)[: 1 + path % 2])
            ]
            of = f"v{self.seed}" if edited else ""
            changes.append(shot(f"/a/{path}.jpg", *shown, model=f"faces {model}", of=of))
        self.library.store.commit(changes, PROFILE)

    @rule(path=st.integers(0, 11))
    def lose(self, path: int) -> None:
        self.library.store.commit([Missing(f"/a/{path}.jpg".encode(), 5.0)], PROFILE)

    @rule()
    def forget(self) -> None:
        self.library.store.purge_missing(10.0)

    @rule(restart=st.booleans())
    def follow(self, restart: bool) -> None:
        if restart:
            self.library.follower = self.library.restarted()
        self.library.follower.follow(force=True)
        self.library.check()

    def faces(self) -> list[FaceRow]:
        index = self.library.index
        ids = self.library.store.photo_ids().tolist()
        return [row for photo_id in ids for row in index.faces_in(photo_id)]

    @precondition(lambda self: self.faces())
    @rule(data=st.data(), person=st.integers(1, 2), how=st.sampled_from(["own", "pin", "not"]))
    def say(self, data: st.DataObject, person: int, how: str) -> None:
        row = data.draw(st.sampled_from(self.faces()))
        said, key = self.library.said, (row.photo_id, row.index)
        if how == "own" and row.cluster_id and not said.owner.get(row.cluster_id):
            self.library.say(owner={**said.owner, row.cluster_id: person})
        elif how == "pin":
            cannot = frozenset(pair for pair in said.cannot if pair != (key, person))
            self.library.say(pins={**said.pins, key: person}, cannot=cannot)
        elif how == "not" and said.pins.get(key) != person:
            self.library.say(cannot=said.cannot | {(key, person)})

    @rule()
    def recluster(self) -> None:
        self.library.follower.recluster()
        self.library.check()

    @rule()
    def rebuild(self) -> None:
        self.library.follower.rebuild()
        self.library.check()

    @invariant()
    def what_people_said_holds(self) -> None:
        if not hasattr(self, "library"):
            return
        said = self.library.said
        for row in self.faces():
            key = (row.photo_id, row.index)
            if key in said.pins:
                assert row.person_id == said.pins[key]
            elif row.person_id:
                assert (key, row.person_id) not in said.cannot

    @precondition(lambda self: hasattr(self, "library"))
    @rule()
    def stored_clusters_obey(self) -> None:
        """Not only as it is read: after following, no cluster holds a face against somebody's word."""
        self.library.follower.follow(force=True)
        said, current = self.library.said, following.StoredGallery
        with self.library.store.snapshot() as reading:
            gallery = current(reading)
        for row in self.faces():
            cluster = gallery.clusters.get(row.cluster_id)
            owner = said.owner_of(row.cluster_id, cluster.made_for) if cluster is not None else 0
            key = (row.photo_id, row.index)
            assert owner == said.pins[key] if key in said.pins else (key, owner) not in said.cannot


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=15, stateful_step_count=25, deadline=None)
