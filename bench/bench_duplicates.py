"""What does looking for duplicates cost, and which are found? One JSON line a question.

    python bench/bench_duplicates.py cost --photos 500000    CPU, memory, planted copies found
    python bench/bench_duplicates.py quality FOLDER …        recall by kind of edit, wrong pairs

`cost` fills a catalog with photos of events (20 photos of one subject, cosines about 0.75, a tenth without a
time), whose signatures are as uneven as those of photos, and plants copies among them: 1 of 100 photos
encoded again, 1 of 200 mirrored, 1 of 200 cropped. In one event of 10 the first 2 to 20 photos are a burst:
one second, cosines 0.97, signatures that differ in some 20 bits; in one of 200 they are such frames without a
time. Thumbnails come from a pool in memory, so that each comparison decodes and compares pictures. CPU time
of the process, and its peak memory.

`quality` takes folders of photos that share no subject, makes from each what people make of photos, writes
these as files, indexes them with the starter profile's embedding, and looks for duplicates among all.
`--labelled` takes folders as they are: photos whose names hold `_GROUP_EDIT.` are grouped by these.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import itertools
import multiprocessing
import re
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import simplejpeg
from measure import report, timed
from synthetic import PROFILE, batched

from catalogd import _native
from catalogd.catalog import Catalog
from catalogd.duplicates import Duplicates, Group
from catalogd.errors import PhotoError
from catalogd.images import read_frame
from catalogd.models.signature import TURNS, turned
from catalogd.records import Change, Facts, Output, Record, Stat
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore

COMMIT_RECORDS = 1000
DIMENSIONS = 1280
BURSTS, TIMELESS = 10, 200  # one event of so many
EVENT_PHOTOS = 20
POOL = 97  # pictures: a prime, so that the photos of an event show different ones
PLANTED = {"same": 100, "mirrored": 200, "cropped": 200}  # one of so many
SPACE = "bench embedder"


# -- cost ------------------------------------------------------------------------------------------


def cost(photos: int, folder: str | None, depths: list[str]) -> None:
    """Each depth in a process of its own, so that peaks are its own."""
    with tempfile.TemporaryDirectory(prefix="bench-duplicates-", dir=folder) as name:
        settings = Settings(catalog=Path(name))
        planted = _fill(settings, photos)
        for depth in depths:
            run = multiprocessing.get_context("spawn").Process(
                target=_report_cost, args=(settings, photos, depth, planted)
            )
            run.start()
            run.join()


def _report_cost(
    settings: Settings, photos: int, depth: str, planted: dict[str, set[frozenset[int]]]
) -> None:
    pictures = _thumbnails()
    ThumbnailStore.get = lambda self, content: pictures(content)  # type: ignore[method-assign]
    with Catalog.open(settings.catalog, settings) as catalog, _peak_of_memory() as peak_mib:
        before_mib = _memory_mib()
        groups: list[Group] = []
        finder: list[Duplicates] = []

        def look() -> None:
            finder.append(Duplicates(catalog, settings, depth, read_files=False))
            groups.extend(group for group in finder[0].groups() if group.kind != "burst")

        started = time.monotonic()
        cpu_s = timed(look, time.process_time)
        wall_s = time.monotonic() - started
    pairs = {frozenset((g.keeper.photo_id, m.photo.photo_id)) for g in groups for m in g.others}
    report(
        f"duplicates, {depth}",
        photos=photos,
        cpu_s=cpu_s,
        wall_s=wall_s,
        own_mib=peak_mib[0] - before_mib,
        resident_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        not_compared=finder[0].not_compared,
        **{f"{kind}_found": len(pairs & wanted) / len(wanted) for kind, wanted in planted.items()},
        false_pairs=len(pairs - set().union(*planted.values())),
    )


@contextlib.contextmanager
def _peak_of_memory() -> Iterator[list[float]]:
    """The most memory of the process, without the pages of files, that was seen ten times a second."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], _memory_mib())

    watching = threading.Thread(target=watch)
    watching.start()
    yield peak
    done.set()
    watching.join()


