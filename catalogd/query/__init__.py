"""Finding photos: a query text becomes a plan, a plan becomes hits.

Free words go to two indexes, by meaning (embeddings) and as words (keywords, captions, people, places,
tags, text in the picture, objects, folder and file names); their rankings are fused by reciprocal rank
(Cormack, Clarke and Büttcher 2009). Conditions are applied inside both searches. Every hit says which
signal found it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from catalogd.catalog.store import JOINT
from catalogd.query.language import KEYS, parse
from catalogd.records import Hit, Plan, Record, Results, Signal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from catalogd.catalog import Catalog

__all__ = ["KEYS", "TextEncoder", "parse", "search"]

_RRF_K = 60  # the paper's constant: how much the first ranks outweigh the next
# Measured on 130 labelled photos with 65 words: reciprocal rank 0.72, at equal weights 0.70 (docs/models.md).
_WEIGHTS = {"meaning": 1.0, "words": 1.5}
_DEPTH = 4  # candidates a signal, as a multiple of the limit: fusion reorders the ends
_LEAST_DEPTH = 100
# Cosine in the ConSE space below which a photo is just the nearest of nothing: on 130 labelled photos
# and 65 words, 5 % of the photos that don't show the word reach it (docs/models.md).
_MEANING_FLOOR = 0.30


class TextEncoder(Protocol):
    """The text half of a joint embedding space."""

    @property
    def space(self) -> str:
        """The fingerprint of the model whose joint embeddings its vectors are comparable with."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]: ...


def search(catalog: Catalog, plan: Plan, encoder: TextEncoder | None) -> Results:
    """The best `plan.limit` photos, best first. Without an encoder only words and conditions count."""
    branch = plan.branches[0]
    if not branch.words:
        return Results(tuple(_filtered(catalog, plan)))
    depth = max(_LEAST_DEPTH, _DEPTH * plan.limit)
    rankings = {
        "words": _by_words(catalog, plan, depth),
        "meaning": _by_meaning(catalog, plan, encoder, depth),
    }
    return Results(tuple(_to_hits(catalog, _fuse(rankings), plan)))


def _filtered(catalog: Catalog, plan: Plan) -> list[Hit]:
    """Conditions alone: everything that matches, newest first."""
    fused = {
        photo_id: (1.0, [Signal("filter", rank, 1.0)])
        for rank, photo_id in enumerate(
            catalog.newest(plan.branches[0].filters, plan.limit + _LEAST_DEPTH), 1
        )
    }
    return _to_hits(catalog, fused, plan)


def _by_words(catalog: Catalog, plan: Plan, depth: int) -> list[tuple[int, Signal]]:
    found = catalog.search_text(plan.branches[0].words, plan.branches[0].filters, depth)
    return [(hit.photo_id, Signal("words", rank, hit.score, hit.fields)) for rank, hit in enumerate(found, 1)]


def _by_meaning(
    catalog: Catalog, plan: Plan, encoder: TextEncoder | None, depth: int
) -> list[tuple[int, Signal]]:
    if encoder is None:
        return []
    branch = plan.branches[0]
    allowed = catalog.matching(branch.filters) if branch.filters else None
    vector = encoder.encode([branch.words])[0]
    found = catalog.search_embeddings(encoder.space + JOINT, vector, depth, allowed)
    return [
        (photo_id, Signal("meaning", rank, cosine))
        for rank, (photo_id, cosine) in enumerate(found, 1)
        if cosine >= _MEANING_FLOOR
    ]


def _fuse(rankings: dict[str, list[tuple[int, Signal]]]) -> dict[int, tuple[float, list[Signal]]]:
    """Photo → (score, signals): 1.0 is first in every signal that found anything."""
    best = sum(_WEIGHTS[name] / (_RRF_K + 1) for name, ranking in rankings.items() if ranking)
    fused: dict[int, tuple[float, list[Signal]]] = {}
    for name, ranking in rankings.items():
        for photo_id, signal in ranking:
            score, signals = fused.get(photo_id, (0.0, []))
            fused[photo_id] = (score + _WEIGHTS[name] / (_RRF_K + signal.rank) / best, [*signals, signal])
    return fused


def _to_hits(catalog: Catalog, fused: dict[int, tuple[float, list[Signal]]], plan: Plan) -> list[Hit]:
    order = sorted(fused, key=lambda photo_id: (-fused[photo_id][0], photo_id))
    wanted = [photo_id for photo_id in order if fused[photo_id][0] >= (plan.min_score or 0.0)]
    if not plan.branches[0].words:
        wanted = list(fused)
    return [
        Hit(
            record.photo_id,
            record.path,
            round(fused[record.photo_id][0], 4),
            tuple(fused[record.photo_id][1]),
        )
        for record in _present(catalog, wanted, plan.limit)
    ]


def _present(catalog: Catalog, photo_ids: list[int], limit: int) -> list[Record]:
    """The first `limit` that are there: an index may lag behind photos that went missing."""
    found: list[Record] = []
    for start in range(0, len(photo_ids), max(limit, 1)):
        if len(found) >= limit:
            break
        page = catalog.records(photo_ids[start : start + limit])
        found += [record for record in page if record is not None and record.missing_since is None]
    return found[:limit]
