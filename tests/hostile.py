"""Files that are broken, or lie, or want to do harm: mutants of good photos, and monsters made by hand.

Everything comes from a seed: `mutants(seed, count)` yields the same bytes on every machine that has the
same encoders. Nothing here is harmful to a program that checks what it reads.
"""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

from tests import factory

EXTENSIONS = (
    "jpg",
    "png",
    "heic",
    "dng",
    "nef",
    "cr2",
    "cr3",
    "tif",
    "webp",
    "gif",
    "bmp",
    "avif",
    "raf",
    "xmp",
)


# ── good photos, small, one or more a format ──────────────────────────────────────────────────


def write_good(folder: Path) -> list[Path]:
    """Small photos of every kind that the factory can make; all of them are read."""
    folder.mkdir(parents=True, exist_ok=True)
    small, wide = factory.scene(48, 64), factory.scene(96, 160, seed=1)
    image = Image.fromarray(wide)
    factory.write_jpeg(folder / "camera.jpg", wide, 6)
    factory.write_plain_jpeg(folder / "plain.jpg", small)
    (folder / "progressive.jpg").write_bytes(factory.jpeg_bytes(wide, progressive=True))
    (folder / "restarts.jpg").write_bytes(factory.jpeg_bytes(wide, restart_marker_rows=1))
    (folder / "xmp.jpg").write_bytes(
        _with_segments(factory.jpeg_bytes(small), _xmp_segment(), _iptc_segment())
    )
    (folder / "profile.jpg").write_bytes(factory.jpeg_bytes(small, profile=factory.rgb_profile(gamma=1.8)))
    image.convert("CMYK").save(folder / "cmyk.jpg", "JPEG")
    image.convert("L").save(folder / "gray.jpg", "JPEG")
    factory.write_png(folder / "photo.png", small, 3)
    image.convert("P").save(folder / "palette.png", transparency=3)
    Image.fromarray(wide[:, :, 0].astype(np.uint16) << 8).save(folder / "deep.png")
    factory.write_webp(folder / "photo.webp", small, 8)
    image.save(folder / "lossless.webp", lossless=True)
    factory.write_tiff(folder / "lzw.tif", small, 5)
    image.save(folder / "jpeg.tif", compression="jpeg")
    image.save(folder / "deflate.tif", compression="tiff_adobe_deflate", big_tiff=True)
    image.convert("F").save(folder / "float.tif")
    image.save(folder / "photo.gif")
    image.save(folder / "photo.bmp")
    image.save(folder / "photo.jp2")
    factory.write_heic(folder / "photo.heic", wide, 6)
    pillow_heif.from_pillow(image.convert("RGBA")).save(folder / "alpha.heic", quality=60)
    factory.write_avif(folder / "photo.avif", small, 7)
    factory.write_dng(folder / "mosaic.dng", wide, 8)
    factory.write_dng(folder / "preview.dng", wide, 1, preview=factory.scene(96, 160, seed=2))
    return sorted(folder.iterdir())


PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4">'
    "<dc:subject><rdf:Bag><rdf:li>harbour</rdf:li><rdf:li>boat</rdf:li></rdf:Bag></dc:subject>"
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Evening</rdf:li></rdf:Alt></dc:title>'
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment; its length field holds what fits."""
    return struct.pack(">BBH", 0xFF, marker, min(len(body) + 2, 0xFFFF)) + body


def _xmp_segment(packet: str = PACKET) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet.encode())


def iptc_block() -> bytes:
    """IPTC datasets, the last of them in a charset that nothing declares."""
    return b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(value)) + value
        for number, value in ((5, b"Evening"), (25, b"harbour"), (120, "Hafen von Århus".encode("latin-1")))
    )


def _iptc_segment() -> bytes:
    datasets = iptc_block()
    resource = (
        b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(datasets)) + datasets + b"\0" * (len(datasets) % 2)
    )
    return segment(0xED, b"Photoshop 3.0\0" + resource)


def _with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


# ── mutants ───────────────────────────────────────────────────────────────────────────────────


def mutate(dice: random.Random, contents: list[bytes]) -> bytes:
    """One of the contents, damaged in one way."""
    return dice.choice(_MUTATIONS)(dice, dice.choice(contents), dice.choice(contents))


def mutants(good: list[Path], seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` pairs of a file name and what went wrong with a good photo's bytes."""
    dice = random.Random(seed)
    contents = [(path.suffix[1:], path.read_bytes()) for path in good]
    for number in range(count):
        extension, content = dice.choice(contents)
        mutate = dice.choice(_MUTATIONS)
        mutant = mutate(dice, content, dice.choice(contents)[1])
        if dice.random() < 0.15:
            extension = dice.choice(EXTENSIONS[:-1])
        yield f"{number:05d}-{mutate.__name__.strip('_')}.{extension}", mutant


