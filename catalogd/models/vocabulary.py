"""The words that zero-shot tagging looks for: a text file that its owner may edit.

::

    # a comment
    beach
    bat = a bat, the animal; a bat hanging in a cave
"""

from __future__ import annotations

import dataclasses
import hashlib
from importlib import resources
from pathlib import Path

from catalogd.errors import SettingsError
from catalogd.models.weights import HASH_DIGITS

MOST_WORDS = 20_000  # of a vocabulary: each costs a run of the text tower once, 0.15 s of CPU (SigLIP2-B)
MOST_LETTERS = 200  # of a word or description: what is longer is no list of words


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Words in the order of their file, and how pictures of each are described."""

    words: tuple[str, ...]
    descriptions: tuple[tuple[str, ...], ...]  # of each word; (): as the model describes words

    @property
    def short_hash(self) -> str:
        """12 digits; comments and empty lines do not count."""
        digest = hashlib.sha256()
        for word, descriptions in zip(self.words, self.descriptions, strict=True):
            digest.update("\0".join((word, *descriptions, "\n")).encode())
        return digest.hexdigest()[:HASH_DIGITS]


def read_vocabulary(path: Path | None) -> Vocabulary:
    """A vocabulary; None: the one that comes along. Raises SettingsError naming file and line."""
    if path is None:
        text = (resources.files("catalogd.models") / "data" / "tag_vocabulary.txt").read_text("utf-8")
        return parse_vocabulary(text, "tag_vocabulary.txt")
    try:
        return parse_vocabulary(path.read_text("utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"tag_vocabulary {path} can't be read: {error}") from None


def parse_vocabulary(text: str, name: str) -> Vocabulary:
    """The words of a text; `name` is its file, for errors."""
    found: dict[str, tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word, descriptions = _entry(line, f"{name}, line {number}")
        if word.casefold() in lines:
            raise SettingsError(
                f"{name}, line {number}: {word!r} is in line {lines[word.casefold()]} already"
            )
        lines[word.casefold()], found[word] = number, descriptions
    if not found:
        raise SettingsError(f"{name} has no words")
    if len(found) > MOST_WORDS:
        raise SettingsError(f"{name} has {len(found):,} words; at most {MOST_WORDS:,} can be looked for")
    return Vocabulary(tuple(found), tuple(found.values()))


def _entry(line: str, place: str) -> tuple[str, tuple[str, ...]]:
    word, equals, rest = (part.strip() for part in line.partition("="))
    descriptions = tuple(part.strip() for part in rest.split(";") if part.strip())
    if not word:
        raise SettingsError(f"{place}: there is no word before the =")
    if equals and not descriptions:
        raise SettingsError(f"{place}: after {word} = there is no description")
    if max(map(len, (word, *descriptions))) > MOST_LETTERS:
        raise SettingsError(f"{place}: a word or description has at most {MOST_LETTERS} letters")
    return " ".join(word.split()), descriptions
