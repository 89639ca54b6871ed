"""The rules of stacks, bursts, sessions and trips, on moments made by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from catalogd.catalog.arrangement import (
    BURST_COVER,
    DEVELOPED,
    EDITED,
    MOMENT,
    RAW,
    STACK_COVER,
    Arrangement,
    Session,
    _distance_km,
    _joined,
    _points,
    arrange,
    rules_key,
)
from catalogd.settings import Settings

HOUR, DAY = 3600.0, 86_400.0
MUNICH, ROME, FIJI = (48.14, 11.58), (41.9, 12.5), (-16.5, 179.99)
ALIKE = np.arange(64, dtype=np.int8) + 1
UNLIKE = np.where(np.arange(64) % 2, 50, -50).astype(np.int8)


def moment(
    taken: float | None = 0.0, at: tuple[float, float] | None = None, **columns: Any
) -> dict[str, Any]:
    """A JPEG of one camera; its file is like no other unless said so."""
    latitude, longitude = at or (np.nan, np.nan)
    return {
        "taken_s": np.nan if taken is None else taken,
        "camera": 7,
        "folder": 1,
        "latitude": latitude,
        "longitude": longitude,
        "sharpness": np.nan,
        "pixels": 1000,
        "kind": DEVELOPED,
        "sketch": ALIKE,
        **columns,
    }


def arranged(moments: Iterable[dict[str, Any]], **rules: float) -> Arrangement:
    """Photo number n has photo_id n + 1."""
    rows = list(moments)
    table = np.zeros(len(rows), MOMENT)
    for number, row in enumerate(rows):
        for name, value in {"stem": number + 1, "content": number + 1, **row}.items():
            table[number][name] = value
    return arrange(np.arange(1, len(rows) + 1), table, Settings(**rules))  # type: ignore[arg-type]


def groups(found: Arrangement, kind: str) -> list[list[int]]:
    """The photo_ids of each group, smallest first."""
    column = found.members[kind]
    return sorted((np.flatnonzero(column == group) + 1).tolist() for group in np.unique(column[column != 0]))


def covers(found: Arrangement, bit: int) -> list[int]:
    return (np.flatnonzero(found.members["covers"] & bit) + 1).tolist()


# ── stacks ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("first", "second", "is_stack"),
    [
        (moment(stem=5, kind=RAW), moment(stem=5), True),
        (moment(stem=5, kind=RAW), moment(2.0, stem=5), True),
        (moment(stem=5, kind=RAW), moment(2.5, stem=5), False),
        (moment(stem=5, kind=RAW), moment(None, stem=5), True),
        (moment(None, stem=5, kind=RAW), moment(None, stem=5), True),
        (moment(stem=5), moment(stem=5), True),
        (moment(None, stem=5), moment(None, stem=5), False),
        (moment(stem=5), moment(None, stem=5), False),
        (moment(stem=5, kind=RAW), moment(stem=6), False),
        (moment(stem=5, kind=RAW), moment(stem=5, folder=2), False),
        (moment(live=9), moment(live=9), True),
        (moment(live=9), moment(None, live=9), True),
        (moment(live=9), moment(live=9, folder=2), False),
        (moment(live=9), moment(live=8), False),
    ],
)
def test_files_of_one_picture_are_a_stack(
    first: dict[str, Any], second: dict[str, Any], is_stack: bool
) -> None:
    assert groups(arranged([first, second]), "stack") == ([[1, 2]] if is_stack else [])
    assert groups(arranged([second, first]), "stack") == ([[1, 2]] if is_stack else [])


def test_two_pictures_of_one_name_at_two_times_are_two_stacks() -> None:
    found = arranged([moment(t, stem=5, kind=kind) for t in (0, 9999.0) for kind in (RAW, DEVELOPED)])
    assert groups(found, "stack") == [[1, 2], [3, 4]]


def test_a_live_photo_its_raw_and_its_edit_under_another_name_are_one_stack() -> None:
    found = arranged([moment(stem=5, kind=RAW), moment(stem=5, live=9), moment(None, stem=6, live=9)])
    assert groups(found, "stack") == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("photos", "cover"),
    [
        ([{"kind": RAW}, {"kind": DEVELOPED}], 2),
        ([{"kind": RAW}, {"kind": DEVELOPED}, {"kind": EDITED}], 3),
        ([{"kind": RAW, "rating": 3}, {"kind": EDITED, "rating": 2}], 1),
        ([{"kind": RAW}, {"kind": EDITED, "rating": -1}], 1),
        ([{"kind": DEVELOPED, "pixels": 10}, {"kind": DEVELOPED, "pixels": 4_000_000_000}], 2),
        ([{"kind": DEVELOPED}, {"kind": DEVELOPED}], 1),
    ],
)
def test_the_cover_of_a_stack_is_what_a_person_would_look_at(
    photos: list[dict[str, int]], cover: int
) -> None:
    found = arranged(moment(stem=5, **photo) for photo in photos)
    assert covers(found, STACK_COVER) == [cover]


def test_a_stack_keeps_its_id_when_files_come_and_go() -> None:
    pair = [moment(stem=5, kind=RAW), moment(stem=5)]
    before = arranged(pair).members["stack"][0]
    assert arranged([moment(stem=5, kind=EDITED), *pair]).members["stack"][1] == before
    assert arranged([pair[1], moment(stem=5, kind=EDITED)]).members["stack"][0] == before
    assert 0 < before < 2**53


# ── bursts ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("second", "is_burst"),
    [
        (moment(1.9), True),
        (moment(0.0), True),
        (moment(2.0), False),
        (moment(None), False),
        (moment(1.0, camera=8), False),
        (moment(1.0, sketch=UNLIKE), False),
        (moment(1.0, sketch=0), True),
        (moment(1.0, folder=2), True),
        (moment(1.0, content=1), False),
        (moment(1.0, stem=1, folder=2), False),
    ],
)
def test_pictures_of_one_thing_in_quick_succession_are_a_burst(
    second: dict[str, Any], is_burst: bool
) -> None:
    """A photo without an embedding is judged by its time; copies of one file are one picture."""
    assert groups(arranged([moment(), second]), "burst") == ([[1, 2]] if is_burst else [])


def test_pictures_of_an_unknown_camera_are_no_burst() -> None:
    assert groups(arranged([moment(camera=0), moment(1.0, camera=0)]), "burst") == []


def test_a_burst_goes_on_as_long_as_each_picture_follows_the_one_before() -> None:
    found = arranged([moment(number * 1.5) for number in range(3000)] + [moment(9e6), moment(9e6 + 2)])
    assert groups(found, "burst") == [list(range(1, 3001))]


def test_another_camera_in_between_does_not_end_a_burst() -> None:
    found = arranged([moment(0.0), moment(0.5, camera=8, sketch=UNLIKE), moment(1.0)])
    assert groups(found, "burst") == [[1, 3]]


def test_what_the_camera_calls_a_burst_is_one_and_what_it_does_not_is_none() -> None:
    found = arranged(
        [moment(0.0, burst=4), moment(50.0, burst=4, sketch=UNLIKE), moment(51.0), moment(9e3, burst=5)]
    )
    assert groups(found, "burst") == [[1, 2]]


def test_raw_and_jpeg_are_one_picture_of_a_burst() -> None:
    pair = [moment(0.0, stem=5, kind=RAW), moment(0.0, stem=5)]
    assert groups(arranged(pair), "burst") == []
    found = arranged([*pair, moment(0.5, stem=6, kind=RAW, camera=8), moment(0.5, stem=6)])
    assert groups(found, "burst") == [[1, 2, 3, 4]]
    assert groups(found, "stack") == [[1, 2], [3, 4]]


def test_the_cover_of_a_burst_is_the_best_rated_or_else_the_sharpest_cover_of_its_stacks() -> None:
    shots = [moment(t, stem=t, sharpness=s) for t, s in ((1, 20.0), (2, 60.0), (3, np.nan))]
    assert covers(arranged(shots), BURST_COVER) == [2]
    raw = moment(2.0, stem=2, kind=RAW, sharpness=90.0)
    assert covers(arranged([*shots, raw]), BURST_COVER) == [2]
    assert covers(arranged([{**shots[0], "rating": 4}, *shots[1:]]), BURST_COVER) == [1]


def test_a_burst_is_called_by_its_first_picture_or_by_the_cameras_name_for_it() -> None:
    found = arranged([moment(1.0), moment(0.0), moment(900.0, burst=4), moment(901.0, burst=4)])
    assert found.members["burst"].tolist() == [2, 2, 4, 4]


# ── sessions ──────────────────────────────────────────────────────────────────────────────────


def test_a_session_ends_with_a_long_pause_and_undated_photos_are_in_none() -> None:
    found = arranged([moment(12 * HOUR + 1), moment(0), moment(6 * HOUR), moment(None), moment(12 * HOUR)])
    assert groups(found, "session") == [[1, 2, 3, 5]]
    found = arranged([moment(0), moment(6 * HOUR + 1), moment(None)])
    assert groups(found, "session") == [[1], [2]]
    assert found.members["session"].tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("pause_s", "sessions"),
    [(0.5 * HOUR, [[1, 2, 3]]), (1.5 * HOUR, [[1, 2], [3]])],
)
def test_a_journey_ends_a_session_unless_pictures_were_taken_on_the_way(
    pause_s: float, sessions: list[list[int]]
) -> None:
    """The second photo, of a camera that knows no position, does not hide the journey."""
    found = arranged([moment(0, MUNICH), moment(60), moment(60 + pause_s, ROME)])
    assert groups(found, "session") == sessions


def test_a_session_says_what_is_in_it() -> None:
    found = arranged(
        [
            moment(100.0, stem=5, kind=RAW, place=1),
            moment(100.0, stem=5, place=1, sharpness=30.0),
            moment(101.0, stem=6, place=2, sharpness=80.0),
            moment(3000.0, place=2),
            moment(None, place=2),
        ]
    )
    assert found.sessions == [
        Session(1, 0, 100.0, 3000.0, photos=4, stacks=1, bursts=1, cover=3, place_photo=1)
    ]


# ── trips ─────────────────────────────────────────────────────────────────────────────────────


def life(*days: tuple[float, tuple[float, float] | None]) -> list[dict[str, Any]]:
    return [moment(day * DAY + 12 * HOUR, at) for day, at in days]


def trips(found: Arrangement) -> list[list[int]]:
    """The number of each trip's sessions; a session here is one photo."""
    ids = [session.trip_id for session in found.sessions]
    return [
        [n for n, other in enumerate(ids) if other == trip] for trip in sorted({*ids} - {0}, key=ids.index)
    ]