def _memory_mib() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line]
    return int(line.split()[1]) / 1024


def _fill(settings: Settings, photos: int) -> dict[str, set[frozenset[int]]]:
    """A catalog; the pairs that were planted in it."""
    planted: dict[str, set[frozenset[int]]] = collections.defaultdict(set)
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        for batch in batched(_library(photos, planted), COMMIT_RECORDS):
            changes: list[Change] = list(batch)
            catalog.commit(changes, PROFILE)
        catalog.follow_timeline(force=True)
        ids = {content[:9]: photo_id for content, photo_id in catalog.contents()}
    return {
        kind: {frozenset(ids[_content(n, k)[:9]] for n, k in pair) for pair in pairs}
        for kind, pairs in planted.items()
    }


def _thumbnails() -> Callable[[bytes], bytes | None]:
    """Content → thumbnail."""
    pool = [_picture(number) for number in range(POOL)]
    variants = {0: _as_it_is, 1: _again, 2: _mirrored, 3: _cropped}

    @functools.cache
    def thumbnail(picture: int, variant: int) -> bytes:
        return variants[variant](pool[picture])

    return lambda content: thumbnail(int.from_bytes(content[:8], "little") % POOL, content[8])


def _content(number: int, variant: int) -> bytes:
    return number.to_bytes(8, "little") + bytes([variant]) + bytes(7)


def _library(photos: int, planted: dict[str, set[frozenset[tuple[int, int]]]]) -> Iterator[Record]:
    random = np.random.default_rng(1)
    kinds = random.integers(0, 256, (300, 32), np.uint8)  # what photos have in common in their coarse bits
    for number in itertools.count():
        if number % EVENT_PHOTOS == 0:
            subject = random.normal(size=DIMENSIONS).astype(np.float32)
            alike = int(random.integers(2, 21)) if number // EVENT_PHOTOS % BURSTS == 0 else 0
            moment = None if number // EVENT_PHOTOS % TIMELESS == 0 else _moment(number)
            first = random.integers(0, 256, 32, np.uint8)
        if number >= photos:
            return
        if number % EVENT_PHOTOS < alike:
            yield _record(number, 0, _flipped(first, 24, random), _near(subject, 0.17, random), moment)
            continue
        mask = np.packbits(random.random(256) < 0.25)
        bits = kinds[random.integers(300)] ^ mask if number % 2 else random.integers(0, 256, 32, np.uint8)
        vector = _near(subject, 0.58, random)
        taken = None if random.random() < 0.1 else _moment(number)
        yield _record(number, 0, bits, vector, taken)
        if number % PLANTED["same"] == 1:
            planted["same"].add(frozenset(((number, 0), (number, 1))))
            yield _record(number, 1, _flipped(bits, 12, random), _near(vector, 0.2, random), None)
        if number % PLANTED["mirrored"] == 2:
            planted["mirrored"].add(frozenset(((number, 0), (number, 2))))
            mirrored = turned(bits[None], TURNS[1])[0]
            yield _record(number, 2, _flipped(mirrored, 12, random), _near(vector, 0.2, random), None)
        if number % PLANTED["cropped"] == 3:
            planted["cropped"].add(frozenset(((number, 0), (number, 3))))
            yield _record(number, 3, random.integers(0, 256, 32, np.uint8), _near(vector, 0.48, random), None)


def _moment(number: int) -> str:
    """A quarter of an hour after the one before."""
    return str(np.datetime64("2005-01-01T00:00:00") + np.timedelta64(900 * number, "s"))


def _near(vector: np.ndarray, spread: float, random: np.random.Generator) -> np.ndarray:
    """Another vector of unit length; a spread of 0.58 means a cosine of 0.86, two such have 0.75."""
    unit = vector / np.linalg.norm(vector)
    noise = random.standard_normal(DIMENSIONS, np.float32)
    moved = unit + spread * noise / np.linalg.norm(noise)
    return moved / np.linalg.norm(moved)


