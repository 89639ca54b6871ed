"""The command line: parse, call, print. Heavy imports wait until a command needs them."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalogd import __version__
from catalogd.errors import CatalogdError, CatalogError, UsageError

if TYPE_CHECKING:
    import datetime

    from catalogd.catalog import Catalog
    from catalogd.catalog.arrangement import Session
    from catalogd.daemon import Progress
    from catalogd.records import Hit, Record
    from catalogd.settings import Settings
    from catalogd.sync import Ledger, Options, Synced
    from catalogd.sync.report import Tally

_PLAIN_LINE_EVERY_S = 5.0
_FAILED_EXIT = 3
_INTERRUPTED_EXIT = 130


class _Group(click.Group):
    """Turns catalogd's own errors into a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CatalogdError as error:
            _complain(str(error))
            ctx.exit(error.exit_code)
        except BrokenPipeError:  # the reader of our output has left: `catalogd query … | head`
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:  # a catalog that can't be made or read, a folder that is none
            if not isinstance(error.filename, str | bytes):
                raise
            _complain(f"{os.fsdecode(error.filename)}: {error.strerror}")
            ctx.exit(CatalogError.exit_code)


def _complain(message: str) -> None:
    _echo(f"catalogd: {message}", err=True)


def _echo(line: str, err: bool = False) -> None:
    """A line that may hold what a file system or a decoder said."""
    from catalogd.terminal import escaped

    click.echo(escaped(line), err=err)


class _QueryCommand(click.Command):
    """Takes `-camera:nikon` for a negated filter, not for the options -c, -a, -m …"""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_NO_OPTION + arg if _NEGATED.match(arg) else arg for arg in args])


_NEGATED = re.compile(r"-[^\W\d]\w*:")
_NO_OPTION = "\0"  # no argument holds one: hides a filter's "-" from the option parser
# camera:nikon z6, given as one argument; not several filters; values of other keys hold no space
_SPACED_FILTER = re.compile(
    r"(-?(?:camera|lens|text|place|person|keyword|label):)(?!.*\s-?[^\W\d]\w*:)([^\s\"][^\"]*\s[^\"]*)",
    re.IGNORECASE | re.DOTALL,
)


class _LogFormatter(logging.Formatter):
    """Log lines name paths and repeat what decoders say."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        from catalogd.terminal import escaped

        record.message = escaped(record.message)
        return super().formatMessage(record)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="catalogd")
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    help="The catalog's folder  [default: the platform's data folder]",
)
@click.option(
    "--settings", "settings_file", type=click.Path(path_type=Path), help="A TOML file with settings."
)
@click.option("-v", "--verbose", is_flag=True, help="Log what happens to stderr.")
@click.pass_context
def cli(ctx: click.Context, catalog: Path | None, settings_file: Path | None, verbose: bool) -> None:
    """An AI memory for a photo library, on the owner's own machine."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, handlers=[handler])
    ctx.obj = functools.partial(_load_settings, settings_file, catalog)


def _load_settings(file: Path | None, catalog: Path | None, **flags: Any) -> Settings:
    from catalogd.settings import load_settings

    return load_settings(file, flags={"catalog": catalog, **flags})