HOME = [(float(day), MUNICH) for day in range(12)]


def test_sessions_away_from_home_are_one_trip_that_a_day_at_home_ends() -> None:
    days = [*HOME, (20.0, ROME), (21.0, ROME), (22.0, MUNICH), (23.0, ROME), (24.0, (48.3, 11.7))]
    found = arranged(life(*days))
    assert trips(found) == [[12, 13], [15]]
    assert found.sessions[13].trip_id == found.sessions[12].session_id


def test_a_session_without_positions_belongs_to_the_trip_around_it() -> None:
    days = [*HOME, (19.0, None), (20.0, ROME), (21.0, None), (22.0, None), (23.0, ROME), (24.0, None)]
    assert trips(arranged(life(*days))) == [[13, 14, 15, 16]]


def test_some_days_without_a_picture_end_a_trip() -> None:
    assert trips(arranged(life(*HOME, (20.0, ROME), (22.9, ROME), (26.5, ROME)))) == [[12, 13], [14]]


def test_who_moves_is_at_home_in_both_places() -> None:
    year = 366.0
    moved = [(2 * year + day, ROME) for day in range(15)] + [(2 * year + 30, MUNICH)]
    assert trips(arranged(life(*HOME, *moved))) == [[27]]


def test_a_year_with_few_pictures_takes_the_home_of_all_years() -> None:
    assert trips(arranged(life(*HOME, (800.0, ROME), (801.0, ROME)))) == [[12, 13]]


