"""What a sidecar is to say: complete lists, faces where they are, and nobody's work touched."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogd.metadata.xmp import LANGUAGE
from catalogd.metadata.xmp_facts import read_xmp, upright_box
from catalogd.records import (
    Face,
    Facts,
    ObjectBox,
    Output,
    Place,
    Quality,
    Record,
    Region,
    Stat,
    Tag,
    TextLine,
    UserFacts,
)
from catalogd.sync import fields
from catalogd.sync.fields import FIELDS, changes_for, removal_of_ours
from catalogd.sync.packet import Packet, bag, differences, key, language, new_packet, same, seq, text
from catalogd.sync.policy import Policy
from catalogd.sync.regions import stored_box
from tests.packets import xmp_array, xmp_packet, xmp_region, xmp_regions

POLICY = Policy(parent=("catalogd",))
PLACE = Place("NO", "Norway", "Vestland", "Bergen", "Bryggen", 0.4)
BOXES = ((0.1, 0.2, 0.2, 0.3), (0.6, 0.5, 0.1, 0.15))


def photo(
    *tags: str, faces: tuple[Any, ...] = (), lines: tuple[str, ...] = (), score: float = 0.9, **facts: Any
) -> Record:
    """A record of a photo of 640x480 upright pixels with these tags and faces."""
    outputs = {
        "embedding": Output("lite0@1.1", tags=tuple(Tag(tag, score) for tag in tags)),
        "faces": Output("yunet@1.1", faces=tuple(Face(box, (), 0.9, 0.5) for box in faces)),
        "text": Output("ocr@1.1", text_lines=tuple(TextLine(line, (), 0.9) for line in lines)),
    }
    return Record(b"/photos/a.jpg", Stat(1, 1), b"." * 16, Facts("jpeg", 640, 480, **facts), outputs)


def packet(body: str = "", attributes: str = "") -> Packet:
    return Packet.read(xmp_packet(body, attributes))


def synced(
    record: Record, before: Packet | None = None, only: Any = FIELDS, policy: Policy = POLICY
) -> Packet:
    """The sidecar after a sync; a second one changes nothing."""
    changes = changes_for(record, before, policy, only)
    after = Packet.read(before.edited(changes) if before else new_packet(changes))
    assert changes_for(record, after, policy, only) == {}, "the second sync writes again"
    return after


def edited(before: Packet, **lists: Any) -> Packet:
    """The packet after somebody set properties: `dc_subject=["a"]`, None takes one out."""
    makers = {"dc_subject": bag, "lr_hierarchicalSubject": bag, "digiKam_TagsList": seq}
    changes = {}
    for name, value in lists.items():
        make = makers.get(name, text)
        changes[key(name.replace("_", ":", 1))] = None if value is None else make(value)
    return Packet.read(before.edited(changes))


def words(of: Packet, name: str) -> list[str] | None:
    return of.properties[key(name)].all() if key(name) in of.properties else None


def seen(of: Packet, orientation: int = 1, without: str = "") -> Facts:
    """What a program sees in it that knows nothing of catalogd's records."""
    hidden = [name for name in of.properties if name.startswith(key("catalogd:"))]
    hidden += [key(without)] if without else []
    return read_xmp(of.edited(dict.fromkeys(hidden)), orientation=orientation)


def keywords(of: Packet) -> tuple[list[str] | None, ...]:
    return tuple(words(of, name) for name in ("dc:subject", "lr:hierarchicalSubject", "digiKam:TagsList"))


# ── keywords ──────────────────────────────────────────────────────────────────────────────────


def test_a_new_sidecar_has_each_keyword_in_each_list() -> None:
    after = synced(photo("dog", "AC/DC"))
    assert keywords(after) == (
        ["AC/DC", "dog"],
        ["catalogd|AC/DC", "catalogd|dog"],
        ["catalogd/AC\\DC", "catalogd/dog"],
    )
    facts = seen(after)
    assert (facts.keywords, facts.keyword_paths) == (("AC/DC", "dog"), ("catalogd|AC/DC", "catalogd|dog"))


def test_a_first_list_has_the_keywords_of_the_others_and_a_sidecar_those_of_the_photo() -> None:
    body = xmp_array("dc:subject", "barn", "cat") + xmp_array("lr:hierarchicalSubject", "Animals|cat")
    after = synced(photo("dog"), packet(body))
    assert keywords(after) == (
        ["barn", "cat", "dog"],
        ["Animals|cat", "barn", "catalogd|dog"],
        ["Animals/cat", "barn", "catalogd/dog"],
    )
    after = synced(photo("dog", keywords=("holiday", "cat"), keyword_paths=("Animals|cat",)))
    assert keywords(after) == (
        ["cat", "holiday", "dog"],
        ["Animals|cat", "holiday", "catalogd|dog"],
        ["Animals/cat", "holiday", "catalogd/dog"],
    )


