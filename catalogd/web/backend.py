"""What the handlers of the API work with, opened once and kept warm."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, Request

from catalogd.catalog import Catalog
from catalogd.catalog.acting import Actor
from catalogd.catalog.given import seek_key
from catalogd.catalog.user_data import UserData
from catalogd.errors import CatalogMissingError, NotFoundError
from catalogd.jobs import JobBook
from catalogd.json_forms import summary_json
from catalogd.query import parse
from catalogd.query.searcher import Searcher
from catalogd.records import Branch, Plan, Record
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore
from catalogd.web.pictures import Pictures
from catalogd.web.reader import Reader
from catalogd.web.records_following import RecordsFollow
from catalogd.web.sidecar_jobs import SidecarJobs

if TYPE_CHECKING:
    from typing import Self

SLOW_AT_ONCE = 2  # pictures looked at, shoots culled: each takes a core

T = TypeVar("T")


class Backend:
    """One catalog behind the API; safe from any thread. Use it as a context manager, or `close` it.

    Raises CatalogMissingError when there is no catalog.
    """

    def __init__(
        self, settings: Settings, searcher: Searcher | None = None, reader: Reader | None = None
    ) -> None:
        """`searcher` and `reader` stay the caller's to close; a searcher that is given reads on its own."""
        self.settings = settings
        self._owned = contextlib.ExitStack()
        self._reader = reader or self._owned.enter_context(Reader(settings))
        self.searcher = searcher or self._owned.enter_context(Searcher(settings, read=self._reader))
        self.catalog = Catalog.open(settings.catalog, settings)
        self.jobs = JobBook(settings.catalog)
        self.thumbnails = ThumbnailStore(settings)
        self.pictures = Pictures(settings, self.thumbnails, self._reader)
        self.sidecar_jobs = SidecarJobs(settings, self.catalog)
        self.records_follow = RecordsFollow(settings)
        self._user: UserData | None = None
        self._user_to_read: UserData | None = None
        self._missing: tuple[int, dict[bytes, int]] = (-1, {})  # as of a commit: by the key of their path
        self._lock = threading.Lock()
        self._slow = anyio.CapacityLimiter(SLOW_AT_ONCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def user(self) -> UserData:
        """What people said, for reading and writing; made when it is first asked for."""
        with self._lock:
            if self._user is None:
                self._user = self._opened(write=True)
            return self._user

    @property
    def user_so_far(self) -> UserData | None:
        """The same for reading alone; None while nobody has said anything, and none is made for that."""
        with self._lock:
            if self._user is None and self._user_to_read is None:
                with contextlib.suppress(CatalogMissingError):
                    writable = os.access(self.settings.catalog / "user", os.W_OK)
                    self._user_to_read = self._opened(writable)
            return self._user or self._user_to_read

    def _opened(self, write: bool) -> UserData:
        return self._owned.enter_context(UserData(self.settings.catalog, write))

    @property
    def actor(self) -> Actor:
        """Who says things about people."""
        return Actor(self.catalog.people, self.user)

    def record(self, photo_id: int, with_embeddings: bool = False) -> Record:
        """A photo. Raises NotFoundError."""
        found = self.catalog.record(photo_id, with_embeddings)
        if found is None:
            raise NotFoundError(f"there is no photo {photo_id}")
        return found

    def missing_at(self, path: bytes) -> int:
        """The photo that was at this path until its file went; 0: none."""
        counts = self.catalog.counts()
        with self._lock:
            if self._missing[0] != counts.commit:
                gone = self.catalog.missing_paths() if counts.missing else {}
                self._missing = counts.commit, {seek_key(was): photo_id for photo_id, was in gone.items()}
            return self._missing[1].get(seek_key(path), 0)

    def summary(self, record: Record) -> dict[str, Any]:
        """A photo as lists show it."""
        return summary_json(self.catalog, record, self.pictures.has_thumbnail(record))

    async def slowly(self, work: Callable[[], T]) -> T:
        """What `work` returns, which takes long: a few at a time, so that threads stay for what does not."""
        return await anyio.to_thread.run_sync(work, limiter=self._slow)

    def close(self) -> None:
        """Let go of all of it. Twice is fine."""
        self.records_follow.close()
        self.sidecar_jobs.close()
        self.catalog.close()
        with self._lock:
            self._owned.close()


def plan_of(q: str) -> Plan:
    """A query text as a plan; without a word, all photos. Raises QueryError."""
    return parse(q) if q.strip() else Plan((Branch(),))


async def get_backend(request: Request) -> Backend:
    """For `Depends`. Asynchronous, so that no thread is asked for what is at hand."""
    backend: Backend = request.app.state.backend
    return backend


UsedBackend = Annotated[Backend, Depends(get_backend)]  # a handler's parameter
