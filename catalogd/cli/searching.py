"""How a command searches: by the warm process of a run that is alive, else by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from catalogd.service import Searching
    from catalogd.settings import Settings

T = TypeVar("T")


def answered(settings: Settings, ask: Callable[[Searching], T]) -> T:
    """What `ask` gets from a searcher: the run's when it answers, else one made for this question."""
    from catalogd.service import Remote

    with contextlib.suppress(ConnectionError):
        return ask(Remote(settings.catalog))
    from catalogd.query.searcher import Searcher

    with Searcher(settings) as searcher:
        return ask(searcher)
