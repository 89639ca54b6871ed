"""`infer_batch`: who runs when and where, what a gate saves, what is derived."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from catalogd.models.devices import CPU, Device
from catalogd.pipeline.stages import infer_batch, turns
from catalogd.records import Output, Tag
from tests.pipeline.cards import frames

GPU = Device("stub", 0, "stub")


class Plain:
    """Says which frame it saw."""

    def __init__(self, name: str, device: Device = CPU) -> None:
        self.name = name
        self.fingerprint = f"{name}@1"
        self.device = device
        self.calls: list[int] = []  # frames of each

    def load(self) -> None: ...

    def unload(self) -> None: ...

    def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
        self.calls.append(len(frames))
        return [Output(self.fingerprint, caption=str(frame[0, 0, 0])) for frame in frames]


class Gated(Plain):
    """Looks at frames of even numbers, as the model before it says them."""

    after_names = ("first",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.learned: list[tuple[str | None, str | None]] = []

    def wants(self, seen: Mapping[str, Output]) -> bool:
        number = seen["first"].caption
        if number == "4":
            raise ValueError("no gate for four")
        return number is not None and int(number) % 2 == 0

    def skipped(self) -> Output:
        return Output(self.fingerprint, gate="an odd number")

    def learn(self, seen: Mapping[str, Output], output: Output) -> None:
        self.learned.append((seen["first"].caption, output.caption))


class Derived:
    """The caption of another one as a tag."""

    def __init__(self, name: str, after: str) -> None:
        self.name, self.after = name, after
        self.fingerprint = f"{name}@1 of {after}"
        self.calls: list[int] = []

    def load(self) -> None: ...

    def unload(self) -> None: ...

    def derive(self, outputs: Sequence[Output]) -> list[Output]:
        self.calls.append(len(outputs))
        captions = [output.caption or "" for output in outputs]
        if "3" in captions:
            raise RuntimeError("three is too many")
        return [Output(self.fingerprint, tags=(Tag(caption, 1.0),)) for caption in captions]


def infer(
    models: Sequence[object], count: int, pool: ThreadPoolExecutor | None = None
) -> list[dict[str, Output]]:
    outputs, seconds = infer_batch(models, frames(count), [None] * count, pool)  # type: ignore[arg-type]
    assert seconds.keys() == {model.name for model in models}  # type: ignore[attr-defined]
    return outputs


def test_models_come_after_those_that_they_ask() -> None:
    models = [Derived("tags", "gated"), Gated("gated"), Plain("first"), Plain("other")]
    names = [[model.name for model in turn] for turn in turns(models)]  # type: ignore[arg-type]
    assert names == [["first", "other"], ["gated"], ["tags"]]


def test_models_that_ask_for_each_other_run_all_the_same() -> None:
    one, other = Gated("first"), Gated("second")
    one.after_names = ("second",)
    assert [len(turn) for turn in turns([one, other])] == [2]


def test_a_gate_saves_work_says_so_and_learns_where_it_let_through() -> None:
    gated = Gated("gated")
    outputs = infer([gated, Plain("first")], 4)
    assert [output["gated"].gate for output in outputs] == [None, "an odd number"] * 2
    assert gated.calls == [2]
    assert gated.learned == [("0", "0"), ("2", "2")]


def test_an_error_of_a_gate_is_about_its_frame_alone() -> None:
    outputs = infer([Gated("gated"), Plain("first")], 6)
    assert outputs[4]["gated"].error == "ValueError: no gate for four"
    assert [outputs[number]["gated"].caption for number in (0, 2)] == ["0", "2"]
    assert outputs[4]["first"].caption == "4"


def test_what_is_derived_of_one_frame_may_fail_alone() -> None:
    tags = Derived("tags", "first")
    outputs = infer([tags, Plain("first")], 8)
    assert outputs[3]["tags"].error == "RuntimeError: three is too many"
    assert [output["tags"].tags for output in outputs if output["tags"].error is None] == [
        (Tag(str(number), 1.0),) for number in range(8) if number != 3
    ]


def test_nothing_is_derived_from_a_model_that_was_not_asked() -> None:
    tags = Derived("tags", "first")
    outputs, _ = infer_batch([tags], frames(2), [None, ("tags",)])
    assert outputs == [{}, {}]
    assert not tags.calls


def test_what_is_derived_from_a_failure_fails_and_is_done_with() -> None:
    class Refusing(Plain):
        def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
            return [Output(self.fingerprint, error="refused") for _ in frames]

    tags = Derived("tags", "first")
    outputs = infer([tags, Refusing("first")], 2)
    assert [output["tags"].error for output in outputs] == ["first failed"] * 2
    assert not tags.calls


def test_frames_get_the_models_that_they_name() -> None:
    outputs, _ = infer_batch([Plain("a"), Plain("b")], frames(3), [None, ("b",), ()])
    assert [set(output) for output in outputs] == [{"a", "b"}, {"b"}, set()]
    assert outputs[1]["b"].caption == "1"


def test_a_pool_gets_a_few_frames_at_a_time_and_a_gpu_whole_batches_in_one_thread() -> None:
    here: list[threading.Thread] = []

    class OnGpu(Plain):
        def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
            here.append(threading.current_thread())
            return super().run(frames)

    cpu, gpu, other = Plain("cpu"), OnGpu("gpu", GPU), OnGpu("other", GPU)
    with ThreadPoolExecutor(2) as pool:
        outputs = infer([cpu, gpu, other], 7, pool)
    assert sorted(cpu.calls) == [1, 2, 2, 2]
    assert (gpu.calls, other.calls) == ([7], [7])
    assert here == [threading.current_thread()] * 2
    assert all(output["cpu"].caption == output["gpu"].caption == str(n) for n, output in enumerate(outputs))


def test_models_of_the_cpu_work_while_the_gpu_does() -> None:
    meet = threading.Barrier(2, timeout=20)  # only both at once get through

    class Meeting(Plain):
        def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
            meet.wait()
            return super().run(frames)

    with ThreadPoolExecutor(1) as pool:
        outputs = infer([Meeting("cpu"), Meeting("gpu", GPU)], 2, pool)
    assert all(set(output) == {"cpu", "gpu"} and not output["cpu"].error for output in outputs)


def test_a_server_gets_a_whole_batch_beside_the_others() -> None:
    server = Plain("caption")
    server.is_remote = True  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        infer([Plain("a"), server], 7, pool)
    assert server.calls == [7]


@pytest.mark.parametrize("answers", [0, 3])
def test_a_model_that_answers_for_other_frames_than_it_was_given_fails(answers: int) -> None:
    class Miscounting(Plain):
        def run(self, frames: Sequence[np.ndarray]) -> list[Output]:
            return [Output(self.fingerprint)] * answers

    outputs = infer([Miscounting("a"), Plain("b")], 2)
    assert all("outputs for 1 frames" in (output["a"].error or "") for output in outputs)
    assert all(output["b"].error is None for output in outputs)
