"""A served library of which there is much to write into Lightroom."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from catalogd.records import Face, ObjectBox, Output, Place, Quality, Record
from tests.query.library import shot

BERGEN = Place("NO", "Norway", "Vestland", "Bergen", "Sandviken", 1.2)
TAGS = ("Labrador, black", "seashore")


def analyzed(path: str, seed: int = 1, tags: Sequence[str] = TAGS) -> Record:
    """A photo with all that models say of one."""
    outputs = {
        "objects": Output("objects 1", objects=(ObjectBox("dog", (0.1, 0.1, 0.5, 0.5), 0.8),)),
        "quality": Output("quality 1", quality=Quality(80, 40, 0.5, 0.5, 0, 0, 2, 30)),
        "faces": Output("faces 1", faces=(Face((0.1, 0.1, 0.2, 0.2), (), 0.9, 0.8),)),
    }
    return shot(
        path,
        "dog beach",
        seed=seed,
        tags=tags,
        outputs=outputs,
        taken_at="2023-06-01T10:00:00",
        people=("Anna Núñez",),
        place=BERGEN,
        latitude=60.3972,
        longitude=5.3243,
    )


def words(monkeypatch: pytest.MonkeyPatch, caption: str | None, title: str | None = None) -> None:
    """What a captioning model says; titles are made by none yet."""
    monkeypatch.setattr("catalogd.sync.results.own_caption", lambda record: caption)
    monkeypatch.setattr("catalogd.sync.results.own_title", lambda record: title)
    monkeypatch.setattr("catalogd.sync.results._captioner", lambda record: "florence 2")


def library(count: int) -> list[Record]:
    return [analyzed(f"/lib/p/{number:05d}.jpg", seed=number) for number in range(1, count + 1)]
