"""Gates: a model is spared the photos on which, by the embedding that is there, it would find nothing.

::

    embedding ─▶ probe ─▶ score ─┬─ at the threshold or above ─▶ the model runs
                                 ├─ below, one of 32 ──────────▶ it runs all the same: an audit
                                 └─ below ─────────────────────▶ an empty output that says so

The probe is a ridge regression from the embedding to "it found something", fitted on the photos of this
library. (A fixed text prompt does not do: with the starter's joint space "a person" saves 2 to 4 % of photos
at a recall of 0.98, docs/models.md.) Its threshold is fitted on photos that came *after* the probe was fixed,
and only closes when the lower bound of its recall (Wilson 1927, one-sided 99 %) is no less than
`gate_recall`, so that a library with few findings never has a closed gate. Then it stays. Audits go on for
ever; when they find more than a gate of that recall would miss it opens, and all is fitted anew.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import json
import logging
import math
import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogd.records import Output

if TYPE_CHECKING:
    from catalogd.models import Frame, Model

log = logging.getLogger(__name__)

FILE = "gates.json"  # in the catalog: what is worth a look differs from library to library
AUDIT = 32  # of so many frames below the threshold one is looked at: 3 % of the saving
FIRST_FIT = 1024  # frames before the probe is fitted: fewer hold too few findings of most libraries
WINDOW = 16_384  # frames that the threshold is fitted on; older ones are forgotten
LEAST_SAVING = 0.10  # share of frames: below it the gate is not worth what it may miss
FIT_EVERY = 256  # frames between two looks at the threshold
SAVE_EVERY = 1024  # frames between two writings of the file
_Z = 2.326  # of the normal distribution: 99 % lie below; the threshold is chosen on the same frames
_WORSE = (
    1.645  # standard deviations more audited findings than expected, before the gate opens: 5 % by chance
)
_TOGETHER = 128  # examples that are added up at once
_RIDGE = 1.0  # beside embeddings of unit length: as 1 photo a direction

Floats = NDArray[np.float64]


class Seen(NamedTuple):
    """A frame that the model ran on."""

    score: float
    found: bool


def wilson_bound(share: float, count: float) -> float:
    """The lower bound of a share that was seen in `count` cases."""
    if not count:
        return 0.0
    square = _Z * _Z / count
    spread = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return (share + square / 2 - spread) / (1 + square)


class Gate:
    """The threshold of a score. Open as long as it can't prove its recall, or saves too little."""

    def __init__(self, recall: float, seed: int = 0) -> None:
        self._recall = recall
        self._chance = random.Random(seed)
        self._seen: collections.deque[Seen] = collections.deque(maxlen=WINDOW)
        self.threshold: float | None = None  # None: open
        self._since_fit = 0
        self.passed = 0  # frames above the threshold where something was found, since it closed
        self.caught = 0  # audited ones

    def lets_through(self, score: float) -> bool:
        """Whether the model shall run; an audit is let through, too."""
        return self.threshold is None or score >= self.threshold or self._chance.randrange(AUDIT) == 0

    def learn(self, score: float, found: bool) -> None:
        """What came of a frame that was let through."""
        if self.threshold is not None:
            self._audit(score >= self.threshold, found)
            return
        self._seen.append(Seen(score, found))
        self._since_fit += 1
        if self._since_fit >= FIT_EVERY:
            self._since_fit = 0
            self.threshold = self._fitted()

    def close_at(self, threshold: float, passed: int = 0, caught: int = 0) -> None:
        """Go on where a former gate was."""
        self.threshold, self.passed, self.caught = threshold, passed, caught

    def open(self) -> None:
        """Begin anew."""
        self._seen.clear()
        self.threshold, self._since_fit, self.passed, self.caught = None, 0, 0, 0

    def _audit(self, passed: bool, found: bool) -> None:
        """Open when more was found below the threshold than the recall allows, beyond chance."""
        self.passed += found and passed
        self.caught += found and not passed
        allowed = (1 - self._recall) * (self.passed + AUDIT * self.caught) / AUDIT
        if self.caught > allowed + _WORSE * math.sqrt(allowed) + 1:
            self.open()

    def _fitted(self) -> float | None:
        """The highest threshold that keeps the recall; None when there is none that saves enough."""
        findings = sorted(one.score for one in self._seen if one.found)
        best = None
        for missed, score in enumerate(findings):
            if wilson_bound(1 - missed / len(findings), len(findings)) < self._recall:
                break
            best = score
        return best if best is not None and self._saving(best) >= LEAST_SAVING else None

    def _saving(self, threshold: float) -> float:
        """Share of frames that would be skipped."""
        below = sum(one.score < threshold for one in self._seen)
        return below / len(self._seen) * (1 - 1 / AUDIT)


