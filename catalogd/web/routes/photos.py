"""Photos: lists, one, by their paths, and their pictures."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["photos"])
