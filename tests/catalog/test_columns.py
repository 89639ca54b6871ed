from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.catalog import Catalog, columns, store
from catalogd.catalog.columns import Columns, ColumnsReader
from catalogd.catalog.environment import id_bytes
from catalogd.catalog.photo_row import FLAGS, NO_ISO, NO_RATING, ROW, ROW_VERSION, TERM_KINDS, row_of
from catalogd.catalog.store import COLUMNS_BY, COLUMNS_TO, Reading, Store, columns_are_complete
from catalogd.errors import CatalogDamagedError
from catalogd.records import (
    Answer,
    Change,
    Face,
    Facts,
    Missing,
    Moved,
    Output,
    Place,
    Quality,
    Record,
    Region,
    Stat,
)
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo, reader, tagger

SETTINGS = Settings(text_heap_bytes=15 << 20)

FULL = Facts(
    "raw",
    6000,
    4000,
    camera="Nikon Z 6",
    lens="NIKKOR Z 85mm",
    iso=6400,
    exposure_s=1 / 250,
    aperture=2.8,
    focal_mm=85.0,
    focal_35mm=85.0,
    taken_at="2023-06-18T12:00:00.75+02:00",
    latitude=60.39,
    longitude=5.32,
    altitude_m=12.5,
    flash=True,
    place=Place("NO", "Norway", "Vestland", "Bergen", "Sandviken", 1.0),
    title="t",
    caption="c",
    creator="Kari",
    keywords=("k",),
    rating=4,
    label="Red",
    regions=(Region((0, 0, 1, 1), "Anna"),),
    marks=("burst", "portrait", "drone"),
)
QUALITY = Quality(71.5, 40, 0.25, 0.5, 0, 0, 3.5, 30)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path, write=True, map_bytes=1 << 20) as found:
        yield found


def with_facts(path: str, **changed: Any) -> Record:
    return photo(path, facts=msgspec.structs.replace(Facts("jpeg", 40, 30), **changed))


def as_dict(found: Columns) -> dict[int, dict[str, str]]:
    """photo_id → column → value, strings instead of codes: what any two readers must agree on."""
    rows: dict[int, dict[str, str]] = {}
    for row in np.flatnonzero(found.alive).tolist():
        values = {name: array[row].tolist() for name, array in found.arrays.items()}
        for kind in TERM_KINDS:
            values[kind] = found.terms(kind)[values[kind]]
        rows[values.pop("photo_id")] = {name: repr(value) for name, value in values.items()}
    return rows


# -- rows ------------------------------------------------------------------------------------------


def test_a_row_says_what_the_record_says(opened: Store) -> None:
    face = Face((0, 0, 1, 1), (), 0.9, 0.9)
    outputs = {
        "faces": Output("f", faces=(face, face)),
        "quality": Output("q", quality=QUALITY),
        "signature": Output("s", signature=bytes(range(32))),
        "tagger": tagger("cat"),
        "reader": reader("EXIT"),
        "caption": Output("c", caption="a cat", answers=(Answer("Indoors?", "yes"),)),
        "aesthetics": Output("a", aesthetics=6.25),
    }
    record = photo(
        "/a/2023/IMG_E7.NEF", facts=FULL, outputs=outputs, stat=Stat(5_000_000_000, 1), added_at=7.9
    )
    opened.commit([record], PROFILE)
    found = ColumnsReader(opened).columns()
    expected = {
        "taken": 1_687_089_600.0,  # 12:00 on the camera's clock, as if it were UTC
        "added": 7.0,
        "size": 5_000_000_000,
        "latitude": 60.39,
        "longitude": 5.32,
        "altitude": 12.5,
        "aperture": 2.8,
        "focal": 85.0,
        "focal35": 85.0,
        "exposure": 1 / 250,
        "sharpness": 71.5,
        "noise": 3.5,
        "brightness": 0.25,
        "aesthetics": 6.25,
        "width": 6000,
        "height": 4000,
        "iso": 6400,
        "faces": 2,
        "rating": 4,
        "signature": list(range(32)),
    }
    assert {name: found.arrays[name][0].tolist() for name in expected} == expected
    strings = {kind: found.terms(kind)[found.arrays[kind][0]] for kind in TERM_KINDS}
    assert strings == {
        "camera": "Nikon Z 6",
        "lens": "NIKKOR Z 85mm",
        "label": "Red",
        "format": "raw",
        "extension": "nef",
        "place": "Sandviken\tBergen\tVestland\tNorway\tNO",
        "folder": "/a/2023",
        "creator": "Kari",
        "software": "",
    }
    assert {name for name in FLAGS if found.has_flag(name)[0]} == {
        *("gps", "place", "date", "camera", "lens", "title", "caption", "creator", "keywords", "people"),
        *("rating", "label", "tags", "faces", "text", "raw", "edited", "flash", "drone"),
        *("camera_burst", "portrait_mode", "described", "answers"),
    }


