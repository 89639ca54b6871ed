"""What a search found, in every form that a person or a program may want it in."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalogd.cli.base import console, echo, open_catalog, print_json
from catalogd.errors import UsageError

if TYPE_CHECKING:
    from catalogd.records import Explanation, Hit, Record, Results
    from catalogd.settings import Settings
    from catalogd.sheets import Tile

NOTHING_EXIT = 1
MOST_OPENED = 20  # viewers at once: each may be a program of its own
_FORMS = ("as_json", "as_csv", "as_paths", "print0", "sheet", "images")
NO_OUTPUTS = dict.fromkeys((*_FORMS, "open_them"))  # the table
_FORM_FLAGS = {
    "as_json": "--json",
    "as_csv": "--csv",
    "as_paths": "--paths",
    "print0": "-0",
    "sheet": "--contact-sheet",
    "images": "--images",
}
CSV_COLUMNS = (
    "path",
    "photo_id",
    "score",
    "taken_at",
    "camera",
    "lens",
    "iso",
    "aperture",
    "exposure_s",
    "focal_mm",
    "width",
    "height",
    "latitude",
    "longitude",
    "place",
    "rating",
    "label",
    "keywords",
    "people",
    "tags",
    "why",
    "caption",
    "caption_by",
    "aesthetics",
)


def hit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that shows hits; they reach it as one `outputs` dictionary."""
    options = (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a hit (docs/output.md)."),
        click.option("--csv", "as_csv", is_flag=True, help="A table for spreadsheets."),
        click.option("--paths", "as_paths", is_flag=True, help="Only the paths, one a line."),
        click.option(
            "-0", "--print0", is_flag=True, help="Only the paths, as bytes, each ended by NUL (for xargs -0)."
        ),
        click.option(
            "--contact-sheet",
            "sheet",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Write the pictures on one page: FILE ends in .html or .jpg.",
        ),
        click.option(
            "--images",
            is_flag=False,
            flag_value="auto",
            default=None,
            type=click.Choice(["auto", "kitty", "iterm", "sixel"]),
            help="Show thumbnails in the terminal; auto asks it what it can show.",
        ),
        click.option("--open", "open_them", is_flag=True, help="Also open the hits in the photo viewer."),
    )

    @functools.wraps(command)
    def wrapped(*args: Any, **values: Any) -> Any:
        outputs = {name: values.pop(name) for name in NO_OUTPUTS}
        _check_forms(outputs)
        return command(*args, outputs=outputs, **values)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def forms_asked(outputs: dict[str, Any]) -> list[str]:
    """The flags of the forms that were asked for."""
    return [_FORM_FLAGS[name] for name in _FORMS if outputs[name]]


def _check_forms(outputs: dict[str, Any]) -> None:
    if outputs["print0"]:
        outputs["as_paths"] = False  # NUL-ended paths are paths
    asked = forms_asked(outputs)
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)}: choose one of them")
    sheet = outputs["sheet"]
    if sheet is not None and sheet.suffix.lower() not in (".html", ".htm", ".jpg", ".jpeg"):
        raise UsageError(f"--contact-sheet {sheet}: the name must end in .html or .jpg")


def show_results(settings: Settings, results: Results, text: str, outputs: dict[str, Any]) -> int:
    """Print what was found; returns the exit code."""
    for note in results.notes:
        echo(f"catalogd: {note}", err=True)
    if outputs["as_json"]:
        _print_json_results(results)
    elif results.explanation is not None:
        _print_explanation(results.explanation, results.took_ms)
    if results.hits:
        _show_found(settings, results, text, outputs)
    elif not outputs["as_json"]:
        _show_nothing(results, outputs)
    if outputs["open_them"]:
        open_photos([hit.path for hit in results.hits])
    return 0 if results.hits else NOTHING_EXIT


def _show_found(settings: Settings, results: Results, text: str, outputs: dict[str, Any]) -> None:
    hits = results.hits
    if outputs["as_csv"]:
        _print_csv(settings, hits)
    elif outputs["print0"]:
        sys.stdout.buffer.write(b"".join(hit.path + b"\0" for hit in hits))
    elif outputs["as_paths"]:
        sys.stdout.buffer.write(b"".join(hit.path + b"\n" for hit in hits))
    elif outputs["sheet"] is not None:
        tiles = hit_tiles(settings, hits)
        write_sheet(outputs["sheet"], text, photos_text(len(tiles)), tiles)
    elif outputs["images"]:
        _print_images(settings, hits, outputs["images"])
    elif not outputs["as_json"]:
        _print_table(hits)
        if results.total is not None and results.total > len(hits):
            click.echo(f"{len(hits):,} of {results.total:,} photos; -n shows more", err=True)


def _show_nothing(results: Results, outputs: dict[str, Any]) -> None:
    as_list = any(outputs[name] for name in ("as_csv", "as_paths", "print0", "sheet"))
    if not results.nearest or as_list:
        click.echo("nothing matches well" if results.nearest else "nothing found", err=True)
        return
    click.echo("nothing matches well; the nearest are:")
    _print_table(results.nearest)


def _print_table(hits: Sequence[Hit]) -> None:
    from catalogd import terminal

    console().print(terminal.hits_table(list(hits), links=sys.stdout.isatty()))


def photos_text(count: int) -> str:
    return "1 photo" if count == 1 else f"{count:,} photos"


# ── for programs ──────────────────────────────────────────────────────────────────────────────


