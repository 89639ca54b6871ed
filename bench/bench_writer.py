"""How many records a second does the writer take, with all its indexes, and does its memory stay flat?

Commits synthetic records (about 4 KB as stored, some 30 words, one embedding) as the writer process
does: 1,000 a commit, durable, the text index following on its own clock, generations sealed in the
background. The clock stops when all photos are found by word and by embedding; the generation that
an idle catalog seals after that is told apart. Making the records counts too, unless said. Anonymous
memory (RssAnon: indexes that are mapped don't count) is taken as the largest of the run so far. One
JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from catalogd.catalog import Catalog
from catalogd.records import (
    Change,
    Face,
    Facts,
    ObjectBox,
    Output,
    Quality,
    Record,
    Stat,
    Tag,
    TextLine,
    encode,
)
from catalogd.settings import Settings

PROFILE = b"bench---"
SPACE = "bench embedder"
TEMPLATES = 997  # records whose outputs differ; each photo takes one with its own path and embedding


def main() -> None:
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="bench-writer-", dir=arguments.folder))
    try:
        print(json.dumps(_measure(folder, arguments.photos, arguments.vectors)))
    finally:
        shutil.rmtree(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=500_000)
    parser.add_argument("--vectors", type=int, default=384, help="dimension of the embeddings")
    parser.add_argument("--folder", help="where to write (default: the folder for temporary files)")
    return parser.parse_args()


def _measure(folder: Path, photos: int, dimension: int) -> dict[str, Any]:
    settings = Settings(catalog=folder)
    source = _Source(dimension)
    spent = {"make": 0.0, "commit": 0.0, "follow": 0.0, "seal at the end": 0.0}
    memory: dict[int, int] = {}
    largest = 0
    start, cpu, main_cpu = time.perf_counter(), time.process_time(), time.thread_time()
    catalog = Catalog.open(folder, settings, write=True)
    for first in range(0, photos, settings.commit_records):
        with _timed(spent, "make"):
            changes = source.changes(first, min(photos, first + settings.commit_records))
        with _timed(spent, "commit"):
            catalog.commit(changes, PROFILE)
        with _timed(spent, "follow"):
            catalog.follow()
        largest = max(largest, _anonymous_bytes())
        memory[first + len(changes)] = largest
    with _timed(spent, "follow"):
        catalog.follow(force=True)
    wall_s = time.perf_counter() - start
    cpu_s, main_cpu_s = time.process_time() - cpu, time.thread_time() - main_cpu
    with _timed(spent, "seal at the end"):
        catalog.close()
    children = os.times()
    early = memory[min(memory, key=lambda count: abs(count - photos // 10))]
    return {
        "bench": "writer",
        "photos": photos,
        "record_bytes": source.record_bytes,
        "records_per_s": round(photos / wall_s),
        "records_per_s_without_making_them": round(photos / (wall_s - spent["make"])),
        "cpu_us_per_record": {
            "all threads": round(cpu_s / photos * 1e6, 1),
            "main thread": round(main_cpu_s / photos * 1e6, 1),
        },
        "spent_s": {name: round(seconds, 1) for name, seconds in spent.items()},
        "sealing_cpu_s": round(children.children_user + children.children_system, 1),
        "load": os.getloadavg()[0],
        "anonymous_mib": {"at a tenth": early >> 20, "at the end": largest >> 20},
        "memory_ratio": round(largest / early, 2),
        "stored_mib": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) >> 20,
    }


class _timed:  # noqa: N801 - reads as a statement
    def __init__(self, spent: dict[str, float], name: str) -> None:
        self._spent, self._name = spent, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._spent[self._name] += time.perf_counter() - self._start


class _Source:
    """Makes records cheaply: outputs from templates, a path, a content and an embedding of their own."""

    def __init__(self, dimension: int) -> None:
        words = random.Random(1)
        vocabulary = [f"{words.choice('bcdfglmnprst')}{words.choice('aeiou')}{n:x}" for n in range(20_000)]
        self._templates = [_template(words, vocabulary) for _ in range(TEMPLATES)]
        self._vectors = np.random.default_rng(1)
        self._dimension = dimension
        self.record_bytes = 0

    def changes(self, first: int, last: int) -> list[Change]:
        vectors = self._vectors.normal(size=(last - first, self._dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        halves = vectors.astype("<f2")
        changes: list[Change] = [self._record(n, halves[n - first].tobytes()) for n in range(first, last)]
        self.record_bytes = self.record_bytes or len(encode(changes[0]))
        return changes

    def _record(self, number: int, embedding: bytes) -> Record:
        template = self._templates[number % TEMPLATES]
        outputs = {**template.outputs, "embedder": Output(SPACE, embedding=embedding)}
        return msgspec.structs.replace(
            template,
            path=b"/photos/%04d/Trip %03d/IMG_%07d.jpg" % (2000 + number // 25_000, number // 250, number),
            stat=Stat(5_000_000 + number, number),
            content=number.to_bytes(16, "little"),
            outputs=outputs,
        )


def _template(words: random.Random, vocabulary: list[str]) -> Record:
    def some(count: int) -> list[str]:
        return [vocabulary[int(len(vocabulary) * words.random() ** 3)] for _ in range(count)]

    square = ((0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2))
    faces = tuple(
        Face((0.1, 0.2, 0.3, 0.4), (*square, (0.15, 0.15)), 0.99, 0.8, words.randbytes(256)) for _ in range(5)
    )
    return Record(
        path=b"",
        stat=Stat(0, 0),
        content=b"",
        facts=Facts(
            "jpeg", 6000, 4000, camera="Canon EOS R5", lens="RF 24-70mm", iso=words.choice([100, 800])
        ),
        outputs={
            "tagger": Output("bench tagger", tags=tuple(Tag(word, 0.5) for word in some(8))),
            "text": Output(
                "bench text",
                text_lines=tuple(TextLine(" ".join(some(4)), square, 0.9) for _ in range(4)),
            ),
            "objects": Output(
                "bench objects", objects=tuple(ObjectBox(word, (0.1, 0.1, 0.5, 0.5), 0.7) for word in some(4))
            ),
            "faces": Output("bench faces", faces=faces),
            "quality": Output("bench quality", quality=Quality(50, 40, 0.5, 0.3, 0.01, 0.02, 1.5, 30)),
        },
    )


def _anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) << 10


if __name__ == "__main__":
    main()
