"""What of ours parses bytes of a photo, or a query: one function a structure, which takes any bytes.

None must raise. A `PhotoError` or a `QueryError` is an answer where the function says so; anything else that
is raised is a bug, as is a parser that takes long. `python -m tests.fuzz NAME` hunts for such bytes.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable

from catalogd.errors import PhotoError, QueryError
from catalogd.images import icc, jpeg, previews, psd, raw
from catalogd.images.formats import sniff
from catalogd.metadata import Blocks, Tiff, bmff, iptc, read_facts, xmp
from catalogd.metadata.items import Items
from catalogd.metadata.tags import list_tags
from catalogd.query.language import MOST_CHARACTERS, parse
from catalogd.query.writing import render, write
from catalogd.settings import Settings
from catalogd.sync.lightroom.packets import words_of
from catalogd.sync.lightroom.rules import translate

LIMITS = Settings(frame_edge_px=64, max_decoded_pixels=1_000_000)
BOXES_DEEP = 4


def _all(values: Iterable[object]) -> None:
    for _ in values:
        pass


def tiff(content: bytes) -> None:
    for directory in Tiff(content).directories():
        for tag in (0x0100, 0x010F, 0x0111, 0x0201, 0x8769, 0x927C):
            directory.numbers(tag)
            directory.text(tag)
            directory.offsets(tag)


def exif(content: bytes) -> None:
    blocks = Blocks((content,))
    read_facts(blocks)
    _all(list_tags(blocks))


def exif_of_a_cr3(content: bytes) -> None:
    quarter = len(content) // 4
    read_facts(Blocks(tuple(content[i * quarter : (i + 1) * quarter] for i in range(4))))


def xmp_packet(content: bytes) -> None:
    xmp.properties(content)
    read_facts(Blocks(xmp=content))
    half = len(content) // 2
    read_facts(Blocks(xmp=content[:half], xmp_extended=content[half:]))


def iptc_datasets(content: bytes) -> None:
    iptc.datasets(content)
    iptc.read_iptc(content)
    for number in (0x0404, 0x0422, 0x0424):
        iptc.resource(content, number)


def boxes(content: bytes) -> None:
    _walk(content, 0, len(content), BOXES_DEEP)


def _walk(content: bytes, start: int, end: int, deep: int) -> None:
    for box in bmff.boxes(content, start, end):
        assert start <= box.start <= box.end <= end
        if deep:
            _walk(content, box.start, box.end, deep - 1)


def heif_items(content: bytes) -> None:
    items = Items(content)
    for item in items:
        items.read(item, 1 << 20)


def jpeg_header(content: bytes) -> None:
    with contextlib.suppress(PhotoError):
        header = jpeg.read_header(content)
        read_facts(header.blocks)
        jpeg.check_header(content, header, LIMITS)
    jpeg.count_scans(content, 2)


def jpeg_previews(content: bytes) -> None:
    _all(previews.mpf_previews(content, min(12, len(content))))
    _all(previews.note_previews(content, min(12, len(content))))


def raw_previews(content: bytes) -> None:
    for start, size in previews.raw_previews(content):
        assert 0 <= start < start + size <= len(content)
    with contextlib.suppress(PhotoError):
        read_facts(raw.read_raw_blocks(content))


def profile(content: bytes) -> None:
    icc.data_space(content)
    icc.description(content)
    icc.read_matrix_profile(content)


def photoshop(content: bytes) -> None:
    with contextlib.suppress(PhotoError):
        psd.decode_psd(content, LIMITS)


def signature(content: bytes) -> None:
    with contextlib.suppress(PhotoError):
        sniff(content, b"jpg")
        sniff(content, b"nef")


def query(content: bytes) -> None:
    with contextlib.suppress(QueryError):
        plan = parse(content.decode("utf-8", "replace")[:MOST_CHARACTERS])
        render(plan)
        write(plan)


def smart_rules(content: bytes) -> None:
    translate(content.decode("utf-8", "replace"), lambda words: [words])


def lightroom_packet(content: bytes) -> None:
    words_of(content)
    words_of(len(content).to_bytes(4, "big") + zlib.compress(content, 1))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        tiff,
        exif,
        exif_of_a_cr3,
        xmp_packet,
        iptc_datasets,
        boxes,
        heif_items,
        jpeg_header,
        jpeg_previews,
        raw_previews,
        profile,
        photoshop,
        signature,
        query,
        smart_rules,
        lightroom_packet,
    )
}
