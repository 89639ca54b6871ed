"""`catalogd models`: which there are, fetched, chosen, taken back, dropped, and their licences."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from catalogd.cli.base import (
    FAILED_EXIT,
    PLAIN_LINE_EVERY_S,
    LoadSettings,
    cli,
    complain,
    console,
    echo,
    locked_catalog,
    open_catalog,
    print_json,
)
from catalogd.errors import CatalogLockedError, CatalogMissingError, ModelError, UsageError

if TYPE_CHECKING:
    from catalogd.models.hub import Plan
    from catalogd.models.known import Entry
    from catalogd.models.registry import Choice, ModelInfo
    from catalogd.settings import Settings

_DROPPABLE = ("tags", "caption", "aesthetics")  # beside embeddings; on the others depends what people said

_ACCEPT = click.option(
    "--accept-licence",
    "accepted",
    multiple=True,
    metavar="ID",
    help="Accept the licence of this model, for this catalog (may be repeated).",
)
_PROFILE = click.option(
    "--profile",
    help="Only this profile.",
    shell_complete=lambda ctx, param, begun: _begun_with(begun, _profiles()),
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a file of weights.")


# ── what the shell completes ──────────────────────────────────────────────────────────────────


def _begun_with(begun: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(begun)]


def _profiles() -> list[str]:
    from catalogd.models.known import PROFILES

    return list(PROFILES)


def _ids(job: str = "") -> list[str]:
    from catalogd.models.known import MODELS

    return [entry.id for entry in MODELS.values() if job in ("", entry.job)]


def _complete_models(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    return _begun_with(begun, _ids())


def _complete_models_and_profiles(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    return _begun_with(begun, [*_profiles(), *_ids()])


def _complete_choices(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """`JOB=ID` comes whole, or from bash in three words."""
    job, is_joined, model_id = begun.partition("=")
    if is_joined:
        return [f"{job}={found}" for found in _begun_with(model_id, _ids(job))]
    before = [word for word in ctx.params.get(param.name or "") or () if word != "="]
    if before and before[-1] not in (*_ids(), *_profiles()) and (found := _ids(before[-1])):
        return _begun_with(begun, found)
    return _begun_with(begun, [*_profiles(), *_ids()])


# ── list ──────────────────────────────────────────────────────────────────────────────────────


@cli.group(invoke_without_command=True)
@_PROFILE
@_JSON
@click.pass_context
def models(ctx: click.Context, profile: str | None, as_json: bool) -> None:
    """Profiles and their models: what is here, what is missing, under which licences.

    Without a command they are listed: whether they are here, how large they are, under which licence;
    in a wide window also what memory they need on a GPU and what their limits are.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.obj, profile, as_json)


@models.command("list")
@_PROFILE
@_JSON
@click.pass_obj
def list_models(load: LoadSettings, profile: str | None, as_json: bool) -> None:
    """The same as `catalogd models`."""
    _list(load, profile, as_json)


def _list(load: LoadSettings, profile: str | None, as_json: bool) -> None:
    from catalogd.models import registry

    settings = load()
    in_use = registry.chosen(settings).profile
    show = _print_rows if as_json else _print_table
    for name in [profile] if profile else registry.PROFILES:
        show(name, name == in_use, registry.describe(name, settings), settings)
    if not profile:
        show("", False, registry.describe_others(settings), settings)


def _print_rows(profile: str, is_chosen: bool, rows: list[ModelInfo], settings: Settings) -> None:
    for row in rows:
        print_json({"profile": profile, "chosen": is_chosen, **dataclasses.asdict(row)})


def _print_table(profile: str, is_chosen: bool, rows: list[ModelInfo], settings: Settings) -> None:
    from catalogd.cli.model_table import models_table
    from catalogd.models import registry

    shown = console()
    stand_ins = registry.stand_ins(registry.chosen(settings)) if is_chosen else ()
    shown.print(models_table(profile, rows, is_chosen, list(stand_ins), shown.width))


# ── get ───────────────────────────────────────────────────────────────────────────────────────


