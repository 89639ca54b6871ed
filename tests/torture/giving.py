"""What a Lightroom catalog says becomes user data and goes into the records, in a process that dies there.

`python -m tests.torture.giving LRCAT CATALOG POINT NUMBER`: imports, then lets the records follow, and gets
kill -9 at the POINT when it is reached for the NUMBERth time; "" lives. Pages are small, so that there are
several.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalogd.catalog import given, given_following, user_data
from catalogd.catalog.store import Store
from catalogd.catalog.user_data import UserData
from catalogd.settings import Settings
from catalogd.sync.following import follow_user_data
from catalogd.sync.lightroom import PathMap, import_catalog, taking

PAGE = 5  # photos
SETTINGS = {"text_heap_bytes": 15 << 20}

# Where it dies: the owner and the name of a function, and whether before or after it.
POINTS: dict[str, tuple[Any, str, str]] = {
    "importer: a page is not committed yet": (given, "give", "after"),
    "importer: a page is committed": (UserData, "give", "after"),
    "importer: some of what is gone is taken back": (UserData, "take_away", "after"),
    "importer: before the collections": (UserData, "put_collections", "before"),
    "writer: rows are bound, and not committed": (given_following, "_bind", "after"),
    "writer: the user data are committed, the records are not": (Store, "set_user_facts", "before"),
    "writer: the records are committed, the news are there": (Store, "set_user_facts", "after"),
    "writer: the news are dropped, and not committed": (given_following, "_drop_news", "after"),
}


def main(lrcat: Path, catalog: Path, point: str, number: int) -> None:
    taking.PAGE_IMAGES = given_following.PAGE = user_data.AWAY_PAGE = PAGE
    if point:
        _die(*POINTS[point], number)
    import_catalog(lrcat, catalog, PathMap.read(()))
    follow_user_data(Settings(catalog=catalog, **SETTINGS))


def _die(owner: Any, name: str, when: str, number: int) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    left = iter(range(number, 0, -1))

    def dying(*arguments: Any, **named: Any) -> Any:
        is_last = next(left) == 1
        if is_last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
