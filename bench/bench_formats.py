"""Which of the files in some folders are opened, of all that any of Pillow, rawpy or pillow-heif opens?

    python bench/bench_formats.py DIR...

One JSON line a format, as the peers name it: how many files a peer decodes, how many of those become
a frame here, and which do not, with the reason. EPS is left out: Pillow runs Ghostscript for it.
Files that nobody opens are counted in the last line. Each file is read in a process with a limit on
its memory, so that one bomb does not end the bench.
"""

from __future__ import annotations

import collections
import concurrent.futures
import io
import multiprocessing
import os
import resource
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pillow_heif
import rawpy
from measure import report
from PIL import Image

from catalogd.errors import PhotoError
from catalogd.images import read_frame
from catalogd.settings import Settings

LIMITS = Settings(frame_edge_px=320)
MEMORY_BYTES = 4 << 30
MAX_BYTES = 200 << 20
TEXT_ENDINGS = (".py", ".pyc", ".so", ".txt", ".h", ".hpp", ".js", ".json", ".md", ".rst", ".html", ".c")
NO_PICTURES = {"EPS", "PDF", "MPEG", "HDF5", "BUFR", "GRIB", "WMF"}


class Opened(NamedTuple):
    path: str
    peer: str | None  # the format, as the first peer that decodes it names it
    ours: str | None
    refusal: str


def by_peers(content: bytes) -> str | None:
    for opened in (by_pillow, by_rawpy):
        try:
            return opened(content)
        except Exception:
            continue
    return None


def by_pillow(content: bytes) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content)) as image:
            if image.format in NO_PICTURES:
                raise ValueError(image.format)
            image.load()
            return image.format


def by_rawpy(content: bytes) -> str:
    with rawpy.imread(io.BytesIO(content)) as raw:
        raw.postprocess(half_size=True)
    return "RAW"


def by_us(path: Path) -> tuple[str | None, str]:
    slot = np.empty(LIMITS.frame_edge_px**2 * 3, np.uint8)
    try:
        return read_frame(bytes(path), slot, LIMITS).facts.format, ""
    except PhotoError as error:
        return None, f"{error.reason}: {error}"
    except Exception as error:  # never right: `read_frame` raises nothing else for a file
        return None, f"DEFECT {type(error).__name__}: {error}"


def open_file(path: Path) -> Opened:
    content = path.read_bytes()
    return Opened(str(path), by_peers(content), *by_us(path))


def prepare() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    pillow_heif.register_heif_opener()


def candidates(folders: list[str]) -> list[Path]:
    paths = [
        Path(folder) / name
        for root in folders
        for folder, _, names in os.walk(root)
        for name in sorted(names)
    ]
    return [
        path
        for path in paths
        if path.is_file()
        and not path.is_symlink()
        and 0 < path.stat().st_size <= MAX_BYTES
        and not path.name.lower().endswith(TEXT_ENDINGS)
    ]


def main() -> None:
    context = multiprocessing.get_context("spawn")
    found: dict[str, list[Opened]] = collections.defaultdict(list)
    nobody = ours_alone = 0
    with concurrent.futures.ProcessPoolExecutor(1, context, prepare, max_tasks_per_child=500) as pool:
        for opened in pool.map(open_file, candidates(sys.argv[1:]), chunksize=20):
            if opened.peer is not None:
                found[opened.peer].append(opened)
            elif opened.ours is not None:
                ours_alone += 1
            else:
                nobody += 1
    for peer, files in sorted(found.items()):
        missing = [(file.path, file.refusal) for file in files if file.ours is None]
        report(peer, files=len(files), opened=len(files) - len(missing), missing=missing)
    everything = [file for files in found.values() for file in files]
    opened = sum(file.ours is not None for file in everything)
    report("all", files=len(everything), opened=opened, by_us_alone=ours_alone, by_nobody=nobody)


if __name__ == "__main__":
    main()
