"""Header facts, from plausible and from hostile bytes."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata import Blocks, Tiff, join_maker, read_facts
from catalogd.metadata.tiff import MAX_DIRECTORIES
from catalogd.records import Facts
from tests.factory import ASCII, LONG, RATIONAL, SHORT, exif_block, tiff_block

NOTHING = Facts(format="", width=0, height=0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_all_facts_of_a_camera_are_read(order, prefix):
    assert read_facts(Blocks((prefix + exif_block(6, order),))) == Facts(
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
        latitude=48.1375,
        longitude=-11.575,
    )


@pytest.mark.parametrize(
    "content", [None, b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08", b"Exif\0\0"]
)
def test_no_header_gives_no_facts(content):
    assert read_facts(Blocks((content,) if content else ())) == NOTHING


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
    return read_facts(
        Blocks((tiff_block(main or {}, detail or {}, place or {}, links={0x8769: 1, 0x8825: 2}),))
    )


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
    assert read_facts(Blocks((bytes(block),))).orientation == 1
    assert time.process_time() - started < 0.05


def test_directories_that_point_to_themselves_are_visited_once():
    block = bytearray(tiff_block({0x0112: (SHORT, 6), 0x014A: (LONG, 8)}))
    block[-4:] = struct.pack("<I", 8)
    assert len(list(Tiff(bytes(block)).directories())) == 1


def test_a_long_chain_of_directories_is_cut():
    chain = b"".join(struct.pack("<HI", 0, 8 + 6 * (i + 1)) for i in range(5000))
    directories = list(Tiff(b"II*\0\x08\0\0\0" + chain).directories())
    assert len(directories) == MAX_DIRECTORIES


def test_the_three_blocks_of_a_cr3_are_read_as_one():
    main = tiff_block({0x0110: (ASCII, "EOS R6"), 0x0112: (SHORT, 8)})
    detail = tiff_block({0x8827: (SHORT, 400)})
    facts = read_facts(Blocks((main, detail, b"")))
    assert (facts.camera, facts.orientation, facts.iso, facts.latitude) == ("EOS R6", 8, 400, None)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_hostile_bytes_never_raise(data):
    block = bytearray(exif_block())
    for _ in range(data.draw(st.integers(1, 12))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(block[: data.draw(st.integers(0, len(block)))])
    facts = read_facts(Blocks((content,)))
    assert 1 <= facts.orientation <= 8
    assert facts.latitude is None or abs(facts.latitude) <= 90


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]), st.binary(max_size=300))
def test_random_directories_never_raise(start, body):
    read_facts(Blocks((start + body,)))
    list(Tiff(start + body).directories())


def test_facts_are_read_in_under_a_millisecond():
    block = exif_block()
    read_facts(Blocks((block,)))
    started = time.process_time()
    for _ in range(100):
        read_facts(Blocks((block,)))
    assert (time.process_time() - started) / 100 < 0.001
