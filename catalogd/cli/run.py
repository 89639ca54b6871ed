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

from catalogd.cli.base import PLAIN_LINE_EVERY_S, LoadSettings, cli, echo, print_json, query_text
from catalogd.errors import QueryError, UsageError

if TYPE_CHECKING:
    from catalogd.daemon import Progress
    from catalogd.settings import Settings

# ── run ───────────────────────────────────────────────────────────────────────────────────────


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Exit when everything is indexed instead of watching for changes.")
@click.option("--readers", metavar="N|auto", help="Reader processes.  [default: auto, one a core]")
@click.option(
    "--profile", help="The set of models.  [default: as chosen by `catalogd models use`, else starter]"
)
@click.option(
    "--devices",
    metavar="auto|cpu|N,…",
    help="Where models run: the CPU, or GPUs by number.  [default: auto, every GPU, else the CPU]",
)
@click.option(
    "--batch", type=click.IntRange(1, 1024), help="Frames a batch.  [default: 8 on a CPU, 32 on a GPU]"
)
@click.option("--include", multiple=True, metavar="GLOB", help="Only photos that match (may be repeated).")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="No photos or folders that match (may be repeated)."
)
@click.option(
    "--sidecars", is_flag=True, help="Also write XMP sidecars, behind the run; see `catalogd sync xmp`."
)
@click.option(
    "--accept-licence",
    "accepted",
    multiple=True,
    metavar="ID",
    help="Accept the licence of this model, for this catalog (may be repeated).",
)
@click.option(
    "--models",
    "jobs",
    metavar="JOB,…",
    help="Run these models alone, also those that run on request: caption, tags, …  Ends when done.",
)
@click.option(
    "--only",
    metavar="QUERY",
    help="Only the photos of the catalog that this finds, under PATHS if any are given.  Ends when done.",
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
    devices: str | None,
    batch: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    sidecars: bool,
    accepted: tuple[str, ...],
    jobs: str | None,
    only: str | None,
    inline: bool,
    as_json: bool,
) -> None:
    """Index the photos under PATHS, then watch them.

    Exit code 0 when all is well, 3 when some photos failed or a model left some for the next run (its
    server was away, its budget spent), 4 when a model was switched off because it could not be loaded or
    kept failing, 130 when interrupted. Ctrl-C finishes what is in flight; a second one stops at once. The
    next run continues where this one was.
    """
    if not paths and only is None:
        raise click.UsageError("Missing argument 'PATHS...'.")
    settings = load(readers=_reader_count(readers), profile=profile, devices=devices, batch=batch)
    roots = [os.fsencode(path) for path in paths]
    _tell_about_models(settings, accepted)
    sys.exit(
        run_library(
            settings,
            roots,
            as_json=as_json,
            jobs=_jobs(settings, jobs),
            only=_photos(settings, only),
            once=once or jobs is not None or only is not None,
            inline=inline,
            sidecars=sidecars,
            include=include,
            exclude=exclude,
        )
    )


def _tell_about_models(settings: Settings, accepted: tuple[str, ...]) -> None:
    """Licences that are accepted now; what the profile lacks here, before the run goes on without it."""
    from catalogd.cli.models import licence_acceptance
    from catalogd.models import registry

    licence_acceptance(settings, accepted, err=True)
    for sentence in registry.gaps(settings):
        echo(f"catalogd: {sentence}", err=True)


def _reader_count(readers: str | None) -> int | None:
    if readers is None or readers == "auto":
        return None if readers is None else 0
    if not readers.isdecimal() or not 1 <= int(readers) <= 256:
        raise UsageError(f"--readers takes a number from 1 to 256, or auto (got {readers!r})")
    return int(readers)


def _jobs(settings: Settings, text: str | None) -> tuple[str, ...] | None:
    """The jobs of --models, whose models are here. Raises UsageError that names the flag."""
    if text is None:
        return None
    from catalogd.models import registry

    choice = registry.chosen(settings)
    jobs = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for job in jobs:
        if job not in choice.jobs:
            raise UsageError(
                f"--models: the profile {choice.profile} has no {job!r}, only {', '.join(choice.jobs)}; "
                "`catalogd models use` adds one"
            )
    for gap in registry.gaps(settings, jobs=jobs):
        raise UsageError(f"--models: {gap}")
    return jobs


def _photos(settings: Settings, query: str | None) -> list[int] | None:
    """The photos of --only. Raises QueryError that names the flag."""
    if query is None:
        return None
    from catalogd.query.searcher import Searcher

    with Searcher(settings) as searcher:
        try:
            ids, is_whole = searcher.found(query_text((query,)), with_files=False)
        except QueryError as error:
            raise QueryError(f"--only: {error}", error.position) from None
    if not is_whole:
        echo(f"catalogd: --only: free words find the best {len(ids):,} photos", err=True)
    return [int(photo_id) for photo_id in ids]


def run_library(
    settings: Settings,
    roots: list[bytes],
    as_json: bool,
    jobs: tuple[str, ...] | None = None,
    **options: Any,
) -> int:
    """A run in this process, with the chosen models or those of some `jobs` alone; its exit code."""
    from catalogd.daemon import Daemon
    from catalogd.daemon.models import search_models
    from catalogd.models import devices
    from catalogd.models.registry import chosen, profile_models
    from catalogd.pipeline import used_devices

    settings = dataclasses.replace(settings, profile=chosen(settings).profile)
    search = search_models(settings)
    also = search.also if jobs is None else ()
    load_models = functools.partial(profile_models, settings.profile, settings, 1, jobs=jobs, also=also)
    with _reporter(as_json) as report:
        used = used_devices(devices.chosen(settings.devices), load_models)
        options = {**options, "search": search, "is_part": jobs is not None}
        return Daemon(settings, roots, load_models, report=report, devices=used, **options).run()


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
        self._noted: tuple[str, ...] = ()
        self._api = ""

    def __call__(self, progress: Progress) -> None:
        from catalogd import terminal

        for note in progress.notes:
            if note not in self._noted:
                echo(note, err=True)
        self._noted = progress.notes
        if progress.api not in ("", self._api):
            self._api = progress.api
            echo(f"API at {progress.api}")
        if progress.state == "done":
            click.echo("\n".join(terminal.summary(progress)))
        elif time.monotonic() >= self._next or progress.state != self._state:
            self._next, self._state = time.monotonic() + PLAIN_LINE_EVERY_S, progress.state
            click.echo(terminal.progress_line(progress))
