"""How text is cut into words, folded and compared: the same for what a photo says and what a person types."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any, NamedTuple

from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

LONGEST_WORD_BYTES = 64  # longer ones are not words: base64, hashes
MOST_QUERY_WORDS = 32  # of a query; one pasted page must not hold up the server

# Scripts written without spaces: every character is a word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_ITEM = re.compile(r'"(?P<phrase>[^"]*)"?|(?P<plain>[^\s"]+)')
_WILD = re.compile(r"[*?]")
_META = frozenset("\\.+*?()|[]{}^$#&-~")  # Tantivy takes a backslash before no other


class Item(NamedTuple):
    """A part of what a person typed: a word, or a phrase in double quotes."""

    text: str
    is_phrase: bool = False

    @property
    def is_wild(self) -> bool:
        """Whether `*` and `?` in it stand for any characters, and any one."""
        return not self.is_phrase and _WILD.search(self.text) is not None


@functools.cache
def analyzers() -> dict[str, Any]:
    """Name → analyzer: `plain`, `stemmed`, and `query`, which only cuts what a person typed."""

    def words() -> TextAnalyzerBuilder:
        cut = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(LONGEST_WORD_BYTES))
        return cut.filter(Filter.lowercase()).filter(Filter.ascii_fold())

    return {
        "plain": words().build(),
        "stemmed": words().filter(Filter.stemmer("english")).build(),
        "query": words().filter(Filter.stopword("english")).build(),
    }


def items_of(text: str) -> list[Item]:
    """The words and the phrases of a text, in order, each once. Any text has some or none."""
    found = (
        Item(match["plain"]) if match["phrase"] is None else Item(match["phrase"], True)
        for match in _ITEM.finditer(valid(text))
    )
    return list(dict.fromkeys(item for item in found if item.text.strip()))[:MOST_QUERY_WORDS]


def plain_words(text: str) -> list[str]:
    """The words of a text without stemming."""
    words: list[str] = analyzers()["plain"].analyze(spaced(valid(text)))
    return words


def valid(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()


def spaced(text: str) -> str:
    """Text whose words have something between them, whatever its script."""
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", composed(text))


def composed(text: str) -> str:
    """Accents as part of their letters: macOS parts them in file names, and words would end there."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """A whole value as it is compared, whatever its case."""
    return composed(text.strip().casefold())


def folded_word(text: str) -> str:
    """One word with its wildcards as the index spells words: lower case, without accents."""
    parts = re.split(r"([*?])", valid(text))
    return "".join(part if part in "*?" else "".join(plain_words(part)) for part in parts)


def pattern_of(wild: str, any_character: str = ".") -> str:
    """A regular expression for text with wildcards; `any_character` is what they may stand for."""
    stands_for = {"*": f"{any_character}*", "?": any_character}
    return "".join(stands_for.get(letter) or escaped(letter) for letter in re.sub(r"\*+", "*", wild))


def escaped(letter: str) -> str:
    """A letter as it stands in a regular expression, Python's and that of Tantivy."""
    return "\\" + letter if letter in _META else letter
