"""Text in a frame: PP-OCR finds lines and reads them (the starter's: Latin and Chinese scripts).

::

    frame ─▶ coarse detection of the whole ─▶ nothing? done
                     │ where something fires, with a margin
                     ▼
             fine detection of that part ─▶ lines ─▶ upright strips ─▶ recognition,
                                                                                  one width together

Most photos hold no text: they cost one coarse detection, which on a GPU frames of one shape have
together. Detection: Liao et al. 2020 (arXiv:1911.08947),
read by contours. Recognition: CTC. Sizes and thresholds are measured in bench/bench_models.py.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.models import batches, each_frame, failed, graphs, sessions, sources, together, weights
from catalogd.models.devices import CPU, Device, Hardware
from catalogd.records import Output, TextLine
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame
    from catalogd.models.batches import Batch

_COARSE_EDGE_PX = 640  # long edge of the first look (bench/bench_models.py: the curve)
_FINE_EDGE_PX = 1280  # of the second look, at the part where the first one fired
_FIRES = 0.3  # coarse probability that calls for the second look: lower ones cost more and find nothing more
_MARGIN = 0.05  # of the frame's long edge, added around what fired
_GRID_PX = 32  # the detector's input is a multiple of it
_INK = 0.3  # probability that a pixel belongs to a line; with the next two, PP-OCR's own values
_MIN_BOX_PROBABILITY = 0.5
_UNCLIP = 1.6  # the detector is trained on shrunk lines: area x this / perimeter grows them back
_MIN_SIDE_PX = 3  # of a shrunk line
_MEAN = (255 * 0.406, 255 * 0.456, 255 * 0.485)  # PP-OCR normalises BGR planes by these, in this order
_SCALE = (1 / (255 * 0.225), 1 / (255 * 0.224), 1 / (255 * 0.229))
_STRIP_HEIGHT_PX = 48
_STRIP_STEP_PX = 64  # widths are rounded up to it, so that a strip reads alike in any batch
_MAX_STRIP_WIDTH_PX = 2048  # longer lines are squeezed
_STRIPS_A_RUN = 16
_FRAMES_A_RUN = 16  # of one shape, in a detection on a GPU
_UPRIGHT = 1.5  # a strip this much taller than wide is a line that runs up or down
_MAX_LINES = 200  # a page of small print; the rest would take longer than the photo is worth
_MIN_LINE_SCORE = 0.6
_SHORT_CHARACTERS = 2  # letters and digits; latte art reads as "8"
_SHORT_LINE_SCORE = 0.97
_STEP = 1  # of what this module makes of the weights
_PARTS = (sources.TEXT_DETECTION, sources.TEXT_RECOGNITION)

Floats = NDArray[np.float32]


Reading = tuple[str, float]  # text and score, 0…1


@dataclasses.dataclass
class Line:
    """A line's corners in px of the frame, from its top left, clockwise, and its pixels."""

    corners: Floats  # [4, 2]
    strip: NDArray[np.uint8]  # uint8[48, w, 3], w a multiple of 64


Lines = list[Line] | Exception  # of one frame


