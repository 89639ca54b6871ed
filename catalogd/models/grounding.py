"""Grounding DINO: objects named by words that the owner chose.

Liu et al. 2023 (arXiv:2303.05499), by transformers' GroundingDinoForObjectDetection.

::

    words ─▶ chunks of at most 256 tokens ─▶ text features, once, at load()
                                                   │
    batch ─▶ frames of one shape ─▶ picture features, once ─▶ one pass a chunk ─▶ boxes, each with its word

The network mixes features of picture and words, but makes both apart from each other: neither is made
twice. The mixing is most of the work (with Swin-T on a CPU nine tenths), so a second chunk costs nearly as
much as the first: a list of words that fits into one is quicker.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from catalogd.errors import ModelError, SettingsError
from catalogd.models import as_outputs, batches, detectors, together
from catalogd.models.bundles import FoundBundle
from catalogd.models.captions.local import processor_of, tokenizer_of
from catalogd.models.devices import Hardware
from catalogd.models.objects import COCO_NAMES
from catalogd.records import ObjectBox, Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from catalogd.models import Frame
    from catalogd.models.batches import Batch

_MIN_SCORE = 0.35  # of a box: its likeliest token; the authors' demonstration, as the next
_MIN_TOKEN = 0.25  # of a token that names a box
_STEP_PX = 32  # the long edge is a multiple of it: few shapes; 3:2 and 4:3 are within 2 % of true, all in 4 %
_SHORT_EDGE_PX, _LONG_EDGE_PX = 800, 1333  # where the folder names no others
_SEPARATOR = "."  # after each word
_SEPARATORS = ".?"  # what ends a word for the network
_HASH_DIGITS = 8  # of the list of words in the fingerprint
_STEP = 1  # of what this module makes of the weights


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Words that go through the network together."""

    words: tuple[str, ...]
    tokens: tuple[int, ...]  # with the first and last that the tokenizer adds
    owners: tuple[int, ...]  # for each token the word it is part of; -1: none


class GroundingModel:
    """`objects`: name, box and score each; names are the words of the list."""

    name = "objects"

    def __init__(self, settings: Settings, bundle: FoundBundle, hardware: Hardware) -> None:
        """Raises SettingsError when the list of words cannot be used."""
        self._words = words_of(settings.object_prompts)
        digest = hashlib.sha256("\n".join(self._words).encode()).hexdigest()[:_HASH_DIGITS]
        self.fingerprint = f"{bundle.bundle.id}@{bundle.short_hash}-{digest}.{_STEP}"
        self.device = hardware.device
        self._folder = bundle.folder
        self._hardware = hardware
        self._network: _Network | None = None
        self._alone = threading.Lock()  # the network remembers features between its passes

    def load(self) -> None:
        processor = processor_of(self._folder)
        self._looks = _Looks(processor)
        self._network = _Network(self._folder, self._hardware)
        tokenizer = tokenizer_of(self._folder)
        for chunk in chunks(self._words, tokenizer, self._network.most_tokens):
            self._network.add(chunk)

    def unload(self) -> None:
        self._network = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        batch = batches.as_batch(frames, self.device)
        results = together(batch, self._detect)
        return as_outputs(self.fingerprint, results, lambda found: Output(self.fingerprint, objects=found))

    def _detect(self, batch: Batch) -> list[tuple[ObjectBox, ...] | Exception]:
        by_look: dict[batches.Look, list[int]] = {}
        for index, frame in enumerate(batch):
            by_look.setdefault(self._looks.of(frame), []).append(index)
        found: list[tuple[ObjectBox, ...] | Exception] = [()] * len(batch)
        for look, indices in by_look.items():
            for index, objects in zip(indices, self._detect_alike(batch.part(indices), look), strict=True):
                found[index] = objects
        return found

    def _detect_alike(self, batch: Batch, look: batches.Look) -> list[tuple[ObjectBox, ...] | Exception]:
        """The objects of frames that have one shape for the network."""
        from catalogd.models import torch_models

        assert self._network is not None, "load() first"
        with self._alone, torch_models.inference():
            passes = self._network.rows(batch.tensor(look, self._hardware.precision))
        return [detectors.as_objects(_joined(parts), self._words) for parts in zip(*passes, strict=True)]


