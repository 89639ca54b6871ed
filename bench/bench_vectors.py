"""How well and how cheaply does the embedding index find the 10 nearest of many photos, by engine?

One JSON line a set (see vector_sets.py) and engine: recall@10, CPU per query of the index and of an
exact float32 matrix-vector product in numpy in the same run, their ratio, the work of a build and
its files; the same with photos that were added and removed since the build; then recall and CPU
behind filters: a random share of the photos, a range of them that hangs together (as a year or a
trip does), and the half that lies farthest from each query. CPU is that of all threads; with one
BLAS thread the exact product costs least.

    OPENBLAS_NUM_THREADS=1 python -m bench.bench_vectors --photos 500000 --dimension 384
    OPENBLAS_NUM_THREADS=1 python -m bench.bench_vectors --sets real --catalog ~/.local/share/catalogd
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.vector_sets import NAMES, VectorSet, make_set, real_set
from catalogd.catalog.embedding_index import EmbeddingIndex
from catalogd.catalog.generations import ENGINES, build_generation
from catalogd.catalog.vectors import Allowed, dot
from catalogd.settings import Settings

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
K = 10
SPACE = "bench"
SHARES = (0.5, 0.1, 0.01, 0.001)  # of the photos that a filter allows
FILTERED_QUERIES = 50
CHANGED = 20_000  # photos added, and as many removed, since the build: what a busy run lets gather


class MatrixStore:
    """A store whose embeddings are a matrix; photo ids are random, as in a catalog.

    Its second commit adds the last `CHANGED` photos and removes as many others.
    """

    def __init__(self, vectors: npt.NDArray[np.float16]) -> None:
        rng = np.random.default_rng(3)
        self._vectors = vectors
        self.ids = np.sort(rng.integers(1, 1 << 62, len(vectors)))
        changed = rng.permutation(len(vectors))[: 2 * min(CHANGED, len(vectors) // 8)]
        self._changed = self.ids[np.sort(changed)]
        self._added = np.zeros(len(vectors), np.bool_)
        self._added[changed[::2]] = True
        self._removed = np.zeros(len(vectors), np.bool_)
        self._removed[changed[1::2]] = True
        self._commit = 1

    def change(self) -> None:
        """The second commit."""
        self._commit = 2

    def present(self) -> Mask:
        return ~self._added if self._commit == 1 else ~self._removed

    def embeddings(self, space: str, photo_ids: Ids) -> tuple[Ids, npt.NDArray[np.float16]]:
        return photo_ids, self._vectors[np.searchsorted(self.ids, photo_ids)]

    def iter_embeddings(self, space: str, after_id: int, limit: int) -> tuple[Ids, npt.NDArray[np.float16]]:
        start = int(np.searchsorted(self.ids, after_id, "right"))
        return self.ids[start : start + limit], self._vectors[start : start + limit]

    def changes_since(self, commit: int) -> tuple[Ids, Ids]:
        changed = self._changed if commit < self._commit else self._changed[:0]
        return np.full(len(changed), 2, np.int64), changed

    def commit_number(self) -> int:
        return self._commit

    def mark(self, name: str) -> int | None:
        return None

    def set_mark(self, name: str, value: int | None) -> None:
        raise NotImplementedError("this store is read only")

    def spaces(self) -> dict[str, int]:
        return {SPACE: self._vectors.shape[1]}

    def has_photos(self, photo_ids: Ids) -> Mask:
        return self.present()[np.searchsorted(self.ids, photo_ids)]


def main() -> None:
    arguments = _arguments()
    for name in arguments.sets:
        made = _made(name, arguments)
        for engine in arguments.engines:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                _report(_measure(made, Path(folder), engine))
        del made
        gc.collect()


def _made(name: str, arguments: argparse.Namespace) -> VectorSet:
    if name == "real":
        return real_set(arguments.catalog, arguments.photos, arguments.dimension, arguments.queries)
    return make_set(name, arguments.photos, arguments.dimension, arguments.queries)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=500_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--sets", nargs="+", choices=(*NAMES, "real"), default=NAMES)
    parser.add_argument("--engines", nargs="+", choices=sorted(ENGINES), default=sorted(ENGINES))
    parser.add_argument("--catalog", type=Path, help="whose embeddings the set `real` is drawn from")
    parser.add_argument("--folder", type=Path, help="where the index is built; default: the temporary folder")
    return parser.parse_args()


def _report(row: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def _measure(made: VectorSet, folder: Path, engine: str) -> dict[str, object]:
    store = MatrixStore(made.vectors)
    started = time.process_time()
    build_generation(folder, store, SPACE, engine)
    build_s = time.process_time() - started
    index = EmbeddingIndex(folder, store, SPACE, Settings())
    scores = [dot(made.vectors.view(np.int16), query) for query in made.queries]
    found, index_ms = _timed(made.queries, lambda query: index.search(query, K))
    exact_ms = _exact_ms(made)
    row: dict[str, object] = {
        "question": "vectors",
        "set": made.name,
        "engine": engine,
        "photos": len(made.vectors),
        "dimension": made.vectors.shape[1],
        "recall": _recall(found, store, scores, [store.present()] * len(scores)),
        "cpu_ms_p50": _percentile(index_ms, 50),
        "cpu_ms_p99": _percentile(index_ms, 99),
        "exact_cpu_ms_p50": _percentile(exact_ms, 50),
        "ratio": round(float(np.median(exact_ms) / np.median(index_ms)), 1),
        "build_cpu_s": round(build_s, 1),
        "file_mb": {path.name: path.stat().st_size >> 20 for path in sorted(folder.glob("gen-*/*"))},
    }
    row["allowed"] = _behind_filters(index, store, made, scores)
    store.change()
    index.refresh()
    found, changed_ms = _timed(made.queries, lambda query: index.search(query, K))
    row["changed_recall"] = _recall(found, store, scores, [store.present()] * len(scores))
    row["changed_cpu_ms_p50"] = _percentile(changed_ms, 50)
    index.close()
    return row


def _exact_ms(made: VectorSet) -> list[float]:
    """The CPU ms of each product of all vectors with a query, without choosing the best."""
    vectors = made.vectors.astype(np.float32)
    return _timed(made.queries[:FILTERED_QUERIES], lambda query: vectors @ query)[1]


def _timed(queries: Floats, answer: Callable[[Floats], object]) -> tuple[list[object], list[float]]:
    answer(queries[0])
    answers, cpu_ms = [], []
    for query in queries:
        started = time.process_time()
        answers.append(answer(query))
        cpu_ms.append((time.process_time() - started) * 1e3)
    return answers, cpu_ms


def _recall(found: Sequence[object], store: MatrixStore, scores: list[Floats], masks: list[Mask]) -> float:
    """Share of the true nearest of each mask's photos that were found."""
    hits = total = 0
    for answer, score, mask in zip(found, scores, masks, strict=False):
        rows = np.flatnonzero(mask)
        best = rows[np.argsort(-score[rows], kind="stable")[:K]]
        hits += len({photo for photo, _ in answer} & set(store.ids[best].tolist()))  # type: ignore[attr-defined]
        total += len(best)
    return round(hits / total, 4)


