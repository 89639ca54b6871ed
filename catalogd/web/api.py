"""The HTTP API: its routes under /api/v1, its errors, its OpenAPI document.

Handlers are plain functions, run in a pool of threads, so that none of them holds up another. They find
what they work with in `Depends(get_backend)` and raise CatalogdError; here that becomes JSON. Who may
ask at all is decided before a request gets here (security.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from catalogd import __version__
from catalogd.errors import CatalogdError
from catalogd.web.answers import Refusal, refusal_of
from catalogd.web.backend import Backend
from catalogd.web.routes import (
    albums,
    analysis,
    culling,
    events,
    health,
    metrics,
    people,
    photos,
    search,
    settings,
    status,
    sync,
    user_data,
)
from catalogd.web.schemas import ErrorAnswer
from catalogd.web.security import OPEN_PATHS

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
OPENAPI = f"{PREFIX}/openapi.json"
ENDLESS = f"{PREFIX}/events"
GZIP_LEVEL = 1  # over loopback bytes are cheaper than CPU; a choice, not a measurement
GZIP_BYTES = 1400  # a smaller answer travels in one packet anyway

ROUTERS = (  # in the order of the document
    health.router,
    status.router,
    events.router,
    metrics.router,
    settings.router,
    search.router,
    photos.router,
    people.router,
    albums.router,
    culling.router,
    user_data.router,
    analysis.router,
    sync.router,
)
_JSON = "application/json"
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "A query, a path or a value is wrong"},
    401: {"model": ErrorAnswer, "description": "No token, or a wrong one"},
    422: {"model": ErrorAnswer, "description": "The request is not of the form that is described here"},
}


def create_app(backend: Backend | None, middleware: Sequence[Middleware] = ()) -> FastAPI:
    """The application. `backend` stays the caller's to close; None is enough for the document.

    `middleware` sees requests first, the first of them before the others.
    """
    app = FastAPI(
        title="catalogd",
        version=__version__,
        description="Search and facts of a photo library, on its owner's machine: docs/api.md.",
        openapi_url=OPENAPI,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        responses=_ERRORS,
        middleware=[
            *middleware,
            Middleware(_Heads),
            Middleware(GZipMiddleware, minimum_size=GZIP_BYTES, compresslevel=GZIP_LEVEL),
        ],
    )
    app.state.backend = backend
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.add_exception_handler(CatalogdError, _on_catalogd_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)
    _document(app)
    return app


class _Heads:
    """Answers HEAD as GET; the server sends no body then. What never ends has no such answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] != ENDLESS:
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


# ── errors ────────────────────────────────────────────────────────────────────────────────────


async def _on_catalogd_error(request: Request, error: Exception) -> Refusal:
    assert isinstance(error, CatalogdError)
    if error.http_status >= 500:
        log.error("%s %s: %s", request.method, request.url.path, error)
    return refusal_of(error)


async def _on_invalid(request: Request, error: Exception) -> Refusal:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(_problem(one) for one in error.errors())
    is_json = request.headers.get("content-type", "").partition(";")[0].strip().lower().endswith("json")
    if error.body is not None and not is_json:  # it was not read as JSON then
        said = "send the body as JSON, with the header Content-Type: application/json"
    return Refusal(422, "validation", said)


def _problem(one: dict[str, Any]) -> str:
    """Where, and what is wrong there; nothing of the input, which may be anything."""
    place = ".".join(str(part) for part in one["loc"] if part not in ("query", "path", "header"))
    return f"{place}: {one['msg']}"


async def _on_http_error(request: Request, error: Exception) -> Refusal:
    assert isinstance(error, HTTPException)
    kinds = {404: "not_found", 405: "method", 413: "too_large"}
    messages = {
        404: f"there is nothing here; the routes are in {OPENAPI}",
        405: "this route has no such method",
    }
    message = messages.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    return Refusal(error.status_code, kinds.get(error.status_code, "http"), message, headers=headers)


async def _on_bug(request: Request, error: Exception) -> Refusal:
    """A mistake of ours. The log says which one; the answer does not."""
    return Refusal(500, "internal", "that went wrong inside catalogd; its log says more")


# ── the document ──────────────────────────────────────────────────────────────────────────────


def _document(app: FastAPI) -> None:
    """Has the OpenAPI document say what FastAPI can't know."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            made["security"] = [{"token": []}]  # demanded by the middleware
            for path, operations in made["paths"].items():
                for operation in operations.values():
                    _correct(operation, is_open=path in OPEN_PATHS)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _correct(operation: dict[str, Any], is_open: bool) -> None:
    """Errors are JSON, also where the answer is a picture; such an answer is no JSON."""
    if is_open:
        operation["security"] = []
    for code, answer in operation["responses"].items():
        content = answer.get("content", {})
        if code >= "400":
            schema = next(iter(content.values()))["schema"]
            answer["content"] = {_JSON: {"schema": schema}}
        elif len(content) > 1 and content.get(_JSON) == {"schema": {}}:
            del content[_JSON]
        elif content == {_JSON: {"schema": {}}}:
            del answer["content"]
