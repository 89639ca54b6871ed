"""Weights from a hub: only what is needed, continued where it broke off, proven, pinned."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import filelock
import huggingface_hub.constants
import huggingface_hub.file_download
import pytest

from catalogd.errors import CatalogdError, ConflictError, ModelError
from catalogd.models import bundles, hub, weights
from catalogd.models.bundles import Bundle
from catalogd.settings import Settings
from tests.models.hub_server import COMMIT, Hub, served

WEIGHTS = os.urandom(50_000)
BUNDLE = Bundle(
    "tiny", "someone/tiny", ("*.safetensors", "*.json"), ("model.safetensors",), "MIT", is_commercial=True
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(catalog=tmp_path / "catalog", model_cache=tmp_path / "cache")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A repository with weights, a config, and what nobody wants; files come in pieces of 4 KiB."""
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda seconds: None)
    files = {
        "model.safetensors": WEIGHTS,
        "config.json": b'{"a": 1}',
        "pytorch_model.bin": b"a pickle",
        "README.md": b"words",
    }
    with served(Hub("someone/tiny", files, small=("config.json", "README.md"))) as hub_server:
        yield hub_server


def ignored(name: str, done: int, total: int) -> None:
    return


def download(server: Hub, settings: Settings, bundle: Bundle = BUNDLE) -> bundles.FoundBundle:
    return hub.download(bundle, settings, ignored, server.endpoint)


def test_only_the_files_that_are_needed_are_fetched_and_pinned(server: Hub, settings: Settings) -> None:
    plan = hub.plan(BUNDLE, settings, server.endpoint)
    assert (plan.size_bytes, plan.missing_bytes, plan.commit) == (50_008, 50_008, COMMIT)
    assert plan.licence == "mit"
    found = hub.fetch(plan, settings, ignored)
    assert server.fetched() == ["config.json", "model.safetensors"]
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "catalogd.json",
        "config.json",
        "model.safetensors",
    ]
    manifest = json.loads((found.folder / "catalogd.json").read_text())
    assert (manifest["repo"], manifest["revision"]) == ("someone/tiny", COMMIT)
    assert manifest["files"]["model.safetensors"] == {
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "size": 50_000,
    }
    assert bundles.find(BUNDLE, settings) == found
    assert [path.name for path in found.folder.parent.iterdir() if not path.name.endswith(".lock")] == [
        "tiny"
    ]


