"""Syncing photos: what is written, told and taken back, alone and in worker processes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from catalogd.errors import ExiftoolError, ResourceError, SettingsError
from catalogd.metadata.sidecars import read_sidecars
from catalogd.metadata.xmp_facts import facts_of
from catalogd.records import Box, Face, Facts, Output, Place, Record, Stat, Tag
from catalogd.settings import Settings
from catalogd.sync import LEAST_RECORDS, Ledger, Options, Synced, sync_records, undo
from catalogd.sync import ledger as ledgers
from catalogd.sync.packet import Packet, bag, key
from tests import factory
from tests.packets import xmp_array, xmp_packet
from tests.torture.library import wait_until

FACTS = Facts("jpeg", 64, 48)
SUBJECT = key("dc:subject")


def face(box: Box) -> Face:
    return Face(box, (), 0.9, 0.9)


def record(path: Path, *tags: str, facts: Facts = FACTS, boxes: tuple[Box, ...] = ()) -> Record:
    outputs = {"tagger": Output("tagger 1", tags=tuple(Tag(tag, 0.9) for tag in tags))}
    if boxes:
        outputs["faces"] = Output("faces 1", faces=tuple(face(box) for box in boxes))
    return Record(os.fsencode(path), Stat(1, 1), bytes(16), facts, outputs, photo_id=1)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "IMG 1.JPG"
    factory.write_plain_jpeg(path, factory.scene(48, 64))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    return Settings(catalog=catalog)


def sync(
    settings: Settings, *records: Record, ledger: Ledger | None = None, **options: object
) -> list[Synced]:
    return list(sync_records(records, dataclasses.replace(Options(), **options), settings, ledger))


def states(found: list[Synced]) -> list[str]:
    return [synced.written.state for synced in found]


def keywords(sidecar: Path) -> list[str]:
    return Packet.read(sidecar.read_bytes()).properties[SUBJECT].all()


def sidecar_of(photo: Path) -> Path:
    return photo.with_name(photo.name + ".xmp")


def test_a_sidecar_is_created_then_unchanged_and_told_with_its_stat(photo: Path, settings: Settings) -> None:
    [first] = sync(settings, record(photo, "dog"))
    status = sidecar_of(photo).stat()
    assert (first.written.state, first.before) == ("created", None)
    assert first.after == Stat(status.st_size, status.st_mtime_ns)
    assert keywords(sidecar_of(photo)) == ["dog"]
    [second] = sync(settings, record(photo, "dog"))
    assert (second.written.state, second.before, second.after) == ("unchanged", first.after, None)
    assert sidecar_of(photo).stat().st_mtime_ns == status.st_mtime_ns


def test_a_dry_run_writes_nothing_and_tells_each_property(photo: Path, settings: Settings) -> None:
    before = photo.read_bytes(), sorted(photo.parent.iterdir())
    [synced] = sync(settings, record(photo, "dog"), dry_run=True)
    assert synced.written.state == "created"
    changed = {difference.key: difference.after for difference in synced.written.differences}
    subject = changed[SUBJECT]
    assert subject is not None
    assert subject.all() == ["dog"]
    assert (photo.read_bytes(), sorted(photo.parent.iterdir())) == before


def test_a_photo_that_is_gone_or_missing_gets_no_sidecar(photo: Path, settings: Settings) -> None:
    missing = msgspec.structs.replace(record(photo, "dog"), missing_since=1.0)
    assert sync(settings, missing, record(photo.with_name("gone.jpg"), "dog")) == []
    assert not sidecar_of(photo).exists()


def test_a_photo_of_which_nothing_is_known_gets_no_sidecar(photo: Path, settings: Settings) -> None:
    bare = msgspec.structs.replace(record(photo), outputs={})
    assert states(sync(settings, bare)) == ["unchanged"]
    assert not sidecar_of(photo).exists()


def test_a_new_sidecar_of_a_raw_file_says_whose_it_is(tmp_path: Path, settings: Settings) -> None:
    raw = tmp_path / "IMG.NEF"
    raw.write_bytes(b"raw")
    assert states(sync(settings, record(raw, "dog"))) == ["created"]
    properties = Packet.read((tmp_path / "IMG.xmp").read_bytes()).properties
    assert properties[key("photoshop:SidecarForExtension")].text == "NEF"


def test_a_refused_sidecar_is_told_with_its_reason_and_the_others_are_written(
    photo: Path, settings: Settings
) -> None:
    other = photo.with_name("b.jpg")
    other.write_bytes(photo.read_bytes())
    sidecar_of(photo).write_bytes(b"<damaged")
    found = sync(settings, record(photo, "dog"), record(other, "dog"))
    assert states(found) == ["refused", "created"]
    assert "damaged" in found[0].written.reason
    assert sidecar_of(photo).read_bytes() == b"<damaged"


def test_the_stat_of_a_sidecar_that_somebody_else_wrote_since_is_not_told(
    photo: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else their work would count as read."""
    confirm = Ledger.confirm

    def edit(self: Ledger, path: bytes, *digests: str) -> None:
        confirm(self, path, *digests)
        sidecar_of(photo).write_bytes(xmp_packet(xmp_array("dc:subject", "theirs")))

    monkeypatch.setattr(Ledger, "confirm", edit)
    [synced] = sync(settings, record(photo, "dog"), ledger=Ledger.start(settings.catalog))
    assert (synced.written.state, synced.after) == ("created", None)


