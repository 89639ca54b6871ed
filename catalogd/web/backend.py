"""What the handlers of the API work with, opened once and kept warm."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from catalogd.catalog import Catalog
from catalogd.catalog.user_data import UserData
from catalogd.query.searcher import Searcher
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore

if TYPE_CHECKING:
    from typing import Self


class Backend:
    """One catalog behind the API; safe from any thread. Use it as a context manager, or `close` it.

    Raises CatalogMissingError when there is no catalog.
    """

    def __init__(self, settings: Settings, searcher: Searcher | None = None) -> None:
        """`searcher` stays the caller's to close."""
        self.settings = settings
        self.searcher = searcher or Searcher(settings)
        self._owns_searcher = searcher is None
        self.catalog = Catalog.open(settings.catalog, settings)
        self.thumbnails = ThumbnailStore(settings)
        self._user: UserData | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def user(self) -> UserData:
        """What people said, for reading and writing; made when it is first asked for."""
        with self._lock:
            if self._user is None:
                self._user = UserData(self.settings.catalog)
            return self._user

    def close(self) -> None:
        """Let go of all of it. Twice is fine."""
        with self._lock:
            if self._user is not None:
                self._user.close()
                self._user = None
        self.catalog.close()
        if self._owns_searcher:
            self.searcher.close()


def get_backend(request: Request) -> Backend:
    """For `Depends`."""
    backend: Backend = request.app.state.backend
    return backend


UsedBackend = Annotated[Backend, Depends(get_backend)]  # a handler's parameter
