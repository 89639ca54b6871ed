"""A signature of a frame: 256 bits that say where it is light and dark, from coarse to fine.

The frame's luma is averaged to 64 x 64 whatever its shape, transformed (DCT-II), and of the lowest
frequencies only the signs are kept, as perceptual hashes do (Zauner 2010; PDQ, Facebook 2019). Copies
that were encoded again, resized or retouched differ in few bits; docs/duplicates.md has how many.

Signs, not comparisons with a median, because a sign says exactly what becomes of it when the picture is
turned or mirrored: `turned` makes the signatures of all eight ways to hold a picture from one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.models import each_frame, failed, weights
from catalogd.records import Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame

SIGNATURE_BYTES = 32
FLAT = bytes(SIGNATURE_BYTES)  # of a frame without a picture in it: alike to nothing

_STEP = 1
_EDGE = 64  # px that the frame is averaged to
_LUMA = (0.299 / 255, 0.587 / 255, 0.114 / 255)  # Rec. 601: what JPEG keeps best
# Standard deviation of the averaged luma (0…1) below which signs are noise: a lens cap, a white page.
_LEAST_CONTRAST = 0.01
_BLOCK = 1 << 14  # signatures that are turned at once: 4 MB of bits

Bits = NDArray[np.uint8]
Signatures = NDArray[np.uint8]  # [n, SIGNATURE_BYTES]


def _frequencies() -> NDArray[np.intp]:
    """intp[256, 2]: rows and columns of the DCT, the coarsest first, mean left out; symmetric."""
    every = [(u, v) for u in range(_EDGE) for v in range(_EDGE) if u + v > 0]
    nearest = sorted(every, key=lambda pair: (pair[0] + pair[1], abs(pair[0] - pair[1]), pair))
    return np.array([*nearest[: SIGNATURE_BYTES * 8 - 1], (12, 12)])  # no pair without its mirror image


def _transform() -> NDArray[np.float32]:
    """float32[23, 64]: the rows of the orthonormal DCT-II that the frequencies need."""
    rows = np.arange(int(FREQUENCIES.max()) + 1)[:, None]
    columns = np.arange(_EDGE)[None]
    waves: NDArray[np.float64] = np.cos(np.pi * (2 * columns + 1) * rows / (2 * _EDGE))
    transform: NDArray[np.float32] = (waves * np.sqrt(2 / _EDGE)).astype(np.float32)
    return transform


FREQUENCIES = _frequencies()
_TRANSFORM = _transform()
_PLACES = {(u, v): place for place, (u, v) in enumerate(FREQUENCIES.tolist())}
_TRANSPOSED = np.array([_PLACES[v, u] for u, v in FREQUENCIES.tolist()])


class SignatureModel:
    """`signature`: arithmetic on pixels, without weights."""

    name = "signature"

    def __init__(self, settings: Settings, threads: int) -> None:
        self.fingerprint = weights.fingerprint("signature", (), _STEP)

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        made = each_frame(frames, signature)
        return [
            failed(self.fingerprint, item)
            if isinstance(item, Exception)
            else Output(self.fingerprint, signature=item)
            for item in made
        ]


def signature(frame: Frame) -> bytes:
    """The 32 bytes of `frame: uint8[H, W, 3]`; FLAT where there is nothing to tell it by."""
    planes = np.empty((3, _EDGE, _EDGE), np.float32)
    _native.resize_to_tensor(frame, planes, (0.0, 0.0, 0.0), _LUMA)
    luma = planes.sum(axis=0)
    if float(luma.std()) < _LEAST_CONTRAST:
        return FLAT
    waves = _TRANSFORM @ luma @ _TRANSFORM.T
    return np.packbits(waves[FREQUENCIES[:, 0], FREQUENCIES[:, 1]] > 0).tobytes()


# -- the eight ways to hold a picture --------------------------------------------------------------


class Turn(NamedTuple):
    """One of them: mirrored along its diagonal or not, then upside down or not, left for right or not."""

    transposed: bool
    upside_down: bool
    reversed: bool

    def of(self, pixels: Frame) -> Frame:
        """`pixels: uint8[h, w, 3]` held that way."""
        held = pixels.transpose(1, 0, 2) if self.transposed else pixels
        return held[:: -1 if self.upside_down else 1, :: -1 if self.reversed else 1]

    @property
    def words(self) -> str:
        """What a person calls it."""
        if not any(self):
            return ""
        mirrored = self.transposed ^ self.upside_down ^ self.reversed
        if not self.transposed:
            return "mirrored" if mirrored else "turned by 180°"
        return "mirrored and turned" if mirrored else "turned by 90°"


TURNS = tuple(Turn(*held) for held in itertools.product((False, True), repeat=3))


def turned(signatures: Signatures, turn: Turn) -> Signatures:
    """The signatures `uint8[n, 32]` that the same frames have when they are held another way."""
    held = np.empty_like(signatures)
    for start in range(0, len(signatures), _BLOCK):
        held[start : start + _BLOCK] = _turned_block(signatures[start : start + _BLOCK], turn)
    return held


def _turned_block(signatures: Signatures, turn: Turn) -> Signatures:
    held = signatures
    if turn.transposed:
        held = np.packbits(np.unpackbits(signatures, axis=1)[:, _TRANSPOSED], axis=1)
    found: Signatures = held ^ _negated(turn)
    return found


@functools.cache
def _negated(turn: Turn) -> Signatures:
    """uint8[32]: the bits of the odd waves along each axis that is turned round."""
    odd = np.zeros(len(FREQUENCIES), np.uint8)
    for axis, is_reversed in enumerate((turn.upside_down, turn.reversed)):
        odd ^= (FREQUENCIES[:, axis] % 2 * is_reversed).astype(np.uint8)
    return np.packbits(odd)


def turns_between(first: bytes, second: bytes, most_bits: int) -> list[tuple[Turn, int]]:
    """The ways to hold the first picture that make it like the second, in up to `most_bits`; best first."""
    if FLAT in (first, second):
        return []
    ours, theirs = (np.frombuffer(made, np.uint8)[None] for made in (first, second))
    every = np.concatenate([turned(ours, turn) for turn in TURNS])
    counts = np.bitwise_count(every ^ theirs).sum(axis=1).tolist()
    found = [(turn, bits) for turn, bits in zip(TURNS, counts, strict=True) if bits <= most_bits]
    return sorted(found, key=lambda pair: pair[1])
