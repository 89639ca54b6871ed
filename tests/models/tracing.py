"""What a GPU did and when, from torch's profiler: copies, kernels, and whether somebody waited."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Span:
    """One thing that a GPU did."""

    kind: str  # "kernel", "gpu_memcpy", "gpu_memset"
    name: str
    start_us: float
    end_us: float
    stream: int
    nbytes: int  # of a copy

    @property
    def is_upload(self) -> bool:
        return self.kind == "gpu_memcpy" and "HtoD" in self.name

    def overlaps(self, other: Span) -> bool:
        return self.start_us < other.end_us and other.start_us < self.end_us


def traced(work: Callable[[], Any], folder: Path) -> list[Span]:
    """What the GPU did for `work`, in order. Run it once before: a first time loads kernels."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    path = folder / "trace.json"
    profiler.export_chrome_trace(str(path))
    return spans(json.loads(path.read_text("utf-8")))


def spans(trace: dict[str, Any]) -> list[Span]:
    """The GPU's part of a trace in Chrome's format."""
    kinds = {"kernel", "gpu_memcpy", "gpu_memset"}
    found = [
        Span(
            event["cat"],
            event["name"],
            float(event["ts"]),
            float(event["ts"]) + float(event["dur"]),
            int(event["args"].get("stream", -1)),
            int(event["args"].get("bytes", 0)),
        )
        for event in trace["traceEvents"]
        if event.get("cat") in kinds
    ]
    return sorted(found, key=lambda span: span.start_us)


def overlapped_us(uploads: Iterable[Span], kernels: Iterable[Span]) -> float:
    """How long copies went up while something else was computed. `kernels` of one stream."""
    shared = [(max(a.start_us, b.start_us), min(a.end_us, b.end_us)) for a in uploads for b in kernels]
    return sum(max(end - start, 0.0) for start, end in shared)


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """An error where torch makes the caller wait for the GPU."""
    import torch

    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
