"""faiss as the engine of a generation: inverted lists of float16 vectors (`IVF…,SQfp16`). An extra.

The vectors are divided among lists by the nearest of as many centres, and a search looks at the
lists whose centres are nearest to the query. The lists hold the vectors as they are stored, so that
what faiss ranks by is the cosine.

Note [looking on]. No number of lists is enough for every query: a text lies off all photos, and a
filter may leave nothing near the query, by chance or because it keeps one year and the query asks for
another. So the lists nearest to the query, with `FIRST_ROWS` *open* vectors, those that may be found,
are looked at first. The k-th best of them is what a vector in any other list must beat. By how much
cosines differ from those of their centres is measured on a sample, for each query anew; taken as a
normal distribution it tells how many better ones each other list may hold. Lists are looked at until
what the rest may hold is less than `MISSED` of the hits.
"""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from catalogd.catalog.manifest import HASH_BYTES, VECTORS_FILE, Manifest, require_space
from catalogd.catalog.vectors import Bits, Floats, Mask, Rows, dot, float32_of

NAME = "faiss"
LISTS_FILE = "lists.faiss"
FILES = (LISTS_FILE,)

# Chosen by bench/bench_vectors.py at 500,000 x 384.
LIST_ROWS = 256  # vectors a list on average
FIRST_ROWS = 10_000  # open vectors that are compared with the query before looking on
FIRST_ROWS_PER_HIT = 10  # when more than a few hundred hits are asked for
WIDER = 1.25  # times the spread: real ones have longer tails than the normal one
MISSED = 0.01  # share of the hits that may be expected in lists that are not looked at
EXACT_ROWS = 40_000  # open vectors that are looked at without lists: that costs no more
SPREAD_ROWS = 2_000  # the sample by which cosines are compared with those of the centres: 0.2 ms
SPARE = 16  # more hits than asked for: sums of another order may swap equals
SAMPLE_ROWS_PER_LIST = 48  # the centres are found from
ROUNDS = 8  # of k-means: more gain no recall
SEED = 20_240  # of the centres: the same vectors give the same generation

CHUNK_ROWS = 5_000  # rows added at a time: 8 MB as float32 at 384 dimensions
ID_BYTES = 8  # of a row number in a list


def is_installed() -> bool:
    """Whether the extra is there and loads."""
    if importlib.util.find_spec("faiss") is None:
        return False
    with contextlib.suppress(ImportError):
        _faiss()
        return True
    return False


def _faiss() -> Any:
    """The library, late: it takes 50 ms. It uses one thread: the others belong to the readers and the run."""
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss


def build(folder: Path, vectors: Bits, manifest: Manifest) -> Manifest:
    """Write `FILES` of `vectors: int16[N, D]`; returns the manifest with what to know of them.

    Raises CatalogFullError, or OSError when the disk fills meanwhile.
    """
    count, dimension = vectors.shape
    lists = max(1, count // LIST_ROWS)
    require_space(folder, count * (2 * dimension + ID_BYTES) + 4 * lists * dimension)
    index = _trained(vectors, lists)
    for start in range(0, count, CHUNK_ROWS):
        index.add(float32_of(vectors[start : start + CHUNK_ROWS]))
    _write(index, folder / LISTS_FILE)
    return msgspec.structs.replace(
        manifest, format=2, engine=NAME, lists=lists, metric="inner product", seed=SEED
    )


def _trained(vectors: Bits, lists: int) -> Any:
    faiss, dimension = _faiss(), vectors.shape[1]
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension),
        dimension,
        lists,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
        False,  # the vectors themselves, not what they differ from their centre by
    )
    index.cp.niter, index.cp.seed = ROUNDS, SEED
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, SAMPLE_ROWS_PER_LIST
    sample = min(len(vectors), lists * SAMPLE_ROWS_PER_LIST)
    index.train(float32_of(vectors[np.linspace(0, len(vectors) - 1, sample).astype(np.int64)]))
    return index


def _write(index: Any, path: Path) -> None:
    """Through a file of ours: faiss's own ignores a disk that fills as it closes."""
    faiss, failed = _faiss(), []
    with open(path, "wb") as file:

        def write(block: bytes) -> int:
            try:
                return file.write(block)
            except OSError as error:
                failed.append(error)
                raise

        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(write, HASH_BYTES))
        except RuntimeError:
            raise failed[0] if failed else RuntimeError from None


def load(folder: Path, manifest: Manifest) -> InvertedLists:
    """Map what `build` wrote; it must have been verified."""
    vectors = np.memmap(folder / VECTORS_FILE, "<i2", "r", shape=(manifest.count, manifest.dimension))
    return InvertedLists(folder / LISTS_FILE, vectors)


