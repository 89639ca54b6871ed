"""The faces of a catalog and the clusters they are in, derived from the records.

Only the writer process keeps them up (FaceFollower); any process reads them (FaceIndex). All of it lies
in the store:

    faces         photo_id + index   → FACE: box, quality, cluster
    face_vectors  photo_id + index   → float16[D]
    clusters      cluster_id         → CLUSTER and float32[D], the sum of the faces that describe it
    face_log      version            → photo_ids int64[n] whose faces changed: the last few versions

    photos ──▶ faces ──add──▶ clusters          page by page: rows, clusters and mark in one transaction
    people ──Constraints──▶ faces, clusters     whenever their version changed

A cluster is what was found, not what follows from the records: it is kept, and an index once given to a
face stays its own. Faces that a newer model or a newer version of the file shows again are known by
their boxes. `docs/faces.md` tells how a face comes into a cluster.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from catalogd.catalog.clustering import Constraints, FaceKey, Floats, Thresholds
from catalogd.catalog.environment import Ids, id_bytes
from catalogd.catalog.face_rows import (
    CLUSTER,
    DIMENSION,
    FACE,
    GONE,
    HIDDEN,
    SAME_FACE_IOU,
    SPACE,
    TABLES,
    VERSION,
    Rows,
    face_key,
    overlap,
    parsed,
    read_clusters,
    read_faces,
    read_vectors,
)
from catalogd.catalog.store import Reading, Store
from catalogd.records import Box

MOST_COMPARED = 5000  # clusters, the largest, among which merges are looked for: 25 million pairs, 0.5 s
SUGGESTED_FACES = 3  # a cluster with fewer is not worth a question
_SHARED_ONE_IN = 20  # clusters of one person are not together in more than one photo of so many


class FaceRow(NamedTuple):
    """One face that a photo shows. (photo_id, index) stays its name, also when another model finds it."""

    photo_id: int
    # A number of its own in the photo, not necessarily the face's place in the record.
    index: int  # type: ignore[assignment]  # (a tuple has a method of this name)
    box: Box
    quality: float
    cluster_id: int  # 0: in none yet
    person_id: int  # pinned, or else the owner of the cluster unless it was said not to be; 0: nobody


class Clusters(NamedTuple):
    """All clusters with at least one face that can be seen, largest first."""

    ids: Ids  # int64[n]
    counts: Ids  # int64[n]: faces
    covers: Ids  # int64[n]: photo_id of the best face
    cover_indices: Ids  # int64[n]: and its index
    persons: Ids  # int64[n]: the owner; 0: nobody


class MergeSuggestion(NamedTuple):
    """Two clusters that are probably one person's."""

    cluster_id: int
    other_id: int
    score: float  # mean cosine between their faces


@dataclasses.dataclass(frozen=True)
class ShownFaces:
    """The rows of one version in memory, by photo and index; faces that can't be seen are left out."""

    version: int
    photo_ids: Ids
    indices: Ids
    rows: Rows
    made_for: dict[int, int]  # cluster → the person whose pinned faces made it, where there is one


@dataclasses.dataclass(frozen=True)
class _Owned:
    """Whose each face is, by one version of what people said, and the faces of each cluster."""

    held: ShownFaces
    said: Constraints
    persons: Ids  # int64[n], of each row
    by_cluster: Ids  # rows sorted by cluster, the best face of each first
    cluster_ids: Ids  # int64[c], ascending, without 0
    starts: Ids  # int64[c + 1]: where each begins in `by_cluster`


_EMPTY = ShownFaces(0, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, FACE), {})


