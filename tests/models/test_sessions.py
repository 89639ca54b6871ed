"""ONNX graphs on the device that they are told, in the width of floats that they have."""

from __future__ import annotations

import contextlib
import sys
import weakref
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from catalogd.errors import ModelError
from catalogd.models import memory, sessions
from catalogd.models.devices import CPU, Device
from catalogd.models.sessions import Session
from catalogd.settings import GiB

GPU = Device("cuda", 1, "NVIDIA Test", 8 * GiB, (8, 0))


@pytest.fixture
def graph(tmp_path: Path) -> Any:
    """Writes a graph: `doubled` is twice its input `pixels: [any, 2]`, `counted` is its input `count` + 1."""

    def written(kind: int = TensorProto.FLOAT) -> Path:
        nodes = [
            helper.make_node("Add", ["pixels", "pixels"], ["doubled"]),
            helper.make_node("Add", ["count", "one"], ["counted"]),
        ]
        inputs = [
            helper.make_tensor_value_info("pixels", kind, ["n", 2]),
            helper.make_tensor_value_info("count", TensorProto.INT64, [1]),
        ]
        outputs = [
            helper.make_tensor_value_info("doubled", kind, ["n", 2]),
            helper.make_tensor_value_info("counted", TensorProto.INT64, [1]),
        ]
        one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(
            helper.make_graph(nodes, "test", inputs, outputs, [one]), opset_imports=opsets, ir_version=8
        )
        onnx.save(model, str(tmp_path / "test.onnx"))
        return tmp_path / "test.onnx"

    return written


def test_a_session_says_what_goes_in_and_comes_out(graph: Any) -> None:
    session = Session(graph(), 1)
    assert (session.inputs, session.outputs) == (["pixels", "count"], ["doubled", "counted"])
    assert session.dtypes == [np.float32, np.int64]
    assert session.input_shapes == [["n", 2], [1]]
    assert session.output_shapes == [["n", 2], [1]]


@pytest.mark.parametrize(
    ("kind", "dtype"), [(TensorProto.FLOAT, np.float32), (TensorProto.FLOAT16, np.float16)]
)
@pytest.mark.parametrize("given_as", [np.float16, np.float32, np.float64])
def test_floats_go_in_as_wide_as_the_graph_has_them(graph: Any, kind: int, dtype: Any, given_as: Any) -> None:
    session = Session(graph(kind), 1)
    doubled, counted = session.run(np.array([[1, 2.5]], given_as), np.array([4], np.int64))
    assert doubled.dtype == dtype
    assert (doubled.tolist(), counted.tolist()) == ([[2, 5]], [5])


def test_outputs_may_stay_where_they_were_computed(graph: Any) -> None:
    session = Session(graph(), 1)
    doubled, counted = session.run_there(np.array([[1, 2]], np.float64), np.array([4], np.int64))
    assert (doubled.device_name(), doubled.numpy().tolist()) == ("cpu", [[2, 4]])
    assert counted.numpy().tolist() == [5]


def test_an_input_too_few_is_an_error(graph: Any) -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        Session(graph(), 1).run(np.zeros((1, 2), np.float32))


def test_a_model_that_is_told_the_cpu_leaves_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    assert sessions._providers(CPU, None) == ["CPUExecutionProvider"]


def test_on_a_gpu_that_card_is_preferred_and_shares_torchs_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        cuda_stream = 4711

    has(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    (name, options), last = sessions._providers(GPU, Stream)
    assert (name, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (options["device_id"], options["user_compute_stream"]) == ("1", "4711")
    assert options["cudnn_conv_algo_search"] != "EXHAUSTIVE"


def test_onnxruntime_without_cuda_is_an_error_that_says_what_to_install(
    graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, "CPUExecutionProvider")
    monkeypatch.setattr(sessions, "_stream", lambda device: None)
    with pytest.raises(ModelError, match=r"pip install 'catalogd\[gpu\]'"):
        Session(graph(), 1, device=GPU)


def test_cuda_of_packages_is_loaded_before_a_session_and_prints_nothing(
    graph: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch 2.15 brings no curand, which onnxruntime needs; progress as JSON goes to the same stdout."""
    done: list[str] = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load") or done.append("loaded"))
    monkeypatch.setattr(sessions, "_stream", lambda device: done.append("stream"))
    monkeypatch.setattr(sessions, "_providers", lambda device, stream: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="cannot compute on GPU"):
        Session(graph(), 1, device=GPU)
    Session(graph(), 1)
    assert done == ["loaded", "stream", "stream"]
    assert capsys.readouterr().out == ""


def test_onnxruntime_that_falls_back_to_the_cpu_in_silence_is_an_error(
    graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does where a library of CUDA is missing, and says so only in its log."""
    opened = sessions._open
    monkeypatch.setattr(sessions, "_providers", lambda device, stream: [])
    monkeypatch.setattr(sessions, "_stream", lambda device: None)
    monkeypatch.setattr(
        sessions, "_open", lambda path, options, providers: opened(path, options, ["CPUExecutionProvider"])
    )
    with pytest.raises(ModelError, match=r"cannot compute on GPU 1 \(NVIDIA Test, 8 GiB\)"):
        Session(graph(), 1, device=GPU)


@pytest.mark.parametrize(
    "words",
    [
        "RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 9",
        "bfc_arena.cc:376 Available memory of 0 is smaller than requested bytes: out of memory",
        "std::bad_alloc",
    ],
)
def test_memory_that_is_out_is_a_memory_error(graph: Any, words: str) -> None:
    session = Session(graph(), 1)
    session._session = failing = Failing(RuntimeError(words))
    with pytest.raises(MemoryError) as caught:
        session.run(np.zeros((1, 2), np.float32), np.zeros(1, np.int64))
    assert str(caught.value) in words
    assert failing.took() is None, "the error that is kept holds on to what the run had taken"


def test_another_failure_stays_what_it_is(graph: Any) -> None:
    session = Session(graph(), 1)
    session._session = Failing(ValueError("Got invalid dimensions"))
    with pytest.raises(ValueError, match="invalid dimensions"):
        session.run(np.zeros((1, 2), np.float32), np.zeros(1, np.int64))


def test_of_a_cpu_no_memory_is_counted() -> None:
    assert (memory.memory_used(CPU), memory.memory_peak(CPU)) == (0, 0)


class Card:
    """As much of torch as counts memory: of 100 bytes 30 are free, and 10 of those taken wait for tensors."""

    class cuda:  # noqa: N801
        given_back: ClassVar[list[int]] = []

        mem_get_info = staticmethod(lambda index: (30, 100))
        memory_reserved = staticmethod(lambda index: 50)
        memory_allocated = staticmethod(lambda index: 40)
        device = staticmethod(contextlib.nullcontext)

        @classmethod
        def empty_cache(cls) -> None:
            cls.given_back.append(1)


def test_what_torch_keeps_for_its_next_tensors_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a model that is loaded after another was unloaded seems to need nothing."""
    monkeypatch.setitem(sys.modules, "torch", Card)
    assert memory.memory_used(GPU) == 60
    memory.give_back(GPU)
    memory.give_back(CPU)
    assert Card.cuda.given_back == [1]


class Taken:
    """What a run takes of the memory."""


class Failing:
    """A session of onnxruntime whose every run takes memory and fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.took: Any = None

    def run(self, names: None, inputs: dict[str, Any], options: Any) -> None:
        taken = Taken()
        self.took = weakref.ref(taken)
        raise self.error


def has(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    """Makes onnxruntime a build with these providers."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(providers))
