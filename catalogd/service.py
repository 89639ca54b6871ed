"""Searches answered by a process that is warm already: both ends of its socket.

A run that watches keeps a server process (web/server.py), with the catalog mapped and the text model
loaded, and a command asks it instead of loading all that itself::

    catalogd query …                        server process: a child of `catalogd run`, or `catalogd serve`
      Ask ──── search.sock in the ──────▶     Searcher.search | count | facets
      ◀─────── catalog's folder ─────────     Found | Counted | Faceted | Refused

One connection a question; a message is its length in four bytes, then msgpack. The socket belongs to
the owner alone (mode 600, and the kernel says who asks). A process that is killed leaves the socket behind:
nobody answers there, and the next one takes its place.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from catalogd.errors import CatalogdError, CatalogError, QueryError, UsageError
from catalogd.records import Facets, Plan, Results

log = logging.getLogger(__name__)

SOCKET = "search.sock"
CONNECT_S = 0.5  # a process that is alive accepts at once
ANSWER_S = 120.0  # a first question waits for the text model; a long one is a count over everything
IDLE_S = 10.0  # a client that says nothing is let go
MOST_CLIENTS = 32  # at a time
BACKLOG = 1024  # clients that wait: a full one turns them away at once
LARGEST_ASK_BYTES = 1 << 20
LARGEST_ANSWER_BYTES = 1 << 30
_LONGEST_ADDRESS_BYTES = 100  # of a Unix socket's path: 108 on Linux, 104 on macOS
_LENGTH = struct.Struct(">I")
_AGAIN_S = 0.005
_VERSION = 2  # of the messages


class Ask(msgspec.Struct, frozen=True):
    """One question. `query` is a text, or a plan that was read already."""

    what: str  # "search", "count", "facets"
    query: str | Plan
    limit: int = 20
    min_score: float | None = None
    explain: bool = False
    names: tuple[str, ...] = ()  # of facets
    version: int = _VERSION


class Counted(msgspec.Struct, frozen=True, tag=True):
    count: int


class Faceted(msgspec.Struct, frozen=True, tag=True):
    facets: Facets


class Found(msgspec.Struct, frozen=True, tag=True):
    results: Results


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The question can't be answered, and why."""

    message: str
    kind: str  # "query", "usage", "catalog", "other"
    position: int = 0


Answer = Found | Counted | Faceted | Refused
_ERRORS: dict[str, type[CatalogdError]] = {
    "usage": UsageError,
    "catalog": CatalogError,
    "other": CatalogdError,
}
_encode = msgspec.msgpack.Encoder().encode
_decode_ask = msgspec.msgpack.Decoder(Ask).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode
Kind = TypeVar("Kind", Found, Counted, Faceted)


class Searching(Protocol):
    """What a searcher does, in this process or another."""

    def search(
        self, query: str | Plan, limit: int = 20, min_score: float | None = None, explain: bool = False
    ) -> Results: ...

    def count(self, query: str | Plan) -> int: ...

    def divided(self, query: str | Plan, names: tuple[str, ...]) -> Facets: ...


# ── the client ────────────────────────────────────────────────────────────────────────────────


class Remote:
    """A searcher in another process."""

    def __init__(self, catalog: Path) -> None:
        """Raises ConnectionError when none answers for this catalog."""
        self._catalog = catalog
        self._connect().close()

    def search(
        self, query: str | Plan, limit: int = 20, min_score: float | None = None, explain: bool = False
    ) -> Results:
        return self._ask(Ask("search", query, limit, min_score, explain), Found).results

    def count(self, query: str | Plan) -> int:
        return self._ask(Ask("count", query), Counted).count

    def divided(self, query: str | Plan, names: tuple[str, ...]) -> Facets:
        return self._ask(Ask("facets", query, names=names), Faceted).facets

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_S)
        try:
            with _address(self._catalog) as address:
                _connect_patiently(connection, address)
        except (OSError, ValueError) as error:
            connection.close()
            raise ConnectionError(str(error)) from None
        connection.settimeout(ANSWER_S)
        return connection

    def _ask(self, ask: Ask, kind: type[Kind]) -> Kind:
        """Raises the error that the searcher had, and ConnectionError when it went away or can't be asked."""
        try:
            message = _encode(ask)
        except UnicodeEncodeError as error:  # an example photo whose path is no text
            raise ConnectionError(str(error)) from None
        with self._connect() as connection:
            try:
                _send(connection, message)
                answer = _decode_answer(_receive(connection, LARGEST_ANSWER_BYTES))
            except (OSError, EOFError, msgspec.DecodeError) as error:
                raise ConnectionError(f"the searcher of the run went away: {error}") from None
        if isinstance(answer, Refused):
            raise _error(answer)
        if not isinstance(answer, kind):
            raise ConnectionError("the searcher of the run is of another version")
        return answer


