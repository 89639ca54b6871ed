"""`catalogd sync`."""

from __future__ import annotations

import contextlib
import functools
import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from catalogd.cli.base import (
    FAILED_EXIT,
    INTERRUPTED_EXIT,
    PLAIN_LINE_EVERY_S,
    LoadSettings,
    QueryCommand,
    chosen_records,
    cli,
    open_catalog,
    print_json,
)
from catalogd.errors import UsageError

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.records import Record
    from catalogd.settings import Settings
    from catalogd.sync import Ledger, Options, Synced
    from catalogd.sync.report import Tally

# ── sync ──────────────────────────────────────────────────────────────────────────────────────


@cli.group()
def sync() -> None:
    """Write what the catalog knows beside the photos, for other programs."""


@sync.command(cls=QueryCommand)
@click.argument("what", nargs=-1, metavar="[QUERY|PATH]...")
@click.option("--dry-run", is_flag=True, help="Show what would change, property by property; write nothing.")
@click.option(
    "--fields",
    metavar="NAME,...",
    help="Only these: keywords, caption, title, rating, faces, place, scores, ocr.  "
    "[default: all but rating]",
)
@click.option(
    "--layout",
    type=click.Choice(["auto", "adobe", "extended", "both"]),
    default="auto",
    show_default=True,
    help="Names of new sidecars: IMG.xmp (adobe), IMG.EXT.xmp (extended); auto: the first for RAW alone.",
)
@click.option("--only-missing", is_flag=True, help="Leave properties alone that have a value already.")
@click.option("--backup", is_flag=True, help="Keep each sidecar as it was before catalogd's first write.")
@click.option(
    "--embed",
    is_flag=True,
    help="Write into JPEG, TIFF and DNG photos themselves, with a backup beside them.",
)
@click.option("--jobs", type=click.IntRange(1, 64), help="Worker processes.  [default: one a core]")
@click.option("--undo", is_flag=True, help="Take back what the last run wrote, or the RUN that is named.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sidecar that is not up to date.")
@click.pass_obj
def xmp(load: LoadSettings, /, what: tuple[str, ...], undo: bool, as_json: bool, **choices: Any) -> None:
    """Write XMP sidecars: of all photos, of those at or below some PATHs, or of those a QUERY finds.

    What people and other programs wrote stays; a sidecar where that is not certain is refused and not
    touched. Exit code 3 when some were refused, 130 when interrupted, which keeps what was written.
    """
    from catalogd.sync import Ledger

    settings = load()
    if undo:
        sys.exit(_undo_sync(settings, what, as_json))
    options = _sync_options(choices)
    ledger = None if options.dry_run else Ledger.start(settings.catalog)
    tally = _sync(settings, what, options, ledger, functools.partial(_tell_synced, options.dry_run, as_json))
    run = ledger.run if ledger and ledger.file.exists() else None
    _print_sync_summary(tally, as_json, run, options.dry_run)
    sys.exit(_sync_exit(tally, FAILED_EXIT if tally.counts["refused"] else 0))


@sync.command(name="status", cls=QueryCommand)
@click.argument("what", nargs=-1, metavar="[QUERY|PATH]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sidecar that is not in sync.")
@click.pass_obj
def sync_status(load: LoadSettings, what: tuple[str, ...], as_json: bool) -> None:
    """Which sidecars are in sync, to write, changed by others since, or refused, and why.

    Exit code 1 when any is not in sync.
    """
    tally = _sync(
        load(), what, _sync_options({"dry_run": True}), None, functools.partial(_tell_standing, as_json)
    )
    _print_sync_summary(tally, as_json)
    sys.exit(_sync_exit(tally, 1 if tally.total > tally.counts["in_sync"] else 0))


def _sync_exit(tally: Tally, code: int) -> int:
    return INTERRUPTED_EXIT if tally.interrupted else code


def _print_sync_summary(tally: Tally, as_json: bool, run: str | None = None, is_dry: bool = False) -> None:
    from catalogd import terminal

    for line in terminal.sync_summary(tally, run, is_dry):
        click.echo(line, err=as_json)


