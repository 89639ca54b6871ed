"""Graphs that are given torch tensors, as on a GPU: the same comes out as of arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalogd.models import graphs
from catalogd.models.batches import Batch, Look
from catalogd.models.detr import DetrModel
from catalogd.models.devices import Hardware
from catalogd.models.face_packs import FacePackModel
from catalogd.models.text import TextModel
from catalogd.models.yolox import YoloxModel
from catalogd.settings import Settings
from tests.models import test_detectors, test_face_packs, tiny_graphs
from tests.models.conftest import sign

pytestmark = pytest.mark.torch


def as_tensor(batch: Batch, look: Look) -> Any:
    return batch.tensor(look)


def pack(path: Path) -> None:
    tiny_graphs.scrfd(path.with_name("det.onnx"))
    tiny_graphs.arcface(path.with_name("rec.onnx"))


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        (DetrModel, tiny_graphs.rtdetr),
        (DetrModel, tiny_graphs.rtdetr_of_authors),
        (YoloxModel, tiny_graphs.yolox),
        (FacePackModel, pack),
    ],
)
def test_tensors_give_what_arrays_give(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[..., Any],
    write: Callable[[Path], Any],
) -> None:
    write(tmp_path / "model.onnx")
    model = kind(settings, tiny_graphs.found(tmp_path), Hardware(threads=1))
    model.load()
    frames = test_face_packs.frames() if kind is FacePackModel else test_detectors.frames()
    arrays = model.run(frames)
    monkeypatch.setattr(graphs, "pixels_of", as_tensor)
    assert model.run(frames) == arrays
    assert not any(output.error for output in arrays)


def test_lines_are_looked_for_in_tensors_of_frames_of_one_shape(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TextModel(settings, 1)
    model.load()
    frames = [sign("HARBOUR"), sign("Museum")]
    arrays = model._coarse(Batch(frames))
    monkeypatch.setattr(graphs, "pixels_of", as_tensor)
    for one, other in zip(model._coarse(Batch(frames)), arrays, strict=True):
        assert (one == other).all()  # type: ignore[union-attr]
