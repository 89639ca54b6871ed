"""Who is who in a large library: what it costs to know, after anything changed and when nothing did.

    python bench/bench_people.py [--faces 200000] [--people 200] [--photos 100000]

A catalog's own tables with faces in clusters, people named by 200 anchors each, and a thousand pins and
refusals; then records of photos, one in a hundred of which names somebody in its file. CPU time of one
process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import measure
import numpy as np

from catalogd.catalog import Catalog
from catalogd.catalog.face_rows import CLUSTER, FACE, NEXT_ID, VERSION, face_key
from catalogd.catalog.journal import Action, Mark
from catalogd.catalog.seeds import SeedFollower
from catalogd.catalog.store import Store, decode_record, id_bytes
from catalogd.catalog.user_data import UserData, new_action_id
from catalogd.records import Box, Facts, Record, Stat
from catalogd.settings import Settings

CLUSTERS_A_PERSON = 5
PINS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faces", type=int, default=200_000)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--photos", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _identities(Path(folder) / "faces", arguments.faces, arguments.people)
    with tempfile.TemporaryDirectory() as folder:
        _names_in_files(Path(folder) / "photos", arguments.photos)


def _box(number: int) -> Box:
    return (0.1 + 0.4 * (number % 2), 0.2, 0.2, 0.3)


def _mark(number: int, clusters: int) -> Mark:
    return Mark(1 + number // 2, 1000, b"." * 16, _box(number), 1 + number % clusters)


def _fill(folder: Path, faces: int, clusters: int) -> None:
    """Two faces a photo, dealt to the clusters in turn."""
    rows = np.zeros(faces, FACE)
    rows["cluster"] = 1 + np.arange(faces) % clusters
    rows["box"] = [_box(number) for number in range(faces)]
    rows["quality"] = 0.9
    keyed = [(face_key(1 + number // 2, number % 2), rows[number].tobytes()) for number in range(faces)]
    heads = [(id_bytes(number), np.zeros((), CLUSTER).tobytes()) for number in range(1, clusters + 1)]

    def work(reading: object) -> None:
        reading.put_all("faces", keyed)  # type: ignore[attr-defined]
        reading.put_all("clusters", heads)  # type: ignore[attr-defined]
        reading.set_number(NEXT_ID, clusters + 1)  # type: ignore[attr-defined]
        reading.set_number(VERSION, 1)  # type: ignore[attr-defined]

    with Store(folder, write=True) as store:
        store.write(work)


def _say(user: UserData, faces: int, people: int, clusters: int) -> None:
    """Each person's name with 200 faces of its clusters; then single faces."""
    for person in range(1, people + 1):
        owned = range(person, clusters + 1, people)
        numbers = [cluster - 1 + clusters * turn for turn in range(200 // len(owned)) for cluster in owned]
        marks = tuple(_mark(number, clusters) for number in numbers if number < faces)
        user.act(Action(new_action_id(), 0.0, "name", person, name=f"Person No. {person}", faces=marks))
    for number in range(PINS):
        mark = _mark(7 * number % faces, clusters)
        kind = "is" if number % 2 else "not"
        user.act(Action(new_action_id(), 0.0, kind, 1 + number % people, faces=(mark,)))


def _identities(folder: Path, faces: int, people: int) -> None:
    clusters = CLUSTERS_A_PERSON * people
    _fill(folder, faces, clusters)
    settings = Settings(catalog=folder)
    with UserData(folder) as user, Catalog.open(folder, settings) as catalog:
        said_s = measure.timed(lambda: _say(user, faces, people, clusters))
        question = f"{faces:,} faces, {people} people"
        first_s = _cpu(catalog.people.identities)
        catalog.people.identities()
        again_ms = 1000 * min(_cpu(catalog.people.identities) for _ in range(20))
        user.act(Action(new_action_id(), 0.0, "alias", 1, name="Somebody Else"))
        changed_s = _cpu(catalog.people.identities)
        person_ms = 1000 * min(_cpu(lambda: catalog.people.photos_of(1)) for _ in range(20))
        photo_ms = 1000 * min(_cpu(lambda: catalog.people.faces_of(17)) for _ in range(20))
        found = len(catalog.people.photos_of(1))
        measure.report(
            question,
            first_s=round(first_s, 3),
            after_an_action_s=round(changed_s, 3),
            unchanged_ms=round(again_ms, 3),
            photos_of_ms=round(person_ms, 3),
            photos_found=found,
            faces_of_ms=round(photo_ms, 3),
            list_s=round(_cpu(catalog.people.everybody), 3),
            an_action_ms=round(1000 * said_s / (people + PINS), 2),
        )


def _names_in_files(folder: Path, photos: int) -> None:
    def record(number: int) -> Record:
        people = (f"Person {number % 50}",) if number % 100 == 0 else ()
        path = f"/p/{number // 500}/{number}.jpg".encode()
        return Record(
            path, Stat(1000, number), number.to_bytes(16, "big"), Facts("jpeg", 40, 30, people=people), {}
        )

    with Store(folder, write=True) as store:
        for start in range(0, photos, 1000):
            store.commit([record(number) for number in range(start, min(start + 1000, photos))], b"profile1")
        follower = SeedFollower(store)
        follow_s = _cpu(follower.rebuild)
        with store.snapshot() as reading:
            decode_s = _cpu(lambda: [decode_record(value) for _, value in reading.rows("photos")])
            kept = reading.entries("seeds")
    measure.report(
        f"names in the files of {photos:,} photos",
        taken_in_us_a_photo=round(1e6 * follow_s / photos, 2),
        photos_that_name_somebody=kept,
        reading_all_records_s=round(decode_s, 3),
    )


def _cpu(work: object) -> float:
    return measure.timed(work, time.process_time)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
