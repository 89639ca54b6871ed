"""A synthetic library to search: facts, words, people and joint embeddings that belong together.

    python bench/search_set.py FOLDER 500000

Nobody's 500,000 labelled photos are at hand. So each photo is given one of the 1000 labels by Zipf's law,
and the probabilities that a classifier would be left with: high for the label, lower for those near it in
meaning. From them comes its joint embedding, as ConSE makes it, and its tags. Its words, camera, place,
people and numbers are drawn on their own, in shares that filters can ask for:

    iso:6400 10 %   iso:12800 1 %   label:purple 0.1 %   rating:5 1 %   person:"Anna Núñez" 2 %
    date:2009-03 0.4 %, photos that lie beside each other
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from catalogd.catalog import Catalog
from catalogd.models import embedding, joint
from catalogd.models.sessions import unit_rows
from catalogd.records import (
    Change,
    Face,
    Facts,
    ObjectBox,
    Output,
    Place,
    Quality,
    Record,
    Stat,
    Tag,
    TextLine,
)
from catalogd.settings import Settings

PROFILE = b"bench---"
COMMIT_RECORDS = 1000
CHUNK = 10_000  # photos whose vectors are made at a time: 40 MB of probabilities
TOP_LABELS, EVENNESS = 50, 0.4  # as catalogd.models.joint
NEARNESS = 9.0  # weight of likeness to the label in the logits: the second label then has about a tenth
SPREAD = 1.6  # standard deviation of what else is in the logits
TEMPLATES = 5000  # photos whose words and facts differ; each has its own path, date, tags and embedding
RARE_WORDS = 20_000
OBJECTS = (
    "person",
    "bicycle",
    "car",
    "bus",
    "boat",
    "bird",
    "cat",
    "dog",
    "horse",
    "bottle",
    "cup",
    "chair",
    "book",
)
CAMERAS = ("Canon EOS R5", "Nikon Z 6", "Sony A7 IV", "Fujifilm X-T5", "Apple iPhone 15")
LENSES = ("RF24-70mm F2.8", "NIKKOR Z 85mm f/1.8 S", "FE 35mm F1.4 GM", "XF16-55mmF2.8", None)
ISO = ((100, 0.40), (400, 0.30), (1600, 0.19), (6400, 0.10), (12800, 0.01))
TOWNS = (
    ("NO", "Norway", "Vestland", "Bergen", 60.39, 5.32),
    ("PT", "Portugal", "Lisbon", "Lisbon", 38.72, -9.14),
    ("JP", "Japan", "Tokyo", "Tokyo", 35.68, 139.69),
    ("US", "United States", "New York", "New York", 40.71, -74.0),
    ("IT", "Italy", "Tuscany", "Florence", 43.77, 11.25),
    ("DE", "Germany", "Bavaria", "Munich", 48.14, 11.58),
)
PEOPLE = ("Anna Núñez", "Ben Okafor", "Clara Weiß", "Dmitri Ivanov", "Eve Tanaka")
KEYWORDS = ("travel|norway", "travel|japan", "family", "garden", "work", "sport", "birthday", "wedding")
_LINE = ((0.1, 0.1), (0.4, 0.1), (0.4, 0.2), (0.1, 0.2))

Floats = npt.NDArray[np.float32]


class Seen(NamedTuple):
    """What a classifier would say of a chunk of photos."""

    vectors: npt.NDArray[np.float16]  # [n, 384]
    labels: npt.NDArray[np.int64]  # [n, 2], strongest first
    shares: Floats  # [n, 2], probabilities


def fill_to_search(folder: Path, photos: int) -> None:
    """A catalog of `photos`, found by word and sealed in a generation."""
    settings = Settings(catalog=folder)
    made = templates()
    with Catalog.open(folder, settings, write=True) as catalog:
        number = 0
        for seen in looks(photos, settings):
            for start in range(0, len(seen.vectors), COMMIT_RECORDS):
                rows = range(start, min(start + COMMIT_RECORDS, len(seen.vectors)))
                changes: list[Change] = [_photo(number + row, made, seen, row) for row in rows]
                catalog.commit(changes, PROFILE)
                catalog.follow_text()
            number += len(seen.vectors)
        catalog.follow(idle=True, force=True)  # closing waits for the generation


def looks(photos: int, settings: Settings, seed: int = 7) -> Iterator[Seen]:
    """What is in `photos` pictures, chunk by chunk."""
    rng = np.random.default_rng(seed)
    centred = joint.JointSpace(settings, 1)._centred
    likeness = (unit_rows(centred) @ unit_rows(centred).T).astype(np.float32)
    popular = 1.0 / np.arange(1, len(centred) + 1) ** 0.7
    rng.shuffle(popular)
    for start in range(0, photos, CHUNK):
        count = min(CHUNK, photos - start)
        label = rng.choice(len(centred), size=count, p=popular / popular.sum())
        yield _look(rng, centred, likeness, label)


def _look(rng: np.random.Generator, centred: Floats, likeness: Floats, label: npt.NDArray[np.int64]) -> Seen:
    logits = NEARNESS * likeness[label]
    logits += SPREAD * rng.standard_normal(logits.shape, dtype=np.float32)
    top = np.argpartition(logits, -TOP_LABELS, axis=1)[:, -TOP_LABELS:]
    chances = np.exp(np.take_along_axis(logits, top, axis=1) - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    vectors = unit_rows(np.einsum("nk,nkd->nd", chances**EVENNESS, centred[top]))
    two = np.argsort(-chances, axis=1)[:, :2]
    return Seen(
        vectors.astype("<f2"), np.take_along_axis(top, two, axis=1), np.take_along_axis(chances, two, axis=1)
    )


def vocabulary() -> list[str]:
    """The words of text in pictures: common ones, then ever rarer made-up ones."""
    words = random.Random(1)
    common = ["total", "invoice", "receipt", "sale", "exit", "hotel", "museum", "open", "street", "menu"]
    return common + [f"{words.choice('bcdfglmnprst')}{words.choice('aeiou')}{n:x}" for n in range(RARE_WORDS)]


def templates() -> list[Record]:
    """Records that differ in words and facts, without path, date and what the picture shows."""
    draw = random.Random(2)
    known = vocabulary()
    return [_template(draw, known, number) for number in range(TEMPLATES)]


def _template(draw: random.Random, known: list[str], number: int) -> Record:
    def line() -> str:
        return " ".join(known[int(len(known) * draw.random() ** 3)] for _ in range(3))

    lines = tuple(TextLine(line(), _LINE, 0.9) for _ in range(3)) if draw.random() < 0.3 else ()
    found = draw.sample(OBJECTS, draw.randint(0, 3))
    faces = tuple(Face((0.3, 0.3, 0.1, 0.1), (), 0.9, 0.6) for _ in range(draw.choice((0, 0, 0, 1, 2))))
    return Record(
        path=b"",
        stat=Stat(0, 0),
        content=b"",
        facts=_facts(draw, number),
        outputs={
            "text": Output("bench text", text_lines=lines),
            "objects": Output(
                "bench objects", objects=tuple(ObjectBox(name, (0.1, 0.1, 0.5, 0.5), 0.7) for name in found)
            ),
            "faces": Output("bench faces", faces=faces),
            "quality": Output(
                "bench quality", quality=Quality(draw.random() * 100, 40, 0.5, 0.5, 0, 0, 2, 30)
            ),
        },
    )


def _facts(draw: random.Random, number: int) -> Facts:
    code, country, region, city, latitude, longitude = draw.choice(TOWNS)
    has_place = draw.random() < 0.6
    camera = draw.randrange(len(CAMERAS))
    return Facts(
        "jpeg",
        6000,
        4000,
        camera=CAMERAS[camera],
        lens=LENSES[camera],
        iso=draw.choices([iso for iso, _ in ISO], [share for _, share in ISO])[0],
        aperture=draw.choice((1.8, 2.8, 4.0, 8.0)),
        focal_mm=draw.choice((24.0, 35.0, 50.0, 85.0)),
        latitude=latitude + draw.gauss(0, 0.05) if has_place else None,
        longitude=longitude + draw.gauss(0, 0.05) if has_place else None,
        place=Place(code, country, region, city, city, 1.0) if has_place else None,
        keyword_paths=tuple(draw.sample(KEYWORDS, 1)) if draw.random() < 0.1 else (),
        people=(draw.choice(PEOPLE),) if number % 10 == 0 else (),
        rating=5 if number % 100 == 1 else draw.choice((None, 3)),
        label="Purple" if number % 1000 == 2 else draw.choice((None, "Red")),
        caption="a day with the family" if draw.random() < 0.05 else None,
    )


def _photo(number: int, made: list[Record], seen: Seen, row: int) -> Record:
    template = made[(number * 7919) % TEMPLATES]
    year, month, day = 2004 + number // 25_000, 1 + number // 2_100 % 12, 1 + number // 75 % 28
    tags = tuple(
        Tag(joint.labels()[label][0], float(share))
        for label, share in zip(seen.labels[row].tolist(), seen.shares[row].tolist(), strict=True)
        if share >= 0.1
    )
    look = Output(embedding.joint_space_name(), joint_embedding=seen.vectors[row].tobytes(), tags=tags)
    return msgspec.structs.replace(
        template,
        path=b"/photos/%04d/Trip %03d/IMG_%07d.jpg" % (year, number // 250, number),
        stat=Stat(5_000_000 + number, number),
        content=number.to_bytes(16, "little"),
        facts=msgspec.structs.replace(template.facts, taken_at=f"{year}-{month:02}-{day:02}T10:20:30"),
        outputs={**template.outputs, "embedding": look},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photos", type=int)
    arguments = parser.parse_args()
    started, started_cpu = time.monotonic(), time.process_time()
    fill_to_search(arguments.folder, arguments.photos)
    took = f"{time.monotonic() - started:.0f} s, {time.process_time() - started_cpu:.0f} s of CPU"
    sys.stdout.write(f"{arguments.photos} photos in {took}\n")


if __name__ == "__main__":
    main()