def test_what_is_not_known_is_no_number(opened: Store) -> None:
    opened.commit([photo("/noname", outputs={"broken": Output("b", error="x")})], PROFILE)
    found = ColumnsReader(opened).columns()
    floats = [name for name in ROW.names or () if ROW[name] == np.dtype("<f8") and name != "added"]
    assert all(math.isnan(found.arrays[name][0]) for name in floats)
    assert (found.iso[0], found.rating[0], found.camera[0], found.extension[0]) == (NO_ISO, NO_RATING, 0, 0)
    assert [name for name in FLAGS if found.has_flag(name)[0]] == ["failed"]
    assert found.terms("folder")[found.folder[0]] == "/"


def test_numbers_beyond_all_bounds_are_the_largest_that_fit() -> None:
    facts = Facts("jpeg", 2**40, -3, iso=2**70, rating=99, taken_at="no date")
    row = np.frombuffer(row_of(photo("/a/1.jpg", facts=facts), lambda kind, term: 0), ROW)[0]
    assert (row["width"], row["height"], row["iso"], row["rating"]) == (2**32 - 1, 0, 2**31 - 1, 5)


def test_a_name_that_is_no_text_has_a_folder_all_the_same(opened: Store) -> None:
    opened.commit([photo(b"/a/\xff\xfe/1.jpg")], PROFILE)
    found = ColumnsReader(opened).columns()
    assert found.terms("folder")[found.folder[0]] == "/a/\\xff\\xfe"


# -- reading ---------------------------------------------------------------------------------------


def test_columns_never_change_and_the_next_ones_share_what_stayed(opened: Store) -> None:
    opened.commit([with_facts(f"/a/{n}.jpg", iso=n) for n in range(50)], PROFILE)
    reading = ColumnsReader(opened)
    first = reading.columns()
    assert reading.columns() is first
    before = as_dict(first)
    opened.commit([with_facts("/a/7.jpg", iso=700), with_facts("/a/new.jpg", iso=1)], PROFILE)
    opened.commit([Missing(b"/a/8.jpg", 1.0)], PROFILE)
    second = reading.columns()
    assert as_dict(first) == before
    assert (first.count, second.count) == (50, 50)
    assert second.layout == first.layout
    assert second.version != first.version
    assert second.ids[:50].tolist() == first.ids.tolist()
    assert second.arrays["width"].base is first.arrays["width"].base
    assert second.arrays["iso"].base is not first.arrays["iso"].base
    assert as_dict(second) == as_dict(ColumnsReader(opened).columns())


def test_the_ids_are_the_same_array_while_there_are_the_same_photos(opened: Store) -> None:
    opened.commit([with_facts(f"/a/{n}.jpg", iso=n) for n in range(5)], PROFILE)
    reading = ColumnsReader(opened)
    first = reading.columns()
    opened.commit([with_facts("/a/1.jpg", iso=9)], PROFILE)
    assert reading.columns().ascending is first.ascending
    assert reading.columns() is not first


def test_photos_are_found_in_their_rows_also_those_that_came_since(opened: Store) -> None:
    opened.commit([photo(f"/a/{n}.jpg") for n in range(20)], PROFILE)
    reading = ColumnsReader(opened)
    reading.columns()
    opened.commit([photo(f"/b/{n}.jpg") for n in range(20)], PROFILE)
    opened.commit([Missing(b"/a/3.jpg", 1.0)], PROFILE)
    found = reading.columns()
    assert not found.is_sorted
    gone = opened.records_after(0, 100)
    missing = next(record.photo_id for record in gone if record.missing_since is not None)
    ids = np.array([record.photo_id for record in gone] + [12345])
    rows = found.rows_of(ids)
    assert [found.ids[row] if row >= 0 else 0 for row in rows.tolist()] == [
        0 if photo_id in (missing, 12345) else photo_id for photo_id in ids.tolist()
    ]
    some = found.alive & (np.arange(len(found)) % 2 == 0)
    assert found.sorted_ids(some).tolist() == sorted(found.ids[some].tolist())
    assert found.ascending[found.in_order(some)].tolist() == found.sorted_ids(some).tolist()


