"""What `catalogd models` shows: profiles with one line a model, and the commands that bring the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from catalogd.models.known import PROFILES
from catalogd.settings import GiB
from catalogd.terminal import byte_size, escaped

if TYPE_CHECKING:
    from catalogd.models.registry import ModelInfo

# Column → width of the terminal, in columns of text, from which on there is room for it.
_COLUMNS = {"job": 0, "model": 0, "state": 0, "size": 0, "licence": 0, "memory": 90, "about": 150}
_STATES = {"here": "green", "in part": "yellow", "not ready": "yellow", "damaged": "red", "not here": "dim"}
_PIPED = 10_000  # what no terminal is as wide as
_REMARKS = re.compile(r" \([^)]*\)")  # behind a licence


def models_table(
    profile: str, rows: list[ModelInfo], is_chosen: bool, notes: list[str], width: int
) -> RenderableType:
    """Those that a profile shares with starter take one line. `profile` "": the models that none has.

    `notes` stand below; `width` is the terminal's.
    """
    models = {row.id: [part for part in rows if part.id == row.id] for row in rows}
    starter = PROFILES["starter"].values() if profile not in ("", "starter") else ()
    table = _table([parts for model_id, parts in models.items() if model_id not in starter], width)
    title = f"profile {profile}{', in use' if is_chosen else ''}" if profile else "other models"
    shared = [_with_state(parts) for model_id, parts in models.items() if model_id in starter]
    own = [row for row in rows if row.id not in starter]
    below = [f"and of starter: {', '.join(shared)}"] if shared else []
    lines = [*below, *notes, *hints(profile, own, is_chosen)]
    texts = [Text(f"  {escaped(line)}", style="dim") for line in lines]
    return Group(Text(escaped(title), style="bold"), table, *texts, "")


def _table(models: list[list[ModelInfo]], width: int) -> Table:
    """What there is no room for ends with an ellipsis, but for ids, which are needed whole."""
    is_wide = _COLUMNS["about"] <= width < _PIPED
    table = Table(box=None, pad_edge=False, header_style="dim", expand=is_wide)
    for column in [name for name, least in _COLUMNS.items() if width >= least]:
        folds, ratio = column == "model" and not is_wide, 1 if column == "about" else None
        table.add_column(column, no_wrap=not folds, overflow="fold" if folds else "ellipsis", ratio=ratio)
    for parts in models:
        table.add_row(*_cells(parts)[: len(table.columns)])
    return table


def hints(profile: str, rows: list[ModelInfo], is_chosen: bool) -> list[str]:
    """The commands that bring what a profile lacks, each once, in the order to type them."""
    lacking = [row for row in rows if row.install and (profile or row.source != "missing")]
    fixes: dict[str, list[ModelInfo]] = {}
    for row in lacking:
        get = row.install == f"catalogd models get {row.id}"
        fixes.setdefault(f"catalogd models get {profile}" if get else row.install, []).append(row)
    commands = sorted(fixes, key=lambda fix: (not fix.startswith("pip "), not fix.startswith("catalogd ")))
    lines = [f"→ {fix}   {_brought(fix, fixes[fix])}".rstrip() for fix in commands]
    if profile and not is_chosen:
        lines.append(f"→ catalogd models use {profile}")
    if any(row.is_accepted is False for row in rows):
        lines.append("* not for everyone: catalogd models accept MODEL, which says its terms")
    return lines


def _brought(fix: str, rows: list[ModelInfo]) -> str:
    size = sum(row.size_bytes for row in rows) if fix.startswith("catalogd models get") else 0
    names = ", ".join(dict.fromkeys(row.id for row in rows))
    if names in fix:
        return ""
    return f"({names}: {byte_size(size)})" if size else f"({names})"


def _cells(parts: list[ModelInfo]) -> list[Text]:
    """In the order of the columns."""
    first, state = parts[0], _state(parts)
    size = sum(part.size_bytes for part in parts)
    disk = byte_size(size) if size else ""
    memory = f"{first.memory_bytes / GiB:.1f} GiB" if first.memory_bytes else ""
    cells = [first.job, first.id, state, disk, _licence(parts), memory, first.note]
    texts = [Text(escaped(cell)) for cell in cells]
    texts[2].stylize(_STATES[state])
    return texts


def _licence(parts: list[ModelInfo]) -> str:
    names = [name for part in parts for name in _REMARKS.sub("", part.licence).split(", ")]
    mark = {None: "", True: ", accepted", False: " *"}[parts[0].is_accepted]
    return ", ".join(dict.fromkeys(names)) + mark


def _state(parts: list[ModelInfo]) -> str:
    if any(part.sha256_ok is False for part in parts):
        return "damaged"
    missing = [part for part in parts if part.source == "missing"]
    if len(missing) == len(parts) or any(not part.optional for part in missing):
        return "not here"
    if missing:
        return "in part"
    return "not ready" if any(part.install for part in parts) else "here"


def _with_state(parts: list[ModelInfo]) -> str:
    state = _state(parts)
    return parts[0].id if state in ("here", "in part") else f"{parts[0].id} ({state})"
