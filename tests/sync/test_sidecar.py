"""Writing a sidecar: every program's work stays, and at any moment it is the old one or the new one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from catalogd.errors import ExiftoolError
from catalogd.metadata.exiftool import find_exiftool
from catalogd.metadata.xmp import Value
from catalogd.sync import replacing
from catalogd.sync.exiftool_writer import ExiftoolWriter, keeps
from catalogd.sync.packet import Packet, bag, differences, key, language, new_packet, same, seq, text
from catalogd.sync.sidecar import ATTEMPTS, Written, write_sidecar
from tests.sync.corpus import CAMERA, DEVELOP, DUBLIN, HISTORY, KEPT, REFUSED, lines, packet
from tests.sync.test_packet import plainly_written

Changes = dict[str, Value | None]

CHANGES: Changes = {
    key("dc:subject"): bag(["dog", "a, b"]),
    key("digiKam:TagsList"): seq(["Animals/dog"]),
    key("dc:description"): language("of\ntwo lines\n-XMP:all="),
    key("catalogd:GeneratedKeywords"): bag(["dog"]),
}
LIGHTROOM = packet(DUBLIN, CAMERA + DEVELOP).encode()
DARKTABLE = packet(DUBLIN + lines(HISTORY)).encode()  # with empty values, which exiftool loses


@pytest.fixture(scope="module")
def exiftool():
    with ExiftoolWriter(find_exiftool(None)) as writer:  # .ci/install brings it
        yield writer


@pytest.fixture
def sidecar(tmp_path):
    path = tmp_path / "IMG_0001.xmp"
    path.write_bytes(LIGHTROOM)
    return path


def write(path: Path, changes: Changes = CHANGES, writer: ExiftoolWriter | None = None, **options) -> Written:
    return write_sidecar(bytes(path), lambda packet: changes, writer, **options)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_untouched(path: Path, content: bytes) -> None:
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


class Asked:
    """A writer that only counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def write(self, *arguments: object) -> None:
        self.times += 1
        raise ExiftoolError("it is not there")


# ── every program's work stays ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by", ["exiftool", "ourselves"])
@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name)
def test_whatever_is_in_a_sidecar_stays_property_by_property(case, by, exiftool, tmp_path):
    path = tmp_path / "IMG.xmp"
    path.write_bytes(case.content)
    written = write(path, writer=exiftool if by == "exiftool" else None)
    before, after = Packet.read(case.content), Packet.read(path.read_bytes())
    assert written.state == "written"
    assert {it.key for it in written.differences} == set(CHANGES)
    assert {it.key for it in differences(before, after)} == set(CHANGES)
    assert all(same(after.properties[name], value) for name, value in CHANGES.items())
    assert after.remarks == before.remarks
    assert (written.digest_before, written.digest_after) == (
        hashlib.sha256(case.content).hexdigest(),
        sha256(path),
    )
    assert os.listdir(tmp_path) == ["IMG.xmp"]
    if not keeps(before):
        assert after.encoding == before.encoding


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_not_understood_is_refused_and_untouched(case, tmp_path):
    path = tmp_path / "IMG.xmp"
    path.write_bytes(case.content)
    asked = Asked()
    written = write(path, writer=asked)
    assert (written.path, written.state) == (bytes(path), "refused")
    assert case.reason in written.reason
    assert asked.times == 0
    assert_untouched(path, case.content)


def test_exiftool_writes_what_it_keeps_and_our_own_writer_the_rest(exiftool, sidecar):
    write(sidecar, writer=exiftool)
    assert b"x:xmptk='Image::ExifTool" in sidecar.read_bytes()
    sidecar.write_bytes(DARKTABLE)
    write(sidecar, writer=exiftool)
    assert b'x:xmptk="XMP Core 5.5.0"' in sidecar.read_bytes()
    assert b'darktable:multi_name=""' in sidecar.read_bytes()


