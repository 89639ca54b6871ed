"""Which XMP property means which fact, as the programs of photographers write them."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata.xmp_facts import read_xmp, upright_box
from catalogd.records import Facts, Place, Region
from tests.factory import stored
from tests.packets import xmp_array, xmp_packet, xmp_region, xmp_regions


def facts_from(body: str = "", attributes: str = "", orientation: int = 1) -> Facts:
    return read_xmp(xmp_packet(body, attributes), orientation=orientation)


def test_the_words_of_a_person_are_read():
    facts = facts_from(
        xmp_array("dc:title", "The dog", "Der Hund", kind="Alt")
        + xmp_array("dc:description", "A dog\nin the rain", kind="Alt")
        + xmp_array("dc:creator", "Ann", "Bob", kind="Seq")
        + xmp_array("dc:rights", "© Ann", kind="Alt")
        + xmp_array("dc:subject", "dog", " wet  dog ", "dog", ""),
        'xmp:Rating="4" xmp:Label="Green"',
    )
    assert (facts.title, facts.caption) == ("The dog", "A dog\nin the rain")
    assert (facts.creator, facts.copyright) == ("Ann; Bob", "© Ann")
    assert facts.keywords == ("dog", "wet dog")
    assert (facts.rating, facts.label) == (4, "Green")


def test_what_cameras_write_where_a_caption_belongs_is_none():
    facts = facts_from(
        xmp_array("dc:description", "OLYMPUS DIGITAL CAMERA", kind="Alt")
        + xmp_array("exif:UserComment", "A dog", kind="Alt")
    )
    assert facts.caption == "A dog"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("lr:hierarchicalSubject", ["Animals|Dog", "Home"]),
        ("mediapro:CatalogSets", ["Animals|Dog", "Home"]),
        ("digiKam:TagsList", ["Animals/Dog", "Home"]),
        ("MicrosoftPhoto:LastKeywordXMP", ["Animals/Dog", "Home"]),
    ],
)
def test_each_programs_hierarchy_is_read_and_its_leaves_are_keywords(name, written):
    facts = facts_from(xmp_array("dc:subject", "wet") + xmp_array(name, *written))
    assert facts.keyword_paths == ("Animals|Dog",)
    assert facts.keywords == ("wet", "Dog", "Home")


def test_hierarchies_that_say_the_same_say_it_once():
    facts = facts_from(
        xmp_array("dc:subject", "Animals", "Dog")
        + xmp_array("lr:hierarchicalSubject", "Animals", "Animals|Dog", " Animals | Dog ")
        + xmp_array("digiKam:TagsList", "Animals/Dog", kind="Seq")
    )
    assert (facts.keywords, facts.keyword_paths) == (("Animals", "Dog"), ("Animals|Dog",))


def test_a_keyword_may_stand_below_one_of_its_own_name():
    """The path "New York|New York" lost a level, and became a keyword of its own."""
    facts = facts_from(xmp_array("lr:hierarchicalSubject", "USA|New York|New York"))
    assert facts.keyword_paths == ("USA|New York|New York",)


def test_long_values_cost_no_more_than_reading_them():
    """A keyword of a million separators, a number of a million digits."""
    bars, digits = "|" * 1_000_000, "1" * 1_000_000
    started = time.process_time()
    facts = facts_from(
        xmp_array("lr:hierarchicalSubject", bars, f"Animals|Dog{bars}"),
        f'xmp:Rating="{digits}" exif:GPSLatitude="{digits},0N" exif:DateTimeOriginal="{digits}"',
    )
    assert time.process_time() - started < 1
    assert (facts.keyword_paths, facts.rating, facts.taken_at) == (("Animals|Dog",), None, None)


def test_the_bookkeeping_of_programs_is_no_keyword():
    facts = facts_from(
        xmp_array("dc:subject", "dog", "darktable|exported")
        + xmp_array("lr:hierarchicalSubject", "darktable|changed", "_Digikam_Internal_Tags_|Pick")
    )
    assert (facts.keywords, facts.keyword_paths) == (("dog",), ())


def test_a_microsoft_namespace_without_its_slash_is_known():
    packet = xmp_packet(xmp_array("MicrosoftPhoto:LastKeywordXMP", "A/B"))
    assert read_xmp(packet.replace(b"/photo/1.0/", b"/photo/1.0")).keyword_paths == ("A|B",)


@pytest.mark.parametrize(
    ("attributes", "rating"),
    [
        ('xmp:Rating="-1"', -1),
        ('xmp:Rating="0"', 0),
        ('xmp:Rating="5.0"', 5),
        ('xmp:Rating="6"', None),
        ('xmp:Rating="nan"', None),
        ('xmp:Rating=""', None),
        ('MicrosoftPhoto:Rating="1"', 1),
        ('MicrosoftPhoto:Rating="50"', 3),
        ('MicrosoftPhoto:Rating="99"', 5),
        ('MicrosoftPhoto:Rating="0"', 0),
        ('xmp:Rating="2" MicrosoftPhoto:Rating="99"', 2),
    ],
)
def test_a_rating_is_read_in_stars_or_percent(attributes, rating):
    assert facts_from("", attributes).rating == rating


@pytest.mark.parametrize(
    ("attributes", "taken_at", "zone"),
    [
        ('exif:DateTimeOriginal="2024-05-01T17:30:15.250+02:00"', "2024-05-01T17:30:15.25+02:00", "offset"),
        ('exif:DateTimeOriginal="2024-05-01T17:30:15Z"', "2024-05-01T17:30:15+00:00", "offset"),
        ('exif:DateTimeOriginal="2024-05-01T17:30"', "2024-05-01T17:30:00", "local"),
        (
            'exif:DateTimeOriginal="2024-05-01T17:30:15" exif:OffsetTimeOriginal="-03:30"',
            "2024-05-01T17:30:15-03:30",
            "offset",
        ),
        ('photoshop:DateCreated="1950-06-01"', "1950-06-01", "local"),
        ('photoshop:DateCreated="1950-06-01" xmp:CreateDate="2024-05-01T17:30:15"', "1950-06-01", "local"),
        ('exif:DateTimeOriginal="1950" xmp:CreateDate="2024-05-01T17:30:15"', "2024-05-01T17:30:15", "local"),
        ('exif:DateTimeOriginal="2024-02-30T10:00:00"', None, None),
        ('exif:DateTimeOriginal="2024-05-01T17:30:15+99:00"', "2024-05-01T17:30:15", "local"),
        ('exif:DateTimeOriginal="1950-06"', None, None),
    ],
)
def test_a_time_is_read_as_far_as_it_is_known(attributes, taken_at, zone):
    facts = facts_from("", attributes)
    assert (facts.taken_at, facts.zone) == (taken_at, zone)


@pytest.mark.parametrize(
    ("latitude", "longitude", "position"),
    [
        ("60,23.832N", "5,19.458E", (60.3972, 5.3243)),
        ("53,7,57N", "8,43,9.06W", (53.1325, -8.71918333)),
        ("33,51.5S", "151,12.5e", (-33.8583333, 151.2083333)),
        ("60.3972", "-5.3243", (60.3972, -5.3243)),
        ("60.3972N", "5.3243 W", (60.3972, -5.3243)),
        ("0,0N", "0,0E", (None, None)),
        ("91,0N", "5,0E", (None, None)),
        ("60,0E", "5,0N", (None, None)),
        ("60,0N", "", (None, None)),
        ("nan", "inf", (None, None)),
    ],
)
def test_a_position_is_read_in_all_its_spellings(latitude, longitude, position):
    facts = facts_from("", f'exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}"')
    assert (facts.latitude, facts.longitude) == pytest.approx(position, abs=1e-6)


def test_altitude_and_direction_belong_to_a_position():
    here = 'exif:GPSLatitude="60,0N" exif:GPSLongitude="5,0E" '
    facts = facts_from(
        "", here + 'exif:GPSAltitude="4305/10" exif:GPSAltitudeRef="1" exif:GPSImgDirection="90/1"'
    )
    assert (facts.altitude_m, facts.direction_deg) == (-430.5, 90)
    drone = facts_from("", here + 'drone-dji:AbsoluteAltitude="+120.50" drone-dji:GimbalYawDegree="-90.0"')
    assert (drone.altitude_m, drone.direction_deg) == (120.5, 270)
    assert facts_from("", 'exif:GPSAltitude="10/1"').altitude_m is None


def test_a_place_in_words_is_read():
    facts = facts_from(
        "",
        'photoshop:City="Bergen" photoshop:State="Vestland" photoshop:Country="Norway" '
        'Iptc4xmpCore:Location="Bryggen" Iptc4xmpCore:CountryCode="no"',
    )
    assert facts.place == Place("NO", "Norway", "Vestland", "Bergen", "Bryggen")
    assert facts_from("", 'Iptc4xmpCore:CountryCode="NO"').place is None


def test_what_a_camera_knows_is_read():
    facts = facts_from(
        xmp_array("exif:ISOSpeedRatings", "640", kind="Seq")
        + '<exif:Flash rdf:parseType="Resource"><exif:Fired>True</exif:Fired></exif:Flash>',
        'tiff:Make="NIKON CORPORATION" tiff:Model="NIKON Z 6_2" aux:Lens="24-70mm" aux:SerialNumber="123" '
        'exif:ExposureTime="1/250" exif:FNumber="28/10" exif:FocalLength="850/10" '
        'exif:FocalLengthIn35mmFilm="85" exif:ExposureBiasValue="-1/3" exif:MeteringMode="5" '
        'exif:WhiteBalance="1" exif:ColorSpace="1" xmp:CreatorTool="Ver.1.00" GCamera:BurstID="abc"',
    )
    assert facts == Facts(
        format="",
        width=0,
        height=0,
        camera="NIKON Z 6_2",
        lens="24-70mm",
        camera_serial="123",
        iso=640,
        exposure_s=0.004,
        aperture=2.8,
        focal_mm=85.0,
        focal_35mm=85.0,
        exposure_bias_ev=-0.333333333,
        flash=True,
        metering="pattern",
        white_balance="manual",
        colour_space="srgb",
        software="Ver.1.00",
        burst_id="abc",
    )
    apex = facts_from("", 'exif:ShutterSpeedValue="8/1" exif:ApertureValue="4/1"')
    assert (apex.exposure_s, apex.aperture) == (1 / 256, 4.0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_land_where_they_are_in_the_upright_picture(orientation):
    """The oracle is the pixels: a red rectangle of the stored picture is turned as a viewer turns it."""
    upright = np.zeros((60, 80, 3), np.uint8)
    upright[10:25, 50:70] = 255
    rows, columns = np.nonzero(stored(upright, orientation)[:, :, 0])
    height, width = stored(upright, orientation).shape[:2]
    left, right = columns.min() / width, (columns.max() + 1) / width
    top, bottom = rows.min() / height, (rows.max() + 1) / height
    region = xmp_region("Ann", (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    facts = facts_from(xmp_regions(region), orientation=orientation)
    assert facts.regions[0].box == pytest.approx((50 / 80, 10 / 60, 20 / 80, 15 / 60), abs=1e-5)


def test_orientation_6_turns_a_region_to_the_right():
    box = upright_box((0.3, 0.2, 0.2, 0.3), 6)
    assert box == pytest.approx((0.5, 0.3, 0.3, 0.2))


def test_regions_have_names_and_kinds():
    facts = facts_from(
        xmp_regions(
            xmp_region("Ann", 0.4, 0.35, 0.2, 0.3),
            xmp_region("Rex", 0.5, 0.5, 0.2, 0.2, kind="Pet"),
            xmp_region("", 0.5, 0.5, 0.1, 0.1, kind="focus"),
            xmp_region("tree", 0.5, 0.5, 0.1, 0.1, kind="Plant"),
        )
        + xmp_array("Iptc4xmpExt:PersonInImage", "Bob", "Ann")
    )
    assert facts.regions == (
        Region((0.3, 0.2, 0.2, 0.3), "Ann"),
        Region((0.4, 0.4, 0.2, 0.2), "Rex", "Pet"),
        Region((0.45, 0.45, 0.1, 0.1), "", "Focus"),
    )
    assert facts.people == ("Bob", "Ann")


def test_regions_in_pixels_are_fractions_of_the_size_they_were_made_on():
    region = xmp_region("Ann", 320, 240, 64, 48).replace("normalized", "pixel")
    assert facts_from(xmp_regions(region)).regions[0].box == pytest.approx((0.45, 0.45, 0.1, 0.1))
    unknown = xmp_regions(region).replace("stDim:w", "stDim:x")
    assert facts_from(unknown).regions == ()


@pytest.mark.parametrize(
    ("numbers", "box"),
    [
        ((0.05, 0.5, 0.2, 0.2), (0.0, 0.4, 0.15, 0.2)),  # over the edge
        ((0.5, 0.5, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)),
        ((1.5, 0.5, 0.2, 0.2), None),
        ((0.5, 0.5, 0.0, 0.2), None),
        ((0.5, 0.5, -0.2, 0.2), None),
        ((0, 0, 8, 8), None),
        ((float("nan"), 0.5, 0.2, 0.2), None),
    ],
)
def test_regions_are_cut_at_the_frame_and_nonsense_is_dropped(numbers, box):
    regions = facts_from(xmp_regions(xmp_region("Ann", *numbers))).regions
    assert [region.box for region in regions] == ([pytest.approx(box)] if box else [])


MICROSOFT = (
    '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>'
    '<rdf:li MPReg:Rectangle="0.3, 0.2, 0.2, 0.3" MPReg:PersonDisplayName="Ann"/>'
    '<rdf:li MPReg:Rectangle="0.3, 0.2, 0.2" MPReg:PersonDisplayName="Bob"/>'
    "</rdf:Bag></MPRI:Regions></MP:RegionInfo>"
)


def test_microsofts_faces_count_where_no_others_are():
    assert facts_from(MICROSOFT).regions == (Region((0.3, 0.2, 0.2, 0.3), "Ann"),)
    assert facts_from(MICROSOFT).people == ("Ann",)
    both = facts_from(MICROSOFT + xmp_regions(xmp_region("Eve", 0.5, 0.5, 0.2, 0.2)))
    assert both.people == ("Eve",)
    focus = facts_from(MICROSOFT + xmp_regions(xmp_region("", 0.5, 0.5, 0.2, 0.2, kind="Focus")))
    assert [region.kind for region in focus.regions] == ["Focus", "Face"]


BOXES = st.tuples(*[st.floats(-0.2, 1.2)] * 2, *[st.floats(0.01, 1)] * 2)


@settings(max_examples=100, deadline=None)
@given(BOXES, st.integers(1, 8))
def test_a_box_is_always_inside_the_frame(box, orientation):
    upright = upright_box(box, orientation)
    if upright is not None:
        x, y, width, height = upright
        assert 0 <= x <= x + width <= 1 + 1e-5
        assert 0 <= y <= y + height <= 1 + 1e-5


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([
    "xmp:Rating", "MicrosoftPhoto:Rating", "exif:GPSLatitude", "exif:GPSLongitude", "exif:GPSAltitude",
    "exif:DateTimeOriginal", "exif:OffsetTimeOriginal", "exif:ExposureTime", "exif:FNumber", "dc:subject",
    "exif:ISOSpeedRatings", "exif:ShutterSpeedValue", "GPano:FullPanoWidthPixels", "mwg-rs:Regions",
]), st.text("0123456789.,/:-+TZNeainf ²٣", max_size=24), max_size=6))  # fmt: skip
def test_no_value_is_an_error(values):
    facts_from("", " ".join(f'{name}="{value}"' for name, value in values.items()))


def test_a_time_of_blanks_without_end_takes_no_time():
    """Two runs of blanks side by side in its pattern took minutes for some megabytes."""
    packet = xmp_packet(f"<xmp:CreateDate>2024-01-01T10:00:00{' ' * 1_000_000}x</xmp:CreateDate>")
    started = time.process_time()
    read_xmp(packet)
    assert time.process_time() - started < 1
