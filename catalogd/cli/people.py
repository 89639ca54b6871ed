"""`catalogd people`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from catalogd.cli.base import (
    LoadSettings,
    cli,
    complain,
    console,
    echo,
    locked_catalog,
    open_catalog,
    photo_id_of,
    print_json,
)
from catalogd.errors import UsageError

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.catalog.acting import Actor
    from catalogd.catalog.journal import Action
    from catalogd.catalog.people import People, Somebody
    from catalogd.catalog.user_data import Entry, UserData
    from catalogd.settings import Settings

SHEET_FACES = 200  # the best; more than anybody looks at
EXPORT_VERSION = 1


class _View(NamedTuple):
    """What a command works with that only looks."""

    settings: Settings
    catalog: Catalog
    people: People


class _Session(NamedTuple):
    """What a command works with that says something."""

    catalog: Catalog
    people: People
    user: UserData
    actor: Actor


@contextlib.contextmanager
def _view(load: LoadSettings) -> Iterator[_View]:
    """The catalog as anyone reads it, also one that can't be written to: a run may be alive or not."""
    settings = load()
    with open_catalog(settings) as catalog:
        yield _View(settings, catalog, catalog.people)


@contextlib.contextmanager
def _session(load: LoadSettings) -> Iterator[_Session]:
    """The same, with the user data for writing."""
    from catalogd.catalog.acting import Actor
    from catalogd.catalog.user_data import UserData

    with _view(load) as view, UserData(view.settings.catalog) as user:
        yield _Session(view.catalog, view.people, user, Actor(view.people, user))


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names, for the shell."""
    from catalogd.errors import CatalogdError

    try:
        with _view(context.find_root().obj) as view:
            names = [person.name for person in view.people.persons() if person.name]
    except CatalogdError:
        return []
    return [name for name in names if name.casefold().startswith(incomplete.casefold())]


_json_option = click.option("--json", "as_json", is_flag=True, help="JSON, one object a line.")
_who_argument = click.argument("who", shell_complete=_complete)
_faces_argument = click.argument("faces", nargs=-1, required=True, metavar="PHOTO[:FACE]...")


@cli.group()
def people() -> None:
    """Who is on the photos: names for faces, and what was said of them.

    WHO is a name, an alias, or the number that `people list` shows. What you say holds at once and for
    good; `people undo` takes it back.
    """


# ── looking ───────────────────────────────────────────────────────────────────────────────────


@people.command(name="list")
@click.option("--all", "everybody", is_flag=True, help="Small clusters, hidden people and strangers too.")
@_json_option
@click.pass_obj
def list_people(load: LoadSettings, everybody: bool, as_json: bool) -> None:
    """People by how often they are seen; those without a name are "person 17"."""
    from catalogd.json_forms import person_json

    with _view(load) as view:
        found = [one for one in view.people.everybody() if everybody or one.is_listed]
        rows = [person_json(view.catalog, one) for one in found]
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        console().print(_table(rows))
    else:
        click.echo("no people yet; `catalogd run FOLDER` finds faces", err=True)
    if not rows:
        sys.exit(1)


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from catalogd.terminal import escaped

    table = Table(box=None, pad_edge=False)
    for title in ("number", "name", "faces", "photos", "since", "until", "cover"):
        table.add_column(title, justify="right" if title in ("number", "faces", "photos") else "left")
    for row in rows:
        marks = [word for word in ("hidden", "ignored") if row[word]]
        marks += ["from files"] if row["name"] and row["origin"] == "file" else []
        name = row["name"] or f"person {row['number']}"
        shown = name + (f" ({', '.join(marks)})" if marks else "")
        cells = (shown, f"{row['faces']:,}", f"{row['photos']:,}", row["since"] or "", row["until"] or "")
        table.add_row(
            str(row["number"]) if row["clusters"] else "",
            *(Text(escaped(cell)) for cell in (*cells, row["cover"] or "")),
        )
    return table


@people.command()
@_who_argument
@click.option("-n", "--limit", type=click.IntRange(0), default=20, show_default=True, help="So many faces.")
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A page with the faces to look at: FILE.html or FILE.jpg.",
)
@_json_option
@click.pass_obj
def show(load: LoadSettings, who: str, limit: int, sheet: Path | None, as_json: bool) -> None:
    """One person: names, faces with their photos, the best first, and what was said."""
    from catalogd.json_forms import person_in_full

    with _view(load) as view:
        one = view.people.who(who)
        row = person_in_full(view.catalog, one, limit)
        if sheet is not None:
            _write_sheet(view, one, sheet)
    if as_json:
        print_json(row)
        return
    echo(_headline(row))
    for face in row["shown"]:
        echo(f"  {face['path']}:{face['face']}  {_box_text(face['box'])}")
    if len(row["shown"]) < row["faces"]:
        more = row["faces"] - len(row["shown"])
        echo(f"  and {more:,} more face{'' if more == 1 else 's'}")
    for entry in row["journal"]:
        echo(_entry_line(entry))


def _headline(row: dict[str, Any]) -> str:
    aliases = f", also {', '.join(row['aliases'])}" if row["aliases"] else ""
    when = f", {row['since']} to {row['until']}" if row["since"] else ""
    name = row["name"] or f"person {row['number']}"
    return f"{name}{aliases}: {row['faces']:,} faces in {row['photos']:,} photos{when}"


def _box_text(box: Sequence[float]) -> str:
    x, y, width, height = box
    return f"{width:.0%} x {height:.0%} at {x:.0%}, {y:.0%}"


def _write_sheet(view: _View, one: Somebody, file: Path) -> None:
    """The best faces, cut out of thumbnails."""
    from catalogd.catalog.people import box_of
    from catalogd.cli.hits import write_sheet
    from catalogd.sheets import Tile
    from catalogd.thumbnails import ThumbnailStore, cut_out

    store, table = ThumbnailStore(view.settings), view.people.identities().faces
    rows = one.faces[:SHEET_FACES].tolist()
    records = view.catalog.records([int(table.photo_ids[row]) for row in rows])
    tiles = []
    for row, record in zip(rows, records, strict=True):
        if record is not None:
            thumbnail = store.get(record.content)
            picture = cut_out(thumbnail, box_of(table, row)) if thumbnail is not None else None
            taken = (record.facts.taken_at or "").partition("T")[0]
            tiles.append(Tile(record.path, picture, f":{int(table.indices[row]) + 1}", (taken,)))
    write_sheet(file, one.name, f"{len(one.faces):,} faces in {one.photos:,} photos", tiles)


# ── saying ────────────────────────────────────────────────────────────────────────────────────


@people.command()
@_who_argument
@click.argument("name")
@click.option("--merge", is_flag=True, help="Where somebody has the name already: they are one person.")
@_json_option
@click.pass_obj
def name(load: LoadSettings, who: str, name: str, merge: bool, as_json: bool) -> None:
    """Give somebody a name, or another one: `people name 17 "Anna Núñez"`."""
    with _session(load) as session:
        one = session.people.who(who)
        _tell(session, session.actor.name(one, name, merge), as_json, f"that is {name} already")


@people.command()
@_who_argument
@click.argument("name")
@click.option("--remove", is_flag=True, help="Take this other name away.")
@_json_option
@click.pass_obj
def alias(load: LoadSettings, who: str, name: str, remove: bool, as_json: bool) -> None:
    """Give a person another NAME to be found by."""
    with _session(load) as session:
        one = session.people.who(who)
        act = session.actor.unalias if remove else session.actor.alias
        state = f"{one.name} has no such other name" if remove else f"{one.name} is called that already"
        _tell(session, act(one, name), as_json, state)


@people.command()
@_who_argument
@click.argument("others", nargs=-1, required=True, metavar="OTHER...", shell_complete=_complete)
@_json_option
@click.pass_obj
def merge(load: LoadSettings, who: str, others: tuple[str, ...], as_json: bool) -> None:
    """WHO and the OTHERs are one person, who keeps the name of WHO; the other names find it too."""
    with _session(load) as session:
        found = [session.people.who(one) for one in (who, *others)]
        _tell(session, session.actor.merge(found[0], found[1:]), as_json, "they are one person already")


@people.command()
@_who_argument
@_faces_argument
@click.option("--as", "name", default="", help="The name of whom they are, new or known.")
@_json_option
@click.pass_obj
def split(load: LoadSettings, who: str, faces: tuple[str, ...], name: str, as_json: bool) -> None:
    """These faces are not WHO but one other person.

    A PHOTO is a path or a photo_id; FACE counts from 1 as `people show` tells. Without FACE: the faces
    in it that are WHO.
    """
    with _session(load) as session:
        one = session.people.who(who)
        entry = session.actor.split(one, _rows(session, faces, one), name)
        _tell(session, entry, as_json, "they are that person already")


@people.command(name="not")
@_who_argument
@_faces_argument
@_json_option
@click.pass_obj
def refuse(load: LoadSettings, who: str, faces: tuple[str, ...], as_json: bool) -> None:
    """These faces are not WHO, and never will be."""
    with _session(load) as session:
        one = session.people.who(who)
        entry = session.actor.refuse(one, _rows(session, faces, one))
        _tell(session, entry, as_json, f"known already: that is not {one.name}")


@people.command(name="is")
@_who_argument
@_faces_argument
@_json_option
@click.pass_obj
def pin(load: LoadSettings, who: str, faces: tuple[str, ...], as_json: bool) -> None:
    """These faces are WHO, whatever they look like. Without FACE: the only face in the photo."""
    with _session(load) as session:
        one = session.people.who(who)
        entry = session.actor.pin(one, _rows(session, faces))
        _tell(session, entry, as_json, f"known already: that is {one.name}")


def _rows(session: _Session, said: Sequence[str], of: Somebody | None = None) -> Any:
    """The faces that PHOTO:FACE arguments mean, as rows of the face table."""
    import numpy as np

    return np.array([row for word in said for row in _rows_of(session, word, of)], np.int64)


def _rows_of(session: _Session, said: str, of: Somebody | None) -> list[int]:
    photo_id, number = photo_id_of(session.catalog, said), ""
    if not session.catalog.record(photo_id):
        photo, _, number = said.rpartition(":")
        photo_id = photo_id_of(session.catalog, photo) if photo else 0
    if not session.catalog.record(photo_id) or (number and not number.isdecimal()):
        raise UsageError(
            f"{said} is no photo of the catalog; write PHOTO:FACE, a path and the number of a face"
        )
    table = session.people.identities().faces
    there = list(table.rows_in(photo_id))
    if number:
        rows = [row for row in there if int(table.indices[row]) + 1 == int(number)]
    else:
        rows = there if of is None else [row for row in there if row in set(of.faces.tolist())]
    if len(rows) == 1 or (rows and of is not None and not number):
        return rows
    listed = ", ".join(
        f":{face.face + 1} {face.name or 'unnamed'} at {_box_text(face.box)}"
        for face in session.people.faces_of(photo_id)
    )
    whose = f" of {of.name}" if of is not None and not number else ""
    problem = "which face is meant?" if len(rows) > 1 else f"there is no such face{whose}."
    raise UsageError(f"{said}: {problem} In it: {listed or 'no face that was found'}")


@people.command()
@click.argument("who", nargs=-1, required=True, metavar="WHO...", shell_complete=_complete)
@_json_option
@click.pass_obj
def hide(load: LoadSettings, who: tuple[str, ...], as_json: bool) -> None:
    """Leave somebody out of lists; search still finds them."""
    _flag(load, "hide", who, as_json)


@people.command()
@click.argument("who", nargs=-1, required=True, metavar="WHO...", shell_complete=_complete)
@_json_option
@click.pass_obj
def unhide(load: LoadSettings, who: tuple[str, ...], as_json: bool) -> None:
    """List somebody again who was hidden or ignored."""
    _flag(load, "unhide", who, as_json)
    _flag(load, "unignore", who, as_json, quiet=True)


@people.command()
@click.argument("who", nargs=-1, required=True, metavar="WHO...", shell_complete=_complete)
@_json_option
@click.pass_obj
def ignore(load: LoadSettings, who: tuple[str, ...], as_json: bool) -> None:
    """Strangers: neither listed nor suggested again."""
    _flag(load, "ignore", who, as_json)


def _flag(load: LoadSettings, kind: str, who: Sequence[str], as_json: bool, quiet: bool = False) -> None:
    with _session(load) as session:
        for one in [session.people.who(word) for word in who]:
            entry = session.actor.flag(kind, one)
            if entry is not None or not quiet:
                _tell(session, entry, as_json, f"{one.name}: that is so already")


@people.command()
@_who_argument
@click.option("--erase", is_flag=True, help="Take the name out of everything kept here; can't be undone.")
@click.option("--yes", is_flag=True, help="Do not ask before erasing.")
@_json_option
@click.pass_obj
def forget(load: LoadSettings, who: str, erase: bool, yes: bool, as_json: bool) -> None:
    """Take somebody's names away; the faces stay together. What photos' files say is not touched."""
    with _session(load) as session:
        one = session.people.who(who)
        if not erase:
            _tell(session, session.actor.forget(one), as_json, f"{one.name} has no name")
            return
        if not yes:
            click.confirm(f"Erase {one.name} with all that was said of them, for good?", abort=True, err=True)
        session.actor.erase(one)
    if as_json:
        print_json({"erased": True})
    else:
        echo("erased here; names in photos' files and sidecars stay: `catalogd sync xmp` takes out its own")


def _tell(session: _Session, entry: Entry | None, as_json: bool, unchanged: str) -> None:
    from catalogd.json_forms import entry_json, said_text

    if as_json:
        print_json({"changed": entry is not None, "action": entry_json(entry) if entry else None})
    elif entry is None:
        echo(f"nothing to change: {unchanged}")
    else:
        echo(f"{said_text(entry.action)}; `catalogd people undo` takes it back")


# ── journal ───────────────────────────────────────────────────────────────────────────────────


@people.command()
@click.argument("count", type=click.IntRange(1), default=1, metavar="[N]")
@_json_option
@click.pass_obj
def undo(load: LoadSettings, count: int, as_json: bool) -> None:
    """Take back the last action, or the last N; `people redo` is the way back."""
    with _session(load) as session:
        _tell_turned(session.user.undo(count), as_json, "taken back")


@people.command()
@click.argument("count", type=click.IntRange(1), default=1, metavar="[N]")
@_json_option
@click.pass_obj
def redo(load: LoadSettings, count: int, as_json: bool) -> None:
    """Let what was taken back last hold again, unless something was said since."""
    with _session(load) as session:
        _tell_turned(session.user.redo(count), as_json, "holds again")


def _tell_turned(entries: Sequence[Entry], as_json: bool, what: str) -> None:
    from catalogd.json_forms import entry_json, said_text

    for entry in entries:
        if as_json:
            print_json(entry_json(entry))
        else:
            echo(f"{what}: {said_text(entry.action)}")
    if not entries:
        complain("nothing to take back" if what == "taken back" else "nothing was taken back last")
        sys.exit(1)


@people.command()
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="The last ones.")
@_json_option
@click.pass_obj
def journal(load: LoadSettings, limit: int, as_json: bool) -> None:
    """All that was said of people, the last at the end."""
    from catalogd.json_forms import entry_json

    with _view(load) as view:
        rows = [entry_json(entry) for entry in view.people.journal()[-limit:]]
    for row in rows:
        if as_json:
            print_json(row)
        else:
            echo(_entry_line(row))


def _entry_line(row: dict[str, Any]) -> str:
    undone = f"  (taken back {row['undone_at']})" if row["undone_at"] else ""
    return f"{row['number']:>5}  {row['at']}  {row['text']}{undone}"


# ── between catalogs ──────────────────────────────────────────────────────────────────────────


@people.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@click.pass_obj
def export(load: LoadSettings, file: Path) -> None:
    """Write all that was said of people to FILE (or stdout), for `people import` elsewhere."""
    from catalogd.records import display_path

    with _session(load) as session:
        lines = _export_lines(session.actor.exported())
    if str(file) == "-":
        click.echo(lines, nl=False)
        return
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_text(lines, "utf-8")
    aside.replace(file)
    echo(f"{display_path(os.fsencode(file))}: {lines.count(chr(10)) - 1:,} actions", err=True)


def _export_lines(actions: Sequence[Action]) -> str:
    """A line that says what it is, then one JSON object an action."""
    import msgspec

    encode = msgspec.json.Encoder().encode
    head = {"catalogd": "people", "version": EXPORT_VERSION}
    return "".join(encode(line).decode() + "\n" for line in (head, *actions))


@people.command(name="import")
@click.argument("file", type=click.File("rb"))
@_json_option
@click.pass_obj
def import_people(load: LoadSettings, file: Any, as_json: bool) -> None:
    """Say here what was said in another catalog of the same photos. Twice is once.

    Faces are found by the content of their photos, wherever those are now, also ones that come later.
    """
    from catalogd.json_forms import said_text

    actions = _read_export(file)
    with _session(load) as session:
        imported = session.user.import_actions(actions)
    if as_json:
        count = len(imported.entry.action.parts) if imported.entry else 0
        print_json({"imported": count, "known": imported.known, "left_out": list(imported.left_out)})
        return
    for reason in imported.left_out:
        complain(f"left out: {reason}")
    if imported.entry is None:
        echo("nothing to change: all of it was said here already")
    else:
        echo(f"{said_text(imported.entry.action)}; `catalogd people undo` takes it back")


def _read_export(file: Any) -> list[Action]:
    import msgspec

    from catalogd.catalog.journal import Action

    head, *lines = file.read().splitlines() or [b""]
    try:
        known = msgspec.json.decode(head, type=dict[str, Any])
        if known.get("catalogd") != "people" or known.get("version") != EXPORT_VERSION:
            raise UsageError(f"{file.name} is no export of people that this catalogd reads")
        return [msgspec.json.decode(line, type=Action) for line in lines]
    except msgspec.DecodeError as error:
        raise UsageError(f"{file.name} is no export of people: {error}") from None


# ── clusters ──────────────────────────────────────────────────────────────────────────────────


@people.command()
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="So many pairs.")
@_json_option
@click.pass_obj
def suggest(load: LoadSettings, limit: int, as_json: bool) -> None:
    """Who may be one person, surest first, with the command that says so. Exit code 1 when nobody."""
    from catalogd.catalog.acting import Suggestions
    from catalogd.json_forms import suggestion_json

    with _view(load) as view:
        found = Suggestions(view.people).best(view.catalog.faces, limit)
        rows = [suggestion_json(pair) | {"command": _merge_command(pair.one, pair.other)} for pair in found]
    for row in rows:
        if as_json:
            print_json(row)
        else:
            score = "     " if row["score"] is None else f"{row['score']:.3f}"
            echo(f"{score}  {row['one']} and {row['other']}: {row['reason']}\n         {row['command']}")
    if not rows:
        complain("nobody looks like anybody else")
        sys.exit(1)


def _merge_command(*both: Somebody) -> str:
    """What says that they are one person, for a shell."""
    import shlex

    words = [one.person.name if one.person and one.person.name else str(one.number) for one in both]
    options_end = ["--"] if any(word.startswith("-") for word in words) else []
    return shlex.join(["catalogd", "people", "merge", *options_end, *words])


@people.command()
@_json_option
@click.pass_obj
def recluster(load: LoadSettings, as_json: bool) -> None:
    """Put all faces into clusters anew, where that is better now; what was said holds. Not during a run."""
    from catalogd.catalog.acting import Actor
    from catalogd.catalog.user_data import UserData

    settings = load()
    with locked_catalog(settings) as catalog, UserData(settings.catalog) as user:
        before = len(catalog.people.everybody())
        Actor(catalog.people, user).keep_anchors()
        catalog.recluster_faces()
        after = len(catalog.people.everybody())
    if as_json:
        print_json({"before": before, "after": after})
    else:
        echo(f"{before:,} people and clusters before, {after:,} now")
