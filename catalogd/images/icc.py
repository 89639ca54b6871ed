"""ICC profiles (ICC.1:2022): what a matrix profile says, its name, and how one is made.

A matrix profile has a curve a channel, from level to light, and the XYZ of its three primaries; so
does every camera's, display's and working space's. What has tables instead (printers, scanners) is
None here and left to LittleCMS. Nothing raises, whatever the bytes are.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_TAGS = 100  # real profiles have up to about 40
MAX_NAME = 100  # characters
MAX_CURVE_ENTRIES = 65536  # more than 16-bit levels could tell apart
MAX_TAG_BYTES = 12 + 2 * MAX_CURVE_ENTRIES  # the largest that is read here

Floats = NDArray[np.float64]
Chromaticity = tuple[float, float]  # CIE 1931 x, y

WHITE_D50: Chromaticity = (0.3457, 0.3585)
WHITE_D65: Chromaticity = (0.3127, 0.3290)
_PCS_WHITE = (0.9642, 1.0, 0.8249)  # XYZ of D50 as ICC.1 7.2.16 rounds it
_BRADFORD = np.array([(0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)])
_LEVELS = np.linspace(0, 1, 256)
_TABLES = (b"A2B0", b"A2B1", b"A2B2", b"D2B0", b"D2B1", b"D2B2")
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
_PARAMETERS = (1, 3, 4, 5, 7)  # of each type of parametric curve, 10.18


class MatrixProfile(NamedTuple):
    """`curves: float64[3, 256]`, light 0…1 of each level; `matrix: float64[3, 3]`, light to XYZ (D50)."""

    curves: Floats
    matrix: Floats


def data_space(profile: bytes) -> str:
    """The colours that a profile is for: "RGB", "GRAY", "CMYK", "Lab"; "" when it is no profile."""
    known = len(profile) >= 132 and profile[36:40] == b"acsp"
    return profile[16:20].decode("latin-1").rstrip() if known else ""


def read_matrix_profile(profile: bytes) -> MatrixProfile | None:
    """The curves and primaries of an RGB or gray profile; None when it has others, or is broken.

    A gray profile reads as three equal channels, each of a third of white.
    """
    tags = _tags(profile)
    if profile[12:16] not in _CLASSES or profile[20:24] != b"XYZ " or any(name in tags for name in _TABLES):
        return None
    if data_space(profile) == "GRAY":
        curves, columns = [_curve(tags.get(b"kTRC", b""))] * 3, [tuple(v / 3 for v in _PCS_WHITE)] * 3
    elif data_space(profile) == "RGB":
        curves = [_curve(tags.get(name, b"")) for name in (b"rTRC", b"gTRC", b"bTRC")]
        columns = [_xyz(tags.get(name, b"")) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    else:
        return None
    if not all(columns) or any(curve is None for curve in curves):
        return None
    return MatrixProfile(np.array(curves), np.array(columns, float).T)


def description(profile: bytes) -> str | None:
    """The profile's own name, in English where it has one."""
    tag = _tags(profile).get(b"desc", b"")
    if tag[:4] == b"desc":
        text = tag[12 : 12 + int.from_bytes(tag[8:12], "big")].split(b"\0")[0].decode("latin-1")
    elif tag[:4] == b"mluc":
        text = _localized(tag)
    else:
        return None
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_NAME] or None


def primaries_to_xyz(
    red: Chromaticity, green: Chromaticity, blue: Chromaticity, white: Chromaticity
) -> Floats | None:
    """The matrix from light of the primaries to XYZ, adapted to D50 (Bradford, ICC.1 annex E).

    None when the three do not span a plane or a colour has no brightness.
    """
    points = (red, green, blue, white)
    if any(y <= 0 or not (math.isfinite(x) and math.isfinite(y)) for x, y in points):
        return None
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in points]).T
    if abs(np.linalg.det(columns[:, :3])) < 1e-6:
        return None
    matrix = columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])
    gains = (_BRADFORD @ _PCS_WHITE) / (_BRADFORD @ columns[:, 3])
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD @ matrix)


def parametric_curve(*parameters: float) -> bytes:
    """A curve tag of the type that has this number of parameters, in the order of ICC.1 10.18."""
    kind = _PARAMETERS.index(len(parameters))
    return struct.pack(">4sIHH", b"para", 0, kind, 0) + _fixed(parameters)


