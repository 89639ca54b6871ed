"""Whether catalogd answers."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from catalogd import __version__
from catalogd.web.answers import Json

router = APIRouter(tags=["status"])


class Health(BaseModel):
    status: Literal["ok"]
    version: str


@router.get("/health", response_model=Health, summary="Whether catalogd answers")
async def health() -> Json:
    """The only route that needs no token. It says nothing about the library."""
    return Json({"status": "ok", "version": __version__})
