"""The models of one run: what a photo lacks of them, and which of them may search by meaning."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import xxhash

from catalogd.catalog.spaces import SearchSpaces
from catalogd.catalog.store import KEPT_PROFILE, Store
from catalogd.errors import CatalogMissingError
from catalogd.images import READ_VERSION
from catalogd.models import DerivedModel, Model, bundles, registry
from catalogd.pipeline.stages import is_derived, is_gated
from catalogd.records import Record
from catalogd.settings import Settings


def profile_key(fingerprints: dict[str, str]) -> bytes:
    """8 bytes that change when any model of the profile does, or the step that reads photos."""
    steps = {"read": str(READ_VERSION), **fingerprints}
    text = "\n".join(f"{name}={fingerprint}" for name, fingerprint in sorted(steps.items()))
    return xxhash.xxh3_64_digest(text.encode())


@dataclasses.dataclass(frozen=True)
class SearchModels:
    """What a run knows of search by meaning."""

    name: str = ""  # of the output whose space shall be searched; "": whatever is, stays
    beside: frozenset[str] = frozenset()  # names of models that are kept for the space that is searched now
    has_text_model: Callable[[str], bool] = lambda space: True  # whether queries can be put in this space
    also: tuple[str, ...] = ()  # ids of the models `beside`, which are not of the profile


KEEP_SPACE = SearchModels()


def search_models(settings: Settings) -> SearchModels:
    """Of the chosen models: whose space shall be searched, and whose is until then.

    That one sees new photos, too, as long as its weights are here. Opens no weights.
    """
    embedder = registry.entry_of(registry.chosen(settings).jobs["embedding"])
    model_id = registry.model_id_of(_space_beside(settings))
    also = (model_id,) if model_id not in ("", embedder.id, registry.PICTURES_ID) else ()
    return SearchModels(
        embedder.name,
        frozenset(registry.entry_of(other).name for other in also),
        functools.partial(_has_text_model, settings),
        also,
    )


def _space_beside(settings: Settings) -> str:
    try:
        with Store(settings.catalog) as store:
            return SearchSpaces(store).searched_beside(registry.search_space(settings))
    except CatalogMissingError:
        return ""


def _has_text_model(settings: Settings, space: str) -> bool:
    """Whether the text model of a space is on this machine, with the weights that made the space."""
    model_id = registry.model_id_of(space)
    if not model_id or registry.obstacle(registry.entry_of(model_id), settings):
        return False
    entry = registry.entry_of(model_id)
    if entry.bundle is None:
        from catalogd.models import embedding

        made = embedding.EmbeddingModel(settings, 1).fingerprint
        return space == made == embedding.joint_space_name()
    found = bundles.find(entry.bundle, settings)
    return found is not None and found.short_hash in space


class Lack(NamedTuple):
    """Of a photo, the models whose output is missing or was made by another version."""

    frames: tuple[str, ...]  # those that look at the photo
    derived: tuple[str, ...]  # those that its record is enough for


class RunModels:
    """The models of a run, by name. `is_part`: others of the profile are left out on purpose.

    What is `beside` them runs on new photos only: its lack makes none stale.
    """

    def __init__(
        self,
        models: Sequence[Model | DerivedModel],
        beside: frozenset[str] = frozenset(),
        is_part: bool = False,
    ) -> None:
        self._fingerprints = {model.name: model.fingerprint for model in models}
        self._after = {model.name: model.after for model in models if is_derived(model)}
        self._beside = beside & self._fingerprints.keys()
        self._needed = {name: of for name, of in self._fingerprints.items() if name not in self._beside}
        self.is_part = is_part
        self._gated = {model.name for model in models if is_gated(model)}
        gated = {name: of + "+gate" if name in self._gated else of for name, of in self._needed.items()}
        self.key = KEPT_PROFILE if is_part else profile_key(gated)

    def fingerprint(self, name: str) -> str:
        """ "" when the run does not have the model."""
        return self._fingerprints.get(name, "")

    def lost_with(self, given_up: frozenset[str]) -> frozenset[str]:
        """What is not made when these are given up: their outputs, and what is derived from them."""
        return given_up | {name for name, after in self._after.items() if after in given_up}

    def of_new(self, switched: bool) -> tuple[str, ...] | None:
        """The models of a photo that is new or has changed; None: all.

        `switched`: the space that models were kept beside for is searched no more.
        """
        return tuple(self._needed) if self._beside and switched else None

    def lack(self, record: Record, is_read: bool = False) -> Lack:
        """What the photo lacks. `is_read`: its file is read in any case.

        When it is read, what is derived is made then, too, and brings along what it is derived from.
        """
        stale = {name for name, of in self._needed.items() if not self._is_done(record, name, of)}
        frames = {name for name in stale if name not in self._after}
        derived = stale - frames
        if not frames and not (is_read and derived):
            ready = [name for name in derived if self._has_source(record, name)]
            return Lack((), tuple(name for name in self._needed if name in ready))
        brought = {self._after[name] for name in derived} & self._fingerprints.keys()
        wanted = frames | derived | brought
        return Lack(tuple(name for name in self._fingerprints if name in wanted), ())

    def _has_source(self, record: Record, name: str) -> bool:
        """Whether the record says what the model is derived from, as its model of this run says it."""
        source = record.outputs.get(self._after[name])
        made_by = self._fingerprints.get(self._after[name])
        return source is not None and source.error is None and made_by in (None, source.fingerprint)

    def _is_done(self, record: Record, name: str, fingerprint: str) -> bool:
        """What a gate left out is done as long as there is a gate."""
        output = record.outputs.get(name)
        if output is None or output.fingerprint != fingerprint:
            return False
        return output.gate is None or name in self._gated
