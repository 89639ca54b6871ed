"""Faces in a frame: YuNet finds them with five landmarks, SFace turns each into an embedding.

YuNet: Wu et al. 2023 (doi 10.1007/s11633-023-1423-y). SFace: Zhong et al. 2021 (arXiv:2205.12010). Both run
as plain float32 ONNX (convert.py).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.models import each_frame, failed, sessions, sources, weights
from catalogd.records import Face, Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame

DIMENSIONS = 128
_DETECTION_EDGE_PX = 960  # faces from 25 px of a 1280-px frame at 2 x the CPU of 640 (bench/bench_models.py)
_STRIDES = (8, 16, 32)  # of YuNet's three grids; its input is a multiple of the last
_MIN_SCORE = 0.7  # 2 of 57 were no face on 130 photos, looked at one by one; of those at 0.6 to 0.7, 5 of 28
_MAX_OVERLAP = 0.3  # intersection over union above which the weaker box is dropped
MAX_FACES = 100  # a crowd beyond this costs seconds and helps nobody
_CROP_PX = 112
_FACES_A_RUN = 16  # bounds the memory of a batch of crowds
# Where SFace and ArcFace want the eyes, the nose and the mouth corners, in px of the 112-px crop
# (OpenCV Zoo; insightface).
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_TEMPLATE_EYE_DISTANCE_PX = 35.2
_SHARP_VARIANCE = 150.0  # Laplacian variance of an aligned crop that counts as half sharp
_GRAPH_VERSION = 1  # of the ONNX files in the cache
_STEP = 1  # of what this module makes of the weights

Floats = NDArray[np.float32]


@dataclasses.dataclass
class Detection:
    """One face in px of the frame, and its crop at the template of recognisers."""

    box: Floats  # x, y, width, height
    landmarks: Floats  # [5, 2]
    score: float
    crop: NDArray[np.uint8]  # uint8[112, 112, 3]


class FacesModel:
    """`faces`: box, landmarks, score, quality and a 128-d embedding each."""

    name = "faces"

    def __init__(self, settings: Settings, threads: int) -> None:
        self.fingerprint = weights.fingerprint("yunet+sface", (sources.YUNET, sources.SFACE), _STEP)
        self._settings = settings
        self._threads = threads
        self._detector: sessions.Session | None = None
        self._recogniser: sessions.Session | None = None

    def load(self) -> None:
        self._detector = self._open("yunet", sources.YUNET)
        self._recogniser = self._open("sface", sources.SFACE)

    def _open(self, name: str, part: weights.Weights) -> sessions.Session:
        from catalogd.models import convert

        source = weights.verified(part, self._settings)
        build = functools.partial(convert.write_dequantised, source)
        path = weights.converted(name, (part,), _GRAPH_VERSION, ".onnx", self._settings, build)
        return sessions.Session(path, self._threads)

    def unload(self) -> None:
        self._detector = self._recogniser = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        found = each_frame(frames, self._detect)
        crops = [face.crop for item in found if not isinstance(item, Exception) for face in item]
        embeddings = iter(self._recognise(crops))
        outputs = []
        for frame, item in zip(frames, found, strict=True):
            if isinstance(item, Exception):
                outputs.append(failed(self.fingerprint, item))
                continue
            faces = tuple(face_of(face, next(embeddings), frame.shape) for face in item)
            outputs.append(Output(self.fingerprint, faces=faces))
        return outputs

    def _detect(self, frame: Frame) -> list[Detection]:
        """The faces of a frame, strongest first, with their crops."""
        assert self._detector is not None, "load() first"
        pixels, scale = _letterboxed(frame)
        tensors = dict(zip(self._detector.outputs, self._detector.run(pixels), strict=True))
        height, width = pixels.shape[2:]
        parts = [_decode(tensors, stride, height // stride, width // stride) for stride in _STRIDES]
        boxes, landmarks, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        kept = suppressed(boxes, scores)
        return [
            Detection(
                boxes[i] / scale,
                landmarks[i] / scale,
                float(scores[i]),
                aligned(frame, landmarks[i] / scale),
            )
            for i in kept
        ]

    def _recognise(self, crops: Sequence[NDArray[np.uint8]]) -> Floats:
        """`float32[n, 128]` unit embeddings of aligned crops; the graph normalises levels itself."""
        assert self._recogniser is not None, "load() first"
        results = [np.zeros((0, DIMENSIONS), np.float32)]
        for start in range(0, len(crops), _FACES_A_RUN):
            batch = np.stack(crops[start : start + _FACES_A_RUN])
            tensor = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
            results.append(sessions.unit_rows(self._recogniser.run(tensor)[0]))
        return np.concatenate(results)


def _letterboxed(frame: Frame) -> tuple[Floats, float]:
    """The frame as YuNet's input `float32[1, 3, h, w]` (BGR, 0…255), and its scale.

    A frame smaller than the detection edge is not enlarged.
    """
    height, width = frame.shape[:2]
    scale = min(1.0, _DETECTION_EDGE_PX / max(height, width))
    placed = (max(1, round(height * scale)), max(1, round(width * scale)))
    step = _STRIDES[-1]
    target = np.empty((1, 3, -(-placed[0] // step) * step, -(-placed[1] // step) * step), np.float32)
    _native.resize_to_tensor(frame, target[0], (0.0,) * 3, (1.0,) * 3, bgr=True, placed=placed)
    return target, scale


def _decode(
    tensors: dict[str, Floats], stride: int, rows: int, columns: int
) -> tuple[Floats, Floats, Floats]:
    """Boxes `[n, 4]`, landmarks `[n, 5, 2]` and scores `[n]` of one grid, in px of the input."""
    scores = np.sqrt(np.clip(tensors[f"cls_{stride}"][0, :, 0] * tensors[f"obj_{stride}"][0, :, 0], 0, 1))
    sure = np.flatnonzero(scores >= _MIN_SCORE)
    y, x = np.divmod(sure, columns)
    cells = np.stack([x, y], axis=1).astype(np.float32)
    raw = tensors[f"bbox_{stride}"][0, sure]
    centres = (cells + raw[:, :2]) * stride
    sizes = np.exp(raw[:, 2:]) * stride
    landmarks = (tensors[f"kps_{stride}"][0, sure].reshape(-1, 5, 2) + cells[:, None]) * stride
    return np.concatenate([centres - sizes / 2, sizes], axis=1), landmarks, scores[sure]


def suppressed(
    boxes: Floats,
    scores: Floats,
    max_overlap: float = _MAX_OVERLAP,
    edge_px: float = 0,
    most: int = MAX_FACES,
) -> list[int]:
    """Indices of the boxes (x, y, width, height) that no stronger box covers, the `most` strongest in order.

    `edge_px` is 1 where a box counts the pixels on both its edges, as some detectors are evaluated.
    """
    order = list(np.argsort(-scores, kind="stable"))
    areas = (boxes[:, 2] + edge_px) * (boxes[:, 3] + edge_px)
    kept: list[int] = []
    while order and len(kept) < most:
        best, *rest = order
        kept.append(int(best))
        others = np.array(rest, int)
        low = np.maximum(boxes[others, :2], boxes[best, :2])
        high = np.minimum(boxes[others, :2] + boxes[others, 2:], boxes[best, :2] + boxes[best, 2:])
        shared = np.prod(np.clip(high - low + edge_px, 0, None), axis=1)
        overlap = shared / (areas[others] + areas[best] - shared)
        order = list(others[overlap <= max_overlap])
    return kept


def aligned(frame: Frame, landmarks: Floats) -> NDArray[np.uint8]:
    """The face turned, scaled and moved so that its landmarks fit the template: `uint8[112, 112, 3]`."""
    import cv2

    matrix = _similarity(landmarks.astype(np.float64), _TEMPLATE)
    crop: Any = cv2.warpAffine(frame, matrix, (_CROP_PX, _CROP_PX), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, np.uint8)


def _similarity(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 2x3 similarity transform with the least squared error (Umeyama 1991)."""
    centre, target_centre = points.mean(axis=0), targets.mean(axis=0)
    centred = points - centre
    u, singular, v = np.linalg.svd((targets - target_centre).T @ centred / len(points))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    rotation = u @ np.diag(signs) @ v
    scale = (singular * signs).sum() / max(centred.var(axis=0).sum(), 1e-9)
    return np.column_stack([scale * rotation, target_centre - scale * rotation @ centre])