def test_copies_of_what_is_in_the_photo_follow_it_and_never_hide_it() -> None:
    inside = {"keywords": ("holiday", "cat"), "keyword_paths": ("Animals|cat",), "people": ("Ana",)}
    first = synced(photo("dog", faces=BOXES, regions=(Region(BOXES[0], "Ana"),), **inside))
    facts = read_xmp(first.content)
    assert (facts.keywords, facts.keyword_paths, facts.people, facts.regions) == ((), (), (), ())
    after = synced(photo("dog", faces=BOXES, keywords=("beach",)), first)
    assert keywords(after) == (["beach", "dog"], ["beach", "catalogd|dog"], ["beach", "catalogd/dog"])
    assert [region.name for region in seen(after).regions] == ["", ""]
    added = synced(photo("dog", keywords=("lake",)), edited(after, dc_subject=["beach", "dog", "mine"]))
    assert keywords(added)[0] == ["beach", "dog", "mine"], "a list that a person changed is theirs"
    assert read_xmp(added.content).keywords == ("beach", "mine")


def test_lists_that_are_rarely_used_are_kept_up_only_where_they_are_there() -> None:
    after = synced(photo("dog"), packet(xmp_array("mediapro:CatalogSets", "Trips|Norway")))
    assert words(after, "mediapro:CatalogSets") == ["Trips|Norway", "catalogd|dog"]
    assert words(after, "digiKam:TagsList") == ["Trips/Norway", "catalogd/dog"]
    assert words(after, "MicrosoftPhoto:LastKeywordXMP") is None


def test_entries_of_others_keep_their_order_spelling_and_language() -> None:
    body = (
        '<dc:subject><rdf:Seq><rdf:li xml:lang="de">Zaun</rdf:li><rdf:li> a </rdf:li></rdf:Seq></dc:subject>'
    )
    before = packet(body)
    after = synced(photo("dog"), before)
    value = after.properties[key("dc:subject")]
    assert (value.kind, value.all(), value.items[0].language) == ("Seq", ["Zaun", " a ", "dog"], "de")


def test_a_word_that_a_person_gave_already_is_not_given_again() -> None:
    after = synced(photo("dog", "sofa"), packet(xmp_array("lr:hierarchicalSubject", "Pets|Dog|Rex")))
    assert words(after, "lr:hierarchicalSubject") == ["Pets|Dog|Rex", "catalogd|sofa"]
    assert words(after, "catalogd:GeneratedKeywords") == ["catalogd|sofa"]


def test_a_keyword_that_a_run_gives_no_longer_is_taken_out_and_nothing_else() -> None:
    first = synced(photo("dog", "sofa"), packet(xmp_array("dc:subject", "barn")))
    after = synced(photo("sofa"), first)
    assert keywords(after) == (["barn", "sofa"], ["barn", "catalogd|sofa"], ["barn", "catalogd/sofa"])


def test_a_keyword_that_a_person_took_out_does_not_come_back() -> None:
    first = synced(photo("dog", "sofa"), packet(xmp_array("dc:subject", "barn")))
    in_lightroom = edited(
        first, dc_subject=["barn", "sofa"], lr_hierarchicalSubject=["barn", "catalogd|sofa"]
    )
    after = synced(photo("dog", "sofa"), in_lightroom)
    assert keywords(after) == (["barn", "sofa"], ["barn", "catalogd|sofa"], ["barn", "catalogd/sofa"])
    assert words(after, "catalogd:RejectedKeywords") == ["catalogd|dog"]
    renamed = synced(photo("Dog", "sofa"), after, policy=dataclasses.replace(POLICY, parent=("ai",)))
    assert words(renamed, "lr:hierarchicalSubject") == ["barn", "ai|sofa"]
    assert keywords(synced(photo("sofa"), synced(photo("dog", "sofa"), renamed)))[0] == ["barn", "sofa"]


def test_keywords_that_a_person_took_out_of_all_lists_do_not_come_back() -> None:
    first = synced(photo("dog"), packet(xmp_array("dc:subject", "barn")))
    emptied = edited(first, dc_subject=["barn"], lr_hierarchicalSubject=["barn"], digiKam_TagsList=["barn"])
    assert keywords(synced(photo("dog"), emptied)) == (["barn"], ["barn"], ["barn"])


