"""Packets read strictly and edited in place: nothing but what is named changes, or they are refused."""

from __future__ import annotations

import contextlib
import re
import time
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.errors import SidecarRefusedError
from catalogd.metadata import xmp
from catalogd.metadata.xmp import Value
from catalogd.sync.packet import (
    Packet,
    bag,
    differences,
    key,
    language,
    merged_language,
    new_packet,
    same,
    seq,
    struct,
    text,
    usual_name,
)
from tests.sync.corpus import BOM, CAMERA, DUBLIN, KEPT, NAMESPACES, RDF, REFUSED, lines, packet

CHANGES = {
    key("dc:subject"): bag(["dog", 'a "b" <c> & d']),
    key("dc:title"): language("New\ntitle"),
    key("xmp:Rating"): text("2"),
    key("digiKam:TagsList"): seq(["Animals/dog"]),
    key("catalogd:OcrText"): text("EXIT\n-XMP:all=\t"),
    key("mwg-rs:Regions"): struct(
        {
            "mwg-rs:AppliedToDimensions": struct({"stDim:w": "640", "stDim:h": "480", "stDim:unit": "pixel"}),
            "mwg-rs:RegionList": bag(
                [struct({"mwg-rs:Name": "Ana", "mwg-rs:Area": struct({"stArea:x": "0.4"})})]
            ),
        }
    ),
}
# Their only description has no end tag, or there is none: what is taken out again leaves that behind.
OPENED = {"lightroom-all-attributes", "no-description", "no-description-closed"}


def value_of(packet: Packet, name: str) -> Value:
    return packet.properties[key(name)]


def array_of(kind: str, items: list[Value]) -> Value:
    value = bag(items)
    value.kind = kind
    return value


def rows(content: bytes) -> set[tuple[str, str]]:
    """What the lenient reader, which has code of its own, finds of what the changes do not name."""
    changed = tuple(map(usual_name, CHANGES))
    return {row for row in xmp.properties(content) if not row[0].startswith(changed)}


def test_there_are_enough_sidecars_to_try():
    assert len({case.name for case in (*KEPT, *REFUSED)}) == len(KEPT) + len(REFUSED) >= 60


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name)
def test_only_what_is_named_changes(case):
    before = Packet.read(case.content)
    edited = before.edited(CHANGES)
    after = Packet.read(edited)
    assert {difference.key for difference in differences(before, after)} == set(CHANGES)
    assert all(same(after.properties[name], value) for name, value in CHANGES.items())
    assert after.remarks == before.remarks
    if "declaration-behind" not in case.name and "line-ends-of-old" not in case.name:
        assert rows(edited) == rows(case.content)


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name)
def test_what_is_put_in_and_taken_out_again_leaves_every_byte_as_it_was(case):
    before = Packet.read(case.content)
    assert before.edited({}) == case.content
    added = {name: value for name, value in CHANGES.items() if name not in before.properties}
    with_them = Packet.read(before.edited(added))
    without = with_them.edited(dict.fromkeys(added))
    assert (without == case.content) is (case.name not in OPENED)
    assert not differences(before, Packet.read(without))


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_not_understood_is_refused_with_the_reason(case):
    with pytest.raises(SidecarRefusedError, match=re.escape(case.reason)):
        Packet.read(case.content)


def test_all_bytes_around_an_edit_are_those_that_were_there():
    content = packet(DUBLIN + "<!-- mine -->", CAMERA).encode()
    edited = Packet.read(content).edited({key("dc:format"): text("x"), key("xmp:Rating"): text("1")})
    assert edited == content.replace(b"image/x-nikon-nef", b"x").replace(b'Rating="3"', b'Rating="1"')


def test_a_new_property_stands_behind_the_last_one_in_the_layout_and_line_ends_of_the_file():
    content = packet(DUBLIN).replace("\n", "\r\n").encode("utf-16")
    edited = Packet.read(content).edited({key("digiKam:TagsList"): seq(["a"])}).decode("utf-16")
    last = (
        "</lr:hierarchicalSubject>\r\n   <digiKam:TagsList>\r\n    <rdf:Seq>\r\n     <rdf:li>a</rdf:li>\r\n"
    )
    assert last + "    </rdf:Seq>\r\n   </digiKam:TagsList>\r\n  </rdf:Description>" in edited


def test_a_file_in_one_line_stays_in_one_line():
    content = packet(DUBLIN).replace("\n", "").encode()
    assert b"\n" not in Packet.read(content).edited(CHANGES)


