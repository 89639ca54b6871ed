"""How the writer keeps faces and clusters up with the records, and with what people said of them.

A page of photos is worked on in memory and then stored, rows, clusters and mark in one transaction: a crash
leaves one or the other, complete, to go on from. The tables are drawn in `catalogd.catalog.faces`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

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
from catalogd.catalog.face_rows import (
    ALL_PHOTOS,
    CLUSTER,
    DESCRIBES,
    DIMENSION,
    FACE,
    FACES_BY,
    GONE,
    HIDDEN,
    KEY_BYTES,
    LAYOUT,
    MARK,
    NEXT_ID,
    SAID,
    SPACE,
    TABLES,
    WALKED,
    FaceOfPhoto,
    Rows,
    ShownFace,
    clusters_of_rows,
    decoded_photo,
    face_key,
    faces_at,
    is_walked,
    log_version,
    matched,
    packed_cluster,
    read_clusters,
    read_faces,
    rows_of,
    shown_in,
    single,
    vector_of,
)
from catalogd.catalog.store import ChangesTrimmedError, Reading, Store
from catalogd.errors import CatalogDamagedError

PAGE_PHOTOS = 1000  # taken in by one transaction: 0.1 s
BUSY_EVERY_S = 5.0  # a writer that always has something to do takes in a page so often
PIN_JOINS = 0.3  # a pinned face less like any cluster of its person begins another: a new look


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
                if is_walked(reading) and reading.mark(MARK) == reading.number("commit"):
                    return False
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
        for cluster in clusters_of_rows(reading, space, dimension, made_for).values():
            self.put(cluster)
        self.touch(self.clusters)
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
    return faces_at(reading, dimension, photo_ids[some], indices[some], rows[some])


class _Page:
    """One page of work: what changes in memory at once and in the store when it is written."""

    def __init__(self, reading: Reading, gallery: StoredGallery, said: Constraints) -> None:
        self._reading = reading
        self.gallery = gallery
        self._said = said
        self._rows: dict[int, dict[int, FaceOfPhoto]] = {}  # photo → index → row, as far as looked at
        self._changed: dict[FaceKey, FaceOfPhoto] = {}
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
            photo_id: decoded_photo(self._reading.get("photos", id_bytes(photo_id)))
            for photo_id in photo_ids.tolist()
        }
        found = {photo_id: shown_in(photo) for photo_id, photo in photos.items() if photo is not None}
        seen = {number for number, photo in photos.items() if photo and photo.missing_since is None}
        self._choose_space([shown for number, shown in found.items() if shown[1] and number in seen])
        new: list[FaceOfPhoto] = []
        for photo_id, photo in photos.items():
            if photo is None:
                self._drop(photo_id)
            else:
                hidden = HIDDEN if photo.missing_since is not None else 0
                new += self._take_photo(photo_id, *found[photo_id], hidden)
        self._place(new)

    def _choose_space(self, shown: list[tuple[int, tuple[ShownFace, ...]]]) -> None:
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

    def _take_photo(
        self, photo_id: int, space: int, faces: tuple[ShownFace, ...], hidden: int
    ) -> list[FaceOfPhoto]:
        """Compare what the record shows with the rows; returns the faces that are in no cluster."""
        rows = self._of(photo_id)
        known = matched(list(rows.values()), space, faces)
        lost = [row for row in rows.values() if row not in known.values()]
        new: list[FaceOfPhoto] = []
        for place, face in enumerate(faces):
            row = known.get(place)
            if row is None:
                row = FaceOfPhoto(photo_id, max(rows, default=-1) + 1, space, face)
                rows[row.index] = self._changed[row.key] = row
                new.append(row)
            elif row.flags & GONE or not row.is_face(space, face):
                self._change_face(row, space, face)
                new += [] if row.cluster else [row]
            self._hide(row, hidden)
        for row in lost:
            self._lose(row)
        return new

    def _hide(self, row: FaceOfPhoto, hidden: int) -> None:
        """A missing photo's faces are not seen, and stay in their clusters."""
        if row.flags & HIDDEN != hidden:
            row.flags ^= HIDDEN
            self._changed[row.key] = row

    def _change_face(self, row: FaceOfPhoto, space: int, face: ShownFace) -> None:
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

    def _lose(self, row: FaceOfPhoto) -> None:
        """The photo shows the face no more. Its row remembers the cluster, in case it does again."""
        if not row.flags & GONE:
            self._leave(row, keep_cluster=True)
            row.flags = (row.flags | GONE) & ~DESCRIBES
            self._changed[row.key] = row

    # -- clusters --------------------------------------------------------------------------------

    def _place(self, new: list[FaceOfPhoto]) -> None:
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
            np.stack([vector_of(row.half) for row in free]),
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

    def _enter(self, row: FaceOfPhoto, cluster_id: int, pinned: bool = False) -> None:
        limits = self.gallery.thresholds
        describes = self._is_here(row) and row.quality >= (limits.fair if pinned else limits.good)
        self.gallery.enter(cluster_id, self._vector(row), describes)
        row.cluster = cluster_id
        row.flags = row.flags & ~DESCRIBES | (DESCRIBES if describes else 0)
        self._changed[row.key] = row

    def _is_here(self, row: FaceOfPhoto) -> bool:
        """Whether the face can be compared with the clusters as they are described now."""
        return row.space == self.gallery.space and len(row.half) == 2 * self.gallery.dimension

    def _vector(self, row: FaceOfPhoto) -> Floats:
        return vector_of(row.half) if self._is_here(row) else np.zeros(self.gallery.dimension, np.float32)

    def _leave(self, row: FaceOfPhoto, keep_cluster: bool = False) -> None:
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

    def _pin(self, row: FaceOfPhoto, person: int) -> None:
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

    def _of(self, photo_id: int) -> dict[int, FaceOfPhoto]:
        if photo_id not in self._rows:
            self._rows[photo_id] = {row.index: row for row in rows_of(self._reading, photo_id)}
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
            log_version(reading, np.array(photos, np.int64))
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
                value = packed_cluster(cluster, self.gallery.space, made_at)
                reading.put("clusters", id_bytes(cluster_id), value)
        reading.set_number(NEXT_ID, self.gallery.next_id)


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
        self._faces = faces_at(reading, self._old.dimension, photo_ids, indices, rows[self._here])
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
        log_version(reading, None)


