"""IPTC datasets, wherever they lie and in whatever charset they were written."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata.iptc import IPTC_RESOURCE, charset, datasets, read_iptc, resource
from catalogd.records import Place
from tests.packets import iptc_block, photoshop_block

UTF_8 = b"\x1b%G"


def test_all_facts_of_an_agency_photo_are_read():
    block = iptc_block(
        (5, b"The dog"),
        (25, b"animal"),
        (25, b"dog"),
        (25, b"animal"),
        (55, b"20240501"),
        (60, b"173015+0200"),
        (80, b"Ann"),
        (80, b"Bob"),
        (90, b"Bergen"),
        (92, b"Bryggen"),
        (95, b"Vestland"),
        (100, b"NOR"),
        (101, b"Norway"),
        (116, b"(c) Ann"),
        (120, b"A dog\rin the rain"),
    )
    facts = read_iptc(block)
    assert (facts.title, facts.caption) == ("The dog", "A dog\nin the rain")
    assert facts.keywords == ("animal", "dog")
    assert (facts.creator, facts.copyright) == ("Ann; Bob", "(c) Ann")
    assert (facts.taken_at, facts.zone) == ("2024-05-01T17:30:15+02:00", "offset")
    assert facts.place == Place("", "Norway", "Vestland", "Bergen", "Bryggen")


@pytest.mark.parametrize(
    ("date", "clock", "taken_at", "zone"),
    [
        (b"20240501", b"173015", "2024-05-01T17:30:15", "local"),
        (b"20240501", b"17:30:15", "2024-05-01T17:30:15", "local"),
        (b"20240501", b"", "2024-05-01", "local"),
        (b"20240501", b"000000+0000", "2024-05-01", "local"),
        (b"20240501", b"998877", "2024-05-01", "local"),
        (b"20240500", b"173015", None, None),
        (b"00000000", b"", None, None),
        (b"", b"173015", None, None),
    ],
)
def test_a_date_is_read_without_making_up_a_time(date, clock, taken_at, zone):
    facts = read_iptc(iptc_block((55, date), (60, clock)))
    assert (facts.taken_at, facts.zone) == (taken_at, zone)


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        (UTF_8, "utf-8", "Øystein Ærø"),
        (b"", "utf-8", "Øystein Ærø"),
        (b"", "utf-8", "犬と猫"),
        (b"", "latin-1", "Çà et là, déjà vu"),
        (b"", "cp1252", "Œuvre – “naïve” — 10 €"),
        (UTF_8, "cp1252", "déjà vu"),  # a lie
        (b"\x1b.A", "latin-1", "Façade"),
        (b"\x1b-A", "latin-1", "Façade"),
        (b"\x1b-B", "iso8859_2", "Łódź, Třeboň"),
        (b"\x1b-L", "iso8859_5", "Москва"),
        (b"\x1b-F", "iso8859_7", "Αθήνα"),
        (b"", "mac_roman", "Le président à l'été"),
        (b"", "mac_roman", "Zürich"),
        (b"", "mac_roman", "L'École et ses élèves"),
        (b"", "mac_roman", "FÉDÉRATION, les athlètes"),
        (b"", "cp1251", "Москва, Красная площадь"),
        (b"", "cp932", "いぬとねこ"),
        (b"", "cp932", "東京タワー"),
        (b"", "iso2022_jp", "東京"),
        # Western text whose accents are dense, and words that look like those of other charsets.
        (b"", "cp1252", "Åse, Øyvind, Ægir, ÆØÅ"),
        (b"", "cp1252", "Šibenik, Košice, Žilina"),
        (b"", "cp1252", "Le cœur et la sœur"),
        (b"", "cp1252", "À la crème, à l'île, à côté, dès là"),
        (b"", "cp1252", "Photo™s, déjà vu"),
        (b"", "cp1252", "Größe: 5 µm, ½ Maß"),
    ],
)
def test_text_comes_out_right_in_its_charset(declared, encoding, text):
    facts = read_iptc(iptc_block((120, text.encode(encoding)), (25, b"ascii"), charset=declared))
    assert (facts.caption, facts.keywords) == (text, ("ascii",))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("koi8_r", "Москва, Красная площадь"),
        ("cp1253", "Αθήνα και Θεσσαλονίκη στην Ελλάδα"),
        ("cp1255", "ירושלים ותל אביב בישראל"),
        ("gb2312", "北京的故宫和长城"),
        ("euc_kr", "서울의 궁궐과 한강"),
        ("big5", "臺北的故宮博物院"),
    ],
)
def test_a_charset_that_cannot_be_told_is_not_guessed(encoding, text):
    assert charset(b"", text.encode(encoding)) == "cp1252"


def test_the_charset_is_that_of_the_whole_block():
    """A keyword alone may be too short to tell: "été" of a Mac was read as two Windows signs."""
    block = iptc_block((25, "été".encode("mac_roman")), (120, "Le président".encode("mac_roman")))
    assert read_iptc(block).keywords == ("été",)


def test_bytes_that_windows_1252_lacks_are_no_error():
    assert read_iptc(iptc_block((120, b"\xe9\x81 x"))).caption == "é  x"


def test_a_list_in_one_keyword_is_parted():
    long = "; ".join(f"keyword {i}" for i in range(10)).encode()
    assert read_iptc(iptc_block((25, long))).keywords == tuple(f"keyword {i}" for i in range(10))
    assert read_iptc(iptc_block((25, b"a; b"))).keywords == ("a; b",)


@pytest.mark.parametrize("name", [b"", b"odd", b"even"])
def test_the_block_is_found_among_photoshop_resources(name):
    block = iptc_block((5, b"title"))
    held = photoshop_block((0x03ED, b"123"), (IPTC_RESOURCE, block), (0x0425, b"x" * 16), name=name)
    assert resource(held, IPTC_RESOURCE) == block
    assert resource(held, 0x0425) == b"x" * 16
    assert resource(held, 0x9999) == b""
    assert read_iptc(held).title == "title"


def test_a_block_whose_bytes_were_swapped_by_fours_is_read():
    block = iptc_block((5, b"title"), (120, b"cap"))
    block += bytes(-len(block) % 4)
    swapped = struct.pack(f"<{len(block) // 4}I", *struct.unpack(f">{len(block) // 4}I", block))
    assert read_iptc(swapped).title == "title"


def test_an_extended_dataset_is_read():
    content = b"long " * 10_000
    block = b"\x1c\x02\x78\x80\x04" + len(content).to_bytes(4, "big") + content + iptc_block((5, b"after"))
    assert read_iptc(block).title == "after"
    assert read_iptc(block).caption == content.decode()[:20_000].strip()


def test_what_stands_before_damage_is_kept():
    block = iptc_block((5, b"title"), (120, b"caption"))
    assert read_iptc(block[:-3]).title == "title"
    assert read_iptc(block[:-3]).caption is None


def test_datasets_are_listed_by_name():
    block = iptc_block((0, b"\0\4"), (25, b"dog"), (231, b"note"), charset=UTF_8)
    assert datasets(block) == [
        ("CodedCharacterSet", "1b2547"),
        ("RecordVersion", "0004"),
        ("Keywords", "dog"),
        ("2:231", "note"),
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x1c\x02\x78\x00\x04", b"8BIM\x04\x04\0\0", b"abc\x1c"])
)
def test_no_bytes_are_an_error(content, start):
    read_iptc(start + content)
    datasets(start + content)
    resource(start + content, IPTC_RESOURCE)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=30), st.binary(max_size=4))
def test_any_text_in_any_declared_charset_is_some_text(text, declared):
    read_iptc(iptc_block((120, text), charset=b"\x1b" + declared))
