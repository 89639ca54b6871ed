"""Where previews are found: in containers of each maker, built here as their makers lay them out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.images import previews
from catalogd.images.previews import MAX_PREVIEWS, Preview, mpf_previews, note_previews, raw_previews
from catalogd.images.raw import read_raw_blocks
from catalogd.metadata import read_facts
from tests import factory
from tests.factory import ASCII, LONG, SHORT, UNDEFINED

SHOWN = factory.jpeg_bytes(factory.scene(60, 80, seed=3), exif=factory.exif_block(6))
IFD = 13  # the TIFF type of a place of a directory


def found(content):
    return [content[start : start + size] for start, size in raw_previews(content)]


# ── containers ────────────────────────────────────────────────────────────────────────────────


def ifd(*rows):
    """A directory of rows (tag, type, count, value), each value in its row."""
    return struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)


def box(kind, *content):
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def uuid(name, *content):
    return box(b"uuid", bytes.fromhex(name), *content)


def cr3(track=b""):
    """A CR3 whose preview box holds SHOWN and whose first track is `track`."""
    directories = [
        factory.tiff_block({0x010F: (ASCII, "Canon"), 0x0110: (ASCII, "Canon EOS R5")}),
        factory.tiff_block({0x9003: (ASCII, "2024:05:01 17:30:15")}),
        factory.tiff_block({0x0095: (ASCII, "a lens")}),
        factory.tiff_block({1: (ASCII, "N")}),
    ]
    names = (b"CMT1", b"CMT2", b"CMT3", b"CMT4")
    metadata = uuid("85c0b687820f11e08111f4ce462b6a48", *map(box, names, directories))

    def start(place):
        sizes = box(b"stsz", struct.pack(">IIII", 0, 0, 1, len(track)))
        places = box(b"co64", struct.pack(">IIQ", 0, 1, place))
        table = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", sizes, places))))
        preview = struct.pack(">IHHHHI", 0, 1, 80, 60, 1, len(SHOWN)) + SHOWN
        return b"".join(
            (
                box(b"ftyp", b"crx \0\0\0\1crx isom"),
                box(b"moov", metadata, table),
                uuid("be7acfcb97a942e89c71999491e3afac", b"<packet/>"),
                uuid("eaf42b5e1c984b88b9fbb7dc406e4d16", bytes(8), box(b"PRVW", preview)),
                struct.pack(">I", 8 + len(track)) + b"mdat",
            )
        )

    return start(len(start(0))) + track


def raf():
    return b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 160, len(SHOWN)) + bytes(68) + SHOWN


def rw2():
    """The preview is the value of a tag of the first directory."""
    block = struct.pack("<2sHI", b"II", 0x55, 8) + ifd((0x002E, UNDEFINED, len(SHOWN), 100))
    return block.ljust(100, b"\0") + SHOWN


def mrw():
    """The TIFF block comes after the block of dimensions; the maker note counts from the TIFF header."""
    exif = with_note(minolta_note)
    blocks = b"\0PRD" + struct.pack(">I", 24) + bytes(24) + b"\0TTW" + struct.pack(">I", len(exif)) + exif
    return b"\0MRM" + struct.pack(">I", len(blocks)) + blocks


def crw():
    heap = SHOWN + struct.pack("<H", 2) + struct.pack("<HII", 0x080A, 4, 0)
    heap += struct.pack("<HII", 0x2007, len(SHOWN), 0) + struct.pack("<I", len(SHOWN))
    return b"II" + struct.pack("<I", 26) + b"HEAPCCDR" + bytes(12) + heap


def x3f():
    header = b"FOVb".ljust(40, b"\0")
    image = struct.pack("<4sIIIIII", b"SECi", 0x20000, 2, 18, 80, 60, 0) + SHOWN
    directory = b"SECd" + struct.pack("<II", 0x20000, 2)
    directory += struct.pack("<II4s", 40, 4, b"PROP") + struct.pack("<II4s", 40, len(image), b"IMA2")
    return header + image + directory + struct.pack("<I", len(header + image))


@pytest.mark.parametrize("make", [cr3, raf, rw2, crw, x3f])
def test_the_preview_of_each_container_is_found(make):
    assert found(make()) == [SHOWN]


def test_the_preview_and_the_exif_of_a_minolta_raw_file_are_found():
    assert found(mrw())[0].startswith(SHOWN)
    assert read_facts(read_raw_blocks(mrw())).camera == "NIKON Z 6_2"


def test_the_full_size_track_of_a_cr3_is_found_and_its_sensor_data_is_not():
    full = factory.jpeg_bytes(factory.scene(90, 120))
    assert found(cr3(full)) == [full, SHOWN]
    assert found(cr3(b"\xff\x01" + bytes(500))) == [SHOWN]


def test_the_metadata_of_a_cr3_is_in_its_boxes():
    blocks = read_raw_blocks(cr3())
    assert blocks.xmp == b"<packet/>"
    facts = read_facts(blocks)
    assert (facts.camera, facts.taken_at) == ("Canon EOS R5", "2024-05-01T17:30:15")


@pytest.mark.parametrize("make", [raf, crw, x3f])
def test_a_container_without_exif_has_that_of_its_preview(make):
    assert read_facts(read_raw_blocks(make())).camera == "NIKON Z 6_2"


def test_xmp_and_iptc_of_a_tiff_based_raw_file_are_found():
    main = {0x010F: (ASCII, "x"), 0x02BC: (UNDEFINED, b"<packet/>"), 0x83BB: (UNDEFINED, b"\x1c\2\5\0\1a")}
    blocks = read_raw_blocks(factory.tiff_block(main))
    assert (blocks.xmp, blocks.iptc) == (b"<packet/>", b"\x1c\2\5\0\1a")
    resources = b"8BIM\x04\x04\0\0\0\0\0\6\x1c\2\5\0\1b"
    blocks = read_raw_blocks(factory.tiff_block({0x8649: (UNDEFINED, resources)}))
    assert blocks.iptc == b"\x1c\2\5\0\1b"


def test_a_place_larger_than_any_preview_is_none(monkeypatch):
    monkeypatch.setattr(previews, "MAX_PREVIEW_BYTES", len(SHOWN) - 1)
    assert found(raf()) == []


@pytest.mark.parametrize("photometric", [4, 32803, 34892, 51177])
def test_sensor_data_masks_and_depth_that_are_jpegs_are_no_previews(photometric):
    size = len(SHOWN)
    directory = {0x0103: (SHORT, 7), 0x0106: (SHORT, photometric), 0x0111: (LONG, -1), 0x0117: (LONG, size)}
    assert found(factory.tiff_block(directory, tail=SHOWN)) == []
    assert found(factory.tiff_block({**directory, 0x0106: (SHORT, 6)}, tail=SHOWN)) == [SHOWN]


# ── maker notes ───────────────────────────────────────────────────────────────────────────────
# Each takes where the note starts, where the preview does, and the preview's bytes; places count
# from the TIFF header.


def minolta_note(note, start, size):
    return ifd((0x0088, LONG, 1, start), (0x0089, LONG, 1, size))


def canon_note(note, start, size):
    return ifd((0x00B6, LONG, 6, note + 18)) + struct.pack("<6I", 24, 2, size, 80, 60, start)


def sony_note(note, start, size):
    return b"SONY DSC \0\0\0" + ifd((0x2001, UNDEFINED, size, start))


def nikon_note(note, start, size):
    own = start - note - 10
    second = ifd((0x0201, LONG, 1, own), (0x0202, LONG, 1, size))
    return b"Nikon\0\2\x10\0\0II*\0\x08\0\0\0" + ifd((0x0011, LONG, 1, 26)) + second


def olympus_note(note, start, size):
    second = ifd((0x0101, LONG, 1, start - note), (0x0102, LONG, 1, size))
    return b"OLYMPUS\0II\3\0" + ifd((0x2020, IFD, 1, 30)) + second


def om_note(note, start, size):
    second = ifd((0x0101, LONG, 1, start - note), (0x0102, LONG, 1, size))
    return b"OM SYSTEM\0\0\0II\4\0" + ifd((0x2020, IFD, 1, 34)) + second


def old_olympus_note(note, start, size):
    second = ifd((0x0101, LONG, 1, start), (0x0102, LONG, 1, size))
    return b"OLYMP\0\1\0" + ifd((0x2020, LONG, 1, note + 26)) + second


def pentax_note(note, start, size):
    return b"PENTAX \0II" + ifd((0x0003, LONG, 1, size), (0x0004, LONG, 1, start - note))


def old_pentax_note(note, start, size):
    return b"AOC\0II" + ifd((0x0003, LONG, 1, size), (0x0004, LONG, 1, start))


NOTES = [
    minolta_note,
    canon_note,
    sony_note,
    nikon_note,
    olympus_note,
    om_note,
    old_olympus_note,
    pentax_note,
    old_pentax_note,
]


def with_note(make, between=0, magic=42):
    """A TIFF structure with a maker note; SHOWN, which the note names, is `between` bytes behind it."""
    filler = b"\xa5" * len(make(100, 100_000, len(SHOWN)))
    main = {0x010F: (ASCII, "NIKON CORPORATION"), 0x0110: (ASCII, "NIKON Z 6_2")}
    detail = {0x9003: (ASCII, "2024:05:01 17:30:15"), 0x927C: (UNDEFINED, filler)}
    block = factory.tiff_block(main, detail, links={0x8769: 1}, magic=magic)
    note = make(block.index(filler), len(block) + between, len(SHOWN))
    return block.replace(filler, note) + bytes(between) + SHOWN


@pytest.mark.parametrize("make", NOTES)
def test_the_preview_that_a_makers_note_names_is_found_in_raw_files(make):
    assert found(with_note(make)) == [SHOWN]
    assert found(with_note(make, magic=0x4F52)) == [SHOWN]


@pytest.mark.parametrize("make", NOTES)
def test_the_preview_that_a_makers_note_names_is_found_behind_a_jpeg(make):
    """The places count from the EXIF's TIFF header and lie beyond its segment."""
    block = with_note(make, between=5000)
    start = 12
    assert list(note_previews(bytes(start) + block, start)) == [
        Preview(start + len(block) - len(SHOWN), len(SHOWN))
    ]


# ── hostile bytes ─────────────────────────────────────────────────────────────────────────────

CONTAINERS = [cr3(SHOWN), raf(), rw2(), mrw(), crw(), x3f(), *(with_note(make) for make in NOTES)]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_what_is_damaged_names_no_place_outside_the_file(data):
    content = bytearray(data.draw(st.sampled_from(CONTAINERS)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(content) - 1, 600)))
        content[at] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    for walk in (raw_previews(damaged), mpf_previews(damaged, 4), note_previews(damaged, 0)):
        places = list(walk)
        assert len(places) <= MAX_PREVIEWS
        assert all(0 < start < start + size <= len(damaged) for start, size in places)
    read_raw_blocks(damaged)
