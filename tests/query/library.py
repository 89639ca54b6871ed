"""A small library to search, and a text encoder whose meanings are known."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catalogd.catalog import Catalog
from catalogd.records import (
    Answer,
    Change,
    Facts,
    ObjectBox,
    Output,
    Place,
    Quality,
    Record,
    Region,
    Stat,
    Tag,
    TextLine,
)
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, content

SPACE = "looks 1"
AXES = {"dog": 0, "beach": 1, "night": 2, "car": 3, "snow": 4, "something": 15}
DIMENSION = 16
PICTURE_DIMENSION = 8
Floats = npt.NDArray[np.float32]


class Encoder:
    """Each known word is an axis; what is not known is far from every photo."""

    space = SPACE

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> Floats:
        self.asked += texts
        return np.stack([meaning(text) for text in texts])


def meaning(text: str, noise: float = 0.0, seed: int = 0) -> Floats:
    """float32[16], unit length: the known words of a text, and as much noise on the other axes."""
    vector = np.zeros(DIMENSION, np.float32)
    for word in text.split():
        vector[AXES.get(word, 7)] += 1
    vector /= np.linalg.norm(vector)
    vector[8:15] += noise * np.random.default_rng(seed).standard_normal(7).astype(np.float32)
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def halves(vector: npt.ArrayLike) -> bytes:
    array = np.asarray(vector, np.float32)
    return (array / np.linalg.norm(array)).astype("<f2").tobytes()


def picture(seed: int, like: int | None = None) -> bytes:
    """A picture embedding; one that is `like` another lies near it."""
    own = np.random.default_rng(seed).standard_normal(PICTURE_DIMENSION)
    if like is None:
        return halves(own)
    other = np.random.default_rng(like).standard_normal(PICTURE_DIMENSION)
    return halves(other / np.linalg.norm(other) + 0.2 * own / np.linalg.norm(own))


def look(shows: str, seed: int, like: int | None = None, tags: Sequence[str] = ()) -> Output:
    return Output(
        SPACE,
        embedding=picture(seed, like),
        joint_embedding=halves(meaning(shows, 0.1, seed)),
        tags=tuple(Tag(tag, 0.6) for tag in tags),
    )


def shot(
    name: str,
    shows: str = "something",
    *,
    seed: int,
    like: int | None = None,
    tags: Sequence[str] = (),
    outputs: dict[str, Output] | None = None,
    added_at: float = 0.0,
    **facts: Any,
) -> Record:
    """A photo of what it `shows`."""
    return Record(
        name.encode(),
        Stat(1000 + seed, 1),
        content(f"{seed}"),
        Facts(**{"format": "jpeg", "width": 600, "height": 400, **facts}),
        {"embedding": look(shows, seed, like, tags), **(outputs or {})},
        added_at=added_at,
    )


def others(count: int, first: int = 1000) -> list[Record]:
    """Photos of nothing that anybody asks for, each of another day."""
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=number) for number in range(count)]
    return [
        shot(
            f"/lib/other/P{first + number}.jpg",
            seed=first + number,
            camera=("Nikon Z 6", "Sony A7 IV")[number % 2],
            iso=100 * (1 + number % 4),
            taken_at=f"{day}T10:00:00",
            rating=number % 6,
        )
        for number, day in enumerate(days)
    ]


def told() -> list[Record]:
    """Photos of which there is much to say."""
    bergen = Place("NO", "Norway", "Vestland", "Bergen", "Sandviken", 1.2)
    receipt = TextLine("TOTAL 17.50", ((0.1, 0.2), (0.4, 0.2), (0.4, 0.3), (0.1, 0.3)), 0.9)
    return [
        shot(
            "/lib/2023/Norway/dog_1.jpg",
            "dog",
            seed=1,
            tags=("tabby cat", "boxer"),
            taken_at="2023-06-01T10:00:00",
            place=bergen,
            camera="Nikon Z 6",
            rating=5,
            outputs={
                "objects": Output("objects 1", objects=(ObjectBox("dog", (0.1, 0.1, 0.5, 0.5), 0.8),)),
                "quality": Output("quality 1", quality=Quality(80, 40, 0.5, 0.5, 0, 0, 2, 30)),
            },
        ),
        shot(
            "/lib/2023/Norway/dog_2.jpg",
            "dog beach",
            seed=2,
            like=1,
            taken_at="2023-06-02T10:00:00",
            people=("Anna Núñez",),
            regions=(Region((0.3, 0.3, 0.1, 0.2), "Anna Núñez"),),
            caption="a long walk with everybody who was there on that day, and the dog ran into the waves",
        ),
        shot("/lib/2024/beach.jpg", "beach", seed=3, taken_at="2024-07-01T10:00:00", tags=("seashore",)),
        shot(
            "/lib/2024/night.jpg",
            "beach night",
            seed=4,
            like=3,
            taken_at="2024-08-01T23:00:00",
            outputs={
                "caption": Output(
                    "florence 1",
                    caption="A bonfire burns under a starry sky.",
                    answers=(Answer("How many people are there?", "three"),),
                ),
                "aesthetics": Output("head 1", aesthetics=6.5),
            },
        ),
        shot(
            "/lib/2022/receipt.jpg",
            seed=5,
            taken_at="2022-03-01T10:00:00",
            label="Red",
            keywords=("paid",),
            keyword_paths=("Money|Paid",),
            outputs={"text": Output("text 1", text_lines=(receipt,))},
        ),
    ]


def filled(folder: Path, records: Sequence[Change]) -> Settings:
    """A catalog of these photos; returns its settings."""
    settings = Settings(catalog=folder, text_heap_bytes=15 << 20)
    with Catalog.open(folder, settings, write=True) as catalog:
        catalog.commit(records, PROFILE)
        catalog.follow(force=True)
    return settings
