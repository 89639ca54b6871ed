"""Every model that catalogd knows, by its id, and the profiles made of them.

A model's module is named here and not imported: it is when the model is made.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from catalogd.models import licences, sources
from catalogd.models.bundles import OPEN_CLIP, Bundle
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
        if self.way == "server":
            return "the server's"
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

# ── weights from a hub, or from the owner ─────────────────────────────────────────────────────

MB = 1_000_000  # as hubs count
GB = 1_000_000_000
_ONNX = ("onnxruntime", "tokenizers")
_ONNX_FILES = ("*.onnx*",)  # with the data of large ones, which lies beside them
_PAIR_FILES = (*_ONNX_FILES, "*.json")
SERVER_ID = "caption-server"
_TRANSFORMERS = ("torch", "transformers", "safetensors")


def _bundle(
    model_id: str,
    repo: str,
    licence: str,
    weights: tuple[str, ...],
    beside: tuple[str, ...] = (),
    size_bytes: int = 0,
) -> Bundle:
    """`beside`: patterns of what else is fetched.

    Of ONNX, where folders have many names, whatever lies in the folder is hashed, and only what
    `beside` names is fetched.
    """
    return Bundle(
        model_id,
        repo,
        files=beside if weights[0] == _ONNX_FILES[0] else (*weights, *beside),
        weights=weights,
        licence=licence,
        is_commercial=licences.is_commercial(licence),
        size_bytes=size_bytes,
    )


def _onnx_pair(model_id: str, bundle: Bundle, note: str) -> Entry:
    return Entry(
        id=model_id,
        job="embedding",
        purpose="search by meaning: pictures and words in one space",
        made_by="catalogd.models.dual_encoder:DualEncoder",
        text_made_by="catalogd.models.dual_encoder:text_encoder",
        way="bundle",
        bundle=bundle,
        modules=_ONNX,
        extra="standard",
        note=note,
        memory_bytes=600 * MB,
    )


def open_clip(model_id: str, repo: str, licence: str, note: str, size_bytes: int = 0) -> Entry:
    """Any model of open_clip, as timm and others keep it on the hub: a config and one safetensors file."""
    beside = ("open_clip_config.json", "tokenizer*.json", "special_tokens_map.json", "vocab*", "merges.txt")
    weights = ("open_clip_config.json", "open_clip_model.safetensors")
    return Entry(
        id=model_id,
        job="embedding",
        purpose="search by meaning: pictures and words in one space",
        made_by="catalogd.models.open_clip_model:OpenClipModel",
        text_made_by="catalogd.models.open_clip_model:text_encoder",
        way="bundle",
        bundle=_bundle(model_id, repo, licence, weights, beside, size_bytes),
        modules=("torch", "open_clip", "safetensors"),
        extra="gpu",
        note=note,
        memory_bytes=size_bytes // 2 + GB,  # fp32 on the hub, half as much on a GPU, and a batch
    )


_IMMICH_PAIR = (
    "config.json",
    "visual/model.onnx",
    "visual/preprocess_cfg.json",
    "textual/model.onnx",
    "textual/*.json",
    "textual/*.txt",
)
_JS_PAIR = (
    "config.json",
    "preprocessor_config.json",
    "onnx/vision_model.onnx",
    "onnx/text_model.onnx",
    "tokenizer*.json",
    "special_tokens_map.json",
)
_EMBEDDERS = (
    _onnx_pair(
        "siglip2-base",
        _bundle(
            "siglip2-base",
            "immich-app/ViT-B-16-SigLIP2__webli",
            "Apache-2.0",
            _PAIR_FILES,
            _IMMICH_PAIR,
            size_bytes=1500 * MB,
        ),
        "many languages; 64 tokens of a query",
    ),
    _onnx_pair(
        "clip-vit-b-32",
        _bundle(
            "clip-vit-b-32",
            "immich-app/ViT-B-32__openai",
            "MIT",
            _PAIR_FILES,
            _IMMICH_PAIR,
            size_bytes=605 * MB,
        ),
        "English; quick, and less sure than SigLIP2",
    ),
    _onnx_pair(
        "mobileclip-s2",
        _bundle(
            "mobileclip-s2", "Xenova/mobileclip_s2", "Apple-AMLR", _PAIR_FILES, _JS_PAIR, size_bytes=398 * MB
        ),
        "English; the quickest on a CPU",
    ),
    open_clip(
        "vit-l-14-openai",
        "timm/vit_large_patch14_clip_224.openai",
        "MIT",
        "English; heads that score aesthetics were trained on it",
        1710 * MB,
    ),
    open_clip(
        "siglip2-so400m",
        "timm/ViT-SO400M-16-SigLIP2-384",
        "Apache-2.0",
        "many languages; the surest, 384 px",
        4550 * MB,
    ),
    open_clip("dfn-vit-l-14", "apple/DFN2B-CLIP-ViT-L-14-39B", "Apple-AMLR", "English", 1710 * MB),
)


def _head(model_id: str, fits: str, bundle: Bundle, note: str) -> Entry:
    return Entry(
        id=model_id,
        job="aesthetics",
        purpose="how pleasing a picture is, 1 to 10",
        made_by="catalogd.models.aesthetics:AestheticsModel",
        way="derived",
        bundle=bundle,
        fits=(fits,),
        extra="standard",
        note=note,
    )


_ON_EMBEDDINGS = (
    Entry(
        id="zero-shot-tags",
        job="tags",
        purpose="tags of an editable vocabulary",
        made_by="catalogd.models.zero_shot:ZeroShotTags",
        way="derived",
        extra="standard",
        note="reads the embedding that is there; tag_vocabulary in the settings names your own list",
    ),
    Entry(
        id="aesthetics-by-words",
        job="aesthetics",
        purpose="how pleasing a picture is, 1 to 10",
        made_by="catalogd.models.word_aesthetics:WordAesthetics",
        way="derived",
        extra="standard",
        note="by words for it, in any space of pictures and words; not trained on ratings",
    ),
    _head(
        "aesthetics-laion",
        "vit-l-14-openai",
        _bundle(
            "aesthetics-laion",
            "ttj/sac-logos-ava1-l14-linearMSE",
            "Apache-2.0",
            ("model.safetensors",),
            size_bytes=4 * MB,
        ),
        "the taste of people who rated photos online",
    ),
    _head(
        "aesthetics-laion-b32",
        "clip-vit-b-32",
        _bundle("aesthetics-laion-b32", "", "MIT", ("sa_0_4_vit_b_32_linear.*",)),
        "the taste of people who rated pictures that machines made",
    ),
    _head(
        "aesthetics-v2.5",
        "open_clip:ViT-SO400M-14-SigLIP-384/webli",
        _bundle("aesthetics-v2.5", "", "AGPL-3.0", ("aesthetic_predictor_v2_5.*",)),
        "made for illustrations as well as photos",
    ),
)


def _captioner(
    model_id: str, made_by: str, repo: str, licence: str, size_bytes: int, note: str, **more: Any
) -> Entry:
    beside = ("*.json", "*.txt", "*.model", "*.jinja")
    return Entry(
        id=model_id,
        job="caption",
        purpose="captions and answers to your questions",
        made_by=f"catalogd.models.captions.{made_by}",
        way="bundle",
        bundle=_bundle(model_id, repo, licence, ("*.safetensors", "config.json"), beside, size_bytes),
        modules=_TRANSFORMERS,
        extra="gpu",
        note=note,
        **more,
    )


_CAPTIONERS = (
    _captioner(
        "florence-2-base",
        "florence:FlorenceCaptions",
        "florence-community/Florence-2-base",
        "MIT",
        930 * MB,
        "one sentence or two; answers no questions; 1 to 3 s a photo on a CPU",
        memory_bytes=2 * GB,
        is_on_request=True,
    ),
    _captioner(
        "florence-2-large",
        "florence:FlorenceCaptions",
        "florence-community/Florence-2-large",
        "MIT",
        3100 * MB,
        "one sentence or two; answers no questions",
        memory_bytes=4 * GB,
    ),
    _captioner(
        "blip-2-flan-t5-xl",
        "blip2:Blip2Captions",
        "Salesforce/blip2-flan-t5-xl",
        "MIT",
        15800 * MB,
        "short captions; answers your questions in a word or two",
        memory_bytes=10 * GB,
    ),
    _captioner(
        "blip-2-opt-2.7b",
        "blip2:Blip2Captions",
        "Salesforce/blip2-opt-2.7b",
        "OPT-175B",
        15000 * MB,
        "short captions; answers your questions in a word or two",
        memory_bytes=10 * GB,
    ),
    _captioner(
        "qwen2-vl-2b",
        "qwen:QwenCaptions",
        "Qwen/Qwen2-VL-2B-Instruct",
        "Apache-2.0",
        4420 * MB,
        "full sentences; answers your questions; many languages",
        memory_bytes=7 * GB,
    ),
    _captioner(
        "qwen3-vl-2b",
        "qwen:QwenCaptions",
        "Qwen/Qwen3-VL-2B-Instruct",
        "Apache-2.0",
        4260 * MB,
        "full sentences; answers your questions; many languages",
        memory_bytes=7 * GB,
    ),
    _captioner(
        "qwen2.5-vl-3b",
        "qwen:QwenCaptions",
        "Qwen/Qwen2.5-VL-3B-Instruct",
        "Qwen-Research",
        7510 * MB,
        "full sentences; answers your questions; many languages",
        memory_bytes=10 * GB,
    ),
    _captioner(
        "qwen2.5-vl-7b",
        "qwen:QwenCaptions",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        "Apache-2.0",
        16580 * MB,
        "full sentences; answers your questions; many languages",
        memory_bytes=20 * GB,
    ),
    Entry(
        id=SERVER_ID,
        job="caption",
        purpose="captions and answers by a server",
        made_by="catalogd.models.captions.server:ServerCaptions",
        way="server",
        modules=("httpx",),
        extra="standard",
        note="photos are sent to the server in the settings, small and without metadata",
    ),
)


def _onnx_objects(model_id: str, made_by: str, bundle: Bundle, note: str) -> Entry:
    return Entry(
        id=model_id,
        job="objects",
        purpose="objects: 80 COCO classes with boxes",
        made_by=made_by,
        way="bundle",
        bundle=bundle,
        modules=("onnxruntime",),
        extra="standard",
        note=note,
        memory_bytes=GB,
    )


_DETECTORS = (
    _onnx_objects(
        "rtdetr-r50",
        "catalogd.models.detr:DetrModel",
        _bundle(
            "rtdetr-r50",
            "onnx-community/rtdetr_r50vd",
            "Apache-2.0",
            _ONNX_FILES,
            ("onnx/model.onnx", "config.json", "preprocessor_config.json"),
            size_bytes=175 * MB,
        ),
        "published AP 53; needs no suppression of doubles",
    ),
    _onnx_objects(
        "yolox-s",
        "catalogd.models.yolox:YoloxModel",
        _bundle("yolox-s", "", "Apache-2.0", _ONNX_FILES, size_bytes=36 * MB),
        "published AP 40; quick on a CPU",
    ),
    Entry(
        id="grounding-dino-base",
        job="objects",
        purpose="objects: whatever your list of words names, with boxes",
        made_by="catalogd.models.grounding:GroundingModel",
        way="bundle",
        bundle=_bundle(
            "grounding-dino-base",
            "IDEA-Research/grounding-dino-base",
            "Apache-2.0",
            ("*.safetensors", "config.json"),
            ("*.json", "vocab.txt"),
            size_bytes=935 * MB,
        ),
        modules=_TRANSFORMERS,
        extra="gpu",
        note="object_prompts in the settings names your list; the longer it is, the slower",
        memory_bytes=3 * GB,
    ),
)


def _face_pack(model_id: str, repo: str, files: tuple[str, ...], size_bytes: int, note: str) -> Entry:
    return Entry(
        id=model_id,
        job="faces",
        purpose="faces: box, landmarks, quality, embedding",
        made_by="catalogd.models.face_packs:FacePackModel",
        way="bundle",
        bundle=_bundle(model_id, repo, "InsightFace-research", _ONNX_FILES, files, size_bytes),
        modules=("onnxruntime", "onnx", "cv2"),
        extra="standard",
        note=note,
        memory_bytes=GB,
    )


_IMMICH_FACES = ("detection/model.onnx", "recognition/model.onnx")
_FACES = (
    _face_pack("buffalo_l", "immich-app/buffalo_l", _IMMICH_FACES, 192 * MB, "SCRFD-10G and ArcFace R50"),
    _face_pack("antelopev2", "immich-app/antelopev2", _IMMICH_FACES, 278 * MB, "SCRFD-10G and ArcFace R100"),
    _face_pack(
        "auraface-v1",
        "fal/AuraFace-v1",
        ("scrfd_10g_bnkps.onnx", "glintr100.onnx"),
        278 * MB,
        "its recognition is Apache-2.0; its detector is InsightFace's, whatever the repository says",
    ),
)

_READERS = (
    Entry(
        id="pp-ocrv6-trocr",
        job="text",
        purpose="text in the picture, unsure lines read a second time",
        made_by="catalogd.models.trocr:TrocrModel",
        way="bundle",
        needs=(sources.TEXT_DETECTION, sources.TEXT_RECOGNITION),
        bundle=_bundle(
            "pp-ocrv6-trocr",
            "microsoft/trocr-base-printed",
            "MIT",
            ("*.safetensors", "config.json"),
            ("*.json", "*.txt", "*.model"),
            size_bytes=1340 * MB,
        ),
        modules=(*_TRANSFORMERS, "onnxruntime", "cv2"),
        extra="gpu",
        note="the second reader knows printed Latin letters",
        memory_bytes=2 * GB,
    ),
    Entry(
        id="pp-ocr",
        job="text",
        purpose="text in the picture",
        made_by="catalogd.models.pp_ocr:PpOcrModel",
        way="bundle",
        bundle=_bundle("pp-ocr", "", "Apache-2.0", ("*det*.onnx", "*rec*.onnx")),
        modules=("onnxruntime", "cv2"),
        extra="standard",
        note="any PP-OCR of yours, for other scripts or larger: docs/models.md",
        memory_bytes=GB,
    ),
)

_TAGGERS = (
    Entry(
        id="ram-plus-plus",
        job="tags",
        purpose="tags: some thousand things, scenes and doings",
        made_by="catalogd.models.tagger:TaggerModel",
        way="bundle",
        bundle=_bundle(
            "ram-plus-plus", "", "Apache-2.0", ("model.onnx", "tags.txt"), ("thresholds.txt",), 1700 * MB
        ),
        modules=("onnxruntime",),
        extra="standard",
        note="no hub has it as ONNX: docs/models.md says how it is exported",
        memory_bytes=3 * GB,
    ),
)

_ALL = (
    *_STARTER,
    *_EMBEDDERS,
    *_ON_EMBEDDINGS,
    *_CAPTIONERS,
    *_DETECTORS,
    *_FACES,
    *_READERS,
    *_TAGGERS,
)
MODELS: dict[str, Entry] = {entry.id: entry for entry in _ALL}

# Every profile has it: bursts and near duplicates are measured with its picture embedding.
PICTURES_ID = "efficientnet-lite0"
PROFILES: dict[str, dict[str, str]] = {
    "starter": {entry.job: entry.id for entry in _STARTER},
    "standard": {
        "embedding": "siglip2-base",
        "objects": "rtdetr-r50",
        "faces": "buffalo_l",
        "text": "pp-ocrv6-small",
        "quality": "quality",
        "signature": "signature",
        "caption": "florence-2-base",
        "tags": "zero-shot-tags",
        "aesthetics": "aesthetics-by-words",
    },
    "studio": {
        "embedding": "vit-l-14-openai",
        "objects": "grounding-dino-base",
        "faces": "buffalo_l",
        "text": "pp-ocrv6-trocr",
        "quality": "quality",
        "signature": "signature",
        "caption": "blip-2-flan-t5-xl",
        "tags": "ram-plus-plus",
        "aesthetics": "aesthetics-laion",
    },
}
# Models of the owner's, or any of a kind: what they are made as, by what their ids begin with.
FAMILIES = {
    "pair": "siglip2-base",
    "faces": "buffalo_l",
    "detr": "rtdetr-r50",
    "yolox": "yolox-s",
    "grounding": "grounding-dino-base",
    "text": "pp-ocr",
    "tagger": "ram-plus-plus",
    "florence": "florence-2-base",
    "blip2": "blip-2-flan-t5-xl",
    "qwen": "qwen2-vl-2b",
}
OF_FAMILIES = f"{OPEN_CLIP}MODEL/PRETRAINED, {', '.join(f'{name}:FOLDER' for name in FAMILIES)}"


def of_folder(name: str) -> Entry | None:
    """The model whose weights a folder of this name holds, for those that are named by their kind."""
    family, _, rest = name.partition("--")
    return of_family(f"{family}:{rest.replace('--', '/')}")


def of_family(model_id: str) -> Entry | None:
    """The model of an id such as `open_clip:ViT-B-16/laion2b_s34b_b88k` or `pair:my-own`; None for others.

    What kind of weights it is stands in the id; its licence is not known.
    """
    family, _, name = model_id.partition(":")
    if model_id.startswith(OPEN_CLIP) and name.count("/") == 1 and all(name.split("/")):
        return open_clip(model_id, "", "unknown", "of open_clip's list, or your own")
    if family not in FAMILIES or not name or "/" in name:
        return None
    like = MODELS[FAMILIES[family]]
    assert like.bundle
    bundle = _bundle(model_id, "", "unknown", like.bundle.weights)
    return dataclasses.replace(like, id=model_id, bundle=bundle, note="your own folder", is_on_request=False)