@models.command()
@click.argument(
    "what", nargs=-1, required=True, metavar="ID|PROFILE...", shell_complete=_complete_models_and_profiles
)
@_ACCEPT
@click.option("--yes", is_flag=True, help="Do not ask before fetching.")
@click.option("--again", is_flag=True, help="Fetch also what is here.")
@click.pass_obj
def get(load: LoadSettings, what: tuple[str, ...], accepted: tuple[str, ...], yes: bool, again: bool) -> None:
    """Fetch weights from the hub: of one model, or of all in a profile.

    Says first what will be fetched, how large it is and where it goes. What breaks off goes on from
    there the next time. This is the only command that downloads. Of a profile, models are left out
    whose packages are not installed; by its ID each is fetched. Exit code 3 when a licence kept
    something back, 4 when something could not be fetched; the rest is.
    """
    settings = load()
    licence_acceptance(settings, accepted)
    entries = _entries(what)
    refused = [entry for entry in entries if not _may_use(entry, settings)]
    for entry in refused:
        echo(_refusal(entry), err=True)
    is_whole = _fetch_all(settings, [entry for entry in entries if entry not in refused], yes, again)
    sys.exit(ModelError.exit_code if not is_whole else FAILED_EXIT if refused else 0)


def _entries(what: tuple[str, ...]) -> list[Entry]:
    """The models that are named, and those of named profiles that can run here, each once."""
    from catalogd.models import registry

    named = [registry.entry_of(name) for name in what if name not in registry.PROFILES]
    ids = dict.fromkeys(model_id for name in what for model_id in registry.PROFILES.get(name, {}).values())
    entries = {entry.id: entry for entry in named}
    for entry in map(registry.entry_of, ids):
        if registry.is_importable(entry):
            entries[entry.id] = entry
        elif entry.id not in entries:
            echo(f"{entry.id}: left out, its packages are missing → pip install 'catalogd[{entry.extra}]'")
    return list(entries.values())


def _fetch_all(settings: Settings, entries: list[Entry], yes: bool, again: bool) -> bool:
    """Whether all went well; what fails is said and keeps nothing else from being fetched."""
    from catalogd import terminal

    failed: list[str] = []
    plans = list(_plans(settings, entries, again, failed))
    for plan in plans:
        echo(terminal.plan_line(plan))
    total = sum(plan.missing_bytes for plan in plans)
    if plans and not yes:
        _ask(f"Fetch {terminal.byte_size(total)} into {settings.model_cache / 'hub'}?")
    for plan in plans:
        with _said(failed):
            _fetch(settings, plan)
    return not failed


@contextlib.contextmanager
def _said(failed: list[str]) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        complain(str(error))
        failed.append(str(error))


def _plans(settings: Settings, entries: list[Entry], again: bool, failed: list[str]) -> Iterator[Plan]:
    """What the hub has of the models that are not here; of the others it is said why nothing is fetched."""
    from catalogd.models import bundles, hub, registry

    for entry in entries:
        found = bundles.find(entry.bundle, settings) if entry.bundle else None
        if entry.bundle and entry.bundle.is_on_hub and (found is None or again):
            with _said(failed):
                yield hub.plan(entry.bundle, settings)
        elif found:
            echo(f"{entry.id}: is here, {found.folder}")
        elif gap := registry.obstacle(entry, settings):
            echo(f"{entry.id}: {gap.text} → {gap.fix}")
        else:
            echo(f"{entry.id}: is here")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Say --yes: nobody can be asked here")
    click.confirm(question, default=True, abort=True)


def _fetch(settings: Settings, plan: Plan) -> None:
    from catalogd.models import hub

    with _shown(plan) as report:
        found = hub.fetch(plan, settings, report)
    echo(f"{plan.bundle.id}: {found.folder}")