def test_a_keyword_of_a_person_that_they_took_out_does_not_come_back_from_a_copy() -> None:
    first = synced(photo("dog"), packet(xmp_array("dc:subject", "barn", "holiday")))
    removed = edited(first, dc_subject=["barn", "dog"], lr_hierarchicalSubject=["barn", "catalogd|dog"])
    after = synced(photo("dog"), removed)
    assert keywords(after) == (["barn", "dog"], ["barn", "catalogd|dog"], ["barn", "catalogd/dog"])


def test_a_keyword_that_a_person_adds_to_one_list_reaches_the_others() -> None:
    first = synced(photo("dog"), packet(xmp_array("dc:subject", "barn")))
    added = edited(first, dc_subject=["barn", "dog", "cat"])
    assert keywords(synced(photo("dog"), added))[1:] == (
        ["barn", "cat", "catalogd|dog"],
        ["barn", "cat", "catalogd/dog"],
    )


def test_ten_rounds_with_a_program_that_rewrites_its_own_lists_lose_nothing() -> None:
    """darktable writes dc:subject and the hierarchy from its database, which may never have seen ours."""
    record = photo("dog", "sofa", place=PLACE)
    now = synced(record, packet(xmp_array("dc:subject", "barn"), 'xmp:Rating="3"'))
    first = {name: sorted(words(now, name) or []) for name in ("dc:subject", "digiKam:TagsList")}
    for turn in range(10):
        mine = ["barn", f"edit {turn}"]
        rewritten = edited(now, dc_subject=mine, lr_hierarchicalSubject=mine, xmp_Label=f"{turn}")
        now = synced(record, rewritten)
        for name, entries in first.items():
            assert sorted(words(now, name) or []) == sorted([*entries, f"edit {turn}"])
        assert words(now, "catalogd:RejectedKeywords") is None
        assert now.properties[key("photoshop:City")].text == "Bergen"
    dropped = synced(record, edited(now, dc_subject=None, lr_hierarchicalSubject=None))
    assert {"barn", "dog", "sofa"} <= set(words(dropped, "dc:subject") or [])


def test_levels_that_a_program_writes_as_flat_keywords_are_no_keywords_of_their_own() -> None:
    first = synced(photo("dog"), policy=dataclasses.replace(POLICY, parent=("catalogd", "Animals")))
    flattened = edited(first, dc_subject=["Animals", "catalogd", "dog"])
    after = synced(
        photo("dog"), flattened, policy=dataclasses.replace(POLICY, parent=("catalogd", "Animals"))
    )
    assert keywords(after)[1:] == (["catalogd|Animals|dog"], ["catalogd/Animals/dog"])


def test_bookkeeping_of_programs_stays_in_its_list_and_is_not_copied() -> None:
    internal = "_Digikam_Internal_Tags_/Color Label None"
    after = synced(photo("dog"), packet(xmp_array("digiKam:TagsList", internal, "Trips/Norway", kind="Seq")))
    assert words(after, "digiKam:TagsList") == [internal, "Trips/Norway", "catalogd/dog"]
    assert words(after, "dc:subject") == ["Norway", "dog"]


word = st.sampled_from(["a", "b", "c", "A", "x/y", "p|a", "p|b", "a|p"])
lists = st.none() | st.lists(word, max_size=4, unique=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(word, max_size=3), lists, lists, lists, lists, st.lists(word, max_size=3))
def test_whatever_stood_there_stays_and_the_second_sync_writes_nothing(
    tags: list[str],
    flat: list[str] | None,
    paths: list[str] | None,
    tree: list[str] | None,
    later: list[str] | None,
    tags_later: list[str],
) -> None:
    start = packet(xmp_array("tiff:Make", "x"))
    before = edited(start, dc_subject=flat, lr_hierarchicalSubject=paths, digiKam_TagsList=tree)
    after = synced(photo(*tags), before, ("keywords",))
    restored = Packet.read(after.edited(removal_of_ours(after)))
    for had, has, left in zip(keywords(before), keywords(after), keywords(restored), strict=True):
        assert set(had or []) <= set(has or [])
        assert set(had or []) <= set(left or [])
    assert not [entry for left in keywords(restored) for entry in left or [] if "catalogd" in entry]
    changed = edited(after, dc_subject=later)
    again = synced(photo(*tags_later), changed, ("keywords",))
    theirs = {name.casefold() for name in later or []} - {tag.casefold() for tag in tags}
    assert theirs <= {name.casefold() for name in words(again, "dc:subject") or []}