def _cut_short(dice: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: dice.randrange(len(content))]


def _flip_bits(dice: random.Random, content: bytes, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 4, 16, 64))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _flip_header_bits(dice: random.Random, content: bytes, other: bytes) -> bytes:
    """Where the structure is: most of a file is picture data, and a decoder's to forgive."""
    head = min(len(content), 1024)
    return _flip_bits(dice, content[:head], other) + content[head:]


def _splice(dice: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: dice.randrange(len(content))] + other[dice.randrange(len(other)) :]


def _set_extreme_number(dice: random.Random, content: bytes, other: bytes) -> bytes:
    number = dice.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
    raw = number.to_bytes(4, dice.choice(("little", "big")))
    raw = raw.lstrip(b"\0") or b"\0" if dice.random() < 0.3 else raw
    at = dice.randrange(min(len(content), 2048))
    return content[:at] + raw + content[at + len(raw) :]


def _wipe(dice: random.Random, content: bytes, other: bytes) -> bytes:
    start = dice.randrange(len(content))
    length = dice.randrange(1, len(content) - start + 1)
    fill = dice.choice((b"\0" * length, b"\xff" * length, dice.randbytes(length)))
    return content[:start] + fill + content[start + length :]


def _repeat(dice: random.Random, content: bytes, other: bytes) -> bytes:
    start = dice.randrange(len(content))
    stretch = content[start : start + dice.randrange(1, 512)]
    return content[:start] + stretch * dice.choice((2, 8, 64)) + content[start:]


def _drop(dice: random.Random, content: bytes, other: bytes) -> bytes:
    start = dice.randrange(len(content))
    return content[:start] + content[start + dice.randrange(1, 512) :]


def _append_rubbish(dice: random.Random, content: bytes, other: bytes) -> bytes:
    return content + dice.randbytes(dice.randrange(1, 4096))


_MUTATIONS: tuple[Callable[[random.Random, bytes, bytes], bytes], ...] = (
    _cut_short,
    _flip_bits,
    _flip_header_bits,
    _splice,
    _set_extreme_number,
    _wipe,
    _repeat,
    _drop,
    _append_rubbish,
)


# ── monsters ──────────────────────────────────────────────────────────────────────────────────


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _png_header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


