"""Tags from an embedding that is already there: which words of a vocabulary describe the picture.

::

    vocabulary ─▶ descriptions ─▶ text tower (once, cached) ─▶ a unit vector a word ┐
    joint embedding of the photo ───────────────────────────────────────────────────┴▶ cosines ─▶ chances

A cosine is no probability. What a model was trained by says how to make one of it:

- by sigmoid (SigLIP): `scale · cosine + bias` are the log-odds that a text belongs to a picture when one of
  a training batch's texts does. A batch has 32,768 texts and a vocabulary fewer, of which several fit: the
  odds are corrected for that.
- by softmax (CLIP): `exp(scale · cosine)` of a text beside the mean of other texts is how much likelier it is
  than those. The others are the words that come along, whatever the owner's own are, but for the
  twentieth that fits best.

No photos were at hand to measure either: docs/models.md says what to expect.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import filelock
import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import sessions
from catalogd.models.pairs import TRAINING_BATCH, Logits, Wording
from catalogd.models.vocabulary import Vocabulary, read_vocabulary
from catalogd.models.weights import HASH_DIGITS, written_aside
from catalogd.records import Output, Tag

if TYPE_CHECKING:
    from catalogd.models.bundles import FoundBundle
    from catalogd.models.devices import Hardware
    from catalogd.settings import Settings

Vectors = NDArray[np.float32]
log = logging.getLogger(__name__)

_STEP = 1  # of what this module makes of cosines
_VECTORS_VERSION = 1  # of the text vectors in the cache
# Words of a vocabulary that fit an everyday photo, and the most that they are taken to be of a short one.
_USUAL_TAGS, _MOST_USUAL_SHARE = 5, 0.02
_FITTING_SHARE = (
    0.05  # of the words that come along: those that may describe one picture, alike ones included
)
_CERTAIN = 80.0  # log-odds: beyond them a float32 exponential overflows
_LEAST_CHANCE = 0.5  # of a tag: it is likelier right than wrong
_MOST_TAGS = 12


class WordEncoder(Protocol):
    """The text tower of a dual encoder."""

    def vectors(self, prompts: Sequence[str]) -> Vectors:
        """`float32[n, D]`, unit rows."""


class Embedder(Protocol):
    """The model whose vectors are tagged."""

    name: str
    fingerprint: str
    wording: Wording
    logits: Logits

    def text_encoder(self) -> WordEncoder:
        """Opens the text tower."""


class ZeroShotTags:
    """`tags`, from the joint embeddings of a dual encoder; no pixels, no weights of its own."""

    name = "tags"

    def __init__(
        self, settings: Settings, found: FoundBundle | None, hardware: Hardware, after: Embedder
    ) -> None:
        """Reads the vocabulary. Raises SettingsError naming its file and line."""
        if not hasattr(after, "logits"):
            raise ModelError(f"{after.name} can't be asked for words: zero-shot tags need a dual encoder")
        self._cache = settings.model_cache
        self._embedder = after
        self.after = after.name
        self._vocabulary = read_vocabulary(settings.tag_vocabulary)
        space = hashlib.sha256(after.fingerprint.encode()).hexdigest()[:HASH_DIGITS]
        self.fingerprint = f"zero-shot-tags@{self._vocabulary.short_hash}-{space}.{_STEP}"
        self._words: Vectors | None = None
        self._others: Vectors | None = None

    def load(self) -> None:
        """Reads the words' vectors from the cache, or makes them: 0.15 s of CPU a word (SigLIP2-B), once."""
        usual = read_vocabulary(None)
        self._words = self._vectors(self._vocabulary)
        if self._embedder.logits.bias is None:
            self._others = self._vectors(usual)

    def unload(self) -> None:
        self._words = self._others = None

    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        """Tags of each output that has a joint embedding; the others fail."""
        has = [index for index, output in enumerate(outputs) if output.joint_embedding]
        vectors = [np.frombuffer(outputs[index].joint_embedding or b"", "<f2") for index in has]
        chances = self._chances(sessions.unit_rows(np.array(vectors))) if has else ()
        tagged = dict(zip(has, chances, strict=True))
        missing = f"ModelError: there is no vector of {self.after}"
        return [
            Output(self.fingerprint, tags=self._tags(tagged[index]))
            if index in tagged
            else Output(self.fingerprint, error=missing)
            for index in range(len(outputs))
        ]

    def _chances(self, pictures: Vectors) -> Vectors:
        assert self._words is not None, "load() first"
        cosines = pictures @ self._words.T
        others = None if self._others is None else pictures @ self._others.T
        return chances_of(cosines, others, self._embedder.logits)

    def _tags(self, chances: Vectors) -> tuple[Tag, ...]:
        best = np.argsort(-chances, kind="stable")[:_MOST_TAGS]
        likely = [index for index in best if chances[index] >= _LEAST_CHANCE]
        return tuple(Tag(self._vocabulary.words[index], round(float(chances[index]), 4)) for index in likely)

    def _vectors(self, vocabulary: Vocabulary) -> Vectors:
        space = hashlib.sha256(self._embedder.fingerprint.encode()).hexdigest()[:HASH_DIGITS]
        file = self._cache / f"words-{space}-{vocabulary.short_hash}.v{_VECTORS_VERSION}.npy"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{file}.lock"):  # one process a GPU asks for the same words
                if not file.is_file():
                    log.info("%d words go through the text tower, once: %s", len(vocabulary.words), file)
                    _write_vectors(self._embedder, vocabulary, file)
        vectors: Vectors = np.load(file).astype(np.float32)
        return vectors


def chances_of(cosines: Vectors, others: Vectors | None, logits: Logits) -> Vectors:
    """How likely each word describes each picture: `float32[n, V]` of `cosines: float32[n, V]`.

    `others: float32[n, m]` are cosines with texts that stand for all there are; only softmax needs them.
    """
    usual = min(_USUAL_TAGS / cosines.shape[1], _MOST_USUAL_SHARE)
    log_odds = logits.scale * cosines + math.log(usual / (1 - usual))
    if logits.bias is not None:
        log_odds = log_odds + logits.bias + math.log(TRAINING_BATCH)
    elif others is not None:
        log_odds = log_odds - _log_mean_exp(logits.scale * _unfit(others))[:, None]
    result: Vectors = (1 / (1 + np.exp(-np.clip(log_odds, -_CERTAIN, _CERTAIN)))).astype(np.float32)
    return result


def _unfit(others: Vectors) -> Vectors:
    """Without the texts of each picture that fit it best, which may well describe it, too."""
    kept = others.shape[1] - int(others.shape[1] * _FITTING_SHARE)
    result: Vectors = np.partition(others, kept - 1, axis=1)[:, :kept]
    return result


def _log_mean_exp(rows: Vectors) -> Vectors:
    highest = rows.max(axis=1)
    result: Vectors = highest + np.log(np.exp(rows - highest[:, None]).mean(axis=1))
    return result


def _write_vectors(embedder: Embedder, vocabulary: Vocabulary, file: Path) -> None:
    """A word's vector is the mean of those of its descriptions (Radford et al. 2021, section 3.1.4)."""
    encoder = embedder.text_encoder()
    described = [
        descriptions or (embedder.wording.tag.format(word),)
        for word, descriptions in zip(vocabulary.words, vocabulary.descriptions, strict=True)
    ]
    vectors = encoder.vectors([text for texts in described for text in texts])
    starts = np.cumsum([0, *map(len, described)])[:-1]
    words = sessions.unit_rows(np.add.reduceat(vectors, starts))
    with written_aside(file) as aside, aside.open("wb") as stream:
        np.save(stream, words.astype(np.float16))
