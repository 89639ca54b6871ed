"""CUDA graphs: what a network does with a batch of one shape, recorded once and then launched as one.

::

    rows of a batch ─▶ the next of 1, 2, 4, … 64 ─▶ first time          run as it is
                                                    second time         recorded, and both ways timed
                                                    from then on        replayed, where that was quicker

A small batch keeps the GPU for less time than it takes to launch a network's hundreds of kernels one by
one; a large one does not, and gains nothing. So it is measured, on the shapes that come. A shape that comes
once (the last batch of a run) is never recorded. On anything but CUDA the network is run as it is.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from catalogd.models.devices import Hardware
from catalogd.models.memory import as_memory_error

if TYPE_CHECKING:
    import torch

Function = Callable[["torch.Tensor"], "torch.Tensor"]

_log = logging.getLogger(__name__)
MOST_ROWS = 64  # more rows keep any GPU busy for longer than their launches take
_LEAST_GAIN = 0.05  # of the time: below it the memory that a graph holds is worth more
_WARM_UPS = 3  # runs before recording: libraries choose kernels and take memory in their first ones
_TIMED_RUNS = 5


class Replayed:
    """A function of tensors `[n, …] -> [n, …]` whose rows are independent, replayed where that pays."""

    def __init__(
        self,
        function: Function,
        hardware: Hardware,
        name: str,
        record: Callable[[Function, torch.Tensor], Function] | None = None,
    ) -> None:
        """`name` is for the log. `record` makes a graph of a function for inputs like its second argument."""
        self._function = function
        self._record = record or Graph
        self._name = name
        self._is_on = hardware.device.kind == "cuda"
        self._seen: set[tuple[int, ...]] = set()
        self._graphs: dict[tuple[int, ...], Function | None] = {}  # None: run as it is
        self.warm_up_s = 0.0  # spent on recording so far

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """`function(values)`; the result is the caller's own. Within `torch_models.inference()`."""
        rows = len(values)
        if not self._is_on or not 0 < rows <= MOST_ROWS:
            return self._function(values)
        shape = (bucket_of(rows), *values.shape[1:])
        if shape not in self._graphs and shape in self._seen:
            self._graphs[shape] = self._tried(values.new_zeros(shape))
        self._seen.add(shape)
        graph = self._graphs.get(shape)
        return self._function(values) if graph is None else graph(values)[:rows].clone()

    def _tried(self, example: torch.Tensor) -> Function | None:
        """A graph for inputs like `example` if it is quicker than the function; else None."""
        start = time.monotonic()
        try:
            with as_memory_error():
                graph = self._record(self._function, example)
        except (MemoryError, RuntimeError) as error:
            _log.info("no CUDA graph of %s for %d rows: %s", self._name, len(example), error)
            return None
        before, after = seconds_of(self._function, example), seconds_of(graph, example)
        took = time.monotonic() - start
        self.warm_up_s += took
        pays = after <= before * (1 - _LEAST_GAIN)
        _log.info(
            "CUDA graph of %s for %d rows: %.2f ms instead of %.2f, %s; tried in %.1f s",
            *(self._name, len(example), after * 1e3, before * 1e3, "kept" if pays else "not kept", took),
        )
        return graph if pays else None


def bucket_of(rows: int) -> int:
    """The next power of two: few shapes are recorded, and at most half of a replay is for nothing."""
    return 1 << (rows - 1).bit_length()


def seconds_of(function: Function, values: torch.Tensor) -> float:
    """How long the GPU, or its launches, take for one call in a row of them."""
    import torch

    torch.cuda.synchronize(values.device)
    start = time.perf_counter()
    for _ in range(_TIMED_RUNS):
        function(values)
    torch.cuda.synchronize(values.device)
    return (time.perf_counter() - start) / _TIMED_RUNS


class Graph:
    """A function recorded for one shape of input. Its output is overwritten by the next call."""

    def __init__(self, function: Function, example: torch.Tensor) -> None:
        """Raises RuntimeError when the function does what cannot be recorded, like waiting for the GPU."""
        import torch

        self._input = example
        stream = torch.cuda.Stream(example.device)
        stream.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                function(example)
        torch.cuda.current_stream(example.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Graphs never run at once: they share what they compute in. Other threads may use the GPU meanwhile.
        options = {"pool": _pool(), "capture_error_mode": "thread_local"}
        with torch.cuda.graph(self._graph, **options):
            self._output = function(example)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Rows beyond those of `values` are computed from what was there before, for nobody."""
        self._input[: len(values)].copy_(values)
        self._graph.replay()
        return self._output


@functools.cache
def _pool() -> Any:
    import torch

    return torch.cuda.graph_pool_handle()
