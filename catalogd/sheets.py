"""Contact sheets: many photos on one page, to look at and to hand on, made from their thumbnails.

A sheet is one file that needs nothing beside it: HTML with the pictures inside, or one JPEG.
"""

from __future__ import annotations

import base64
import html
import io
import urllib.parse
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from catalogd.records import display_path

TILE_PX = 256  # edge of a picture's cell on a JPEG sheet: 5 columns make a page of 1,400 px
GAP_PX = 16
LINE_PX = 18  # of the two lines under a picture
HEADING_PX = 40
MOST_JPEG_ROWS = 150  # JPEG holds 65,535 px; a viewer opens 45,000 without trouble
JPEG_QUALITY = 88
_PAPER, _INK, _FAINT, _EMPTY = (24, 24, 26), (235, 235, 235), (150, 150, 155), (44, 44, 48)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #8889 }
body { font: 15px/1.4 system-ui, sans-serif; margin: 24px; }
h1 { font-size: 20px; font-weight: 600; margin: 0 0 4px; overflow-wrap: anywhere }
p { color: GrayText; margin: 0 0 20px }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 20px }
figure { margin: 0; display: flex; flex-direction: column; gap: 6px; min-width: 0 }
a.picture { aspect-ratio: 1; display: grid; place-items: center; background: #8882; border-radius: 6px;
  overflow: hidden; color: GrayText; text-decoration: none }
img { width: 100%; height: 100%; object-fit: contain; display: block }
figcaption { font-size: 13px; overflow-wrap: anywhere }
figcaption b { font-weight: 600 }
figcaption small { color: GrayText; display: block; font-size: 12px }
"""


class Tile(NamedTuple):
    """One photo of a sheet."""

    path: bytes
    thumbnail: bytes | None  # a JPEG or WebP file
    mark: str = ""  # before the name: a score, a place in a ranking
    lines: tuple[str, ...] = ()  # under the name: why it is here


def html_sheet(title: str, note: str, tiles: Sequence[Tile]) -> str:
    """The sheet as one HTML page; each picture links to the photo on this machine."""
    figures = "\n".join(_figure(tile) for tile in tiles)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{html.escape(title)}</h1>\n<p>{html.escape(note)}</p>\n"
        f"<main>\n{figures}\n</main>\n</html>\n"
    )


def _figure(tile: Tile) -> str:
    link = "file://" + urllib.parse.quote(tile.path)
    name = html.escape(display_path(tile.path.rpartition(b"/")[2]))
    mark = f"<b>{html.escape(tile.mark)}</b> " if tile.mark else ""
    lines = "".join(f"<small>{html.escape(line)}</small>" for line in tile.lines)
    hint = html.escape(display_path(tile.path))
    return (
        f'<figure><a class="picture" href="{html.escape(link)}" title="{hint}">'
        f"{_picture(tile, name)}</a><figcaption>{mark}{name}{lines}</figcaption></figure>"
    )


def _picture(tile: Tile, name: str) -> str:
    if tile.thumbnail is None:
        return "no thumbnail"
    kind = "jpeg" if tile.thumbnail.startswith(b"\xff\xd8") else "webp"
    packed = base64.b64encode(tile.thumbnail).decode()
    return f'<img alt="{name}" loading="lazy" src="data:image/{kind};base64,{packed}">'


def jpeg_sheet(title: str, note: str, tiles: Sequence[Tile], columns: int = 5) -> bytes:
    """The sheet as one JPEG file. Raises ValueError when there are too many photos for one."""
    columns = max(1, min(columns, len(tiles)))
    rows = -(-len(tiles) // columns)
    if rows > MOST_JPEG_ROWS:
        raise ValueError(f"one JPEG holds {MOST_JPEG_ROWS * columns:,} photos, not {len(tiles):,}; take HTML")
    cell_width, cell_height = TILE_PX + GAP_PX, TILE_PX + 2 * LINE_PX + GAP_PX
    size = (columns * cell_width + GAP_PX, HEADING_PX + LINE_PX + rows * cell_height + GAP_PX)
    page = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(page)
    _write(draw, (GAP_PX, GAP_PX // 2), title, 20, _INK, size[0] - 2 * GAP_PX)
    _write(draw, (GAP_PX, HEADING_PX - 6), note, 13, _FAINT, size[0] - 2 * GAP_PX)
    for number, tile in enumerate(tiles):
        left = GAP_PX + number % columns * cell_width
        _draw_tile(page, draw, tile, left, HEADING_PX + LINE_PX + number // columns * cell_height)
    packed = io.BytesIO()
    page.save(packed, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return packed.getvalue()


def _draw_tile(page: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    picture = fitted(tile.thumbnail, TILE_PX, TILE_PX)
    if picture is None:
        draw.rectangle((left, top, left + TILE_PX, top + TILE_PX), fill=_EMPTY)
    else:
        page.paste(picture, (left + (TILE_PX - picture.width) // 2, top + (TILE_PX - picture.height) // 2))
    name = display_path(tile.path.rpartition(b"/")[2])
    _write(draw, (left, top + TILE_PX + 2), f"{tile.mark} {name}".strip(), 13, _INK, TILE_PX)
    if tile.lines:
        _write(draw, (left, top + TILE_PX + LINE_PX), tile.lines[0], 12, _FAINT, TILE_PX)


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """One line, cut off where it does not fit."""
    font = ImageFont.load_default(size)
    line = " ".join(text.split())
    if draw.textlength(line, font) > width:
        while line and draw.textlength(line + "…", font) > width:
            line = line[:-1]
        line += "…"
    draw.text(at, line, fill=colour, font=font)


def fitted(thumbnail: bytes | None, width: int, height: int) -> Image.Image | None:
    """The thumbnail as RGB that fits `width` x `height`; None when there is none, or half of one."""
    if thumbnail is None:
        return None
    try:
        with Image.open(io.BytesIO(thumbnail), formats=("JPEG", "WEBP")) as picture:
            small = picture.convert("RGB")
    except OSError:
        return None
    small.thumbnail((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small