class _Looks:
    """How a folder's processor wants frames of each shape."""

    def __init__(self, processor: dict[str, Any]) -> None:
        size = processor.get("size", {})
        self._short = int(size.get("shortest_edge", _SHORT_EDGE_PX))
        self._long = int(size.get("longest_edge", _LONG_EDGE_PX))
        mean = tuple(255 * float(value) for value in processor["image_mean"])
        scale = tuple(1 / (255 * float(value)) for value in processor["image_std"])
        self._look = batches.Look((0, 0), mean, scale, fit="squash", filter="bilinear")  # type: ignore[arg-type]

    def of(self, frame: Frame) -> batches.Look:
        """The short edge at its size, unless the long one became too long, which is a multiple of 32 px."""
        height, width = frame.shape[:2]
        scale = min(self._short / min(height, width), self._long / max(height, width))
        size = [max(_STEP_PX, math.floor(edge * scale + 0.5)) for edge in (height, width)]
        long = int(width > height)
        size[long] = max(_STEP_PX, min(math.ceil(size[long] / _STEP_PX), self._long // _STEP_PX) * _STEP_PX)
        return dataclasses.replace(self._look, size=(size[0], size[1]))


class _Network:
    """The network, whose two backbones answer with what they were asked before: neither runs twice."""

    def __init__(self, folder: Path, hardware: Hardware) -> None:
        from transformers import GroundingDinoForObjectDetection

        from catalogd.models import torch_models

        self._detector = torch_models.open_model(folder, GroundingDinoForObjectDetection, hardware)
        core = self._detector.model
        self.most_tokens = int(self._detector.config.max_text_len)
        self._read, self._see = core.text_backbone.forward, core.backbone.forward
        core.text_backbone.forward, core.backbone.forward = self._said, self._seen
        self._text: Any = None  # what both answer during a pass
        self._picture: Any = None
        self._chunks: list[tuple[Chunk, torch.Tensor, Any]] = []

    def add(self, chunk: Chunk) -> None:
        """Another pass of every batch; its words are read now."""
        import torch

        from catalogd.models import torch_models

        tokens = torch.tensor([chunk.tokens], device=self._detector.device)
        with torch_models.inference():
            self._chunks.append((chunk, tokens, self._text_features(tokens)))

    def _text_features(self, tokens: torch.Tensor) -> Any:
        """What the text backbone says of a chunk, words kept apart from each other: `[1, tokens, width]`."""
        from transformers.models.grounding_dino import modeling_grounding_dino as parts

        mask, positions = parts.generate_masks_with_special_tokens_and_transfer_map(
            tokens, special_tokens=self._detector.model.special_tokens
        )
        kinds = tokens.new_zeros(tokens.shape)
        return self._read(tokens, mask[:, None], kinds, positions, return_dict=True).last_hidden_state

    def rows(self, pixels: torch.Tensor) -> list[list[detectors.Rows]]:
        """For each chunk what is in each picture; classes are numbers of words in the whole list."""
        import torch

        whole = torch.ones(len(pixels), *pixels.shape[-2:], dtype=torch.long, device=pixels.device)
        self._picture = self._see(pixels, whole)
        try:
            passes = [self._pass(pixels, whole, tokens, words) for _, tokens, words in self._chunks]
        finally:
            self._text = self._picture = None
        # Only now is the device waited for.
        words_before = itertools.accumulate((len(chunk.words) for chunk, _, _ in self._chunks), initial=0)
        return [
            list(_rows(logits, boxes, chunk, before))
            for (logits, boxes), (chunk, _, _), before in zip(
                passes, self._chunks, words_before, strict=False
            )
        ]

    def _pass(
        self, pixels: torch.Tensor, whole: torch.Tensor, tokens: torch.Tensor, words: Any
    ) -> tuple[Any, Any]:
        """Logits and boxes of all queries for one chunk."""
        self._text = _TextOutput(words.expand(len(pixels), -1, -1))
        out = self._detector(pixel_values=pixels, pixel_mask=whole, input_ids=tokens.expand(len(pixels), -1))
        return out.logits, out.pred_boxes

    def _said(self, *_: Any, **__: Any) -> Any:
        return self._text

    def _seen(self, *_: Any, **__: Any) -> Any:
        """Features and where they are, level by level; the network adds levels to these lists."""
        features, places = self._picture
        return list(features), list(places)


@dataclasses.dataclass(frozen=True)
class _TextOutput:
    """As transformers' text models answer."""

    last_hidden_state: torch.Tensor


def _rows(logits: torch.Tensor, boxes: torch.Tensor, chunk: Chunk, before: int) -> Iterator[detectors.Rows]:
    """What each picture has, of `[n, queries, 256]` and `[n, queries, 4]` (centre and size in 0…1).

    A box scores what its likeliest token does, as transformers' post-processing has it. Its name is the
    likeliest word; transformers puts together all tokens that score enough, which may be half a word, parts
    of two, or full stops alone: a box without any word is no find.
    """
    probabilities = logits.float().sigmoid()
    tokens = probabilities[..., : len(chunk.tokens)].cpu().numpy()
    scores = probabilities.amax(-1).cpu().numpy()
    corners = boxes.float().cpu().numpy()
    owners = np.array(chunk.owners)
    of_words = np.where(owners >= 0)[0]
    for score, token, box in zip(scores, tokens, corners, strict=True):
        words = token[:, of_words]
        # What is not a number comes out, to be noticed.
        sure = np.flatnonzero(~(score <= _MIN_SCORE) & ~(words.max(axis=1) <= _MIN_TOKEN))
        classes = owners[of_words[words[sure].argmax(axis=1)]] + before
        centres, halves = box[sure, :2], box[sure, 2:] / 2
        yield detectors.Rows(
            classes, np.concatenate([centres - halves, centres + halves], axis=1), score[sure]
        )


def _joined(parts: Sequence[detectors.Rows]) -> detectors.Rows:
    """Of several passes over one picture."""
    classes, boxes, scores = (np.concatenate(values) for values in zip(*parts, strict=True))
    return detectors.Rows(classes, boxes, scores)


def words_of(path: Path | None) -> tuple[str, ...]:
    """The words of a file, one a line, each once; without a file COCO's 80. Raises SettingsError.

    Empty lines and those that begin with `#` are left out.
    """
    if path is None:
        return COCO_NAMES
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"object_prompts: {path} can't be read: {error}") from None
    words = dict.fromkeys(" ".join(line.split()) for line in lines if not line.lstrip().startswith("#"))
    for word in words:
        if any(mark in word for mark in _SEPARATORS):
            raise SettingsError(f"object_prompts: {path}: {word!r} has a mark that ends a word: . or ?")
    if not any(words):
        raise SettingsError(f"object_prompts: {path} has no words")
    return tuple(word for word in words if word)


def chunks(words: Sequence[str], tokenizer: Any, most_tokens: int) -> list[Chunk]:
    """The words in as few chunks as hold them whole. Raises ModelError naming a word that none holds.

    A chunk reads "word. another word." in lower case, as the network was trained.
    """
    parts = [tokenizer(f"{word.lower()}{_SEPARATOR}", add_special_tokens=False).input_ids for word in words]
    made: list[list[int]] = [[]]
    length = 2  # of the first and last token
    for number, part in enumerate(parts):
        if len(part) < 2:
            raise ModelError(f"{words[number]!r} is nothing that the tokenizer knows")
        if 2 + len(part) > most_tokens:
            raise ModelError(f"{words[number]!r} has {len(part)} tokens; {most_tokens - 2} are the most")
        if length + len(part) > most_tokens:
            made.append([])
            length = 2
        made[-1].append(number)
        length += len(part)
    return [_chunk([words[number] for number in numbers], tokenizer) for numbers in made if numbers]


def _chunk(words: Sequence[str], tokenizer: Any) -> Chunk:
    parts = [tokenizer(f"{word.lower()}{_SEPARATOR}", add_special_tokens=False).input_ids for word in words]
    tokens = [tokenizer.cls_token_id]
    owners = [-1]
    for number, part in enumerate(parts):
        tokens += part
        owners += [number] * (len(part) - 1) + [-1]  # its full stop is nobody's
    return Chunk(tuple(words), (*tokens, tokenizer.sep_token_id), (*owners, -1))
