"""`catalogd show`, `timeline` and `thumbs`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from catalogd.cli.base import (
    FAILED_EXIT,
    INTERRUPTED_EXIT,
    LoadSettings,
    cli,
    console,
    echo,
    locked_catalog,
    open_catalog,
    print_json,
    record_of,
)
from catalogd.errors import UsageError

if TYPE_CHECKING:
    import datetime

    from catalogd.catalog import Catalog
    from catalogd.records import Record
    from catalogd.settings import Settings


@cli.command()
@click.argument("photo")
@click.option(
    "--exif", "with_tags", is_flag=True, help="All facts, then every tag that the file itself holds."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def show(load: LoadSettings, photo: str, with_tags: bool, as_json: bool) -> None:
    """Everything the catalog keeps of PHOTO (a path or a photo_id), with the model that made each field.

    With --exif what the catalog knows from the file's metadata, then the metadata itself, read now:
    EXIF, maker note, IPTC, XMP and text.
    """
    from catalogd.json_forms import groups_json, record_json

    settings = load()
    record = record_of(settings, photo)
    if with_tags:
        _print_tags(record, settings, as_json)
        return
    with open_catalog(settings) as catalog:
        groups = groups_json(catalog, record)
    if as_json:
        print_json({**record_json(record), **groups})
    else:
        from catalogd import terminal

        console().print(terminal.record_text(record))
        console().print(terminal.groups_text(groups), end="")


def _print_tags(record: Record, settings: Settings, as_json: bool) -> None:
    from catalogd import terminal

    tags, problem = _read_tags(record.path, settings)
    if as_json:
        from catalogd.json_forms import record_json

        plain = record_json(record)
        rows = [{"group": group, "name": name, "value": value} for group, name, value in tags]
        kept: dict[str, Any] = {key: plain[key] for key in ("photo_id", "path", "facts")}
        print_json({**kept, "tags": rows, "problem": problem or None})
    else:
        console().print(terminal.tags_text(record, tags, problem))


def _read_tags(path: bytes, settings: Settings) -> tuple[list[tuple[str, str, str]], str]:
    """Every tag of the file as group, name and value, and why there are none when it can't be read."""
    from catalogd.errors import PhotoError
    from catalogd.images import open_blocks
    from catalogd.metadata.tags import list_tags

    try:
        with open_blocks(path, settings) as blocks:
            return list(list_tags(blocks)), ""
    except PhotoError as error:
        return [], str(error)


# ── timeline ──────────────────────────────────────────────────────────────────────────────────


@cli.command()
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m", "%Y"]),
    metavar="DATE",
    help="Leave out what ended before 2023, 2023-06 or 2023-06-18.",
)
@click.option("--bursts", is_flag=True, help="The bursts instead of trips and sessions.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a trip, session or burst.")
@click.pass_obj
def timeline(load: LoadSettings, since: datetime.datetime | None, bursts: bool, as_json: bool) -> None:
    """Trips, and sessions at home, by time: where, how many photos, and one to show for it.

    A session is photos without a long pause between them; a trip is sessions away from home. Exit
    code 1 when there are none.
    """
    with open_catalog(load()) as catalog:
        rows = _burst_rows(catalog, since) if bursts else _outing_rows(catalog, since)
        what = "bursts" if bursts else "photos with a date"
        reason = "" if rows else _why_no_timeline(catalog, what, since)
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        from catalogd import terminal

        console().print(terminal.timeline_table(rows))
    if reason:
        click.echo(reason, err=True)
        sys.exit(1)


def _outing_rows(catalog: Catalog, since: datetime.datetime | None) -> list[dict[str, Any]]:
    import msgspec

    from catalogd.catalog.timeline import clock_s
    from catalogd.records import display_path

    outings = catalog.timeline.outings(None if since is None else clock_s(since.isoformat()))
    return [
        {**msgspec.structs.asdict(outing), "cover_path": display_path(outing.cover_path)}
        for outing in outings
    ]


def _burst_rows(catalog: Catalog, since: datetime.datetime | None) -> list[dict[str, Any]]:
    from catalogd.records import display_path

    bursts = list(catalog.timeline.bursts())
    covers = catalog.records([burst.cover for burst in bursts])
    rows = [
        {
            "kind": "burst",
            "burst_id": burst.burst_id,
            "start": cover.facts.taken_at or "",
            "end": cover.facts.taken_at or "",
            "photos": len(burst.photo_ids),
            "photo_ids": burst.photo_ids,
            "cover": burst.cover,
            "cover_path": display_path(cover.path),
        }
        for burst, cover in zip(bursts, covers, strict=True)
        if cover and (since is None or (cover.facts.taken_at or "") >= since.isoformat())
    ]
    return sorted(rows, key=lambda row: (row["start"], row["burst_id"]))


