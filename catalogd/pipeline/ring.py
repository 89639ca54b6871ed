"""The ring: one block of shared memory, cut into slots of one frame each.

Pixels are written into a slot by one reader, read there by inference, and never copied or sent.
The daemon owns every slot number; `Slots` is that bookkeeping and refuses any step out of order::

    FREE ──take──▶ FILLING ──fill──▶ READY ──batch──▶ BATCHED ──free──▶ FREE
                      └───────free──────┴────────free────┘   (a failed or dead process)

The block has no name once it is made: children inherit its descriptor, so nothing can leak when
every process is killed at once, and no resource tracker is involved.
"""

from __future__ import annotations

import contextlib
import enum
import mmap
import multiprocessing.reduction
import os
import struct
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import numpy.typing as npt

from catalogd.errors import CrashedError, ResourceError

Frame = npt.NDArray[np.uint8]

# magic, height, width, reserved, ticket: what the reader wrote, checked before inference reads it.
_HEADER = struct.Struct("<4sIIIQ")
_HEADER_BYTES = 64  # one cache line, so that frames start aligned
_MAGIC = b"FRM1"
_SHM_FOLDER = "/dev/shm"
_SHM_SHARE = 0.9  # of what is free: other programs use /dev/shm too
MIN_SLOTS = 2


def slot_bytes(edge_px: int) -> int:
    """Bytes of one slot: header and the largest frame, rounded up to whole pages."""
    page = mmap.PAGESIZE
    return (_HEADER_BYTES + edge_px * edge_px * 3 + page - 1) // page * page


def affordable_slots(ring_bytes: int, edge_px: int) -> int:
    """How many slots fit the setting and the free space of /dev/shm.

    Raises ResourceError when not even `MIN_SLOTS` do.
    """
    free = ring_bytes
    with contextlib.suppress(OSError):
        stat = os.statvfs(_SHM_FOLDER)
        free = int(stat.f_bavail * stat.f_frsize * _SHM_SHARE)
    count = min(ring_bytes, free) // slot_bytes(edge_px)
    if count < MIN_SLOTS:
        need = MIN_SLOTS * slot_bytes(edge_px) / 2**20
        raise ResourceError(
            f"{min(ring_bytes, free) / 2**20:.0f} MiB of shared memory do not hold {MIN_SLOTS} frames "
            f"({need:.0f} MiB): enlarge {_SHM_FOLDER} (docker run --shm-size=256m), raise ring_bytes, "
            "or lower frame_edge_px"
        )
    return count


class Ring:
    """The mapped block; the same object in the daemon and, pickled into a child, there.

    `frame` views are only valid while the slot is held; keep none.
    """

    def __init__(self, slot_count: int, edge_px: int) -> None:
        self.slot_count = slot_count
        self.edge_px = edge_px
        self._stride = slot_bytes(edge_px)
        self._descriptor = _anonymous_block(slot_count * self._stride)
        self._map()

    def _map(self) -> None:
        self._memory = mmap.mmap(self._descriptor, self.nbytes)
        self._bytes = np.frombuffer(self._memory, np.uint8)

    @property
    def nbytes(self) -> int:
        return self.slot_count * self._stride

    def __getstate__(self) -> dict[str, Any]:
        return {
            "slot_count": self.slot_count,
            "edge_px": self.edge_px,
            "descriptor": multiprocessing.reduction.DupFd(self._descriptor),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.slot_count = state["slot_count"]
        self.edge_px = state["edge_px"]
        self._stride = slot_bytes(self.edge_px)
        self._descriptor = state["descriptor"].detach()
        self._map()

    def memory(self) -> Frame:
        """All of it, `uint8[nbytes]`: what a GPU's process registers as pinned, once."""
        return self._bytes

    def pixels(self, slot: int) -> Frame:
        """The slot's whole pixel area, `uint8[edge_px * edge_px * 3]`, to be written in place."""
        start = slot * self._stride + _HEADER_BYTES
        return self._bytes[start : start + self.edge_px * self.edge_px * 3]

    def stamp(self, slot: int, ticket: int, height: int, width: int) -> None:
        """Write the header: the reader's last step, after the pixels."""
        _HEADER.pack_into(self._memory, slot * self._stride, _MAGIC, height, width, 0, ticket)

    def frame(self, slot: int, ticket: int) -> Frame:
        """The frame in a slot, `uint8[H, W, 3]`.

        Raises CrashedError when the header is not what the reader of this ticket wrote: somebody
        scribbled over the slot.
        """
        magic, height, width, _, found = _HEADER.unpack_from(self._memory, slot * self._stride)
        sane = (
            magic == _MAGIC and found == ticket and 0 < height <= self.edge_px and 0 < width <= self.edge_px
        )
        if not sane:
            raise CrashedError(f"slot {slot} does not hold the frame that its reader announced")
        return self.pixels(slot)[: height * width * 3].reshape(height, width, 3)

    def close(self) -> None:
        del self._bytes
        with contextlib.suppress(BufferError):  # a view is still alive: the mapping goes with it
            self._memory.close()
        os.close(self._descriptor)


def _anonymous_block(nbytes: int) -> int:
    """A descriptor of `nbytes` of shared memory that has no name any more and is really there."""
    try:
        block = SharedMemory(create=True, size=nbytes)
    except OSError as error:
        raise ResourceError(f"no shared memory to be had: {error.strerror}") from None
    try:
        descriptor = os.dup(block._fd)  # type: ignore[attr-defined]
        if hasattr(os, "posix_fallocate"):  # else a full /dev/shm is a SIGBUS at the first write
            os.posix_fallocate(descriptor, 0, nbytes)
    except OSError as error:
        raise ResourceError(f"{nbytes / 2**20:.0f} MiB of shared memory: {error.strerror}") from None
    finally:
        block.close()
        block.unlink()
    return descriptor


class SlotState(enum.Enum):
    FREE = "free"
    FILLING = "filling"
    READY = "ready"
    BATCHED = "batched"


class Slots:
    """Who holds which slot. Lives in the daemon alone; a step out of order is a bug and raises."""

    def __init__(self, count: int) -> None:
        self._states = [SlotState.FREE] * count
        self._free = list(range(count - 1, -1, -1))

    def take(self) -> int | None:
        """A free slot, now being filled; None when there is none."""
        if not self._free:
            return None
        slot = self._free.pop()
        self._states[slot] = SlotState.FILLING
        return slot

    def fill(self, slot: int) -> None:
        self._step(slot, SlotState.FILLING, SlotState.READY)

    def batch(self, slot: int) -> None:
        self._step(slot, SlotState.READY, SlotState.BATCHED)

    def unbatch(self, slot: int) -> None:
        """Inference died: its frames are still whole and wait again."""
        self._step(slot, SlotState.BATCHED, SlotState.READY)

    def free(self, slot: int) -> None:
        if self._states[slot] is SlotState.FREE:
            raise ValueError(f"slot {slot} is free already")
        self._states[slot] = SlotState.FREE
        self._free.append(slot)

    def _step(self, slot: int, before: SlotState, after: SlotState) -> None:
        if self._states[slot] is not before:
            raise ValueError(f"slot {slot} is {self._states[slot].value}, not {before.value}")
        self._states[slot] = after

    @property
    def free_count(self) -> int:
        return len(self._free)

    @property
    def count(self) -> int:
        return len(self._states)
