"""Whole files, read and only read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from catalogd.duplicates.files import read_whole
from catalogd.records import Stat


def stat_of(path: Path) -> Stat:
    status = path.stat()
    return Stat(status.st_size, status.st_mtime_ns)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(os.urandom(3_000_000))
    return path


def test_equal_bytes_have_one_digest_and_one_changed_in_the_middle_another(
    file: Path, tmp_path: Path
) -> None:
    copy, changed = tmp_path / "b.jpg", tmp_path / "c.jpg"
    copy.write_bytes(file.read_bytes())
    data = bytearray(file.read_bytes())
    data[1_777_777] ^= 1
    changed.write_bytes(data)
    first, second, third = (read_whole(bytes(path), stat_of(path)) for path in (file, copy, changed))
    assert first.digest == second.digest != third.digest
    assert first.inode != second.inode
    assert not first.problem


def test_two_names_of_one_file_are_known_as_such(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link.jpg").hardlink_to(file)
    first, second = (read_whole(bytes(tmp_path / name), stat_of(file)) for name in ("a.jpg", "link.jpg"))
    assert first.inode == second.inode


def test_a_file_that_changed_or_is_gone_is_told_and_not_called_a_copy(file: Path) -> None:
    known = stat_of(file)
    os.utime(file, ns=(1, 1))
    assert "changed since" in read_whole(bytes(file), known).problem
    file.unlink()
    assert "not there any more" in read_whole(bytes(file), known).problem


def test_a_folder_in_its_place_is_told_too(tmp_path: Path) -> None:
    assert "can't be read" in read_whole(bytes(tmp_path), Stat(1, 1)).problem
