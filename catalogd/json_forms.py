"""What the catalog knows, as JSON: the same for the commands' `--json` and the HTTP API.

Values here are plain: dictionaries, lists, numbers, text. A path is text for people (`display_path`); who
wants to name a photo again uses its `photo_id`.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

import msgspec

from catalogd.records import (
    Album,
    Hit,
    Place,
    Record,
    Results,
    Signal,
    aesthetics_of,
    captioned_by,
    display_path,
)

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.catalog.acting import Suggestion
    from catalogd.catalog.arrangement import Session
    from catalogd.catalog.journal import Action
    from catalogd.catalog.people import Somebody
    from catalogd.catalog.user_data import Entry
    from catalogd.culling import Moment, Verdict
    from catalogd.jobs import Job

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


# ── photos ────────────────────────────────────────────────────────────────────────────────────


def record_json(record: Record) -> dict[str, Any]:
    """A record as docs/formats.md describes it; an embedding is its dimension."""
    plain: dict[str, Any] = msgspec.to_builtins(record, enc_hook=repr, builtin_types=(bytes,))
    plain = _without_bytes(plain)
    plain["path"] = display_path(record.path)
    plain.pop("type", None)
    return plain


def _without_bytes(value: Any) -> Any:
    """Bytes for JSON: a content hash as hex, an embedding as its dimension."""
    if isinstance(value, dict):
        return {key: _without_bytes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(item) for item in value]
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 16 else {"dimension": len(value) // 2}
    return value


def groups_json(catalog: Catalog, record: Record) -> dict[str, Any]:
    """The stack, burst and session of a photo, None for what it is not in; and whose its faces are."""
    from catalogd.catalog.timeline import clock_text, film_beside

    timeline, photo_id = catalog.timeline, record.photo_id
    stack, burst, session = (
        timeline.stack_of(photo_id),
        timeline.burst_of(photo_id),
        timeline.session_of(photo_id),
    )
    covers = catalog.records([group.cover for group in (stack, burst) if group])
    paths = {cover.photo_id: display_path(cover.path) for cover in covers if cover}
    film = film_beside(record.path)
    times = {"start": clock_text(session.start_s), "end": clock_text(session.end_s)} if session else {}
    return {
        "stack": {**stack._asdict(), "cover_path": paths.get(stack.cover, "")} if stack else None,
        "burst": {**burst._asdict(), "cover_path": paths.get(burst.cover, "")} if burst else None,
        "session": {**_session_json(session), **times} if session else None,
        "people": catalog.people.shown_on(record),
        "faces": [
            {"face": face.face + 1, "name": face.name, "box": list(face.box)}
            for face in catalog.people.faces_of(photo_id)
        ],
        "film": display_path(film) if film else None,
    }


def _session_json(session: Session) -> dict[str, Any]:
    names = ("session_id", "trip_id", "photos", "stacks", "bursts", "cover")
    return {name: getattr(session, name) for name in names}


def summary_json(catalog: Catalog, record: Record, has_thumbnail: bool) -> dict[str, Any]:
    """What a list shows of a photo: what its file says, and over that what a person said elsewhere."""
    said = record.said
    return {
        "photo_id": record.photo_id,
        "path": display_path(record.path),
        "taken_at": said.taken_at,
        "camera": said.camera,
        "lens": said.lens,
        "width": said.width,
        "height": said.height,
        "format": said.format,
        "rating": said.rating,
        "label": said.label,
        "title": said.title,
        "caption": said.caption,
        "model_caption": None if (by_model := captioned_by(record)) is None else by_model.caption,
        "aesthetics": aesthetics_of(record),
        "keywords": list(said.keywords),
        "people": catalog.people.shown_on(record),
        "place": place_text(said.place),
        "latitude": said.latitude,
        "longitude": said.longitude,
        "has_thumbnail": has_thumbnail,
    }


def caption_that_counts(record: Record) -> tuple[str | None, str | None]:
    """The caption of a photo and who wrote it: "person", else the model's fingerprint; None without one."""
    if record.said.caption:
        return record.said.caption, "person"
    by_model = captioned_by(record)
    return (None, None) if by_model is None else (by_model.caption, by_model.fingerprint)


def place_text(place: Place | None) -> str | None:
    """A place from its town to its country, on one line."""
    if place is None:
        return None
    return ", ".join(dict.fromkeys(filter(None, (place.city, place.region, place.country)))) or None


# ── people ────────────────────────────────────────────────────────────────────────────────────


def person_json(catalog: Catalog, one: Somebody) -> dict[str, Any]:
    """What lists tell of somebody."""
    from catalogd.catalog.people import taken_between

    person, people = one.person, catalog.people
    table = people.identities().faces
    photo_ids = people.photos_of(person.person_id) if person else table.photo_ids[one.faces]
    between = taken_between(catalog.columns(), photo_ids)
    best = int(one.faces[0]) if len(one.faces) else None
    cover = None if best is None else catalog.record(int(table.photo_ids[best]))
    return {
        "number": one.number,
        "person_id": person.person_id if person else None,
        "name": person.name or None if person else None,
        "aliases": list(person.aliases) if person else [],
        "origin": person.origin if person else None,
        "hidden": bool(person and person.hidden),
        "ignored": bool(person and person.ignored),
        "faces": len(one.faces),
        "photos": one.photos,
        "clusters": list(one.clusters),
        "since": _day(between[0]) if between else None,
        "until": _day(between[1]) if between else None,
        "cover": display_path(cover.path) if cover else None,
        "cover_photo_id": cover.photo_id if cover else None,
        "cover_face": None if best is None else int(table.indices[best]) + 1,
    }


