"""Answers as they travel: JSON, lines of JSON, pages with a cursor, errors.

Handlers build plain values and hand them to `Json`, so that an answer is encoded once, in the handler's
own thread; the models in schemas.py describe what it holds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from catalogd.errors import CatalogdError, QueryError, UsageError
from catalogd.json_forms import encode_json

NDJSON = "application/x-ndjson"
LINES_A_CHUNK = 200  # of NDJSON: about 100 kB of photos


class Json(Response):
    """A JSON answer, encoded when it is made. Text that UTF-8 can't hold is shown as `\\xNN`."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode_json(content)


class Refusal(Json):
    """An error's answer."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        position: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        error: dict[str, Any] = {"kind": kind, "message": message}
        if position is not None:
            error["position"] = position
        super().__init__({"error": error}, status_code=status, headers=headers)


def refusal_of(error: CatalogdError) -> Refusal:
    """What a client is told of an error."""
    position = error.position if isinstance(error, QueryError) else None
    return Refusal(error.http_status, error.kind, str(error), position)


def wants_lines(request: Request) -> bool:
    """Whether the client asks for NDJSON."""
    return NDJSON in request.headers.get("accept", "")


def lines(values: Iterable[Any]) -> StreamingResponse:
    """NDJSON: one value a line, made while it is sent, so that a slow reader holds no more than a chunk."""
    return StreamingResponse(_chunks(values), media_type=NDJSON)


def _chunks(values: Iterable[Any]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    for value in values:
        chunk.append(encode_json(value) + b"\n")
        if len(chunk) == LINES_A_CHUNK:
            yield b"".join(chunk)
            chunk.clear()
    yield b"".join(chunk)


# ── cursors ───────────────────────────────────────────────────────────────────────────────────


def cursor_of(position: Any) -> str:
    """An opaque word for where the next page begins: a number, a text, or a list of such."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).decode().rstrip("=")


def position_of(cursor: str | None, kind: type[Any], first: Any) -> Any:
    """Where a page begins; `first` without a cursor. Raises UsageError for one that was made up."""
    if cursor is None:
        return first
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(packed, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise UsageError("cursor: this is not the `next` of an earlier page; begin without one") from None
