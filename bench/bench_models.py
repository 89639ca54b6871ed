"""What do the models cost and find? One question a word; one JSON line each row.

    python bench/bench_models.py cpu      CPU ms a photo, each model and all, on 1280x853 frames
    python bench/bench_models.py text     size of text detection against recall and CPU
    python bench/bench_models.py faces    size of face detection against smallest face and CPU
    python bench/bench_models.py joint --labelled FOLDER   ConSE variants: does a word find its photos
    python bench/bench_models.py cold     what a query waits for before its words are a vector
    python bench/bench_models.py embed_cpu   a ViT-B/32 in ONNX: batches from the ring, or one at a time

Of the profile studio, on a GPU where there is one: pipeline, batched, blip2, vit_l14, busy, copies; studio.py
says what each of them asks.

Frames are made of the photos that scikit-image carries; `--photos FOLDER` takes others. One thread a
model; CPU time of the process, so that other work on the machine is not in it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from catalogd.models import Model, embedding, faces, joint, registry, text
from catalogd.settings import Settings

FRAME_SIZE_PX = (1280, 853)  # of a 24-MP photo
ROUNDS = 5
SKIMAGE_PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "grass.png",
)
WORDS = ("harbour", "station", "library", "morning", "kitchen", "weather", "village", "october", "bicycle")


def report(question: str, **row: Any) -> None:
    print(json.dumps({"question": question, **row}), flush=True)


def load_frames(folder: Path | None, limit: int = 16) -> list[np.ndarray]:
    """Photos as 1280x853 frames, cut to that shape and enlarged where they are smaller."""
    if folder is None:
        import skimage

        data = Path(skimage.__file__).parent / "data"
        paths = [data / name for name in SKIMAGE_PHOTOS if (data / name).is_file()]
    else:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
    frames = []
    for path in paths:
        with contextlib.suppress(UnidentifiedImageError, OSError), Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            frames.append(np.array(ImageOps.fit(upright, FRAME_SIZE_PX, Image.Resampling.LANCZOS)))
        if len(frames) == limit:
            break
    return frames


def cpu_ms(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1000


@contextlib.contextmanager
def changed(module: Any, **values: Any) -> Iterator[None]:
    """Constants of a module, changed for one measurement."""
    before = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


# ---------------------------------------------------------------- cpu


def bench_cpu(settings: Settings, arguments: argparse.Namespace) -> None:
    frames = load_frames(arguments.photos)
    models = registry.profile_models("starter", settings, threads=1)
    reader = text.TextModel(settings, 1)
    reader.load()
    frames = [frame for frame in frames if not reader.run([frame])[0].text_lines]
    total = 0.0
    for model in models:
        start = time.process_time()
        model.load()
        load_ms = (time.process_time() - start) * 1000
        ms = cpu_ms(lambda model=model: model.run(frames)) / len(frames)  # type: ignore[misc]
        total += ms if model.name != "objects" else 0.0
        report("cpu", model=model.name, cpu_ms_per_photo=round(ms, 1), load_cpu_ms=round(load_ms))
        model.unload()
    report("cpu", model="all but objects", cpu_ms_per_photo=round(total, 1), photos=len(frames))


# ---------------------------------------------------------------- text


def written_on(frames: list[np.ndarray], height_px: int) -> list[tuple[np.ndarray, set[str]]]:
    """Each frame with two words somewhere on it, in letters of about `height_px`, and these words."""
    random = np.random.default_rng(height_px)
    font = ImageFont.load_default(size=height_px / 0.72)  # capitals are 0.72 of the font size
    photos = []
    for frame in frames:
        image = Image.fromarray(frame)
        words = [str(word) for word in random.choice(WORDS, 2, replace=False)]
        place = (int(random.integers(20, 700)), int(random.integers(20, 780)))
        around = frame[place[1] : place[1] + 40, place[0] : place[0] + 200].mean()
        ImageDraw.Draw(image).text(
            place, " ".join(words), fill="white" if around < 128 else "black", font=font
        )
        photos.append((np.array(image), set(words)))
    return photos


def bench_text(settings: Settings, arguments: argparse.Namespace) -> None:
    frames = load_frames(arguments.photos)
    model = text.TextModel(settings, 1)
    model.load()
    written = {height: written_on(frames, height) for height in (8, 11, 14, 18, 24, 36)}
    looks = [(edge, 0.3, edge) for edge in (1280, 960, 736, 640, 480, 320)]
    looks += [
        (edge, fires, 1280) for edge, fires in ((736, 0.2), (640, 0.3), (640, 0.2), (640, 0.1), (480, 0.2))
    ]
    for coarse, fires, fine in looks:
        with changed(text, _COARSE_EDGE_PX=coarse, _FIRES=fires, _FINE_EDGE_PX=fine):
            recall = {height: word_recall(model, photos) for height, photos in written.items()}
            plain_ms = cpu_ms(lambda: model.run(frames), rounds=1) / len(frames)
            start = time.process_time()
            model.run([frame for frame, _ in written[18]])
            text_ms = (time.process_time() - start) * 1000 / len(frames)
        report(
            "text",
            coarse_px=coarse,
            fires=fires,
            fine_px=fine,
            recall_by_letter_height_px=recall,
            cpu_ms_without_text=round(plain_ms, 1),
            cpu_ms_with_text=round(text_ms, 1),
        )


def word_recall(model: Model, photos: list[tuple[np.ndarray, set[str]]]) -> float:
    found = 0
    for frame, words in photos:
        lines = model.run([frame])[0].text_lines or ()
        found += len(words & {word for line in lines for word in line.text.lower().split()})
    return round(found / sum(len(words) for _, words in photos), 3)


# ---------------------------------------------------------------- faces


def bench_faces(settings: Settings, arguments: argparse.Namespace) -> None:
    """A portrait pasted ever smaller onto a photo without faces."""
    portrait, background = load_frames(None)[0], load_frames(None)[2]
    model = faces.FacesModel(settings, 1)
    model.load()
    box = (model.run([portrait])[0].faces or ())[0].box
    face_px = box[2] * FRAME_SIZE_PX[0]
    for edge in (480, 640, 960, 1280):
        with changed(faces, _DETECTION_EDGE_PX=edge):
            found = {}
            for width_px in (10, 12, 15, 20, 25, 30, 40, 60):
                found[width_px] = bool(model.run([pasted(portrait, background, width_px / face_px)])[0].faces)
            ms = cpu_ms(lambda: model.run([background]))
        report("faces", edge_px=edge, found_by_face_width_px=found, cpu_ms_without_face=round(ms, 1))
    report("faces", edge_px="as set", cpu_ms_with_one_face=round(cpu_ms(lambda: model.run([portrait])), 1))


def pasted(portrait: np.ndarray, background: np.ndarray, scale: float) -> np.ndarray:
    image = Image.fromarray(background)
    small = Image.fromarray(portrait)
    small = small.resize((round(small.width * scale), round(small.height * scale)), Image.Resampling.LANCZOS)
    image.paste(small, (600, 300))
    return np.array(image)


# ---------------------------------------------------------------- joint


def bench_joint(settings: Settings, arguments: argparse.Namespace) -> None:
    """FOLDER/MANIFEST.tsv: columns path and label, a label being {"objects": […], "captions": […]}."""
    photos = list(labelled(arguments.labelled))
    model = embedding.EmbeddingModel(settings, 1)
    model.load()
    encoder = joint.TextEncoder(model.fingerprint, settings)
    names = sorted({name for _, label in photos for name in label["objects"]})
    truth = np.array([[name in label["objects"] for _, label in photos] for name in names])
    names = [name for name, row in zip(names, truth, strict=True) if row.sum() >= 2]
    truth = truth[truth.sum(axis=1) >= 2]
    captions = [(i, words) for i, (_, label) in enumerate(photos) for words in label.get("captions", [])[:2]]
    frames = [frame for frame, _ in photos]
    queries = encoder.encode(names)
    caption_vectors = encoder.encode([words for _, words in captions])
    for labels, evenness in ((10, 1.0), (20, 1.0), (10, 0.4), (20, 0.4), (50, 0.4), (100, 0.4), (50, 0.2)):
        with changed(joint, _TOP_LABELS=labels, _EVENNESS=evenness):
            vectors = np.array([np.frombuffer(output.joint_embedding, "<f2") for output in model.run(frames)])
        precision = [
            average_precision(row, hits) for row, hits in zip(queries @ vectors.T, truth, strict=True)
        ]
        scores = caption_vectors @ vectors.T
        ranks = [(row > row[i]).sum() + 1 for row, (i, _) in zip(scores, captions, strict=True)]
        report(
            "joint",
            labels=labels,
            evenness=evenness,
            mean_average_precision=round(float(np.mean(precision)), 3),
            by_halves=[round(float(np.mean(precision[half::2])), 3) for half in (0, 1)],
            chance=round(float(truth.mean()), 3),
            caption_reciprocal_rank=round(float(np.mean(1 / np.array(ranks))), 3),
            caption_in_top_5=round(float(np.mean(np.array(ranks) <= 5)), 3),
            photos=len(photos),
            names=len(names),
        )


def labelled(folder: Path) -> Iterator[tuple[np.ndarray, dict[str, list[str]]]]:
    with (folder / "MANIFEST.tsv").open(newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["label"].startswith('{"objects"'):
                label = json.loads(row["label"])
                label["objects"] = [name.lower() for name in label["objects"]]
                with Image.open(folder / row["path"]) as image:
                    yield np.array(ImageOps.exif_transpose(image).convert("RGB")), label


def average_precision(scores: np.ndarray, hits: np.ndarray) -> float:
    ranked = hits[np.argsort(-scores)]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())


# ---------------------------------------------------------------- cold


COLD = """
import time
start = time.process_time()
from pathlib import Path
from catalogd.models import registry
from catalogd.settings import Settings
encoder = registry.text_encoder("starter", Settings(model_cache=Path({cache!r})))
loaded = time.process_time()
encoder.encode(["a cat on a sofa"])
print(round((loaded - start) * 1000), round((time.process_time() - loaded) * 1000))
"""


def bench_cold(settings: Settings, arguments: argparse.Namespace) -> None:
    command = [sys.executable, "-c", COLD.format(cache=str(settings.model_cache))]
    subprocess.run(command, check=True, capture_output=True)  # fills the cache
    runs = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append([*map(int, answer.stdout.split()), (time.perf_counter() - start) * 1000])
    load, first, wall = (round(statistics.median(column)) for column in zip(*runs, strict=True))
    report("cold", load_cpu_ms=load, first_encode_cpu_ms=first, process_wall_ms=wall)


# ---------------------------------------------------------------- in files of their own


def bench_embed_cpu(settings: Settings, arguments: argparse.Namespace) -> None:
    import bench_embed

    bench_embed.bench_embed_cpu(settings, arguments)


def bench_studio(settings: Settings, arguments: argparse.Namespace) -> None:
    import studio

    studio.ASKED[arguments.question](load_frames(arguments.photos), arguments)


QUESTIONS = {
    "cpu": bench_cpu,
    "text": bench_text,
    "faces": bench_faces,
    "joint": bench_joint,
    "cold": bench_cold,
    "embed_cpu": bench_embed_cpu,
    **dict.fromkeys(("pipeline", "batched", "blip2", "vit_l14", "busy", "copies"), bench_studio),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("--photos", type=Path, help="a folder of photos instead of scikit-image's")
    parser.add_argument("--labelled", type=Path, help="a folder with MANIFEST.tsv, for joint")
    parser.add_argument(
        "--size", choices=("auto", "true", "small"), default="auto", help="of studio's models"
    )
    parser.add_argument("--weights", type=Path, help="where random weights are kept for the next time")
    parser.add_argument("--models", help="ids with commas between, for batched")
    parser.add_argument("--images", type=int, help="so many, for pipeline and busy")
    parser.add_argument("--trace", type=Path, help="where copies writes its trace, for chrome://tracing")
    arguments = parser.parse_args()
    if arguments.question == "joint" and arguments.labelled is None:
        parser.error("joint needs --labelled")
    QUESTIONS[arguments.question](Settings(), arguments)


if __name__ == "__main__":
    main()
