"""`catalogd query`, `similar` and `albums`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from catalogd.cli.base import LoadSettings, QueryCommand, cli, echo, open_catalog, print_json, query_text
from catalogd.cli.hits import NOTHING_EXIT, forms_asked, hit_options, photos_text, show_results
from catalogd.cli.searching import answered
from catalogd.errors import UsageError

if TYPE_CHECKING:
    from catalogd.records import Album, Facets, Plan
    from catalogd.settings import Settings

FACETS = (
    "camera",
    "lens",
    "year",
    "month",
    "country",
    "city",
    "place",
    "person",
    "keyword",
    "label",
    "rating",
    "iso",
    "aesthetics",
    "type",
    "folder",
    "creator",
)
_limit_option = click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="At most so many hits.",
)
_score_option = click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Leave out what scores less; 0 shows the nearest, however far.  [default: what counts as found]",
)


@cli.command(cls=QueryCommand)
@click.argument("words", nargs=-1)
@_limit_option
@_score_option
@hit_options
@click.option("--count", is_flag=True, help="Only how many photos there are.")
@click.option("--facets", metavar="NAMES", help=f"How the photos divide, by some of {', '.join(FACETS)}.")
@click.option("--explain", is_flag=True, help="How the query was read and carried out, and what that cost.")
@click.option("--save", metavar="NAME", help="Keep the query as a smart album.")
@click.pass_obj
def query(
    load: LoadSettings,
    words: tuple[str, ...],
    limit: int,
    min_score: float | None,
    outputs: dict[str, Any],
    count: bool,
    facets: str | None,
    explain: bool,
    save: str | None,
) -> None:
    """Find photos: words for what is in them, and filters such as camera:nikon iso:>=1600 date:2023-06.

    WORDS are looked for by meaning and as words: in tags, text in the picture, captions, keywords,
    names of people, places, files and folders. Filters narrow the search; OR, "-" and parentheses
    combine both. docs/query.md has the whole language. Without WORDS: all photos, the newest first.
    Exit code 1 when nothing was found.
    """
    settings = load()
    text = query_text(words)
    _check_answers(count, facets, outputs)
    asked = _asked(text)
    if save is not None:
        _save_album(settings, save, text)
    if count:
        _print_count(answered(settings, lambda searcher: searcher.count(asked)), outputs["as_json"])
    elif facets is not None:
        names = _facet_names(facets)
        _print_facets(answered(settings, lambda searcher: searcher.divided(asked, names)), outputs["as_json"])
    else:
        results = answered(settings, lambda searcher: searcher.search(asked, limit, min_score, explain))
        sys.exit(show_results(settings, results, text.strip() or "all photos", outputs))


def _asked(text: str) -> str | Plan:
    """The query text; without one the plan that finds every photo, one whose examples are files with them.

    A run that answers stands in another folder than whoever asks.
    """
    from catalogd.query.language import parse
    from catalogd.records import Branch, Plan

    if not text.strip():
        return Plan((Branch(),))
    plan = parse(text)
    return _with_whole_paths(plan) if any(branch.examples for branch in plan.branches) else text


def _with_whole_paths(plan: Plan) -> Plan:
    import msgspec

    replace = msgspec.structs.replace
    branches = (
        replace(
            branch,
            examples=tuple(replace(one, photo=_photo_argument(one.photo)) for one in branch.examples),
        )
        for branch in plan.branches
    )
    return replace(plan, branches=tuple(branches))


def _check_answers(count: bool, facets: str | None, outputs: dict[str, Any]) -> None:
    """A number or facets stand for the hits: of the forms of hits, both have --json alone."""
    asked = (["--count"] if count else []) + (["--facets"] if facets is not None else [])
    forms = forms_asked(outputs) if asked else []
    others = asked + [form for form in forms if form != "--json"]
    if len(others) > 1:
        raise UsageError(f"{' and '.join(others)}: choose one of them")


def _facet_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in FACETS:
            raise UsageError(f"--facets: there is no {name!r}; there are {', '.join(FACETS)}")
    if not names:
        raise UsageError(f"--facets: name some of {', '.join(FACETS)}")
    return names


def _print_count(count: int, as_json: bool) -> None:
    if as_json:
        print_json({"count": count})
    else:
        click.echo(count)


def _print_facets(facets: Facets, as_json: bool) -> None:
    for note in facets.notes:
        echo(f"catalogd: {note}", err=True)
    for name, rows in facets.counts.items():
        if as_json:
            values = [{"value": value, "photos": photos} for value, photos in rows]
            print_json({"facet": name, "values": values})
            continue
        click.secho(name, bold=True)
        width = max((len(f"{photos:,}") for _, photos in rows), default=0)
        for value, photos in rows:
            echo(f"  {photos:>{width},}  {value or '(none)'}")


# ── similar ───────────────────────────────────────────────────────────────────────────────────


@cli.command(cls=QueryCommand)
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO... [+ WORDS...]")
@click.option("--not", "unlike", multiple=True, metavar="PHOTO", help="Unlike this photo (may be repeated).")
@_limit_option
@_score_option
@hit_options
@click.option("--explain", is_flag=True, help="How the search was carried out.")
@click.pass_obj
def similar(
    load: LoadSettings,
    photos: tuple[str, ...],
    unlike: tuple[str, ...],
    limit: int,
    min_score: float | None,
    outputs: dict[str, Any],
    explain: bool,
) -> None:
    """Find photos that look like each PHOTO: a path (also of a file outside the library) or a photo_id.

    What follows a "+" is said in words, and filters count too: catalogd similar IMG_1.jpg + "but at
    night" date:2023. Exit code 1 when nothing was found.
    """
    settings = load()
    likes, words = _parted(photos)
    plan = _similar_plan(likes, unlike, words)
    results = answered(settings, lambda searcher: searcher.search(plan, limit, min_score, explain))
    sys.exit(show_results(settings, results, f"like {', '.join(likes)}", outputs))


def _parted(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The photos before the "+", and the query after it."""
    if "+" not in arguments:
        return arguments, ""
    at = arguments.index("+")
    if at == 0:
        raise UsageError("name a photo before the +")
    return arguments[:at], query_text(arguments[at + 1 :])


