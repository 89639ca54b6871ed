"""The naive tool: what a person writes who wants the same answers and has not measured.

One module a model. Each module walks the folder, and for every photo opens the file, decodes all of
it with Pillow, turns it upright, resizes it to the frame that catalogd's models get, runs the one model
on the one photo, and commits its answer to SQLite before the next. The models and their weights are
catalogd's own; their sessions have as many threads as onnxruntime chooses by default.

    python bench/naive.py FOLDER DATABASE [--profile starter]
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageOps

from catalogd.models import Model, registry
from catalogd.settings import Settings

DEFAULT_THREADS = 0  # onnxruntime chooses, as for a session made without options
EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".heic"}


def read_photo(path: Path, edge_px: int) -> npt.NDArray[np.uint8]:
    """The photo upright, RGB, its long edge at most `edge_px`."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        upright.thumbnail((edge_px, edge_px), Image.Resampling.LANCZOS, reducing_gap=None)
        return np.array(upright)


def open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE outputs (path TEXT, model TEXT, output BLOB, PRIMARY KEY (path, model))")
    return database


def photos_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS)


def run_module(model: Model, folder: Path, database: sqlite3.Connection, edge_px: int) -> int:
    """One model over the whole folder; returns the number of photos."""
    model.load()
    count = 0
    for path in photos_in(folder):
        output = model.run([read_photo(path, edge_px)])[0]
        database.execute(
            "INSERT INTO outputs VALUES (?, ?, ?)", (str(path), model.name, msgspec.msgpack.encode(output))
        )
        database.commit()
        count += 1
    model.unload()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("--profile", default="starter")
    arguments = parser.parse_args()
    settings = Settings()
    pillow_heif.register_heif_opener()
    database = open_database(arguments.database)
    for model in registry.profile_models(arguments.profile, settings, DEFAULT_THREADS):
        started, cpu = time.monotonic(), time.process_time()
        count = run_module(model, arguments.folder, database, settings.frame_edge_px)
        took = {"wall_s": time.monotonic() - started, "cpu_s": time.process_time() - cpu}
        sys.stdout.write(json.dumps({"module": model.name, "photos": count, **took}) + "\n")


if __name__ == "__main__":
    main()
