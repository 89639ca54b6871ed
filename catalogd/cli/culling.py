"""`catalogd cull`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from catalogd.cli.base import (
    LoadSettings,
    QueryCommand,
    cli,
    complain,
    echo,
    open_catalog,
    print_json,
    query_text,
)
from catalogd.cli.hits import NOTHING_EXIT, photos_text, write_sheet
from catalogd.cli.searching import answered
from catalogd.errors import UsageError

if TYPE_CHECKING:
    from catalogd.catalog.user_data import UserData
    from catalogd.culling import Moment, Verdict
    from catalogd.records import Facts, Proposal
    from catalogd.settings import Settings
    from catalogd.sheets import Tile

GROUPS = {"picks": "pick", "alternates": "alternate", "protected": "protected"}  # said by people → role
OTHERS = "others"  # the alternates, by the word that `dupes` has for them
LEAST_STARS, MOST_STARS = -1, 5
MOST_PHOTOS = 100_000  # that a query finds
MADE_BY = "cull"
HOW_TO_WRITE = "`catalogd sync xmp --fields rating` writes it into sidecars"


@cli.command(cls=QueryCommand)
@click.argument("words", nargs=-1, required=True, metavar="QUERY...")
@click.option(
    "--keep", type=click.IntRange(1, 1000), default=1, show_default=True, help="Picks in each moment."
)
@click.option(
    "--album",
    metavar="PREFIX",
    help='Put the photos into the albums "PREFIX picks", "PREFIX alternates" and "PREFIX protected".',
)
@click.option(
    "--label",
    "labels",
    metavar="GROUP=LABEL,...",
    help="Propose labels, as picks=Green,alternates=Red; `catalogd sync` writes them on request.",
)
@click.option(
    "--rating", "ratings", metavar="GROUP=STARS,...", help="Propose stars, as picks=3,alternates=1."
)
@click.option(
    "--forget", is_flag=True, help="Take back what was proposed by cull for these photos; rank nothing."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a moment (docs/culling.md).")
@click.option(
    "--contact-sheet",
    "sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the pictures on one page, moment by moment: FILE ends in .html or .jpg.",
)
@click.pass_obj
def cull(
    load: LoadSettings,
    words: tuple[str, ...],
    keep: int,
    album: str | None,
    labels: str | None,
    ratings: str | None,
    forget: bool,
    as_json: bool,
    sheet: Path | None,
) -> None:
    """The best of each moment of a shoot, and why. Nothing is deleted, and no photo is written.

    The photos that QUERY finds are divided into moments, and those of each moment ranked by how sharp the
    subject is, by light and by faces; stars that you gave come first. Brackets, panoramas and focus stacks
    are kept whole. Albums and proposals are made only when asked for, and a rating or label of yours is
    never replaced. docs/culling.md has the rules. Exit code 1 when nothing was found.
    """
    from catalogd.culling import cull as culled

    settings = load()
    proposed = _Proposed(_labels(labels), _ratings(ratings))
    _check_sheet(sheet)
    text = query_text(words)
    photo_ids = _found(settings, text)
    if forget:
        _forget(settings, photo_ids)
        return
    with open_catalog(settings) as catalog:
        moments = culled(catalog, settings, photo_ids, keep)
    _show(moments, as_json)
    if sheet is not None:
        write_sheet(sheet, text, _summary(moments), list(_tiles(settings, moments)))
    if album is not None:
        _put_albums(settings, album, moments)
    if proposed:
        _propose(settings, moments, proposed)
    _tell(moments, as_json)
    sys.exit(0 if moments else NOTHING_EXIT)


def _found(settings: Settings, text: str) -> list[int]:
    results = answered(settings, lambda searcher: searcher.search(text, MOST_PHOTOS))
    for note in results.notes:
        complain(note)
    if len(results.hits) == MOST_PHOTOS:
        complain(f"only {MOST_PHOTOS:,} photos are looked at; date: or in: narrows the query")
    return [hit.photo_id for hit in results.hits]


# ── what is asked for ─────────────────────────────────────────────────────────────────────────


class _Proposed:
    """Labels and stars by role."""

    def __init__(self, labels: dict[str, str], ratings: dict[str, int]) -> None:
        self.labels = labels
        self.ratings = ratings

    def __bool__(self) -> bool:
        return bool(self.labels or self.ratings)

    def of(self, verdict: Verdict, facts: Facts, former: Proposal) -> Proposal:
        """What is proposed for a file of a shot now; nothing of what its owner has said already.

        Of a former proposal stays what is not asked for this time.
        """
        import msgspec

        label = self.labels.get(verdict.role) if self.labels else former.label
        rating = self.ratings.get(verdict.role) if self.ratings else former.rating
        return msgspec.structs.replace(
            former,
            label=None if facts.label else label,
            rating=None if facts.rating else rating,
            reasons=verdict.reasons,
            made_by=MADE_BY,
            made_at=time.time(),
        )


def _labels(text: str | None) -> dict[str, str]:
    return dict(_assignments("--label", "picks=Green,alternates=Red", text))


def _ratings(text: str | None) -> dict[str, int]:
    return {role: _stars(stars) for role, stars in _assignments("--rating", "picks=3,alternates=1", text)}


def _stars(text: str) -> int:
    if not text.removeprefix("-").isdecimal() or not LEAST_STARS <= int(text) <= MOST_STARS:
        raise UsageError(f"--rating: {text!r} is not a number of stars: 0 to 5, or -1 for rejected")
    return int(text)


def _assignments(option: str, example: str, text: str | None) -> Iterator[tuple[str, str]]:
    """Role and value of each part of `picks=…,alternates=…`."""
    for part in filter(None, (text or "").split(",")):
        group, _, value = part.partition("=")
        name = "alternates" if group.strip() == OTHERS else group.strip()
        if name not in GROUPS or not value.strip():
            raise UsageError(f"{option}: {part!r} is none of {', '.join(GROUPS)} with a value, as {example}")
        yield GROUPS[name], value.strip()


def _check_sheet(sheet: Path | None) -> None:
    if sheet is not None and sheet.suffix.lower() not in (".html", ".htm", ".jpg", ".jpeg"):
        raise UsageError(f"--contact-sheet {sheet}: the name must end in .html or .jpg")


# ── what is shown ─────────────────────────────────────────────────────────────────────────────


def _show(moments: Sequence[Moment], as_json: bool) -> None:
    from catalogd.json_forms import moment_json

    for number, moment in enumerate(moments, start=1):
        if as_json:
            print_json(moment_json(number, moment))
        else:
            _print_moment(number, moment)


def _print_moment(number: int, moment: Moment) -> None:
    shots = "1 shot" if len(moment.verdicts) == 1 else f"{len(moment.verdicts):,} shots"
    when = (moment.taken_at or "at an unknown time").replace("T", " ")
    click.secho(f"moment {number:,}: {shots}, {when}", bold=True)
    for verdict in moment.verdicts:
        echo(_line(verdict))
    click.echo()


def _line(verdict: Verdict) -> str:
    from catalogd.records import display_path

    place = f"{verdict.rank:>3}" if verdict.rank else "   "
    score = f"{verdict.score:.2f}" if verdict.rank else "    "
    more = len(verdict.shot.photos) - 1
    files = f" and {more} more of its files" if more else ""
    why = "; ".join(verdict.reasons)
    return f"  {_mark(verdict):<9} {place}  {score}  {display_path(verdict.shot.photo.path)}{files}  ({why})"


def _mark(verdict: Verdict) -> str:
    return {"pick": "pick", "protected": "keep all"}.get(verdict.role, "")


def _verdicts(moments: Sequence[Moment]) -> Iterator[Verdict]:
    return (verdict for moment in moments for verdict in moment.verdicts)


def _counts(moments: Sequence[Moment]) -> dict[str, int]:
    roles = [verdict.role for verdict in _verdicts(moments)]
    return {"moments": len(moments), **{group: roles.count(role) for group, role in GROUPS.items()}}


def _summary(moments: Sequence[Moment]) -> str:
    counts = _counts(moments)
    files = sum(len(verdict.shot.photos) for verdict in _verdicts(moments))
    named = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return f"{photos_text(files)}: {named}"


def _tell(moments: Sequence[Moment], as_json: bool) -> None:
    if not moments:
        click.echo("nothing found", err=True)
    else:
        click.echo(f"{_summary(moments)}; nothing was deleted", err=True)


def _tiles(settings: Settings, moments: Sequence[Moment]) -> Iterator[Tile]:
    from catalogd.sheets import Tile
    from catalogd.thumbnails import ThumbnailStore

    store = ThumbnailStore(settings)
    for number, moment in enumerate(moments, start=1):
        for verdict in moment.verdicts:
            place = f"{number}.{verdict.rank}" if verdict.rank else f"{number}"
            photo = verdict.shot.photo
            mark = f"{place} {_mark(verdict)}".strip()
            yield Tile(photo.path, store.get(photo.content), mark, verdict.reasons)


# ── what is written when it is asked for ──────────────────────────────────────────────────────


def _put_albums(settings: Settings, prefix: str, moments: Sequence[Moment]) -> None:
    from catalogd.catalog.user_data import UserData
    from catalogd.records import Album

    names = {role: f"{prefix} {group}" for group, role in GROUPS.items()}
    with UserData(settings.catalog) as user:
        _check_albums(user, names.values())
        for role, name in names.items():
            photo_ids = tuple(_files(moments, role))
            user.put_album(Album(name, photo_ids=photo_ids, made_at=time.time(), made_by=MADE_BY))
            echo(f'{photos_text(len(photo_ids))} in the album "{name}"', err=True)


def _check_albums(user: UserData, names: Iterable[str]) -> None:
    """Raises UsageError where an album of another maker has one of these names."""
    for name in names:
        former = user.album(name)
        if former is not None and former.made_by != MADE_BY:
            raise UsageError(f"--album: there is an album {former.name!r} already; choose another name")


def _files(moments: Sequence[Moment], role: str) -> Iterator[int]:
    for verdict in _verdicts(moments):
        if verdict.role == role:
            yield from verdict.shot.photo_ids


def _propose(settings: Settings, moments: Sequence[Moment], proposed: _Proposed) -> None:
    """Propose for every file of a shot. What another command proposed for a file is left as it is."""
    from catalogd.catalog.user_data import UserData
    from catalogd.records import Proposal

    with UserData(settings.catalog) as user:
        former = user.proposals()
        others = {photo_id for photo_id, proposal in former.items() if proposal.made_by not in ("", MADE_BY)}
        files = [(verdict, photo) for verdict in _verdicts(moments) for photo in verdict.shot.photos]
        proposals = {
            photo.photo_id: proposed.of(verdict, photo.facts, former.get(photo.photo_id, Proposal()))
            for verdict, photo in files
            if photo.photo_id not in others
        }
        said = {i: one for i, one in proposals.items() if one.label is not None or one.rating is not None}
        user.put_proposals(said)
        user.drop_proposals(former.keys() & (proposals.keys() - said.keys()))
    echo(f"{photos_text(len(said))} with a proposal; {HOW_TO_WRITE}", err=True)
    if left := len(files) - len(proposals):
        complain(f"{photos_text(left)} left with what another command proposed")


def _forget(settings: Settings, photo_ids: Iterable[int]) -> None:
    from catalogd.catalog.user_data import UserData

    asked = set(photo_ids)
    with UserData(settings.catalog) as user:
        own = [i for i, proposal in user.proposals().items() if proposal.made_by == MADE_BY and i in asked]
        count = user.drop_proposals(own)
    echo(f"{photos_text(count)} without a proposal of cull now", err=True)
