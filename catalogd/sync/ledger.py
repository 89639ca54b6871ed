"""What each run wrote into sidecars, and the way back: `<catalog>/sync/<run>.jsonl`.

::

    values computed ─▶ noted, durable ─▶ the sidecar is replaced ─▶ confirmed

The note comes first, so that nothing is ever written that could not be taken back. A run that is
killed in between has noted what it did not do; that is harmless, because what is not confirmed is put
back only where the sidecar holds the very value that was noted. Any number of processes append to one
ledger.

What somebody changed since is theirs and stays. Of a list, of keywords or regions, each entry counts alone:
those that the run added go, those that it took out come back, and what others added stays.
"""

from __future__ import annotations

import datetime
import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from catalogd.errors import UsageError
from catalogd.metadata.xmp import BAG, SEQ, STRUCT, Value
from catalogd.sync import replacing
from catalogd.sync.packet import relisted, same, struct

Values = Mapping[str, Value | None]  # by key; None: the property was or is not there

_SUFFIX, _UNDONE_SUFFIX = ".jsonl", ".undone"


class Entry(NamedTuple):
    """What one write changed in one sidecar."""

    path: bytes
    created: bool  # there was no sidecar before
    before: Values
    after: Values
    confirmed: bool = False  # it was written for certain


class Ledger:
    """One run's. Safe for several processes at a time; cheap to make, and to pickle."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def start(cls, catalog: Path) -> Ledger:
        """The ledger of a new run. Its file is made by the first note."""
        now = datetime.datetime.now(datetime.UTC)
        return cls(_folder(catalog) / f"{now:%Y%m%d-%H%M%S-%f}{_SUFFIX}")

    @classmethod
    def of_run(cls, catalog: Path, run: str | None) -> Ledger:
        """The ledger of a run by its name, or of the last that was not taken back. Raises UsageError."""
        names = runs(catalog)
        if run is None and names:
            return cls(_folder(catalog) / (names[-1] + _SUFFIX))
        if run in names:
            return cls(_folder(catalog) / (run + _SUFFIX))
        if not names:
            raise UsageError("no run has written sidecars that could be taken back")
        raise UsageError(f"there is no run {run} to take back; there are: {', '.join(names[-10:])}")

    @property
    def run(self) -> str:
        """The name of the run: when it began, in UTC."""
        return self.file.name.removesuffix(_SUFFIX)

    def note(self, entry: Entry) -> None:
        """Say what will be written; durable when this returns. Raises OSError when it can't be."""
        self._append(_plain_entry(entry), durable=True)

    def confirm(self, path: bytes, digest_before: str | None, digest_after: str | None) -> None:
        """What was noted last for this sidecar has been written."""
        digests = {"digest_before": digest_before, "digest_after": digest_after}
        self._append({"path": os.fsdecode(path), **digests}, durable=False)

    def drop(self, path: bytes) -> None:
        """What was written into this sidecar has been taken back: it is no longer among `entries`."""
        self._append({"path": os.fsdecode(path), "taken_back": True}, durable=False)

    def _append(self, plain: dict[str, Any], durable: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self.file.parent.mkdir(exist_ok=True)
        descriptor = os.open(self.file, flags, 0o600)
        try:  # after a line that a power loss tore, this one still is a line
            line = b"\n%b\n" % json.dumps(plain).encode("ascii")
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file))
            if durable:
                os.fsync(descriptor)
                if os.fstat(descriptor).st_size == len(line):  # its first: the file itself is new
                    replacing.sync_folder(os.fsencode(self.file.parent))
        finally:
            os.close(descriptor)

    def entries(self) -> Iterator[tuple[bytes, list[Entry]]]:
        """Each sidecar of the run with what was written into it, oldest first; the last sidecar first.

        Memory: the path of each sidecar.
        """
        with self.file.open("rb") as lines:
            offsets: dict[bytes, list[int]] = {}
            at = 0
            for line in lines:
                if plain := _read_line(line):
                    offsets.setdefault(os.fsencode(plain["path"]), []).append(at)
                at += len(line)
            for path, places in reversed(offsets.items()):
                if entries := _entries_at(lines, path, places):
                    yield path, entries

    def close(self) -> None:
        """The run was taken back: it is no longer among `runs`."""
        self.file.rename(self.file.with_name(self.file.name + _UNDONE_SUFFIX))


def runs(catalog: Path) -> list[str]:
    """The runs that have written something and were not taken back, the last one last."""
    return sorted(file.name.removesuffix(_SUFFIX) for file in _folder(catalog).glob(f"*{_SUFFIX}"))


def values_before(entries: Sequence[Entry], now: Values) -> dict[str, Value | None]:
    """What must be put back: for each key that still has the value that was written, the one before.

    `entries` are those of one sidecar, oldest first; `now` is what it holds.
    """
    back: dict[str, Value | None] = {}
    for entry in reversed(entries):
        for key, written in entry.after.items():
            value, before = back.get(key, now.get(key)), entry.before.get(key)
            if same(value, written):
                back[key] = before
            elif entry.confirmed and value is not None:
                back[key] = _without_ours(value, written, before)
    return {key: value for key, value in back.items() if not same(value, now.get(key))}


