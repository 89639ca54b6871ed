"""People: who is on the photos, and what is said of them."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["people"])