@contextlib.contextmanager
def _shown(plan: Plan) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, else a line now and then."""
    if sys.stdout.isatty():
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        with Progress(*columns, transient=True) as progress:
            task = progress.add_task(plan.bundle.id, total=plan.size_bytes)
            yield lambda name, done, total: progress.update(task, completed=done)
    else:
        yield _PlainDownload(plan.bundle.id)


class _PlainDownload:
    """A line every few seconds."""

    def __init__(self, model_id: str) -> None:
        self._id = model_id
        self._next = time.monotonic() + PLAIN_LINE_EVERY_S

    def __call__(self, name: str, done: int, total: int) -> None:
        from catalogd import terminal

        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_LINE_EVERY_S
            echo(f"{self._id}: {terminal.byte_size(done)} of {terminal.byte_size(total)}, {name}")


# ── licences ──────────────────────────────────────────────────────────────────────────────────


@models.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=_complete_models)
@click.pass_obj
def accept(load: LoadSettings, ids: tuple[str, ...]) -> None:
    """Accept the licence of models that not everyone may use, for this catalog.

    Kept with the date in models.json in the catalog. Whether your use is one that the licence allows
    is yours to judge.
    """
    licence_acceptance(load(), ids)


def licence_acceptance(settings: Settings, ids: Iterable[str], err: bool = False) -> None:
    """Keep that these licences were accepted, and say what was."""
    from catalogd.models import choices, licences, registry

    for entry in [registry.entry_of(model_id) for model_id in ids]:
        if entry.is_commercial:
            echo(f"{entry.id}: {entry.licence}, which asks for no acceptance", err)
        elif not registry.is_accepted(entry, settings):
            choices.accept(settings, entry.id, entry.licence)
            echo(f"{entry.id}: accepted for {settings.catalog}: {licences.terms(entry.licence)}", err)


def _may_use(entry: Entry, settings: Settings) -> bool:
    from catalogd.models import registry

    return registry.is_accepted(entry, settings)


def _refusal(entry: Entry) -> str:
    from catalogd.models import licences

    return (
        f"{entry.id} is not for everyone: {licences.terms(entry.licence)}. "
        f"If that allows your use: --accept-licence {entry.id}, or catalogd models accept {entry.id}"
    )


# ── use ───────────────────────────────────────────────────────────────────────────────────────


@models.command()
@click.argument(
    "what", nargs=-1, required=True, metavar="PROFILE|[JOB=]ID...", shell_complete=_complete_choices
)
@_ACCEPT
@click.pass_obj
def use(load: LoadSettings, what: tuple[str, ...], accepted: tuple[str, ...]) -> None:
    """Choose the catalog's profile, or the model of one job.

    Kept in models.json in the catalog; the next run follows, and makes only what another model has
    to make. A model counts in every profile, until a profile is chosen anew. Search by meaning goes on
    with the model before until the new one has seen all photos: `catalogd models back` undoes that.
    --profile of a run and CATALOGD_PROFILE outrank the profile chosen here.
    """
    from catalogd import run_state
    from catalogd.models import choices, registry

    settings = load()
    licence_acceptance(settings, accepted)
    wanted = [_choice(word, settings) for word in what]
    before = registry.chosen(settings)
    for job, value in wanted:
        if job:
            choices.use_model(settings, job, value)
        else:
            choices.use_profile(settings, value)
    after = registry.chosen(settings)
    _tell_outranked(settings, wanted)
    _tell_change(settings, before, after)
    if before != after and run_state.is_running(settings.catalog):
        echo("  a run is under way: it goes on with its models; the next run takes the new ones")
    elif before.jobs["embedding"] != after.jobs["embedding"]:
        _begin_switch(settings)


def _choice(word: str, settings: Settings) -> tuple[str, str]:
    """(job, id), or ("", profile). Raises UsageError for what can't be chosen."""
    from catalogd.models import registry

    if word in registry.PROFILES:
        return "", word
    job, _, model_id = word.rpartition("=")
    entry = registry.entry_of(model_id)
    job = job or entry.job
    if entry.job != job:
        those = ", ".join(other.id for other in registry.MODELS.values() if other.job == job)
        raise UsageError(
            f"{model_id} does {entry.job}; {job} is done by: {those}"
            if those
            else f"there is no job {job!r}; {model_id} does {entry.job}"
        )
    if not _may_use(entry, settings):
        raise UsageError(_refusal(entry))
    return job, model_id


def _tell_outranked(settings: Settings, wanted: list[tuple[str, str]]) -> None:
    for job, value in wanted:
        if not job and settings.profile not in ("", value):
            echo(f"catalogd: the setting profile outranks this: {settings.profile}", err=True)


