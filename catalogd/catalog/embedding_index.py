"""The embedding index: which photos lie nearest to a query vector.

One `EmbeddingIndex` serves one embedding space of one catalog. It is derived data: everything here
can be deleted and is built again from the store alone::

    store (LMDB, the truth)
      │  all up to commit c ──seal_generation()──▶ gen-<c>/   immutable: Annoy, vectors, manifest
      │  what changed after c ─────refresh()─────▶ tail       in memory, searched exactly
      └──▶ search = candidates of the generation, without photos that changed after c,
                    ranked again by their stored vectors  +  the tail

A reader (query, web, writer) holds an `EmbeddingIndex`; a generation is built by a process of its
own, which the writer starts. A generation appears by one rename and is never written again, so a
reader that has an older one mapped keeps it until its next `refresh`. docs/formats.md has the files.

Note [candidates]. Annoy alone loses neighbours in high dimensions, so it works on a shadow of the
vectors: centred, projected on the principal axes that hold `KEPT_VARIANCE`, plus one coordinate
with the length of what the projection drops. For unit vectors the squared distance of
shadows then ranks by the dot product inside the kept axes (Bachrach et al. 2014, "Speeding up the
Xbox recommender system", reduce inner products to distances this way). A query that lies off the
photos, as texts do, casts a short shadow near the centre, where every split of a tree is a
toss-up; it is stretched to the mean length of the photos' shadows. bench/bench_vectors.py has the
recall and the cost.

Note [verified before mapped]. Annoy trusts its file: a truncated or flipped one loads, and the
process dies at the first query. So no file is mapped before its size and SHA-256 are those of
the manifest. The hash of half a gigabyte takes longer than a search, so it is computed once per
file identity: a stamp beside the manifest keeps size, mtime and inode of the files that were
hashed. `check` always hashes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import annoy
import msgspec
import numpy as np
import numpy.typing as npt

from catalogd.catalog.store import ChangesTrimmedError, Store, embeddings_mark, space_key
from catalogd.errors import CatalogDamagedError, CatalogFullError
from catalogd.settings import Settings

log = logging.getLogger(__name__)

Ids = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Bits = npt.NDArray[np.int16]  # the bits of float16, as they are stored
Mask = npt.NDArray[np.bool_]

FORMAT = 1  # of a generation; docs/formats.md

# Chosen by bench/bench_vectors.py at 500,000 x 384.
TREES = 20
INSPECTED = 10_000  # Annoy's search_k: items whose shadow is compared with the query's
INSPECTED_PER_HIT = 30  # when more than a few hundred hits are asked for
CANDIDATES = 300  # best shadows that are ranked again by their stored vectors
KEPT_VARIANCE = 0.87  # share of the variance that the principal axes keep
FEWEST_AXES = 64  # fewer gain no speed
SAMPLE_ROWS = 10_000  # the principal axes are computed from: 26 a dimension at 384
SEED = 20_240  # of Annoy's splits: the same vectors give the same generation

CHUNK_ROWS = 1024  # of an exact scan: the converted chunk (1.5 MB at 384 dimensions) stays in cache
READ_ROWS = 5_000  # embeddings a read transaction of the store: keeps them short
HASH_BYTES = 1 << 20
TAIL_BUSY = 20_000  # embeddings: less than a second's worth of commits is never sealed while busy
TAIL_IDLE = 5_000  # embeddings: 1 ms of exact search
NODE_BYTES_PER_TREE = 12  # of an item in one tree of the Annoy file, measured: 10 to 11.5
GROWTH = 1.4  # Annoy enlarges its file by 1.3 and cuts it at the end
MOST_DIFFERENCES = 20  # that `check` spells out
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

PREFIX, BUILDING = "gen-", ".building-"
MANIFEST, STAMP, LOCK = "manifest.json", "verified.json", "seal.lock"
ANNOY_FILE, IDS_FILE, VECTORS_FILE, PROJECTION_FILE = (
    "trees.annoy",
    "ids.npy",
    "vectors.f16",
    "projection.npy",
)
FILES = (ANNOY_FILE, IDS_FILE, VECTORS_FILE, PROJECTION_FILE)


class EmbeddingStore(Protocol):
    """What the index needs of the catalog's `Store`."""

    def embeddings(self, space: str, photo_ids: Ids) -> tuple[Ids, Halves]: ...
    def iter_embeddings(self, space: str, after_id: int, limit: int) -> tuple[Ids, Halves]: ...
    def changes_since(self, commit: int) -> tuple[npt.NDArray[np.int64], Ids]: ...
    def commit_number(self) -> int: ...
    def mark(self, name: str) -> int | None: ...
    def set_mark(self, name: str, value: int | None) -> None: ...
    def spaces(self) -> dict[str, int]: ...
    def has_photos(self, photo_ids: Ids) -> Mask: ...


