"""IPTC-IIM (Information Interchange Model 4.2): what agencies and old programs wrote into photos.

A block is a row of datasets, each a record number, a dataset number and bytes; the words of a photo
are in record 2. In JPEG, TIFF and PSD the block is one of Photoshop's image resources.

Text says its charset seldom, and programs wrote that of their system: see `charset`. Never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from catalogd.metadata.values import KANA, clean_text, clean_word, clean_words, time, zone_of
from catalogd.records import Facts, Place

IPTC_RESOURCE = 0x0404  # Photoshop's number of the IPTC block
MAX_BLOCK_BYTES = 1 << 20  # the standard's texts together are far below it
MAX_RESOURCES = 1000  # a document has about thirty
MAX_DATASETS = 10_000  # a photo has about thirty, one more for each keyword
MAX_KEYWORD_BYTES = 64  # IIM 4.2, 2:25

_CHARSET = (1, 90)
_TITLE, _KEYWORD, _DATE, _TIME, _CREATOR = (2, 5), (2, 25), (2, 55), (2, 60), (2, 80)
_CITY, _LOCATION, _REGION, _COUNTRY_CODE, _COUNTRY = (2, 90), (2, 92), (2, 95), (2, 100), (2, 101)
_HEADLINE, _COPYRIGHT, _CAPTION = (2, 105), (2, 116), (2, 120)
_PLACE = (_COUNTRY_CODE, _COUNTRY, _REGION, _CITY, _LOCATION)

_PHOTOSHOP = b"Photoshop 3.0\0"
_SIGNATURES = (b"8BIM", b"PHUT", b"DCSR", b"AgHg", b"MeSa")  # Photoshop's, and those of its early versions

# The datasets of record 2 by their names in the standard, and of record 1 those that matter for a file.
_NAMES = {
    (1, 0): "ModelVersion",
    _CHARSET: "CodedCharacterSet",
    (2, 0): "RecordVersion",
    (2, 3): "ObjectTypeReference",
    (2, 4): "ObjectAttributeReference",
    _TITLE: "ObjectName",
    (2, 7): "EditStatus",
    (2, 10): "Urgency",
    (2, 12): "SubjectReference",
    (2, 15): "Category",
    (2, 20): "SupplementalCategory",
    (2, 22): "FixtureIdentifier",
    _KEYWORD: "Keywords",
    (2, 26): "ContentLocationCode",
    (2, 27): "ContentLocationName",
    (2, 30): "ReleaseDate",
    (2, 35): "ReleaseTime",
    (2, 40): "SpecialInstructions",
    _DATE: "DateCreated",
    _TIME: "TimeCreated",
    (2, 62): "DigitalCreationDate",
    (2, 63): "DigitalCreationTime",
    (2, 65): "OriginatingProgram",
    (2, 70): "ProgramVersion",
    _CREATOR: "By-line",
    (2, 85): "By-lineTitle",
    _CITY: "City",
    _LOCATION: "Sub-location",
    _REGION: "Province-State",
    _COUNTRY_CODE: "Country-PrimaryLocationCode",
    _COUNTRY: "Country-PrimaryLocationName",
    (2, 103): "OriginalTransmissionReference",
    _HEADLINE: "Headline",
    (2, 110): "Credit",
    (2, 115): "Source",
    _COPYRIGHT: "CopyrightNotice",
    (2, 118): "Contact",
    _CAPTION: "Caption-Abstract",
    (2, 122): "Writer-Editor",
    (2, 150): "LanguageIdentifier",
}

# 1:90 holds escape sequences of ISO 2022; the last letter names the right half of the code table.
_UTF_8 = (b"\x1b%G", b"\x1b%/G", b"\x1b%/H", b"\x1b%/I")
_RIGHT_HALVES = {
    b"A": "iso8859_1",
    b"B": "iso8859_2",
    b"C": "iso8859_3",
    b"D": "iso8859_4",
    b"F": "iso8859_7",
    b"G": "iso8859_6",
    b"H": "iso8859_8",
    b"L": "iso8859_5",
    b"M": "iso8859_9",
}
_RIGHT_HALF = re.compile(rb"\x1b[-./]([A-M])")
_JAPANESE_ESCAPE = re.compile(rb"\x1b\$[@B]")

# Accented letters of Mac OS Roman where Windows-1252 has signs or capitals that stand in no word.
_MAC_LETTER = re.compile(rb"[A-Za-z][\x87-\x8a\x8d-\x90\x98\x99\x9d\x9f][a-z]|[a-z][\x8a\x8e\x8f\x9f]")
_WINDOWS_LETTER = re.compile(rb"[A-Za-z][\xdf-\xff]|[\xc0-\xff][a-z]")
_RUN = re.compile(rb"[\xa8\xb8\xc0-\xff]+")
_RUSSIAN_VOWELS = frozenset("оаеи".encode("cp1251"))
MIN_CYRILLIC_LETTERS = 8
MIN_CYRILLIC_RUN = 4  # letters in a row: the accents of western text stand alone
MIN_VOWEL_SHARE = 0.28  # of о, а, е, и: a third of Russian prose, less of what Greek and Hebrew look like


def read_iptc(block: bytes) -> Facts:
    """The facts of one block, `format`, `width` and `height` left empty. Never raises."""
    found: dict[tuple[int, int], list[str]] = {}
    for number, text in _decoded(block):
        found.setdefault(number, []).append(text)

    def first(*numbers: tuple[int, int]) -> str:
        return next((text for number in numbers for text in found.get(number, ()) if text.strip()), "")

    taken_at = _taken_at(first(_DATE), first(_TIME))
    return Facts(
        format="",
        width=0,
        height=0,
        taken_at=taken_at,
        zone=zone_of(taken_at),
        place=_place(*(clean_word(first(number)) or "" for number in _PLACE)),
        title=clean_text(first(_TITLE, _HEADLINE)),
        caption=clean_text(first(_CAPTION)),
        creator="; ".join(clean_words(found.get(_CREATOR, ()))) or None,
        copyright=clean_text(first(_COPYRIGHT)),
        keywords=tuple(clean_words(_keywords(found.get(_KEYWORD, ())))),
    )


def _keywords(texts: Iterable[str]) -> Iterator[str]:
    """The keywords; one that is longer than the standard allows is a list that a program did not part."""
    for text in texts:
        yield from text.split(";") if len(text) > MAX_KEYWORD_BYTES else [text]


def _place(country_code: str, country: str, region: str, city: str, location: str) -> Place | None:
    """The place in a person's words; IIM's country codes of three letters are left out."""
    if not (country or region or city or location):
        return None
    code = country_code.upper() if len(country_code) == 2 else ""
    return Place(code, country, region, city, location)


def _taken_at(date: str, clock: str) -> str | None:
    """20240501 and 173015+0200; 000000 alone is the midnight of programs that knew no time."""
    digits = clock.replace(":", "").strip()
    if len(digits) >= 6 and digits[:6] != "000000":
        written = time(f"{date.strip()}T{digits[:2]}:{digits[2:4]}:{digits[4:6]}{digits[6:]}")
        if written is not None:
            return written
    return time(date)


def datasets(block: bytes) -> list[tuple[str, str]]:
    """Every dataset as (name, text), in its order: ("Keywords", "dog"). Never raises.

    A dataset without a name here is called by its numbers, "2:231"; bytes that are no text are
    written in hexadecimal.
    """
    return [(_NAMES.get(number, f"{number[0]}:{number[1]}"), text) for number, text in _decoded(block)]


def resource(block: bytes, number: int) -> bytes:
    """The content of one Photoshop image resource, empty when it is not there. Never raises.

    Adobe Photoshop File Formats Specification, "Image Resource Blocks": signature, number, name,
    size, content; name and content are padded to even lengths.
    """
    at = len(_PHOTOSHOP) if block.startswith(_PHOTOSHOP) else 0
    for _ in range(MAX_RESOURCES):
        head = block[at : at + 7]
        if len(head) < 7 or head[:4] not in _SIGNATURES:
            return b""
        name_bytes = (head[6] + 2) // 2 * 2  # its length byte included
        start = at + 6 + name_bytes + 4
        size = int.from_bytes(block[start - 4 : start], "big")
        if int.from_bytes(head[4:6], "big") == number:
            return block[start : start + size]
        at = start + (size + 1) // 2 * 2
    return b""


def _decoded(block: bytes) -> Iterator[tuple[tuple[int, int], str]]:
    rows = list(_walk(_unwrapped(block)[:MAX_BLOCK_BYTES]))
    declared = next((content for number, content in rows if number == _CHARSET), b"")
    encoding = charset(declared, b"\n".join(content for number, content in rows if number[0] == 2))
    for number, content in rows:
        binary = number[1] == 0 or number[0] != 2
        yield number, content.hex() if binary else _text(content, encoding)


def _text(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("latin-1" if encoding == "cp1252" else encoding, "replace")


def _unwrapped(block: bytes) -> bytes:
    """The datasets of a block that may be a Photoshop resource still, or have its bytes swapped.

    TIFF 6.0 programs that stored it as LONG wrote each four bytes in the file's order.
    """
    if block.startswith((_PHOTOSHOP, *_SIGNATURES)):
        block = resource(block, IPTC_RESOURCE)
    if block[:1] != b"\x1c" and block[3:4] == b"\x1c":
        whole = len(block) // 4 * 4
        swapped = bytearray(whole)
        for i in range(4):
            swapped[i::4] = block[3 - i : whole : 4]
        block = bytes(swapped)
    return block


def _walk(block: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """The datasets in order, up to the first that is damaged (IIM 4.2, 1.5)."""
    at = block.find(b"\x1c")
    for _ in range(MAX_DATASETS):
        head = block[at : at + 5]
        if at < 0 or len(head) < 5 or head[0] != 0x1C:
            return
        size = int.from_bytes(head[3:5], "big")
        start = at + 5
        if size & 0x8000:  # an extended dataset: what is here is the length of its length
            digits = size & 0x7FFF
            if digits > 4:
                return
            size = int.from_bytes(block[start : start + digits], "big")
            start += digits
        if start + size > len(block):
            return
        yield (head[1], head[2]), block[start : start + size]
        at = start + size


def charset(declared: bytes, text: bytes) -> str:
    """The Python codec of a block: what it declares when that can be, else what its text must be.

    `declared` is dataset 1:90. Text that is UTF-8 is taken for it. Else, as far as it can be told
    without a doubt: Shift-JIS (valid, with kana in it), Mac OS Roman
    (its accented letters inside words), Windows-1251 (words of Russian). The rest is Windows-1252,
    as almost all photos with such text are. GBK, Big5 and EUC-KR are not guessed: what is text in
    one of them is text in the others.
    """
    if text.isascii():
        return "iso2022_jp" if _JAPANESE_ESCAPE.search(text) else "ascii"
    if not declared.startswith(_UTF_8):
        match = _RIGHT_HALF.search(declared)
        if match and match[1] in _RIGHT_HALVES:
            return _RIGHT_HALVES[match[1]]
    for guess, fits in _GUESSES:
        if fits(text):
            return guess
    return "cp1252"


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_shift_jis(text: bytes) -> bool:
    if not KANA.search(text):
        return False
    try:
        text.decode("cp932")
    except UnicodeDecodeError:
        return False
    return True


def _is_mac_roman(text: bytes) -> bool:
    return _MAC_LETTER.search(text) is not None and _WINDOWS_LETTER.search(text) is None


def _is_cyrillic(text: bytes) -> bool:
    """Whether the high bytes are whole words of Russian in Windows-1251."""
    runs = _RUN.findall(text)
    letters = b"".join(runs)
    vowels = sum(byte in _RUSSIAN_VOWELS for byte in letters)
    return (
        len(letters) >= MIN_CYRILLIC_LETTERS
        and vowels >= MIN_VOWEL_SHARE * len(letters)
        and max(map(len, runs)) >= MIN_CYRILLIC_RUN
    )


_GUESSES = (
    ("utf-8", _is_utf_8),
    ("cp932", _is_shift_jis),
    ("mac_roman", _is_mac_roman),
    ("cp1251", _is_cyrillic),
)
