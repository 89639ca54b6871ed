"""Fetch a model's weights from a hub, for `catalogd models get`. Nothing else in catalogd downloads.

::

    plan()   what the repository has at its commit now: files, sizes, hashes, licence
    fetch()  .<folder>-<commit>.part/ ◀─ one file after the other; a broken one goes on where it ended
             each file against the hub's hash ─▶ catalogd.json ─▶ fsync ─▶ renamed to <folder>

huggingface_hub speaks with the server: HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what they
mean to it. Only the files that a model needs are taken; pickles are none of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fnmatch
import functools
import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import filelock
import msgspec

from catalogd.errors import CatalogdError, ConflictError, ModelError
from catalogd.models import bundles, weights
from catalogd.models.bundles import MANIFEST, Bundle, FoundBundle, Manifest, PinnedFile
from catalogd.settings import MiB, Settings

_SPARE_BYTES = 256 * MiB  # of the disk that a download leaves free
_READ_BYTES = 4 * MiB  # at a time, when a file is hashed
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


@dataclasses.dataclass(frozen=True)
class HubFile:
    """One file of a repository."""

    name: str  # in the repository
    target: PurePosixPath  # in the folder
    size: int
    sha256: str  # "" for small files, which have a git blob's hash instead
    blob_id: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be fetched."""

    bundle: Bundle
    commit: str  # that the asked revision is now
    licence: str  # as the repository names it; "" when it names none
    files: tuple[HubFile, ...]
    folder: Path  # where it will lie
    endpoint: str | None  # of the hub; None: huggingface_hub's own, or HF_ENDPOINT

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def aside(self) -> Path:
        return self.folder.parent / f".{self.folder.name}-{self.commit[: weights.HASH_DIGITS]}.part"

    @property
    def missing_bytes(self) -> int:
        """What of it is not on the disk yet."""
        return sum(max(0, file.size - _have(self.aside, file)) for file in self.files)


Report = Callable[[str, int, int], None]  # name of the file, bytes done and to do, of all files


def plan(bundle: Bundle, settings: Settings, endpoint: str | None = None) -> Plan:
    """Ask the hub. Raises ModelError: no such repository, no access, no network, another layout."""
    bundle = _with_repo(bundle)
    if not bundle.repo:
        raise ModelError(f"no hub has {bundle.id}: put its folder into the model path, see docs/models.md")
    with _translated(bundle, unreachable=_by_hand(bundle, settings)):
        from huggingface_hub import HfApi

        facts = HfApi(endpoint=endpoint).model_info(
            bundle.repo, revision=bundle.revision, files_metadata=True
        )
        files = tuple(_files(bundle, facts.siblings or []))
    card: Any = facts.card_data or {}
    licence = str(card.get("license_name") or card.get("license") or "")
    folder = bundles.hub_folder(bundle, settings)
    return Plan(bundle, str(facts.sha), licence, files, folder, endpoint)


def _by_hand(bundle: Bundle, settings: Settings) -> str:
    """What to do where no hub can be reached."""
    folder = f"{settings.model_path or 'a folder that you set as model_path'}/{bundle.folder_name}"
    return (
        f"try again, set HF_ENDPOINT to a mirror, or put these files of {bundle.repo} "
        f"into {folder}: {', '.join(bundle.files)}"
    )


def _with_repo(bundle: Bundle) -> Bundle:
    """With the repository where open_clip's list has the weights of MODEL/PRETRAINED."""
    if bundle.repo or not bundle.is_on_hub:
        return bundle
    from catalogd.models import open_clip_model

    try:
        repo = open_clip_model.repository_of(bundle.id)
    except ImportError:
        raise ModelError(f"{bundle.id} needs pip install 'catalogd[gpu]'") from None
    if repo.count("/") != 1:
        raise ModelError(f"open_clip's list has no repository for {bundle.id}: open_clip.list_pretrained()")
    return dataclasses.replace(bundle, repo=repo)


def fetch(plan: Plan, settings: Settings, report: Report) -> FoundBundle:
    """Fetch what is missing, prove it, and put it in place.

    What was fetched before an error stays aside for the next time. Raises ModelError naming what
    failed, ConflictError while another process fetches the same.
    """
    plan.folder.parent.mkdir(parents=True, exist_ok=True)
    _check_disk(plan)
    with _lock(plan):
        _drop_other_commits(plan)
        done = 0
        for file in plan.files:
            _fetch_file(plan, file, functools.partial(_say, report, plan, file, done))
            done += file.size
        _put_in_place(plan, settings)
    return FoundBundle(plan.bundle, plan.folder, "hub", settings.model_cache)


