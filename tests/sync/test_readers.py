"""Other programs read what we write: a sidecar is only as good as their reading of it."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from catalogd.metadata.exiftool import find_exiftool
from catalogd.metadata.xmp import Value
from catalogd.records import Face, Facts, Output, Place, Quality, Record, Stat, Tag, TextLine
from catalogd.sync.exiftool_writer import ExiftoolWriter, keeps
from catalogd.sync.fields import changes_for
from catalogd.sync.packet import Packet, bag, key, language, new_packet, same, seq, struct, text
from catalogd.sync.policy import Policy
from catalogd.sync.sidecar import write_sidecar
from tests.factory import scene, write_dng, write_jpeg
from tests.packets import xmp_array, xmp_packet
from tests.sync.corpus import KEPT
from tests.sync.readers import (
    Seen,
    accepted_by_exempi,
    by_darktable,
    by_exempi,
    by_exiftool,
    by_exiv2,
    edit_by_darktable,
    sidecar_of,
)

LARGE_BYTES = 1 << 20  # of packets that would only take time
POLICY = Policy(parent=("ours",))
LABEL, TITLE, CAPTION = "Green", 'Bryggen & "the" <wharf>', "Åsa y Ana Núñez, 寿司 🏔\nsecond line"
PERSON = "Ana Núñez"
PATHS = ["family", "Animals|Dog", "Places|Norway|Bergen", f"People|{PERSON}"]
KEYWORDS = ["family", "Dog", "Bergen", PERSON]
LATITUDE, LONGITUDE = 60 + 23.832 / 60, 5 + 19.458 / 60

OF_A_PERSON = {
    "xmp:Rating": text("4"),
    "xmp:Label": text(LABEL),
    "dc:title": language(TITLE),
    "dc:description": language(CAPTION),
    "exif:GPSLatitude": text("60,23.832N"),
    "exif:GPSLongitude": text("5,19.458E"),
}
OURS = {
    "dc:subject": bag(KEYWORDS),
    "lr:hierarchicalSubject": bag(PATHS),
    "digiKam:TagsList": seq([path.replace("|", "/") for path in PATHS]),
    "Iptc4xmpExt:PersonInImage": bag([PERSON]),
}
REGION = {
    "mwg-rs:Name": PERSON,
    "mwg-rs:Type": "Face",
    "mwg-rs:Area": struct(
        {
            "stArea:x": "0.4",
            "stArea:y": "0.35",
            "stArea:w": "0.2",
            "stArea:h": "0.3",
            "stArea:unit": "normalized",
        }
    ),
}
OURS["mwg-rs:Regions"] = struct(
    {
        "mwg-rs:AppliedToDimensions": struct({"stDim:w": "192", "stDim:h": "128", "stDim:unit": "pixel"}),
        "mwg-rs:RegionList": bag([struct(REGION)]),
    }
)

SEEN = Seen(4, LABEL, TITLE, CAPTION, set(KEYWORDS), set(PATHS), {PERSON}, LATITUDE, LONGITUDE)
SEEN_BY_DARKTABLE = dataclasses.replace(
    SEEN, keywords={*KEYWORDS, "Animals", "Places", "Norway", "People"}, people=set()
)


def keyed(properties):
    return {key(name): value for name, value in properties.items()}


def of_another_program() -> bytes:
    """A sidecar as somebody's program left it, with a flat keyword and settings of its own."""
    words = xmp_packet(xmp_array("dc:subject", "family"), 'photoshop:Headline="kept"')
    return Packet.read(words).edited(keyed(OF_A_PERSON))


