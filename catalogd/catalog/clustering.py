"""Which faces are one person's: clusters that grow as faces come, and a clustering of all anew.

Pure arithmetic on embeddings (unit length): no catalog, no disk. A cluster is the direction in which the
sum of its faces points; docs/faces.md tells the method, its thresholds and what they were measured on.

    add       face ──▶ the likeliest cluster, if likely enough
                 └──▶ waits; waiting faces that agree become a cluster
    regroup   all faces ──▶ groups, by average linkage along the edges between similar faces
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Indices = npt.NDArray[np.intp]
FaceKey = tuple[int, int]  # photo_id, index of the face in the photo

WAITING_KEPT = 60_000  # faces that wait in memory, the newest: 15 MB; a re-clustering sees all
MOST_EDGES = 64  # of one face to others, the strongest: bounds the edges of a child with 20,000 photos
_BLOCK = 1024  # faces whose cosines with all others are in memory at a time
_SHARED_ONE_IN = 20  # groups are joined though they share photos, if in one photo of so many


class Thresholds(NamedTuple):
    """Cosines that count, of one face model. Those of SFace: bench/bench_faces.py, docs/faces.md."""

    joins: float = 0.54  # a good face and the direction of a cluster: it belongs there
    poor_joins: float = 0.60  # the same for a face of poor quality
    links: float = 0.54  # two groups, as `regroup` compares them
    edge: float = 0.50  # two faces that may be one person's
    pair: float = 0.46  # two faces that make a cluster without a third,
    pair_rise: float = 0.04  # more for every tenfold of faces that wait: one of many is soon alike by chance
    suggests: float = 0.42  # two clusters that a person should look at, the mean of all pairs
    margin: float = 0.06  # between the best clusters of two named persons; nearer, a face waits
    same_picture: float = 0.90  # two faces in one photo that are one face: a mirror, a collage
    good: float = 0.20  # Face.quality from which a face founds and describes clusters
    fair: float = 0.02  # below, a face is left alone

    def pair_at(self, waiting: int) -> float:
        """The cosine from which two of so many good faces make a cluster."""
        return self.pair + self.pair_rise * math.log10(max(waiting, 1))


@dataclasses.dataclass(frozen=True)
class Constraints:
    """What people said of faces. No clustering ever goes against it.

    Two clusters of different persons are never joined, a pinned face never leaves its person, and a
    face never comes to a person whom it was said not to be. All clusters of a person are one target.
    """

    owner: Mapping[int, int] = dataclasses.field(default_factory=dict)  # cluster_id → person_id
    pins: Mapping[FaceKey, int] = dataclasses.field(default_factory=dict)  # face → the person it is
    cannot: frozenset[tuple[FaceKey, int]] = frozenset()  # (face, a person it is not)
    merged: Mapping[int, int] = dataclasses.field(default_factory=dict)  # person → who it is now; 0: nobody
    version: int = 0  # another one: something of it changed

    def person(self, person_id: int) -> int:
        """Who `person_id` is now, after merges; 0 for nobody."""
        return self.merged.get(person_id, person_id)

    def owner_of(self, cluster_id: int, made_for: int = 0) -> int:
        """The person whose cluster this is, 0 for nobody. `made_for`: whose pinned faces made it."""
        return self.person(self.owner.get(cluster_id, made_for))

    def pinned(self, face: FaceKey) -> int:
        """The person that the face is pinned to; 0: none."""
        return self.person(self.pins.get(face, 0))

    def forbids(self, face: FaceKey, person_id: int) -> bool:
        """Whether somebody said that this face is not of this person, or is another one."""
        return (person_id != 0 and (face, person_id) in self.cannot) or (
            face in self.pins and self.pinned(face) != person_id
        )


class Faces(NamedTuple):
    """Faces side by side, rows of one length."""

    photo_ids: Ids  # int64[n]
    indices: Ids  # int64[n]
    vectors: Floats  # float32[n, D], unit length
    quality: Floats  # float32[n]

    def key(self, row: int) -> FaceKey:
        return int(self.photo_ids[row]), int(self.indices[row])

    def some(self, rows: npt.NDArray[np.generic] | slice) -> Faces:
        return Faces(self.photo_ids[rows], self.indices[rows], self.vectors[rows], self.quality[rows])

    @classmethod
    def none(cls, dimension: int) -> Faces:
        empty = np.empty(0, np.int64)
        return cls(empty, empty, np.empty((0, dimension), np.float32), np.empty(0, np.float32))

    @classmethod
    def joined(cls, parts: Sequence[Faces]) -> Faces:
        return cls(
            np.concatenate([part.photo_ids for part in parts]),
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.vectors for part in parts]),
            np.concatenate([part.quality for part in parts]),
        )


ClustersIn = Callable[[int], set[int]]  # photo_id → the clusters that its faces are in already


class Cluster:
    """One cluster as it grows."""

    __slots__ = ("cluster_id", "made_for", "members", "summed", "total")

    def __init__(self, cluster_id: int, dimension: int, made_for: int = 0) -> None:
        self.cluster_id = cluster_id
        self.made_for = made_for  # the person whose pinned faces made it; 0: none
        self.members = 0  # faces
        self.summed = 0  # of them those that describe it, in `total`
        self.total = np.zeros(dimension, np.float32)

    @property
    def mean(self) -> Floats:
        """float32[D]: the product of two of them is the mean cosine between their faces."""
        mean: Floats = self.total / np.float32(max(self.summed, 1))
        return mean

    @property
    def direction(self) -> Floats:
        """float32[D], unit length; zeros while no good face describes it."""
        direction: Floats = self.total / np.float32(max(float(np.linalg.norm(self.total)), 1e-6))
        return direction if self.summed else np.zeros_like(direction)

    def add(self, vector: Floats, describes: bool) -> None:
        self.members += 1
        if describes:
            self.summed += 1
            self.total += vector

    def remove(self, vector: Floats, described: bool) -> None:
        self.members -= 1
        if described:
            self.summed -= 1
            self.total -= vector


class Assigned(NamedTuple):
    """A face that came into a cluster."""

    face: FaceKey
    cluster_id: int
    describes: bool  # it counts in the cluster's mean


class Gallery:
    """The clusters of one face model in memory, and the faces that wait for one.

    What it answers is to be stored; `touched` are the clusters that changed since they were last taken.
    """

    def __init__(self, dimension: int, next_id: int = 1, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self.dimension = dimension
        self.next_id = next_id
        self.clusters: dict[int, Cluster] = {}
        self.waiting = Faces.none(dimension)
        self._rows: dict[int, int] = {}  # cluster_id → row of the next two
        self._directions = np.zeros((64, dimension), np.float32)
        self._ids = np.zeros(64, np.int64)
        self._touched: set[int] = set()

    # -- clusters --------------------------------------------------------------------------------

    def put(self, cluster: Cluster) -> None:
        """Take up a cluster as it was stored."""
        self.clusters[cluster.cluster_id] = cluster
        self._place(cluster)

    def make(self, made_for: int = 0) -> Cluster:
        """A new cluster without faces."""
        cluster = Cluster(self.next_id, self.dimension, made_for)
        self.next_id += 1
        self.put(cluster)
        return cluster

    def take_touched(self) -> list[int]:
        """The clusters that changed since this was last asked, gone ones too."""
        touched = sorted(self._touched)
        self._touched.clear()
        return touched

    def touch(self, cluster_ids: Iterable[int]) -> None:
        """Have these stored again."""
        self._touched.update(cluster_ids)

    def enter(self, cluster_id: int, vector: Floats, describes: bool) -> None:
        """Put a face into a cluster, whatever it looks like."""
        cluster = self.clusters[cluster_id]
        cluster.add(vector, describes)
        self._place(cluster)
        self._touched.add(cluster_id)

    def leave(self, cluster_id: int, vector: Floats, described: bool) -> None:
        """Take a face out of its cluster; one without faces is gone."""
        cluster = self.clusters[cluster_id]
        cluster.remove(vector, described)
        self._touched.add(cluster_id)
        if cluster.members == 0:
            del self.clusters[cluster_id]
        self._place(cluster)

    def clear_directions(self) -> None:
        """Forget all clusters; for vectors of another length."""
        self.clusters.clear()
        self._rows.clear()
        self._directions = np.zeros((64, self.dimension), np.float32)
        self._ids = np.zeros(64, np.int64)

    def _place(self, cluster: Cluster) -> None:
        row = self._rows.setdefault(cluster.cluster_id, len(self._rows))
        if row == len(self._directions):
            self._directions = np.concatenate([self._directions, np.zeros_like(self._directions)])
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        self._ids[row] = cluster.cluster_id
        self._directions[row] = cluster.direction

    # -- faces that come -------------------------------------------------------------------------

    def add(
        self, faces: Faces, constraints: Constraints, clusters_in: ClustersIn = lambda _: set()
    ) -> list[Assigned]:
        """Put new faces into clusters, and waiting ones that belong to a cluster now.

        All faces of a photo come together, or `clusters_in` tells where the others are. Those that are
        in no cluster after this wait, and may be in the answer to a later call.
        """
        placing = _Placing(self, constraints, clusters_in)
        rest = placing.by_likeness(faces)
        rest = rest.some(rest.quality >= self.thresholds.fair)
        founded = placing.found(rest)
        placing.let_in({*founded, *placing.grown})
        return placing.assigned

    def candidates(
        self, faces: Faces, rows: Indices | None = None
    ) -> Iterator[tuple[Indices, Indices, Floats]]:
        """Pairs of faces and clusters (rows of `_directions`) that are alike enough, by blocks."""
        directions = self._directions[: len(self._rows)] if rows is None else self._directions[rows]
        least = np.where(
            faces.quality >= self.thresholds.good, self.thresholds.joins, self.thresholds.poor_joins
        ).astype(np.float32)
        for start in range(0, len(faces.vectors), _BLOCK):
            cosines = faces.vectors[start : start + _BLOCK] @ directions.T
            face, column = np.nonzero(cosines >= least[start : start + _BLOCK, None])
            yield face + start, column if rows is None else rows[column], cosines[face, column]

    def rows_of(self, cluster_ids: Iterable[int]) -> Indices:
        return np.array([self._rows[number] for number in cluster_ids if number in self.clusters], np.intp)

    def ids_of(self, rows: Indices) -> Ids:
        return self._ids[rows]

    def forget_waiting(self, gone: set[FaceKey]) -> None:
        """These faces wait no longer."""
        if not gone:
            return
        photos = np.array(sorted({photo_id for photo_id, _ in gone}), np.int64)
        maybe = np.flatnonzero(np.isin(self.waiting.photo_ids, photos)).tolist()
        leaving = [row for row in maybe if self.waiting.key(row) in gone]
        if leaving:
            kept = np.ones(len(self.waiting.quality), bool)
            kept[leaving] = False
            self.waiting = self.waiting.some(kept)


class _Placing:
    """One call of `Gallery.add`: who comes where, under all constraints."""

    def __init__(self, gallery: Gallery, constraints: Constraints, clusters_in: ClustersIn) -> None:
        self._gallery = gallery
        self._limits = gallery.thresholds
        self._constraints = constraints
        self._clusters_in = clusters_in
        self._in_photo: dict[int, dict[int, Floats | None]] = {}  # photo → its clusters, with a face
        self.assigned: list[Assigned] = []
        self.grown: set[int] = set()  # clusters that doubled: a waiting face may be likely enough now

    def by_likeness(self, faces: Faces) -> Faces:
        """Put the faces that are alike a cluster into it, the likest first; returns the others."""
        parts = list(self._gallery.candidates(faces))
        return faces.some(~self._settle(faces, parts)) if parts else faces

    def let_in(self, cluster_ids: set[int]) -> None:
        """Let these clusters take waiting faces that are alike them."""
        rows = self._gallery.rows_of(sorted(cluster_ids))
        waiting = self._gallery.waiting
        if len(rows) and len(waiting.quality):
            settled = self._settle(waiting, list(self._gallery.candidates(waiting, rows)))
            self._gallery.waiting = waiting.some(~settled)

    def _settle(self, faces: Faces, parts: list[tuple[Indices, Indices, Floats]]) -> npt.NDArray[np.bool_]:
        """Which faces came into a cluster: bool[n]."""
        face, row, cosine = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        settled = np.zeros(len(faces.quality), bool)
        ids = self._gallery.ids_of(row)
        waits = self._between_persons(face, ids, cosine)
        for pair in np.argsort(-cosine, kind="stable").tolist():
            index, cluster_id = int(face[pair]), int(ids[pair])
            if not settled[index] and index not in waits and self._may(faces, index, cluster_id):
                self._enter(faces, index, cluster_id)
                settled[index] = True
        return settled

    def _between_persons(self, face: Indices, ids: Ids, cosine: Floats) -> set[int]:
        """The faces whose best clusters are of two named persons and nearly as likely."""
        if not self._constraints.owner:
            return set()
        best: dict[int, tuple[float, int]] = {}
        waits: set[int] = set()
        for pair in np.argsort(-cosine, kind="stable").tolist():
            index, owner = int(face[pair]), self._owner(int(ids[pair]))
            if owner:
                score, first = best.setdefault(index, (float(cosine[pair]), owner))
                if first != owner and score - cosine[pair] < self._limits.margin:
                    waits.add(index)
        return waits

    def _owner(self, cluster_id: int) -> int:
        return self._constraints.owner_of(cluster_id, self._gallery.clusters[cluster_id].made_for)

    def _may(self, faces: Faces, row: int, cluster_id: int) -> bool:
        """Whether nothing that people said, and no other face of the photo, speaks against it."""
        key = faces.key(row)
        if self._constraints.forbids(key, self._owner(cluster_id)):
            return False
        others = self._others(key[0])
        if cluster_id not in others:
            return True
        other = others[cluster_id]
        return other is not None and float(other @ faces.vectors[row]) >= self._limits.same_picture

    def _others(self, photo_id: int) -> dict[int, Floats | None]:
        if photo_id not in self._in_photo:
            self._in_photo[photo_id] = dict.fromkeys(self._clusters_in(photo_id))
        return self._in_photo[photo_id]

    def _enter(self, faces: Faces, row: int, cluster_id: int) -> None:
        key, vector = faces.key(row), faces.vectors[row]
        describes = bool(faces.quality[row] >= self._limits.good)
        self._gallery.enter(cluster_id, vector, describes)
        self._others(key[0])[cluster_id] = vector
        self.assigned.append(Assigned(key, cluster_id, describes))
        members = self._gallery.clusters[cluster_id].members
        if members & (members - 1) == 0:
            self.grown.add(cluster_id)

    # -- new clusters ----------------------------------------------------------------------------

    def found(self, faces: Faces) -> list[int]:
        """Let faces wait; returns the clusters that they made with others that wait."""
        if not len(faces.quality):
            return []
        old = self._gallery.waiting
        every = Faces.joined([old, faces])
        good = np.flatnonzero(every.quality >= self._limits.good)
        new = good[good >= len(old.quality)]
        pairs, cosines = edges(every.vectors, new, good, self._limits.edge)
        group = self._grouped(every, pairs, cosines)
        made = []
        pair = self._limits.pair_at(len(good))
        left = np.ones(len(every.quality), bool)
        for members in _groups(group):
            # Three that agree make a cluster, and two if they are very alike.
            if len(members) > 2 or float(np.prod(every.vectors[members], axis=0).sum()) >= pair:
                cluster = self._gallery.make()
                made.append(cluster.cluster_id)
                left[members] = False
                for member in members.tolist():
                    self._enter(every, member, cluster.cluster_id)
        self._gallery.waiting = every.some(np.flatnonzero(left)[-WAITING_KEPT:])
        return made

    def _grouped(self, faces: Faces, pairs: Indices, cosines: Floats) -> Indices:
        """Group the faces that edges touch: intp[n], a group's smallest row; itself where there is none."""
        group = np.arange(len(faces.quality))
        some = np.unique(pairs)
        if len(some):
            part = faces.some(some)
            joined = regroup(part, np.searchsorted(some, pairs), cosines, self._constraints, self._limits)
            group[some] = some[joined]
        return group