def _why_no_timeline(catalog: Catalog, what: str, since: datetime.datetime | None) -> str:
    if not catalog.counts().indexed:
        return "there are no photos yet: `catalogd run FOLDER` indexes some"
    if not catalog.timeline.is_made():
        return "no time line yet: a run makes it when it has a moment, `catalogd rebuild timeline` now"
    return f"there are no {what}" + (f" since {since:%Y-%m-%d}" if since else "")


# ── thumbs ────────────────────────────────────────────────────────────────────────────────────


@cli.command()
@click.option("--fill", is_flag=True, help="Make those that are missing; reads the photos, runs no models.")
@click.option("--all", "afresh", is_flag=True, help="With --fill: make all again, as the settings say now.")
@click.option(
    "--prune", is_flag=True, help="Remove those of photos the catalog no longer has, and enforce the bound."
)
@click.option("--path", "photo", metavar="PHOTO", help="Print the file of this photo's thumbnail.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def thumbs(
    load: LoadSettings, fill: bool, afresh: bool, prune: bool, photo: str | None, as_json: bool
) -> None:
    """The store of thumbnails: how many, how large, how many photos have none.

    Runs make them while they read. After a change of the thumbnail settings the old ones stay until
    `--fill --all`. Exit code 3 when some photos could not be read, 130 when interrupted, which keeps
    what was made; 1 when PHOTO has no thumbnail.
    """
    if photo is not None and (fill or prune):
        raise UsageError("--path goes with neither --fill nor --prune")
    if afresh and not fill:
        raise UsageError("--all goes with --fill")
    settings = load()
    if photo is not None:
        _print_thumbnail_path(settings, photo, as_json)
        return
    report: dict[str, Any] = {}
    code = 0
    if prune:
        report |= _prune_thumbnails(settings)
    if fill:
        code, made = _fill_thumbnails(settings, afresh, quiet=as_json)
        report |= made
    _print_thumbnails({**_thumbnail_report(settings), **report}, as_json)
    sys.exit(code)


def _print_thumbnail_path(settings: Settings, photo: str, as_json: bool) -> None:
    from catalogd.records import display_path
    from catalogd.thumbnails import ThumbnailStore

    record = record_of(settings, photo)
    found = ThumbnailStore(settings).path_of(record.content)
    if as_json:
        print_json({"path": display_path(record.path), "thumbnail": str(found) if found else None})
    elif found:
        sys.stdout.buffer.write(os.fsencode(found) + b"\n")
    else:
        click.echo("no thumbnail; `catalogd thumbs --fill` makes those that are missing", err=True)
    if found is None:
        sys.exit(1)


def _prune_thumbnails(settings: Settings) -> dict[str, Any]:
    from catalogd.thumbnails import ThumbnailStore

    with locked_catalog(settings) as catalog:
        freed = ThumbnailStore(settings).prune({content for content, _ in catalog.contents()})
    return {"freed": freed.count, "freed_bytes": freed.size_bytes}


def _fill_thumbnails(settings: Settings, afresh: bool, quiet: bool) -> tuple[int, dict[str, Any]]:
    """Exit code, and how many were made and could not be made."""
    from catalogd.daemon.filling import fill_thumbnails, lacking_contents
    from catalogd.thumbnails import ThumbnailStore

    made = failed = interrupted = 0
    try:
        with locked_catalog(settings) as catalog, contextlib.ExitStack() as stack:
            if afresh:
                wanted = {content for content, _ in catalog.contents(with_missing=False)}
            else:
                wanted = lacking_contents(catalog, ThumbnailStore(settings))
            tries = contextlib.closing(fill_thumbnails(catalog, settings, wanted, afresh))
            shown = io.StringIO() if quiet else sys.stderr
            bar = click.progressbar(stack.enter_context(tries), len(wanted), "thumbnails", file=shown)
            for has_one in stack.enter_context(bar):
                made, failed = made + has_one, failed + (not has_one)
    except KeyboardInterrupt:
        interrupted = INTERRUPTED_EXIT
    return interrupted or (FAILED_EXIT if failed else 0), {"made": made, "not_made": failed}


def _thumbnail_report(settings: Settings) -> dict[str, Any]:
    from catalogd.thumbnails import ThumbnailStore

    store = ThumbnailStore(settings)
    sizes = store.sizes()
    with open_catalog(settings) as catalog:
        contents = catalog.contents(with_missing=False)
    return {
        "count": len(sizes),
        "bytes": sum(sizes.values()),
        "max_bytes": store.max_bytes,
        "photos": len(contents),
        "missing": sum(content not in sizes for content, _ in contents),
        "folder": str(store.folder),
    }


def _print_thumbnails(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    from catalogd import terminal

    for line in terminal.thumbnail_lines(report):
        echo(line)
