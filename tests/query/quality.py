"""How good is search on labelled photos? The photos of tests/data/quality as a catalog, and what is measured.

What a model said of the photos is kept there, not the photos themselves: README.md beside it. The same
measures are taken from pixels by bench/bench_quality.py.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from catalogd.catalog import Catalog
from catalogd.query.searcher import Searcher
from catalogd.records import Facts, ObjectBox, Output, Record, Stat, Tag, TextLine
from catalogd.settings import Settings

DATA = Path(__file__).parents[1] / "data" / "quality"
KINDS = ("object", "synonym", "scene", "sentence", "text")
OUT = "out"  # the kind of a query that none of the photos shows
_DEPTH = 10


class Query(NamedTuple):
    """A query of one kind, and the names of the photos that show what it says."""

    kind: str
    text: str
    truth: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a search said to a query: the names of its first photos, whatever their score, and its hits."""

    query: Query
    first: tuple[str, ...]
    scores: tuple[float, ...]  # of `first`
    hits: tuple[str, ...]  # what was found, as a person sees it: none is "nothing matches well"

    @property
    def rank(self) -> int | None:
        """Of the first right photo, from 1."""
        places = [place for place, name in enumerate(self.first, 1) if name in self.query.truth]
        return places[0] if places else None


class Labelled(NamedTuple):
    """A photo with what models said of it and which objects people marked in it."""

    name: str  # four digits
    collection: str
    marked: tuple[str, ...]
    outputs: dict[str, Output]


# -- the data ---------------------------------------------------------------------------------------


def load_photos(path: Path = DATA / "photos.jsonl") -> tuple[str, list[Labelled]]:
    """The fingerprint of the embedding model, and the photos that it and the other models saw."""
    header, *rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return header["space"], [_labelled(row, header["space"]) for row in rows]


def save_photos(space: str, photos: Iterable[Labelled], path: Path = DATA / "photos.jsonl") -> None:
    rows = [{"space": space}, *[_row(photo) for photo in photos]]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def load_queries(photos: Sequence[Labelled], path: Path = DATA / "queries.tsv") -> list[Query]:
    """Queries with their truth among these photos; one that they don't show is of kind `OUT`, then."""
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()[1:]]
    return [_query(kind, text, set(truth.split()), photos) for kind, text, truth in rows]


def _query(kind: str, text: str, shown: set[str], photos: Sequence[Labelled]) -> Query:
    """`shown` are names of photos and of marked objects."""
    truth = {photo.name for photo in photos if photo.name in shown or not shown.isdisjoint(photo.marked)}
    return Query(kind if truth else OUT, text, frozenset(truth))


def _labelled(row: Mapping[str, object], space: str) -> Labelled:
    values = dict[str, list[object]](row)  # type: ignore[call-overload]
    tags = tuple(Tag(str(name), float(str(score))) for name, score in values["tags"])  # type: ignore[misc]
    joint = base64.b64decode(str(row["joint"]))
    outputs = {
        "embedding": Output(space, tags=tags, joint_embedding=joint),
        "objects": Output(
            "objects", objects=tuple(ObjectBox(str(n), (0, 0, 1, 1), 1) for n in values["objects"])
        ),
        "text": Output("text", text_lines=tuple(TextLine(str(line), (), 1) for line in values["text"])),
    }
    marked = tuple(str(name) for name in values["marked"])
    return Labelled(str(row["name"]), str(row["collection"]), marked, outputs)


def _row(photo: Labelled) -> dict[str, object]:
    outputs = photo.outputs.values()
    joint = next(output.joint_embedding for output in outputs if output.joint_embedding)
    return {
        "name": photo.name,
        "collection": photo.collection,
        "marked": photo.marked,
        "tags": [(tag.name, round(tag.score, 3)) for output in outputs for tag in output.tags or ()],
        "objects": [found.name for output in outputs for found in output.objects or ()],
        "text": [line.text for output in outputs for line in output.text_lines or ()],
        "joint": base64.b64encode(joint).decode(),
    }


