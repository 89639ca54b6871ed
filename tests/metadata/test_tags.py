"""Every tag of a photo, for people."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata import Blocks
from catalogd.metadata.tags import list_tags
from tests.factory import (
    ASCII,
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    colour_exif,
    exif_block,
    tiff_block,
)
from tests.metadata import notes


def tags_of(block: bytes) -> dict[tuple[str, str], str]:
    return {(group, name): value for group, name, value in list_tags(Blocks((block,)))}


def test_tags_have_groups_and_names():
    tags = tags_of(exif_block(6))
    assert tags["EXIF main", "Orientation"] == "6"
    assert tags["EXIF", "FNumber"] == "2.8"
    assert tags["EXIF", "DateTimeOriginal"] == "2024:05:01 17:30:15"
    assert tags["GPS", "GPSLatitude"] == "48, 8, 15"
    assert tags["GPS", "GPSLatitudeRef"] == "N"
    assert tags_of(colour_exif(1, "R98"))["Interoperability", "InteropIndex"] == "R98"


def test_a_maker_note_is_listed_with_its_maker():
    tags = tags_of(notes.canon(t7777=(SHORT, 7)))
    assert tags["Canon maker note", "SerialNumber"] == "123456"
    assert tags["Canon maker note", "0x7777"] == "7"
    assert tags["EXIF", "MakerNote"].startswith("(binary, ")


def test_every_directory_of_a_file_is_listed():
    block = tiff_block({0x0110: (ASCII, "A")}, {0x0103: (SHORT, 7)}, links={0x014A: 1})
    assert tags_of(block)["EXIF directory 2", "Compression"] == "7"


def test_the_directories_of_a_cr3_are_listed():
    blocks = Blocks((tiff_block({0x0110: (ASCII, "EOS R6")}), tiff_block({0x8827: (SHORT, 400)}), b"", b""))
    assert list(list_tags(blocks)) == [("EXIF main", "Model", "EOS R6"), ("EXIF", "ISOSpeedRatings", "400")]


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ((UNDEFINED, b"0232"), "0232"),
        ((UNDEFINED, b"\1"), "1"),
        ((UNDEFINED, bytes(1234)), "(binary, 1,234 bytes)"),
        ((BYTE, bytes(range(4))), "0, 1, 2, 3"),
        ((BYTE, bytes(6324)), "(binary, 6,324 bytes)"),
        ((ASCII, "word " * 1000), "word " * 100 + "… (4,999 characters)"),
        ((SHORT, list(range(20))), ", ".join(map(str, range(16))) + ", … (20 values)"),
        ((RATIONAL, [(1, 3), (0, 0)]), "0.3333333333, unknown"),
        ((LONG, []), ""),
    ],
)
def test_values_are_spelled_for_people(entry, shown):
    assert tags_of(tiff_block({0xF000: entry})).get(("EXIF main", "0xF000"), "") == shown


def test_a_value_behind_the_end_is_said_to_be_damaged():
    assert tags_of(tiff_block({0xF000: (LONG, [1, 2, 3])})[:-4])["EXIF main", "0xF000"] == "(damaged)"


def test_comments_and_the_words_of_windows_are_text():
    title = (BYTE, "Zoë\0".encode("utf-16-le"))
    comment = (UNDEFINED, b"UNICODE\0" + "Größe".encode("utf-16-le"))
    tags = tags_of(tiff_block({0x9C9B: title}, {0x9286: comment}, links={0x8769: 1}))
    assert tags["EXIF main", "XPTitle"] == "Zoë"
    assert tags["EXIF", "UserComment"] == "Größe"


def test_iptc_xmp_and_text_follow():
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    iptc = b"\x1c\x02\x05\0\5Title"
    tags = list(list_tags(Blocks(xmp=xmp, iptc=iptc, text=(("Author", "Anna"),))))
    assert tags == [("IPTC", "ObjectName", "Title"), ("XMP", "xmp:Rating", "4"), ("Text", "Author", "Anna")]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_hostile_bytes_never_raise(data):
    block = bytearray(data.draw(st.sampled_from([exif_block(), notes.canon(), notes.nikon(), notes.apple()])))
    for _ in range(data.draw(st.integers(1, 12))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    for group, name, value in list_tags(Blocks((bytes(block),))):
        assert group
        assert name
        assert len(value) < 1000
