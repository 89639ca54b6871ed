"""Place names without a network: a position in, country, region, city and nearest place out.

The gazetteer is one file of the package, made of GeoNames' places of 500 people and more (CC BY 4.0,
see NOTICE) by docs/build_places.py. A reader maps it when its first photo with a position comes; all
readers share its pages. The places are sorted by cells of half a degree, so that those around a
position are a few stretches of the arrays::

    header │ points       │ cell starts │ sizes      │ regions   │ name starts   │ names │ region names
             float32[3, n]  uint32[]      float32[n]   uint16[n]   uint32[n + 1]   UTF-8   UTF-8

A point is a place's position in km from the centre of a sphere, so that the dateline and the poles
are nothing special. Distances are straight lines between points, at FARTHEST_KM 8 m shorter than the
great circle, and that within 0.6 % of the ellipsoid's.
"""

from __future__ import annotations

import functools
import math
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from catalogd.folding import fold
from catalogd.records import Facts, Place

EMBEDDED = Path(__file__).with_name("data") / "places.bin"

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
CITY_KM = 30.0  # nobody says of a photo that it was taken in a town farther away
# Beyond it there are no names. 91 % of the land outside Antarctica has a place within it, and 96 % of that is
# in the country of the nearest one (bench_places.py).
FARTHEST_KM = 200.0
_SEARCHED_KM = (CITY_KM, 80.0, FARTHEST_KM)  # around a position, until there is a place

# The dense part of a town, as the square of its radius in km: its area grows with the two thirds power of its
# people (Bettencourt 2013). The factor is that of Paris in its limits: 2.1 million people, 8 km.
_SIZE_KM2 = 1 / 250
_DIGITS = 4  # of a town's degrees: 11 m
_LEAST_POPULATION = 500  # of a place whose population is not known

_CELL_DEGREES = 0.5
_ROWS, _COLUMNS = 360, 720
_MAGIC, _VERSION = b"places", 1
_HEADER = np.dtype(
    [("magic", "S8"), ("version", "<u4"), ("places", "<u4"), ("name_bytes", "<u4"), ("region_bytes", "<u4")]
)

Indices = npt.NDArray[np.int64]
Squares = npt.NDArray[np.float32]  # of distances, km²


class Settlement(NamedTuple):
    """One place, as `write_gazetteer` takes it."""

    name: str
    latitude: float  # degrees
    longitude: float
    population: int  # 0: not known
    country_code: str
    country: str
    region: str = ""


def name_place(latitude: float, longitude: float) -> Place | None:
    """The names of a position in degrees; None when no place is near it, or it is none on Earth.

    Country and region are those of the nearest place: near a border they may be the neighbour's
    (docs/formats.md says how often).
    """
    return _embedded().place_at(latitude, longitude)


@functools.lru_cache(maxsize=256)
def find_place(name: str) -> tuple[float, float] | None:
    """Latitude and longitude in degrees of the largest place of this name; None when there is none.

    Case and accents don't count: `tromso` is Tromsø.
    """
    return _embedded().find(name)


def with_place(facts: Facts) -> Facts:
    """The facts with the names of their position. What a person wrote stays, what they left out is filled."""
    if facts.latitude is None or facts.longitude is None:
        return facts
    found = name_place(facts.latitude, facts.longitude)
    if found is None:
        return facts
    return msgspec.structs.replace(facts, place=_completed(facts.place, found) if facts.place else found)


def _completed(written: Place, found: Place) -> Place:
    return Place(
        country_code=written.country_code or found.country_code,
        country=written.country or found.country,
        region=written.region or found.region,
        city=written.city or found.city,
        nearest=written.nearest or found.nearest,
        distance_km=written.distance_km if written.nearest else found.distance_km,
    )


@functools.cache
def _embedded() -> Gazetteer:
    return Gazetteer(EMBEDDED)


