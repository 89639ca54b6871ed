"""The plugin's files as they are: valid Lua 5.1, without findings, complete, in three languages."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from catalogd import __version__
from tests.lightroom.sdk import PLUGIN, Lightroom, to_python, translations

ROOT = PLUGIN.parent
FILES = sorted(PLUGIN.glob("*.lua"))
SPECS = sorted((ROOT / "spec").glob("*_spec.lua"))
LANGUAGES = ("de", "fr")
LONGEST_LINE = 120
BOM = b"\xef\xbb\xbf"
_LOC = re.compile(r'LOC\s*\(?\s*"(\$\$\$/[^"=]+)=((?:[^"\\]|\\.)*)"')


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


def needed(*names: str) -> str:
    found = next((name for name in names if shutil.which(name)), None)
    assert found, f"install {names[0]} (Debian: lua5.1 lua-check lua-busted)"
    return found


def strings() -> dict[str, str]:
    """Every LOC key in the files and its English text."""
    found: dict[str, str] = {}
    for file in FILES:
        text = file.read_text("utf-8")
        for key, english in _LOC.findall(text):
            assert found.setdefault(key, english) == english, f"{key} has two English texts"
        calls = len(re.findall(r"\bLOC\b\s*\(?\s*[\"\w]", re.sub(r"--.*", "", text)))
        assert calls == len(_LOC.findall(text)), f"a key in {file.name} is not written out"
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_lua_5_1(file: Path) -> None:
    done = run(needed("luac5.1", "luac"), "-p", str(file))
    assert done.returncode == 0, done.stderr


def test_luacheck_finds_nothing() -> None:
    done = run(needed("luacheck"), "--no-color", "-q", ".")
    assert done.returncode == 0, done.stdout


def test_the_specs_of_the_pure_modules_hold() -> None:
    assert SPECS
    done = run(needed("busted"), "--lua=lua5.1", "-o", "TAP", "--pattern=_spec", "spec")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not ok" not in done.stdout


def test_a_long_line_is_a_text_for_people() -> None:
    for file in FILES:
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            assert len(line) <= LONGEST_LINE or "LOC" in line, f"{file.name}:{number}"


def test_nothing_that_fails_in_lightroom_is_used() -> None:
    """`pcall` is right only where nothing can wait: in the codec."""
    for file in FILES:
        code = re.sub(r"--\[\[.*?\]\]", "", file.read_text("utf-8"), flags=re.DOTALL)
        code = re.sub(r"--.*", "", code)
        bare = re.findall(r"(?<![.\w])x?pcall\b", code)
        assert not bare or file.name == "Json.lua", file.name
        assert "localhost" not in code.lower(), file.name
        assert not re.search(r"\b(os\.execute|os\.getenv|io\.popen|loadfile|dofile|package)\b", code), (
            file.name
        )
        assert file.name == "Api.lua" or "LrHttp" not in code, f"{file.name} knows HTTP"


def test_a_menu_item_is_short() -> None:
    with Lightroom() as lightroom:
        info = to_python(lightroom.control[b"info"])
    for item in (*info["LrLibraryMenuItems"], *info["LrHelpMenuItems"]):
        lines = (PLUGIN / item["file"]).read_text("utf-8").splitlines()
        assert len(lines) <= 80, f"{item['file']} has {len(lines)} lines"


def test_info_names_files_that_are_there_and_offers_every_item_in_both_menus() -> None:
    with Lightroom() as lightroom:
        info = to_python(lightroom.control[b"info"])
    assert info["LrLibraryMenuItems"] == info["LrExportMenuItems"]
    files = [item["file"] for item in (*info["LrLibraryMenuItems"], *info["LrHelpMenuItems"])]
    files += [info["LrInitPlugin"], info["LrPluginInfoProvider"], info["LrMetadataProvider"]]
    tagsets = info["LrMetadataTagsetFactory"]
    files += tagsets if isinstance(tagsets, list) else [tagsets]
    assert [name for name in files if not (PLUGIN / name).is_file()] == []
    assert len({item["title"] for item in info["LrLibraryMenuItems"]}) == len(info["LrLibraryMenuItems"])


def test_the_version_is_catalogds() -> None:
    with Lightroom() as lightroom:
        version = to_python(lightroom.control[b"info"])["VERSION"]
    assert f"{version['major']}.{version['minor']}.{version['revision']}" == __version__
    assert version["display"] == __version__


# ── languages ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_nothing_else(language: str) -> None:
    english, other = strings(), translations(PLUGIN, language)
    assert sorted(set(english) - set(other)) == [], "not translated"
    assert sorted(set(other) - set(english)) == [], "no longer used"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_same_places_to_fill(language: str) -> None:
    english = strings()
    for key, text in translations(PLUGIN, language).items():
        places = sorted(re.findall(r"\^\d", text))
        assert places == sorted(re.findall(r"\^\d", english[key])), key
        assert text.strip(), key
        assert re.fullmatch(r'[^"]*', text), f"a quote in {key}: Lightroom ends the text there"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_file_of_strings_is_utf_8_with_a_mark_sorted_and_without_doubles(language: str) -> None:
    raw = (PLUGIN / f"TranslatedStrings_{language}.txt").read_bytes()
    assert raw.startswith(BOM)
    lines = [line for line in raw[len(BOM) :].decode("utf-8").splitlines() if line]
    keys = [line.partition("=")[0] for line in lines]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("language", LANGUAGES)
def test_lightroom_speaks_its_language(language: str) -> None:
    with Lightroom() as english, Lightroom(language=language) as other:
        titles = [to_python(one.control[b"info"])["LrLibraryMenuItems"] for one in (english, other)]
    assert all(a["title"] != b["title"] for a, b in zip(*titles, strict=True) if a["file"] != "Status.lua")
