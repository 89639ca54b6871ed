"""What the catalog knows, as JSON: the same for the commands' `--json` and the HTTP API.

Values here are plain: dictionaries, lists, numbers, text. A path is text for people (`display_path`); who
wants to name a photo again uses its `photo_id`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from catalogd.records import Hit, Results, Signal, display_path

_SURROGATE = re.compile("[\ud800-\udfff]")
_encode = msgspec.json.Encoder().encode


def encode_json(value: Any) -> bytes:
    """The same as UTF-8; what is no number (NaN) as null."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(json_ready(value))


def json_ready(value: Any) -> Any:
    """The same with each string as text that UTF-8 can hold."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {json_ready(key): json_ready(item) for key, item in value.items()}
    return [json_ready(item) for item in value] if isinstance(value, list | tuple) else value


def valid_text(text: str) -> str:
    """Text that UTF-8 can hold: bytes that `os.fsdecode` could not read as `\\xNN`, like `display_path`."""
    return _SURROGATE.sub(_shown_surrogate, text)


def _shown_surrogate(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


# ── hits ──────────────────────────────────────────────────────────────────────────────────────


def results_json(results: Results) -> dict[str, Any]:
    """What a search found, whole."""
    explanation = results.explanation
    return {
        "hits": [hit_json(hit) for hit in results.hits],
        "nearest": [hit_json(hit, found=False) for hit in results.nearest],
        "total": results.total,
        "took_ms": results.took_ms,
        "notes": list(results.notes),
        "explanation": None if explanation is None else msgspec.to_builtins(explanation),
    }


def hit_json(hit: Hit, found: bool = True) -> dict[str, Any]:
    """A hit as docs/output.md describes it."""
    path = display_path(hit.path)
    signals = [_signal_json(signal) for signal in hit.signals]
    return {"path": path, "photo_id": hit.photo_id, "score": hit.score, "found": found, "signals": signals}


def _signal_json(signal: Signal) -> dict[str, Any]:
    return {
        "name": signal.name,
        "rank": signal.rank,
        "score": round(signal.score, 4),
        "matched": list(signal.matched),
        "boxes": [list(box) for box in signal.boxes],
    }
