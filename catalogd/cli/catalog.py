"""`catalogd status`, `failures`, `retry`, `check` and `rebuild`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalogd.cli.base import (
    LoadSettings,
    cli,
    console,
    echo,
    locked_catalog,
    open_catalog,
    print_json,
)
from catalogd.errors import UsageError

if TYPE_CHECKING:
    pass

# ── status, failures, retry ───────────────────────────────────────────────────────────────────


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def status(load: LoadSettings, as_json: bool) -> None:
    """What is indexed, pending and failed; whether a run is alive, its rate, its ETA and its limit."""
    from catalogd.run_state import is_running, read_server, read_status
    from catalogd.thumbnails import SAMPLE_FILES, ThumbnailStore

    settings = load()
    with open_catalog(settings) as catalog:
        counts, switch = catalog.counts(), catalog.search_spaces.state()
    last = read_status(settings.catalog) or {}
    running = is_running(settings.catalog)
    now = last if running else {}
    thumbnails = ThumbnailStore(settings).usage(SAMPLE_FILES)
    report = {
        "indexed": counts.indexed,
        "pending": last.get("pending", 0),
        "failed": counts.failed,
        "missing": counts.missing,
        "thumbnails": thumbnails.count,
        "thumbnail_bytes": thumbnails.size_bytes,
        "rate": now.get("rate", 0.0),
        "eta_s": now.get("eta_s"),
        "limit": now.get("limit", "-"),
        "running": running,
        "state": now.get("state", "stopped"),
        "pid": now.get("pid"),
        "roots": last.get("roots", []),
        "offline": now.get("offline", []),
        "api": (read_server(settings.catalog) or {}).get("url"),
        "catalog": str(settings.catalog),
        "search_model": switch.wanted.partition("@")[0] or None,
        "search_model_share": round(switch.share, 4) if switch.wanted else None,
    }
    if as_json:
        print_json(report)
    else:
        _print_status(report)


def _print_status(report: dict[str, Any]) -> None:
    from catalogd import terminal

    echo(f"catalog   {report['catalog']}")
    click.echo(f"indexed   {report['indexed']:,}")
    click.echo(f"failed    {report['failed']:,}")
    if report["missing"]:
        click.echo(f"missing   {report['missing']:,}")
    if report["search_model"]:
        told = f"{report['search_model']} has seen {report['search_model_share']:.0%} of photos"
        click.echo(f"search    stays with the model before: {told}")
    if report["thumbnails"]:
        size = terminal.byte_size(report["thumbnail_bytes"])
        click.echo(f"thumbs    {report['thumbnails']:,} ({size})")
    if report["api"]:
        echo(f"api       {report['api']}")
    if not report["running"]:
        last = f"; the last was on {', '.join(report['roots'])}" if report["roots"] else ""
        echo(f"run       none is alive; `catalogd run FOLDER` starts one{last}")
        if report["pending"]:
            click.echo(f"pending   {report['pending']:,} as of the last run")
        return
    echo(f"run       {report['state']} (process {report['pid']}) on {', '.join(report['roots'])}")
    if report["pending"]:
        eta = f", ETA {terminal.duration(report['eta_s'])}" if report["eta_s"] else ""
        click.echo(
            f"pending   {report['pending']:,} at {report['rate']:.1f} photos/s{eta}; limit: {report['limit']}"
        )
    for path in report["offline"]:
        echo(f"offline   {path}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a failure.")
@click.pass_obj
def failures(load: LoadSettings, as_json: bool) -> None:
    """Photos that could not be read: stage, reason, and what to do."""
    from catalogd.records import display_path

    with open_catalog(load()) as catalog:
        found = list(catalog.failures())
    if as_json:
        for failure in found:
            print_json(
                {
                    "path": display_path(failure.path),
                    "stage": failure.stage,
                    "reason": failure.reason,
                    "tries": failure.tries,
                    "message": failure.message,
                    "exception": failure.exception,
                    "failed_at": failure.failed_at,
                    "profile": failure.profile,
                }
            )
    elif found:
        from catalogd import terminal

        console().print(terminal.failures_table(found))
    else:
        click.echo("no failures")


@cli.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.pass_obj
def retry(load: LoadSettings, photos: tuple[Path, ...]) -> None:
    """Have failed PHOTOS (all when none is named) tried again, by the run that is alive or the next.

    A photo that is indexed may be named too: what a model failed on is then done again.
    """
    from catalogd import daemon
    from catalogd.records import Retry

    settings = load()
    with open_catalog(settings) as catalog:
        failed = {failure.path for failure in catalog.failures()}
        wanted = {os.fsencode(os.path.abspath(photo)) for photo in photos} or failed
        strangers = {path for path in wanted - failed if not catalog.photo_id_of(path)}
    if strangers:
        raise UsageError(f"{os.fsdecode(min(strangers))} is not in the catalog; see `catalogd failures`")
    if daemon.is_running(settings.catalog):
        daemon.request_retry(settings.catalog, sorted(wanted))
        click.echo(f"asked the run that is alive to try {len(wanted):,} photos again")
        return
    with locked_catalog(settings) as catalog:
        catalog.commit([Retry(path) for path in sorted(wanted)], bytes(8))
    click.echo(f"the next `catalogd run` tries {len(wanted):,} photos again")


# ── check, rebuild ────────────────────────────────────────────────────────────────────────────


@cli.command()
@click.option("--deep", is_flag=True, help="Also hash every file of the embedding indexes.")
@click.option(
    "--repair", is_flag=True, help="Mend what differs; derived indexes are rebuilt from the records."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a difference.")
@click.pass_obj
def check(load: LoadSettings, deep: bool, repair: bool, as_json: bool) -> None:
    """Compare records, indexes and time line with each other. Exit code 1 when they differ."""
    with locked_catalog(load()) as catalog:
        differences = catalog.check(deep=deep)
        for difference in differences:
            if as_json:
                print_json(
                    {"store": difference.store, "photo_id": difference.photo_id, "text": difference.text}
                )
            else:
                echo(f"{difference.store}: {difference.text}")
        if repair and differences:
            catalog.repair()
            differences = catalog.check(deep=deep)
            click.echo(f"repaired; {len(differences)} differences left", err=as_json)
    if not differences and not as_json:
        click.echo("the catalog is consistent")
    sys.exit(1 if differences else 0)


@cli.command()
@click.argument("index", type=click.Choice(["text", "vectors", "timeline", "faces"]))
@click.pass_obj
def rebuild(load: LoadSettings, index: str) -> None:
    """Build the text index, the embedding indexes (vectors), the time line or the faces again."""
    with locked_catalog(load()) as catalog:
        start = time.monotonic()
        if index == "text":
            catalog.rebuild_text()
        elif index == "timeline":
            catalog.rebuild_timeline()
        elif index == "faces":
            catalog.rebuild_faces()
        else:
            catalog.rebuild_embeddings()
    click.echo(f"rebuilt in {time.monotonic() - start:.1f} s")