def _percentile(values: Sequence[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 2)


def _behind_filters(
    index: EmbeddingIndex, store: MatrixStore, made: VectorSet, scores: list[Floats]
) -> list[dict[str, object]]:
    rng = np.random.default_rng(5)
    direction = rng.standard_normal(made.vectors.shape[1], np.float32)
    drift = np.argsort(np.argsort(dot(made.vectors.view(np.int16), direction))) / len(made.vectors)
    rows = []
    for share in SHARES:
        mask = rng.random(len(drift)) < share
        rows.append(_behind("random", share, [mask] * FILTERED_QUERIES, index, store, made, scores))
        start = rng.random() * (1 - share)
        mask = (drift >= start) & (drift < start + share)
        rows.append(_behind("range", share, [mask] * FILTERED_QUERIES, index, store, made, scores))
    far = [score < np.median(score) for score in scores[:FILTERED_QUERIES]]
    rows.append(_behind("farthest", 0.5, far, index, store, made, scores))
    return rows


def _behind(
    kind: str,
    share: float,
    masks: list[Mask],
    index: EmbeddingIndex,
    store: MatrixStore,
    made: VectorSet,
    scores: list[Floats],
) -> dict[str, object]:
    turn = iter([masks[0], *masks])
    found, cpu_ms = _timed(
        made.queries[: len(masks)], lambda query: index.search(query, K, Allowed(store.ids, next(turn)))
    )
    recall = _recall(found, store, scores, [mask & store.present() for mask in masks])
    return {
        "kind": kind,
        "share": share,
        "recall": recall,
        "cpu_ms_p50": _percentile(cpu_ms, 50),
        "cpu_ms_p99": _percentile(cpu_ms, 99),
    }


if __name__ == "__main__":
    main()
