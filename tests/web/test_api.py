"""What holds for all routes: errors in one form, cursors, lines, compression, threads."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from catalogd import errors
from catalogd.errors import CatalogdError, QueryError, UsageError
from catalogd.json_forms import encode_json
from catalogd.settings import Settings
from catalogd.web.answers import cursor_of, lines, position_of, refusal_of
from catalogd.web.api import create_app
from catalogd.web.backend import SLOW_AT_ONCE, Backend
from catalogd.web.binding import chosen_binding
from tests.web.library import API, Library

# ── errors ────────────────────────────────────────────────────────────────────────────────────


def tree(root: type[CatalogdError]) -> list[type[CatalogdError]]:
    own = [one for one in root.__subclasses__() if one.__module__ == errors.__name__]
    return [root, *(one for branch in own for one in tree(branch))]


@pytest.mark.parametrize("kind", tree(CatalogdError), ids=lambda kind: kind.__name__)
def test_every_error_becomes_an_answer(kind: type[CatalogdError]) -> None:
    answer = refusal_of(kind("what is wrong"))
    assert 400 <= answer.status_code < 600
    told = json.loads(bytes(answer.body))["error"]
    assert told["message"] == "what is wrong"
    assert told["kind"] == kind.kind
    assert ("position" in told) == issubclass(kind, QueryError)


def test_what_a_client_can_mend_is_no_fault_of_the_server() -> None:
    assert all(400 <= kind.http_status < 500 for kind in tree(UsageError))


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", f"{API}/nothing", 404, "not_found"),
        ("POST", f"{API}/count", 405, "method"),
        ("GET", f"{API}/photos/x", 422, "validation"),
        ("POST", f"{API}/search", 422, "validation"),
    ],
)
def test_errors_have_one_form(library: Library, method: str, path: str, status: int, kind: str) -> None:
    answer = library.client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["kind"] == kind
    assert answer.headers["content-type"] == "application/json"


def test_a_wrong_method_says_which_there_is(library: Library) -> None:
    assert library.client.post(f"{API}/count").headers["allow"] == "GET"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"q": 1}', b'{"q": "\\ud800"}', b"\xff", b'{"limit": 1e999}']
)
def test_a_body_that_is_none_is_refused_and_not_repeated(library: Library, body: bytes) -> None:
    answer = library.client.post(f"{API}/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert "ud800" not in answer.text


def test_a_bug_is_not_shown(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(library.searcher, "search", broken)
    answer = library.client.get(f"{API}/search")
    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "internal"
    assert "secret" not in answer.text


def test_middleware_sees_a_request_before_the_routes(library: Library) -> None:
    class Shut:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await refusal_of(UsageError("shut"))(scope, receive, send)

    client = TestClient(create_app(library.backend, [Middleware(Shut)]))
    assert client.get(f"{API}/count").json()["error"]["message"] == "shut"


# ── forms of answers ──────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 2**53) | st.text(max_size=50))
def test_a_cursor_leads_back_to_its_position(position: int | str) -> None:
    assert position_of(cursor_of(position), type(position), None) == position


@given(st.text(max_size=100))
def test_any_text_is_a_cursor_or_a_usage_error(cursor: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(position_of(cursor, int, 0), int)


def test_json_holds_what_utf8_cannot() -> None:
    assert json.loads(encode_json({"caf\udce9": ["\ud800", math.nan, (1.5,)]})) == {
        r"caf\xe9": [r"\ud800", None, [1.5]]
    }


def test_lines_are_made_while_they_are_sent() -> None:
    made: list[int] = []

    def values() -> Any:
        for number in range(1000):
            made.append(number)
            yield {"n": number}

    async def first_chunk() -> bytes:
        async for chunk in lines(values()).body_iterator:
            return bytes(chunk)  # type: ignore[arg-type]
        return b""

    assert anyio.run(first_chunk).count(b"\n") == len(made) == 200


def test_long_answers_are_compressed_for_who_can_read_them(library: Library) -> None:
    with library.client.stream("GET", f"{API}/photos", headers={"Accept-Encoding": "gzip"}) as packed:
        content = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    plain = library.client.get(f"{API}/photos", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(content) == plain.content
    assert len(content) < len(plain.content) / 3


def test_pictures_are_not_compressed_again(library: Library) -> None:
    path = f"{API}/photos/{library.id_of(library.real)}/thumbnail"
    answer = library.client.get(path, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


def test_an_answer_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    """Each picture used to take 40 ms: Nagle's algorithm here and delayed acknowledgements there."""
    with chosen_binding(Settings(http_port=0)).listen() as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with client, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# ── what holds for every route ────────────────────────────────────────────────────────────────