def edges(vectors: Floats, rows: Indices, columns: Indices, least: float) -> tuple[Indices, Floats]:
    """Pairs of a row and a column of `vectors` alike by `least`: intp[2, m], smaller first, and float32[m].

    Of each row the strongest `MOST_EDGES`; no pair twice when `columns` holds `rows`.
    """
    found: list[Indices] = [np.empty((2, 0), np.intp)]
    weights: list[Floats] = [np.empty(0, np.float32)]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        cosines = vectors[block] @ vectors[columns].T
        cosines[block[:, None] == columns[None, :]] = -1.0
        one, other = _strongest(cosines, least)
        found.append(np.stack([block[one], columns[other]]))
        weights.append(cosines[one, other])
    pairs, weight = np.sort(np.hstack(found), axis=0), np.concatenate(weights)
    _, first = np.unique(pairs[0] * np.int64(len(vectors)) + pairs[1], return_index=True)
    return pairs[:, first], weight[first]


def _strongest(cosines: Floats, least: float) -> tuple[Indices, Indices]:
    """Where `cosines` reach `least`: rows and columns, of each row `MOST_EDGES` at most."""
    row, column = np.nonzero(cosines >= least)
    counts = np.bincount(row, minlength=len(cosines))
    if counts.max(initial=0) <= MOST_EDGES:
        return row, column
    order = np.lexsort((-cosines[row, column], row))
    starts = np.cumsum(counts) - counts
    kept = order[np.arange(len(order)) - starts[row[order]] < MOST_EDGES]
    return row[kept], column[kept]


