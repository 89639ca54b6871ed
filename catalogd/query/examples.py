"""The photos of `similar:`, and the direction in which others like them lie.

An example is a photo of the catalog, by path, file name or photo_id, or a file outside of it. Likes are
averaged, and of what is not wanted half is taken away (Rocchio 1971: feedback against counts for less than
feedback for). In the joint space the words of the query are added with the weight of all likes together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.store import JOINT
from catalogd.errors import QueryError
from catalogd.records import Condition, Example, Output, Record, display_path

if TYPE_CHECKING:
    from catalogd.catalog import Catalog

NEGATIVE_SHARE = 0.5  # of the mean of what is not wanted

Vector = npt.NDArray[np.float32]
Embed = Callable[[bytes], tuple[Output, ...]]  # of a file outside the library; raises UsageError


class Look(NamedTuple):
    """What one example looks like."""

    name: str  # for people
    photo_id: int  # 0: it is not in the catalog
    outputs: tuple[Output, ...]  # its embeddings, of each model that has seen it
    negated: bool
    note: str = ""  # what was chosen for the person


def looks_of(
    catalog: Catalog,
    examples: Sequence[Example],
    embed: Embed | None,
    given: Mapping[str, tuple[Output, ...]],
) -> list[Look]:
    """The examples as they look. Raises QueryError for what is no photo, or has no embedding.

    Without `embed` no file is read. `given`: how examples look that are no photos and no files, by name.
    """
    looks = [
        Look("the picture", 0, given[example.photo], example.negated)
        if example.photo in given
        else _look(catalog, example, embed)
        for example in examples
    ]
    if looks and all(look.negated for look in looks):
        raise QueryError("similar: takes a photo to be like, not only photos to be unlike", _at(examples))
    return looks


def picture_direction(looks: Sequence[Look], searched: str) -> tuple[str, Vector] | None:
    """The space of the picture embedding, and the unit vector that the looks amount to.

    Where no model has one, joint embeddings stand in: those of the space `searched` by meaning, if any are.
    """
    outputs = [output for look in looks if not look.negated for output in look.outputs]
    space = next((output.fingerprint for output in outputs if output.embedding), None)
    if space is None:
        joint = [output.fingerprint for output in outputs if output.joint_embedding]
        space = searched if searched in joint else next(iter(joint), None)
        vector = None if space is None else joint_direction(looks, space, None)
        return None if space is None or vector is None else (space + JOINT, vector)
    vectors = [
        (_vector(output.embedding), negated)
        for output, negated in _in_space(looks, space)
        if output.embedding
    ]
    return space, _unit(_balance(vectors))


def joint_direction(looks: Sequence[Look], space: str, words: Vector | None) -> Vector | None:
    """The same in the joint space of texts and pictures, with the words' vector."""
    vectors = [
        (_vector(output.joint_embedding), negated)
        for output, negated in _in_space(looks, space)
        if output.joint_embedding
    ]
    if not vectors:
        return words
    balance = _unit(_balance(vectors))
    return balance if words is None else _unit(balance + words)


def _in_space(looks: Sequence[Look], space: str) -> list[tuple[Output, bool]]:
    """Of one space, the output of each look, and whether it is not wanted: spaces are never mixed."""
    model = space.removesuffix(JOINT)
    return [
        (output, look.negated) for look in looks for output in look.outputs if output.fingerprint == model
    ]


def _balance(vectors: Sequence[tuple[Vector, bool]]) -> Vector:
    likes = [vector for vector, negated in vectors if not negated]
    others = [vector for vector, negated in vectors if negated]
    total = np.zeros(len(vectors[0][0]), np.float32)
    if likes:
        total += np.mean(likes, axis=0)
    if others:
        total -= NEGATIVE_SHARE * np.mean(others, axis=0)
    return total


def _vector(halves: bytes | None) -> Vector:
    return np.frombuffer(halves or b"", "<f2").astype(np.float32)


def _unit(vector: Vector) -> Vector:
    unit: Vector = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return unit


# -- which photo is meant ---------------------------------------------------------------------------


def _look(catalog: Catalog, example: Example, embed: Embed | None) -> Look:
    photo_id = _known_at(catalog, example.photo)
    if not photo_id and embed is not None and os.path.isfile(example.photo):
        path = os.fsencode(os.path.abspath(example.photo))
        name = os.path.basename(example.photo)
        return Look(name, 0, embed(path), example.negated, "outside the library")
    note = ""
    if not photo_id:
        photo_id, note = _named(catalog, example.photo)
    if not photo_id and example.photo.isdecimal() and int(example.photo) < 2**53:
        photo_id = int(example.photo)
    record = catalog.record(photo_id, with_embeddings=True) if photo_id else None
    if record is None:
        raise QueryError(
            f"similar:{example.photo} (at position {example.position + 1}): there is no such file, and no "
            "photo of this name, path or photo_id in the catalog",
            example.position,
        )
    return Look(_name(record), record.photo_id, _embedded(record, example, embed), example.negated, note)


def _known_at(catalog: Catalog, photo: str) -> int:
    for path in (os.path.abspath(photo), os.path.realpath(photo)):
        found = catalog.photo_id_of(os.fsencode(path))
        if found:
            return found
    return 0


def _named(catalog: Catalog, name: str) -> tuple[int, str]:
    """The newest photo with this file name, and a note when there are several."""
    if not name.strip() or "/" in name:
        return 0, ""
    ids = catalog.select((Condition("name", words=name),)).ids
    records = [record for record in catalog.records(ids.tolist()) if record is not None]
    exact = [record for record in records if os.path.basename(record.path) == os.fsencode(name)] or records
    if not exact:
        return 0, ""
    newest = max(exact, key=lambda record: (record.facts.taken_at or "", record.added_at, record.photo_id))
    several = f"the newest of {len(exact)} photos of this name: {display_path(newest.path)}"
    return newest.photo_id, several if len(exact) > 1 else ""


def _embedded(record: Record, example: Example, embed: Embed | None) -> tuple[Output, ...]:
    found = [output for output in record.outputs.values() if output.embedding or output.joint_embedding]
    if found:
        return tuple(found)
    if embed is not None and os.path.isfile(record.path):
        return embed(record.path)
    raise QueryError(
        f"similar:{example.photo} (at position {example.position + 1}): no model has seen this photo yet; "
        "`catalogd run` lets them",
        example.position,
    )


def _name(record: Record) -> str:
    return display_path(os.path.basename(record.path))


def _at(examples: Sequence[Example]) -> int:
    return examples[0].position
