"""What the owner of a catalog chose: its profile, its models, the licences that were accepted.

Kept in `models.json` in the catalog. Licences are accepted for one catalog: whether a use is
commercial is a matter of what the photos are for.
"""

from __future__ import annotations

import datetime

import msgspec

from catalogd.errors import CatalogError, SettingsError
from catalogd.models.weights import written_aside
from catalogd.settings import Settings

FILE = "models.json"


class Acceptance(msgspec.Struct, frozen=True):
    """That somebody agreed to the terms of a model."""

    licence: str  # its name at that time
    accepted: str  # ISO 8601, UTC


class Choices(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of the file."""

    profile: str = ""  # "": none was chosen
    jobs: dict[str, str] = {}  # job → id of the model that does it instead of the profile's
    accepted: dict[str, Acceptance] = {}  # by id of the model


def read(settings: Settings) -> Choices:
    """Nothing chosen where there is no file. Raises SettingsError naming a damaged one."""
    path = settings.catalog / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Choices)
    except (FileNotFoundError, NotADirectoryError):
        return Choices()
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsError(f"{path} can't be read: {error}; delete it to choose anew") from None


def write(settings: Settings, choices: Choices) -> None:
    """Whole or not at all. Raises CatalogError where the catalog can't be written."""
    path = settings.catalog / FILE
    try:
        with written_aside(path) as aside:
            aside.write_bytes(msgspec.json.format(msgspec.json.encode(choices)) + b"\n")
    except OSError as error:
        raise CatalogError(f"{path} can't be written: {error.strerror}") from None


def use_profile(settings: Settings, profile: str) -> None:
    """This profile's models from now on; what was chosen for single jobs is forgotten."""
    write(settings, msgspec.structs.replace(read(settings), profile=profile, jobs={}))


def use_model(settings: Settings, job: str, model_id: str) -> None:
    """This model does the job from now on, whatever the profile."""
    choices = read(settings)
    write(settings, msgspec.structs.replace(choices, jobs={**choices.jobs, job: model_id}))


def accept(settings: Settings, model_id: str, licence: str) -> None:
    """The terms of this model are agreed to, for this catalog."""
    choices = read(settings)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    accepted = {**choices.accepted, model_id: Acceptance(licence, now)}
    write(settings, msgspec.structs.replace(choices, accepted=accepted))
