"""Text in two readings: PP-OCR reads every line, TrOCR those of which PP-OCR is unsure.

::

    batch ─▶ PP-OCR: lines and their readings ─▶ sure, or hardly a line, or of another script ─▶ kept
                                  │ unsure
                                  ▼
             lines of all frames, those of like length together ─▶ TrOCR ─▶ the surer reading is kept

TrOCR: Li et al. 2021 (arXiv:2109.10282), by transformers' VisionEncoderDecoderModel. It writes a line token
by token, which costs a hundred times PP-OCR's reading, so it is asked about few.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd.models import batches, text
from catalogd.models.bundles import FoundBundle
from catalogd.models.captions.local import look_of, processor_of, tokenizer_of
from catalogd.models.devices import Hardware
from catalogd.records import Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame

# PP-OCR's score. Below it is seldom writing at all, above it seldom wrong; not measured with real weights.
_UNSURE = (0.3, 0.9)
_LINES_A_RUN = 32  # bounds memory: 577 patches a line
_MOST_TOKENS = 64  # of a line; TrOCR's own limit
_STEP = 1  # of what this module makes of the weights


class TrocrModel:
    """`text_lines`: text, corners and score each, from top to bottom."""

    name = "text"

    def __init__(self, settings: Settings, bundle: FoundBundle, hardware: Hardware) -> None:
        self._first = text.TextModel(settings, hardware.threads, hardware.device)
        self.fingerprint = f"{bundle.bundle.id}@{bundle.short_hash}.{_STEP}-{self._first.fingerprint}"
        self.device = hardware.device
        self._folder = bundle.folder
        self._hardware = hardware
        self._model: Any = None
        self._tokenizer: Any = None
        self._alone = threading.Lock()  # models of transformers keep state while they generate

    def load(self) -> None:
        from transformers import VisionEncoderDecoderModel

        from catalogd.models import torch_models

        self._first.load()
        self._look = look_of(processor_of(self._folder))
        self._tokenizer = tokenizer_of(self._folder)
        # The class says that it has torch's fused attention; its decoder has not.
        options = {"attn_implementation": {"encoder": "sdpa", "decoder": "eager"}}
        self._model = torch_models.open_model(
            self._folder, VisionEncoderDecoderModel, self._hardware, **options
        )

    def unload(self) -> None:
        self._first.unload()
        self._model = self._tokenizer = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        batch = batches.as_batch(frames, self.device)
        found = self._first.find(batch)
        readings = self._first.read(text.all_of(found))
        places = [
            (frame, line.corners)
            for frame, lines in zip(batch, found, strict=True)
            if not isinstance(lines, Exception)
            for line in lines
        ]
        unsure = [
            i
            for i, (words, score) in enumerate(readings)
            if _UNSURE[0] <= score < _UNSURE[1] and _is_latin(words)
        ]
        cuts = [text.cut_out(*places[i]) for i in unsure]
        for index, again in zip(unsure, self.read(cuts, [len(readings[i][0]) for i in unsure]), strict=True):
            readings[index] = _surer(readings[index], again)
        return text.outputs_of(self.fingerprint, batch, found, readings)

    def read(self, cuts: Sequence[NDArray[np.uint8]], lengths: Sequence[int]) -> list[text.Reading]:
        """Text and score of each line `uint8[h, w, 3]`; those of like expected `lengths` go together.

        The score is the geometric mean of the tokens' probabilities.
        """
        from catalogd.models import torch_models

        assert self._model is not None, "load() first"
        readings: list[text.Reading] = [("", 0.0)] * len(cuts)
        order = sorted(range(len(cuts)), key=lambda index: lengths[index])
        with self._alone, torch_models.inference():
            for start in range(0, len(order), _LINES_A_RUN):
                some = order[start : start + _LINES_A_RUN]
                for index, reading in zip(some, self._written([cuts[i] for i in some]), strict=True):
                    readings[index] = reading
        return readings

    def _written(self, cuts: Sequence[NDArray[np.uint8]]) -> list[text.Reading]:
        """What stands in each line, by one run of the encoder and one loop of the decoder for all."""
        pixels = batches.Batch(cuts, self.device).tensor(self._look, self._hardware.precision)
        sureness = _Sureness()
        rows = self._model.generate(
            pixel_values=pixels,
            logits_processor=[sureness],
            max_new_tokens=_MOST_TOKENS,
            num_beams=1,  # the weights' own four beams take four times as long for few better lines
            do_sample=False,
            no_repeat_ngram_size=0,  # numbers repeat
            early_stopping=False,
            length_penalty=1.0,
            use_cache=True,  # published configurations have it off
        )
        tokens = rows[:, 1:].tolist()  # without the token that starts
        words = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        scores = sureness.of(tokens, self._ends())
        return list(zip(words, scores, strict=True))

    def _ends(self) -> set[int]:
        end = self._model.generation_config.eos_token_id
        return set(end) if isinstance(end, list) else {end}


def _is_latin(words: str) -> bool:
    """Whether all letters are Latin: TrOCR learnt no others, and is sure of what it takes them for."""
    return all("LATIN" in unicodedata.name(letter, "") for letter in words if letter.isalpha())


def _surer(first: text.Reading, second: text.Reading) -> text.Reading:
    """Of two readings of a line; what saw nothing is no reading."""
    return second if second[0].strip() and second[1] > first[1] else first


class _Sureness:
    """How likely each token was that a greedy decoder took: part of its loop, nothing leaves the device."""

    def __init__(self) -> None:
        self._steps: list[Any] = []  # float32[n] each

    def __call__(self, tokens: Any, logits: Any) -> Any:
        self._steps.append(logits.float().log_softmax(-1).amax(-1))
        return logits

    def of(self, tokens: Sequence[Sequence[int]], ends: set[int]) -> list[float]:
        """For each row the geometric mean over its tokens up to its end, that included."""
        import torch

        logarithms = torch.stack(self._steps, dim=1).cpu().numpy()
        lengths = [_length(row, ends) for row in tokens]
        return [float(np.exp(row[:length].mean())) for row, length in zip(logarithms, lengths, strict=True)]


def _length(row: Sequence[int], ends: set[int]) -> int:
    """Tokens up to the first that ends the row; what follows fills it up to the longest."""
    return next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
