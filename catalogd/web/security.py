"""Who may ask the HTTP API at all: everything that is decided before a request reaches a handler.

A request passes these, in this order; the first that objects answers, and no handler is run::

    size of URL and headers ─▶ Host ─▶ Origin ─▶ token ─▶ announced size of the body      414 431 400 421
                                                                                          403 401 429 413
    while the body is read:   its real size, and the time it takes                        413 408
    on every answer:          headers that keep browsers from making something of it

docs/security.md says against whom. Nothing of a request is logged here: it may hold a token.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import ipaddress
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalogd.web.answers import Refusal

log = logging.getLogger(__name__)

LONGEST_URL_BYTES = 16 << 10  # a query of 4096 letters that need four escapes each would not fit: POST it
LARGEST_HEADERS_BYTES = 16 << 10
MOST_HEADERS = 64
JSON_BYTES = 8 << 20  # 10,000 paths of 800 bytes
_UPLOADS = re.compile(r"/api/v1/(similar/upload|user-data/[^/]+/collections)")  # as large as a picture may be
OPEN_PATHS = ("/api/v1/health",)  # says that catalogd is here, to everybody who can reach it
READING = ("GET", "HEAD")

BODY_PATIENCE_S = 20.0  # for a body's first bytes, and for what it is behind the slowest pace
SLOWEST_BODY_BYTES_S = 16 << 10  # a phone at the end of a garden
SMALL_REST_BYTES = 64 << 10  # of a body that nobody reads: swallowed; more ends the connection
DRAIN_S = 2.0  # for a client that only reads the answer once it has sent everything

MOST_FAILURES = 10  # wrong tokens of one address before it has to wait
FORGET_A_FAILURE_S = 6.0  # so ten a minute
MOST_ADDRESSES = 4096  # remembered; the one that was silent longest is forgotten

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{1,5})?", re.ASCII)
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_HARDENING = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}


class Checker(Protocol):
    """What knows the right token."""

    def is_right(self, shown: str) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Rules:
    """`hosts`: names by which the server may be called beside loopback's and the address that was reached."""

    token: Checker
    upload_bytes: int
    hosts: frozenset[str] = frozenset()


