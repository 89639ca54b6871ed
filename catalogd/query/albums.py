"""Albums inside a query: those that hold photos, and those that are queries themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from catalogd.catalog.environment import Ids
from catalogd.catalog.words import folded
from catalogd.errors import QueryError
from catalogd.query.language import parse
from catalogd.records import Album, Plan

MOST_DEEP = 8  # albums in albums: nobody nests them deeper on purpose

Run = Callable[[str], Ids]  # a query text → the photos that it finds


class Albums:
    """The albums as one search sees them."""

    def __init__(self, find: Callable[[str], Album | None], run: Run) -> None:
        self._find = find
        self._run = run
        self._open: list[str] = []  # smart albums that are being looked into

    def ids(self, name: str) -> Ids | None:
        """The photos of an album: int64[n]; None when there is none of this name.

        Raises QueryError for an album that leads to itself, and what its query raises.
        """
        album = self._find(name)
        if album is None:
            return None
        if album.query is None:
            return np.array(sorted(album.photo_ids), np.int64)
        with self._opened(album.name):
            try:
                return self._run(album.query)
            except QueryError as error:
                raise QueryError(f'in the album "{album.name}": {error}') from None

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[None]:
        if name in self._open or len(self._open) >= MOST_DEEP:
            way = " → ".join((*self._open, name))
            raise QueryError(f"albums lead to each other ({way}): save one of them with another query")
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()


def leads_to(query: str, name: str, find: Callable[[str], Album | None]) -> bool:
    """Whether a query asks for the album `name`, or for one whose query does. Raises QueryError."""
    looked_into: set[str] = set()
    waiting = [query]
    while waiting:
        for asked in _albums_of(parse(waiting.pop())):
            if folded(asked) == folded(name):
                return True
            album = None if folded(asked) in looked_into else find(asked)
            looked_into.add(folded(asked))
            waiting += [album.query] if album is not None and album.query is not None else []
    return False


def _albums_of(plan: Plan) -> list[str]:
    conditions = (condition for condition in plan.conditions if condition.field == "album")
    return [(condition.words or "").replace('"', "") for condition in conditions]
