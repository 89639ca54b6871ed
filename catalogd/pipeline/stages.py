"""The three stages as plain functions: values in, values out, no slot, no pipe, no global.

`read_photo` → `infer_batch` → `Catalog.commit`. Every driver runs these same
functions: child processes, one process (`index_inline`), later a cluster.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Protocol

from catalogd.errors import CrashedError, PhotoError
from catalogd.records import Failure, Output, Record, Stat, Task
from catalogd.thumbnails import ThumbnailStore

if TYPE_CHECKING:
    from catalogd.images import Reading
    from catalogd.models import Model
    from catalogd.pipeline.ring import Frame
    from catalogd.settings import Settings

_CHUNK_FRAMES = 2  # frames a model call on a CPU: small enough to balance threads, nothing lost to overhead


class Read(Protocol):
    """How a photo is read: `catalogd.images.read_frame`, or what stands in for it."""

    def __call__(self, path: bytes, pixels: Frame, settings: Settings, /) -> Reading: ...


def read_photo(path: bytes, pixels: Frame, settings: Settings, read: Read) -> tuple[Reading, str]:
    """Read the frame to the start of `pixels: uint8[n]` and, while it is hot, keep its thumbnail.

    Returns what was read, and why its thumbnail could not be kept: "" when it was, or is not wanted. A photo
    never fails for that. Raises PhotoError and what else `read` does.
    """
    reading = read(path, pixels, settings)
    if not settings.thumbnails:
        return reading, ""
    try:
        shape = (reading.height, reading.width, 3)
        ThumbnailStore(settings).put(reading.content, pixels[: math.prod(shape)].reshape(shape))
    except OSError as error:
        return reading, error.strerror or str(error)
    except (ValueError, MemoryError) as error:
        return reading, str(error) or type(error).__name__
    return reading, ""


def infer_batch(
    models: Sequence[Model],
    frames: Sequence[Frame],
    wanted: Sequence[tuple[str, ...] | None],
    pool: Executor | None = None,
) -> tuple[list[dict[str, Output]], dict[str, float]]:
    """Run every model on the frames that want it.

    `wanted[i]` names the models for frame i; None means all. With a `pool`, chunks of frames run
    side by side. Returns each frame's outputs by model name, and the seconds each model took.
    """
    outputs: list[dict[str, Output]] = [{} for _ in frames]
    seconds = dict.fromkeys((model.name for model in models), 0.0)
    jobs: list[tuple[Model, list[int], Future[tuple[list[Output], float]] | None]] = []
    for model in models:
        indexes = [i for i, names in enumerate(wanted) if names is None or model.name in names]
        size = _CHUNK_FRAMES if pool else len(indexes) or 1
        for start in range(0, len(indexes), size):
            chunk = indexes[start : start + size]
            future = pool.submit(_timed, model, [frames[i] for i in chunk]) if pool else None
            jobs.append((model, chunk, future))
    for model, chunk, future in jobs:
        results, took = future.result() if future else _timed(model, [frames[i] for i in chunk])
        seconds[model.name] += took
        for index, output in zip(chunk, results, strict=True):
            outputs[index][model.name] = output
    return outputs, seconds


def _timed(model: Model, frames: list[Frame]) -> tuple[list[Output], float]:
    start = time.perf_counter()
    results = _run_model(model, frames)
    return results, time.perf_counter() - start


def _run_model(model: Model, frames: list[Frame]) -> list[Output]:
    """All frames at once; when that fails, in halves, so that a failing frame fails alone."""
    try:
        return model.run(frames)
    except Exception as error:
        if len(frames) == 1:
            return [Output(fingerprint=model.fingerprint, error=f"{type(error).__name__}: {error}"[:500])]
    middle = len(frames) // 2
    return _run_model(model, frames[:middle]) + _run_model(model, frames[middle:])


def record_of(task: Task, reading: Reading, outputs: dict[str, Output]) -> Record:
    """The record of one photo, ready to be committed."""
    return Record(
        path=task.path,
        stat=reading.stat,
        content=reading.content,
        facts=reading.facts,
        outputs=outputs,
        photo_id=task.photo_id,
    )


def failure_of(task: Task, stage: str, error: BaseException, stat: Stat | None, profile: str = "") -> Failure:
    """The failure record of one photo; `stat` is what the file was when it failed, if it could be told."""
    reason = error.reason if isinstance(error, PhotoError) else CrashedError.reason
    return Failure(
        path=task.path,
        stat=stat or Stat(-1, -1),
        stage=stage,
        reason=reason,
        message=str(error)[:1000] or type(error).__name__,
        exception=type(error).__name__,
        failed_at=time.time(),
        profile=profile,
        photo_id=task.photo_id,
    )
