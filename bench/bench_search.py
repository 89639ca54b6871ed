"""How long does a search take at 500,000 photos, and does it find what an exact one finds?

A warm `Searcher` on the library of bench/search_set.py, asked in words by texts that are encoded anew each
time. Five questions, each a line for every kind of filter:

    whole     wall and CPU of a search of 20 hits with reasons; reach: p50 15 ms, p99 60 ms
    recall    of the first 10, against the same with exact cosines and every word hit there is
    instead   the same by numpy over all vectors, SQLite's FTS5 and a filter in Python; reach: 10 times
    parts     the steps of a search, as --explain tells them
    cold      `catalogd query` from the shell, without a run that keeps a searcher warm

    python bench/bench_search.py [--photos 500000] [--queries 200] [--catalog FOLDER] [--only whole recall …]

`--catalog` names a catalog that bench/search_set.py filled, or where one is to be kept.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from measure import CATALOGD, median_cost, percentiles, report
from search_set import fill_to_search
from tantivy import Occur, Query

from catalogd.catalog import Catalog
from catalogd.catalog.selection import Selection
from catalogd.catalog.store import JOINT
from catalogd.catalog.text_index import TextRanking, _parts_of, document_of_encoded
from catalogd.models import joint
from catalogd.query import WEIGHTS, execution, parse
from catalogd.query.calibration import FOUND
from catalogd.query.ranking import Ranking, fuse
from catalogd.query.searcher import Searcher
from catalogd.query.searches import ALL_WORDS, Searches
from catalogd.records import Record
from catalogd.settings import Settings

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

LIMIT = 20
TOP = 10
EQUAL = 1e-4  # scores that differ by less are equal
WARM_UP = 20
RECALL_QUERIES = 25
INSTEAD_QUERIES = 6
QUESTIONS = ("whole", "recall", "instead", "parts", "cold")
CASES = {
    "no filter": "{}",
    "10 %": "iso:6400 {}",
    "1 %": "iso:12800 {}",
    "0.1 %": "label:purple {}",
    "a month": "date:2009-03 {}",
    "3 filters, text, person": 'iso:..1600 date:2006..2018 has:gps text:total person:"Anna Núñez" {}',
}
COMMON = (
    "dog",
    "cat",
    "car",
    "bird",
    "beach",
    "mountain",
    "food",
    "boat",
    "flower",
    "building",
    "horse",
    "snow",
)


def query_texts(count: int) -> list[str]:
    """What people type: a thing, two things, a sentence; all different."""
    draw = random.Random(4)
    labels = [names[0].lower() for names in joint.labels()]
    forms: list[Callable[[], str]] = [
        lambda: draw.choice(labels),
        lambda: f"{draw.choice(COMMON)} {draw.choice(labels)}",
        lambda: f"a {draw.choice(COMMON)} near a {draw.choice(COMMON)} with {draw.choice(labels)}",
        lambda: f"{draw.choice(COMMON)} {draw.choice(('total', 'menu', 'hotel', 'sale', 'museum'))}",
    ]
    texts = dict.fromkeys(draw.choice(forms)() for _ in range(count * 3))
    return [text.replace("'", " ").replace(":", " ") for text in texts][:count]


# -- ours ------------------------------------------------------------------------------------------


def measure_whole(searcher: Searcher, texts: list[str]) -> dict[str, float]:
    """p50 of CPU by case; one line each."""
    medians = {}
    for case, form in CASES.items():
        for text in texts[:WARM_UP]:
            searcher.search(form.format(f"{text} photo"), LIMIT)
        wall, cpu, hits = [], [], []
        for text in texts:
            forget_words(searcher)
            started, started_cpu = time.perf_counter(), time.process_time()
            results = searcher.search(form.format(text), LIMIT)
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - started_cpu)
            hits.append(len(results.hits))
        (wall_50, wall_99), (cpu_50, cpu_99) = percentiles(wall), percentiles(cpu)
        medians[case] = cpu_50
        report(
            f"search, whole, {case}",
            ours={"p50_ms": wall_50, "p99_ms": wall_99, "cpu_p50_ms": cpu_50, "cpu_p99_ms": cpu_99},
            reach={"p50_ms": 15, "p99_ms": 60},
            hits=round(statistics.mean(hits), 1),
            nothing=sum(count == 0 for count in hits),
        )
    return medians


def forget_words(searcher: Searcher) -> None:
    """Let the next text be encoded, as a first question is."""
    searcher._meaning.vector.cache_clear()


def _vector(searcher: Searcher, words: str) -> npt.NDArray[np.float32]:
    encoder = searcher._meaning.encoder()
    assert encoder is not None
    return searcher._meaning.encode_by(encoder)(words)


def measure_parts(searcher: Searcher, texts: list[str]) -> None:
    for case, form in CASES.items():
        parts: dict[str, list[float]] = {}
        for text in texts[:50]:
            results = searcher.search(form.format(text), LIMIT, explain=True)
            assert results.explanation is not None
            for step in results.explanation.steps:
                parts.setdefault(step.name.partition(":")[0], []).append(step.took_ms)
        report(
            f"search, parts, {case}",
            p50_ms={name: round(statistics.median(times), 2) for name, times in parts.items()},
        )


# -- exact -----------------------------------------------------------------------------------------


class Exact:
    """The same ranking with all vectors and all word hits."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self.catalog = searcher._catalog
        encoder = searcher._meaning.encoder()
        assert encoder is not None, "the starter models are not installed"
        self.space = encoder.space + JOINT
        self.ids, self.vectors = all_vectors(self.catalog, self.space)

    def values(self, text: str) -> dict[int, float]:
        """photo_id → fused value, of all photos that the filters leave."""
        (branch,) = parse(text).branches
        selection = self.catalog.select(branch.filters)
        rankings = [self._meaning(branch.words, selection), self._words(branch.words, selection)]
        fused = fuse(rankings, WEIGHTS)
        return dict(zip(fused.ids.tolist(), fused.values.tolist(), strict=True))

    def best(self, text: str) -> dict[int, float]:
        """photo_id → score, of the photos that fusion brings into view; equal ones at the end all of them."""
        (branch,) = parse(text).branches
        values = self.values(text)
        if not values:
            return {}
        last = sorted(values.values(), reverse=True)[: execution.LEAST_SCORED][-1]
        ids = np.array([photo_id for photo_id, value in values.items() if value >= last - 1e-9], np.int64)
        searches = Searches(
            self._searcher._tools(parse(text)),
            branch,
            self.catalog.select(branch.filters),
            0,
            (),
            lambda *step: None,
        )
        nothing = np.empty(0)
        searches._with_words = TextRanking(nothing.astype(np.int64), nothing, 0, True, True)  # ask of all
        vector = _vector(self._searcher, branch.words)
        meaning = Ranking(
            "meaning",
            self.ids,
            (self.vectors @ vector).astype(float),
            self._searcher._backgrounds.cosines(self.space, vector).astype(float),
            len(self.catalog.select(branch.filters)),
        )
        return dict(zip(ids.tolist(), searches.scores([meaning], ids, 0.0).tolist(), strict=True))

    def _meaning(self, words: str, selection: Selection) -> Ranking:
        cosines = self.vectors @ _vector(self._searcher, words)
        allowed = selection.contains(self.ids)
        return Ranking("meaning", self.ids[allowed], cosines[allowed].astype(float))

    def _words(self, words: str, selection: Selection) -> Ranking:
        index = self.catalog._fresh_text()
        assert index is not None
        queries = [index._part_query(part) for part in _parts_of(words, None)]
        every = index._run(Query.boolean_query([(Occur.Must, query) for query in queries]), len(index))
        some = index._run(Query.boolean_query([(Occur.Should, query) for query in queries]), len(index))
        scores = {**some, **{photo_id: score + ALL_WORDS for photo_id, score in every.items()}}
        ids = np.array(list(scores), np.int64)
        allowed = selection.contains(ids)
        return Ranking("words", ids[allowed], np.array(list(scores.values()), float)[allowed])


