"""Faces: found, aligned, told apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageFilter

from catalogd.models.faces import FacesModel
from catalogd.records import Face
from catalogd.settings import Settings
from tests.models.conftest import Frame, photo


@pytest.fixture(scope="module")
def model(settings: Settings) -> Iterator[FacesModel]:
    model = FacesModel(settings, 1)
    model.load()
    yield model
    model.unload()


def faces_of(model: FacesModel, frame: Frame) -> tuple[Face, ...]:
    (output,) = model.run([frame])
    assert output.faces is not None, output.error
    return output.faces


def vector(face: Face) -> np.ndarray:
    assert face.embedding is not None
    return np.frombuffer(face.embedding, "<f2").astype(np.float32)


def test_the_astronaut_has_one_face_where_it_is(model: FacesModel) -> None:
    (face,) = faces_of(model, photo("astronaut.png"))
    x, y, width, height = face.box
    assert x < 0.44 < x + width
    assert y < 0.22 < y + height
    assert 0.1 < width < 0.35
    assert face.score > 0.8
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < right_mouth[0]
    assert np.linalg.norm(vector(face)) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "page.png"])
def test_what_has_no_face_has_none(model: FacesModel, name: str) -> None:
    assert faces_of(model, photo(name)) == ()


def test_a_face_is_the_same_person_smaller_turned_and_flipped(model: FacesModel) -> None:
    image = Image.fromarray(photo("astronaut.png"))
    (face,) = faces_of(model, np.array(image))
    for variant in (
        image.resize((300, 300)),
        image.rotate(15),
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    ):
        (other,) = faces_of(model, np.array(variant))
        assert vector(face) @ vector(other) > 0.6


def test_a_batch_gives_what_one_at_a_time_gives(model: FacesModel) -> None:
    astronaut = photo("astronaut.png")
    twins = np.concatenate([astronaut, astronaut], axis=1)
    frames = [twins, photo("coffee.png"), astronaut]
    together = model.run(frames)
    assert [len(output.faces or ()) for output in together] == [2, 0, 1]
    for frame, output in zip(frames, together, strict=True):
        for alone, face in zip(faces_of(model, frame), output.faces or (), strict=True):
            assert alone.box == face.box
            assert vector(alone) == pytest.approx(vector(face), abs=2e-3)


def test_a_blurred_or_small_face_has_less_quality(model: FacesModel) -> None:
    image = Image.fromarray(photo("astronaut.png"))
    (sharp,) = faces_of(model, np.array(image))
    (blurred,) = faces_of(model, np.array(image.filter(ImageFilter.GaussianBlur(5))))
    (small,) = faces_of(model, np.array(image.resize((160, 160))))
    assert 0 < blurred.quality < sharp.quality <= 1
    assert 0 < small.quality < sharp.quality


def test_boxes_stay_inside_the_frame(model: FacesModel) -> None:
    (face,) = faces_of(model, np.ascontiguousarray(photo("astronaut.png")[90:, 190:]))
    x, y, width, height = face.box
    assert min(x, y) >= 0
    assert x + width <= 1
    assert y + height <= 1


def test_a_frame_that_is_no_frame_fails_alone(model: FacesModel) -> None:
    first, second = model.run([np.zeros((3,), np.uint8), photo("astronaut.png")])
    assert first.error
    assert first.faces is None
    assert len(second.faces or ()) == 1
