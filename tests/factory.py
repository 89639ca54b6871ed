"""Real photo files for tests, small and made on the spot.

Every `write_*` takes a path and `pixels: uint8[H, W, 3]` as they are to be stored, writes a file of
its format and returns the path as bytes. `orientation` is what the file's header then says.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from catalogd.metadata.items import Items

Pixels = NDArray[np.uint8]

SHORT, LONG, RATIONAL, SIGNED_RATIONAL, ASCII, BYTE, UNDEFINED = 3, 4, 5, 10, 2, 1, 7
LONG8 = 16  # of BigTIFF
_SIZES = {BYTE: 1, ASCII: 1, UNDEFINED: 1, SHORT: 2, LONG: 4, RATIONAL: 8, SIGNED_RATIONAL: 8}
Entries = dict[int, tuple[int, Any]]  # tag: TIFF type, value or values

# How the stored picture is made from the upright one, by EXIF orientation: (turns to the left, mirror).
_STORED = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (1, 0), 7: (1, 1), 8: (3, 0)}


def scene(height: int = 480, width: int = 640, seed: int = 0) -> Pixels:
    """A photo-like picture without symmetry: sky, ground, discs of all sizes, grain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.stack(
        [120 + 90 * x / width, 90 + 110 * y / height, 200 - 120 * (x + y) / (width + height)], -1
    )
    for _ in range(25):
        centre_y, centre_x = random.uniform(0, height), random.uniform(0, width)
        radius = random.uniform(0.02, 0.2) * min(height, width)
        picture[(y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2] = random.uniform(0, 255, 3)
    picture[: height // 4, : width // 4] = (250, 40, 30)  # the upright top left is red
    picture += random.normal(0, 2, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def stored(upright: Pixels, orientation: int) -> Pixels:
    """The pixels that a camera stores so that `orientation` makes them `upright` again."""
    turns, mirror = _STORED[orientation]
    turned = np.rot90(upright, turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirror else turned)


def tiff_block(
    *directories: Entries,
    links: dict[int, int] | None = None,
    order: str = "<",
    magic: int = 42,
    tail: bytes = b"",
) -> bytes:
    """A TIFF structure of some directories.

    `links` maps a pointer tag of the first directory to the index of the directory it points to. A
    LONG value of -1 becomes the offset of `tail`, which ends the block.
    """
    tables = [dict(entries) for entries in directories]
    for tag in links or {}:
        tables[0][tag] = (LONG, 0)
    starts, position = [], 8
    for entries in tables:
        starts.append(position)
        position += 6 + 12 * len(entries) + sum(_outside(*entry) for entry in entries.values())
    for tag, index in (links or {}).items():
        tables[0][tag] = (LONG, starts[index])
    block = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", magic, 8)
    for entries, start in zip(tables, starts, strict=True):
        block += _directory(entries, start, order, position)
    return block + tail


def _encode(kind: int, value: Any, order: str) -> tuple[int, bytes]:
    if kind in (ASCII, BYTE, UNDEFINED) and isinstance(value, str | bytes):
        raw = value.encode() + b"\0" if isinstance(value, str) else value
        return len(raw), raw
    values = value if isinstance(value, list) else [value]
    code = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "II", SIGNED_RATIONAL: "ii", LONG8: "Q"}[kind]
    flat = [part for item in values for part in (item if isinstance(item, tuple) else (item,))]
    return len(values), struct.pack(order + code * len(values), *flat)


def _outside(kind: int, value: Any) -> int:
    raw = _encode(kind, 0 if value == -1 else value, "<")[1]
    return (len(raw) + 1) // 2 * 2 if len(raw) > 4 else 0


def _directory(entries: Entries, start: int, order: str, tail: int) -> bytes:
    table, outside = struct.pack(order + "H", len(entries)), b""
    place = start + 6 + 12 * len(entries)
    for tag in sorted(entries):
        kind, value = entries[tag]
        count, raw = _encode(kind, tail if value == -1 else value, order)
        field = raw.ljust(4, b"\0")
        if len(raw) > 4:
            field = struct.pack(order + "I", place + len(outside))
            outside += raw + b"\0" * (len(raw) % 2)
        table += struct.pack(order + "HHI", tag, kind, count) + field
    return table + struct.pack(order + "I", 0) + outside


def exif_block(orientation: int = 1, order: str = "<") -> bytes:
    """The EXIF of a plausible camera: every fact that `read_facts` knows."""
    main: Entries = {
        0x010F: (ASCII, "NIKON CORPORATION"),
        0x0110: (ASCII, "NIKON Z 6_2"),
        0x0112: (SHORT, orientation),
        0x0132: (ASCII, "2024:05:02 10:00:00"),
    }
    detail: Entries = {
        0x829A: (RATIONAL, (1, 250)),
        0x829D: (RATIONAL, (28, 10)),
        0x8827: (SHORT, 640),
        0x9003: (ASCII, "2024:05:01 17:30:15"),
        0x9011: (ASCII, "+02:00"),
        0x9291: (ASCII, "25"),
        0x920A: (RATIONAL, (85, 1)),
        0xA434: (ASCII, "NIKKOR Z 85mm f/1.8 S"),
    }
    place: Entries = {
        1: (ASCII, "N"),
        2: (RATIONAL, [(48, 1), (8, 1), (15, 1)]),
        3: (ASCII, "W"),
        4: (RATIONAL, [(11, 1), (34, 1), (30, 1)]),
    }
    return tiff_block(main, detail, place, links={0x8769: 1, 0x8825: 2}, order=order)


def jpeg_bytes(
    pixels: Pixels,
    *,
    quality: int = 90,
    exif: bytes | None = None,
    profile: bytes | None = None,
    **options: Any,
) -> bytes:
    """A JPEG in memory; `options` are Pillow's (`progressive`, `subsampling`)."""
    file = io.BytesIO()
    extra = {"exif": b"Exif\0\0" + exif} if exif else {}
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, icc_profile=profile, **extra, **options)
    return file.getvalue()


def write_jpeg(path: Path, pixels: Pixels, orientation: int = 1, **options: Any) -> bytes:
    path.write_bytes(jpeg_bytes(pixels, exif=exif_block(orientation), **options))
    return bytes(path)


def write_plain_jpeg(path: Path, pixels: Pixels, quality: int = 90) -> bytes:
    """A JPEG without any metadata: the fastest to make."""
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality))
    return bytes(path)


