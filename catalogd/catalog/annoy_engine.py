"""Annoy as the engine of a generation: trees over the shadows of its vectors. In every install.

Note [shadows]. Annoy alone loses neighbours in high dimensions, so it works on a shadow of the
vectors: centred, projected on the principal axes that hold `KEPT_VARIANCE`, plus one coordinate
with the length of what the projection drops. For unit vectors the squared distance of
shadows then ranks by the dot product inside the kept axes (Bachrach et al. 2014, "Speeding up the
Xbox recommender system", reduce inner products to distances this way). A query that lies off the
photos, as texts do, casts a short shadow near the centre, where every split of a tree is a
toss-up; it is stretched to the mean length of the photos' shadows. bench/bench_vectors.py has the
recall and the cost.

Note [audit]. For some queries, texts against a space whose photos lie in few bundles, the trees miss
half of the neighbours and nothing in their answer shows it. So each answer is held against a sample
of the vectors: those in it that are as near as the best third of the candidates should be among them.
Where more than `MISSED` of them are not, all vectors are looked at. Photo ids are hashes, so that the first
rows are as good a sample as any, and lie side by side.
"""

from __future__ import annotations

from pathlib import Path

import annoy
import msgspec
import numpy as np

from catalogd.catalog.manifest import VECTORS_FILE, Manifest, require_space
from catalogd.catalog.vectors import Bits, Floats, Mask, Rows, dot, float32_of

NAME = "annoy"
TREES_FILE, PROJECTION_FILE = "trees.annoy", "projection.npy"
FILES = (TREES_FILE, PROJECTION_FILE)

# Chosen by bench/bench_vectors.py at 500,000 x 384.
TREES = 20
INSPECTED = 10_000  # Annoy's search_k: items whose shadow is compared with the query's
INSPECTED_PER_HIT = 30  # when more than a few hundred hits are asked for
CANDIDATES = 600  # best shadows that are ranked again by their stored vectors
AUDIT_ROWS = 20_000  # of an audit: 0.8 ms, eight of the best 200 of 500,000
MISSED = 0.05  # share of the near ones in the audit that may be missing
KEPT_VARIANCE = 0.87  # share of the variance that the principal axes keep
FEWEST_AXES = 64  # fewer gain no speed
SAMPLE_ROWS = 10_000  # the principal axes are computed from: 26 a dimension at 384
SEED = 20_240  # of Annoy's splits: the same vectors give the same generation
INSPECTION_VALUES = 2_500  # numbers of an exact scan that cost what one inspection does, the audit included

CHUNK_ROWS = 5_000  # rows whose shadows are cast at a time: 8 MB at 384 dimensions
NODE_BYTES_PER_TREE = 12  # of an item in one tree of the file, measured: 10 to 11.5
GROWTH = 1.4  # Annoy enlarges its file by 1.3 and cuts it at the end


def is_installed() -> bool:
    """It is a dependency of catalogd."""
    return True


def build(folder: Path, vectors: Bits, manifest: Manifest) -> Manifest:
    """Write `FILES` of `vectors: int16[N, D]`; returns the manifest with what to know of them.

    Raises CatalogFullError. One thread: the writer and the readers need the other cores.
    """
    projection, shadow_length = _principal_axes(vectors)
    np.save(folder / PROJECTION_FILE, projection)
    axes = len(projection) - 1
    require_space(folder, int(GROWTH * len(vectors) * (4 * axes + 16 + NODE_BYTES_PER_TREE * TREES)))
    trees = annoy.AnnoyIndex(axes + 1, "euclidean")
    trees.set_seed(SEED)
    trees.on_disk_build(str(folder / TREES_FILE))
    for start in range(0, len(vectors), CHUNK_ROWS):
        shadows = _shadows(vectors[start : start + CHUNK_ROWS], projection)
        for row, shadow in enumerate(shadows.tolist(), start):
            trees.add_item(row, shadow)
    trees.build(TREES, n_jobs=1)
    trees.unload()
    return msgspec.structs.replace(
        manifest,
        format=1,
        engine=NAME,
        axes=axes,
        shadow_length=shadow_length,
        metric="euclidean",
        trees=TREES,
        seed=SEED,
    )


