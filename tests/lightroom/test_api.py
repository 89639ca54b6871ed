"""The plugin's one file that knows HTTP, against the real API."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from catalogd.web.api import PREFIX, create_app
from tests.lightroom.daemon import Daemon
from tests.lightroom.sdk import PLUGIN, Lightroom, to_python

CALL = "local Api = require 'Api' local answer, failure = Api.call(...) return answer, failure"


def call(lightroom: Lightroom, name: str, **arguments: Any) -> tuple[Any, Any]:
    found = lightroom.evaluate(CALL, name, arguments)
    return found if isinstance(found, tuple) else (found, None)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_every_endpoint_of_the_plugin_is_a_route_of_the_api(lightroom: Lightroom) -> None:
    paths = create_app(None).openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    shapes = {(method, _shape(path)) for method, path in routes}
    endpoints = to_python(lightroom.require("Api")[b"ENDPOINTS"])
    missing = {
        name: pair for name, pair in endpoints.items() if (pair[0], _shape(PREFIX + pair[1])) not in shapes
    }
    assert not missing


def test_every_endpoint_is_used_by_the_plugin(lightroom: Lightroom) -> None:
    code = "".join(file.read_text("utf-8") for file in PLUGIN.glob("*.lua"))
    names = to_python(lightroom.require("Api")[b"ENDPOINTS"])
    assert [name for name in names if f'"{name}"' not in code and f"ENDPOINTS.{name}" not in code] == []


def _shape(path: str) -> str:
    """The path with every parameter alike: it is filled in by position."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_an_answer_is_a_table(lightroom: Lightroom) -> None:
    answer, failure = call(lightroom, "search", body={"q": "dog", "limit": 1})
    assert failure is None
    assert answer["hits"][0]["path"].startswith("/lib/2023/Norway/dog_")


def test_a_query_travels_whole_in_the_address(lightroom: Lightroom) -> None:
    answer, _ = call(lightroom, "count", query={"q": 'camera:"Nikon Z 6" rating:>=5 & 100% #é/?+'})
    assert "count" in answer
    assert lightroom.requests[-1][1].endswith(
        "count?q=camera%3A%22Nikon%20Z%206%22%20rating%3A%3E%3D5%20%26%20100%25%20%23%C3%A9%2F%3F%2B"
    )


def test_what_the_daemon_refuses_keeps_its_kind_and_message(lightroom: Lightroom) -> None:
    answer, failure = call(lightroom, "search", body={"q": "(dog"})
    assert answer is None
    assert (failure["kind"], failure["status"], failure["error"]) == ("answer", 400, "query")
    assert failure["message"]


def test_a_wrong_token_says_where_the_right_one_is(daemon: Daemon) -> None:
    with daemon.lightroom(passwords={"catalogd api token": "wrong"}) as lightroom:
        _, failure = call(lightroom, "status")
        assert failure["kind"] == "token"
        lightroom.evaluate("require('Api').report(...)", failure)
        assert "catalogd token" in lightroom.messages[-1]


@pytest.mark.parametrize("is_number", [False, True])
def test_a_daemon_that_is_down_says_how_to_start_it(is_number: bool) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with Lightroom(preferences={"address": address}) as lightroom:
        lightroom.control[b"network_error_is_number"] = is_number
        _, failure = call(lightroom, "status")
        assert failure["kind"] == "down"
        lightroom.evaluate("require('Api').report(...)", failure)
        assert "catalogd run ~/Pictures" in lightroom.messages[-1]
        assert "catalogd serve" in lightroom.messages[-1]
        assert address in lightroom.messages[-1]


def test_a_daemon_that_does_not_answer_is_late() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with Lightroom(preferences={"address": f"http://127.0.0.1:{silent.getsockname()[1]}"}) as lightroom:
            _, failure = call(lightroom, "status", timeout=0.1)
            assert failure["kind"] == "timeout"
            lightroom.evaluate("require('Api').report(...)", failure)
            assert "did not answer in time" in lightroom.messages[-1]


@pytest.mark.parametrize(
    ("typed", "used"),
    [
        ("localhost:8766", "http://127.0.0.1:8766"),
        ("http://LOCALHOST:9/", "http://127.0.0.1:9"),
        (" http://localhost ", "http://127.0.0.1"),
        ("https://photos.example:1/api/v1/", "https://photos.example:1"),
        ("http://localhost.example:1", "http://localhost.example:1"),
        ("", "http://127.0.0.1:8766"),
    ],
)
def test_the_address_is_cleaned_and_never_localhost(typed: str, used: str) -> None:
    with Lightroom(preferences={"address": typed}) as lightroom:
        assert lightroom.evaluate("return require('Preferences').address()") == used


def test_the_same_machine_needs_nothing_typed(daemon: Daemon, tmp_path: Any) -> None:
    token = tmp_path / "api.token"
    token.write_text(daemon.token + "\n")
    local = f'return {{ address = "{daemon.address}", token_file = "{token}" }}'
    with Lightroom(local=local) as lightroom:
        answer, failure = call(lightroom, "search", body={"q": "dog"})
        assert failure is None
        assert answer["hits"]
    with Lightroom(local=local, passwords={"catalogd api token": "typed"}) as lightroom:
        assert lightroom.evaluate("return require('Preferences').token()") == "typed"


def test_no_address_holds_the_token(lightroom: Lightroom, daemon: Daemon) -> None:
    call(lightroom, "count", query={"q": "dog"})
    assert all(daemon.token not in path for _, path, _ in lightroom.requests)


def test_every_page_of_a_list_is_read_until_the_reader_has_enough(lightroom: Lightroom) -> None:
    source = """
    local paths = {}
    local ok, failure = require('Api').all('photos', 'photos', { query = { limit = 20 } }, function(photo)
        paths[#paths + 1] = photo.path
        return #paths < (%s)
    end)
    return ok, #paths, failure
    """
    lightroom.require("Api")[b"ENDPOINTS"][b"photos"] = lightroom.to_lua(["GET", "/photos"])
    assert lightroom.evaluate(source % "1000")[:2] == (True, 65)
    assert len(lightroom.requests) == 4
    assert lightroom.evaluate(source % "30")[:2] == (True, 30)
    assert len(lightroom.requests) == 6
