"""What turns the words of a query into a vector: the text model of the space that is searched now."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from catalogd.catalog.store import JOINT
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.catalog import Catalog
    from catalogd.query import TextEncoder
    from catalogd.query.searches import Encode

KEPT_WORDS = 1024  # queries whose vectors are remembered: 1.5 MB; a text takes 6 ms to encode

WORDS_ALONE = "searching by words only; `catalogd doctor` says what search by meaning needs"


class Meaning:
    """The text models of one catalog. Safe from any thread.

    Each query asks anew which space is searched, one read of 20 µs: when another model has taken over, the
    next query is its own, and what is under way ends in the space it began in.
    """

    def __init__(self, settings: Settings, catalog: Catalog, encoder: TextEncoder | None = None) -> None:
        """`encoder` stands for all others."""
        self._settings = settings
        self._catalog = catalog
        self._given = encoder
        self._loading = threading.Lock()
        self._loaded: tuple[str, TextEncoder | None] = ("", None)  # of which space, "" the profile's own
        self.vector = functools.lru_cache(KEPT_WORDS)(_vector)  # of an encoder and words

    def encoder(self) -> TextEncoder | None:
        """The text model of the space that is searched now; None when it is not on this machine."""
        if self._given is not None:
            return self._given
        space = self._searched()
        with self._loading:
            if self._loaded[0] != space or self._loaded[1] is None:
                self._loaded = space, self._found(space)
                self.vector.cache_clear()  # it holds the text model before
            return self._loaded[1]

    def encode_by(self, encoder: TextEncoder) -> Encode:
        """Words → unit vector in the encoder's space, remembered."""
        known: Any = encoder
        return functools.partial(self.vector, known)

    def lack(self) -> str:
        """Why there is no search by meaning, for people."""
        now = self._catalog.search_spaces.state()
        if not now.active:
            return WORDS_ALONE
        help_ = self._help(now.active)
        if now.wanted:
            help_ += (
                f", or search by meaning is back once {now.wanted.partition('@')[0]} has seen every photo"
                f" ({now.share:.0%} so far)"
            )
        return f"searching by words only: {help_}"

    def _help(self, space: str) -> str:
        """What is wrong with the model of a space, and the command that helps."""
        from catalogd.models import registry

        model_id = registry.model_id_of(space)
        gap = registry.obstacle(registry.entry_of(model_id), self._settings) if model_id else None
        if gap is not None:
            return f"{model_id}: {gap.text} → {gap.fix}"
        return f"the weights of {space.partition('@')[0]} are gone, or others now"

    def _searched(self) -> str:
        """The space; where nobody ever chose, the only one there is; else "", the profile's own."""
        if active := self._catalog.search_spaces.active():
            return active
        joint = [space for space in self._catalog.spaces() if space.endswith(JOINT)]
        return joint[0].removesuffix(JOINT) if len(joint) == 1 else ""

    def _found(self, space: str) -> TextEncoder | None:
        from catalogd.models.registry import text_encoder

        profile = self._settings.profile
        if not space:
            return text_encoder(profile, self._settings)
        encoder = text_encoder(profile, self._settings, space=space)
        is_chosen = bool(self._catalog.search_spaces.active())
        return encoder if encoder is not None or is_chosen else text_encoder(profile, self._settings)


def _vector(encoder: Any, words: str) -> npt.NDArray[np.float32]:
    return np.asarray(encoder.encode([words])[0], np.float32)