def _similar_plan(likes: tuple[str, ...], unlike: tuple[str, ...], words: str) -> Plan:
    import msgspec

    from catalogd.query.language import parse
    from catalogd.records import Branch, Example, Plan

    plan = parse(words) if words.strip() else Plan((Branch(),))
    examples = (
        *(Example(_photo_argument(photo)) for photo in likes),
        *(Example(_photo_argument(photo), negated=True) for photo in unlike),
    )
    branches = tuple(
        msgspec.structs.replace(branch, examples=(*branch.examples, *examples)) for branch in plan.branches
    )
    return msgspec.structs.replace(plan, branches=branches)


def _photo_argument(photo: str) -> str:
    """A file by its whole path, whoever looks for it; anything else as it is."""
    if os.path.isdir(photo):
        raise UsageError(f"{photo} is a folder: name a photo")
    return os.path.abspath(photo) if os.path.lexists(photo) else photo


# ── albums ────────────────────────────────────────────────────────────────────────────────────


def _save_album(settings: Settings, name: str, text: str) -> None:
    from catalogd.catalog.user_data import UserData
    from catalogd.query.albums import leads_to
    from catalogd.records import Album

    if not name.strip():
        raise UsageError("--save: an album needs a name")
    if not text.strip():
        raise UsageError("--save: what shall the album hold? give a query")
    with open_catalog(settings), UserData(settings.catalog) as user_data:
        if leads_to(text, name, user_data.album):
            raise UsageError(f"--save: the album {name.strip()!r} would hold itself; choose another name")
        former = user_data.album(name)
        user_data.put_album(Album(name.strip(), text, made_at=time.time(), made_by="query"))
    done = "replaces the album of that name" if former else "saved"
    echo(f'album "{name.strip()}" {done}; `catalogd albums show "{name.strip()}"` shows it', err=True)


@cli.group()
def albums() -> None:
    """Albums: queries that were saved (smart), and photos that `cull` or `dupes` put together."""


@albums.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an album.")
@click.pass_obj
def list_albums(load: LoadSettings, as_json: bool) -> None:
    """All albums by name, with the query or the number of photos."""
    from catalogd.catalog.user_data import UserData
    from catalogd.json_forms import album_json

    settings = load()
    with open_catalog(settings), UserData(settings.catalog) as user_data:
        found = user_data.albums()
    for album in found:
        if as_json:
            print_json(album_json(album))
        else:
            echo(f"{album.name:<24} {album.query or photos_text(len(album.photo_ids))}")
    if not found and not as_json:
        click.echo("there are no albums; `catalogd query … --save NAME` makes one", err=True)


@albums.command(name="show")
@click.argument("name")
@_limit_option
@hit_options
@click.pass_obj
def show_album(load: LoadSettings, name: str, limit: int, outputs: dict[str, Any]) -> None:
    """The photos of the album NAME. Exit code 1 when it holds none now."""
    from catalogd.records import Branch, Condition, Plan

    settings = load()
    album = _album(settings, name)
    plan = Plan((Branch(filters=(Condition("album", words=album.name),)),), limit=limit)
    asked = plan if album.query is None else album.query
    results = answered(settings, lambda searcher: searcher.search(asked, limit))
    sys.exit(show_results(settings, results, album.name, outputs))


def _album(settings: Settings, name: str) -> Album:
    from catalogd.catalog.user_data import UserData

    with open_catalog(settings), UserData(settings.catalog) as user_data:
        album = user_data.album(name)
    if album is None:
        raise UsageError(f"there is no album {name!r}; `catalogd albums list` lists them")
    return album


@albums.command(name="delete")
@click.argument("name")
@click.pass_obj
def delete_album(load: LoadSettings, name: str) -> None:
    """Forget the album NAME; its photos stay as they are."""
    from catalogd.catalog.user_data import UserData

    settings = load()
    album = _album(settings, name)
    with UserData(settings.catalog) as user_data:
        user_data.delete_album(album.name)
    echo(f'album "{album.name}" is forgotten; its photos stay', err=True)


__all__ = ["FACETS", "NOTHING_EXIT", "albums", "query", "similar"]
