"""exiftool as a writer: values arrive as they are, nothing becomes an option, what it can't do is refused."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

import catalogd.sync
from catalogd.errors import ExiftoolError, SidecarRefusedError
from catalogd.metadata.exiftool import Program, find_exiftool
from catalogd.metadata.xmp import Value
from catalogd.sync.exiftool_writer import ExiftoolWriter, keeps
from catalogd.sync.packet import (
    Packet,
    bag,
    key,
    language,
    merged_language,
    same,
    seq,
    struct,
    text,
    usual_name,
)
from tests.sync.corpus import CAMERA, DEVELOP, DUBLIN, KEPT, LOOK, MASKS, lines, packet

SOURCE = packet(DUBLIN + lines(LOOK, MASKS), CAMERA + DEVELOP).encode()
FACE = struct(
    {
        "mwg-rs:Name": "Ana, {née} [Núñez] | 'A'",
        "mwg-rs:Type": "Face",
        "mwg-rs:Area": struct(
            {
                "stArea:x": "0.4",
                "stArea:y": "0.35",
                "stArea:w": "0.2",
                "stArea:h": "0.3",
                "stArea:unit": "normalized",
            }
        ),
    }
)
SIZE = struct({"stDim:w": "640", "stDim:h": "480", "stDim:unit": "pixel"})
PERSON = struct({"MPReg:PersonDisplayName": "Ana", "MPReg:Rectangle": "0.3, 0.2, 0.2, 0.3"})
VALUES = {
    "dc:description": language("A caption\nof two lines"),
    "dc:subject": bag(["dog", "a, b", " blank "]),
    "lr:hierarchicalSubject": bag(["Animals|Dog"]),
    "digiKam:TagsList": seq(["Animals/Dog"]),
    "mediapro:CatalogSets": bag(["Animals|Dog"]),
    "xmp:Rating": text("4"),
    "xmp:Label": text("Green"),
    "xmp:MetadataDate": text("2024-05-01T12:00:00+02:00"),
    "photoshop:City": text("Bergen"),
    "photoshop:State": text("Vestland"),
    "photoshop:Country": text("Norway"),
    "photoshop:SidecarForExtension": text("NEF"),
    "Iptc4xmpCore:Location": text("Bryggen"),
    "Iptc4xmpCore:CountryCode": text("NOR"),
    "Iptc4xmpCore:AltTextAccessibility": language("Two children on a jetty"),
    "Iptc4xmpExt:PersonInImage": bag(["Ana Núñez"]),
    "Iptc4xmpExt:LocationShown": bag([struct({"Iptc4xmpExt:City": "Bergen"})]),
    "mwg-rs:Regions": struct({"mwg-rs:AppliedToDimensions": SIZE, "mwg-rs:RegionList": bag([FACE, FACE])}),
    "MP:RegionInfo": struct({"MPRI:Regions": bag([PERSON])}),
}


@pytest.fixture(scope="module")
def writer():
    """One process for all tests that do it no harm."""
    with ExiftoolWriter(find_exiftool(None)) as writer:  # .ci/install brings it
        yield writer


def write(
    writer: ExiftoolWriter, folder: Path, changes: dict[str, Value | None], name: str = "a.xmp"
) -> Packet:
    source, target = folder / name, folder / ".new.xmp.tmp"
    if not source.exists():
        source.write_bytes(SOURCE)
    writer.write(bytes(source), bytes(target), changes)
    try:
        return Packet.read(target.read_bytes())
    finally:
        target.unlink()


def assert_only(after: Packet, changes: dict[str, Value | None]) -> None:
    wanted = {**Packet.read(SOURCE).properties, **changes}
    assert after.properties.keys() == {name for name, value in wanted.items() if value is not None}
    for name, value in after.properties.items():
        assert same(value, wanted[name]), usual_name(name)


def test_every_property_that_catalogd_writes_arrives_as_it_is_and_all_others_stay(writer, tmp_path):
    changes: dict[str, Value | None] = {key(name): value for name, value in VALUES.items()}
    changes[key("dc:title")] = merged_language(Packet.read(SOURCE).properties[key("dc:title")], "New")
    assert_only(write(writer, tmp_path, changes), changes)


def test_properties_are_taken_out(writer, tmp_path):
    changes = dict.fromkeys(map(key, ("dc:subject", "dc:title", "xmp:Rating", "lr:hierarchicalSubject")))
    assert_only(write(writer, tmp_path, changes), changes)


def test_exiftool_knows_every_property_of_ours(writer, tmp_path):
    """Each name in the code is one it can write, and it knows none that is nowhere written."""
    sources = "".join(path.read_text("utf-8") for path in Path(catalogd.sync.__file__).parent.glob("*.py"))
    ours = set(re.findall(r'"catalogd:([A-Z]\w+)"', sources))
    known = re.findall(
        r"^    (\w+) +=> \{ (List)?",
        Path(catalogd.sync.__file__).with_name("exiftool.cfg").read_text("utf-8"),
        re.M,
    )
    assert {name for name, _ in known} - {"GROUPS", "NAMESPACE"} == ours
    changes: dict[str, Value | None] = {
        key(f"catalogd:{name}"): bag(["a", "b c"]) if is_list else text("0.5")
        for name, is_list in known
        if name in ours
    }
    assert_only(write(writer, tmp_path, changes), changes)


HOSTILE = [
    "x\n-XMP:all=",
    "x\r-o\r/tmp/y",
    "-execute\n{ready1}",
    "#[CSTR]-XMP:all=",
    "&#xa;-XMP:all=&amp;lt;",
    "'\"`$(id)`;|&&<>",
    "%d%f.xmp @/etc/passwd <=/etc/passwd",
    "${Filename;s/.*//} $$",
    "שלום \u202eabc",
    "👩‍👩‍👧\U0010ffff\ue000",
    "  blanks  ",
    "\ttab\v\f\x1b\x7f\x85\u2028",
    "a\0b",
    "==",
    "a\\nb\\",
]


@pytest.mark.parametrize("content", HOSTILE)
def test_no_text_becomes_anything_but_a_text(content, writer, tmp_path):
    """A line break in a value was another argument: one could take all keywords out, or write a file."""
    changes: dict[str, Value | None] = {
        key("dc:description"): language(content),
        key("dc:subject"): bag([content, "b"]),
        key("photoshop:City"): text(content),
        key("mwg-rs:Regions"): struct(
            {"mwg-rs:RegionList": bag([struct({"mwg-rs:Name": content.strip(), "mwg-rs:Type": "Face"})])}
        ),
    }
    if "\r" in content:
        with pytest.raises(SidecarRefusedError, match="exiftool can't write a value of dc:description"):
            write(writer, tmp_path, changes)
    else:
        assert_only(write(writer, tmp_path, changes), changes)
    assert os.listdir(tmp_path) == ["a.xmp"]


@pytest.mark.parametrize("name", ["a\n-XMP:all=\n.xmp", "a\r.xmp", "a\x01.xmp", "a\x7f.xmp"])
def test_no_path_becomes_an_option(name, writer, tmp_path):
    with pytest.raises(SidecarRefusedError, match="control character"):
        write(writer, tmp_path, {key("xmp:Rating"): text("1")}, name)
    assert (tmp_path / name).read_bytes() == SOURCE
    assert_only(write(writer, tmp_path, {key("xmp:Rating"): text("1")}), {key("xmp:Rating"): text("1")})


@pytest.mark.parametrize(
    "name", ["-XMP:all=.xmp", "#a.xmp", "@a.XMP", " a .xmp", "日本%f.xmp", "a|b&amp;.xmp"]
)
def test_odd_names_are_names(name, writer, tmp_path):
    changes: dict[str, Value | None] = {key("xmp:Rating"): text("1")}
    assert_only(write(writer, tmp_path, changes, name), changes)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("dc:subject", bag([]), "can't write a value of dc:subject"),
        ("xmp:Label", text(""), "can't write a value"),
        ("http://else.example/ a", text("1"), "is not told of"),
        ("crs:Exposure2012", text("1"), "is not told of"),
        ("MicrosoftPhoto:Rating", text("1"), "is not told of"),
        ("dc:description", language("x" * 50_000), "too much"),
        ("dc:description", language(f"x{' ' * 2_000_000}x"), "too much"),
    ],
)
def test_what_exiftool_cannot_write_is_refused_before_it_is_asked(name, value, reason, writer, tmp_path):
    with pytest.raises(SidecarRefusedError, match=reason):
        write(writer, tmp_path, {key(name): value})


def test_what_exiftool_refuses_is_refused_with_its_words(writer, tmp_path):
    (tmp_path / "a.xmp").write_bytes(SOURCE[:2000])
    with pytest.raises(SidecarRefusedError, match="exiftool: Warning: XMP format error"):
        write(writer, tmp_path, {key("xmp:Rating"): text("1")})


@pytest.mark.parametrize("script", ["time.sleep(60)", "sys.exit(1)"])
def test_an_exiftool_that_hangs_or_dies_costs_a_deadline_and_no_more(script, tmp_path, monkeypatch):
    monkeypatch.setattr("catalogd.metadata.exiftool.START_S", 0.0)
    monkeypatch.setattr("catalogd.sync.exiftool_writer.DEADLINE_S", 0.3)
    program = tmp_path / "exiftool"
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{script}\n")
    program.chmod(0o755)
    started = time.monotonic()
    with ExiftoolWriter(Program(str(program), "12.50", "setting")) as writer, pytest.raises(ExiftoolError):
        write(writer, tmp_path, {key("xmp:Rating"): text("1")})
    assert time.monotonic() - started < 5


def test_one_that_was_killed_is_started_again(tmp_path):
    changes: dict[str, Value | None] = {key("xmp:Rating"): text("1")}
    with ExiftoolWriter(find_exiftool(None)) as writer:
        write(writer, tmp_path, changes)
        writer._exiftool._process.kill()
        writer._exiftool._process.wait()
        with pytest.raises(ExiftoolError):
            write(writer, tmp_path, changes)
        assert_only(write(writer, tmp_path, changes), changes)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("lightroom", True),
        ("digikam", False),
        ("scripts", True),
        ("darktable", False),
        ("bridge-label-empty", False),
        ("comments", False),
        ("instructions", False),
        ("foreign-elements", False),
        ("text-behind", False),
        ("utf-16-little", False),
    ],
)
def test_it_is_not_asked_about_what_it_would_lose(name, kept):
    [case] = [case for case in KEPT if case.name == name]
    assert keeps(Packet.read(case.content)) is kept
