"""What must be the same in two files for only the packet to differ."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalogd.errors import SidecarRefusedError
from catalogd.sync.contents import compare, read_contents
from tests.factory import (
    ASCII,
    LONG,
    SHORT,
    exif_block,
    jpeg_bytes,
    jpeg_with,
    mpf_jpeg,
    scene,
    tiff_block,
    write_dng,
    write_tiff,
)
from tests.packets import xmp_packet

PIXELS = scene(48, 64)
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"


def jpeg(packet: bytes | None = None, **options) -> bytes:
    plain = jpeg_bytes(PIXELS, exif=exif_block(), **options)
    return plain if packet is None else jpeg_with(plain, (0xE1, XMP_SEGMENT + packet))


def dng(folder: Path, **options) -> bytes:
    write_dng(folder / "a.dng", PIXELS, **options)
    return (folder / "a.dng").read_bytes()


def changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_the_packet_of_a_jpeg_is_found_and_does_not_count():
    with_packet, without = read_contents(jpeg(xmp_packet())), read_contents(jpeg())
    assert (with_packet.packet, without.packet) == (xmp_packet(), None)
    assert compare(without, with_packet) == (None, False)


@pytest.mark.parametrize("part", ["scan", "table", "comment", "second picture", "orientation"])
def test_every_other_byte_of_a_jpeg_counts(part):
    content = jpeg_with(mpf_jpeg(jpeg(), jpeg_bytes(PIXELS)), (0xFE, b"a comment"))
    at = {
        "scan": content.index(b"\xff\xda") + 50,
        "table": content.index(b"\xff\xdb") + 10,
        "comment": content.index(b"a comment"),
        "second picture": len(content) - 100,
        "orientation": content.index(b"NIKON"),
    }[part]
    assert compare(read_contents(content), read_contents(changed(content, at))).lost


def test_an_exif_block_that_was_laid_out_anew_is_the_same_and_one_with_another_value_is_not():
    def with_exif(*tags, links=None):
        directories = [{0x0110: (ASCII, "Camera with a name"), 0x0112: (SHORT, 6)}, *tags]
        block = tiff_block(*directories, links=links)
        return read_contents(jpeg_bytes(PIXELS, exif=block))

    taken = {0x9003: (ASCII, "2024:05:01 17:30:15")}
    first = with_exif(taken, links={0x8769: 1})
    elsewhere = with_exif({}, taken, links={0x8769: 2})
    other = with_exif({0x9003: (ASCII, "2024:05:01 17:30:16")}, links={0x8769: 1})
    assert first.exif != elsewhere.exif
    assert compare(first, elsewhere) == (None, False)
    assert compare(first, other).lost == "IFD0 EXIF tag 9003"


def test_maker_notes_that_moved_are_told():
    def noted(software: str):
        note = {0x927C: (ASCII, "maker's own words")}
        block = tiff_block({0x0112: (SHORT, 1)}, {0x9003: (ASCII, software), **note}, links={0x8769: 1})
        return read_contents(jpeg_bytes(PIXELS, exif=block))

    assert not compare(noted("a" * 30), noted("b" * 30)).notes_moved
    assert compare(noted("a" * 30), noted("a" * 40)).notes_moved


@pytest.mark.parametrize("what", ["mosaic", "preview", "camera"])
def test_every_picture_and_tag_of_a_dng_counts(what, tmp_path):
    content = dng(tmp_path, preview=PIXELS)
    at = {
        "mosaic": content.index(b"\xff\xd8") - 100,
        "preview": len(content) - 100,
        "camera": content.index(b"Testcam"),
    }[what]
    assert compare(read_contents(content), read_contents(changed(content, at))).lost


def test_a_tiff_whose_strips_and_tags_lie_elsewhere_is_the_same():
    strip = PIXELS.tobytes()
    tags = {
        0x0100: (LONG, 64),
        0x0101: (LONG, 48),
        0x010F: (ASCII, "a maker"),
        0x0111: (LONG, -1),
        0x0117: (LONG, len(strip)),
    }
    plain = read_contents(tiff_block(tags, tail=strip))
    with_packet = read_contents(tiff_block({**tags, 0x02BC: (1, xmp_packet() + b"\0")}, tail=strip))
    cut = read_contents(tiff_block({**tags, 0x0117: (LONG, len(strip) - 1)}, tail=strip))
    assert with_packet.packet == xmp_packet()
    assert compare(plain, with_packet) == (None, False)
    assert compare(plain, cut).lost == "IFD0 tag 0117"


def test_a_tiff_of_thousands_of_strips_is_compared_to_its_last(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (3000, 8, 3), np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", tiffinfo={278: 1})
    content = buffer.getvalue()
    last = content.index(np.asarray(picture)[-1].tobytes())
    first = read_contents(content)
    assert compare(first, read_contents(content)) == (None, False)
    assert compare(first, read_contents(changed(content, last))).lost == "IFD0 picture 0111"


def refusal(content: bytes) -> str:
    with pytest.raises(SidecarRefusedError) as refused:
        read_contents(content)
    return str(refused.value)


@pytest.mark.parametrize("cut", [3, 30, 500, -2])
def test_a_jpeg_that_ends_early_is_refused(cut):
    assert "damaged" in refusal(jpeg()[:cut]) or "ends" in refusal(jpeg()[:cut])


def test_a_tiff_or_dng_that_ends_early_is_refused(tmp_path):
    write_tiff(tmp_path / "a.tif", PIXELS)
    for content in (dng(tmp_path), (tmp_path / "a.tif").read_bytes()):
        for cut in (20, len(content) // 2, len(content) - 1):
            assert refusal(content[:cut])


def test_packets_in_several_parts_are_refused():
    segment = (0xE1, XMP_SEGMENT + xmp_packet())
    extended = (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40))
    assert "more than one" in refusal(jpeg_with(jpeg(), segment, segment))
    assert "too long" in refusal(jpeg_with(jpeg(), segment, extended))


def test_raw_files_of_a_maker_and_other_formats_are_refused(tmp_path):
    mosaic = {0x0106: (SHORT, 32803), 0x0100: (LONG, 4), 0x0101: (LONG, 4)}
    assert "maker" in refusal(tiff_block(mosaic))
    for content in (b"\x89PNG\r\n\x1a\n" + bytes(100), b"FUJIFILMCCD-RAW", b"II*\0"):
        assert refusal(content)