def test_more_photos_than_there_is_room_for_are_loaded_in_order(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_SPARE_ROWS", 2)
    opened.commit([photo(f"/a/{n}.jpg") for n in range(8)], PROFILE)
    reading = ColumnsReader(opened)
    layout = reading.columns().layout
    opened.commit([photo(f"/b/{n}.jpg") for n in range(3)], PROFILE)
    assert (reading.columns().layout, reading.columns().is_sorted) == (layout, False)
    opened.commit([photo("/c/1.jpg")], PROFILE)
    assert reading.columns().layout != layout
    assert reading.columns().is_sorted


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "move", "lose", "purge", "read"]), st.integers(0, 9)),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_columns_that_were_refreshed_are_those_that_are_loaded(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder), write=True) as opened:
        reading = ColumnsReader(opened)
        for number, (step, name) in enumerate(steps):
            changes: list[Change] = []
            path = f"/a/{name}.jpg"
            if step == "add":
                camera = f"Camera {number % 4}"
                changes = [
                    photo(path, path, facts=Facts("jpeg", number, 3, camera=camera), stat=Stat(number % 3, 1))
                ]
            elif step == "lose":
                changes = [Missing(path.encode(), float(number))]
            elif step == "move":
                moved = opened.photo_id_of(path.encode())
                changes = [Moved(moved, f"/b{number % 2}/{name}.jpg".encode(), Stat(5, 5))] if moved else []
            elif step == "purge":
                opened.purge_missing(math.inf)
            else:
                reading.columns()
            opened.commit(changes, PROFILE)
        refreshed, loaded = reading.columns(), ColumnsReader(opened).columns()
        assert as_dict(refreshed) == as_dict(loaded)
        assert sorted(as_dict(loaded)) == opened.photo_ids().tolist()
        assert refreshed.count == loaded.count == len(opened.photo_ids())


def test_a_change_log_that_was_trimmed_means_loading_anew(opened: Store) -> None:
    reading = ColumnsReader(opened)
    opened.commit([photo("/a/1.jpg")], PROFILE)
    layout = reading.columns().layout
    for n in range(store.KEPT_COMMITS + 3):
        opened.commit([photo(f"/b/{n}.jpg")], PROFILE)
    opened.set_mark("text", opened.commit_number())
    assert reading.columns().layout != layout
    assert reading.columns().count == store.KEPT_COMMITS + 4


# -- catalogs of other versions --------------------------------------------------------------------


def without_rows(reading: Reading) -> None:
    """What an older catalogd leaves: no rows, and no number that speaks of them."""
    reading.clear("columns")
    reading.clear("terms")
    for name in (COLUMNS_BY, COLUMNS_TO, store.COLUMNS_COMMIT):
        reading.delete("meta", name.encode())


def test_rows_are_made_from_records_where_no_writer_made_them_yet(opened: Store, tmp_path: Path) -> None:
    opened.commit([with_facts(f"/a/{n}.jpg", iso=n, camera=f"C{n % 2}") for n in range(20)], PROFILE)
    expected = as_dict(ColumnsReader(opened).columns())
    opened.write(without_rows)
    reading = ColumnsReader(opened)
    assert as_dict(reading.columns()) == expected


def test_a_writer_makes_the_rows_of_an_older_catalog_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "COLUMNS_PAGE", 7)
    with Store(tmp_path, write=True) as opened:
        opened.commit([with_facts(f"/a/{n}.jpg", iso=n) for n in range(20)], PROFILE)
        opened.commit([Missing(b"/a/4.jpg", 1.0)], PROFILE)
        expected = as_dict(ColumnsReader(opened).columns())
        opened.write(without_rows)
    with Store(tmp_path, write=True) as opened:
        reading = ColumnsReader(opened)
        assert opened.make_columns()
        opened.commit([with_facts("/b/new.jpg", iso=500)], PROFILE)  # a run goes on meanwhile
        with opened.snapshot() as snapshot:
            assert not columns_are_complete(snapshot)
        assert len(as_dict(reading.columns())) == 20
        while opened.make_columns():
            pass
        with opened.snapshot() as snapshot:
            assert columns_are_complete(snapshot)
        found = as_dict(reading.columns())
        assert {photo_id: found[photo_id] for photo_id in expected} == expected
        assert len(found) == 20


