"""Files are replaced whole, with what belongs to them, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import time

import pytest

from catalogd.errors import SidecarRefusedError
from catalogd.sync import replacing


@pytest.fixture
def path(tmp_path) -> bytes:
    (tmp_path / "a.xmp").write_bytes(b"old")
    return bytes(tmp_path / "a.xmp")


def read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write(path: bytes, content: bytes, age_s: float = 0) -> None:
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, (time.time() - age_s,) * 2)


def no_links(*paths: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_temporary_file_is_gone_when_it_was_not_renamed(path):
    with replacing.temporary(path) as made:
        assert os.path.dirname(made) == os.path.dirname(path)
        write(made, b"new")
    assert os.listdir(os.path.dirname(path)) == [b"a.xmp"]


def test_what_killed_runs_left_is_swept_and_nothing_else(tmp_path, path):
    old, names = 2 * replacing.STALE_S, ("left.xmp.tmp", "left.xmp.tmp_exiftool_tmp")
    for name in names:
        write(bytes(tmp_path / f".catalogd-{name}"), b"", old)
    kept = {".catalogd-now.xmp.tmp": 0, "left.xmp.tmp": old, ".catalogd-left.xmp": old, ".left.xmp.tmp": old}
    for name, age_s in kept.items():
        write(bytes(tmp_path / name), b"", age_s)
    with replacing.temporary(path):
        assert sorted(os.listdir(tmp_path)) == sorted([*kept, "a.xmp"])


def test_mode_and_attributes_are_kept_and_the_time_is_now(path):
    write(path, b"old", 1000)
    os.chmod(path, 0o604)
    made = path + b".new"
    write(made, b"new")
    replacing.finish(made, path)
    found = os.stat(made)
    assert found.st_mode & 0o777 == 0o604
    assert time.time() - found.st_mtime < 100


def test_an_owner_that_cannot_be_kept_is_a_reason_to_refuse(path, monkeypatch):
    made = path + b".new"
    write(made, b"new")
    stat = os.stat

    def of_somebody(asked):
        found = list(stat(asked))
        found[4] += asked == path  # st_uid
        return os.stat_result(found)

    def denied(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "stat", of_somebody)
    monkeypatch.setattr(os, "chown", denied)
    with pytest.raises(SidecarRefusedError, match="owner"):
        replacing.finish(made, path)


@pytest.mark.parametrize("links", [True, False])
def test_a_backup_outlives_the_file_that_is_replaced_and_is_never_replaced_itself(path, links, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    for content in (b"new", b"newer"):
        replacing.back_up(path)
        with replacing.temporary(path) as made:
            write(made, content)
            os.replace(made, path)
    assert (read(path), read(path + replacing.BACKUP_SUFFIX)) == (b"newer", b"old")


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_was_taken_meanwhile_is_not_taken_away(path, links, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with replacing.temporary(path) as made:
        write(made, b"new")
        with pytest.raises(FileExistsError):
            replacing.create(made, path)
        replacing.create(made, path + b".2")
    assert (read(path), read(path + b".2")) == (b"old", b"new")


def test_what_is_protected_is_told(tmp_path, path):
    replacing.require_writable(path)
    replacing.require_writable(bytes(tmp_path / "new.xmp"))
    os.chmod(path, 0o444)
    with pytest.raises(SidecarRefusedError, match="write-protected"):
        replacing.require_writable(path)
    tmp_path.chmod(0o555)
    with pytest.raises(SidecarRefusedError, match="folder"):
        replacing.require_writable(bytes(tmp_path / "new.xmp"))
    tmp_path.chmod(0o755)
