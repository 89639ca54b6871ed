"""The HTTP API as a server: the application behind its gate, and uvicorn around them, in a thread."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from catalogd.errors import ResourceError
from catalogd.run_state import forget_server, read_server, tell_server
from catalogd.web.api import create_app
from catalogd.web.backend import Backend
from catalogd.web.binding import Binding, chosen_binding
from catalogd.web.connections import HEAD_PATIENCE_S, MOST_ANSWERED, PatientProtocol
from catalogd.web.metrics import Counted, Metrics
from catalogd.web.pulse import Pulse, look
from catalogd.web.security import Gate, Rules, allowed_hosts
from catalogd.web.tokens import Token, token_path

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger(__name__)

START_S = 20.0  # a loaded machine needs one
GRACE_S = 5  # for what is being answered when the server stops
KEEP_ALIVE_S = 30  # of a connection between two requests: a plugin asks in bursts
LARGEST_HEAD_BYTES = 48 << 10  # of an unfinished head; security.py then asks for less


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, that lets those go who listen to events before it waits for the others.

    And those that begin no TLS, as it does those that send no request.
    """

    def __init__(self, config: uvicorn.Config, pulse: Pulse) -> None:
        super().__init__(config)
        self._pulse = pulse

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.config.ssl is not None:
            loop = asyncio.get_running_loop()
            patient = functools.partial(loop.create_server, ssl_handshake_timeout=HEAD_PATIENCE_S)
            loop.create_server = patient  # type: ignore[method-assign]  # uvicorn has no setting for it
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._pulse.stop()
        await super().shutdown(sockets)


class HttpServer:
    """The HTTP API in a thread. Use it as a context manager, or `close` it."""

    def __init__(self, backend: Backend) -> None:
        """Serves when it returns. Raises ConflictError (the port is taken), SettingsError, ResourceError."""
        settings = backend.settings
        self._catalog = settings.catalog
        binding = chosen_binding(settings)
        token = Token(token_path(settings))
        self._socket = binding.listen()
        self.url = binding.url(self._socket.getsockname()[1])
        self._server = _Uvicorn(*_configured(backend, binding, token))
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        self._wait_until_started()
        tell_server(self._catalog, self.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def open_connections(self) -> int:
        return len(self._server.server_state.connections)

    def stay_known(self) -> None:
        """Say where it is when nobody does: of two servers of a catalog, the one that ends takes it along."""
        if self.is_alive and read_server(self._catalog) is None:
            tell_server(self._catalog, self.url)

    def close(self) -> None:
        """Answer what was asked, for a while, and end. Twice is fine."""
        self._server.should_exit = True
        self._thread.join(GRACE_S + 2.0)
        self._socket.close()
        forget_server(self._catalog)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:
            log.exception("the HTTP API ended")

    def _wait_until_started(self) -> None:
        end = time.monotonic() + START_S
        while not self._server.started:
            if not self.is_alive or time.monotonic() >= end:
                self.close()
                raise ResourceError("the HTTP API did not start; `catalogd -v serve` says more")
            time.sleep(0.01)


def _configured(backend: Backend, binding: Binding, token: Token) -> tuple[uvicorn.Config, Pulse]:
    """The application behind its gate, and uvicorn without what it adds on its own."""
    settings = backend.settings
    app = create_app(backend)
    pulse = app.state.pulse = Pulse(lambda: look(backend))
    metrics = app.state.metrics = Metrics()
    rules = Rules(token, settings.http_upload_bytes, allowed_hosts(settings.http_allowed_hosts, binding.name))
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what matters the Gate logs itself
    certificate, key = binding.tls or (None, None)
    config = uvicorn.Config(
        Counted(Gate(app, rules), metrics),
        http=PatientProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client may not say who it is
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=MOST_ANSWERED,
        h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return config, pulse
