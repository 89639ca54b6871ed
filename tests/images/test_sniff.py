"""Which format a file has, by its content alone, and what is said of what is none."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalogd.errors import PhotoError, UnreadableError, UnsupportedError
from catalogd.images.formats import PHOTO_EXTENSIONS, sniff
from catalogd.images.raster import PLUGINS, RARE_PLUGINS
from tests import factory

SCENE = factory.scene(32, 48)
SAVED = {  # format: Pillow's name of it, and the mode that it holds
    "bmp": ("BMP", "RGB"),
    "dds": ("DDS", "RGB"),
    "dib": ("DIB", "RGB"),
    "gif": ("GIF", "P"),
    "ico": ("ICO", "RGB"),
    "icns": ("ICNS", "RGB"),
    "im": ("IM", "RGB"),
    "jp2": ("JPEG2000", "RGB"),
    "jpeg": ("JPEG", "RGB"),
    "msp": ("MSP", "1"),
    "pcx": ("PCX", "RGB"),
    "png": ("PNG", "RGB"),
    "ppm": ("PPM", "RGB"),
    "qoi": ("QOI", "RGB"),
    "sgi": ("SGI", "RGB"),
    "spider": ("SPIDER", "F"),
    "tga": ("TGA", "RGB"),
    "tiff": ("TIFF", "RGB"),
    "webp": ("WEBP", "RGB"),
    "xbm": ("XBM", "1"),
}


def saved(name: str) -> bytes:
    known_as, mode = SAVED[name]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow will drop some of the oldest formats
        Image.fromarray(SCENE).convert(mode).save(file, known_as)
    return file.getvalue()


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("extension", [b"jpg", b"txt", b""])
def test_the_content_decides_whatever_the_name_says(name, extension):
    assert sniff(saved(name), extension) == name


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xff\x4f\xff\x51\0\x2f", "jp2"),
        (b"\xff\x0a\xd8\xb1", "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "jxl"),
        (b"8BPS\0\1", "psd"),
        (b"8BPS\0\2", "psd"),
    ],
)
def test_formats_without_a_writer_are_known_by_their_first_bytes(start, name):
    assert sniff(start + bytes(600), b"") == name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(28), "PostScript"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "XML"),
        (b"  <svg xmlns=''>", "SVG"),
        (b"push graphic-context\n", "MVG"),
        (b"\0\0\0\x18ftypmp42" + bytes(30), "mp42"),
    ],
)
def test_what_is_known_to_be_no_photo_is_named(content, words):
    with pytest.raises(UnsupportedError, match=words):
        sniff(content, b"jpg")


@pytest.mark.parametrize("content", [b"\0", b"x", b"\x7fELF" + bytes(60), bytes(2000), b"#!/bin/sh\nexit\n"])
def test_what_is_nothing_is_unreadable(content):
    with pytest.raises(UnreadableError, match="no known format"):
        sniff(content, b"jpg")


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_have_a_format_or_a_reason(content):
    try:
        name = sniff(content, b"jpg")
    except PhotoError:
        return
    assert name in {*PLUGINS, *RARE_PLUGINS, "avif", "jpeg", "jxl", "psd", "raw", "heif"}


def test_only_the_start_of_an_unknown_file_is_read():
    class Counted(bytes):
        furthest = 0

        def __getitem__(self, place):
            self.furthest = max(self.furthest, min(place.stop, len(self)))
            return super().__getitem__(place)

    content = Counted(np.random.default_rng(5).bytes(4 << 20))
    with pytest.raises(UnreadableError):
        sniff(content, b"jpg")
    assert content.furthest <= 64 << 10


def test_plugins_that_run_programs_or_open_other_files_are_never_imported():
    script = (
        "import sys\n"
        "from catalogd.images.raster import PLUGINS, RARE_PLUGINS, _plugin\n"
        "for name in {**PLUGINS, **RARE_PLUGINS}: _plugin(name)\n"
        "names = ('Eps', 'Pdf', 'Wmf', 'Iptc', 'Mpeg', 'Fpx', 'Mic', 'BufrStub', 'GribStub', 'Hdf5Stub')\n"
        "print([name for name in names if f'PIL.{name}ImagePlugin' in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_scan_looks_for_photos_and_not_for_parts_of_programs():
    assert {
        b"jp2",
        b"jxl",
        b"psd",
        b"psb",
        b"tga",
        b"ppm",
        b"qoi",
        b"mpo",
        b"dng",
        b"apng",
    } <= PHOTO_EXTENSIONS
    assert not {b"ico", b"cur", b"icns", b"dds", b"blp", b"eps", b"svg", b"pdf", b"xmp"} & PHOTO_EXTENSIONS
