"""`catalogd lightroom`: the plugin is put where Lightroom looks; what is not the plugin stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from click.testing import CliRunner, Result
from lupa import lua51

from catalogd import __version__, plugin
from catalogd.cli import cli
from catalogd.errors import CatalogdError
from catalogd.settings import Settings
from catalogd.web.tokens import token_path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "lrplugin" / "catalogd.lrdevplugin"


def catalogd(*arguments: object, catalog: Path) -> Result:
    return CliRunner().invoke(cli, ["--catalog", str(catalog), *(str(argument) for argument in arguments)])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def local(folder: Path) -> dict[str, str]:
    """Local.lua as Lua reads it."""
    table: Any = lua51.LuaRuntime(encoding=None).execute((folder / "Local.lua").read_bytes())
    return {key.decode(): os.fsdecode(value) for key, value in table.items()}


def test_install_puts_the_whole_plugin_and_tells_it_where_the_daemon_is(tmp_path: Path) -> None:
    done = catalogd("lightroom", "install", "--to", tmp_path / "Modules", catalog=tmp_path / "c")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "Modules" / "catalogd.lrplugin"
    assert names(folder) == {file.name for file in SOURCE.iterdir()} | {"Local.lua"}
    assert local(folder) == {
        "address": "http://127.0.0.1:8766",
        "token_file": str(token_path(Settings(catalog=tmp_path / "c"))),
    }
    assert f"version {__version__}" in done.output
    assert names(tmp_path / "Modules") == {"catalogd.lrplugin"}, "nothing is left beside it"


def test_the_paths_in_local_lua_may_hold_anything(tmp_path: Path) -> None:
    odd = tmp_path / 'é "quoted" \\ back'
    plugin.install(tmp_path / "m", Settings(catalog=odd, http_port=0))
    assert local(tmp_path / "m" / plugin.NAME) == {"token_file": str(odd / "api.token")}


def test_install_over_an_older_one_replaces_it_and_keeps_what_somebody_put_there(tmp_path: Path) -> None:
    old = tmp_path / plugin.NAME
    old.mkdir()
    (old / "Info.lua").write_text(f'LrToolkitIdentifier = "{plugin.IDENTIFIER}" display = "0.0.9"')
    (old / "Gone.lua").write_text("of an older version")
    (old / "notes").mkdir()
    (old / "notes" / "mine.txt").write_text("mine")
    done = catalogd("lightroom", "install", "--to", tmp_path, catalog=tmp_path / "c")
    assert f"version {__version__}, in place of 0.0.9" in done.output
    assert not (old / "Gone.lua").exists()
    assert (old / "notes" / "mine.txt").read_text() == "mine"
    assert catalogd("lightroom", "install", "--to", tmp_path, catalog=tmp_path / "c").exit_code == 0


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_foreign_folder_is_never_touched(command: str, tmp_path: Path) -> None:
    foreign = tmp_path / plugin.NAME
    foreign.mkdir()
    (foreign / "Info.lua").write_text('LrToolkitIdentifier = "com.example.other"')
    done = catalogd("lightroom", command, "--to", tmp_path, catalog=tmp_path / "c")
    assert done.exit_code == 2
    assert "not catalogd's plugin" in done.output
    assert (foreign / "Info.lua").read_text() == 'LrToolkitIdentifier = "com.example.other"'
    assert names(tmp_path) == {plugin.NAME}


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_link_is_not_followed(command: str, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / plugin.NAME).symlink_to(SOURCE)
    before = names(SOURCE)
    assert catalogd("lightroom", command, "--to", tmp_path / "m", catalog=tmp_path / "c").exit_code == 2
    assert names(SOURCE) == before


def test_a_failed_install_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin.install(tmp_path, Settings(catalog=tmp_path / "c"))
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise PermissionError(13, "denied", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PermissionError):
        plugin.install(tmp_path, Settings(catalog=tmp_path / "c"))
    assert plugin.is_plugin(tmp_path / plugin.NAME)
    assert names(tmp_path) == {plugin.NAME}


def test_uninstall_takes_the_plugin_and_leaves_what_is_not_its(tmp_path: Path) -> None:
    folder, _ = plugin.install(tmp_path, Settings(catalog=tmp_path / "c"))
    assert catalogd("lightroom", "uninstall", "--to", tmp_path, catalog=tmp_path / "c").exit_code == 0
    assert not folder.exists()
    plugin.install(tmp_path, Settings(catalog=tmp_path / "c"))
    (folder / "mine.txt").write_text("mine")
    done = catalogd("lightroom", "uninstall", "--to", tmp_path, catalog=tmp_path / "c")
    assert "mine.txt" in done.output
    assert names(folder) == {"mine.txt"}
    assert catalogd("lightroom", "uninstall", "--to", tmp_path, catalog=tmp_path / "c").exit_code == 2


def test_a_package_is_the_plugin_without_this_machines_address(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        assert catalogd("lightroom", "package", tmp_path / name, catalog=tmp_path / "c").exit_code == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path)
    assert names(tmp_path / plugin.NAME) == {file.name for file in SOURCE.iterdir()}
    assert plugin.is_plugin(tmp_path / plugin.NAME)
    assert names(tmp_path) == {"a.zip", "b.zip", plugin.NAME}


@pytest.mark.parametrize(
    ("platform", "home", "folder"),
    [
        ("darwin", "/Users/ana/Library/Application Support", "Adobe/Lightroom/Modules"),
        ("win32", "/c/Users/ana/AppData/Roaming", "Adobe/Lightroom/Modules"),
    ],
)
def test_the_folder_is_lightrooms_own(
    platform: str, home: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(platformdirs, "user_data_path", lambda **_: Path(home))
    assert plugin.modules_folder() == Path(home) / folder


def test_without_lightroom_a_folder_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    done = catalogd("lightroom", "install", catalog=tmp_path / "c")
    assert done.exit_code == 2
    assert "--to" in done.output


def test_the_plugin_is_named_as_its_info_says() -> None:
    assert f'LrToolkitIdentifier = "{plugin.IDENTIFIER}"' in (SOURCE / "Info.lua").read_text()
    assert plugin.version_of(SOURCE) == __version__


def test_a_wheel_holds_the_plugin_where_an_installed_package_looks_for_it() -> None:
    """What the build copies, by its own list; git decides which files those are."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["scikit-build"]
    assert build["wheel"]["packages"] == {
        "catalogd": "catalogd",
        "catalogd/catalogd.lrdevplugin": str(SOURCE.relative_to(ROOT)),
    }
    ignored = subprocess.run(
        ["git", "check-ignore", *map(str, SOURCE.iterdir())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ignored.stdout == ""


def test_an_installed_package_finds_the_plugin_inside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SOURCE, tmp_path / "catalogd" / "catalogd.lrdevplugin")
    monkeypatch.setattr(plugin, "__file__", str(tmp_path / "catalogd" / "plugin.py"))
    assert plugin.plugin_folder() == tmp_path / "catalogd" / "catalogd.lrdevplugin"
    shutil.rmtree(tmp_path / "catalogd" / "catalogd.lrdevplugin")
    with pytest.raises(CatalogdError, match="install catalogd again"):
        plugin.plugin_folder()