class FaceIndex:
    """The faces and clusters as anyone reads them; safe from any thread. Empty where none were made yet.

    Held in memory (about 80 bytes a face) and brought up to date by each call. Faces of missing photos
    are left out.
    """

    def __init__(self, store: Store, constraints: Callable[[], Constraints] = Constraints) -> None:
        self._store = store
        self._constraints = constraints
        self._lock = threading.Lock()
        self._held = _EMPTY
        self._current: _Owned | None = None
        self._means: tuple[int, Ids, Floats] | None = None  # version, cluster ids, float32[c, D]

    @property
    def version(self) -> int:
        """Another one whenever a face or a cluster changed; what people said has its own."""
        with self._store.snapshot() as reading:
            return reading.number(VERSION)

    def cluster_of(self, photo_id: int, index: int) -> int:
        """The cluster of a face; 0: none."""
        return next((row.cluster_id for row in self.faces_in(photo_id) if row.index == index), 0)

    def faces_in(self, photo_id: int) -> list[FaceRow]:
        """The faces of one photo, by index."""
        owned = self._fresh()
        held = owned.held
        first, last = np.searchsorted(held.photo_ids, [photo_id, photo_id + 1]).tolist()
        return [_face_row(owned, row) for row in range(first, last)]

    def find(self, photo_id: int, box: Box) -> FaceRow | None:
        """The face of the photo whose box overlaps `box` most (IoU at least 0.5)."""
        faces = self.faces_in(photo_id)
        if not faces:
            return None
        overlaps = overlap(box, np.array([face.box for face in faces]))
        best = int(overlaps.argmax())
        return faces[best] if overlaps[best] >= SAME_FACE_IOU else None

    def faces_of(self, cluster_id: int) -> tuple[Ids, Ids]:
        """The faces in a cluster, the best first: photo_ids int64[n], indices int64[n]."""
        owned = self._fresh()
        return _names(owned.held, _rows_in(owned, cluster_id))

    def faces_of_person(self, person_id: int) -> tuple[Ids, Ids]:
        """The faces of a person (see FaceRow.person_id), the best first: photo_ids, indices int64[n]."""
        owned = self._fresh()
        rows = np.flatnonzero(owned.persons == person_id) if person_id else np.empty(0, np.int64)
        return _names(owned.held, rows[np.argsort(-owned.held.rows["quality"][rows], kind="stable")])

    def photos_of_person(self, person_id: int) -> Ids:
        """The photos that show a person, sorted: int64[n]."""
        return np.unique(self.faces_of_person(person_id)[0])

    def photos_of_clusters(self, cluster_ids: Sequence[int] | Ids) -> Ids:
        """The photos that show a face of any of these clusters, sorted: int64[n]."""
        owned = self._fresh()
        rows = [_rows_in(owned, int(number)) for number in cluster_ids]
        return np.unique(owned.held.photo_ids[np.concatenate([np.empty(0, np.int64), *rows])])

    def clusters(self) -> Clusters:
        """All clusters, largest first."""
        owned = self._fresh()
        held, covers = owned.held, owned.by_cluster[owned.starts[:-1]]
        counts = np.diff(owned.starts)
        order = np.lexsort((owned.cluster_ids, -counts))
        ids = owned.cluster_ids[order]
        persons = [owned.said.owner_of(number, held.made_for.get(number, 0)) for number in ids.tolist()]
        cover = covers[order]
        return Clusters(
            ids, counts[order], held.photo_ids[cover], held.indices[cover], np.array(persons, np.int64)
        )

    def clusters_of_person(self, person_id: int) -> list[int]:
        """The clusters that a person owns."""
        clusters = self.clusters()
        owned: list[int] = clusters.ids[clusters.persons == person_id].tolist()
        return owned

    def unassigned(self) -> tuple[Ids, Ids]:
        """The faces in no cluster: photo_ids int64[n], indices int64[n]."""
        held = self._fresh().held
        return _names(held, np.flatnonzero(held.rows["cluster"] == 0))

    def neighbours(self, cluster_id: int, limit: int = 10) -> list[MergeSuggestion]:
        """The clusters most like this one, best first."""
        ids, means = self._fresh_means()
        place = np.searchsorted(ids, cluster_id)
        if place == len(ids) or ids[place] != cluster_id:
            return []
        scores = means @ means[place]
        best = [other for other in np.argsort(-scores, kind="stable").tolist() if other != place][:limit]
        return [MergeSuggestion(cluster_id, int(ids[other]), float(scores[other])) for other in best]

    def suggest_merges(self, limit: int = 20) -> list[MergeSuggestion]:
        """Pairs of clusters that are probably one person's, surest first; never of two persons.

        Looked for among the largest; two that are together in photos are of two persons.
        """
        clusters = self.clusters()
        some = np.flatnonzero(clusters.counts >= SUGGESTED_FACES)[:MOST_COMPARED]
        ids, means = self._fresh_means()
        known = some[np.isin(clusters.ids[some], ids)]
        if not len(known):
            return []
        vectors = means[np.searchsorted(ids, clusters.ids[known])]
        owner = dict(zip(clusters.ids[known].tolist(), clusters.persons[known].tolist(), strict=True))
        found = []
        for one, other, score in _likely_pairs(vectors, Thresholds().suggests):
            pair = MergeSuggestion(int(clusters.ids[known[one]]), int(clusters.ids[known[other]]), score)
            if _may_be_one(owner[pair.cluster_id], owner[pair.other_id]) and self._apart(pair):
                found.append(pair)
                if len(found) == limit:
                    break
        return found

    def _apart(self, pair: MergeSuggestion) -> bool:
        one, other = (self.photos_of_clusters([number]) for number in pair[:2])
        return len(np.intersect1d(one, other)) <= min(len(one), len(other)) // _SHARED_ONE_IN

    def vectors(self, keys: Sequence[FaceKey]) -> Floats:
        """The embeddings of these faces, float32[n, D]; rows of zeros where a face is not there."""
        with self._store.snapshot() as reading:
            if not reading.has("face_vectors"):
                return np.zeros((len(keys), 0), np.float32)
            packed = [face_key(*key) for key in keys]
            return read_vectors(reading, reading.number(DIMENSION), packed)

    # -- keeping up ------------------------------------------------------------------------------

    def shown(self) -> ShownFaces:
        """The rows of all faces that can be seen, by photo and index: the same object until one changes."""
        with self._lock, self._store.snapshot() as reading:
            self._held = _held_of(reading, self._held)
            return self._held

    def _fresh(self) -> _Owned:
        said = self._constraints()
        with self._lock:
            with self._store.snapshot() as reading:
                self._held = _held_of(reading, self._held)
            current = self._current
            if current is None or current.held is not self._held or current.said.version != said.version:
                current = self._current = _owned(self._held, said)
            return current

    def _fresh_means(self) -> tuple[Ids, Floats]:
        """The clusters that can be compared, by id, and the means of their faces."""
        with self._lock, self._store.snapshot() as reading:
            version = reading.number(VERSION)
            if self._means is None or self._means[0] != version:
                self._means = (version, *_read_means(reading))
            return self._means[1:]


