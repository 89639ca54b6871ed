"""A small library behind the API: photos of everything that its routes speak of, some with real files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from starlette.testclient import TestClient

from catalogd.catalog import Catalog
from catalogd.catalog.user_data import UserData
from catalogd.images import fingerprint_file, read_frame
from catalogd.pipeline.stages import Read
from catalogd.query.searcher import Searcher
from catalogd.records import Change, Facts, Missing, Proposal, Record, Stat
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore
from catalogd.web.api import create_app
from catalogd.web.backend import Backend
from catalogd.web.reader import Reader
from tests.catalog import family
from tests.catalog.photos import PROFILE, failure
from tests.factory import scene, write_plain_jpeg
from tests.query.library import Encoder, look, others, shot, told

API = "/api/v1"
DOG, BEACH, RECEIPT = "/lib/2023/Norway/dog_1.jpg", "/lib/2024/beach.jpg", "/lib/2022/receipt.jpg"
BROKEN, GONE = "/lib/2024/broken.jpg", "/lib/2024/gone.jpg"
ACCENTS = "/lib/2024/caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg"
NO_TEXT = b"/lib/2024/caf\xe9 2.jpg"
ALBUM = "Trips/Norway"


class Library:
    """A catalog, its backend, and a client of its API."""

    def __init__(self, folder: Path, read: Read = read_frame, **settings: Any) -> None:
        self.folder = folder
        self.settings = replace(Settings(catalog=folder / "catalog", text_heap_bytes=15 << 20), **settings)
        self.real = folder / "photos" / "real.jpg"
        self.other = folder / "photos" / "other.jpg"
        self._fill()
        self.reader = Reader(self.settings, read)
        self.searcher = Searcher(self.settings, Encoder(), self.reader)
        self.backend = Backend(self.settings, self.searcher, self.reader)
        self.client = TestClient(create_app(self.backend), raise_server_exceptions=False)

    def close(self) -> None:
        self.client.close()
        self.backend.close()
        self.searcher.close()
        self.reader.close()

    def id_of(self, path: str | bytes | Path) -> int:
        return self.backend.catalog.photo_id_of(os.fsencode(path)) or 0

    def get(self, path: str, status: int = 200, **asked: Any) -> Any:
        """The JSON of a route."""
        answer = self.client.get(API + path, **asked)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        answer = self.client.post(API + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def _fill(self) -> None:
        self.real.parent.mkdir(parents=True)
        changes: list[Change] = [*told(), *others(12), *_with_faces(), *self._with_files()]
        changes += [shot(ACCENTS, "car", seed=60), shot(GONE, "snow", seed=61), failure(BROKEN)]
        changes.append(msgspec.structs.replace(shot("x", "car", seed=62), path=NO_TEXT))
        with Catalog.open(self.settings.catalog, self.settings, write=True) as catalog:
            catalog.commit(changes, PROFILE)
            catalog.commit([Missing(GONE.encode(), 5.0)], PROFILE)
            catalog.follow(idle=True, force=True)
            catalog.follow_names()
            catalog.follow_faces(force=True)
            dog = catalog.photo_id_of(DOG.encode()) or 0
        with UserData(self.settings.catalog) as user:
            user.put_proposals({dog: Proposal(3, "Green", ("the sharpest",), "cull", 5.0)})

    def _with_files(self) -> Iterator[Record]:
        """Two photos that are really there; the first has a thumbnail, and a face in it."""
        thumbnails = ThumbnailStore(self.settings)
        for number, path in enumerate((self.real, self.other)):
            pixels = scene(480, 640, seed=number)
            write_plain_jpeg(path, pixels)
            content = fingerprint_file(os.fsencode(path))
            if number == 0:
                thumbnails.put(content, pixels)
            yield self._record(path, content, number)

    def _record(self, path: Path, content: bytes, number: int) -> Record:
        found = path.stat()
        made = family.shot(str(path), "Cleo") if number == 0 else shot(str(path), "snow", seed=70)
        facts = Facts("jpeg", 640, 480, taken_at=f"2024-05-0{number + 1}T10:00:00")
        stat = Stat(found.st_size, found.st_mtime_ns)
        outputs = {"embedding": look("something", 71 + number), **made.outputs}
        return msgspec.structs.replace(made, stat=stat, content=content, facts=facts, outputs=outputs)


def _with_faces() -> list[Record]:
    """Anna and Ben, each often enough to be listed."""
    together = [family.shot(f"/lib/family/{n}.jpg", "Anna", "Ben") for n in range(4)]
    return [*together, family.shot("/lib/family/alone.jpg", "Anna")]


@contextmanager
def opened(folder: Path, read: Read = read_frame, **settings: Any) -> Iterator[Library]:
    library = Library(folder, read, **settings)
    try:
        yield library
    finally:
        library.close()
