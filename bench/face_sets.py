"""Sets of face embeddings whose persons are known, made around what SFace was measured to give.

Measured on photos of 75 different people and on 24 of five known ones (docs/faces.md):

- two good faces of different people: cosine 0.08 on average, deviation 0.10; two poor ones 0.11 and 0.13
- two good faces of one person: 0.60 to 1.00, 0.69 to 0.82 on average

A face is `common + strength x person + rest x noise`: `strength` squared is the mean cosine of two of a
person's faces, and cosines see no rotation. The spectrum of the 128 numbers is chosen for the measured
deviation; each person has three looks (glasses, ten years later), and may have siblings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DIMENSION = 128
COMMON = 0.28  # length of what all faces share: its square is the mean cosine between people
DECAY = 0.985  # each direction's variance against that of the one before: deviation 0.10 between people
GOOD_STRENGTH = (0.84, 0.07)  # mean and deviation over faces: cosines of 0.70 ± 0.09 within a person
POOR_STRENGTH = (0.62, 0.12)
LOOK_COSINE = 0.85  # between two looks of a person
SIBLING_COSINE = 0.5  # between siblings, beyond what all people share
POOR_SHARE = 0.35  # of faces: small, blurred, turned
BATCH = 1000


class FaceSet(NamedTuple):
    """Faces in the order in which they come."""

    vectors: npt.NDArray[np.float32]  # float32[n, 128], unit length
    quality: npt.NDArray[np.float32]  # float32[n]
    persons: npt.NDArray[np.int64]  # int64[n]
    photo_ids: npt.NDArray[np.int64]  # int64[n]


def library(faces: int, seed: int = 0, strangers: float = 0.2, hard: bool = False) -> FaceSet:
    """A family's library: few people often, many seldom, strangers once. `hard`: siblings, weak faces."""
    rng = np.random.default_rng(seed)
    known = round(faces * (1 - strangers))
    people = max(8, round(known**0.67))
    share = 1 / np.arange(1, people + 1) ** 0.9
    persons = rng.choice(people, known, p=share / share.sum())
    persons = np.concatenate([persons, people + np.arange(faces - known)])
    rng.shuffle(persons)
    middles = _unit_people(people + faces - known, rng, hard)
    poor = rng.random(faces) < POOR_SHARE
    vectors = _faces(middles, persons, poor, rng, hard)
    quality = np.where(poor, rng.uniform(0.0, 0.2, faces), rng.uniform(0.2, 1.0, faces)).astype(np.float32)
    return FaceSet(vectors, quality, persons.astype(np.int64), _photos(persons, rng))


def _unit_people(people: int, rng: np.random.Generator, hard: bool) -> npt.NDArray[np.float32]:
    middles = _directions(people, rng)
    if hard:
        older = np.arange(0, people - 1, 10)
        beyond = np.sqrt(1 - SIBLING_COSINE**2)
        middles[older + 1] = SIBLING_COSINE * middles[older] + beyond * middles[older + 1]
    return middles


def _directions(count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """float32[count, 128] of about unit length, with the spectrum of people."""
    spectrum = DECAY ** np.arange(DIMENSION)
    scale = np.sqrt(spectrum / spectrum.sum()).astype(np.float32)
    found: npt.NDArray[np.float32] = rng.standard_normal((count, DIMENSION), np.float32) * scale
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _faces(
    middles: npt.NDArray[np.float32],
    persons: npt.NDArray[np.int64],
    poor: npt.NDArray[np.bool_],
    rng: np.random.Generator,
    hard: bool,
) -> npt.NDArray[np.float32]:
    count = len(persons)
    mean = np.where(poor, POOR_STRENGTH[0], GOOD_STRENGTH[0] - (0.04 if hard else 0.0))
    spread = np.where(poor, POOR_STRENGTH[1], GOOD_STRENGTH[1])
    strength = np.clip(rng.normal(mean, spread), 0.1, 0.98).astype(np.float32)[:, None]
    look = rng.integers(0, 3, count)
    tilt = np.sqrt(1 - LOOK_COSINE**2).astype(np.float32)
    looks = np.stack([_directions(len(middles), rng) for _ in range(2)])
    turned = np.where(
        look[:, None] == 0, middles[persons], LOOK_COSINE * middles[persons] + tilt * looks[look - 1, persons]
    )
    own = strength * turned + np.sqrt(1 - strength**2) * _directions(count, rng)
    common = np.zeros(DIMENSION, np.float32)
    common[-1] = 1
    drift = np.where(poor, 0.34, COMMON).astype(np.float32)[:, None]  # poor faces are alike
    vectors = drift * common + np.sqrt(1 - drift**2) * own
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _photos(persons: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Photos of one to three people: a person is never twice in one."""
    photo, shown, found = 1, set[int](), []
    for person, ends in zip(persons.tolist(), (rng.random(len(persons)) < 0.6).tolist(), strict=True):
        if person in shown or ends:
            photo, shown = photo + 1, set()
        shown.add(person)
        found.append(photo)
    return np.array(found, np.int64)