class Gazetteer:
    """The places of one file, mapped and not copied. Any thread may ask."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file can't be read, ValueError when it is no gazetteer of this version."""
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header = np.frombuffer(content, _HEADER, 1)[0]
        if (header["magic"], header["version"]) != (_MAGIC, _VERSION):
            raise ValueError(f"{path}: not a gazetteer of version {_VERSION}")
        sections, start = [], _HEADER.itemsize
        for kind, count in _layout(header):
            sections.append(np.frombuffer(content, kind, count, start))
            start += sections[-1].nbytes
        points, self._cells, self._sizes, self._regions, self._name_starts, names, regions = sections
        self._points = points.reshape(3, -1)
        self._names = names.data
        self._region_names = [line.split("\t") for line in regions.tobytes().decode().split("\n")]

    def __len__(self) -> int:
        return len(self._sizes)

    def place_at(self, latitude: float, longitude: float) -> Place | None:
        """As `name_place`."""
        if not (abs(latitude) <= 90 and math.isfinite(longitude)):
            return None
        for radius_km in _SEARCHED_KM:
            near, squares = self._around(latitude, longitude, radius_km)
            if len(near) and squares[first := squares.argmin()] <= radius_km**2:
                return self._named(near, squares, first)
        return None

    def find(self, name: str) -> tuple[float, float] | None:
        """As `find_place`: quick for a name as it is spelled here; the first other one folds them all."""
        same = self._spelled(name) or self._spelled(name.title()) or self._folded.places(fold(name))
        if not same:
            return None
        x, y, z = self._points[:, max(same, key=lambda place: float(self._sizes[place]))].tolist()
        north, east = math.atan2(z, math.hypot(x, y)), math.atan2(y, x)
        return round(math.degrees(north), _DIGITS), round(math.degrees(east), _DIGITS)

    @functools.cached_property
    def _folded(self) -> _Names:
        return _Names([fold(self._name(place)).encode() for place in range(len(self))])

    def _spelled(self, name: str) -> list[int]:
        """The places that are called so, to the letter."""
        return _places_named(name.encode("utf-8", "replace"), bytes(self._names), self._name_starts)

    def _around(self, latitude: float, longitude: float, radius_km: float) -> tuple[Indices, Squares]:
        """All places in a circle, and some beyond it, with the squares of their distances."""
        radius = math.degrees(2 * math.asin(radius_km / (2 * EARTH_RADIUS_KM)))
        stretches = [np.arange(start, end) for start, end in self._stretches(latitude, longitude, radius)]
        if not stretches:
            return _NOWHERE
        near = np.concatenate(stretches)
        apart = self._points.take(near, 1) - _point(latitude, longitude)
        return near, np.einsum("ij,ij->j", apart, apart)

    def _stretches(self, latitude: float, longitude: float, radius: float) -> Iterator[tuple[int, int]]:
        """Start and end of each run of places that holds some within `radius` degrees, and others."""
        columns = _columns(latitude, longitude, radius)
        for row in range(_row(latitude - radius), _row(latitude + radius) + 1):
            for west, east in columns:
                start = int(self._cells[row * _COLUMNS + west])
                end = int(self._cells[row * _COLUMNS + east + 1])
                if start < end:
                    yield start, end

    def _named(self, near: Indices, squares: Squares, first: np.intp) -> Place:
        region = self._regions[near[first]]
        city = self._city(near, squares, region)
        code, country, region_name = self._region_names[region]
        return Place(
            country_code=code,
            country=country,
            region=region_name,
            city="" if city is None else self._name(city),
            nearest=self._name(near[first]),
            distance_km=round(math.sqrt(squares[first]), 1),
        )

    def _city(self, near: Indices, squares: Squares, region: int) -> int | None:
        """The town of the same region that a position belongs to; None when it is far from any.

        In the dense part of towns it is the largest of these, not one of its quarters. Outside, it is the
        town that is nearest for its size.
        """
        chosen = ((squares <= CITY_KM**2) & (self._regions.take(near) == region)).nonzero()[0]
        if not len(chosen):
            return None
        near, squares = near.take(chosen), squares.take(chosen)
        sizes = self._sizes.take(near)
        best = (sizes * (squares <= sizes)).argmax()
        if squares[best] > sizes[best]:
            best = (squares / sizes).argmin()
        return int(near[best])

    def _name(self, place: int) -> str:
        start, end = int(self._name_starts[place]), int(self._name_starts[place + 1])
        return str(self._names[start:end], "utf-8")


