"""`catalogd doctor`: what is missing on this machine, and the command that fixes it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from catalogd.errors import CatalogdError, ConflictError, ExiftoolError
from catalogd.metadata.exiftool import find_exiftool
from catalogd.models import devices, registry
from catalogd.pipeline.ring import affordable_slots, slot_bytes
from catalogd.run_state import read_server
from catalogd.settings import GiB, Settings
from catalogd.web.binding import chosen_binding
from catalogd.web.tokens import read_token, token_path

_LIBRARIES = {
    "catalogd._native": "the compiled kernels",
    "simplejpeg": "JPEG",
    "PIL": "PNG, TIFF, WebP, AVIF",
    "pillow_heif": "HEIC",
    "rawpy": "RAW",
    "lmdb": "the records",
    "tantivy": "the text index",
    "annoy": "the embedding indexes",
    "watchfiles": "watching folders",
    "fastapi": "the HTTP API",
    "uvicorn": "the HTTP API",
    "prometheus_client": "the HTTP API's numbers",
}
_ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_LITTLE_DISK_BYTES = 2 * GiB
_WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
_FEW_WATCHES = 65_536  # one a folder


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing looked at. `ok` None is a note: it works, with a limit."""

    name: str
    ok: bool | None
    text: str
    fix: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything a run and a query need."""
    findings = [_python(), *_libraries(), _vector_engine(settings), _exiftool(settings)]
    findings += [
        *_devices(settings),
        *_models(settings),
        _disk(settings),
        _shared_memory(settings),
        *_watches(),
    ]
    return [*findings, _api(settings)]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(
        "python", sys.version_info >= (3, 11), version, "" if sys.version_info >= (3, 11) else "install 3.11"
    )


def _libraries() -> Iterator[Finding]:
    for name, purpose in _LIBRARIES.items():
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield Finding(name, False, f"{purpose}: {error}", "pip install --force-reinstall catalogd")
        else:
            yield Finding(name, True, purpose)


def _vector_engine(settings: Settings) -> Finding:
    try:
        importlib.import_module("faiss")
    except ImportError:
        text = "annoy: from 100,000 photos on a search by meaning takes several times as long as with faiss"
        asked = settings.vector_engine == "faiss"
        return Finding("vector engine", False if asked else None, text, "pip install 'catalogd[faiss]'")
    return Finding("vector engine", True, "annoy" if settings.vector_engine == "annoy" else "faiss")


def _exiftool(settings: Settings) -> Finding:
    try:
        program = find_exiftool(settings.exiftool)
    except ExiftoolError as error:
        wrong, _, fix = str(error).partition(": ")
        missed = f"{wrong}: no sidecars are written, old cameras' lenses keep no name"
        return Finding("exiftool", False if settings.exiftool else None, missed, fix)
    uses = "sidecars, lenses of old cameras"
    return Finding("exiftool", True, f"{program.version}, {program.path} ({program.origin}): {uses}")


def _devices(settings: Settings) -> Iterator[Finding]:
    """Where models run, and GPUs that lie idle."""
    try:
        chosen = devices.chosen(settings.devices)
        named = [f"GPU {gpu} in {devices.precision_of(gpu, settings)}" for gpu in chosen if gpu.is_gpu]
    except CatalogdError as error:
        yield Finding("devices", False, str(error), "the settings devices and precision")
        return
    idle = [str(gpu) for gpu in devices.present() if not devices.is_usable(gpu)]
    if idle:
        text = f"models run on the CPU: nothing is installed that uses GPU {', '.join(idle)}"
        yield Finding("devices", None, text, "pip install 'catalogd[gpu]'")
        return
    yield Finding("devices", True, f"models run on {', '.join(named) or 'the CPU'}")
    if any(gpu.kind == "cuda" for gpu in chosen) and not devices.onnxruntime_has_cuda():
        text = "the installed onnxruntime has no CUDA: models in ONNX do not run on a GPU"
        yield Finding(
            "onnxruntime",
            False,
            text,
            "pip uninstall -y onnxruntime onnxruntime-gpu; pip install onnxruntime-gpu",
        )


def _models(settings: Settings) -> Iterator[Finding]:
    try:
        choice = registry.chosen(settings)
        rows = registry.describe("", settings)
    except CatalogdError as error:
        yield Finding("profile", False, str(error), "catalogd models")
        return
    yield Finding("profile", True, choice.profile)
    for name in dict.fromkeys(row.name for row in rows):
        yield _model(name, [row for row in rows if row.name == name])
    for sentence in registry.stand_ins(choice):
        text, _, fix = sentence.partition(" → ")
        yield Finding("licence", None, text, fix)
    yield from _onnxruntimes()


def _model(name: str, rows: list[registry.ModelInfo]) -> Finding:
    """One model: wrong weights, then missing ones, then those that would only make it better."""
    purpose = rows[0].purpose
    for row in rows:
        if row.sha256_ok is False:
            return Finding(
                f"model {name}", False, f"{purpose}: {row.file} is not the file it should be", row.install
            )
    missing = [row for row in rows if row.source == "missing"]
    fixes = "; ".join(dict.fromkeys(row.install for row in rows if row.install))
    if len(missing) == len(rows) and all(row.optional for row in rows):
        return Finding(f"model {name}", None, f"{purpose}: an extra that is not installed", fixes)
    if [row for row in missing if not row.optional] or (fixes and not missing):
        return Finding(f"model {name}", False, f"{purpose}: {_lack(rows, missing)}", fixes)
    if missing:
        return Finding(f"model {name}", None, f"{purpose}: works, better with {missing[0].package}", fixes)
    return Finding(f"model {name}", True, f"{purpose}, {rows[0].id} from {rows[0].source}")


def _lack(rows: list[registry.ModelInfo], missing: list[registry.ModelInfo]) -> str:
    if not missing and any(row.is_accepted is False for row in rows):
        return f"{rows[0].id} is not for everyone ({rows[0].licence})"
    return f"{rows[0].id} is missing"


def _onnxruntimes() -> Iterator[Finding]:
    """Both packages lay the same files, and the one installed last wins; removing one breaks the other."""
    installed = [name for name in _ONNXRUNTIMES if _is_installed(name)]
    if len(installed) > 1:
        text = f"{' and '.join(installed)} share a folder: the one that was installed last runs, or a mixture"
        fix = f"pip uninstall -y {' '.join(installed)}; pip install {installed[-1]}"
        yield Finding("onnxruntime packages", None, text, fix)


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _disk(settings: Settings) -> Finding:
    folder = settings.catalog
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return Finding("catalog", False, f"{folder} is not a folder", "choose another place with --catalog")
    free = shutil.disk_usage(folder).free
    text = f"{free / GiB:.1f} GiB free for {settings.catalog}"
    if not os.access(folder, os.W_OK):
        return Finding("catalog", False, f"{folder} can't be written", "choose another place with --catalog")
    fix = (
        ""
        if free >= _LITTLE_DISK_BYTES
        else "500,000 photos take about 8 GiB and their thumbnails 16: choose another place with --catalog"
    )
    return Finding("catalog", True if not fix else None, text, fix)


def _shared_memory(settings: Settings) -> Finding:
    wanted = settings.ring_bytes // slot_bytes(settings.frame_edge_px)
    try:
        slots = affordable_slots(settings.ring_bytes, settings.frame_edge_px)
    except CatalogdError as error:
        return Finding("shared memory", False, str(error), "docker run --shm-size=256m")
    fix = "" if slots >= wanted else "docker run --shm-size=256m, or lower ring_bytes"
    return Finding(
        "shared memory", True if not fix else None, f"room for {slots} frames of {wanted} wanted", fix
    )


def _watches() -> Iterator[Finding]:
    try:
        limit = int(_WATCH_LIMIT.read_text())
    except (OSError, ValueError):
        return
    fix = "" if limit >= _FEW_WATCHES else "sudo sysctl fs.inotify.max_user_watches=524288"
    yield Finding("watches", True if not fix else None, f"{limit:,} folders can be watched", fix)


def _api(settings: Settings) -> Finding:
    """Whether the HTTP API can be served, or who serves it."""
    try:
        binding = chosen_binding(settings)
        with contextlib.suppress(FileNotFoundError):  # whoever serves makes one
            read_token(token_path(settings))
    except CatalogdError as error:
        return Finding("api", False, str(error), "the settings http_*: docs/settings.md, docs/security.md")
    if server := read_server(settings.catalog):
        return Finding("api", True, f"at {server['url']}, process {server['pid']}")
    try:
        binding.listen().close()
    except ConflictError as error:
        return Finding("api", None, str(error), "http_port in the settings")
    except CatalogdError as error:
        return Finding("api", False, str(error), "http_host and http_port in the settings")
    served = "`catalogd run` and `catalogd serve` serve it" if settings.http else "`catalogd serve` serves it"
    return Finding("api", True, f"{binding.url(settings.http_port)} is free; {served}")
