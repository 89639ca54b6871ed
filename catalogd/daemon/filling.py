"""Thumbnails for photos of the catalog that have none: read again as a run reads them, without models."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from catalogd.catalog import Catalog
from catalogd.images import Reading, read_frame
from catalogd.pipeline import index
from catalogd.pipeline.ring import Frame
from catalogd.records import Failure, Outcome, Task
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore

if TYPE_CHECKING:
    from catalogd.models import Model
    from catalogd.models.devices import Device


def lacking_contents(catalog: Catalog, store: ThumbnailStore) -> set[bytes]:
    """The contents of photos, missing ones left out, that have no thumbnail; as many as there is room for."""
    lacking = {content for content, _ in catalog.contents(with_missing=False)} - store.sizes().keys()
    return set(itertools.islice(lacking, store.room()))


def fill_thumbnails(
    catalog: Catalog, settings: Settings, contents: set[bytes], afresh: bool = False
) -> Generator[bool, None, None]:
    """Make the thumbnails of `contents`, in reader processes; yields for each whether it has one now.

    `afresh` replaces those that there are, one by one. While the catalog's `Lock` is held. What there is
    when the iterator is closed stays.
    """
    settings = dataclasses.replace(settings, thumbnails=True)
    store = ThumbnailStore(settings)
    store.sweep()
    read = _read_afresh if afresh else read_frame
    for outcome in index(_tasks(catalog, set(contents)), settings, _no_models, read):
        yield _has_thumbnail(store, outcome)


def _tasks(catalog: Catalog, wanted: set[bytes]) -> Iterator[Task]:
    """One photo of each content: copies share a thumbnail."""
    for content, photo_id in catalog.contents(with_missing=False):
        record = catalog.record(photo_id) if content in wanted else None
        if record is not None:
            wanted.discard(content)
            yield Task(record.path, models=(), photo_id=photo_id)


def _has_thumbnail(store: ThumbnailStore, outcome: Outcome) -> bool:
    return not isinstance(outcome, Failure) and store.path_of(outcome.content) is not None


def _read_afresh(path: bytes, pixels: Frame, settings: Settings) -> Reading:
    """As `read_frame`; once the photo is read, its old thumbnail makes room for a new one."""
    reading = read_frame(path, pixels, settings)
    ThumbnailStore(settings).drop(reading.content)
    return reading


def _no_models(device: Device) -> list[Model]:
    return []
