"""Writing into photos: all of it or nothing, and nothing but the packet."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rawpy
from PIL import Image

from catalogd.images import open_blocks
from catalogd.metadata import read_facts
from catalogd.metadata.exiftool import find_exiftool
from catalogd.settings import Settings
from catalogd.sync.contents import compare, read_contents
from catalogd.sync.embed import write_embedded
from catalogd.sync.exiftool_writer import ExiftoolWriter
from catalogd.sync.packet import bag, key, language, same
from tests.factory import (
    exif_block,
    jpeg_bytes,
    jpeg_with,
    mpf_jpeg,
    scene,
    write_dng,
    write_heic,
    write_jpeg,
    write_tiff,
)
from tests.metadata import notes
from tests.packets import xmp_array, xmp_packet

REPOSITORY = Path(__file__).parents[2]
MAX_BYTES = Settings().max_file_bytes
PIXELS = scene(48, 64)
CAPTION = "Åsa\n-XMP:all=\n<&> 🏔"
CAMERA = notes.canon()
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"


@pytest.fixture(scope="module")
def writer():
    with ExiftoolWriter(find_exiftool(None)) as writer:
        yield writer


def saying(**words):
    """A change that wants these words, and nothing when they are there."""
    wanted = {key("dc:subject"): bag(words.get("keywords", ["Dog", "Bergen"]))}
    wanted[key("dc:description")] = language(words.get("caption", CAPTION))

    def change(packet):
        have = packet.properties if packet else {}
        return {name: value for name, value in wanted.items() if not same(value, have.get(name))}

    return change


def embed(photo: Path, writer, change=None, **options):
    return write_embedded(bytes(photo), change or saying(), writer, MAX_BYTES, **options)


def facts_of(photo: Path):
    with open_blocks(bytes(photo), Settings()) as blocks:
        return read_facts(blocks, bytes(photo))


def write_camera_jpeg(path: Path, exif: bytes = CAMERA) -> None:
    """With a maker note, a packet that has empty values and comments, and a second picture behind it."""
    packet = xmp_packet(xmp_array("dc:subject", "old") + "<!-- kept --><dc:rights/>", 'xmp:Label=""')
    main = jpeg_with(jpeg_bytes(PIXELS, exif=exif), (0xE1, XMP_SEGMENT + packet))
    path.write_bytes(mpf_jpeg(main, jpeg_bytes(PIXELS)))


WRITERS = {
    "plain.jpg": lambda path: write_jpeg(path, PIXELS),
    "camera.JPG": write_camera_jpeg,
    "scan.tif": lambda path: write_tiff(path, PIXELS),
    "a.dng": lambda path: write_dng(path, PIXELS, preview=PIXELS, small_preview=PIXELS[::2, ::2]),
}


def pixels_of(photo: Path) -> np.ndarray:
    if photo.suffix != ".dng":
        with Image.open(photo) as image:
            return np.asarray(image)
    with rawpy.imread(str(photo)) as raw:
        return raw.raw_image.copy()


@pytest.mark.parametrize("name", WRITERS)
def test_words_go_into_the_photo_and_everything_else_stays(name, tmp_path, writer):
    photo = tmp_path / name
    WRITERS[name](photo)
    photo.chmod(0o640)
    os.utime(photo, (1, 1))
    before, pixels, facts = photo.read_bytes(), pixels_of(photo), facts_of(photo)
    written = embed(photo, writer)
    assert (written.state, written.reason) == ("written", "")
    assert {it.key for it in written.differences} == {key("dc:subject"), key("dc:description")}
    found = facts_of(photo)
    assert (found.keywords, found.caption) == (("Dog", "Bergen"), CAPTION)
    assert compare(read_contents(before), read_contents(photo.read_bytes())).lost is None
    assert (found.camera, found.lens, found.iso) == (facts.camera, facts.lens, facts.iso)
    np.testing.assert_array_equal(pixels_of(photo), pixels)
    assert photo.stat().st_mode & 0o777 == 0o640
    assert time.time() - photo.stat().st_mtime < 60
    assert (tmp_path / f"{name}.catalogd-backup").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name}.catalogd-backup"])


def test_of_a_jpeg_no_byte_but_of_its_packet_changes(tmp_path, writer):
    photo = tmp_path / "phone.jpg"
    write_camera_jpeg(photo, exif_block(6))
    before = read_contents(photo.read_bytes())
    embed(photo, writer)
    after = read_contents(photo.read_bytes())
    assert (after.rest, after.exif) == (before.rest, before.exif)
    for kept in (b"<!-- kept -->", b"<dc:rights/>", b'xmp:Label=""'):
        assert kept in before.packet
        assert kept in after.packet


def test_the_second_time_nothing_is_written_and_exiftool_not_asked(tmp_path, writer):
    photo = tmp_path / "a.jpg"
    write_jpeg(photo, PIXELS)
    embed(photo, writer)
    stat = photo.stat()
    assert embed(photo, None).state == "unchanged"
    assert photo.stat() == stat


def test_the_backup_is_the_photo_before_the_first_words(tmp_path, writer):
    photo = tmp_path / "a.jpg"
    write_jpeg(photo, PIXELS)
    before = photo.read_bytes()
    for caption in ("one", "two"):
        assert embed(photo, writer, saying(caption=caption)).state == "written"
    assert (tmp_path / "a.jpg.catalogd-backup").read_bytes() == before
    assert facts_of(photo).caption == "two"


def test_the_backup_is_a_copy_where_files_have_no_second_names(tmp_path, writer, monkeypatch):
    def no_links(*paths: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    photo = tmp_path / "a.jpg"
    write_jpeg(photo, PIXELS)
    before = photo.read_bytes()
    assert embed(photo, writer).state == "written"
    assert (tmp_path / "a.jpg.catalogd-backup").read_bytes() == before
    assert len(os.listdir(tmp_path)) == 2


def test_a_link_stays_a_link_and_a_folder_may_have_any_name(tmp_path, writer):
    """exiftool once made a folder of its own for a path with a per cent sign in it."""
    folder = tmp_path / "100%d %f '\"\u0440"
    folder.mkdir()
    write_jpeg(folder / "a.jpg", PIXELS)
    (tmp_path / "link.jpg").symlink_to(folder / "a.jpg")
    assert embed(tmp_path / "link.jpg", writer).state == "written"
    assert (tmp_path / "link.jpg").is_symlink()
    assert facts_of(folder / "a.jpg").caption == CAPTION
    assert sorted(os.listdir(tmp_path)) == sorted([folder.name, "link.jpg"])


def test_a_dry_run_tells_the_difference_and_writes_nothing(tmp_path):
    photo = tmp_path / "a.jpg"
    write_jpeg(photo, PIXELS)
    before = photo.read_bytes()
    written = embed(photo, None, dry_run=True)
    assert (written.state, len(written.differences)) == ("written", 2)
    assert (photo.read_bytes(), os.listdir(tmp_path)) == (before, ["a.jpg"])


# ── refused ───────────────────────────────────────────────────────────────────────────────────


def _cut(path: Path) -> None:
    write_jpeg(path, PIXELS)
    path.write_bytes(path.read_bytes()[:-100])


def _two_packets(path: Path) -> None:
    segment = (0xE1, XMP_SEGMENT + xmp_packet())
    path.write_bytes(jpeg_with(jpeg_bytes(PIXELS), segment, segment))


def _qualified(path: Path) -> None:
    qualified = '<dc:source rdf:parseType="Resource"><rdf:value>x</rdf:value><dc:type>y</dc:type></dc:source>'
    path.write_bytes(jpeg_with(jpeg_bytes(PIXELS), (0xE1, XMP_SEGMENT + xmp_packet(qualified))))


def _protected(path: Path) -> None:
    write_jpeg(path, PIXELS)
    path.chmod(0o444)


def _full_packet(path: Path) -> None:
    packet = xmp_packet(f"<dc:source>{'x' * 63_000}</dc:source>")
    path.write_bytes(jpeg_with(jpeg_bytes(PIXELS), (0xE1, XMP_SEGMENT + packet)))


REFUSED = {
    "cut.jpg": (_cut, "ends before its picture"),
    "two.jpg": (_two_packets, "more than one XMP packet"),
    "qualified.jpg": (_qualified, "qualifiers"),
    "protected.jpg": (_protected, "write-protected"),
    "full.jpg": (_full_packet, "too large for JPEG segment"),
    "raw.nef": (lambda path: write_dng(path, PIXELS), "only JPEG, TIFF and DNG"),
    "phone.heic": (lambda path: write_heic(path, PIXELS), "only JPEG, TIFF and DNG"),
    "named.jpg": (lambda path: path.write_bytes(b"no photo"), "only JPEG, TIFF and DNG"),
    "empty.jpg": (lambda path: path.write_bytes(b""), "empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_whole_is_refused_and_stays_as_it_is(name, tmp_path, writer):
    write, reason = REFUSED[name]
    photo = tmp_path / name
    write(photo)
    before, stat = photo.read_bytes(), photo.stat()
    change = saying(caption="x" * 5000) if name == "full.jpg" else saying()
    written = embed(photo, writer, change)
    assert written.state == "refused"
    assert reason in written.reason
    assert (photo.read_bytes(), photo.stat()) == (before, stat)
    assert os.listdir(tmp_path) == [name]


def test_a_photo_that_is_gone_is_refused(tmp_path, writer):
    assert embed(tmp_path / "gone.jpg", writer).reason == "No such file or directory"


class Careless:
    """A writer that does what it is told, and something else."""

    def __init__(self, writer, harm):
        self._writer, self._harm = writer, harm

    def run(self, arguments):
        answer = self._writer.run(arguments)
        if b"-overwrite_original" in arguments:
            self._harm(os.fsdecode(arguments[-1]))
        return answer


def _spoil(path: str, words: bytes, other: bytes) -> None:
    content = Path(path).read_bytes()
    assert words in content
    Path(path).write_bytes(content.replace(words, other))


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("plain.jpg", lambda path: _spoil(path, b"NIKON Z 6_2", b"NIKON Z 6_3")),
        ("plain.jpg", lambda path: _spoil(path, b"\xff\xd9", b"\xff\xda")),
        ("plain.jpg", lambda path: _spoil(path, b"Bergen", b"Berlin")),
        ("plain.jpg", os.unlink),
        ("camera.JPG", lambda path: _spoil(path, b"\x32\0\x32\0\1\0", b"\x33\0\x32\0\1\0")),  # focal length
        ("a.dng", lambda path: _spoil(path, b"Testcam", b"Badcam\0")),
        ("a.dng", lambda path: os.truncate(path, os.path.getsize(path) - 1)),
        ("scan.tif", lambda path: Path(path).write_bytes(b"II*\0")),
    ],
)
def test_a_writer_that_harms_the_photo_is_noticed(name, harm, tmp_path, writer):
    photo = tmp_path / name
    WRITERS[name](photo)
    before = photo.read_bytes()
    assert embed(photo, Careless(writer, harm)).state == "refused"
    assert photo.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


# ── others at work ────────────────────────────────────────────────────────────────────────────


def test_a_photo_that_another_program_changes_is_read_again(tmp_path, writer):
    photo = tmp_path / "a.jpg"
    write_jpeg(photo, PIXELS)
    other = jpeg_bytes(scene(48, 64, 1), exif=exif_block())

    changes = saying()

    def change(packet):
        calls.append(packet)
        if len(calls) == 1:
            photo.write_bytes(other)
        return changes(packet)

    calls: list[object] = []
    assert embed(photo, writer, change).state == "written"
    assert len(calls) == 2
    np.testing.assert_array_equal(pixels_of(photo), np.asarray(Image.open(io.BytesIO(other))))
    assert (tmp_path / "a.jpg.catalogd-backup").read_bytes() == other


def test_a_photo_that_keeps_changing_is_left_to_who_changes_it(tmp_path, writer):
    photo = tmp_path / "a.jpg"
    pictures = iter([jpeg_bytes(scene(48, 64, seed)) for seed in range(9)])
    photo.write_bytes(next(pictures))

    def harm(path):
        last.append(next(pictures))
        photo.write_bytes(last[-1])

    last: list[bytes] = []
    written = embed(photo, Careless(writer, harm))
    assert (written.state, written.reason) == ("refused", "another program keeps changing it")
    assert photo.read_bytes() == last[-1]
    assert os.listdir(tmp_path) == ["a.jpg"]


def test_what_cannot_be_noted_down_is_not_written(tmp_path, writer):
    photo = tmp_path / "a.jpg"
    write_jpeg(photo, PIXELS)
    before = photo.read_bytes()

    def full(written):
        raise OSError(errno.ENOSPC, "No space left on device")

    written = embed(photo, writer, before_replace=full)
    assert written.reason == "No space left on device"
    assert (photo.read_bytes(), os.listdir(tmp_path)) == (before, ["a.jpg"])


_ON_A_FULL_DISK = """
import os, sys
from pathlib import Path
from catalogd.metadata.exiftool import find_exiftool
from catalogd.sync.exiftool_writer import ExiftoolWriter
from tests.factory import scene, write_tiff
from tests.sync.test_embed import embed