class PpOcr(abc.ABC):
    """`text_lines`: text, corners and score each, from top to bottom."""

    name = "text"

    def __init__(self, fingerprint: str, hardware: Hardware) -> None:
        self.fingerprint = fingerprint
        self.device = hardware.device
        self._hardware = hardware
        self._detector: sessions.Session | None = None
        self._reader: sessions.Session | None = None
        self._characters: list[str] = []

    @abc.abstractmethod
    def _files(self) -> tuple[Path, Path]:
        """The graphs of detection and recognition. Raises ModelError when one is missing."""

    def _alphabet(self, reader: sessions.Session) -> list[str]:
        """What each class of the recogniser stands for, but for the first, which is CTC's blank."""
        return [*reader.metadata["character"].split("\n"), " "]

    def load(self) -> None:
        detection, recognition = self._files()
        self._detector = self._open(detection)
        self._reader = self._open(recognition)
        self._characters = ["", *self._alphabet(self._reader)]

    def _open(self, path: Path) -> sessions.Session:
        return sessions.Session(path, self._hardware.threads, device=self._hardware.device)

    def unload(self) -> None:
        self._detector = self._reader = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        batch = batches.as_batch(frames, self._hardware.device)
        found = self.find(batch)
        return outputs_of(self.fingerprint, batch, found, self.read(all_of(found)))

    def find(self, batch: Batch) -> list[Lines]:
        """Every line of each frame, from top to bottom."""
        looked = together(batch, self._coarse) if batch.device.is_gpu else each_frame(batch, self._coarse_of)
        seen = iter(looked)
        return each_frame(batch, lambda frame: self._lines(frame, next(seen)))

    def _coarse_of(self, frame: Frame) -> Floats:
        height, width = frame.shape[:2]
        return self._probabilities(frame, (0, 0, width, height), _COARSE_EDGE_PX)

    def _coarse(self, batch: Batch) -> list[Floats | Exception]:
        """As `_coarse_of`, frames of one shape in one run."""
        assert self._detector is not None, "load() first"
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, frame in enumerate(batch):
            height, width = frame.shape[:2]
            by_size.setdefault(_input_size(height, width, _COARSE_EDGE_PX), []).append(index)
        seen: list[Floats | Exception] = [np.zeros((0, 0), np.float32)] * len(batch)
        for size, indices in by_size.items():
            look = batches.Look(size, _MEAN, _SCALE, fit="squash", bgr=True)
            for start in range(0, len(indices), _FRAMES_A_RUN):
                some = indices[start : start + _FRAMES_A_RUN]
                maps = self._detector.run(graphs.pixels_of(batch.part(some), look))[0]
                for index, probabilities in zip(some, maps[:, 0], strict=True):
                    seen[index] = probabilities
        return seen

    def _lines(self, frame: Frame, coarse: Floats | Exception) -> list[Line]:
        if isinstance(coarse, Exception):
            raise coarse
        height, width = frame.shape[:2]
        part = _fired_part(coarse, height, width)
        if part is None:
            return []
        if max(height, width) > _COARSE_EDGE_PX:
            coarse = self._probabilities(frame, part, _FINE_EDGE_PX)
        else:
            part = (0, 0, width, height)
        quads = _quads(coarse, part)
        quads.sort(key=lambda corners: (float(corners[:, 1].mean()), float(corners[:, 0].mean())))
        return [Line(corners, _strip(frame, corners)) for corners in quads[:_MAX_LINES]]

    def _probabilities(self, frame: Frame, part: tuple[int, int, int, int], edge_px: int) -> Floats:
        """`float32[h, w]`: how likely each cell of `part` (x, y, width, height in px) is a line's middle."""
        assert self._detector is not None, "load() first"
        _, _, width, height = part
        pixels = np.empty((1, 3, *_input_size(height, width, edge_px)), np.float32)
        _native.resize_to_tensor(frame, pixels[0], _MEAN, _SCALE, crop=part, bgr=True)
        result: Floats = self._detector.run(pixels)[0][0, 0]
        return result

    def read(self, lines: Sequence[Line]) -> list[Reading]:
        """Text and score of each line; strips of one width go through the network together."""
        strips = [line.strip for line in lines]
        readings: list[Reading] = [("", 0.0)] * len(strips)
        by_width: dict[int, list[int]] = {}
        for index, strip in enumerate(strips):
            by_width.setdefault(strip.shape[1], []).append(index)
        for indices in by_width.values():
            for start in range(0, len(indices), _STRIPS_A_RUN):
                some = indices[start : start + _STRIPS_A_RUN]
                for index, reading in zip(some, self._read_alike([strips[i] for i in some]), strict=True):
                    readings[index] = reading
        return readings

    def _read_alike(self, strips: list[NDArray[np.uint8]]) -> list[Reading]:
        assert self._reader is not None, "load() first"
        levels = np.stack(strips)[..., ::-1].transpose(0, 3, 1, 2)
        tensor = np.ascontiguousarray(levels, np.float32) / 127.5 - 1
        return [self._decode(steps) for steps in self._reader.run(tensor)[0]]

    def _decode(self, steps: Floats) -> Reading:
        """The likeliest class a step, repeats and blanks dropped; the score is their mean probability."""
        classes = steps.argmax(axis=1)
        probabilities = steps[np.arange(len(steps)), classes]
        new = (classes != 0) & np.concatenate([[True], classes[1:] != classes[:-1]])
        if not new.any():
            return "", 0.0
        return "".join(self._characters[c] for c in classes[new]), float(probabilities[new].mean())


class TextModel(PpOcr):
    """The starter's: the weights that rapidocr's package carries."""

    def __init__(self, settings: Settings, threads: int, device: Device = CPU) -> None:
        fingerprint = weights.fingerprint("pp-ocr-v6-small", _PARTS, _STEP)
        super().__init__(fingerprint, Hardware(device, threads))
        self._settings = settings

    def _files(self) -> tuple[Path, Path]:
        detection, recognition = (weights.verified(part, self._settings) for part in _PARTS)
        return detection, recognition


def all_of(found: Sequence[Lines]) -> list[Line]:
    """The lines of all frames, in order."""
    return [line for item in found if not isinstance(item, Exception) for line in item]


def outputs_of(
    fingerprint: str, frames: Sequence[Frame], found: Sequence[Lines], readings: Sequence[Reading]
) -> list[Output]:
    """One output a frame; `readings` are of all lines, in order. What is too unsure is left out."""
    left = iter(readings)
    outputs = []
    for frame, item in zip(frames, found, strict=True):
        if isinstance(item, Exception):
            outputs.append(failed(fingerprint, item))
            continue
        read = [_text_line(line, *next(left), frame.shape) for line in item]
        outputs.append(Output(fingerprint, text_lines=tuple(line for line in read if line is not None)))
    return outputs


