"""The embedding index: which photos lie nearest to a query vector.

One `EmbeddingIndex` serves one embedding space of one catalog. It is derived data: everything here
can be deleted and is built again from the store alone::

    store (LMDB, the truth)
      │  all up to commit c ──seal_generation()──▶ gen-<c>/   immutable: vectors, an engine's index of them
      │  what changed after c ─────refresh()─────▶ tail       in memory, searched exactly
      └──▶ search = candidates of the generation, without photos that changed after c,
                    ranked again by their stored vectors  +  the tail

A reader (query, web, writer) holds an `EmbeddingIndex`; a generation is built by a process of its
own, which the writer starts. A generation appears by one rename and is never written again, so a
reader that has an older one mapped keeps it until its next `refresh`. `generations` has the engines.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from catalogd.catalog.generations import (
    READ_ROWS,
    EmbeddingSource,
    Generation,
    build_generation,
    findable,
    generation_names,
    live_generation,
    present_embeddings,
    verify_generation,
)
from catalogd.catalog.manifest import Manifest, forget_verified
from catalogd.catalog.store import ChangesTrimmedError, Store, embeddings_mark, space_key
from catalogd.catalog.vectors import (
    Allowed,
    AllowedRows,
    Bits,
    Floats,
    Halves,
    Ids,
    Mask,
    Scored,
    among,
    best,
    dot,
    float32_of,
    rows_of,
)
from catalogd.errors import CatalogDamagedError
from catalogd.settings import Settings

__all__ = ["Allowed", "EmbeddingIndex", "seal_generation", "space_folder"]

log = logging.getLogger(__name__)

TAIL_BUSY = 20_000  # embeddings: less than a second's worth of commits is never sealed while busy
TAIL_IDLE = 5_000  # embeddings: 0.4 ms of exact search
MOST_DIFFERENCES = 20  # that `check` spells out


class EmbeddingStore(EmbeddingSource, Protocol):
    """What the index needs of the catalog's `Store`."""

    def embeddings(self, space: str, photo_ids: Ids) -> tuple[Ids, Halves]: ...
    def changes_since(self, commit: int) -> tuple[Ids, Ids]: ...
    def mark(self, name: str) -> int | None: ...
    def set_mark(self, name: str, value: int | None) -> None: ...
    def spaces(self) -> dict[str, int]: ...


def space_folder(catalog_folder: Path, space: str) -> Path:
    """Where the generations of `space` are kept."""
    return catalog_folder / "embeddings" / space_key(space).hex()


def seal_generation(catalog_folder: Path, space: str, settings: Settings) -> None:
    """`build_generation` in a catalog that is not open; runs in a short-lived process of its own."""
    with Store(catalog_folder) as store:
        build_generation(space_folder(catalog_folder, space), store, space, settings.vector_engine)


