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
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from catalogd.catalog.clustering import (
    WAITING_KEPT,
    Assigned,
    Cluster,
    Constraints,
    FaceKey,
    Faces,
    Floats,
    Gallery,
    Thresholds,
    edges,
    heirs,
    regroup,
)
from catalogd.catalog.environment import Ids, id_bytes
from catalogd.catalog.store import ChangesTrimmedError, Reading, Store, space_key
from catalogd.errors import CatalogDamagedError
from catalogd.records import Box

__all__ = ["Clusters", "Constraints", "FaceFollower", "FaceIndex", "FaceKey", "FaceRow", "MergeSuggestion"]

MARK = "faces"  # in the store: the commit that the faces have reached
TABLES = ("faces", "face_vectors", "clusters", "face_log")
# Numbers of `meta`: the layout of the rows, the photo up to which a walk over all has come, the version
# of the last change, the next cluster_id, the space of the clusters, what people said when last looked.
FACES_BY, WALKED, VERSION = "faces_by", "faces_walked", "faces_version"
NEXT_ID, SPACE, DIMENSION, SAID = "faces_next", "faces_space", "faces_dimension", "faces_said"
LAYOUT = 1
ALL_PHOTOS = (1 << 63) - 1
PAGE_PHOTOS = 1000  # taken in by one transaction: 0.1 s
BUSY_EVERY_S = 5.0  # a writer that always has something to do takes in a page so often
KEPT_VERSIONS = 64  # of `face_log`: a reader further behind reads all rows, 0.3 s for 200,000
SAME_FACE_IOU = 0.5  # boxes that overlap so much are of one face (as in detection benchmarks, PASCAL VOC)
SAME_FACE_COSINE = 0.4  # and, where one model made both embeddings, they are this much alike
PIN_JOINS = 0.3  # a pinned face less like any cluster of its person begins another: a new look
MOST_COMPARED = 5000  # clusters, the largest, among which merges are looked for: 25 million pairs, 0.5 s
SUGGESTED_FACES = 3  # a cluster with fewer is not worth a question
_SHARED_ONE_IN = 20  # clusters of one person are not together in more than one photo of so many

HIDDEN, GONE, DESCRIBES = 1, 2, 4  # flags: the photo is missing; it shows the face no more; is in the sum
FACE = np.dtype(
    [
        ("cluster", "<i8"),
        ("space", "<u8"),
        ("box", "<f4", 4),
        ("quality", "<f4"),
        ("flags", "u1"),
    ]
)
CLUSTER = np.dtype(
    [("made_for", "<i8"), ("made_at", "<u8"), ("space", "<u8"), ("members", "<u4"), ("summed", "<u4")]
)
_KEY = struct.Struct(">QH")
Rows = npt.NDArray[np.void]


class FaceRow(NamedTuple):
    """One face that a photo shows. (photo_id, index) stays its name, also when another model finds it."""

    photo_id: int
    index: int  # type: ignore[assignment]  # a number of its own in the photo, not necessarily its place in the record
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


class _Face(msgspec.Struct, gc=False):
    box: Box
    quality: float
    embedding: bytes | None = None


class _Output(msgspec.Struct, gc=False):
    fingerprint: str
    faces: tuple[_Face, ...] | None = None


class _Photo(msgspec.Struct, gc=False):
    """Of a Record, its faces."""

    outputs: dict[str, _Output]
    missing_since: float | None = None


_decode_photo = msgspec.msgpack.Decoder(_Photo).decode


def face_key(photo_id: int, index: int) -> bytes:
    return _KEY.pack(photo_id, index)


def _photo(record: bytes | None) -> _Photo | None:
    """None for one that can't be read: `check` finds it where records are walked."""
    try:
        return None if record is None else _decode_photo(record)
    except msgspec.DecodeError:
        return None


def _found_in(photo: _Photo) -> tuple[int, tuple[_Face, ...]]:
    """The space and the faces, with embedding, that the photo's record holds."""
    for output in photo.outputs.values():
        if output.faces is not None:
            faces = tuple(face for face in output.faces if face.embedding)
            return int.from_bytes(space_key(output.fingerprint), "big"), faces
    return 0, ()


