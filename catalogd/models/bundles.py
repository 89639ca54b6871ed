"""Weights that are a folder of several files: found, and proven to be what they were.

::

    find:    settings.model_path/<folder>/  ─▶  settings.model_cache/hub/<folder>/  ─▶  missing
    hub.py:  fills model_cache/hub and pins what it fetched in `catalogd.json`

A folder in the model path is its owner's and may change: its models are then made anew. What came
from a hub may not: a file that is no longer what was fetched is an error that names it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from catalogd.errors import ModelError
from catalogd.models import weights
from catalogd.settings import Settings

OPEN_CLIP = "open_clip:"  # begins the ids of open_clip's models, MODEL/PRETRAINED behind it
MANIFEST = "catalogd.json"  # in a folder that was fetched: written last, so one without it is not whole


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A folder of weights that catalogd knows how to run.

    Patterns are those of `fnmatch` on paths inside the folder, where `*` also stands for `/`.
    """

    id: str  # of the model
    repo: str  # on the hub: "owner/name"; "" where no hub has it
    files: tuple[str, ...]  # patterns of what is fetched
    weights: tuple[str, ...]  # patterns of what is hashed; each must match a file
    licence: str
    is_commercial: bool  # whether the licence lets everyone use it commercially
    revision: str = "main"
    folder_inside: str = ""  # of the repository: what is in it lands at the top
    size_bytes: int = 0  # of what is fetched, about, for people; 0: unknown

    @property
    def is_on_hub(self) -> bool:
        """Whether `catalogd models get` can fetch it. Where families have theirs is asked when it does."""
        return bool(self.repo) or self.id.startswith(OPEN_CLIP)

    @property
    def folder_name(self) -> str:
        """The id as a name that every file system takes."""
        return self.id.replace(":", "--").replace("/", "--")


class PinnedFile(msgspec.Struct, frozen=True):
    """One file as it was fetched."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True):
    """What was fetched from where; files by their path inside the folder, with `/`."""

    repo: str
    revision: str  # the commit that the asked revision was
    licence: str  # as the repository names it; "" when it names none
    fetched: str  # ISO 8601, UTC
    files: dict[str, PinnedFile]


@dataclasses.dataclass(frozen=True)
class FoundBundle:
    """A folder of weights on this machine."""

    bundle: Bundle
    folder: Path
    source: str  # "path" or "hub"
    model_cache: Path | None = None  # where hashes of files are remembered; None: nowhere

    @functools.cached_property
    def short_hash(self) -> str:
        """12 digits over names and SHA-256 of the weights.

        Files are read once and then only when their size or mtime changes. Raises ModelError naming a
        pinned file that is gone or not what was fetched.
        """
        self.verify()
        digest = hashlib.sha256()
        for path in self.weight_files():
            digest.update(f"{self.name_of(path)}\0{self._sha256(path)}\n".encode())
        return digest.hexdigest()[: weights.HASH_DIGITS]

    def verify(self) -> None:
        """Compare each pinned file with what was fetched. Raises ModelError naming the first that differs."""
        manifest = read_manifest(self.folder)
        for name, pinned in (manifest.files if manifest else {}).items():
            path = self.folder / name
            if not path.is_file():
                raise ModelError(f"{path} is gone: catalogd models get {self.bundle.id} --again")
            if path.stat().st_size != pinned.size or self._sha256(path) != pinned.sha256:
                raise ModelError(
                    f"{path} is not what was fetched from {manifest and manifest.repo}: "
                    f"catalogd models get {self.bundle.id} --again"
                )

    def weight_files(self) -> list[Path]:
        """Those that `Bundle.weights` names, in the order of their paths."""
        found = {path for pattern in self.bundle.weights for path in self.matching(pattern)}
        return sorted(found)

    def matching(self, pattern: str) -> list[Path]:
        """The files whose path inside the folder matches, in order."""
        return [path for path in _files(self.folder) if fnmatch.fnmatchcase(self.name_of(path), pattern)]

    def name_of(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def path(self, name: str) -> Path:
        """A file inside it. Raises ModelError when it is not there."""
        path = self.folder / name
        if not path.is_file():
            raise ModelError(f"{path} is missing: the model {self.bundle.id} needs it")
        return path

    @property
    def size_bytes(self) -> int:
        """Of all files in it."""
        return sum(path.stat().st_size for path in _files(self.folder))

    def _sha256(self, path: Path) -> str:
        if self.model_cache is not None:
            return weights.file_sha256(path, self.model_cache)
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def hub_folder(bundle: Bundle, settings: Settings) -> Path:
    """Where what is fetched from a hub lies."""
    return settings.model_cache / "hub" / bundle.folder_name


def find(bundle: Bundle, settings: Settings) -> FoundBundle | None:
    """The folder in the model path, else the one that was fetched, else None. No weights are read."""
    places = [("path", settings.model_path / bundle.folder_name)] if settings.model_path else []
    for source, folder in (*places, ("hub", hub_folder(bundle, settings))):
        found = FoundBundle(bundle, folder, source, settings.model_cache)
        if _is_whole(found):
            return found
    return None


def read_manifest(folder: Path) -> Manifest | None:
    """None when nothing was pinned. Raises ModelError when what pins is damaged."""
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ModelError(f"{path} can't be read: {error}") from None


def _is_whole(found: FoundBundle) -> bool:
    if not found.folder.is_dir() or (found.source == "hub" and not (found.folder / MANIFEST).is_file()):
        return False
    names = [found.name_of(path) for path in _files(found.folder)]
    return all(any(fnmatch.fnmatchcase(name, pattern) for name in names) for pattern in found.bundle.weights)


def _files(folder: Path) -> Iterator[Path]:
    """Below a folder, in order; what begins with a dot belongs to tools."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path
