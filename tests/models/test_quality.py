"""Technical quality of a frame."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from catalogd.errors import ModelError
from catalogd.models.quality import Brisque, QualityModel, _asymmetric_gaussian, _read_ranges
from catalogd.records import Quality
from catalogd.settings import Settings
from tests.models.conftest import Frame, photo


def quality_of(settings: Settings, frame: Frame) -> Quality:
    model = QualityModel(settings, 1)
    model.load()
    (output,) = model.run([frame])
    assert output.quality is not None, output.error
    return output.quality


def test_a_blurred_photo_is_less_sharp(settings: Settings) -> None:
    image = Image.fromarray(photo("coffee.png"))
    blurred = np.array(image.filter(ImageFilter.GaussianBlur(3)))
    assert quality_of(settings, blurred).sharpness < quality_of(settings, np.array(image)).sharpness


def test_a_broken_frame_fails_alone(settings: Settings) -> None:
    model = QualityModel(settings, 1)
    model.load()
    broken, good = model.run([np.zeros((4,), np.uint8), photo("coffee.png")])
    assert broken.error
    assert good.quality


def write_brisque(folder: Path) -> tuple[Path, Path]:
    """Two files in the form of the real ones: one support vector in the middle of every range."""
    svm, ranges = folder / "svm.txt", folder / "normalize.pickle"
    vector = " ".join(f"{i + 1}:0" for i in range(36))
    svm.write_text(f"svm_type epsilon_svr\ngamma 0.05\nrho -50\nSV\n10 {vector}\n")
    ranges.write_bytes(pickle.dumps({"min_": [0.0] * 36, "max_": [2.0] * 36}))
    return svm, ranges


def test_brisque_evaluates_the_regression_in_its_files(tmp_path: Path) -> None:
    """One support vector adds at most its coefficient (10) to -rho (50)."""
    brisque = Brisque(*write_brisque(tmp_path))
    sharp = photo("coffee.png")
    assert 50 < brisque.score(sharp) < 60
    assert brisque.score(np.full((64, 64, 3), 77, np.uint8)) >= 50


def test_ranges_that_would_run_code_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("owned",)

    path = tmp_path / "normalize.pickle"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        _read_ranges(path)


def test_broken_brisque_files_are_a_model_error(tmp_path: Path) -> None:
    svm, ranges = write_brisque(tmp_path)
    svm.write_text("nothing")
    with pytest.raises(ModelError, match=r"svm\.txt"):
        Brisque(svm, ranges)


@pytest.mark.parametrize(("deviation", "seed"), [(1.0, 0), (0.2, 1)])
def test_the_fit_finds_a_gaussian(deviation: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, deviation, (400, 400))
    shape, mean, left, right = _asymmetric_gaussian(values)
    assert shape == pytest.approx(2, abs=0.1)
    assert left == pytest.approx(deviation, rel=0.02)
    assert right == pytest.approx(deviation, rel=0.02)
    assert math.fabs(mean) < 0.02
