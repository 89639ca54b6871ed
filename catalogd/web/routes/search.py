"""Searches: what photos show, how a query is read, and photos like others."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from catalogd.json_forms import results_json
from catalogd.web.answers import Json
from catalogd.web.backend import UsedBackend
from catalogd.web.schemas import LONGEST_QUERY, MOST_HITS, SearchAnswer

router = APIRouter(tags=["search"])
QueryText = Annotated[str, Query(max_length=LONGEST_QUERY, description="the query language: docs/query.md")]
Limit = Annotated[int, Query(ge=1, le=MOST_HITS, description="so many hits at most")]
MinScore = Annotated[float | None, Query(ge=0, le=1, description="0: the nearest, whatever they are")]


@router.get("/search", response_model=SearchAnswer, summary="Search photos")
def search(
    backend: UsedBackend, q: QueryText, limit: Limit = 20, min_score: MinScore = None, explain: bool = False
) -> Json:
    """The photos that a query finds, the best first, each with its reasons."""
    return Json(results_json(backend.searcher.search(q, limit, min_score, explain)))
