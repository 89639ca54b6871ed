"""Finding photos: a query text becomes a plan, a plan becomes hits.

::

    text ──language──▶ Plan ──names──▶ Plan ──execution──▶ Results
                                                │ searches      meaning, words, likeness to examples
                                                │ ranking       fused by reciprocal rank
                                                │ calibration   how likely it is what was meant
                                                └ reasons       what matched, and where in the picture

Filters are applied inside every search. `Searcher` keeps warm what a search needs; `search` is one search
on a catalog that is open already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from catalogd.query.language import KEYS, parse
from catalogd.records import Plan, Results

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from catalogd.catalog import Catalog

__all__ = ["KEYS", "WEIGHTS", "TextEncoder", "parse", "search"]

# Of each ranking in the fusion, measured (docs/search-quality.md); others by settings weight_words and
# weight_meaning, which also say how many times the evidence of a search counts in a score.
WEIGHTS = {"meaning": 1.0, "words": 1.5}


class TextEncoder(Protocol):
    """The text half of a joint embedding space."""

    @property
    def space(self) -> str:
        """The fingerprint of the model whose joint embeddings its vectors are comparable with."""

    def encode(self, texts: list[str]) -> npt.NDArray[np.float32]: ...


def search(
    catalog: Catalog, plan: Plan, encoder: TextEncoder | None, weights: Mapping[str, float] = WEIGHTS
) -> Results:
    """The best `plan.limit` photos, best first. Without an encoder only words and filters count.

    Raises QueryError.
    """
    from catalogd.query.execution import execute
    from catalogd.query.searches import tools_for

    return execute(tools_for(catalog, encoder, weights), plan)