def download(bundle: Bundle, settings: Settings, report: Report, endpoint: str | None = None) -> FoundBundle:
    """`plan` and `fetch` in one."""
    return fetch(plan(bundle, settings, endpoint), settings, report)


def remove(bundle: Bundle, settings: Settings) -> int:
    """Delete what was fetched, in part or whole; the bytes that are free now."""
    folder = bundles.hub_folder(bundle, settings)
    freed = 0
    for path in [folder, *_asides(folder)]:
        freed += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        shutil.rmtree(path, ignore_errors=True)
    return freed


# ── what a repository has ─────────────────────────────────────────────────────────────────────


def _files(bundle: Bundle, siblings: list[Any]) -> Iterator[HubFile]:
    """Those that the model needs. Raises ModelError where the layout is not the one known."""
    found = [file for sibling in siblings if (file := _file(bundle, sibling))]
    named = [pattern for pattern in bundle.files if "*" not in pattern and "/" in pattern]
    for pattern in (*bundle.weights, *named):
        if not any(fnmatch.fnmatchcase(str(file.target), pattern) for file in found):
            raise ModelError(
                f"{bundle.repo} has no {pattern} at {bundle.revision}: its layout is another one"
            )
    yield from sorted(found, key=lambda file: file.name)


def _file(bundle: Bundle, sibling: Any) -> HubFile | None:
    name = str(sibling.rfilename)
    inside = f"{bundle.folder_inside}/" if bundle.folder_inside else ""
    target = PurePosixPath(name.removeprefix(inside))
    if not name.startswith(inside) or not any(fnmatch.fnmatchcase(str(target), p) for p in bundle.files):
        return None
    if target.is_absolute() or ".." in target.parts or str(target) == MANIFEST:
        raise ModelError(f"{bundle.repo} has a file with the name {name!r}, which is not taken")
    sha256 = str(sibling.lfs.sha256) if sibling.lfs else ""
    return HubFile(name, target, int(sibling.size or 0), sha256, str(sibling.blob_id or ""))


# ── one file ──────────────────────────────────────────────────────────────────────────────────


def _have(aside: Path, file: HubFile) -> int:
    """Bytes of a file that are on the disk."""
    for path in (aside / file.target, _part(aside, file)):
        if path.is_file():
            return path.stat().st_size
    return 0


def _part(aside: Path, file: HubFile) -> Path:
    whole = aside / file.target
    return whole.with_name(f".{whole.name}.part")


def _fetch_file(plan: Plan, file: HubFile, report: Callable[[int], None]) -> None:
    whole, part = plan.aside / file.target, _part(plan.aside, file)
    if not whole.is_file():
        whole.parent.mkdir(parents=True, exist_ok=True)
        with _translated(plan.bundle, file.name), _Counted(part, report) as stream:
            _get(plan, file, stream)
        if not _is_right(part, file):
            part.unlink()
            raise ModelError(
                f"{plan.bundle.repo}: {file.name} came with another hash than the hub names; "
                f"try again: catalogd models get {plan.bundle.id}"
            )
        part.replace(whole)
    report(file.size)


class _Counted(io.FileIO):
    """A file that is continued at its end, and says how many bytes it has."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        path.touch()
        super().__init__(path, "r+b")
        self._report = report

    def __exit__(self, *_: object) -> None:
        os.fsync(self.fileno())
        self.close()

    def write(self, content: Any) -> int:
        written = super().write(content)
        self._report(self.tell())
        return written


def _get(plan: Plan, file: HubFile, stream: _Counted) -> None:
    """The rest of a file, tried again as long as a broken connection has brought more of it."""
    while True:
        before = stream.seek(0, os.SEEK_END)
        try:
            return _get_rest(plan, file, stream)
        except Exception:
            if stream.seek(0, os.SEEK_END) <= before:
                raise


def _get_rest(plan: Plan, file: HubFile, stream: _Counted) -> None:
    """A server that can't continue sends all of it, and the start is dropped."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get

    url = hf_hub_url(plan.bundle.repo, file.name, revision=plan.commit, endpoint=plan.endpoint)
    if (have := stream.seek(0, os.SEEK_END)) > file.size:
        stream.truncate(0)
        have = stream.seek(0)
    if have < file.size:
        headers = _hub_utils().build_hf_headers()
        http_get(url, stream, resume_size=have, headers=headers, expected_size=file.size)


def _hub_utils() -> Any:
    """huggingface_hub.utils, whose documented functions are not exported in the way of typed packages."""
    from huggingface_hub import utils

    return utils