def _flipped(bits: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    flips = np.zeros(256, np.uint8)
    flips[random.integers(0, 256, random.integers(most + 1))] = 1
    return bits ^ np.packbits(flips)


def _record(number: int, variant: int, bits: np.ndarray, vector: np.ndarray, taken: str | None) -> Record:
    path = b"/photos/%04d/IMG_%07d%s.jpg" % (number // 250, number, b"abcd"[variant : variant + 1])
    outputs = {
        "signature": Output("signature.1", signature=bits.tobytes()),
        "embedding": Output(SPACE, embedding=vector.astype("<f2").tobytes()),
    }
    facts = Facts("jpeg", 6000, 4000, taken_at=taken)
    return Record(path, Stat(5_000_000 + number, number), _content(number, variant), facts, outputs)


def _picture(seed: int) -> np.ndarray:
    """uint8[342, 512, 3]: as rough at every scale, like photos."""
    random = np.random.default_rng(seed)
    picture = np.zeros((342, 512, 3), np.float32)
    for cells in (4, 8, 16, 32, 64, 128):
        layer = np.empty_like(picture, np.uint8)
        _native.resize(random.integers(0, 256, (cells * 2 // 3 + 1, cells, 3), np.uint8), layer)
        picture += layer.astype(np.float32) / cells**0.7
    return ((picture - picture.min()) / np.ptp(picture) * 255).astype(np.uint8)


def _jpeg(picture: np.ndarray, quality: int = 80) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=quality, colorsubsampling="420")


def _as_it_is(picture: np.ndarray) -> bytes:
    return _jpeg(picture)


def _again(picture: np.ndarray) -> bytes:
    return _jpeg(picture, 50)


def _mirrored(picture: np.ndarray) -> bytes:
    return _jpeg(picture[:, ::-1])


def _cropped(picture: np.ndarray) -> bytes:
    return _jpeg(picture[40:300, 60:450])


# -- quality ---------------------------------------------------------------------------------------

Edit = Callable[[np.ndarray], np.ndarray]


def _resized(frame: np.ndarray, share: float) -> np.ndarray:
    small = np.empty(
        (max(8, round(frame.shape[0] * share)), max(8, round(frame.shape[1] * share)), 3), np.uint8
    )
    _native.resize(np.ascontiguousarray(frame), small)
    return small


def _clipped(levels: np.ndarray) -> np.ndarray:
    return np.clip(levels, 0, 255).astype(np.uint8)


def _cut(frame: np.ndarray, share: float) -> np.ndarray:
    height, width = (round(edge * share) for edge in frame.shape[:2])
    top, left = (frame.shape[0] - height) // 3, (frame.shape[1] - width) * 2 // 3
    return frame[top : top + height, left : left + width]


def _written(frame: np.ndarray) -> np.ndarray:
    marked = frame.copy()
    height, width = frame.shape[:2]
    part = marked[int(height * 0.85) : int(height * 0.93), int(width * 0.6) : int(width * 0.95)]
    part[:] = part // 2 + 127
    return marked


EDITS: dict[str, tuple[Edit, int]] = {  # and the quality it is saved with
    "again": (lambda frame: frame, 60),
    "poor": (lambda frame: frame, 15),
    "half": (lambda frame: _resized(frame, 0.5), 85),
    "fifth": (lambda frame: _resized(frame, 0.2), 85),
    "bright": (lambda frame: _clipped(frame * 1.25 + 10.0), 88),
    "contrast": (lambda frame: _clipped((frame - 128.0) * 1.4 + 128), 88),
    "warm": (lambda frame: _clipped(frame * np.array([1.1, 1.0, 0.85])), 88),
    "grey": (lambda frame: _clipped(frame @ [0.299, 0.587, 0.114])[:, :, None].repeat(3, 2), 88),
    "written": (_written, 88),
    "crop97": (lambda frame: _cut(frame, 0.97), 88),
    "crop80": (lambda frame: _cut(frame, 0.8), 88),
    "crop60": (lambda frame: _cut(frame, 0.6), 88),
    "mirrored": (lambda frame: frame[:, ::-1], 88),
    "turned": (lambda frame: np.rot90(frame), 88),
}


def quality(folders: list[Path], is_labelled: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-duplicates-") as name:
        settings = Settings(catalog=Path(name) / "catalog")
        paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        if not is_labelled:
            paths = list(_edited(paths, Path(name), settings))
        _index(settings, paths)
        for depth in ("same", "near"):
            _report_quality(settings, depth)


def _edited(paths: list[Path], folder: Path, settings: Settings) -> Iterator[Path]:
    for number, (_, frame) in enumerate(_frames(paths, settings)):
        for edit, (change, jpeg_quality) in {"orig": (lambda frame: frame, 95), **EDITS}.items():
            path = folder / f"p_g{number:04d}_{edit}.jpg"
            path.write_bytes(_jpeg(change(frame), jpeg_quality))
            yield path


def _frames(paths: list[Path], settings: Settings) -> Iterator[tuple[Record, np.ndarray]]:
    slot = np.empty(settings.frame_edge_px**2 * 3, np.uint8)
    for path in paths:
        try:
            reading = read_frame(bytes(path), slot, settings)
        except PhotoError:
            continue
        frame = slot[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3).copy()
        yield Record(bytes(path), reading.stat, reading.content, reading.facts, {}), frame


def _index(settings: Settings, paths: list[Path]) -> None:
    import msgspec

    from catalogd.models.embedding import EmbeddingModel
    from catalogd.models.signature import SignatureModel

    models = [EmbeddingModel(settings, 2), SignatureModel(settings, 1)]
    for model in models:
        model.load()
    store = ThumbnailStore(settings)
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        for record, frame in _frames(paths, settings):
            store.put(record.content, frame)
            outputs = {model.name: model.run([frame])[0] for model in models}
            catalog.commit([msgspec.structs.replace(record, outputs=outputs)], PROFILE)
        catalog.follow(idle=True, force=True)


def _report_quality(settings: Settings, depth: str) -> None:
    """Of each edit the share that is in a group with its original, and the pairs of two groups."""
    with Catalog.open(settings.catalog, settings) as catalog:
        groups = [group for group in Duplicates(catalog, settings, depth).groups() if group.kind != "burst"]
        names = [record.path for record in catalog.iter_records()]
    together = [{g.keeper.path, *(member.photo.path for member in g.others)} for g in groups]
    of = {path: number for number, paths in enumerate(together) for path in paths}
    originals = {label[0]: path for path in names if (label := _label(path)) and label[1] == "orig"}
    found: dict[str, list[bool]] = collections.defaultdict(list)
    for path in names:
        if (label := _label(path)) and label[1] != "orig" and label[0] in originals:
            found[label[1]].append(path in of and of[path] == of.get(originals[label[0]]))
    wrong = sum(
        _label(a) is not None and _label(b) is not None and _label(a)[0] != _label(b)[0]  # type: ignore[index]
        for paths in together
        for a, b in itertools.combinations(paths, 2)
    )
    report(
        f"duplicates found, {depth}",
        originals=len(originals),
        photos=len(names),
        wrong_pairs=wrong,
        **{edit: float(np.mean(right)) for edit, right in sorted(found.items())},
    )


def _label(path: bytes) -> tuple[str, str] | None:
    match = re.search(r"_(g\d+)_([a-z0-9]+)\.", path.rpartition(b"/")[2].decode())
    return (match[1], match[2]) if match else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    questions = parser.add_subparsers(dest="question", required=True)
    costs = questions.add_parser("cost")
    costs.add_argument("--photos", type=int, default=500_000)
    costs.add_argument("--folder", help="where to write (default: the folder for temporary files)")
    costs.add_argument("--depths", nargs="+", default=["exact", "same", "near"])
    qualities = questions.add_parser("quality")
    qualities.add_argument("folders", nargs="+", type=Path)
    qualities.add_argument("--labelled", action="store_true")
    arguments = parser.parse_args()
    if arguments.question == "cost":
        cost(arguments.photos, arguments.folder, arguments.depths)
    else:
        quality(arguments.folders, arguments.labelled)


if __name__ == "__main__":
    main()
