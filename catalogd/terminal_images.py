"""Pictures in terminals that can show them: the kitty and iTerm2 protocols, and sixel.

kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol. iTerm2: https://iterm2.com/documentation-images.html.
Sixel: DEC STD 070 of 1990; a terminal that has it says 4 among its device attributes.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import select
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from PIL import Image

from catalogd.sheets import fitted

Protocol = Literal["kitty", "iterm", "sixel"]
PROTOCOLS: tuple[Protocol, ...] = ("kitty", "iterm", "sixel")
ROWS = 8  # of text that a picture takes
CELL_PX = (10, 20)  # of a character cell where the terminal does not say: common at 96 dpi
ANSWER_S = 0.3  # for a terminal's answer, also through a slow connection
_CHUNK = 4096  # bytes of base64 in one kitty escape: its limit
_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
_SIXEL_COLOURS = 256
_SIXEL_BAND = 6  # rows of pixels in one sixel


def detect(environment: Mapping[str, str]) -> Protocol | None:
    """What the terminal at stdin and stdout can show: by its name, or, for sixel, by asking it."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or "ghostty" in (term + program).lower():
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    if environment.get("KONSOLE_VERSION", "0").isdecimal() and int(environment.get("KONSOLE_VERSION", "0")):
        return "kitty"
    return "sixel" if "4" in _device_attributes() else None


def _device_attributes() -> list[str]:
    """What the terminal answers to `ESC [ c`; nothing when there is none, or it keeps silent."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return []
    answer = b""
    with _unbuffered_keys(sys.stdin.fileno()) as keys:
        os.write(sys.stdout.fileno(), b"\x1b[c")
        end = time.monotonic() + ANSWER_S
        while (left := end - time.monotonic()) > 0 and select.select([keys], [], [], left)[0]:
            answer += os.read(keys, 64)
            if match := _ATTRIBUTES.search(answer):
                return match[1].decode().split(";")
    return []


@contextlib.contextmanager
def _unbuffered_keys(descriptor: int) -> Iterator[int]:
    """A terminal that hands over what is typed at once and does not show it."""
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def cell_px() -> tuple[int, int]:
    """Width and height of a character cell in pixels."""
    import fcntl
    import struct
    import termios

    with contextlib.suppress(OSError):
        packed = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", packed)
        if rows and columns and width and height:
            return max(1, width // columns), max(1, height // rows)
    return CELL_PX


def picture_escape(thumbnail: bytes | None, protocol: Protocol, cell: tuple[int, int] = CELL_PX) -> str:
    """What makes the terminal show the picture in `ROWS` rows and go on below it; "" without a thumbnail."""
    width, height = 3 * ROWS * cell[1] // 2, ROWS * cell[1]
    picture = fitted(thumbnail, width, height)
    if picture is None:
        return ""
    match protocol:
        case "kitty":
            return _kitty(_png(picture)) + "\n"
        case "iterm":
            return _iterm(_png(picture)) + "\n"
        case "sixel":
            return sixel(picture) + "\n"


def _png(picture: Image.Image) -> bytes:
    packed = io.BytesIO()
    picture.save(packed, "PNG", compress_level=3)
    return packed.getvalue()


def _kitty(png: bytes) -> str:
    """Transmit and show (a=T) a PNG (f=100); q=2: no answers."""
    packed = base64.b64encode(png).decode()
    chunks = [packed[start : start + _CHUNK] for start in range(0, len(packed), _CHUNK)]
    escapes = []
    for number, chunk in enumerate(chunks):
        control = f"a=T,f=100,r={ROWS},q=2," if number == 0 else ""
        escapes.append(f"\x1b_G{control}m={int(number < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(escapes)


def _iterm(png: bytes) -> str:
    packed = base64.b64encode(png).decode()
    return f"\x1b]1337;File=inline=1;size={len(png)};height={ROWS};preserveAspectRatio=1:{packed}\x07"


def sixel(picture: Image.Image) -> str:
    """The picture in at most 256 colours, six rows of pixels at a time."""
    indexed = picture.quantize(_SIXEL_COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    palette = np.array(indexed.getpalette() or [], np.uint16).reshape(-1, 3)
    pixels = np.asarray(indexed, np.uint8)
    used = np.unique(pixels)
    colours = "".join(
        f"#{index};2;{';'.join(str(int(part) * 100 // 255) for part in palette[index])}" for index in used
    )
    bands = [_band(pixels[top : top + _SIXEL_BAND]) for top in range(0, pixels.shape[0], _SIXEL_BAND)]
    height, width = pixels.shape
    return f'\x1bPq"1;1;{width};{height}{colours}{"-".join(bands)}\x1b\\'


def _band(rows: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    """One band: for each of its colours, which of six pixels have it, column by column."""
    weights = (1 << np.arange(rows.shape[0]))[:, None]
    lines = []
    for index in np.unique(rows):
        bits = ((rows == index) * weights).sum(axis=0)
        lines.append(f"#{index}{_run_lengths(bits.tolist())}")
    return "$".join(lines)


def _run_lengths(bits: list[int]) -> str:
    parts, start = [], 0
    for end in range(1, len(bits) + 1):
        if end == len(bits) or bits[end] != bits[start]:
            char, count = chr(63 + bits[start]), end - start
            parts.append(f"!{count}{char}" if count > 3 else char * count)
            start = end
    return "".join(parts)
