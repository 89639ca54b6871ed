"""Names as people type them, whatever their case and accents: `anna nunez` is Anna Núñez."""

from __future__ import annotations

import unicodedata

# Letters that are no others with an accent, as people write them who don't have them on their keyboard.
_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)


def fold(text: str) -> str:
    """The text in lower case, without accents, one space between words."""
    if not text.isascii():
        parted = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        text = "".join(letter for letter in parted if not unicodedata.combining(letter)).translate(_LETTERS)
    return " ".join(text.casefold().split())
