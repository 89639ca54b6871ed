"""The real API over HTTP on a free port of loopback, for the plugin to talk to."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalogd.records import Change
from catalogd.settings import Settings
from catalogd.web.backend import Backend
from catalogd.web.http_server import HttpServer
from catalogd.web.tokens import read_token, token_path
from tests.lightroom.sdk import Lightroom
from tests.query.library import filled, others, told


class Daemon:
    """A served catalog. Use it as a context manager."""

    def __init__(
        self, folder: Path, records: Sequence[Change] | None = None, settings: Settings | None = None
    ) -> None:
        """A catalog made in `folder`, of the library of tests/query/library.py when no `records` are given.

        With `settings` the catalog that they name is there already.
        """
        if settings is None:
            settings = filled(folder / "catalog", [*told(), *others(60)] if records is None else records)
        self.settings = dataclasses.replace(settings, http_port=0)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Daemon:
        self.backend = self._stack.enter_context(Backend(self.settings))
        self.server = self._stack.enter_context(HttpServer(self.backend))
        self.address = self.server.url
        self.token = read_token(token_path(self.settings))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def lightroom(self, **options: Any) -> Lightroom:
        """A Lightroom with the plugin set to this daemon."""
        preferences = {"address": self.address, **options.pop("preferences", {})}
        passwords = options.pop("passwords", {"catalogd api token": self.token})
        return Lightroom(preferences=preferences, passwords=passwords, **options)
