"""Faces into clusters: how right, how fast at 200,000, and what a catalog makes of it.

    python bench/bench_faces.py                     sets of 10,000 and 60,000 faces, growth to 200,000
    python bench/bench_faces.py --faces 20000       a shorter growth
    python bench/bench_faces.py --labelled FOLDER   photos in a folder a person: what the real model gives
    python bench/bench_faces.py --catalog           the same growth through a catalog: records, tables, marks

Precision and recall are those of pairs of faces, over the good ones (Face.quality of 0.2 or more), and
`mixed` is the share of clusters with a face of a second person. CPU time of one process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import face_sets
import measure
import numpy as np
import numpy.typing as npt

from catalogd.catalog.clustering import Constraints, Faces, Gallery, Thresholds, edges, regroup
from catalogd.catalog.face_following import FaceFollower
from catalogd.catalog.faces import FaceIndex
from catalogd.catalog.store import Store
from catalogd.records import Face, Facts, Output, Record, Stat
from catalogd.settings import Settings

Ids = npt.NDArray[np.int64]
LIMITS = Thresholds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faces", type=int, default=200_000)
    parser.add_argument("--sets", type=int, nargs="*", default=[10_000, 60_000])
    parser.add_argument("--labelled", type=Path)
    parser.add_argument("--catalog", action="store_true")
    parser.add_argument("--regroup", action="store_true", help="also cluster all of the largest set anew")
    arguments = parser.parse_args()
    if arguments.labelled:
        _labelled(arguments.labelled)
    elif arguments.catalog:
        _catalog(arguments.faces)
    else:
        for count in arguments.sets:
            for hard in (False, True):
                _set(f"{count} faces{', siblings and weak' if hard else ''}", count, hard)
        _growth(arguments.faces, arguments.regroup)


# ── how right ─────────────────────────────────────────────────────────────────────────────────


def _set(question: str, count: int, hard: bool) -> None:
    faces = face_sets.library(count, hard=hard)
    found, _, _ = _incremental(faces)
    measure.report(f"{question}: as they come", **scores(found, faces))
    measure.report(f"{question}: all anew", **scores(_anew(faces), faces))


def scores(found: Ids, faces: face_sets.FaceSet) -> dict[str, float | int]:
    """Of the good faces; `found: int64[n]` is the cluster of each, 0 for none."""
    good = faces.quality >= LIMITS.good
    clusters, persons = found[good], faces.persons[good]
    inside = clusters > 0
    both, joint = np.unique(np.stack([clusters[inside], persons[inside]]), axis=1, return_counts=True)
    right = _pairs(joint)
    _, people_in = np.unique(both[0], return_counts=True)
    often, faces_of = np.unique(persons[inside], return_counts=True)
    clusters_of = np.bincount(np.searchsorted(often, both[1]), minlength=len(often))
    return {
        "precision": round(right / max(_pairs(np.unique(clusters[inside], return_counts=True)[1]), 1), 5),
        "recall": round(right / max(_pairs(np.unique(persons, return_counts=True)[1]), 1), 4),
        "mixed": round(float((people_in > 1).mean()), 4) if len(people_in) else 0.0,
        "clusters_a_person": round(float(clusters_of[faces_of >= 5].mean()), 3)
        if (faces_of >= 5).any()
        else 0,
        "people": len(np.unique(persons)),
        "faces": len(found),
    }


def _pairs(counts: npt.NDArray[np.int64]) -> float:
    return float((counts.astype(np.float64) * (counts - 1) / 2).sum())


def _batch(faces: face_sets.FaceSet, start: int, end: int) -> Faces:
    part = slice(start, end)
    return Faces(faces.photo_ids[part], np.arange(start, end), faces.vectors[part], faces.quality[part])


def _incremental(faces: face_sets.FaceSet) -> tuple[Ids, Gallery, list[float]]:
    """The cluster of each face, and the CPU seconds of each batch."""
    gallery, said = Gallery(face_sets.DIMENSION), Constraints()
    found = np.zeros(len(faces.persons), np.int64)
    clusters_in: dict[int, set[int]] = {}
    times = []
    for start in range(0, len(found), face_sets.BATCH):
        batch = _batch(faces, start, min(start + face_sets.BATCH, len(found)))
        began = time.process_time()
        assigned = gallery.add(batch, said, lambda photo: clusters_in.get(photo, set()))
        times.append(time.process_time() - began)
        for (photo, row), cluster_id, _ in assigned:
            found[row] = cluster_id
            clusters_in.setdefault(photo, set()).add(cluster_id)
    return found, gallery, times


def _anew(faces: face_sets.FaceSet) -> Ids:
    good = np.flatnonzero(faces.quality >= LIMITS.good)
    pairs, cosines = edges(faces.vectors, good, good, LIMITS.edge)
    every = _batch(faces, 0, len(faces.persons))
    group = regroup(every, pairs, cosines, Constraints(), LIMITS)
    counts = np.bincount(group, minlength=len(group))
    return np.where(counts[group] >= 3, group + 1, 0)


def _labelled(folder: Path) -> None:
    """The largest face of each photo, by the starter profile's model; its folder names the person."""
    from catalogd.images import read_frame
    from catalogd.models.faces import FacesModel

    settings = Settings(catalog=Path(tempfile.gettempdir()) / "bench-faces")
    model = FacesModel(settings, 2)
    model.load()
    slot = np.empty(settings.frame_edge_px**2 * 3, np.uint8)
    rows, persons = [], []
    for path in sorted(path for path in folder.glob("*/*") if path.is_file()):
        reading = read_frame(bytes(path), slot, settings)
        frame = slot[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)
        shown = model.run([frame])[0].faces or ()
        if shown:
            rows.append(max(shown, key=lambda face: face.box[2] * face.box[3]))
            persons.append(path.parent.name)
    vectors = np.stack([np.frombuffer(face.embedding or b"", "<f2").astype(np.float32) for face in rows])
    quality = np.array([face.quality for face in rows], np.float32)
    names = np.unique(persons, return_inverse=True)[1].astype(np.int64)
    faces = face_sets.FaceSet(vectors, quality, names, np.arange(1, len(rows) + 1))
    same = names[:, None] == names[None, :]
    cosines, upper = vectors @ vectors.T, np.triu(np.ones(same.shape, bool), 1)
    measure.report(
        "labelled photos",
        **scores(_incremental(faces)[0], faces),
        least_within=float(cosines[same & upper].min()),
        most_between=float(cosines[~same].max()),
    )


