"""Close embeddings, found cell by cell, against comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from catalogd.duplicates import neighbours as module
from catalogd.duplicates.neighbours import MOST_NEIGHBOURS, close_pairs

UNKNOWN = np.nan


def vectors(subjects: int, of_each: int, spread: float, seed: int = 0, numbers: int = 256) -> np.ndarray:
    """float16[subjects * of_each, numbers]: the photos of a subject lie side by side."""
    random = np.random.default_rng(seed)
    middles = np.repeat(random.normal(size=(subjects, numbers)), of_each, axis=0)
    moved = middles + spread * random.normal(size=middles.shape)
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float16)


def found(
    embeddings: np.ndarray, folder: Path, least: float = 0.8, taken: np.ndarray | None = None
) -> set[tuple[int, int]]:
    ids = np.arange(len(embeddings)) * 7 + 5

    def pages() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(ids), 100):
            yield ids[start : start + 100], embeddings[start : start + 100]

    times = np.full(len(ids), UNKNOWN) if taken is None else taken
    pairs = close_pairs(pages(), len(ids), lambda asked: times[(asked - 5) // 7], 2.0, least, folder)
    rows = ((pairs.left - 5) // 7).tolist(), ((pairs.right - 5) // 7).tolist()
    return set(zip(*rows, strict=True))


def test_nearly_all_close_pairs_are_found_and_none_that_is_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CELL_PHOTOS", 50)
    embeddings = vectors(400, 3, 0.35)
    wide = embeddings.astype(np.float32)
    cosines = wide @ wide.T
    close = {(int(i), int(j)) for i, j in np.argwhere(cosines > 0.8) if i < j}
    pairs = found(embeddings, tmp_path)
    assert len(close) > 1000
    assert len(pairs & close) >= 0.95 * len(close)
    assert all(cosines[i, j] > 0.5 for i, j in pairs)
    assert all(i < j for i, j in pairs)


def test_of_a_subject_with_a_hundred_photos_each_keeps_a_few_neighbours(tmp_path: Path) -> None:
    pairs = found(vectors(1, 100, 0.2), tmp_path)
    assert len(pairs) <= 100 * MOST_NEIGHBOURS
    assert {photo for pair in pairs for photo in pair} == set(range(100))


def test_photos_that_were_taken_at_two_times_are_no_pair_and_do_not_crowd_out_one(tmp_path: Path) -> None:
    taken = np.arange(40) * 60.0
    taken[[7, 30]] = UNKNOWN
    pairs = found(vectors(1, 40, 0.2), tmp_path, taken=taken)
    assert pairs
    assert all({7, 30} & set(pair) for pair in pairs)


def test_short_embeddings_and_hardly_any_do(tmp_path: Path) -> None:
    assert found(vectors(1, 2, 0.01, numbers=8), tmp_path) == {(0, 1)}
    assert found(vectors(1, 1, 0.0), tmp_path) == set()
    assert found(vectors(1, 1, 0.0)[:0], tmp_path) == set()
    assert not list(tmp_path.iterdir()), "the file of short vectors has no name and is gone"
