"""Does search find what people mean, and does it say so when there is nothing? One JSON line a question.

    python bench/bench_quality.py table      recall@1/5/10, MRR by kind of query; found or nothing; scores
    python bench/bench_quality.py weights    words against meaning in the fusion, told on other queries
    python bench/bench_quality.py kinds      with and without the words that tags stand for
    python bench/bench_quality.py fit        the constants of calibration.py, told on what they never saw
    python bench/bench_quality.py words      how often a word in a field is right
    python bench/bench_quality.py size       found or nothing as the library grows

They measure the labelled photos of tests/data/quality. `--photos FOLDER --labels MANIFEST.tsv` indexes photos
instead, from their pixels: the manifest has columns path and label, a label being {"objects": ["dog", …]},
and file names start with four digits. `--queries FILE` names other queries, written as queries.tsv there, and
`--write FILE` keeps what the models said of the photos, as photos.jsonl there. The constants of another
model are fitted on your own photos by `fit --catalog FOLDER --labels MANIFEST.tsv --model embedding:ID`.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
from measure import CATALOGD, report
from scipy import optimize

sys.path.insert(0, str(Path(__file__).parents[1]))

from catalogd.catalog import Catalog, kinds
from catalogd.models import registry
from catalogd.models.joint import JointSpace
from catalogd.models.joint import labels as joint_labels
from catalogd.query.calibration import FOUND, Background, Calibration, for_space
from catalogd.query.searcher import Searcher
from catalogd.records import Record
from catalogd.settings import Settings
from tests.query import quality
from tests.query.quality import Answer, Labelled, Query

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
SEED = 7
FOLDS = 5  # of the queries: constants are fitted on four and told on the fifth
Rows = Iterator[tuple[Floats, Flags]]
CANDIDATES = 15  # photos a query that the fit looks at: those that a page shows
WORDS_WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
LABEL_NOISE = 3.0  # standard deviation of the logits of random labels
SIZES = (148, 500, 2000, 8000, 20_000)


class Bench:
    """The photos, the queries and a place for catalogs."""

    def __init__(
        self, space: str, photos: Sequence[Labelled], queries: Path, folder: Path, model: str = "embedding"
    ) -> None:
        """`model`: the name of the output whose joint embeddings are searched."""
        self.space = space
        self.model = model
        self.photos = photos
        self.queries = quality.load_queries(photos, queries)
        self._queries_file = queries
        self._folder = folder
        self.settings = self.catalog_of(photos)
        encoder = registry.text_encoder(self.settings.profile, self.settings, space=space)
        if encoder is None or encoder.space != space:
            sys.exit("these photos were seen by other models: give --photos and --labels (and --write)")
        self.encoder = encoder

    def catalog_of(self, photos: Sequence[Labelled]) -> Settings:
        settings = Settings(catalog=Path(tempfile.mkdtemp(dir=self._folder)))
        quality.fill(settings, photos)
        return settings

    def part(self, *collections: str) -> tuple[list[Labelled], list[Query]]:
        photos = [photo for photo in self.photos if photo.collection in collections]
        return photos, quality.load_queries(photos, self._queries_file)

    @property
    def collections(self) -> list[str]:
        return sorted({photo.collection for photo in self.photos})

    def answers(self, settings: Settings, queries: Sequence[Query]) -> list[Answer]:
        with Searcher(settings, self.encoder) as searcher:
            return [quality.answer(searcher, query) for query in queries]


# ---------------------------------------------------------------- table


def table(bench: Bench) -> None:
    libraries = [("all", (bench.photos, bench.queries))]
    libraries += [(name, bench.part(name)) for name in bench.collections]
    for name, (photos, queries) in libraries:
        answers = bench.answers(bench.catalog_of(photos), queries)
        for kind in (*quality.KINDS, "all"):
            some = [one for one in answers if kind in (one.query.kind, "all") and one.query.truth]
            if some:
                report("ranks", library=name, photos=len(photos), kind=kind, **quality.ranks(some))
        report("verdicts", library=name, photos=len(photos), **quality.verdicts(answers))
        for score, right, count in quality.reliability(answers):
            report("reliability", library=name, score=score, right=right, photos_shown=count)


# ---------------------------------------------------------------- weights


def weights(bench: Bench) -> None:
    """Ranks by the weight of words, meaning weighing 1; the best of each four folds, told on the fifth."""
    by_weight = {}
    for weight in WORDS_WEIGHTS:
        settings = dataclasses.replace(bench.settings, weight_words=weight, weight_meaning=1.0)
        by_weight[weight] = bench.answers(settings, [query for query in bench.queries if query.truth])
        report("weights", words=weight, meaning=1.0, **quality.ranks(by_weight[weight]))
    folds = np.random.default_rng(SEED).integers(0, FOLDS, len(by_weight[1.0]))
    held_out: list[Answer] = []
    chosen = []
    for fold in range(FOLDS):
        seen = {w: quality.ranks(_where(some, folds != fold))["mrr"] for w, some in by_weight.items()}
        best = max(seen, key=lambda weight: seen[weight])
        chosen.append(best)
        held_out += _where(by_weight[best], folds == fold)
    report("weights", words="chosen by fold", chosen=chosen, **quality.ranks(held_out))


def _where(answers: Sequence[Answer], mask: Flags) -> list[Answer]:
    return [answer for answer, taken in zip(answers, mask, strict=True) if taken]


# ---------------------------------------------------------------- kinds


def kinds_of_tags(bench: Bench) -> None:
    for name, words_of in (("with", kinds.words_of), ("without", lambda names: "")):
        with mock.patch.object(kinds, "words_of", words_of):
            answers = bench.answers(bench.catalog_of(bench.photos), bench.queries)
        for kind in ("object", "synonym", "all"):
            some = [one for one in answers if kind in (one.query.kind, "all") and one.query.truth]
            report("kinds", words=name, kind=kind, **quality.ranks(some))
        report("kinds", words=name, **quality.verdicts(answers))


# ---------------------------------------------------------------- fit


def candidates(bench: Bench, photos: Sequence[Labelled], queries: Sequence[Query]) -> Rows:
    """For each query the best photos by cosine, but those that words find: they have their chance from these.

    Cosine × deviations, and whether the photo is right.
    """
    settings = bench.catalog_of(photos)
    joint = np.array([np.frombuffer(_joint(photo, bench.model), "<f2") for photo in photos]).astype(
        np.float32
    )
    names = np.array([photo.name for photo in photos])
    with Catalog.open(settings.catalog, settings) as catalog:
        names_of = {record.photo_id: quality.name_of(record.name) for record in catalog.iter_records()}
        for query in queries:
            cosines = joint @ bench.encoder.encode([query.text])[0]
            named = [names_of[hit.photo_id] for hit in catalog.search_text(query.text, None, 1000)]
            best = np.argsort(-cosines)[:CANDIDATES]
            best = best[~np.isin(names[best], named)]
            yield standing_out(cosines)[best], np.isin(names[best], list(query.truth))


def standing_out(cosines: npt.NDArray[np.float32]) -> Floats:
    deviations = (cosines - cosines.mean()) / cosines.std()
    return np.asarray(np.maximum(cosines, 0) * np.maximum(deviations, 0), float)


def _joint(photo: Labelled, model: str) -> bytes:
    vector = photo.outputs[model].joint_embedding
    assert vector is not None, f"{photo.name} has no vector of {model}"
    return vector


def fitted(values: Floats, right: Flags) -> tuple[float, float]:
    """Bias and slope of a logistic regression."""

    def loss(constants: Floats) -> float:
        log_odds = constants[0] + constants[1] * values
        return float(np.mean(np.logaddexp(0, log_odds) - right * log_odds))

    bias, slope = optimize.minimize(loss, np.zeros(2), method="BFGS").x
    return float(bias), float(slope)


def fit(bench: Bench) -> None:
    libraries = {"all": (bench.photos, bench.queries)} | {
        name: bench.part(name) for name in bench.collections
    }
    rows = {
        name: [
            row for row, query in zip(candidates(bench, *some), some[1], strict=True) if query.kind != "text"
        ]
        for name, some in libraries.items()
    }
    rows = {name: some for name, some in rows.items() if any(right.any() for _, right in some)}
    for name, some in rows.items():
        bias, slope = fitted(*_joined(some))
        report("fit", library=name, queries=len(some), bias=bias, slope=slope)
        for other in set(rows) - {name, "all"}:
            if name != "all":
                _report_held_out(f"fitted on {name}, told on {other}", [(bias, slope, rows[other])])
    folds = np.random.default_rng(SEED).integers(0, FOLDS, len(rows["all"]))
    held_out = []
    for fold in range(FOLDS):
        seen = [row for row, at in zip(rows["all"], folds, strict=True) if at != fold]
        rest = [row for row, at in zip(rows["all"], folds, strict=True) if at == fold]
        held_out.append((*fitted(*_joined(seen)), rest))
    _report_held_out(f"{FOLDS} folds of queries", held_out)


def _joined(rows: Sequence[tuple[Floats, Flags]]) -> tuple[Floats, Flags]:
    return np.concatenate([values for values, _ in rows]), np.concatenate([right for _, right in rows])


def _report_held_out(split: str, parts: Sequence[tuple[float, float, list[tuple[Floats, Flags]]]]) -> None:
    """How often photos of a predicted probability are right, on queries that the constants never saw."""
    chances, right = [], []
    for bias, slope, rows in parts:
        values, truth = _joined(rows)
        chances.append(1 / (1 + np.exp(-(bias + slope * values))))
        right.append(truth)
    predicted, truth = np.concatenate(chances), np.concatenate(right)
    step = np.minimum((predicted * 5).astype(int), 4)
    report(
        "fit",
        split=split,
        predicted=[round(float(predicted[step == s].mean()), 2) for s in range(5) if (step == s).any()],
        right=[round(float(truth[step == s].mean()), 2) for s in range(5) if (step == s).any()],
        photos=[int((step == s).sum()) for s in range(5) if (step == s).any()],
        log_loss=float(-np.mean(np.log(np.where(truth, predicted, 1 - predicted)))),
        log_loss_of_base_rate=float(-np.mean(np.log(np.where(truth, truth.mean(), 1 - truth.mean())))),
    )


# ---------------------------------------------------------------- words


def words(bench: Bench) -> None:
    """By field and share of the words: photos found there, and how many of them are right."""
    counted: dict[tuple[str, float], list[bool]] = collections.defaultdict(list)
    with Catalog.open(bench.settings.catalog, bench.settings) as catalog:
        names = {record.photo_id: quality.name_of(record.name) for record in catalog.iter_records()}
        for query in bench.queries:
            for hit in catalog.search_text(query.text, None, 1000):
                for field in hit.fields:
                    counted[field, round(hit.share, 2)].append(names[hit.photo_id] in query.truth)
    for (field, share), right in sorted(counted.items()):
        report("words", field=field, share=share, photos=len(right), right=float(np.mean(right)))


# ---------------------------------------------------------------- size


def size(bench: Bench) -> None:
    """Photos made of pairs of real ones stand for a larger library: what neither shows, they don't show.

    A pair is the sum in random shares, turned by half of what random labels add: a classifier is that wrong
    about some photos.
    """
    random = np.random.default_rng(SEED)
    joint = np.array([np.frombuffer(_joint(photo, bench.model), "<f2") for photo in bench.photos]).astype(
        np.float32
    )
    names = np.array([photo.name for photo in bench.photos])
    pairs = random.integers(0, len(joint), (max(SIZES), 2))
    share = random.uniform(0.5, 1, (len(pairs), 1)).astype(np.float32)
    made = share * joint[pairs[:, 0]] + (1 - share) * joint[pairs[:, 1]]
    chances = np.exp(random.normal(scale=LABEL_NOISE, size=(len(made), len(joint_labels()))))
    made += 0.5 * JointSpace(bench.settings, 1).image_vectors(chances / chances.sum(axis=1, keepdims=True))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    queries = [query for query in bench.queries if query.kind != "text"]
    known = for_space(bench.space)
    if not isinstance(known, Calibration):
        sys.exit("size is asked of the starter's models only: its photos are made of their labels")
    ways = {"in use": known, "whatever the size": dataclasses.replace(known, per_size=0.0)}
    for count in SIZES:
        found: dict[tuple[str, bool], list[bool]] = collections.defaultdict(list)
        for query in queries:
            vector = bench.encoder.encode([query.text])[0]
            shown = np.isin(names, list(query.truth))
            wrong = ~shown[pairs[:count]].any(axis=1)
            cosines = np.concatenate([made[:count][wrong] @ vector, joint[shown] @ vector])
            background = Background.of(random.choice(made[:count] @ vector, min(count, 2000), False), count)
            for name, calibration in ways.items():
                is_found = bool((calibration.probability(cosines, background) >= FOUND).any())
                found[name, bool(query.truth)].append(is_found)
        for name in ways:
            report(
                "size",
                calibration=name,
                photos=count,
                found_where_there_is=float(np.mean(found[name, True])),
                found_where_there_is_not=float(np.mean(found[name, False])),
            )


# ---------------------------------------------------------------- from pixels


def indexed(photos: Path, labels: Path, folder: Path, model: str) -> tuple[str, list[Labelled]]:
    """What the models of the profile in use say of the photos under a folder."""
    catalog = folder / "indexed"
    subprocess.run([CATALOGD, "--catalog", str(catalog), "run", str(photos), "--once"], check=True)
    return exported(catalog, labels, model)


def exported(folder: Path, labels: Path, model: str) -> tuple[str, list[Labelled]]:
    """The same of a catalog that is there already, of photos that the model has seen."""
    marked = quality.labels_of(labels)
    with Catalog.open(folder, Settings(catalog=folder)) as catalog:
        ids = [record.photo_id for record in catalog.iter_records()]
        records = [record for record in catalog.records(ids, with_embeddings=True) if record is not None]
    seen = [record for record in records if model in record.outputs]
    if not seen:
        sys.exit(f"no photo of this catalog has an output {model!r}: catalogd models use, catalogd run")
    space = seen[0].outputs[model].fingerprint
    seen = [record for record in seen if record.outputs[model].fingerprint == space]
    found = [_labelled(record, marked) for record in seen if record.outputs[model].joint_embedding]
    return space, sorted(found, key=lambda photo: photo.name)


def _labelled(record: Record, marked: dict[str, tuple[str, ...]]) -> Labelled:
    name = quality.name_of(record.name)
    return Labelled(name, Path(record.name).parent.name, marked.get(name, ()), record.outputs)


QUESTIONS: dict[str, Callable[[Bench], None]] = {
    "table": table,
    "weights": weights,
    "kinds": kinds_of_tags,
    "fit": fit,
    "words": words,
    "size": size,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("questions", nargs="*", choices=[*QUESTIONS, []], default=[])
    parser.add_argument("--photos", type=Path, help="a folder of photos to index")
    parser.add_argument("--catalog", type=Path, help="or the folder of a catalog that holds them already")
    parser.add_argument("--labels", type=Path, help="the table of what people marked in them")
    parser.add_argument(
        "--model", default="embedding", help="the output that is searched: embedding, embedding:siglip2-base"
    )
    parser.add_argument("--queries", type=Path, default=quality.DATA / "queries.tsv")
    parser.add_argument("--write", type=Path, help="where to keep what the models said")
    arguments = parser.parse_args()
    if (arguments.photos or arguments.catalog) and arguments.labels is None:
        parser.error("photos need --labels")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.catalog:
            space, photos = exported(arguments.catalog, arguments.labels, arguments.model)
        elif arguments.photos:
            space, photos = indexed(arguments.photos, arguments.labels, folder, arguments.model)
        else:
            space, photos = quality.load_photos()
        if arguments.write:
            quality.save_photos(space, photos, arguments.write)
        bench = Bench(space, photos, arguments.queries, folder, arguments.model)
        for question in arguments.questions:
            QUESTIONS[question](bench)


if __name__ == "__main__":
    main()
