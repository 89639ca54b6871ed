"""What a person sees on a terminal: progress, tables, durations. Builds text; prints nothing.

What comes from the file system or a decoder is `escaped` before it is shown, and goes to rich as
`Text`: a `str` would be read as markup, and a photo may be named `photo [copy].jpg`.
"""

from __future__ import annotations

import datetime
import itertools
import json
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.style import Style
from rich.table import Table
from rich.text import Text

from catalogd.json_forms import valid_text
from catalogd.records import Place, Region, Sidecar, display_path, tagged_by

if TYPE_CHECKING:
    from catalogd.daemon import Progress
    from catalogd.models.hub import Plan
    from catalogd.records import Facts, Failure, Hit, Output, Record, UserFacts
    from catalogd.sync.report import Tally

_BAR_WIDTH = 28
_FACT_LABEL_WIDTH, _TAG_LABEL_WIDTH = 18, 30
_MOST_VALUE_CHARS = 200  # of a property in a list of changes
_NEARLY_FULL = 0.9  # of its bound: the store of thumbnails trims its folders to a little more
_ZONES = {"gps": " (zone by GPS)", "local": " (zone unknown)"}
_ADVICE = {
    "unreadable": "open it in another program; restore it from a backup if that fails too",
    "unsupported": "this format, or this variant of it, can't be decoded here; convert a copy",
    "too_large": "raise the setting that the message names, then `catalogd retry`",
    "changed": "it was being written; `catalogd retry` when that is done",
    "timeout": "raise read_deadline_s if the disk is slow, then `catalogd retry`",
    "crashed": "a decoder died of it; `catalogd retry` after an update of the decoders",
}


def escaped(text: str | bytes) -> str:
    """A path or message that can't move the cursor: control characters are shown as escapes, on one line."""
    valid = display_path(text) if isinstance(text, bytes) else valid_text(text)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in valid)


def duration(seconds: float) -> str:
    """7 s, 12 min, 3 h 20 min, 2 d 4 h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min" if minutes >= 10 else f"{minutes} min {whole % 60} s"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def byte_size(count: float) -> str:
    """512 B, 1.4 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def progress_line(progress: Progress) -> str:
    """One plain line, for logs and pipes."""
    so_far = " so far" if progress.scanning else ""
    parts = [f"{_state(progress)}: {progress.done:,}/{progress.total:,} photos{so_far}"]
    if progress.state == "indexing" and progress.total:
        parts.append(f"{progress.rate:.1f} photos/s")
        if progress.eta_s:
            parts.append(f"ETA {duration(progress.eta_s)}")
        parts.append(f"limit: {progress.limit}")
        parts.append(f"ring {progress.ring_used}/{progress.ring_slots}")
    parts += _counts(progress)
    return ", ".join(parts)


def _state(progress: Progress) -> str:
    """The first loading of some models takes minutes: which one it is, is said."""
    names = ", ".join(map(escaped, progress.loading))
    return f"{progress.state} {names}" if progress.state == "loading" and names else progress.state


def _counts(progress: Progress) -> list[str]:
    named = (("failed", progress.failed), ("moved", progress.moved), ("missing", progress.missing))
    counts = [f"{count:,} {name}" for name, count in named if count]
    if progress.unchanged:
        counts.append(f"{progress.unchanged:,} unchanged")
    if progress.sidecars:
        counts.append(f"{progress.sidecars:,} sidecars written")
    if progress.sidecars_refused:
        counts.append(f"{progress.sidecars_refused:,} sidecars refused")
    if progress.thumbnails_failed:
        counts.append(f"{progress.thumbnails_failed:,} without a thumbnail")
    if progress.search_model is not None:
        counts.append(f"new search model: {progress.search_model:.0%} of photos")
    counts += [f"model {escaped(name)} failed on {count:,}" for name, count in progress.model_errors.items()]
    counts += _devices(progress)
    return counts + [f"offline: {escaped(path)}" for path in progress.offline]


def _devices(progress: Progress) -> list[str]:
    """What each device did; nothing where there is only the CPU."""
    devices = progress.devices
    if [device.label for device in devices] == ["cpu"]:
        return []
    return [f"{one.label} {one.photos:,} photos in {duration(one.busy_s)}" for one in devices]


