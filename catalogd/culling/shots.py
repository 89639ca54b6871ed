"""One press of the shutter, with all files that came of it: what culling ranks.

A stack of the time line (RAW and JPEG, a picture and its edit) is one shot, and so is a picture with its
export in another folder: no file of a shot is ever the alternate of another.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalogd.catalog.arrangement import STACK_COVER
from catalogd.catalog.stems import stem_of
from catalogd.catalog.timeline import clock_s
from catalogd.duplicates.judging import Photo
from catalogd.records import Face, ObjectBox, Quality, Record

if TYPE_CHECKING:
    from catalogd.catalog import Catalog

TILES = 8  # a side of Quality.sharpness_tiles
_FULL_ISO = 100

Tiles = npt.NDArray[np.uint8]  # [8, 8]: 2.55 × the scale of 0…100


@dataclasses.dataclass(frozen=True)
class Shot:
    """A picture and its files. What is said of it is what its cover's file and models say."""

    photo: Photo  # the cover
    photos: tuple[Photo, ...]  # all its files, by photo_id
    quality: Quality | None = None
    faces: tuple[Face, ...] = ()
    objects: tuple[ObjectBox, ...] = ()
    burst: int = 0  # of the time line; 0: in none

    @property
    def photo_ids(self) -> tuple[int, ...]:
        return tuple(photo.photo_id for photo in self.photos)

    @functools.cached_property
    def taken_s(self) -> float:
        """Seconds since 1970 of the camera's own clock; NaN where it is not known."""
        return clock_s(self.photo.facts.taken_at)

    @property
    def camera(self) -> tuple[str, str]:
        """Which camera: two of one model differ by their numbers."""
        return self.photo.facts.camera or "", self.photo.facts.camera_serial or ""

    @property
    def framing(self) -> tuple[float, int, int]:
        """What stays while nobody zooms or turns the camera on its side."""
        facts = self.photo.facts
        return facts.focal_mm or 0.0, facts.width, facts.height

    @functools.cached_property
    def exposure_ev(self) -> float:
        """How bright the settings make it, in stops from 1 s at f/1 and ISO 100; NaN where not known."""
        facts = self.photo.facts
        if not facts.exposure_s or facts.exposure_s < 0:
            return math.nan
        light = facts.exposure_s / (facts.aperture or 1.0) ** 2 * (facts.iso or _FULL_ISO) / _FULL_ISO
        return math.log2(light) if light > 0 else math.nan

    @property
    def tiles(self) -> Tiles | None:
        """How sharp each part of the frame is; None for records of runs that did not measure it."""
        packed = self.quality.sharpness_tiles if self.quality else None
        if packed is None or len(packed) != TILES * TILES:
            return None
        return np.frombuffer(packed, np.uint8).reshape(TILES, TILES)


def shots_of(catalog: Catalog, photo_ids: Iterable[int]) -> list[Shot]:
    """The shots that these photos make, by camera and then by time; the files of a stack are one."""
    members = _members(catalog)
    parts: dict[tuple[str, int], list[tuple[bool, Shot]]] = {}
    for record in catalog.iter_records_of(sorted(set(photo_ids))):
        stack, burst, is_cover = members.get(record.photo_id, (0, 0, False))
        key = ("stack", stack) if stack else ("photo", record.photo_id)
        parts.setdefault(key, []).append((is_cover, shot_of([record], burst)))
    return sorted(_without_copies(map(_joined, parts.values())), key=_order)


def shot_of(records: Sequence[Record], burst: int = 0) -> Shot:
    """The shot of these files, of which the first is the cover."""
    outputs = list(records[0].outputs.values())
    photos = tuple(sorted(map(Photo.of, records), key=lambda photo: photo.photo_id))
    return Shot(
        Photo.of(records[0]),
        photos,
        next((output.quality for output in outputs if output.quality), None),
        tuple(face for output in outputs for face in output.faces or ()),
        tuple(found for output in outputs for found in output.objects or ()),
        burst,
    )


def _members(catalog: Catalog) -> dict[int, tuple[int, int, bool]]:
    """photo_id → its stack, its burst, and whether it is the cover of its stack."""
    ids, rows = catalog.timeline.members()
    columns = rows["stack"].tolist(), rows["burst"].tolist(), (rows["covers"] & STACK_COVER > 0).tolist()
    return dict(zip(ids.tolist(), zip(*columns, strict=True), strict=True))


def _joined(parts: Sequence[tuple[bool, Shot]]) -> Shot:
    """The files of one stack as one shot: its cover's where the query found that, else its first file's."""
    cover = next((shot for is_cover, shot in parts if is_cover), parts[0][1])
    photos = tuple(photo for _, shot in parts for photo in shot.photos)
    return dataclasses.replace(cover, photos=photos)


def _without_copies(shots: Iterable[Shot]) -> Iterator[Shot]:
    """Files of one name, camera and second in several folders, as exports are, as one shot: the largest."""
    same: dict[object, list[Shot]] = {}
    for shot in shots:
        name = stem_of(shot.photo.path.rpartition(b"/")[2])[0]
        is_known = any(shot.camera) and not math.isnan(shot.taken_s)
        key = (shot.camera, math.floor(shot.taken_s), name) if is_known else shot.photo.photo_id
        same.setdefault(key, []).append(shot)
    for copies in same.values():
        first = max(copies, key=lambda shot: (shot.photo.pixel_count, -shot.photo.photo_id))
        photos = sorted({photo.photo_id: photo for shot in copies for photo in shot.photos}.items())
        yield dataclasses.replace(first, photos=tuple(photo for _, photo in photos))


def _order(shot: Shot) -> tuple[tuple[str, str], bool, float, bytes, int]:
    """By camera, then by time; those without one come last, by path."""
    unknown = math.isnan(shot.taken_s)
    return (
        shot.camera,
        unknown,
        0.0 if unknown else shot.taken_s,
        shot.photo.path,
        shot.photo.photo_id,
    )
