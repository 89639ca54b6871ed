"""`catalogd query`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from catalogd.cli.base import (
    LoadSettings,
    QueryCommand,
    cli,
    console,
    open_catalog,
    print_json,
    query_text,
    text_encoder,
)

if TYPE_CHECKING:
    from catalogd.records import Hit

# ── query, show ───────────────────────────────────────────────────────────────────────────────


@cli.command(cls=QueryCommand)
@click.argument("words", nargs=-1, required=True)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="At most so many hits.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a hit.")
@click.option("--paths", "as_paths", is_flag=True, help="Only the paths, one a line.")
@click.option(
    "-0", "--print0", is_flag=True, help="Only the paths, as bytes, each ended by NUL (for xargs -0)."
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Leave out what scores less.",
)
@click.pass_obj
def query(
    load: LoadSettings,
    words: tuple[str, ...],
    limit: int,
    as_json: bool,
    as_paths: bool,
    print0: bool,
    min_score: float,
) -> None:
    """Find photos by what is in them: WORDS, and filters such as camera:nikon iso:>=1600 date:2023-06.

    Filters: camera: lens: iso: date: type: faces: text: place: person: keyword: label: rating:, each
    negated by a leading "-". Exit code 1 when nothing was found.
    """
    from catalogd import query as search_photos

    settings = load()
    plan = search_photos.parse(query_text(words), limit, min_score)
    with open_catalog(settings) as catalog:
        hits = list(search_photos.search(catalog, plan, text_encoder(settings, plan.wants_meaning)).hits)
    print_hits(hits, as_json, as_paths, print0)
    if not hits:
        sys.exit(1)


def print_hits(hits: list[Hit], as_json: bool, as_paths: bool, print0: bool) -> None:

    if as_json:
        for hit in hits:
            print_json(_hit_json(hit))
    elif print0:
        sys.stdout.buffer.write(b"".join(hit.path + b"\0" for hit in hits))
    elif as_paths:
        sys.stdout.buffer.write(b"".join(hit.path + b"\n" for hit in hits))
    elif hits:
        from catalogd import terminal

        console().print(terminal.hits_table(hits, links=sys.stdout.isatty()))
    else:
        click.echo("nothing found", err=True)


def _hit_json(hit: Hit) -> dict[str, Any]:
    from catalogd.records import display_path

    signals = [
        {
            "name": signal.name,
            "rank": signal.rank,
            "score": round(signal.score, 4),
            "matched": list(signal.matched),
        }
        for signal in hit.signals
    ]
    return {"path": display_path(hit.path), "photo_id": hit.photo_id, "score": hit.score, "signals": signals}