def _read_means(reading: Reading) -> tuple[Ids, Floats]:
    dimension, space = reading.number(DIMENSION), reading.number(SPACE)
    if not reading.has("clusters") or not dimension:
        return np.empty(0, np.int64), np.zeros((0, dimension), np.float32)
    ids, heads, sums = read_clusters(reading)
    described = (heads["space"] == space) & (heads["summed"] > 0)
    described &= np.array([len(total) == 4 * dimension for total in sums], bool)
    packed = b"".join(itertools.compress(sums, described.tolist()))
    totals = np.frombuffer(packed, "<f4").reshape(-1, dimension)
    return ids[described], (totals / heads["summed"][described][:, None]).astype(np.float32)


def _held_of(reading: Reading, former: ShownFaces) -> ShownFaces:
    """The rows as they are now: those that changed since `former` are read, or all."""
    if not all(reading.has(table) for table in TABLES):
        return _EMPTY
    version = reading.number(VERSION)
    if version == former.version:
        return former
    changed = _changed_since(reading, former.version, version)
    if changed is None:
        return _visible(version, *read_faces(reading), _made_for(reading))
    keys, values = [], []
    for photo_id in changed.tolist():
        for key, value in reading.rows_with("faces", id_bytes(photo_id)):
            keys.append(key)
            values.append(value)
    photo_ids, indices, rows = parsed(keys, values)
    kept = ~np.isin(former.photo_ids, changed)
    photo_ids = np.concatenate([former.photo_ids[kept], photo_ids])
    indices = np.concatenate([former.indices[kept], indices])
    order = np.lexsort((indices, photo_ids))
    rows = np.concatenate([former.rows[kept], rows])[order]
    return _visible(version, photo_ids[order], indices[order], rows, _made_for(reading, former, rows))


