"""What captioners share that run here, by torch and transformers: their folder, their life, their prompts."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalogd.errors import ModelError
from catalogd.models import captions
from catalogd.models.batches import Batch, Look, as_batch
from catalogd.models.bundles import FoundBundle
from catalogd.models.captions import questions
from catalogd.models.devices import Hardware
from catalogd.records import Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.models import Frame

_FILTERS = {2: "bilinear", 3: "bicubic"}  # PIL's numbers, as `resample` has them
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
ANSWER_TOKENS = 30  # most of an answer: "a few words"


class LocalCaptioner:
    """A model that writes captions, and answers questions if it can. A model gives `_open` and `_write`."""

    name = captions.NAME
    answers_questions = True
    step = 1  # of what its module makes of the weights

    def __init__(self, settings: Settings, bundle: FoundBundle, hardware: Hardware) -> None:
        """Raises SettingsError naming the line when the questions are not as they should be."""
        asked = questions.read(settings.questions) if self.answers_questions else questions.Questions()
        self._questions = asked.texts
        self._folder = bundle.folder
        self._hardware = hardware
        self.device = hardware.device
        hashes = "-".join(filter(None, (bundle.short_hash, asked.short_hash)))
        self.fingerprint = f"{bundle.bundle.id}@{hashes}.{self.step}"
        self._model: Any = None
        self._tokenizer: Any = None
        self._alone = threading.Lock()  # models of transformers keep state while they generate

    def load(self) -> None:
        self._model = self._open()
        self._tokenizer = tokenizer_of(self._folder)
        self._prepare()

    def unload(self) -> None:
        self._model = self._tokenizer = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        from catalogd.models.torch_models import inference

        assert self._model is not None, "load() first"
        batch = as_batch(frames, self._hardware.device)
        if not len(batch):
            return []
        with self._alone, inference():
            written = self._write(batch)
        return [captions.output(self.fingerprint, rows[0], self._questions, rows[1:]) for rows in written]

    def _open(self) -> Any:
        """The model, from its folder."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """What is made once of folder and tokenizer."""
        raise NotImplementedError

    def _write(self, batch: Batch) -> list[list[str]]:
        """For each frame its caption and an answer to each question."""
        raise NotImplementedError

    def _decoded(self, rows: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = self._tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [text.strip() for text in texts]


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a folder. Raises ModelError naming the folder."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: its tokenizer cannot be opened: {error}") from error


def processor_of(folder: Path) -> dict[str, Any]:
    """How the folder wants its pictures: the settings of its image processor. Raises ModelError."""
    for name in _PROCESSORS:
        try:
            read = json.loads((folder / name).read_text("utf-8"))
            found = read.get("image_processor", read)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError) as error:
            raise ModelError(f"{folder / name}: {error}") from error
        if "image_mean" in found:
            return dict(found)
    raise ModelError(
        f"{folder}: neither {_PROCESSORS[0]} nor {_PROCESSORS[1]} says how pictures are prepared"
    )


def look_of(processor: dict[str, Any], size: tuple[int, int] | None = None) -> Look:
    """All of a frame, squashed to `size` (height, width) or to the processor's, and normalised its way."""
    size = size or _size_of(processor)
    means = [255 * float(value) for value in processor["image_mean"]]
    scales = [1 / (255 * float(value)) for value in processor["image_std"]]
    return Look(
        size,
        mean=(means[0], means[1], means[2]),
        scale=(scales[0], scales[1], scales[2]),
        fit="squash",
        filter=_FILTERS[int(processor.get("resample", 3))],
    )


def _size_of(processor: dict[str, Any]) -> tuple[int, int]:
    """Height and width; older folders have one number for both. Raises ModelError."""
    match processor.get("size"):
        case int(edge):
            return edge, edge
        case {"height": int(height), "width": int(width)}:
            return height, width
        case other:
            raise ModelError(f"the image processor's size {other} is no height and width")
