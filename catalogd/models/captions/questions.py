"""The owner's questions: a text file, one a line, that captioning models answer for every photo."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from catalogd.errors import SettingsError
from catalogd.models.weights import HASH_DIGITS

MOST_QUESTIONS = 20  # each costs time on every photo
MOST_CHARACTERS = 200  # of one question: longer ones are answered badly, and cost tokens on every photo
_MOST_BYTES = 1 << 16  # of the file, comments included


@dataclasses.dataclass(frozen=True)
class Questions:
    """What is asked of every photo, in the file's order."""

    texts: tuple[str, ...] = ()

    @property
    def short_hash(self) -> str:
        """Of the questions alone: a comment makes no answer stale. "" without questions."""
        if not self.texts:
            return ""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()[:HASH_DIGITS]


def read(file: Path | None) -> Questions:
    """The questions of a file: UTF-8, one a line; empty lines and those that begin with `#` are skipped.

    None has no questions. Raises SettingsError naming the file and the line.
    """
    if file is None:
        return Questions()
    texts: list[str] = []
    for number, line in enumerate(_lines(file), 1):
        text = " ".join(line.split())
        if text and not text.startswith("#"):
            _check(text, texts, f"{file}, line {number}")
            texts.append(text)
    return Questions(tuple(texts))


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"questions: {file}: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise SettingsError(
            f"questions: {file} is larger than {_MOST_BYTES >> 10} KiB: not a list of questions"
        )
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"questions: {file}, line {line}: is not UTF-8") from None


def _check(text: str, before: list[str], place: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise SettingsError(
            f"questions: {place}: {len(text)} characters; a question has at most {MOST_CHARACTERS}"
        )
    if not text.isprintable():
        raise SettingsError(f"questions: {place}: has control characters")
    if text in before:
        raise SettingsError(f"questions: {place}: asked before")
    if len(before) == MOST_QUESTIONS:
        raise SettingsError(f"questions: {place}: more than {MOST_QUESTIONS} questions")
