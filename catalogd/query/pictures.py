"""What a file outside the library looks like: read and embedded on the spot, never kept."""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING

from catalogd.errors import PhotoError, UsageError
from catalogd.records import Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame, Model
    from catalogd.pipeline.stages import Read


class PictureEncoder:
    """The model of the picture embedding, which every profile has, and that of the space that is searched.

    Each is loaded for the first file that needs it. Safe from any thread.
    """

    def __init__(self, settings: Settings, read: Read | None = None) -> None:
        self._settings = settings
        self._read = read
        self._models: dict[str, Model] = {}  # by space, "": the picture embedding's
        self._loading = threading.Lock()

    def __call__(self, path: bytes, space: str = "") -> tuple[Output, ...]:
        """The embeddings of the photo at `path`, that of the joint `space` too if its weights are here.

        Raises UsageError that says why there are none.
        """
        frame = self._frame(path)
        model = self._loaded("")
        if model is None:
            raise UsageError("there is no model that compares pictures: see `catalogd doctor`")
        seen = _seen(model, frame, path)
        other = self._loaded(space) if space not in ("", seen.fingerprint) else None
        return (seen,) if other is None else (seen, _seen(other, frame, path))

    def _frame(self, path: bytes) -> Frame:
        import numpy as np

        from catalogd.images import read_frame

        slot = np.empty(self._settings.frame_edge_px**2 * 3, np.uint8)
        try:
            reading = (self._read or read_frame)(path, slot, self._settings)
        except PhotoError as error:
            raise UsageError(f"{os.fsdecode(path)}: {error}") from None
        shape = (reading.height, reading.width, 3)
        return slot[: math.prod(shape)].reshape(shape)

    def _loaded(self, space: str) -> Model | None:
        """None when its weights are not here; of two spaces that were searched the later one is kept."""
        from catalogd.models.registry import picture_model

        with self._loading:
            if space not in self._models:
                model = picture_model(self._settings, 0, space)
                if model is None:
                    return None
                model.load()
                self._models = {name: one for name, one in self._models.items() if not name}
                self._models[space] = model
            return self._models[space]


def _seen(model: Model, frame: Frame, path: bytes) -> Output:
    (output,) = model.run([frame])
    if output.error is not None:
        raise UsageError(f"{os.fsdecode(path)}: {output.error}")
    return output
