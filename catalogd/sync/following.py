"""Records follow what a person set in other programs, where no run is alive to see to it."""

from __future__ import annotations

from catalogd.catalog import Catalog
from catalogd.errors import CatalogLockedError
from catalogd.run_state import Lock
from catalogd.settings import Settings


def follow_user_data(settings: Settings, everything: bool = False) -> bool:
    """Copy what was given into the records and the indexes; False where another process holds the catalog.

    A run that does follows by itself, within seconds. What takes long (time line, clusters of faces) is left
    to the next run, unless `everything` is to follow now. Raises CatalogMissingError, and CatalogFullError
    with the rest still to do.
    """
    Catalog.open(settings.catalog, settings).close()  # says that there is none before a lock makes its folder
    try:
        lock = Lock(settings.catalog)
    except CatalogLockedError:
        return False
    try:
        with Catalog.open(settings.catalog, settings, write=True) as catalog:
            _follow(catalog, everything)
    finally:
        lock.release()
    return True


def _follow(catalog: Catalog, everything: bool) -> None:
    if everything:
        catalog.follow(force=True)
        return
    catalog.follow_given()
    catalog.follow_columns(force=True)
    catalog.follow_names()
    catalog.follow_text(force=True)