class FileProof(msgspec.Struct, frozen=True):
    """What a file of a generation must be."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a generation says of itself; written last."""

    format: int
    space: str
    commit: int  # changes up to this commit are in it
    count: int  # vectors
    dimension: int
    axes: int  # principal axes; Annoy holds one coordinate more
    shadow_length: float  # mean over the photos
    metric: Literal["euclidean"]
    trees: int
    seed: int
    files: dict[str, FileProof]


class SignedManifest(msgspec.Struct, frozen=True):
    """A manifest with its own hash: a flipped bit in it would misread sound files."""

    manifest: Manifest
    sha256: str


def space_folder(catalog_folder: Path, space: str) -> Path:
    """Where the generations of `space` are kept."""
    return catalog_folder / "embeddings" / space_key(space).hex()


# ---- exact arithmetic on float16 bits


def _widen(halves: Bits) -> Floats:
    """float16 bits → float32 times 2⁻¹¹², by shifts: five times faster than numpy's own cast.

    Sign extension, then a shift that puts exponent and mantissa where float32 has them; the
    exponent bias differs by 112, which `_scale` repairs on the small side of a product.
    """
    wide = halves.astype(np.int32)
    wide <<= 13
    wide &= np.int32(-0x70000001)
    return wide.view(np.float32)


def _scale(vector: Floats) -> Floats:
    return vector * np.float32(2.0**112)


def _float32(halves: Bits) -> Floats:
    """float16 bits as float32 of the same value."""
    return _widen(halves) * np.float32(2.0**112)


def _dot(vectors: Bits, query: Floats, rows: Rows | None = None) -> Floats:
    """Dot products of `query` with all vectors, or with those of `rows`; memory is one chunk's."""
    count = len(vectors) if rows is None else len(rows)
    scores = np.empty(count, np.float32)
    scaled = _scale(query)
    for start in range(0, count, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, count)
        chunk = vectors[start:stop] if rows is None else vectors[rows[start:stop]]
        np.dot(_widen(chunk), scaled, out=scores[start:stop])
    return scores


def _finite(vectors: Bits) -> Mask:
    """Which rows hold no infinity and no NaN: a model that overflowed must not win every search."""
    finite: Mask = ((vectors & 0x7C00) != 0x7C00).all(axis=1)
    return finite


class Scored(NamedTuple):
    """Photos with their cosines, in no order."""

    ids: Ids
    scores: Floats


def _best(scored: Scored, k: int) -> Scored:
    """The k best, best first; equal cosines by photo id."""
    ids, scores = scored
    if len(ids) > k:
        threshold = np.partition(scores, len(ids) - k)[len(ids) - k]
        kept = np.flatnonzero(scores >= threshold)
        ids, scores = ids[kept], scores[kept]
    order = np.lexsort((ids, -scores))[:k]
    return Scored(ids[order], scores[order])


def _rows_of(ids: Ids, wanted: Ids) -> Rows:
    """Rows of the sorted `ids` that hold one of the sorted `wanted`."""
    rows = np.searchsorted(ids, wanted)
    rows = rows[rows < len(ids)]
    found: Rows = rows[ids[rows] == wanted[: len(rows)]]
    return found


def _among(values: Ids, wanted: Ids) -> Mask:
    """Which of `values` are in the sorted `wanted`; numpy's isin sorts both, 100 ms at 250,000."""
    found = np.zeros(len(values), np.bool_)
    if len(wanted):
        places = np.searchsorted(wanted, values)
        places[places == len(wanted)] = 0
        found = wanted[places] == values
    return found


# ---- a generation


