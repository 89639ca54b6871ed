"""Values as people and programs write them into XMP and IPTC: text, lists of words, numbers, times.

A value that cannot be what it should be is None or left out; nothing here raises.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable

MAX_TEXT_CHARS = 20_000  # of a caption: longer than any; what is stored must not grow without end
MAX_WORD_CHARS = 256  # of a keyword, a name
MAX_NUMBER_CHARS = 64  # of a number or a time
MAX_WORDS = 1000  # keywords of one photo: ten times what a careful person gives

# ISO 8601 as XMP narrows it (ISO 16684-1, 8.2.1.1), EXIF's colons and IPTC's undivided date.
_TIME = re.compile(
    r"(\d{4})[-:]?(\d\d)[-:]?(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d\d:?\d\d)?)?\s*\Z",
    re.ASCII,
)
_OFFSET = re.compile(r"([+-])(\d\d):?([0-5]\d)\Z", re.ASCII)
# Shift-JIS by its kana: a hiragana, whose bytes are two signs in western charsets, or three katakana, since
# those are "É" and a letter in Mac OS Roman: "FÉDÉRATION" has two.
KANA = re.compile(rb"\x82[\x9f-\xf1]|(?:\x83[\x40-\x96]|\x81\x5b){3}")


def clean_text(text: str) -> str | None:
    """The text without control characters and outer blanks, at most MAX_TEXT_CHARS; None when empty.

    Line breaks become `\\n`.
    """
    text = text.strip(" \t\r\n\0")[:MAX_TEXT_CHARS].rstrip()
    if not text.isprintable():
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text).strip()
    return text or None


def clean_word(text: str) -> str | None:
    """A name or keyword: one line, single blanks, at most MAX_WORD_CHARS; None when empty."""
    text = text[: 2 * MAX_WORD_CHARS]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:MAX_WORD_CHARS] or None


def clean_words(texts: Iterable[str]) -> list[str]:
    """The words that are left of `texts`, each once, in their order, MAX_WORDS at most."""
    words: dict[str, None] = {}
    for text in texts:
        if (word := clean_word(text)) is not None:
            words.setdefault(word)
        if len(words) == MAX_WORDS:
            break
    return list(words)


def number(text: str | None) -> float | None:
    """A finite decimal number or a fraction: "2.8", "28/10"."""
    if text is None or len(text) > MAX_NUMBER_CHARS:
        return None
    top, slash, bottom = text.partition("/")
    try:
        value = float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def within(value: float | None, low: float, high: float) -> float | None:
    """The value when it lies in `low…high`."""
    return round(value, 9) if value is not None and low <= value <= high else None


def time(text: str | None, offset: str | None = None) -> str | None:
    """A date, or a date and a time, in the spelling of `Facts.taken_at`.

    `offset` from UTC counts when the text has none. A year or a month alone is None: no day is
    made up.
    """
    match = _TIME.match((text or "").strip()[:MAX_NUMBER_CHARS])  # blanks without end take quadratic time
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime.datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
    except ValueError:
        return None
    if hour is None:
        return moment.date().isoformat()
    fraction = (fraction or "")[:6].rstrip("0")
    return moment.isoformat() + (fraction and f".{fraction}") + _offset(zone or offset)


def _offset(text: str | None) -> str:
    """ "+02:00" from "+02:00", "+0200" or "Z"; empty when it is no offset of any place on earth."""
    if text == "Z":
        return "+00:00"
    match = _OFFSET.match(text or "")
    if match is None or int(match[2]) > 14:
        return ""
    return f"{match[1]}{match[2]}:{match[3]}"


def zone_of(taken_at: str | None) -> str | None:
    """`Facts.zone` of a time: "offset" when it has one, else "local"."""
    if taken_at is None:
        return None
    return "offset" if _OFFSET.search(taken_at, len("2024-05-01")) else "local"
