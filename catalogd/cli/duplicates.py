"""`catalogd dupes`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from catalogd.cli.base import LoadSettings, cli, complain, echo, open_catalog, print_json, text_encoder
from catalogd.errors import UsageError

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.catalog.environment import Ids
    from catalogd.duplicates import Duplicates, Group, Photo
    from catalogd.settings import Settings

NOTHING_EXIT = 1
ROLES = ("keepers", "others")
MOST_TOLD = 20  # files that could not be compared, by name: a screen


@cli.command()
@click.option("--exact", "depth", flag_value="exact", help="Only files of the same bytes.")
@click.option(
    "--near", "depth", flag_value="near", help="Also edited, cropped, mirrored and turned ones; and bursts."
)
@click.option("--within", metavar="ALBUM|QUERY", help="Only among the photos of an album, or of a query.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a group.")
@click.option("--paths", "as_paths", is_flag=True, help="Only the paths of all but the keepers, one a line.")
@click.option(
    "-0", "--print0", is_flag=True, help="The same as bytes, each ended by NUL (for xargs -0); also in FILE."
)
@click.option("--count", is_flag=True, help="Only how many files there are besides the keepers.")
@click.option(
    "--list",
    "list_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a new FILE: group, keep or other, kind and path of every file, with tabs between.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="ROLE=LABEL",
    help="Propose a label, as others=Red or keepers=Green; `catalogd sync` writes it on request.",
)
@click.option("--album", metavar="NAME", help="Put the groups into an album, each with its keeper first.")
@click.option(
    "--no-read", is_flag=True, help="Do not read whole files: take equal fingerprints for equal bytes."
)
@click.pass_obj
def dupes(
    load: LoadSettings,
    depth: str | None,
    within: str | None,
    as_json: bool,
    as_paths: bool,
    print0: bool,
    count: bool,
    list_file: Path | None,
    labels: tuple[str, ...],
    album: str | None,
    no_read: bool,
) -> None:
    """Files that show the same picture, with the one to keep and why. Nothing is ever deleted.

    Found are files of the same bytes, and the same picture encoded again, resized, or as RAW and JPEG;
    with --near also what was made of it. Photos are only read; a label or an album is written when
    asked for. docs/duplicates.md has the rules and the JSON. Exit code 1 when there are none.
    """
    from catalogd.duplicates import EXACT, SAME, Duplicates

    settings = load()
    wanted = dict(map(_role_and_label, labels))
    with open_catalog(settings) as catalog:
        inside = None if within is None else _ids_within(settings, catalog, within).tolist()
        depth = depth or SAME
        protected = frozenset() if depth == EXACT else _of_series(settings, catalog, inside)
        found = Duplicates(catalog, settings, depth, inside, protected, read_files=not no_read)
        groups = list(_shown(found.groups(), _form(as_json, as_paths, print0, count)))
        if list_file is not None:
            _write_list(list_file, groups, b"\0" if print0 else b"\n")
        _propose(settings, groups, wanted, album)
        _tell(found, groups, count, as_json)
    sys.exit(0 if groups else NOTHING_EXIT)


def _role_and_label(text: str) -> tuple[str, str]:
    role, _, label = text.partition("=")
    if role not in ROLES or not label.strip():
        raise UsageError(f"--label: {text!r} is not others=LABEL or keepers=LABEL")
    return role, label.strip()


def _form(as_json: bool, as_paths: bool, print0: bool, count: bool) -> str:
    forms = {"count": count, "json": as_json, "print0": print0, "paths": as_paths}
    return next((name for name, wanted in forms.items() if wanted), "table")


def _ids_within(settings: Settings, catalog: Catalog, text: str) -> Ids:
    """The photos of the album of this name, else of this query."""
    from catalogd.query import WEIGHTS, parse
    from catalogd.query.execution import selected
    from catalogd.query.searches import album_of, tools_for
    from catalogd.records import Branch, Condition, Plan

    is_album = album_of(settings.catalog, text) is not None
    plan = Plan((Branch(filters=(Condition("album", text),)),)) if is_album else parse(text)
    tools = tools_for(catalog, text_encoder(settings, catalog, plan.wants_meaning), WEIGHTS)
    return selected(tools, plan)[0].ids


def _of_series(settings: Settings, catalog: Catalog, photo_ids: list[int] | None) -> frozenset[int]:
    """The files of brackets, panoramas and focus stacks, whose photos belong together."""
    from catalogd.culling import protected_series

    series = protected_series(catalog, settings, photo_ids)
    return frozenset(photo_id for _, files in series for photo_id in files)


# ── what is shown ─────────────────────────────────────────────────────────────────────────────


def _shown(groups: Iterator[Group], form: str) -> Iterator[Group]:
    """The groups, each shown when it is found."""
    show = {"json": _print_json, "print0": _print_nul, "paths": _print_paths, "table": _print_table}.get(form)
    for group in groups:
        if show:
            show(group)
        yield group


def _print_json(group: Group) -> None:
    print_json(
        {
            "kind": group.kind,
            "keeper": {**_photo_json(group.keeper), "reasons": list(group.reasons)},
            "others": [
                {
                    **_photo_json(member.photo),
                    "kind": member.likeness.kind,
                    "how": member.likeness.how,
                    "saves_bytes": member.saves_bytes,
                }
                for member in group.others
            ],
            "lacking": list(group.lacking),
            "saves_bytes": group.saves_bytes,
        }
    )


def _photo_json(photo: Photo) -> dict[str, Any]:
    from catalogd.records import display_path

    return {
        "photo_id": photo.photo_id,
        "path": display_path(photo.path),
        "bytes": photo.stat.size,
        "format": photo.facts.format,
        "width": photo.facts.width,
        "height": photo.facts.height,
    }


def _to_go(group: Group) -> list[bytes]:
    """The paths of a group that somebody may want to delete.

    Of a burst none; and no other name of the keeper's file, of which the keeper may be a mere link.
    """
    return [member.photo.path for member in group.others if member.saves_bytes]


def _print_nul(group: Group) -> None:
    sys.stdout.buffer.write(b"".join(path + b"\0" for path in _to_go(group)))


def _print_paths(group: Group) -> None:
    sys.stdout.buffer.write(b"".join(path + b"\n" for path in _to_go(group)))


def _print_table(group: Group) -> None:
    from catalogd.terminal import byte_size

    saved = f", {byte_size(group.saves_bytes)} besides the keeper" if group.saves_bytes else ""
    click.secho(f"{group.kind}: {1 + len(group.others)} files{saved}", bold=True)
    echo(_line("best" if group.kind == "burst" else "keep", group.keeper, "; ".join(group.reasons)))
    for member in group.others:
        echo(_line("", member.photo, member.likeness.how))
    if group.lacking:
        echo(f"  only the others have: {', '.join(group.lacking)}")
    click.echo()


def _line(mark: str, photo: Photo, why: str) -> str:
    from catalogd.records import display_path
    from catalogd.terminal import byte_size

    pixels = f"{photo.facts.width}x{photo.facts.height}"
    facts = f"{byte_size(photo.stat.size):>10}  {pixels:>11}  {photo.facts.format:<5}"
    return f"  {mark:<4} {facts}  {display_path(photo.path)}  ({why})"


def _tell(found: Duplicates, groups: Sequence[Group], count: bool, as_json: bool) -> None:
    """The sums, and what could not be compared."""
    from catalogd.terminal import byte_size

    files = sum(len(_to_go(group)) for group in groups)
    saved = sum(group.saves_bytes for group in groups)
    if count and as_json:
        print_json({"groups": len(groups), "files": files, "saves_bytes": saved})
    elif count:
        click.echo(files)
    elif groups:
        click.echo(
            f"{len(groups):,} group{'s' if len(groups) > 1 else ''}; besides the keepers {files:,} files "
            f"of {byte_size(saved)}; "
            "nothing was deleted",
            err=True,
        )
    else:
        click.echo("no duplicates found", err=True)
    _tell_problems(found)


def _tell_problems(found: Duplicates) -> None:
    from catalogd.records import display_path

    for problem in found.problems[:MOST_TOLD]:
        complain(f"{display_path(problem.path)}: {problem.text}")
    if (more := len(found.problems) - MOST_TOLD) > 0:
        complain(f"so {more:,} more files; is their disk connected?")
    if unseen := found.unseen():
        complain(
            f"{unseen:,} photos have no thumbnail and can't be read now: they were compared by bytes only"
        )
    if found.not_compared:
        complain(
            f"{found.not_compared:,} pairs that look somewhat alike were not compared; "
            "--within a smaller set of photos compares more of them"
        )
    if blank := found.without_signature():
        complain(
            f"{blank:,} photos are blank or have no signature yet, and were compared by bytes only; "
            "`catalogd run` gives signatures"
        )


# ── what is written when it is asked for ──────────────────────────────────────────────────────


def _write_list(file: Path, groups: Sequence[Group], end: bytes) -> None:
    """Raises UsageError where the file exists, or a path can't stand in it."""
    lines = [line for number, group in enumerate(groups, start=1) for line in _list_lines(number, group)]
    if end == b"\n" and any(b"\n" in line for line in lines):
        raise UsageError("--list: a path holds a line break; add -0 and the entries end with NUL")
    try:
        with file.open("xb") as stream:
            _write_lines(stream, lines, end)
    except FileExistsError:
        raise UsageError(f"--list: {file} exists; name a new file") from None