def _without_ours(now: Value, written: Value | None, before: Value | None) -> Value | None:
    """A value that others changed since: theirs, but for our entries when it is a list or holds lists."""
    if all(map(_is_list, (now, written, before))):
        return _list_before(now, written, before)
    if now.kind == STRUCT and written is not None and written.kind == STRUCT:
        return _structure_before(now, written, before)
    return now


def _is_list(value: Value | None) -> bool:
    """Whether it is a list; an absent property is an empty one."""
    return value is None or value.kind in (BAG, SEQ)


def _list_before(now: Value, written: Value | None, before: Value | None) -> Value | None:
    """A list without the entries that were added, and with those that were taken out."""
    ours, former = set(map(_entry, _items(written))), set(map(_entry, _items(before)))
    kept = [item for item in now.items if _entry(item) in former or _entry(item) not in ours]
    there = ours | set(map(_entry, kept))
    items = kept + [item for item in _items(before) if _entry(item) not in there]
    was_empty = before is not None and not before.items
    return relisted(now, items) if items or was_empty else None


def _structure_before(now: Value, written: Value, before: Value | None) -> Value | None:
    """A structure whose lists (of regions) are put back; its other fields are for what is left in them."""
    former = before.fields if before is not None else {}
    lists: dict[str, Value] = {}
    for name, field in now.fields.items():
        ours, old = written.fields.get(name), former.get(name)
        if field.kind and ours is not None and all(map(_is_list, (field, ours, old))):
            lists[name] = _list_before(field, ours, old) or relisted(field, ())
    rest = {name: field for name, field in now.fields.items() if name not in lists}
    is_theirs = any(not same(field, written.fields.get(name)) for name, field in rest.items())
    if lists and before is None and not is_theirs and not any(field.items for field in lists.values()):
        return None
    value = struct(now.fields | lists)
    value.qualifiers = now.qualifiers
    return value


def _items(value: Value | None) -> list[Value]:
    return value.items if value is not None else []


def _entry(item: Value) -> str:
    """By which an entry of a list is known again: its text, or all that it says."""
    return json.dumps(_plain(item), sort_keys=True) if item.kind else item.text


def _folder(catalog: Path) -> Path:
    return catalog / "sync"


# ── lines ─────────────────────────────────────────────────────────────────────────────────────


def _plain_entry(entry: Entry) -> dict[str, Any]:
    return {
        "path": os.fsdecode(entry.path),
        "created": entry.created,
        "before": {key: _plain(value) for key, value in entry.before.items()},
        "after": {key: _plain(value) for key, value in entry.after.items()},
    }


def _read_line(line: bytes) -> dict[str, Any] | None:
    """A line of the ledger; None for one that was torn, which no sidecar was written after."""
    try:
        plain = json.loads(line)
    except ValueError:
        return None
    return plain if isinstance(plain, dict) else None


def _entries_at(lines: BinaryIO, path: bytes, places: Iterable[int]) -> list[Entry]:
    """What was written for certain, and what may have been: the last note, when the run was killed.

    A note may be confirmed after the others were taken back: the run still wrote then.
    """
    entries: list[Entry] = []
    noted: Entry | None = None
    is_fresh = False
    for place in places:
        lines.seek(place)
        plain = json.loads(lines.readline())
        if "after" in plain:
            before, after = (
                {key: _value(value) for key, value in plain[name].items()} for name in ("before", "after")
            )
            noted, is_fresh = Entry(path, plain["created"], before, after), True
        elif "taken_back" in plain:
            entries, is_fresh = [], False
        elif noted is not None:
            entries.append(noted._replace(confirmed=True))
            noted = None
    return [*entries, noted] if noted is not None and is_fresh else entries


def _plain(value: Value | None) -> Any:
    """A value for JSON: a simple one is its text, any other an object without its empty parts."""
    if value is None:
        return None
    if not value.kind and not value.qualifiers:
        return value.text
    parts = {
        "kind": value.kind,
        "text": value.text,
        "items": [_plain(item) for item in value.items],
        "fields": {key: _plain(field) for key, field in value.fields.items()},
        "qualifiers": {key: _plain(qualifier) for key, qualifier in value.qualifiers.items()},
    }
    return {name: part for name, part in parts.items() if part}


def _value(plain: Any) -> Value | None:
    if plain is None:
        return None
    if isinstance(plain, str):
        return Value(plain)
    value = Value(plain.get("text", ""))
    value.kind = plain.get("kind", "")
    value.items = [_some(item) for item in plain.get("items", ())]
    value.fields = {key: _some(field) for key, field in plain.get("fields", {}).items()}
    value.qualifiers = {key: _some(qualifier) for key, qualifier in plain.get("qualifiers", {}).items()}
    return value


def _some(plain: Any) -> Value:
    value = _value(plain)
    assert value is not None
    return value
