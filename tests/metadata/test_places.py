"""Names of positions, from the package's own gazetteer and from small ones with known answers."""

from __future__ import annotations

import functools
import math
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.images import open_blocks
from catalogd.metadata import read_facts
from catalogd.metadata.places import (
    CITY_KM,
    EARTH_RADIUS_KM,
    FARTHEST_KM,
    Gazetteer,
    Settlement,
    find_place,
    name_place,
    with_place,
    write_gazetteer,
)
from catalogd.records import Facts, Place
from catalogd.settings import Settings
from tests.factory import ASCII, RATIONAL, jpeg_bytes, scene, tiff_block

PHOTO = Facts(format="jpeg", width=4, height=3)


def gazetteer(folder: Path, *settlements: Settlement) -> Gazetteer:
    write_gazetteer(folder / "places.bin", settlements)
    return Gazetteer(folder / "places.bin")


def town(name: str, latitude: float, longitude: float, population: int = 0, region: str = "R") -> Settlement:
    return Settlement(name, latitude, longitude, population, "XX", "Xland", region)


def haversine_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Sinnott 1984."""
    (north, east), (other_north, other_east) = (tuple(map(math.radians, point)) for point in (one, other))
    half = math.sin((north - other_north) / 2) ** 2
    half += math.cos(north) * math.cos(other_north) * math.sin((east - other_east) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


# -- the package's gazetteer -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latitude", "longitude", "code", "region", "city"),
    [
        (60.3929, 5.3242, "NO", "Vestland", "Bergen"),
        (48.8584, 2.2945, "FR", "Île-de-France", "Paris"),
        (-1.2864, 36.8172, "KE", "Nairobi County", "Nairobi"),
        (35.6595, 139.7005, "JP", "Tokyo", "Tokyo"),
        (-33.8568, 151.2153, "AU", "New South Wales", "Sydney"),
        (-22.9519, -43.2105, "BR", "Rio de Janeiro", "Rio de Janeiro"),
        (40.7580, -73.9855, "US", "New York", "New York City"),
        (78.2232, 15.6267, "SJ", "Svalbard", "Longyearbyen"),
        (-54.8019, -68.3030, "AR", "Tierra del Fuego", "Ushuaia"),
    ],
)
def test_cities_of_all_continents_are_named(
    latitude: float, longitude: float, code: str, region: str, city: str
) -> None:
    place = name_place(latitude, longitude)
    assert place is not None
    assert (place.country_code, place.region, place.city) == (code, region, city)


def test_a_place_has_the_name_of_its_country_and_of_what_is_nearest() -> None:
    assert name_place(48.8584, 2.2945) == Place(
        "FR", "France", "Île-de-France", "Paris", nearest="Paris 16 Passy", distance_km=1.4
    )


@pytest.mark.parametrize(
    ("latitude", "longitude", "code"),
    [
        (41.9022, 12.4539, "VA"),  # St. Peter's Square
        (41.8902, 12.4922, "IT"),  # the Colosseum
        (-29.3167, 27.4833, "LS"),  # Maseru
        (-29.1183, 26.2249, "ZA"),  # Bloemfontein, around it
        (43.9363, 12.4466, "SM"),
        (47.6603, 9.1758, "DE"),  # Konstanz, that grew together with
        (47.6500, 9.1750, "CH"),  # Kreuzlingen
    ],
)
def test_enclaves_and_towns_at_a_border_keep_their_country(
    latitude: float, longitude: float, code: str
) -> None:
    place = name_place(latitude, longitude)
    assert place is not None
    assert place.country_code == code


def test_both_sides_of_the_dateline_have_the_same_neighbours() -> None:
    west, east = name_place(-16.75, -179.99), name_place(-16.75, 179.99)
    assert west is not None
    assert east is not None
    assert (west.country, west.nearest) == (east.country, east.nearest) == ("Fiji", "Savusavu")
    assert west.distance_km - east.distance_km == pytest.approx(2.1, abs=0.15)
    assert name_place(-16.75, 180.0) == name_place(-16.75, -180.0)


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (90.0, 0.0),
        (-90.0, 123.0),
        (0.0, -140.0),  # the Pacific
        (0.0, 0.0),  # "null island", the Gulf of Guinea
        (30.0, -45.0),  # the Atlantic
        (51.88, -176.65),  # Adak, Aleutians: inhabited by fewer than 500
        (91.0, 0.0),
        (math.nan, 5.0),
        (60.0, math.inf),
    ],
)
def test_far_from_any_place_and_off_the_earth_there_are_no_names(latitude: float, longitude: float) -> None:
    assert name_place(latitude, longitude) is None


# -- facts -----------------------------------------------------------------------------------------


def test_the_facts_of_a_photo_get_the_names_of_its_position() -> None:
    assert with_place(PHOTO) == PHOTO
    facts = with_place(Facts("jpeg", 4, 3, latitude=60.3929, longitude=5.3242))
    assert facts.place is not None
    assert facts.place.city == "Bergen"
    at_sea = Facts("jpeg", 4, 3, latitude=30.0, longitude=-45.0)
    assert with_place(at_sea) == at_sea


def test_names_that_a_person_wrote_stay_and_the_others_are_filled() -> None:
    written = Place("", "Norge", city="Sandviken", nearest="Skutevikstorget", distance_km=0.0)
    facts = with_place(Facts("jpeg", 4, 3, latitude=60.3929, longitude=5.3242, place=written))
    assert facts.place == Place("NO", "Norge", "Vestland", "Sandviken", "Skutevikstorget", 0.0)
    without_position = Facts("jpeg", 4, 3, place=written)
    assert with_place(without_position) == without_position


def test_a_jpeg_with_a_position_is_read_with_its_place(tmp_path: Path) -> None:
    position = {
        1: (ASCII, "N"),
        2: (RATIONAL, [(60, 1), (23, 1), (34, 1)]),
        3: (ASCII, "E"),
        4: (RATIONAL, [(5, 1), (19, 1), (27, 1)]),
    }
    exif = tiff_block({0x0110: (ASCII, "Z 8")}, position, links={0x8825: 1})
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg_bytes(scene(24, 32), exif=exif))
    with open_blocks(bytes(path), Settings()) as blocks:
        place = read_facts(blocks, bytes(path)).place
    assert place == Place("NO", "Norway", "Vestland", "Bergen", nearest="Bergen", distance_km=0.0)


# -- small gazetteers ------------------------------------------------------------------------------


def test_in_the_dense_part_of_a_town_its_quarters_and_villages_are_only_what_is_nearest(
    tmp_path: Path,
) -> None:
    places = gazetteer(tmp_path, town("Capital", 48.0, 2.0, 2_100_000), town("Quarter", 48.05, 2.0, 100_000))
    place = places.place_at(48.05, 2.0)
    assert place is not None
    assert (place.city, place.nearest, place.distance_km) == ("Capital", "Quarter", 0.0)


def test_outside_of_towns_the_city_is_the_nearest_for_its_size(tmp_path: Path) -> None:
    places = gazetteer(
        tmp_path,
        town("Capital", 48.0, 2.0, 2_100_000),
        town("Town", 48.25, 2.0, 50_000),
        town("Hamlet", 48.205, 2.03),
    )
    found = [places.place_at(*position) for position in ((48.205, 2.0), (48.15, 2.0), (48.205, 2.029))]
    assert [place and (place.city, place.nearest) for place in found] == [
        ("Town", "Hamlet"),
        ("Capital", "Hamlet"),
        ("Hamlet", "Hamlet"),
    ]


def test_a_city_is_in_the_region_of_the_nearest_place_and_not_far(tmp_path: Path) -> None:
    places = gazetteer(
        tmp_path,
        town("Metropolis", 40.0, -74.0, 8_000_000, region="East"),
        town("Village", 40.0, -74.1, 900, region="West"),
        town("Outpost", 60.0, 100.0),
    )
    across = places.place_at(40.0, -74.08)
    assert across is not None
    assert (across.region, across.city) == ("West", "Village")
    wild = places.place_at(60.4, 100.0)
    assert wild is not None
    assert wild.distance_km > CITY_KM
    assert (wild.region, wild.city, wild.nearest) == ("R", "", "Outpost")


def test_a_place_at_a_pole_is_near_from_every_side(tmp_path: Path) -> None:
    places = gazetteer(tmp_path, town("Station", 90.0, 0.0), town("Base", -89.9, 77.0))
    for longitude in (-180.0, -91.5, 0.0, 44.0, 179.9):
        north, south = places.place_at(89.0, longitude), places.place_at(-90.0, longitude)
        assert north is not None
        assert south is not None
        assert (north.nearest, north.distance_km) == ("Station", 111.2)
        assert (south.nearest, south.distance_km) == ("Base", 11.1)


def test_longitudes_count_round_the_globe(tmp_path: Path) -> None:
    places = gazetteer(tmp_path, town("Here", 10.0, -170.0))
    assert places.place_at(10.0, 190.0) == places.place_at(10.0, -170.0) is not None


def test_a_file_depends_on_nothing_but_its_places(tmp_path: Path) -> None:
    settlements = [town("A", 1, 2), town("B", -3, 4), town("Ā", 1.1, 2.1, 7, region="")]
    write_gazetteer(tmp_path / "one", settlements)
    write_gazetteer(tmp_path / "other", reversed(settlements))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert len(Gazetteer(tmp_path / "one")) == 3


@pytest.mark.parametrize("spoiled", [b"", b"places", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_gazetteer_is_an_error(tmp_path: Path, spoiled: bytes) -> None:
    (tmp_path / "places.bin").write_bytes(spoiled)
    with pytest.raises(ValueError, match=r"gazetteer|empty|smaller"):
        Gazetteer(tmp_path / "places.bin")


def test_a_gazetteer_that_ends_early_is_an_error(tmp_path: Path) -> None:
    gazetteer(tmp_path, town("A", 1, 2))
    whole = (tmp_path / "places.bin").read_bytes()
    (tmp_path / "places.bin").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="smaller"):
        Gazetteer(tmp_path / "places.bin")


LATITUDES = st.one_of(st.floats(-90, 90), st.floats(-90, -88), st.floats(88, 90))
LONGITUDES = st.one_of(st.floats(-180, 180), st.floats(-180, -178), st.floats(178, 180))


@functools.cache
def scattered() -> tuple[Gazetteer, dict[str, tuple[float, float]]]:
    """400 places all over the sphere, thick at the dateline and around the poles."""
    numbers = random.Random(1)
    points = [
        (math.degrees(math.asin(numbers.uniform(-1, 1))), numbers.uniform(-180, 180)) for _ in range(250)
    ]
    points += [
        (numbers.uniform(-90, 90), numbers.choice((-180, 178)) + 2 * numbers.random()) for _ in range(75)
    ]
    points += [
        (numbers.choice((-1, 1)) * numbers.uniform(88, 90), numbers.uniform(-180, 180)) for _ in range(75)
    ]
    named = {str(number): point for number, point in enumerate(points)}
    with tempfile.TemporaryDirectory() as folder:
        return gazetteer(Path(folder), *[town(name, *point) for name, point in named.items()]), named


@settings(max_examples=200, deadline=None)
@given(latitude=LATITUDES, longitude=LONGITUDES)
def test_the_nearest_place_is_that_of_a_search_through_all(latitude: float, longitude: float) -> None:
    places, points = scattered()
    distances = {name: haversine_km((latitude, longitude), point) for name, point in points.items()}
    least = min(distances.values())
    found = places.place_at(latitude, longitude)
    if found is None:
        assert least > FARTHEST_KM - 0.1
    else:
        assert distances[found.nearest] == pytest.approx(least, abs=0.01)
        assert found.distance_km == pytest.approx(least, abs=0.07)


@pytest.mark.parametrize(
    ("name", "latitude", "longitude"),
    [
        ("Bergen", 60.39, 5.32),
        ("bergen", 60.39, 5.32),
        ("tromso", 69.65, 18.96),
        ("Sao Paulo", -23.55, -46.64),
    ],
)
def test_the_largest_place_of_a_name_is_found(name: str, latitude: float, longitude: float) -> None:
    assert find_place(name) == (pytest.approx(latitude, abs=0.05), pytest.approx(longitude, abs=0.05))


@pytest.mark.parametrize("name", ["", "Berg en", "erge", "Nowhereville", "\ud800"])
def test_what_is_no_name_of_a_place_is_not_found(name: str) -> None:
    assert find_place(name) is None