def _groups(group: Indices) -> Iterator[Indices]:
    """The rows of each group of at least two."""
    order = np.argsort(group, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(part) > 1:
            yield part


# -- all anew --------------------------------------------------------------------------------------


def regroup(
    faces: Faces,
    pairs: Indices,
    cosines: Floats,
    constraints: Constraints,
    limits: Thresholds,
    persons: Ids | None = None,
) -> Indices:
    """Groups of faces, joined along `pairs: intp[2, m]`: intp[n], the smallest row of each face's group.

    Strongest pairs first, two groups become one if the mean cosine between their faces is large enough
    (average linkage), no two persons come together, and no photo shows one person twice. Enough is
    `limits.links` times the shorter of the lengths of their means: by chance, the mean cosine with many
    different pictures of a person is as much smaller.
    `persons: int64[n]` says whose a face certainly is; 0: nobody's.
    """
    joining = _Joining(faces, constraints, limits, persons)
    order = np.argsort(-cosines, kind="stable")
    for one, other, cosine in zip(
        pairs[0][order].tolist(), pairs[1][order].tolist(), cosines[order].tolist(), strict=True
    ):
        joining.join(one, other, cosine)
    return joining.labels()


class _Joining:
    """Groups as they grow together."""

    def __init__(
        self, faces: Faces, constraints: Constraints, limits: Thresholds, persons: Ids | None
    ) -> None:
        self._limits = limits
        self._parent = list(range(len(faces.quality)))
        self._count = [1] * len(self._parent)
        self._total = faces.vectors.copy()
        self._length = [1.0] * len(self._parent)  # of the mean of a group
        self._photos: dict[int, set[int]] = {}
        self._photo_ids = faces.photo_ids.tolist()
        self._person = [0] * len(self._parent) if persons is None else persons.tolist()
        self._refused: dict[int, set[int]] = {}  # group → persons that some face of it is not
        if constraints.cannot:
            not_of: dict[FaceKey, set[int]] = {}
            for face, person in constraints.cannot:
                not_of.setdefault(face, set()).add(person)
            keys = zip(self._photo_ids, faces.indices.tolist(), strict=True)
            self._refused = {row: not_of[key] for row, key in enumerate(keys) if key in not_of}

    def join(self, one: int, other: int, cosine: float) -> None:
        a, b = self._root(one), self._root(other)
        if a == b:
            return
        if b < a:
            a, b = b, a
        if self._is_one_person(a, b, cosine):
            self._merge(a, b)

    def labels(self) -> Indices:
        return np.array([self._root(row) for row in range(len(self._parent))], np.intp)

    def _root(self, row: int) -> int:
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def _is_one_person(self, a: int, b: int, cosine: float) -> bool:
        pairs = self._count[a] * self._count[b]
        likeness = float(self._total[a] @ self._total[b]) / pairs if pairs > 1 else cosine
        least = self._limits.links * min(self._length[a], self._length[b])
        return likeness >= least and self._may(a, b) and self._apart(a, b, likeness)

    def _may(self, a: int, b: int) -> bool:
        person, other = self._person[a], self._person[b]
        if person and other and person != other:
            return False
        nobody: set[int] = set()
        return (other or 0) not in self._refused.get(a, nobody) and (person or 0) not in self._refused.get(
            b, nobody
        )

    def _apart(self, a: int, b: int, likeness: float) -> bool:
        """Whether (nearly) no photo shows faces of both: few may, of large groups, by an error in one."""
        if likeness >= self._limits.same_picture:
            return True
        small, large = sorted((self._set(a), self._set(b)), key=len)
        shared = sum(photo in large for photo in small)
        return shared <= len(small) // _SHARED_ONE_IN

    def _set(self, root: int) -> set[int]:
        return self._photos.get(root) or {self._photo_ids[root]}

    def _merge(self, a: int, b: int) -> None:
        small, large = sorted((self._set(a), self._set(b)), key=len)
        large |= small
        self._photos.pop(b, None)
        self._photos[a] = large
        self._parent[b] = a
        self._count[a] += self._count[b]
        self._total[a] += self._total[b]
        self._length[a] = float(np.sqrt(self._total[a] @ self._total[a])) / self._count[a]
        self._person[a] = self._person[a] or self._person[b]
        if b in self._refused:
            self._refused[a] = self._refused.get(a, set()) | self._refused.pop(b)


def heirs(
    group: Indices, old: Ids, group_person: Mapping[int, int], old_person: Mapping[int, int]
) -> dict[int, int]:
    """Which group goes on with which former cluster: group → cluster_id, by the faces they share.

    `old: int64[n]` is the former cluster of each face, 0 for none. The largest overlap chooses first;
    a person's cluster goes on in a group of that person only, and nobody's in nobody's.
    """
    both = np.stack([group, old])[:, old != 0]
    pairs, counts = np.unique(both, axis=1, return_counts=True)
    found: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.argsort(-counts, kind="stable").tolist():
        label, cluster_id = int(pairs[0, place]), int(pairs[1, place])
        same = group_person.get(label, 0) == old_person.get(cluster_id, 0)
        if same and label not in found and cluster_id not in taken:
            found[label] = cluster_id
            taken.add(cluster_id)
    return found