def test_fetched_weights_are_not_read_again_for_their_fingerprint(
    server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = download(server, settings)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert len(found.short_hash) == 12


def test_progress_counts_the_bytes_of_all_files(server: Hub, settings: Settings) -> None:
    said: list[tuple[str, int, int]] = []
    hub.download(BUNDLE, settings, lambda *what: said.append(what), server.endpoint)
    assert said[0] == ("config.json", 8, 50_008)
    assert said[-1] == ("model.safetensors", 50_008, 50_008)
    assert [done for _, done, _ in said] == sorted(done for _, done, _ in said)
    assert len(said) > 10


def test_a_connection_that_ends_is_continued(server: Hub, settings: Settings) -> None:
    server.cut_after = 20_000
    found = download(server, settings)
    assert (found.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [asked for _, _, asked in server.seen if asked] == ["bytes=16384-"]  # the pieces that came whole


def test_a_fetch_that_was_stopped_goes_on_where_it_was(server: Hub, settings: Settings) -> None:
    def stop(name: str, done: int, total: int) -> None:
        if done > 30_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.download(BUNDLE, settings, stop, server.endpoint)
    assert bundles.find(BUNDLE, settings) is None
    plan = hub.plan(BUNDLE, settings, server.endpoint)
    missing = plan.missing_bytes
    assert 0 < missing < 25_000
    server.seen.clear()
    found = hub.fetch(plan, settings, ignored)
    assert (found.folder / "model.safetensors").read_bytes() == WEIGHTS
    ((_, path, asked),) = [seen for seen in server.seen if "/resolve/" in seen[1]]
    assert path.endswith("model.safetensors")
    assert int(asked.removeprefix("bytes=").rstrip("-")) == 50_000 - missing


def test_a_server_that_can_not_continue_sends_all_and_the_file_is_right(
    server: Hub, settings: Settings
) -> None:
    server.cut_after, server.ranges = 20_000, False
    assert (download(server, settings).folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_another_hash_is_refused_and_not_kept(server: Hub, settings: Settings, name: str) -> None:
    server.wrong[name] = b"x" * len(server.files[name])
    with pytest.raises(ModelError, match=rf"{name} came with another hash"):
        download(server, settings)
    assert bundles.find(BUNDLE, settings) is None
    server.wrong.clear()
    assert download(server, settings).folder.is_dir()


def test_another_commit_begins_anew_and_the_old_weights_stay_until_it_is_whole(
    server: Hub, settings: Settings
) -> None:
    old = download(server, settings)
    before = old.short_hash
    server.commit = "f" * 40
    server.files["model.safetensors"] = os.urandom(50_000)
    server.wrong["model.safetensors"] = b"x" * 50_000
    with pytest.raises(ModelError, match="another hash"):
        download(server, settings)
    assert bundles.FoundBundle(BUNDLE, old.folder, "hub", settings.model_cache).short_hash == before
    server.wrong.clear()
    assert download(server, settings).short_hash != before


def test_what_was_begun_of_an_older_commit_is_thrown_away(server: Hub, settings: Settings) -> None:
    server.wrong["model.safetensors"] = b"x" * 50_000
    with pytest.raises(ModelError):
        download(server, settings)
    server.wrong.clear()
    server.commit = "f" * 40
    found = download(server, settings)
    assert [path.name for path in found.folder.parent.iterdir() if path.name.endswith(".part")] == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ((404, "RepoNotFound"), "there is no such repository"),
        ((401, "RepoNotFound"), "HF_TOKEN does not open it"),
        ((403, "GatedRepo"), "consent first.*HF_TOKEN"),
        ((404, "RevisionNotFound"), "no revision main"),
        ((500, ""), "go on with: catalogd models get tiny"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(
    server: Hub, settings: Settings, error: tuple[int, str], says: str
) -> None:
    server.error = error
    with pytest.raises(ModelError, match=says) as raised:
        download(server, settings)
    assert "someone/tiny" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_gone_from_the_hub_is_named(server: Hub, settings: Settings) -> None:
    server.no_files = True
    with pytest.raises(ModelError, match=r"someone/tiny/config\.json.*does not have this file"):
        download(server, settings)


def test_where_no_hub_answers_it_is_said_which_files_to_bring_by_hand(settings: Settings) -> None:
    with pytest.raises(ModelError) as raised:
        hub.plan(BUNDLE, settings, "http://127.0.0.1:9")
    assert str(raised.value) == (
        "the hub huggingface.co can't be reached (Connection refused); "
        "try again, set HF_ENDPOINT to a mirror, "
        "or put these files of someone/tiny into "
        "a folder that you set as model_path/tiny: *.safetensors, *.json"
    )
    there = dataclasses.replace(settings, model_path=Path("/models"))
    with pytest.raises(ModelError, match="of someone/tiny into /models/tiny: "):
        hub.plan(BUNDLE, there, "http://127.0.0.1:9")


def test_a_hub_that_is_gone_halfway_keeps_what_came(server: Hub, settings: Settings) -> None:
    plan = dataclasses.replace(hub.plan(BUNDLE, settings, server.endpoint), endpoint="http://127.0.0.1:9")
    with pytest.raises(
        ModelError, match=r"be reached .*; what is here stays; go on with: catalogd models get"
    ):
        hub.fetch(plan, settings, ignored)


def test_the_token_of_the_environment_opens_what_is_gated(
    server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "hf_secret"
    with pytest.raises(ModelError, match="consent first"):
        download(server, settings)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert download(server, settings).folder.is_dir()


def test_a_repository_of_another_layout_is_named(server: Hub, settings: Settings) -> None:
    del server.files["model.safetensors"]
    with pytest.raises(ModelError, match=r"has no model\.safetensors at main"):
        download(server, settings)


@pytest.mark.parametrize("name", ["../evil.json", "/etc/evil.json", "catalogd.json"])
def test_names_that_would_lie_elsewhere_are_not_taken(server: Hub, settings: Settings, name: str) -> None:
    server.files[name] = b"{}"
    with pytest.raises(ModelError, match="is not taken"):
        download(server, settings)


def test_a_folder_of_a_repository_lands_at_the_top(server: Hub, settings: Settings) -> None:
    server.files["onnx/model.safetensors"] = WEIGHTS[:100]
    inside = dataclasses.replace(BUNDLE, folder_inside="onnx")
    assert (download(server, settings, inside).folder / "model.safetensors").read_bytes() == WEIGHTS[:100]


def test_two_processes_do_not_fetch_the_same(server: Hub, settings: Settings) -> None:
    folder = bundles.hub_folder(BUNDLE, settings)
    folder.parent.mkdir(parents=True)
    with (
        filelock.FileLock(folder.with_name(".tiny.lock")),
        pytest.raises(ConflictError, match="another process"),
    ):
        download(server, settings)


def test_a_full_disk_is_said_before_anything_is_fetched(
    server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(CatalogdError, match="GB are free: choose another place"):
        download(server, settings)
    assert server.fetched() == []


def test_weights_that_no_hub_has_are_put_into_the_model_path(settings: Settings) -> None:
    with pytest.raises(ModelError, match="model path"):
        hub.plan(dataclasses.replace(BUNDLE, repo=""), settings)


def test_removing_frees_what_was_fetched(server: Hub, settings: Settings) -> None:
    download(server, settings)
    assert hub.remove(BUNDLE, settings) > 50_000
    assert bundles.find(BUNDLE, settings) is None


def test_progress_bars_of_the_library_are_not_shown_and_left_as_they_were(
    server: Hub, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    was_off = huggingface_hub.utils.are_progress_bars_disabled()
    download(server, settings)
    assert huggingface_hub.utils.are_progress_bars_disabled() is was_off
    assert capfd.readouterr() == ("", "")


def test_hashes_are_remembered_where_all_weights_have_theirs(server: Hub, settings: Settings) -> None:
    found = download(server, settings)
    path = found.folder / "model.safetensors"
    assert weights.file_sha256(path, settings.model_cache) == hashlib.sha256(WEIGHTS).hexdigest()
