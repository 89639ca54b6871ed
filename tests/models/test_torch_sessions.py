"""Torch tensors as inputs of ONNX graphs: read where they lie, after what computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from catalogd.models import sessions
from catalogd.models.devices import Device
from catalogd.models.sessions import Session

pytestmark = pytest.mark.torch


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Of a graph whose output is twice its input, `float16[any, 2]`."""
    node = helper.make_node("Add", ["pixels", "pixels"], ["doubled"])
    inside, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["n", 2]) for name in ("pixels", "doubled")
    )
    graph = helper.make_graph([node], "test", [inside], [out])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        str(tmp_path / "test.onnx"),
    )
    return Session(tmp_path / "test.onnx", 1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("there", [False, True])
def test_tensors_on_the_cpu_go_in_in_any_precision(session: Session, dtype: str, there: bool) -> None:
    import torch

    tensor = torch.tensor([[1, 2.5]], dtype=getattr(torch, dtype))
    [doubled] = [value.numpy() for value in session.run_there(tensor)] if there else session.run(tensor)
    assert (doubled.dtype, doubled.tolist()) == (np.float16, [[2, 5]])


class OnGpu:
    """As much of a tensor on a GPU as a binding needs."""

    def __init__(self, dtype: Any, told: list[str], is_whole: bool = False) -> None:
        self.dtype = dtype
        self.shape = (1, 2)
        self.device = type("Place", (), {"type": "cuda", "index": 1})
        self.told = told
        self.is_whole = is_whole

    def is_floating_point(self) -> bool:
        return True

    def to(self, dtype: Any) -> OnGpu:
        self.told.append(f"made {dtype}")
        return OnGpu(dtype, self.told)

    def contiguous(self) -> OnGpu:
        return OnGpu(self.dtype, self.told, is_whole=True)

    def data_ptr(self) -> int:
        assert self.is_whole, "its rows do not follow each other"
        return 4711


class OnnxOnGpu:
    """As much of onnxruntime's session as is asked on a GPU; it writes down what it was told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def io_binding(self) -> OnnxOnGpu:
        return self

    def bind_input(self, name: str, place: str, index: int, dtype: Any, shape: Any, pointer: int) -> None:
        self.told.append(f"{name} at {place}:{index} {np.dtype(dtype)}{list(shape)} {pointer}")

    def bind_output(self, name: str, place: str, index: int) -> None:
        self.told.append(f"{name} to {place}:{index}")

    def run_with_iobinding(self, binding: OnnxOnGpu, options: Any) -> None:
        self.told.append("ran")

    def get_outputs(self) -> tuple[str, ...]:
        return ("doubled",)


def test_on_a_gpu_a_tensor_is_bound_where_it_lies_and_outputs_stay_there(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    told: list[str] = []
    session.device = Device("cuda", 1, "not really one")
    session._session = OnnxOnGpu(told)
    monkeypatch.setattr(sessions, "_follow_torch", lambda stream: told.append("follows torch"))
    assert session.run_there(OnGpu(torch.bfloat16, told)) == ["doubled"]
    assert told == [
        "made torch.float16",
        "pixels at cuda:1 float16[1, 2] 4711",
        "doubled to cuda:1",
        "follows torch",
        "ran",
    ], "what makes the input must be told to torch before the graph's stream follows it"
