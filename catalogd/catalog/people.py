"""The people of a catalog: who is who, whom a photo shows, which photos show somebody.

    clusters of faces (derived) ─┐
    names in files (derived) ────┼─▶ identity.identify ─▶ People
    what people said (user) ─────┘

Read by any process, also while a run writes; kept until one of the three changes. Nothing is written
here: who says something about people uses UserData.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from catalogd.catalog import seeds
from catalogd.catalog.clustering import Constraints
from catalogd.catalog.columns import Columns
from catalogd.catalog.environment import Ids, id_bytes
from catalogd.catalog.faces import FaceIndex, ShownFaces
from catalogd.catalog.identity import NO_FACES, FaceTable, Identities, identify
from catalogd.catalog.journal import Mark, Person, folded, plain
from catalogd.catalog.seeds import Seed, read_seeds
from catalogd.catalog.store import Store
from catalogd.catalog.user_data import NOTHING_SAID, Entry, UserData
from catalogd.catalog.vectors import union
from catalogd.errors import NotFoundError
from catalogd.records import Box, Record

MOST_ANCHORS = 200  # of one name given: enough to find a cluster again, and 20 kB in the journal
KEPT_S = 5.0  # reading 200,000 faces and working out who they are takes half a second
LISTED_FACES = 3  # an unnamed cluster with fewer is chance as often as a person
NEAR_NAMES = 3  # told for a name that nobody has

_Versions = tuple[int, int, FaceTable]


class UnknownPersonError(NotFoundError):
    """There is nobody of this name or number, or more than one."""


class NamedFace(NamedTuple):
    """A face of a photo, and whose it is."""

    face: int  # its index in the photo
    box: Box  # on the upright frame
    name: str | None


class Somebody(NamedTuple):
    """A person, or a cluster of faces that nobody named, with what the library shows of it."""

    number: int  # what people type: of the largest cluster; the person_id where there is none
    person: Person | None  # None: nobody has said anything of the cluster
    faces: Ids  # rows of the face table, best first: int64[n]
    clusters: tuple[int, ...]  # largest first
    photos: int  # with those whose file names the person beside no face

    @property
    def name(self) -> str:
        """The name, or how a person without one is spoken of."""
        return self.person.name if self.person and self.person.name else f"person {self.number}"

    @property
    def is_listed(self) -> bool:
        """Whether lists show somebody who was not asked for."""
        if self.person is not None and (self.person.hidden or self.person.ignored):
            return False
        return bool(self.person and self.person.name) or len(self.faces) >= LISTED_FACES


class FaceTables:
    """The faces of a catalog as a table, the same one until they change."""

    def __init__(self, index: FaceIndex) -> None:
        self._index = index
        self._shown: ShownFaces | None = None
        self._table = NO_FACES

    def __call__(self) -> FaceTable:
        shown = self._index.shown()
        if shown is not self._shown:
            rows = shown.rows
            boxes, clusters = rows["box"].astype(np.float32), rows["cluster"].astype(np.int64)
            qualities = rows["quality"].astype(np.float32)
            self._table = FaceTable(
                shown.photo_ids, shown.indices, boxes, clusters, qualities, shown.made_for
            )
            self._shown = shown
        return self._table


class People:
    """See above. Safe from any thread; everybody is nobody where no faces were found yet."""

    def __init__(self, store: Store, catalog_folder: Path, faces: Callable[[], FaceTable]) -> None:
        """`faces` returns the same object while no face and no cluster changed."""
        self._store = store
        self._folder = catalog_folder
        self._faces = faces
        self._user: UserData | None = None
        self._lock = threading.RLock()
        self._known: tuple[_Versions, Identities] | None = None
        self._kept_until_s = 0.0  # monotonic

    def close(self) -> None:
        """Let go of the user data. Twice is fine."""
        with self._lock:
            if self._user is not None:
                self._user.close()
            self._user = None

    # -- who is who ------------------------------------------------------------------------------

    def identities(self) -> Identities:
        """Who each face is, as of now."""
        with self._lock:
            table = self._faces()
            user = self._opened()
            with self._store.snapshot() as reading:
                names_version = reading.number(seeds.VERSION)
            version = user.version() if user else 0
            if self._known is not None and _is_same(self._known[0], (version, names_version, table)):
                return self._known[1]
            said = user.said() if user else NOTHING_SAID
            with self._store.snapshot() as reading:
                names_version, in_files = reading.number(seeds.VERSION), read_seeds(reading)
            found = identify(table, said, _with_others(in_files, user), self._copies)
            self._known = (said.version, names_version, table), found
            return found

    def constraints(self) -> Constraints:
        """What clustering may not go against. Another version: something of it changed.

        For the writer, whose faces change all the time: what nobody said anything new about is worked
        out anew every KEPT_S at most.
        """
        with self._lock:
            if self._known is not None and time.monotonic() < self._kept_until_s:
                user = self._opened()
                with self._store.snapshot() as reading:
                    versions = user.version() if user else 0, reading.number(seeds.VERSION)
                if versions == self._known[0][:2]:
                    return self._known[1].constraints
            found = self.identities().constraints
            self._kept_until_s = time.monotonic() + KEPT_S
            return found

    def persons(self) -> list[Person]:
        """Everybody who was named, or of whom something was said, by name."""
        found = self.identities().persons.values()
        return sorted(found, key=lambda person: (not person.name, folded(person.name), person.person_id))

    def names(self) -> dict[str, int]:
        """All names and aliases, folded (journal.folded) → person_id."""
        return dict(self.identities().ids_by_name)

    def find(self, name: str) -> Person | None:
        """Who has this name or alias; where nobody has, the only one whose name differs in accents alone."""
        identities = self.identities()
        exact = identities.ids_by_name.get(folded(name))
        if exact is not None:
            return identities.persons[exact]
        found = self._alike(name)
        return found[0] if len(found) == 1 else None

    def meant(self, words: str) -> list[Person]:
        """Whom `person:words` is about: who has that name, else all who have these words in one of theirs.

        `*` and `?` in a word stand for any letters, for one.
        """
        found = self.find(words)
        if found is not None:
            return [found]
        asked = [re.compile(fnmatch.translate(word)) for word in plain(words).split()]
        identities = self.identities()
        ids = {who for known, who in identities.ids_by_name.items() if asked and _has_all(known, asked)}
        return [identities.persons[person_id] for person_id in sorted(ids)]

    def _alike(self, name: str) -> list[Person]:
        """Those whose name or alias differs in case and accents alone."""
        identities = self.identities()
        ids = {who for known, who in identities.ids_by_name.items() if plain(known) == plain(name)}
        return [identities.persons[person_id] for person_id in sorted(ids)]

    def are_alike(self, name: str, other: str) -> bool:
        """Whether two names differ in accents alone."""
        return plain(name) == plain(other) and folded(name) != folded(other)

    def is_named_in_files(self, name: str) -> bool:
        """Whether any photo's file has this name of a person."""
        with self._store.snapshot() as reading:
            found = read_seeds(reading).values()
        return any(folded(seed.name) == folded(name) for given in found for seed in given)

    def who(self, said: str) -> Somebody:
        """Who is meant by a name, an alias, or the number of a person or a cluster.

        Raises UnknownPersonError, which tells the nearest names.
        """
        if said.isdecimal():
            return self._numbered(int(said))
        person = self.find(said)
        if person is None:
            raise UnknownPersonError(self._nobody(said))
        return self.somebody(person)

    def of_cluster(self, number: int) -> Somebody | None:
        """Whose a cluster is, or the cluster itself; None where it has no face that is nobody's."""
        identities = self.identities()
        person = identities.persons.get(identities.constraints.owner.get(number, 0))
        if person is not None:
            return self.somebody(person)
        rows = np.flatnonzero((identities.faces.clusters == number) & (identities.person_of == 0))
        return _cluster(identities, number, rows) if number and len(rows) else None

    def _numbered(self, number: int) -> Somebody:
        person = self.identities().persons.get(number)
        found = self.somebody(person) if person is not None else self.of_cluster(number)
        if found is None:
            raise UnknownPersonError(f"there is no person {number}; `catalogd people list --all` lists all")
        return found

    def _nobody(self, said: str) -> str:
        alike = [person.name for person in self._alike(said)]
        if alike:
            return f"{said} may be {' or '.join(alike)}: write the name with its accents"
        spelled = {
            folded(name): name for person in self.persons() for name in (person.name, *person.aliases) if name
        }
        near = difflib.get_close_matches(folded(said), spelled, NEAR_NAMES)
        if near:
            return f"nobody is called {said}; did you mean {' or '.join(spelled[name] for name in near)}?"
        return f"nobody is called {said}; `catalogd people list` shows who is known"

    def everybody(self) -> list[Somebody]:
        """All persons, and all clusters that nobody named, those with the most faces first."""
        identities = self.identities()
        clusters = identities.faces.clusters
        # What was refused to the owner of its cluster is nobody's until it left, and no cluster of its own.
        is_owned = np.isin(clusters, list(identities.constraints.owner))
        keys = np.where(identities.person_of > 0, identities.person_of, np.where(is_owned, 0, -clusters))
        order = np.argsort(keys, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
        groups = {int(keys[rows[0]]): rows for rows in parts if len(rows)}
        found = [_cluster(identities, -key, rows) for key, rows in groups.items() if key < 0]
        none = np.empty(0, np.int64)
        found += [
            self._person(identities, person, groups.get(person_id, none))
            for person_id, person in identities.persons.items()
        ]
        return sorted(found, key=lambda one: (-len(one.faces), -one.photos, one.name))

    def somebody(self, person: Person) -> Somebody:
        """A person with its faces."""
        identities = self.identities()
        rows = np.flatnonzero(identities.person_of == person.person_id)
        return self._person(identities, person, rows)

    def _person(self, identities: Identities, person: Person, rows: Ids) -> Somebody:
        owner = identities.constraints.owner
        clusters, counts = np.unique(identities.faces.clusters[rows], return_counts=True)
        sizes = dict(zip(clusters.tolist(), counts.tolist(), strict=True))
        owned = (cluster for cluster in sizes if owner.get(cluster) == person.person_id)
        largest = sorted(owned, key=lambda cluster: (-sizes[cluster], cluster))
        photos = np.union1d(identities.faces.photo_ids[rows], self._shown_only_named(person.person_id))
        number = largest[0] if largest else person.person_id
        return Somebody(number, person, _best_first(identities.faces, rows), tuple(largest), len(photos))

    # -- photos and faces ------------------------------------------------------------------------

    def photos_of(self, person_id: int) -> Ids:
        """The photos that show a person and are there, sorted: int64[n]."""
        identities = self.identities()
        person_id = identities.constraints.person(person_id)
        shown = identities.faces.photo_ids[identities.person_of == person_id]
        return np.union1d(shown, self._shown_only_named(person_id))

    def known_photos_of(self, person_id: int) -> Ids:
        """The same, missing photos too, without asking the store: for who has the columns."""
        identities = self.identities()
        person_id = identities.constraints.person(person_id)
        shown = identities.faces.photo_ids[identities.person_of == person_id]
        return union(np.concatenate([shown, identities.named_only.get(person_id, np.empty(0, np.int64))]))

    def _shown_only_named(self, person_id: int) -> Ids:
        """Photos whose file names the person beside no face that is known, and that are not missing."""
        named = self.identities().named_only.get(person_id, np.empty(0, np.int64))
        return named[self._store.has_photos(named)] if len(named) else named

    def faces_of(self, photo_id: int) -> list[NamedFace]:
        """The faces of one photo, by index, with the names of those who have one."""
        identities = self.identities()
        table, found = identities.faces, []
        for row in table.rows_in(photo_id):
            person = identities.persons.get(int(identities.person_of[row]))
            name = person.name or None if person else None
            found.append(NamedFace(int(table.indices[row]), box_of(table, row), name))
        return found

    def shown_on(self, record: Record) -> list[str]:
        """The names of those whom a photo shows, each once; hidden ones too.

        Whom its file names is among them, unless a person said otherwise.
        """
        identities = self.identities()
        beside = [identities.persons[who].name for who in identities.named_beside.get(record.photo_id, ())]
        if not self._is_taken_in(record):
            beside += [self._called(name) for name in record.said.people]
        faces = [face.name for face in self.faces_of(record.photo_id)]
        return list(dict.fromkeys(filter(None, [*faces, *beside])))

    def _is_taken_in(self, record: Record) -> bool:
        """Whether the names in the photo's file are among the seeds yet."""
        with self._store.snapshot() as reading:
            row = reading.get("seeds", id_bytes(record.photo_id)) if reading.has("seeds") else None
        named = {seed.name for seed in seeds.decode_seeds(row)} if row else set()
        return named >= set(record.said.people)

    def _called(self, name: str) -> str:
        """How somebody is called here whom a file calls so."""
        identities = self.identities()
        person_id = identities.ids_by_name.get(folded(name))
        return identities.persons[person_id].name if person_id else name

    def marks(self, rows: Iterable[int] | Ids) -> list[Mark]:
        """Faces, rows of the face table, so that they are found again anywhere."""
        table = self.identities().faces
        wanted = list(rows)
        records = self._store.records([int(table.photo_ids[row]) for row in wanted])
        return [
            Mark(
                record.photo_id,
                record.stat.size,
                record.content,
                box_of(table, row),
                int(table.clusters[row]),
            )
            for row, record in zip(wanted, records, strict=True)
            if record is not None
        ]

    def anchors_of(self, one: Somebody) -> list[Mark]:
        """The best faces of somebody, for it to be known by."""
        return self.marks(one.faces[:MOST_ANCHORS].tolist())

    def more_anchors(self) -> dict[int, list[Mark]]:
        """For each person the best faces of its clusters, which may have grown since they were named.

        By person before merges, so that whoever takes back a merge has the faces of each.
        """
        identities = self.identities()
        found: dict[int, list[Mark]] = {}
        for cluster, voted in identities.votes.items():
            owner = identities.constraints.owner.get(cluster)
            rows = np.flatnonzero((identities.faces.clusters == cluster) & (identities.person_of == owner))
            best = _best_first(identities.faces, rows)[:MOST_ANCHORS]
            found.setdefault(voted, []).extend(self.marks(best.tolist()))
        return found

    def journal(self) -> list[Entry]:
        """All that was said, the first action first."""
        user = self._opened()
        return user.journal() if user else []

    # -- what it reads ---------------------------------------------------------------------------

    def _opened(self) -> UserData | None:
        """The user data; None while nobody has said anything."""
        if self._user is None and (self._folder / "user" / "data.mdb").is_file():
            self._user = UserData(self._folder, write=os.access(self._folder / "user", os.W_OK))
        return self._user

    def _copies(self, contents: Iterable[tuple[int, bytes]]) -> dict[tuple[int, bytes], list[int]]:
        """The photos of each (size, content)."""
        return {(size, content): self._store.photos_with_content(size, content) for size, content in contents}


def _is_same(one: _Versions, other: _Versions) -> bool:
    return one[:2] == other[:2] and one[2] is other[2]


def _with_others(
    in_files: Mapping[int, Sequence[Seed]], user: UserData | None
) -> Mapping[int, Sequence[Seed]]:
    """Names in files, and those that other programs gave."""
    found = dict(in_files)
    for photo_id, given in user.seeds() if user else ():
        found[photo_id] = (*found.get(photo_id, ()), *given)
    return found


def _has_all(name: str, asked: Sequence[re.Pattern[str]]) -> bool:
    """Whether a name has a word for each of these patterns."""
    words = plain(name).split()
    return all(any(pattern.fullmatch(word) for word in words) for pattern in asked)


def _cluster(identities: Identities, cluster: int, rows: Ids) -> Somebody:
    """A cluster that is nobody's."""
    photos = len(np.unique(identities.faces.photo_ids[rows]))
    return Somebody(cluster, None, _best_first(identities.faces, rows), (cluster,), photos)


def _best_first(table: FaceTable, rows: Ids) -> Ids:
    return rows[np.argsort(-table.qualities[rows], kind="stable")]


def box_of(table: FaceTable, row: int) -> Box:
    """The box of one face."""
    x, y, width, height = table.boxes[row].tolist()
    return x, y, width, height


def taken_between(columns: Columns, photo_ids: Ids) -> tuple[float, float] | None:
    """When the first and the last of some photos were taken, seconds on the camera's clock."""
    rows = columns.rows_of(photo_ids)
    taken = columns.taken[rows[rows >= 0]]
    taken = taken[np.isfinite(taken)]
    return (float(taken.min()), float(taken.max())) if len(taken) else None