def labels_of(manifest: Path) -> dict[str, tuple[str, ...]]:
    """Name of a photo → the objects that people marked in it, from a table with columns path and label."""
    header, *rows = [line.split("\t") for line in manifest.read_text("utf-8").splitlines()]
    path, label = header.index("path"), header.index("label")
    return {name_of(row[path]): _marked(row[label]) for row in rows if row[label].startswith('{"objects"')}


def _marked(label: str) -> tuple[str, ...]:
    return tuple(sorted({name.lower().replace(" ", "_") for name in json.loads(label)["objects"]}))


def name_of(path: str) -> str:
    """The four digits that a photo's file name starts with; all of the name where it doesn't."""
    found = re.match(r"\d{4}(?=_|\.)", Path(path).name)
    return found[0] if found else Path(path).stem


# -- a catalog of them ------------------------------------------------------------------------------


def fill(settings: Settings, photos: Iterable[Labelled]) -> None:
    """Commit the photos to the catalog of the settings, and have its indexes follow."""
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.commit([_record(photo) for photo in photos], b"quality")
        catalog.follow(force=True)


def _record(photo: Labelled) -> Record:
    return Record(
        path=f"/photos/{photo.name}.jpg".encode(),
        stat=Stat(1000, 1),
        content=photo.name.encode().ljust(16, b"."),
        facts=Facts("jpeg", 640, 480),
        outputs=photo.outputs,
    )


# -- measures ---------------------------------------------------------------------------------------


def answer(searcher: Searcher, query: Query) -> Answer:
    """Ask twice: for the first photos at any score, and for what is found."""
    everything = searcher.search(query.text, _DEPTH, 0.0).hits
    found = searcher.search(query.text, _DEPTH).hits
    return Answer(
        query,
        tuple(name_of(hit.path.decode()) for hit in everything),
        tuple(hit.score for hit in everything),
        tuple(name_of(hit.path.decode()) for hit in found),
    )


def ranks(answers: Iterable[Answer]) -> dict[str, float]:
    """Of queries that photos show: the share with a right one among the first k, MRR, the share with hits."""
    inside = [some for some in answers if some.query.truth]
    places = [some.rank for some in inside]
    return {
        "queries": len(places),
        **{f"recall@{k}": _share([bool(place and place <= k) for place in places]) for k in (1, 5, 10)},
        "mrr": _share([1 / place if place else 0.0 for place in places]),
        "found": _share([bool(some.hits) for some in inside]),
    }


def verdicts(answers: Sequence[Answer]) -> dict[str, float]:
    """Found or nothing: how often each is right, and how often it is said where it should be.

    "found" is right where photos show what was asked for, "nothing" where none does.
    """
    inside = [some for some in answers if some.query.truth]
    outside = [some for some in answers if not some.query.truth]
    found_in, found_out = sum(bool(some.hits) for some in inside), sum(bool(some.hits) for some in outside)
    hits = [name in some.query.truth for some in answers for name in some.hits]
    return {
        "found": found_in + found_out,
        "found_precision": found_in / max(found_in + found_out, 1),
        "found_recall": found_in / max(len(inside), 1),
        "nothing": len(answers) - found_in - found_out,
        "nothing_precision": (len(outside) - found_out) / max(len(answers) - found_in - found_out, 1),
        "nothing_recall": (len(outside) - found_out) / max(len(outside), 1),
        "first_hit_right": _share([some.hits[0] in some.query.truth for some in answers if some.hits]),
        "hits_right": _share(hits),
    }


def reliability(answers: Iterable[Answer], steps: int = 5) -> list[tuple[float, float, int]]:
    """For each step of the score: its mean, the share of photos with it that are right, and how many."""
    pairs = np.array(
        [
            (score, name in some.query.truth)
            for some in answers
            for name, score in zip(some.first, some.scores, strict=True)
        ]
    )
    step = np.minimum((pairs[:, 0] * steps).astype(int), steps - 1)
    groups = [pairs[step == number] for number in range(steps)]
    return [(float(g[:, 0].mean()), float(g[:, 1].mean()), len(g)) for g in groups if len(g)]


def _share(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
