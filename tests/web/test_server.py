"""The server over real sockets: where it listens, who is slow, how it stops, and its process."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import multiprocessing
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catalogd.cli import cli
from catalogd.cli.run import _PlainReporter
from catalogd.daemon import serving
from catalogd.daemon.serving import ServerKeeper
from catalogd.doctor import _api
from catalogd.errors import ConflictError, ResourceError, SettingsError
from catalogd.run_state import Progress, forget_server, read_server, tell_server
from catalogd.service import Remote
from catalogd.settings import Settings
from catalogd.web import connections, http_server, server
from catalogd.web.backend import Backend
from catalogd.web.binding import chosen_binding
from catalogd.web.http_server import HttpServer
from catalogd.web.server import decode_said, server_main
from catalogd.web.tokens import read_token, token_path
from tests.web.library import API, Library, opened

PATIENCE_S = 40.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with opened(tmp_path_factory.mktemp("served"), http_port=0) as found:
        yield found


@pytest.fixture
def served(library: Library) -> Iterator[HttpServer]:
    with HttpServer(library.backend) as found:
        yield found


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return value


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def token_of(settings: Settings) -> str:
    return read_token(token_path(settings))


def get(http: HttpServer, library: Library, path: str = "/status", **headers: str) -> tuple[int, bytes]:
    """One request of a client of its own: status, body."""
    connection = http_client(http)
    with contextlib.closing(connection):
        connection.request("GET", API + path, headers=authorised(library) | headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def authorised(library: Library) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(library.settings)}"}


def http_client(http: HttpServer) -> http.client.HTTPConnection:
    import http.client as client

    return client.HTTPConnection("127.0.0.1", port_of(http.url), timeout=PATIENCE_S)


def raw(http: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(http.url)), timeout=PATIENCE_S)


def head(library: Library, path: str, *lines: str, method: str = "GET") -> bytes:
    named = ["Host: 127.0.0.1", f"Authorization: Bearer {token_of(library.settings)}", *lines]
    return "\r\n".join([f"{method} {API}{path} HTTP/1.1", *named, "", ""]).encode()


# ── where it listens ──────────────────────────────────────────────────────────────────────────


def test_requests_are_answered_at_the_address_it_tells(served: HttpServer, library: Library) -> None:
    assert served.url.startswith("http://127.0.0.1:")
    assert get(served, library)[0] == 200
    assert get(served, library, Authorization="Bearer wrong")[0] == 401
    assert get(served, library, Host="evil.example")[0] == 421
    assert get(served, library, Origin="null")[0] == 403
    assert json.loads(get(served, library, "/nothing")[1])["error"]["kind"] == "not_found"


def test_others_find_the_address_in_a_file_for_the_owner_alone(library: Library) -> None:
    file = library.settings.catalog / "server.json"
    with HttpServer(library.backend) as http:
        assert read_server(library.settings.catalog) == json.loads(file.read_text())
        assert (json.loads(file.read_text())["url"], json.loads(file.read_text())["pid"]) == (
            http.url,
            os.getpid(),
        )
        assert file.stat().st_mode & 0o777 == 0o600
        assert "served" in library.settings.catalog.parent.name
        assert _api(library.settings).text == f"at {http.url}, process {os.getpid()}"
    assert not file.exists()
    assert read_server(library.settings.catalog) is None


def test_who_ends_does_not_take_along_where_another_is(library: Library) -> None:
    """`catalogd serve --port` beside a run left the run's API unknown when it ended."""
    catalog = library.settings.catalog
    with HttpServer(library.backend) as first:
        with HttpServer(library.backend) as second:
            assert (read_server(catalog) or {})["url"] == second.url
            first.stay_known()
            assert (read_server(catalog) or {})["url"] == second.url
        assert read_server(catalog) is None
        first.stay_known()
        assert (read_server(catalog) or {})["url"] == first.url
    first.stay_known()
    assert read_server(catalog) is None


def test_a_file_that_a_killed_server_left_is_no_server(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = {"pid": gone.pid, "url": "http://127.0.0.1:1", "started_at": 1.0}
    (tmp_path / "server.json").write_text(json.dumps(left))
    assert read_server(tmp_path) is None
    (tmp_path / "server.json").write_text("[1")
    assert read_server(tmp_path) is None
    tell_server(tmp_path, "http://127.0.0.1:2")
    assert read_server(tmp_path) is not None
    (tmp_path / "server.json").write_text(json.dumps({**left, "pid": 1}))
    forget_server(tmp_path)  # another process serves now
    assert (tmp_path / "server.json").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_are_served_with_tls_or_on_the_owners_word(host: str, tmp_path: Path) -> None:
    settings = Settings(catalog=tmp_path, http_host=host)
    with pytest.raises(SettingsError, match=r"http_tls_cert.*http_insecure.*security\.md"):
        chosen_binding(settings)
    assert _api(settings).ok is False
    assert chosen_binding(replace(settings, http_insecure=True)).address == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "localhost", "::1"])
