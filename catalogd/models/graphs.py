"""ONNX graphs of other people, made to take a whole batch.

::

    takes any number of pictures, declares so ─────────────────────────────▶ run as it is
    declares one picture ─▶ its first axis is freed, in a copy in the cache ─┐
    declares rows of all pictures in one axis ───────────────────────────────┴▶ tried at load()
         a pair gives what each gives alone? ─▶ run as a batch, outputs put in order
                                          no ─▶ one picture at a time

Detectors are often exported for one picture although nothing in them needs that, and what they then do
with more differs: some put the rows of picture after picture, some those of one place in all pictures.
Which it is, is found out by a trial and not believed.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import sessions, weights
from catalogd.models.devices import Hardware
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models.batches import Batch, Look

_log = logging.getLogger(__name__)
_VERSION = 1  # of the copies in the cache
_TOLERANCE = 1e-2  # of the largest value: GPUs sum in another order, and in TF32, for another batch
_TRIAL_PX = 64  # edge of the trial's pictures where the graph takes any
_ROWS_AT_A_PLACE = (1, 2, 3)  # rows that a grid's place may have together: anchors
_COPY = "model.onnx"  # in its folder in the cache

Arrays = list[NDArray[Any]]


class BatchGraph:
    """A graph whose first input is pictures `float32[n, 3, h, w]` and whose outputs are `[n, …]` each."""

    def __init__(
        self,
        path: Path,
        source_hash: str,
        settings: Settings,
        hardware: Hardware,
        more: Sequence[NDArray[Any]] = (),
    ) -> None:
        """Open it; `source_hash` names its copy in the cache.

        `more` is what one picture has beside its pixels; what the graph doesn't take of it is left out.
        Raises ModelError naming the file.
        """
        self._session = _session(path, hardware)
        self.inputs = self._session.inputs
        self.outputs = self._session.outputs
        more = more[: len(self.inputs) - 1]
        batch, _, height, width = input_shape(self._session)
        self.size = (height, width) if height and width else None  # None: any
        self._orders: tuple[int, ...] | None = None  # None: one picture at a time
        if batch is None and all(len(s) > 2 and s[0] is None for s in _output_shapes(self._session)):
            self._orders = (0,) * len(self.outputs)
            return
        free = self._session if batch is None else _freed(path, source_hash, settings, hardware)
        self._orders = _tried(self._session, free, self.size, more) if free else None
        if free and self.takes_batches:
            self._session = free

    @property
    def takes_batches(self) -> bool:
        return self._orders is not None

    @property
    def metadata(self) -> dict[str, str]:
        return self._session.metadata

    def run(self, pixels: Any, *more: Any) -> Arrays:
        """Every output, `[n, …]`. `more`: the other inputs, `[n, …]` each, as many as the graph takes."""
        inputs = (pixels, *more)[: len(self.inputs)]
        if self._orders is None:
            singles = [self._single(*(part[i : i + 1] for part in inputs)) for i in range(len(pixels))]
            return [np.stack(parts) for parts in zip(*singles, strict=True)]
        outputs = self._session.run(*inputs)
        return [
            _ordered(output, len(pixels), order) for output, order in zip(outputs, self._orders, strict=True)
        ]

    def _single(self, *inputs: Any) -> Arrays:
        return [_ordered(output, 1, 0)[0] for output in self._session.run(*inputs)]


def only_graph(folder: Path) -> Path:
    """The ONNX file of a folder that has one model. Raises ModelError when there is none, or a choice.

    A folder with several has them under the names of hubs: `model.onnx` is the one in full precision.
    """
    paths = sorted(folder.rglob("*.onnx"))
    named = [path for path in paths if path.name == "model.onnx"]
    if len(named or paths) != 1:
        found = ", ".join(str(path.relative_to(folder)) for path in named or paths) or "none"
        raise ModelError(f"{folder}: one model.onnx is wanted; there is: {found}")
    return (named or paths)[0]


def pixels_of(batch: Batch, look: Look) -> Any:
    """`float32[n, 3, height, width]` where the batch's models run: on the GPU, or in NumPy."""
    return batch.tensor(look) if batch.device.is_gpu else batch.pixels(look)


def input_shape(session: sessions.Session) -> tuple[int | None, ...]:
    """Of the first input; None: any."""
    return _numbers(session.input_shapes[0])


def _output_shapes(session: sessions.Session) -> list[tuple[int | None, ...]]:
    return [_numbers(shape) for shape in session.output_shapes]


