"""The TIFF structure, from plausible and from hostile bytes."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata.tiff import MAX_DIRECTORIES, Tiff, decode_text
from tests.factory import ASCII, LONG, RATIONAL, SHORT, SIGNED_RATIONAL, UNDEFINED, big_tiff_block, tiff_block

ENTRIES = {
    0x0110: (ASCII, "A camera of some name"),
    0x0112: (SHORT, 6),
    0x829A: (RATIONAL, (1, 250)),
    0x9204: (SIGNED_RATIONAL, (-2, 3)),
    0xA432: (RATIONAL, [(24, 1), (70, 1), (0, 0), (28, 10)]),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("block", [tiff_block, big_tiff_block], ids=["TIFF", "BigTIFF"])
def test_values_of_every_kind_are_read(block, order):
    main = Tiff(block(ENTRIES, order=order)).main()
    assert main.text(0x0110) == "A camera of some name"
    assert main.number(0x0112) == 6
    assert isinstance(main.number(0x0112), int)
    assert main.number(0x829A) == 0.004
    assert main.number(0x9204) == pytest.approx(-2 / 3)
    assert main.fractions(0xA432) == (24, 70, None, 2.8)
    assert main.numbers(0xA432) == ()
    assert list(main) == list(ENTRIES)


@pytest.mark.parametrize("block", [tiff_block, big_tiff_block], ids=["TIFF", "BigTIFF"])
def test_a_linked_directory_is_found(block):
    tiff = Tiff(block({0x0112: (SHORT, 1)}, {0x8827: (SHORT, 400)}, links={0x8769: 1}))
    assert tiff.linked(tiff.main(), 0x8769).number(0x8827) == 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"II",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\0",
        b"II+\0\x08\0\0\0",
        b"IJ*\0\x08\0\0\0",
    ],
)
def test_a_header_without_a_directory_gives_an_empty_one(content):
    assert list(Tiff(content).main()) == []


def test_a_value_that_does_not_fit_the_file_is_absent():
    block = tiff_block({0x0110: (ASCII, "A camera of some name")})
    main = Tiff(block[:-4]).main()
    assert main.span(0x0110) == (0, 0)
    assert main.text(0x0110) == "A camera of some n"
    assert Tiff(tiff_block({0x829A: (RATIONAL, (1, 2))})[:-1]).main().numbers(0x829A) == ()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Zürich, Straße".encode(), "Zürich, Straße"),
        ("Zürich, Straße".encode("latin-1"), "Zürich, Straße"),
        ("it’s “Bébé”, créée été".encode("cp1252"), "it’s “Bébé”, créée été"),
        ("富士山の朝".encode("cp932"), "富士山の朝"),
        ("山田太郎".encode("cp932"), "山田太郎"),
        ("カメラ EOS".encode("cp932"), "カメラ EOS"),
        ("Zürich é".encode()[:-1], "Zürich "),
        (b"Caf\xe9", "Café"),
        (b"\x81\x8d", "\x81\x8d"),
    ],
)
def test_text_of_unknown_charset_is_decoded(raw, text):
    assert decode_text(raw) == text


@pytest.mark.parametrize(
    "text",
    [
        "élève",
        "événement",
        "préférée",
        "blåbærsyltetøj",
        "šešir",
        "Ålesund, Tromsø",
        "L’été à l’œuvre",
        "“A”, “B”",
    ],
)
def test_western_text_is_not_taken_for_japanese(text):
    """Two letters with accents, each before one without, were read as two kanji: "élève" was 駘钁e."""
    assert decode_text(text.encode("cp1252")) == text


@given(st.binary(max_size=60))
def test_any_bytes_are_some_text(raw):
    assert isinstance(decode_text(raw), str)


def test_text_ends_at_its_first_nul_and_stands_on_one_line():
    model = b"Cam\x07era\r\n  \xe9\0hidden"
    main = Tiff(tiff_block({0x0110: (ASCII, model), 0x9286: (UNDEFINED, bytes(5))})).main()
    assert main.text(0x0110) == "Cam era é"
    assert main.text(0x9286) is None


def test_directories_that_point_to_themselves_are_visited_once():
    block = bytearray(tiff_block({0x0112: (SHORT, 6), 0x014A: (LONG, 8)}))
    block[-4:] = struct.pack("<I", 8)
    assert len(list(Tiff(bytes(block)).directories())) == 1


def test_a_long_chain_of_directories_is_cut():
    chain = b"".join(struct.pack("<HI", 0, 8 + 6 * (i + 1)) for i in range(5000))
    assert len(list(Tiff(b"II*\0\x08\0\0\0" + chain).directories())) == MAX_DIRECTORIES


@pytest.mark.parametrize(
    "start", [b"II*\0\x08\0\0\0" + b"\xff" * 2, b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**64 - 1)]
)
def test_a_directory_of_countless_entries_costs_little(start):
    content = start + bytes(1 << 20)
    started = time.process_time()
    assert len(list(Tiff(content).main())) <= 1024
    assert time.process_time() - started < 0.05


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"]),
    st.binary(max_size=300),
)
def test_random_directories_never_raise(start, body):
    for directory in Tiff(start + body).directories():
        for tag in directory:
            directory.numbers(tag)
            directory.text(tag)
            directory.raw(tag, 100)
            directory.span(tag)