def sampled_curve(light: Floats) -> bytes:
    """A curve tag through `light: float64[n]`, 0…1, at levels equally far apart."""
    table = np.rint(np.clip(light, 0, 1) * 65535).astype(">u2").tobytes()
    return struct.pack(">4sII", b"curv", 0, len(light)) + table


def make_matrix_profile(name: str, matrix: Floats, curve: bytes) -> bytes:
    """An ICC v4 display profile of one curve tag and of `matrix: float64[3, 3]`, light to XYZ (D50)."""
    text = name.encode("utf-16-be")
    label = struct.pack(">4sIII4sII", b"mluc", 0, 1, 12, b"enUS", len(text), 28) + text
    tags = {b"desc": label, b"cprt": label, b"wtpt": b"XYZ \0\0\0\0" + _fixed(_PCS_WHITE)}
    for letter, column in zip((b"r", b"g", b"b"), matrix.T, strict=True):
        tags[letter + b"XYZ"], tags[letter + b"TRC"] = b"XYZ \0\0\0\0" + _fixed(tuple(column)), curve
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12x4s", start + len(body), 0x04200000, b"mntr", b"RGB ", b"XYZ ", b"acsp"
    )
    return (header.ljust(68, b"\0") + _fixed(_PCS_WHITE)).ljust(128, b"\0") + table + body


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """By name; of each the first `MAX_TAG_BYTES`, since a hundred tags may claim the same bytes."""
    count = min(int.from_bytes(profile[128:132], "big"), MAX_TAGS)
    table = profile[132 : 132 + 12 * count]
    rows = struct.iter_unpack(">4sII", table[: len(table) // 12 * 12])
    return {name: profile[start : start + min(size, MAX_TAG_BYTES)] for name, start, size in rows}


def _fixed(values: tuple[float, ...]) -> bytes:
    """Values as s15Fixed16Number, 4.6."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(tag: bytes) -> tuple[float, ...]:
    if tag[:4] != b"XYZ " or len(tag) < 20:
        return ()
    return tuple(value / 65536 for value in struct.unpack(">3i", tag[8:20]))


def _curve(tag: bytes) -> Floats | None:
    """The light of the 256 levels: curveType (10.6) or parametricCurveType (10.18)."""
    if tag[:4] == b"para" and len(tag) >= 12:
        return _parametric(int.from_bytes(tag[8:10], "big"), tag[12:])
    count = int.from_bytes(tag[8:12], "big")
    if tag[:4] != b"curv" or len(tag) < 12 + 2 * count or count > MAX_CURVE_ENTRIES:
        return None
    if count == 0:
        return _LEVELS
    table = np.frombuffer(tag, ">u2", count, 12)
    if count == 1:
        return np.asarray(_LEVELS ** (table[0] / 256))
    return np.interp(_LEVELS, np.linspace(0, 1, count), table / 65535)


def _parametric(kind: int, numbers: bytes) -> Floats | None:
    count = _PARAMETERS[kind] if kind < len(_PARAMETERS) else 0
    if not count or len(numbers) < 4 * count:
        return None
    given = [value / 65536 for value in struct.unpack_from(f">{count}i", numbers)]
    g, a, b, c, d, e, f = given + [1.0, 0.0, 0.0, 0.0, 0.0, 0.0][count - 1 :]
    if kind in (1, 2):  # the power starts where its base does; below it the light is the last parameter's
        if a == 0:
            return None
        c, d, e, f = 0, -b / a, c, c
    with np.errstate(all="ignore"):
        power = np.maximum(a * _LEVELS + b, 0) ** g + e
        light = np.where(d <= _LEVELS, power, c * _LEVELS + f)
    return np.clip(light, 0, 1) if np.isfinite(light).all() else None


def _localized(tag: bytes) -> str:
    """The English text of a multiLocalizedUnicodeType, 10.15, or its first."""
    count = min(int.from_bytes(tag[8:12], "big"), MAX_TAGS)
    rows = [tag[at : at + 12] for at in range(16, 16 + 12 * count, 12)]
    row = next((row for row in rows if row[:2] == b"en"), rows[0] if rows else b"")
    size, start = int.from_bytes(row[4:8], "big"), int.from_bytes(row[8:12], "big")
    return tag[start : start + min(size, 4 * MAX_NAME)].decode("utf-16-be", "ignore")
