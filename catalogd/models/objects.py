"""Objects of the 80 COCO classes: SSD-MobileNetV2 through OpenCV (its weights are a TensorFlow graph)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.errors import ModelError
from catalogd.models import as_outputs, each_frame, sources, weights
from catalogd.records import ObjectBox, Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame

_INPUT_PX = 300
_MIN_SCORE = 0.5
_STEP = 1  # of what this module makes of the weights
_PARTS = (sources.SSD_GRAPH, sources.SSD_CONFIG)
# COCO's category ids from 1, a space as "_"; "-" marks an id that the data set never used.
_CATEGORIES = """
person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant - stop_sign
parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe - backpack umbrella - -
handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard
surfboard tennis_racket bottle - wine_glass cup fork knife spoon bowl banana apple sandwich orange
broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed - dining_table - - toilet - tv
laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator - book clock vase
scissors teddy_bear hair_drier toothbrush
"""
_NAMES = [name.replace("_", " ") for name in _CATEGORIES.split()]
COCO_NAMES = tuple(name for name in _NAMES if name != "-")  # the 80 that are used, in order


class ObjectsModel:
    """`objects`: name, box and score each."""

    name = "objects"

    def __init__(self, settings: Settings, threads: int) -> None:
        self.fingerprint = weights.fingerprint("ssd-mobilenet-v2", _PARTS, _STEP)
        self._settings = settings
        self._threads = threads
        self._files = ("", "")  # graph and its configuration
        self._nets: threading.local | None = None  # a network holds its input: one a thread

    def load(self) -> None:
        import cv2

        graph, config = (weights.verified(part, self._settings) for part in _PARTS)
        self._files = (str(graph), str(config))
        self._nets = threading.local()
        self._net()
        cv2.setNumThreads(self._threads or -1)  # OpenCV has one number for the process

    def _net(self) -> Any:
        """This thread's network, opened when it first asks."""
        import cv2

        assert self._nets is not None, "load() first"
        if not hasattr(self._nets, "net"):
            graph, config = self._files
            try:
                self._nets.net = cv2.dnn.readNetFromTensorflow(graph, config)
            except cv2.error as error:
                raise ModelError(f"{graph}: OpenCV cannot open it ({error})") from error
        return self._nets.net

    def unload(self) -> None:
        self._nets = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        results = each_frame(frames, self._detect)
        return as_outputs(self.fingerprint, results, lambda found: Output(self.fingerprint, objects=found))

    def _detect(self, frame: Frame) -> tuple[ObjectBox, ...]:
        net = self._net()
        pixels = np.empty((1, 3, _INPUT_PX, _INPUT_PX), np.float32)
        _native.resize_to_tensor(frame, pixels[0], (0.0,) * 3, (1.0,) * 3)
        net.setInput(pixels)
        rows = net.forward()[0, 0]
        return tuple(_object(row) for row in rows if row[2] >= _MIN_SCORE and _name(row) != "-")


def _name(row: NDArray[np.float32]) -> str:
    index = int(row[1]) - 1
    return _NAMES[index] if 0 <= index < len(_NAMES) else "-"


def _object(row: NDArray[np.float32]) -> ObjectBox:
    """Of one row of the network: image, class, score, left, top, right, bottom."""
    left, top, right, bottom = (float(edge) for edge in np.clip(row[3:7], 0, 1))
    return ObjectBox(_name(row), (left, top, right - left, bottom - top), float(row[2]))
