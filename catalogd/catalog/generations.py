"""Sealed generations of an embedding index: built aside, proven, renamed, mapped, searched.

A generation is a folder of files that are never written again: the vectors, their photo ids, the
files of the engine that finds candidates among them, and a manifest with the hash of each. An
engine is a module with the functions of `Engine`; what it proposes is ranked by the stored vectors,
so that engines differ in what they find and in speed, never in a score. docs/formats.md has the files.

A generation of an engine that is not installed any more is searched exactly.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from catalogd.catalog import annoy_engine, faiss_engine
from catalogd.catalog.manifest import (
    IDS_FILE,
    VECTORS_FILE,
    Manifest,
    read_manifest,
    sync,
    verify_files,
    verify_once,
    write_manifest,
)
from catalogd.catalog.vectors import (
    Allowed,
    AllowedRows,
    Bits,
    Floats,
    Halves,
    Ids,
    Mask,
    Rows,
    Scored,
    dot,
    finite,
)
from catalogd.errors import CatalogDamagedError, CatalogFullError

log = logging.getLogger(__name__)

READ_ROWS = 5_000  # embeddings a read transaction of the store: keeps them short
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
PREFIX, BUILDING, LOCK = "gen-", ".building-", "seal.lock"


class EmbeddingSource(Protocol):
    """What a generation is built from: the catalog's `Store`."""

    def iter_embeddings(self, space: str, after_id: int, limit: int) -> tuple[Ids, Halves]: ...
    def commit_number(self) -> int: ...
    def has_photos(self, photo_ids: Ids) -> Mask: ...


class Candidates(Protocol):
    """An engine's files of one generation, mapped."""

    def candidates(self, query: Floats, k: int, open_rows: Mask, count: int) -> Rows | None:
        """Rows with the k best of the `count` ones that are open; None: look at all of these instead."""

    def close(self) -> None: ...


class Engine(Protocol):
    """The functions of an engine's module."""

    NAME: str
    FILES: tuple[str, ...]

    def is_installed(self) -> bool: ...
    def build(self, folder: Path, vectors: Bits, manifest: Manifest) -> Manifest: ...
    def load(self, folder: Path, manifest: Manifest) -> Candidates: ...


ENGINES: dict[str, Engine] = {engine.NAME: engine for engine in (annoy_engine, faiss_engine)}


def choose_engine(wanted: str) -> Engine:
    """The engine that the next generation is built with. `wanted`: `Settings.vector_engine`.

    Of those installed faiss is the better one at every size that is sealed: bench/README.md.
    """
    if wanted == annoy_engine.NAME:
        return ENGINES[annoy_engine.NAME]
    if ENGINES[faiss_engine.NAME].is_installed():
        return ENGINES[faiss_engine.NAME]
    if wanted == faiss_engine.NAME:
        log.warning("faiss is not installed, annoy is used instead: pip install 'catalogd[faiss]'")
    return ENGINES[annoy_engine.NAME]


class Generation:
    """One immutable build of the index, mapped; open it with `live_generation`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.ids: Ids = np.load(folder / IDS_FILE, allow_pickle=False)
        shape = (manifest.count, manifest.dimension)
        self.vectors: Bits = np.memmap(folder / VECTORS_FILE, "<i2", "r", shape=shape)
        self._allowed = AllowedRows(self.ids, in_order=True)
        self._candidates = _load_candidates(folder, manifest)

    @property
    def is_exact(self) -> bool:
        """Whether everything is looked at, because its engine is not installed any more."""
        return self._candidates is None

    def close(self) -> None:
        """Unmap the engine's files; the vectors follow when nobody refers to them."""
        if self._candidates is not None:
            self._candidates.close()

    def search(self, query: Floats, k: int, stale: Mask, allowed: Ids | Allowed | None) -> Scored:
        """About the k best rows that are not `stale: bool[N]`, in no order, with exact cosines."""
        open_rows = ~stale
        if allowed is not None:
            open_rows &= self._allowed.of(allowed)
        count = int(np.count_nonzero(open_rows))
        rows = None
        if count and self._candidates is not None:
            rows = self._candidates.candidates(query, k, open_rows, count)
        if rows is None and count < len(open_rows):
            rows = np.flatnonzero(open_rows)
        ids = self.ids if rows is None else self.ids[rows]
        return Scored(ids, dot(self.vectors, query, rows))


def _load_candidates(folder: Path, manifest: Manifest) -> Candidates | None:
    """None, with a warning, when the engine is not there any more, or is one that can't read its file."""
    engine = ENGINES[manifest.engine]
    problem = f"{manifest.engine} is not installed any more"
    if engine.is_installed():
        try:
            return engine.load(folder, manifest)
        except RuntimeError as error:  # of faiss: an older release than the one that wrote it
            problem = f"{manifest.engine} can't read its file ({error})"
    log.warning("%s: searches are exact and slower until the index is sealed again: %s", problem, folder)
    return None


def live_generation(folder: Path) -> Generation | None:
    """The newest generation in `folder` that proves sound, mapped; None when there is none."""
    for name in generation_names(folder):
        try:
            return _open_generation(folder / name)
        except CatalogDamagedError as error:
            log.warning("a generation of the embedding index is not used: %s", error)
        except FileNotFoundError:
            continue  # replaced by a newer one meanwhile
    return None


