"""All models of one device: loaded as its memory allows, run on what comes, given up when they keep failing.

::

    start() ─▶ loads those that stay
    run(batches) ─▶ phase by phase: load, every batch, unload what does not stay ─▶ outputs
                        └─ what was learned: needs and times (plans.json), who is given up, news for people

In the inference process, or in the one process of `--inline`. It knows nothing of slots and pipes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from catalogd.errors import ModelError
from catalogd.models.batches import Batch
from catalogd.models.devices import Device, precision_of
from catalogd.models.measured import Measurements
from catalogd.models.memory import give_back, is_out_of_memory, memory_used
from catalogd.models.planning import LOAD_SHARE, Need, Plan, plan, usable_bytes
from catalogd.pipeline.conduct import Conduct, is_on_gpu
from catalogd.pipeline.ring import slot_bytes
from catalogd.pipeline.stages import asked_names, infer_batch, is_derived, turns

if TYPE_CHECKING:
    from catalogd.pipeline.conduct import AnyModel
    from catalogd.pipeline.ring import Frame
    from catalogd.records import Output
    from catalogd.settings import Settings

LoadModels = Callable[[Device], Sequence["AnyModel"]]
Wanted = Sequence[tuple[str, ...] | None]

CPU_BATCH = 8  # frames: nothing is gained above (bench/README.md)
GPU_BATCH = 32  # frames: most models of a GPU gain little above, and the ring holds two of them
_WHOLE_FRAMES = 4  # a model that fails on all of at least so many fails for another reason than the photos


class Inference:
    """The models of one device. Not thread-safe, but for `divided`."""

    def __init__(
        self, settings: Settings, load_models: LoadModels, device: Device, threads: int, most_frames: int
    ) -> None:
        """`most_frames`: of one call of `run`; `threads` of the CPU, for models that run there."""
        self.device = device
        self._settings = settings
        self._most = most_frames
        self._batch = max(1, min(batch_frames(settings, device), most_frames))
        self._models = [model for turn in turns(load_models(device)) for model in turn]
        self.fingerprints = {model.name: model.fingerprint for model in self._models}
        self._conduct = Conduct(device)
        self._measured = Measurements(settings.model_cache, device.name, precision_of(device, settings))
        self._loaded: set[str] = set()
        self._crowded_out: set[str] = set()  # models that could not be loaded beside others
        self._alone: set[str] = set()  # models that had no room for one frame beside others
        self._usable = 0
        self._orders = 0
        self._notes: list[str] = []
        self._told: set[str] = set()
        waiting = sum(bool(getattr(model, "is_remote", False)) for model in self._models)
        is_shared = threads > 1 or waiting or any(map(is_on_gpu, self._models))
        self._pool = ThreadPoolExecutor(threads + waiting, "infer") if is_shared else None
        self._plan = self._make_plan()

    @property
    def group(self) -> int:
        """Frames that `run` should get at once."""
        return self._plan.group

    @property
    def given_up(self) -> list[str]:
        return list(self._conduct.given_up)

    @property
    def lost(self) -> str:
        """Why none of the models of the device's GPU works any more; "" while one does, or there was none."""
        on_gpu = [model for model in self._models if is_on_gpu(model)]
        if not on_gpu or any(map(self._is_on, on_gpu)):
            return ""
        return self._conduct.given_up[on_gpu[-1].name]

    def start(self, report: Callable[[str], object] = lambda name: None) -> None:
        """Load what stays; `report` gets the name of each model before it is loaded, which may take minutes.

        Raises ModelError when no model is left of those that look at frames, or the GPU can't be used.
        """
        if self.device.is_gpu:
            self._usable = usable_bytes(self.device.memory_bytes, self._taken())
        for model in self._models:
            batch = self._measured[model.fingerprint].batch
            self._conduct[model.name].batch = batch
        self._plan = self._make_plan()
        for model in [model for model in self._models if self._stays(model)]:
            report(model.name)
            self._load(model)
        looking = [model.name for model in self._models if not is_derived(model)]
        if looking and self._conduct.given_up.keys() >= set(looking):
            raise ModelError(self._conduct.given_up[looking[0]])
        self._measured.write()

    def _taken(self) -> int:
        """Bytes of the GPU that others took. Raises ModelError when it can't be used."""
        try:
            if self.device.kind == "cuda" and any(map(is_on_gpu, self._models)):
                _open_cuda(self.device)
            return memory_used(self.device)
        except RuntimeError as error:  # CUDA's, whose first line says it all
            said = next(iter(str(error).splitlines()), "")
            raise ModelError(f"{self.device.label} ({self.device.name}) can't be used: {said}") from None

    def close(self) -> None:
        """Unload everything."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for model in self._models:
            self._unload(model)

    def divided(self, frames: Sequence[Frame]) -> list[Batch]:
        """The frames as batches for `run`; the first of them is on its way to the device."""
        steps = range(0, len(frames), self._batch)
        batches = [Batch(frames[start : start + self._batch], self.device) for start in steps]
        self._prefetch(batches[:1])
        return batches

    def run(
        self, batches: Sequence[Batch], wanted: Wanted
    ) -> tuple[list[dict[str, Output]], dict[str, float]]:
        """Every model on the frames that want it, as `infer_batch`; the batches are closed."""
        try:
            outputs, seconds = self._run(batches, wanted)
        finally:  # before any of their slots is filled anew
            for batch in batches:
                batch.close()
        self._withhold(outputs)
        self._learn()
        return outputs, seconds

    def _run(
        self, batches: Sequence[Batch], wanted: Wanted
    ) -> tuple[list[dict[str, Output]], dict[str, float]]:
        outputs: list[dict[str, Output]] = [{} for _ in wanted]
        seconds = dict.fromkeys(self.fingerprints, 0.0)
        left = [model for model in self._models if self._is_on(model) and _is_asked(model, wanted)]
        while left:
            phase = self._enter(self._next_phase(left))
            start = 0
            for number, batch in enumerate(batches):
                self._prefetch(batches[number + 1 : number + 2])
                part = slice(start, start + len(batch))
                start += len(batch)
                _, took = infer_batch(phase, batch, wanted[part], self._pool, self._conduct, outputs[part])
                for name, spent in took.items():
                    seconds[name] += spent
            left = [model for model in left if model not in phase and self._is_on(model)]
            left += self._starved(phase, outputs)
        return outputs, seconds

    def take_notes(self) -> list[str]:
        """What the owner should read, new since the last time."""
        taken, self._notes = self._notes, []
        return taken

    def said(self) -> dict[str, list[str]]:
        """What models say of themselves, by name, where it changed: it replaces what they said before."""
        each: dict[str, list[str]] = {one.name: getattr(one, "notes", list)() for one in self._models}
        return {name: notes for name, notes in each.items() if notes}

    # ── who is loaded ─────────────────────────────────────────────────────────────────────────

    def _is_on(self, model: AnyModel) -> bool:
        return model.name not in self._conduct.given_up

    def _stays(self, model: AnyModel) -> bool:
        return not is_on_gpu(model) or model.name in self._plan.resident

    def _next_phase(self, left: Sequence[AnyModel]) -> list[AnyModel]:
        """Those that may run now: of the first phase with work left, and none before one that it asks."""
        names = {model.name for model in left}
        coming = next((set(phase) for phase in self._plan.phases if names & set(phase)), set())
        phase = [model for model in left if self._stays(model) or model.name in coming]
        while later := names - {model.name for model in phase}:
            kept = [model for model in phase if later.isdisjoint(asked_names(model))]
            if len(kept) == len(phase):
                break
            phase = kept
        return phase or list(left)  # all of them ask for each other

    def _enter(self, phase: Sequence[AnyModel]) -> list[AnyModel]:
        """Load a phase; those of it that are loaded. What neither belongs to it nor stays is unloaded."""
        leaving = [model for model in self._models if not self._stays(model) and model not in phase]
        if any(model.name in self._loaded for model in leaving):
            for model in leaving:
                self._unload(model)
            give_back(self.device)
        return [model for model in phase if self._load(model)]

    def _load(self, model: AnyModel) -> bool:
        if not self._is_on(model):
            return False
        if model.name in self._loaded:
            return True
        start, before = time.perf_counter(), memory_used(self.device)
        try:
            model.load()
        except Exception as error:  # whatever it is, the other models go on
            said, is_memory = str(error) or type(error).__name__, is_out_of_memory(error)
        else:
            self._loaded.add(model.name)
            grown = memory_used(self.device) - before
            self._note_loading(model, grown, time.perf_counter() - start)
            return True
        is_crowded = is_memory and self._usable and is_on_gpu(model) and self._others_on_gpu(model)
        if is_crowded and model.name not in self._crowded_out:
            self._crowded_out.add(model.name)
            self._make_room(model)
        else:
            self._give_up(model, said)
        return False

    def _unload(self, model: AnyModel) -> None:
        if model.name in self._loaded:
            self._loaded.discard(model.name)
            model.unload()

    def _others_on_gpu(self, model: AnyModel) -> bool:
        return any(
            other.name in self._loaded for other in self._models if is_on_gpu(other) and other is not model
        )

    def _make_room(self, model: AnyModel) -> None:
        """It did not fit beside the others: from now on it comes alone, until its need is known better."""
        self._keep(model, weights_bytes=self._usable)
        self._plan = self._make_plan()

    def _starved(self, phase: Sequence[AnyModel], outputs: list[dict[str, Output]]) -> list[AnyModel]:
        """Models that had no room for a single frame beside others: they shall come once more, alone."""
        again = []
        for model in phase:
            if self._conduct[model.name].starved and model.name not in self._alone:
                self._alone.add(model.name)
                if self._usable and self._is_on(model) and self._others_on_gpu(model):
                    self._make_room(model)
                    again.append(model)
                    for said in outputs:
                        said.pop(model.name, None)
        return again

    def _give_up(self, model: AnyModel, why: str) -> None:
        self._conduct.give_up(model, why)
        self._tell_given_up()

    def _tell_given_up(self) -> None:
        where = f" on {self.device.label}" if self.device.is_gpu else ""
        for model in self._models:
            if not self._is_on(model):
                self._unload(model)
                why = self._conduct.given_up[model.name]
                self._tell(f"{model.name} is switched off{where}, the other models go on: {why}")

    def _tell(self, note: str) -> None:
        if note not in self._told:
            self._told.add(note)
            self._notes.append(note)

    # ── what is learned ───────────────────────────────────────────────────────────────────────

    def _make_plan(self) -> Plan:
        needs = [self._need(model) for model in self._models if is_on_gpu(model) and self._is_on(model)]
        made = plan(needs, self._usable, self._batch, self._most)
        if made.enough > made.group and all(need.frame_s for need in needs) and "turns" not in self._told:
            self._told.add("turns")
            ring_bytes = 2 * made.enough * slot_bytes(self._settings.frame_edge_px)
            self._notes.append(
                f"the models do not fit {self.device.label} together and take turns: loading them takes "
                f"{made.load_share:.0%} of the time; ring_bytes = {ring_bytes} would make it {LOAD_SHARE:.0%}"
            )
        return made

    def _need(self, model: AnyModel) -> Need:
        known = self._measured[model.fingerprint]
        alone = self._usable if model.name in self._alone else 0
        return Need(
            model.name,
            max(known.weights_bytes, alone),
            known.frame_bytes,
            self._conduct[model.name].batch,
            known.load_s,
            known.frame_s,
        )

    def _keep(self, model: AnyModel, **values: float) -> None:
        known = self._measured[model.fingerprint]
        self._measured.note(model.fingerprint, msgspec.structs.replace(known, **values))

    def _note_loading(self, model: AnyModel, grown_bytes: int, took_s: float) -> None:
        if is_on_gpu(model):
            self._keep(model, weights_bytes=max(0, grown_bytes), load_s=took_s)

    def _learn(self) -> None:
        """After each order: who failed, who takes fewer frames, and now and then what they need."""
        self._orders += 1
        self._tell_given_up()
        for model in self._models:
            behaviour = self._conduct[model.name]
            if model.name in self._conduct.smaller:
                self._keep(model, batch=behaviour.batch, batch_at=time.time())
                self._tell(
                    f"{model.name} was out of memory: at most {behaviour.batch} frames at once from now on"
                )
            if is_on_gpu(model) and behaviour.frames:
                each = behaviour.seconds / behaviour.frames
                self._keep(model, frame_bytes=behaviour.frame_bytes, frame_s=each)
        is_time = self._orders & (self._orders - 1) == 0  # 1, 2, 4, 8, …
        if is_time and not self._plan.all_stay:
            self._plan = self._make_plan()
        if is_time or self._conduct.smaller:
            self._conduct.smaller.clear()
            self._measured.write()

    def _withhold(self, outputs: list[dict[str, Output]]) -> None:
        """Keep nothing of a model that failed on all frames, so that the next run tries them again."""
        for name in self.fingerprints:
            said = [output[name] for output in outputs if name in output]
            looked = [output for output in said if output.gate is None]
            if len(looked) >= _WHOLE_FRAMES and all(output.error for output in looked):
                self._tell(
                    f"{name} failed on {len(looked)} photos in a row, which the next run tries again: "
                    f"{looked[0].error}"
                )
                for output in outputs:
                    if name in output and output[name].error:
                        del output[name]

    def _prefetch(self, batches: Iterable[Batch]) -> None:
        """Send them on their way, where there are models that take tensors from the device."""
        if not self.device.is_gpu or "torch" not in sys.modules:
            return
        for batch in batches:
            try:
                batch.prefetch()
            except MemoryError:  # it goes up when it is asked for, or its model says that memory is out
                return


def batch_frames(settings: Settings, device: Device) -> int:
    """Frames that go through the models of a device at once."""
    return settings.batch or (GPU_BATCH if device.is_gpu else CPU_BATCH)


def _is_asked(model: AnyModel, wanted: Wanted) -> bool:
    """Whether any frame wants the model; loading it for a phase would be in vain else."""
    return any(names is None or model.name in names for names in wanted)


def _open_cuda(device: Device) -> None:
    """Load torch before the models, for this GPU, so that what they take is measured from the first on."""
    try:
        from catalogd.models import tensors
    except ImportError:  # onnxruntime alone
        return
    tensors.choose(device)
