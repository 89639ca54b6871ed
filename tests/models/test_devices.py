"""Which GPUs there are by the driver's word, which of them can be used, and what the setting names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catalogd.errors import SettingsError
from catalogd.models import devices
from catalogd.models.devices import CPU, Device
from catalogd.settings import GiB, Settings

BIG = Device("cuda", 0, "NVIDIA Big", 24 * GiB, (8, 6))
SMALL = Device("cuda", 1, "NVIDIA Small", 8 * GiB, (7, 5))
OLD = Device("cuda", 2, "NVIDIA Old", 4 * GiB, (6, 1))


class Driver:
    """As much of libcuda as is asked, for given cards."""

    def __init__(self, *cards: Device, fails: bool = False) -> None:
        self.cards = cards
        self.fails = fails

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return 100 if self.fails else 0  # CUDA_ERROR_NO_DEVICE

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.cards)
        return 0

    def cuDeviceGet(self, handle: Any, index: int) -> int:  # noqa: N802
        handle._obj.value = index + 40
        return 0

    def cuDeviceGetName(self, name: Any, length: int, handle: Any) -> int:  # noqa: N802
        name.value = self.cards[handle.value - 40].name.encode()
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, handle: Any) -> int:  # noqa: N802
        memory._obj.value = self.cards[handle.value - 40].memory_bytes
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, handle: Any) -> int:  # noqa: N802
        value._obj.value = self.cards[handle.value - 40].capability[attribute - 75]
        return 0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this machine one with these cards, and torch one that can use them or not."""

    def has(*cards: Device, usable: bool = True, fails: bool = False) -> None:
        monkeypatch.setattr(devices, "_cuda_driver", lambda: Driver(*cards, fails=fails))
        monkeypatch.setattr(devices, "torch_has_cuda", lambda: usable)
        monkeypatch.setattr(devices.platform, "system", lambda: "Linux")

    return has


def test_gpus_are_what_the_driver_says(machine: Any) -> None:
    machine(BIG, SMALL)
    assert devices.discover() == [BIG, SMALL]
    assert [str(gpu) for gpu in devices.discover()] == ["0 (NVIDIA Big, 24 GiB)", "1 (NVIDIA Small, 8 GiB)"]
    assert [gpu.label for gpu in devices.discover()] == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize("cards", [(), (BIG,)])
def test_without_a_gpu_that_answers_models_run_on_the_cpu(machine: Any, cards: tuple[Device, ...]) -> None:
    machine(*cards, fails=True)
    assert devices.present() == []
    assert devices.chosen("auto") == [CPU]


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cuda_driver", lambda: None)
    monkeypatch.setattr(devices.platform, "system", lambda: "Linux")
    assert devices.present() == []


def test_a_gpu_that_no_library_can_use_is_present_and_not_chosen(machine: Any) -> None:
    machine(BIG, usable=False)
    assert devices.present() == [BIG]
    assert devices.chosen("auto") == [CPU]
    with pytest.raises(SettingsError, match=r"nothing is installed that runs models on GPU 0 \(NVIDIA Big"):
        devices.chosen("0")