def test_loopback_needs_neither(host: str) -> None:
    assert chosen_binding(Settings(http_host=host)).is_local


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"http_host": ""}, "no address"),
        ({"http_host": "no such host"}, "no address"),
        ({"http_host": "a" * 300}, "no address"),
        ({"http_tls_cert": Path("/x.pem")}, "together"),
        ({"http_tls_key": Path("/x.pem")}, "together"),
        ({"http_tls_cert": Path("/x.pem"), "http_tls_key": Path("/y.pem")}, "/x.pem: No such file"),
        ({"http_tls_cert": Path("/etc/hosts"), "http_tls_key": Path("/etc/hosts")}, "/etc/hosts"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        chosen_binding(Settings(**settings))


def test_an_address_of_another_machine_is_no_place_to_listen() -> None:
    with pytest.raises(SettingsError, match="http_host and http_port"):
        chosen_binding(Settings(http_host="192.0.2.1", http_insecure=True)).listen()


def test_a_port_that_is_taken_is_named(library: Library) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = replace(library.settings, http_port=other.getsockname()[1])
        with Backend(settings, library.searcher) as backend, pytest.raises(ConflictError, match="in use"):
            HttpServer(backend)
        assert _api(settings).ok is None
    assert "is free" in _api(settings).text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*new, "-keyout", key, "-out", cert, *subject], check=True, capture_output=True)
    return cert, key


