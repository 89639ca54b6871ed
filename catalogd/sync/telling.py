"""What a sync has to know from the catalog, and what the catalog has to know of a sync.

A sidecar that catalogd writes looks to the next scan like one that somebody changed, and its photo would
be read again. So whoever writes sidecars tells the catalog how they are now; not of one that was not as
the catalog knew it before, because somebody else's work in it has not been read yet.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from catalogd.catalog import Catalog
from catalogd.catalog.people import People
from catalogd.catalog.user_data import UserData
from catalogd.errors import CatalogLockedError
from catalogd.records import Proposal, Record, Region, SidecarsKnown
from catalogd.run_state import Lock, tell_sidecars
from catalogd.settings import Settings
from catalogd.sync import Own, Synced

TOLD_AT_ONCE = 10_000  # sidecars: a few MB of memory, and a commit of 50 ms


def known_from(synced: Synced, catalog: Catalog) -> SidecarsKnown | None:
    """What the catalog may know of a sidecar that was written; None when a scan must look at it."""
    path = synced.written.path
    if synced.after is None or catalog.sidecar_stat(path) != synced.before:
        return None
    folder, name = os.path.split(path)
    return SidecarsKnown(folder, {name: synced.after})


class OwnWords:
    """The same of many photos, with stars only where they are to be written."""

    def __init__(self, settings: Settings, catalog: Catalog, fields: Collection[str]) -> None:
        self._people = catalog.people
        self._proposals: Mapping[int, Proposal] = {}
        if "rating" in fields:
            with UserData(settings.catalog) as user:
                self._proposals = user.proposals()

    def __call__(self, record: Record) -> Own:
        return own_words(self._people, record, self._proposals.get(record.photo_id))


def own_words(people: People, record: Record, proposal: Proposal | None) -> Own:
    """What the catalog was told of a photo by its owner: whose faces it shows, and stars if asked for."""
    faces = people.faces_of(record.photo_id)
    named = tuple(Region(face.box, face.name) for face in faces if face.name)
    stars = proposal or Proposal()
    return Own(tuple(people.shown_on(record)), named, stars.rating, stars.label)


class Told:
    """What one command has written, told to the catalog or to the run that holds it. A context manager."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._known: list[SidecarsKnown] = []

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, synced: Synced) -> None:
        if known := known_from(synced, self._catalog):
            self._known.append(known)
        if len(self._known) >= TOLD_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        known, self._known = self._known, []
        if not known:
            return
        try:
            lock = Lock(self._settings.catalog, patience_s=0.0)
        except CatalogLockedError:
            tell_sidecars(self._settings.catalog, known)
            return
        try:
            with Catalog.open(self._settings.catalog, self._settings, write=True) as catalog:
                catalog.commit(known, bytes(8))
        finally:
            lock.release()
