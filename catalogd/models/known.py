"""Every model that catalogd knows, by its id, and the profiles made of them.

A model's module is named here and not imported: it is when the model is made.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from catalogd.models import sources
from catalogd.models.bundles import Bundle
from catalogd.models.weights import Weights

Way = Literal["package", "bundle", "derived", "server"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One model.

    How its class is called depends on `way`: package `(settings, threads)`; bundle `(settings,
    FoundBundle, Hardware)`; derived `(settings, FoundBundle or None, Hardware, the embedding model)`;
    server `(settings)`.
    """

    id: str
    job: str
    purpose: str  # the job, for people
    made_by: str  # module:class
    note: str  # its limits, in one line
    way: Way = "package"
    needs: tuple[Weights, ...] = ()  # without one of them the model is left out
    better_with: tuple[Weights, ...] = ()  # without them it does a part of its job
    bundle: Bundle | None = None
    modules: tuple[str, ...] = ()  # what must be importable
    extra: str = "starter"  # of pip, that brings the modules
    is_extra: bool = False  # the profile is whole without it
    is_on_request: bool = False  # runs only when it was chosen by name or is asked for
    text_made_by: str = (
        ""  # module:function that gives its encoder of words: (settings, FoundBundle, threads)
    )
    fits: tuple[str, ...] = ()  # a derived model: ids of the embedders whose vectors it reads; (): any
    memory_bytes: int = 0  # of the device, about, with one batch; 0: little

    @property
    def name(self) -> str:
        """The key of its output in a record."""
        return f"embedding:{self.id}" if self.job == "embedding" and self.way == "bundle" else self.job

    @property
    def licence(self) -> str:
        if self.bundle:
            return self.bundle.licence
        parts = dict.fromkeys(part.licence for part in (*self.needs, *self.better_with))
        return ", ".join(parts) or "Apache-2.0"

    @property
    def is_commercial(self) -> bool:
        return self.bundle is None or self.bundle.is_commercial


_STARTER = (
    Entry(
        id="efficientnet-lite0",
        job="embedding",
        purpose="picture embedding, tags, and search by meaning",
        made_by="catalogd.models.embedding:EmbeddingModel",
        needs=(sources.LITE0,),
        better_with=(sources.MINILM,),
        modules=("onnxruntime", "onnx", "tokenizers"),
        note="search by meaning finds what is near one of 1000 ImageNet labels; English only",
    ),
    Entry(
        id="yunet-sface",
        job="faces",
        purpose="faces: box, landmarks, quality, embedding",
        made_by="catalogd.models.faces:FacesModel",
        needs=(sources.YUNET, sources.SFACE),
        modules=("onnxruntime", "onnx", "cv2"),
        note="faces from about 25 px of the frame; profiles and covered faces are often missed",
    ),
    Entry(
        id="pp-ocrv6-small",
        job="text",
        purpose="text in the picture",
        made_by="catalogd.models.text:TextModel",
        needs=(sources.TEXT_DETECTION, sources.TEXT_RECOGNITION),
        modules=("onnxruntime", "cv2"),
        note="Latin and Chinese scripts; Cyrillic, Greek, Arabic and Indic scripts are not read",
    ),
    Entry(
        id="ssd-mobilenetv2",
        job="objects",
        purpose="objects: 80 COCO classes with boxes",
        made_by="catalogd.models.objects:ObjectsModel",
        needs=(sources.SSD_GRAPH, sources.SSD_CONFIG),
        modules=("cv2",),
        extra="objects",
        note="extra 'objects'; small objects are often missed",
        is_extra=True,
    ),
    Entry(
        id="quality",
        job="quality",
        purpose="technical quality",
        made_by="catalogd.models.quality:QualityModel",
        better_with=(sources.BRISQUE_SVM, sources.BRISQUE_RANGES),
        modules=("cv2",),
        note="technical quality, not beauty",
    ),
    Entry(
        id="signature",
        job="signature",
        purpose="signature of the picture, by which its copies are found",
        made_by="catalogd.models.signature:SignatureModel",
        note="crops are found by their embedding instead",
    ),
)
MODELS: dict[str, Entry] = {entry.id: entry for entry in _STARTER}

# Every profile has it: bursts and near duplicates are measured with its picture embedding.
PICTURES_ID = "efficientnet-lite0"
PROFILES: dict[str, dict[str, str]] = {"starter": {entry.job: entry.id for entry in _STARTER}}
