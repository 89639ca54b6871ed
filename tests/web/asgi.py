"""One request to an ASGI application, each part of it as a test wants it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return str(json.loads(self.body)["error"]["kind"])


def ask(
    app: Any,
    path: str = "/api/v1/status",
    *,
    method: str = "GET",
    headers: Sequence[tuple[str, str]] = (),
    query: bytes = b"",
    parts: Sequence[bytes] = (),
    client: str = "127.0.0.1",
    server: str = "127.0.0.1",
    pause_s: float = 0.0,
) -> Answered:
    """`headers` are all that there are, but for `Host`, unless they have one. `pause_s` before each part."""
    named = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    if not any(name == b"host" for name, _ in named):
        named.insert(0, (b"host", b"127.0.0.1:8766"))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(name, value) for name, value in named if value != b"-"],
        "client": (client, 50_000),
        "server": (server, 8766),
    }
    left = list(parts)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause_s)
        part = left.pop(0) if left else b""
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, *rest = sent
    found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answered(start["status"], found, b"".join(message.get("body", b"") for message in rest))
