"""`catalogd import lightroom`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from catalogd.cli.base import (
    FAILED_EXIT,
    PLAIN_LINE_EVERY_S,
    LoadSettings,
    cli,
    complain,
    echo,
    print_json,
)
from catalogd.errors import CatalogMissingError, LightroomError, UsageError

if TYPE_CHECKING:
    from catalogd.settings import Settings
    from catalogd.sync.lightroom import PathMap, Report

WATCH_EVERY_S = 2.0  # how often the file and its log are looked at: one stat each
QUIET_S = 5.0  # without a change before a catalog is read again: Lightroom writes in bursts
MOST_LISTED = 10  # rules, root folders and photos that are named one by one

# ── import ────────────────────────────────────────────────────────────────────────────────────


@cli.group(name="import")
def import_group() -> None:
    """Take in what people set in other programs."""


@import_group.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.lrcat")
@click.option("--dry-run", is_flag=True, help="Show what would be taken in; change nothing.")
@click.option("--watch", is_flag=True, help="Import again whenever Lightroom has written, until Ctrl-C.")
@click.option(
    "--map",
    "mappings",
    metavar="FROM=TO",
    multiple=True,
    help="Photos below FROM in Lightroom are below TO here: D:/Photos=/mnt/photos. As often as needed.",
)
@click.option(
    "--forget", is_flag=True, help="Take back all that this catalog gave; files' words count again."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object an import.")
@click.pass_obj
def lightroom(
    load: LoadSettings,
    /,
    file: Path,
    dry_run: bool,
    watch: bool,
    mappings: tuple[str, ...],
    forget: bool,
    as_json: bool,
) -> None:
    """Take in what you set in Lightroom Classic: ratings, flags, labels, keywords, people, collections, …

    FILE.lrcat is only read, also while Lightroom is open, and nothing is left beside it. What you set there
    counts before what the photos' files say. Importing again takes in what changed. Exit code 3 when some
    photos were refused.
    """
    from catalogd.sync.lightroom import PathMap

    settings, paths = load(), PathMap.read(mappings)
    if forget:
        if watch or mappings:
            raise UsageError("--forget takes neither --watch nor --map")
        _forget(settings, file, dry_run, as_json)
    elif watch:
        if dry_run:
            raise UsageError("--watch imports; leave it out to see what --dry-run would take in")
        _watch(settings, file, paths, as_json)
    else:
        sys.exit(FAILED_EXIT if _import(settings, file, paths, dry_run, as_json).refused else 0)


def _import(settings: Settings, file: Path, paths: PathMap, dry_run: bool, as_json: bool) -> Report:
    from catalogd.run_state import read_status
    from catalogd.sync.lightroom import import_catalog

    progress = _Progress()
    try:
        report = import_catalog(
            file,
            settings.catalog,
            paths,
            dry_run=dry_run,
            libraries=(read_status(settings.catalog) or {}).get("roots", ()),
            tell=progress.show,
        )
    finally:
        progress.end()
    _print_report(report, as_json)
    if not dry_run and (report.taken or report.removed or report.collections_changed):
        _let_records_follow(settings)
    return report


def _let_records_follow(settings: Settings) -> None:
    """A run does so by itself within seconds; without one this process does."""
    from catalogd.run_state import is_running
    from catalogd.sync.following import follow_user_data

    try:
        if is_running(settings.catalog):
            click.echo("the run that is alive takes it into its records now", err=True)
        elif not follow_user_data(settings, everything=True):
            complain("another catalogd command holds the catalog: the next run takes it into its records")
    except CatalogMissingError:
        click.echo("no photo is indexed yet: what was taken in waits for `catalogd run`", err=True)


def _forget(settings: Settings, file: Path, dry_run: bool, as_json: bool) -> None:
    from catalogd.sync.lightroom import forget_catalog

    count = forget_catalog(file, settings.catalog, dry_run)
    if as_json:
        print_json({"file": str(file), "forgotten": count, "dry_run": dry_run})
    else:
        would = "would be " if dry_run else ""
        echo(f"what Lightroom said of {count:,} photos and virtual copies {would}taken back")
    if not dry_run:
        _let_records_follow(settings)


def _watch(settings: Settings, file: Path, paths: PathMap, as_json: bool) -> None:
    """Import, wait until something was written and it is quiet again, import. Until KeyboardInterrupt."""
    from catalogd.sync.lightroom import real_file, state_of

    real = real_file(file)
    imported: object = None
    while True:
        state = _quiet_state(real) if imported is not None else state_of(real)
        if state != imported:
            started = time.monotonic()
            try:
                _import(settings, file, paths, dry_run=False, as_json=as_json)
            except (LightroomError, UsageError) as error:
                if imported is None:
                    raise
                complain(str(error))  # it is being copied, restored, optimised: the next state may be whole
            imported = state
            click.echo(f"watching {file}: Ctrl-C ends", err=True)
            time.sleep(time.monotonic() - started)  # half of the time is left to others
        time.sleep(WATCH_EVERY_S)


def _quiet_state(real: Path) -> object:
    """The state of the file once it has not changed for a while."""
    from catalogd.sync.lightroom import state_of

    state, since = state_of(real), time.monotonic()
    seen = state
    while time.monotonic() - since < QUIET_S and seen == state:
        time.sleep(WATCH_EVERY_S / 4)
        seen = state_of(real)
        if seen != state:
            state, since = seen, time.monotonic()
    return state


# ── output ────────────────────────────────────────────────────────────────────────────────────


class _Progress:
    """Images read, on stderr: in place on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._every_s = 0.2 if self._live else PLAIN_LINE_EVERY_S
        self._next = self._start + self._every_s

    def show(self, done: int, total: int) -> None:
        from catalogd import terminal

        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every_s
        rate = done / (now - self._start)
        left = f", {terminal.duration((total - done) / rate)} left" if done and done < total else ""
        line = f"{done:,}/{total:,} images, {rate:,.0f}/s{left}"
        click.echo(f"\r{line}\033[K" if self._live else line, err=True, nl=not self._live)

    def end(self) -> None:
        if self._live:
            click.echo("\r\033[K", err=True, nl=False)