def all_vectors(catalog: Catalog, space: str) -> tuple[Ids, Floats]:
    """Every embedding of a space: int64[n], float32[n, D]."""
    ids, vectors, last = [], [], 0
    while True:
        some, halves = catalog.embeddings_after(space, last, 20_000)
        if not len(some):
            return np.concatenate(ids), np.concatenate(vectors)
        ids.append(some)
        vectors.append(halves.astype(np.float32))
        last = int(some[-1])


def measure_recall(searcher: Searcher, exact: Exact, texts: list[str]) -> None:
    """Whoever is as likely as the tenth of the exact ranking counts as found: equals are interchangeable.

    Of hits, as people see them, and of whatever comes first however unlikely.
    """
    for case, form in CASES.items():
        shares: dict[float, list[float]] = {FOUND: [], 0.0: []}
        for text in texts[:RECALL_QUERIES]:
            scores = exact.best(form.format(text))
            for least, found in shares.items():
                best = sorted((score for score in scores.values() if score >= least), reverse=True)[:TOP]
                if best:
                    hits = searcher.search(form.format(text), TOP, min_score=least).hits
                    good = sum(hit.score >= best[-1] - EQUAL for hit in hits)
                    found.append(min(good / len(best), 1.0))
        report(
            f"search, recall@{TOP}, {case}",
            ours=_mean(shares[FOUND]),
            worst=min(shares[FOUND], default=None),
            reach=0.98,
            queries=len(shares[FOUND]),
            of_all={
                "ours": _mean(shares[0.0]),
                "worst": min(shares[0.0], default=None),
                "queries": len(shares[0.0]),
            },
            depth=execution.LEAST_DEPTH,
        )


