"""Contact sheets: pages that hold their pictures, whatever the photos are called."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from catalogd import sheets
from catalogd.sheets import Tile, fitted, html_sheet, jpeg_sheet


def thumbnail(colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (300, 200)) -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", size, colour).save(packed, "JPEG", quality=95)
    return packed.getvalue()


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag == "img":
            self.images.append(values["src"])
        if tag == "a":
            self.links.append(values["href"])

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_page_holds_every_picture_and_links_to_its_photo() -> None:
    picture = thumbnail()
    page = Page(html_sheet("dogs", "2 photos", [Tile(b"/a/b c.jpg", picture), Tile(b"/a/\xff.jpg", picture)]))
    assert [base64.b64decode(source.partition(",")[2]) for source in page.images] == [picture, picture]
    assert page.links == ["file:///a/b%20c.jpg", "file:///a/%FF.jpg"]


def test_names_that_look_like_markup_stay_text() -> None:
    evil = b"/a/<img src=x onerror=alert(1)>\"'.jpg"
    page = Page(html_sheet("<b>&", "<i>", [Tile(evil, None, "<u>", ("<s>why</s>",))]))
    assert page.tags.count("b") == 1  # the mark's own
    assert not {"img", "i", "u", "s"} & set(page.tags)
    text = "".join(page.words)
    assert '<img src=x onerror=alert(1)>"' in text
    assert "<s>why</s>" in text


def test_a_photo_without_a_thumbnail_says_so() -> None:
    assert "no thumbnail" in html_sheet("t", "n", [Tile(b"/a.jpg", None)])


def test_a_page_refers_to_nothing_outside_itself() -> None:
    text = html_sheet("t", "n", [Tile(b"/a.jpg", thumbnail())])
    assert not re.findall(r"https?://|<link|<script|@import|url\(", text)


def test_a_jpeg_sheet_shows_each_picture_in_its_cell() -> None:
    colours = [(220, 20, 20), (20, 220, 20), (20, 20, 220)]
    tiles = [Tile(b"/a.jpg", thumbnail(colour, (200, 200))) for colour in colours]
    page = Image.open(io.BytesIO(jpeg_sheet("title", "note", tiles, columns=2))).convert("RGB")
    step = sheets.TILE_PX + sheets.GAP_PX
    row = sheets.TILE_PX + 2 * sheets.LINE_PX + sheets.GAP_PX
    left, top = sheets.GAP_PX + sheets.TILE_PX // 2, sheets.HEADING_PX + sheets.LINE_PX + sheets.TILE_PX // 2
    for colour, at in zip(colours, [(left, top), (left + step, top), (left, top + row)], strict=True):
        seen = page.getpixel(at)
        assert isinstance(seen, tuple)
        assert all(abs(a - b) < 12 for a, b in zip(seen, colour, strict=True))


def test_too_many_photos_for_a_jpeg_are_refused_with_the_number() -> None:
    tiles = [Tile(b"/a.jpg", None)] * (sheets.MOST_JPEG_ROWS * 5 + 1)
    with pytest.raises(ValueError, match="750 photos, not 751"):
        jpeg_sheet("t", "n", tiles)


def test_long_and_odd_names_fit_their_cells() -> None:
    tiles = [Tile(b"/" + b"x" * 400 + b".jpg", thumbnail()), Tile("/ж\u202e\n.jpg".encode(), thumbnail())]
    assert jpeg_sheet("a title that is long " * 30, "n", tiles).startswith(b"\xff\xd8")


def test_half_a_thumbnail_is_none() -> None:
    assert fitted(thumbnail()[:200], 100, 100) is None
    assert fitted(b"no picture", 100, 100) is None
    assert fitted(None, 100, 100) is None


def test_a_picture_fits_and_keeps_its_shape() -> None:
    small = fitted(thumbnail(size=(400, 200)), 100, 100)
    assert small is not None
    assert small.size == (100, 50)