# ── faces ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("orientation", range(1, 9))
def test_faces_are_read_back_where_they_were_found(orientation: int) -> None:
    after = synced(photo(faces=BOXES, orientation=orientation))
    for without in ("MP:RegionInfo", "mwg-rs:Regions"):
        facts = seen(after, orientation, without)
        assert [region.box for region in facts.regions] == [pytest.approx(box, abs=2e-5) for box in BOXES]
        assert {region.kind for region in facts.regions} == {"Face"}


STORED = {  # of the upright box (0.1, 0.2, 0.2, 0.3): centre, width and height as stored
    1: (0.2, 0.35, 0.2, 0.3),
    2: (0.8, 0.35, 0.2, 0.3),
    3: (0.8, 0.65, 0.2, 0.3),
    4: (0.2, 0.65, 0.2, 0.3),
    5: (0.35, 0.2, 0.3, 0.2),
    6: (0.35, 0.8, 0.3, 0.2),
    7: (0.65, 0.8, 0.3, 0.2),
    8: (0.65, 0.2, 0.3, 0.2),
}


def test_exiftool_reads_faces_in_the_space_of_the_stored_picture(tmp_path: Path) -> None:
    for orientation in STORED:
        sidecar = synced(photo(faces=BOXES[:1], orientation=orientation))
        (tmp_path / f"{orientation}.xmp").write_bytes(sidecar.content)
    command = ["exiftool", "-struct", "-j", "-XMP:all", *sorted(tmp_path.iterdir())]
    rows = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    for row, (orientation, stored) in zip(rows, STORED.items(), strict=True):
        info = row["RegionInfo"]
        width_px, height_px = (480, 640) if orientation > 4 else (640, 480)
        assert info["AppliedToDimensions"] == {"W": width_px, "H": height_px, "Unit": "pixel"}
        (region,) = info["RegionList"]
        assert (region["Type"], region["Area"]["Unit"]) == ("Face", "normalized")
        assert [region["Area"][name] for name in "XYWH"] == pytest.approx(stored)
        x, y, width, height = stored
        rectangle = row["RegionInfoMP"]["Regions"][0]["Rectangle"].split(",")
        assert [float(part) for part in rectangle] == pytest.approx(
            [x - width / 2, y - height / 2, width, height]
        )


boxes = st.tuples(*[st.floats(0.01, 0.49)] * 4)


@given(boxes, st.integers(1, 8))
def test_a_box_goes_to_the_stored_picture_and_back(box: Any, orientation: int) -> None:
    stored = stored_box(box, orientation)
    assert stored is not None
    assert upright_box(stored, orientation) == pytest.approx(box, abs=3e-6)


def test_regions_of_others_stay_and_are_not_marked_again() -> None:
    marked = xmp_region("Ana", 0.2, 0.35, 0.22, 0.28) + xmp_region("Rex", 0.5, 0.5, 0.1, 0.1, "Pet")
    before = packet(xmp_regions(marked))
    after = synced(photo(faces=BOXES), before)
    regions = seen(after).regions
    assert [(region.name, region.kind) for region in regions] == [
        ("Ana", "Face"),
        ("Rex", "Pet"),
        ("", "Face"),
    ]
    old, new = (one.properties[key("mwg-rs:Regions")] for one in (before, after))
    kept = new.get("mwg-rs:RegionList").items[:2]
    assert [item.get("mwg-rs:Area", "stArea:w").text for item in kept] == ["0.22", "0.1"]
    assert old.get("mwg-rs:AppliedToDimensions").get("stDim:w").text == "640"
    names = [item.get("MPReg:PersonDisplayName").text for item in microsoft(after)]
    assert names == ["Ana", ""], "the first list of another kind has the faces of the first"
    assert words(after, "Iptc4xmpExt:PersonInImage") == ["Ana"]


def microsoft(of: Packet) -> list[Any]:
    return of.properties[key("MP:RegionInfo")].get("MPRI:Regions").items


def test_regions_in_the_photo_itself_stand_in_its_first_sidecar_too() -> None:
    inside = (Region(BOXES[0], "Ana"), Region((0.3, 0.3, 0.1, 0.1), "Rex", "Pet"))
    after = synced(photo(faces=BOXES, regions=inside, people=("Ana", "Bo"), orientation=6))
    facts = seen(after, 6)
    assert [region.name for region in facts.regions] == ["Ana", "Rex", ""]
    assert facts.people == ("Bo", "Ana")
    assert facts.regions[0].box == pytest.approx(BOXES[0], abs=2e-5)