def progress_view(progress: Progress) -> Group:
    """The two lines of a run on a terminal."""
    top = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(1, progress.total), completed=progress.done, width=_BAR_WIDTH)
    top.add_row(
        Text(_state(progress), style="bold"),
        bar,
        f"{progress.done:,}/{progress.total:,}{'+' if progress.scanning else ''}",
        f"{progress.rate:.1f} photos/s",
        f"ETA {duration(progress.eta_s)}" if progress.eta_s and progress.rate else "",
    )
    below = [
        f"limit: {progress.limit}",
        f"ring {progress.ring_used}/{progress.ring_slots}",
        *_counts(progress),
    ]
    return Group(top, Text("  " + " · ".join(below), style="dim"))


def summary(progress: Progress) -> list[str]:
    """What a run did, in a line or three."""
    indexed = progress.done - progress.failed - progress.moved
    pace = f" ({indexed / progress.elapsed_s:.1f} photos/s)" if indexed and progress.elapsed_s else ""
    lines = [f"{indexed:,} photos indexed in {duration(progress.elapsed_s)}{pace}"]
    lines[0] += "".join(f", {text}" for text in _counts(progress))
    if progress.failed:
        lines.append("see `catalogd failures` for what failed and why")
    lines += [
        f"{escaped(name)} is missing on {count:,} photos: the next run makes it"
        for name, count in progress.left.items()
    ]
    return lines + [escaped(news) for news in progress.said]


def synced_lines(row: dict[str, Any]) -> list[str]:
    """One sidecar of `catalogd sync xmp --dry-run`: what would change, property by property."""
    lines = [f"{escaped(row['path'])}: {row['state'].replace('_', ' ')}"]
    lines += [f"  {escaped(row['reason'])}"] if row["reason"] else []
    for change in row["differences"]:
        for sign, value in (("-", change["before"]), ("+", change["after"])):
            if value is not None:
                lines.append(f"  {sign} {escaped(change['name'])}: {_short(value)}")
    return lines


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = escaped(text)
    return shown if len(shown) <= _MOST_VALUE_CHARS else f"{shown[:_MOST_VALUE_CHARS]}… ({len(shown):,})"


def sync_summary(tally: Tally, run: str | None, is_dry: bool) -> list[str]:
    """What `catalogd sync` did, which sidecars it refused and why, and how to take it back."""
    names = {"written": "to write", "created": "to create"} if is_dry else {}
    counts = ", ".join(
        f"{count:,} {names.get(kind, kind.replace('_', ' '))}" for kind, count in sorted(tally.counts.items())
    )
    pace = f" ({tally.total / tally.took_s:.0f}/s)" if tally.took_s and tally.total else ""
    lines = [f"{tally.total:,} sidecars in {duration(tally.took_s)}{pace}: {counts or 'nothing to do'}"]
    lines += [f"refused: {escaped(path)}: {escaped(reason)}" for path, reason in tally.refusals]
    if (more := tally.counts["refused"] - len(tally.refusals)) > 0:
        lines.append(f"refused: {more:,} more; --json names them all")
    if run is not None:
        lines.append(f"`catalogd sync xmp --undo {run}` takes it back")
    return lines


def thumbnail_lines(report: dict[str, Any]) -> list[str]:
    """What `catalogd thumbs` says: what was done, what there is, what is missing."""
    lines = []
    if "freed" in report:
        lines.append(f"removed {report['freed']:,} thumbnails, {byte_size(report['freed_bytes'])}")
    if "made" in report:
        failed = f"; {report['not_made']:,} photos could not be read" if report["not_made"] else ""
        lines.append(f"made {report['made']:,} thumbnails{failed}")
    size = f"{byte_size(report['bytes'])} of at most {byte_size(report['max_bytes'])}"
    lines.append(f"{report['count']:,} thumbnails, {size}, in {report['folder']}")
    if report["bytes"] > _NEARLY_FULL * report["max_bytes"]:
        lines.append("the store is nearly full, the oldest go first: thumbnail_store_bytes is its bound")
    if report["missing"] and "made" not in report:
        lines.append(f"{report['missing']:,} photos have none; `catalogd thumbs --fill` makes them")
    return lines


