"""Outputs that are made from records: no photo is read for what another model has said of it already.

::

    photos whose derived outputs alone are stale ─▶ batch ─▶ a process with these models ─▶ records ─▶ writer

The process reads the catalog itself, so that what travels is photo_ids one way and small records the other.
It is started by the first batch. One that dies twice over a batch gives up: the photos stay as they are. So
they do where a model can't be loaded, or fails on a whole batch; the others go on.
"""

from __future__ import annotations

import collections
import logging
import multiprocessing.connection
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from catalogd.catalog import Catalog
from catalogd.errors import CatalogdError, ModelError
from catalogd.models import DerivedModel, failed
from catalogd.models.devices import CPU
from catalogd.pipeline.stages import is_derived
from catalogd.pipeline.workers import Child
from catalogd.records import Output, Record, encode
from catalogd.settings import Settings

if TYPE_CHECKING:
    from catalogd.pipeline import LoadModels

log = logging.getLogger(__name__)

BATCH_PHOTOS = (
    512  # a commit's worth: 1 ms of a dozen heads, 10 ms to read and write (bench_models.py derived)
)
_TRIES = 2
_WHOLE_PHOTOS = 4  # a model that fails on all of at least so many fails for another reason than the photos


class Order(msgspec.Struct, frozen=True):
    """What to derive, for each of these photos."""

    photos: list[tuple[int, tuple[str, ...]]]  # photo_id, names of the outputs


class Derived(msgspec.Struct, frozen=True):
    """The records with these outputs alone, without photos that are gone; partial where one is not made."""

    records: list[Record]
    broken: str = ""  # nothing can be derived, and why
    given_up: dict[str, str] = {}  # models that can't be loaded or keep failing, and why


_decode_order = msgspec.msgpack.Decoder(Order).decode
_decode_derived = msgspec.msgpack.Decoder(Derived).decode


