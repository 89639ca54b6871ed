"""The bytes of a file: what is opened, what its errors mean, its fingerprint."""

from __future__ import annotations

import errno
import os
import re
import socket

import numpy as np
import pytest

from catalogd.errors import (
    DeniedError,
    TooLargeError,
    UnavailableError,
    UnreadableError,
)
from catalogd.images import fingerprint_file, source
from catalogd.images.source import Source
from tests import factory
from tests.images.reading import UPRIGHT, read


def test_a_file_above_the_byte_limit_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "photo.jpg"
    with path.open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(TooLargeError, match="max_file_bytes"):
        read(bytes(path))


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    fifo, folder, link = tmp_path / "fifo.jpg", tmp_path / "folder.jpg", tmp_path / "link.jpg"
    os.mkfifo(fifo)
    folder.mkdir()
    link.symlink_to(factory.write_png(tmp_path / "target.png", UPRIGHT).decode())
    for path in (fifo, folder):
        with pytest.raises(UnreadableError, match="not a regular file"):
            read(bytes(path))
    monkeypatch.chdir(tmp_path)  # a socket's path has 108 bytes at most
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        with pytest.raises(UnreadableError, match="cannot be read"):
            read(bytes(tmp_path / "socket.jpg"))
    assert read(bytes(link))[0].facts.format == "png"


def test_a_file_that_is_walked_all_over_does_not_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "KEPT_BLOCKS", 4)
    path = tmp_path / "photo.tif"
    path.write_bytes(bytes(range(256)) * 256 * 10)
    with Source(bytes(path), 1 << 30) as opened:
        for at in range(0, len(opened), source.BLOCK_BYTES // 4):
            assert opened[at + 3 : at + 5] == b"\3\4"
            assert len(opened._blocks) <= 4


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EACCES, DeniedError),
        (errno.EPERM, DeniedError),
        (errno.EIO, UnavailableError),
        (errno.ESTALE, UnavailableError),
        (errno.ETIMEDOUT, UnavailableError),
        (errno.EHOSTDOWN, UnavailableError),
        (errno.EMFILE, UnavailableError),
        (errno.ENAMETOOLONG, UnreadableError),
        (errno.ELOOP, UnreadableError),
    ],
)
def test_an_error_that_passes_is_told_from_one_that_lasts(tmp_path, monkeypatch, code, kind):
    """All were UnreadableError once: a disk that was away for a moment was a damaged photo for ever."""
    path = factory.write_jpeg(tmp_path / "photo.jpg", UPRIGHT)

    def fail(descriptor, start, size):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(source, "_read_range", fail)
    with pytest.raises(kind, match=re.escape(os.strerror(code))):
        read(path)


@pytest.mark.parametrize("size", [1, 1000, 196_608, 196_609, 1_000_000])
def test_the_fingerprint_is_the_same_of_a_file_that_is_read_and_of_one_that_is_not(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    with Source(bytes(path), size) as opened:
        assert opened.fingerprint == fingerprint_file(bytes(path))
        assert len(opened.fingerprint) == 16


@pytest.mark.parametrize("at", [0, 500_000, 999_999])
def test_the_fingerprint_sees_head_middle_and_tail(tmp_path, at):
    content, path = bytearray(1_000_000), tmp_path / "file"
    path.write_bytes(content)
    before = fingerprint_file(bytes(path))
    content[at] = 1
    path.write_bytes(content)
    assert fingerprint_file(bytes(path)) != before