def _changed_since(reading: Reading, former: int, version: int) -> Ids | None:
    """The photos whose faces changed after `former`; None when that is no longer known."""
    if not former:
        return None
    logged = reading.many("face_log", [id_bytes(number) for number in range(former + 1, version + 1)])
    if len(logged) != version - former:
        return None
    return np.unique(np.frombuffer(b"".join(value for _, value in logged), "<i8"))


def _made_for(reading: Reading, former: ShownFaces | None = None, rows: Rows | None = None) -> dict[int, int]:
    """The clusters that pinned faces made. What is known of a cluster stays so."""
    if former is not None and rows is not None:
        new = np.setdiff1d(rows["cluster"], former.rows["cluster"]).tolist()
        pairs = reading.many("clusters", [id_bytes(number) for number in new])
    else:
        former, pairs = _EMPTY, list(reading.rows("clusters"))
    heads = ((key, np.frombuffer(value[: CLUSTER.itemsize], CLUSTER)[0]) for key, value in pairs)
    found = {int.from_bytes(key, "big"): int(head["made_for"]) for key, head in heads}
    return former.made_for | {number: person for number, person in found.items() if person}


def _visible(version: int, photo_ids: Ids, indices: Ids, rows: Rows, made_for: dict[int, int]) -> ShownFaces:
    seen = rows["flags"] & (HIDDEN | GONE) == 0
    return ShownFaces(version, photo_ids[seen], indices[seen], rows[seen], made_for)


def _owned(held: ShownFaces, said: Constraints) -> _Owned:
    clusters = held.rows["cluster"].astype(np.int64)
    order = np.lexsort((held.indices, held.photo_ids, -held.rows["quality"], clusters))
    order = order[clusters[order] != 0]
    ids, starts = np.unique(clusters[order], return_index=True)
    owners = np.array([said.owner_of(number, held.made_for.get(number, 0)) for number in ids.tolist()])
    persons = np.zeros(len(clusters), np.int64)
    counts = np.diff(np.append(starts, len(order)))
    persons[order] = np.repeat(owners.astype(np.int64), counts)
    _overrule(persons, held, said)
    return _Owned(held, said, persons, order, ids, np.append(starts, len(order)).astype(np.int64))


def _overrule(persons: Ids, held: ShownFaces, said: Constraints) -> None:
    """What was said of a face alone counts before whose cluster it is in."""
    for face in {*said.pins, *(face for face, _ in said.cannot)}:
        row = _row_of(held, face)
        if row is None:
            continue
        if face in said.pins:
            persons[row] = said.pinned(face)
        elif said.forbids(face, int(persons[row])):
            persons[row] = 0


def _row_of(held: ShownFaces, face: FaceKey) -> int | None:
    first, last = np.searchsorted(held.photo_ids, [face[0], face[0] + 1]).tolist()
    row = first + int(np.searchsorted(held.indices[first:last], face[1]))
    return row if row < last and held.indices[row] == face[1] else None


def _rows_in(owned: _Owned, cluster_id: int) -> Ids:
    place = int(np.searchsorted(owned.cluster_ids, cluster_id))
    if place == len(owned.cluster_ids) or owned.cluster_ids[place] != cluster_id:
        return np.empty(0, np.int64)
    return owned.by_cluster[owned.starts[place] : owned.starts[place + 1]]


def _names(held: ShownFaces, rows: Ids) -> tuple[Ids, Ids]:
    return held.photo_ids[rows], held.indices[rows]


def _face_row(owned: _Owned, row: int) -> FaceRow:
    held = owned.held
    x, y, width, height = held.rows["box"][row].tolist()
    return FaceRow(
        int(held.photo_ids[row]),
        int(held.indices[row]),
        (x, y, width, height),
        float(held.rows["quality"][row]),
        int(held.rows["cluster"][row]),
        int(owned.persons[row]),
    )


def _may_be_one(one: int, other: int) -> bool:
    """Two named persons are two, and what is one person's already is no question."""
    return not (one and other)


def _likely_pairs(means: Floats, least: float) -> Iterator[tuple[int, int, float]]:
    """Pairs whose mean cosine is `least` or more, the largest first."""
    scores = np.triu(means @ means.T, 1)
    one, other = np.nonzero(scores >= least)
    for pair in np.argsort(-scores[one, other], kind="stable").tolist():
        yield int(one[pair]), int(other[pair]), float(scores[one[pair], other[pair]])
