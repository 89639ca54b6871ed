"""Which photos belong together: stacks, bursts, sessions and trips, from what each photo says of itself.

    stack     files of one picture: RAW + JPEG, a live photo and its edit
    burst     pictures that a camera took one after the other of one thing
    session   pictures without a long pause, or a journey, between them
    trip      sessions away from home that follow one another

Pure: moments in, groups out, the same whatever order the photos came in. Nothing here touches a
store. docs/timeline.md has the rules in words. Groups are found as edges between photos and then
joined (`_joined`); all is done on columns, since a library has 500,000 rows of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from catalogd.settings import Settings

ARRANGEMENT_VERSION = 1  # of the rules below; other ones mean: arrange again

SKETCH_NUMBERS = 64  # a cosine of 0.7 is then right within 0.05 (one standard deviation)
# What arranging needs to know of a photo. Hashes are xxh3_64; 0 stands for what is not known.
MOMENT = np.dtype(
    [
        ("taken_s", "<f8"),  # since 1970 on the camera's own clock, whatever its zone; NaN: not known
        ("camera", "<u8"),  # hash of maker, model and serial number
        ("folder", "<u8"),
        ("stem", "<u8"),  # hash of the file name without extension and marks of editing, in lower case
        ("content", "<u8"),
        ("burst", "<u8"),  # hash of the camera's own burst id
        ("live", "<u8"),  # hash of the live photo's id
        ("place", "<u8"),  # hash of country and city
        ("latitude", "<f4"),  # degrees; NaN: not known
        ("longitude", "<f4"),
        ("sharpness", "<f4"),
        ("pixels", "<u4"),
        ("rating", "i1"),
        ("kind", "u1"),
        ("sketch", "i1", SKETCH_NUMBERS),  # of the embedding: cosines of sketches are near its cosines
    ]
)
RAW, DEVELOPED, EDITED = 0, 1, 2  # `kind`: the later, the rather a person wants to look at it

# What a photo belongs to; 0: to none.
MEMBER = np.dtype([("stack", "<i8"), ("burst", "<i8"), ("session", "<i8"), ("covers", "u1")])
STACK_COVER, BURST_COVER = 1, 2  # bits of `covers`

STACK_GAP_S = 2.0  # a RAW and its JPEG say the same second, or the next where one is rounded
PAUSE_S = 3600.0  # who takes pictures on the way, at least once an hour, is on one outing
TRIP_GAP_S = 3 * 86_400.0  # so many days without a picture may lie within a trip
HOME_CELL_DEG = 0.5  # a home and where one goes from it on most days: 55 km from north to south
HOME_DAYS = 10  # days with pictures at one place that make it the home of their year
_MANY_DAYS = 10_000_000  # more than four-digit years have: packs a cell and a day into one number
EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
LARGEST_ID = (1 << 53) - 1  # as of photos: readers of JSON round larger ones

Ids = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Degrees = npt.NDArray[np.float32]
Rows = npt.NDArray[np.void]


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A run of photos. Its times are those of the camera's own clock, seconds since 1970."""

    session_id: int
    trip_id: int  # 0: at home, or nobody knows where
    start_s: float
    end_s: float
    photos: int
    stacks: int
    bursts: int
    cover: int  # photo_id
    place_photo: int  # photo_id of one taken in the town that most were taken in; 0: none is known


class Arrangement(NamedTuple):
    """The groups of all photos."""

    members: Rows  # MEMBER[n], in the order of the photos
    sessions: list[Session]  # by time


def rules_key(settings: Settings) -> int:
    """A number that is another one when the same photos would be arranged otherwise; never 0."""
    rules = (
        ARRANGEMENT_VERSION,
        settings.burst_gap_s,
        settings.burst_similarity,
        settings.session_gap_s,
        settings.session_distance_km,
        settings.trip_distance_km,
    )
    return xxhash.xxh3_64_intdigest(msgspec.msgpack.encode(rules)) | 1