class Deriver:
    """The daemon's end. One order at a time is on its way; the daemon's main thread owns it."""

    def __init__(self, settings: Settings, load_models: LoadModels, inline: bool) -> None:
        self._settings = settings
        self._load_models = load_models
        self._inline = inline
        self._waiting: collections.deque[tuple[int, tuple[str, ...], bytes]] = collections.deque()
        self._order: list[tuple[int, tuple[str, ...], bytes]] = []
        self._tries = 0
        self._child: Child | None = None
        self._deriving: Deriving | None = None
        self.broken: str | None = None  # why nothing is derived any more
        self.given_up: dict[str, str] = {}  # name → why it is derived no more
        self.left: list[bytes] = []  # paths that it gave up
        self.unmade: collections.Counter[str] = collections.Counter()  # name → photos that go without it

    @property
    def wants_photo(self) -> bool:
        """Whether another batch may be gathered while one is on its way."""
        return len(self._waiting) < BATCH_PHOTOS

    @property
    def count(self) -> int:
        """Photos that are here."""
        return len(self._waiting) + len(self._order)

    @property
    def connections(self) -> list[Any]:
        return [self._child.connection] if self._child is not None and self._order else []

    def offer(self, photo_id: int, names: tuple[str, ...], path: bytes) -> None:
        """Take a photo up. Only when `wants_photo`."""
        self._waiting.append((photo_id, names, path))

    def turn(self, flush: bool) -> list[Record]:
        """Hear what was derived; send a full batch, or with `flush` what there is."""
        made = self._heard() if self._order else []
        if self.broken is not None:
            self._give_up()
        elif not self._order and (len(self._waiting) >= BATCH_PHOTOS or (flush and self._waiting)):
            count = min(BATCH_PHOTOS, len(self._waiting))
            self._order, self._tries = [self._waiting.popleft() for _ in range(count)], 1
            made += self._send()
        return made

    def close(self) -> None:
        """What is on its way is found by the next run."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._deriving is not None:
            self._deriving.close()
            self._deriving = None

    def _send(self) -> list[Record]:
        order = Order([(photo_id, names) for photo_id, names, _ in self._order])
        if self._inline:
            return self._taken(self._derive_inline(order))
        if self._child is None:
            self._child = Child("catalogd-deriver", derive_main, self._settings, self._load_models)
        self._child.connection.send_bytes(encode(order))
        return []

    def _derive_inline(self, order: Order) -> Derived:
        try:
            self._deriving = self._deriving or Deriving(self._settings, self._load_models)
        except CatalogdError as error:
            return Derived([], str(error))
        return self._deriving.derive(order)

    def _heard(self) -> list[Record]:
        child = self._child
        if child is None or not child.connection.poll(0):
            return []
        try:
            return self._taken(_decode_derived(child.connection.recv_bytes()))
        except (EOFError, OSError, msgspec.DecodeError):
            self._died(child)
            return []

    def _taken(self, derived: Derived) -> list[Record]:
        if derived.broken:
            self.broken = derived.broken
            return []
        self.given_up |= derived.given_up
        made = {record.photo_id: record.outputs.keys() for record in derived.records}
        for photo_id, names, path in self._order:
            self.unmade.update(set(names) - made.get(photo_id, set()))
            if photo_id not in made:
                self.left.append(path)
        self._order = []
        return derived.records

    def _died(self, child: Child) -> None:
        death = child.kill()
        self._child = None
        log.warning("the process that derives outputs %s", death)
        if self._tries >= _TRIES:
            self.broken = f"its process {death} {self._tries} times in a row"
            return
        self._tries += 1
        self._send()

    def _give_up(self) -> None:
        for _, names, path in (*self._order, *self._waiting):
            self.unmade.update(names)
            self.left.append(path)
        self._order = []
        self._waiting.clear()


def derive_main(
    connection: multiprocessing.connection.Connection, settings: Settings, load_models: LoadModels
) -> None:
    """The process: orders in, records out, until the daemon is gone."""
    try:
        deriving = Deriving(settings, load_models)
    except CatalogdError as error:
        connection.recv_bytes()
        connection.send_bytes(encode(Derived([], str(error))))
        return
    while True:
        connection.send_bytes(encode(deriving.derive(_decode_order(connection.recv_bytes()))))


class Deriving:
    """The models that need no pixels, on the records of a catalog."""

    def __init__(self, settings: Settings, load_models: LoadModels) -> None:
        """Raises CatalogdError when none of them can be loaded."""
        self._models: dict[str, DerivedModel] = {}
        self._given_up: dict[str, str] = {}
        for model in filter(is_derived, load_models(CPU)):
            try:
                model.load()
            except Exception as error:  # whatever it is, the other models go on
                self._given_up[model.name] = str(error) or type(error).__name__
            else:
                self._models[model.name] = model
        if not self._models and self._given_up:
            raise ModelError(next(iter(self._given_up.values())))
        self._catalog = Catalog.open(settings.catalog, settings)

    def close(self) -> None:
        self._catalog.close()

    def derive(self, order: Order) -> Derived:
        """The records of the photos, each with the outputs that were asked for."""
        records = self._catalog.records([photo_id for photo_id, _ in order.photos], with_embeddings=True)
        made: list[dict[str, Output]] = [{} for _ in records]
        for name, model in list(self._models.items()):
            asked = [
                (outputs, record.outputs[model.after])
                for (_, names), record, outputs in zip(order.photos, records, made, strict=True)
                if record is not None and name in names and model.after in record.outputs
            ]
            results = derived_each(model, [source for _, source in asked])
            if len(results) >= _WHOLE_PHOTOS and all(output.error for output in results):
                self._given_up[name] = results[0].error or ""
                del self._models[name]
                continue
            for (outputs, _), output in zip(asked, results, strict=True):
                outputs[name] = output
        return Derived(
            [
                msgspec.structs.replace(record, outputs=outputs, is_partial=not outputs.keys() >= set(names))
                for (_, names), record, outputs in zip(order.photos, records, made, strict=True)
                if record is not None and outputs
            ],
            given_up=self._given_up,
        )


def derived_each(model: DerivedModel, sources: Sequence[Output]) -> list[Output]:
    """One output a source; where all together fail, each by itself, so that one fails alone."""
    if not sources:
        return []
    try:
        return model.derive(sources)
    except Exception as error:
        if len(sources) == 1:
            return [failed(model.fingerprint, error)]
    return [output for source in sources for output in derived_each(model, [source])]