def test_the_date_line_is_no_distance() -> None:
    days = [(float(day), FIJI) for day in range(12)] + [(20.0, (-16.5, -179.99))]
    assert trips(arranged(life(*days))) == []


def test_without_positions_there_are_no_trips() -> None:
    assert trips(arranged(life((0.0, None), (1.0, None)))) == []


def test_distances_are_great_circles() -> None:
    latitudes, longitudes = [48.14, 41.9, 0, 0], [11.58, 12.5, 0, 180]
    points = _points(np.array(latitudes, np.float32), np.array(longitudes, np.float32))
    assert _distance_km(points[:1], points[1:2])[0] == pytest.approx(698, abs=2)  # Munich to Rome
    assert _distance_km(points[2:3], points[3:4])[0] == pytest.approx(20_015, abs=1)  # half the earth


# ── all ───────────────────────────────────────────────────────────────────────────────────────


def test_no_photos_make_no_groups() -> None:
    found = arranged([])
    assert (len(found.members), found.sessions) == (0, [])


def test_settings_are_the_rules() -> None:
    shots = [moment(0, MUNICH), moment(5.0, MUNICH), moment(9000.0, ROME)]
    assert groups(arranged(shots, burst_gap_s=6.0), "burst") == [[1, 2]]
    assert groups(arranged(shots, session_distance_km=1000.0), "session") == [[1, 2, 3]]
    assert groups(arranged(shots, session_gap_s=4.0), "session") == [[1], [2], [3]]
    unlike = [moment(0), moment(1.0, sketch=UNLIKE)]
    assert groups(arranged(unlike, burst_similarity=0.0), "burst") == [[1, 2]]
    assert rules_key(Settings(burst_gap_s=3.0)) != rules_key(Settings())