def hits_table(hits: list[Hit], links: bool) -> Table:
    """Hits, best first, with why."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("score", justify="right")
    table.add_column("photo", overflow="fold")
    table.add_column("why", overflow="fold", style="dim")
    for hit in hits:
        path = Text(escaped(hit.path))
        if links:
            path.stylize(Style(link="file://" + urllib.parse.quote(hit.path)))
        why = Text("; ".join(signal_text(signal) for signal in hit.signals))
        table.add_row(f"{hit.score:.2f}", path, why)
    return table


def signal_text(signal: Any) -> str:
    matched = f" ({escaped(', '.join(signal.matched))})" if signal.matched else ""
    if signal.name == "meaning":
        return f"meaning {signal.score:.2f}"
    return "filter" if signal.name == "filter" else f"{signal.name}{matched}"


def failures_table(failures: list[Failure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("photo", "stage", "reason", "tries", "what happened", "what to do"):
        table.add_column(title, overflow="fold")
    for failure in failures:
        table.add_row(
            Text(escaped(failure.path)),
            Text(escaped(failure.stage)),
            Text(escaped(failure.reason)),
            str(failure.tries),
            Text(escaped(failure.message)),
            Text(_ADVICE.get(failure.reason, "`catalogd retry` tries it again")),
        )
    return table


def plan_line(plan: Plan) -> str:
    """What of a model will be fetched, from where, under which licence."""
    begun = plan.size_bytes - plan.missing_bytes
    parts = [
        f"{plan.bundle.id}: {byte_size(plan.size_bytes)} in {len(plan.files)} files",
        f"{plan.bundle.repo} at {plan.commit[:12]}",
        f"licence {plan.bundle.licence}" + (f" (the hub says {plan.licence})" if plan.licence else ""),
        *([f"{byte_size(begun)} of it are here"] if begun else []),
    ]
    return ", ".join(parts)


def record_text(record: Record) -> Text:
    """Everything the catalog keeps of one photo, with the model that made each part."""
    text = Text()
    text.append(f"{escaped(record.path)}\n", style="bold")
    facts = record.facts
    _line(text, "photo_id", str(record.photo_id))
    _line(text, "file", f"{facts.format}, {facts.width}×{facts.height} px, {byte_size(record.stat.size)}")
    _line(text, "read by", facts.path_taken + (", file is truncated" if facts.truncated else ""))
    for label, value in _camera_lines(facts):
        _line(text, label, value)
    for label, value in _said_lines(record):
        _line(text, label, value)
    if record.missing_since:
        since = datetime.datetime.fromtimestamp(record.missing_since).isoformat(" ", "minutes")
        _line(text, "missing", f"the file has been gone since {since}")
    counting = tagged_by(record.outputs)
    for name, output in record.outputs.items():
        text.append(escaped(name), style="bold")
        text.append(f"  {escaped(output.fingerprint)}\n", style="dim")
        for label, value in _output_lines(output):
            if label != "tags" or name in counting:
                _line(text, label, value)
    return text


def groups_text(groups: dict[str, Any]) -> Text:
    """The people, the stack, the burst and the session of a photo, as `catalogd show --json` has them."""
    text = Text()
    named = {face["name"]: f":{face['face']}" for face in reversed(groups["faces"]) if face["name"]}
    _line(text, "people", ", ".join(f"{name} {named.get(name, '')}".strip() for name in groups["people"]))
    for kind in ("stack", "burst"):
        if group := groups[kind]:
            _line(text, kind, f"{len(group['photo_ids'])} photos, cover {group['cover_path']}")
    _line(text, "film", groups["film"] or "")
    if session := groups["session"]:
        on_trip = ", on a trip" if session["trip_id"] else ""
        when = _period(session["start"], session["end"])
        _line(text, "session", f"{when}, {session['photos']:,} photos{on_trip}")
    return text


def timeline_table(outings: list[dict[str, Any]]) -> Table:
    """Trips and sessions, or bursts, by time."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (("when", "left"), ("what", "left"), ("photos", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for title in ("where", "in it", "cover"):
        table.add_column(title, overflow="fold")
    for outing in outings:
        counts = [(outing.get(name, 0), name) for name in ("stacks", "bursts")]
        table.add_row(
            _period(outing["start"], outing["end"]),
            outing["kind"],
            f"{outing['photos']:,}",
            Text(escaped(", ".join(outing.get("places", ())))),
            ", ".join(f"{count:,} {name if count > 1 else name[:-1]}" for count, name in counts if count),
            Text(escaped(outing["cover_path"])),
        )
    return table