def test_what_is_written_is_read_back_as_if_it_were_not_there(photo: Path, settings: Settings) -> None:
    """Keywords of tags, faces of models and places by position are no person's words."""
    ours = Facts(
        "jpeg", 64, 48, place=Place("NO", "Norway", "Vestland", "Bergen", "Bryggen", 0.2), people=("Ana",)
    )
    sync(settings, record(photo, "dog", facts=ours, boxes=((0.1, 0.2, 0.3, 0.4),)))
    [(_, root)] = read_sidecars(os.fsencode(photo))
    assert root.get("mwg-rs:Regions", "mwg-rs:RegionList").items
    assert root.get("photoshop:City").text == "Bergen"
    assert facts_of(root, 1) == facts_of(type(root)(), 1)


def test_beside_ours_what_a_person_wrote_is_read(photo: Path, settings: Settings) -> None:
    sync(settings, record(photo, "dog", boxes=((0.1, 0.2, 0.3, 0.4),)))
    sidecar = sidecar_of(photo)
    named = sidecar.read_bytes().replace(b"<rdf:li>dog</rdf:li>", b"<rdf:li>dog</rdf:li><rdf:li>me</rdf:li>")
    assert named != sidecar.read_bytes()
    sidecar.write_bytes(named)
    [(_, root)] = read_sidecars(os.fsencode(photo))
    assert facts_of(root, 1).keywords == ("me",)


# ── undo ──────────────────────────────────────────────────────────────────────────────────────


def run(settings: Settings, *records: Record) -> Ledger:
    ledger = Ledger.start(settings.catalog)
    sync(settings, *records, ledger=ledger)
    return ledger


def test_taking_a_run_back_leaves_what_was_there_before_it(photo: Path, settings: Settings) -> None:
    theirs = xmp_packet(xmp_array("dc:subject", "old") + "<!-- a remark -->", 'xmp:Rating="3"')
    sidecar_of(photo).write_bytes(theirs)
    ledger = run(settings, record(photo, "dog"))
    assert keywords(sidecar_of(photo)) == ["old", "dog"]
    [synced] = undo(ledger, settings)
    assert synced.written.state == "written"
    before, after = Packet.read(theirs), Packet.read(sidecar_of(photo).read_bytes())
    assert {name: value.all() for name, value in after.properties.items()} == {
        name: value.all() for name, value in before.properties.items()
    }
    assert b"<!-- a remark -->" in sidecar_of(photo).read_bytes()
    assert ledgers.runs(settings.catalog) == []