def test_regions_for_the_picture_turned_on_its_side_are_left_alone() -> None:
    before = packet(xmp_regions(xmp_region("Ana", 0.2, 0.35, 0.22, 0.28)))
    changes = changes_for(photo(faces=BOXES, orientation=6), before, POLICY, ("faces",))
    assert not {key("mwg-rs:Regions"), key("MP:RegionInfo"), key("catalogd:GeneratedRegions")} & set(changes)


def test_a_face_that_a_person_named_moved_or_took_out_is_theirs() -> None:
    record = photo(faces=BOXES)
    first = synced(record)
    named = first.content.replace(
        b"<mwg-rs:Type>Face</mwg-rs:Type>",
        b"<mwg-rs:Name>Ana</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type>",
        1,
    )
    after = synced(record, Packet.read(named))
    assert [region.name for region in seen(after).regions] == ["Ana", ""]
    assert words(after, "Iptc4xmpExt:PersonInImage") == ["Ana"]

    regions = first.properties[key("mwg-rs:Regions")]
    del regions.get("mwg-rs:RegionList").items[0]
    fewer = Packet.read(first.edited({key("mwg-rs:Regions"): regions}))
    after = synced(photo(faces=((0.11, 0.21, 0.2, 0.3), BOXES[1])), fewer)
    assert [region.box for region in seen(after).regions] == [pytest.approx(BOXES[1], abs=2e-5)]
    assert len(microsoft(after)) == 1
    assert len(words(after, "catalogd:RejectedRegions") or []) == 1


def test_faces_that_a_model_finds_no_longer_go() -> None:
    after = synced(photo(faces=BOXES[1:]), synced(photo(faces=BOXES)))
    assert len(seen(after).regions) == len(microsoft(after)) == 1
    none = synced(photo(), after)
    assert key("mwg-rs:Regions") not in none.properties
    assert key("MP:RegionInfo") not in none.properties


def test_a_name_that_a_person_took_out_of_the_people_does_not_come_back() -> None:
    before = packet(xmp_regions(xmp_region("Ana", 0.2, 0.35, 0.2, 0.3), xmp_region("Bo", 0.7, 0.7, 0.1, 0.1)))
    first = synced(photo(faces=((0.4, 0.1, 0.1, 0.1),)), before)
    assert words(first, "Iptc4xmpExt:PersonInImage") == ["Ana", "Bo"]
    fewer = Packet.read(first.edited({key("Iptc4xmpExt:PersonInImage"): bag(["Ana"])}))
    after = synced(photo(faces=((0.4, 0.1, 0.1, 0.1),)), fewer)
    assert words(after, "Iptc4xmpExt:PersonInImage") == ["Ana"]


# ── texts ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def _captions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogd whose captions and titles are the camera and the lens."""
    monkeypatch.setattr(fields, "own_caption", lambda record: record.facts.camera)
    monkeypatch.setattr(fields, "own_title", lambda record: record.facts.lens)
    monkeypatch.setattr(fields, "own_rating", lambda record, own: (4, "Green"))


def test_without_anything_of_its_own_catalogd_writes_nothing() -> None:
    bare = Record(b"/a.jpg", Stat(1, 1), b"." * 16, Facts("jpeg", 640, 480, caption="x", rating=3), {})
    assert changes_for(bare, None, POLICY) == {}
    assert changes_for(bare, packet("<dc:format>image/jpeg</dc:format>"), POLICY) == {}


@pytest.mark.usefixtures("_captions")
def test_captions_titles_and_ratings_go_where_programs_read_them() -> None:
    facts = seen(synced(photo(camera="Two\n-XMP:all=", lens="A <b> & 'c'")))
    assert (facts.caption, facts.title, facts.rating, facts.label) == (
        "Two\n-XMP:all=",
        "A <b> & 'c'",
        4,
        "Green",
    )
    after = synced(photo(camera="A dog"))
    assert after.properties[key("Iptc4xmpCore:AltTextAccessibility")].one() == "A dog"
    newer = synced(photo(camera="Two dogs"), after)
    assert newer.properties[key("dc:description")].one() == "Two dogs"


