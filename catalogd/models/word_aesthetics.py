"""How pleasing a picture is, 1 to 10, by what a dual encoder makes of words for it.

A picture's vector is compared with those of opposites ("a beautiful picture", "an ugly picture"), and
how much it leans to the better ones is the score: Wang et al. 2023 (CLIP-IQA, arXiv:2207.12396). It takes
no weights beside the embedder's and works with every one, also where nobody has trained a head on its
vectors. A head that fits is the better judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogd.errors import ModelError
from catalogd.models import sessions
from catalogd.models.weights import HASH_DIGITS
from catalogd.models.zero_shot import Embedder
from catalogd.records import Output

if TYPE_CHECKING:
    from catalogd.models.bundles import FoundBundle
    from catalogd.models.devices import Hardware
    from catalogd.settings import Settings

Vectors = NDArray[np.float32]

# Several, so that no single word decides; the paper found pairs of plain opposites best.
OPPOSITES = (
    ("a good photo", "a bad photo"),
    ("a beautiful picture", "an ugly picture"),
    ("a photo by a skilled photographer", "a careless snapshot"),
    ("a well composed photo", "a badly composed photo"),
    ("a photo to hang on a wall", "a photo to throw away"),
)
_LOWEST, _HIGHEST = 1.0, 10.0
_STEP = 1  # of what this module makes of cosines


class WordAesthetics:
    """`aesthetics` of a photo that has a joint embedding."""

    name = "aesthetics"

    def __init__(
        self, settings: Settings, found: FoundBundle | None, hardware: Hardware, after: Embedder
    ) -> None:
        """Raises ModelError for an embedder that can't be asked for words."""
        if not hasattr(after, "logits"):
            raise ModelError(
                f"{after.name} can't be asked for words: aesthetics by words need a dual encoder"
            )
        self._embedder = after
        self.after = after.name
        said = hashlib.sha256(repr((OPPOSITES, after.fingerprint)).encode()).hexdigest()[:HASH_DIGITS]
        self.fingerprint = f"aesthetics-by-words@{said}.{_STEP}"
        self._better: Vectors | None = None

    def load(self) -> None:
        """Ten texts go through the text tower."""
        vectors = self._embedder.text_encoder().vectors([text for pair in OPPOSITES for text in pair])
        self._better = vectors[0::2] - vectors[1::2]

    def unload(self) -> None:
        self._better = None

    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        """A score for each output that has a joint embedding; the others fail."""
        return [self._scored(output) for output in outputs]

    def _scored(self, output: Output) -> Output:
        assert self._better is not None, "load() first"
        if not output.joint_embedding:
            return Output(self.fingerprint, error=f"ModelError: there is no vector of {self.after}")
        vector = sessions.unit_rows(np.frombuffer(output.joint_embedding, "<f2")[None])[0]
        log_odds = self._embedder.logits.scale * (self._better @ vector)
        share = float(np.mean(1 / (1 + np.exp(-log_odds.astype(np.float64)))))
        return Output(self.fingerprint, aesthetics=round(_LOWEST + (_HIGHEST - _LOWEST) * share, 3))
