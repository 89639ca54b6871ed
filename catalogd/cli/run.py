"""`catalogd run`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalogd.cli.base import PLAIN_LINE_EVERY_S, LoadSettings, cli, echo, print_json
from catalogd.errors import UsageError

if TYPE_CHECKING:
    from catalogd.daemon import Progress
    from catalogd.settings import Settings

# ── run ───────────────────────────────────────────────────────────────────────────────────────


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Exit when everything is indexed instead of watching for changes.")
@click.option("--readers", metavar="N|auto", help="Reader processes.  [default: auto, one a core]")
@click.option("--profile", help="The set of models.  [default: starter]")
@click.option("--batch", type=click.IntRange(1, 1024), help="Frames a batch.  [default: 8]")
@click.option("--include", multiple=True, metavar="GLOB", help="Only photos that match (may be repeated).")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="No photos or folders that match (may be repeated)."
)
@click.option(
    "--sidecars", is_flag=True, help="Also write XMP sidecars, behind the run; see `catalogd sync xmp`."
)
@click.option("--inline", is_flag=True, help="Run every stage in this one process (for debugging).")
@click.option("--json", "as_json", is_flag=True, help="Progress as one JSON object a second.")
@click.pass_obj
def run(
    load: LoadSettings,
    paths: tuple[Path, ...],
    once: bool,
    readers: str | None,
    profile: str | None,
    batch: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    sidecars: bool,
    inline: bool,
    as_json: bool,
) -> None:
    """Index the photos under PATHS, then watch them.

    Exit code 0 when all is well, 3 when some photos failed, 130 when interrupted. Ctrl-C finishes
    what is in flight; a second one stops at once. The next run continues where this one was.
    """
    settings = load(readers=_reader_count(readers), profile=profile, batch=batch)
    roots = [os.fsencode(path) for path in paths]
    sys.exit(
        run_library(
            settings,
            roots,
            as_json=as_json,
            once=once,
            inline=inline,
            sidecars=sidecars,
            include=include,
            exclude=exclude,
        )
    )


def _reader_count(readers: str | None) -> int | None:
    if readers is None or readers == "auto":
        return None if readers is None else 0
    if not readers.isdecimal() or not 1 <= int(readers) <= 256:
        raise UsageError(f"--readers takes a number from 1 to 256, or auto (got {readers!r})")
    return int(readers)


def run_library(settings: Settings, roots: list[bytes], as_json: bool, **options: Any) -> int:
    from catalogd.daemon import Daemon
    from catalogd.models.registry import chosen, profile_models

    settings = dataclasses.replace(settings, profile=chosen(settings).profile)
    load_models = functools.partial(profile_models, settings.profile, settings, 1)
    with _reporter(as_json) as report:
        return Daemon(settings, roots, load_models, report=report, **options).run()


@contextlib.contextmanager
def _reporter(as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """How progress is shown: JSON lines, a live view, or a plain line now and then."""
    if as_json:
        yield _print_json_progress
    elif sys.stdout.isatty():
        from rich.live import Live

        with Live(refresh_per_second=4, transient=True) as live:
            yield _LiveReporter(live)
    else:
        yield _PlainReporter()


def _print_json_progress(progress: Progress) -> None:
    print_json({**dataclasses.asdict(progress), "pending": progress.pending})


class _LiveReporter:
    """A view that is drawn anew, below what is said once."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._api = ""

    def __call__(self, progress: Progress) -> None:
        from rich.text import Text

        from catalogd import terminal

        if progress.api not in ("", self._api):
            self._api = progress.api
            self._live.console.print(Text(f"API at {progress.api}"))
        if progress.state == "done":
            self._live.update("")
            notes = [terminal.escaped(note) for note in progress.notes]
            self._live.console.print(Text("\n".join([*notes, *terminal.summary(progress)])))
        else:
            self._live.update(terminal.progress_view(progress))


class _PlainReporter:
    """A line every few seconds, when the state changes, and a summary."""

    def __init__(self) -> None:
        self._next = 0.0
        self._state = ""
        self._noted = 0
        self._api = ""

    def __call__(self, progress: Progress) -> None:
        from catalogd import terminal

        for note in progress.notes[self._noted :]:
            echo(note, err=True)
        self._noted = len(progress.notes)
        if progress.api not in ("", self._api):
            self._api = progress.api
            echo(f"API at {progress.api}")
        if progress.state == "done":
            click.echo("\n".join(terminal.summary(progress)))
        elif time.monotonic() >= self._next or progress.state != self._state:
            self._next, self._state = time.monotonic() + PLAIN_LINE_EVERY_S, progress.state
            click.echo(terminal.progress_line(progress))
