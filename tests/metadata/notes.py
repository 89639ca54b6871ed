"""EXIF of many makers' cameras, with the maker notes that each writes, for tests."""

from __future__ import annotations

from tests.factory import ASCII, LONG, RATIONAL, SHORT, UNDEFINED, directory_bytes, noted_exif, tiff_block

BURST, LIVE = "8D5F4BC8-6A1E-4B0B-9A0B-0D8E8D9A1B11", "17C0F0D2-95C1-4BFA-8B0B-7C0A0F4E3A22"
SPECIFICATION = (RATIONAL, [(24, 1), (70, 1), (28, 10), (28, 10)])
CANON_EF_50, OLYMPUS_12_40, PENTAX_FA_50, MINOLTA_28_85 = 1, b"\0\0\1\x10\0\0", b"\4\1", 0


def canon(order: str = "<", lens_type: int = CANON_EF_50, **tags: tuple[int, object]) -> bytes:
    """A DSLR of before 2007: its lens is a number; `tags` are named `t0095`."""
    settings = [0] * 47
    settings[0], settings[16], settings[22:26] = 94, 0x4000 | 125, [lens_type, 50, 50, 1]
    entries = {1: (SHORT, settings), 0x0C: (LONG, 123456)} | {int(k[1:], 16): v for k, v in tags.items()}
    return noted_exif("Canon", lambda at: directory_bytes(entries, at, order), MODEL, order=order)


MODEL = {0x0110: (ASCII, "Test Model 300D")}


def nikon(order: str = ">") -> bytes:
    entries = {0x0002: (SHORT, [0, 800]), 0x001D: (ASCII, "2001881"), 0x0084: SPECIFICATION}
    note = b"Nikon\0\x02\x10\0\0" + tiff_block(entries, order=order)
    return noted_exif("NIKON CORPORATION", lambda at: note, MODEL)


def olympus(start: bytes = b"OLYMPUS\0II\3\0", lens: str = "OLYMPUS M.12-40mm F2.8") -> bytes:
    equipment = {0x0101: (ASCII, "BHP201234"), 0x0201: (UNDEFINED, OLYMPUS_12_40)}
    if lens:
        equipment[0x0203] = (ASCII, lens)
    first = len(start)
    second = first + len(directory_bytes({0x2010: (LONG, 0)}, 0))
    note = start + directory_bytes({0x2010: (LONG, second)}, first) + directory_bytes(equipment, second)
    return noted_exif("OLYMPUS CORPORATION", lambda at: note, MODEL)


def apple(hdr: int = 3) -> bytes:
    start = b"Apple iOS\0\0\1MM"
    entries = {0x0A: (LONG, hdr), 0x0B: (ASCII, BURST), 0x11: (ASCII, LIVE)}
    note = start + directory_bytes(entries, len(start), ">")
    return noted_exif("Apple", lambda at: note, {0x0110: (ASCII, "iPhone 12")}, order=">")


def fujifilm() -> bytes:
    start = b"FUJIFILM\x0c\0\0\0"
    entries = {0x0010: (ASCII, "FF02B1234567")}
    entries |= {0x1404 + i: (RATIONAL, value) for i, value in enumerate([(18, 1), (55, 1), (28, 10), (4, 1)])}
    note = start + directory_bytes(entries, len(start))
    return noted_exif("FUJIFILM", lambda at: note, MODEL, order=">")


def panasonic() -> bytes:
    start = b"Panasonic\0\0\0"
    entries = {0x0025: (UNDEFINED, b"XGC1311120046\0\0\0"), 0x0051: (ASCII, "LUMIX G VARIO 12-32/F3.5-5.6")}
    return noted_exif("Panasonic", lambda at: start + directory_bytes(entries, at + len(start)), MODEL)


def pentax() -> bytes:
    start = b"AOC\0MM"
    entries = {0x003F: (UNDEFINED, PENTAX_FA_50), 0x0229: (ASCII, "3456789")}
    return noted_exif(
        "PENTAX Corporation",
        lambda at: start + directory_bytes(entries, at + len(start), ">"),
        MODEL,
        order=">",
    )


def samsung() -> bytes:
    entries = {0x0001: (UNDEFINED, b"0100"), 0xA002: (ASCII, "A2B3C4D5"), 0xA003: (SHORT, 4)}
    return noted_exif("SAMSUNG", lambda at: directory_bytes(entries, 0), {0x0110: (ASCII, "NX100")})


def sony(lens_type: int = 24) -> bytes:
    start = b"SONY DSC \0\0\0"
    entries = {0xB020: (ASCII, "Standard"), 0xB027: (LONG, lens_type)}
    return noted_exif("SONY", lambda at: start + directory_bytes(entries, at + len(start)), MODEL)


def sigma() -> bytes:
    start = b"SIGMA\0\0\0\1\0"
    entries = {0x0002: (ASCII, "01001234"), 0x0003: (ASCII, "SINGLE")}
    return noted_exif("SIGMA", lambda at: start + directory_bytes(entries, at + len(start)), MODEL)


def minolta() -> bytes:
    entries = {0x0000: (UNDEFINED, b"MLT0"), 0x010C: (LONG, 25)}
    return noted_exif(
        "KONICA MINOLTA",
        lambda at: directory_bytes(entries, at, ">"),
        {0x0110: (ASCII, "DYNAX 7D")},
        order=">",
    )