def write_png(path: Path, pixels: Pixels, orientation: int = 1) -> bytes:
    Image.fromarray(pixels).save(path, "PNG", exif=b"Exif\0\0" + exif_block(orientation), compress_level=1)
    return bytes(path)


def write_webp(path: Path, pixels: Pixels, orientation: int = 1) -> bytes:
    Image.fromarray(pixels).save(path, "WEBP", exif=exif_block(orientation), quality=90, method=0)
    return bytes(path)


def write_tiff(path: Path, pixels: Pixels, orientation: int = 1) -> bytes:
    tags = {0x0112: orientation, 0x010F: "NIKON CORPORATION", 0x0110: "NIKON Z 6_2"}
    Image.fromarray(pixels).save(path, "TIFF", tiffinfo=tags, compression="tiff_lzw")
    return bytes(path)


def write_heic(path: Path, pixels: Pixels, orientation: int = 1) -> bytes:
    """A HEIC whose rotation is in its own `irot` and `imir`, as phones write it."""
    file = pillow_heif.from_pillow(Image.fromarray(pixels))
    file.save(path, quality=90, exif=exif_block(orientation), enc_params={"preset": "ultrafast"})
    return bytes(path)


def write_avif(path: Path, pixels: Pixels, orientation: int = 1) -> bytes:
    Image.fromarray(pixels).save(path, "AVIF", exif=exif_block(orientation), quality=90, speed=10)
    return bytes(path)


def write_dng(
    path: Path,
    pixels: Pixels,
    orientation: int = 1,
    preview: Pixels | bytes | None = None,
    small_preview: Pixels | bytes | None = None,
    **tags: tuple[int, Any],
) -> bytes:
    """An uncompressed 16-bit DNG with an RGGB mosaic of `pixels` and perhaps JPEG previews.

    `pixels` have even edges; all are stored as given, to be turned by `orientation`. A preview that
    is bytes is a JPEG already. `tags` are more of the first directory, named `t02BC`.
    """
    height, width = pixels.shape[:2]
    linear = (np.power(pixels / 255.0, 2.2) * 65535).astype("<u2")
    mosaic = linear[:, :, 1].copy()
    mosaic[0::2, 0::2] = linear[0::2, 0::2, 0]
    mosaic[1::2, 1::2] = linear[1::2, 1::2, 2]
    strip = mosaic.tobytes()
    raw = _dng_directory(height, width, orientation, len(strip))
    raw |= {int(name[1:], 16): entry for name, entry in tags.items()}
    if preview is None:
        path.write_bytes(tiff_block(raw, tail=strip))
        return bytes(path)
    shown = [picture if isinstance(picture, bytes) else jpeg_bytes(picture) for picture in (preview,)]
    if small_preview is not None:
        shown.append(small_preview if isinstance(small_preview, bytes) else jpeg_bytes(small_preview))
    start = len(tiff_block(raw, _preview_directory(shown, 1), links={0x014A: 1})) + len(strip)
    second = _preview_directory(shown, start)
    path.write_bytes(tiff_block(raw, second, links={0x014A: 1}, tail=strip + b"".join(shown)))
    return bytes(path)