class Lossy:
    """A writer that loses a property, alters one, adds one, or leaves no whole packet."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def write(self, source: bytes, target: bytes, changes: Changes) -> None:
        old = Packet.read(Path(os.fsdecode(source)).read_bytes())
        extra: Changes = {
            "loses": {key("xmp:Label"): None},
            "alters": {key("dc:format"): text("else")},
            "adds": {key("xmp:BaseURL"): text("else")},
            "ignores": {key("dc:subject"): old.properties[key("dc:subject")]},
        }.get(self._fault, {})
        made = old.edited({**changes, **extra})
        Path(os.fsdecode(target)).write_bytes(made[:-200] if self._fault == "truncates" else made)


@pytest.mark.parametrize("fault", ["loses", "alters", "adds", "ignores", "truncates"])
def test_what_exiftool_would_lose_is_noticed_and_our_own_writer_writes_instead(fault, sidecar):
    written = write(sidecar, writer=Lossy(fault))
    assert written.state == "written"
    assert {it.key for it in differences(Packet.read(LIGHTROOM), Packet.read(sidecar.read_bytes()))} == set(
        CHANGES
    )
    assert os.listdir(sidecar.parent) == [sidecar.name]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=plainly_written())
def test_random_packets_survive_exiftool_or_our_own_writer(random, exiftool, tmp_path):
    properties, content = random
    path = tmp_path / "IMG.xmp"
    path.write_bytes(content)
    assert write(path, writer=exiftool).state == "written"
    after, wanted = Packet.read(path.read_bytes()).properties, {**properties, **CHANGES}
    assert after.keys() == wanted.keys()
    assert all(same(value, wanted[name]) for name, value in after.items())


def test_a_second_time_nothing_is_written_and_exiftool_not_asked(sidecar):
    write(sidecar)
    before, asked = sidecar.stat(), Asked()
    again = write(sidecar, writer=asked)
    assert (again.state, again.differences, asked.times) == ("unchanged", (), 0)
    assert again.digest_before == again.digest_after == sha256(sidecar)
    assert sidecar.stat() == before
    assert write(sidecar.parent / "none.xmp", {key("dc:subject"): None}).state == "unchanged"
    assert os.listdir(sidecar.parent) == [sidecar.name]


def test_where_there_is_none_one_is_made(tmp_path, exiftool):
    written = write(tmp_path / "IMG.xmp", writer=exiftool)
    assert (written.state, written.digest_before) == ("created", "")
    assert Packet.read((tmp_path / "IMG.xmp").read_bytes()).properties.keys() == CHANGES.keys()
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "IMG.xmp").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("content", [LIGHTROOM, None])
def test_a_dry_run_tells_the_same_and_writes_nothing(content, tmp_path):
    path, asked = tmp_path / "IMG.xmp", Asked()
    if content:
        path.write_bytes(content)
    told = write(path, writer=asked, dry_run=True)
    assert asked.times == 0
    assert os.listdir(tmp_path) == (["IMG.xmp"] if content else [])
    done = write(path)
    assert told.state == done.state
    assert all(
        one.key == two.key and same(one.after, two.after)
        for one, two in zip(told.differences, done.differences, strict=True)
    )
    assert (told.digest_before, told.digest_after) == (done.digest_before, done.digest_after)


# ── files ─────────────────────────────────────────────────────────────────────────────────────


def test_mode_owner_and_attributes_stay_and_the_time_is_now(sidecar):
    sidecar.chmod(0o640)
    os.utime(sidecar, (1, 1))
    if os.geteuid() == 0:
        os.chown(sidecar, 12, 34)
    with contextlib.suppress(OSError):  # no such thing on some file systems
        os.setxattr(sidecar, "user.mine", b"kept")
    before = sidecar.stat()
    attributes = {name: os.getxattr(sidecar, name) for name in os.listxattr(sidecar)}
    write(sidecar)
    after = sidecar.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert {name: os.getxattr(sidecar, name) for name in os.listxattr(sidecar)} == attributes
    assert time.time() - after.st_mtime < 60


def test_a_symbolic_link_stays_one_and_what_it_points_to_is_written(sidecar, tmp_path, exiftool):
    """exiftool itself puts a file where the link was."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "IMG.xmp"
    link.symlink_to(Path("..") / sidecar.name)
    written = write(link, writer=exiftool)
    assert (written.path, written.state) == (bytes(link), "written")
    assert link.is_symlink()
    assert os.listdir(link.parent) == ["IMG.xmp"]
    assert key("catalogd:GeneratedKeywords") in Packet.read(sidecar.read_bytes()).properties


@pytest.mark.parametrize("name", ["a\nb.xmp", "-XMP:all=.xmp", "\udcff\udcfe.XMP", "日本 💥.xmp"])
def test_any_name_is_written(name, tmp_path, exiftool):
    path = tmp_path / name
    path.write_bytes(LIGHTROOM)
    assert write(path, writer=exiftool).state == "written"
    assert os.listdir(tmp_path) == [name]


def test_a_write_protected_one_is_refused_and_untouched(sidecar):
    sidecar.chmod(0o444)
    written = write(sidecar)
    assert (written.state, written.reason) == ("refused", "it is write-protected")
    assert_untouched(sidecar, LIGHTROOM)


