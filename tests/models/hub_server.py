"""A hub on loopback: the part of its protocol that fetching weights needs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclasses.dataclass
class Hub:
    """One repository, and what goes wrong with it."""

    repo: str
    files: dict[str, bytes]
    small: tuple[str, ...] = ()  # kept in git itself, with the hash of a git blob
    licence: str = "mit"
    commit: str = COMMIT
    wrong: dict[str, bytes] = dataclasses.field(default_factory=dict)  # sent instead, with the true hashes
    cut_after: int = 0  # bytes of the next file, then the connection ends; once
    ranges: bool = True  # whether it continues files
    error: tuple[int, str] | None = None  # status and X-Error-Code of every answer
    no_files: bool = False  # 404 for every file
    token: str = ""  # asked for when set
    seen: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)  # method, path, Range
    endpoint: str = ""

    def facts(self) -> dict[str, Any]:
        siblings = [self._sibling(name, content) for name, content in self.files.items()]
        return {
            "id": self.repo,
            "sha": self.commit,
            "siblings": siblings,
            "cardData": {"license": self.licence},
            "private": False,
            "downloads": 1,
            "likes": 1,
            "tags": [],
        }

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        facts: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
        if name not in self.small:
            sha256 = hashlib.sha256(content).hexdigest()
            facts["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
        return facts

    def fetched(self) -> list[str]:
        """The names of files that were asked for, in order."""
        return [path.split(f"/resolve/{self.commit}/")[1] for _, path, _ in self.seen if "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        hub, path = self.server.hub, unquote(urlsplit(self.path).path)
        hub.seen.append((self.command, path, self.headers.get("Range", "")))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo"})
        elif hub.error:
            self._send(hub.error[0], b"{}", {"X-Error-Code": hub.error[1]})
        elif path.startswith(f"/api/models/{hub.repo}"):
            self._send(200, json.dumps(hub.facts()).encode(), {"Content-Type": "application/json"})
        elif "/resolve/" in path and not hub.no_files:
            self._send_file(path.split(f"/resolve/{hub.commit}/")[1])
        else:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _send_file(self, name: str) -> None:
        hub = self.server.hub
        content = hub.wrong.get(name, hub.files[name])
        start = 0
        asked = self.headers.get("Range", "")
        if asked and hub.ranges:
            start = int(asked.removeprefix("bytes=").split("-")[0])
        rest = content[start:]
        if hub.cut_after and len(rest) > hub.cut_after:
            sent, hub.cut_after = rest[: hub.cut_after], 0
            self._send(206 if start else 200, sent, {"ETag": '"x"'}, length=len(rest))
            self.close_connection = True
            return
        self._send(206 if start else 200, rest, {"ETag": '"x"'})

    def _send(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"X-Repo-Commit": self.server.hub.commit, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


@contextlib.contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    """The hub, reachable at its `endpoint`."""
    server = _Server(hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