def _tell_change(settings: Settings, before: Choice, after: Choice) -> None:
    """What the next run will do, and what it lacks."""
    from catalogd.models import registry

    photos = _photos(settings)
    echo(f"profile {after.profile}" + (f", {photos:,} photos in the catalog" if photos else ""))
    for job, model_id in after.jobs.items():
        if before.jobs.get(job) != model_id:
            echo(
                f"  {job}: {model_id}{_instead(before.jobs.get(job))}{_expected(settings, model_id, photos)}"
            )
    for sentence in registry.gaps(settings):
        echo(f"  {sentence}")


def _instead(model_id: str | None) -> str:
    return f" instead of {model_id}" if model_id else ""


def _expected(settings: Settings, model_id: str, photos: int) -> str:
    """How long the photos take, where a run has measured the model on this machine."""
    from catalogd import terminal
    from catalogd.models import registry

    entry = registry.entry_of(model_id)
    if entry.is_on_request and entry.job not in registry.chosen(settings).named:
        return f", when it is asked for: catalogd run --models {entry.job}"
    frame_s = registry.measured_frame_s(entry, settings)
    return f": about {terminal.duration(photos * frame_s)} for them" if photos and frame_s else ""


def _photos(settings: Settings) -> int:
    try:
        with open_catalog(settings) as catalog:
            return catalog.counts().indexed
    except CatalogMissingError:
        return 0


def _begin_switch(settings: Settings) -> None:
    """Let search by meaning go over to the chosen embedder; a run that begins later does it, too."""
    from catalogd.catalog import spaces
    from catalogd.models import registry

    space = registry.search_space(settings)
    if not space:
        echo("  search by meaning stays as it is until the new model's weights are here and a run has begun")
        return
    try:
        with locked_catalog(settings) as catalog:
            state = spaces.begin_switch(catalog, space)
    except CatalogMissingError:
        return
    except CatalogLockedError:
        echo("  another command holds the catalog: the next run begins the switch")
        return
    echo(_switch_line(state))


def _switch_line(state: Any) -> str:
    if not state.wanted:
        return "  search by meaning uses it from now on"
    return (
        f"  search by meaning stays with the model before until {state.photos:,} photos are covered; "
        f"{state.covered:,} are"
    )


@models.command()
@click.pass_obj
def back(load: LoadSettings) -> None:
    """Undo the last change of the model that searches by meaning, finished or not.

    What the newer model made stays until `catalogd models drop` takes it away.
    """
    from catalogd.catalog import spaces
    from catalogd.models import choices, registry

    settings = load()
    with locked_catalog(settings) as catalog:
        state = spaces.back_out(catalog)
    model_id = registry.model_id_of(state.active) if state.active else registry.PICTURES_ID
    if model_id:
        choices.use_model(settings, "embedding", model_id)
    echo(f"search by meaning uses {model_id or state.active} again")


def _made_by(entry: Entry) -> str:
    """How the fingerprints begin of what it made: those of captions by a server name its model, too."""
    return f"{entry.id}-" if entry.way == "server" else f"{entry.id}@"


# ── drop ──────────────────────────────────────────────────────────────────────────────────────


@models.command()
@click.argument("model_id", metavar="ID", shell_complete=_complete_models)
@click.option("--weights", is_flag=True, help="Delete the fetched weights, too.")
@click.pass_obj
def drop(load: LoadSettings, model_id: str, weights: bool) -> None:
    """Take what a model of search, tags, captions or aesthetics made out of the catalog.

    In small steps; what an interruption leaves the next run does. The model that searches by meaning
    can't be dropped: choose another one first.
    """
    from catalogd import terminal
    from catalogd.catalog import spaces
    from catalogd.models import hub, registry

    settings = load()
    entry = registry.entry_of(model_id)
    if not entry.name.startswith("embedding:") and entry.job not in _DROPPABLE:
        raise UsageError(f"what {entry.id} made stays: on {entry.job} depends what people said")
    with contextlib.suppress(CatalogMissingError), locked_catalog(settings) as catalog:
        dropped = spaces.drop(catalog, entry.name, by=_made_by(entry))
        echo(f"{entry.id}: taken out of {dropped:,} photos")
    if weights and entry.bundle:
        echo(f"{entry.id}: {terminal.byte_size(hub.remove(entry.bundle, settings))} of weights deleted")
