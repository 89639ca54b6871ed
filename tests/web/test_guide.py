"""docs/api.md: its examples are carried out as they stand, and answer what it says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from catalogd.records import Output
from tests.query.library import SPACE, halves, meaning, picture
from tests.web.library import API, Library

GUIDE = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
_BLOCK = re.compile(r"```(sh|json)\n(.*?)```", re.S)


class Example(NamedTuple):
    command: str  # one curl
    answer: Any  # as the guide shows it; None: it does not


def examples() -> Iterator[Example]:
    blocks = _BLOCK.findall(GUIDE)
    for place, (language, text) in enumerate(blocks):
        commands = [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("curl ")]
        following = blocks[place + 1] if place + 1 < len(blocks) else ("", "")
        shown = json.loads(following[1]) if language == "sh" and following[0] == "json" else None
        for command in commands:
            yield Example(command, shown if command == commands[0] else None)


def carried_out(library: Library, command: str) -> Any:
    """What a curl command of the guide gets from the API. An option that this does not know is an error."""
    words = shlex.split(command.replace("$API", API).replace("PHOTO_ID", str(library.id_of(library.real))))
    method, url, content, headers, query, as_query = "", "", b"", {}, [], False
    rest = iter(words[1:])
    for word in rest:
        match word:
            case "-s":
                pass
            case "-G":
                as_query = True
            case "-X":
                method = next(rest)
            case "-o":
                next(rest)
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case "--data-urlencode":
                query.append(tuple(next(rest).split("=", 1)))
            case "-d":
                text = next(rest)
                if as_query:
                    query.append(tuple(text.split("=", 1)))
                else:
                    content = text.encode()
            case "--data-binary":
                assert next(rest) == "@PICTURE.jpg"
                content = b"a picture"
            case _:
                assert word.startswith("/"), f"{word} in {command}"
                url = word
    assert ("Authorization" in headers) != url.endswith("/health"), f"no token in {command}"
    method = method or ("POST" if content else "GET")
    return library.client.request(method, url, params=query or None, content=content, headers=headers)


@pytest.fixture
def guided(own_library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    seen = Output(SPACE, embedding=picture(3), joint_embedding=halves(meaning("beach")))
    monkeypatch.setattr(own_library.searcher, "_pictures", lambda path, space: (seen,))
    return own_library


def test_every_example_works_in_the_order_of_the_guide(guided: Library) -> None:
    found = list(examples())
    assert len(found) > 20
    for example in found:
        answer = carried_out(guided, example.command)
        assert answer.status_code == 200, f"{example.command}\n{answer.text}"
        if example.answer is not None:
            assert answer.json().keys() == example.answer.keys(), example.command


def test_the_kinds_of_errors_are_those_that_there_are(guided: Library) -> None:
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (?:4\d\d|5xx) \|([^|]*)\|", GUIDE, re.M))))
    assert {"query", "usage", "outside", "not_found", "conflict", "validation", "photo"} <= told