def _print_json_results(results: Results) -> None:
    import msgspec

    from catalogd.json_forms import hit_json

    if results.explanation is not None:
        print_json({"explanation": msgspec.to_builtins(results.explanation), "took_ms": results.took_ms})
    for hit in results.hits:
        print_json(hit_json(hit, found=True))
    for hit in results.nearest:
        print_json(hit_json(hit, found=False))


def _print_csv(settings: Settings, hits: Sequence[Hit]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_row(hit, record) for hit, record in _with_records(settings, hits))
    sys.stdout.buffer.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _csv_row(hit: Hit, record: Record) -> dict[str, Any]:
    from catalogd import terminal
    from catalogd.json_forms import caption_that_counts
    from catalogd.records import aesthetics_of, display_path, tagged_by

    facts = record.said
    caption, caption_by = caption_that_counts(record)
    place = facts.place
    tags = [tag.name for output in tagged_by(record.outputs).values() for tag in output.tags or ()]
    return {
        **{name: getattr(facts, name, None) for name in CSV_COLUMNS},
        "path": display_path(hit.path),
        "photo_id": hit.photo_id,
        "score": hit.score,
        "place": ", ".join(filter(None, (place.city, place.region, place.country))) if place else "",
        "keywords": "; ".join(facts.keywords),
        "people": "; ".join(facts.people),
        "tags": "; ".join(tags),
        "caption": caption,
        "caption_by": caption_by,
        "aesthetics": aesthetics_of(record),
        "why": "; ".join(terminal.signal_text(signal) for signal in hit.signals),
    }


def _with_records(settings: Settings, hits: Sequence[Hit]) -> Iterator[tuple[Hit, Record]]:
    """The hits with their records; a photo that went a moment ago is left out."""
    with open_catalog(settings) as catalog:
        records = catalog.records([hit.photo_id for hit in hits])
    for hit, record in zip(hits, records, strict=True):
        if record is not None:
            yield hit, record


# ── pictures ──────────────────────────────────────────────────────────────────────────────────


def hit_tiles(settings: Settings, hits: Sequence[Hit]) -> list[Tile]:
    """The hits as tiles of a contact sheet."""
    from catalogd import terminal
    from catalogd.sheets import Tile
    from catalogd.thumbnails import ThumbnailStore

    store = ThumbnailStore(settings)
    return [
        Tile(
            hit.path,
            store.get(record.content),
            f"{hit.score:.2f}",
            tuple(terminal.signal_text(signal) for signal in hit.signals),
        )
        for hit, record in _with_records(settings, hits)
    ]


def write_sheet(file: Path, title: str, note: str, tiles: Sequence[Tile]) -> None:
    """Write the contact sheet whole or not at all, and say where it is."""
    from catalogd import sheets

    if file.suffix.lower() in (".html", ".htm"):
        content = sheets.html_sheet(title, note, tiles).encode()
    else:
        try:
            content = sheets.jpeg_sheet(title, note, tiles)
        except ValueError as error:
            raise UsageError(f"--contact-sheet {file}: {error}") from None
    try:
        _write_whole(file, content)
    except OSError as error:
        raise UsageError(f"--contact-sheet {file}: {error.strerror}") from None
    echo(f"{file}: {photos_text(len(tiles))}", err=True)


def _write_whole(file: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as aside:
        try:
            aside.write(content)
            aside.flush()
            os.chmod(aside.name, 0o666 & ~_umask())
            os.replace(aside.name, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside.name)
            raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _print_images(settings: Settings, hits: Sequence[Hit], wanted: str) -> None:
    from catalogd import terminal, terminal_images
    from catalogd.records import display_path
    from catalogd.thumbnails import ThumbnailStore

    protocol: Any = terminal_images.detect(os.environ) if wanted == "auto" else wanted
    if protocol is None:
        raise UsageError(
            "--images: this terminal shows no pictures (kitty, iTerm2 or sixel); "
            "--contact-sheet FILE.html makes a page of them"
        )
    store, cell = ThumbnailStore(settings), terminal_images.cell_px()
    for hit, record in _with_records(settings, hits):
        picture = terminal_images.picture_escape(store.get(record.content), protocol, cell)
        why = "; ".join(terminal.signal_text(signal) for signal in hit.signals)
        click.echo(picture, nl=False, color=True)
        click.echo(f"{hit.score:.2f}  {terminal.escaped(display_path(hit.path))}  {why}\n")


def open_photos(paths: Sequence[bytes]) -> None:
    """Open each photo in the program that the desktop opens photos with."""
    if len(paths) > MOST_OPENED:
        raise UsageError(f"--open: {len(paths):,} photos are too many; -n {MOST_OPENED} opens the best")
    for path in paths:
        if click.launch(os.fsdecode(path)) != 0:
            raise UsageError("--open: this machine has no program that opens photos (xdg-open, open)")


# ── explanations ──────────────────────────────────────────────────────────────────────────────


def _print_explanation(explanation: Explanation, took_ms: float) -> None:
    for line in explanation.read_as:
        echo(f"read as   {line}")
    width = max((len(step.name) for step in explanation.steps), default=0)
    for step in explanation.steps:
        photos = "" if step.photos is None else f"{step.photos:,} photos"
        echo(f"{step.took_ms:7.1f} ms  {step.name:<{width}} {photos:>16}  {step.note}".rstrip())
    click.echo(f"{took_ms:7.1f} ms  in all\n")
