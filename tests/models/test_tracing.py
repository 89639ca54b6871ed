"""What is read from a profiler's trace."""

from __future__ import annotations

from tests.models.tracing import Span, overlapped_us, spans


def test_a_trace_is_read_as_what_the_gpu_did_in_order() -> None:
    copy = {"cat": "gpu_memcpy", "name": "Memcpy HtoD (Pinned -> Device)", "ts": 20, "dur": 10}
    kernel = {"cat": "kernel", "name": "gemm", "ts": 5.0, "dur": 20.5, "args": {"stream": 7}}
    on_cpu = {"cat": "cpu_op", "name": "aten::mm", "ts": 1, "dur": 50, "args": {}}
    trace = {"traceEvents": [{**copy, "args": {"stream": 13, "bytes": 4096}}, on_cpu, {"ph": "M"}, kernel]}
    computed, went_up = spans(trace)
    assert computed == Span("kernel", "gemm", 5.0, 25.5, 7, 0)
    assert (went_up.nbytes, went_up.is_upload, computed.is_upload) == (4096, True, False)
    assert overlapped_us([went_up], [computed]) == 5.5
