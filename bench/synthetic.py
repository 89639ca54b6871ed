"""Synthetic catalogs, as large as no collection of photos at hand.

    python bench/synthetic.py FOLDER 500000     a catalog to query, in the starter profile's joint space

A photo has tags, lines of text, objects, camera, date and ISO: some 30 words, the common ones of the
vocabulary being words that queries use. Its joint embedding is one of `vector_sets`' easy set.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from vector_sets import make_set

from catalogd.catalog import Catalog
from catalogd.models import embedding, joint
from catalogd.records import Change, Facts, ObjectBox, Output, Record, Stat, Tag, TextLine
from catalogd.settings import Settings

PROFILE = b"bench---"
COMMIT_RECORDS = 1000
TEMPLATES = 5000  # photos whose words differ; each has its own path, date and embedding
RARE_WORDS = 20_000
CAMERAS = ("Canon EOS R5", "Nikon Z 6", "Sony A7 IV", "Fujifilm X-T5", "Apple iPhone 15")
_SQUARE = ((0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2))
Item = TypeVar("Item")


def fill_to_query(folder: Path, photos: int) -> None:
    """A catalog of `photos`, found by word and sealed in a generation."""
    settings = Settings(catalog=folder)
    vectors = make_set("easy", photos, joint.DIMENSIONS).vectors
    outputs = templates()
    with Catalog.open(folder, settings, write=True) as catalog:
        for first in range(0, photos, COMMIT_RECORDS):
            numbers = range(first, min(photos, first + COMMIT_RECORDS))
            changes: list[Change] = [
                _photo(number, outputs[number % TEMPLATES], vectors[number].tobytes()) for number in numbers
            ]
            catalog.commit(changes, PROFILE)
            catalog.follow_text()
        catalog.follow(idle=True, force=True)  # closing waits for the generation


def fill_to_rescan(folder: Path, files: Iterable[tuple[bytes, Stat]]) -> None:
    """A catalog that knows these files as unchanged; no words, no embeddings."""
    settings = Settings(catalog=folder)
    facts = Facts("jpeg", 6000, 4000)
    with Catalog.open(folder, settings, write=True) as catalog:
        for part in batched(files, COMMIT_RECORDS):
            records = [Record(path, stat, hashlib.md5(path).digest(), facts, {}) for path, stat in part]
            catalog.commit(records, PROFILE)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    source = iter(items)
    while batch := list(itertools.islice(source, size)):
        yield batch


def vocabulary() -> list[str]:
    """The words of the labels that a query may name, then ever rarer made-up ones."""
    words = random.Random(1)
    named = [names[0].lower() for names in joint.labels()]
    words.shuffle(named)
    return named + [f"{words.choice('bcdfglmnprst')}{words.choice('aeiou')}{n:x}" for n in range(RARE_WORDS)]


def templates() -> list[Record]:
    """Records that differ in words, camera and ISO, without path and date."""
    words = random.Random(2)
    known = vocabulary()
    return [_template(words, known) for _ in range(TEMPLATES)]


def _template(words: random.Random, known: list[str]) -> Record:
    def some(count: int) -> list[str]:
        return [known[int(len(known) * words.random() ** 3)] for _ in range(count)]

    lines = tuple(TextLine(" ".join(some(4)), _SQUARE, 0.9) for _ in range(4))
    objects = tuple(ObjectBox(word, (0.1, 0.1, 0.5, 0.5), 0.7) for word in some(4))
    return Record(
        path=b"",
        stat=Stat(0, 0),
        content=b"",
        facts=Facts(
            "jpeg", 6000, 4000, camera=words.choice(CAMERAS), iso=words.choice([100, 400, 1600, 6400])
        ),
        outputs={
            "tagger": Output("bench tagger", tags=tuple(Tag(word, 0.5) for word in some(6))),
            "text": Output("bench text", text_lines=lines),
            "objects": Output("bench objects", objects=objects),
        },
    )


def _photo(number: int, template: Record, vector: bytes) -> Record:
    year, month, day = 2000 + number // 25_000, 1 + number // 2_100 % 12, 1 + number // 75 % 28
    joined = Output(embedding.joint_space_name(), joint_embedding=vector)
    return msgspec.structs.replace(
        template,
        path=b"/photos/%04d/Trip %03d/IMG_%07d.jpg" % (year, number // 250, number),
        stat=Stat(5_000_000 + number, number),
        content=number.to_bytes(16, "little"),
        facts=msgspec.structs.replace(template.facts, taken_at=f"{year}-{month:02}-{day:02}T10:20:30"),
        outputs={**template.outputs, "embedding": joined},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photos", type=int)
    arguments = parser.parse_args()
    started = time.monotonic()
    fill_to_query(arguments.folder, arguments.photos)
    sys.stdout.write(f"{arguments.photos} photos in {time.monotonic() - started:.0f} s\n")


if __name__ == "__main__":
    main()