def _jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG whose header declares a size, without the data for it."""
    jpeg = bytearray(factory.jpeg_bytes(factory.scene(16, 16)))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def _many_scans(scans: int) -> bytes:
    """A progressive JPEG that refines its last scan again and again."""
    jpeg = factory.jpeg_bytes(factory.scene(256, 256), progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * scans + jpeg[-2:]


def _looping_tiff() -> bytes:
    """A directory that is its own next one and its own sub-directory."""
    entries = {0x0100: (factory.LONG, 8), 0x0101: (factory.LONG, 8), 0x014A: (factory.LONG, 8)}
    block = factory.tiff_block(entries)
    return block[:-4] + struct.pack("<I", 8)


def _deep_tiff(depth: int) -> bytes:
    """A chain of `depth` directories."""
    size = 2 + 12 + 4
    chain = b"".join(
        struct.pack("<HHHII", 1, 0x0100, 4, 1, 8) + struct.pack("<I", 8 + (number + 1) * size)
        for number in range(depth)
    )
    return b"II*\0\x08\0\0\0" + chain


def _nested_xmp(depth: int) -> str:
    rdf = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:a="http://example.com/a/"'
    middle = "<a:a><rdf:Description>" * depth + "</rdf:Description></a:a>" * depth
    return f"<rdf:RDF {rdf}><rdf:Description>{middle}</rdf:Description></rdf:RDF>"


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "hahahahaha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + ']><x:xmpmeta xmlns:x="adobe:ns:meta/">&i;</x:xmpmeta>'
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    "<rdf:Description><dc:description>&a;</dc:description></rdf:Description></rdf:RDF>"
)


def _monsters() -> dict[str, bytes]:
    plain = factory.jpeg_bytes(factory.scene(48, 64))
    huge_text = zlib.compress(bytes(256 << 20), 9)
    exif_of_many = factory.tiff_block({0x0110: (factory.ASCII, "x")})
    exif_of_many = exif_of_many[:8] + b"\xff\xff" + exif_of_many[10:] + bytes(60_000)
    elf = b"\x7fELF\x02\x01\x01" + bytes(200)
    return {
        "empty.jpg": b"",
        "one-byte.jpg": b"\xff",
        "only-a-start.jpg": b"\xff\xd8",
        "zeros.jpg": bytes(4096),
        "noise.cr3": random.Random(5).randbytes(65_536),
        "noise.nef": b"MM\0*\0\0\0\x08" + random.Random(6).randbytes(65_536),
        "claims-60000.jpg": _jpeg_claiming(60_000, 60_000),
        "claims-60000.png": _png(_png_header(60_000, 60_000), (b"IDAT", b""), (b"IEND", b"")),
        "claims-2-31.png": _png(_png_header(2**31 - 1, 2**31 - 1)),
        "tall.png": _png(_png_header(1, 100_000_000), (b"IDAT", zlib.compress(bytes(1000)))),
        "text-bomb.png": _png(_png_header(8, 8), (b"zTXt", b"Comment\0\0" + huge_text), (b"IEND", b"")),
        "profile-bomb.png": _png(_png_header(8, 8), (b"iCCP", b"x\0\0" + huge_text), (b"IEND", b"")),
        "claims-60000.bmp": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "claims-65535.gif": b"GIF89a"
        + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
        + b"\x08\x01\0\0;",
        "claims-65535.avif": _avif_claiming(65_535, 65_535),
        "loop.tif": _looping_tiff(),
        "deep.tif": _deep_tiff(100_000),
        "loop.dng": _looping_tiff(),
        "scans.jpg": _many_scans(2000),
        "exif-of-65535-entries.jpg": _with_segments(plain, segment(0xE1, b"Exif\0\0" + exif_of_many)),
        "exif-60-times.jpg": _with_segments(plain, *[segment(0xE1, b"Exif\0\0" + exif_of_many)] * 60),
        "laughs.jpg": _with_segments(plain, _xmp_segment(LAUGHS)),
        "outside.jpg": _with_segments(plain, _xmp_segment(OUTSIDE)),
        "nested.jpg": _with_segments(plain, _xmp_segment(_nested_xmp(700))),
        "profile-of-rubbish.jpg": _with_segments(plain, segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000))),
        "drawing.jpg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "page.jpg": b"<!doctype html><html><body>no photo</body></html>",
        "program.jpg": elf,
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "commands.jpg": b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 '|id'\n",
        "archive.jpg": b"PK\x03\x04" + bytes(100),
    }


def _avif_claiming(width: int, height: int) -> bytes:
    """An AVIF whose picture is small and whose `ispe` says otherwise."""
    file = io.BytesIO()
    Image.fromarray(factory.scene(64, 64)).save(file, "AVIF", speed=10)
    return file.getvalue().replace(struct.pack(">II", 64, 64), struct.pack(">II", width, height))


def write_monsters(folder: Path) -> None:
    """Files, and things that are no files, none of which becomes a photo unless its picture is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _monsters().items():
        (folder / name).write_bytes(content)
    with (folder / "sparse-4-gib.jpg").open("wb") as sparse:
        sparse.truncate(4 << 30)
    with (folder / "sparse-1-gib.dng").open("wb") as sparse:
        sparse.write(_looping_tiff())
        sparse.truncate(1 << 30)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "nowhere.jpg").symlink_to("not-there.jpg")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path has room for 107 bytes
        try:
            listening.bind("socket.jpg")
        finally:
            os.chdir(here)
