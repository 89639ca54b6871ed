"""How far one small picture is shifted against another, whatever their exposures.

Normalised gradient correlation (Tzimiropoulos, Argyriou, Zafeiriou and Stathaki 2010,
doi 10.1109/TPAMI.2010.107) with the norm taken over the part in which both overlap (Padfield 2012,
doi 10.1109/TIP.2011.2181402), so that half of a panorama's frame is enough. All shifts at once, by Fourier
transform.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogd import _native

EDGE_PX = 64  # long edge at which pictures are compared: a shift is right to 2 % of the frame
LEAST_OVERLAP = 0.15  # of the frame: in less, something always fits
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FLAT = 1e-3  # of the mean energy: an overlap of sky alone matches any sky

Pixels = NDArray[np.uint8]  # [h, w, 3]
Gradients = NDArray[np.complex64]  # [h, w]: across is real, down imaginary


class Shift(NamedTuple):
    """Where the content of the first picture is in the second."""

    across: float  # of the frame's width; to the right
    down: float  # of the frame's height
    score: float  # 0…1, the correlation there

    @property
    def length(self) -> float:
        return math.hypot(self.across, self.down)


class Outline:
    """A picture made ready to be compared with others of its shape."""

    def __init__(self, pixels: Pixels) -> None:
        scale = EDGE_PX / max(pixels.shape[:2])
        self.shape = max(8, round(pixels.shape[0] * scale)), max(8, round(pixels.shape[1] * scale))
        small = np.empty((*self.shape, 3), np.uint8)
        _native.resize(np.ascontiguousarray(pixels), small)
        gradients = _gradients(small.astype(np.float32) @ _LUMA)
        self._spectrum = np.fft.fft2(gradients, _padded(self.shape))
        self._energy = np.fft.rfft2(np.square(np.abs(gradients)), _padded(self.shape))

    def shift_to(self, other: Outline) -> Shift | None:
        """None where the pictures have two shapes, or there is nothing to see."""
        if self.shape != other.shape:
            return None
        scores = self._scores(other)
        place = np.unravel_index(int(np.argmax(scores)), scores.shape)
        down, across = (
            int(at) if at < size else int(at) - 2 * size for at, size in zip(place, self.shape, strict=True)
        )
        score = float(scores[place])
        return Shift(across / self.shape[1], down / self.shape[0], score) if score > 0 else None

    def _scores(self, other: Outline) -> NDArray[np.float64]:
        """The correlation at each shift, cyclic; 0 where too little overlaps."""
        shape = _padded(self.shape)
        area, window = _overlap(self.shape)
        product = np.fft.ifft2(other._spectrum * np.conj(self._spectrum)).real
        own = np.fft.irfft2(window * np.conj(self._energy), shape)
        others = np.fft.irfft2(other._energy * np.conj(window), shape)
        norms = np.sqrt(np.maximum(own, 0) * np.maximum(others, 0))
        least = _FLAT * float(norms.max()) + 1e-9
        fits = (area >= LEAST_OVERLAP) & (norms > least)
        scores: NDArray[np.float64] = np.where(fits, product / np.maximum(norms, least), 0.0)
        return scores


def _padded(shape: tuple[int, int]) -> tuple[int, int]:
    return 2 * shape[0], 2 * shape[1]


def _gradients(luma: NDArray[np.float32]) -> Gradients:
    """Of unit length where there is an edge: a dark picture's edges count as a bright one's."""
    across, down = np.gradient(luma, axis=1), np.gradient(luma, axis=0)
    found = across + 1j * down
    lengths = np.abs(found)
    softened: Gradients = (found / (lengths + 0.5 * lengths.mean() + 1e-6)).astype(np.complex64)
    return softened


@functools.lru_cache(maxsize=16)
def _overlap(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """The share of the frame that overlaps at each cyclic shift, and the spectrum of a whole frame."""
    window = np.fft.rfft2(np.ones(shape), _padded(shape))
    area = np.fft.irfft2(window * np.conj(window), _padded(shape)) / (shape[0] * shape[1])
    return area, window
