"""exiftool, for the few photos whose facts only its tables know. Runs in the readers.

::

    reader ──arguments, one a line, then -executeN──▶ exiftool -stay_open True -@ -
           ◀─────────JSON, then {readyN}─────────────   (starts with the first photo that needs it)

One process a reader, never one a photo: starting Perl costs as much as reading fifteen photos. It is
replaced after it died, passed its deadline or said nonsense, and never outlives its reader. Without
exiftool those facts are just absent.

A line is an argument, so a path with a line break in it could smuggle in a second one: such a path
is refused. Paths are absolute: none begins like an option.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import selectors
import shutil
import subprocess
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from catalogd.metadata import values
from catalogd.metadata.exif import join_maker
from catalogd.metadata.places import with_place
from catalogd.records import Facts
from catalogd.settings import MiB, Settings

MEMORY_BYTES = 1024 * MiB  # address space: real photos need 100 MB, a PNG bomb took 3 GB
MAX_REPLY_BYTES = 4 * MiB  # the tags below take one kilobyte
START_S = 10.0  # more for the first answer: a cold disk reads Perl's modules

# "#": as a number, whatever unit or words exiftool would print.
_TAGS = (
    *("-Make", "-Model", "-SerialNumber", "-LensID", "-LensModel", "-Lens"),
    *("-ISO#", "-ExposureTime#", "-FNumber#", "-FocalLength#", "-FocalLengthIn35mmFormat#"),
    *("-ExposureCompensation#", "-Flash#", "-SubSecDateTimeOriginal", "-DateTimeOriginal"),
    *("-GPSLatitude#", "-GPSLongitude#", "-GPSAltitude#"),
)
# Not -fast2, which leaves maker notes out.
_OPTIONS = ("-json", "-fast", "-ignoreMinorErrors", *_TAGS)


class Exiftool:
    """One exiftool process, started when it is first asked and again when it is gone.

    Not to be used by two threads at a time. `close()` ends it; so does the end of this process.
    """

    def __init__(self, program: str, deadline_s: float) -> None:
        self._command = [*_guards(), program, "-stay_open", "True", "-@", "-"]
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[[subprocess.Popen[bytes]], Exiftool] | None = None
        self._count = 0

    def read(self, path: bytes, options: Sequence[str] = _OPTIONS) -> dict[str, Any] | None:
        """The tags of the photo at `path`; None when exiftool can't tell, whatever the reason."""
        path = os.path.abspath(path)
        if any(byte in path for byte in b"\r\n\0"):
            return None
        try:
            reply = self._ask([*(option.encode() for option in options), path])
            rows = json.loads(reply.decode("utf-8", "replace"))
        except (OSError, ValueError):
            self.close()
            return None
        return rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None

    def close(self) -> None:
        """End the process, if there is one. The next `read` starts another."""
        end, self._end, self._process = self._end, None, None
        if end is not None:
            end()

    def _ask(self, arguments: list[bytes]) -> bytes:
        """One round; raises OSError when it died or is late, ValueError when the reply has no end."""
        fresh = self._process is None
        process = self._process or self._start()
        deadline = time.monotonic() + self._deadline_s + (START_S if fresh else 0)
        self._count += 1
        assert process.stdin is not None
        process.stdin.write(b"\n".join([*arguments, b"-execute%d" % self._count, b""]))
        return _read_until(process, b"{ready%d}" % self._count, deadline)

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # its warnings would stand in the middle of the JSON
        )
        self._process = process
        self._end = weakref.finalize(self, _end, process)
        return process


def _guards() -> list[str]:
    """The programs of util-linux, where they are there, that limit exiftool and let it die with its reader.

    It does not leave by itself: at the end of its input it waits for more.
    """
    most_bytes = resource.getrlimit(resource.RLIMIT_AS)[1]  # of this process: nobody may ask for more
    limit_bytes = MEMORY_BYTES if most_bytes == resource.RLIM_INFINITY else min(MEMORY_BYTES, most_bytes)
    guards = (["prlimit", f"--as={limit_bytes}"], ["setpriv", "--pdeathsig", "KILL"])
    return [word for guard in guards if shutil.which(guard[0]) for word in guard]


