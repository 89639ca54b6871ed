"""Captions by Florence-2 (Xiao et al. 2023, arXiv:2311.06242), base or large, as transformers has it.

Of its documented tasks none answers free questions, so its outputs have no answers.
"""

from __future__ import annotations

import math
from typing import Any

from catalogd.models.batches import Batch
from catalogd.models.captions import local

# What its processor makes of the task <DETAILED_CAPTION>; <CAPTION> writes a handful of words.
_PROMPT = "Describe in detail what is shown in the image."
_MOST_TOKENS = 128  # a detailed caption has 30 to 80


class FlorenceCaptions(local.LocalCaptioner):
    """`caption`: two or three sentences. How it searches (beams) is as its folder says."""

    answers_questions = False

    def _open(self) -> Any:
        from transformers import Florence2ForConditionalGeneration

        from catalogd.models.torch_models import open_model

        return open_model(self._folder, Florence2ForConditionalGeneration, self._hardware)

    def _prepare(self) -> None:
        self._look = local.look_of(local.processor_of(self._folder))
        images = [self._model.config.image_token_id] * self._image_tokens()
        tokenizer = self._tokenizer
        text = f"{tokenizer.bos_token}{_PROMPT}{tokenizer.eos_token}"
        self._prompt = images + tokenizer(text, add_special_tokens=False)["input_ids"]

    def _image_tokens(self) -> int:
        """One a cell of the vision tower's last stage, and their mean: 24 × 24 + 1 of a picture of 768 px."""
        cell: int = math.prod(self._model.config.vision_config.patch_stride)
        height, width = (-(-edge // cell) for edge in self._look.size)
        return int(height * width + 1)

    def _write(self, batch: Batch) -> list[list[str]]:
        from catalogd.models.torch_models import generate_bucketed

        rows = generate_bucketed(
            self._model,
            [self._prompt] * len(batch),
            pad=self._model.config.get_text_config().pad_token_id,
            beside={"pixel_values": batch.tensor(self._look, self._model.dtype)},
            max_new_tokens=_MOST_TOKENS,
        )
        return [[text] for text in self._decoded(rows)]
