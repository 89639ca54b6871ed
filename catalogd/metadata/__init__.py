"""What a photo says of itself: EXIF, IPTC and XMP in the file, and the sidecars beside it.

Runs in the readers, on bytes that are at hand anyway, and never raises: whatever is damaged is
just absent.

::

    EXIF ─▶ exif ──────────────┐
    XMP ──▶ xmp ─▶ xmp_facts ──┤
    IPTC ─▶ iptc ──────────────┼─▶ read_facts: whose word counts ─▶ marks ─▶ Facts
    PNG text ──────────────────┤
    sidecars ─▶ xmp_facts ─────┘

Note [whose word counts]. What a camera knows: EXIF before XMP, sidecars last. What a person says:
sidecars before XMP before IPTC before EXIF before PNG text. Time and position are the camera's until
a sidecar says something else: then a person corrected them. Facts that are one statement (keywords
flat and in hierarchies, people and their regions) are taken from one source together, and lists are
never united: a keyword that a person took out of the sidecar must not come back from the file. That
is the reading order of the Metadata Working Group's guidelines (2.0, section 5), with the sidecar,
which they don't know, as the last that was written.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Iterable, Sequence

import msgspec

from catalogd.metadata import marks
from catalogd.metadata.exif import (
    DIGITIZED_TIME,
    ORIGINAL_TIME,
    join_maker,
    open_exif,
    read_exif,
    read_orientation,
)
from catalogd.metadata.iptc import read_iptc
from catalogd.metadata.places import with_place
from catalogd.metadata.sidecars import read_sidecars
from catalogd.metadata.tiff import Content, Directory, Tiff
from catalogd.metadata.values import clean_text, clean_word
from catalogd.metadata.xmp_facts import facts_of, read_xmp
from catalogd.records import Facts

__all__ = ["Blocks", "Content", "Directory", "Tiff", "join_maker", "read_facts", "read_orientation"]

SAME_PLACE_DEG = 1e-4  # 11 m: XMP writes positions with fewer digits than EXIF
SAME_MOMENT_S = 1.0  # XMP often leaves fractions out

# Facts that are one statement, by whose word counts: see Note [whose word counts].
_OF_CAMERA = (
    ("camera",),
    ("camera_serial",),
    ("lens",),
    ("iso",),
    ("exposure_s",),
    ("aperture",),
    ("focal_mm",),
    ("focal_35mm",),
    ("exposure_bias_ev",),
    ("flash",),
    ("metering",),
    ("white_balance",),
    ("colour_space",),
    ("software",),
    ("burst_id",),
)
_OF_PERSON = (
    ("title",),
    ("caption",),
    ("creator",),
    ("copyright",),
    ("keywords", "keyword_paths"),
    ("rating",),
    ("label",),
    ("people", "regions"),
    ("place",),
)
_TIME = ("taken_at", "zone")
_POSITION = ("latitude", "longitude", "altitude_m", "direction_deg")


@dataclasses.dataclass(frozen=True, slots=True)
class Blocks:
    """The metadata of one photo as its decoder found it, undecoded."""

    exif: tuple[Content, ...] = ()  # one TIFF structure; main, detail, place and maker note of a CR3
    xmp: bytes = b""  # the main packet
    xmp_extended: bytes = b""  # of a JPEG: a second packet, put together from its portions
    iptc: bytes = b""  # IPTC-IIM datasets (0x1C …)
    text: tuple[tuple[str, str], ...] = ()  # comments: PNG keyword and text, ("Comment", …) of JPEG and GIF
    marks: tuple[str, ...] = ()  # what the decoder saw: "hdr" of a gain map, "motion_photo" of a film behind


def read_facts(blocks: Blocks, path: bytes = b"") -> Facts:
    """All facts of a photo but its format and size. Never raises.

    With `path` also those of its name and of the sidecars beside it: a few small files are read.
    """
    exif = read_exif(blocks.exif)
    beside = read_sidecars(path) if path else []
    told = [facts_of(root, exif.orientation) for _, root in beside]
    embedded = [read_xmp(blocks.xmp, blocks.xmp_extended, exif.orientation)] if blocks.xmp else []
    older = [read_iptc(blocks.iptc)] if blocks.iptc else []
    noted = [_read_text(blocks.text)] if blocks.text else []
    chosen = {
        **_choose(_OF_CAMERA, [exif, *embedded, *noted, *told]),
        **_choose(_OF_PERSON, [*told, *embedded, *older, exif, *noted]),
        **_choose_time(told, exif, [*embedded, *older], blocks),
        **_choose_position(told, [exif, *embedded]),
    }
    facts = with_place(
        msgspec.structs.replace(exif, **chosen, sidecars=tuple(sidecar for sidecar, _ in beside))
    )
    name = os.fsdecode(os.path.basename(path))
    found = [source.marks for source in (exif, *embedded, *told)]
    return msgspec.structs.replace(
        facts, marks=_unite(blocks.marks, *found, marks.of_photo(facts, name, blocks.text))
    )


def _choose(statements: Iterable[tuple[str, ...]], sources: Sequence[Facts]) -> dict[str, object]:
    """The fields of each statement as the first source has them that says anything of it."""
    chosen: dict[str, object] = {}
    for names in statements:
        for source in sources:
            values = {name: getattr(source, name) for name in names}
            if any(value is not None and value != () for value in values.values()):
                chosen |= values
                break
    return chosen


def _choose_time(
    told: Sequence[Facts], exif: Facts, embedded: Sequence[Facts], blocks: Blocks
) -> dict[str, object]:
    """The camera's time, unless a sidecar tells another; EXIF's only time may be that of the last change."""
    own = _choose([_TIME], [exif, *embedded])
    other = _choose([_TIME], embedded)
    if other and not _same_time(own, other) and not _has_shutter_time(blocks):
        own = other
    corrected = _choose([_TIME], told)
    return corrected if corrected and not _same_time(own, corrected) else own


def _has_shutter_time(blocks: Blocks) -> bool:
    detail = open_exif(blocks.exif).detail
    return ORIGINAL_TIME in detail or DIGITIZED_TIME in detail


def _same_time(one: dict[str, object], other: dict[str, object]) -> bool:
    """Whether two times are the same on the camera's clock, or the same moment by their offsets."""
    if not one or not other:
        return one == other
    first, second = str(one["taken_at"]), str(other["taken_at"])
    if first.startswith(second[: len("2024-05-01T17:30:15")]):
        return True
    if one["zone"] == "local" or other["zone"] == "local":
        return False
    apart = datetime.datetime.fromisoformat(first) - datetime.datetime.fromisoformat(second)
    return abs(apart.total_seconds()) < SAME_MOMENT_S


