"""What two photos are to each other: the same bytes, the same picture, the same picture changed, or neither.

Who calls a photo a duplicate gets it deleted. So a likeness found by signatures or embeddings is a question,
and the answer is yes only where no fact speaks against it (`is_other_exposure`) and the pixels agree
(`pixels`). The thresholds are those of bench/bench_duplicates.py; docs/duplicates.md has the table.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import os
import re
import threading
from typing import NamedTuple

import numpy as np

from catalogd.catalog.arrangement import STACK_GAP_S
from catalogd.catalog.stems import stem_of
from catalogd.catalog.timeline import clock_s
from catalogd.duplicates import pixels
from catalogd.errors import PhotoError
from catalogd.images import read_frame
from catalogd.models.signature import FLAT, Turn, turns_between
from catalogd.records import Facts, Record, Stat
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore, decode_thumbnail

EXACT, SAME, NEAR, BURST = "exact", "same", "near", "burst"
KINDS = (EXACT, SAME, NEAR, BURST)  # the later, the less two photos are one

SAME_BITS = 20  # of 256 that differ: encoded again at quality 10 is 16, a fifth of the size is 20
NEAR_BITS = 44  # a light or contrast that changed is 30, a watermark mostly below 43; another picture 90
SAME_SCORE = 0.95  # correlation of edges: copies have 0.97 and more, the next shot of a series 0.79 at most
SAME_WORST = 0.025  # luma in the tile that differs most: encoding costs 0.02, a line of text 0.028 and more
SAME_LIGHT = 0.02  # mean deviation in luma: encoding costs 0.01, another light 0.04
RAW_SCORE = 0.9  # a camera sharpens and denoises its JPEG
RAW_COLOUR = 0.08  # and has its own idea of colours
NEAR_SCORE = 0.8
CROP_SCORE = 0.78  # crops have 0.79 and more in 99 of 100 cases, other shots of one thing 0.55
CROP_DETAIL = 0.3  # of tiles: below, it is a diagram or a page, and a line fits into any other
SAME_COLOUR = 0.03  # mean distance of colours: encoding costs 0.025, a warmer light 0.05, grey 0.1
SAME_ASPECT = 0.03  # sides of a thumbnail are whole pixels
_LIKE_SETTINGS = 0.02  # by which an exposure time or f-number is rounded
_SUBSECONDS_S = 0.005
_KEPT_LOOKS = 2048  # decoded thumbnails of some 37 KB
_FRAME_NUMBERS = re.compile(rb"\d{3,}")


class Likeness(NamedTuple):
    """What the second photo is to the first."""

    kind: str  # of KINDS
    how: str  # for people


@dataclasses.dataclass(frozen=True, slots=True)
class Photo:
    """What is asked of a photo here, without the outputs that make records large."""

    photo_id: int
    path: bytes
    stat: Stat
    content: bytes
    facts: Facts
    sharpness: float
    signature: bytes

    @classmethod
    def of(cls, record: Record) -> Photo:
        outputs = record.outputs.values()
        return cls(
            record.photo_id,
            record.path,
            record.stat,
            record.content,
            record.said,
            next((output.quality.sharpness for output in outputs if output.quality), math.nan),
            next((output.signature for output in outputs if output.signature), FLAT),
        )

    @property
    def pixel_count(self) -> int:
        """Of the full image."""
        return self.facts.width * self.facts.height

    @property
    def is_raw(self) -> bool:
        return self.facts.format == "raw"


class Looks:
    """The small pictures that are compared: thumbnails, or the photos themselves where there is none.

    For several threads; two may look at one photo at the same time, which costs time only.
    """

    def __init__(self, settings: Settings) -> None:
        self._thumbnails = ThumbnailStore(settings)
        self._limits = dataclasses.replace(settings, frame_edge_px=2 * pixels.KEPT_EDGE_PX)
        self._reading = threading.Lock()  # of a photo, into the one slot
        self._slot: pixels.Pixels | None = None
        self._keeping = threading.Lock()
        self._kept: collections.OrderedDict[bytes, pixels.Pixels | None] = collections.OrderedDict()

    def of(self, photo: Photo) -> pixels.Pixels | None:
        """`uint8[h, w, 3]`, or None when the photo can't be seen now."""
        with self._keeping:
            if photo.content in self._kept:  # copies share one
                self._kept.move_to_end(photo.content)
                return self._kept[photo.content]
        seen = self._seen(photo)
        with self._keeping:
            self._kept[photo.content] = seen
            if len(self._kept) > _KEPT_LOOKS:
                self._kept.popitem(last=False)
        return seen

    def _seen(self, photo: Photo) -> pixels.Pixels | None:
        thumbnail = self._thumbnails.get(photo.content)
        try:
            if thumbnail:
                return pixels.small(decode_thumbnail(thumbnail, pixels.KEPT_EDGE_PX))
            with self._reading:
                return pixels.small(self._read(photo))
        except (PhotoError, ValueError, OSError):
            return None

    def _read(self, photo: Photo) -> pixels.Pixels:
        if self._slot is None:
            self._slot = np.empty(self._limits.frame_edge_px**2 * 3, np.uint8)
        reading = read_frame(photo.path, self._slot, self._limits)
        shape = (reading.height, reading.width, 3)
        return self._slot[: math.prod(shape)].reshape(shape)