def write_linear_dng(path: Path, pixels: Pixels) -> bytes:
    """An uncompressed 16-bit DNG of all three colours of each pixel, as merged and denoised ones are."""
    strip = (np.power(pixels / 255.0, 2.2) * 65535).astype("<u2").tobytes()
    directory = _dng_directory(*pixels.shape[:2], 1, len(strip))
    del directory[0x828D], directory[0x828E]
    directory |= {0x0102: (SHORT, [16] * 3), 0x0106: (SHORT, 34892), 0x0115: (SHORT, 3)}
    path.write_bytes(tiff_block(directory, tail=strip))
    return bytes(path)


def _dng_directory(height: int, width: int, orientation: int, strip_bytes: int) -> Entries:
    # XYZ to linear sRGB (IEC 61966-2-1): the camera's colours are those of the pixels.
    matrix = [32406, -15372, -4986, -9689, 18758, 415, 557, -2040, 10570]
    return {
        0x00FE: (LONG, 0),
        0x0100: (LONG, width),
        0x0101: (LONG, height),
        0x0102: (SHORT, 16),
        0x0103: (SHORT, 1),
        0x0106: (SHORT, 32803),
        0x010F: (ASCII, "Catalogd"),
        0x0110: (ASCII, "Testcam"),
        0x0111: (LONG, -1),
        0x0112: (SHORT, orientation),
        0x0115: (SHORT, 1),
        0x0116: (LONG, height),
        0x0117: (LONG, strip_bytes),
        0x828D: (SHORT, [2, 2]),
        0x828E: (BYTE, b"\0\1\1\2"),
        0xC612: (BYTE, b"\1\4\0\0"),
        0xC614: (ASCII, "Catalogd Testcam"),
        0xC61D: (LONG, 65535),
        0xC621: (SIGNED_RATIONAL, [(value, 10_000) for value in matrix]),
        0xC628: (RATIONAL, [(1, 1), (1, 1), (1, 1)]),
        0xC65A: (SHORT, 21),
    }


def _preview_directory(shown: list[bytes], start: int) -> Entries:
    """The directory of JPEG previews that lie one after another from `start`: one as strip, one apart."""
    height, width = simplejpeg.decode_jpeg_header(shown[0])[:2]
    directory: Entries = {
        0x00FE: (LONG, 1),
        0x0100: (LONG, width),
        0x0101: (LONG, height),
        0x0102: (SHORT, [8, 8, 8]),
        0x0103: (SHORT, 7),
        0x0106: (SHORT, 6),
        0x0111: (LONG, start),
        0x0115: (SHORT, 3),
        0x0116: (LONG, height),
        0x0117: (LONG, len(shown[0])),
    }
    if len(shown) > 1:
        directory |= {0x0201: (LONG, start + len(shown[0])), 0x0202: (LONG, len(shown[1]))}
    return directory


def rgb_profile(swap_red_and_green: bool = False, gamma: float = 1.0) -> bytes:
    """An ICC v2 matrix profile with the primaries of sRGB (D50) and a pure gamma curve.

    With two primaries swapped a conversion that was skipped or done twice cannot be missed.
    """
    primaries = [(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)]
    if swap_red_and_green:
        primaries[0], primaries[1] = primaries[1], primaries[0]
    curve = struct.pack(">4sIIH", b"curv", 0, 1, round(gamma * 256)) + b"\0\0"
    tags = {b"wtpt": _xyz((0.9642, 1.0, 0.8249))}
    for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[name + b"XYZ"], tags[name + b"TRC"] = _xyz(primary), curve
    text = b"test\0"
    tags[b"desc"] = struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(79 + (-len(text) - 91) % 4)
    tags[b"cprt"] = b"text\0\0\0\0none\0\0\0\0"
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    header += b"acsp" + bytes(28) + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(v * 65536) for v in values))