def _write_lines(stream: BinaryIO, lines: Sequence[bytes], end: bytes) -> None:
    for line in lines:
        stream.write(line + end)


def _list_lines(number: int, group: Group) -> Iterator[bytes]:
    yield b"%d\tkeep\t%s\t%s" % (number, group.kind.encode(), group.keeper.path)
    for member in group.others:
        yield b"%d\tother\t%s\t%s" % (number, member.likeness.kind.encode(), member.photo.path)


def _propose(settings: Settings, groups: Sequence[Group], labels: dict[str, str], album: str | None) -> None:
    if not labels and album is None:
        return
    from catalogd.catalog.user_data import UserData

    with UserData(settings.catalog) as user:
        if album is not None:
            _put_album(user, album, groups)
        if labels:
            _put_labels(user, groups, labels)


def _put_album(user: Any, name: str, groups: Sequence[Group]) -> None:
    """Raises UsageError where a person's own album has this name."""
    from catalogd.records import Album

    former = user.album(name)
    if former is not None and former.made_by != "dupes":
        raise UsageError(f"--album: there is an album {former.name!r} already; choose another name")
    photos = [photo.photo_id for group in groups for photo in (group.keeper, *_others(group))]
    user.put_album(Album(name, photo_ids=tuple(dict.fromkeys(photos)), made_at=time.time(), made_by="dupes"))
    click.echo(f'{len(photos):,} photos are in the album "{name}"', err=True)


def _put_labels(user: Any, groups: Sequence[Group], labels: dict[str, str]) -> None:
    """Propose labels, beside the ratings that were proposed before."""
    import msgspec

    from catalogd.records import Proposal

    former, now = user.proposals(), time.time()
    proposals = {}
    for group in groups:
        if group.kind == "burst":
            continue
        said = {group.keeper.photo_id: ("keepers", group.reasons)}
        said |= {member.photo.photo_id: ("others", (member.likeness.how,)) for member in group.others}
        for photo_id, (role, reasons) in said.items():
            if role in labels:
                proposals[photo_id] = msgspec.structs.replace(
                    former.get(photo_id, Proposal()),
                    label=labels[role],
                    reasons=reasons,
                    made_by="dupes",
                    made_at=now,
                )
    user.put_proposals(proposals)
    click.echo(f"{len(proposals):,} photos have a label proposed", err=True)


def _others(group: Group) -> list[Photo]:
    return [member.photo for member in group.others]