def captioned(caption: str, /, user: UserFacts | None = None, **facts: Any) -> Record:
    """A photo that a model captioned."""
    outputs = {"caption": Output("florence@1.1", caption=caption)}
    return Record(b"/a.jpg", Stat(1, 1), b"." * 16, Facts("jpeg", 640, 480, **facts), outputs, user=user)


def test_a_model_s_caption_is_description_and_alternative_text_and_follows_the_model() -> None:
    first = synced(captioned("A dog\x00 on\r\na beach. "))
    assert seen(first).caption == "A dog  on\na beach."
    assert first.properties[key("Iptc4xmpCore:AltTextAccessibility")].one() == "A dog  on\na beach."
    newer = synced(captioned("Two dogs."), first)
    assert newer.properties[key("dc:description")].one() == "Two dogs."
    assert read_xmp(newer.edited({})).caption is None, "taken in again as a person's"
    assert key("dc:description") not in synced(captioned("Two dogs."), only=("keywords",)).properties


@pytest.mark.parametrize(
    "theirs", [{"caption": "Rex at the beach"}, {"user": UserFacts(caption="Rex at the beach")}]
)
def test_a_model_s_caption_is_never_written_over_a_person_s_words(theirs: Any) -> None:
    changes = changes_for(captioned("A dog.", **theirs), None, POLICY)
    assert key("dc:description") not in changes
    before = packet(xmp_array("dc:description", "Rex", kind="Alt"))
    after = synced(captioned("A dog."), before)
    assert after.properties[key("dc:description")].one() == "Rex"


@pytest.mark.usefixtures("_captions")
@pytest.mark.parametrize("edit", ["A cat", None])
def test_a_caption_that_a_person_wrote_changed_or_took_out_is_never_touched(edit: str | None) -> None:
    theirs = packet(xmp_array("dc:description", "Mine", "Meine", kind="Alt"), 'xmp:Rating="2"')
    after = synced(photo("dog", camera="A dog"), theirs)
    assert [item.text for item in after.properties[key("dc:description")].items] == ["Mine", "Meine"]
    assert after.properties[key("xmp:Rating")].text == "2"

    first = synced(photo("dog", camera="A dog"))
    value = language(edit) if edit else None
    changed = Packet.read(first.edited({key("dc:description"): value}))
    for caption in ("A dog", "Two dogs"):
        after = synced(photo("dog", camera=caption), changed)
        found = after.properties.get(key("dc:description"))
        assert (found.one() if found else None) == edit
        assert after.properties[key("Iptc4xmpCore:AltTextAccessibility")].one() == caption


@pytest.mark.usefixtures("_captions")
def test_a_caption_comes_back_where_a_program_wrote_its_own_set_without_ever_reading_ours() -> None:
    record = photo("dog", camera="A dog")
    now = synced(record)
    for _ in range(10):
        dropped = edited(now, dc_subject=None, lr_hierarchicalSubject=None, dc_description=None)
        now = synced(record, dropped)
        assert now.properties[key("dc:description")].one() == "A dog"


@pytest.mark.usefixtures("_captions")
def test_another_language_of_a_caption_stays() -> None:
    first = synced(photo(camera="A dog"))
    value = first.properties[key("dc:description")]
    german = text("Ein Hund")
    german.qualifiers[LANGUAGE] = text("de")
    value.items.append(german)
    after = synced(photo(camera="Two dogs"), Packet.read(first.edited({key("dc:description"): value})))
    assert after.properties[key("dc:description")].all() == ["Two dogs", "Ein Hund"]


@pytest.mark.usefixtures("_captions")
def test_taking_out_a_caption_leaves_the_text_of_another_language() -> None:
    first = synced(photo(camera="A dog"))
    value = first.properties[key("dc:description")]
    german = language("Ein Hund").items[0]
    german.qualifiers = {LANGUAGE: text("de")}
    value.items.append(german)
    both = Packet.read(first.edited({key("dc:description"): value}))
    for after in (synced(photo(), both), Packet.read(both.edited(removal_of_ours(both)))):
        assert after.properties[key("dc:description")].all() == ["Ein Hund"]


@pytest.mark.usefixtures("_captions")
def test_a_caption_in_the_photo_itself_is_not_hidden_and_ours_is_not_taken_for_one() -> None:
    after = synced(photo("dog", camera="A dog", lens="Dogs", caption="Mine"))
    assert key("dc:description") not in after.properties
    first = synced(photo("dog", camera="A dog", lens="Dogs"))
    assert (read_xmp(first.content).caption, read_xmp(first.content).title) == (None, None)
    after = synced(photo("dog", camera="A dog", lens="Dogs", caption="Mine"), first)
    assert key("dc:description") not in after.properties
    assert after.properties[key("dc:title")].one() == "Dogs"


