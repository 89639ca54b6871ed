"""Dual encoders from ONNX pairs: pictures and texts in one space (SigLIP, CLIP, MobileCLIP).

::

    frames ─▶ Look ─▶ visual graph  ─▶ unit vectors ┐
    texts ─▶ tokens ─▶ textual graph ─▶ unit vectors ┴▶ cosine

The text tower of the best of them weighs a gigabyte, most of it a table of which a query needs five
rows. So it is kept in the cache with its weights in a file beside the graph: that file is mapped,
not read, and a query pays for the rows it touches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import as_outputs, graphs, pairs, sessions, together, weights
from catalogd.models.batches import Batch, as_batch
from catalogd.models.devices import CPU, Hardware
from catalogd.records import Output

if TYPE_CHECKING:
    from catalogd.models import Frame
    from catalogd.models.bundles import FoundBundle
    from catalogd.settings import Settings

    Vectors = NDArray[np.float32]
    Graph = Callable[..., list[NDArray[Any]]]

_STEP = 1  # of what this module makes of the weights
_TOWER_VERSION = 1  # of the text tower in the cache
_TEXTS = 32  # texts that go through the text tower together, where it takes several
# Names under which exports give the vector of the joint space, the surest first.
_OUTPUTS = ("embedding", "image_embeds", "text_embeds", "pooler_output")
_SAME = 1e-3  # largest difference in a unit vector between a picture alone and among others


class DualEncoder:
    """`joint_embedding` of a picture. Made for every pair that `pairs` can read."""

    def __init__(self, settings: Settings, found: FoundBundle, hardware: Hardware) -> None:
        """Reads the small files beside the graphs. Raises ModelError for what is missing."""
        self._settings = settings
        self._found = found
        self._hardware = hardware
        self.device = hardware.device
        self._pair = pairs.read_pair(found.folder)
        self.name = f"embedding:{found.bundle.id}"
        self.fingerprint = _fingerprint(found)
        self.wording = self._pair.wording
        self.logits = self._pair.logits
        self._tower: _Tower | None = None

    def load(self) -> None:
        device, threads = self._hardware.device, self._hardware.threads
        path = self._pair.visual
        tower = _Tower(path, threads, device)
        if tower.batch == 1:
            tower = self._freed(path) or tower
        self._tower = tower

    def unload(self) -> None:
        self._tower = None

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        return outputs_of(self.fingerprint, as_batch(frames, self._hardware.device), self._embed)

    def text_encoder(self) -> TextEncoder:
        """Opens the text tower alone, on the CPU: all of it, since whole vocabularies go through it."""
        return text_encoder(self._settings, self._found, threads=0)

    def _embed(self, batch: Batch) -> Vectors:
        assert self._tower is not None, "load() first"
        look = self._pair.look
        pixels = batch.tensor(look) if batch.device.is_gpu else batch.pixels(look)
        return sessions.unit_rows(self._tower.run(pixels))

    def _freed(self, path: Path) -> _Tower | None:
        """The same graph for batches of any size, if that is as easy as it looks."""
        copy = graphs.freed_copy(path, self._found.short_hash, self._settings)
        if copy is not None:
            with contextlib.suppress(ModelError):
                tower = _Tower(copy, self._hardware.threads, self._hardware.device)
                if _is_same(tower, self._pair.look.size):
                    return tower
        return None


def _fingerprint(found: FoundBundle) -> str:
    return f"{found.bundle.id}@{found.short_hash}.{_STEP}"


def outputs_of(fingerprint: str, batch: Batch, embed: Callable[[Batch], Vectors]) -> list[Output]:
    """An output a frame, of vectors `float32[n, D]`."""
    results = together(batch, lambda part: list(embed(part)))
    return as_outputs(
        fingerprint, results, lambda row: Output(fingerprint, joint_embedding=sessions.half_bytes(row))
    )


def text_encoder(settings: Settings, found: FoundBundle, threads: int = 1) -> TextEncoder:
    """The text tower of a pair; written into the cache first, once a machine. Raises ModelError."""
    pair = pairs.read_pair(found.folder)
    target = tower_folder(settings, found)
    weights.made_folder(target, lambda folder: write_mapped(pair.textual, folder))
    return TextEncoder(_fingerprint(found), pair.wording, pair.logits, target, pair.tokens, threads)


def tower_folder(settings: Settings, found: FoundBundle) -> Path:
    """Where the cache keeps the text tower of a model."""
    name = f"{found.bundle.folder_name}-textual-{found.short_hash}.v{_TOWER_VERSION}"
    return settings.model_cache / name


class TextEncoder:
    """Texts to vectors that compare with `Output.joint_embedding` of the same `space`.

    As multilingual as its model: SigLIP2 knows over a hundred languages, CLIP knows English.
    """

    def __init__(
        self,
        space: str,
        wording: pairs.Wording,
        logits: pairs.Logits,
        tower: Path,
        tokens: pairs.Tokens,
        threads: int = 1,
    ) -> None:
        """`tower`: a folder that `write_mapped` filled."""
        self.space = space
        self.wording = wording
        self.logits = logits
        self._tower = _Tower(tower / "model.onnx", threads, CPU, optimised=True)
        self._tokenizer = Tokenizer(tokens, self._tower.length)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """`float32[n, D]`, unit rows, one a query."""
        return self.vectors([self.wording.as_query(text) for text in texts])

    def vectors(self, prompts: Sequence[str]) -> Vectors:
        """The same of texts that are taken as they are, but for spaces, cases and punctuation."""
        ids, masks = self._tokenizer.encode([self.wording.cleaned(prompt) for prompt in prompts])
        parts = [
            self._tower.run(ids[first : first + _TEXTS], masks[first : first + _TEXTS])
            for first in range(0, len(ids), _TEXTS)
        ]
        return sessions.unit_rows(np.concatenate(parts)) if parts else np.zeros((0, 0), np.float32)


class Tokenizer:
    """`tokenizer.json` with the padding that a text tower was trained with."""

    def __init__(self, tokens: pairs.Tokens, length: int | None = None) -> None:
        """`length`: how many tokens the tower takes, when its graph says so."""
        from tokenizers import Tokenizer as Reader

        try:
            self._reader = Reader.from_file(str(tokens.file))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"{tokens.file}: tokenizers can't read it ({error})") from error
        pad = self._reader.token_to_id(tokens.pad) if tokens.pad else 0
        if pad is None:
            raise ModelError(f"{tokens.file} does not know {tokens.pad!r}, which fills texts up")
        length = length or tokens.length
        self._reader.enable_truncation(length)
        self._reader.enable_padding(length=length, pad_id=pad, pad_token=tokens.pad)

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids and the mask of those that are no padding, `int64[n, length]` each."""
        found = self._reader.encode_batch(list(texts))
        ids = np.array([one.ids for one in found], np.int64)
        return ids, np.array([one.attention_mask for one in found], np.int64)