def _period(start: str, end: str) -> str:
    """2023-06-01 10:00 – 14:30, 2023-06-01 – 2023-06-09: of two times in ISO 8601."""
    day, last_day = start[:10], end[:10]
    if day != last_day:
        return f"{day} – {last_day}"
    return f"{day} {start[11:16]}" + (f" – {end[11:16]}" if end[11:16] != start[11:16] else "")


def tags_text(record: Record, tags: Iterable[tuple[str, str, str]], problem: str) -> Text:
    """What the catalog knows from a photo's metadata, then the metadata itself, group by group."""
    text = Text()
    text.append(f"{escaped(record.path)}\n", style="bold")
    for label, value in _fact_lines(record.facts):
        _line(text, label, value, _FACT_LABEL_WIDTH)
    if problem:
        text.append(f"the tags of the file can't be shown: {escaped(problem)}\n")
    for group, rows in itertools.groupby(tags, key=lambda tag: tag[0]):
        text.append(f"{escaped(group)}\n", style="bold")
        for _, name, value in rows:
            _line(text, escaped(name), value, _TAG_LABEL_WIDTH)
    return text


def _fact_lines(facts: Facts) -> Iterator[tuple[str, str]]:
    """Each fact that is known, by the name it has in JSON and in the documentation."""
    for name in facts.__struct_fields__:
        value = getattr(facts, name)
        if value is not None and value != ():
            yield name, _fact_text(value)


