"""How the photos of a query divide: by camera, year, place, person …

What columns hold is counted over all photos of the selection. Keywords stand in the records alone, so they
are counted on the newest `MOST_READ` photos.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from catalogd.catalog.environment import Ids
from catalogd.catalog.photo_row import NO_ISO, NO_RATING
from catalogd.catalog.selection import Selection
from catalogd.errors import UsageError
from catalogd.records import Facets

if TYPE_CHECKING:
    from catalogd.catalog import Catalog

MOST_READ = 10_000  # records: 0.2 s
MOST_VALUES = 1000  # of a facet: a person reads a screenful

Counts = list[tuple[str, int]]


class _Divided(NamedTuple):
    """What a facet is counted on."""

    catalog: Catalog
    selection: Selection
    people: Mapping[str, Ids]  # name → the photos that show the person, ascending


def divide(
    catalog: Catalog, selection: Selection, names: Iterable[str], people: Callable[[], Mapping[str, Ids]]
) -> Facets:
    """By each of `names`, of `NAMES`. Raises UsageError for another one."""
    asked = list(dict.fromkeys(names))
    for name in asked:
        if name not in _FACETS:
            raise UsageError(f"there is no facet {name!r}; there are {', '.join(NAMES)}")
    divided = _Divided(catalog, selection, people() if "person" in asked else {})
    notes = []
    if "keyword" in asked and len(selection) > MOST_READ:
        notes.append(f"keyword: of the newest {MOST_READ:,} of {len(selection):,} photos")
    return Facets({name: _FACETS[name](divided) for name in asked}, len(selection), tuple(notes))


def _by_term(kind: str, column: str = "") -> Callable[[_Divided], Counts]:
    def count(divided: _Divided) -> Counts:
        columns = divided.selection.columns
        codes = columns.arrays[column or kind][divided.selection.mask]
        terms = columns.terms(kind)
        return _most_first(_named(codes, terms.__getitem__))

    return count


def _by_place(part: int) -> Callable[[_Divided], Counts]:
    def count(divided: _Divided) -> Counts:
        columns = divided.selection.columns
        terms = columns.terms("place")
        codes = columns.place[divided.selection.mask]
        return _most_first(_named(codes, lambda code: (terms[code].split("\t") + [""] * 5)[part]))

    return count


def _by_time(unit: str, length: int) -> Callable[[_Divided], Counts]:
    """Of the camera's clock: numpy cuts seconds down to years and months."""

    def count(divided: _Divided) -> Counts:
        taken = divided.selection.columns.taken[divided.selection.mask]
        known = taken[~np.isnan(taken)].astype("datetime64[s]").astype(f"datetime64[{unit}]")
        values, photos = np.unique(known, return_counts=True)
        counts = [(str(value)[:length], int(n)) for value, n in zip(values, photos, strict=True)][::-1]
        return [*counts, *_without(len(taken) - len(known))]

    return count


def _by_number(column: str, unknown: int) -> Callable[[_Divided], Counts]:
    def count(divided: _Divided) -> Counts:
        values = divided.selection.columns.arrays[column][divided.selection.mask]
        found, photos = np.unique(values, return_counts=True)
        known = [(str(value), int(n)) for value, n in zip(found, photos, strict=True) if value != unknown]
        return [*known[::-1], *_without(int(photos[found == unknown].sum()))]

    return count


def _by_whole_number(column: str) -> Callable[[_Divided], Counts]:
    """Of a measure, by its number without what follows the point."""

    def count(divided: _Divided) -> Counts:
        values = divided.selection.columns.arrays[column][divided.selection.mask]
        known = np.floor(values[~np.isnan(values)]).astype(np.int64)
        found, photos = np.unique(known, return_counts=True)
        counts = [(str(value), int(n)) for value, n in zip(found, photos, strict=True)][::-1]
        return [*counts, *_without(len(values) - len(known))]

    return count


def _by_person(divided: _Divided) -> Counts:
    """By those whom a person named; a photo may show several."""
    counts = {
        name: int(np.count_nonzero(divided.selection.contains(ids))) for name, ids in divided.people.items()
    }
    return _most_first({name: count for name, count in counts.items() if count})


def _by_keyword(divided: _Divided) -> Counts:
    ids = divided.catalog.ordered(divided.selection, "-date", MOST_READ)
    counts: collections.Counter[str] = collections.Counter()
    for record in divided.catalog.iter_records_of(ids):
        said = record.said
        counts.update(set(said.keyword_paths or said.keywords) or {""})
    return _most_first(counts)


def _named(codes: npt.NDArray[np.generic], name: Callable[[int], str]) -> dict[str, int]:
    """Code → photos, under names that several codes may have."""
    counts: collections.Counter[str] = collections.Counter()
    found, photos = np.unique(codes, return_counts=True)
    for code, count in zip(found.tolist(), photos.tolist(), strict=True):
        counts[name(code)] += count
    return counts


def _most_first(counts: Mapping[str, int]) -> Counts:
    """The most photos first, those without a value at the end."""
    ordered = sorted(counts.items(), key=lambda item: (item[0] == "", -item[1], item[0]))
    return [*ordered[:MOST_VALUES]]


def _without(photos: int) -> Counts:
    return [("", photos)] if photos else []


_FACETS: dict[str, Callable[[_Divided], Counts]] = {
    "camera": _by_term("camera"),
    "lens": _by_term("lens"),
    "year": _by_time("Y", 4),
    "month": _by_time("M", 7),
    "country": _by_place(3),
    "city": _by_place(1),
    "place": _by_place(0),
    "person": _by_person,
    "keyword": _by_keyword,
    "label": _by_term("label"),
    "rating": _by_number("rating", NO_RATING),
    "iso": _by_number("iso", NO_ISO),
    "aesthetics": _by_whole_number("aesthetics"),
    "type": _by_term("format"),
    "folder": _by_term("folder"),
    "creator": _by_term("creator"),
}
NAMES = tuple(_FACETS)