class _Names:
    """The folded names of all places, one after the other: 3 MB."""

    def __init__(self, names: list[bytes]) -> None:
        self._all = b"".join(names)
        self._starts = np.cumsum([0, *map(len, names)])

    def places(self, name: str) -> list[int]:
        return _places_named(name.encode("utf-8", "replace"), self._all, self._starts)


def _places_named(name: bytes, names: bytes, starts: npt.NDArray[Any]) -> list[int]:
    """Whose name it is as a whole."""
    found: list[int] = []
    start = names.find(name) if name else -1
    while start >= 0:
        place = int(np.searchsorted(starts, start, side="right")) - 1
        if (starts[place], starts[place + 1]) == (start, start + len(name)):
            found.append(place)
        start = names.find(name, start + 1)
    return found


def write_gazetteer(path: Path, settlements: Iterable[Settlement]) -> None:
    """Write the file that `Gazetteer` reads. The same settlements give the same bytes, in any order."""
    ordered = sorted(settlements, key=lambda one: (_cell(one.latitude, one.longitude), *one))
    regions = sorted({(one.country_code, one.country, one.region) for one in ordered})
    numbers = {region: number for number, region in enumerate(regions)}
    names = [one.name.encode() for one in ordered]
    cells = [_cell(one.latitude, one.longitude) for one in ordered]
    sections: list[Any] = [
        np.hstack([_point(one.latitude, one.longitude) for one in ordered]),
        np.searchsorted(cells, np.arange(_ROWS * _COLUMNS + 1)),
        [_SIZE_KM2 * max(one.population, _LEAST_POPULATION) ** (2 / 3) for one in ordered],
        [numbers[one.country_code, one.country, one.region] for one in ordered],
        np.cumsum([0, *map(len, names)]),
        np.frombuffer(b"".join(names), np.uint8),
        np.frombuffer("\n".join(map("\t".join, regions)).encode(), np.uint8),
    ]
    header = np.array((_MAGIC, _VERSION, len(ordered), len(sections[-2]), len(sections[-1])), _HEADER)
    with path.open("wb") as file:
        file.write(header.tobytes())
        for (kind, _), section in zip(_layout(header), sections, strict=True):
            file.write(np.asarray(section, kind).tobytes())


def _layout(header: Any) -> list[tuple[str, int]]:
    """The sections after the header: type and count of their numbers."""
    places = int(header["places"])
    return [
        ("<f4", 3 * places),
        ("<u4", _ROWS * _COLUMNS + 1),
        ("<f4", places),
        ("<u2", places),
        ("<u4", places + 1),
        ("<u1", int(header["name_bytes"])),
        ("<u1", int(header["region_bytes"])),
    ]


def _point(latitude: float, longitude: float) -> npt.NDArray[np.float32]:
    """float32[3, 1], km from the centre of the Earth: rounding moves it by less than a metre."""
    north, east = math.radians(latitude), math.radians(longitude)
    flat = EARTH_RADIUS_KM * math.cos(north)
    x, y, z = flat * math.cos(east), flat * math.sin(east), EARTH_RADIUS_KM * math.sin(north)
    return np.array(((x,), (y,), (z,)), np.float32)


def _cell(latitude: float, longitude: float) -> int:
    return _row(latitude) * _COLUMNS + math.floor(longitude / _CELL_DEGREES) % _COLUMNS


def _row(latitude: float) -> int:
    return min(max(math.floor((latitude + 90) / _CELL_DEGREES), 0), _ROWS - 1)


def _columns(latitude: float, longitude: float, radius: float) -> list[tuple[int, int]]:
    """First and last column of a circle of `radius` degrees; two pairs where the columns begin again."""
    if abs(latitude) + radius >= 90:
        return [(0, _COLUMNS - 1)]
    reach = math.degrees(math.asin(math.sin(math.radians(radius)) / math.cos(math.radians(latitude))))
    west = math.floor((longitude - reach) / _CELL_DEGREES)
    east = math.floor((longitude + reach) / _CELL_DEGREES)
    if east - west >= _COLUMNS - 1:
        return [(0, _COLUMNS - 1)]
    west, east = west % _COLUMNS, east % _COLUMNS
    return [(west, east)] if west <= east else [(west, _COLUMNS - 1), (0, east)]


_NOWHERE = (np.empty(0, np.int64), np.empty(0, np.float32))