def _fact_text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_fact_text, value))
    if isinstance(value, Region):
        return f"{value.kind} {value.name} at {_box(value.box)}"
    if isinstance(value, Place):
        names = (value.nearest, value.city, value.region, value.country)
        return ", ".join(dict.fromkeys(filter(None, names)))
    if isinstance(value, Sidecar):
        return escaped(value.name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _line(text: Text, label: str, value: str, width: int = 15) -> None:
    if value:
        text.append(f"  {label + ' ':<{width}}", style="dim")
        text.append(f"{escaped(value)}\n")


def _camera_lines(facts: Facts) -> Iterator[tuple[str, str]]:
    """The camera and how it was set."""
    serial = f"serial {facts.camera_serial}" if facts.camera_serial else None
    focal = f"{facts.focal_mm:g} mm" if facts.focal_mm else None
    same_picture = f"{facts.focal_35mm:g} mm on 36×24" if facts.focal_35mm else None
    yield "camera", _listed(facts.camera, serial)
    yield "lens", _listed(facts.lens, focal, same_picture)
    yield (
        "exposure",
        _listed(
            _shutter(facts.exposure_s) if facts.exposure_s else None,
            f"f/{facts.aperture:g}" if facts.aperture else None,
            f"ISO {facts.iso}" if facts.iso else None,
            f"{facts.exposure_bias_ev:+.2g} EV" if facts.exposure_bias_ev else None,
            None if facts.flash is None else "flash" if facts.flash else "no flash",
            f"{facts.metering} metering" if facts.metering else None,
            f"{facts.white_balance} white balance" if facts.white_balance else None,
        ),
    )
    yield "colour space", facts.colour_space or ""
    yield "software", facts.software or ""


def _said_lines(record: Record) -> Iterator[tuple[str, str]]:
    """What the file and its sidecars say, and over it what a person set in another program, by name."""
    in_file = {*_scene_lines(record.facts), *_person_lines(record.facts)}
    for label, value in (*_scene_lines(record.said), *_person_lines(record.said)):
        is_theirs = record.user is not None and value and (label, value) not in in_file
        yield label, f"{value}  ({_program(record.user)})" if is_theirs and record.user else value
    if record.user is not None:
        yield from _user_lines(record.user)


def _program(user: UserFacts) -> str:
    """A program by the name it has for people."""
    return user.source[:1].upper() + user.source[1:]


_EMPTIED = {"rating": "stars", "pick": "flag", "latitude": "position"}


def _user_lines(user: UserFacts) -> Iterator[tuple[str, str]]:
    """What else was set in another program."""
    flag = {1: "picked", -1: "rejected"}.get(user.pick or 0, "")
    stack = f"{user.stack[1]} in its stack" if user.stack else ""
    words = {
        "flag": flag,
        "stars": f"{user.rating} of 5, but rejected" if user.pick == -1 and user.rating else "",
        "synonyms": ", ".join(user.synonyms),
        "collections": ", ".join(user.collections),
        "stacked": stack,
        "developed": ", ".join(user.develop).replace("_", " "),
        "taken out": ", ".join(_EMPTIED.get(name, name) for name in user.emptied),
    }
    for label, value in words.items():
        if value:
            yield label, f"{value}  ({_program(user)})"
    for copy in user.copies:
        yield "virtual copy", _listed(copy.copy_name or copy.uuid, *_words_of_copy(copy))


def _words_of_copy(copy: UserFacts) -> Iterator[str]:
    yield f"{copy.rating} of 5" if copy.rating else ""
    yield {1: "picked", -1: "rejected"}.get(copy.pick or 0, "")
    yield from (copy.label or "", copy.title or "", copy.caption or "", *copy.keywords)


def _scene_lines(facts: Facts) -> Iterator[tuple[str, str]]:
    """When, where and what kind of picture."""
    if facts.taken_at:
        yield "taken", facts.taken_at.replace("T", " ") + _ZONES.get(facts.zone or "", "")
    if place := facts.place:
        nearest = f"{place.nearest} ({place.distance_km:g} km)" if place.distance_km else place.nearest
        city = place.city if place.city != place.nearest else ""
        yield "place", _listed(nearest, city, place.region, place.country)
    if facts.latitude is not None and facts.longitude is not None:
        yield (
            "position",
            _listed(
                f"{facts.latitude:.5f}, {facts.longitude:.5f}",
                f"{facts.altitude_m:.0f} m above the sea" if facts.altitude_m is not None else None,
                f"towards {facts.direction_deg:.0f}°" if facts.direction_deg is not None else None,
            ),
        )
    yield "marks", ", ".join(facts.marks)
    yield "burst", facts.burst_id or ""
    yield "live photo", facts.live_photo_id or ""


def _person_lines(facts: Facts) -> Iterator[tuple[str, str]]:
    """What a person, or a program for them, wrote into the file or beside it."""
    yield "title", facts.title or ""
    yield "caption", facts.caption or ""
    yield "keywords", ", ".join((*facts.keywords, *facts.keyword_paths))
    yield "people", ", ".join(facts.people)
    for region in facts.regions:
        yield "marked", f"{_listed(region.kind, region.name)} at {_box(region.box)}"
    if facts.rating is not None:
        yield "rating", "rejected" if facts.rating < 0 else f"{facts.rating} of 5"
    yield "label", facts.label or ""
    yield "creator", facts.creator or ""
    yield "copyright", facts.copyright or ""
    yield "sidecars", ", ".join(display_path(sidecar.name) for sidecar in facts.sidecars)


def _listed(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _shutter(seconds: float) -> str:
    return f"1/{round(1 / seconds)} s" if seconds < 0.5 else f"{seconds:g} s"


def _output_lines(output: Output) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if output.error:
        lines.append(("failed", output.error))
    if output.gate:
        lines.append(("left out", output.gate))
    if output.caption:
        lines.append(("caption", output.caption))
    lines += [("answer", f"{one.question} {one.answer}") for one in output.answers or ()]
    if output.aesthetics is not None:
        lines.append(("aesthetics", f"{output.aesthetics:.1f} of 10"))
    for label, embedding in (("embedding", output.embedding), ("joint space", output.joint_embedding)):
        if embedding is not None:
            lines.append((label, f"{len(embedding) // 2} dimensions"))
    if output.tags is not None:
        lines.append(("tags", ", ".join(f"{tag.name} {tag.score:.2f}" for tag in output.tags)))
    if output.faces is not None:
        lines.append(("faces", str(len(output.faces))))
        lines += [
            ("", f"{face.score:.2f} at {_box(face.box)}, quality {face.quality:.2f}") for face in output.faces
        ]
    for line in output.text_lines or ():
        lines.append(("text", f"{line.text!r} {line.score:.2f}"))
    for found in output.objects or ():
        lines.append(("object", f"{found.name} {found.score:.2f} at {_box(found.box)}"))
    if output.quality is not None:
        lines += [(name, f"{getattr(output.quality, name):.3g}") for name in _QUALITY_SHOWN]
        if output.quality.brisque is not None:
            lines.append(("brisque", f"{output.quality.brisque:.1f}"))
    return lines


_QUALITY_SHOWN = ("sharpness", "brightness", "contrast", "noise", "colourfulness")


def _box(box: tuple[float, ...]) -> str:
    return "×".join(f"{value:.2f}" for value in box)
