"""Gates prove their recall before they close, go on auditing, and open when they are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from catalogd.models import gates
from catalogd.models.gates import AUDIT, Gate, Gated, Probe, gated_faces, wilson_bound
from catalogd.records import Face, Output

DIMENSION = 12
DIRECTION = np.eye(DIMENSION)[0]


class Faces:
    """Finds a face where the first number of the picture says so."""

    name = "faces"
    fingerprint = "faces@1"
    device = "a device"

    def __init__(self) -> None:
        self.ran = 0

    def load(self) -> None: ...

    def unload(self) -> None: ...

    def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
        self.ran += len(frames)
        return [Output(self.fingerprint, faces=(FACE,) if frame[0] > 0 else ()) for frame in frames]


FACE = Face((0.1, 0.1, 0.2, 0.2), (), 0.9, 0.5, None)


def pictures(count: int, seed: int, share: float = 0.3, hidden: float = 0.0) -> list[tuple[bool, np.ndarray]]:
    """(whether there is a face, unit vector); of `hidden` of the faces the vector says nothing."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        has_face = bool(rng.random() < share)
        says = has_face and rng.random() >= hidden
        vector = 0.2 * rng.standard_normal(DIMENSION) + (1.0 if says else -1.0) * DIRECTION
        made.append((has_face, vector / np.linalg.norm(vector)))
    return made


def seen(vector: np.ndarray, space: str = "embed@1") -> dict[str, Output]:
    return {"embedding": Output(space, joint_embedding=vector.astype("<f2").tobytes())}


def drive(gate: Gated, shown: list[tuple[bool, np.ndarray]]) -> tuple[int, int]:
    """How many were skipped, and how many of those had a face."""
    skipped = missed = 0
    for has_face, vector in shown:
        if gate.wants(seen(vector)):
            (output,) = gate.run([np.array([1.0 if has_face else -1.0])])
            gate.learn(seen(vector), output)
        else:
            skipped += 1
            missed += has_face
    return skipped, missed


@pytest.fixture
def gate(tmp_path: Path) -> Gated:
    return gated_faces(Faces(), "embedding", 0.98, tmp_path)


def test_a_gate_that_has_proved_itself_skips_what_shows_nothing_and_keeps_the_recall(gate: Gated) -> None:
    drive(gate, pictures(4000, seed=1))
    shown = pictures(3000, seed=2)
    skipped, missed = drive(gate, shown)
    assert skipped > 0.6 * len(shown)
    assert missed <= 0.02 * sum(has_face for has_face, _ in shown)


def test_nothing_is_skipped_before_the_recall_is_proved(gate: Gated) -> None:
    """Of a library with 40 faces nobody knows whether a gate keeps 98 % of them."""
    assert drive(gate, pictures(4000, seed=1, share=0.01)) == (0, 0)


def test_of_what_is_below_the_threshold_a_share_is_looked_at_for_ever(gate: Gated) -> None:
    drive(gate, pictures(4000, seed=1))
    shown = pictures(3200, seed=3, share=0.0)
    skipped, _ = drive(gate, shown)
    assert 3200 / AUDIT / 2 < 3200 - skipped < 3200 / AUDIT * 2


def test_a_gate_opens_when_faces_appear_where_it_does_not_expect_them(gate: Gated) -> None:
    drive(gate, pictures(4000, seed=1))
    changed = pictures(2000, seed=4, hidden=0.5)
    drive(gate, changed)
    assert drive(gate, pictures(200, seed=5, hidden=0.5)) == (0, 0)


def test_an_embedding_that_says_nothing_of_faces_leaves_the_gate_open(gate: Gated) -> None:
    assert drive(gate, pictures(5000, seed=1, hidden=1.0)) == (0, 0)


def test_a_gate_that_would_save_little_stays_open(gate: Gated) -> None:
    assert drive(gate, pictures(5000, seed=1, share=0.95)) == (0, 0)


def test_the_same_photos_in_the_same_order_are_decided_alike(tmp_path: Path) -> None:
    skipped = [
        drive(gated_faces(Faces(), "embedding", 0.98, tmp_path / name), pictures(3500, seed=1))
        for name in ("a", "b")
    ]
    assert skipped[0] == skipped[1]
    assert skipped[0][0] > 0


def test_the_next_run_begins_with_what_this_one_has_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "SAVE_EVERY", 256)
    drive(gated_faces(Faces(), "embedding", 0.98, tmp_path), pictures(4000, seed=1))
    again = gated_faces(Faces(), "embedding", 0.98, tmp_path)
    assert drive(again, pictures(300, seed=6, share=0.0))[0] > 250
    other = gated_faces(Faces(), "embedding", 0.98, tmp_path)
    vector = pictures(1, seed=6, share=0.0)[0][1]
    assert all(other.wants(seen(vector, "another@1")) for _ in range(200)), (
        "of another space it knows nothing"
    )


@pytest.mark.parametrize("text", ["", "[]", '{"faces@1 after embed@1": {"weights": 3}}'])
def test_a_damaged_file_of_gates_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / gates.FILE).write_text(text)
    gate = gated_faces(Faces(), "embedding", 0.98, tmp_path)
    assert drive(gate, pictures(50, seed=1, share=0.0)) == (0, 0)


def test_without_an_embedding_the_model_runs(gate: Gated) -> None:
    assert gate.wants({})
    assert gate.wants({"embedding": Output("embed@1", error="E")})
    gate.learn({}, Output("faces@1", faces=()))


def test_what_is_skipped_says_so_and_says_that_nothing_was_found(gate: Gated) -> None:
    assert gate.skipped() == Output("faces@1", faces=(), gate="a face is not likely")
    assert (gate.name, gate.fingerprint, gate.after_names) == ("faces", "faces@1", ("embedding",))
    assert gate.device == "a device"


def test_the_bound_is_below_what_was_seen_and_comes_nearer_with_more() -> None:
    assert wilson_bound(1.0, 0) == 0.0
    assert wilson_bound(1.0, 100) == pytest.approx(100 / (100 + 2.326**2))
    assert wilson_bound(0.99, 100) < wilson_bound(0.99, 10_000) < 0.99


def test_a_threshold_is_the_highest_that_keeps_the_recall() -> None:
    gate = Gate(recall=0.9)
    for number in range(1024):
        gate.learn(number / 1024, found=number >= 512)
    assert gate.threshold is not None
    assert 0.5 <= gate.threshold < 0.5 + 0.1 * 0.5
    assert gate.lets_through(0.99)


def test_a_probe_of_other_vectors_begins_anew() -> None:
    probe = Probe()
    for has_face, vector in pictures(300, seed=1):
        probe.add(vector, has_face)
    probe.fit()
    assert (probe.score(DIRECTION) or 0) > 0.8
    assert probe.score(np.ones(5)) is None
    probe.add(np.ones(5), True)
    assert probe.count == 1
