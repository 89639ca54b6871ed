"""Who each face is, from clusters, what people said, and names in files.

Worked out anew from these three whenever one of them changes, and written nowhere: so anything that
a person says holds at once. For each face, the first of these that speaks and was not refused:

    pin       a person said: this face is Anna
    anchor    the face was in Anna's cluster when that got its name
    seed      the photo's file names the face Anna
    cluster   the owner of the cluster: whose anchors, or else pins or seeds, are the most of it

docs/people.md has the rules in full.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from catalogd.catalog.clustering import Constraints, FaceKey
from catalogd.catalog.environment import Ids
from catalogd.catalog.journal import (
    MADE_IDS_END,
    SAME_FACE_IOU,
    Claim,
    Person,
    checked_name,
    folded,
    forgotten_key,
)
from catalogd.catalog.seeds import Seed
from catalogd.catalog.store import LARGEST_ID
from catalogd.catalog.user_data import Said
from catalogd.errors import UsageError
from catalogd.records import Box, encode

SEED_IOU = 0.3  # as in sync.regions: programs frame faces from chin to brow or with hair
# A cluster is somebody's by its anchors when so many of its faces are: one that strayed there from another
# cluster does not name 500 others. Where the cluster is the one that got the name, one is enough.
LEAST_SHARE, ENOUGH = 0.02, 20

Floats = npt.NDArray[np.float32]


class FaceTable(NamedTuple):
    """All faces that can be seen, by photo_id and index."""

    photo_ids: Ids  # int64[n], ascending
    indices: Ids  # int64[n]
    boxes: Floats  # float32[n, 4]
    clusters: Ids  # int64[n]; 0: in none yet
    qualities: Floats  # float32[n]
    made_for: Mapping[int, int] = {}  # cluster → whose pinned face began it

    def rows_in(self, photo_id: int) -> range:
        """The rows of one photo."""
        first, end = np.searchsorted(self.photo_ids, [photo_id, photo_id + 1])
        return range(int(first), int(end))

    def key(self, row: int) -> FaceKey:
        return int(self.photo_ids[row]), int(self.indices[row])


NO_FACES = FaceTable(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty((0, 4), np.float32),
    np.empty(0, np.int64),
    np.empty(0, np.float32),
)


@dataclasses.dataclass(frozen=True)
class Identities:
    """Who is who. `persons` are those that stand for themselves: by id, merged ones left out."""

    faces: FaceTable
    person_of: Ids  # int64[n] by face; 0: nobody
    persons: Mapping[int, Person]
    ids_by_name: Mapping[str, int]  # folded names and aliases
    named_only: Mapping[int, Ids]  # person → photos whose file names it beside no face: int64[m], ascending
    named_beside: Mapping[int, tuple[int, ...]]  # photo → persons, the same the other way round
    undecided: Mapping[int, tuple[int, ...]]  # cluster → those who have equally much of it
    votes: Mapping[int, int]  # cluster → the person, before merges, by whose anchors it is owned
    constraints: Constraints


NOBODY = Identities(NO_FACES, np.empty(0, np.int64), {}, {}, {}, {}, {}, {}, Constraints())


def renamed_photos(before: Identities, after: Identities) -> list[int]:
    """The photos that show a face by another name, or name somebody else beside all faces: ascending."""
    if before is after:
        return []
    one, other = _named_faces(before), _named_faces(after)
    changed = {photo_id for photo_id, _, _ in one ^ other}
    beside = before.named_beside.keys() | after.named_beside.keys()
    changed |= {
        photo_id for photo_id in beside if _names_beside(before, photo_id) != _names_beside(after, photo_id)
    }
    return sorted(changed)


def _named_faces(identities: Identities) -> set[tuple[int, int, str]]:
    """Photo, index and name of all faces that have one."""
    faces, names = identities.faces, {who: person.name for who, person in identities.persons.items()}
    rows = np.flatnonzero(identities.person_of)
    columns = (faces.photo_ids[rows], faces.indices[rows], identities.person_of[rows])
    triples = zip(*(column.tolist() for column in columns), strict=True)
    return {(photo_id, index, names[who]) for photo_id, index, who in triples if names[who]}


def _names_beside(identities: Identities, photo_id: int) -> list[str]:
    return [identities.persons[who].name for who in identities.named_beside.get(photo_id, ())]


def identify(
    faces: FaceTable,
    said: Said,
    seeds: Mapping[int, Sequence[Seed]],
    copies: Callable[[Iterable[tuple[int, bytes]]], Mapping[tuple[int, bytes], list[int]]],
) -> Identities:
    """Work out who is who. `copies`: the photos that have each of some (size, content)."""
    return _Identification(faces, said, seeds, copies).run()


def file_person_id(name: str) -> int:
    """The id of a person whom only files name: the same in every catalog."""
    return MADE_IDS_END + xxhash.xxh3_64_intdigest(folded(name).encode()) % MADE_IDS_END


def locate(faces: FaceTable, photo_ids: Ids, boxes: Floats, least: float) -> Ids:
    """The face of each photo that overlaps each box most, at least so much (IoU): rows int64[m], or -1."""
    first = np.searchsorted(faces.photo_ids, photo_ids, "left")
    counts = np.searchsorted(faces.photo_ids, photo_ids, "right") - first
    asked = np.repeat(np.arange(len(photo_ids)), counts)
    rows = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    shares = _overlaps(boxes[asked], faces.boxes[rows])
    order = np.lexsort((-rows, shares))  # of equal ones the first face
    order = order[shares[order] >= least]
    found = np.full(len(photo_ids), -1, np.int64)
    found[asked[order]] = rows[order]  # the last that is written is the best
    return found


def _overlaps(ones: Floats, others: Floats) -> Floats:
    """Share of their union that pairs of boxes have in common: float32[n]."""
    low = np.maximum(ones[:, :2], others[:, :2])
    high = np.minimum(ones[:, :2] + ones[:, 2:], others[:, :2] + others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(ones[:, 2:], axis=1) + np.prod(others[:, 2:], axis=1) - common
    shares: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def versioned(
    owner: Mapping[int, int],
    pins: Mapping[FaceKey, int],
    cannot: frozenset[tuple[FaceKey, int]],
    merged: Mapping[int, int],
) -> Constraints:
    """The constraints with a version that is the same for the same ones, in any process."""
    parts = [sorted(owner.items()), sorted(pins.items()), sorted(cannot), sorted(merged.items())]
    version = xxhash.xxh3_64_intdigest(encode(parts)) & LARGEST_ID
    return Constraints(owner, pins, cannot, merged, version if any(parts) else 0)


class _Identification:
    """One working out: rows of faces stand for faces."""

    def __init__(
        self,
        faces: FaceTable,
        said: Said,
        seeds: Mapping[int, Sequence[Seed]],
        copies: Callable[[Iterable[tuple[int, bytes]]], Mapping[tuple[int, bytes], list[int]]],
    ) -> None:
        self._faces = faces
        self._said = said
        self._seeds = seeds
        self._copies = copies
        self._now = {person_id: _who(said.persons, person_id) for person_id in said.persons}
        self._persons = {person_id: said.persons[person_id] for person_id in set(self._now.values()) - {0}}
        self._ids_by_name = {
            folded(name): person.person_id
            for person in self._persons.values()
            for name in (person.name, *person.aliases)
            if name
        }
        self._undecided: dict[int, tuple[int, ...]] = {}

    def run(self) -> Identities:
        refused_at = self._refusals()
        pins = self._newest(self._claimed(self._said.pins), refused_at)
        anchors = self._newest(self._claimed(self._said.anchors), refused_at)
        seeds, named_only = self._named_in_files(refused_at)
        words = {row: self._now[claim.person] for row, claim in (anchors | pins).items()}
        owner, votes = self._owners(pins, anchors, seeds)
        person_of = self._by_cluster(owner)
        for row, person_id in refused_at:
            if person_of[row] == person_id:
                person_of[row] = 0
        for row, person_id in (seeds | words).items():
            person_of[row] = person_id
        key = self._faces.key
        constraints = versioned(
            owner,
            {key(row): self._now[claim.person] for row, claim in pins.items()},
            frozenset((key(row), person_id) for row, person_id in refused_at),
            {person_id: now for person_id, now in self._now.items() if person_id != now},
        )
        return Identities(
            self._faces,
            person_of,
            self._persons,
            self._ids_by_name,
            {person_id: np.unique(np.array(found, np.int64)) for person_id, found in named_only.items()},
            _turned(named_only),
            self._undecided,
            votes,
            constraints,
        )

    # -- claims ----------------------------------------------------------------------------------

    def _refusals(self) -> dict[tuple[int, int], float]:
        """Face and person → when it was refused last."""
        found: dict[tuple[int, int], float] = {}
        for row, claim in self._claimed(self._said.refusals):
            pair = row, self._now[claim.person]
            found[pair] = max(claim.at, found.get(pair, 0.0))
        return found

    def _newest(
        self, claimed: Iterable[tuple[int, Claim]], refused_at: Mapping[tuple[int, int], float]
    ) -> dict[int, Claim]:
        """Face → the last claim on it that was not refused since."""
        found: dict[int, Claim] = {}
        for row, claim in sorted(claimed, key=lambda pair: pair[1].at):
            if refused_at.get((row, self._now[claim.person]), -1.0) < claim.at:
                found[row] = claim
        return found

    def _claimed(self, claims: Sequence[Claim]) -> list[tuple[int, Claim]]:
        """The claims of persons who are there, each with the faces that it speaks of."""
        claims = [claim for claim in claims if self._now.get(claim.person)]
        if not claims or not len(self._faces.photo_ids):
            return []
        ids = np.array([claim.mark.photo_id for claim in claims], np.int64)
        known = np.isin(ids, self._faces.photo_ids)
        elsewhere = [claim for claim, is_known in zip(claims, known, strict=True) if not is_known]
        copies = self._copies({(claim.mark.size, claim.mark.content) for claim in elsewhere})
        asked = [
            *(
                (claim.mark.photo_id, claim)
                for claim, is_known in zip(claims, known, strict=True)
                if is_known
            ),
            *(
                (photo_id, claim)
                for claim in elsewhere
                for photo_id in copies.get((claim.mark.size, claim.mark.content), ())
            ),
        ]
        rows = self._locate([(photo_id, claim.mark.box) for photo_id, claim in asked], SAME_FACE_IOU)
        return [(row, claim) for row, (_, claim) in zip(rows, asked, strict=True) if row >= 0]

    def _locate(self, places: Sequence[tuple[int, Box]], least: float) -> list[int]:
        ids = np.array([photo_id for photo_id, _ in places], np.int64)
        boxes = np.array([box for _, box in places], np.float32).reshape(-1, 4)
        return [int(row) for row in locate(self._faces, ids, boxes, least)]

    # -- names in files --------------------------------------------------------------------------

    def _named_in_files(
        self, refused_at: Mapping[tuple[int, int], float]
    ) -> tuple[dict[int, int], dict[int, list[int]]]:
        """Face → person, and person → photos that name it where no face is known to be meant."""
        boxed: list[tuple[int, Box, int]] = []
        alone: list[tuple[int, int, bool]] = []
        for photo_id, seeds in self._seeds.items():
            for seed in seeds:
                person_id = self._person_in_file(seed.name)
                if person_id and seed.box is not None:
                    boxed.append((photo_id, seed.box, person_id))
                elif person_id:
                    alone.append((photo_id, person_id, len(seeds) == 1))
        rows = self._locate([(photo_id, box) for photo_id, box, _ in boxed], SEED_IOU)
        pairs = [
            (photo_id, row, person_id) for row, (photo_id, _, person_id) in zip(rows, boxed, strict=True)
        ]
        for photo_id, person_id, is_only in alone:
            rows_there = self._faces.rows_in(photo_id)
            row = rows_there[0] if is_only and len(rows_there) == 1 else -1
            pairs.append((photo_id, row, person_id))
        seeds_of: dict[int, int] = {}
        named_only: dict[int, list[int]] = {}
        for photo_id, row, person_id in pairs:
            if row < 0:
                named_only.setdefault(person_id, []).append(photo_id)
            elif (row, person_id) not in refused_at:
                seeds_of[row] = person_id
        return seeds_of, named_only

    def _person_in_file(self, name: str) -> int:
        """Who is meant by a name in a file; 0 for a name that is to be forgotten, or can be none."""
        found = self._ids_by_name.get(folded(name))
        if found is not None:
            return found
        try:
            shown = checked_name(name)
        except UsageError:
            return 0
        if folded(shown) in self._ids_by_name:
            return self._ids_by_name[folded(shown)]
        if forgotten_key(shown) in self._said.forgotten:
            return 0
        person_id = file_person_id(shown)
        self._persons[person_id] = Person(person_id, shown, origin="file")
        self._ids_by_name[folded(shown)] = person_id
        return person_id

    # -- clusters --------------------------------------------------------------------------------

    def _owners(
        self, pins: Mapping[int, Claim], anchors: Mapping[int, Claim], seeds: Mapping[int, int]
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Cluster → owner, and cluster → the person, before merges, most of whose anchors are in it."""
        sizes = dict(zip(*map(list, np.unique(self._faces.clusters, return_counts=True)), strict=True))
        owner = self._owned_by_seeds(pins, anchors, seeds, sizes)
        owner |= self._owned_by_pins(pins, sizes) | self._begun_by_pins(pins)
        by_anchors, votes = self._owned_by_anchors(pins, anchors, sizes)
        return {cluster: who for cluster, who in (owner | by_anchors).items() if who}, votes

    def _owned_by_anchors(
        self, pins: Mapping[int, Claim], anchors: Mapping[int, Claim], sizes: Mapping[int, int]
    ) -> tuple[dict[int, int], dict[int, int]]:
        votes: dict[int, list[int]] = collections.defaultdict(list)
        raw: dict[int, list[int]] = collections.defaultdict(list)
        at_home = set()
        for row, claim in anchors.items():
            who, cluster = self._now[claim.person], int(self._faces.clusters[row])
            if cluster and (row not in pins or self._now[pins[row].person] == who):
                votes[cluster].append(who)
                raw[cluster].append(claim.person)
                if claim.mark.cluster_id == cluster:
                    at_home.add((cluster, who))
        owner = {}
        for cluster, voters in votes.items():
            who, count = self._majority(cluster, voters)
            enough = count >= _enough(sizes[cluster]) or (cluster, who) in at_home
            owner[cluster] = who if enough else 0
        most = {cluster: collections.Counter(voters).most_common(1)[0][0] for cluster, voters in raw.items()}
        return owner, {cluster: most[cluster] for cluster, who in owner.items() if who}

    def _owned_by_pins(self, pins: Mapping[int, Claim], sizes: Mapping[int, int]) -> dict[int, int]:
        """Clusters more than half of whose faces are pinned to one person."""
        counts = collections.Counter(
            (int(self._faces.clusters[row]), self._now[claim.person]) for row, claim in pins.items()
        )
        return {cluster: who for (cluster, who), n in counts.items() if cluster and 2 * n > sizes[cluster]}

    def _begun_by_pins(self, pins: Mapping[int, Claim]) -> dict[int, int]:
        """Clusters that a pinned face began, where one is still in it."""
        there = {(int(self._faces.clusters[row]), self._now[claim.person]) for row, claim in pins.items()}
        begun = ((cluster, self._now.get(who, 0)) for cluster, who in self._faces.made_for.items())
        return {cluster: who for cluster, who in begun if (cluster, who) in there}

    def _owned_by_seeds(
        self,
        pins: Mapping[int, Claim],
        anchors: Mapping[int, Claim],
        seeds: Mapping[int, int],
        sizes: Mapping[int, int],
    ) -> dict[int, int]:
        votes: dict[int, list[int]] = collections.defaultdict(list)
        for row, who in seeds.items():
            cluster = int(self._faces.clusters[row])
            if cluster and row not in pins and row not in anchors:
                votes[cluster].append(who)
        owner = {}
        for cluster, voters in votes.items():
            who, count = self._majority(cluster, voters)
            owner[cluster] = who if count >= _enough(sizes[cluster]) else 0
        return owner

    def _majority(self, cluster: int, voters: Sequence[int]) -> tuple[int, int]:
        """Who has more than half of the votes, and how many; nobody (0) otherwise."""
        counts = collections.Counter(voters).most_common()
        who, count = counts[0]
        if 2 * count > len(voters):
            self._undecided.pop(cluster, None)
            return who, count
        self._undecided[cluster] = tuple(person_id for person_id, _ in counts)
        return 0, 0

    def _by_cluster(self, owner: Mapping[int, int]) -> Ids:
        """The owner of the cluster of each face: int64[n]."""
        clusters, places = np.unique(self._faces.clusters, return_inverse=True)
        return np.array([owner.get(int(cluster), 0) for cluster in clusters], np.int64)[places.ravel()]


def _turned(photos_by_person: Mapping[int, Sequence[int]]) -> dict[int, tuple[int, ...]]:
    """Photo → persons, from person → photos."""
    found: dict[int, tuple[int, ...]] = {}
    for person_id, photo_ids in photos_by_person.items():
        for photo_id in photo_ids:
            found[photo_id] = (*found.get(photo_id, ()), person_id)
    return found


def _enough(size: int) -> float:
    return max(1.0, min(ENOUGH, LEAST_SHARE * size))


def _who(persons: Mapping[int, Person], person_id: int) -> int:
    """Who a person is after all merges; 0 when that one is not there."""
    seen: set[int] = set()
    while person_id in persons and persons[person_id].into and person_id not in seen:
        seen.add(person_id)
        person_id = persons[person_id].into
    return person_id if person_id in persons and person_id not in seen else 0
