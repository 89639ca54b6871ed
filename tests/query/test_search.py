from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogd.catalog import Catalog
from catalogd.query import parse, search
from catalogd.records import Facts, Missing, Place
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo

SETTINGS = Settings(text_heap_bytes=15 << 20)


@pytest.fixture
def lagging(tmp_path: Path) -> Iterator[Catalog]:
    """Ten photos of cats; the text index has not heard yet that 8 to 5 went missing."""
    with Catalog.open(tmp_path / "catalog", SETTINGS, write=True) as catalog:
        catalog.commit([photo(f"/a/{n}.jpg") for n in range(10)], PROFILE)
        catalog.follow(force=True)
        catalog.commit([Missing(b"/a/%d.jpg" % n, 5.0) for n in range(5, 9)], PROFILE)
        yield catalog


@pytest.mark.parametrize("query", ["cat", "type:jpeg", "cat type:jpeg"])
@pytest.mark.parametrize("limit", [1, 4, 6, 100])
def test_photos_that_went_missing_a_moment_ago_are_no_hits_and_take_no_place(
    lagging: Catalog, query: str, limit: int
) -> None:
    """They were shown, and where records were gone fewer hits than asked for."""
    hits = search(lagging, parse(query, limit), None).hits
    here = {b"/a/%d.jpg" % n for n in (0, 1, 2, 3, 4, 9)}
    assert len(hits) == min(limit, 6)
    assert {hit.path for hit in hits} <= here


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Two photos; the file of one says who, where and what."""
    facts = Facts(
        "jpeg",
        40,
        30,
        lens="NIKKOR Z 35mm",
        place=Place("NO", "Norway", "Vestland", "Bergen", "Sandviken", 1.2),
        keywords=("harbour",),
        keyword_paths=("Travel|Norway",),
        people=("Anna",),
        rating=5,
        label="Red",
    )
    with Catalog.open(tmp_path_factory.mktemp("told"), SETTINGS, write=True) as catalog:
        catalog.commit([photo("/a/told.jpg", facts=facts), photo("/a/silent.jpg")], PROFILE)
        catalog.follow(force=True)
        yield catalog


@pytest.mark.parametrize(
    "query",
    [
        "bergen",
        "anna",
        "harbour",
        'harbour place:"bergen norway"',
        "person:anna rating:4.. -label:green",
        "keyword:travel|norway lens:35mm",
    ],
)
def test_photos_are_found_by_what_their_files_say(told: Catalog, query: str) -> None:
    assert [hit.path for hit in search(told, parse(query), None).hits] == [b"/a/told.jpg"]