class _Tower:
    """One graph: what it takes is read from it."""

    def __init__(self, path: Path, threads: int, device: Any, *, optimised: bool = False) -> None:
        self._session = sessions.Session(path, threads, optimised=optimised, device=device)
        first = self._session.input_shapes[0]
        self.batch = first[0] if isinstance(first[0], int) else None  # None: any
        self.length = first[1] if len(first) == 2 and isinstance(first[1], int) else None  # of texts
        if np.uint8 in self._session.dtypes:
            raise ModelError(f"{path} takes bytes, not normalised pixels: catalogd has no use for it")
        self._output = _output_of(path, self._session)

    def run(self, *inputs: Any) -> Vectors:
        """`float32[n, D]` of `pixels[n, 3, h, w]`, or of token ids and their mask, `[n, length]` each."""
        given = list(inputs[: len(self._session.inputs)])
        if self.batch is None or self.batch == len(inputs[0]):
            return self._once(given)
        steps = range(0, len(inputs[0]), self.batch)
        if len(inputs[0]) % self.batch:
            raise ModelError(f"a graph for batches of {self.batch} only")
        return np.concatenate([self._once([one[i : i + self.batch] for one in given]) for i in steps])

    def _once(self, inputs: list[Any]) -> Vectors:
        typed = [
            one.astype(kind, copy=False) if isinstance(one, np.ndarray) and kind else one
            for one, kind in zip(inputs, self._session.dtypes, strict=True)
        ]
        return np.asarray(self._session.run(*typed)[self._output], np.float32)


def _output_of(path: Path, session: sessions.Session) -> int:
    for name in _OUTPUTS:
        if name in session.outputs:
            return session.outputs.index(name)
    if len(session.outputs) == 1:
        return 0
    raise ModelError(
        f"{path} gives {', '.join(session.outputs)}: which is the embedding, catalogd can't tell"
    )


def write_mapped(source: Path, folder: Path) -> None:
    """The graph, optimised, with its weights in a file beside it, which onnxruntime maps."""
    sessions.write_optimised(source, folder / "model.onnx", "weights.bin")


def _is_same(tower: _Tower, size: tuple[int, int]) -> bool:
    """Whether three random pictures together give what they give alone."""
    pixels = np.random.default_rng(0).normal(size=(3, 3, *size)).astype(np.float32)
    try:
        together = sessions.unit_rows(tower.run(pixels))
        alone = [sessions.unit_rows(tower.run(pixels[i : i + 1]))[0] for i in range(3)]
    except Exception:  # the graph can't be run with three
        return False
    return together.shape[0] == 3 and float(np.abs(together - np.array(alone)).max()) < _SAME
