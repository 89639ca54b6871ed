"""Runs with several models: one is swapped, some run alone, some are made from records."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from catalogd.catalog import Catalog, spaces
from catalogd.catalog.store import JOINT
from catalogd.daemon import Daemon
from catalogd.daemon.deriving import derived_each
from catalogd.daemon.models import RunModels, SearchModels
from catalogd.images import Reading
from catalogd.models import DerivedModel, Model
from catalogd.models.devices import Device
from catalogd.records import Output, Record, Tag
from catalogd.run_state import Progress
from catalogd.settings import Settings
from tests import stubs
from tests.catalog.photos import photo


class Embedder(stubs.MeanModel):
    """A joint embedding under a name of its own, of as many numbers as its version says."""

    def __init__(self, name: str, version: int = 1) -> None:
        super().__init__(version)
        self.name = name
        self.fingerprint = f"{name.rpartition(':')[2]}@{version}"

    def _one(self, frame: np.ndarray) -> Output:
        seen = super()._one(frame)
        assert seen.joint_embedding is not None
        zeros = np.zeros(len(self.name), np.float16).tobytes()
        return Output(self.fingerprint, joint_embedding=seen.joint_embedding + zeros)


class Captioner(stubs.MeanModel):
    name = "caption"

    def __init__(self) -> None:
        self.fingerprint = "captioner@1"

    def _one(self, frame: np.ndarray) -> Output:
        return Output(self.fingerprint, caption=f"level {frame[0, 0, 0]}")


class Brightness:
    """Derived: a tag by the first number of an embedding. Fails on one whose first number is the largest."""

    name = "tags"

    def __init__(self, after: str, version: int = 1) -> None:
        self.after = after
        self.fingerprint = f"brightness@{version}"

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        return [self._one(output) for output in outputs]

    def _one(self, output: Output) -> Output:
        assert output.joint_embedding, "embeddings are handed over"
        first = float(np.frombuffer(output.joint_embedding, "<f2")[0])
        return Output(self.fingerprint, tags=(Tag("some red", first),))


class DyingBrightness(Brightness):
    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        os._exit(3)


AnyModel = Model | DerivedModel


@dataclasses.dataclass(frozen=True)
class Load:
    """Picklable: makes the models."""

    models: tuple[Callable[[], AnyModel], ...]

    def __call__(self, device: Device) -> list[AnyModel]:
        return [make() for make in self.models]


@dataclasses.dataclass(frozen=True)
class Make:
    kind: Callable[..., AnyModel]
    arguments: tuple[object, ...] = ()

    def __call__(self) -> AnyModel:
        return self.kind(*self.arguments)


OLD, NEW = Make(Embedder, ("embedding",)), Make(Embedder, ("embedding:new",))
THIRD = Make(Embedder, ("embedding:third",))
COUNT, CAPTION = Make(stubs.CountModel), Make(Captioner)


class Shelf:
    """A folder of stub photos, and runs in this process."""

    def __init__(self, folder: Path) -> None:
        self.photos = folder / "photos"
        self.empty = folder / "empty"
        self.photos.mkdir()
        self.empty.mkdir()
        self.settings = Settings(catalog=folder / "catalog", frame_edge_px=64, http=False, thumbnails=False)
        self.reads: list[str] = []
        self.told: list[Progress] = []

    def add(self, *names: str) -> None:
        for name in names:
            stubs.write_photo(self.photos, name, (10 * len(list(self.photos.iterdir())) + 20, 60, 90))

    def run(self, *models: Make, code: int = 0, **options: object) -> list[str]:
        """The names of the photos that were read."""
        self.reads = []
        roots = options.pop("roots", [os.fsencode(self.photos)])
        options = {"inline": True, **options}
        daemon = Daemon(
            self.settings, roots, Load(models), once=True, read=self._read, report=self.told.append, **options
        )  # type: ignore[arg-type]
        assert daemon.run() == code
        return sorted(self.reads)

    def _read(self, path: bytes, slot: np.ndarray, settings: Settings) -> Reading:
        self.reads.append(os.path.basename(os.fsdecode(path)))
        return stubs.read(path, slot, settings)

    def open(self) -> Catalog:
        return Catalog.open(self.settings.catalog, self.settings)

    def records(self) -> dict[str, Record]:
        with self.open() as catalog:
            return {os.path.basename(os.fsdecode(record.path)): record for record in catalog.iter_records()}

    def outputs(self, name: str) -> set[str]:
        return set(self.records()[name].outputs)

    def state(self) -> spaces.SwitchState:
        with self.open() as catalog:
            return spaces.state(catalog)

    def ids(self, *names: str) -> list[int]:
        records = self.records()
        return [records[name].photo_id for name in names]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.add("a.jpg", "b.jpg", "c.jpg")
    return shelf


def search(name: str, *beside: str, lost: tuple[str, ...] = ()) -> SearchModels:
    return SearchModels(name, frozenset(beside), lambda space: space not in lost)


# ── a swapped model ───────────────────────────────────────────────────────────────────────────


def test_a_run_with_another_embedder_switches_when_it_has_seen_every_photo(shelf: Shelf) -> None:
    shelf.run(OLD, search=search("embedding"))
    assert shelf.state().active in ("", "embedding@1")
    shelf.add("d.jpg")
    told = len(shelf.told)
    shelf.run(OLD, NEW, search=search("embedding:new"))
    assert shelf.state() == spaces.SwitchState("new@1", "", "embedding@1", 4, 4, "")
    assert {one.search_model for one in shelf.told[told:]} <= {None, 0.0, 0.25, 0.5, 0.75, 1.0}
    with shelf.open() as catalog:
        assert set(catalog.spaces()) == {"embedding@1" + JOINT, "new@1" + JOINT}


def test_photos_that_the_run_does_not_reach_keep_the_old_space_searched(shelf: Shelf) -> None:
    shelf.run(OLD, search=search("embedding"))
    stubs.write_photo(shelf.photos, "more/x.jpg", (99, 99, 99))
    shelf.run(OLD, NEW, search=search("embedding:new"), roots=[os.fsencode(shelf.photos / "more")])
    now = shelf.state()
    assert (now.active, now.wanted, now.covered, now.photos) == ("embedding@1", "new@1", 1, 4)
    assert shelf.told[-1].search_model == 0.25
    shelf.run(OLD, NEW, search=search("embedding:new"))
    assert shelf.state().active == "new@1"


def test_the_model_beside_sees_new_photos_until_the_switch_and_none_afterwards(shelf: Shelf) -> None:
    shelf.run(NEW, search=search("embedding:new"))
    shelf.add("d.jpg")
    more = [os.fsencode(shelf.photos / "more")]
    stubs.write_photo(shelf.photos, "more/x.jpg", (99, 99, 99))
    shelf.run(THIRD, NEW, search=search("embedding:third", "embedding:new"), roots=more)
    assert shelf.state().wanted == "third@1"
    assert shelf.outputs("x.jpg") == {"embedding:new", "embedding:third"}, "search misses no new photo"
    shelf.run(THIRD, NEW, search=search("embedding:third", "embedding:new"))
    assert shelf.state().active == "third@1"
    assert shelf.run(THIRD, search=search("embedding:third")) == [], "what ran beside makes nothing stale"
    shelf.add("e.jpg")
    assert shelf.run(THIRD, NEW, search=search("embedding:third", "embedding:new")) == ["e.jpg"]
    assert shelf.outputs("e.jpg") == {"embedding:third"}


def test_where_queries_can_not_be_put_into_the_old_space_the_switch_is_at_once(shelf: Shelf) -> None:
    shelf.run(OLD, search=search("embedding"))
    roots = [os.fsencode(shelf.empty)]
    shelf.run(OLD, NEW, search=search("embedding:new", lost=("embedding@1",)), roots=roots)
    assert shelf.state().active == "new@1"


def test_a_model_without_a_text_model_takes_nothing_over(shelf: Shelf) -> None:
    shelf.run(OLD, search=search("embedding"))
    shelf.run(OLD, NEW, search=search("embedding:new", lost=("new@1",)))
    assert shelf.state().wanted == ""
    assert shelf.state().active in ("", "embedding@1")


def test_going_back_to_the_former_model_gives_the_switch_up(shelf: Shelf) -> None:
    shelf.run(OLD, search=search("embedding"))
    roots = [os.fsencode(shelf.empty)]
    shelf.run(OLD, NEW, search=search("embedding:new"), roots=roots)
    assert shelf.state().wanted == "new@1"
    shelf.run(OLD, search=search("embedding"), roots=roots)
    assert (shelf.state().active, shelf.state().wanted) == ("embedding@1", "")


# ── some models alone ─────────────────────────────────────────────────────────────────────────


def test_a_part_of_the_models_runs_on_chosen_photos_and_leaves_the_others_alone(shelf: Shelf) -> None:
    shelf.run(OLD, COUNT)
    chosen = shelf.ids("a.jpg", "c.jpg")
    assert shelf.run(CAPTION, is_part=True, only=chosen, roots=[]) == ["a.jpg", "c.jpg"]
    assert shelf.outputs("a.jpg") == {"embedding", "count", "caption"}
    assert shelf.outputs("b.jpg") == {"embedding", "count"}
    assert shelf.run(CAPTION, is_part=True, only=chosen, roots=[]) == [], "what is there is not made again"
    assert shelf.run(OLD, COUNT) == [], "a plain run finds all of it done"
    assert shelf.told[-1].unchanged == 3
    assert shelf.outputs("a.jpg") == {"embedding", "count", "caption"}, "and drops no caption"


def test_chosen_photos_are_those_under_the_paths(shelf: Shelf) -> None:
    stubs.write_photo(shelf.photos, "more/x.jpg", (99, 99, 99))
    shelf.run(OLD)
    more = [os.fsencode(shelf.photos / "more")]
    assert shelf.run(CAPTION, is_part=True, only=shelf.ids("a.jpg", "x.jpg"), roots=more) == ["x.jpg"]


def test_a_part_of_the_models_does_not_hide_what_the_others_have_to_do(shelf: Shelf) -> None:
    shelf.run(CAPTION, is_part=True)
    assert shelf.outputs("a.jpg") == {"caption"}
    assert shelf.run(OLD, COUNT) == ["a.jpg", "b.jpg", "c.jpg"]
    assert shelf.outputs("a.jpg") == {"caption", "count", "embedding"}
    assert shelf.run(OLD, COUNT) == []


def test_a_photo_that_changed_loses_the_caption_of_its_former_picture(shelf: Shelf) -> None:
    shelf.run(OLD)
    shelf.run(CAPTION, is_part=True, only=shelf.ids("a.jpg"), roots=[])
    stubs.write_photo(shelf.photos, "a.jpg", (201, 5, 5))
    assert shelf.run(OLD) == ["a.jpg"]
    assert shelf.outputs("a.jpg") == {"embedding"}
    assert shelf.run(OLD) == []


# ── made from records ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("inline", [True, False])
def test_what_is_derived_is_made_anew_without_reading_a_photo(shelf: Shelf, inline: bool) -> None:
    shelf.run(OLD, Make(Brightness, ("embedding",)))
    before = shelf.records()["a.jpg"]
    assert before.outputs["tags"].fingerprint == "brightness@1"
    os.utime(shelf.photos / "a.jpg")  # touched, not changed: it is read, the others are not
    reads = shelf.run(OLD, Make(Brightness, ("embedding", 2)))
    assert reads == ["a.jpg"]
    assert [record.outputs["tags"].fingerprint for record in shelf.records().values()] == ["brightness@2"] * 3
    assert shelf.run(OLD, Make(Brightness, ("embedding", 3)), inline=inline) == []
    after = shelf.records()
    assert [record.outputs["tags"].fingerprint for record in after.values()] == ["brightness@3"] * 3
    assert after["a.jpg"].outputs["tags"].tags == before.outputs["tags"].tags
    assert after["a.jpg"].outputs["embedding"] == before.outputs["embedding"]
    with shelf.open() as catalog:
        assert catalog.check(deep=True) == []
    assert shelf.told[-1].done == 3


def test_a_process_that_dies_over_records_leaves_them_to_the_next_run(shelf: Shelf) -> None:
    shelf.run(OLD, Make(Brightness, ("embedding",)))
    assert shelf.run(OLD, Make(DyingBrightness, ("embedding", 2)), inline=False, code=4) == []
    assert any("nothing is made from what models said before" in note for note in shelf.told[-1].notes)
    assert shelf.records()["a.jpg"].outputs["tags"].fingerprint == "brightness@1"
    assert shelf.run(OLD, Make(Brightness, ("embedding", 2))) == []
    assert shelf.records()["a.jpg"].outputs["tags"].fingerprint == "brightness@2"


class Colours(Brightness):
    """Another one that is derived."""

    name = "colours"


class UnloadableColours(Colours):
    def load(self) -> None:
        raise OSError("vocabulary.txt is gone")


class FailingColours(Colours):
    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        raise RuntimeError("the words are of another length")


@pytest.mark.parametrize("bad", [UnloadableColours, FailingColours])
def test_one_derived_model_that_does_not_work_leaves_the_others_and_is_made_up_for(
    shelf: Shelf, bad: type[Colours]
) -> None:
    shelf.add("d.jpg")
    shelf.run(OLD, Make(Brightness, ("embedding",)))
    new = Make(Brightness, ("embedding", 2))
    assert shelf.run(OLD, new, Make(bad, ("embedding",)), code=4) == []
    assert any("colours is switched off" in note for note in shelf.told[-1].notes)
    assert shelf.told[-1].left == {"colours": 4}
    assert all(record.outputs["tags"].fingerprint == "brightness@2" for record in shelf.records().values())
    assert shelf.outputs("a.jpg") == {"embedding", "tags"}
    assert shelf.run(OLD, new, Make(Colours, ("embedding",))) == []
    assert all(record.outputs["colours"].tags for record in shelf.records().values())


def test_one_output_that_nothing_can_be_derived_from_fails_alone() -> None:
    class Choosy(Brightness):
        def _one(self, output: Output) -> Output:
            if output.joint_embedding == b"bad":
                raise ValueError("not this one")
            return Output(self.fingerprint)

    sources = [Output("x@1", joint_embedding=vector) for vector in (b"1", b"bad", b"3")]
    assert [output.error for output in derived_each(Choosy("embedding"), sources)] == [
        None,
        "ValueError: not this one",
        None,
    ]


def test_news_of_a_sidecar_are_read_though_only_what_is_derived_is_stale(shelf: Shelf) -> None:
    shelf.run(OLD, Make(Brightness, ("embedding",)))
    (shelf.photos / "a.xmp").write_text("<x/>")
    assert shelf.run(OLD, Make(Brightness, ("embedding", 2))) == ["a.jpg"]
    assert [record.outputs["tags"].fingerprint for record in shelf.records().values()] == ["brightness@2"] * 3
    assert shelf.run(OLD, Make(Brightness, ("embedding", 2))) == []


# ── what a photo lacks ────────────────────────────────────────────────────────────────────────


def record_with(**fingerprints: str) -> Record:
    outputs = {name: Output(of, joint_embedding=b"") for name, of in fingerprints.items()}
    return photo("/p/a.jpg", outputs=outputs)


def test_what_is_derived_brings_its_source_along_when_the_photo_is_read_anyway() -> None:
    models = RunModels([Embedder("embedding"), stubs.CountModel(), Brightness("embedding", 2)])
    whole = record_with(embedding="embedding@1", count="count@1", tags="brightness@1")
    assert models.lack(whole) == ((), ("tags",))
    assert models.lack(whole, is_read=True) == (("embedding", "tags"), ())
    old = record_with(embedding="embedding@1", count="count@0", tags="brightness@1")
    assert models.lack(old) == (("embedding", "count", "tags"), ())


def test_nothing_is_derived_from_what_another_version_said_or_from_nothing() -> None:
    models = RunModels([Brightness("embedding", 2)], is_part=True)
    assert models.lack(record_with()) == ((), ())
    assert models.lack(record_with(embedding="embedding@7")) == ((), ("tags",))
    both = RunModels([Embedder("embedding"), Brightness("embedding", 2)])
    assert both.lack(record_with(embedding="embedding@7")) == (("embedding", "tags"), ())


class GatedCount(stubs.CountModel):
    """Finds nothing worth a look."""

    after_names = ()

    def wants(self, seen: Mapping[str, Output]) -> bool:
        return False

    def skipped(self) -> Output:
        return Output(self.fingerprint, tags=(), gate="nothing is likely")


def test_what_a_gate_left_out_is_made_up_for_by_a_run_without_the_gate(shelf: Shelf) -> None:
    gated = Make(GatedCount)
    assert len(shelf.run(gated)) == 3
    assert shelf.run(gated) == []
    assert shelf.records()["a.jpg"].outputs["count"].gate == "nothing is likely"
    assert len(shelf.run(COUNT)) == 3
    assert shelf.records()["a.jpg"].outputs["count"].tags == (Tag("counted", 1.0),)
    assert shelf.run(gated) == [], "what was found stays"
