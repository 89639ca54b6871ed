"""Files outside the library are seen by the models whose spaces are asked for, each loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from catalogd.errors import UsageError
from catalogd.models import registry
from catalogd.query.pictures import PictureEncoder
from catalogd.records import Output
from catalogd.settings import Settings
from tests import stubs


class Seer:
    """A model that counts how often it was loaded."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.loads = 0

    def load(self) -> None:
        self.loads += 1

    def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
        return [Output(self.fingerprint, joint_embedding=bytes(4)) for _ in frames]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, Seer]:
    """The models on the machine, by space."""
    models = {"": Seer("starter"), "one": Seer("one"), "two": Seer("two")}
    monkeypatch.setattr(registry, "picture_model", lambda settings, threads, space: models.get(space))
    return models


@pytest.fixture
def look(tmp_path: Path) -> PictureEncoder:
    return PictureEncoder(Settings(), stubs.read)


def spaces(outputs: Sequence[Output]) -> list[str]:
    return [output.fingerprint for output in outputs]


def test_the_space_that_is_searched_is_seen_beside_the_picture_embedding(
    look: PictureEncoder, here: dict[str, Seer], tmp_path: Path
) -> None:
    path = stubs.write_photo(tmp_path, "a.jpg")
    assert spaces(look(path)) == ["starter"]
    assert here["one"].loads == 0
    assert spaces(look(path, "one")) == ["starter", "one"]
    assert spaces(look(path, "one")) == ["starter", "one"]
    assert spaces(look(path, "two")) == ["starter", "two"]
    assert {name: model.loads for name, model in here.items()} == {"": 1, "one": 1, "two": 1}


def test_the_picture_models_own_space_needs_no_other(
    look: PictureEncoder, here: dict[str, Seer], tmp_path: Path
) -> None:
    assert spaces(look(stubs.write_photo(tmp_path, "a.jpg"), "starter")) == ["starter"]


def test_weights_that_come_later_are_found(
    look: PictureEncoder, here: dict[str, Seer], tmp_path: Path
) -> None:
    path = stubs.write_photo(tmp_path, "a.jpg")
    assert spaces(look(path, "three")) == ["starter"]
    here["three"] = Seer("three")
    assert spaces(look(path, "three")) == ["starter", "three"]


def test_without_the_picture_model_it_is_said_who_knows_more(
    look: PictureEncoder, here: dict[str, Seer], tmp_path: Path
) -> None:
    del here[""]
    with pytest.raises(UsageError, match="catalogd doctor"):
        look(stubs.write_photo(tmp_path, "a.jpg"))
