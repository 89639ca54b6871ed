"""Folders of weights: where they are found, what their hash is, what a change to them does."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import msgspec
import pytest

from catalogd.errors import ModelError
from catalogd.models import bundles
from catalogd.models.bundles import MANIFEST, Bundle, FoundBundle, Manifest, PinnedFile
from catalogd.settings import Settings

BUNDLE = Bundle(
    "kind:some/model", "someone/model", ("*",), ("*.onnx", "config.json"), "MIT", is_commercial=True
)


def fill(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"a.onnx": "graph", "config.json": "{}", **files}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return folder


def pin(folder: Path) -> None:
    files = {
        path.relative_to(folder).as_posix(): PinnedFile(
            hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
        )
        for path in folder.rglob("*")
        if path.is_file()
    }
    manifest = Manifest("someone/model", "f" * 40, "mit", "2026-01-01T00:00:00+00:00", files)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model_path=tmp_path / "own", model_cache=tmp_path / "cache")


def test_the_model_path_comes_before_what_was_fetched(settings: Settings, tmp_path: Path) -> None:
    assert bundles.find(BUNDLE, settings) is None
    fetched = fill(bundles.hub_folder(BUNDLE, settings))
    pin(fetched)
    found = bundles.find(BUNDLE, settings)
    assert found is not None
    assert (found.source, found.folder) == ("hub", fetched)
    own = fill(tmp_path / "own" / "kind--some--model")
    found = bundles.find(BUNDLE, settings)
    assert found is not None
    assert (found.source, found.folder) == ("path", own)


def test_a_fetched_folder_without_its_manifest_is_not_whole(settings: Settings) -> None:
    fill(bundles.hub_folder(BUNDLE, settings))
    assert bundles.find(BUNDLE, settings) is None


def test_a_folder_without_one_of_its_weights_is_not_found(settings: Settings, tmp_path: Path) -> None:
    own = fill(tmp_path / "own" / "kind--some--model")
    (own / "config.json").unlink()
    assert bundles.find(BUNDLE, settings) is None


def test_the_hash_is_of_the_weights_and_of_nothing_else(tmp_path: Path) -> None:
    found = FoundBundle(BUNDLE, fill(tmp_path / "one", **{"notes.md": "x", ".hidden": "y"}), "path")
    same = FoundBundle(BUNDLE, fill(tmp_path / "two", **{"notes.md": "z"}), "path")
    other = FoundBundle(BUNDLE, fill(tmp_path / "three", **{"config.json": "[]"}), "path")
    assert len(found.short_hash) == 12
    assert found.short_hash == same.short_hash
    assert found.short_hash != other.short_hash


def test_weights_that_swap_their_names_have_another_hash(tmp_path: Path) -> None:
    one = FoundBundle(BUNDLE, fill(tmp_path / "one", **{"a.onnx": "1", "b.onnx": "2"}), "path")
    two = FoundBundle(BUNDLE, fill(tmp_path / "two", **{"a.onnx": "2", "b.onnx": "1"}), "path")
    assert one.short_hash != two.short_hash


def test_files_are_read_once_and_again_when_they_change(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = fill(tmp_path / "own" / "kind--some--model")
    first = found(settings).short_hash
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert found(settings).short_hash == first
    (own / "a.onnx").write_text("another")
    assert found(settings).short_hash != first


def found(settings: Settings) -> FoundBundle:
    result = bundles.find(BUNDLE, settings)
    assert result is not None
    return result


@pytest.mark.parametrize("name", ["a.onnx", "textual__words.txt"])
def test_a_pinned_file_that_changed_is_an_error_that_names_it(settings: Settings, name: str) -> None:
    folder = fill(bundles.hub_folder(BUNDLE, settings), textual__words="x", **{"textual__words.txt": "a b"})
    pin(folder)
    assert found(settings).short_hash
    path = folder / name.replace("__", "/")
    path.write_text("x" * path.stat().st_size)
    with pytest.raises(
        ModelError, match=rf"{path} is not what was fetched from someone/model: catalogd models get"
    ):
        _ = found(settings).short_hash


def test_a_pinned_file_that_is_gone_is_an_error_that_names_it(settings: Settings) -> None:
    folder = fill(bundles.hub_folder(BUNDLE, settings), **{"words.txt": "a"})
    pin(folder)
    (folder / "words.txt").unlink()
    with pytest.raises(ModelError, match=r"words\.txt is gone: catalogd models get kind:some/model --again"):
        _ = found(settings).short_hash


def test_a_damaged_manifest_is_an_error_that_names_it(settings: Settings) -> None:
    folder = fill(bundles.hub_folder(BUNDLE, settings))
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ModelError, match=r"catalogd\.json can't be read"):
        _ = found(settings).short_hash


def test_a_file_that_a_model_needs_is_named_when_it_is_missing(tmp_path: Path) -> None:
    bundle = FoundBundle(BUNDLE, fill(tmp_path), "path")
    assert bundle.path("a.onnx").read_text() == "graph"
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing: the model kind:some/model needs it"):
        bundle.path("tokenizer.json")


def test_patterns_reach_into_folders_in_order(tmp_path: Path) -> None:
    bundle = FoundBundle(
        dataclasses.replace(BUNDLE, weights=("*.onnx",)), fill(tmp_path, **{"b__c.onnx": "2"}), "path"
    )
    assert [bundle.name_of(path) for path in bundle.weight_files()] == ["a.onnx", "b/c.onnx"]
    assert bundle.size_bytes == len("graph") + len("{}") + 1