class Judge:
    """Says what photos are to each other, to several threads."""

    def __init__(self, settings: Settings) -> None:
        self._looks = Looks(settings)
        self.unseen: set[int] = set()  # photos without a thumbnail whose file could not be read either

    def likeness(self, keeper: Photo, other: Photo) -> Likeness | None:
        """What `other` is to `keeper`; None when they are two pictures, or can't be seen."""
        if (keeper.content, keeper.stat.size) == (other.content, other.stat.size):
            return Likeness(EXACT, "the same bytes")
        if is_other_exposure(keeper, other):
            return None
        first, second = self._looks.of(keeper), self._looks.of(other)
        if first is None or second is None:
            looks = (keeper, first), (other, second)
            self.unseen.update(photo.photo_id for photo, look in looks if look is None)
            return None
        if FLAT in (keeper.signature, other.signature):
            return None
        for turn, bits in turns_between(keeper.signature, other.signature, NEAR_BITS):
            if found := _whole(keeper, other, turn.of(first), second, turn, bits):
                return found
        return _part(first, second)


def _whole(
    keeper: Photo, other: Photo, first: pixels.Pixels, second: pixels.Pixels, turn: Turn, bits: int
) -> Likeness | None:
    """The likeness of two whole pictures, of which the first is held as the second."""
    if not _same_aspect(first, second):
        return None
    difference = pixels.same_shape(first, second, NEAR_SCORE)
    if difference is None:
        return None
    if turn.words:
        return Likeness(NEAR, turn.words)
    if (bits <= SAME_BITS and _is_unchanged(difference)) or _is_development(keeper, other, difference):
        return Likeness(SAME, how_encoded(keeper, other))
    return Likeness(NEAR, _how_edited(difference))


def _is_unchanged(difference: pixels.Difference) -> bool:
    return (
        difference.score >= SAME_SCORE
        and difference.worst <= SAME_WORST
        and difference.light <= SAME_LIGHT
        and difference.colour <= SAME_COLOUR
    )


def _how_edited(difference: pixels.Difference) -> str:
    if difference.colour > SAME_COLOUR:
        return "edited: other colours"
    return "edited: other light" if difference.light > SAME_LIGHT else "edited: a part of it differs"


def _is_development(keeper: Photo, other: Photo, difference: pixels.Difference) -> bool:
    """Whether it is a RAW with what a camera made of it: another tone, but no part and no colour is gone."""
    is_pair = is_raw_and_developed(keeper, other)
    return is_pair and difference.score >= RAW_SCORE and difference.colour <= RAW_COLOUR


