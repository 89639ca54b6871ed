"""Which embedding space is searched by meaning, and how far another has come that shall take over.

One value of `meta` holds it, so that a switch is one write. Every commit counts along while a space is
wanted: nobody walks over the catalog to say how many photos are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from catalogd.catalog.environment import Tables, id_bytes

KEY = b"search_spaces"
NOT_COUNTED = -1  # no commit has this number: it is counted anew


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """The spaces of search by meaning, each by the fingerprint of its model."""

    active: str = ""  # is searched; "": the one that the profile's text model speaks of
    wanted: str = ""  # takes over once it covers the catalog; "": none does
    before: str = ""  # was searched before the last switch
    covered: int = 0  # photos that `wanted` covers
    commit: int = NOT_COUNTED  # up to which they are counted
    dropping: str = ""  # name of the output that is being taken out of all records
    dropped_to: int = 0  # the photo up to which it is
    dropping_by: str = ""  # only what a model made whose fingerprints begin so


class _Output(msgspec.Struct, gc=False):
    """Of an Output, what tells whether a space covers it."""

    fingerprint: str
    joint_embedding: bytes | None = None
    error: str | None = None


class _Photo(msgspec.Struct, gc=False):
    """Of a Record, the same."""

    outputs: dict[str, _Output]
    missing_since: float | None = None


_decode_photo = msgspec.msgpack.Decoder(_Photo).decode
_decode_standing = msgspec.msgpack.Decoder(Standing).decode


class Photo(Protocol):
    """A record, or what was decoded of one."""

    @property
    def outputs(self) -> Mapping[str, Any]: ...

    @property
    def missing_since(self) -> float | None: ...


def standing(reading: Tables) -> Standing:
    """How the spaces stand in this transaction."""
    value = reading.get("meta", KEY)
    return Standing() if value is None else _decode_standing(value)


def put_standing(reading: Tables, value: Standing) -> None:
    reading.put("meta", KEY, msgspec.msgpack.encode(value))


def is_covered(photo: Photo | None, space: str) -> bool:
    """Whether the model of `space` has seen a photo that can be found, or failed on it."""
    return (
        photo is not None
        and photo.missing_since is None
        and any(
            output.fingerprint == space and (output.joint_embedding is not None or output.error is not None)
            for output in photo.outputs.values()
        )
    )


def counted(reading: Tables, space: str) -> int:
    """Photos that `space` covers, by a walk over all: 1.5 s of 500,000."""
    return sum(is_covered(_decoded(value), space) for _, value in reading.rows("photos"))


def uncovered(reading: Tables, space: str, photo_ids: Iterable[int]) -> int:
    """How many of these photos can be found and are not covered."""
    values = (reading.get("photos", id_bytes(photo_id)) for photo_id in photo_ids)
    photos = [photo for value in values if value is not None and (photo := _decoded(value)) is not None]
    return sum(photo.missing_since is None and not is_covered(photo, space) for photo in photos)


def fingerprints_of(reading: Tables, name: str) -> set[str]:
    """Of the output `name`, in all records that have it."""
    photos = (_decoded(value) for _, value in reading.rows("photos"))
    return {photo.outputs[name].fingerprint for photo in photos if photo and name in photo.outputs}


def _decoded(value: bytes) -> _Photo | None:
    try:
        return _decode_photo(value)
    except msgspec.DecodeError:  # `check` tells of it
        return None


def forget_count(reading: Tables) -> None:
    """The records were changed past `Counting`: the photos are counted anew."""
    if (now := standing(reading)).wanted:
        put_standing(reading, msgspec.structs.replace(now, commit=NOT_COUNTED))


class Counting:
    """Counts along with one commit."""

    def __init__(self, reading: Tables) -> None:
        self._tables = reading
        self._standing = standing(reading)
        self._more = 0

    def note(self, before: Photo | None, after: Photo | None) -> None:
        """A photo's record is replaced: None stands for one that is not there."""
        if wanted := self._standing.wanted:
            self._more += is_covered(after, wanted) - is_covered(before, wanted)

    def finish(self, former: int, commit: int) -> None:
        """The count is that of `commit`, if it was that of the `former` one."""
        if self._standing.wanted and self._standing.commit == former:
            covered = self._standing.covered + self._more
            put_standing(
                self._tables, msgspec.structs.replace(self._standing, covered=covered, commit=commit)
            )
