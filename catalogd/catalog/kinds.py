"""Words that a photo is found by because of its tags and objects, beside the names of these.

A classifier says "Blenheim spaniel" where people look for a dog, and a detector "couch" where they look for a
sofa. Which words a name stands for is written in data/kinds.txt. They are words of the photo's document, in a
field of their own that weighs less than the names: a search for "dog" is then one term, not a hundred
breeds (bench/bench_quality.py kinds).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from importlib import resources

_LINE_BREAK = re.compile(r"\n\s+")  # an entry goes on in indented lines


def kinds_of(name: str) -> tuple[str, ...]:
    """The words that a tag or an object stands for, as the file orders them."""
    return _kinds().get(name, ())


@functools.lru_cache(maxsize=1024)  # what a library shows repeats itself
def words_of(names: tuple[str, ...]) -> str:
    """All words that these names stand for, each once."""
    return " ".join(dict.fromkeys(word for name in names for word in kinds_of(name)))


def entries() -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The lines of the file: words, and the names that stand for them."""
    text = (resources.files("catalogd.catalog") / "data" / "kinds.txt").read_text("utf-8")
    for line in _LINE_BREAK.sub(" ", text).splitlines():
        if line and not line.startswith("#"):
            words, _, names = line.partition(":")
            yield _split(words), _split(names)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


@functools.cache
def _kinds() -> dict[str, tuple[str, ...]]:
    """Name → words. 3 ms, once a process that writes or explains."""
    found: dict[str, list[str]] = {}
    for words, names in entries():
        for name in names:
            found.setdefault(name, []).extend(words)
    return {name: tuple(dict.fromkeys(words)) for name, words in found.items()}