def test_a_catalog_with_rows_of_a_former_length_is_read_and_made_again(tmp_path: Path) -> None:
    """Rows had no aesthetics once: read as those of today they would be of other photos."""

    def by_a_former_version(reading: Reading) -> None:
        for key, row in list(reading.rows("columns")):
            reading.put("columns", key, row[:-8])
        reading.set_number(COLUMNS_BY, ROW_VERSION - 1)

    with Store(tmp_path, write=True) as opened:
        opened.commit([with_facts(f"/a/{n}.jpg", iso=n) for n in range(5)], PROFILE)
        expected = as_dict(ColumnsReader(opened).columns())
        opened.write(by_a_former_version)
        assert as_dict(ColumnsReader(opened).columns()) == expected
    with Store(tmp_path, write=True) as opened:
        while opened.make_columns():
            pass
        with opened.snapshot() as snapshot:
            assert columns_are_complete(snapshot)
        assert as_dict(ColumnsReader(opened).columns()) == expected


def test_what_an_older_catalogd_committed_meanwhile_is_taken_in(tmp_path: Path) -> None:
    with Store(tmp_path, write=True) as opened:
        opened.commit([photo("/a/1.jpg")], PROFILE)
        opened.write(lambda reading: reading.set_number("commit", reading.number("commit") + 1))
        with opened.snapshot() as snapshot:
            assert not columns_are_complete(snapshot)
    with Store(tmp_path, write=True) as opened:
        while opened.make_columns():
            pass
        assert ColumnsReader(opened).columns().count == 1
        with opened.snapshot() as snapshot:
            assert snapshot.number(COLUMNS_BY) == ROW_VERSION


# -- check and repair ------------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path, SETTINGS, write=True) as found:
        found.commit([with_facts(f"/a/{n}.jpg", iso=n, camera=f"C{n}") for n in range(5)], PROFILE)
        found.follow(force=True)
        yield found


def first_row(reading: Reading) -> tuple[bytes, bytes]:
    return next(reading.rows("columns"))


def drop_row(reading: Reading) -> None:
    reading.delete("columns", first_row(reading)[0])


def add_row(reading: Reading) -> None:
    reading.put("columns", id_bytes(5), first_row(reading)[1])


def change_row(reading: Reading) -> None:
    key, value = first_row(reading)
    reading.put("columns", key, value[:16] + b"\1" + value[17:])


def drop_term(reading: Reading) -> None:
    reading.delete("terms", next(reading.rows("terms"))[0])


def change_term(reading: Reading) -> None:
    reading.put("terms", next(reading.rows("terms"))[0], b"another")


@pytest.mark.parametrize(
    ("harm", "deep", "told"),
    [
        (drop_row, False, "no row for filters"),
        (add_row, False, "a row for filters of no photo"),
        (change_row, True, "filters have an older version"),
        (drop_term, False, "a code of camera is missing: 1"),
        (change_term, False, "the code of a camera is not found: 1"),
    ],
)
def test_a_row_or_a_string_that_is_wrong_is_told_and_mended(
    catalog: Catalog, harm: Any, deep: bool, told: str
) -> None:
    expected = as_dict(catalog.columns())
    catalog._store.write(harm)
    assert told in [difference.text for difference in catalog.check(deep)]
    catalog.repair()
    assert catalog.check(deep=True) == []
    assert as_dict(ColumnsReader(catalog._store).columns()) == expected


def test_a_repair_of_the_records_makes_the_rows_again(catalog: Catalog) -> None:
    key = id_bytes(int(catalog.columns().ids[0]))
    catalog._store.write(lambda reading: reading.put("photos", key, b"nonsense"))
    catalog.repair()
    assert catalog.check(deep=True) == []
    assert catalog.columns().count == 4


def test_rows_of_a_wrong_length_are_an_error_that_says_what_to_do(opened: Store) -> None:
    opened.commit([photo("/a/1.jpg")], PROFILE)
    opened.write(lambda reading: reading.put("columns", id_bytes(9), b"short"))
    with pytest.raises(CatalogDamagedError, match="repair"):
        ColumnsReader(opened).columns()
