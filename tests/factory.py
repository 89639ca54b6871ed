"""Real photo files for tests, small and made on the spot.

Every `write_*` takes a path and `pixels: uint8[H, W, 3]` as they are to be stored, writes a file of
its format and returns the path as bytes. `orientation` is what the file's header then says.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

SHORT, LONG, RATIONAL, SIGNED_RATIONAL, ASCII, BYTE, UNDEFINED = 3, 4, 5, 10, 2, 1, 7
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
    code = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "II", SIGNED_RATIONAL: "ii"}[kind]
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


def write_dng(path: Path, pixels: Pixels, orientation: int = 1, preview: Pixels | None = None) -> bytes:
    """An uncompressed 16-bit DNG with an RGGB mosaic of `pixels` and perhaps a JPEG preview.

    `pixels` have even edges; both are stored as given, to be turned by `orientation`.
    """
    height, width = pixels.shape[:2]
    linear = (np.power(pixels / 255.0, 2.2) * 65535).astype("<u2")
    mosaic = linear[:, :, 1].copy()
    mosaic[0::2, 0::2] = linear[0::2, 0::2, 0]
    mosaic[1::2, 1::2] = linear[1::2, 1::2, 2]
    strip = mosaic.tobytes()
    shown = jpeg_bytes(preview) if preview is not None else b""
    raw = _dng_directory(height, width, orientation, len(strip))
    if preview is None:
        path.write_bytes(tiff_block(raw, tail=strip))
        return bytes(path)
    size = len(tiff_block(raw, _preview_directory(preview, 1, 1), links={0x014A: 1}))
    second = _preview_directory(preview, size + len(strip), len(shown))
    path.write_bytes(tiff_block(raw, second, links={0x014A: 1}, tail=strip + shown))
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


def _preview_directory(preview: Pixels, start: int, size: int) -> Entries:
    return {
        0x00FE: (LONG, 1),
        0x0100: (LONG, preview.shape[1]),
        0x0101: (LONG, preview.shape[0]),
        0x0102: (SHORT, [8, 8, 8]),
        0x0103: (SHORT, 7),
        0x0106: (SHORT, 6),
        0x0111: (LONG, start),
        0x0115: (SHORT, 3),
        0x0116: (LONG, preview.shape[0]),
        0x0117: (LONG, size),
    }


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