def _input_size(height: int, width: int, edge_px: int) -> tuple[int, int]:
    """(rows, columns) of the detector's input for a picture of this size."""
    scale = min(1.0, edge_px / max(height, width))
    rows, columns = (max(1, round(side * scale / _GRID_PX)) * _GRID_PX for side in (height, width))
    return rows, columns


def _fired_part(probabilities: Floats, height: int, width: int) -> tuple[int, int, int, int] | None:
    """The part of the frame (x, y, width, height in px) around all that may be text, or None."""
    rows, columns = np.nonzero(probabilities > _FIRES)
    if not rows.size:
        return None
    down, across = height / probabilities.shape[0], width / probabilities.shape[1]
    margin = _MARGIN * max(height, width)
    left, top = (
        max(0, int(low * step - margin)) for low, step in ((columns.min(), across), (rows.min(), down))
    )
    right = min(width, int((columns.max() + 1) * across + margin) + 1)
    bottom = min(height, int((rows.max() + 1) * down + margin) + 1)
    return left, top, right - left, bottom - top


def _quads(probabilities: Floats, part: tuple[int, int, int, int]) -> list[Floats]:
    """The corners of each line in px of the frame; `probabilities` covers `part` of it."""
    import cv2

    left, top, width, height = part
    scale = np.array([width / probabilities.shape[1], height / probabilities.shape[0]], np.float32)
    contours, _ = cv2.findContours(
        (probabilities > _INK).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    quads = []
    for contour in contours:
        centre, (long, short), angle = cv2.minAreaRect(contour)
        if min(long, short) < _MIN_SIDE_PX or _mean_inside(probabilities, contour) < _MIN_BOX_PROBABILITY:
            continue
        grow = long * short * _UNCLIP / (2 * (long + short))
        corners = cv2.boxPoints((centre, (long + 2 * grow, short + 2 * grow), angle))
        quads.append(_from_top_left(corners * scale + np.array([left, top], np.float32)))
    return quads


def _mean_inside(probabilities: Floats, contour: Any) -> float:
    import cv2

    x, y, width, height = cv2.boundingRect(contour)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [contour - np.array([x, y])], 1)
    mean: float = cv2.mean(probabilities[y : y + height, x : x + width], mask)[0]
    return mean


def _from_top_left(corners: Floats) -> Floats:
    """The same corners, clockwise from the top left one."""
    sums, differences = corners.sum(axis=1), corners[:, 1] - corners[:, 0]
    order = [sums.argmin(), differences.argmin(), sums.argmax(), differences.argmax()]
    return corners[order] if len(set(order)) == 4 else corners


def _strip(frame: Frame, corners: Floats) -> NDArray[np.uint8]:
    """The line cut out, upright, 48 px high, padded with grey to a multiple of 64 px."""
    cut = cut_out(frame, corners)
    wanted = round(_STRIP_HEIGHT_PX * cut.shape[1] / cut.shape[0])
    wanted = min(max(wanted, 16), _MAX_STRIP_WIDTH_PX)
    line = np.empty((_STRIP_HEIGHT_PX, wanted, 3), np.uint8)
    _native.resize(cut, line)
    padded = -(-wanted // _STRIP_STEP_PX) * _STRIP_STEP_PX
    return np.pad(line, ((0, 0), (0, padded - wanted), (0, 0)), constant_values=128)


def cut_out(frame: Frame, corners: Floats) -> NDArray[np.uint8]:
    """The line, upright, at its own size `uint8[h, w, 3]`: warping straight to another would alias."""
    import cv2

    edges = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    width, height = max(1, int(max(edges[0], edges[2]))), max(1, int(max(edges[1], edges[3])))
    targets = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(np.ascontiguousarray(corners, np.float32), targets)
    cut: Any = cv2.warpPerspective(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    if height >= _UPRIGHT * width:
        cut = np.ascontiguousarray(np.rot90(cut))
    return np.asarray(cut, np.uint8)


def _text_line(line: Line, text: str, score: float, shape: tuple[int, ...]) -> TextLine | None:
    """The record of a line, or None when it is too unsure to keep."""
    text = " ".join(text.split())
    characters = sum(character.isalnum() for character in text)
    least = _SHORT_LINE_SCORE if characters <= _SHORT_CHARACTERS else _MIN_LINE_SCORE
    if characters == 0 or score < least:
        return None
    corners = np.clip(line.corners / np.array([shape[1], shape[0]]), 0, 1)
    return TextLine(text, tuple((float(x), float(y)) for x, y in corners), score)