NEW = new_packet(keyed(OF_A_PERSON | OURS))
EDITED = Packet.read(of_another_program()).edited(keyed(OURS))
PHOTOS = {
    "new.jpg": (write_jpeg, NEW),
    "new.dng": (write_dng, NEW),
    "new.nef": (write_dng, NEW),
    "edited.jpg": (write_jpeg, EDITED),
    "edited.dng": (write_dng, EDITED),
    "adobe.nef": (write_dng, NEW),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """JPEGs, DNGs and RAW files of a maker by name, with sidecars that are new and that were there."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (name, (write, packet)) in enumerate(PHOTOS.items()):
        write(folder / name, scene(128, 192, number))  # darktable takes files of one content for one photo
        sidecar_of(folder / name).write_bytes(packet)
    return [folder / name for name in PHOTOS]


@pytest.mark.parametrize(
    ("read", "expected"),
    [(by_exiftool, SEEN), (by_exiv2, SEEN), (by_exempi, SEEN), (by_darktable, SEEN_BY_DARKTABLE)],
    ids=["exiftool", "exiv2", "exempi", "darktable"],
)
def test_another_program_sees_all_that_it_knows_of_and_leaves_the_sidecar_as_it_is(
    read, expected, photos, tmp_path
):
    before = digests(photos)
    seen = read(photos, tmp_path)
    assert set(seen) == {photo.name for photo in photos}
    for name, found in seen.items():
        assert found.latitude == pytest.approx(LATITUDE, abs=1e-6), name
        assert found.longitude == pytest.approx(LONGITUDE, abs=1e-6), name
        found.latitude, found.longitude = LATITUDE, LONGITUDE
        if read is by_darktable and name.startswith("adobe"):  # there it takes dc:subject for tags, too
            found.paths -= {*KEYWORDS} - {*PATHS}
        assert found == expected, name
    assert digests(photos) == before


@pytest.fixture(scope="module")
def writer():
    with ExiftoolWriter(find_exiftool(None)) as writer:
        yield writer


PHOTO = Record(
    b"/a.jpg",
    Stat(1, 1),
    bytes(16),
    Facts("jpeg", 640, 480, 6, place=Place("NO", "Norway", "Vestland", "Bergen", "Bryggen", 0.4)),
    {
        "embedding": Output("lite0@1.1", tags=(Tag("dog", 0.9), Tag("søn & <far>", 0.8))),
        "faces": Output("yunet@1.1", faces=(Face((0.1, 0.2, 0.2, 0.3), (), 0.9, 0.5),)),
        "text": Output(
            "ocr@1.1", text_lines=(TextLine("PIER 7\t🏔", (), 0.9), TextLine("-XMP:all=", (), 0.9))
        ),
        "quality": Output("quality@1", quality=Quality(61.2, 40.1, 0.45, 0.3, 0.01, 0.0, 2.1, 33.0)),
    },
)


def changes_of_photo(packet: Packet | None):
    return changes_for(PHOTO, packet, POLICY)


def by_ourselves(sidecar: Path, writer: ExiftoolWriter) -> None:
    packet = Packet.read(sidecar.read_bytes())
    sidecar.write_bytes(packet.edited(changes_of_photo(packet)))


def by_exiftool_first(sidecar: Path, writer: ExiftoolWriter) -> None:
    written = write_sidecar(bytes(sidecar), changes_of_photo, writer)
    assert written.state == "written", written.reason


def test_adobes_toolkit_accepts_whatever_it_accepted_before_with_our_words(tmp_path, writer):
    """By both writers, where exiftool is asked at all."""
    sidecar = tmp_path / "a.xmp"
    read = collections.Counter()
    cases = [case for case in KEPT if len(case.content) < LARGE_BYTES]
    for case in cases:
        sidecar.write_bytes(case.content)
        before = seen_by_exempi(sidecar)
        for write in (by_ourselves, by_exiftool_first)[: 1 + keeps(Packet.read(case.content))]:
            sidecar.write_bytes(case.content)
            write(sidecar, writer)
            if before:
                read[write] += 1
                now = seen_by_exempi(sidecar)
                assert "ours|dog" in now[key("lr:hierarchicalSubject")].all(), case.name
                assert now[key("catalogd:OcrText")].text == "PIER 7\t🏔\n-XMP:all=", case.name
                assert before.keys() <= now.keys(), case.name
    assert read[by_ourselves] >= 0.9 * len(cases), "or the toolkit was not asked"
    assert read[by_exiftool_first] >= 0.2 * len(cases), "or exiftool was not"


def seen_by_exempi(sidecar: Path) -> dict[str, Value]:
    """The properties that Adobe's toolkit finds; none when it refuses the packet."""
    packet = accepted_by_exempi(sidecar)
    return Packet.read(packet).properties if packet else {}


# ── taking turns ──────────────────────────────────────────────────────────────────────────────


OURS_TO_CHANGE = {
    *map(key, ("dc:subject", "lr:hierarchicalSubject", "digiKam:TagsList")),
    *map(key, ("catalogd:GeneratedKeywords", "catalogd:GeneratedFields", "catalogd:Models")),
}


def take_turns(rounds: int, folder: Path, writer: ExiftoolWriter) -> None:
    """darktable and catalogd change one sidecar in turns: of neither anything is lost."""
    photo = folder / "a.jpg"
    write_jpeg(photo, scene(128, 192))
    sidecar = sidecar_of(photo)
    sidecar.write_bytes(of_another_program())
    history = None
    for number in range(1, rounds + 1):
        edited = edit_whole(
            photo, folder, rating=number % 6, title=f"title {number}", tag=f"theirs|t{number}"
        )
        record = record_of(photo, *(f"o{it}" for it in range(1, number + 1)))
        written = write_sidecar(
            bytes(sidecar), lambda it, record=record: changes_for(record, it, POLICY), writer
        )
        assert written.state == "written", written.reason
        now = Packet.read(sidecar.read_bytes()).properties
        paths = {"family", *(f"theirs|t{it}" for it in range(1, number + 1))}
        paths |= {f"ours|o{it}" for it in range(1, number + 1)}
        assert set(now[key("lr:hierarchicalSubject")].all()) == paths
        assert {path.rpartition("|")[2] for path in paths} <= set(now[key("dc:subject")].all())
        assert now[key("xmp:Rating")].text == str(number % 6)
        assert now[key("dc:title")].one() == f"title {number}"
        assert now[key("photoshop:Headline")].text == "kept"
        for name, value in edited.properties.items():
            assert name in OURS_TO_CHANGE or same(now[name], value), name
        history = history or edited.properties[key("darktable:history")]
        assert same(now[key("darktable:history")], history)


def edit_whole(photo: Path, folder: Path, **edit: Any) -> Packet:
    """What darktable makes of the sidecar; once more where it came out without what is not darktable's own.

    It writes at import and after the edit, in threads: one of them can find the file half written.
    """
    sidecar = sidecar_of(photo)
    before = sidecar.read_bytes()
    for _ in range(3):
        sidecar.write_bytes(before)
        edit_by_darktable(photo, folder, **edit)
        edited = Packet.read(sidecar.read_bytes())
        if key("photoshop:Headline") in edited.properties:
            break
    return edited


def record_of(photo: Path, *tags: str) -> Record:
    output = Output("lite0@1.1", tags=tuple(Tag(tag, 0.9) for tag in tags))
    return Record(bytes(photo), Stat(1, 1), bytes(16), Facts("jpeg", 192, 128), {"embedding": output})


def test_darktable_and_catalogd_take_turns_and_lose_nothing(tmp_path, writer):
    take_turns(2, tmp_path, writer)


@pytest.mark.torture
def test_darktable_and_catalogd_take_ten_turns_and_lose_nothing(tmp_path, writer):
    take_turns(10, tmp_path, writer)


# ── help ──────────────────────────────────────────────────────────────────────────────────────


def digests(photos: list[Path]) -> list[str]:
    files = [*photos, *map(sidecar_of, photos)]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
