"""Names in plain words: `anna at the beach` also looks for the person Anna, where there is one.

A name is a person's, or an alias of one; a first name alone will do where one person only has it. What is in
quotes is left as it is. The photos of the person come by a branch of their own, before that of the words as
they stand: a caption may hold the name as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from catalogd.folding import fold
from catalogd.query.language import MOST_BRANCHES
from catalogd.records import Branch, Condition, Plan

MOST_NAMES = 4  # of one query; nobody asks for more people at once in words
_LONGEST_NAME = 4  # words
_SHORTEST_NAME = 2  # letters: initials are mostly something else
_ITEM = re.compile(r'"(?:[^"]|"")*"|[^\s"]+')
_EDGES = ".,;:!?'’"
_OF = re.compile(r"['’]s?$", re.IGNORECASE)  # anna's, james'
# What is left over between and before names, and what a photo is called in a query for photos.
_JOINTS = frozenset(("and", "&", "+", "with", "of", "by"))
_PHOTO_WORDS = frozenset(
    (
        *("a", "all", "an", "any", "every", "me", "my", "of", "show", "some", "that", "the", "with"),
        *("image", "images", "photo", "photos", "photograph", "photographs"),
        *("pic", "pics", "picture", "pictures", "shot", "shots"),
    )
)


class _Found(NamedTuple):
    """A name in the words of a query."""

    start: int  # of the items of the words
    end: int
    person: str
    typed: str


def known_names(people: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Folded name → display name, for `understand`: names, aliases, and first names that only one has.

    `people`: display name → aliases.
    """
    known = {fold(person): person for person in people}
    first_names: dict[str, set[str]] = {}
    for person, aliases in people.items():
        for alias in aliases:
            known.setdefault(fold(alias), person)
        first_names.setdefault(fold(person).partition(" ")[0], set()).add(person)
    for name, bearers in first_names.items():
        if len(bearers) == 1:
            known.setdefault(name, *bearers)
    return known


def understand(plan: Plan, names: Mapping[str, str]) -> tuple[Plan, tuple[str, ...]]:
    """The plan with a branch for the names in its words, and a line for each name.

    `names` is what `known_names` gives. The same plan where there is no name in it.
    """
    branches: list[Branch] = []
    lines: dict[str, None] = {}
    for number, branch in enumerate(plan.branches):
        found = _names_in(branch.words, names)
        room = MOST_BRANCHES - len(branches) - (len(plan.branches) - number)
        if found and room > 0:
            branches.append(_with_people(branch, found))
            lines |= dict.fromkeys(f"{name.typed} → the person {name.person}" for name in found)
        branches.append(branch)
    return (msgspec.structs.replace(plan, branches=tuple(branches)) if lines else plan), tuple(lines)


def _names_in(words: str, names: Mapping[str, str]) -> list[_Found]:
    """From the left, at each place the longest; each person once."""
    items = _ITEM.findall(words)
    found: list[_Found] = []
    start = 0
    while names and start < len(items) and len(found) < MOST_NAMES:
        name = next(_names_at(items, start, names), None)
        if name is not None:
            found.append(name)
        start = name.end if name else start + 1
    return found


def _names_at(items: list[str], start: int, names: Mapping[str, str]) -> Iterator[_Found]:
    for end in range(min(len(items), start + _LONGEST_NAME), start, -1):
        if any(item.startswith('"') for item in items[start:end]):
            continue
        typed = " ".join(items[start:end]).strip(_EDGES)
        for spelling in dict.fromkeys((typed, _OF.sub("", typed))):
            person = names.get(fold(spelling))
            if person is not None and len(spelling) >= _SHORTEST_NAME:
                yield _Found(start, end, person, spelling)


def _with_people(branch: Branch, found: list[_Found]) -> Branch:
    people = dict.fromkeys(name.person for name in found)
    conditions = tuple(Condition("person", words=person) for person in people)
    return msgspec.structs.replace(
        branch, words=_without(branch.words, found), filters=(*branch.filters, *conditions)
    )


def _without(words: str, found: list[_Found]) -> str:
    """The words that are left, without those that only led to a name: of `photos of anna and ben` none."""
    items: list[str | None] = list(_ITEM.findall(words))
    for name in found:
        items[name.start : name.end] = [None] * (name.end - name.start)
        if name.start and (items[name.start - 1] or "").casefold() in _JOINTS:
            items[name.start - 1] = None
    left = [item for item in items if item is not None]
    return "" if all(item.casefold() in _PHOTO_WORDS for item in left) else " ".join(left)
