"""Objects of the 80 COCO classes."""

from __future__ import annotations

import numpy as np
import pytest

from catalogd.models.objects import ObjectsModel
from catalogd.settings import Settings
from tests.models.conftest import photo


@pytest.fixture(scope="module")
def model(settings: Settings) -> ObjectsModel:
    model = ObjectsModel(settings, 1)
    model.load()
    return model


def test_objects_are_named_and_boxed(model: ObjectsModel) -> None:
    cat, coffee = model.run([photo("chelsea.png"), photo("coffee.png")])
    (best, *_) = cat.objects or ()
    assert best.name == "cat"
    x, y, width, height = best.box
    assert 0 <= x < x + width <= 1
    assert 0 <= y < y + height <= 1
    assert width * height > 0.3
    assert {"cup", "dining table"} <= {item.name for item in coffee.objects or ()}


def test_a_grey_frame_has_no_objects_and_a_broken_one_fails_alone(model: ObjectsModel) -> None:
    grey, broken = model.run([np.full((300, 400, 3), 128, np.uint8), np.zeros((4,), np.uint8)])
    assert grey.objects == ()
    assert broken.error