class Generation:
    """One immutable build of the index, mapped; open it with `live_generation`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.ids: Ids = np.load(folder / IDS_FILE, allow_pickle=False)
        shape = (manifest.count, manifest.dimension)
        self.vectors: Bits = np.memmap(folder / VECTORS_FILE, "<i2", "r", shape=shape)
        self._mean, self._axes = _split_projection(np.load(folder / PROJECTION_FILE, allow_pickle=False))
        self._trees = annoy.AnnoyIndex(manifest.axes + 1, manifest.metric)
        self._trees.load(str(folder / ANNOY_FILE))

    def close(self) -> None:
        """Unmap the trees; the vectors follow when nobody refers to them."""
        self._trees.unload()

    def search(self, query: Floats, k: int, stale: Mask, allowed: Ids | None) -> Scored:
        """About the k best rows that are not `stale: bool[N]`, in no order, with exact cosines.

        Scans exactly what may be found when that inspects fewer vectors than Annoy would have to.
        """
        open_rows = ~stale
        if allowed is not None:
            open_rows = _only(open_rows, _rows_of(self.ids, allowed))
        count = int(np.count_nonzero(open_rows))
        inspected = max(INSPECTED, INSPECTED_PER_HIT * k)
        if count**2 > inspected * len(self.ids):
            widening = len(self.ids) / count
            wanted = max(CANDIDATES, 4 * k)
            found = self._candidates(query, int(wanted * widening), int(inspected * widening))
            found = found[open_rows[found]]
            if 4 * len(found) > wanted:
                return self._ranked(query, found)  # else the open rows lie away from the query
        return self._ranked(query, np.flatnonzero(open_rows))

    def _candidates(self, query: Floats, count: int, inspected: int) -> Rows:
        """Note [candidates]."""
        shadow = self._axes @ (query - self._mean)
        length = float(np.linalg.norm(shadow))
        if 0.0 < length < self.manifest.shadow_length:
            shadow *= self.manifest.shadow_length / length
        rows = self._trees.get_nns_by_vector([*shadow.tolist(), 0.0], count, inspected)
        return np.array(rows, np.int64)

    def _ranked(self, query: Floats, rows: Rows) -> Scored:
        return Scored(self.ids[rows], _dot(self.vectors, query, rows))


def _only(mask: Mask, rows: Rows) -> Mask:
    """`mask` at `rows`, False elsewhere."""
    narrowed = np.zeros_like(mask)
    narrowed[rows] = mask[rows]
    return narrowed


def _split_projection(projection: Floats) -> tuple[Floats, Floats]:
    """float32[1 + A, D] → mean[D], axes[A, D]."""
    return projection[0], projection[1:]


def live_generation(folder: Path) -> Generation | None:
    """The newest generation in `folder` that proves sound, mapped; None when there is none."""
    for name in _generation_names(folder):
        try:
            return _open_generation(folder / name)
        except CatalogDamagedError as error:
            log.warning("a generation of the embedding index is not used: %s", error)
        except FileNotFoundError:
            continue  # replaced by a newer one meanwhile
    return None


def _generation_names(folder: Path) -> list[str]:
    """Newest first."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(PREFIX)]
    except FileNotFoundError:
        return []
    return sorted(names, reverse=True)


def _open_generation(folder: Path) -> Generation:
    """Raises CatalogDamagedError when the files are not those of the manifest."""
    manifest = _read_manifest(folder)
    if _read_stamp(folder) != _identity(folder):
        _verify_files(folder, manifest)
        with contextlib.suppress(OSError):  # a read-only catalog is hashed at every open
            _write_stamp(folder)
    return Generation(folder, manifest)


# ---- Note [verified before mapped]


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        signed = msgspec.json.decode(path.read_bytes(), type=SignedManifest)
    except FileNotFoundError:
        if folder.is_dir():
            raise CatalogDamagedError(f"there is no manifest: {path}") from None
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CatalogDamagedError(f"the manifest cannot be read ({error}): {path}") from None
    manifest = signed.manifest
    if manifest.format != FORMAT:
        raise CatalogDamagedError(f"format {manifest.format} is not this version's {FORMAT}: {path}")
    if signed.sha256 != _manifest_hash(manifest) or set(manifest.files) != set(FILES):
        raise CatalogDamagedError(f"the manifest does not have the hash it was written with: {path}")
    return manifest