folder = Path(sys.argv[1])
photo = folder / "a.tif"
write_tiff(photo, scene(480, 640))
before = photo.read_bytes()
room = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
states = []
with ExiftoolWriter(find_exiftool(None)) as writer:
    for times in (0.5, 1.5, 4):  # nothing fits; the copy, but not what exiftool makes of it; all
        (folder / "filler").write_bytes(bytes(max(0, room - int(times * len(before)))))
        states.append(embed(photo, writer).state)
        assert (photo.read_bytes() == before) == (times < 4)
        assert times == 4 or sorted(os.listdir(folder)) == ["a.tif", "filler"], os.listdir(folder)
        (folder / "filler").unlink()
print(states)
"""


def test_on_a_full_disk_the_photo_stays_as_it_is(tmp_path):
    mount = 'mount -t tmpfs -o size=16m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, _ON_A_FULL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=REPOSITORY)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("a small file system can't be mounted here")
    assert done.stdout == "['refused', 'refused', 'written']\n", done.stderr


# ── killed ────────────────────────────────────────────────────────────────────────────────────

_FOR_EVER = """
import os, sys
from pathlib import Path
from catalogd.metadata.exiftool import find_exiftool
from catalogd.sync.exiftool_writer import ExiftoolWriter
from tests.sync.test_embed import embed, saying