def _is_right(path: Path, file: HubFile) -> bool:
    """Against the hub's SHA-256, or for small files the hash of the git blob."""
    if file.sha256:
        return _hash(path, hashlib.sha256()) == file.sha256
    if file.blob_id:
        return (
            _hash(path, hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)) == file.blob_id
        )
    return path.stat().st_size == file.size


def _hash(path: Path, digest: Any) -> str:
    with path.open("rb") as stream:
        while content := stream.read(_READ_BYTES):
            digest.update(content)
    return str(digest.hexdigest())


# ── the folder ────────────────────────────────────────────────────────────────────────────────


def _put_in_place(plan: Plan, settings: Settings) -> None:
    """Pin, make durable, rename. What lay there before is gone only after that."""
    pinned = {
        str(file.target): PinnedFile(
            file.sha256 or _hash(plan.aside / file.target, hashlib.sha256()), file.size
        )
        for file in plan.files
    }
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    manifest = Manifest(plan.bundle.repo, plan.commit, plan.licence, now, pinned)
    with weights.written_aside(plan.aside / MANIFEST) as aside:
        aside.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    old = plan.folder.with_name(f".{plan.folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if plan.folder.exists():
        plan.folder.rename(old)
    plan.aside.rename(plan.folder)
    shutil.rmtree(old, ignore_errors=True)
    for name, file in pinned.items():
        weights.remember_sha256(plan.folder / name, file.sha256, settings.model_cache)


def _asides(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob(f".{folder.name}-*.part"))


def _drop_other_commits(plan: Plan) -> None:
    """What was begun of a commit that is no longer asked for."""
    for path in _asides(plan.folder):
        if path != plan.aside:
            shutil.rmtree(path, ignore_errors=True)


def _check_disk(plan: Plan) -> None:
    free = shutil.disk_usage(plan.folder.parent).free
    if plan.missing_bytes + _SPARE_BYTES > free:
        raise ModelError(
            f"{plan.bundle.id} needs {plan.missing_bytes / 1e9:.1f} GB more in {plan.folder.parent}, "
            f"where {free / 1e9:.1f} GB are free: choose another place with the setting model_cache"
        )


@contextlib.contextmanager
def _lock(plan: Plan) -> Iterator[None]:
    try:
        with filelock.FileLock(plan.folder.with_name(f".{plan.folder.name}.lock"), timeout=0):
            yield
    except filelock.Timeout:
        raise ConflictError(f"another process is fetching {plan.bundle.id}") from None


def _say(report: Report, plan: Plan, file: HubFile, before: int, now: int) -> None:
    report(file.name, before + now, plan.size_bytes)


# ── errors ────────────────────────────────────────────────────────────────────────────────────


# The library lets through what its transport raises: by its version httpx2, httpx or requests.
_TRANSPORTS = ("httpx", "requests", "urllib3")


@contextlib.contextmanager
def _translated(bundle: Bundle, file: str = "", unreachable: str = "") -> Iterator[None]:
    """What huggingface_hub raises, as a ModelError that says what to do; `unreachable`: if nobody answers.

    The library has no one base for what it raises, so all but our own errors are taken.
    """
    try:
        with _quiet():
            yield
    except CatalogdError:
        raise
    except ImportError:
        raise ModelError("fetching models needs pip install 'catalogd[standard]'") from None
    except Exception as error:
        raise ModelError(_explained(bundle, file, error, unreachable)) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own progress bars."""
    utils = _hub_utils()
    was_off = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not was_off:
            utils.enable_progress_bars()


def _explained(bundle: Bundle, file: str, error: Exception, unreachable: str) -> str:
    from huggingface_hub import constants, errors

    what = f"{bundle.repo}/{file}" if file else bundle.repo
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{what}: its owners ask for consent first: give it at https://huggingface.co/{bundle.repo}, "
            "then log in with `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{what}: there is no revision {bundle.revision}"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{what}: the hub does not have this file any more; try again: catalogd models get {bundle.id}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{what}: there is no such repository, or it is private and HF_TOKEN does not open it"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{what}: HF_HUB_OFFLINE is set; unset it to fetch models"
    said = _ERRNO.sub("", str(error).strip().partition("\n")[0]) or type(error).__name__
    again = f"what is here stays; go on with: catalogd models get {bundle.id}"
    if type(error).__module__.startswith(_TRANSPORTS):
        host = urlsplit(constants.ENDPOINT).netloc
        return f"the hub {host} can't be reached ({said}); {unreachable or again}"
    return f"{what}: {said}; {again}"
