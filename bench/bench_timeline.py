"""What does the time line cost, and which cosine makes two pictures one burst? One JSON line a question.

    python bench/bench_timeline.py cost --photos 500000    build, follow, arrange; against the writer
    python bench/bench_timeline.py alike FOLDER …          cosines of embeddings and of their sketches

`cost` writes a library of twenty years: outings of 50 photos, RAW + JPEG in one of three, bursts of
five in one of four, positions on half, records of some 4 KB, one embedding of 1,280 numbers. CPU time
of the process, so that other work on the machine is not in it.

`alike` compares all photos of the folders with each other, which should share no subject, and each
with itself moved, zoomed, or a moment later in a burst that the folder holds in the order of names.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import itertools
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from measure import report, timed
from synthetic import PROFILE, batched, templates

from catalogd.catalog import Catalog
from catalogd.catalog.arrangement import arrange
from catalogd.catalog.store import Store
from catalogd.catalog.timeline import TimelineFollower, read_moments, sketches
from catalogd.errors import PhotoError
from catalogd.records import Change, Output, Place, Quality, Record, Stat
from catalogd.settings import Settings

SPACE = "bench embedder"
DIMENSIONS = 1280
COMMIT_RECORDS = 1000
FIRST_DAY = datetime.datetime(2004, 1, 1, 9)
TOWNS = [(48.1, 11.6, "Munich"), (41.9, 12.5, "Rome"), (64.1, -21.9, "Reykjavik"), (-36.8, 174.8, "Auckland")]


def cost(photos: int, folder: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-timeline-", dir=folder) as name:
        settings = Settings(catalog=Path(name))
        records = _library()
        with Catalog.open(settings.catalog, settings, write=True) as catalog:
            writer_s = _fill(catalog, itertools.islice(records, photos))
        with Store(settings.catalog, write=True) as store:
            follower = TimelineFollower(store, settings)
            followed_s = timed(lambda: follower.follow(force=True), time.process_time)
            _report_cost(store, settings, photos, writer_s, followed_s)
        _report_following(settings, records)


def _fill(catalog: Catalog, records: Iterator[Record]) -> float:
    """CPU seconds of committing and of the text index; the time line is left behind."""
    spent_s = 0.0
    for part in batched(records, COMMIT_RECORDS):
        changes: list[Change] = list(part)
        spent_s += timed(lambda changes=changes: catalog.commit(changes, PROFILE), time.process_time)
        spent_s += timed(catalog.follow_text, time.process_time)
    return spent_s + timed(lambda: catalog.follow_text(force=True), time.process_time)


def _report_cost(store: Store, settings: Settings, photos: int, writer_s: float, followed_s: float) -> None:
    with store.snapshot() as reading:
        ids, moments = read_moments(reading)
        bytes_stored = sum(
            len(key) + len(value)
            for table in ("moments", "members", "groups", "sessions")
            for key, value in reading.rows(table)
        )
    arranged_s = timed(lambda: arrange(ids, moments, settings), time.process_time)
    rebuilt_s = timed(TimelineFollower(store, settings).rebuild, time.process_time)
    groups = arrange(ids, moments, settings)
    report(
        "timeline, all of it",
        photos=photos,
        writer_cpu_us_a_photo=writer_s / photos * 1e6,
        timeline_cpu_us_a_photo=followed_s / photos * 1e6,
        timeline_share_of_writer=followed_s / writer_s,
        arrange_cpu_s=arranged_s,
        rebuild_cpu_s=rebuilt_s,
        bytes_a_photo=bytes_stored / photos,
        stacks=len(np.unique(groups.members["stack"])) - 1,
        bursts=len(np.unique(groups.members["burst"])) - 1,
        sessions=len(groups.sessions),
        trips=len({session.trip_id for session in groups.sessions} - {0}),
    )


def _report_following(settings: Settings, records: Iterator[Record]) -> None:
    """A thousand photos more: what a busy writer pays (nothing) and an idle one."""
    changes: list[Change] = list(itertools.islice(records, COMMIT_RECORDS))
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        commit_s = timed(lambda: catalog.commit(changes, PROFILE), time.process_time)
        busy_s = timed(catalog.follow_timeline, time.process_time)
        started = time.monotonic()
        idle_s = timed(lambda: catalog.follow_timeline(idle=True), time.process_time)
        wall_s = time.monotonic() - started
        quiet_s = timed(lambda: catalog.follow_timeline(force=True), time.process_time)
    report(
        "timeline, 1,000 photos more",
        commit_cpu_ms=commit_s * 1e3,
        busy_cpu_ms=busy_s * 1e3,
        idle_cpu_ms=idle_s * 1e3,
        idle_wall_ms=wall_s * 1e3,
        nothing_new_cpu_ms=quiet_s * 1e3,
    )


def _library() -> Iterator[Record]:
    """Outings, one after the other; without end."""
    chance = random.Random(1)
    outputs = templates()
    noise = np.random.default_rng(1)
    number = 0
    for outing in itertools.count():
        moment = FIRST_DAY + datetime.timedelta(hours=17 * outing)
        latitude, longitude, town = TOWNS[0] if outing // 10 % 4 else TOWNS[1 + outing % 3]
        place = Place("XX", "Somewhere", city=town)
        for _ in range(40):
            moment += datetime.timedelta(seconds=chance.expovariate(1 / 120) + 3)
            subject = noise.normal(size=DIMENSIONS)
            for _ in range(5 if chance.random() < 0.05 else 1):
                moment += datetime.timedelta(seconds=0.2)
                number += 1
                vector = subject + noise.normal(size=DIMENSIONS) * 0.3
                half = (vector / np.linalg.norm(vector)).astype("<f2").tobytes()
                template = outputs[number % len(outputs)]
                facts = msgspec.structs.replace(
                    template.facts,
                    taken_at=moment.isoformat(timespec="milliseconds"),
                    latitude=latitude + chance.random() / 50 if number % 2 else None,
                    longitude=longitude if number % 2 else None,
                    place=place if number % 2 else None,
                    camera="Canon EOS R5",
                )
                made = {
                    **template.outputs,
                    "embedding": Output(SPACE, embedding=half),
                    "quality": Output("bench quality", quality=Quality(50, 40, 0.5, 0.3, 0, 0, 1, 30)),
                }
                for extension in ("cr3", "jpg") if number % 3 == 0 else ("jpg",):
                    path = b"/photos/%d/IMG_%07d.%s" % (outing, number, extension.encode())
                    kind = "raw" if extension == "cr3" else "jpeg"
                    yield Record(
                        path,
                        Stat(5_000_000 + number, number),
                        hashlib.md5(path).digest(),
                        msgspec.structs.replace(facts, format=kind),
                        made,
                    )


def alike(folders: list[Path]) -> None:
    from catalogd.images import read_frame
    from catalogd.models.embedding import EmbeddingModel

    settings = Settings()
    model = EmbeddingModel(settings, 1)
    model.load()
    slot = np.empty(settings.frame_edge_px**2 * 3, np.uint8)

    def vector(frame: np.ndarray) -> np.ndarray:
        stored = model.run([np.ascontiguousarray(frame)])[0].embedding
        return np.frombuffer(stored or b"", "<f2")

    whole, moved, zoomed = [], [], []
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        try:
            reading = read_frame(os.fsencode(path), slot, settings)
        except PhotoError:
            continue
        height, width = reading.height, reading.width
        frame = slot[: height * width * 3].reshape(height, width, 3)
        whole.append(vector(frame))
        moved.append(vector(frame[height // 10 :, width // 10 :]))
        zoomed.append(vector(frame[height // 5 : -height // 5, width // 5 : -width // 5]))
    every = [np.stack(vectors) for vectors in (whole, moved, zoomed)]
    pairs = np.triu_indices(len(whole), 1)
    for name, vectors in (
        ("cosine", [_unit(part) for part in every]),
        ("sketch", [_unit(sketches(part, b"bench---")) for part in every]),
    ):
        first, second, third = vectors
        unrelated = (first @ first.T)[pairs]
        report(
            f"alike, {name}",
            photos=len(first),
            unrelated=np.quantile(unrelated, [0.5, 0.99, 0.999, 1]).round(3).tolist(),
            moved=np.quantile((first * second).sum(axis=1), [0.01, 0.1, 0.5]).round(3).tolist(),
            zoomed=np.quantile((first * third).sum(axis=1), [0.01, 0.1, 0.5]).round(3).tolist(),
            next_by_name=(first[1:] * first[:-1]).sum(axis=1).round(2).tolist() if len(first) <= 20 else [],
        )


def _unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float32)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    questions = parser.add_subparsers(dest="question", required=True)
    costs = questions.add_parser("cost")
    costs.add_argument("--photos", type=int, default=500_000)
    costs.add_argument("--folder", help="where to write (default: the folder for temporary files)")
    questions.add_parser("alike").add_argument("folders", nargs="+", type=Path)
    arguments = parser.parse_args()
    if arguments.question == "cost":
        cost(arguments.photos, arguments.folder)
    else:
        alike(arguments.folders)


if __name__ == "__main__":
    main()