def arrange(ids: Ids, moments: Rows, settings: Settings) -> Arrangement:
    """Find the groups of these photos. `ids: int64[n]`, ascending; `moments: MOMENT[n]`, of them."""
    members = np.zeros(len(ids), MEMBER)
    stack_of = _stacks(moments)
    _put_stacks(members, stack_of, ids, moments)
    _put_bursts(members, _bursts(moments, stack_of, settings), ids, moments)
    return Arrangement(members, _put_sessions(members, ids, moments, settings))


# -- stacks ----------------------------------------------------------------------------------------


def _stacks(moments: Rows) -> Indices:
    """For each photo, the first of its stack; itself when it is alone."""
    named, live = _same_name(moments), _same_live_photo(moments)
    return _joined(len(moments), np.hstack([named, live]))


def _same_name(moments: Rows) -> Indices:
    """Edges between photos of one name in one folder, taken at one time.

    Where a time is not known the name is enough if there is a RAW: cameras write RAW + JPEG so,
    while two pictures of one name may be anything.
    """
    taken, name = moments["taken_s"], _names(moments)
    order = np.lexsort((taken, name))
    left, right = order[:-1], order[1:]
    same = name[left] == name[right]
    run = np.concatenate([[0], np.cumsum(~same)]) if len(order) else order
    has_raw = np.bincount(run, moments["kind"][order] == RAW) > 0
    apart_s = np.abs(taken[right] - taken[left])
    agree = (apart_s <= STACK_GAP_S) | (np.isnan(apart_s) & has_raw[run[1:]])
    return np.stack([left, right])[:, same & agree]


def _names(moments: Rows) -> npt.NDArray[np.uint64]:
    """uint64[n]: one number for folder and name."""
    mixed: npt.NDArray[np.uint64] = moments["folder"] ^ (moments["stem"] << np.uint64(1))
    return mixed


def _same_live_photo(moments: Rows) -> Indices:
    """Edges between photos in one folder that share the id of a live photo: it and its edits."""
    some = np.flatnonzero(moments["live"])
    folder, live = moments["folder"][some], moments["live"][some]
    order = np.lexsort((live, folder))
    left, right = order[:-1], order[1:]
    same = (folder[left] == folder[right]) & (live[left] == live[right])
    return some[np.stack([left, right])[:, same]]


def _put_stacks(members: Rows, stack_of: Indices, ids: Ids, moments: Rows) -> None:
    kept = np.flatnonzero(np.bincount(stack_of, minlength=len(ids))[stack_of] >= 2)
    if not len(kept):
        return
    _, group = np.unique(stack_of[kept], return_inverse=True)
    members["stack"][kept] = _stack_ids(group, ids[kept], _names(moments)[kept])[group]
    covers = _first_of_each(group, *(-moments[key][kept].astype(int) for key in ("rating", "kind", "pixels")))
    members["covers"][kept[covers]] |= STACK_COVER


def _stack_ids(group: Indices, ids: Ids, names: npt.NDArray[np.uint64]) -> Ids:
    """Of each stack a hash of folder and name, which stays when files come and go.

    A second stack of the same name, hours from the first, is called by its smallest photo_id.
    """
    by_name = _least_of_each(group, _as_ids(names))
    again = np.ones(len(by_name), bool)
    again[np.unique(by_name, return_index=True)[1]] = False
    return np.where(again, _least_of_each(group, ids), by_name)


# -- bursts ----------------------------------------------------------------------------------------


def _bursts(moments: Rows, stack_of: Indices, settings: Settings) -> Indices:
    """For each photo, the first of its burst; -1 where there is none.

    A burst has at least two pictures: neither the files of one stack nor copies of one file make one.
    """
    frame = moments["stem"][stack_of]
    alone = np.arange(len(moments))
    stacked = np.stack([stack_of, alone])[:, stack_of != alone]
    edges = [_in_succession(moments, frame, settings), _same_burst_id(moments), stacked]
    labels = _joined(len(moments), np.hstack(edges))
    some = np.flatnonzero(np.bincount(labels, minlength=len(labels))[labels] >= 2)
    columns = (frame, moments["content"])
    pictures = np.minimum(*(_distinct_of_each(labels[some], column[some]) for column in columns))
    found = np.full(len(labels), -1)
    found[some] = np.where(pictures >= 2, labels[some], -1)
    return found


