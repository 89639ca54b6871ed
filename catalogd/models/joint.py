"""The joint space of pictures and words: ConSE (Norouzi et al. 2013, arXiv:1312.5650).

::

    frame ─▶ classifier ─▶ probabilities[1000] ─▶ Σ pᵢ^0.4 · (label vectorᵢ - mean) ┐
    words ─▶ sentence encoder ─▶ vector - mean ─────────────────────────────────────┴▶ cosine

A picture is described by what the classifier can name, so words find what is near one of its 1000
labels in meaning, and nothing else: docs/models.md has the limits. It is not CLIP, and its vectors
are never compared with those of another space.
"""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalogd.models import sessions, sources, weights
from catalogd.settings import Settings

DIMENSIONS = 384
_MAX_TOKENS = 128  # longer texts are cut: no query is, and the encoder was trained with 128
_LABEL_TEMPLATE = "a photo of a {}"
# Single words then find as well as sentences do: mean average precision 0.39 → 0.44, captions as before.
_QUERY_TEMPLATE = "a photo of {}"
# ConSE as published weighs 10 labels by probability. More labels, weighed more evenly, find more of what
# is in a photo beside its main subject: mean average precision 0.35 → 0.43 (bench/bench_models.py joint).
_TOP_LABELS = 50
_EVENNESS = 0.4  # exponent of a probability
_TOWER_VERSION = 1  # of the optimised graph in the cache
_LABELS_VERSION = 1  # of the label vectors in the cache: template, encoder use

Vectors = NDArray[np.float32]


@functools.cache
def labels() -> tuple[tuple[str, ...], ...]:
    """The ImageNet-1k classes in index order, each as its synonyms, the usual name first."""
    text = (resources.files("catalogd.models") / "data" / "imagenet_labels.txt").read_text("utf-8")
    return tuple(tuple(word.strip() for word in line.split(",")) for line in text.splitlines())


class SentenceEncoder:
    """all-MiniLM-L6-v2 (int8): a text to a unit vector. English."""

    def __init__(self, settings: Settings, threads: int) -> None:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

        source = weights.verified(sources.MINILM, settings)
        graph = weights.converted(
            "minilm",
            (sources.MINILM,),
            _TOWER_VERSION,
            ".onnx",
            settings,
            functools.partial(sessions.write_optimised, source),
        )
        self._session = sessions.Session(graph, threads, optimised=True)
        with resources.as_file(resources.files("catalogd.models") / "data" / "bert_vocab.txt") as vocab:
            self._tokenizer = Tokenizer(models.WordPiece.from_file(str(vocab), unk_token="[UNK]"))
        self._tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        marks = [(mark, self._tokenizer.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
        self._tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=marks)
        self._tokenizer.enable_truncation(_MAX_TOKENS)

    def encode(self, text: str) -> Vectors:
        """`float32[384]`, unit length: the mean of the token vectors.

        One text a run: the int8 graph scales its activations by what is in the batch, so a text's
        vector would depend on its neighbours.
        """
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        (tokens,) = self._session.run(ids, np.ones_like(ids), np.zeros_like(ids))
        mean: Vectors = sessions.unit_rows(tokens.mean(axis=1))[0]
        return mean


class JointSpace:
    """The label vectors, centred, and the mean they were centred by."""

    def __init__(self, settings: Settings, threads: int) -> None:
        """Read the label vectors from the cache, or make them: 6 s of CPU once a machine."""
        file = weights.converted(
            "conse-labels",
            (sources.MINILM,),
            _LABELS_VERSION,
            ".npy",
            settings,
            functools.partial(_write_label_vectors, settings, threads),
        )
        vectors: Vectors = np.load(file).astype(np.float32)
        self.mean: Vectors = vectors.mean(axis=0)
        self._centred = vectors - self.mean

    def image_vectors(self, probabilities: Vectors) -> Vectors:
        """`float32[n, 384]` unit vectors of `probabilities: float32[n, 1000]`."""
        strongest = np.argpartition(probabilities, -_TOP_LABELS, axis=1)[:, -_TOP_LABELS:]
        shares = np.take_along_axis(probabilities, strongest, axis=1) ** _EVENNESS
        # einsum, not @: for a matrix this small the threads of a BLAS cost more than the product.
        return sessions.unit_rows(np.einsum("nk,nkd->nd", shares, self._centred[strongest]))

    def text_vectors(self, texts: Vectors) -> Vectors:
        """`float32[n, 384]` unit vectors of what the sentence encoder gave."""
        return sessions.unit_rows(texts - self.mean)


def _write_label_vectors(settings: Settings, threads: int, target: Path) -> None:
    encoder = SentenceEncoder(settings, threads)
    vectors = [encoder.encode(_LABEL_TEMPLATE.format(", ".join(names))) for names in labels()]
    with target.open("wb") as stream:
        np.save(stream, np.array(vectors, np.float16))


class TextEncoder:
    """Texts to vectors that compare with `Output.joint_embedding` of the same `space`."""

    def __init__(self, space: str, settings: Settings, threads: int = 1) -> None:
        """Opens the sentence encoder: 0.35 s of CPU cold, imports included (bench/bench_models.py)."""
        self.space = space
        self._joint = JointSpace(settings, threads)
        self._encoder = SentenceEncoder(settings, threads)

    def encode(self, texts: list[str]) -> Vectors:
        """`float32[n, 384]`, unit rows, one a text."""
        if not texts:
            return np.zeros((0, DIMENSIONS), np.float32)
        return self._joint.text_vectors(np.array([self._encoder.encode(_as_photo(text)) for text in texts]))


def _as_photo(text: str) -> str:
    return text if "photo" in text.lower() else _QUERY_TEMPLATE.format(text)
