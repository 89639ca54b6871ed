"""Culling: the best of each moment."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["culling"])
