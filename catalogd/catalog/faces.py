"""The faces of a catalog and the clusters they are in, derived from the records.

Only the writer process keeps them up (FaceFollower); any process reads them (FaceIndex).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.clustering import Constraints, FaceKey
from catalogd.catalog.environment import Ids
from catalogd.catalog.store import Store
from catalogd.records import Box

__all__ = ["Clusters", "Constraints", "FaceFollower", "FaceIndex", "FaceKey", "FaceRow", "MergeSuggestion"]

MARK = "faces"  # in the store: the commit that the faces have reached


class FaceRow(NamedTuple):
    """One face that a photo shows. (photo_id, index) stays its name, also when a newer model finds it again."""

    photo_id: int
    index: int  # a number of its own in the photo, not necessarily its place in the record
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
    score: float  # cosine of their middles


class FaceIndex:
    """The faces and clusters as anyone reads them; safe from any thread. Empty where none were made yet.

    Held in memory (80 bytes a face) and brought up to date by each call.
    """

    def __init__(self, store: Store, constraints: Callable[[], Constraints] = Constraints) -> None:
        raise NotImplementedError

    def cluster_of(self, photo_id: int, index: int) -> int:
        """The cluster of a face; 0: none."""
        raise NotImplementedError

    def faces_in(self, photo_id: int) -> list[FaceRow]:
        """The faces of one photo, by index."""
        raise NotImplementedError

    def find(self, photo_id: int, box: Box) -> FaceRow | None:
        """The face of the photo whose box overlaps `box` most (IoU at least 0.5)."""
        raise NotImplementedError

    def faces_of(self, cluster_id: int) -> tuple[Ids, Ids]:
        """The faces in a cluster, the best first: photo_ids int64[n], indices int64[n]."""
        raise NotImplementedError

    def faces_of_person(self, person_id: int) -> tuple[Ids, Ids]:
        """The faces of a person (see FaceRow.person_id), the best first: photo_ids, indices int64[n]."""
        raise NotImplementedError

    def photos_of_person(self, person_id: int) -> Ids:
        """The photos that show a person, sorted: int64[n]."""
        raise NotImplementedError

    def photos_of_clusters(self, cluster_ids: Sequence[int] | Ids) -> Ids:
        """The photos that show a face of any of these clusters, sorted: int64[n]."""
        raise NotImplementedError

    def clusters(self) -> Clusters:
        """All clusters, largest first."""
        raise NotImplementedError

    def clusters_of_person(self, person_id: int) -> list[int]:
        """The clusters that a person owns."""
        raise NotImplementedError

    def unassigned(self) -> tuple[Ids, Ids]:
        """The faces in no cluster: photo_ids int64[n], indices int64[n]."""
        raise NotImplementedError

    def neighbours(self, cluster_id: int, limit: int = 10) -> list[MergeSuggestion]:
        """The clusters most like this one, best first."""
        raise NotImplementedError

    def suggest_merges(self, limit: int = 20) -> list[MergeSuggestion]:
        """Pairs of clusters that are probably one person's, surest first; never of two persons."""
        raise NotImplementedError

    def vectors(self, keys: Sequence[FaceKey]) -> npt.NDArray[np.float32]:
        """The embeddings of these faces, float32[n, D]; rows of zeros where a face is not there."""
        raise NotImplementedError


class FaceFollower:
    """Keeps the faces of a catalog up with its store. Only the writer process has one."""

    def __init__(self, store: Store, constraints: Callable[[], Constraints] = Constraints) -> None:
        raise NotImplementedError

    def follow(self, idle: bool = False, force: bool = False) -> None:
        """Take in the faces of what was committed, and what people said since.

        Raises CatalogFullError with the faces as they were.
        """
        raise NotImplementedError

    def rebuild(self) -> None:
        """Make all of it again from the records; clusters keep their ids and their faces."""
        raise NotImplementedError

    def recluster(self) -> None:
        """Cluster all faces anew; clusters keep their ids by the faces they share, people's words hold."""
        raise NotImplementedError