def _read_until(process: subprocess.Popen[bytes], end: bytes, deadline: float) -> bytes:
    assert process.stdout is not None
    reply = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not reply.rstrip().endswith(end):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError("exiftool does not answer")
            more = os.read(process.stdout.fileno(), 65536)
            if not more:
                raise BrokenPipeError("exiftool died")
            reply += more
            if len(reply) > MAX_REPLY_BYTES:
                raise ValueError("exiftool does not stop")
    return reply.rstrip().removesuffix(end)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def find_exiftool(program: Path | None) -> str | None:
    """The program: the one that is set, else the one on the path; None when it is not there."""
    return shutil.which(program or "exiftool")


def exiftool_version(program: str) -> str | None:
    """What `program` says of itself, "12.57"; None when it does not run."""
    try:
        done = subprocess.run([program, "-ver"], capture_output=True, timeout=START_S, text=True, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() or None


@functools.cache
def shared(program: Path | None, deadline_s: float) -> Exiftool | None:
    """This process's exiftool; None where there is none to run."""
    found = find_exiftool(program)
    return Exiftool(found, deadline_s) if found else None


def ask(facts: Facts, path: bytes, settings: Settings) -> Facts:
    """`facts` of the photo at `path` with those that only exiftool can tell, where it is installed."""
    exiftool = shared(settings.exiftool, settings.exiftool_deadline_s)
    tags = exiftool.read(path) if exiftool else None
    return complete(facts, tags) if tags else facts


def complete(facts: Facts, tags: dict[str, Any]) -> Facts:
    """`facts` with what is absent in them taken from the tags that `Exiftool.read` gave.

    A position that is new has its place names.
    """
    taken_at = values.time(_text(tags, "SubSecDateTimeOriginal", "DateTimeOriginal"))
    latitude = _number(tags, "GPSLatitude", -90, 90)
    longitude = _number(tags, "GPSLongitude", -180, 180)
    iso, flash = _number(tags, "ISO", 1, 10_000_000), _number(tags, "Flash", 0, 255)
    told: dict[str, Any] = {
        "camera": join_maker(_text(tags, "Make"), _text(tags, "Model")),
        "camera_serial": _text(tags, "SerialNumber"),
        "lens": _lens(tags),
        "iso": None if iso is None else int(iso),
        "exposure_s": _number(tags, "ExposureTime", 1e-6, 1e6),
        "aperture": _number(tags, "FNumber", 0.1, 1000),
        "focal_mm": _number(tags, "FocalLength", 0.1, 10_000),
        "focal_35mm": _number(tags, "FocalLengthIn35mmFormat", 1, 10_000),
        "exposure_bias_ev": _number(tags, "ExposureCompensation", -20, 20),
        "flash": None if flash is None else bool(int(flash) & 1),
    }
    if facts.taken_at is None and taken_at:
        told |= {"taken_at": taken_at, "zone": "offset" if taken_at[-6] in "+-" else "local"}
    if facts.latitude is None and latitude is not None and longitude is not None and (latitude or longitude):
        told |= {"latitude": latitude, "longitude": longitude}
        told["altitude_m"] = _number(tags, "GPSAltitude", -12_000, 100_000)
    absent = {name for name in told if getattr(facts, name) is None}
    gained = {name: value for name, value in told.items() if name in absent and value is not None}
    return with_place(msgspec.structs.replace(facts, **gained)) if gained else facts


def _text(tags: dict[str, Any], *names: str) -> str | None:
    """The first of some tags that says something; exiftool writes a text of digits as a number."""
    words = (values.clean_word(str(tags[name])) for name in names if name in tags)
    return next(filter(None, words), None)


def _lens(tags: dict[str, Any]) -> str | None:
    """The lens by name; a code that exiftool does not know either is none."""
    names = (_text(tags, tag) for tag in ("LensID", "LensModel", "Lens"))
    return next((name for name in names if name and not name.isdigit() and "nknown" not in name), None)


def _number(tags: dict[str, Any], name: str, low: float, high: float) -> float | None:
    """The first number of a tag, when it lies in `low…high`."""
    return values.within(values.number(str(tags.get(name, "")).partition(" ")[0]), low, high)