LoadSettings = Callable[..., "Settings"]


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
        _run(
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


def _run(settings: Settings, roots: list[bytes], as_json: bool, **options: Any) -> int:
    from catalogd.daemon import Daemon
    from catalogd.models.registry import profile_models

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
            yield functools.partial(_show_live, live)
    else:
        yield _PlainReporter()


def _print_json_progress(progress: Progress) -> None:
    import dataclasses

    _print_json({**dataclasses.asdict(progress), "pending": progress.pending})


def _show_live(live: Any, progress: Progress) -> None:
    from rich.text import Text

    from catalogd import terminal

    if progress.state == "done":
        live.update("")
        notes = [terminal.escaped(note) for note in progress.notes]
        live.console.print(Text("\n".join([*notes, *terminal.summary(progress)])))
    else:
        live.update(terminal.progress_view(progress))


class _PlainReporter:
    """A line every few seconds, when the state changes, and a summary."""

    def __init__(self) -> None:
        self._next = 0.0
        self._state = ""
        self._noted = 0

    def __call__(self, progress: Progress) -> None:
        from catalogd import terminal

        for note in progress.notes[self._noted :]:
            _echo(note, err=True)
        self._noted = len(progress.notes)
        if progress.state == "done":
            click.echo("\n".join(terminal.summary(progress)))
        elif time.monotonic() >= self._next or progress.state != self._state:
            self._next, self._state = time.monotonic() + _PLAIN_LINE_EVERY_S, progress.state
            click.echo(terminal.progress_line(progress))


# ── query, show ───────────────────────────────────────────────────────────────────────────────


@cli.command(cls=_QueryCommand)
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
    plan = search_photos.parse(_query_text(words), limit, min_score)
    with _open(settings) as catalog:
        hits = search_photos.search(catalog, plan, _text_encoder(settings, bool(plan.words)))
    _print_hits(hits, as_json, as_paths, print0)
    if not hits:
        sys.exit(1)


def _query_text(words: tuple[str, ...]) -> str:
    """The arguments as one query; a value with spaces gets the quotes back that the shell took away."""
    plain = (word.removeprefix(_NO_OPTION) for word in words)
    return " ".join(
        _SPACED_FILTER.sub(r'\1"\2"', word) if _SPACED_FILTER.fullmatch(word) else word for word in plain
    )


def _text_encoder(settings: Settings, needed: bool) -> Any:
    """The profile's text encoder; without its weights the search goes by words alone, and says so."""
    if not needed:
        return None
    from catalogd.models.registry import text_encoder

    encoder = text_encoder(settings.profile, settings)
    if encoder is None:
        click.echo(
            "catalogd: searching by words only; `catalogd doctor` says what search by meaning needs", err=True
        )
    return encoder


def _print_hits(hits: list[Hit], as_json: bool, as_paths: bool, print0: bool) -> None:

    if as_json:
        for hit in hits:
            _print_json(_hit_json(hit))
    elif print0:
        sys.stdout.buffer.write(b"".join(hit.path + b"\0" for hit in hits))
    elif as_paths:
        sys.stdout.buffer.write(b"".join(hit.path + b"\n" for hit in hits))
    elif hits:
        from catalogd import terminal

        _console().print(terminal.hits_table(hits, links=sys.stdout.isatty()))
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


@cli.command()
@click.argument("photo")
@click.option(
    "--exif", "with_tags", is_flag=True, help="All facts, then every tag that the file itself holds."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def show(load: LoadSettings, photo: str, with_tags: bool, as_json: bool) -> None:
    """Everything the catalog keeps of PHOTO (a path or a photo_id), with the model that made each field.

    With --exif what the catalog knows from the file's metadata, then the metadata itself, read now:
    EXIF, maker note, IPTC, XMP and text.
    """
    settings = load()
    record = _record_of(settings, photo)
    if with_tags:
        _print_tags(record, settings, as_json)
    elif as_json:
        _print_json({**_record_json(record), **_groups_json(settings, record)})
    else:
        from catalogd import terminal

        _console().print(terminal.record_text(record))
        _console().print(terminal.groups_text(_groups_json(settings, record)), end="")


def _groups_json(settings: Settings, record: Record) -> dict[str, Any]:
    """The stack, the burst and the session of a photo; None for what it is not in."""
    from catalogd.catalog.timeline import clock_text, film_beside
    from catalogd.records import display_path

    with _open(settings) as catalog:
        stack, burst = catalog.timeline.stack_of(record.photo_id), catalog.timeline.burst_of(record.photo_id)
        session = catalog.timeline.session_of(record.photo_id)
        covers = catalog.records([group.cover for group in (stack, burst) if group])
    paths = {cover.photo_id: display_path(cover.path) for cover in covers if cover}
    film = film_beside(record.path)
    times = {"start": clock_text(session.start_s), "end": clock_text(session.end_s)} if session else {}
    return {
        "stack": {**stack._asdict(), "cover_path": paths.get(stack.cover, "")} if stack else None,
        "burst": {**burst._asdict(), "cover_path": paths.get(burst.cover, "")} if burst else None,
        "session": {**_session_json(session), **times} if session else None,
        "film": display_path(film) if film else None,
    }


def _session_json(session: Session) -> dict[str, Any]:
    names = ("session_id", "trip_id", "photos", "stacks", "bursts", "cover")
    return {name: getattr(session, name) for name in names}


def _print_tags(record: Record, settings: Settings, as_json: bool) -> None:
    from catalogd import terminal

    tags, problem = _read_tags(record.path, settings)
    if as_json:
        plain = _record_json(record)
        rows = [{"group": group, "name": name, "value": value} for group, name, value in tags]
        kept: dict[str, Any] = {key: plain[key] for key in ("photo_id", "path", "facts")}
        _print_json({**kept, "tags": rows, "problem": problem or None})
    else:
        _console().print(terminal.tags_text(record, tags, problem))


def _read_tags(path: bytes, settings: Settings) -> tuple[list[tuple[str, str, str]], str]:
    """Every tag of the file as group, name and value, and why there are none when it can't be read."""
    from catalogd.errors import PhotoError
    from catalogd.images import open_blocks
    from catalogd.metadata.tags import list_tags

    try:
        with open_blocks(path, settings) as blocks:
            return list(list_tags(blocks)), ""
    except PhotoError as error:
        return [], str(error)


def _record_of(settings: Settings, photo: str) -> Record:
    with _open(settings) as catalog:
        record = catalog.record(_photo_id(catalog, photo), with_embeddings=True)
    if record is None:
        raise UsageError(f"{photo} is not in the catalog; `catalogd failures` lists what could not be read")
    return record


def _photo_id(catalog: Catalog, photo: str) -> int:
    """A path as given, its real path, or a photo_id."""
    for path in (os.path.abspath(photo), os.path.realpath(photo)):
        found = catalog.photo_id_of(os.fsencode(path))
        if found:
            return found
    return int(photo) if photo.isdecimal() and int(photo) < 2**63 else 0


def _record_json(record: Any) -> dict[str, Any]:
    import msgspec

    from catalogd.records import display_path

    plain: dict[str, Any] = msgspec.to_builtins(record, enc_hook=repr, builtin_types=(bytes,))
    plain = _without_bytes(plain)
    plain["path"] = display_path(record.path)
    plain.pop("type", None)
    return plain


def _without_bytes(value: Any) -> Any:
    """Bytes for JSON: a content hash as hex, an embedding as its dimension."""
    if isinstance(value, dict):
        return {key: _without_bytes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(item) for item in value]
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 16 else {"dimension": len(value) // 2}
    return value


# ── timeline ──────────────────────────────────────────────────────────────────────────────────


@cli.command()
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m", "%Y"]),
    metavar="DATE",
    help="Leave out what ended before 2023, 2023-06 or 2023-06-18.",
)
@click.option("--bursts", is_flag=True, help="The bursts instead of trips and sessions.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a trip, session or burst.")
@click.pass_obj
def timeline(load: LoadSettings, since: datetime.datetime | None, bursts: bool, as_json: bool) -> None:
    """Trips, and sessions at home, by time: where, how many photos, and one to show for it.

    A session is photos without a long pause between them; a trip is sessions away from home. Exit
    code 1 when there are none.
    """
    with _open(load()) as catalog:
        rows = _burst_rows(catalog, since) if bursts else _outing_rows(catalog, since)
        what = "bursts" if bursts else "photos with a date"
        reason = "" if rows else _why_no_timeline(catalog, what, since)
    if as_json:
        for row in rows:
            _print_json(row)
    elif rows:
        from catalogd import terminal

        _console().print(terminal.timeline_table(rows))
    if reason:
        click.echo(reason, err=True)
        sys.exit(1)


def _outing_rows(catalog: Catalog, since: datetime.datetime | None) -> list[dict[str, Any]]:
    import msgspec

    from catalogd.catalog.timeline import clock_s
    from catalogd.records import display_path

    outings = catalog.timeline.outings(None if since is None else clock_s(since.isoformat()))
    return [
        {**msgspec.structs.asdict(outing), "cover_path": display_path(outing.cover_path)}
        for outing in outings
    ]


def _burst_rows(catalog: Catalog, since: datetime.datetime | None) -> list[dict[str, Any]]:
    from catalogd.records import display_path

    bursts = list(catalog.timeline.bursts())
    covers = catalog.records([burst.cover for burst in bursts])
    rows = [
        {
            "kind": "burst",
            "burst_id": burst.burst_id,
            "start": cover.facts.taken_at or "",
            "end": cover.facts.taken_at or "",
            "photos": len(burst.photo_ids),
            "photo_ids": burst.photo_ids,
            "cover": burst.cover,
            "cover_path": display_path(cover.path),
        }
        for burst, cover in zip(bursts, covers, strict=True)
        if cover and (since is None or (cover.facts.taken_at or "") >= since.isoformat())
    ]
    return sorted(rows, key=lambda row: (row["start"], row["burst_id"]))


def _why_no_timeline(catalog: Catalog, what: str, since: datetime.datetime | None) -> str:
    if not catalog.counts().indexed:
        return "there are no photos yet: `catalogd run FOLDER` indexes some"
    if not catalog.timeline.is_made():
        return "no time line yet: a run makes it when it has a moment, `catalogd rebuild timeline` now"
    return f"there are no {what}" + (f" since {since:%Y-%m-%d}" if since else "")


# ── status, failures, retry ───────────────────────────────────────────────────────────────────


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def status(load: LoadSettings, as_json: bool) -> None:
    """What is indexed, pending and failed; whether a run is alive, its rate, its ETA and its limit."""
    from catalogd.daemon import is_running, read_status
    from catalogd.thumbnails import SAMPLE_FILES, ThumbnailStore

    settings = load()
    with _open(settings) as catalog:
        counts = catalog.counts()
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
        "catalog": str(settings.catalog),
    }
    if as_json:
        _print_json(report)
    else:
        _print_status(report)


def _print_status(report: dict[str, Any]) -> None:
    from catalogd import terminal

    _echo(f"catalog   {report['catalog']}")
    click.echo(f"indexed   {report['indexed']:,}")
    click.echo(f"failed    {report['failed']:,}")
    if report["missing"]:
        click.echo(f"missing   {report['missing']:,}")
    if report["thumbnails"]:
        size = terminal.byte_size(report["thumbnail_bytes"])
        click.echo(f"thumbs    {report['thumbnails']:,} ({size})")
    if not report["running"]:
        last = f"; the last was on {', '.join(report['roots'])}" if report["roots"] else ""
        _echo(f"run       none is alive; `catalogd run FOLDER` starts one{last}")
        if report["pending"]:
            click.echo(f"pending   {report['pending']:,} as of the last run")
        return
    _echo(f"run       {report['state']} (process {report['pid']}) on {', '.join(report['roots'])}")
    if report["pending"]:
        eta = f", ETA {terminal.duration(report['eta_s'])}" if report["eta_s"] else ""
        click.echo(
            f"pending   {report['pending']:,} at {report['rate']:.1f} photos/s{eta}; limit: {report['limit']}"
        )
    for path in report["offline"]:
        _echo(f"offline   {path}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a failure.")
@click.pass_obj
def failures(load: LoadSettings, as_json: bool) -> None:
    """Photos that could not be read: stage, reason, and what to do."""
    from catalogd.records import display_path

    with _open(load()) as catalog:
        found = list(catalog.failures())
    if as_json:
        for failure in found:
            _print_json(
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

        _console().print(terminal.failures_table(found))
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
    with _open(settings) as catalog:
        failed = {failure.path for failure in catalog.failures()}
        wanted = {os.fsencode(os.path.abspath(photo)) for photo in photos} or failed
        strangers = {path for path in wanted - failed if not catalog.photo_id_of(path)}
    if strangers:
        raise UsageError(f"{os.fsdecode(min(strangers))} is not in the catalog; see `catalogd failures`")
    if daemon.is_running(settings.catalog):
        daemon.request_retry(settings.catalog, sorted(wanted))
        click.echo(f"asked the run that is alive to try {len(wanted):,} photos again")
        return
    with _locked(settings) as catalog:
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
    with _locked(load()) as catalog:
        differences = catalog.check(deep=deep)
        for difference in differences:
            if as_json:
                _print_json(
                    {"store": difference.store, "photo_id": difference.photo_id, "text": difference.text}
                )
            else:
                _echo(f"{difference.store}: {difference.text}")
        if repair and differences:
            catalog.repair()
            differences = catalog.check(deep=deep)
            click.echo(f"repaired; {len(differences)} differences left", err=as_json)
    if not differences and not as_json:
        click.echo("the catalog is consistent")
    sys.exit(1 if differences else 0)


@cli.command()
@click.argument("index", type=click.Choice(["text", "vectors", "timeline"]))
@click.pass_obj
def rebuild(load: LoadSettings, index: str) -> None:
    """Build the text index, the embedding indexes (vectors) or the time line again from the records."""
    with _locked(load()) as catalog:
        start = time.monotonic()
        if index == "text":
            catalog.rebuild_text()
        elif index == "timeline":
            catalog.rebuild_timeline()
        else:
            catalog.rebuild_embeddings()
    click.echo(f"rebuilt in {time.monotonic() - start:.1f} s")


# ── thumbs ────────────────────────────────────────────────────────────────────────────────────


@cli.command()
@click.option("--fill", is_flag=True, help="Make those that are missing; reads the photos, runs no models.")
@click.option("--all", "afresh", is_flag=True, help="With --fill: make all again, as the settings say now.")
@click.option(
    "--prune", is_flag=True, help="Remove those of photos the catalog no longer has, and enforce the bound."
)
@click.option("--path", "photo", metavar="PHOTO", help="Print the file of this photo's thumbnail.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def thumbs(
    load: LoadSettings, fill: bool, afresh: bool, prune: bool, photo: str | None, as_json: bool
) -> None:
    """The store of thumbnails: how many, how large, how many photos have none.

    Runs make them while they read. After a change of the thumbnail settings the old ones stay until
    `--fill --all`. Exit code 3 when some photos could not be read, 130 when interrupted, which keeps
    what was made; 1 when PHOTO has no thumbnail.
    """
    if photo is not None and (fill or prune):
        raise UsageError("--path goes with neither --fill nor --prune")
    if afresh and not fill:
        raise UsageError("--all goes with --fill")
    settings = load()
    if photo is not None:
        _print_thumbnail_path(settings, photo, as_json)
        return
    report: dict[str, Any] = {}
    code = 0
    if prune:
        report |= _prune_thumbnails(settings)
    if fill:
        code, made = _fill_thumbnails(settings, afresh, quiet=as_json)
        report |= made
    _print_thumbnails({**_thumbnail_report(settings), **report}, as_json)
    sys.exit(code)


def _print_thumbnail_path(settings: Settings, photo: str, as_json: bool) -> None:
    from catalogd.records import display_path
    from catalogd.thumbnails import ThumbnailStore

    record = _record_of(settings, photo)
    found = ThumbnailStore(settings).path_of(record.content)
    if as_json:
        _print_json({"path": display_path(record.path), "thumbnail": str(found) if found else None})
    elif found:
        sys.stdout.buffer.write(os.fsencode(found) + b"\n")
    else:
        click.echo("no thumbnail; `catalogd thumbs --fill` makes those that are missing", err=True)
    if found is None:
        sys.exit(1)


def _prune_thumbnails(settings: Settings) -> dict[str, Any]:
    from catalogd.thumbnails import ThumbnailStore

    with _locked(settings) as catalog:
        freed = ThumbnailStore(settings).prune({content for content, _ in catalog.contents()})
    return {"freed": freed.count, "freed_bytes": freed.size_bytes}


def _fill_thumbnails(settings: Settings, afresh: bool, quiet: bool) -> tuple[int, dict[str, Any]]:
    """Exit code, and how many were made and could not be made."""
    from catalogd.daemon.filling import fill_thumbnails, lacking_contents
    from catalogd.thumbnails import ThumbnailStore

    made = failed = interrupted = 0
    try:
        with _locked(settings) as catalog, contextlib.ExitStack() as stack:
            if afresh:
                wanted = {content for content, _ in catalog.contents(with_missing=False)}
            else:
                wanted = lacking_contents(catalog, ThumbnailStore(settings))
            tries = contextlib.closing(fill_thumbnails(catalog, settings, wanted, afresh))
            shown = io.StringIO() if quiet else sys.stderr
            bar = click.progressbar(stack.enter_context(tries), len(wanted), "thumbnails", file=shown)
            for has_one in stack.enter_context(bar):
                made, failed = made + has_one, failed + (not has_one)
    except KeyboardInterrupt:
        interrupted = _INTERRUPTED_EXIT
    return interrupted or (_FAILED_EXIT if failed else 0), {"made": made, "not_made": failed}


def _thumbnail_report(settings: Settings) -> dict[str, Any]:
    from catalogd.thumbnails import ThumbnailStore

    store = ThumbnailStore(settings)
    sizes = store.sizes()
    with _open(settings) as catalog:
        contents = catalog.contents(with_missing=False)
    return {
        "count": len(sizes),
        "bytes": sum(sizes.values()),
        "max_bytes": store.max_bytes,
        "photos": len(contents),
        "missing": sum(content not in sizes for content, _ in contents),
        "folder": str(store.folder),
    }


def _print_thumbnails(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(report)
        return
    from catalogd import terminal

    for line in terminal.thumbnail_lines(report):
        _echo(line)


# ── sync ──────────────────────────────────────────────────────────────────────────────────────


@cli.group()
def sync() -> None:
    """Write what the catalog knows beside the photos, for other programs."""


@sync.command(cls=_QueryCommand)
@click.argument("what", nargs=-1, metavar="[QUERY|PATH]...")
@click.option("--dry-run", is_flag=True, help="Show what would change, property by property; write nothing.")
@click.option(
    "--fields",
    metavar="NAME,...",
    help="Only these: keywords, caption, title, rating, faces, place, scores, ocr.  [default: all]",
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
    sys.exit(_sync_exit(tally, _FAILED_EXIT if tally.counts["refused"] else 0))


@sync.command(name="status", cls=_QueryCommand)
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
    return _INTERRUPTED_EXIT if tally.interrupted else code


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
    from catalogd.daemon.sidecars import Told
    from catalogd.sync import sync_records
    from catalogd.sync.report import Tally

    tally = Tally()
    with _open(settings) as catalog, Told(settings, catalog) as told, _interruptible(tally):
        records, total = _chosen_records(settings, catalog, what)
        progress = _SyncProgress(total)
        wanted = itertools.takewhile(lambda record: not tally.interrupted, records)
        with contextlib.closing(sync_records(progress.counting(wanted), options, settings, ledger)) as done:
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
        _print_json(row)
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
    return _sync_exit(tally, _FAILED_EXIT if tally.counts["refused"] else 0)


def _chosen_records(
    settings: Settings, catalog: Catalog, what: tuple[str, ...]
) -> tuple[Iterator[Record], int | None]:
    """The photos that the arguments name, and how many they are where that is known."""
    if not what:
        counts = catalog.counts()
        return catalog.iter_records(), counts.indexed + counts.missing
    if all(os.path.lexists(word) for word in what):
        return _records_at(catalog, what), None
    if any(os.sep in word for word in what):
        missing = next(word for word in what if not os.path.lexists(word))
        raise UsageError(f"{missing} does not exist; a query has no path in it")
    from catalogd import query as search_photos

    plan = search_photos.parse(_query_text(what), max(1, catalog.counts().indexed))
    hits = search_photos.search(catalog, plan, _text_encoder(settings, bool(plan.words)))
    return catalog.iter_records_of([hit.photo_id for hit in hits]), len(hits)


def _records_at(catalog: Catalog, paths: tuple[str, ...]) -> Iterator[Record]:
    for path in paths:
        if os.path.isdir(path):
            yield from catalog.records_under(os.fsencode(os.path.realpath(path)))
        elif record := catalog.record(_photo_id(catalog, path)):
            yield record
        else:
            raise UsageError(f"{path} is not in the catalog; `catalogd run` indexes its folder")


class _SyncProgress:
    """How many photos are done, on stderr: in place on a terminal, else a line now and then."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._begun = self.done = 0
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._every_s = 0.5 if self._live else _PLAIN_LINE_EVERY_S
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


# ── models, doctor, demo ──────────────────────────────────────────────────────────────────────


@cli.command()
@click.option("--profile", help="Only this profile.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a model.")
@click.pass_obj
def models(load: LoadSettings, profile: str | None, as_json: bool) -> None:
    """Profiles and their models: where the weights come from, whether they are here, under which licence."""
    from catalogd.models import registry

    settings = load(profile=profile)
    for name in [settings.profile] if profile else registry.PROFILES:
        rows = registry.describe(name, settings)
        if as_json:
            for row in rows:
                _print_json({"profile": name, **_plain(row)})
        else:
            from catalogd import terminal

            _console().print(terminal.models_table(name, rows))


def _plain(row: Any) -> dict[str, Any]:
    import dataclasses

    import msgspec

    plain = dataclasses.asdict(row) if dataclasses.is_dataclass(row) and not isinstance(row, type) else row
    result: dict[str, Any] = msgspec.to_builtins(plain)
    return result


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
@click.pass_obj
def doctor(load: LoadSettings, as_json: bool) -> None:
    """What is missing on this machine, and the command that fixes it. Exit code 1 when something is."""
    from catalogd.doctor import examine
    from catalogd.terminal import escaped

    findings = examine(load())
    for finding in findings:
        if as_json:
            _print_json(_plain(finding))
        else:
            mark = click.style("ok     ", fg="green") if finding.ok else click.style("missing", fg="red")
            if finding.ok is None:
                mark = click.style("note   ", fg="yellow")
            click.echo(f"{mark}  {escaped(finding.name)}: {escaped(finding.text)}")
            if finding.fix:
                click.echo(f"         → {escaped(finding.fix)}")
    sys.exit(1 if any(finding.ok is False for finding in findings) else 0)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Hits as JSON, one object each.")
@click.pass_obj
def demo(load: LoadSettings, as_json: bool) -> None:
    """Index a few real photos that come inside installed packages, and run three queries."""
    import dataclasses
    import tempfile

    from catalogd import query as search_photos
    from catalogd.demo import DEMO_QUERIES, demo_photos

    with tempfile.TemporaryDirectory(prefix="catalogd-demo-") as folder:
        photos = demo_photos(Path(folder) / "photos")
        settings = dataclasses.replace(load(), catalog=Path(folder) / "catalog")
        code = _run(settings, [os.fsencode(photos)], as_json=False, once=True)
        encoder = _text_encoder(settings, True)
        with _open(settings) as catalog:
            for text in DEMO_QUERIES:
                hits = search_photos.search(catalog, search_photos.parse(text, limit=3), encoder)
                if not as_json:
                    click.secho(f"\n$ catalogd query {text!r} -n 3", bold=True)
                _print_hits(hits, as_json, False, False)
    sys.exit(code)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL: `eval "$(catalogd completion bash)"`."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "catalogd", "_CATALOGD_COMPLETE").source())


# ── shared by the commands ────────────────────────────────────────────────────────────────────


def _open(settings: Settings) -> Catalog:
    from catalogd.catalog import Catalog

    return Catalog.open(settings.catalog, settings)


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[Catalog]:
    """The catalog for writing, while no run holds it."""
    from catalogd.catalog import Catalog
    from catalogd.daemon import Lock

    with _open(settings):
        pass  # says what to do when there is none, before a lock makes its folder
    lock = Lock(settings.catalog)
    try:
        with Catalog.open(settings.catalog, settings, write=True) as catalog:
            yield catalog
    finally:
        lock.release()


def _print_json(value: dict[str, Any]) -> None:
    """One line, valid in every encoding of stdout."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    click.echo(json.dumps(_json_ready(value), ensure_ascii=not is_utf8, allow_nan=False))


def _json_ready(value: Any) -> Any:
    """The same with each string as text that UTF-8 can hold."""
    from catalogd.terminal import valid_text

    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {_json_ready(key): _json_ready(item) for key, item in value.items()}
    return [_json_ready(item) for item in value] if isinstance(value, list | tuple) else value


def _console() -> Any:
    """Full width when piped: a path is never folded there."""
    from rich.console import Console

    return Console(
        soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 10_000, highlight=False
    )


def main() -> None:
    """The `catalogd` command."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that is not UTF-8 shows \xNN, and no traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="catalogd")
