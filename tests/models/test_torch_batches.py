"""Frames as tensors: seen as the native kernel sees them, copied once, in the right order of streams."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from catalogd.models.batches import Batch, Look, looked_at
from catalogd.models.devices import Device
from tests.models.conftest import photo

pytestmark = pytest.mark.torch
LEVEL = 0.001  # of 255: both ways have the same weights and differ by how they sum


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@dataclasses.dataclass(frozen=True)
class NearDevice(Device):
    """Called a GPU, while its memory is the machine's."""

    @property
    def label(self) -> str:
        return "cpu"


ELSEWHERE = NearDevice("mps", 0, "not really one")
STREAMED = NearDevice("cuda", 0, "not really one")


@pytest.mark.parametrize("filter", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("fit", ["crop", "squash", "letterbox"])
@pytest.mark.parametrize("size", [(224, 224), (37, 300), (660, 650)])
def test_a_device_sees_what_the_native_kernel_sees(fit: str, filter: str, size: tuple[int, int]) -> None:
    """Shrunk, enlarged, and one of each; noise is the hardest there is to resize."""
    frames = [noise(427, 640), noise(640, 480), noise(40, 31)]
    look = Look(size, scale=(1, 1, 1), fit=fit, filter=filter, fill=114.0)
    there = Batch(frames, ELSEWHERE).tensor(look).numpy()
    assert there.shape == (3, 3, *size)
    assert np.abs(there - Batch(frames).pixels(look)).max() < LEVEL


@pytest.mark.parametrize(
    "look", [Look((64, 64), share=0.875), Look((60, 80), (120, 110, 100), (1, 0.5, 0.25))]
)
@pytest.mark.parametrize("bgr", [False, True])
def test_crops_normalisation_and_the_order_of_planes_are_the_same(look: Look, bgr: bool) -> None:
    look = dataclasses.replace(look, bgr=bgr)
    frame = photo("astronaut.png")
    there = Batch([frame], ELSEWHERE).tensor(look).numpy()[0]
    assert np.abs(there - looked_at(frame, look)).max() < LEVEL


@pytest.mark.parametrize("filter", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(224, 224), (450, 660)])
def test_half_precision_is_off_by_less_than_a_models_own_rounding(filter: str, size: tuple[int, int]) -> None:
    """bf16 has steps of a level at 255, and of half a level below 128."""
    import torch

    from catalogd.models import tensors

    pixels = torch.from_numpy(noise(427, 640))
    exact, half = (
        tensors.resized(pixels, (0, 0, 640, 427), size, filter, working)
        for working in (torch.float32, torch.float16)
    )
    assert half.dtype == torch.float32
    assert 0 < (exact - half).abs().max() < 0.5


def test_a_network_hardly_tells_from_which_way_its_pixels_came() -> None:
    import torch

    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 16, 16), torch.nn.GELU(), torch.nn.Flatten(1))
    look = Look((224, 224), (123.7, 116.3, 103.5), (1 / 58.4, 1 / 57.1, 1 / 57.4), filter="bicubic")
    frames = [photo("astronaut.png"), photo("chelsea.png"), photo("coffee.png")]
    with torch.inference_mode():
        here, there = (network(Batch(frames, device).tensor(look)) for device in (Device(), ELSEWHERE))
    assert torch.cosine_similarity(here, there).min() > 0.99999


def test_on_a_cpu_tensors_lie_on_the_native_kernels_pixels() -> None:
    import torch

    look = Look((24, 24))
    batch = Batch([noise(30, 20), noise(20, 30)])
    tensor = batch.tensor(look)
    assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu")
    assert np.array_equal(tensor.numpy(), batch.pixels(look))


@pytest.mark.parametrize("device", [Device(), ELSEWHERE])
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_tensors_come_in_the_precision_of_the_model(device: Device, dtype: str) -> None:
    from catalogd.models.tensors import dtype_of

    batch = Batch([noise(30, 20)], device)
    exact = batch.tensor(Look((8, 8)))
    assert batch.tensor(Look((8, 8)), dtype).dtype == dtype_of(dtype)
    assert batch.tensor(Look((8, 8)), dtype_of(dtype)).float().numpy() == pytest.approx(
        exact.numpy(), rel=0.01
    )


def test_a_frame_that_lies_read_only_is_seen_without_a_warning() -> None:
    frame = noise(30, 20)
    frame.flags.writeable = False
    assert Batch([frame], ELSEWHERE).tensor(Look((8, 8))).shape == (1, 3, 8, 8)


def test_frames_on_the_device_are_those_of_the_batch() -> None:
    frames = [noise(30, 20), noise(20, 30)]
    there = Batch(frames, ELSEWHERE).uploaded()
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(there, frames, strict=True))


def test_memory_that_is_out_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    batch = Batch([noise(30, 20)], ELSEWHERE)
    monkeypatch.setattr(torch.Tensor, "to", full)
    with pytest.raises(MemoryError, match="out of memory"):
        batch.prefetch()


# ── streams ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What CUDA was told, in order, by a CUDA that only writes it down; copies are copies in memory."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from catalogd.models import tensors

    told: list[str] = []
    streams = ["compute"]

    class Event:
        def record(self) -> None:
            told.append(f"recorded on {streams[-1]}")

        def synchronize(self) -> None:
            told.append("waited here")

    class Stream:
        def __init__(self, label: str) -> None:
            self.name = label

        def wait_event(self, event: Event) -> None:
            told.append(f"{self.name} waits")

    @contextlib.contextmanager
    def on(stream: Stream) -> Iterator[None]:
        streams.append("copies")
        yield
        streams.pop()

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.ops.aten.copy_.default and args[1].dtype == torch.uint8:
                told.append(f"copied {args[1].shape[0]} rows on {streams[-1]}")
            return function(*args, **(kwargs or {}))

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("compute"))
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda self, stream: told.append(f"kept for {stream.name}")
    )
    tensors._copy_stream.cache_clear()
    with Copies():
        yield told
    tensors._copy_stream.cache_clear()


def test_each_frame_is_copied_once_whatever_is_done_with_it(told: list[str]) -> None:
    batch = Batch([noise(30, 20), noise(20, 30)], STREAMED)
    batch.prefetch()
    batch.prefetch()
    for part in (batch, batch.part([1, 0]), batch.part([1])):
        part.tensor(Look((8, 8)))
        part.tensor(Look((16, 16)), "bf16")
        part.uploaded()
    assert [line for line in told if line.startswith("copied")] == [
        "copied 30 rows on copies",
        "copied 20 rows on copies",
    ]


def test_copies_run_beside_and_what_computes_waits_for_them(told: list[str]) -> None:
    batch = Batch([noise(30, 20)], STREAMED)
    batch.prefetch()
    assert told == ["copied 30 rows on copies", "recorded on copies"], "the caller waits for nothing"
    told.clear()
    batch.tensor(Look((8, 8)))
    assert told == ["compute waits", "kept for compute"]
    told.clear()
    batch.close()
    assert told == ["waited here"], "a slot is filled anew only when it was read"
    batch.close()
    assert told == ["waited here"]
