"""Where models run: the CPU, or a GPU with memory of its own.

Importing this module loads neither torch nor onnxruntime.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Device:
    """A place where models run. One inference process has one."""

    kind: str = "cpu"  # "cpu", "cuda", "mps"
    index: int = 0  # of the GPU among those of its kind
    name: str = "CPU"  # for people
    memory_bytes: int = 0  # of the GPU, all of it; 0 on a CPU, whose memory is the machine's

    @property
    def is_gpu(self) -> bool:
        return self.kind != "cpu"

    @property
    def label(self) -> str:
        """As torch spells it: "cpu", "cuda:1", "mps"."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind


CPU = Device()


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What one model gets of the machine."""

    device: Device = CPU
    threads: int = 1  # of the CPU, for this model; 0: the library chooses
    precision: str = "fp32"  # "bf16", "fp16" or "fp32", never "auto"