def _choose_position(told: Sequence[Facts], own: Sequence[Facts]) -> dict[str, object]:
    """The camera's position, unless a sidecar tells another; a direction alone is no position."""
    measured = next((facts for facts in own if facts.latitude is not None), None)
    corrected = next((facts for facts in told if facts.latitude is not None), None)
    if corrected is None or (measured is not None and _same_position(measured, corrected)):
        return _choose([_POSITION], [measured] if measured else own)
    return _choose([_POSITION], [corrected])


def _same_position(one: Facts, other: Facts) -> bool:
    assert None not in (one.latitude, one.longitude, other.latitude, other.longitude)
    pairs = ((one.latitude, other.latitude), (one.longitude, other.longitude))
    return all(abs((a or 0) - (b or 0)) <= SAME_PLACE_DEG for a, b in pairs)


def _read_text(text: Iterable[tuple[str, str]]) -> Facts:
    """The facts of PNG text, by the keywords of its specification (11.3.3.2)."""
    by_keyword: dict[str, str] = {}
    for keyword, value in text:
        by_keyword.setdefault(keyword, value)
    return Facts(
        format="",
        width=0,
        height=0,
        software=clean_word(by_keyword.get("Software", "")),
        title=clean_text(by_keyword.get("Title", "")),
        caption=clean_text(by_keyword.get("Description", "")),
        creator=clean_text(by_keyword.get("Author", "")),
        copyright=clean_text(by_keyword.get("Copyright", "")),
    )


def _unite(*lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mark for some in lists for mark in some))
