"""Text in a frame: found at any size, read, and not imagined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from catalogd.models.text import TextModel
from catalogd.records import Output, TextLine
from catalogd.settings import Settings
from tests.models.conftest import Frame, photo, sign


@pytest.fixture(scope="module")
def model(settings: Settings) -> Iterator[TextModel]:
    model = TextModel(settings, 1)
    model.load()
    yield model
    model.unload()


def lines_of(model: TextModel, frame: Frame) -> tuple[TextLine, ...]:
    (output,) = model.run([frame])
    assert output.text_lines is not None, output.error
    return output.text_lines


def test_the_page_is_read_from_top_to_bottom(model: TextModel) -> None:
    lines = lines_of(model, photo("page.png"))
    assert lines[0].text == "Region-based segmentation"
    assert "markers of the coins" in lines[1].text
    tops = [line.corners[0][1] for line in lines]
    assert tops == sorted(tops)
    assert all(line.score > 0.9 for line in lines)


@pytest.mark.parametrize("size_px", [20, 40, 120])
@pytest.mark.parametrize("turn", [0, 8])
def test_words_are_read_at_any_size_and_slightly_turned(model: TextModel, size_px: int, turn: int) -> None:
    lines = lines_of(model, sign("HARBOUR 1924", size_px=size_px, turn=turn))
    assert [line.text for line in lines] == ["HARBOUR 1924"]


def test_corners_run_clockwise_from_the_top_left_of_the_line(model: TextModel) -> None:
    (line,) = lines_of(model, sign("HARBOUR 1924"))
    (left, top), (right, _), (_, bottom), _ = line.corners
    assert left == pytest.approx(200 / 1280, abs=0.02)
    assert left < right
    assert top < 320 / 853 < bottom
    assert bottom - top < 0.1


def test_digits_and_punctuation_are_kept(model: TextModel) -> None:
    assert lines_of(model, sign("Total: $17.50 (No. 8)"))[0].text == "Total: $17.50 (No. 8)"


@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "astronaut.png"])
def test_a_photo_without_text_has_none(model: TextModel, name: str) -> None:
    assert lines_of(model, photo(name)) == ()


def test_a_photo_without_text_is_looked_at_once_and_nothing_is_recognised(
    model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    detector, reader = model._detector, model._reader
    assert detector is not None
    assert reader is not None

    class Counted:
        def run(self, pixels: np.ndarray) -> Any:
            looks.append(pixels.shape)
            return detector.run(pixels)

    class Refusing:
        def run(self, strips: np.ndarray) -> Any:
            raise AssertionError("nothing should be recognised")

    monkeypatch.setattr(model, "_detector", Counted())
    monkeypatch.setattr(model, "_reader", Refusing())
    grass = np.ascontiguousarray(np.resize(photo("chelsea.png"), (853, 1280, 3)))
    assert lines_of(model, np.full_like(grass, 90)) == ()
    assert len(looks) == 1
    assert max(looks[0][2:]) < 1280


def test_a_batch_gives_what_one_at_a_time_gives(model: TextModel) -> None:
    frames = [sign("HARBOUR 1924"), photo("coffee.png"), photo("page.png"), sign("Library", size_px=60)]
    together: list[Output] = model.run(frames)
    for frame, output in zip(frames, together, strict=True):
        alone = lines_of(model, frame)
        assert [line.text for line in alone] == [line.text for line in output.text_lines or ()]
        assert [line.corners for line in alone] == [line.corners for line in output.text_lines or ()]


def test_a_frame_that_is_no_frame_fails_alone(model: TextModel) -> None:
    first, second = model.run([np.zeros((5, 5, 4), np.uint8), sign("HARBOUR")])
    assert first.error
    assert [line.text for line in second.text_lines or ()] == ["HARBOUR"]


def test_frames_of_odd_shapes_are_read(model: TextModel) -> None:
    for shape in ((1, 1, 3), (5, 1280, 3), (1280, 7, 3)):
        assert lines_of(model, np.full(shape, 128, np.uint8)) == ()