def face_of(detection: Detection, embedding: Floats, shape: tuple[int, ...]) -> Face:
    size = np.array([shape[1], shape[0]], np.float32)
    box = np.clip(
        np.concatenate([detection.box[:2], detection.box[:2] + detection.box[2:]]) / np.tile(size, 2), 0, 1
    )
    landmarks = detection.landmarks / size
    return Face(
        box=(float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])),
        landmarks=tuple((float(x), float(y)) for x, y in landmarks),
        score=detection.score,
        quality=_quality(detection),
        embedding=sessions.half_bytes(embedding),
    )


def _quality(detection: Detection) -> float:
    """How well the face can be recognised, 0…1: size x sharpness x pose, each 0…1.

    Size: distance of the eyes against the template's. Sharpness: variance of the Laplacian of the
    aligned crop. Pose: how far the nose is from the line between the middles of eyes and mouth.
    """
    import cv2

    left_eye, right_eye, nose, left_mouth, right_mouth = detection.landmarks
    across = right_eye - left_eye
    eye_distance = float(np.hypot(*across))
    size = min(1.0, eye_distance / _TEMPLATE_EYE_DISTANCE_PX)
    grey = cv2.cvtColor(detection.crop, cv2.COLOR_RGB2GRAY)
    variance = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    sharpness = variance / (variance + _SHARP_VARIANCE)
    middle = (left_eye + right_eye + left_mouth + right_mouth) / 4
    turned = abs(float((nose - middle) @ across)) / max(eye_distance, 1e-6) ** 2
    return size * sharpness * float(np.clip(1 - 2 * turned, 0, 1))