def gray_profile(gamma: float = 2.2, connection: bytes = b"XYZ ") -> bytes:
    """An ICC v2 gray profile with a pure gamma curve, to XYZ or to Lab."""
    curve = struct.pack(">4sIIHH", b"curv", 0, 1, round(gamma * 256), 0)
    tags = {b"kTRC": curve, b"wtpt": _xyz((0.9642, 1.0, 0.8249))}
    return _profile(b"GRAY", connection, tags)


def table_profile() -> bytes:
    """An ICC v2 profile whose table (lut8Type) shows red as green, beside a matrix that does not."""
    ends = (0, 255)
    lab = {0: (0, 128, 128), 255: (255, 128, 128)}
    table = b"".join(
        bytes(lab.get(g, (0, 0, 0))) if r == g == b else bytes((200 if r else 90, 40 if r else 200, 128))
        for r in ends
        for g in ends
        for b in ends
    )
    one = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    curves = bytes(range(256)) * 3
    lut = struct.pack(">4sI4B", b"mft1", 0, 3, 3, 2, 0) + one + curves + table + curves
    matrix = {name + b"XYZ": _xyz((0.3, 0.3, 0.3)) for name in (b"r", b"g", b"b")}
    return _profile(b"RGB ", b"Lab ", {b"A2B0": lut, b"wtpt": _xyz((0.9642, 1.0, 0.8249)), **matrix})


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", space, connection) + bytes(12)
    header += b"acsp" + bytes(28) + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + body


def colour_exif(space: int | None = None, interoperability: str | None = None) -> bytes:
    """An EXIF block that says in which colours the picture is, and nothing else."""
    detail: Entries = {} if space is None else {0xA001: (SHORT, space)}
    index: Entries = {} if interoperability is None else {1: (ASCII, interoperability)}
    inner = 32 + 12 * (len(detail) + 1)  # where the third directory starts
    detail[0xA005] = (LONG, inner)
    return tiff_block({}, detail, index, links={0x8769: 1})


def jpeg_with(content: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG with more segments, (marker, body), right after its start."""
    more = b"".join(
        bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return content[:2] + more + content[2:]


def mpf_jpeg(main: bytes, *pictures: bytes, kinds: tuple[int, ...] = (0x010002,)) -> bytes:
    """A multi-picture JPEG (CIPA DC-007): `main`, then further JPEGs of `kinds`."""
    sizes = [len(picture) for picture in pictures]
    end = len(main) + 4 + len(_mpf_index(0, sizes, kinds))
    return jpeg_with(main, (0xE2, _mpf_index(end, sizes, kinds))) + b"".join(pictures)


def _mpf_index(end: int, sizes: list[int], kinds: tuple[int, ...]) -> bytes:
    header = 10  # where the offsets of the index count from: after SOI, marker, length and name
    rows = [(0x030000, end, 0)]
    for number, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
        rows.append((kind, size, max(0, end + sum(sizes[:number]) - header)))
    entries = b"".join(struct.pack("<IIIHH", *row, 0, 0) for row in rows)
    directory: Entries = {
        0xB000: (UNDEFINED, b"0100"),
        0xB001: (LONG, len(rows)),
        0xB002: (UNDEFINED, entries),
    }
    return b"MPF\0" + tiff_block(directory)


def write_mpf_jpeg(
    path: Path, pixels: Pixels, preview: Pixels, orientation: int = 1, **options: Any
) -> bytes:
    """A camera's JPEG with a large preview behind it; both are stored as given."""
    main = jpeg_bytes(pixels, exif=exif_block(orientation), **options)
    path.write_bytes(mpf_jpeg(main, jpeg_bytes(preview)))
    return bytes(path)


def big_tiff_block(*directories: Entries, links: dict[int, int] | None = None, order: str = "<") -> bytes:
    """A BigTIFF structure: as `tiff_block`, with counts and offsets of 64 bits."""
    tables = [dict(entries) for entries in directories]
    for tag in links or {}:
        tables[0][tag] = (LONG8, 0)
    starts, position = [], 16
    for entries in tables:
        starts.append(position)
        sizes = (len(_encode(*entry, order)[1]) for entry in entries.values())
        position += 16 + 20 * len(entries) + sum(size for size in sizes if size > 8)
    for tag, index in (links or {}).items():
        tables[0][tag] = (LONG8, starts[index])
    block = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, 16)
    for entries, start in zip(tables, starts, strict=True):
        table, outside = struct.pack(order + "Q", len(entries)), b""
        for tag in sorted(entries):
            count, raw = _encode(*entries[tag], order)
            field = raw.ljust(8, b"\0")
            if len(raw) > 8:
                field = struct.pack(order + "Q", start + 16 + 20 * len(entries) + len(outside))
                outside += raw
            table += struct.pack(order + "HHQ", tag, entries[tag][0], count) + field
        block += table + bytes(8) + outside
    return block


