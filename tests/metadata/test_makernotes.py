"""Maker notes of many makers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata.exif import needs_exiftool, open_exif, read_exif
from catalogd.metadata.makernotes import lens_range
from tests.factory import ASCII, LONG, directory_bytes, noted_exif, tiff_block
from tests.metadata import notes

EVERY_MAKER = {
    "canon": notes.canon(),
    "nikon": notes.nikon(),
    "olympus": notes.olympus(),
    "apple": notes.apple(),
    "fujifilm": notes.fujifilm(),
    "panasonic": notes.panasonic(),
    "pentax": notes.pentax(),
    "samsung": notes.samsung(),
    "sony": notes.sony(),
    "sigma": notes.sigma(),
    "minolta": notes.minolta(),
}


def told(block):
    facts = read_exif((block,))
    return facts.lens, facts.camera_serial, facts.iso


@pytest.mark.parametrize("order", ["<", ">"])
def test_canon(order):
    assert told(notes.canon(order)) == (None, "123456", 125)
    named = notes.canon(order, t0095=(ASCII, "EF50mm f/1.4 USM"))
    assert told(named) == ("EF50mm f/1.4 USM", "123456", 125)


@pytest.mark.parametrize("order", ["<", ">"])
def test_nikon_has_a_tiff_structure_of_its_own(order):
    assert told(notes.nikon(order)) == ("24-70mm f/2.8", "2001881", 800)


def test_the_serial_number_of_an_old_nikon():
    note = b"Nikon\0\x02\x10\0\0" + tiff_block({0x00A0: (ASCII, "NO= 1005a431")})
    assert read_exif((noted_exif("NIKON", lambda at: note),)).camera_serial == "1005a431"


@pytest.mark.parametrize("start", [b"OLYMPUS\0II\3\0", b"OM SYSTEM\0\0\0II\4\0"])
def test_olympus_names_the_lens_two_directories_deep(start):
    assert told(notes.olympus(start)) == ("OLYMPUS M.12-40mm F2.8", "BHP201234", None)


def test_fujifilm_counts_from_the_note_in_an_order_of_its_own():
    assert told(notes.fujifilm()) == ("18-55mm f/2.8-4", "FF02B1234567", None)


def test_panasonic():
    assert told(notes.panasonic()) == ("LUMIX G VARIO 12-32/F3.5-5.6", "XGC1311120046", None)


def test_pentax_samsung_and_sigma_tell_the_serial_number():
    serials = [
        read_exif((block,)).camera_serial for block in (notes.pentax(), notes.samsung(), notes.sigma())
    ]
    assert serials == ["3456789", "A2B3C4D5", "01001234"]


def test_apple_tells_bursts_live_photos_and_hdr():
    facts = read_exif((notes.apple(),))
    assert (facts.burst_id, facts.live_photo_id, facts.marks) == (notes.BURST, notes.LIVE, ("hdr",))
    assert read_exif((notes.apple(hdr=4),)).marks == ()


@pytest.mark.parametrize(
    ("maker", "rendered", "marks"),
    [("Apple", 6, ("panorama",)), ("Apple", 3, ("hdr",)), ("Apple", 4, ()), ("Canon", 6, ())],
)
def test_only_apple_calls_a_panorama_custom_rendering(maker, rendered, marks):
    note = b"Apple iOS\0\0\1MM" + directory_bytes({}, 14, ">") if maker == "Apple" else bytes(20)
    block = noted_exif(maker, lambda at: note, detail={0xA401: (LONG, rendered)})
    assert read_exif((block,)).marks == marks


def test_what_exif_says_outranks_the_note():
    block = noted_exif(
        "NIKON",
        lambda at: b"Nikon\0\x02\x10\0\0" + tiff_block({0x001D: (ASCII, "1"), 0x0084: notes.SPECIFICATION}),
        detail={0xA431: (ASCII, "3001234"), 0xA434: (ASCII, "24.0-70.0 mm f/2.8")},
    )
    assert told(block) == ("24.0-70.0 mm f/2.8", "3001234", None)


def test_the_note_of_a_cr3_is_a_structure_of_its_own():
    main = tiff_block({0x010F: (ASCII, "Canon"), 0x0110: (ASCII, "Canon EOS R6")})
    note = tiff_block({0x0095: (ASCII, "RF50mm F1.2 L USM")})
    assert read_exif((main, b"", b"", note)).lens == "RF50mm F1.2 L USM"


@pytest.mark.parametrize("maker", ["canon", "minolta", "pentax", "samsung", "sony"])
def test_a_lens_that_only_has_a_number_needs_exiftool(maker):
    block = EVERY_MAKER[maker]
    assert needs_exiftool("jpeg", read_exif((block,)), (block,))


@pytest.mark.parametrize(
    "block",
    [
        notes.canon(lens_type=0),
        notes.canon(lens_type=0xFFFF),
        notes.canon(t0095=(ASCII, "EF50mm f/1.4 USM")),
        notes.sony(0xFFFF),
        notes.nikon(),
        notes.apple(),
        notes.olympus(),
    ],
)
def test_a_lens_with_a_name_or_none_at_all_does_not(block):
    assert not needs_exiftool("jpeg", read_exif((block,)), (block,))


def test_an_olympus_lens_without_a_name_needs_exiftool():
    block = notes.olympus(lens="")
    assert needs_exiftool("jpeg", read_exif((block,)), (block,))


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((24, 70, 2.8, 2.8), "24-70mm f/2.8"),
        ((4.25, 4.25, 1.6, 1.6), "4.2mm f/1.6"),
        ((18, 55, 3.5, 5.6), "18-55mm f/3.5-5.6"),
        ((50, None, None, None), "50mm"),
        ((None, 70, 2.8, 2.8), None),
        ((1e9, 1e9, 2.8, 2.8), None),
        ((24, 70), None),
        ((), None),
    ],
)
def test_a_lens_in_numbers(numbers, text):
    assert lens_range(numbers) == text


def test_tags_have_names_for_people():
    note = open_exif((notes.canon(),)).note
    assert note is not None
    assert (note.vendor, note.names[0x0C]) == ("Canon", "SerialNumber")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hostile_notes_never_raise(data):
    block = bytearray(EVERY_MAKER[data.draw(st.sampled_from(sorted(EVERY_MAKER)))])
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(8, len(block) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(block[: data.draw(st.integers(0, len(block)))])
    needs_exiftool("jpeg", read_exif((content,)), (content,))
