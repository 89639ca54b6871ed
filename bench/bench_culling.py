"""Does culling pick the right shot, and what does it cost? One JSON line a question.

    python bench/bench_culling.py quality FOLDER …      of photos: variants that must rank behind the original
    python bench/bench_culling.py series FOLDER …       made panoramas, focus stacks, and what is neither
    python bench/bench_culling.py cost --photos 10000   CPU and memory of `cull` on a catalog

`quality` makes from each photo shots that are blurred, shaken, too bright and too dark, measures all with the
models of quality, faces and objects, and counts how often the original ranks first. Light is asked of well
exposed photos alone. Beside it stands what a script would do: sort by the sharpness of the whole picture.

`series` renders what a turning camera would see of a photo, tilted, brightened and with noise, as a panorama;
hand-held shots of one view and successive photos of other things must not be called one.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from measure import report, timed
from synthetic import PROFILE, batched

from catalogd import _native
from catalogd.catalog import Catalog
from catalogd.culling import cull, protected_series
from catalogd.culling.alignment import Outline
from catalogd.culling.ranking import rank
from catalogd.culling.series import TURN_SCORE, find_series
from catalogd.culling.shots import Shot, shot_of
from catalogd.errors import PhotoError
from catalogd.images import read_frame
from catalogd.query.searcher import Searcher
from catalogd.records import Change, Face, Facts, Output, Quality, Record, Stat
from catalogd.settings import Settings

Frame = np.ndarray
COMMIT_RECORDS = 1000
DIMENSIONS = 1280
MOMENT_PHOTOS = 6
SPACE = "bench embedder"
WIDE_DEG = 75.0  # the angle of view that is taken for a photo's: 24 mm on 36 x 24 mm
WELL_EXPOSED = 0.02  # of pixels that are clipped: of other photos nobody knows whether less light is worse


# -- quality ---------------------------------------------------------------------------------------


def _blurred(frame: Frame, sigma: float) -> Frame:
    import cv2

    found: Frame = cv2.GaussianBlur(frame, (0, 0), sigma)
    return found


def _shaken(frame: Frame, length: int) -> Frame:
    import cv2

    found: Frame = cv2.filter2D(frame, -1, np.full((1, length), 1 / length, np.float32))
    return found


def _exposed(frame: Frame, stops: float) -> Frame:
    linear = (frame / 255.0) ** 2.2 * 2**stops
    return (np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


VARIANTS: dict[str, Callable[[Frame], Frame]] = {
    "blur_1px": lambda frame: _blurred(frame, 1.0),
    "blur_2px": lambda frame: _blurred(frame, 2.0),
    "blur_4px": lambda frame: _blurred(frame, 4.0),
    "shake_5px": lambda frame: _shaken(frame, 5),
    "shake_15px": lambda frame: _shaken(frame, 15),
    "plus_1ev": lambda frame: _exposed(frame, 1.0),
    "plus_2ev": lambda frame: _exposed(frame, 2.0),
    "minus_2ev": lambda frame: _exposed(frame, -2.0),
}


def quality(folders: list[Path]) -> None:
    from catalogd.models.faces import FacesModel
    from catalogd.models.objects import ObjectsModel
    from catalogd.models.quality import QualityModel

    settings = Settings()
    models = [kind(settings, 1) for kind in (QualityModel, FacesModel, ObjectsModel)]
    for model in models:
        model.load()
    over: dict[str, list[bool]] = {name: [] for name in VARIANTS}
    by_sharpness: dict[str, list[bool]] = {name: [] for name in VARIANTS}
    first: list[bool] = []
    for frame in _frames(folders, settings):
        frames = [frame, *(change(frame) for change in VARIANTS.values())]
        shots = [_shot({m.name: m.run([one])[0] for m in models}, i) for i, one in enumerate(frames)]
        order = [ranked.shot for ranked in rank(shots[1:] + shots[:1])]
        is_clean = _is_well_exposed(shots[0])
        if is_clean:
            first.append(order[0] is shots[0])
        for name, shot in zip(VARIANTS, shots[1:], strict=True):
            if name.endswith("ev") and not is_clean:
                continue
            pair = rank([shot, shots[0]])  # the variant first: a tie is lost
            over[name].append(pair[0].shot is shots[0])
            by_sharpness[name].append(shots[0].quality.sharpness > shot.quality.sharpness)  # type: ignore[union-attr]
    for how, found in (("culling", over), ("sharpness alone", by_sharpness)):
        report(
            f"original over its variant, {how}",
            photos=len(over["blur_1px"]),
            well_exposed=len(first),
            **{name: float(np.mean(v)) for name, v in found.items()},
        )
    report("original first of all nine", well_exposed=len(first), share=float(np.mean(first)))


def _is_well_exposed(shot: Shot) -> bool:
    quality = shot.quality
    return quality is not None and max(quality.clipped_high, quality.clipped_low) < WELL_EXPOSED


def _frames(folders: list[Path], settings: Settings) -> Iterator[Frame]:
    slot = np.empty(settings.frame_edge_px**2 * 3, np.uint8)
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        try:
            reading = read_frame(bytes(path), slot, settings)
        except PhotoError:
            continue
        if min(reading.height, reading.width) >= 200:
            yield slot[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3).copy()


def _shot(outputs: dict[str, Output], number: int, taken_at: str | None = None, **facts: object) -> Shot:
    said = Facts("jpeg", 640, 480, taken_at=taken_at, camera="Camera", **facts)  # type: ignore[arg-type]
    name = b"%d" % number
    return shot_of([Record(b"/" + name, Stat(1, 1), name.zfill(16), said, outputs, photo_id=number + 1)])


# -- series ----------------------------------------------------------------------------------------


def series(folders: list[Path]) -> None:
    random = np.random.default_rng(1)
    frames = list(_frames(folders, Settings()))
    views = {
        "panorama, overlap 70 %": lambda f: _views(f, [-18, -6, 6, 18], 40, random),
        "panorama, overlap 50 %": lambda f: _views(f, [-17, 0, 17], 34, random),
        "panorama, overlap 30 %": lambda f: _views(f, [-20, 0, 20], 28, random),
        "hand-held": lambda f: _views(f, random.uniform(-1.5, 1.5, 5).tolist(), 40, random),
        "focus stack": lambda f: _focused(f, 5),
        "one that is shaken": lambda f: [_blurred(f, s) for s in (0.1, 2.0, 0.5, 3.0, 0.2)],
    }
    for name, make in views.items():
        found, scores = [], []
        for frame in frames:
            pictures = [np.ascontiguousarray(one) for one in make(frame)]
            found.append(_kinds(pictures))
            pairs = itertools.pairwise(map(Outline, pictures))
            scores += [shift.score for a, b in pairs if (shift := a.shift_to(b)) is not None]
        _report_series(name, found, scores)
    others = [_scaled(frame) for frame in frames]
    scores = [
        s.score for a, b in itertools.pairwise(map(Outline, others)) if (s := a.shift_to(b)) is not None
    ]
    runs = [others[at : at + 5] for at in range(0, len(others) - 4, 2)]
    _report_series("other things", [_kinds(run) for run in runs], scores)


def _report_series(name: str, found: list[set[str]], scores: list[float]) -> None:
    kinds = ("panorama", "focus stack", "bracket")
    report(
        f"series, {name}",
        runs=len(found),
        score_5=float(np.percentile(scores, 5)),
        score_50=float(np.percentile(scores, 50)),
        score_95=float(np.percentile(scores, 95)),
        above=float(np.mean(np.array(scores) >= TURN_SCORE)),
        **{kind: float(np.mean([kind in one for one in found])) for kind in kinds},
    )


def _views(frame: Frame, pans_deg: list[float], view_deg: float, random: np.random.Generator) -> list[Frame]:
    """What a camera of this angle of view sees that turns before the frame, which is one of WIDE_DEG.

    Held in the hand: tilted and pitched by a degree, as bright as metered, with noise.
    """
    import cv2

    height, width = frame.shape[:2]
    wide_px = width / 2 / np.tan(np.radians(WIDE_DEG / 2))
    shape = (round(wide_px * 2 * np.tan(np.radians(view_deg / 2))), round(height * 0.6))
    found = []
    for pan in pans_deg:
        turn = _rotation(pan, *random.uniform(-1, 1, 2))
        to_view = _camera(wide_px, *shape) @ turn @ np.linalg.inv(_camera(wide_px, width, height))
        view = cv2.warpPerspective(frame, to_view, shape, borderMode=cv2.BORDER_REFLECT)
        noisy = view * random.uniform(0.9, 1.1) + random.normal(0, 4, view.shape)
        found.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return found


def _camera(focal_px: float, width: int, height: int) -> np.ndarray:
    return np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])


def _rotation(pan_deg: float, pitch_deg: float, tilt_deg: float) -> np.ndarray:
    import cv2

    pan, pitch, tilt = (
        cv2.Rodrigues(np.radians(angle) * np.array(axis, float))[0]
        for angle, axis in ((-pan_deg, (0, 1, 0)), (pitch_deg, (1, 0, 0)), (tilt_deg, (0, 0, 1)))
    )
    return np.array(tilt @ pitch @ pan)


def _focused(frame: Frame, count: int) -> list[Frame]:
    """The frame with its focus going from the bottom to the top, as on a table."""
    depth = np.linspace(1, 0, frame.shape[0])[:, None, None]
    soft = [frame.astype(np.float32), *(_blurred(frame, s).astype(np.float32) for s in (1.5, 3.0, 6.0))]
    return [
        _at_depth(soft, np.abs(depth - focus) * 6).astype(np.uint8) for focus in np.linspace(0.1, 0.9, count)
    ]


def _at_depth(soft: list[Frame], blur: np.ndarray) -> Frame:
    level = np.clip(blur, 0, len(soft) - 1.001)
    low = level.astype(int)
    share = level - low
    stack = np.stack(soft)
    rows = np.arange(stack.shape[1])
    below, above = (stack[at[:, 0, 0], rows] for at in (low, low + 1))
    return below * (1 - share) + above * share


def _scaled(frame: Frame) -> Frame:
    small = np.empty((480, 640, 3), np.uint8)
    _native.resize(np.ascontiguousarray(frame), small)
    return small


def _kinds(pictures: list[Frame]) -> set[str]:
    """The series that are found when these are shots of one camera, a second apart, at one exposure."""
    quality, signature = _models()
    shots = [
        _shot(
            {"quality": quality.run([one])[0], "signature": signature.run([one])[0]},
            number,
            f"2024-05-01T10:00:{number:02d}.0",
            exposure_s=0.01,
            aperture=8.0,
            iso=100,
            focal_mm=35.0,
        )
        for number, one in enumerate(pictures)
    ]
    outlines = {shot.photo.photo_id: Outline(one) for shot, one in zip(shots, pictures, strict=True)}
    return {one.kind for one in find_series(shots, lambda shot: outlines[shot.photo.photo_id])}


def _models() -> tuple[object, object]:
    from catalogd.models.quality import QualityModel
    from catalogd.models.signature import SignatureModel

    return QualityModel(Settings(), 1), SignatureModel(Settings(), 1)  # type: ignore[return-value]


# -- cost ------------------------------------------------------------------------------------------


def cost(photos: int, folder: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-culling-", dir=folder) as name:
        settings = Settings(catalog=Path(name))
        _fill(settings, photos)
        with Catalog.open(settings.catalog, settings) as catalog:
            ids = catalog.columns().ids.tolist()
            series = timed(lambda: list(protected_series(catalog, settings)), time.process_time)
            report("series of a library", photos=photos, cpu_s=series)
            moments: list[object] = []
            cpu_s = timed(lambda: moments.extend(cull(catalog, settings, ids)), time.process_time)
            peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            report("cull", photos=photos, moments=len(moments), cpu_s=cpu_s, peak_mib=peak_mib)
        with Searcher(settings) as searcher:
            found_s = timed(lambda: searcher.search("camera:Camera", photos), time.process_time)
        report("photos of a query, with reasons", photos=photos, cpu_s=found_s)


def _fill(settings: Settings, photos: int) -> None:
    """A shoot: six shots of each thing, a second apart, half a minute from one thing to the next."""
    from catalogd.thumbnails import ThumbnailStore

    random = np.random.default_rng(1)
    store = ThumbnailStore(settings)
    pictures = [_drawn(random) for _ in range(7)]
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        for numbers in batched(range(photos), COMMIT_RECORDS):
            catalog.commit([_record(n, random, pictures, store) for n in numbers], PROFILE)
        catalog.follow(idle=True, force=True)


def _drawn(random: np.random.Generator) -> Frame:
    picture = np.empty((480, 640, 3), np.uint8)
    _native.resize(random.integers(0, 256, (12, 16, 3)).astype(np.uint8), picture)
    return picture


_MIDDLES: dict[int, tuple[np.ndarray, int]] = {}  # the thing of this shot: its embedding and signature


def _record(number: int, random: np.random.Generator, pictures: list[Frame], store: object) -> Change:
    thing = number // MOMENT_PHOTOS
    if thing not in _MIDDLES:
        _MIDDLES.clear()
        _MIDDLES[thing] = random.normal(size=DIMENSIONS), int.from_bytes(random.bytes(32), "big")
    middle, bits = _MIDDLES[thing]
    vector = middle + random.normal(size=DIMENSIONS) * 0.5
    signature = bits ^ sum(1 << bit for bit in set(random.integers(0, 256, 8).tolist()))
    seconds = thing * 36 + number % MOMENT_PHOTOS
    content = b"%016d" % number
    store.put(content, pictures[number % len(pictures)])  # type: ignore[attr-defined]
    taken_at = str(np.datetime64("2024-05-01T00:00:00") + np.timedelta64(seconds, "s"))
    facts = Facts(
        "jpeg",
        6000,
        4000,
        camera="Camera",
        taken_at=taken_at,
        iso=100,
        exposure_s=0.01,
        aperture=4.0,
        focal_mm=35.0,
    )
    face = Face((0.4, 0.3, 0.1, 0.2), ((0.42, 0.35),) * 5, 0.9, float(random.uniform()))
    tiles = random.integers(0, 256, 64).astype(np.uint8).tobytes()
    measured = Quality(
        float(random.uniform(0, 100)), 20.0, 0.5, 0.4, 0.0, 0.0, 2.0, 30.0, sharpness_tiles=tiles
    )
    outputs = {
        "embedding": Output(SPACE, embedding=(vector / np.linalg.norm(vector)).astype("<f2").tobytes()),
        "faces": Output("faces", faces=(face,)),
        "quality": Output("quality", quality=measured),
        "signature": Output("signature", signature=signature.to_bytes(32, "big")),
    }
    return Record(b"/photos/IMG_%06d.jpg" % number, Stat(5_000_000 + number, 1), content, facts, outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("quality", "series"):
        commands.add_parser(name).add_argument("folders", nargs="+", type=Path)
    asked = commands.add_parser("cost")
    asked.add_argument("--photos", type=int, default=10_000)
    asked.add_argument("--folder")
    arguments = parser.parse_args()
    if arguments.command == "cost":
        cost(arguments.photos, arguments.folder)
    else:
        {"quality": quality, "series": series}[arguments.command](arguments.folders)


if __name__ == "__main__":
    main()
