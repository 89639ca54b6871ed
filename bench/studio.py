"""What the models of the profile `studio` cost, in their true architecture with random weights.

    python bench/bench_models.py pipeline    all of them and the whole pipeline, images/s, each model's share
    python bench/bench_models.py batched     each model at 1, 8, 32, 64 frames
    python bench/bench_models.py blip2       caption and four questions at once, against five calls
    python bench/bench_models.py vit_l14     ViT-L/14: images/s, and the share of what matrices reach there
    python bench/bench_models.py busy        how much of the time the GPU works during a run
    python bench/bench_models.py copies      copies to the GPU a photo, and what they overlap with

On a GPU sizes are true. Without one they are `small` (random_models.py), rows say device cpu, and what only a
GPU can show is said not to be measured. `--size true` asks for true sizes anywhere.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import random_models
from measure import report

from catalogd.models import choices, devices, registry
from catalogd.models.batches import Batch
from catalogd.models.devices import Device
from catalogd.records import Record, Task
from catalogd.settings import GiB, Settings

PROFILE = "studio"
QUESTIONS = (
    "Is this photo taken indoors?",
    "How many people are there?",
    "What is the weather like?",
    "What is the main colour?",
)
NO_GPU = "no GPU: not measured"
COUNTS, COUNTS_CPU = (1, 8, 32, 64), (1, 8)  # frames at once
ROUNDS = 3
SAMPLE_EVERY_S = 0.1
PEAK_EDGE, PEAK_EDGE_CPU = 8192, 2048  # of the matrices that show what the machine reaches

Frames = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Studio:
    """Random weights in a model path, the settings that find them, and where models run."""

    settings: Settings
    device: Device
    size: random_models.Size

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Studio:
        device = devices.chosen("auto")[0]
        is_true = arguments.size == "true" or (arguments.size == "auto" and device.is_gpu)
        kind = "true" if is_true else "small"
        folder = arguments.weights or Path(tempfile.gettempdir()) / "catalogd-random-models"
        place = folder / kind
        place.mkdir(parents=True, exist_ok=True)
        asked = place / "questions.txt"
        asked.write_text("\n".join(QUESTIONS), "utf-8")
        settings = Settings(
            catalog=place / "catalog",
            model_cache=place / "cache",
            model_path=place / "weights",
            profile=PROFILE,
            questions=asked,
            batch=32 if device.is_gpu else 8,
            ring_bytes=GiB if device.is_gpu else GiB // 4,
        )
        return cls(settings, device, random_models.TRUE if is_true else random_models.SMALL)

    @property
    def facts(self) -> dict[str, Any]:
        return {"device": self.device.name, "size": "true" if self.size.is_true else "small"}

    def model(self, model_id: str) -> Any:
        """A model with random weights, loaded as the product loads it."""
        self.prepare([model_id])
        threads = 0 if self.device.is_gpu else 1
        made = registry.profile_models("starter", self.settings, threads, self.device, (), [model_id])
        if not made:
            raise SystemExit(f"{model_id}: {registry.obstacle(registry.entry_of(model_id), self.settings)}")
        made[0].load()
        return made[0]

    def prepare(self, ids: Sequence[str]) -> None:
        assert self.settings.model_path is not None
        for model_id in ids:
            if model_id in random_models.MAKERS:
                random_models.make(model_id, self.settings.model_path, self.size)
            entry = registry.entry_of(model_id)
            if not registry.is_accepted(entry, self.settings):
                choices.accept(self.settings, model_id, entry.licence)

    def timed(self, work: Callable[[], Any], rounds: int = ROUNDS) -> float:
        """Seconds of `work`, the median after a first time: of the wall on a GPU, of CPU without one."""
        clock = time.perf_counter if self.device.is_gpu else time.process_time
        work()
        times = []
        for _ in range(rounds):
            start = clock()
            work()
            times.append(clock() - start)
        return statistics.median(times)


def cycled(frames: Frames, count: int) -> list[np.ndarray]:
    return [frames[index % len(frames)] for index in range(count)]


def run_fresh(model: Any, frames: Frames, device: Device) -> list[Any]:
    """The model on a batch that nobody has looked at yet."""
    batch = Batch(frames, device)
    try:
        outputs: list[Any] = model.run(batch)
        return outputs
    finally:
        batch.close()


# ── batched ───────────────────────────────────────────────────────────────────────────────────


def bench_batched(frames: Frames, arguments: argparse.Namespace) -> None:
    studio = Studio.of(arguments)
    ids = arguments.models.split(",") if arguments.models else list(random_models.MAKERS)
    for model_id in ids:
        start = time.perf_counter()
        model = studio.model(model_id)
        load_s = time.perf_counter() - start
        report("batched", model=model_id, load_s=load_s, **studio.facts, **_by_count(studio, model, frames))
        model.unload()


def _by_count(studio: Studio, model: Any, frames: Frames) -> dict[str, Any]:
    counts = COUNTS if studio.device.is_gpu else COUNTS_CPU
    rounds = ROUNDS if studio.device.is_gpu else 1
    ms, errors = {}, set()
    for count in counts:
        some = cycled(frames, count)
        try:
            seconds = studio.timed(lambda some=some: run_fresh(model, some, studio.device), rounds)
        except MemoryError:
            ms[count] = None
            continue
        ms[count] = round(seconds * 1000 / count, 2)
        errors |= {output.error for output in run_fresh(model, some, studio.device) if output.error}
    known = [value for value in ms.values() if value]
    return {
        "ms_a_photo_by_batch": ms,
        "ratio": ms[1] / min(known) if ms[1] else None,
        "images_per_s": 1000 / min(known),
        **({"errors": sorted(errors)} if errors else {}),
    }


# ── BLIP-2 ────────────────────────────────────────────────────────────────────────────────────


def bench_blip2(frames: Frames, arguments: argparse.Namespace) -> None:
    """Ours: a batch of photos with all prompts. Theirs: transformers' documented call, five times a photo."""
    studio = Studio.of(arguments)
    some = cycled(frames, 32 if studio.device.is_gpu else 4)
    for model_id in ("blip-2-flan-t5-xl", "blip-2-opt-2.7b"):
        model = studio.model(model_id)
        ours = studio.timed(lambda model=model: run_fresh(model, some, studio.device), 1) / len(some)
        few = some[:8] if studio.device.is_gpu else some[:2]
        calls = functools.partial(_five_calls, studio, model)
        theirs = studio.timed(lambda few=few, calls=calls: [calls(frame) for frame in few], 1) / len(few)
        outputs = run_fresh(model, some, studio.device)
        report(
            "blip2",
            model=model_id,
            **studio.facts,
            photos_at_once=len(some),
            ours_ms_a_photo=ours * 1000,
            five_calls_ms_a_photo=theirs * 1000,
            ratio=theirs / ours,
            reach=4.0,
            caption_words=statistics.mean(len((output.caption or "").split()) for output in outputs),
        )
        model.unload()


