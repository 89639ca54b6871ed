from __future__ import annotations

import datetime
import fnmatch
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.catalog import Catalog
from catalogd.catalog.selection import HAS_WORDS, IS_WORDS, Selection, haversines, spelled
from catalogd.errors import QueryError
from catalogd.query.keys import HAS_WORDS as HAS_OF_THE_LANGUAGE
from catalogd.query.keys import IS_WORDS as IS_OF_THE_LANGUAGE
from catalogd.records import Clause, Condition, Facts, Group, Missing, Place, Record, Stat
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo, reader, tagger

SETTINGS = Settings(text_heap_bytes=15 << 20, text_commit_wait_s=0.0)


class Library:
    """A catalog whose photos are known by their file names."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def add(self, *records: Record) -> None:
        self.catalog.commit(records, PROFILE)
        self.catalog.follow(force=True)

    def names(self, ids: Any) -> list[str]:
        records = self.catalog.records([int(photo_id) for photo_id in ids])
        return [record.path.rpartition(b"/")[2].decode() for record in records if record is not None]

    def find(self, *clauses: Clause, **hooks: Any) -> set[str]:
        return set(self.names(self.catalog.select(clauses, **hooks).ids))


@pytest.fixture
def library(tmp_path: Any) -> Iterator[Library]:
    with Catalog.open(tmp_path, SETTINGS, write=True) as catalog:
        yield Library(catalog)


def with_facts(path: str, **changed: Any) -> Record:
    return photo(path, facts=msgspec.structs.replace(Facts("jpeg", 40, 30), **changed))


# -- numbers and dates -----------------------------------------------------------------------------


def test_ends_are_included_and_what_is_not_known_is_in_no_range(library: Library) -> None:
    library.add(*[with_facts(f"/a/{iso}", iso=iso) for iso in (100, 200, 400)], with_facts("/a/none"))
    assert library.find(Condition("iso", low=100, high=200)) == {"100", "200"}
    assert library.find(Condition("iso", low=200.5)) == {"400"}
    assert library.find(Condition("iso", high=199)) == {"100"}
    assert library.find(Condition("iso", low=float("-inf"), high=float("inf"))) == {"100", "200", "400"}
    assert library.find(Condition("iso", low=1e300)) == set()
    assert library.find(Condition("iso", low=200, negated=True)) == {"100", "none"}


def test_the_number_that_was_typed_is_the_one_in_the_photo(library: Library) -> None:
    """In single precision f/2.8 was not 2.8, and f:<2.8 found it."""
    library.add(with_facts("/a/1", aperture=2.8), with_facts("/a/2", aperture=1.4))
    assert library.find(Condition("f", low=2.8, high=2.8)) == {"1"}
    assert library.find(Condition("f", high=math.nextafter(2.8, 0))) == {"2"}
    assert library.find(Condition("f", low=math.nextafter(2.8, 9))) == set()


def test_a_photo_without_a_rating_has_none(library: Library) -> None:
    library.add(*[with_facts(f"/a/{rating}", rating=rating) for rating in (-1, 0, 5)], with_facts("/a/none"))
    assert library.find(Condition("rating", low=4)) == {"5"}
    assert library.find(Condition("rating", high=0)) == {"-1", "0"}
    assert library.find(Condition("rating", high=5)) == {"-1", "0", "5"}


def test_dates_are_the_cameras_own_time_whatever_its_zone(library: Library) -> None:
    library.add(
        with_facts("/a/1", taken_at="2020-01-01T00:30:00+09:00"),
        with_facts("/a/2", taken_at="2019-12-31T23:59:59.9"),
        with_facts("/a/3", taken_at="0000:00:00"),
    )
    new_year = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).timestamp()
    assert library.find(Condition("date", low=new_year)) == {"1"}
    assert library.find(Condition("date", high=new_year - 1)) == {"2"}


def test_megapixels_and_sizes_are_counted(library: Library) -> None:
    library.add(with_facts("/a/1", width=6000, height=4000), with_facts("/a/2", width=400, height=300))
    assert library.find(Condition("mp", low=24, high=24)) == {"1"}
    assert library.find(Condition("width", high=400)) == {"2"}
    assert library.find(Condition("size", low=1000, high=1000)) == {"1", "2"}


# -- positions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "km", "found"),
    [
        ((60.39, 5.32), 1.0, {"bergen"}),
        ((60.39, 5.32), 400.0, {"bergen", "oslo"}),
        ((0.0, 179.9), 50.0, {"east", "west"}),
        ((0.0, -179.95), 1.0, set()),
        ((90.0, 0.0), 120.0, {"pole"}),
        ((-90.0, 77.0), 21_000.0, {"bergen", "oslo", "east", "west", "pole"}),
    ],
)
def test_photos_are_near_also_across_the_date_line_and_at_the_poles(
    library: Library, at: tuple[float, float], km: float, found: set[str]
) -> None:
    places = {
        "bergen": (60.392, 5.322),
        "oslo": (59.91, 10.75),
        "east": (0.0, 179.95),
        "west": (0.0, -179.97),
        "pole": (89.5, -120.0),
    }
    library.add(
        *[with_facts(f"/a/{name}", latitude=lat, longitude=lon) for name, (lat, lon) in places.items()],
        with_facts("/a/nowhere"),
    )
    assert library.find(Condition("near", numbers=(*at, km))) == found


def test_angles_on_the_globe_are_right() -> None:
    """A quarter of the way around it to a pole, a degree, and half of it."""
    halves = haversines(np.array([90.0, 1.0, 0.0]), np.array([12.0, 0.0, 180.0]), 0.0, 0.0)
    assert np.degrees(2 * np.arcsin(np.sqrt(halves))).tolist() == pytest.approx([90, 1, 180])


# -- strings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "words", "found"),
    [
        ("camera", "nikon", True),
        ("camera", "z6 nikon", True),
        ("camera", "Z 6", True),
        ("camera", "nik*", True),
        ("camera", "n?kon z*", True),
        ("camera", "*kon", True),
        ("camera", '"nikon z6"', True),
        ("camera", '"z nikon"', False),
        ("camera", "ikon", False),
        ("camera", "nikon canon", False),
        ("camera", "85mm", False),
        ("lens", "85mm", True),
        ("lens", "85 mm", True),
        ("lens", "f1.8", True),
        ("lens", "5mm", False),
        ("place", "new york", True),
        ("place", '"new york"', True),
        ("place", "US", True),
        ("place", "sao", True),
        ("place", "york new", True),
        ("place", '"york new"', False),
        ("creator", "NUNEZ", True),
        ("creator", "núñez", True),
        ("software", "lightroom", True),
        ("label", "to print", True),
        ("label", "TO PRINT", True),
        ("label", "print", False),
        ("label", "to*", True),
        ("type", "raw", True),
        ("type", ".NEF", True),
        ("type", "jpg nef", True),
        ("type", "jpg", False),
        ("type", "n*", True),
        ("in", "2023/Norway", True),
        ("in", "norway", True),
        ("in", "NORWAY/", True),
        ("in", "2023/nor*/day ?", True),
        ("in", "2023/day 1", False),
        ("in", "Nor", False),
        ("in", "/photos", True),
        ("in", "/photos/2023", True),
        ("in", "/2023", False),
        ("in", "/", True),
        ("name", "IMG_1*", True),
        ("name", "img_12.nef", True),
        ("name", "img_12", True),
        ("name", "g_1", True),
        ("name", "img_2*", False),
    ],
)
def test_strings_are_asked_for_by_their_words(shelf: Library, field: str, words: str, found: bool) -> None:
    assert shelf.find(Condition(field, words)) == ({"IMG_12.NEF"} if found else set())


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """One photo that says much, in a library where another says nothing."""
    facts = Facts(
        "raw",
        40,
        30,
        camera="Nikon Z 6",
        lens="NIKKOR Z 85mm f/1.8 S",
        place=Place("US", "United States", "New York", "New York City", "São Paulo Deli"),
        creator="Anna Núñez",
        software="Adobe Lightroom 13",
        label="To Print",
    )
    with Catalog.open(tmp_path_factory.mktemp("shelf"), SETTINGS, write=True) as catalog:
        found = Library(catalog)
        found.add(
            photo("/photos/2023/Norway/Day 1/IMG_12.NEF", facts=facts),
            photo("elsewhere/other.png", facts=Facts("png", 40, 30)),
        )
        yield found


def test_strings_that_come_later_are_asked_too(library: Library) -> None:
    library.add(with_facts("/a/1", camera="Sony A7"))
    assert library.find(Condition("camera", "sony")) == {"1"}
    library.add(with_facts("/a/2", camera="Sony A9"), with_facts("/a/3", camera="Canon"))
    assert library.find(Condition("camera", "sony")) == {"1", "2"}


# -- words of the text index -----------------------------------------------------------------------


def test_words_are_asked_again_once_the_index_knows_more(library: Library) -> None:
    library.add(with_facts("/a/1", keywords=("dog",)))
    assert library.find(Condition("keyword", "dog")) == {"1"}
    library.add(with_facts("/a/2", keywords=("Dog",)), with_facts("/a/1", keywords=("cat",)))
    assert library.find(Condition("keyword", "dog")) == {"2"}


def test_an_answer_is_remembered_and_still_knows_which_photos_are_gone(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(with_facts("/a/1", keywords=("dog",)), with_facts("/a/2", keywords=("dog",)))
    assert library.find(Condition("keyword", "dog")) == {"1", "2"}
    library.catalog.commit([Missing(b"/a/2", 1.0), with_facts("/a/3", keywords=("dog",))], PROFILE)
    index = library.catalog._fresh_text()
    assert index is not None
    monkeypatch.setattr(index, "photos_with", None)
    assert library.find(Condition("keyword", "dog", position=7)) == {"1"}


# -- groups, flags, hooks --------------------------------------------------------------------------


def test_the_best_is_the_cover_of_its_stack_and_burst_or_in_none(library: Library) -> None:
    raw = msgspec.structs.replace(Facts("raw", 40, 30), taken_at="2020-01-01T10:00:00", camera="A")
    library.add(
        photo("/a/1.NEF", "n", facts=raw),
        with_facts("/a/1.JPG", taken_at="2020-01-01T10:00:00", camera="A"),
        with_facts("/a/alone.jpg"),
    )
    assert library.find(Condition("is", "stack")) == {"1.NEF", "1.JPG"}
    assert library.find(Condition("is", "cover")) == {"1.JPG"}
    assert library.find(Condition("is", "best")) == {"1.JPG", "alone.jpg"}
    assert library.find(Condition("is", "burst")) == set()
    library.catalog.commit([with_facts("/b/new.jpg")], PROFILE)  # not arranged yet
    assert library.find(Condition("is", "best")) == {"1.JPG", "alone.jpg", "new.jpg"}


def test_flags_and_shapes(library: Library) -> None:
    library.add(
        photo("/a/wide", facts=Facts("raw", 40, 30, marks=("panorama", "portrait"), rating=-1)),
        photo("/a/high", facts=Facts("jpeg", 30, 40, latitude=1.0, longitude=2.0, flash=True), outputs={}),
        photo("/a/IMG_E1.jpg", facts=Facts("jpeg", 30, 30, people=("Anna",), marks=("motion_photo",))),
    )
    expected = {
        "raw": {"wide"},
        "panorama": {"wide"},
        "landscape": {"wide"},
        "rejected": {"wide"},
        "portrait": {"high"},
        "flash": {"high"},
        "square": {"IMG_E1.jpg"},
        "edited": {"IMG_E1.jpg"},
        "live": {"IMG_E1.jpg"},
        "named": {"IMG_E1.jpg"},
        "drone": set(),
    }
    assert {word: library.find(Condition("is", word)) for word in expected} == expected
    assert library.find(Condition("has", "gps")) == library.find(Condition("has", "location")) == {"high"}
    assert library.find(Condition("has", "tags", negated=True)) == {"high"}
    assert library.find(Condition("has", "People")) == {"IMG_E1.jpg"}


def test_the_words_of_has_and_is_are_those_of_the_language() -> None:
    assert set(HAS_OF_THE_LANGUAGE) <= HAS_WORDS
    assert set(IS_OF_THE_LANGUAGE) <= IS_WORDS


def test_people_and_albums_are_asked_of_who_knows_them(library: Library) -> None:
    library.add(with_facts("/a/1", people=("Anna Berg",)), with_facts("/a/2"), with_facts("/a/3"))
    ids = {name: photo_id for photo_id in library.catalog.columns().ids for name in library.names([photo_id])}

    def of(name: str) -> Any:
        known = {"anna": [ids["2"], 99], "*": [ids["2"]], "best of": [ids["3"]]}
        return np.array(known[name]) if name in known else None

    assert library.find(Condition("person", "anna"), person_ids=of) == {"1", "2"}
    assert library.find(Condition("person", '"anna"', negated=True), person_ids=of) == {"3"}
    assert library.find(Condition("person", "nobody"), person_ids=of) == set()
    assert library.find(Condition("is", "named"), person_ids=of) == {"1", "2"}
    assert library.find(Condition("album", '"best of"'), album_ids=of) == {"3"}
    with pytest.raises(QueryError, match=r"no album 'x' \(at position 5\)") as error:
        library.find(Condition("album", "x", position=4), album_ids=of)
    assert error.value.position == 4


# -- selections ------------------------------------------------------------------------------------


def test_selections_combine_also_those_of_different_commits(library: Library) -> None:
    library.add(*[with_facts(f"/a/{n}", iso=n) for n in range(10)])
    low = library.catalog.select([Condition("iso", high=5)])
    library.add(*[with_facts(f"/b/1{n}", iso=n) for n in range(3)])
    high = library.catalog.select([Condition("iso", low=2)])

    def isos(selection: Selection) -> list[int]:
        return sorted(selection.columns.iso[selection.mask].tolist())

    assert isos(high & low) == [2, 3, 4, 5]
    assert isos(low & high) == [2, 3, 4, 5]
    assert isos(high | low) == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]
    assert isos(~high) == [0, 0, 1, 1]
    assert (len(high), high.is_all, library.catalog.select(()).is_all) == (9, False, True)
    assert high.ids.tolist() == sorted(high.ids.tolist())


def test_a_selection_contains_its_photos_whether_small_or_large(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(*[with_facts(f"/a/{n}", iso=n) for n in range(10)])
    some = library.catalog.select([Condition("iso", low=5)])
    asked = np.append(some.columns.ids, [1, 2**52])
    small = some.contains(asked)
    monkeypatch.setattr("catalogd.catalog.selection._FEW_IDS", 0)
    assert some.contains(asked).tolist() == small.tolist()
    assert asked[small].tolist() == some.ids.tolist()


def test_each_filter_tells_what_it_left_cheap_ones_first(library: Library) -> None:
    library.add(*[with_facts(f"/a/{n}", iso=n, keywords=("dog",) * (n < 3)) for n in range(10)])
    clauses = [Condition("keyword", "dog"), Condition("iso", low=1, negated=True), Condition("camera", "x y")]
    steps = library.catalog.select([*clauses[:2]]).steps
    assert [(step.name, step.photos) for step in steps] == [("-iso:1..", 1), ("keyword:dog", 1)]
    assert [step.photos for step in library.catalog.select(clauses).steps] == [1, 0, 0]


def test_clauses_are_spelled_as_they_may_be_typed() -> None:
    group = Group(
        (Condition("camera", words="nikon z6"), Condition("iso", low=5, high=5)), any=True, negated=True
    )
    assert spelled(group) == '-(camera:"nikon z6" OR iso:5)'
    assert spelled(Condition("near", numbers=(60.39, 5.32, 10.0))) == "near:60.39,5.32,10"


@pytest.mark.parametrize(
    "condition",
    [
        Condition("colour", "red", position=3),
        Condition("iso", position=3),
        Condition("camera", low=1, position=3),
        Condition("camera", " ", position=3),
        Condition("iso", low=float("nan"), position=3),
        Condition("near", "bergen", position=3),
        Condition("near", numbers=(1.0, float("inf"), 2.0), position=3),
        Condition("has", "everything", position=3),
        Condition("is", "nice", position=3),
    ],
)
def test_a_filter_that_makes_no_sense_is_an_error_with_its_place(
    shelf: Library, condition: Condition
) -> None:
    """Whatever else is asked for: nothing is found where there are no photos, but the filter is wrong."""
    with pytest.raises(QueryError, match="position 4") as error:
        shelf.find(Condition("iso", low=1e9), Group((condition,), any=True))
    assert error.value.position == 3


# -- orders ----------------------------------------------------------------------------------------


def test_photos_come_in_order_and_those_of_which_nothing_is_known_last(library: Library) -> None:
    library.add(
        with_facts("/b/old", taken_at="1999-01-01T00:00:00"),
        with_facts("/a/undated"),
        with_facts("/b/new", taken_at="2024-01-01T00:00:00"),
    )
    everything = library.catalog.select(())

    def ordered(order: str, limit: int = 10) -> list[str]:
        return library.names(library.catalog.ordered(everything, order, limit))

    assert ordered("date") == ["old", "new", "undated"]
    assert ordered("-date") == ["new", "old", "undated"]
    assert ordered("-date", 1) == ["new"]
    assert ordered("name") == ["undated", "new", "old"]
    assert ordered("-name", 2) == ["old", "new"]
    assert ordered("date", 0) == ordered("name", 0) == []


@given(
    taken=st.lists(st.one_of(st.none(), st.integers(1970, 1975)), min_size=1, max_size=30),
    limit=st.integers(1, 31),
    reverse=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_first_of_an_order_are_those_of_sorting_all(
    taken: list[int | None], limit: int, reverse: bool
) -> None:
    from catalogd.catalog.columns import Columns, Terms
    from catalogd.catalog.selection import everything, in_order

    years = np.array([math.nan if year is None else float(year) for year in taken])
    arrays = {"photo_id": np.arange(1, len(taken) + 1), "taken": years}
    columns = Columns(arrays, np.ones(len(taken), bool), len(taken), 1, 1, Terms())
    key = [(year is None, (-year if reverse else year) if year else 0, n) for n, year in enumerate(taken, 1)]
    expected = [n for _, _, n in sorted(key)]
    assert in_order(everything(columns), "-date" if reverse else "date", limit) == expected[:limit]


# -- against a slow twin ---------------------------------------------------------------------------

CAMERAS = ("Nikon Z 6", "Sony A7 IV", "Canon EOS R5", None)
PLACES = (Place("NO", "Norway", "", "Bergen"), Place("US", "United States", "New York", "Albany"), None)
WORDS = ("amber", "basalt", "cobalt")


def drawn() -> list[Record]:
    """Records whose fields are any of some, also none."""
    rng = np.random.default_rng(11)

    def one(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    return [
        photo(
            f"/{one('a', 'b')}/{one('2022', '2023')}/{n}.{one('jpg', 'NEF')}",
            f"content {n}",
            stat=Stat(int(rng.integers(1, 5)), 1),
            facts=Facts(
                one("jpeg", "raw"),
                int(rng.integers(1, 5)),
                int(rng.integers(1, 5)),
                camera=one(*CAMERAS),
                iso=one(100, 200, 400, None),
                aperture=one(1.4, 2.8, None),
                rating=one(-1, 0, 3, 5, None),
                latitude=one(60.0, 60.5, None),
                longitude=5.0,
                place=one(*PLACES),
                label=one("Red", "Dark Red", None),
                caption=one(*WORDS, None),
                keywords=one((), WORDS[:1], WORDS[1:]),
            ),
            outputs=one({}, {"tagger": tagger(one(*WORDS))}, {"reader": reader(one(*WORDS))}),
        )
        for n in range(60)
    ]


RECORDS = drawn()


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with Catalog.open(tmp_path_factory.mktemp("twins"), SETTINGS, write=True) as catalog:
        library = Library(catalog)
        library.catalog.commit(RECORDS[:40], PROFILE)
        library.catalog.columns()  # the other photos come as later rows
        library.add(*RECORDS[40:])
        yield library


def cut(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z0-9]+", plain)


def has_words(text: str | None, words: str) -> bool:
    there = cut(text or "")
    return all(any(fnmatch.fnmatchcase(one, word) for one in there) for word in words.lower().split())


def holds(record: Record, clause: Clause) -> bool:
    """Whether a photo satisfies a clause, by looking at it."""
    if isinstance(clause, Group):
        parts = [holds(record, part) for part in clause.parts]
        return (any(parts) if clause.any else all(parts)) != clause.negated
    return bool(satisfies(record, clause)) != clause.negated


def satisfies(record: Record, condition: Condition) -> bool:
    facts, words = record.facts, condition.words or ""
    place = facts.place
    numbers = {
        "iso": facts.iso,
        "f": facts.aperture,
        "rating": facts.rating,
        "size": record.stat.size,
        "mp": facts.width * facts.height / 1e6,
    }
    if condition.field in numbers:
        number = numbers[condition.field]
        low = -math.inf if condition.low is None else condition.low
        high = math.inf if condition.high is None else condition.high
        return number is not None and low <= number <= high
    outputs = record.outputs
    said = [tag.name for output in outputs.values() for tag in output.tags or ()]
    read = [line.text for output in outputs.values() for line in output.text_lines or ()]
    match condition.field:
        case "camera":
            return has_words(facts.camera, words)
        case "place":
            names = (
                (place.nearest, place.city, place.region, place.country, place.country_code) if place else ()
            )
            return has_words(" ".join(names), words)
        case "label":
            return fnmatch.fnmatchcase((facts.label or "\0").lower(), words.lower())
        case "type":
            return words in (facts.format, record.name.rpartition(".")[2].lower().replace("jpg", "jpeg"))
        case "in":
            return f"/{words}/" in record.name
        case "caption":
            return has_words(facts.caption, words)
        case "keyword":
            return any(fnmatch.fnmatchcase(keyword, words) for keyword in facts.keywords)
        case "tag":
            return any(has_words(name, words) for name in said)
        case "text":
            return any(has_words(line, words) for line in read)
        case "any":
            return has_words(" ".join([*said, *read, facts.caption or "", *facts.keywords]), words)
        case "near":
            return facts.latitude == condition.numbers[0]
        case "has":
            return {"tags": bool(said), "text": bool(read), "place": place is not None}[words]
        case _:
            return {"landscape": facts.width > facts.height, "raw": facts.format == "raw"}[words]


def of_words(field: str, *words: str) -> st.SearchStrategy[Condition]:
    return st.builds(Condition, st.just(field), words=st.sampled_from(words), negated=st.booleans())


ENDS = st.one_of(st.none(), st.sampled_from((-1, 0, 1.4, 2, 2.8, 3, 150, 200, 1e-6, 6e-6)))
NUMBERS = st.builds(
    Condition,
    st.sampled_from(("iso", "f", "rating", "size", "mp")),
    low=ENDS,
    high=ENDS,
    negated=st.booleans(),
).filter(lambda condition: condition.low is not None or condition.high is not None)
CONDITIONS = st.one_of(
    NUMBERS,
    of_words("camera", "nikon", "sony iv", "canon z", "*on*", "e?s"),
    of_words("place", "bergen norway", "new york", "us", "al*", "york bergen"),
    of_words("label", "red", "dark red", "*red", "re?"),
    of_words("type", "raw", "jpeg", "nef"),
    of_words("in", "2023", "a/2022", "b"),
    of_words("caption", *WORDS, "a*", "amber basalt"),
    of_words("keyword", *WORDS, "*alt"),
    of_words("tag", *WORDS, "?obalt"),
    of_words("text", *WORDS),
    of_words("any", *WORDS, "co*"),
    of_words("has", "tags", "text", "place"),
    of_words("is", "landscape", "raw"),
    st.builds(Condition, st.just("near"), numbers=st.sampled_from(((60.0, 5.0, 20.0), (60.5, 5.0, 1.0)))),
)
CLAUSES = st.recursive(
    CONDITIONS,
    lambda parts: st.builds(
        Group, st.lists(parts, max_size=4).map(tuple), any=st.booleans(), negated=st.booleans()
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(clauses=st.lists(CLAUSES, max_size=3))
def test_a_tree_of_filters_selects_the_photos_that_satisfy_it(twins: Library, clauses: list[Clause]) -> None:
    expected = {
        record.name.rpartition("/")[2]
        for record in RECORDS
        if all(holds(record, clause) for clause in clauses)
    }
    assert twins.find(*clauses) == expected
