"""What the API's JSON holds: the models by which requests are read and answers are documented.

Answers are plain dictionaries (catalogd/json_forms.py) that never pass through these models when they
are sent; the tests do that. Keys are only ever added, so a client must bear keys that it does not know.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LARGEST_ID = 2**53 - 1  # a whole number that every JSON reader keeps
Box = Annotated[list[float], Field(min_length=4, max_length=4)]  # x, y, width, height of the upright frame


class Asked(BaseModel):
    """A request's body: a key that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid")


class ErrorFacts(BaseModel):
    kind: str = Field(description="a stable word: query, usage, validation, not_found, conflict, outside, …")
    message: str = Field(description="what is wrong and what to do next, for people")
    position: int | None = Field(None, description="of a query that can't be read: where in its text")


class ErrorAnswer(BaseModel):
    """Every answer that is not a success."""

    error: ErrorFacts


# ── searches ──────────────────────────────────────────────────────────────────────────────────

LONGEST_QUERY = 4096  # characters
MOST_HITS = 10_000


class SignalFacts(BaseModel):
    name: str
    rank: int
    score: float
    matched: list[str]
    boxes: list[Box]


class HitFacts(BaseModel):
    """docs/output.md says what each field means."""

    path: str
    photo_id: int
    score: float
    found: bool
    signals: list[SignalFacts]


class StepFacts(BaseModel):
    name: str
    photos: int | None = None
    took_ms: float = 0.0
    note: str = ""


class ExplanationFacts(BaseModel):
    read_as: list[str]
    steps: list[StepFacts] = []


class SearchAnswer(BaseModel):
    hits: list[HitFacts]
    nearest: list[HitFacts] = Field(description="only when there are no hits: what does not match well")
    total: int | None = Field(description="of a query without free words; else null")
    took_ms: float
    notes: list[str] = Field(description="what a person should know of this search")
    explanation: ExplanationFacts | None
