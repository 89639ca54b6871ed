"""What a run tells others about itself: its lock, its status file, and requests left for it.

`run.lock` is held while a process works on the catalog for writing; `run.json` says how a run is
going; `requests/` holds what other processes ask of it. `server.json` says where the HTTP API is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import msgspec

from catalogd.errors import CatalogError, CatalogLockedError
from catalogd.records import SidecarsKnown, display_path, encode

_SHOWN_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")  # a byte that is no UTF-8, in a path for people
_LOCK_PATIENCE_S = 1.0  # who only asks whether a run is alive holds the lock for a moment
_STATUS_BLOCK_BYTES = 4096  # run.json is padded to these, so that a full disk can still be reported


@dataclasses.dataclass(frozen=True)
class DeviceProgress:
    """What one device did in this run."""

    label: str  # "cpu", "cuda:0"
    name: str  # for people
    photos: int
    busy_s: float  # that it had work
    switched_off: tuple[str, ...]  # models that failed there, and that the run goes on without


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run is; what the terminal shows, `--json` prints and `catalogd status` reads."""

    state: str  # "loading", "indexing", "watching", "disk_full", "draining", "done"
    scanning: bool
    total: int  # photos that this run found to do so far
    done: int
    failed: int
    moved: int
    missing: int
    unchanged: int
    model_errors: dict[str, int]  # model → photos on which it alone failed; see `catalogd show`
    rate: float  # photos a second over the last 30 s
    eta_s: float | None
    limit: str  # "reading", "inference", "writing", "loading", "-"
    ring_used: int
    ring_slots: int
    elapsed_s: float
    offline: tuple[str, ...]  # roots and mounts that are not there now
    notes: tuple[str, ...]  # what the owner should know: a smaller ring, a folder that can't be read
    thumbnails_failed: int = 0  # photos whose thumbnail could not be kept
    sidecars: int = 0  # written by this run
    sidecars_refused: int = 0
    api: str = ""  # where the HTTP API is, while it is served
    search_model: float | None = None  # share of photos that a new model of search by meaning has seen
    devices: tuple[DeviceProgress, ...] = ()  # where models run; () before the first photo
    said: tuple[str, ...] = ()  # what models say of themselves now: what a server cost
    loading: tuple[str, ...] = ()  # models that are being loaded; the first time it may take minutes
    left: dict[str, int] = dataclasses.field(default_factory=dict)  # model → photos left for the next run

    @property
    def pending(self) -> int:
        return self.total - self.done


class Lock:
    """One run a catalog. Others read who holds it."""

    def __init__(self, catalog: Path, patience_s: float = _LOCK_PATIENCE_S) -> None:
        self._lock = filelock.FileLock(catalog / "run.lock")
        try:
            catalog.mkdir(mode=0o700, parents=True, exist_ok=True)  # all of it is for its owner
            self._lock.acquire(timeout=patience_s)
        except filelock.Timeout:
            raise CatalogLockedError(_held(catalog)) from None
        except OSError as error:
            raise CatalogError(f"{catalog}: {error.strerror}; choose another place with --catalog") from None

    def release(self) -> None:
        self._lock.release()


def _held(catalog: Path) -> str:
    status = read_status(catalog)
    if status and status["running"] and is_alive(status["pid"]):
        who = f"the run of process {status['pid']} on {status['host']}; stop it first (Ctrl-C there)"
    else:
        who = "another catalogd command; wait for it"
    return f"{catalog} is in use by {who}, or use another --catalog"


