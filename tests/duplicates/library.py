"""A small catalog of real photos, as a run would have left it: frames, thumbnails, signatures."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catalogd.catalog import Catalog
from catalogd.images import read_frame
from catalogd.models.quality import QualityModel
from catalogd.models.signature import SignatureModel
from catalogd.records import Output, Record
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore

SPACE = "subjects 1"
DIMENSIONS = 32


def index(settings: Settings, paths: Sequence[Path], thumbnails: bool = True) -> dict[str, int]:
    """Put these photos into the catalog; file name → photo_id.

    The embedding stands for a model that knows a subject whatever becomes of its picture: the subject is the
    file name up to its first "-".
    """
    models = SignatureModel(settings, 1), QualityModel(settings, 1)
    slot = np.empty(settings.frame_edge_px**2 * 3, np.uint8)
    records = []
    for path in paths:
        reading = read_frame(bytes(path), slot, settings)
        frame = slot[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)
        if thumbnails:
            ThumbnailStore(settings).put(reading.content, frame)
        outputs = {model.name: model.run([frame])[0] for model in models}
        outputs["embedding"] = Output(SPACE, embedding=subject_vector(path.name.partition("-")[0]))
        records.append(Record(bytes(path), reading.stat, reading.content, reading.facts, outputs))
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.commit(records, b"profile1")
        catalog.follow(idle=True, force=True)
        return {path.name: catalog.photo_id_of(bytes(path)) or 0 for path in paths}


def subject_vector(subject: str) -> bytes:
    """float16[DIMENSIONS] of unit length: one for each name, those of two names far apart."""
    numbers = np.random.default_rng(zlib.crc32(os.fsencode(subject))).normal(size=DIMENSIONS)
    return (numbers / np.linalg.norm(numbers)).astype("<f2").tobytes()
