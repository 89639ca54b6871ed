"""Packets of old and newer catalogs, whole, damaged and hostile."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.metadata.xmp_facts import text_digest
from catalogd.sync.lightroom.packets import MOST_PACKET_BYTES, NOTHING, packet_of, words_of
from tests.sync.lightroom.lrcat import compressed, packet


@pytest.mark.parametrize("stored", [str, str.encode, compressed, lambda text: zlib.compress(text.encode())])
def test_a_title_is_read_however_the_packet_is_stored(stored: object) -> None:
    words = words_of(stored(packet("Ørsta &amp; Volda", ("Anna", "Ben"))))  # type: ignore[operator]
    assert words.title == "Ørsta & Volda"
    assert words.people == ("Anna", "Ben")


def test_a_packet_without_words_says_nothing() -> None:
    assert words_of(compressed(packet())) == NOTHING
    for stored in (None, "", b"", b"\0\0\0\x10", 5, 1.5, b"\0\0\0\4abcd"):
        assert words_of(stored) == NOTHING


def test_what_catalogd_wrote_is_no_word_of_a_person() -> None:
    def generated(*fields: str) -> str:
        items = "".join(f"<rdf:li>{field}</rdf:li>" for field in fields)
        return f"<catalogd:GeneratedFields><rdf:Bag>{items}</rdf:Bag></catalogd:GeneratedFields>"

    caption = (
        '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">A dog</rdf:li></rdf:Alt></dc:description>'
    )
    own = "<rdf:Bag><rdf:li>Animals|Dog</rdf:li></rdf:Bag>"
    keywords = f"<catalogd:GeneratedKeywords>{own}</catalogd:GeneratedKeywords>"
    record = generated(f"dc:description {text_digest('A dog')}", f"dc:title {text_digest('Ours')}")
    ours = words_of(packet("Ours", more=caption + record + keywords))
    assert ours.title is None
    assert ours.caption is None
    assert ours.left_out == "A dog"
    assert ours.own_keywords == {"animals|dog"}
    edited = words_of(packet("Theirs", more=caption.replace("A dog", "My dog") + record))
    assert edited.title == "Theirs"
    assert edited.caption == "My dog"
    assert edited.left_out is None


def test_a_bomb_is_not_inflated() -> None:
    bomb = _bomb()
    tracemalloc.start()
    try:
        found = packet_of(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == MOST_PACKET_BYTES
    assert peak < 3 * MOST_PACKET_BYTES


def _bomb() -> bytes:
    """64 MiB of blanks in some ten kB."""
    packer = zlib.compressobj(1)
    piece = b" " * (1 << 20)
    content = b"".join(packer.compress(piece) for _ in range(64)) + packer.flush()
    return (1 << 10).to_bytes(4, "big") + content


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_packet_is_read_or_says_nothing(stored: bytes | str) -> None:
    words_of(stored)
    words_of(compressed(packet(more="")).replace(b"\x9c", b"\x9d", 1))


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_packet_says_what_is_left_of_it(at: int, value: int) -> None:
    stored = bytearray(compressed(packet("A title")))
    stored[at % len(stored)] = value
    assert words_of(bytes(stored)).title in (None, "A title") or value
