"""Sidecars that other programs write: a run notices them, reads those photos again, and runs no model."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path

import numpy as np
import pytest

from catalogd.catalog import Catalog
from catalogd.daemon import Daemon, Progress
from catalogd.errors import ExiftoolError
from catalogd.images import Reading, read_frame
from catalogd.models import Model
from catalogd.models.devices import Device
from catalogd.records import Facts, Record
from catalogd.settings import Settings
from tests import factory, stubs
from tests.packets import xmp_array, xmp_packet
from tests.torture.library import Library


class Kept:
    """A library that is indexed by runs in this process; `reads` are the names of what was read since."""

    def __init__(self, folder: Path) -> None:
        self.photos = folder / "photos"
        self.photos.mkdir()
        self.settings = Settings(
            catalog=folder / "catalog", frame_edge_px=64, ring_bytes=1 << 20, thumbnails=False, batch=2
        )
        self.reads: list[str] = []
        self.inferred = 0
        self.reports: list[Progress] = []

    def add(self, name: str) -> None:
        factory.write_jpeg(self.photos / name, factory.scene(48, 64, seed=len(name)))

    def write(self, name: str, *keywords: str) -> Path:
        path = self.photos / name
        path.write_bytes(xmp_packet(xmp_array("dc:subject", *keywords)))
        return path

    def run(self, sidecars: bool = False) -> list[str]:
        """A whole run; the names of the photos that it read."""
        self.reads = []
        roots = [os.fsencode(self.photos)]
        daemon = Daemon(
            self.settings,
            roots,
            self._models,
            once=True,
            inline=True,
            sidecars=sidecars,
            report=self.reports.append,
            read=self._read,
        )
        assert daemon.run() == 0
        return sorted(self.reads)

    def _models(self, device: Device) -> list[Model]:
        models = stubs.load_models()
        for model in models:
            model.run = functools.partial(self._infer, model.run)  # type: ignore[method-assign]
        return list(models)

    def _infer(self, run: object, frames: list[np.ndarray]) -> object:
        self.inferred += len(frames)
        return run(frames)  # type: ignore[operator]

    def _read(self, path: bytes, slot: np.ndarray, settings: Settings) -> Reading:
        self.reads.append(os.path.basename(os.fsdecode(path)))
        return read_frame(path, slot, settings)

    def records(self) -> dict[str, Record]:
        with Catalog.open(self.settings.catalog, self.settings) as catalog:
            return {os.path.basename(os.fsdecode(record.path)): record for record in catalog.iter_records()}

    def facts(self, name: str) -> Facts:
        return self.records()[name].facts


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    library = Kept(tmp_path)
    library.add("a.jpg")
    library.add("bb.jpg")
    library.write("bb.jpg.xmp", "old")
    assert library.run() == ["a.jpg", "bb.jpg"]
    return library


def test_sidecars_that_were_there_at_the_first_run_are_known_to_the_next(kept: Kept) -> None:
    assert kept.facts("bb.jpg").keywords == ("old",)
    assert kept.run() == []


@pytest.mark.parametrize("name", ["a.jpg.xmp", "a.xmp", "A.JPG.XMP"])
def test_a_new_sidecar_has_its_photo_read_again_without_models(kept: Kept, name: str) -> None:
    before, inferred = kept.records()["a.jpg"], kept.inferred
    kept.write(name, "new")
    assert kept.run() == ["a.jpg"]
    after = kept.records()["a.jpg"]
    assert after.facts.keywords == ("new",)
    assert (after.outputs, after.photo_id) == (before.outputs, before.photo_id)
    assert kept.inferred == inferred
    assert kept.run() == []


def test_a_changed_and_then_a_removed_sidecar_are_seen(kept: Kept) -> None:
    path = kept.write("bb.jpg.xmp", "changed", "twice")
    assert kept.run() == ["bb.jpg"]
    assert kept.facts("bb.jpg").keywords == ("changed", "twice")
    path.unlink()
    assert kept.run() == ["bb.jpg"]
    assert kept.facts("bb.jpg").keywords == ()
    assert kept.run() == []


def test_a_sidecar_of_no_photo_or_that_says_nothing_of_its_own_costs_no_reading_twice(kept: Kept) -> None:
    kept.write("other.jpg.xmp", "x")
    named = kept.write("a.xmp")
    named.write_bytes(xmp_packet(attributes='photoshop:SidecarForExtension="NEF"'))
    assert kept.run() == ["a.jpg"]
    assert kept.facts("a.jpg").sidecars == ()
    assert kept.run() == []


def test_moving_a_folder_with_its_sidecars_reads_nothing(kept: Kept) -> None:
    folder = kept.photos / "moved"
    folder.mkdir()
    for path in kept.photos.glob("*.*"):
        path.rename(folder / path.name)
    assert kept.run() == []
    assert kept.run() == []
    assert kept.facts("bb.jpg").keywords == ("old",)


def test_a_photo_that_moves_to_another_sidecar_is_read_again(kept: Kept) -> None:
    (kept.photos / "moved").mkdir()
    (kept.photos / "bb.jpg").rename(kept.photos / "moved/bb.jpg")
    kept.write("moved/bb.jpg.xmp", "other")
    assert kept.run() == ["bb.jpg"]
    assert kept.facts("bb.jpg").keywords == ("other",)
    assert kept.run() == []


def test_a_catalog_that_knows_of_no_sidecars_yet_reads_only_what_differs(kept: Kept) -> None:
    """As one does that an older catalogd made: its records say which sidecars they have taken in."""
    with Catalog.open(kept.settings.catalog, kept.settings, write=True) as catalog:
        catalog._store.write(lambda reading: reading.clear("sidecars"))
    assert kept.run() == []
    with Catalog.open(kept.settings.catalog, kept.settings) as catalog:
        assert list(catalog.known_sidecars(os.fsencode(kept.photos))) == [b"bb.jpg.xmp"]


def test_sidecars_of_a_folder_that_is_gone_are_forgotten_and_the_catalog_stays_consistent(kept: Kept) -> None:
    for path in kept.photos.glob("*.*"):
        path.unlink()
    (kept.photos / "sub").mkdir()
    kept.add("sub/c.jpg")
    assert kept.run() == ["c.jpg"]
    with Catalog.open(kept.settings.catalog, kept.settings) as catalog:
        assert catalog.known_sidecars(os.fsencode(kept.photos)) == {}
        assert catalog.check(deep=True) == []


# ── run --sidecars ────────────────────────────────────────────────────────────────────────────


def test_a_run_with_sidecars_writes_them_and_the_next_scan_knows_them(kept: Kept) -> None:
    theirs = (kept.photos / "bb.jpg.xmp").read_bytes()
    assert kept.run() == []
    assert (kept.photos / "bb.jpg.xmp").read_bytes() == theirs, "nothing is written unless it is asked for"
    assert kept.run(sidecars=True) == []
    assert sorted(path.name for path in kept.photos.glob("*.xmp")) == ["a.jpg.xmp", "bb.jpg.xmp"]
    assert kept.reports[-1].sidecars == 2
    assert kept.run() == []
    assert kept.facts("bb.jpg").keywords == ("old",)


def test_the_next_run_with_sidecars_looks_only_at_what_was_committed_since(kept: Kept) -> None:
    kept.run(sidecars=True)
    (kept.photos / "a.jpg.xmp").unlink()
    kept.add("ccc.jpg")
    assert kept.run() == ["ccc.jpg"]
    kept.add("dddd.jpg")
    assert kept.run(sidecars=True) == ["dddd.jpg"]
    assert kept.reports[-1].sidecars == 2, "that of the run without sidecars too"
    assert not (kept.photos / "a.jpg.xmp").exists()
    kept.run(sidecars=True)
    assert kept.reports[-1].sidecars == 0


def test_a_sidecar_that_is_refused_is_counted_and_ends_nothing(kept: Kept) -> None:
    (kept.photos / "bb.jpg.xmp").write_bytes(b"<damaged")
    kept.run(sidecars=True)
    assert (kept.reports[-1].sidecars, kept.reports[-1].sidecars_refused) == (1, 1)


def test_without_exiftool_a_run_with_sidecars_does_not_begin(kept: Kept) -> None:
    kept.settings = dataclasses.replace(kept.settings, exiftool=kept.photos / "none")
    with pytest.raises(ExiftoolError):
        kept.run(sidecars=True)


def test_a_sidecar_that_appears_while_watching_is_read(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.add("a.jpg", "b.jpg")
    with library.start(once=False) as run:
        run.until(lambda: library.status().get("state") == "watching", "watching")
        (library.photos / "a.jpg.xmp").write_bytes(xmp_packet(xmp_array("dc:subject", "dog")))
        run.until(lambda: library.reads()["a.jpg"] == 2, "the second reading")
        run.interrupt()
        assert run.wait() == 0, run.errors
    assert library.reads() == {"a.jpg": 2, "b.jpg": 1}
    assert library.noted("inferred").count("mean") == 2
