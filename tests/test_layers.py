"""Imports go down only, every heavy library has one home, and `--help` stays light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "catalogd"
LAYERS = [
    {"cli"},
    {"terminal", "doctor", "demo", "plugin", "sheets", "terminal_images"},
    {"daemon"},
    {"web", "service"},
    {"pipeline", "query", "sync", "duplicates", "culling", "json_forms"},
    {"images", "thumbnails", "metadata", "models", "catalog", "run_state", "jobs"},
    {"settings", "records", "folding", "_native"},
    {"errors"},
]
# `catalogd.images` reads the facts of a file with `catalogd.metadata` while it has the bytes.
# A position that a person set gets its names as one in a file does.
# A thumbnail is a frame once more, so it fits its edge as frames do.
SIDEWAYS = {
    ("images", "metadata"),
    ("catalog", "metadata"),
    ("thumbnails", "images"),
    ("terminal_images", "sheets"),
    ("web", "service"),  # the server process answers both ways
    ("query", "models"),
    ("culling", "duplicates"),
    ("sync", "query"),  # smart collections of Lightroom become queries
    ("records", "errors"),
    ("settings", "errors"),
    ("jobs", "run_state"),
}
HOMES = {
    "torch": {"models"},
    "torchvision": {"models"},
    "transformers": {"models"},
    "open_clip": {"models"},
    "safetensors": {"models"},
    "huggingface_hub": {"models"},
    "onnxruntime": {"models"},
    "onnx": {"models"},
    "cv2": {"models"},
    "tokenizers": {"models"},
    "httpx": {"models"},
    "lmdb": {"catalog"},
    "tantivy": {"catalog"},
    "annoy": {"catalog"},
    "faiss": {"catalog"},
    "click": {"cli"},
    "watchfiles": {"daemon"},
    "fastapi": {"web"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "pydantic": {"web"},
    "prometheus_client": {"web"},
    "rich": {"terminal", "cli"},
    "PIL": {"images", "metadata", "thumbnails", "sheets", "terminal_images"},
    "pillow_heif": {"images"},
    "av": {"images"},
    "pylibjxl": {"images"},
    "tifffile": {"images"},
    "rawpy": {"images"},
    "simplejpeg": {"images", "thumbnails", "models"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def level(part: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def imports(path: Path) -> list[str]:
    """Dotted names imported anywhere in a module, but not under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names: list[str] = []
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names if node.module == "catalogd"]
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_and_heavy_libraries_stay_at_home(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert not imports(path)[1:], "importing catalogd imports nothing heavy"
        return
    here = part_of(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "catalogd" and len(parts) > 1 and parts[1] != "__version__":
            there = parts[1]
            if there != here:
                assert level(there) > level(here) or (here, there) in SIDEWAYS, f"{here} imports {name}"
        elif parts[0] in HOMES:
            assert here in HOMES[parts[0]], f"{here} imports {name}"


def test_help_starts_without_numpy_onnxruntime_or_torch_in_little_cpu() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['catalogd', '--help']\n"
        "from catalogd.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'onnxruntime', 'torch', 'lmdb', 'tantivy', 'PIL', 'rich', 'fastapi'}\n"
        "heavy &= set(sys.modules)\n"
        "import resource\n"
        "usage = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print('HEAVY', sorted(heavy), file=sys.stderr)\n"
        "print('CPU', usage.ru_utime + usage.ru_stime, file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    times = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=True,
        )
        assert "Usage: catalogd" in done.stdout
        assert "HEAVY []" in done.stderr
        times.append(float(done.stderr.split("CPU ")[1]))
    assert min(times) < 0.3
