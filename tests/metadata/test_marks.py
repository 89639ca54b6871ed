"""What kind of picture a photo is, where the file says so."""

from __future__ import annotations

import pytest

from catalogd.metadata import Blocks, read_facts
from tests.factory import ASCII, tiff_block
from tests.packets import xmp_array, xmp_packet

SPHERE = (
    'GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="8000" '
    'GPano:FullPanoHeightPixels="4000" '
    'GPano:CroppedAreaImageWidthPixels="8000" GPano:CroppedAreaImageHeightPixels="{height}"'
)
PARTS = (
    "<Container:Directory><rdf:Seq>"
    '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary"/></rdf:li>'
    '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{kind}"/></rdf:li>'
    "</rdf:Seq></Container:Directory>"
)


@pytest.mark.parametrize(
    ("body", "attributes", "marks"),
    [
        ("", 'drone-dji:FlightYawDegree="1"', {"drone"}),
        ("", SPHERE.format(height=4000), {"panorama", "360"}),
        ("", SPHERE.format(height=2000), {"panorama"}),
        ("", 'GPano:ProjectionType="cylindrical"', {"panorama"}),
        ("", 'GPano:UsePanoramaViewer="True"', {"panorama"}),
        ("", 'GPano:UsePanoramaViewer="False"', set()),
        ("", 'hdrgm:Version="1.0"', {"hdr"}),
        (PARTS.format(kind="GainMap"), "", {"hdr"}),
        (PARTS.format(kind="MotionPhoto"), "", {"motion_photo"}),
        (PARTS.format(kind="Other"), "", set()),
        ("", 'GCamera:MotionPhoto="1"', {"motion_photo"}),
        ("", 'GCamera:MicroVideo="1"', {"motion_photo"}),
        ("", 'GCamera:MotionPhoto="0"', set()),
        ("", 'GDepth:Format="RangeInverse"', {"portrait"}),
        (xmp_array("GCamera:SpecialTypeID", "x.SpecialType-PORTRAIT_TYPE"), "", {"portrait"}),
        (xmp_array("exif:UserComment", "Screenshot", kind="Alt"), "", {"screenshot"}),
        ("", 'GCamera:BurstID="abc"', {"burst"}),
        ("", 'exif:FileSource="2"', {"scan"}),
        ("", 'exif:FileSource="3"', set()),
        ("", 'xmp:Rating="1"', set()),
    ],
)
def test_a_packet_tells_marks(body, attributes, marks):
    assert set(read_facts(Blocks(xmp=xmp_packet(body, attributes))).marks) == marks


@pytest.mark.parametrize(
    ("maker", "model", "marks"),
    [
        ("DJI", "FC3170", {"drone"}),
        ("DJI", "Osmo Action", set()),
        ("Hasselblad", "L1D-20c", {"drone"}),
        ("Hasselblad", "X1D II 50C", set()),
        ("Parrot", "Anafi", {"drone"}),
        ("Parrotfish", "1", set()),
        ("EPSON", "Perfection V600", {"scan"}),
        ("NORITSU KOKI", "QSS-32_33", {"scan"}),
        ("FUJIFILM", "SP-3000", {"scan"}),
        ("FUJIFILM", "X-T5", set()),
        ("NIKON CORPORATION", "NIKON D850", set()),
    ],
)
def test_a_camera_tells_marks(maker, model, marks):
    exif = tiff_block({0x010F: (ASCII, maker), 0x0110: (ASCII, model)})
    assert set(read_facts(Blocks((exif,))).marks) == marks


@pytest.mark.parametrize(
    ("name", "is_screenshot"),
    [
        ("Screenshot_20240501-173015.png", True),
        ("Screenshot 2024-05-01 at 17.30.15.png", True),
        ("Screen Shot 2020-01-01 at 10.00.00.png", True),
        ("Bildschirmfoto 2024-05-01 um 17.30.15.png", True),
        ("Capture d’écran 2024-05-01.png", True),
        ("Captura de pantalla (3).png", True),
        ("スクリーンショット 2024-05-01.png", True),
        ("截屏2024-05-01.png", True),
        ("Screenshots.png", False),
        ("My Screenshot.png", False),
        ("IMG_0001.png", False),
    ],
)
def test_a_screenshot_is_known_by_its_name(tmp_path, name, is_screenshot):
    marks = read_facts(Blocks(), bytes(tmp_path / name)).marks
    assert marks == (("screenshot",) if is_screenshot else ())


def test_a_photo_of_a_camera_is_no_screenshot_whatever_its_name(tmp_path):
    exif = tiff_block({0x0110: (ASCII, "X-T5")})
    assert read_facts(Blocks((exif,)), bytes(tmp_path / "Screenshot_1.jpg")).marks == ()


def test_a_screenshot_is_known_by_the_program_that_took_it():
    assert read_facts(Blocks(text=(("Software", "gnome-screenshot"),))).marks == ("screenshot",)
    assert read_facts(Blocks(text=(("Software", "Shotwell"),))).marks == ()


def test_what_the_decoder_saw_comes_first_and_once():
    assert read_facts(Blocks(xmp=xmp_packet("", 'hdrgm:Version="1.0"'), marks=("hdr",))).marks == ("hdr",)