def _manifest_hash(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()


def _verify_files(folder: Path, manifest: Manifest) -> None:
    for name, proof in manifest.files.items():
        path = folder / name
        try:
            found = _proof(path)
        except FileNotFoundError:
            raise CatalogDamagedError(f"a file is missing: {path}") from None
        except OSError as error:
            raise CatalogDamagedError(f"a file cannot be read ({error.strerror}): {path}") from None
        if found.bytes != proof.bytes:
            raise CatalogDamagedError(f"{found.bytes} bytes instead of {proof.bytes}: {path}")
        if found != proof:
            raise CatalogDamagedError(f"the content is not what was written: {path}")


def _proof(path: Path) -> FileProof:
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(HASH_BYTES):
            digest.update(block)
            size += len(block)
    return FileProof(size, digest.hexdigest())


def _identity(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Size, mtime_ns and inode of each file, the manifest too; empty when one is missing."""
    try:
        stats = {name: os.stat(folder / name) for name in (*FILES, MANIFEST)}
    except FileNotFoundError:
        return {}
    return {name: (stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats.items()}


def _read_stamp(folder: Path) -> dict[str, tuple[int, int, int]] | None:
    try:
        return msgspec.json.decode((folder / STAMP).read_bytes(), type=dict[str, tuple[int, int, int]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _write_stamp(folder: Path) -> None:
    aside = folder / f"{STAMP}.{os.getpid()}"
    aside.write_bytes(msgspec.json.encode(_identity(folder)))
    os.replace(aside, folder / STAMP)


# ---- building a generation


def seal_generation(catalog_folder: Path, space: str, settings: Settings) -> None:
    """Build the generation of `space` up to the store's present commit, and make it the live one.

    Runs in a short-lived process of its own, which may be killed at any point: until the rename
    the former generation is the live one, and what is left behind is swept by the next call.
    Returns at once when another process is at it. Raises CatalogFullError when the disk is full;
    the former generation is untouched then.
    """
    with Store(catalog_folder) as store:
        build_generation(space_folder(catalog_folder, space), store, space)


def build_generation(folder: Path, store: EmbeddingStore, space: str) -> None:
    """`seal_generation` with a store that is open."""
    import filelock  # late: a search has no use for it, and it brings asyncio

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            _sweep(folder, BUILDING)
            _build_newest(folder, store, space)
    except filelock.Timeout:
        log.info("another process seals this generation: %s", folder)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise CatalogFullError(f"no space left to seal the embedding index; free some: {folder}") from error


def _build_newest(folder: Path, store: EmbeddingStore, space: str) -> None:
    commit = store.commit_number()  # before reading: what is read too new is replaced by the tail
    final = folder / f"{PREFIX}{commit:012d}"
    if not _is_sound(final):
        aside = folder / f"{BUILDING}{os.getpid()}"
        aside.mkdir()
        try:
            _build_aside(aside, final, store, space, commit)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    _sweep(folder, PREFIX, but=final.name)


def _build_aside(aside: Path, final: Path, store: EmbeddingStore, space: str, commit: int) -> None:
    """Build in `aside` and rename to `final`; nothing when there is nothing to be found."""
    shutil.rmtree(final, ignore_errors=True)  # one of this name that did not prove sound
    if not _write_vectors(aside, store, space):
        return
    _finish(aside, _write_trees(aside, space, commit))
    os.rename(aside, final)
    _sync(final.parent)


def _is_sound(folder: Path) -> bool:
    try:
        _verify_files(folder, _read_manifest(folder))
    except (CatalogDamagedError, FileNotFoundError):
        return False
    return True


def _write_vectors(aside: Path, store: EmbeddingStore, space: str) -> int:
    """Write ids and vectors in order of photo id; returns how many."""
    all_ids = []
    with open(aside / VECTORS_FILE, "wb") as file:
        for ids, vectors in _present_embeddings(store, space):
            file.write(vectors.tobytes())
            all_ids.append(ids)
    ids = np.concatenate(all_ids) if all_ids else np.empty(0, np.int64)
    np.save(aside / IDS_FILE, ids)
    return len(ids)


def _present_embeddings(store: EmbeddingStore, space: str) -> Iterator[tuple[Ids, Bits]]:
    """All embeddings that may be found, in chunks, each its own short read of the store."""
    after = -1
    while True:
        ids, vectors = store.iter_embeddings(space, after, READ_ROWS)
        if not len(ids):
            return
        after = int(ids[-1])
        yield _findable(store, ids, vectors)


def _findable(store: EmbeddingStore, ids: Ids, vectors: Halves) -> tuple[Ids, Bits]:
    bits = np.ascontiguousarray(vectors).view(np.int16)
    if not len(ids):
        return ids, bits
    kept = store.has_photos(ids) & _finite(bits)
    return ids[kept], bits[kept]


def _write_trees(aside: Path, space: str, commit: int) -> Manifest:
    """Write the projection and the Annoy file from the vectors beside them."""
    ids = np.load(aside / IDS_FILE)
    vectors: Bits = np.memmap(aside / VECTORS_FILE, "<i2", "r").reshape(len(ids), -1)
    projection, shadow_length = _principal_axes(vectors)
    np.save(aside / PROJECTION_FILE, projection)
    axes = len(projection) - 1
    _require_space(aside, len(ids) * (4 * axes + 16 + NODE_BYTES_PER_TREE * TREES))
    trees = annoy.AnnoyIndex(axes + 1, "euclidean")
    trees.set_seed(SEED)
    trees.on_disk_build(str(aside / ANNOY_FILE))
    for start in range(0, len(ids), READ_ROWS):
        shadows = _shadows(vectors[start : start + READ_ROWS], projection)
        for row, shadow in enumerate(shadows.tolist(), start):
            trees.add_item(row, shadow)
    trees.build(TREES, n_jobs=1)  # one thread: the writer and the readers need the other cores
    trees.unload()
    return Manifest(
        format=FORMAT,
        space=space,
        commit=commit,
        count=len(ids),
        dimension=vectors.shape[1],
        axes=axes,
        shadow_length=shadow_length,
        metric="euclidean",
        trees=TREES,
        seed=SEED,
        files={},
    )


def _principal_axes(vectors: Bits) -> tuple[Floats, float]:
    """Mean and principal axes as float32[1 + A, D], and the mean length of a shadow on them."""
    count = len(vectors)
    sample = _float32(vectors[np.linspace(0, count - 1, min(count, SAMPLE_ROWS)).astype(np.int64)])
    mean = sample.mean(axis=0)
    sample -= mean
    variances, columns = np.linalg.eigh(sample.T @ sample)
    kept = np.cumsum(variances[::-1]) < KEPT_VARIANCE * variances.sum()
    axes = min(max(int(kept.sum()) + 1, FEWEST_AXES), len(mean))
    projection = np.concatenate([mean[None], columns.T[::-1][:axes]]).astype(np.float32)
    return projection, float(np.linalg.norm(sample @ projection[1:].T, axis=1).mean())


def _shadows(vectors: Bits, projection: Floats) -> Floats:
    """What Annoy holds: float32[n, A + 1]. Note [candidates]."""
    mean, axes = _split_projection(projection)
    centred = _float32(vectors) - mean
    shadow = centred @ axes.T
    dropped = np.square(centred).sum(axis=1) - np.square(shadow).sum(axis=1)
    return np.concatenate([shadow, np.sqrt(np.maximum(dropped, 0.0))[:, None]], axis=1)


def _require_space(folder: Path, file_bytes: int) -> None:
    """Annoy writes through a map: on a full disk it would die by SIGBUS instead of an error."""
    needed, free = int(file_bytes * GROWTH), shutil.disk_usage(folder).free
    if free < needed:
        reason = f"sealing the embedding index needs {needed >> 20} MiB, {free >> 20} MiB are free"
        raise CatalogFullError(f"{reason}; free some: {folder}")


def _finish(aside: Path, manifest: Manifest) -> None:
    """Make all files durable and prove them; the manifest comes last, the stamp after it."""
    for name in FILES:
        _sync(aside / name)
    proven = msgspec.structs.replace(manifest, files={name: _proof(aside / name) for name in FILES})
    signed = SignedManifest(proven, _manifest_hash(proven))
    (aside / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(signed)))
    _sync(aside / MANIFEST)
    _write_stamp(aside)
    _sync(aside)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path, prefix: str, but: str = "") -> None:
    """Remove folders of `prefix`; who has files of them mapped keeps these."""
    for name in os.listdir(folder):
        if name.startswith(prefix) and name != but:
            shutil.rmtree(folder / name, ignore_errors=True)


# ---- the tail


class _Tail:
    """Embeddings committed since the generation, in memory as float16, searched exactly."""

    def __init__(self, dimension: int) -> None:
        self._ids: Ids = np.empty(0, np.int64)
        self._vectors: Bits = np.empty((0, dimension), np.int16)
        self._used = 0  # rows; one that was replaced has id -1
        self._live = 0

    def __len__(self) -> int:
        return self._live

    @property
    def dimension(self) -> int:
        return int(self._vectors.shape[1])

    @property
    def ids(self) -> Ids:
        """Photo ids, sorted."""
        ids = self._ids[: self._used]
        return np.sort(ids[ids >= 0])

    def replace(self, changed: Ids, ids: Ids, vectors: Bits) -> None:
        """Forget the sorted `changed` and hold `vectors` of `ids` instead."""
        held = self._ids[: self._used]
        gone = _among(held, changed)
        held[gone] = -1
        self._live += len(ids) - int(gone.sum())
        self._reserve(len(ids))
        end = self._used + len(ids)
        self._ids[self._used : end], self._vectors[self._used : end] = ids, vectors
        self._used = end

    def _reserve(self, count: int) -> None:
        """Room for `count` more rows; replaced ones are dropped when the arrays are moved."""
        if self._used + count <= len(self._ids):
            return
        live = np.flatnonzero(self._ids[: self._used] >= 0)
        capacity = max(1024, 2 * len(live), len(live) + count)
        ids = np.full(capacity, -1, np.int64)
        vectors = np.empty((capacity, self._vectors.shape[1]), np.int16)
        ids[: len(live)], vectors[: len(live)] = self._ids[live], self._vectors[live]
        self._ids, self._vectors, self._used = ids, vectors, len(live)

    def vectors_of(self, ids: Ids) -> Bits:
        """The rows of `ids`, all of which it holds."""
        order = np.argsort(self._ids[: self._used])
        rows = order[np.searchsorted(self._ids[: self._used], ids, sorter=order)]
        found: Bits = self._vectors[rows]
        return found

    def search(self, query: Floats, allowed: Ids | None) -> Scored:
        """All that may be found, with exact cosines, in no order."""
        ids = self._ids[: self._used]
        if allowed is None and self._live == self._used:
            return Scored(ids, _dot(self._vectors[: self._used], query))
        kept = ids >= 0 if allowed is None else _among(ids, allowed)
        rows = np.flatnonzero(kept)
        return Scored(ids[rows], _dot(self._vectors, query, rows))


# ---- the index


class EmbeddingIndex:
    """Nearest photos of one embedding space. Used by one thread at a time.

    `folder` is `space_folder(...)`. Opening reads no vectors; the first search loads the tail.
    """

    def __init__(self, folder: Path, store: EmbeddingStore, space: str, settings: Settings) -> None:
        self._folder = folder
        self._store = store
        self._space = space
        self._settings = settings
        self._generation: Generation | None = None
        self._seen: tuple[str, int] | None = None  # name and inode of the newest generation looked at
        self._stale: Mask = np.empty(0, np.bool_)  # rows of the generation that the tail replaces
        self._commit = 0  # up to which changes are known
        self._changed: Ids = np.empty(0, np.int64)  # sorted photos of later commits than `_counted`'s
        self._counted: int | None = None  # embeddings when counted last; None: not yet
        self._tail: _Tail | None = None
        self.refresh()

    def close(self) -> None:
        """Unmap the generation; nothing can be searched afterwards."""
        if self._generation is not None:
            self._generation.close()
            self._generation = None
        self._tail = None

    def refresh(self) -> None:
        """Follow the store's newest commit, and the newest generation."""
        newest = self._newest()
        if newest != self._seen:
            self._adopt(self._usable_generation())
            self._seen = newest
        reached = self._store.commit_number()
        try:
            _, photo_ids = self._store.changes_since(self._commit)
        except ChangesTrimmedError:
            log.warning("the change log does not reach back to commit %d: %s", self._commit, self._folder)
            self._adopt(None)
            return
        self._commit = reached
        if len(photo_ids):
            self._follow(np.unique(photo_ids))

    def search(self, query: Floats, k: int, allowed: Ids | None = None) -> list[tuple[int, float]]:
        """The k photos nearest to `query: float32[D]` of unit length, as (photo_id, cosine), best first.

        `allowed: int64[n], sorted` restricts the search to these photos. Knows what the last
        `refresh` knew. Raises ValueError when `query` does not have the space's dimension.
        """
        dimension = self._store.spaces().get(self._space)
        if dimension is None or k <= 0 or (allowed is not None and not len(allowed)):
            return []
        query = np.ascontiguousarray(query, np.float32)
        if query.shape != (dimension,) or not np.isfinite(query).all():
            raise ValueError(f"a query in {self._space} is {dimension} finite numbers, not {query.shape}")
        parts = [_best(self._loaded_tail(dimension).search(query, allowed), k)]
        if self._generation is not None:
            parts.append(_best(self._generation.search(query, k, self._stale, allowed), k))
        ids, scores = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        best = _best(Scored(ids, scores), k)
        return list(zip(best.ids.tolist(), best.scores.tolist(), strict=True))

    def wants_seal(self, idle: bool) -> bool:
        """Whether a new generation is worth its work, from what the last `refresh` knew.

        While photos are being indexed a generation doubles the one before it, so that an import
        costs twice the work of its last generation, whatever its size.
        """
        least = TAIL_IDLE if idle else TAIL_BUSY
        if self._generation is None:
            most = len(self._changed) + (self._count() if self._counted is None else self._counted)
            return most >= self._settings.exact_below and self._count() >= max(
                least, self._settings.exact_below
            )
        sealed, tail = len(self._generation.ids), len(self._changed)
        if sealed - int(self._stale.sum()) + tail < self._settings.exact_below:
            return False
        return tail > (least if idle else max(least, sealed))

    def hold_changes(self, sealing: bool) -> None:
        """Keep the part of the store's change log that the index builds on. Only the writer calls this.

        Before it starts a sealing process (`sealing`): the log must reach back to the commit of the
        generation that is being built, and of the one it replaces. And after the refresh that
        follows, which lets go of what the former generation needed, of all when there is none.
        """
        name = embeddings_mark(self._space)
        needed = self._commit if sealing else None
        if self._generation is not None:
            needed = self._generation.manifest.commit
        if self._store.mark(name) != needed:
            self._store.set_mark(name, needed)

    def check(self) -> list[str]:
        """How the index differs from the store, in words; empty when it does not.

        Hashes every file of every generation, and compares every vector. A generation that proves
        damaged is not used any more by anyone who opens the index later. Photos that are
        committed meanwhile are not compared.
        """
        self.refresh()
        damaged = self._damaged_generations()
        start = self._commit
        differences = self._differences()
        _, changed = self._store.changes_since(start)
        moving = set(changed.tolist())
        kept = [text for photo_id, text in differences if photo_id not in moving]
        if len(kept) > MOST_DIFFERENCES:
            kept = [*kept[:MOST_DIFFERENCES], f"and {len(kept) - MOST_DIFFERENCES} more"]
        return [*damaged, *kept]

    # what the newest generation and the commits after it are

    def _newest(self) -> tuple[str, int] | None:
        for name in _generation_names(self._folder):
            with contextlib.suppress(FileNotFoundError):
                return name, os.stat(self._folder / name).st_ino
        return "", 0

    def _usable_generation(self) -> Generation | None:
        generation = live_generation(self._folder)
        if generation is None or not (problem := self._problem(generation.manifest)):
            return generation
        log.warning("a generation of the embedding index is not used, %s: %s", problem, generation.folder)
        generation.close()
        return None

    def _problem(self, manifest: Manifest) -> str:
        """Why a sound generation does not belong to this store; empty when it does."""
        if manifest.space != self._space:
            return f"it is of the space {manifest.space}"
        if manifest.commit > (commit := self._store.commit_number()):
            return f"it was sealed at commit {manifest.commit}, the store is at {commit}"
        return ""

    def _adopt(self, generation: Generation | None) -> None:
        if self._generation is not None:
            self._generation.close()
        self._generation = generation
        self._stale = np.zeros(0 if generation is None else len(generation.ids), np.bool_)
        self._commit = self._store.commit_number() if generation is None else generation.manifest.commit
        self._changed = np.empty(0, np.int64)
        self._counted = None
        self._tail = None

    def _follow(self, changed: Ids) -> None:
        self._changed = np.union1d(self._changed, changed)
        if self._generation is not None:
            self._stale[_rows_of(self._generation.ids, changed)] = True
        if self._tail is not None:
            self._tail.replace(changed, *self._stored(changed))

    def _stored(self, photo_ids: Ids) -> tuple[Ids, Bits]:
        return _findable(self._store, *self._store.embeddings(self._space, photo_ids))

    def _count(self) -> int:
        """Embeddings in the store, without a generation; changes are counted anew from here."""
        self._changed = np.empty(0, np.int64)
        self._counted = sum(len(ids) for ids, _ in _present_embeddings(self._store, self._space))
        return self._counted

    def _loaded_tail(self, dimension: int) -> _Tail:
        if self._tail is None:
            tail = _Tail(dimension)
            for ids, vectors in self._tail_source():
                tail.replace(ids, ids, vectors)
            self._tail = tail
        return self._tail

    def _tail_source(self) -> Iterator[tuple[Ids, Bits]]:
        """All of the store without a generation, else the photos of later commits."""
        if self._generation is None:
            yield from _present_embeddings(self._store, self._space)
            return
        for start in range(0, len(self._changed), READ_ROWS):
            yield self._stored(self._changed[start : start + READ_ROWS])

    # check

    def _damaged_generations(self) -> list[str]:
        found = []
        for name in _generation_names(self._folder):
            folder = self._folder / name
            try:
                _verify_files(folder, _read_manifest(folder))
            except FileNotFoundError:
                continue
            except CatalogDamagedError as error:
                found.append(f"the embedding index is damaged and is not used: {error}")
                (folder / STAMP).unlink(missing_ok=True)
                self._seen = None
        if found:
            self.refresh()
        return found

    def _differences(self) -> list[tuple[int, str]]:
        """(photo_id, what differs) by ascending photo id."""
        dimension = self._store.spaces().get(self._space)
        if dimension is None:
            return []
        found: list[tuple[int, str]] = []
        after = -1
        tail = self._loaded_tail(dimension)
        held_ids = self._held_ids(tail)
        for ids, vectors in _present_embeddings(self._store, self._space):
            if len(ids):
                found += self._compare(held_ids, tail, after, ids, vectors)
                after = int(ids[-1])
        return found + [(i, f"photo {i} is in the embedding index only") for i in _after(held_ids, after)]

    def _held_ids(self, tail: _Tail) -> Ids:
        if self._generation is None:
            return tail.ids
        return np.sort(np.concatenate([tail.ids, self._generation.ids[~self._stale]]))

    def _compare(
        self, held_ids: Ids, tail: _Tail, after: int, ids: Ids, vectors: Bits
    ) -> list[tuple[int, str]]:
        """The store's `vectors` of `ids` against what is held of the photos after `after` up to the last."""
        held = held_ids[
            np.searchsorted(held_ids, after, "right") : np.searchsorted(held_ids, ids[-1], "right")
        ]
        found = [(i, f"photo {i} is in the embedding index only") for i in np.setdiff1d(held, ids).tolist()]
        found += [(i, f"photo {i} is not in the embedding index") for i in np.setdiff1d(ids, held).tolist()]
        found += [
            (i, f"photo {i} is in the embedding index twice")
            for i in held[1:][held[1:] == held[:-1]].tolist()
        ]
        both, rows, _ = np.intersect1d(ids, held, return_indices=True)
        differ = (self._held_vectors(tail, both) != vectors[rows]).any(axis=1)
        found += [(i, f"photo {i} has another embedding in the index") for i in both[differ].tolist()]
        return sorted(found)

    def _held_vectors(self, tail: _Tail, ids: Ids) -> Bits:
        """The index's own vectors of `ids`, all of which it holds."""
        in_tail = _among(ids, tail.ids)
        vectors = np.empty((len(ids), tail.dimension), np.int16)
        vectors[in_tail] = tail.vectors_of(ids[in_tail])
        if self._generation is not None:
            rows = np.searchsorted(self._generation.ids, ids[~in_tail])
            vectors[~in_tail] = self._generation.vectors[rows]
        return vectors


def _after(ids: Ids, photo_id: int) -> list[int]:
    later: list[int] = ids[np.searchsorted(ids, photo_id, "right") :].tolist()
    return later
