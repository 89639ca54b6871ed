"""The plug-in manager's section, Status and Help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from catalogd import __version__
from tests.lightroom.daemon import Daemon
from tests.lightroom.sdk import Dialog, Lightroom, to_python


def kept(lightroom: Lightroom, name: str) -> Any:
    return lightroom.evaluate("return require('Preferences').get(...)", name)


def test_the_connection_is_tested_with_what_is_typed(daemon: Daemon) -> None:
    def use(dialog: Dialog) -> None:
        dialog.press("Test connection")
        assert "catalogd run ~/Pictures" in dialog.all_text
        dialog.set("address", daemon.address.replace("127.0.0.1", "localhost"))
        dialog.set("token", "wrong-token-of-20-characters")
        dialog.press("Test connection")
        assert "catalogd token" in dialog.all_text
        dialog.set("token", f" {daemon.token} ")
        dialog.press("Test connection")
        assert f"It works: catalogd {__version__}, photos with results: 65." in dialog.all_text

    with Lightroom(preferences={"address": "127.0.0.1:9"}) as lightroom:
        lightroom.settings(use)
        assert to_python(lightroom.control[b"passwords"]) == {"catalogd api token": daemon.token}
        assert daemon.token not in str(to_python(lightroom.control[b"preferences"]))
        lightroom.menu("Status.lua")
        assert "Photos with results: 65" in lightroom.messages[-1]


def test_the_token_is_never_shown_and_can_be_forgotten(lightroom: Lightroom, daemon: Daemon) -> None:
    def use(dialog: Dialog) -> None:
        assert daemon.token not in dialog.all_text
        assert "A token is stored" in dialog.all_text
        dialog.set("forget_token", True)

    lightroom.settings(use)
    assert lightroom.evaluate("return require('Preferences').token()") in (None, ())


def test_closing_without_a_change_keeps_everything(lightroom: Lightroom, daemon: Daemon) -> None:
    before = to_python(lightroom.control[b"preferences"])
    lightroom.settings(lambda dialog: None)
    after = to_python(lightroom.control[b"preferences"])
    assert {name: after[name] for name in before} == before
    assert lightroom.evaluate("return require('Preferences').token()") == daemon.token


def test_the_path_map_is_checked_while_it_is_typed(lightroom: Lightroom) -> None:
    def use(dialog: Dialog) -> None:
        dialog.set("path_map", "/Volumes/P = /srv\nnonsense")
        assert "Not a pair of folders: nonsense" in dialog.all_text
        dialog.set("path_map", "/Volumes/P = /srv")
        assert "Not a pair" not in dialog.all_text

    lightroom.settings(use)
    assert lightroom.evaluate("return require('Preferences').path_map()") == [
        {"lightroom": "/Volumes/P", "daemon": "/srv"}
    ]


@pytest.mark.parametrize("emptied", ["", None])
def test_an_empty_keyword_parent_is_none(lightroom: Lightroom, emptied: str | None) -> None:
    assert kept(lightroom, "keyword_parent") == "catalogd"
    lightroom.settings(lambda dialog: dialog.set("keyword_parent", emptied))
    assert kept(lightroom, "keyword_parent") == ""
    lightroom.settings(lambda dialog: dialog.set("keyword_parent", "AI"))
    assert kept(lightroom, "keyword_parent") == "AI"


def test_the_settings_of_the_menu_are_kept_only_when_they_are_saved(lightroom: Lightroom) -> None:
    def use(result: str) -> Callable[[Dialog], str]:
        def typed(dialog: Dialog) -> str:
            dialog.set("keyword_parent", "AI")
            dialog.set("address", "127.0.0.1:9")
            dialog.set("token", "a-token-that-is-typed-here")
            dialog.press("Test connection")
            assert "does not answer at http://127.0.0.1:9" in dialog.all_text
            return result

        return typed

    before = to_python(lightroom.control[b"preferences"]), to_python(lightroom.control[b"passwords"])
    lightroom.menu("Settings.lua", use("cancel"))
    assert (
        to_python(lightroom.control[b"preferences"]),
        to_python(lightroom.control[b"passwords"]),
    ) == before
    lightroom.menu("Settings.lua", use("ok"))
    assert kept(lightroom, "keyword_parent") == "AI"
    assert to_python(lightroom.control[b"passwords"]) == {"catalogd api token": "a-token-that-is-typed-here"}


def test_the_token_to_be_forgotten_is_not_tested(daemon: Daemon, tmp_path: Any) -> None:
    (tmp_path / "t").write_text(daemon.token)
    local = f'return {{ address = "{daemon.address}", token_file = "{tmp_path / "t"}" }}'

    def use(dialog: Dialog) -> None:
        dialog.press("Test connection")
        assert "does not accept the token" in dialog.all_text
        dialog.set("forget_token", True)
        dialog.press("Test connection")
        assert "It works" in dialog.all_text

    with Lightroom(local=local, passwords={"catalogd api token": "an-old-one-of-20-characters"}) as lightroom:
        lightroom.settings(use)


def test_a_token_file_that_can_not_be_read_is_said_as_a_token_that_is_missing(
    daemon: Daemon, tmp_path: Any
) -> None:
    (tmp_path / "t").write_text(daemon.token)
    (tmp_path / "t").chmod(0)
    local = f'return {{ address = "{daemon.address}", token_file = "{tmp_path / "t"}" }}'
    with Lightroom(local=local) as lightroom:
        lightroom.menu("Status.lua")
        assert "catalogd token" in lightroom.messages[-1]
        assert len(lightroom.messages) == 1


def test_the_log_tells_what_failed_and_no_token(daemon: Daemon) -> None:
    with daemon.lightroom(passwords={"catalogd api token": "secret-of-twenty-characters"}) as lightroom:
        lightroom.menu("Status.lua")
        log = b"\n".join(lightroom.control[b"log"].values()).decode()
    assert "token 401" in log
    assert "secret" not in log


def test_an_empty_address_is_the_installed_one(daemon: Daemon, tmp_path: Any) -> None:
    (tmp_path / "t").write_text(daemon.token)
    local = f'return {{ address = "{daemon.address}", token_file = "{tmp_path / "t"}" }}'
    with Lightroom(local=local) as lightroom:
        lightroom.settings(lambda dialog: dialog.press("Test connection"))
        lightroom.menu("Status.lua")
        assert daemon.address in lightroom.messages[-1]


def test_status_says_whether_anything_is_indexed(lightroom: Lightroom) -> None:
    lightroom.menu("Status.lua")
    assert "Nothing is being indexed" in lightroom.messages[-1]
    assert f"catalogd {__version__} at http://127.0.0.1:" in lightroom.messages[-1]


def test_help_says_how_to_begin(lightroom: Lightroom) -> None:
    lightroom.menu("Help.lua")
    assert "catalogd run" in lightroom.messages[-1]
    assert lightroom.requests == []


@pytest.mark.parametrize(("language", "word"), [("de", "Verbindung testen"), ("fr", "Tester la connexion")])
def test_the_settings_speak_the_language_of_lightroom(daemon: Daemon, language: str, word: str) -> None:
    with daemon.lightroom(language=language) as lightroom:
        press: Callable[[Dialog], None] = lambda dialog: dialog.press(word)  # noqa: E731
        lightroom.settings(press)


def test_a_preference_of_a_wrong_type_is_the_default() -> None:
    with Lightroom(preferences={"search_limit": "many", "recent_queries": 7}) as lightroom:
        assert kept(lightroom, "search_limit") == 200
        assert kept(lightroom, "recent_queries") == {}


def test_lightroom_lets_the_log_be_written_when_it_loads_the_plugin(lightroom: Lightroom) -> None:
    assert lightroom.evaluate("import('LrLogger')('catalogd'):info('x') return true")
    assert b"info x" in list(lightroom.control[b"log"].values())
