"""Real weights, one cache of converted ones for all tests here, and real photos."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from catalogd.models.embedding import EmbeddingModel
from catalogd.settings import Settings

Frame = NDArray[np.uint8]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(model_cache=tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def embedding_model(settings: Settings) -> EmbeddingModel:
    model = EmbeddingModel(settings, 1)
    model.load()
    return model


@functools.cache
def photo(name: str) -> Frame:
    """A photo that scikit-image carries, read-only as frames in the ring are meant to be."""
    with Image.open(Path(skimage.__file__).parent / "data" / name) as image:
        frame = np.array(image.convert("RGB"))
    frame.flags.writeable = False
    return frame


def sign(words: str, *, size_px: int = 40, turn: int = 0, frame: tuple[int, int] = (1280, 853)) -> Frame:
    """A frame with black words on a light board."""
    image = Image.new("RGB", frame, (90, 120, 80))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=size_px)
    box = draw.textbbox((200, 300), words, font=font)
    draw.rectangle((box[0] - 20, box[1] - 20, box[2] + 20, box[3] + 20), fill=(235, 235, 220))
    draw.text((200, 300), words, fill="black", font=font)
    return np.array(image.rotate(turn, fillcolor=(90, 120, 80)))
