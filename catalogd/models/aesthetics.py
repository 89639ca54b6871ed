"""How pleasing a picture is, 1 to 10, from the embedding that is already there.

A head is a few linear layers that were trained on the vectors of one embedder and people's ratings:
LAION's on CLIP ViT-L/14 (one layer, or 768 → 1024 → 128 → 64 → 16 → 1), aesthetic-predictor-v2.5 on SigLIP
so400m (1152 → … → 1). None of them has anything between its layers but dropout, so together they are one
product of a vector, and need no torch. On vectors of another embedder a head says nothing: it is refused.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import sessions
from catalogd.records import Output

if TYPE_CHECKING:
    from catalogd.models.bundles import FoundBundle
    from catalogd.models.devices import Hardware
    from catalogd.settings import Settings

_STEP = 1  # of what this module makes of the weights
_LOWEST, _HIGHEST = 1.0, 10.0  # of the ratings that heads were trained on


class Embedder(Protocol):
    """The model whose vectors are rated."""

    name: str
    fingerprint: str


class AestheticsModel:
    """`aesthetics` of a photo that has a joint embedding."""

    name = "aesthetics"

    def __init__(self, settings: Settings, found: FoundBundle, hardware: Hardware, after: Embedder) -> None:
        """Raises ModelError for vectors that the head was not trained on."""
        _check_trained_on(found.bundle.id, after.name)
        self._found = found
        self._after = after
        self.after = after.name
        self.fingerprint = f"{found.bundle.id}@{found.short_hash}-{_weights_of(after.fingerprint)}.{_STEP}"
        self._head: Head | None = None

    def load(self) -> None:
        files = self._found.weight_files()
        if len(files) != 1:
            raise ModelError(f"{self._found.folder} holds {len(files)} heads; {self.name} takes one")
        self._head = Head.read(files[0])

    def unload(self) -> None:
        self._head = None

    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        """A score for each output that has a joint embedding; the others fail."""
        return [self._scored(output) for output in outputs]

    def _scored(self, output: Output) -> Output:
        assert self._head is not None, "load() first"
        if not output.joint_embedding:
            return Output(self.fingerprint, error=f"ModelError: there is no vector of {self.after}")
        vector = sessions.unit_rows(np.frombuffer(output.joint_embedding, "<f2")[None])[0]
        if len(vector) != self._head.dimensions:
            raise ModelError(
                f"{self._found.bundle.id} rates vectors of {self._head.dimensions} numbers; "
                f"{self.after} gives {len(vector)}"
            )
        return Output(self.fingerprint, aesthetics=round(self._head.score(vector), 3))


class Head:
    """Linear layers, multiplied out: `score = vector · weights + bias`."""

    def __init__(self, weights: NDArray[np.float64], bias: float) -> None:
        self.dimensions = len(weights)
        self._weights = weights
        self._bias = bias

    @classmethod
    def read(cls, path: Path) -> Head:
        """Of a safetensors file or a torch checkpoint. Raises ModelError for layers that are no such head."""
        from catalogd.models import convert

        if "relu" in path.name.lower():
            raise ModelError(f"{path}: a head with ReLU between its layers is not known to catalogd")
        read = convert.read_safetensors if path.suffix == ".safetensors" else convert.read_checkpoint
        return cls.of(read(path), path)

    @classmethod
    def of(cls, tensors: dict[str, NDArray[Any]], path: Path) -> Head:
        names = sorted((name for name in tensors if name.endswith("weight")), key=_places)
        layers = [
            (tensors[name].astype(np.float64), tensors[_bias_of(name)].astype(np.float64))
            for name in names
            if _bias_of(name) in tensors
        ]
        if not layers or len(tensors) != 2 * len(layers) or not _is_chain([w.shape for w, _ in layers]):
            shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
            raise ModelError(f"{path} is no head of linear layers that end in one number: {shapes}")
        together = [weight for weight, _ in reversed(layers)]
        weights = functools.reduce(np.matmul, together)[0]
        bias = np.zeros(layers[0][0].shape[1])
        for weight, offset in layers:
            bias = weight @ bias + offset
        return cls(weights, float(bias[0]))

    def score(self, vector: NDArray[np.float32]) -> float:
        """Of a unit vector, within the range of the ratings."""
        return float(np.clip(vector @ self._weights + self._bias, _LOWEST, _HIGHEST))


def _bias_of(name: str) -> str:
    return f"{name.removesuffix('weight')}bias"


def _is_chain(shapes: list[tuple[int, ...]]) -> bool:
    fits = all(len(shape) == 2 for shape in shapes) and shapes[-1][0] == 1
    return fits and all(after[1] == before[0] for before, after in itertools.pairwise(shapes))


def _places(name: str) -> list[int]:
    """The numbers in a tensor's name: the place of its layer."""
    return [int(number) for number in re.findall(r"\d+", name)]


def _weights_of(fingerprint: str) -> str:
    """The hash in an embedder's fingerprint."""
    return fingerprint.partition("@")[2].rpartition(".")[0]


def _check_trained_on(head: str, embedder: str) -> None:
    from catalogd.models import known

    entry = known.MODELS.get(head)
    model_id = embedder.removeprefix("embedding:")
    if entry is not None and entry.fits and model_id not in entry.fits:
        raise ModelError(
            f"{head} was trained on vectors of {' or '.join(entry.fits)}, not of {model_id}: "
            f"catalogd models use embedding={entry.fits[0]}"
        )
