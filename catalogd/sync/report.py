"""What a sync did or would do, counted and in plain values: for the terminal and for JSON."""

from __future__ import annotations

import collections
from typing import Any, Literal

from catalogd.metadata.xmp import STRUCT, Value
from catalogd.records import Stat, display_path
from catalogd.sync import Synced
from catalogd.sync.packet import usual_name

SHOWN_REFUSALS = 20  # of a summary; `--json` has all

Standing = Literal["in_sync", "to_write", "changed", "refused"]


class Tally:
    """Counts, by what became of each sidecar or by how it stands, and the first refusals with reasons."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.refusals: list[tuple[str, str]] = []
        self.took_s = 0.0
        self.interrupted = False

    def add(self, synced: Synced, kind: str) -> None:
        self.counts[kind] += 1
        if kind == "refused" and len(self.refusals) < SHOWN_REFUSALS:
            self.refusals.append((display_path(synced.written.path), synced.written.reason))

    @property
    def total(self) -> int:
        return self.counts.total()


def standing_of(synced: Synced, known: Stat | None) -> Standing:
    """How a sidecar stands after a dry run; `known` is the stat by which the catalog knows it.

    "changed": somebody else wrote it since; the next run of the daemon reads it, then it can be told what
    is to be written.
    """
    if synced.written.state == "refused":
        return "refused"
    if synced.before != known:
        return "changed"
    return "in_sync" if synced.written.state == "unchanged" else "to_write"


def as_json(synced: Synced, state: str) -> dict[str, Any]:
    """One row of `--json`."""
    written = synced.written
    rows = [
        {"name": usual_name(row.key), "before": shown(row.before), "after": shown(row.after)}
        for row in written.differences
    ]
    return {
        "photo": display_path(synced.photo),
        "path": display_path(written.path),
        "state": state,
        "reason": written.reason or None,
        "differences": rows,
    }


def shown(value: Value | None) -> Any:
    """A value as JSON has it: a text, a list, an object by usual names; a text in languages by language."""
    if value is None:
        return None
    if value.kind == STRUCT:
        return {usual_name(key): shown(field) for key, field in value.fields.items()}
    if any(item.language for item in value.items):
        return {item.language or "x-default": shown(item) for item in value.items}
    return [shown(item) for item in value.items] if value.kind else value.text