class InvertedLists:
    """The lists of one generation, mapped, and which rows they hold."""

    def __init__(self, path: Path, vectors: Bits) -> None:
        faiss = _faiss()
        self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        sizes, self._rows = self._read_lists()
        self._lists = np.flatnonzero(sizes)  # those that hold anything
        self._centres: Floats = self._index.quantizer.reconstruct_n(0, self._index.nlist)[self._lists]
        self._sizes = sizes[self._lists]
        self._starts = np.cumsum(self._sizes) - self._sizes  # of the lists in `_rows`
        self._list_of = np.empty(len(self._rows), np.int64)  # row → place of its list in `_lists`
        self._list_of[self._rows] = np.repeat(np.arange(len(self._lists)), self._sizes)
        places = np.linspace(0, len(vectors) - 1, min(len(vectors), SPREAD_ROWS)).astype(np.int64)
        self._sample: Bits = vectors[self._rows[places]]
        self._sample_lists = np.searchsorted(self._starts, places, "right") - 1

    def _read_lists(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """The size of each list, and the rows list by list."""
        faiss, held = _faiss(), self._index.invlists
        sizes = np.array([held.list_size(number) for number in range(self._index.nlist)], np.int64)
        rows = [
            faiss.rev_swig_ptr(held.get_ids(int(number)), int(sizes[number]))
            for number in np.flatnonzero(sizes)
        ]
        return sizes, np.concatenate(rows).astype(np.int32)

    def close(self) -> None:
        """Unmap; nothing can be searched afterwards."""
        del self._index

    def candidates(self, query: Floats, k: int, open_rows: Mask, count: int) -> Rows | None:
        """Rows with the k best of the `count` ones that are open; None: look at all of these instead."""
        first = max(FIRST_ROWS, FIRST_ROWS_PER_HIT * k)
        if count <= max(EXACT_ROWS, first):
            return None
        options, held = {}, self._sizes
        if count < len(open_rows):
            options["sel"] = _faiss().IDSelectorBitmap(np.packbits(open_rows, bitorder="little"))
            held = self._open_in_lists(open_rows)
        near = np.einsum("nd,d->n", self._centres, query)  # threads of a BLAS would cost more than they save
        lists = np.argsort(-near)
        nearest = int(np.searchsorted(np.cumsum(held[lists]), first)) + 1
        rows, scores = self._search(query, k + SPARE, lists[:nearest], options)
        promising = self._promising(query, k, near, held, lists[nearest:], _least(scores, k))
        more, _ = self._search(query, k + SPARE, promising, options)
        return np.concatenate([rows, more])

    def _open_in_lists(self, open_rows: Mask) -> Rows:
        rows = np.flatnonzero(open_rows)  # and not the mask as an index: 0.3 ms instead of 1.5
        return np.bincount(self._list_of[rows], minlength=len(self._lists))

    def _promising(self, query: Floats, k: int, near: Floats, held: Rows, lists: Rows, least: float) -> Rows:
        """Those of `lists` that may hold more than `MISSED` of the k best. Note [looking on].

        `near`: the cosines of all centres; `held`: how many open vectors each list holds.
        """
        differs = dot(self._sample, query) - near[self._sample_lists]
        beyond = least - near[lists] - differs.mean()
        deviations = np.maximum(beyond, 0.0) / max(WIDER * float(differs.std()), 1e-6)
        expected = 0.5 * held[lists] * np.exp(-0.5 * np.square(deviations))  # bounds the normal tail
        order = np.argsort(expected)
        promising: Rows = lists[order[np.searchsorted(np.cumsum(expected[order]), MISSED * k) :]]
        return promising

    def _search(self, query: Floats, k: int, lists: Rows, options: dict[str, Any]) -> tuple[Rows, Floats]:
        """The k best open rows of `lists`, places in `_lists`, and their cosines."""
        if not len(lists):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        faiss, numbers = _faiss(), self._lists[lists]
        chosen = faiss.SearchParametersIVF(nprobe=len(lists), **options)
        rows, scores = np.empty(k, np.int64), np.empty(k, np.float32)
        of_centres = np.zeros(len(lists), np.float32)
        pointers = [faiss.swig_ptr(array) for array in (query, numbers, of_centres, scores, rows)]
        self._index.search_preassigned_c(1, pointers[0], k, *pointers[1:], False, chosen)
        found = rows >= 0
        return rows[found], scores[found]


def _least(scores: Floats, k: int) -> float:
    """What a better one than the k-th best must beat."""
    return float(np.partition(scores, len(scores) - k)[len(scores) - k]) if len(scores) >= k else -np.inf