def _numbers(shape: Sequence[Any]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) and size > 0 else None for size in shape)


def _session(path: Path, hardware: Hardware) -> sessions.Session:
    return sessions.Session(path, hardware.threads, device=hardware.device)


def _freed(path: Path, source_hash: str, settings: Settings, hardware: Hardware) -> sessions.Session | None:
    """A session of a copy that takes any number of pictures; None when onnxruntime refuses it."""
    copy = freed_copy(path, source_hash, settings)
    try:
        return _session(copy, hardware) if copy else None
    except ModelError as error:
        _log.warning("runs one picture at a time: %s", error)
        return None


def freed_copy(path: Path, source_hash: str, settings: Settings) -> Path | None:
    """A copy in the cache whose inputs have any number of rows; None when none could be made.

    It may be wrong: what it gives is to be compared before it is used.
    """
    # A pack has several graphs of one hash, and hubs call them all "model".
    name = f"{path.parent.name}-{path.stem}-{path.stat().st_size}-{source_hash}.free{_VERSION}"
    try:
        target = settings.model_cache / name
        return weights.made_folder(target, lambda folder: _write_freed(path, folder)) / _COPY
    except MemoryError:
        raise
    except Exception as error:  # whatever is wrong with the copy, the graph itself still runs
        _log.warning("runs one picture at a time, as no copy could be made for batches (%s): %s", error, path)
        return None


def _write_freed(source: Path, folder: Path) -> None:
    """Traced exports have the 1 of one picture at the head of reshapes, where 0 is "as it comes in"."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(source))
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    reshapes = [node.input for node in model.graph.node if node.op_type == "Reshape"]
    for name in {shape for data, shape in reshapes if data not in constants} & constants.keys():
        shape = numpy_helper.to_array(constants[name]).copy()
        if shape.size > 1 and shape[0] == 1:
            shape[0] = 0
            constants[name].CopyFrom(numpy_helper.from_array(shape, constants[name].name))
    for value in model.graph.output:  # onnxruntime finds the shapes again
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    # Weights lie beside the graph: one file of protobuf ends at 2 GiB.
    onnx.save(model, str(folder / _COPY), save_as_external_data=True, location="weights.bin")


def _tried(
    single: sessions.Session,
    free: sessions.Session,
    size: tuple[int, int] | None,
    more: Sequence[NDArray[Any]],
) -> tuple[int, ...] | None:
    """For each output how its rows lie when there are several pictures; None when a batch can't be had."""
    height, width = size or (_TRIAL_PX, _TRIAL_PX)
    pair = np.random.default_rng(0).normal(size=(2, 3, height, width)).astype(np.float32)
    try:
        alone = [single.run(pair[i : i + 1], *(part[None] for part in more)) for i in range(2)]
        both = free.run(pair, *(np.stack([part] * 2) for part in more))
    except MemoryError:
        raise
    except Exception:  # onnxruntime names no class for it: some node wants one picture
        return None
    orders = [_order_of(output, parts) for output, *parts in zip(both, *alone, strict=True)]
    return tuple(order for order in orders if order is not None) if None not in orders else None


def _order_of(both: NDArray[Any], alone: Sequence[NDArray[Any]]) -> int | None:
    """0: picture after picture; n: n rows of each picture in turn; None: neither."""
    wanted = np.stack([_ordered(part, 1, 0)[0] for part in alone])
    if both.ndim != alone[0].ndim or both.size != wanted.size:
        return None
    least = _TOLERANCE * max(float(np.abs(wanted).max(initial=0)), 1e-6)
    for order in itertools.chain([0], _ROWS_AT_A_PLACE):
        if order and (len(both) % (2 * order) or both.ndim != 2):
            continue
        ordered = _ordered(both, 2, order)
        if ordered.shape == wanted.shape and np.abs(ordered - wanted).max(initial=0) <= least:
            return order
    return None


def _ordered(output: NDArray[Any], pictures: int, order: int) -> NDArray[Any]:
    """`[n, …]` of an output whose first axis has the rows of n pictures, by `_order_of`."""
    if order == 0:
        return output if len(output) == pictures else output.reshape(pictures, -1, *output.shape[1:])
    places = output.reshape(-1, pictures, order, *output.shape[1:])
    return np.ascontiguousarray(places.swapaxes(0, 1)).reshape(pictures, -1, *output.shape[1:])
