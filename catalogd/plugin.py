"""The Lightroom Classic plugin as a folder: found in this installation, put where Lightroom looks, packed.

Only a folder that is this plugin, by the identifier in its Info.lua, is ever replaced or removed, and of
such a folder only the plugin's own kinds of files: whatever else somebody keeps there stays.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import platformdirs

from catalogd.errors import CatalogdError, UsageError
from catalogd.settings import Settings
from catalogd.web.tokens import token_path

NAME = "catalogd.lrplugin"
IDENTIFIER = (
    "org.catalogd.lightroom"  # in Info.lua; Lightroom keeps custom fields under it, so it never changes
)
_SOURCE = "catalogd.lrdevplugin"
LOCAL_FILE = "Local.lua"  # where the daemon of this machine is
_OWN = ("*.lua", "TranslatedStrings_*.txt")  # the plugin's kinds of files
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same files make the same archive
_VERSION = re.compile(r'display\s*=\s*"([^"]+)"')


def plugin_folder() -> Path:
    """The plugin's files: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / _SOURCE, package.parent / "lrplugin" / _SOURCE):
        if is_plugin(folder):
            return folder
    raise CatalogdError(f"the plugin's files are not in {package}: install catalogd again")


def modules_folder() -> Path:
    """Where Lightroom Classic looks for plugins. Raises UsageError where there is no Lightroom."""
    if sys.platform not in ("darwin", "win32"):
        raise UsageError(
            "Lightroom Classic runs on macOS and Windows; say with --to where the plugin should be put"
        )
    home = platformdirs.user_data_path(appauthor=False, roaming=True)
    return home / "Adobe" / "Lightroom" / "Modules"


def is_plugin(folder: Path) -> bool:
    try:
        return IDENTIFIER in (folder / "Info.lua").read_text("utf-8", "replace")
    except OSError:
        return False


def version_of(folder: Path) -> str:
    """As Info.lua says it; "?" when it does not."""
    found = _VERSION.search((folder / "Info.lua").read_text("utf-8", "replace"))
    return found[1] if found else "?"


def own_files(folder: Path) -> list[Path]:
    """The plugin's files in a folder of it, in order of their names."""
    return sorted(file for pattern in _OWN for file in folder.glob(pattern) if file.is_file())


# ── where the daemon is ───────────────────────────────────────────────────────────────────────


def local_text(settings: Settings) -> str:
    """Local.lua: what the plugin needs to talk to the daemon that these settings describe."""
    from catalogd.web.binding import chosen_binding

    url = chosen_binding(settings).url(settings.http_port)
    address = f"    address = {_lua_string(url)},\n" if settings.http_port else ""
    token = _lua_string(str(token_path(settings).absolute()))
    return (
        "-- Written by `catalogd lightroom install`: the catalogd of this machine.\n"
        f"return {{\n{address}    token_file = {token},\n}}\n"
    )


def _lua_string(text: str) -> str:
    """A literal of Lua 5.1; what is not plain ASCII as \\ddd, byte by byte."""
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03d}"
        for byte in os.fsencode(text)
    )
    return '"' + "".join(plain) + '"'


# ── putting and taking ────────────────────────────────────────────────────────────────────────


def install(modules: Path, settings: Settings) -> tuple[Path, str | None]:
    """Put the plugin into `modules`, over an older one if there is one: its folder, and that one's version.

    The old one stays whole until the new one is. Raises UsageError for a folder that is something else.
    """
    target = modules / NAME
    replaced = version_of(target) if _is_replaceable(target) else None
    local = local_text(settings)
    modules.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=modules, prefix=f".{NAME}-") as aside:
        made = Path(aside) / "new"
        made.mkdir()
        for file in own_files(plugin_folder()):
            shutil.copyfile(file, made / file.name)
        (made / LOCAL_FILE).write_text(local, "utf-8")
        if replaced is not None:
            _keep_others(target, made)
        _swap(made, target, Path(aside) / "old")
    return target, replaced


def _swap(made: Path, target: Path, old: Path) -> None:
    """`made` becomes `target`; what was there goes to `old`, or stays when that fails."""
    if not target.exists():
        made.rename(target)
        return
    target.rename(old)
    try:
        made.rename(target)
    except OSError:
        old.rename(target)
        raise


def _is_replaceable(target: Path) -> bool:
    """Whether there is an older plugin. Raises UsageError when there is anything else."""
    if target.is_symlink():
        raise UsageError(f"{target} is a link; remove it first if the plugin should be installed there")
    if not target.exists():
        return False
    if not is_plugin(target):
        raise UsageError(f"{target} is not catalogd's plugin; move it away first")
    return True


def _keep_others(old: Path, new: Path) -> None:
    """What somebody put into the plugin's folder goes on into the new one."""
    own = set(own_files(old))
    for file in old.iterdir():
        if file.is_dir() and not file.is_symlink():
            shutil.copytree(file, new / file.name, symlinks=True)
        elif file not in own:
            shutil.copy2(file, new / file.name, follow_symlinks=False)


def uninstall(modules: Path) -> tuple[Path, list[Path]]:
    """Take the plugin out of `modules`: its folder, and what stays in it because it is not the plugin's."""
    target = modules / NAME
    if target.is_symlink() or not target.exists():
        raise UsageError(f"there is no plugin at {target}; `--to DIR` names another folder")
    if not is_plugin(target):
        raise UsageError(f"{target} is not catalogd's plugin; it stays as it is")
    own = own_files(target)
    for file in sorted(own, key=lambda file: file.name == "Info.lua"):  # last: until then it is known as ours
        file.unlink()
    left = sorted(target.iterdir())
    if not left:
        target.rmdir()
    return target, left


def package(file: Path) -> int:
    """Write the plugin as a zip of `catalogd.lrplugin/`, to be unpacked anywhere: how many files it holds."""
    files = [path for path in own_files(plugin_folder()) if path.name != LOCAL_FILE]
    aside = file.with_name(f".{file.name}.part")
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, files)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return len(files)


def _add(archive: zipfile.ZipFile, files: Iterable[Path]) -> None:
    for path in files:
        entry = zipfile.ZipInfo(f"{NAME}/{path.name}", _ZIP_DATE)
        entry.external_attr = 0o644 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, path.read_bytes())
