from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from catalogd.metadata.bmff import MAX_BOXES, Box, boxes, find


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def test_boxes_follow_each_other():
    content = box(b"ftyp", b"heic") + box(b"free") + box(b"mdat", b"12345")
    assert list(boxes(content)) == [Box(b"ftyp", 8, 12), Box(b"free", 20, 20), Box(b"mdat", 28, 33)]


def test_a_size_of_one_is_written_in_eight_bytes():
    content = struct.pack(">I4sQ", 1, b"mdat", 20) + b"1234" + box(b"free")
    assert list(boxes(content)) == [Box(b"mdat", 16, 20), Box(b"free", 28, 28)]


def test_a_size_of_zero_reaches_to_the_end():
    content = box(b"free") + struct.pack(">I4s", 0, b"mdat") + b"12345"
    assert list(boxes(content))[1] == Box(b"mdat", 16, 21)


def test_a_uuid_box_is_named_by_its_uuid():
    name = bytes(range(16))
    assert list(boxes(box(b"uuid", name + b"body"))) == [Box(b"uuid" + name, 24, 28)]


def test_a_box_that_reaches_beyond_what_encloses_it_ends_the_walk():
    content = box(b"free") + struct.pack(">I4s", 100, b"mdat") + b"12345"
    assert [found.kind for found in boxes(content)] == [b"free"]
    assert list(boxes(content, 0, 12)) == [Box(b"free", 8, 8)]


def test_a_box_smaller_than_its_header_ends_the_walk():
    assert list(boxes(struct.pack(">I4s", 7, b"free") + box(b"mdat"))) == []


def test_boxes_without_end_are_cut_off():
    assert len(list(boxes(box(b"free") * (MAX_BOXES + 5)))) == MAX_BOXES


def test_a_box_is_found_by_its_way():
    inner = box(b"ipco", box(b"ispe", b"123"))
    content = box(b"ftyp") + box(b"meta", bytes(4) + box(b"iprp", inner))
    found = find(content, b"meta", b"iprp", b"ipco", b"ispe")
    assert found is not None
    assert content[found.start : found.end] == b"123"
    assert find(content, b"meta", b"iloc") is None


@given(st.binary(max_size=200))
def test_boxes_lie_within_any_bytes(content):
    end = 0
    for found in boxes(content):
        assert end <= found.start <= found.end <= len(content)
        end = found.end
