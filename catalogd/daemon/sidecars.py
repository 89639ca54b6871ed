"""The sidecars of a run: they follow its commits, and who is named."""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from catalogd.catalog import Catalog
from catalogd.catalog.identity import NOBODY, Identities, renamed_photos
from catalogd.metadata.exiftool import find_exiftool
from catalogd.records import Record, SidecarsKnown, display_path
from catalogd.settings import Settings
from catalogd.sync import Ledger, Options, Synced, sync_records
from catalogd.sync.policy import load_policy
from catalogd.sync.telling import OwnWords, known_from

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
NAMES_EVERY_S = 30.0  # comparing the names of 200,000 faces takes half a second
STOP_S = 10.0  # for the batch in hand


class Keeper(threading.Thread):
    """`catalogd run --sidecars`: the sidecars of photos follow what is committed, and who is named.

    The work is done by one process that gives way to the run. How far it has come is kept in
    `<catalog>/sync/reached`: the next run with sidecars goes on from there, the first begins with all
    photos. Raises ExiftoolError and SettingsError when none could be written.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        super().__init__(name="sidecars", daemon=True)
        find_exiftool(settings.exiftool)
        load_policy(settings)
        self.written = self.refused = 0
        self.known: collections.deque[SidecarsKnown] = collections.deque()  # for the run to commit
        self.broken: Exception | None = None  # what ended this thread
        self._settings = settings
        self._catalog = catalog
        self._ledger = Ledger.start(settings.catalog)
        self._mark = settings.catalog / "sync" / "reached"
        self._reached = _read_mark(self._mark)
        self._next = self._reached
        self._people: Identities = NOBODY  # as the sidecars have it
        self._look_at_names_s = 0.0  # monotonic
        self._stopping = threading.Event()
        self.start()

    @property
    def is_done(self) -> bool:
        """Whether the sidecars of all that is committed are up to date, or can't be brought there."""
        return not self.is_alive() or (not self.known and self._reached >= self._catalog.counts().commit)

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping.set()
        self.join(STOP_S)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                renamed = self._renamed()
                if renamed or self._reached < self._catalog.counts().commit:
                    self._catch_up(renamed)
                else:
                    self._stopping.wait(LOOK_EVERY_S)
        except Exception as error:  # handed to the main thread, which says so
            self.broken = error

    def _catch_up(self, renamed: list[int]) -> None:
        options = Options(jobs=1, background=True)
        own_of = OwnWords(self._settings, self._catalog, options.fields)
        records = itertools.chain(self._catalog.iter_records_of(renamed), self._changed())
        run = sync_records(records, options, self._settings, self._ledger, own_of)
        with contextlib.closing(run) as done:
            for synced in done:
                self._note(synced)
                if self._stopping.is_set():
                    return
        self._reached = self._next
        _write_mark(self._mark, self._reached)

    def _renamed(self) -> list[int]:
        """The photos that show somebody under another name than their sidecars say; looked for now and then.

        What a crash leaves undone is found by the next run, which begins with all that are named.
        """
        if time.monotonic() < self._look_at_names_s:
            return []
        before, self._people = self._people, self._catalog.people.identities()
        self._look_at_names_s = time.monotonic() + NAMES_EVERY_S
        return renamed_photos(before, self._people)

    def _note(self, synced: Synced) -> None:
        written = synced.written
        if written.state == "refused":
            self.refused += 1
            log.warning("no sidecar was written: %s: %s", written.reason, display_path(written.path))
        self.written += written.state in ("written", "created")
        if known := known_from(synced, self._catalog):
            self.known.append(known)

    def _changed(self) -> Iterator[Record]:
        """The photos that were committed since; all of them when nobody remembers which."""
        while True:
            changes = self._catalog.changes_since(self._next)
            if changes is None or self._next == 0:
                self._next = self._catalog.counts().commit
                yield from self._catalog.iter_records()
                continue
            self._next, photo_ids = changes
            if not photo_ids:
                return
            yield from self._catalog.iter_records_of(photo_ids)


def _read_mark(file: Path) -> int:
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return 0


def _write_mark(file: Path, commit: int) -> None:
    aside = file.with_suffix(".tmp")
    with contextlib.suppress(OSError):  # the next run compares more than it had to
        file.parent.mkdir(exist_ok=True)
        aside.write_text(str(commit), "ascii")
        aside.replace(file)