@pytest.mark.parametrize("content", [LIGHTROOM, None])
def test_in_a_folder_that_nobody_may_write_it_is_refused(content, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    if content:
        (folder / "IMG.xmp").write_bytes(content)
    folder.chmod(0o555)
    try:
        written = write(folder / "IMG.xmp")
        assert (written.state, written.reason) == ("refused", "its folder can't be written into")
    finally:
        folder.chmod(0o755)
    assert os.listdir(folder) == (["IMG.xmp"] if content else [])


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "nowhere"])
def test_what_is_no_file_is_refused(kind, tmp_path):
    path = tmp_path / "IMG.xmp"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path = tmp_path / "nowhere" / "IMG.xmp"
    written = write(path)
    assert written.state == "refused"
    assert written.reason


@pytest.mark.parametrize("by", ["exiftool", "ourselves"])
def test_on_a_full_disk_it_is_refused_and_untouched(by, sidecar):
    """A limit on the size of files stands in for the disk: writing fails in the middle as on a full one."""
    with ExiftoolWriter(find_exiftool(None)) as writer:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            written = write(sidecar, writer=writer if by == "exiftool" else None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (written.state, written.reason) == ("refused", "File too large")
    assert_untouched(sidecar, LIGHTROOM)


def test_a_file_system_that_cannot_sync_folders_is_written_to(sidecar, monkeypatch):
    """Some network file systems say no: the sidecar was replaced, and was called refused."""
    fsync = os.fsync

    def fail_for_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    assert write(sidecar).state == "written"


def test_the_first_write_keeps_a_backup_and_later_ones_leave_it(sidecar):
    write(sidecar, backup=True)
    write(sidecar, {key("dc:subject"): bag(["cat"])}, backup=True)
    backup = sidecar.with_name(sidecar.name + ".catalogd-backup")
    assert backup.read_bytes() == LIGHTROOM
    assert sorted(os.listdir(sidecar.parent)) == [sidecar.name, backup.name]


# ── other programs at the same time ───────────────────────────────────────────────────────────


def rated(stars: int) -> bytes:
    return LIGHTROOM.replace(b'Rating="3"', b'Rating="%d"' % stars)


@pytest.mark.parametrize("by", ["exiftool", "ourselves"])
def test_what_another_program_writes_meanwhile_is_taken_in(by, sidecar, exiftool):
    seen = []

    def change(packet: Packet | None) -> Changes:
        seen.append(packet.properties[key("xmp:Rating")].text)
        if len(seen) < ATTEMPTS:
            sidecar.write_bytes(rated(len(seen)))
        return CHANGES

    written = write_sidecar(bytes(sidecar), change, exiftool if by == "exiftool" else None)
    assert written.state == "written"
    assert seen == ["3", "1", "2"]
    assert Packet.read(sidecar.read_bytes()).properties[key("xmp:Rating")].text == "2"
    assert os.listdir(sidecar.parent) == [sidecar.name]


def test_one_that_keeps_changing_is_refused_as_the_other_program_left_it(sidecar):
    times = []

    def touch(written: Written) -> None:
        times.append(written)
        sidecar.write_bytes(rated(len(times)))

    written = write(sidecar, before_replace=touch)
    assert (written.state, written.reason) == ("refused", "another program keeps changing it")
    assert len(times) == ATTEMPTS
    assert_untouched(sidecar, rated(ATTEMPTS))


@pytest.mark.parametrize("links", [True, False])
def test_one_that_another_program_makes_meanwhile_is_not_overwritten(links, tmp_path, monkeypatch):
    path, times = tmp_path / "IMG.xmp", []
    if not links:
        monkeypatch.setattr(os, "link", lambda *names: (_ for _ in ()).throw(PermissionError))

    def make(written: Written) -> None:
        times.append(written.state)
        if not path.exists():
            path.write_bytes(LIGHTROOM)

    assert write(path, before_replace=make).state == "written"
    assert times == ["created", "written"]
    assert {it.key for it in differences(Packet.read(LIGHTROOM), Packet.read(path.read_bytes()))} == set(
        CHANGES
    )


def test_one_that_is_taken_away_meanwhile_is_made_again_from_nothing(sidecar):
    written = write(sidecar, before_replace=lambda written: sidecar.unlink(missing_ok=True))
    assert written.state == "created"
    assert Packet.read(sidecar.read_bytes()).properties.keys() == CHANGES.keys()


def test_what_is_written_is_told_before_it_can_be_seen_and_an_error_there_stops_it(sidecar):
    told = []

    def note(written: Written) -> None:
        told.append((written.state, written.digest_before == sha256(sidecar), written.digest_after))

    write(sidecar, before_replace=note)
    assert told == [("written", True, sha256(sidecar))]
    content = sidecar.read_bytes()
    with pytest.raises(ZeroDivisionError):
        write(sidecar, {key("dc:subject"): None}, before_replace=lambda written: 1 // 0)
    assert_untouched(sidecar, content)


# ── killed at any moment ──────────────────────────────────────────────────────────────────────

LOOP = """
import itertools, os, sys
from catalogd.metadata.exiftool import find_exiftool
from catalogd.sync.exiftool_writer import ExiftoolWriter
from catalogd.sync.packet import bag, key, text
from catalogd.sync.sidecar import write_sidecar
writer = ExiftoolWriter(find_exiftool(None)) if sys.argv[2] == "exiftool" else None
for number in itertools.count():
    changes = {key("dc:subject"): bag([str(number)]), key("catalogd:OcrText"): text(str(number) * 5000)}
    assert write_sidecar(os.fsencode(sys.argv[1]), lambda packet: changes, writer).state == "written"
    if number == 0:
        print(flush=True)
"""


def kill_at_a_random_moment(path: Path, by: str, delay_s: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", LOOP, path, by], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"\n"
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def assert_old_or_new(path: Path) -> None:
    """What one whole write leaves, and all that stood there before."""
    after = Packet.read(path.read_bytes())
    number = after.properties[key("dc:subject")].one()
    assert after.properties[key("catalogd:OcrText")].text == number * 5000
    changed = {it.key for it in differences(Packet.read(LIGHTROOM), after)}
    assert changed == {key("dc:subject"), key("catalogd:OcrText")}


def assert_swept_by_the_next_write(path: Path) -> int:
    """Nothing but temporary files of ours is left, which then go when they are old; how many there were."""
    left = [name for name in path.parent.iterdir() if name != path]
    assert all(name.name.startswith(".catalogd-") and name.name.endswith(".xmp.tmp") for name in left)
    for name in left:
        os.utime(name, (1, 1))
    replacing.sweep.cache_clear()
    assert write(path).state == "written"
    assert os.listdir(path.parent) == [path.name]
    return len(left)


def kill_rounds(folder: Path, rounds: int) -> int:
    left = 0
    for number in range(rounds):
        path = folder / f"{number}" / "IMG.xmp"
        path.parent.mkdir()
        path.write_bytes(LIGHTROOM)
        kill_at_a_random_moment(path, ("exiftool", "ourselves")[number % 2], random.uniform(0, 0.05))
        assert_old_or_new(path)
        left += assert_swept_by_the_next_write(path)
    return left


def test_a_kill_leaves_the_old_or_the_new_sidecar(tmp_path):
    kill_rounds(tmp_path, 10)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_hundreds_of_kills_leave_the_old_or_the_new_sidecar(tmp_path):
    assert kill_rounds(tmp_path, 240), "no kill came in the middle of a write"


def test_temporary_files_that_are_young_or_not_ours_are_left(sidecar):
    names = [".catalogd-1.xmp.tmp", ".catalogd-2.xmp", "catalogd-3.xmp.tmp", ".other.xmp.tmp"]
    for name in names:
        (sidecar.parent / name).write_bytes(b"")
    for name in names[1:]:
        os.utime(sidecar.parent / name, (1, 1))
    write(sidecar)
    assert sorted(os.listdir(sidecar.parent)) == sorted([sidecar.name, *names])


def test_a_new_packet_is_what_a_new_sidecar_holds(tmp_path):
    write(tmp_path / "IMG.xmp")
    assert (tmp_path / "IMG.xmp").read_bytes() == new_packet(CHANGES)


def test_an_edit_in_the_moment_before_the_replacement_is_not_lost(sidecar, monkeypatch):
    """Between the last look and the new name there are microseconds, in which edits were lost."""
    theirs = packet(DUBLIN, CAMERA).encode()
    exchange, edits = replacing.exchange, [theirs]

    def late(one: bytes, other: bytes) -> bool:
        if edits:
            edit = sidecar.with_name("edit")
            edit.write_bytes(edits.pop())
            edit.replace(sidecar)
        return exchange(one, other)

    monkeypatch.setattr(replacing, "exchange", late)
    assert write(sidecar).state == "written"
    left = {it.key for it in differences(Packet.read(theirs), Packet.read(sidecar.read_bytes()))}
    assert left == set(CHANGES)
    assert os.listdir(sidecar.parent) == [sidecar.name]


def test_where_names_can_not_be_swapped_the_file_is_replaced(sidecar, monkeypatch):
    monkeypatch.setattr(replacing, "exchange", lambda *names: False)
    assert write(sidecar).state == "written"
    assert os.listdir(sidecar.parent) == [sidecar.name]
