"""What a frame looks like: EfficientNet-Lite0's features, its labels as tags, and the joint embedding."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.models import each_frame, failed, joint, sessions, sources, weights
from catalogd.records import Output, Tag
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame

DIMENSIONS = 1280
_INPUT_PX = 224
_CROP = 0.875  # share of the short side that the evaluation crop of the weights keeps
_MEAN, _SCALE = 127.0, 1 / 128  # as the weights were trained
_TAG_PROBABILITY = 0.10  # a label with less than one chance in ten misleads more than it helps
_MAX_TAGS = 5
_GRAPH_VERSION = 1  # of the ONNX file in the cache
_STEP = 1  # of what this module makes of the weights


class EmbeddingModel:
    """`embedding` (1280-d), `tags`, and `joint_embedding` (384-d) when the sentence encoder is there."""

    name = "embedding"

    def __init__(self, settings: Settings, threads: int) -> None:
        self._settings = settings
        self._threads = threads
        self._has_joint = weights.find(sources.MINILM, settings) is not None
        self.fingerprint = joint_space_name() if self._has_joint else lite0_name()
        self._session: sessions.Session | None = None
        self._joint: joint.JointSpace | None = None

    def load(self) -> None:
        source = weights.verified(sources.LITE0, self._settings)
        graph = weights.converted(
            "efficientnet-lite0",
            (sources.LITE0,),
            _GRAPH_VERSION,
            ".onnx",
            self._settings,
            functools.partial(_convert, source),
        )
        self._joint = joint.JointSpace(self._settings, self._threads) if self._has_joint else None
        self._session = sessions.Session(graph, self._threads)

    def unload(self) -> None:
        self._session = self._joint = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        prepared = each_frame(frames, _pixels)
        pixels = [item for item in prepared if not isinstance(item, Exception)]
        outputs = iter(self._infer(np.stack(pixels)) if pixels else [])
        return [
            failed(self.fingerprint, item) if isinstance(item, Exception) else next(outputs)
            for item in prepared
        ]

    def _infer(self, pixels: NDArray[np.float32]) -> list[Output]:
        assert self._session is not None, "load() first"
        features, logits = self._session.run(pixels)
        embeddings = sessions.unit_rows(features)
        probabilities = _softmax(logits)
        joints = self._joint.image_vectors(probabilities) if self._joint else [None] * len(pixels)
        return [
            Output(
                self.fingerprint,
                embedding=sessions.half_bytes(embeddings[i]),
                tags=_tags(probabilities[i]),
                joint_embedding=None if vector is None else sessions.half_bytes(vector),
            )
            for i, vector in enumerate(joints)
        ]


def lite0_name() -> str:
    """The fingerprint without a joint space."""
    return weights.fingerprint("efficientnet-lite0", (sources.LITE0,), _STEP)


def joint_space_name() -> str:
    """The fingerprint with a joint space, which is also the name of that space: it has both hashes."""
    return weights.fingerprint("efficientnet-lite0+conse-minilm", (sources.LITE0, sources.MINILM), _STEP)


def _convert(source: Path, target: Path) -> None:
    from catalogd.models.convert import write_lite0

    write_lite0(source, target)


def _pixels(frame: Frame) -> NDArray[np.float32]:
    """`float32[3, 224, 224]`: the middle of the frame."""
    height, width = frame.shape[:2]
    side = max(1, round(min(height, width) * _CROP))
    target = np.empty((3, _INPUT_PX, _INPUT_PX), np.float32)
    crop = ((width - side) // 2, (height - side) // 2, side, side)
    _native.resize_to_tensor(frame, target, (_MEAN,) * 3, (_SCALE,) * 3, crop=crop)
    return target


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = exponents / exponents.sum(axis=1, keepdims=True)
    return result


def _tags(probabilities: NDArray[np.float32]) -> tuple[Tag, ...]:
    """The likely labels, strongest first; classes of one name (two cranes) count together."""
    scores: dict[str, float] = {}
    for index in np.flatnonzero(probabilities >= _TAG_PROBABILITY / 2):
        name = joint.labels()[index][0]
        scores[name] = scores.get(name, 0.0) + float(probabilities[index])
    likely = [Tag(name, score) for name, score in scores.items() if score >= _TAG_PROBABILITY]
    return tuple(sorted(likely, key=lambda tag: -tag.score)[:_MAX_TAGS])
