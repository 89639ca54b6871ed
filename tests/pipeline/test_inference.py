"""All models of a device: what is loaded when, what is learned when memory is out, who is given up."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from catalogd.errors import ModelError
from catalogd.models import batches
from catalogd.models.devices import CPU
from catalogd.models.measured import Measurements
from catalogd.models.planning import LOAD_SHARE
from catalogd.pipeline.conduct import GIVE_UP_FRAMES
from catalogd.pipeline.inference import Inference
from catalogd.records import Output
from catalogd.settings import Settings
from tests.pipeline.cards import Card, CardModel, frames, loader


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model_cache=tmp_path / "models", batch=8)


def started(card: Card, settings: Settings, *models: object, most: int = 4096) -> Inference:
    inference = Inference(settings, loader(*models), card.device, threads=1, most_frames=most)
    inference.start()
    return inference


def infer(inference: Inference, count: int) -> list[dict[str, Output]]:
    outputs, _ = inference.run(inference.divided(frames(count)), [None] * count)
    return outputs


def is_whole(outputs: list[dict[str, Output]], *names: str) -> bool:
    """Whether every frame has what every model says of just that frame."""
    return all(
        outputs[number].keys() == set(names)
        and all(outputs[number][name].caption == f"{name} saw {number % 256}" for name in names)
        for number in range(len(outputs))
    )


# ── phases ────────────────────────────────────────────────────────────────────────────────────


def test_models_that_fit_are_loaded_once_and_never_unloaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    inference = started(card, settings, CardModel("a", card), CardModel("b", card))
    for _ in range(5):
        assert is_whole(infer(inference, 8), "a", "b")
    assert card.times("load", "a") == card.times("load", "b") == 1
    assert not card.times("unload", "a")
    assert inference.group == 8


def test_models_that_do_not_fit_take_turns_and_loading_stays_a_small_share(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    models = [CardModel(name, card, weights_gib=4, frame_gib=0.1) for name in "abc"]
    inference = started(card, settings, *models)
    for _ in range(2):  # what they take is measured
        assert is_whole(infer(inference, inference.group), "a", "b", "c")
    card.log.clear()
    start, group = card.now, inference.group
    for _ in range(3):
        assert is_whole(infer(inference, group), "a", "b", "c")
    loads = sum(what == "load" for what, _ in card.log)
    assert loads * 2.0 / (card.now - start) <= LOAD_SHARE
    assert loads <= 3 * len(models), "no model is loaded twice in a group"
    assert card.most_used <= card.total
    assert not inference.given_up


def test_the_next_process_knows_the_needs_and_is_out_of_memory_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    first = started(card, settings, *(CardModel(name, card, weights_gib=4) for name in "abc"))
    infer(first, 16)
    first.close()
    refused: list[int] = []
    monkeypatch.setattr(card, "take", _noting(card.take, refused))
    again = started(card, settings, *(CardModel(name, card, weights_gib=4) for name in "abc"))
    assert again.group > 8
    assert is_whole(infer(again, again.group), "a", "b", "c")
    assert not refused


def _noting(take: object, refused: list[int]) -> object:
    def noted(nbytes: int) -> None:
        try:
            take(nbytes)  # type: ignore[operator]
        except MemoryError:
            refused.append(nbytes)
            raise

    return noted


def test_a_small_ring_is_told_what_would_make_loading_a_small_share(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    models = [CardModel(name, card, weights_gib=5) for name in "ab"]
    inference = started(card, settings, *models, most=24)
    infer(inference, 24)
    assert inference.group == 24
    [note] = [note for note in inference.take_notes() if "take turns" in note]
    assert "ring_bytes = " in note
    infer(inference, 24)
    assert not inference.take_notes(), "it is told once"


def test_a_model_that_asks_what_another_said_comes_after_it_whatever_their_phases(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asking(CardModel):
        after_names = ("z",)

        def wants(self, seen: dict[str, Output]) -> bool:
            return seen["z"].caption is not None

        def skipped(self) -> Output:
            return Output(self.fingerprint, gate="nothing")

    card = Card(8)
    card.plug_in(monkeypatch)
    asking = Asking("a", card, weights_gib=3, load_s=30)
    inference = started(
        card, settings, asking, CardModel("z", card, weights_gib=5), CardModel("y", card, weights_gib=4)
    )
    for _ in range(3):
        assert is_whole(infer(inference, 16), "a", "y", "z")


def test_a_model_that_fits_not_even_alone_is_switched_off_and_the_others_stay(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    inference = started(card, settings, CardModel("huge", card, weights_gib=9), CardModel("a", card))
    for _ in range(3):
        assert is_whole(infer(inference, 8), "a")
    assert inference.given_up == ["huge"]
    assert any("huge is switched off on stub" in note for note in inference.take_notes())


def test_one_frame_that_has_no_room_beside_other_models_gets_the_memory_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    wide = CardModel("wide", card, weights_gib=1, frame_gib=5)
    inference = started(card, settings, wide, CardModel("a", card, weights_gib=3))
    for _ in range(2):
        assert is_whole(infer(inference, 4), "a", "wide")
    assert set(wide.runs) == {1}


def test_a_phase_whose_models_no_frame_wants_is_not_loaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    inference = started(card, settings, *(CardModel(name, card, weights_gib=5) for name in "ab"))
    infer(inference, 16)
    before = card.times("load", "b")
    for _ in range(3):
        outputs, _ = inference.run(inference.divided(frames(16)), [("a",)] * 16)
        assert is_whole(outputs, "a")
    assert card.times("load", "b") == before


def test_each_model_is_named_before_it_is_loaded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    inference = Inference(settings, loader(CardModel("a", card), CardModel("b", card)), card.device, 1, 64)
    inference.start(lambda name: card.log.append(("named", name)))
    assert card.log == [("named", "a"), ("load", "a"), ("named", "b"), ("load", "b")]


# ── out of memory ─────────────────────────────────────────────────────────────────────────────


def test_out_of_memory_halves_the_batch_of_that_model_and_is_remembered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    wide, narrow = CardModel("wide", card, frame_gib=1.5), CardModel("narrow", card)
    inference = started(card, settings, wide, narrow)
    for _ in range(3):
        assert is_whole(infer(inference, 8), "wide", "narrow")
    assert wide.runs == [4, 4] * 3 or set(wide.runs) == {4}
    assert narrow.runs == [8, 8, 8]
    assert any("wide was out of memory: at most 4" in note for note in inference.take_notes())
    inference.close()
    again = CardModel("wide", card, frame_gib=1.5)
    inference = started(card, settings, again, CardModel("narrow", card))
    refused: list[int] = []
    monkeypatch.setattr(card, "take", _noting(card.take, refused))
    assert is_whole(infer(inference, 8), "wide", "narrow")
    assert (set(again.runs), refused) == ({4}, []), "a new process begins with what the last one learned"


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate", "Failed to allocate memory"])
def test_out_of_memory_in_the_words_of_a_library_counts_as_well(settings: Settings, words: str) -> None:
    class Foreign(CardModel):
        device = CPU  # type: ignore[assignment]

        def run(self, frames: object) -> list[Output]:
            if len(frames) > 2:  # type: ignore[arg-type]
                raise RuntimeError(words)
            return super().run(frames)  # type: ignore[arg-type]

    model = Foreign("a", Card(8))
    inference = Inference(settings, loader(model), CPU, 1, 64)
    inference.start()
    assert is_whole(infer(inference, 8), "a")
    assert is_whole(infer(inference, 8), "a")
    assert model.runs == [2] * 8
    assert Measurements(settings.model_cache, "CPU", "fp32")["a@1"].batch == 2


# ── failing models ────────────────────────────────────────────────────────────────────────────


class Failing(CardModel):
    """Works until it does not."""

    good = 0

    def run(self, frames: object) -> list[Output]:
        if len(self.runs) < self.good:
            return super().run(frames)  # type: ignore[arg-type]
        raise self.error

    error: Exception = RuntimeError("the device is lost")


def test_a_model_that_keeps_failing_is_switched_off_and_nothing_is_kept_of_its_failures(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    inference = started(card, settings, Failing("bad", card), CardModel("good", card))
    orders = GIVE_UP_FRAMES // 8
    for order in range(orders + 2):
        assert is_whole(infer(inference, 8), "good")
        assert inference.given_up == (["bad"] if order >= orders - 1 else [])
    notes = inference.take_notes()
    assert any("bad is switched off" in note and "the device is lost" in note for note in notes)
    assert card.times("unload", "bad") == 1


def test_a_model_that_fails_now_and_then_stays_and_its_failures_are_kept(settings: Settings) -> None:
    class Picky(CardModel):
        device = CPU  # type: ignore[assignment]

        def said_of(self, frame: object) -> Output:
            if int(frame[0, 0, 0]) % 2:  # type: ignore[index]
                raise ValueError("odd")
            return super().said_of(frame)  # type: ignore[arg-type]

    inference = Inference(settings, loader(Picky("a", Card(8))), CPU, 1, 64)
    inference.start()
    for _ in range(8):
        outputs = infer(inference, 8)
        assert [output["a"].error for output in outputs] == [None, "ValueError: odd"] * 4
    assert not inference.given_up


def test_a_model_that_says_it_can_not_work_is_asked_once_a_batch_and_nothing_is_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Server(CardModel):
        device = CPU  # type: ignore[assignment]
        is_remote = True

        def run(self, frames: object) -> list[Output]:
            asked.append(len(frames))  # type: ignore[arg-type]
            raise ModelError("the server does not answer")

        def notes(self) -> list[str]:
            return [f"asked {len(asked)} times"]

    card = Card(8)
    inference = Inference(
        settings, loader(Server("caption", card), CardModel("a", card)), CPU, threads=1, most_frames=64
    )
    monkeypatch.setattr(CardModel, "device", CPU)
    inference.start()
    for _ in range(4):
        assert is_whole(infer(inference, 8), "a")
    assert asked == [8, 8, 8]
    assert inference.given_up == ["caption"]
    assert inference.said() == {"caption": ["asked 3 times"]}


def test_an_output_without_a_fingerprint_is_one_that_was_not_made(settings: Settings) -> None:
    class Thrifty(CardModel):
        device = CPU  # type: ignore[assignment]

        def said_of(self, frame: object) -> Output:
            spent = int(frame[0, 0, 0]) > 2  # type: ignore[index]
            return Output("") if spent else super().said_of(frame)  # type: ignore[arg-type]

    inference = Inference(settings, loader(Thrifty("caption", Card(8))), CPU, 1, 64)
    inference.start()
    assert [list(output) for output in infer(inference, 5)] == [["caption"]] * 3 + [[]] * 2


def test_a_large_batch_that_fails_once_is_no_reason_to_switch_a_model_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Once(CardModel):
        failed = False

        def run(self, frames: object) -> list[Output]:
            if not self.failed:
                self.failed = True
                raise ModelError("the server is away for a moment")
            return super().run(frames)  # type: ignore[arg-type]

    card = Card(8)
    card.plug_in(monkeypatch)
    wide = dataclasses.replace(settings, batch=GIVE_UP_FRAMES + 8)
    inference = started(card, wide, Once("once", card), CardModel("good", card))
    assert is_whole(infer(inference, wide.batch), "good")
    assert is_whole(infer(inference, wide.batch), "once", "good")


def test_frames_that_a_model_leaves_for_the_next_run_do_not_switch_it_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pausing(CardModel):
        """Away, then left alone for some batches, and again."""

        calls = 0

        def run(self, frames: object) -> list[Output]:
            self.calls += 1
            if self.calls % 10 == 1:
                raise ModelError("the server does not answer")
            return [Output("")] * len(frames)  # type: ignore[arg-type]

    card = Card(8)
    card.plug_in(monkeypatch)
    inference = started(card, settings, Pausing("caption", card), CardModel("good", card))
    for _ in range(20):
        assert is_whole(infer(inference, 8), "good")
    assert not inference.given_up
    infer(inference, 8)
    assert inference.given_up == ["caption"], "three times in vain"


def test_a_gpu_is_lost_when_all_its_models_are_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnCpu(CardModel):
        device = CPU  # type: ignore[assignment]

    card = Card(8)
    card.plug_in(monkeypatch)
    inference = started(card, settings, Failing("a", card), Failing("b", card), OnCpu("c", card))
    assert inference.lost == ""
    for _ in range(3):
        assert is_whole(infer(inference, 8), "c")
    assert "the device is lost" in inference.lost


def test_a_model_that_does_not_load_is_switched_off_and_the_others_go_on(settings: Settings) -> None:
    card = Card(8)
    inference = started(
        card, settings, CardModel("bad", card, broken="weights.onnx: corrupt"), CardModel("a", card)
    )
    assert is_whole(infer(inference, 3), "a")
    assert inference.given_up == ["bad"]
    [note] = inference.take_notes()
    assert "weights.onnx: corrupt" in note


def test_when_no_model_loads_there_is_nothing_to_go_on_with(settings: Settings) -> None:
    card = Card(8)
    with pytest.raises(ModelError, match="corrupt"):
        started(card, settings, CardModel("a", card, broken="corrupt"), CardModel("b", card, broken="gone"))


def test_a_gpu_that_is_gone_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(index: int) -> None:
        raise RuntimeError("CUDA error: no CUDA-capable device is detected\nFor debugging, …")

    card = Card(8)
    card.plug_in(monkeypatch)
    card.cuda.mem_get_info = gone
    with pytest.raises(
        ModelError, match=r"^stub \(stub card\) can't be used: CUDA error: no CUDA-.* detected$"
    ):
        started(card, settings, CardModel("a", card))


# ── frames on their way ───────────────────────────────────────────────────────────────────────


def test_the_next_part_of_a_group_is_sent_up_before_the_one_before_it_is_computed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    events: list[tuple[str, int]] = []

    class Noting(CardModel):
        def run(self, frames: object) -> list[Output]:
            events.append(("run", int(frames[0][0, 0, 0])))  # type: ignore[index]
            return super().run(frames)  # type: ignore[arg-type]

    monkeypatch.setattr(
        batches.Batch, "prefetch", lambda batch: events.append(("prefetch", int(batch[0][0, 0, 0])))
    )
    inference = started(card, settings, Noting("a", card))
    infer(inference, 24)
    order = [("prefetch", 0), ("prefetch", 8), ("run", 0), ("prefetch", 16), ("run", 8), ("run", 16)]
    assert events == order


def test_batches_are_closed_when_they_are_done(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(8)
    card.plug_in(monkeypatch)
    closed = itertools.count()
    monkeypatch.setattr(batches.Batch, "close", lambda batch: next(closed))
    infer(started(card, settings, CardModel("a", card)), 24)
    assert next(closed) == 3
