"""Clusters of faces: who comes together, who never does, and that it stays so."""

from __future__ import annotations

import numpy as np
import pytest

from catalogd.catalog.clustering import (
    Constraints,
    Faces,
    Gallery,
    Thresholds,
    edges,
    heirs,
    regroup,
)

D = 32


def people(count: int, seed: int = 0) -> np.ndarray:
    """Directions that have little to do with each other: float32[count, D]."""
    made = np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0][:count]
    return made.astype(np.float32)


def face(person: np.ndarray, likeness: float, seed: int) -> np.ndarray:
    """A unit vector whose cosine with `person` is `likeness`."""
    noise = np.random.default_rng(seed).normal(size=D)
    noise -= noise @ person * person
    made = likeness * person + np.sqrt(1 - likeness**2) * noise / np.linalg.norm(noise)
    return made.astype(np.float32)


def faces(*vectors: np.ndarray, photos: list[int] | None = None, quality: float | list[float] = 0.8) -> Faces:
    count = len(vectors)
    return Faces(
        np.array(photos or range(1, count + 1), np.int64),
        np.arange(count, dtype=np.int64),
        np.stack(vectors),
        np.broadcast_to(np.float32(quality), (count,)).astype(np.float32),
    )


def shifted(some: Faces, photo: int) -> Faces:
    return some._replace(photo_ids=some.photo_ids + photo)


def placed(gallery: Gallery, some: Faces, said: Constraints | None = None) -> dict[tuple[int, int], int]:
    return {found.face: found.cluster_id for found in gallery.add(some, said or Constraints())}


ANNA, BEN, CARL = people(3)


# ── as faces come ─────────────────────────────────────────────────────────────────────────────


def test_one_face_waits_and_three_that_agree_make_a_cluster() -> None:
    gallery = Gallery(D, thresholds=Thresholds(pair=0.95))
    assert placed(gallery, faces(face(ANNA, 0.85, 1))) == {}
    assert placed(gallery, shifted(faces(face(ANNA, 0.85, 2)), 10)) == {}
    found = placed(gallery, shifted(faces(face(ANNA, 0.85, 3)), 20))
    assert found == {(1, 0): 1, (11, 0): 1, (21, 0): 1}
    assert gallery.clusters[1].members == 3
    assert len(gallery.waiting.quality) == 0


def test_two_that_are_very_alike_make_a_cluster() -> None:
    gallery = Gallery(D)
    both = faces(face(ANNA, 0.95, 1), face(ANNA, 0.95, 2))
    assert set(placed(gallery, both).values()) == {1}


def test_two_alike_must_be_more_alike_among_many_that_wait() -> None:
    limits = Thresholds()
    assert limits.pair_at(10) < limits.pair_at(10_000)
    assert limits.pair_at(0) == limits.pair


def test_people_are_kept_apart_and_a_stranger_comes_to_nobody() -> None:
    gallery = Gallery(D)
    some = faces(*(face(person, 0.85, seed) for seed in range(5) for person in (ANNA, BEN)))
    found = placed(gallery, some)
    clusters = [found[some.key(row)] for row in range(10)]
    assert clusters[0::2] == [clusters[0]] * 5
    assert clusters[1::2] == [clusters[1]] * 5
    assert clusters[0] != clusters[1]
    assert placed(gallery, shifted(faces(face(CARL, 0.9, 7)), 50)) == {}


def test_a_face_keeps_its_cluster_whatever_comes_after() -> None:
    gallery = Gallery(D)
    kept: dict[tuple[int, int], int] = {}
    for batch in range(8):
        some = faces(*(face(person, 0.8, 100 * batch + n) for n in range(4) for person in (ANNA, BEN, CARL)))
        found = placed(gallery, shifted(some, 100 * batch))
        assert not kept.keys() & found.keys()
        kept |= found
    assert len(set(kept.values())) == 3


def test_a_poor_face_joins_but_founds_and_describes_nothing() -> None:
    gallery = Gallery(D)
    assert placed(gallery, faces(*(face(ANNA, 0.9, seed) for seed in range(3)), quality=0.1)) == {}
    found = placed(gallery, shifted(faces(*(face(ANNA, 0.9, seed) for seed in (4, 5, 6))), 10))
    assert len(found) == 6, "the poor ones waited for a cluster to join"
    assert (gallery.clusters[1].members, gallery.clusters[1].summed) == (6, 3)


def test_a_face_that_is_nearly_no_face_is_left_alone() -> None:
    gallery = Gallery(D)
    placed(gallery, faces(*(face(ANNA, 0.9, seed) for seed in range(3))))
    assert placed(gallery, shifted(faces(face(BEN, 0.9, 4), quality=0.01), 10)) == {}
    assert len(gallery.waiting.quality) == 0


def test_one_photo_shows_one_person_once_unless_it_shows_the_same_picture_twice() -> None:
    gallery = Gallery(D)
    placed(gallery, faces(*(face(ANNA, 0.9, seed) for seed in range(4))))
    twins = faces(face(ANNA, 0.85, 7), face(ANNA, 0.7, 8), photos=[50, 50])
    assert placed(gallery, twins) == {(50, 0): 1}
    mirror = faces(face(ANNA, 0.85, 9), face(ANNA, 0.85, 9), photos=[60, 60])
    assert placed(gallery, mirror) == {(60, 0): 1, (60, 1): 1}
    gallery.forget_waiting({(50, 1)})
    late = faces(face(ANNA, 0.85, 10), photos=[70])
    assert gallery.add(late, Constraints(), lambda photo: {1} if photo == 70 else set()) == []


