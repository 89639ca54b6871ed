"""Models run from several threads at once: inference spreads chunks of a batch over the cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from catalogd.models import registry
from catalogd.settings import Settings
from tests.models.conftest import photo


@pytest.mark.parametrize("name", list(registry.PROFILES["starter"]))
def test_several_threads_at_once_get_what_one_gets(name: str, settings: Settings) -> None:
    """A network of OpenCV holds its input: shared by threads, it failed or answered for another frame."""
    frames = [photo("astronaut.png"), photo("chelsea.png"), photo("coffee.png")]
    frames += [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
    [model] = [model for model in registry.profile_models("starter", settings, 1) if model.name == name]
    model.load()
    alone = [model.run([frame])[0] for frame in frames]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda frame: model.run([frame])[0], frames * 2))
    assert together == alone * 2
    assert not [output.error for output in alone if output.error]
    model.unload()
