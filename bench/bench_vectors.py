"""How well and how cheaply does the embedding index find the 10 nearest of many photos?

One JSON line a set (see vector_sets.py): recall@10, CPU per query of the index and of an exact
float32 matrix-vector product in numpy in the same run, their ratio, the work of a build and its
files; then recall and CPU with `allowed` photos. CPU is that of all threads; with one
BLAS thread the exact product costs least.

    OPENBLAS_NUM_THREADS=1 python -m bench.bench_vectors --photos 500000 --dimension 384
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.vector_sets import NAMES, VectorSet, make_set
from catalogd.catalog.embedding_index import EmbeddingIndex, build_generation
from catalogd.settings import Settings

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
K = 10
SPACE = "bench"
SHARES = (0.5, 0.1, 0.01, 0.001)  # of the photos that a filter allows


class MatrixStore:
    """A store of one commit whose embeddings are a matrix; photo ids are random, as in a catalog."""

    def __init__(self, vectors: npt.NDArray[np.float16]) -> None:
        self._vectors = vectors
        self.ids = np.sort(np.random.default_rng(3).integers(1, 1 << 62, len(vectors)))

    def embeddings(self, space: str, photo_ids: Ids) -> tuple[Ids, npt.NDArray[np.float16]]:
        return photo_ids, self._vectors[np.searchsorted(self.ids, photo_ids)]

    def iter_embeddings(self, space: str, after_id: int, limit: int) -> tuple[Ids, npt.NDArray[np.float16]]:
        start = int(np.searchsorted(self.ids, after_id, "right"))
        return self.ids[start : start + limit], self._vectors[start : start + limit]

    def changes_since(self, commit: int) -> tuple[Ids, Ids]:
        return np.empty(0, np.int64), np.empty(0, np.int64)

    def commit_number(self) -> int:
        return 1

    def mark(self, name: str) -> int | None:
        return None

    def set_mark(self, name: str, value: int | None) -> None:
        raise NotImplementedError("this store is read only")

    def spaces(self) -> dict[str, int]:
        return {SPACE: self._vectors.shape[1]}

    def has_photos(self, photo_ids: Ids) -> npt.NDArray[np.bool_]:
        return np.ones(len(photo_ids), np.bool_)


def main() -> None:
    arguments = _arguments()
    settings = Settings()
    for name in arguments.sets:
        made = make_set(name, arguments.photos, arguments.dimension, arguments.queries)
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            _report(_measure(made, Path(folder), settings))
        del made
        gc.collect()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=500_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--sets", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--folder", type=Path, help="where the index is built; default: the temporary folder")
    return parser.parse_args()


def _report(row: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def _measure(made: VectorSet, folder: Path, settings: Settings) -> dict[str, object]:
    store = MatrixStore(made.vectors)
    started = time.process_time()
    build_generation(folder, store, SPACE)
    build_s = time.process_time() - started
    index = EmbeddingIndex(folder, store, SPACE, settings)
    exact = made.vectors.astype(np.float32)
    truth, exact_ms = _exact(exact, made.queries, store.ids)
    found, index_ms = _timed(made.queries, lambda query: index.search(query, K))
    row: dict[str, object] = {
        "question": "vectors",
        "set": made.name,
        "photos": len(exact),
        "dimension": exact.shape[1],
        "tenth_cosine": round(float(np.mean([scores[-1][1] for scores in truth])), 3),
        "recall": _recall(found, truth),
        "cpu_ms_p50": _percentile(index_ms, 50),
        "cpu_ms_p99": _percentile(index_ms, 99),
        "exact_cpu_ms_p50": _percentile(exact_ms, 50),
        "ratio": round(float(np.median(exact_ms) / np.median(index_ms)), 1),
        "build_cpu_s": round(build_s, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "file_mb": {path.name: path.stat().st_size >> 20 for path in sorted(folder.glob("gen-*/*"))},
    }
    row["allowed"] = [_with_filter(index, store.ids, exact, made.queries, share) for share in SHARES]
    index.close()
    return row


def _exact(vectors: Floats, queries: Floats, ids: Ids) -> tuple[list[list[tuple[int, float]]], list[float]]:
    """The true nearest, and the CPU ms of each query's product alone, without choosing the best."""
    truth, cpu_ms = [], []
    for query in queries:
        started = time.process_time()
        scores = vectors @ query
        cpu_ms.append((time.process_time() - started) * 1e3)
        rows = np.argpartition(-scores, K - 1)[:K]
        rows = rows[np.argsort(-scores[rows])]
        truth.append(list(zip(ids[rows].tolist(), scores[rows].tolist(), strict=True)))
    return truth, cpu_ms


def _timed(
    queries: Floats, answer: Callable[[Floats], list[tuple[int, float]]]
) -> tuple[list[list[tuple[int, float]]], list[float]]:
    answer(queries[0])
    answers, cpu_ms = [], []
    for query in queries:
        started = time.process_time()
        answers.append(answer(query))
        cpu_ms.append((time.process_time() - started) * 1e3)
    return answers, cpu_ms


def _recall(
    found: Sequence[Sequence[tuple[int, float]]], truth: Sequence[Sequence[tuple[int, float]]]
) -> float:
    """Share of the true nearest that were found."""
    hits = sum(
        len({photo for photo, _ in a} & {photo for photo, _ in b}) for a, b in zip(found, truth, strict=True)
    )
    return round(hits / sum(len(b) for b in truth), 4)


def _percentile(values: Sequence[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 2)


def _with_filter(
    index: EmbeddingIndex, ids: Ids, exact: Floats, queries: Floats, share: float
) -> dict[str, float]:
    """Recall and CPU when only a random `share` of the photos may be found."""
    rng = np.random.default_rng(5)
    rows = np.flatnonzero(rng.random(len(exact)) < share)
    allowed = ids[rows]
    truth, _ = _exact(exact[rows], queries[:50], allowed)
    found, cpu_ms = _timed(queries[:50], lambda query: index.search(query, K, allowed))
    return {"share": share, "recall": _recall(found, truth), "cpu_ms_p50": _percentile(cpu_ms, 50)}


if __name__ == "__main__":
    main()
