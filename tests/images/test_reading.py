"""Reading one photo: its file changes, is gone, or is too much."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from catalogd.errors import (
    ChangedError,
    TooLargeError,
)
from catalogd.images import read_frame, source
from tests import factory
from tests.images.reading import LIMITS, UPRIGHT, read


def test_a_file_that_is_gone_has_changed(tmp_path):
    with pytest.raises(ChangedError, match="gone"):
        read(bytes(tmp_path / "photo.jpg"))


def test_a_file_whose_folder_became_a_file_is_gone(tmp_path):
    (tmp_path / "folder").write_bytes(b"no folder any more")
    with pytest.raises(ChangedError, match="gone"):
        read(bytes(tmp_path / "folder" / "photo.jpg"))


def test_a_file_that_keeps_changing_is_given_up(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    factory.write_jpeg(path, UPRIGHT)
    read_range, reads = source._read_range, []

    def read_while_written(descriptor, start, size):
        reads.append(size)
        with path.open("ab") as file:
            file.write(b"more")
        return read_range(descriptor, start, size)

    monkeypatch.setattr(source, "_read_range", read_while_written)
    with pytest.raises(ChangedError, match="changed each of the 3 times"):
        read(bytes(path))
    assert len(reads) == 3


def test_a_file_that_changed_once_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    factory.write_jpeg(path, factory.scene(48, 64))
    read_range, reads = source._read_range, []

    def replaced_once(descriptor, start, size):
        reads.append(size)
        content = read_range(descriptor, start, size)
        if len(reads) == 1:
            factory.write_jpeg(path, UPRIGHT)
        return content

    monkeypatch.setattr(source, "_read_range", replaced_once)
    reading, _ = read(bytes(path))
    assert reading.facts.width == 640
    assert reading.stat.size == path.stat().st_size


def test_a_slot_that_is_too_small_is_the_callers_mistake(tmp_path):
    path = factory.write_plain_jpeg(tmp_path / "photo.jpg", factory.scene(48, 64))
    with pytest.raises(ValueError, match="a slot must be"):
        read_frame(path, np.zeros(1000, np.uint8), LIMITS)


def test_running_out_of_memory_is_a_limit_not_a_crash(tmp_path, monkeypatch):
    def exhausted(*args):
        raise MemoryError

    monkeypatch.setattr("catalogd.images.decode_jpeg", exhausted)
    with pytest.raises(TooLargeError, match="reader may use; reader_memory_bytes is 3,221,225,472"):
        read(factory.write_jpeg(tmp_path / "photo.jpg", UPRIGHT))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits an address space")
@pytest.mark.parametrize("name", ["progressive.jpg", "photo.dng"])
def test_a_decoder_that_gets_no_memory_is_a_limit_not_damage(tmp_path, name):
    """libjpeg's and LibRaw's own words for it made the photo unreadable, or a kind that is not supported."""
    pixels = np.full((1500, 2000, 3), 90, np.uint8)
    path = tmp_path / name
    if name == "photo.dng":
        factory.write_dng(path, pixels)
    else:
        factory.write_jpeg(path, pixels, progressive=True)
    script = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from catalogd.errors import TooLargeError\n"
        "from catalogd.images import raw, raster, read_frame\n"
        "from catalogd.settings import Settings\n"
        "slot = np.zeros(1280 * 1280 * 3, np.uint8)\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    read_frame(sys.argv[1].encode(), slot, Settings())\n"
        "except TooLargeError:\n"
        "    sys.exit(7)\n"
    )
    for more_bytes in (4 << 20, 8 << 20):
        done = subprocess.run([sys.executable, "-c", script, path, str(more_bytes)], timeout=60)
        assert done.returncode == 7