def _put_clusters(
    reading: Reading, clusters: dict[int, Cluster], space: int, made_at: dict[int, int]
) -> None:
    """Put these clusters in place of all."""
    commit = reading.number("commit")
    reading.clear("clusters")
    rows = [
        (id_bytes(number), packed_cluster(clusters[number], space, made_at.get(number, commit)))
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
        whole = len(key) == KEY_BYTES and len(value) == FACE.itemsize and half
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
    clusters = clusters_of_rows(reading, reading.number(SPACE), dimension, made_for)
    _put_clusters(reading, clusters, reading.number(SPACE), made_at)
    reading.set_number(NEXT_ID, max(reading.number(NEXT_ID), *clusters, 0) + 1)
    log_version(reading, None)


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
    expected = clusters_of_rows(reading, space, dimension, {})
    for number in sorted(expected.keys() ^ set(ids.tolist())):
        yield 0, f"cluster {number} is not the one that faces are in"
    for number, head, total in zip(ids.tolist(), heads, sums, strict=True):
        cluster = expected.get(number)
        if cluster is None:
            continue
        if int(head["members"]) != cluster.members:
            yield 0, f"cluster {number} counts {int(head['members'])} faces of {cluster.members}"
        stored = np.frombuffer(total, "<f4")
        near = len(stored) == dimension and np.allclose(
            stored, cluster.total, atol=1e-3 * (1 + cluster.summed)
        )
        if (int(head["summed"]), int(head["space"])) != (cluster.summed, space) or not near:
            yield 0, f"cluster {number} is not described by its faces"


def _check_photos(reading: Reading, pending: set[int]) -> Iterator[tuple[int, str]]:
    for key, value in reading.rows("photos"):
        photo_id = int.from_bytes(key, "big")
        photo = decoded_photo(value)
        if photo is None or photo_id in pending:
            continue
        space, faces = shown_in(photo)
        expected = sorted((single(face.box), face.embedding, space) for face in faces)
        rows = [row for row in rows_of(reading, photo_id) if not row.flags & GONE]
        if sorted((row.box, row.half, row.space) for row in rows) != expected:
            yield photo_id, "its faces are not those of the record"
