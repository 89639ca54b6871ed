"""What the commands share: the group, errors, the catalog, queries and photos as arguments, output."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalogd import __version__
from catalogd.errors import CatalogdError, CatalogError, UsageError

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.records import Record
    from catalogd.settings import Settings

PLAIN_LINE_EVERY_S = 5.0
FAILED_EXIT = 3
INTERRUPTED_EXIT = 130


class _Group(click.Group):
    """Turns catalogd's own errors into a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CatalogdError as error:
            complain(str(error))
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Aborted!", err=True)
            ctx.exit(INTERRUPTED_EXIT)
        except BrokenPipeError:  # the reader of our output has left: `catalogd query … | head`
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:  # a catalog that can't be made or read, a folder that is none
            if not isinstance(error.filename, str | bytes):
                raise
            complain(f"{os.fsdecode(error.filename)}: {error.strerror}")
            ctx.exit(CatalogError.exit_code)


def complain(message: str) -> None:
    echo(f"catalogd: {message}", err=True)


def echo(line: str, err: bool = False) -> None:
    """A line that may hold what a file system or a decoder said."""
    from catalogd.terminal import escaped

    click.echo(escaped(line), err=err)


class QueryCommand(click.Command):
    """Takes `-camera:nikon` and `-blurry` for what photos must not have, not for the options -c, -b …

    Behind `--` everything is a part of the query.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_NO_OPTION + arg if _NEGATED.match(arg) else arg for arg in args])


# -camera:…, -iso>=400, -"…", -(…), a word of two letters or more, and a dash between spaces; -n20 and -0 are
# options
_NEGATED = re.compile(r"-(?:[^\W\d]\w*[:<>=≤≥]|[(\"“\s]|[^\W\d_]{2})")
_NO_OPTION = "\0"  # no argument holds one: hides a filter's "-" from the option parser
# camera:nikon z6, given as one argument; not several filters, or words with an operator between them
_SPACED_FILTER = re.compile(
    r"(?P<key>-?(?P<name>[^\W\d]\w*):)"
    r"(?!.*\s(?:-\S|[^\W\d]\w*:|(?:OR|AND|NOT|\|)\s))(?P<value>[^\s\"(][^\"]*\s[^\"]*)",
    re.DOTALL,
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


# ── shared by the commands ────────────────────────────────────────────────────────────────────


def open_catalog(settings: Settings) -> Catalog:
    from catalogd.catalog import Catalog

    return Catalog.open(settings.catalog, settings)


@contextlib.contextmanager
def locked_catalog(settings: Settings) -> Iterator[Catalog]:
    """The catalog for writing, while no run holds it."""
    from catalogd.catalog import Catalog
    from catalogd.daemon import Lock

    with open_catalog(settings):
        pass  # says what to do when there is none, before a lock makes its folder
    lock = Lock(settings.catalog)
    try:
        with Catalog.open(settings.catalog, settings, write=True) as catalog:
            yield catalog
    finally:
        lock.release()


def print_json(value: dict[str, Any]) -> None:
    """One line, valid in every encoding of stdout."""
    from catalogd.json_forms import json_ready

    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    click.echo(json.dumps(json_ready(value), ensure_ascii=not is_utf8, allow_nan=False))


def console() -> Any:
    """Full width when piped: a path is never folded there."""
    from rich.console import Console

    return Console(
        soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 10_000, highlight=False
    )


def query_text(words: tuple[str, ...]) -> str:
    """The arguments as one query; a value with spaces gets the quotes back that the shell took away.

    Bytes that are no text are spelled as in the names of files that a search shows: `caf\\xe9`.
    """
    from catalogd.json_forms import valid_text

    return valid_text(" ".join(_requoted(word.removeprefix(_NO_OPTION)) for word in words))


def _requoted(word: str) -> str:
    found = _SPACED_FILTER.fullmatch(word)
    if found is None:
        return word
    from catalogd.query.keys import Kind, find_key

    key = find_key(found["name"])
    if key is None or key.kind not in (Kind.WORDS, Kind.NEAR, Kind.EXAMPLE):
        return word
    # Formats have no spaces in their names: `type:png cat` is the type png and a cat.
    return word if key.name == "type" else f'{found["key"]}"{found["value"]}"'


def text_encoder(settings: Settings, catalog: Catalog, needed: bool) -> Any:
    """The text model of the space that is searched; without it words alone count, and that is said."""
    if not needed:
        return None
    from catalogd.query.meaning import Meaning

    meaning = Meaning(settings, catalog)
    encoder = meaning.encoder()
    if encoder is None:
        click.echo(f"catalogd: {meaning.lack()}", err=True)
    return encoder


def record_of(settings: Settings, photo: str) -> Record:
    with open_catalog(settings) as catalog:
        record = catalog.record(photo_id_of(catalog, photo), with_embeddings=True)
    if record is None:
        raise UsageError(f"{photo} is not in the catalog; `catalogd failures` lists what could not be read")
    return record


def photo_id_of(catalog: Catalog, photo: str) -> int:
    """A path as given, its real path, or a photo_id."""
    for path in (os.path.abspath(photo), os.path.realpath(photo)):
        found = catalog.photo_id_of(os.fsencode(path))
        if found:
            return found
    return int(photo) if photo.isdecimal() and int(photo) < 2**63 else 0


def chosen_records(
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

    plan = search_photos.parse(query_text(what), max(1, catalog.counts().indexed))
    hits = search_photos.search(catalog, plan, text_encoder(settings, catalog, plan.wants_meaning)).hits
    return catalog.iter_records_of([hit.photo_id for hit in hits]), len(hits)


def _records_at(catalog: Catalog, paths: tuple[str, ...]) -> Iterator[Record]:
    for path in paths:
        if os.path.isdir(path):
            yield from catalog.records_under(os.fsencode(os.path.realpath(path)))
        elif record := catalog.record(photo_id_of(catalog, path)):
            yield record
        else:
            raise UsageError(f"{path} is not in the catalog; `catalogd run` indexes its folder")
