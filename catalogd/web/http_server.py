"""The HTTP API as a server: the application behind its gate, and uvicorn around them, in a thread."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from catalogd.errors import ResourceError
from catalogd.run_state import forget_server, tell_server
from catalogd.web.api import create_app
from catalogd.web.backend import Backend
from catalogd.web.binding import Binding, chosen_binding
from catalogd.web.connections import PatientProtocol
from catalogd.web.metrics import Counted, Metrics
from catalogd.web.pulse import Pulse, look
from catalogd.web.security import Gate, Rules
from catalogd.web.tokens import Token, token_path

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger(__name__)

START_S = 20.0  # a loaded machine needs one
GRACE_S = 5  # for what is being answered when the server stops
KEEP_ALIVE_S = 30  # of a connection between two requests: a plugin asks in bursts
MOST_CONNECTIONS = 1000
LARGEST_HEAD_BYTES = 48 << 10  # of an unfinished head; security.py then asks for less


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, that lets those go who listen to events before it waits for the others."""

    def __init__(self, config: uvicorn.Config, pulse: Pulse) -> None:
        super().__init__(config)
        self._pulse = pulse

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
    hosts = {name.strip().lower() for name in settings.http_allowed_hosts.split(",") if name.strip()}
    rules = Rules(token, settings.http_upload_bytes, frozenset({*hosts, binding.name.lower()}))
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
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return config, pulse