def _in_succession(moments: Rows, frame: npt.NDArray[np.uint64], settings: Settings) -> Indices:
    """Edges between successive pictures of one camera that look alike.

    Those in which the camera says itself what is a burst are left to its word.
    """
    taken, camera = moments["taken_s"], moments["camera"]
    some = np.flatnonzero(~np.isnan(taken) & (camera != 0) & (moments["burst"] == 0))
    order = some[np.lexsort((frame[some], taken[some], camera[some]))]
    left, right = order[:-1], order[1:]
    near = (camera[left] == camera[right]) & (taken[right] - taken[left] < settings.burst_gap_s)
    left, right = left[near], right[near]
    alike = frame[left] == frame[right]
    ask = np.flatnonzero(~alike)
    alike[ask] = _look_alike(moments["sketch"], left[ask], right[ask], settings.burst_similarity)
    return np.stack([left, right])[:, alike]


def _look_alike(sketches: Rows, left: Indices, right: Indices, least: float) -> Flags:
    """Which pairs have a cosine of at least `least`. A photo without an embedding is like any other."""
    a, b = sketches[left].astype(np.int32), sketches[right].astype(np.int32)
    product = np.einsum("ij,ij->i", a, b)
    lengths = np.sqrt(np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b).astype(np.float64))
    alike: Flags = product >= least * lengths
    return alike


def _same_burst_id(moments: Rows) -> Indices:
    some = np.flatnonzero(moments["burst"])
    order = some[np.argsort(moments["burst"][some], kind="stable")]
    left, right = order[:-1], order[1:]
    return np.stack([left, right])[:, moments["burst"][left] == moments["burst"][right]]


def _put_bursts(members: Rows, burst_of: Indices, ids: Ids, moments: Rows) -> None:
    kept = np.flatnonzero(burst_of >= 0)
    if not len(kept):
        return
    _, group = np.unique(burst_of[kept], return_inverse=True)
    first = _first_of_each(group, moments["taken_s"][kept], ids[kept])
    name = _most_of_each(group, moments["burst"][kept])
    members["burst"][kept] = np.where(name > 0, _as_ids(name), ids[kept][first])[group]
    covers = _first_of_each(group, *_merits(members, moments, kept))
    members["covers"][kept[covers]] |= BURST_COVER


# -- sessions and trips ----------------------------------------------------------------------------


