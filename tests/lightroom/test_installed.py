"""The plugin as `catalogd lightroom install` and `package` leave it, run from there."""

from __future__ import annotations

import dataclasses
import urllib.parse
import zipfile
from pathlib import Path

from catalogd import plugin
from tests.lightroom.daemon import Daemon
from tests.lightroom.sdk import Lightroom


def test_after_an_install_nothing_has_to_be_typed(daemon: Daemon, tmp_path: Path) -> None:
    port = urllib.parse.urlsplit(daemon.address).port
    assert port is not None
    folder, _ = plugin.install(tmp_path, dataclasses.replace(daemon.settings, http_port=port))
    with Lightroom(plugin=folder) as lightroom:
        lightroom.menu("Status.lua")
        assert "catalogd answers." in lightroom.messages[-1]
        assert daemon.address in lightroom.messages[-1]


def test_a_package_asks_the_usual_address_without_a_token(tmp_path: Path) -> None:
    plugin.package(tmp_path / "p.zip")
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        archive.extractall(tmp_path)
    with Lightroom(plugin=tmp_path / plugin.NAME) as lightroom:
        assert lightroom.evaluate("return require('Preferences').address()") == "http://127.0.0.1:8766"
        assert lightroom.evaluate("return require('Preferences').token() == nil") is True


def test_a_token_file_of_a_catalog_without_one_is_no_error(tmp_path: Path) -> None:
    """The daemon makes it when it first serves: an install may come before."""
    local = f'return {{ token_file = "{tmp_path / "api.token"}" }}'
    with Lightroom(local=local) as lightroom:
        assert lightroom.evaluate("return require('Preferences').token() == nil") is True
        (tmp_path / "api.token").write_text("made-meanwhile\n")
        assert lightroom.evaluate("return require('Preferences').token()") == "made-meanwhile"