def person_in_full(catalog: Catalog, one: Somebody, limit: int) -> dict[str, Any]:
    """The same, with the `limit` best faces, and what was said of this person."""
    ids = {one.person.person_id} if one.person else set()
    journal = [entry_json(entry) for entry in catalog.people.journal() if _speaks_of(entry, ids)]
    return {**person_json(catalog, one), "shown": faces_json(catalog, one, limit), "journal": journal}


def faces_json(catalog: Catalog, one: Somebody, limit: int) -> list[dict[str, Any]]:
    """The best faces of somebody, and where they are; a face counts from 1 in its photo."""
    from catalogd.catalog.people import box_of

    table, rows = catalog.people.identities().faces, one.faces[:limit].tolist()
    records = catalog.records([int(table.photo_ids[row]) for row in rows])
    return [
        {
            "path": display_path(record.path),
            "photo_id": record.photo_id,
            "face": int(table.indices[row]) + 1,
            "box": [round(part, 4) for part in box_of(table, row)],
            "cluster": int(table.clusters[row]),
            "quality": round(float(table.qualities[row]), 3),
        }
        for row, record in zip(rows, records, strict=True)
        if record is not None
    ]


def suggestion_json(pair: Suggestion) -> dict[str, Any]:
    """Two that may be one person."""
    return {
        "score": None if pair.score is None else round(pair.score, 3),
        "one": pair.one.name,
        "other": pair.other.name,
        "numbers": [pair.one.number, pair.other.number],
        "faces": [len(pair.one.faces), len(pair.other.faces)],
        "reason": pair.reason,
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry of the journal: what was said of people, and when."""
    action = entry.action
    return {
        "number": entry.number,
        "at": _moment_text(action.at),
        "undone_at": _moment_text(entry.undone_at) if entry.undone_at else None,
        "kind": action.kind,
        "text": said_text(action),
        "person_id": action.person or None,
        "name": action.name or None,
        "faces": len(action.faces),
        "photo_ids": sorted({mark.photo_id for mark in action.faces}),
        "action_id": action.action_id,
    }


def said_text(action: Action) -> str:
    """An action in words."""
    faces = f"{len(action.faces):,} face{'' if len(action.faces) == 1 else 's'}"
    are = "is" if len(action.faces) == 1 else "are"
    sentences = {
        "name": f"{action.former or 'somebody'} is called {action.name}",
        "alias": f"{action.former} is also called {action.name}",
        "unalias": f"{action.former} is no longer called {action.name}",
        "merge": f"{action.name} and {action.former} are one person",
        "split": f"{faces} of {action.former} {are} {action.name or 'somebody else'}",
        "not": f"{faces} {are} not {action.former}",
        "is": f"{faces} {are} {action.former}",
        "hide": f"{action.former} is hidden",
        "unhide": f"{action.former} is listed again",
        "ignore": f"{action.former} is a stranger",
        "unignore": f"{action.former} is no stranger",
        "forget": f"the name {action.former} is forgotten",
        "import": f"{len(action.parts):,} actions imported",
        "erased": "erased",
    }
    return sentences[action.kind]


def _speaks_of(entry: Entry, person_ids: set[int]) -> bool:
    actions = [entry.action, *entry.action.parts]
    return any({action.person, action.other} & person_ids for action in actions)


def _day(seconds: float) -> str:
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)).date().isoformat()


def _moment_text(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


# ── albums and moments ────────────────────────────────────────────────────────────────────────


def album_json(album: Album) -> dict[str, Any]:
    """An album: its query, or how many photos were put into it."""
    kept = {"photos": len(album.photo_ids)} if album.query is None else {"query": album.query}
    return {"name": album.name, **kept, "made_at": album.made_at, "made_by": album.made_by}


def moment_json(number: int, moment: Moment) -> dict[str, Any]:
    """A moment of a shoot, and what is proposed for its shots (docs/culling.md)."""
    return {
        "moment": number,
        "taken_at": moment.taken_at,
        "shots": [_shot_json(verdict) for verdict in moment.verdicts],
        "series": [{"kind": one.kind, "photo_ids": list(one.members)} for one in moment.series],
    }


def _shot_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "photo_id": verdict.shot.photo.photo_id,
        "path": display_path(verdict.shot.photo.path),
        "files": [display_path(photo.path) for photo in verdict.shot.photos],
        "role": verdict.role,
        "rank": verdict.rank,
        "score": verdict.score,
        "signals": verdict.signals,
        "reasons": list(verdict.reasons),
    }


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────


def job_json(job: Job) -> dict[str, Any]:
    """How far a piece of ordered work is."""
    names = ("job_id", "kind", "state", "total", "done", "failed", "message", "created_at", "finished_at")
    return {name: getattr(job, name) for name in names}
