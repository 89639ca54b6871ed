"""The server process: searches answered on a socket of the owner, and the HTTP API.

A run that watches keeps one as its child; `catalogd serve` is one in the foreground::

    catalogd run ── server_main ──▶ one Searcher, warm ──┬── search.sock   a thread (catalogd.service)
       ◀── Said(url | trouble) ──                        └── HTTP          a thread with uvicorn's loop,
    catalogd serve ── serve_here ─▶                                        and its pool for the handlers

What can't be had (a port, a certificate) costs the HTTP API and nothing else; a port that is taken is
tried again. Who stops waits for what is being answered, but not for those who only listen. A run imports
this module for its messages, so uvicorn and all that it needs are imported by the process that serves.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import resource
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from catalogd import service
from catalogd.errors import CatalogdError, ConflictError, ResourceError
from catalogd.run_state import read_server
from catalogd.settings import Settings

if TYPE_CHECKING:
    import multiprocessing.connection
    from typing import Self

    from catalogd.query.searcher import Searcher
    from catalogd.web.http_server import HttpServer

log = logging.getLogger(__name__)

TRY_AGAIN_S = 30.0  # for a port that another program has
LOOK_EVERY_S = 5.0  # whether others are told where the API is
STOP_S = 10.0  # in which it ends when it is told to, or is not waited for any longer
FILES = 4096  # descriptors: connections, the catalog's maps, photos that are read


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server process tells the run: where the API is, or why it is nowhere."""

    url: str = ""
    trouble: str = ""


decode_said = msgspec.msgpack.Decoder(Said).decode
_encode = msgspec.msgpack.Encoder().encode


class Answering:
    """One warm Searcher, and what answers with it. `http` is None while the API can't be had."""

    def __init__(self, settings: Settings, replace_socket: bool) -> None:
        """Raises CatalogMissingError. `replace_socket`: another process' search.sock is taken over."""
        from catalogd.query.searcher import Searcher
        from catalogd.web.reader import Reader

        self._settings = settings
        self.http: HttpServer | None = None
        with contextlib.ExitStack() as stack:
            listener = _search_socket(settings, replace_socket, stack)
            self._reader = stack.enter_context(Reader(settings))
            self.searcher: Searcher = stack.enter_context(Searcher(settings, read=self._reader))
            if listener is not None:
                thread = threading.Thread(target=service.serve, args=(listener, self.searcher), daemon=True)
                thread.start()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_http(self) -> str:
        """Where the API is. Raises what HttpServer raises."""
        from catalogd.web.backend import Backend
        from catalogd.web.http_server import HttpServer

        with contextlib.ExitStack() as stack:
            backend = stack.enter_context(Backend(self._settings, self.searcher, self._reader))
            self.http = stack.enter_context(HttpServer(backend))
            self._stack.push(stack.pop_all())
        return self.http.url

    def warm(self) -> None:
        """So that the first question is answered as fast as the next."""
        with contextlib.suppress(CatalogdError):
            self.searcher.warm()


def _search_socket(settings: Settings, replace: bool, stack: contextlib.ExitStack) -> socket.socket | None:
    if not replace and service.is_answered(settings.catalog):
        return None
    try:
        return stack.enter_context(service.listening(settings.catalog))
    except (OSError, ValueError) as error:
        log.warning("no warm searcher, commands load the models themselves: %s", error)
        return None


def server_main(connection: multiprocessing.connection.Connection, settings: Settings) -> None:
    """A child of the run: answers until the run is gone."""
    _allow_files()
    multiprocessing.current_process().daemon = False  # else it could have no reader of its own
    with Answering(settings, replace_socket=True) as answering:
        wait_s: float | None = _try_http(answering, connection) if settings.http else None
        answering.warm()
        while not connection.poll(wait_s):  # until the run closes its end
            wait_s = _look_after(answering.http) if answering.http else _try_http(answering, connection)


def _look_after(http: HttpServer) -> float:
    """Returns in how many seconds to look again. Raises ResourceError when it ended by itself."""
    if not http.is_alive:
        raise ResourceError("the HTTP API ended; `catalogd -v` says more")
    http.stay_known()
    return LOOK_EVERY_S


def _try_http(answering: Answering, connection: multiprocessing.connection.Connection) -> float | None:
    """Start the API and tell the run of it. Returns in how many seconds to look again; None for never."""
    try:
        said = Said(url=answering.start_http())
    except CatalogdError as error:
        connection.send_bytes(_encode(Said(trouble=f"no HTTP API: {error}")))
        return TRY_AGAIN_S if isinstance(error, ConflictError) else None
    connection.send_bytes(_encode(said))
    return LOOK_EVERY_S


def serve_here(settings: Settings, tell: Callable[[str], None], stop: threading.Event) -> None:
    """`catalogd serve`: answers until `stop` is set; `tell` gets the URL.

    Raises what HttpServer raises, and ResourceError when it ends by itself.
    """
    _allow_files()
    with Answering(settings, replace_socket=False) as answering:
        tell(_started(answering, settings))
        assert answering.http is not None
        threading.Thread(target=answering.warm, daemon=True).start()
        while not stop.wait(1.0):
            _look_after(answering.http)


def _started(answering: Answering, settings: Settings) -> str:
    try:
        return answering.start_http()
    except ConflictError:
        other = read_server(settings.catalog)
        if other is None:
            raise
        who = f"process {other['pid']} serves this catalog already at {other['url']}"
        raise ConflictError(f"{who}; another one needs another --port") from None


def _allow_files() -> None:
    """As many open files as the connections may need, within what the system allows this user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