def test_an_apple_gpu_is_one_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cuda_driver", lambda: None)
    monkeypatch.setattr(devices.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(devices.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(devices, "_folder_of", lambda package: Path("/there"))
    [gpu] = devices.chosen("auto")
    assert (gpu.kind, gpu.label, gpu.memory_bytes > GiB) == ("mps", "mps", True)
    monkeypatch.setattr(devices, "_folder_of", lambda package: None)
    assert devices.chosen("auto") == [CPU]


@pytest.mark.parametrize(
    ("setting", "chosen"),
    [
        ("auto", [BIG, SMALL]),
        ("cpu", [CPU]),
        ("1", [SMALL]),
        ("1,0", [SMALL, BIG]),
        (" 0 , 0", [BIG]),
    ],
)
def test_the_setting_names_devices(machine: Any, setting: str, chosen: list[Device]) -> None:
    machine(BIG, SMALL)
    assert devices.chosen(setting) == chosen


def test_a_gpu_that_is_not_there_is_an_error_that_lists_those_that_are(machine: Any) -> None:
    machine(BIG, SMALL)
    with pytest.raises(SettingsError) as caught:
        devices.chosen("0,2")
    assert str(caught.value) == (
        "--devices 2: there is no GPU 2; there are: 0 (NVIDIA Big, 24 GiB), 1 (NVIDIA Small, 8 GiB)"
    )
    machine()
    with pytest.raises(SettingsError, match="there is no GPU 0, nor any other"):
        devices.chosen("0")


@pytest.mark.parametrize("setting", ["", "gpu", "0,", "-1", "cuda:0", "0 1"])
def test_what_is_no_list_of_numbers_is_an_error_with_an_example(machine: Any, setting: str) -> None:
    machine(BIG)
    with pytest.raises(SettingsError, match="auto, cpu, or numbers of GPUs like 0,1"):
        devices.chosen(setting)


@pytest.mark.parametrize(
    ("device", "precision"),
    [(CPU, "fp32"), (BIG, "bf16"), (SMALL, "fp16"), (OLD, "fp32"), (Device("mps", 0, "Apple GPU"), "fp16")],
)
def test_auto_takes_the_narrowest_floats_that_are_quicker_on_the_card(device: Device, precision: str) -> None:
    assert devices.precision_of(device, Settings()) == precision


@pytest.mark.parametrize("wanted", ["fp32", "fp16"])
def test_a_gpu_computes_in_what_is_asked_for_and_a_cpu_in_fp32(wanted: str) -> None:
    assert devices.precision_of(BIG, Settings(precision=wanted)) == wanted
    assert devices.precision_of(CPU, Settings(precision=wanted)) == "fp32"


def test_bf16_is_refused_for_a_card_without(machine: Any) -> None:
    assert devices.precision_of(BIG, Settings(precision="bf16")) == "bf16"
    with pytest.raises(SettingsError, match=r"GPU 1 \(NVIDIA Small, 8 GiB\) has no bf16"):
        devices.precision_of(SMALL, Settings(precision="bf16"))


@pytest.mark.parametrize(("cuda", "usable"), [("'13.0'", True), ("None", False)])
def test_a_build_of_torch_is_known_without_loading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: str, usable: bool
) -> None:
    folder = tmp_path / "torch"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('was loaded')")
    (folder / "version.py").write_text(f"from typing import Optional\ncuda: Optional[str] = {cuda}\n")
    monkeypatch.setattr(devices.importlib.util, "find_spec", found_in(folder))
    assert devices.torch_has_cuda() is usable
    (folder / "version.py").unlink()
    assert devices.torch_has_cuda() is False


def test_onnxruntime_for_cuda_is_known_by_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices.importlib.util, "find_spec", found_in(tmp_path))
    (tmp_path / "capi").mkdir()
    assert devices.onnxruntime_has_cuda() is False
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").touch()
    assert devices.onnxruntime_has_cuda() is True


def test_asking_for_devices_loads_no_library_of_models() -> None:
    script = (
        "import sys\nfrom catalogd.models import devices\ndevices.chosen('auto')\n"
        "print(sorted({'torch', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def model_classes() -> list[tuple[str, ast.ClassDef]]:
    """Every class in catalogd/models that has frames to look at and is made for a piece of hardware."""
    found = []
    for path in Path(devices.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
            made_with = (
                [argument.arg for argument in methods["__init__"].args.args] if "__init__" in methods else []
            )
            if "hardware" in made_with and {"load", "unload", "run"} <= methods.keys():
                found.append((f"{path.name}:{node.name}", node))
    return found


def test_every_model_made_for_a_gpu_says_so() -> None:
    """The pipeline took those that did not for models of the CPU: two frames a call, from several threads."""
    classes = model_classes()
    silent = [
        name
        for name, node in classes
        if not any(
            isinstance(part, ast.Attribute) and part.attr == "device" and isinstance(part.ctx, ast.Store)
            for part in ast.walk(node)
        )
        and not any(isinstance(part, ast.FunctionDef) and part.name == "device" for part in node.body)
    ]
    assert len(classes) > 3
    assert silent == []


def found_in(folder: Path) -> Any:
    """`find_spec` of a package that lies in `folder`."""

    class Found:
        submodule_search_locations = (str(folder),)

    return lambda package: Found
