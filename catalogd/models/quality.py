"""Technical quality of a frame: native measures, and BRISQUE when its two files are on the machine.

BRISQUE: Mittal, Moorthy and Bovik 2012 (doi 10.1109/TIP.2012.2214050), a support vector regression on the
shapes of locally normalised luma. The fields are described in docs/models.md.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.errors import ModelError
from catalogd.models import each_frame, failed, sources, weights
from catalogd.records import Output, Quality
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame

_STEP = 2  # of the native measures and of what this module makes of the weights
_BRISQUE_PARTS = (sources.BRISQUE_SVM, sources.BRISQUE_RANGES)
_BRISQUE_EDGE_PX = 512  # long edge it is measured at: its training photos had that size
_FEATURES = 36
_LUMA = np.array([0.2125, 0.7154, 0.0721])  # as the regression was trained

Doubles = NDArray[np.float64]


class QualityModel:
    """`quality`: sharpness, exposure, noise, colours; `brisque` when its files are found."""

    name = "quality"

    def __init__(self, settings: Settings, threads: int) -> None:
        parts = _BRISQUE_PARTS if all(weights.find(part, settings) for part in _BRISQUE_PARTS) else ()
        self.fingerprint = weights.fingerprint("quality", parts, _STEP)
        self._settings = settings
        self._has_brisque = bool(parts)
        self._brisque: Brisque | None = None

    def load(self) -> None:
        if self._has_brisque:
            svm, ranges = (weights.verified(part, self._settings) for part in _BRISQUE_PARTS)
            self._brisque = Brisque(svm, ranges)

    def unload(self) -> None:
        self._brisque = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        measured = each_frame(frames, self._measure)
        return [
            failed(self.fingerprint, item)
            if isinstance(item, Exception)
            else Output(self.fingerprint, quality=item)
            for item in measured
        ]

    def _measure(self, frame: Frame) -> Quality:
        brisque = self._brisque.score(frame) if self._brisque else None
        return Quality(**_native.quality(frame), brisque=brisque)


class Brisque:
    """The trained regression. Scores run from 0 (good) to 100 (bad)."""

    def __init__(self, svm: Path, ranges: Path) -> None:
        """Raises ModelError when a file is not in the form libsvm and the package write."""
        try:
            self._read_svm(svm.read_text("ascii"))
            self._low, self._high = _read_ranges(ranges)
        except (ValueError, KeyError, IndexError, pickle.UnpicklingError, EOFError) as error:
            raise ModelError(f"{svm}, {ranges}: not the BRISQUE model ({error})") from error

    def _read_svm(self, text: str) -> None:
        header, _, body = text.partition("\nSV\n")
        fields = dict(line.split(" ", 1) for line in header.splitlines())
        self._gamma, self._rho = float(fields["gamma"]), float(fields["rho"])
        rows = [line.split() for line in body.splitlines() if line]
        self._coefficients = np.array([float(row[0]) for row in rows])
        self._vectors = np.zeros((len(rows), _FEATURES))
        for vector, row in zip(self._vectors, rows, strict=True):
            for item in row[1:]:
                index, _, value = item.partition(":")
                vector[int(index) - 1] = float(value)

    def score(self, frame: Frame) -> float:
        """0…100 of `frame: uint8[H, W, 3]`, measured at a long edge of at most 512 px."""
        import cv2

        luma = _small_luma(frame)
        half: Any = cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
        features: Doubles = np.array([*_scene_statistics(luma), *_scene_statistics(half)])
        scaled = -1 + 2 * (features - self._low) / (self._high - self._low)
        kernel = np.exp(-self._gamma * ((self._vectors - scaled) ** 2).sum(axis=1))
        return float(np.clip(self._coefficients @ kernel - self._rho, 0, 100))


class _RangesUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain values; any other class is refused."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self._ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in weights")


def _read_ranges(path: Path) -> tuple[Doubles, Doubles]:
    with path.open("rb") as stream:
        table = _RangesUnpickler(stream).load()
    low, high = (np.array(table[key], float).ravel() for key in ("min_", "max_"))
    if low.size != _FEATURES or high.size != _FEATURES:
        raise ValueError(f"{low.size} ranges instead of {_FEATURES}")
    return low, high


def _small_luma(frame: Frame) -> Doubles:
    height, width = frame.shape[:2]
    scale = min(1.0, _BRISQUE_EDGE_PX / max(height, width))
    small = np.empty((max(8, round(height * scale)), max(8, round(width * scale)), 3), np.uint8)
    _native.resize(frame, small)
    luma: Doubles = small @ _LUMA / 255
    return luma


def _scene_statistics(luma: Doubles) -> list[float]:
    """18 features of one scale: the shape of normalised luma and of its products with four neighbours."""
    import cv2

    window = cv2.getGaussianKernel(7, 7 / 6)
    mean = cv2.sepFilter2D(luma, -1, window, window, borderType=cv2.BORDER_CONSTANT)
    square = cv2.sepFilter2D(luma * luma, -1, window, window, borderType=cv2.BORDER_CONSTANT)
    normalised = (luma - mean) / (np.sqrt(np.abs(square - mean * mean)) + 1 / 255)
    shape, _, left, right = _asymmetric_gaussian(normalised)
    features = [shape, (left**2 + right**2) / 2]
    for product in (
        normalised[:, :-1] * normalised[:, 1:],
        normalised[:-1] * normalised[1:],
        normalised[:-1, :-1] * normalised[1:, 1:],
        normalised[1:, :-1] * normalised[:-1, 1:],
    ):
        shape, mean_shift, left, right = _asymmetric_gaussian(product)
        features += [shape, mean_shift, left**2, right**2]
    return features


_SHAPES = np.arange(0.2, 10, 0.001)
_SHAPE_RATIOS = np.array(
    [math.exp(2 * math.lgamma(2 / s) - math.lgamma(1 / s) - math.lgamma(3 / s)) for s in _SHAPES.tolist()]
)


def _asymmetric_gaussian(values: Doubles) -> tuple[float, float, float, float]:
    """Shape, mean, left and right deviation of the asymmetric generalised Gaussian that fits, by moments."""
    tiny = 1e-12  # a flat frame has no deviation
    negative = values < 0
    left = math.sqrt(
        float(np.square(values, where=negative, out=np.zeros_like(values)).sum()) / max(negative.sum(), 1)
    )
    positive = np.where(negative, 0.0, values)
    right = math.sqrt(float(np.square(positive).sum()) / max(values.size - int(negative.sum()), 1))
    left, right = max(left, tiny), max(right, tiny)
    balance = left / right
    moment = float(np.abs(values).mean()) ** 2 / max(float(np.square(values).mean()), tiny**2)
    ratio = moment * (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    shape = float(_SHAPES[np.abs(_SHAPE_RATIOS - ratio).argmin()])
    spread = math.exp(0.5 * (math.lgamma(1 / shape) - math.lgamma(3 / shape)))
    mean = (right - left) * spread * math.exp(math.lgamma(2 / shape) - math.lgamma(1 / shape))
    return shape, mean, left, right