with ExiftoolWriter(find_exiftool(None)) as writer:
    for number in range(1_000_000):
        change = saying(caption=f"number {os.getpid()} {number}")
        for photo in sys.argv[1:]:
            assert embed(Path(photo), writer, change).state == "written"
        print(number, flush=True)
"""


def killed_rounds(folder: Path, rounds: int) -> None:
    """Kill a process that writes into photos all the time, at any moment; each time they must be whole."""
    random_s = random.Random(rounds)
    photos = [folder / name for name in WRITERS]
    for photo in photos:
        WRITERS[photo.name](photo)
    originals = {photo: read_contents(photo.read_bytes()) for photo in photos}
    command = [sys.executable, "-c", _FOR_EVER, *map(str, photos)]
    for _ in range(rounds):
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
            assert process.stdout.readline(), "it wrote once into each"
            time.sleep(random_s.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
        for photo, original in originals.items():
            contents = read_contents(photo.read_bytes())
            assert compare(original, contents).lost is None, photo.name
            assert b"number" in contents.packet
            backup = photo.with_name(f"{photo.name}.catalogd-backup")
            assert read_contents(backup.read_bytes()) == original


def test_a_process_that_is_killed_leaves_whole_photos(tmp_path):
    killed_rounds(tmp_path, 2)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_a_process_that_is_killed_a_hundred_times_leaves_whole_photos(tmp_path):
    killed_rounds(tmp_path, 100)
