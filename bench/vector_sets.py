"""Embeddings: synthetic ones of three difficulties, and real ones multiplied.

They are the same on every machine that runs the same numpy.

Real catalogs of 500,000 photos are not at hand, and an index that is tuned on one easy set fails
on others, so there are three (the mean cosine of the 10th neighbour at 500,000 x 384 in brackets):

- ``easy`` (0.87): 5,000 Gaussian clusters with Zipf weights around 60 topics; a cluster spreads
  in 16 dimensions of one of 40 bases, plus isotropic noise and an offset common to all.
- ``hard`` (0.75): 40 latent dimensions, 400 broad clusters that overlap, through a tanh layer,
  plus noise: neighbourhoods are wide and no clustering separates them.
- ``text`` (0.48): the photos of ``hard``, asked by queries from outside their distribution, as
  the embedding of a text lies apart from all embeddings of images.

`real_set` draws as many as are wanted around the embeddings of a real catalog: each is a real one plus
what another real one and one of its five nearest neighbours differ by, so that the spread is the
measured one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.store import Store
from catalogd.models.joint import TextEncoder, labels
from catalogd.settings import Settings

Floats = npt.NDArray[np.float32]
CHUNK = 20_000  # rows made at a time: 30 MB at 384 dimensions
NAMES = ("easy", "hard", "text")


class VectorSet(NamedTuple):
    """`vectors: float16[N, D]` of unit length and `queries: float32[Q, D]` of unit length."""

    name: str
    vectors: npt.NDArray[np.float16]
    queries: Floats


def make_set(name: str, photos: int, dimension: int, queries: int = 200, seed: int = 1) -> VectorSet:
    """One of `NAMES`; queries are drawn like photos (or like texts) but are none of them."""
    rng = np.random.default_rng(seed)
    draw = _easy_source(rng, dimension) if name == "easy" else _hard_source(rng, dimension)
    vectors = np.empty((photos, dimension), np.float16)
    for start, stop in _chunks(photos):
        vectors[start:stop] = draw(stop - start)
    asked = draw(queries)
    if name == "text":
        asked = _as_text(rng, asked)
    return VectorSet(name, vectors, asked)


def real_set(catalog: Path, photos: int, dimension: int, queries: int = 200, seed: int = 1) -> VectorSet:
    """Around the embeddings of `catalog` of this dimension; a text space is asked with texts."""
    rng = np.random.default_rng(seed)
    with Store(catalog) as store:
        space = next(name for name, held in store.spaces().items() if held == dimension)
        real = store.iter_embeddings(space, -1, 1_000_000)[1].astype(np.float32)
    neighbours = np.argsort(-(real @ real.T), axis=1)[:, 1:6]
    vectors = np.empty((photos, dimension), np.float16)
    for start, stop in _chunks(photos):
        vectors[start:stop] = _around(rng, real, neighbours, stop - start)
    if space.endswith("#joint"):
        return VectorSet("real texts", vectors, _texts(rng, space, queries))
    return VectorSet("real photos", vectors, _around(rng, real, neighbours, queries))


def _around(rng: np.random.Generator, real: Floats, neighbours: npt.NDArray[np.int64], count: int) -> Floats:
    at, other = rng.integers(len(real), size=(2, count))
    near = neighbours[other, rng.integers(neighbours.shape[1], size=count)]
    return _unit(real[at] + real[other] - real[near])


def _texts(rng: np.random.Generator, space: str, count: int) -> Floats:
    """A word of ImageNet each, alone or with a circumstance."""
    words = [names[0] for names in labels()]
    circumstances = ("", " at night", " in the snow", " with two children", " on a table")
    chosen = [str(rng.choice(words)) + str(rng.choice(circumstances)) for _ in range(count)]
    return TextEncoder(space, Settings()).encode(chosen).astype(np.float32)


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, CHUNK):
        yield start, min(start + CHUNK, count)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32)


def _easy_source(rng: np.random.Generator, dimension: int) -> Callable[[int], Floats]:
    """Clusters near topics: what a library of events, trips and series looks like."""
    clusters, topics, bases, intrinsic = 5_000, 60, 40, 16
    topic = _unit(_normal(rng, topics, dimension))
    centre = _unit(
        topic[rng.integers(topics, size=clusters)] + 0.8 * _unit(_normal(rng, clusters, dimension))
    )
    basis = np.stack([np.linalg.qr(_normal(rng, dimension, intrinsic))[0].T for _ in range(bases)])
    basis_of = rng.integers(bases, size=clusters)
    weight = 1.0 / np.arange(1, clusters + 1)
    rng.shuffle(weight)
    offset = 0.6 * _unit(_normal(rng, 1, dimension))

    def draw(count: int) -> Floats:
        cluster = rng.choice(clusters, size=count, p=weight / weight.sum())
        spread = np.empty((count, dimension), np.float32)
        for index in range(bases):
            rows = np.flatnonzero(basis_of[cluster] == index)
            spread[rows] = 0.14 * _normal(rng, len(rows), intrinsic) @ basis[index]
        noise = np.float32(0.25 / np.sqrt(dimension)) * _normal(rng, count, dimension)
        return _unit(centre[cluster] + spread + noise + offset)

    return draw


def _hard_source(rng: np.random.Generator, dimension: int) -> Callable[[int], Floats]:
    """A curved 40-dimensional sheet, densely covered."""
    latent, clusters = 40, 400
    centre = 0.9 * _normal(rng, clusters, latent)
    layer = _normal(rng, latent, dimension) / np.float32(np.sqrt(latent))
    bias = 0.3 * _normal(rng, 1, dimension)

    def draw(count: int) -> Floats:
        hidden = centre[rng.integers(clusters, size=count)] + 0.6 * _normal(rng, count, latent)
        return _unit(np.tanh(hidden @ layer + bias) + 0.2 * _normal(rng, count, dimension))

    return draw


def _as_text(rng: np.random.Generator, queries: Floats) -> Floats:
    """Turn queries away from all photos: a gap common to the texts, and noise of each."""
    dimension = queries.shape[1]
    gap = _unit(_normal(rng, 1, dimension))
    return _unit(queries + 0.95 * gap + 0.8 * _unit(_normal(rng, len(queries), dimension)))
