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
    from catalogd.models import Model
    from catalogd.pipeline.stages import Read


class PictureEncoder:
    """The model of the picture embedding, which every profile has, loaded for the first file asked for.

    Safe from any thread.
    """

    def __init__(self, settings: Settings, read: Read | None = None) -> None:
        self._settings = settings
        self._read = read
        self._model: Model | None = None
        self._loading = threading.Lock()

    def __call__(self, path: bytes) -> Output:
        """The embeddings of the photo at `path`. Raises UsageError that says why there are none."""
        import numpy as np

        from catalogd.images import read_frame

        slot = np.empty(self._settings.frame_edge_px**2 * 3, np.uint8)
        try:
            reading = (self._read or read_frame)(path, slot, self._settings)
        except PhotoError as error:
            raise UsageError(f"{os.fsdecode(path)}: {error}") from None
        shape = (reading.height, reading.width, 3)
        (output,) = self._loaded().run([slot[: math.prod(shape)].reshape(shape)])
        if output.error is not None:
            raise UsageError(f"{os.fsdecode(path)}: {output.error}")
        return output

    def _loaded(self) -> Model:
        from catalogd.models.registry import picture_model

        with self._loading:
            if self._model is None:
                model = picture_model(self._settings, 0)
                if model is None:
                    raise UsageError("there is no model that compares pictures: see `catalogd doctor`")
                model.load()
                self._model = model
            return self._model