def test_tls_is_spoken_and_nothing_else(library: Library, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    settings = replace(library.settings, http_tls_cert=cert, http_tls_key=key)
    with Backend(settings, library.searcher) as backend, HttpServer(backend) as http:
        assert http.url.startswith("https://127.0.0.1:")
        import http.client as client

        trusting = ssl.create_default_context(cafile=str(cert))
        with contextlib.closing(
            client.HTTPSConnection("127.0.0.1", port_of(http.url), context=trusting, timeout=PATIENCE_S)
        ) as connection:
            own = {"Origin": f"https://127.0.0.1:{port_of(http.url)}"}
            for _ in range(60):  # one in ten was never answered when an empty buffer counted as full
                connection.request("GET", f"{API}/status", headers=authorised(library) | own)
                answer = connection.getresponse()
                assert answer.status == 200
                answer.read()
        with raw(http) as plain:
            plain.sendall(head(library, "/status"))
            with contextlib.suppress(ConnectionResetError):
                assert not plain.recv(100).startswith(b"HTTP/1.1 200")


def test_a_client_that_begins_no_tls_is_let_go(
    library: Library, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could stay for a minute, and counted as no connection."""
    monkeypatch.setattr(http_server, "HEAD_PATIENCE_S", 0.3)
    cert, key = certificate
    settings = replace(library.settings, http_tls_cert=cert, http_tls_key=key)
    with Backend(settings, library.searcher) as backend, HttpServer(backend) as http, raw(http) as silent:
        start = time.monotonic()
        assert ends(silent)
        assert time.monotonic() - start < PATIENCE_S / 2


# ── slow clients, and many ────────────────────────────────────────────────────────────────────


def ends(client: socket.socket) -> bool:
    """Reads on until the server has ended the connection; False when that takes too long."""
    try:
        while client.recv(1 << 20):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_client_that_never_finishes_its_head_is_let_go(
    served: HttpServer, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_PATIENCE_S", 0.5)
    with raw(served) as silent, raw(served) as dripping, raw(served) as second:
        second.sendall(head(library, "/health"))
        assert second.recv(4096).startswith(b"HTTP/1.1 200")
        second.sendall(b"GET /api/v1/he")  # the head of its second request
        start = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(30):
                dripping.sendall(b"G")
                time.sleep(0.05)
        assert get(served, library)[0] == 200
        assert ends(silent)
        assert ends(dripping)
        assert ends(second)
        assert time.monotonic() - start < PATIENCE_S / 2


def test_a_client_that_reads_nothing_is_let_go(
    served: HttpServer, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for more than any buffer of the kernel holds, and reads none of it."""
    monkeypatch.setattr(connections, "STALL_S", 0.3)
    wanted = 400
    with raw(served) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sender = threading.Thread(target=_send, args=(deaf, head(library, "/openapi.json") * wanted))
        sender.start()
        until(lambda: not served._server.server_state.connections, "the connection was kept")
        assert get(served, library)[0] == 200
        deaf.shutdown(socket.SHUT_RDWR)
        sender.join()


def _send(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(data)


def test_a_client_that_reads_slowly_gets_all_of_it(
    served: HttpServer, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALL_S", 0.2)
    with raw(served) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        requests = [head(library, "/openapi.json")] * 60 + [head(library, "/health", "Connection: close")]
        threading.Thread(target=_send, args=(slow, b"".join(requests)), daemon=True).start()
        found = bytearray()
        while part := slow.recv(1 << 17):
            found += part
            time.sleep(0.01)
    assert found.count(b"HTTP/1.1 200 OK") == 61


def test_more_connections_than_there_may_be_cost_no_descriptors(
    served: HttpServer, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was kept until its head was due, so that none were left to read the catalog with."""
    monkeypatch.setattr(connections, "MOST_OPEN", 20)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw(served)) for _ in range(60)]
        until(lambda: sum(is_ended(client) for client in clients) >= 40, "they were kept")
        assert not all(is_ended(client) for client in clients)
    until(lambda: not served.open_connections, "connections that are left")
    assert get(served, library)[0] == 200


def is_ended(client: socket.socket) -> bool:
    """Without waiting."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_bodies_that_do_not_come_hold_up_nobody(served: HttpServer, library: Library) -> None:
    """More of them than there are threads for handlers."""
    begun = head(library, "/search", "Content-Length: 1000", method="POST") + b'{"q": '
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(raw(served)).sendall(begun)
        start = time.monotonic()
        assert get(served, library, "/search?q=type:jpeg")[0] == 200
        assert time.monotonic() - start < 10


def test_a_body_that_is_too_large_is_answered_once_it_is_sent(served: HttpServer, library: Library) -> None:
    """An answer in the middle of it would be lost with the connection, as most clients send first."""
    with raw(served) as client:
        length = ("Content-Length: 9000000", "Connection: close")
        client.sendall(head(library, "/search", *length, method="POST"))
        threading.Thread(target=_send, args=(client, b"x" * 9_000_000), daemon=True).start()
        answer = b""
        while part := client.recv(1 << 16):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413")
    assert answer.endswith(b'see the setting http_upload_bytes"}}')


def test_two_hundred_clients_at_once_are_all_answered(served: HttpServer, library: Library) -> None:
    gather = threading.Barrier(200, timeout=PATIENCE_S)

    def one(number: int) -> list[int]:
        connection = http_client(served)
        with contextlib.closing(connection):
            connection.connect()
            gather.wait()
            found = []
            for path in ("/search?q=type:jpeg", "/status", f"/search?q=camera:nikon&limit={1 + number % 9}"):
                connection.request("GET", API + path, headers=authorised(library))
                answer = connection.getresponse()
                answer.read()
                found.append(answer.status)
            return found

    with ThreadPoolExecutor(200) as pool:
        assert list(pool.map(one, range(200))) == [[200, 200, 200]] * 200


# ── what is kept of requests ──────────────────────────────────────────────────────────────────


def test_no_log_has_a_token_or_what_was_searched(
    served: HttpServer, library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = token_of(library.settings)
    get(served, library, "/search?q=secretword")
    get(served, library, f"/search?q=dog&token={token}")
    get(served, library, "/status", Authorization=f"Bearer {token}x")
    with raw(served) as client:
        client.sendall(f"nonsense {token} secretword\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 400")
    said = caplog.text + "".join(record.getMessage() for record in caplog.records)
    assert token not in said
    assert "secretword" not in said


# ── stopping ──────────────────────────────────────────────────────────────────────────────────


def test_listeners_do_not_delay_the_stop(library: Library) -> None:
    http = HttpServer(library.backend)
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(raw(http)) for _ in range(20)]
        for listener in listeners:
            listener.sendall(head(library, "/events"))
        for listener in listeners:
            assert b"text/event-stream" in listener.recv(1 << 16)
        start = time.monotonic()
        http.close()
        assert time.monotonic() - start < 1.5  # 0.3 s alone; the machine may be busy
        assert all(ends(listener) for listener in listeners)


def test_what_was_asked_before_the_stop_is_answered(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    search = library.searcher.search

    def slow(*asked: Any, **more: Any) -> Any:
        begun.set()
        time.sleep(0.5)
        return search(*asked, **more)

    monkeypatch.setattr(library.searcher, "search", slow)
    http = HttpServer(library.backend)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, http, library, "/search?q=type:jpeg")
        assert begun.wait(PATIENCE_S)
        http.close()
        assert answer.result()[0] == 200
    with pytest.raises(OSError, match="refused"):
        raw(http)


# ── its process ───────────────────────────────────────────────────────────────────────────────


def test_a_port_that_becomes_free_is_taken_later(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TRY_AGAIN_S", 0.1)
    ours, theirs = multiprocessing.Pipe()
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = replace(library.settings, http_port=other.getsockname()[1])
        thread = threading.Thread(target=server_main, args=(theirs, settings))
        thread.start()
        assert ours.poll(PATIENCE_S)
        said = decode_said(ours.recv_bytes())
        assert (said.url, "in use" in said.trouble) == ("", True)
        assert Remote(settings.catalog).count("type:jpeg") > 0  # commands are answered all the same
    until(lambda: ours.poll(1) and decode_said(ours.recv_bytes()).url, "the API was not served")
    ours.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not (settings.catalog / "search.sock").exists()


def test_an_api_that_ended_by_itself_is_no_secret(library: Library) -> None:
    """The run then starts another server process."""
    with HttpServer(library.backend) as http:
        assert server._look_after(http) > 0
    with pytest.raises(ResourceError, match="ended"):
        server._look_after(http)


def test_without_http_only_commands_are_answered(library: Library) -> None:
    ours, theirs = multiprocessing.Pipe()
    settings = replace(library.settings, http=False)
    thread = threading.Thread(target=server_main, args=(theirs, settings))
    thread.start()
    until(lambda: (settings.catalog / "search.sock").exists(), "no socket")
    assert Remote(settings.catalog).count("type:jpeg") > 0
    assert read_server(settings.catalog) is None
    ours.close()
    thread.join(PATIENCE_S)


def test_a_server_process_that_dies_is_replaced(
    own_library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(serving, "PAUSE_S", 0.05)
    settings = replace(own_library.settings, http_port=0)
    keeper = ServerKeeper(settings)

    def url() -> str:
        keeper.turn()
        return keeper.url

    try:
        first = until(url, "the API was not served")
        server = read_server(settings.catalog)
        assert server is not None
        assert server["url"] == first
        os.kill(server["pid"], signal.SIGKILL)
        until(lambda: not url(), "its death was not noticed")
        until(url, "it was not replaced")
        assert Remote(settings.catalog).count("type:jpeg") > 0
        assert not keeper.troubles
    finally:
        keeper.close()
    assert read_server(settings.catalog) is None
    assert not (settings.catalog / "search.sock").exists()


def test_serve_says_where_it_is_and_ends_at_ctrl_c(own_library: Library) -> None:
    catalog = own_library.settings.catalog
    command = [sys.executable, "-c", "from catalogd.cli import main; main()", "--catalog", str(catalog)]
    with subprocess.Popen(
        [*command, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        assert first.startswith("API at http://127.0.0.1:")
        assert str(catalog / "api.token") in process.stdout.readline()
        with socket.create_connection(("127.0.0.1", port_of(first.strip())), PATIENCE_S) as client:
            client.sendall(head(own_library, "/status"))
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
            taken = [*command, "serve", "--port", str(port_of(first.strip()))]
            again = subprocess.run(taken, capture_output=True, text=True, timeout=PATIENCE_S)
            assert again.returncode == 2
            assert "serves this catalog already" in again.stderr
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
        left = process.stdout.read() + process.stderr.read()
    assert token_of(own_library.settings) not in first + left
    assert not (catalog / "server.json").exists()


def test_token_shows_the_token_and_new_makes_another(tmp_path: Path) -> None:
    command = ["--catalog", str(tmp_path / "catalog"), "token"]
    first = CliRunner().invoke(cli, command).output
    assert first.strip() == read_token(tmp_path / "catalog" / "api.token")
    assert CliRunner().invoke(cli, [*command, "show"]).output == first
    renewed = CliRunner().invoke(cli, [*command, "new"])
    assert (renewed.exit_code, first.strip() in renewed.output) == (0, False)
    assert CliRunner().invoke(cli, command).output not in (first, "")


def test_status_and_a_run_say_once_where_the_api_is(
    served: HttpServer, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--catalog", str(library.settings.catalog), "status"]
    assert f"api       {served.url}\n" in CliRunner().invoke(cli, command).output
    assert json.loads(CliRunner().invoke(cli, [*command, "--json"]).output)["api"] == served.url
    nothing = dict.fromkeys(
        ("total", "done", "failed", "moved", "missing", "unchanged", "ring_used", "ring_slots"), 0
    )
    watching = Progress(
        "watching",
        False,
        model_errors={},
        rate=0,
        eta_s=0,
        limit="-",
        elapsed_s=1,
        offline=(),
        notes=(),
        **nothing,
    )
    report = _PlainReporter()
    for progress in (watching, replace(watching, api=served.url), replace(watching, api=served.url)):
        report(progress)
    assert capsys.readouterr().out.count(f"API at {served.url}\n") == 1