def _mean(shares: list[float]) -> float | None:
    return round(statistics.mean(shares), 4) if shares else None


# -- what one would write instead --------------------------------------------------------------------


class Row(NamedTuple):
    """What a filter in Python looks at."""

    camera: str
    iso: int
    label: str
    taken: str
    has_gps: bool
    people: tuple[str, ...]
    text: str


class Instead:
    """All vectors in one array, all words in SQLite, all facts in a list."""

    def __init__(self, exact: Exact, folder: Path) -> None:
        self._exact = exact
        self._rows: dict[int, Row] = {}
        self._database = sqlite3.connect(folder / "words.sqlite")
        self._database.execute("CREATE VIRTUAL TABLE words USING fts5(all_words, tokenize='porter')")
        records = exact.catalog.iter_records()
        for page in iter(lambda: list(itertools.islice(records, 5000)), []):
            self._database.executemany(
                "INSERT INTO words(rowid, all_words) VALUES (?, ?)",
                [(record.photo_id, _words_of(record)) for record in page],
            )
            self._rows.update((record.photo_id, _row_of(record)) for record in page)
        self._database.commit()

    def search(self, words: str, passes: Callable[[Row], bool], limit: int) -> list[int]:
        cosines = self._exact.vectors @ _vector(self._exact._searcher, words)
        nearest = (int(self._exact.ids[row]) for row in np.argsort(-cosines))
        wanted = " OR ".join(f'"{word}"' for word in words.split())
        found = self._database.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank", (wanted,))
        fused: dict[int, float] = {}
        for weight, ids in ((1.0, nearest), (1.5, (row for (row,) in found))):
            kept = (photo_id for photo_id in ids if passes(self._rows[photo_id]))
            for rank, photo_id in enumerate(itertools.islice(kept, 4 * limit), 1):
                fused[photo_id] = fused.get(photo_id, 0.0) + weight / (60 + rank)
        return sorted(fused, key=lambda photo_id: -fused[photo_id])[:limit]


