"""Detectors, readers and taggers on a GPU: what they find there is what they find on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalogd.models import devices
from catalogd.models.detr import DetrModel
from catalogd.models.devices import Device, Hardware
from catalogd.models.face_packs import FacePackModel
from catalogd.models.pp_ocr import PpOcrModel
from catalogd.models.tagger import TaggerModel
from catalogd.models.yolox import YoloxModel
from catalogd.settings import Settings
from tests.models import test_detectors, test_face_packs, test_pp_ocr, test_tagger, tiny_graphs
from tests.models.conftest import sign

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu() -> Device:
    (first, *_) = devices.discover()
    assert first.kind == "cuda"
    return first


def both(kind: Callable[..., Any], settings: Settings, folder: Path, gpu: Device, frames: list[Any]) -> Any:
    """Outputs on the CPU and on the GPU."""
    outputs = []
    for hardware in (Hardware(threads=2), Hardware(gpu, 2)):
        model = kind(settings, tiny_graphs.found(folder), hardware)
        model.load()
        outputs.append(model.run(frames))
        assert model.device == hardware.device
        model.unload()
    return outputs


def test_faces_are_the_same(settings: Settings, tmp_path: Path, gpu: Device) -> None:
    tiny_graphs.scrfd(tmp_path / "det.onnx")
    tiny_graphs.arcface(tmp_path / "rec.onnx")
    for one, other in zip(
        *both(FacePackModel, settings, tmp_path, gpu, test_face_packs.frames()), strict=True
    ):
        assert len(one.faces) == pytest.approx(len(other.faces), rel=0.1)
        strongest, same = one.faces[0], other.faces[0]
        assert strongest.box == pytest.approx(same.box, abs=5e-3)
        vectors = [test_face_packs.embedding_of(face) for face in (strongest, same)]
        assert vectors[0] @ vectors[1] > 0.999


@pytest.mark.parametrize(
    ("kind", "graph"), [(DetrModel, tiny_graphs.rtdetr), (YoloxModel, tiny_graphs.yolox)]
)
def test_objects_are_the_same(
    settings: Settings, tmp_path: Path, gpu: Device, kind: Any, graph: Callable[[Path], Path]
) -> None:
    graph(tmp_path / "model.onnx")
    for one, other in zip(*both(kind, settings, tmp_path, gpu, test_detectors.frames()), strict=True):
        assert one.objects[0].name == other.objects[0].name
        assert one.objects[0].score == pytest.approx(other.objects[0].score, abs=5e-3)
        assert one.objects[0].box == pytest.approx(other.objects[0].box, abs=5e-3)


def test_tags_are_the_same(settings: Settings, tmp_path: Path, gpu: Device) -> None:
    test_tagger.folder_of(tmp_path)
    for one, other in zip(*both(TaggerModel, settings, tmp_path, gpu, test_detectors.frames()), strict=True):
        assert [tag.name for tag in one.tags] == [tag.name for tag in other.tags]


def test_lines_are_the_same(settings: Settings, tmp_path: Path, gpu: Device) -> None:
    """Frames of one shape are looked at in one run there."""
    test_pp_ocr.put(settings, tmp_path)
    frames = [*test_pp_ocr.frames(), np.ascontiguousarray(sign("Museum")[::, :1000])]
    for one, other in zip(*both(PpOcrModel, settings, tmp_path, gpu, frames), strict=True):
        assert [line.text for line in one.text_lines] == [line.text for line in other.text_lines]
