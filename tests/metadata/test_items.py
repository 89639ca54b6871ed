from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata.items import MAX_META_BYTES, Crop, Items, Nclx
from tests import factory
from tests.factory import HeifItem, auxiliary, grid_item, heif_bytes, size_property

NCLX = (b"colr", b"nclx" + struct.pack(">HHHB", 12, 13, 6, 0x80))
ICC = (b"colr", b"prof" + b"profile")


def picture(*properties: tuple[bytes, bytes], content: bytes = b"coded") -> HeifItem:
    return HeifItem(b"hvc1", content, [size_property(30, 40), *properties])


def test_items_have_their_kinds_bytes_and_properties():
    items = Items(heif_bytes(picture(NCLX), picture(content=b"other"), primary=2))
    assert [(item.number, item.kind, items.read(item)) for item in items] == [
        (1, b"hvc1", b"coded"),
        (2, b"hvc1", b"other"),
    ]
    assert items.primary is items[2]
    assert items[1].size == (30, 40)
    assert items[1].nclx == Nclx(12, 13, 6, True)
    assert items[2].nclx is None


def test_references_are_followed_both_ways():
    tile = picture()
    thumbnail = HeifItem(b"hvc1", b"small", references={b"thmb": [1]})
    depth = auxiliary(picture(), 1, b"urn:x:depth")
    items = Items(heif_bytes(grid_item(1, 2, 30, 80, [2, 2]), tile, thumbnail, depth))
    assert items.primary is not None
    assert [item.number for item in items.referred(b"dimg", items.primary)] == [2, 2]
    assert [item.number for item in items.referring(b"thmb", items.primary)] == [3]
    assert [item.auxiliary_kind for item in items.referring(b"auxl", items.primary)] == [b"urn:x:depth"]


@pytest.mark.parametrize(
    ("properties", "orientation"),
    [
        ([], 1),
        ([(b"irot", b"\1")], 8),
        ([(b"irot", b"\2")], 3),
        ([(b"irot", b"\3")], 6),
        ([(b"imir", b"\0")], 4),
        ([(b"imir", b"\1")], 2),
        ([(b"irot", b"\1"), (b"imir", b"\0")], 5),
        ([(b"imir", b"\0"), (b"irot", b"\1")], 7),
    ],
)
def test_turning_and_mirroring_are_an_orientation(properties, orientation):
    assert next(iter(Items(heif_bytes(picture(*properties))))).orientation == orientation


def test_the_clean_aperture_is_centred_and_moved():
    clap = (b"clap", struct.pack(">IIIIiIiI", 20, 1, 10, 1, -3, 1, 4, 2))
    assert next(iter(Items(heif_bytes(picture(clap))))).crop == Crop(12, 7, 10, 20)


@pytest.mark.parametrize(
    "numbers", [(20, 0, 10, 1, 0, 1, 0, 1), (50, 1, 10, 1, 0, 1, 0, 1), (20, 1, 10, 1, 30, 1, 0, 1)]
)
def test_a_clean_aperture_that_makes_no_sense_is_none(numbers):
    clap = (b"clap", struct.pack(">IIIIiIiI", *numbers))
    assert next(iter(Items(heif_bytes(picture(clap))))).crop is None


def test_a_grid_without_colours_has_those_of_its_first_tile():
    items = Items(heif_bytes(grid_item(1, 1, 30, 40, [2]), picture(ICC, NCLX)))
    assert items.primary is not None
    assert items.colours(items.primary) == (b"profile", Nclx(12, 13, 6, True))


@pytest.mark.parametrize("start", [b"\0\0\0\0", b"\0\0\0\6Exif\0\0"])
def test_exif_begins_where_its_item_says(start):
    block = factory.exif_block()
    exif = HeifItem(b"Exif", start + block, references={b"cdsc": [1]})
    assert Items(heif_bytes(picture(), exif)).exif == block


def test_exif_that_describes_no_picture_counts_for_the_primary():
    exif = HeifItem(b"Exif", bytes(4) + b"MM\0*1234")
    assert Items(heif_bytes(picture(), exif)).exif == b"MM\0*1234"


def test_an_item_that_reaches_beyond_the_file_has_no_bytes():
    far = picture()
    far.claims = 1 << 40
    items = Items(heif_bytes(far))
    assert items.read(items[1]) == b""


def test_a_meta_box_that_is_too_large_is_not_read():
    content = struct.pack(">I4s", 8 + MAX_META_BYTES + 1, b"meta") + bytes(MAX_META_BYTES + 1)
    assert list(Items(content)) == []


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 12))
def test_damaged_files_never_raise(seed, changes):
    chance = random.Random(seed)
    exif = HeifItem(b"Exif", bytes(4) + factory.exif_block(), references={b"cdsc": [1]})
    content = bytearray(
        heif_bytes(grid_item(1, 2, 30, 80, [2, 2]), picture(ICC, NCLX, (b"irot", b"\1")), exif)
    )
    for _ in range(changes):
        content[chance.randrange(len(content))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
    items = Items(bytes(content[: chance.randrange(len(content) // 2, len(content) + 1)]))
    for item in items:
        assert item.orientation in range(1, 9)
        items.read(item), items.colours(item), item.crop, item.size, item.auxiliary_kind
    assert isinstance(items.exif + items.xmp, bytes)
