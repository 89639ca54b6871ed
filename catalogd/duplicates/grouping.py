"""From pairs to groups without chains: every file of a group is judged against the one that is kept."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from catalogd.duplicates.judging import BURST, EXACT, KINDS, Likeness, Photo
from catalogd.duplicates.keeping import by_worth, lacking, reasons


class Member(NamedTuple):
    """A file that is not the one to keep."""

    photo: Photo
    likeness: Likeness
    saves_bytes: int  # that its disk gets back without it


class Group(NamedTuple):
    """Files of one picture, or of one burst, with the one to keep."""

    kind: str  # of the members the one that is least like the keeper
    keeper: Photo
    reasons: tuple[str, ...]  # why this one
    others: tuple[Member, ...]
    lacking: tuple[str, ...] = ()  # what only the others know: it would be lost with them

    @property
    def saves_bytes(self) -> int:
        return sum(member.saves_bytes for member in self.others)


Likenesses = Callable[[Photo, Photo], Likeness | None]  # what the second photo is to the first


def components(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The photos that pairs connect, each sorted, by their first."""
    parent: dict[int, int] = {}

    def root(photo: int) -> int:
        while parent.setdefault(photo, photo) != photo:
            parent[photo] = photo = parent[parent[photo]]
        return photo

    for left, right in pairs:
        parent[root(left)] = root(right)
    groups = collections.defaultdict(list)
    for photo in sorted(parent):
        groups[root(photo)].append(photo)
    return list(groups.values())


def stars(photos: Sequence[Photo], likeness: Likenesses) -> Iterator[Group]:
    """Groups among connected photos: the best of them with all that are like it, then so of the rest."""
    rest = by_worth(photos)
    while len(rest) > 1:
        keeper, *candidates = rest
        found = {photo.photo_id: likeness(keeper, photo) for photo in candidates}
        members = [
            Member(photo, alike, photo.stat.size) for photo in candidates if (alike := found[photo.photo_id])
        ]
        if members:
            yield group(keeper, members)
        rest = [photo for photo in candidates if found[photo.photo_id] is None]


def group(keeper: Photo, members: Sequence[Member]) -> Group:
    """The group with its kind, its reasons and what the keeper lacks; the most alike first."""
    ordered = sorted(members, key=lambda member: (KINDS.index(member.likeness.kind), member.photo.path))
    others = [member.photo for member in ordered]
    kind = ordered[-1].likeness.kind
    return Group(kind, keeper, reasons(keeper, others), tuple(ordered), lacking(keeper, others))


def burst(cover: Photo, others: Sequence[Photo]) -> Group:
    """The photos of a burst: shown as what they are, nothing of it is to go."""
    said = Likeness(BURST, "another moment")
    return Group(
        BURST,
        cover,
        ("the burst's cover: rated best, else sharpest",),
        tuple(Member(photo, said, 0) for photo in others),
    )


def is_exact(member: Member) -> bool:
    return member.likeness.kind == EXACT
