"""What is made of the frames of a batch on a CPU, how often, and where a look lies in a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd import _native
from catalogd.models import batches
from catalogd.models.batches import Batch, Look, as_batch, placed
from catalogd.models.devices import CPU, Device

LOOK = Look((24, 24))


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def resized(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the frames that the native kernel was called for, in order."""
    shapes: list[tuple[int, ...]] = []

    class Counting:
        @staticmethod
        def resize_to_tensor(frame: Any, *arguments: Any, **options: Any) -> None:
            shapes.append(frame.shape)
            _native.resize_to_tensor(frame, *arguments, **options)

    monkeypatch.setattr(batches, "_native", Counting)
    return shapes


def test_a_batch_is_a_sequence_of_its_frames() -> None:
    frames = [noise(20, 30), noise(40, 30), noise(10, 10)]
    batch = Batch(frames)
    assert len(batch) == 3
    assert batch[1] is frames[1]
    assert all(a is b for a, b in zip(batch, frames, strict=True))
    assert [frame.shape for frame in batch[1:]] == [(40, 30, 3), (10, 10, 3)]
    assert as_batch(batch) is batch
    assert list(as_batch(frames))[2] is frames[2]


def test_frames_are_never_copied() -> None:
    frame = noise(20, 30)
    assert np.shares_memory(Batch([frame]).part([0])[0], frame)


def test_a_look_that_several_models_want_is_made_once(resized: list[tuple[int, ...]]) -> None:
    batch = Batch([noise(20, 30), noise(40, 30)])
    first = batch.pixels(LOOK)
    assert np.array_equal(first, batch.pixels(Look((24, 24))))
    assert len(resized) == 2
    batch.pixels(Look((24, 24), filter="bicubic"))
    assert len(resized) == 4


def test_parts_share_what_was_made_and_have_it_in_their_own_order(resized: list[tuple[int, ...]]) -> None:
    batch = Batch([noise(20, 30, seed) for seed in range(4)])
    some = batch.part([3, 1]).pixels(LOOK)
    assert len(resized) == 2
    whole = batch.pixels(LOOK)
    assert len(resized) == 4
    assert np.array_equal(some, whole[[3, 1]])
    assert batch.part([3, 1]).part([1])[0] is batch[1]


def test_a_closed_batch_has_forgotten_what_it_made(resized: list[tuple[int, ...]]) -> None:
    batch = Batch([noise(20, 30)])
    part = batch.part([0])
    part.pixels(LOOK)
    batch.close()
    batch.close()
    part.pixels(LOOK)
    assert len(resized) == 2


def test_on_a_cpu_nothing_is_fetched_ahead() -> None:
    batch = Batch([noise(20, 30)])
    batch.prefetch()
    assert batch.device is CPU
    assert batch._prepared[0].upload is None


def test_pixels_are_normalised_by_channel_and_may_be_blue_first() -> None:
    frame = np.full((10, 10, 3), (10, 20, 30), np.uint8)
    look = Look((4, 4), mean=(1, 2, 3), scale=(1, 0.5, 0.25))
    values = Batch([frame]).pixels(look)[0, :, 0, 0]
    assert values.tolist() == [9, 9, 6.75]
    blue_first = Look((4, 4), mean=(1, 2, 3), scale=(1, 0.5, 0.25), bgr=True)
    assert Batch([frame]).pixels(blue_first)[0, :, 0, 0].tolist() == [6.75, 9, 9]


def test_a_letterbox_shows_all_of_a_frame_and_is_filled_up_below_and_right() -> None:
    look = Look((32, 32), scale=(1, 1, 1), fit="letterbox", fill=114)
    wide, tall = (
        Batch([np.full(shape, 200, np.uint8)]).pixels(look)[0, 0] for shape in ((10, 20, 3), (40, 10, 3))
    )
    assert (wide[:16] == 200).all()
    assert (wide[16:] == 114).all()
    assert (tall[:, :8] == 200).all()
    assert (tall[:, 8:] == 114).all()


@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (1280, 853), (427, 640), (1, 700)])
def test_a_letterbox_is_rounded_down_as_insightface_does_it(shape: tuple[int, int]) -> None:
    """Half the pictures were seen a px larger than the authors' programs see them."""
    (height, width), edge = shape, 640
    ratio = height / width
    wanted = (edge, int(edge / ratio)) if ratio > 1 else (int(edge * ratio), edge)
    _, inside = placed(Look((edge, edge), fit="letterbox"), height, width)
    assert inside == (max(1, wanted[0]), max(1, wanted[1]))


@given(
    height=st.integers(1, 2000),
    width=st.integers(1, 2000),
    size=st.tuples(st.integers(1, 640), st.integers(1, 640)),
    fit=st.sampled_from(["crop", "squash", "letterbox"]),
    share=st.sampled_from([1.0, 0.875, 0.5]),
)
def test_what_is_cut_lies_inside_the_frame_and_what_it_becomes_inside_the_look(
    height: int, width: int, size: tuple[int, int], fit: str, share: float
) -> None:
    """The native kernel refuses a cut that reaches out by more than a rounding."""
    (x, y, cut_width, cut_height), inside = placed(Look(size, fit=fit, share=share), height, width)
    assert min(x, y) >= 0
    assert min(cut_width, cut_height) > 0
    assert x + cut_width <= width + 1e-6
    assert y + cut_height <= height + 1e-6
    assert 1 <= inside[0] <= size[0]
    assert 1 <= inside[1] <= size[1]


def test_the_share_of_a_crop_is_of_the_short_side() -> None:
    (x, y, width, height), _ = placed(Look((10, 10), share=0.5), 100, 200)
    assert (x, y, width, height) == (75, 25, 50, 50)


def test_a_frame_in_a_gpus_batch_still_has_its_pixels_for_a_model_on_the_cpu() -> None:
    batch = Batch([noise(20, 30)], Device("cuda", 0, "none here"))
    assert batch.pixels(LOOK).shape == (1, 3, 24, 24)
    assert batch._prepared[0].upload is None
