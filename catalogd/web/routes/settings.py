"""How catalogd is set up: settings and models."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from catalogd.models import registry
from catalogd.settings import Settings
from catalogd.web.answers import Json
from catalogd.web.backend import UsedBackend

router = APIRouter(tags=["setup"])


class ModelFacts(BaseModel):
    id: str = Field(description="as `catalogd models` has it")
    name: str = Field(description="the key of what it made in a record")
    kind: str = Field(description="what it is for")
    fingerprint: str | None = Field(description="stands in all that it made; null when it is missing")
    licence: str = Field(description="of its weights")
    state: Literal["ready", "partial", "wrong", "missing"] = Field(
        description="partial: better with weights that are missing; wrong: a file is not what it should be"
    )


@router.get("/settings", response_model=dict[str, Any], summary="The settings in force")
def settings(backend: UsedBackend) -> Json:
    """Each by its name, as docs/settings.md describes them. They are changed in the settings file."""
    return Json({name: _plain(value) for name, value in _values(backend.settings).items()})


def _values(settings: Settings) -> dict[str, Any]:
    """Shallow: the settings are plain values and paths. The token is in a file, and no setting."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@router.get("/models", response_model=list[ModelFacts], summary="The models of the profile")
def models(backend: UsedBackend) -> Json:
    """What each is for, the version that stands in its outputs, and whether its weights are here."""
    chosen = backend.settings
    rows = registry.describe("", chosen)
    jobs = registry.chosen(chosen).jobs  # those, too, that run only on request
    made = {model.name: model.fingerprint for model in registry.profile_models("", chosen, 1, jobs=jobs)}
    names = dict.fromkeys(row.name for row in rows)
    return Json([_model_json(name, [row for row in rows if row.name == name], made) for name in names])


def _model_json(name: str, rows: list[registry.ModelInfo], made: dict[str, str]) -> dict[str, Any]:
    return {
        "id": rows[0].id,
        "name": name,
        "kind": rows[0].purpose,
        "fingerprint": made.get(name),
        "licence": ", ".join(dict.fromkeys(row.licence for row in rows)),
        "state": _state(rows, name in made),
    }


def _state(rows: list[registry.ModelInfo], is_made: bool) -> str:
    if any(row.sha256_ok is False for row in rows):
        return "wrong"
    if not is_made:
        return "missing"
    return "partial" if any(row.source == "missing" for row in rows) else "ready"
