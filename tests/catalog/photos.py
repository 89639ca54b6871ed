"""Records for the catalog's tests: small, distinct, made from a name."""

from __future__ import annotations

from typing import Any

import numpy as np

from catalogd.records import Facts, Failure, Output, Record, Stat, Tag, TextLine

PROFILE = b"profile1"
OTHER_PROFILE = b"profile2"
SPACE = "embedder 1"
DIMENSION = 8


def content(name: str) -> bytes:
    """16 bytes that stand for the content hash of `name`."""
    return name.encode().ljust(16, b".")[:16]


def vector(seed: int, dimension: int = DIMENSION) -> bytes:
    """A float16 embedding of unit length."""
    numbers = np.random.default_rng(seed).normal(size=dimension)
    return (numbers / np.linalg.norm(numbers)).astype("<f2").tobytes()


def photo(path: str | bytes, of: str = "", **changed: Any) -> Record:
    """A record at `path` with the content of `of`; one embedding and two tags."""
    path = path if isinstance(path, bytes) else path.encode()
    fields: dict[str, Any] = {
        "path": path,
        "stat": Stat(1000, 1),
        "content": content(of or path.decode("latin-1")[-16:]),
        "facts": Facts("jpeg", 40, 30),
        "outputs": {"embedder": Output(SPACE, embedding=vector(len(path))), "tagger": tagger("cat", "sofa")},
    }
    return Record(**{**fields, **changed})


def tagger(*names: str) -> Output:
    return Output("tagger 1", tags=tuple(Tag(name, 0.5) for name in names))


def reader(*lines: str) -> Output:
    return Output("reader 1", text_lines=tuple(TextLine(line, (), 0.9) for line in lines))


def failure(path: str | bytes, **changed: Any) -> Failure:
    path = path if isinstance(path, bytes) else path.encode()
    fields: dict[str, Any] = {
        "path": path,
        "stat": Stat(1000, 1),
        "stage": "read",
        "reason": "unreadable",
        "message": "not a photo",
        "failed_at": 5.0,
    }
    return Failure(**{**fields, **changed})