def directory_bytes(entries: Entries, start: int, order: str = "<") -> bytes:
    """One directory whose offsets hold when it lies at `start` of its structure."""
    return _directory(entries, start, order, 0)


def noted_exif(
    maker: str,
    note: Callable[[int], bytes],
    main: Entries | None = None,
    detail: Entries | None = None,
    order: str = "<",
) -> bytes:
    """The EXIF of a camera with a maker note: `note(at)` are its bytes when it lies at offset `at`."""
    main = {0x010F: (ASCII, maker), **(main or {})}

    def block(value: bytes) -> bytes:
        noted = {**(detail or {}), 0x927C: (UNDEFINED, value)}
        return tiff_block(main, noted, links={0x8769: 1}, order=order)

    marker = b"\xfe" * len(note(0))
    return block(note(block(marker).index(marker)))


def heic_bytes(pixels: Pixels, *, exif: bytes | None = None, mode: str = "RGB", **options: Any) -> bytes:
    """A HEIC in memory: `mode` and `options` (`tile_size`, `chroma`, `xmp`, …) are pillow-heif's.

    `pixels` have the channels of the mode; uint16 in those that end in ";16".
    """
    picture = pillow_heif.from_bytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
    picture[0].info.update({key: options.pop(key) for key in ("thumbnails", "icc_profile") if key in options})
    file = io.BytesIO()
    defaults = {"quality": 90, "enc_params": {"preset": "ultrafast"}, "exif": exif}
    picture.save(file, **{**defaults, **options})
    return file.getvalue()


@dataclasses.dataclass
class HeifItem:
    """One item of a HEIF file, numbered from 1 in the order they are given to `heif_bytes`."""

    kind: bytes
    content: bytes
    properties: list[tuple[bytes, bytes]] = dataclasses.field(default_factory=list)
    references: dict[bytes, list[int]] = dataclasses.field(default_factory=dict)
    mime: bytes = b""
    claims: int = 0  # bytes that it says to have beyond its own


def coded_item(pixels: Pixels, **options: Any) -> HeifItem:
    """`pixels` as one HEVC picture with its own properties."""
    items = Items(heic_bytes(pixels, **options))
    assert items.primary is not None
    return HeifItem(
        items.primary.kind, items.read(items.primary), [tuple(p) for p in items.primary.properties]
    )


def size_property(height: int, width: int) -> tuple[bytes, bytes]:
    return b"ispe", struct.pack(">III", 0, width, height)


def grid_item(rows: int, columns: int, height: int, width: int, tiles: list[int]) -> HeifItem:
    head = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)
    return HeifItem(b"grid", head, [size_property(height, width)], {b"dimg": tiles})


def auxiliary(item: HeifItem, of: int, kind: bytes) -> HeifItem:
    """The item as an auxiliary picture of another: `kind` is its URN."""
    properties = [*item.properties, (b"auxC", bytes(4) + kind + b"\0")]
    return dataclasses.replace(item, properties=properties, references={b"auxl": [of]})


