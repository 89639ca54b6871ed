"""`catalogd analyze`: photos that the run shall take now, before what its scan found."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from catalogd.cli.base import FAILED_EXIT, INTERRUPTED_EXIT, LoadSettings, cli, echo, open_catalog, print_json
from catalogd.errors import UsageError

if TYPE_CHECKING:
    from catalogd.jobs import Job, JobBook
    from catalogd.settings import Settings

LOOK_EVERY_S = 0.5


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True))
@click.option("--force", is_flag=True, help="Run all models again, also where nothing changed.")
@click.option("--no-wait", is_flag=True, help="Leave the order and go.")
@click.option("--list", "listed", is_flag=True, help="Orders and other jobs, those of the last day too.")
@click.option("--cancel", "job_id", metavar="JOB", help="Drop what is not begun of a job.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a job.")
@click.pass_obj
def analyze(
    load: LoadSettings,
    paths: tuple[str, ...],
    force: bool,
    no_wait: bool,
    listed: bool,
    job_id: str | None,
    as_json: bool,
) -> None:
    """Have the photos at PATHS, or below them, analysed now by the run that is alive.

    Without a run the order waits for the next one. Ctrl-C leaves the job as it is. Exit code 3 when some
    photos failed, 1 when the job was cancelled or failed.
    """
    from catalogd.jobs import JobBook

    if bool(paths) + listed + (job_id is not None) != 1:
        raise UsageError("give PATHS to analyse, or --list, or --cancel JOB")
    settings = load()
    with open_catalog(settings):
        pass  # says what to do when there is none
    book = JobBook(settings.catalog)
    if listed:
        for job in book.jobs():
            _print_job(job, as_json)
        return
    if job_id is not None:
        _print_job(book.cancel(job_id), as_json)
        return
    sys.exit(_order(settings, book, paths, force, no_wait, as_json))


def _order(
    settings: Settings, book: JobBook, paths: tuple[str, ...], force: bool, no_wait: bool, as_json: bool
) -> int:
    from catalogd.run_state import is_running, read_status, roots_of

    is_alive = is_running(settings.catalog)
    wanted = [os.fsencode(os.path.realpath(path)) for path in paths]
    if is_alive:
        roots = roots_of(read_status(settings.catalog))
        for path in wanted:
            if not any(path == root or path.startswith(root.rstrip(b"/") + b"/") for root in roots):
                shown = ", ".join(map(os.fsdecode, roots))
                raise UsageError(f"{os.fsdecode(path)} is in none of the folders of the run: {shown}")
    job = book.order(wanted, force)
    if not is_alive:
        echo("no run is indexing; the next `catalogd run` does it", err=True)
    if no_wait or not is_alive:
        _print_job(job, as_json)
        return 0
    return _follow(book, job, as_json)


def _follow(book: JobBook, job: Job, as_json: bool) -> int:
    live = sys.stderr.isatty()
    try:
        while not (job := book.job(job.job_id)).has_ended:
            if live:
                click.echo(f"\r{_text(job)}\033[K", err=True, nl=False)
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        clear = "\r\033[K" if live else ""
        click.echo(f"{clear}the job goes on; `catalogd analyze --cancel {job.job_id}` ends it", err=True)
        return INTERRUPTED_EXIT
    if live:
        click.echo("\r\033[K", err=True, nl=False)
    _print_job(job, as_json)
    if job.state != "done":
        return 1
    return FAILED_EXIT if job.failed else 0


def _print_job(job: Job, as_json: bool) -> None:
    if as_json:
        from catalogd.json_forms import job_json

        print_json(job_json(job))
    else:
        echo(f"{job.job_id}  {job.kind:8} {_text(job)}")


def _text(job: Job) -> str:
    failed = f", {job.failed:,} failed" if job.failed else ""
    said = f" ({job.message})" if job.message else ""
    return f"{job.state}: {job.done:,} of {job.total:,} photos{failed}{said}"