def hashed(number: int) -> int:
    """What a name is in a moment: no photo_id is the same number."""
    return xxhash.xxh3_64_intdigest(bytes([number]))


ROW = st.fixed_dictionaries(
    {
        "taken": st.sampled_from([None, 0.0, 1.0, 1.5, 4.0, 30_000.0, 9e5]),
        "at": st.sampled_from([None, MUNICH, ROME]),
        "stem": st.sampled_from([hashed(number) for number in range(4)]),
        "folder": st.sampled_from([hashed(number) for number in range(2)]),
        "kind": st.sampled_from([RAW, DEVELOPED]),
        "live": st.integers(0, 2),
        "burst": st.sampled_from([0, hashed(9)]),
        "camera": st.integers(0, 2),
        "rating": st.integers(-1, 5),
        "place": st.integers(0, 2),
    }
)


@given(st.lists(ROW, max_size=12))
def test_any_photos_are_arranged_and_every_group_has_one_cover(rows: list[dict[str, Any]]) -> None:
    found = arranged(moment(**row) for row in rows)
    assert len(covers(found, STACK_COVER)) == len(groups(found, "stack"))
    assert len(covers(found, BURST_COVER)) == len(groups(found, "burst"))
    assert [session.photos for session in found.sessions] == [
        int(np.count_nonzero(found.members["session"] == session.session_id)) for session in found.sessions
    ]
    dated = [number + 1 for number, row in enumerate(rows) if row["taken"] is not None]
    assert sorted(itertools.chain(*groups(found, "session"))) == dated
    for session in found.sessions:
        assert found.members["session"][session.cover - 1] == session.session_id
        assert session.start_s <= session.end_s
    for group in [*groups(found, "stack"), *groups(found, "burst")]:
        assert len(group) >= 2


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))
    )
)
def test_edges_join_rows_as_a_walk_along_them_does(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    expected = list(range(count))
    for _ in range(count):
        for left, right in edges:
            expected[left] = expected[right] = min(expected[left], expected[right])
    table = np.array(edges, np.intp).reshape(-1, 2).T
    assert _joined(count, table).tolist() == expected
