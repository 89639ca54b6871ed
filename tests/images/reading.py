"""Reading a photo in tests: its frame, and how near it is to what was expected."""

from __future__ import annotations

import numpy as np
from PIL import Image

from catalogd.images import read_frame
from catalogd.settings import Settings
from tests import factory

LIMITS = Settings(frame_edge_px=320)


UPRIGHT = factory.scene(480, 640)


def read(path, limits=LIMITS):
    slot = np.full(limits.frame_edge_px**2 * 3, 7, np.uint8)
    reading = read_frame(path, slot, limits)
    size = reading.height * reading.width * 3
    assert (slot[size:] == 7).all()
    return reading, slot[:size].reshape(reading.height, reading.width, 3)


def decibels(frame, reference):
    error = np.mean((frame.astype(float) - np.asarray(reference, float)) ** 2)
    return 10 * np.log10(255**2 / error) if error else np.inf


def reduced(pixels, width, height):
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
