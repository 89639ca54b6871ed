"""Points inside the writer and its sealing process at which a test makes them die, once a journal.

`writer_at` stands in for `writer_main` in the runner's child; the product has no hooks for this.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from catalogd.catalog import Catalog, embedding_index, generations, sealing
from catalogd.catalog.environment import Environment
from catalogd.catalog.store import Store
from catalogd.catalog.text_index import TextIndex
from catalogd.pipeline.workers import writer_main
from catalogd.settings import Settings

SMALL_MAP_BYTES = 128 << 10  # too small for the stub photos of any test here
SEAL_AT = 10  # embeddings: far fewer than in the product, so that sealing happens

WRITER_POINTS = (
    "after the commit, before the answer",
    "after the text commit, before its mark",
    "before the map grows",
    "after the map grew",
)
SEALING_POINTS = (
    "while a generation is built",
    "after the engine's files, before the manifest",
    "before a generation's rename",
    "after a generation's rename",
)


def writer_at(
    point: str | None, journal: str, connection: Connection, settings: Settings, profile_key: bytes
) -> None:
    """A writer that dies at `point`; at "… of all" the whole process group dies with it."""
    embedding_index.TAIL_IDLE = embedding_index.TAIL_BUSY = SEAL_AT
    Store.__init__.__defaults__ = (False, SMALL_MAP_BYTES)
    _at(Environment, "_grow", after=lambda: _mark(journal, "the map grew"))
    place = (point or "").removesuffix(" of all")
    die = _death(journal, point or "")
    if place == "after the commit, before the answer":
        _at(Catalog, "commit", after=_third(die))
    elif place == "after the text commit, before its mark":
        _at(TextIndex, "commit", after=die)
    elif place == "before the map grows":
        _at(Environment, "_grow", before=die)
    elif place == "after the map grew":
        _at(Environment, "_grow", after=die)
    elif place in SEALING_POINTS:
        sealing._CHILD = f"from tests.torture.points import sealing_at; sealing_at({point!r}, {journal!r})"
    writer_main(connection, settings, profile_key)


def sealing_at(point: str, journal: str) -> None:
    """The sealing process, to die at `point`."""
    place = point.removesuffix(" of all")
    die = _death(journal, point)
    if place == "while a generation is built":
        _at(generations, "_write_index", before=die)
    elif place == "after the engine's files, before the manifest":
        _at(generations, "_write_index", after=die)
    elif place == "before a generation's rename":
        _at(os, "rename", before=die)
    else:
        _at(os, "rename", after=die)
    sealing.child_main()


def _death(journal: str, point: str) -> Callable[[], None]:
    def die() -> None:
        if not _mark(journal, point):
            return
        if point.endswith(" of all"):
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


def _mark(journal: str, name: str) -> bool:
    """Write down that something happened; whether it was the first time."""
    try:
        os.close(os.open(os.path.join(journal, name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _third(action: Callable[[], None]) -> Callable[[], None]:
    calls = iter(range(sys.maxsize))
    return lambda: action() if next(calls) == 2 else None


def _nothing() -> None:
    pass


def _at(
    owner: Any, name: str, before: Callable[[], None] = _nothing, after: Callable[[], None] = _nothing
) -> None:
    """Do something before or after every call of a function."""
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        before()
        result = original(*arguments, **named)
        after()
        return result

    setattr(owner, name, wrapped)