def overlap(box: Box, others: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Intersection over union of a box with `others: float[n, 4]`: float64[n]."""
    low = np.maximum(others[:, :2], box[:2])
    high = np.minimum(others[:, :2] + others[:, 2:], np.add(box[:2], box[2:]))
    shared = np.prod(np.clip(high - low, 0, None), axis=1, dtype=np.float64)
    areas = np.prod(others[:, 2:], axis=1, dtype=np.float64) + box[2] * box[3] - shared
    result: npt.NDArray[np.float64] = shared / np.maximum(areas, 1e-12)
    return result


def _vector(half: bytes) -> Floats:
    return np.frombuffer(half, "<f2").astype(np.float32)


# -- rows ------------------------------------------------------------------------------------------


class _Row:
    """One row of `faces` while it is worked on."""

    __slots__ = ("box", "cluster", "flags", "half", "index", "photo_id", "quality", "space")

    def __init__(self, photo_id: int, index: int, space: int, face: _Face) -> None:
        self.photo_id, self.index, self.space = photo_id, index, space
        self.cluster = self.flags = 0
        self.take(space, face)

    def take(self, space: int, face: _Face) -> None:
        """Be this face, as a record shows it."""
        self.space, self.quality, self.half = space, face.quality, face.embedding or b""
        self.box: Box = _single(face.box)

    @classmethod
    def stored(cls, key: bytes, value: bytes, half: bytes) -> _Row:
        photo_id, index = _KEY.unpack(key)
        row = np.frombuffer(value, FACE)[0]
        x, y, width, height = row["box"].tolist()
        face = _Face((x, y, width, height), float(row["quality"]), half)
        made = cls(photo_id, index, int(row["space"]), face)
        made.cluster, made.flags = int(row["cluster"]), int(row["flags"])
        return made

    @property
    def key(self) -> FaceKey:
        return self.photo_id, self.index

    def is_face(self, space: int, face: _Face) -> bool:
        """Whether it says all that the record says."""
        return (self.space, self.half, self.box) == (space, face.embedding, _single(face.box))

    def packed(self) -> bytes:
        row = np.zeros((), FACE)
        row["cluster"], row["space"], row["box"] = self.cluster, self.space, self.box
        row["quality"], row["flags"] = self.quality, self.flags
        return row.tobytes()


def _single(box: Box) -> Box:
    """The box in the precision of a row."""
    x, y, width, height = np.asarray(box, np.float32).tolist()
    return x, y, width, height


def _rows_of(reading: Reading, photo_id: int) -> list[_Row]:
    """The rows of a photo as they are stored, also of faces that it shows no more."""
    found = []
    for key, value in reading.rows_with("faces", id_bytes(photo_id)):
        if len(value) == FACE.itemsize:
            found.append(_Row.stored(key, value, reading.get("face_vectors", key) or b""))
    return found


def read_faces(reading: Reading) -> tuple[Ids, Ids, Rows]:
    """All rows: photo_ids int64[n], indices int64[n], FACE[n], by photo and index."""
    keys, packed = [], []
    for key, value in reading.rows("faces"):
        keys.append(key)
        packed.append(value)
    return _parsed(keys, packed)


def _parsed(keys: list[bytes], packed: list[bytes]) -> tuple[Ids, Ids, Rows]:
    if any(len(value) != FACE.itemsize for value in packed):
        raise CatalogDamagedError("faces has a row of another length: run `catalogd rebuild faces`")
    names = np.frombuffer(b"".join(keys), np.dtype([("photo", ">i8"), ("index", ">u2")]))
    rows = np.frombuffer(b"".join(packed), FACE)
    return names["photo"].astype(np.int64), names["index"].astype(np.int64), rows


def _read_vectors(reading: Reading, dimension: int, keys: Iterable[bytes]) -> Floats:
    """float32[n, D]; zeros where one is missing or of another length."""
    wanted = list(keys)
    stored = dict(reading.many("face_vectors", wanted))
    none = bytes(2 * dimension)
    halves = [value if len(value := stored.get(key, none)) == len(none) else none for key in wanted]
    return np.frombuffer(b"".join(halves), "<f2").reshape(len(wanted), dimension).astype(np.float32)


def read_clusters(reading: Reading) -> tuple[Ids, Rows, list[bytes]]:
    """All clusters: ids int64[n], CLUSTER[n] and the bytes of their sums."""
    keys, heads, sums = [], [], []
    for key, value in reading.rows("clusters"):
        if len(value) < CLUSTER.itemsize:
            raise CatalogDamagedError("clusters has a short row: run `catalogd rebuild faces`")
        keys.append(key)
        heads.append(value[: CLUSTER.itemsize])
        sums.append(value[CLUSTER.itemsize :])
    ids = np.frombuffer(b"".join(keys), ">i8").astype(np.int64)
    return ids, np.frombuffer(b"".join(heads), CLUSTER), sums


def _packed_cluster(cluster: Cluster, space: int, made_at: int) -> bytes:
    head = np.zeros((), CLUSTER)
    head["made_for"], head["made_at"], head["space"] = cluster.made_for, made_at, space
    head["members"], head["summed"] = cluster.members, cluster.summed
    return head.tobytes() + cluster.total.astype("<f4").tobytes()


def is_walked(reading: Reading) -> bool:
    """Whether all photos were taken in, up to the mark."""
    layout, walked = reading.number(FACES_BY), reading.number(WALKED)
    return reading.mark(MARK) is not None and layout == LAYOUT and walked == ALL_PHOTOS


# -- following -------------------------------------------------------------------------------------


class FaceFollower:
    """Keeps the faces of a catalog up with its store. Only the writer process has one.

    What it holds in memory is what is stored; it is read again after a write that failed.
    """

    def __init__(self, store: Store, constraints: Callable[[], Constraints] = Constraints) -> None:
        self._store = store
        self._constraints = constraints
        self._gallery: StoredGallery | None = None
        self._looked_s = 0.0  # monotonic
        if store.commit_number() == 0 and store.mark(MARK) is None:
            store.write(lambda reading: _begin(reading, ALL_PHOTOS))

    def follow(self, idle: bool = False, force: bool = False) -> None:
        """Take in the faces of what was committed, and what people said since: a page, or all by `force`.

        Raises CatalogFullError with the faces as they were.
        """
        now = time.monotonic()
        if not (force or idle or now - self._looked_s >= BUSY_EVERY_S):
            return
        self._looked_s = now
        while self._step() and force:
            pass
        self._obey()

    def rebuild(self) -> None:
        """Make all of it again from the records; clusters keep their ids and their faces."""
        self._gallery = None
        self._store.write(_mend)
        self._store.write(lambda reading: _begin(reading, 0))
        while self._step():
            pass
        self._obey()

    def recluster(self) -> None:
        """Cluster all faces anew; clusters keep their ids by the faces they share, people's words hold."""
        self.follow(force=True)
        with self._store.snapshot() as reading:
            said = self._constraints()
            again = _Reclustering(reading, said).run()
        self._gallery = None
        self._store.write(again.write)
        self._obey(said_again=True)

    def _step(self) -> bool:
        """Take in one page of the walk or of the changes; False when there is none."""
        try:
            with self._store.snapshot() as reading:
                page = self._next_page(reading)
        except ChangesTrimmedError:
            page = None
        if page is None:
            self._store.write(lambda reading: _begin(reading, 0))
            return True
        return self._write(page)

    def _next_page(self, reading: Reading) -> _Page | None:
        """None where a walk has to begin."""
        if reading.mark(MARK) is None or reading.number(FACES_BY) != LAYOUT:
            return None
        return self._changes_page(reading) if is_walked(reading) else self._walk_page(reading)

    def _walk_page(self, reading: Reading) -> _Page:
        page = _Page(reading, self._taken(reading), self._constraints())
        photo_ids = reading.ids_after("photos", reading.number(WALKED), PAGE_PHOTOS)
        page.take_in(photo_ids)
        page.numbers[WALKED] = int(photo_ids[-1]) if len(photo_ids) else ALL_PHOTOS
        return page

    def _changes_page(self, reading: Reading) -> _Page:
        commits, photo_ids = reading.changes_since(reading.mark(MARK) or 0, PAGE_PHOTOS)
        page = _Page(reading, self._taken(reading), self._constraints())
        if len(commits):
            page.take_in(np.unique(photo_ids))
            page.mark = int(commits[-1])
        return page

    def _obey(self, said_again: bool = False) -> None:
        """Put right what goes against what people said, once for each version of it."""
        said = self._constraints()
        version = said.version & ALL_PHOTOS
        with self._store.snapshot() as reading:
            if reading.number(SAID) == version and not said_again:
                return
            page = _Page(reading, self._taken(reading), said)
            page.obey()
            page.numbers[SAID] = version
        self._write(page)

    def _taken(self, reading: Reading) -> StoredGallery:
        """The clusters, to be changed by a page; they are given back once what changed is stored."""
        gallery, self._gallery = self._gallery, None
        return gallery or StoredGallery(reading)

    def _write(self, page: _Page) -> bool:
        """Write a page with all it brought; False when it brought nothing."""
        page.finish()
        if page.brings_anything:
            self._store.write(page.write)
        self._gallery = page.gallery
        return page.brings_anything


def _begin(reading: Reading, walked: int) -> None:
    """Walk over all photos from `walked` on, then follow from this commit on."""
    reading.set_number(FACES_BY, LAYOUT)
    reading.set_number(WALKED, walked)
    reading.set_mark(MARK, reading.number("commit"))


class StoredGallery(Gallery):
    """The clusters as they are stored, in the space of the faces that came last."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading.number(DIMENSION), max(reading.number(NEXT_ID), 1))
        self.space = reading.number(SPACE)
        ids, heads, sums = read_clusters(reading)
        self.made_at: dict[int, int] = dict(zip(ids.tolist(), heads["made_at"].tolist(), strict=True))
        for cluster_id, head, total in zip(ids.tolist(), heads, sums, strict=True):
            self.put(_stored_cluster(cluster_id, head, total, self.dimension, self.space))
        self.waiting = _waiting(reading, self.space, self.dimension, self.thresholds)

    def enter_space(self, reading: Reading, space: int, dimension: int) -> None:
        """Go on in another space: clusters keep their faces, those of this space describe them."""
        made_for = {number: cluster.made_for for number, cluster in self.clusters.items()}
        self.space, self.dimension = space, dimension
        self.clear_directions()
        for cluster in _clusters_of_rows(reading, space, dimension, made_for).values():
            self.put(cluster)
        self.waiting = _waiting(reading, space, dimension, self.thresholds)


def _stored_cluster(cluster_id: int, head: np.void, total: bytes, dimension: int, space: int) -> Cluster:
    """Of a cluster of another space, only who is in it: faces found anew will describe it."""
    cluster = Cluster(cluster_id, dimension, int(head["made_for"]))
    cluster.members = int(head["members"])
    if int(head["space"]) == space and len(total) == 4 * dimension:
        cluster.summed = int(head["summed"])
        cluster.total = np.frombuffer(total, "<f4").copy()
    return cluster


def _waiting(reading: Reading, space: int, dimension: int, limits: Thresholds) -> Faces:
    photo_ids, indices, rows = read_faces(reading)
    waits = (rows["cluster"] == 0) & (rows["space"] == space) & (rows["flags"] & GONE == 0)
    some = np.flatnonzero(waits & (rows["quality"] >= np.float32(limits.fair)))[-WAITING_KEPT:]
    return _faces(reading, dimension, photo_ids[some], indices[some], rows[some])


def _faces(reading: Reading, dimension: int, photo_ids: Ids, indices: Ids, rows: Rows) -> Faces:
    keys = [face_key(*key) for key in zip(photo_ids.tolist(), indices.tolist(), strict=True)]
    vectors = _read_vectors(reading, dimension, keys)
    return Faces(photo_ids, indices, vectors, rows["quality"].astype(np.float32))


class _Page:
    """One page of work: what changes in memory at once and in the store when it is written."""

    def __init__(self, reading: Reading, gallery: StoredGallery, said: Constraints) -> None:
        self._reading = reading
        self.gallery = gallery
        self._said = said
        self._rows: dict[int, dict[int, _Row]] = {}  # photo → index → row, as far as looked at
        self._changed: dict[FaceKey, _Row] = {}
        self._dropped: set[FaceKey] = set()
        self.numbers: dict[str, int] = {}
        self.mark: int | None = None
        self._touched: list[int] = []
        self._unwaiting: set[FaceKey] = set()  # faces that wait no longer, or are about to again
        self._own: dict[int, list[int]] | None = None  # person → clusters, once somebody asked

    def finish(self) -> None:
        """Note which clusters changed; nothing may be worked on after this."""
        self.gallery.forget_waiting(self._unwaiting)
        self._touched = self.gallery.take_touched()

    @property
    def brings_anything(self) -> bool:
        return bool(self.numbers or self._changed or self._dropped or self.mark is not None)

    # -- photos ----------------------------------------------------------------------------------

    def take_in(self, photo_ids: Ids) -> None:
        """The faces of these photos as their records are now."""
        photos = {
            photo_id: _photo(self._reading.get("photos", id_bytes(photo_id)))
            for photo_id in photo_ids.tolist()
        }
        found = {photo_id: _found_in(photo) for photo_id, photo in photos.items() if photo is not None}
        self._choose_space([shown for shown in found.values() if shown[1]])
        new: list[_Row] = []
        for photo_id, photo in photos.items():
            if photo is None:
                self._drop(photo_id)
            else:
                hidden = HIDDEN if photo.missing_since is not None else 0
                new += self._take_photo(photo_id, *found[photo_id], hidden)
        self._place(new)

    def _choose_space(self, shown: list[tuple[int, tuple[_Face, ...]]]) -> None:
        """Go on in another space if all faces of the page are: another model makes them now.

        Those of a space that is not gone on in are kept, where they were, and describe nothing.
        """
        if not shown or self.gallery.space in {space for space, _ in shown}:
            return
        space, faces = shown[-1]
        dimension = len(faces[0].embedding or b"") // 2
        self.gallery.enter_space(self._reading, space, dimension)
        self.numbers |= {SPACE: space, DIMENSION: dimension}

    def _drop(self, photo_id: int) -> None:
        for row in list(self._of(photo_id).values()):
            self._leave(row)
            self._dropped.add(row.key)
            self._changed.pop(row.key, None)
        self._rows[photo_id] = {}

    def _take_photo(self, photo_id: int, space: int, faces: tuple[_Face, ...], hidden: int) -> list[_Row]:
        """Compare what the record shows with the rows; returns the faces that are in no cluster."""
        rows = self._of(photo_id)
        known = _matched(list(rows.values()), space, faces)
        lost = [row for row in rows.values() if row not in known.values()]
        new: list[_Row] = []
        for place, face in enumerate(faces):
            row = known.get(place)
            if row is None:
                row = _Row(photo_id, max(rows, default=-1) + 1, space, face)
                rows[row.index] = self._changed[row.key] = row
                new.append(row)
            elif row.flags & GONE or not row.is_face(space, face):
                self._change_face(row, space, face)
                new += [] if row.cluster else [row]
            self._hide(row, hidden)
        for row in lost:
            self._lose(row)
        return new

    def _hide(self, row: _Row, hidden: int) -> None:
        """A missing photo's faces are not seen, and stay in their clusters."""
        if row.flags & HIDDEN != hidden:
            row.flags ^= HIDDEN
            self._changed[row.key] = row

    def _change_face(self, row: _Row, space: int, face: _Face) -> None:
        """The face looks otherwise now, or is back: it stays in its cluster, if that is still there."""
        cluster_id = row.cluster
        if not row.flags & GONE:
            self._leave(row, keep_cluster=True)
        row.flags &= ~(GONE | DESCRIBES)
        row.take(space, face)
        row.cluster = 0
        if cluster_id in self.gallery.clusters:
            self._enter(row, cluster_id)
        self._changed[row.key] = row

    def _lose(self, row: _Row) -> None:
        """The photo shows the face no more. Its row remembers the cluster, in case it does again."""
        if not row.flags & GONE:
            self._leave(row, keep_cluster=True)
            row.flags = (row.flags | GONE) & ~DESCRIBES
            self._changed[row.key] = row

    # -- clusters --------------------------------------------------------------------------------

    def _place(self, new: list[_Row]) -> None:
        """Put faces into clusters: pinned ones to their persons, others by likeness."""
        free = []
        for row in new:
            if person := self._said.pinned(row.key):
                self._pin(row, person)
            elif self._is_here(row):
                free.append(row)
        self.gallery.forget_waiting(self._unwaiting)
        self._unwaiting.clear()
        if not free:
            return
        faces = Faces(
            np.array([row.photo_id for row in free], np.int64),
            np.array([row.index for row in free], np.int64),
            np.stack([_vector(row.half) for row in free]),
            np.array([row.quality for row in free], np.float32),
        )
        for assigned in self.gallery.add(faces, self._said, self._clusters_in):
            self._note(assigned)

    def _note(self, assigned: Assigned) -> None:
        """A face is in a cluster now: also one that waited in another photo."""
        photo_id, index = assigned.face
        row = self._of(photo_id).get(index)
        if row is not None:
            row.cluster = assigned.cluster_id
            row.flags &= ~DESCRIBES
            row.flags |= DESCRIBES if assigned.describes else 0
            self._changed[row.key] = row

    def _clusters_in(self, photo_id: int) -> set[int]:
        rows = self._of(photo_id).values()
        return {row.cluster for row in rows if row.cluster and not row.flags & GONE}

    def _enter(self, row: _Row, cluster_id: int, pinned: bool = False) -> None:
        limits = self.gallery.thresholds
        describes = self._is_here(row) and row.quality >= (limits.fair if pinned else limits.good)
        self.gallery.enter(cluster_id, self._vector(row), describes)
        row.cluster = cluster_id
        row.flags = row.flags & ~DESCRIBES | (DESCRIBES if describes else 0)
        self._changed[row.key] = row

    def _is_here(self, row: _Row) -> bool:
        """Whether the face can be compared with the clusters as they are described now."""
        return row.space == self.gallery.space and len(row.half) == 2 * self.gallery.dimension

    def _vector(self, row: _Row) -> Floats:
        return _vector(row.half) if self._is_here(row) else np.zeros(self.gallery.dimension, np.float32)

    def _leave(self, row: _Row, keep_cluster: bool = False) -> None:
        """Take a face out of its cluster, or let it wait no longer."""
        if row.cluster in self.gallery.clusters and not row.flags & GONE:
            described = bool(row.flags & DESCRIBES) and self._is_here(row)
            self.gallery.leave(row.cluster, self._vector(row), described)
        elif not row.cluster:
            self._unwaiting.add(row.key)
        row.flags &= ~DESCRIBES
        row.cluster = row.cluster if keep_cluster else 0
        self._changed[row.key] = row

    # -- people ----------------------------------------------------------------------------------

    def obey(self) -> None:
        """Bring pinned faces to their persons, and take faces from whom they were said not to be."""
        freed = []
        for photo_id, index in sorted({*self._said.pins, *(face for face, _ in self._said.cannot)}):
            row = self._of(photo_id).get(index)
            if row is None or row.flags & GONE:
                continue
            person, owner = self._said.pinned(row.key), self._owner(row.cluster)
            if person and owner != person:
                self._leave(row)
                self._pin(row, person)
            elif not person and owner and self._said.forbids(row.key, owner):
                self._leave(row)
                freed.append(row)
        self._place(freed)

    def _owner(self, cluster_id: int) -> int:
        cluster = self.gallery.clusters.get(cluster_id)
        return self._said.owner_of(cluster_id, cluster.made_for) if cluster is not None else 0

    def _pin(self, row: _Row, person: int) -> None:
        """Into the cluster of the person that it is most like, or a new one."""
        vector = self._vector(row)
        clusters = self.gallery.clusters
        own = [number for number in self._clusters_of(person) if number in clusters]
        likeness = {number: float(clusters[number].direction @ vector) for number in own}
        best = max(likeness, key=likeness.__getitem__, default=0)
        if not best or (self._is_here(row) and likeness[best] < PIN_JOINS):
            best = self.gallery.make(person).cluster_id
            self._clusters_of(person).append(best)
        self._enter(row, best, pinned=True)

    def _clusters_of(self, person: int) -> list[int]:
        if self._own is None:
            self._own = {}
            for number in self.gallery.clusters:
                self._own.setdefault(self._owner(number), []).append(number)
        return self._own.setdefault(person, [])

    # -- store -----------------------------------------------------------------------------------

    def _of(self, photo_id: int) -> dict[int, _Row]:
        if photo_id not in self._rows:
            self._rows[photo_id] = {row.index: row for row in _rows_of(self._reading, photo_id)}
        return self._rows[photo_id]

    def write(self, reading: Reading) -> None:
        """Put all that changed, with the mark, in this transaction. May be done again: it only puts."""
        changed = sorted(self._changed.items())
        for key in self._dropped:
            reading.delete("faces", face_key(*key))
            reading.delete("face_vectors", face_key(*key))
        reading.put_all("faces", [(face_key(*key), row.packed()) for key, row in changed])
        reading.put_all("face_vectors", [(face_key(*key), row.half) for key, row in changed])
        self._write_clusters(reading)
        photos = sorted({photo_id for photo_id, _ in (*self._changed, *self._dropped)})
        if photos:
            _log(reading, np.array(photos, np.int64))
        for name, number in self.numbers.items():
            reading.set_number(name, number)
        if self.mark is not None:
            reading.set_mark(MARK, self.mark)

    def _write_clusters(self, reading: Reading) -> None:
        commit = reading.number("commit")
        for cluster_id in self._touched:
            cluster = self.gallery.clusters.get(cluster_id)
            if cluster is None:
                reading.delete("clusters", id_bytes(cluster_id))
            else:
                made_at = self.gallery.made_at.setdefault(cluster_id, commit)
                value = _packed_cluster(cluster, self.gallery.space, made_at)
                reading.put("clusters", id_bytes(cluster_id), value)
        reading.set_number(NEXT_ID, self.gallery.next_id)


def _log(reading: Reading, photo_ids: Ids | None) -> None:
    """Say whose faces this version changed; None: perhaps all."""
    version = reading.number(VERSION) + 1
    reading.set_number(VERSION, version)
    if photo_ids is None:
        reading.clear("face_log")
        return
    reading.put("face_log", id_bytes(version), photo_ids.astype("<i8").tobytes())
    reading.delete("face_log", id_bytes(max(version - KEPT_VERSIONS, 0)))


# -- all anew --------------------------------------------------------------------------------------


class _Reclustering:
    """Every face and cluster again, from the embeddings and what people said."""

    def __init__(self, reading: Reading, said: Constraints) -> None:
        self._said = said
        self._old = StoredGallery(reading)
        self._limits = self._old.thresholds
        self._photo_ids, self._indices, rows = read_faces(reading)
        self._rows = rows.copy()
        here = (rows["space"] == self._old.space) & (rows["flags"] & GONE == 0)
        self._here = np.flatnonzero(here)
        self._elsewhere = np.flatnonzero(~here & (rows["flags"] & GONE == 0))
        photo_ids, indices = self._photo_ids[self._here], self._indices[self._here]
        self._faces = _faces(reading, self._old.dimension, photo_ids, indices, rows[self._here])
        self._gallery = Gallery(self._old.dimension, self._old.next_id)
        self._cluster_of = np.zeros(len(self._here), np.int64)
        self._describes = np.zeros(len(self._here), bool)

    def run(self) -> _Reclustering:
        self._keep_elsewhere()
        good = np.flatnonzero(self._faces.quality >= self._limits.good)
        if len(good):
            self._group(good)
        self._place_rest()
        self._store_rows()
        return self

    def _keep_elsewhere(self) -> None:
        """Faces of a former model can't be compared: they stay where they are."""
        for cluster_id in self._rows["cluster"][self._elsewhere].tolist():
            if cluster_id and cluster_id not in self._gallery.clusters:
                made_for = self._made_for(cluster_id)
                self._gallery.put(Cluster(cluster_id, self._old.dimension, made_for))
            if cluster_id:
                self._gallery.clusters[cluster_id].members += 1

    def _made_for(self, cluster_id: int) -> int:
        cluster = self._old.clusters.get(cluster_id)
        return cluster.made_for if cluster is not None else 0

    def _owner(self, cluster_id: int) -> int:
        return self._said.owner_of(cluster_id, self._made_for(cluster_id)) if cluster_id else 0

    def _group(self, good: npt.NDArray[np.intp]) -> None:
        faces = self._faces.some(good)
        every = np.arange(len(good))
        pairs, cosines = edges(faces.vectors, every, every, self._limits.edge)
        persons = self._persons(good)
        group = regroup(faces, pairs, cosines, self._said, self._limits, persons)
        kept = self._kept(faces, group, persons)
        old = self._rows["cluster"][self._here][good]
        person_of = {int(label): int(person) for label, person in zip(group, persons, strict=True) if person}
        owners = {int(number): self._owner(int(number)) for number in np.unique(old)}
        heir = heirs(group[kept], old[kept], person_of, owners)
        for row in np.flatnonzero(kept).tolist():
            label = int(group[row])
            if label not in heir:
                heir[label] = self._gallery.make(person_of.get(label, 0)).cluster_id
            elif heir[label] not in self._gallery.clusters:
                self._gallery.put(Cluster(heir[label], self._old.dimension, self._made_for(heir[label])))
            self._enter(int(good[row]), heir[label], True)

    def _persons(self, good: npt.NDArray[np.intp]) -> Ids:
        """Whose a face certainly is: pinned, or like the named cluster that it is in. int64[n]."""
        persons = np.zeros(len(good), np.int64)
        clusters = self._rows["cluster"][self._here][good].tolist()
        for place, (row, cluster_id) in enumerate(zip(good.tolist(), clusters, strict=True)):
            key = self._faces.key(row)
            owner = self._owner(cluster_id)
            if pinned := self._said.pinned(key):
                persons[place] = pinned
            elif owner and not self._said.forbids(key, owner):
                direction = self._old.clusters[cluster_id].direction
                fits = float(direction @ self._faces.vectors[row]) >= self._limits.joins
                persons[place] = owner if fits else 0
        return persons

    def _kept(self, faces: Faces, group: npt.NDArray[np.intp], persons: Ids) -> npt.NDArray[np.bool_]:
        """Which faces are in a group that makes a cluster, as it would in `Gallery.add`: bool[n]."""
        counts = np.bincount(group, minlength=len(group))
        named = np.zeros(len(group), bool)
        named[group[persons != 0]] = True
        pair = self._limits.pair_at(len(group))
        order = np.argsort(group, kind="stable")
        twos = order[counts[group[order]] == 2].reshape(-1, 2)
        alike = np.einsum("ij,ij->i", faces.vectors[twos[:, 0]], faces.vectors[twos[:, 1]]) >= pair
        named[group[twos[alike, 0]]] = True
        kept: npt.NDArray[np.bool_] = (counts > 2)[group] | named[group]
        return kept

    def _enter(self, place: int, cluster_id: int, describes: bool) -> None:
        self._gallery.enter(cluster_id, self._faces.vectors[place], describes)
        self._cluster_of[place] = cluster_id
        self._describes[place] = describes

    def _place_rest(self) -> None:
        """The faces that no group took come one by one, as if they were new."""
        place_of = {self._faces.key(place): place for place in range(len(self._here))}
        clusters_in: dict[int, set[int]] = {}
        for place in np.flatnonzero(self._cluster_of).tolist():
            clusters_in.setdefault(self._faces.key(place)[0], set()).add(int(self._cluster_of[place]))
        rest = np.flatnonzero(self._cluster_of == 0)
        for start in range(0, len(rest), PAGE_PHOTOS):
            faces = self._faces.some(rest[start : start + PAGE_PHOTOS])
            for found in self._gallery.add(faces, self._said, lambda photo: clusters_in.get(photo, set())):
                place = place_of[found.face]
                self._cluster_of[place], self._describes[place] = found.cluster_id, found.describes
                clusters_in.setdefault(found.face[0], set()).add(found.cluster_id)

    def _store_rows(self) -> None:
        before = self._rows.copy()
        self._rows["cluster"][self._here] = self._cluster_of
        flags = self._rows["flags"][self._here] & np.uint8(255 - DESCRIBES)
        self._rows["flags"][self._here] = flags | np.where(self._describes, DESCRIBES, 0).astype(np.uint8)
        self._changed = np.flatnonzero(self._rows != before)

    def write(self, reading: Reading) -> None:
        """Put all of it, in this transaction."""
        keys = zip(
            self._photo_ids[self._changed].tolist(), self._indices[self._changed].tolist(), strict=True
        )
        values = (self._rows[row].tobytes() for row in self._changed.tolist())
        reading.put_all("faces", [(face_key(*key), value) for key, value in zip(keys, values, strict=True)])
        _put_clusters(reading, self._gallery.clusters, self._old.space, self._old.made_at)
        reading.set_number(NEXT_ID, self._gallery.next_id)
        reading.set_number(SAID, 0)  # pins of faces too poor to be grouped come next
        _log(reading, None)


def _put_clusters(
    reading: Reading, clusters: dict[int, Cluster], space: int, made_at: dict[int, int]
) -> None:
    """Put these clusters in place of all."""
    commit = reading.number("commit")
    reading.clear("clusters")
    rows = [
        (id_bytes(number), _packed_cluster(clusters[number], space, made_at.get(number, commit)))
        for number in sorted(clusters)
        if clusters[number].members
    ]
    reading.put_all("clusters", rows)


# -- mending and checking --------------------------------------------------------------------------


def _mend(reading: Reading) -> None:
    """Drop what can't be read or belongs to no photo, and make the clusters from the faces in them."""
    dimension = reading.number(DIMENSION)
    for key, value in list(reading.rows("faces")):
        half = reading.get("face_vectors", key)
        whole = len(key) == _KEY.size and len(value) == FACE.itemsize and half
        if not whole or reading.get("photos", key[:8]) is None:
            reading.delete("faces", key)
    kept = {key for key, _ in reading.rows("faces")}
    for key in [key for key, _ in reading.rows("face_vectors") if key not in kept]:
        reading.delete("face_vectors", key)
    try:
        ids, heads, _ = read_clusters(reading)
    except CatalogDamagedError:
        ids, heads = np.empty(0, np.int64), np.empty(0, CLUSTER)
    made_for = dict(zip(ids.tolist(), heads["made_for"].tolist(), strict=True))
    made_at = dict(zip(ids.tolist(), heads["made_at"].tolist(), strict=True))
    clusters = _clusters_of_rows(reading, reading.number(SPACE), dimension, made_for)
    _put_clusters(reading, clusters, reading.number(SPACE), made_at)
    reading.set_number(NEXT_ID, max(reading.number(NEXT_ID), *clusters, 0) + 1)
    _log(reading, None)


def _clusters_of_rows(
    reading: Reading, space: int, dimension: int, made_for: dict[int, int]
) -> dict[int, Cluster]:
    """The clusters as the rows of their faces, those of one space, describe them."""
    photo_ids, indices, rows = read_faces(reading)
    inside = np.flatnonzero((rows["cluster"] != 0) & (rows["flags"] & GONE == 0))
    sums = (rows["flags"] & DESCRIBES > 0) & (rows["space"] == space)
    clusters: dict[int, Cluster] = {}
    for start in range(0, len(inside), PAGE_PHOTOS):
        page = inside[start : start + PAGE_PHOTOS]
        faces = _faces(reading, dimension, photo_ids[page], indices[page], rows[page])
        for place, row in enumerate(page.tolist()):
            number = int(rows["cluster"][row])
            cluster = clusters.setdefault(number, Cluster(number, dimension, made_for.get(number, 0)))
            cluster.add(faces.vectors[place], bool(sums[row]))
    return clusters


def check(reading: Reading, deep: bool = False) -> Iterator[tuple[int, str]]:
    """What is wrong with faces and clusters: (photo_id or 0, text). Nothing while they are first made.

    Photos committed after the mark are left out. `deep` also compares each face with its record.
    """
    if not all(reading.has(table) for table in TABLES) or not is_walked(reading):
        return
    try:
        pending = set(reading.changes_since(reading.mark(MARK) or 0)[1].tolist())
        photo_ids, _, rows = read_faces(reading)
        ids, heads, sums = read_clusters(reading)
    except (ChangesTrimmedError, CatalogDamagedError) as error:
        yield 0, str(error)
        return
    yield from _check_rows(reading, photo_ids, rows, pending)
    if reading.entries("face_vectors") != len(rows):
        yield 0, f"{len(rows)} faces have {reading.entries('face_vectors')} embeddings"
    yield from _check_clusters(reading, ids, heads, sums)
    if deep:
        yield from _check_photos(reading, pending)


def _check_rows(reading: Reading, photo_ids: Ids, rows: Rows, pending: set[int]) -> Iterator[tuple[int, str]]:
    photos, missing = reading.ids("photos"), reading.ids("missing")
    hidden = rows["flags"] & HIDDEN > 0
    for photo_id in np.setdiff1d(photo_ids, photos).tolist():
        if photo_id not in pending:
            yield photo_id, "faces of no photo"
    shown = rows["flags"] & GONE == 0
    for photo_id in np.unique(photo_ids[shown & (hidden != np.isin(photo_ids, missing))]).tolist():
        if photo_id not in pending:
            yield photo_id, "its faces are hidden, or shown, wrongly"


def _check_clusters(reading: Reading, ids: Ids, heads: Rows, sums: list[bytes]) -> Iterator[tuple[int, str]]:
    dimension, space = reading.number(DIMENSION), reading.number(SPACE)
    expected = _clusters_of_rows(reading, space, dimension, {})
    for number in sorted(expected.keys() ^ set(ids.tolist())):
        yield 0, f"cluster {number} is not the one that faces are in"
    for number, head, total in zip(ids.tolist(), heads, sums, strict=True):
        cluster = expected.get(number)
        if cluster is None:
            continue
        if int(head["members"]) != cluster.members:
            yield 0, f"cluster {number} counts {int(head['members'])} faces of {cluster.members}"
        if int(head["space"]) != space:
            continue  # its faces were made by a former model
        stored = np.frombuffer(total, "<f4")
        near = len(stored) == dimension and np.allclose(
            stored, cluster.total, atol=1e-3 * (1 + cluster.summed)
        )
        if int(head["summed"]) != cluster.summed or not near:
            yield 0, f"cluster {number} is not described by its faces"


def _check_photos(reading: Reading, pending: set[int]) -> Iterator[tuple[int, str]]:
    for key, value in reading.rows("photos"):
        photo_id = int.from_bytes(key, "big")
        photo = _photo(value)
        if photo is None or photo_id in pending:
            continue
        space, faces = _found_in(photo)
        expected = sorted((_single(face.box), face.embedding, space) for face in faces)
        rows = [row for row in _rows_of(reading, photo_id) if not row.flags & GONE]
        if sorted((row.box, row.half, row.space) for row in rows) != expected:
            yield photo_id, "its faces are not those of the record"


# -- matching --------------------------------------------------------------------------------------


def _matched(rows: list[_Row], space: int, faces: Sequence[_Face]) -> dict[int, _Row]:
    """Place in `faces` → the row of the same face; each row once, the largest overlaps first."""
    if not rows or not faces:
        return {}
    boxes = np.array([row.box for row in rows])
    overlaps = np.stack([overlap(face.box, boxes) for face in faces])
    found: dict[int, _Row] = {}
    taken: set[int] = set()
    for pair in np.argsort(-overlaps, axis=None, kind="stable").tolist():
        place, number = divmod(pair, len(rows))
        if overlaps[place, number] < SAME_FACE_IOU:
            break
        if place not in found and number not in taken and _alike(rows[number], space, faces[place]):
            found[place] = rows[number]
            taken.add(number)
    return found


def _alike(row: _Row, space: int, face: _Face) -> bool:
    """Whether the embeddings say the same, where one model made both."""
    if row.space != space or not face.embedding or len(row.half) != len(face.embedding):
        return True
    return float(_vector(row.half) @ _vector(face.embedding)) >= SAME_FACE_COSINE


# -- reading ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Held:
    """The rows of one version in memory, by photo and index; faces that can't be seen are left out."""

    version: int
    photo_ids: Ids
    indices: Ids
    rows: Rows
    made_for: dict[int, int]  # cluster → the person whose pinned faces made it, where there is one


@dataclasses.dataclass(frozen=True)
class _Owned:
    """Whose each face is, by one version of what people said, and the faces of each cluster."""

    held: _Held
    said: Constraints
    persons: Ids  # int64[n], of each row
    by_cluster: Ids  # rows sorted by cluster, the best face of each first
    cluster_ids: Ids  # int64[c], ascending, without 0
    starts: Ids  # int64[c + 1]: where each begins in `by_cluster`


_EMPTY = _Held(0, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, FACE), {})


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
            return _read_vectors(reading, reading.number(DIMENSION), packed)

    # -- keeping up ------------------------------------------------------------------------------

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


