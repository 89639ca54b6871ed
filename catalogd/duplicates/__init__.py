"""Files that show one picture: found without comparing all with all, judged by their pixels, nothing deleted.

::

    fingerprints ── exact ──┐
    stacks of the time line ┤
    signatures, in bands ───┼─▶ questions ─▶ judging ─▶ components ─▶ grouping ─▶ files ─▶ Group
    turned signatures ──────┤   pairs of     facts,     of pairs      one star    bytes
    embeddings, in cells ───┘   photo_ids    pixels     that hold     a keeper    compared

The five to the left only ask; a pair is a duplicate when no fact of the photos speaks against it and their
pixels agree. Memory holds some 600 bytes a photo at most, and the pairs. docs/duplicates.md has the rules.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogd.catalog.arrangement import STACK_GAP_S
from catalogd.duplicates import files
from catalogd.duplicates.grouping import Group, Member, burst, components, group, is_exact, stars
from catalogd.duplicates.hamming import pairs_within
from catalogd.duplicates.judging import (
    BURST,
    EXACT,
    KINDS,
    NEAR,
    NEAR_BITS,
    SAME,
    SAME_BITS,
    Judge,
    Likeness,
    Photo,
    is_other_exposure,
)
from catalogd.duplicates.neighbours import close_pairs
from catalogd.models.signature import TURNS, Turn, turned

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.settings import Settings

__all__ = ["BURST", "EXACT", "KINDS", "NEAR", "SAME", "Duplicates", "Group", "Member", "Photo", "Problem"]

log = logging.getLogger(__name__)

NEAR_COSINE = 0.75  # of embeddings: nine of ten crops to 80 % are above, half of those to 60 %
MOST_CLOSE = 10_000  # pairs of close embeddings whose pixels are compared, 3 ms each: the closest
TURNED_BITS = 30  # of signatures of a picture held another way, encoded again
_APART_S = STACK_GAP_S + 1  # columns know whole seconds
_PAGE = 1000  # pairs judged, or records read, at a time
_THREADS = 2  # judge: most of their time they are in kernels and decoders, which lets the other work
# A quarter turn to the left finds what one to the right would: the pair the other way round.
_ASKED_TURNS = tuple(turn for turn in TURNS[1:] if turn != Turn(True, True, False))

Ids = NDArray[np.int64]
Questions = Iterator[tuple[Ids, Ids]]


class Problem(NamedTuple):
    """Why a file that may be a copy is in no group."""

    path: bytes
    text: str


class Duplicates:
    """Looks for duplicates in one catalog. `problems` fills while `groups` runs."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        depth: str = SAME,
        within: Iterable[int] | None = None,
        protected: frozenset[int] = frozenset(),
        read_files: bool = True,
    ) -> None:
        """`depth` is the least alike kind that is asked for: EXACT, SAME or NEAR, which shows bursts too.

        `within` restricts everything to these photos. A `protected` one (of a bracket, a panorama) is
        only ever called a copy of the same bytes. Without `read_files` equal fingerprints count as
        equal bytes.
        """
        self.problems: list[Problem] = []
        self.not_compared = 0  # pairs that are somewhat alike and were not looked at
        self._catalog = catalog
        self._folder = settings.catalog
        self._depth = depth
        self._protected = protected
        self._read_files = read_files
        self._judge = Judge(settings)
        self._within = None if within is None else frozenset(within)
        self._columns = catalog.columns()
        asked = self._columns.sorted_ids(self._columns.alive)
        self._ids: Ids = asked
        if self._within is not None:
            self._ids = np.intersect1d(asked, np.array(sorted(self._within), np.int64))

    def without_signature(self) -> int:
        """How many photos can't be compared: no run has given them a signature yet, or they are blank."""
        return int(np.count_nonzero(~self._signatures(self._ids).any(axis=1)))

    def unseen(self) -> int:
        """How many photos could not be seen while `groups` ran: no thumbnail, and no file to be read."""
        return len(self._judge.unseen)

    def groups(self) -> Iterator[Group]:
        """All groups, bursts last: the most alike first, then those that would save the most bytes."""
        found = self._groups_of_pairs()
        found.sort(key=lambda group: (KINDS.index(group.kind), -group.saves_bytes, group.keeper.path))
        for one in found:
            if checked := self._checked(one):
                yield checked
        if self._depth == NEAR:
            yield from self._bursts()

    # -- questions ---------------------------------------------------------------------------------

    def _groups_of_pairs(self) -> list[Group]:
        copies = list(files.copies(self._catalog, self._within))
        alike = itertools.chain.from_iterable(itertools.pairwise(group) for group in copies)
        if self._depth != EXACT:
            doubles = np.array([photo_id for group in copies for photo_id in group[1:]], np.int64)
            alike = itertools.chain(alike, self._alike(np.setdiff1d(self._ids, doubles)))
        connected = components(alike)
        log.info("%d sets of photos that may be duplicates", len(connected))
        return [group for photo_ids in connected for group in stars(self._photos(photo_ids), self._likeness)]

    def _alike(self, ids: Ids) -> Iterator[tuple[int, int]]:
        """The pairs of `ids`, of which no two share a fingerprint, that hold."""
        asked = [np.stack(pairs, axis=1) for pairs in self._questions(ids)]
        pairs = np.unique(np.sort(np.concatenate(asked), axis=1), axis=0)
        log.info("%d pairs to be judged", len(pairs))
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
            for page in self._pages(pairs):
                likenesses = threads.map(lambda pair: self._likeness_of_any(*pair), page)
                for (left, right), likeness in zip(page, likenesses, strict=True):
                    if likeness:
                        yield left.photo_id, right.photo_id

    def _pages(self, pairs: Ids) -> Iterator[list[tuple[Photo, Photo]]]:
        """The pairs `int64[n, 2]` of which both photos are still there, some at a time."""
        for start in range(0, len(pairs), _PAGE):
            page = pairs[start : start + _PAGE]
            photos = {photo.photo_id: photo for photo in self._photos(np.unique(page).tolist())}
            yield [
                (photos[left], photos[right])
                for left, right in page.tolist()
                if left in photos and right in photos
            ]

    def _questions(self, ids: Ids) -> Questions:
        yield self._stacked(ids)
        signatures = self._signatures(ids)
        some = signatures.any(axis=1)
        ids, signatures = ids[some], signatures[some]
        times = self._times(ids)

        def kept(left: Ids, right: Ids) -> NDArray[np.bool_]:
            """Not the pairs that were certainly taken at two times."""
            wanted: NDArray[np.bool_] = ~(np.abs(times[left] - times[right]) > _APART_S) & (left != right)
            return wanted

        def alike(most_bits: int, others: NDArray[np.uint8] | None = None) -> tuple[Ids, Ids]:
            pairs = pairs_within(signatures, most_bits, others, kept)
            return ids[pairs.left], ids[pairs.right]

        yield alike(NEAR_BITS if self._depth == NEAR else SAME_BITS)
        if self._depth == NEAR:
            for turn in _ASKED_TURNS:
                yield alike(TURNED_BITS, turned(signatures, turn))
            for space in self._catalog.picture_spaces():
                yield self._close(space, ids)

    def _close(self, space: str, ids: Ids) -> tuple[Ids, Ids]:
        """The pairs with the closest embeddings: those that signatures can't find, crops above all."""
        pages = self._embeddings(space, ids)
        found = close_pairs(pages, len(ids), self._times, _APART_S, NEAR_COSINE, self._folder)
        closest = np.argsort(-found.cosines, kind="stable")
        pairs: list[tuple[int, int]] = []
        looked_at = 0
        for page in self._pages(np.stack([found.left, found.right], axis=1)[closest]):
            pairs += [(a.photo_id, b.photo_id) for a, b in page if not is_other_exposure(a, b)]
            looked_at += _PAGE
            if len(pairs) >= MOST_CLOSE:
                break
        self.not_compared += max(0, len(closest) - looked_at)
        both = np.array(pairs, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def _stacked(self, ids: Ids) -> tuple[Ids, Ids]:
        """All pairs of the files of one stack."""
        members, rows = self._catalog.timeline.members()
        inside = _are_in(members, ids) & (rows["stack"] != 0)
        order = np.argsort(rows["stack"][inside], kind="stable")
        stacks = np.split(members[inside][order], np.flatnonzero(np.diff(rows["stack"][inside][order])) + 1)
        pairs = [pair for stack in stacks for pair in itertools.combinations(stack.tolist(), 2)]
        both = np.array(pairs, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def _embeddings(self, space: str, ids: Ids) -> Iterator[tuple[Ids, NDArray[np.float16]]]:
        last = 0
        while True:
            page, embeddings = self._catalog.embeddings_after(space, last, _PAGE)
            if not len(page):
                return
            inside = _are_in(page, ids)
            yield page[inside], embeddings[inside]
            last = int(page[-1])

    def _times(self, ids: Ids) -> NDArray[np.float64]:
        taken: NDArray[np.float64] = self._columns.taken[self._columns.rows_of(ids)]
        return taken

    def _signatures(self, ids: Ids) -> NDArray[np.uint8]:
        signatures: NDArray[np.uint8] = self._columns.signature[self._columns.rows_of(ids)]
        return signatures

    # -- answers -----------------------------------------------------------------------------------

    def _photos(self, photo_ids: Sequence[int]) -> list[Photo]:
        """Those of these photos that there still are."""
        return [Photo.of(record) for record in self._catalog.iter_records_of(photo_ids)]

    def _likeness(self, keeper: Photo, other: Photo) -> Likeness | None:
        """What `other` is to `keeper`, if it may be called so."""
        found = self._likeness_of_any(keeper, other)
        spared = other.photo_id in self._protected and found is not None and found.kind != EXACT
        return None if spared else found

    def _likeness_of_any(self, keeper: Photo, other: Photo) -> Likeness | None:
        found = self._judge.likeness(keeper, other)
        asked = found is not None and KINDS.index(found.kind) <= KINDS.index(self._depth)
        return found if asked else None

    def _checked(self, found: Group) -> Group | None:
        """The group with only those copies whose bytes are the keeper's; None when none is left.

        Where the keeper can't be read the best of its copies takes its place.
        """
        if not any(map(is_exact, found.others)):
            return found
        if not self._read_files:
            inode = files.inode_of(found.keeper.path)
            return group(found.keeper, [_named(member, inode, files.inode_of) for member in found.others])
        whole = files.read_whole(found.keeper.path, found.keeper.stat)
        if whole.problem:
            self._tell(found.keeper.path, whole.problem)
            rest = [member.photo for member in found.others]
            again = next(stars(rest, self._likeness), None)
            return self._checked(again) if again else None
        members = [self._compared(member, whole) for member in found.others]
        kept = [member for member in members if member is not None]
        return group(found.keeper, kept) if kept else None

    def _compared(self, member: Member, whole: files.Whole) -> Member | None:
        if not is_exact(member):
            return member
        other = files.read_whole(member.photo.path, member.photo.stat)
        if other.problem:
            self._tell(member.photo.path, other.problem)
            return None
        if other.digest != whole.digest:
            self._tell(
                member.photo.path, "has other bytes than its likeness in size, beginning and end suggests"
            )
            return None
        return _named(member, whole.inode, lambda _: other.inode)

    def _tell(self, path: bytes, text: str) -> None:
        self.problems.append(Problem(path, text))

    def _bursts(self) -> Iterator[Group]:
        inside = set(self._ids.tolist())
        for found in self._catalog.timeline.bursts():
            photos = {
                photo.photo_id: photo for photo in self._photos([i for i in found.photo_ids if i in inside])
            }
            if found.cover in photos and len(photos) > 1:
                cover = photos.pop(found.cover)
                yield burst(cover, sorted(photos.values(), key=lambda photo: photo.path))


def _are_in(some: Ids, ids: Ids) -> NDArray[np.bool_]:
    """bool[n]: which of `some` are among the ordered `ids`; `np.isin` would go through all of these."""
    if not len(ids):
        return np.zeros(len(some), np.bool_)
    places = np.minimum(np.searchsorted(ids, some), len(ids) - 1)
    found: NDArray[np.bool_] = ids[places] == some
    return found


def _named(member: Member, inode: tuple[int, int], inode_of: Callable[[bytes], tuple[int, int]]) -> Member:
    """The member, and that nothing is saved by it where it is the keeper's file under another name."""
    if not is_exact(member) or inode == (0, 0) or inode_of(member.photo.path) != inode:
        return member
    return Member(member.photo, Likeness(EXACT, "another name of the same file"), 0)
