"""Captions and answers by BLIP-2 (Li et al. 2023, arXiv:2301.12597), with OPT or Flan-T5 behind it.

::

    frames ─▶ vision encoder ─▶ Q-Former ─▶ 32 vectors a photo          once a photo
                                                │
                 "" , "Question: … Answer:" ─▶ photos × prompts ─▶ one batched generate

The two upper stages do most of the work of a short answer; all prompts of a photo use what they made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalogd.models.batches import Batch
from catalogd.models.captions import local
from catalogd.models.devices import Hardware

if TYPE_CHECKING:
    import torch

_CAPTION_TOKENS = 40  # its captions have 5 to 20
_ROWS = 128  # of photos × prompts at a time: 25 photos with four questions; a row of OPT-2.7B keeps 30 MB


class Blip2Captions(local.LocalCaptioner):
    """`caption` and answers, all of them in one go."""

    def _open(self) -> Any:
        from transformers import Blip2ForConditionalGeneration

        from catalogd.models.torch_models import open_model

        return open_model(self._folder, Blip2ForConditionalGeneration, self._steady())

    def _steady(self) -> Hardware:
        """Flan-T5 overflows in fp16 (its model card); where a card has no bf16 it runs in fp32."""
        import dataclasses

        from transformers import AutoConfig

        hardware = self._hardware
        config = AutoConfig.from_pretrained(self._folder, local_files_only=True)
        overflows = hardware.precision == "fp16" and not config.use_decoder_only_language_model
        return dataclasses.replace(hardware, precision="fp32") if overflows else hardware

    def _prepare(self) -> None:
        from catalogd.models.replaying import Replayed

        self._look = local.look_of(local.processor_of(self._folder))
        self._look_at = Replayed(self._seen, self._hardware, "BLIP-2's vision encoder and Q-Former")
        config = self._model.config
        asked = [f"Question: {question} Answer:" for question in self._questions]
        written = self._tokenizer(asked)["input_ids"] if asked else []
        first = config.text_config.bos_token_id
        bare = self._tokenizer("")["input_ids"] if first is None else [first]
        self._prompts = [bare, *written]  # a caption has no prompt

    def _write(self, batch: Batch) -> list[list[str]]:
        from catalogd.models.torch_models import generate_bucketed

        language = self._model.language_model
        rows = generate_bucketed(
            language,
            self._inputs(batch),
            pad=language.config.get_text_config().pad_token_id,
            rows=_ROWS,
            max_new_tokens=_CAPTION_TOKENS,
        )
        texts = self._decoded(rows)
        each = len(self._prompts)
        return [
            [texts[start], *map(_answer, texts[start + 1 : start + each])]
            for start in range(0, len(texts), each)
        ]

    def _inputs(self, batch: Batch) -> list[torch.Tensor]:
        """What the language model reads, photo by photo and prompt by prompt: [32 + words, width] each."""
        import torch

        seen = self._look_at(batch.tensor(self._look, self._model.dtype))
        words = self._model.get_input_embeddings()
        prompts = [words(torch.tensor(prompt, device=seen.device)) for prompt in self._prompts]
        return [torch.cat([photo, prompt.to(photo.dtype)]) for photo in seen for prompt in prompts]

    def _seen(self, pixels: torch.Tensor) -> torch.Tensor:
        """[photos, 32, width]: what the Q-Former tells the language model of each photo."""
        import torch

        model = self._model
        patches = model.vision_model(pixels).last_hidden_state
        queries = model.query_tokens.expand(len(pixels), -1, -1)
        mask = torch.ones(patches.shape[:-1], dtype=torch.int64, device=patches.device)
        told = model.qformer(
            query_embeds=queries, encoder_hidden_states=patches, encoder_attention_mask=mask
        ).last_hidden_state
        seen: torch.Tensor = model.language_projection(told.to(model.language_projection.weight.dtype))
        return seen


def _answer(text: str) -> str:
    """The answer alone: OPT may go on with a question of its own."""
    return text.partition("Question:")[0].partition("\n")[0].strip()