class Asked:
    """The parts of a request by which it is let in or not."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.address: str = (scope.get("client") or ("", 0))[0]

    def values(self, name: str) -> list[str]:
        """Each header of this name."""
        return [value.decode("latin-1") for key, value in self.scope["headers"] if key == name.encode()]

    @property
    def header_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in self.scope["headers"])

    @property
    def url_bytes(self) -> int:
        return len(self.scope.get("raw_path") or self.path.encode()) + len(self.scope["query_string"])

    @property
    def announced_bytes(self) -> int:
        """Of the body; 0 where it is not said. The protocol has checked that it is a number."""
        lengths = [] if self.values("transfer-encoding") else self.values("content-length")
        return int(lengths[0]) if lengths and lengths[0].isdecimal() else 0

    @property
    def has_body(self) -> bool:
        return self.announced_bytes > 0 or bool(self.values("transfer-encoding"))


class Gate:
    """An ASGI application around another one, which sees only requests that may be asked."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules
        self._failures = FailedTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._pass(Asked(scope), receive, send)

    async def _pass(self, asked: Asked, receive: Receive, send: Send) -> None:
        body = Body(receive, self._most_bytes(asked.path), asked)
        answer = Answer(send, body)
        refusal = next(self._objections(asked), None)
        if refusal is None:
            refusal = await self._run(asked.scope, body, answer)
        elif refusal.status_code == 413:
            await body.drain()
        if refusal is not None:
            await refusal(asked.scope, body, answer)

    async def _run(self, scope: Scope, body: Body, answer: Answer) -> Refusal | None:
        """What is left to say when the application did not answer. Its mistakes end in the log."""
        try:
            await self._app(scope, body, answer)
        except HTTPException as error:  # of the body, where nobody else turned it into an answer
            return None if answer.is_begun else Refusal(error.status_code, "http", str(error.detail))
        except Exception:
            log.exception("a request went wrong")
            return None if answer.is_begun else Refusal(500, "internal", "that went wrong inside catalogd")
        return None

    def _objections(self, asked: Asked) -> Iterator[Refusal]:
        yield from _ill_formed(asked)
        yield from self._wrong_host(asked)
        yield from _wrong_origin(asked)
        if not (asked.path in OPEN_PATHS and asked.method in READING):
            yield from self._wrong_token(asked)
        if asked.announced_bytes > self._most_bytes(asked.path):
            yield _too_large(self._most_bytes(asked.path))

    def _most_bytes(self, path: str) -> int:
        return self._rules.upload_bytes if _UPLOADS.fullmatch(path) else JSON_BYTES

    def _wrong_host(self, asked: Asked) -> Iterator[Refusal]:
        """A web page whose name was made to lead here (DNS rebinding) still calls us by its own name."""
        hosts = asked.values("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None or not asked.path.startswith("/"):
            yield Refusal(400, "host", "a request names its host once, as `Host: 127.0.0.1:8766`")
        elif name not in self._rules.hosts and name not in _LOOPBACK_NAMES and name != _reached(asked.scope):
            yield Refusal(
                421, "host", f"this server is not called {name}; see the setting http_allowed_hosts"
            )

    def _wrong_token(self, asked: Asked) -> Iterator[Refusal]:
        """Locked out is an address; never loopback's right token, as all users of the machine share it."""
        wait_s = self._failures.wait_s(asked.address)
        if wait_s and not is_loopback(asked.address):
            yield _too_many(wait_s)
        shown = _shown_token(asked)
        if shown is not None and self._rules.token.is_right(shown):
            return
        if shown is not None:
            self._failures.add(asked.address)
            if wait_s:
                yield _too_many(wait_s)
        message = "send the token as `Authorization: Bearer TOKEN`; `catalogd token` shows it"
        yield Refusal(401, "token", message, headers={"WWW-Authenticate": "Bearer"})


# ── single checks ─────────────────────────────────────────────────────────────────────────────


def _ill_formed(asked: Asked) -> Iterator[Refusal]:
    if asked.url_bytes > LONGEST_URL_BYTES:
        yield Refusal(
            414, "too_large", f"a URL has at most {LONGEST_URL_BYTES:,} bytes; long queries are POSTed"
        )
    if asked.values("content-length") and asked.values("transfer-encoding"):
        yield Refusal(400, "usage", "a body's length is said once: a proxy might read another one")
    if asked.header_bytes > LARGEST_HEADERS_BYTES or len(asked.scope["headers"]) > MOST_HEADERS:
        limit = f"{MOST_HEADERS} headers of {LARGEST_HEADERS_BYTES:,} bytes"
        yield Refusal(431, "too_large", f"a request has at most {limit}")


def _wrong_origin(asked: Asked) -> Iterator[Refusal]:
    """Browsers say on whose behalf they ask. No web page but ours may, and we have none."""
    own = f"{asked.scope['scheme']}://{asked.values('host')[0]}".lower()
    others = [origin for origin in asked.values("origin") if origin.lower() != own]
    foreign = [site for site in asked.values("sec-fetch-site") if site not in ("same-origin", "none")]
    if others or foreign:
        yield Refusal(403, "origin", "web pages can't ask this server")


def _shown_token(asked: Asked) -> str | None:
    """The token of a request; a header that is not of the form counts as a wrong one."""
    shown = asked.values("authorization")
    if not shown:
        return None
    scheme, _, token = shown[0].partition(" ")
    return token.strip() if len(shown) == 1 and scheme.lower() == "bearer" else ""


def _too_many(wait_s: float) -> Refusal:
    message = f"too many wrong tokens from this address; try again in {wait_s:.0f} s"
    return Refusal(429, "token", message, headers={"Retry-After": str(max(1, round(wait_s)))})


def _too_large(most: int) -> Refusal:
    return Refusal(413, "too_large", f"this takes at most {most:,} bytes; see the setting http_upload_bytes")


# ── names and addresses ───────────────────────────────────────────────────────────────────────


def host_name(host: str) -> str | None:
    """The name or address in a Host header, in lower case and without its port; None for what is none."""
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    return _plain_address(found["six"] or found["name"].lower().rstrip(".")) or None


def allowed_hosts(names: str, bound: str) -> frozenset[str]:
    """What `host_name` finds for the names of a list with commas, and for the address that is listened at."""
    given = [name.strip() for name in names.split(",") if name.strip()]
    return frozenset(host_name(name) or _plain_address(name.lower()) for name in (*given, bound))


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(_plain_address(address)).is_loopback
    except ValueError:
        return False


def _plain_address(text: str) -> str:
    """An address in the one way it is written: `::ffff:127.0.0.1` is 127.0.0.1. A name as it is.

    Without a zone (`fe80::1%eth0`): that is what this machine calls its interface, and no client sends it.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


def _reached(scope: Scope) -> str:
    """The address of ours to which the client is connected. A page can't make a browser name it so."""
    return _plain_address((scope.get("server") or ("", 0))[0])


class FailedTokens:
    """How many wrong tokens each address has shown lately; bounded, whatever comes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: collections.OrderedDict[str, float] = collections.OrderedDict()  # when all are forgotten

    def __len__(self) -> int:
        return len(self._until)

    def add(self, address: str) -> None:
        key = _subscriber(address)
        now = self._clock()
        until = max(self._until.pop(key, now), now) + FORGET_A_FAILURE_S
        self._until[key] = min(until, now + 2 * MOST_FAILURES * FORGET_A_FAILURE_S)
        while len(self._until) > MOST_ADDRESSES:
            self._until.popitem(last=False)

    def wait_s(self, address: str) -> float:
        """How long this address has to wait; 0 for one that may try."""
        left = self._until.get(_subscriber(address), 0.0) - self._clock()
        return max(0.0, left - (MOST_FAILURES - 1) * FORGET_A_FAILURE_S)


def _subscriber(address: str) -> str:
    """An IPv6 address counts with all of its /64, which one machine may use freely."""
    try:
        plain = ipaddress.ip_address(_plain_address(address))
    except ValueError:
        return address
    return str(plain) if plain.version == 4 else str(ipaddress.ip_network((plain, 64), strict=False))


# ── bodies and answers ────────────────────────────────────────────────────────────────────────


class Body:
    """The receiving side of a request: at most so many bytes, at no less than the slowest pace."""

    def __init__(self, receive: Receive, most: int, asked: Asked) -> None:
        self._receive = receive
        self._most = most
        self._announced = asked.announced_bytes
        self._waits_for_leave = bool(asked.values("expect"))
        self._count = 0
        self._end = time.monotonic() + BODY_PATIENCE_S
        self.is_done = not asked.has_body

    async def __call__(self) -> Message:
        """The next part. Raises HTTPException 413 or 408; once all is here, waits for the client to leave."""
        if self.is_done:
            return await self._receive()
        patience_s = self._end + self._count / SLOWEST_BODY_BYTES_S - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, patience_s))
        except TimeoutError:
            raise HTTPException(408, "the body came too slowly") from None
        self._count += len(message.get("body", b""))
        self.is_done = not message.get("more_body", False)
        if self._count > self._most:
            raise HTTPException(413, f"this takes at most {self._most:,} bytes")
        return message

    @property
    def ends_connection(self) -> bool:
        """Whether so much of it was not read that reading it would be a gift."""
        return not self.is_done and not 0 < self._announced - self._count <= SMALL_REST_BYTES

    async def drain(self) -> None:
        """Read on for a moment: many clients see no answer before they have sent everything."""
        end = time.monotonic() + DRAIN_S
        while not self.is_done and not self._waits_for_leave and time.monotonic() < end:
            try:
                message = await asyncio.wait_for(self._receive(), DRAIN_S)
            except TimeoutError:
                return
            self.is_done = not message.get("more_body", False)


class Answer:
    """The sending side: adds the headers that every answer has."""

    def __init__(self, send: Send, body: Body) -> None:
        self._send = send
        self._body = body
        self.is_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_begun = True
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers.update(_HARDENING)
            headers.setdefault("cache-control", "no-store")
            if self._body.ends_connection:
                headers["connection"] = "close"
            message = {**message, "headers": headers.raw}
        await self._send(message)
