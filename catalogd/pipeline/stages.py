"""The three stages as plain functions: values in, values out, no slot, no pipe, no global.

`read_photo` → `infer_batch` → `Catalog.commit`. Every driver runs these same
functions: child processes, one process (`index_inline`), later a cluster.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from catalogd.errors import CrashedError, PhotoError
from catalogd.models.batches import Batch, as_batch
from catalogd.pipeline.conduct import Conduct, is_on_gpu
from catalogd.records import Failure, Output, Record, Stat, Task
from catalogd.thumbnails import ThumbnailStore

if TYPE_CHECKING:
    from catalogd.images import Reading
    from catalogd.models import DerivedModel, GatedModel
    from catalogd.pipeline.conduct import AnyModel
    from catalogd.pipeline.ring import Frame
    from catalogd.settings import Settings

log = logging.getLogger(__name__)

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
    models: Sequence[AnyModel],
    frames: Sequence[Frame],
    wanted: Sequence[tuple[str, ...] | None],
    pool: Executor | None = None,
    conduct: Conduct | None = None,
    outputs: list[dict[str, Output]] | None = None,
) -> tuple[list[dict[str, Output]], dict[str, float]]:
    """Run every model on the frames that want it; a model comes after those whose outputs it asks for.

    `wanted[i]` names the models for frame i; None means all. With a `pool`, chunks of frames run there side
    by side, while models on a GPU have this thread, one after the other, and whole batches. `outputs` are
    those that an earlier call made of the same frames; they are added to. Returns each frame's outputs by
    model name, without those that failed for the model's own sake, and the seconds each model took.
    """
    conduct = conduct or Conduct()
    outputs = [{} for _ in frames] if outputs is None else outputs
    seconds = dict.fromkeys((model.name for model in models), 0.0)
    for turn in turns(models):
        jobs = [
            job for model in turn for job in _jobs(model, as_batch(frames), wanted, outputs, conduct, pool)
        ]
        for job in sorted(jobs, key=lambda job: job.future is not None):  # this thread first: the pool works
            results, took = job.future.result() if job.future else conduct.run(job.model, job.items)
            seconds[job.model.name] += took
            _keep(job, results, outputs)
    return outputs, seconds


def turns(models: Sequence[AnyModel]) -> Iterator[list[AnyModel]]:
    """The models in turns: each after those that it asks for, as far as they are among `models`."""
    left = list(models)
    while left:
        names = {model.name for model in left}
        turn = [model for model in left if names.isdisjoint({*asked_names(model)} - {model.name})]
        turn = turn or left  # they ask for each other: nobody can come first
        yield turn
        left = [model for model in left if model not in turn]


def asked_names(model: AnyModel) -> tuple[str, ...]:
    """The models whose outputs this one looks at."""
    if is_derived(model):
        return (model.after,)
    return model.after_names if is_gated(model) else ()


def is_derived(model: AnyModel) -> TypeGuard[DerivedModel]:
    return hasattr(model, "derive")


def is_gated(model: AnyModel) -> TypeGuard[GatedModel]:
    return hasattr(model, "wants")


@dataclasses.dataclass
class _Job:
    """One call of a model."""

    model: AnyModel
    indexes: list[int]
    items: Sequence[Any]  # frames, or the outputs that it derives from
    future: Future[tuple[list[Output | None], float]] | None = None  # None: it has the calling thread


def _jobs(
    model: AnyModel,
    batch: Batch,
    wanted: Sequence[tuple[str, ...] | None],
    outputs: list[dict[str, Output]],
    conduct: Conduct,
    pool: Executor | None,
) -> Iterator[_Job]:
    """Those of the pool have begun when they are yielded."""
    if model.name in conduct.given_up:
        return
    indexes = [i for i, names in enumerate(wanted) if names is None or model.name in names]
    if is_derived(model):
        for i in indexes:
            if (source := outputs[i].get(model.after)) is not None and source.error is not None:
                outputs[i][model.name] = Output(model.fingerprint, error=f"{model.after} failed")
        sources = {i: outputs[i][model.after] for i in indexes if _is_said(outputs[i].get(model.after))}
        if sources:
            yield _Job(model, list(sources), list(sources.values()))
        return
    if is_gated(model):
        indexes = [i for i in indexes if _is_let_through(model, outputs[i])]
    is_aside = pool is not None and not is_on_gpu(model)
    is_divided = is_aside and not getattr(model, "is_remote", False)
    size = _CHUNK_FRAMES if is_divided else len(indexes) or 1
    for start in range(0, len(indexes), size):
        chunk = indexes[start : start + size]
        items = batch.part(chunk)
        future = pool.submit(conduct.run, model, items) if pool and is_aside else None
        yield _Job(model, chunk, items, future)


def _is_said(output: Output | None) -> bool:
    return output is not None and output.error is None and output.gate is None


def _is_let_through(model: GatedModel, outputs: dict[str, Output]) -> bool:
    """Whether the model shall look at the frame; else its output says why not."""
    try:
        if model.wants(outputs):
            return True
        outputs[model.name] = model.skipped()
    except Exception as error:  # of the gate, about this frame
        outputs[model.name] = Output(model.fingerprint, error=f"{type(error).__name__}: {error}")
    return False


def _keep(job: _Job, results: list[Output | None], outputs: list[dict[str, Output]]) -> None:
    learn = getattr(job.model, "learn", None)
    for index, output in zip(job.indexes, results, strict=True):
        if output is None or not output.fingerprint:  # not made, for the model's own sake
            continue
        if learn is not None and output.error is None:
            try:
                learn(outputs[index], output)
            except Exception:  # its gate is no reason to lose what was found
                log.warning("%s: its gate could not learn", job.model.name, exc_info=True)
        outputs[index][job.model.name] = output


def record_of(task: Task, reading: Reading, outputs: dict[str, Output], names: Iterable[str] = ()) -> Record:
    """The record of one photo, ready to be committed; partial when one of `names` has no output."""
    return Record(
        path=task.path,
        stat=reading.stat,
        content=reading.content,
        facts=reading.facts,
        outputs=outputs,
        photo_id=task.photo_id,
        is_partial=not outputs.keys() >= set(names),
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