# ── how fast ──────────────────────────────────────────────────────────────────────────────────


def _growth(count: int, anew: bool) -> None:
    faces = face_sets.library(count, seed=1)
    found, gallery, times = _incremental(faces)
    for reached in (10_000, 50_000, 100_000, 200_000):
        last = times[max(0, reached // face_sets.BATCH - 5) : reached // face_sets.BATCH]
        if reached <= count:
            measure.report(f"a face more at {reached}", cpu_ms=float(np.mean(last)) * 1000 / face_sets.BATCH)
    measure.report(
        f"{count} faces, as they come",
        **scores(found, faces),
        clusters=len(gallery.clusters),
        waiting=len(gallery.waiting.quality),
        cpu_s=sum(times),
        rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )
    if anew:
        began = time.process_time()
        again = _anew(faces)
        took = time.process_time() - began
        measure.report(f"{count} faces, all anew", **scores(again, faces), cpu_s=took)


def _catalog(count: int) -> None:
    """Photos with their faces through a store: what `catalogd run` pays for each face."""
    faces = face_sets.library(count, seed=1)
    starts = np.flatnonzero(np.diff(faces.photo_ids, prepend=0))
    groups = np.split(np.arange(count), starts[1:])
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder), write=True) as store:
        follower, index = FaceFollower(store), FaceIndex(store)
        done, marks = 0, [10_000, 50_000, 100_000, 200_000]
        for start in range(0, len(groups), 1000):
            page = groups[start : start + 1000]
            store.commit([_record(faces, rows) for rows in page], b"bench---")
            began = time.process_time()
            follower.follow(force=True)
            took = time.process_time() - began
            here = sum(len(rows) for rows in page)
            done += here
            if marks and done >= marks[0]:
                measure.report(f"a face more in a catalog of {marks.pop(0)}", cpu_ms=took * 1000 / here)
        size = (Path(folder) / "store" / "data.mdb").stat().st_size
        first, again = (measure.timed(index.clusters, time.process_time) for _ in range(2))
        restart = measure.timed(lambda: FaceFollower(store).follow(force=True), time.process_time)
        measure.report(
            f"a catalog of {count} faces",
            clusters=len(index.clusters().ids),
            read_all_cpu_ms=first * 1000,
            read_again_cpu_ms=again * 1000,
            restart_cpu_ms=restart * 1000,
            store_mb=size >> 20,
            rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        )
        anew = measure.timed(follower.recluster, time.process_time)
        measure.report(f"all {count} faces anew, in a catalog", cpu_s=anew)


def _record(faces: face_sets.FaceSet, rows: npt.NDArray[np.intp]) -> Record:
    shown = tuple(
        Face(
            (0.3 * place, 0.1, 0.2, 0.3),
            (),
            0.9,
            float(faces.quality[row]),
            faces.vectors[row].astype("<f2").tobytes(),
        )
        for place, row in enumerate(rows.tolist())
    )
    name = f"/photos/{rows[0]}.jpg".encode()
    outputs = {"faces": Output("bench faces", faces=shown)}
    return Record(name, Stat(1, 1), name.ljust(16, b".")[-16:], Facts("jpeg", 40, 30), outputs)


if __name__ == "__main__":
    main()