def test_an_attribute_whose_new_value_is_an_array_becomes_an_element():
    edited = Packet.read(packet("", ' dc:subject="a, b" xmp:Rating="3"').encode()).edited(CHANGES)
    assert b"dc:subject=" not in edited
    assert value_of(Packet.read(edited), "dc:subject").all() == ["dog", 'a "b" <c> & d']


def test_an_attribute_in_quotes_of_either_kind_takes_any_text():
    content = packet("", """ xmp:Label='a "b"' xmp:Rating="3>2" """).encode()
    said = "'\"<>&\n\t "
    edited = Packet.read(content).edited({key("xmp:Label"): text(said), key("xmp:Rating"): text(said)})
    after = Packet.read(edited)
    assert value_of(after, "xmp:Label").text == value_of(after, "xmp:Rating").text == said


def test_a_prefix_that_means_something_else_in_the_file_is_not_used():
    content = packet("", ' digiKam:Mine="1"').replace(NAMESPACES["digiKam"], "http://else.example/").encode()
    edited = Packet.read(content).edited({key("digiKam:TagsList"): seq(["a"])})
    assert b'<digiKam2:TagsList xmlns:digiKam2="http://www.digikam.org/ns/1.0/">' in edited
    assert Packet.read(edited).properties["http://else.example/ Mine"].text == "1"


def test_an_attribute_is_found_by_any_of_the_prefixes_of_its_namespace():
    """The prefixes of a namespace were kept as one: the other's attributes were not found again."""
    spaces = ' xmlns:one="http://v.example/" xmlns:two="http://v.example/"'
    content = packet("", f'{spaces} one:A="1" two:B="2"').encode()
    edited = Packet.read(content).edited({"http://v.example/ A": text("3"), "http://v.example/ B": None})
    assert b'one:A="3"' in edited
    assert b"two:B" not in edited


def test_a_byte_order_mark_stays():
    content = BOM + packet(DUBLIN).encode()
    assert Packet.read(content).edited(CHANGES).startswith(BOM + b"<?xpacket")


def test_comments_in_a_property_outlive_it():
    content = packet(lines("<vendor:A><!-- why --><rdf:Bag/><!-- who --></vendor:A>")).encode()
    name = f"{NAMESPACES['vendor']} A"
    kept = b"\n   <!-- why -->\n   <!-- who -->"
    assert kept + b"\n   <vendor:A>1</vendor:A>\n" in Packet.read(content).edited({name: text("1")})
    assert kept + b"\n  </rdf:Description>" in Packet.read(content).edited({name: None})


def test_a_new_packet_has_what_it_was_given_and_no_more():
    content = new_packet({**CHANGES, key("xmp:Label"): None})
    assert not differences(Packet.read(content), Packet.read(new_packet(CHANGES)))
    assert Packet.read(content).properties.keys() == CHANGES.keys()
    assert content.count(b"xmlns:dc=") == 1


def test_two_namespaces_with_one_usual_prefix_are_both_in_a_new_packet():
    old = "http://ns.microsoft.com/photo/1.0 Rating"
    content = new_packet({old: text("50"), key("MicrosoftPhoto:Rating"): text("75")})
    assert Packet.read(content).properties[old].text == "50"
    assert value_of(Packet.read(content), "MicrosoftPhoto:Rating").text == "75"


def test_differences_name_what_is_new_other_and_gone():
    before = Packet.read(packet(lines("<vendor:A>1</vendor:A>", "<vendor:B>1</vendor:B>")).encode())
    space = NAMESPACES["vendor"]
    after = Packet.read(before.edited({f"{space} A": None, f"{space} B": text("2"), f"{space} C": text("3")}))
    found = {
        it.key: (it.before and it.before.text, it.after and it.after.text)
        for it in differences(before, after)
    }
    assert found == {f"{space} A": ("1", None), f"{space} B": ("1", "2"), f"{space} C": (None, "3")}
    assert [difference.before for difference in differences(None, after)] == [None, None]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (text("a"), text("b")),
        (text(""), bag([])),
        (bag(["a"]), seq(["a"])),
        (bag(["a", "b"]), bag(["b", "a"])),
        (bag(["a"]), bag(["a", "a"])),
        (struct({"stDim:w": "1"}), struct({"stDim:h": "1"})),
        (struct({}), text("")),
        (language("a"), array_of("Alt", [text("a")])),
        (text("a"), None),
    ],
)
def test_values_that_differ_in_anything_are_not_the_same(one, other):
    assert same(one, one)
    assert not same(one, other)


