"""The ring's memory and the bookkeeping of its slots."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from catalogd.errors import CrashedError, ResourceError
from catalogd.pipeline.ring import Ring, Slots, affordable_slots, slot_bytes

EDGE_PX = 64


def _fill_in_child(ring: Ring, slot: int, ticket: int) -> None:
    ring.pixels(slot)[: 8 * 6 * 3] = 77
    ring.stamp(slot, ticket, 8, 6)


@pytest.fixture
def ring():
    block = Ring(4, EDGE_PX)
    yield block
    gc.collect()
    block.close()


def test_a_frame_written_by_a_spawned_process_is_read_here_without_a_copy(ring: Ring) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_fill_in_child, args=(ring, 2, 41))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    frame = ring.frame(2, 41)
    assert frame.shape == (8, 6, 3)
    assert (frame == 77).all()
    assert np.shares_memory(frame, ring.pixels(2))


@pytest.mark.parametrize(("height", "width", "ticket"), [(0, 5, 1), (65, 5, 1), (5, 70_000, 1), (5, 5, 2)])
def test_a_header_that_is_not_the_announced_one_is_refused(
    ring: Ring, height: int, width: int, ticket: int
) -> None:
    ring.stamp(0, ticket, height, width)
    with pytest.raises(CrashedError, match="slot 0"):
        ring.frame(0, 1)


def test_garbage_over_a_header_is_refused(ring: Ring) -> None:
    ring.stamp(1, 1, 5, 5)
    ring.pixels(1).base[:] = 0xAB
    with pytest.raises(CrashedError):
        ring.frame(1, 1)


def test_slots_do_not_overlap(ring: Ring) -> None:
    for slot in range(4):
        ring.pixels(slot)[:] = slot
        ring.stamp(slot, slot, EDGE_PX, EDGE_PX)
    for slot in range(4):
        assert (ring.frame(slot, slot) == slot).all()


def test_the_block_has_no_name_that_could_leak(ring: Ring) -> None:
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("psm_")]


def test_too_little_memory_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ResourceError, match="shm-size"):
        affordable_slots(slot_bytes(EDGE_PX), EDGE_PX)


@pytest.mark.parametrize(("megabytes", "fits"), [(16, True), (4, False)])
def test_a_small_dev_shm_gives_a_smaller_ring_or_an_error_and_never_a_sigbus(
    megabytes: int, fits: bool
) -> None:
    script = (
        "from catalogd.pipeline.ring import Ring, affordable_slots\n"
        "from catalogd.errors import ResourceError\n"
        "try: count = affordable_slots(256 << 20, 1280)\n"
        "except ResourceError as error: print('refused', error); raise SystemExit\n"
        "ring = Ring(count, 1280)\n"
        "for slot in range(count): ring.pixels(slot)[:] = 1\n"
        "print('slots', count)\n"
    )
    command = f'mount -t tmpfs -o size={megabytes}m tmpfs /dev/shm && exec {sys.executable} -c "$SCRIPT"'
    mounted = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command],
        env={**os.environ, "SCRIPT": script, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert mounted.returncode == 0, mounted.stderr
    assert mounted.stdout.startswith("slots 3" if fits else "refused"), mounted.stdout


class SlotMachine(RuleBasedStateMachine):
    """Slots against a dict: every slot is in one state, none is lost, none is given twice."""

    COUNT = 3

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(self.COUNT)
        self.held: dict[int, str] = {}

    @rule()
    def take(self) -> None:
        slot = self.slots.take()
        if len(self.held) == self.COUNT:
            assert slot is None
        else:
            assert slot not in self.held
            self.held[slot] = "filling"

    @precondition(lambda self: self.held)
    @rule(data=st.data(), step=st.sampled_from(["fill", "batch", "unbatch", "free"]))
    def step(self, data: st.DataObject, step: str) -> None:
        slot = data.draw(st.sampled_from(sorted(self.held)))
        ways = {"fill": ("filling", "ready"), "batch": ("ready", "batched"), "unbatch": ("batched", "ready")}
        if step == "free":
            self.slots.free(slot)
            del self.held[slot]
        elif self.held[slot] == ways[step][0]:
            getattr(self.slots, step)(slot)
            self.held[slot] = ways[step][1]
        else:
            with pytest.raises(ValueError, match=f"slot {slot} is"):
                getattr(self.slots, step)(slot)

    @rule(slot=st.integers(0, COUNT - 1))
    def free_a_free_one(self, slot: int) -> None:
        if slot not in self.held:
            with pytest.raises(ValueError, match="free already"):
                self.slots.free(slot)

    @invariant()
    def none_is_lost(self) -> None:
        assert self.slots.free_count == self.COUNT - len(self.held)


TestSlots = SlotMachine.TestCase
TestSlots.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