def _sync_options(choices: dict[str, Any]) -> Options:
    from catalogd.sync import FIELDS, Options

    given = {name: value for name, value in choices.items() if value is not None}
    if "fields" in given:
        given["fields"] = tuple(field.strip() for field in given["fields"].split(","))
        if strangers := set(given["fields"]) - set(FIELDS):
            raise UsageError(f"--fields: there is no {min(strangers)!r}; there are: {', '.join(FIELDS)}")
    return Options(**given)


# Prints what is to be told of one sidecar; returns what it counts as.
Tell = Callable[["Catalog", "Synced"], str]


def _sync(
    settings: Settings, what: tuple[str, ...], options: Options, ledger: Ledger | None, tell: Tell
) -> Tally:
    """Sync the chosen photos, with progress on stderr; Ctrl-C ends it after what is in hand."""
    from catalogd.sync import sync_records
    from catalogd.sync.report import Tally
    from catalogd.sync.telling import OwnWords, Told

    tally = Tally()
    with open_catalog(settings) as catalog, Told(settings, catalog) as told, _interruptible(tally):
        records, total = chosen_records(settings, catalog, what)
        progress = _SyncProgress(total)
        wanted = itertools.takewhile(lambda record: not tally.interrupted, records)
        own_of = OwnWords(settings, catalog, options.fields)
        run = sync_records(progress.counting(wanted), options, settings, ledger, own_of)
        with contextlib.closing(run) as done:
            for synced in done:
                tally.add(synced, tell(catalog, synced))
                told.add(synced)
                progress.show()
        tally.took_s = progress.end()
    return tally


@contextlib.contextmanager
def _interruptible(tally: Tally) -> Iterator[None]:
    """The first Ctrl-C is noted in the tally, the second one is a KeyboardInterrupt."""

    def note(*_: object) -> None:
        tally.interrupted = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _tell_synced(is_dry: bool, as_json: bool, catalog: Catalog, synced: Synced) -> str:
    state = synced.written.state
    _tell_row(synced, state, as_json, hidden=state == "unchanged" or not (is_dry or as_json))
    return state


def _tell_standing(as_json: bool, catalog: Catalog, synced: Synced) -> str:
    from catalogd.sync.report import standing_of

    standing = standing_of(synced, catalog.sidecar_stat(synced.written.path))
    _tell_row(synced, standing, as_json, hidden=standing == "in_sync" or not as_json)
    return standing


def _tell_row(synced: Synced, state: str, as_json: bool, hidden: bool) -> None:
    from catalogd import terminal
    from catalogd.sync import report

    if hidden:
        return
    row = report.as_json(synced, state)
    if as_json:
        print_json(row)
    else:
        click.echo("\n".join(terminal.synced_lines(row)))


def _undo_sync(settings: Settings, what: tuple[str, ...], as_json: bool) -> int:
    from catalogd.sync import Ledger, undo
    from catalogd.sync.report import Tally

    if len(what) > 1:
        raise UsageError("--undo takes one RUN, or none for the last")
    tally, ledger = Tally(), Ledger.of_run(settings.catalog, what[0] if what else None)
    progress = _SyncProgress(None)
    with _interruptible(tally), contextlib.closing(undo(ledger, settings)) as done:
        for synced in done:
            _tell_row(synced, synced.written.state, as_json, hidden=not as_json)
            tally.add(synced, synced.written.state)
            progress.show()
            if tally.interrupted:  # the run stays one that can be taken back
                break
    tally.took_s = progress.end()
    _print_sync_summary(tally, as_json)
    return _sync_exit(tally, FAILED_EXIT if tally.counts["refused"] else 0)


class _SyncProgress:
    """How many photos are done, on stderr: in place on a terminal, else a line now and then."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._begun = self.done = 0
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._every_s = 0.5 if self._live else PLAIN_LINE_EVERY_S
        self._next = self._start + self._every_s

    def counting(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            self._begun += 1
            yield record

    def show(self) -> None:
        self.done += 1
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every_s
        of = f"/{self._total:,}" if self._total else ""
        rate = self.done / (time.monotonic() - self._start)
        line = f"{self._begun:,}{of} photos, {self.done:,} sidecars, {rate:.0f}/s"
        click.echo(f"\r{line}\033[K" if self._live else line, err=True, nl=not self._live)

    def end(self) -> float:
        """Take the line away; returns how long it took, in seconds."""
        if self._live:
            click.echo("\r\033[K", err=True, nl=False)
        return time.monotonic() - self._start
