"""Which faces are one person's: clusters that grow as faces come, and a clustering of all anew.

Pure arithmetic on embeddings (unit length): no catalog, no disk. docs/faces.md tells the method, its
thresholds and what they were measured on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

FaceKey = tuple[int, int]  # photo_id, index of the face in the photo


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