def _part(first: pixels.Pixels, second: pixels.Pixels) -> Likeness | None:
    """The likeness of a picture and a crop of it."""
    inner, outer = pixels.place(first, second), pixels.place(second, first)
    best = max(inner, outer)
    if best.score < CROP_SCORE or min(pixels.detail(first), pixels.detail(second)) < CROP_DETAIL:
        return None
    if best is inner:
        return Likeness(NEAR, f"cropped: {best.area:.0%} of the area")
    return Likeness(NEAR, f"shows more: of it the keeper is {best.area:.0%}")


def _same_aspect(first: pixels.Pixels, second: pixels.Pixels) -> bool:
    ratio = first.shape[0] * second.shape[1] / (first.shape[1] * second.shape[0])
    return abs(math.log(ratio)) <= SAME_ASPECT


def how_encoded(keeper: Photo, other: Photo) -> str:
    """How the files of one picture differ."""
    if is_raw_and_developed(keeper, other):
        return "RAW and developed picture of one shot"
    edge = max(other.facts.width, other.facts.height) / max(1, keeper.facts.width, keeper.facts.height)
    if abs(edge - 1) > 0.01:
        return f"resized to {edge:.0%}"
    if keeper.facts.format != other.facts.format:
        return f"encoded as {other.facts.format} instead of {keeper.facts.format}"
    return "encoded again, or its metadata differ"


def is_raw_and_developed(a: Photo, b: Photo) -> bool:
    """Whether one is a RAW and the other is not, of one moment, or of one name where that is not known."""
    apart = _apart_s(a.facts, b.facts)
    return a.is_raw != b.is_raw and (_place(a) == _place(b) if math.isnan(apart) else apart <= STACK_GAP_S)


def _place(photo: Photo) -> tuple[bytes, bytes]:
    """Folder and name, without what editing and extension add to it."""
    folder, _, name = photo.path.rpartition(b"/")
    return folder, stem_of(name)[0]


def is_other_exposure(a: Photo, b: Photo) -> bool:
    """Whether two photos say themselves that the camera's shutter opened twice.

    Other times, cameras or settings say so, and in the same second other numbers in the names of files
    that are else of one kind. Whoever knows nothing contradicts nobody.
    """
    apart = _apart_s(a.facts, b.facts)
    if apart > STACK_GAP_S or (apart > _SUBSECONDS_S and _knows_fractions(a) and _knows_fractions(b)):
        return True
    if a.facts.camera and b.facts.camera and a.facts.camera != b.facts.camera:
        return True
    if any(_differ(getattr(a.facts, name), getattr(b.facts, name)) for name in _SETTINGS_OF_A_SHOT):
        return True
    return apart <= STACK_GAP_S and _shape(a) == _shape(b) and _are_frames_of_a_series(a.path, b.path)


_SETTINGS_OF_A_SHOT = ("exposure_s", "aperture", "iso", "exposure_bias_ev")


def _apart_s(a: Facts, b: Facts) -> float:
    """Seconds between two shots; NaN where a time is not known."""
    return abs(clock_s(a.taken_at) - clock_s(b.taken_at))


def _knows_fractions(photo: Photo) -> bool:
    return "." in (photo.facts.taken_at or "")


def _differ(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and not math.isclose(a, b, rel_tol=_LIKE_SETTINGS, abs_tol=1e-9)


def _shape(photo: Photo) -> tuple[str, int, int]:
    return photo.facts.format, photo.facts.width, photo.facts.height


def _are_frames_of_a_series(a: bytes, b: bytes) -> bool:
    """DSC_0012 and DSC_0013, but not IMG_0012 and "IMG_0012 (1)"."""
    first, second = os.path.basename(a), os.path.basename(b)
    prefixes = (
        name[: match.start()] if (match := _FRAME_NUMBERS.search(name)) else None for name in (first, second)
    )
    numbers = _FRAME_NUMBERS.findall(first), _FRAME_NUMBERS.findall(second)
    return len(set(prefixes)) == 1 and len(numbers[0]) == len(numbers[1]) and numbers[0] != numbers[1]