def test_head_is_answered_as_get_without_the_body(library: Library) -> None:
    for path in (
        "/health",
        "/photos?limit=2",
        f"/photos/{library.id_of(library.real)}/thumbnail",
        "/nothing",
    ):
        known = library.client.get(API + path)
        head = library.client.head(API + path)
        assert (head.status_code, head.headers, head.content) == (known.status_code, known.headers, b"")
    assert library.client.head(f"{API}/events").status_code == 405


@pytest.mark.parametrize("sent_as", ["application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_is_not_called_json_is_refused_with_what_to_do(library: Library, sent_as: str) -> None:
    """What `curl -d` sends by itself."""
    asked: dict[str, Any] = {"content": b'{"q": ""}', "headers": {"Content-Type": sent_as}}
    answer = library.client.post(f"{API}/search", **asked)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].endswith("with the header Content-Type: application/json")


def test_who_only_reads_makes_no_user_data(own_library: Library) -> None:
    """It may be somebody else's catalog, or one on a disk that takes no writes."""
    shutil.rmtree(own_library.settings.catalog / "user")
    with Backend(own_library.settings, own_library.searcher, own_library.reader) as backend:
        client = TestClient(create_app(backend), raise_server_exceptions=False)
        before = everything_in(own_library.folder)
        asked = {"paths": [str(own_library.real)], "fields": ["summary", "results"]}
        answers = [
            *(
                client.get(API + path)
                for path in ("/albums", "/people", "/user-data/lightroom", "/search?q=dog")
            ),
            client.post(f"{API}/photos/lookup", json=asked),
            client.post(f"{API}/cull", json={"q": ""}),
        ]
        assert [answer.status_code for answer in answers] == [200] * 6
        assert client.get(f"{API}/albums/none/photos").status_code == 404
        assert client.delete(f"{API}/albums/none").status_code == 404
        assert client.get(f"{API}/photos", params={"q": "album:none"}).status_code == 400
        assert everything_in(own_library.folder) == before
        made = client.put(f"{API}/albums/one", json={"photo_ids": []})
        assert [made.json()] == client.get(f"{API}/albums").json()["albums"]


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


# ── threads ───────────────────────────────────────────────────────────────────────────────────


def test_many_clients_at_once_all_get_their_answers(library: Library) -> None:
    async def ask() -> list[int]:
        transport = httpx.ASGITransport(create_app(library.backend))
        answers: list[int] = []

        async def one(client: httpx.AsyncClient, path: str) -> None:
            answers.append((await client.get(API + path)).status_code)

        async with (
            httpx.AsyncClient(transport=transport, base_url="http://local") as client,
            anyio.create_task_group() as group,
        ):
            for number in range(200):
                group.start_soon(one, client, ("/search?q=dog", "/photos?limit=5", "/people")[number % 3])
        return answers

    assert anyio.run(ask) == [200] * 200


def test_work_that_takes_long_holds_up_nobody_else(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty previews wait for two places; a search meanwhile is answered."""
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def preview(record: Any) -> bytes:
        begun.release()
        assert go_on.wait(60)
        return b"\xff\xd8"

    backend = Backend(library.settings, library.searcher)
    monkeypatch.setattr(backend.pictures, "preview", preview)
    path = f"{API}/photos/{library.id_of(library.real)}/preview"

    async def ask() -> int:
        transport = httpx.ASGITransport(create_app(backend))
        async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
            async with anyio.create_task_group() as group:
                for _ in range(60):
                    group.start_soon(client.get, path)
                while not begun.acquire(blocking=False):
                    await anyio.sleep(0.01)
                with anyio.fail_after(50):
                    status = (await client.get(f"{API}/search?q=dog")).status_code
                waiting = 1
                while begun.acquire(blocking=False):
                    waiting += 1
                assert waiting <= SLOW_AT_ONCE
                go_on.set()
            return status

    with backend:
        assert anyio.run(ask) == 200
