"""Where models run: the CPU, or a GPU with memory of its own.

Importing this module, and asking it which GPUs there are, loads neither torch nor onnxruntime: GPUs are
counted by their driver, and libraries are known by what lies in their folders.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import os
import platform
from pathlib import Path

from catalogd.errors import SettingsError
from catalogd.settings import GiB, Settings


@dataclasses.dataclass(frozen=True)
class Device:
    """A place where models run. One inference process has one."""

    kind: str = "cpu"  # "cpu", "cuda", "mps"
    index: int = 0  # of the GPU among those of its kind, as CUDA_VISIBLE_DEVICES leaves them
    name: str = "CPU"  # for people
    memory_bytes: int = 0  # of the GPU, all of it; 0 on a CPU, whose memory is the machine's
    capability: tuple[int, int] = (0, 0)  # CUDA's "compute capability": what the card can do

    @property
    def is_gpu(self) -> bool:
        return self.kind != "cpu"

    @property
    def label(self) -> str:
        """As torch spells it: "cpu", "cuda:1", "mps"."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    def __str__(self) -> str:
        size = f", {self.memory_bytes / GiB:.0f} GiB" if self.memory_bytes else ""
        return f"{self.index} ({self.name}{size})" if self.is_gpu else self.name


CPU = Device()
_BF16_CAPABILITY = (8, 0)  # Ampere: the first cards that multiply bf16 in tensor cores
_FP16_CAPABILITY = (7, 0)  # Volta: the first with tensor cores; before it fp16 is no quicker than fp32


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What one model gets of the machine."""

    device: Device = CPU
    threads: int = 1  # of the CPU, for this model; 0: the library chooses
    precision: str = "fp32"  # "bf16", "fp16" or "fp32", never "auto"


def present() -> list[Device]:
    """The GPUs that this process may use, whether or not a library is there that can."""
    return _cuda_gpus() or _metal_gpus()


def discover() -> list[Device]:
    """The GPUs that installed libraries can run models on, in CUDA's order."""
    return [gpu for gpu in present() if is_usable(gpu)]


def is_usable(gpu: Device) -> bool:
    """Whether torch is installed in a build for this GPU: without it no frame gets there."""
    return torch_has_cuda() if gpu.kind == "cuda" else _folder_of("torch") is not None


def chosen(devices: str) -> list[Device]:
    """The devices that the setting names, each once; never none.

    Raises SettingsError that says which there are.
    """
    if devices == "auto":
        return discover() or [CPU]
    if devices == "cpu":
        return [CPU]
    found = {gpu.index: gpu for gpu in discover()}
    return [_numbered(number, found) for number in dict.fromkeys(_numbers(devices))]


def precision_of(device: Device, settings: Settings) -> str:
    """What models compute in on a device: "bf16", "fp16" or "fp32".

    Raises SettingsError when it is asked for what the card does not have.
    """
    if not device.is_gpu:
        return "fp32"
    if settings.precision == "bf16" and not _has_bf16(device):
        raise SettingsError(f"--precision bf16: GPU {device} has no bf16: take auto, fp16 or fp32")
    if settings.precision != "auto":
        return settings.precision
    if _has_bf16(device):
        return "bf16"
    return "fp16" if device.kind == "mps" or device.capability >= _FP16_CAPABILITY else "fp32"


def torch_has_cuda() -> bool:
    """Whether the installed torch is a build for CUDA; told from its version file."""
    folder = _folder_of("torch")
    specification = importlib.util.spec_from_file_location(
        "_torch_version", (folder or Path()) / "version.py"
    )
    if folder is None or specification is None or specification.loader is None:
        return False
    version = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(version)
    except OSError:
        return False
    return getattr(version, "cuda", None) is not None


def onnxruntime_has_cuda() -> bool:
    """Whether the installed onnxruntime has its CUDA provider."""
    folder = _folder_of("onnxruntime")
    return folder is not None and any((folder / "capi").glob("*onnxruntime_providers_cuda*"))


def _has_bf16(device: Device) -> bool:
    return device.kind == "cuda" and device.capability >= _BF16_CAPABILITY


def _numbers(devices: str) -> list[int]:
    parts = [part.strip() for part in devices.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise SettingsError(f"--devices {devices}: give auto, cpu, or numbers of GPUs like 0,1")
    return [int(part) for part in parts]


def _numbered(number: int, found: dict[int, Device]) -> Device:
    if number in found:
        return found[number]
    useless = {gpu.index: gpu for gpu in present()}
    if number in useless:
        raise SettingsError(
            f"--devices {number}: nothing is installed that runs models on GPU {useless[number]}: "
            "pip install 'catalogd[gpu]'"
        )
    there = "; there are: " + ", ".join(str(gpu) for gpu in found.values()) if found else ", nor any other"
    raise SettingsError(f"--devices {number}: there is no GPU {number}{there}")


def _folder_of(package: str) -> Path | None:
    specification = importlib.util.find_spec(package)
    places = specification.submodule_search_locations if specification else None
    return Path(next(iter(places))) if places else None


# ── CUDA's driver ─────────────────────────────────────────────────────────────────────────────
# It counts as torch and onnxruntime will: CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER and the limits of a
# container are followed. No context is made, so no memory of a GPU is taken.

_NAME_BYTES = 256
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute, CUDA Driver API


def _cuda_driver() -> ctypes.CDLL | None:
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _cuda_gpus() -> list[Device]:
    driver = _cuda_driver()
    count = ctypes.c_int()
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [_cuda_gpu(driver, index) for index in range(count.value)]


def _cuda_gpu(driver: ctypes.CDLL, index: int) -> Device:
    handle, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    driver.cuDeviceGet(ctypes.byref(handle), index)
    driver.cuDeviceGetName(name, _NAME_BYTES, handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    capability = (
        _cuda_attribute(driver, handle, _CAPABILITY_MAJOR),
        _cuda_attribute(driver, handle, _CAPABILITY_MINOR),
    )
    return Device("cuda", index, name.value.decode(errors="replace"), memory.value, capability)


def _cuda_attribute(driver: ctypes.CDLL, handle: ctypes.c_int, attribute: int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
    return value.value


def _metal_gpus() -> list[Device]:
    """Apple's GPU, which shares the machine's memory."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return [Device("mps", 0, "Apple GPU", memory)]