def _words_of(record: Record) -> str:
    document = document_of_encoded(msgspec.msgpack.encode(record)) or {}
    return " ".join(str(value) for value in document.values() if isinstance(value, str))


def _row_of(record: Record) -> Row:
    facts = record.facts
    lines = [line.text for output in record.outputs.values() for line in output.text_lines or ()]
    return Row(
        facts.camera or "",
        facts.iso or 0,
        facts.label or "",
        facts.taken_at or "",
        facts.latitude is not None,
        facts.people,
        " ".join(lines),
    )


PASSES: dict[str, Callable[[Row], bool]] = {
    "no filter": lambda row: True,
    "10 %": lambda row: row.iso == 6400,
    "1 %": lambda row: row.iso == 12800,
    "0.1 %": lambda row: row.label.lower() == "purple",
    "a month": lambda row: row.taken.startswith("2009-03"),
    "3 filters, text, person": lambda row: (
        row.iso <= 1600
        and "2006" <= row.taken[:4] <= "2018"
        and row.has_gps
        and "total" in row.text.split()
        and "Anna Núñez" in row.people
    ),
}


def measure_instead(searcher: Searcher, exact: Exact, texts: list[str], ours: dict[str, float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        instead = Instead(exact, Path(folder))
        report("search, instead, built", cpu_s=round(time.process_time() - started, 1))
        for case, passes in PASSES.items():
            times = []
            for text in texts[:INSTEAD_QUERIES]:
                forget_words(searcher)
                started = time.process_time()
                instead.search(text, passes, LIMIT)
                times.append(time.process_time() - started)
            median, worst = percentiles(times)
            ratio = round(median / ours[case], 1) if case in ours else None
            report(
                f"search, instead, {case}",
                baseline={"cpu_p50_ms": median, "cpu_p99_ms": worst},
                ours={"cpu_p50_ms": ours.get(case)},
                ratio=ratio,
                reach=10,
            )


# -- cold ------------------------------------------------------------------------------------------


def measure_cold(folder: Path, text: str) -> None:
    command = [CATALOGD, "--catalog", str(folder), "query", "--paths", text]
    ours = median_cost(command, 5)
    bare = median_cost([sys.executable, "-c", "pass"], 5)
    report(
        "catalogd query, cold, no run",
        ours={"wall_s": round(ours.wall_s, 2), "cpu_s": round(ours.cpu_s, 2)},
        baseline={"wall_s": round(bare.wall_s, 3), "cpu_s": round(bare.cpu_s, 3)},
        ratio=round(ours.cpu_s / bare.cpu_s, 1),
        exit_code=ours.exit_code,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=500_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--catalog", type=Path)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.catalog or Path(name)
        if not (folder / "store").exists():
            fill_to_search(folder, arguments.photos)
        _measure(folder, query_texts(arguments.queries), arguments.only)


def _measure(folder: Path, texts: list[str], questions: list[str]) -> None:
    with Searcher(Settings(catalog=folder)) as searcher:
        searcher.warm()
        report("search, library", photos=searcher._catalog.counts().indexed, load=_load(), at=_now())
        ours = measure_whole(searcher, texts) if "whole" in questions else {}
        if "parts" in questions:
            measure_parts(searcher, texts)
        if {"recall", "instead"} & set(questions):
            exact = Exact(searcher)
            if "recall" in questions:
                measure_recall(searcher, exact, texts)
            if "instead" in questions:
                measure_instead(searcher, exact, texts, ours)
    if "cold" in questions:
        measure_cold(folder, texts[1])


def _load() -> float:
    """Processes that want the cores: times above it are not ours alone."""
    return round(os.getloadavg()[0], 1)


def _now() -> str:
    return datetime.datetime.now().isoformat(timespec="minutes")


if __name__ == "__main__":
    main()
