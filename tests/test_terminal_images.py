"""Pictures in terminals: what is sent can be read back by what the protocols say."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from catalogd import terminal_images
from catalogd.terminal_images import detect, picture_escape, sixel


def thumbnail(size: tuple[int, int] = (320, 160)) -> bytes:
    packed = io.BytesIO()
    ramp = np.linspace(0, 255, size[0], dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[None, :], ramp[None, ::-1], np.uint8(90)), axis=-1)
    Image.fromarray(np.broadcast_to(pixels, (size[1], size[0], 3)).copy()).save(packed, "JPEG")
    return packed.getvalue()


def test_kitty_gets_a_png_in_chunks_that_end() -> None:
    escape = picture_escape(thumbnail(), "kitty")
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", escape)
    assert parts[0][0].startswith("a=T,f=100,r=8")
    assert [part[0][-3:] for part in parts] == ["m=1"] * (len(parts) - 1) + ["m=0"]
    assert all(len(packed) <= 4096 for _, packed in parts)
    picture = Image.open(io.BytesIO(base64.b64decode("".join(packed for _, packed in parts))))
    assert picture.width == 2 * picture.height


def test_iterm_gets_a_png_with_its_size() -> None:
    escape = picture_escape(thumbnail(), "iterm")
    match = re.fullmatch(r"\x1b\]1337;File=inline=1;size=(\d+);height=8;[^:]*:([^\x07]*)\x07\n", escape)
    assert match is not None
    png = base64.b64decode(match[2])
    assert len(png) == int(match[1])
    assert Image.open(io.BytesIO(png)).format == "PNG"


def decoded(text: str) -> np.ndarray:
    """A sixel picture read back: uint8[H, W, 3]."""
    body = re.fullmatch(r'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    assert body is not None
    width, height = int(body[1]), int(body[2])
    canvas = np.zeros((height + 6, width, 3), np.uint8)
    colours: dict[int, tuple[int, ...]] = {}
    colour, x, top = 0, 0, 0
    tokens = re.findall(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])", body[3])
    for index, red, green, blue, chosen, count, repeated, single, motion in tokens:
        if index:
            colours[int(index)] = tuple(round(int(part) * 2.55) for part in (red, green, blue))
        elif chosen:
            colour = int(chosen)
        elif motion:
            x, top = 0, top + (6 if motion == "-" else 0)
        else:
            end = x + int(count or 1)
            for bit in range(6):
                if (ord(repeated or single) - 63) >> bit & 1:
                    canvas[top + bit, x:end] = colours[colour]
            x = end
    return canvas[:height]


def test_a_sixel_picture_reads_back_as_it_was() -> None:
    picture = Image.open(io.BytesIO(thumbnail((97, 53)))).convert("RGB")
    back = decoded(sixel(picture))
    assert back.shape == (53, 97, 3)
    assert np.abs(back.astype(int) - np.asarray(picture).astype(int)).mean() < 8


def test_without_a_thumbnail_nothing_is_sent() -> None:
    assert picture_escape(None, "kitty") == ""
    assert picture_escape(b"half", "sixel") == ""


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"KONSOLE_VERSION": "230800"}, "kitty"),
        ({"TERM": "dumb"}, None),
    ],
)
def test_a_terminal_is_known_by_its_name(environment: dict[str, str], protocol: str | None) -> None:
    assert detect(environment) == protocol


@pytest.mark.parametrize(
    ("answer", "protocol"), [(b"\x1b[?62;4;22c", "sixel"), (b"\x1b[?62;22c", None), (b"", None)]
)
def test_another_terminal_is_asked_whether_it_shows_sixels(
    answer: bytes, protocol: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r+b", buffering=0) as side:
        monkeypatch.setattr(sys, "stdin", side)
        monkeypatch.setattr(sys, "stdout", side)
        asked: list[bytes] = []

        def terminal() -> None:
            asked.append(os.read(ours, 16))
            os.write(ours, answer or b"x")

        thread = threading.Thread(target=terminal)
        thread.start()
        assert detect({"TERM": "xterm"}) == protocol
        thread.join()
        assert asked == [b"\x1b[c"]
    os.close(ours)


def test_a_cell_has_a_usual_size_where_the_terminal_does_not_say() -> None:
    width, height = terminal_images.cell_px()
    assert width > 0
    assert height > 0