def test_the_names_of_a_place_are_written_whole_or_not_at_all() -> None:
    after = synced(photo(place=PLACE), policy=Policy(places=None))
    place = seen(after).place
    assert place == Place("NO", "Norway", "Vestland", "Bergen", "Bryggen")
    far = synced(
        photo(place=msgspec.structs.replace(PLACE, distance_km=12.0)), after, policy=Policy(places=None)
    )
    assert key("Iptc4xmpCore:Location") not in far.properties
    theirs = packet("", 'photoshop:City="Oslo"')
    assert changes_for(photo(place=PLACE), theirs, Policy(places=None), ("place",)) == {}
    moved = Packet.read(after.edited({key("photoshop:City"): text("Oslo")}))
    other = photo(place=Place("SE", "Sweden", "Skåne", "Lund"))
    assert changes_for(other, moved, Policy(places=None), ("place",)) == {}


def test_scores_models_and_text_stand_in_catalogds_own_namespace() -> None:
    record = photo(lines=("EXIT", 'UT"GANG'))
    quality = Output("quality@1.1", quality=Quality(61.234, 10, 0.5, 0.25, 0, 0.001, 1.5, 33))
    failed = Output("objects@1.1", error="out of memory")
    record = msgspec.structs.replace(
        record, outputs={**record.outputs, "quality": quality, "objects": failed}
    )
    after = synced(record)
    assert after.properties[key("catalogd:QualitySharpness")].text == "61.23"
    assert key("catalogd:QualityBrisque") not in after.properties
    assert after.properties[key("catalogd:OcrText")].text == 'EXIT\nUT"GANG'
    assert words(after, "catalogd:Models") == ["lite0@1.1", "ocr@1.1", "quality@1.1", "yunet@1.1"]
    assert key("catalogd:OcrText") not in synced(photo(), after).properties


# ── choosing, and taking back ─────────────────────────────────────────────────────────────────


def full(**facts: Any) -> Record:
    record = photo("dog", faces=BOXES, lines=("EXIT",), place=PLACE, **facts)
    objects = Output("ssd@1.1", objects=(ObjectBox("cat", BOXES[0], 0.8), ObjectBox("cat", BOXES[1], 0.9)))
    return msgspec.structs.replace(record, outputs={**record.outputs, "objects": objects})


def test_a_field_that_is_not_asked_for_is_left_alone() -> None:
    after = synced(full(), None, ("place",))
    assert {name.rpartition(" ")[2] for name in after.properties} == {
        *("Country", "State", "City", "Location", "CountryCode", "GeneratedFields", "SchemaVersion")
    }
    later = synced(photo("cow"), synced(full()), ("ocr",))
    assert words(later, "dc:subject") == words(synced(full()), "dc:subject")


def test_with_only_missing_a_field_that_says_something_is_left_alone() -> None:
    before = packet(xmp_array("dc:subject", "barn") + xmp_regions(xmp_region("Ana", 0.9, 0.9, 0.1, 0.1)))
    changes = changes_for(full(), before, POLICY, only_missing=True)
    assert not {key("dc:subject"), key("mwg-rs:Regions"), key("digiKam:TagsList")} & set(changes)
    assert {key("photoshop:City"), key("catalogd:OcrText")} <= set(changes)
    assert key("dc:subject") not in changes_for(full(keywords=("x",)), None, POLICY, only_missing=True)
    after = Packet.read(before.edited(changes))
    moved = full()
    moved = msgspec.structs.replace(moved, facts=Facts("jpeg", 640, 480, place=Place("SE", "Sweden")))
    assert changes_for(moved, after, POLICY, ("place", "ocr"), only_missing=True) == {}


@pytest.mark.usefixtures("_captions")
@pytest.mark.parametrize(
    "body",
    [
        "",
        xmp_array("dc:subject", "barn"),
        xmp_array("dc:subject", "barn") + xmp_regions(xmp_region("Ana", 0.9, 0.9, 0.1, 0.1)),
        xmp_array("digiKam:TagsList", "Trips/Norway", kind="Seq") + xmp_array("dc:title", "Mine", kind="Alt"),
    ],
)
def test_all_of_catalogds_can_be_taken_out_again(body: str) -> None:
    before = packet(body, 'xmp:Label="Red"')
    after = synced(full(camera="A dog"), before)
    restored = Packet.read(after.edited(removal_of_ours(after)))
    assert differences(before, restored) == []


