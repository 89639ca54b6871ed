"""A searcher: the catalog, the text model and what else a query needs, opened once and kept warm."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from catalogd.catalog import Catalog
from catalogd.query import TextEncoder, parse, search
from catalogd.records import Plan, Results
from catalogd.settings import Settings

if TYPE_CHECKING:
    from typing import Self


class Searcher:
    """Searches of one catalog, from any thread. Use it as a context manager, or `close` it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._catalog = Catalog.open(settings.catalog, settings)
        self._encoder: TextEncoder | None = None
        self._has_encoder: bool | None = None  # None: not looked for yet
        self._loading = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog. Twice is fine."""
        self._catalog.close()

    def warm(self) -> None:
        """Load what the first query needs."""
        self._text_encoder()

    def search(
        self, query: str | Plan, limit: int = 20, min_score: float | None = None, explain: bool = False
    ) -> Results:
        """The best photos of a query text, or of a plan that was read already. Raises QueryError."""
        plan = parse(query, limit, min_score) if isinstance(query, str) else query
        return search(self._catalog, plan, self._text_encoder() if plan.wants_meaning else None)

    def _text_encoder(self) -> TextEncoder | None:
        from catalogd.models.registry import text_encoder

        with self._loading:
            if self._has_encoder is None:
                self._encoder = text_encoder(self._settings.profile, self._settings)
                self._has_encoder = self._encoder is not None
            return self._encoder