class Probe:
    """Ridge regression from `float[D]` to 0 or 1, from sums alone: D² numbers, whatever it has seen."""

    def __init__(self) -> None:
        self.count = 0
        self.weights: Floats | None = None  # [D + 1], the last one is added; None: not fitted
        self._waiting: list[Floats] = []
        self._products: Floats = np.zeros((0, 0))
        self._sums: Floats = np.zeros(0)

    def add(self, vector: Floats, found: bool) -> None:
        """Another example."""
        extended = np.append(vector, 1.0)
        if len(extended) != len(self._sums):
            self.count = 0
            self._waiting.clear()
            self._products, self._sums = np.zeros((len(extended),) * 2), np.zeros(len(extended))
        self._waiting.append(extended)
        self._sums += extended * found
        self.count += 1
        if len(self._waiting) >= _TOGETHER:
            self._sum_up()

    def _sum_up(self) -> None:
        """Many at once: one by one costs 6 to 11 times as much."""
        if self._waiting:
            vectors = np.stack(self._waiting)
            self._products += vectors.T @ vectors
            self._waiting.clear()

    def fit(self) -> None:
        """Take all examples into account; the added number is not held back."""
        self._sum_up()
        held = _RIDGE * np.eye(len(self._sums))
        held[-1, -1] = 1e-6
        self.weights = np.asarray(np.linalg.solve(self._products + held, self._sums), np.float64)

    def score(self, vector: Floats) -> float | None:
        """How likely something is found, about 0…1; None before it is fitted, or in another space."""
        if self.weights is None or len(vector) + 1 != len(self.weights):
            return None
        return float(vector @ self.weights[:-1] + self.weights[-1])


class Gated:
    """A model behind a gate. Threads may call at once.

    `after`: the name of the model whose joint embedding the probe reads. `found`: whether an output of
    the model says anything. `empty`: its output where it is not run.
    """

    def __init__(
        self,
        model: Model,
        after: str,
        found: Callable[[Output], bool],
        empty: Output,
        recall: float,
        file: Path,
    ) -> None:
        self.name, self.fingerprint = model.name, model.fingerprint
        self.after_names = (after,)
        self._model = model
        self._found = found
        self._empty = empty
        self._file = file
        self._gate = Gate(recall)
        self._probe = Probe()
        self._fit_at = FIRST_FIT
        self._learnt = 0
        self._source = ""  # fingerprint of what the probe reads
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)  # `device`, `notes` and what else the model has to say

    def load(self) -> None:
        self._model.load()

    def unload(self) -> None:
        self._model.unload()

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        return self._model.run(frames)

    def wants(self, seen: Mapping[str, Output]) -> bool:
        """Whether to run; without an embedding yes."""
        vector = self._vector(seen)
        with self._lock:
            score = None if vector is None else self._probe.score(vector)
            return score is None or self._gate.lets_through(score)

    def skipped(self) -> Output:
        return self._empty

    def learn(self, seen: Mapping[str, Output], output: Output) -> None:
        """What the model found on a frame that it was run on."""
        vector = self._vector(seen)
        if vector is None:
            return
        found = self._found(output)
        with self._lock:
            score = self._probe.score(vector)  # by a probe that has not seen this frame
            self._probe.add(vector, found)
            if score is not None:
                was_closed = self._gate.threshold is not None
                self._gate.learn(score, found)
                if was_closed and self._gate.threshold is None:
                    self._fit_at = max(self._probe.count, FIRST_FIT)
            self._follow()

    def _follow(self) -> None:
        """Fit the probe now and then as long as the gate is open; keep what is known."""
        if self._gate.threshold is None and self._probe.count >= self._fit_at:
            self._probe.fit()
            self._gate.open()
            self._fit_at = 2 * self._probe.count + WINDOW // 2  # time enough to prove what it is worth
        self._learnt += 1
        if self._learnt % SAVE_EVERY == 0:
            self._save()

    def _vector(self, seen: Mapping[str, Output]) -> Floats | None:
        source = seen.get(self.after_names[0])
        if source is None or not source.joint_embedding:
            return None
        if source.fingerprint != self._source:
            with self._lock:
                self._enter(source.fingerprint)
        return np.frombuffer(source.joint_embedding, "<f2").astype(np.float64)

    # -- what a run leaves to the next ----------------------------------------------------------

    def _enter(self, source: str) -> None:
        """Read what is known of this space, once."""
        if source == self._source:
            return
        self._source = source
        self._gate.open()
        self._probe = Probe()
        known = _read(self._file).get(self._key)
        if known is not None:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                weights = np.frombuffer(base64.b64decode(known["weights"]), "<f4")
                self._gate.close_at(float(known["threshold"]), int(known["passed"]), int(known["caught"]))
                self._probe.weights = weights.astype(np.float64)

    @property
    def _key(self) -> str:
        return f"{self.fingerprint} after {self._source}"

    def _save(self) -> None:
        """A closed gate, for the next run; a full disk is no reason to stop this one."""
        state: dict[str, Any] | None = None
        if self._probe.weights is not None and self._gate.threshold is not None:
            state = {
                "weights": base64.b64encode(self._probe.weights.astype("<f4").tobytes()).decode(),
                "threshold": self._gate.threshold,
                "passed": self._gate.passed,
                "caught": self._gate.caught,
            }
        aside = self._file.with_name(f"{FILE}.{os.getpid()}.tmp")
        try:
            aside.write_text(json.dumps({**_read(self._file), self._key: state}), "ascii")
            aside.replace(self._file)
        except OSError as error:
            log.warning("what a gate has learnt was not kept: %s: %s", error.strerror, self._file)


def _read(file: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text("ascii"))
        return known if isinstance(known, dict) else {}
    return {}


def gated_faces(model: Model, after: str, recall: float, catalog: Path) -> Gated:
    """Faces only where one is likely."""
    empty = Output(model.fingerprint, faces=(), gate="a face is not likely")
    return Gated(model, after, lambda output: bool(output.faces), empty, recall, catalog / FILE)
