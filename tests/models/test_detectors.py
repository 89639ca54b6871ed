"""Detectors in ONNX: what comes out of a batch is what plain arithmetic makes of one picture's numbers."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import batches
from catalogd.models.detectors import Detector, Rows, as_objects, class_names
from catalogd.models.detr import DetrModel
from catalogd.models.devices import Hardware
from catalogd.models.objects import COCO_NAMES
from catalogd.models.yolox import YoloxModel
from catalogd.records import ObjectBox
from catalogd.settings import Settings
from tests.models import tiny_graphs
from tests.models.conftest import Frame, photo

Floats = NDArray[np.float32]
ONE_THREAD = Hardware(threads=1)


def opened(kind: type[Detector], folder: Path, settings: Settings) -> Any:
    model = kind(settings, tiny_graphs.found(folder), ONE_THREAD)
    model.load()
    return model


@functools.cache
def frames() -> list[Frame]:
    """Three of different shapes; grainy, so that random weights fire."""
    grain = np.random.default_rng(1)
    pictures = (photo("chelsea.png"), photo("astronaut.png"), photo("coffee.png"))
    return [(p // 2 + grain.integers(0, 128, p.shape)).astype(np.uint8) for p in pictures]


def objects_of(model: Any, some: list[Frame]) -> list[tuple[ObjectBox, ...]]:
    outputs = model.run(some)
    assert not any(output.error for output in outputs), [output.error for output in outputs]
    return [output.objects for output in outputs]


def assert_same(found: tuple[ObjectBox, ...], wanted: list[Any], names: tuple[str, ...] = COCO_NAMES) -> None:
    """`wanted`: score, class, box (edges in 0…1, not cut off), the surest first."""
    assert len(found) == len(wanted) > 3
    for item, (score, number, edges) in zip(found, wanted, strict=True):
        left, top, right, bottom = np.clip(edges, 0, 1)
        assert item.name == names[number]
        assert item.score == pytest.approx(score, abs=1e-5)
        assert item.box == pytest.approx((left, top, right - left, bottom - top), abs=2e-3)


# ── RT-DETR ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("graph", [tiny_graphs.rtdetr, tiny_graphs.rtdetr_of_authors])
def test_rtdetr_finds_the_surest_pairs_of_box_and_class(
    settings: Settings, tmp_path: Path, graph: Any
) -> None:
    """Both exports of the same weights: one gives numbers to decode, the other has decoded them."""
    raw = onnxruntime.InferenceSession(str(tiny_graphs.rtdetr(tmp_path / "raw" / "model.onnx")))
    graph(tmp_path / "model" / "model.onnx")
    model = opened(DetrModel, tmp_path / "model", settings)
    look = batches.Look((640, 640), fit="squash", filter="bilinear")
    for frame, found in zip(frames(), objects_of(model, frames()), strict=True):
        logits, boxes = (
            part[0] for part in raw.run(None, {"pixel_values": batches.looked_at(frame, look)[None]})
        )
        pairs = [
            (1 / (1 + np.exp(-logits[query, number])), number, boxes[query])
            for query in range(len(logits))
            for number in range(logits.shape[1])
        ]
        surest = sorted(pairs, key=lambda pair: -pair[0])[: len(logits)]
        wanted = [
            (score, number, [x - width / 2, y - height / 2, x + width / 2, y + height / 2])
            for score, number, (x, y, width, height) in surest
            if score > 0.5
        ]
        assert_same(found, wanted)


@pytest.mark.parametrize("batch", [1, "batch_size"])
def test_a_batch_of_rtdetr_is_one_run_and_gives_what_one_at_a_time_gives(
    settings: Settings, tmp_path: Path, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_graphs.rtdetr(tmp_path / "model.onnx", batch=batch)
    model = opened(DetrModel, tmp_path, settings)
    runs = counted(model, monkeypatch)
    together = objects_of(model, frames())
    assert runs == [3]
    assert together == [approximately(*objects_of(model, [frame])) for frame in frames()]


def test_names_come_from_the_configuration_in_coco_s_words(settings: Settings, tmp_path: Path) -> None:
    labels = {"0": "person", "1": "motorbike", "2": "tvmonitor", "10": "sofa"}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels, "model_type": "rt_detr"}))
    assert class_names(tmp_path) == ("person", "motorcycle", "tv", *[""] * 7, "couch")
    assert class_names(tmp_path / "nothing") == COCO_NAMES
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ModelError, match=r"config\.json"):
        class_names(tmp_path)


def test_a_class_without_a_name_is_left_out() -> None:
    """Names used to move up into the gaps, so that everything above had the name of another class."""
    boxes = np.tile(np.array([0.1, 0.1, 0.5, 0.5], np.float32), (3, 1))
    rows = Rows(np.array([2, 1, 0]), boxes, np.array([0.9, 0.8, 0.7], np.float32))
    found = as_objects(rows, ("cat", "", "dog"))
    assert not isinstance(found, Exception)
    assert [item.name for item in found] == ["dog", "cat"]


def test_a_graph_that_is_no_rtdetr_is_refused(settings: Settings, tmp_path: Path) -> None:
    tiny_graphs.yolox(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx: no export of RT-DETR that is known: it gives output"):
        opened(DetrModel, tmp_path, settings)


# ── YOLOX ─────────────────────────────────────────────────────────────────────────────────────


def plain_yolox(values: Floats, px: int) -> list[Any]:
    """Score, class, box (edges in px) by loops, as the paper and its authors' demonstration decode it."""
    candidates = []
    row = 0
    for stride in (8, 16, 32):
        for y in range(px // stride):
            for x in range(px // stride):
                numbers = values[row].astype(np.float64)
                row += 1
                probabilities = numbers[4] * numbers[5:]
                number = int(probabilities.argmax())
                if probabilities[number] <= 0.3:
                    continue
                cx, cy = (numbers[0] + x) * stride, (numbers[1] + y) * stride
                width, height = np.exp(numbers[2:4]) * stride
                edges = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
                candidates.append((float(probabilities[number]), number, edges))
    kept: list[Any] = []
    for candidate in sorted(candidates, key=lambda item: -item[0]):
        if len(kept) < 100 and all(overlap(candidate[2], other[2]) <= 0.45 for other in kept):
            kept.append(candidate)
    return kept


def overlap(a: list[float], b: list[float]) -> float:
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared)


def test_yolox_decodes_its_grids_and_keeps_the_surest_of_what_overlaps(
    settings: Settings, tmp_path: Path
) -> None:
    path = tiny_graphs.yolox(tmp_path / "model.onnx")
    model = opened(YoloxModel, tmp_path, settings)
    session = onnxruntime.InferenceSession(str(path))
    for frame, found in zip(frames(), objects_of(model, frames()), strict=True):
        pixels = letterboxed(frame, 320)
        size = np.array([320 * edge // max(frame.shape[:2]) for edge in (frame.shape[1], frame.shape[0])] * 2)
        wanted = plain_yolox(session.run(None, {"images": pixels})[0][0], 320)
        assert_same(found, [(score, number, edges / size) for score, number, edges in wanted])


def letterboxed(frame: Frame, px: int) -> Floats:
    look = batches.Look((px, px), scale=(1.0,) * 3, fit="letterbox", fill=114, bgr=True, filter="bilinear")
    return batches.looked_at(frame, look)[None]


def test_yolox_sees_blue_green_red_in_levels_with_grey_below() -> None:
    frame = np.zeros((160, 320, 3), np.uint8)
    frame[..., 0] = 200
    pixels = letterboxed(frame, 320)[0]
    assert pixels[:, 0, 0] == pytest.approx([0, 0, 200], abs=1e-3)
    assert (pixels[:, 160:] == 114).all()


def test_a_graph_that_has_decoded_its_cells_already_gives_the_same(
    settings: Settings, tmp_path: Path
) -> None:
    tiny_graphs.yolox(tmp_path / "raw" / "model.onnx")
    tiny_graphs.yolox(tmp_path / "decoded" / "model.onnx", is_decoded=True)
    raw = objects_of(opened(YoloxModel, tmp_path / "raw", settings), frames())
    decoded = objects_of(opened(YoloxModel, tmp_path / "decoded", settings), frames())
    assert raw == [approximately(some) for some in decoded]


@pytest.mark.parametrize("batch", [1, "n"])
def test_a_batch_of_yolox_is_one_run_and_gives_what_one_at_a_time_gives(
    settings: Settings, tmp_path: Path, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_graphs.yolox(tmp_path / "model.onnx", batch=batch)
    model = opened(YoloxModel, tmp_path, settings)
    runs = counted(model, monkeypatch)
    together = objects_of(model, frames())
    assert runs == [3]
    assert together == [approximately(*objects_of(model, [frame])) for frame in frames()]


def test_a_graph_with_other_classes_than_names_is_refused(settings: Settings, tmp_path: Path) -> None:
    tiny_graphs.yolox(tmp_path / "model.onnx", classes=20)
    with pytest.raises(ModelError, match=r"model\.onnx: its output is \(1, 2100, 25\)"):
        opened(YoloxModel, tmp_path, settings)


# ── both ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["detr", "yolox"])
def model(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Any:
    if request.param == "detr":
        tiny_graphs.rtdetr(tmp_path / "model.onnx")
        return opened(DetrModel, tmp_path, settings)
    tiny_graphs.yolox(tmp_path / "model.onnx")
    return opened(YoloxModel, tmp_path, settings)


def test_boxes_stay_inside_the_frame_and_the_surest_come_first(model: Any) -> None:
    for found in objects_of(model, frames()):
        scores = [item.score for item in found]
        assert scores == sorted(scores, reverse=True)
        for item in found:
            x, y, width, height = item.box
            assert min(x, y) >= 0
            assert min(width, height) > 0
            assert max(x + width, y + height) <= 1.00001


def test_a_frame_that_is_no_frame_fails_alone(model: Any) -> None:
    broken, whole = model.run([np.zeros((4,), np.uint8), frames()[0]])
    assert broken.error
    assert broken.objects is None
    assert whole.objects


def test_what_is_not_a_number_fails_its_frame_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = model._graph.run

    def spoiled(*inputs: Any) -> list[Any]:
        outputs = run(*inputs)
        outputs[0][1] = np.nan
        return list(outputs)

    monkeypatch.setattr(model._graph, "run", spoiled)
    first, second, third = model.run(frames())
    assert second.error
    assert "not a number" in second.error
    assert first.objects
    assert third.objects


def test_out_of_memory_is_the_caller_s(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*inputs: Any) -> Any:
        raise MemoryError("the GPU is full")

    monkeypatch.setattr(model._graph, "run", full)
    with pytest.raises(MemoryError):
        model.run(frames())


def test_no_frames_are_no_outputs(model: Any) -> None:
    assert model.run([]) == []


def counted(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the number of pictures of each run of the network."""
    session = model._graph._session
    runs: list[int] = []

    class Counted:
        def run(self, *inputs: Any) -> Any:
            runs.append(len(inputs[0]))
            return session.run(*inputs)

    monkeypatch.setattr(model._graph, "_session", Counted())
    return runs


class approximately:  # noqa: N801 - reads like pytest.approx
    """Equal to objects that differ by rounding."""

    def __init__(self, found: tuple[ObjectBox, ...]) -> None:
        self.found = found

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, tuple)
        return len(self.found) == len(other) > 0 and all(
            one.name == two.name
            and one.score == pytest.approx(two.score, abs=1e-5)
            and one.box == pytest.approx(two.box, abs=1e-5)
            for one, two in zip(self.found, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]