def test_texts_in_named_languages_stay_when_the_one_for_all_changes():
    old = Packet.read(packet(DUBLIN).encode())
    merged = merged_language(value_of(old, "dc:title"), "New")
    assert [(item.language, item.text) for item in merged.items] == [
        ("x-default", "New"),
        ("sv-SE", "Gammal"),
    ]
    assert same(merged_language(text("plain"), "New"), language("New"))
    assert same(merged_language(None, "New"), language("New"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\0b\x01\x1f\x7f", "ab\x7f"),
        ("\ud800a\udfff\ufffe\uffff", "a"),
        ("tab\tline\nreturn\r", "tab\tline\nreturn\r"),
        ("-XMP:all=\n-execute\n{ready1}", "-XMP:all=\n-execute\n{ready1}"),
        ("]]><!-- &amp; <?x?> \"'", "]]><!-- &amp; <?x?> \"'"),
        ("  blanks  ", "  blanks  "),
        ("שלום \u202eabc👩‍👩‍👧\U0010ffff", "שלום \u202eabc👩‍👩‍👧\U0010ffff"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_every_text_is_stored_literally_but_for_what_xml_cannot_hold(given, kept, encoding):
    content = packet("", ' xmp:Label=""').encode(encoding)
    changes = {
        key("dc:description"): language(given),
        key("xmp:Label"): text(given),
        key("dc:subject"): bag([given]),
    }
    after = Packet.read(Packet.read(content).edited(changes))
    assert [value_of(after, usual_name(name)).one() for name in changes] == [kept] * 3


@pytest.mark.parametrize(
    "content",
    [
        packet(DUBLIN) + "<?" * 500_000,
        packet(DUBLIN) + "<!--" * 500_000,
        "<?xpacket " * 500_000 + packet(DUBLIN),
        packet(DUBLIN, ' xmp:Label=""' + " " * 2_000_000),
        packet(DUBLIN, " " * 2_000_000 + ' xmp:Label=""'),
        packet(DUBLIN + "\n" * 2_000_000, ' xmp:Label=""'),
        packet(DUBLIN + lines("<vendor:A/>" * 100_000), ' xmp:Label=""'),
        packet(DUBLIN + lines("<vendor:A><rdf:Bag>" + "<rdf:li/>" * 500_000 + "</rdf:Bag></vendor:A>")),
    ],
    ids=["instructions", "comments", "wrappers", "blanks", "blanks-before", "lines", "twice", "items"],
)
def test_a_hostile_packet_takes_time_in_proportion(content):
    """Blanks before the end of a tag, and instructions behind the packet, were looked at again and again."""
    started = time.process_time()
    with contextlib.suppress(SidecarRefusedError):
        Packet.read(content.encode()).edited({key("xmp:Label"): None, key("dc:subject"): bag(["a"])})
    assert time.process_time() - started < 5


# ── random packets ────────────────────────────────────────────────────────────────────────────

SPACES = [NAMESPACES["dc"], NAMESPACES["vendor"], "http://one.example/#", "urn:two&three"]
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
KEYS = st.builds("{} {}".format, st.sampled_from(SPACES), st.sampled_from(["a", "B", "c-d", "é"]))


def languages_of(value: Value) -> Value:
    """An alternative has a text in each language."""
    for number, item in enumerate(value.items):
        item.qualifiers = {xmp.LANGUAGE: Value(f"x-{number}" if number else "x-default")}
    return value


def values(least: int) -> st.SearchStrategy[Value]:
    """Values of at least so many characters, items and fields."""
    plain = st.text(st.one_of(st.sampled_from(" \t\n\r<>&'\"]"), CHARACTERS), min_size=least, max_size=8)
    words = st.text(CHARACTERS, min_size=least)
    alternative = st.builds(array_of, st.just("Alt"), st.lists(words.map(text), min_size=least, max_size=3))
    return st.recursive(
        plain.map(text),
        lambda inner: st.one_of(
            st.builds(array_of, st.sampled_from(["Bag", "Seq"]), st.lists(inner, min_size=least, max_size=3)),
            alternative.map(languages_of),
            st.dictionaries(KEYS, inner, min_size=least, max_size=3).map(struct),
        ),
        max_leaves=6,
    )


VALUES = values(0)
PROPERTIES = st.dictionaries(KEYS, VALUES, max_size=6)
PLAIN_PROPERTIES = st.dictionaries(KEYS, values(1), max_size=6)  # which exiftool would keep


class Notation:
    """Writes a packet in one of the many ways that mean the same, as `draw` decides."""

    def __init__(self, draw: st.DrawFn, blanks: list[str]) -> None:
        self._draw = draw
        self._blanks = blanks  # what may stand between elements

    def _either(self) -> bool:
        return self._draw(st.booleans())

    def _blank(self) -> str:
        return self._draw(st.sampled_from(self._blanks))

    def _name(self, name: str) -> tuple[str, str]:
        """The name with a prefix, and its declaration."""
        space, _, local = name.rpartition(" ")
        if self._either():
            return f"p{SPACES.index(space)}:{local}", ""
        return f"q:{local}", f" xmlns:q={quoteattr(space)}"

    def packet(self, properties: dict[str, Value]) -> bytes:
        spaces = "".join(f" xmlns:p{number}={quoteattr(space)}" for number, space in enumerate(SPACES))
        groups = [properties]
        if self._either():
            names = sorted(properties)
            groups = [{name: properties[name] for name in part} for part in (names[::2], names[1::2])]
        body = self._blank().join(self.description(group) for group in groups)
        return f'<r:RDF xmlns:r="{RDF}"{spaces}>{self._blank()}{body}{self._blank()}</r:RDF>'.encode()

    def description(self, fields: dict[str, Value]) -> str:
        attributes, elements = "", self._blank()
        for name, value in fields.items():
            if not value.kind and self._either():
                space, _, local = name.rpartition(" ")
                attributes += f" p{SPACES.index(space)}:{local}={self.quoted(value.text)}"
            else:
                elements += self.element(name, value) + self._blank()
        if not elements and self._either():
            return f"<r:Description{attributes}/>"
        return f"<r:Description{attributes}>{elements}</r:Description>"

    def quoted(self, content: str) -> str:
        return quoteattr(content, {blank: f"&#{ord(blank)};" for blank in "\t\n\r"})

    def element(self, name: str, value: Value) -> str:
        tag, declaration = self._name(name) if name != RDF + " li" else ("r:li", "")
        declaration += f' xml:lang="{value.language}"' if value.language else ""
        if value.kind == "struct" and self._either():
            fields = "".join(self._blank() + self.element(*field) for field in value.fields.items())
            return f'<{tag}{declaration} r:parseType="Resource">{fields}{self._blank()}</{tag}>'
        if value.kind == "struct":
            return (
                f"<{tag}{declaration}>{self._blank()}{self.description(value.fields)}{self._blank()}</{tag}>"
            )
        if value.kind:
            items = "".join(self._blank() + self.element(RDF + " li", item) for item in value.items)
            array = f"<r:{value.kind}>{items}{self._blank()}</r:{value.kind}>"
            return f"<{tag}{declaration}>{self._blank()}{array}{self._blank()}</{tag}>"
        return f"<{tag}{declaration}>{self.quoted(value.text)[1:-1]}</{tag}>"


@st.composite
def written(draw: st.DrawFn) -> tuple[dict[str, Value], bytes]:
    """Properties, and a packet of them."""
    properties = draw(PROPERTIES)
    return properties, Notation(draw, ["", "\n", "\r\n  ", " <!-- x --> ", "<?y z?>"]).packet(properties)


@st.composite
def plainly_written(draw: st.DrawFn) -> tuple[dict[str, Value], bytes]:
    """The same without empty values and remarks, which exiftool loses, in the wrapper that it looks for."""
    properties = draw(PLAIN_PROPERTIES)
    packet = Notation(draw, ["", "\n", "\r\n  "]).packet(properties)
    return properties, b'<x:xmpmeta xmlns:x="adobe:ns:meta/">%s</x:xmpmeta>' % packet


@settings(max_examples=40, deadline=None)
@given(written(), st.dictionaries(KEYS, st.none() | VALUES, max_size=4))
def test_random_packets_are_read_as_they_were_meant_and_survive_random_changes(random, changes):
    properties, content = random
    before = Packet.read(content)
    assert before.properties.keys() == properties.keys()
    assert all(same(value, properties[name]) for name, value in before.properties.items())
    after = Packet.read(before.edited(changes))
    wanted = {name: value for name, value in (properties | changes).items() if value is not None}
    assert after.properties.keys() == wanted.keys()
    assert all(same(value, wanted[name]) for name, value in after.properties.items())
    assert after.remarks == before.remarks


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_bytes_that_rot_are_refused_or_kept_and_never_anything_else(data):
    content = bytearray(packet(DUBLIN, CAMERA).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        before = Packet.read(bytes(content))
    except SidecarRefusedError:
        return
    added = {key("catalogd:OcrText"): text("x")}
    after = Packet.read(before.edited(added))
    assert {difference.key for difference in differences(before, after)} == set(added)