def test_waiting_faces_come_in_when_their_cluster_knows_more() -> None:
    gallery = Gallery(D)
    placed(gallery, faces(*(face(ANNA, 0.9, seed) for seed in range(3)), quality=0.5))
    assert placed(gallery, shifted(faces(face(ANNA, 0.5, 50), quality=0.1), 10)) == {}
    later: dict[tuple[int, int], int] = {}
    direction = gallery.waiting.vectors[0]
    for batch in range(4):
        some = [face((ANNA + 0.4 * direction) / np.linalg.norm(ANNA + 0.4 * direction), 0.95, 9 + batch)]
        later |= placed(gallery, shifted(faces(*some), 100 + batch * 10))
    assert (11, 0) in later


def test_a_cluster_without_faces_is_gone_and_its_number_is_not_used_again() -> None:
    gallery = Gallery(D)
    some = faces(*(face(ANNA, 0.9, seed) for seed in range(3)))
    placed(gallery, some)
    for row in range(3):
        gallery.leave(1, some.vectors[row], True)
    assert gallery.clusters == {}
    assert sorted(gallery.take_touched()) == [1]
    assert set(placed(gallery, shifted(some, 10)).values()) == {2}


# ── what people said ──────────────────────────────────────────────────────────────────────────


def test_a_face_never_comes_to_whom_it_was_said_not_to_be() -> None:
    gallery = Gallery(D)
    placed(gallery, faces(*(face(ANNA, 0.9, seed) for seed in range(3))))
    some = shifted(faces(face(ANNA, 0.9, 5)), 10)
    said = Constraints({1: 7}, cannot=frozenset({(some.key(0), 7)}))
    assert placed(gallery, some, said) == {}
    assert placed(gallery, shifted(some, 10), said) == {(21, 0): 1}


def test_a_face_between_two_named_persons_waits() -> None:
    between = (ANNA + BEN) / np.sqrt(2)
    for owner, expected in (({1: 7, 2: 8}, 0), ({1: 7, 2: 7}, 1), ({}, 1)):
        gallery = Gallery(D)
        for person in (ANNA, BEN):
            placed(gallery, faces(*(face(person, 0.97, seed) for seed in range(3))))
        assert len(placed(gallery, shifted(faces(between), 10), Constraints(owner))) == expected


def test_merged_and_forgotten_persons_are_looked_up() -> None:
    said = Constraints({1: 7, 2: 8}, {(1, 0): 8}, merged={8: 7, 9: 0})
    assert (said.owner_of(2), said.owner_of(3, made_for=9), said.pinned((1, 0))) == (7, 0, 7)
    assert said.forbids((1, 0), 5)
    assert not said.forbids((1, 0), 7)


# ── all anew ──────────────────────────────────────────────────────────────────────────────────


def groups(some: Faces, said: Constraints | None = None, persons: list[int] | None = None) -> list[int]:
    limits = Thresholds()
    every = np.arange(len(some.quality))
    pairs, cosines = edges(some.vectors, every, every, limits.edge)
    named = None if persons is None else np.array(persons, np.int64)
    return regroup(some, pairs, cosines, said or Constraints(), limits, named).tolist()


def test_regrouping_finds_each_person() -> None:
    some = faces(*(face(person, 0.85, seed) for seed in range(6) for person in (ANNA, BEN, CARL)))
    assert groups(some) == [0, 1, 2] * 6


def test_regrouping_never_joins_two_persons() -> None:
    some = faces(*(face(ANNA, 0.95, seed) for seed in range(6)))
    assert groups(some) == [0] * 6
    found = groups(some, persons=[7, 0, 0, 8, 0, 0])
    assert found[0] != found[3]


def test_regrouping_keeps_a_face_from_whom_it_is_not() -> None:
    some = faces(*(face(ANNA, 0.95, seed) for seed in range(4)))
    said = Constraints(cannot=frozenset({(some.key(2), 7)}))
    found = groups(some, said, [7, 0, 0, 0])
    assert found[2] != found[0]
    assert groups(some, said) == [0] * 4


def test_regrouping_shows_nobody_twice_in_one_photo() -> None:
    some = faces(face(ANNA, 0.8, 1), face(ANNA, 0.8, 2), face(ANNA, 0.8, 3), photos=[1, 1, 2])
    found = groups(some)
    assert found[0] != found[1]


def test_edges_are_all_pairs_that_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = faces(*(face(person, 0.8, seed) for seed in range(9) for person in (ANNA, BEN))).vectors
    every = np.arange(len(vectors))
    pairs, cosines = edges(vectors, every, every, 0.5)
    matrix = np.triu(vectors @ vectors.T, 1)
    assert {tuple(pair) for pair in pairs.T.tolist()} == {
        (one, other) for one, other in zip(*np.nonzero(matrix >= 0.5), strict=True)
    }
    assert np.allclose(cosines, matrix[pairs[0], pairs[1]])
    monkeypatch.setattr("catalogd.catalog.clustering.MOST_EDGES", 2)
    few, _ = edges(vectors, every, every, 0.5)
    assert len(few[0]) < len(pairs[0])
    assert np.bincount(few.ravel(), minlength=len(vectors)).min() >= 2, "of each face its strongest"


def test_groups_go_on_with_the_cluster_they_share_most_faces_with() -> None:
    group = np.array([0, 0, 0, 3, 3, 3, 6])
    old = np.array([5, 5, 9, 9, 9, 0, 9])
    assert heirs(group, old, {}, {}) == {0: 5, 3: 9}
    assert heirs(group, old, {0: 1}, {9: 1}) == {0: 9}
    assert heirs(group, old, {}, {5: 1, 9: 1}) == {}