def test_a_sidecar_that_the_run_created_goes_with_it(photo: Path, settings: Settings) -> None:
    ledger = run(settings, record(photo, "dog"))
    assert states(list(undo(ledger, settings))) == ["removed"]
    assert not sidecar_of(photo).exists()


def test_a_sidecar_that_somebody_added_to_stays_with_what_they_added(photo: Path, settings: Settings) -> None:
    ledger = run(settings, record(photo, "dog"))
    content = sidecar_of(photo).read_bytes()
    content = content.replace(b"</rdf:Description>", b"<xmp:Rating>4</xmp:Rating></rdf:Description>").replace(
        b"<rdf:Description ", b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" ', 1
    )
    sidecar_of(photo).write_bytes(content)
    assert states(list(undo(ledger, settings))) == ["written"]
    properties = Packet.read(sidecar_of(photo).read_bytes()).properties
    assert {name: value.text for name, value in properties.items()} == {key("xmp:Rating"): "4"}


def test_only_the_run_that_is_named_is_taken_back(photo: Path, settings: Settings) -> None:
    first = run(settings, record(photo, "dog"))
    run(settings, record(photo, "dog", "cat"))
    list(undo(first, settings))
    assert "cat" in keywords(sidecar_of(photo))
    assert "dog" not in keywords(sidecar_of(photo))


def test_a_run_with_a_refused_sidecar_can_be_taken_back_again(photo: Path, settings: Settings) -> None:
    ledger = run(settings, record(photo, "dog"))
    written = sidecar_of(photo).read_bytes()
    sidecar_of(photo).write_bytes(b"<damaged")
    assert states(list(undo(ledger, settings))) == ["refused"]
    sidecar_of(photo).write_bytes(written)
    assert states(list(undo(Ledger.of_run(settings.catalog, None), settings))) == ["removed"]


def test_a_run_that_can_not_note_what_it_writes_writes_nothing(photo: Path, settings: Settings) -> None:
    ledger = Ledger.start(settings.catalog)
    ledger.file.parent.mkdir()
    ledger.file.mkdir()
    [synced] = sync(settings, record(photo, "dog"), ledger=ledger)
    assert synced.written.state == "refused"
    assert not sidecar_of(photo).exists()


def test_a_sidecar_that_took_the_name_of_one_that_was_written_stays(photo: Path, settings: Settings) -> None:
    """Another photo got the name since: the same word in its sidecar is its owner's."""
    ledger = run(settings, record(photo, "dog"))
    theirs = xmp_packet(xmp_array("dc:subject", "dog", "summer"))
    sidecar_of(photo).write_bytes(theirs)
    assert states(list(undo(ledger, settings))) == ["unchanged"]
    assert sidecar_of(photo).read_bytes() == theirs


def test_a_second_undo_takes_nothing_that_was_written_after_the_first(
    photo: Path, settings: Settings
) -> None:
    other = photo.with_name("b.jpg")
    other.write_bytes(photo.read_bytes())
    run(settings, record(photo, "cow"))
    ledger = run(settings, record(photo, "cow", "dog"), record(other, "dog"))
    sidecar_of(other).write_bytes(b"<damaged")
    assert sorted(states(list(undo(ledger, settings)))) == ["refused", "written"]
    packet = Packet.read(sidecar_of(photo).read_bytes())
    theirs = packet.edited({SUBJECT: bag([*packet.properties[SUBJECT].all(), "dog"])})
    sidecar_of(photo).write_bytes(theirs)
    assert states(list(undo(ledger, settings))) == ["refused"]
    assert sidecar_of(photo).read_bytes() == theirs


