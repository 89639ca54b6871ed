"""How long does a query take at 500,000 photos: inside a process, its parts, and cold from the shell?

The catalog is synthetic (bench/synthetic.py). Queries are one to three words of labels, their vectors
taken near photos of the catalog; the text model's own time is left out of the whole and told apart in
the cold start. Wall and CPU of each query; a line a question.

    python bench/bench_query.py [--photos 500000] [--queries 300] [--catalog FOLDER]

`--catalog` names a catalog that bench/synthetic.py filled, or where one is to be kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measure import CATALOGD, median_cost, percentiles, report
from synthetic import fill_to_query, vocabulary

from catalogd import query
from catalogd.catalog import Catalog
from catalogd.catalog.store import JOINT
from catalogd.models import embedding
from catalogd.models.sessions import unit_rows
from catalogd.settings import Settings

Floats = npt.NDArray[np.float32]
NAMED_WORDS = 1000  # of the vocabulary: the labels
DEPTH = 100  # candidates that a query of 20 hits takes from each index
COLD_ROUNDS = 7
WARM_UP = 20
FILTERS = {
    "camera": "camera:nikon {}",
    "a year and ISO": "date:2005 iso:>=1600 {}",
    "text in the picture": "text:{}",
    "filters alone": "camera:canon date:2010-06",
}
# Where a cold query's time goes, told by one process that does what `catalogd query` does.
STAGES = """
import json, os, sys, time
from pathlib import Path
marks = [("python", time.perf_counter())]
def mark(name): marks.append((name, time.perf_counter()))
import click, catalogd.cli; mark("import the command line")
from catalogd import query; from catalogd.catalog import Catalog; from catalogd.settings import load_settings
mark("import query, catalog, numpy, tantivy, lmdb")
settings = load_settings(flags={"catalog": Path(sys.argv[1])})
plan = query.parse(sys.argv[2]); catalog = Catalog.open(settings.catalog, settings); mark("open the catalog")
from catalogd.models.registry import text_encoder
import onnxruntime, tokenizers; mark("import onnxruntime, tokenizers")
encoder = text_encoder(settings.profile, settings); mark("load the text model")
encoder.encode([plan.branches[0].words]); mark("words to a vector")
catalog.search_text(plan.branches[0].words, (), 100); mark("first text search")
from catalogd.catalog.store import JOINT
vector = encoder.encode([plan.branches[0].words])[0]; mark("words to a vector, again")
catalog.search_embeddings(encoder.space + JOINT, vector, 100); mark("first embedding search")
query.search(catalog, plan, encoder); mark("whole search, warm")
print(json.dumps({b: round((t - s) * 1000) for (_, s), (b, t) in zip(marks, marks[1:])}))
"""


class Prepared:
    """Stands for the text model: hands out vectors that were made before."""

    def __init__(self, vectors: Floats) -> None:
        self.space = embedding.joint_space_name()
        self._vectors = vectors
        self._next = 0

    def encode(self, texts: Sequence[str]) -> Floats:
        self._next = (self._next + 1) % len(self._vectors)
        return self._vectors[self._next : self._next + 1]


def query_vectors(catalog: Catalog, count: int) -> Floats:
    """Unit vectors near photos of the catalog, as a text's are: a third of the way to a random direction."""
    some = itertools.islice(catalog.iter_records(), 0, count * 10, 10)
    records = catalog.records([record.photo_id for record in some], with_embeddings=True)
    held = [record.outputs["embedding"].joint_embedding or b"" for record in records if record is not None]
    near = np.array([np.frombuffer(half, "<f2") for half in held], np.float32)
    away = np.random.default_rng(3).standard_normal(near.shape, dtype=np.float32)
    return unit_rows(near + np.float32(0.5) * unit_rows(away))


def query_texts(count: int) -> list[str]:
    words = random.Random(4)
    named = vocabulary()[:NAMED_WORDS]
    return [" ".join(words.choices(named, k=1 + number % 3)) for number in range(count)]


def measure(question: str, work: Callable[[int], object], rounds: int, **facts: Any) -> None:
    """p50 and p99 of `work(0), work(1), …`; the first ones warm caches."""
    for number in range(min(WARM_UP, rounds)):
        work(number)
    wall, cpu = [], []
    for number in range(rounds):
        started, started_cpu = time.perf_counter(), time.process_time()
        work(number)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - started_cpu)
    (wall_50, wall_99), (cpu_50, cpu_99) = percentiles(wall), percentiles(cpu)
    times = {"p50_ms": wall_50, "p99_ms": wall_99, "cpu_p50_ms": cpu_50, "cpu_p99_ms": cpu_99}
    report(question, ours=times, **facts)


def measure_whole(catalog: Catalog, texts: list[str], encoder: Prepared) -> None:
    def whole(text: str) -> list[Any]:
        return list(query.search(catalog, query.parse(text), encoder).hits)

    found = statistics.mean(len(whole(text)) for text in texts[:WARM_UP])
    reach = {"p50_ms": 15, "p99_ms": 60}
    measure("query, whole", lambda i: whole(texts[i]), len(texts), reach=reach, hits=found)
    for name, form in FILTERS.items():
        measure(f"query, whole, {name}", lambda i, form=form: whole(form.format(texts[i])), len(texts))  # type: ignore[misc]


def measure_parts(catalog: Catalog, texts: list[str], encoder: Prepared) -> None:
    count = len(texts)
    space = encoder.space + JOINT
    hits = [
        [hit.photo_id for hit in query.search(catalog, query.parse(text), encoder).hits]
        for text in texts[:50]
    ]
    measure("query, parse", lambda i: query.parse(texts[i]), count)
    measure("query, text part", lambda i: catalog.search_text(texts[i], (), DEPTH), count)
    measure(
        "query, embedding part",
        lambda i: catalog.search_embeddings(space, encoder.encode([""])[0], DEPTH),
        count,
    )
    measure("query, fetch records", lambda i: catalog.records(hits[i % len(hits)]), count)


def measure_cold(folder: Path, texts: list[str]) -> None:
    command = [CATALOGD, "--catalog", str(folder), "query", "--paths", texts[1]]
    ours = median_cost(command, COLD_ROUNDS)
    bare = median_cost([sys.executable, "-c", "pass"], COLD_ROUNDS)
    stages = [
        json.loads(subprocess.check_output([sys.executable, "-c", STAGES, str(folder), texts[1]]))
        for _ in range(3)
    ]
    report(
        "catalogd query, cold process",
        ours={"wall_s": round(ours.wall_s, 2), "cpu_s": round(ours.cpu_s, 2)},
        baseline={"wall_s": round(bare.wall_s, 3), "cpu_s": round(bare.cpu_s, 3)},
        ratio=ours.wall_s / bare.wall_s,
        reach={"wall_s": 1.5},
        stages_ms={name: statistics.median(stage[name] for stage in stages) for name in stages[0]},
        exit_code=ours.exit_code,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=500_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--catalog", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.catalog or Path(name)
        if not (folder / "store").exists():
            fill_to_query(folder, arguments.photos)
        with Catalog.open(folder, Settings(catalog=folder)) as catalog:
            photos = catalog.counts().indexed
            encoder = Prepared(query_vectors(catalog, arguments.queries))
            texts = query_texts(arguments.queries)
            report("synthetic catalog", photos=photos)
            measure_whole(catalog, texts, encoder)
            measure_parts(catalog, texts, encoder)
        measure_cold(folder, texts)


if __name__ == "__main__":
    main()
