"""Whose word counts when a file, its parts and its sidecars say different things."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.images import read_frame
from catalogd.metadata import Blocks, read_facts
from catalogd.records import Facts, Place, Region
from catalogd.settings import Settings
from tests.factory import ASCII, RATIONAL, SHORT, exif_block, scene, tiff_block, write_jpeg
from tests.packets import iptc_block, xmp_array, xmp_packet, xmp_region, xmp_regions

CAMERA_ONLY = read_facts(Blocks((exif_block(),)))


def beside(folder, body: str = "", attributes: str = "", name: str = "a.xmp") -> bytes:
    """Write a sidecar; returns the path of its photo."""
    (folder / name).write_bytes(xmp_packet(body, attributes))
    return bytes(folder / "a.jpg")


def test_nothing_said_is_nothing_known():
    assert read_facts(Blocks()) == Facts(format="", width=0, height=0)


def test_the_sidecar_counts_before_xmp_before_iptc_before_exif_before_text(tmp_path):
    sources = {
        "text": Blocks(text=(("Title", "text"),)),
        "exif": Blocks((tiff_block({0x9C9B: (1, "exif\0".encode("utf-16-le"))}),)),
        "iptc": Blocks(iptc=iptc_block((5, b"iptc"))),
        "xmp": Blocks(xmp=xmp_packet("", 'dc:title="xmp"')),
    }
    exif, text = sources["exif"].exif, sources["text"].text
    assert read_facts(Blocks(text=text)).title == "text"
    assert read_facts(Blocks(exif, text=text)).title == "exif"
    assert read_facts(Blocks(exif, iptc=sources["iptc"].iptc, text=text)).title == "iptc"
    everything = Blocks(exif, xmp=sources["xmp"].xmp, iptc=sources["iptc"].iptc, text=text)
    assert read_facts(everything).title == "xmp"
    path = beside(tmp_path, attributes='dc:title="shared"')
    assert read_facts(everything, path).title == "shared"
    beside(tmp_path, attributes='dc:title="own"', name="a.jpg.xmp")
    facts = read_facts(everything, path)
    assert facts.title == "own"
    assert [sidecar.name for sidecar in facts.sidecars] == [b"a.jpg.xmp", b"a.xmp"]


def test_each_fact_is_from_the_first_that_says_it(tmp_path):
    path = beside(tmp_path, attributes='xmp:Rating="2"')
    beside(tmp_path, attributes='xmp:Label="Red"', name="a.jpg.xmp")
    facts = read_facts(Blocks(xmp=xmp_packet("", 'xmp:Rating="5" dc:title="t"')), path)
    assert (facts.label, facts.rating, facts.title) == ("Red", 2, "t")


def test_a_rating_of_nothing_is_a_rating(tmp_path):
    path = beside(tmp_path, attributes='xmp:Rating="0"')
    assert read_facts(Blocks(xmp=xmp_packet("", 'xmp:Rating="5"')), path).rating == 0


def test_keywords_are_never_united(tmp_path):
    """A keyword that a person took out of the sidecar must not come back from the file."""
    embedded = xmp_packet(
        xmp_array("dc:subject", "dog", "wrong") + xmp_array("lr:hierarchicalSubject", "Animals|Dog")
    )
    iptc = iptc_block((25, b"older"))
    path = beside(tmp_path, xmp_array("dc:subject", "dog"))
    facts = read_facts(Blocks(xmp=embedded, iptc=iptc), path)
    assert (facts.keywords, facts.keyword_paths) == (("dog",), ())
    assert read_facts(Blocks(xmp=embedded, iptc=iptc)).keywords == ("dog", "wrong", "Dog")
    assert read_facts(Blocks(iptc=iptc)).keywords == ("older",)


def test_people_come_with_their_regions(tmp_path):
    embedded = xmp_packet(xmp_regions(xmp_region("Ann", 0.5, 0.5, 0.2, 0.2)))
    path = beside(tmp_path, xmp_array("Iptc4xmpExt:PersonInImage", "Bob"))
    facts = read_facts(Blocks(xmp=embedded), path)
    assert (facts.people, facts.regions) == (("Bob",), ())
    assert read_facts(Blocks(xmp=embedded)).people == ("Ann",)


def test_a_sidecars_regions_are_turned_as_the_photo_is(tmp_path):
    """A sidecar says the orientation it was written with, the file that of its pixels."""
    path = beside(tmp_path, xmp_regions(xmp_region("Ann", 0.4, 0.35, 0.2, 0.3)), 'tiff:Orientation="1"')
    facts = read_facts(Blocks((exif_block(6),)), path)
    assert facts.regions == (Region((0.5, 0.3, 0.3, 0.2), "Ann"),)


def test_the_camera_counts_before_xmp(tmp_path):
    said = (
        'tiff:Make="Other" tiff:Model="Copy" exif:FNumber="56/10" exif:ExposureTime="1/2" '
        'exif:FocalLengthIn35mmFilm="85" aux:SerialNumber="123"'
    )
    facts = read_facts(Blocks((exif_block(),), xmp=xmp_packet("", said)), beside(tmp_path, attributes=said))
    assert (facts.camera, facts.aperture, facts.exposure_s) == ("NIKON Z 6_2", 2.8, 0.004)
    assert (facts.focal_35mm, facts.camera_serial) == (85.0, "123")


def test_a_sidecar_that_repeats_the_time_changes_nothing(tmp_path):
    for said in ("2024-05-01T17:30:15", "2024-05-01T17:30:15.00-05:00", "2024-05-01T15:30:15Z", "2024-05-01"):
        path = beside(tmp_path, attributes=f'exif:DateTimeOriginal="{said}"')
        facts = read_facts(Blocks((exif_block(),)), path)
        assert (facts.taken_at, facts.zone) == (CAMERA_ONLY.taken_at, CAMERA_ONLY.zone)


def test_a_sidecar_corrects_the_time(tmp_path):
    path = beside(tmp_path, attributes='exif:DateTimeOriginal="2024-05-01T18:30:15"')
    facts = read_facts(Blocks((exif_block(),)), path)
    assert (facts.taken_at, facts.zone) == ("2024-05-01T18:30:15", "local")


def test_the_time_in_the_file_is_the_cameras_and_not_that_of_a_change():
    """A scan that was edited has one time in EXIF, of the last change, and the true date in XMP or IPTC."""
    changed = tiff_block({0x0132: (ASCII, "2024:05:02 10:00:00")})
    created = xmp_packet("", 'photoshop:DateCreated="1950-06-01"')
    assert read_facts(Blocks((changed,))).taken_at == "2024-05-02T10:00:00"
    assert read_facts(Blocks((changed,), xmp=created)).taken_at == "1950-06-01"
    assert read_facts(Blocks((changed,), iptc=iptc_block((55, b"19500601")))).taken_at == "1950-06-01"
    assert read_facts(Blocks((exif_block(),), xmp=created)).taken_at == CAMERA_ONLY.taken_at


def test_a_sidecar_corrects_the_position_and_one_that_repeats_it_does_not(tmp_path):
    place = {
        1: (ASCII, "N"),
        2: (RATIONAL, [(48, 1), (8, 1), (15, 1)]),
        3: (ASCII, "W"),
        4: (RATIONAL, [(11, 1), (34, 1), (30, 1)]),
        6: (RATIONAL, (500, 1)),
    }
    blocks = Blocks((tiff_block({0x0112: (SHORT, 1)}, place, links={0x8825: 1}),))
    path = beside(tmp_path, attributes='exif:GPSLatitude="48,8.25N" exif:GPSLongitude="11,34.5W"')
    facts = read_facts(blocks, path)
    assert (facts.latitude, facts.longitude, facts.altitude_m) == (48.1375, -11.575, 500)
    beside(tmp_path, attributes='exif:GPSLatitude="60,0N" exif:GPSLongitude="5,0E"')
    facts = read_facts(blocks, path)
    assert (facts.latitude, facts.longitude, facts.altitude_m) == (60, 5, None)


def test_a_place_in_words_stays_where_there_is_no_position():
    words = xmp_packet("", 'photoshop:City="Bergen" photoshop:Country="Norway"')
    iptc = iptc_block((90, b"Oslo"), (101, b"Norway"))
    assert read_facts(Blocks(xmp=words, iptc=iptc)).place == Place("", "Norway", city="Bergen")
    assert read_facts(Blocks(iptc=iptc)).place == Place("", "Norway", city="Oslo")


def test_png_text_says_what_nothing_else_does():
    text = (("Title", "t"), ("Author", "a"), ("Description", "d\r\ne"), ("Copyright", "c"), ("Software", "s"))
    facts = read_facts(Blocks(text=(*text, ("Comment", "made by x"), ("Title", "second"))))
    assert (facts.title, facts.creator, facts.caption) == ("t", "a", "d\ne")
    assert (facts.copyright, facts.software) == ("c", "s")


def test_reading_a_photo_takes_in_its_sidecar(tmp_path):
    slot, limits = np.empty(64 * 64 * 3, np.uint8), Settings(frame_edge_px=64)
    path = write_jpeg(tmp_path / "a.jpg", scene(60, 80), orientation=6)
    beside(tmp_path, xmp_regions(xmp_region("Ann", 0.4, 0.35, 0.2, 0.3)), 'xmp:Rating="4"')
    facts = read_frame(path, slot, limits).facts
    assert (facts.rating, facts.people) == (4, ("Ann",))
    assert facts.regions[0].box == pytest.approx((0.5, 0.3, 0.3, 0.2))
    assert [sidecar.name for sidecar in facts.sidecars] == [b"a.xmp"]
    os.truncate(tmp_path / "a.xmp", 300)
    assert read_frame(path, slot, limits).facts.rating is None


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80), st.text(max_size=10))
def test_no_blocks_are_an_error(exif, xmp, iptc, text):
    read_facts(
        Blocks((exif,), xmp=b"<" + xmp, xmp_extended=xmp, iptc=b"\x1c\x02" + iptc, text=((text, text),))
    )


def test_typical_words_cost_less_than_a_millisecond():
    """A generous limit for a busy machine; the figure is 0.4 ms for XMP and IPTC of a keyworded photo."""
    packet = xmp_packet(
        xmp_array("dc:subject", *(f"keyword {i}" for i in range(15)))
        + xmp_array("lr:hierarchicalSubject", *(f"a|b|keyword {i}" for i in range(15)))
        + xmp_array("dc:title", "t", kind="Alt"),
        " ".join(f'exif:A{i}="{i}/10"' for i in range(40)),
    )
    blocks = Blocks(xmp=packet, iptc=iptc_block(*((25, b"keyword %d" % i) for i in range(15))))
    read_facts(blocks)
    costs = []
    for _ in range(20):
        started = time.process_time()
        read_facts(blocks)
        costs.append(time.process_time() - started)
    assert min(costs) < 3e-3