def _five_calls(studio: Studio, captioner: Any, frame: np.ndarray) -> None:
    """One photo, a call of `Blip2ForConditionalGeneration.generate` for each prompt."""
    import torch

    model = captioner._model
    batch = Batch([frame], studio.device)
    pixels = batch.tensor(captioner._look, model.dtype)
    places = [model.config.image_token_id] * model.config.num_query_tokens
    with torch.inference_mode():
        for prompt in captioner._prompts:
            ids = torch.tensor([[*places, *prompt]], device=pixels.device)
            mask = torch.ones_like(ids)
            model.generate(
                pixel_values=pixels, input_ids=ids, attention_mask=mask, max_new_tokens=40, do_sample=False
            )
    batch.close()


# ── ViT-L/14 ──────────────────────────────────────────────────────────────────────────────────


def bench_vit_l14(frames: Frames, arguments: argparse.Namespace) -> None:
    studio = Studio.of(arguments)
    model = studio.model("vit-l-14-openai")
    count = 64 if studio.device.is_gpu else 8
    some = cycled(frames, count)
    whole_s = studio.timed(lambda: run_fresh(model, some, studio.device)) / count
    batch = Batch(some, studio.device)  # looked at once: only the network is left to time
    network_s = studio.timed(lambda: model.run(batch)) / count
    batch.close()
    peak = _matmul_flops(studio)
    flops = vit_flops(studio.size.narrow(1024), 24, 224 // 14, 14)
    report(
        "vit_l14",
        **studio.facts,
        images_per_s=1 / whole_s,
        images_per_s_looked_at=1 / network_s,
        gflop_an_image=flops / 1e9,
        matmul_tflops=peak / 1e12,
        share_of_matmul=flops / network_s / peak,
        share_of_matmul_with_look=flops / whole_s / peak,
        reach=0.4,
    )


def vit_flops(width: int, layers: int, cells: int, patch_px: int) -> float:
    """Multiplications and additions of a vision transformer for one picture of cells x cells patches."""
    tokens = cells**2 + 1
    a_layer = 24 * width**2 * tokens + 4 * tokens**2 * width  # projections and MLP; attention
    return layers * a_layer + 2 * 3 * patch_px**2 * width * cells**2


def _matmul_flops(studio: Studio) -> float:
    """What a product of two large matrices reaches in the precision that models have there."""
    import torch

    edge = PEAK_EDGE if studio.device.is_gpu else PEAK_EDGE_CPU
    dtype = torch.bfloat16 if studio.device.is_gpu else torch.float32
    one, other = (torch.randn(edge, edge, device=studio.device.label, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        for _ in range(10):
            one @ other
        if studio.device.is_gpu:
            torch.cuda.synchronize()

    return 10 * 2 * edge**3 / studio.timed(multiply)


# ── the whole pipeline ────────────────────────────────────────────────────────────────────────


def bench_pipeline(frames: Frames, arguments: argparse.Namespace) -> None:
    studio = Studio.of(arguments)
    with _photos(arguments, studio) as paths:
        row, _ = _whole_run(studio, paths)
    report("pipeline", **studio.facts, **row, reach=50.0 if studio.device.is_gpu else None)


def bench_busy(frames: Frames, arguments: argparse.Namespace) -> None:
    studio = Studio.of(arguments)
    if not studio.device.is_gpu:
        report("busy", device="cpu", result=NO_GPU)
        return
    with _photos(arguments, studio) as paths, _sampling() as samples:
        row, (start, end) = _whole_run(studio, paths)
    inside = [share for moment, share in samples if start <= moment <= end]
    busy = statistics.mean(inside) if inside else None
    report("busy", **studio.facts, gpu_busy_percent=busy, samples=len(inside), reach=90.0, **row)


@contextlib.contextmanager
def _photos(arguments: argparse.Namespace, studio: Studio) -> Iterator[list[Path]]:
    """Camera JPEGs of 24 MP, or `--photos`."""
    from photos import camera_folder

    if arguments.photos:
        yield sorted(path for path in arguments.photos.rglob("*") if path.is_file())[: arguments.images]
        return
    count = arguments.images or (2000 if studio.device.is_gpu else 24)
    folder = studio.settings.catalog.parent / "photos"
    made = camera_folder(folder, min(count, 200))
    yield [made[index % len(made)] for index in range(count)]


def _whole_run(studio: Studio, paths: Sequence[Path]) -> tuple[dict[str, Any], tuple[float, float]]:
    """Read and infer all photos; rates count from the end of a tenth of them, when all is warm."""
    from catalogd.pipeline import Engine

    studio.prepare(list(registry.PROFILES[PROFILE].values()))
    load_models = functools.partial(registry.profile_models, PROFILE, studio.settings, 1)
    names = [model.name for model in load_models(studio.device)]
    warm, done, failed, start = max(1, len(paths) // 10), 0, 0, 0.0
    waiting = iter(paths)
    with Engine(studio.settings, load_models, devices=[studio.device]) as engine:
        while done < len(paths):
            while engine.wants_task and (path := next(waiting, None)):
                engine.offer(Task(bytes(path)))
            for outcome in engine.step(0.25):
                done, failed = done + 1, failed + (not isinstance(outcome, Record))
                if done == warm:
                    start, before = time.perf_counter(), dict(engine.state.model_seconds)
        end = time.perf_counter()
        state, given_up = engine.state, sorted(engine.given_up)
    seconds = {name: state.model_seconds.get(name, 0.0) - before.get(name, 0.0) for name in names}
    total = sum(seconds.values()) or 1.0
    row = {
        "images": len(paths),
        "failed": failed,
        "images_per_s": (done - warm) / (end - start) if end > start else None,
        "limit": state.limit,
        "share_of_model_time": {name: round(value / total, 3) for name, value in seconds.items()},
        "ms_a_photo": {name: round(value * 1000 / (done - warm), 2) for name, value in seconds.items()},
        "switched_off": given_up,
    }
    return row, (start, end)


@contextlib.contextmanager
def _sampling() -> Iterator[list[tuple[float, float]]]:
    """(moment, percent of the time in which a kernel ran), several times a second, as the driver counts."""
    samples: list[tuple[float, float]] = []
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    process = subprocess.Popen(
        [*command, "-i", "0", f"-lms={round(SAMPLE_EVERY_S * 1000)}"], stdout=subprocess.PIPE, text=True
    )

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            samples.append((time.perf_counter(), float(line)))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield samples
    finally:
        process.terminate()
        process.wait()
        reader.join(5)


# ── copies ────────────────────────────────────────────────────────────────────────────────────


def bench_copies(frames: Frames, arguments: argparse.Namespace) -> None:
    """A trace of two batches, the second uploaded while the first is computed."""
    studio = Studio.of(arguments)
    if not studio.device.is_gpu:
        report("copies", device="cpu", result=NO_GPU)
        return
    import torch

    models = [studio.model(model_id) for model_id in ("vit-l-14-openai", "grounding-dino-base")]
    some = _pinned(cycled(frames, 32))
    for model in models:
        run_fresh(model, some, studio.device)
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        first, second = Batch(some, studio.device), Batch(some, studio.device)
        first.prefetch()
        second.prefetch()
        for batch in (first, second):
            for model in models:
                model.run(batch)
            batch.close()
        torch.cuda.synchronize()
    if arguments.trace:
        profile.export_chrome_trace(str(arguments.trace))
    report(
        "copies",
        **studio.facts,
        photos=2 * len(some),
        **_copies_of(profile, min(frame.nbytes for frame in some)),
    )


def _pinned(frames: Frames) -> list[np.ndarray]:
    """The frames in pinned memory, as they lie in the ring."""
    import torch

    return [torch.from_numpy(np.ascontiguousarray(frame)).pin_memory().numpy() for frame in frames]


def _copies_of(profile: Any, frame_bytes: int) -> dict[str, Any]:
    """Of a trace: how often as much as a frame went up, from what memory, and beside what."""
    import torch

    events = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    copies = [event for event in events if "HtoD" in event.name]
    large = [event for event in copies if _takes_long(event, frame_bytes)]
    kernels = [event for event in events if "Memcpy" not in event.name and "Memset" not in event.name]
    return {
        "copies_of_frames": len(large),
        "pinned": sum("Pinned" in event.name for event in large),
        "small_copies": len(copies) - len(large),
        "overlapped": sum(any(_meet(copy, kernel) for kernel in kernels) for copy in large),
    }


def _takes_long(event: Any, frame_bytes: int) -> bool:
    """Whether a copy may be of a frame: nothing is quicker than 100 GB/s over PCIe or NVLink-C2C's half."""
    return bool(event.time_range.elapsed_us() > frame_bytes / 100e3 / 2)


def _meet(one: Any, other: Any) -> bool:
    return bool(one.time_range.start < other.time_range.end and other.time_range.start < one.time_range.end)


ASKED = {
    "pipeline": bench_pipeline,
    "batched": bench_batched,
    "blip2": bench_blip2,
    "vit_l14": bench_vit_l14,
    "busy": bench_busy,
    "copies": bench_copies,
}
