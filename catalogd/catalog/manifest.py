"""What a sealed generation says of itself, and the proof that its files are what was written.

Note [verified before mapped]. Annoy and faiss trust their files: a truncated or flipped one loads,
and the process dies at the first query. So no file is mapped before its size and SHA-256 are those
of the manifest. The hash of half a gigabyte takes longer than a search, so it is computed once per
file identity: a stamp beside the manifest keeps size, mtime and inode of the files that were
hashed. `check` always hashes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from catalogd.errors import CatalogDamagedError, CatalogFullError

FORMAT = 2  # the newest that is read; docs/formats.md

HASH_BYTES = 1 << 20
MANIFEST, STAMP = "manifest.json", "verified.json"
IDS_FILE, VECTORS_FILE = "ids.npy", "vectors.f16"

_Identity = dict[str, tuple[int, int, int]]


class FileProof(msgspec.Struct, frozen=True):
    """What a file of a generation must be."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a generation says of itself; written last. Its hash is over these fields in this order."""

    format: int  # 1: of Annoy; 2: of the engine that it names
    space: str
    commit: int  # changes up to this commit are in it
    count: int  # vectors
    dimension: int
    axes: int = 0  # Annoy: principal axes; its file holds one coordinate more
    shadow_length: float = 0.0  # Annoy: mean over the photos
    metric: str
    trees: int = 0  # Annoy
    seed: int
    files: dict[str, FileProof]
    engine: str = "annoy"
    lists: int = 0  # faiss: inverted lists


class SignedManifest(msgspec.Struct, frozen=True):
    """A manifest with its own hash: a flipped bit in it would misread sound files."""

    manifest: Manifest
    sha256: str


def read_manifest(folder: Path) -> Manifest:
    """Raises CatalogDamagedError when it is not what was written, FileNotFoundError without `folder`."""
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
    if not 1 <= manifest.format <= FORMAT:
        raise CatalogDamagedError(f"format {manifest.format} is not among this version's: {path}")
    if signed.sha256 != _manifest_hash(manifest):
        raise CatalogDamagedError(f"the manifest does not have the hash it was written with: {path}")
    return manifest


def write_manifest(folder: Path, manifest: Manifest, files: Iterable[str]) -> None:
    """Make `files` durable and prove them; the manifest comes last, the stamp after it."""
    for name in files:
        sync(folder / name)
    proven = msgspec.structs.replace(manifest, files={name: _proof(folder / name) for name in files})
    signed = SignedManifest(proven, _manifest_hash(proven))
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(signed)))
    sync(folder / MANIFEST)
    _write_stamp(folder, proven)
    sync(folder)


def _manifest_hash(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Hash every file. Raises CatalogDamagedError."""
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


def verify_once(folder: Path, manifest: Manifest) -> None:
    """Hash every file unless a stamp says that these very files were. Raises CatalogDamagedError."""
    if _read_stamp(folder) == _identity(folder, manifest):
        return
    verify_files(folder, manifest)
    with contextlib.suppress(OSError):  # a read-only catalog is hashed at every open
        _write_stamp(folder, manifest)


def forget_verified(folder: Path) -> None:
    """Whoever opens the generation next hashes its files again."""
    (folder / STAMP).unlink(missing_ok=True)


def _proof(path: Path) -> FileProof:
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(HASH_BYTES):
            digest.update(block)
            size += len(block)
    return FileProof(size, digest.hexdigest())


def _identity(folder: Path, manifest: Manifest) -> _Identity:
    """Size, mtime_ns and inode of each file, the manifest too; empty when one is missing."""
    try:
        stats = {name: os.stat(folder / name) for name in (*manifest.files, MANIFEST)}
    except FileNotFoundError:
        return {}
    return {name: (stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats.items()}


def _read_stamp(folder: Path) -> _Identity | None:
    try:
        return msgspec.json.decode((folder / STAMP).read_bytes(), type=_Identity)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _write_stamp(folder: Path, manifest: Manifest) -> None:
    aside = folder / f"{STAMP}.{os.getpid()}"
    aside.write_bytes(msgspec.json.encode(_identity(folder, manifest)))
    os.replace(aside, folder / STAMP)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_space(folder: Path, file_bytes: int) -> None:
    """Raises CatalogFullError unless `file_bytes` fit: who writes through a map dies on a full disk."""
    free = shutil.disk_usage(folder).free
    if free < file_bytes:
        reason = f"sealing the embedding index needs {file_bytes >> 20} MiB, {free >> 20} MiB are free"
        raise CatalogFullError(f"{reason}; free some: {folder}")