def generation_names(folder: Path) -> list[str]:
    """Newest first."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(PREFIX)]
    except FileNotFoundError:
        return []
    return sorted(names, reverse=True)


def _open_generation(folder: Path) -> Generation:
    """Raises CatalogDamagedError when the files are not those of the manifest."""
    manifest = _read_manifest(folder)
    verify_once(folder, manifest)
    return Generation(folder, manifest)


def _read_manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.engine not in ENGINES:
        raise CatalogDamagedError(f"its engine {manifest.engine} is not among this version's: {folder}")
    if set(manifest.files) != set(_files(ENGINES[manifest.engine])):
        raise CatalogDamagedError(f"the manifest does not name the files of its engine: {folder}")
    return manifest


def _files(engine: Engine) -> tuple[str, ...]:
    return (IDS_FILE, VECTORS_FILE, *engine.FILES)


def verify_generation(folder: Path) -> Manifest:
    """Hash every file. Raises CatalogDamagedError, and FileNotFoundError when there is no such folder."""
    manifest = _read_manifest(folder)
    verify_files(folder, manifest)
    return manifest


# ---- building


def build_generation(folder: Path, store: EmbeddingSource, space: str, vector_engine: str = "auto") -> None:
    """Build the generation of `space` up to the store's present commit, and make it the live one.

    May be killed at any point: until the rename the former generation is the live one, and what is
    left behind is swept by the next call. Returns at once when another process is at it. Raises
    CatalogFullError when the disk is full; the former generation is untouched then.
    """
    import filelock  # late: a search has no use for it, and it brings asyncio

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            _sweep(folder, BUILDING)
            _build_newest(folder, store, space, choose_engine(vector_engine))
    except filelock.Timeout:
        log.info("another process seals this generation: %s", folder)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise CatalogFullError(f"no space left to seal the embedding index; free some: {folder}") from error


def _build_newest(folder: Path, store: EmbeddingSource, space: str, engine: Engine) -> None:
    commit = store.commit_number()  # before reading: what is read too new is replaced by the tail
    final = folder / f"{PREFIX}{commit:012d}"
    if not _is_sound(final, engine):
        aside = folder / f"{BUILDING}{os.getpid()}"
        aside.mkdir()
        try:
            _build_aside(aside, final, store, space, engine)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    _sweep(folder, PREFIX, but=final.name)


def _is_sound(folder: Path, engine: Engine) -> bool:
    """Whether the generation is there, of this engine, what was written, and can be loaded."""
    try:
        manifest = verify_generation(folder)
    except (CatalogDamagedError, FileNotFoundError):
        return False
    if manifest.engine != engine.NAME:
        return False
    candidates = _load_candidates(folder, manifest)
    if candidates is not None:
        candidates.close()
    return candidates is not None


def _build_aside(aside: Path, final: Path, store: EmbeddingSource, space: str, engine: Engine) -> None:
    """Build in `aside` and rename to `final`; nothing when there is nothing to be found."""
    if _write_vectors(aside, store, space):
        commit = int(final.name.removeprefix(PREFIX))
        write_manifest(aside, _write_index(aside, space, commit, engine), _files(engine))
        _remove(final)  # of this name: not sound, or of another engine
        os.rename(aside, final)
        sync(final.parent)
    else:
        _remove(final)


def _write_vectors(aside: Path, store: EmbeddingSource, space: str) -> int:
    """Write ids and vectors in order of photo id; returns how many."""
    all_ids = []
    with open(aside / VECTORS_FILE, "wb") as file:
        for ids, vectors in present_embeddings(store, space):
            file.write(vectors.tobytes())
            all_ids.append(ids)
    ids = np.concatenate(all_ids) if all_ids else np.empty(0, np.int64)
    np.save(aside / IDS_FILE, ids)
    return len(ids)


def _write_index(aside: Path, space: str, commit: int, engine: Engine) -> Manifest:
    """Write the engine's files from the vectors beside them."""
    ids = np.load(aside / IDS_FILE)
    vectors: Bits = np.memmap(aside / VECTORS_FILE, "<i2", "r").reshape(len(ids), -1)
    manifest = Manifest(
        format=2,
        space=space,
        commit=commit,
        count=len(ids),
        dimension=vectors.shape[1],
        metric="",
        seed=0,
        files={},
    )
    return engine.build(aside, vectors, manifest)


def present_embeddings(
    store: EmbeddingSource, space: str, rows: int = READ_ROWS
) -> Iterator[tuple[Ids, Bits]]:
    """All embeddings that may be found, in chunks, each its own short read of the store."""
    after = -1
    while True:
        ids, vectors = store.iter_embeddings(space, after, rows)
        if not len(ids):
            return
        after = int(ids[-1])
        yield findable(store, ids, vectors)


def findable(store: EmbeddingSource, ids: Ids, vectors: Halves) -> tuple[Ids, Bits]:
    """Those of photos that are there, and finite."""
    bits = np.ascontiguousarray(vectors).view(np.int16)
    if not len(ids):
        return ids, bits
    kept = store.has_photos(ids) & finite(bits)
    return ids[kept], bits[kept]


def _remove(generation: Path) -> None:
    """Whoever is killed in the middle leaves nothing that looks like a damaged generation."""
    going = generation.with_name(f"{BUILDING}{os.getpid()}-going")
    with contextlib.suppress(OSError):
        os.rename(generation, going)
        generation = going
    shutil.rmtree(generation, ignore_errors=True)


def _sweep(folder: Path, prefix: str, but: str = "") -> None:
    """Remove folders of `prefix`; who has files of them mapped keeps these."""
    for name in os.listdir(folder):
        if name.startswith(prefix) and name != but:
            _remove(folder / name)
