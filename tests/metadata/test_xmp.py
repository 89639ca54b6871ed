"""XMP packets of every notation, encoding and kind of damage become a tree of values."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata.xmp import MAX_DEPTH, MAX_VALUES, NAMESPACES, parse, properties
from tests.packets import xmp_array, xmp_packet

NAMESPACE = dict(NAMESPACES)
STRUCT = "<exif:Flash{resource}>{node}<exif:Fired>True</exif:Fired><exif:Mode>2</exif:Mode>{end}</exif:Flash>"


@pytest.mark.parametrize(
    ("body", "attributes"),
    [
        ("<xmp:Rating>4</xmp:Rating>", ""),
        ("", 'xmp:Rating="4"'),
        ("<xmp:Rating><rdf:Description><rdf:value>4</rdf:value></rdf:Description></xmp:Rating>", ""),
        ('<xmp:Rating rdf:parseType="Resource"><rdf:value>4</rdf:value></xmp:Rating>', ""),
        ('<xmp:Rating rdf:value="4"/>', ""),
        ('<xmp:Rating rdf:resource="4"/>', ""),
        ("<xmp:Rating><![CDATA[4]]></xmp:Rating>", ""),
        ("<xmp:Rating>&#52;</xmp:Rating>", ""),
    ],
)
def test_a_simple_value_has_many_notations(body, attributes):
    assert properties(xmp_packet(body, attributes)) == [("xmp:Rating", "4")]


@pytest.mark.parametrize(
    "body",
    [
        STRUCT.format(resource=' rdf:parseType="Resource"', node="", end=""),
        STRUCT.format(resource="", node="<rdf:Description>", end="</rdf:Description>"),
        '<exif:Flash exif:Fired="True" exif:Mode="2"/>',
        '<exif:Flash><rdf:Description exif:Fired="True" exif:Mode="2"/></exif:Flash>',
        '<exif:Flash><exif:FlashType exif:Fired="True" exif:Mode="2"/></exif:Flash>',
    ],
)
def test_a_structure_has_many_notations(body):
    packet = xmp_packet(body)
    assert properties(packet) == [("exif:Flash/exif:Fired", "True"), ("exif:Flash/exif:Mode", "2")]
    assert parse(packet).get("exif:Flash", "exif:Fired").text == "True"


def test_arrays_keep_their_order_and_their_kind():
    root = parse(
        xmp_packet(xmp_array("dc:subject", "b", "a", "b") + xmp_array("dc:creator", "Ann", kind="Seq"))
    )
    assert (root.get("dc:subject").kind, root.get("dc:subject").all()) == ("Bag", ["b", "a", "b"])
    assert (root.get("dc:creator").kind, root.get("dc:creator").all()) == ("Seq", ["Ann"])


def test_of_languages_the_default_is_shown():
    german_first = (
        '<dc:title><rdf:Alt><rdf:li xml:lang="de">Der Hund</rdf:li>'
        '<rdf:li xml:lang="x-default">The dog</rdf:li></rdf:Alt></dc:title>'
    )
    packet = xmp_packet(german_first)
    assert parse(packet).get("dc:title").one() == "The dog"
    assert properties(packet) == [("dc:title[de]", "Der Hund"), ("dc:title[x-default]", "The dog")]
    no_default = xmp_packet(german_first.replace("x-default", "en"))
    assert parse(no_default).get("dc:title").one() == "Der Hund"


def test_qualifiers_stay_with_their_value():
    body = (
        '<dc:source rdf:parseType="Resource"><rdf:value>abc</rdf:value><dc:type>scheme</dc:type></dc:source>'
        "<dc:subject><rdf:Bag><rdf:li><rdf:Description><rdf:value>dog</rdf:value>"
        "<dc:type>guess</dc:type></rdf:Description></rdf:li></rdf:Bag></dc:subject>"
    )
    assert properties(xmp_packet(body)) == [
        ("dc:source", "abc"),
        ("dc:source?dc:type", "scheme"),
        ("dc:subject[1]", "dog"),
        ("dc:subject[1]?dc:type", "guess"),
    ]


def test_names_go_by_their_namespace_and_not_by_their_prefix():
    packet = (
        b"<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><r:Description "
        b"xmlns:q='http://purl.org/dc/elements/1.1/' xmlns:dc='http://example.org/' dc:title='other'>"
        b"<q:title>mine</q:title></r:Description></r:RDF>"
    )
    assert properties(packet) == [("{http://example.org/}title", "other"), ("dc:title", "mine")]
    assert parse(packet).get("dc:title").text == "mine"


def test_the_first_of_two_properties_of_one_name_counts():
    root = parse(xmp_packet("<xmp:Label>Red</xmp:Label><xmp:Label>Blue</xmp:Label>", 'xmp:Rating="1"'))
    assert root.get("xmp:Label").text == "Red"


def test_a_value_at_the_top_does_not_take_the_place_of_all():
    root = parse(xmp_packet("<rdf:value>x</rdf:value>", 'xmp:Rating="1"'))
    assert root.get("xmp:Rating").text == "1"


def test_an_extended_packet_adds_what_the_first_does_not_say():
    root = parse(xmp_packet("", 'xmp:Rating="1"'), xmp_packet("", 'xmp:Rating="2" xmp:Label="Red"'))
    assert (root.get("xmp:Rating").text, root.get("xmp:Label").text) == ("1", "Red")


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_every_encoding_is_told_from_the_bytes(encoding, mark, wrapped):
    text = xmp_packet("<xmp:Label>Ærø 赤 😀</xmp:Label>", wrapped=wrapped).decode()
    for padding in ("", "\n  "):
        packet = (mark + padding + text).encode(encoding)
        assert properties(packet) == [("xmp:Label", "Ærø 赤 😀")]


def test_an_xml_declaration_that_lies_does_no_harm():
    packet = b'<?xml version="1.0" encoding="UTF-16"?>' + xmp_packet("<xmp:Label>r\xf8d</xmp:Label>")
    assert properties(packet) == [("xmp:Label", "rød")]
    behind = xmp_packet("<xmp:Label>red</xmp:Label>").replace(
        b"<x:xmpmeta", b'<?xml version="1.0"?><x:xmpmeta'
    )
    assert properties(behind) == [("xmp:Label", "red")]


def test_latin_1_in_a_utf_8_packet_is_read_byte_by_byte():
    packet = xmp_packet("<dc:title>Mål</dc:title><dc:source>CAFE</dc:source>").replace(b"CAFE", b"caf\xe9")
    assert properties(packet) == [("dc:title", "Mål"), ("dc:source", "café")]


def test_characters_that_xml_forbids_are_left_out():
    assert properties(xmp_packet("<dc:source>a\x00b\x0bc</dc:source>")) == [("dc:source", "abc")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda packet: packet[: packet.index(b"AFTER")],
        lambda packet: packet.replace(b"<dc:source", b"<nobody:source"),
        lambda packet: packet.replace(b"AFTER", b"&what;"),
        lambda packet: packet.replace(b"AFTER", b"</oops>"),
        lambda packet: packet + b"\0\0 trailing <garbage",
    ],
)
def test_what_stands_before_damage_is_kept(damage):
    packet = xmp_packet("<xmp:Label>Red</xmp:Label><dc:source>AFTER</dc:source>")
    assert properties(damage(packet))[0] == ("xmp:Label", "Red")


@pytest.mark.parametrize(
    "doctype",
    [
        b'<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        b'<!DOCTYPE x [<!ENTITY c SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
    ],
)
def test_a_packet_with_a_document_type_is_refused_whole(doctype):
    packet = doctype + xmp_packet("<xmp:Label>Red</xmp:Label><dc:source>&c;</dc:source>", wrapped=False)
    assert properties(packet) == []
    assert properties(xmp_packet("<dc:source>x</dc:source>"), packet) == [("dc:source", "x")]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"<",
        b"\0<\0",
        b"<x",
        b"\xff\xfe<",
        b"plain text",
        b"<html><body>no</body></html>",
        b"<rdf:RDF/>",
        xmp_packet("<a><b>not in a namespace</b></a>"),
        b"\0" * 1000,
    ],
)
def test_what_is_no_packet_has_no_properties(packet):
    assert properties(packet) == []


def test_depth_and_number_of_values_are_bounded():
    deep = xmp_packet("<xmp:Label>Red</xmp:Label>" + "<dc:source>" * 100_000)
    assert properties(deep)[0] == ("xmp:Label", "Red")
    nested = "<dc:source rdf:parseType='Resource'>" * (MAX_DEPTH + 10) + "</dc:source>" * (MAX_DEPTH + 10)
    assert properties(xmp_packet(nested)) == []
    many = xmp_packet(xmp_array("dc:subject", *["x"] * (MAX_VALUES + 1000)))
    assert MAX_VALUES - 100 < len(parse(many).get("dc:subject").items) <= MAX_VALUES


def test_time_is_linear_in_the_packet():
    """Twenty thousand attributes, namespaces and references take a fraction of a second each."""
    attributes = " ".join(f'dc:a{i}="{i}"' for i in range(20_000))
    spaces = " ".join(f'xmlns:n{i}="http://n/{i}"' for i in range(20_000))
    text = "<dc:source>" + "a&amp;" * 200_000 + "</dc:source>"
    declarations = b"<?xml " * 200_000
    for packet in (xmp_packet("", attributes), xmp_packet("", spaces), xmp_packet(text), declarations):
        started = time.process_time()
        parse(packet)
        assert time.process_time() - started < 2


def test_memory_is_linear_in_the_packet():
    """expat wrote a namespace of 300 kB out for each of 3,000 attributes: 3 GB and 9 s."""
    namespace = "n" * 300_000
    fields = " ".join(f'a:b{i}=""' for i in range(3000))
    packet = xmp_packet("<dc:source>kept</dc:source>" + f'<a:b xmlns:a="{namespace}" {fields}/>')
    tracemalloc.start()
    try:
        assert properties(packet) == [("dc:source", "kept")]
        assert tracemalloc.get_traced_memory()[1] < 8 * len(packet)
    finally:
        tracemalloc.stop()


def test_what_stands_behind_the_first_refusal_is_not_read():
    """A handler that raises does not stop expat: it went on to the end of what it was given."""
    packet = xmp_packet("<dc:source>" * MAX_DEPTH + "<dc:source/>" * 2_000_000)
    started = time.process_time()
    parse(packet)
    assert time.process_time() - started < 0.5


def test_how_a_photo_was_edited_is_listed_but_no_property_of_its_facts():
    spaces = " ".join(f'xmlns:{prefix}="{NAMESPACE[prefix]}"' for prefix in ("crs", "xmpMM", "stEvt"))
    packet = xmp_packet(
        '<crs:Look rdf:parseType="Resource"><crs:Name>Portrait</crs:Name></crs:Look>'
        '<xmpMM:History><rdf:Seq><rdf:li stEvt:action="saved"/></rdf:Seq></xmpMM:History>'
        "<dc:source>kept</dc:source>",
        f'{spaces} crs:Exposure2012="+0.50" xmp:Rating="4"',
    )
    assert [name.partition(" ")[2] for name in parse(packet).fields] == ["Rating", "source"]
    assert dict(properties(packet)) == {
        "crs:Exposure2012": "+0.50",
        "xmp:Rating": "4",
        "crs:Look/crs:Name": "Portrait",
        "xmpMM:History[1]/stEvt:action": "saved",
        "dc:source": "kept",
    }


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_are_an_error(content):
    properties(content)
    properties(b"<" + content)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damaged_packet_is_an_error(data):
    packet = bytearray(
        xmp_packet(
            xmp_array("dc:title", "a", "b", kind="Alt") + '<exif:Flash exif:Fired="True"/>', 'xmp:Rating="1"'
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    properties(bytes(packet[: data.draw(st.integers(0, len(packet)))]))


XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20
)


@settings(max_examples=100, deadline=None)
@given(st.lists(XML_TEXT, max_size=6))
def test_texts_come_back_as_they_were_written(texts):
    escaped = [text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for text in texts]
    assert parse(xmp_packet(xmp_array("dc:subject", *escaped))).get("dc:subject").all() == texts
