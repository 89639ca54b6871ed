"""PP-OCR from a folder: the starter's weights in it read what the starter reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from catalogd.errors import ModelError
from catalogd.models import sources, weights
from catalogd.models.batches import Batch
from catalogd.models.devices import Hardware
from catalogd.models.pp_ocr import PpOcrModel, reading_order
from catalogd.models.text import TextModel
from catalogd.settings import Settings
from tests.models import tiny_graphs
from tests.models.conftest import Frame, photo, sign


@pytest.fixture(scope="module")
def starter(settings: Settings) -> TextModel:
    model = TextModel(settings, 1)
    model.load()
    return model


def put(settings: Settings, folder: Path) -> Path:
    """The starter's weights under a hub's names."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in (
        (sources.TEXT_DETECTION, "x_det_mobile.onnx"),
        (sources.TEXT_RECOGNITION, "x_rec.onnx"),
    ):
        shutil.copy(weights.verified(part, settings), folder / name)
    return folder


def list_characters(folder: Path, *, less: int = 0) -> None:
    """The characters taken out of the recogniser's metadata into a file."""
    path = folder / "x_rec.onnx"
    graph = onnx.load(str(path))
    (listed,) = (entry.value for entry in graph.metadata_props if entry.key == "character")
    del graph.metadata_props[:]
    onnx.save(graph, str(path))
    characters = listed.split("\n")
    (folder / "latin_dict.txt").write_text("\n".join(characters[: len(characters) - less]) + "\n", "utf-8")


def opened(settings: Settings, folder: Path) -> PpOcrModel:
    model = PpOcrModel(settings, tiny_graphs.found(folder, "pp-ocr"), Hardware(threads=1))
    model.load()
    return model


def frames() -> list[Frame]:
    """Two of one shape."""
    return [sign("HARBOUR 1924", frame=(640, 480)), photo("coffee.png"), sign("No. 8", frame=(640, 480))]


@pytest.mark.parametrize("from_file", [False, True])
def test_a_folder_reads_what_the_starter_reads(
    settings: Settings, starter: TextModel, tmp_path: Path, from_file: bool
) -> None:
    """With characters from the metadata, and from a file beside the graphs."""
    put(settings, tmp_path)
    if from_file:
        list_characters(tmp_path)
    model = opened(settings, tmp_path)
    assert [output.text_lines for output in model.run(frames())] == [
        output.text_lines for output in starter.run(frames())
    ]


def test_frames_of_one_shape_are_looked_at_together(
    starter: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: one run a shape gives the maps that each frame gives alone."""
    detector = starter._detector
    assert detector is not None
    some = [*frames(), np.ascontiguousarray(sign("Museum", frame=(640, 480)).transpose(1, 0, 2))]
    alone = [starter._coarse_of(frame) for frame in some]
    runs = []

    class Counted:
        def run(self, pixels: np.ndarray) -> list[np.ndarray]:
            runs.append(pixels.shape[0])
            return detector.run(pixels)

    monkeypatch.setattr(starter, "_detector", Counted())
    together = starter._coarse(Batch(some))
    assert sorted(runs) == [1, 1, 2]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, np.ndarray)
        assert np.abs(one - other).max() < 1e-3


def test_characters_that_do_not_fit_the_classes_are_refused(settings: Settings, tmp_path: Path) -> None:
    put(settings, tmp_path)
    list_characters(tmp_path, less=5)
    with pytest.raises(ModelError, match="characters for"):
        opened(settings, tmp_path)


def test_a_folder_says_what_it_lacks(settings: Settings, tmp_path: Path) -> None:
    put(settings, tmp_path)
    list_characters(tmp_path)
    (tmp_path / "latin_dict.txt").unlink()
    with pytest.raises(ModelError, match="list of characters"):
        opened(settings, tmp_path)
    (tmp_path / "x_rec.onnx").unlink()
    with pytest.raises(ModelError, match="'rec' in its name is wanted; there is: none"):
        opened(settings, tmp_path)


def test_other_characters_are_another_model(settings: Settings, tmp_path: Path) -> None:
    put(settings, tmp_path)
    list_characters(tmp_path)
    found = tiny_graphs.found(tmp_path)
    first = PpOcrModel(settings, found, Hardware()).fingerprint
    (tmp_path / "latin_dict.txt").write_text("a\nb\n")
    assert PpOcrModel(settings, found, Hardware()).fingerprint != first


@pytest.mark.parametrize(
    ("seen", "typed"),
    [
        ("HARBOUR 1924", "HARBOUR 1924"),
        ("ملاس", "سالم"),
        ("2024 ملاس", "سالم 2024"),
        ("Cafe 12:30 ملاس", "سالم Cafe 12:30"),
        ("", ""),
    ],
)
def test_arabic_is_given_in_the_order_in_which_it_is_typed(seen: str, typed: str) -> None:
    assert reading_order(seen) == typed
