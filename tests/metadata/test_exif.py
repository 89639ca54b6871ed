"""Header facts, from plausible and from hostile bytes."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata import join_maker
from catalogd.metadata.exif import needs_exiftool, read_exif
from catalogd.records import Facts
from tests.factory import (
    ASCII,
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SIGNED_RATIONAL,
    UNDEFINED,
    big_tiff_block,
    colour_exif,
    exif_block,
    tiff_block,
)

NOTHING = Facts(format="", width=0, height=0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_all_facts_of_a_camera_are_read(order, prefix):
    assert read_exif((prefix + exif_block(6, order),)) == Facts(
        format="",
        width=0,
        height=0,
        orientation=6,
        camera="NIKON Z 6_2",
        lens="NIKKOR Z 85mm f/1.8 S",
        iso=640,
        exposure_s=0.004,
        aperture=2.8,
        focal_mm=85.0,
        taken_at="2024-05-01T17:30:15.25+02:00",
        zone="offset",
        latitude=48.1375,
        longitude=-11.575,
    )


@pytest.mark.parametrize(
    "content", [None, b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08", b"Exif\0\0"]
)
def test_no_header_gives_no_facts(content):
    assert read_exif((content,) if content else ()) == NOTHING


@pytest.mark.parametrize(
    ("maker", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D850", "NIKON D850"),
        ("Canon", "Canon EOS R6", "Canon EOS R6"),
        ("SONY", "ILCE-7M3", "SONY ILCE-7M3"),
        ("Apple", None, "Apple"),
        (None, "X-T5", "X-T5"),
        (None, None, None),
    ],
)
def test_the_maker_is_named_once(maker, model, camera):
    assert join_maker(maker, model) == camera


def facts_of(main=None, detail=None, place=None):
    return read_exif((tiff_block(main or {}, detail or {}, place or {}, links={0x8769: 1, 0x8825: 2}),))


def test_apex_values_stand_in_for_missing_ones():
    facts = facts_of(detail={0x9201: (RATIONAL, (8, 1)), 0x9202: (RATIONAL, (4, 1))})
    assert (facts.exposure_s, facts.aperture) == (1 / 256, 4.0)


def test_an_iso_above_16_bits_is_read_from_its_own_tag():
    assert facts_of(detail={0x8827: (SHORT, 65535), 0x8832: (LONG, 102_400)}).iso == 102_400


@pytest.mark.parametrize(
    ("written", "taken_at"),
    [
        ("2024:05:01 17:30:15", "2024-05-01T17:30:15"),
        ("2024-05-01T17:30:15", "2024-05-01T17:30:15"),
        ("2024-05-01T17:30:15+01:00", "2024-05-01T17:30:15+01:00"),
        ("0000:00:00 00:00:00", None),
        ("2024:13:01 17:30:15", None),
        ("    :  :     :  :  ", None),
        ("yesterday", None),
    ],
)
def test_only_a_real_date_is_a_date(written, taken_at):
    assert facts_of(detail={0x9003: (ASCII, written)}).taken_at == taken_at


def test_the_moment_of_the_picture_outranks_the_moment_of_the_file():
    main = {0x0132: (ASCII, "2025:01:01 00:00:00")}
    assert facts_of(main).taken_at == "2025-01-01T00:00:00"
    facts = facts_of(main, {0x9004: (ASCII, "2024:01:01 00:00:00")})
    assert facts.taken_at == "2024-01-01T00:00:00"


@pytest.mark.parametrize(
    "place",
    [
        {1: (ASCII, "N"), 2: (RATIONAL, [(91, 1)]), 3: (ASCII, "E"), 4: (RATIONAL, [(1, 1)])},
        {1: (ASCII, "N"), 2: (RATIONAL, [(1, 0)]), 3: (ASCII, "E"), 4: (RATIONAL, [(1, 1)])},
        {1: (ASCII, "X"), 2: (RATIONAL, [(1, 1)]), 3: (ASCII, "E"), 4: (RATIONAL, [(1, 1)])},
        {1: (ASCII, "N"), 2: (RATIONAL, [(0, 1)]), 3: (ASCII, "E"), 4: (RATIONAL, [(0, 1)])},
        {2: (RATIONAL, [(1, 1)]), 4: (RATIONAL, [(1, 1)])},
    ],
)
def test_a_position_that_cannot_be_is_absent(place):
    facts = facts_of(place=place)
    assert (facts.latitude, facts.longitude) == (None, None)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_cannot_be_means_upright(orientation):
    assert facts_of({0x0112: (SHORT, orientation)}).orientation == 1


def test_text_is_printable_and_bounded():
    facts = facts_of({0x0110: (ASCII, b"Cam\x07era \xe9\n\0hidden"), 0x010F: (ASCII, "x" * 5000)})
    assert facts.camera is not None
    assert facts.camera.endswith("Cam era é")
    assert len(facts.camera) < 300


def test_a_zero_denominator_makes_a_fact_absent():
    assert facts_of(detail={0x829A: (RATIONAL, (1, 0)), 0x829D: (RATIONAL, (0, 0))}) == NOTHING


def test_a_count_of_4_g_is_absent_and_costs_nothing():
    block = bytearray(tiff_block({0x0112: (SHORT, 6), 0x0110: (ASCII, "Camera name")}))
    at = block.index(struct.pack("<HH", 0x0112, SHORT))
    block[at + 4 : at + 8] = b"\xff" * 4
    started = time.process_time()
    assert read_exif((bytes(block),)).orientation == 1
    assert time.process_time() - started < 0.05


def test_the_three_blocks_of_a_cr3_are_read_as_one():
    main = tiff_block({0x0110: (ASCII, "EOS R6"), 0x0112: (SHORT, 8)})
    detail = tiff_block({0x8827: (SHORT, 400)})
    facts = read_exif((main, detail, b""))
    assert (facts.camera, facts.orientation, facts.iso, facts.latitude) == ("EOS R6", 8, 400, None)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_in_a_bigtiff_is_read(order):
    block = big_tiff_block(
        {0x0110: (ASCII, "A scanner")}, {0x8827: (SHORT, 64)}, links={0x8769: 1}, order=order
    )
    facts = read_exif((block,))
    assert (facts.camera, facts.iso) == ("A scanner", 64)


def place_of(latitude=((48, 1), (8, 1), (0, 1)), longitude=((11, 1), (30, 1), (0, 1)), **more):
    """GPS tags; `more` are named `t07`."""
    return {
        1: (ASCII, "N"),
        2: (RATIONAL, list(latitude)),
        3: (ASCII, "E"),
        4: (RATIONAL, list(longitude)),
        **{int(name[1:], 16): entry for name, entry in more.items()},
    }


def gps_time(day, hour, minute, second):
    return {"t1D": (ASCII, day), "t07": (RATIONAL, [(hour, 1), (minute, 1), (second, 1)])}


@pytest.mark.parametrize(
    ("day", "clock", "taken_at", "zone"),
    [
        ("2024:05:01", (15, 30, 10), "2024-05-01T17:30:15+02:00", "gps"),
        ("2024:05:01", (12, 0, 0), "2024-05-01T17:30:15+05:30", "gps"),
        ("2024:05:01", (11, 45, 0), "2024-05-01T17:30:15+05:45", "gps"),
        ("2024:05:02", (2, 30, 15), "2024-05-01T17:30:15-09:00", "gps"),
        ("2024:05:01", (17, 28, 0), "2024-05-01T17:30:15+00:00", "gps"),  # the fix is two minutes old
        ("2024:05:01", (15, 37, 0), "2024-05-01T17:30:15", "local"),  # no offset leaves seven minutes
        ("2024:05:01", (15, 15, 15), "2024-05-01T17:30:15", "local"),  # no clock is 2:15 ahead
        ("2024:05:01", (3, 15, 15), "2024-05-01T17:30:15", "local"),
        ("2024:05:01", (3, 45, 15), "2024-05-01T17:30:15+13:45", "gps"),
        ("2024:05:01", (20, 0, 15), "2024-05-01T17:30:15-02:30", "gps"),
        ("2024:04:29", (15, 30, 10), "2024-05-01T17:30:15", "local"),  # days apart
        ("yesterday", (15, 30, 10), "2024-05-01T17:30:15", "local"),
        ("2024:05:01", (99, 0, 0), "2024-05-01T17:30:15", "local"),
    ],
)
def test_the_time_of_the_gps_fix_tells_the_zone(day, clock, taken_at, zone):
    detail = {0x9003: (ASCII, "2024:05:01 17:30:15")}
    facts = facts_of(detail=detail, place=place_of(**gps_time(day, *clock)))
    assert (facts.taken_at, facts.zone) == (taken_at, zone)


def test_an_offset_in_exif_outranks_the_gps():
    detail = {0x9003: (ASCII, "2024:05:01 17:30:15"), 0x9011: (ASCII, "+03:00")}
    facts = facts_of(detail=detail, place=place_of(**gps_time("2024:05:01", 15, 30, 10)))
    assert (facts.taken_at, facts.zone) == ("2024-05-01T17:30:15+03:00", "offset")


def test_without_a_time_there_is_no_zone():
    assert facts_of(place=place_of(**gps_time("2024:05:01", 15, 30, 10))).zone is None


@pytest.mark.parametrize(
    ("side", "metres", "altitude"),
    [
        (0, (5205, 10), 520.5),
        (1, (4300, 10), -430.0),
        (None, (12, 1), 12.0),
        (0, (10**9, 1), None),
        (0, (1, 0), None),
    ],
)
def test_altitude_counts_from_sea_level(side, metres, altitude):
    more = {"t06": (RATIONAL, metres)} | ({} if side is None else {"t05": (BYTE, bytes([side]))})
    assert facts_of(place=place_of(**more)).altitude_m == altitude


def test_null_island_is_no_place_and_has_no_altitude():
    zero = [(0, 1)]
    facts = facts_of(place=place_of(zero, zero, t06=(RATIONAL, (0, 1)), t11=(RATIONAL, (905, 10))))
    assert (facts.latitude, facts.longitude, facts.altitude_m) == (None, None, None)
    assert facts.direction_deg == 90.5


@pytest.mark.parametrize(
    ("degrees", "direction"), [((0, 1), 0.0), ((360, 1), 0.0), ((2715, 10), 271.5), ((361, 1), None)]
)
def test_the_direction_is_clockwise_from_north(degrees, direction):
    assert facts_of(place=place_of(t10=(ASCII, "T"), t11=(RATIONAL, degrees))).direction_deg == direction


@pytest.mark.parametrize(
    ("detail", "iso"),
    [
        ({0x8827: (SHORT, 400)}, 400),
        ({0x8827: (SHORT, [200, 0])}, 200),
        ({0x8827: (SHORT, 65535), 0x8830: (SHORT, 2), 0x8832: (LONG, 102_400)}, 102_400),
        ({0x8830: (SHORT, 1), 0x8831: (LONG, 640), 0x8832: (LONG, 800)}, 640),
        ({0x8830: (SHORT, 3), 0x8833: (LONG, 1250)}, 1250),
        ({0x8827: (SHORT, 0)}, None),
    ],
)
def test_sensitivity_is_read_from_the_tag_its_type_names(detail, iso):
    assert facts_of(detail=detail).iso == iso


def test_the_sensitivity_of_an_rw2_is_in_its_first_directory():
    block = tiff_block({0x0017: (SHORT, 200), 0x010F: (ASCII, "Panasonic")}, magic=0x55)
    assert read_exif((block,)).iso == 200


@pytest.mark.parametrize(
    ("detail", "fact", "value"),
    [
        ({0x9209: (SHORT, 0x19)}, "flash", True),
        ({0x9209: (SHORT, 0x10)}, "flash", False),
        ({}, "flash", None),
        ({0x9204: (SIGNED_RATIONAL, (-2, 3))}, "exposure_bias_ev", -0.666666667),
        ({0x9204: (SIGNED_RATIONAL, (100, 1))}, "exposure_bias_ev", None),
        ({0x9207: (SHORT, 2)}, "metering", "center-weighted"),
        ({0x9207: (SHORT, 255)}, "metering", None),
        ({0xA403: (SHORT, 0)}, "white_balance", "auto"),
        ({0xA403: (SHORT, 1)}, "white_balance", "manual"),
        ({0xA405: (SHORT, 28)}, "focal_35mm", 28.0),
        ({0xA405: (SHORT, 0)}, "focal_35mm", None),
        ({0xA431: (ASCII, "00123")}, "camera_serial", "00123"),
    ],
)
def test_how_the_picture_was_exposed(detail, fact, value):
    assert getattr(facts_of(detail=detail), fact) == value


@pytest.mark.parametrize(
    ("space", "index", "name"),
    [
        (1, "R98", "srgb"),
        (2, None, "adobe-rgb"),
        (0xFFFF, "R03", "adobe-rgb"),
        (0xFFFF, "R98", None),
        (None, None, None),
    ],
)
def test_the_colour_space_of_exif(space, index, name):
    assert read_exif((colour_exif(space, index),)).colour_space == name


SPECIFICATION = (RATIONAL, [(24, 1), (70, 1), (28, 10), (28, 10)])


@pytest.mark.parametrize(
    ("detail", "lens"),
    [
        ({0xA434: (ASCII, "XF23mmF2 R WR"), 0xA433: (ASCII, "FUJIFILM")}, "FUJIFILM XF23mmF2 R WR"),
        ({0xA434: (ASCII, "  "), 0xA432: SPECIFICATION}, "24-70mm f/2.8"),
        ({0xA434: (ASCII, "----"), 0xA432: SPECIFICATION}, "24-70mm f/2.8"),
        ({0xA432: (RATIONAL, [(18, 1), (55, 1), (35, 10), (56, 10)])}, "18-55mm f/3.5-5.6"),
        ({0xA432: (RATIONAL, [(50, 1), (50, 1), (0, 0), (0, 0)])}, "50mm"),
        ({0xA432: (RATIONAL, [(0, 0)] * 4)}, None),
        ({0xA434: (ASCII, "0.0 mm f/0.0")}, None),
        ({0xA434: (ASCII, "No Lens")}, None),
    ],
)
def test_the_lens_by_name_or_by_its_range(detail, lens):
    assert facts_of(detail=detail).lens == lens


@pytest.mark.parametrize(
    ("caption", "read"),
    [
        ("Anna at the lake", "Anna at the lake"),
        ("Kodak moment with my digital camera club", "Kodak moment with my digital camera club"),
        ("First line\r\nsecond", "First line\nsecond"),
        ("x" * 20_000, "x" * 20_000),
        ("OLYMPUS DIGITAL CAMERA         ", None),
        ("KODAK DIGITAL STILL CAMERA", None),
        ("SONY DSC", None),
        ("Minolta DSC", None),
        ("DCIM\\100MEDIA\\DJI_0012.JPG", None),
        ("Exif_JPEG_PICTURE", None),
        ("default", None),
        ("...", None),
    ],
)
def test_a_caption_is_what_a_person_wrote(caption, read):
    assert facts_of({0x010E: (ASCII, caption)}).caption == read


def wide(text):
    return BYTE, (text + "\0").encode("utf-16-le")


def test_the_words_of_windows_are_read():
    facts = facts_of(
        {
            0x9C9B: wide("Zugspitze"),
            0x9C9C: wide("Über den Wolken"),
            0x9C9D: wide("Anna Müller"),
            0x9C9E: wide("Berg; Schnee;;Berg ; 山"),
            0x8298: (ASCII, b" \0An editor\0"),
            0x0131: (ASCII, "darktable 4.2"),
        }
    )
    assert (facts.title, facts.caption, facts.creator) == ("Zugspitze", "Über den Wolken", "Anna Müller")
    assert facts.keywords == ("Berg", "Schnee", "山")
    assert (facts.copyright, facts.software) == ("An editor", "darktable 4.2")


def test_the_words_of_exif_outrank_those_of_windows():
    facts = facts_of({0x010E: (ASCII, "A"), 0x013B: (ASCII, "B"), 0x9C9C: wide("C"), 0x9C9D: wide("D")})
    assert (facts.caption, facts.creator) == ("A", "B")


@pytest.mark.parametrize(
    ("main", "rating"),
    [
        ({0x4746: (SHORT, 4)}, 4),
        ({0x4746: (SHORT, 0)}, 0),
        ({0x4746: (SHORT, 77)}, None),
        ({0x4749: (SHORT, 99)}, 5),
        ({0x4749: (SHORT, 50)}, 3),
        ({0x4749: (SHORT, 0)}, None),
        ({0x4749: (SHORT, 1000)}, None),
    ],
)
def test_stars(main, rating):
    assert facts_of(main).rating == rating


@pytest.mark.parametrize(
    ("comment", "caption"),
    [
        (b"ASCII\0\0\0by the sea\0\0\0", "by the sea"),
        (b"UNICODE\0" + "Zoë".encode("utf-16-le"), "Zoë"),
        (b"UNICODE\0" + "in the other order".encode("utf-16-be"), "in the other order"),
        (b"UNICODE\0" + "with a mark".encode("utf-16"), "with a mark"),
        (b"JIS\0\0\0\0\0" + "富士山".encode("iso2022_jp"), "富士山"),
        (bytes(8) + "日の出です".encode("cp932"), "日の出です"),
        (b"no charset at all", "no charset at all"),
        (bytes(8) + b"\1\2\3\4 numbers", None),
        (bytes(200), None),
        (b"ASCII\0\0\0                  ", None),
        (b"ASC", "ASC"),
    ],
)
def test_a_comment_is_read_in_its_charset(comment, caption):
    assert facts_of(detail={0x9286: (UNDEFINED, comment)}).caption == caption


def test_a_screenshot_is_marked():
    facts = facts_of(detail={0x9286: (UNDEFINED, b"ASCII\0\0\0Screenshot")})
    assert (facts.marks, facts.caption) == (("screenshot",), None)


def test_a_raw_file_that_is_not_walked_needs_exiftool():
    assert needs_exiftool("raw", NOTHING, ())
    assert not needs_exiftool("raw", read_exif((exif_block(),)), (exif_block(),))
    assert not needs_exiftool("jpeg", NOTHING, ())
    assert not needs_exiftool("png", read_exif((exif_block(),)), (exif_block(),))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hostile_bytes_never_raise(data):
    block = bytearray(exif_block())
    for _ in range(data.draw(st.integers(1, 12))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(block[: data.draw(st.integers(0, len(block)))])
    facts = read_exif((content,))
    assert 1 <= facts.orientation <= 8
    assert facts.latitude is None or abs(facts.latitude) <= 90


def test_facts_are_read_in_under_a_millisecond():
    block = exif_block()
    read_exif((block,))
    started = time.process_time()
    for _ in range(100):
        read_exif((block,))
    assert (time.process_time() - started) / 100 < 0.001