@pytest.mark.usefixtures("_captions")
def test_what_a_person_changed_since_is_not_taken_out() -> None:
    after = synced(full(camera="A dog"), packet(xmp_array("dc:subject", "barn")))
    changed = edited(after, dc_subject=["barn", "dog", "mine"], photoshop_City="Oslo")
    changed = Packet.read(changed.edited({key("dc:description"): language("Edited")}))
    restored = Packet.read(changed.edited(removal_of_ours(changed)))
    assert words(restored, "dc:subject") == ["barn", "mine"]
    assert restored.properties[key("photoshop:City")].text == "Oslo"
    assert restored.properties[key("dc:description")].one() == "Edited"
    assert key("photoshop:Country") not in restored.properties
    assert not [name for name in restored.properties if "catalogd" in name]


def test_a_flat_keyword_that_is_a_level_of_a_path_of_ours_stays_in_the_lists() -> None:
    """The second sync used to drop it from those that the first had made."""
    before = packet(xmp_array("dc:subject", "Deutschland", "Alps"))
    place = Place("DE", "Deutschland", "Bayern", "Garmisch", "", 0.0)
    after = synced(photo("dog", place=place), before)
    for name in ("lr:hierarchicalSubject", "digiKam:TagsList"):
        listed = words(after, name)
        assert listed is not None
        assert {"Deutschland", "Alps"} <= set(listed)


# ── what hardly any program writes ────────────────────────────────────────────────────────────

NAME = "<mwg-rs:Name>Bob</mwg-rs:Name>"
RESOURCE = 'rdf:parseType="Resource"'


@pytest.mark.parametrize(
    "body",
    [
        "<mwg-rs:Regions>Bob</mwg-rs:Regions>",
        "<mwg-rs:Regions><rdf:Bag><rdf:li>Bob</rdf:li></rdf:Bag></mwg-rs:Regions>",
        f"<mwg-rs:Regions {RESOURCE}><mwg-rs:RegionList>Bob</mwg-rs:RegionList></mwg-rs:Regions>",
        "<MP:RegionInfo>Bob</MP:RegionInfo>",
        f"<Iptc4xmpExt:PersonInImage {RESOURCE}>{NAME}</Iptc4xmpExt:PersonInImage>" + xmp_regions(),
    ],
)
def test_a_property_of_another_shape_is_left_as_it_is(body: str) -> None:
    """Regions that were no list were taken for none, and written over."""
    before = packet(body)
    for after in (synced(photo(faces=BOXES), before), Packet.read(before.edited(removal_of_ours(before)))):
        name = next(iter(before.properties))
        assert same(after.properties[name], before.properties[name])


def test_what_else_stands_among_regions_outlives_ours() -> None:
    """When our last region went, what somebody had said beside it went too."""
    dated = f"<MP:RegionInfo {RESOURCE}><MPRI:DateRegionsValid>2020</MPRI:DateRegionsValid></MP:RegionInfo>"
    after = synced(photo(faces=BOXES), packet(dated))
    for emptied in (synced(photo(), after), Packet.read(after.edited(removal_of_ours(after)))):
        assert emptied.properties[key("MP:RegionInfo")].get("MPRI:DateRegionsValid").text == "2020"


def test_names_of_people_and_lists_keep_what_is_said_of_them() -> None:
    """They were written anew from their texts alone: languages and structures were lost."""
    german, structure = '<rdf:li xml:lang="de">Ana</rdf:li>', f"<rdf:li {RESOURCE}>{NAME}</rdf:li>"
    people = f"<Iptc4xmpExt:PersonInImage><rdf:Seq>{german}{structure}</rdf:Seq></Iptc4xmpExt:PersonInImage>"
    words = '<dc:subject xml:lang="de"><rdf:Bag><rdf:li>Hof</rdf:li></rdf:Bag></dc:subject>'
    named = xmp_regions(xmp_region("Zoe", 0.5, 0.5, 0.1, 0.1))
    before = packet(people + words + named)
    after = synced(photo("dog", faces=BOXES), before)
    persons = after.properties[key("Iptc4xmpExt:PersonInImage")]
    assert persons.kind == "Seq"
    assert all(map(same, persons.items, before.properties[key("Iptc4xmpExt:PersonInImage")].items))
    assert persons.items[-1].text == "Zoe"
    assert after.properties[key("dc:subject")].language == "de"
    restored = Packet.read(after.edited(removal_of_ours(after)))
    assert differences(before, restored) == []
