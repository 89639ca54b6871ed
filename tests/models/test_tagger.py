"""Tagger: the tags over their thresholds, the surest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from catalogd.errors import ModelError
from catalogd.models import batches
from catalogd.models.devices import Hardware
from catalogd.models.tagger import TaggerModel
from catalogd.settings import Settings
from tests.models import tiny_graphs
from tests.models.conftest import photo

TAGS = 40


def folder_of(path: Path, *, thresholds: list[float] | None = None, tags: int = TAGS) -> Path:
    tiny_graphs.tagger(path / "model.onnx", TAGS)
    (path / "tags.txt").write_text("\n".join(f"tag {i}" for i in range(tags)) + "\n")
    if thresholds is not None:
        (path / "thresholds.txt").write_text("\n".join(str(value) for value in thresholds))
    return path


def opened(folder: Path, settings: Settings) -> TaggerModel:
    model = TaggerModel(settings, tiny_graphs.found(folder, "ram-plus"), Hardware(threads=1))
    model.load()
    return model


def probabilities(folder: Path, frame: Any) -> Any:
    """Of one picture, squashed, normalised as ImageNet's, by the graph itself."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    levels = batches.looked_at(frame, batches.Look((64, 64), fit="squash", filter="bilinear"))
    mean, deviation = (
        np.array(v, np.float32)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    (logits,) = session.run(None, {"image": ((levels - mean) / deviation)[None]})[0]
    return 1 / (1 + np.exp(-logits))


def test_tags_are_those_over_their_own_thresholds_the_surest_first(
    settings: Settings, tmp_path: Path
) -> None:
    thresholds = list(np.linspace(0.3, 0.9, TAGS))
    model = opened(folder_of(tmp_path, thresholds=thresholds), settings)
    frames = [photo("chelsea.png"), photo("astronaut.png")]
    for frame, output in zip(frames, model.run(frames), strict=True):
        wanted = probabilities(tmp_path, frame)
        names = [f"tag {i}" for i in np.argsort(-wanted) if wanted[i] > thresholds[i]]
        assert output.tags is not None
        assert [tag.name for tag in output.tags] == names
        assert 3 < len(names) < TAGS
        for tag in output.tags:
            assert tag.score == pytest.approx(wanted[int(tag.name.split()[1])], abs=1e-4)


def test_without_a_file_of_thresholds_all_tags_have_one(settings: Settings, tmp_path: Path) -> None:
    model = opened(folder_of(tmp_path), settings)
    (output,) = model.run([photo("chelsea.png")])
    assert {tag.name for tag in output.tags or ()} == {
        f"tag {i}" for i, p in enumerate(probabilities(tmp_path, photo("chelsea.png"))) if p > 0.68
    }


def test_at_most_thirty_tags_are_given(settings: Settings, tmp_path: Path) -> None:
    model = opened(folder_of(tmp_path, thresholds=[0.0] * TAGS), settings)
    (output,) = model.run([photo("chelsea.png")])
    assert len(output.tags or ()) == 30


def test_a_batch_gives_what_one_at_a_time_gives(settings: Settings, tmp_path: Path) -> None:
    model = opened(folder_of(tmp_path), settings)
    frames = [photo(name) for name in ("chelsea.png", "coffee.png", "astronaut.png")]
    for frame, output in zip(frames, model.run(frames), strict=True):
        (alone,) = model.run([frame])
        assert [tag.name for tag in output.tags or ()] == [tag.name for tag in alone.tags or ()]


@pytest.mark.parametrize(
    ("thresholds", "tags", "message"),
    [
        (None, 39, r"\(1, 40\) numbers for 39 tags"),
        ([0.5] * 39, 40, "39 thresholds for 40 tags"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    settings: Settings, tmp_path: Path, thresholds: list[float] | None, tags: int, message: str
) -> None:
    folder = folder_of(tmp_path, thresholds=thresholds, tags=tags)
    with pytest.raises(ModelError, match=message):
        opened(folder, settings)


def test_a_threshold_that_is_no_number_is_named(settings: Settings, tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "thresholds.txt").write_text("0.5\nhigh\n")
    with pytest.raises(ModelError, match=r"thresholds\.txt.*high"):
        opened(tmp_path, settings)


def test_what_is_not_a_number_fails_its_frame_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(folder_of(tmp_path), settings)
    assert model._graph is not None
    run = model._graph.run

    def spoiled(pixels: Any) -> list[Any]:
        outputs = run(pixels)
        outputs[0][0, 3] = np.nan
        return outputs

    monkeypatch.setattr(model._graph, "run", spoiled)
    first, second = model.run([photo("chelsea.png"), photo("coffee.png")])
    assert first.error
    assert second.tags is not None


def test_a_frame_that_is_no_frame_fails_alone(settings: Settings, tmp_path: Path) -> None:
    model = opened(folder_of(tmp_path), settings)
    first, second = model.run([np.zeros((2, 2), np.uint8), photo("coffee.png")])
    assert first.error
    assert second.tags is not None


def test_other_tags_or_thresholds_are_another_model(settings: Settings, tmp_path: Path) -> None:
    folder_of(tmp_path)
    first = opened(tmp_path, settings).fingerprint
    folder_of(tmp_path, thresholds=[0.5] * TAGS)
    second = opened(tmp_path, settings).fingerprint
    (tmp_path / "tags.txt").write_text("\n".join(f"word {i}" for i in range(TAGS)))
    assert len({first, second, opened(tmp_path, settings).fingerprint}) == 3
