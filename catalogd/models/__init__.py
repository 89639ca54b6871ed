"""What catalogd learns from a frame, one model a job, behind one small protocol.

::

    registry ── profiles, where each model's weights are, what is missing
       │ makes
    embedding  faces  text  objects  quality        the models: frames in, records.Output out
       │ open their weights through
    weights (find, verify, cache) ── convert (foreign formats → plain ONNX) ── sessions (onnxruntime)

Importing this package loads neither numpy nor onnxruntime; a model does in its `load()`. Models run
in the inference process. They know nothing of slots, queues or the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from catalogd.records import Output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from catalogd.models.batches import Batch

    Frame = NDArray[np.uint8]  # uint8[H, W, 3], upright, sRGB

T = TypeVar("T")


class Model(Protocol):
    """One job on a batch of frames.

    Where it has more to say it has further attributes: `device` (a `Device`, when it is not the CPU; it then
    gets whole batches, in one thread, instead of a few frames in several), `is_remote` (true when it waits
    for another machine: whole batches, beside the others) and `notes()` (what the owner should
    know now, where it changed; it takes the place of what was said before).
    """

    @property
    def name(self) -> str:
        """The key of its output in a record: "embedding", "faces", …"""

    @property
    def fingerprint(self) -> str:
        """`<model id>@<weights hash>.<step version>`: another fingerprint makes old outputs stale.

        Known before `load()`, without reading weights.
        """

    def load(self) -> None:
        """Open the weights, converting them on first use. Raises ModelError naming the file."""

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        """One output a frame, in order. `frames: uint8[H, W, 3]` each, sRGB, upright, not changed, not kept.

        A frame that fails alone gives `Output(fingerprint, error=…)`. MemoryError is raised: the
        caller may try again with fewer frames. Several threads may call it at once.
        """

    def unload(self) -> None:
        """Give the memory back; `load()` may follow."""


class GatedModel(Model, Protocol):
    """A model that is spared the frames on which, by what others said of them, it would find nothing.

    It may also have `learn(seen, output)`, which hears what it found where it did look.
    """

    @property
    def after_names(self) -> tuple[str, ...]:
        """The names of the models whose outputs its gate looks at; they run before it."""

    def wants(self, seen: Mapping[str, Output]) -> bool:
        """Whether to look at the frame; `seen`: what others said of it so far, by name."""

    def skipped(self) -> Output:
        """The output of a frame that it does not look at: empty, with its `gate`."""


class DerivedModel(Protocol):
    """A model that needs no pixels, only what other models of the profile said of the photo.

    When it alone is stale, its outputs are made anew from the records, without reading photos.
    """

    @property
    def name(self) -> str:
        """The key of its output in a record."""

    @property
    def fingerprint(self) -> str:
        """Of itself and of what it is derived from."""

    @property
    def after(self) -> str:
        """The name of the model from whose output it is made."""

    def load(self) -> None:
        """Open what it needs. Raises ModelError."""

    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        """One output for each output of the model `after`, in order."""

    def unload(self) -> None:
        """Give the memory back; `load()` may follow."""


def each_frame(frames: Sequence[Frame], step: Callable[[Frame], T]) -> list[T | Exception]:
    """`step(frame)` for each frame; what a single frame raises stands in its place.

    MemoryError is raised: it is about the machine, not about the frame.
    """
    results: list[T | Exception] = []
    for frame in frames:
        try:
            results.append(step(frame))
        except MemoryError:
            raise
        except Exception as error:
            results.append(error)
    return results


def together(batch: Batch, step: Callable[[Batch], Sequence[T | Exception]]) -> list[T | Exception]:
    """`step(batch)`: one result a frame; where it raises, halves of the batch are tried.

    What a single frame raises stands in its place. MemoryError is raised.
    """
    try:
        return list(step(batch)) if len(batch) else []
    except MemoryError:
        raise
    except Exception as error:
        if len(batch) == 1:
            return [error]
    middle = len(batch) // 2
    halves = (batch.part(range(middle)), batch.part(range(middle, len(batch))))
    return [result for half in halves for result in together(half, step)]


def as_outputs(
    fingerprint: str, results: Iterable[T | Exception], made: Callable[[T], Output]
) -> list[Output]:
    """One output a frame: `made(result)`, or the failure that stands in its place."""
    return [failed(fingerprint, item) if isinstance(item, Exception) else made(item) for item in results]


def failed(fingerprint: str, error: Exception) -> Output:
    """The output of a frame on which a model failed."""
    return Output(fingerprint, error=f"{type(error).__name__}: {error}")
