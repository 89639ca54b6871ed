"""PP-OCR in other sizes and for other scripts: a folder with the graphs of a detector and a recogniser.

The names of both files end in or contain `det` and `rec`, as on hubs. The characters come from the
recogniser's metadata, or from a file `*dict*.txt` or `*keys*.txt` with one a line.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catalogd.errors import ModelError
from catalogd.models import sessions, text
from catalogd.models.bundles import FoundBundle
from catalogd.models.devices import Hardware
from catalogd.settings import Settings

_STEP = 1  # of what this module makes of the weights
_HASH_DIGITS = 8  # of a list of characters in the fingerprint
_TRIAL_PX = (48, 320)  # of the strip that tells how many classes there are
_ARABIC = "AL"  # Unicode's class of letters that are written from right to left
# Words and numbers that stay as they are inside a line from right to left, with what joins them.
_LEFT_TO_RIGHT = re.compile(r"([A-Za-z0-9]+(?:[ :*./%+-]+[A-Za-z0-9]+)*)")


class PpOcrModel(text.PpOcr):
    """`text_lines`, by the weights of a folder."""

    def __init__(self, settings: Settings, bundle: FoundBundle, hardware: Hardware) -> None:
        hashes = "-".join((bundle.short_hash, *map(_digest, _lists(bundle.folder))))
        super().__init__(f"{bundle.bundle.id}@{hashes}.{_STEP}", hardware)
        self._folder = bundle.folder

    def _files(self) -> tuple[Path, Path]:
        return _only(self._folder, "*.onnx", "det"), _only(self._folder, "*.onnx", "rec")

    def _alphabet(self, reader: sessions.Session) -> list[str]:
        listed = reader.metadata.get("character")
        characters = listed.split("\n") if listed else _characters(self._folder)
        strip = np.zeros((1, 3, *_TRIAL_PX), np.float32)
        classes = reader.run(strip)[0].shape[2]
        # The first class is the blank; some weights have a last one for the space, others do not.
        if classes not in (len(characters) + 1, len(characters) + 2):
            raise ModelError(f"{self._folder}: {len(characters)} characters for {classes} classes")
        return [*characters, " "][: classes - 1]

    def read(self, lines: Sequence[text.Line]) -> list[text.Reading]:
        return [(reading_order(words), score) for words, score in super().read(lines)]


def reading_order(line: str) -> str:
    """A line as it is typed. Weights for Arabic scripts read what stands from left to right."""
    if not any(unicodedata.bidirectional(character) == _ARABIC for character in line):
        return line
    parts = _LEFT_TO_RIGHT.split(line)  # every second one is to be kept
    return "".join(part if i % 2 else part[::-1] for i, part in reversed(list(enumerate(parts))))


def _lists(folder: Path) -> list[Path]:
    return sorted({*folder.rglob("*dict*.txt"), *folder.rglob("*keys*.txt")})


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:_HASH_DIGITS]


def _characters(folder: Path) -> list[str]:
    paths = _lists(folder)
    if len(paths) != 1:
        raise ModelError(f"{folder}: one list of characters is wanted (dict.txt); there are {len(paths)}")
    # A line may be a single space, and characters may be what other functions take for ends of lines.
    return paths[0].read_text("utf-8").removesuffix("\n").replace("\r\n", "\n").split("\n")


def _only(folder: Path, pattern: str, word: str) -> Path:
    paths = [path for path in sorted(folder.rglob(pattern)) if word in path.name.lower()]
    if len(paths) != 1:
        found = ", ".join(path.name for path in paths) or "none"
        raise ModelError(f"{folder}: one {pattern} with {word!r} in its name is wanted; there is: {found}")
    return paths[0]
