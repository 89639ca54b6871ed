"""Reading a photo in tests: its frame, and how near it is to what was expected."""

from __future__ import annotations

import numpy as np
from PIL import Image

from catalogd.images import read_frame, source
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


def bytes_read(monkeypatch, path, limits=LIMITS):
    """What reading the photo reads of its file, and the reading."""
    sizes = []
    read_range = source._read_range

    def counted(descriptor, start, size):
        content = read_range(descriptor, start, size)
        sizes.append(len(content))
        return content

    with monkeypatch.context() as patch:
        patch.setattr(source, "_read_range", counted)
        reading, _ = read(path, limits)
    return sum(sizes), reading