def load(folder: Path, manifest: Manifest) -> Trees:
    """Map what `build` wrote; it must have been verified."""
    vectors = np.memmap(folder / VECTORS_FILE, "<i2", "r", shape=(manifest.count, manifest.dimension))
    return Trees(folder, manifest, vectors)


class Trees:
    """The trees of one generation, mapped."""

    def __init__(self, folder: Path, manifest: Manifest, vectors: Bits) -> None:
        self._manifest = manifest
        self._vectors = vectors
        self._mean, self._axes = _split_projection(np.load(folder / PROJECTION_FILE, allow_pickle=False))
        self._trees = annoy.AnnoyIndex(manifest.axes + 1, "euclidean")
        self._trees.load(str(folder / TREES_FILE))

    def close(self) -> None:
        """Unmap; nothing can be searched afterwards."""
        self._trees.unload()

    def candidates(self, query: Floats, k: int, open_rows: Mask, count: int) -> Rows | None:
        """Rows with the k best of the `count` ones that are open; None: look at all of these instead.

        Annoy knows no masks: it is asked for as many more as rows are closed. When that would cost
        more than looking at all open rows, when the open ones lie away from the query, or when the
        answer does not stand the audit, it is None.
        """
        widening = len(open_rows) / count
        inspected = max(INSPECTED, INSPECTED_PER_HIT * k) * widening
        if inspected * INSPECTION_VALUES > count * self._manifest.dimension:
            return None
        wanted = max(CANDIDATES, 4 * k)
        found = self._nearest(query, int(wanted * widening), int(inspected))
        found = found[open_rows[found]]
        return found if 4 * len(found) > wanted and self._stands_audit(query, found, open_rows) else None

    def _stands_audit(self, query: Floats, found: Rows, open_rows: Mask) -> bool:
        """Note [audit]."""
        cosines = dot(self._vectors, query, found)
        best_third = len(found) // 3
        least = np.partition(cosines, -best_third)[-best_third]
        near = np.flatnonzero((dot(self._vectors[:AUDIT_ROWS], query) >= least) & open_rows[:AUDIT_ROWS])
        missed = np.count_nonzero(~np.isin(near, found))
        return int(missed) <= MISSED * len(near)

    def _nearest(self, query: Floats, count: int, inspected: int) -> Rows:
        """Note [shadows]."""
        shadow = self._axes @ (query - self._mean)
        length = float(np.linalg.norm(shadow))
        if 0.0 < length < self._manifest.shadow_length:
            shadow *= self._manifest.shadow_length / length
        rows = self._trees.get_nns_by_vector([*shadow.tolist(), 0.0], count, inspected)
        return np.array(rows, np.int64)


def _principal_axes(vectors: Bits) -> tuple[Floats, float]:
    """Mean and principal axes as float32[1 + A, D], and the mean length of a shadow on them."""
    count = len(vectors)
    sample = float32_of(vectors[np.linspace(0, count - 1, min(count, SAMPLE_ROWS)).astype(np.int64)])
    mean = sample.mean(axis=0)
    sample -= mean
    variances, columns = np.linalg.eigh(sample.T @ sample)
    kept = np.cumsum(variances[::-1]) < KEPT_VARIANCE * variances.sum()
    axes = min(max(int(kept.sum()) + 1, FEWEST_AXES), len(mean))
    projection = np.concatenate([mean[None], columns.T[::-1][:axes]]).astype(np.float32)
    return projection, float(np.linalg.norm(sample @ projection[1:].T, axis=1).mean())


def _shadows(vectors: Bits, projection: Floats) -> Floats:
    """What Annoy holds: float32[n, A + 1]. Note [shadows]."""
    mean, axes = _split_projection(projection)
    centred = float32_of(vectors) - mean
    shadow = centred @ axes.T
    dropped = np.square(centred).sum(axis=1) - np.square(shadow).sum(axis=1)
    return np.concatenate([shadow, np.sqrt(np.maximum(dropped, 0.0))[:, None]], axis=1)


def _split_projection(projection: Floats) -> tuple[Floats, Floats]:
    """float32[1 + A, D] → mean[D], axes[A, D]."""
    return projection[0], projection[1:]