def _held_of(reading: Reading, former: _Held) -> _Held:
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
    photo_ids, indices, rows = _parsed(keys, values)
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


def _made_for(reading: Reading, former: _Held | None = None, rows: Rows | None = None) -> dict[int, int]:
    """The clusters that pinned faces made. What is known of a cluster stays so."""
    if former is not None and rows is not None:
        new = np.setdiff1d(rows["cluster"], former.rows["cluster"]).tolist()
        pairs = reading.many("clusters", [id_bytes(number) for number in new])
    else:
        former, pairs = _EMPTY, list(reading.rows("clusters"))
    heads = ((key, np.frombuffer(value[: CLUSTER.itemsize], CLUSTER)[0]) for key, value in pairs)
    found = {int.from_bytes(key, "big"): int(head["made_for"]) for key, head in heads}
    return former.made_for | {number: person for number, person in found.items() if person}


def _visible(version: int, photo_ids: Ids, indices: Ids, rows: Rows, made_for: dict[int, int]) -> _Held:
    seen = rows["flags"] & (HIDDEN | GONE) == 0
    return _Held(version, photo_ids[seen], indices[seen], rows[seen], made_for)


def _owned(held: _Held, said: Constraints) -> _Owned:
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


def _overrule(persons: Ids, held: _Held, said: Constraints) -> None:
    """What was said of a face alone counts before whose cluster it is in."""
    for face in {*said.pins, *(face for face, _ in said.cannot)}:
        row = _row_of(held, face)
        if row is None:
            continue
        if face in said.pins:
            persons[row] = said.pinned(face)
        elif said.forbids(face, int(persons[row])):
            persons[row] = 0


def _row_of(held: _Held, face: FaceKey) -> int | None:
    first, last = np.searchsorted(held.photo_ids, [face[0], face[0] + 1]).tolist()
    row = first + int(np.searchsorted(held.indices[first:last], face[1]))
    return row if row < last and held.indices[row] == face[1] else None


def _rows_in(owned: _Owned, cluster_id: int) -> Ids:
    place = int(np.searchsorted(owned.cluster_ids, cluster_id))
    if place == len(owned.cluster_ids) or owned.cluster_ids[place] != cluster_id:
        return np.empty(0, np.int64)
    return owned.by_cluster[owned.starts[place] : owned.starts[place + 1]]


def _names(held: _Held, rows: Ids) -> tuple[Ids, Ids]:
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
