"""Filters over a large library: how long until a mask, an order, and the best words among the selected.

    python bench/bench_select.py [--photos 500000] [--folder KEPT]

Times are CPU of one thread, warm; a baseline in the same run says what a plain numpy pass over the
column costs, or what decoding the records would.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from measure import percentiles, report, timed
from search_set import PROFILE, templates, vocabulary

from catalogd.catalog import Catalog, Selection
from catalogd.catalog.columns import ColumnsReader
from catalogd.catalog.photo_row import row_of
from catalogd.catalog.selection import selection_of
from catalogd.models import joint
from catalogd.records import Condition, Group, Output, Record, Stat, Tag, decode_record
from catalogd.settings import Settings

COMMIT_RECORDS = 1000
ROUNDS = 200
CITIES = ("Bergen", "Tokyo", "Florence", "Munich", "Lisbon")
FILTERS = {
    "iso:>=6400, 11 %": [Condition("iso", low=6400)],
    "iso:12800, 1 %": [Condition("iso", low=12800, high=12800)],
    "label:purple, 0.1 %": [Condition("label", words="purple")],
    "camera:nikon z6": [Condition("camera", words="nikon z6")],
    "place:bergen": [Condition("place", words="bergen")],
    "date: a month": [Condition("date", low=1_370_044_800, high=1_372_636_799)],
    "near: 10 km": [Condition("near", numbers=(60.39, 5.32, 10.0))],
    'in:"2013/Trip 9*"': [Condition("in", words="2013/Trip 9*")],
    "type:jpg rating:>=3 -label:red": [
        Condition("type", words="jpg"),
        Condition("rating", low=3),
        Condition("label", words="red", negated=True),
    ],
    "(camera:sony OR camera:canon) iso:<=400 has:gps": [
        Group((Condition("camera", words="sony"), Condition("camera", words="canon")), any=True),
        Condition("iso", high=400),
        Condition("has", words="gps"),
    ],
    "is:best": [Condition("is", words="best")],
    "keyword:travel/norway, remembered": [Condition("keyword", words="travel/norway")],
    "name:IMG_01234*, remembered": [Condition("name", words="IMG_01234*")],
}


def photos_of(count: int) -> Iterator[Record]:
    """Records with the facts and words of `search_set`, without embeddings."""
    made = templates()
    labels = [names[0] for names in joint.labels()]
    popular = 1.0 / np.arange(1, len(labels) + 1) ** 0.7
    drawn = np.random.default_rng(7).choice(len(labels), size=(count, 2), p=popular / popular.sum())
    for number in range(count):
        template = made[(number * 7919) % len(made)]
        year, month, day = 2004 + number // 25_000, 1 + number // 2_100 % 12, 1 + number // 75 % 28
        tags = tuple(Tag(labels[label], 0.5) for label in drawn[number].tolist())
        yield msgspec.structs.replace(
            template,
            path=b"/photos/%04d/Trip %03d/IMG_%07d.jpg" % (year, number // 250, number),
            stat=Stat(5_000_000 + number, number),
            content=number.to_bytes(16, "little"),
            facts=msgspec.structs.replace(template.facts, taken_at=f"{year}-{month:02}-{day:02}T10:20:30"),
            outputs={**template.outputs, "embedding": Output("bench tagger", tags=tags)},
        )


def fill(folder: Path, count: int) -> None:
    """A catalog of `count` photos that are found by word and arranged."""
    with Catalog.open(folder, Settings(catalog=folder), write=True) as catalog:
        source = photos_of(count)
        while page := list(itertools.islice(source, COMMIT_RECORDS)):
            catalog.commit(page, PROFILE)
            catalog.follow_text()
        catalog.follow(idle=True, force=True)


def times(work: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float]:
    work()
    return percentiles([timed(work, time.thread_time) for _ in range(rounds)])


def question_rows(catalog: Catalog) -> None:
    """What a commit pays for the row of a photo, against what encoding its record costs."""
    records = [record for record in catalog.records(catalog.columns().ids[:2000].tolist()) if record]
    codes: dict[bytes, int] = {}
    rows_s = timed(
        lambda: [row_of(record, lambda kind, term: codes.setdefault(term, 1)) for record in records],
        time.thread_time,
    )
    decoded_s = timed(lambda: [decode_record(msgspec.msgpack.encode(record)) for record in records])
    report("a row, us a photo", row=rows_s / len(records) * 1e6, record_codec=decoded_s / len(records) * 1e6)


def question_load(catalog: Catalog) -> None:
    """Loading the columns, against reading the bytes of the table only."""
    store = catalog._store
    load_s = timed(lambda: ColumnsReader(store).columns(), time.thread_time)
    with store.snapshot() as reading:
        bytes_s = timed(lambda: reading.joined("columns"), time.thread_time)
        rows = reading.entries("columns")
    report("load columns", photos=rows, cpu_s=load_s, bytes_only_s=bytes_s, peak_mb=_peak_mb())


def question_filters(catalog: Catalog) -> None:
    columns = catalog.columns()
    pass_ms, _ = times(lambda: np.count_nonzero(columns.iso >= 6400))
    report("one pass of numpy over a column", p50_ms=pass_ms)
    for name, clauses in FILTERS.items():
        cold_ms = timed(lambda clauses=clauses: catalog.select(clauses), time.thread_time) * 1000
        p50, p99 = times(lambda clauses=clauses: catalog.select(clauses))
        found = len(catalog.select(clauses))
        report(name, photos=found, p50_ms=p50, p99_ms=p99, first_ms=cold_ms, passes=p50 / pass_ms)


def question_orders(catalog: Catalog) -> None:
    everything = catalog.select(())
    for order in ("-date", "quality", "name"):
        p50, p99 = times(lambda order=order: catalog.ordered(everything, order, 20), 30)
        report(f"order:{order}, first 20", p50_ms=p50, p99_ms=p99)


def question_words(catalog: Catalog) -> None:
    """The best 100 among the selected, for common, rare and several words."""
    columns = catalog.columns()
    draw = np.random.default_rng(3)
    labels = [names[0].lower() for names in joint.labels()]
    rare = vocabulary()[-5000:]
    words = random.Random(5)
    queries = {
        "common word": [*labels[:40], "total", "exit", "family", "nikon", "bergen"],
        "two words": [f"{words.choice(labels)} {words.choice(labels)}" for _ in range(40)],
        "rare word": [words.choice(rare) for _ in range(40)],
        "three words": [f"{words.choice(labels)} bergen canon" for _ in range(40)],
    }
    for share in (None, 0.5, 0.1, 0.01, 0.001):
        for name, texts in queries.items():
            selection: Selection | None = None
            if share is not None:
                some = draw.random(len(columns)) < share
                selection = selection_of(columns, columns.sorted_ids(some))
            find = functools.partial(catalog.search_text, selection=selection, limit=100)
            taken = [timed(functools.partial(find, text), time.thread_time) for text in texts * 4]
            p50, p99 = percentiles(taken[len(texts) :])
            report(f"words: {name}", share=share or 1.0, p50_ms=p50, p99_ms=p99)


def question_refresh(folder: Path, catalog: Catalog) -> None:
    """The next columns after a commit of 100 new photos and 100 that were read again."""
    with Catalog.open(folder, Settings(catalog=folder), write=True) as writer:
        again = [record for record in catalog.records(catalog.columns().ids[:100].tolist()) if record]
        new = [
            msgspec.structs.replace(record, path=record.path + b".copy.jpg", content=bytes(16), photo_id=0)
            for record in again
        ]
        writer.commit([*again, *new], PROFILE)
    report("refresh after 200 changes", cpu_ms=timed(catalog.columns, time.thread_time) * 1000)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=500_000)
    parser.add_argument("--folder", type=Path, help="keep the catalog here, and use it when it is there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "catalog"
        if not (folder / "store").exists():
            cpu_s = timed(lambda: fill(folder, arguments.photos), time.process_time)
            report("fill", photos=arguments.photos, cpu_s=cpu_s, text_mb=_megabytes(folder / "text"))
        with Catalog.open(folder, Settings(catalog=folder)) as catalog:
            question_load(catalog)
            question_rows(catalog)
            question_filters(catalog)
            question_orders(catalog)
            question_words(catalog)
            question_refresh(folder, catalog)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