def _put_sessions(members: Rows, ids: Ids, moments: Rows, settings: Settings) -> list[Session]:
    """Fill in `session` of all photos whose time is known; returns the sessions by time."""
    dated = np.flatnonzero(~np.isnan(moments["taken_s"]))
    if not len(dated):
        return []
    dated = dated[np.lexsort((ids[dated], moments["taken_s"][dated]))]
    dated_ids, taken = ids[dated], moments["taken_s"][dated]
    points = _points(moments["latitude"][dated], moments["longitude"][dated])
    starts = _session_starts(taken, points, settings)
    group = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    session_ids = dated_ids[first]
    members["session"][dated] = session_ids[group]
    start_s, end_s = taken[first], taken[np.append(first[1:], len(dated)) - 1]
    away = _away(taken, points, group, settings.trip_distance_km)
    covers = _first_of_each(group, *_merits(members, moments, dated))
    flags = members["covers"][dated]
    columns = (
        session_ids,
        _trips(session_ids, start_s, end_s, away),
        start_s,
        end_s,
        np.bincount(group),
        np.bincount(group, flags & STACK_COVER > 0).astype(int),
        np.bincount(group, flags & BURST_COVER > 0).astype(int),
        dated_ids[covers],
        _place_photos(group, moments["place"][dated], dated_ids),
    )
    return [Session(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _session_starts(taken: Numbers, points: Numbers, settings: Settings) -> Flags:
    """bool[n]: with which photos, by time, a session begins."""
    located = np.flatnonzero(~np.isnan(points[:, 0]))
    jump_km = np.zeros(len(taken))
    jump_km[located[1:]] = _distance_km(points[located[:-1]], points[located[1:]])
    pause_s = np.diff(taken, prepend=-np.inf)
    moved = (jump_km > settings.session_distance_km) & (pause_s > PAUSE_S)
    starts: Flags = (pause_s > settings.session_gap_s) | moved
    return starts


def _place_photos(group: Indices, places: npt.NDArray[np.uint64], ids: Ids) -> Ids:
    """Of each session the first photo of the place that most of its photos are of; 0 when none has any."""
    found = np.zeros(group[-1] + 1, np.int64)
    some = np.flatnonzero(places)
    if not len(some):
        return found
    order = some[np.lexsort((some, places[some], group[some]))]
    changes = (np.diff(group[order]) != 0) | (np.diff(places[order]) != 0)
    first = np.concatenate([[0], np.flatnonzero(changes) + 1])
    count = np.diff(np.append(first, len(order)))
    sessions, index = np.unique(group[order[first]], return_inverse=True)
    most = _first_of_each(index, -count, order[first])
    found[sessions] = ids[order[first[most]]]
    return found


def _away(taken: Numbers, points: Numbers, group: Indices, least_km: float) -> npt.NDArray[np.int8]:
    """Of each session: 1 when it was away from the home of its year, 0 at home, -1 nobody knows."""
    away = np.full(group[-1] + 1, -1, np.int8)
    located = np.flatnonzero(~np.isnan(points[:, 0]))
    if not len(located):
        return away
    day = np.floor(taken[located] / 86_400).astype(np.int64)
    year = _years(day)
    homes = dict(_homes(year, day, points[located]))
    sessions, index = np.unique(group[located], return_inverse=True)
    middle = _middles(index, points[located])
    home = np.array([homes.get(number, homes[None]) for number in year[_first_of_each(index, year)].tolist()])
    away[sessions] = _distance_km(middle, home) > least_km
    return away


def _years(days: Ids) -> Ids:
    """Years since 1970 of days since then."""
    years: Ids = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64)
    return years


def _homes(year: Ids, day: Ids, points: Numbers) -> Iterator[tuple[int | None, Numbers]]:
    """The home of every year that has one, and under None the one of all years."""
    cell = _cells(points)
    visited, visit_day = np.divmod(np.unique(cell * _MANY_DAYS + day + _MANY_DAYS // 2), _MANY_DAYS)
    visit_year = _years(visit_day - _MANY_DAYS // 2)
    for number in [None, *np.unique(year).tolist()]:
        in_year = slice(None) if number is None else visit_year == number
        cells, days = np.unique(visited[in_year], return_counts=True)
        if number is None or days.max() >= HOME_DAYS:
            there = (cell == cells[days.argmax()]) & ((year == number) | (number is None))
            yield number, _middles(np.zeros(np.count_nonzero(there), np.intp), points[there])[0]


def _trips(session_ids: Ids, start_s: Numbers, end_s: Numbers, away: npt.NDArray[np.int8]) -> Ids:
    """Of each session its trip, called by its first session; 0: none.

    A session at home, or some days without a picture, end a trip. One of which nobody knows where it
    was belongs to the trip that goes on after it.
    """
    trips = np.zeros(len(session_ids), np.int64)
    last = -1  # the last session of the trip that may go on
    for number in np.flatnonzero(away >= 0).tolist():
        if away[number] == 0:
            last = -1
            continue
        pauses = start_s[last + 1 : number + 1] - end_s[last:number] if last >= 0 else np.array([np.inf])
        goes_on = pauses.max() <= TRIP_GAP_S
        trips[last + 1 if goes_on else number : number + 1] = trips[last] if goes_on else session_ids[number]
        last = number
    return trips


# -- positions -------------------------------------------------------------------------------------


def _points(latitude_deg: Degrees, longitude_deg: Degrees) -> Numbers:
    """float64[n, 3]: positions as unit vectors, which know no date line and no poles; NaN: not known."""
    latitude, longitude = (np.radians(angle, dtype=np.float64) for angle in (latitude_deg, longitude_deg))
    ring = np.cos(latitude)
    return np.stack([ring * np.cos(longitude), ring * np.sin(longitude), np.sin(latitude)], axis=1)


def _distance_km(a: Numbers, b: Numbers) -> Numbers:
    """Along the great circle, from the length of the chord."""
    chord = np.linalg.norm(a - b, axis=1)
    result: Numbers = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1))
    return result


def _cells(points: Numbers) -> Ids:
    """The cell of a grid of `HOME_CELL_DEG` that each position is in."""
    latitude = np.degrees(np.arcsin(np.clip(points[:, 2], -1, 1)))
    longitude = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    row, column = np.floor(latitude / HOME_CELL_DEG), np.floor(longitude / HOME_CELL_DEG)
    cells: Ids = (row * 10_000 + column).astype(np.int64)
    return cells


def _middles(group: Indices, points: Numbers) -> Numbers:
    """float64[groups, 3]: the middle of the positions of each group."""
    sums = np.stack([np.bincount(group, column) for column in points.T], axis=1)
    middles: Numbers = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return middles


# -- groups of rows --------------------------------------------------------------------------------


def _joined(count: int, edges: Indices) -> Indices:
    """intp[count]: for each row the smallest of all those that `edges: intp[2, m]` lead to from it.

    Every round hangs each tree below a smaller neighbour and halves its height, so that a chain of
    thousands takes a few rounds (after Zhang, Azad and Hu 2020, FastSV, arXiv:1910.05971).
    """
    labels = np.arange(count)
    left, right = edges
    while True:
        before = labels.copy()
        np.minimum.at(labels, before[left], before[right])
        np.minimum.at(labels, before[right], before[left])
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels


def _first_of_each(group: Indices, *keys: npt.NDArray[np.generic]) -> Indices:
    """intp[groups]: of each group (0, 1, …) the row that comes first by `keys`; the first key counts most."""
    order = np.lexsort((*reversed(keys), group))
    first: Indices = order[np.concatenate([[0], np.flatnonzero(np.diff(group[order])) + 1])]
    return first


def _least_of_each(group: Indices, numbers: Ids) -> Ids:
    return numbers[_first_of_each(group, numbers)]


def _most_of_each(group: Indices, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return numbers[_first_of_each(group, ~numbers)]


def _distinct_of_each(labels: Indices, values: npt.NDArray[np.uint64]) -> Ids:
    """int64[n]: for each row, how many different values the rows of its label have."""
    order = np.lexsort((values, labels))
    changes = (np.diff(labels[order]) != 0) | (np.diff(values[order]) != 0)
    first = order[np.concatenate([[True], changes])] if len(order) else order
    return np.bincount(labels[first])[labels] if len(order) else labels


def _as_ids(hashes: npt.NDArray[np.uint64]) -> Ids:
    """Hashes as positive numbers that readers of JSON do not round."""
    ids: Ids = np.maximum(hashes & np.uint64(LARGEST_ID), np.uint64(1)).astype(np.int64)
    return ids


def _merits(members: Rows, moments: Rows, rows: Indices) -> Iterator[npt.NDArray[np.generic]]:
    """What makes a cover, as keys, best first: not below the cover of its stack; rated well; sharp."""
    yield (members["stack"][rows] != 0) & (members["covers"][rows] & STACK_COVER == 0)
    yield -moments["rating"][rows]
    yield -np.nan_to_num(moments["sharpness"][rows], nan=0.0)