class _Tail:
    """Embeddings committed since the generation, in memory as float16, searched exactly."""

    def __init__(self, dimension: int) -> None:
        self._ids: Ids = np.empty(0, np.int64)
        self._vectors: Bits = np.empty((0, dimension), np.int16)
        self._used = 0  # rows; one that was replaced has id -1
        self._live = 0
        self._allowed: AllowedRows | None = None  # of the rows as they are

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
        gone = among(held, changed)
        held[gone] = -1
        self._live += len(ids) - int(gone.sum())
        self._reserve(len(ids))
        end = self._used + len(ids)
        self._ids[self._used : end], self._vectors[self._used : end] = ids, vectors
        self._used = end
        self._allowed = None

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

    def search(self, query: Floats, allowed: Ids | Allowed | None) -> Scored:
        """All that may be found, with exact cosines, in no order."""
        ids, vectors = self._ids[: self._used], self._vectors[: self._used]
        if allowed is None and self._live == self._used:
            return Scored(ids, dot(vectors, query))
        kept = ids >= 0
        if allowed is not None:
            kept &= self._allowed_rows(ids).of(allowed)
        rows = np.flatnonzero(kept)
        return Scored(ids[rows], dot(vectors, query, rows))

    def _allowed_rows(self, ids: Ids) -> AllowedRows:
        if self._allowed is None:
            self._allowed = AllowedRows(ids, in_order=False)
        return self._allowed


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

    def search(self, query: Floats, k: int, allowed: Ids | Allowed | None = None) -> list[tuple[int, float]]:
        """The k photos nearest to `query: float32[D]` of unit length, as (photo_id, cosine), best first.

        `allowed` restricts the search to these photos: sorted `int64[n]`, or, better where there are
        thousands, a mask over ids that stay the same from search to search. Knows what the last
        `refresh` knew. Raises ValueError when `query` does not have the space's dimension.
        """
        dimension = self._store.spaces().get(self._space)
        if dimension is None or k <= 0 or _allows_nothing(allowed):
            return []
        query = np.ascontiguousarray(query, np.float32)
        if query.shape != (dimension,) or not np.isfinite(query).all():
            raise ValueError(f"a query in {self._space} is {dimension} finite numbers, not {query.shape}")
        parts = [best(self._loaded_tail(dimension).search(query, allowed), k)]
        if self._generation is not None:
            parts.append(best(self._generation.search(query, k, self._stale, allowed), k))
        ids, scores = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        nearest = best(Scored(ids, scores), k)
        return list(zip(nearest.ids.tolist(), nearest.scores.tolist(), strict=True))

    def vectors_of(self, photo_ids: Ids) -> tuple[Ids, Floats]:
        """Those of the sorted `photo_ids` that have an embedding, and `float32[n, D]`, as stored."""
        ids, bits = self._stored(photo_ids)
        return ids, float32_of(bits)

    def iter_all(self, rows: int = READ_ROWS) -> Iterator[tuple[Ids, Halves]]:
        """All that may be found by ascending photo id, as `int64[n], float16[n, D]`, n up to `rows`.

        Memory is one chunk's. What is committed meanwhile may be in it or not.
        """
        for ids, bits in present_embeddings(self._store, self._space, rows):
            yield ids, bits.view(np.float16)

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
        if self._generation.is_exact:
            return idle
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
        for name in generation_names(self._folder):
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
            self._stale[rows_of(self._generation.ids, changed)] = True
        if self._tail is not None:
            self._tail.replace(changed, *self._stored(changed))

    def _stored(self, photo_ids: Ids) -> tuple[Ids, Bits]:
        return findable(self._store, *self._store.embeddings(self._space, photo_ids))

    def _count(self) -> int:
        """Embeddings in the store, without a generation; changes are counted anew from here."""
        self._changed = np.empty(0, np.int64)
        self._counted = sum(len(ids) for ids, _ in present_embeddings(self._store, self._space))
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
            yield from present_embeddings(self._store, self._space)
            return
        for start in range(0, len(self._changed), READ_ROWS):
            yield self._stored(self._changed[start : start + READ_ROWS])

    # check

    def _damaged_generations(self) -> list[str]:
        found = []
        for name in generation_names(self._folder):
            folder = self._folder / name
            try:
                verify_generation(folder)
            except FileNotFoundError:
                continue
            except CatalogDamagedError as error:
                found.append(f"the embedding index is damaged and is not used: {error}")
                forget_verified(folder)
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
        for ids, vectors in present_embeddings(self._store, self._space):
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
        in_tail = among(ids, tail.ids)
        vectors = np.empty((len(ids), tail.dimension), np.int16)
        vectors[in_tail] = tail.vectors_of(ids[in_tail])
        if self._generation is not None:
            rows = np.searchsorted(self._generation.ids, ids[~in_tail])
            vectors[~in_tail] = self._generation.vectors[rows]
        return vectors


def _allows_nothing(allowed: Ids | Allowed | None) -> bool:
    if allowed is None:
        return False
    return not (allowed.mask.any() if isinstance(allowed, Allowed) else len(allowed))


def _after(ids: Ids, photo_id: int) -> list[int]:
    later: list[int] = ids[np.searchsorted(ids, photo_id, "right") :].tolist()
    return later