def test_a_run_that_still_writes_while_it_is_taken_back_stays_open(photo: Path, settings: Settings) -> None:
    ledger = run(settings, record(photo, "dog"))
    other = photo.with_name("b.jpg")
    other.write_bytes(photo.read_bytes())
    taking_back = undo(ledger, settings)
    assert next(taking_back).written.state == "removed"
    sync(settings, record(other, "dog"), ledger=ledger)
    assert list(taking_back) == []
    assert ledgers.runs(settings.catalog) == [ledger.run]
    assert states(list(undo(ledger, settings))) == ["removed"]
    assert ledgers.runs(settings.catalog) == []


def test_taking_back_a_sidecar_that_a_link_named_leaves_the_link(photo: Path, settings: Settings) -> None:
    target = photo.with_name("elsewhere.xmp")
    sidecar_of(photo).symlink_to(target)
    ledger = run(settings, record(photo, "dog"))
    assert target.exists()
    assert states(list(undo(ledger, settings))) == ["removed"]
    assert sidecar_of(photo).is_symlink()
    assert not target.exists()


def test_taking_back_leaves_what_was_protected_since(photo: Path, settings: Settings) -> None:
    ledger = run(settings, record(photo, "dog"))
    sidecar_of(photo).chmod(0o444)
    [synced] = undo(ledger, settings)
    assert (synced.written.state, synced.written.reason) == ("refused", "it is write-protected")
    assert sidecar_of(photo).exists()


# ── workers ───────────────────────────────────────────────────────────────────────────────────


def many(folder: Path, count: int = LEAST_RECORDS + 40) -> list[Record]:
    content = factory.jpeg_bytes(factory.scene(8, 8))
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.jpg").write_bytes(content)
    return [record(folder / f"{number:03}.jpg", "dog") for number in range(count)]


def test_workers_write_each_sidecar_once_and_share_one_ledger(tmp_path: Path, settings: Settings) -> None:
    records = many(tmp_path / "photos")
    ledger = Ledger.start(settings.catalog)
    found = sync(settings, *records, ledger=ledger, jobs=2)
    assert Counter(states(found)) == {"created": len(records)}
    assert {synced.photo for synced in found} == {photo.path for photo in records}
    assert sum(len(entries) for _, entries in ledger.entries()) == len(records)
    assert all(synced.after for synced in found)


def sync_many(folder: Path, settings: Settings) -> None:
    list(sync_records(many(folder, 500), Options(jobs=1), settings, Ledger.start(settings.catalog)))


def test_a_run_that_is_killed_can_be_taken_back_whole(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "photos"
    process = multiprocessing.get_context("spawn").Process(target=sync_many, args=(folder, settings))
    process.start()
    wait_until(lambda: len(list(folder.glob("*.xmp"))) > 20, "the first sidecars")
    process.kill()
    process.join()
    written = len(list(folder.glob("*.xmp")))
    assert written < 500
    assert states(list(undo(Ledger.of_run(settings.catalog, None), settings))).count("removed") == written
    assert list(folder.glob("*.xmp")) == []


def test_a_worker_that_dies_is_an_error(tmp_path: Path, settings: Settings) -> None:
    done = sync_records(many(tmp_path / "photos"), Options(jobs=2), settings)
    next(done)
    for child in multiprocessing.active_children():
        if child.name == "catalogd-sync":
            child.kill()
    with pytest.raises(ResourceError, match="died"):
        list(done)


def test_mistakes_are_told_before_anything_is_written(photo: Path, settings: Settings) -> None:
    no_exiftool = dataclasses.replace(settings, exiftool=photo.with_name("none"))
    with pytest.raises(ExiftoolError):
        sync(no_exiftool, record(photo, "dog"))
    assert states(sync(no_exiftool, record(photo, "dog"), dry_run=True)) == ["created"]
    vocabulary = photo.with_name("words.toml")
    vocabulary.write_text("nonsense = 1")
    with pytest.raises(SettingsError, match=r"words\.toml"):
        sync(dataclasses.replace(settings, keyword_vocabulary=vocabulary), record(photo, "dog"))
    assert not sidecar_of(photo).exists()