def is_running(catalog: Path) -> bool:
    """Whether a run holds the catalog now; `check` and `rebuild` hold its lock too and are none."""
    status = read_status(catalog)
    if status is None or not status["running"] or not is_alive(status["pid"]):
        return False
    try:
        Lock(catalog, patience_s=0.0).release()
    except CatalogLockedError:
        return True
    return False


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def read_status(catalog: Path) -> dict[str, Any] | None:
    """What the last run wrote about itself; None when there is nothing."""
    try:
        status = json.loads((catalog / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None


def roots_of(status: dict[str, Any] | None) -> list[bytes]:
    """The folders of the run that wrote this status; [] without one."""
    return [_spelled(str(root)) for root in (status or {}).get("roots") or ()]


def _spelled(text: str) -> bytes:
    """The path that `display_path` showed so: as it stands, or with the bytes that it stands for."""
    path = os.fsencode(text)
    raw = _SHOWN_BYTE.sub(lambda match: bytes([int(match[1], 16)]), path)
    return raw if os.path.lexists(raw) and not os.path.lexists(path) else path


def read_server(catalog: Path) -> dict[str, Any] | None:
    """Where the HTTP API of this catalog is: pid, url, started_at; None while none is served."""
    try:
        server = json.loads((catalog / "server.json").read_text("ascii"))
        return server if is_alive(int(server["pid"])) and isinstance(server["url"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tell_server(catalog: Path, url: str) -> None:
    """Say that this process serves the HTTP API at `url`; for the owner's programs alone."""
    aside = catalog / f"server.json.{uuid.uuid4().hex}.tmp"
    with contextlib.suppress(OSError):  # a full disk: it is served all the same
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump({"pid": os.getpid(), "url": url, "started_at": time.time()}, stream)
        aside.replace(catalog / "server.json")


def forget_server(catalog: Path) -> None:
    """This process serves no more."""
    server = read_server(catalog)
    if server is not None and server["pid"] == os.getpid():
        (catalog / "server.json").unlink(missing_ok=True)


def request_retry(catalog: Path, paths: list[bytes]) -> None:
    """Ask the running daemon to try failed photos again; it looks every second."""
    folder = catalog / "requests"
    folder.mkdir(exist_ok=True)
    aside = folder / f"{uuid.uuid4().hex}.tmp"
    aside.write_text(json.dumps([os.fsdecode(path) for path in paths]), "ascii")
    aside.rename(aside.with_suffix(".json"))


def _overwrite(file: Path, text: str) -> None:
    """Write into the blocks that the file has already; nothing happens when that fails too."""
    with contextlib.suppress(OSError), file.open("r+", encoding="ascii") as stream:
        stream.write(text.ljust(os.fstat(stream.fileno()).st_size))


def write_status(
    catalog: Path, roots: list[bytes], profile: str, started_at: float, progress: Progress, running: bool
) -> None:
    """Replace run.json; on a full disk its own blocks are written again."""
    status = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "roots": [display_path(root) for root in roots],
        "running": running,
        "started_at": started_at,
        "updated_at": time.time(),
        "profile": profile,
        "pending": progress.pending,
        **dataclasses.asdict(progress),
    }
    text = json.dumps(status)
    text += " " * (-len(text) % _STATUS_BLOCK_BYTES)
    aside = catalog / "run.json.tmp"
    try:
        aside.write_text(text, "ascii")
        aside.replace(catalog / "run.json")
    except OSError:  # a full disk must not stop the run that reports it
        _overwrite(catalog / "run.json", text)
        with contextlib.suppress(OSError):
            aside.unlink()


def tell_sidecars(catalog: Path, known: list[SidecarsKnown]) -> None:
    """Tell the running daemon of sidecars that this process has written."""
    folder = catalog / "requests"
    folder.mkdir(exist_ok=True)
    aside = folder / f"{uuid.uuid4().hex}.tmp"
    aside.write_bytes(encode(known))
    aside.rename(aside.with_suffix(".sidecars"))


def take_sidecars(catalog: Path) -> Iterator[SidecarsKnown]:
    """What other processes told of sidecars; it is taken once."""
    for file in (catalog / "requests").glob("*.sidecars"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            yield from msgspec.msgpack.decode(file.read_bytes(), type=list[SidecarsKnown])
        file.unlink(missing_ok=True)


def take_requests(catalog: Path) -> Iterator[list[bytes]]:
    """The paths of each request to try photos again; a request is taken once."""
    folder = catalog / "requests"
    if not folder.is_dir():
        return
    for file in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            yield [os.fsencode(str(path)) for path in json.loads(file.read_text("ascii"))]
        file.unlink(missing_ok=True)
