"""Signatures: copies differ in few bits, other pictures in many, and turning one turns its signature."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd import _native
from catalogd.models.signature import (
    FLAT,
    FREQUENCIES,
    TURNS,
    SignatureModel,
    Turn,
    signature,
    turned,
    turns_between,
)
from catalogd.settings import Settings
from tests.factory import scene


def bits(a: bytes, b: bytes) -> int:
    return int.from_bytes(a, "big").__xor__(int.from_bytes(b, "big")).bit_count()


def rows(*signatures: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(signatures), np.uint8).reshape(-1, 32)


def resized(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    small = np.empty((height, width, 3), np.uint8)
    _native.resize(frame, small)
    return small


def slow_signature(frame: np.ndarray) -> bytes:
    """By the definition: exact area means, then each wave summed up for itself."""
    size = frame.shape[0] // 64
    assert frame.shape[:2] == (64 * size, 64 * size)
    luma = (frame @ np.array([0.299, 0.587, 0.114])).reshape(64, size, 64, size).mean(axis=(1, 3))
    wave = np.cos(np.pi * (np.arange(64) + 0.5)[None] * np.arange(64)[:, None] / 64)
    found = [float((np.outer(wave[u], wave[v]) * luma).sum()) > 0 for u, v in FREQUENCIES.tolist()]
    return np.packbits(found).tobytes()


def test_a_signature_is_that_of_the_definition() -> None:
    frame = scene(256, 256, 4)
    assert bits(signature(frame), slow_signature(frame)) <= 1  # a wave may be 0 but for rounding


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_that_was_encoded_again_or_resized_differs_in_few_bits(seed: int) -> None:
    frame = scene(seed=seed)
    encoded = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(frame, quality=30))
    for copy in (encoded, resized(frame, 240, 320), resized(frame, 120, 160)):
        assert bits(signature(frame), signature(copy)) <= 12


def test_other_pictures_differ_in_about_half_of_the_bits() -> None:
    made = [signature(scene(seed=seed)) for seed in range(8)]
    assert min(bits(a, b) for i, a in enumerate(made) for b in made[:i]) > 44


@pytest.mark.parametrize("turn", TURNS)
def test_the_signature_of_a_turned_picture_is_known_without_its_pixels(turn: Turn) -> None:
    frame = scene(seed=9)
    held = signature(np.ascontiguousarray(turn.of(frame)))
    assert bits(turned(rows(signature(frame)), turn)[0].tobytes(), held) <= 1
    assert turns_between(signature(frame), held, 20)[0][0] == turn


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.sampled_from(TURNS))
def test_some_turn_takes_every_turn_back(made: bytes, turn: Turn) -> None:
    there = turned(rows(made), turn)
    assert any((turned(there, back) == rows(made)).all() for back in TURNS)


def test_the_turns_are_called_what_people_call_them() -> None:
    assert [turn.words for turn in TURNS] == [
        "",
        "mirrored",
        "mirrored",
        "turned by 180°",
        "mirrored and turned",
        "turned by 90°",
        "turned by 90°",
        "mirrored and turned",
    ]


def test_a_blank_frame_is_like_nothing_not_even_another_one() -> None:
    blank = np.full((480, 640, 3), 200, np.uint8)
    assert signature(blank) == FLAT
    assert turns_between(FLAT, FLAT, 256) == []


def test_the_model_says_so_when_a_frame_fails_and_goes_on() -> None:
    model = SignatureModel(Settings(), 1)
    model.load()
    broken, good = model.run([np.zeros((3, 3), np.uint8), scene(100, 100)])  # type: ignore[list-item]
    model.unload()
    assert broken.error is not None
    assert broken.signature is None
    assert good.signature is not None
    assert len(good.signature) == 32
    assert {broken.fingerprint, good.fingerprint} == {"signature.1"}
