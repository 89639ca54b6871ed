"""Captions and answers by a Qwen-VL (2, 2.5 or 3), as transformers has it.

A photo keeps its shape: it is resized to whole patches, at most `_MOST_TOKENS_SEEN` of them after
merging, and the vision encoder looks at it once for all prompts.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from catalogd.errors import ModelError
from catalogd.models.batches import Batch
from catalogd.models.captions import local

if TYPE_CHECKING:
    import torch

_CAPTION = "Describe this photo in one or two plain sentences."
_BRIEF = "Answer in a few words."
_MOST_TOKENS = 128  # of a caption or an answer
_MOST_TOKENS_SEEN = 512  # of a photo: 730 × 550 px; what more would show is read by the text model
_LEAST_TOKENS_SEEN = 16
_ROWS = 32  # of photos × prompts at a time: a row keeps 700 tokens


@dataclasses.dataclass(frozen=True)
class Patches:
    """How pictures become patches."""

    size: int  # px of an edge
    merge: int  # patches of an edge that become one token
    times: int  # pictures of a patch: those of videos are two moments thick

    @property
    def step(self) -> int:
        """px by which both edges can be divided."""
        return self.size * self.merge

    def fitted(self, height: int, width: int) -> tuple[int, int]:
        """The size a frame is resized to: near its shape, whole tokens, at least and at most so many.

        The documented rule of the processor (`smart_resize`), with our bounds.
        """
        most, least = (tokens * self.step**2 for tokens in (_MOST_TOKENS_SEEN, _LEAST_TOKENS_SEEN))
        tall, wide = (max(1, round(edge / self.step)) * self.step for edge in (height, width))
        if tall * wide > most:
            shrink = math.sqrt(height * width / most)
            tall, wide = (
                max(1, math.floor(edge / shrink / self.step)) * self.step for edge in (height, width)
            )
        elif tall * wide < least:
            grow = math.sqrt(least / (height * width))
            tall, wide = (math.ceil(edge * grow / self.step) * self.step for edge in (height, width))
        return tall, wide

    def cut(self, pixels: torch.Tensor) -> torch.Tensor:
        """[rows × columns, 3 × times × size²] of `pixels: [3, height, width]`.

        The four patches of a token follow each other; a still picture is the same at all times.
        """
        channels, height, width = pixels.shape
        rows, columns = height // self.step, width // self.step
        cells = pixels.reshape(channels, rows, self.merge, self.size, columns, self.merge, self.size)
        ordered = cells.permute(1, 4, 2, 5, 0, 3, 6).unsqueeze(5)
        repeated = ordered.expand(-1, -1, -1, -1, -1, self.times, -1, -1)
        return repeated.reshape(rows * columns * self.merge**2, channels * self.times * self.size**2)


class QwenCaptions(local.LocalCaptioner):
    """`caption` and answers."""

    def _open(self) -> Any:
        from transformers import AutoModelForImageTextToText

        from catalogd.models.torch_models import open_model

        model = open_model(self._folder, AutoModelForImageTextToText, self._hardware)
        if "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
            raise ModelError(
                f"{self._folder}: {type(model).__name__} of this transformers looks at a photo anew for each "
                "question; 5.23 does not: pip install -U transformers"
            )
        return model

    def _prepare(self) -> None:
        self._processor = local.processor_of(self._folder)
        vision = self._model.config.vision_config
        self._patches = Patches(vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)
        asked = [_CAPTION, *(f"{question} {_BRIEF}" for question in self._questions)]
        self._prompts = [self._prompt(text) for text in asked]

    def _prompt(self, text: str) -> list[int]:
        """A message with one picture and a text, as the model's own template writes it."""
        content = [{"type": "image"}, {"type": "text", "text": text}]
        written = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = self._tokenizer(written, add_special_tokens=False)["input_ids"]
        if ids.count(self._model.config.image_token_id) != 1:
            raise ModelError(f"{self._folder}: its chat template does not place a picture")
        return ids

    def _write(self, batch: Batch) -> list[list[str]]:
        from catalogd.models.torch_models import generate_bucketed

        seen = _Seen(self._model, *self._looked_at(batch))
        each = len(self._prompts)
        rows = [self._with_picture(prompt, count) for count in seen.counts for prompt in self._prompts]
        written = generate_bucketed(
            self._model,
            rows,
            pad=self._pad,
            rows=_ROWS,
            beside=lambda group: self._beside(seen, rows, group),
            max_new_tokens=_MOST_TOKENS,
        )
        texts = self._decoded(written)
        return [texts[start : start + each] for start in range(0, len(texts), each)]

    @property
    def _pad(self) -> int:
        return int(self._tokenizer.pad_token_id)

    def _looked_at(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches of all frames, one after the other, and each frame's (1, rows, columns) of patches."""
        import torch

        cut, grids = [], []
        for index, frame in enumerate(batch):
            size = self._patches.fitted(*frame.shape[:2])
            pixels = batch.part([index]).tensor(local.look_of(self._processor, size), self._model.dtype)[0]
            cut.append(self._patches.cut(pixels))
            grids.append([1, size[0] // self._patches.size, size[1] // self._patches.size])
        return torch.cat(cut), torch.tensor(grids, device=cut[0].device)

    def _with_picture(self, prompt: Sequence[int], count: int) -> list[int]:
        """The prompt with as many places for the picture as it has tokens."""
        token = self._model.config.image_token_id
        place = prompt.index(token)
        return [*prompt[:place], *[token] * count, *prompt[place + 1 :]]

    def _beside(self, seen: _Seen, rows: Sequence[Sequence[int]], group: list[int]) -> dict[str, Any]:
        """What `generate` gets for these rows beside their tokens; padding is on the left."""
        import torch

        longest = max(len(rows[index]) for index in group)
        token = self._model.config.image_token_id
        kinds = torch.zeros(len(group), longest, dtype=torch.int32)
        for row, index in enumerate(group):
            ids = torch.tensor(rows[index])
            kinds[row, longest - len(ids) :] = (ids == token).int()
        photos = [index // len(self._prompts) for index in group]
        return {
            "mm_token_type_ids": kinds.to(seen.grids.device),
            "image_grid_thw": seen.grids[photos],
            "mm_encoder_outputs": {"image": seen.of(photos)},
        }


class _Seen:
    """What the vision encoder made of some photos: computed once, given out for any rows."""

    def __init__(self, model: Any, patches: torch.Tensor, grids: torch.Tensor) -> None:
        self.grids = grids
        self._made = model.get_image_features(patches, grids, return_dict=True)
        self.counts = [len(photo) for photo in self._made.pooler_output]

    def of(self, photos: Sequence[int]) -> Any:
        """As if these photos, in this order and as often, had been looked at."""
        deep = getattr(self._made, "deepstack_features", None)  # Qwen3-VL: of several layers
        changes: dict[str, Any] = {
            "pooler_output": tuple(self._made.pooler_output[photo] for photo in photos)
        }
        if deep is not None:
            changes["deepstack_features"] = [tuple(layer[photo] for photo in photos) for layer in deep]
        return dataclasses.replace(self._made, **changes)