def _connect_patiently(connection: socket.socket, address: str) -> None:
    """A Unix socket whose backlog is full answers EAGAIN instead of letting its clients wait."""
    end = time.monotonic() + CONNECT_S
    while True:
        try:
            connection.connect(address)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


def _error(refused: Refused) -> CatalogdError:
    if refused.kind == "query":
        return QueryError(refused.message, refused.position)
    return _ERRORS.get(refused.kind, CatalogdError)(refused.message)


# ── the server process ────────────────────────────────────────────────────────────────────────


def is_answered(catalog: Path) -> bool:
    """Whether some process answers for this catalog."""
    try:
        Remote(catalog)
    except ConnectionError:
        return False
    return True


@contextlib.contextmanager
def listening(catalog: Path) -> Iterator[socket.socket]:
    """The listening socket, in place of one that nobody answers at any more."""
    path = catalog / SOCKET
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o177)
        try:
            with _address(catalog) as address:
                listener.bind(address)
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        own = path.stat().st_ino
        try:
            yield listener
        finally:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == own:  # else another process has taken over
                    path.unlink()


@contextlib.contextmanager
def _address(catalog: Path) -> Iterator[str]:
    """What the socket is called; a long path by way of its folder's descriptor, on Linux."""
    path = str(catalog / SOCKET)
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS_BYTES:
        yield path
        return
    if sys.platform != "linux":
        raise ValueError(f"the path of a socket is too long: {path}")
    folder = os.open(catalog, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)


def serve(listener: socket.socket, searcher: Searching) -> None:
    """Answer whoever connects, each in a thread, until the listener is closed."""
    places = threading.BoundedSemaphore(MOST_CLIENTS)
    while True:
        places.acquire()
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_attend, args=(connection, searcher, places), daemon=True).start()


def _attend(connection: socket.socket, searcher: Searching, places: threading.BoundedSemaphore) -> None:
    """One client. Whatever it does, only its own connection ends."""
    try:
        with connection:
            connection.settimeout(IDLE_S)
            if not _is_owner(connection):
                return
            with contextlib.suppress(OSError, EOFError, msgspec.DecodeError):
                ask = _decode_ask(_receive(connection, LARGEST_ASK_BYTES))
                _send(connection, _encode(_answer(searcher, ask)))
    finally:
        places.release()


def _answer(searcher: Searching, ask: Ask) -> Answer:
    if ask.version != _VERSION:
        return Refused("the run is of another version of catalogd: start it again", "usage")
    try:
        match ask.what:
            case "search":
                return Found(searcher.search(ask.query, ask.limit, ask.min_score, ask.explain))
            case "count":
                return Counted(searcher.count(ask.query))
            case "facets":
                return Faceted(searcher.divided(ask.query, ask.names))
        return Refused(f"a searcher does not know {ask.what!r}", "usage")
    except QueryError as error:
        return Refused(str(error), "query", error.position)
    except CatalogdError as error:
        return Refused(str(error), next((k for k, v in _ERRORS.items() if isinstance(error, v)), "other"))
    except Exception as error:  # a bug must not end the searcher of everybody else
        log.exception("a search failed")
        return Refused(f"the search failed ({type(error).__name__}: {error})", "other")


def _is_owner(connection: socket.socket) -> bool:
    """Whether the other end is of this user, or root. Where the kernel does not say, the mode counts."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, 12))
    return user in (0, os.getuid())


# ── messages ──────────────────────────────────────────────────────────────────────────────────


def _send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(message)) + message)


def _receive(connection: socket.socket, most: int) -> bytes:
    """One message. Raises EOFError when the other end leaves in the middle, or sends too much."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > most:
        raise EOFError(f"a message of {length} bytes")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts: list[Any] = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError("it closed the connection")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