def _print_report(report: Report, as_json: bool) -> None:
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(report))
        return
    for label, value in _lines(report):
        echo(f"{label:<14}{value}")


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    """The summary: label and value."""
    yield "catalog", f"{report.file}{' (dry run: nothing was changed)' if report.dry_run else ''}"
    videos = f"; {_counted(report.videos, 'video')} left out" if report.videos else ""
    yield (
        "photos",
        f"{report.photos:,}, and {_counted(report.copies, 'virtual copy', 'virtual copies')}{videos}",
    )
    yield (
        "taken in",
        f"{report.taken:,} new or changed, {report.unchanged:,} as before"
        + (f", {report.removed:,} taken back that are gone from Lightroom" if report.removed else ""),
    )
    yield (
        "files",
        f"{report.in_catalog:,} indexed, {report.waiting:,} to be indexed, {report.not_found:,} not found",
    )
    yield "set on them", f"{report.ratings:,} rated, {report.flags:,} flagged, {report.labels:,} labelled"
    yield (
        "",
        ", ".join(
            (
                _counted(report.titles, "title"),
                _counted(report.captions, "caption"),
                f"{_counted(report.keywords, 'keyword')} on {_counted(report.keyworded, 'photo')}",
            )
        ),
    )
    yield (
        "",
        ", ".join(
            (
                _counted(report.people, "person", "people"),
                _counted(report.faces, "face"),
                _counted(report.positions, "position"),
                _counted(report.places, "place"),
            )
        ),
    )
    yield "", f"{report.stacked:,} in stacks, {report.developed:,} developed"
    yield from _collection_lines(report)
    yield from _root_lines(report)
    for uuid, reason in report.refused[:MOST_LISTED]:
        yield "refused", f"{uuid}: {reason}"
    for note in report.notes:
        yield "note", note
    yield "", f"{report.took_s:.1f} s"


def _counted(count: int, noun: str, plural: str = "") -> str:
    """`plural`: where it is not the noun with an s."""
    return f"1 {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"


def _collection_lines(report: Report) -> Iterator[tuple[str, str]]:
    done = [smart for smart in report.smart if smart.query is not None]
    left = [smart for smart in report.smart if smart.query is None]
    yield "collections", f"{report.collections:,}, and {len(done):,} of {len(report.smart):,} smart ones"
    for smart in left[:MOST_LISTED]:
        yield "", f"not translated: {smart.name} ({'; '.join(smart.untranslated)})"
    if len(left) > MOST_LISTED:
        yield "", f"not translated: {len(left) - MOST_LISTED:,} more (--json lists all)"


def _root_lines(report: Report) -> Iterator[tuple[str, str]]:
    for root in report.roots[:MOST_LISTED] if any(root.not_found for root in report.roots) else ():
        where = "" if root.folder in (None, root.path.rstrip("/")) else f" = {root.folder}"
        yield "folder", f"{root.path}{where}: {_counted(root.photos, 'photo')}, {root.not_found:,} not found"
        if root.suggestion:
            yield "", f"they seem to be in your library: --map '{root.suggestion}'"
        elif root.not_found and not root.exists:
            yield "", f"not on this machine: name its place with --map '{root.path.rstrip('/')}=/where/it/is'"
