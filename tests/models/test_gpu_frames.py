"""On a real GPU: one copy a photo from pinned memory, beside what is computed, and nobody waits.

Run by name: `pytest -m gpu`. Without a GPU they fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalogd.models import devices
from catalogd.models.batches import Batch, Look
from catalogd.models.devices import Device, Hardware
from catalogd.pipeline.ring import Ring
from tests.models.tracing import overlapped_us, traced, without_waiting

pytestmark = pytest.mark.gpu
SHAPES = [(853, 1280), (1280, 960), (1280, 853), (720, 1280)]
LOOKS = [
    Look((224, 224), (123.7, 116.3, 103.5), (1 / 58.4, 1 / 57.1, 1 / 57.4), filter="bicubic"),
    Look((640, 640), fit="letterbox", fill=114.0),
    Look((384, 384), fit="squash", bgr=True),
]


@pytest.fixture(scope="module")
def device() -> Device:
    found = [gpu for gpu in devices.discover() if gpu.kind == "cuda"]
    assert found, "there is no CUDA device that torch can use"
    return found[0]


@pytest.fixture
def ring(device: Device) -> Iterator[Ring]:
    """Of two batches, pinned, with noise in its slots."""
    from catalogd.models import tensors

    tensors.choose(device)
    ring = Ring(2 * len(SHAPES), 1280)
    tensors.pin(ring.memory())
    random = np.random.default_rng(0)
    for slot in range(ring.slot_count):
        height, width = SHAPES[slot % len(SHAPES)]
        pixels = random.integers(0, 256, height * width * 3, dtype=np.uint8)
        ring.pixels(slot)[: pixels.size] = pixels
        ring.stamp(slot, slot, height, width)
    yield ring
    tensors.unpin(ring.memory())
    ring.close()


def batch_of(ring: Ring, device: Device, half: int = 0) -> Batch:
    slots = range(half * len(SHAPES), (half + 1) * len(SHAPES))
    return Batch([ring.frame(slot, slot) for slot in slots], device)


def look_at_all(batch: Batch) -> list[Any]:
    return [batch.tensor(look, "bf16") for look in LOOKS]


def test_each_photo_goes_up_once_from_pinned_memory(ring: Ring, device: Device, tmp_path: Path) -> None:
    warm = batch_of(ring, device)
    look_at_all(warm)
    warm.close()

    def work() -> None:
        batch = batch_of(ring, device)
        batch.prefetch()
        look_at_all(batch)
        batch.part([1, 2]).tensor(LOOKS[0], "bf16")
        batch.close()

    uploads = [span for span in traced(work, tmp_path) if span.is_upload]
    assert sorted(span.nbytes for span in uploads) == sorted(height * width * 3 for height, width in SHAPES)
    assert all("Pinned" in span.name for span in uploads)


def test_nobody_waits_between_the_first_copy_and_the_last_look(ring: Ring, device: Device) -> None:
    warm = batch_of(ring, device)
    look_at_all(warm)
    warm.close()
    with without_waiting():
        batch = batch_of(ring, device)
        batch.prefetch()
        looks = look_at_all(batch)
    batch.close()
    assert [look.shape[0] for look in looks] == [len(SHAPES)] * len(LOOKS)


def test_a_batch_goes_up_while_the_one_before_is_computed(ring: Ring, device: Device, tmp_path: Path) -> None:
    import torch

    large = torch.randn(8192, 8192, device=device.label, dtype=torch.float16)

    def work() -> None:
        first, second = batch_of(ring, device), batch_of(ring, device, 1)
        first.prefetch()
        look_at_all(first)
        for _ in range(20):
            torch.mm(large, large)
        second.prefetch()
        look_at_all(second)
        first.close()
        second.close()

    work()
    seen = traced(work, tmp_path)
    uploads = [span for span in seen if span.is_upload][len(SHAPES) :]
    kernels = [span for span in seen if span.kind == "kernel"]
    assert {span.stream for span in uploads}.isdisjoint({span.stream for span in kernels})
    went_up = sum(span.end_us - span.start_us for span in uploads)
    assert overlapped_us(uploads, kernels) > went_up / 2


def test_a_gpu_sees_what_the_native_kernel_sees(ring: Ring, device: Device) -> None:
    batch = batch_of(ring, device)
    for look in LOOKS:
        levels = Look(
            look.size, scale=(1, 1, 1), fit=look.fit, filter=look.filter, bgr=look.bgr, fill=look.fill
        )
        expected = batch.pixels(levels)
        assert np.abs(batch.tensor(levels).cpu().numpy() - expected).max() < 0.01
        assert np.abs(batch.tensor(levels, "fp16").float().cpu().numpy() - expected).max() < 0.5
    batch.close()


def test_after_a_batch_is_closed_its_slots_may_be_filled(ring: Ring, device: Device) -> None:
    batch = batch_of(ring, device)
    expected = batch.pixels(LOOKS[1])
    batch.prefetch()
    seen = batch.tensor(LOOKS[1])
    batch.close()
    ring.memory()[:] = 0
    assert np.abs(seen.cpu().numpy() - expected).max() < 0.01


def test_an_onnx_graph_computes_from_torchs_tensor_what_it_does_on_the_cpu(
    ring: Ring, device: Device, tmp_path: Path
) -> None:
    import onnx
    from onnx import TensorProto, helper

    from catalogd.models.sessions import Session

    node = helper.make_node("GlobalAveragePool", ["pixels"], ["means"])
    values = [
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, "h", "w"]),
        helper.make_tensor_value_info("means", TensorProto.FLOAT, ["n", 3, 1, 1]),
    ]
    graph = helper.make_graph([node], "means", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(tmp_path / "means.onnx"))
    batch = batch_of(ring, device)
    [expected] = Session(tmp_path / "means.onnx", 1).run(batch.pixels(LOOKS[0]))
    session = Session(tmp_path / "means.onnx", 1, device=device)
    for dtype in ("fp32", "fp16"):
        [means] = session.run(batch.tensor(LOOKS[0], dtype))
        assert means == pytest.approx(expected, abs=0.01)
    [there] = session.run_there(batch.tensor(LOOKS[0]))
    assert there.device_name() == "cuda"
    batch.close()


def test_a_recorded_network_says_what_it_says_unrecorded(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from catalogd.models import replaying, torch_models

    monkeypatch.setattr(replaying, "_LEAST_GAIN", -1e9)  # kept, whatever it gains
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 64), torch.nn.GELU()] * 20
    network = torch_models.ready(torch.nn.Sequential(*layers), Hardware(device, 1, "fp32"))
    replayed = replaying.Replayed(network, Hardware(device, 1, "fp32"), "test")
    with torch_models.inference():
        for rows in (5, 7, 8, 3, 6, 4, 1, 5):
            values = torch.randn(rows, 64, device=device.label)
            assert torch.allclose(replayed(values), network(values), atol=1e-5)
    assert [shape for shape, graph in replayed._graphs.items() if graph] == [(8, 64), (4, 64)]


def test_memory_that_is_out_is_a_memory_error_and_is_had_again(device: Device) -> None:
    import torch

    from catalogd.models import memory, torch_models

    before = memory.memory_used(device)
    with pytest.raises(MemoryError), torch_models.inference():
        torch.empty(1 << 50, device=device.label)
    assert 0 < memory.memory_used(device) <= before + (64 << 20)
    torch.ones(8, device=device.label)


def test_memory_that_torch_keeps_for_later_counts_as_free_and_can_be_given_back(device: Device) -> None:
    import torch

    from catalogd.models import memory

    memory.give_back(device)
    before = memory.memory_used(device)
    large = torch.empty(256 << 20, dtype=torch.uint8, device=device.label)
    assert memory.memory_used(device) - before >= 256 << 20
    del large
    assert memory.memory_used(device) - before < 64 << 20
    free, _ = torch.cuda.mem_get_info(device.index)
    memory.give_back(device)
    assert torch.cuda.mem_get_info(device.index)[0] - free >= 256 << 20


def test_rows_are_generated_in_groups_as_alone(device: Device) -> None:
    import torch

    from catalogd.models import torch_models
    from tests.models.test_torch_models import LENGTHS, WORDS, tiny_decoder

    torch.manual_seed(0)
    model = torch_models.ready(tiny_decoder(), Hardware(device, 1, "fp32"))
    prompts = [torch.randint(3, WORDS, (length,)) for length in LENGTHS]
    with torch_models.inference():
        together = torch_models.generate_bucketed(model, prompts, pad=1, max_new_tokens=12)
        alone = [torch_models.generate_bucketed(model, [p], pad=1, max_new_tokens=12)[0] for p in prompts]
    assert together == alone
