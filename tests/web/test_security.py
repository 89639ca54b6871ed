"""Which requests are let in: token, Host, Origin, sizes, and those who guess."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.errors import SettingsError
from catalogd.run_state import Lock
from catalogd.web import security, tokens
from catalogd.web.security import FailedTokens, Gate, Rules, allowed_hosts, host_name, is_loopback
from catalogd.web.tokens import Token, ensure_token, read_token, renew_token
from tests.web.asgi import Answered, ask

TOKEN = "the-token-of-these-tests-0123456789"
RIGHT = ("Authorization", f"Bearer {TOKEN}")
HARDENED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Fixed:
    def is_right(self, shown: str) -> bool:
        return shown == TOKEN


class Application:
    """Reads the whole body, then answers with its length; counts who got here."""

    def __init__(self) -> None:
        self.reached = 0
        self.error: Exception | None = None
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached += 1
        if self.error:
            raise self.error
        length, more = 0, True
        while more:
            message = await receive()
            length, more = length + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": str(length).encode()})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def gate(application: Application) -> Gate:
    return Gate(application, Rules(Fixed(), 1 << 20, frozenset({"nas.example"})))


# ── tokens ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "shown", [RIGHT, ("authorization", f"bearer {TOKEN}"), ("AUTHORIZATION", f"BEARER  {TOKEN}")]
)
def test_the_right_token_opens(gate: Gate, shown: tuple[str, str]) -> None:
    assert ask(gate, headers=[shown]).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", TOKEN)],
        [("Authorization", f"Basic {TOKEN}")],
        [("Authorization", f"Bearer {TOKEN[:-1]}")],
        [("Authorization", f"Bearer {TOKEN}x")],
        [("Authorization", f"Bearer {TOKEN.upper()}")],
        [("Authorization", "Bearer \xff\xfe")],
        [RIGHT, RIGHT],
        [("Cookie", f"token={TOKEN}")],
        [("X-Api-Key", TOKEN)],
    ],
)
def test_no_token_or_a_wrong_one_reaches_nothing(
    gate: Gate, application: Application, headers: list[tuple[str, str]]
) -> None:
    answer = ask(gate, headers=headers)
    assert (answer.status, answer.kind, application.reached) == (401, "token", 0)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["token", "access_token", "authorization"])
def test_a_token_in_the_url_opens_nothing(gate: Gate, application: Application, name: str) -> None:
    assert ask(gate, query=f"{name}={TOKEN}".encode()).status == 401
    assert not application.reached


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/api/v1/health", "GET", 200),
        ("/api/v1/health", "HEAD", 200),
        ("/api/v1/health", "POST", 401),
        ("/api/v1/health/", "GET", 401),
        ("/api/v1/health/../status", "GET", 401),
        ("/api/v1/HEALTH", "GET", 401),
        ("//api/v1/health", "GET", 401),
        ("/api/v1/openapi.json", "GET", 401),
        ("/", "GET", 401),
        ("http://127.0.0.1/api/v1/health", "GET", 400),
    ],
)
def test_only_the_health_is_open(gate: Gate, path: str, method: str, status: int) -> None:
    assert ask(gate, path, method=method).status == status


# ── hosts and origins ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8766",
        "localhost:1",
        "LOCALHOST.",
        "[::1]:8766",
        "[::ffff:127.0.0.1]",
        "nas.example:443",
        "192.0.2.7:8766",  # the address that was reached
    ],
)
def test_the_servers_own_names_are_answered(gate: Gate, host: str) -> None:
    assert ask(gate, headers=[("Host", host), RIGHT], server="192.0.2.7").status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:8766", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("nas.example.evil", 421),
        ("192.0.2.8", 421),
        ("0.0.0.0:8766", 421),
        ("[::2]", 421),
        ("127.0.0.1@evil.example", 400),
        ("127.0.0.1:8766:1", 400),
        ("127.0.0.1:", 400),
        ("127.0.0.1 ", 400),
        ("127.0.0.1/", 400),
        ("", 400),
        ("-", 400),  # none at all
    ],
)
def test_a_name_that_was_made_to_lead_here_is_refused(
    gate: Gate, application: Application, host: str, status: int
) -> None:
    for path in ("/api/v1/status", "/api/v1/health"):
        answer = ask(gate, path, headers=[("Host", host), RIGHT], server="192.0.2.7")
        assert (answer.status, answer.kind) == (status, "host")
    assert not application.reached


def test_names_in_the_settings_are_taken_as_clients_send_them() -> None:
    """With a port, a dot at the end or another spelling they were names that nobody could have."""
    names = allowed_hosts(
        " NAS.example:8766, photos.example., [2001:DB8::0:7], 2001:db8::8 ,,", "fe80::1%eth0"
    )
    assert names == {"nas.example", "photos.example", "2001:db8::7", "2001:db8::8", "fe80::1"}


def test_an_interface_is_no_part_of_the_address_that_was_reached(gate: Gate) -> None:
    assert ask(gate, headers=[("Host", "[fe80::1]:8766"), RIGHT], server="fe80::1%eth0").status == 200
    assert ask(gate, headers=[("Host", "[fe80::2]:8766"), RIGHT], server="fe80::1%eth0").status == 421


def test_two_hosts_are_none(gate: Gate) -> None:
    assert ask(gate, headers=[("Host", "127.0.0.1"), ("Host", "evil.example"), RIGHT]).status == 400


@pytest.mark.parametrize(
    "header",
    [
        ("Origin", "null"),
        ("Origin", "http://evil.example"),
        ("Origin", "https://127.0.0.1:8766"),
        ("Origin", "http://127.0.0.1:8080"),
        ("Origin", "http://127.0.0.1"),
        ("Origin", ""),
        ("Origin", "http://127.0.0.1:8766.evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_web_pages_are_refused_also_with_a_token(
    gate: Gate, application: Application, header: tuple[str, str], method: str
) -> None:
    for path in ("/api/v1/status", "/api/v1/health"):
        answer = ask(gate, path, method=method, headers=[header, RIGHT])
        assert (answer.status, answer.kind) == (403, "origin")
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert not application.reached


def test_one_foreign_origin_among_two_is_enough(gate: Gate) -> None:
    own = ("Origin", "http://127.0.0.1:8766")
    assert ask(gate, headers=[own, RIGHT]).status == 200
    assert ask(gate, headers=[own, ("Origin", "null"), RIGHT]).status == 403
    assert ask(gate, headers=[("Sec-Fetch-Site", "none"), RIGHT]).status == 200


@given(st.text(st.characters(max_codepoint=255), max_size=30))
def test_what_is_taken_for_a_host_is_one(host: str) -> None:
    name = host_name(host)
    if name is not None:
        assert name.isascii()
        assert not set(name) & set(" /@\\?#%\r\n\0[]")
        assert host_name(f"[{name}]" if ":" in name else name) == name


# ── who guesses ───────────────────────────────────────────────────────────────────────────────


def guess(gate: Gate, client: str, times: int = 1) -> Answered:
    for _ in range(times):
        answer = ask(gate, headers=[("Authorization", "Bearer a-guess-of-the-token")], client=client)
    return answer


def test_an_address_that_guesses_has_to_wait_and_others_do_not(gate: Gate) -> None:
    assert guess(gate, "192.0.2.1", security.MOST_FAILURES).status == 401
    answer = guess(gate, "192.0.2.1")
    assert answer.status == 429
    assert 1 <= int(answer.headers["retry-after"]) <= security.FORGET_A_FAILURE_S
    assert ask(gate, headers=[RIGHT], client="192.0.2.1").status == 429  # else a guess could be told by it
    assert ask(gate, headers=[RIGHT], client="192.0.2.2").status == 200


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_no_user_of_this_machine_locks_the_owner_out(gate: Gate, client: str) -> None:
    assert guess(gate, client, 3 * security.MOST_FAILURES).status == 429
    assert ask(gate, headers=[RIGHT], client=client).status == 200


def test_what_is_no_guess_does_not_count(gate: Gate) -> None:
    for _ in range(2 * security.MOST_FAILURES):
        assert ask(gate, client="192.0.2.1").status == 401
        assert (
            ask(gate, headers=[("Origin", "null"), ("Authorization", "Bearer x")], client="192.0.2.1").status
            == 403
        )
    assert ask(gate, headers=[RIGHT], client="192.0.2.1").status == 200


def test_failures_are_forgotten_one_by_one() -> None:
    now = 1000.0
    failures = FailedTokens(lambda: now)
    for _ in range(security.MOST_FAILURES):
        assert failures.wait_s("192.0.2.1") == 0
        failures.add("192.0.2.1")
    assert failures.wait_s("192.0.2.1") == security.FORGET_A_FAILURE_S
    now += security.FORGET_A_FAILURE_S
    assert failures.wait_s("192.0.2.1") == 0
    failures.add("192.0.2.1")
    assert failures.wait_s("192.0.2.1") == security.FORGET_A_FAILURE_S
    now += security.MOST_FAILURES * security.FORGET_A_FAILURE_S
    assert failures.wait_s("192.0.2.1") == 0


def test_addresses_are_remembered_within_bounds() -> None:
    failures = FailedTokens()
    for number in range(2 * security.MOST_ADDRESSES):
        failures.add(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(failures) == security.MOST_ADDRESSES
    before = len(failures)
    for number in range(100):  # of one subscriber
        failures.add(f"2001:db8::{number:x}")
    assert failures.wait_s("2001:db8::ffff") > 0
    assert failures.wait_s("2001:db8:0:1::1") == 0
    assert len(failures) == before


@pytest.mark.parametrize(
    ("address", "is_ours"), [("", False), ("nonsense", False), ("10.0.0.1", False), ("::1", True)]
)
def test_loopback_is_told_from_the_rest(address: str, is_ours: bool) -> None:
    assert is_loopback(address) is is_ours


# ── sizes ─────────────────────────────────────────────────────────────────────────────────────


def test_urls_and_headers_have_limits(gate: Gate, application: Application) -> None:
    assert ask(gate, query=b"q=" + b"a" * security.LONGEST_URL_BYTES, headers=[RIGHT]).status == 414
    assert ask(gate, headers=[RIGHT, ("X-Long", "a" * security.LARGEST_HEADERS_BYTES)]).status == 431
    assert ask(gate, headers=[RIGHT, *[("X-Many", "a")] * security.MOST_HEADERS]).status == 431
    assert not application.reached


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/api/v1/search", 8 << 20),
        ("/api/v1/similar/upload", 1 << 20),
        ("/api/v1/similar/upload/", 8 << 20),
        ("/api/v1/user-data/lightroom/collections", 1 << 20),
    ],
)
def test_bodies_have_limits_whether_their_length_is_said_or_not(gate: Gate, path: str, most: int) -> None:
    half = b"x" * (most // 2)
    said, chunked = ("Content-Length", str(most + 1)), ("Transfer-Encoding", "chunked")
    assert ask(gate, path, method="POST", headers=[RIGHT, said], parts=[half, half, b"x"]).status == 413
    assert ask(gate, path, method="POST", headers=[RIGHT, chunked], parts=[half, half, b"x"]).status == 413
    whole = ask(gate, path, method="POST", headers=[RIGHT, chunked], parts=[half, half])
    assert (whole.status, whole.body) == (200, str(most).encode())


def test_a_body_with_two_lengths_is_refused(gate: Gate, application: Application) -> None:
    both = [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]
    answer = ask(gate, method="POST", headers=[RIGHT, *both], parts=[b"x"])
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert not application.reached


def test_a_stranger_learns_nothing_of_limits(gate: Gate) -> None:
    length = ("Content-Length", str(1 << 40))
    answer = ask(gate, method="POST", headers=[length], parts=[b"x"])
    assert (answer.status, answer.headers["connection"]) == (401, "close")


def test_a_body_that_comes_too_slowly_is_given_up(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "BODY_PATIENCE_S", 0.2)
    chunked = ("Transfer-Encoding", "chunked")
    answer = ask(gate, method="POST", headers=[RIGHT, chunked], parts=[b"x"] * 20, pause_s=0.05)
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    fast = ask(gate, method="POST", headers=[RIGHT, chunked], parts=[b"x" * 4096] * 20, pause_s=0.02)
    assert fast.status == 200  # longer than the patience, but at a good pace


# ── answers ───────────────────────────────────────────────────────────────────────────────────


def test_every_answer_is_hardened(gate: Gate, application: Application) -> None:
    long = ("X-Long", "a" * security.LARGEST_HEADERS_BYTES)
    asked = [[RIGHT], [], [RIGHT, ("Origin", "null")], [RIGHT, ("Host", "evil.example")], [RIGHT, long]]
    for headers in asked:
        answer = ask(gate, headers=headers)
        assert HARDENED.items() <= answer.headers.items()
        assert "set-cookie" not in answer.headers
    application.headers = [(b"cache-control", b"private, max-age=60")]  # of an image
    assert ask(gate, headers=[RIGHT]).headers["cache-control"] == "private, max-age=60"


def test_a_bug_ends_in_the_log_and_not_in_the_answer(
    gate: Gate, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    application.error = ZeroDivisionError("the secret of the bug")
    answer = ask(gate, headers=[RIGHT])
    assert (answer.status, answer.kind) == (500, "internal")
    assert b"secret" not in answer.body
    assert "the secret of the bug" in caplog.text
    assert HARDENED.items() <= answer.headers.items()


# ── the token's file ──────────────────────────────────────────────────────────────────────────


def test_a_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "catalog" / "api.token"
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(ensure_token(file))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 20
    assert len(set(made)) == 1
    assert len(made[0]) >= 43
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620])
def test_a_token_that_others_can_read_is_none(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "api.token"
    ensure_token(file)
    file.chmod(mode)
    with pytest.raises(SettingsError, match="token new"):
        ensure_token(file)
    renew_token(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_token(file)


@pytest.mark.parametrize(
    "text", ["", "\n", "short", "a token with spaces in it", "schlüssel-zum-katalog", "x" * 2000]
)
def test_a_file_without_a_token_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "api.token"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="holds no token"):
        ensure_token(file)


def test_the_folder_of_a_new_catalog_is_for_its_owner(tmp_path: Path) -> None:
    """Whoever could read it needed no token for what it holds."""
    before = os.umask(0o022)
    try:
        Lock(tmp_path / "one" / "catalog").release()
        ensure_token(tmp_path / "two" / "api.token")
    finally:
        os.umask(before)
    assert (tmp_path / "one" / "catalog").stat().st_mode & 0o077 == 0
    assert (tmp_path / "two").stat().st_mode & 0o077 == 0


def test_a_folder_where_none_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="http_token_file"):
        ensure_token(tmp_path / "file" / "api.token")


def test_a_server_notices_another_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_LOOK_EVERY_S", 0.0)
    file = tmp_path / "api.token"
    token = Token(file)
    first = read_token(file)
    assert token.is_right(first)
    second = renew_token(file)
    assert not token.is_right(first)
    assert token.is_right(second)
    file.chmod(0o644)
    assert not token.is_right(second)
    file.unlink()
    assert not token.is_right(second)
    assert token.is_right(ensure_token(file))
    assert not token.is_right("")
