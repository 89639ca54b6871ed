"""The real API over HTTP on a free port of loopback, for the plugin to talk to."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.middleware import Middleware

from catalogd.records import Change
from catalogd.settings import Settings
from catalogd.web.answers import Refusal
from catalogd.web.api import create_app
from catalogd.web.backend import Backend
from tests.lightroom.sdk import Lightroom
from tests.query.library import filled, others, told

TOKEN = "token-of-the-tests"
START_S = 20


class _Guard:
    """Asks for the token, except at /health."""

    def __init__(self, app: Any, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        is_open = scope["path"].endswith("/health")
        if is_open or headers.get(b"authorization") == b"Bearer " + self.token.encode():
            await self.app(scope, receive, send)
        else:
            await Refusal(401, "token", "a token is needed")(scope, receive, send)


def guarded(token: str) -> list[Middleware]:
    return [Middleware(_Guard, token=token)]


class Daemon:
    """A served catalog. Use it as a context manager."""

    def __init__(self, folder: Path, records: Sequence[Change] | None = None) -> None:
        self.settings: Settings = filled(
            folder / "catalog", [*told(), *others(60)] if records is None else records
        )
        self.token = TOKEN
        self.backend = Backend(self.settings)
        config = uvicorn.Config(
            create_app(self.backend, middleware=guarded(TOKEN)),
            host="127.0.0.1",
            port=0,
            log_level="warning",
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Daemon:
        self._thread.start()
        end = time.monotonic() + START_S
        while not self._server.started:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(START_S)
        self.backend.close()

    def lightroom(self, **options: object) -> Lightroom:
        """A Lightroom with the plugin set to this daemon."""
        given = {"preferences": {"address": self.address}, "passwords": {"catalogd api token": self.token}}
        return Lightroom(**{**given, **options})  # type: ignore[arg-type]