def heif_bytes(*items: HeifItem, primary: int = 1, brand: bytes = b"heic") -> bytes:
    """A HEIF file of some items (ISO/IEC 14496-12, 8.11)."""
    front = _box(b"ftyp", brand + bytes(4) + b"mif1" + brand)
    size = len(front) + len(_meta(items, primary, 0)) + 8
    return front + _meta(items, primary, size) + _box(b"mdat", b"".join(item.content for item in items))


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _meta(items: tuple[HeifItem, ...], primary: int, start: int) -> bytes:
    kinds = places = references = properties = associations = b""
    count = 0
    for number, item in enumerate(items, 1):
        tail = b"\0" + (item.mime + b"\0" if item.mime else b"")
        kinds += _box(b"infe", b"\2\0\0\0", struct.pack(">HH", number, 0), item.kind, tail)
        length = len(item.content) + item.claims
        places += struct.pack(">HHHQQ", number, 0, 1, start, length)
        start += len(item.content)
        for kind, targets in item.references.items():
            numbers = struct.pack(f">HH{len(targets)}H", number, len(targets), *targets)
            references += _box(kind, numbers)
        essential = {b"clap", b"irot", b"imir"}
        indices = [
            count + i | (0x8000 if kind in essential else 0) for i, (kind, _) in enumerate(item.properties, 1)
        ]
        associations += struct.pack(f">HB{len(indices)}H", number, len(indices), *indices)
        properties += b"".join(_box(kind, content) for kind, content in item.properties)
        count += len(indices)
    return _box(
        b"meta",
        bytes(4),
        _box(b"hdlr", bytes(8), b"pict", bytes(13)),
        _box(b"pitm", bytes(4), struct.pack(">H", primary)),
        _box(b"iinf", bytes(4), struct.pack(">H", len(items)), kinds),
        _box(b"iloc", bytes(4), b"\x88\0", struct.pack(">H", len(items)), places),
        _box(b"iref", bytes(4), references),
        _box(
            b"iprp",
            _box(b"ipco", properties),
            _box(b"ipma", b"\0\0\0\1", struct.pack(">I", len(items)), associations),
        ),
    )


def psd_bytes(
    pixels: NDArray[Any],
    mode: str = "RGB",
    *,
    depth: int = 8,
    large: bool = False,
    packed: bool = True,
    composite: bool = True,
    resources: dict[int, bytes] | None = None,
    palette: bytes = b"",
) -> bytes:
    """A Photoshop document whose composite is `pixels`, `uint8[H, W]` or `uint8[H, W, C]`, as stored.

    `mode` is Pillow's; `large` makes a PSB. At 16 bits a level is repeated, at 32 it is light.
    """
    colours = {"1": 0, "L": 1, "P": 2, "RGB": 3, "CMYK": 4, "LAB": 9}[mode]
    planes = [pixels] if pixels.ndim == 2 else list(np.moveaxis(pixels, -1, 0))
    height, width = planes[0].shape
    found = {0x0421: struct.pack(">IB", 1, composite) + bytes(12), **(resources or {})}
    block = b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)
        for number, data in found.items()
    )
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1 + large, len(planes), height, width, depth, colours)
    head = header + struct.pack(">I", len(palette)) + palette + struct.pack(">I", len(block)) + block
    head += bytes(8 if large else 4)
    rows = [_psd_row(row, depth) for plane in planes for row in plane]
    if not packed:
        return head + b"\0\0" + b"".join(rows)
    packed_rows = [_packed_bits(row) for row in rows]
    lengths = struct.pack(f">{len(rows)}{'I' if large else 'H'}", *map(len, packed_rows))
    return head + b"\0\1" + lengths + b"".join(packed_rows)


def _psd_row(row: NDArray[Any], depth: int) -> bytes:
    if depth == 1:
        return np.packbits(row == 0).tobytes()  # a set bit is black
    if depth == 16:
        return np.repeat(row, 2).tobytes()
    return (row / 255).astype(">f4").tobytes() if depth == 32 else row.tobytes()


def _packed_bits(row: bytes) -> bytes:
    """PackBits (TIFF 6.0, section 9): runs of three and more, the rest as it is."""
    packed, at = b"", 0
    while at < len(row):
        run = len(row[at : at + 128]) - len(row[at : at + 128].lstrip(row[at : at + 1]))
        if run >= 3:
            packed += bytes([257 - run]) + row[at : at + 1]
        else:
            run = min(128, len(row) - at)
            packed += bytes([run - 1]) + row[at : at + run]
        at += run
    return packed


def png_with(pixels: Pixels, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with `chunks`, each a kind and its content, before its picture."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    plain, made = file.getvalue(), b""
    for kind, content in chunks:
        check = struct.pack(">I", zlib.crc32(kind + content))
        made += struct.pack(">I", len(content)) + kind + content + check
    return plain[:33] + made + plain[33:]


def box(kind: bytes, content: bytes) -> bytes:
    """A box of ISO/IEC 14496-12; `kind` may be `uuid` and its 16 bytes."""
    return struct.pack(">I", 4 + len(kind) + len(content)) + kind + content
